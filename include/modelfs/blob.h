/* SPDX-License-Identifier: MIT */
/*
 * blob - immutable bytes of known size, wherever they come from.  Every file
 * modelfs serves is one.
 *
 * Blobs are reference-counted and may be read from any thread.  Constructors
 * return NULL when out of memory, except where they take a struct err; a
 * constructor that "takes" a blob owns that reference, also on failure.
 */
#ifndef MODELFS_BLOB_H
#define MODELFS_BLOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/dtype.h"

struct blob;
struct err;
struct source;
struct shape;

/* Where bytes of a blob lie in a file. */
struct extent {
	struct source *src; /* borrowed from the blob */
	uint64_t off;
	uint64_t len;
};

struct blob_ops {
	/* Exactly len bytes at off; off + len <= size is guaranteed. */
	int (*read)(struct blob *b, void *buf, size_t len, uint64_t off,
		    struct err *e);
	/* Optional: the longest file range that starts at off. */
	bool (*extent)(struct blob *b, uint64_t off, struct extent *out);
	/* Optional: all bytes, in memory, aligned to 64. */
	const void *(*bytes)(struct blob *b);
	/* Optional: 0, or the error that opening this blob gives. */
	int (*status)(struct blob *b, struct err *e);
	/* Optional: releases what the kind owns, not the blob itself. */
	void (*fini)(struct blob *b);
	/* Reading may take long: not to be done on a FUSE thread. */
	bool slow;
};

struct blob {
	const struct blob_ops *ops;
	atomic_uint refs;
	uint64_t size;
};

struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b);

/* Reads what there is of [off, off + len); *got tells how much.  EOF is 0. */
int blob_read(struct blob *b, void *buf, size_t len, uint64_t off, size_t *got,
	      struct err *e);
/* Exactly len bytes at off; EIO beyond the end. */
int blob_read_full(struct blob *b, void *buf, size_t len, uint64_t off,
		   struct err *e);
bool blob_extent(struct blob *b, uint64_t off, struct extent *out);
/* True, and *out set, when the blob is exactly one file range. */
bool blob_is_extent(struct blob *b, struct extent *out);
const void *blob_bytes(struct blob *b);
int blob_status(struct blob *b, struct err *e);

/* For kinds defined elsewhere: initialises the common part, one reference. */
void blob_init(struct blob *b, const struct blob_ops *ops, uint64_t size);

/* size bytes, zeroed, aligned to 64; *data is where to write them. */
struct blob *blob_mem(uint64_t size, void **data);
/* A copy of these bytes. */
struct blob *blob_copy(const void *data, size_t len);
/* Takes a malloc'd buffer (also on failure). */
struct blob *blob_take(void *data, size_t len);
/* A range of a file.  EIO when it is not inside the file. */
int blob_file(struct source *src, uint64_t off, uint64_t len,
	      struct blob **out, struct err *e);
/* Opening gives this error.  size is what stat shows. */
struct blob *blob_fail(uint64_t size, int code, const char *msg);
/* One after the other.  Takes the blobs, not the array. */
struct blob *blob_cat(struct blob **parts, size_t nparts);
/* Bytes [off, off + len) of another blob, which it takes. */
struct blob *blob_slice(struct blob *base, uint64_t off, uint64_t len);
/*
 * A raw deflate stream of csize bytes at off, which must inflate to exactly
 * usize bytes with this CRC-32, else EIO.  Streams; keeps at most one inflated
 * copy, and only when it is small or was read out of order.
 */
int blob_inflate(struct source *src, uint64_t off, uint64_t csize,
		 uint64_t usize, uint32_t crc, struct blob **out,
		 struct err *e);
/*
 * The elements of a strided view, in row-major order.  base (taken) holds
 * elements of elem_size bytes; offset and strides count elements; every
 * element of the view must be inside base, else EIO.
 */
int blob_strided(struct blob *base, size_t elem_size, const struct shape *shape,
		 const int64_t *strides, uint64_t offset, struct blob **out,
		 struct err *e);
/*
 * What a strided view of rows × cols elements turns: all of a matrix whose rows
 * are the view's columns; borrowed.  NULL for anything else.
 */
struct blob *blob_turned(struct blob *b, uint64_t rows, uint64_t cols);
/*
 * A tensor of which n elements are stored, the others being zero.  values: n
 * elements; indices: int64, n into the flat tensor or, has_tuples, n times one
 * for each extent, EIO when one is outside.  Takes both blobs.  EINVAL,
 * EOPNOTSUPP for elements that are no whole bytes.
 */
int blob_sparse(struct blob *values, struct blob *indices, size_t elem_size,
		const struct shape *shape, bool has_tuples, struct blob **out,
		struct err *e);
/* Reverses the bytes of every group of `width` bytes.  Takes base. */
struct blob *blob_swap(struct blob *base, size_t width);
/* As it would be with the numbers of every element or block of t swapped. */
struct blob *blob_swap_dtype(struct blob *base, enum dtype t);
/* Elements of type t widened to dtype_info(t)->npy.  Takes base. */
struct blob *blob_widen(struct blob *base, enum dtype t, uint64_t nelems);
/*
 * Stands for a blob that make will make when blob_resolve first asks for it,
 * for small texts that are seldom read; may be called again when it failed.
 * Its own size is 0.  Takes ctx.
 */
typedef int blob_make_fn(void *ctx, struct blob **out, struct err *e);
struct blob *blob_lazy(blob_make_fn *make, void *ctx,
		       void (*free_ctx)(void *ctx));
/* A reference to what a lazy blob stands for; to any other, itself. */
int blob_resolve(struct blob *b, struct blob **out, struct err *e);
/* size bytes that are the pattern (len <= 16 bytes) over and over. */
struct blob *blob_repeat(const void *pattern, size_t len, uint64_t size);

#endif
