/* SPDX-License-Identifier: MIT */
/*
 * ms_nhwc - com.microsoft: operators whose channels come last, computed by
 * those whose channels come second; and what diffusion models add to them.
 */
#include <math.h>

#include "op/delegate.h"
#include "op/impl.h"

#define INPUTS_MAX 9

/* Which ONNX or Microsoft operator an entry is, by op.arg. */
static const struct inner {
	const char *domain, *type;
	size_t images[2]; /* inputs with channels; SIZE_MAX: none */
} inners[] = {
	{ONNX, "Conv", {0, SIZE_MAX}},
	{MICROSOFT, "FusedConv", {0, 3}},
	{ONNX, "MaxPool", {0, SIZE_MAX}},
	{ONNX, "QLinearConv", {0, SIZE_MAX}},
};

static int eval_nhwc(struct op_call *c, struct err *e)
{
	const struct inner *op = &inners[c->op->arg];
	struct tensor in[INPUTS_MAX] = {0}, made[2] = {0}, y = {0};
	struct tensor out = {0};
	int rc = 0;

	if (c->nin > INPUTS_MAX)
		return op_invalid(c, e, "%zu inputs", c->nin);
	for (size_t i = 0; i < c->nin; i++)
		in[i] = c->in[i];
	for (size_t k = 0; k < 2 && rc == 0; k++) {
		size_t i = op->images[k];

		if (i == SIZE_MAX || !op_has(c, i))
			continue;
		rc = op_channels_first(c, &c->in[i], &made[k], e);
		in[i] = made[k];
	}
	if (rc == 0)
		rc = op_delegate(c, op->domain, op->type, in, c->nin, &y, 1, e);
	if (rc == 0)
		rc = op_channels_last(c, &y, &out, e);
	if (rc == 0)
		rc = op_give(c, 0, &out, e);
	tensor_drop(&made[0]);
	tensor_drop(&made[1]);
	tensor_drop(&y);
	tensor_drop(&out);
	return rc;
}

/* With the attribute channels_last, or as ONNX has it. */
static int eval_qlinear_conv(struct op_call *c, struct err *e)
{
	struct tensor y = {0};
	int rc;

	if (op_attr_int(c, "channels_last", 0))
		return eval_nhwc(c, e);
	rc = op_delegate(c, ONNX, "QLinearConv", c->in, c->nin, &y, 1, e);
	if (rc == 0)
		rc = op_give(c, 0, &y, e);
	tensor_drop(&y);
	return rc;
}

/* ---- GroupNorm, SkipGroupNorm ---- */
struct group_norm {
	size_t batch, pixels, channels, groups;
	bool last; /* channels come last */
	float epsilon;
	bool silu;
	const float *gamma, *beta;
};

static size_t place(const struct group_norm *g, size_t b, size_t ch, size_t px)
{
	return g->last ? (b * g->pixels + px) * g->channels + ch
		       : (b * g->channels + ch) * g->pixels + px;
}

static void normalise(const struct group_norm *g, size_t b, size_t group,
		      const float *x, float *y)
{
	size_t per = g->channels / g->groups, first = group * per;
	double sum = 0, square = 0, n = (double)per * (double)g->pixels;
	double mean, scale;

	for (size_t ch = first; ch < first + per; ch++)
		for (size_t px = 0; px < g->pixels; px++)
			sum += (double)x[place(g, b, ch, px)];
	mean = sum / n;
	for (size_t ch = first; ch < first + per; ch++)
		for (size_t px = 0; px < g->pixels; px++) {
			double d = (double)x[place(g, b, ch, px)] - mean;

			square += d * d;
		}
	scale = 1 / sqrt(square / n + (double)g->epsilon);
	for (size_t ch = first; ch < first + per; ch++)
		for (size_t px = 0; px < g->pixels; px++) {
			size_t at = place(g, b, ch, px);
			double v = ((double)x[at] - mean) * scale *
					   (double)g->gamma[ch] +
				   (double)g->beta[ch];

			y[at] = (float)(g->silu ? v / (1 + exp(-v)) : v);
		}
}

static int group_norm_read(struct op_call *c, struct group_norm *g,
			   struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	int64_t groups = op_attr_int(c, "groups", 0);
	int rc = op_need_rank(c, 0, 3, SHAPE_RANK_MAX, e);

	if (rc < 0)
		return rc;
	g->last = op_attr_int(c, "channels_last", 1) != 0;
	g->epsilon = op_attr_float(c, "epsilon", 1e-5f);
	g->silu = op_attr_int(c, "activation", 0) == 1;
	g->batch = (size_t)s->dims[0];
	g->channels = (size_t)s->dims[g->last ? s->rank - 1 : 1];
	g->pixels = shape_span(s, g->last ? 1 : 2, s->rank - g->last);
	if (groups < 1 || g->channels % (size_t)groups)
		return op_invalid(c, e, "%lld groups", (long long)groups);
	g->groups = (size_t)groups;
	if (op_nelems(c, 1) != g->channels || op_nelems(c, 2) != g->channels)
		return op_invalid(c, e, "gamma or beta does not fit");
	rc = op_in_f32(c, 1, &g->gamma, e);
	return rc < 0 ? rc : op_in_f32(c, 2, &g->beta, e);
}

