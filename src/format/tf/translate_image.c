/* SPDX-License-Identifier: MIT */
/*
 * translate_image - convolution, pooling and normalisation of images, which
 * TensorFlow lays out as batch, height, width, channel (NHWC).  ONNX computes
 * them as NCHW, so values are turned around on the way in and out.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/tf/translate.h"

/* How values and kernels of two or three spatial extents are laid out. */
struct layout {
	int64_t nspatial;
	bool channels_first;
};

static const int64_t to_first[][5] = {{0, 3, 1, 2}, {0, 4, 1, 2, 3}};
static const int64_t to_last[][5] = {{0, 2, 3, 1}, {0, 2, 3, 4, 1}};
static const int64_t kernel_order[][5] = {{3, 2, 0, 1}, {4, 3, 0, 1, 2}};

static int turn(struct tf_make *k, const char *what, const int64_t *perm,
		size_t rank, value_id in, value_id out, struct err *e)
{
	struct attr a;
	struct step n = {.what = what,
			 .type = "Transpose",
			 .in = &in,
			 .nin = 1,
			 .out = &out,
			 .nout = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&k->at, "perm", perm, rank, &a, e);

	return rc < 0 ? rc : steps_node(&k->at, &n, e);
}

static int turned(struct tf_make *k, const char *what, const int64_t *perm,
		  size_t rank, value_id in, value_id *out, struct err *e)
{
	int rc = steps_value(&k->at, what, out, e);

	return rc < 0 ? rc : turn(k, what, perm, rank, in, *out, e);
}

static struct layout layout_of(const struct tf_make *k)
{
	const Tf__AttrValue *f = tf_attr(k->call->node, "data_format");
	struct span op = tf_span(&k->call->node->op);

	return (struct layout){
		.nspatial = memmem(op.p, op.len, "3D", 2) ? 3 : 2,
		.channels_first = f && f->s.len > 1 && f->s.data[1] == 'C',
	};
}

/* Of the spatial extents; the other two must be 1. */
static bool spatial(const struct tf_make *k, const struct layout *l,
		    const char *name, int64_t out[3])
{
	const Tf__AttrValue *v = tf_attr(k->call->node, name);
	size_t n = (size_t)l->nspatial + 2, channel;

	out[0] = out[1] = out[2] = 1;
	if (!v || !v->list || v->list->n_i == 0)
		return true;
	channel = l->channels_first ? 1 : n - 1;
	if (v->list->n_i != n || v->list->i[0] != 1 || v->list->i[channel] != 1)
		return false;
	for (int64_t i = 0; i < l->nspatial; i++)
		out[i] = v->list->i[i + 1 + l->channels_first];
	return true;
}

/* EXPLICIT paddings: a pair for each extent, in the order of the layout. */
static bool find_padding(struct tf_make *k, const struct layout *l,
			 struct attr *out, struct err *e, int *rc)
{
	const Tf__AttrValue *p = tf_attr(k->call->node, "padding");
	const Tf__AttrValue *x = tf_attr(k->call->node, "explicit_paddings");
	int64_t pads[6], n = l->nspatial;

	*rc = 0;
	if (!p || tf_equal(&p->s, "VALID")) {
		*out = attr_set_text("auto_pad", "VALID");
		return true;
	}
	if (tf_equal(&p->s, "SAME")) {
		*out = attr_set_text("auto_pad", "SAME_UPPER");
		return true;
	}
	if (!x || !x->list || x->list->n_i != 2 * (size_t)n + 4)
		return false;
	for (int64_t i = 0; i < n; i++) {
		const int64_t *pair =
			&x->list->i[2 * (i + 1 + l->channels_first)];

		pads[i] = pair[0];
		pads[n + i] = pair[1];
	}
	*rc = attr_set_ints(&k->at, "pads", pads, (size_t)n * 2, out, e);
	return true;
}

static const struct shape *known_shape(const struct tf_make *k, uint32_t input,
				       struct shape *buf)
{
	const struct param *p = k->body->g->values[k->call->in[input]].param;

	if (!p)
		return NULL;
	*buf = shape_of(p->rank, p->dims);
	return buf;
}

