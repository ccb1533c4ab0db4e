/* SPDX-License-Identifier: MIT */
/* Products of matrices against three loops, whatever is transposed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/fast.h"
#include "kernel/gemm.h"

#include "../unit/check.h"
#include "naive.h"

/* A matrix of either type, from floats. */
static void *as_type(enum num type, const float *x, size_t n)
{
	double *wide = calloc(n + 1, sizeof(*wide));
	float *same = (float *)wide;

	for (size_t i = 0; i < n; i++) {
		if (type == NUM_F64)
			wide[i] = (double)x[i];
		else
			same[i] = x[i];
	}
	return wide;
}

static double at(const float *m, size_t ld, bool trans, size_t i, size_t j)
{
	return (double)(trans ? m[j * ld + i] : m[i * ld + j]);
}

static void naive_gemm(const struct gemm *g, const float *a, const float *b,
		       const float *c, double *out)
{
	for (size_t i = 0; i < g->m; i++) {
		for (size_t j = 0; j < g->n; j++) {
			double sum = 0;

			for (size_t k = 0; k < g->k; k++)
				sum += at(a, g->lda, g->trans_a, i, k) *
				       at(b, g->ldb, g->trans_b, k, j);
			out[i * g->n + j] = g->alpha * sum +
					    g->beta * (double)c[i * g->n + j];
		}
	}
}

/* Where beta is 0, C is not read: there may be anything. */
static void check_one(const struct kernel *k, struct gemm *g)
{
	size_t n = g->m * g->n;
	float *a = naive_floats(g->m * g->k, 1);
	float *b = naive_floats(g->n * g->k, 2), *c = naive_floats(n, 3);
	double *want = calloc(n + 1, sizeof(*want));
	void *x, *y, *z;

	g->lda = g->trans_a ? g->m : g->k;
	g->ldb = g->trans_b ? g->k : g->n;
	g->ldc = g->n;
	naive_gemm(g, a, b, c, want);
	for (size_t i = 0; i < n && g->beta == 0; i++)
		c[i] = NAN;
	x = as_type(g->type, a, g->m * g->k);
	y = as_type(g->type, b, g->n * g->k);
	z = as_type(g->type, c, n);
	gemm_run(k, g, x, y, z);
	for (size_t i = 0; i < n; i++)
		c[i] = g->type == NUM_F64 ? (float)((double *)z)[i]
					  : ((float *)z)[i];
	CHECK_INT(naive_differ(c, want, n, g->k), 0);
	free(a);
	free(b);
	free(c);
	free(want);
	free(x);
	free(y);
	free(z);
}

static void check_sizes(const struct kernel *k, enum num type)
{
	static const size_t sizes[][3] = {
		{1, 1, 1},     {1, 70, 33},   {70, 1, 33},   {5, 7, 0},
		{64, 64, 64},  {3, 257, 19},  {130, 65, 40}, {33, 500, 9},
		{2, 90, 2100}, {90, 3, 1500}, {60, 21, 513}, {1, 4100, 7},
		{17, 49, 600},
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int how = 0; how < 8; how++) {
			struct gemm g = {.type = type,
					 .m = sizes[i][0],
					 .n = sizes[i][1],
					 .k = sizes[i][2],
					 .batch = 1,
					 .alpha = 0.5,
					 .trans_a = how & 1,
					 .trans_b = how & 2,
					 .beta = how & 4 ? 2 : 0};

			check_one(k, &g);
		}
	}
}

/* With the loops for each processor that this one can be, and with BLAS. */
TEST(shapes_and_transposes)
{
	static const char *const levels[] = {"portable", "avx2", "avx512"};
	const char *own = fast_get()->name;
	struct pool *p = pool_new(2);
	struct kernel k = {.pool = p};

	for (size_t i = 0; i < 3; i++) {
		if (!fast_force(levels[i]))
			continue;
		check_sizes(&k, NUM_F32);
		check_sizes(&k, NUM_F64);
	}
	CHECK(fast_force(own));
	pool_free(p);
}

TEST(integers_wrap)
{
	int32_t a[2] = {INT32_MAX, 3}, b[2] = {2, INT32_MAX}, c = 0;
	struct gemm g = {.type = NUM_I32,
			 .m = 1,
			 .n = 1,
			 .k = 2,
			 .lda = 2,
			 .ldb = 1,
			 .ldc = 1,
			 .batch = 1,
			 .alpha = 1};

	gemm_run(&(struct kernel){0}, &g, a, b, &c);
	CHECK_INT(c, (int32_t)(uint32_t)(5u * (uint32_t)INT32_MAX));
}

/* Blocks depend on the extents alone: the same bits for 1 and 4 threads. */
TEST(threads_do_not_matter)
{
	size_t m = 300, n = 210, k = 170;
	float *a = naive_floats(m * k, 4), *b = naive_floats(n * k, 5);
	float *c = calloc(m * n, sizeof(*c)), *d = calloc(m * n, sizeof(*d));
	struct gemm g = {.type = NUM_F32,
			 .m = m,
			 .n = n,
			 .k = k,
			 .lda = k,
			 .ldb = n,
			 .ldc = n,
			 .batch = 1,
			 .alpha = 1};
	struct pool *p = pool_new(4);

	gemm_run(&(struct kernel){0}, &g, a, b, c);
	gemm_run(&(struct kernel){.pool = p}, &g, a, b, d);
	CHECK(memcmp(c, d, m * n * sizeof(*c)) == 0);
	pool_free(p);
	free(a);
	free(b);
	free(c);
	free(d);
}

/* Some columns of C alone, as gemm_columns cuts them: the same bits. */
static void check_columns(size_t m, size_t n, size_t k, bool trans)
{
	struct gemm g = {.type = NUM_F32,
			 .trans_b = trans,
			 .m = m,
			 .n = n,
			 .k = k,
			 .lda = k,
			 .ldb = trans ? k : n,
			 .ldc = n,
			 .batch = 1,
			 .alpha = 0.5};
	size_t step = gemm_columns(&g);
	float *a = naive_floats(m * k, 6), *b = naive_floats(n * k, 7);
	float *c = calloc(m * n, sizeof(*c)), *d = calloc(m * n, sizeof(*d));
	float *part = calloc(n * k, sizeof(*part));

	CHECK(step > 0 && step < n);
	gemm_run(&(struct kernel){0}, &g, a, b, c);
	g.columns = step;
	for (size_t at = 0; at < n; at += 2 * step) {
		g.n = n - at < 2 * step ? n - at : 2 * step;
		if (!trans)
			g.ldb = g.n;
		for (size_t r = 0; r < k; r++)
			for (size_t i = 0; i < g.n; i++)
				part[trans ? i * k + r : r * g.n + i] =
					b[trans ? (at + i) * k + r
						: r * n + at + i];
		gemm_run(&(struct kernel){0}, &g, a, part, d + at);
	}
	CHECK(memcmp(c, d, m * n * sizeof(*c)) == 0);
	free(a);
	free(b);
	free(c);
	free(d);
	free(part);
}

TEST(columns_alone)
{
	for (int trans = 0; trans < 2; trans++) {
		check_columns(1, 5003, 3001, trans);
		check_columns(3, 1111, 2222, trans);
		check_columns(40, 3003, 333, trans);
	}
}

int main(void)
{
	RUN(columns_alone);
	RUN(shapes_and_transposes);
	RUN(integers_wrap);
	RUN(threads_do_not_matter);
	return check_result();
}
