/* SPDX-License-Identifier: MIT */
/* texts - README, info.json and .module. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/dtype.h"
#include "modelfs/model.h"
#include "vfs/mounted.h"

int text_blob(struct text *t, struct blob **out, struct err *e)
{
	if (!t->failed)
		*out = blob_copy(t->p ? t->p : "", t->len);
	if (t->failed || !*out) {
		text_free(t);
		return err_nomem(e, t->len);
	}
	text_free(t);
	return 0;
}

int mount_text(struct mount *m, enum top_text which, struct blob **out,
	       struct err *e)
{
	static void (*const writers[])(struct mount *, struct text *) = {
		[TEXT_README] = write_readme,
		[TEXT_INFO] = write_info,
		[TEXT_NODES] = write_nodes,
		[TEXT_DOT] = write_dot,
	};
	struct text text = {0};
	struct blob *b = NULL;
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	b = m->texts[which];
	pthread_mutex_unlock(&m->lock);
	if (!b) {
		writers[which](m, &text);
		rc = text_blob(&text, &b, e);
		if (rc < 0)
			return rc;
		pthread_mutex_lock(&m->lock);
		if (m->texts[which])
			blob_unref(b);
		else
			m->texts[which] = b;
		b = m->texts[which];
		pthread_mutex_unlock(&m->lock);
	}
	*out = b;
	return 0;
}

/* ---- info.json ---- */

struct totals {
	uint64_t nelems, nbytes;
	uint64_t of_dtype[DTYPE_COUNT];
	uint32_t ntensors, nties;
};

/* Tied parameters are one. */
static void count(const struct model *m, struct totals *out)
{
	uint32_t i;

	for (i = 0; i < m->nparams; i++) {
		const struct param *p = m->params[i];
		struct tensor t = param_tensor(p);
		uint64_t n = 0, nbytes = 0;

		if (p->tied) {
			out->nties++;
			continue;
		}
		shape_nelems(&t.shape, &n);
		if (!tensor_nbytes(&t, &nbytes) && t.data)
			nbytes = t.data->size;
		out->ntensors++;
		out->nelems += n;
		out->nbytes += nbytes;
		out->of_dtype[p->dtype] += n;
	}
}

static uint32_t count_modules(const struct model *m)
{
	uint32_t i, n = 0;

	for (i = 1; i < m->nmodules; i++)
		n += !m->modules[i]->is_node;
	return n;
}

static void add_key(struct text *out, const char *key)
{
	text_add(out, ",\n  ");
	text_add_json(out, key, strlen(key));
	text_add(out, ": ");
}

static void add_dtypes(const struct totals *t, struct text *out)
{
	const char *sep = "";
	size_t i;

	add_key(out, "dtypes");
	text_add(out, "{");
	for (i = 0; i < DTYPE_COUNT; i++) {
		if (!t->of_dtype[i])
			continue;
		text_printf(out, "%s\"%s\": %llu", sep,
			    dtype_name((enum dtype)i),
			    (unsigned long long)t->of_dtype[i]);
		sep = ", ";
	}
	text_add(out, "}");
}

static void add_dim(const struct value *v, int32_t i, struct text *out)
{
	int64_t dim = v->type->shape.dims[i];
	const char *name = v->dim_names ? v->dim_names[i] : NULL;

	if (dim >= 0)
		text_printf(out, "%lld", (long long)dim);
	else
		text_add_json(out, name ? name : "?", strlen(name ? name : "?"));
}

static void add_values(const struct graph *g, const char *key,
		       const value_id *ids, uint32_t n, struct text *out)
{
	uint32_t i;
	int32_t k;

	add_key(out, key);
	text_add(out, "[");
	for (i = 0; i < n; i++) {
		const struct value *v = &g->values[ids[i]];

		text_printf(out, "%s\n    {\"name\": ", i ? "," : "");
		text_add_json(out, v->name, strlen(v->name));
		text_printf(out, ", \"dtype\": \"%s\"", dtype_name(v->dtype));
		text_add(out, ", \"shape\": ");
		text_add(out, v->type && v->type->shape.rank >= 0 ? "["
								  : "null");
		for (k = 0; v->type && k < v->type->shape.rank; k++) {
			text_add(out, k ? ", " : "");
			add_dim(v, k, out);
		}
		text_add(out, v->type && v->type->shape.rank >= 0 ? "]}"
								  : "}");
	}
	text_add(out, n ? "\n  ]" : "]");
}

void write_info(struct mount *m, struct text *out)
{
	const struct model *model = m->model;
	const struct graph *g = model->graph;
	const struct info_item *item;
	struct totals t = {0};

	count(model, &t);
	text_add(out, "{\n  \"format\": ");
	text_add_json(out, model->format, strlen(model->format));
	for (item = model->info; item; item = item->next) {
		add_key(out, item->key);
		text_add_json(out, item->value, strlen(item->value));
	}
	add_key(out, "modules");
	text_printf(out, "%u", count_modules(model));
	add_key(out, "tensors");
	text_printf(out, "%u", t.ntensors);
	add_key(out, "tied");
	text_printf(out, "%u", t.nties);
	add_key(out, "parameters");
	text_printf(out, "%llu", (unsigned long long)t.nelems);
	add_key(out, "bytes");
	text_printf(out, "%llu", (unsigned long long)t.nbytes);
	add_key(out, "bits_per_weight");
	text_printf(out, "%.4g",
		    t.nelems ? 8.0 * (double)t.nbytes / (double)t.nelems : 0.0);
	add_dtypes(&t, out);
	add_key(out, "nodes");
	text_printf(out, "%u", g ? g->nnodes : 0);
	add_values(g, "inputs", g ? g->inputs : NULL, g ? g->ninputs : 0, out);
	add_values(g, "outputs", g ? g->outputs : NULL, g ? g->noutputs : 0,
		   out);
	text_add(out, "\n}\n");
}

