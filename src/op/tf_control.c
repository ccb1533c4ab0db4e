/* SPDX-License-Identifier: MIT */
/*
 * tf_control - While and Case of TensorFlow (functional_ops.cc), whose
 * functions are subgraphs: `cond` and `body`, or `branches`.
 */
#include <stdlib.h>

#include "op/impl.h"
#include "op/stack.h"

/* Rounds of one While. */
#define ROUNDS_MAX ((int64_t)1 << 31)

/* ---- While: cond(state) → bool, body(state) → state ---- */

struct rounds {
	const struct graph *cond, *body;
	struct tensor *state, *next; /* owned */
};

static int while_init(struct op_call *c, struct rounds *r, struct err *e)
{
	r->cond = op_attr_graph(c, "cond");
	r->body = op_attr_graph(c, "body");
	/* A function that is nowhere, or is being read just now. */
	if (!r->cond || !r->body || c->nout != c->nin)
		return op_unsupported(
			c, e, "a loop is not supported without its functions");
	r->state = stack_new_tensors(c->nin);
	r->next = stack_new_tensors(c->nin);
	if (!r->state || !r->next)
		return err_nomem(e, c->nin * sizeof(*r->state));
	for (size_t i = 0; i < c->nin; i++)
		r->state[i] = tensor_ref(&c->in[i]);
	return 0;
}

static int goes_on(struct op_call *c, const struct rounds *r, bool *out,
		   struct err *e)
{
	struct tensor t = {0};
	int rc = subgraph_run(c, r->cond, r->state, c->nin, &t, 1, e);

	if (rc == 0)
		rc = subgraph_truth(c, &t, out, e);
	tensor_drop(&t);
	return rc;
}

static int one_round(struct op_call *c, struct rounds *r, struct err *e)
{
	int rc = subgraph_run(c, r->body, r->state, c->nin, r->next, c->nin, e);

	for (size_t i = 0; rc == 0 && i < c->nin; i++) {
		tensor_drop(&r->state[i]);
		r->state[i] = r->next[i];
		memset(&r->next[i], 0, sizeof(r->next[i]));
	}
	return rc;
}

static int eval_while(struct op_call *c, struct err *e)
{
	struct rounds r = {0};
	bool go_on = false;
	int rc = while_init(c, &r, e);

	if (rc == 0)
		rc = goes_on(c, &r, &go_on, e);
	for (int64_t i = 0; rc == 0 && go_on; i++) {
		if (i >= ROUNDS_MAX)
			rc = err_set(e, EFBIG, "node %s: too many rounds",
				     c->node->name);
		if (rc == 0)
			rc = op_check_stop(c, e);
		if (rc == 0)
			rc = one_round(c, &r, e);
		if (rc == 0)
			rc = goes_on(c, &r, &go_on, e);
	}
	for (size_t i = 0; rc == 0 && i < c->nout; i++)
		rc = op_give(c, i, &r.state[i], e);
	stack_free_tensors(r.state, c->nin);
	stack_free_tensors(r.next, c->nin);
	return rc;
}

/* ---- Case: the branch with this number, or else the last ---- */

static int choose(struct op_call *c, const struct attr **branches, size_t *out,
		  struct err *e)
{
	const struct attr *a = node_attr(c->node, "branches");
	int64_t i;
	int rc = op_scalar_int(c, 0, 0, &i, e);

	if (rc < 0)
		return rc;
	if (!a || a->kind != ATTR_GRAPHS || a->n == 0)
		return op_invalid(c, e, "no branches");
	*branches = a;
	*out = i < 0 || (uint64_t)i >= a->n ? a->n - 1 : (size_t)i;
	return 0;
}

static int case_branches(struct op_call *c, uint64_t *mask, struct err *e)
{
	const struct attr *a;
	size_t taken;
	int rc = choose(c, &a, &taken, e);

	if (rc == 0)
		*mask = (uint64_t)1 << taken % 64;
	return rc;
}

static int eval_case(struct op_call *c, struct err *e)
{
	struct tensor *out = stack_new_tensors(c->nout);
	const struct attr *a;
	size_t taken;
	int rc = out ? choose(c, &a, &taken, e)
		     : err_nomem(e, c->nout * sizeof(*out));

	if (rc == 0)
		rc = subgraph_run(c, a->graphs[taken], NULL, 0, out, c->nout,
				  e);
	for (size_t i = 0; rc == 0 && i < c->nout; i++)
		rc = op_give(c, i, &out[i], e);
	stack_free_tensors(out, c->nout);
	return rc;
}

const struct op ops_tf_control[] = {
	{TF, "Case", 1, 1, 1, 0, OP_VARIADIC, 0, 0, NULL, eval_case,
	 case_branches},
	{TF, "While", 1, 0, OP_VARIADIC, 0, OP_VARIADIC, 0, 0, infer_while,
	 eval_while},
	{0},
};
