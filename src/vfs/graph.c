/* SPDX-License-Identifier: MIT */
/*
 * graph - the files of graph/: nodes.tsv, graph.dot, and a directory for every
 * node.
 *
 * Plain entries carry in their reference what they are: the kind in the low
 * bits, the node or parameter they lead to above.  The node an `op` or
 * `attributes` belongs to is the object of its directory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "vfs/mounted.h"

enum ref_kind { REF_NODES, REF_DOT, REF_OP, REF_ATTRS, REF_NODE, REF_PARAM };

#define REF(kind, id) ((uint32_t)(id) << 3 | (uint32_t)(kind))
#define REF_KIND(ref) ((enum ref_kind)((ref) & 7))
#define REF_ID(ref) ((ref) >> 3)
#define REF_ID_MAX (UINT32_MAX >> 3)

/*
 * A file can give one long name and have it read a million times: once a text
 * has this many bytes, the names in it are cut.
 */
#define LONG_TEXT (64u << 20)
#define SHORT_NAME 255

struct builder {
	const struct graph *g;
	struct tree *t;
	uint32_t *node_dir;
	uint32_t *outputs_dir; /* of each node; NO_DIR until it is needed */
	uint32_t *nconsumers;  /* of each value */
};

static int add_link(struct tree *t, uint32_t dir, uint32_t k, uint32_t nth,
		    uint32_t ref, struct err *e)
{
	char name[32];
	int n = nth ? snprintf(name, sizeof(name), "%u.%u", k, nth)
		    : snprintf(name, sizeof(name), "%u", k);

	return tree_add(t, dir, ENTRY_PLAIN, name, (size_t)n, ref, e);
}

/* The producer of input k shows the node as one that reads its output. */
static int add_consumer(struct builder *b, value_id v, uint32_t consumer,
			struct err *e)
{
	const struct value *val = &b->g->values[v];
	uint32_t *dir = &b->outputs_dir[val->producer];
	int rc = 0;

	if (*dir == NO_DIR)
		rc = tree_dir(b->t, b->node_dir[val->producer], "outputs", 7,
			      val->producer, dir, e);
	if (rc < 0)
		return rc;
	return add_link(b->t, *dir, val->output, b->nconsumers[v]++,
			REF(REF_NODE, consumer), e);
}

static int add_inputs(struct builder *b, uint32_t i, struct err *e)
{
	const struct node *n = &b->g->nodes[i];
	uint32_t dir, k;
	int rc = tree_dir(b->t, b->node_dir[i], "inputs", 6, i, &dir, e);

	for (k = 0; rc == 0 && k < n->nin; k++) {
		const struct value *v;

		if (n->in[k] == NO_VALUE)
			continue;
		v = &b->g->values[n->in[k]];
		if (v->param)
			rc = add_link(b->t, dir, k, 0,
				      REF(REF_PARAM, v->param->id), e);
		else if (v->producer != NO_NODE) {
			rc = add_link(b->t, dir, k, 0,
				      REF(REF_NODE, v->producer), e);
			if (rc == 0)
				rc = add_consumer(b, n->in[k], i, e);
		}
	}
	return rc;
}

static int add_node(struct builder *b, uint32_t i, struct err *e)
{
	const struct node *n = &b->g->nodes[i];
	char *path = NULL;
	int len, rc;
	uint32_t dir;

	len = asprintf(&path, "nodes/%s",
		       n->name + strspn(n->name, "/"));
	if (len < 0)
		return err_nomem(e, strlen(n->name));
	rc = tree_dir_path(b->t, path, (size_t)len, i, &dir, e);
	free(path);
	if (rc == 0)
		rc = tree_add(b->t, dir, ENTRY_PLAIN, "op", 2, REF(REF_OP, 0),
			      e);
	if (rc == 0)
		rc = tree_add(b->t, dir, ENTRY_PLAIN, "attributes", 10,
			      REF(REF_ATTRS, 0), e);
	b->node_dir[i] = dir;
	return rc;
}

