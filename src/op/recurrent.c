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

struct layer {
	struct recurrent cell;
	size_t steps, batch, width, n, gates;
	size_t directions;
	bool batch_first; /* layout 1 */
	bool reverse;	  /* a single direction, backwards */
	const float *x, *w, *r, *b, *h0, *c0, *p;
	const int64_t *lengths; /* or NULL */
	float *y, *yh, *yc;
	float *gx, *rec, *hidden, *c, *z, *reset, *mixed; /* scratch */
};

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

static int read_direction(struct op_call *c, struct layer *l, struct err *e)
{
	const char *way = op_attr_str(c, "direction", "forward");

	l->directions = 1;
	if (strcmp(way, "bidirectional") == 0)
		l->directions = 2;
	else if (strcmp(way, "reverse") == 0)
		l->reverse = true;
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
	struct layer l = {0};
	struct shape y, h;
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc == 0)
		rc = read_direction(c, &l, e);
	if (rc < 0)
		return rc;
	if (r->rank == 3 && r->dims[2] != DIM_UNKNOWN)
		n = r->dims[2];
	d = (int64_t)l.directions;
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

/* Input i as floats, with exactly these extents. */
static int fixed(struct op_call *c, size_t i, const int64_t *dims, int32_t rank,
		 const float **out, struct err *e)
{
	struct shape want = shape_of(rank, dims);
	char text[128];

	if (op_has(c, i) && !shape_equal(op_shape(c, i), &want)) {
		shape_format(&want, text, sizeof(text));
		return op_invalid(c, e, "input %zu is not [%s]", i, text);
	}
	return op_in_f32(c, i, out, e);
}

static int read_inputs(struct op_call *c, struct layer *l, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *r = op_shape(c, 2);
	int64_t d = (int64_t)l->directions, n, g = (int64_t)l->gates, b;
	int64_t state[3] = {d, 0, 0};
	bool lstm = l->cell.cell == CELL_LSTM;
	int rc = op_need_rank(c, 2, 3, 3, e);

	if (rc < 0)
		return rc;
	n = r->dims[2];
	b = x->dims[!l->batch_first];
	state[l->batch_first ? 0 : 1] = b;
	state[l->batch_first ? 1 : 0] = d;
	state[2] = n;
	l->steps = (size_t)x->dims[l->batch_first];
	l->batch = (size_t)b;
	l->width = (size_t)x->dims[2];
	l->n = l->cell.n = (size_t)n;
	if (n > INT32_MAX / 8)
		return op_invalid(c, e, "hidden_size %lld", (long long)n);
	rc = op_in_f32(c, 0, &l->x, e);
	if (rc == 0)
		rc = fixed(c, 1, (int64_t[]){d, g * n, x->dims[2]}, 3, &l->w,
			   e);
	if (rc == 0)
		rc = fixed(c, 2, (int64_t[]){d, g * n, n}, 3, &l->r, e);
	if (rc == 0)
		rc = fixed(c, 3, (int64_t[]){d, 2 * g * n}, 2, &l->b, e);
	if (rc == 0)
		rc = fixed(c, 5, state, 3, &l->h0, e);
	if (rc == 0 && lstm)
		rc = fixed(c, 6, state, 3, &l->c0, e);
	if (rc == 0 && lstm)
		rc = fixed(c, 7, (int64_t[]){d, 3 * n}, 2, &l->p, e);
	return rc;
}

static int read_lengths(struct op_call *c, struct layer *l, struct err *e)
{
	int rc;

	l->lengths = NULL;
	if (!op_has(c, 4))
		return 0;
	if (op_nelems(c, 4) != l->batch)
		return op_invalid(c, e, "sequence_lens");
	rc = op_in_i64(c, 4, &l->lengths, e);
	for (size_t i = 0; i < l->batch && rc == 0; i++) {
		if (l->lengths[i] < 0 || (size_t)l->lengths[i] > l->steps)
			rc = op_invalid(c, e, "a length of %lld",
					(long long)l->lengths[i]);
	}
	return rc;
}

