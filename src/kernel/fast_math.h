/* SPDX-License-Identifier: MIT */
/*
 * fast_math - elementary functions and rows of numbers.  The polynomials were
 * fitted (Chebyshev nodes, double) to the ranges they are used in; the result
 * is within 3 units of the last place.
 */
static void run_affine(const float *x, float scale, float shift, float *y,
		       size_t n)
{
	vec a = splat(scale), b = splat(shift);

	for (size_t i = 0; i < n; i += LANES)
		store_part(y + i, affine(load_part(x + i, n - i), a, b), n - i);
}

/* 2^n for n in [-126, 127], as its bits. */
INLINE vec power_of_2(mask n)
{
	return (vec)((n + 127) << 23);
}

INLINE vec exp_vec(vec x)
{
	vec t, r, p;
	mask n, half;

	x = limit(x, splat(-104.0f), splat(89.0f));
	t = x * 1.44269504f + ROUNDER;
	n = (mask)t - (mask)splat(ROUNDER);
	t -= ROUNDER;
	r = x - t * 0.693145752f;
	r -= t * 1.42860677e-6f;
	p = r * 0.000198992769f + 0.0013933643f;
	p = p * r + 0.00833329848f;
	p = p * r + 0.041666465f;
	p = p * r + 0.166666667f;
	p = p * r + 0.500000001f;
	p = p * (r * r) + r + 1.0f;
	/* In two steps: the result may be subnormal. */
	half = n >> 1;
	return p * power_of_2(half) * power_of_2(n - half);
}

INLINE vec abs_vec(vec x)
{
	return (vec)((mask)x & 0x7fffffff);
}

INLINE vec with_sign_of(vec x, vec sign)
{
	return (vec)((mask)x | ((mask)sign & (int32_t)0x80000000));
}

INLINE vec erf_vec(vec x)
{
	vec a = limit(abs_vec(x), (vec){0}, splat(4.0f)), s = x * x;
	vec near, far;

	near = s * 8.339972e-05f - 0.000813607486f;
	near = near * s + 0.00520050174f;
	near = near * s - 0.0268592114f;
	near = near * s + 0.112836927f;
	near = near * s - 0.376126336f;
	near = near * s + 0.128379167f;
	near = near * x + x;
	/* log(1 - erf(a)) */
	far = a * 1.61024041e-06f - 4.55127728e-05f;
	far = far * a + 0.000592092757f;
	far = far * a - 0.00473695062f;
	far = far * a + 0.0263551208f;
	far = far * a - 0.109960799f;
	far = far * a - 0.631956241f;
	far = far * a - 1.1301551f;
	far = far * a + 0.000300268819f;
	far = with_sign_of(1.0f - exp_vec(far), x);
	return select_vec(a < 0.9f, near, far);
}

INLINE vec tanh_vec(vec x)
{
	vec a = limit(abs_vec(x), (vec){0}, splat(10.0f)), s = x * x;
	vec near, far;

	near = s * 0.00237348323f - 0.00841252218f;
	near = near * s + 0.0217890962f;
	near = near * s - 0.0539616516f;
	near = near * s + 0.133333133f;
	near = near * s - 0.333333332f;
	near = near * s * x + x;
	far = 1.0f - 2.0f / (exp_vec(2.0f * a) + 1.0f);
	return select_vec(a < 0.6f, near, with_sign_of(far, x));
}

INLINE vec sigmoid_vec(vec x)
{
	return 1.0f / (1.0f + exp_vec(-x));
}

INLINE vec math_vec(enum fast_math op, vec x)
{
	switch (op) {
	case FAST_EXP:
		return exp_vec(x);
	case FAST_TANH:
		return tanh_vec(x);
	case FAST_ERF:
		return erf_vec(x);
	case FAST_SIGMOID:
		return sigmoid_vec(x);
	case FAST_GELU:
		return 0.5f * x * (1.0f + erf_vec(x * 0.70710678f));
	case FAST_GELU_TANH:
		return 0.5f * x *
		       (1.0f +
			tanh_vec(0.79788456f * (x + 0.044715f * x * x * x)));
	case FAST_SWISH:
		return x * sigmoid_vec(x);
	default:
		return x;
	}
}

#define MATH(OP)                                                          \
	case OP:                                                          \
		for (; i + LANES <= n; i += LANES)                        \
			store(y + i, math_vec(OP, load(x + i)));          \
		if (i < n)                                                \
			store_part(y + i,                                 \
				   math_vec(OP, load_part(x + i, n - i)), \
				   n - i);                                \
		return;

static void run_math(enum fast_math op, const float *x, float *y, size_t n)
{
	size_t i = 0;

	switch (op) {
		MATH(FAST_EXP)
		MATH(FAST_TANH)
		MATH(FAST_ERF)
		MATH(FAST_SIGMOID)
		MATH(FAST_GELU)
		MATH(FAST_GELU_TANH)
		MATH(FAST_SWISH)
	default:
		return;
	}
}

#ifdef FROM_HALF
static void run_from_half(const uint16_t *x, float *y, size_t n)
{
	uint16_t part[LANES] = {0};
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		store(y + i, FROM_HALF(x + i));
	if (i < n) {
		memcpy(part, x + i, (n - i) * sizeof(*x));
		store_some(y + i, FROM_HALF(part), n - i);
	}
}

