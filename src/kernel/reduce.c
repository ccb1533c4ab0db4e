/* SPDX-License-Identifier: MIT */
#include "kernel/reduce.h"

#include <math.h>

#include "kernel/fast.h"

/* Columns of `inner` that are worked on at a time. */
#define LANES 64

/* Elements between two looks at whether to stop. */
#define STOP_AFTER 65536

struct job {
	const struct kernel *k;
	const struct reduce_plan *p;
	enum reduce op;
	const void *in;
	void *out;
	size_t per_outer; /* groups of lanes */
};

/*
 * Every reduction is: start, then acc = STEP(acc, x) for all x, then END.
 * A: the type of the accumulator.
 */
#define REDUCE(NAME, T, A, START, STEP, END)                                 \
	static void NAME(const struct job *j, size_t o, size_t at, size_t n) \
	{                                                                    \
		const struct reduce_plan *p = j->p;                          \
		const T *in = (const T *)j->in + o * p->dim * p->inner + at; \
		T *out = (T *)j->out + o * p->inner + at;                    \
		double count = (double)p->dim;                               \
		A acc[LANES];                                                \
		(void)count;                                                 \
		for (size_t i = 0; i < n; i++)                               \
			acc[i] = (A)(START);                                 \
		for (size_t d = 0; d < p->dim; d++, in += p->inner) {        \
			if (d % 65536 == 65535 && kernel_stopped(j->k))      \
				return;                                      \
			for (size_t i = 0; i < n; i++) {                     \
				A a = acc[i], x = (A)in[i];                  \
				acc[i] = (A)(STEP);                          \
			}                                                    \
		}                                                            \
		for (size_t i = 0; i < n; i++) {                             \
			A a = acc[i];                                        \
			out[i] = (T)(END);                                   \
		}                                                            \
	}

