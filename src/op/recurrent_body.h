/* SPDX-License-Identifier: MIT */
/*
 * recurrent_body - the computing part of recurrent.c for one type.  REAL is the
 * type, DTYPE and NUM its names, T(f) the name of f for it.
 */
struct T(layer) {
	struct recurrent cell;
	size_t steps, batch, width, n, gates;
	size_t directions;
	bool batch_first; /* layout 1 */
	bool reverse;	  /* a single direction, backwards */
	const REAL *x, *w, *r, *b, *h0, *c0, *p;
	const int64_t *lengths; /* or NULL */
	REAL *y, *yh, *yc;
	REAL *gx, *rec, *hidden, *c, *z, *reset, *mixed; /* scratch */
};

/* Input i in this type; NULL when left out. */
static int T(input)(struct op_call *c, size_t i, const REAL **out,
		    struct err *e)
{
	const void *p = NULL;
	int rc = op_data_as(c, i, DTYPE, &p, e);

	*out = p;
	return rc;
}

/* Input i, with exactly these extents. */
static int T(fixed)(struct op_call *c, size_t i, const int64_t *dims,
		    int32_t rank, const REAL **out, struct err *e)
{
	struct shape want = shape_of(rank, dims);
	char text[128];

	if (op_has(c, i) && !shape_equal(op_shape(c, i), &want)) {
		shape_format(&want, text, sizeof(text));
		return op_invalid(c, e, "input %zu is not [%s]", i, text);
	}
	return T(input)(c, i, out, e);
}

static int T(read_inputs)(struct op_call *c, struct T(layer) * l, struct err *e)
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
	rc = T(input)(c, 0, &l->x, e);
	if (rc == 0)
		rc = T(fixed)(c, 1, (int64_t[]){d, g * n, x->dims[2]}, 3, &l->w,
			      e);
	if (rc == 0)
		rc = T(fixed)(c, 2, (int64_t[]){d, g * n, n}, 3, &l->r, e);
	if (rc == 0)
		rc = T(fixed)(c, 3, (int64_t[]){d, 2 * g * n}, 2, &l->b, e);
	if (rc == 0)
		rc = T(fixed)(c, 5, state, 3, &l->h0, e);
	if (rc == 0 && lstm)
		rc = T(fixed)(c, 6, state, 3, &l->c0, e);
	if (rc == 0 && lstm)
		rc = T(fixed)(c, 7, (int64_t[]){d, 3 * n}, 2, &l->p, e);
	return rc;
}

static int T(read_lengths)(struct op_call *c, struct T(layer) * l,
			   struct err *e)
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

static int T(get_scratch)(struct op_call *c, struct T(layer) * l, struct err *e)
{
	size_t state = l->batch * l->n;
	struct {
		REAL **p;
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
		int rc = op_temp_array(c, list[i].n, sizeof(REAL), &p, e);

		if (rc < 0)
			return rc;
		*list[i].p = p;
	}
	return 0;
}

static int T(get_outputs)(struct op_call *c, struct T(layer) * l, struct err *e)
{
	REAL **out[3] = {&l->y, &l->yh, &l->yc};
	struct shape s[3];
	int rc = 0;

	for (size_t i = 0; i < c->nout; i++)
		s[i] = c->out[i].shape;
	for (size_t i = 0; i < c->nout && rc == 0; i++) {
		void *p = NULL;

		if (op_wants(c, i))
			rc = op_alloc_as(c, i, c->in[0].dtype, DTYPE, &s[i], &p,
					 e);
		*out[i] = p;
	}
	return rc;
}

