/* SPDX-License-Identifier: MIT */
/*
 * resize - Resize and Upsample: every extent on its own, as all modes are
 * separable.
 */
#include "kernel/resize.h"

#include <math.h>

#include "kernel/copy.h"
#include "op/impl.h"

enum mode { MODE_NEAREST, MODE_LINEAR, MODE_CUBIC };

/* Elements between two looks at whether to stop. */
#define STOP_AFTER 65536

struct resize {
	enum mode mode;
	const char *transform, *nearest;
	double cubic_a, extrapolation;
	bool exclude_outside, antialias;
	double scale[SHAPE_RANK_MAX];
	double start[SHAPE_RANK_MAX], end[SHAPE_RANK_MAX]; /* region */
	struct shape out;
};

/* ---- what the node asks for ---- */
static int read_mode(const struct op_call *c, struct resize *r, struct err *e)
{
	const char *mode = op_attr_str(c, "mode", "nearest");

	if (strcmp(mode, "nearest") == 0)
		r->mode = MODE_NEAREST;
	else if (strcmp(mode, "linear") == 0 || strcmp(mode, "bilinear") == 0)
		r->mode = MODE_LINEAR;
	else if (strcmp(mode, "cubic") == 0)
		r->mode = MODE_CUBIC;
	else
		return op_invalid(c, e, "mode");
	/* Before opset 11 coordinates were only scaled, and cut off. */
	r->transform =
		op_attr_str(c, "coordinate_transformation_mode",
			    c->op->arg == 11 ? "half_pixel" : "asymmetric");
	r->nearest =
		op_attr_str(c, "nearest_mode",
			    c->op->arg == 11 ? "round_prefer_floor" : "simple");
	r->cubic_a = op_attr_float(c, "cubic_coeff_a", -0.75f);
	r->exclude_outside = op_attr_int(c, "exclude_outside", 0) != 0;
	r->antialias = op_attr_int(c, "antialias", 0) != 0;
	r->extrapolation = op_attr_float(c, "extrapolation_value", 0);
	return 0;
}

/* A list of floats: input i, or the attribute; 1: not known yet. */
static int float_list(struct op_call *c, size_t i, const char *attr,
		      double out[SHAPE_RANK_MAX], size_t *n, struct err *e)
{
	const float *v;
	const void *p;
	int rc;

	*n = 0;
	if (op_attr_floats(c, attr, &v, n)) {
		for (size_t k = 0; k < *n && k < SHAPE_RANK_MAX; k++)
			out[k] = v[k];
	} else if (op_has(c, i)) {
		if (!op_known(c, i))
			return 1;
		*n = op_nelems(c, i);
		if (*n > 2 * SHAPE_RANK_MAX)
			return op_invalid(c, e, "%zu %s", *n, attr);
		rc = op_data_as(c, i, DTYPE_F64, &p, e);
		if (rc < 0)
			return rc;
		memcpy(out, p, *n * sizeof(double));
	}
	return 0;
}

static int upsample_scales(const struct op_call *c, double *scale)
{
	if (!node_attr(c->node, "height_scale"))
		return 0;
	scale[0] = scale[1] = 1;
	scale[2] = op_attr_float(c, "height_scale", 1);
	scale[3] = op_attr_float(c, "width_scale", 1);
	return 4;
}

/* Which extents scales and sizes are about. */
static int read_axes(struct op_call *c, int32_t rank, int32_t *axes, size_t *n,
		     struct err *e)
{
	int rc = op_axes(c, "axes", SIZE_MAX, rank, axes, n, e);

	if (rc < 0 || *n > 0)
		return rc;
	for (int32_t i = 0; i < rank; i++)
		axes[i] = i;
	*n = (size_t)rank;
	return 0;
}

static int keep_ratio(struct op_call *c, const struct shape *in,
		      const int32_t *axes, int64_t *sizes, size_t n,
		      struct resize *r, struct err *e)
{
	const char *policy =
		op_attr_str(c, "keep_aspect_ratio_policy", "stretch");
	bool smaller = strcmp(policy, "not_larger") == 0;
	double scale = smaller ? INFINITY : 0;

	if (strcmp(policy, "stretch") == 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		double s = (double)sizes[i] / (double)in->dims[axes[i]];

		scale = smaller ? fmin(scale, s) : fmax(scale, s);
	}
	for (size_t i = 0; i < n; i++) {
		double v = floor(scale * (double)in->dims[axes[i]] + 0.5);

		if (!(v >= 0 && v < 0x1p62))
			return op_invalid(c, e, "sizes");
		sizes[i] = (int64_t)v;
		r->scale[axes[i]] = scale;
	}
	return 0;
}

