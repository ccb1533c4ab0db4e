/* SPDX-License-Identifier: MIT */
/*
 * frame - loops as TensorFlow 1 writes them (control_flow_ops.cc).  Each value
 * that a loop changes goes around like this:
 *
 *	Enter → Merge → Switch → … → NextIteration → Merge
 *	                       → Exit
 *
 * where LoopCond, made of what the Merges hand out, tells the Switches whether
 * there is another round.  What it does not change has an Enter only.  All
 * Enters of a loop have the same frame_name.
 *
 * Such a loop becomes one While: `cond` is what LoopCond is made of, `body`
 * what the NextIterations are made of.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/tf/body.h"

/* Loops within loops. */
#define FRAME_DEPTH_MAX 16
#define NO_INDEX UINT32_MAX

/* A value that a loop changes; nodes by their index. */
struct loop_var {
	uint32_t merge, enter, next, swtch;
	uint32_t exit; /* that somebody wants; NO_INDEX */
	uint32_t loop;
	uint32_t later; /* the next variable of the loop; NO_INDEX */
};

struct loop {
	uint32_t cond; /* LoopCond */
	uint32_t first_var, last_var, nvars;
	uint32_t first_enter; /* all of them; NO_INDEX */
	bool is_wanted, is_done;
};

struct tf_frames {
	uint8_t *depth; /* of each node: how many loops it is in */
	uint32_t *seen; /* of each node: in which walk */
	uint32_t walk;
	uint32_t *switches; /* of each node that is one: its variable + 1 */
	struct loop_var *vars;
	uint32_t nvars;
	uint32_t *enters; /* of each Enter: the next one of its loop */
	struct loop *loops;
	uint32_t nloops;
};

void tf_frames_free(struct tf_frames *f)
{
	if (!f)
		return;
	free(f->depth);
	free(f->seen);
	free(f->switches);
	free(f->vars);
	free(f->enters);
	free(f->loops);
	free(f);
}

/* "Enter" is also "RefEnter". */
static bool is_op(const struct tf_body *b, uint32_t i, const char *op)
{
	struct span s = tf_span(&b->nodes[i]->op);

	if (s.len > 3 && memcmp(s.p, "Ref", 3) == 0)
		s = (struct span){s.p + 3, s.len - 3};
	return s.len == strlen(op) && memcmp(s.p, op, s.len) == 0;
}

static uint32_t node_of(const struct tf_body *b,
			const ProtobufCBinaryData *text)
{
	struct tf_ref r = tf_parse_ref(text);
	uint64_t idx;

	return map_get(b->index, r.name.p, r.name.len, &idx) ? (uint32_t)idx
							     : NO_INDEX;
}

/* The node that makes input k; NO_INDEX. */
static uint32_t maker(const struct tf_body *b, uint32_t i, size_t k)
{
	const Tf__Node *n = b->nodes[i];

	return k < n->n_input ? node_of(b, &n->input[k]) : NO_INDEX;
}

/* ---- which loops there are ---- */

static struct span frame_name(const struct tf_body *b, uint32_t enter)
{
	const Tf__AttrValue *v = tf_attr(b->nodes[enter], "frame_name");

	return v && v->has_s ? tf_span(&v->s) : (struct span){"", 0};
}

/* The variable that goes through this Switch. */
static bool read_var(const struct tf_body *b, uint32_t i, struct loop_var *v,
		     uint32_t *cond)
{
	if (!is_op(b, i, "Switch"))
		return false;
	v->swtch = i;
	v->merge = maker(b, i, 0);
	*cond = maker(b, i, 1);
	if (v->merge == NO_INDEX || *cond == NO_INDEX ||
	    !is_op(b, *cond, "LoopCond") || !is_op(b, v->merge, "Merge"))
		return false;
	v->enter = maker(b, v->merge, 0);
	v->next = maker(b, v->merge, 1);
	return v->enter != NO_INDEX && v->next != NO_INDEX &&
	       is_op(b, v->enter, "Enter") &&
	       is_op(b, v->next, "NextIteration");
}

