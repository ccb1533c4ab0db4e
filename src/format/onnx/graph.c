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

enum attribute_type { /* AttributeProto.AttributeType */
		      TYPE_UNDEFINED,
		      TYPE_FLOAT,
		      TYPE_INT,
		      TYPE_STRING,
		      TYPE_TENSOR,
		      TYPE_GRAPH,
		      TYPE_FLOATS,
		      TYPE_INTS,
		      TYPE_STRINGS,
		      TYPE_TENSORS,
		      TYPE_GRAPHS
};

static const ProtobufCBinaryData no_bytes;

int onnx_copy(struct onnx *o, const ProtobufCBinaryData *b, struct span *out,
	      struct err *e)
{
	const char *p = b->len ? (const char *)b->data : "";

	out->p = arena_strndup(o->m->arena, p, b->len);
	out->len = b->len;
	return out->p ? 0 : err_nomem(e, b->len);
}

static int add_prefix(struct onnx *o, const struct span *prefix,
		      const ProtobufCBinaryData *name, struct span *out,
		      struct err *e)
{
	size_t len = prefix->len + name->len;
	char *p = arena_alloc(o->m->arena, len + 1);

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
	return add_prefix(o, &s->prefix, name, out, e);
}

static int get_value(struct onnx *o, struct graph *g,
		     const struct onnx_scope *s,
		     const ProtobufCBinaryData *name, value_id *out,
		     struct err *e)
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
		g->values[v].key_type =
			dtype_by_onnx(type->map_type->key_type);
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

/* ---- attributes ---- */

/* IR 1 wrote no types. */
static int guess_type(const Onnx__Attribute *a)
{
	if (a->has_f)
		return TYPE_FLOAT;
	if (a->has_i)
		return TYPE_INT;
	if (a->t)
		return TYPE_TENSOR;
	if (a->g)
		return TYPE_GRAPH;
	if (a->n_floats)
		return TYPE_FLOATS;
	if (a->n_ints)
		return TYPE_INTS;
	if (a->n_strings)
		return TYPE_STRINGS;
	return a->has_s ? TYPE_STRING : TYPE_UNDEFINED;
}

static int read_strings(struct onnx *o, const Onnx__Attribute *a,
			struct attr *out, struct err *e)
{
	struct span *s = arena_array(o->m->arena, a->n_strings + 1, sizeof(*s));
	int rc = s ? 0 : err_nomem(e, a->n_strings);

	for (size_t i = 0; rc == 0 && i < a->n_strings; i++)
		rc = onnx_copy(o, &a->strings[i], &s[i], e);
	out->strings = s;
	out->n = a->n_strings;
	out->kind = ATTR_STRINGS;
	return rc;
}

static int read_numbers(struct onnx *o, const void *data, size_t n, size_t size,
			const void **out, struct err *e)
{
	void *copy = arena_array(o->m->arena, n + 1, size);

	if (!copy)
		return err_nomem(e, n * size);
	if (n)
		memcpy(copy, data, n * size);
	*out = copy;
	return 0;
}

/* kind and n are set as each tensor exists, for whoever frees the graph. */
static int read_tensors(struct onnx *o, Onnx__Tensor **protos, size_t n,
			struct attr *out, struct err *e)
{
	struct tensor *t = arena_array(o->m->arena, n + 1, sizeof(*t));
	int rc = t ? 0 : err_nomem(e, n);

	out->tensors = t;
	out->n = 0;
	out->kind = ATTR_TENSORS;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = onnx_tensor(&o->files, protos[i], &t[i], e);
		if (rc == 0)
			out->n++;
	}
	return rc;
}

static int read_tensor(struct onnx *o, const Onnx__Attribute *a,
		       struct attr *out, struct err *e)
{
	struct tensor *t = arena_alloc(o->m->arena, sizeof(*t));

	if (!t)
		return err_nomem(e, sizeof(*t));
	out->t = t;
	out->kind = ATTR_TENSOR;
	return onnx_tensor(&o->files, a->t, t, e);
}

static int read_subgraph(struct onnx *o, struct graph *parent,
			 struct onnx_scope *s, const Onnx__Graph *proto,
			 struct graph **out, struct err *e);

