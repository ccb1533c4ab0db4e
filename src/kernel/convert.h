/* SPDX-License-Identifier: MIT */
/* convert - numbers from one type to another. */
#ifndef KERNEL_CONVERT_H
#define KERNEL_CONVERT_H

#include "kernel/num.h"

/*
 * Integers wrap.  A float goes to an integer through int64 and wraps from
 * there; NaN and what int64 (uint64 for NUM_U64) cannot hold becomes the
 * least int64.
 */
void convert_nums(enum num from, const void *src, enum num to, void *dst,
		  size_t n);
/* 1 where the number is not zero (NaN is not). */
void convert_to_bool(enum num from, const void *src, uint8_t *dst, size_t n);

#endif
