/* SPDX-License-Identifier: MIT */
/* plan - which nodes a value needs, and what must be kept until they ran. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/graph.h"
#include "run/engine.h"

int plan_new(struct run *r, struct plan **out, struct err *e)
{
	size_t nvalues = (size_t)r->g->nvalues + 1;
	size_t nnodes = (size_t)r->g->nnodes + 1;
	struct plan *p = calloc(1, sizeof(*p));

	if (!p)
		return err_nomem(e, sizeof(*p));
	p->run = r;
	p->nodes = calloc(nnodes, sizeof(*p->nodes));
	p->uses = calloc(nvalues, sizeof(*p->uses));
	p->held = calloc(nvalues, sizeof(*p->held));
	p->branches = calloc(nnodes, sizeof(*p->branches));
	p->leads = calloc(nnodes, sizeof(*p->leads));
	p->forms = calloc(nnodes, sizeof(*p->forms));
	p->views = calloc(nnodes, sizeof(*p->views));
	p->blocked = calloc(nvalues, sizeof(*p->blocked));
	if (!p->blocked || !p->forms || !p->views || !p->leads || !p->nodes ||
	    !p->uses || !p->held || !p->branches) {
		plan_free(p);
		return err_nomem(e, nvalues * sizeof(*p->held));
	}
	*out = p;
	return 0;
}

static void drop_held(struct plan *p)
{
	uint32_t i;

	for (i = 0; i < p->run->g->nvalues; i++) {
		blob_unref(p->held[i].data);
		p->held[i].data = NULL;
	}
	for (i = 0; i < p->run->g->nnodes; i++) {
		blob_unref(p->forms[i]);
		p->forms[i] = NULL;
	}
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	if (p->held && p->forms)
		drop_held(p);
	free(p->nodes);
	free(p->uses);
	free(p->held);
	free(p->blocked);
	free(p->branches);
	free(p->leads);
	free(p->forms);
	free(p->views);
	free(p);
}

bool plan_views(const struct plan *p, size_t node, uint32_t k)
{
	return k < 2 && (p->views[node] >> k & 1);
}

void plan_hold(struct plan *p, value_id v)
{
	const struct tensor *t = &p->run->slots[v].value.t;

	if (p->uses[v] && !p->held[v].data && t->data)
		p->held[v] = (struct held){blob_ref(t->data), t->block};
}

static void release(struct plan *p, value_id v)
{
	if (v == NO_VALUE || p->uses[v] == 0)
		return;
	if (--p->uses[v] == 0) {
		blob_unref(p->held[v].data);
		p->held[v].data = NULL;
	}
}

void plan_release_inputs(struct plan *p, const struct node *n)
{
	size_t id = (size_t)(n - p->run->g->nodes);
	uint32_t i;

	for (i = 0; i < n->nin; i++)
		if ((i != 1 || !p->forms[id]) && !plan_views(p, id, i))
			release(p, n->in[i]);
	for (i = 0; i < n->ncaptures; i++)
		release(p, n->captures[i].value);
}

/* ---- what is the same in every run ---- */

/* How many nodes lie between a constant value and parameters at most. */
#define CONSTANT_DEPTH 4

static bool has_graphs(const struct node *n)
{
	uint32_t i;

	for (i = 0; i < n->nattrs; i++)
		if (n->attrs[i].kind == ATTR_GRAPH)
			return true;
	return false;
}

static bool is_constant(const struct run *r, value_id id, int depth)
{
	const struct value *v = &r->g->values[id];
	const struct node *n;
	uint32_t k;

	if (r->slots[id].is_given)
		return false;
	if (v->param)
		return true;
	if (v->producer == NO_NODE || depth == CONSTANT_DEPTH)
		return false;
	n = &r->g->nodes[v->producer];
	if (!r->prog->ops[v->producer] || n->nin == 0 || has_graphs(n) ||
	    (r->prog->ops[v->producer]->flags & OP_RANDOM))
		return false;
	for (k = 0; k < n->nin; k++)
		if (n->in[k] != NO_VALUE &&
		    !is_constant(r, n->in[k], depth + 1))
			return false;
	return true;
}

bool plan_is_constant(const struct run *r, value_id v)
{
	return is_constant(r, v, 0);
}

/* True when input 1 of the node need not be computed. */
static bool take_form(struct plan *p, node_id i)
{
	const struct run *r = p->run;
	const struct node *n = &r->g->nodes[i];
	struct cached *form = &r->prog->forms[i];

	if (p->no_forms || !(r->prog->ops[i]->flags & OP_LATE_INPUT_1) ||
	    n->nin < 2 || n->in[1] == NO_VALUE || !form->t.data ||
	    r->g->values[n->in[1]].param || !plan_is_constant(r, n->in[1]))
		return false;
	p->forms[i] = blob_ref(form->t.data);
	return true;
}

