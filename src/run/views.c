/* SPDX-License-Identifier: MIT */
/*
 * views - constant values that are made of a stored one when an operator reads
 * them, instead of being computed: a weight that is turned, widened or scaled
 * need not be in memory in any of these ways.
 */
#include <errno.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "run/demand.h"

/* Bytes of a parameter that are not worth it. */
#define SMALL (1u << 16)
/* How many nodes lie between a value and what is stored at most. */
#define DEPTH 4

static bool is_stored(const struct run *r, value_id v)
{
	const struct param *p = r->g->values[v].param;

	return p && p->data && !r->slots[v].is_given;
}

/* Whether this node's output is a view of its first input, whatever that is. */
static bool is_view(const struct run *r, node_id id)
{
	const struct node *n = &r->g->nodes[id];
	const struct op *op = r->prog->ops[id];
	struct question q;
	uint32_t k;

	if (!op || !op->view || n->nin == 0 || n->in[0] == NO_VALUE)
		return false;
	for (k = 1; k < n->nin; k++)
		if (n->in[k] != NO_VALUE && !is_stored(r, n->in[k]))
			return false;
	return group_ask(r, id, &q) && op_view(&q.call, NULL, NULL) == 0;
}

bool views_can(const struct run *r, value_id v)
{
	int depth;

	for (depth = 0; depth <= DEPTH; depth++) {
		const struct value *val = &r->g->values[v];

		/* What is here is read where it is. */
		if (r->slots[v].is_given ||
		    (depth == 0 && r->slots[v].value.t.data))
			return false;
		if (val->param)
			return depth > 0 && is_stored(r, v) &&
			       val->param->data->size >= SMALL &&
			       !blob_bytes(val->param->data);
		if (val->producer == NO_NODE || !is_view(r, val->producer))
			return false;
		v = r->g->nodes[val->producer].in[0];
	}
	return false;
}

/* What the node makes of t, which is replaced. */
static int view_node(struct demand *d, node_id id, struct tensor *t,
		     struct err *e)
{
	const struct node *n = &d->r->g->nodes[id];
	struct tensor in[8] = {*t}, out[1] = {0}, made;
	struct op_call c = {.node = n,
			    .op = d->r->prog->ops[id],
			    .env = &d->env.base,
			    .nin = n->nin,
			    .nout = 1,
			    .in = in,
			    .out = out};
	int rc = 0;
	uint32_t k;

	for (k = 1; k < n->nin && rc == 0; k++)
		if (n->in[k] != NO_VALUE)
			rc = program_weight(d->r->en, d->r->prog,
					    d->r->g->values[n->in[k]].param,
					    &in[k], e);
	if (rc == 0)
		rc = op_view(&c, &made, e);
	for (k = 0; k < n->nin; k++)
		tensor_drop(&in[k]);
	*t = rc == 0 ? made : (struct tensor){0};
	return rc;
}

int views_make(struct demand *d, value_id v, struct tensor *out, struct err *e)
{
	const struct graph *g = d->r->g;
	node_id chain[DEPTH + 1];
	struct tensor t;
	int n = 0, rc = 0;

	while (!g->values[v].param) {
		/* What was so when it was planned is so, but for patches. */
		if (n > DEPTH || g->values[v].producer == NO_NODE)
			return REPLAN;
		chain[n++] = g->values[v].producer;
		v = g->nodes[chain[n - 1]].in[0];
	}
	t = param_tensor(g->values[v].param);
	t = tensor_ref(&t);
	while (n > 0 && rc == 0)
		rc = view_node(d, chain[--n], &t, e);
	if (rc == 0)
		*out = t;
	return rc;
}
