/* SPDX-License-Identifier: MIT */
/*
 * trees - the trees of a model, built when first looked at, and the simple
 * ones among them: README and info.json, config/, model/, tensors/, in/, out/,
 * act/ and values/.  graph/ is in graph.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/dtype.h"
#include "modelfs/model.h"
#include "modelfs/run.h"
#include "modelfs/view.h"
#include "vfs/mounted.h"

struct tree_kind {
	const char *dirname;
	int (*build)(struct mount *m, struct tree *t, struct err *e);
};

static const struct tree_kind kinds[TREE_COUNT] = {
	[TREE_TOP] = {"", build_top},
	[TREE_CONFIG] = {"config", build_config},
	[TREE_MODEL] = {"model", build_model},
	[TREE_TENSORS] = {"tensors", build_tensors},
	[TREE_GRAPH] = {"graph", build_graph},
	[TREE_IN] = {"in", build_in},
	[TREE_OUT] = {"out", build_out},
	[TREE_ACT] = {"act", build_act},
	[TREE_VALUES] = {"values", build_values},
};

const char *tree_dirname(enum tree_id id)
{
	return kinds[id].dirname;
}

/*
 * Which entry an object is found under.  Of several the last: for a value that
 * is the innermost module, the node that makes it.
 */
static uint32_t *index_refs(const struct tree *t, uint32_t nrefs,
			    uint32_t *counts)
{
	uint32_t *index = malloc(((size_t)nrefs + 1) * sizeof(*index));
	uint32_t i;

	for (i = 0; index && i < nrefs; i++)
		index[i] = NO_ENTRY;
	for (i = 0; index && i < tree_nentries(t); i++) {
		uint32_t ref = tree_ref(t, i);

		if ((tree_kind(t, i) != ENTRY_VIEWED &&
		     tree_kind(t, i) != ENTRY_ITEMS) ||
		    ref >= nrefs)
			continue;
		index[ref] = i;
		if (counts)
			counts[ref]++;
	}
	return index;
}

static int index_tree(struct mount *m, enum tree_id id, struct tree *t,
		      struct err *e)
{
	const struct graph *g = m->model->graph;

	if (id == TREE_MODEL) {
		m->param_entry = index_refs(t, m->model->nparams, NULL);
		if (!m->param_entry)
			return err_nomem(e, m->model->nparams);
	}
	if (id == TREE_IN && g) {
		m->input_entry = index_refs(t, g->nall, NULL);
		if (!m->input_entry)
			return err_nomem(e, g->nall);
	}
	if (id == TREE_ACT && g) {
		m->value_links =
			calloc((size_t)g->nall + 1, sizeof(*m->value_links));
		if (!m->value_links)
			return err_nomem(e, g->nall);
		m->value_entry = index_refs(t, g->nall, m->value_links);
		if (!m->value_entry)
			return err_nomem(e, g->nall);
	}
	return 0;
}

/* Values that are made of others, as far as types tell ahead of time. */
static int find_containers(struct mount *m, struct err *e)
{
	const struct graph *g = m->model->graph;
	struct run *r;
	uint32_t i;
	int rc;

	if (m->is_container || !g || !m->en)
		return 0;
	rc = run_new(m->en, m->model, &r, e);
	if (rc < 0)
		return rc;
	m->is_container = calloc((size_t)g->nall + 1, sizeof(bool));
	for (i = 0; m->is_container && i < g->nall; i++) {
		struct tensor t;

		run_describe(r, i, &t, NULL);
		m->is_container[i] =
			dtype_info(t.dtype)->class == CLASS_CONTAINER;
	}
	run_unref(r);
	return m->is_container ? 0 : err_nomem(e, g->nall);
}

