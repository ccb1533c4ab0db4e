/* SPDX-License-Identifier: MIT */
/*
 * images - convolution, pooling and padding over one, two or three axes.
 *
 * Values are laid out with the channels last unless the layer says otherwise;
 * ONNX computes with the channels first, so they are turned around on the way
 * in and out.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/keras/call.h"
#include "wire/json.h"

#define AXES_MAX 3

struct window {
	size_t n;      /* axes of space */
	bool is_first; /* the channels are */
	bool is_same;
	int64_t kernel[AXES_MAX], strides[AXES_MAX], dilations[AXES_MAX];
	struct attr attrs[6];
	uint32_t nattrs;
};

/* "Conv2D" is about two axes. */
static size_t count_axes(const char *class)
{
	for (const char *p = class; *p; p++)
		if (*p >= '1' && *p <= '3' && p[1] == 'D')
			return (size_t)(*p - '0');
	return 0;
}

static bool read_window(struct keras_call *c, struct window *w,
			const char *kernel)
{
	*w = (struct window){.n = count_axes(c->class)};
	w->is_first = keras_is(c, "data_format", "channels_first");
	w->is_same = keras_is(c, "padding", "same");
	if (w->n == 0 || !keras_ints(c, kernel, w->kernel, w->n, 1) ||
	    !keras_ints(c, "strides", w->strides, w->n, 1) ||
	    !keras_ints(c, "dilation_rate", w->dilations, w->n, 1))
		return false;
	for (size_t i = 0; i < w->n; i++)
		if (w->kernel[i] < 1 || w->strides[i] < 1 ||
		    w->dilations[i] < 1 || w->kernel[i] > 1 << 20 ||
		    w->dilations[i] > 1 << 20)
			return false;
	return w->is_same || keras_is(c, "padding", "valid") ||
	       keras_is(c, "padding", "causal");
}

/* ---- layouts ---- */

static int turn(struct keras_call *c, const struct window *w, const char *what,
		bool to_first, value_id in, value_id *out, struct err *e)
{
	int64_t perm[AXES_MAX + 2] = {0};

	*out = in;
	if (w->is_first)
		return 0;
	perm[to_first ? 1 : w->n + 1] = to_first ? (int64_t)w->n + 1 : 1;
	for (size_t i = 0; i < w->n; i++)
		perm[to_first ? i + 2 : i + 1] =
			(int64_t)i + (to_first ? 1 : 2);
	return keras_transpose(c, what, in, perm, w->n + 2, out, e);
}

/* A kernel [space.., a, b] becomes [b, a, space..] or [a, b, space..]. */
static int turn_kernel(struct keras_call *c, const struct window *w,
		       const char *what, bool swaps, value_id in, value_id *out,
		       struct err *e)
{
	int64_t perm[AXES_MAX + 2];

	perm[0] = (int64_t)w->n + (swaps ? 1 : 0);
	perm[1] = (int64_t)w->n + (swaps ? 0 : 1);
	for (size_t i = 0; i < w->n; i++)
		perm[i + 2] = (int64_t)i;
	return keras_transpose(c, what, in, perm, w->n + 2, out, e);
}

/* The node on values with the channels first; then bias and activation. */
static int compute(struct keras_call *c, struct window *w, struct step *s,
		   value_id bias, struct err *e)
{
	int64_t perm[AXES_MAX + 2] = {0};
	value_id v;
	struct attr a;
	struct step back = {.what = "channels_last",
			    .type = "Transpose",
			    .in = &v,
			    .nin = 1,
			    .attrs = &a,
			    .nattrs = 1};
	int rc;

	s->attrs = w->attrs;
	s->nattrs = w->nattrs;
	if (w->is_first)
		return bias == NO_VALUE ? keras_finish_active(c, s, e) : 0;
	rc = steps_inner(&c->at, s, &v, e);
	perm[w->n + 1] = 1;
	for (size_t i = 0; i < w->n; i++)
		perm[i + 1] = (int64_t)i + 2;
	if (rc == 0)
		rc = attr_set_ints(&c->at, "perm", perm, w->n + 2, &a, e);
	return rc < 0 ? rc : keras_finish_biased(c, &back, bias, e);
}

static int set_ints(struct keras_call *c, struct window *w, const char *name,
		    const int64_t *v, size_t n, struct err *e)
{
	return attr_set_ints(&c->at, name, v, n, &w->attrs[w->nattrs++], e);
}