void vfs_totals(struct vfs *v, struct text *out)
{
	struct totals t = {0};
	size_t i;

	count(v->mounts[0].model, &t);
	text_printf(out, "%llu parameters, %u tensors, %llu bytes",
		    (unsigned long long)t.nelems, t.ntensors,
		    (unsigned long long)t.nbytes);
	if (t.nelems)
		text_printf(out, ", %.4g bits per weight",
			    8.0 * (double)t.nbytes / (double)t.nelems);
	for (i = 0; i < DTYPE_COUNT; i++)
		if (t.of_dtype[i])
			text_printf(out, ", %s %llu",
				    dtype_name((enum dtype)i),
				    (unsigned long long)t.of_dtype[i]);
}

/* ---- .module ---- */

static const char *kind_name(uint8_t kind)
{
	static const char *const names[] = {
		[PARAM_PARAMETER] = "parameter",
		[PARAM_BUFFER] = "buffer",
		[PARAM_CONSTANT] = "constant",
		[PARAM_SLOT] = "slot",
	};

	return names[kind];
}

static void add_line(struct text *out, const char *key, const char *value)
{
	const char *p;

	text_printf(out, "%s\t", key);
	for (p = value; *p; p++)
		text_add_bytes(out, *p == '\n' || *p == '\t' ? " " : p, 1);
	text_add(out, "\n");
}

void write_module(struct mount *m, uint32_t module, struct text *out)
{
	const struct module *mod = m->model->modules[module];
	const struct module_attr *a;
	const struct tree *t;
	struct tree_hit hit;
	uint64_t i;

	if (mount_tree(m, TREE_MODEL, &t, NULL) < 0)
		return;
	if (mod->type)
		add_line(out, "type", mod->type);
	for (a = mod->attrs; a; a = a->next)
		add_line(out, a->key, a->value);
	text_printf(out, "parameters\t%llu\n",
		    (unsigned long long)m->module_nelems[module]);
	for (i = 0; tree_list(t, m->module_dir[module], i, &hit); i++)
		if (tree_kind(t, hit.entry) == ENTRY_VIEWED && hit.view == 0)
			text_printf(out, "kind.%s\t%s\n",
				    tree_name(t, hit.entry),
				    kind_name(m->model->params[tree_ref(
							       t, hit.entry)]
						      ->kind));
}

/* ---- README ---- */

static void readme_param(struct mount *m, const struct tree *t,
			 struct text *out)
{
	if (m->model->nparams == 0)
		return;
	text_add(out, "A parameter, for instance:\n\n  cat   model/");
	tree_path(t, m->param_entry[0], out);
	text_add(out, ".shape\n  cp    model/");
	tree_path(t, m->param_entry[0], out);
	text_add(out, ".npy /tmp/\n  readlink tensors/*\n\n");
}

static void readme_run(const struct graph *g, struct text *out)
{
	const char *in = g->ninputs ? g->values[g->inputs[0]].name : NULL;
	const char *o = g->noutputs ? g->values[g->outputs[0]].name : NULL;

	text_add(out, "The model can be run:\n\n  mkdir run/x\n");
	if (in)
		text_printf(out, "  cat   run/x/in/%s.shape\n"
				 "  cp    input.npy run/x/in/%s.npy\n",
			    in, in);
	if (o)
		text_printf(out, "  cp    run/x/out/%s.npy /tmp/\n", o);
	text_add(out, "  ls    run/x/act        every module's output\n"
		      "  ls    run/x/values     every value by its name\n"
		      "  cat   run/x/status\n"
		      "  cp    y.npy run/x/patch/MODULE/output.npy\n"
		      "  rmdir run/x\n\n"
		      "Nothing is computed until a file is read.\n\n");
}

void write_readme(struct mount *m, struct text *out)
{
	const struct tree *t;
	struct totals totals = {0};

	if (mount_tree(m, TREE_MODEL, &t, NULL) < 0)
		return;
	count(m->model, &totals);
	text_printf(out, "%s\n\nA model of format %s, opened by modelfs: %llu "
			 "parameters in %u tensors,\n%llu bytes.\n\n",
		    m->name, m->model->format,
		    (unsigned long long)totals.nelems, totals.ntensors,
		    (unsigned long long)totals.nbytes);
	text_add(out, "  model/     modules are directories, parameters are "
		      "files:\n"
		      "             NAME (raw), NAME.npy, NAME.shape, "
		      "NAME.dtype\n"
		      "  tensors/   the same under their original names\n"
		      "  config/    what else the file carries\n"
		      "  info.json  the numbers above, for programs\n");
	if (m->model->graph)
		text_add(out, "  graph/     the computation\n"
			      "  run/       give it inputs, read any inner "
			      "value\n");
	text_add(out, "\n");
	readme_param(m, t, out);
	if (m->model->graph)
		readme_run(m->model->graph, out);
	text_add(out, "See modelfs(5).\n");
}
