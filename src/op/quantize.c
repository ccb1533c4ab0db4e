/* SPDX-License-Identifier: MIT */
/* quantize - QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear. */
#include "op/quantize.h"

#include <math.h>

#include "kernel/fast.h"
#include "op/derived.h"
#include "op/impl.h"

int quant_range(struct op_call *c, enum dtype t, struct quant_plan *p,
		struct err *e)
{
	static const struct {
		enum dtype t;
		float lo, hi;
	} ranges[] = {
		{DTYPE_U8, 0, 255},
		{DTYPE_I8, -128, 127},
		{DTYPE_U16, 0, 65535},
		{DTYPE_I16, -32768, 32767},
		{DTYPE_U4, 0, 15},
		{DTYPE_I4, -8, 7},
		{DTYPE_U2, 0, 3},
		{DTYPE_I2, -2, 1},
		{DTYPE_I32, -0x1p31f, 0x1p31f - 128},
	};

	p->round = false;
	if (op_is_float(t))
		return 0;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (ranges[i].t != t)
			continue;
		p->round = true;
		p->lo = ranges[i].lo;
		p->hi = ranges[i].hi;
		return 0;
	}
	return op_unsupported(c, e, "this quantised type");
}

/* One parameter for each place of an axis, or for blocks of it. */
static int along_axis(struct op_call *c, const struct shape *s,
		      const struct shape *params, struct quant_plan *p,
		      struct err *e)
{
	int64_t block = op_attr_int(c, "block_size", 0), dim;
	int32_t axis;
	int rc = op_axis(c, op_attr_int(c, "axis", 1), s->rank, &axis, e);

	if (rc < 0)
		return rc;
	dim = s->dims[axis];
	p->outer = shape_span(s, 0, axis);
	p->dim = (size_t)dim;
	p->inner = shape_span(s, axis + 1, s->rank);
	p->single = false;
	if (params->rank == 1 && params->dims[0] == dim && block == 0)
		return 0;
	if (params->rank != s->rank || block < 0)
		return op_invalid(c, e, "scales do not fit");
	for (int32_t i = 0; i < s->rank; i++) {
		int64_t n = params->dims[i];

		if (i != axis && n != s->dims[i])
			return op_invalid(c, e, "scales do not fit");
		if (i == axis && block == 0 && n > 0)
			block = (dim + n - 1) / n;
		if (i == axis &&
		    (block == 0 || n != dim / block + (dim % block != 0)))
			return op_invalid(c, e, "blocks do not fit");
	}
	p->block = (size_t)block;
	return 0;
}

int quant_read(struct op_call *c, const struct shape *s, size_t scale,
	       size_t zero, struct quant_plan *p, struct err *e)
{
	const struct shape *params = op_shape(c, scale);
	uint64_t n;
	int rc = op_count(c, s, &n, e);

	memset(p, 0, sizeof(*p));
	p->single = op_nelems(c, scale) == 1 && params->rank <= 1;
	p->outer = 1;
	p->dim = 1;
	p->inner = n;
	if (rc == 0 && !p->single)
		rc = along_axis(c, s, params, p, e);
	if (rc == 0 && op_has(c, zero) &&
	    op_nelems(c, zero) != op_nelems(c, scale))
		return op_invalid(c, e, "zero points do not fit");
	if (rc == 0)
		rc = op_in_f32(c, scale, &p->scale, e);
	if (rc == 0)
		rc = op_in_f32(c, zero, &p->zero, e);
	return rc;
}

int quant_input(struct op_call *c, size_t i, const float **out, struct err *e)
{
	struct quant_plan p;
	const float *x;
	void *y;
	int rc = quant_read(c, op_shape(c, i), i + 1, i + 2, &p, e);

	if (rc == 0)
		rc = op_in_f32(c, i, &x, e);
	if (rc == 0)
		rc = op_temp_array(c, op_nelems(c, i), sizeof(float), &y, e);
	if (rc < 0)
		return rc;
	quant_from(&c->env->kernel, &p, x, y);
	*out = y;
	return 0;
}

