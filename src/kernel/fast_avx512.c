/* SPDX-License-Identifier: MIT */
/* fast_avx512 - x86-64 with AVX-512 (F, VL, BW, DQ). */
#if defined(__x86_64__)
#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(                                              \
	__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))), \
	apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,fma")
#pragma GCC target("prefer-vector-width=512")
#endif
#define LANES 16
#define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define LOW_LANES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_LANES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define ROWS 8
#define VECTORS 3
#define FIRST(n) ((__mmask16)((1u << (n)) - 1))
#define LOAD_SOME(p, n) _mm512_maskz_loadu_ps(FIRST(n), p)
#define STORE_SOME(p, v, n) _mm512_mask_storeu_ps(p, FIRST(n), (__m512)(v))
#define GREATER(a, b) (vec) _mm512_max_ps((__m512)(a), (__m512)(b))
#define LESSER(a, b) (vec) _mm512_min_ps((__m512)(a), (__m512)(b))
#define FMA(a, b, c) \
	(vec) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#define NEAREST(v)                                                          \
	(vec) _mm512_roundscale_ps((__m512)(v), _MM_FROUND_TO_NEAREST_INT | \
							_MM_FROUND_NO_EXC)
#define FROM_HALF(p) \
	(vec) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define TO_HALF(p, v)           \
	_mm256_storeu_si256(    \
		(__m256i *)(p), \
		_mm512_cvtps_ph((__m512)(v), _MM_FROUND_TO_NEAREST_INT))
#define ROUND_HALF(v)          \
	(vec) _mm512_cvtph_ps( \
		_mm512_cvtps_ph((__m512)(v), _MM_FROUND_TO_NEAREST_INT))
#define LEVEL fast_avx512
#define LEVEL_NAME "avx512"
#include "kernel/fast_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
