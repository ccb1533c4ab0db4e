/* SPDX-License-Identifier: MIT */
/*
 * graph - from a GraphDef to a struct graph.
 *
 * Constants and variables become parameters.  The body of a function is put
 * in the place of its call.  Values are called as in the file: "name" is the
 * first output of a node, "name:1" the second.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/steps.h"
#include "format/tf/body.h"
#include "format/tf/tf.h"

#define OUTPUTS_MAX 65536
/* Of all names together, which calls make longer. */
#define NAMES_MAX ((uint64_t)256 << 20)

/* ---- references: "name", "name:1", "name:output:1", "^name" ---- */

struct tf_ref {
	struct span name;
	struct span output; /* empty in graphs */
	uint64_t idx;
	bool is_control;
};

static struct tf_ref parse_ref(const ProtobufCBinaryData *b)
{
	struct span s = tf_span(b);
	struct tf_ref r = {0};
	const char *colon, *last;

	r.is_control = s.len > 0 && s.p[0] == '^';
	if (r.is_control)
		s = (struct span){s.p + 1, s.len - 1};
	colon = memchr(s.p, ':', s.len);
	r.name = (struct span){s.p, colon ? (size_t)(colon - s.p) : s.len};
	if (!colon)
		return r;
	last = memrchr(s.p, ':', s.len);
	if (last > colon)
		r.output = (struct span){colon + 1, (size_t)(last - colon) - 1};
	for (const char *p = last + 1; p < s.p + s.len; p++)
		if (*p >= '0' && *p <= '9' && r.idx < OUTPUTS_MAX)
			r.idx = r.idx * 10 + (uint64_t)(*p - '0');
	return r;
}

/* Outputs of operators that name more than one. */
static const struct {
	const char *op, *output;
	uint32_t first;
} named_outputs[] = {
	{"FusedBatchNormV3", "batch_mean", 1},
	{"FusedBatchNormV3", "batch_variance", 2},
	{"FusedBatchNorm", "batch_mean", 1},
	{"FusedBatchNorm", "batch_variance", 2},
	{"TopKV2", "indices", 1},
	{"Unique", "idx", 1},
	{"MaxPoolWithArgmax", "argmax", 1},
	{"NonMaxSuppressionV5", "selected_scores", 1},
	{"NonMaxSuppressionV5", "valid_outputs", 2},
	{"Switch", "output_true", 1},
	{"Merge", "value_index", 1},
	{"SparseSoftmaxCrossEntropyWithLogits", "backprop", 1},
	{"SoftmaxCrossEntropyWithLogits", "backprop", 1},
};

static uint64_t output_index(const Tf__Node *n, const struct tf_ref *r)
{
	size_t count = sizeof(named_outputs) / sizeof(named_outputs[0]);

	for (size_t i = 0; i < count; i++)
		if (tf_equal(&n->op, named_outputs[i].op) &&
		    r->output.len == strlen(named_outputs[i].output) &&
		    memcmp(r->output.p, named_outputs[i].output,
			   r->output.len) == 0)
			return r->idx + named_outputs[i].first;
	return r->idx;
}

/* ---- what a node is ---- */

bool tf_is_op(const Tf__Node *n, const char *const *ops)
{
	for (; *ops; ops++)
		if (tf_equal(&n->op, *ops))
			return true;
	return false;
}

static bool is_variable(const Tf__Node *n)
{
	static const char *const ops[] = {"VarHandleOp", "VariableV2",
					  "Variable", NULL};

	return tf_is_op(n, ops);
}

static bool is_placeholder(const Tf__Node *n)
{
	static const char *const ops[] = {"Placeholder", "PlaceholderV2", NULL};

	return tf_is_op(n, ops);
}

static bool has_no_output(const Tf__Node *n)
{
	static const char *const ops[] = {"NoOp",
					  "Assert",
					  "SaveV2",
					  "AssignVariableOp",
					  "MergeV2Checkpoints",
					  "Save",
					  NULL};

	return tf_is_op(n, ops);
}

