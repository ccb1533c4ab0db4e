/* SPDX-License-Identifier: MIT */
/*
 * graph - what a network of Darknet computes, made of operators of ONNX:
 * batch, channels, height and width are in the same order.
 *
 * The result of layer 3 is "layer_3".  A layer that ONNX has nothing for is
 * listed in the domain "darknet".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/darknet/graph.h"

/* ---- steps ---- */

/* One step of the layer; the last one makes the layer's own value. */
static int emit(struct darknet_call *c, struct step *s, bool is_last,
		value_id *v, struct err *e)
{
	int rc;

	if (!is_last)
		return steps_inner(&c->at, s, v, e);
	s->out = &c->out;
	s->nout = 1;
	rc = steps_node(&c->at, s, e);
	*v = c->out; /* which may be what the step reads */
	return rc;
}

static int plain(struct darknet_call *c, const char *type, const value_id *in,
		 uint32_t nin, const struct attr *a, uint32_t nattrs,
		 struct err *e)
{
	struct step s = {.type = type,
			 .in = in,
			 .nin = nin,
			 .attrs = a,
			 .nattrs = nattrs};
	value_id v;
	int rc = emit(c, &s, true, &v, e);

	return rc < 0 ? rc : 1;
}

static value_id weight(const struct darknet_call *c, const char *name)
{
	for (uint32_t i = 0; i < c->nweights; i++)
		if (strcmp(c->names[i], name) == 0)
			return c->weights[i];
	return NO_VALUE;
}

static int reshape(struct darknet_call *c, const char *what, value_id in,
		   const int64_t *dims, size_t n, bool is_last, value_id *out,
		   struct err *e)
{
	struct attr a;
	struct step s = {.what = what,
			 .type = "Reshape",
			 .opset = 1, /* the shape is an attribute */
			 .in = &in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&c->at, "shape", dims, n, &a, e);

	return rc < 0 ? rc : emit(c, &s, is_last, out, e);
}

/* ---- activations ---- */

static const struct {
	const char *name, *onnx;
	int opset;
	const char *key[2];
	float number[2];
} activations[] = {
	{"elu", "Elu", 0, {"alpha", NULL}, {1, 0}},
	{"hardtan", "Clip", 6, {"min", "max"}, {-1, 1}},
	{"leaky", "LeakyRelu", 0, {"alpha", NULL}, {0.1f, 0}},
	{"linear", NULL, 0, {NULL, NULL}, {0, 0}},
	{"logistic", "Sigmoid", 0, {NULL, NULL}, {0, 0}},
	{"mish", "Mish", 18, {NULL, NULL}, {0, 0}},
	{"relu", "Relu", 0, {NULL, NULL}, {0, 0}},
	{"relu6", "Clip", 6, {"min", "max"}, {0, 6}},
	{"swish", "Swish", 24, {NULL, NULL}, {0, 0}},
	{"tanh", "Tanh", 0, {NULL, NULL}, {0, 0}},
};

/* Its number in the table; -1: not known. */
static int find_activation(const struct darknet_call *c, const char *def)
{
	const char *name = darknet_text(c->l->section, "activation");

	name = name ? name : def;
	for (size_t i = 0; i < sizeof(activations) / sizeof(activations[0]);
	     i++)
		if (strcmp(name, activations[i].name) == 0)
			return (int)i;
	return -1;
}

/* swish: x times its sigmoid */
static int swish(struct darknet_call *c, value_id v, struct err *e)
{
	value_id in[2] = {v, NO_VALUE};
	struct step s = {
		.what = "activation", .type = "Mul", .in = in, .nin = 2};
	int rc = steps_make(&c->at, "sigmoid", "Sigmoid", v, NO_VALUE, &in[1],
			    e);

	return rc < 0 ? rc : emit(c, &s, true, &v, e);
}

/* s is the last step but for the activation.  1 or an error. */
static int finish(struct darknet_call *c, struct step *s, int activation,
		  struct err *e)
{
	bool is_linear = !activations[activation].onnx;
	struct attr a[2];
	value_id v;
	struct step act = {.what = "activation",
			   .type = activations[activation].onnx,
			   .opset = activations[activation].opset,
			   .in = &v,
			   .nin = 1,
			   .attrs = a};
	int rc = emit(c, s, is_linear, &v, e);

