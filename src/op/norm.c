/* SPDX-License-Identifier: MIT */
/* norm - normalisation by statistics of rows, groups, channels. */
#include "kernel/norm.h"

#include <math.h>

#include "kernel/binary.h"
#include "kernel/copy.h"
#include "kernel/fast.h"
#include "op/impl.h"
#include "op/norm.h"
#include "op/reduce.h"

int norm_type(struct op_call *c, enum num *t, struct err *e)
{
	if (!op_is_float(c->in[0].dtype) ||
	    !op_num(op_compute_type(c->in[0].dtype), t))
		return op_bad_dtype(c, 0, e);
	return 0;
}

int norm_per_channel(struct op_call *c, size_t i, uint64_t channels,
		     const void **out, struct err *e)
{
	if (op_has(c, i) && op_nelems(c, i) != channels)
		return op_invalid(c, e, "input %zu is not one a channel", i);
	return op_data_as(c, i, op_compute_type(c->in[0].dtype), out, e);
}

/* ---- InstanceNormalization, GroupNormalization ---- */
static int eval_groups(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	bool instance = strcmp(c->op->type, "InstanceNormalization") == 0;
	bool by_group = !instance && c->node->opset < 21;
	struct row_norm p = {.centred = true,
			     .epsilon = op_attr_float(c, "epsilon", 1e-5f)};
	struct channel_affine a;
	const void *x, *scale, *bias;
	int64_t channels, groups;
	void *out;
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	if (rc == 0)
		rc = norm_type(c, &p.type, e);
	if (rc < 0)
		return rc;
	channels = s->dims[1];
	groups = instance ? channels : op_attr_int(c, "num_groups", 0);
	if (groups < 1 ? channels != 0 || !instance : channels % groups != 0)
		return op_invalid(c, e, "%lld groups of %lld channels",
				  (long long)groups, (long long)channels);
	rc = norm_per_channel(c, 1, (uint64_t)(by_group ? groups : channels),
			      &scale, e);
	if (rc == 0)
		rc = norm_per_channel(c, 2,
				      (uint64_t)(by_group ? groups : channels),
				      &bias, e);
	if (rc == 0)
		rc = op_in(c, 0, &p.type, &x, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, s, &out, e);
	if (rc < 0 || op_nelems(c, 0) == 0)
		return rc;
	p.rows = (size_t)(s->dims[0] * groups);
	p.n = op_nelems(c, 0) / p.rows;
	norm_rows(&c->env->kernel, &p, x, out);
	a = (struct channel_affine){
		.type = p.type,
		.scale = scale,
		.shift = bias,
		.n = (size_t)s->dims[0],
		.channels = (size_t)(by_group ? groups : channels),
	};
	a.inner = op_nelems(c, 0) / a.n / a.channels;
	norm_channels(&c->env->kernel, &a, out, out);
	return 0;
}

/* ---- LayerNormalization, RMSNormalization ---- */
static struct shape keep_head(const struct shape *s, int32_t axis)
{
	struct shape out = *s;

	for (int32_t i = axis; i < s->rank; i++)
		out.dims[i] = 1;
	return out;
}

/* What came before opset 17 (onnxruntime's) has the scale's type. */
static enum dtype layer_type(const struct op_call *c)
{
	return c->node->opset < 17 && c->op->domain[0] == '\0' ? op_dtype(c, 1)
							       : c->in[0].dtype;
}

static int infer_layer(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	struct shape head = shape_unknown();
	int32_t axis;
	int rc;

	op_out(c, 0, layer_type(c), s);
	if (s->rank >= 0) {
		rc = op_axis(c, op_attr_int(c, "axis", -1), s->rank, &axis, e);
		if (rc < 0)
			return rc;
		head = keep_head(s, axis);
	}
	for (size_t i = 1; i < c->nout; i++)
		op_out(c, i, DTYPE_F32, &head);
	return 0;
}

