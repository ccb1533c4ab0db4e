/* SPDX-License-Identifier: MIT */
/* window - kernel_shape, strides, pads, dilations, auto_pad of a node. */
#ifndef OP_WINDOW_H
#define OP_WINDOW_H

#include "kernel/window.h"
#include "modelfs/op.h"

/* Of the `n` spatial extents, outermost first. */
struct spatial {
	int32_t n;
	int64_t kernel[SHAPE_RANK_MAX], stride[SHAPE_RANK_MAX];
	int64_t dilation[SHAPE_RANK_MAX];
	int64_t begin[SHAPE_RANK_MAX], end[SHAPE_RANK_MAX]; /* pads */
	enum { AUTO_NONE, AUTO_UPPER, AUTO_LOWER, AUTO_VALID } pad;
};

/* weights: the shape whose extents from 2 on are the kernel's, or NULL. */
int spatial_read(const struct op_call *c, int32_t n,
		 const struct shape *weights, struct spatial *out,
		 struct err *e);
/*
 * The extents of the output for these of the input; sets begin and end where
 * auto_pad asks for it.  Unknown extents stay.
 */
int spatial_out(const struct op_call *c, struct spatial *s, const int64_t *in,
		bool ceil, int64_t *out, struct err *e);
/* For kernels: at most three extents. */
void spatial_window(const struct spatial *s, const int64_t *in,
		    const int64_t *out, struct window *w);

#endif
