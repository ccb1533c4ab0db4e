/* SPDX-License-Identifier: MIT */
/*
 * Elementwise kernels: every operation and type on every pair of awkward
 * numbers; broadcasting, reductions and sorting against plain loops.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/binary.h"
#include "kernel/convert.h"
#include "kernel/copy.h"
#include "kernel/reduce.h"
#include "kernel/sort.h"
#include "kernel/strip.h"
#include "kernel/unary.h"

#include "../unit/check.h"
#include "naive.h"

static const int64_t odd[] = {0,	 1,	    -1,	       2,
			      -3,	 127,	    -128,      255,
			      INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX};
#define NODD (sizeof(odd) / sizeof(odd[0]))

/* What the header promises, in 128 bits, cut to the type afterwards. */
static int64_t naive_binary(enum binary op, __int128 x, __int128 y)
{
	switch (op) {
	case BINARY_ADD:
		return (int64_t)(x + y);
	case BINARY_SUB:
		return (int64_t)(x - y);
	case BINARY_MUL:
		return (int64_t)(uint64_t)((unsigned __int128)x *
					   (unsigned __int128)y);
	case BINARY_DIV:
		return y == 0 ? 0 : (int64_t)(x / y);
	case BINARY_FMOD:
		return y == 0 ? 0 : (int64_t)(x % y);
	case BINARY_MOD:
		return y == 0 ? 0 : (int64_t)((x % y + y) % y);
	case BINARY_MAX:
		return (int64_t)(x > y ? x : y);
	default:
		return (int64_t)(x < y ? x : y);
	}
}

#define CHECK_INTS(NAME, T)                                                    \
	static void ints_##NAME(void)                                          \
	{                                                                      \
		static const size_t step[2] = {1, 1};                          \
		for (int op = BINARY_ADD; op <= BINARY_MIN; op++) {            \
			if (op == BINARY_POW)                                  \
				continue;                                      \
			for (size_t i = 0; i < NODD * NODD; i++) {             \
				T x = (T)odd[i / NODD], y = (T)odd[i % NODD];  \
				T got, want = (T)naive_binary((enum binary)op, \
							      x, y);           \
				const void *in[2] = {&x, &y};                  \
				binary_find((enum binary)op, NUM_##NAME)(      \
					in, step, &got, 1, NULL);              \
				CHECK(got == want);                            \
			}                                                      \
		}                                                              \
	}
CHECK_INTS(U8, uint8_t)
CHECK_INTS(I8, int8_t)
CHECK_INTS(U16, uint16_t)
CHECK_INTS(I16, int16_t)
CHECK_INTS(U32, uint32_t)
CHECK_INTS(I32, int32_t)
CHECK_INTS(U64, uint64_t)
CHECK_INTS(I64, int64_t)

TEST(integers_wrap_and_never_trap)
{
	ints_U8();
	ints_I8();
	ints_U16();
	ints_I16();
	ints_U32();
	ints_I32();
	ints_U64();
	ints_I64();
}

TEST(floats_become_integers)
{
	double in[] = {NAN, INFINITY, -INFINITY, 1e300, -1e300, 3.9, -3.9};
	int32_t out[7];
	uint8_t bytes[7];

	convert_nums(NUM_F64, in, NUM_I32, out, 7);
	convert_nums(NUM_F64, in, NUM_U8, bytes, 7);
	for (int i = 0; i < 5; i++)
		CHECK_INT(out[i], 0);
	CHECK_INT(out[5], 3);
	CHECK_INT(out[6], -3);
	CHECK_INT(bytes[6], 253);
}

/* Up to 4 extents, each input repeating some of them. */
TEST(broadcasting)
{
	uint32_t seed = 1;

	for (int round = 0; round < 300; round++) {
		struct stride_plan p = {.rank = naive_next(&seed) % 5,
					.nin = 2,
					.in_size = {4, 4},
					.out_size = 4},
				   q;
		size_t size[2] = {1, 1}, n = 1, wrong = 0;
		float *v[2], *out;

		for (size_t d = p.rank; d-- > 0;) {
			p.dims[d] = naive_next(&seed) % 5 + 1;
			n *= p.dims[d];
			for (int i = 0; i < 2; i++) {
				if (naive_next(&seed) % 3 == 0)
					continue;
				p.step[i][d] = size[i];
				size[i] *= p.dims[d];
			}
		}
		v[0] = naive_floats(size[0], seed);
		v[1] = naive_floats(size[1], seed + 1);
		out = calloc(n, sizeof(*out));
		q = p;
		stride_collapse(&q);
		stride_for(&(struct kernel){0}, &q,
			   (const void *[]){v[0], v[1]}, out,
			   binary_find(BINARY_SUB, NUM_F32), NULL);
		for (size_t k = 0; k < n; k++) {
			size_t at[2] = {0, 0}, rest = k;

			for (size_t d = p.rank; d-- > 0;) {
				at[0] += rest % p.dims[d] * p.step[0][d];
				at[1] += rest % p.dims[d] * p.step[1][d];
				rest /= p.dims[d];
			}
			wrong += out[k] != v[0][at[0]] - v[1][at[1]];
		}
		CHECK_INT(wrong, 0);
		free(v[0]);
		free(v[1]);
		free(out);
	}
}

