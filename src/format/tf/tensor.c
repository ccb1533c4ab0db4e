/* SPDX-License-Identifier: MIT */
/*
 * tensor - a TensorProto (tensorflow/core/framework/tensor.proto) in every
 * form it is stored in: raw bytes, or one of the typed fields, which may hold
 * fewer values than there are elements; the last one then fills the rest.
 */
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"

#include "format/onnx/onnx.h"
#include "format/tf/tf.h"

/* More pieces than this are copied instead of strung together. */
#define PARTS_MAX 64
/* Strings that a fill may make. */
#define STRINGS_MAX 1000000u
#define TYPE_REF 100

static const enum dtype types[] = {
	[1] = DTYPE_F32,
	[2] = DTYPE_F64,
	[3] = DTYPE_I32,
	[4] = DTYPE_U8,
	[5] = DTYPE_I16,
	[6] = DTYPE_I8,
	[7] = DTYPE_STRING,
	[8] = DTYPE_C64,
	[9] = DTYPE_I64,
	[10] = DTYPE_BOOL,
	[11] = DTYPE_I8,
	[12] = DTYPE_U8,
	[13] = DTYPE_I32,
	[14] = DTYPE_BF16,
	[15] = DTYPE_I16,
	[16] = DTYPE_U16,
	[17] = DTYPE_U16,
	[18] = DTYPE_C128,
	[19] = DTYPE_F16,
	[22] = DTYPE_U32,
	[23] = DTYPE_U64,
	[24] = DTYPE_F8_E5M2,
	[25] = DTYPE_F8_E4M3FN,
	[26] = DTYPE_F8_E4M3FNUZ,
	[27] = DTYPE_F8_E4M3B11FNUZ,
	[28] = DTYPE_F8_E5M2FNUZ,
};

enum dtype tf_dtype(int32_t type)
{
	if (type > TYPE_REF)
		type -= TYPE_REF;
	if (type < 0 || (size_t)type >= sizeof(types) / sizeof(types[0]))
		return DTYPE_NONE;
	return types[type];
}

const char *tf_dtype_text(int32_t type, char buf[32])
{
	enum dtype t = tf_dtype(type);

	if (t != DTYPE_NONE)
		return dtype_name(t);
	if (type == 20)
		return "resource";
	if (type == 21)
		return "variant";
	snprintf(buf, 32, "tf.%d", (int)type);
	return buf;
}

int tf_shape(const Tf__Shape *s, struct shape *out, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	size_t n = s ? s->n_dim : 0;

	if (s && s->unknown_rank)
		return err_set(e, EINVAL, "a tensor of unknown rank");
	if (n > SHAPE_RANK_MAX)
		return err_set(e, EOPNOTSUPP, "%zu dimensions", n);
	for (size_t i = 0; i < n; i++)
		dims[i] = s->dim[i]->size;
	return shape_set(out, dims, n, e);
}

struct tensor tf_declared(int32_t type, const Tf__Shape *s)
{
	struct tensor t = {.dtype = tf_dtype(type), .shape = shape_unknown()};

	if (!s || s->unknown_rank || s->n_dim > SHAPE_RANK_MAX)
		return t;
	t.shape.rank = (int32_t)s->n_dim;
	for (size_t i = 0; i < s->n_dim; i++)
		t.shape.dims[i] =
			s->dim[i]->size >= 0 ? s->dim[i]->size : DIM_UNKNOWN;
	return t;
}

/* ---- typed fields ---- */

struct field {
	struct onnx_ranges r;
	bool is_varint;
	size_t width; /* bytes of one stored number that is no varint */
};

#define RANGES(name)                                            \
	{                                                       \
		p->name##_off, p->name##_len, p->n_##name##_off \
	}