int quant_output(struct op_call *c, const struct shape *s, const float *v,
		 size_t scale, size_t zero, enum dtype t, struct err *e)
{
	bool saturate = op_attr_int(c, "saturate", 1) != 0;
	struct quant_plan p;
	uint64_t n;
	void *y, *out;
	int rc = quant_read(c, s, scale, zero, &p, e);

	if (op_has(c, zero))
		t = op_dtype(c, zero);
	if (rc == 0)
		rc = quant_range(c, t, &p, e);
	if (rc == 0)
		rc = op_count(c, s, &n, e);
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(float), &y, e);
	if (rc == 0)
		rc = op_alloc(c, 0, t, s, &out, e);
	if (rc < 0)
		return rc;
	quant_to(&c->env->kernel, &p, v, y);
	if (op_convert(&c->env->kernel, DTYPE_F32, y, t, out, n, saturate) < 0)
		return op_unsupported(c, e, "this quantised type");
	return 0;
}

/* ---- QuantizeLinear ---- */
static enum dtype quantized_type(const struct op_call *c)
{
	if (op_has(c, 2))
		return op_dtype(c, 2);
	if (op_attr_int(c, "output_dtype", 0))
		return dtype_by_onnx(op_attr_int(c, "output_dtype", 0));
	return DTYPE_U8;
}

static int infer_quantize(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, quantized_type(c), op_shape(c, 0));
	return 0;
}

static int eval_quantize(struct op_call *c, struct err *e)
{
	const float *x;
	int rc = op_in_f32(c, 0, &x, e);

	return rc < 0 ? rc
		      : quant_output(c, op_shape(c, 0), x, 1, 2,
				     quantized_type(c), e);
}

/* One scale for all. */
static bool has_one_scale(const struct op_call *c)
{
	return op_shape(c, 1)->rank >= 0 && op_shape(c, 1)->rank <= 1 &&
	       op_nelems(c, 1) == 1 && c->in[1].dtype == DTYPE_F32;
}

static int read_quantum(struct op_call *c, struct quantum *q, struct err *e)
{
	const float *scale, *zero;
	int rc = op_in_f32(c, 1, &scale, e);

	if (rc == 0)
		rc = op_in_f32(c, 2, &zero, e);
	if (rc < 0)
		return rc;
	*q = quantum_of(*scale, zero ? *zero : 0);
	return 0;
}

static int join_quantize(struct op_call *c, size_t flow, struct finish *f,
			 struct err *e)
{
	struct quant_plan p;
	int rc;

	if (flow != 0 || c->in[0].dtype != DTYPE_F32 || !has_one_scale(c) ||
	    quant_range(c, quantized_type(c), &p, NULL) < 0 || !p.round)
		return 0;
	if (!f)
		return OP_STAGE_QUANTIZE;
	rc = read_quantum(c, &f->to, e);
	f->requantise = true;
	f->to.lo = p.lo;
	f->to.hi = p.hi;
	return rc;
}

/* ---- DequantizeLinear ---- */
static enum dtype dequantized_type(const struct op_call *c)
{
	if (op_attr_int(c, "output_dtype", 0))
		return dtype_by_onnx(op_attr_int(c, "output_dtype", 0));
	return op_dtype(c, 1);
}

static int infer_dequantize(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, dequantized_type(c), op_shape(c, 0));
	return 0;
}

static int eval_dequantize(struct op_call *c, struct err *e)
{
	struct quant_plan p;
	const float *x;
	void *out;
	int rc = quant_read(c, op_shape(c, 0), 1, 2, &p, e);

	if (rc == 0)
		rc = op_in_f32(c, 0, &x, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, dequantized_type(c), DTYPE_F32,
				 op_shape(c, 0), &out, e);
	if (rc == 0)
		quant_from(&c->env->kernel, &p, x, out);
	return rc;
}

