/* SPDX-License-Identifier: MIT */
/* scan - Scan: a body run for every element of its inputs along an axis. */
#include <stdlib.h>

#include "kernel/copy.h"
#include "op/impl.h"
#include "op/stack.h"

struct scan {
	const struct graph *body;
	size_t nstate, nin, nout; /* scanned inputs and outputs */
	size_t first;		  /* input where the state begins */
	int64_t length;
	struct tensor *args, *results;
	struct stack *outs;
};

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
	return op_axis(c, stack_pick(c, "scan_input_axes", i, 0),
		       in->shape.rank, axis, e);
}

static int scan_step(struct op_call *c, struct scan *s, const struct tensor *in,
		     int64_t step, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->nin && rc == 0; i++) {
		bool back =
			stack_pick(c,
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
		rc = subgraph_run(c, s->body, s->args, s->nstate + s->nin,
				  s->results, s->nstate + s->nout, e);
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
	s->args = stack_new_tensors(s->nstate + s->nin);
	s->results = stack_new_tensors(s->nstate + s->nout);
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
	stack_free_tensors(s->args, s->nstate + s->nin);
	stack_free_tensors(s->results, s->nstate + s->nout);
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
		struct tensor like = subgraph_declared(c, s.body, s.nstate + i);

		rc = stack_give(
			c, s.nstate + i, &s.outs[i], &like,
			stack_pick(c, "scan_output_axes", i, 0),
			stack_pick(c, "scan_output_directions", i, 0) != 0, e);
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
	struct tensor *made = stack_new_tensors(c->nout);
	int rc = 0;

	if (!made)
		return err_nomem(e, c->nout * sizeof(*made));
	inner.out = made;
	for (size_t i = 0; i < s->nstate; i++)
		out[i] = tensor_ref(&s->args[i]);
	for (size_t i = 0; i < s->nout && rc == 0; i++) {
		struct tensor like =
			subgraph_declared(c, s->body, s->nstate + i);
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
		in = stack_new_tensors(c->nin);
		rc = in ? 0 : err_nomem(e, c->nin * sizeof(*in));
	}
	for (size_t i = 1; i < c->nin && rc == 0; i++)
		rc = slice_at(c, &c->in[i], 0, b, &in[i - 1], e);
	if (rc == 0)
		rc = scan_run(c, &s, in, e);
	if (rc == 0)
		rc = scan8_collect(c, &s, out, e);
	stack_free_tensors(in, c->nin);
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
	stack_free_tensors(all, (size_t)nbatch * c->nout);
	return rc;
}

const struct op ops_scan[] = {
	{ONNX, "Scan", 8, 0, OP_VARIADIC, 1, OP_VARIADIC, 0, 8, infer_scan,
	 eval_scan8},
	{ONNX, "Scan", 9, 1, OP_VARIADIC, 1, OP_VARIADIC, 0, 9, infer_scan,
	 eval_scan},
	{0},
};
