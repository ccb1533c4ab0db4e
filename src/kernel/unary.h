/* SPDX-License-Identifier: MIT */
/* unary - one number in, one out: mathematics and activation functions. */
#ifndef KERNEL_UNARY_H
#define KERNEL_UNARY_H

#include "kernel/num.h"
#include "kernel/stride.h"

/* a, b: the function's parameters, in the order their names are given. */
enum unary {
	UNARY_ABS,
	UNARY_NEG,
	UNARY_SIGN,
	UNARY_BIT_NOT,
	UNARY_NOT, /* of 0 and 1 */
	UNARY_RELU,
	UNARY_CEIL,
	UNARY_FLOOR,
	UNARY_ROUND, /* half to even */
	UNARY_SQRT,
	UNARY_RECIPROCAL,
	UNARY_EXP,
	UNARY_LOG,
	UNARY_SIN,
	UNARY_COS,
	UNARY_TAN,
	UNARY_ASIN,
	UNARY_ACOS,
	UNARY_ATAN,
	UNARY_SINH,
	UNARY_COSH,
	UNARY_TANH,
	UNARY_ASINH,
	UNARY_ACOSH,
	UNARY_ATANH,
	UNARY_ERF,
	UNARY_SIGMOID,
	UNARY_SOFTPLUS,
	UNARY_SOFTSIGN,
	UNARY_GELU,
	UNARY_GELU_TANH,
	UNARY_MISH,
	UNARY_HARD_SWISH,
	UNARY_HARD_SIGMOID,	/* alpha, beta */
	UNARY_ELU,		/* alpha */
	UNARY_CELU,		/* alpha */
	UNARY_SELU,		/* alpha, gamma */
	UNARY_LEAKY_RELU,	/* alpha */
	UNARY_THRESHOLDED_RELU, /* alpha */
	UNARY_SWISH,		/* alpha */
	UNARY_SHRINK,		/* lambda, bias */
	UNARY_AFFINE,		/* alpha, beta */
	UNARY_SCALED_TANH,	/* alpha, beta */
	/* These give bytes of 0 or 1. */
	UNARY_IS_NAN,
	UNARY_IS_INF, /* negative ones too?, positive ones too? */
	UNARY_COUNT
};

struct unary_arg {
	double a, b;
};

/* NULL where the function does not exist for the type.  arg: unary_arg. */
stride_fn *unary_find(enum unary op, enum num t);

/* out = in for all n elements, spread over the pool. */
void unary_for(const struct kernel *k, enum unary op, enum num t,
	       const struct unary_arg *arg, const void *in, void *out,
	       size_t n);

/* Bounds for clip_find: pointers to one element each, or NULL. */
struct clip_arg {
	const void *lo, *hi;
};
/* arg: clip_arg.  A NaN stays. */
stride_fn *clip_find(enum num t);

#endif