static void add_var(struct tf_frames *f, struct loop_var *v, uint32_t cond,
		    uint32_t *loop_of)
{
	struct loop *l;

	if (loop_of[cond] == 0) {
		f->loops[f->nloops] = (struct loop){
			.cond = cond,
			.first_var = f->nvars,
			.last_var = f->nvars,
			.first_enter = NO_INDEX,
		};
		loop_of[cond] = ++f->nloops;
	}
	v->loop = loop_of[cond] - 1;
	v->later = v->exit = NO_INDEX;
	l = &f->loops[v->loop];
	if (l->nvars++ > 0)
		f->vars[l->last_var].later = f->nvars;
	l->last_var = f->nvars;
	f->vars[f->nvars++] = *v;
	f->switches[v->swtch] = f->nvars;
}

static int find_vars(struct tf_body *b, struct err *e)
{
	uint32_t *loop_of = calloc(b->n + 1, sizeof(*loop_of));
	struct loop_var v;
	uint32_t cond;

	if (!loop_of)
		return err_nomem(e, b->n * sizeof(*loop_of));
	for (uint32_t i = 0; i < b->n; i++)
		if (read_var(b, i, &v, &cond))
			add_var(b->frames, &v, cond, loop_of);
	free(loop_of);
	return 0;
}

/* Enters go to the loop that has the first variable of their frame. */
static int find_enters(struct tf_body *b, struct err *e)
{
	struct tf_frames *f = b->frames;
	struct map *frames = map_new();
	int rc = frames ? 0 : -ENOMEM;

	for (uint32_t i = 0; rc == 0 && i < f->nvars; i++) {
		struct span s = frame_name(b, f->vars[i].enter);

		rc = map_add(frames, s.p, s.len, f->vars[i].loop);
		rc = rc == -EEXIST ? 0 : rc;
	}
	for (uint32_t i = 0; rc == 0 && i < b->n; i++) {
		struct span s;
		uint64_t loop;

		if (!is_op(b, i, "Enter"))
			continue;
		s = frame_name(b, i);
		if (!map_get(frames, s.p, s.len, &loop))
			continue;
		f->enters[i] = f->loops[loop].first_enter;
		f->loops[loop].first_enter = i;
	}
	map_free(frames);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

/* ---- which nodes are in loops ---- */

/* One deeper behind Enter, one less behind Exit. */
static unsigned depth_behind(const struct tf_body *b, uint32_t i, unsigned in)
{
	if (is_op(b, i, "Enter"))
		return in + 1;
	return is_op(b, i, "Exit") && in > 0 ? in - 1 : in;
}

struct edges {
	uint32_t *first, *to; /* who reads node i: to[first[i]]… */
};

static int make_edges(const struct tf_body *b, struct edges *x, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		n += b->nodes[i]->n_input;
	x->first = calloc(b->n + 2, sizeof(*x->first));
	x->to = n < UINT32_MAX ? calloc(n + 1, sizeof(*x->to)) : NULL;
	if (!x->first || !x->to)
		return err_nomem(e, n * sizeof(*x->to));
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < b->n; i++) {
			for (size_t k = 0; k < b->nodes[i]->n_input; k++) {
				uint32_t from = maker(b, i, k);

				if (from == NO_INDEX)
					continue;
				if (pass == 0)
					x->first[from + 1]++;
				else
					x->to[x->first[from]++] = i;
			}
		}
		for (size_t i = 0; pass == 0 && i < b->n; i++)
			x->first[i + 1] += x->first[i];
	}
	/* The second pass has moved every beginning to its end. */
	memmove(x->first + 1, x->first, b->n * sizeof(*x->first));
	x->first[0] = 0;
	return 0;
}

