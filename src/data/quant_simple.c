/* SPDX-License-Identifier: MIT */
/*
 * quant_simple - blocks of one scale for all: Qx_0 (number times scale), Qx_1
 * (and an offset), TQx_0 (three values).
 */
#include "data/quant.h"

/* f16 d | 16 bytes: element i is the low, 16 + i the high nibble of byte i */
QUANT_INLINE void q4_0(const uint8_t *b, out_float *dst)
{
	int8_t q[32];

	nibbles16(q, b + 2);
	for (int i = 0; i < 32; i++)
		q[i] = (int8_t)(q[i] - 8);
	scale32(dst, q, load_half(b));
}

QUANT_INLINE void offset32(out_float *dst, const int8_t *q, float d, float m)
{
	for (int i = 0; i < 32; i++)
		dst[i] = (float)q[i] * d + m;
}

/* f16 d | f16 m | nibbles */
QUANT_INLINE void q4_1(const uint8_t *b, out_float *dst)
{
	int8_t q[32];

	nibbles16(q, b + 4);
	offset32(dst, q, load_half(b), load_half(b + 2));
}

/* Nibbles with a fifth bit from 32 bits before them. */
QUANT_INLINE void five_bits(int8_t *q, const uint8_t *b)
{
	uint64_t high[4];
	int8_t h[32];

	for (int i = 0; i < 4; i++)
		high[i] = mask_bits(b[i]) & 0x1010101010101010u;
	memcpy(h, high, sizeof(h));
	nibbles16(q, b + 4);
	for (int i = 0; i < 32; i++)
		q[i] |= h[i];
}

/* f16 d | u32 fifth bits | nibbles */
QUANT_INLINE void q5_0(const uint8_t *b, out_float *dst)
{
	int8_t q[32];

	five_bits(q, b + 2);
	for (int i = 0; i < 32; i++)
		q[i] = (int8_t)(q[i] - 16);
	scale32(dst, q, load_half(b));
}

/* f16 d | f16 m | u32 fifth bits | nibbles */
QUANT_INLINE void q5_1(const uint8_t *b, out_float *dst)
{
	int8_t q[32];

	five_bits(q, b + 4);
	offset32(dst, q, load_half(b), load_half(b + 2));
}

/* f16 d | i8 q[32] */
QUANT_INLINE void q8_0(const uint8_t *b, out_float *dst)
{
	int8_t q[32];

	memcpy(q, b + 2, sizeof(q));
	scale32(dst, q, load_half(b));
}

/* f32 d | i8 q[256] | i16 sums[16] */
QUANT_INLINE void q8_k(const uint8_t *b, out_float *dst)
{
	float d = bits_float(load_u32(b));
	int8_t q[32];

	for (int g = 0; g < 8; g++) {
		memcpy(q, b + 4 + 32 * g, sizeof(q));
		scale32(dst + 32 * g, q, d);
	}
}

/* f16 d | 128 bits: plus or minus d */
QUANT_INLINE void q1_0(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);
	uint64_t signs[4];
	int8_t q[32];

	for (int g = 0; g < 4; g++) {
		for (int i = 0; i < 4; i++)
			signs[i] = mask_bits(b[2 + 4 * g + i]) &
				   0x0202020202020202u;
		memcpy(q, signs, sizeof(q));
		for (int i = 0; i < 32; i++)
			q[i] = (int8_t)(q[i] - 1);
		scale32(dst + 32 * g, q, d);
	}
}

/* Four fields of two bits from every byte, minus one; in order. */
QUANT_INLINE void two_bits(int8_t *q, const uint8_t *src)
{
	uint8_t in[8];
	uint32_t v[8];

	memcpy(in, src, sizeof(in));
	for (int i = 0; i < 8; i++)
		v[i] = (in[i] | (uint32_t)in[i] << 6 | (uint32_t)in[i] << 12 |
			(uint32_t)in[i] << 18) &
		       0x03030303u;
	memcpy(q, v, sizeof(v));
	for (int i = 0; i < 32; i++)
		q[i] = (int8_t)(q[i] - 1);
}

/* f16 d | 64 x 2 bits */
QUANT_INLINE void q2_0(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);
	int8_t q[32];

	for (int g = 0; g < 2; g++) {
		two_bits(q, b + 2 + 8 * g);
		scale32(dst + 32 * g, q, d);
	}
}

/* Digit n of 16 bytes that hold numbers to the base 3, as fractions. */
QUANT_INLINE void trits16(out_float *dst, const uint8_t *src, unsigned power,
			  float d)
{
	uint8_t in[16];
	int8_t q[16];

	memcpy(in, src, sizeof(in));
	for (int i = 0; i < 16; i++) {
		uint16_t v = (uint8_t)(in[i] * power);

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
	uint8_t in[32];
	int8_t q[32];

	for (int g = 0; g < 8; g++) {
		memcpy(in, b + 32 * (g / 4), sizeof(in));
		for (int i = 0; i < 32; i++)
			q[i] = (int8_t)((in[i] >> 2 * (g % 4) & 3) - 1);
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
