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

/* A NaN becomes the least. */
INLINE vec saturate(vec x, vec lo, vec hi)
{
	return LESSER(GREATER(x, lo), hi);
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
#ifndef NEAREST
INLINE vec nearest(vec v)
{
	bits sign = (bits)v & 0x80000000u;
	vec size = (vec)((bits)v ^ sign);
	vec r = (size + 0x1p23f) - 0x1p23f;

	r = select_vec(size < splat(0x1p23f), r, size);
	return select_vec(v != v, v, (vec)((bits)r | sign));
}
#define NEAREST(v) nearest(v)
#endif

/*
 * v / scale, as a division rounds it, in a third of the time: the second
 * correction of a quotient by a rounded reciprocal is exact (P. Markstein,
 * "Computation of elementary functions on the IBM RISC System/6000", 1990).
 */
INLINE vec quotient(const struct quantum *q, vec v)
{
#ifdef FMA
	vec scale = splat(q->scale), inverse = splat(q->inverse);
	vec r = v * inverse;

	r = FMA(FMA(-r, scale, v), inverse, r);
	return FMA(FMA(-r, scale, v), inverse, r);
#else
	return v / splat(q->scale);
#endif
}

INLINE vec quantize_vec(const struct quantum *q, vec v)
{
	if (q->inverse > 0)
		v = quotient(q, limit(v, splat(-q->most), splat(q->most)));
	else
		v = v / splat(q->scale);
	v = NEAREST(v) + splat(q->zero);
	return saturate(v, splat(q->lo), splat(q->hi));
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

/* The same as the next one where f is settled; v is within its limits, or NaN. */
INLINE vec requantise_small(const struct finish *f, vec v)
{
	v = GREATER(v, splat(f->least));
	return (quotient(&f->to, v) + ROUNDER - splat(f->shift)) *
	       splat(f->from.scale);
}

/* To what an integer stands for. */
INLINE vec requantised(const struct finish *f, vec v)
{
	if (f->is_settled)
		return requantise_small(f, v);
	return dequantize_vec(&f->from, quantize_vec(&f->to, v));
}

/* Vectors that are finished together, at most. */
#define SUMS_MAX 24

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
			if (parts & FINISH_QUANTUM)
				v = requantised(f, v);
			store_part(y + i, v, left);
		}
	}
}

/* What n vectors hold, rounded where f says so. */
INLINE void round_each(const struct finish *f, vec *v, const size_t n)
{
	if (f->round == ROUND_FLOAT16)
		EACH(i, n) v[i] = round_vec(v[i], ROUND_FLOAT16);
	else if (f->round == ROUND_BFLOAT16)
		EACH(i, n) v[i] = round_vec(v[i], ROUND_BFLOAT16);
}

/* Out of line: this is long, and rare. */
static __attribute__((noinline)) void requantise(const struct finish *f, vec *v,
						 size_t n)
{
	for (size_t i = 0; i < n; i++)
		v[i] = requantised(f, v[i]);
}

INLINE void requantise_each(const struct finish *f, vec *v, const size_t n)
{
	vec part[SUMS_MAX];

	if (f->is_settled) {
		EACH(i, n) v[i] = requantise_small(f, v[i]);
		return;
	}
	EACH(i, n) part[i] = v[i];
	requantise(f, part, n);
	EACH(i, n) v[i] = part[i];
}

/*
 * R pixels, from the `first` on, of V vectors of channels each.  What is added
 * has its pixels a vector apart, and add_vec from one vector of channels to the
 * next.
 */
INLINE void finish_pixels(const struct finish *f, size_t first, size_t add_vec,
			  vec *acc, const size_t R, const size_t V)
{
	const float *add = f->add ? f->add + first * LANES : NULL;
	unsigned parts = finish_parts(f);

	if (parts & FINISH_BIAS)
		EACH(i, R * V) acc[i] += load(f->row_bias + i % V * LANES);
	round_each(f, acc, R * V);
	if (parts & FINISH_AFFINE) {
		EACH(i, R * V)
		acc[i] = affine(acc[i], load(f->row_scale + i % V * LANES),
				load(f->row_shift + i % V * LANES));
		round_each(f, acc, R * V);
	}
	if (parts & FINISH_ADD) {
		EACH(i, R * V)
		acc[i] += load(add + i / V * LANES + i % V * add_vec);
		round_each(f, acc, R * V);
	}
	if (parts & FINISH_LIMIT)
		EACH(i, R * V)
	acc[i] = limit(acc[i], splat(f->lo), splat(f->hi));
	if (parts & FINISH_QUANTUM)
		requantise_each(f, acc, R * V);
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