	if (rc < 0 || is_linear)
		return rc < 0 ? rc : 1;
	for (int i = 0; i < 2 && activations[activation].key[i]; i++)
		a[act.nattrs++] =
			attr_set_float(activations[activation].key[i],
				       activations[activation].number[i]);
	rc = strcmp(act.type, "Swish") == 0 ? swish(c, v, e)
					    : emit(c, &act, true, &v, e);
	return rc < 0 ? rc : 1;
}

/* ---- products ---- */

/* Statistics of the channels, and the bias, which comes behind them. */
static int normalise(struct darknet_call *c, value_id x, int activation,
		     struct err *e)
{
	const value_id in[] = {x, weight(c, "scales"), weight(c, "bias"),
			       weight(c, "rolling_mean"),
			       weight(c, "rolling_variance")};
	struct attr a = attr_set_float("epsilon", 1e-6f);
	struct step s = {.what = "batchnorm",
			 .type = "BatchNormalization",
			 .in = in,
			 .nin = 5,
			 .attrs = &a,
			 .nattrs = 1};

	return finish(c, &s, activation, e);
}

static int set_window(struct darknet_call *c, int64_t before, int64_t after,
		      struct attr *a, struct err *e)
{
	const struct darknet_section *s = c->l->section;
	int64_t stride = darknet_int(s, "stride", 1);
	const int64_t strides[] = {darknet_int(s, "stride_y", stride),
				   darknet_int(s, "stride_x", stride)};
	const int64_t pads[] = {before, before, after, after};
	int rc = attr_set_ints(&c->at, "strides", strides, 2, &a[0], e);

	return rc < 0 ? rc : attr_set_ints(&c->at, "pads", pads, 4, &a[1], e);
}

static int convolution(struct darknet_call *c, struct err *e)
{
	const struct darknet_section *s = c->l->section;
	bool has_norm = weight(c, "scales") != NO_VALUE;
	int64_t dilation = darknet_int(s, "dilation", 1);
	int64_t size = darknet_int(s, "size", 1), pad;
	const int64_t dilations[] = {dilation, dilation};
	int activation = find_activation(c, "logistic");
	const value_id in[] = {c->in, weight(c, "weight"), weight(c, "bias")};
	struct attr a[4];
	struct step conv = {.what = "convolution",
			    .type = "Conv",
			    .in = in,
			    .nin = has_norm ? 2 : 3,
			    .attrs = a,
			    .nattrs = 4};
	value_id v;
	int rc;

	if (activation < 0 ||
	    (!has_norm && darknet_int(s, "batch_normalize", 0)))
		return 0;
	pad = darknet_int(s, "pad", 0) ? size / 2
				       : darknet_int(s, "padding", 0);
	rc = set_window(c, pad * dilation, pad * dilation, a, e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "dilations", dilations, 2, &a[2], e);
	a[3] = attr_set_int("group", darknet_int(s, "groups", 1));
	if (rc == 0 && !has_norm)
		return finish(c, &conv, activation, e);
	if (rc == 0)
		rc = steps_inner(&c->at, &conv, &v, e);
	return rc < 0 ? rc : normalise(c, v, activation, e);
}

/* A row for each image; the result has height and width again. */
static int connected(struct darknet_call *c, struct err *e)
{
	static const int64_t flat[] = {0, -1}, wide[] = {0, -1, 1, 1};
	bool has_norm = weight(c, "scales") != NO_VALUE;
	int activation = find_activation(c, "logistic");
	struct attr a = attr_set_int("transB", 1);
	value_id in[3] = {NO_VALUE, weight(c, "weight"), weight(c, "bias")}, v;
	struct step s = {.what = "product",
			 .type = "Gemm",
			 .in = in,
			 .nin = has_norm ? 2 : 3,
			 .attrs = &a,
			 .nattrs = 1};
	struct step last = {
		.what = "result", .type = "Identity", .in = &v, .nin = 1};
	int rc;

	if (activation < 0)
		return 0;
	rc = reshape(c, "flat", c->in, flat, 2, false, &in[0], e);
	if (rc == 0)
		rc = steps_inner(&c->at, &s, &v, e);
	if (rc == 0)
		rc = reshape(c, "wide", v, wide, 4, false, &v, e);
	if (rc < 0)
		return rc;
	return has_norm ? normalise(c, v, activation, e)
			: finish(c, &last, activation, e);
}

