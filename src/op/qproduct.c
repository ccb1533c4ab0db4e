/* SPDX-License-Identifier: MIT */
/*
 * qproduct - MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv.
 *
 * The integers are multiplied as float64, in which every sum of theirs is
 * exact, and which BLAS knows.
 */
#include "kernel/gemm.h"
#include "op/conv.h"
#include "op/impl.h"
#include "op/matmul.h"
#include "op/panels.h"
#include "op/quantize.h"

/*
 * Input i less its zero point, as float64.  A zero point that is no scalar
 * goes along extent `axis`.
 */
static int centred(struct op_call *c, size_t i, size_t zero, int32_t axis,
		   const void **out, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	uint64_t n = op_nelems(c, i), inner, dim;
	const void *x, *z;
	double *y;
	void *p;
	int rc = op_data_as(c, i, DTYPE_F64, &x, e);

	if (rc == 0)
		rc = op_data_as(c, zero, DTYPE_F64, &z, e);
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(double), &p, e);
	if (rc < 0)
		return rc;
	*out = x;
	if (!op_has(c, zero))
		return 0;
	axis = axis < 0 ? axis + s->rank : axis;
	dim = op_nelems(c, zero);
	if (dim != 1 &&
	    (axis < 0 || axis >= s->rank || dim != (uint64_t)s->dims[axis]))
		return op_invalid(c, e, "zero points do not fit");
	inner = dim == 1 ? n : shape_span(s, axis + 1, s->rank);
	y = p;
	for (uint64_t k = 0; k < n; k++)
		y[k] = ((const double *)x)[k] -
		       ((const double *)z)[k / inner % dim];
	*out = p;
	return 0;
}

/* Shape of the product of inputs 0 and b. */
static int product_shape(struct op_call *c, size_t b, bool conv,
			 struct shape *s, struct err *e)
{
	return conv ? conv_shape(c, op_shape(c, 0), op_shape(c, b), s, e)
		    : matmul_shape(c, op_shape(c, 0), op_shape(c, b), s, e);
}

/* ---- B a few columns at a time: sums are exact, however they are cut ---- */
#define COLUMNS 64

/* width columns, of those from `first` on, less their zero points. */
static void centre(const struct panels *p, const double *zero, uint64_t nzero,
		   size_t first, size_t width)
{
	double *v = p->part;

	for (size_t i = 0; zero && i < p->k * width; i++) {
		size_t col = p->by_rows ? i / p->k : i % width;

		v[i] -= zero[nzero == 1 ? 0 : first + col];
	}
}

/* True where input b is a matrix that takes more memory than there is. */
static bool is_too_large(struct op_call *c, size_t b)
{
	uint64_t nbytes;

	return b == 1 && op_shape(c, b)->rank == 2 &&
	       !__builtin_mul_overflow(op_nelems(c, b), sizeof(double),
				       &nbytes) &&
	       !op_has_room(c, b, DTYPE_F64, 0, nbytes);
}

static int product_in_panels(struct op_call *c, const double *a, size_t zero,
			     double *out, struct err *e)
{
	size_t k = (size_t)op_shape(c, 1)->dims[0];
	size_t n = (size_t)op_shape(c, 1)->dims[1], step, width;
	uint64_t nzero = op_nelems(c, zero);
	struct gemm g = {.type = NUM_F64,
			 .m = op_nelems(c, 0) / k,
			 .k = k,
			 .lda = k,
			 .ldc = n,
			 .batch = 1,
			 .alpha = 1};
	const void *z;
	struct panels p;
	int rc = op_data_as(c, zero, DTYPE_F64, &z, e);

	if (rc == 0 && op_has(c, zero) && nzero != 1 && nzero != n)
		return op_invalid(c, e, "zero points do not fit");
	if (rc == 0)
		rc = panels_open(c, k, n, false, DTYPE_F64, &p, e);
	if (rc < 0)
		return rc;
	step = COLUMNS * panels_at_once(&p, COLUMNS, 0, 0);
	step = step < n ? step : n;
	rc = panels_alloc(&p, step, e);
	g.trans_b = p.by_rows;
	for (size_t first = 0; first < n && rc == 0; first += width) {
		width = n - first < step ? n - first : step;
		rc = panels_read(&p, 0, first, width, e);
		if (rc < 0)
			return rc;
		centre(&p, op_has(c, zero) ? z : NULL, nzero, first, width);
		g.n = width;
		g.ldb = p.by_rows ? k : width;
		gemm_run(&c->env->kernel, &g, a, p.part, out + first);
		rc = op_check_stop(c, e);
	}
	return rc;
}

