/* SPDX-License-Identifier: MIT */
/* attribute - attributes of nodes; those of a function's call among them. */
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
		      TYPE_GRAPHS,
		      TYPE_SPARSE_TENSOR
};

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

static int read_sparse(struct onnx *o, const Onnx__Attribute *a,
		       struct attr *out, struct err *e)
{
	out->t = arena_alloc(o->m->arena, sizeof(*out->t));
	if (!out->t)
		return err_nomem(e, sizeof(*out->t));
	out->kind = ATTR_TENSOR;
	return onnx_sparse(&o->files, a->sparse_tensor, out->t, e);
}

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
		rc = onnx_subgraph(o, g, s, a->graphs[i], &graphs[i], e);
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
	if (type == TYPE_SPARSE_TENSOR && a->sparse_tensor)
		return read_sparse(o, a, out, e);
	if (type == TYPE_GRAPH && a->g) {
		out->kind = ATTR_GRAPH;
		return onnx_subgraph(o, g, s, a->g, &out->g, e);
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

int onnx_attrs(struct onnx *o, struct graph *g, struct onnx_scope *s,
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

uint32_t onnx_count_attrs(const Onnx__Node *n, struct onnx_scope *s)
{
	uint32_t count = 0;

	for (size_t i = 0; i < n->n_attribute; i++) {
		struct onnx_scope *where = s;

		count += onnx_resolve(n->attribute[i], &where) != NULL;
	}
	return count;
}
