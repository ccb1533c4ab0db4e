/* SPDX-License-Identifier: MIT */
/* quant - which decoder for which type; where blocks hold wide numbers. */
#include "data/quant.h"

/* Elements of the largest block. */
#define BLOCK_ELEMS_MAX 256

static const struct quant_decoder *const decoders[DTYPE_COUNT] = {
	[DTYPE_Q4_0] = &quant_q4_0,	  [DTYPE_Q4_1] = &quant_q4_1,
	[DTYPE_Q5_0] = &quant_q5_0,	  [DTYPE_Q5_1] = &quant_q5_1,
	[DTYPE_Q8_0] = &quant_q8_0,	  [DTYPE_Q2_K] = &quant_q2_k,
	[DTYPE_Q3_K] = &quant_q3_k,	  [DTYPE_Q4_K] = &quant_q4_k,
	[DTYPE_Q5_K] = &quant_q5_k,	  [DTYPE_Q6_K] = &quant_q6_k,
	[DTYPE_Q8_K] = &quant_q8_k,	  [DTYPE_IQ1_S] = &quant_iq1_s,
	[DTYPE_IQ1_M] = &quant_iq1_m,	  [DTYPE_IQ2_XXS] = &quant_iq2_xxs,
	[DTYPE_IQ2_XS] = &quant_iq2_xs,	  [DTYPE_IQ2_S] = &quant_iq2_s,
	[DTYPE_IQ3_XXS] = &quant_iq3_xxs, [DTYPE_IQ3_S] = &quant_iq3_s,
	[DTYPE_IQ4_NL] = &quant_iq4_nl,	  [DTYPE_IQ4_XS] = &quant_iq4_xs,
	[DTYPE_TQ1_0] = &quant_tq1_0,	  [DTYPE_TQ2_0] = &quant_tq2_0,
	[DTYPE_MXFP4] = &quant_mxfp4,	  [DTYPE_NVFP4] = &quant_nvfp4,
	[DTYPE_Q1_0] = &quant_q1_0,	  [DTYPE_Q2_0] = &quant_q2_0,
};

static quant_fn *find_decoder(enum dtype t)
{
	const struct quant_decoder *d = decoders[t];

	if (!d)
		return NULL;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return d->avx2;
#endif
	return d->any;
}

bool quant_widen(enum dtype t, const uint8_t *src, void *dst, size_t nelems)
{
	const struct dtype_info *info = dtype_info(t);
	quant_fn *decode = find_decoder(t);
	size_t nblocks = nelems / info->block_elems;
	size_t rest = nelems % info->block_elems;

	if (!decode)
		return false;
	decode(src, dst, nblocks);
	if (rest > 0) {
		float last[BLOCK_ELEMS_MAX];

		decode(src + nblocks * info->block_bytes, last, 1);
		memcpy((uint8_t *)dst + 4 * (nelems - rest), last, 4 * rest);
	}
	return true;
}

/* Numbers of more than one byte in a block: count x width bytes at off. */
struct member {
	uint16_t off;
	uint8_t width, count;
};

#define MEMBERS_MAX 2

static const struct member members[DTYPE_COUNT][MEMBERS_MAX] = {
	[DTYPE_Q4_0] = {{0, 2, 1}},
	[DTYPE_Q4_1] = {{0, 2, 2}},
	[DTYPE_Q5_0] = {{0, 2, 1}, {2, 4, 1}},
	[DTYPE_Q5_1] = {{0, 2, 2}, {4, 4, 1}},
	[DTYPE_Q8_0] = {{0, 2, 1}},
	[DTYPE_Q8_1] = {{0, 2, 2}},
	[DTYPE_Q2_K] = {{80, 2, 2}},
	[DTYPE_Q3_K] = {{108, 2, 1}},
	[DTYPE_Q4_K] = {{0, 2, 2}},
	[DTYPE_Q5_K] = {{0, 2, 2}},
	[DTYPE_Q6_K] = {{208, 2, 1}},
	[DTYPE_Q8_K] = {{0, 4, 1}, {260, 2, 16}},
	[DTYPE_IQ1_S] = {{0, 2, 1}, {34, 2, 8}},
	[DTYPE_IQ1_M] = {{48, 2, 4}},
	[DTYPE_IQ2_XXS] = {{0, 2, 33}},
	[DTYPE_IQ2_XS] = {{0, 2, 33}},
	[DTYPE_IQ2_S] = {{0, 2, 1}},
	[DTYPE_IQ3_XXS] = {{0, 2, 1}, {66, 4, 8}},
	[DTYPE_IQ3_S] = {{0, 2, 1}},
	[DTYPE_IQ4_NL] = {{0, 2, 1}},
	[DTYPE_IQ4_XS] = {{0, 2, 2}},
	[DTYPE_TQ1_0] = {{52, 2, 1}},
	[DTYPE_TQ2_0] = {{64, 2, 1}},
	[DTYPE_Q1_0] = {{0, 2, 1}},
	[DTYPE_Q2_0] = {{0, 2, 1}},
};

static void swap_bytes(uint8_t *p, size_t width)
{
	for (size_t i = 0; i < width / 2; i++) {
		uint8_t v = p[i];

		p[i] = p[width - 1 - i];
		p[width - 1 - i] = v;
	}
}

static void swap_members(const struct member *m, uint8_t *block)
{
	for (size_t k = 0; k < MEMBERS_MAX; k++)
		for (size_t i = 0; i < m[k].count; i++)
			swap_bytes(block + m[k].off + i * m[k].width,
				   m[k].width);
}

void dtype_swap(enum dtype t, void *blocks, size_t nblocks)
{
	const struct dtype_info *info = dtype_info(t);
	size_t width = info->block_bytes;
	uint8_t *p = blocks;

	for (; nblocks > 0; nblocks--, p += width)
		if (info->class == CLASS_QUANT)
			swap_members(members[t], p);
		else if (info->class == CLASS_COMPLEX)
			for (size_t i = 0; i < 2; i++)
				swap_bytes(p + i * width / 2, width / 2);
		else if (info->block_elems == 1)
			swap_bytes(p, width);
}
