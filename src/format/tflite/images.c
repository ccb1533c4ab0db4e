/* SPDX-License-Identifier: MIT */
/* images - convolution, pooling, resizing, and blocks of pixels. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/tflite/translate.h"

static const int64_t to_nchw[] = {0, 3, 1, 2};
static const int64_t to_nhwc[] = {0, 2, 3, 1};
static const int64_t deep_kernel[] = {3, 0, 1, 2};

/* The image is turned, computed, turned back, and activated. */
static int compute(struct tflite_make *k, struct step *s, value_id *in,
		   int64_t activation, struct err *e)
{
	bool is_last = activation == TFLITE_NONE || k->is_bare;
	value_id out = NO_VALUE, back = NO_VALUE;
	int rc = tflite_turn(k, "to_nchw", to_nchw, 4, in[0], false, &in[0], e);

	s->what = "compute";
	s->in = in;
	if (rc == 0)
		rc = tflite_step(k, s, false, &out, e);
	if (rc == 0)
		rc = tflite_turn(k, "to_nhwc", to_nhwc, 4, out, is_last, &back,
				 e);
	if (rc == 0 && !is_last)
		rc = tflite_activate(k, activation, back, e);
	return rc < 0 ? rc : 1;
}

static struct attr padding(int64_t v)
{
	return attr_set_text("auto_pad", v == 0 ? "SAME_UPPER" : "VALID");
}

/* ---- convolution ---- */

/* The number of input channels; 0: not known. */
static int64_t channels(const struct tflite_make *k, bool is_deep,
			const struct shape *kernel)
{
	const struct tensor *type = tflite_type(k, k->given[0]);
	int64_t n = 0;

	if (type && type->shape.rank == 4)
		n = type->shape.dims[3];
	if (is_deep)
		return n > 0 && kernel->dims[3] % n == 0 ? n : 0;
	/* Kernels of a part of the channels are of groups. */
	return n > 0 && kernel->dims[3] > 0 && n % kernel->dims[3] == 0
		       ? n / kernel->dims[3]
		       : 1;
}

/*
 * Floats by a kernel of integers: the image is quantised as the runtime does
 * it, and the sums are brought back.
 */
static int hybrid_conv(struct tflite_make *k, struct step *s, value_id *in,
		       int64_t activation, struct err *e)
{
	value_id factor, scale, v, bias = s->nin == 3 ? in[2] : NO_VALUE;
	value_id pair[2];
	struct step sum = {
		.what = "biased", .type = "Add", .in = pair, .nin = 2};
	int rc = tflite_kernel_scale(k, &scale, e);

	/* One scale for all channels: around zero. */
	if (rc == 0)
		rc = tflite_dynamic(k, k->in[0], 3,
				    tflite_one_scale(k, k->given[1]), &in[0],
				    &factor, e);
	if (rc == 0)
		rc = tflite_turn(k, "to_nchw", to_nchw, 4, in[0], false, &in[0],
				 e);
	s->what = "compute";
	s->in = in;
	s->nin = 2;
	if (rc == 0)
		rc = tflite_step(k, s, false, &v, e);
	if (rc == 0)
		rc = tflite_turn(k, "to_nhwc", to_nhwc, 4, v, false, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "factor", "Mul", factor, scale, &factor,
				e);
	if (rc < 0)
		return rc;
	pair[0] = v;
	pair[1] = factor;
	sum.type = "Mul";
	sum.what = "scaled";
	if (bias == NO_VALUE)
		return tflite_finish(k, &sum, activation, e);
	rc = steps_inner(&k->at, &sum, &pair[0], e);
	pair[1] = bias;
	sum.type = "Add";
	sum.what = "biased";
	return rc < 0 ? rc : tflite_finish(k, &sum, activation, e);
}

static int set_conv(struct tflite_make *k, bool is_deep, struct attr *a,
		    struct err *e)
{
	int64_t strides[] = {tflite_option(k, 2, 4, 1),
			     tflite_option(k, 1, 4, 1)};
	int64_t dilations[] = {tflite_option(k, is_deep ? 6 : 5, 4, 1),
			       tflite_option(k, is_deep ? 5 : 4, 4, 1)};
	int rc;

	a[0] = padding(tflite_option(k, 0, 1, 0));
	rc = attr_set_ints(&k->at, "strides", strides, 2, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "dilations", dilations, 2, &a[2], e);
	return rc;
}