/* Causal: all of the padding comes before the first step. */
static int set_padding(struct keras_call *c, struct window *w, struct err *e)
{
	int64_t pads[2] = {(w->kernel[0] - 1) * w->dilations[0], 0};

	if (keras_is(c, "padding", "causal"))
		return set_ints(c, w, "pads", pads, 2, e);
	w->attrs[w->nattrs++] =
		attr_set_text("auto_pad", w->is_same ? "SAME_UPPER" : "VALID");
	return 0;
}

static int set_window(struct keras_call *c, struct window *w, bool is_pool,
		      struct err *e)
{
	int rc = set_padding(c, w, e);

	if (rc == 0)
		rc = set_ints(c, w, "strides", w->strides, w->n, e);
	if (rc == 0 && is_pool)
		rc = set_ints(c, w, "kernel_shape", w->kernel, w->n, e);
	if (rc == 0 && !is_pool)
		rc = set_ints(c, w, "dilations", w->dilations, w->n, e);
	return rc;
}

/* ---- convolution ---- */

/* With the channels first the bias is an input of the node itself. */
static uint32_t place_bias(const struct window *w, value_id *in, value_id *bias)
{
	if (!w->is_first || *bias == NO_VALUE)
		return 2;
	in[2] = *bias;
	*bias = NO_VALUE;
	return 3;
}

static bool can_convolve(struct keras_call *c, struct window *w,
			 const struct param *kernel)
{
	return kernel && read_window(c, w, "kernel_size") &&
	       kernel->rank == w->n + 2 &&
	       keras_can_activate(c, keras_value(c, "activation"));
}

static int conv(struct keras_call *c, struct err *e)
{
	struct window w;
	value_id in[3], kernel, bias;
	struct step s = {.what = "compute", .type = "Conv", .in = in};
	int rc = keras_weight(c, "kernel", &kernel, e);

	if (rc == 0)
		rc = keras_weight(c, "bias", &bias, e);
	if (rc < 0 || !can_convolve(c, &w, keras_weight_param(c, kernel)))
		return rc;
	rc = set_window(c, &w, false, e);
	w.attrs[w.nattrs++] = attr_set_int("group", keras_int(c, "groups", 1));
	if (rc == 0)
		rc = turn(c, &w, "channels_first", true, c->in[0], &in[0], e);
	if (rc == 0)
		rc = turn_kernel(c, &w, "kernel_turned", true, kernel, &in[1],
				 e);
	s.nin = place_bias(&w, in, &bias);
	return rc < 0 ? rc : compute(c, &w, &s, bias, e);
}

/* [space.., in, multiplier] is [in * multiplier, 1, space..] of groups. */
static int grouped_kernel(struct keras_call *c, const struct window *w,
			  const struct param *p, value_id in, value_id *out,
			  struct err *e)
{
	int64_t dims[AXES_MAX + 2];
	value_id v;
	int rc = turn_kernel(c, w, "kernel_turned", false, in, &v, e);

	if (__builtin_mul_overflow(p->dims[w->n], p->dims[w->n + 1], &dims[0]))
		return err_set(e, EINVAL, "a kernel of too many channels");
	dims[1] = 1;
	for (size_t i = 0; i < w->n; i++)
		dims[i + 2] = p->dims[i];
	return rc < 0 ? rc
		      : keras_reshape(c, "kernel_grouped", v, dims, w->n + 2,
				      out, e);
}

static int depthwise_conv(struct keras_call *c, struct err *e)
{
	struct window w;
	const struct param *p;
	value_id in[3], kernel, bias;
	struct step s = {.what = "compute", .type = "Conv", .in = in};
	int rc = keras_weight(c, "depthwise_kernel", &kernel, e);

	if (rc == 0 && kernel == NO_VALUE)
		rc = keras_weight(c, "kernel", &kernel, e);
	if (rc == 0)
		rc = keras_weight(c, "bias", &bias, e);
	p = rc < 0 ? NULL : keras_weight_param(c, kernel);
	if (rc < 0 || !can_convolve(c, &w, p))
		return rc;
	rc = set_window(c, &w, false, e);
	w.attrs[w.nattrs++] = attr_set_int("group", p->dims[w.n]);
	if (rc == 0)
		rc = turn(c, &w, "channels_first", true, c->in[0], &in[0], e);
	if (rc == 0)
		rc = grouped_kernel(c, &w, p, kernel, &in[1], e);
	s.nin = place_bias(&w, in, &bias);
	return rc < 0 ? rc : compute(c, &w, &s, bias, e);
}

