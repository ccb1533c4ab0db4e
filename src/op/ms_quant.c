/* SPDX-License-Identifier: MIT */
/*
 * ms_quant - com.microsoft: operators on quantised tensors.  They are computed
 * on the numbers the bytes stand for, and quantised again.
 */
#include <math.h>

#include "kernel/copy.h"
#include "kernel/gemm.h"
#include "kernel/norm.h"
#include "kernel/pooling.h"
#include "kernel/reduce.h"
#include "op/delegate.h"
#include "op/impl.h"
#include "op/matmul.h"
#include "op/quantize.h"
#include "op/reduce.h"
#include "op/window.h"

/* Floats of scratch memory for a result of this shape. */
static int result(struct op_call *c, const struct shape *s, float **out,
		  struct err *e)
{
	uint64_t n;
	void *p = NULL;
	int rc = op_count(c, s, &n, e);

	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(float), &p, e);
	*out = p;
	return rc;
}

/* ---- QLinearConcat: scale, zero point of the result, then triples ---- */
static int eval_concat(struct op_call *c, struct err *e)
{
	size_t n = c->nin > 2 ? (c->nin - 2) / 3 : 0, at = 0, pitch;
	struct shape s;
	float *y = NULL;
	int32_t axis;
	int rc;

	if (n == 0 || c->nin != 2 + 3 * n || !op_has(c, 2))
		return op_invalid(c, e, "%zu inputs", c->nin);
	s = *op_shape(c, 2);
	rc = op_axis(c, op_attr_int(c, "axis", 0), s.rank, &axis, e);
	if (rc < 0)
		return rc;
	s.dims[axis] = 0;
	for (size_t i = 0; i < n; i++) {
		struct shape one = *op_shape(c, 2 + 3 * i);

		if (one.rank != s.rank)
			return op_invalid(c, e, "input %zu does not fit", i);
		rc = op_add(c, s.dims[axis], one.dims[axis], &s.dims[axis], e);
		if (rc < 0)
			return rc;
		one.dims[axis] = s.dims[axis];
		if (!shape_equal(&one, &s))
			return op_invalid(c, e, "input %zu does not fit", i);
	}
	rc = result(c, &s, &y, e);
	pitch = rc == 0 ? shape_span(&s, axis, s.rank) : 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		size_t width = shape_span(op_shape(c, 2 + 3 * i), axis, s.rank);
		struct copy_plan p = {
			.rank = 2,
			.size = sizeof(float),
			.dims = {shape_span(&s, 0, axis), width},
			.from = {(ptrdiff_t)width, 1},
			.to = {(ptrdiff_t)pitch, 1},
		};
		const float *x;

		rc = quant_input(c, 2 + 3 * i, &x, e);
		if (rc == 0)
			copy_strided(&c->env->kernel, &p, x, y + at);
		at += width;
	}
	return rc < 0 ? rc : quant_output(c, &s, y, 0, 1, op_dtype(c, 2), e);
}

/* ---- QLinearGlobalAveragePool ---- */
static int eval_global_average(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	bool last = op_attr_int(c, "channels_last", 0) != 0;
	struct reduce_plan p = {.type = NUM_F32};
	struct shape s = *in;
	const float *x;
	float *y = NULL;
	int rc = op_need_rank(c, 0, 3, SHAPE_RANK_MAX, e);

	if (rc == 0)
		rc = quant_input(c, 0, &x, e);
	if (rc < 0)
		return rc;
	for (int32_t i = last ? 1 : 2; i < s.rank - last; i++)
		s.dims[i] = 1;
	p.outer = shape_span(in, 0, last ? 1 : 2);
	p.dim = shape_span(in, last ? 1 : 2, in->rank - last);
	p.inner = last ? (size_t)in->dims[in->rank - 1] : 1;
	rc = result(c, &s, &y, e);
	if (rc < 0)
		return rc;
	reduce_run(&c->env->kernel, REDUCE_MEAN, &p, x, y);
	return quant_output(c, &s, y, 3, 4, c->in[0].dtype, e);
}

/* ---- QLinearAveragePool ---- */
static int eval_average_last(struct op_call *c, struct err *e);

