/* SPDX-License-Identifier: MIT */
/*
 * npy - NumPy's file format (numpy/lib/format: versions 1.0 to 3.0), both
 * ways.  Nothing in a header is evaluated: it is read by a small literal
 * parser, and object arrays are refused.
 */
#ifndef MODELFS_NPY_H
#define MODELFS_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/tensor.h"

struct blob;
struct err;

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
	uint64_t data_off; /* of the first element */
};

/*
 * Reads the header at the start of a blob.  EINVAL when it is malformed,
 * EOPNOTSUPP for a descr without a dtype of ours (info is filled as far as
 * known: dtype is DTYPE_NONE).
 */
int npy_read_header(struct blob *file, struct npy_info *out, struct err *e);

/*
 * The whole array as a tensor (row-major, little-endian; "<U" and "|S" become
 * DTYPE_STRING).  EIO when the file is shorter than its shape.
 */
int npy_read(struct blob *file, struct tensor *out, struct err *e);
/* The same for a header that was read already. */
int npy_read_data(struct blob *file, const struct npy_info *info,
		  struct tensor *out, struct err *e);

#endif
