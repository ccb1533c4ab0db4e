/* SPDX-License-Identifier: MIT */
/*
 * infer - types and shapes without computing: one pass over the sorted nodes.
 *
 * Small values that follow from constants and shapes (the second input of a
 * Reshape, say) are computed on the way, because the shapes behind them depend
 * on them.  Nothing that depends on the data of an activation is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/dtype.h"
#include "modelfs/model.h"
#include "run/engine.h"

/* Elements of a constant, and of a bound integer input, to look at. */
#define KNOWN_MAX 1024
#define KNOWN_INPUT_MAX 64

static bool is_small(const struct tensor *t, uint64_t max)
{
	uint64_t n;

	return dtype_info(t->dtype)->block_bytes != 0 &&
	       shape_nelems(&t->shape, &n) && n <= max;
}

static bool is_integer(enum dtype t)
{
	enum dtype_class c = dtype_info(t)->class;

	return c == CLASS_INT || c == CLASS_UINT || c == CLASS_BOOL;
}

struct tensor infer_param(struct engine *en, struct program *p,
			  const struct param *param)
{
	struct tensor t = param_tensor(param), w;

	t.data = NULL;
	if (is_small(&t, KNOWN_MAX) &&
	    program_weight(en, p, param, &w, NULL) == 0)
		return w;
	return t;
}

/* A value as far as it is known; the caller owns it. */
static struct tensor known_value(struct run *r, value_id id)
{
	const struct value *v = &r->g->values[id];
	struct slot *s = &r->slots[id];
	struct tensor t;
	bool is_computed;

	pthread_mutex_lock(&r->en->lock);
	t = tensor_ref(&s->value.t);
	is_computed = s->value.is_listed;
	pthread_mutex_unlock(&r->en->lock);
	if (t.data) {
		bool known =
			!s->is_given || v->param ||
			(is_integer(t.dtype) && is_small(&t, KNOWN_INPUT_MAX));

		if (!known || is_computed || !is_small(&t, KNOWN_MAX)) {
			blob_unref(t.data);
			t.data = NULL;
		}
	} else if (v->param) {
		t = infer_param(r->en, r->prog, v->param);
	}
	return t;
}

void infer_declared(const struct value *v, struct tensor *t)
{
	int32_t i;

	if (t->dtype == DTYPE_NONE)
		t->dtype = v->dtype;
	if (!v->type)
		return;
	if (t->shape.rank < 0)
		t->shape = v->type->shape;
	if (t->shape.rank != v->type->shape.rank)
		return;
	for (i = 0; i < t->shape.rank; i++)
		if (t->shape.dims[i] < 0)
			t->shape.dims[i] = v->type->shape.dims[i];
}

/* A value that somebody computed meanwhile knows its type better. */
static void publish_type(struct run *r, value_id id, struct tensor *t,
			 node_id blocked)
{
	struct slot *s = &r->slots[id];

	pthread_mutex_lock(&r->en->lock);
	r->lacks_known = false;
	if (!s->is_given)
		s->blocked = blocked;
	if (!s->is_given && !s->value.t.data) {
		s->value.t = *t;
		s->value.t.block = 0;
		t->data = NULL;
	}
	pthread_mutex_unlock(&r->en->lock);
	tensor_drop(t);
}

static bool can_fold(const struct op *op, const struct node *n,
		     const struct tensor *in, const struct tensor *out)
{
	uint32_t i;

	if (n->ncaptures || (op->flags & OP_RANDOM))
		return false;
	for (i = 0; i < n->nin; i++) {
		if (n->in[i] == NO_VALUE)
			continue;
		if (op->flags & OP_SHAPE_ONLY ? !shape_is_known(&in[i].shape)
					      : !in[i].data)
			return false;
	}
	for (i = 0; i < n->nout; i++)
		if (n->out[i] != NO_VALUE && !is_small(&out[i], KNOWN_MAX))
			return false;
	return true;
}

static void forget(struct tensor *out, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		out[i] = (struct tensor){.shape = shape_unknown()};
}

void infer_node(struct exec_env *env, const struct op *op, const struct node *n,
		const struct tensor *in, const struct tensor *captures,
		struct tensor *out)
{
	struct op_call c = {
		.node = n,
		.op = op,
		.env = &env->base,
		.nin = n->nin,
		.nout = n->nout,
		.in = in,
		.out = out,
		.captures = captures,
		.inferring = true,
	};
	uint32_t i;

	/* An error here shows itself again when the node is computed. */
	if (op_infer(&c, NULL) < 0)
		forget(out, n->nout);
	if (!can_fold(op, n, in, out))
		return;
	for (i = 0; i < n->nout; i++)
		out[i].data = NULL;
	if (exec_eval(env, op, n, in, NULL, out, NULL) < 0)
		forget(out, n->nout);
}

