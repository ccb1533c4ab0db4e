/* SPDX-License-Identifier: MIT */
/*
 * recurrent - RNN, GRU, LSTM.
 *
 * Per direction: the inputs of all steps are multiplied with W at once; then
 * every step multiplies the hidden states of the batch with R.
 */
#include "kernel/recurrent.h"

#include "kernel/gemm.h"
#include "op/impl.h"

/* ---- attributes ---- */
static const struct {
	const char *name;
	struct activation act;
} activations[] = {
	{"Tanh", {ACTIVATION_TANH, 0, 0}},
	{"Sigmoid", {ACTIVATION_SIGMOID, 0, 0}},
	{"Relu", {ACTIVATION_RELU, 0, 0}},
	{"Affine", {ACTIVATION_AFFINE, 1, 0}},
	{"LeakyRelu", {ACTIVATION_LEAKY_RELU, 0.01f, 0}},
	{"ThresholdedRelu", {ACTIVATION_THRESHOLDED_RELU, 1, 0}},
	{"ScaledTanh", {ACTIVATION_SCALED_TANH, 1, 1}},
	{"HardSigmoid", {ACTIVATION_HARD_SIGMOID, 0.2f, 0.5f}},
	{"Elu", {ACTIVATION_ELU, 1, 0}},
	{"Softsign", {ACTIVATION_SOFTSIGN, 0, 0}},
	{"Softplus", {ACTIVATION_SOFTPLUS, 0, 0}},
};

#define NACTIVATIONS (sizeof(activations) / sizeof(activations[0]))

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same_name(const struct span *s, const char *name)
{
	if (s->len != strlen(name))
		return false;
	for (size_t i = 0; i < s->len; i++) {
		if (lower(s->p[i]) != lower(name[i]))
			return false;
	}
	return true;
}

/* Function `i` of all directions' lists. */
static int read_activation(struct op_call *c, size_t i,
			   enum activation_kind usual, struct activation *out,
			   struct err *e)
{
	const struct span *names;
	const float *alpha, *beta;
	size_t n, nalpha, nbeta;

	op_attr_strings(c, "activations", &names, &n);
	op_attr_floats(c, "activation_alpha", &alpha, &nalpha);
	op_attr_floats(c, "activation_beta", &beta, &nbeta);
	*out = activations[usual].act;
	if (i < n) {
		size_t k = 0;

		while (k < NACTIVATIONS &&
		       !same_name(&names[i], activations[k].name))
			k++;
		if (k == NACTIVATIONS)
			return op_invalid(c, e, "activation %zu", i);
		*out = activations[k].act;
	}
	if (i < nalpha)
		out->alpha = alpha[i];
	if (i < nbeta)
		out->beta = beta[i];
	return 0;
}

static int read_activations(struct op_call *c, enum cell kind, size_t d,
			    struct recurrent *r, struct err *e)
{
	size_t per = kind == CELL_RNN ? 1 : kind == CELL_GRU ? 2 : 3;
	int rc = read_activation(c, d * per,
				 kind == CELL_RNN ? ACTIVATION_TANH
						  : ACTIVATION_SIGMOID,
				 &r->f, e);

	if (rc == 0 && per > 1)
		rc = read_activation(c, d * per + 1, ACTIVATION_TANH, &r->g, e);
	if (rc == 0 && per > 2)
		rc = read_activation(c, d * per + 2, ACTIVATION_TANH, &r->h, e);
	return rc;
}

static int read_direction(struct op_call *c, size_t *directions, bool *reverse,
			  struct err *e)
{
	const char *way = op_attr_str(c, "direction", "forward");

	*directions = 1;
	if (strcmp(way, "bidirectional") == 0)
		*directions = 2;
	else if (strcmp(way, "reverse") == 0)
		*reverse = true;
	else if (strcmp(way, "forward") != 0)
		return op_invalid(c, e, "direction");
	return 0;
}

/* ---- shapes ---- */
static int infer_recurrent(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *r = op_shape(c, 2);
	bool batch_first = op_attr_int(c, "layout", 0) != 0;
	int64_t n = op_attr_int(c, "hidden_size", DIM_UNKNOWN), d, t, b;
	bool reverse = false;
	struct shape y, h;
	size_t directions;
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc == 0)
		rc = read_direction(c, &directions, &reverse, e);
	if (rc < 0)
		return rc;
	if (r->rank == 3 && r->dims[2] != DIM_UNKNOWN)
		n = r->dims[2];
	d = (int64_t)directions;
	t = x->rank < 0 ? DIM_UNKNOWN : x->dims[batch_first];
	b = x->rank < 0 ? DIM_UNKNOWN : x->dims[!batch_first];
	y = batch_first ? shape_of(4, (int64_t[]){b, t, d, n})
			: shape_of(4, (int64_t[]){t, d, b, n});
	h = batch_first ? shape_of(3, (int64_t[]){b, d, n})
			: shape_of(3, (int64_t[]){d, b, n});
	op_out(c, 0, c->in[0].dtype, &y);
	op_out(c, 1, c->in[0].dtype, &h);
	op_out(c, 2, c->in[0].dtype, &h);
	return 0;
}

/* Our own LSTM has one attribute more than ONNX's. */
static float limit_of_cell(const struct op_call *c)
{
	return c->op->domain[0] ? op_attr_float(c, "cell_clip", 0) : 0;
}

/* ---- computing ---- */
#define REAL float
#define DTYPE DTYPE_F32
#define NUM NUM_F32
#define T(name) name##_f32
#include "op/recurrent_body.h"
#undef REAL
#undef DTYPE
#undef NUM
#undef T

#define REAL double
#define DTYPE DTYPE_F64
#define NUM NUM_F64
#define T(name) name##_f64
#include "op/recurrent_body.h"

static int eval_recurrent(struct op_call *c, struct err *e)
{
	return c->in[0].dtype == DTYPE_F64 ? eval_recurrent_f64(c, e)
					   : eval_recurrent_f32(c, e);
}

const struct op ops_recurrent[] = {
	{ONNX, "RNN", 1, 3, 6, 0, 2, 0, CELL_RNN, infer_recurrent,
	 eval_recurrent},
	{ONNX, "GRU", 1, 3, 6, 0, 2, 0, CELL_GRU, infer_recurrent,
	 eval_recurrent},
	{ONNX, "LSTM", 1, 3, 8, 0, 3, 0, CELL_LSTM, infer_recurrent,
	 eval_recurrent},
	{MODELFS, "LSTM", 1, 3, 8, 0, 3, 0, CELL_LSTM, infer_recurrent,
	 eval_recurrent},
	{0},
};
