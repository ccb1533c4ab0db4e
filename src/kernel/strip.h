/* SPDX-License-Identifier: MIT */
/*
 * strip - elementwise operations one after the other, a strip of the result at
 * a time: what one gives the next one takes while it is in the cache.  Numbers
 * that are stored as something shorter are converted on their way.
 */
#ifndef KERNEL_STRIP_H
#define KERNEL_STRIP_H

#include "kernel/stride.h"

/* n elements from what is stored to what is computed in, or back. */
typedef void strip_move(const void *from, void *to, size_t n);

struct strip_input {
	const void *p;
	size_t size;	  /* bytes of an element that is stored */
	strip_move *load; /* NULL: stored as it is taken */
};

#define STRIP_ALONE SIZE_MAX

struct strip_step {
	stride_fn *fn;
	const void *arg;
	/* Inputs advance by 1 or 0 within a row; sizes are what fn takes. */
	struct stride_plan plan;
	struct strip_input in[STRIDE_IN_MAX];
	size_t flow; /* the input that the step before makes; STRIP_ALONE */
	/*
	 * How the result is stored; and what another step finds of it, from and
	 * to the same place.  NULL: as it is.
	 */
	strip_move *store, *round;
	size_t stored_size;
};

/* All steps have a result of n elements; the last one's is stored at out. */
void strip_run(const struct kernel *k, const struct strip_step *steps,
	       size_t nsteps, size_t n, void *out);

#endif
