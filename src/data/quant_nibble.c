/* SPDX-License-Identifier: MIT */
/*
 * quant_nibble - blocks of 4-bit codes that stand for 16 uneven steps: IQ4,
 * and the 4-bit floats of MXFP4 and NVFP4.
 */
#include "data/quant.h"

static const int8_t iq4_steps[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
				     1,	   13,	 25,  38,  53,	69,  89,  113};

/* float4_e2m1, doubled to be whole. */
static const int8_t fp4_steps[16] = {0, 1,  2,	3,  4,	6,  8,	12,
				     0, -1, -2, -3, -4, -6, -8, -12};

/* Codes of n bytes: low nibbles, then high ones. */
QUANT_INLINE void look_up(int8_t *q, const uint8_t *src, int n,
			  const int8_t *steps)
{
	for (int i = 0; i < n; i++) {
		q[i] = steps[src[i] & 15];
		q[n + i] = steps[src[i] >> 4];
	}
}

/* f16 d | 16 bytes */
QUANT_INLINE void iq4_nl(const uint8_t *b, out_float *dst)
{
	int8_t q[32];

	look_up(q, b + 2, 16, iq4_steps);
	scale32(dst, q, load_half(b));
}

/* f16 d | u16 upper and low[4] lower scale bits | 8 x 16 bytes */
QUANT_INLINE void iq4_xs(const uint8_t *b, out_float *dst)
{
	float d = load_half(b);
	unsigned high = load_u16(b + 2);
	int8_t q[32];

	for (int g = 0; g < 8; g++) {
		int s = (b[4 + g / 2] >> 4 * (g % 2) & 15) |
			(int)(high >> 2 * g & 3) << 4;

		look_up(q, b + 8 + 16 * g, 16, iq4_steps);
		scale32(dst + 32 * g, q, d * (float)(s - 32));
	}
}

/* 2^(x - 128); steps are doubled. */
QUANT_INLINE float e8m0_half(uint32_t x)
{
	return bits_float(x < 2 ? 0x00200000u << x : (x - 1) << 23);
}

/* e8m0 scale | 16 bytes */
QUANT_INLINE void mxfp4(const uint8_t *b, out_float *dst)
{
	int8_t q[32];

	look_up(q, b + 1, 16, fp4_steps);
	scale32(dst, q, e8m0_half(b[0]));
}

/* Half of an unsigned float of 4 and 3 bits; its NaN counts as 0. */
QUANT_INLINE float ue4m3_half(uint32_t x)
{
	uint32_t exp = x >> 3 & 15, man = x & 7;

	if ((x & 0x7f) == 0x7f)
		return 0;
	if (exp == 0)
		return (float)man * 0x1p-10f;
	return bits_float((exp + 119) << 23 | man << 20);
}

/* ue4m3 scales[4] | 4 x 8 bytes */
QUANT_INLINE void nvfp4(const uint8_t *b, out_float *dst)
{
	int8_t q[16];

	for (int g = 0; g < 4; g++) {
		look_up(q, b + 4 + 8 * g, 8, fp4_steps);
		scale16(dst + 16 * g, q, ue4m3_half(b[g]));
	}
}

QUANT_DECODER(iq4_nl, 18, 32)
QUANT_DECODER(iq4_xs, 136, 256)
QUANT_DECODER(mxfp4, 17, 32)
QUANT_DECODER(nvfp4, 36, 64)
