/* SPDX-License-Identifier: MIT */
/*
 * graph_seal - links values to their producers, gives subgraphs a value for
 * everything they read from outside, and sorts the nodes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/graph_inner.h"
#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/graph.h"
#include "modelfs/map.h"

/* Readers bound nesting too; this bounds our own recursion. */
#define NESTING_MAX 128

static void break_graph(struct graph *g, const char *what, const char *name)
{
	char text[256], q[ERR_QUOTED];

	if (g->broken)
		return;
	snprintf(text, sizeof(text), "%s \"%s\"", what,
		 err_quote(q, name, strlen(name)));
	g->broken = arena_strndup(g->arena, text, strlen(text));
	if (!g->broken)
		g->broken = what;
}

/* Nodes whose output is a parameter: a constant, another name of one. */
static bool is_stored(const struct node *n)
{
	return n->domain[0] == '\0' && (strcmp(n->type, "Constant") == 0 ||
					strcmp(n->type, "Identity") == 0);
}

static void link_producers(struct graph *g)
{
	uint32_t i, j;

	for (i = 0; i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		for (j = 0; j < n->nout; j++) {
			struct value *v;

			if (n->out[j] == NO_VALUE)
				continue;
			v = &g->values[n->out[j]];
			if ((v->producer != NO_NODE || v->is_input ||
			     v->param) &&
			    !(v->param && is_stored(n)))
				break_graph(g, "made more than once: value",
					    v->name);
			else {
				v->producer = i;
				v->output = j;
			}
		}
	}
}

static bool is_defined(const struct value *v)
{
	return v->producer != NO_NODE || v->is_input || v->param;
}

/* What the subgraphs of one node read from outside, while it is found. */
struct capturing {
	struct graph *g;
	uint32_t node, cap; /* its owner; room for captures */
	size_t nsubs;	    /* seen so far */
	/* Per value of g: its place among the node's captures, and 1; or 0. */
	uint32_t *places;
	uint32_t nplaces;
};

static int make_places(struct capturing *c, struct err *e)
{
	uint32_t n = c->g->cap_values;
	uint32_t *grown;

	if (c->nplaces >= n)
		return 0;
	grown = realloc(c->places, n * sizeof(*grown));
	if (!grown)
		return err_nomem(e, n * sizeof(*grown));
	memset(grown + c->nplaces, 0, (n - c->nplaces) * sizeof(*grown));
	c->places = grown;
	c->nplaces = n;
	return 0;
}

/* The node is done: its captures have no place in the next one. */
static void forget_places(struct capturing *c)
{
	const struct node *n = &c->g->nodes[c->node];
	uint32_t i;

	for (i = 0; i < n->ncaptures; i++)
		c->places[n->captures[i].value] = 0;
	c->cap = 0;
	c->nsubs = 0;
}

/* Adds an outer value to what the node reads. */
static int add_capture(struct capturing *c, value_id outer, struct err *e)
{
	struct node *n = &c->g->nodes[c->node];
	struct capture *grown;

	if (n->ncaptures == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 8;
		grown = arena_array(c->g->arena, c->cap, sizeof(*grown));
		if (!grown)
			return err_nomem(e, c->cap);
		if (n->ncaptures)
			memcpy(grown, n->captures,
			       n->ncaptures * sizeof(*grown));
		n->captures = grown;
	}
	n->captures[n->ncaptures++] = (struct capture){.value = outer};
	c->places[outer] = n->ncaptures;
	return 0;
}

static int capture_values(struct capturing *c, struct graph *sub, struct err *e)
{
	uint64_t readers = (uint64_t)1 << (c->nsubs++ & 63);
	uint32_t i;

	for (i = 0; i < sub->nvalues; i++) {
		struct value *v = &sub->values[i];
		value_id outer;
		int rc;

		if (is_defined(v))
			continue;
		rc = graph_value(c->g, v->name, strlen(v->name), &outer, e);
		if (rc == 0)
			rc = make_places(c, e);
		if (rc == 0 && c->places[outer] == 0)
			rc = add_capture(c, outer, e);
		if (rc < 0)
			return rc;
		v->captured = outer;
		v->capture = c->places[outer] - 1;
		c->g->nodes[c->node].captures[v->capture].readers |= readers;
	}
	return 0;
}

static int seal_at(struct graph *g, unsigned depth, struct err *e);

static int seal_subgraph(struct capturing *c, struct graph *sub, unsigned depth,
			 struct err *e)
{
	int rc = seal_at(sub, depth + 1, e);

	if (rc < 0)
		return rc;
	if (sub->broken)
		break_graph(c->g, "has a broken subgraph: node",
			    c->g->nodes[c->node].name);
	return capture_values(c, sub, e);
}

static int seal_node(struct capturing *c, unsigned depth, struct err *e)
{
	const struct node *n = &c->g->nodes[c->node];
	int rc = 0;

	for (uint32_t j = 0; j < n->nattrs; j++) {
		struct attr *a = &n->attrs[j];

		if (a->kind == ATTR_GRAPH && a->g)
			rc = seal_subgraph(c, a->g, depth, e);
		for (size_t k = 0;
		     rc == 0 && a->kind == ATTR_GRAPHS && k < a->n; k++)
			rc = seal_subgraph(c, a->graphs[k], depth, e);
		if (rc < 0)
			return rc;
	}
	forget_places(c);
	return 0;
}

