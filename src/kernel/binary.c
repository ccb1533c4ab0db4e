/* SPDX-License-Identifier: MIT */
#include "kernel/binary.h"

#include <math.h>
#include <stdbool.h>

#include "kernel/fast.h"

/* One loop for each way the inputs advance, so that compilers vectorise. */
#define BINARY(NAME, T, R, EXPR)                                          \
	__attribute__((unused)) static void NAME(                         \
		const void *const in[], const size_t step[], void *out,   \
		size_t n, const void *arg)                                \
	{                                                                 \
		const T *p = in[0], *q = in[1];                           \
		R *o = out;                                               \
		(void)arg;                                                \
		if (step[0] == 1 && step[1] == 1) {                       \
			for (size_t i = 0; i < n; i++) {                  \
				T x = p[i], y = q[i];                     \
				o[i] = (R)(EXPR);                         \
			}                                                 \
		} else if (step[0] == 1 && step[1] == 0) {                \
			T y = q[0];                                       \
			for (size_t i = 0; i < n; i++) {                  \
				T x = p[i];                               \
				o[i] = (R)(EXPR);                         \
			}                                                 \
		} else if (step[0] == 0 && step[1] == 1) {                \
			T x = p[0];                                       \
			for (size_t i = 0; i < n; i++) {                  \
				T y = q[i];                               \
				o[i] = (R)(EXPR);                         \
			}                                                 \
		} else {                                                  \
			for (size_t i = 0; i < n; i++) {                  \
				T x = p[i * step[0]], y = q[i * step[1]]; \
				o[i] = (R)(EXPR);                         \
			}                                                 \
		}                                                         \
	}

/* ---- what integers do that C leaves undefined ---- */
static int64_t int_div(int64_t x, int64_t y)
{
	if (y == 0)
		return 0;
	return y == -1 ? (int64_t)(0 - (uint64_t)x) : x / y;
}

static int64_t int_rem(int64_t x, int64_t y)
{
	return y == 0 || y == -1 ? 0 : x % y;
}