/* op.arg: channels come second, whatever the node says. */
static int eval_average(struct op_call *c, struct err *e)
{
	struct pooling_plan v = {
		.kind = POOLING_AVERAGE,
		.type = NUM_F32,
		.count_pad = op_attr_int(c, "count_include_pad", 0) != 0,
	};
	const struct shape *in = op_shape(c, 0);
	struct shape s = *in;
	struct spatial sp;
	const float *x;
	float *y = NULL;
	int rc = op_need_rank(c, 0, 3, 5, e);

	if (rc == 0 && !c->op->arg && op_attr_int(c, "channels_last", 0))
		return eval_average_last(c, e);
	if (rc == 0)
		rc = spatial_read(c, in->rank - 2, NULL, &sp, e);
	if (rc == 0 && sp.kernel[0] == DIM_UNKNOWN)
		return op_invalid(c, e, "no kernel_shape");
	if (rc == 0)
		rc = spatial_out(c, &sp, in->dims + 2,
				 op_attr_int(c, "ceil_mode", 0) != 0,
				 s.dims + 2, e);
	if (rc == 0)
		rc = quant_input(c, 0, &x, e);
	if (rc == 0)
		rc = result(c, &s, &y, e);
	if (rc < 0)
		return rc;
	spatial_window(&sp, in->dims + 2, s.dims + 2, &v.w);
	for (int32_t i = 0; i < sp.n; i++)
		v.pad_end[3 - sp.n + i] = (ptrdiff_t)sp.end[i];
	pooling_run(&c->env->kernel, &v, shape_span(in, 0, 2), x, y, NULL);
	return quant_output(c, &s, y, 3, 4, c->in[0].dtype, e);
}

static int eval_average_last(struct op_call *c, struct err *e)
{
	static const struct op average = {
		MICROSOFT, "QLinearAveragePool", 1, 4, 5, 1, 1, 0, 1,
		NULL,	   eval_average};
	struct tensor in[5], y = {0}, out = {0};
	struct op_call inner = *c;
	int rc;

	memcpy(in, c->in, c->nin * sizeof(*in));
	rc = op_channels_first(c, &c->in[0], &in[0], e);
	if (rc < 0)
		return rc;
	inner.op = &average;
	inner.in = in;
	inner.out = &y;
	rc = op_eval(&inner, e);
	if (rc == 0)
		rc = op_channels_last(c, &y, &out, e);
	if (rc == 0)
		rc = op_give(c, 0, &out, e);
	tensor_drop(&in[0]);
	tensor_drop(&y);
	tensor_drop(&out);
	return rc;
}

/* ---- QLinearSoftmax ---- */
static int eval_softmax(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	bool flatten = op_attr_int(c, "opset", 13) < 13;
	struct softmax_plan p = {.kind = SOFTMAX, .type = NUM_F32};
	const float *x;
	float *y = NULL;
	int32_t axis;
	int rc = op_axis(c, op_attr_int(c, "axis", -1), s->rank, &axis, e);

	if (rc == 0)
		rc = quant_input(c, 0, &x, e);
	if (rc == 0)
		rc = result(c, s, &y, e);
	if (rc < 0)
		return rc;
	p.outer = shape_span(s, 0, axis);
	p.dim = shape_span(s, axis, flatten ? s->rank : axis + 1);
	p.inner = flatten ? 1 : shape_span(s, axis + 1, s->rank);
	norm_softmax(&c->env->kernel, &p, x, y);
	return quant_output(c, s, y, 3, 4, c->in[0].dtype, e);
}

/* ---- QGemm: A, B and their parameters, C, those of the result ---- */
/* Adds C, int32 in steps of both scales, to every row. */
static int add_ints(struct op_call *c, float *y, size_t m, size_t n,
		    struct err *e)
{
	uint64_t count = op_nelems(c, 6), scales = op_nelems(c, 4);
	float alpha = op_attr_float(c, "alpha", 1);
	const float *bias, *a, *b;
	int rc = op_in_f32(c, 6, &bias, e);