static void run_to_half(const float *x, uint16_t *y, size_t n)
{
	uint16_t part[LANES];
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		TO_HALF(y + i, load(x + i));
	if (i < n) {
		TO_HALF(part, load_some(x + i, n - i));
		memcpy(y + i, part, (n - i) * sizeof(*y));
	}
}
#endif

static void run_round(enum rounding r, const float *x, float *y, size_t n)
{
	if (r == ROUND_FLOAT16) {
		for (size_t i = 0; i < n; i += LANES)
			store_part(y + i,
				   round_vec(load_part(x + i, n - i),
					     ROUND_FLOAT16),
				   n - i);
	} else if (r == ROUND_BFLOAT16) {
		for (size_t i = 0; i < n; i += LANES)
			store_part(y + i,
				   round_vec(load_part(x + i, n - i),
					     ROUND_BFLOAT16),
				   n - i);
	}
}

typedef uint16_t halves __attribute__((vector_size(LANES * 2)));

INLINE halves to_bfloat(vec v)
{
	bits u = (bits)select_vec(v != v, (vec)((bits)v | 0x400000u),
				  round_bits(v, 16));

	return __builtin_convertvector(u >> 16, halves);
}

static void run_to_bfloat(const float *x, uint16_t *y, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t left = n - i;
		halves h = to_bfloat(load_part(x + i, left));

		if (left >= LANES)
			memcpy(y + i, &h, sizeof(h));
		else
			memcpy(y + i, &h, left * sizeof(*y));
	}
}

INLINE vec binary_vec(enum fast_binary op, vec x, vec y)
{
	switch (op) {
	case FAST_ADD:
		return x + y;
	case FAST_SUB:
		return x - y;
	case FAST_MUL:
		return x * y;
	default:
		return x / y;
	}
}

#define OPERAND(p, step) ((step) ? load_part((p) + i, n - i) : splat(*(p)))
#define BINARY(OP)                                                    \
	case OP:                                                      \
		for (size_t i = 0; i < n; i += LANES)                 \
			store_part(out + i,                           \
				   binary_vec(OP, OPERAND(x, x_step), \
					      OPERAND(y, y_step)),    \
				   n - i);                            \
		return;

static void run_binary(enum fast_binary op, const float *x, size_t x_step,
		       const float *y, size_t y_step, float *out, size_t n)
{
	switch (op) {
		BINARY(FAST_ADD)
		BINARY(FAST_SUB)
		BINARY(FAST_MUL)
		BINARY(FAST_DIV)
	default:
		return;
	}
}

static float greatest(const float *x, size_t n)
{
	vec best = splat(x[0]);
	float max;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		vec v = load(x + i);

		best = select_vec(v > best, v, best);
	}
	max = best[0];
	for (int k = 1; k < LANES; k++)
		max = best[k] > max ? best[k] : max;
	for (; i < n; i++)
		max = x[i] > max ? x[i] : max;
	return max;
}

static void run_softmax(const float *x, float *y, size_t n)
{
	float max = greatest(x, n), sum;
	vec total = {0};
	size_t i = 0;

	if (isinf(max))
		max = max > 0 ? max : 0;
	for (; i + LANES <= n; i += LANES) {
		vec v = exp_vec(load(x + i) - max);

		total += v;
		store(y + i, v);
	}
	sum = sum_lanes(total);
	if (i < n) {
		vec v = exp_vec(load_part(x + i, n - i) - max);

		store_part(y + i, v, n - i);
		for (size_t k = i; k < n; k++)
			sum += y[k];
	}
	for (i = 0; i < n; i += LANES)
		store_part(y + i, load_part(y + i, n - i) / sum, n - i);
}

/* Vectors that are summed in float32 before they go to a double. */
#define SUM_BLOCK ((size_t)64 * LANES)

INLINE double sum_block(const float *x, size_t n, float from, bool squares)
{
	vec total = {0};
	double sum;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		vec v = load(x + i) - from;

		if (squares)
			v *= v;
		total += v;
	}
	sum = (double)sum_lanes(total);
	for (; i < n; i++) {
		double v = (double)(x[i] - from);

		sum += squares ? v * v : v;
	}
	return sum;
}

static double sum_of(const float *x, size_t n, float from, bool squares)
{
	double sum = 0;

	for (size_t i = 0; i < n; i += SUM_BLOCK) {
		size_t m = n - i < SUM_BLOCK ? n - i : SUM_BLOCK;

		sum += squares ? sum_block(x + i, m, from, true)
			       : sum_block(x + i, m, from, false);
	}
	return sum;
}

static double run_sum(const float *x, size_t n, bool squares)
{
	return sum_of(x, n, 0, squares);
}

static void run_moments(const float *x, size_t n, bool centred, double *mean,
			double *variance)
{
	/* Off the first element: numbers far from 0 keep their digits. */
	double off = 0, count = (double)n;
	float from;

	*mean = 0;
	if (centred && n > 0) {
		off = sum_of(x, n, x[0], false) / count;
		*mean = (double)x[0] + off;
	}
	from = (float)*mean;
	off = *mean - (double)from;
	*variance = sum_of(x, n, from, true) / count - off * off;
	if (*variance < 0)
		*variance = 0;
}

static void run_normalise(const float *x, float mean, float inv,
			  const float *scale, const float *bias, float *y,
			  size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		vec v = (load_part(x + i, n - i) - mean) * inv;

		if (scale)
			v *= load_part(scale + i, n - i);
		if (bias)
			v += load_part(bias + i, n - i);
		store_part(y + i, v, n - i);
	}
}
