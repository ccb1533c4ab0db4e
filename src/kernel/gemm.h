/* SPDX-License-Identifier: MIT */
/*
 * gemm - products of matrices.  Those of floats are OpenBLAS's where there are
 * no loops for this processor (fast.gemm_f32).
 */
#ifndef KERNEL_GEMM_H
#define KERNEL_GEMM_H

#include "kernel/num.h"
#include "modelfs/kernel.h"

/*
 * C = alpha · op(A) · op(B) + beta · C for `batch` triples; row-major.
 * op(A) is m × k, op(B) k × n.  Integers wrap and ignore alpha and beta
 * other than 0 and 1.
 */
struct gemm {
	enum num type; /* floats, 32- and 64-bit integers */
	bool trans_a, trans_b;
	size_t m, n, k;
	size_t lda, ldb, ldc;
	double alpha, beta;
	size_t batch;
	const size_t *a_at, *b_at; /* where each triple begins; NULL: 0 */
	size_t c_step;		   /* from one C to the next */
	/*
	 * Of a C that is only some columns of another: what gemm_columns says of
	 * that one; else 0.
	 */
	size_t columns;
};

bool gemm_wants_blas(void);
/* Loads what later, when no file can be opened, would be missing. */
void gemm_prepare(void);
/* False for extents that BLAS cannot count. */
bool gemm_fits(const struct gemm *g);
bool gemm_has(enum num t);
/*
 * How many columns of C are computed at a time; 0: all of them.  A C that
 * begins with a multiple of these and ends with one, or where all of it ends,
 * has the same bits as there.
 */
size_t gemm_columns(const struct gemm *g);
void gemm_run(const struct kernel *k, const struct gemm *g, const void *a,
	      const void *b, void *c);

#endif
