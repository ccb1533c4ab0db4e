/* SPDX-License-Identifier: MIT */
/* fast_tile - products of matrices, and what is done to the result. */

/* How far ahead rows of A are fetched that may come from afar. */
#define AHEAD 64

/* What will be written, and added, is on its way while the sums are made. */
INLINE void fetch_result(const struct tile *t, size_t row, int R, int V)
{
	for (int r = 0; r < R; r++) {
		size_t at = (row + (size_t)r) * t->ldc;

		for (int v = 0; v < V; v++) {
			__builtin_prefetch(t->c + at + v * LANES, 1);
			if (t->finish->add)
				__builtin_prefetch(t->finish->add + at +
						   v * LANES);
		}
	}
}

struct ahead {
	const float *p;
	size_t step;
};

/* What is needed after R rows: as the tile says, or the next rows of A. */
INLINE struct ahead look_ahead(const struct tile *t, size_t row, size_t R)
{
	if (t->ahead)
		return (struct ahead){t->ahead + row / R * t->k * t->ahead_step,
				      t->ahead_step};
	return (struct ahead){t->a + (row + R) * t->a_row,
			      t->a_row == t->k ? R : 0};
}

/* R rows of sums at x, ldx apart, to the result. */
static void finish_rows(const struct tile *t, size_t row, size_t R,
			const float *x, size_t ldx)
{
	size_t at = row * t->ldc;
	struct finish f = finish_at(t->finish, row, 0, at);
	struct strips s = {.rows = R, .n = t->n, .ldx = ldx, .ldy = t->ldc};

	finish_strips(&f, &s, x, t->c + at);
}

/* The same for sums that are still in registers, whole vectors. */
INLINE void finish_sums(const struct tile *t, size_t row, vec *acc,
			const size_t R, const size_t V)
{
	const struct finish *f = t->finish;
	unsigned parts = finish_parts(f);

	if (parts & FINISH_BIAS)
		EACH(i, R * V) acc[i] += splat(f->row_bias[row + i / V]);
	round_each(f, acc, R * V);
	if (parts & FINISH_AFFINE) {
		EACH(i, R * V)
		acc[i] = affine(acc[i], splat(f->row_scale[row + i / V]),
				splat(f->row_shift[row + i / V]));
		round_each(f, acc, R * V);
	}
	if (parts & FINISH_COLUMNS) {
		EACH(i, R * V) acc[i] += load(f->col_bias + i % V * LANES);
		round_each(f, acc, R * V);
	}
	if (parts & FINISH_ADD) {
		EACH(i, R * V)
		acc[i] += load(f->add + (row + i / V) * t->ldc + i % V * LANES);
		round_each(f, acc, R * V);
	}
	if (parts & FINISH_LIMIT)
		EACH(i, R * V)
	acc[i] = limit(acc[i], splat(f->lo), splat(f->hi));
	if (parts & FINISH_QUANTUM)
		requantise_each(f, acc, R * V);
}

/* A block of R rows and V vectors of columns, from row `row` of the tile. */
#define BLOCK(R, V)                                                       \
	static void block_##R##_##V(const struct tile *t, size_t row)     \
	{                                                                 \
		const float *a = t->a + row * t->a_row, *b = t->b;        \
		struct ahead next = look_ahead(t, row, R);                \
		size_t a_row = t->a_row, a_col = t->a_col, k = t->k;      \
		bool whole = t->n >= V * LANES;                           \
		size_t ldc = whole ? t->ldc : V * LANES;                  \
		float part[R * V * LANES];                                \
		float *c = whole ? t->c + row * ldc : part;               \
		vec acc[R * V];                                           \
                                                                          \
		fetch_result(t, row, R, V);                               \
		EACH(i, R *V)                                             \
		acc[i] = t->sums ? load(c + i / V * ldc + i % V * LANES)  \
				 : (vec){0};                              \
		for (size_t p = 0; p < k; p++) {                          \
			vec y[V];                                         \
			const float *x =                                  \
				t->a_at ? a + t->a_at[p] : a + p * a_col; \
			__builtin_prefetch(x + p % R * a_row + AHEAD);    \
			__builtin_prefetch(next.p, 0, 2);                 \
			EACH(v, V) y[v] = load(b + v * LANES);            \
			EACH(r, R)                                        \
			{                                                 \
				vec s = splat(x[r * a_row]);              \
				EACH(v, V) acc[r * V + v] += s * y[v];    \
			}                                                 \
			b += t->ldb;                                      \
			next.p += next.step;                              \
		}                                                         \
		if (whole)                                                \
			finish_sums(t, row, acc, R, V);                   \
		EACH(i, R *V)                                             \
		store(c + i / V * ldc + i % V * LANES, acc[i]);           \
		if (!whole)                                               \
			finish_rows(t, row, R, c, ldc);                   \
	}

