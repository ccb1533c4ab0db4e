/* SPDX-License-Identifier: MIT */
/* aten_layer - convolution, pooling, normalisation; see aten.h. */
#include <string.h>

#include "modelfs/err.h"

#include "format/pytorch/aten.h"

/* Axes that a window moves along. */
#define WINDOW_MAX 3

/* ---- windows ---- */

/* One number for all axes, or one for each; def where there are none. */
static bool get_each(const struct aten *k, const char *name, size_t naxes,
		     const int64_t *def, int64_t *out)
{
	int64_t v[ATEN_INTS_MAX];
	size_t n;

	if (!aten_ints(k, name, v, &n) || (n > 1 && n != naxes))
		return false;
	for (size_t i = 0; i < naxes; i++)
		out[i] = n == 0 ? def[i] : v[n == 1 ? 0 : i];
	return true;
}

static const int64_t ones[WINDOW_MAX] = {1, 1, 1};
static const int64_t zeros[WINDOW_MAX];

/* The same before and after. */
static int set_pads(struct aten *k, const int64_t *padding, size_t n,
		    struct attr *out, struct err *e)
{
	int64_t pads[2 * WINDOW_MAX];

	for (size_t i = 0; i < n; i++)
		pads[i] = pads[n + i] = padding[i];
	return attr_set_ints(&k->at, "pads", pads, 2 * n, out, e);
}

/* padding='same': the larger half behind, as torch does it; 'valid' */
static bool word_pads(const struct aten *k, const struct shape *weight,
		      size_t n, const int64_t *dilation, int64_t *pads)
{
	struct program_arg arg = aten_arg(k, "padding");
	struct attr text = {.kind = ATTR_OTHER};

	if (program_set_attr(k->at.m->arena, arg, &text, NULL) < 0 ||
	    text.kind != ATTR_STRING)
		return false;
	for (size_t i = 0; i < n; i++) {
		int64_t all, kernel = weight->dims[2 + i];

		if (kernel < 1 || dilation[i] < 1 ||
		    __builtin_mul_overflow(kernel - 1, dilation[i], &all))
			return false;
		all = strcmp(text.s.p, "same") == 0 ? all : 0;
		pads[i] = all / 2;
		pads[n + i] = all - all / 2;
	}
	return strcmp(text.s.p, "same") == 0 || strcmp(text.s.p, "valid") == 0;
}

struct conv {
	size_t n; /* axes */
	int64_t stride[WINDOW_MAX], pads[2 * WINDOW_MAX];
	int64_t dilation[WINDOW_MAX], more[WINDOW_MAX], groups;
	bool is_transposed;
};

static bool read_conv(const struct aten *k, const struct shape *weight,
		      struct conv *c)
{
	int64_t padding[WINDOW_MAX];

	if (!weight || weight->rank < 3 || weight->rank > 2 + WINDOW_MAX)
		return false;
	c->n = (size_t)weight->rank - 2;
	c->is_transposed = aten_flag(k, "transposed", false) ||
			   memmem(k->op, k->op_len, "transpose", 9);
	if (!get_each(k, "stride", c->n, ones, c->stride) ||
	    !get_each(k, "dilation", c->n, ones, c->dilation) ||
	    !get_each(k, "output_padding", c->n, zeros, c->more) ||
	    !aten_int(k, "groups", 1, &c->groups))
		return false;
	if (program_is_kind(aten_arg(k, "padding"), "as_string"))
		return word_pads(k, weight, c->n, c->dilation, c->pads);
	if (!get_each(k, "padding", c->n, zeros, padding))
		return false;
	for (size_t i = 0; i < c->n; i++)
		c->pads[i] = c->pads[c->n + i] = padding[i];
	return true;
}

