/* SPDX-License-Identifier: MIT */
/*
 * dtype - the table of element types, and the decoding of those that NumPy
 * does not have.
 */
#include "modelfs/dtype.h"

#include <string.h>

#include "data/quant.h"

#define TYPE(id, name, class, elems, bytes, descr, npy) \
	[DTYPE_##id] = {name, CLASS_##class, elems, bytes, descr, DTYPE_##npy}

/* A quantised type: .npy holds float32, or is not to be had. */
#define QUANT(id, elems, bytes) TYPE(id, #id, QUANT, elems, bytes, "<f4", F32)
#define PACKED(id, elems, bytes) TYPE(id, #id, QUANT, elems, bytes, NULL, id)

static const struct dtype_info infos[DTYPE_COUNT] = {
	TYPE(NONE, "unknown", OTHER, 1, 0, NULL, NONE),
	TYPE(BOOL, "bool", BOOL, 1, 1, "|b1", BOOL),
	TYPE(U8, "uint8", UINT, 1, 1, "|u1", U8),
	TYPE(I8, "int8", INT, 1, 1, "|i1", I8),
	TYPE(U16, "uint16", UINT, 1, 2, "<u2", U16),
	TYPE(I16, "int16", INT, 1, 2, "<i2", I16),
	TYPE(U32, "uint32", UINT, 1, 4, "<u4", U32),
	TYPE(I32, "int32", INT, 1, 4, "<i4", I32),
	TYPE(U64, "uint64", UINT, 1, 8, "<u8", U64),
	TYPE(I64, "int64", INT, 1, 8, "<i8", I64),
	TYPE(F16, "float16", FLOAT, 1, 2, "<f2", F16),
	TYPE(BF16, "bfloat16", FLOAT, 1, 2, "<f4", F32),
	TYPE(F32, "float32", FLOAT, 1, 4, "<f4", F32),
	TYPE(F64, "float64", FLOAT, 1, 8, "<f8", F64),
	TYPE(C32, "complex32", COMPLEX, 1, 4, "<c8", C64),
	TYPE(C64, "complex64", COMPLEX, 1, 8, "<c8", C64),
	TYPE(C128, "complex128", COMPLEX, 1, 16, "<c16", C128),
	TYPE(F8_E4M3FN, "float8_e4m3fn", FLOAT, 1, 1, "<f4", F32),
	TYPE(F8_E5M2, "float8_e5m2", FLOAT, 1, 1, "<f4", F32),
	TYPE(F8_E4M3FNUZ, "float8_e4m3fnuz", FLOAT, 1, 1, "<f4", F32),
	TYPE(F8_E5M2FNUZ, "float8_e5m2fnuz", FLOAT, 1, 1, "<f4", F32),
	TYPE(F8_E4M3B11FNUZ, "float8_e4m3b11fnuz", FLOAT, 1, 1, "<f4", F32),
	TYPE(F8_E8M0, "float8_e8m0", FLOAT, 1, 1, "<f4", F32),
	TYPE(F4_E2M1, "float4_e2m1", FLOAT, 2, 1, "<f4", F32),
	TYPE(F6_E2M3, "float6_e2m3", FLOAT, 4, 3, "<f4", F32),
	TYPE(F6_E3M2, "float6_e3m2", FLOAT, 4, 3, "<f4", F32),
	TYPE(I4, "int4", INT, 2, 1, "|i1", I8),
	TYPE(U4, "uint4", UINT, 2, 1, "|u1", U8),
	TYPE(I2, "int2", INT, 4, 1, "|i1", I8),
	TYPE(U2, "uint2", UINT, 4, 1, "|u1", U8),
	QUANT(Q4_0, 32, 18),
	QUANT(Q4_1, 32, 20),
	QUANT(Q5_0, 32, 22),
	QUANT(Q5_1, 32, 24),
	QUANT(Q8_0, 32, 34),
	PACKED(Q8_1, 32, 36),
	QUANT(Q2_K, 256, 84),
	QUANT(Q3_K, 256, 110),
	QUANT(Q4_K, 256, 144),
	QUANT(Q5_K, 256, 176),
	QUANT(Q6_K, 256, 210),
	QUANT(Q8_K, 256, 292),
	QUANT(IQ1_S, 256, 50),
	QUANT(IQ1_M, 256, 56),
	QUANT(IQ2_XXS, 256, 66),
	QUANT(IQ2_XS, 256, 74),
	QUANT(IQ2_S, 256, 82),
	QUANT(IQ3_XXS, 256, 98),
	QUANT(IQ3_S, 256, 110),
	QUANT(IQ4_NL, 32, 18),
	QUANT(IQ4_XS, 256, 136),
	QUANT(TQ1_0, 256, 54),
	QUANT(TQ2_0, 256, 66),
	QUANT(MXFP4, 32, 17),
	QUANT(NVFP4, 64, 36),
	QUANT(Q1_0, 128, 18),
	QUANT(Q2_0, 64, 18),
	PACKED(Q4_0_4_4, 32, 18),
	PACKED(Q4_0_4_8, 32, 18),
	PACKED(Q4_0_8_8, 32, 18),
	PACKED(IQ4_NL_4_4, 32, 18),
	PACKED(IQ4_NL_4_8, 32, 18),
	PACKED(IQ4_NL_8_8, 32, 18),
	TYPE(STRING, "string", STRING, 1, 0, NULL, STRING),
	TYPE(SEQUENCE, "sequence", CONTAINER, 1, 0, NULL, SEQUENCE),
	TYPE(OPTIONAL, "optional", CONTAINER, 1, 0, NULL, OPTIONAL),
	TYPE(MAP, "map", CONTAINER, 1, 0, NULL, MAP),
};

const struct dtype_info *dtype_info(enum dtype t)
{
	return &infos[(unsigned)t < DTYPE_COUNT ? t : DTYPE_NONE];
}

const char *dtype_name(enum dtype t)
{
	return dtype_info(t)->name;
}

enum dtype dtype_by_name(const char *name)
{
	for (int t = DTYPE_NONE + 1; t < DTYPE_COUNT; t++)
		if (strcmp(infos[t].name, name) == 0)
			return t;
	return DTYPE_NONE;
}

bool dtype_nbytes(enum dtype t, uint64_t nelems, uint64_t *out)
{
	const struct dtype_info *info = dtype_info(t);
	uint64_t nblocks = nelems / info->block_elems;

	if (info->block_bytes == 0)
		return false;
	if (nelems % info->block_elems != 0)
		nblocks++;
	return !__builtin_mul_overflow(nblocks, (uint64_t)info->block_bytes,
				       out);
}

size_t dtype_size(enum dtype t)
{
	const struct dtype_info *info = dtype_info(t);

	return info->block_elems == 1 ? info->block_bytes : 0;
}

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static void store_float(uint8_t *p, float v)
{
	memcpy(p, &v, sizeof(v));
}

/* In chunks of constant size, which compilers turn into vector code. */
#define CHUNK 32

static void widen_bf16(const uint8_t *src, uint8_t *dst, size_t n)
{
	size_t i = 0;

	for (; i + CHUNK <= n; i += CHUNK) {
		uint16_t in[CHUNK];
		uint32_t out[CHUNK];

		memcpy(in, src + 2 * i, sizeof(in));
		for (int k = 0; k < CHUNK; k++)
			out[k] = (uint32_t)in[k] << 16;
		memcpy(dst + 4 * i, out, sizeof(out));
	}
	for (; i < n; i++)
		store_float(dst + 4 * i, bf16_to_float(load16(src + 2 * i)));
}

/* Both ways for all, then a choice: what vector code is made of. */
static void widen_half_chunk(const uint8_t *src, uint8_t *dst)
{
	uint16_t in[CHUNK];
	uint32_t out[CHUNK];

	memcpy(in, src, sizeof(in));
	for (int k = 0; k < CHUNK; k++) {
		uint32_t rest = in[k] & 0x7fffu;
		float small = (float)(int32_t)rest * 0x1p-24f;
		uint32_t bits, bias = rest < 0x7c00 ? 112u << 23 : 224u << 23;

		memcpy(&bits, &small, sizeof(bits));
		bits = rest < 0x0400 ? bits : (rest << 13) + bias;
		out[k] = bits | (in[k] & 0x8000u) << 16;
	}
	memcpy(dst, out, sizeof(out));
}

static void widen_half(const uint8_t *src, uint8_t *dst, size_t n)
{
	size_t i = 0;

	for (; i + CHUNK <= n; i += CHUNK)
		widen_half_chunk(src + 2 * i, dst + 4 * i);
	for (; i < n; i++)
		store_float(dst + 4 * i, half_to_float(load16(src + 2 * i)));
}

/* The code of element i, `width` bits each, the lowest bits first. */
static uint8_t code_at(const uint8_t *src, size_t i, unsigned width)
{
	size_t bit = i * width;
	unsigned shift = bit % 8;
	unsigned v = src[bit / 8] >> shift;

	if (shift + width > 8)
		v |= (unsigned)src[bit / 8 + 1] << (8 - shift);
	return v & ((1u << width) - 1);
}

/* Elements [from, n), one by one. */
static void widen_small_tail(enum dtype t, const uint8_t *src, uint8_t *dst,
			     size_t from, size_t n)
{
	unsigned width = 8u * infos[t].block_bytes / infos[t].block_elems;

	for (size_t i = from; i < n; i++)
		store_float(dst + 4 * i,
			    smallfloat_to_float(t, code_at(src, i, width)));
}

/* As many elements as make a table of all codes worth its while. */
#define TABLE_MIN 1024

/* Whole groups of elements; returns how many elements they were. */
static size_t widen_bytes(const float *table, const uint8_t *src, uint8_t *dst,
			  size_t n)
{
	for (size_t i = 0; i < n; i++)
		memcpy(dst + 4 * i, &table[src[i]], 4);
	return n;
}

static size_t widen_float4(const float *table, const uint8_t *src, uint8_t *dst,
			   size_t n)
{
	float pairs[256][2];

	for (int i = 0; i < 256; i++) {
		pairs[i][0] = table[i & 15];
		pairs[i][1] = table[i >> 4];
	}
	for (size_t i = 0; i < n / 2; i++)
		memcpy(dst + 8 * i, pairs[src[i]], 8);
	return n - n % 2;
}

static size_t widen_float6(const float *table, const uint8_t *src, uint8_t *dst,
			   size_t n)
{
	for (size_t i = 0; i < n / 4; i++, src += 3) {
		uint32_t v = src[0] | src[1] << 8 | (uint32_t)src[2] << 16;

		for (int k = 0; k < 4; k++)
			memcpy(dst + 16 * i + 4 * k, &table[v >> 6 * k & 63],
			       4);
	}
	return n - n % 4;
}

/* Floats of at most 8 bits: one look into a table per element. */
static void widen_small(enum dtype t, const uint8_t *src, uint8_t *dst,
			size_t n)
{
	unsigned elems = infos[t].block_elems;
	unsigned ncodes = elems == 1 ? 256 : elems == 2 ? 16 : 64;
	size_t done = 0;
	float table[256];

	if (n >= TABLE_MIN) {
		for (unsigned code = 0; code < ncodes; code++)
			table[code] = smallfloat_to_float(t, (uint8_t)code);
		done = elems == 1   ? widen_bytes(table, src, dst, n)
		       : elems == 2 ? widen_float4(table, src, dst, n)
				    : widen_float6(table, src, dst, n);
	}
	widen_small_tail(t, src, dst, done, n);
}

/* CHUNK bytes of two 4-bit integers each; sign is 8 or 0. */
static void widen_nibbles(const uint8_t *src, uint8_t *dst, uint8_t sign)
{
	uint8_t in[CHUNK], out[2 * CHUNK];

	memcpy(in, src, sizeof(in));
	for (int k = 0; k < CHUNK; k++) {
		out[2 * k] = (uint8_t)(((in[k] & 15) ^ sign) - sign);
		out[2 * k + 1] = (uint8_t)(((in[k] >> 4) ^ sign) - sign);
	}
	memcpy(dst, out, sizeof(out));
}

/* CHUNK bytes of four 2-bit integers each; sign is 2 or 0. */
static void widen_pairs(const uint8_t *src, uint8_t *dst, uint8_t sign)
{
	uint8_t in[CHUNK], out[4 * CHUNK];
	uint32_t v[CHUNK];

	memcpy(in, src, sizeof(in));
	for (int k = 0; k < CHUNK; k++)
		v[k] = (in[k] | (uint32_t)in[k] << 6 | (uint32_t)in[k] << 12 |
			(uint32_t)in[k] << 18) &
		       0x03030303u;
	memcpy(out, v, sizeof(out));
	for (int k = 0; k < 4 * CHUNK; k++)
		out[k] = (uint8_t)((out[k] ^ sign) - sign);
	memcpy(dst, out, sizeof(out));
}

/* Integers of 4 or 2 bits, sign-extended where they are signed. */
static void widen_small_int(enum dtype t, const uint8_t *src, uint8_t *dst,
			    size_t n)
{
	unsigned width = 8u / infos[t].block_elems;
	uint8_t sign = infos[t].class == CLASS_INT ? 1u << (width - 1) : 0;
	size_t i = 0;

	for (; width == 4 && i + 2 * CHUNK <= n; i += 2 * CHUNK)
		widen_nibbles(src + i / 2, dst + i, sign);
	for (; width == 2 && i + 4 * CHUNK <= n; i += 4 * CHUNK)
		widen_pairs(src + i / 4, dst + i, sign);
	for (; i < n; i++)
		dst[i] = (uint8_t)((code_at(src, i, width) ^ sign) - sign);
}

void dtype_widen(enum dtype t, const void *src, void *dst, size_t nelems)
{
	if (quant_widen(t, src, dst, nelems))
		return;
	switch (t) {
	case DTYPE_BF16:
		widen_bf16(src, dst, nelems);
		return;
	case DTYPE_C32:
		widen_half(src, dst, 2 * nelems);
		return;
	case DTYPE_F8_E4M3FN:
	case DTYPE_F8_E5M2:
	case DTYPE_F8_E4M3FNUZ:
	case DTYPE_F8_E5M2FNUZ:
	case DTYPE_F8_E4M3B11FNUZ:
	case DTYPE_F8_E8M0:
	case DTYPE_F4_E2M1:
	case DTYPE_F6_E2M3:
	case DTYPE_F6_E3M2:
		widen_small(t, src, dst, nelems);
		return;
	case DTYPE_I4:
	case DTYPE_U4:
	case DTYPE_I2:
	case DTYPE_U2:
		widen_small_int(t, src, dst, nelems);
		return;
	default:
		memcpy(dst, src, nelems * dtype_size(t));
	}
}

enum dtype dtype_by_onnx(int64_t code)
{
	static const uint8_t types[] = {
		[1] = DTYPE_F32,	[2] = DTYPE_U8,
		[3] = DTYPE_I8,		[4] = DTYPE_U16,
		[5] = DTYPE_I16,	[6] = DTYPE_I32,
		[7] = DTYPE_I64,	[8] = DTYPE_STRING,
		[9] = DTYPE_BOOL,	[10] = DTYPE_F16,
		[11] = DTYPE_F64,	[12] = DTYPE_U32,
		[13] = DTYPE_U64,	[14] = DTYPE_C64,
		[15] = DTYPE_C128,	[16] = DTYPE_BF16,
		[17] = DTYPE_F8_E4M3FN, [18] = DTYPE_F8_E4M3FNUZ,
		[19] = DTYPE_F8_E5M2,	[20] = DTYPE_F8_E5M2FNUZ,
		[21] = DTYPE_U4,	[22] = DTYPE_I4,
		[23] = DTYPE_F4_E2M1,	[24] = DTYPE_F8_E8M0,
		[25] = DTYPE_U2,	[26] = DTYPE_I2,
	};

	if (code < 0 || (size_t)code >= sizeof(types))
		return DTYPE_NONE;
	return types[code];
}
