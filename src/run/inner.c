/* SPDX-License-Identifier: MIT */
/*
 * inner - values inside If, Loop and Scan.  Nobody keeps them while a model
 * runs; to have one, its node is computed again and what its graphs computed
 * last (the last round of a Loop, the branch that was taken) is kept.
 */
#include <errno.h>
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "run/engine.h"

static struct cached *slot_of(const struct run *r, value_id id)
{
	return r->inner ? &r->inner[id - r->g->nvalues] : NULL;
}

static node_id owner_of(const struct run *r, value_id id)
{
	value_id own;

	return graph_locate(r->g, id, &own)->owner;
}

static void clear(struct engine *en, struct cached *c)
{
	cache_remove(en, c);
	tensor_drop(&c->t);
	c->t.shape = shape_unknown();
}

void inner_forget(struct run *r, node_id owner)
{
	uint32_t s, i;

	for (s = 0; r->inner && s < r->g->nsubgraphs; s++) {
		const struct graph *sub = r->g->subgraphs[s];

		for (i = 0; sub->owner == owner && i < sub->nvalues; i++)
			clear(r->en, slot_of(r, sub->first_id + i));
	}
}

void inner_free(struct run *r)
{
	uint32_t i;

	pthread_mutex_lock(&r->en->lock);
	for (i = r->g->nvalues; r->inner && i < r->g->nall; i++)
		clear(r->en, slot_of(r, i));
	pthread_mutex_unlock(&r->en->lock);
	free(r->inner);
}

/* ---- keeping ---- */

void inner_publish(struct trace *tr, const struct graph *g,
		   const struct tensor *values)
{
	struct run *r = tr->run;
	uint32_t i;

	pthread_mutex_lock(&r->en->lock);
	for (i = 0; i < g->nvalues; i++) {
		struct cached *c = slot_of(r, g->first_id + i);

		if (!values[i].data || r->nodes[g->owner].epoch != tr->epoch)
			continue;
		clear(r->en, c);
		c->t = tensor_ref(&values[i]);
		cache_touch(r->en, c);
		if (tr->wanted != g->first_id + i)
			continue;
		tensor_drop(&tr->found);
		tr->found = tensor_ref(&values[i]);
	}
	pthread_mutex_unlock(&r->en->lock);
}

/* engine.lock held.  Nothing is known of the graphs of this node any more. */
static int begin_trace(struct run *r, node_id owner, struct trace *tr,
		       struct err *e)
{
	uint32_t i, n = r->g->nall - r->g->nvalues;

	if (!r->inner) {
		r->inner = calloc((size_t)n + 1, sizeof(*r->inner));
		for (i = 0; r->inner && i < n; i++)
			r->inner[i].t.shape = shape_unknown();
	}
	if (!r->inner)
		return err_nomem(e, n * sizeof(*r->inner));
	inner_forget(r, owner);
	tr->epoch = r->nodes[owner].epoch;
	return 0;
}

/* ---- computing a node again ---- */

struct again {
	struct run *r;
	const struct node *n;
	const struct op *op;
	const atomic_bool *cancel;
	struct exec_env env;
	struct tensor *in, *captures, *out;
};

/* A value of the model in memory; owned. */
static int load(struct again *a, value_id v, struct tensor *out, struct err *e)
{
	const struct param *param;
	bool given;

	if (v == NO_VALUE)
		return 0;
	param = a->r->g->values[v].param;
	pthread_mutex_lock(&a->r->en->lock);
	given = a->r->slots[v].is_given;
	pthread_mutex_unlock(&a->r->en->lock);
	if (param && !given)
		return program_weight(a->r->en, a->r->prog, param, out, e);
	return run_demand(a->r, v, a->cancel, out, e);
}

static int load_captures(struct again *a, struct err *e)
{
	struct op_call c = {
		.node = a->n,
		.op = a->op,
		.env = &a->env.base,
		.nin = a->n->nin,
		.nout = a->n->nout,
		.in = a->in,
		.out = a->out,
	};
	uint64_t mask = 0;
	uint32_t k;
	int rc = a->op->branches ? op_branches(&c, &mask, e) : 0;

	for (k = 0; rc == 0 && k < a->n->ncaptures; k++)
		if (!a->op->branches || (a->n->captures[k].readers & mask))
			rc = load(a, a->n->captures[k].value, &a->captures[k],
				  e);
	return rc;
}

