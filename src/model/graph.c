/* SPDX-License-Identifier: MIT */
/* graph - building a graph, see modelfs/graph.h.  Sealing: graph_seal.c. */
#include "modelfs/graph.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/array.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

/* Values or nodes of one graph; more is no model. */
#define GRAPH_OBJECTS_MAX 10000000u
/* They are looked for one by one; no operator has a tenth of this. */
#define NODE_ATTRS_MAX 1024

struct graph *graph_new(struct arena *a, struct graph *parent, const char *name)
{
	struct graph *g = arena_alloc(a, sizeof(*g));

	if (!g)
		return NULL;
	g->arena = a;
	g->parent = parent;
	g->name = arena_strndup(a, name, strlen(name));
	g->index = map_new();
	g->node_names = map_new();
	if (g->name && g->index && g->node_names)
		return g;
	map_free(g->index);
	map_free(g->node_names);
	return NULL;
}

static void free_attr(struct attr *a)
{
	size_t i;

	switch (a->kind) {
	case ATTR_TENSOR:
		tensor_drop(a->t);
		break;
	case ATTR_TENSORS:
		for (i = 0; i < a->n; i++)
			tensor_drop(&a->tensors[i]);
		break;
	case ATTR_GRAPH:
		graph_free(a->g);
		break;
	case ATTR_GRAPHS:
		for (i = 0; i < a->n; i++)
			graph_free(a->graphs[i]);
		break;
	default:
		break;
	}
}

void graph_free(struct graph *g)
{
	uint32_t i, j;

	if (!g)
		return;
	for (i = 0; i < g->nnodes; i++)
		for (j = 0; j < g->nodes[i].nattrs; j++)
			free_attr(&g->nodes[i].attrs[j]);
	map_free(g->index);
	map_free(g->node_names);
	free(g->values);
	free(g->nodes);
	free(g->inputs);
	free(g->outputs);
	free(g->subgraphs);
}

static int make_room(void *array, uint32_t *cap, uint32_t count,
		     size_t elem_size, struct err *e)
{
	if (count >= GRAPH_OBJECTS_MAX)
		return err_set(e, EFBIG, "a graph of more than %u objects",
			       GRAPH_OBJECTS_MAX);
	return array_grow(array, cap, count, elem_size, e);
}

int graph_value(struct graph *g, const char *name, size_t len, value_id *out,
		struct err *e)
{
	struct value *v;
	uint64_t id;
	int rc;

	if (map_get(g->index, name, len, &id)) {
		*out = (value_id)id;
		return 0;
	}
	rc = make_room(&g->values, &g->cap_values, g->nvalues,
		       sizeof(*g->values), e);
	if (rc < 0)
		return rc;
	v = &g->values[g->nvalues];
	*v = (struct value){.producer = NO_NODE, .captured = NO_VALUE};
	v->name = arena_strndup(g->arena, name, len);
	if (!v->name || map_add(g->index, v->name, len, g->nvalues) < 0)
		return err_nomem(e, len);
	*out = g->nvalues++;
	return 0;
}

value_id graph_find(const struct graph *g, const char *name, size_t len)
{
	uint64_t id;

	return map_get(g->index, name, len, &id) ? (value_id)id : NO_VALUE;
}

int graph_declare(struct graph *g, value_id v, const struct tensor *type,
		  const char **dim_names, struct err *e)
{
	struct tensor *copy = arena_alloc(g->arena, sizeof(*copy));

	if (!copy)
		return err_nomem(e, sizeof(*copy));
	*copy = *type;
	copy->data = NULL;
	g->values[v].dtype = type->dtype;
	g->values[v].type = copy;
	g->values[v].dim_names = dim_names;
	return 0;
}

int graph_input(struct graph *g, value_id v, struct err *e)
{
	int rc = make_room(&g->inputs, &g->cap_inputs, g->ninputs,
			   sizeof(*g->inputs), e);

	if (rc < 0)
		return rc;
	g->inputs[g->ninputs++] = v;
	g->values[v].is_input = true;
	return 0;
}

int graph_output(struct graph *g, value_id v, struct err *e)
{
	int rc = make_room(&g->outputs, &g->cap_outputs, g->noutputs,
			   sizeof(*g->outputs), e);

	if (rc < 0)
		return rc;
	g->outputs[g->noutputs++] = v;
	g->values[v].is_output = true;
	return 0;
}

/*
 * A name nobody has: as given, "Conv_7" for none, "x%1" for a second x.  The
 * map remembers for each name the number to try next, so that many nodes of
 * one name cost no more than others.
 */
