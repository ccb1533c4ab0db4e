/* SPDX-License-Identifier: MIT */
#include "kernel/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* The name of its interface, which no version that keeps it changes. */
#define LIBRARY "libopenblas.so.0"

static struct blas blas;
static bool is_loaded;

static void load(void)
{
	void *lib;

	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return;
	blas.sgemv = (__typeof__(blas.sgemv))dlsym(lib, "cblas_sgemv");
	blas.sgemm = (__typeof__(blas.sgemm))dlsym(lib, "cblas_sgemm");
	blas.dgemm = (__typeof__(blas.dgemm))dlsym(lib, "cblas_dgemm");
	is_loaded = blas.sgemv && blas.sgemm && blas.dgemm;
}

const struct blas *blas_get(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	return is_loaded ? &blas : NULL;
}