/* out = out * scale + bias where these have to be broadcast. */
static int broadcast_affine(struct op_call *c, size_t input, enum binary op,
			    enum num t, const struct shape *s, void *out,
			    struct err *e)
{
	const struct shape *shapes[2] = {s, op_shape(c, input)};
	const void *in[2] = {out, NULL};
	struct stride_plan p;
	struct shape both;
	int rc;

	if (!op_has(c, input))
		return 0;
	rc = op_broadcast(c, s, shapes[1], &both, e);
	if (rc == 0 && !shape_equal(&both, s))
		return op_invalid(c, e, "input %zu does not fit", input);
	if (rc == 0)
		rc = op_data_as(c, input, norm_dtype(t), &in[1], e);
	if (rc < 0)
		return rc;
	op_stride_plan(&p, s, shapes, 2);
	p.in_size[0] = p.in_size[1] = p.out_size = num_size(t);
	stride_for(&c->env->kernel, &p, in, out, binary_find(op, t), NULL);
	return 0;
}

int norm_layer(struct op_call *c, const struct layer *l, const void *x,
	       void *out, struct err *e)
{
	const struct shape *s = l->shape;
	struct row_norm p = {.type = l->type,
			     .epsilon = l->epsilon,
			     .centred = l->centred,
			     .mean = l->mean,
			     .inv_std = l->inv_std};
	bool fused;
	int rc = 0;

	p.n = shape_span(s, l->axis, s->rank);
	p.rows = shape_span(s, 0, l->axis);
	fused = (!op_has(c, l->scale) || op_nelems(c, l->scale) == p.n) &&
		(!op_has(c, l->bias) || op_nelems(c, l->bias) == p.n);
	if (fused) {
		enum dtype t = norm_dtype(l->type);

		rc = op_data_as(c, l->scale, t, &p.scale, e);
		if (rc == 0)
			rc = op_data_as(c, l->bias, t, &p.bias, e);
	}
	if (rc < 0)
		return rc;
	if (p.n > 0)
		norm_rows(&c->env->kernel, &p, x, out);
	/* Rows of nothing have no statistics. */
	if (p.n == 0 && l->mean)
		memset(l->mean, 0, p.rows * num_size(l->type));
	if (p.n == 0 && l->inv_std)
		memset(l->inv_std, 0, p.rows * num_size(l->type));
	if (fused)
		return 0;
	rc = broadcast_affine(c, l->scale, BINARY_MUL, l->type, s, out, e);
	if (rc == 0)
		rc = broadcast_affine(c, l->bias, BINARY_ADD, l->type, s, out,
				      e);
	return rc;
}

/* Statistics are float32; op_finish brings what is float64 there. */
static int alloc_statistic(struct op_call *c, size_t i, enum num t,
			   const struct shape *s, void **out, struct err *e)
{
	*out = NULL;
	if (!op_wants(c, i))
		return 0;
	return op_alloc_as(c, i, DTYPE_F32, norm_dtype(t), s, out, e);
}

static void norm_some(const void *ctx, size_t rows, const float *in, float *out)
{
	struct row_norm p = *(const struct row_norm *)ctx;

	p.rows = rows;
	norm_rows(&(struct kernel){0}, &p, in, out);
}

/* 1: not rows of 16-bit numbers, each with the same scale. */
static int layer_short(struct op_call *c, const struct layer *l, struct err *e)
{
	const struct shape *s = l->shape;
	struct row_norm p = {.type = l->type,
			     .rows = shape_span(s, 0, l->axis),
			     .n = shape_span(s, l->axis, s->rank),
			     .epsilon = l->epsilon,
			     .centred = l->centred};
	struct op_rows rows = {p.rows, p.n, p.n, norm_some, &p};
	int rc;

	if (layer_type(c) != c->in[0].dtype || op_wants(c, 1) ||
	    op_wants(c, 2) || op_nelems(c, l->scale) != p.n ||
	    (op_has(c, l->bias) && op_nelems(c, l->bias) != p.n))
		return 1;
	rc = op_data_as(c, l->scale, norm_dtype(l->type), &p.scale, e);
	if (rc == 0)
		rc = op_data_as(c, l->bias, norm_dtype(l->type), &p.bias, e);
	return rc < 0 ? rc : op_rows(c, s, &rows, e);
}

