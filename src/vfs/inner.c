/* SPDX-License-Identifier: MIT */
/*
 * inner - the graphs inside If, Loop and Scan, below the node that owns them:
 *
 *	act/NODE/ATTRIBUTE/IN          what the graph is given
 *	act/NODE/ATTRIBUTE/NODE/output what a node of it makes
 *	values/NODE/ATTRIBUTE/NAME     all of these by their names, as links;
 *	                               NODE:graphs where a value is called NODE
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/names.h"
#include "modelfs/text.h"
#include "vfs/mounted.h"

int add_value(struct mount *m, struct tree *t, uint32_t dir, const char *name,
	      size_t len, value_id id, struct err *e)
{
	bool items = m->is_container && m->is_container[id];

	return tree_add(t, dir, items ? ENTRY_ITEMS : ENTRY_VIEWED, name, len,
			id, e);
}

/* Directories for the '/' in a name, but for its last part. */
static int walk_to(struct tree *t, uint32_t dir, const char *name,
		   struct name_iter *leaf, uint32_t *out, struct err *e)
{
	name += strspn(name, "/");
	*leaf = name_iter(name, strlen(name), "/");
	*out = dir;
	while (name_next(leaf) && !leaf->is_last) {
		int rc = tree_dir(t, *out, leaf->part, leaf->part_len, NO_DIR,
				  out, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int make_dir(struct tree *t, uint32_t dir, const char *name,
		    uint32_t *out, struct err *e)
{
	struct name_iter leaf;
	int rc = walk_to(t, dir, name, &leaf, out, e);

	if (rc < 0)
		return rc;
	return tree_dir(t, *out, leaf.part, leaf.part_len, NO_DIR, out, e);
}

struct builder {
	struct mount *m;
	struct tree *t;
	bool is_act;
	uint32_t *dirs; /* of each subgraph, in their order */
	uint32_t ndirs;
};

/* Directories for the subgraphs of a node. */
static int add_subgraphs(struct builder *b, const struct node *n, uint32_t dir,
			 struct err *e)
{
	const struct attr *attr;
	size_t k;

	for (k = 0;; k++) {
		const struct graph *sub = node_subgraph(n, k, &attr);
		char name[NAME_BUFFER];
		int rc;

		if (!sub)
			return 0;
		snprintf(name, sizeof(name),
			 attr->kind == ATTR_GRAPH ? "%.200s" : "%.200s.%zu",
			 attr->name, k);
		rc = tree_dir(b->t, dir, name, strlen(name), NO_DIR,
			      &b->dirs[b->ndirs++], e);
		if (rc < 0)
			return rc;
	}
}

static int add_named(struct builder *b, uint32_t dir, const char *name,
		     value_id id, struct err *e)
{
	struct name_iter leaf;
	uint32_t at;
	int rc = walk_to(b->t, dir, name, &leaf, &at, e);

	if (rc < 0)
		return rc;
	return add_value(b->m, b->t, at, leaf.part, leaf.part_len, id, e);
}

static int add_outputs(struct builder *b, const struct graph *g,
		       const struct node *n, uint32_t dir, struct err *e)
{
	char name[32];
	uint32_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n->nout; i++) {
		int len = i ? snprintf(name, sizeof(name), "output.%u", i)
			    : snprintf(name, sizeof(name), "output");

		/* A stored tensor is a file of model/. */
		if (n->out[i] != NO_VALUE && !g->values[n->out[i]].param)
			rc = add_value(b->m, b->t, dir, name, (size_t)len,
				       g->first_id + n->out[i], e);
	}
	return rc;
}

static int add_graph(struct builder *b, const struct graph *g, uint32_t dir,
		     struct err *e)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < g->nvalues; i++) {
		const struct value *v = &g->values[i];

		if (v->is_input ||
		    (!b->is_act && v->producer != NO_NODE && !v->param))
			rc = add_named(b, dir, v->name, g->first_id + i, e);
	}
	for (i = 0; rc == 0 && i < g->nnodes; i++) {
		const struct attr *attr;
		const struct node *n = &g->nodes[i];
		uint32_t at;

		if (!b->is_act && !node_subgraph(n, 0, &attr))
			continue;
		rc = make_dir(b->t, dir, n->name, &at, e);
		if (rc == 0 && b->is_act)
			rc = add_outputs(b, g, n, at, e);
		if (rc == 0)
			rc = add_subgraphs(b, n, at, e);
	}
	return rc;
}

static int make_node_dir(struct builder *b, const struct node *n, uint32_t *out,
			 struct err *e)
{
	const struct graph *g = b->m->model->graph;
	struct text name = {0};
	int rc;

	text_add(&name, n->name);
	if (!b->is_act && graph_find(g, n->name, strlen(n->name)) != NO_VALUE)
		text_add(&name, ":graphs");
	rc = name.failed ? err_nomem(e, 0)
			 : make_dir(b->t, TREE_ROOT, name.p, out, e);
	text_free(&name);
	return rc;
}

/* Subgraphs come in the order in which they were numbered. */
int add_inner(struct mount *m, struct tree *t, bool is_act,
	      const uint32_t *module_dirs, struct err *e)
{
	const struct graph *g = m->model->graph;
	struct builder b = {.m = m, .t = t, .is_act = is_act};
	uint32_t i;
	int rc = 0;

	if (g->nsubgraphs == 0)
		return 0;
	b.dirs = calloc((size_t)g->nsubgraphs + 1, sizeof(*b.dirs));
	if (!b.dirs)
		return err_nomem(e, g->nsubgraphs * sizeof(*b.dirs));
	for (i = 0; rc == 0 && i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];
		const struct attr *attr;
		uint32_t dir = TREE_ROOT;

		if (!node_subgraph(n, 0, &attr))
			continue;
		if (is_act && n->module)
			dir = module_dirs[n->module->id];
		else
			rc = make_node_dir(&b, n, &dir, e);
		if (rc == 0)
			rc = add_subgraphs(&b, n, dir, e);
	}
	for (i = 0; rc == 0 && i < g->nsubgraphs; i++)
		rc = add_graph(&b, g->subgraphs[i], b.dirs[i], e);
	free(b.dirs);
	return rc;
}
