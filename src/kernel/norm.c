/* SPDX-License-Identifier: MIT */
#include "kernel/norm.h"

#include <tgmath.h>

#include "kernel/fast.h"

struct job {
	const void *plan;
	const void *in;
	void *out;
};

static size_t grain_of(size_t work)
{
	return work < 32768 ? 32768 / (work + 1) + 1 : 1;
}

/* ---- softmax ---- */
#define SOFT(NAME, T)                                                     \
	static void soft_##NAME(const struct softmax_plan *p, const T *x, \
				T *y)                                     \
	{                                                                 \
		size_t step = p->inner, best = 0;                         \
		T max = x[0], sum = 0;                                    \
		for (size_t i = 1; i < p->dim; i++) {                     \
			if (x[i * step] > max) {                          \
				max = x[i * step];                        \
				best = i;                                 \
			}                                                 \
		}                                                         \
		if (p->kind == SOFTMAX_HARD) {                            \
			for (size_t i = 0; i < p->dim; i++)               \
				y[i * step] = i == best;                  \
			return;                                           \
		}                                                         \
		if (isinf(max))                                           \
			max = max > 0 ? max : 0;                          \
		for (size_t i = 0; i < p->dim; i++) {                     \
			T v = exp(x[i * step] - max);                     \
			sum += v;                                         \
			y[i * step] = v;                                  \
		}                                                         \
		if (p->kind == SOFTMAX) {                                 \
			for (size_t i = 0; i < p->dim; i++)               \
				y[i * step] /= sum;                       \
			return;                                           \
		}                                                         \
		sum = log(sum) + max;                                     \
		for (size_t i = 0; i < p->dim; i++)                       \
			y[i * step] = x[i * step] - sum;                  \
	}                                                                 \
	static void softs_##NAME(void *ctx, size_t begin, size_t end)     \
	{                                                                 \
		const struct job *j = ctx;                                \
		const struct softmax_plan *p = j->plan;                   \
		for (size_t i = begin; i < end; i++) {                    \
			size_t at = i / p->inner * p->dim * p->inner +    \
				    i % p->inner;                         \
			soft_##NAME(p, (const T *)j->in + at,             \
				    (T *)j->out + at);                    \
		}                                                         \
	}
SOFT(F32, float)
SOFT(F64, double)

static void softs_fast(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;
	const struct softmax_plan *p = j->plan;

	for (size_t i = begin; i < end; i++)
		fast_get()->softmax((const float *)j->in + i * p->dim,
				    (float *)j->out + i * p->dim, p->dim);
}

void norm_softmax(const struct kernel *k, const struct softmax_plan *p,
		  const void *in, void *out)
{
	struct job j = {p, in, out};
	kernel_fn *fn = p->type == NUM_F64 ? softs_F64 : softs_F32;

	if (p->type == NUM_F32 && p->kind == SOFTMAX && p->inner == 1)
		fn = softs_fast;
	if (p->dim > 0)
		kernel_for(k, p->outer * p->inner, grain_of(4 * p->dim), fn,
			   &j);
}

/* ---- rows ---- */
#define ROW(NAME, T)                                                           \
	static void row_##NAME(const struct row_norm *p, size_t r, const T *x, \
			       T *y)                                           \
	{                                                                      \
		const T *scale = p->scale, *bias = p->bias;                    \
		double sum = 0, squares = 0, mean = 0, inv;                    \
		for (size_t i = 0; i < p->n && p->centred; i++)                \
			sum += (double)x[i];                                   \
		mean = p->centred ? sum / (double)p->n : 0;                    \
		for (size_t i = 0; i < p->n; i++) {                            \
			double d = (double)x[i] - mean;                        \
			squares += d * d;                                      \
		}                                                              \
		inv = 1.0 / sqrt(squares / (double)p->n + p->epsilon);         \
		for (size_t i = 0; i < p->n; i++) {                            \
			T v = (T)(((double)x[i] - mean) * inv);                \
			v = scale ? v * scale[i] : v;                          \
			y[i] = bias ? v + bias[i] : v;                         \
		}                                                              \
		if (p->mean)                                                   \
			((T *)p->mean)[r] = (T)mean;                           \
		if (p->inv_std)                                                \
			((T *)p->inv_std)[r] = (T)inv;                         \
	}                                                                      \
	static void rows_##NAME(void *ctx, size_t begin, size_t end)           \
	{                                                                      \
		const struct job *j = ctx;                                     \
		const struct row_norm *p = j->plan;                            \
		for (size_t r = begin; r < end; r++)                           \
			row_##NAME(p, r, (const T *)j->in + r * p->n,          \
				   (T *)j->out + r * p->n);                    \
	}