/* A depthwise convolution, then one of single points. */
static int separable_conv(struct keras_call *c, struct err *e)
{
	struct window w;
	const struct param *p;
	value_id in[3], deep, point, bias;
	struct step s = {.what = "depthwise", .type = "Conv", .in = in};
	int rc = keras_weight(c, "depthwise_kernel", &deep, e);

	if (rc == 0)
		rc = keras_weight(c, "pointwise_kernel", &point, e);
	if (rc == 0)
		rc = keras_weight(c, "bias", &bias, e);
	p = rc < 0 ? NULL : keras_weight_param(c, deep);
	if (rc < 0 || point == NO_VALUE || !can_convolve(c, &w, p))
		return rc;
	rc = set_window(c, &w, false, e);
	w.attrs[w.nattrs++] = attr_set_int("group", p->dims[w.n]);
	if (rc == 0)
		rc = turn(c, &w, "channels_first", true, c->in[0], &in[0], e);
	if (rc == 0)
		rc = grouped_kernel(c, &w, p, deep, &in[1], e);
	s.attrs = w.attrs;
	s.nattrs = w.nattrs;
	s.nin = 2;
	if (rc == 0)
		rc = steps_inner(&c->at, &s, &in[0], e);
	if (rc == 0)
		rc = turn_kernel(c, &w, "pointwise_turned", true, point, &in[1],
				 e);
	w.nattrs = 0;
	s.what = "pointwise";
	s.nin = place_bias(&w, in, &bias);
	return rc < 0 ? rc : compute(c, &w, &s, bias, e);
}

/* What TensorFlow cuts off on both sides, or adds at the end. */
static int set_transposed(struct keras_call *c, struct window *w, struct err *e)
{
	int64_t pads[2 * AXES_MAX] = {0}, more[AXES_MAX] = {0};
	int rc;

	for (size_t i = 0; i < w->n; i++) {
		int64_t extent = (w->kernel[i] - 1) * w->dilations[i] + 1;
		int64_t over = extent - w->strides[i];

		more[i] = over < 0 ? -over : 0;
		if (!w->is_same || over < 0)
			continue;
		pads[i] = over / 2;
		pads[w->n + i] = over - over / 2;
	}
	rc = set_ints(c, w, "pads", pads, 2 * w->n, e);
	if (rc == 0)
		rc = set_ints(c, w, "output_padding", more, w->n, e);
	if (rc == 0)
		rc = set_ints(c, w, "strides", w->strides, w->n, e);
	if (rc == 0)
		rc = set_ints(c, w, "dilations", w->dilations, w->n, e);
	return rc;
}

/* The kernel is [space.., out, in]. */
static int conv_transpose(struct keras_call *c, struct err *e)
{
	struct window w;
	value_id in[3], kernel, bias;
	struct step s = {.what = "compute", .type = "ConvTranspose", .in = in};
	int rc = keras_weight(c, "kernel", &kernel, e);

	if (rc == 0)
		rc = keras_weight(c, "bias", &bias, e);
	if (rc < 0 || !can_convolve(c, &w, keras_weight_param(c, kernel)) ||
	    json_kind(keras_value(c, "output_padding")) != JSON_KIND_NULL)
		return rc;
	rc = set_transposed(c, &w, e);
	if (rc == 0)
		rc = turn(c, &w, "channels_first", true, c->in[0], &in[0], e);
	if (rc == 0)
		rc = turn_kernel(c, &w, "kernel_turned", true, kernel, &in[1],
				 e);
	s.nin = place_bias(&w, in, &bias);
	return rc < 0 ? rc : compute(c, &w, &s, bias, e);
}

/* ---- pooling ---- */

static int pool(struct keras_call *c, const char *type, struct err *e)
{
	struct window w;
	value_id in;
	struct step s = {.what = "compute", .type = type, .in = &in, .nin = 1};
	int rc;

	if (!read_window(c, &w, "pool_size"))
		return 0;
	/* Without strides the windows lie side by side. */
	if (json_kind(keras_value(c, "strides")) == JSON_KIND_NULL)
		memcpy(w.strides, w.kernel, sizeof(w.strides));
	rc = set_window(c, &w, true, e);
	if (rc == 0)
		rc = turn(c, &w, "channels_first", true, c->in[0], &in, e);
	return rc < 0 ? rc : compute(c, &w, &s, NO_VALUE, e);
}

