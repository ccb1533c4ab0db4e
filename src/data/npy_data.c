/* SPDX-License-Identifier: MIT */
/*
 * npy_data - the elements of NumPy's arrays: made row-major and little-endian;
 * text as UTF-8; a field of records, wherever they lie.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/npy.h"
#include "modelfs/text.h"

/* Text that a string array may become in memory. */
#define STRINGS_MAX ((uint64_t)1 << 30)
/* Texts of no length cost the file nothing. */
#define EMPTY_STRINGS_MAX 65536

/* Column-major bytes as row-major ones.  Takes data. */
static int reorder(struct blob *data, const struct npy_info *info,
		   struct blob **out, struct err *e)
{
	int64_t strides[SHAPE_RANK_MAX];
	int64_t step = 1;

	for (int32_t i = 0; i < info->shape.rank; i++) {
		strides[i] = step;
		if (__builtin_mul_overflow(step, info->shape.dims[i], &step))
			step = 0; /* only where another extent is 0 */
	}
	return blob_strided(data, info->itemsize, &info->shape, strides, 0, out,
			    e);
}

static uint32_t load_ucs4(const uint8_t *p, bool swapped)
{
	uint32_t v = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		     (uint32_t)p[3] << 24;

	return swapped ? __builtin_bswap32(v) : v;
}

