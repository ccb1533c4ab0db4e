/* SPDX-License-Identifier: MIT */
/*
 * group - nodes that run as one: a convolution and what is done to each of its
 * numbers before they are stored; and elementwise nodes, of what these leave,
 * one after the other (op.step).  The values in between are not made; who asks
 * for one of them later has it computed apart, to the same bits.
 */
#include <stdlib.h>
#include <string.h>

#include "modelfs/graph.h"
#include "run/engine.h"

struct follower *group_followers(const struct graph *g)
{
	struct follower *next = calloc((size_t)g->nnodes + 1, sizeof(*next));
	uint32_t *uses = calloc((size_t)g->nvalues + 1, sizeof(*uses));
	uint32_t i, k;

	for (i = 0; next && uses && i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		next[i].node = NO_NODE;
		for (k = 0; k < n->nin; k++)
			if (n->in[k] != NO_VALUE)
				uses[n->in[k]]++;
		for (k = 0; k < n->ncaptures; k++)
			uses[n->captures[k].value] += 2;
	}
	for (i = 0; next && uses && i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		for (k = 0; k < n->nin; k++) {
			const struct value *v;

			if (n->in[k] == NO_VALUE || uses[n->in[k]] != 1)
				continue;
			v = &g->values[n->in[k]];
			if (v->producer == NO_NODE || v->is_output ||
			    v->param || g->nodes[v->producer].nout != 1)
				continue;
			next[v->producer] = (struct follower){i, k};
		}
	}
	if (!uses) {
		free(next);
		next = NULL;
	}
	free(uses);
	return next;
}

bool group_ask(const struct run *r, node_id i, struct question *q)
{
	const struct node *n = &r->g->nodes[i];
	uint32_t k;

	memset(q, 0, sizeof(*q));
	if (n->nin > 8 || n->nout != 1 || n->ncaptures)
		return false;
	for (k = 0; k < n->nin; k++)
		if (n->in[k] != NO_VALUE) {
			q->in[k] = r->slots[n->in[k]].value.t;
			q->in[k].data = NULL;
		}
	q->call = (struct op_call){.node = n,
				   .op = r->prog->ops[i],
				   .nin = n->nin,
				   .nout = 1,
				   .in = q->in,
				   .out = q->out,
				   .inferring = true};
	return true;
}

/* The node that alone reads this one's output, when it is free; or NO_NODE. */
static node_id next_of(const struct plan *p, const bool *wanted, node_id i)
{
	const struct run *r = p->run;
	node_id next = r->prog->followers[i].node;
	value_id v = r->g->nodes[i].out[0];

	/* What ends a group already has its other input from here. */
	if (next == NO_NODE || !wanted[next] || p->leads[next] != NO_NODE ||
	    p->uses[v] != 1 || r->slots[v].value.t.data)
		return NO_NODE;
	return next;
}

/* The node after this one, when it can be done with it; else NO_NODE. */
static node_id follow(const struct plan *p, const bool *wanted, node_id i,
		      unsigned stages, int *stage)
{
	const struct run *r = p->run;
	node_id next = next_of(p, wanted, i);
	struct question q;
	int s;

	if (next == NO_NODE || !r->prog->ops[next]->join ||
	    !group_ask(r, next, &q))
		return NO_NODE;
	s = r->prog->ops[next]->join(&q.call, r->prog->followers[i].flow, NULL,
				     NULL);
	if (s <= *stage || !(stages >> s & 1))
		return NO_NODE;
	*stage = s;
	return next;
}

/* What may follow this node; a mask of stages. */
static unsigned find_stages(const struct run *r, node_id i)
{
	struct question q;

	if (!r->prog->ops[i]->leads || !group_ask(r, i, &q))
		return 0;
	return r->prog->ops[i]->leads(&q.call);
}

static enum dtype type_of(const struct run *r, node_id i)
{
	return r->slots[r->g->nodes[i].out[0]].value.t.dtype;
}

/* Nodes from chain[0] on; how many. */
static uint32_t find_chain(const struct plan *p, const bool *wanted,
			   unsigned stages, node_id chain[GROUP_MAX])
{
	uint32_t n = 1;
	int stage = 0;

	while (stages && n < GROUP_MAX) {
		node_id next = follow(p, wanted, chain[n - 1], stages, &stage);

		if (next == NO_NODE)
			break;
		chain[n++] = next;
	}
	/* The result is of the type that the first one makes. */
	while (n > 1 &&
	       type_of(p->run, chain[n - 1]) != type_of(p->run, chain[0]))
		n--;
	return n;
}

/* How many of the node's first inputs go along with its result, or 0. */
static uint32_t ask_step(const struct run *r, node_id i)
{
	const struct op *op = r->prog->ops[i];
	struct question q;

	if (!op->step || !group_ask(r, i, &q) || q.in[0].dtype == DTYPE_NONE)
		return 0;
	return (uint32_t)op->step(&q.call, NULL, NULL);
}

/* Elementwise nodes from chain[0] on, whose results are of one shape. */
static uint32_t find_steps(const struct plan *p, const bool *wanted,
			   node_id chain[GROUP_MAX])
{
	const struct run *r = p->run;
	const struct tensor *first, *t;
	uint32_t n = 1;

	if (ask_step(r, chain[0]) == 0)
		return 1;
	first = &r->slots[r->g->nodes[chain[0]].out[0]].value.t;
	while (n < GROUP_MAX && shape_is_known(&first->shape)) {
		node_id next = next_of(p, wanted, chain[n - 1]);

		if (next == NO_NODE ||
		    r->prog->followers[chain[n - 1]].flow >= ask_step(r, next))
			break;
		t = &r->slots[r->g->nodes[next].out[0]].value.t;
		if (!shape_equal(&t->shape, &first->shape) ||
		    t->dtype != first->dtype)
			break;
		chain[n++] = next;
	}
	return n;
}

/* The nodes of chain run as one. */
static void join(struct plan *p, bool *wanted, const node_id *chain, uint32_t n)
{
	if (n == 1)
		return;
	p->leads[chain[n - 1]] = chain[0];
	while (n-- > 1)
		wanted[chain[n - 1]] = false;
}

void group_plan(struct plan *p, bool *wanted)
{
	node_id chain[GROUP_MAX];
	uint32_t i;

	for (i = 0; i < p->run->g->nnodes; i++)
		p->leads[i] = NO_NODE;
	for (i = 0; i < p->run->g->nnodes; i++) {
		unsigned stages = wanted[i] ? find_stages(p->run, i) : 0;

		chain[0] = i;
		join(p, wanted, chain, find_chain(p, wanted, stages, chain));
	}
	for (i = 0; i < p->run->g->nnodes; i++) {
		chain[0] = i;
		if (wanted[i] && p->leads[i] == NO_NODE)
			join(p, wanted, chain, find_steps(p, wanted, chain));
	}
}

void group_of(const struct plan *p, node_id tail, struct group *out)
{
	node_id i = p->leads[tail] == NO_NODE ? tail : p->leads[tail];

	out->n = 1;
	out->nodes[0] = i;
	while (i != tail && out->n < GROUP_MAX) {
		out->flow[out->n] = p->run->prog->followers[i].flow;
		i = p->run->prog->followers[i].node;
		out->nodes[out->n++] = i;
	}
}
