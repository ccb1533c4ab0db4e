/* SPDX-License-Identifier: MIT */
/*
 * hdf5_chunks - data in chunks as a blob: a read decodes the chunks it
 * touches; the last few are kept.
 *
 * One mutex per blob protects the decoded chunks.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"

#include "wire/hdf5_file.h"

/* One decoded chunk, and all that are kept. */
#define CHUNK_MAX ((uint64_t)256 << 20)
#define KEPT_BYTES ((size_t)16 << 20)
#define KEPT 16

struct kept {
	uint64_t idx;
	uint8_t *data; /* owned; NULL: free */
	uint64_t used; /* when */
};

struct chunked {
	struct blob blob;
	struct source *src;	       /* owned */
	struct hdf5_chunked c;	       /* chunks are owned */
	size_t chunk_size;	       /* bytes, decoded */
	uint64_t grid[SHAPE_RANK_MAX]; /* chunks along each axis */

	pthread_mutex_t lock; /* all below */
	struct kept kept[KEPT];
	size_t nkept; /* how many of them may be used */
	uint64_t clock;
};

static int by_idx(const void *pa, const void *pb)
{
	const struct hdf5_chunk *a = pa, *b = pb;

	return a->idx < b->idx ? -1 : a->idx > b->idx;
}

static const struct hdf5_chunk *find_chunk(const struct chunked *k,
					   uint64_t idx)
{
	struct hdf5_chunk want = {.idx = idx};

	if (k->c.nchunks == 0)
		return NULL;
	return bsearch(&want, k->c.chunks, k->c.nchunks, sizeof(want), by_idx);
}

static int decode(struct chunked *k, const struct hdf5_chunk *chunk,
		  uint8_t **out, struct err *e)
{
	uint8_t *data = malloc((size_t)chunk->size + 1);
	int rc;

	if (!data)
		return err_nomem(e, chunk->size);
	rc = source_read(k->src, data, chunk->size, chunk->addr, e);
	if (rc == 0)
		rc = hdf5_unfilter(k->c.filters, k->c.nfilters, chunk->mask,
				   &data, chunk->size, k->chunk_size, e);
	if (rc < 0)
		free(data);
	else
		*out = data;
	return rc;
}

/* Locked.  The decoded chunk, valid until the lock is dropped. */
static int get_chunk(struct chunked *k, const struct hdf5_chunk *chunk,
		     const uint8_t **out, struct err *e)
{
	struct kept *oldest = &k->kept[0];
	uint8_t *data = NULL;
	int rc;

	for (size_t i = 0; i < k->nkept; i++) {
		struct kept *x = &k->kept[i];

		if (x->data && x->idx == chunk->idx) {
			x->used = ++k->clock;
			*out = x->data;
			return 0;
		}
		if (x->used < oldest->used)
			oldest = x;
	}
	rc = decode(k, chunk, &data, e);
	if (rc < 0)
		return rc;
	free(oldest->data);
	*oldest = (struct kept){chunk->idx, data, ++k->clock};
	*out = data;
	return 0;
}

/* Where an element is: its chunk, its place there, what follows it. */
static void locate(const struct chunked *k, uint64_t elem, uint64_t *chunk,
		   uint64_t *within, uint64_t *run)
{
	int64_t at[SHAPE_RANK_MAX];
	const struct hdf5_chunked *c = &k->c;

	for (int32_t i = c->shape.rank; i-- > 0;) {
		at[i] = (int64_t)(elem % (uint64_t)c->shape.dims[i]);
		elem /= (uint64_t)c->shape.dims[i];
	}
	*chunk = *within = 0;
	*run = 1;
	for (int32_t i = 0; i < c->shape.rank; i++) {
		int64_t d = c->chunk.dims[i], in = at[i] % d;
		int64_t left = c->shape.dims[i] - at[i];

		*chunk = *chunk * k->grid[i] + (uint64_t)(at[i] / d);
		*within = *within * (uint64_t)d + (uint64_t)in;
		*run = (uint64_t)(d - in < left ? d - in : left);
	}
}

