/* SPDX-License-Identifier: MIT */
/*
 * control - operators that run other subgraphs.
 *
 * IF becomes If, WHILE becomes Loop; the subgraph is built anew in each place
 * that it runs in, with names of that place.  What a subgraph is given comes in
 * through an Identity, so that its own names stay.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/text.h"

#include "format/tflite/translate.h"

/* Operators and tensors of all copies of subgraphs, and how deep they nest. */
#define COPIES_MAX 100000u
#define NESTING_MAX 16u
#define ARGS_MAX 256u

struct call { /* of a subgraph */
	const char *what;
	uint32_t subgraph;
	const value_id *args;
	value_id *outs;
	uint32_t nargs, nouts;
};

/* ---- copies ---- */

static bool has_ends(struct tflite *t, const struct flatbuf_table *table,
		     const struct call *c)
{
	struct flatbuf_vector in =
		flatbuf_vector(t->f, table, TFLITE_INPUTS, 4);
	struct flatbuf_vector out =
		flatbuf_vector(t->f, table, TFLITE_OUTPUTS, 4);

	return in.n == c->nargs && out.n == c->nouts;
}

/* What a copy is made of. */
static uint64_t count_parts(struct tflite *t, uint32_t subgraph)
{
	const struct tflite_graph *g = &t->graphs[subgraph];

	return 1 + (uint64_t)g->ntensors +
	       flatbuf_vector(t->f, &g->table, TFLITE_OPERATORS, 4).n;
}

static bool can_call(struct tflite_make *k, const struct call *c)
{
	struct tflite *t = k->tg->t;

	if (c->subgraph >= t->subgraphs.n || c->subgraph == 0 ||
	    c->nargs > ARGS_MAX || c->nouts > ARGS_MAX)
		return false;
	return has_ends(t, &t->graphs[c->subgraph].table, c) &&
	       t->depth < NESTING_MAX && t->ncopied < COPIES_MAX &&
	       count_parts(t, c->subgraph) <= COPIES_MAX - t->ncopied;
}

/* The tensors of a subgraph under names of this place. */
static int copy_tensors(struct tflite_make *k, const struct call *c,
			struct tflite_graph *g, struct err *e)
{
	struct tf *tf = &k->tg->t->tf;
	struct tflite_tensor *copy =
		arena_array(tf->m->arena, g->ntensors + 1u, sizeof(*copy));
	int rc = 0;

	if (!copy)
		return err_nomem(e, g->ntensors * sizeof(*copy));
	memcpy(copy, g->tensors, g->ntensors * sizeof(*copy));
	for (uint32_t i = 0; rc == 0 && i < g->ntensors; i++) {
		struct text name = {0};

		if (!copy[i].is_used)
			continue;
		text_printf(&name, "%s:%s/%s", k->at.name.p, c->what,
			    copy[i].name.p);
		if (name.failed)
			rc = err_nomem(e, copy[i].name.len);
		else
			rc = tf_copy(tf, (struct span){name.p, name.len},
				     &copy[i].name, e);
		text_free(&name);
	}
	g->tensors = copy;
	return rc;
}

/* In the model's own graph every node is a module, or has no place in act/. */
static int find_place(struct tflite_make *k, const struct call *c, uint32_t i,
		      struct node *n, struct err *e)
{
	char name[48];
	int rc, len;

	if (!k->at.module)
		return 0;
	len = snprintf(name, sizeof(name), "%s.in_%u", c->what, i);
	rc = model_module(k->at.m, k->at.module, name, (size_t)len, &n->module,
			  e);
	if (rc == 0)
		n->module->is_node = true;
	return rc;
}

/* Argument number i is what the subgraph calls `to`. */
static int hand_over(struct tflite_make *k, struct tflite_graph *g,
		     const struct call *c, uint32_t i, value_id to,
		     struct err *e)
{
	struct node *n;
	int rc = graph_node(g->graph, NULL, "", "Identity", 1, 1, 0, &n, e);

