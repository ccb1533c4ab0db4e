/* SPDX-License-Identifier: MIT */
#include "kernel/unary.h"

#include <tgmath.h>

#include "kernel/fast.h"

#define UNARY(NAME, T, R, EXPR)                                         \
	__attribute__((unused)) static void NAME(                       \
		const void *const in[], const size_t step[], void *out, \
		size_t n, const void *arg)                              \
	{                                                               \
		const T *p = in[0];                                     \
		R *o = out;                                             \
		const struct unary_arg *u = arg;                        \
		T a = (T)(u ? u->a : 0), b = (T)(u ? u->b : 0);         \
		(void)step;                                             \
		(void)a;                                                \
		(void)b;                                                \
		for (size_t i = 0; i < n; i++) {                        \
			T x = p[i];                                     \
			o[i] = (R)(EXPR);                               \
		}                                                       \
	}

#define SIGNED(NAME, T, W)                               \
	UNARY(abs_##NAME, T, T, x < 0 ? 0 - (W)x : (W)x) \
	UNARY(neg_##NAME, T, T, 0 - (W)x)                \
	UNARY(sign_##NAME, T, T, (x > 0) - (x < 0))      \
	UNARY(bit_not_##NAME, T, T, ~x)                  \
	UNARY(relu_##NAME, T, T, x > 0 ? x : 0)
#define UNSIGNED(NAME, T, W)              \
	UNARY(abs_##NAME, T, T, x)        \
	UNARY(neg_##NAME, T, T, 0 - (W)x) \
	UNARY(sign_##NAME, T, T, x > 0)   \
	UNARY(bit_not_##NAME, T, T, ~x)   \
	UNARY(relu_##NAME, T, T, x)

UNSIGNED(U8, uint8_t, uint32_t)
UNSIGNED(U16, uint16_t, uint32_t)
UNSIGNED(U32, uint32_t, uint32_t)
UNSIGNED(U64, uint64_t, uint64_t)
SIGNED(I8, int8_t, uint32_t)
SIGNED(I16, int16_t, uint32_t)
SIGNED(I32, int32_t, uint32_t)
SIGNED(I64, int64_t, uint64_t)
UNARY(not_U8, uint8_t, uint8_t, x == 0)

/* tgmath.h picks the function of x's type; constants are cast to it. */
#define C(v) ((__typeof__(x))(v))
#define SIGMOID(v) (C(1) / (C(1) + exp(-(v))))
/* log(1 + e^v) without overflow. */
#define SOFTPLUS(v) (((v) > 0 ? (v) : C(0)) + log1p(exp(-fabs(v))))

#define FLOATING(NAME, T, W)                                               \
	UNARY(abs_##NAME, T, T, fabs(x))                                   \
	UNARY(neg_##NAME, T, T, -x)                                        \
	UNARY(sign_##NAME, T, T, x != x ? x : C((x > 0) - (x < 0)))        \
	UNARY(relu_##NAME, T, T, x < 0 ? C(0) : x)                         \
	UNARY(ceil_##NAME, T, T, ceil(x))                                  \
	UNARY(floor_##NAME, T, T, floor(x))                                \
	UNARY(round_##NAME, T, T, nearbyint(x))                            \
	UNARY(sqrt_##NAME, T, T, sqrt(x))                                  \
	UNARY(reciprocal_##NAME, T, T, C(1) / x)                           \
	UNARY(exp_##NAME, T, T, exp(x))                                    \
	UNARY(log_##NAME, T, T, log(x))                                    \
	UNARY(sin_##NAME, T, T, sin(x))                                    \
	UNARY(cos_##NAME, T, T, cos(x))                                    \
	UNARY(tan_##NAME, T, T, tan(x))                                    \
	UNARY(asin_##NAME, T, T, asin(x))                                  \
	UNARY(acos_##NAME, T, T, acos(x))                                  \
	UNARY(atan_##NAME, T, T, atan(x))                                  \
	UNARY(sinh_##NAME, T, T, sinh(x))                                  \
	UNARY(cosh_##NAME, T, T, cosh(x))                                  \
	UNARY(tanh_##NAME, T, T, tanh(x))                                  \
	UNARY(asinh_##NAME, T, T, asinh(x))                                \
	UNARY(acosh_##NAME, T, T, acosh(x))                                \
	UNARY(atanh_##NAME, T, T, atanh(x))                                \
	UNARY(erf_##NAME, T, T, erf(x))                                    \
	UNARY(sigmoid_##NAME, T, T, SIGMOID(x))                            \
	UNARY(softplus_##NAME, T, T, SOFTPLUS(x))                          \
	UNARY(softsign_##NAME, T, T, x / (C(1) + fabs(x)))                 \
	UNARY(gelu_##NAME, T, T,                                           \
	      C(0.5) * x * (C(1) + erf(x * C(0.70710678118654752440))))    \
	UNARY(gelu_tanh_##NAME, T, T,                                      \
	      C(0.5) * x *                                                 \
		      (C(1) + tanh(C(0.79788456080286535588) *             \
				   (x + C(0.044715) * x * x * x))))        \
	UNARY(mish_##NAME, T, T, x *tanh(SOFTPLUS(x)))                     \
	UNARY(hard_swish_##NAME, T, T,                                     \
	      x *fmax(C(0), fmin(C(1), x *C(1.0 / 6) + C(0.5))))           \
	UNARY(hard_sigmoid_##NAME, T, T, fmax(C(0), fmin(C(1), a *x + b))) \
	UNARY(elu_##NAME, T, T, x < 0 ? a * expm1(x) : x)                  \
	UNARY(celu_##NAME, T, T, x < 0 ? a * expm1(x / a) : x)             \
	UNARY(selu_##NAME, T, T, b *(x > 0 ? x : a * expm1(x)))            \
	UNARY(leaky_relu_##NAME, T, T, x < 0 ? a * x : x)                  \
	UNARY(thresholded_relu_##NAME, T, T, x > a ? x : C(0))             \
	UNARY(swish_##NAME, T, T, x *SIGMOID(a *x))                        \
	UNARY(shrink_##NAME, T, T, x<-a ? x + b : x> a ? x - b : C(0))     \
	UNARY(affine_##NAME, T, T, a *x + b)                               \
	UNARY(scaled_tanh_##NAME, T, T, a *tanh(b *x))                     \
	UNARY(is_nan_##NAME, T, uint8_t, x != x)                           \
	UNARY(is_inf_##NAME, T, uint8_t,                                   \
	      (a != 0 && x == -(T)INFINITY) || (b != 0 && x == (T)INFINITY))

FLOATING(F32, float, float)
FLOATING(F64, double, double)

/* ---- float32 on vectors ---- */
#define FAST(NAME, OP)                                                       \
	static void fast_##NAME(const void *const in[], const size_t step[], \
				void *out, size_t n, const void *arg)        \
	{                                                                    \
		(void)step;                                                  \
		(void)arg;                                                   \
		fast_get()->math(OP, in[0], out, n);                         \
	}
FAST(exp, FAST_EXP)
FAST(tanh, FAST_TANH)
FAST(erf, FAST_ERF)
FAST(sigmoid, FAST_SIGMOID)
FAST(gelu, FAST_GELU)
FAST(gelu_tanh, FAST_GELU_TANH)

static void fast_swish(const void *const in[], const size_t step[], void *out,
		       size_t n, const void *arg)
{
	const struct unary_arg *u = arg;

	if (u && u->a != 1)
		swish_F32(in, step, out, n, arg);
	else
		fast_get()->math(FAST_SWISH, in[0], out, n);
}

static void fast_limit(const void *const in[], void *out, size_t n, float lo,
		       float hi)
{
	struct finish f = {.lo = lo, .hi = hi};

	fast_get()->finish(&f, in[0], out, n);
}

static void fast_relu(const void *const in[], const size_t step[], void *out,
		      size_t n, const void *arg)
{
	(void)step;
	(void)arg;
	fast_limit(in, out, n, 0, INFINITY);
}

#define ENTRY(OP, T) [NUM_##T] = OP##_##T
#define FAST_OF(OP) [NUM_F32] = fast_##OP, [NUM_F64] = OP##_F64
#define FLOATS_OF(OP) ENTRY(OP, F32), ENTRY(OP, F64)
#define INTS_OF(OP)                                                   \
	ENTRY(OP, U8), ENTRY(OP, I8), ENTRY(OP, U16), ENTRY(OP, I16), \
		ENTRY(OP, U32), ENTRY(OP, I32), ENTRY(OP, U64), ENTRY(OP, I64)
#define ALL_OF(OP) INTS_OF(OP), FLOATS_OF(OP)

static stride_fn *const table[UNARY_COUNT][NUM_COUNT] = {
	[UNARY_ABS] = {ALL_OF(abs)},
	[UNARY_NEG] = {ALL_OF(neg)},
	[UNARY_SIGN] = {ALL_OF(sign)},
	[UNARY_BIT_NOT] = {INTS_OF(bit_not)},
	[UNARY_NOT] = {ENTRY(not, U8)},
	[UNARY_RELU] = {INTS_OF(relu), FAST_OF(relu)},
	[UNARY_CEIL] = {FLOATS_OF(ceil)},
	[UNARY_FLOOR] = {FLOATS_OF(floor)},
	[UNARY_ROUND] = {FLOATS_OF(round)},
	[UNARY_SQRT] = {FLOATS_OF(sqrt)},
	[UNARY_RECIPROCAL] = {FLOATS_OF(reciprocal)},
	[UNARY_EXP] = {FAST_OF(exp)},
	[UNARY_LOG] = {FLOATS_OF(log)},
	[UNARY_SIN] = {FLOATS_OF(sin)},
	[UNARY_COS] = {FLOATS_OF(cos)},
	[UNARY_TAN] = {FLOATS_OF(tan)},
	[UNARY_ASIN] = {FLOATS_OF(asin)},
	[UNARY_ACOS] = {FLOATS_OF(acos)},
	[UNARY_ATAN] = {FLOATS_OF(atan)},
	[UNARY_SINH] = {FLOATS_OF(sinh)},
	[UNARY_COSH] = {FLOATS_OF(cosh)},
	[UNARY_TANH] = {FAST_OF(tanh)},
	[UNARY_ASINH] = {FLOATS_OF(asinh)},
	[UNARY_ACOSH] = {FLOATS_OF(acosh)},
	[UNARY_ATANH] = {FLOATS_OF(atanh)},
	[UNARY_ERF] = {FAST_OF(erf)},
	[UNARY_SIGMOID] = {FAST_OF(sigmoid)},
	[UNARY_SOFTPLUS] = {FLOATS_OF(softplus)},
	[UNARY_SOFTSIGN] = {FLOATS_OF(softsign)},
	[UNARY_GELU] = {FAST_OF(gelu)},
	[UNARY_GELU_TANH] = {FAST_OF(gelu_tanh)},
	[UNARY_MISH] = {FLOATS_OF(mish)},
	[UNARY_HARD_SWISH] = {FLOATS_OF(hard_swish)},
	[UNARY_HARD_SIGMOID] = {FLOATS_OF(hard_sigmoid)},
	[UNARY_ELU] = {FLOATS_OF(elu)},
	[UNARY_CELU] = {FLOATS_OF(celu)},
	[UNARY_SELU] = {FLOATS_OF(selu)},
	[UNARY_LEAKY_RELU] = {FLOATS_OF(leaky_relu)},
	[UNARY_THRESHOLDED_RELU] = {FLOATS_OF(thresholded_relu)},
	[UNARY_SWISH] = {FAST_OF(swish)},
	[UNARY_SHRINK] = {FLOATS_OF(shrink)},
	[UNARY_AFFINE] = {FLOATS_OF(affine)},
	[UNARY_SCALED_TANH] = {FLOATS_OF(scaled_tanh)},
	[UNARY_IS_NAN] = {FLOATS_OF(is_nan)},
	[UNARY_IS_INF] = {FLOATS_OF(is_inf)},
};

stride_fn *unary_find(enum unary op, enum num t)
{
	return table[op][t];
}

void unary_for(const struct kernel *k, enum unary op, enum num t,
	       const struct unary_arg *arg, const void *in, void *out, size_t n)
{
	struct stride_plan p = {.rank = 1,
				.nin = 1,
				.dims = {n},
				.step = {{1}},
				.in_size = {num_size(t)},
				.out_size =
					op >= UNARY_IS_NAN ? 1 : num_size(t)};

	stride_for(k, &p, &in, out, unary_find(op, t), arg);
}

#define CLIP(NAME, T, WIDE)                                                  \
	static void clip_##NAME(const void *const in[], const size_t step[], \
				void *out, size_t n, const void *arg)        \
	{                                                                    \
		const struct clip_arg *u = arg;                              \
		const T *p = in[0], *lo = u->lo, *hi = u->hi;                \
		T *o = out;                                                  \
		(void)step;                                                  \
		for (size_t i = 0; i < n; i++) {                             \
			T x = p[i];                                          \
			x = lo && x < *lo ? *lo : x;                         \
			o[i] = hi && x > *hi ? *hi : x;                      \
		}                                                            \
	}
NUM_ALL(CLIP)

static void fast_clip(const void *const in[], const size_t step[], void *out,
		      size_t n, const void *arg)
{
	const struct clip_arg *u = arg;
	const float *lo = u->lo, *hi = u->hi;

	(void)step;
	fast_limit(in, out, n, lo ? *lo : -INFINITY, hi ? *hi : INFINITY);
}

stride_fn *clip_find(enum num t)
{
#define CLIP_ENTRY(NAME, T, WIDE) [NUM_##NAME] = clip_##NAME,
	static stride_fn *const clips[NUM_COUNT] = {NUM_ALL(CLIP_ENTRY)};

	return t == NUM_F32 ? fast_clip : clips[t];
}
