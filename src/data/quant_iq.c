/* SPDX-License-Identifier: MIT */
/*
 * quant_iq - "IQ" blocks: rows of a codebook, whose signs are stored beside
 * (IQ2, IQ3) or which are shifted a little (IQ1).  Indices are masked to the
 * size of their codebook, so that any bytes are a block.
 */
#include "data/quant.h"

/* Seven signs; the eighth makes their number even. */
QUANT_INLINE uint8_t signs7(uint32_t i)
{
	uint32_t v = i & 127;
	uint32_t parity = v ^ v >> 4;

	parity ^= parity >> 2;
	parity ^= parity >> 1;
	return (uint8_t)(v | (parity & 1) << 7);
}

/* The row with the components negated whose bit is set; none is zero. */
QUANT_INLINE uint64_t negate(uint64_t row, uint8_t signs)
{
	uint64_t mask = mask_bits(signs);

	return (row ^ mask) + (mask & 0x0101010101010101u);
}

QUANT_INLINE uint64_t two_rows(uint32_t first, uint32_t second)
{
	return first | (uint64_t)second << 32;
}

/* f16 d | per group of 32: u32 indices, u32 with 4 x 7 signs and a scale */
QUANT_INLINE void iq2_xxs(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int g = 0; g < 8; g++) {
		uint32_t idx = load_u32(b + 2 + 8 * g);
		uint32_t w = load_u32(b + 6 + 8 * g);
		float scale = d * (0.5f + (float)(w >> 28)) * 0.25f;

		for (int l = 0; l < 4; l++)
			scale_row(dst + 32 * g + 8 * l,
				  negate(quant_iq2xxs[idx >> 8 * l & 255],
					 signs7(w >> 7 * l)),
				  scale);
	}
}

QUANT_INLINE float nibble_scale(float d, unsigned nibble)
{
	return d * (0.5f + (float)nibble) * 0.25f;
}

/* f16 d | u16 q[32]: 9 bits of index, 7 signs | scales[8]: 4 bits each */
QUANT_INLINE void iq2_xs(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int g = 0; g < 8; g++) {
		uint8_t s = b[66 + g];
		float scales[2] = {nibble_scale(d, s & 15),
				   nibble_scale(d, s >> 4)};

		for (int l = 0; l < 4; l++) {
			uint32_t w = load_u16(b + 2 + 8 * g + 2 * l);

			scale_row(dst + 32 * g + 8 * l,
				  negate(quant_iq2xs[w & 511], signs7(w >> 9)),
				  scales[l / 2]);
		}
	}
}

/* f16 d | q[32] | signs[32] | qh[8]: 2 bits each | scales[8] */
QUANT_INLINE void iq2_s(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int g = 0; g < 8; g++) {
		uint8_t s = b[74 + g], high = b[66 + g];
		float scales[2] = {nibble_scale(d, s & 15),
				   nibble_scale(d, s >> 4)};

		for (int l = 0; l < 4; l++) {
			int idx = b[2 + 4 * g + l] | (high >> 2 * l & 3) << 8;

			scale_row(dst + 32 * g + 8 * l,
				  negate(quant_iq2s[idx], b[34 + 4 * g + l]),
				  scales[l / 2]);
		}
	}
}

/* f16 d | q[64] | u32 per group of 32: 4 x 7 signs and a scale */
QUANT_INLINE void iq3_xxs(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int g = 0; g < 8; g++) {
		const uint8_t *q = b + 2 + 8 * g;
		uint32_t w = load_u32(b + 66 + 4 * g);
		float scale = d * (0.5f + (float)(w >> 28)) * 0.5f;

		for (int l = 0; l < 4; l++)
			scale_row(dst + 32 * g + 8 * l,
				  negate(two_rows(quant_iq3xxs[q[2 * l]],
						  quant_iq3xxs[q[2 * l + 1]]),
					 signs7(w >> 7 * l)),
				  scale);
	}
}

/* f16 d | q[64] | qh[8]: ninth bits | signs[32] | scales[4]: 4 bits each */
QUANT_INLINE void iq3_s(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int g = 0; g < 8; g++) {
		const uint8_t *q = b + 2 + 8 * g;
		int high = b[66 + g] << 8;
		int s = b[106 + g / 2] >> 4 * (g % 2) & 15;
		float scale = d * (float)(1 + 2 * s);

		for (int l = 0; l < 4; l++) {
			int first = q[2 * l] | (high >> 2 * l & 256);
			int second = q[2 * l + 1] | (high >> (2 * l + 1) & 256);

			scale_row(dst + 32 * g + 8 * l,
				  negate(two_rows(quant_iq3s[first],
						  quant_iq3s[second]),
					 b[74 + 4 * g + l]),
				  scale);
		}
	}
}

/* scale * (component + shift / 8); 8 times a component is a whole number. */
QUANT_INLINE void shift_row(out_float *dst, uint64_t row, int shift,
			    float scale)
{
	int8_t q[8];

	memcpy(q, &row, sizeof(q));
	for (int i = 0; i < 8; i++)
		dst[i] = scale * (0.125f * (float)(8 * q[i] + shift));
}

/* f16 d | q[32] | u16 qh[8]: 4 x 3 bits of index, a scale, the shift */
QUANT_INLINE void iq1_s(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);

	for (int g = 0; g < 8; g++) {
		uint32_t h = load_u16(b + 34 + 2 * g);
		float scale = d * (float)(2 * (h >> 12 & 7) + 1);
		int shift = h & 0x8000 ? -1 : 1;

		for (int l = 0; l < 4; l++) {
			uint32_t idx = b[2 + 4 * g + l] | (h >> 3 * l & 7) << 8;

			shift_row(dst + 32 * g + 8 * l, quant_iq1s[idx], shift,
				  scale);
		}
	}
}

/* Four words, each with four bits of the block's scale on top. */
QUANT_INLINE float scale_iq1_m(const uint8_t *s)
{
	return half_float((uint32_t)(load_u16(s) >> 12 |
				     (load_u16(s + 2) >> 8 & 0xf0) |
				     (load_u16(s + 4) >> 4 & 0xf00) |
				     (load_u16(s + 6) & 0xf000)));
}

/* q[32] | qh[16]: 3 bits of index and the shift | u16 scales[4]: 4 x 3 bits */
QUANT_INLINE void iq1_m(const uint8_t *b, out_float *dst)
{
	float d = scale_iq1_m(b + 48);

	for (int i = 0; i < 32; i++) {
		int g = i / 4, l = i % 4;
		uint32_t n = b[32 + i / 2] >> 4 * (i % 2) & 15;
		uint32_t s = load_u16(b + 48 + 2 * (g / 2)) >>
				     (6 * (g % 2) + 3 * (l / 2)) &
			     7;

		shift_row(dst + 8 * i, quant_iq1s[b[i] | (n & 7) << 8],
			  n & 8 ? -1 : 1, d * (float)(2 * s + 1));
	}
}

QUANT_DECODER(iq1_s, 50, 256)
QUANT_DECODER(iq1_m, 56, 256)
QUANT_DECODER(iq2_xxs, 66, 256)
QUANT_DECODER(iq2_xs, 74, 256)
QUANT_DECODER(iq2_s, 82, 256)
QUANT_DECODER(iq3_xxs, 98, 256)
QUANT_DECODER(iq3_s, 110, 256)
