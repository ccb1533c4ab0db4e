/* SPDX-License-Identifier: MIT */
/*
 * tensor - a type, a shape and the bytes: row-major, contiguous and
 * little-endian.  Strides and byte order end in the reader.
 *
 * Elements of DTYPE_STRING: uint64_t offset[n + 1] into the bytes that follow
 * the table; string i is [offset[i], offset[i + 1]).
 * DTYPE_SEQUENCE, DTYPE_OPTIONAL: shape is [n] and the blob was made by
 * blob_items of n tensors.  DTYPE_MAP: shape is [n], the blob holds two tensors
 * of shape [n], keys (int64 or strings) and values.
 *
 * Between two operators of a run images [N C H W] of short floats may be in
 * blocks of channels instead: [N][C / block][H][W][block], the last one filled
 * up, each number a float32 that the tensor's type holds.
 */
#ifndef MODELFS_TENSOR_H
#define MODELFS_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/dtype.h"

struct blob;
struct err;

/* NumPy's own limit; a tensor of higher rank is EOPNOTSUPP. */
#define SHAPE_RANK_MAX 32

/* An extent that is known only when the graph runs. */
#define DIM_UNKNOWN ((int64_t)-1)

struct shape {
	int32_t rank; /* -1: not even the rank is known */
	int64_t dims[SHAPE_RANK_MAX];
};

struct tensor {
	enum dtype dtype;
	struct shape shape;
	struct blob *data; /* owned; NULL: described only */
	uint16_t block;	   /* in a run: channels of a block; 0: row-major */
};

/* EINVAL for a negative extent or an overflow, EOPNOTSUPP for the rank. */
int shape_set(struct shape *s, const int64_t *dims, size_t rank,
	      struct err *e);
struct shape shape_of(int32_t rank, const int64_t *dims);
struct shape shape_unknown(void);
bool shape_is_known(const struct shape *s);
bool shape_equal(const struct shape *a, const struct shape *b);
/* Product of the extents; false when unknown or beyond 2^63 - 1. */
bool shape_nelems(const struct shape *s, uint64_t *out);
/* Row-major strides in elements. */
void shape_strides(const struct shape *s, int64_t *strides);
/* "64 3 7 7": what .shape holds, without the newline. */
size_t shape_format(const struct shape *s, char *buf, size_t size);

/* Bytes of the elements; false when unknown, variable or too large. */
bool tensor_nbytes(const struct tensor *t, uint64_t *out);
/* EINVAL unless data has the size that type and shape ask for. */
int tensor_check(const struct tensor *t, struct err *e);

/*
 * Undoes what .npy did to a type that NumPy lacks: float32 back to bfloat16,
 * int8 to int4, …  Does nothing unless t has the type `to` is widened to.
 * Rounds to nearest even; EINVAL for an integer that does not fit.
 */
int tensor_narrow(struct tensor *t, enum dtype to, struct err *e);

/* Copies type and shape and takes a new reference to the data. */
struct tensor tensor_ref(const struct tensor *t);
/* Drops the data and makes it the empty tensor. */
void tensor_drop(struct tensor *t);

/* Elements of a DTYPE_STRING tensor whose blob is in memory. */
const char *tensor_string(const struct tensor *t, uint64_t i, size_t *len);

/* Collects strings into the layout above. */
struct string_list;
struct string_list *string_list_new(void);
int string_list_add(struct string_list *l, const char *s, size_t len);
/* The blob, owned by the caller; frees the list.  NULL: out of memory. */
struct blob *string_list_finish(struct string_list *l);
void string_list_free(struct string_list *l);

/* A container's elements; takes one reference of each item's data. */
struct blob *blob_items(const struct tensor *items, size_t nitems);
/* NULL unless the blob was made by blob_items. */
const struct tensor *blob_get_items(struct blob *b, size_t *nitems);

#endif
