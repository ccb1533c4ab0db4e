/* SPDX-License-Identifier: MIT */
/*
 * exec - evaluating one node, and the subgraphs inside it.
 *
 * A subgraph (a branch, the body of a loop) is run from the first needed node
 * to the last; its values live only as long as something in it reads them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "run/frame.h"

/* Bytes of a parameter that a subgraph loads when it wants them. */
#define LATE_MIN (1u << 20)

static int env_alloc(struct op_env *base, uint64_t nbytes, struct blob **out,
		     void **data, struct err *e)
{
	struct exec_env *env = (struct exec_env *)base;

	return engine_alloc(env->en, nbytes, out, data, e);
}

static uint64_t env_room(struct op_env *base, uint64_t enough)
{
	return engine_room(((struct exec_env *)base)->en, enough);
}

static node_id node_of(const struct exec_env *env, const struct op_call *c)
{
	return (node_id)(c->node - env->prog->model->graph->nodes);
}

static bool env_is_again(struct op_env *base, const struct op_call *c)
{
	struct exec_env *env = (struct exec_env *)base;

	return c->constants == 0 || env->prog->was_computed[node_of(env, c)];
}

static int env_load(struct op_env *base, const struct op_call *c, size_t i,
		    bool keep, struct blob **out, struct err *e)
{
	struct exec_env *env = (struct exec_env *)base;

	return program_load(env->en, env->prog, c->in[i].data, keep, out, e);
}

static struct blob *env_find_form(struct op_env *base, const struct op_call *c,
				  size_t i)
{
	struct exec_env *env = (struct exec_env *)base;

	(void)i;
	return program_find_form(env->en, env->prog, node_of(env, c));
}

static void env_keep_form(struct op_env *base, const struct op_call *c,
			  size_t i, struct blob *b)
{
	struct exec_env *env = (struct exec_env *)base;

	(void)i;
	program_keep_form(env->en, env->prog, node_of(env, c), b);
}

/* ---- subgraphs ---- */

/* Worth waiting with until a node reads it. */
static bool is_large(const struct param *p)
{
	struct extent x;

	return p && p->data && p->data->size >= LATE_MIN &&
	       !blob_bytes(p->data) && blob_is_extent(p->data, &x);
}

/* What is a large parameter still; all else is in memory. */
static bool is_stored(const struct tensor *t)
{
	return t->data && t->data->size >= LATE_MIN && !blob_bytes(t->data) &&
	       t->dtype < DTYPE_STRING;
}

/* Everything in the frame that no node of the subgraph makes. */
static int fill_frame(struct frame *f, const struct tensor *in, size_t nin,
		      struct err *e)
{
	const struct graph *g = f->plan->graph;
	uint32_t i;