static void from_ints(const void *from, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((float *)to)[i] = ((const int16_t *)from)[i];
}

static void to_ints(const void *from, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((int16_t *)to)[i] = (int16_t)lrintf(((const float *)from)[i]);
}

static void to_whole(const void *from, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((float *)to)[i] = nearbyintf(((const float *)from)[i]);
}

/* row - (x / column + row), a short integer after each step. */
TEST(strips)
{
	enum { ROWS = 37, COLS = 301, N = ROWS * COLS };
	static int16_t x[N], column[ROWS], row[COLS], out[N];
	struct strip_step s[3];
	size_t wrong = 0;

	for (int i = 0; i < N; i++)
		x[i] = (int16_t)(i * 31 % 1000 - 500);
	for (int i = 0; i < ROWS; i++)
		column[i] = (int16_t)(i % 4 + 1);
	for (int i = 0; i < COLS; i++)
		row[i] = (int16_t)(i * 3);
	for (int i = 0; i < 3; i++) {
		s[i] = (struct strip_step){
			.flow = (size_t)(i - 1),
			.plan = {.rank = 2,
				 .nin = 2,
				 .dims = {ROWS, COLS},
				 .in_size = {4, 4},
				 .out_size = 4},
			.store = to_ints,
			.round = to_whole,
			.stored_size = 2,
		};
		for (int k = 0; k < 2; k++)
			s[i].in[k] = (struct strip_input){row, 2, from_ints};
	}
	s[0].flow = STRIP_ALONE;
	s[0].fn = binary_find(BINARY_DIV, NUM_F32);
	s[1].fn = binary_find(BINARY_ADD, NUM_F32);
	s[2].fn = binary_find(BINARY_SUB, NUM_F32);
	s[0].in[0].p = x;
	s[0].in[1].p = column;
	s[0].plan.step[0][0] = s[1].plan.step[0][0] = COLS;
	s[2].plan.step[1][0] = COLS;
	s[0].plan.step[0][1] = s[1].plan.step[0][1] = 1;
	s[1].plan.step[1][1] = s[2].plan.step[0][1] = 1;
	s[2].plan.step[1][1] = s[0].plan.step[1][0] = 1;
	strip_run(&(struct kernel){0}, s, 3, N, out);
	for (int i = 0; i < N; i++) {
		float part = (float)x[i] / (float)column[i / COLS];

		wrong += out[i] != -(int)lrintf(part);
	}
	CHECK_INT(wrong, 0);
}

static double naive_reduce(enum reduce op, const float *v, size_t dim,
			   size_t inner)
{
	double sum = 0, squares = 0, prod = 1, l1 = 0, e = 0;
	double max = -INFINITY, min = INFINITY;

	for (size_t d = 0; d < dim; d++) {
		double x = (double)v[d * inner];

		sum += x;
		squares += x * x;
		prod *= x;
		l1 += fabs(x);
		e += exp(x);
		max = fmax(max, x);
		min = fmin(min, x);
	}
	switch (op) {
	case REDUCE_SUM:
		return sum;
	case REDUCE_MEAN:
		return sum / (double)dim;
	case REDUCE_PROD:
		return prod;
	case REDUCE_MAX:
		return max;
	case REDUCE_MIN:
		return min;
	case REDUCE_L1:
		return l1;
	case REDUCE_L2:
		return sqrt(squares);
	case REDUCE_SUM_SQUARE:
		return squares;
	case REDUCE_LOG_SUM:
		return log(sum);
	default:
		return log(e);
	}
}

