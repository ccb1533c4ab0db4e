/* SPDX-License-Identifier: MIT */
/* fast_tile - products of matrices, and what is done to the result. */

/* The same expression wherever it stands: fused or not, the same bits. */
INLINE vec affine(vec x, vec scale, vec shift)
{
	return x * scale + shift;
}

INLINE vec limit(vec x, vec lo, vec hi)
{
	x = select_vec(x < lo, lo, x);
	return select_vec(x > hi, hi, x);
}

struct spot {
	size_t row, col, at, n; /* at: in the result; n: columns left */
};

INLINE vec finish(const struct finish *f, vec x, struct spot s)
{
	if (f->row_bias)
		x += splat(f->row_bias[s.row]);
	if (f->row_scale)
		x = affine(x, splat(f->row_scale[s.row]),
			   splat(f->row_shift[s.row]));
	if (f->col_bias)
		x += load_part(f->col_bias + s.col, s.n);
	if (f->add)
		x += load_part(f->add + s.at, s.n);
	if (f->lo > -INFINITY || f->hi < INFINITY)
		x = limit(x, splat(f->lo), splat(f->hi));
	return x;
}

INLINE bool is_plain(const struct finish *f)
{
	return !f->row_bias && !f->row_scale && !f->col_bias && !f->add &&
	       !(f->lo > -INFINITY) && !(f->hi < INFINITY);
}

/* One row of a block: V vectors. */
INLINE void store_row(const struct tile *t, size_t row, const vec *acc, int V)
{
	const struct finish *f = t->finish;
	float *c = t->c + row * t->ldc;

	if (t->n >= (size_t)V * LANES && is_plain(f)) {
		for (int v = 0; v < V; v++)
			store(c + v * LANES, acc[v]);
		return;
	}
	for (int v = 0; v < V; v++) {
		size_t col = (size_t)v * LANES;
		struct spot s = {row, col, row * t->ldc + col, t->n - col};

		store_part(c + col, finish(f, acc[v], s), s.n);
	}
}

/* How far ahead rows of A are fetched that may come from afar. */
#define AHEAD 64

/* A block of R rows and V vectors of columns, from row `row` of the tile. */
#define BLOCK(R, V)                                                    \
	static void block_##R##_##V(const struct tile *t, size_t row)  \
	{                                                              \
		const float *a = t->a + row * t->a_row, *b = t->b;     \
		size_t a_row = t->a_row;                               \
		vec acc[R][V] = {0};                                   \
		for (size_t p = 0; p < t->k; p++) {                    \
			vec y[V];                                      \
			__builtin_prefetch(a + p % R * a_row + AHEAD); \
			UNROLL for (int v = 0; v < V; v++) y[v] =      \
				load(b + v * LANES);                   \
			UNROLL for (int r = 0; r < R; r++)             \
			{                                              \
				vec x = splat(a[(size_t)r * a_row]);   \
				UNROLL for (int v = 0; v < V; v++)     \
					acc[r][v] += x * y[v];         \
			}                                              \
			a += t->a_col;                                 \
			b += t->ldb;                                   \
		}                                                      \
		UNROLL for (int r = 0; r < R; r++)                     \
			store_row(t, row + (size_t)r, acc[r], V);      \
	}

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#define UNROLL_IF_KNOWN /* clang does, and warns where it cannot */
#else
#define UNROLL _Pragma("GCC unroll 9")
#define UNROLL_IF_KNOWN UNROLL
#endif

#define BLOCKS(V)   \
	BLOCK(4, V) \
	BLOCK(2, V) \
	BLOCK(1, V)
BLOCKS(1)
BLOCKS(2)
#if VECTORS > 2
BLOCKS(3)
#endif
#if ROWS > 4
BLOCK(8, 1)
BLOCK(8, 2)
BLOCK(8, 3)
#endif

typedef void block_fn(const struct tile *t, size_t row);

static void run_tile(const struct tile *t)
{
	/* By the power of two of its rows, by vectors. */
	static block_fn *const blocks[4][3] = {
#if VECTORS > 2
		{block_1_1, block_1_2, block_1_3},
		{block_2_1, block_2_2, block_2_3},
		{block_4_1, block_4_2, block_4_3},
#else
		{block_1_1, block_1_2},
		{block_2_1, block_2_2},
		{block_4_1, block_4_2},
#endif
#if ROWS > 4
		{block_8_1, block_8_2, block_8_3},
#endif
	};
	size_t v = (t->n + LANES - 1) / LANES - 1, row = 0;
	int level = ROWS > 4 ? 3 : 2;

	for (; level >= 0; level--) {
		size_t rows = (size_t)1 << level;

		for (; t->m - row >= rows; row += rows)
			blocks[level][v](t, row);
	}
}