int tflite_make_conv(struct tflite_make *k, struct err *e)
{
	bool is_deep = strcmp(k->type.p, "DEPTHWISE_CONV_2D") == 0;
	int64_t activation = tflite_option(k, is_deep ? 4 : 3, 1, 0);
	const struct shape *kernel = tflite_extents(k, 1, 4);
	struct attr a[4];
	struct step s = {.type = "Conv", .attrs = a, .nattrs = 4};
	value_id in[3] = {k->in[0], NO_VALUE, NO_VALUE};
	int64_t group;
	int rc;

	if (!tflite_can_activate(activation) || k->nin > 3 || !kernel)
		return 0;
	group = channels(k, is_deep, kernel);
	if (group == 0)
		return 0;
	if (tflite_has(k, 2))
		in[2] = k->in[2];
	s.nin = in[2] == NO_VALUE ? 2 : 3;
	a[3] = attr_set_int("group", group);
	rc = set_conv(k, is_deep, a, e);
	if (rc == 0)
		rc = tflite_turn(k, "kernel_to_nchw",
				 is_deep ? deep_kernel : to_nchw, 4, k->in[1],
				 false, &in[1], e);
	if (rc < 0)
		return rc;
	return tflite_is_hybrid(k) ? hybrid_conv(k, &s, in, activation, e)
				   : compute(k, &s, in, activation, e);
}

/* Along one axis: what is cut off the full sum on both sides. */
static bool find_cut(bool is_same, int64_t in, int64_t out, int64_t kernel,
		     int64_t stride, int64_t *before, int64_t *after,
		     int64_t *more)
{
	int64_t full = (in - 1) * stride + kernel, cut = full - out;

	if (in < 1 || out < 1 || kernel < 1 || stride < 1 || full > 1 << 30)
		return false;
	*more = cut < 0 ? -cut : 0;
	cut = cut < 0 ? 0 : cut;
	*before = is_same ? cut / 2 : 0;
	*after = cut - *before;
	return true;
}

struct transposed {
	int64_t strides[2], pads[4], more[2];
};

/* Inputs: the shape of the result, the kernel, the image, perhaps a bias. */
static bool read_transposed(struct tflite_make *k, struct transposed *t)
{
	const struct shape *kernel = tflite_extents(k, 1, 4);
	const struct tensor *x =
		k->nin > 2 ? tflite_type(k, k->given[2]) : NULL;
	bool is_same = tflite_option(k, 0, 1, 0) == 0;
	int64_t out[TFLITE_INTS_MAX];
	size_t n;

	t->strides[0] = tflite_option(k, 2, 4, 1);
	t->strides[1] = tflite_option(k, 1, 4, 1);
	if (!kernel || !x || x->shape.rank != 4 || k->nin > 4 ||
	    !tflite_ints(k, 0, out, &n) || n != 4 ||
	    !tflite_can_activate(tflite_option(k, 3, 1, 0)))
		return false;
	for (int i = 0; i < 2; i++)
		if (!find_cut(is_same, x->shape.dims[1 + i], out[1 + i],
			      kernel->dims[1 + i], t->strides[i], &t->pads[i],
			      &t->pads[2 + i], &t->more[i]))
			return false;
	return true;
}

static int transpose_floats(struct tflite_make *k, const struct transposed *t,
			    struct err *e)
{
	struct attr a[3];
	struct step s = {
		.type = "ConvTranspose", .nin = 2, .attrs = a, .nattrs = 3};
	value_id in[3] = {k->in[2], NO_VALUE, NO_VALUE};
	int rc = attr_set_ints(&k->at, "strides", t->strides, 2, &a[0], e);

	if (rc == 0)
		rc = attr_set_ints(&k->at, "pads", t->pads, 4, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "output_padding", t->more, 2, &a[2],
				   e);
	/* [out, h, w, in] → [in, out, h, w] */
	if (rc == 0)
		rc = tflite_turn(k, "kernel_to_nchw", deep_kernel, 4, k->in[1],
				 false, &in[1], e);
	if (tflite_has(k, 3)) {
		in[2] = k->in[3];
		s.nin = 3;
	}
	return rc < 0 ? rc : compute(k, &s, in, tflite_option(k, 3, 1, 0), e);
}