int build_graph(struct mount *m, struct tree *t, struct err *e)
{
	const struct graph *g = m->model->graph;
	struct builder b = {
		.g = g,
		.t = t,
		.node_dir = calloc((size_t)g->nnodes + 1, sizeof(uint32_t)),
		.outputs_dir = malloc(((size_t)g->nnodes + 1) *
				      sizeof(uint32_t)),
		.nconsumers = calloc((size_t)g->nvalues + 1,
				     sizeof(uint32_t)),
	};
	uint32_t i;
	int rc = -ENOMEM;

	if (!b.node_dir || !b.outputs_dir || !b.nconsumers) {
		err_nomem(e, g->nnodes);
		goto out;
	}
	rc = g->nnodes > REF_ID_MAX || m->model->nparams > REF_ID_MAX
		     ? err_set(e, EFBIG, "too many nodes")
		     : 0;
	for (i = 0; rc == 0 && i < g->nnodes; i++) {
		b.outputs_dir[i] = NO_DIR;
		rc = add_node(&b, i, e);
	}
	for (i = 0; rc == 0 && i < g->nnodes; i++)
		rc = add_inputs(&b, i, e);
	if (rc == 0)
		rc = tree_add(t, TREE_ROOT, ENTRY_PLAIN, "nodes.tsv", 9,
			      REF(REF_NODES, 0), e);
	if (rc == 0)
		rc = tree_add(t, TREE_ROOT, ENTRY_PLAIN, "graph.dot", 9,
			      REF(REF_DOT, 0), e);
out:
	free(b.outputs_dir);
	free(b.nconsumers);
	m->node_dir = b.node_dir;
	return rc;
}

/* ---- what the entries hold ---- */

bool graph_entry_is_link(const struct tree *t, uint32_t entry)
{
	enum ref_kind kind = REF_KIND(tree_ref(t, entry));

	return kind == REF_NODE || kind == REF_PARAM;
}

static void write_attributes(const struct node *n, struct text *out)
{
	uint32_t i;

	for (i = 0; i < n->nattrs; i++) {
		if (!n->attrs[i].name)
			continue;
		text_printf(out, "%s\t", n->attrs[i].name);
		attr_format(&n->attrs[i], out);
		text_add(out, "\n");
	}
}

int graph_entry_open(struct mount *m, const struct tree *t, uint32_t entry,
		     struct blob **out, struct err *e)
{
	enum ref_kind kind = REF_KIND(tree_ref(t, entry));
	const struct node *n;
	struct text text = {0};
	struct blob *b;
	int rc;

	if (kind == REF_NODES || kind == REF_DOT) {
		rc = mount_text(m, kind == REF_DOT ? TEXT_DOT : TEXT_NODES,
				&b, e);
		if (rc == 0)
			*out = blob_ref(b);
		return rc;
	}
	n = &m->model->graph->nodes[tree_object(t, tree_parent(t, entry))];
	if (kind == REF_ATTRS)
		write_attributes(n, &text);
	else
		text_printf(&text, "%s%s%s\n", n->domain,
			    *n->domain ? "." : "", n->type);
	return text_blob(&text, out, e);
}

int graph_entry_link(struct mount *m, const struct tree *t, uint32_t entry,
		     struct text *out, struct err *e)
{
	uint32_t ref = tree_ref(t, entry);
	const struct tree *model;
	int rc;

	link_up(t, entry, out);
	if (REF_KIND(ref) == REF_NODE) {
		text_add(out, "graph/");
		tree_path(t, tree_dir_entry(t, m->node_dir[REF_ID(ref)]), out);
		return 0;
	}
	rc = mount_tree(m, TREE_MODEL, &model, e);
	if (rc < 0)
		return rc;
	text_add(out, "model/");
	tree_path(model, m->param_entry[REF_ID(ref)], out);
	return 0;
}

/* ---- nodes.tsv and graph.dot ---- */

/* How much of a name is written. */
static size_t written_length(const struct text *out, const char *name)
{
	return strnlen(name, out->len < LONG_TEXT ? SIZE_MAX : SHORT_NAME);
}

/* Tabs and line ends would make more fields or lines of one. */
static void add_field(struct text *out, const char *s)
{
	const char *end = s + written_length(out, s);

	for (; s < end; s++) {
		if (*s == '\t')
			text_add(out, "\\t");
		else if (*s == '\n')
			text_add(out, "\\n");
		else if (*s == '\\')
			text_add(out, "\\\\");
		else
			text_add_bytes(out, s, 1);
	}
}

