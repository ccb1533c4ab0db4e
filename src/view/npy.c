/* SPDX-License-Identifier: MIT */
/*
 * npy - a tensor as a NumPy file: a header, then the elements, widened where
 * NumPy has no such type.  Strings become "<U": UCS-4, as long as the longest;
 * a byte 0x80 + n that is not UTF-8 becomes U+DC80 + n, as Python does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/npy.h"
#include "modelfs/tensor.h"
#include "modelfs/utf8.h"
#include "view/views.h"

/* ---- strings ---- */

/* The character at s[*i], which moves behind it. */
static uint32_t next_char(const char *s, size_t len, size_t *i)
{
	const uint8_t *p = (const uint8_t *)s + *i;
	size_t n = utf8_length(p, len - *i);

	*i += n ? n : 1;
	switch (n) {
	case 0:
		return 0xdc00 + p[0];
	case 1:
		return p[0];
	case 2:
		return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
	case 3:
		return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 |
		       (p[2] & 0x3fu);
	default:
		return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 |
		       (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
	}
}

static uint64_t count_chars(const char *s, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; n++)
		next_char(s, len, &i);
	return n;
}

/* NumPy makes the empty string one character wide, too. */
static uint64_t longest(const struct tensor *t, uint64_t nelems)
{
	uint64_t most = 1;

	for (uint64_t i = 0; i < nelems; i++) {
		size_t len;
		const char *s = tensor_string(t, i, &len);
		uint64_t n = count_chars(s, len);

		most = n > most ? n : most;
	}
	return most;
}

struct blob_ucs4 {
	struct blob base;
	struct tensor strings; /* owned; in memory */
	uint64_t width;	       /* characters of an element */
};

/* Bytes [off, off + len) of one element, padded with zeros. */
static void read_element(struct blob_ucs4 *u, uint64_t elem, uint64_t off,
			 uint8_t *to, size_t len)
{
	size_t slen, i = 0;
	const char *s = tensor_string(&u->strings, elem, &slen);

	memset(to, 0, len);
	for (uint64_t at = 0; i < slen && at < off + len; at += 4) {
		uint32_t c = next_char(s, slen, &i);

		for (unsigned k = 0; k < 4; k++)
			if (at + k >= off && at + k < off + len)
				to[at + k - off] = c >> (8 * k) & 0xff;
	}
}

static int ucs4_read(struct blob *b, void *buf, size_t len, uint64_t off,
		     struct err *e)
{
	struct blob_ucs4 *u = (struct blob_ucs4 *)b;
	uint64_t size = 4 * u->width;
	uint8_t *to = buf;

	(void)e;
	while (len > 0) {
		uint64_t skip = off % size;
		size_t n = size - skip < len ? size - skip : len;

		read_element(u, off / size, skip, to, n);
		to += n;
		off += n;
		len -= n;
	}
	return 0;
}

static void ucs4_fini(struct blob *b)
{
	tensor_drop(&((struct blob_ucs4 *)b)->strings);
}

static const struct blob_ops ucs4_ops = {
	.read = ucs4_read,
	.fini = ucs4_fini,
};

/* What a .npy of strings looks like. */
static int measure_strings(const struct tensor *t, uint64_t *width,
			   uint64_t *nbytes, struct err *e)
{
	uint64_t nelems;

	if (!shape_nelems(&t->shape, &nelems))
		return err_set(e, EAGAIN, "the shape is not known yet");
	*width = longest(t, nelems);
	if (__builtin_mul_overflow(nelems, 4 * *width, nbytes) ||
	    *nbytes > INT64_MAX / 2)
		return err_set(e, EFBIG, "strings too long for .npy");
	return 0;
}

/* Takes t. */
static int open_ucs4(struct tensor *t, uint64_t width, uint64_t nbytes,
		     struct blob **out, struct err *e)
{
	struct blob_ucs4 *u = malloc(sizeof(*u));

	if (!u) {
		tensor_drop(t);
		return err_nomem(e, sizeof(*u));
	}
	u->strings = *t;
	u->width = width;
	blob_init(&u->base, &ucs4_ops, nbytes);
	*out = &u->base;
	return 0;
}

