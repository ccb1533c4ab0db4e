/* SPDX-License-Identifier: MIT */
/*
 * tensor - a TensorProto in every form it is stored in (onnx.proto3, message
 * TensorProto): in another file, as raw bytes, or in one of the typed fields.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"

#include "format/onnx/onnx.h"

#define LOCATION_EXTERNAL 1
/* More pieces than this are copied instead of strung together. */
#define PARTS_MAX 64

enum field { FIELD_FLOAT, FIELD_DOUBLE, FIELD_I32, FIELD_I64, FIELD_U64 };

/* Which typed field holds elements of a type. */
static enum field field_of(enum dtype t)
{
	switch (t) {
	case DTYPE_F32:
	case DTYPE_C64:
		return FIELD_FLOAT;
	case DTYPE_F64:
	case DTYPE_C128:
		return FIELD_DOUBLE;
	case DTYPE_I64:
		return FIELD_I64;
	case DTYPE_U32:
	case DTYPE_U64:
		return FIELD_U64;
	default:
		return FIELD_I32;
	}
}

static struct onnx_ranges get_ranges(const Onnx__Tensor *t, enum field f)
{
	switch (f) {
	case FIELD_FLOAT:
		return (struct onnx_ranges){t->float_off, t->float_len,
					    t->n_float_len};
	case FIELD_DOUBLE:
		return (struct onnx_ranges){t->double_off, t->double_len,
					    t->n_double_len};
	case FIELD_I64:
		return (struct onnx_ranges){t->int64_off, t->int64_len,
					    t->n_int64_len};
	case FIELD_U64:
		return (struct onnx_ranges){t->uint64_off, t->uint64_len,
					    t->n_uint64_len};
	default:
		return (struct onnx_ranges){t->int32_off, t->int32_len,
					    t->n_int32_len};
	}
}

static int copy_parts(struct source *src, const struct onnx_ranges *r,
		      uint64_t nbytes, struct blob **out, struct err *e)
{
	void *data;
	struct blob *b = blob_mem(nbytes, &data);
	uint8_t *p = data;
	int rc = 0;

	if (!b)
		return err_nomem(e, nbytes);
	for (size_t i = 0; rc == 0 && i < r->n; i++) {
		rc = source_read(src, p, r->len[i], r->off[i], e);
		p += r->len[i];
	}
	if (rc < 0)
		blob_unref(b);
	else
		*out = b;
	return rc;
}

/* Numbers of fixed width lie in the file as they are in memory. */
static int fixed_data(struct source *src, const struct onnx_ranges *r,
		      uint64_t nbytes, struct blob **out, struct err *e)
{
	struct blob *parts[PARTS_MAX];
	uint64_t total = onnx_ranges_total(r);

	if (total != nbytes)
		return err_set(e, EINVAL, "%llu bytes of data for %llu",
			       (unsigned long long)total,
			       (unsigned long long)nbytes);
	if (r->n == 1)
		return blob_file(src, r->off[0], r->len[0], out, e);
	if (r->n > PARTS_MAX || r->n == 0)
		return copy_parts(src, r, nbytes, out, e);
	for (size_t i = 0; i < r->n; i++) {
		int rc = blob_file(src, r->off[i], r->len[i], &parts[i], e);

		if (rc < 0) {
			while (i-- > 0)
				blob_unref(parts[i]);
			return rc;
		}
	}
	*out = blob_cat(parts, r->n);
	return *out ? 0 : err_nomem(e, nbytes);
}

/*
 * Types of less than a byte: one packed byte per int, as the text of the
 * standard has it, or four, as its checker counts.
 */
static int small_data(struct source *src, const struct onnx_ranges *r,
		      uint64_t nbytes, struct blob **out, struct err *e)
{
	uint64_t count, nints = nbytes / 4 + (nbytes % 4 != 0);
	struct blob *ints;
	int rc = onnx_varints_count(src, r, &count, e);

	if (rc < 0)
		return rc;
	if (count == nbytes)
		return onnx_varints(src, r, 1, nbytes, out, e);
	if (count != nints)
		return err_set(e, EINVAL, "%llu ints for %llu bytes",
			       (unsigned long long)count,
			       (unsigned long long)nbytes);
	rc = onnx_varints(src, r, 4, nints, &ints, e);
	if (rc < 0)
		return rc;
	*out = blob_slice(ints, 0, nbytes);
	return *out ? 0 : err_nomem(e, nbytes);
}

static int typed_data(struct source *src, const Onnx__Tensor *t,
		      const struct tensor *what, uint64_t nbytes,
		      struct blob **out, struct err *e)
{
	enum field f = field_of(what->dtype);
	struct onnx_ranges r = get_ranges(t, f);
	uint64_t nelems = 0;