static int from_sizes(struct op_call *c, const struct shape *in,
		      const int32_t *axes, size_t naxes, struct resize *r,
		      struct err *e)
{
	int64_t sizes[SHAPE_RANK_MAX];
	size_t n;
	int rc = op_ints(c, 3, sizes, SHAPE_RANK_MAX, &n, e);

	if (rc != 0)
		return rc;
	if (n != naxes)
		return op_invalid(c, e, "%zu sizes", n);
	for (size_t i = 0; i < n; i++)
		r->scale[axes[i]] =
			(double)sizes[i] / (double)in->dims[axes[i]];
	rc = keep_ratio(c, in, axes, sizes, n, r, e);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (sizes[i] < 0)
			return op_invalid(c, e, "size %lld",
					  (long long)sizes[i]);
		r->out.dims[axes[i]] = sizes[i];
	}
	return rc;
}

static int from_scales(struct op_call *c, const struct shape *in,
		       const int32_t *axes, size_t naxes, struct resize *r,
		       struct err *e)
{
	double scale[2 * SHAPE_RANK_MAX];
	size_t n = (size_t)upsample_scales(c, scale);
	int rc = 0;

	if (n == 0)
		rc = float_list(c, c->op->arg == 11 ? 2 : 1, "scales", scale,
				&n, e);
	if (rc != 0)
		return rc;
	if (n != naxes)
		return op_invalid(c, e, "%zu scales", n);
	for (size_t i = 0; i < n; i++) {
		double v = floor((double)in->dims[axes[i]] * scale[i]);

		if (!(scale[i] > 0) || !(v < 0x1p62))
			return op_invalid(c, e, "a scale of %g", scale[i]);
		r->scale[axes[i]] = scale[i];
		r->out.dims[axes[i]] = (int64_t)v;
	}
	return 0;
}

static int read_region(struct op_call *c, const int32_t *axes, size_t naxes,
		       struct resize *r, struct err *e)
{
	double roi[2 * SHAPE_RANK_MAX];
	size_t n;
	int rc;

	for (int32_t i = 0; i < r->out.rank; i++) {
		r->start[i] = 0;
		r->end[i] = 1;
	}
	if (strcmp(r->transform, "tf_crop_and_resize") != 0)
		return 0;
	rc = float_list(c, 1, "", roi, &n, e);
	if (rc != 0)
		return rc;
	if (n != 2 * naxes)
		return op_invalid(c, e, "a region of %zu numbers", n);
	for (size_t i = 0; i < naxes; i++) {
		r->start[axes[i]] = roi[i];
		r->end[axes[i]] = roi[i + naxes];
	}
	return 0;
}

/* 1 when the extents depend on data that is not there yet. */
static int read_resize(struct op_call *c, struct resize *r, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int32_t axes[SHAPE_RANK_MAX];
	size_t naxes;
	int rc = read_mode(c, r, e);

	r->out = *in;
	if (rc == 0)
		rc = read_axes(c, in->rank, axes, &naxes, e);
	if (rc < 0)
		return rc;
	for (int32_t i = 0; i < in->rank; i++)
		r->scale[i] = 1;
	if (!shape_is_known(in))
		return 1;
	rc = op_has(c, 3) ? from_sizes(c, in, axes, naxes, r, e)
			  : from_scales(c, in, axes, naxes, r, e);
	return rc == 0 ? read_region(c, axes, naxes, r, e) : rc;
}

static int infer_resize(struct op_call *c, struct err *e)
{
	struct resize r;
	int rc;

	if (op_shape(c, 0)->rank < 0) {
		op_out(c, 0, c->in[0].dtype, op_shape(c, 0));
		return 0;
	}
	rc = read_resize(c, &r, e);
	if (rc < 0)
		return rc;
	for (int32_t i = 0; i < r.out.rank && rc > 0; i++)
		r.out.dims[i] = DIM_UNKNOWN;
	op_out(c, 0, c->in[0].dtype, &r.out);
	return 0;
}

