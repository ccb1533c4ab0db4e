/* SPDX-License-Identifier: MIT */
/*
 * Quantised blocks: every decoder against checksums of what GGML's own code
 * makes of the same two blocks; byte order; parts of blocks.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/dtype.h"
#include "modelfs/err.h"

#include "check.h"

#define BLOCKS_MAX 1024
#define OUT_MAX 512

struct golden {
	enum dtype dtype;
	int scales[2];	  /* offsets of float16 scales; -1: none */
	uint32_t in, out; /* CRC-32 */
};

static const struct golden goldens[] = {
	{DTYPE_Q4_0, {0, -1}, 0x2d9379e5, 0xb2f0d893},
	{DTYPE_Q4_1, {0, 2}, 0xfbcec31b, 0xd34ea1bb},
	{DTYPE_Q5_0, {0, -1}, 0x581ee65d, 0xda2bbb5a},
	{DTYPE_Q5_1, {0, 2}, 0xeb69a99e, 0x234da9e1},
	{DTYPE_Q8_0, {0, -1}, 0x0492a2ac, 0x95829973},
	{DTYPE_Q2_K, {80, 82}, 0x340878d6, 0x0f67c3e8},
	{DTYPE_Q3_K, {108, -1}, 0x0614e73f, 0x87aeab2f},
	{DTYPE_Q4_K, {0, 2}, 0xf4b49630, 0x2e2c5c7a},
	{DTYPE_Q5_K, {0, 2}, 0xf4574619, 0x852d8ba8},
	{DTYPE_Q6_K, {208, -1}, 0x3896b362, 0xd13bba9f},
	{DTYPE_IQ2_XXS, {0, -1}, 0x9c57cad0, 0x97639393},
	{DTYPE_IQ2_XS, {0, -1}, 0x38327eea, 0x6c4ccb52},
	{DTYPE_IQ2_S, {0, -1}, 0x2a740fb2, 0x17445f4a},
	{DTYPE_IQ3_XXS, {0, -1}, 0x12cc75cf, 0xd07cf8e4},
	{DTYPE_IQ3_S, {0, -1}, 0x8f99dd5f, 0xb2c92c2c},
	{DTYPE_IQ1_S, {0, -1}, 0x52e10824, 0xf421b8e6},
	{DTYPE_IQ1_M, {-1, -1}, 0x42794f2d, 0x471ce069},
	{DTYPE_IQ4_NL, {0, -1}, 0x2d9379e5, 0xc71dc2ad},
	{DTYPE_IQ4_XS, {0, -1}, 0x6837ccf5, 0x9d1a9f52},
	{DTYPE_TQ1_0, {52, -1}, 0xb197a58a, 0xd5812f79},
	{DTYPE_TQ2_0, {64, -1}, 0x7d2ecba4, 0x91dbbee1},
	{DTYPE_MXFP4, {-1, -1}, 0xfcc18c76, 0x03f0ce0a},
	{DTYPE_NVFP4, {-1, -1}, 0x8f1d3387, 0xef57a788},
	{DTYPE_Q1_0, {0, -1}, 0x2d9379e5, 0xddde97ae},
	{DTYPE_Q2_0, {0, -1}, 0x2d9379e5, 0x7ba548b7},
};

#define NGOLDENS (sizeof(goldens) / sizeof(goldens[0]))

