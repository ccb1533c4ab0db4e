/* SPDX-License-Identifier: MIT */
/*
 * dft - lengths with small prime factors are split (mixed radix, recursion of
 * at most 31 levels); what is prime is summed up as the definition says.
 */
#include "kernel/dft.h"

#include <math.h>

#define PI 3.14159265358979323846

/* Rows are transformed one after the other: a row, its result, both twice. */
size_t dft_scratch(const struct dft_plan *p)
{
	return 8 * p->n + 8;
}

static size_t least_factor(size_t n)
{
	for (size_t f = 2; f * f <= n; f++) {
		if (n % f == 0)
			return f;
	}
	return n;
}

/*
 * out[k] = sum of in[i * step] w^(i k) for i < n; roots are those of N, the
 * whole length: w = roots[N / n].  Complex numbers are pairs.
 */
static void transform(const struct kernel *k, const double *roots, size_t N,
		      const double *in, size_t step, double *out, size_t n,
		      double *room)
{
	size_t f = least_factor(n), m = n / (f ? f : 1);

	if (n <= 1) {
		if (n == 1) {
			out[0] = in[0];
			out[1] = in[1];
		}
		return;
	}
	if (f == n)
		m = 1;
	for (size_t r = 0; r < f && m > 1; r++)
		transform(k, roots, N, in + 2 * r * step, step * f,
			  room + 2 * r * m, m, out + 2 * r * m);
	for (size_t q = 0; q < n && !kernel_stopped(k); q++) {
		double re = 0, im = 0;

		for (size_t r = 0; r < f; r++) {
			const double *x = m > 1 ? room + 2 * (r * m + q % m)
						: in + 2 * r * step;
			const double *w = roots + 2 * (r * q % n * (N / n));

			re += x[0] * w[0] - x[1] * w[1];
			im += x[0] * w[1] + x[1] * w[0];
		}
		out[2 * q] = re;
		out[2 * q + 1] = im;
	}
}

static void load(const struct dft_plan *p, const double *in, double *row)
{
	for (size_t i = 0; i < p->n; i++) {
		bool mirror = p->half_in && i > p->n / 2;
		size_t at = mirror ? p->n - i : i;
		const double *x = in + at * p->inner * p->parts_in;
		bool inside = at < p->dim;

		row[2 * i] = inside ? x[0] : 0;
		row[2 * i + 1] = inside && p->parts_in == 2
					 ? (mirror ? -x[1] : x[1])
					 : 0;
	}
}

void dft_run(const struct kernel *k, const struct dft_plan *p, const double *in,
	     double *out, double *scratch)
{
	double *roots = scratch, *row = roots + 2 * p->n;
	double *result = row + 2 * p->n, *room = result + 2 * p->n;
	double sign = p->inverse ? 1 : -1;
	double scale = p->inverse && p->n ? 1.0 / (double)p->n : 1;

	for (size_t i = 0; i < p->n; i++) {
		double angle = sign * 2 * PI * (double)i / (double)p->n;

		roots[2 * i] = cos(angle);
		roots[2 * i + 1] = sin(angle);
	}
	for (size_t j = 0; j < p->outer * p->inner; j++) {
		size_t o = j / p->inner, i = j % p->inner;
		double *to = out + (o * p->m * p->inner + i) * p->parts_out;

		if (kernel_stopped(k))
			return;
		load(p, in + (o * p->dim * p->inner + i) * p->parts_in, row);
		transform(k, roots, p->n, row, 1, result, p->n, room);
		for (size_t q = 0; q < p->m && q < p->n; q++) {
			double *v = to + q * p->inner * p->parts_out;

			v[0] = result[2 * q] * scale;
			if (p->parts_out == 2)
				v[1] = result[2 * q + 1] * scale;
		}
	}
}
