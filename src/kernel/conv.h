/* SPDX-License-Identifier: MIT */
/* conv - convolution and its transpose, NC[D][H]W. */
#ifndef KERNEL_CONV_H
#define KERNEL_CONV_H

#include <stdbool.h>

#include "kernel/num.h"
#include "kernel/window.h"
#include "modelfs/kernel.h"

struct conv {
	enum num type; /* what gemm_has */
	struct window w;
	size_t batch, groups;
	size_t in_channels, out_channels; /* of all groups */
	/* Not planes: kernel/block.h; for kernels that say they take it. */
	bool x_blocked, y_blocked;
};

/* Elements of scratch memory that conv_run wants. */
size_t conv_scratch(const struct conv *v);
/*
 * x [batch][in_channels][in], weights [out_channels][in_channels / groups]
 * [taps], bias [out_channels] or NULL, y [batch][out_channels][out].
 */
void conv_run(const struct kernel *k, const struct conv *v, const void *x,
	      const void *weights, const void *bias, void *y, void *scratch);

/*
 * The transpose: x [batch][in_channels][w.out], weights [in_channels]
 * [out_channels / groups][taps], y [batch][out_channels][w.in].  Floats only.
 */
size_t conv_transpose_scratch(const struct conv *v);
void conv_transpose_run(const struct kernel *k, const struct conv *v,
			const void *x, const void *weights, const void *bias,
			void *y, void *scratch);

#endif