static int read_graphs(struct onnx *o, struct graph *g, struct onnx_scope *s,
		       const Onnx__Attribute *a, struct attr *out,
		       struct err *e)
{
	struct graph **graphs =
		arena_array(o->m->arena, a->n_graphs + 1, sizeof(*graphs));
	int rc = graphs ? 0 : err_nomem(e, a->n_graphs);

	out->graphs = graphs;
	out->n = graphs ? a->n_graphs : 0;
	out->kind = ATTR_GRAPHS;
	for (size_t i = 0; rc == 0 && i < a->n_graphs; i++)
		rc = read_subgraph(o, g, s, a->graphs[i], &graphs[i], e);
	return rc;
}

static int read_plural(struct onnx *o, const Onnx__Attribute *a, int type,
		       struct attr *out, struct err *e)
{
	const void *p = NULL;
	int rc;

	switch (type) {
	case TYPE_FLOATS:
		rc = read_numbers(o, a->floats, a->n_floats, sizeof(float), &p,
				  e);
		out->kind = ATTR_FLOATS;
		out->n = a->n_floats;
		out->floats = p;
		return rc;
	case TYPE_INTS:
		rc = read_numbers(o, a->ints, a->n_ints, sizeof(int64_t), &p,
				  e);
		out->kind = ATTR_INTS;
		out->n = a->n_ints;
		out->ints = p;
		return rc;
	case TYPE_STRINGS:
		return read_strings(o, a, out, e);
	default:
		return read_tensors(o, a->tensors, a->n_tensors, out, e);
	}
}

static int read_value(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__Attribute *a, struct attr *out, struct err *e)
{
	int type = a->type ? a->type : guess_type(a);

	out->n = 1;
	if (type >= TYPE_FLOATS && type <= TYPE_TENSORS)
		return read_plural(o, a, type, out, e);
	if (type == TYPE_GRAPHS)
		return read_graphs(o, g, s, a, out, e);
	if (type == TYPE_TENSOR && a->t)
		return read_tensor(o, a, out, e);
	if (type == TYPE_GRAPH && a->g) {
		out->kind = ATTR_GRAPH;
		return read_subgraph(o, g, s, a->g, &out->g, e);
	}
	if (type == TYPE_STRING) {
		out->kind = ATTR_STRING;
		return onnx_copy(o, &a->s, &out->s, e);
	}
	if (type == TYPE_FLOAT) {
		out->f = a->f;
	} else if (type == TYPE_INT) {
		out->kind = ATTR_INT;
		out->i = a->i;
	} else {
		out->kind = ATTR_OTHER;
	}
	return 0;
}

/* Values come from where the attribute was written, names from here. */
static int read_attr(struct onnx *o, struct graph *g, struct onnx_scope *s,
		     const Onnx__Attribute *a, struct attr *out, struct err *e)
{
	const Onnx__Attribute *written = onnx_resolve(a, &s);
	struct span name;
	char quoted[ERR_QUOTED];
	int rc = onnx_copy(o, &a->name, &name, e);

	if (rc < 0)
		return rc;
	out->name = name.p;
	rc = read_value(o, g, s, written, out, e);
	return rc < 0 ? err_wrap(e, "attribute %s",
				 err_quote(quoted, name.p, name.len))
		      : 0;
}

