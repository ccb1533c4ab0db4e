/* SPDX-License-Identifier: MIT */
#include "kernel/quant.h"

#include <math.h>

struct job {
	const struct quant_plan *p;
	const float *x;
	float *y;
};

/* Where the parameters of a row begin, and how they go along with it. */
static size_t locate(const struct quant_plan *p, size_t row, size_t *step)
{
	size_t d = row % p->dim, o = row / p->dim;

	*step = p->block ? 1 : 0;
	if (p->single)
		return 0;
	if (!p->block)
		return d;
	return (o * ((p->dim + p->block - 1) / p->block) + d / p->block) *
	       p->inner;
}

static float quantize(const struct quant_plan *p, float x, float scale,
		      float zero)
{
	float v = x / scale;

	if (!p->round)
		return v + zero;
	v = nearbyintf(v) + zero;
	return v < p->lo ? p->lo : v > p->hi ? p->hi : v;
}

static void to_rows(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;
	const struct quant_plan *p = j->p;

	for (size_t row = begin; row < end; row++) {
		size_t step, at = locate(p, row, &step);
		const float *x = j->x + row * p->inner;
		float *y = j->y + row * p->inner;

		for (size_t i = 0; i < p->inner; i++)
			y[i] = quantize(p, x[i], p->scale[at + i * step],
					p->zero ? p->zero[at + i * step] : 0);
	}
}

static void from_rows(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;
	const struct quant_plan *p = j->p;

	for (size_t row = begin; row < end; row++) {
		size_t step, at = locate(p, row, &step);
		const float *x = j->x + row * p->inner;
		float *y = j->y + row * p->inner;

		for (size_t i = 0; i < p->inner; i++) {
			size_t s = at + i * step;
			float zero = p->zero ? p->zero[s] : 0;

			y[i] = (x[i] - zero) * p->scale[s];
		}
	}
}

void quant_to(const struct kernel *k, const struct quant_plan *p,
	      const float *x, float *y)
{
	struct job j = {p, x, y};

	kernel_for(k, p->outer * p->dim, 16384 / (p->inner + 1) + 1, to_rows,
		   &j);
}

void quant_from(const struct kernel *k, const struct quant_plan *p,
		const float *x, float *y)
{
	struct job j = {p, x, y};

	kernel_for(k, p->outer * p->dim, 16384 / (p->inner + 1) + 1, from_rows,
		   &j);
}