/*
 * Depths only grow, and are bounded: every node is seen a few times at most.
 */
static int find_depths(struct tf_body *b, struct err *e)
{
	uint8_t *depth = b->frames->depth;
	uint32_t *stack = calloc(b->n + 1, sizeof(*stack));
	uint8_t *waits = calloc(b->n + 1, 1);
	struct edges x = {0};
	size_t n = 0;
	int rc = stack && waits ? make_edges(b, &x, e) : err_nomem(e, b->n);

	for (uint32_t i = 0; rc == 0 && i < b->n; i++) {
		if (!is_op(b, i, "Enter"))
			continue;
		depth[i] = 1;
		stack[n++] = i;
		waits[i] = 1;
	}
	while (rc == 0 && n > 0) {
		uint32_t i = stack[--n];

		waits[i] = 0;
		for (uint32_t k = x.first[i]; k < x.first[i + 1]; k++) {
			uint32_t to = x.to[k];
			unsigned d = depth_behind(b, to, depth[i]);

			if (d <= depth[to] || d > FRAME_DEPTH_MAX)
				continue;
			depth[to] = (uint8_t)d;
			if (!waits[to])
				stack[n++] = to;
			waits[to] = 1;
		}
	}
	free(x.first);
	free(x.to);
	free(stack);
	free(waits);
	return rc;
}

static bool has_loops(const struct tf_body *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		if (is_op(b, i, "LoopCond"))
			return true;
	return false;
}

int tf_find_frames(struct tf_body *b, struct err *e)
{
	struct tf_frames *f;
	int rc;

	if (b->n >= NO_INDEX || !has_loops(b))
		return 0;
	f = b->frames = calloc(1, sizeof(*f));
	if (!f)
		return err_nomem(e, sizeof(*f));
	f->depth = calloc(b->n + 1, 1);
	f->seen = calloc(b->n + 1, sizeof(*f->seen));
	f->switches = calloc(b->n + 1, sizeof(*f->switches));
	f->vars = calloc(b->n + 1, sizeof(*f->vars));
	f->enters = calloc(b->n + 1, sizeof(*f->enters));
	f->loops = calloc(b->n + 1, sizeof(*f->loops));
	if (!f->depth || !f->seen || !f->switches || !f->vars || !f->enters ||
	    !f->loops)
		return err_nomem(e, b->n * sizeof(*f->vars));
	rc = find_vars(b, e);
	if (rc == 0)
		rc = find_enters(b, e);
	return rc == 0 ? find_depths(b, e) : rc;
}

bool tf_in_frame(const struct tf_body *b, size_t node)
{
	return b->frames && b->frames->depth[node] > 0;
}

/* ---- a loop as one node ---- */

/* The variable that comes out of an exit; NULL. */
static struct loop_var *exit_var(const struct tf_body *b, size_t node)
{
	struct tf_frames *f = b->frames;
	uint32_t from;

	if (!f || !is_op(b, (uint32_t)node, "Exit"))
		return NULL;
	from = maker(b, (uint32_t)node, 0);
	if (from == NO_INDEX || f->switches[from] == 0)
		return NULL;
	return &f->vars[f->switches[from] - 1];
}

bool tf_want_loop(struct tf_body *b, size_t node, size_t *stack, size_t *depth)
{
	struct loop_var *v = exit_var(b, node);
	struct loop *l;

	if (!v)
		return false;
	if (v->exit == NO_INDEX)
		v->exit = (uint32_t)node;
	l = &b->frames->loops[v->loop];
	for (uint32_t i = l->first_enter; !l->is_wanted && i != NO_INDEX;
	     i = b->frames->enters[i])
		if (b->nodes[i]->n_input > 0)
			tf_want(b, &b->nodes[i]->input[0], stack, depth);
	l->is_wanted = true;
	return true;
}

