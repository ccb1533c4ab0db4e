/* SPDX-License-Identifier: MIT */
/*
 * scope - the module a node belongs to.
 *
 * torch's older exporter writes it into the node's name, one component per
 * module, each with its full dotted name: /layer1/layer1.0/conv1/Conv.  Its
 * newer one writes it into the node's metadata: a Python list of the dotted
 * names, ['', 'layer1', 'layer1.0', 'conv2d'], and one of the classes.
 * Everybody else uses names with or without '/'.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/onnx/onnx.h"

#define SCOPES_KEY "pkg.torch.onnx.name_scopes"
#define CLASSES_KEY "pkg.torch.onnx.class_hierarchy"
/* Nested modules of one node that we follow. */
#define SCOPES_MAX 64

/* ---- names that are paths ---- */

struct walk {
	struct onnx *o;
	struct module *mod;
	struct span last; /* the component that is not a module yet */
	bool has_last;
	const char *end; /* of the whole name */
};

/* True when nothing may be nested below this component. */
static bool is_deep(const struct walk *w)
{
	return w->mod->depth + 2 >= MODEL_DEPTH_MAX;
}

static int push(struct walk *w, const char *p, size_t len, struct err *e)
{
	int rc = 0;

	if (w->has_last)
		rc = model_module(w->o->m, w->mod, w->last.p, w->last.len,
				  &w->mod, e);
	w->has_last = true;
	w->last = (struct span){p, len};
	return rc;
}

static int push_dotted(struct walk *w, const char *p, const char *end,
		       struct err *e)
{
	int rc = 0;

	while (rc == 0 && p) {
		const char *dot = memchr(p, '.', (size_t)(end - p));

		rc = push(w, p, (size_t)((dot ? dot : end) - p), e);
		p = dot ? dot + 1 : NULL;
		if (rc == 0 && is_deep(w)) {
			w->last.len = (size_t)(w->end - w->last.p);
			return 0;
		}
	}
	return rc;
}

/* What is left of "layer1.0" below "layer1". */
static const char *skip_repeated(const char *p, const char *end,
				 const struct span *above)
{
	size_t len = (size_t)(end - p);

	if (above->len > 0 && len > above->len + 1 &&
	    memcmp(p, above->p, above->len) == 0 && p[above->len] == '.')
		return p + above->len + 1;
	return p;
}

int onnx_walk_name(struct onnx *o, struct module *from, struct span name,
		   struct module **mod, struct span *leaf, struct err *e)
{
	struct walk w = {.o = o, .mod = from, .end = name.p + name.len};
	struct span above = {"", 0};
	const char *p = name.p;
	int rc = 0;

	while (p < w.end && *p == '/')
		p++;
	while (rc == 0 && p && !is_deep(&w)) {
		const char *slash = memchr(p, '/', (size_t)(w.end - p));
		const char *end = slash ? slash : w.end;

		rc = push_dotted(&w, skip_repeated(p, end, &above), end, e);
		above = (struct span){p, (size_t)(end - p)};
		p = slash ? slash + 1 : NULL;
	}
	if (rc < 0)
		return rc;
	*mod = w.mod;
	*leaf = w.has_last ? w.last : name;
	return 0;
}

bool onnx_has_scope(struct span name)
{
	while (name.len > 0 && *name.p == '/') {
		name.p++;
		name.len--;
	}
	return memchr(name.p, '/', name.len) || memchr(name.p, '.', name.len);
}

/* ---- scopes in metadata ---- */

static const ProtobufCBinaryData *find_prop(const Onnx__Node *n,
					    const char *key)
{
	for (size_t i = 0; i < n->n_metadata_props; i++)
		if (onnx_equal(&n->metadata_props[i]->key, key, strlen(key)))
			return &n->metadata_props[i]->value;
	return NULL;
}

/*
 * The strings of "['a', \"b\"]", without unescaping: names of modules are
 * identifiers.  Returns how many there are; 0 for anything else.
 */
static size_t read_list(const ProtobufCBinaryData *text,
			struct span out[SCOPES_MAX])
{
	const char *p = (const char *)text->data, *end = p + text->len;
	size_t n = 0;

	if (text->len < 2 || *p != '[' || end[-1] != ']')
		return 0;
	for (p++; p < end && n < SCOPES_MAX; n++) {
		const char *close;

		while (p < end && (*p == ' ' || *p == ','))
			p++;
		if (p >= end || (*p != '\'' && *p != '"'))
			break;
		close = memchr(p + 1, *p, (size_t)(end - p - 1));
		if (!close)
			return 0;
		out[n] = (struct span){p + 1, (size_t)(close - p - 1)};
		p = close + 1;
	}
	return n;
}

/* The module of a dotted name, with the class written for it. */
static int scope_module(struct onnx *o, struct module *from, struct span scope,
			const struct span *class, struct module **out,
			struct err *e)
{
	struct module *mod = from;
	struct span leaf;
	int rc = 0;

