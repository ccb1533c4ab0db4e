/* SPDX-License-Identifier: MIT */
/*
 * quant_simple - blocks of one scale for all: Qx_0 (number times scale), Qx_1
 * (and an offset), TQx_0 (three values).
 */
#include "data/quant.h"

/* Row i of four: low nibbles of 16 bytes, then high ones. */
QUANT_INLINE uint64_t four_bits(const uint8_t *src, int i)
{
	return load_u64(src + 8 * (i % 2)) >> 4 * (i / 2) & EACH_BYTE(0x0fu);
}

/* f16 d | nibbles */
QUANT_INLINE void q4_0(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int i = 0; i < 4; i++)
		scale_row(dst + 8 * i, minus_each(four_bits(b + 2, i), 8), d);
}

QUANT_INLINE void offset_row(out_float *dst, uint64_t row, float d, float m)
{
	int8_t q[8];

	memcpy(q, &row, sizeof(q));
	for (int i = 0; i < 8; i++)
		dst[i] = (float)q[i] * d + m;
}

/* f16 d | f16 m | nibbles */
QUANT_INLINE void q4_1(const uint8_t *b, out_float *dst)
{
	float d = load_half(b), m = load_half(b + 2);

	for (int i = 0; i < 4; i++)
		offset_row(dst + 8 * i, four_bits(b + 4, i), d, m);
}

/* Row i of four: nibbles, and the fifth bits from before them. */
QUANT_INLINE uint64_t five_bits(const uint8_t *high, int i)
{
	return four_bits(high + 4, i) | (mask_bits(high[i]) & EACH_BYTE(0x10u));
}

/* f16 d | u32 fifth bits | nibbles */
QUANT_INLINE void q5_0(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int i = 0; i < 4; i++)
		scale_row(dst + 8 * i, minus_each(five_bits(b + 2, i), 16), d);
}

/* f16 d | f16 m | u32 fifth bits | nibbles */
QUANT_INLINE void q5_1(const uint8_t *b, out_float *dst)
{
	float d = load_half(b), m = load_half(b + 2);

	for (int i = 0; i < 4; i++)
		offset_row(dst + 8 * i, five_bits(b + 4, i), d, m);
}

/* f16 d | i8 q[32] */
QUANT_INLINE void q8_0(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int i = 0; i < 4; i++)
		scale_row(dst + 8 * i, load_u64(b + 2 + 8 * i), d);
}

/* f32 d | i8 q[256] | i16 sums[16] */
QUANT_INLINE void q8_k(const uint8_t *b, out_float *dst)
{
	float d = bits_float(load_u32(b));

	for (int i = 0; i < 32; i++)
		scale_row(dst + 8 * i, load_u64(b + 4 + 8 * i), d);
}

/* f16 d | 128 bits: plus or minus d */
QUANT_INLINE void q1_0(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int i = 0; i < 16; i++)
		scale_row(dst + 8 * i, ~mask_bits(b[2 + i]) | EACH_BYTE(1u), d);
}

/* Four fields of two bits, a byte each. */
QUANT_INLINE uint32_t two_bits(uint32_t v)
{
	return (v | v << 6 | v << 12 | v << 18) & 0x03030303u;
}

/* f16 d | 64 x 2 bits, minus one */
QUANT_INLINE void q2_0(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int i = 0; i < 8; i++) {
		const uint8_t *p = b + 2 + 2 * i;
		uint64_t row = two_bits(p[0]) | (uint64_t)two_bits(p[1]) << 32;

		scale_row(dst + 8 * i, minus_each(row, 1), d);
	}
}

/* Digit n of 16 bytes that hold numbers to the base 3, as fractions. */
QUANT_INLINE void trits16(out_float *dst, const uint8_t *src, unsigned power,
			  float d)
{
	int8_t q[16];

	for (int i = 0; i < 16; i++) {
		uint16_t v = (uint8_t)(src[i] * power);

		q[i] = (int8_t)((uint16_t)(v * 3) >> 8);
		q[i] = (int8_t)(q[i] - 1);
	}
	scale16(dst, q, d);
}

/* 48 bytes of five digits | 4 bytes of four digits | f16 d */
QUANT_INLINE void tq1_0(const uint8_t *b, out_float *dst)
{
	static const uint8_t powers[5] = {1, 3, 9, 27, 81};
	float d = load_half(b + 52);

	for (int n = 0; n < 5; n++) {
		trits16(dst + 32 * n, b, powers[n], d);
		trits16(dst + 32 * n + 16, b + 16, powers[n], d);
		trits16(dst + 160 + 16 * n, b + 32, powers[n], d);
	}
	for (int i = 0; i < 16; i++) {
		unsigned v = (uint8_t)(b[48 + i % 4] * powers[i / 4]);

		dst[240 + i] = (float)((int)(v * 3 >> 8) - 1) * d;
	}
}

/* 2 x 32 bytes: field l of byte i is element 32 l + i | f16 d */
QUANT_INLINE void tq2_0(const uint8_t *b, out_float *dst)
{
	float d = load_half(b + 64);
	int8_t q[32];

	for (int g = 0; g < 8; g++) {
		const uint8_t *src = b + 32 * (g / 4);

		for (int i = 0; i < 32; i++)
			q[i] = (int8_t)((src[i] >> 2 * (g % 4) & 3) - 1);
		scale32(dst + 32 * g, q, d);
	}
}

QUANT_DECODER(q4_0, 18, 32)
QUANT_DECODER(q4_1, 20, 32)
QUANT_DECODER(q5_0, 22, 32)
QUANT_DECODER(q5_1, 24, 32)
QUANT_DECODER(q8_0, 34, 32)
QUANT_DECODER(q8_k, 292, 256)
QUANT_DECODER(q1_0, 18, 128)
QUANT_DECODER(q2_0, 18, 64)
QUANT_DECODER(tq1_0, 54, 256)
QUANT_DECODER(tq2_0, 66, 256)
