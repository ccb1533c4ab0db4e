/* SPDX-License-Identifier: MIT */
#include "kernel/random.h"

#include <math.h>

static uint64_t mix(uint64_t seed, uint64_t i)
{
	uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

double random_uniform(uint64_t seed, uint64_t i)
{
	return (double)(mix(seed, i) >> 11) * 0x1p-53;
}

/* Box and Muller's transform of two uniform numbers. */
double random_normal(uint64_t seed, uint64_t i)
{
	double u = 1 - random_uniform(seed, 2 * i);
	double v = random_uniform(seed, 2 * i + 1);

	return sqrt(-2 * log(u)) * cos(6.28318530717958647693 * v);
}