static const char *unique_name(struct graph *g, const char *name,
			       const char *type, struct err *e)
{
	struct text base = {0}, s = {0};
	const char *copy = NULL;
	uint64_t next = 0, other;

	if (name && *name)
		text_add(&base, name);
	else
		text_printf(&base, "%s_%u", type, g->nnodes);
	text_add_bytes(&s, base.p, base.len);
	if (!base.failed && map_get(g->node_names, base.p, base.len, &next)) {
		do {
			s.len = 0;
			text_printf(&s, "%s%%%llu", base.p,
				    (unsigned long long)++next);
		} while (!s.failed &&
			 map_get(g->node_names, s.p, s.len, &other));
		/* The key that is there stays: base goes away. */
		if (map_set(g->node_names, base.p, base.len, next) < 0)
			s.failed = true;
	}
	if (!base.failed && !s.failed)
		copy = arena_strndup(g->arena, s.p, s.len);
	if (copy && map_add(g->node_names, copy, s.len, 0) < 0)
		copy = NULL;
	if (!copy)
		err_nomem(e, s.len);
	text_free(&base);
	text_free(&s);
	return copy;
}

static value_id *new_ids(struct arena *a, uint32_t n)
{
	value_id *ids = arena_array(a, n, sizeof(*ids));
	uint32_t i;

	for (i = 0; ids && i < n; i++)
		ids[i] = NO_VALUE;
	return ids;
}

int graph_node(struct graph *g, const char *name, const char *domain,
	       const char *type, uint32_t nin, uint32_t nout, uint32_t nattrs,
	       struct node **out, struct err *e)
{
	struct node *n;
	int rc = make_room(&g->nodes, &g->cap_nodes, g->nnodes,
			   sizeof(*g->nodes), e);

	if (rc == 0 && nattrs > NODE_ATTRS_MAX)
		rc = err_set(e, EFBIG, "a node of %u attributes", nattrs);
	if (rc < 0)
		return rc;
	n = &g->nodes[g->nnodes];
	*n = (struct node){.nin = nin, .nout = nout};
	n->name = unique_name(g, name, type, e);
	if (!n->name)
		return -ENOMEM;
	n->domain = arena_strndup(g->arena, domain, strlen(domain));
	n->type = arena_strndup(g->arena, type, strlen(type));
	n->in = new_ids(g->arena, nin);
	n->out = new_ids(g->arena, nout);
	n->attrs = arena_array(g->arena, nattrs, sizeof(*n->attrs));
	if (!n->domain || !n->type || !n->in || !n->out || !n->attrs)
		return err_nomem(e, nin + nout + nattrs);
	/* A zeroed attribute owns nothing, so a half-filled node is fine. */
	n->nattrs = nattrs;
	g->nnodes++;
	*out = n;
	return 0;
}

const struct attr *node_attr(const struct node *n, const char *name)
{
	uint32_t i;

	for (i = 0; i < n->nattrs; i++)
		if (n->attrs[i].name && strcmp(n->attrs[i].name, name) == 0)
			return &n->attrs[i];
	return NULL;
}

static void format_numbers(const struct attr *a, struct text *out)
{
	size_t i;

	for (i = 0; i < a->n; i++) {
		const char *sep = i ? "," : "";

		if (a->kind == ATTR_FLOATS)
			text_printf(out, "%s%.9g", sep, (double)a->floats[i]);
		else if (a->kind == ATTR_INTS)
			text_printf(out, "%s%lld", sep, (long long)a->ints[i]);
		else
			text_printf(out, "%s%s", sep, a->strings[i].p);
	}
}

void attr_format(const struct attr *a, struct text *out)
{
	switch (a->kind) {
	case ATTR_FLOAT:
		text_printf(out, "%.9g", (double)a->f);
		break;
	case ATTR_INT:
		text_printf(out, "%lld", (long long)a->i);
		break;
	case ATTR_STRING:
		text_add_bytes(out, a->s.p, a->s.len);
		break;
	case ATTR_FLOATS:
	case ATTR_INTS:
	case ATTR_STRINGS:
		format_numbers(a, out);
		break;
	case ATTR_TENSOR: {
		char shape[256];

		shape_format(&a->t->shape, shape, sizeof(shape));
		text_printf(out, "<%s [%s]>", dtype_name(a->t->dtype), shape);
		break;
	}
	case ATTR_GRAPH:
		text_printf(out, "<graph %s>", a->g->name);
		break;
	default:
		text_printf(out, "<%zu>", a->n);
		break;
	}
}
