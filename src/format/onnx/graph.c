/* SPDX-License-Identifier: MIT */
/* graph - from a GraphProto to a struct graph: nodes, attributes, types. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/onnx/onnx.h"

static const ProtobufCBinaryData no_bytes;

int onnx_copy(struct onnx *o, const ProtobufCBinaryData *b, struct span *out,
	      struct err *e)
{
	const char *p = b->len ? (const char *)b->data : "";

	out->p = arena_strndup(o->m->arena, p, b->len);
	out->len = b->len;
	return out->p ? 0 : err_nomem(e, b->len);
}

int onnx_prefix(struct onnx *o, const struct span *prefix,
		const ProtobufCBinaryData *name, struct span *out,
		struct err *e)
{
	size_t len = prefix->len + name->len;
	char *p;

	o->name_bytes += len;
	if (o->name_bytes > (uint64_t)o->nodes_max * ONNX_NAME_BYTES)
		return err_set(e, EFBIG,
			       "more than %u bytes of names in functions",
			       o->nodes_max * ONNX_NAME_BYTES);
	p = arena_alloc(o->m->arena, len + 1);
	if (!p)
		return err_nomem(e, len);
	memcpy(p, prefix->p, prefix->len);
	if (name->len > 0)
		memcpy(p + prefix->len, name->data, name->len);
	*out = (struct span){p, len};
	return 0;
}

int onnx_rename(struct onnx *o, const struct onnx_scope *s,
		const ProtobufCBinaryData *name, struct span *out,
		struct err *e)
{
	uint64_t known;

	if (name->len == 0) {
		*out = (struct span){"", 0};
		return 0;
	}
	if (!s->fn) {
		*out = onnx_span(name);
		return 0;
	}
	if (map_get(s->names, name->data, name->len, &known)) {
		*out = *(const struct span *)(uintptr_t)known;
		return 0;
	}
	return onnx_prefix(o, &s->prefix, name, out, e);
}

int onnx_value(struct onnx *o, struct graph *g, const struct onnx_scope *s,
	       const ProtobufCBinaryData *name, value_id *out, struct err *e)
{
	struct span span;
	int rc = onnx_rename(o, s, name, &span, e);

	*out = NO_VALUE;
	if (rc < 0 || span.len == 0)
		return rc;
	return graph_value(g, span.p, span.len, out, e);
}

/* ---- declared types ---- */

static int dim_name(struct onnx *o, const Onnx__Dimension *d, const char **out,
		    struct err *e)
{
	struct span name;
	int rc;

	if (d->has_dim_value || d->dim_param.len == 0)
		return 0;
	rc = onnx_copy(o, &d->dim_param, &name, e);
	if (rc == 0)
		*out = name.p;
	return rc;
}

static int read_shape(struct onnx *o, const Onnx__Shape *shape,
		      struct tensor *out, const char ***names, struct err *e)
{
	int rc = 0;

	if (shape->n_dim > SHAPE_RANK_MAX)
		return 0;
	*names = arena_array(o->m->arena, shape->n_dim + 1, sizeof(**names));
	if (!*names)
		return err_nomem(e, shape->n_dim);
	out->shape.rank = (int32_t)shape->n_dim;
	for (size_t i = 0; rc == 0 && i < shape->n_dim; i++) {
		const Onnx__Dimension *d = shape->dim[i];
		bool known = d->has_dim_value && d->dim_value >= 0;

		out->shape.dims[i] = known ? d->dim_value : DIM_UNKNOWN;
		rc = dim_name(o, d, &(*names)[i], e);
	}
	return rc;
}

static enum dtype container_type(const Onnx__Type *t)
{
	if (t->sequence_type)
		return DTYPE_SEQUENCE;
	if (t->optional_type)
		return DTYPE_OPTIONAL;
	return t->map_type ? DTYPE_MAP : DTYPE_NONE;
}

static int declare(struct onnx *o, struct graph *g, value_id v,
		   const Onnx__Type *type, struct err *e)
{
	struct tensor t = {.shape = shape_unknown()};
	const char **names = NULL;
	int rc = 0;

	if (type->tensor_type) {
		t.dtype = dtype_by_onnx(type->tensor_type->elem_type);
		if (type->tensor_type->shape)
			rc = read_shape(o, type->tensor_type->shape, &t, &names,
					e);
	} else {
		t.dtype = container_type(type);
	}
	if (type->map_type)
		g->values[v].key_type = dtype_by_onnx(type->map_type->key_type);
	return rc == 0 ? graph_declare(g, v, &t, names, e) : rc;
}

