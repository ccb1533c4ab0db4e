/* SPDX-License-Identifier: MIT */
#include "kernel/attention.h"

#include <math.h>
#include <string.h>

#include "kernel/gemm.h"

#define REAL float
#define NUM NUM_F32
#define T(name) name
#define M(name) name##f
#include "kernel/attention_body.h"
#undef REAL
#undef NUM
#undef T
#undef M

#define REAL double
#define NUM NUM_F64
#define T(name) name##_f64
#define M(name) name
#include "kernel/attention_body.h"
#undef REAL
#undef NUM
#undef T
#undef M

/* ---- rotation ---- */
struct rotate_job {
	const struct rotary *r;
	const float *x;
	float *y;
};

static void rotate_row(const struct rotary *r, const float *cos,
		       const float *sin, const float *x, float *y)
{
	size_t half = r->dim / 2;

	memcpy(y + r->dim, x + r->dim, (r->head_dim - r->dim) * sizeof(*x));
	for (size_t i = 0; i < half; i++) {
		size_t p = r->interleaved ? 2 * i : i;
		size_t q = r->interleaved ? 2 * i + 1 : i + half;
		float a = x[p], b = x[q];

		y[p] = a * cos[i] - b * sin[i];
		y[q] = a * sin[i] + b * cos[i];
	}
}

static void rotate_rows(void *ctx, size_t begin, size_t end)
{
	const struct rotate_job *j = ctx;
	const struct rotary *r = j->r;

	for (size_t i = begin; i < end; i++) {
		size_t row = i % r->len, h = i / r->len % r->heads;
		size_t b = i / r->len / r->heads;
		size_t at = b * r->step_batch + h * r->step_head +
			    row * r->step_row;
		size_t cache = (size_t)r->rows[b * r->len + row] * (r->dim / 2);

		rotate_row(r, r->cos + cache, r->sin + cache, j->x + at,
			   j->y + at);
	}
}

void attention_rotate(const struct kernel *k, const struct rotary *r,
		      const float *x, float *y)
{
	struct rotate_job j = {r, x, y};

	kernel_for(k, r->batch * r->heads * r->len, 1024, rotate_rows, &j);
}
