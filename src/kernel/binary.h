/* SPDX-License-Identifier: MIT */
/* binary - two numbers in, one out. */
#ifndef KERNEL_BINARY_H
#define KERNEL_BINARY_H

#include "kernel/num.h"
#include "kernel/stride.h"

/*
 * Integers wrap; x / 0 is 0 and x % 0 is 0.  MAX and MIN of a NaN are NaN.
 * MOD has the sign of the divisor, FMOD that of the dividend.
 */
enum binary {
	BINARY_ADD,
	BINARY_SUB,
	BINARY_MUL,
	BINARY_DIV,
	BINARY_MOD,
	BINARY_FMOD,
	BINARY_POW,
	BINARY_MAX,
	BINARY_MIN,
	BINARY_PRELU, /* x < 0 ? x * y : x */
	BINARY_AND,   /* bits, as are OR and XOR: fine for bytes of 0 and 1 */
	BINARY_OR,
	BINARY_XOR,
	BINARY_SHL,
	BINARY_SHR,
	/* These give bytes of 0 or 1. */
	BINARY_EQUAL,
	BINARY_LESS,
	BINARY_LESS_EQUAL,
	BINARY_GREATER,
	BINARY_GREATER_EQUAL,
	BINARY_COUNT
};

/* NULL where the operation does not exist for the type. */
stride_fn *binary_find(enum binary op, enum num t);

/* c ? x : y for elements of `size` bytes (1, 2, 4, 8, 16); NULL otherwise. */
stride_fn *select_find(size_t size);

#endif