static int read_attrs(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__Node *n, struct attr *out, struct err *e)
{
	for (size_t i = 0; i < n->n_attribute; i++) {
		struct onnx_scope *where = s;
		int rc;

		if (!onnx_resolve(n->attribute[i], &where))
			continue;
		rc = read_attr(o, g, s, n->attribute[i], out++, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static uint32_t count_attrs(const Onnx__Node *n, struct onnx_scope *s)
{
	uint32_t count = 0;

	for (size_t i = 0; i < n->n_attribute; i++) {
		struct onnx_scope *where = s;

		count += onnx_resolve(n->attribute[i], &where) != NULL;
	}
	return count;
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
	return add_prefix(o, &s->prefix, n->name.len ? &n->name : &n->op_type,
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
		rc = get_value(o, g, s, &n->input[i], &in[i], e);
	for (size_t i = 0; rc == 0 && i < n->n_output; i++)
		rc = get_value(o, g, s, &n->output[i], &out[i], e);
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
				count_attrs(n, s), &node, e);
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
		rc = read_attrs(o, g, s, n, node.attrs, e);
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
	if (++o->nnodes > ONNX_NODES_MAX)
		return err_set(e, EFBIG, "more than %u nodes", ONNX_NODES_MAX);
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

/* Names of initializers, which are not inputs even where listed as such. */
static int index_initializers(const Onnx__Graph *proto, struct map *names,
			      struct err *e)
{
	char quoted[ERR_QUOTED];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < proto->n_initializer; i++) {
		const ProtobufCBinaryData *b = &proto->initializer[i]->name;

		if (b->len == 0)
			continue;
		rc = map_add(names, b->data, b->len, i);
		if (rc == -EEXIST)
			return err_set(
				e, EINVAL, "initializer %s appears twice",
				err_quote(quoted, (char *)b->data, b->len));
	}
	for (size_t i = 0; rc == 0 && i < proto->n_sparse_initializer; i++) {
		const Onnx__Tensor *t = proto->sparse_initializer[i]->values;

		if (t && t->name.len > 0)
			rc = map_set(names, t->name.data, t->name.len, i);
	}
	return rc < 0 ? err_nomem(e, 0) : 0;
}

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
		rc = get_value(o, g, s, b, &v, e);
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

		rc = get_value(o, g, s, &proto->output[i]->name, &v, e);
		if (rc == 0 && v != NO_VALUE &&
		    (!g->values[v].is_output || g->parent))
			rc = graph_output(g, v, e);
	}
	return rc;
}

static int add_initializer(struct onnx *o, struct graph *g,
			   struct onnx_scope *s, const Onnx__Tensor *t,
			   struct err *e)
{
	struct onnx_place p = {
		.proto = t, .node = NO_NODE, .kind = PARAM_PARAMETER};
	int rc;

	/* One without a name cannot be referred to. */
	if (t->name.len == 0)
		return 0;
	rc = get_value(o, g, s, &t->name, &p.value, e);
	if (rc < 0)
		return rc;
	p.name = onnx_span(&t->name);
	return g->parent ? onnx_place_inner(o, g, &p, e)
			 : onnx_place_add(o, &p, e);
}

/* The parts of a sparse tensor are listed; as a whole it is not computed. */
static int add_sparse(struct onnx *o, const Onnx__SparseTensor *t,
		      struct err *e)
{
	const Onnx__Tensor *parts[] = {t->values, t->indices};
	static const char *const suffix[] = {".values", ".indices"};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 2; i++) {
		struct onnx_place p = {.value = NO_VALUE,
				       .node = NO_NODE,
				       .proto = parts[i],
				       .kind = PARAM_PARAMETER};
		ProtobufCBinaryData tail = {strlen(suffix[i]),
					    (uint8_t *)suffix[i]};
		struct span name;

		if (!t->values || !parts[i] || t->values->name.len == 0)
			continue;
		name = onnx_span(&t->values->name);
		rc = add_prefix(o, &name, &tail, &p.name, e);
		if (rc == 0)
			rc = onnx_place_add(o, &p, e);
	}
	return rc;
}

static int add_initializers(struct onnx *o, struct graph *g,
			    struct onnx_scope *s, const Onnx__Graph *proto,
			    struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < proto->n_initializer; i++)
		rc = add_initializer(o, g, s, proto->initializer[i], e);
	for (size_t i = 0; rc == 0 && i < proto->n_sparse_initializer; i++)
		if (!g->parent)
			rc = add_sparse(o, proto->sparse_initializer[i], e);
	return rc;
}

static int read_graph(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__Graph *proto, struct err *e)
{
	struct map *names = map_new();
	int rc = names ? index_initializers(proto, names, e) : err_nomem(e, 0);

	if (rc == 0)
		rc = add_inputs(o, g, s, proto, names, e);
	map_free(names);
	if (rc == 0)
		rc = add_initializers(o, g, s, proto, e);
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

static int read_subgraph(struct onnx *o, struct graph *parent,
			 struct onnx_scope *s, const Onnx__Graph *proto,
			 struct graph **out, struct err *e)
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
