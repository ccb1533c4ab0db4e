/* SPDX-License-Identifier: MIT */
/*
 * function - model-local functions (ONNX IR, "Model Functions").
 *
 * A call is replaced by the function's nodes, so that what happens inside can
 * be looked at.  Inner names get the call's name in front.  A function that
 * ends up calling itself is left as a node that nobody can run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/onnx/onnx.h"

#define OPSETS_MAX 256

/* "domain\0name\0overload", with ai.onnx's two names as one. */
static char *make_key(const ProtobufCBinaryData *domain,
		      const ProtobufCBinaryData *name,
		      const ProtobufCBinaryData *overload, size_t *len)
{
	size_t dlen = onnx_equal(domain, "ai.onnx", 7) ? 0 : domain->len;
	char *key;

	*len = dlen + name->len + overload->len + 2;
	key = malloc(*len + 1);
	if (!key)
		return NULL;
	if (dlen)
		memcpy(key, domain->data, dlen);
	key[dlen] = '\0';
	if (name->len)
		memcpy(key + dlen + 1, name->data, name->len);
	key[dlen + 1 + name->len] = '\0';
	if (overload->len)
		memcpy(key + dlen + name->len + 2, overload->data,
		       overload->len);
	return key;
}

static int index_function(struct onnx *o, size_t i, struct err *e)
{
	const Onnx__Function *fn = o->proto->functions[i];
	size_t len;
	char *key = make_key(&fn->domain, &fn->name, &fn->overload, &len);
	char *kept = key ? arena_strndup(o->m->arena, key, len) : NULL;

	free(key);
	if (!kept)
		return err_nomem(e, len);
	if (fn->n_opset_import > OPSETS_MAX)
		return err_set(e, EFBIG, "a function imports %zu opsets",
			       fn->n_opset_import);
	/* Of two functions of one name the last counts. */
	return map_set(o->functions, kept, len, i) < 0 ? err_nomem(e, len) : 0;
}

int onnx_index_functions(struct onnx *o, struct err *e)
{
	int rc = 0;

	o->functions = map_new();
	if (!o->functions)
		return err_nomem(e, 0);
	for (size_t i = 0; rc == 0 && i < o->proto->n_functions; i++)
		rc = index_function(o, i, e);
	return rc;
}

const Onnx__Function *onnx_find_function(const struct onnx *o,
					 const struct onnx_scope *s,
					 const Onnx__Node *n)
{
	const Onnx__Function *fn;
	uint64_t idx;
	size_t len;
	bool found;
	char *key;

	if (map_count(o->functions) == 0 || s->depth >= ONNX_CALL_DEPTH_MAX)
		return NULL;
	key = make_key(&n->domain, &n->op_type, &n->overload, &len);
	found = key && map_get(o->functions, key, len, &idx);
	free(key);
	if (!found)
		return NULL;
	fn = o->proto->functions[idx];
	for (; s; s = s->parent)
		if (s->fn == fn)
			return NULL;
	return fn;
}

static const Onnx__Attribute *find_attr(Onnx__Attribute **attrs, size_t n,
					const ProtobufCBinaryData *name)
{
	for (size_t i = 0; i < n; i++)
		if (onnx_equal(&attrs[i]->name, (char *)name->data, name->len))
			return attrs[i];
	return NULL;
}

const Onnx__Attribute *onnx_resolve(const Onnx__Attribute *a,
				    struct onnx_scope **s)
{
	while (a && a->ref_attr_name.len > 0) {
		const ProtobufCBinaryData *name = &a->ref_attr_name;
		struct onnx_scope *in = *s;

		if (!in->fn)
			return NULL;
		a = find_attr(in->call->attribute, in->call->n_attribute, name);
		if (a)
			*s = in->parent;
		else
			return find_attr(in->fn->attribute_proto,
					 in->fn->n_attribute_proto, name);
	}
	return a;
}

/* What the formal names i of a function mean in this call. */
static int bind_names(struct onnx *o, struct onnx_scope *s,
		      const ProtobufCBinaryData *formal, size_t nformal,
		      const ProtobufCBinaryData *actual, size_t nactual,
		      struct err *e)
{
	static const ProtobufCBinaryData none = {0};

