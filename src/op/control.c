/* SPDX-License-Identifier: MIT */
/* control - If and Loop: nodes that run graphs of their own. */
#include <stdlib.h>

#include "op/impl.h"
#include "op/stack.h"

/* Steps of one Loop. */
#define STEPS_MAX ((int64_t)1 << 31)

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
	int rc = subgraph_truth(c, &c->in[0], &yes, e);

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
	int rc = subgraph_truth(c, &c->in[0], &yes, e);

	if (rc < 0)
		return rc;
	g = branch(c, yes);
	if (!g)
		return op_invalid(c, e, "no branch");
	out = stack_new_tensors(c->nout);
	if (!out)
		return err_nomem(e, c->nout * sizeof(*out));
	rc = subgraph_run(c, g, NULL, 0, out, c->nout, e);
	for (size_t i = 0; i < c->nout && rc == 0; i++)
		rc = op_give(c, i, &out[i], e);
	stack_free_tensors(out, c->nout);
	return rc;
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
	stack_free_tensors(l->args, 2 + l->nstate);
	stack_free_tensors(l->results, 1 + l->nstate + l->nscan);
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
	l->args = stack_new_tensors(2 + l->nstate);
	l->results = stack_new_tensors(1 + l->nstate + l->nscan);
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
		rc = subgraph_run(c, l->body, l->args, 2 + l->nstate,
				  l->results, 1 + l->nstate + l->nscan, e);
	if (rc == 0)
		rc = subgraph_truth(c, &l->results[0], go_on, e);
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
		struct tensor like =
			subgraph_declared(c, l->body, 1 + l->nstate + i);

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
		rc = subgraph_truth(c, &c->in[1], &go_on, e);
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

const struct op ops_control[] = {
	{ONNX, "If", 1, 1, 1, 1, OP_VARIADIC, 0, 0, infer_if, eval_if,
	 if_branches},
	{ONNX, "Loop", 1, 0, OP_VARIADIC, 0, OP_VARIADIC, 0, 0, infer_loop,
	 eval_loop},
	{0},
};
