/* SPDX-License-Identifier: MIT */
/*
 * num - the number types kernels compute in.  Booleans are bytes of 0 or 1;
 * 16-bit and smaller floats are converted before they get here.
 */
#ifndef KERNEL_NUM_H
#define KERNEL_NUM_H

#include <stddef.h>
#include <stdint.h>

enum num {
	NUM_U8,
	NUM_I8,
	NUM_U16,
	NUM_I16,
	NUM_U32,
	NUM_I32,
	NUM_U64,
	NUM_I64,
	NUM_F32,
	NUM_F64,
	NUM_COUNT
};

/*
 * X(name, type, wide): wide is an unsigned type in which sums and products
 * of two elements wrap without undefined behaviour.
 */
#define NUM_INTS(X)                \
	X(U8, uint8_t, uint32_t)   \
	X(I8, int8_t, uint32_t)    \
	X(U16, uint16_t, uint32_t) \
	X(I16, int16_t, uint32_t)  \
	X(U32, uint32_t, uint32_t) \
	X(I32, int32_t, uint32_t)  \
	X(U64, uint64_t, uint64_t) \
	X(I64, int64_t, uint64_t)
#define NUM_FLOATS(X)        \
	X(F32, float, float) \
	X(F64, double, double)
#define NUM_ALL(X) NUM_INTS(X) NUM_FLOATS(X)

static inline size_t num_size(enum num t)
{
	static const uint8_t sizes[NUM_COUNT] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};

	return sizes[t];
}

#endif
