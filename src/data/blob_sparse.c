/* SPDX-License-Identifier: MIT */
/*
 * blob_sparse - the elements of a tensor of which only some are stored; the
 * others are zero.  Where they are is read when the first byte is.
 */
#include "modelfs/blob.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/tensor.h"

struct stored {
	uint64_t at;   /* which element of the whole */
	uint64_t from; /* which of the stored ones */
};

struct blob_sparse {
	struct blob base;
	struct blob *values, *indices; /* owned references */
	size_t elem_size;
	struct shape shape;
	bool has_tuples; /* an index for each extent, not one in all */
	uint64_t n;	 /* stored elements */
	pthread_mutex_t lock;
	struct stored *map; /* lock; by place; NULL until it is read */
};

/* Where element i is; false when that is outside. */
static bool locate(const struct blob_sparse *s, const int64_t *idx, uint64_t i,
		   uint64_t *out)
{
	uint64_t at = 0;

	if (!s->has_tuples) {
		*out = (uint64_t)idx[i];
		return idx[i] >= 0 && *out < s->base.size / s->elem_size;
	}
	for (int32_t d = 0; d < s->shape.rank; d++) {
		int64_t k = idx[i * (uint64_t)s->shape.rank + (uint64_t)d];

		if (k < 0 || k >= s->shape.dims[d])
			return false;
		at = at * (uint64_t)s->shape.dims[d] + (uint64_t)k;
	}
	*out = at;
	return true;
}

/* Of several at one place the last one counts. */
static int by_place(const void *a, const void *b)
{
	const struct stored *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->from < y->from ? -1 : x->from > y->from;
}

static int fill_map(const struct blob_sparse *s, const int64_t *idx,
		    struct stored *map, struct err *e)
{
	for (uint64_t i = 0; i < s->n; i++) {
		if (!locate(s, idx, i, &map[i].at))
			return err_set(e, EIO,
				       "index %llu of a sparse tensor is "
				       "outside",
				       (unsigned long long)i);
		map[i].from = i;
	}
	qsort(map, s->n, sizeof(*map), by_place);
	return 0;
}

static int read_map(struct blob_sparse *s, struct stored **out, struct err *e)
{
	int64_t *idx = malloc(s->indices->size + 1);
	struct stored *map = calloc(s->n + 1, sizeof(*map));
	int rc = idx && map ? 0 : err_nomem(e, s->indices->size);

	if (rc == 0)
		rc = blob_read_full(s->indices, idx, s->indices->size, 0, e);
	if (rc == 0)
		rc = fill_map(s, idx, map, e);
	free(idx);
	if (rc < 0)
		free(map);
	else
		*out = map;
	return rc;
}

static int get_map(struct blob_sparse *s, const struct stored **out,
		   struct err *e)
{
	struct stored *map = NULL;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (!s->map)
		rc = read_map(s, &map, e);
	if (map)
		s->map = map;
	*out = s->map;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* The first stored element at or behind this place. */
static uint64_t find(const struct blob_sparse *s, const struct stored *map,
		     uint64_t at)
{
	uint64_t lo = 0, hi = s->n;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (map[mid].at < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Stored elements are mostly in the order of the whole: read ahead. */
struct window {
	uint64_t first, n; /* elements */
	uint8_t bytes[4096];
};

static int read_value(const struct blob_sparse *s, uint64_t from,
		      struct window *w, const uint8_t **out, struct err *e)
{
	uint64_t room = sizeof(w->bytes) / s->elem_size;
	int rc = 0;

	if (from < w->first || from - w->first >= w->n) {
		w->first = from;
		w->n = s->n - from < room ? s->n - from : room;
		rc = blob_read_full(s->values, w->bytes, w->n * s->elem_size,
				    from * s->elem_size, e);
	}
	*out = w->bytes + (from - w->first) * s->elem_size;
	return rc;
}

static int sparse_read(struct blob *b, void *buf, size_t len, uint64_t off,
		       struct err *e)
{
	struct blob_sparse *s = (struct blob_sparse *)b;
	const struct stored *map;
	const uint8_t *elem;
	struct window w = {0};
	uint64_t i;
	int rc = get_map(s, &map, e);

	if (rc < 0)
		return rc;
	memset(buf, 0, len);
	for (i = find(s, map, off / s->elem_size); i < s->n; i++) {
		uint64_t at = map[i].at * s->elem_size, skip = 0;
		size_t n = s->elem_size;

		if (at >= off + len)
			break;
		rc = read_value(s, map[i].from, &w, &elem, e);
		if (rc < 0)
			return rc;
		if (at < off)
			skip = off - at;
		if (at + n > off + len)
			n = (size_t)(off + len - at);
		memcpy((uint8_t *)buf + (at + skip - off), elem + skip,
		       n - skip);
	}
	return 0;
}

static void sparse_fini(struct blob *b)
{
	struct blob_sparse *s = (struct blob_sparse *)b;

	blob_unref(s->values);
	blob_unref(s->indices);
	pthread_mutex_destroy(&s->lock);
	free(s->map);
}

static const struct blob_ops sparse_ops = {
	.read = sparse_read,
	.fini = sparse_fini,
};

/* 0 when values and indices are as many as they should be. */
static int check(const struct blob_sparse *s, uint64_t *nbytes, struct err *e)
{
	uint64_t per = s->has_tuples ? (uint64_t)s->shape.rank : 1, nelems;

	if (s->elem_size == 0 || s->elem_size > 16)
		return err_set(e, EOPNOTSUPP, "a sparse tensor of this type");
	if (!shape_nelems(&s->shape, &nelems) ||
	    __builtin_mul_overflow(nelems, s->elem_size, nbytes) ||
	    *nbytes > INT64_MAX)
		return err_set(e, EINVAL, "a sparse tensor that is too large");
	if (s->values->size % s->elem_size != 0 ||
	    s->indices->size / sizeof(int64_t) != s->n * per ||
	    s->indices->size % sizeof(int64_t) != 0)
		return err_set(e, EINVAL,
			       "a sparse tensor of %llu values with %llu bytes "
			       "of indices",
			       (unsigned long long)s->n,
			       (unsigned long long)s->indices->size);
	return 0;
}

int blob_sparse(struct blob *values, struct blob *indices, size_t elem_size,
		const struct shape *shape, bool has_tuples, struct blob **out,
		struct err *e)
{
	struct blob_sparse *s = calloc(1, sizeof(*s));
	uint64_t nbytes = 0;
	int rc;

	if (!s) {
		blob_unref(values);
		blob_unref(indices);
		return err_nomem(e, sizeof(*s));
	}
	s->values = values;
	s->indices = indices;
	s->elem_size = elem_size;
	s->shape = *shape;
	s->has_tuples = has_tuples;
	s->n = elem_size ? values->size / elem_size : 0;
	pthread_mutex_init(&s->lock, NULL);
	rc = check(s, &nbytes, e);
	blob_init(&s->base, &sparse_ops, nbytes);
	if (rc < 0)
		blob_unref(&s->base);
	else
		*out = &s->base;
	return rc;
}
