/* SPDX-License-Identifier: MIT */
/*
 * float - numbers narrower than float32, one at a time.
 *
 * Widening is exact; narrowing rounds to nearest, ties to even.  The small
 * types are described by a table (OCP 8-bit and MX specifications, and the
 * FNUZ variants: no infinities, no negative zero, one NaN).
 */
#include "modelfs/dtype.h"

#include <math.h>
#include <string.h>

static float float_from_bits(uint32_t bits)
{
	float v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static uint32_t bits_of_float(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

float half_to_float(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
	uint32_t rest = bits & 0x7fff;
	float v;

	if (rest >= 0x7c00) /* infinity, NaN */
		return float_from_bits(sign | 0x7f800000 |
				       (rest & 0x3ff) << 13);
	if (rest >= 0x0400) /* normal: rebias the exponent by 127 - 15 */
		return float_from_bits(sign | ((rest << 13) + (112u << 23)));
	v = (float)rest * 0x1p-24f;
	return float_from_bits(sign | bits_of_float(v));
}

uint16_t half_from_float(float v)
{
	uint32_t bits = bits_of_float(v);
	uint16_t sign = bits >> 16 & 0x8000;
	uint32_t rest = bits & 0x7fffffff;

	if (rest > 0x7f800000) /* NaN: quiet, with the payload's upper bits */
		return sign | 0x7e00 | (rest >> 13 & 0x3ff);
	if (rest >= 0x47800000) /* 65536 and more; 65520 rounds up below */
		return sign | 0x7c00;
	if (rest < 0x38800000) { /* subnormal: the addition rounds */
		float sum = float_from_bits(rest) + 0.5f;

		return sign | (uint16_t)(bits_of_float(sum) - 0x3f000000);
	}
	rest += 0xfff + (rest >> 13 & 1);
	return sign | (uint16_t)((rest >> 13) - (112u << 10));
}

float bf16_to_float(uint16_t bits)
{
	return float_from_bits((uint32_t)bits << 16);
}

uint16_t bf16_from_float(float v)
{
	uint32_t bits = bits_of_float(v);

	if ((bits & 0x7fffffff) > 0x7f800000)
		return bits >> 16 | 0x40;
	bits += 0x7fff + (bits >> 16 & 1);
	return bits >> 16;
}

enum small_kind {
	SMALL_IEEE,   /* largest exponent: infinity and NaN */
	SMALL_FN,     /* all ones: NaN; no infinity */
	SMALL_FNUZ,   /* negative zero's code: NaN */
	SMALL_FINITE, /* every code is a number */
};

struct small_float {
	enum dtype dtype;
	uint8_t exp_bits;
	uint8_t man_bits;
	uint8_t bias;
	enum small_kind kind;
	uint8_t max; /* code of the largest finite number */
};

static const struct small_float small_floats[] = {
	{DTYPE_F8_E4M3FN, 4, 3, 7, SMALL_FN, 0x7e},
	{DTYPE_F8_E5M2, 5, 2, 15, SMALL_IEEE, 0x7b},
	{DTYPE_F8_E4M3FNUZ, 4, 3, 8, SMALL_FNUZ, 0x7f},
	{DTYPE_F8_E5M2FNUZ, 5, 2, 16, SMALL_FNUZ, 0x7f},
	{DTYPE_F8_E4M3B11FNUZ, 4, 3, 11, SMALL_FNUZ, 0x7f},
	{DTYPE_F4_E2M1, 2, 1, 1, SMALL_FINITE, 0x07},
	{DTYPE_F6_E2M3, 2, 3, 1, SMALL_FINITE, 0x1f},
	{DTYPE_F6_E3M2, 3, 2, 3, SMALL_FINITE, 0x1f},
};

static const struct small_float *find_small(enum dtype t)
{
	size_t n = sizeof(small_floats) / sizeof(small_floats[0]);

	for (size_t i = 0; i < n; i++)
		if (small_floats[i].dtype == t)
			return &small_floats[i];
	return NULL;
}

/* A power of two from -127 to 127; the code 255 is NaN. */
static float e8m0_to_float(uint8_t bits)
{
	if (bits == 0xff)
		return NAN;
	return bits ? float_from_bits((uint32_t)bits << 23) : 0x1p-127f;
}

static uint8_t e8m0_from_float(float v, bool saturate)
{
	uint32_t bits = bits_of_float(v);

	if (isnan(v) || signbit(v))
		return v == 0 ? 0 : 0xff;
	if (isinf(v))
		return saturate ? 0xfe : 0xff;
	if (bits < 0x800000) /* halfway from 2^-127 to 2^-126 rounds to even */
		return bits > 0x600000;
	bits += 0x3fffff + (bits >> 23 & 1);
	bits >>= 23;
	if (bits < 0xff)
		return bits;
	return saturate ? 0xfe : 0xff;
}

static bool is_small_nan(const struct small_float *f, uint8_t rest, bool sign)
{
	switch (f->kind) {
	case SMALL_IEEE:
		return rest > f->max + 1;
	case SMALL_FN:
		return rest > f->max;
	case SMALL_FNUZ:
		return sign && rest == 0;
	case SMALL_FINITE:
		break;
	}
	return false;
}

float smallfloat_to_float(enum dtype t, uint8_t bits)
{
	const struct small_float *f = find_small(t);
	uint8_t width, rest, exp, man;
	bool sign;
	float v;

	if (!f)
		return t == DTYPE_F8_E8M0 ? e8m0_to_float(bits) : NAN;
	width = f->exp_bits + f->man_bits;
	rest = bits & ((1u << width) - 1);
	sign = bits >> width & 1;
	if (is_small_nan(f, rest, sign))
		return sign ? -NAN : NAN;
	exp = rest >> f->man_bits;
	man = rest & ((1u << f->man_bits) - 1);
	if (f->kind == SMALL_IEEE && rest == f->max + 1)
		v = INFINITY;
	else if (exp == 0)
		v = (float)man * float_from_bits(
					 (128u - f->bias - f->man_bits) << 23);
	else
		v = float_from_bits((uint32_t)(exp + 127 - f->bias) << 23 |
				    (uint32_t)man << (23 - f->man_bits));
	return sign ? -v : v;
}

/* Code of a non-negative finite number; may be beyond max. */
static unsigned round_small(const struct small_float *f, float v)
{
	int least = 1 - f->bias; /* exponent of the smallest normal number */
	int exp;
	unsigned q;

	if (v == 0)
		return 0;
	frexpf(v, &exp);
	exp--;
	if (exp > 64) /* no small type reaches that far */
		return 0x7fffffff;
	if (exp < least)
		exp = least;
	q = (unsigned)rintf(ldexpf(v, f->man_bits - exp));
	/* A carry into the next exponent comes out right by itself. */
	return ((unsigned)(exp - least) << f->man_bits) + q;
}

static uint8_t small_overflow(const struct small_float *f, uint8_t sign,
			      bool saturate)
{
	if (saturate || f->kind == SMALL_FINITE)
		return sign | f->max;
	if (f->kind == SMALL_FNUZ)
		return 0x80;
	return sign | (f->max + 1); /* infinity, or the NaN of E4M3FN */
}

uint8_t smallfloat_from_float(enum dtype t, float v, bool saturate)
{
	const struct small_float *f = find_small(t);
	uint8_t sign;
	unsigned code;

	if (!f)
		return t == DTYPE_F8_E8M0 ? e8m0_from_float(v, saturate) : 0;
	sign = signbit(v) ? 1u << (f->exp_bits + f->man_bits) : 0;
	if (isnan(v)) {
		if (f->kind == SMALL_FINITE) /* none: ONNX gives -0 */
			return 1u << (f->exp_bits + f->man_bits);
		return f->kind == SMALL_FNUZ ? 0x80 : sign | 0x7f;
	}
	if (isinf(v))
		return small_overflow(f, sign, saturate);
	code = round_small(f, fabsf(v));
	if (code > f->max)
		return small_overflow(f, sign, saturate);
	if (code == 0 && f->kind == SMALL_FNUZ)
		return 0;
	return sign | code;
}