struct region {
	struct tf_arg *args;
	Tf__Node **nodes;
	const ProtobufCBinaryData **outs;
	uint32_t *stack;
	size_t nargs, nnodes, nouts, depth;
};

/* Puts a node on the stack that has not been on it in this walk. */
static void visit(struct tf_body *b, struct region *r, uint32_t i)
{
	struct tf_frames *f = b->frames;

	if (i == NO_INDEX || f->seen[i] == f->walk)
		return;
	f->seen[i] = f->walk;
	r->stack[r->depth++] = i;
}

/* Names the nodes of a region may use that are not among them. */
static void add_args(struct tf_body *b, const struct loop *l,
		     const value_id *in, bool in_body, struct region *r)
{
	struct tf_frames *f = b->frames;
	uint32_t k = 0;

	for (uint32_t i = l->first_var; i != NO_INDEX; i = f->vars[i].later) {
		const struct loop_var *v = &f->vars[i];
		uint32_t at = in_body ? v->swtch : v->merge;

		f->seen[at] = f->walk;
		f->seen[v->enter] = f->walk;
		r->args[r->nargs++] = (struct tf_arg){
			tf_span(&b->nodes[at]->name), in[k++], true};
	}
	for (uint32_t i = l->first_enter; i != NO_INDEX; i = f->enters[i]) {
		value_id outer = NO_VALUE;

		if (f->seen[i] == f->walk || b->nodes[i]->n_input == 0)
			continue;
		f->seen[i] = f->walk;
		outer = tf_resolve(b, &b->nodes[i]->input[0]);
		if (outer != NO_VALUE)
			r->args[r->nargs++] = (struct tf_arg){
				tf_span(&b->nodes[i]->name), outer, false};
	}
}

/* All nodes that the results are made of. */
static void collect(struct tf_body *b, struct region *r)
{
	for (size_t i = 0; i < r->nouts; i++)
		visit(b, r, node_of(b, r->outs[i]));
	while (r->depth > 0) {
		uint32_t i = r->stack[--r->depth];

		r->nodes[r->nnodes++] = b->nodes[i];
		for (size_t k = 0; k < b->nodes[i]->n_input; k++) {
			struct tf_ref ref =
				tf_parse_ref(&b->nodes[i]->input[k]);

			if (!ref.is_control)
				visit(b, r, maker(b, i, k));
		}
	}
}

static int make_region(struct tf_body *b, const struct loop *l,
		       const value_id *in, bool in_body, struct graph **out,
		       struct err *e)
{
	struct tf_frames *f = b->frames;
	struct region r = {
		.args = calloc(b->n + 1, sizeof(*r.args)),
		.nodes = calloc(b->n + 1, sizeof(struct Tf__Node *)),
		.outs = calloc((size_t)l->nvars + 1, sizeof(*r.outs)),
		.stack = calloc(b->n + 1, sizeof(*r.stack)),
	};
	struct tf_region x = {.name = {in_body ? "body" : "cond", 4},
			      .function = b->function,
			      .prefix = b->prefix,
			      .long_prefix = b->long_prefix};
	int rc = r.args && r.nodes && r.outs && r.stack
			 ? 0
			 : err_nomem(e, b->n * sizeof(*r.args));

	f->walk++;
	for (uint32_t i = l->first_var; rc == 0 && in_body && i != NO_INDEX;
	     i = f->vars[i].later)
		r.outs[r.nouts++] = &b->nodes[f->vars[i].next]->input[0];
	if (!in_body && rc == 0)
		r.outs[r.nouts++] = &b->nodes[l->cond]->input[0];
	if (rc == 0) {
		add_args(b, l, in, in_body, &r);
		collect(b, &r);
	}
	x.nodes = r.nodes;
	x.n = r.nnodes;
	x.args = r.args;
	x.nargs = r.nargs;
	x.outs = r.outs;
	x.nouts = r.nouts;
	if (rc == 0)
		rc = tf_subgraph(b, &x, out, e);
	free(r.args);
	free(r.nodes);
	free(r.outs);
	free(r.stack);
	return rc;
}

