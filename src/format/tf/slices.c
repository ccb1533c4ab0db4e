/* SPDX-License-Identifier: MIT */
/* slices - a tensor whose boxes are stored one by one, put together. */
#include <errno.h>
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/tf/tf.h"

struct sliced {
	struct blob blob;
	struct tf_slice *slices; /* owned */
	size_t nslices;
	struct shape full;
	size_t elem_size;
};

int tf_slice_read(const Tf__TensorSlice *p, const struct shape *full,
		  struct tf_slice *out, struct err *e)
{
	size_t rank = (size_t)full->rank;

	if (p->n_extent != rank)
		return err_set(e, EINVAL, "a slice of %zu dimensions of %zu",
			       p->n_extent, rank);
	for (size_t i = 0; i < rank; i++) {
		const Tf__Extent *x = p->extent[i];
		int64_t start = x->has_length ? x->start : 0;
		int64_t len = x->has_length ? x->length : full->dims[i];

		if (start < 0 || len < 0 || len > full->dims[i] ||
		    start > full->dims[i] - len)
			return err_set(e, EINVAL, "a slice outside its tensor");
		out->start[i] = start;
		out->len[i] = len;
	}
	return 0;
}

static bool covers(const struct tf_slice *s, const int64_t *at, int32_t rank)
{
	for (int32_t i = 0; i < rank; i++)
		if (at[i] < s->start[i] || at[i] - s->start[i] >= s->len[i])
			return false;
	return true;
}

static const struct tf_slice *find_slice(const struct sliced *s,
					 const int64_t *at)
{
	for (size_t i = 0; i < s->nslices; i++)
		if (covers(&s->slices[i], at, s->full.rank))
			return &s->slices[i];
	return NULL;
}

/* Where element `at` is in a slice, and how many follow it in its row. */
static uint64_t locate(const struct sliced *s, const struct tf_slice *slice,
		       const int64_t *at, uint64_t *run)
{
	uint64_t idx = 0;
	int32_t last = s->full.rank - 1;

	for (int32_t i = 0; i <= last; i++)
		idx = idx * (uint64_t)slice->len[i] +
		      (uint64_t)(at[i] - slice->start[i]);
	*run = last < 0 ? 1
			: (uint64_t)(slice->start[last] + slice->len[last] -
				     at[last]);
	return idx;
}

static void coordinates(const struct shape *full, uint64_t idx, int64_t *at)
{
	for (int32_t i = full->rank; i-- > 0;) {
		at[i] = (int64_t)(idx % (uint64_t)full->dims[i]);
		idx /= (uint64_t)full->dims[i];
	}
}

static int sliced_read(struct blob *b, void *buf, size_t len, uint64_t off,
		       struct err *e)
{
	struct sliced *s = (struct sliced *)b;
	uint8_t *to = buf;
	int64_t at[SHAPE_RANK_MAX];

	while (len > 0) {
		const struct tf_slice *slice;
		uint64_t run, from, skip = off % s->elem_size;
		size_t n;
		int rc;

		coordinates(&s->full, off / s->elem_size, at);
		slice = find_slice(s, at);
		if (!slice)
			return err_set(e, EIO, "no slice holds these elements");
		from = locate(s, slice, at, &run) * s->elem_size + skip;
		run = run * s->elem_size - skip;
		n = run < len ? (size_t)run : len;
		rc = blob_read_full(slice->data, to, n, from, e);
		if (rc < 0)
			return rc;
		to += n;
		off += n;
		len -= n;
	}
	return 0;
}

static int sliced_status(struct blob *b, struct err *e)
{
	struct sliced *s = (struct sliced *)b;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->nslices; i++)
		rc = blob_status(s->slices[i].data, e);
	return rc;
}

static void free_slices(struct tf_slice *slices, size_t n)
{
	for (size_t i = 0; i < n; i++)
		blob_unref(slices[i].data);
	free(slices);
}

static void sliced_fini(struct blob *b)
{
	struct sliced *s = (struct sliced *)b;

	free_slices(s->slices, s->nslices);
}

static const struct blob_ops sliced_ops = {
	.read = sliced_read,
	.status = sliced_status,
	.fini = sliced_fini,
	.slow = true,
};

static bool has_right_size(const struct tf_slice *s, const struct shape *full,
			   size_t elem_size)
{
	struct shape box = shape_of(full->rank, s->len);
	uint64_t n, nbytes;

	return shape_nelems(&box, &n) &&
	       !__builtin_mul_overflow(n, (uint64_t)elem_size, &nbytes) &&
	       nbytes == s->data->size;
}

int tf_slices(struct tf_slice *slices, size_t n, const struct shape *full,
	      size_t elem_size, struct blob **out, struct err *e)
{
	struct sliced *s = NULL;
	uint64_t nelems, nbytes = 0;
	int rc = 0;

	if (!shape_nelems(full, &nelems) ||
	    __builtin_mul_overflow(nelems, (uint64_t)elem_size, &nbytes))
		rc = err_set(e, EINVAL, "the shape is too large");
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (!has_right_size(&slices[i], full, elem_size))
			rc = err_set(e, EINVAL,
				     "slice %zu has %llu bytes of data", i,
				     (unsigned long long)slices[i].data->size);
	if (rc == 0)
		s = malloc(sizeof(*s));
	if (rc == 0 && !s)
		rc = err_nomem(e, sizeof(*s));
	if (rc < 0) {
		free_slices(slices, n);
		return rc;
	}
	s->slices = slices;
	s->nslices = n;
	s->full = *full;
	s->elem_size = elem_size;
	blob_init(&s->blob, &sliced_ops, nbytes);
	*out = &s->blob;
	return 0;
}