int onnx_declare(struct onnx *o, struct graph *g, struct onnx_scope *s,
		 Onnx__ValueInfo **infos, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct span name;
		value_id v;
		int rc = onnx_rename(o, s, &infos[i]->name, &name, e);

		if (rc < 0)
			return rc;
		/* A type for a value that no node mentions says nothing. */
		v = graph_find(g, name.p, name.len);
		if (v == NO_VALUE || !infos[i]->type)
			continue;
		rc = declare(o, g, v, infos[i]->type, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- nodes ---- */

static int find_opset(const struct onnx_scope *s, const char *domain)
{
	size_t len = strlen(domain);

	for (size_t i = 0; i < s->nopsets; i++) {
		const ProtobufCBinaryData *d = &s->opsets[i]->domain;
		int64_t version = s->opsets[i]->version;

		if (onnx_equal(d, domain, len) ||
		    (len == 0 && onnx_equal(d, "ai.onnx", 7)))
			return version > 0 && version < INT32_MAX ? (int)version
								  : 1;
	}
	return 1;
}

/* The name a node has in the graph; empty ones are made up there. */
static int node_name(struct onnx *o, const struct onnx_scope *s,
		     const Onnx__Node *n, struct span *out, struct err *e)
{
	if (!s->fn)
		return onnx_copy(o, &n->name, out, e);
	return onnx_prefix(o, &s->prefix, n->name.len ? &n->name : &n->op_type,
			   out, e);
}

static int describe_node(struct onnx *o, struct module *mod,
			 const struct node *n, struct err *e)
{
	struct text text = {0};
	int rc = model_type(o->m, mod, n->type, strlen(n->type));

	for (uint32_t i = 0; rc == 0 && i < n->nattrs; i++) {
		const struct attr *a = &n->attrs[i];

		text.len = 0;
		attr_format(a, &text);
		rc = model_attr(o->m, mod, a->name, "%.*s", (int)text.len,
				text.p ? text.p : "");
	}
	if (text.failed)
		rc = -ENOMEM;
	text_free(&text);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

static int fill_names(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__Node *n, const struct node *node,
		      struct err *e)
{
	value_id *in = node->in, *out = node->out;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n->n_input; i++)
		rc = onnx_value(o, g, s, &n->input[i], &in[i], e);
	for (size_t i = 0; rc == 0 && i < n->n_output; i++)
		rc = onnx_value(o, g, s, &n->output[i], &out[i], e);
	return rc;
}

static int make_node(struct onnx *o, struct graph *g, struct onnx_scope *s,
		     const Onnx__Node *n, node_id *id, struct err *e)
{
	struct span name, type, domain = {"", 0};
	struct node *node;
	int rc = node_name(o, s, n, &name, e);

	if (rc == 0)
		rc = onnx_copy(o, &n->op_type, &type, e);
	if (rc == 0)
		rc = onnx_copy(o,
			       onnx_equal(&n->domain, "ai.onnx", 7)
				       ? &no_bytes
				       : &n->domain,
			       &domain, e);
	if (rc == 0)
		rc = graph_node(g, name.p, domain.p, type.p,
				(uint32_t)n->n_input, (uint32_t)n->n_output,
				onnx_count_attrs(n, s), &node, e);
	if (rc < 0)
		return rc;
	node->opset = find_opset(s, domain.p);
	*id = g->nnodes - 1;
	return 0;
}

static int place_constant(struct onnx *o, struct graph *g, node_id id,
			  struct err *e)
{
	const struct node *n = &g->nodes[id];
	struct onnx_place p = {.node = id, .kind = PARAM_CONSTANT};

	if (!onnx_is_constant(n))
		return 0;
	p.value = n->out[0];
	p.name = (struct span){g->values[p.value].name,
			       strlen(g->values[p.value].name)};
	return onnx_place_inner(o, g, &p, e);
}

/* The graph's nodes move when another is added: only id stays. */
static int fill_node(struct onnx *o, struct graph *g, struct onnx_scope *s,
		     const Onnx__Node *n, node_id id, struct err *e)
{
	struct module *mod = NULL;
	struct node node = g->nodes[id];
	int rc = fill_names(o, g, s, n, &node, e);

	if (rc == 0 && !g->parent) {
		rc = onnx_node_module(o, s, n, node.name, &mod, e);
		g->nodes[id].module = mod;
		o->beneath = mod;
	}
	if (rc == 0)
		rc = onnx_attrs(o, g, s, n, node.attrs, e);
	if (rc == 0 && mod)
		rc = describe_node(o, mod, &node, e);
	if (rc == 0 && g->parent)
		rc = place_constant(o, g, id, e);
	return rc;
}

int onnx_add_node(struct onnx *o, struct graph *g, struct onnx_scope *s,
		  const Onnx__Node *n, struct err *e)
{
	const Onnx__Function *fn = onnx_find_function(o, s, n);
	char quoted[ERR_QUOTED];
	node_id id;
	int rc;

	if (fn)
		return onnx_inline(o, g, s, n, fn, e);
	if (++o->nnodes > o->nodes_max)
		return err_set(e, EFBIG, "more than %u nodes", o->nodes_max);
	rc = make_node(o, g, s, n, &id, e);
	if (rc == 0)
		rc = fill_node(o, g, s, n, id, e);
	if (rc < 0)
		return err_wrap(
			e, "node %s",
			err_quote(quoted, (char *)n->name.data, n->name.len));
	return 0;
}

/* ---- graphs ---- */

static int add_inputs(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__Graph *proto, const struct map *names,
		      struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < proto->n_input; i++) {
		const ProtobufCBinaryData *b = &proto->input[i]->name;
		uint64_t idx;
		value_id v;

		if (b->len == 0 || map_get(names, b->data, b->len, &idx))
			continue;
		rc = onnx_value(o, g, s, b, &v, e);
		if (rc == 0 && v != NO_VALUE && !g->values[v].is_input)
			rc = graph_input(g, v, e);
	}
	return rc;
}

static int add_outputs(struct onnx *o, struct graph *g, struct onnx_scope *s,
		       const Onnx__Graph *proto, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < proto->n_output; i++) {
		value_id v;

		rc = onnx_value(o, g, s, &proto->output[i]->name, &v, e);
		if (rc == 0 && v != NO_VALUE &&
		    (!g->values[v].is_output || g->parent))
			rc = graph_output(g, v, e);
	}
	return rc;
}

