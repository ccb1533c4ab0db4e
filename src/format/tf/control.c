/* SPDX-License-Identifier: MIT */
/*
 * control - nodes that choose or repeat functions (If, Case, While): their
 * functions become graphs of their own.
 *
 * What a function is given is read from outside, but for the state of a loop,
 * which is what its body gives back changed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/steps.h"
#include "format/tf/body.h"

#define BOOL_TYPE 10 /* DT_BOOL */
#define ONNX_BOOL 9
/* Names with which a function hands on one of its arguments. */
#define HOPS_MAX 8

/* ---- graphs of their own ---- */

/* A value of the body around it. */
static int capture(struct tf_body *inner, const struct tf_body *b, value_id v,
		   value_id *out, struct err *e)
{
	const struct value *outer = &b->g->values[v];
	int rc =
		graph_value(inner->g, outer->name, strlen(outer->name), out, e);

	if (rc == 0)
		inner->g->values[*out].param = outer->param;
	return rc;
}

/* An input, under a name that no captured value has. */
static int carry(struct tf_body *inner, struct span name, value_id *out,
		 struct err *e)
{
	struct text text = {0};
	int rc;

	text_add_bytes(&text, name.p, name.len);
	for (unsigned i = 1;
	     !text.failed &&
	     graph_find(inner->g, text.p ? text.p : "", text.len) != NO_VALUE;
	     i++) {
		text.len = 0;
		text_add_bytes(&text, name.p, name.len);
		text_printf(&text, "%%%u", i);
	}
	rc = text.failed ? err_nomem(e, name.len)
			 : graph_value(inner->g, text.p ? text.p : "", text.len,
				       out, e);
	text_free(&text);
	return rc < 0 ? rc : graph_input(inner->g, *out, e);
}

static int bind_args(struct tf_body *inner, const struct tf_body *b,
		     const struct tf_region *r, struct err *e)
{
	int rc = 0;

	for (int carried = 0; carried < 2; carried++) {
		for (size_t i = 0; rc == 0 && i < r->nargs; i++) {
			const struct tf_arg *a = &r->args[i];
			value_id v;

			if (a->is_carried != (carried == 1))
				continue;
			rc = carried ? carry(inner, a->name, &v, e)
				     : capture(inner, b, a->outer, &v, e);
			if (rc == 0 &&
			    map_set(inner->args, a->name.p, a->name.len, v) < 0)
				rc = err_nomem(e, a->name.len);
		}
	}
	return rc;
}

static int give_results(struct tf_body *inner, const struct tf_region *r,
			struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->nouts; i++) {
		value_id v = tf_resolve(inner, r->outs[i]);
		char q[ERR_QUOTED];

		if (v == NO_VALUE)
			return err_set(e, EINVAL, "result %s is nowhere",
				       err_quote(q, tf_span(r->outs[i]).p,
						 r->outs[i]->len));
		rc = graph_output(inner->g, v, e);
	}
	return rc;
}

int tf_subgraph(struct tf_body *b, const struct tf_region *r,
		struct graph **out, struct err *e)
{
	struct tf_body inner = *b;
	int rc;

	inner.nodes = r->nodes;
	inner.n = r->n;
	inner.depth++;
	inner.caller = b;
	inner.function = r->function;
	inner.index = NULL;
	inner.slots = NULL;
	inner.frames = NULL;
	inner.walk = NULL;
	inner.prefix = r->prefix;
	inner.long_prefix = r->long_prefix;
	inner.args = map_new();
	inner.g = graph_new(b->t->m->arena, b->g, r->name.p);
	rc = inner.args && inner.g ? 0 : err_nomem(e, 0);
	if (rc == 0)
		rc = bind_args(&inner, b, r, e);
	if (rc == 0)
		rc = tf_add_body(&inner, r->outs, r->nouts, e);
	if (rc == 0)
		rc = give_results(&inner, r, e);
	tf_body_free(&inner);
	map_free(inner.args);
	if (rc < 0)
		graph_free(inner.g);
	else
		*out = inner.g;
	return rc;
}

/* ---- functions ---- */

