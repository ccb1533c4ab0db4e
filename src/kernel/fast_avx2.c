/* SPDX-License-Identifier: MIT */
/* fast_avx2 - x86-64 with AVX2, FMA and F16C. */
#if defined(__x86_64__)
#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), \
			     apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#define LANES 8
#define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14
#define LOW_LANES 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_LANES 4, 12, 5, 13, 6, 14, 7, 15
#define ROWS 4
#define VECTORS 3
#define FIRST(n)                                        \
	_mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), \
			   _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define LOAD_SOME(p, n) _mm256_maskload_ps(p, FIRST(n))
#define STORE_SOME(p, v, n) _mm256_maskstore_ps(p, FIRST(n), (__m256)(v))
#define GREATER(a, b) (vec) _mm256_max_ps((__m256)(a), (__m256)(b))
#define LESSER(a, b) (vec) _mm256_min_ps((__m256)(a), (__m256)(b))
#define FMA(a, b, c) \
	(vec) _mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c))
#define NEAREST(v)                         \
	(vec) _mm256_round_ps((__m256)(v), \
			      _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define FROM_HALF(p) \
	(vec) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
#define TO_HALF(p, v)           \
	_mm_storeu_si128(       \
		(__m128i *)(p), \
		_mm256_cvtps_ph((__m256)(v), _MM_FROUND_TO_NEAREST_INT))
#define ROUND_HALF(v)          \
	(vec) _mm256_cvtph_ps( \
		_mm256_cvtps_ph((__m256)(v), _MM_FROUND_TO_NEAREST_INT))
#define LEVEL fast_avx2
#define LEVEL_NAME "avx2"
#include "kernel/fast_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