	if (rc == 0)
		rc = op_in_f32(c, 1, &a, e);
	if (rc == 0)
		rc = op_in_f32(c, 4, &b, e);
	if (rc < 0 || !bias)
		return rc;
	if ((count != 1 && count != n && count != m * n) ||
	    (scales != 1 && scales != n) || op_nelems(c, 1) != 1)
		return op_invalid(c, e, "C does not fit");
	for (size_t i = 0; i < m * n; i++) {
		size_t k = count == 1 ? 0 : count == n ? i % n : i;

		y[i] += alpha * a[0] * b[scales == 1 ? 0 : i % n] * bias[k];
	}
	return 0;
}

/* Input i less its zero point, times its scale; B may have one a column. */
static int scaled(struct op_call *c, size_t i, bool trans, const float **out,
		  struct err *e)
{
	const struct shape *s = op_shape(c, i);
	uint64_t n = op_nelems(c, i), nscale = op_nelems(c, i + 1);
	uint64_t nzero = op_nelems(c, i + 2), cols;
	const float *x, *scale, *zero;
	float *y = NULL;
	int rc = op_in_f32(c, i, &x, e);

	cols = s->rank == 2 ? (uint64_t)s->dims[!trans] : 1;
	if (rc == 0 && ((nscale != 1 && nscale != cols) ||
			(op_has(c, i + 2) && nzero != 1 && nzero != cols)))
		return op_invalid(c, e, "scales do not fit");
	if (rc == 0)
		rc = op_in_f32(c, i + 1, &scale, e);
	if (rc == 0)
		rc = op_in_f32(c, i + 2, &zero, e);
	if (rc == 0)
		rc = result(c, s, &y, e);
	for (uint64_t k = 0; rc == 0 && k < n; k++) {
		uint64_t col = trans ? k / (uint64_t)s->dims[1] : k % cols;

		y[k] = (x[k] - (zero ? zero[nzero == 1 ? 0 : col] : 0)) *
		       scale[nscale == 1 ? 0 : col];
	}
	*out = y;
	return rc;
}

static int eval_gemm(struct op_call *c, struct err *e)
{
	struct gemm g = {.type = NUM_F32,
			 .batch = 1,
			 .trans_a = op_attr_int(c, "transA", 0),
			 .trans_b = op_attr_int(c, "transB", 0),
			 .alpha = op_attr_float(c, "alpha", 1)};
	const struct shape *a = op_shape(c, 0), *b = op_shape(c, 3);
	const float *pa, *pb;
	float *y = NULL;
	struct shape s;
	void *out;
	int rc = op_need_rank(c, 0, 2, 2, e);

	if (rc == 0)
		rc = op_need_rank(c, 3, 2, 2, e);
	if (rc == 0 && a->dims[!g.trans_a] != b->dims[g.trans_b])
		return op_invalid(c, e, "A and B differ");
	if (rc == 0)
		rc = scaled(c, 0, false, &pa, e);
	if (rc == 0)
		rc = scaled(c, 3, g.trans_b, &pb, e);
	if (rc < 0)
		return rc;
	g.m = (size_t)a->dims[g.trans_a];
	g.k = (size_t)a->dims[!g.trans_a];
	g.n = g.ldc = (size_t)b->dims[!g.trans_b];
	g.lda = (size_t)a->dims[1];
	g.ldb = (size_t)b->dims[1];
	if (!gemm_fits(&g))
		return op_unsupported(c, e, "matrices of this size");
	s = shape_of(2, (int64_t[]){(int64_t)g.m, (int64_t)g.n});
	rc = result(c, &s, &y, e);
	if (rc < 0)
		return rc;
	gemm_run(&c->env->kernel, &g, pa, pb, y);
	rc = add_ints(c, y, g.m, g.n, e);
	if (rc == 0 && op_has(c, 7))
		return quant_output(c, &s, y, 7, 8, c->in[0].dtype, e);
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_F32, &s, &out, e);
	if (rc == 0 && g.m * g.n > 0)
		memcpy(out, y, g.m * g.n * sizeof(*y));
	return rc;
}

/* ---- MatMulIntegerToFloat, DynamicQuantizeMatMul ---- */
/* Input i as numbers, with its scale and zero point in other inputs. */
static int numbers(struct op_call *c, const size_t in[3], const float **out,
		   struct err *e)
{
	const struct shape *s = op_shape(c, in[0]);
	uint64_t nscale = op_nelems(c, in[1]), nzero = op_nelems(c, in[2]);
	uint64_t cols = s->rank > 0 ? (uint64_t)s->dims[s->rank - 1] : 1;
	const float *x, *scale, *zero;
	float *y = NULL;
	int rc = op_in_f32(c, in[0], &x, e);