	if (scope.len > 0) {
		rc = onnx_walk_name(o, from, scope, &mod, &leaf, e);
		if (rc == 0)
			rc = model_module(o->m, mod, leaf.p, leaf.len, &mod, e);
	}
	if (rc == 0 && class && !mod->type) {
		const char *dot = memrchr(class->p, '.', class->len);
		const char *p = dot ? dot + 1 : class->p;

		rc = model_type(o->m, mod, p,
				(size_t)(class->p + class->len - p));
	}
	*out = mod;
	return rc;
}

/* 1 when the metadata said nothing. */
static int from_metadata(struct onnx *o, struct module *from,
			 const Onnx__Node *n, struct module **out,
			 struct err *e)
{
	const ProtobufCBinaryData *text = find_prop(n, SCOPES_KEY);
	const ProtobufCBinaryData *types = find_prop(n, CLASSES_KEY);
	struct span scopes[SCOPES_MAX], classes[SCOPES_MAX];
	size_t nscopes = text ? read_list(text, scopes) : 0;
	size_t nclasses = types ? read_list(types, classes) : 0;

	if (nscopes == 0)
		return 1;
	*out = from;
	for (size_t i = 0; i + 1 < nscopes; i++) {
		int rc = scope_module(o, from, scopes[i],
				      nclasses == nscopes ? &classes[i] : NULL,
				      out, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- modules of nodes ---- */

/* "word", or "word_1" and so on where this module has such a node. */
static int unique(struct onnx *o, const struct module *mod, struct span word,
		  struct span *out, struct err *e)
{
	size_t head = sizeof(mod->id), len = head + word.len;
	char *key = malloc(len + 24);
	uint64_t k = 0, ignored;
	char *copy;

	if (!key)
		return err_nomem(e, len);
	memcpy(key, &mod->id, head);
	memcpy(key + head, word.p, word.len);
	map_get(o->taken, key, len, &k);
	for (; k > 0 && map_get(o->taken, key, len, &ignored); k++)
		len = head + word.len +
		      (size_t)snprintf(key + head + word.len, 24, "_%llu",
				       (unsigned long long)k);
	copy = arena_strndup(o->m->arena, key, len);
	free(key);
	if (!copy || map_set(o->taken, copy, len, 1) < 0 ||
	    (k > 1 && map_set(o->taken, copy, head + word.len, k - 1) < 0))
		return err_nomem(e, len);
	*out = (struct span){copy + head, len - head};
	return 0;
}

static int make_leaf(struct onnx *o, struct module *mod, struct span leaf,
		     struct module **out, struct err *e)
{
	int rc = unique(o, mod, leaf, &leaf, e);

	if (rc == 0)
		rc = model_module(o->m, mod, leaf.p, leaf.len, out, e);
	if (rc == 0)
		(*out)->is_node = true;
	return rc;
}

int onnx_node_module(struct onnx *o, struct onnx_scope *s, const Onnx__Node *n,
		     const char *name, struct module **out, struct err *e)
{
	struct span leaf = onnx_span(&n->name);
	struct module *mod;
	int rc;

	if (leaf.len == 0 && s->fn)
		leaf = onnx_span(&n->op_type);
	else if (leaf.len == 0)
		leaf = (struct span){name, strlen(name)};
	rc = from_metadata(o, s->module, n, &mod, e);
	if (rc == 1)
		rc = onnx_walk_name(o, s->module, leaf, &mod, &leaf, e);
	return rc < 0 ? rc : make_leaf(o, mod, leaf, out, e);
}

/* ---- modules that stand for one layer ---- */

struct census { /* of a module that is no node */
	uint32_t nodes_with_params;
	node_id node; /* the last of them */
	bool has_scopes;
};

static bool has_param(const struct graph *g, const struct node *n)
{
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i] != NO_VALUE && g->values[n->in[i]].param)
			return true;
	return false;
}

static void take_census(const struct model *m, struct census *c)
{
	const struct graph *g = m->graph;

	for (uint32_t i = 1; i < m->nmodules; i++)
		if (!m->modules[i]->is_node)
			c[m->modules[i]->parent->id].has_scopes = true;
	for (node_id i = 0; i < g->nnodes; i++) {
		const struct module *mod = g->nodes[i].module;

		if (!mod || !mod->parent || !has_param(g, &g->nodes[i]))
			continue;
		c[mod->parent->id].nodes_with_params++;
		c[mod->parent->id].node = i;
	}
}

int onnx_describe_modules(struct onnx *o, struct err *e)
{
	struct model *m = o->m;
	struct census *c = calloc(m->nmodules, sizeof(*c));

	if (!c)
		return err_nomem(e, m->nmodules * sizeof(*c));
	take_census(m, c);
	for (uint32_t i = 1; i < m->nmodules; i++) {
		struct module *mod = m->modules[i];
		const struct module *node;

		if (mod->is_node || c[i].has_scopes ||
		    c[i].nodes_with_params != 1)
			continue;
		node = m->graph->nodes[c[i].node].module;
		if (!mod->type)
			mod->type = node->type;
		mod->attrs = node->attrs;
	}
	free(c);
	return 0;
}
