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
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/tf/body.h"
#include "format/tf/tf.h"

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

void tf_want(struct tf_body *b, const ProtobufCBinaryData *text, size_t *stack,
	     size_t *depth)
{
	struct tf_ref r = tf_parse_ref(text);
	struct tf_slot *s = find_slot(b, &r);
	uint64_t idx;

	if (!s || tf_in_frame(b, (size_t)(s - b->slots)))
		return;
	idx = tf_output_index(b->nodes[s - b->slots], &r);
	if (idx < TF_OUTPUTS_MAX && s->nout <= idx)
		s->nout = (uint32_t)idx + 1;
	if (!s->is_live)
		stack[(*depth)++] = (size_t)(s - b->slots);
	s->is_live = true;
}

static void follow(struct tf_body *b, size_t *stack, size_t depth)
{
	while (depth > 0) {
		size_t node = stack[--depth];
		const Tf__Node *n = b->nodes[node];

		if (tf_want_loop(b, node, stack, &depth))
			continue;
		for (size_t i = 0; i < n->n_input; i++)
			tf_want(b, &n->input[i], stack, &depth);
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
		tf_want(b, outs[i], stack, &depth);
	for (size_t i = 0; i < b->n && depth == 0 && nouts == 0; i++) {
		/* Each is followed alone: the stack has room for all. */
		if (b->slots[i].is_live || tf_in_frame(b, i))
			continue;
		b->slots[i].is_live = true;
		stack[0] = i;
		follow(b, stack, 1);
	}
	follow(b, stack, depth);
	free(stack);
	return 0;
}

static int join_name(struct tf_body *b, struct span prefix, struct span name,
		     struct span *out, struct err *e)
{
	char *p = arena_alloc(b->t->m->arena, prefix.len + name.len + 1);

	if (!p)
		return err_nomem(e, prefix.len + name.len);
	b->budget->name_bytes += prefix.len + name.len;
	if (b->budget->name_bytes > b->budget->nodes_max * TF_NAME_BYTES)
		return err_set(e, EFBIG, "names are too long");
	memcpy(p, prefix.p, prefix.len);
	memcpy(p + prefix.len, name.p, name.len);
	*out = (struct span){p, prefix.len + name.len};
	return 0;
}

int tf_prefixed(struct tf_body *b, struct span name, struct span *out,
		struct err *e)
{
	return join_name(b, b->prefix, name, out, e);
}

/* Nothing that is seen from here has the name, and no other constant. */
static bool is_free(const struct tf_body *b, const Tf__Node *n,
		    const struct span *name)
{
	uint64_t idx;

	for (const struct graph *g = b->g; g; g = g->parent)
		if (graph_find(g, name->p, name->len) != NO_VALUE)
			return false;
	return b->t->has_weights || !tf_equal(&n->op, "Const") ||
	       !map_get(b->t->params, name->p, name->len, &idx);
}

static int choose_name(struct tf_body *b, const Tf__Node *n, struct span *out,
		       struct err *e)
{
	struct span name = {"", 0};
	struct text text = {0};
	int rc = join_name(b, b->prefix, tf_span(&n->name), out, e);

	if (rc < 0 || is_free(b, n, out))
		return rc;
	rc = join_name(b, b->long_prefix, tf_span(&n->name), &name, e);
	*out = name;
	for (unsigned i = 1; rc == 0 && !is_free(b, n, out); i++) {
		text.len = 0;
		text_add_bytes(&text, name.p, name.len);
		text_printf(&text, "%%%u", i);
		rc = text.failed
			     ? err_nomem(e, name.len)
			     : tf_copy(b->t, (struct span){text.p, text.len},
				       out, e);
	}
	text_free(&text);
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
value_id tf_resolve(struct tf_body *b, const ProtobufCBinaryData *text)
{
	struct tf_ref r = tf_parse_ref(text);
	struct tf_slot *s = find_slot(b, &r);
	uint64_t v;

	if (s) {
		uint64_t idx = tf_output_index(b->nodes[s - b->slots], &r);

		return idx < s->nout ? s->out[idx] : NO_VALUE;
	}
	if (b->args && map_get(b->args, r.name.p, r.name.len, &v))
		return (value_id)v;
	return NO_VALUE;
}

/* Tensors come first: translations look into them. */
static int add_tensor(struct tf_body *b, size_t i, struct err *e)
{
	const Tf__Node *n = b->nodes[i];
	struct tf_slot *s = &b->slots[i];

	if (tf_equal(&n->op, "Const"))
		return tf_add_constant(b, n, s, e);
	if (tf_is_variable(n))
		s->is_done = tf_bind_variable(b, n, s->out[0]);
	return 0;
}

static int add_one(struct tf_body *b, size_t i, struct err *e)
{
	const Tf__Node *n = b->nodes[i];
	struct tf_slot *s = &b->slots[i];
	const Tf__Function *f = tf_callee(b, n);

	int rc;

	if (tf_equal(&n->op, "Const") || s->is_done)
		return 0;
	if (f && f->signature)
		return tf_inline(b, n, f, s, e);
	if (is_placeholder(n) && b->depth == 0)
		return tf_add_input(b, n, s->out[0], e);
	rc = tf_add_control(b, n, s, e);
	if (rc == 0)
		rc = tf_add_loop(b, i, e);
	if (rc == 0)
		rc = tf_add_branch(b, i, e);
	return rc != 0 ? rc : tf_add_node(b, n, s, e);
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
		rc = rc > 0 ? 0 : rc;
		if (rc < 0)
			err_wrap(e, "node %s", err_quote(q, name.p, name.len));
	}
	return rc;
}

void tf_body_free(struct tf_body *b)
{
	map_free(b->index);
	free(b->slots);
	tf_frames_free(b->frames);
	tf_walk_free(b->walk);
}

int tf_add_body(struct tf_body *b, const ProtobufCBinaryData *const *outs,
		size_t nouts, struct err *e)
{
	int rc;

	/* One for the call, so that empty functions are not for nothing. */
	b->budget->nodes += b->n + 1;
	if (b->budget->nodes > b->budget->nodes_max)
		return err_set(e, EFBIG, "more than %llu nodes",
			       (unsigned long long)b->budget->nodes_max);
	b->index = map_new();
	b->slots = calloc(b->n + 1, sizeof(*b->slots));
	if (!b->index || !b->slots)
		return err_nomem(e, b->n * sizeof(*b->slots));
	rc = index_nodes(b, e);
	if (rc == 0)
		rc = tf_find_frames(b, e);
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
		value_id v = tf_resolve(b, o[i]);

		if (v != NO_VALUE && !b->g->values[v].is_output &&
		    !b->g->values[v].is_input)
			rc = graph_output(b->g, v, e);
	}
	return rc;
}