static int eval_layer(struct op_call *c, struct err *e)
{
	bool rms = c->op->arg;
	struct layer l = {.shape = op_shape(c, 0),
			  .centred = !rms,
			  .epsilon = op_attr_float(c, "epsilon", 1e-5f),
			  .scale = 1,
			  .bias = rms ? SIZE_MAX : 2};
	struct shape head;
	const void *x;
	void *out;
	int rc = op_axis(c, op_attr_int(c, "axis", -1), l.shape->rank, &l.axis,
			 e);

	if (rc == 0)
		rc = norm_type(c, &l.type, e);
	if (rc == 0)
		rc = layer_short(c, &l, e);
	if (rc <= 0)
		return rc;
	rc = op_in(c, 0, &l.type, &x, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, layer_type(c),
				 op_compute_type(c->in[0].dtype), l.shape, &out,
				 e);
	if (rc < 0)
		return rc;
	head = keep_head(l.shape, l.axis);
	rc = alloc_statistic(c, rms ? SIZE_MAX : 1, l.type, &head, &l.mean, e);
	if (rc == 0)
		rc = alloc_statistic(c, rms ? 1 : 2, l.type, &head, &l.inv_std,
				     e);
	return rc < 0 ? rc : norm_layer(c, &l, x, out, e);
}

/* ---- LRN ---- */
static int eval_lrn(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	int64_t size = op_attr_int(c, "size", 0);
	struct local_norm p = {.alpha = op_attr_float(c, "alpha", 1e-4f),
			       .beta = op_attr_float(c, "beta", 0.75f),
			       .bias = op_attr_float(c, "bias", 1)};
	const void *x;
	void *out;
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	if (rc == 0 && (size < 1 || size > INT32_MAX))
		return op_invalid(c, e, "size %lld", (long long)size);
	if (rc == 0)
		rc = norm_type(c, &p.type, e);
	if (rc == 0)
		rc = op_in(c, 0, &p.type, &x, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, s, &out, e);
	if (rc < 0)
		return rc;
	p.n = (size_t)s->dims[0];
	p.channels = (size_t)s->dims[1];
	p.inner = shape_span(s, 2, s->rank);
	p.size = (size_t)size;
	norm_local(&c->env->kernel, &p, x, out);
	return 0;
}

/* ---- MeanVarianceNormalization, LpNormalization ---- */
static uint32_t moments_axes(const struct op_call *c, int32_t rank)
{
	static const int64_t usual[] = {0, 2, 3};
	const int64_t *v;
	uint32_t mask = 0;
	size_t n;

	if (!op_attr_ints(c, "axes", &v, &n)) {
		v = usual;
		n = 3;
	}
	for (size_t i = 0; i < n; i++) {
		int64_t axis = v[i] < 0 ? v[i] + rank : v[i];

		if (axis >= 0 && axis < rank)
			mask |= 1u << axis;
	}
	return mask;
}

/* out = x op stat, the reduced axes of stat being 1. */
static void apply_stat(struct op_call *c, enum num t, enum binary op,
		       const struct shape *s, uint32_t mask, const void *x,
		       const void *stat, void *out)
{
	struct shape kept = *s;
	const struct shape *shapes[2] = {s, &kept};
	const void *in[2] = {x, stat};
	struct stride_plan p;

	for (int32_t i = 0; i < s->rank; i++) {
		if (mask & 1u << i)
			kept.dims[i] = 1;
	}
	op_stride_plan(&p, s, shapes, 2);
	p.in_size[0] = p.in_size[1] = p.out_size = num_size(t);
	stride_for(&c->env->kernel, &p, in, out, binary_find(op, t), NULL);
}

