/* SPDX-License-Identifier: MIT */
/*
 * check - what a value cannot be had without, told before anything is
 * computed.  All values are looked at in one pass, which holds until inputs,
 * patches or failures change: whoever opens every file of a run asks for each
 * of them.
 */
#include <errno.h>
#include <stdlib.h>

#include "modelfs/graph.h"
#include "run/engine.h"

int check_node(const struct run *r, node_id i, struct err *e)
{
	const struct node *n = &r->g->nodes[i];
	const struct err *failure = r->nodes[i].failure;

	if (failure && e)
		*e = *failure;
	if (failure)
		return -failure->code;
	if (r->prog->ops[i])
		return 0;
	return err_set(e, EOPNOTSUPP,
		       "node %.200s: operator %s%s%s is not supported at "
		       "opset %d",
		       n->name, n->domain, *n->domain ? "." : "", n->type,
		       n->opset);
}

static struct lack lack_of_node(const struct run *r, node_id i)
{
	if (check_node(r, i, NULL) < 0)
		return (struct lack){LACK_NODE, i};
	return r->lacks[i];
}

static struct lack lack_of_value(const struct run *r, value_id id)
{
	const struct value *v;

	if (id == NO_VALUE)
		return (struct lack){0};
	v = &r->g->values[id];
	if (r->slots[id].value.t.data || v->param)
		return (struct lack){0};
	if (v->producer == NO_NODE)
		return (struct lack){LACK_INPUT, id};
	return lack_of_node(r, v->producer);
}

/* Branches are chosen when inputs are there; what they read comes later. */
static struct lack find_lack(const struct run *r, node_id i)
{
	const struct node *n = &r->g->nodes[i];
	bool chooses = r->prog->ops[i] && r->prog->ops[i]->branches;
	uint32_t k = n->nin + (chooses ? 0 : n->ncaptures);
	struct lack found = {0};

	while (found.kind == LACK_NOTHING && k-- > 0)
		found = lack_of_value(r, node_needs(n, k));
	return found;
}

/* engine.lock held. */
static int find_lacks(struct run *r, struct err *e)
{
	uint32_t i;

	if (!r->lacks)
		r->lacks = calloc((size_t)r->g->nnodes + 1, sizeof(*r->lacks));
	if (!r->lacks)
		return err_nomem(e, r->g->nnodes * sizeof(*r->lacks));
	for (i = 0; !r->lacks_known && i < r->g->nnodes; i++)
		r->lacks[i] = find_lack(r, i);
	r->lacks_known = true;
	return 0;
}

static int report(const struct run *r, struct lack l, struct err *e)
{
	if (l.kind == LACK_NODE)
		return check_node(r, l.id, e);
	if (l.kind == LACK_INPUT)
		return err_set(e, ENODATA, "input %.200s is missing",
			       r->g->values[l.id].name);
	return 0;
}

int check_inputs(struct run *r, node_id i, struct err *e)
{
	int rc;

	pthread_mutex_lock(&r->en->lock);
	rc = find_lacks(r, e);
	if (rc == 0)
		rc = report(r, r->lacks[i], e);
	pthread_mutex_unlock(&r->en->lock);
	return rc;
}

int run_check(struct run *r, value_id v, struct err *e)
{
	int rc;

	if (v >= r->g->nvalues)
		return inner_check(r, v, e);
	pthread_mutex_lock(&r->en->lock);
	rc = find_lacks(r, e);
	if (rc == 0)
		rc = report(r, lack_of_value(r, v), e);
	pthread_mutex_unlock(&r->en->lock);
	return rc;
}
