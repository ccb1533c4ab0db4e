/* SPDX-License-Identifier: MIT */
/*
 * window - geometry that convolution and pooling share: three spatial
 * extents (of 1 where there are fewer), the last one innermost.
 */
#ifndef KERNEL_WINDOW_H
#define KERNEL_WINDOW_H

#include <stddef.h>

struct window {
	size_t in[3], out[3], kernel[3], stride[3], dilation[3];
	ptrdiff_t pad[3]; /* in front; what is needed behind follows */
};

static inline size_t window_in(const struct window *w)
{
	return w->in[0] * w->in[1] * w->in[2];
}

static inline size_t window_out(const struct window *w)
{
	return w->out[0] * w->out[1] * w->out[2];
}

static inline size_t window_taps(const struct window *w)
{
	return w->kernel[0] * w->kernel[1] * w->kernel[2];
}

/* Where tap t of the window at output o lies; outside [0, in) is padding. */
static inline ptrdiff_t window_at(const struct window *w, int d, size_t o,
				  size_t t)
{
	return (ptrdiff_t)(o * w->stride[d] + t * w->dilation[d]) - w->pad[d];
}

#endif
