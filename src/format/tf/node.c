/* SPDX-License-Identifier: MIT */
/*
 * node - what becomes of one node: a parameter, an input of the graph, or
 * operators.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/steps.h"
#include "format/tf/body.h"
#include "format/tf/tf.h"

/* ---- constants, variables, inputs ---- */

int tf_add_constant(struct tf_body *b, const Tf__Node *n,
		    const struct tf_slot *s, struct err *e)
{
	const Tf__AttrValue *value = tf_attr(n, "value");
	struct tensor tensor;
	uint64_t idx;
	int rc;

	/* TensorFlow.js keeps the numbers elsewhere. */
	if (b->t->has_weights &&
	    map_get(b->t->params, tf_span(&n->name).p, n->name.len, &idx)) {
		b->g->values[s->out[0]].param = b->t->m->params[idx - 1];
		return 0;
	}
	if (!value || !value->tensor)
		return err_set(e, EINVAL, "a constant without a value");
	rc = tf_tensor(b->t->src, b->t->m->lenient, value->tensor, &tensor, e);
	if (rc == 0)
		rc = tf_param(b->t, s->name, PARAM_CONSTANT, &tensor,
			      value->tensor->dtype, e);
	if (rc == 0 && map_get(b->t->params, s->name.p, s->name.len, &idx))
		b->g->values[s->out[0]].param = b->t->m->params[idx - 1];
	return rc;
}

/* True when a checkpoint holds the variable. */
bool tf_bind_variable(struct tf_body *b, const Tf__Node *n, value_id v)
{
	const Tf__AttrValue *shared = tf_attr(n, "shared_name");
	struct span name = tf_span(&n->name);
	uint64_t idx;

	if (!b->function && map_get(b->t->restored, name.p, name.len, &idx)) {
		b->g->values[v].param = b->t->m->params[idx - 1];
		return true;
	}
	if (shared && shared->has_s && shared->s.len > 0)
		name = tf_span(&shared->s);
	if (!map_get(b->t->params, name.p, name.len, &idx))
		return false;
	b->g->values[v].param = b->t->m->params[idx - 1];
	return true;
}

int tf_add_input(struct tf_body *b, const Tf__Node *n, value_id v,
		 struct err *e)
{
	const Tf__AttrValue *type = tf_attr(n, "dtype");
	const Tf__AttrValue *shape = tf_attr(n, "shape");
	struct tensor t =
		tf_declared(type ? type->type : 0, shape ? shape->shape : NULL);
	int rc = graph_input(b->g, v, e);

	return rc < 0 ? rc : graph_declare(b->g, v, &t, NULL, e);
}

/* ---- nodes ---- */

int tf_find_inputs(struct tf_body *b, const Tf__Node *n, value_id **out,
		   uint32_t *nin, struct err *e)
{
	value_id *in = calloc(n->n_input + 1, sizeof(*in));
	uint32_t count = 0;

	if (!in)
		return err_nomem(e, n->n_input * sizeof(*in));
	for (size_t i = 0; i < n->n_input; i++) {
		struct tf_ref r = tf_parse_ref(&n->input[i]);
		char q[ERR_QUOTED];

		if (r.is_control)
			continue;
		in[count] = tf_resolve(b, &n->input[i]);
		if (in[count++] != NO_VALUE)
			continue;
		free(in);
		return err_set(e, EINVAL, "input %s is nowhere",
			       err_quote(q, r.name.p, r.name.len));
	}
	*out = in;
	*nin = count;
	return 0;
}

static int describe(struct tf *t, struct module *mod, const Tf__Node *n,
		    const struct node *node, struct err *e)
{
	struct text text = {0};
	int rc;

	if (!mod)
		return 0;
	rc = model_type(t->m, mod, tf_span(&n->op).p, n->op.len);

	for (uint32_t i = 0; rc == 0 && i < node->nattrs; i++) {
		const struct attr *a = &node->attrs[i];

		text.len = 0;
		attr_format(a, &text);
		rc = model_attr(t->m, mod, a->name, "%.*s", (int)text.len,
				text.p ? text.p : "");
	}
	if (text.failed)
		rc = -ENOMEM;
	text_free(&text);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

int tf_node_module(struct tf_body *b, struct span name, struct module **out,
		   struct err *e)
{
	struct module *parent;
	struct span leaf;
	int rc;

	*out = NULL;
	if (b->g->parent)
		return 0;
	rc = tf_place(b->t, name, &parent, &leaf, e);
	if (rc == 0)
		rc = model_module(b->t->m, parent, leaf.p, leaf.len, out, e);
	return rc;
}

static int plain_node(struct tf_body *b, const Tf__Node *n,
		      const struct tf_call *c, struct err *e)
{
	struct span type;
	struct node *node;
	int rc = tf_copy(b->t, tf_span(&n->op), &type, e);

	if (rc == 0)
		rc = graph_node(b->g, c->name.p, "tf", type.p, c->nin, c->nout,
				tf_attr_count(n), &node, e);
	if (rc < 0)
		return rc;
	node->opset = 1;
	node->module = c->module;
	for (uint32_t i = 0; i < c->nin; i++)
		node->in[i] = c->in[i];
	for (uint32_t i = 0; i < c->nout; i++)
		node->out[i] = c->out[i];
	rc = tf_attrs(b->t, n, node->attrs, e);
	return rc < 0 ? rc : describe(b->t, c->module, n, node, e);
}

int tf_add_node(struct tf_body *b, const Tf__Node *n, struct tf_slot *s,
		struct err *e)
{
	struct tf_call c = {
		.node = n, .name = s->name, .out = s->out, .nout = s->nout};
	value_id *in = NULL;
	int rc;

	rc = tf_find_inputs(b, n, &in, &c.nin, e);
	c.in = in;
	if (rc == 0)
		rc = tf_node_module(b, c.name, &c.module, e);
	if (rc == 0)
		rc = tf_translate(b, &c, e);
	/* 0: nothing was made of it. */
	if (rc == 0 && c.module)
		c.module->is_node = true;
	if (rc == 0)
		rc = plain_node(b, n, &c, e);
	free(in);
	return rc < 0 ? rc : 0;
}

int tf_emit(struct tf_body *b, const char *name, const char *type,
	    struct module *mod, value_id in, value_id out, struct err *e)
{
	struct node *node;
	int rc = graph_node(b->g, name, "", type, 1, 1, 0, &node, e);

	if (rc < 0)
		return rc;
	node->opset = STEPS_OPSET;
	node->module = mod;
	node->in[0] = in;
	node->out[0] = out;
	if (!mod)
		return 0;
	mod->is_node = true;
	return model_type(b->t->m, mod, type, strlen(type)) < 0
		       ? err_nomem(e, 0)
		       : 0;
}
