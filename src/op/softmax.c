/* SPDX-License-Identifier: MIT */
/* softmax - Softmax, LogSoftmax, Hardmax, Dropout. */
#include "kernel/copy.h"
#include "kernel/norm.h"
#include "op/impl.h"
#include "op/reduce.h"

static int eval_softmax(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	bool flatten = c->op->since < 13;
	struct softmax_plan p = {.kind = (enum softmax)c->op->arg};
	struct reduce_plan axis_plan;
	const void *in;
	int32_t axis;
	void *out;
	int rc = 0;

	if (s->rank == 0)
		axis = -1;
	else
		rc = op_axis(c, op_attr_int(c, "axis", flatten ? 1 : -1),
			     s->rank, &axis, e);
	if (rc == 0 && !op_is_float(c->in[0].dtype))
		return op_bad_dtype(c, 0, e);
	if (rc == 0)
		rc = op_in(c, 0, &p.type, &in, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, s, &out, e);
	if (rc < 0)
		return rc;
	if (axis < 0) {
		p.outer = p.dim = p.inner = 1;
	} else if (flatten) { /* all extents from the axis on together */
		p.outer = shape_span(s, 0, axis);
		p.dim = shape_span(s, axis, s->rank);
		p.inner = 1;
	} else {
		axis_plan = reduce_axis(s, axis, p.type);
		p.outer = axis_plan.outer;
		p.dim = axis_plan.dim;
		p.inner = axis_plan.inner;
	}
	norm_softmax(&c->env->kernel, &p, in, out);
	return 0;
}

/* ---- Dropout: what it does when nothing is trained ---- */
static enum dtype mask_type(const struct op_call *c)
{
	return c->node->opset >= 10 ? DTYPE_BOOL : c->in[0].dtype;
}

static int infer_dropout(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, c->in[0].dtype, op_shape(c, 0));
	op_out(c, 1, mask_type(c), op_shape(c, 0));
	return 0;
}

static int is_training(struct op_call *c, bool *out, struct err *e)
{
	int64_t training = 0;
	double ratio;
	int rc = op_scalar_float(c, 1, 0.5, &ratio, e);

	if (rc == 0)
		rc = op_scalar_int(c, 2, 0, &training, e);
	*out = training != 0 && ratio != 0;
	return rc;
}

static int eval_dropout(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	uint8_t one = 1;
	bool training = false;
	void *mask;
	int rc = 0;

	if (c->op->max_in > 1)
		rc = is_training(c, &training, e);
	if (rc == 0 && training)
		return op_unsupported(c, e, "training");
	if (rc == 0)
		rc = op_give(c, 0, &c->in[0], e);
	if (rc < 0 || !op_wants(c, 1))
		return rc;
	rc = op_alloc_as(c, 1, mask_type(c), DTYPE_U8, s, &mask, e);
	if (rc == 0)
		copy_fill(&c->env->kernel, mask, op_nelems(c, 0), 1, &one);
	return rc;
}

#define SOFT(type, since, kind)                                     \
	{                                                           \
		ONNX, type, since, 1, 1, 1, 1, OP_WRITES_ALL, kind, \
			infer_same, eval_softmax                    \
	}

const struct op ops_softmax[] = {
	SOFT("Softmax", 1, SOFTMAX),
	SOFT("Softmax", 13, SOFTMAX),
	SOFT("LogSoftmax", 1, SOFTMAX_LOG),
	SOFT("LogSoftmax", 13, SOFTMAX_LOG),
	SOFT("Hardmax", 1, SOFTMAX_HARD),
	SOFT("Hardmax", 13, SOFTMAX_HARD),
	{ONNX, "Dropout", 1, 1, 1, 1, 2, 0, 0, infer_dropout, eval_dropout},
	{ONNX, "Dropout", 12, 1, 3, 1, 2, 0, 0, infer_dropout, eval_dropout},
	{0},
};