/* The value behind Identity nodes (ReadVariableOp) that name a parameter. */
static const struct shape *weight_shape(const struct tf_make *k, uint32_t input,
					struct shape *buf)
{
	const struct graph *g = k->body->g;
	value_id v = k->call->in[input];

	if (known_shape(k, input, buf))
		return buf;
	for (uint32_t i = g->nnodes; i-- > 0;) {
		const struct node *n = &g->nodes[i];

		if (n->nout != 1 || n->out[0] != v)
			continue;
		if (strcmp(n->type, "Identity") != 0 || n->nin != 1)
			return NULL;
		v = n->in[0];
		if (!g->values[v].param)
			continue;
		*buf = shape_of(g->values[v].param->rank,
				g->values[v].param->dims);
		return buf;
	}
	return NULL;
}

struct window {
	struct layout layout;
	int64_t strides[3], dilations[3], kernel[3];
	value_id image; /* that is convolved, as the file has it */
	struct attr attrs[6];
	uint32_t nattrs;
};

static bool read_window(struct tf_make *k, struct window *w, bool is_pool,
			struct err *e, int *rc)
{
	struct layout *l = &w->layout;
	size_t n;

	*rc = 0;
	*l = layout_of(k);
	w->image = k->call->in[0];
	n = (size_t)l->nspatial;
	if (!spatial(k, l, "strides", w->strides) ||
	    !spatial(k, l, "dilations", w->dilations) ||
	    !spatial(k, l, "ksize", w->kernel))
		return false;
	if (!find_padding(k, l, &w->attrs[0], e, rc) || *rc < 0)
		return false;
	w->nattrs = 1;
	*rc = attr_set_ints(&k->at, "strides", w->strides, n,
			    &w->attrs[w->nattrs++], e);
	if (*rc == 0 && is_pool)
		*rc = attr_set_ints(&k->at, "kernel_shape", w->kernel, n,
				    &w->attrs[w->nattrs++], e);
	if (*rc == 0 && !is_pool)
		*rc = attr_set_ints(&k->at, "dilations", w->dilations, n,
				    &w->attrs[w->nattrs++], e);
	return *rc == 0;
}

/* Values with the channels first; in[0] is turned, and the result back. */
static int compute(struct tf_make *k, const char *type, value_id *in,
		   uint32_t nin, const struct window *w, int opset,
		   struct err *e)
{
	bool as_it_is = w->layout.channels_first;
	size_t rank = (size_t)w->layout.nspatial + 2, which = rank - 4;
	value_id out = k->call->out[0];
	struct step n = {.what = "compute",
			 .type = type,
			 .opset = opset,
			 .in = in,
			 .nin = nin,
			 .out = &out,
			 .nout = 1,
			 .attrs = w->attrs,
			 .nattrs = w->nattrs};
	int rc = 0;

	in[0] = w->image;
	if (as_it_is)
		return tf_done(steps_node(&k->at, &n, e));
	rc = turned(k, "to_nchw", to_first[which], rank, w->image, &in[0], e);
	if (rc == 0)
		rc = steps_value(&k->at, "compute", &out, e);
	if (rc == 0)
		rc = steps_node(&k->at, &n, e);
	if (rc == 0)
		rc = turn(k, "to_nhwc", to_last[which], rank, out,
			  k->call->out[0], e);
	return tf_done(rc);
}

static int conv(struct tf_make *k, struct err *e)
{
	struct window w;
	value_id in[2];
	size_t rank;
	int rc;

	if (k->call->nin != 2 || !read_window(k, &w, false, e, &rc))
		return k->call->nin == 2 ? rc : 0;
	rank = (size_t)w.layout.nspatial + 2;
	rc = turned(k, "to_oihw", kernel_order[rank - 4], rank, k->call->in[1],
		    &in[1], e);
	return rc < 0 ? rc : compute(k, "Conv", in, 2, &w, 0, e);
}

/* ---- backwards: (size of the result, kernel, values) ---- */

/*
 * How much of the whole result is cut off, so that what is left is what the
 * convolution came from: with padding SAME that has stride times as much.
 */
