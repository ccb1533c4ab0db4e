/* SPDX-License-Identifier: MIT */
/* inputs - what a node reads: from where it is, and as its operator takes it. */
#include <errno.h>
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "run/demand.h"

/* Bytes of a parameter that an operator may read in pieces. */
#define RANGE_MIN (1u << 20)

void inputs_use_held(const struct plan *p, value_id v, struct tensor *t)
{
	if (!p->held[v].data)
		return;
	t->data = p->held[v].data;
	t->block = p->held[v].block;
}

/* engine.lock held.  The value as far as it is here; data may stay NULL. */
static struct tensor peek(const struct demand *d, value_id v)
{
	struct tensor t = d->r->slots[v].value.t;

	inputs_use_held(d->plan, v, &t);
	return tensor_ref(&t);
}

/* late: the operator loads it for itself. */
static int load_value(struct demand *d, value_id v, bool late, struct tensor *t,
		      struct err *e)
{
	const struct param *param;

	if (v == NO_VALUE || t->data)
		return 0;
	param = d->r->g->values[v].param;
	if (!param)
		return REPLAN;
	if (late) {
		struct tensor stored = param_tensor(param);

		*t = tensor_ref(&stored);
		return 0;
	}
	return program_weight(d->r->en, d->r->prog, param, t, e);
}

/* A parameter that is not worth reading for a few rows of it. */
static bool is_large_range(const struct demand *d, value_id v)
{
	const struct param *param = d->r->g->values[v].param;
	struct extent x;

	return param && param->data && dtype_size(param->dtype) > 0 &&
	       param->data->size >= RANGE_MIN && !blob_bytes(param->data) &&
	       blob_is_extent(param->data, &x);
}

/* Input k of a node; of what it has in another form the type is enough. */
static int load_input(struct demand *d, node_id id, uint32_t k,
		      struct tensor *t, struct err *e)
{
	unsigned flags = d->r->prog->ops[id]->flags;
	bool late = (k == 1 && flags & OP_LATE_INPUT_1) ||
		    (k == 0 && flags & OP_STORED_INPUT_0 &&
		     is_large_range(d, d->r->g->nodes[id].in[k]));

	if (k == 1 && d->plan->forms[id])
		return 0;
	if (!t->data && plan_views(d->plan, id, k))
		return views_make(d, d->r->g->nodes[id].in[k], t, e);
	return load_value(d, d->r->g->nodes[id].in[k], late, t, e);
}

/* Whether input k lies in blocks when the node's operator begins. */
static bool takes_blocks(const struct demand *d, node_id id, uint32_t k,
			 const struct tensor *t)
{
	struct question q;

	return k == 0 && t->block && d->r->prog->ops[id]->blocks &&
	       group_ask(d->r, id, &q) &&
	       q.call.op->blocks(&q.call) & OP_TAKES_BLOCKS;
}

/* Inputs of a node that begins: as its operator takes them. */
static int turn_inputs(struct demand *d, node_id id, struct tensor *in,
		       struct err *e)
{
	const struct node *n = &d->r->g->nodes[id];
	int rc = 0;

	for (uint32_t k = 0; rc == 0 && k < n->nin; k++)
		if (in[k].block && !takes_blocks(d, id, k, &in[k]))
			rc = layout_turn(d->r->en, &d->env.base.kernel, &in[k],
					 false, e);
	return rc;
}

static int turn_captures(struct demand *d, const struct job *j, struct err *e)
{
	int rc = 0;

	for (uint32_t k = 0; rc == 0 && k < j->n->ncaptures; k++)
		rc = layout_turn(d->r->en, &d->env.base.kernel, &j->captures[k],
				 false, e);
	return rc;
}

/* Which subgraphs will run; REPLAN when that was not known yet. */
static int choose_branches(struct demand *d, struct job *j, struct err *e)
{
	const struct op *op = d->r->prog->ops[j->id];
	struct op_call c = {
		.node = j->n,
		.op = op,
		.env = &d->env.base,
		.nin = j->n->nin,
		.nout = j->n->nout,
		.in = j->in,
		.out = j->out,
	};
	uint64_t mask;
	int rc;

	if (!op->branches || d->plan->branches[j->id])
		return 0;
	rc = op_branches(&c, &mask, e);
	if (rc < 0)
		return rc;
	d->plan->branches[j->id] = mask + 1;
	return j->n->ncaptures ? REPLAN : 0;
}

