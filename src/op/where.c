/* SPDX-License-Identifier: MIT */
/* where - Where: elements of one tensor or another. */
#include "kernel/binary.h"
#include "op/impl.h"
#include "op/strip.h"

static int infer_where(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = op_broadcast(c, op_shape(c, 0), op_shape(c, 1), &s, e);

	if (rc == 0)
		rc = op_broadcast(c, &s, op_shape(c, 2), &s, e);
	if (rc == 0)
		op_out(c, 0, c->in[1].dtype, &s);
	return rc;
}

static int step_where(struct op_call *c, struct op_step *s, struct err *e)
{
	if (!s)
		return c->in[1].dtype == DTYPE_F32 &&
				       c->in[2].dtype == DTYPE_F32
			       ? 3
			       : 0;
	if (c->in[0].dtype != DTYPE_BOOL)
		return op_bad_dtype(c, 0, e);
	if (c->in[1].dtype != c->in[2].dtype)
		return op_bad_dtype(c, 2, e);
	s->fn = select_find(dtype_size(c->in[1].dtype));
	if (!s->fn)
		return op_bad_dtype(c, 1, e);
	s->takes[1] = s->takes[2] = s->gives = s->stored = c->in[1].dtype;
	return 0;
}

/* Strings, and what takes less than a byte. */
static int select_elems(struct op_call *c, struct err *e)
{
	const struct shape *shapes[3];
	const void *in[3];
	struct stride_plan p;
	struct shape s;
	size_t size[3];
	void *out;
	int rc = infer_where(c, e);

	if (rc < 0)
		return rc;
	if (c->in[0].dtype != DTYPE_BOOL)
		return op_bad_dtype(c, 0, e);
	if (c->in[1].dtype != c->in[2].dtype)
		return op_bad_dtype(c, 2, e);
	s = c->out[0].shape;
	for (size_t i = 0; i < 3; i++) {
		shapes[i] = op_shape(c, i);
		rc = op_elems(c, i, &in[i], &size[i], e);
		if (rc < 0)
			return rc;
	}
	op_stride_plan(&p, &s, shapes, 3);
	memcpy(p.in_size, size, sizeof(size));
	p.out_size = size[1];
	if (!select_find(size[1]))
		return op_bad_dtype(c, 1, e);
	rc = op_alloc_elems(c, 0, c->in[1].dtype, &s, &out, e);
	if (rc == 0)
		stride_for(&c->env->kernel, &p, in, out, select_find(size[1]),
			   NULL);
	return rc;
}

static int eval_where(struct op_call *c, struct err *e)
{
	enum dtype t = c->in[1].dtype;

	return t != DTYPE_STRING && dtype_size(t) > 0 ? strip_eval(c, e)
						      : select_elems(c, e);
}

const struct op ops_where[] = {
	{ONNX, "Where", 9, 3, 3, 1, 1, OP_WRITES_ALL, 0, infer_where,
	 eval_where, .step = step_where},
	{0},
};
