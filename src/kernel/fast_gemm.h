/* SPDX-License-Identifier: MIT */
/*
 * fast_gemm - a part of a product of matrices as it comes (struct gemm_part);
 * included for each type, with REAL, REAL_LANES and NAME defined.
 */
typedef REAL NAME(vec) __attribute__((vector_size(LANES * 4), may_alias));
typedef REAL NAME(vec_at) __attribute__((vector_size(LANES * 4),
					 aligned(sizeof(REAL)), may_alias));

/* Columns and rows of B that are packed together: they stay in the cache. */
#define WIDTH ((size_t)VECTORS * REAL_LANES)
#define DEEP ((size_t)256)
/* Fewer rows of A are not worth packing B for. */
#define FEW ((size_t)4)
/* Numbers of each of these rows that are worked on at a time. */
#define RUN ((size_t)1024)

INLINE NAME(vec) NAME(splat)(REAL x)
{
	return x - (NAME(vec)){0};
}

INLINE NAME(vec) NAME(load)(const REAL *p)
{
	return *(const NAME(vec_at) *)p;
}

/* Row `row` of C from column col on: the first, or a further, part of n. */
static void NAME(put)(const struct gemm_part *g, size_t row, size_t col,
		      const REAL *x, size_t n, bool is_first)
{
	REAL *c = (REAL *)g->c + row * g->c_row + col * g->c_col;
	REAL alpha = (REAL)g->alpha, beta = is_first ? (REAL)g->beta : 1;
	size_t i = 0;

	if (beta == 0) {
		if (g->c_col == 1)
			for (; i + REAL_LANES <= n; i += REAL_LANES)
				*(NAME(vec_at) *)(c + i) =
					alpha * NAME(load)(x + i);
		for (; i < n; i++)
			c[i * g->c_col] = alpha * x[i];
		return;
	}
	if (g->c_col == 1)
		for (; i + REAL_LANES <= n; i += REAL_LANES)
			*(NAME(vec_at) *)(c + i) = alpha * NAME(load)(x + i) +
						   beta * NAME(load)(c + i);
	for (; i < n; i++)
		c[i * g->c_col] = alpha * x[i] + beta * c[i * g->c_col];
}

/* ---- a few rows ---- */

/* s += the sum of four numbers of A's row, each with a row of B. */
INLINE void NAME(add_rows)(const struct gemm_part *g, const REAL *a,
			   const REAL *b, size_t n, REAL *s)
{
	size_t j = 0;

	for (; j + REAL_LANES <= n; j += REAL_LANES) {
		NAME(vec) sum = NAME(load)(s + j);

		UNROLL for (size_t k = 0; k < 4; k++) sum +=
			NAME(splat)(a[k * g->a_col]) *
			NAME(load)(b + k * g->b_row + j);
		*(NAME(vec_at) *)(s + j) = sum;
	}
	for (; j < n; j++)
		for (size_t k = 0; k < 4; k++)
			s[j] += a[k * g->a_col] * b[k * g->b_row + j];
}

/* Columns of B lie side by side: n of them, from col on. */
static void NAME(few_rows)(const struct gemm_part *g, size_t col, size_t n)
{
	const REAL *a = g->a, *b = (const REAL *)g->b + col;
	REAL sums[FEW * RUN];
	size_t k = 0;

	memset(sums, 0, g->m * n * sizeof(REAL));
	for (; k + 4 <= g->k; k += 4, b += 4 * g->b_row)
		for (size_t r = 0; r < g->m; r++)
			NAME(add_rows)
	(g, a + r * g->a_row + k * g->a_col, b, n, sums + r * n);
	for (; k < g->k; k++, b += g->b_row)
		for (size_t i = 0; i < g->m * n; i++)
			sums[i] +=
				a[i / n * g->a_row + k * g->a_col] * b[i % n];
	for (size_t r = 0; r < g->m; r++)
		NAME(put)(g, r, col, sums + r * n, n, true);
}

INLINE REAL NAME(dot)(const REAL *a, const REAL *b, size_t k)
{
	NAME(vec) s[4] = {{0}};
	REAL sum = 0;
	size_t i = 0;

	for (; i + 4 * REAL_LANES <= k; i += 4 * REAL_LANES)
		UNROLL for (size_t v = 0; v < 4; v++) s[v] +=
			*(const NAME(vec_at) *)(a + i + v * REAL_LANES) *
			*(const NAME(vec_at) *)(b + i + v * REAL_LANES);
	for (; i < k; i++)
		sum += a[i] * b[i];
	s[0] += s[1] + (s[2] + s[3]);
	for (size_t v = 0; v < REAL_LANES; v++)
		sum += s[0][v];
	return sum;
}

