/* SPDX-License-Identifier: MIT */
/* conv - Conv and ConvTranspose. */
#include "op/conv.h"

#include "kernel/gemm.h"
#include "op/impl.h"
#include "op/window.h"

static int check_ranks(const struct op_call *c, const struct shape *x,
		       const struct shape *w, struct err *e)
{
	if (x->rank >= 0 && x->rank < 2)
		return op_invalid(c, e, "rank %d", x->rank);
	if (x->rank >= 0 && w->rank >= 0 && x->rank != w->rank)
		return op_invalid(c, e, "ranks %d and %d", x->rank, w->rank);
	return 0;
}

static int group_count(const struct op_call *c, int64_t *groups, struct err *e)
{
	*groups = op_attr_int(c, "group", 1);
	if (*groups < 1)
		return op_invalid(c, e, "group %lld", (long long)*groups);
	return 0;
}

/* Channels must be what weights and groups say. */
static int check_channels(const struct op_call *c, const struct shape *x,
			  const struct shape *w, int64_t groups, struct err *e)
{
	if (x->dims[1] == DIM_UNKNOWN || w->dims[0] == DIM_UNKNOWN ||
	    w->dims[1] == DIM_UNKNOWN)
		return 0;
	if (x->dims[1] % groups != 0 || x->dims[1] / groups != w->dims[1] ||
	    w->dims[0] % groups != 0)
		return op_invalid(c, e, "%lld channels, weights of %lld, %lld",
				  (long long)x->dims[1], (long long)w->dims[0],
				  (long long)w->dims[1]);
	return 0;
}

int conv_shape(const struct op_call *c, const struct shape *x,
	       const struct shape *w, struct shape *out, struct err *e)
{
	struct shape s = shape_unknown();
	struct spatial sp;
	int64_t groups = 1;
	int rc = check_ranks(c, x, w, e);

	if (rc == 0)
		rc = group_count(c, &groups, e);
	if (rc < 0)
		return rc;
	if (x->rank >= 0) {
		s.rank = x->rank;
		s.dims[0] = x->dims[0];
		s.dims[1] = w->rank < 0 ? DIM_UNKNOWN : w->dims[0];
		rc = spatial_read(c, x->rank - 2, w, &sp, e);
		if (rc == 0)
			rc = spatial_out(c, &sp, x->dims + 2, false, s.dims + 2,
					 e);
		if (rc == 0 && w->rank >= 0)
			rc = check_channels(c, x, w, groups, e);
	}
	if (rc == 0)
		*out = s;
	return rc;
}

/* What kernels multiply without looking: images, taps, rows of weights. */
static int check_sizes(const struct op_call *c, const struct shape *out,
		       const struct shape *in, const struct shape *w,
		       struct err *e)
{
	const struct shape *shapes[3] = {out, in, w};

	for (int i = 0; i < 3; i++) {
		struct shape part = *shapes[i];
		int32_t skip = i < 2 ? 2 : 1;
		uint64_t n;

		part.rank -= skip;
		memmove(part.dims, part.dims + skip,
			(size_t)part.rank * sizeof(*part.dims));
		if (!shape_nelems(&part, &n) || n > INT32_MAX)
			return op_unsupported(c, e, "images of this size");
	}
	return 0;
}

int conv_plan(const struct op_call *c, const struct shape *x,
	      const struct shape *w, struct conv *out, struct err *e)
{
	struct shape s;
	struct spatial sp;
	int64_t groups = 1;
	int rc = conv_shape(c, x, w, &s, e);

	if (rc == 0 && x->rank > 5)
		return op_unsupported(c, e, "more than 3 spatial extents");
	if (rc == 0)
		rc = group_count(c, &groups, e);
	if (rc == 0)
		rc = spatial_read(c, x->rank - 2, w, &sp, e);
	if (rc == 0)
		rc = spatial_out(c, &sp, x->dims + 2, false, s.dims + 2, e);
	if (rc < 0)
		return rc;
	spatial_window(&sp, x->dims + 2, s.dims + 2, &out->w);
	out->x_blocked = out->y_blocked = false;
	out->batch = (size_t)x->dims[0];
	out->groups = (size_t)groups;
	out->in_channels = (size_t)x->dims[1];
	out->out_channels = (size_t)w->dims[0];
	return check_sizes(c, &s, x, w, e);
}

