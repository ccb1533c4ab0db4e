/* SPDX-License-Identifier: MIT */
/*
 * place - where initializers and constants go in the module tree.
 *
 * One whose name says where it belongs goes there.  Any other is put beside
 * the first node that reads it and gets the name of its role: into the node's
 * scope, where that has no parameter of this name, else into the node's own
 * module.  Names that say more are served first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "modelfs/arena.h"

#include "format/onnx/onnx.h"

/* Who reads a value first. */
struct use {
	node_id node; /* NO_NODE: nobody */
	uint32_t input;
};

int onnx_place_add(struct onnx *o, const struct onnx_place *p, struct err *e)
{
	size_t cap = o->cap_places ? o->cap_places * 2 : 64;
	struct onnx_place *places;

	if (o->nplaces == o->cap_places) {
		places = realloc(o->places, cap * sizeof(*places));
		if (!places)
			return err_nomem(e, cap * sizeof(*places));
		o->places = places;
		o->cap_places = cap;
	}
	o->places[o->nplaces++] = *p;
	return 0;
}

/* ---- constants and other names of tensors, in the order of nodes ---- */

static bool is_identity(const struct node *n)
{
	return n->domain[0] == '\0' && strcmp(n->type, "Identity") == 0 &&
	       n->nin == 1 && n->nout == 1 && n->in[0] != NO_VALUE &&
	       n->out[0] != NO_VALUE;
}

/* index[v]: 1 + the place of value v. */
static int add_constants(struct onnx *o, size_t *index, struct err *e)
{
	const struct graph *g = o->m->graph;

	for (size_t i = 0; i < o->nplaces; i++)
		if (o->places[i].value != NO_VALUE)
			index[o->places[i].value] = i + 1;
	for (node_id i = 0; i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];
		struct onnx_place p = {.node = NO_NODE};
		int rc;

		if (onnx_is_constant(n)) {
			p.node = i;
			p.kind = PARAM_CONSTANT;
		} else if (is_identity(n) && index[n->in[0]]) {
			p.is_alias = true;
			p.same_as = index[n->in[0]] - 1;
			p.kind = o->places[p.same_as].kind;
		} else {
			continue;
		}
		p.value = n->out[0];
		p.name.p = g->values[p.value].name;
		p.name.len = strlen(p.name.p);
		rc = onnx_place_add(o, &p, e);
		if (rc < 0)
			return rc;
		index[p.value] = o->nplaces;
	}
	return 0;
}

static void find_uses(const struct graph *g, struct use *uses)
{
	for (uint32_t v = 0; v < g->nvalues; v++)
		uses[v].node = NO_NODE;
	for (node_id i = 0; i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		for (uint32_t k = 0; k < n->nin; k++)
			if (n->in[k] != NO_VALUE &&
			    uses[n->in[k]].node == NO_NODE)
				uses[n->in[k]] = (struct use){i, k};
	}
}

/* ---- modules and leaves ---- */

/* Notes a leaf; false when this module has it already.  -ENOMEM. */
static int claim(struct onnx *o, const struct module *mod, struct span leaf,
		 struct err *e)
{
	size_t len = sizeof(mod->id) + 1 + leaf.len;
	char *key = arena_alloc(o->m->arena, len);
	int rc;

	if (!key)
		return err_nomem(e, len);
	memcpy(key, &mod->id, sizeof(mod->id));
	/* No module's name has this byte in front: see unique in scope.c. */
	key[sizeof(mod->id)] = '\0';
	memcpy(key + sizeof(mod->id) + 1, leaf.p, leaf.len);
	rc = map_add(o->taken, key, len, 1);
	if (rc == -EEXIST)
		return false;
	return rc < 0 ? err_nomem(e, len) : true;
}

static int place_by_name(struct onnx *o, struct onnx_place *p, struct err *e)
{
	int rc = onnx_walk_name(o, model_root(o->m), p->name, &p->module,
				&p->leaf, e);

	return rc < 0 ? rc : claim(o, p->module, p->leaf, e);
}