/* Of integers, with the numbers that they stand for. */
int tflite_make_conv_transpose(struct tflite_make *k, struct err *e)
{
	static const char *const names[] = {"shape", "kernel", "image", "bias"};
	struct tflite_make inner = *k;
	struct transposed t;
	value_id in[4], real;
	float scale;
	int rc;

	if (!read_transposed(k, &t))
		return 0;
	if (!tflite_is_quantized(k, k->given[2]))
		return k->at.g->values[k->in[1]].dtype == DTYPE_F32
			       ? transpose_floats(k, &t, e)
			       : 0;
	if (!tflite_scale(k, k->out[0], &scale) ||
	    !tflite_scale(k, k->given[2], &scale) ||
	    !tflite_is_quantized(k, k->given[1]) ||
	    (tflite_has(k, 3) && !tflite_has_scale(k, k->given[3])))
		return 0;
	rc = steps_value(&k->at, "real", &real, e);
	memcpy(in, k->given, k->nin * sizeof(*in));
	for (uint32_t i = 1; rc == 0 && i < k->nin; i++)
		if (tflite_has(k, i))
			rc = tflite_real(k, names[i], k->given[i], &in[i], e);
	inner.in = in;
	inner.out = &real;
	if (rc == 0)
		rc = transpose_floats(&inner, &t, e);
	return rc <= 0 ? rc : tflite_quantized(k, real, false, e);
}

/* ---- pooling ---- */

int tflite_make_pool(struct tflite_make *k, struct err *e)
{
	bool is_max = strcmp(k->type.p, "MAX_POOL_2D") == 0;
	int64_t strides[] = {tflite_option(k, 2, 4, 1),
			     tflite_option(k, 1, 4, 1)};
	int64_t kernel[] = {tflite_option(k, 4, 4, 1),
			    tflite_option(k, 3, 4, 1)};
	int64_t activation = tflite_option(k, 5, 1, 0);
	struct attr a[3] = {padding(tflite_option(k, 0, 1, 0))};
	struct step s = {.type = is_max ? "MaxPool" : "AveragePool",
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 3};
	value_id in[1] = {k->in[0]};
	int rc;

	if (!tflite_can_activate(activation) || k->nin != 1)
		return 0;
	rc = attr_set_ints(&k->at, "strides", strides, 2, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "kernel_shape", kernel, 2, &a[2], e);
	return rc < 0 ? rc : compute(k, &s, in, activation, e);
}

/* ---- resizing ---- */

/* To the height and width in a constant. */
int tflite_make_resize(struct tflite_make *k, struct err *e)
{
	bool is_linear = strcmp(k->type.p, "RESIZE_BILINEAR") == 0;
	bool aligns = tflite_option(k, is_linear ? 2 : 0, 1, 0);
	bool is_half = tflite_option(k, is_linear ? 3 : 1, 1, 0);
	const struct tensor *x = tflite_type(k, k->given[0]);
	int64_t size[TFLITE_INTS_MAX], dims[4];
	value_id in[4] = {k->in[0], NO_VALUE, NO_VALUE, NO_VALUE};
	struct attr a[] = {
		attr_set_text("mode", is_linear ? "linear" : "nearest"),
		attr_set_text("coordinate_transformation_mode",
			      aligns	? "align_corners"
			      : is_half ? "half_pixel"
					: "asymmetric"),
		attr_set_text("nearest_mode",
			      aligns ? "round_prefer_ceil" : "floor")};
	struct step s = {
		.type = "Resize", .in = in, .nin = 4, .attrs = a, .nattrs = 3};
	size_t n;
	int rc;

	if (k->nin != 2 || !tflite_ints(k, 1, size, &n) || n != 2 || !x ||
	    x->shape.rank != 4 || x->shape.dims[0] < 0 || x->shape.dims[3] < 0)
		return 0;
	/* Half a pixel further, nearest means the pixel it lies in. */
	if (!is_linear && is_half && !aligns)
		a[2] = attr_set_text("nearest_mode", "round_prefer_ceil");
	dims[0] = x->shape.dims[0];
	dims[1] = size[0];
	dims[2] = size[1];
	dims[3] = x->shape.dims[3];
	rc = steps_ints(&k->at, "sizes", dims, 4, &in[3], e);
	return rc < 0 ? rc : tflite_finish(k, &s, TFLITE_NONE, e);
}

/* ---- blocks ---- */

int tflite_make_depth_space(struct tflite_make *k, struct err *e)
{
	bool to_space = strcmp(k->type.p, "DEPTH_TO_SPACE") == 0;
	struct attr a[2] = {
		attr_set_int("blocksize", tflite_option(k, 0, 4, 1)),
		attr_set_text("mode", "DCR")};
	struct step s = {.type = to_space ? "DepthToSpace" : "SpaceToDepth",
			 .nin = 1,
			 .attrs = a,
			 .nattrs = to_space ? 2 : 1};
	value_id in[1] = {k->in[0]};

	return compute(k, &s, in, TFLITE_NONE, e);
}

/* Both of blocks of two extents, on an image of known height and width. */
struct blocks {
	int64_t size[2];
	int64_t border[2][2];
	int64_t dims[4];
};

