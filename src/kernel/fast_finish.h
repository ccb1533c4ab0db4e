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

/* Which parts of a finish there are, known when a loop is compiled. */
enum finish_part {
	FINISH_BIAS = 1,
	FINISH_AFFINE = 2,
	FINISH_COLUMNS = 4,
	FINISH_ADD = 8,
	FINISH_LIMIT = 16
};

INLINE unsigned finish_parts(const struct finish *f)
{
	return (f->row_bias ? FINISH_BIAS : 0) |
	       (f->row_scale ? FINISH_AFFINE : 0) |
	       (f->col_bias ? FINISH_COLUMNS : 0) | (f->add ? FINISH_ADD : 0) |
	       (f->lo > -INFINITY || f->hi < INFINITY ? FINISH_LIMIT : 0);
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
			if (parts & FINISH_AFFINE)
				v = affine(v, scale, shift);
			if (parts & FINISH_COLUMNS)
				v += load_part(f->col_bias + i, left);
			if (parts & FINISH_ADD)
				v += load_part(add + i, left);
			if (parts & FINISH_LIMIT)
				v = limit(v, lo, hi);
			store_part(y + i, v, left);
		}
	}
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
	}
}

static void run_finish(const struct finish *f, const float *x, float *y,
		       size_t n)
{
	struct strips s = {.rows = 1, .n = n};

	finish_strips(f, &s, x, y);
}
