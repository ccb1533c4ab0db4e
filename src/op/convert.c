/* SPDX-License-Identifier: MIT */
/*
 * convert - tensors' elements from any numeric type to any other.
 *
 * A chunk goes through two stages: what is stored → the number type kernels
 * know (float32 for small floats, bytes for small integers) → what shall be
 * stored.
 */
#include "kernel/convert.h"
#include "kernel/fast.h"

#include "op/impl.h"

/* A multiple of what fits into a byte for every type. */
#define STAGE 1024
#define GRAIN (64 * STAGE)

enum dtype op_compute_type(enum dtype t)
{
	const struct dtype_info *info = dtype_info(t);

	if (t == DTYPE_F16)
		return DTYPE_F32;
	return info->descr ? info->npy : t;
}

bool op_num(enum dtype t, enum num *out)
{
	switch (t) {
	case DTYPE_BOOL:
	case DTYPE_U8:
		*out = NUM_U8;
		return true;
	case DTYPE_I8:
		*out = NUM_I8;
		return true;
	case DTYPE_U16:
		*out = NUM_U16;
		return true;
	case DTYPE_I16:
		*out = NUM_I16;
		return true;
	case DTYPE_U32:
		*out = NUM_U32;
		return true;
	case DTYPE_I32:
		*out = NUM_I32;
		return true;
	case DTYPE_U64:
		*out = NUM_U64;
		return true;
	case DTYPE_I64:
		*out = NUM_I64;
		return true;
	case DTYPE_F32:
		*out = NUM_F32;
		return true;
	case DTYPE_F64:
		*out = NUM_F64;
		return true;
	default:
		return false;
	}
}

bool op_is_float(enum dtype t)
{
	return dtype_info(t)->class == CLASS_FLOAT;
}

bool op_is_int(enum dtype t)
{
	return dtype_info(t)->class == CLASS_INT ||
	       dtype_info(t)->class == CLASS_UINT;
}

static void load_half(const void *from, void *to, size_t n)
{
	const struct fast *f = fast_get();
	const uint16_t *src = from;
	float *dst = to;

	if (f->from_half) {
		f->from_half(src, dst, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		dst[i] = half_to_float(src[i]);
}

static void store_half(const void *from, void *to, size_t n)
{
	const struct fast *f = fast_get();
	const float *src = from;
	uint16_t *dst = to;

	if (f->to_half) {
		f->to_half(src, dst, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		dst[i] = half_from_float(src[i]);
}

static void load_bf16(const void *from, void *to, size_t n)
{
	dtype_widen(DTYPE_BF16, from, to, n);
}

static void store_bf16(const void *from, void *to, size_t n)
{
	fast_get()->to_bfloat(from, to, n);
}

static void round_half(const void *from, void *to, size_t n)
{
	fast_get()->round(ROUND_FLOAT16, from, to, n);
}

static void round_bf16(const void *from, void *to, size_t n)
{
	fast_get()->round(ROUND_BFLOAT16, from, to, n);
}

struct op_moves op_moves(enum dtype stored, enum dtype computed)
{
	if (stored == DTYPE_F16 && computed == DTYPE_F32)
		return (struct op_moves){load_half, store_half, round_half};
	if (stored == DTYPE_BF16 && computed == DTYPE_F32)
		return (struct op_moves){load_bf16, store_bf16, round_bf16};
	return (struct op_moves){NULL};
}

/* Stored elements as numbers; p is a stage, or src itself where it can be. */
static const void *load(enum dtype t, const void *src, void *stage, size_t n)
{
	if (t == DTYPE_F16) {
		load_half(src, stage, n);
		return stage;
	}
	if (op_compute_type(t) == t)
		return src;
	dtype_widen(t, src, stage, n);
	return stage;
}

static void store_bits(const uint8_t *bits, unsigned width, uint8_t *dst,
		       size_t n)
{
	unsigned per = 8 / width;

	for (size_t i = 0; i < n; i += per) {
		uint8_t byte = 0;

		for (unsigned k = 0; k < per && i + k < n; k++)
			byte |= (uint8_t)((bits[i + k] & ((1u << width) - 1))
					  << (k * width));
		dst[i / per] = byte;
	}
}

static void store_float(enum dtype t, const float *src, void *dst, size_t n,
			bool saturate)
{
	const struct dtype_info *info = dtype_info(t);
	uint8_t bits[STAGE], *d = info->block_elems == 1 ? dst : bits;

	if (t == DTYPE_F16) {
		store_half(src, dst, n);
		return;
	}
	if (t == DTYPE_BF16) {
		store_bf16(src, dst, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		d[i] = smallfloat_from_float(t, src[i], saturate);
	if (info->block_elems > 1)
		store_bits(bits, 8 / info->block_elems, dst, n);
}

static void store(enum dtype t, const void *src, void *dst, size_t n,
		  bool saturate)
{
	if (op_is_float(t))
		store_float(t, src, dst, n, saturate);
	else
		store_bits(src, 8 / dtype_info(t)->block_elems, dst, n);
}

struct conversion {
	enum dtype from, to;
	enum num from_num, to_num;
	const uint8_t *src;
	uint8_t *dst;
	bool saturate;
};

static void convert_stage(const struct conversion *v, size_t begin, size_t n)
{
	union {
		double d[STAGE];
		uint8_t b[8 * STAGE];
	} in, out;
	uint64_t from = 0, to = 0;
	const void *p;

	/* Both products are of elements that exist. */
	(void)dtype_nbytes(v->from, begin, &from);
	(void)dtype_nbytes(v->to, begin, &to);
	if (v->to != v->from && v->to == op_compute_type(v->from)) {
		/* What is loaded is it already. */
		load(v->from, v->src + from, v->dst + to, n);
		return;
	}
	p = load(v->from, v->src + from, &in, n);
	if (v->to == DTYPE_BOOL) {
		convert_to_bool(v->from_num, p, v->dst + to, n);
		return;
	}
	if (op_compute_type(v->to) == v->to) {
		convert_nums(v->from_num, p, v->to_num, v->dst + to, n);
		return;
	}
	if (v->from_num != v->to_num) {
		convert_nums(v->from_num, p, v->to_num, &out, n);
		p = &out;
	}
	store(v->to, p, v->dst + to, n, v->saturate);
}

static void convert_range(void *ctx, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i += STAGE)
		convert_stage(ctx, i, end - i < STAGE ? end - i : STAGE);
}

int op_convert(const struct kernel *k, enum dtype from, const void *src,
	       enum dtype to, void *dst, uint64_t n, bool saturate)
{
	struct conversion v = {.from = from,
			       .to = to,
			       .src = src,
			       .dst = dst,
			       .saturate = saturate};

	if (!op_num(op_compute_type(from), &v.from_num) ||
	    !op_num(op_compute_type(to), &v.to_num) ||
	    dtype_info(to)->class == CLASS_QUANT)
		return -EOPNOTSUPP;
	if (from == to) {
		uint64_t nbytes = 0;

		(void)dtype_nbytes(from, n, &nbytes);
		if (nbytes > 0)
			memcpy(dst, src, nbytes);
		return 0;
	}
	kernel_for(k, n, GRAIN, convert_range, &v);
	return 0;
}