/* ---- all types ---- */

/* Takes data. */
static int join(const char *descr, const struct shape *shape, struct blob *data,
		struct blob **out, struct err *e)
{
	char header[NPY_HEADER_MAX];
	struct blob *parts[2];

	parts[0] = blob_copy(header, npy_header(header, descr, shape));
	parts[1] = data;
	*out = blob_cat(parts, 2);
	return *out ? 0 : err_nomem(e, sizeof(header));
}

static void ucs4_descr(char descr[32], uint64_t width)
{
	snprintf(descr, 32, "<U%llu", (unsigned long long)width);
}

static int open_strings(const struct tensor *t, struct blob **out,
			struct err *e)
{
	uint64_t width, nbytes;
	struct tensor loaded;
	struct blob *data = NULL;
	char descr[32];
	int rc = view_load_strings(t, &loaded, e);

	if (rc < 0)
		return rc;
	rc = measure_strings(&loaded, &width, &nbytes, e);
	if (rc < 0) {
		tensor_drop(&loaded);
		return rc;
	}
	rc = open_ucs4(&loaded, width, nbytes, &data, e);
	if (rc < 0)
		return rc;
	ucs4_descr(descr, width);
	return join(descr, &t->shape, data, out, e);
}

static int strings_size(const struct tensor *t, uint64_t *out, struct err *e)
{
	char header[NPY_HEADER_MAX];
	uint64_t width, nbytes;
	struct tensor loaded;
	char descr[32];
	int rc = view_load_strings(t, &loaded, e);

	if (rc < 0)
		return rc;
	rc = measure_strings(&loaded, &width, &nbytes, e);
	tensor_drop(&loaded);
	if (rc < 0)
		return rc;
	ucs4_descr(descr, width);
	*out = npy_header(header, descr, &t->shape) + nbytes;
	return 0;
}

/* 0 when the type has a .npy at all. */
static int check_type(const struct tensor *t, struct err *e)
{
	if (t->dtype == DTYPE_NONE && !t->data)
		return err_set(e, EAGAIN, "the type is not known yet");
	if (!dtype_info(t->dtype)->descr)
		return err_set(e, EOPNOTSUPP, "no .npy of type %s",
			       dtype_name(t->dtype));
	return 0;
}

static int measure(const struct tensor *t, uint64_t *nelems, uint64_t *nbytes,
		   struct err *e)
{
	const struct dtype_info *info = dtype_info(t->dtype);

	if (!shape_is_known(&t->shape))
		return err_set(e, EAGAIN, "the shape is not known yet");
	if (!shape_nelems(&t->shape, nelems) ||
	    !dtype_nbytes(info->npy, *nelems, nbytes) ||
	    *nbytes > INT64_MAX - NPY_HEADER_MAX)
		return err_set(e, EFBIG, "too large for a file");
	return 0;
}

static int npy_size(const struct tensor *t, uint64_t *out, struct err *e)
{
	char header[NPY_HEADER_MAX];
	uint64_t nelems, nbytes;
	int rc;

	if (t->dtype == DTYPE_STRING)
		return strings_size(t, out, e);
	rc = check_type(t, e);
	if (rc < 0)
		return rc;
	rc = measure(t, &nelems, &nbytes, e);
	if (rc < 0)
		return rc;
	*out = nbytes +
	       npy_header(header, dtype_info(t->dtype)->descr, &t->shape);
	return 0;
}

static int npy_open(const struct tensor *t, struct blob **out, struct err *e)
{
	uint64_t nelems, nbytes;
	struct blob *data;
	int rc;

	if (t->dtype == DTYPE_STRING)
		return open_strings(t, out, e);
	rc = check_type(t, e);
	if (rc < 0)
		return rc;
	rc = measure(t, &nelems, &nbytes, e);
	if (rc < 0)
		return rc;
	data = blob_widen(blob_ref(t->data), t->dtype, nelems);
	return join(dtype_info(t->dtype)->descr, &t->shape, data, out, e);
}

const struct view view_npy = {
	.suffix = ".npy",
	.size = npy_size,
	.open = npy_open,
	.needs_data = true,
};
