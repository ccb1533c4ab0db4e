/* SPDX-License-Identifier: MIT */
/*
 * recurrent_body - what recurrent.c holds for one type.  REAL is the type,
 * T(f) the name of our function f for it, M(f) that of math.h.
 */
REAL T(activation_apply)(const struct activation *a, REAL x)
{
	REAL alpha = a->alpha, beta = a->beta, v;

	switch (a->kind) {
	case ACTIVATION_TANH:
		return M(tanh)(x);
	case ACTIVATION_SIGMOID:
		return 1 / (1 + M(exp)(-x));
	case ACTIVATION_RELU:
		return x > 0 ? x : 0;
	case ACTIVATION_AFFINE:
		return alpha * x + beta;
	case ACTIVATION_LEAKY_RELU:
		return x < 0 ? alpha * x : x;
	case ACTIVATION_THRESHOLDED_RELU:
		return x >= alpha ? x : 0;
	case ACTIVATION_SCALED_TANH:
		return alpha * M(tanh)(beta * x);
	case ACTIVATION_HARD_SIGMOID:
		v = alpha * x + beta;
		return v < 0 ? 0 : v > 1 ? 1 : v;
	case ACTIVATION_ELU:
		return x < 0 ? alpha * M(expm1)(x) : x;
	case ACTIVATION_SOFTSIGN:
		return x / (1 + M(fabs)(x));
	default:
		return (x > 0 ? x : 0) + M(log1p)(M(exp)(-M(fabs)(x)));
	}
}

static REAL T(limited)(REAL v, REAL limit)
{
	if (limit <= 0)
		return v;
	return v < -limit ? -limit : v > limit ? limit : v;
}

static REAL T(clipped)(const struct recurrent *r, REAL v)
{
	return T(limited)(v, r->clip);
}

void T(recurrent_rnn)(const struct recurrent *r, const REAL *x, const REAL *rec,
		      REAL *hidden)
{
	for (size_t k = 0; k < r->n; k++)
		hidden[k] = T(activation_apply)(&r->f,
						T(clipped)(r, x[k] + rec[k]));
}

void T(recurrent_lstm)(const struct recurrent *r, const REAL *x,
		       const REAL *rec, REAL *hidden, REAL *cell)
{
	const REAL *p = r->peephole;
	size_t n = r->n;

	for (size_t k = 0; k < n; k++) {
		REAL old = cell[k];
		REAL i = x[k] + rec[k] + (p ? p[k] * old : 0);
		REAL f = x[2 * n + k] + rec[2 * n + k] +
			 (p ? p[2 * n + k] * old : 0);
		REAL c = x[3 * n + k] + rec[3 * n + k], o;

		i = T(activation_apply)(&r->f, T(clipped)(r, i));
		f = r->coupled ? 1 - i
			       : T(activation_apply)(&r->f, T(clipped)(r, f));
		c = f * old + i * T(activation_apply)(&r->g, T(clipped)(r, c));
		c = T(limited)(c, r->cell_clip);
		o = x[n + k] + rec[n + k] + (p ? p[n + k] * c : 0);
		o = T(activation_apply)(&r->f, T(clipped)(r, o));
		cell[k] = c;
		hidden[k] = o * T(activation_apply)(&r->h, c);
	}
}

void T(recurrent_gru_gates)(const struct recurrent *r, const REAL *x,
			    const REAL *rec, REAL *z, REAL *reset)
{
	for (size_t k = 0; k < r->n; k++) {
		REAL v = x[r->n + k] + rec[r->n + k];

		z[k] = T(activation_apply)(&r->f, T(clipped)(r, x[k] + rec[k]));
		reset[k] = T(activation_apply)(&r->f, T(clipped)(r, v));
	}
}

void T(recurrent_gru_hidden)(const struct recurrent *r, const REAL *x,
			     const REAL *rec, const REAL *rec_bias,
			     const REAL *z, const REAL *reset, REAL *hidden)
{
	for (size_t k = 0; k < r->n; k++) {
		REAL past = rec[k] + (rec_bias ? rec_bias[k] : 0), v;

		if (r->linear_before_reset)
			past *= reset[k];
		v = T(activation_apply)(&r->g,
					T(clipped)(r, x[2 * r->n + k] + past));
		hidden[k] = (1 - z[k]) * v + z[k] * hidden[k];
	}
}
