/* SPDX-License-Identifier: MIT */
#include "op/stack.h"

#include <stdlib.h>

#include "kernel/copy.h"
#include "op/impl.h"

/* One tensor, owned, for each of n; NULL when out of memory. */
struct tensor *stack_new_tensors(size_t n)
{
	return calloc(n + 1, sizeof(struct tensor));
}

void stack_free_tensors(struct tensor *t, size_t n)
{
	for (size_t i = 0; t && i < n; i++)
		tensor_drop(&t[i]);
	free(t);
}

int subgraph_run(struct op_call *c, const struct graph *g,
		 const struct tensor *in, size_t nin, struct tensor *out,
		 size_t nout, struct err *e)
{
	if (!c->env->run_graph)
		return op_unsupported(c, e, "subgraphs");
	if (g->ninputs != nin || g->noutputs != nout)
		return op_invalid(c, e, "a body with %u inputs, %u outputs",
				  g->ninputs, g->noutputs);
	return c->env->run_graph(c->env, c, g, in, nin, out, nout, e);
}

int stack_push(struct stack *s, const struct tensor *t, struct err *e)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 16;
		struct tensor *p = realloc(s->parts, cap * sizeof(*p));

		if (!p)
			return err_nomem(e, cap * sizeof(*p));
		s->parts = p;
		s->cap = cap;
	}
	s->parts[s->n++] = tensor_ref(t);
	return 0;
}

void stack_free(struct stack *s)
{
	stack_free_tensors(s->parts, s->n);
}

int subgraph_truth(struct op_call *c, const struct tensor *t, bool *out,
		   struct err *e)
{
	uint64_t n;
	const uint8_t *p = t->data ? blob_bytes(t->data) : NULL;

	if (t->dtype != DTYPE_BOOL || !p || !shape_nelems(&t->shape, &n) ||
	    n != 1)
		return op_invalid(c, e, "a condition that is no boolean");
	*out = *p != 0;
	return 0;
}

/* Shape of n parts behind each other on a new axis. */
static int stack_shape(struct op_call *c, const struct shape *part, size_t n,
		       int64_t axis, struct shape *out, struct err *e)
{
	int32_t at;
	int rc;

	if (part->rank >= SHAPE_RANK_MAX)
		return op_unsupported(c, e, "the rank");
	rc = op_axis(c, axis, part->rank + 1, &at, e);
	if (rc < 0)
		return rc;
	out->rank = part->rank + 1;
	for (int32_t i = 0; i < out->rank; i++)
		out->dims[i] = i < at	 ? part->dims[i]
			       : i == at ? (int64_t)n
					 : part->dims[i - 1];
	return 0;
}

/* Elements of a tensor that is no input, as op_elems gives them. */
static int elems_of(struct op_call *c, const struct tensor *t, const void **out,
		    size_t *size, struct err *e)
{
	struct op_call one = *c;
	int rc;

	one.in = t;
	one.nin = 1;
	rc = op_elems(&one, 0, out, size, e);
	c->scratch = one.scratch;
	return rc;
}

/* Output i: the parts, in order or from the last to the first. */
int stack_give(struct op_call *c, size_t i, const struct stack *s,
	       const struct tensor *like, int64_t axis, bool reverse,
	       struct err *e)
{
	const struct tensor *first = s->n ? &s->parts[0] : like;
	struct copy_plan p = {.rank = 2};
	size_t outer, inner;
	struct shape shape;
	int32_t at;
	void *out;
	int rc = stack_shape(c, &first->shape, s->n, axis, &shape, e);

	if (rc == 0)
		rc = op_axis(c, axis, shape.rank, &at, e);
	if (rc == 0)
		rc = op_alloc_elems(c, i, first->dtype, &shape, &out, e);
	if (rc < 0)
		return rc;
	outer = shape_span(&shape, 0, at);
	inner = shape_span(&shape, at + 1, shape.rank);
	for (size_t k = 0; k < s->n; k++) {
		const struct tensor *t = &s->parts[reverse ? s->n - 1 - k : k];
		const void *in;

		if (!shape_equal(&t->shape, &first->shape) ||
		    t->dtype != first->dtype)
			return op_invalid(c, e, "results differ in shape");
		rc = elems_of(c, t, &in, &p.size, e);
		if (rc < 0)
			return rc;
		p.dims[0] = outer;
		p.dims[1] = inner;
		p.from[0] = (ptrdiff_t)inner;
		p.to[0] = (ptrdiff_t)(inner * s->n);
		p.from[1] = p.to[1] = 1;
		copy_strided(&c->env->kernel, &p, in,
			     (char *)out + k * inner * p.size);
	}
	return 0;
}

/* Inferred from nothing but what the body declares of its inputs. */
static void infer_missing(struct op_call *c, const struct graph *g,
			  size_t output, struct tensor *t)
{
	struct tensor *in = stack_new_tensors(g->ninputs);
	struct tensor *out = stack_new_tensors(g->noutputs);

	for (uint32_t i = 0; in && i < g->ninputs; i++) {
		const struct value *v = &g->values[g->inputs[i]];

		in[i].dtype = v->dtype;
		in[i].shape = v->type ? v->type->shape : shape_unknown();
	}
	if (in && out && c->env->infer_graph &&
	    c->env->infer_graph(c->env, c, g, in, g->ninputs, out, g->noutputs,
				NULL) == 0) {
		t->dtype = out[output].dtype;
		t->shape = out[output].shape;
	}
	stack_free_tensors(in, g->ninputs);
	stack_free_tensors(out, g->noutputs);
}

struct tensor subgraph_declared(struct op_call *c, const struct graph *g,
				size_t output)
{
	const struct value *v = &g->values[g->outputs[output]];
	struct tensor t = {.dtype = v->dtype, .shape = shape_unknown()};

	if (t.dtype == DTYPE_NONE)
		infer_missing(c, g, output, &t);
	if (v->type && v->type->shape.rank >= 0)
		t.shape = v->type->shape;
	if (t.shape.rank < 0)
		t.shape = shape_of(0, NULL);
	for (int32_t i = 0; i < t.shape.rank; i++) {
		if (t.shape.dims[i] < 0)
			t.shape.dims[i] = 0;
	}
	return t;
}

int64_t stack_pick(const struct op_call *c, const char *name, size_t i,
		   int64_t def)
{
	const int64_t *v;
	size_t n;

	return op_attr_ints(c, name, &v, &n) && i < n ? v[i] : def;
}