	if (rc < 0)
		return rc;
	n->in[0] = c->args[i];
	n->out[0] = to;
	n->opset = STEPS_OPSET;
	return g->graph == k->at.g ? find_place(k, c, i, n, e) : 0;
}

/* The inputs are args; a second name for one of them, or a constant, is odd. */
static int pass_args(struct tflite_make *k, struct tflite_graph *g,
		     const struct call *c, struct err *e)
{
	struct flatbuf_vector in =
		flatbuf_vector(g->t->f, &g->table, TFLITE_INPUTS, 4);
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < c->nargs; i++) {
		value_id v;

		rc = tflite_value(g, &in, i, &v, e);
		if (rc == 0)
			rc = hand_over(k, g, c, i, v, e);
	}
	return rc;
}

static int take_outs(struct tflite_graph *g, const struct call *c,
		     struct err *e)
{
	struct flatbuf_vector out =
		flatbuf_vector(g->t->f, &g->table, TFLITE_OUTPUTS, 4);
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < c->nouts; i++)
		rc = tflite_value(g, &out, i, &c->outs[i], e);
	return rc;
}

/* The operators of a subgraph, in another graph. */
static int call(struct tflite_make *k, struct graph *into, const struct call *c,
		struct err *e)
{
	struct tflite *t = k->tg->t;
	struct tflite_graph g = t->graphs[c->subgraph];
	int rc;

	g.graph = into;
	t->ncopied += count_parts(t, c->subgraph);
	t->depth++;
	rc = copy_tensors(k, c, &g, e);
	if (rc == 0)
		rc = tflite_values(&g, e);
	if (rc == 0)
		rc = pass_args(k, &g, c, e);
	if (rc == 0)
		rc = tflite_nodes(&g, e);
	if (rc == 0)
		rc = tflite_states(&g, e);
	if (rc == 0)
		rc = take_outs(&g, c, e);
	t->depth--;
	t->graphs[c->subgraph].is_called = true;
	return rc;
}

/* ---- graphs of nodes ---- */

static int new_graph(struct tflite_make *k, const char *what,
		     struct graph **out, struct err *e)
{
	*out = graph_new(k->at.m->arena, k->at.g, what);
	return *out ? 0 : err_nomem(e, 0);
}

/* Values of the graph around, by their names. */
static int capture(struct tflite_make *k, struct graph *g, const value_id *v,
		   uint32_t n, value_id *out, struct err *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		const char *name = k->at.g->values[v[i]].name;

		rc = graph_value(g, name, strlen(name), &out[i], e);
	}
	return rc;
}

/* An output has a value of its own, whatever it comes from. */
static int add_outputs(struct tflite_make *k, struct graph *g,
		       const value_id *v, uint32_t n, struct err *e)
{
	struct steps at = {k->at.m, g, k->at.name, NULL};
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		struct step s = {.type = "Identity", .in = &v[i], .nin = 1};
		char what[32];
		value_id out;

		snprintf(what, sizeof(what), "out_%u", g->noutputs);
		s.what = what;
		rc = steps_inner(&at, &s, &out, e);
		if (rc == 0)
			rc = graph_output(g, out, e);
	}
	return rc;
}

static int make_branch(struct tflite_make *k, const struct call *c,
		       struct attr *out, struct err *e)
{
	value_id args[ARGS_MAX], outs[ARGS_MAX];
	struct call inner = *c;
	struct graph *g;
	int rc = new_graph(k, c->what, &g, e);

	if (rc < 0)
		return rc;
	out->kind = ATTR_GRAPH;
	out->n = 1;
	out->g = g;
	inner.args = args;
	inner.outs = outs;
	rc = capture(k, g, c->args, c->nargs, args, e);
	if (rc == 0)
		rc = call(k, g, &inner, e);
	return rc < 0 ? rc : add_outputs(k, g, outs, c->nouts, e);
}

static bool has_all(const struct tflite_make *k)
{
	for (uint32_t i = 0; i < k->nin; i++)
		if (k->in[i] == NO_VALUE)
			return false;
	for (uint32_t i = 0; i < k->nout; i++)
		if (k->out[i] == NO_VALUE)
			return false;
	return true;
}

