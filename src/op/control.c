/* SPDX-License-Identifier: MIT */
/* control - If, Loop, Scan: nodes that run graphs of their own. */
#include "kernel/copy.h"

#include <stdlib.h>

#include "op/impl.h"

/* Steps of one Loop or Scan. */
#define STEPS_MAX ((int64_t)1 << 31)

/* One tensor, owned, for each of n; NULL when out of memory. */
static struct tensor *new_tensors(size_t n)
{
	return calloc(n + 1, sizeof(struct tensor));
}

static void free_tensors(struct tensor *t, size_t n)
{
	for (size_t i = 0; t && i < n; i++)
		tensor_drop(&t[i]);
	free(t);
}

static int run(struct op_call *c, const struct graph *g,
	       const struct tensor *in, size_t nin, struct tensor *out,
	       size_t nout, struct err *e)
{
	if (!c->env->run_graph)
		return op_unsupported(c, e, "subgraphs");
	if (g->ninputs != nin || g->noutputs != nout)
		return op_invalid(c, e, "a body with %u inputs, %u outputs",
				  g->ninputs, g->noutputs);
	return c->env->run_graph(c->env, c, g, in, nin, out, nout, e);
}

/* A 0-D tensor in memory, owned. */
static int scalar(struct op_call *c, enum dtype t, const void *v,
		  struct tensor *out, struct err *e)
{
	void *data;
	int rc = c->env->alloc(c->env, dtype_size(t), &out->data, &data, e);

	if (rc < 0)
		return rc;
	out->dtype = t;
	out->shape = shape_of(0, NULL);
	memcpy(data, v, dtype_size(t));
	return 0;
}

static int truth(struct op_call *c, const struct tensor *t, bool *out,
		 struct err *e)
{
	uint64_t n;
	const uint8_t *p = t->data ? blob_bytes(t->data) : NULL;

	if (t->dtype != DTYPE_BOOL || !p || !shape_nelems(&t->shape, &n) ||
	    n != 1)
		return op_invalid(c, e, "a condition that is no boolean");
	*out = *p != 0;
	return 0;
}

/* ---- If ---- */
static const struct graph *branch(const struct op_call *c, bool yes)
{
	return op_attr_graph(c, yes ? "then_branch" : "else_branch");
}

static int if_branches(struct op_call *c, uint64_t *mask, struct err *e)
{
	const struct graph *taken;
	unsigned k = 0;
	bool yes;
	int rc = truth(c, &c->in[0], &yes, e);

	if (rc < 0)
		return rc;
	taken = branch(c, yes);
	*mask = 0;
	for (uint32_t i = 0; i < c->node->nattrs; i++) {
		const struct attr *a = &c->node->attrs[i];

		if (a->kind != ATTR_GRAPH)
			continue;
		if (a->g == taken && k < 64)
			*mask |= (uint64_t)1 << k;
		k++;
	}
	return 0;
}

static int eval_if(struct op_call *c, struct err *e)
{
	const struct graph *g;
	struct tensor *out;
	bool yes;
	int rc = truth(c, &c->in[0], &yes, e);

	if (rc < 0)
		return rc;
	g = branch(c, yes);
	if (!g)
		return op_invalid(c, e, "no branch");
	out = new_tensors(c->nout);
	if (!out)
		return err_nomem(e, c->nout * sizeof(*out));
	rc = run(c, g, NULL, 0, out, c->nout, e);
	for (size_t i = 0; i < c->nout && rc == 0; i++)
		rc = op_give(c, i, &out[i], e);
	free_tensors(out, c->nout);
	return rc;
}

/* ---- tensors stacked along an axis ---- */
/* A growing list of equal parts. */
struct stack {
	struct tensor *parts;
	size_t n, cap;
};

static int stack_push(struct stack *s, const struct tensor *t, struct err *e)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 16;
		struct tensor *p = realloc(s->parts, cap * sizeof(*p));

		if (!p)
			return err_nomem(e, cap * sizeof(*p));
		s->parts = p;
		s->cap = cap;
	}
	s->parts[s->n++] = tensor_ref(t);
	return 0;
}

static void stack_free(struct stack *s)
{
	free_tensors(s->parts, s->n);
}

/* Shape of n parts behind each other on a new axis. */
static int stack_shape(struct op_call *c, const struct shape *part, size_t n,
		       int64_t axis, struct shape *out, struct err *e)
{
	int32_t at;
	int rc;

	if (part->rank >= SHAPE_RANK_MAX)
		return op_unsupported(c, e, "the rank");
	rc = op_axis(c, axis, part->rank + 1, &at, e);
	if (rc < 0)
		return rc;
	out->rank = part->rank + 1;
	for (int32_t i = 0; i < out->rank; i++)
		out->dims[i] = i < at	 ? part->dims[i]
			       : i == at ? (int64_t)n
					 : part->dims[i - 1];
	return 0;
}