TEST(reductions)
{
	static const size_t dims[][3] = {
		{1, 1, 1}, {3, 7, 1}, {2, 5, 130}, {1, 1000, 3}};

	for (size_t s = 0; s < 4; s++) {
		for (int op = 0; op < REDUCE_COUNT; op++) {
			struct reduce_plan p = {NUM_F32, dims[s][0], dims[s][1],
						dims[s][2]};
			size_t n = p.outer * p.inner;
			float *x = naive_floats(n * p.dim, 5);
			float *y = malloc(n * sizeof(*y));
			double *want = malloc(n * sizeof(*want));

			for (size_t i = 0; i < n * p.dim; i++)
				x[i] = fabsf(x[i]); /* for the logarithm */
			for (size_t i = 0; i < n; i++)
				want[i] = naive_reduce(
					(enum reduce)op,
					x + i / p.inner * p.dim * p.inner +
						i % p.inner,
					p.dim, p.inner);
			reduce_run(&(struct kernel){0}, (enum reduce)op, &p, x,
				   y);
			CHECK_INT(naive_differ(y, want, n, 4), 0);
			free(x);
			free(y);
			free(want);
		}
	}
}

TEST(sorting_is_stable)
{
	for (size_t n = 0; n < 70; n++) {
		uint32_t seed = (uint32_t)n + 1;
		int32_t v[70] = {0};
		int64_t idx[70], tmp[70];

		for (size_t i = 0; i < n; i++) {
			v[i] = (int32_t)(naive_next(&seed) % 9);
			idx[i] = (int64_t)i;
		}
		sort_indices(&(struct kernel){0}, NUM_I32, v, 1, n % 2, idx,
			     tmp, n);
		for (size_t i = 1; i < n; i++) {
			int32_t a = v[idx[i - 1]], b = v[idx[i]];

			CHECK(n % 2 ? a >= b : a <= b);
			CHECK(a != b || idx[i - 1] < idx[i]);
		}
	}
}

TEST(functions)
{
	static const struct {
		enum unary op;
		double x, want;
	} cases[] = {
		{UNARY_ROUND, 2.5, 2},
		{UNARY_ROUND, -1.5, -2},
		{UNARY_SIGMOID, -1000, 0},
		{UNARY_SIGMOID, 1000, 1},
		{UNARY_SOFTPLUS, 1000, 1000},
		{UNARY_SOFTPLUS, -1000, 0},
		{UNARY_GELU, 0, 0},
		{UNARY_RELU, -3, 0},
		{UNARY_MISH, 0, 0},
		{UNARY_SIGN, -7, -1},
		{UNARY_ERF, 1, 0.8427007929497148},
		{UNARY_HARD_SWISH, 4, 4},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		float x = (float)cases[i].x, y = 99;

		unary_for(&(struct kernel){0}, cases[i].op, NUM_F32, NULL, &x,
			  &y, 1);
		CHECK(fabs((double)y - cases[i].want) < 1e-6);
	}
}

/* Every order of four extents, of elements of four and of two bytes. */
static void check_order(const size_t dims[4], const size_t order[4],
			size_t size)
{
	size_t steps[4] = {dims[1] * dims[2] * dims[3], dims[2] * dims[3],
			   dims[3], 1};
	size_t n = dims[0] * steps[0], wrong = 0;
	struct copy_plan p = {.rank = 4, .size = size};
	char *in = malloc(n * size), *out = malloc(n * size);

	for (size_t i = 0; i < n * size; i++)
		in[i] = (char)(i * 7 % 251);
	for (size_t d = 4, to = 1; d-- > 0;) {
		p.dims[d] = dims[order[d]];
		p.from[d] = (ptrdiff_t)steps[order[d]];
		p.to[d] = (ptrdiff_t)to;
		to *= p.dims[d];
	}
	copy_strided(&(struct kernel){0}, &p, in, out);
	for (size_t i = 0; i < n; i++) {
		size_t rest = i, at = 0;

		for (size_t d = 4; d-- > 0;) {
			at += rest % p.dims[d] * steps[order[d]];
			rest /= p.dims[d];
		}
		wrong += memcmp(out + i * size, in + at * size, size) != 0;
	}
	CHECK_INT(wrong, 0);
	free(in);
	free(out);
}

TEST(extents_in_any_order)
{
	static const size_t dims[][4] = {
		{2, 3, 5, 7}, {1, 20, 6, 70}, {3, 17, 1, 130}, {5, 4, 33, 4}};

	for (size_t i = 0; i < 4 * 256; i++) {
		size_t order[4] = {i >> 6 & 3, i >> 4 & 3, i >> 2 & 3, i & 3};
		unsigned seen = 1u << order[0] | 1u << order[1] |
				1u << order[2] | 1u << order[3];

		if (seen != 15)
			continue;
		check_order(dims[i >> 8], order, 4);
		check_order(dims[i >> 8], order, 2);
	}
}

int main(void)
{
	RUN(integers_wrap_and_never_trap);
	RUN(floats_become_integers);
	RUN(broadcasting);
	RUN(strips);
	RUN(reductions);
	RUN(sorting_is_stable);
	RUN(functions);
	RUN(extents_in_any_order);
	return check_result();
}
