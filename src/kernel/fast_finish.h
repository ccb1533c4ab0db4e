/* SPDX-License-Identifier: MIT */
/* fast_finish - what is done to each number before it is stored. */

/* The same expression wherever it stands: fused or not, the same bits. */
INLINE vec affine(vec x, vec scale, vec shift)
{
	return x * scale + shift;
}

/* A NaN stays one. */
INLINE vec limit(vec x, vec lo, vec hi)
{
	return LESSER(hi, GREATER(lo, x));
}

/* ---- what 16 bits keep ---- */
typedef uint32_t bits __attribute__((vector_size(LANES * 4), may_alias));

INLINE vec round_bits(vec v, const int dropped)
{
	bits u = (bits)v;

	u += (1u << (dropped - 1)) - 1 + (u >> dropped & 1);
	return (vec)(u >> dropped << dropped);
}

#ifndef ROUND_HALF
/* Beyond 65504 there is nothing; below 2^-14 they are 2^-24 apart. */
INLINE vec round_half(vec v)
{
	bits sign = (bits)v & 0x80000000u;
	vec size = (vec)((bits)v ^ sign), r = round_bits(size, 13);

	r = select_vec(size >= splat(65520), splat(INFINITY), r);
	r = select_vec(size < splat(0x1p-14f), (size + 0.75f) - 0.75f, r);
	return select_vec(v != v, v, (vec)((bits)r | sign));
}
#define ROUND_HALF(v) round_half(v)
#endif

INLINE vec round_vec(vec v, enum rounding r)
{
	if (r == ROUND_FLOAT16)
		return ROUND_HALF(v);
	return select_vec(v != v, v, round_bits(v, 16));
}

/* ---- integers ---- */

/* To the nearest, to even; from 2^23 on there is nothing between integers. */
INLINE vec nearest(vec v)
{
	bits sign = (bits)v & 0x80000000u;
	vec size = (vec)((bits)v ^ sign);
	vec r = (size + 0x1p23f) - 0x1p23f;

	r = select_vec(size < splat(0x1p23f), r, size);
	return select_vec(v != v, v, (vec)((bits)r | sign));
}

INLINE vec quantize_vec(const struct quantum *q, vec v)
{
	v = nearest(v / splat(q->scale)) + splat(q->zero);
	return limit(v, splat(q->lo), splat(q->hi));
}

INLINE vec dequantize_vec(const struct quantum *q, vec v)
{
	return (v - splat(q->zero)) * splat(q->scale);
}

static void run_quantize(const struct quantum *q, const float *x, float *y,
			 size_t n)
{
	for (size_t i = 0; i < n; i += LANES)
		store_part(y + i, quantize_vec(q, load_part(x + i, n - i)),
			   n - i);
}

static void run_dequantize(const struct quantum *q, const float *x, float *y,
			   size_t n)
{
	for (size_t i = 0; i < n; i += LANES)
		store_part(y + i, dequantize_vec(q, load_part(x + i, n - i)),
			   n - i);
}

/* ---- */

/* Which parts of a finish there are, known when a loop is compiled. */
enum finish_part {
	FINISH_BIAS = 1,
	FINISH_AFFINE = 2,
	FINISH_COLUMNS = 4,
	FINISH_ADD = 8,
	FINISH_LIMIT = 16,
	FINISH_ROUND = 32,
	FINISH_QUANTUM = 64
};

INLINE unsigned finish_parts(const struct finish *f)
{
	return (f->row_bias ? FINISH_BIAS : 0) |
	       (f->row_scale ? FINISH_AFFINE : 0) |
	       (f->col_bias ? FINISH_COLUMNS : 0) | (f->add ? FINISH_ADD : 0) |
	       (f->lo > -INFINITY || f->hi < INFINITY ? FINISH_LIMIT : 0) |
	       (f->round ? FINISH_ROUND : 0) |
	       (f->requantise ? FINISH_QUANTUM : 0);
}

INLINE vec rounded(vec v, const struct finish *f, const unsigned parts)
{
	return parts & FINISH_ROUND ? round_vec(v, f->round) : v;
}

/* To what an integer stands for. */
INLINE vec requantized(vec v, const struct finish *f, const unsigned parts)
{
	if (parts & FINISH_QUANTUM)
		return dequantize_vec(&f->from, quantize_vec(&f->to, v));
	return v;
}

/* Rows of n numbers at x, ldx apart, that go to y, ldy apart. */
struct strips {
	size_t rows, n, ldx, ldy;
};

INLINE void finish_loop(const struct finish *f, const struct strips *s,
			const float *x, float *y, const unsigned parts)
{
	vec lo = splat(f->lo), hi = splat(f->hi);

	for (size_t r = 0; r < s->rows; r++, x += s->ldx, y += s->ldy) {
		vec bias = splat(parts & FINISH_BIAS ? f->row_bias[r] : 0);
		vec scale = splat(parts & FINISH_AFFINE ? f->row_scale[r] : 0);
		vec shift = splat(parts & FINISH_AFFINE ? f->row_shift[r] : 0);
		const float *add = parts & FINISH_ADD ? f->add + r * s->ldy : y;

		for (size_t i = 0; i < s->n; i += LANES) {
			size_t left = s->n - i;
			vec v = load_part(x + i, left);

			if (parts & FINISH_BIAS)
				v += bias;
			v = rounded(v, f, parts);
			if (parts & FINISH_AFFINE)
				v = rounded(affine(v, scale, shift), f, parts);
			if (parts & FINISH_COLUMNS)
				v = rounded(
					v + load_part(f->col_bias + i, left), f,
					parts);
			if (parts & FINISH_ADD)
				v = rounded(v + load_part(add + i, left), f,
					    parts);
			if (parts & FINISH_LIMIT)
				v = limit(v, lo, hi);
			v = requantized(v, f, parts);
			store_part(y + i, v, left);
		}
	}
}

/* A vector of channels; add: what goes with it. */
INLINE vec finish_channels(const struct finish *f, const unsigned parts, vec v,
			   const float *add)
{
	if (parts & FINISH_BIAS)
		v += load(f->row_bias);
	v = rounded(v, f, parts);
	if (parts & FINISH_AFFINE)
		v = rounded(affine(v, load(f->row_scale), load(f->row_shift)),
			    f, parts);
	if (parts & FINISH_ADD)
		v = rounded(v + load(add), f, parts);
	if (parts & FINISH_LIMIT)
		v = limit(v, splat(f->lo), splat(f->hi));
	return requantized(v, f, parts);
}

#define FINISH_1(P)                         \
	case P:                             \
		finish_loop(f, s, x, y, P); \
		break;
#define FINISH_4(P) FINISH_1(P) FINISH_1(P + 1) FINISH_1(P + 2) FINISH_1(P + 3)

/* f: as finish_at gives it for what is at y. */
static void finish_strips(const struct finish *f, const struct strips *s,
			  const float *x, float *y)
{
	switch (finish_parts(f)) {
		FINISH_4(0)
		FINISH_4(4)
		FINISH_4(8)
		FINISH_4(12)
		FINISH_4(16)
		FINISH_4(20)
		FINISH_4(24)
		FINISH_4(28)
	default:
		finish_loop(f, s, x, y, finish_parts(f));
	}
}

static void run_finish(const struct finish *f, const float *x, float *y,
		       size_t n)
{
	struct strips s = {.rows = 1, .n = n};

	finish_strips(f, &s, x, y);
}