/* ---- one extent ---- */
/* Where output x lies in the input. */
static double original(const struct resize *r, int32_t d, double x, double in,
		       double out)
{
	double scale = r->scale[d], full = scale * in; /* not cut to out */
	const char *t = r->transform;

	if (strcmp(t, "asymmetric") == 0)
		return x / scale;
	if (strcmp(t, "align_corners") == 0)
		return full > 1 ? x * (in - 1) / (full - 1) : 0;
	if (strcmp(t, "pytorch_half_pixel") == 0)
		return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
	if (strcmp(t, "tf_half_pixel_for_nn") == 0)
		return (x + 0.5) / scale;
	if (strcmp(t, "half_pixel_symmetric") == 0) {
		double adjust = out / full;

		return in / 2 * (1 - adjust) + (x + 0.5) / scale - 0.5;
	}
	if (strcmp(t, "tf_crop_and_resize") == 0) {
		double a = r->start[d], b = r->end[d];

		return out > 1 ? a * (in - 1) +
					 x * (b - a) * (in - 1) / (out - 1)
			       : 0.5 * (a + b) * (in - 1);
	}
	return (x + 0.5) / scale - 0.5;
}

static int64_t clamp(double v, int64_t n)
{
	return v < 0 ? 0 : v > (double)(n - 1) ? n - 1 : (int64_t)v;
}

static int64_t nearest(const struct resize *r, double x, int64_t n,
		       bool shrinks)
{
	if (strcmp(r->nearest, "simple") == 0) /* opset 10 */
		return clamp(shrinks ? ceil(x) : floor(x), n);
	if (strcmp(r->nearest, "floor") == 0)
		return clamp(floor(x), n);
	if (strcmp(r->nearest, "ceil") == 0)
		return clamp(ceil(x), n);
	if (strcmp(r->nearest, "round_prefer_ceil") == 0)
		return clamp(floor(x + 0.5), n);
	return clamp(ceil(x - 0.5), n);
}

static double cubic(double a, double x)
{
	x = fabs(x);
	if (x <= 1)
		return ((a + 2) * x - (a + 3)) * x * x + 1;
	return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* The filter of a mode at distance x from the point. */
static double filter(const struct resize *r, double x)
{
	if (r->mode == MODE_CUBIC)
		return cubic(r->cubic_a, x);
	x = fabs(x);
	return x < 1 ? 1 - x : 0;
}

struct table {
	int64_t *index;
	double *weight;
	uint8_t *outside;
	int64_t in;
	size_t taps;
	bool shrinks;
	double stretch; /* of the filter: less than 1 when shrinking */
};

/* The taps of output j, around x. */
static void fill_taps(const struct resize *r, const struct table *t, size_t j,
		      double x)
{
	int64_t *index = t->index + j * t->taps;
	double *weight = t->weight + j * t->taps, sum = 0;
	double first = floor(x) - (double)(t->taps / 2) + 1;

	if (r->mode == MODE_NEAREST) {
		index[0] = nearest(r, x, t->in, t->shrinks);
		weight[0] = 1;
		return;
	}
	for (size_t k = 0; k < t->taps; k++) {
		double at = first + (double)k;
		bool in = at >= 0 && at <= (double)(t->in - 1);

		index[k] = clamp(at, t->in);
		weight[k] = r->exclude_outside && !in
				    ? 0
				    : filter(r, (at - x) * t->stretch);
		sum += weight[k];
	}
	for (size_t k = 0; k < t->taps && sum != 0; k++)
		weight[k] /= sum;
}

static int make_table(struct op_call *c, const struct resize *r, int32_t d,
		      struct table *t, struct err *e)
{
	int64_t out = r->out.dims[d];
	bool crop = strcmp(r->transform, "tf_crop_and_resize") == 0;
	double width = r->mode == MODE_CUBIC ? 4 : 2;
	void *p[3];
	int rc;

	t->in = op_shape(c, 0)->dims[d];
	t->shrinks = r->scale[d] < 1;
	t->stretch = r->antialias && r->scale[d] < 1 ? r->scale[d] : 1;
	width = ceil(width / 2 / t->stretch) * 2;
	if (width > 2 * (double)t->in + 8)
		width = 2 * (double)t->in + 8;
	t->taps = r->mode == MODE_NEAREST ? 1 : (size_t)width;
	if (t->in == 0 && out > 0)
		return op_invalid(c, e, "nothing to resize");
	rc = op_temp_array(c, (uint64_t)out, t->taps * sizeof(int64_t), &p[0],
			   e);
	if (rc == 0)
		rc = op_temp_array(c, (uint64_t)out, t->taps * sizeof(double),
				   &p[1], e);
	if (rc == 0)
		rc = op_temp_array(c, (uint64_t)out, 1, &p[2], e);
	if (rc < 0)
		return rc;
	t->index = p[0];
	t->weight = p[1];
	t->outside = crop ? p[2] : NULL;
	for (int64_t j = 0; j < out; j++) {
		double x =
			original(r, d, (double)j, (double)t->in, (double)out);

		if (!(x > -0x1p52 && x < 0x1p52))
			return op_invalid(c, e, "coordinates");
		((uint8_t *)p[2])[j] = x < 0 || x > (double)(t->in - 1);
		fill_taps(r, t, (size_t)j, x);
	}
	return 0;
}

/* Copies input 0 with the nearest elements; moves them only. */
static int resize_nearest(struct op_call *c, const struct resize *r,
			  struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct copy_map m = {.rank = (size_t)in->rank};
	int64_t strides[SHAPE_RANK_MAX];
	uint8_t fill[16] = {0};
	const void *src;
	void *out;
	int rc = op_elems(c, 0, &src, &m.size, e);

	if (rc == 0 && r->extrapolation != 0 &&
	    op_convert(&c->env->kernel, DTYPE_F64, &r->extrapolation,
		       c->in[0].dtype, fill, 1, false) < 0)
		return op_bad_dtype(c, 0, e);
	m.fill = fill;
	shape_strides(in, strides);
	for (int32_t d = 0; d < in->rank && rc == 0; d++) {
		struct table t;

		rc = make_table(c, r, d, &t, e);
		if (rc < 0)
			return rc;
		for (int64_t j = 0; j < r->out.dims[d] && t.outside; j++) {
			if (t.outside[j])
				t.index[j] = -1;
		}
		m.map[d] = t.index;
		m.dims[d] = (size_t)r->out.dims[d];
		m.strides[d] = (size_t)strides[d];
	}
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, &r->out, &out, e);
	if (rc == 0)
		copy_mapped(&c->env->kernel, &m, src, out);
	return rc;
}