/* Blocks have scales in two directions. */
static int view_dequantize(struct op_call *c, struct tensor *out, struct err *e)
{
	struct derived_scales s = {.n = op_nelems(c, 1)};
	struct quant_plan p;
	int rc = 0;

	if (dequantized_type(c) != DTYPE_F32 || op_shape(c, 1)->rank > 1 ||
	    op_attr_int(c, "block_size", 0) != 0 ||
	    !shape_is_known(op_shape(c, 0)))
		return op_unsupported(c, e, "this view");
	if (!out)
		return 0;
	rc = quant_read(c, op_shape(c, 0), 1, 2, &p, e);
	if (rc == 0 && !p.single)
		rc = op_axis(c, op_attr_int(c, "axis", 1), op_shape(c, 0)->rank,
			     &s.axis, e);
	s.scale = p.scale;
	s.zero = p.zero;
	return rc < 0 ? rc : derived_floats(&c->in[0], &s, out, e);
}

static int join_dequantize(struct op_call *c, size_t flow, struct finish *f,
			   struct err *e)
{
	if (flow != 0 || !op_is_int(c->in[0].dtype) || !has_one_scale(c) ||
	    dequantized_type(c) != DTYPE_F32)
		return 0;
	return f ? read_quantum(c, &f->from, e) : OP_STAGE_DEQUANTIZE;
}

/* ---- DynamicQuantizeLinear ---- */
static int infer_dynamic(struct op_call *c, struct err *e)
{
	struct shape scalar = shape_of(0, NULL);

	(void)e;
	op_out(c, 0, DTYPE_U8, op_shape(c, 0));
	op_out(c, 1, DTYPE_F32, &scalar);
	op_out(c, 2, DTYPE_U8, &scalar);
	return 0;
}

void quant_dynamic(const float *x, uint64_t n, float *scale, float *zero)
{
	float lo = 0, hi = 0;

	for (uint64_t i = 0; i < n; i++) {
		lo = x[i] < lo ? x[i] : lo;
		hi = x[i] > hi ? x[i] : hi;
	}
	*scale = (hi - lo) / 255;
	if (!(*scale > 0) || isinf(*scale))
		*scale = 1;
	*zero = nearbyintf(-lo / *scale);
	*zero = *zero > 0 ? (*zero < 255 ? *zero : 255) : 0;
}

static int eval_dynamic(struct op_call *c, struct err *e)
{
	struct shape scalar = shape_of(0, NULL);
	struct quant_plan p = {
		.outer = 1, .dim = 1, .single = true, .round = true, .hi = 255};
	float scale, zero;
	const float *x;
	void *y, *out;
	int rc = op_in_f32(c, 0, &x, e);

	if (rc == 0)
		rc = op_alloc_as(c, 0, DTYPE_U8, DTYPE_F32, op_shape(c, 0), &y,
				 e);
	if (rc < 0)
		return rc;
	quant_dynamic(x, op_nelems(c, 0), &scale, &zero);
	p.inner = op_nelems(c, 0);
	p.scale = &scale;
	p.zero = &zero;
	quant_to(&c->env->kernel, &p, x, y);
	rc = op_alloc(c, 1, DTYPE_F32, &scalar, &out, e);
	if (rc < 0)
		return rc;
	*(float *)out = scale;
	rc = op_alloc(c, 2, DTYPE_U8, &scalar, &out, e);
	if (rc == 0)
		*(uint8_t *)out = (uint8_t)zero;
	return rc;
}

const struct op ops_quantize[] = {
	{ONNX, "QuantizeLinear", 10, 2, 3, 1, 1, OP_WRITES_ALL, 0,
	 infer_quantize, eval_quantize, .join = join_quantize},
	{ONNX, "DequantizeLinear", 10, 2, 3, 1, 1, OP_WRITES_ALL, 0,
	 infer_dequantize, eval_dequantize, .join = join_dequantize,
	 .view = view_dequantize},
	{MICROSOFT, "QuantizeLinear", 1, 2, 3, 1, 1, 0, 0, infer_quantize,
	 eval_quantize},
	{MICROSOFT, "DequantizeLinear", 1, 2, 3, 1, 1, 0, 0, infer_dequantize,
	 eval_dequantize, .view = view_dequantize},
	{ONNX, "DynamicQuantizeLinear", 11, 1, 1, 3, 3, 0, 0, infer_dynamic,
	 eval_dynamic},
	{0},
};
