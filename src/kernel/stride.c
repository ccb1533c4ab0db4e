/* SPDX-License-Identifier: MIT */
#include "kernel/stride.h"

#define GRAIN 16384

static bool can_merge(const struct stride_plan *p, size_t outer, size_t d)
{
	for (size_t i = 0; i < p->nin; i++) {
		if (p->step[i][outer] != p->step[i][d] * p->dims[d])
			return false;
	}
	return true;
}

static void put(struct stride_plan *p, size_t to, size_t from)
{
	p->dims[to] = p->dims[from];
	for (size_t i = 0; i < p->nin; i++)
		p->step[i][to] = p->step[i][from];
}

void stride_collapse(struct stride_plan *p)
{
	size_t n = 0;

	for (size_t d = 0; d < p->rank; d++) {
		if (p->dims[d] == 1)
			continue;
		if (n > 0 && can_merge(p, n - 1, d)) {
			size_t dim = p->dims[n - 1];

			put(p, n - 1, d);
			p->dims[n - 1] *= dim;
		} else {
			put(p, n, d);
			n++;
		}
	}
	p->rank = n;
}

struct rows {
	const struct stride_plan *plan;
	const void *const *in;
	char *out;
	stride_fn *fn;
	const void *arg;
};

void stride_seek(const struct stride_plan *p, size_t index, size_t at[],
		 size_t *column)
{
	for (size_t i = 0; i < p->nin; i++)
		at[i] = 0;
	*column = p->rank ? index % p->dims[p->rank - 1] : 0;
	for (size_t d = p->rank; d-- > 0;) {
		size_t k = index % p->dims[d];

		index /= p->dims[d];
		for (size_t i = 0; i < p->nin; i++)
			at[i] += k * p->step[i][d];
	}
}

static void run_rows(void *ctx, size_t begin, size_t end)
{
	const struct rows *r = ctx;
	const struct stride_plan *p = r->plan;
	size_t width = p->rank ? p->dims[p->rank - 1] : 1;
	size_t step[STRIDE_IN_MAX], at[STRIDE_IN_MAX], column;
	const void *in[STRIDE_IN_MAX];

	for (size_t i = 0; i < p->nin; i++)
		step[i] = p->rank ? p->step[i][p->rank - 1] : 0;
	while (begin < end) {
		size_t n;

		stride_seek(p, begin, at, &column);
		n = width - column < end - begin ? width - column : end - begin;
		for (size_t i = 0; i < p->nin; i++)
			in[i] = (const char *)r->in[i] + at[i] * p->in_size[i];
		r->fn(in, step, r->out + begin * p->out_size, n, r->arg);
		begin += n;
	}
}

void stride_for(const struct kernel *k, const struct stride_plan *p,
		const void *const in[], void *out, stride_fn *fn,
		const void *arg)
{
	struct rows r = {.plan = p, .in = in, .out = out, .fn = fn, .arg = arg};
	size_t n = 1;

	for (size_t d = 0; d < p->rank; d++)
		n *= p->dims[d];
	kernel_for(k, n, GRAIN, run_rows, &r);
}
