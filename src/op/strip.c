/* SPDX-License-Identifier: MIT */
#include "op/strip.h"

#include "op/impl.h"

struct chain {
	size_t n;
	struct op_step op[OP_STEPS_MAX];
	struct strip_step k[OP_STEPS_MAX];
	struct shape shape; /* of all results */
};

/* The step as far as all have it in common, and what the operator adds. */
static int find_step(struct op_call *c, struct op_step *s, struct err *e)
{
	memset(s, 0, sizeof(*s));
	s->nin = c->nin < STRIDE_IN_MAX ? c->nin : STRIDE_IN_MAX;
	for (size_t i = 0; i < s->nin; i++) {
		s->shapes[i] = *op_shape(c, i);
		s->takes[i] = op_compute_type(op_dtype(c, i));
	}
	s->gives = s->takes[0];
	s->stored = c->in[0].dtype;
	return c->op->step(c, s, e);
}

/* Input i as it is stored, where it can be taken from there. */
static int take_input(struct op_call *c, size_t i, enum dtype t,
		      struct strip_step *k, struct err *e)
{
	struct strip_input *in = &k->in[i];

	k->plan.in_size[i] = dtype_size(t);
	if (i == k->flow)
		return 0;
	in->load = op_moves(op_dtype(c, i), t).load;
	if (in->load)
		t = op_dtype(c, i);
	in->size = dtype_size(t);
	return op_data_as(c, i, t, &in->p, e);
}

static int take_inputs(struct op_call *c, const struct op_step *s,
		       const struct shape *out, struct strip_step *k,
		       struct err *e)
{
	const struct shape *shapes[STRIDE_IN_MAX];
	int rc = 0;

	for (size_t i = 0; i < s->nin; i++)
		shapes[i] = &s->shapes[i];
	op_stride_plan(&k->plan, out, shapes, s->nin);
	for (size_t i = 0; i < s->nin && rc == 0; i++)
		rc = take_input(c, i, s->takes[i], k, e);
	return rc;
}

/* flow: the input that the step before makes, or STRIP_ALONE. */
static int add_step(struct chain *chain, struct op_call *c, size_t flow,
		    struct err *e)
{
	struct op_step *s = &chain->op[chain->n];
	struct strip_step *k = &chain->k[chain->n++];
	struct shape out;
	int rc = find_step(c, s, e);

	out = s->shapes[0];
	for (size_t i = 1; i < s->nin && rc == 0; i++)
		rc = op_broadcast(c, &out, &s->shapes[i], &out, e);
	if (rc < 0)
		return rc;
	if (flow != STRIP_ALONE && !shape_equal(&out, &chain->shape))
		return op_invalid(c, e, "the shapes differ");
	chain->shape = out;
	memset(k, 0, sizeof(*k));
	k->flow = flow;
	rc = take_inputs(c, s, &out, k, e);
	k->fn = s->fn;
	k->arg = s->arg;
	k->plan.out_size = dtype_size(s->gives);
	k->store = op_moves(s->stored, s->gives).store;
	k->round = op_moves(s->stored, s->gives).round;
	k->stored_size = dtype_size(k->store ? s->stored : s->gives);
	return rc;
}

int strip_eval(struct op_call *c, struct err *e)
{
	struct chain chain;
	const struct op_step *last;
	uint64_t n;
	void *out;
	int rc;

	chain.n = 0;
	rc = add_step(&chain, c, STRIP_ALONE, e);
	for (size_t i = 0; i < c->nfollowers && rc == 0; i++)
		rc = add_step(&chain, &c->followers[i], c->followers[i].flow,
			      e);
	if (rc == 0)
		rc = op_count(c, &chain.shape, &n, e);
	if (rc < 0)
		return rc;
	last = &chain.op[chain.n - 1];
	rc = op_alloc_as(c, 0, last->stored,
			 chain.k[chain.n - 1].store ? last->stored
						    : last->gives,
			 &chain.shape, &out, e);
	if (rc == 0)
		strip_run(&c->env->kernel, chain.k, chain.n, n, out);
	return rc;
}
