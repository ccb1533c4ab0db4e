/* SPDX-License-Identifier: MIT */
/*
 * quant_k - "K" blocks: 256 elements in groups of 16 or 32, whose scales are
 * small numbers to be multiplied by the block's own scale.
 */
#include "data/quant.h"

/* Field `shift` of 32 bytes. */
QUANT_INLINE void fields32(uint8_t *q, const uint8_t *src, int shift,
			   uint8_t mask)
{
	for (int i = 0; i < 32; i++)
		q[i] = (uint8_t)(src[i] >> shift) & mask;
}

QUANT_INLINE void minus16(out_float *dst, const uint8_t *q, float d, float m)
{
	for (int i = 0; i < 16; i++)
		dst[i] = d * (float)q[i] - m;
}

QUANT_INLINE void minus32(out_float *dst, const uint8_t *q, float d, float m)
{
	for (int i = 0; i < 32; i++)
		dst[i] = d * (float)q[i] - m;
}

/* scales[16]: scale and minimum | 256 x 2 bits | f16 d | f16 dmin */
QUANT_INLINE void q2_k(const uint8_t *b, out_float *dst)
{
	float d = load_half(b + 80), dmin = load_half(b + 82);
	uint8_t q[32];

	for (int g = 0; g < 8; g++) {
		const uint8_t *sc = b + 2 * g;

		fields32(q, b + 16 + 32 * (g / 4), 2 * (g % 4), 3);
		for (int k = 0; k < 2; k++)
			minus16(dst + 32 * g + 16 * k, q + 16 * k,
				d * (float)(sc[k] & 15),
				dmin * (float)(sc[k] >> 4));
	}
}

/* 16 scales of 6 bits: 4 from bytes 0-7, 2 from bytes 8-11. */
QUANT_INLINE int scale_q3(const uint8_t *s, int k)
{
	int low = k < 8 ? s[k] & 15 : s[k - 8] >> 4;
	int high = s[8 + k % 4] >> 2 * (k / 4) & 3;

	return (low | high << 4) - 32;
}

/* third bits[32] | 256 x 2 bits | scales[12] | f16 d */
QUANT_INLINE void q3_k(const uint8_t *b, out_float *dst)
{
	float d = load_half(b + 108);
	uint8_t low[32], high[32];
	int8_t q[32];

	for (int g = 0; g < 8; g++) {
		fields32(low, b + 32 + 32 * (g / 4), 2 * (g % 4), 3);
		fields32(high, b, g, 1);
		for (int i = 0; i < 32; i++)
			high[i] = (uint8_t)(high[i] + high[i]);
		for (int i = 0; i < 32; i++)
			low[i] = (uint8_t)(low[i] + high[i] + high[i]);
		for (int i = 0; i < 32; i++)
			q[i] = (int8_t)(low[i] - 4);
		for (int k = 0; k < 2; k++)
			scale16(dst + 32 * g + 16 * k, q + 16 * k,
				d * (float)scale_q3(b + 96, 2 * g + k));
	}
}

/* Group g of 8: scale and minimum, 6 bits each, in 12 bytes. */
QUANT_INLINE void scale_q4(const uint8_t *s, int g, int *scale, int *min)
{
	if (g < 4) {
		*scale = s[g] & 63;
		*min = s[g + 4] & 63;
		return;
	}
	*scale = (s[g + 4] & 15) | s[g - 4] >> 6 << 4;
	*min = s[g + 4] >> 4 | s[g] >> 6 << 4;
}

/* f16 d | f16 dmin | scales[12] | 256 x 4 bits */
QUANT_INLINE void q4_k(const uint8_t *b, out_float *dst)
{
	float d = load_half(b), dmin = load_half(b + 2);
	uint8_t q[32];

	for (int g = 0; g < 8; g++) {
		int scale, min;

		scale_q4(b + 4, g, &scale, &min);
		fields32(q, b + 16 + 32 * (g / 2), 4 * (g % 2), 15);
		minus32(dst + 32 * g, q, d * (float)scale, dmin * (float)min);
	}
}

/* f16 d | f16 dmin | scales[12] | fifth bits[32] | 256 x 4 bits */
QUANT_INLINE void q5_k(const uint8_t *b, out_float *dst)
{
	float d = load_half(b), dmin = load_half(b + 2);
	uint8_t q[32], high[32];

	for (int g = 0; g < 8; g++) {
		int scale, min;

		scale_q4(b + 4, g, &scale, &min);
		fields32(q, b + 48 + 32 * (g / 2), 4 * (g % 2), 15);
		fields32(high, b + 16, g, 1);
		for (int i = 0; i < 32; i++)
			q[i] |= (uint8_t)(high[i] << 4);
		minus32(dst + 32 * g, q, d * (float)scale, dmin * (float)min);
	}
}

/* low[128]: 4 bits | high[64]: 2 bits | i8 scales[16] | f16 d */
QUANT_INLINE void q6_k(const uint8_t *b, out_float *dst)
{
	float d = load_half(b + 208);
	uint8_t low[32], high[32];
	int8_t q[32];

	for (int i = 0; i < 8; i++) {
		int h = i / 4, g = i % 4;
		const uint8_t *sc = b + 192 + 2 * i;

		fields32(low, b + 64 * h + 32 * (g % 2), g / 2 * 4, 15);
		fields32(high, b + 128 + 32 * h, 2 * g, 3);
		for (int k = 0; k < 32; k++)
			low[k] |= (uint8_t)(high[k] << 4);
		for (int k = 0; k < 32; k++)
			q[k] = (int8_t)(low[k] - 32);
		for (int k = 0; k < 2; k++)
			scale16(dst + 32 * i + 16 * k, q + 16 * k,
				d * (float)(int8_t)sc[k]);
	}
}

QUANT_DECODER(q2_k, 84, 256)
QUANT_DECODER(q3_k, 110, 256)
QUANT_DECODER(q4_k, 144, 256)
QUANT_DECODER(q5_k, 176, 256)
QUANT_DECODER(q6_k, 210, 256)
