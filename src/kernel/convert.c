/* SPDX-License-Identifier: MIT */
#include "kernel/convert.h"

#include <math.h>

static int64_t to_i64(double v)
{
	/* -2^63 and 2^63 are exact in double. */
	if (v >= -0x1p63 && v < 0x1p63)
		return (int64_t)v;
	return INT64_MIN;
}

static uint64_t to_u64(double v)
{
	if (v >= 0x1p63 && v < 0x1p64)
		return (uint64_t)v;
	return (uint64_t)to_i64(v);
}

#define SAME(v) (v)

/* X(name, type, how a float gets there) */
#define TARGETS(X)               \
	X(U8, uint8_t, to_i64)   \
	X(I8, int8_t, to_i64)    \
	X(U16, uint16_t, to_i64) \
	X(I16, int16_t, to_i64)  \
	X(U32, uint32_t, to_i64) \
	X(I32, int32_t, to_i64)  \
	X(U64, uint64_t, to_u64) \
	X(I64, int64_t, to_i64)  \
	X(F32, float, SAME)      \
	X(F64, double, SAME)

#define LOOP(TO, CAST)                         \
	{                                      \
		TO *d = dst;                   \
		for (size_t i = 0; i < n; i++) \
			d[i] = (TO)CAST(s[i]); \
		return;                        \
	}
#define FROM_INT_TO(NAME, TO, CAST) \
	case NUM_##NAME:            \
		LOOP(TO, SAME)
#define FROM_FLOAT_TO(NAME, TO, CAST) \
	case NUM_##NAME:              \
		LOOP(TO, CAST)

#define CONVERT_FROM(NAME, FROM, CASES)                                  \
	static void from_##NAME(const void *src, enum num to, void *dst, \
				size_t n)                                \
	{                                                                \
		const FROM *s = src;                                     \
		switch (to) {                                            \
			TARGETS(CASES)                                   \
		default:                                                 \
			return;                                          \
		}                                                        \
	}
#define FROM_INT(NAME, T, WIDE) CONVERT_FROM(NAME, T, FROM_INT_TO)
#define FROM_FLOAT(NAME, T, WIDE) CONVERT_FROM(NAME, T, FROM_FLOAT_TO)
NUM_INTS(FROM_INT)
NUM_FLOATS(FROM_FLOAT)

void convert_nums(enum num from, const void *src, enum num to, void *dst,
		  size_t n)
{
	switch (from) {
#define CASE(NAME, T, WIDE)                   \
	case NUM_##NAME:                      \
		from_##NAME(src, to, dst, n); \
		return;
		NUM_ALL(CASE)
#undef CASE
	default:
		return;
	}
}

void convert_to_bool(enum num from, const void *src, uint8_t *dst, size_t n)
{
	switch (from) {
#define CASE(NAME, T, WIDE)                    \
	case NUM_##NAME: {                     \
		const T *s = src;              \
		for (size_t i = 0; i < n; i++) \
			dst[i] = s[i] != 0;    \
		return;                        \
	}
		NUM_ALL(CASE)
#undef CASE
	default:
		return;
	}
}
