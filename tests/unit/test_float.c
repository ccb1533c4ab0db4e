/* SPDX-License-Identifier: MIT */
/* Narrow floats, exhaustively, against formulas written another way. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/dtype.h"

#include "check.h"

/* sign * 2^(e - bias) * 1.m, or the subnormal, by the definition. */
static double by_definition(unsigned bits, int nexp, int nman, int bias)
{
	unsigned man = bits & ((1u << nman) - 1);
	int exp = bits >> nman & ((1u << nexp) - 1);
	double sign = bits >> (nexp + nman) & 1 ? -1.0 : 1.0;
	double frac = (double)man / (double)(1u << nman);

	if (exp == 0)
		return sign * frac * pow(2, 1 - bias);
	return sign * (1 + frac) * pow(2, exp - bias);
}

static bool same(double a, double b)
{
	return a == b && signbit(a) == signbit(b);
}

TEST(half_widens_exactly)
{
	for (unsigned h = 0; h < 65536; h++) {
		unsigned exp = h >> 10 & 31, man = h & 1023;
		float got = half_to_float(h);
		bool ok;

		if (exp == 31)
			ok = man ? isnan(got)
				 : same(got, h >> 15 ? -INFINITY : INFINITY);
		else
			ok = same(got, by_definition(h, 5, 10, 15));
		CHECK(ok);
		if (!ok)
			return;
	}
}

TEST(half_round_trips)
{
	for (unsigned h = 0; h < 65536; h++) {
		float v = half_to_float(h);
		unsigned back = half_from_float(v);
		unsigned want = isnan(v) ? h | 0x200 : h;

		if (back != want) {
			CHECK_INT(back, want);
			return;
		}
	}
}

/* Between neighbours: the middle goes to even, the rest to the nearer. */
TEST(half_rounds_to_nearest_even)
{
	for (unsigned h = 0; h < 0x7bff; h++) {
		float a = half_to_float(h), b = half_to_float(h + 1);
		float mid = (a + b) / 2;
		unsigned even = h % 2 ? h + 1 : h;

		if (half_from_float(mid) != even ||
		    half_from_float(nextafterf(mid, a)) != h ||
		    half_from_float(nextafterf(mid, b)) != h + 1 ||
		    half_from_float(-mid) != (even | 0x8000)) {
			CHECK_INT(h, -1);
			return;
		}
	}
	CHECK_INT(half_from_float(65519.99f), 0x7bff);
	CHECK_INT(half_from_float(65520.0f), 0x7c00);
	CHECK_INT(half_from_float(1e30f), 0x7c00);
	CHECK_INT(half_from_float(-INFINITY), 0xfc00);
	CHECK_INT(half_from_float(0x1p-25f), 0);
	CHECK_INT(half_from_float(-0x1.8p-25f), 0x8001);
}

TEST(bf16_both_ways)
{
	for (unsigned h = 0; h < 65536; h++) {
		unsigned exp = h >> 7 & 255, man = h & 127;
		float got = bf16_to_float(h);
		unsigned back = bf16_from_float(got);
		bool ok;

		if (exp == 255)
			ok = man ? isnan(got)
				 : same(got, h >> 15 ? -INFINITY : INFINITY);
		else
			ok = same(got, by_definition(h, 8, 7, 127));
		ok = ok && back == (isnan(got) ? h | 0x40 : h);
		CHECK(ok);
		if (!ok)
			return;
	}
	CHECK_INT(bf16_from_float(1.00390625f), 0x3f80); /* tie: even */
	CHECK_INT(bf16_from_float(1.01171875f), 0x3f82); /* tie: even */
	CHECK_INT(bf16_from_float(1.00390637f), 0x3f81);
	CHECK_INT(bf16_from_float(3.4e38f), 0x7f80);
}

/* What the eight types are, from their specifications. */
struct small {
	enum dtype t;
	int nexp, nman, bias;
	double largest;
	int inf;	/* code, or -1 */
	int first_nan;	/* codes from here to last_nan, sign aside; -1 */
	bool nan_is_80; /* only NaN is negative zero's code */
};

static const struct small smalls[] = {
	{DTYPE_F8_E4M3FN, 4, 3, 7, 448, -1, 0x7f, false},
	{DTYPE_F8_E5M2, 5, 2, 15, 57344, 0x7c, 0x7d, false},
	{DTYPE_F8_E4M3FNUZ, 4, 3, 8, 240, -1, -1, true},
	{DTYPE_F8_E5M2FNUZ, 5, 2, 16, 57344, -1, -1, true},
	{DTYPE_F8_E4M3B11FNUZ, 4, 3, 11, 30, -1, -1, true},
	{DTYPE_F4_E2M1, 2, 1, 1, 6, -1, -1, false},
	{DTYPE_F6_E2M3, 2, 3, 1, 7.5, -1, -1, false},
	{DTYPE_F6_E3M2, 3, 2, 3, 28, -1, -1, false},
};

