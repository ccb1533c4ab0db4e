/* SPDX-License-Identifier: MIT */
/*
 * blas - the only door to OpenBLAS.  It is loaded when it is first wanted: most
 * commands never do, and its threads, which it starts while it is loaded and
 * which wait by spinning, are kept away with OPENBLAS_NUM_THREADS.
 */
#ifndef KERNEL_BLAS_H
#define KERNEL_BLAS_H

#include <cblas.h>

struct blas {
	__typeof__(cblas_sgemv) *sgemv;
	__typeof__(cblas_sgemm) *sgemm;
	__typeof__(cblas_dgemm) *dgemm;
};

/*
 * NULL: there is none, or no file can be opened any more and nobody asked
 * before.
 */
const struct blas *blas_get(void);

#endif
