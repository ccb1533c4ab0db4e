/* SPDX-License-Identifier: MIT */
#include "kernel/complex.h"

#include <complex.h>
#include <math.h>
#include <string.h>

/* Numbers that are worth handing to another thread. */
#define GRAIN 512

struct work {
	enum complex_op op;
	const double *in;
	double *out;
};

static double complex apply(enum complex_op op, double complex z)
{
	switch (op) {
	case COMPLEX_CONJ:
		return conj(z);
	case COMPLEX_COS:
		return ccos(z);
	case COMPLEX_EXP:
		return cexp(z);
	case COMPLEX_LOG:
		return clog(z);
	case COMPLEX_NEG:
		return -z;
	case COMPLEX_RECIPROCAL:
		return 1 / z;
	case COMPLEX_RSQRT:
		return 1 / csqrt(z);
	case COMPLEX_SIN:
		return csin(z);
	case COMPLEX_SQRT:
		return csqrt(z);
	case COMPLEX_SQUARE:
		return z * z;
	case COMPLEX_TANH:
		return ctanh(z);
	default:
		return z;
	}
}

static double measure(enum complex_op op, double re, double im)
{
	switch (op) {
	case COMPLEX_ABS:
		return hypot(re, im);
	case COMPLEX_ANGLE:
		return atan2(im, re);
	case COMPLEX_IMAG:
		return im;
	default:
		return re;
	}
}

/* Not CMPLX, which clang does not get from glibc. */
static double complex join(double re, double im)
{
	const double parts[2] = {re, im};
	double complex z;

	memcpy(&z, parts, sizeof(z));
	return z;
}

static void run(void *ctx, size_t begin, size_t end)
{
	const struct work *w = ctx;

	for (size_t i = begin; i < end; i++) {
		double re = w->in[2 * i], im = w->in[2 * i + 1];
		double complex z;

		if (w->op >= COMPLEX_ABS) {
			w->out[i] = measure(w->op, re, im);
			continue;
		}
		z = apply(w->op, join(re, im));
		w->out[2 * i] = creal(z);
		w->out[2 * i + 1] = cimag(z);
	}
}

void complex_for(const struct kernel *k, enum complex_op op, const double *in,
		 double *out, size_t n)
{
	struct work w = {op, in, out};

	kernel_for(k, n, GRAIN, run, &w);
}

#define ROW(name, expr)                                                        \
	static void name(const void *const in[], const size_t step[],          \
			 void *out, size_t n, const void *arg)                 \
	{                                                                      \
		const double complex *p = in[0], *q = in[1];                   \
		double complex *o = out;                                       \
                                                                               \
		(void)arg;                                                     \
		for (size_t i = 0; i < n; i++) {                               \
			double complex a = p[i * step[0]], b = q[i * step[1]]; \
                                                                               \
			o[i] = (expr);                                         \
		}                                                              \
	}

ROW(add, a + b)
ROW(divide, a / b)
ROW(multiply, a *b)
ROW(power, cpow(a, b))
ROW(subtract, a - b)

stride_fn *complex_find(enum complex_op op)
{
	switch (op) {
	case COMPLEX_ADD:
		return add;
	case COMPLEX_DIV:
		return divide;
	case COMPLEX_MUL:
		return multiply;
	case COMPLEX_POW:
		return power;
	case COMPLEX_SUB:
		return subtract;
	default:
		return NULL;
	}
}