static const Tf__Function *callee(const struct tf_body *b, const Tf__Node *n)
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

/* ---- the nodes of one body ---- */

static int index_nodes(struct tf_body *b, struct err *e)
{
	char q[ERR_QUOTED];

	for (size_t i = 0; i < b->n; i++) {
		struct span name = tf_span(&b->nodes[i]->name);
		int rc = map_add(b->index, name.p, name.len, i);

		if (rc == -EEXIST)
			return err_set(e, EINVAL, "node %s appears twice",
				       err_quote(q, name.p, name.len));
		if (rc < 0)
			return err_nomem(e, name.len);
	}
	return 0;
}

/* The node a reference means; NULL for arguments and what is missing. */
static struct tf_slot *find_slot(struct tf_body *b, const struct tf_ref *r)
{
	uint64_t idx;

	if (r->is_control || !map_get(b->index, r->name.p, r->name.len, &idx))
		return NULL;
	return &b->slots[idx];
}

static void want(struct tf_body *b, const ProtobufCBinaryData *text,
		 size_t *stack, size_t *depth)
{
	struct tf_ref r = parse_ref(text);
	struct tf_slot *s = find_slot(b, &r);
	uint64_t idx;

	if (!s)
		return;
	idx = output_index(b->nodes[s - b->slots], &r);
	if (idx < OUTPUTS_MAX && s->nout <= idx)
		s->nout = (uint32_t)idx + 1;
	if (!s->is_live)
		stack[(*depth)++] = (size_t)(s - b->slots);
	s->is_live = true;
}

static void follow(struct tf_body *b, size_t *stack, size_t depth)
{
	while (depth > 0) {
		const Tf__Node *n = b->nodes[stack[--depth]];

		for (size_t i = 0; i < n->n_input; i++)
			want(b, &n->input[i], stack, &depth);
	}
}

/* Marks what the outputs need; everything, when there are none. */
static int find_live(struct tf_body *b, const ProtobufCBinaryData *const *outs,
		     size_t nouts, struct err *e)
{
	size_t *stack = calloc(b->n + 1, sizeof(*stack));
	size_t depth = 0;

	if (!stack)
		return err_nomem(e, b->n * sizeof(*stack));
	for (size_t i = 0; i < nouts; i++)
		want(b, outs[i], stack, &depth);
	for (size_t i = 0; i < b->n && depth == 0 && nouts == 0; i++) {
		/* Each is followed alone: the stack has room for all. */
		if (b->slots[i].is_live)
			continue;
		b->slots[i].is_live = true;
		stack[0] = i;
		follow(b, stack, 1);
	}
	follow(b, stack, depth);
	free(stack);
	return 0;
}

static int join_name(struct tf_body *b, struct span prefix, const Tf__Node *n,
		     struct span *out, struct err *e)
{
	struct span name = tf_span(&n->name);
	char *p = arena_alloc(b->t->m->arena, prefix.len + name.len + 1);

	if (!p)
		return err_nomem(e, prefix.len + name.len);
	b->budget->name_bytes += prefix.len + name.len;
	if (b->budget->name_bytes > NAMES_MAX)
		return err_set(e, EFBIG, "names are too long");
	memcpy(p, prefix.p, prefix.len);
	memcpy(p + prefix.len, name.p, name.len);
	*out = (struct span){p, prefix.len + name.len};
	return 0;
}

static int choose_name(struct tf_body *b, const Tf__Node *n, struct span *out,
		       struct err *e)
{
	int rc = join_name(b, b->prefix, n, out, e);

	if (rc == 0 && graph_find(b->g, out->p, out->len) != NO_VALUE)
		rc = join_name(b, b->long_prefix, n, out, e);
	return rc;
}

static int make_value(struct tf_body *b, struct tf_slot *s, uint32_t k,
		      struct err *e)
{
	struct text name = {0};
	int rc;

