/* SPDX-License-Identifier: MIT */
#include "kernel/recurrent.h"

#include <math.h>

float activation_apply(const struct activation *a, float x)
{
	float v;

	switch (a->kind) {
	case ACTIVATION_TANH:
		return tanhf(x);
	case ACTIVATION_SIGMOID:
		return 1 / (1 + expf(-x));
	case ACTIVATION_RELU:
		return x > 0 ? x : 0;
	case ACTIVATION_AFFINE:
		return a->alpha * x + a->beta;
	case ACTIVATION_LEAKY_RELU:
		return x < 0 ? a->alpha * x : x;
	case ACTIVATION_THRESHOLDED_RELU:
		return x >= a->alpha ? x : 0;
	case ACTIVATION_SCALED_TANH:
		return a->alpha * tanhf(a->beta * x);
	case ACTIVATION_HARD_SIGMOID:
		v = a->alpha * x + a->beta;
		return v < 0 ? 0 : v > 1 ? 1 : v;
	case ACTIVATION_ELU:
		return x < 0 ? a->alpha * expm1f(x) : x;
	case ACTIVATION_SOFTSIGN:
		return x / (1 + fabsf(x));
	default:
		return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
	}
}

static float limited(float v, float limit)
{
	if (limit <= 0)
		return v;
	return v < -limit ? -limit : v > limit ? limit : v;
}

static float clipped(const struct recurrent *r, float v)
{
	return limited(v, r->clip);
}

void recurrent_rnn(const struct recurrent *r, const float *x, const float *rec,
		   float *hidden)
{
	for (size_t k = 0; k < r->n; k++)
		hidden[k] = activation_apply(&r->f, clipped(r, x[k] + rec[k]));
}

void recurrent_lstm(const struct recurrent *r, const float *x, const float *rec,
		    float *hidden, float *cell)
{
	const float *p = r->peephole;
	size_t n = r->n;

	for (size_t k = 0; k < n; k++) {
		float old = cell[k];
		float i = x[k] + rec[k] + (p ? p[k] * old : 0);
		float f = x[2 * n + k] + rec[2 * n + k] +
			  (p ? p[2 * n + k] * old : 0);
		float c = x[3 * n + k] + rec[3 * n + k], o;

		i = activation_apply(&r->f, clipped(r, i));
		f = r->coupled ? 1 - i : activation_apply(&r->f, clipped(r, f));
		c = f * old + i * activation_apply(&r->g, clipped(r, c));
		c = limited(c, r->cell_clip);
		o = x[n + k] + rec[n + k] + (p ? p[n + k] * c : 0);
		o = activation_apply(&r->f, clipped(r, o));
		cell[k] = c;
		hidden[k] = o * activation_apply(&r->h, c);
	}
}

void recurrent_gru_gates(const struct recurrent *r, const float *x,
			 const float *rec, float *z, float *reset)
{
	for (size_t k = 0; k < r->n; k++) {
		float v = x[r->n + k] + rec[r->n + k];

		z[k] = activation_apply(&r->f, clipped(r, x[k] + rec[k]));
		reset[k] = activation_apply(&r->f, clipped(r, v));
	}
}

void recurrent_gru_hidden(const struct recurrent *r, const float *x,
			  const float *rec, const float *rec_bias,
			  const float *z, const float *reset, float *hidden)
{
	for (size_t k = 0; k < r->n; k++) {
		float past = rec[k] + (rec_bias ? rec_bias[k] : 0), v;

		if (r->linear_before_reset)
			past *= reset[k];
		v = activation_apply(&r->g, clipped(r, x[2 * r->n + k] + past));
		hidden[k] = (1 - z[k]) * v + z[k] * hidden[k];
	}
}
