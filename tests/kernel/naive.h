/* SPDX-License-Identifier: MIT */
/* naive - numbers to test kernels with, and how close results must be. */
#ifndef TESTS_KERNEL_NAIVE_H
#define TESTS_KERNEL_NAIVE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* A reproducible stream: the same in every run. */
static inline uint32_t naive_next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* In [-1, 1). */
static inline float naive_float(uint32_t *state)
{
	return (float)naive_next(state) / 8388608.0f - 1;
}

static inline float *naive_floats(size_t n, uint32_t seed)
{
	float *v = malloc((n + 1) * sizeof(*v));

	for (size_t i = 0; v && i < n; i++)
		v[i] = naive_float(&seed);
	return v;
}

/* How many of n differ by more than a rounding error of `terms` sums. */
static inline size_t naive_differ(const float *got, const double *want,
				  size_t n, size_t terms)
{
	double most = 1e-6 * (double)(terms + 4);
	size_t wrong = 0;

	for (size_t i = 0; i < n; i++)
		wrong += !(fabs((double)got[i] - want[i]) <=
			   most * (1 + fabs(want[i])));
	return wrong;
}

#endif
