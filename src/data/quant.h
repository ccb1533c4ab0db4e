/* SPDX-License-Identifier: MIT */
/*
 * quant - decoding GGML's quantised blocks to float32, to the bit as GGML
 * does (ggml-quants.c).
 *
 * A decoder of one block is an inline function; QUANT_DECODER makes of it two
 * loops over many blocks, one for any processor and one for AVX2.  Loops in
 * it run over local arrays and have constant lengths, which is what compilers
 * turn into vector code.  A product and a sum are never contracted: that
 * would round once instead of twice.
 */
#ifndef DATA_QUANT_H
#define DATA_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "modelfs/dtype.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

/* Decoded numbers go anywhere: they need no alignment. */
typedef float out_float __attribute__((aligned(1), may_alias));

typedef void quant_fn(const uint8_t *src, out_float *dst, size_t nblocks);

struct quant_decoder {
	quant_fn *any, *avx2;
};

#define QUANT_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define QUANT_AVX2 __attribute__((target("avx2")))
#else
#define QUANT_AVX2
#endif

#define QUANT_LOOP(suffix, name, bytes, elems)                          \
	static void name##_##suffix(const uint8_t *src, out_float *dst, \
				    size_t nblocks)                     \
	{                                                               \
		for (; nblocks > 0; nblocks--) {                        \
			name(src, dst);                                 \
			src += (bytes);                                 \
			dst += (elems);                                 \
		}                                                       \
	}

#define QUANT_DECODER(name, bytes, elems)                              \
	QUANT_LOOP(any, name, bytes, elems)                            \
	QUANT_AVX2 QUANT_LOOP(avx2, name, bytes, elems)                \
		const struct quant_decoder quant_##name = {name##_any, \
							   name##_avx2};

/* False when t is no quantised type. */
bool quant_widen(enum dtype t, const uint8_t *src, void *dst, size_t nelems);

/* Rows of codebooks; the lowest byte is the first component. */
extern const uint64_t quant_iq2xxs[256];
extern const uint64_t quant_iq2xs[512];
extern const uint64_t quant_iq2s[1024];
extern const uint32_t quant_iq3xxs[256];
extern const uint32_t quant_iq3s[512];
extern const uint64_t quant_iq1s[2048];

/* quant_simple.c */
extern const struct quant_decoder quant_q4_0, quant_q4_1, quant_q5_0,
	quant_q5_1, quant_q8_0, quant_q8_k, quant_q1_0, quant_q2_0, quant_tq1_0,
	quant_tq2_0;
/* quant_k.c */
extern const struct quant_decoder quant_q2_k, quant_q3_k, quant_q4_k,
	quant_q5_k, quant_q6_k;
/* quant_iq.c */
extern const struct quant_decoder quant_iq1_s, quant_iq1_m, quant_iq2_xxs,
	quant_iq2_xs, quant_iq2_s, quant_iq3_xxs, quant_iq3_s;
/* quant_nibble.c */
extern const struct quant_decoder quant_iq4_nl, quant_iq4_xs, quant_mxfp4,
	quant_nvfp4;

/* ---- what the decoders share ---- */

QUANT_INLINE uint16_t load_u16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

QUANT_INLINE uint32_t load_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

QUANT_INLINE float bits_float(uint32_t bits)
{
	float v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

/* As half_to_float, without a call. */
QUANT_INLINE float half_float(uint32_t bits)
{
	uint32_t sign = (bits & 0x8000) << 16;
	uint32_t rest = bits & 0x7fff;
	float v;

	if (rest >= 0x7c00)
		return bits_float(sign | 0x7f800000 | (rest & 0x3ff) << 13);
	if (rest >= 0x0400)
		return bits_float(sign | ((rest << 13) + (112u << 23)));
	v = (float)rest * 0x1p-24f;
	return sign ? -v : v;
}

QUANT_INLINE float load_half(const uint8_t *p)
{
	return half_float(load_u16(p));
}

QUANT_INLINE void scale16(out_float *dst, const int8_t *q, float d)
{
	for (int i = 0; i < 16; i++)
		dst[i] = d * (float)q[i];
}

QUANT_INLINE void scale32(out_float *dst, const int8_t *q, float d)
{
	for (int i = 0; i < 32; i++)
		dst[i] = d * (float)q[i];
}

/*
 * Eight signed bytes in one number, the lowest first.  Rows are made in
 * registers: what is stored in parts and loaded as a whole stalls.
 */
QUANT_INLINE void scale_row(out_float *dst, uint64_t row, float d)
{
	int8_t q[8];

	memcpy(q, &row, sizeof(q));
	for (int i = 0; i < 8; i++)
		dst[i] = d * (float)q[i];
}

#define EACH_BYTE(v) ((v)*0x0101010101010101u)

/* Every byte, below 128, minus v. */
QUANT_INLINE uint64_t minus_each(uint64_t row, uint8_t v)
{
	return ((row | EACH_BYTE(0x80u)) - EACH_BYTE((uint64_t)v)) ^
	       EACH_BYTE(0x80u);
}

QUANT_INLINE uint64_t load_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* 0xff in byte j where bit j of b is set, else 0. */
QUANT_INLINE uint64_t mask_bits(uint8_t b)
{
	uint64_t x = b * 0x0101010101010101u & 0x8040201008040201u;

	x = (x + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u;
	return x * 0xff;
}

#endif
