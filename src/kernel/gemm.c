/* SPDX-License-Identifier: MIT */
/*
 * gemm - C is cut into blocks, of rows or of columns, by its extents alone;
 * each block is one call of our own loops for this processor, or else of a
 * single-threaded OpenBLAS.
 */
#include "kernel/gemm.h"

#include <limits.h>

#include "kernel/blas.h"
#include "kernel/fast.h"

/* Multiplications worth a block of their own, and that fit in one. */
#define BLOCK_MIN (1u << 21)
#define BLOCK_MAX (1u << 29)
#define BLOCKS 8
/*
 * Where C has few rows, reading B is what takes the time: a block reads so many
 * elements at most, but of so many columns at least.
 */
#define FEW_ROWS 4
#define READ_MAX (1u << 22)
#define COLUMNS_MIN 512
/* How much longer our own loops over integers take than BLAS. */
#define INTS_SLOWER 16

bool gemm_wants_blas(void)
{
	return !fast_get()->gemm_f32;
}

void gemm_prepare(void)
{
	if (gemm_wants_blas())
		blas_get();
}

bool gemm_has(enum num t)
{
	return t >= NUM_U32;
}

bool gemm_fits(const struct gemm *g)
{
	return g->m <= INT_MAX && g->n <= INT_MAX && g->k <= INT_MAX &&
	       g->lda <= INT_MAX && g->ldb <= INT_MAX && g->ldc <= INT_MAX;
}

struct blocks {
	const struct gemm *g;
	const char *a, *b;
	char *c;
	bool by_rows;
	size_t step, per_matrix; /* rows or columns of a block; blocks */
};

/* Rows [r, r + m) and columns [s, s + n) of one product. */
struct part {
	size_t r, m, s, n;
	const void *a, *b;
	void *c;
};

static void part_f32(const struct blas *blas, const struct gemm *g,
		     const struct part *p)
{
	const float *a = p->a, *b = p->b;
	float *c = p->c;

	a += g->trans_a ? p->r : p->r * g->lda;
	b += g->trans_b ? p->s * g->ldb : p->s;
	c += p->r * g->ldc + p->s;
	if (p->m == 1 && g->k > 0) {
		int step = (int)(g->trans_a ? g->lda : 1);
		bool t = !g->trans_b;

		blas->sgemv(CblasRowMajor, t ? CblasTrans : CblasNoTrans,
			    (int)(t ? g->k : p->n), (int)(t ? p->n : g->k),
			    (float)g->alpha, b, (int)g->ldb, a, step,
			    (float)g->beta, c, 1);
		return;
	}
	blas->sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans,
		    g->trans_b ? CblasTrans : CblasNoTrans, (int)p->m,
		    (int)p->n, (int)g->k, (float)g->alpha, a, (int)g->lda, b,
		    (int)g->ldb, (float)g->beta, c, (int)g->ldc);
}

static void part_f64(const struct blas *blas, const struct gemm *g,
		     const struct part *p)
{
	const double *a = p->a, *b = p->b;
	double *c = p->c;

	a += g->trans_a ? p->r : p->r * g->lda;
	b += g->trans_b ? p->s * g->ldb : p->s;
	c += p->r * g->ldc + p->s;
	blas->dgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans,
		    g->trans_b ? CblasTrans : CblasNoTrans, (int)p->m,
		    (int)p->n, (int)g->k, g->alpha, a, (int)g->lda, b,
		    (int)g->ldb, g->beta, c, (int)g->ldc);
}

/*
 * Integers, for which the unsigned twin does, as products wrap alike; and
 * floats where there is no BLAS.
 */
#define PART_PLAIN(NAME, T)                                                  \
	static void NAME(const struct gemm *g, const struct part *p)         \
	{                                                                    \
		const T *a = p->a, *b = p->b;                                \
		size_t as = g->trans_a ? g->lda : 1;                         \
		size_t ar = g->trans_a ? 1 : g->lda;                         \
		size_t bs = g->trans_b ? 1 : g->ldb;                         \
		size_t bc = g->trans_b ? g->ldb : 1;                         \
		for (size_t i = p->r; i < p->r + p->m; i++) {                \
			T *c = (T *)p->c + i * g->ldc;                       \
			for (size_t j = p->s; j < p->s + p->n; j++)          \
				c[j] = g->beta != 0 ? (T)g->beta * c[j] : 0; \
			for (size_t k = 0; k < g->k; k++) {                  \
				T x = (T)g->alpha * a[i * ar + k * as];      \
				const T *y = b + k * bs;                     \
				for (size_t j = p->s; j < p->s + p->n; j++)  \
					c[j] += x * y[j * bc];               \
			}                                                    \
		}                                                            \
	}
PART_PLAIN(part_u32, uint32_t)
PART_PLAIN(part_u64, uint64_t)
PART_PLAIN(plain_f32, float)
PART_PLAIN(plain_f64, double)