#if VECTORS > 2
#define BLOCKS(R)   \
	BLOCK(R, 1) \
	BLOCK(R, 2) \
	BLOCK(R, 3)
#define ROW_OF(R)                                           \
	{                                                   \
		block_##R##_1, block_##R##_2, block_##R##_3 \
	}
#else
#define BLOCKS(R)   \
	BLOCK(R, 1) \
	BLOCK(R, 2)
#define ROW_OF(R)                            \
	{                                    \
		block_##R##_1, block_##R##_2 \
	}
#endif

BLOCKS(1)
BLOCKS(2)
BLOCKS(3)
BLOCKS(4)
#if ROWS > 4
BLOCKS(5)
BLOCKS(6)
BLOCKS(7)
BLOCKS(8)
#endif

typedef void block_fn(const struct tile *t, size_t row);

/* Rows in blocks of about the same number. */
static void run_tile(const struct tile *t)
{
	static block_fn *const blocks[ROWS][VECTORS] = {
		ROW_OF(1),
		ROW_OF(2),
		ROW_OF(3),
		ROW_OF(4),
#if ROWS > 4
		ROW_OF(5),
		ROW_OF(6),
		ROW_OF(7),
		ROW_OF(8),
#endif
	};
	size_t v = (t->n + LANES - 1) / LANES - 1;
	size_t left = (t->m + ROWS - 1) / ROWS;

	for (size_t row = 0; row < t->m; left--) {
		size_t rows = (t->m - row + left - 1) / left;

		blocks[rows - 1][v](t, row);
		row += rows;
	}
}

/* ---- turning ---- */

/* A vector for each row becomes one for each column, in log2(LANES) steps. */
INLINE void turn_vectors(vec v[LANES])
{
	UNROLL for (size_t step = 1; step < LANES; step *= 2)
	{
		vec w[LANES];

		UNROLL for (size_t i = 0; i < LANES / 2; i++)
		{
			vec a = v[i], b = v[i + LANES / 2];

			w[2 * i] = __builtin_shufflevector(a, b, LOW_LANES);
			w[2 * i + 1] =
				__builtin_shufflevector(a, b, HIGH_LANES);
		}
		UNROLL for (size_t i = 0; i < LANES; i++) v[i] = w[i];
	}
}

/* whole: a square of LANES; else what there is of rows and columns. */
INLINE void turn_block(const struct turn *t, size_t row, size_t col,
		       const bool whole)
{
	const float *in = t->in + row * t->ld + col;
	float *out = t->out + col * t->ldo + row;
	size_t rows = t->rows - row, cols = t->cols - col;
	size_t ld = t->ld, ldo = t->ldo;
	size_t nrows = rows < LANES ? rows : LANES;
	size_t ncols = cols < LANES ? cols : LANES;
	vec v[LANES];

	UNROLL for (size_t i = 0; i < LANES; i++)
	{
		if (whole)
			v[i] = load(in + i * ld);
		else
			v[i] = i < rows ? load_some(in + i * ld, ncols)
					: (vec){0};
	}
	turn_vectors(v);
	UNROLL for (size_t i = 0; i < LANES; i++)
	{
		if (whole)
			store(out + i * ldo, v[i]);
		else if (i < cols)
			store_some(out + i * ldo, v[i], nrows);
	}
}

static void run_turn(const struct turn *t)
{
	for (size_t col = 0; col < t->cols; col += LANES) {
		for (size_t row = 0; row < t->rows; row += LANES) {
			if (t->rows - row >= LANES && t->cols - col >= LANES)
				turn_block(t, row, col, true);
			else
				turn_block(t, row, col, false);
		}
	}
	if (finish_parts(t->finish)) {
		struct strips s = {t->cols, t->rows, t->ldo, t->ldo};

		finish_strips(t->finish, &s, t->out, t->out);
	}
}
