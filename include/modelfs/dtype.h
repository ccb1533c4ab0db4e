/* SPDX-License-Identifier: MIT */
/*
 * dtype - element types, one table for all formats.
 *
 * Every type is described by blocks: `block_elems` elements take
 * `block_bytes` bytes.  Ordinary types have blocks of one element; int4 has
 * two elements in one byte (low nibble first), quantised types 32 to 256.
 */
#ifndef MODELFS_DTYPE_H
#define MODELFS_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
	DTYPE_NONE, /* absent, or a type we know no name for */
	DTYPE_BOOL,
	DTYPE_U8,
	DTYPE_I8,
	DTYPE_U16,
	DTYPE_I16,
	DTYPE_U32,
	DTYPE_I32,
	DTYPE_U64,
	DTYPE_I64,
	DTYPE_F16,
	DTYPE_BF16,
	DTYPE_F32,
	DTYPE_F64,
	DTYPE_C32, /* complex of two float16 */
	DTYPE_C64,
	DTYPE_C128,
	DTYPE_F8_E4M3FN,
	DTYPE_F8_E5M2,
	DTYPE_F8_E4M3FNUZ,
	DTYPE_F8_E5M2FNUZ,
	DTYPE_F8_E4M3B11FNUZ,
	DTYPE_F8_E8M0,
	DTYPE_F4_E2M1,
	DTYPE_F6_E2M3,
	DTYPE_F6_E3M2,
	DTYPE_I4,
	DTYPE_U4,
	DTYPE_I2,
	DTYPE_U2,
	DTYPE_Q4_0, /* GGML's blocks, with scales of their own */
	DTYPE_Q4_1,
	DTYPE_Q5_0,
	DTYPE_Q5_1,
	DTYPE_Q8_0,
	DTYPE_Q8_1, /* raw only, as are the six repacked ones below */
	DTYPE_Q2_K,
	DTYPE_Q3_K,
	DTYPE_Q4_K,
	DTYPE_Q5_K,
	DTYPE_Q6_K,
	DTYPE_Q8_K,
	DTYPE_IQ1_S,
	DTYPE_IQ1_M,
	DTYPE_IQ2_XXS,
	DTYPE_IQ2_XS,
	DTYPE_IQ2_S,
	DTYPE_IQ3_XXS,
	DTYPE_IQ3_S,
	DTYPE_IQ4_NL,
	DTYPE_IQ4_XS,
	DTYPE_TQ1_0,
	DTYPE_TQ2_0,
	DTYPE_MXFP4,
	DTYPE_NVFP4,
	DTYPE_Q1_0,
	DTYPE_Q2_0,
	DTYPE_Q4_0_4_4,
	DTYPE_Q4_0_4_8,
	DTYPE_Q4_0_8_8,
	DTYPE_IQ4_NL_4_4,
	DTYPE_IQ4_NL_4_8,
	DTYPE_IQ4_NL_8_8,
	DTYPE_STRING, /* data: see tensor.h */
	DTYPE_SEQUENCE, /* values of a run only: elements are tensors */
	DTYPE_OPTIONAL,
	DTYPE_MAP,
	DTYPE_COUNT
};

enum dtype_class {
	CLASS_OTHER,
	CLASS_BOOL,
	CLASS_INT,
	CLASS_UINT,
	CLASS_FLOAT,
	CLASS_COMPLEX,
	CLASS_STRING,
	CLASS_QUANT, /* blocks with scales of their own */
	CLASS_CONTAINER
};

struct dtype_info {
	const char *name; /* what .dtype says */
	enum dtype_class class;
	uint16_t block_elems;
	uint16_t block_bytes; /* 0: elements have no fixed size */
	const char *descr;    /* NumPy's, of what .npy holds; NULL: none */
	enum dtype npy;	      /* what .npy holds: itself or the widened type */
};

const struct dtype_info *dtype_info(enum dtype t);
const char *dtype_name(enum dtype t);

/* DTYPE_NONE when no type has this name. */
enum dtype dtype_by_name(const char *name);

/*
 * By the number that files and attributes of ONNX use (onnx.proto,
 * TensorProto.DataType); DTYPE_NONE when there is no such type.
 */
enum dtype dtype_by_onnx(int64_t code);

/* Bytes that nelems elements take, blocks rounded up.  False on overflow. */
bool dtype_nbytes(enum dtype t, uint64_t nelems, uint64_t *out);

/* Bytes of one element; 0 where an element is not a whole number of bytes. */
size_t dtype_size(enum dtype t);

/*
 * Decodes nelems elements (a multiple of block_elems, except at the end of a
 * tensor) from src, stored as t, to dst, stored as dtype_info(t)->npy.
 * The two do not overlap; neither needs alignment.
 */
void dtype_widen(enum dtype t, const void *src, void *dst, size_t nelems);

/*
 * Reverses the bytes of every number in nblocks blocks stored as t: of the
 * elements, or of a quantised block's wider members.  In place.
 */
void dtype_swap(enum dtype t, void *blocks, size_t nblocks);

/* One number, exact; round to nearest even when narrowing. */
float half_to_float(uint16_t bits);
uint16_t half_from_float(float v);
float bf16_to_float(uint16_t bits);
uint16_t bf16_from_float(float v);

/* One element of an 8-, 6- or 4-bit float type. */
float smallfloat_to_float(enum dtype t, uint8_t bits);
/* saturate: out-of-range values become the largest finite one. */
uint8_t smallfloat_from_float(enum dtype t, float v, bool saturate);

#endif