static void add_values(const struct graph *g, const value_id *ids, uint32_t n,
		       struct text *out)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (i)
			text_add(out, " ");
		add_field(out, ids[i] == NO_VALUE ? "-"
						  : g->values[ids[i]].name);
	}
}

static void add_module_path(const struct module *mod, struct text *out)
{
	const struct module *up[MODEL_DEPTH_MAX + 1];
	unsigned n = 0;

	for (; mod && mod->parent; mod = mod->parent)
		up[n++] = mod;
	while (n-- > 0) {
		add_field(out, up[n]->name);
		if (n > 0)
			text_add(out, "/");
	}
}

static void add_node_line(const struct graph *g, const struct node *n,
			  const char *prefix, struct text *out)
{
	struct text attrs = {0};
	uint32_t i;

	add_field(out, prefix);
	add_field(out, n->name);
	text_printf(out, "\t%s\t%s\t", n->type, n->domain);
	add_module_path(n->module, out);
	text_add(out, "\t");
	add_values(g, n->in, n->nin, out);
	text_add(out, "\t");
	add_values(g, n->out, n->nout, out);
	text_add(out, "\t");
	for (i = 0; i < n->nattrs; i++) {
		if (!n->attrs[i].name)
			continue;
		text_printf(&attrs, "%s%s=", i ? " " : "", n->attrs[i].name);
		attr_format(&n->attrs[i], &attrs);
	}
	add_field(out, attrs.p ? attrs.p : "");
	text_free(&attrs);
	text_add(out, "\n");
}

/* Subgraphs follow the node that owns them, under its name. */
static void add_node_lines(const struct graph *g, const char *prefix,
			   struct text *out)
{
	uint32_t i, k;

	for (i = 0; i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		add_node_line(g, n, prefix, out);
		for (k = 0; k < n->nattrs; k++) {
			struct text below = {0};

			if (n->attrs[k].kind != ATTR_GRAPH || !n->attrs[k].g)
				continue;
			text_printf(&below, "%s%s/%s/", prefix, n->name,
				    n->attrs[k].name);
			if (below.p)
				add_node_lines(n->attrs[k].g, below.p, out);
			text_free(&below);
		}
	}
}

void write_nodes(struct mount *m, struct text *out)
{
	text_add(out, "name\top\tdomain\tmodule\tinputs\toutputs\t"
		      "attributes\n");
	add_node_lines(m->model->graph, "", out);
}

static void add_dot_name(struct text *out, char kind, const char *name)
{
	const char *p, *end = name + written_length(out, name);

	text_printf(out, "\"%c:", kind);
	for (p = name; p < end; p++) {
		if (*p == '"' || *p == '\\')
			text_add(out, "\\");
		text_add_bytes(out, p, 1);
	}
	text_add(out, "\"");
}

static void add_dot_edge(const struct graph *g, const struct node *n,
			 value_id v, struct text *out)
{
	const struct value *val = &g->values[v];

	if (val->param)
		return;
	text_add(out, "\t");
	if (val->producer == NO_NODE)
		add_dot_name(out, 'v', val->name);
	else
		add_dot_name(out, 'n', g->nodes[val->producer].name);
	text_add(out, " -> ");
	add_dot_name(out, 'n', n->name);
	text_add(out, ";\n");
}

void write_dot(struct mount *m, struct text *out)
{
	const struct graph *g = m->model->graph;
	uint32_t i, k;

	text_add(out, "digraph model {\n\tnode [shape=box];\n");
	for (i = 0; i < g->nnodes; i++) {
		text_add(out, "\t");
		add_dot_name(out, 'n', g->nodes[i].name);
		text_printf(out, " [label=\"%s\"];\n", g->nodes[i].type);
	}
	for (i = 0; i < g->nnodes; i++)
		for (k = 0; k < g->nodes[i].nin; k++)
			if (g->nodes[i].in[k] != NO_VALUE)
				add_dot_edge(g, &g->nodes[i],
					     g->nodes[i].in[k], out);
	text_add(out, "}\n");
}