static int build(struct mount *m, enum tree_id id, struct err *e)
{
	struct tree *t = tree_new();
	int rc = t ? 0 : err_nomem(e, 64);

	if (rc == 0 && id >= TREE_IN)
		rc = find_containers(m, e);
	if (rc == 0)
		rc = kinds[id].build(m, t, e);
	if (rc == 0)
		rc = tree_freeze(t, e);
	if (rc == 0)
		rc = index_tree(m, id, t, e);
	if (rc < 0) {
		tree_free(t);
		return rc;
	}
	m->trees[id] = t;
	return 0;
}

int mount_tree(struct mount *m, enum tree_id id, const struct tree **out,
	       struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->trees[id])
		rc = build(m, id, e);
	*out = m->trees[id];
	pthread_mutex_unlock(&m->lock);
	return rc;
}

void mount_free(struct mount *m)
{
	size_t i;

	for (i = 0; i < TREE_COUNT; i++)
		tree_free(m->trees[i]);
	for (i = 0; i < sizeof(m->texts) / sizeof(m->texts[0]); i++)
		blob_unref(m->texts[i]);
	free(m->param_entry);
	free(m->input_entry);
	free(m->value_entry);
	free(m->value_links);
	free(m->is_container);
	items_free(m->items);
	free(m->module_dir);
	free(m->module_nelems);
	free(m->node_dir);
	free(m->path);
	model_free(m->model);
	pthread_mutex_destroy(&m->lock);
}

/* ---- the trees ---- */

static int add_plain(struct tree *t, const char *name, uint32_t ref,
		     struct err *e)
{
	return tree_add(t, TREE_ROOT, ENTRY_PLAIN, name, strlen(name), ref, e);
}

int build_top(struct mount *m, struct tree *t, struct err *e)
{
	int rc = add_plain(t, "README", TEXT_README, e);

	(void)m;
	return rc < 0 ? rc : add_plain(t, "info.json", TEXT_INFO, e);
}