/* The numbers of a column of B lie side by side: n <= RUN of them, from k on. */
static void NAME(few_dots)(const struct gemm_part *g, size_t k, size_t n)
{
	const REAL *b = (const REAL *)g->b + k;
	REAL a[FEW][RUN];

	for (size_t r = 0; r < g->m; r++)
		for (size_t i = 0; i < n; i++)
			a[r][i] = ((const REAL *)g->a)[r * g->a_row +
						       (k + i) * g->a_col];
	for (size_t j = 0; j < g->n; j++, b += g->b_col)
		for (size_t r = 0; r < g->m; r++)
			NAME(put)
			(g, r, j, (REAL[]){NAME(dot)(a[r], b, n)}, 1, k == 0);
}

/* ---- many ---- */

static void NAME(pack)(const struct gemm_part *g, size_t k, size_t nk,
		       size_t col, size_t n, REAL *out)
{
	const REAL *b = (const REAL *)g->b + k * g->b_row + col * g->b_col;

	memset(out, 0, n < WIDTH ? nk * WIDTH * sizeof(*out) : 0);
	if (g->b_col == 1) {
		for (size_t i = 0; i < nk; i++)
			memcpy(out + i * WIDTH, b + i * g->b_row,
			       n * sizeof(*out));
		return;
	}
	for (size_t j = 0; j < n; j++)
		for (size_t i = 0; i < nk; i++)
			out[i * WIDTH + j] = b[i * g->b_row + j * g->b_col];
}

/* R rows; of those there are less of, the last one again. */
INLINE void NAME(sums)(const struct gemm_part *g, size_t row, size_t k,
		       size_t nk, const REAL *b, REAL *out, const size_t R)
{
	const REAL *a[ROWS];
	NAME(vec) acc[ROWS * VECTORS];

	EACH(i, R * VECTORS) acc[i] = (NAME(vec)){0};
	EACH(r, R)
	a[r] = (const REAL *)g->a + k * g->a_col +
	       (row + r < g->m ? row + r : g->m - 1) * g->a_row;
	for (size_t i = 0; i < nk; i++, b += WIDTH) {
		NAME(vec) y[VECTORS];

		EACH(v, VECTORS)
		y[v] = NAME(load)(b + v * REAL_LANES);
		EACH(r, R)
		{
			NAME(vec) x = NAME(splat)(a[r][i * g->a_col]);

			EACH(v, VECTORS) acc[r * VECTORS + v] += x * y[v];
		}
	}
	EACH(i, R * VECTORS)
	*(NAME(vec_at) *)(out + i * REAL_LANES) = acc[i];
}

static void NAME(many_rows)(const struct gemm_part *g, size_t col, size_t n)
{
	REAL b[DEEP * WIDTH], sums[ROWS * WIDTH];

	for (size_t k = 0; k < g->k; k += DEEP) {
		size_t nk = g->k - k < DEEP ? g->k - k : DEEP;

		NAME(pack)(g, k, nk, col, n, b);
		for (size_t row = 0; row < g->m; row += ROWS) {
			size_t m = g->m - row < ROWS ? g->m - row : ROWS;

			if (m > ROWS / 2)
				NAME(sums)(g, row, k, nk, b, sums, ROWS);
			else
				NAME(sums)(g, row, k, nk, b, sums, ROWS / 2);
			for (size_t r = 0; r < m; r++)
				NAME(put)
			(g, row + r, col, sums + r * WIDTH, n, k == 0);
		}
	}
}

/* Of no numbers: zeros. */
static void NAME(no_sums)(const struct gemm_part *g)
{
	for (size_t r = 0; r < g->m; r++)
		for (size_t j = 0; j < g->n; j++)
			NAME(put)(g, r, j, (REAL[]){0}, 1, true);
}

INLINE size_t NAME(least)(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void NAME(gemm)(const struct gemm_part *g)
{
	if (g->k == 0)
		NAME(no_sums)(g);
	else if (g->m < FEW && g->b_row == 1)
		for (size_t k = 0; k < g->k; k += RUN)
			NAME(few_dots)(g, k, NAME(least)(g->k - k, RUN));
	else if (g->m < FEW && g->b_col == 1)
		for (size_t col = 0; col < g->n; col += FEW * RUN / g->m)
			NAME(few_rows)
	(g, col, NAME(least)(g->n - col, FEW * RUN / g->m));
	else for (size_t col = 0; col < g->n; col += WIDTH)
		NAME(many_rows)(g, col, NAME(least)(g->n - col, WIDTH));
}

/* Few columns are few rows of the other way round: C' = B' A'. */
static void NAME(run_gemm)(const struct gemm_part *g)
{
	struct gemm_part turned = {.m = g->n,
				   .n = g->m,
				   .k = g->k,
				   .a = g->b,
				   .a_row = g->b_col,
				   .a_col = g->b_row,
				   .b = g->a,
				   .b_row = g->a_col,
				   .b_col = g->a_row,
				   .c = g->c,
				   .c_row = g->c_col,
				   .c_col = g->c_row,
				   .alpha = g->alpha,
				   .beta = g->beta};

	NAME(gemm)(g->n < g->m && g->n < WIDTH / 2 ? &turned : g);
}

#undef WIDTH
#undef DEEP
#undef FEW
#undef RUN
#undef REAL
#undef REAL_LANES
#undef NAME
