/* SPDX-License-Identifier: MIT */
/* conv - convolution, its reverse, and convolution of each channel alone. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/keras/window.h"
#include "wire/json.h"

int conv_turn_kernel(struct keras_call *c, const struct window *w,
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

/* With the channels first the bias is an input of the node itself. */
static uint32_t place_bias(const struct window *w, value_id *in, value_id *bias)
{
	if (!w->is_first || *bias == NO_VALUE)
		return 2;
	in[2] = *bias;
	*bias = NO_VALUE;
	return 3;
}

struct conv { /* what all of them begin with */
	struct window w;
	value_id kernel, bias, in[3];
	const struct param *p; /* of the kernel */
};

/* 1; 0 when there is no such layer in ONNX. */
static int begin(struct keras_call *c, const char *kernel, struct conv *v,
		 struct err *e)
{
	int rc = keras_weight(c, kernel, &v->kernel, e);

	if (rc == 0)
		rc = keras_weight(c, "bias", &v->bias, e);
	v->p = rc < 0 ? NULL : keras_weight_param(c, v->kernel);
	if (!v->p || !window_read(c, &v->w, "kernel_size") ||
	    v->p->rank != v->w.n + 2 ||
	    !keras_can_activate(c, keras_value(c, "activation")))
		return rc;
	rc = window_turn(c, &v->w, "channels_first", true, c->in[0], &v->in[0],
			 e);
	return rc < 0 ? rc : 1;
}

static int finish(struct keras_call *c, struct conv *v, const char *what,
		  const char *type, struct err *e)
{
	struct step s = {.what = what, .type = type, .in = v->in};

	s.nin = place_bias(&v->w, v->in, &v->bias);
	return window_compute(c, &v->w, &s, v->bias, e);
}

int keras_conv(struct keras_call *c, struct err *e)
{
	struct conv v;
	int rc = begin(c, "kernel", &v, e);

	if (rc <= 0)
		return rc;
	rc = window_set(c, &v.w, false, e);
	v.w.attrs[v.w.nattrs++] =
		attr_set_int("group", keras_int(c, "groups", 1));
	if (rc == 0)
		rc = conv_turn_kernel(c, &v.w, "kernel_turned", true, v.kernel,
				      &v.in[1], e);
	return rc < 0 ? rc : finish(c, &v, "compute", "Conv", e);
}

/* [space.., in, multiplier] is [in * multiplier, 1, space..] of groups. */
static int grouped_kernel(struct keras_call *c, const struct window *w,
			  const struct param *p, value_id in, value_id *out,
			  struct err *e)
{
	int64_t dims[AXES_MAX + 2];
	value_id v;
	int rc = conv_turn_kernel(c, w, "kernel_turned", false, in, &v, e);

	if (__builtin_mul_overflow(p->dims[w->n], p->dims[w->n + 1], &dims[0]))
		return err_set(e, EINVAL, "a kernel of too many channels");
	dims[1] = 1;
	for (size_t i = 0; i < w->n; i++)
		dims[i + 2] = p->dims[i];
	return rc < 0 ? rc
		      : keras_reshape(c, "kernel_grouped", v, dims, w->n + 2,
				      out, e);
}

/* Each channel by kernels of its own. */
static int set_grouped(struct keras_call *c, struct conv *v, struct err *e)
{
	int rc = window_set(c, &v->w, false, e);

	v->w.attrs[v->w.nattrs++] = attr_set_int("group", v->p->dims[v->w.n]);
	return rc < 0 ? rc
		      : grouped_kernel(c, &v->w, v->p, v->kernel, &v->in[1], e);
}

int keras_depthwise_conv(struct keras_call *c, struct err *e)
{
	struct conv v;
	int rc = begin(c, "depthwise_kernel", &v, e);

	if (rc == 0)
		rc = begin(c, "kernel", &v, e);
	if (rc <= 0)
		return rc;
	rc = set_grouped(c, &v, e);
	return rc < 0 ? rc : finish(c, &v, "compute", "Conv", e);
}

/* A depthwise convolution, then one of single points. */
int keras_separable_conv(struct keras_call *c, struct err *e)
{
	struct conv v;
	value_id point;
	struct step s = {.what = "depthwise", .type = "Conv", .nin = 2};
	int rc = keras_weight(c, "pointwise_kernel", &point, e);

	if (rc < 0 || point == NO_VALUE)
		return rc;
	rc = begin(c, "depthwise_kernel", &v, e);
	if (rc <= 0)
		return rc;
	rc = set_grouped(c, &v, e);
	s.in = v.in;
	s.attrs = v.w.attrs;
	s.nattrs = v.w.nattrs;
	if (rc == 0)
		rc = steps_inner(&c->at, &s, &v.in[0], e);
	if (rc == 0)
		rc = conv_turn_kernel(c, &v.w, "pointwise_turned", true, point,
				      &v.in[1], e);
	v.w.nattrs = 0;
	return rc < 0 ? rc : finish(c, &v, "pointwise", "Conv", e);
}

/* ---- the reverse ---- */

/*
 * What TensorFlow cuts off the full sum on both sides.  Without output_padding
 * the strides alone say how large the result is.
 */
static int64_t find_cut(const struct window *w, size_t i, int64_t more)
{
	int64_t extent = (w->kernel[i] - 1) * w->dilations[i] + 1;

	if (more >= 0)
		return w->is_same ? extent / 2 * 2 - more : -more;
	if (!w->is_same && extent >= w->strides[i])
		return 0;
	return extent - w->strides[i];
}

static int set_transposed(struct keras_call *c, struct window *w, struct err *e)
{
	int64_t pads[2 * AXES_MAX] = {0}, more[AXES_MAX] = {0};
	int64_t given[AXES_MAX];
	int rc;

	if (!keras_ints(c, "output_padding", given, w->n, -1))
		return 0;
	for (size_t i = 0; i < w->n; i++) {
		int64_t cut = find_cut(w, i, given[i]);

		more[i] = cut < 0 ? -cut : 0;
		pads[i] = cut < 0 ? 0 : cut / 2;
		pads[w->n + i] = cut < 0 ? 0 : cut - cut / 2;
	}
	rc = window_ints(c, w, "pads", pads, 2 * w->n, e);
	if (rc == 0)
		rc = window_ints(c, w, "output_padding", more, w->n, e);
	if (rc == 0)
		rc = window_ints(c, w, "strides", w->strides, w->n, e);
	if (rc == 0)
		rc = window_ints(c, w, "dilations", w->dilations, w->n, e);
	return rc < 0 ? rc : 1;
}

/* The kernel is [space.., out, in]. */
int keras_conv_transpose(struct keras_call *c, struct err *e)
{
	struct conv v;
	int rc = begin(c, "kernel", &v, e);

	if (rc > 0)
		rc = set_transposed(c, &v.w, e);
	if (rc <= 0)
		return rc;
	rc = conv_turn_kernel(c, &v.w, "kernel_turned", true, v.kernel,
			      &v.in[1], e);
	return rc < 0 ? rc : finish(c, &v, "compute", "ConvTranspose", e);
}