/* The list grows at its head: refs count from the end of it. */
int build_config(struct mount *m, struct tree *t, struct err *e)
{
	const struct config_item *c;
	uint32_t i = 0;

	for (c = m->model->config; c; c = c->next) {
		int rc = tree_add_path(t, ENTRY_PLAIN, c->name, strlen(c->name),
				       i++, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* True for modules to be seen in model/: nodes only where they hold data. */
static bool *find_visible(const struct model *m)
{
	bool *seen = calloc((size_t)m->nmodules + 1, sizeof(*seen));
	uint32_t i;

	for (i = 0; seen && i < m->nparams; i++)
		seen[m->params[i]->module->id] = true;
	for (i = m->nmodules; seen && i-- > 0;) {
		const struct module *mod = m->modules[i];

		if (!mod->is_node)
			seen[i] = true;
		if (seen[i] && mod->parent)
			seen[mod->parent->id] = true;
	}
	return seen;
}

static int add_modules(struct mount *m, struct tree *t, const bool *visible,
		       uint32_t *dirs, struct err *e)
{
	const struct model *model = m->model;
	uint32_t i;

	dirs[0] = TREE_ROOT;
	for (i = 1; i < model->nmodules; i++) {
		const struct module *mod = model->modules[i];
		int rc;

		dirs[i] = NO_DIR;
		if (visible && !visible[i])
			continue;
		rc = tree_dir(t, dirs[mod->parent->id], mod->name,
			      mod->name_len, i, &dirs[i], e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int add_params(const struct model *m, struct tree *t,
		      const uint32_t *dirs, struct err *e)
{
	uint32_t i;

	for (i = 0; i < m->nparams; i++) {
		const struct param *p = m->params[i];
		int rc = tree_add(t, dirs[p->module->id], ENTRY_VIEWED, p->name,
				  p->name_len, i, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static uint32_t *new_dirs(const struct model *m)
{
	return calloc((size_t)m->nmodules + 1, sizeof(uint32_t));
}

static int add_module_files(const struct model *m, struct tree *t,
			    const uint32_t *dirs, struct err *e)
{
	static const char name[] = ".module";
	uint32_t i;

	for (i = 0; i < m->nmodules; i++) {
		int rc = 0;

		if (dirs[i] != NO_DIR)
			rc = tree_add(t, dirs[i], ENTRY_PLAIN, name,
				      sizeof(name) - 1, i, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Elements of the parameters of a module and of those below it. */
static uint64_t *count_elements(const struct model *m)
{
	uint64_t *n = calloc((size_t)m->nmodules + 1, sizeof(*n));
	uint32_t i;

	for (i = 0; n && i < m->nparams; i++) {
		struct tensor t = param_tensor(m->params[i]);
		uint64_t nelems;

		if (shape_nelems(&t.shape, &nelems))
			n[m->params[i]->module->id] += nelems;
	}
	for (i = m->nmodules; n && i-- > 1;)
		n[m->modules[i]->parent->id] += n[i];
	return n;
}

int build_model(struct mount *m, struct tree *t, struct err *e)
{
	bool *visible = find_visible(m->model);
	int rc;

	m->module_dir = new_dirs(m->model);
	m->module_nelems = count_elements(m->model);
	rc = visible && m->module_dir && m->module_nelems
		     ? 0
		     : err_nomem(e, m->model->nmodules);
	if (rc == 0)
		rc = add_modules(m, t, visible, m->module_dir, e);
	if (rc == 0)
		rc = add_module_files(m->model, t, m->module_dir, e);
	if (rc == 0)
		rc = add_params(m->model, t, m->module_dir, e);
	free(visible);
	return rc;
}

int build_tensors(struct mount *m, struct tree *t, struct err *e)
{
	uint32_t i;

	for (i = 0; i < m->model->nparams; i++) {
		const struct param *p = m->model->params[i];
		int rc = tree_add_path(t, ENTRY_VIEWED, p->full_name,
				       p->full_len, i, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int add_named(struct mount *m, struct tree *t, const value_id *ids,
		     uint32_t n, struct err *e)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		const char *name = m->model->graph->values[ids[i]].name;
		bool items = m->is_container && m->is_container[ids[i]];
		int rc = tree_add_path(t, items ? ENTRY_ITEMS : ENTRY_VIEWED,
				       name, strlen(name), ids[i], e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int build_in(struct mount *m, struct tree *t, struct err *e)
{
	const struct graph *g = m->model->graph;

	return add_named(m, t, g->inputs, g->ninputs, e);
}

int build_out(struct mount *m, struct tree *t, struct err *e)
{
	const struct graph *g = m->model->graph;

	return add_named(m, t, g->outputs, g->noutputs, e);
}

/* A node may ask for what nobody makes. */
static bool is_made(const struct value *v)
{
	return v->is_input || v->param || v->producer != NO_NODE;
}

int build_values(struct mount *m, struct tree *t, struct err *e)
{
	const struct graph *g = m->model->graph;
	uint32_t i;

	for (i = 0; i < g->nvalues; i++) {
		int rc = 0;

		if (is_made(&g->values[i]))
			rc = add_named(m, t, &i, 1, e);
		if (rc < 0)
			return rc;
	}
	return add_inner(m, t, false, NULL, e);
}

static int add_outputs(struct mount *m, const struct module *mod,
		       struct tree *t, uint32_t dir, struct err *e)
{
	char name[32];
	uint32_t i;

	for (i = 0; i < mod->noutputs; i++) {
		int n = i ? snprintf(name, sizeof(name), "output.%u", i)
			  : snprintf(name, sizeof(name), "output");
		int rc;

		if (mod->outputs[i] == NO_VALUE)
			continue;
		rc = add_value(m, t, dir, name, (size_t)n, mod->outputs[i], e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Every module is there, whether or not it hands anything out. */
int build_act(struct mount *m, struct tree *t, struct err *e)
{
	uint32_t *dirs = new_dirs(m->model);
	int rc = dirs ? 0 : err_nomem(e, m->model->nmodules);
	uint32_t i;

	if (rc == 0)
		rc = add_modules(m, t, NULL, dirs, e);
	for (i = 0; rc == 0 && i < m->model->nmodules; i++)
		rc = add_outputs(m, m->model->modules[i], t, dirs[i], e);
	if (rc == 0)
		rc = add_inner(m, t, true, dirs, e);
	free(dirs);
	return rc;
}

/* ---- what the entries hold ---- */

static int config_open(struct mount *m, const struct tree *t, uint32_t entry,
		       struct blob **out, struct err *e)
{
	const struct model *model = m->model;

	return blob_resolve(model->config_index[tree_ref(t, entry)]->data, out,
			    e);
}

static int module_open(struct mount *m, const struct tree *t, uint32_t entry,
		       struct blob **out, struct err *e)
{
	struct text text = {0};

	write_module(m, tree_ref(t, entry), &text);
	return text_blob(&text, out, e);
}

int entry_open(struct mount *m, enum tree_id tree, uint32_t entry,
	       struct blob **out, struct err *e)
{
	const struct tree *t;
	struct blob *b;
	int rc = mount_tree(m, tree, &t, e);

	if (rc < 0)
		return rc;
	if (tree == TREE_CONFIG)
		return config_open(m, t, entry, out, e);
	if (tree == TREE_GRAPH)
		return graph_entry_open(m, t, entry, out, e);
	if (tree == TREE_MODEL)
		return module_open(m, t, entry, out, e);
	rc = mount_text(m, (enum top_text)tree_ref(t, entry), &b, e);
	if (rc == 0)
		*out = blob_ref(b);
	return rc;
}

bool entry_is_link(struct mount *m, enum tree_id tree, uint32_t entry)
{
	const struct tree *t;

	if (tree == TREE_GRAPH)
		return mount_tree(m, tree, &t, NULL) == 0 &&
		       graph_entry_is_link(t, entry);
	return tree == TREE_TENSORS || tree == TREE_VALUES;
}

void link_up(const struct tree *t, uint32_t entry, struct text *out)
{
	unsigned n = tree_depth(t, tree_parent(t, entry)) + 1;

	while (n-- > 0)
		text_add(out, "../");
}

static int param_link(struct mount *m, uint32_t param, size_t view,
		      struct text *out, struct err *e)
{
	const struct tree *t;
	int rc = mount_tree(m, TREE_MODEL, &t, e);

	if (rc < 0)
		return rc;
	text_add(out, "model/");
	tree_path(t, m->param_entry[param], out);
	text_add(out, views[view]->suffix);
	return 0;
}

static int value_link(struct mount *m, uint32_t id, size_t view,
		      struct text *out, struct err *e)
{
	const struct graph *g = m->model->graph;
	const struct value *val = id < g->nvalues ? &g->values[id] : NULL;
	enum tree_id where = val && val->is_input ? TREE_IN : TREE_ACT;
	const struct tree *t;
	uint32_t entry;
	int rc;

	if (val && val->param) {
		text_add(out, "../../");
		return param_link(m, val->param->id, view, out, e);
	}
	rc = mount_tree(m, where, &t, e);
	if (rc < 0)
		return rc;
	text_printf(out, "%s/", tree_dirname(where));
	entry = where == TREE_IN ? m->input_entry[id] : m->value_entry[id];
	if (entry == NO_ENTRY)
		return err_set(e, ENOENT, "no node makes value %u", id);
	tree_path(t, entry, out);
	text_add(out, views[view]->suffix);
	return 0;
}

int entry_link(struct mount *m, enum tree_id tree, uint32_t entry, size_t view,
	       struct text *out, struct err *e)
{
	const struct tree *t;
	int rc = mount_tree(m, tree, &t, e);

	if (rc < 0)
		return rc;
	if (tree == TREE_GRAPH)
		return graph_entry_link(m, t, entry, out, e);
	link_up(t, entry, out);
	if (tree == TREE_TENSORS)
		return param_link(m, tree_ref(t, entry), view, out, e);
	return value_link(m, tree_ref(t, entry), view, out, e);
}