#define NSMALLS (sizeof(smalls) / sizeof(smalls[0]))

static bool is_nan_code(const struct small *s, unsigned code)
{
	unsigned rest = code & ((1u << (s->nexp + s->nman)) - 1);

	if (s->nan_is_80)
		return code == 0x80;
	return s->first_nan >= 0 && rest >= (unsigned)s->first_nan;
}

static bool is_inf_code(const struct small *s, unsigned code)
{
	unsigned rest = code & ((1u << (s->nexp + s->nman)) - 1);

	return s->inf >= 0 && rest == (unsigned)s->inf;
}

TEST(small_floats_widen_exactly)
{
	for (size_t i = 0; i < NSMALLS; i++) {
		const struct small *s = &smalls[i];
		unsigned ncodes = 2u << (s->nexp + s->nman);
		double largest = 0;

		for (unsigned c = 0; c < ncodes; c++) {
			float got = smallfloat_to_float(s->t, c);

			if (is_nan_code(s, c)) {
				CHECK(isnan(got));
				continue;
			}
			if (is_inf_code(s, c)) {
				CHECK(isinf(got));
				continue;
			}
			CHECK(same(got, by_definition(c, s->nexp, s->nman,
						      s->bias)));
			largest = got > largest ? got : largest;
		}
		CHECK(largest == s->largest);
	}
}

/* Search through all codes; of two equally near ones the even. */
static unsigned nearest(const struct small *s, float v)
{
	unsigned half = 1u << (s->nexp + s->nman);
	unsigned best = 0;
	double least = INFINITY;

	for (unsigned c = 0; c < half; c++) {
		double d;

		if (is_nan_code(s, c) || is_inf_code(s, c))
			continue;
		d = fabs(by_definition(c, s->nexp, s->nman, s->bias) -
			 fabs((double)v));
		if (d < least || (d == least && c % 2 == 0)) {
			least = d;
			best = c;
		}
	}
	if (best == 0 && s->nan_is_80)
		return 0;
	return best | (signbit(v) ? half : 0);
}

TEST(small_floats_narrow_to_nearest)
{
	srand(7);
	for (size_t i = 0; i < NSMALLS; i++) {
		const struct small *s = &smalls[i];

		for (int k = 0; k < 3000; k++) {
			double r = 2.2 * rand() / RAND_MAX - 1.1;
			float v = (float)(r * s->largest);
			unsigned got;

			if (k % 3 == 0) /* small ones; k % 5: halfway */
				v = (float)ldexp(r, -(rand() % 20));
			if (k % 5 == 0)
				v = (smallfloat_to_float(s->t, k % 8) +
				     smallfloat_to_float(s->t, k % 8 + 1)) /
				    2;
			if (isnan(v))
				continue;
			got = smallfloat_from_float(s->t, v, true);
			if (got != nearest(s, v)) {
				CHECK_INT(got, nearest(s, v));
				return;
			}
		}
	}
}

TEST(small_floats_overflow)
{
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E4M3FN, 464, false), 0x7e);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E4M3FN, 465, false), 0x7f);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E4M3FN, 465, true), 0x7e);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E5M2, -1e9f, false), 0xfc);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E5M2, -1e9f, true), 0xfb);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E5M2, INFINITY, true), 0x7b);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E4M3FNUZ, 1e9f, false), 0x80);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E4M3FNUZ, -0.f, false), 0);
	CHECK_INT(smallfloat_from_float(DTYPE_F4_E2M1, -100, false), 0x0f);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E4M3FN, NAN, true) & 0x7f,
		  0x7f);
}

TEST(e8m0)
{
	for (unsigned c = 0; c < 255; c++) {
		float v = smallfloat_to_float(DTYPE_F8_E8M0, c);

		CHECK(v == (float)pow(2, (int)c - 127));
		CHECK_INT(smallfloat_from_float(DTYPE_F8_E8M0, v, true), c);
	}
	CHECK(isnan(smallfloat_to_float(DTYPE_F8_E8M0, 255)));
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E8M0, 2.9f, true), 128);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E8M0, 3.1f, true), 129);
	CHECK_INT(smallfloat_from_float(DTYPE_F8_E8M0, -1, true), 255);
}

int main(void)
{
	RUN(half_widens_exactly);
	RUN(half_round_trips);
	RUN(half_rounds_to_nearest_even);
	RUN(bf16_both_ways);
	RUN(small_floats_widen_exactly);
	RUN(small_floats_narrow_to_nearest);
	RUN(small_floats_overflow);
	RUN(e8m0);
	return check_result();
}
