/* SPDX-License-Identifier: MIT */
/* unary - one tensor in, one of the same shape out. */
#include "kernel/unary.h"

#include <math.h>

#include "kernel/fast.h"
#include "op/impl.h"
#include "op/strip.h"

static int infer_bool(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, DTYPE_BOOL, &c->in[0].shape);
	return 0;
}

/* All but tests can be part of several steps. */
static int set_unary(struct op_call *c, struct op_step *s, enum unary op,
		     struct err *e)
{
	enum num t;

	if (!s)
		return op_is_short_float(c->in[0].dtype) && op < UNARY_IS_NAN;
	if (!op_num(s->takes[0], &t) || !unary_find(op, t))
		return op_bad_dtype(c, 0, e);
	s->nin = 1;
	s->fn = unary_find(op, t);
	if (op >= UNARY_IS_NAN)
		s->gives = s->stored = DTYPE_BOOL;
	return 0;
}

static int step_unary(struct op_call *c, struct op_step *s, struct err *e)
{
	return set_unary(c, s, (enum unary)c->op->arg, e);
}

static int step_is_inf(struct op_call *c, struct op_step *s, struct err *e)
{
	if (s) {
		s->u.unary.a = op_attr_int(c, "detect_negative", 1) != 0;
		s->u.unary.b = op_attr_int(c, "detect_positive", 1) != 0;
		s->arg = &s->u.unary;
	}
	return set_unary(c, s, UNARY_IS_INF, e);
}

static int step_gelu(struct op_call *c, struct op_step *s, struct err *e)
{
	bool tanh = strcmp(op_attr_str(c, "approximate", "none"), "tanh") == 0;

	return set_unary(c, s, tanh ? UNARY_GELU_TANH : UNARY_GELU, e);
}

/* ---- activation functions: which attributes are a and b ---- */
struct activation {
	enum unary op;
	const char *a, *b;
	float def_a, def_b;
};

enum {
	ACT_ELU,
	ACT_CELU,
	ACT_SELU,
	ACT_SELU_1,
	ACT_LEAKY_RELU,
	ACT_THRESHOLDED_RELU,
	ACT_HARD_SIGMOID,
	ACT_SWISH,
	ACT_QUICK_GELU,
	ACT_SHRINK,
	ACT_AFFINE,
	ACT_SCALED_TANH,
};

static const struct activation activations[] = {
	[ACT_ELU] = {UNARY_ELU, "alpha", NULL, 1},
	[ACT_CELU] = {UNARY_CELU, "alpha", NULL, 1},
	[ACT_SELU] = {UNARY_SELU, "alpha", "gamma", 1.67326319217681884765625f,
		      1.05070102214813232421875f},
	/* Opset 1 had rounded defaults. */
	[ACT_SELU_1] = {UNARY_SELU, "alpha", "gamma", 1.6732f, 1.0507f},
	[ACT_LEAKY_RELU] = {UNARY_LEAKY_RELU, "alpha", NULL, 0.01f},
	[ACT_THRESHOLDED_RELU] = {UNARY_THRESHOLDED_RELU, "alpha", NULL, 1},
	[ACT_HARD_SIGMOID] = {UNARY_HARD_SIGMOID, "alpha", "beta", 0.2f, 0.5f},
	[ACT_SWISH] = {UNARY_SWISH, "alpha", NULL, 1},
	[ACT_QUICK_GELU] = {UNARY_SWISH, "alpha", NULL, 1.702f},
	[ACT_SHRINK] = {UNARY_SHRINK, "lambd", "bias", 0.5f, 0},
	[ACT_AFFINE] = {UNARY_AFFINE, "alpha", "beta", 1, 0},
	[ACT_SCALED_TANH] = {UNARY_SCALED_TANH, "alpha", "beta", 1, 1},
};

static int step_activation(struct op_call *c, struct op_step *s, struct err *e)
{
	const struct activation *a = &activations[c->op->arg];

	if (s) {
		s->u.unary.a = op_attr_float(c, a->a, a->def_a);
		if (a->b)
			s->u.unary.b = op_attr_float(c, a->b, a->def_b);
		s->arg = &s->u.unary;
		/* Integers (Shrink takes them) are computed in float64. */
		if (a->op == UNARY_SHRINK && op_is_int(c->in[0].dtype))
			s->takes[0] = s->gives = DTYPE_F64;
	}
	return set_unary(c, s, a->op, e);
}

/* ---- Clip ---- */
/* The bound as one element of the type that is computed in. */
static int bound(struct op_call *c, const char *attr, size_t i, enum num t,
		 void *room, const void **out, struct err *e)
{
	const struct attr *a = node_attr(c->node, attr);
	float v;

	*out = NULL;
	if (c->node->opset >= 11 && op_has(c, i)) {
		if (op_nelems(c, i) != 1)
			return op_invalid(c, e, "%s is no scalar", attr);
		return op_data_as(c, i, op_compute_type(c->in[0].dtype), out,
				  e);
	}
	if (c->node->opset >= 11 || !a)
		return 0;
	v = op_attr_float(c, attr, 0);
	if (t == NUM_F32)
		*(float *)room = v;
	else
		*(double *)room = v;
	*out = room;
	return 0;
}

static int join_clip(struct op_call *c, size_t flow, struct finish *f,
		     struct err *e)
{
	struct clip_arg arg = {0};
	double lo, hi;
	int rc;

	if (flow != 0 || !op_is_short_float(c->in[0].dtype))
		return 0;
	if (!f)
		return OP_STAGE_LIMIT;
	rc = bound(c, "min", 1, NUM_F32, &lo, &arg.lo, e);
	if (rc == 0)
		rc = bound(c, "max", 2, NUM_F32, &hi, &arg.hi, e);
	if (rc < 0)
		return rc;
	f->lo = arg.lo ? *(const float *)arg.lo : -INFINITY;
	f->hi = arg.hi ? *(const float *)arg.hi : INFINITY;
	return 0;
}