/* Elements of a tensor that is no input, as op_elems gives them. */
static int elems_of(struct op_call *c, const struct tensor *t, const void **out,
		    size_t *size, struct err *e)
{
	struct op_call one = *c;
	int rc;

	one.in = t;
	one.nin = 1;
	rc = op_elems(&one, 0, out, size, e);
	c->scratch = one.scratch;
	return rc;
}

/* Output i: the parts, in order or from the last to the first. */
static int stack_give(struct op_call *c, size_t i, const struct stack *s,
		      const struct tensor *like, int64_t axis, bool reverse,
		      struct err *e)
{
	const struct tensor *first = s->n ? &s->parts[0] : like;
	struct copy_plan p = {.rank = 2};
	size_t outer, inner;
	struct shape shape;
	int32_t at;
	void *out;
	int rc = stack_shape(c, &first->shape, s->n, axis, &shape, e);

	if (rc == 0)
		rc = op_axis(c, axis, shape.rank, &at, e);
	if (rc == 0)
		rc = op_alloc_elems(c, i, first->dtype, &shape, &out, e);
	if (rc < 0)
		return rc;
	outer = shape_span(&shape, 0, at);
	inner = shape_span(&shape, at + 1, shape.rank);
	for (size_t k = 0; k < s->n; k++) {
		const struct tensor *t = &s->parts[reverse ? s->n - 1 - k : k];
		const void *in;

		if (!shape_equal(&t->shape, &first->shape) ||
		    t->dtype != first->dtype)
			return op_invalid(c, e, "results differ in shape");
		rc = elems_of(c, t, &in, &p.size, e);
		if (rc < 0)
			return rc;
		p.dims[0] = outer;
		p.dims[1] = inner;
		p.from[0] = (ptrdiff_t)inner;
		p.to[0] = (ptrdiff_t)(inner * s->n);
		p.from[1] = p.to[1] = 1;
		copy_strided(&c->env->kernel, &p, in,
			     (char *)out + k * inner * p.size);
	}
	return 0;
}

/* What an empty stack would hold: extents as the body declares them. */
static struct tensor declared(const struct graph *g, size_t output)
{
	const struct value *v = &g->values[g->outputs[output]];
	struct tensor t = {.dtype = v->dtype, .shape = shape_of(0, NULL)};

	if (v->type && v->type->shape.rank >= 0)
		t.shape = v->type->shape;
	for (int32_t i = 0; i < t.shape.rank; i++) {
		if (t.shape.dims[i] < 0)
			t.shape.dims[i] = 0;
	}
	return t;
}

/* ---- Loop ---- */
struct loop {
	const struct graph *body;
	size_t nstate, nscan;
	struct tensor *args; /* iteration, condition, state */
	struct tensor *results;
	struct stack *scans;
};

static void loop_free(struct loop *l)
{
	free_tensors(l->args, 2 + l->nstate);
	free_tensors(l->results, 1 + l->nstate + l->nscan);
	for (size_t i = 0; l->scans && i < l->nscan; i++)
		stack_free(&l->scans[i]);
	free(l->scans);
}

static int loop_init(struct op_call *c, struct loop *l, struct err *e)
{
	l->body = op_attr_graph(c, "body");
	if (!l->body)
		return op_invalid(c, e, "no body");
	l->nstate = c->nin > 2 ? c->nin - 2 : 0;
	if (c->nout < l->nstate || l->body->noutputs != 1 + c->nout ||
	    l->body->ninputs != 2 + l->nstate)
		return op_invalid(c, e, "a body with %u inputs, %u outputs",
				  l->body->ninputs, l->body->noutputs);
	l->nscan = c->nout - l->nstate;
	l->args = new_tensors(2 + l->nstate);
	l->results = new_tensors(1 + l->nstate + l->nscan);
	l->scans = calloc(l->nscan + 1, sizeof(*l->scans));
	if (!l->args || !l->results || !l->scans)
		return err_nomem(e, sizeof(*l->args));
	for (size_t i = 0; i < l->nstate; i++) {
		if (!op_has(c, i + 2))
			return op_invalid(c, e, "input %zu is left out", i + 2);
		l->args[2 + i] = tensor_ref(&c->in[2 + i]);
	}
	return 0;
}

/* Exporters declare the counter or the condition as [1] at times. */
static void take_declared_rank(const struct graph *body, size_t input,
			       struct tensor *t)
{
	const struct value *v = &body->values[body->inputs[input]];