static bool cut_off(struct tf_make *k, const struct window *w,
		    const struct shape *kernel, int64_t pads[6],
		    int64_t more[3])
{
	const Tf__AttrValue *p = tf_attr(k->call->node, "padding");
	int64_t n = w->layout.nspatial, sizes[5];
	bool known;
	size_t count;

	known = tf_const_ints(k, 0, sizes, 5, &count) && count == (size_t)n + 2;
	for (int64_t i = 0; i < n; i++) {
		int64_t step = w->strides[i], reach, out, in, total;

		if (step < 1 || step > INT32_MAX || w->dilations[i] != 1 ||
		    kernel->dims[i] < 1 || kernel->dims[i] > INT32_MAX)
			return false;
		reach = kernel->dims[i];
		out = known ? sizes[i + 1 + w->layout.channels_first] : step;
		pads[i] = pads[n + i] = more[i] = 0;
		if (out < 1 || out > INT32_MAX)
			return false;
		if (!p || !tf_equal(&p->s, "SAME")) {
			if (known && out >= reach)
				more[i] = (out - reach) % step;
			continue;
		}
		in = (out + step - 1) / step;
		total = (in - 1) * step + reach - out;
		pads[i] = total > 0 ? total / 2 : 0;
		pads[n + i] = total > 0 ? total - total / 2 : 0;
		more[i] = total < 0 ? -total : 0;
	}
	return true;
}

static int conv_back(struct tf_make *k, struct err *e)
{
	const Tf__AttrValue *p = tf_attr(k->call->node, "padding");
	int64_t pads[6], more[3];
	const struct shape *kernel;
	struct shape buf;
	struct window w;
	value_id in[2];
	size_t n, rank;
	int rc;

	if (k->call->nin != 3)
		return 0;
	kernel = weight_shape(k, 1, &buf);
	if (!read_window(k, &w, false, e, &rc))
		return rc;
	n = (size_t)w.layout.nspatial;
	rank = n + 2;
	if (!kernel || kernel->rank != (int32_t)rank ||
	    (p && tf_equal(&p->s, "EXPLICIT")) ||
	    !cut_off(k, &w, kernel, pads, more))
		return 0;
	rc = attr_set_ints(&k->at, "pads", pads, 2 * n, &w.attrs[0], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "output_padding", more, n,
				   &w.attrs[w.nattrs++], e);
	/* What is "in" of the kernel here is "out" there, and first in both. */
	if (rc == 0)
		rc = turned(k, "to_oihw", kernel_order[rank - 4], rank,
			    k->call->in[1], &in[1], e);
	w.image = k->call->in[2];
	return rc < 0 ? rc : compute(k, "ConvTranspose", in, 2, &w, 0, e);
}

/* A kernel [h, w, in, multiplier] is one of [in * multiplier, 1, h, w]. */
static int depthwise_kernel(struct tf_make *k, const struct shape *s,
			    value_id *out, struct err *e)
{
	static const int64_t perm[] = {2, 3, 0, 1};
	int64_t dims[4];
	struct attr shape;
	struct step n = {.what = "grouped",
			 .type = "Reshape",
			 .opset = 1, /* the shape is an attribute */
			 .nin = 1,
			 .nout = 1,
			 .attrs = &shape,
			 .nattrs = 1};
	value_id turned_kernel;
	int rc = turned(k, "to_ichw", perm, 4, k->call->in[1], &turned_kernel,
			e);

	if (__builtin_mul_overflow(s->dims[2], s->dims[3], &dims[0]))
		return err_set(e, EINVAL, "a kernel of too many channels");
	dims[1] = 1;
	dims[2] = s->dims[0];
	dims[3] = s->dims[1];
	n.in = &turned_kernel;
	n.out = out;
	if (rc == 0)
		rc = attr_set_ints(&k->at, "shape", dims, 4, &shape, e);
	if (rc == 0)
		rc = steps_value(&k->at, "grouped", out, e);
	return rc < 0 ? rc : steps_node(&k->at, &n, e);
}