/* ---- pooling ---- */

static int max_pool(struct darknet_call *c, struct err *e)
{
	const struct darknet_section *s = c->l->section;
	int64_t stride = darknet_int(s, "stride", 1);
	int64_t size =
		darknet_int(s, "size", darknet_int(s, "stride_x", stride));
	int64_t pads = darknet_int(s, "padding", size - 1);
	const int64_t kernel[] = {size, size};
	struct attr a[3];
	int rc;

	if (darknet_int(s, "maxpool_depth", 0))
		return 0;
	rc = set_window(c, pads / 2, pads - pads / 2, a, e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "kernel_shape", kernel, 2, &a[2], e);
	return rc < 0 ? rc : plain(c, "MaxPool", &c->in, 1, a, 3, e);
}

static int average_pool(struct darknet_call *c, struct err *e)
{
	return plain(c, "GlobalAveragePool", &c->in, 1, NULL, 0, e);
}

/* ---- other layers ---- */

static int identity(struct darknet_call *c, struct err *e)
{
	return plain(c, "Identity", &c->in, 1, NULL, 0, e);
}

static int activate(struct darknet_call *c, struct err *e)
{
	int activation = find_activation(c, "linear");
	struct step s = {
		.what = "result", .type = "Identity", .in = &c->in, .nin = 1};

	return activation < 0 ? 0 : finish(c, &s, activation, e);
}

/* Channels [from, to) of a layer. */
static int channels(struct darknet_call *c, const char *what, value_id in,
		    int64_t from, int64_t to, value_id *out, struct err *e)
{
	static const int64_t axis = 1;
	struct attr a[3];
	struct step s = {.what = what,
			 .type = "Slice",
			 .opset = 1, /* the limits are attributes */
			 .in = &in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 3};
	int rc = attr_set_ints(&c->at, "starts", &from, 1, &a[0], e);

	if (rc == 0)
		rc = attr_set_ints(&c->at, "ends", &to, 1, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "axes", &axis, 1, &a[2], e);
	return rc < 0 ? rc : steps_inner(&c->at, &s, out, e);
}

#define REFS_MAX 64

static int route(struct darknet_call *c, struct err *e)
{
	const struct darknet_section *s = c->l->section;
	const char *list = darknet_text(s, "layers");
	int64_t groups = darknet_int(s, "groups", 1);
	int64_t id = darknet_int(s, "group_id", 0);
	struct attr axis = attr_set_int("axis", 1);
	value_id in[REFS_MAX];
	uint32_t n = 0, ref;
	int rc = 0;

	for (; n < REFS_MAX && darknet_ref(c->net, list, n, &ref); n++) {
		int64_t each = c->net->outs[ref][2] / groups;
		char what[32];

		in[n] = c->outs[ref];
		snprintf(what, sizeof(what), "part_%u", n);
		if (rc == 0 && groups > 1)
			rc = channels(c, what, in[n], id * each,
				      (id + 1) * each, &in[n], e);
	}
	if (rc < 0 || n == 0 || n == REFS_MAX || id < 0 || id >= groups)
		return rc;
	return n == 1 ? plain(c, "Identity", in, 1, NULL, 0, e)
		      : plain(c, "Concat", in, n, &axis, 1, e);
}

static bool is_like(const struct darknet_call *c, uint32_t ref)
{
	const int64_t *o = c->net->outs[ref];

	return o[0] == c->l->w && o[1] == c->l->h && o[2] == c->l->c;
}

static int shortcut(struct darknet_call *c, struct err *e)
{
	const char *list = darknet_text(c->l->section, "from");
	int activation = find_activation(c, "linear");
	value_id in[REFS_MAX] = {c->in};
	struct step s = {.what = "sum", .type = "Sum", .in = in};
	uint32_t n = 0, ref;

	for (; n + 1 < REFS_MAX && darknet_ref(c->net, list, n, &ref); n++) {
		if (!is_like(c, ref))
			return 0;
		in[n + 1] = c->outs[ref];
	}
	s.nin = n + 1;
	if (activation < 0 || weight(c, "weight") != NO_VALUE)
		return 0;
	return finish(c, &s, activation, e);
}

