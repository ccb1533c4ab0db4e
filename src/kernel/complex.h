/* SPDX-License-Identifier: MIT */
/* complex - arithmetic on complex numbers, as pairs of float64. */
#ifndef KERNEL_COMPLEX_H
#define KERNEL_COMPLEX_H

#include "kernel/stride.h"
#include "modelfs/kernel.h"

enum complex_op {
	COMPLEX_CONJ,
	COMPLEX_COS,
	COMPLEX_EXP,
	COMPLEX_LOG,
	COMPLEX_NEG,
	COMPLEX_RECIPROCAL,
	COMPLEX_RSQRT,
	COMPLEX_SIN,
	COMPLEX_SQRT,
	COMPLEX_SQUARE,
	COMPLEX_TANH,
	/* One number comes out: */
	COMPLEX_ABS,
	COMPLEX_ANGLE,
	COMPLEX_IMAG,
	COMPLEX_REAL,
	/* Two go in: */
	COMPLEX_ADD,
	COMPLEX_DIV,
	COMPLEX_MUL,
	COMPLEX_POW,
	COMPLEX_SUB
};

/* Before COMPLEX_ADD.  out: n pairs, or from COMPLEX_ABS on n numbers. */
void complex_for(const struct kernel *k, enum complex_op op, const double *in,
		 double *out, size_t n);

/* From COMPLEX_ADD on: a row for stride_for, whose elements are pairs. */
stride_fn *complex_find(enum complex_op op);

#endif
