/* SPDX-License-Identifier: MIT */
/*
 * fast_body - see kernel/fast.h; included once a level, with LANES (floats of
 * a vector), ROWS and VECTORS (of a tile), LEVEL and LEVEL_NAME defined.  No
 * include guard: it is meant to be compiled again.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel/fast.h"

typedef float vec __attribute__((vector_size(LANES * 4), may_alias));
typedef int32_t mask __attribute__((vector_size(LANES * 4), may_alias));
/* The same in memory, wherever it lies. */
typedef float vec_at
	__attribute__((vector_size(LANES * 4), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline, unused))

INLINE vec load(const float *p)
{
	return *(const vec_at *)p;
}

INLINE void store(float *p, vec v)
{
	*(vec_at *)p = v;
}

/* x - 0 is x, also for -0. */
INLINE vec splat(float x)
{
	return x - (vec){0};
}

INLINE vec select_vec(mask m, vec a, vec b)
{
	return (vec)(((mask)a & m) | ((mask)b & ~m));
}

/* The first n of a vector. */
#ifdef LOAD_SOME
INLINE vec load_some(const float *p, size_t n)
{
	return (vec)LOAD_SOME(p, n);
}

INLINE void store_some(float *p, vec v, size_t n)
{
	STORE_SOME(p, v, n);
}
#else
INLINE vec load_some(const float *p, size_t n)
{
	vec v = {0};

	memcpy(&v, p, n * sizeof(*p));
	return v;
}

INLINE void store_some(float *p, vec v, size_t n)
{
	memcpy(p, &v, n * sizeof(*p));
}
#endif

INLINE vec load_part(const float *p, size_t n)
{
	return n >= LANES ? load(p) : load_some(p, n);
}

INLINE void store_part(float *p, vec v, size_t n)
{
	if (n >= LANES)
		store(p, v);
	else
		store_some(p, v, n);
}

/* a > b ? a : b and a < b ? a : b, of each lane. */
#ifndef GREATER
#define GREATER(a, b) select_vec((a) > (b), a, b)
#define LESSER(a, b) select_vec((a) < (b), a, b)
#endif

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#define UNROLL_IF_KNOWN /* clang does, and warns where it cannot */
#else
#define UNROLL _Pragma("GCC unroll 24")
#define UNROLL_IF_KNOWN UNROLL
#endif

#define EACH(i, n) UNROLL for (size_t i = 0; i < (n); i++)

INLINE float sum_lanes(vec v)
{
	float s = 0;

	for (int i = 0; i < LANES; i++)
		s += v[i];
	return s;
}

#include "kernel/fast_finish.h"

#include "kernel/fast_tile.h"

#ifndef GEMM_BY_BLAS
#define REAL float
#define REAL_LANES LANES
#define NAME(x) x##_f32
#include "kernel/fast_gemm.h"
#define REAL double
#define REAL_LANES (LANES / 2)
#define NAME(x) x##_f64
#include "kernel/fast_gemm.h"
#endif

#include "kernel/fast_block.h"

#include "kernel/fast_math.h"

#include "kernel/fast_window.h"

#include "kernel/fast_depth.h"

#include "kernel/fast_winograd.h"

const struct fast LEVEL = {
	.name = LEVEL_NAME,
	.lanes = LANES,
	.vectors = VECTORS,
	.rows = ROWS,
	.tile = run_tile,
#ifndef GEMM_BY_BLAS
	.gemm_f32 = run_gemm_f32,
	.gemm_f64 = run_gemm_f64,
#endif
	.block_pixels = block_pixels,
	.block_vectors = BLOCK_VECTORS,
	.block_tile = run_block_tile,
	.turn = run_turn,
	.columns = run_columns,
	.depth = run_depth,
	.depth_row = run_depth_row,
	.pad = run_pad,
	.wino_in = run_wino_in,
	.wino_out = run_wino_out,
	.wino_form = run_wino_form,
	.quantize = run_quantize,
	.dequantize = run_dequantize,
	.affine = run_affine,
	.finish = run_finish,
	.math = run_math,
	.binary = run_binary,
#ifdef FROM_HALF
	.from_half = run_from_half,
	.to_half = run_to_half,
#endif
	.round = run_round,
	.to_bfloat = run_to_bfloat,
	.softmax = run_softmax,
	.sum = run_sum,
	.moments = run_moments,
	.normalise = run_normalise,
};
