/* SPDX-License-Identifier: MIT */
/*
 * seal - the last step of building a model: which parameters are the same
 * bytes, which node each module stands for, and what each module hands out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/text.h"

/* ---- ties ---- */

/* What makes two parameters one: the bytes, and how they are read. */
struct identity {
	const void *where; /* a source, or a blob that is no file range */
	uint64_t off;
	uint64_t len;
	uint64_t dtype_rank;
	int64_t dims[];
};

static size_t fill_identity(const struct param *p, struct identity *id)
{
	struct extent x;

	id->where = p->data;
	id->off = 0;
	id->len = p->data->size;
	if (blob_is_extent(p->data, &x)) {
		id->where = x.src;
		id->off = x.off;
		id->len = x.len;
	}
	id->dtype_rank = (uint64_t)p->dtype << 8 | p->rank;
	memcpy(id->dims, p->dims, p->rank * sizeof(*p->dims));
	return sizeof(*id) + p->rank * sizeof(*p->dims);
}

static void tie(struct param *p, struct param *first)
{
	p->tied = first;
	first->ntied++;
}

int model_tie(struct model *m, struct err *e)
{
	struct map *seen = map_new();
	struct arena *keys = arena_new();
	int rc = 0;
	uint32_t i;

	for (i = 0; i < m->nparams && seen && keys; i++) {
		struct param *p = m->params[i];
		struct identity *id;
		uint64_t first;
		size_t len;

		p->tied = NULL;
		p->ntied = 1;
		if (!p->data || p->data->size == 0)
			continue;
		id = arena_alloc(keys,
				 sizeof(*id) + p->rank * sizeof(*p->dims));
		if (!id) {
			rc = err_nomem(e, sizeof(*id));
			break;
		}
		len = fill_identity(p, id);
		if (map_get(seen, id, len, &first))
			tie(p, m->params[first]);
		else if (map_add(seen, id, len, i) < 0)
			rc = err_nomem(e, len);
	}
	if (!seen || !keys)
		rc = err_nomem(e, sizeof(struct identity));
	map_free(seen);
	arena_free(keys);
	return rc;
}

/* ---- a module for each node ---- */

/* A new module beside this one, or in the root. */
static int new_sibling(struct model *m, const struct module *beside,
		       const struct node *n, node_id number,
		       struct module **out, struct err *e)
{
	struct module *parent = beside->parent ? beside->parent : model_root(m);
	const char *base = beside->parent ? beside->name : n->type;
	uint32_t had = m->nmodules;
	struct text name = {0};
	int rc = 0;

	/* One more digit for as long as there is such a module already. */
	text_add(&name, base);
	text_add(&name, ".");
	while (rc == 0 && m->nmodules == had) {
		text_printf(&name, "%u", number);
		rc = name.failed ? err_nomem(e, name.len)
				 : model_module(m, parent, name.p, name.len,
						out, e);
	}
	text_free(&name);
	if (rc == 0)
		(*out)->is_node = true;
	return rc;
}

/*
 * Names of strange files lead several nodes to one module, which can show the
 * values of one alone.
 */
static int part_nodes(struct model *m, struct err *e)
{
	struct graph *g = m->graph;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < g->nnodes; i++) {
		struct node *n = &g->nodes[i];

		if (n->module &&
		    (!n->module->parent || n->module->node != NO_NODE))
			rc = new_sibling(m, n->module, n, i, &n->module, e);
		if (rc == 0 && n->module)
			n->module->node = i;
	}
	return rc;
}

/* ---- what modules hand out ---- */

static struct module *common_ancestor(struct module *a, struct module *b)
{
	while (a != b) {
		if (a->depth >= b->depth)
			a = a->parent;
		else
			b = b->parent;
	}
	return a;
}

/*
 * For every value, the innermost module that holds its producer and all that
 * read it: modules below hand the value out, this one and those above do not.
 * NULL: a graph output, which all of them hand out.
 */
