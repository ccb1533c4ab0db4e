/* SPDX-License-Identifier: MIT */
/*
 * sparse - tensors of which the zeros are left out.
 *
 * The extents of the tensor, some of them cut into blocks, are walked in an
 * order that the file gives, a level for each.  A dense level has all of its
 * indices; of a compressed one (CSR), entry i of the level above has those in
 * places[starts[i]] .. places[starts[i + 1]].  The stored numbers are one for
 * each entry of the last level.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/tflite/tflite.h"

#define LEVELS_MAX (2 * SHAPE_RANK_MAX)

enum { /* fields */
       SPARSITY_ORDER = 0,
       SPARSITY_BLOCKS = 1,
       SPARSITY_LEVELS = 2,
       LEVEL_FORMAT = 0,
       LEVEL_EXTENT = 1,
       LEVEL_STARTS = 2, /* which kind of vector; the vector */
       LEVEL_PLACES = 4,
       FORMAT_DENSE = 0,
       FORMAT_CSR = 1
};

struct numbers {
	struct blob *data; /* owned */
	uint64_t n;
	unsigned width; /* bytes of each */
};

struct level {
	uint64_t extent;
	uint64_t stride; /* in elements of the tensor */
	uint64_t n;	 /* entries */
	bool is_dense;
	struct numbers starts, places; /* of one that is not */
};

/* The index of every stored number in the whole tensor, as int64. */
struct entries {
	struct blob base;
	size_t nlevels;
	struct level levels[LEVELS_MAX];
};

/* ---- where the stored numbers go ---- */

static int read_numbers(const struct numbers *v, int64_t **out, struct err *e)
{
	int64_t *wide = calloc(v->n + 1, sizeof(*wide));
	uint8_t *p = malloc(v->n * v->width + 1);
	int rc = wide && p ? 0 : err_nomem(e, v->n * sizeof(*wide));

	if (rc == 0)
		rc = blob_read_full(v->data, p, v->n * v->width, 0, e);
	for (uint64_t i = 0; rc == 0 && i < v->n; i++) {
		int32_t number = 0;

		memcpy(&number, p + i * v->width, v->width);
		wide[i] = number;
	}
	free(p);
	if (rc < 0)
		free(wide);
	else
		*out = wide;
	return rc;
}

static void walk_dense(const struct level *l, const int64_t *above, uint64_t n,
		       int64_t *out)
{
	for (uint64_t i = 0; i < n; i++)
		for (uint64_t k = 0; k < l->extent; k++)
			*out++ = above[i] + (int64_t)(k * l->stride);
}

static int walk_rows(const struct level *l, const int64_t *above, uint64_t n,
		     const int64_t *starts, const int64_t *places, int64_t *out,
		     struct err *e)
{
	int64_t at = 0;

	for (uint64_t i = 0; i < n; i++) {
		if (starts[i] != at || starts[i + 1] < at ||
		    (uint64_t)starts[i + 1] > l->n)
			return err_set(e, EIO, "row %llu of a sparse tensor",
				       (unsigned long long)i);
		for (; at < starts[i + 1]; at++) {
			if (places[at] < 0 || (uint64_t)places[at] >= l->extent)
				return err_set(e, EIO,
					       "index %lld of a sparse tensor "
					       "is outside",
					       (long long)places[at]);
			out[at] = above[i] + places[at] * (int64_t)l->stride;
		}
	}
	return (uint64_t)at == l->n
		       ? 0
		       : err_set(e, EIO, "a sparse tensor's rows end at %lld",
				 (long long)at);
}

static int walk_compressed(const struct level *l, const int64_t *above,
			   uint64_t n, int64_t *out, struct err *e)
{
	int64_t *starts = NULL, *places = NULL;
	int rc = read_numbers(&l->starts, &starts, e);

	if (rc == 0)
		rc = read_numbers(&l->places, &places, e);
	if (rc == 0)
		rc = walk_rows(l, above, n, starts, places, out, e);
	free(starts);
	free(places);
	return rc;
}

