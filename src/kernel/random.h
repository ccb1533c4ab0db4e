/* SPDX-License-Identifier: MIT */
/*
 * random - numbers from a seed, by counting: element i does not depend on the
 * ones before it (SplitMix64's mixer over seed and counter).
 */
#ifndef KERNEL_RANDOM_H
#define KERNEL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Uniform in [0, 1). */
double random_uniform(uint64_t seed, uint64_t i);
/* Normal, mean 0 and deviation 1. */
double random_normal(uint64_t seed, uint64_t i);

#endif