/* Results of integer types are rounded, not cut. */
static int store(struct op_call *c, const struct resize *r, double *v,
		 struct err *e)
{
	uint64_t n = shape_span(&r->out, 0, r->out.rank);
	void *out;
	int rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &r->out, &out, e);

	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n; i++) {
		((double *)out)[i] =
			op_is_int(c->in[0].dtype) ? nearbyint(v[i]) : v[i];
		if (i % STOP_AFTER == 0 && kernel_stopped(&c->env->kernel))
			break;
	}
	return 0;
}

static int resize_filtered(struct op_call *c, const struct resize *r,
			   struct err *e)
{
	struct shape now = *op_shape(c, 0);
	const void *src;
	int rc = op_data_as(c, 0, DTYPE_F64, &src, e);

	for (int32_t d = now.rank; d-- > 0 && rc == 0;) {
		struct resize_plan p = {.type = NUM_F64,
					.fill = r->extrapolation};
		struct table t;
		uint64_t n;
		void *next;

		if (now.dims[d] == r->out.dims[d] && r->scale[d] == 1 &&
		    r->start[d] == 0 && r->end[d] == 1)
			continue;
		rc = make_table(c, r, d, &t, e);
		p.outer = shape_span(&now, 0, d);
		p.from = (size_t)now.dims[d];
		p.to = (size_t)r->out.dims[d];
		p.inner = shape_span(&now, d + 1, now.rank);
		now.dims[d] = r->out.dims[d];
		if (rc == 0)
			rc = op_count(c, &now, &n, e);
		if (rc == 0)
			rc = op_temp_array(c, n, sizeof(double), &next, e);
		if (rc < 0)
			return rc;
		p.taps = t.taps;
		p.index = t.index;
		p.weight = t.weight;
		p.outside = t.outside;
		resize_axis(&c->env->kernel, &p, src, next);
		src = next;
	}
	return rc < 0 ? rc : store(c, r, (double *)src, e);
}

static int eval_resize(struct op_call *c, struct err *e)
{
	struct resize r;
	int rc = read_resize(c, &r, e);

	if (rc < 0)
		return rc;
	if (r.out.rank == 0)
		return op_give(c, 0, &c->in[0], e);
	if (r.mode == MODE_NEAREST)
		return resize_nearest(c, &r, e);
	return resize_filtered(c, &r, e);
}

const struct op ops_resize[] = {
	{ONNX, "Upsample", 1, 1, 2, 1, 1, 0, 10, infer_resize, eval_resize},
	{ONNX, "Resize", 10, 2, 2, 1, 1, 0, 10, infer_resize, eval_resize},
	{ONNX, "Resize", 11, 1, 4, 1, 1, 0, 11, infer_resize, eval_resize},
	{0},
};
