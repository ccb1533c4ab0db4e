/* SPDX-License-Identifier: MIT */
/*
 * external - tensors whose data is in files beside the model (ONNX,
 * ExternalData.md).  Whatever is wrong with such a file is an error of that
 * tensor only, and of nobody before it is opened.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/source.h"

#include "format/onnx/onnx.h"

/*
 * In the memory of onnxruntime this location says that the offset is an
 * address.  It has no business in a file.
 */
#define MEMORY_MARK "_ORT_MEM_ADDR_"

/* The last entry of this key; NULL when there is none. */
static const ProtobufCBinaryData *find(const Onnx__Tensor *t, const char *key)
{
	for (size_t i = t->n_external_data; i-- > 0;)
		if (onnx_equal(&t->external_data[i]->key, key, strlen(key)))
			return &t->external_data[i]->value;
	return NULL;
}

/* Digits only, nothing before or behind. */
static bool read_decimal(const ProtobufCBinaryData *b, uint64_t *out)
{
	uint64_t v = 0;

	if (b->len == 0)
		return false;
	for (size_t i = 0; i < b->len; i++) {
		if (b->data[i] < '0' || b->data[i] > '9' ||
		    __builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, b->data[i] - '0', &v))
			return false;
	}
	*out = v;
	return true;
}

static int keep_source(struct onnx_files *f, struct source *s, struct err *e)
{
	size_t cap = f->cap ? f->cap * 2 : 4;
	struct source **sources;

	if (f->nsources == f->cap) {
		sources = realloc(f->sources, cap * sizeof(*sources));
		if (!sources)
			return err_nomem(e, cap * sizeof(*sources));
		f->sources = sources;
		f->cap = cap;
	}
	f->sources[f->nsources++] = s;
	return 0;
}

/* Opens a sibling, or finds it open.  The map borrows the name. */
static int open_file(struct onnx_files *f, const ProtobufCBinaryData *loc,
		     struct source **out, struct err *e)
{
	uint64_t idx;
	int rc;

	if (loc->len == 0)
		return err_set(e, EPERM, "external data without a location");
	if (!f->in ||
	    memmem(loc->data, loc->len, MEMORY_MARK, strlen(MEMORY_MARK)))
		return err_set(e, EPERM, "external data is not allowed here");
	if (!f->opened)
		f->opened = map_new();
	if (!f->opened)
		return err_nomem(e, 0);
	if (map_get(f->opened, loc->data, loc->len, &idx)) {
		*out = f->sources[idx];
		return 0;
	}
	rc = input_sibling(f->in, (const char *)loc->data, loc->len, out, e);
	if (rc < 0)
		return rc;
	rc = keep_source(f, *out, e);
	if (rc < 0) {
		source_unref(*out);
		return rc;
	}
	rc = map_add(f->opened, loc->data, loc->len, f->nsources - 1);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

static int open_range(struct onnx_files *f, const Onnx__Tensor *t,
		      uint64_t nbytes, struct blob **out, struct err *e)
{
	const ProtobufCBinaryData *loc = find(t, "location");
	const ProtobufCBinaryData *offset = find(t, "offset");
	const ProtobufCBinaryData *length = find(t, "length");
	uint64_t off = 0, len = nbytes;
	struct source *src;
	int rc;

	if (!loc)
		return err_set(e, EIO, "external data without a location");
	rc = open_file(f, loc, &src, e);
	if (rc < 0)
		return rc;
	if (offset && !read_decimal(offset, &off))
		return err_set(e, EIO, "external data: no offset");
	if (length && !read_decimal(length, &len))
		return err_set(e, EIO, "external data: no length");
	if (len != nbytes)
		return err_set(e, EIO, "external data of %llu bytes for %llu",
			       (unsigned long long)len,
			       (unsigned long long)nbytes);
	return blob_file(src, off, len, out, e);
}

int onnx_external(struct onnx_files *f, const Onnx__Tensor *t, uint64_t nbytes,
		  struct blob **out, struct err *e)
{
	struct err why = {0};
	int rc = open_range(f, t, nbytes, out, &why);

	if (rc == -ENOMEM)
		return err_set(e, ENOMEM, "%s", why.msg);
	if (rc < 0)
		*out = blob_fail(nbytes, -rc, why.msg);
	return *out ? 0 : err_nomem(e, nbytes);
}

void onnx_files_close(struct onnx_files *f)
{
	for (size_t i = 0; i < f->nsources; i++)
		source_unref(f->sources[i]);
	free(f->sources);
	map_free(f->opened);
}