#define INTEGER(NAME, T, W, LEAST, MOST)                                \
	REDUCE(sum_##NAME, T, W, 0, a + x, a)                           \
	REDUCE(prod_##NAME, T, W, 1, a *x, a)                           \
	REDUCE(max_##NAME, T, T, LEAST, x > a ? x : a, a)               \
	REDUCE(min_##NAME, T, T, MOST, x < a ? x : a, a)                \
	REDUCE(l1_##NAME, T, W, 0, a + ((T)x < (T)1 ? (W)0 - x : x), a) \
	REDUCE(sum_square_##NAME, T, W, 0, a + x * x, a)                \
	REDUCE(mean_##NAME, T, double, 0, a + x,                        \
	       count > 0 ? wide(a / count) : 0)                         \
	REDUCE(l2_##NAME, T, double, 0, a + x * x, wide(sqrt(a)))       \
	REDUCE(log_sum_##NAME, T, double, 0, a + x, wide(log(a)))       \
	REDUCE(log_sum_exp_##NAME, T, double, 0, a + exp(x), wide(log(a)))

/* What a float can be cast to every integer type from. */
static int64_t wide(double v)
{
	if (v != v)
		return 0;
	return v <= -0x1p63	    ? INT64_MIN
	       : v >= 0x1p63 - 1024 ? INT64_MAX
				    : (int64_t)v;
}

#define FLOATING(NAME, T)                                               \
	REDUCE(sum_##NAME, T, double, 0, a + x, a)                      \
	REDUCE(mean_##NAME, T, double, 0, a + x, a / count)             \
	REDUCE(prod_##NAME, T, double, 1, a *x, a)                      \
	REDUCE(max_##NAME, T, T, -INFINITY, x > a || x != x ? x : a, a) \
	REDUCE(min_##NAME, T, T, INFINITY, x < a || x != x ? x : a, a)  \
	REDUCE(l1_##NAME, T, double, 0, a + fabs(x), a)                 \
	REDUCE(l2_##NAME, T, double, 0, a + x * x, sqrt(a))             \
	REDUCE(sum_square_##NAME, T, double, 0, a + x * x, a)           \
	REDUCE(log_sum_##NAME, T, double, 0, a + x, log(a))

INTEGER(U8, uint8_t, uint32_t, 0, UINT8_MAX)
INTEGER(I8, int8_t, uint32_t, INT8_MIN, INT8_MAX)
INTEGER(U16, uint16_t, uint32_t, 0, UINT16_MAX)
INTEGER(I16, int16_t, uint32_t, INT16_MIN, INT16_MAX)
INTEGER(U32, uint32_t, uint32_t, 0, UINT32_MAX)
INTEGER(I32, int32_t, uint32_t, INT32_MIN, INT32_MAX)
INTEGER(U64, uint64_t, uint64_t, 0, UINT64_MAX)
INTEGER(I64, int64_t, uint64_t, INT64_MIN, INT64_MAX)
FLOATING(F32, float)
FLOATING(F64, double)

/* Two passes: the greatest element first, so that exp does not overflow. */
#define LOG_SUM_EXP(NAME, T)                                                 \
	static void log_sum_exp_##NAME(const struct job *j, size_t o,        \
				       size_t at, size_t n)                  \
	{                                                                    \
		const struct reduce_plan *p = j->p;                          \
		const T *in = (const T *)j->in + o * p->dim * p->inner + at; \
		T *out = (T *)j->out + o * p->inner + at;                    \
		for (size_t i = 0; i < n; i++) {                             \
			double sum = 0, max = -INFINITY, shift;              \
			for (size_t d = 0; d < p->dim; d++) {                \
				double x = in[d * p->inner + i];             \
				max = x > max || x != x ? x : max;           \
				if (d % STOP_AFTER == 0 &&                   \
				    kernel_stopped(j->k))                    \
					return;                              \
			}                                                    \
			shift = isinf(max) ? 0 : max;                        \
			for (size_t d = 0; d < p->dim; d++) {                \
				sum += exp((double)in[d * p->inner + i] -    \
					   shift);                           \
				if (d % STOP_AFTER == 0 &&                   \
				    kernel_stopped(j->k))                    \
					return;                              \
			}                                                    \
			out[i] = (T)(log(sum) + shift);                      \
		}                                                            \
	}
LOG_SUM_EXP(F32, float)
LOG_SUM_EXP(F64, double)

typedef void reduce_fn(const struct job *j, size_t o, size_t at, size_t n);

/* ---- rows of float32, on vectors ---- */
#define FAST(NAME, SQUARES, END)                                          \
	static void fast_##NAME(const struct job *j, size_t o, size_t at, \
				size_t n)                                 \
	{                                                                 \
		size_t dim = j->p->dim;                                   \
		double a;                                                 \
		if (j->p->inner != 1) {                                   \
			NAME##_F32(j, o, at, n);                          \
			return;                                           \
		}                                                         \
		a = fast_get()->sum((const float *)j->in + o * dim, dim,  \
				    SQUARES);                             \
		((float *)j->out)[o] = (float)(END);                      \
	}
FAST(sum, false, a)
FAST(mean, false, a / (double)dim)
FAST(sum_square, true, a)

#define ENTRY(OP, T) [NUM_##T] = OP##_##T
#define INTS_OF(OP)                                                   \
	ENTRY(OP, U8), ENTRY(OP, I8), ENTRY(OP, U16), ENTRY(OP, I16), \
		ENTRY(OP, U32), ENTRY(OP, I32), ENTRY(OP, U64), ENTRY(OP, I64)
#define FAST_OF(OP) INTS_OF(OP), [NUM_F32] = fast_##OP, ENTRY(OP, F64)
#define ALL_OF(OP) INTS_OF(OP), ENTRY(OP, F32), ENTRY(OP, F64)

static reduce_fn *const table[REDUCE_COUNT][NUM_COUNT] = {
	[REDUCE_SUM] = {FAST_OF(sum)},
	[REDUCE_MEAN] = {FAST_OF(mean)},
	[REDUCE_PROD] = {ALL_OF(prod)},
	[REDUCE_MAX] = {ALL_OF(max)},
	[REDUCE_MIN] = {ALL_OF(min)},
	[REDUCE_L1] = {ALL_OF(l1)},
	[REDUCE_L2] = {ALL_OF(l2)},
	[REDUCE_SUM_SQUARE] = {FAST_OF(sum_square)},
	[REDUCE_LOG_SUM] = {ALL_OF(log_sum)},
	[REDUCE_LOG_SUM_EXP] = {ALL_OF(log_sum_exp)},
};

static void reduce_range(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;
	size_t inner = j->p->inner;

	for (size_t i = begin; i < end; i++) {
		size_t at = i % j->per_outer * LANES;

		table[j->op][j->p->type](j, i / j->per_outer, at,
					 inner - at < LANES ? inner - at
							    : LANES);
	}
}

static size_t grain_of(size_t work)
{
	return work < 32768 ? 32768 / (work + 1) + 1 : 1;
}

void reduce_run(const struct kernel *k, enum reduce op,
		const struct reduce_plan *p, const void *in, void *out)
{
	struct job j = {.k = k,
			.p = p,
			.op = op,
			.in = in,
			.out = out,
			.per_outer = (p->inner + LANES - 1) / LANES};
	size_t width = p->inner < LANES ? p->inner : LANES;

	kernel_for(k, p->outer * j.per_outer, grain_of(p->dim * width),
		   reduce_range, &j);
}

/* ---- arguments ---- */
struct arg_job {
	const struct kernel *k;
	const struct reduce_plan *p;
	const void *in;
	int64_t *out;
	bool least, last;
};

#define ARG(NAME, T, WIDE)                                                     \
	static int64_t arg_##NAME(const struct arg_job *j, size_t o, size_t i) \
	{                                                                      \
		const struct reduce_plan *p = j->p;                            \
		const T *in = (const T *)j->in + o * p->dim * p->inner + i;    \
		int64_t best = 0;                                              \
		T v = in[0];                                                   \
		for (size_t d = 1; d < p->dim; d++) {                          \
			T x = in[d * p->inner];                                \
			bool better = j->least ? x < v : x > v;                \
			if (v == v &&                                          \
			    (better || x != x || (j->last && x == v))) {       \
				v = x;                                         \
				best = (int64_t)d;                             \
			}                                                      \
		}                                                              \
		return best;                                                   \
	}
NUM_ALL(ARG)

static void arg_range(void *ctx, size_t begin, size_t end)
{
	static int64_t (*const args[NUM_COUNT])(const struct arg_job *, size_t,
						size_t) = {
#define ARG_ENTRY(NAME, T, WIDE) [NUM_##NAME] = arg_##NAME,
		NUM_ALL(ARG_ENTRY)};
	const struct arg_job *j = ctx;

	for (size_t i = begin; i < end; i++)
		j->out[i] =
			args[j->p->type](j, i / j->p->inner, i % j->p->inner);
}

void reduce_arg(const struct kernel *k, bool least, bool last,
		const struct reduce_plan *p, const void *in, int64_t *out)
{
	struct arg_job j = {.k = k,
			    .p = p,
			    .in = in,
			    .out = out,
			    .least = least,
			    .last = last};

	kernel_for(k, p->outer * p->inner, grain_of(p->dim), arg_range, &j);
}

/* ---- running sums ---- */
struct cumulate_job {
	const struct reduce_plan *p;
	enum cumulate op;
	bool exclusive, reverse;
	const void *in;
	void *out;
};

#define CUMULATE(NAME, T, W)                                                \
	static void cumulate_##NAME(const struct cumulate_job *j, size_t o, \
				    size_t i)                               \
	{                                                                   \
		const struct reduce_plan *p = j->p;                         \
		size_t base = o * p->dim * p->inner + i;                    \
		const T *in = (const T *)j->in + base;                      \
		T *out = (T *)j->out + base;                                \
		W acc = j->op == CUMULATE_SUM ? 0 : 1;                      \
		for (size_t n = 0; n < p->dim; n++) {                       \
			size_t d = j->reverse ? p->dim - 1 - n : n;         \
			W x = (W)in[d * p->inner];                          \
			W next = j->op == CUMULATE_SUM ? acc + x : acc * x; \
			out[d * p->inner] = (T)(j->exclusive ? acc : next); \
			acc = next;                                         \
		}                                                           \
	}
NUM_ALL(CUMULATE)

static void cumulate_range(void *ctx, size_t begin, size_t end)
{
	static void (*const fns[NUM_COUNT])(const struct cumulate_job *, size_t,
					    size_t) = {
#define CUMULATE_ENTRY(NAME, T, WIDE) [NUM_##NAME] = cumulate_##NAME,
		NUM_ALL(CUMULATE_ENTRY)};
	const struct cumulate_job *j = ctx;

	for (size_t i = begin; i < end; i++)
		fns[j->p->type](j, i / j->p->inner, i % j->p->inner);
}

void reduce_cumulate(const struct kernel *k, enum cumulate op, bool exclusive,
		     bool reverse, const struct reduce_plan *p, const void *in,
		     void *out)
{
	struct cumulate_job j = {.p = p,
				 .op = op,
				 .exclusive = exclusive,
				 .reverse = reverse,
				 .in = in,
				 .out = out};

	kernel_for(k, p->outer * p->inner, grain_of(p->dim), cumulate_range,
		   &j);
}