static int compute(struct again *a, struct err *e)
{
	uint32_t k;
	int rc = 0;

	a->in = calloc((size_t)a->n->nin + 1, sizeof(*a->in));
	a->captures = calloc((size_t)a->n->ncaptures + 1, sizeof(*a->captures));
	a->out = calloc((size_t)a->n->nout + 1, sizeof(*a->out));
	if (!a->in || !a->captures || !a->out)
		return err_nomem(e, a->n->nin * sizeof(*a->in));
	for (k = 0; rc == 0 && k < a->n->nin; k++)
		rc = load(a, a->n->in[k], &a->in[k], e);
	if (rc == 0)
		rc = load_captures(a, e);
	if (rc == 0)
		rc = exec_eval(&a->env, a->op, a->n, a->in, a->captures, a->out,
			       e);
	return rc;
}

static void drop(struct tensor *t, uint32_t n)
{
	uint32_t k;

	for (k = 0; t && k < n; k++)
		tensor_drop(&t[k]);
	free(t);
}

static int compute_again(struct run *r, node_id owner, struct trace *tr,
			 const atomic_bool *cancel, struct err *e)
{
	struct again a = {
		.r = r,
		.n = &r->g->nodes[owner],
		.op = r->prog->ops[owner],
		.cancel = cancel,
	};
	int rc;

	exec_env_init(&a.env, r->en, r->prog, cancel);
	a.env.trace = tr;
	rc = compute(&a, e);
	drop(a.in, a.n->nin);
	drop(a.captures, a.n->ncaptures);
	drop(a.out, a.n->nout);
	if (rc != -EINVAL)
		return rc;
	e->code = EIO;
	return -EIO;
}

/* ---- asking ---- */

/* Some output of the node, for what is known of all of them. */
static value_id any_output(const struct run *r, node_id owner)
{
	const struct node *n = &r->g->nodes[owner];
	uint32_t k;

	for (k = 0; k < n->nout; k++)
		if (n->out[k] != NO_VALUE)
			return n->out[k];
	return NO_VALUE;
}

int inner_describe(struct run *r, value_id id, struct tensor *out,
		   struct err *e)
{
	value_id own, sibling = any_output(r, owner_of(r, id));
	const struct graph *g = graph_locate(r->g, id, &own);
	struct tensor ignored;
	int rc =
		sibling == NO_VALUE ? 0 : run_describe(r, sibling, &ignored, e);

	*out = (struct tensor){.dtype = g->values[own].dtype,
			       .shape = shape_unknown()};
	pthread_mutex_lock(&r->en->lock);
	if (r->inner && slot_of(r, id)->t.dtype != DTYPE_NONE)
		*out = slot_of(r, id)->t;
	pthread_mutex_unlock(&r->en->lock);
	out->data = NULL;
	return rc;
}

bool inner_is_ready(struct run *r, value_id id)
{
	bool ready;

	pthread_mutex_lock(&r->en->lock);
	ready = r->inner && slot_of(r, id)->t.data;
	pthread_mutex_unlock(&r->en->lock);
	return ready;
}

uint64_t inner_version(const struct run *r, value_id id)
{
	return r->nodes[owner_of(r, id)].epoch;
}

int inner_check(struct run *r, value_id id, struct err *e)
{
	return check_inputs(r, owner_of(r, id), e);
}

int inner_demand(struct run *r, value_id id, const atomic_bool *cancel,
		 struct tensor *out, struct err *e)
{
	node_id owner = owner_of(r, id);
	int rc = 0;

	while (rc == 0) {
		struct trace tr = {.run = r, .wanted = id};
		bool is_old;

		pthread_mutex_lock(&r->en->lock);
		if (r->inner && slot_of(r, id)->t.data)
			tr.found = tensor_ref(&slot_of(r, id)->t);
		else
			rc = begin_trace(r, owner, &tr, e);
		pthread_mutex_unlock(&r->en->lock);
		if (rc == 0 && !tr.found.data)
			rc = compute_again(r, owner, &tr, cancel, e);
		if (rc == 0 && tr.found.data) {
			*out = tr.found;
			return 0;
		}
		tensor_drop(&tr.found);
		pthread_mutex_lock(&r->en->lock);
		is_old = r->nodes[owner].epoch != tr.epoch;
		pthread_mutex_unlock(&r->en->lock);
		if (rc == 0 && !is_old)
			return err_set(e, ENODATA,
				       "not computed: its part of node %s did "
				       "not run",
				       r->g->nodes[owner].name);
	}
	return rc;
}