static struct gemm_part as_it_lies(const struct gemm *g, const struct part *p)
{
	size_t size = num_size(g->type), columns = g->trans_b ? g->ldb : 1;
	size_t rows = g->trans_a ? 1 : g->lda;

	return (struct gemm_part){
		.m = p->m,
		.n = p->n,
		.k = g->k,
		.a = (const char *)p->a + p->r * rows * size,
		.a_row = rows,
		.a_col = g->trans_a ? g->lda : 1,
		.b = (const char *)p->b + p->s * columns * size,
		.b_row = g->trans_b ? 1 : g->ldb,
		.b_col = columns,
		.c = (char *)p->c + (p->r * g->ldc + p->s) * size,
		.c_row = g->ldc,
		.c_col = 1,
		.alpha = g->alpha,
		.beta = g->beta,
	};
}

/* Floats, by who does it best here. */
static void run_floats(const struct gemm *g, const struct part *p)
{
	bool wide = g->type == NUM_F64;
	const struct fast *f = fast_get();
	const struct blas *blas = f->gemm_f32 ? NULL : blas_get();
	struct gemm_part part = as_it_lies(g, p);

	if (f->gemm_f32)
		(wide ? f->gemm_f64 : f->gemm_f32)(&part);
	else if (blas)
		(wide ? part_f64 : part_f32)(blas, g, p);
	else
		(wide ? plain_f64 : plain_f32)(g, p);
}

static void run_part(const struct gemm *g, const struct part *p)
{
	if (g->type == NUM_F32 || g->type == NUM_F64)
		run_floats(g, p);
	else if (num_size(g->type) == sizeof(uint32_t))
		part_u32(g, p);
	else
		part_u64(g, p);
}

static void run_blocks(void *ctx, size_t begin, size_t end)
{
	const struct blocks *b = ctx;
	const struct gemm *g = b->g;
	size_t size = num_size(g->type);

	for (size_t i = begin; i < end; i++) {
		size_t matrix = i / b->per_matrix;
		size_t at = i % b->per_matrix * b->step;
		size_t all = b->by_rows ? g->m : g->n;
		size_t n = all - at < b->step ? all - at : b->step;
		struct part p = {
			.r = b->by_rows ? at : 0,
			.m = b->by_rows ? n : g->m,
			.s = b->by_rows ? 0 : at,
			.n = b->by_rows ? g->n : n,
			.a = b->a + (g->a_at ? g->a_at[matrix] * size : 0),
			.b = b->b + (g->b_at ? g->b_at[matrix] * size : 0),
			.c = b->c + matrix * g->c_step * size,
		};

		run_part(g, &p);
	}
}

static size_t reading_blocks(const struct gemm *g)
{
	double n = (double)g->n * (double)g->k / READ_MAX;
	double most = (double)g->n / COLUMNS_MIN;

	return (size_t)(n < most ? n : most) + 1;
}

/* Large enough to be worth it, small enough to share and to be stopped. */
static size_t count_blocks(const struct gemm *g)
{
	double slow = g->type < NUM_F32 ? INTS_SLOWER : 1;
	double work =
		slow * (double)g->m * (double)g->n * (double)(g->k ? g->k : 1);
	size_t least = (size_t)(work / BLOCK_MAX) + 1;
	size_t most = (size_t)(work / BLOCK_MIN) + 1;

	if (g->m < FEW_ROWS && reading_blocks(g) > least)
		least = reading_blocks(g);
	if (least > BLOCKS)
		return least;
	return most < BLOCKS ? most : BLOCKS;
}

static size_t at_least_1(size_t v)
{
	return v ? v : 1;
}

/* Rows or columns of a block: a multiple of what BLAS works on at a time. */
static size_t block_step(const struct gemm *g)
{
	size_t all = g->m >= g->n ? g->m : g->n, n = count_blocks(g);

	return ((all + n - 1) / n + 31) / 32 * 32;
}

size_t gemm_columns(const struct gemm *g)
{
	return g->m >= g->n ? 0 : block_step(g);
}

void gemm_run(const struct kernel *k, const struct gemm *spec, const void *a,
	      const void *b, void *c)
{
	struct gemm copy = *spec, *g = &copy;
	struct blocks job = {.g = g, .a = a, .b = b, .c = c};
	size_t all;
	double work = (double)g->m * (double)g->n * (double)(g->k + 1);

	if (g->m == 0 || g->n == 0 || g->batch == 0)
		return;
	/* BLAS wants these even of empty matrices. */
	g->lda = at_least_1(g->lda);
	g->ldb = at_least_1(g->ldb);
	g->ldc = at_least_1(g->ldc);
	job.by_rows = g->columns == 0 && g->m >= g->n;
	all = job.by_rows ? g->m : g->n;
	job.step = g->columns ? g->columns : block_step(g);
	job.per_matrix = (all + job.step - 1) / job.step;
	kernel_for(k, g->batch * job.per_matrix,
		   work < BLOCK_MIN ? (size_t)(BLOCK_MIN / work) + 1 : 1,
		   run_blocks, &job);
}