static int get_scratch(struct op_call *c, struct layer *l, struct err *e)
{
	size_t state = l->batch * l->n;
	struct {
		float **p;
		uint64_t n;
	} list[] = {
		{&l->gx, 0},	     {&l->rec, state * l->gates},
		{&l->hidden, state}, {&l->c, state},
		{&l->z, state},	     {&l->reset, state},
		{&l->mixed, state},
	};

	if (__builtin_mul_overflow((uint64_t)l->steps * l->batch,
				   (uint64_t)l->gates * l->n, &list[0].n))
		return op_invalid(c, e, "too large");
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		void *p;
		int rc = op_temp_array(c, list[i].n, sizeof(float), &p, e);

		if (rc < 0)
			return rc;
		*list[i].p = p;
	}
	return 0;
}

static int get_outputs(struct op_call *c, struct layer *l, struct err *e)
{
	float **out[3] = {&l->y, &l->yh, &l->yc};
	struct shape s[3];
	int rc = 0;

	for (size_t i = 0; i < c->nout; i++)
		s[i] = c->out[i].shape;
	for (size_t i = 0; i < c->nout && rc == 0; i++) {
		void *p = NULL;

		if (op_wants(c, i))
			rc = op_alloc_as(c, i, c->in[0].dtype, DTYPE_F32, &s[i],
					 &p, e);
		*out[i] = p;
	}
	return rc;
}

/* ---- computing ---- */
/* C [m][n] = A [m][k] · B [n][k]ᵀ */
static void times(const struct op_call *c, const float *a, const float *b,
		  float *out, size_t m, size_t n, size_t k)
{
	struct gemm g = {.type = NUM_F32,
			 .trans_b = true,
			 .m = m,
			 .n = n,
			 .k = k,
			 .lda = k,
			 .ldb = k,
			 .ldc = n,
			 .alpha = 1,
			 .batch = 1};

	gemm_run(&c->env->kernel, &g, a, b, out);
}

/* Both biases belong to the inputs, but for the GRU's hidden gate's. */
static void add_bias(const struct layer *l, const float *b)
{
	size_t n = l->gates * l->n;
	size_t both = l->cell.cell == CELL_GRU ? 2 * l->n : n;

	for (size_t row = 0; row < l->steps * l->batch; row++) {
		for (size_t i = 0; i < n; i++)
			l->gx[row * n + i] += b[i] + (i < both ? b[n + i] : 0);
	}
}

/* Where the step's state of one sequence is in Y_h, Y_c and initial_h. */
static size_t state_at(const struct layer *l, size_t d, size_t b)
{
	return (l->batch_first ? b * l->directions + d : d * l->batch + b) *
	       l->n;
}

static size_t y_at(const struct layer *l, size_t t, size_t d, size_t b)
{
	return (l->batch_first ? (b * l->steps + t) * l->directions + d
			       : (t * l->directions + d) * l->batch + b) *
	       l->n;
}

static void step_one(struct layer *l, size_t b, const float *x,
		     const float *rec_bias)
{
	const float *rec = l->rec + b * l->gates * l->n;
	float *h = l->hidden + b * l->n;

	if (l->cell.cell == CELL_RNN)
		recurrent_rnn(&l->cell, x, rec, h);
	else if (l->cell.cell == CELL_LSTM)
		recurrent_lstm(&l->cell, x, rec, h, l->c + b * l->n);
	else
		recurrent_gru_hidden(
			&l->cell, x,
			l->cell.linear_before_reset ? rec + 2 * l->n
						    : l->mixed + b * l->n,
			rec_bias, l->z + b * l->n, l->reset + b * l->n, h);
}

/* The input row of sequence b at step t, which may run backwards. */
static size_t time_of(const struct layer *l, size_t b, size_t t, bool back)
{
	size_t len = l->lengths ? (size_t)l->lengths[b] : l->steps;

	return back ? len - 1 - t : t;
}

static const float *gates_of(const struct layer *l, size_t b, size_t at)
{
	size_t row = l->batch_first ? b * l->steps + at : at * l->batch + b;

	return l->gx + row * l->gates * l->n;
}

static bool is_over(const struct layer *l, size_t b, size_t t)
{
	return l->lengths && t >= (size_t)l->lengths[b];
}