static int depthwise_conv(struct tf_make *k, struct err *e)
{
	struct window w;
	struct shape buf;
	const struct shape *s;
	value_id in[2];
	int rc;

	if (k->call->nin != 2)
		return 0;
	s = weight_shape(k, 1, &buf);
	if (!s || s->rank != 4)
		return 0;
	if (!read_window(k, &w, false, e, &rc))
		return rc;
	w.attrs[w.nattrs++] = attr_set_int("group", s->dims[2]);
	rc = depthwise_kernel(k, s, &in[1], e);
	return rc < 0 ? rc : compute(k, "Conv", in, 2, &w, 0, e);
}

static int pool(struct tf_make *k, const char *type, struct err *e)
{
	struct window w;
	value_id in[1];
	int rc;

	if (k->call->nin != 1 || !read_window(k, &w, true, e, &rc))
		return k->call->nin == 1 ? rc : 0;
	return compute(k, type, in, 1, &w, 0, e);
}

static int max_pool(struct tf_make *k, struct err *e)
{
	return pool(k, "MaxPool", e);
}

static int average_pool(struct tf_make *k, struct err *e)
{
	return pool(k, "AveragePool", e);
}

static int batch_norm(struct tf_make *k, struct err *e)
{
	struct window w = {.layout = layout_of(k), .nattrs = 1};
	const Tf__AttrValue *f = tf_attr(k->call->node, "data_format");
	value_id in[5];

	if (k->call->nin != 5 || k->call->nout != 1 ||
	    tf_flag(k, "is_training"))
		return 0;
	w.layout.nspatial = f && f->s.len == 5 ? 3 : 2;
	w.image = k->call->in[0];
	w.attrs[0] =
		attr_set_float("epsilon", tf_number(k, "epsilon", 0.0001f));
	memcpy(in, k->call->in, sizeof(in));
	return compute(k, "BatchNormalization", in, 5, &w, 9, e);
}

/* A bias for each channel, where the channels come second. */
static int bias_add(struct tf_make *k, struct err *e)
{
	static const int64_t column[] = {-1, 1, 1};
	const Tf__AttrValue *f = tf_attr(k->call->node, "data_format");
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = "Add", .in = {k->call->in[0]}, .nin = 2};

	if (k->call->nin != 2 || !f || f->s.len < 4)
		return 0;
	l.in[1] = tf_chain_2(&c, "Reshape", k->call->in[1],
			     tf_chain_ints(&c, column, 3));
	return tf_chain_last(&c, &l);
}

/* ---- what graph optimisers put together ---- */

#define FUSED_MAX 3

/* "BiasAdd", "Relu", … from a value; the last one makes the output. */
static int add_fused(struct tf_make *k, const ProtobufCBinaryData *op,
		     uint32_t *arg, value_id in, const value_id *out, int i,
		     struct err *e)
{
	static const struct {
		const char *tf, *onnx;
	} types[] = {{"BiasAdd", "Add"},	 {"Elu", "Elu"},
		     {"Relu", "Relu"},		 {"Relu6", "Clip"},
		     {"Sigmoid", "Sigmoid"},	 {"Tanh", "Tanh"},
		     {"LeakyRelu", "LeakyRelu"}, {"Prelu", "PRelu"}};
	static const char *const what[FUSED_MAX] = {"fused_0", "fused_1",
						    "fused_2"};
	struct attr a[] = {attr_set_float("min", 0), attr_set_float("max", 6)};
	value_id ins[2] = {in, NO_VALUE};
	struct step n = {.what = what[i],
			 .in = ins,
			 .nin = 1,
			 .out = out,
			 .nout = 1,
			 .attrs = a};

	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++)
		if (tf_equal(op, types[t].tf))
			n.type = types[t].onnx;
	if (!n.type)
		return err_set(e, EOPNOTSUPP, "a fused operator");
	if (tf_equal(op, "BiasAdd") || tf_equal(op, "Prelu")) {
		if (*arg >= k->call->nin)
			return err_set(e, EINVAL, "too few inputs");
		ins[n.nin++] = k->call->in[(*arg)++];
	}
	if (tf_equal(op, "Relu6")) {
		n.opset = 6; /* the limits are attributes */
		n.nattrs = 2;
	}
	if (tf_equal(op, "LeakyRelu")) {
		a[0] = attr_set_float("alpha",
				      tf_number(k, "leakyrelu_alpha", 0.2f));
		n.nattrs = 1;
	}
	return steps_node(&k->at, &n, e);
}