static int max_pool(struct keras_call *c, struct err *e)
{
	return pool(c, "MaxPool", e);
}

static int average_pool(struct keras_call *c, struct err *e)
{
	return pool(c, "AveragePool", e);
}

static int global_pool(struct keras_call *c, const char *type, struct err *e)
{
	int64_t axes[AXES_MAX];
	size_t n = count_axes(c->class);
	bool is_first = keras_is(c, "data_format", "channels_first");
	bool keeps = keras_flag(c, "keepdims", false);
	struct attr a[2];
	struct step s = {.type = type,
			 .opset = 11,
			 .in = c->in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc;

	for (size_t i = 0; i < n; i++)
		axes[i] = (int64_t)i + (is_first ? 2 : 1);
	rc = attr_set_ints(&c->at, "axes", axes, n, &a[0], e);
	a[1] = attr_set_int("keepdims", keeps);
	c->out_rank = keeps ? (int)n + 2 : 2;
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

/* The sum of the steps that count, over their number. */
static int masked_average(struct keras_call *c, value_id mask, struct err *e)
{
	int64_t axis = keras_is(c, "data_format", "channels_first") ? 2 : 1;
	struct attr a[2] = {
		{0}, attr_set_int("keepdims", keras_flag(c, "keepdims", 0))};
	struct attr to = attr_set_int("to", 1); /* float32 */
	value_id v, in[2];
	struct step cast = {.what = "mask_numbers",
			    .type = "Cast",
			    .in = &mask,
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};
	struct step sum = {.type = "ReduceSum",
			   .opset = 11,
			   .nin = 1,
			   .attrs = a,
			   .nattrs = 2};
	struct step n = {.type = "Div", .in = in, .nin = 2};
	int rc = attr_set_ints(&c->at, "axes", &axis, 1, &a[0], e);

	if (rc == 0)
		rc = steps_inner(&c->at, &cast, &mask, e);
	if (rc == 0)
		rc = steps_axis(&c->at, "mask_wide", "Unsqueeze", 3 - axis,
				mask, &mask, e);
	if (rc == 0)
		rc = steps_make(&c->at, "masked", "Mul", c->in[0], mask, &v, e);
	sum.what = "sum";
	sum.in = &v;
	if (rc == 0)
		rc = steps_inner(&c->at, &sum, &in[0], e);
	sum.what = "count";
	sum.in = &mask;
	if (rc == 0)
		rc = steps_inner(&c->at, &sum, &in[1], e);
	n.what = "average";
	c->out_rank = a[1].i ? 3 : 2;
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

static int global_average(struct keras_call *c, struct err *e)
{
	value_id mask = keras_mask(c->kg, c->in[0]);

	if (mask != NO_VALUE && strcmp(c->class, "GlobalAveragePooling1D") == 0)
		return masked_average(c, mask, e);
	return global_pool(c, "ReduceMean", e);
}

static int global_max(struct keras_call *c, struct err *e)
{
	return global_pool(c, "ReduceMax", e);
}

/* ---- borders ---- */

/* 1, [1, 2] or [[1, 2], [3, 4]]: before and after along each axis. */
static bool read_borders(const struct json *v, size_t n, int64_t out[][2])
{
	for (size_t i = 0; i < n; i++) {
		const struct json *at = v;

		if (json_kind(v) == JSON_KIND_ARRAY && n > 1)
			at = json_item(v, i);
		for (size_t k = 0; k < 2; k++) {
			const struct json *one =
				json_kind(at) == JSON_KIND_ARRAY
					? json_item(at, k)
					: at;

			if (!json_get_int(one, &out[i][k]) || out[i][k] < 0 ||
			    out[i][k] > INT32_MAX)
				return false;
		}
	}
	return n > 0;
}

static size_t first_axis(const struct keras_call *c)
{
	return keras_is(c, "data_format", "channels_first") ? 2 : 1;
}

static int zero_padding(struct keras_call *c, struct err *e)
{
	size_t n = count_axes(c->class), first = first_axis(c);
	int64_t borders[AXES_MAX][2], pads[2 * (AXES_MAX + 2)] = {0};
	struct attr a;
	struct step s = {.type = "Pad",
			 .opset = 2, /* the amounts are an attribute */
			 .in = c->in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc;

	if (!read_borders(keras_value(c, "padding"), n, borders))
		return 0;
	for (size_t i = 0; i < n; i++) {
		pads[first + i] = borders[i][0];
		pads[n + 2 + first + i] = borders[i][1];
	}
	rc = attr_set_ints(&c->at, "pads", pads, 2 * (n + 2), &a, e);
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

static int cropping(struct keras_call *c, struct err *e)
{
	size_t n = count_axes(c->class), first = first_axis(c);
	int64_t borders[AXES_MAX][2], axes[AXES_MAX];
	int64_t starts[AXES_MAX], ends[AXES_MAX];
	struct attr a[3];
	struct step s = {.type = "Slice",
			 .opset = 1, /* the amounts are attributes */
			 .in = c->in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 3};
	int rc;

	if (!read_borders(keras_value(c, "cropping"), n, borders))
		return 0;
	for (size_t i = 0; i < n; i++) {
		axes[i] = (int64_t)(first + i);
		starts[i] = borders[i][0];
		ends[i] = borders[i][1] ? -borders[i][1] : INT64_MAX;
	}
	rc = attr_set_ints(&c->at, "axes", axes, n, &a[0], e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "starts", starts, n, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "ends", ends, n, &a[2], e);
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

static int upsampling(struct keras_call *c, struct err *e)
{
	size_t n = count_axes(c->class), first = first_axis(c);
	bool is_linear = keras_is(c, "interpolation", "bilinear");
	int64_t size[AXES_MAX];
	float scales[AXES_MAX + 2] = {1, 1, 1, 1, 1};
	value_id in[3] = {c->in[0], NO_VALUE, NO_VALUE};
	struct attr a[] = {
		attr_set_text("mode", is_linear ? "linear" : "nearest"),
		attr_set_text("coordinate_transformation_mode",
			      is_linear ? "half_pixel" : "asymmetric"),
		attr_set_text("nearest_mode", "floor")};
	struct step s = {
		.type = "Resize", .in = in, .nin = 3, .attrs = a, .nattrs = 3};
	int rc;

	if (!keras_ints(c, "size", size, n, 2) ||
	    (json_kind(keras_value(c, "interpolation")) != JSON_KIND_NULL &&
	     !is_linear && !keras_is(c, "interpolation", "nearest")))
		return 0;
	for (size_t i = 0; i < n; i++)
		scales[first + i] = (float)size[i];
	rc = steps_floats(&c->at, "scales", scales, n + 2, &in[2], e);
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

static const struct {
	const char *class;
	keras_make make;
} layers[] = {
	{"AveragePooling1D", average_pool},
	{"AveragePooling2D", average_pool},
	{"AveragePooling3D", average_pool},
	{"Conv1D", conv},
	{"Conv1DTranspose", conv_transpose},
	{"Conv2D", conv},
	{"Conv2DTranspose", conv_transpose},
	{"Conv3D", conv},
	{"Conv3DTranspose", conv_transpose},
	{"Convolution1D", conv},
	{"Convolution2D", conv},
	{"Cropping1D", cropping},
	{"Cropping2D", cropping},
	{"Cropping3D", cropping},
	{"DepthwiseConv1D", depthwise_conv},
	{"DepthwiseConv2D", depthwise_conv},
	{"GlobalAveragePooling1D", global_average},
	{"GlobalAveragePooling2D", global_average},
	{"GlobalAveragePooling3D", global_average},
	{"GlobalMaxPooling1D", global_max},
	{"GlobalMaxPooling2D", global_max},
	{"GlobalMaxPooling3D", global_max},
	{"MaxPooling1D", max_pool},
	{"MaxPooling2D", max_pool},
	{"MaxPooling3D", max_pool},
	{"SeparableConv1D", separable_conv},
	{"SeparableConv2D", separable_conv},
	{"UpSampling1D", upsampling},
	{"UpSampling2D", upsampling},
	{"UpSampling3D", upsampling},
	{"ZeroPadding1D", zero_padding},
	{"ZeroPadding2D", zero_padding},
	{"ZeroPadding3D", zero_padding},
};

int keras_image_layer(struct keras_call *c, struct err *e)
{
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
		if (strcmp(c->class, layers[i].class) == 0)
			return layers[i].make(c, e);
	return 0;
}