/* One character; U+DC80 + n stands for the byte 0x80 + n that is no UTF-8. */
static size_t encode_char(uint32_t c, char out[4])
{
	if (c >= 0xdc80 && c <= 0xdcff) {
		out[0] = (char)(c - 0xdc00);
		return 1;
	}
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static int add_ucs4(struct string_list *l, const uint8_t *p, size_t nchars,
		    bool swapped, struct err *e)
{
	struct text t = {0};
	char utf8[4];
	int rc = 0;

	while (nchars > 0 && load_ucs4(p + 4 * (nchars - 1), swapped) == 0)
		nchars--;
	for (size_t i = 0; i < nchars && rc == 0; i++) {
		uint32_t c = load_ucs4(p + 4 * i, swapped);

		if (c > 0x10ffff)
			rc = err_set(e, EINVAL, ".npy string: character 0x%x",
				     c);
		else
			text_add_bytes(&t, utf8, encode_char(c, utf8));
	}
	if (rc == 0 && (t.failed || string_list_add(l, t.p ? t.p : "", t.len)))
		rc = err_nomem(e, t.len);
	text_free(&t);
	return rc;
}

static int add_string(struct string_list *l, const struct npy_info *info,
		      const uint8_t *p, struct err *e)
{
	size_t len = info->itemsize;

	if (info->kind == 'U')
		return add_ucs4(l, p, len / 4, info->swapped, e);
	while (len > 0 && p[len - 1] == 0)
		len--;
	if (string_list_add(l, (const char *)p, len) < 0)
		return err_nomem(e, len);
	return 0;
}

static int fill_strings(struct string_list *l, const struct npy_info *info,
			struct blob *data, uint64_t nelems, struct err *e)
{
	uint8_t *buf = malloc(info->itemsize + 1);
	int rc = 0;

	if (!buf)
		return err_nomem(e, info->itemsize);
	for (uint64_t i = 0; i < nelems && rc == 0; i++) {
		rc = blob_read_full(data, buf, info->itemsize,
				    i * info->itemsize, e);
		if (rc == 0)
			rc = add_string(l, info, buf, e);
	}
	free(buf);
	return rc;
}

/* Takes data. */
static int read_strings(struct blob *data, const struct npy_info *info,
			uint64_t nelems, struct blob **out, struct err *e)
{
	struct string_list *l = NULL;
	int rc = 0;

	if (nelems > STRINGS_MAX / sizeof(uint64_t) ||
	    data->size > STRINGS_MAX ||
	    (info->itemsize == 0 && nelems > EMPTY_STRINGS_MAX))
		rc = err_set(e, EFBIG, ".npy string array is too large");
	if (rc == 0) {
		l = string_list_new();
		rc = l ? fill_strings(l, info, data, nelems, e)
		       : err_nomem(e, sizeof(void *));
	}
	blob_unref(data);
	if (rc < 0) {
		string_list_free(l);
		return rc;
	}
	*out = string_list_finish(l);
	return *out ? 0 : err_nomem(e, nelems);
}

/* Takes data, of which there is as much as the shape asks for. */
static int finish(struct blob *data, const struct npy_info *info,
		  uint64_t nelems, struct tensor *out, struct err *e)
{
	size_t width = info->itemsize;
	int rc;

	out->dtype = info->dtype;
	out->shape = info->shape;
	if (info->dtype == DTYPE_STRING) {
		rc = read_strings(data, info, nelems, &data, e);
		if (rc < 0)
			return rc;
	} else if (info->kind == 'V') {
		/* Bytes of no known meaning are one more axis. */
		if (out->shape.rank == SHAPE_RANK_MAX) {
			blob_unref(data);
			return err_set(e, EOPNOTSUPP,
				       ".npy bytes of more than %d axes",
				       SHAPE_RANK_MAX - 1);
		}
		out->shape.dims[out->shape.rank++] = (int64_t)width;
	} else if (info->swapped && width > 1) {
		data = blob_swap(data, info->kind == 'c' ? width / 2 : width);
		if (!data)
			return err_nomem(e, sizeof(*data));
	}
	out->data = data;
	return 0;
}

int npy_read_elements(struct blob *data, const struct npy_info *info,
		      struct tensor *out, struct err *e)
{
	uint64_t nelems, nbytes;
	int rc = 0;

	if (!shape_nelems(&info->shape, &nelems) ||
	    __builtin_mul_overflow(nelems, (uint64_t)info->itemsize, &nbytes) ||
	    nbytes != data->size) {
		blob_unref(data);
		return err_set(e, EINVAL,
			       "an array whose bytes do not fit its shape");
	}
	if (info->fortran_order && info->shape.rank >= 2 && nbytes > 0)
		rc = reorder(data, info, &data, e);
	return rc < 0 ? rc : finish(data, info, nelems, out, e);
}

static int too_short(struct blob *file, struct err *e)
{
	return err_set(e, EIO,
		       ".npy file of %llu bytes is too short for its shape",
		       (unsigned long long)file->size);
}

/* The bytes of all elements, as they are stored. */
static int open_elements(struct blob *file, const struct npy_info *info,
			 uint64_t itemsize, struct blob **out, struct err *e)
{
	uint64_t nelems, nbytes;

	if (!shape_nelems(&info->shape, &nelems))
		return err_set(e, EINVAL, ".npy shape is too large");
	if (__builtin_mul_overflow(nelems, itemsize, &nbytes) ||
	    info->data_off > file->size || nbytes > file->size - info->data_off)
		return too_short(file, e);
	*out = blob_slice(blob_ref(file), info->data_off, nbytes);
	return *out ? 0 : err_nomem(e, sizeof(**out));
}

int npy_read_data(struct blob *file, const struct npy_info *info,
		  struct tensor *out, struct err *e)
{
	struct blob *data;
	int rc = open_elements(file, info, info->itemsize, &data, e);

	return rc < 0 ? rc : npy_read_elements(data, info, out, e);
}

int npy_read(struct blob *file, struct tensor *out, struct err *e)
{
	struct npy_info info;
	int rc = npy_read_header(file, &info, e);

	return rc < 0 ? rc : npy_read_data(file, &info, out, e);
}

/* ---- records ---- */

/*
 * The view of one field as units that all its steps are multiples of; what
 * an element has of them is the last axis.
 */
struct field_view {
	struct shape shape;
	int64_t strides[SHAPE_RANK_MAX]; /* bytes, then units */
	size_t unit;
};

static size_t gcd(size_t a, size_t b)
{
	while (b) {
		size_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static void set_steps(const struct shape *s, bool is_fortran, uint64_t size,
		      int64_t *strides)
{
	int64_t step = (int64_t)size;

	for (int32_t i = 0; i < s->rank; i++) {
		int32_t axis = is_fortran ? i : s->rank - 1 - i;

		strides[axis] = step;
		/* Only where another extent is 0: they are all in the file. */
		if (__builtin_mul_overflow(step, s->dims[axis], &step))
			step = 0;
	}
}

static int view_field(const struct npy_info *info, uint64_t record,
		      const struct npy_field *f, struct field_view *v,
		      struct err *e)
{
	int32_t rank = info->shape.rank, all = rank + f->info.shape.rank;

	if (all >= SHAPE_RANK_MAX)
		return err_set(e, EOPNOTSUPP, ".npy field of more than %d axes",
			       SHAPE_RANK_MAX - 1);
	*v = (struct field_view){.shape = info->shape};
	set_steps(&info->shape, info->fortran_order, record, v->strides);
	for (int32_t i = 0; i < f->info.shape.rank; i++) {
		v->shape.dims[rank + i] = f->info.shape.dims[i];
		v->strides[rank + i] = f->strides[i];
	}
	v->shape.rank = all;
	v->unit = gcd(f->info.itemsize, f->offset);
	for (int32_t i = 0; i < all; i++)
		v->unit = gcd(v->unit, (size_t)v->strides[i]);
	if (v->unit == 0) /* records of no bytes */
		v->unit = 1;
	for (int32_t i = 0; i < all; i++)
		v->strides[i] /= (int64_t)v->unit;
	return 0;
}

/* Takes data: all records. */
static int gather_field(struct blob *data, const struct npy_field *f,
			const struct field_view *v, struct blob **out,
			struct err *e)
{
	struct field_view units = *v;

	units.strides[units.shape.rank] = 1;
	units.shape.dims[units.shape.rank++] =
		(int64_t)(f->info.itemsize / v->unit);
	return blob_strided(data, v->unit, &units.shape, units.strides,
			    f->offset / v->unit, out, e);
}

int npy_read_field(struct blob *file, const struct npy_info *info,
		   const struct npy_record *r, size_t field, struct tensor *out,
		   struct err *e)
{
	const struct npy_field *f = &r->fields[field];
	struct npy_info inner = f->info;
	struct field_view v;
	struct blob *data;
	uint64_t nelems;
	int rc;

	if (inner.dtype == DTYPE_NONE)
		return err_set(e, EOPNOTSUPP, ".npy field of kind '%c'",
			       inner.kind);
	rc = open_elements(file, info, r->nbytes, &data, e);
	if (rc < 0)
		return rc;
	rc = view_field(info, r->nbytes, f, &v, e);
	if (rc == 0 && !shape_nelems(&v.shape, &nelems))
		rc = err_set(e, EINVAL, ".npy field is too large");
	if (rc < 0) {
		blob_unref(data);
		return rc;
	}
	inner.shape = v.shape;
	inner.fortran_order = false;
	if (inner.itemsize > 0 && nelems > 0) {
		rc = gather_field(data, f, &v, &data, e);
	} else {
		blob_unref(data);
		data = blob_copy("", 0);
		rc = data ? 0 : err_nomem(e, 0);
	}
	return rc < 0 ? rc : npy_read_elements(data, &inner, out, e);
}