static bool read_blocks(const struct tflite_make *k, struct blocks *b)
{
	const struct tensor *x = tflite_type(k, k->given[0]);
	int64_t v[TFLITE_INTS_MAX];
	size_t n;

	if (k->nin != 3 || !x || x->shape.rank != 4 ||
	    !tflite_ints(k, 1, v, &n) || n != 2)
		return false;
	memcpy(b->size, v, sizeof(b->size));
	if (!tflite_ints(k, 2, v, &n) || n != 4)
		return false;
	memcpy(b->border, v, sizeof(b->border));
	memcpy(b->dims, x->shape.dims, sizeof(b->dims));
	for (int i = 0; i < 2; i++)
		if (b->size[i] < 1 || b->size[i] > 1 << 20 ||
		    b->border[i][0] < 0 || b->border[i][1] < 0 ||
		    b->dims[1 + i] < 1 || b->dims[3] < 1)
			return false;
	return true;
}

/* [n, h, w, c] → [block, block, n, h / block, w / block, c] */
static int space_to_batch(struct tflite_make *k, struct blocks *b,
			  struct err *e)
{
	static const int64_t perm[] = {2, 4, 0, 1, 3, 5};
	int64_t pads[8] = {0, b->border[0][0], b->border[1][0], 0,
			   0, b->border[0][1], b->border[1][1], 0};
	int64_t h = b->dims[1] + b->border[0][0] + b->border[0][1];
	int64_t w = b->dims[2] + b->border[1][0] + b->border[1][1];
	int64_t split[] = {-1,	       h / b->size[0],
			   b->size[0], w / b->size[1],
			   b->size[1], b->dims[3]};
	int64_t whole[] = {-1, h / b->size[0], w / b->size[1], b->dims[3]};
	struct attr a;
	value_id v;
	struct step pad = {.what = "padded",
			   .type = "Pad",
			   .opset = 2, /* the amounts are an attribute */
			   .in = k->in,
			   .nin = 1,
			   .attrs = &a,
			   .nattrs = 1};
	struct step end = {.what = "compute",
			   .type = "Reshape",
			   .opset = 1,
			   .in = &v,
			   .nin = 1,
			   .attrs = &a,
			   .nattrs = 1};
	int rc = attr_set_ints(&k->at, "pads", pads, 8, &a, e);

	if (rc == 0)
		rc = steps_inner(&k->at, &pad, &v, e);
	if (rc == 0)
		rc = tflite_reshape(k, "split", v, split, 6, &v, e);
	if (rc == 0)
		rc = tflite_turn(k, "turned", perm, 6, v, false, &v, e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "shape", whole, 4, &a, e);
	return rc < 0 ? rc : tflite_finish(k, &end, TFLITE_NONE, e);
}

static int batch_to_space(struct tflite_make *k, struct blocks *b,
			  struct err *e)
{
	static const int64_t perm[] = {2, 3, 0, 4, 1, 5}, axes[] = {1, 2};
	int64_t h = b->dims[1], w = b->dims[2];
	int64_t split[] = {b->size[0], b->size[1], -1, h, w, b->dims[3]};
	int64_t whole[] = {-1, h * b->size[0], w * b->size[1], b->dims[3]};
	int64_t starts[] = {b->border[0][0], b->border[1][0]};
	int64_t ends[] = {h * b->size[0] - b->border[0][1],
			  w * b->size[1] - b->border[1][1]};
	struct attr a[3];
	value_id v;
	struct step end = {.what = "compute",
			   .type = "Slice",
			   .opset = 1, /* the amounts are attributes */
			   .in = &v,
			   .nin = 1,
			   .attrs = a,
			   .nattrs = 3};
	int rc = tflite_reshape(k, "split", k->in[0], split, 6, &v, e);

	if (rc == 0)
		rc = tflite_turn(k, "turned", perm, 6, v, false, &v, e);
	if (rc == 0)
		rc = tflite_reshape(k, "whole", v, whole, 4, &v, e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "axes", axes, 2, &a[0], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "starts", starts, 2, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "ends", ends, 2, &a[2], e);
	return rc < 0 ? rc : tflite_finish(k, &end, TFLITE_NONE, e);
}

int tflite_make_space_batch(struct tflite_make *k, struct err *e)
{
	struct blocks b;

	if (!read_blocks(k, &b))
		return 0;
	return strcmp(k->type.p, "SPACE_TO_BATCH_ND") == 0
		       ? space_to_batch(k, &b, e)
		       : batch_to_space(k, &b, e);
}