static bool is_called(const Tf__SignatureEntry *s)
{
	return s->value && !tf_equal(&s->key, "__saved_model_init_op");
}

/* Names of what signatures give, or take; out may be NULL. */
static size_t collect(Tf__SignatureEntry **sigs, size_t nsigs, bool outputs,
		      const ProtobufCBinaryData **out)
{
	size_t n = 0;

	for (size_t i = 0; i < nsigs; i++) {
		const Tf__Signature *s = sigs[i]->value;
		size_t count = !is_called(sigs[i]) ? 0
			       : outputs	   ? s->n_outputs
						   : s->n_inputs;

		for (size_t k = 0; k < count; k++) {
			const Tf__InfoEntry *x =
				outputs ? s->outputs[k] : s->inputs[k];

			if (!x->value)
				continue;
			if (out)
				out[n] = &x->value->name;
			n++;
		}
	}
	return n;
}

/* Types and shapes that signatures tell and nodes do not. */
static int declare(struct tf_body *b, Tf__InfoEntry **infos, size_t n,
		   struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const Tf__TensorInfo *x = infos[i]->value;
		value_id v = x ? tf_resolve(b, &x->name) : NO_VALUE;
		const struct value *old;
		struct tensor t;

		if (v == NO_VALUE)
			continue;
		old = &b->g->values[v];
		t = tf_declared(x->dtype, x->tensor_shape);
		if (!old->param && (!old->type || old->type->shape.rank < 0))
			rc = graph_declare(b->g, v, &t, NULL, e);
	}
	return rc;
}

static int declare_all(struct tf_body *b, Tf__SignatureEntry **sigs,
		       size_t nsigs, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < nsigs; i++) {
		const Tf__Signature *s = sigs[i]->value;

		if (!is_called(sigs[i]))
			continue;
		rc = declare(b, s->inputs, s->n_inputs, e);
		if (rc == 0)
			rc = declare(b, s->outputs, s->n_outputs, e);
	}
	return rc;
}

int tf_graph_names(struct tf *t, const Tf__Graph *g, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < g->n_node; i++)
		if (tf_equal(&g->node[i]->op, "Const") ||
		    tf_is_variable(g->node[i]))
			rc = tf_name_add(t, tf_span(&g->node[i]->name), e);
	return rc;
}

static uint64_t most_nodes(const Tf__Graph *g)
{
	const Tf__Library *l = g->library;
	uint64_t n = g->n_node;

	for (size_t i = 0; l && i < l->n_function; i++)
		n += l->function[i]->n_node_def;
	n = TF_NODES_MIN + n * TF_COPIES_MAX;
	return n < TF_NODES_MAX ? n : TF_NODES_MAX;
}

int tf_graph(struct tf *t, const Tf__Graph *g, Tf__SignatureEntry **sigs,
	     size_t nsigs, struct err *e)
{
	size_t nouts = collect(sigs, nsigs, true, NULL);
	size_t nins = collect(sigs, nsigs, false, NULL);
	const ProtobufCBinaryData **outs =
		calloc(nouts + nins + 1, sizeof(*outs));
	struct tf_budget budget = {.nodes_max = most_nodes(g)};
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

	if (rc == 0) {
		collect(sigs, nsigs, true, outs);
		collect(sigs, nsigs, false, outs + nouts);
	}
	t->m->graph = b.g = graph_new(t->m->arena, NULL, "");
	if (rc == 0 && !b.g)
		rc = err_nomem(e, sizeof(*b.g));
	if (rc == 0)
		rc = index_functions(&b, e);
	if (rc == 0)
		rc = tf_add_body(&b, outs, nouts ? nouts + nins : 0, e);
	if (rc == 0)
		rc = nouts ? add_outputs(&b, outs, nouts, e)
			   : guess_outputs(&b, e);
	if (rc == 0)
		rc = declare_all(&b, sigs, nsigs, e);
	tf_body_free(&b);
	map_free(b.functions);
	free(outs);
	return rc;
}