/*
 * True when input k of the node is read as it is stored.  Rows of a table
 * always are; a whole weight only the first time, and where memory is tight:
 * made once, it is faster to read again.
 */
static bool take_view(struct plan *p, node_id i, uint32_t k)
{
	const struct run *r = p->run;
	unsigned flags = r->prog->ops[i]->flags;
	bool late = k == 1 && flags & OP_LATE_INPUT_1;

	if ((!late && (k != 0 || !(flags & OP_STORED_INPUT_0))) ||
	    r->g->nodes[i].in[k] == NO_VALUE ||
	    !views_can(r, r->g->nodes[i].in[k]))
		return false;
	if (late && !r->prog->is_tight && r->prog->was_computed[i]) {
		p->could_view = true;
		return false;
	}
	p->views[i] |= (uint8_t)(1u << k);
	return true;
}

/* ---- making one ---- */

struct search {
	struct plan *plan;
	value_id *stack; /* each value is pushed once at most */
	uint32_t depth;
	bool *seen;   /* per value */
	bool *wanted; /* per node */
};

static void push(struct search *s, value_id v)
{
	if (v == NO_VALUE)
		return;
	s->plan->uses[v]++;
	if (s->seen[v])
		return;
	s->seen[v] = true;
	s->stack[s->depth++] = v;
}

/* A node whose subgraphs are chosen at run time reads its captures later. */
static bool wants_capture(const struct plan *p, node_id i, uint32_t k)
{
	const struct op *op = p->run->prog->ops[i];

	if (!op->branches)
		return true;
	return p->branches[i] &&
	       (p->run->g->nodes[i].captures[k].readers & (p->branches[i] - 1));
}

static int want_node(struct search *s, node_id i, struct err *e)
{
	struct run *r = s->plan->run;
	const struct node *n = &r->g->nodes[i];
	uint32_t k;
	int rc;

	if (s->wanted[i])
		return 0;
	rc = check_node(r, i, e);
	if (rc < 0)
		return rc;
	s->wanted[i] = true;
	for (k = 0; k < n->nin; k++)
		if ((k != 1 || !take_form(s->plan, i)) &&
		    !take_view(s->plan, i, k))
			push(s, n->in[k]);
	for (k = 0; k < n->ncaptures; k++)
		if (wants_capture(s->plan, i, k))
			push(s, n->captures[k].value);
	return 0;
}

static int want_value(struct search *s, value_id id, struct err *e)
{
	struct run *r = s->plan->run;
	const struct value *v = &r->g->values[id];

	if (r->slots[id].value.t.data) {
		plan_hold(s->plan, id);
		return 0;
	}
	if (v->param)
		return 0;
	if (v->producer != NO_NODE)
		return want_node(s, v->producer, e);
	return err_set(e, ENODATA, "input %s is missing", v->name);
}

static int search(struct search *s, value_id v, struct err *e)
{
	struct plan *p = s->plan;
	uint32_t i;

	push(s, v);
	while (s->depth > 0) {
		int rc = want_value(s, s->stack[--s->depth], e);

		if (rc < 0)
			return rc;
	}
	group_plan(p, s->wanted);
	for (i = 0; i < p->run->g->nnodes; i++)
		if (s->wanted[i])
			p->nodes[p->nnodes++] = i;
	return layout_plan(p, e);
}

int plan_make(struct plan *p, value_id v, struct err *e)
{
	const struct graph *g = p->run->g;
	struct search s = {
		.plan = p,
		.stack = calloc((size_t)g->nvalues + 1, sizeof(value_id)),
		.seen = calloc((size_t)g->nvalues + 1, sizeof(bool)),
		.wanted = calloc((size_t)g->nnodes + 1, sizeof(bool)),
	};
	int rc = -ENOMEM;

	drop_held(p);
	memset(p->uses, 0, ((size_t)g->nvalues + 1) * sizeof(*p->uses));
	memset(p->blocked, 0, ((size_t)g->nvalues + 1) * sizeof(*p->blocked));
	memset(p->views, 0, ((size_t)g->nnodes + 1) * sizeof(*p->views));
	p->could_view = false;
	p->nnodes = 0;
	if (p->generation != p->run->generation)
		memset(p->branches, 0,
		       ((size_t)g->nnodes + 1) * sizeof(*p->branches));
	p->generation = p->run->generation;
	if (s.stack && s.seen && s.wanted)
		rc = search(&s, v, e);
	else
		err_nomem(e, g->nvalues);
	free(s.stack);
	free(s.seen);
	free(s.wanted);
	return rc;
}
