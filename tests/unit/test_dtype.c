/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <string.h>

#include "modelfs/dtype.h"

#include "check.h"

TEST(names_are_unique)
{
	for (int t = DTYPE_NONE + 1; t < DTYPE_COUNT; t++)
		CHECK_INT(dtype_by_name(dtype_name(t)), t);
	CHECK_INT(dtype_by_name("float33"), DTYPE_NONE);
	CHECK_STR(dtype_name((enum dtype)12345), "unknown");
}

/* The type that .npy holds must be one NumPy has, and its own. */
TEST(npy_types_are_plain)
{
	for (int t = DTYPE_NONE + 1; t < DTYPE_COUNT; t++) {
		const struct dtype_info *info = dtype_info(t);

		CHECK(info->block_elems > 0);
		if (!info->descr)
			continue;
		CHECK_INT(dtype_info(info->npy)->npy, info->npy);
		CHECK_STR(info->descr, dtype_info(info->npy)->descr);
		CHECK(dtype_size(info->npy) > 0);
	}
}

TEST(sizes)
{
	uint64_t n = 0;

	CHECK(dtype_nbytes(DTYPE_F32, 3, &n));
	CHECK_INT(n, 12);
	CHECK(dtype_nbytes(DTYPE_I4, 3, &n));
	CHECK_INT(n, 2);
	CHECK(dtype_nbytes(DTYPE_U2, 5, &n));
	CHECK_INT(n, 2);
	CHECK(dtype_nbytes(DTYPE_F6_E2M3, 5, &n));
	CHECK_INT(n, 6);
	CHECK(dtype_nbytes(DTYPE_F64, 0, &n));
	CHECK_INT(n, 0);
	CHECK(!dtype_nbytes(DTYPE_F64, UINT64_MAX / 4, &n));
	CHECK(!dtype_nbytes(DTYPE_STRING, 1, &n));
	CHECK_INT(dtype_size(DTYPE_I4), 0);
	CHECK_INT(dtype_size(DTYPE_C128), 16);
}

TEST(small_integers)
{
	static const uint8_t in[] = {0x8f, 0x70, 0x03};
	static const int8_t i4[] = {-1, -8, 0, 7, 3};
	static const uint8_t u4[] = {15, 8, 0, 7, 3};
	static const int8_t i2[] = {-1, -1, 0, -2, 0, 0, -1, 1, -1};
	static const uint8_t u2[] = {3, 3, 0, 2, 0, 0, 3, 1, 3};
	uint8_t out[16];

	dtype_widen(DTYPE_I4, in, out, 5);
	CHECK(memcmp(out, i4, 5) == 0);
	dtype_widen(DTYPE_U4, in, out, 5);
	CHECK(memcmp(out, u4, 5) == 0);
	dtype_widen(DTYPE_I2, in, out, 9);
	CHECK(memcmp(out, i2, 9) == 0);
	dtype_widen(DTYPE_U2, in, out, 9);
	CHECK(memcmp(out, u2, 9) == 0);
}

/* Four 6-bit codes in three bytes, the first in the lowest bits. */
TEST(six_bits)
{
	static const uint8_t in[] = {0x41, 0x30, 0x80};
	float out[4];

	dtype_widen(DTYPE_F6_E2M3, in, out, 4);
	CHECK(out[0] == smallfloat_to_float(DTYPE_F6_E2M3, 0x01));
	CHECK(out[1] == smallfloat_to_float(DTYPE_F6_E2M3, 0x01));
	CHECK(out[2] == smallfloat_to_float(DTYPE_F6_E2M3, 0x03));
	CHECK(out[3] == smallfloat_to_float(DTYPE_F6_E2M3, 0x20));
}

/* Long runs go through a table; it must say what single ones say. */
TEST(table_equals_single)
{
	static uint8_t in[1540];
	static float out[1539];

	for (int i = 0; i < 1540; i++)
		in[i] = (uint8_t)(i * 7 + i / 256);
	for (int t = DTYPE_F8_E4M3FN; t <= DTYPE_F6_E3M2; t++) {
		const struct dtype_info *info = dtype_info(t);
		unsigned width = 8u * info->block_bytes / info->block_elems;

		dtype_widen(t, in, out, 1539);
		for (unsigned i = 0; i < 1539; i++) {
			unsigned bit = i * width;
			unsigned v = in[bit / 8] | in[bit / 8 + 1] << 8;
			float one = smallfloat_to_float(
				t, v >> bit % 8 & ((1u << width) - 1));

			CHECK(memcmp(&one, &out[i], sizeof(one)) == 0);
		}
	}
}

/* Long enough for the vector code, and not a multiple of it. */
TEST(long_runs)
{
	uint8_t in[402], i4[203], u4[203];
	float f[201];

	for (int i = 0; i < 402; i++)
		in[i] = (uint8_t)(i * 77 + i / 5);
	dtype_widen(DTYPE_I4, in, i4, 203);
	dtype_widen(DTYPE_U4, in, u4, 203);
	for (int i = 0; i < 203; i++) {
		int v = i % 2 ? in[i / 2] / 16 : in[i / 2] % 16;

		CHECK_INT(u4[i], v);
		CHECK_INT((int8_t)i4[i], v > 7 ? v - 16 : v);
	}
	dtype_widen(DTYPE_I2, in, i4, 203);
	dtype_widen(DTYPE_U2, in, u4, 203);
	for (int i = 0; i < 203; i++) {
		int v = in[i / 4] >> i % 4 * 2 & 3;

		CHECK_INT(u4[i], v);
		CHECK_INT((int8_t)i4[i], v > 1 ? v - 4 : v);
	}
	dtype_widen(DTYPE_BF16, in, f, 201);
	for (int i = 0; i < 201; i++) {
		float v = bf16_to_float(
			(uint16_t)(in[2 * i] | in[2 * i + 1] << 8));

		CHECK(memcmp(&f[i], &v, sizeof(v)) == 0);
	}
}

TEST(halves_and_complex)
{
	static const uint16_t in[] = {0x3c00, 0xc000, 0x7bff, 0x0001};
	float out[4];

	dtype_widen(DTYPE_C32, in, out, 2);
	CHECK(out[0] == 1 && out[1] == -2 && out[2] == 65504);
	CHECK(out[3] == 0x1p-24f);
	dtype_widen(DTYPE_BF16, in, out, 4);
	CHECK(out[0] == bf16_to_float(0x3c00));
	CHECK(out[3] == bf16_to_float(1));
}

/* All 65536 codes, through the vector code. */
TEST(every_half)
{
	static uint16_t in[65536];
	static float out[65536];

	for (int i = 0; i < 65536; i++)
		in[i] = (uint16_t)i;
	dtype_widen(DTYPE_C32, in, out, 32768);
	for (int i = 0; i < 65536; i++) {
		float one = half_to_float((uint16_t)i);

		if (memcmp(&one, &out[i], sizeof(one)) != 0)
			CHECK_INT(i, -1);
	}
}

int main(void)
{
	RUN(every_half);
	RUN(names_are_unique);
	RUN(npy_types_are_plain);
	RUN(sizes);
	RUN(small_integers);
	RUN(six_bits);
	RUN(table_equals_single);
	RUN(long_runs);
	RUN(halves_and_complex);
	return check_result();
}
