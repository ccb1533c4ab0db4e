/* SPDX-License-Identifier: MIT */
/*
 * slots - scratch memory for the threads inside one kernel_for: a task takes
 * a slot, and gives it back at its end.
 */
#ifndef KERNEL_SLOTS_H
#define KERNEL_SLOTS_H

#include "modelfs/kernel.h"

#define SLOTS_MAX 64

struct slots {
	size_t n;
	atomic_bool taken[SLOTS_MAX];
};

/* As many as tasks that can run at a time. */
static inline size_t slots_count(const struct kernel *k)
{
	size_t n = pool_nthreads(k->pool);

	return n < SLOTS_MAX ? n : SLOTS_MAX;
}

static inline void slots_init(struct slots *s, const struct kernel *k)
{
	s->n = slots_count(k);
	for (size_t i = 0; i < s->n; i++)
		atomic_init(&s->taken[i], false);
}

/* Waits only where there are more threads than slots. */
static inline size_t slots_take(struct slots *s)
{
	for (size_t i = 0;; i = (i + 1) % s->n) {
		bool no = false;

		if (atomic_compare_exchange_strong(&s->taken[i], &no, true))
			return i;
	}
}

static inline void slots_give(struct slots *s, size_t i)
{
	atomic_store(&s->taken[i], false);
}

#endif
