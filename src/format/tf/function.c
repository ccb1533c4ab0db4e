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

const Tf__Function *tf_callee(const struct tf_body *b, const Tf__Node *n)
{
	static const char *const calls[] = {"PartitionedCall",
					    "StatefulPartitionedCall", NULL};
	const Tf__AttrValue *f;
	struct span name = tf_span(&n->op);
	uint64_t idx;

	if (tf_is_op(n, calls)) {
		f = tf_attr(n, "f");
		if (!f || !f->func)
			return NULL;
		name = tf_span(&f->func->name);
	}
	if (b->depth >= TF_CALL_DEPTH_MAX ||
	    !map_get(b->functions, name.p, name.len, &idx))
		return NULL;
	/* What calls itself stays a call. */
	for (const struct tf_body *at = b; at; at = at->caller)
		if (at->function == b->library->function[idx])
			return NULL;
	return b->library->function[idx];
}

static const ProtobufCBinaryData *find_ret(const Tf__Function *f,
					   const ProtobufCBinaryData *name)
{
	for (size_t i = 0; i < f->n_ret; i++)
		if (f->ret[i]->key.len == name->len &&
		    (name->len == 0 ||
		     memcmp(f->ret[i]->key.data, name->data, name->len) == 0))
			return &f->ret[i]->value;
	return NULL;
}

/* Calls that nobody gave a name lend none to what is in them. */
static bool is_nameless(const ProtobufCBinaryData *name)
{
	return memmem(tf_span(name).p, name->len, "PartitionedCall", 15);
}

static int choose_prefix(struct tf_body *b, const Tf__Node *n,
			 struct tf_body *inner, struct err *e)
{
	struct text name = {0};
	int rc;

	text_add_bytes(&name, b->long_prefix.p, b->long_prefix.len);
	text_add_bytes(&name, tf_span(&n->name).p, n->name.len);
	text_add(&name, "/");
	rc = name.failed ? err_nomem(e, 0)
			 : tf_copy(b->t, (struct span){name.p, name.len},
				   &inner->long_prefix, e);
	b->budget->name_bytes += name.len;
	text_free(&name);
	if (rc == 0 && b->budget->name_bytes > TF_NAMES_MAX)
		rc = err_set(e, EFBIG, "names are too long");
	inner->prefix = is_nameless(&n->name) ? b->prefix : inner->long_prefix;
	return rc;
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
			ret = find_ret(f, &f->signature->output_arg[k]->name);
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
	inner.args = map_new();
	rc = outs && inner.args ? 0 : err_nomem(e, 0);
	if (rc == 0)
		rc = choose_prefix(b, n, &inner, e);
	if (rc == 0)
		rc = bind_args(b, &inner, f, n, e);
	for (size_t i = 0; rc == 0 && i < f->n_ret; i++)
		outs[i] = &f->ret[i]->value;
	if (rc == 0)
		rc = tf_add_body(&inner, outs, f->n_ret, e);
	if (rc == 0)
		rc = link_outputs(b, &inner, f, s, e);
	map_free(inner.args);
	map_free(inner.index);
	free(inner.slots);
	free(outs);
	return rc;
}
