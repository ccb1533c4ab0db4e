/* SPDX-License-Identifier: MIT */
/* stack_infer - what If, Loop and Scan hand out, before anything has run. */
#include <stdlib.h>

#include "op/impl.h"
#include "op/stack.h"

/* Rounds after which the shapes of what is carried on must have settled. */
#define ROUNDS_MAX 4

static const struct tensor nothing = {.shape = {.rank = -1}};

/* What is known of t, if it is either of two. */
static void meet(struct tensor *t, const struct tensor *other)
{
	if (t->dtype != other->dtype)
		t->dtype = DTYPE_NONE;
	if (t->shape.rank != other->shape.rank)
		t->shape = shape_unknown();
	for (int32_t i = 0; i < t->shape.rank; i++)
		if (t->shape.dims[i] != other->shape.dims[i])
			t->shape.dims[i] = DIM_UNKNOWN;
}

static bool same_type(const struct tensor *a, const struct tensor *b)
{
	return a->dtype == b->dtype && shape_equal(&a->shape, &b->shape);
}

/* Like in, without its data. */
static struct tensor type_of(const struct tensor *in)
{
	return (struct tensor){.dtype = in->dtype, .shape = in->shape};
}

/* Nothing is known where the executor cannot tell. */
static int infer_body(struct op_call *c, const struct graph *g,
		      const struct tensor *in, size_t nin, struct tensor *out,
		      size_t nout, struct err *e)
{
	for (size_t i = 0; i < nout; i++)
		tensor_drop(&out[i]);
	for (size_t i = 0; i < nout; i++)
		out[i] = nothing;
	if (!g || !c->env || !c->env->infer_graph || g->ninputs != nin ||
	    g->noutputs != nout)
		return 0;
	return c->env->infer_graph(c->env, c, g, in, nin, out, nout, e);
}

/* ---- If ---- */

int infer_if(struct op_call *c, struct err *e)
{
	const struct graph *g[2] = {op_attr_graph(c, "else_branch"),
				    op_attr_graph(c, "then_branch")};
	struct tensor *t = stack_new_tensors(2 * c->nout);
	bool known = op_known(c, 0) && op_nelems(c, 0) == 1;
	int taken = known ? *(const uint8_t *)op_data(c, 0) != 0 : -1;
	int rc = t ? 0 : err_nomem(e, c->nout * sizeof(*t));

	for (int k = 0; k < 2 && rc == 0; k++)
		if (taken < 0 || taken == k)
			rc = infer_body(c, g[k], NULL, 0,
					t + (size_t)k * c->nout, c->nout, e);
	for (size_t i = 0; i < c->nout && rc == 0; i++) {
		struct tensor out = t[taken == 1 ? c->nout + i : i];

		if (taken < 0)
			meet(&out, &t[c->nout + i]);
		op_out(c, i, out.dtype, &out.shape);
	}
	stack_free_tensors(t, 2 * c->nout);
	return rc;
}

/* ---- what Loop and Scan share ---- */

/* A body: arguments, results; what of them is carried to the next round. */
struct round {
	const struct graph *body;
	struct tensor *args, *results;
	size_t nargs, nresults;
	size_t first_arg, first_result, nstate;
};

static int round_init(struct round *r, size_t nargs, size_t nresults,
		      struct err *e)
{
	r->nargs = nargs;
	r->nresults = nresults;
	r->args = stack_new_tensors(nargs);
	r->results = stack_new_tensors(nresults);
	for (size_t i = 0; r->args && i < nargs; i++)
		r->args[i] = nothing;
	return r->args && r->results ? 0 : err_nomem(e, nargs);
}

static void round_free(struct round *r)
{
	stack_free_tensors(r->args, r->nargs);
	stack_free_tensors(r->results, r->nresults);
}