static int walk(const struct entries *s, int64_t **out, struct err *e)
{
	int64_t *above = calloc(1, sizeof(*above));
	uint64_t n = 1;
	int rc = above ? 0 : err_nomem(e, sizeof(*above));

	for (size_t i = 0; rc == 0 && i < s->nlevels; i++) {
		const struct level *l = &s->levels[i];
		int64_t *next = calloc(l->n + 1, sizeof(*next));

		if (!next)
			rc = err_nomem(e, l->n * sizeof(*next));
		else if (l->is_dense)
			walk_dense(l, above, n, next);
		else
			rc = walk_compressed(l, above, n, next, e);
		free(above);
		above = next;
		n = l->n;
	}
	if (rc < 0)
		free(above);
	else
		*out = above;
	return rc;
}

static int entries_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	int64_t *all;
	int rc = walk((struct entries *)b, &all, e);

	if (rc < 0)
		return rc;
	memcpy(buf, (const uint8_t *)all + off, len);
	free(all);
	return 0;
}

static void entries_fini(struct blob *b)
{
	struct entries *s = (struct entries *)b;

	for (size_t i = 0; i < s->nlevels; i++) {
		blob_unref(s->levels[i].starts.data);
		blob_unref(s->levels[i].places.data);
	}
}

static const struct blob_ops entries_ops = {
	.read = entries_read,
	.fini = entries_fini,
};

/* ---- what the file says ---- */

struct sparsity {
	struct flatbuf_vector order, blocks, levels;
};

static int find_numbers(struct tflite *t, const struct flatbuf_table *level,
			unsigned field, struct numbers *out, struct err *e)
{
	static const unsigned widths[] = {0, 4, 2, 1};
	uint64_t kind = flatbuf_uint(t->f, level, field, 1, 0);
	struct flatbuf_table table = flatbuf_sub(t->f, level, field + 1);
	struct flatbuf_vector v;

	if (kind == 0 || kind > 3 || table.pos == 0)
		return err_set(e, EINVAL, "a sparse tensor without indices");
	out->width = widths[kind];
	v = flatbuf_vector(t->f, &table, 0, out->width);
	out->n = v.n;
	return v.n == 0 ? err_set(e, EINVAL, "a sparse tensor of no indices")
			: blob_file(t->src, v.pos, v.n * out->width, &out->data,
				    e);
}

/* nabove: entries of the level above. */
static int read_level(struct tflite *t, const struct flatbuf_table *table,
		      uint64_t nabove, struct level *l, struct err *e)
{
	int64_t format = flatbuf_int(t->f, table, LEVEL_FORMAT, 1, 0);
	int64_t extent = flatbuf_int(t->f, table, LEVEL_EXTENT, 4, 0);
	int rc;

	l->is_dense = format == FORMAT_DENSE;
	if (l->is_dense && (extent < 0 || (uint64_t)extent != l->extent))
		return err_set(e, EINVAL, "an extent of %lld, not %llu",
			       (long long)extent,
			       (unsigned long long)l->extent);
	if (l->is_dense && !__builtin_mul_overflow(nabove, l->extent, &l->n))
		return 0;
	if (format != FORMAT_CSR)
		return err_set(e, EINVAL, "a level of kind %lld",
			       (long long)format);
	rc = find_numbers(t, table, LEVEL_STARTS, &l->starts, e);
	if (rc == 0)
		rc = find_numbers(t, table, LEVEL_PLACES, &l->places, e);
	if (rc == 0 && l->starts.n - 1 != nabove)
		rc = err_set(e, EINVAL, "%llu rows, not %llu",
			     (unsigned long long)l->starts.n - 1,
			     (unsigned long long)nabove);
	l->n = l->places.n;
	return rc;
}

/* Which level comes from extent number dim; behind the extents are blocks. */
static bool find_level(struct tflite *t, const struct sparsity *s, int64_t dim,
		       size_t *out)
{
	for (uint32_t i = 0; i < s->order.n; i++) {
		*out = i;
		if (flatbuf_int_at(t->f, &s->order, i, 4) == dim)
			return true;
	}
	return false;
}