	if (v->type && v->type->shape.rank == 1)
		t->shape = shape_of(1, (const int64_t[]){1});
}

/* One round; the results become the next round's arguments. */
static int loop_step(struct op_call *c, struct loop *l, int64_t i, bool *go_on,
		     struct err *e)
{
	uint8_t cond = *go_on;
	int rc;

	tensor_drop(&l->args[0]);
	tensor_drop(&l->args[1]);
	rc = scalar(c, DTYPE_I64, &i, &l->args[0], e);
	if (rc == 0)
		rc = scalar(c, DTYPE_BOOL, &cond, &l->args[1], e);
	take_declared_rank(l->body, 0, &l->args[0]);
	take_declared_rank(l->body, 1, &l->args[1]);
	if (rc == 0)
		rc = run(c, l->body, l->args, 2 + l->nstate, l->results,
			 1 + l->nstate + l->nscan, e);
	if (rc == 0)
		rc = truth(c, &l->results[0], go_on, e);
	if (rc < 0)
		return rc;
	tensor_drop(&l->results[0]);
	for (size_t k = 0; k < l->nstate; k++) {
		tensor_drop(&l->args[2 + k]);
		l->args[2 + k] = l->results[1 + k];
		memset(&l->results[1 + k], 0, sizeof(struct tensor));
	}
	for (size_t k = 0; k < l->nscan && rc == 0; k++) {
		struct tensor *t = &l->results[1 + l->nstate + k];

		rc = stack_push(&l->scans[k], t, e);
		tensor_drop(t);
	}
	return rc;
}

static int loop_results(struct op_call *c, struct loop *l, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < l->nstate && rc == 0; i++)
		rc = op_give(c, i, &l->args[2 + i], e);
	for (size_t i = 0; i < l->nscan && rc == 0; i++) {
		struct tensor like = declared(l->body, 1 + l->nstate + i);

		rc = stack_give(c, l->nstate + i, &l->scans[i], &like, 0, false,
				e);
	}
	return rc;
}

static int eval_loop(struct op_call *c, struct err *e)
{
	struct loop l = {0};
	int64_t trips = INT64_MAX;
	bool go_on = true;
	int rc = op_scalar_int(c, 0, INT64_MAX, &trips, e);

	if (rc == 0 && op_has(c, 1))
		rc = truth(c, &c->in[1], &go_on, e);
	if (rc == 0)
		rc = loop_init(c, &l, e);
	for (int64_t i = 0; rc == 0 && go_on && i < trips; i++) {
		if (i >= STEPS_MAX)
			rc = err_set(e, EFBIG, "node %s: too many steps",
				     c->node->name);
		if (rc == 0)
			rc = op_check_stop(c, e);
		if (rc == 0)
			rc = loop_step(c, &l, i, &go_on, e);
	}
	if (rc == 0)
		rc = loop_results(c, &l, e);
	loop_free(&l);
	return rc;
}

/* ---- Scan ---- */
struct scan {
	const struct graph *body;
	size_t nstate, nin, nout; /* scanned inputs and outputs */
	size_t first;		  /* input where the state begins */
	int64_t length;
	struct tensor *args, *results;
	struct stack *outs;
};

static int64_t pick(const struct op_call *c, const char *name, size_t i,
		    int64_t def)
{
	const int64_t *v;
	size_t n;

	return op_attr_ints(c, name, &v, &n) && i < n ? v[i] : def;
}

/* Element `at` of a tensor along an axis, owned. */
static int slice_at(struct op_call *c, const struct tensor *t, int32_t axis,
		    int64_t at, struct tensor *out, struct err *e)
{
	size_t size = dtype_size(t->dtype);
	size_t outer = shape_span(&t->shape, 0, axis);
	size_t inner = shape_span(&t->shape, axis + 1, t->shape.rank);
	size_t dim = (size_t)t->shape.dims[axis];
	struct copy_plan p = {.rank = 2,
			      .size = size,
			      .dims = {outer, inner},
			      .from = {(ptrdiff_t)(dim * inner), 1},
			      .to = {(ptrdiff_t)inner, 1}};
	void *data;
	int rc;

	if (size == 0)
		return op_unsupported(c, e, "elements of this type");
	rc = c->env->alloc(c->env, outer * inner * size, &out->data, &data, e);
	if (rc < 0)
		return rc;
	out->dtype = t->dtype;
	out->shape = t->shape;
	out->shape.rank--;
	for (int32_t i = axis; i < out->shape.rank; i++)
		out->shape.dims[i] = t->shape.dims[i + 1];
	copy_strided(&c->env->kernel, &p,
		     (const char *)blob_bytes(t->data) +
			     (size_t)at * inner * size,
		     data);
	return 0;
}

