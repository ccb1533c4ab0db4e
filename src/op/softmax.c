/* SPDX-License-Identifier: MIT */
/* softmax - Softmax, LogSoftmax, Hardmax, Dropout. */
#include "kernel/copy.h"
#include "kernel/norm.h"
#include "op/impl.h"
#include "op/reduce.h"

static int find_plan(struct op_call *c, struct softmax_plan *p, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	bool flatten = c->op->since < 13;
	struct reduce_plan along;
	int32_t axis;
	int rc;

	*p = (struct softmax_plan){.kind = (enum softmax)c->op->arg,
				   .outer = 1,
				   .dim = 1,
				   .inner = 1};
	if (!op_num(op_compute_type(c->in[0].dtype), &p->type) ||
	    !op_is_float(c->in[0].dtype))
		return op_bad_dtype(c, 0, e);
	if (s->rank == 0)
		return 0;
	rc = op_axis(c, op_attr_int(c, "axis", flatten ? 1 : -1), s->rank,
		     &axis, e);
	if (rc < 0)
		return rc;
	if (flatten) { /* all extents from the axis on together */
		p->outer = shape_span(s, 0, axis);
		p->dim = shape_span(s, axis, s->rank);
		return 0;
	}
	along = reduce_axis(s, axis, p->type);
	p->outer = along.outer;
	p->dim = along.dim;
	p->inner = along.inner;
	return 0;
}

static void softmax_rows(const void *ctx, size_t rows, const float *in,
			 float *out)
{
	struct softmax_plan p = *(const struct softmax_plan *)ctx;

	p.outer = rows;
	norm_softmax(&(struct kernel){0}, &p, in, out);
}

static int eval_softmax(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	struct softmax_plan p;
	struct op_rows rows = {.fn = softmax_rows, .ctx = &p};
	const void *in;
	void *out;
	int rc = find_plan(c, &p, e);

	if (rc < 0)
		return rc;
	rows.rows = p.outer;
	rows.in = rows.out = p.dim;
	rc = p.inner == 1 ? op_rows(c, s, &rows, e) : 1;
	if (rc <= 0)
		return rc;
	rc = op_in(c, 0, &p.type, &in, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, s, &out, e);
	if (rc == 0)
		norm_softmax(&c->env->kernel, &p, in, out);
	return rc;
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