struct control {
	struct tf_body *b;
	const Tf__Node *node;
	struct tf_slot *slot;
	struct module *module;
	value_id *in; /* owned */
	uint32_t nin;
	struct span long_prefix;
};

static const Tf__Function *function_of(const struct control *k,
				       const char *attr)
{
	const Tf__AttrValue *f = tf_attr(k->node, attr);

	return f && f->func ? tf_function(k->b, tf_span(&f->func->name)) : NULL;
}

/* Its first nouts results from the inputs behind the first `skip`. */
static int function_graph(const struct control *k, const Tf__Function *f,
			  uint32_t skip, const bool *is_carried,
			  const bool *wanted, size_t nouts, struct graph **out,
			  struct err *e)
{
	size_t nargs = f->signature->n_input_arg;
	struct tf_arg *args = calloc(nargs + 1, sizeof(*args));
	const ProtobufCBinaryData **outs = calloc(nouts + 1, sizeof(*outs));
	struct tf_region r = {.nodes = f->node_def,
			      .n = f->n_node_def,
			      .function = f,
			      .long_prefix = k->long_prefix,
			      .args = args,
			      .nargs = nargs,
			      .outs = outs};
	int rc = args && outs ? tf_copy(k->b->t, tf_span(&f->signature->name),
					&r.name, e)
			      : err_nomem(e, nargs + nouts);

	if (rc == 0)
		rc = tf_scope_prefix(k->b, k->node, f, &r.prefix, e);
	for (size_t i = 0; rc == 0 && i < nargs; i++)
		args[i] = (struct tf_arg){
			tf_span(&f->signature->input_arg[i]->name),
			k->in[skip + i], is_carried && is_carried[i]};
	for (size_t i = 0; rc == 0 && i < nouts; i++) {
		const ProtobufCBinaryData *ret =
			tf_result(f, &f->signature->output_arg[i]->name);

		if (wanted && !wanted[i])
			continue;
		if (!ret)
			rc = err_set(e, EINVAL, "a function without result %zu",
				     i);
		outs[r.nouts++] = ret;
	}
	if (rc == 0)
		rc = tf_subgraph(k->b, &r, out, e);
	free(args);
	free(outs);
	return rc;
}

static bool takes(const Tf__Function *f, uint32_t nin, size_t nouts)
{
	return f && f->signature && f->signature->n_input_arg == nin &&
	       f->signature->n_output_arg >= nouts;
}

/* The node, of which two graphs are attributes; takes them. */
int tf_graph_node(struct tf_body *b, const struct tf_graph_node *g,
		  struct err *e)
{
	struct node *n = NULL;
	int rc = graph_node(b->g, g->name, g->domain, g->type, g->nin, g->nout,
			    2, &n, e);

	if (rc < 0) {
		graph_free(g->graphs[0]);
		graph_free(g->graphs[1]);
		return rc;
	}
	for (int i = 0; i < 2; i++)
		n->attrs[i] = (struct attr){.name = g->attrs[i],
					    .kind = ATTR_GRAPH,
					    .n = 1,
					    .g = g->graphs[i]};
	n->opset = STEPS_OPSET;
	n->module = g->module;
	for (uint32_t i = 0; i < g->nin; i++)
		n->in[i] = g->in[i];
	for (uint32_t i = 0; i < g->nout; i++)
		n->out[i] = g->out[i];
	if (!g->module)
		return 0;
	g->module->is_node = true;
	return model_type(b->t->m, g->module, g->type, strlen(g->type)) < 0
		       ? err_nomem(e, 0)
		       : 0;
}

/* ---- If ---- */

/* Numbers are true unless they are 0. */
static int condition(const struct control *k, value_id *out, struct err *e)
{
	const Tf__AttrValue *t = tf_attr(k->node, "Tcond");
	struct steps at = {k->b->t->m, k->b->g, k->slot->name, k->module};
	struct attr to = attr_set_int("to", ONNX_BOOL);
	struct step cast = {.what = "condition",
			    .type = "Cast",
			    .in = &k->in[0],
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};

	*out = k->in[0];
	if (!t || !t->has_type || t->type == BOOL_TYPE)
		return 0;
	return steps_inner(&at, &cast, out, e);
}