/* Which typed field holds elements of a type. */
static struct field find_field(const Tf__Tensor *p, enum dtype t)
{
	switch (t) {
	case DTYPE_F32:
		return (struct field){RANGES(float), false, 4};
	case DTYPE_F64:
		return (struct field){RANGES(double), false, 8};
	case DTYPE_C64:
		return (struct field){RANGES(scomplex), false, 4};
	case DTYPE_C128:
		return (struct field){RANGES(dcomplex), false, 8};
	case DTYPE_I64:
		return (struct field){RANGES(int64), true, 0};
	case DTYPE_BOOL:
		return (struct field){RANGES(bool), true, 0};
	case DTYPE_F16:
	case DTYPE_BF16:
		return (struct field){RANGES(half), true, 0};
	case DTYPE_U32:
		return (struct field){RANGES(uint32), true, 0};
	case DTYPE_U64:
		return (struct field){RANGES(uint64), true, 0};
	case DTYPE_F8_E5M2:
	case DTYPE_F8_E4M3FN:
	case DTYPE_F8_E4M3FNUZ:
	case DTYPE_F8_E4M3B11FNUZ:
	case DTYPE_F8_E5M2FNUZ:
		return (struct field){
			{&p->float8_off, &p->float8_len, p->has_float8_off},
			false,
			1};
	default:
		return (struct field){RANGES(int), true, 0};
	}
}

static int copy_ranges(struct source *src, const struct onnx_ranges *r,
		       struct blob **out, struct err *e)
{
	uint64_t total = onnx_ranges_total(r), at = 0;
	void *to;
	struct blob *b = blob_mem(total, &to);
	int rc = b ? 0 : err_nomem(e, total);

	for (size_t i = 0; rc == 0 && i < r->n; i++) {
		rc = source_read(src, (uint8_t *)to + at, r->len[i], r->off[i],
				 e);
		at += r->len[i];
	}
	if (rc < 0)
		blob_unref(b);
	else
		*out = b;
	return rc;
}

static int join_ranges(struct source *src, const struct onnx_ranges *r,
		       struct blob **out, struct err *e)
{
	struct blob *parts[PARTS_MAX];
	int rc = 0;

	if (r->n > PARTS_MAX)
		return copy_ranges(src, r, out, e);
	if (r->n == 1)
		return blob_file(src, r->off[0], r->len[0], out, e);
	for (size_t i = 0; i < r->n; i++) {
		rc = blob_file(src, r->off[i], r->len[i], &parts[i], e);
		if (rc == 0)
			continue;
		while (i-- > 0)
			blob_unref(parts[i]);
		return rc;
	}
	*out = blob_cat(parts, r->n);
	return *out ? 0 : err_nomem(e, 0);
}

/* The values that are stored, up to nelems of them; *n tells how many. */
static int stored_values(struct source *src, const struct field *f, size_t size,
			 uint64_t nelems, struct blob **out, uint64_t *n,
			 struct err *e)
{
	int rc;

	if (f->is_varint) {
		rc = onnx_varints_count(src, &f->r, n, e);
		if (rc < 0)
			return rc;
		*n = *n < nelems ? *n : nelems;
		return onnx_varints(src, &f->r, size, *n, out, e);
	}
	if (onnx_ranges_total(&f->r) % f->width != 0)
		return err_set(e, EINVAL, "half a number");
	rc = join_ranges(src, &f->r, out, e);
	if (rc < 0)
		return rc;
	*n = (*out)->size / size;
	*n = *n < nelems ? *n : nelems;
	*out = blob_slice(*out, 0, *n * size);
	return *out ? 0 : err_nomem(e, 0);
}

/* Takes have: n of nelems elements. */
static int fill_rest(struct blob *have, uint64_t n, uint64_t nelems,
		     size_t size, struct blob **out, struct err *e)
{
	uint8_t last[16] = {0};
	struct blob *parts[2] = {have, NULL};
	int rc = 0;

	if (n == nelems) {
		*out = have;
		return 0;
	}
	if (n > 0)
		rc = blob_read_full(have, last, size, (n - 1) * size, e);
	if (rc < 0) {
		blob_unref(have);
		return rc;
	}
	parts[1] = blob_repeat(last, size, (nelems - n) * size);
	*out = blob_cat(parts, 2);
	return *out ? 0 : err_nomem(e, 0);
}

