/* SPDX-License-Identifier: MIT */
/*
 * tf_math - arithmetic of TensorFlow that ONNX has not, or could only put
 * together with less precision (cwise_ops.h, fake_quant_ops.cc).
 *
 * Everything is computed in float64.
 */
#include <math.h>

#include "kernel/stride.h"
#include "op/delegate.h"
#include "op/impl.h"

/* ---- one in ---- */

enum { MATH_ERFC, MATH_EXPM1, MATH_LGAMMA, MATH_LOG1P };

static double one(int op, double x)
{
	switch (op) {
	case MATH_ERFC:
		return erfc(x);
	case MATH_EXPM1:
		return expm1(x);
	case MATH_LGAMMA:
		return lgamma(x);
	default:
		return log1p(x);
	}
}

struct numbers {
	int op;
	const double *in;
	double *out;
};

static void compute_ones(void *ctx, size_t begin, size_t end)
{
	const struct numbers *n = ctx;

	for (size_t i = begin; i < end; i++)
		n->out[i] = one(n->op, n->in[i]);
}

static int eval_one(struct op_call *c, struct err *e)
{
	struct numbers n = {.op = c->op->arg};
	const void *in;
	void *out;
	int rc = op_is_float(op_dtype(c, 0)) ? 0 : op_bad_dtype(c, 0, e);

	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &in, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, op_dtype(c, 0), DTYPE_F64,
				 op_shape(c, 0), &out, e);
	if (rc < 0)
		return rc;
	n.in = in;
	n.out = out;
	kernel_for(&c->env->kernel, op_nelems(c, 0), op_grain(32), compute_ones,
		   &n);
	return 0;
}

/* ---- two in ---- */

static void row_atan2(const void *const in[], const size_t step[], void *out,
		      size_t n, const void *arg)
{
	const double *y = in[0], *x = in[1];

	(void)arg;
	for (size_t i = 0; i < n; i++)
		((double *)out)[i] = atan2(y[i * step[0]], x[i * step[1]]);
}

static int eval_two(struct op_call *c, struct err *e)
{
	const struct shape *shapes[2] = {op_shape(c, 0), op_shape(c, 1)};
	const void *in[2];
	struct stride_plan p;
	struct shape s;
	void *out;
	int rc = op_broadcast(c, shapes[0], shapes[1], &s, e);

	for (size_t i = 0; rc == 0 && i < 2; i++)
		rc = op_is_float(op_dtype(c, i))
			     ? op_data_as(c, i, DTYPE_F64, &in[i], e)
			     : op_bad_dtype(c, i, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, op_dtype(c, 0), DTYPE_F64, &s, &out, e);
	if (rc < 0)
		return rc;
	op_stride_plan(&p, &s, shapes, 2);
	p.in_size[0] = p.in_size[1] = p.out_size = sizeof(double);
	stride_for(&c->env->kernel, &p, in, out, row_atan2, NULL);
	return 0;
}

/* ---- Select(which, x, y): `which` may be one truth for each row ---- */

static int infer_select(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, op_dtype(c, 1), op_shape(c, 1));
	return 0;
}

static int eval_select(struct op_call *c, struct err *e)
{
	struct tensor in[3] = {c->in[0], c->in[1], c->in[2]}, out = {0};
	struct shape *s = &in[0].shape;
	int rc;

	if (!shape_equal(&in[1].shape, &in[2].shape))
		return op_invalid(c, e, "values of different shapes");
	if (s->rank == 1 && in[1].shape.rank > 1) {
		s->rank = in[1].shape.rank;
		for (int32_t i = 1; i < s->rank; i++)
			s->dims[i] = 1;
	}
	rc = op_delegate(c, ONNX, "Where", in, 3, &out, 1, e);
	if (rc == 0 && !shape_equal(&out.shape, &in[1].shape))
		rc = op_invalid(c, e, "truths for more than there is");
	if (rc == 0)
		rc = op_give(c, 0, &out, e);
	tensor_drop(&out);
	return rc;
}