/* A statistic of data over the axes of mask; *n: how many there are. */
static int statistic(struct op_call *c, enum reduce op, enum num t,
		     uint32_t mask, const void *data, void **out, size_t *n,
		     struct err *e)
{
	struct reduce_plan p;
	int rc = reduce_arrange(c, op_shape(c, 0), mask, t, &data, &p, e);

	if (rc == 0)
		rc = op_temp_array(c, p.outer * p.inner, sizeof(double), out,
				   e);
	if (rc < 0)
		return rc;
	*n = p.outer * p.inner;
	reduce_run(&c->env->kernel, op, &p, data, *out);
	return 0;
}

static int eval_moments(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	uint32_t mask = moments_axes(c, s->rank);
	const void *x;
	void *out, *mean, *norm;
	enum num t;
	size_t n;
	int rc = norm_type(c, &t, e);

	if (rc == 0)
		rc = op_in(c, 0, &t, &x, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, s, &out, e);
	if (rc == 0)
		rc = statistic(c, REDUCE_MEAN, t, mask, x, &mean, &n, e);
	if (rc < 0)
		return rc;
	apply_stat(c, t, BINARY_SUB, s, mask, x, mean, out);
	rc = statistic(c, REDUCE_SUM_SQUARE, t, mask, out, &norm, &n, e);
	for (size_t i = 0; i < n && rc == 0; i++)
		norm_set(t, norm, i,
			 sqrt(norm_get(t, norm, i) * (double)n /
			      (double)op_nelems(c, 0)) +
				 1e-9);
	if (rc == 0)
		apply_stat(c, t, BINARY_DIV, s, mask, out, norm, out);
	return rc;
}

static int eval_lp_norm(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	int64_t p = op_attr_int(c, "p", 2);
	const void *x;
	void *out, *norm;
	int32_t axis;
	enum num t;
	size_t n;
	int rc = op_axis(c, op_attr_int(c, "axis", -1), s->rank, &axis, e);

	if (rc == 0 && p != 1 && p != 2)
		return op_invalid(c, e, "p %lld", (long long)p);
	if (rc == 0)
		rc = norm_type(c, &t, e);
	if (rc == 0)
		rc = op_in(c, 0, &t, &x, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, s, &out, e);
	if (rc == 0)
		rc = statistic(c, p == 1 ? REDUCE_L1 : REDUCE_L2, t, 1u << axis,
			       x, &norm, &n, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) { /* zeros stay zeros */
		if (norm_get(t, norm, i) == 0)
			norm_set(t, norm, i, 1);
	}
	apply_stat(c, t, BINARY_DIV, s, 1u << axis, x, norm, out);
	return 0;
}

const struct op ops_norm[] = {
	{ONNX, "InstanceNormalization", 1, 3, 3, 1, 1, OP_WRITES_ALL, 0,
	 infer_same, eval_groups},
	{ONNX, "GroupNormalization", 18, 3, 3, 1, 1, OP_WRITES_ALL, 0,
	 infer_same, eval_groups},
	{ONNX, "LayerNormalization", 1, 2, 3, 1, 3, OP_WRITES_ALL, 0,
	 infer_layer, eval_layer},
	{ONNX, "RMSNormalization", 23, 2, 2, 1, 1, 0, 1, infer_layer,
	 eval_layer},
	{ONNX, "SimplifiedLayerNormalization", 1, 2, 2, 1, 2, 0, 1, infer_layer,
	 eval_layer},
	{ONNX, "LRN", 1, 1, 1, 1, 1, 0, 0, infer_same, eval_lrn},
	{ONNX, "MeanVarianceNormalization", 1, 1, 1, 1, 1, 0, 0, infer_same,
	 eval_moments},
	{ONNX, "LpNormalization", 1, 1, 1, 1, 1, 0, 0, infer_same,
	 eval_lp_norm},
	{0},
};
