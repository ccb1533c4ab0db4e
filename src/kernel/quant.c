/* SPDX-License-Identifier: MIT */
#include "kernel/quant.h"

#include "kernel/fast.h"

/* Numbers of a task. */
#define PART 16384

struct job {
	const struct quant_plan *p;
	const float *x;
	float *y;
	bool back;
	size_t parts; /* of a row */
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

/* Some of a row, from number `first` on, with parameters of its own or one. */
static void quantize(const struct quant_plan *p, const struct quantum *q,
		     const float *x, float *y, size_t n)
{
	if (p->round) {
		fast_get()->quantize(q, x, y, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] / q->scale + q->zero;
}

static struct quantum quantum_at(const struct quant_plan *p, size_t i)
{
	struct quantum q = quantum_of(p->scale[i], p->zero ? p->zero[i] : 0);

	q.lo = p->lo;
	q.hi = p->hi;
	return q;
}

/* Part `task` of a row. */
static void run_part(const struct job *j, size_t task)
{
	const struct quant_plan *p = j->p;
	size_t row = task / j->parts, first = task % j->parts * PART, step;
	size_t n = p->inner - first < PART ? p->inner - first : PART;
	size_t at = locate(p, row, &step), each = step ? 1 : n;
	const float *x = j->x + row * p->inner + first;
	float *y = j->y + row * p->inner + first;

	for (size_t i = 0; i < n; i += each) {
		struct quantum q = quantum_at(p, at + (first + i) * step);

		if (j->back)
			fast_get()->dequantize(&q, x + i, y + i, each);
		else
			quantize(p, &q, x + i, y + i, each);
	}
}

static void run_parts(void *ctx, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		run_part(ctx, i);
}

static void run_all(const struct kernel *k, struct job *j)
{
	const struct quant_plan *p = j->p;

	j->parts = (p->inner + PART - 1) / PART;
	kernel_for(k, p->outer * p->dim * j->parts, PART / (p->inner + 1) + 1,
		   run_parts, j);
}

void quant_to(const struct kernel *k, const struct quant_plan *p,
	      const float *x, float *y)
{
	run_all(k, &(struct job){.p = p, .x = x, .y = y});
}

void quant_from(const struct kernel *k, const struct quant_plan *p,
		const float *x, float *y)
{
	run_all(k, &(struct job){.p = p, .x = x, .y = y, .back = true});
}
