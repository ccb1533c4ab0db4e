/* SPDX-License-Identifier: MIT */
/* function - the body of a function in the place of its call. */
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/tf/body.h"
#include "format/tf/tf.h"

const Tf__Function *tf_function(const struct tf_body *b, struct span name)
{
	uint64_t idx;

	if (b->depth >= TF_CALL_DEPTH_MAX ||
	    !map_get(b->functions, name.p, name.len, &idx))
		return NULL;
	/* What calls itself stays a call. */
	for (const struct tf_body *at = b; at; at = at->caller)
		if (at->function == b->library->function[idx])
			return NULL;
	return b->library->function[idx];
}

const Tf__Function *tf_callee(const struct tf_body *b, const Tf__Node *n)
{
	static const char *const calls[] = {"PartitionedCall",
					    "StatefulPartitionedCall", NULL};
	const Tf__AttrValue *f;

	if (!tf_is_op(n, calls))
		return tf_function(b, tf_span(&n->op));
	f = tf_attr(n, "f");
	return f && f->func ? tf_function(b, tf_span(&f->func->name)) : NULL;
}

const ProtobufCBinaryData *tf_result(const Tf__Function *f,
				     const ProtobufCBinaryData *name)
{
	for (size_t i = 0; i < f->n_ret; i++)
		if (f->ret[i]->key.len == name->len &&
		    (name->len == 0 ||
		     memcmp(f->ret[i]->key.data, name->data, name->len) == 0))
			return &f->ret[i]->value;
	return NULL;
}

/* Calls that nobody gave a name lend only their scope to what is in them. */
static struct span scope_of(const ProtobufCBinaryData *name)
{
	struct span s = tf_span(name);
	const char *slash;

	if (!memmem(s.p, s.len, "PartitionedCall", 15))
		return s;
	slash = memrchr(s.p, '/', s.len);
	s.len = slash ? (size_t)(slash - s.p) : 0;
	return s;
}

static int make_prefix(struct tf_body *b, struct span before, struct span name,
		       struct span *out, struct err *e)
{
	struct text text = {0};
	int rc;

	text_add_bytes(&text, before.p, before.len);
	text_add_bytes(&text, name.p, name.len);
	text_add(&text, name.len ? "/" : "");
	rc = text.failed
		     ? err_nomem(e, 0)
		     : tf_copy(b->t, (struct span){text.p, text.len}, out, e);
	b->budget->name_bytes += text.len;
	text_free(&text);
	if (rc == 0 && b->budget->name_bytes > b->budget->nodes_max * TF_NAME_BYTES)
		rc = err_set(e, EFBIG, "names are too long");
	return rc;
}

static bool begins_with(const struct span *s, struct span with)
{
	return s->len > with.len && s->p[with.len] == '/' &&
	       memcmp(s->p, with.p, with.len) == 0;
}

static bool has_scope(const Tf__Function *f, struct span scope)
{
	for (size_t i = 0; scope.len > 0 && i < f->n_node_def; i++) {
		struct span s = tf_span(&f->node_def[i]->name);

		if (begins_with(&s, scope))
			return true;
	}
	return false;
}

int tf_scope_prefix(struct tf_body *b, const Tf__Node *n, const Tf__Function *f,
		    struct span *out, struct err *e)
{
	struct span name = tf_span(&n->name), leaf = name;
	const char *slash = memrchr(name.p, '/', name.len);

	if (slash)
		leaf = (struct span){slash + 1,
				     name.len - (size_t)(slash + 1 - name.p)};
	if (has_scope(f, name))
		name.len = 0;
	else if (has_scope(f, leaf))
		name.len -= slash ? leaf.len + 1 : leaf.len;
	return make_prefix(b, b->prefix, name, out, e);
}

int tf_call_prefix(struct tf_body *b, const Tf__Node *n, struct span *out,
		   struct err *e)
{
	return make_prefix(b, b->long_prefix, tf_span(&n->name), out, e);
}

/* What the call hands out is what the body returns, under its own name. */
static int link_outputs(struct tf_body *b, struct tf_body *inner,
			const Tf__Function *f, const struct tf_slot *s,
			struct err *e)
{
	struct text name = {0};
	int rc = 0;

	for (uint32_t k = 0; rc == 0 && k < s->nout; k++) {
		const ProtobufCBinaryData *ret = NULL;
		value_id v = NO_VALUE;
		struct module *mod;

		if (k < f->signature->n_output_arg)
			ret = tf_result(f, &f->signature->output_arg[k]->name);
		if (ret)
			v = tf_resolve(inner, ret);
		if (v == NO_VALUE)
			continue; /* the graph will say that it is undefined */
		name.len = 0;
		text_add_bytes(&name, s->name.p, s->name.len);
		text_printf(&name, ":%u", k);
		rc = name.failed ? err_nomem(e, 0) : 0;
		if (rc == 0)
			rc = tf_node_module(b, (struct span){name.p, name.len},
					    &mod, e);
		if (rc == 0)
			rc = tf_emit(b, name.p, "Identity", mod, v, s->out[k],
				     e);
	}
	text_free(&name);
	return rc;
}

static int bind_args(struct tf_body *b, struct tf_body *inner,
		     const Tf__Function *f, const Tf__Node *n, struct err *e)
{
	value_id *in;
	uint32_t nin;
	int rc = tf_find_inputs(b, n, &in, &nin, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < f->signature->n_input_arg && i < nin;
	     i++) {
		struct span a = tf_span(&f->signature->input_arg[i]->name);

		rc = map_set(inner->args, a.p, a.len, in[i]);
	}
	free(in);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

int tf_inline(struct tf_body *b, const Tf__Node *n, const Tf__Function *f,
	      struct tf_slot *s, struct err *e)
{
	struct tf_body inner = *b;
	const ProtobufCBinaryData **outs = calloc(f->n_ret + 1, sizeof(*outs));
	int rc;

	inner.nodes = f->node_def;
	inner.n = f->n_node_def;
	inner.depth++;
	inner.caller = b;
	inner.function = f;
	inner.index = NULL;
	inner.slots = NULL;
	inner.frames = NULL;
	inner.walk = NULL;
	inner.args = map_new();
	rc = outs && inner.args ? 0 : err_nomem(e, 0);
	if (rc == 0)
		rc = tf_call_prefix(b, n, &inner.long_prefix, e);
	if (rc == 0)
		rc = make_prefix(b, b->prefix, scope_of(&n->name),
				 &inner.prefix, e);
	if (rc == 0)
		rc = bind_args(b, &inner, f, n, e);
	for (size_t i = 0; rc == 0 && i < f->n_ret; i++)
		outs[i] = &f->ret[i]->value;
	if (rc == 0)
		rc = tf_add_body(&inner, outs, f->n_ret, e);
	if (rc == 0)
		rc = link_outputs(b, &inner, f, s, e);
	tf_body_free(&inner);
	map_free(inner.args);
	free(outs);
	return rc;
}