	if (rc == 0 && ((nscale != 1 && nscale != cols) ||
			(op_has(c, in[2]) && nzero != 1 && nzero != cols)))
		return op_unsupported(c, e, "scales of this form");
	if (rc == 0)
		rc = op_in_f32(c, in[1], &scale, e);
	if (rc == 0)
		rc = op_in_f32(c, in[2], &zero, e);
	if (rc == 0)
		rc = result(c, s, &y, e);
	for (uint64_t k = 0; rc == 0 && k < op_nelems(c, in[0]); k++)
		y[k] = (x[k] - (zero ? zero[nzero == 1 ? 0 : k % cols] : 0)) *
		       scale[nscale == 1 ? 0 : k % cols];
	*out = y;
	return rc;
}

/* The numbers that quantising x to bytes and back leaves. */
static int rounded(struct op_call *c, const float **out, struct err *e)
{
	struct quant_plan p = {
		.outer = 1, .dim = 1, .single = true, .round = true, .hi = 255};
	float scale, zero, *y = NULL;
	const float *x;
	int rc = op_in_f32(c, 0, &x, e);

	if (rc == 0)
		rc = result(c, op_shape(c, 0), &y, e);
	if (rc < 0)
		return rc;
	quant_dynamic(x, op_nelems(c, 0), &scale, &zero);
	p.inner = op_nelems(c, 0);
	p.scale = &scale;
	p.zero = &zero;
	quant_to(&c->env->kernel, &p, x, y);
	quant_from(&c->env->kernel, &p, y, y);
	*out = y;
	return 0;
}

static int eval_to_float(struct op_call *c, struct err *e)
{
	bool dynamic = c->op->arg;
	size_t bias = dynamic ? 4 : 6;
	struct matmul mm = {.type = NUM_F32,
			    .alpha = 1,
			    .a_shape = op_shape(c, 0),
			    .b_shape = op_shape(c, 1)};
	const float *a, *b, *add;
	struct shape s;
	void *out;
	int rc = matmul_shape(c, mm.a_shape, mm.b_shape, &s, e);

	if (rc == 0)
		rc = dynamic ? rounded(c, &a, e)
			     : numbers(c, (size_t[]){0, 2, 4}, &a, e);
	if (rc == 0)
		rc = numbers(
			c, dynamic ? (size_t[]){1, 2, 3} : (size_t[]){1, 3, 5},
			&b, e);
	if (rc == 0)
		rc = op_in_f32(c, bias, &add, e);
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_F32, &s, &out, e);
	if (rc < 0)
		return rc;
	mm.a = a;
	mm.b = b;
	rc = matmul_run(c, &mm, out, e);
	if (rc == 0 && add && s.rank > 0) {
		uint64_t cols = (uint64_t)s.dims[s.rank - 1];
		uint64_t n = shape_span(&s, 0, s.rank);

		if (op_nelems(c, bias) != cols)
			return op_invalid(c, e, "the bias does not fit");
		for (uint64_t i = 0; i < n; i++)
			((float *)out)[i] += add[i % cols];
	}
	return rc;
}

#define MS(type, in, in_max, arg, eval)                                  \
	{                                                                \
		MICROSOFT, type, 1, in, in_max, 1, 1, 0, arg, NULL, eval \
	}

const struct op ops_ms_quant[] = {
	MS("QLinearConcat", 5, OP_VARIADIC, 0, eval_concat),
	MS("QLinearGlobalAveragePool", 5, 5, 0, eval_global_average),
	MS("QLinearAveragePool", 4, 5, 0, eval_average),
	MS("QLinearSoftmax", 5, 5, 0, eval_softmax),
	MS("QGemm", 6, 9, 0, eval_gemm),
	MS("MatMulIntegerToFloat", 4, 7, 0, eval_to_float),
	MS("DynamicQuantizeMatMul", 3, 5, 1, eval_to_float),
	{0},
};