	if (f == FIELD_FLOAT || f == FIELD_DOUBLE)
		return fixed_data(src, &r, nbytes, out, e);
	if (dtype_size(what->dtype) == 0)
		return small_data(src, &r, nbytes, out, e);
	shape_nelems(&what->shape, &nelems);
	return onnx_varints(src, &r, dtype_size(what->dtype), nelems, out, e);
}

static int string_data(const Onnx__Tensor *t, uint64_t nelems,
		       struct blob **out, struct err *e)
{
	struct string_list *l;
	int rc = 0;

	if (t->n_string_data != nelems)
		return err_set(e, EINVAL, "%zu strings for %llu elements",
			       t->n_string_data, (unsigned long long)nelems);
	l = string_list_new();
	if (!l)
		return err_nomem(e, nelems);
	for (size_t i = 0; rc == 0 && i < t->n_string_data; i++)
		rc = string_list_add(l, (const char *)t->string_data[i].data,
				     t->string_data[i].len);
	if (rc < 0) {
		string_list_free(l);
		return err_nomem(e, nelems);
	}
	*out = string_list_finish(l);
	return *out ? 0 : err_nomem(e, nelems);
}

/* How many of the forms a tensor can be stored in this one uses. */
static int count_forms(const Onnx__Tensor *t)
{
	return (t->has_raw_len && t->raw_len > 0) + (t->n_float_len > 0) +
	       (t->n_int32_len > 0) + (t->n_int64_len > 0) +
	       (t->n_double_len > 0) + (t->n_uint64_len > 0) +
	       (t->n_string_data > 0);
}

static int inline_data(struct onnx_files *f, const Onnx__Tensor *t,
		       struct tensor *out, uint64_t nelems, struct err *e)
{
	uint64_t nbytes = 0;

	if (count_forms(t) > 1)
		return err_set(e, EINVAL, "its data is there twice");
	if (out->dtype == DTYPE_STRING)
		return string_data(t, nelems, &out->data, e);
	if (!dtype_nbytes(out->dtype, nelems, &nbytes))
		return err_set(e, EINVAL, "the shape is too large");
	if (!t->has_raw_len || (t->raw_len == 0 && count_forms(t) == 1))
		return typed_data(f->src, t, out, nbytes, &out->data, e);
	if (t->raw_len != nbytes)
		return err_set(e, EINVAL, "%llu bytes of data for %llu",
			       (unsigned long long)t->raw_len,
			       (unsigned long long)nbytes);
	return blob_file(f->src, t->raw_off, t->raw_len, &out->data, e);
}

static int fail_data(struct tensor *out, uint64_t nelems, int code,
		     const char *why, struct err *e)
{
	uint64_t nbytes = 0;

	dtype_nbytes(out->dtype, nelems, &nbytes);
	out->data = blob_fail(nbytes, code, why);
	return out->data ? 0 : err_nomem(e, 0);
}

static int make_data(struct onnx_files *f, const Onnx__Tensor *t,
		     struct tensor *out, uint64_t nelems, struct err *e)
{
	uint64_t nbytes = 0;

	if (out->dtype == DTYPE_NONE)
		return fail_data(out, nelems, EOPNOTSUPP,
				 "unknown element type", e);
	if (t->segment)
		return fail_data(out, nelems, EOPNOTSUPP,
				 "a segment of a tensor", e);
	if (t->data_location != LOCATION_EXTERNAL)
		return inline_data(f, t, out, nelems, e);
	if (!dtype_nbytes(out->dtype, nelems, &nbytes))
		return err_set(e, EINVAL, "no size for external data");
	return onnx_external(f, t, nbytes, &out->data, e);
}

int onnx_tensor(struct onnx_files *f, const Onnx__Tensor *t, struct tensor *out,
		struct err *e)
{
	struct tensor made = {.dtype = dtype_by_onnx(t->data_type)};
	struct err why = {0};
	uint64_t nelems;
	int rc = shape_set(&made.shape, t->dims, t->n_dims, e);

	if (rc < 0)
		return rc;
	if (!shape_nelems(&made.shape, &nelems))
		return err_set(e, EINVAL, "the shape is too large");
	rc = make_data(f, t, &made, nelems, &why);
	if (rc < 0 && f->lenient)
		rc = fail_data(&made, nelems, EIO, why.msg, &why);
	if (rc < 0)
		return err_set(e, why.code, "%s", why.msg);
	*out = made;
	return 0;
}