static int seal_subgraphs(struct graph *g, unsigned depth, struct err *e)
{
	struct capturing c = {.g = g};
	int rc = 0;

	for (c.node = 0; rc == 0 && c.node < g->nnodes; c.node++)
		rc = seal_node(&c, depth, e);
	free(c.places);
	return rc;
}

/* What an undefined value means: a mistake, unless an outer graph has it. */
static void check_defined(struct graph *g)
{
	uint32_t i;

	if (g->parent)
		return;
	for (i = 0; i < g->nvalues; i++) {
		const struct value *v = &g->values[i];

		if (!is_defined(v))
			break_graph(g, "nothing makes the value", v->name);
	}
}

struct sorter {
	struct graph *g;
	uint8_t *state; /* per node: 0 new, 1 on the stack, 2 done */
	uint32_t *next; /* per node: which dependency to look at next */
	uint32_t *stack;
	uint32_t *order;
	uint32_t norder;
};

/* The node that makes dependency k of node n; NO_NODE: none does. */
static node_id dependency(const struct graph *g, const struct node *n,
			  uint32_t k)
{
	value_id v = node_needs(n, k);

	return v == NO_VALUE ? NO_NODE : g->values[v].producer;
}

/* Puts a node behind everything it needs.  False on a cycle. */
static bool visit(struct sorter *s, uint32_t start)
{
	uint32_t depth = 0;

	s->stack[depth++] = start;
	s->state[start] = 1;
	while (depth > 0) {
		uint32_t i = s->stack[depth - 1];
		const struct node *n = &s->g->nodes[i];
		node_id d = NO_NODE;

		while (s->next[i] < n->nin + n->ncaptures) {
			d = dependency(s->g, n, s->next[i]++);
			if (d != NO_NODE && s->state[d] == 1) {
				break_graph(s->g, "a cycle through node",
					    n->name);
				return false;
			}
			if (d != NO_NODE && s->state[d] == 0)
				break;
			d = NO_NODE;
		}
		if (d != NO_NODE) {
			s->state[d] = 1;
			s->stack[depth++] = d;
			continue;
		}
		s->state[i] = 2;
		s->order[s->norder++] = i;
		depth--;
	}
	return true;
}

static void apply_order(struct sorter *s, struct node *sorted)
{
	struct graph *g = s->g;
	uint32_t i, j;

	for (i = 0; i < g->nnodes; i++) {
		sorted[i] = g->nodes[s->order[i]];
		for (j = 0; j < sorted[i].nout; j++) {
			value_id v = sorted[i].out[j];

			if (v != NO_VALUE &&
			    g->values[v].producer == s->order[i] &&
			    g->values[v].output == j)
				s->next[v] = i;
		}
	}
	for (i = 0; i < g->nvalues; i++)
		if (g->values[i].producer != NO_NODE)
			g->values[i].producer = s->next[i];
	if (g->nnodes > 0)
		memcpy(g->nodes, sorted, g->nnodes * sizeof(*sorted));
}

static int sort_nodes(struct graph *g, struct err *e)
{
	size_t n = g->nnodes > g->nvalues ? g->nnodes : g->nvalues;
	struct sorter s = {
		.g = g,
		.state = calloc(n + 1, 1),
		.next = calloc(n + 1, sizeof(uint32_t)),
		.stack = calloc(n + 1, sizeof(uint32_t)),
		.order = calloc(n + 1, sizeof(uint32_t)),
	};
	struct node *sorted = calloc(n + 1, sizeof(*sorted));
	int rc = 0;
	uint32_t i;

	if (!s.state || !s.next || !s.stack || !s.order || !sorted) {
		rc = err_nomem(e, n * sizeof(*sorted));
		goto out;
	}
	for (i = 0; i < g->nnodes; i++)
		if (s.state[i] == 0 && !visit(&s, i))
			goto out;
	apply_order(&s, sorted);
out:
	free(s.state);
	free(s.next);
	free(s.stack);
	free(s.order);
	free(sorted);
	return rc;
}

static int seal_at(struct graph *g, unsigned depth, struct err *e)
{
	int rc;

	if (g->is_sealed)
		return 0;
	if (depth > NESTING_MAX)
		return err_set(e, EFBIG, "subgraphs nest deeper than %d",
			       NESTING_MAX);
	link_producers(g);
	rc = seal_subgraphs(g, depth, e);
	if (rc < 0)
		return rc;
	check_defined(g);
	map_free(g->node_names);
	g->node_names = NULL;
	g->is_sealed = true;
	return sort_nodes(g, e);
}

int graph_seal(struct graph *g, struct err *e)
{
	bool is_new = !g->is_sealed;
	int rc = seal_at(g, 0, e);

	return rc == 0 && is_new && !g->parent ? graph_number(g, e) : rc;
}
