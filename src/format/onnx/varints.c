/* SPDX-License-Identifier: MIT */
/*
 * varints - elements of a typed field that protobuf writes as varints.
 *
 * Few are decoded when the file is read.  Many become a blob that decodes all
 * of them when it is first read and keeps the result: whoever is first
 * publishes it, without a lock, as the result is always the same.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"

#include "format/onnx/onnx.h"

/* Encoded bytes that are decoded at once. */
#define EAGER_MAX 65536

struct varints {
	struct blob blob;
	struct source *src;  /* owned */
	uint64_t *off, *len; /* owned */
	size_t nranges;
	size_t width;
	uint64_t nelems;
	_Atomic(struct blob *) decoded; /* owned */
};

uint64_t onnx_ranges_total(const struct onnx_ranges *r)
{
	uint64_t total = 0;

	/* The ranges lie in one file without overlap: no overflow. */
	for (size_t i = 0; i < r->n; i++)
		total += r->len[i];
	return total;
}

static void put(uint8_t *p, uint64_t v, size_t width)
{
	for (size_t i = 0; i < width; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* Decodes into p, which holds *left elements; counts them down. */
static int decode_range(struct source *src, uint64_t off, uint64_t len,
			size_t width, uint8_t **p, uint64_t *left,
			struct err *e)
{
	struct reader *r = reader_new(src, off, len);
	int rc = 0;

	if (!r)
		return err_nomem(e, sizeof(*r));
	while (reader_left(r) > 0 && !r->bad && *left > 0) {
		put(*p, reader_varint(r), width);
		*p += width;
		--*left;
	}
	if (r->bad)
		rc = err_set(e, r->err.code, "%s", r->err.msg);
	else if (reader_left(r) > 0)
		rc = err_set(e, EINVAL, "more elements than the shape has");
	reader_free(r);
	return rc;
}

static int decode(struct source *src, const struct onnx_ranges *r, size_t width,
		  uint64_t nelems, struct blob **out, struct err *e)
{
	uint64_t left = nelems;
	struct blob *b;
	void *data;
	uint8_t *p;
	int rc = 0;

	b = blob_mem(nelems * width, &data);
	if (!b)
		return err_nomem(e, nelems * width);
	p = data;
	for (size_t i = 0; rc == 0 && i < r->n; i++)
		rc = decode_range(src, r->off[i], r->len[i], width, &p, &left,
				  e);
	if (rc == 0 && left > 0)
		rc = err_set(e, EINVAL, "%llu elements are missing",
			     (unsigned long long)left);
	if (rc < 0)
		blob_unref(b);
	else
		*out = b;
	return rc;
}

static int varints_decode(struct varints *v, struct blob **out, struct err *e)
{
	struct onnx_ranges r = {v->off, v->len, v->nranges};
	struct blob *made = NULL, *expected = NULL;
	int rc;

	*out = atomic_load(&v->decoded);
	if (*out)
		return 0;
	rc = decode(v->src, &r, v->width, v->nelems, &made, e);
	if (rc == -EINVAL)
		return err_set(e, EIO, "the elements do not fit the shape");
	if (rc < 0)
		return rc;
	if (!atomic_compare_exchange_strong(&v->decoded, &expected, made)) {
		blob_unref(made);
		made = expected;
	}
	*out = made;
	return 0;
}

static int varints_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	struct blob *decoded;
	int rc = varints_decode((struct varints *)b, &decoded, e);

	return rc < 0 ? rc : blob_read_full(decoded, buf, len, off, e);
}

static void varints_fini(struct blob *b)
{
	struct varints *v = (struct varints *)b;

	blob_unref(atomic_load(&v->decoded));
	source_unref(v->src);
	free(v->off);
	free(v->len);
}

static const struct blob_ops varints_ops = {
	.read = varints_read,
	.fini = varints_fini,
};

static int make_lazy(struct source *src, const struct onnx_ranges *r,
		     size_t width, uint64_t nelems, struct blob **out,
		     struct err *e)
{
	struct varints *v = calloc(1, sizeof(*v));
	uint64_t *off = malloc(r->n * sizeof(*off));
	uint64_t *len = malloc(r->n * sizeof(*len));

	if (!v || !off || !len) {
		free(v);
		free(off);
		free(len);
		return err_nomem(e, r->n * 2 * sizeof(*off));
	}
	memcpy(off, r->off, r->n * sizeof(*off));
	memcpy(len, r->len, r->n * sizeof(*len));
	blob_init(&v->blob, &varints_ops, nelems * width);
	v->src = source_ref(src);
	v->off = off;
	v->len = len;
	v->nranges = r->n;
	v->width = width;
	v->nelems = nelems;
	*out = &v->blob;
	return 0;
}

int onnx_varints(struct source *src, const struct onnx_ranges *r, size_t width,
		 uint64_t nelems, struct blob **out, struct err *e)
{
	uint64_t total = onnx_ranges_total(r);

	/* A varint has 1 to 10 bytes. */
	if (nelems > total || total / 10 > nelems)
		return err_set(
			e, EINVAL, "%llu bytes of varints for %llu elements",
			(unsigned long long)total, (unsigned long long)nelems);
	if (total <= EAGER_MAX)
		return decode(src, r, width, nelems, out, e);
	return make_lazy(src, r, width, nelems, out, e);
}

int onnx_varints_count(struct source *src, const struct onnx_ranges *r,
		       uint64_t *out, struct err *e)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct reader *rd = reader_new(src, r->off[i], r->len[i]);
		int rc = 0;

		if (!rd)
			return err_nomem(e, sizeof(*rd));
		for (; reader_left(rd) > 0 && !rd->bad; n++)
			reader_varint(rd);
		if (rd->bad)
			rc = err_set(e, rd->err.code, "%s", rd->err.msg);
		reader_free(rd);
		if (rc < 0)
			return rc;
	}
	*out = n;
	return 0;
}