/* A factor for each channel, or for each place. */
static int scale(struct darknet_call *c, struct err *e)
{
	int activation = find_activation(c, "linear");
	value_id in[2] = {c->in, NO_VALUE};
	struct step s = {.what = "product", .type = "Mul", .in = in, .nin = 2};
	uint32_t ref;

	if (activation < 0 || darknet_int(c->l->section, "scale_wh", 0) ||
	    !darknet_ref(c->net, darknet_text(c->l->section, "from"), 0, &ref))
		return 0;
	in[1] = c->outs[ref];
	return finish(c, &s, activation, e);
}

static int upsample(struct darknet_call *c, struct err *e)
{
	int64_t stride = darknet_int(c->l->section, "stride", 2);
	const float scales[] = {1, 1, (float)stride, (float)stride};
	value_id in[3] = {c->in, NO_VALUE, NO_VALUE};
	struct attr a[] = {
		attr_set_text("mode", "nearest"),
		attr_set_text("coordinate_transformation_mode", "asymmetric"),
		attr_set_text("nearest_mode", "floor")};
	int rc;

	if (stride < 1 || darknet_real(c->l->section, "scale", 1) != 1)
		return 0;
	rc = steps_floats(&c->at, "scales", scales, 4, &in[2], e);
	return rc < 0 ? rc : plain(c, "Resize", in, 3, a, 3, e);
}

/* Over all numbers of an image. */
static int softmax(struct darknet_call *c, struct err *e)
{
	const struct darknet_section *s = c->l->section;
	static const int64_t flat[] = {0, -1};
	const int64_t dims[] = {0, c->l->c, c->l->h, c->l->w};
	value_id v;
	int rc;

	if (darknet_int(s, "groups", 1) != 1 || darknet_text(s, "tree") ||
	    darknet_int(s, "spatial", 0) ||
	    darknet_real(s, "temperature", 1) != 1)
		return 0;
	rc = reshape(c, "flat", c->in, flat, 2, false, &v, e);
	if (rc == 0)
		rc = steps_make(&c->at, "softmax", "Softmax", v, NO_VALUE, &v,
				e);
	if (rc == 0)
		rc = reshape(c, "result", v, dims, 4, true, &v, e);
	return rc < 0 ? rc : 1;
}

/* ---- detections ---- */

static int64_t count_list(const char *list)
{
	int64_t n = list && *list ? 1 : 0;

	for (; list && *list; list++)
		n += *list == ',';
	return n;
}

static int split_boxes(struct darknet_call *c, value_id in, int64_t rest,
		       value_id out[3], struct err *e)
{
	static const char *const names[] = {"places", "sizes", "scores"};
	const int64_t sizes[] = {2, 2, rest};
	struct attr a[2] = {attr_set_int("axis", 2)};
	struct step s = {.what = "split",
			 .type = "Split",
			 .opset = 11, /* the sizes are an attribute */
			 .in = &in,
			 .nin = 1,
			 .out = out,
			 .nout = 3,
			 .attrs = a,
			 .nattrs = 2};
	int rc = attr_set_ints(&c->at, "split", sizes, 3, &a[1], e);

	for (int i = 0; rc == 0 && i < 3; i++)
		rc = steps_value(&c->at, names[i], &out[i], e);
	return rc < 0 ? rc : steps_node(&c->at, &s, e);
}

/* x and y, further apart by a factor, around one half. */
static int spread(struct darknet_call *c, value_id *v, struct err *e)
{
	float factor = (float)darknet_real(c->l->section, "scale_x_y", 1);
	value_id f, shift;
	int rc;

	if (factor == 1)
		return 0;
	rc = steps_float(&c->at, "factor", factor, &f, e);
	if (rc == 0)
		rc = steps_float(&c->at, "shift", 0.5f * (factor - 1), &shift,
				 e);
	if (rc == 0)
		rc = steps_make(&c->at, "spread", "Mul", *v, f, v, e);
	return rc < 0 ? rc
		      : steps_make(&c->at, "shifted", "Sub", *v, shift, v, e);
}