static int infer_conv(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = conv_shape(c, op_shape(c, 0), op_shape(c, 1), &s, e);

	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

int conv_check_bias(const struct op_call *c, size_t channels, struct err *e)
{
	if (op_has(c, 2) && op_nelems(c, 2) != channels)
		return op_invalid(c, e, "a bias of %llu",
				  (unsigned long long)op_nelems(c, 2));
	return 0;
}

/* ---- other types than float32, and shapes that are not worth it ---- */
struct operands {
	const void *x, *w, *bias;
	void *y, *scratch;
};

static int get_operands(struct op_call *c, const struct conv *v,
			const struct shape *out, size_t scratch,
			struct operands *o, struct err *e)
{
	enum dtype t = op_compute_type(c->in[0].dtype);
	int rc = conv_check_bias(c, v->out_channels, e);

	if (rc == 0 && !gemm_has(v->type))
		return op_bad_dtype(c, 0, e);
	if (rc == 0)
		rc = op_data_as(c, 0, t, &o->x, e);
	if (rc == 0)
		rc = op_data_as(c, 1, t, &o->w, e);
	if (rc == 0)
		rc = op_data_as(c, 2, t, &o->bias, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, out, &o->y, e);
	if (rc == 0)
		rc = op_temp_array(c, scratch, num_size(v->type), &o->scratch,
				   e);
	return rc;
}

/* How the call will be done, from types and shapes; false: in no such way. */
static bool ask_way(struct op_call *c, struct conv *v)
{
	*v = (struct conv){.type = NUM_F32};
	return op_is_short_float(c->in[0].dtype) &&
	       shape_is_known(op_shape(c, 0)) &&
	       shape_is_known(op_shape(c, 1)) &&
	       conv_plan(c, op_shape(c, 0), op_shape(c, 1), v, NULL) == 0 &&
	       conv_has_way(v);
}

static unsigned leads_conv(struct op_call *c)
{
	struct conv v;

	return ask_way(c, &v) ? 1u << OP_STAGE_AFFINE | 1u << OP_STAGE_ADD |
					1u << OP_STAGE_LIMIT |
					1u << OP_STAGE_QUANTIZE |
					1u << OP_STAGE_DEQUANTIZE
			      : 0;
}

static unsigned blocks_conv(struct op_call *c)
{
	struct conv v;

	return ask_way(c, &v) ? conv_way_blocks(&v) : 0;
}

static int eval_conv(struct op_call *c, struct err *e)
{
	struct operands o;
	struct shape s;
	struct conv v;
	int rc = infer_conv(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = conv_plan(c, op_shape(c, 0), op_shape(c, 1), &v, e);
	if (rc < 0)
		return rc;
	if (!op_num(op_compute_type(c->in[0].dtype), &v.type))
		return op_bad_dtype(c, 0, e);
	if (conv_has_way(&v))
		return conv_run_way(c, &v, &s, e);
	rc = get_operands(c, &v, &s, conv_scratch(&v), &o, e);
	if (rc == 0)
		conv_run(&c->env->kernel, &v, o.x, o.w, o.bias, o.y, o.scratch);
	return rc;
}

/* ---- ConvTranspose ---- */
/*
 * The convolution whose transpose this is: its input is our output.  Sets
 * pads, and the output's extents in out.
 */
static int transpose_extents(const struct op_call *c, struct spatial *sp,
			     const int64_t *in, int64_t *out, struct err *e)
{
	const int64_t *extra, *want;
	size_t nextra, nwant;
	bool fixed =
		op_attr_ints(c, "output_shape", &want, &nwant) && nwant > 0;

	op_attr_ints(c, "output_padding", &extra, &nextra);
	if ((nextra && nextra != (size_t)sp->n) ||
	    (fixed && nwant < (size_t)sp->n))
		return op_invalid(c, e, "output_padding or output_shape");
	want = fixed ? want + nwant - sp->n : NULL;
	for (int32_t i = 0; i < sp->n; i++) {
		int64_t full, total;

		out[i] = DIM_UNKNOWN;
		if (in[i] == DIM_UNKNOWN || sp->kernel[i] == DIM_UNKNOWN)
			continue;
		if (in[i] > INT32_MAX || sp->kernel[i] < 1 ||
		    (nextra && (extra[i] < 0 || extra[i] > INT32_MAX)))
			return op_invalid(c, e, "extents");
		full = (in[i] - 1) * sp->stride[i] +
		       (sp->kernel[i] - 1) * sp->dilation[i] + 1 +
		       (nextra ? extra[i] : 0);
		if (!fixed && sp->pad != AUTO_UPPER && sp->pad != AUTO_LOWER) {
			out[i] = full - sp->begin[i] - sp->end[i];
		} else {
			out[i] = fixed ? want[i] : in[i] * sp->stride[i];
			total = full > out[i] ? full - out[i] : 0;
			if (sp->pad != AUTO_NONE || fixed) {
				sp->begin[i] = sp->pad == AUTO_UPPER
						       ? total / 2
						       : total - total / 2;
			}
		}
		if (out[i] < 0 || out[i] > INT32_MAX)
			return op_invalid(c, e, "extent %lld",
					  (long long)out[i]);
	}
	return 0;
}

static int transpose_shape(const struct op_call *c, struct spatial *sp,
			   struct shape *s, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *w = op_shape(c, 1);
	int64_t groups = 1;
	int rc = check_ranks(c, x, w, e);

	*s = shape_unknown();
	if (rc == 0)
		rc = group_count(c, &groups, e);
	if (rc < 0 || x->rank < 0)
		return rc;
	s->rank = x->rank;
	s->dims[0] = x->dims[0];
	s->dims[1] = DIM_UNKNOWN;
	if (w->rank >= 0 && w->dims[1] != DIM_UNKNOWN) {
		rc = op_mul(c, w->dims[1], groups, &s->dims[1], e);
		if (rc == 0 && x->dims[1] != DIM_UNKNOWN &&
		    (x->dims[1] % groups != 0 || x->dims[1] != w->dims[0]))
			rc = op_invalid(c, e, "%lld channels",
					(long long)x->dims[1]);
	}
	if (rc == 0)
		rc = spatial_read(c, x->rank - 2, w, sp, e);
	if (rc == 0)
		rc = transpose_extents(c, sp, x->dims + 2, s->dims + 2, e);
	return rc;
}

static int infer_conv_transpose(struct op_call *c, struct err *e)
{
	struct spatial sp;
	struct shape s;
	int rc = transpose_shape(c, &sp, &s, e);

	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

static int eval_conv_transpose(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct spatial sp;
	struct operands o;
	struct shape s;
	struct conv v;
	int rc = transpose_shape(c, &sp, &s, e);

	if (rc < 0)
		return rc;
	if (x->rank > 5)
		return op_unsupported(c, e, "more than 3 spatial extents");
	spatial_window(&sp, s.dims + 2, x->dims + 2, &v.w);
	if (!op_num(op_compute_type(c->in[0].dtype), &v.type) ||
	    !op_is_float(c->in[0].dtype))
		return op_bad_dtype(c, 0, e);
	v.batch = (size_t)x->dims[0];
	v.groups = (size_t)op_attr_int(c, "group", 1);
	v.in_channels = (size_t)x->dims[1];
	v.out_channels = (size_t)s.dims[1];
	rc = check_sizes(c, &s, x, op_shape(c, 1), e);
	if (rc == 0)
		rc = get_operands(c, &v, &s, conv_transpose_scratch(&v), &o, e);
	if (rc == 0)
		conv_transpose_run(&c->env->kernel, &v, o.x, o.w, o.bias, o.y,
				   o.scratch);
	return rc;
}

const struct op ops_conv[] = {
	{ONNX, "Conv", 1, 2, 3, 1, 1, OP_WRITES_ALL | OP_LATE_INPUT_1, 0,
	 infer_conv, eval_conv, .leads = leads_conv, .blocks = blocks_conv},
	{ONNX, "ConvTranspose", 1, 2, 3, 1, 1, 0, 0, infer_conv_transpose,
	 eval_conv_transpose},
	{0},
};
