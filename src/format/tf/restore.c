/* SPDX-License-Identifier: MIT */
/*
 * restore - which entry of the checkpoint a variable is.
 *
 * Names do not always tell: two variables of one layer may be called the same.
 * The graph knows for certain: it holds the nodes that load the checkpoint,
 *
 *	RestoreV2(file, names, …) → Identity → AssignVariableOp(variable, …)
 *
 * either themselves or in a function that is given the variables.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/tf/body.h"

/* Nodes between what is restored and what it is assigned to. */
#define HOPS_MAX 4

struct nodes {
	struct tf *t;
	Tf__Node **node;
	size_t n;
	struct map *index;	      /* name → node */
	const Tf__Function *function; /* NULL: the graph itself */
	const Tf__Node *call;	      /* of the function */
};

static const Tf__Node *find(const struct nodes *g, struct span name)
{
	uint64_t i;

	return map_get(g->index, name.p, name.len, &i) ? g->node[i] : NULL;
}

static int index_names(struct nodes *g, struct err *e)
{
	g->index = map_new();
	for (size_t i = 0; g->index && i < g->n; i++) {
		struct span s = tf_span(&g->node[i]->name);

		if (map_set(g->index, s.p, s.len, i) < 0)
			return err_nomem(e, s.len);
	}
	return g->index ? 0 : err_nomem(e, 0);
}

/* The key of what comes to an assignment; false: it is not restored. */
static bool find_key(const struct nodes *g, const ProtobufCBinaryData *value,
		     struct span *out)
{
	static const char *const passes[] = {"Identity", NULL};
	const Tf__AttrValue *names;
	struct tf_ref r = tf_parse_ref(value), list;
	const Tf__Node *n = find(g, r.name);

	for (int i = 0; i < HOPS_MAX && n && tf_is_op(n, passes); i++) {
		if (n->n_input == 0)
			return false;
		r = tf_parse_ref(&n->input[0]);
		n = find(g, r.name);
	}
	if (!n || !tf_equal(&n->op, "RestoreV2") || n->n_input < 2)
		return false;
	list = tf_parse_ref(&n->input[1]);
	n = find(g, list.name);
	names = n && tf_equal(&n->op, "Const") ? tf_attr(n, "value") : NULL;
	if (!names || !names->tensor || r.idx >= names->tensor->n_string_val)
		return false;
	*out = tf_span(&names->tensor->string_val[r.idx]);
	return true;
}

/* The variable's node, in the graph itself. */
static struct span find_variable(const struct nodes *g,
				 const ProtobufCBinaryData *ref)
{
	struct span name = tf_parse_ref(ref).name;
	const Tf__OpDef *s;

	if (!g->function)
		return name;
	s = g->function->signature;
	for (size_t i = 0; i < s->n_input_arg && i < g->call->n_input; i++) {
		struct span a = tf_span(&s->input_arg[i]->name);

		if (a.len == name.len && memcmp(a.p, name.p, a.len) == 0)
			return tf_parse_ref(&g->call->input[i]).name;
	}
	return (struct span){"", 0};
}

static int read_nodes(struct nodes *g, struct err *e)
{
	static const char *const assigns[] = {"AssignVariableOp", "Assign",
					      NULL};
	int rc = index_names(g, e);

	for (size_t i = 0; rc == 0 && i < g->n; i++) {
		const Tf__Node *n = g->node[i];
		struct span key, name;
		uint64_t param;

		if (!tf_is_op(n, assigns) || n->n_input < 2 ||
		    !find_key(g, &n->input[1], &key) ||
		    !map_get(g->t->keys, key.p, key.len, &param))
			continue;
		name = find_variable(g, &n->input[0]);
		if (name.len > 0 &&
		    map_set(g->t->restored, name.p, name.len, param) < 0)
			rc = err_nomem(e, name.len);
	}
	map_free(g->index);
	return rc;
}

static bool restores(const Tf__Function *f)
{
	for (size_t i = 0; i < f->n_node_def; i++)
		if (tf_equal(&f->node_def[i]->op, "RestoreV2"))
			return f->signature;
	return false;
}

/* Its first call among the nodes of the graph. */
static const Tf__Node *find_call(const Tf__Graph *g, const Tf__Function *f)
{
	const ProtobufCBinaryData *name = &f->signature->name;

	for (size_t i = 0; i < g->n_node; i++) {
		const Tf__AttrValue *a = tf_attr(g->node[i], "f");

		if (a && a->func && a->func->name.len == name->len &&
		    memcmp(tf_span(&a->func->name).p, tf_span(name).p,
			   name->len) == 0)
			return g->node[i];
	}
	return NULL;
}

int tf_find_restored(struct tf *t, const Tf__Graph *g, struct err *e)
{
	struct nodes whole = {.t = t, .node = g->node, .n = g->n_node};
	size_t count = g->library ? g->library->n_function : 0;
	int rc = read_nodes(&whole, e);

	for (size_t i = 0; rc == 0 && i < count; i++) {
		const Tf__Function *f = g->library->function[i];
		struct nodes inner = {.t = t,
				      .node = f->node_def,
				      .n = f->n_node_def,
				      .function = f};

		if (!restores(f))
			continue;
		inner.call = find_call(g, f);
		/* There is one such function, or few: no need to look on. */
		return inner.call ? read_nodes(&inner, e) : 0;
	}
	return rc;
}
