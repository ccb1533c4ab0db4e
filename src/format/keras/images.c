/* SPDX-License-Identifier: MIT */
/* images - pooling, padding and resizing over one, two or three axes. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/keras/window.h"
#include "wire/json.h"

/* ---- pooling ---- */

static int pool(struct keras_call *c, const char *type, struct err *e)
{
	struct window w;
	value_id in;
	struct step s = {.what = "compute", .type = type, .in = &in, .nin = 1};
	int rc;

	if (!window_read(c, &w, "pool_size"))
		return 0;
	/* Without strides the windows lie side by side. */
	if (json_kind(keras_value(c, "strides")) == JSON_KIND_NULL)
		memcpy(w.strides, w.kernel, sizeof(w.strides));
	rc = window_set(c, &w, true, e);
	if (rc == 0)
		rc = window_turn(c, &w, "channels_first", true, c->in[0], &in,
				 e);
	return rc < 0 ? rc : window_compute(c, &w, &s, NO_VALUE, e);
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
	size_t n = window_axes(c->class);
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
	size_t n = window_axes(c->class), first = first_axis(c);
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
	size_t n = window_axes(c->class), first = first_axis(c);
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

/* ---- resizing ---- */

/* How TensorFlow finds its points; false for a way that ONNX lacks. */
static bool set_points(const struct keras_call *c, struct attr a[5])
{
	bool is_linear = keras_is(c, "interpolation", "bilinear");
	bool is_cubic = keras_is(c, "interpolation", "bicubic");
	bool is_nearest =
		keras_is(c, "interpolation", "nearest") ||
		json_kind(keras_value(c, "interpolation")) == JSON_KIND_NULL;

	a[0] = attr_set_text("mode", is_cubic	 ? "cubic"
				     : is_linear ? "linear"
						 : "nearest");
	a[1] = attr_set_text("coordinate_transformation_mode", "half_pixel");
	a[2] = attr_set_text("nearest_mode", "round_prefer_ceil");
	a[3] = attr_set_float("cubic_coeff_a", -0.5f);
	a[4] = attr_set_int("exclude_outside", is_cubic);
	return is_linear || is_cubic || is_nearest;
}

static int upsampling(struct keras_call *c, struct err *e)
{
	size_t n = window_axes(c->class), first = first_axis(c);
	int64_t size[AXES_MAX];
	float scales[AXES_MAX + 2] = {1, 1, 1, 1, 1};
	value_id in[3] = {c->in[0], NO_VALUE, NO_VALUE};
	struct attr a[5];
	struct step s = {
		.type = "Resize", .in = in, .nin = 3, .attrs = a, .nattrs = 5};
	int rc;

	if (!keras_ints(c, "size", size, n, 2) || !set_points(c, a))
		return 0;
	for (size_t i = 0; i < n; i++)
		scales[first + i] = (float)size[i];
	rc = steps_floats(&c->at, "scales", scales, n + 2, &in[2], e);
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

/* To a height and a width, whatever the proportions. */
static int resizing(struct keras_call *c, struct err *e)
{
	int64_t size[] = {keras_int(c, "height", 0), keras_int(c, "width", 0)};
	int64_t axes[] = {c->rank - 3, c->rank - 2};
	struct attr a[6], to = attr_set_int("to", 1); /* float32 */
	value_id in[4] = {NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE};
	struct step cast = {.what = "to_float32",
			    .type = "Cast",
			    .in = c->in,
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};
	struct step s = {.what = "resize",
			 .type = "Resize",
			 .opset = 18, /* some axes alone */
			 .in = in,
			 .nin = 4,
			 .attrs = a,
			 .nattrs = 6};
	int rc;

	if (size[0] < 1 || size[1] < 1 || c->rank < 3 || c->rank > 4 ||
	    !set_points(c, a) || first_axis(c) != 1 ||
	    keras_flag(c, "crop_to_aspect_ratio", false) ||
	    keras_flag(c, "pad_to_aspect_ratio", false))
		return 0;
	rc = attr_set_ints(&c->at, "axes", axes, 2, &a[5], e);
	if (rc == 0)
		rc = steps_inner(&c->at, &cast, &in[0], e);
	if (rc == 0)
		rc = steps_ints(&c->at, "sizes", size, 2, &in[3], e);
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

static const struct {
	const char *class;
	keras_make make;
} layers[] = {
	{"AveragePooling1D", average_pool},
	{"AveragePooling2D", average_pool},
	{"AveragePooling3D", average_pool},
	{"Conv1D", keras_conv},
	{"Conv1DTranspose", keras_conv_transpose},
	{"Conv2D", keras_conv},
	{"Conv2DTranspose", keras_conv_transpose},
	{"Conv3D", keras_conv},
	{"Conv3DTranspose", keras_conv_transpose},
	{"ConvLSTM1D", keras_conv_lstm},
	{"ConvLSTM2D", keras_conv_lstm},
	{"ConvLSTM3D", keras_conv_lstm},
	{"Convolution1D", keras_conv},
	{"Convolution2D", keras_conv},
	{"Cropping1D", cropping},
	{"Cropping2D", cropping},
	{"Cropping3D", cropping},
	{"DepthwiseConv1D", keras_depthwise_conv},
	{"DepthwiseConv2D", keras_depthwise_conv},
	{"GlobalAveragePooling1D", global_average},
	{"GlobalAveragePooling2D", global_average},
	{"GlobalAveragePooling3D", global_average},
	{"GlobalMaxPooling1D", global_max},
	{"GlobalMaxPooling2D", global_max},
	{"GlobalMaxPooling3D", global_max},
	{"MaxPooling1D", max_pool},
	{"MaxPooling2D", max_pool},
	{"MaxPooling3D", max_pool},
	{"Resizing", resizing},
	{"SeparableConv1D", keras_separable_conv},
	{"SeparableConv2D", keras_separable_conv},
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