	for (i = 0; i < g->ninputs && i < nin; i++)
		f->values[g->inputs[i]] = tensor_ref(&in[i]);
	for (i = 0; i < g->nvalues; i++) {
		const struct value *v = &g->values[i];
		int rc;

		if (f->values[i].data || f->plan->last_use[i] == 0)
			continue;
		if (v->captured != NO_VALUE) {
			f->values[i] =
				tensor_ref(&f->call->captures[v->capture]);
		} else if (is_large(v->param)) {
			struct tensor stored = param_tensor(v->param);

			f->values[i] = tensor_ref(&stored);
		} else if (v->param) {
			rc = program_weight(f->env->en, f->env->prog, v->param,
					    &f->values[i], e);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static void drop_dead(struct frame *f, uint32_t node)
{
	const struct node *n = &f->plan->graph->nodes[node];
	uint32_t j;

	for (j = 0; j < n->nin + n->ncaptures; j++) {
		value_id v = node_needs(n, j);

		if (v != NO_VALUE && f->plan->last_use[v] == node + 1)
			tensor_drop(&f->values[v]);
	}
}

/* Borrowed copies of what a node needs: n of it, from number `first`. */
static struct tensor *gather(const struct frame *f, const struct node *node,
			     uint32_t first, uint32_t n)
{
	struct tensor *t = calloc((size_t)n + 1, sizeof(*t));
	uint32_t i;

	for (i = 0; t && i < n; i++) {
		value_id v = node_needs(node, first + i);

		if (v != NO_VALUE)
			t[i] = f->values[v];
	}
	return t;
}

/* Parameters that node i's operator does not load itself; own: theirs. */
static int load_inputs(struct frame *f, uint32_t i, struct tensor *in,
		       struct tensor *own, struct err *e)
{
	const struct op *op = f->plan->ops[i];
	uint32_t k;

	for (k = 0; op && k < f->plan->graph->nodes[i].nin; k++) {
		int rc;

		if (!is_stored(&in[k]) ||
		    (k == 1 && op->flags & OP_LATE_INPUT_1) ||
		    (k == 0 && op->flags & OP_STORED_INPUT_0))
			continue;
		rc = program_load(f->env->en, f->env->prog, in[k].data, true,
				  &own[k].data, e);
		if (rc < 0)
			return rc;
		in[k].data = own[k].data;
	}
	return 0;
}

int frame_eval(struct frame *f, uint32_t i, struct err *e)
{
	const struct node *n = &f->plan->graph->nodes[i];
	struct tensor *own = calloc((size_t)n->nin + 1, sizeof(*own));
	struct tensor *in = gather(f, n, 0, n->nin);
	struct tensor *captures = gather(f, n, n->nin, n->ncaptures);
	struct tensor *out = calloc((size_t)n->nout + 1, sizeof(*out));
	int rc = own && in && captures && out ? 0 : err_nomem(e, n->nin);
	uint32_t j;

	if (rc == 0)
		rc = load_inputs(f, i, in, own, e);
	if (rc == 0)
		rc = exec_eval(f->env, f->plan->ops[i], n, in, captures, out,
			       e);
	for (j = 0; own && j < n->nin; j++)
		tensor_drop(&own[j]);
	/* A stored tensor that a node repeats (a Constant) is there already. */
	for (j = 0; rc == 0 && j < n->nout; j++) {
		if (n->out[j] != NO_VALUE && !f->values[n->out[j]].data)
			f->values[n->out[j]] = out[j];
		else
			tensor_drop(&out[j]);
	}
	free(own);
	free(in);
	free(captures);
	free(out);
	return rc;
}

/* Of outputs that are parameters, the bytes. */
static int load_outputs(struct frame *f, struct tensor *out, size_t nout,
			struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < nout && rc == 0; i++) {
		struct blob *loaded;

		if (!is_stored(&out[i]))
			continue;
		rc = program_load(f->env->en, f->env->prog, out[i].data, true,
				  &loaded, e);
		if (rc < 0)
			break;
		blob_unref(out[i].data);
		out[i].data = loaded;
	}
	for (i = 0; i < nout && rc < 0; i++)
		tensor_drop(&out[i]);
	return rc;
}

static int take_outputs(struct frame *f, struct tensor *out, size_t nout,
			struct err *e)
{
	const struct graph *g = f->plan->graph;
	size_t i, j;

	if (nout > g->noutputs)
		return err_set(e, EINVAL, "subgraph %s has %u outputs, not %zu",
			       g->name, g->noutputs, nout);
	for (i = 0; i < nout; i++) {
		const struct tensor *t = &f->values[g->outputs[i]];

		if (t->dtype == DTYPE_NONE) {
			for (j = 0; j < i; j++)
				tensor_drop(&out[j]);
			return err_set(e, EINVAL,
				       "output %zu of subgraph %s was not made",
				       i, g->name);
		}
		out[i] = tensor_ref(t);
	}
	return load_outputs(f, out, nout, e);
}

static int env_run_graph(struct op_env *base, const struct op_call *c,
			 const struct graph *g, const struct tensor *in,
			 size_t nin, struct tensor *out, size_t nout,
			 struct err *e)
{
	struct exec_env *env = (struct exec_env *)base;
	struct frame f = {.env = env, .call = c};
	uint32_t i;
	int rc = program_subplan(env->en, env->prog, g, &f.plan, e);

	if (rc < 0)
		return rc;
	env->constants = 0;
	env->nfollowers = 0;
	env->make_blocks = false;
	f.values = calloc((size_t)g->nvalues + 1, sizeof(*f.values));
	if (!f.values)
		return err_nomem(e, g->nvalues * sizeof(*f.values));
	rc = fill_frame(&f, in, nin, e);
	if (rc == 0 && f.plan->chooses)
		rc = frame_run_lazily(&f, e);
	for (i = 0; rc == 0 && !f.plan->chooses && i < g->nnodes; i++) {
		if (!f.plan->needed[i])
			continue;
		if (kernel_stopped(&env->base.kernel))
			rc = err_set(e, EINTR, "interrupted");
		else
			rc = frame_eval(&f, i, e);
		if (!env->trace)
			drop_dead(&f, i);
	}
	if (rc == 0)
		rc = take_outputs(&f, out, nout, e);
	if (rc == 0 && env->trace)
		inner_publish(env->trace, g, f.values);
	for (i = 0; i < g->nvalues; i++)
		tensor_drop(&f.values[i]);
	free(f.values);
	return rc;
}

/* ---- one node ---- */

void exec_env_init(struct exec_env *env, struct engine *en,
		   struct program *prog, const atomic_bool *stop)
{
	*env = (struct exec_env){
		.base = {.kernel = {.pool = en->pool, .stop = stop},
			 .alloc = env_alloc,
			 .room = env_room,
			 .is_again = env_is_again,
			 .load = env_load,
			 .find_form = env_find_form,
			 .keep_form = env_keep_form,
			 .run_graph = env_run_graph,
			 .infer_graph = infer_graph},
		.en = en,
		.prog = prog,
	};
}

static int check_outputs(const struct node *n, struct tensor *out,
			 struct err *e)
{
	uint32_t i;

	for (i = 0; i < n->nout; i++) {
		int rc = 0;

		if (n->out[i] == NO_VALUE)
			continue;
		if (!out[i].data)
			rc = err_set(e, EIO, "node %s: output %u was not made",
				     n->name, i);
		else if (!out[i].block)
			rc = tensor_check(&out[i], e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int exec_eval(struct exec_env *env, const struct op *op, const struct node *n,
	      const struct tensor *in, const struct tensor *captures,
	      struct tensor *out, struct err *e)
{
	struct op_call c = {
		.node = n,
		.op = op,
		.env = &env->base,
		.nin = n->nin,
		.nout = n->nout,
		.constants = env->constants,
		.followers = env->followers,
		.nfollowers = env->nfollowers,
		.make_blocks = env->make_blocks,
		.in = in,
		.out = out,
		.captures = captures,
	};
	uint32_t i;
	int rc;

	if (!op)
		return err_set(e, EOPNOTSUPP,
			       "node %s: operator %s%s%s is not supported at "
			       "opset %d",
			       n->name, n->domain, *n->domain ? "." : "",
			       n->type, n->opset);
	rc = op_eval(&c, e);
	if (rc == 0)
		rc = check_outputs(n, out, e);
	if (rc == 0 && c.constants)
		env->prog->was_computed[node_of(env, &c)] = true;
	if (rc == 0)
		return 0;
	for (i = 0; i < n->nout; i++)
		tensor_drop(&out[i]);
	return rc;
}
