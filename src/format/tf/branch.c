/* SPDX-License-Identifier: MIT */
/*
 * branch - Switch and Merge of TensorFlow 1, outside of loops.
 *
 * A Switch hands its value to one of its outputs, and what depends on the
 * other is never computed.  Merge takes what was computed.  Here values are
 * computed when somebody asks for them, so a Switch hands its value to both,
 * and a Merge becomes an If that asks for one of its inputs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/steps.h"
#include "format/tf/body.h"

#define NO_INDEX SIZE_MAX
/* Nodes to look at for one Merge, and for all of a model. */
#define WALK_MAX 100000
#define WALKS_MAX ((uint64_t)64 << 20)

static bool is_switch(const Tf__Node *n)
{
	static const char *const ops[] = {"Switch", "RefSwitch", NULL};

	return tf_is_op(n, ops);
}

static bool is_merge(const Tf__Node *n)
{
	static const char *const ops[] = {"Merge", "RefMerge", NULL};

	return tf_is_op(n, ops);
}

/* ---- which branch an input of a Merge is on ---- */

/* Merges behind us that are not matched by a Switch yet. */
struct step_back {
	size_t node;
	uint32_t merges;
};

struct tf_walk { /* of one body, from one Merge after the other */
	struct step_back *stack;
	uint32_t *seen; /* by which walk */
	uint32_t walk;
	size_t depth, nseen;
};

void tf_walk_free(struct tf_walk *w)
{
	if (!w)
		return;
	free(w->stack);
	free(w->seen);
	free(w);
}

static int start_walk(struct tf_body *b, struct err *e)
{
	struct tf_walk *w = b->walk;

	if (!w) {
		w = b->walk = calloc(1, sizeof(*w));
		if (!w)
			return err_nomem(e, sizeof(*w));
		w->stack = calloc(b->n + 1, sizeof(*w->stack));
		w->seen = calloc(b->n + 1, sizeof(*w->seen));
	}
	if (!w->stack || !w->seen)
		return err_nomem(e, b->n * sizeof(*w->stack));
	b->budget->walked += w->nseen;
	w->walk++;
	w->depth = w->nseen = 0;
	return 0;
}

static size_t node_of(const struct tf_body *b, const struct tf_ref *r)
{
	uint64_t idx;

	return map_get(b->index, r->name.p, r->name.len, &idx) ? (size_t)idx
							       : NO_INDEX;
}

static void step(struct tf_walk *w, size_t node, uint32_t merges)
{
	if (node == NO_INDEX || w->seen[node] == w->walk ||
	    w->nseen >= WALK_MAX)
		return;
	w->seen[node] = w->walk;
	w->nseen++;
	w->stack[w->depth++] = (struct step_back){node, merges};
}

/*
 * The Switch that decides whether this value is there, and which of its
 * outputs leads here.  A Merge on the way ends a choice that began at some
 * Switch before it.
 */
static bool find_switch(const struct tf_body *b,
			const ProtobufCBinaryData *from, size_t *sw,
			uint64_t *side)
{
	struct tf_walk *w = b->walk;
	struct tf_ref r = tf_parse_ref(from);
	size_t at = node_of(b, &r);

	if (at != NO_INDEX && is_switch(b->nodes[at])) {
		*sw = at;
		*side = tf_output_index(b->nodes[at], &r);
		return true;
	}
	step(w, at, 0);
	while (w->depth > 0) {
		struct step_back s = w->stack[--w->depth];
		const Tf__Node *n = b->nodes[s.node];
		uint32_t merges = s.merges + is_merge(n);

		for (size_t i = 0; i < n->n_input; i++) {
			r = tf_parse_ref(&n->input[i]);
			at = node_of(b, &r);
			if (at == NO_INDEX)
				continue;
			if (!is_switch(b->nodes[at])) {
				step(w, at, merges);
			} else if (merges > 0) {
				step(w, at, merges - 1);
			} else {
				*sw = at;
				*side = tf_output_index(b->nodes[at], &r);
				return true;
			}
		}
	}
	return false;
}

struct choice {
	value_id pred;
	uint32_t when_true; /* which input */
};

static bool find_choice(struct tf_body *b, const Tf__Node *n,
			struct choice *out, struct err *e, int *rc)
{
	bool found = false;
	size_t sw;
	uint64_t side;