static void find_homes(const struct graph *g, struct module **homes)
{
	uint32_t i, j;

	for (i = 0; i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		for (j = 0; j < n->nout; j++)
			if (n->out[j] != NO_VALUE)
				homes[n->out[j]] = n->module;
	}
	for (i = 0; i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		for (j = 0; j < n->nin + n->ncaptures; j++) {
			value_id v = node_needs(n, j);

			if (v != NO_VALUE && homes[v] && n->module)
				homes[v] = common_ancestor(homes[v], n->module);
		}
	}
	for (i = 0; i < g->noutputs; i++)
		homes[g->outputs[i]] = NULL;
}

/* The modules above a node that hand out v, up to and without its home. */
static bool hands_out(const struct module *mod, const struct module *home)
{
	return mod && mod->parent && mod != home;
}

typedef void handout_fn(struct module *mod, value_id v);

static void count_output(struct module *mod, value_id v)
{
	(void)v;
	mod->noutputs++;
}

static void add_output(struct module *mod, value_id v)
{
	mod->outputs[mod->noutputs++] = v;
}

/*
 * Calls fn for every module and every value it hands out; nodes from the last
 * to the first, for the last one's output is "output".
 */
static void each_handout(const struct graph *g, struct module **homes,
			 handout_fn *fn)
{
	uint32_t i, j;

	for (i = g->nnodes; i-- > 0;) {
		const struct node *n = &g->nodes[i];

		for (j = 0; n->module && j < n->nout; j++) {
			struct module *mod = n->module->parent;

			if (n->out[j] == NO_VALUE)
				continue;
			for (; hands_out(mod, homes[n->out[j]]);
			     mod = mod->parent)
				fn(mod, n->out[j]);
		}
	}
}

static int alloc_outputs(struct model *m, struct err *e)
{
	uint32_t i;

	for (i = 0; i < m->nmodules; i++) {
		struct module *mod = m->modules[i];

		if (mod->noutputs == 0)
			continue;
		mod->outputs = arena_array(m->arena, mod->noutputs,
					   sizeof(*mod->outputs));
		if (!mod->outputs)
			return err_nomem(e, mod->noutputs);
		mod->noutputs = 0;
	}
	return 0;
}

/* A node's own module hands out the node's outputs; the root the graph's. */
static void link_nodes(struct model *m)
{
	struct graph *g = m->graph;
	uint32_t i;

	for (i = 0; i < g->nnodes; i++) {
		struct node *n = &g->nodes[i];

		if (!n->module)
			continue;
		n->module->outputs = n->out;
		n->module->noutputs = n->nout;
	}
	model_root(m)->outputs = g->outputs;
	model_root(m)->noutputs = g->noutputs;
}

static int find_outputs(struct model *m, struct err *e)
{
	struct graph *g = m->graph;
	struct module **homes = calloc((size_t)g->nvalues + 1, sizeof(*homes));
	int rc;

	if (!homes)
		return err_nomem(e, g->nvalues * sizeof(*homes));
	find_homes(g, homes);
	each_handout(g, homes, count_output);
	rc = alloc_outputs(m, e);
	if (rc == 0) {
		each_handout(g, homes, add_output);
		link_nodes(m);
	}
	free(homes);
	return rc;
}

static int index_config(struct model *m, struct err *e)
{
	struct config_item *c;
	uint32_t i = 0;

	m->config_index = arena_array(m->arena, (size_t)m->nconfig + 1,
				      sizeof(struct config_item *));
	if (!m->config_index)
		return err_nomem(e, m->nconfig * sizeof(c));
	for (c = m->config; c; c = c->next)
		m->config_index[i++] = c;
	return 0;
}

int model_seal(struct model *m, struct err *e)
{
	int rc = model_tie(m, e);

	if (rc == 0)
		rc = index_config(m, e);
	if (rc == 0 && m->graph)
		rc = graph_seal(m->graph, e);
	if (rc == 0 && m->graph)
		rc = part_nodes(m, e);
	if (rc == 0 && m->graph)
		rc = find_outputs(m, e);
	if (rc < 0)
		return rc;
	map_free(m->index);
	m->index = NULL;
	m->is_sealed = true;
	return 0;
}