/* GRU: both gates; then R of the hidden gate times the reset state. */
static void gru_gates(const struct op_call *c, struct layer *l, size_t t,
		      bool back, const float *r)
{
	for (size_t b = 0; b < l->batch; b++) {
		size_t at = b * l->n;

		if (is_over(l, b, t))
			continue;
		recurrent_gru_gates(
			&l->cell, gates_of(l, b, time_of(l, b, t, back)),
			l->rec + b * l->gates * l->n, l->z + at, l->reset + at);
		for (size_t k = at; k < at + l->n; k++)
			l->mixed[k] = l->reset[k] * l->hidden[k];
	}
	if (l->cell.linear_before_reset)
		return;
	/* rec is done with: its front becomes the product. */
	times(c, l->mixed, r + 2 * l->n * l->n, l->rec, l->batch, l->n, l->n);
	memcpy(l->mixed, l->rec, l->batch * l->n * sizeof(float));
}

static void run_step(const struct op_call *c, struct layer *l, size_t d,
		     size_t t, bool back)
{
	const float *r = l->r + d * l->gates * l->n * l->n;
	const float *bias = l->b ? l->b + (2 * d + 1) * l->gates * l->n : NULL;

	times(c, l->hidden, r, l->rec, l->batch, l->gates * l->n, l->n);
	if (l->cell.cell == CELL_GRU)
		gru_gates(c, l, t, back, r);
	for (size_t b = 0; b < l->batch; b++) {
		size_t at;

		if (is_over(l, b, t))
			continue;
		at = time_of(l, b, t, back);
		step_one(l, b, gates_of(l, b, at),
			 bias ? bias + 2 * l->n : NULL);
		if (l->y)
			memcpy(l->y + y_at(l, at, d, b), l->hidden + b * l->n,
			       l->n * sizeof(float));
	}
}

static int run_direction(struct op_call *c, struct layer *l, size_t d,
			 struct err *e)
{
	bool back = l->reverse || d == 1;
	size_t bytes = l->n * sizeof(float);
	int rc = read_activations(c, l->cell.cell, d, &l->cell, e);

	times(c, l->x, l->w + d * l->gates * l->n * l->width, l->gx,
	      l->steps * l->batch, l->gates * l->n, l->width);
	if (l->b)
		add_bias(l, l->b + 2 * d * l->gates * l->n);
	l->cell.peephole = l->p ? l->p + d * 3 * l->n : NULL;
	for (size_t b = 0; b < l->batch && bytes > 0; b++) {
		size_t at = state_at(l, d, b);

		memset(l->hidden + b * l->n, 0, bytes);
		memset(l->c + b * l->n, 0, bytes);
		if (l->h0)
			memcpy(l->hidden + b * l->n, l->h0 + at, bytes);
		if (l->c0)
			memcpy(l->c + b * l->n, l->c0 + at, bytes);
	}
	for (size_t t = 0; t < l->steps && rc == 0; t++) {
		run_step(c, l, d, t, back);
		rc = op_check_stop(c, e);
	}
	for (size_t b = 0; b < l->batch && bytes > 0; b++) {
		size_t at = state_at(l, d, b);

		if (l->yh)
			memcpy(l->yh + at, l->hidden + b * l->n, bytes);
		if (l->yc)
			memcpy(l->yc + at, l->c + b * l->n, bytes);
	}
	return rc;
}

/* Our own LSTM has one attribute more than ONNX's. */
static float limit_of_cell(const struct op_call *c)
{
	return c->op->domain[0] ? op_attr_float(c, "cell_clip", 0) : 0;
}

static int eval_recurrent(struct op_call *c, struct err *e)
{
	static const size_t gates[] = {1, 3, 4};
	struct layer l = {
		.cell = {.cell = (enum cell)c->op->arg,
			 .clip = op_attr_float(c, "clip", 0),
			 .cell_clip = limit_of_cell(c),
			 .coupled = op_attr_int(c, "input_forget", 0) != 0,
			 .linear_before_reset =
				 op_attr_int(c, "linear_before_reset", 0) != 0},
		.gates = gates[c->op->arg],
		.batch_first = op_attr_int(c, "layout", 0) != 0,
	};
	int rc = infer_recurrent(c, e);

	if (rc == 0)
		rc = read_direction(c, &l, e);
	if (rc == 0)
		rc = read_inputs(c, &l, e);
	if (rc == 0)
		rc = read_lengths(c, &l, e);
	if (rc == 0)
		rc = get_scratch(c, &l, e);
	if (rc == 0)
		rc = get_outputs(c, &l, e);
	for (size_t d = 0; d < l.directions && rc == 0; d++)
		rc = run_direction(c, &l, d, e);
	return rc;
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
