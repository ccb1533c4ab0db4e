/* SPDX-License-Identifier: MIT */
/*
 * training - ai.onnx.preview.training: Adagrad, Adam, Momentum: one step of
 * an optimiser, for any number of tensors.
 *
 * Inputs are rate and step count, then all weights, all gradients, and all
 * states of the first kind, of the second; outputs all new weights and states.
 */
#include <math.h>

#include "op/impl.h"

#define TRAINING "ai.onnx.preview.training"

enum optimiser { OPTIMISER_ADAGRAD, OPTIMISER_ADAM, OPTIMISER_MOMENTUM };

struct step {
	enum optimiser kind;
	double rate, norm, eps, alpha, beta, norm_after;
	bool nesterov;
	int64_t count;
};

static size_t states_of(const struct op_call *c)
{
	return c->op->arg == OPTIMISER_ADAM ? 2 : 1;
}

static int count_tensors(const struct op_call *c, size_t *n, struct err *e)
{
	size_t each = 2 + states_of(c);

	*n = c->nin >= 2 ? (c->nin - 2) / each : 0;
	if (*n == 0 || c->nin != 2 + *n * each || c->nout != *n * (each - 1))
		return op_invalid(c, e, "%zu inputs, %zu outputs", c->nin,
				  c->nout);
	for (size_t i = 2; i < c->nin; i++) {
		if (!op_has(c, i))
			return op_invalid(c, e, "input %zu is left out", i);
	}
	return 0;
}

/* Output o goes along with the weights, or with a state. */
static size_t input_of(size_t o, size_t n)
{
	return o < n ? 2 + o : 2 + n + o;
}

static int infer_training(struct op_call *c, struct err *e)
{
	size_t n;
	int rc = count_tensors(c, &n, e);

	for (size_t o = 0; o < c->nout && rc == 0; o++)
		op_out(c, o, op_dtype(c, input_of(o, n)),
		       op_shape(c, input_of(o, n)));
	return rc;
}

static int read_step(struct op_call *c, struct step *s, struct err *e)
{
	int rc = op_scalar_float(c, 0, 0, &s->rate, e);

	if (rc == 0)
		rc = op_scalar_int(c, 1, 0, &s->count, e);
	s->kind = (enum optimiser)c->op->arg;
	s->norm = (double)op_attr_float(c, "norm_coefficient", 0);
	s->norm_after = (double)op_attr_float(c, "norm_coefficient_post", 0);
	s->eps = (double)op_attr_float(c, "epsilon", 1e-6f);
	s->alpha = (double)op_attr_float(c, "alpha", 0.9f);
	s->beta = (double)op_attr_float(c, "beta", 0.999f);
	s->nesterov =
		strcmp(op_attr_str(c, "mode", "standard"), "nesterov") == 0;
	if (s->kind == OPTIMISER_ADAGRAD)
		s->rate /= 1 + (double)s->count * (double)op_attr_float(
							  c, "decay_factor", 0);
	return rc;
}

/* One number: weight x, gradient g, states v and h. */
static void update(const struct step *s, double *x, double g, double *v,
		   double *h)
{
	double rate = s->rate, scale;

	g += s->norm * *x;
	if (s->kind == OPTIMISER_ADAGRAD) {
		*v += g * g;
		*x -= rate * g / (sqrt(*v) + s->eps);
		return;
	}
	if (s->kind == OPTIMISER_MOMENTUM) {
		scale = s->count > 0 ? s->beta : 1;
		*v = s->alpha * *v + scale * g;
		*x -= rate * (s->nesterov ? g + s->alpha * *v : *v);
		return;
	}
	*v = s->alpha * *v + (1 - s->alpha) * g;
	*h = s->beta * *h + (1 - s->beta) * g * g;
	if (s->count > 0)
		rate *= sqrt(1 - pow(s->beta, (double)s->count)) /
			(1 - pow(s->alpha, (double)s->count));
	*x -= rate * *v / (sqrt(*h) + s->eps);
	*x *= 1 - s->norm_after;
}

/* Tensor k of n: weights, gradient and states in, weights and states out. */
static int step_tensor(struct op_call *c, const struct step *s, size_t k,
		       size_t n, struct err *e)
{
	size_t states = states_of(c);
	uint64_t count = op_nelems(c, 2 + k);
	const void *in[4];
	void *out[3];
	int rc = 0;

	for (size_t i = 0; i < 2 + states && rc == 0; i++) {
		if (op_nelems(c, 2 + i * n + k) != count)
			return op_invalid(c, e, "tensors differ in size");
		rc = op_data_as(c, 2 + i * n + k, DTYPE_F64, &in[i], e);
	}
	for (size_t o = 0; o < 1 + states && rc == 0; o++) {
		size_t like = input_of(o * n + k, n);

		rc = op_alloc_as(c, o * n + k, op_dtype(c, like), DTYPE_F64,
				 op_shape(c, like), &out[o], e);
	}
	for (uint64_t i = 0; i < count && rc == 0; i++) {
		double x = ((const double *)in[0])[i], h = 0;
		double v = ((const double *)in[2])[i];

		if (states > 1)
			h = ((const double *)in[3])[i];
		update(s, &x, ((const double *)in[1])[i], &v, &h);
		((double *)out[0])[i] = x;
		((double *)out[1])[i] = v;
		if (states > 1)
			((double *)out[2])[i] = h;
	}
	return rc;
}

static int eval_training(struct op_call *c, struct err *e)
{
	struct step s;
	size_t n;
	int rc = count_tensors(c, &n, e);

	if (rc == 0)
		rc = read_step(c, &s, e);
	for (size_t k = 0; k < n && rc == 0; k++) {
		rc = op_check_stop(c, e);
		if (rc == 0)
			rc = step_tensor(c, &s, k, n, e);
	}
	return rc;
}

#define OPTIMISER(type, kind)                                               \
	{                                                                   \
		TRAINING, type, 1, 3, OP_VARIADIC, 1, OP_VARIADIC, 0, kind, \
			infer_training, eval_training                       \
	}

const struct op ops_training[] = {
	OPTIMISER("Adagrad", OPTIMISER_ADAGRAD),
	OPTIMISER("Adam", OPTIMISER_ADAM),
	OPTIMISER("Momentum", OPTIMISER_MOMENTUM),
	{0},
};