/* ---- FakeQuantWithMinMax…(x, min, max) ---- */

struct range {
	double low, high, scale;
};

/* Moved so that 0 is one of the steps. */
static struct range nudge(const struct op_call *c, double min, double max)
{
	double first = op_attr_int(c, "narrow_range", 0) ? 1 : 0;
	double last = ldexp(1, (int)op_attr_int(c, "num_bits", 8)) - 1;
	float scale = (float)((max - min) / (last - first));
	double zero = first - min / (double)scale;

	zero = zero < first ? first : zero > last ? last : round(zero);
	return (struct range){(first - zero) * (double)scale,
			      (last - zero) * (double)scale, (double)scale};
}

static double quantised(const struct range *r, double x)
{
	x = x < r->low ? r->low : x > r->high ? r->high : x;
	return floor((x - r->low) / r->scale + 0.5) * r->scale + r->low;
}

static int read_limits(struct op_call *c, const double **min,
		       const double **max, double given[2], struct err *e)
{
	const void *p;
	int rc;

	if (c->nin < 3) {
		given[0] = (double)op_attr_float(c, "min", -6);
		given[1] = (double)op_attr_float(c, "max", 6);
		*min = &given[0];
		*max = &given[1];
		return 0;
	}
	rc = op_data_as(c, 1, DTYPE_F64, &p, e);
	*min = p;
	if (rc == 0)
		rc = op_data_as(c, 2, DTYPE_F64, &p, e);
	*max = p;
	return rc;
}

static int eval_fake_quant(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	size_t channels = c->nin < 3 ? 1 : (size_t)op_nelems(c, 1);
	size_t n = (size_t)op_nelems(c, 0);
	int64_t bits = op_attr_int(c, "num_bits", 8);
	const double *min = NULL, *max = NULL;
	double given[2];
	const void *in;
	void *out;
	int rc = read_limits(c, &min, &max, given, e);

	if (rc == 0 && (bits < 2 || bits > 16))
		return op_invalid(c, e, "%lld bits", (long long)bits);
	if (rc == 0 && c->nin == 3 &&
	    (op_nelems(c, 2) != channels ||
	     (channels != 1 &&
	      (s->rank < 1 || s->dims[s->rank - 1] != (int64_t)channels))))
		return op_invalid(c, e, "%zu limits", channels);
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &in, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, op_dtype(c, 0), DTYPE_F64, s, &out, e);
	for (size_t k = 0; rc == 0 && k < channels; k++) {
		struct range r = nudge(c, min[k], max[k]);

		for (size_t i = k; i < n; i += channels)
			((double *)out)[i] =
				quantised(&r, ((const double *)in)[i]);
		rc = op_check_stop(c, e);
	}
	return rc;
}

#define ONE(type, arg)                                                \
	{                                                             \
		TF, type, 1, 1, 1, 1, 1, 0, arg, infer_same, eval_one \
	}
#define FAKE(type, nin)                                                        \
	{                                                                      \
		TF, type, 1, nin, nin, 1, 1, 0, 0, infer_same, eval_fake_quant \
	}

const struct op ops_tf_math[] = {
	{TF, "Atan2", 1, 2, 2, 1, 1, 0, 0, infer_broadcast, eval_two},
	ONE("Erfc", MATH_ERFC),
	ONE("Expm1", MATH_EXPM1),
	FAKE("FakeQuantWithMinMaxArgs", 1),
	FAKE("FakeQuantWithMinMaxVars", 3),
	FAKE("FakeQuantWithMinMaxVarsPerChannel", 3),
	ONE("Lgamma", MATH_LGAMMA),
	ONE("Log1p", MATH_LOG1P),
	{TF, "Select", 1, 3, 3, 1, 1, 0, 0, infer_select, eval_select},
	{0},
};