/* Types that hold for the first round and for every later one. */
static int settle(struct op_call *c, struct round *r, struct err *e)
{
	bool changed = true;
	int rc = 0;

	for (int k = 0; changed && k <= ROUNDS_MAX; k++) {
		changed = false;
		rc = infer_body(c, r->body, r->args, r->nargs, r->results,
				r->nresults, e);
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < r->nstate; i++) {
			struct tensor *arg = &r->args[r->first_arg + i];
			struct tensor old = *arg;

			meet(arg, &r->results[r->first_result + i]);
			if (k + 1 >= ROUNDS_MAX && !same_type(arg, &old))
				arg->shape = shape_unknown();
			changed |= !same_type(arg, &old);
		}
	}
	return 0;
}

/* Output i is the results with number `result`, n of them along an axis. */
static int give_stacked(struct op_call *c, size_t i, const struct tensor *t,
			int64_t n, int64_t axis, struct err *e)
{
	struct shape s = t->shape;
	int32_t at;
	int rc;

	if (s.rank < 0 || s.rank >= SHAPE_RANK_MAX) {
		s = shape_unknown();
		op_out(c, i, t->dtype, &s);
		return 0;
	}
	rc = op_axis(c, axis, s.rank + 1, &at, e);
	if (rc < 0)
		return rc;
	for (int32_t d = s.rank; d > at; d--)
		s.dims[d] = s.dims[d - 1];
	s.dims[at] = n;
	s.rank++;
	op_out(c, i, t->dtype, &s);
	return 0;
}

/* ---- Loop ---- */

static int true_scalar(struct op_call *c, struct tensor *t, struct err *e)
{
	void *p;
	int rc = c->env->alloc(c->env, 1, &t->data, &p, e);

	if (rc == 0)
		*(uint8_t *)p = 1;
	return rc;
}

/* How often a body runs that never asks to stop; DIM_UNKNOWN otherwise. */
static int64_t count_rounds(struct op_call *c, const struct tensor *go_on)
{
	int64_t n;

	if (!op_has(c, 0) || !op_known(c, 0) || !go_on->data ||
	    go_on->dtype != DTYPE_BOOL || go_on->data->size != 1 ||
	    *(const uint8_t *)blob_bytes(go_on->data) == 0 ||
	    op_scalar_int(c, 0, 0, &n, NULL) < 0)
		return DIM_UNKNOWN;
	return n < 0 ? 0 : n;
}

static int loop_types(struct op_call *c, struct round *r, struct err *e)
{
	static const struct shape scalar = {.rank = 0};
	bool starts =
		!op_has(c, 1) || (op_known(c, 1) && op_nelems(c, 1) == 1 &&
				  *(const uint8_t *)op_data(c, 1) != 0);
	size_t nstate = c->nin > 2 ? c->nin - 2 : 0;
	int rc = 0;

	r->body = op_attr_graph(c, "body");
	r->first_arg = 2;
	r->first_result = 1;
	r->nstate = nstate < c->nout ? nstate : c->nout;
	r->args[0] = (struct tensor){.dtype = DTYPE_I64, .shape = scalar};
	r->args[1] = (struct tensor){.dtype = DTYPE_BOOL, .shape = scalar};
	if (starts && c->env && c->env->alloc)
		rc = true_scalar(c, &r->args[1], e);
	for (size_t i = 0; i < nstate; i++)
		r->args[2 + i] = type_of(&c->in[2 + i]);
	return rc < 0 ? rc : settle(c, r, e);
}

int infer_loop(struct op_call *c, struct err *e)
{
	size_t nstate = c->nin > 2 ? c->nin - 2 : 0;
	struct round r = {0};
	int64_t n;
	int rc = round_init(&r, 2 + nstate, 1 + c->nout, e);

	if (rc == 0)
		rc = loop_types(c, &r, e);
	if (rc < 0) {
		round_free(&r);
		return rc;
	}
	n = count_rounds(c, &r.results[0]);
	for (size_t i = 0; i < c->nout && rc == 0; i++) {
		if (i < r.nstate)
			op_out(c, i, r.args[2 + i].dtype, &r.args[2 + i].shape);
		else
			rc = give_stacked(c, i, &r.results[1 + i], n, 0, e);
	}
	round_free(&r);
	return rc;
}

/* ---- While of TensorFlow: all that goes in comes out ---- */