static int add_if(const struct control *k, struct err *e)
{
	static const char *const names[] = {"then_branch", "else_branch"};
	struct tf_graph_node g = {.name = k->slot->name.p,
				  .domain = "",
				  .type = "If",
				  .attrs = {names[0], names[1]},
				  .module = k->module,
				  .nin = 1,
				  .out = k->slot->out,
				  .nout = k->slot->nout};
	const Tf__Function *f[2];
	value_id yes;
	int rc = 0;

	for (int i = 0; i < 2; i++) {
		f[i] = function_of(k, names[i]);
		if (k->nin == 0 || !takes(f[i], k->nin - 1, g.nout))
			return 0;
	}
	for (int i = 0; rc == 0 && i < 2; i++)
		rc = function_graph(k, f[i], 1, NULL, NULL, g.nout,
				    &g.graphs[i], e);
	if (rc == 0)
		rc = condition(k, &yes, e);
	g.in = &yes;
	if (rc < 0) {
		graph_free(g.graphs[0]);
		graph_free(g.graphs[1]);
		return rc;
	}
	rc = tf_graph_node(k->b, &g, e);
	return rc < 0 ? rc : 1;
}

/* ---- Case ---- */

static int case_graphs(const struct control *k, const Tf__AttrList *l,
		       struct graph **graphs, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->n_func; i++) {
		const Tf__Function *f =
			tf_function(k->b, tf_span(&l->func[i]->name));

		if (!takes(f, k->nin - 1, k->slot->nout))
			return err_set(e, EINVAL, "branch %zu does not fit", i);
		rc = function_graph(k, f, 1, NULL, NULL, k->slot->nout,
				    &graphs[i], e);
	}
	return rc;
}

static int add_case(const struct control *k, struct err *e)
{
	const Tf__AttrValue *a = tf_attr(k->node, "branches");
	struct graph **graphs;
	struct node *n;
	int rc;

	if (!a || !a->list || a->list->n_func == 0 || k->nin == 0)
		return 0;
	graphs = arena_array(k->b->t->m->arena, a->list->n_func,
			     sizeof(struct graph *));
	if (!graphs)
		return err_nomem(e, a->list->n_func);
	rc = case_graphs(k, a->list, graphs, e);
	if (rc == 0)
		rc = graph_node(k->b->g, k->slot->name.p, "tf", "Case", 1,
				k->slot->nout, 1, &n, e);
	if (rc < 0) {
		for (size_t i = 0; i < a->list->n_func; i++)
			graph_free(graphs[i]);
		return rc;
	}
	n->opset = 1;
	n->module = k->module;
	n->in[0] = k->in[0];
	memcpy(n->out, k->slot->out, k->slot->nout * sizeof(*n->out));
	n->attrs[0] = (struct attr){.name = "branches",
				    .kind = ATTR_GRAPHS,
				    .n = a->list->n_func,
				    .graphs = graphs};
	if (k->module)
		k->module->is_node = true;
	if (k->module && model_type(k->b->t->m, k->module, "Case", 4) < 0)
		return err_nomem(e, 0);
	return 1;
}

/* ---- While ---- */

static const Tf__Node *node_named(const Tf__Function *f, struct span name)
{
	for (size_t i = 0; i < f->n_node_def; i++) {
		const ProtobufCBinaryData *n = &f->node_def[i]->name;

		if (n->len == name.len &&
		    memcmp(tf_span(n).p, name.p, name.len) == 0)
			return f->node_def[i];
	}
	return NULL;
}

/* Whether the body gives back argument i as it is. */
static bool is_kept(const Tf__Function *f, size_t i)
{
	static const char *const same[] = {"Identity", "StopGradient", NULL};
	const ProtobufCBinaryData *arg = &f->signature->input_arg[i]->name;
	const ProtobufCBinaryData *at =
		tf_result(f, &f->signature->output_arg[i]->name);

	for (int hop = 0; at && hop < HOPS_MAX; hop++) {
		struct tf_ref r = tf_parse_ref(at);
		const Tf__Node *n;

		if (r.name.len == arg->len &&
		    memcmp(r.name.p, tf_span(arg).p, arg->len) == 0)
			return true;
		n = node_named(f, r.name);
		if (!n || !tf_is_op(n, same) || n->n_input == 0)
			return false;
		at = &n->input[0];
	}
	return false;
}