/* Input 0 with input i, [batch][1…][channels] or like it, added. */
static int add_input(struct op_call *c, const struct group_norm *g, size_t i,
		     float *x, struct err *e)
{
	uint64_t n = op_nelems(c, 0), m = op_nelems(c, i);
	const float *add;
	int rc = op_in_f32(c, i, &add, e);

	if (rc < 0 || !add)
		return rc;
	if (m != n && m != g->channels && m != g->batch * g->channels)
		return op_invalid(c, e, "input %zu does not fit", i);
	for (size_t b = 0; b < g->batch; b++)
		for (size_t ch = 0; ch < g->channels; ch++)
			for (size_t px = 0; px < g->pixels; px++) {
				size_t at = place(g, b, ch, px);

				x[at] += add[m == n ? at
					     : m == g->channels
						     ? ch
						     : b * g->channels + ch];
			}
	return 0;
}

static int eval_group_norm(struct op_call *c, struct err *e)
{
	uint64_t n = op_nelems(c, 0);
	struct group_norm g = {0};
	void *sum = NULL, *y;
	const float *x;
	int rc = group_norm_read(c, &g, e);

	if (rc == 0)
		rc = op_in_f32(c, 0, &x, e);
	if (rc == 0)
		rc = op_wants(c, 1)
			     ? op_alloc_as(c, 1, c->in[0].dtype, DTYPE_F32,
					   op_shape(c, 0), &sum, e)
			     : op_temp_array(c, n, sizeof(float), &sum, e);
	if (rc == 0 && n > 0)
		memcpy(sum, x, n * sizeof(float));
	for (size_t i = 3; rc == 0 && i < c->nin; i++)
		rc = add_input(c, &g, i, sum, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32,
				 op_shape(c, 0), &y, e);
	for (size_t i = 0; rc == 0 && i < g.batch * g.groups; i++) {
		normalise(&g, i / g.groups, i % g.groups, sum, y);
		rc = op_check_stop(c, e);
	}
	return rc;
}

/* ---- BiasAdd, BiasSplitGelu ---- */
static int eval_bias_add(struct op_call *c, struct err *e)
{
	uint64_t n = op_nelems(c, 0), cols = op_nelems(c, 1);
	const float *x, *bias, *skip;
	void *y;
	int rc = op_in_f32(c, 0, &x, e);

	if (rc == 0)
		rc = op_in_f32(c, 1, &bias, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &skip, e);
	if (rc == 0 && (cols == 0 || n % cols || op_nelems(c, 2) != n))
		return op_invalid(c, e, "inputs do not fit");
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32,
				 op_shape(c, 0), &y, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		((float *)y)[i] = x[i] + bias[i % cols] + skip[i];
	return rc;
}

static int eval_split_gelu(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	uint64_t n = op_nelems(c, 0), cols = op_nelems(c, 1), half = cols / 2;
	const float *x, *bias;
	float *out;
	void *y;
	int rc = op_in_f32(c, 0, &x, e);

	if (rc == 0)
		rc = op_in_f32(c, 1, &bias, e);
	if (rc == 0 && (s.rank < 1 || half == 0 || cols % 2 ||
			s.dims[s.rank - 1] != (int64_t)cols))
		return op_invalid(c, e, "the bias does not fit");
	if (rc < 0)
		return rc;
	s.dims[s.rank - 1] = (int64_t)half;
	rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32, &s, &y, e);
	out = y;
	for (uint64_t i = 0; rc == 0 && i < n / 2; i++) {
		uint64_t col = i % half, at = i / half * cols + col;
		float v = x[at + half] + bias[col + half];

		out[i] = (x[at] + bias[col]) * v * 0.5f *
			 (1 + erff(v * (float)M_SQRT1_2));
	}
	return rc;
}

#define MS(type, in, in_max, out_max, arg, infer, eval)                    \
	{                                                                  \
		MICROSOFT, type, 1, in, in_max, 1, out_max, 0, arg, infer, \
			eval                                               \
	}

const struct op ops_ms_nhwc[] = {
	MS("NhwcConv", 2, 3, 1, 0, NULL, eval_nhwc),
	MS("NhwcFusedConv", 2, 4, 1, 1, NULL, eval_nhwc),
	MS("NhwcMaxPool", 1, 1, 1, 2, NULL, eval_nhwc),
	MS("QLinearConv", 8, 9, 1, 3, NULL, eval_qlinear_conv),
	MS("GroupNorm", 3, 3, 1, 0, infer_same, eval_group_norm),
	MS("SkipGroupNorm", 4, 5, 2, 0, infer_same, eval_group_norm),
	MS("BiasAdd", 3, 3, 1, 0, infer_same, eval_bias_add),
	MS("BiasSplitGelu", 2, 2, 1, 0, NULL, eval_split_gelu),
	{0},
};