/* The product of inputs 0 and b, whose zero points are za and zb. */
static int product(struct op_call *c, const size_t in[3] /* b, za, zb */,
		   bool conv, void *out, struct err *e)
{
	const struct shape *a = op_shape(c, 0), *b = op_shape(c, in[0]);
	struct matmul mm = {
		.type = NUM_F64, .alpha = 1, .a_shape = a, .b_shape = b};
	struct conv v;
	void *scratch;
	int rc = centred(c, 0, in[1], conv ? -1 : -2, &mm.a, e);

	if (rc == 0 && !conv && is_too_large(c, in[0]))
		return product_in_panels(c, mm.a, in[2], out, e);
	if (rc == 0)
		rc = centred(c, in[0], in[2], conv ? 0 : -1, &mm.b, e);
	if (rc < 0 || !conv)
		return rc < 0 ? rc : matmul_run(c, &mm, out, e);
	rc = conv_plan(c, a, b, &v, e);
	v.type = NUM_F64;
	if (rc == 0)
		rc = op_temp_array(c, conv_scratch(&v), sizeof(double),
				   &scratch, e);
	if (rc == 0)
		conv_run(&c->env->kernel, &v, mm.a, mm.b, NULL, out, scratch);
	return rc;
}

/* ---- MatMulInteger, ConvInteger ---- */
static int infer_integer(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = product_shape(c, 1, c->op->arg, &s, e);

	if (rc == 0)
		op_out(c, 0, DTYPE_I32, &s);
	return rc;
}

static int eval_integer(struct op_call *c, struct err *e)
{
	static const size_t inputs[3] = {1, 2, 3};
	struct shape s;
	void *out;
	int rc = product_shape(c, 1, c->op->arg, &s, e);

	if (rc == 0)
		rc = op_alloc_as(c, 0, DTYPE_I32, DTYPE_F64, &s, &out, e);
	return rc < 0 ? rc : product(c, inputs, c->op->arg, out, e);
}

/* ---- QLinearMatMul, QLinearConv ---- */
/* Inputs: a, scale, zero, b, scale, zero, scale, zero of the result. */
static int infer_qlinear(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = product_shape(c, 3, c->op->arg, &s, e);

	if (rc == 0)
		op_out(c, 0, op_dtype(c, 7), &s);
	return rc;
}

/* A parameter for element i: one, or one along an extent of the result. */
struct along {
	const float *v;
	uint64_t n, inner;
};

static int read_along(struct op_call *c, size_t i, const struct shape *s,
		      int32_t axis, struct along *a, struct err *e)
{
	int rc = op_in_f32(c, i, &a->v, e);

	axis = axis < 0 ? axis + s->rank : axis;
	a->n = op_nelems(c, i);
	a->inner = 1;
	if (rc < 0 || a->n == 1)
		return rc;
	if (axis < 0 || axis >= s->rank || a->n != (uint64_t)s->dims[axis])
		return op_invalid(c, e, "scales do not fit");
	a->inner = shape_span(s, axis + 1, s->rank);
	return 0;
}

static double along_at(const struct along *a, uint64_t i)
{
	return a->v[a->n == 1 ? 0 : i / a->inner % a->n];
}

static int rescale(struct op_call *c, const struct shape *s, double *v,
		   float *out, struct err *e)
{
	bool conv = c->op->arg;
	struct along a, b, bias = {0};
	uint64_t n;
	int rc = read_along(c, 1, s, conv ? -1 : -2, &a, e);

	if (rc == 0)
		rc = read_along(c, 4, s, conv ? 1 : -1, &b, e);
	if (rc == 0 && op_has(c, 8))
		rc = read_along(c, 8, s, 1, &bias, e);
	if (rc == 0)
		rc = op_count(c, s, &n, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		if (bias.v)
			v[i] += along_at(&bias, i);
		out[i] = (float)(v[i] * along_at(&a, i) * along_at(&b, i));
	}
	return rc;
}

static int eval_qlinear(struct op_call *c, struct err *e)
{
	static const size_t inputs[3] = {3, 2, 5};
	struct shape s;
	uint64_t n;
	void *sums, *scaled;
	int rc = product_shape(c, 3, c->op->arg, &s, e);

	if (rc == 0)
		rc = op_count(c, &s, &n, e);
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(double), &sums, e);
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(float), &scaled, e);
	if (rc == 0)
		rc = product(c, inputs, c->op->arg, sums, e);
	if (rc == 0)
		rc = rescale(c, &s, sums, scaled, e);
	return rc < 0 ? rc : quant_output(c, &s, scaled, 6, 7, DTYPE_U8, e);
}

const struct op ops_qproduct[] = {
	{ONNX, "MatMulInteger", 10, 2, 4, 1, 1, OP_LATE_INPUT_1, 0,
	 infer_integer, eval_integer},
	{ONNX, "ConvInteger", 10, 2, 4, 1, 1, 0, 1, infer_integer,
	 eval_integer},
	{ONNX, "QLinearMatMul", 10, 8, 8, 1, 1, 0, 0, infer_qlinear,
	 eval_qlinear},
	{ONNX, "QLinearConv", 10, 8, 9, 1, 1, 0, 1, infer_qlinear,
	 eval_qlinear},
	{0},
};