/* What the loop does not change comes out as it went in. */
static int pass_on(const struct control *k, const bool *carried, struct err *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < k->slot->nout; i++) {
		struct steps at = {k->b->t->m, k->b->g, k->slot->name,
				   k->module};
		char what[32];
		struct step s = {.what = what,
				 .type = "Identity",
				 .in = &k->in[i],
				 .nin = 1,
				 .out = &k->slot->out[i],
				 .nout = 1};

		snprintf(what, sizeof(what), "output_%u", i);
		if (!carried[i])
			rc = steps_node(&at, &s, e);
	}
	return rc;
}

static int make_while(const struct control *k, const Tf__Function *cond,
		      const Tf__Function *body, const bool *carried,
		      value_id *io, struct err *e)
{
	struct tf_graph_node g = {.name = k->slot->name.p,
				  .domain = "tf",
				  .type = "While",
				  .attrs = {"cond", "body"},
				  .module = k->module,
				  .in = io,
				  .out = io + k->nin};
	int rc = function_graph(k, cond, 0, carried, NULL, 1, &g.graphs[0], e);

	if (rc < 0)
		return rc;
	rc = function_graph(k, body, 0, carried, carried, k->nin, &g.graphs[1],
			    e);
	if (rc < 0) {
		graph_free(g.graphs[0]);
		return rc;
	}
	for (uint32_t i = 0; i < k->nin; i++) {
		if (!carried[i])
			continue;
		io[g.nin++] = k->in[i];
		io[k->nin + g.nout++] =
			i < k->slot->nout ? k->slot->out[i] : NO_VALUE;
	}
	rc = tf_graph_node(k->b, &g, e);
	return rc < 0 ? rc : pass_on(k, carried, e);
}

static int add_while(const struct control *k, struct err *e)
{
	const Tf__Function *cond = function_of(k, "cond");
	const Tf__Function *body = function_of(k, "body");
	value_id *io;
	bool *carried;
	int rc;

	if (!takes(cond, k->nin, 1) || !takes(body, k->nin, k->nin) ||
	    k->slot->nout > k->nin)
		return 0;
	io = calloc(2 * (size_t)k->nin + 1, sizeof(*io));
	carried = calloc((size_t)k->nin + 1, sizeof(*carried));
	for (uint32_t i = 0; carried && i < k->nin; i++)
		carried[i] = !is_kept(body, i);
	rc = io && carried ? make_while(k, cond, body, carried, io, e)
			   : err_nomem(e, k->nin);
	free(io);
	free(carried);
	return rc < 0 ? rc : 1;
}

/* ---- which ---- */

static const struct {
	const char *op;
	int (*add)(const struct control *k, struct err *e);
} controls[] = {
	{"Case", add_case},
	{"If", add_if},
	{"StatelessCase", add_case},
	{"StatelessIf", add_if},
	{"StatelessWhile", add_while},
	{"While", add_while},
	{"_If", add_if},
	{"_While", add_while},
};

int tf_add_control(struct tf_body *b, const Tf__Node *n, struct tf_slot *s,
		   struct err *e)
{
	struct control k = {.b = b, .node = n, .slot = s};
	size_t which = 0, count = sizeof(controls) / sizeof(controls[0]);
	int rc;

	while (which < count && !tf_equal(&n->op, controls[which].op))
		which++;
	if (which == count)
		return 0;
	rc = tf_find_inputs(b, n, &k.in, &k.nin, e);
	if (rc < 0)
		return rc;
	rc = tf_node_module(b, s->name, &k.module, e);
	if (rc == 0)
		rc = tf_call_prefix(b, n, &k.long_prefix, e);
	if (rc == 0)
		rc = controls[which].add(&k, e);
	free(k.in);
	return rc;
}
