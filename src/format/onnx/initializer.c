/* SPDX-License-Identifier: MIT */
/* initializer - stored tensors of a graph, dense and sparse. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/onnx/onnx.h"

/* Names of initializers, which are not inputs even where listed as such. */
int onnx_index_initializers(const Onnx__Graph *proto, struct map *names,
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
	rc = onnx_value(o, g, s, &t->name, &p.value, e);
	if (rc < 0)
		return rc;
	p.name = onnx_span(&t->name);
	return g->parent ? onnx_place_inner(o, g, &p, e)
			 : onnx_place_add(o, &p, e);
}

/* The parts a sparse tensor is stored in. */
static int add_parts(struct onnx *o, const Onnx__SparseTensor *t, struct err *e)
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
		struct span name = onnx_span(&t->values->name);

		if (!parts[i])
			continue;
		rc = onnx_prefix(o, &name, &tail, &p.name, e);
		if (rc == 0)
			rc = onnx_place_add(o, &p, e);
	}
	return rc;
}

static int add_sparse(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__SparseTensor *t, struct err *e)
{
	struct onnx_place p = {
		.sparse = t, .node = NO_NODE, .kind = PARAM_PARAMETER};
	int rc;

	if (!t->values || t->values->name.len == 0)
		return 0;
	rc = onnx_value(o, g, s, &t->values->name, &p.value, e);
	if (rc < 0)
		return rc;
	p.name = onnx_span(&t->values->name);
	if (g->parent)
		return onnx_place_inner(o, g, &p, e);
	rc = onnx_place_add(o, &p, e);
	return rc < 0 ? rc : add_parts(o, t, e);
}

int onnx_initializers(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__Graph *proto, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < proto->n_initializer; i++)
		rc = add_initializer(o, g, s, proto->initializer[i], e);
	for (size_t i = 0; rc == 0 && i < proto->n_sparse_initializer; i++)
		rc = add_sparse(o, g, s, proto->sparse_initializer[i], e);
	return rc;
}