static uint32_t crc32_of(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/* n blocks of a linear congruential generator's bytes, with sane scales. */
static size_t make_blocks(const struct golden *g, uint8_t *out, size_t n)
{
	size_t width = dtype_info(g->dtype)->block_bytes;
	uint32_t s = 12345;

	for (size_t i = 0; i < n * width; i++) {
		s = s * 1103515245u + 12345u;
		out[i] = (uint8_t)(s >> 16);
	}
	for (size_t b = 0; b < n; b++)
		for (int k = 0; k < 2; k++) {
			uint8_t *p = out + b * width + g->scales[k];

			if (g->scales[k] < 0)
				continue;
			p[0] = 0;
			p[1] = (uint8_t)(0x2c + 4 * k + 0x10 * (b & 1));
		}
	return n * width;
}

TEST(golden_blocks)
{
	for (size_t i = 0; i < NGOLDENS; i++) {
		const struct golden *g = &goldens[i];
		size_t elems = 2u * dtype_info(g->dtype)->block_elems;
		uint8_t in[BLOCKS_MAX], out[4 * OUT_MAX + 1];
		size_t len = make_blocks(g, in, 2);

		CHECK_INT(crc32_of(in, len), g->in);
		/* An odd address: neither side needs alignment. */
		dtype_widen(g->dtype, in, out + 1, elems);
		if (crc32_of(out + 1, 4 * elems) != g->out)
			printf("# %s\n", dtype_name(g->dtype));
		CHECK_INT(crc32_of(out + 1, 4 * elems), g->out);
	}
}

/* Scales of a float32 and nothing else: GGML never stores this type. */
TEST(q8_k)
{
	uint8_t in[292] = {0, 0, 0, 0x3f};
	float out[256];

	for (int i = 0; i < 256; i++)
		in[4 + i] = (uint8_t)i;
	dtype_widen(DTYPE_Q8_K, in, out, 256);
	for (int i = 0; i < 256; i++)
		CHECK(out[i] == 0.5f * (float)(int8_t)i);
}

/* Any bytes are a block: infinities and NaNs come through as such. */
TEST(all_ones_and_infinite_scales)
{
	for (size_t i = 0; i < NGOLDENS; i++) {
		const struct golden *g = &goldens[i];
		size_t elems = dtype_info(g->dtype)->block_elems;
		uint8_t in[BLOCKS_MAX];
		float out[OUT_MAX];

		memset(in, 0xff, sizeof(in));
		dtype_widen(g->dtype, in, out, elems);
		CHECK(out[0] != out[0] || g->dtype == DTYPE_MXFP4 ||
		      g->dtype == DTYPE_NVFP4);
		if (g->scales[0] < 0)
			continue;
		memset(in, 0x11, sizeof(in));
		memcpy(in + g->scales[0], "\x00\x7c", 2);
		dtype_widen(g->dtype, in, out, elems);
		for (size_t k = 0; k < elems; k++)
			CHECK(out[k] != out[k] || out[k] == out[k] + 1 ||
			      g->scales[1] >= 0);
	}
}

/* Reads at any place give what decoding everything gives. */
TEST(parts_of_a_blob)
{
	for (size_t i = 0; i < NGOLDENS; i++) {
		const struct golden *g = &goldens[i];
		size_t n = 7, elems = n * dtype_info(g->dtype)->block_elems;
		uint8_t *in = malloc(BLOCKS_MAX * n);
		float *want = malloc(4 * elems);
		size_t len = make_blocks(g, in, n);
		struct blob *b =
			blob_widen(blob_copy(in, len), g->dtype, elems);
		uint8_t part[701];
		struct err e = {0};

		dtype_widen(g->dtype, in, want, elems);
		CHECK_INT(b->size, 4 * elems);
		for (uint64_t off = 0; off < b->size; off += 331) {
			size_t got = 0;

			CHECK_INT(
				blob_read(b, part, sizeof(part), off, &got, &e),
				0);
			CHECK(memcmp(part, (uint8_t *)want + off, got) == 0);
		}
		blob_unref(b);
		free(in);
		free(want);
	}
}

/* Swapped twice is unchanged; scales end up the other way round. */
TEST(byte_order)
{
	for (size_t i = 0; i < NGOLDENS; i++) {
		const struct golden *g = &goldens[i];
		uint8_t in[BLOCKS_MAX], swapped[BLOCKS_MAX];
		size_t len = make_blocks(g, in, 2);

		memcpy(swapped, in, len);
		dtype_swap(g->dtype, swapped, 2);
		for (int k = 0; k < 2; k++)
			if (g->scales[k] >= 0)
				CHECK(swapped[g->scales[k] + 1] == 0);
		dtype_swap(g->dtype, swapped, 2);
		CHECK(memcmp(in, swapped, len) == 0);
	}
}

TEST(byte_order_of_plain_types)
{
	uint8_t in[16] = {1, 2,	 3,  4,	 5,  6,	 7,  8,
			  9, 10, 11, 12, 13, 14, 15, 16};
	static const uint8_t u32[8] = {4, 3, 2, 1, 8, 7, 6, 5};
	static const uint8_t c64[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	dtype_swap(DTYPE_U32, in, 2);
	CHECK(memcmp(in, u32, 8) == 0);
	dtype_swap(DTYPE_C64, in, 1);
	CHECK(memcmp(in, c64, 8) == 0);
	dtype_swap(DTYPE_I4, in, 8);
	CHECK(memcmp(in, c64, 8) == 0);
}

int main(void)
{
	RUN(golden_blocks);
	RUN(q8_k);
	RUN(all_ones_and_infinite_scales);
	RUN(parts_of_a_blob);
	RUN(byte_order);
	RUN(byte_order_of_plain_types);
	return check_result();
}
