/* SPDX-License-Identifier: MIT */
/*
 * lazy - a subgraph in which something is chosen: what the branch that is not
 * taken would read is not computed.
 */
#include <errno.h>
#include <stdlib.h>

#include "modelfs/err.h"
#include "run/frame.h"

enum state { STATE_NEW, STATE_ASKED, STATE_CHOSEN, STATE_DONE };

struct lazy {
	struct frame *f;
	uint8_t *state;	 /* per node */
	uint64_t *mask;	 /* per node: of the branches it takes */
	uint32_t *stack; /* a node for each value that somebody asked for */
	size_t depth;
};

static void ask(struct lazy *l, value_id v)
{
	const struct graph *g = l->f->plan->graph;
	node_id n = v == NO_VALUE ? NO_NODE : g->values[v].producer;

	if (n == NO_NODE || g->values[v].param || l->state[n] == STATE_DONE)
		return;
	/* Who is further down waits for something else: it comes first. */
	if (l->state[n] == STATE_NEW)
		l->state[n] = STATE_ASKED;
	l->stack[l->depth++] = n;
}

static bool chooses(const struct lazy *l, uint32_t i)
{
	const struct op *op = l->f->plan->ops[i];

	return op && op->branches && l->f->plan->graph->nodes[i].ncaptures > 0;
}

/* The inputs are there: which of the branches will be taken. */
static int choose(struct lazy *l, uint32_t i, struct err *e)
{
	const struct node *n = &l->f->plan->graph->nodes[i];
	struct tensor *in = calloc((size_t)n->nin + 1, sizeof(*in));
	struct op_call c = {.node = n,
			    .op = l->f->plan->ops[i],
			    .env = &l->f->env->base,
			    .nin = n->nin,
			    .nout = n->nout,
			    .in = in};
	int rc = in ? 0 : err_nomem(e, n->nin * sizeof(*in));

	for (uint32_t k = 0; in && k < n->nin; k++)
		if (n->in[k] != NO_VALUE)
			in[k] = l->f->values[n->in[k]];
	if (rc == 0)
		rc = op_branches(&c, &l->mask[i], e);
	free(in);
	return rc;
}

/* Asks for what the node needs next; true when it has all of it. */
static int is_ready(struct lazy *l, uint32_t i, bool *ready, struct err *e)
{
	const struct node *n = &l->f->plan->graph->nodes[i];
	size_t before = l->depth;
	bool picks = chooses(l, i);
	int rc = 0;

	if (l->state[i] == STATE_ASKED) {
		for (uint32_t k = 0; k < n->nin; k++)
			ask(l, n->in[k]);
		*ready = false;
		if (l->depth > before)
			return 0;
		if (picks)
			rc = choose(l, i, e);
		l->state[i] = STATE_CHOSEN;
	}
	for (uint32_t k = 0; rc == 0 && k < n->ncaptures; k++)
		if (!picks || (n->captures[k].readers & l->mask[i]))
			ask(l, n->captures[k].value);
	*ready = l->depth == before;
	return rc;
}

static int run(struct lazy *l, struct err *e)
{
	const struct graph *g = l->f->plan->graph;
	int rc = 0;

	for (uint32_t i = 0; i < g->noutputs; i++)
		ask(l, g->outputs[i]);
	while (rc == 0 && l->depth > 0) {
		uint32_t i = l->stack[l->depth - 1];
		bool ready = l->state[i] == STATE_DONE;

		if (kernel_stopped(&l->f->env->base.kernel))
			return err_set(e, EINTR, "interrupted");
		if (!ready)
			rc = is_ready(l, i, &ready, e);
		if (rc < 0 || !ready)
			continue;
		l->depth--;
		if (l->state[i] != STATE_DONE)
			rc = frame_eval(l->f, i, e);
		l->state[i] = STATE_DONE;
	}
	return rc;
}

int frame_run_lazily(struct frame *f, struct err *e)
{
	const struct graph *g = f->plan->graph;
	size_t n = (size_t)g->nnodes + 1, asked = (size_t)g->noutputs + 1;
	struct lazy l = {.f = f,
			 .state = calloc(n, sizeof(*l.state)),
			 .mask = calloc(n, sizeof(*l.mask))};
	int rc;

	/* Every node asks for all of its values once. */
	for (uint32_t i = 0; i < g->nnodes; i++)
		asked += (size_t)g->nodes[i].nin + g->nodes[i].ncaptures;
	l.stack = calloc(asked, sizeof(*l.stack));
	rc = l.state && l.mask && l.stack ? run(&l, e) : err_nomem(e, n * 16);

	free(l.state);
	free(l.mask);
	free(l.stack);
	return rc;
}