/*
 * As Darknet leaves them: logistic for places and scores, nothing for sizes;
 * boxes are made of them later.
 */
static int yolo(struct darknet_call *c, struct err *e)
{
	const struct darknet_section *s = c->l->section;
	const char *mask = darknet_text(s, "mask");
	int64_t n = mask ? count_list(mask) : darknet_int(s, "num", 1);
	int64_t each = darknet_int(s, "classes", 20) + 5;
	const int64_t apart[] = {0, n, each, c->l->h * c->l->w};
	const int64_t whole[] = {0, c->l->c, c->l->h, c->l->w};
	bool is_raw = darknet_int(s, "new_coords", 0);
	struct attr axis = attr_set_int("axis", 2);
	value_id v, parts[3];
	struct step join = {.what = "joined",
			    .type = "Concat",
			    .in = parts,
			    .nin = 3,
			    .attrs = &axis,
			    .nattrs = 1};
	int rc;

	if (n < 1 || n > c->l->c || each < 6 || n * each != c->l->c)
		return 0;
	rc = reshape(c, "apart", c->in, apart, 4, false, &v, e);
	if (rc == 0)
		rc = split_boxes(c, v, each - 4, parts, e);
	if (rc == 0 && !is_raw)
		rc = steps_make(&c->at, "places_logistic", "Sigmoid", parts[0],
				NO_VALUE, &parts[0], e);
	if (rc == 0 && !is_raw)
		rc = steps_make(&c->at, "scores_logistic", "Sigmoid", parts[2],
				NO_VALUE, &parts[2], e);
	if (rc == 0)
		rc = spread(c, &parts[0], e);
	if (rc == 0)
		rc = steps_inner(&c->at, &join, &v, e);
	if (rc == 0)
		rc = reshape(c, "result", v, whole, 4, true, &v, e);
	return rc < 0 ? rc : 1;
}

/* ---- layers ---- */

static const struct {
	const char *type;
	int (*make)(struct darknet_call *c, struct err *e);
	bool is_end; /* what users look at */
} makers[] = {
	{"activation", activate, false},
	{"avg", average_pool, false},
	{"avgpool", average_pool, false},
	{"conn", connected, false},
	{"connected", connected, false},
	{"conv", convolution, false},
	{"convolutional", convolution, false},
	{"cost", identity, false},
	{"detection", NULL, true},
	{"dropout", identity, false},
	{"max", max_pool, false},
	{"maxpool", max_pool, false},
	{"region", NULL, true},
	{"route", route, false},
	{"sam", scale, false},
	{"scale_channels", scale, false},
	{"shortcut", shortcut, false},
	{"soft", softmax, false},
	{"softmax", softmax, false},
	{"upsample", upsample, false},
	{"yolo", yolo, true},
};

static int list_only(struct darknet_call *c, struct err *e)
{
	const struct darknet_section *s = c->l->section;
	struct node *n;
	int rc = graph_node(c->at.g, c->at.name.p, "darknet", s->type, 1, 1,
			    s->noptions, &n, e);

	if (rc < 0)
		return rc;
	n->opset = 1;
	n->module = c->at.module;
	n->module->is_node = true;
	n->in[0] = c->in;
	n->out[0] = c->out;
	for (uint32_t i = 0; i < s->noptions; i++)
		n->attrs[i] =
			attr_set_text(s->options[i].key, s->options[i].value);
	return 0;
}

int darknet_nodes(struct darknet_call *c, bool is_last, struct err *e)
{
	size_t count = sizeof(makers) / sizeof(makers[0]), i = 0;
	bool is_end = is_last;
	int rc = 0;

	while (i < count && strcmp(c->l->section->type, makers[i].type) != 0)
		i++;
	if (i < count)
		is_end = is_end || makers[i].is_end;
	if (i < count && makers[i].make)
		rc = makers[i].make(c, e);
	if (rc == 0)
		rc = list_only(c, e);
	return rc < 0 || !is_end ? (rc < 0 ? rc : 0)
				 : graph_output(c->at.g, c->out, e);
}