static void put_fill(const struct chunked *k, uint8_t *to, size_t len,
		     uint64_t skip)
{
	for (size_t i = 0; i < len; i++)
		to[i] = k->c.fill[(skip + i) % k->c.elem_size];
}

static int read_locked(struct chunked *k, uint8_t *to, size_t len, uint64_t off,
		       struct err *e)
{
	while (len > 0) {
		uint64_t idx, within, run, skip = off % k->c.elem_size;
		const struct hdf5_chunk *chunk;
		const uint8_t *data;
		size_t n;
		int rc;

		locate(k, off / k->c.elem_size, &idx, &within, &run);
		run = run * k->c.elem_size - skip;
		n = run < len ? (size_t)run : len;
		chunk = find_chunk(k, idx);
		if (chunk) {
			rc = get_chunk(k, chunk, &data, e);
			if (rc < 0)
				return rc;
			memcpy(to, data + within * k->c.elem_size + skip, n);
		} else {
			put_fill(k, to, n, skip);
		}
		to += n;
		off += n;
		len -= n;
	}
	return 0;
}

static int chunked_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	struct chunked *k = (struct chunked *)b;
	int rc;

	pthread_mutex_lock(&k->lock);
	rc = read_locked(k, buf, len, off, e);
	pthread_mutex_unlock(&k->lock);
	return rc;
}

static void chunked_fini(struct blob *b)
{
	struct chunked *k = (struct chunked *)b;

	for (size_t i = 0; i < KEPT; i++)
		free(k->kept[i].data);
	source_unref(k->src);
	free(k->c.chunks);
	pthread_mutex_destroy(&k->lock);
}

static const struct blob_ops chunked_ops = {
	.read = chunked_read,
	.fini = chunked_fini,
	.slow = true,
};

static int check(struct chunked *k, uint64_t *nbytes, struct err *e)
{
	const struct hdf5_chunked *c = &k->c;
	uint64_t nelems, n, size;

	for (int32_t i = 0; i < c->shape.rank; i++) {
		if (c->chunk.dims[i] <= 0)
			return err_set(e, EINVAL, "chunks without elements");
		k->grid[i] = (uint64_t)(c->shape.dims[i] / c->chunk.dims[i]) +
			     (c->shape.dims[i] % c->chunk.dims[i] != 0);
	}
	if (!shape_nelems(&c->shape, &nelems) ||
	    __builtin_mul_overflow(nelems, (uint64_t)c->elem_size, nbytes))
		return err_set(e, EINVAL, "the shape is too large");
	if (!shape_nelems(&c->chunk, &n) ||
	    __builtin_mul_overflow(n, (uint64_t)c->elem_size, &size) ||
	    size > CHUNK_MAX)
		return err_set(e, EFBIG, "chunks are too large");
	k->chunk_size = (size_t)size;
	k->nkept = size ? KEPT_BYTES / (size_t)size : KEPT;
	k->nkept = k->nkept < 1 ? 1 : k->nkept > KEPT ? KEPT : k->nkept;
	for (size_t i = 1; i < c->nchunks; i++)
		if (c->chunks[i - 1].idx == c->chunks[i].idx)
			return err_set(e, EINVAL, "a chunk is there twice");
	return 0;
}

int hdf5_chunked_blob(struct source *src, const struct hdf5_chunked *c,
		      struct blob **out, struct err *e)
{
	struct chunked *k = calloc(1, sizeof(*k));
	uint64_t nbytes = 0;
	int rc;

	if (!k) {
		free(c->chunks);
		return err_nomem(e, sizeof(*k));
	}
	k->c = *c;
	if (c->nchunks > 1)
		qsort(c->chunks, c->nchunks, sizeof(*c->chunks), by_idx);
	rc = check(k, &nbytes, e);
	if (rc < 0) {
		free(c->chunks);
		free(k);
		return rc;
	}
	k->src = source_ref(src);
	pthread_mutex_init(&k->lock, NULL);
	blob_init(&k->blob, &chunked_ops, nbytes);
	*out = &k->blob;
	return 0;
}