static node_id find_blocker(struct run *r, uint32_t i)
{
	const struct node *n = &r->g->nodes[i];
	uint32_t k;

	if (!r->prog->ops[i])
		return i;
	for (k = 0; k < n->nin; k++)
		if (n->in[k] != NO_VALUE &&
		    r->slots[n->in[k]].blocked != NO_NODE)
			return r->slots[n->in[k]].blocked;
	return NO_NODE;
}

/* Inputs and captures of a node as far as they are known. */
static struct tensor *gather(struct run *r, const struct node *node,
			     uint32_t first, uint32_t n)
{
	struct tensor *t = calloc((size_t)n + 1, sizeof(*t));
	uint32_t k;

	for (k = 0; t && k < n; k++) {
		value_id v = node_needs(node, first + k);

		if (v != NO_VALUE)
			t[k] = known_value(r, v);
	}
	return t;
}

static void drop(struct tensor *t, uint32_t n)
{
	uint32_t k;

	for (k = 0; t && k < n; k++)
		tensor_drop(&t[k]);
	free(t);
}

static int update_node(struct run *r, uint32_t i, struct err *e)
{
	const struct node *n = &r->g->nodes[i];
	struct tensor *in = gather(r, n, 0, n->nin);
	struct tensor *captures = gather(r, n, n->nin, n->ncaptures);
	struct tensor *out = calloc((size_t)n->nout + 1, sizeof(*out));
	node_id blocked = find_blocker(r, i);
	int rc = in && captures && out ? 0 : err_nomem(e, n->nin);
	struct exec_env env;
	uint32_t k;

	exec_env_init(&env, r->en, r->prog, NULL);
	for (k = 0; rc == 0 && k < n->nout; k++)
		out[k].shape = shape_unknown();
	if (rc == 0 && r->prog->ops[i])
		infer_node(&env, r->prog->ops[i], n, in, captures, out);
	for (k = 0; rc == 0 && k < n->nout; k++) {
		if (n->out[k] == NO_VALUE) {
			tensor_drop(&out[k]);
			continue;
		}
		infer_declared(&r->g->values[n->out[k]], &out[k]);
		publish_type(r, n->out[k], &out[k], blocked);
	}
	drop(in, n->nin);
	drop(captures, n->ncaptures);
	free(out);
	return rc;
}

static bool is_affected(const struct run *r, const struct node *n,
			const bool *dirty)
{
	uint32_t k;

	/* A patch on one of its outputs was removed. */
	for (k = 0; k < n->nout; k++)
		if (n->out[k] != NO_VALUE && dirty[n->out[k]] &&
		    !r->slots[n->out[k]].is_given)
			return true;
	for (k = 0; k < n->nin; k++)
		if (n->in[k] != NO_VALUE && dirty[n->in[k]])
			return true;
	for (k = 0; k < n->ncaptures; k++)
		if (dirty[n->captures[k].value])
			return true;
	return false;
}

/* engine.lock held. */
static void forget_node(struct run *r, uint32_t i, bool *dirty)
{
	const struct node *n = &r->g->nodes[i];
	uint32_t k;

	free(r->nodes[i].failure);
	r->nodes[i].failure = NULL;
	r->nodes[i].epoch++;
	r->nodes[i].order = 0;
	inner_forget(r, i);
	for (k = 0; k < n->nout; k++) {
		struct slot *s;

		if (n->out[k] == NO_VALUE)
			continue;
		s = &r->slots[n->out[k]];
		if (s->is_given)
			continue;
		dirty[n->out[k]] = true;
		cache_remove(r->en, &s->value);
		blob_unref(s->value.t.data);
		s->value.t.data = NULL;
		s->value.t.block = 0;
		s->version++;
	}
}

/*
 * All at once: who computes at the same time must never see some of it old
 * and some of it new.
 */
void infer_forget(struct run *r, bool *dirty)
{
	uint32_t i;

	for (i = 0; i < r->g->nnodes; i++)
		if (is_affected(r, &r->g->nodes[i], dirty))
			forget_node(r, i, dirty);
}

/* Values that no node makes: declared inputs and initializers. */
static void reset_leaf(struct run *r, value_id id)
{
	const struct value *v = &r->g->values[id];
	struct tensor t = {.shape = shape_unknown()};

	if (v->param) {
		t = param_tensor(v->param);
		t.data = NULL;
	} else {
		infer_declared(v, &t);
	}
	publish_type(r, id, &t, NO_NODE);
}

int infer_types(struct run *r, const bool *dirty, struct err *e)
{
	const struct graph *g = r->g;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < g->nvalues; i++)
		if (g->values[i].producer == NO_NODE && (!dirty || dirty[i]))
			reset_leaf(r, i);
	for (i = 0; rc == 0 && i < g->nnodes; i++)
		if (!dirty || is_affected(r, &g->nodes[i], dirty))
			rc = update_node(r, i, e);
	return rc;
}