static int64_t int_mod(int64_t x, int64_t y)
{
	int64_t r = int_rem(x, y);

	return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

static uint64_t uint_div(uint64_t x, uint64_t y)
{
	return y == 0 ? 0 : x / y;
}

static uint64_t uint_rem(uint64_t x, uint64_t y)
{
	return y == 0 ? 0 : x % y;
}

static uint64_t uint_pow(uint64_t x, uint64_t y)
{
	uint64_t r = 1;

	for (; y > 0; y >>= 1) {
		if (y & 1)
			r *= x;
		x *= x;
	}
	return r;
}

static int64_t int_pow(int64_t x, int64_t y)
{
	if (y >= 0)
		return (int64_t)uint_pow((uint64_t)x, (uint64_t)y);
	if (x == 1)
		return 1;
	return x == -1 ? (y & 1 ? -1 : 1) : 0;
}

static double float_mod(double x, double y)
{
	double r = fmod(x, y);

	return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

/* ---- the operations, per group of types ---- */
#define SIGN_FREE(NAME, T, W)                         \
	BINARY(add_##NAME, T, T, (W)x + (W)y)         \
	BINARY(sub_##NAME, T, T, (W)x - (W)y)         \
	BINARY(mul_##NAME, T, T, (W)x *(W)y)          \
	BINARY(equal_##NAME, T, uint8_t, x == y)      \
	BINARY(less_##NAME, T, uint8_t, x < y)        \
	BINARY(less_equal_##NAME, T, uint8_t, x <= y) \
	BINARY(greater_##NAME, T, uint8_t, x > y)     \
	BINARY(greater_equal_##NAME, T, uint8_t, x >= y)
#define INTEGER(NAME, T, W)                                        \
	SIGN_FREE(NAME, T, W)                                      \
	BINARY(max_##NAME, T, T, x > y ? x : y)                    \
	BINARY(min_##NAME, T, T, x < y ? x : y)                    \
	BINARY(and_##NAME, T, T, x &y)                             \
	BINARY(or_##NAME, T, T, x | y)                             \
	BINARY(xor_##NAME, T, T, x ^ y)                            \
	BINARY(shl_##NAME, T, T,                                   \
	       (uint64_t)y < 8 * sizeof(T) ? (uint64_t)x << y : 0) \
	BINARY(shr_##NAME, T, T, (uint64_t)y < 8 * sizeof(T) ? x >> y : 0)
#define SIGNED(NAME, T, W)                                     \
	INTEGER(NAME, T, W)                                    \
	BINARY(prelu_##NAME, T, T, x < 0 ? (W)x * (W)y : (W)x) \
	BINARY(div_##NAME, T, T, int_div(x, y))                \
	BINARY(mod_##NAME, T, T, int_mod(x, y))                \
	BINARY(fmod_##NAME, T, T, int_rem(x, y))               \
	BINARY(pow_##NAME, T, T, int_pow(x, y))
#define UNSIGNED(NAME, T, W)                      \
	INTEGER(NAME, T, W)                       \
	BINARY(prelu_##NAME, T, T, ((void)y, x))  \
	BINARY(div_##NAME, T, T, uint_div(x, y))  \
	BINARY(mod_##NAME, T, T, uint_rem(x, y))  \
	BINARY(fmod_##NAME, T, T, uint_rem(x, y)) \
	BINARY(pow_##NAME, T, T, uint_pow(x, y))
#define FLOATING(NAME, T, W)                              \
	SIGN_FREE(NAME, T, W)                             \
	BINARY(prelu_##NAME, T, T, x < 0 ? x * y : x)     \
	BINARY(max_##NAME, T, T, x > y || x != x ? x : y) \
	BINARY(min_##NAME, T, T, x < y || x != x ? x : y) \
	BINARY(div_##NAME, T, T, x / y)                   \
	BINARY(mod_##NAME, T, T, float_mod(x, y))         \
	BINARY(fmod_##NAME, T, T, fmod(x, y))

UNSIGNED(U8, uint8_t, uint32_t)
UNSIGNED(U16, uint16_t, uint32_t)
UNSIGNED(U32, uint32_t, uint32_t)
UNSIGNED(U64, uint64_t, uint64_t)
SIGNED(I8, int8_t, uint32_t)
SIGNED(I16, int16_t, uint32_t)
SIGNED(I32, int32_t, uint32_t)
SIGNED(I64, int64_t, uint64_t)
FLOATING(F32, float, float)
FLOATING(F64, double, double)
BINARY(pow_F32, float, float, powf(x, y))
BINARY(pow_F64, double, double, pow(x, y))

/* ---- float32 on vectors ---- */
#define FAST(NAME, OP)                                                         \
	static void fast_##NAME(const void *const in[], const size_t step[],   \
				void *out, size_t n, const void *arg)          \
	{                                                                      \
		if (step[0] > 1 || step[1] > 1)                                \
			NAME##_F32(in, step, out, n, arg);                     \
		else                                                           \
			fast_get()->binary(OP, in[0], step[0], in[1], step[1], \
					   out, n);                            \
	}
FAST(add, FAST_ADD)
FAST(sub, FAST_SUB)
FAST(mul, FAST_MUL)
FAST(div, FAST_DIV)

/* Squares and cubes are what models raise to. */
static void fast_pow(const void *const in[], const size_t step[], void *out,
		     size_t n, const void *arg)
{
	const float *x = in[0], *y = in[1];
	bool square = step[0] == 1 && step[1] == 0 && y[0] == 2;
	bool cube = step[0] == 1 && step[1] == 0 && y[0] == 3;

	if (!square && !cube) {
		pow_F32(in, step, out, n, arg);
		return;
	}
	fast_get()->binary(FAST_MUL, x, 1, x, 1, out, n);
	if (cube)
		fast_get()->binary(FAST_MUL, out, 1, x, 1, out, n);
}

#define ENTRY(OP, T) [NUM_##T] = OP##_##T
#define FAST_OF(OP) [NUM_F32] = fast_##OP, [NUM_F64] = OP##_F64
#define FLOATS_OF(OP) ENTRY(OP, F32), ENTRY(OP, F64)
#define INTS_OF(OP)                                                   \
	ENTRY(OP, U8), ENTRY(OP, I8), ENTRY(OP, U16), ENTRY(OP, I16), \
		ENTRY(OP, U32), ENTRY(OP, I32), ENTRY(OP, U64), ENTRY(OP, I64)
#define ALL_OF(OP) INTS_OF(OP), FLOATS_OF(OP)

static stride_fn *const table[BINARY_COUNT][NUM_COUNT] = {
	[BINARY_ADD] = {INTS_OF(add), FAST_OF(add)},
	[BINARY_SUB] = {INTS_OF(sub), FAST_OF(sub)},
	[BINARY_MUL] = {INTS_OF(mul), FAST_OF(mul)},
	[BINARY_DIV] = {INTS_OF(div), FAST_OF(div)},
	[BINARY_MOD] = {ALL_OF(mod)},
	[BINARY_FMOD] = {ALL_OF(fmod)},
	[BINARY_POW] = {INTS_OF(pow), FAST_OF(pow)},
	[BINARY_MAX] = {ALL_OF(max)},
	[BINARY_MIN] = {ALL_OF(min)},
	[BINARY_PRELU] = {ALL_OF(prelu)},
	[BINARY_AND] = {INTS_OF(and)},
	[BINARY_OR] = {INTS_OF(or)},
	[BINARY_XOR] = {INTS_OF(xor)},
	[BINARY_SHL] = {INTS_OF(shl)},
	[BINARY_SHR] = {INTS_OF(shr)},
	[BINARY_EQUAL] = {ALL_OF(equal)},
	[BINARY_LESS] = {ALL_OF(less)},
	[BINARY_LESS_EQUAL] = {ALL_OF(less_equal)},
	[BINARY_GREATER] = {ALL_OF(greater)},
	[BINARY_GREATER_EQUAL] = {ALL_OF(greater_equal)},
};

stride_fn *binary_find(enum binary op, enum num t)
{
	return table[op][t];
}

/* ---- selection ---- */
struct pair {
	uint64_t v[2];
};

#define SELECT(SIZE, T)                                                        \
	static void select_##SIZE(const void *const in[], const size_t step[], \
				  void *out, size_t n, const void *arg)        \
	{                                                                      \
		const uint8_t *c = in[0];                                      \
		const T *p = in[1], *q = in[2];                                \
		T *o = out;                                                    \
		(void)arg;                                                     \
		for (size_t i = 0; i < n; i++)                                 \
			o[i] = c[i * step[0]] ? p[i * step[1]]                 \
					      : q[i * step[2]];                \
	}
SELECT(1, uint8_t)
SELECT(2, uint16_t)
SELECT(4, uint32_t)
SELECT(8, uint64_t)
SELECT(16, struct pair)

stride_fn *select_find(size_t size)
{
	switch (size) {
	case 1:
		return select_1;
	case 2:
		return select_2;
	case 4:
		return select_4;
	case 8:
		return select_8;
	case 16:
		return select_16;
	default:
		return NULL;
	}
}