static int place_by_use(struct onnx *o, struct onnx_place *p,
			const struct use *use, struct err *e)
{
	const struct node *n = &o->m->graph->nodes[use->node];
	struct module *own = n->module, *scope = own->parent;
	char buf[32];
	int rc;

	p->leaf.p = onnx_role(n->type, use->input, buf);
	p->leaf.len = strlen(p->leaf.p);
	p->leaf.p = arena_strndup(o->m->arena, p->leaf.p, p->leaf.len);
	if (!p->leaf.p)
		return err_nomem(e, p->leaf.len);
	p->module = own;
	if (scope->parent) {
		rc = claim(o, scope, p->leaf, e);
		if (rc > 0)
			p->module = scope;
		if (rc != 0)
			return rc;
	}
	return claim(o, own, p->leaf, e);
}

static bool is_running(const struct graph *g, const struct use *use)
{
	return use->node != NO_NODE && use->input >= 3 &&
	       strcmp(g->nodes[use->node].type, "BatchNormalization") == 0;
}

static int find_modules(struct onnx *o, const struct use *uses, struct err *e)
{
	static const struct use none = {NO_NODE, 0};

	for (size_t i = 0; i < o->nplaces; i++) {
		struct onnx_place *p = &o->places[i];
		int rc = 0;

		if (onnx_has_scope(p->name))
			rc = place_by_name(o, p, e);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < o->nplaces; i++) {
		struct onnx_place *p = &o->places[i];
		const struct use *use =
			p->value == NO_VALUE ? &none : &uses[p->value];
		int rc = 0;

		if (p->kind == PARAM_PARAMETER && is_running(o->m->graph, use))
			p->kind = PARAM_BUFFER;
		if (p->module)
			continue;
		rc = use->node == NO_NODE ? place_by_name(o, p, e)
					  : place_by_use(o, p, use, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- parameters ---- */

static int make_tensor(struct onnx *o, const struct graph *g,
		       const struct onnx_place *p, struct tensor *out,
		       struct err *e)
{
	if (p->is_alias) {
		const struct param *same = o->places[p->same_as].param;
		struct tensor t;

		*out = (struct tensor){.dtype = DTYPE_NONE};
		if (!same)
			return 0;
		t = param_tensor(same);
		*out = tensor_ref(&t);
		return 0;
	}
	if (p->sparse)
		return onnx_sparse(&o->files, p->sparse, out, e);
	if (p->proto)
		return onnx_tensor(&o->files, p->proto, out, e);
	return onnx_constant(&g->nodes[p->node], out, e);
}

static int add_param(struct onnx *o, struct graph *g, struct onnx_place *p,
		     struct err *e)
{
	struct param_spec spec = {
		.module = p->module,
		.name = p->leaf,
		.full_name = p->name,
		.kind = p->kind,
	};
	char type[32], quoted[ERR_QUOTED];
	int rc = make_tensor(o, g, p, &spec.tensor, e);

	if (rc < 0)
		return err_wrap(e, "%s",
				err_quote(quoted, p->name.p, p->name.len));
	/* A constant in a form we do not know: its node says so. */
	if (!spec.tensor.data)
		return 0;
	if (spec.tensor.dtype == DTYPE_NONE) {
		snprintf(type, sizeof(type), "onnx.%d",
			 p->proto ? (int)p->proto->data_type : 0);
		spec.dtype_text = type;
	}
	rc = model_param(o->m, &spec, &p->param, e);
	if (rc == 0 && p->value != NO_VALUE)
		g->values[p->value].param = p->param;
	return rc;
}

int onnx_place_all(struct onnx *o, struct err *e)
{
	struct graph *g = o->m->graph;
	size_t *index = calloc((size_t)g->nvalues + 1, sizeof(*index));
	struct use *uses = calloc((size_t)g->nvalues + 1, sizeof(*uses));
	int rc = 0;

	if (!index || !uses)
		rc = err_nomem(e, g->nvalues * sizeof(*uses));
	if (rc == 0)
		rc = add_constants(o, index, e);
	if (rc == 0) {
		find_uses(g, uses);
		rc = find_modules(o, uses, e);
	}
	for (size_t i = 0; rc == 0 && i < o->nplaces; i++)
		rc = add_param(o, g, &o->places[i], e);
	free(index);
	free(uses);
	return rc;
}

int onnx_place_inner(struct onnx *o, struct graph *g,
		     const struct onnx_place *p, struct err *e)
{
	struct onnx_place inner = *p;
	int rc = onnx_walk_name(o, o->beneath, p->name, &inner.module,
				&inner.leaf, e);

	return rc < 0 ? rc : add_param(o, g, &inner, e);
}
