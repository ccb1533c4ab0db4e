/* SPDX-License-Identifier: MIT */
/*
 * kernel - what all numeric kernels share: a pool of threads, and a flag that
 * tells a long loop to stop.
 *
 * kernel/ knows pointers and sizes and no type of ours.  A kernel called with
 * `stop` set may return early, its output undefined; the caller looks at the
 * flag.
 */
#ifndef MODELFS_KERNEL_H
#define MODELFS_KERNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

struct kernel {
	struct pool *pool;	 /* NULL: the caller's thread alone */
	const atomic_bool *stop; /* NULL: cannot be stopped */
};

/* nthreads in all, the caller's included; 0: one per processor. */
struct pool *pool_new(unsigned nthreads);
void pool_free(struct pool *p);
unsigned pool_nthreads(const struct pool *p);

/* Work on items [begin, end). */
typedef void kernel_fn(void *ctx, size_t begin, size_t end);

/*
 * Splits [0, n) into chunks of `grain` items and has the pool work on them;
 * returns when all are done, or early when stopped.  How the range is split
 * depends on n and grain alone, never on the number of threads.
 * One call at a time is spread over the pool; others run on their caller.
 */
void kernel_for(const struct kernel *k, size_t n, size_t grain, kernel_fn *fn,
		void *ctx);

static inline bool kernel_stopped(const struct kernel *k)
{
	return k->stop && atomic_load_explicit(k->stop, memory_order_relaxed);
}

#endif