static bool can_fuse(const Tf__AttrValue *ops)
{
	static const char *const known[] = {"BiasAdd",	 "Elu",	    "Relu",
					    "Relu6",	 "Sigmoid", "Tanh",
					    "LeakyRelu", "Prelu"};

	if (!ops || !ops->list || ops->list->n_s == 0 ||
	    ops->list->n_s > FUSED_MAX)
		return false;
	for (size_t i = 0; i < ops->list->n_s; i++) {
		bool is_known = false;

		for (size_t t = 0; t < sizeof(known) / sizeof(known[0]); t++)
			is_known |= tf_equal(&ops->list->s[i], known[t]);
		if (!is_known)
			return false;
	}
	return true;
}

/* make: of the operator itself, with two inputs. */
static int fused(struct tf_make *k,
		 int (*make)(struct tf_make *k, struct err *e), struct err *e)
{
	const Tf__AttrValue *ops = tf_attr(k->call->node, "fused_ops");
	struct tf_call call = *k->call;
	struct tf_make inner = *k;
	uint32_t arg = 2;
	value_id v;
	int rc;

	/* The bias would be of the last extent. */
	if (!can_fuse(ops) || k->call->nin < 2 || layout_of(k).channels_first)
		return 0;
	rc = steps_value(&k->at, "sum", &v, e);
	call.nin = 2;
	call.out = &v;
	inner.call = &call;
	if (rc == 0)
		rc = make(&inner, e);
	for (size_t i = 0; rc > 0 && i < ops->list->n_s; i++) {
		bool is_last = i + 1 == ops->list->n_s;
		value_id out = k->call->out[0];
		static const char *const names[] = {"biased", "second"};

		if (!is_last && steps_value(&k->at, names[i], &out, e) < 0)
			return err_nomem(e, 0);
		rc = add_fused(k, &ops->list->s[i], &arg, v, &out, (int)i, e);
		rc = rc < 0 ? rc : 1;
		v = out;
	}
	return rc;
}

static int product(struct tf_make *k, struct err *e)
{
	struct step n = {.what = "product",
			 .type = "MatMul",
			 .in = k->call->in,
			 .nin = 2,
			 .out = k->call->out,
			 .nout = 1};
	int rc;

	if (tf_flag(k, "transpose_a") || tf_flag(k, "transpose_b"))
		return 0;
	rc = steps_node(&k->at, &n, e);
	return rc < 0 ? rc : 1;
}

static int fused_conv(struct tf_make *k, struct err *e)
{
	return fused(k, conv, e);
}

static int fused_depthwise(struct tf_make *k, struct err *e)
{
	return fused(k, depthwise_conv, e);
}

static int fused_product(struct tf_make *k, struct err *e)
{
	return fused(k, product, e);
}

static const struct tf_maker makers[] = {
	{"AvgPool", average_pool},
	{"AvgPool3D", average_pool},
	{"BiasAdd", bias_add},
	{"Conv2D", conv},
	{"Conv2DBackpropInput", conv_back},
	{"Conv3D", conv},
	{"Conv3DBackpropInputV2", conv_back},
	{"DepthwiseConv2dNative", depthwise_conv},
	{"FusedBatchNorm", batch_norm},
	{"FusedBatchNormV2", batch_norm},
	{"FusedBatchNormV3", batch_norm},
	{"FusedDepthwiseConv2dNative", fused_depthwise},
	{"MaxPool", max_pool},
	{"MaxPool3D", max_pool},
	{"_FusedConv2D", fused_conv},
	{"_FusedDepthwiseConv2dNative", fused_depthwise},
	{"_FusedMatMul", fused_product},
};

int tf_translate_image(struct tf_make *k, struct err *e)
{
	return k->call->nout == 1
		       ? tf_make_with(makers,
				      sizeof(makers) / sizeof(makers[0]), k, e)
		       : 0;
}