int infer_while(struct op_call *c, struct err *e)
{
	struct round r = {.body = op_attr_graph(c, "body")};
	int rc = round_init(&r, c->nin, c->nout, e);

	r.nstate = c->nin < c->nout ? c->nin : c->nout;
	for (size_t i = 0; rc == 0 && i < c->nin; i++)
		r.args[i] = type_of(&c->in[i]);
	if (rc == 0)
		rc = settle(c, &r, e);
	for (size_t i = 0; i < r.nstate && rc == 0; i++)
		op_out(c, i, r.args[i].dtype, &r.args[i].shape);
	round_free(&r);
	return rc;
}

/* ---- Scan ---- */

/* Drops axis `at` of a tensor's shape; its extent. */
static int64_t cut_axis(struct tensor *t, int32_t at)
{
	int64_t n = t->shape.dims[at];

	t->shape.rank--;
	for (int32_t d = at; d < t->shape.rank; d++)
		t->shape.dims[d] = t->shape.dims[d + 1];
	return n;
}

/* Argument i from input i + first; *n is how long it is, where known. */
static int scan_argument(struct op_call *c, struct round *r, size_t i,
			 bool has_batch, int64_t *n, struct err *e)
{
	struct tensor *t = &r->args[i];
	int64_t len;
	int32_t at;
	int rc;

	*t = type_of(&c->in[i + has_batch]);
	if (t->shape.rank < 0)
		return 0;
	if (has_batch && t->shape.rank < 1)
		return op_invalid(c, e, "input %zu has no batch", i);
	if (has_batch)
		cut_axis(t, 0);
	if (i < r->nstate)
		return 0;
	rc = op_axis(
		c,
		has_batch ? 0
			  : stack_pick(c, "scan_input_axes", i - r->nstate, 0),
		t->shape.rank, &at, e);
	if (rc < 0)
		return rc;
	len = cut_axis(t, at);
	*n = len >= 0 ? len : *n;
	return 0;
}

/* The batch of Scan-8 comes first in every output. */
static void add_batch(struct op_call *c, size_t i)
{
	struct shape s = c->out[i].shape;

	if (s.rank < 0 || s.rank == SHAPE_RANK_MAX)
		return;
	memmove(s.dims + 1, s.dims, (size_t)s.rank * sizeof(*s.dims));
	s.rank++;
	s.dims[0] =
		c->in[1].shape.rank > 0 ? c->in[1].shape.dims[0] : DIM_UNKNOWN;
	op_out(c, i, c->out[i].dtype, &s);
}

static int scan_outputs(struct op_call *c, struct round *r, bool has_batch,
			int64_t n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < c->nout && rc == 0; i++) {
		if (i < r->nstate)
			op_out(c, i, r->args[i].dtype, &r->args[i].shape);
		else
			rc = give_stacked(
				c, i, &r->results[i], n,
				has_batch ? 0
					  : stack_pick(c, "scan_output_axes",
						       i - r->nstate, 0),
				e);
		if (rc == 0 && has_batch)
			add_batch(c, i);
	}
	return rc;
}

int infer_scan(struct op_call *c, struct err *e)
{
	bool has_batch = c->op->since == 8;
	int64_t nscan = op_attr_int(c, "num_scan_inputs", 0);
	size_t nargs = c->nin - (c->nin > 0 && has_batch);
	struct round r = {.body = op_attr_graph(c, "body")};
	int64_t n = DIM_UNKNOWN;
	int rc;

	if (nscan < 1 || (uint64_t)nscan > nargs ||
	    nargs - (size_t)nscan > c->nout)
		return op_invalid(c, e, "no scanned input");
	r.nstate = nargs - (size_t)nscan;
	rc = round_init(&r, nargs, c->nout, e);
	for (size_t i = 0; i < nargs && rc == 0; i++)
		rc = scan_argument(c, &r, i, has_batch, &n, e);
	if (rc == 0)
		rc = settle(c, &r, e);
	if (rc == 0)
		rc = scan_outputs(c, &r, has_batch, n, e);
	round_free(&r);
	return rc;
}