	text_add_bytes(&name, s->name.p, s->name.len);
	if (k > 0)
		text_printf(&name, ":%u", k);
	rc = name.failed ? err_nomem(e, 0)
			 : graph_value(b->g, name.p ? name.p : "", name.len,
				       &s->out[k], e);
	text_free(&name);
	return rc;
}

static int make_values(struct tf_body *b, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < b->n; i++) {
		struct tf_slot *s = &b->slots[i];
		const Tf__Node *n = b->nodes[i];

		if (!s->is_live)
			continue;
		rc = choose_name(b, n, &s->name, e);
		if (s->nout == 0 && !has_no_output(n))
			s->nout = 1;
		s->out = arena_array(b->t->m->arena, s->nout + 1u,
				     sizeof(*s->out));
		if (rc == 0 && !s->out)
			rc = err_nomem(e, s->nout);
		for (uint32_t k = 0; rc == 0 && k < s->nout; k++)
			rc = make_value(b, s, k, e);
	}
	return rc;
}

/* NO_VALUE for what is not there. */
static value_id resolve(struct tf_body *b, const ProtobufCBinaryData *text)
{
	struct tf_ref r = parse_ref(text);
	struct tf_slot *s = find_slot(b, &r);
	uint64_t v;

	if (s) {
		uint64_t idx = output_index(b->nodes[s - b->slots], &r);

		return idx < s->nout ? s->out[idx] : NO_VALUE;
	}
	if (b->args && map_get(b->args, r.name.p, r.name.len, &v))
		return (value_id)v;
	return NO_VALUE;
}

/* ---- constants, variables, inputs ---- */