static int scan_axis(struct op_call *c, const struct scan *s,
		     const struct tensor *in, size_t i, int32_t *axis,
		     struct err *e)
{
	(void)s;
	return op_axis(c, pick(c, "scan_input_axes", i, 0), in->shape.rank,
		       axis, e);
}

static int scan_step(struct op_call *c, struct scan *s, const struct tensor *in,
		     int64_t step, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->nin && rc == 0; i++) {
		bool back = pick(c,
				 c->op->arg == 8 ? "directions"
						 : "scan_input_directions",
				 i, 0) != 0;
		int32_t axis;

		rc = scan_axis(c, s, &in[s->nstate + i], i, &axis, e);
		tensor_drop(&s->args[s->nstate + i]);
		if (rc == 0)
			rc = slice_at(c, &in[s->nstate + i], axis,
				      back ? s->length - 1 - step : step,
				      &s->args[s->nstate + i], e);
	}
	if (rc == 0)
		rc = run(c, s->body, s->args, s->nstate + s->nin, s->results,
			 s->nstate + s->nout, e);
	for (size_t i = 0; i < s->nstate && rc == 0; i++) {
		tensor_drop(&s->args[i]);
		s->args[i] = s->results[i];
		memset(&s->results[i], 0, sizeof(s->results[i]));
	}
	for (size_t i = 0; i < s->nout && rc == 0; i++) {
		rc = stack_push(&s->outs[i], &s->results[s->nstate + i], e);
		tensor_drop(&s->results[s->nstate + i]);
	}
	return rc;
}

static int scan_init(struct op_call *c, struct scan *s, struct err *e)
{
	int64_t n = op_attr_int(c, "num_scan_inputs", 0);

	s->first = c->op->arg == 8 ? 1 : 0;
	s->body = op_attr_graph(c, "body");
	if (!s->body || n < 1 || (uint64_t)n > c->nin - s->first)
		return op_invalid(c, e, "no body or no scanned input");
	s->nin = (size_t)n;
	s->nstate = c->nin - s->first - s->nin;
	if (c->nout < s->nstate || s->body->noutputs != c->nout)
		return op_invalid(c, e, "a body with %u outputs",
				  s->body->noutputs);
	s->nout = c->nout - s->nstate;
	s->args = new_tensors(s->nstate + s->nin);
	s->results = new_tensors(s->nstate + s->nout);
	s->outs = calloc(s->nout + 1, sizeof(*s->outs));
	if (!s->args || !s->results || !s->outs)
		return err_nomem(e, sizeof(*s->args));
	for (size_t i = s->first; i < c->nin; i++) {
		if (!op_has(c, i) || c->in[i].shape.rank < 0)
			return op_invalid(c, e, "input %zu is left out", i);
	}
	return 0;
}

static void scan_free(struct scan *s)
{
	free_tensors(s->args, s->nstate + s->nin);
	free_tensors(s->results, s->nstate + s->nout);
	for (size_t i = 0; s->outs && i < s->nout; i++)
		stack_free(&s->outs[i]);
	free(s->outs);
}

/* All steps from these states and scanned tensors. */
static int scan_run(struct op_call *c, struct scan *s, const struct tensor *in,
		    struct err *e)
{
	int rc = 0;

	s->length = -1;
	for (size_t i = 0; i < s->nin && rc == 0; i++) {
		const struct tensor *t = &in[s->nstate + i];
		int32_t axis;

		rc = scan_axis(c, s, t, i, &axis, e);
		if (rc == 0 && s->length >= 0 &&
		    t->shape.dims[axis] != s->length)
			rc = op_invalid(c, e, "sequences differ in length");
		if (rc == 0)
			s->length = t->shape.dims[axis];
	}
	for (size_t i = 0; i < s->nstate && rc == 0; i++) {
		tensor_drop(&s->args[i]);
		s->args[i] = tensor_ref(&in[i]);
	}
	for (int64_t step = 0; rc == 0 && step < s->length; step++) {
		rc = op_check_stop(c, e);
		if (rc == 0)
			rc = scan_step(c, s, in, step, e);
	}
	return rc;
}