int tflite_make_if(struct tflite_make *k, struct err *e)
{
	struct call then = {.what = "then",
			    .subgraph = (uint32_t)tflite_option(k, 0, 4, 0),
			    .args = k->in + 1,
			    .nargs = k->nin - 1,
			    .nouts = k->nout};
	struct call other = then;
	struct attr a[2] = {{.name = "then_branch"}, {.name = "else_branch"}};
	struct step s = {.type = "If",
			 .in = k->in,
			 .nin = 1,
			 .out = k->out,
			 .nout = k->nout,
			 .attrs = a,
			 .nattrs = 2};
	int rc;

	other.what = "else";
	other.subgraph = (uint32_t)tflite_option(k, 1, 4, 0);
	if (!has_all(k) || !can_call(k, &then) || !can_call(k, &other))
		return 0;
	rc = make_branch(k, &then, &a[0], e);
	if (rc == 0)
		rc = make_branch(k, &other, &a[1], e);
	if (rc == 0)
		rc = steps_node(&k->at, &s, e);
	if (rc < 0) {
		graph_free(a[0].g);
		graph_free(a[1].g);
	}
	return rc < 0 ? rc : 1;
}

/* ---- loops ---- */

static int add_inputs(struct tflite_make *k, struct graph *g, value_id *vars,
		      struct err *e)
{
	struct steps at = {k->at.m, g, k->at.name, NULL};
	value_id v;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < k->nin + 2; i++) {
		char what[32];

		snprintf(what, sizeof(what), "in_%u", i);
		rc = steps_value(&at, what, &v, e);
		if (rc == 0)
			rc = graph_input(g, v, e);
		if (rc == 0 && i >= 2)
			vars[i - 2] = v;
	}
	return rc;
}

/* One round: the body, and whether there is another. */
static int make_round(struct tflite_make *k, const struct call *cond,
		      const struct call *body, struct graph *g, struct err *e)
{
	value_id vars[ARGS_MAX], next[ARGS_MAX], more;
	struct call round = *body, again = *cond;
	int rc = add_inputs(k, g, vars, e);

	round.args = vars;
	round.outs = next;
	again.args = next;
	again.outs = &more;
	again.what = "again";
	if (rc == 0)
		rc = call(k, g, &round, e);
	if (rc == 0)
		rc = call(k, g, &again, e);
	if (rc == 0)
		rc = add_outputs(k, g, &more, 1, e);
	return rc < 0 ? rc : add_outputs(k, g, next, k->nin, e);
}

int tflite_make_while(struct tflite_make *k, struct err *e)
{
	value_id first, in[ARGS_MAX + 2];
	struct call cond = {.what = "condition",
			    .subgraph = (uint32_t)tflite_option(k, 0, 4, 0),
			    .args = k->in,
			    .outs = &first,
			    .nargs = k->nin,
			    .nouts = 1};
	struct call body = {.what = "body",
			    .subgraph = (uint32_t)tflite_option(k, 1, 4, 0),
			    .nargs = k->nin,
			    .nouts = k->nin};
	struct attr a = {.name = "body", .kind = ATTR_GRAPH, .n = 1};
	struct step s = {.type = "Loop",
			 .in = in,
			 .nin = k->nin + 2,
			 .out = k->out,
			 .nout = k->nout,
			 .attrs = &a,
			 .nattrs = 1};
	int rc;

	if (!has_all(k) || k->nin != k->nout || !can_call(k, &cond) ||
	    !can_call(k, &body))
		return 0;
	rc = new_graph(k, "body", &a.g, e);
	if (rc == 0)
		rc = call(k, k->at.g, &cond, e);
	if (rc == 0)
		rc = make_round(k, &cond, &body, a.g, e);
	in[0] = NO_VALUE; /* as often as it takes */
	in[1] = first;
	memcpy(in + 2, k->in, k->nin * sizeof(*in));
	if (rc == 0)
		rc = steps_node(&k->at, &s, e);
	if (rc < 0)
		graph_free(a.g);
	return rc < 0 ? rc : 1;
}