static int convolution(struct aten *k, struct err *e)
{
	struct conv c;
	struct attr a[6];
	value_id in[3];
	struct step n = {.in = in, .nin = 3, .attrs = a, .nattrs = 4};
	int rc = aten_self(k, &in[0], e);

	if (rc > 0)
		rc = aten_value(k, "weight", &in[1], e);
	else
		return rc;
	if (rc == 0)
		rc = aten_value(k, "bias", &in[2], e);
	if (rc < 0 || in[1] == NO_VALUE ||
	    !read_conv(k, aten_shape(k, in[1]), &c) ||
	    aten_rank(k, in[0]) != (int)c.n + 2)
		return rc;
	n.type = c.is_transposed ? "ConvTranspose" : "Conv";
	n.nin = in[2] == NO_VALUE ? 2 : 3;
	rc = attr_set_ints(&k->at, "strides", c.stride, c.n, &a[0], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "pads", c.pads, 2 * c.n, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "dilations", c.dilation, c.n, &a[2],
				   e);
	a[3] = attr_set_int("group", c.groups);
	if (rc == 0 && c.is_transposed) {
		rc = attr_set_ints(&k->at, "output_padding", c.more, c.n, &a[4],
				   e);
		n.nattrs = 5;
	}
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

/* ---- pooling ---- */

/* The axes of "max_pool2d". */
static size_t count_axes(const struct aten *k)
{
	const char *digit = memchr(k->op, 'd', k->op_len);

	for (; digit; digit = memchr(digit + 1, 'd',
				     k->op_len - (size_t)(digit + 1 - k->op)))
		if (digit > k->op && digit[-1] >= '1' && digit[-1] <= '3')
			return (size_t)(digit[-1] - '0');
	return 0;
}

static int pool(struct aten *k, struct err *e)
{
	bool is_max = memmem(k->op, k->op_len, "max", 3);
	size_t n = count_axes(k);
	int64_t kernel[WINDOW_MAX], stride[WINDOW_MAX], padding[WINDOW_MAX];
	int64_t dilation[WINDOW_MAX];
	struct attr a[5];
	value_id in;
	struct step s = {.type = is_max ? "MaxPool" : "AveragePool",
			 .opset = 19,
			 .in = &in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 5};
	int rc = aten_self(k, &in, e);

	if (rc <= 0 || n == 0 || aten_rank(k, in) != (int)n + 2 ||
	    !aten_has(k, "kernel_size") ||
	    !get_each(k, "kernel_size", n, ones, kernel) ||
	    !get_each(k, "stride", n, kernel, stride) ||
	    !get_each(k, "padding", n, zeros, padding) ||
	    !get_each(k, "dilation", n, ones, dilation) ||
	    aten_has(k, "divisor_override"))
		return rc < 0 ? rc : 0;
	rc = attr_set_ints(&k->at, "kernel_shape", kernel, n, &a[0], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "strides", stride, n, &a[1], e);
	if (rc == 0)
		rc = set_pads(k, padding, n, &a[2], e);
	a[3] = attr_set_int("ceil_mode", aten_flag(k, "ceil_mode", false));
	a[4] = attr_set_int("count_include_pad",
			    aten_flag(k, "count_include_pad", true));
	if (rc == 0 && is_max)
		rc = attr_set_ints(&k->at, "dilations", dilation, n, &a[4], e);
	return rc < 0 ? rc : aten_finish(k, &s, e);
}

/* To sizes that the input's are multiples of. */
static int adaptive_pool(struct aten *k, struct err *e)
{
	bool is_max = memmem(k->op, k->op_len, "max", 3);
	size_t n = count_axes(k);
	int64_t size[WINDOW_MAX], kernel[WINDOW_MAX];
	const struct shape *s;
	bool is_global = true;
	struct attr a[2];
	value_id in;
	struct step step = {.in = &in, .nin = 1, .attrs = a};
	int rc = aten_self(k, &in, e);

	s = rc > 0 ? aten_shape(k, in) : NULL;
	if (rc <= 0 || n == 0 || !s || s->rank != (int)n + 2 ||
	    !aten_has(k, "output_size") ||
	    !get_each(k, "output_size", n, ones, size))
		return rc < 0 ? rc : 0;
	for (size_t i = 0; i < n; i++)
		is_global &= size[i] == 1;
	if (is_global) {
		step.type = is_max ? "GlobalMaxPool" : "GlobalAveragePool";
		return aten_finish(k, &step, e);
	}
	for (size_t i = 0; i < n; i++) {
		int64_t have = s->dims[2 + i];

		if (size[i] < 1 || have < 1 || have % size[i] != 0)
			return 0;
		kernel[i] = have / size[i];
	}
	rc = attr_set_ints(&k->at, "kernel_shape", kernel, n, &a[0], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "strides", kernel, n, &a[1], e);
	step.type = is_max ? "MaxPool" : "AveragePool";
	step.nattrs = 2;
	return rc < 0 ? rc : aten_finish(k, &step, e);
}

/* ---- normalisation ---- */

/* A weight, or as many of the same number where there is none. */
static int get_affine(struct aten *k, const char *name, double def, size_t n,
		      enum dtype t, value_id *out, struct err *e)
{
	int rc = aten_value(k, name, out, e);

	if (rc < 0 || *out != NO_VALUE)
		return rc;
	return aten_fill(k, name, def, t, n, out, e);
}

/* Extent of an axis; 0: not known. */
static size_t extent(const struct aten *k, value_id v, int axis)
{
	const struct shape *s = aten_shape(k, v);

	/* A number of channels, not of elements: the tensor has a shape. */
	if (!s || s->rank <= axis || s->dims[axis] < 1 ||
	    s->dims[axis] > 1 << 24)
		return 0;
	return (size_t)s->dims[axis];
}

static int batch_norm(struct aten *k, struct err *e)
{
	bool is_training =
		aten_flag(k, "training", false) || aten_flag(k, "train", false);
	struct attr a[2] = {{0}, attr_set_int("training_mode", 1)};
	value_id in[5], out[3];
	struct step n = {.type = "BatchNormalization",
			 .opset = 15,
			 .in = in,
			 .nin = 5,
			 .out = out,
			 .nout = 1,
			 .attrs = a,
			 .nattrs = 1};
	double eps;
	size_t channels;
	enum dtype t;
	int rc = aten_self(k, &in[0], e);

	channels = rc > 0 ? extent(k, in[0], 1) : 0;
	t = rc > 0 ? aten_dtype(k, in[0]) : DTYPE_NONE;
	if (rc <= 0 || channels == 0 || !aten_has_numbers(t) ||
	    !aten_float(k, "eps", 1e-5, &eps))
		return rc < 0 ? rc : 0;
	if (!is_training &&
	    (!aten_has(k, "running_mean") || !aten_has(k, "running_var")))
		is_training = true;
	rc = get_affine(k, "weight", 1, channels, t, &in[1], e);
	if (rc == 0)
		rc = get_affine(k, "bias", 0, channels, t, &in[2], e);
	if (rc == 0)
		rc = get_affine(k, "running_mean", 0, channels, t, &in[3], e);
	if (rc == 0)
		rc = get_affine(k, "running_var", 1, channels, t, &in[4], e);
	a[0] = attr_set_float("epsilon", (float)eps);
	out[0] = k->out[0];
	if (rc == 0 && is_training) {
		/* ONNX hands out the new statistics, too. */
		rc = steps_value(&k->at, "mean", &out[1], e);
		if (rc == 0)
			rc = steps_value(&k->at, "var", &out[2], e);
		n.nout = 3;
		n.nattrs = 2;
	}
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

static int layer_norm(struct aten *k, struct err *e)
{
	int64_t shape[ATEN_INTS_MAX];
	struct attr a[2];
	value_id in[3];
	struct step n = {.type = "LayerNormalization",
			 .opset = 17,
			 .in = in,
			 .attrs = a,
			 .nattrs = 2};
	double eps;
	size_t axes;
	int rc = aten_self(k, &in[0], e);

	if (rc > 0)
		rc = aten_value(k, "weight", &in[1], e);
	else
		return rc;
	if (rc == 0)
		rc = aten_value(k, "bias", &in[2], e);
	if (rc < 0 || !aten_ints(k, "normalized_shape", shape, &axes) ||
	    axes == 0 || !aten_float(k, "eps", 1e-5, &eps) ||
	    (in[1] == NO_VALUE &&
	     (axes != 1 || shape[0] < 1 || shape[0] > 1 << 24 ||
	      !aten_has_numbers(aten_dtype(k, in[0])))))
		return rc;
	if (in[1] == NO_VALUE)
		rc = aten_fill(k, "weight", 1, aten_dtype(k, in[0]),
			       (size_t)shape[0], &in[1], e);
	a[0] = attr_set_int("axis", -(int64_t)axes);
	a[1] = attr_set_float("epsilon", (float)eps);
	n.nin = in[2] == NO_VALUE ? 2 : 3;
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

static int group_norm(struct aten *k, struct err *e)
{
	const char *name = aten_has(k, "num_groups") ? "num_groups" : "group";
	struct attr a[2];
	value_id in[3];
	struct step n = {.type = "GroupNormalization",
			 .opset = 21,
			 .in = in,
			 .nin = 3,
			 .attrs = a,
			 .nattrs = 2};
	int64_t groups;
	double eps;
	size_t channels;
	enum dtype t;
	int rc = aten_self(k, &in[0], e);

	channels = rc > 0 ? extent(k, in[0], 1) : 0;
	t = rc > 0 ? aten_dtype(k, in[0]) : DTYPE_NONE;
	if (rc <= 0 || channels == 0 || !aten_has_numbers(t) ||
	    !aten_int(k, name, 0, &groups) || groups < 1 ||
	    !aten_float(k, "eps", 1e-5, &eps))
		return rc < 0 ? rc : 0;
	rc = get_affine(k, "weight", 1, channels, t, &in[1], e);
	if (rc == 0)
		rc = get_affine(k, "bias", 0, channels, t, &in[2], e);
	a[0] = attr_set_int("num_groups", groups);
	a[1] = attr_set_float("epsilon", (float)eps);
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

/* ---- resizing ---- */

static int upsample(struct aten *k, struct err *e)
{
	bool is_nearest = memmem(k->op, k->op_len, "nearest", 7);
	bool is_aligned = aten_flag(k, "align_corners", false);
	const struct shape *s = aten_shape(k, k->out[0]);
	struct attr a[3] = {
		attr_set_text("mode", is_nearest ? "nearest" : "linear"),
		attr_set_text("coordinate_transformation_mode",
			      is_nearest   ? "asymmetric"
			      : is_aligned ? "align_corners"
					   : "half_pixel"),
		attr_set_text("nearest_mode", "floor"),
	};
	value_id in[4] = {NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE};
	struct step n = {
		.type = "Resize", .in = in, .nin = 4, .attrs = a, .nattrs = 3};
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || !s || !shape_is_known(s))
		return rc < 0 ? rc : 0;
	rc = aten_const_ints(k, "sizes", s->dims, (size_t)s->rank, &in[3], e);
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

static int pixel_shuffle(struct aten *k, struct err *e)
{
	struct attr a[2] = {{0}, attr_set_text("mode", "CRD")};
	value_id in;
	struct step n = {.type = "DepthToSpace",
			 .in = &in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int64_t factor;
	int rc = aten_self(k, &in, e);

	if (rc <= 0 || aten_rank(k, in) != 4 ||
	    !aten_int(k, "upscale_factor", 1, &factor) || factor < 1)
		return rc < 0 ? rc : 0;
	a[0] = attr_set_int("blocksize", factor);
	return aten_finish(k, &n, e);
}

static int prelu(struct aten *k, struct err *e)
{
	value_id in[2], shape;
	int64_t dims[SHAPE_RANK_MAX];
	int rank, rc = aten_self(k, &in[0], e);

	if (rc > 0)
		rc = aten_value(k, "weight", &in[1], e);
	else
		return rc;
	rank = aten_rank(k, in[0]);
	if (rc < 0 || in[1] == NO_VALUE || rank < 0)
		return rc;
	/* A slope for each channel, or one for all. */
	if (aten_is(k, "prelu") && rank > 2) {
		for (int i = 0; i < rank - 1; i++)
			dims[i] = i == 0 ? -1 : 1;
		rc = aten_const_ints(k, "shape", dims, (size_t)rank - 1, &shape,
				     e);
		if (rc == 0)
			rc = aten_make(k, "slope", "Reshape", in[1], shape,
				       &in[1], e);
	}
	return rc < 0 ? rc : aten_finish_make(k, "PRelu", in, 2, e);
}

const struct aten_entry aten_layers[] = {
	{"_convolution", convolution},
	{"conv1d", convolution},
	{"conv2d", convolution},
	{"conv3d", convolution},
	{"conv_transpose1d", convolution},
	{"conv_transpose2d", convolution},
	{"conv_transpose3d", convolution},
	{"convolution", convolution},
	{"avg_pool1d", pool},
	{"avg_pool2d", pool},
	{"avg_pool3d", pool},
	{"max_pool1d", pool},
	{"max_pool2d", pool},
	{"max_pool2d_with_indices", pool},
	{"max_pool3d", pool},
	{"max_pool3d_with_indices", pool},
	{"_adaptive_avg_pool2d", adaptive_pool},
	{"adaptive_avg_pool1d", adaptive_pool},
	{"adaptive_avg_pool2d", adaptive_pool},
	{"adaptive_avg_pool3d", adaptive_pool},
	{"adaptive_max_pool1d", adaptive_pool},
	{"adaptive_max_pool2d", adaptive_pool},
	{"_native_batch_norm_legit", batch_norm},
	{"_native_batch_norm_legit_functional", batch_norm},
	{"_native_batch_norm_legit_no_training", batch_norm},
	{"batch_norm", batch_norm},
	{"native_batch_norm", batch_norm},
	{"layer_norm", layer_norm},
	{"native_layer_norm", layer_norm},
	{"group_norm", group_norm},
	{"native_group_norm", group_norm},
	{"upsample_bilinear2d", upsample},
	{"upsample_nearest1d", upsample},
	{"upsample_nearest2d", upsample},
	{"upsample_nearest3d", upsample},
	{"pixel_shuffle", pixel_shuffle},
	{"_prelu_kernel", prelu},
	{"prelu", prelu},
	{NULL, NULL},
};