static int add_constant(struct tf_body *b, const Tf__Node *n,
			const struct tf_slot *s, struct err *e)
{
	const Tf__AttrValue *value = tf_attr(n, "value");
	struct tensor tensor;
	uint64_t idx;
	int rc;

	/* TensorFlow.js keeps the numbers elsewhere. */
	if (map_get(b->t->params, s->name.p, s->name.len, &idx)) {
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
static bool bind_variable(struct tf_body *b, const Tf__Node *n, value_id v)
{
	const Tf__AttrValue *shared = tf_attr(n, "shared_name");
	struct span name = tf_span(&n->name);
	uint64_t idx;

	if (shared && shared->has_s && shared->s.len > 0)
		name = tf_span(&shared->s);
	if (!map_get(b->t->params, name.p, name.len, &idx))
		return false;
	b->g->values[v].param = b->t->m->params[idx - 1];
	return true;
}

static int add_input(struct tf_body *b, const Tf__Node *n, value_id v,
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

static int find_inputs(struct tf_body *b, const Tf__Node *n, value_id **out,
		       uint32_t *nin, struct err *e)
{
	value_id *in = calloc(n->n_input + 1, sizeof(*in));
	uint32_t count = 0;

	if (!in)
		return err_nomem(e, n->n_input * sizeof(*in));
	for (size_t i = 0; i < n->n_input; i++) {
		struct tf_ref r = parse_ref(&n->input[i]);
		char q[ERR_QUOTED];

		if (r.is_control)
			continue;
		in[count] = resolve(b, &n->input[i]);
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
	int rc = model_type(t->m, mod, tf_span(&n->op).p, n->op.len);

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

static int node_module(struct tf_body *b, struct span name, struct module **out,
		       struct err *e)
{
	struct module *parent;
	struct span leaf;
	int rc = tf_place(b->t, name, &parent, &leaf, e);

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

static int add_node(struct tf_body *b, const Tf__Node *n, struct tf_slot *s,
		    struct err *e)
{
	struct tf_call c = {
		.node = n, .name = s->name, .out = s->out, .nout = s->nout};
	value_id *in = NULL;
	int rc;

	rc = find_inputs(b, n, &in, &c.nin, e);
	c.in = in;
	if (rc == 0)
		rc = node_module(b, c.name, &c.module, e);
	if (rc == 0)
		rc = tf_translate(b, &c, e);
	/* 0: nothing was made of it. */
	if (rc == 0) {
		c.module->is_node = true;
		rc = plain_node(b, n, &c, e);
	}
	free(in);
	return rc < 0 ? rc : 0;
}

/* ---- functions ---- */

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
	mod->is_node = true;
	return model_type(b->t->m, mod, type, strlen(type)) < 0
		       ? err_nomem(e, 0)
		       : 0;
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
	text_free(&name);
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
			v = resolve(inner, ret);
		if (v == NO_VALUE)
			continue; /* the graph will say that it is undefined */
		name.len = 0;
		text_add_bytes(&name, s->name.p, s->name.len);
		text_printf(&name, ":%u", k);
		rc = name.failed ? err_nomem(e, 0) : 0;
		if (rc == 0)
			rc = node_module(b, (struct span){name.p, name.len},
					 &mod, e);
		if (rc == 0)
			rc = tf_emit(b, name.p, "Identity", mod, v, s->out[k],
				     e);
	}
	text_free(&name);
	return rc;
}

static int add_body(struct tf_body *b, const ProtobufCBinaryData *const *outs,
		    size_t nouts, struct err *e);

static int bind_args(struct tf_body *b, struct tf_body *inner,
		     const Tf__Function *f, const Tf__Node *n, struct err *e)
{
	value_id *in;
	uint32_t nin;
	int rc = find_inputs(b, n, &in, &nin, e);

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

static int inline_call(struct tf_body *b, const Tf__Node *n,
		       const Tf__Function *f, struct tf_slot *s, struct err *e)
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
		rc = add_body(&inner, outs, f->n_ret, e);
	if (rc == 0)
		rc = link_outputs(b, &inner, f, s, e);
	map_free(inner.args);
	map_free(inner.index);
	free(inner.slots);
	free(outs);
	return rc;
}

/* Tensors come first: translations look into them. */
static int add_tensor(struct tf_body *b, size_t i, struct err *e)
{
	const Tf__Node *n = b->nodes[i];
	struct tf_slot *s = &b->slots[i];

	if (tf_equal(&n->op, "Const"))
		return add_constant(b, n, s, e);
	if (is_variable(n))
		s->is_done = bind_variable(b, n, s->out[0]);
	return 0;
}

static int add_one(struct tf_body *b, size_t i, struct err *e)
{
	const Tf__Node *n = b->nodes[i];
	struct tf_slot *s = &b->slots[i];
	const Tf__Function *f = callee(b, n);

	if (tf_equal(&n->op, "Const") || s->is_done)
		return 0;
	if (f && f->signature)
		return inline_call(b, n, f, s, e);
	if (is_placeholder(n) && b->depth == 0)
		return add_input(b, n, s->out[0], e);
	return add_node(b, n, s, e);
}

static int add_each(struct tf_body *b,
		    int (*add)(struct tf_body *b, size_t i, struct err *e),
		    struct err *e)
{
	char q[ERR_QUOTED];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < b->n; i++) {
		struct span name = tf_span(&b->nodes[i]->name);

		if (!b->slots[i].is_live)
			continue;
		rc = add(b, i, e);
		if (rc < 0)
			err_wrap(e, "node %s", err_quote(q, name.p, name.len));
	}
	return rc;
}

/* The caller frees index and slots. */
static int add_body(struct tf_body *b, const ProtobufCBinaryData *const *outs,
		    size_t nouts, struct err *e)
{
	int rc;

	/* One for the call, so that empty functions are not for nothing. */
	b->budget->nodes += b->n + 1;
	if (b->budget->nodes > TF_NODES_MAX)
		return err_set(e, EFBIG, "more than %u nodes", TF_NODES_MAX);
	b->index = map_new();
	b->slots = calloc(b->n + 1, sizeof(*b->slots));
	if (!b->index || !b->slots)
		return err_nomem(e, b->n * sizeof(*b->slots));
	rc = index_nodes(b, e);
	if (rc == 0)
		rc = find_live(b, outs, nouts, e);
	if (rc == 0)
		rc = make_values(b, e);
	if (rc == 0)
		rc = add_each(b, add_tensor, e);
	return rc == 0 ? add_each(b, add_one, e) : rc;
}

/* ---- the whole ---- */

static int index_functions(struct tf_body *b, struct err *e)
{
	for (size_t i = 0; b->library && i < b->library->n_function; i++) {
		const Tf__OpDef *s = b->library->function[i]->signature;

		if (s && map_set(b->functions, tf_span(&s->name).p, s->name.len,
				 i) < 0)
			return err_nomem(e, s->name.len);
	}
	return 0;
}

/* Without signatures: what nobody uses. */
static int guess_outputs(struct tf_body *b, struct err *e)
{
	uint8_t *used = calloc((size_t)b->g->nvalues + 1, 1);
	int rc = used ? 0 : err_nomem(e, b->g->nvalues);

	for (uint32_t i = 0; rc == 0 && i < b->g->nnodes; i++)
		for (uint32_t k = 0; k < b->g->nodes[i].nin; k++)
			if (b->g->nodes[i].in[k] != NO_VALUE)
				used[b->g->nodes[i].in[k]] = 1;
	for (uint32_t i = 0; rc == 0 && i < b->g->nnodes; i++) {
		const struct node *n = &b->g->nodes[i];

		for (uint32_t k = 0; rc == 0 && k < n->nout; k++)
			if (n->out[k] != NO_VALUE && !used[n->out[k]])
				rc = graph_output(b->g, n->out[k], e);
	}
	free(used);
	return rc;
}

static int add_outputs(struct tf_body *b, const ProtobufCBinaryData *const *o,
		       size_t n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		value_id v = resolve(b, o[i]);

		if (v != NO_VALUE && !b->g->values[v].is_output &&
		    !b->g->values[v].is_input)
			rc = graph_output(b->g, v, e);
	}
	return rc;
}

static size_t collect_outputs(Tf__SignatureEntry **sigs, size_t nsigs,
			      const ProtobufCBinaryData **out)
{
	size_t n = 0;

	for (size_t i = 0; i < nsigs; i++) {
		const Tf__Signature *s = sigs[i]->value;

		if (tf_equal(&sigs[i]->key, "__saved_model_init_op"))
			continue;
		for (size_t k = 0; s && k < s->n_outputs; k++) {
			if (!s->outputs[k]->value)
				continue;
			if (out)
				out[n] = &s->outputs[k]->value->name;
			n++;
		}
	}
	return n;
}

int tf_graph_names(struct tf *t, const Tf__Graph *g, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < g->n_node; i++)
		if (tf_equal(&g->node[i]->op, "Const") ||
		    is_variable(g->node[i]))
			rc = tf_name_add(t, tf_span(&g->node[i]->name), e);
	return rc;
}

int tf_graph(struct tf *t, const Tf__Graph *g, Tf__SignatureEntry **sigs,
	     size_t nsigs, struct err *e)
{
	size_t nouts = collect_outputs(sigs, nsigs, NULL);
	const ProtobufCBinaryData **outs = calloc(nouts + 1, sizeof(*outs));
	struct tf_budget budget = {0};
	struct tf_body b = {
		.t = t,
		.nodes = g->node,
		.n = g->n_node,
		.library = g->library,
		.functions = map_new(),
		.prefix = {"", 0},
		.long_prefix = {"", 0},
		.budget = &budget,
	};
	int rc = outs && b.functions ? 0 : err_nomem(e, 0);

	if (rc == 0)
		collect_outputs(sigs, nsigs, outs);
	t->m->graph = b.g = graph_new(t->m->arena, NULL, "");
	if (rc == 0 && !b.g)
		rc = err_nomem(e, sizeof(*b.g));
	if (rc == 0)
		rc = index_functions(&b, e);
	if (rc == 0)
		rc = add_body(&b, outs, nouts, e);
	if (rc == 0)
		rc = nouts ? add_outputs(&b, outs, nouts, e)
			   : guess_outputs(&b, e);
	map_free(b.functions);
	map_free(b.index);
	free(b.slots);
	free(outs);
	return rc;
}