ROW(F64, double)

static void rows_F32(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;
	const struct row_norm *p = j->plan;
	const struct fast *f = fast_get();

	for (size_t r = begin; r < end; r++) {
		const float *x = (const float *)j->in + r * p->n;
		double mean, variance, inv;

		f->moments(x, p->n, p->centred, &mean, &variance);
		inv = 1.0 / sqrt(variance + p->epsilon);
		f->normalise(x, (float)mean, (float)inv, p->scale, p->bias,
			     (float *)j->out + r * p->n, p->n);
		if (p->mean)
			((float *)p->mean)[r] = (float)mean;
		if (p->inv_std)
			((float *)p->inv_std)[r] = (float)inv;
	}
}

void norm_rows(const struct kernel *k, const struct row_norm *p, const void *in,
	       void *out)
{
	struct job j = {p, in, out};

	kernel_for(k, p->rows, grain_of(4 * p->n),
		   p->type == NUM_F64 ? rows_F64 : rows_F32, &j);
}

/* ---- channels ---- */
#define CHANNELS(NAME, T)                                                \
	static void channels_##NAME(void *ctx, size_t begin, size_t end) \
	{                                                                \
		const struct job *j = ctx;                               \
		const struct channel_affine *p = j->plan;                \
		for (size_t r = begin; r < end; r++) {                   \
			const T *x = (const T *)j->in + r * p->inner;    \
			T a = ((const T *)p->scale)[r % p->channels];    \
			T b = ((const T *)p->shift)[r % p->channels];    \
			T *y = (T *)j->out + r * p->inner;               \
			for (size_t i = 0; i < p->inner; i++)            \
				y[i] = x[i] * a + b;                     \
		}                                                        \
	}
CHANNELS(F64, double)

static void channels_F32(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;
	const struct channel_affine *p = j->plan;

	for (size_t r = begin; r < end; r++)
		fast_get()->affine((const float *)j->in + r * p->inner,
				   ((const float *)p->scale)[r % p->channels],
				   ((const float *)p->shift)[r % p->channels],
				   (float *)j->out + r * p->inner, p->inner);
}

void norm_channels(const struct kernel *k, const struct channel_affine *p,
		   const void *in, void *out)
{
	struct job j = {p, in, out};

	kernel_for(k, p->n * p->channels, grain_of(p->inner),
		   p->type == NUM_F64 ? channels_F64 : channels_F32, &j);
}

/* ---- local response ---- */
#define LOCAL(NAME, T)                                                        \
	static void local_##NAME(void *ctx, size_t begin, size_t end)         \
	{                                                                     \
		const struct job *j = ctx;                                    \
		const struct local_norm *p = j->plan;                         \
		size_t before = (p->size - 1) / 2;                            \
		for (size_t r = begin; r < end; r++) {                        \
			size_t c = r % p->channels;                           \
			size_t lo = c < before ? 0 : c - before;              \
			size_t hi = p->channels - c < p->size - before        \
					    ? p->channels                     \
					    : c + p->size - before;           \
			const T *x = (const T *)j->in + (r - c) * p->inner;   \
			T *y = (T *)j->out + r * p->inner;                    \
			for (size_t i = 0; i < p->inner; i++) {               \
				double s = 0;                                 \
				for (size_t q = lo; q < hi; q++) {            \
					double v = x[q * p->inner + i];       \
					s += v * v;                           \
				}                                             \
				s = p->bias + p->alpha / (double)p->size * s; \
				y[i] = (T)(x[c * p->inner + i] /              \
					   pow(s, p->beta));                  \
			}                                                     \
		}                                                             \
	}
LOCAL(F32, float)
LOCAL(F64, double)

void norm_local(const struct kernel *k, const struct local_norm *p,
		const void *in, void *out)
{
	struct job j = {p, in, out};

	kernel_for(k, p->n * p->channels, grain_of(10 * p->inner),
		   p->type == NUM_F64 ? local_F64 : local_F32, &j);
}
