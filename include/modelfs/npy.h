/* SPDX-License-Identifier: MIT */
/*
 * npy - NumPy's file format (numpy/lib/format: versions 1.0 to 3.0), both
 * ways.  Nothing in a header is evaluated: it is read by a small literal
 * parser, and object arrays are refused.
 *
 * Dates and durations are their 64-bit numbers; elements that are only so many
 * bytes (|V2) have one more axis of uint8; of records there is a tensor for
 * every field.
 */
#ifndef MODELFS_NPY_H
#define MODELFS_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/tensor.h"

struct arena;
struct blob;
struct err;
struct literal;

/* Longest header that npy_header writes. */
#define NPY_HEADER_MAX 1024

/*
 * The header for elements described by descr ("<f4"), padded so that the data
 * starts at a multiple of 64, as NumPy writes it.  Returns its length.
 */
size_t npy_header(char buf[NPY_HEADER_MAX], const char *descr,
		  const struct shape *shape);

struct npy_info {
	enum dtype dtype;
	struct shape shape;
	bool fortran_order;
	bool swapped;	   /* big-endian elements */
	size_t itemsize;   /* bytes of an element; "<U7" is 28 */
	char kind;	   /* NumPy's kind letter: f i u b c U S V O M m */
	char descr[24];	   /* as in the file, cut off where it is longer */
	uint64_t data_off; /* of the first element */
	/* Where in the file the list of a record type is; else of no length. */
	uint64_t record_off;
	size_t record_len;
};

/*
 * Reads the header at the start of a blob.  EINVAL when it is malformed,
 * EOPNOTSUPP for a descr without a dtype of ours (info is filled as far as
 * known: dtype is DTYPE_NONE).
 */
int npy_read_header(struct blob *file, struct npy_info *out, struct err *e);

/* "<f4", "|S10", "?": sets descr, kind, itemsize, dtype, swapped. */
int npy_parse_descr(const void *text, size_t len, struct npy_info *info,
		    struct err *e);
/* A tuple of extents. */
int npy_parse_shape(struct literal *l, struct shape *out, struct err *e);

/*
 * The whole array as a tensor (row-major, little-endian; "<U" and "|S" become
 * DTYPE_STRING).  EIO when the file is shorter than its shape.
 */
int npy_read(struct blob *file, struct tensor *out, struct err *e);
/* The same for a header that was read already. */
int npy_read_data(struct blob *file, const struct npy_info *info,
		  struct tensor *out, struct err *e);
/* The same for bytes (taken) that are the elements; data_off is not used. */
int npy_read_elements(struct blob *data, const struct npy_info *info,
		      struct tensor *out, struct err *e);

/* ---- records ---- */

struct npy_field {
	const char
		*name; /* of what is inside of another field: "outer.inner" */
	size_t len;
	struct npy_info info;		 /* its elements; shape: its own axes */
	uint64_t offset;		 /* bytes, in a record */
	int64_t strides[SHAPE_RANK_MAX]; /* bytes, of its own axes */
};

struct npy_record {
	struct arena *arena; /* names */
	struct npy_field *fields;
	size_t nfields;
	uint64_t nbytes; /* of a record */
};

/*
 * The type of an array for which npy_read_header gave a record_len.
 * EOPNOTSUPP when it holds objects.
 */
int npy_read_record(struct blob *file, const struct npy_info *info,
		    struct npy_record **out, struct err *e);
void npy_record_free(struct npy_record *r);
/* One field of all records, as a tensor: the array's axes, then its own. */
int npy_read_field(struct blob *file, const struct npy_info *info,
		   const struct npy_record *r, size_t field, struct tensor *out,
		   struct err *e);

#endif
