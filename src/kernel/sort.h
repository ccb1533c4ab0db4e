/* SPDX-License-Identifier: MIT */
/* sort - order of numbers: NaN is greater than all others. */
#ifndef KERNEL_SORT_H
#define KERNEL_SORT_H

#include <stdbool.h>

#include "kernel/num.h"
#include "modelfs/kernel.h"

/* <0, 0, >0 as strcmp. */
int sort_compare(enum num t, const void *v, size_t i, size_t j);

/*
 * Sorts n indices into v (`step` elements apart) by value, equal ones by
 * index; tmp has room for n.
 */
void sort_indices(const struct kernel *k, enum num t, const void *v,
		  size_t step, bool descending, int64_t *idx, int64_t *tmp,
		  size_t n);

#endif