static int read_values(struct source *src, const Tf__Tensor *p,
		       const struct tensor *t, uint64_t nelems,
		       struct blob **out, struct err *e)
{
	struct field f = find_field(p, t->dtype);
	size_t size = dtype_size(t->dtype);
	static const uint8_t zero[16];
	struct blob *have = NULL;
	uint64_t n = 0;
	int rc;

	if (f.r.n == 0) {
		*out = blob_repeat(zero, size, nelems * size);
		return *out ? 0 : err_nomem(e, 0);
	}
	rc = stored_values(src, &f, size, nelems, &have, &n, e);
	return rc < 0 ? rc : fill_rest(have, n, nelems, size, out, e);
}

static int read_strings(const Tf__Tensor *p, uint64_t nelems, struct blob **out,
			struct err *e)
{
	struct string_list *l;
	int rc = 0;

	if (nelems > STRINGS_MAX && nelems > p->n_string_val) {
		*out = blob_fail(0, EFBIG, "too many strings");
		return *out ? 0 : err_nomem(e, 0);
	}
	l = string_list_new();
	if (!l)
		return err_nomem(e, 0);
	for (uint64_t i = 0; rc == 0 && i < nelems; i++) {
		size_t n = p->n_string_val;
		ProtobufCBinaryData s = {0};

		if (n > 0)
			s = p->string_val[i < n ? i : n - 1];
		rc = string_list_add(l, s.len ? (char *)s.data : "", s.len);
	}
	if (rc < 0) {
		string_list_free(l);
		return err_nomem(e, 0);
	}
	*out = string_list_finish(l);
	return *out ? 0 : err_nomem(e, 0);
}

static int read_data(struct source *src, const Tf__Tensor *p, struct tensor *t,
		     struct err *e)
{
	uint64_t nelems, nbytes;

	if (!shape_nelems(&t->shape, &nelems))
		return err_set(e, EINVAL, "the shape is too large");
	if (t->dtype == DTYPE_NONE) {
		t->data = blob_fail(0, EOPNOTSUPP, "unknown element type");
		return t->data ? 0 : err_nomem(e, 0);
	}
	if (t->dtype == DTYPE_STRING)
		return read_strings(p, nelems, &t->data, e);
	if (!dtype_nbytes(t->dtype, nelems, &nbytes) || nbytes > INT64_MAX)
		return err_set(e, EINVAL, "the shape is too large");
	if (!p->has_tensor_content_off || p->tensor_content_len == 0)
		return read_values(src, p, t, nelems, &t->data, e);
	if (p->tensor_content_len != nbytes)
		return err_set(e, EINVAL, "%llu bytes of data for %llu",
			       (unsigned long long)p->tensor_content_len,
			       (unsigned long long)nbytes);
	return blob_file(src, p->tensor_content_off, nbytes, &t->data, e);
}

int tf_tensor(struct source *src, bool lenient, const Tf__Tensor *p,
	      struct tensor *out, struct err *e)
{
	struct tensor t = {.dtype = tf_dtype(p->dtype)};
	struct err why = {0};
	int rc = tf_shape(p->tensor_shape, &t.shape, e);

	if (rc < 0)
		return rc;
	rc = read_data(src, p, &t, &why);
	if (rc < 0 && lenient && rc != -ENOMEM) {
		t.data = blob_fail(0, EIO, why.msg);
		rc = t.data ? 0 : -ENOMEM;
	}
	if (rc < 0)
		return err_set(e, why.code ? why.code : ENOMEM, "%s", why.msg);
	*out = t;
	return 0;
}