static bool is_complete(const struct tf_body *b, const struct loop_var *v)
{
	return b->nodes[v->next]->n_input > 0 &&
	       b->nodes[v->enter]->n_input > 0;
}

/* What goes into the loop and comes out of it. */
static int find_values(struct tf_body *b, const struct loop *l, value_id *io,
		       struct err *e)
{
	struct tf_frames *f = b->frames;
	uint32_t k = 0;

	for (uint32_t i = l->first_var; i != NO_INDEX; i = f->vars[i].later) {
		const struct loop_var *v = &f->vars[i];

		io[k] = NO_VALUE;
		if (is_complete(b, v))
			io[k] = tf_resolve(b, &b->nodes[v->enter]->input[0]);
		if (io[k] == NO_VALUE)
			return err_set(e, EINVAL, "a loop without input %u", k);
		io[l->nvars + k++] = v->exit == NO_INDEX
					     ? NO_VALUE
					     : b->slots[v->exit].out[0];
	}
	return b->nodes[l->cond]->n_input > 0
		       ? 0
		       : err_set(e, EINVAL, "a loop without a condition");
}

/* "a/while/LoopCond" is the node "a/while". */
static struct span loop_name(const struct tf_body *b, const struct loop *l)
{
	struct span s = tf_span(&b->nodes[l->cond]->name);
	const char *slash = memrchr(s.p, '/', s.len);

	return slash ? (struct span){s.p, (size_t)(slash - s.p)} : s;
}

static int make_loop(struct tf_body *b, const struct loop *l, value_id *io,
		     struct err *e)
{
	struct tf_graph_node g = {.domain = "tf",
				  .type = "While",
				  .attrs = {"cond", "body"},
				  .in = io,
				  .nin = l->nvars,
				  .out = io + l->nvars,
				  .nout = l->nvars};
	struct span name;
	int rc = find_values(b, l, io, e);

	if (rc == 0)
		rc = tf_prefixed(b, loop_name(b, l), &name, e);
	if (rc == 0)
		rc = tf_node_module(b, name, &g.module, e);
	if (rc == 0)
		rc = make_region(b, l, io, false, &g.graphs[0], e);
	if (rc < 0)
		return rc;
	rc = make_region(b, l, io, true, &g.graphs[1], e);
	if (rc < 0) {
		graph_free(g.graphs[0]);
		return rc;
	}
	g.name = name.p;
	return tf_graph_node(b, &g, e);
}

/* Another exit of a variable that has one. */
static int repeat_exit(struct tf_body *b, const struct loop_var *v, size_t node,
		       struct err *e)
{
	struct tf_slot *s = &b->slots[node];
	struct module *mod;
	int rc;

	if (v->exit == node)
		return 0;
	rc = tf_node_module(b, s->name, &mod, e);
	return rc < 0 ? rc
		      : tf_emit(b, s->name.p, "Identity", mod,
				b->slots[v->exit].out[0], s->out[0], e);
}

int tf_add_loop(struct tf_body *b, size_t node, struct err *e)
{
	const struct loop_var *v = exit_var(b, node);
	struct loop *l;
	value_id *io;
	int rc;

	if (!v)
		return 0;
	if (b->depth >= TF_CALL_DEPTH_MAX)
		return err_set(e, EFBIG, "loops within loops");
	l = &b->frames->loops[v->loop];
	rc = repeat_exit(b, v, node, e);
	if (rc < 0 || l->is_done)
		return rc < 0 ? rc : 1;
	l->is_done = true;
	io = calloc(2 * (size_t)l->nvars + 1, sizeof(*io));
	rc = io ? make_loop(b, l, io, e) : err_nomem(e, l->nvars * sizeof(*io));
	free(io);
	return rc < 0 ? rc : 1;
}
