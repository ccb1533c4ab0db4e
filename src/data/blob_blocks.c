/* SPDX-License-Identifier: MIT */
/*
 * blob_blocks - blobs whose bytes are another blob's, decoded block by block:
 * swapped byte order, and elements widened to a type that NumPy has.
 *
 * A read decodes the blocks it touches and nothing else, in pieces of at most
 * PIECE bytes of input.
 */
#include "modelfs/blob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"

#define PIECE ((size_t)64 * 1024)
/* 256 elements of a quantised block as float32; 16 bytes of a complex128. */
#define BLOCK_OUT_MAX 2048

struct blob_blocks {
	struct blob base;
	struct blob *from; /* owned reference */
	enum dtype dtype;  /* DTYPE_NONE: swap groups of in_block bytes */
	bool swaps_blocks; /* and not widens */
	size_t in_block;   /* bytes */
	size_t out_block;  /* bytes; the last block may be shorter */
	size_t elem_size;  /* of one decoded element */
};

/* 32 groups of 2, 4 or 8 bytes: constants, for the sake of vector code. */
#define DEFINE_SWAP(bits)                                        \
	static void swap##bits(uint8_t *dst, const uint8_t *src) \
	{                                                        \
		uint##bits##_t v[32];                            \
                                                                 \
		memcpy(v, src, sizeof(v));                       \
		for (int i = 0; i < 32; i++)                     \
			v[i] = __builtin_bswap##bits(v[i]);      \
		memcpy(dst, v, sizeof(v));                       \
	}

DEFINE_SWAP(16)
DEFINE_SWAP(32)
DEFINE_SWAP(64)

static void swap_groups(uint8_t *dst, const uint8_t *src, size_t width,
			size_t len)
{
	size_t whole = len - len % width;
	size_t i = 0;

	for (; width == 2 && i + 64 <= whole; i += 64)
		swap16(dst + i, src + i);
	for (; width == 4 && i + 128 <= whole; i += 128)
		swap32(dst + i, src + i);
	for (; width == 8 && i + 256 <= whole; i += 256)
		swap64(dst + i, src + i);
	for (; i < whole; i += width)
		for (size_t j = 0; j < width; j++)
			dst[i + j] = src[i + width - 1 - j];
	memcpy(dst + whole, src + whole, len - whole);
}

/* out_len bytes of output from whole blocks of input. */
static void decode(const struct blob_blocks *k, const uint8_t *src,
		   uint8_t *dst, size_t out_len)
{
	if (k->dtype == DTYPE_NONE) {
		swap_groups(dst, src, k->in_block, out_len);
	} else if (k->swaps_blocks) {
		memcpy(dst, src, out_len);
		dtype_swap(k->dtype, dst, out_len / k->in_block);
	} else {
		dtype_widen(k->dtype, src, dst, out_len / k->elem_size);
	}
}

/* Bytes of input that make blocks [first, first + n), at the end fewer. */
static size_t input_len(const struct blob_blocks *k, uint64_t first, size_t n)
{
	uint64_t off = first * k->in_block;
	uint64_t left = off < k->from->size ? k->from->size - off : 0;
	size_t len = n * k->in_block;

	/* Only a swap may end within a block; else reading gives EIO. */
	if (k->dtype == DTYPE_NONE && len > left)
		len = left;
	return len;
}

/* A borrowed pointer to blocks [first, first + n); buf is where to read to. */
static int fetch(struct blob_blocks *k, uint64_t first, size_t n, uint8_t *buf,
		 const uint8_t **out, struct err *e)
{
	const uint8_t *all = blob_bytes(k->from);
	uint64_t off = first * k->in_block;
	size_t len = input_len(k, first, n);

	if (all && off <= k->from->size && len <= k->from->size - off) {
		*out = all + off;
		return 0;
	}
	*out = buf;
	return blob_read_full(k->from, buf, len, off, e);
}

/* Part of one block: [skip, skip + len) of its output. */
static int read_part(struct blob_blocks *k, uint64_t block, size_t skip,
		     uint8_t *to, size_t len, uint8_t *buf, struct err *e)
{
	uint64_t left = k->base.size - block * k->out_block;
	size_t whole = left < k->out_block ? left : k->out_block;
	uint8_t tmp[BLOCK_OUT_MAX];
	const uint8_t *src;
	int rc = fetch(k, block, 1, buf, &src, e);

	if (rc < 0)
		return rc;
	decode(k, src, tmp, whole);
	memcpy(to, tmp + skip, len);
	return 0;
}