static int eval_scan(struct op_call *c, struct err *e)
{
	struct scan s = {0};
	int rc = scan_init(c, &s, e);

	if (rc == 0)
		rc = scan_run(c, &s, c->in, e);
	for (size_t i = 0; i < s.nstate && rc == 0; i++)
		rc = op_give(c, i, &s.args[i], e);
	for (size_t i = 0; i < s.nout && rc == 0; i++) {
		struct tensor like = declared(s.body, s.nstate + i);

		rc = stack_give(c, s.nstate + i, &s.outs[i], &like,
				pick(c, "scan_output_axes", i, 0),
				pick(c, "scan_output_directions", i, 0) != 0,
				e);
	}
	scan_free(&s);
	return rc;
}

/* ---- Scan of opset 8: a batch of sequences of the same length ---- */
/* Output i of every batch, in order: all[b * nout + i]. */
static int scan8_give(struct op_call *c, struct tensor *all, size_t nbatch,
		      size_t i, struct err *e)
{
	struct stack s = {0};
	int rc = 0;

	for (size_t b = 0; b < nbatch && rc == 0; b++)
		rc = stack_push(&s, &all[b * c->nout + i], e);
	if (rc == 0)
		rc = stack_give(c, i, &s, &c->in[1], 0, false, e);
	stack_free(&s);
	return rc;
}

/* The scanned outputs of one batch as tensors of their own. */
static int scan8_collect(struct op_call *c, struct scan *s, struct tensor *out,
			 struct err *e)
{
	struct op_call inner = *c;
	struct tensor *made = new_tensors(c->nout);
	int rc = 0;

	if (!made)
		return err_nomem(e, c->nout * sizeof(*made));
	inner.out = made;
	for (size_t i = 0; i < s->nstate; i++)
		out[i] = tensor_ref(&s->args[i]);
	for (size_t i = 0; i < s->nout && rc == 0; i++) {
		struct tensor like = declared(s->body, s->nstate + i);
		size_t o = s->nstate + i;

		if (dtype_size(s->outs[i].n ? s->outs[i].parts[0].dtype
					    : like.dtype) == 0)
			rc = op_unsupported(c, e, "elements of this type");
		if (rc == 0)
			rc = stack_give(&inner, o, &s->outs[i], &like, 0, false,
					e);
		out[o] = made[o];
	}
	c->scratch = inner.scratch;
	free(made);
	return rc;
}

static int scan8_batch(struct op_call *c, int64_t b, struct tensor *out,
		       struct err *e)
{
	struct scan s = {0};
	struct tensor *in = NULL;
	int rc = scan_init(c, &s, e);

	if (rc == 0) {
		in = new_tensors(c->nin);
		rc = in ? 0 : err_nomem(e, c->nin * sizeof(*in));
	}
	for (size_t i = 1; i < c->nin && rc == 0; i++)
		rc = slice_at(c, &c->in[i], 0, b, &in[i - 1], e);
	if (rc == 0)
		rc = scan_run(c, &s, in, e);
	if (rc == 0)
		rc = scan8_collect(c, &s, out, e);
	free_tensors(in, c->nin);
	scan_free(&s);
	return rc;
}

static int eval_scan8(struct op_call *c, struct err *e)
{
	struct tensor *all;
	int64_t nbatch;
	int rc = 0;

	if (op_has(c, 0))
		return op_unsupported(c, e, "sequence_lens");
	if (c->nin < 2)
		return op_invalid(c, e, "no inputs");
	for (size_t i = 1; i < c->nin; i++) {
		if (!op_has(c, i) || c->in[i].shape.rank < 1 ||
		    c->in[i].shape.dims[0] != c->in[1].shape.dims[0])
			return op_invalid(c, e, "input %zu has no batch", i);
	}
	nbatch = c->in[1].shape.dims[0];
	all = calloc((size_t)nbatch + 1, c->nout * sizeof(*all));
	if (!all)
		return err_nomem(e, c->nout * sizeof(*all));
	for (int64_t b = 0; b < nbatch && rc == 0; b++)
		rc = scan8_batch(c, b, all + (size_t)b * c->nout, e);
	for (size_t i = 0; i < c->nout && rc == 0; i++)
		rc = scan8_give(c, all, (size_t)nbatch, i, e);
	free_tensors(all, (size_t)nbatch * c->nout);
	return rc;
}

const struct op ops_control[] = {
	{ONNX, "If", 1, 1, 1, 1, OP_VARIADIC, 0, 0, NULL, eval_if, if_branches},
	{ONNX, "Loop", 1, 0, OP_VARIADIC, 0, OP_VARIADIC, 0, 0, NULL,
	 eval_loop},
	{ONNX, "Scan", 8, 0, OP_VARIADIC, 1, OP_VARIADIC, 0, 8, NULL,
	 eval_scan8},
	{ONNX, "Scan", 9, 1, OP_VARIADIC, 1, OP_VARIADIC, 0, 9, NULL,
	 eval_scan},
	{0},
};