	for (size_t i = 0; i < nformal; i++) {
		struct span *name = arena_alloc(o->m->arena, sizeof(*name));
		int rc;

		if (!name)
			return err_nomem(e, sizeof(*name));
		if (formal[i].len == 0)
			continue;
		rc = onnx_rename(o, s->parent, i < nactual ? &actual[i] : &none,
				 name, e);
		if (rc < 0)
			return rc;
		/* An output nobody takes is an inner name. */
		if (formal == s->fn->output && name->len == 0)
			continue;
		if (map_set(s->names, formal[i].data, formal[i].len,
			    (uintptr_t)name) < 0)
			return err_nomem(e, sizeof(*name));
	}
	return 0;
}

/* "call/", unique, as the graph made the name of the call unique. */
static int make_prefix(struct onnx *o, struct onnx_scope *s, struct err *e)
{
	const Onnx__Node *call = s->call;
	const ProtobufCBinaryData *name =
		call->name.len ? &call->name : &call->op_type;
	const struct span *up = &s->parent->prefix;
	size_t len = up->len + name->len;
	char *text;
	uint64_t used = 0;

	o->name_bytes += len;
	if (o->name_bytes > (uint64_t)o->nodes_max * ONNX_NAME_BYTES)
		return err_set(e, EFBIG,
			       "more than %u bytes of names in functions",
			       o->nodes_max * ONNX_NAME_BYTES);
	text = malloc(len + 32);
	if (!text)
		return err_nomem(e, len);
	if (up->len)
		memcpy(text, up->p, up->len);
	if (name->len)
		memcpy(text + up->len, name->data, name->len);
	text[len] = '\0';
	map_get(o->taken, text, len, &used);
	if (map_set(o->taken, arena_strndup(o->m->arena, text, len), len,
		    used + 1) < 0) {
		free(text);
		return err_nomem(e, len);
	}
	if (used > 0)
		len += (size_t)snprintf(text + len, 24, "_%llu",
					(unsigned long long)used);
	text[len++] = '/';
	s->prefix.p = arena_strndup(o->m->arena, text, len);
	s->prefix.len = len;
	free(text);
	return s->prefix.p ? 0 : err_nomem(e, len);
}

/* The call's own module, of the function's type. */
static int make_module(struct onnx *o, struct onnx_scope *s, struct err *e)
{
	const ProtobufCBinaryData *type = &s->fn->name;
	struct span name;
	int rc = onnx_copy(o, type, &name, e);

	if (rc == 0)
		rc = onnx_node_module(o, s->parent, s->call, name.p, &s->module,
				      e);
	if (rc < 0)
		return rc;
	s->module->is_node = false;
	rc = model_type(o->m, s->module, name.p, name.len);
	return rc < 0 ? err_nomem(e, name.len) : 0;
}

static int add_body(struct onnx *o, struct graph *g, struct onnx_scope *s,
		    struct err *e)
{
	const Onnx__Function *fn = s->fn;
	const Onnx__Node *call = s->call;
	int rc = make_prefix(o, s, e);

	if (rc == 0 && !g->parent)
		rc = make_module(o, s, e);
	if (rc == 0)
		rc = bind_names(o, s, fn->input, fn->n_input, call->input,
				call->n_input, e);
	if (rc == 0)
		rc = bind_names(o, s, fn->output, fn->n_output, call->output,
				call->n_output, e);
	for (size_t i = 0; rc == 0 && i < fn->n_node; i++)
		rc = onnx_add_node(o, g, s, fn->node[i], e);
	if (rc == 0)
		rc = onnx_declare(o, g, s, fn->value_info, fn->n_value_info, e);
	return rc;
}

int onnx_inline(struct onnx *o, struct graph *g, struct onnx_scope *s,
		const Onnx__Node *call, const Onnx__Function *fn, struct err *e)
{
	struct onnx_scope inner = {
		.parent = s,
		.fn = fn,
		.call = call,
		.names = map_new(),
		.opsets = fn->opset_import,
		.nopsets = fn->n_opset_import,
		.depth = s->depth + 1,
	};
	int rc;

	/* A call costs something even where the body is empty. */
	if (++o->nnodes > o->nodes_max)
		rc = err_set(e, EFBIG, "more than %u nodes", o->nodes_max);
	else if (!inner.names)
		rc = err_nomem(e, 0);
	else
		rc = add_body(o, g, &inner, e);
	map_free(inner.names);
	return rc;
}
