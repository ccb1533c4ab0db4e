/* SPDX-License-Identifier: MIT */
/*
 * window - what convolution and pooling share: a window that is moved over
 * one, two or three axes.
 *
 * Values are laid out with the channels last unless the layer says otherwise;
 * ONNX computes with the channels first, so they are turned around on the way
 * in and out.
 */
#ifndef FORMAT_KERAS_WINDOW_H
#define FORMAT_KERAS_WINDOW_H

#include "format/keras/call.h"

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
size_t window_axes(const char *class);
/* kernel: the key of its extents.  False where they are not to be used. */
bool window_read(struct keras_call *c, struct window *w, const char *kernel);
/* Between the layer's layout and ONNX's. */
int window_turn(struct keras_call *c, const struct window *w, const char *what,
		bool to_first, value_id in, value_id *out, struct err *e);
/* One more attribute. */
int window_ints(struct keras_call *c, struct window *w, const char *name,
		const int64_t *v, size_t n, struct err *e);
/* Padding, strides, and the kernel's extents or dilations. */
int window_set(struct keras_call *c, struct window *w, bool is_pool,
	       struct err *e);
/* The node on values with the channels first; then bias and activation. */
int window_compute(struct keras_call *c, struct window *w, struct step *s,
		   value_id bias, struct err *e);

/* ---- conv.c ---- */
/* A kernel [space.., a, b] becomes [b, a, space..] or [a, b, space..]. */
int conv_turn_kernel(struct keras_call *c, const struct window *w,
		     const char *what, bool swaps, value_id in, value_id *out,
		     struct err *e);
int keras_conv(struct keras_call *c, struct err *e);
int keras_conv_transpose(struct keras_call *c, struct err *e);
int keras_depthwise_conv(struct keras_call *c, struct err *e);
int keras_separable_conv(struct keras_call *c, struct err *e);

/* ---- convlstm.c ---- */
int keras_conv_lstm(struct keras_call *c, struct err *e);

#endif