static int join_unary(struct op_call *c, size_t flow, struct finish *f,
		      struct err *e)
{
	(void)e;
	if (flow != 0 || c->op->arg != UNARY_RELU ||
	    !op_is_short_float(c->in[0].dtype))
		return 0;
	if (!f)
		return OP_STAGE_LIMIT;
	f->lo = 0;
	return 0;
}

static int step_clip(struct op_call *c, struct op_step *s, struct err *e)
{
	enum num t;
	int rc;

	if (!s)
		return op_is_short_float(c->in[0].dtype);
	if (!op_num(s->takes[0], &t) ||
	    (c->node->opset < 11 && t != NUM_F32 && t != NUM_F64))
		return op_bad_dtype(c, 0, e);
	s->nin = 1;
	s->fn = clip_find(t);
	s->arg = &s->u.clip;
	rc = bound(c, "min", 1, t, &s->lo, &s->u.clip.lo, e);
	if (rc == 0)
		rc = bound(c, "max", 2, t, &s->hi, &s->u.clip.hi, e);
	return rc;
}

#define UNARY(type, since, op)                                                \
	{                                                                     \
		ONNX, type, since, 1, 1, 1, 1, OP_WRITES_ALL, op, infer_same, \
			strip_eval, .join = join_unary, .step = step_unary    \
	}
#define TEST(type, since, op, step_of)                                        \
	{                                                                     \
		ONNX, type, since, 1, 1, 1, 1, OP_WRITES_ALL, op, infer_bool, \
			strip_eval, .step = step_of                           \
	}

const struct op ops_unary[] = {
	UNARY("Abs", 1, UNARY_ABS),
	UNARY("Neg", 1, UNARY_NEG),
	UNARY("Sign", 9, UNARY_SIGN),
	UNARY("BitwiseNot", 18, UNARY_BIT_NOT),
	UNARY("Not", 1, UNARY_NOT),
	UNARY("Ceil", 1, UNARY_CEIL),
	UNARY("Floor", 1, UNARY_FLOOR),
	UNARY("Round", 11, UNARY_ROUND),
	UNARY("Sqrt", 1, UNARY_SQRT),
	UNARY("Reciprocal", 1, UNARY_RECIPROCAL),
	UNARY("Exp", 1, UNARY_EXP),
	UNARY("Log", 1, UNARY_LOG),
	UNARY("Sin", 7, UNARY_SIN),
	UNARY("Cos", 7, UNARY_COS),
	UNARY("Tan", 7, UNARY_TAN),
	UNARY("Asin", 7, UNARY_ASIN),
	UNARY("Acos", 7, UNARY_ACOS),
	UNARY("Atan", 7, UNARY_ATAN),
	UNARY("Sinh", 9, UNARY_SINH),
	UNARY("Cosh", 9, UNARY_COSH),
	UNARY("Asinh", 9, UNARY_ASINH),
	UNARY("Acosh", 9, UNARY_ACOSH),
	UNARY("Atanh", 9, UNARY_ATANH),
	UNARY("Erf", 9, UNARY_ERF),
	TEST("IsNaN", 9, UNARY_IS_NAN, step_unary),
	TEST("IsInf", 10, UNARY_IS_INF, step_is_inf),
	{ONNX, "Clip", 1, 1, 3, 1, 1, OP_WRITES_ALL, 0, infer_same, strip_eval,
	 .join = join_clip, .step = step_clip},
	{0},
};

#define ACTIVATION(type, since, act)                                           \
	{                                                                      \
		ONNX, type, since, 1, 1, 1, 1, OP_WRITES_ALL, act, infer_same, \
			strip_eval, .step = step_activation                    \
	}

const struct op ops_activation[] = {
	UNARY("Relu", 1, UNARY_RELU),
	UNARY("Tanh", 1, UNARY_TANH),
	UNARY("Sigmoid", 1, UNARY_SIGMOID),
	UNARY("Softplus", 1, UNARY_SOFTPLUS),
	UNARY("Softsign", 1, UNARY_SOFTSIGN),
	UNARY("HardSwish", 14, UNARY_HARD_SWISH),
	UNARY("Mish", 18, UNARY_MISH),
	ACTIVATION("Elu", 1, ACT_ELU),
	ACTIVATION("Celu", 12, ACT_CELU),
	ACTIVATION("Selu", 1, ACT_SELU_1),
	ACTIVATION("Selu", 6, ACT_SELU),
	ACTIVATION("LeakyRelu", 1, ACT_LEAKY_RELU),
	ACTIVATION("ThresholdedRelu", 1, ACT_THRESHOLDED_RELU),
	ACTIVATION("HardSigmoid", 1, ACT_HARD_SIGMOID),
	ACTIVATION("Swish", 24, ACT_SWISH),
	ACTIVATION("Shrink", 9, ACT_SHRINK),
	ACTIVATION("Affine", 1, ACT_AFFINE),
	ACTIVATION("ScaledTanh", 1, ACT_SCALED_TANH),
	{ONNX, "Gelu", 20, 1, 1, 1, 1, OP_WRITES_ALL, 0, infer_same, strip_eval,
	 .step = step_gelu},
	{MICROSOFT, "Gelu", 1, 1, 1, 1, 1, OP_WRITES_ALL, UNARY_GELU,
	 infer_same, strip_eval, .step = step_unary},
	{MICROSOFT, "QuickGelu", 1, 1, 1, 1, 1, OP_WRITES_ALL, ACT_QUICK_GELU,
	 infer_same, strip_eval, .step = step_activation},
	{0},
};
