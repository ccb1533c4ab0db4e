/* SPDX-License-Identifier: MIT */
/*
 * product - float32 products with the right-hand matrix packed beforehand, so
 * that a constant one is packed once.
 */
#ifndef KERNEL_PRODUCT_H
#define KERNEL_PRODUCT_H

#include "kernel/fast.h"
#include "kernel/strip.h"
#include "modelfs/kernel.h"

/* How `total` is dealt out to the fewest parts of at most `most`, evenly. */
struct split {
	size_t total, most;
};
size_t split_count(struct split s);
void split_part(struct split s, size_t i, size_t *first, size_t *n);

/* A k × n matrix, or its transpose as stored: n × k. */
struct pack {
	size_t k, n, ld;
	bool trans;
};
/* Floats of the packed form. */
size_t pack_size(const struct pack *p);
void pack_run(const struct kernel *k, const struct pack *p, const float *b,
	      float *out);

/*
 * The columns of C are computed in panels; some that follow each other, alone,
 * have the same bits as in all of C.
 */
size_t product_panels(size_t n);
/* The first column of panel i; of the one after the last: n. */
size_t product_panel(size_t n, size_t i);

/* C = A B for `batch` pairs, each C right behind the one before. */
struct product {
	size_t m, n, k;
	size_t ldc; /* from one row of C, and of finish.add, to the next */
	size_t a_row, a_col;
	size_t batch;
	const size_t *a_at; /* where each A begins; NULL: at 0 */
	size_t b_step;	    /* from one packed B to the next; 0: one for all */
	struct finish finish;
	/* NULL, or how numbers of C become the 16 bits that are at `stored`. */
	strip_move *store;
	uint16_t *stored;
};
/* c is left alone where p->store is set. */
void product_run(const struct kernel *k, const struct product *p,
		 const float *a, const float *packed, float *c);

#endif