/* engine.lock held.  Inputs that are the same in every run. */
static uint64_t find_constants(const struct demand *d, const struct node *n)
{
	uint64_t found = 0;
	uint32_t k;

	for (k = 0; k < n->nin && k < 64; k++) {
		value_id v = n->in[k];

		if (v != NO_VALUE && plan_is_constant(d->r, v))
			found |= (uint64_t)1 << k;
	}
	return found;
}

int inputs_gather(struct demand *d, struct job *j, struct err *e)
{
	const struct node *n = j->n;
	uint64_t mask;
	uint32_t k;
	int rc = 0;

	pthread_mutex_lock(&d->r->en->lock);
	for (k = 0; k < n->nin; k++)
		if (n->in[k] != NO_VALUE)
			j->in[k] = peek(d, n->in[k]);
	for (k = 0; k < n->ncaptures; k++)
		j->captures[k] = peek(d, n->captures[k].value);
	d->env.constants = find_constants(d, n);
	pthread_mutex_unlock(&d->r->en->lock);
	for (k = 0; rc == 0 && k < n->nin; k++)
		rc = load_input(d, j->id, k, &j->in[k], e);
	if (rc == 0)
		rc = choose_branches(d, j, e);
	mask = d->plan->branches[j->id];
	for (k = 0; rc == 0 && k < n->ncaptures; k++) {
		if (mask && !(n->captures[k].readers & (mask - 1)))
			tensor_drop(&j->captures[k]);
		else
			/* Subgraphs load what they want when they want it. */
			rc = load_value(d, n->captures[k].value,
					is_large_range(d, n->captures[k].value),
					&j->captures[k], e);
	}
	if (rc == 0)
		rc = turn_inputs(d, j->id, j->in, e);
	if (rc == 0)
		rc = turn_captures(d, j, e);
	return rc;
}

/* Inputs of member m; of what flows through it, the type alone. */
int inputs_of_member(struct demand *d, const struct group *g, uint32_t m,
		     struct op_call *c, struct err *e)
{
	const struct node *n = &d->r->g->nodes[g->nodes[m]];
	struct tensor *in = calloc((size_t)n->nin + 1, sizeof(*in));
	bool like_result;
	uint32_t k;
	int rc = 0;

	if (!in)
		return err_nomem(e, n->nin * sizeof(*in));
	*c = (struct op_call){.node = n,
			      .op = d->r->prog->ops[g->nodes[m]],
			      .env = &d->env.base,
			      .nin = n->nin,
			      .nout = 1,
			      .in = in,
			      .flow = g->flow[m]};
	pthread_mutex_lock(&d->r->en->lock);
	for (k = 0; k < n->nin; k++) {
		if (n->in[k] == NO_VALUE)
			continue;
		in[k] = peek(d, n->in[k]);
		if (m > 0 && k == g->flow[m]) {
			blob_unref(in[k].data);
			in[k].data = NULL;
		}
	}
	c->constants = find_constants(d, n);
	if (m == 0)
		d->env.constants = c->constants;
	pthread_mutex_unlock(&d->r->en->lock);
	for (k = 0; rc == 0 && k < n->nin; k++)
		if (m == 0 || k != g->flow[m])
			rc = load_input(d, g->nodes[m], k, &in[k], e);
	if (rc == 0 && m == 0)
		return turn_inputs(d, g->nodes[0], in, e);
	like_result = d->env.make_blocks &&
		      layout_adds(d->r, g->nodes[m], g->flow[m]);
	for (k = 0; rc == 0 && k < n->nin; k++)
		if (k != g->flow[m])
			rc = layout_turn(d->r->en, &d->env.base.kernel, &in[k],
					 like_result, e);
	return rc;
}