	*rc = 0;
	for (uint32_t i = 0; i < 2 && !found; i++) {
		*rc = start_walk(b, e);
		if (*rc < 0 || b->budget->walked > WALKS_MAX)
			return false;
		if (!find_switch(b, &n->input[i], &sw, &side) ||
		    b->nodes[sw]->n_input < 2)
			continue;
		out->pred = tf_resolve(b, &b->nodes[sw]->input[1]);
		out->when_true = side == 1 ? i : 1 - i;
		found = out->pred != NO_VALUE;
	}
	return found;
}

/* ---- nodes ---- */

/* A graph that hands out a value of the body around it. */
static int handing_on(struct tf_body *b, value_id v, const char *name,
		      struct graph **out, struct err *e)
{
	const char *from = b->g->values[v].name;
	struct graph *g = graph_new(b->t->m->arena, b->g, name);
	value_id inner;
	int rc = g ? graph_value(g, from, strlen(from), &inner, e)
		   : err_nomem(e, sizeof(*g));

	if (rc == 0) {
		g->values[inner].param = b->g->values[v].param;
		rc = graph_output(g, inner, e);
	}
	if (rc < 0)
		graph_free(g);
	else
		*out = g;
	return rc;
}

/* Which input it was. */
static int add_index(struct tf_body *b, const struct choice *x,
		     struct tf_slot *s, struct module *mod, struct err *e)
{
	struct steps at = {b->t->m, b->g, s->name, mod};
	struct attr to = attr_set_int("to", 6); /* int32 */
	struct step cast = {.what = "index",
			    .type = "Cast",
			    .in = &(value_id){x->pred},
			    .nin = 1,
			    .out = &s->out[1],
			    .nout = 1,
			    .attrs = &to,
			    .nattrs = 1};
	value_id v = x->pred;
	int rc = 0;

	if (s->nout < 2)
		return 0;
	if (x->when_true == 0)
		rc = steps_make(&at, "not", "Not", x->pred, NO_VALUE, &v, e);
	cast.in = &v;
	return rc < 0 ? rc : steps_node(&at, &cast, e);
}

static int add_merge(struct tf_body *b, const Tf__Node *n, struct tf_slot *s,
		     struct err *e)
{
	struct choice x = {0};
	struct tf_graph_node g = {.name = s->name.p,
				  .domain = "",
				  .type = "If",
				  .attrs = {"then_branch", "else_branch"},
				  .in = &x.pred,
				  .out = s->out,
				  .nin = 1,
				  .nout = 1};
	value_id in[2];
	int rc;

	if (n->n_input < 2 || !find_choice(b, n, &x, e, &rc))
		return n->n_input < 2 ? 0 : rc;
	for (int i = 0; i < 2; i++) {
		in[i] = tf_resolve(b, &n->input[i]);
		if (in[i] == NO_VALUE)
			return 0;
	}
	rc = tf_node_module(b, s->name, &g.module, e);
	if (rc == 0)
		rc = handing_on(b, in[x.when_true], "then", &g.graphs[0], e);
	if (rc < 0)
		return rc;
	rc = handing_on(b, in[1 - x.when_true], "else", &g.graphs[1], e);
	if (rc < 0) {
		graph_free(g.graphs[0]);
		return rc;
	}
	rc = tf_graph_node(b, &g, e);
	if (rc == 0)
		rc = add_index(b, &x, s, g.module, e);
	return rc < 0 ? rc : 1;
}

static int add_switch(struct tf_body *b, const Tf__Node *n, struct tf_slot *s,
		      struct err *e)
{
	static const char *const names[] = {"when_false", "when_true"};
	struct steps at = {b->t->m, b->g, s->name, NULL};
	value_id in;
	int rc;

	if (n->n_input < 2 || s->nout > 2)
		return 0;
	in = tf_resolve(b, &n->input[0]);
	if (in == NO_VALUE)
		return 0;
	rc = tf_node_module(b, s->name, &at.module, e);
	for (uint32_t i = 0; rc == 0 && i < s->nout; i++) {
		struct step x = {.what = names[i],
				 .type = "Identity",
				 .in = &in,
				 .nin = 1,
				 .out = &s->out[i],
				 .nout = 1};

		rc = steps_node(&at, &x, e);
	}
	return rc < 0 ? rc : 1;
}

int tf_add_branch(struct tf_body *b, size_t node, struct err *e)
{
	const Tf__Node *n = b->nodes[node];

	if (is_switch(n))
		return add_switch(b, n, &b->slots[node], e);
	return is_merge(n) ? add_merge(b, n, &b->slots[node], e) : 0;
}
