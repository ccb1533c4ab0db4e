/* SPDX-License-Identifier: MIT */
/* loss - NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss. */
#include "kernel/norm.h"
#include "op/impl.h"
#include "op/reduce.h"

enum reduction { REDUCTION_NONE, REDUCTION_SUM, REDUCTION_MEAN };

static int read_reduction(const struct op_call *c, enum reduction *r,
			  struct err *e)
{
	const char *name = op_attr_str(c, "reduction", "mean");

	*r = strcmp(name, "none") == 0	? REDUCTION_NONE
	     : strcmp(name, "sum") == 0 ? REDUCTION_SUM
					: REDUCTION_MEAN;
	if (*r == REDUCTION_MEAN && strcmp(name, "mean") != 0)
		return op_invalid(c, e, "reduction");
	return 0;
}

static int infer_loss(struct op_call *c, struct err *e)
{
	struct shape scalar = shape_of(0, NULL);
	enum reduction r;
	int rc = read_reduction(c, &r, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, c->in[0].dtype,
	       r == REDUCTION_NONE ? op_shape(c, 1) : &scalar);
	op_out(c, 1, c->in[0].dtype, op_shape(c, 0));
	return 0;
}

struct loss {
	const double *log_p; /* [n][classes][inner] */
	const int64_t *target;
	const double *weight; /* or NULL */
	uint64_t n, classes, inner;
	bool has_ignored;
	int64_t ignored;
};

static int check_shapes(struct op_call *c, struct loss *l, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *t = op_shape(c, 1);

	if (x->rank < 2 || t->rank != x->rank - 1 || t->dims[0] != x->dims[0])
		return op_invalid(c, e, "targets do not fit");
	for (int32_t i = 2; i < x->rank; i++) {
		if (t->dims[i - 1] != x->dims[i])
			return op_invalid(c, e, "targets do not fit");
	}
	l->n = (uint64_t)x->dims[0];
	l->classes = (uint64_t)x->dims[1];
	l->inner = shape_span(x, 2, x->rank);
	if (op_has(c, 2) && op_nelems(c, 2) != l->classes)
		return op_invalid(c, e, "weights do not fit");
	l->has_ignored = node_attr(c->node, "ignore_index") != NULL;
	l->ignored = op_attr_int(c, "ignore_index", 0);
	return 0;
}

static int sum_losses(struct op_call *c, const struct loss *l, enum reduction r,
		      struct err *e)
{
	struct shape s = c->out[0].shape;
	double sum = 0, weights = 0;
	double *o;
	void *out;
	int rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);

	if (rc < 0)
		return rc;
	o = out;
	for (uint64_t i = 0; i < l->n * l->inner; i++) {
		int64_t t = l->target[i];
		double w, v;

		if (l->has_ignored && t == l->ignored) {
			if (r == REDUCTION_NONE)
				o[i] = 0;
			continue;
		}
		if (t < 0 || (uint64_t)t >= l->classes)
			return op_invalid(c, e, "target %lld", (long long)t);
		w = l->weight ? l->weight[t] : 1;
		v = -w * l->log_p[(i / l->inner * l->classes + (uint64_t)t) *
					  l->inner +
				  i % l->inner];
		if (r == REDUCTION_NONE)
			o[i] = v;
		sum += v;
		weights += w;
	}
	if (r == REDUCTION_SUM)
		*o = sum;
	else if (r == REDUCTION_MEAN)
		*o = sum / weights;
	return 0;
}

/* Log-probabilities, also as output 1 where that is wanted. */
static int log_softmax(struct op_call *c, const struct loss *l, const void *x,
		       const void **out, struct err *e)
{
	struct softmax_plan p = {.kind = SOFTMAX_LOG,
				 .type = NUM_F64,
				 .outer = l->n,
				 .dim = l->classes,
				 .inner = l->inner};
	void *v;
	int rc = op_alloc_as(c, 1, c->in[0].dtype, DTYPE_F64, op_shape(c, 0),
			     &v, e);

	if (rc < 0)
		return rc;
	norm_softmax(&c->env->kernel, &p, x, v);
	*out = v;
	return 0;
}

static int eval_loss(struct op_call *c, struct err *e)
{
	struct loss l = {0};
	enum reduction r;
	const void *x, *w = NULL;
	int rc = infer_loss(c, e);

	if (rc == 0)
		rc = read_reduction(c, &r, e);
	if (rc == 0)
		rc = check_shapes(c, &l, e);
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &x, e);
	if (rc == 0)
		rc = op_in_i64(c, 1, &l.target, e);
	if (rc == 0)
		rc = op_data_as(c, 2, DTYPE_F64, &w, e);
	if (rc == 0 && c->op->arg)
		rc = log_softmax(c, &l, x, &x, e);
	if (rc < 0)
		return rc;
	l.log_p = x;
	l.weight = w;
	return sum_losses(c, &l, r, e);
}

const struct op ops_loss[] = {
	{ONNX, "NegativeLogLikelihoodLoss", 12, 2, 3, 1, 1, 0, 0, infer_loss,
	 eval_loss},
	{ONNX, "SoftmaxCrossEntropyLoss", 12, 2, 3, 1, 2, 0, 1, infer_loss,
	 eval_loss},
	{0},
};