static int read_pieces(struct blob_blocks *k, uint8_t *to, size_t len,
		       uint64_t off, uint8_t *buf, struct err *e)
{
	size_t piece = PIECE / k->in_block;

	while (len > 0) {
		uint64_t block = off / k->out_block;
		size_t skip = off % k->out_block;
		size_t n = len / k->out_block;
		size_t done = k->out_block - skip;
		const uint8_t *src;
		int rc;

		if (skip > 0 || n == 0) {
			done = done < len ? done : len;
			rc = read_part(k, block, skip, to, done, buf, e);
		} else {
			n = n < piece ? n : piece;
			done = n * k->out_block;
			rc = fetch(k, block, n, buf, &src, e);
			if (rc == 0)
				decode(k, src, to, done);
		}
		if (rc < 0)
			return rc;
		to += done;
		off += done;
		len -= done;
	}
	return 0;
}

static int blocks_read(struct blob *b, void *buf, size_t len, uint64_t off,
		       struct err *e)
{
	struct blob_blocks *k = (struct blob_blocks *)b;
	uint8_t *piece = malloc(PIECE);
	int rc;

	if (!piece)
		return err_nomem(e, PIECE);
	rc = read_pieces(k, buf, len, off, piece, e);
	free(piece);
	return rc;
}

static int blocks_status(struct blob *b, struct err *e)
{
	return blob_status(((struct blob_blocks *)b)->from, e);
}

static void blocks_fini(struct blob *b)
{
	blob_unref(((struct blob_blocks *)b)->from);
}

#define BLOCKS_OPS \
	.read = blocks_read, .status = blocks_status, .fini = blocks_fini

static const struct blob_ops blocks_ops = {BLOCKS_OPS};
static const struct blob_ops blocks_slow_ops = {BLOCKS_OPS, .slow = true};

/* Takes from. */
static struct blob_blocks *blocks_new(struct blob *from, uint64_t size)
{
	struct blob_blocks *k = calloc(1, sizeof(*k));

	if (!k) {
		blob_unref(from);
		return NULL;
	}
	k->from = from;
	blob_init(&k->base, from->ops->slow ? &blocks_slow_ops : &blocks_ops,
		  size);
	return k;
}

struct blob *blob_swap(struct blob *base, size_t width)
{
	struct blob_blocks *k;

	if (!base || width <= 1)
		return base;
	if (width > BLOCK_OUT_MAX) {
		uint64_t size = base->size;

		blob_unref(base);
		return blob_fail(size, EOPNOTSUPP, "byte order of wide groups");
	}
	k = blocks_new(base, base->size);
	if (!k)
		return NULL;
	k->dtype = DTYPE_NONE;
	k->in_block = width;
	k->out_block = width;
	k->elem_size = 1;
	return &k->base;
}

struct blob *blob_swap_dtype(struct blob *base, enum dtype t)
{
	const struct dtype_info *info = dtype_info(t);
	struct blob_blocks *k;

	if (!base || info->block_bytes <= 1)
		return base;
	if (info->class == CLASS_COMPLEX)
		return blob_swap(base, info->block_bytes / 2);
	if (info->class != CLASS_QUANT)
		return info->block_elems == 1
			       ? blob_swap(base, info->block_bytes)
			       : base;
	k = blocks_new(base, base->size);
	if (!k)
		return NULL;
	k->dtype = t;
	k->swaps_blocks = true;
	k->elem_size = 1;
	k->in_block = info->block_bytes;
	k->out_block = info->block_bytes;
	return &k->base;
}

struct blob *blob_widen(struct blob *base, enum dtype t, uint64_t nelems)
{
	const struct dtype_info *info = dtype_info(t);
	struct blob_blocks *k;
	uint64_t size;

	if (!base || info->npy == t)
		return base;
	if (!dtype_nbytes(info->npy, nelems, &size) || size == 0) {
		blob_unref(base);
		return nelems == 0 ? blob_copy(NULL, 0)
				   : blob_fail(0, EOPNOTSUPP,
					       "elements that have no number");
	}
	k = blocks_new(base, size);
	if (!k)
		return NULL;
	k->dtype = t;
	k->elem_size = dtype_size(info->npy);
	k->in_block = info->block_bytes;
	k->out_block = info->block_elems * k->elem_size;
	return &k->base;
}