/* ---- computing ---- */
/* C [m][n] = A [m][k] · B [n][k]ᵀ */
static void T(times)(const struct op_call *c, const REAL *a, const REAL *b,
		     REAL *out, size_t m, size_t n, size_t k)
{
	struct gemm g = {.type = NUM,
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
static void T(add_bias)(const struct T(layer) * l, const REAL *b)
{
	size_t n = l->gates * l->n;
	size_t both = l->cell.cell == CELL_GRU ? 2 * l->n : n;

	for (size_t row = 0; row < l->steps * l->batch; row++) {
		for (size_t i = 0; i < n; i++)
			l->gx[row * n + i] += b[i] + (i < both ? b[n + i] : 0);
	}
}

/* Where the step's state of one sequence is in Y_h, Y_c and initial_h. */
static size_t T(state_at)(const struct T(layer) * l, size_t d, size_t b)
{
	return (l->batch_first ? b * l->directions + d : d * l->batch + b) *
	       l->n;
}

static size_t T(y_at)(const struct T(layer) * l, size_t t, size_t d, size_t b)
{
	return (l->batch_first ? (b * l->steps + t) * l->directions + d
			       : (t * l->directions + d) * l->batch + b) *
	       l->n;
}

static void T(step_one)(struct T(layer) * l, size_t b, const REAL *x,
			const REAL *rec_bias)
{
	const REAL *rec = l->rec + b * l->gates * l->n;
	REAL *h = l->hidden + b * l->n;

	if (l->cell.cell == CELL_RNN)
		T(recurrent_rnn)(&l->cell, x, rec, h);
	else if (l->cell.cell == CELL_LSTM)
		T(recurrent_lstm)(&l->cell, x, rec, h, l->c + b * l->n);
	else
		T(recurrent_gru_hidden)
		(&l->cell, x,
		 l->cell.linear_before_reset ? rec + 2 * l->n
					     : l->mixed + b * l->n,
		 rec_bias, l->z + b * l->n, l->reset + b * l->n, h);
}

/* The input row of sequence b at step t, which may run backwards. */
static size_t T(time_of)(const struct T(layer) * l, size_t b, size_t t,
			 bool back)
{
	size_t len = l->lengths ? (size_t)l->lengths[b] : l->steps;

	return back ? len - 1 - t : t;
}

static const REAL *T(gates_of)(const struct T(layer) * l, size_t b, size_t at)
{
	size_t row = l->batch_first ? b * l->steps + at : at * l->batch + b;

	return l->gx + row * l->gates * l->n;
}

static bool T(is_over)(const struct T(layer) * l, size_t b, size_t t)
{
	return l->lengths && t >= (size_t)l->lengths[b];
}

/* GRU: both gates; then R of the hidden gate times the reset state. */
static void T(gru_gates)(const struct op_call *c, struct T(layer) * l, size_t t,
			 bool back, const REAL *r)
{
	for (size_t b = 0; b < l->batch; b++) {
		size_t at = b * l->n;

		if (T(is_over)(l, b, t))
			continue;
		T(recurrent_gru_gates)
		(&l->cell, T(gates_of)(l, b, T(time_of)(l, b, t, back)),
		 l->rec + b * l->gates * l->n, l->z + at, l->reset + at);
		for (size_t k = at; k < at + l->n; k++)
			l->mixed[k] = l->reset[k] * l->hidden[k];
	}
	if (l->cell.linear_before_reset)
		return;
	/* rec is done with: its front becomes the product. */
	T(times)
	(c, l->mixed, r + 2 * l->n * l->n, l->rec, l->batch, l->n, l->n);
	memcpy(l->mixed, l->rec, l->batch * l->n * sizeof(REAL));
}

static void T(run_step)(const struct op_call *c, struct T(layer) * l, size_t d,
			size_t t, bool back)
{
	const REAL *r = l->r + d * l->gates * l->n * l->n;
	const REAL *bias = l->b ? l->b + (2 * d + 1) * l->gates * l->n : NULL;

	T(times)(c, l->hidden, r, l->rec, l->batch, l->gates * l->n, l->n);
	if (l->cell.cell == CELL_GRU)
		T(gru_gates)(c, l, t, back, r);
	for (size_t b = 0; b < l->batch; b++) {
		size_t at;

		if (T(is_over)(l, b, t))
			continue;
		at = T(time_of)(l, b, t, back);
		T(step_one)
		(l, b, T(gates_of)(l, b, at), bias ? bias + 2 * l->n : NULL);
		if (l->y)
			memcpy(l->y + T(y_at)(l, at, d, b),
			       l->hidden + b * l->n, l->n * sizeof(REAL));
	}
}

static int T(run_direction)(struct op_call *c, struct T(layer) * l, size_t d,
			    struct err *e)
{
	bool back = l->reverse || d == 1;
	size_t bytes = l->n * sizeof(REAL);
	int rc = read_activations(c, l->cell.cell, d, &l->cell, e);

	T(times)
	(c, l->x, l->w + d * l->gates * l->n * l->width, l->gx,
	 l->steps * l->batch, l->gates * l->n, l->width);
	if (l->b)
		T(add_bias)(l, l->b + 2 * d * l->gates * l->n);
	l->cell.peephole = l->p ? l->p + d * 3 * l->n : NULL;
	for (size_t b = 0; b < l->batch && bytes > 0; b++) {
		size_t at = T(state_at)(l, d, b);

		memset(l->hidden + b * l->n, 0, bytes);
		memset(l->c + b * l->n, 0, bytes);
		if (l->h0)
			memcpy(l->hidden + b * l->n, l->h0 + at, bytes);
		if (l->c0)
			memcpy(l->c + b * l->n, l->c0 + at, bytes);
	}
	for (size_t t = 0; t < l->steps && rc == 0; t++) {
		T(run_step)(c, l, d, t, back);
		rc = op_check_stop(c, e);
	}
	for (size_t b = 0; b < l->batch && bytes > 0; b++) {
		size_t at = T(state_at)(l, d, b);

		if (l->yh)
			memcpy(l->yh + at, l->hidden + b * l->n, bytes);
		if (l->yc)
			memcpy(l->yc + at, l->c + b * l->n, bytes);
	}
	return rc;
}

static int T(eval_recurrent)(struct op_call *c, struct err *e)
{
	static const size_t gates[] = {1, 3, 4};
	struct T(layer) l = {
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
		rc = read_direction(c, &l.directions, &l.reverse, e);
	if (rc == 0)
		rc = T(read_inputs)(c, &l, e);
	if (rc == 0)
		rc = T(read_lengths)(c, &l, e);
	if (rc == 0)
		rc = T(get_scratch)(c, &l, e);
	if (rc == 0)
		rc = T(get_outputs)(c, &l, e);
	for (size_t d = 0; d < l.directions && rc == 0; d++)
		rc = T(run_direction)(c, &l, d, e);
	return rc;
}