/* An extent that is cut into blocks has two levels. */
static int cut(struct tflite *t, const struct sparsity *s, uint32_t block,
	       int32_t rank, struct level *levels, struct err *e)
{
	int64_t dim = flatbuf_int_at(t->f, &s->blocks, block, 4);
	int64_t before =
		block > 0 ? flatbuf_int_at(t->f, &s->blocks, block - 1, 4) : -1;
	struct flatbuf_table table;
	struct level *outer, *inner;
	size_t i, k;
	int64_t size;

	if (dim <= before || dim >= rank || !find_level(t, s, dim, &i) ||
	    !find_level(t, s, rank + (int64_t)block, &k))
		return err_set(e, EINVAL, "a sparse tensor's block map");
	outer = &levels[i];
	inner = &levels[k];
	table = flatbuf_at(t->f, &s->levels, (uint32_t)k);
	size = flatbuf_int(t->f, &table, LEVEL_EXTENT, 4, 0);
	if (size <= 0 || outer->extent % (uint64_t)size != 0)
		return err_set(e, EINVAL, "blocks of %lld in %llu",
			       (long long)size,
			       (unsigned long long)outer->extent);
	inner->extent = (uint64_t)size;
	inner->stride = outer->stride;
	outer->extent /= (uint64_t)size;
	outer->stride *= (uint64_t)size;
	return 0;
}

/* Extents and strides of all levels. */
static int find_extents(struct tflite *t, const struct sparsity *s,
			const struct shape *shape, struct level *levels,
			struct err *e)
{
	int64_t strides[SHAPE_RANK_MAX];
	int rc = 0;

	shape_strides(shape, strides);
	for (int32_t d = 0; d < shape->rank; d++) {
		size_t i;

		if (!find_level(t, s, d, &i))
			return err_set(e, EINVAL,
				       "a sparse tensor's traversal order");
		levels[i].extent = (uint64_t)shape->dims[d];
		levels[i].stride = (uint64_t)strides[d];
	}
	for (uint32_t b = 0; rc == 0 && b < s->blocks.n; b++)
		rc = cut(t, s, b, shape->rank, levels, e);
	return rc;
}

static int read_levels(struct tflite *t, const struct sparsity *s,
		       const struct shape *shape, struct entries *out,
		       struct err *e)
{
	uint64_t n = 1, nelems;
	int rc = 0;

	if (!shape_nelems(shape, &nelems) || nelems == 0)
		return err_set(e, EINVAL, "a sparse tensor's shape");
	if (s->order.n != (uint64_t)shape->rank + s->blocks.n ||
	    s->order.n != s->levels.n || s->order.n > LEVELS_MAX)
		return err_set(e, EINVAL, "%u levels of a sparse tensor",
			       s->levels.n);
	out->nlevels = s->levels.n;
	rc = find_extents(t, s, shape, out->levels, e);
	for (uint32_t i = 0; rc == 0 && i < s->levels.n; i++) {
		struct flatbuf_table table = flatbuf_at(t->f, &s->levels, i);

		rc = read_level(t, &table, n, &out->levels[i], e);
		n = out->levels[i].n;
	}
	return rc < 0 ? rc : tflite_check(t, e);
}

int tflite_sparse(struct tflite *t, const struct tflite_tensor *x,
		  struct blob *values, struct blob **out, struct err *e)
{
	struct flatbuf_table table =
		flatbuf_sub(t->f, &x->table, TFLITE_SPARSITY);
	const struct sparsity s = {
		flatbuf_vector(t->f, &table, SPARSITY_ORDER, 4),
		flatbuf_vector(t->f, &table, SPARSITY_BLOCKS, 4),
		flatbuf_vector(t->f, &table, SPARSITY_LEVELS, 4)};
	struct entries *entries = calloc(1, sizeof(*entries));
	uint64_t n;
	int rc;

	if (!entries) {
		blob_unref(values);
		return err_nomem(e, sizeof(*entries));
	}
	blob_init(&entries->base, &entries_ops, 0);
	rc = read_levels(t, &s, &x->type.shape, entries, e);
	n = entries->nlevels ? entries->levels[entries->nlevels - 1].n : 0;
	if (rc == 0 && __builtin_mul_overflow(n, 8, &entries->base.size))
		rc = err_set(e, EINVAL, "a sparse tensor that is too large");
	if (rc == 0)
		return blob_sparse(values, &entries->base,
				   dtype_size(x->type.dtype), &x->type.shape,
				   false, out, e);
	blob_unref(values);
	blob_unref(&entries->base);
	return rc;
}
