/* SPDX-License-Identifier: MIT */
/* infer_graph - types and shapes of what a subgraph hands out. */
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "run/engine.h"

/*
 * Bodies of bodies are looked at again and again, until their shapes settle;
 * deeper than this nothing is told ahead.
 */
#define DEPTH_MAX 4

struct frame {
	struct exec_env *env;
	const struct op_call *call; /* of the node that owns the subgraph */
	const struct graph *g;
	struct tensor *values; /* owned */
};

static struct tensor captured(const struct frame *f, const struct value *v)
{
	if (f->call->captures)
		return tensor_ref(&f->call->captures[v->capture]);
	return (struct tensor){.shape = shape_unknown()};
}

/* Everything that no node makes. */
static void fill(struct frame *f, const struct tensor *in, size_t nin)
{
	uint32_t i;

	for (i = 0; i < f->g->nvalues; i++) {
		const struct value *v = &f->g->values[i];

		f->values[i].shape = shape_unknown();
		if (v->param)
			f->values[i] =
				infer_param(f->env->en, f->env->prog, v->param);
		else if (v->captured != NO_VALUE)
			f->values[i] = captured(f, v);
	}
	for (i = 0; i < f->g->ninputs && i < nin; i++) {
		struct tensor *t = &f->values[f->g->inputs[i]];

		tensor_drop(t);
		*t = tensor_ref(&in[i]);
	}
}

/* Borrowed copies of what a node needs: n of it, from number `first`. */
static struct tensor *borrow(const struct frame *f, const struct node *node,
			     uint32_t first, uint32_t n)
{
	struct tensor *t = calloc((size_t)n + 1, sizeof(*t));
	uint32_t k;

	for (k = 0; t && k < n; k++) {
		value_id v = node_needs(node, first + k);

		if (v != NO_VALUE)
			t[k] = f->values[v];
	}
	return t;
}

static int update(struct frame *f, const struct op *op, const struct node *n,
		  struct err *e)
{
	struct tensor *in = borrow(f, n, 0, n->nin);
	struct tensor *captures = borrow(f, n, n->nin, n->ncaptures);
	struct tensor *out = calloc((size_t)n->nout + 1, sizeof(*out));
	int rc = in && captures && out ? 0 : err_nomem(e, n->nin);
	uint32_t k;

	for (k = 0; rc == 0 && k < n->nout; k++)
		out[k].shape = shape_unknown();
	if (rc == 0)
		infer_node(f->env, op, n, in, captures, out);
	for (k = 0; rc == 0 && k < n->nout; k++) {
		value_id v = n->out[k];

		if (v == NO_VALUE || f->g->values[v].param) {
			tensor_drop(&out[k]);
			continue;
		}
		/* Declared shapes of a body often hold for one round only. */
		if (out[k].dtype == DTYPE_NONE)
			out[k].dtype = f->g->values[v].dtype;
		f->values[v] = out[k];
	}
	free(in);
	free(captures);
	free(out);
	return rc;
}

static int infer_all(struct frame *f, const struct subplan *plan, struct err *e)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < f->g->nnodes; i++)
		if (plan->needed[i] && plan->ops[i])
			rc = update(f, plan->ops[i], &f->g->nodes[i], e);
	return rc;
}

int infer_graph(struct op_env *base, const struct op_call *c,
		const struct graph *g, const struct tensor *in, size_t nin,
		struct tensor *out, size_t nout, struct err *e)
{
	struct exec_env *env = (struct exec_env *)base;
	struct frame f = {.env = env, .call = c, .g = g};
	const struct subplan *plan;
	uint32_t i;
	int rc;

	for (i = 0; i < nout; i++)
		out[i] = (struct tensor){.shape = shape_unknown()};
	if (env->depth == DEPTH_MAX)
		return 0;
	rc = program_subplan(env->en, env->prog, g, &plan, e);
	if (rc < 0)
		return rc;
	f.values = calloc((size_t)g->nvalues + 1, sizeof(*f.values));
	if (!f.values)
		return err_nomem(e, g->nvalues * sizeof(*f.values));
	env->depth++;
	fill(&f, in, nin);
	rc = infer_all(&f, plan, e);
	env->depth--;
	for (i = 0; rc == 0 && i < g->noutputs && i < nout; i++)
		out[i] = tensor_ref(&f.values[g->outputs[i]]);
	for (i = 0; i < g->nvalues; i++)
		tensor_drop(&f.values[i]);
	free(f.values);
	return rc;
}