static int read_graph(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__Graph *proto, struct err *e)
{
	struct map *names = map_new();
	int rc = names ? onnx_index_initializers(proto, names, e)
		       : err_nomem(e, 0);

	if (rc == 0)
		rc = add_inputs(o, g, s, proto, names, e);
	map_free(names);
	if (rc == 0)
		rc = onnx_initializers(o, g, s, proto, e);
	for (size_t i = 0; rc == 0 && i < proto->n_node; i++)
		rc = onnx_add_node(o, g, s, proto->node[i], e);
	if (rc == 0)
		rc = add_outputs(o, g, s, proto, e);
	if (rc == 0)
		rc = onnx_declare(o, g, s, proto->value_info,
				  proto->n_value_info, e);
	if (rc == 0)
		rc = onnx_declare(o, g, s, proto->input, proto->n_input, e);
	if (rc == 0)
		rc = onnx_declare(o, g, s, proto->output, proto->n_output, e);
	return rc;
}

int onnx_subgraph(struct onnx *o, struct graph *parent, struct onnx_scope *s,
		  const Onnx__Graph *proto, struct graph **out, struct err *e)
{
	struct span name;
	int rc = onnx_copy(o, &proto->name, &name, e);

	if (rc < 0)
		return rc;
	*out = graph_new(o->m->arena, parent, name.p);
	return *out ? read_graph(o, *out, s, proto, e) : err_nomem(e, 0);
}

int onnx_graph(struct onnx *o, struct err *e)
{
	const Onnx__Graph *proto = o->proto->graph;
	struct onnx_scope s = {
		.opsets = o->proto->opset_import,
		.nopsets = o->proto->n_opset_import,
		.module = model_root(o->m),
	};
	struct span name;
	int rc = onnx_copy(o, &proto->name, &name, e);

	if (rc < 0)
		return rc;
	o->m->graph = graph_new(o->m->arena, NULL, name.p);
	if (!o->m->graph)
		return err_nomem(e, 0);
	return read_graph(o, o->m->graph, &s, proto, e);
}
