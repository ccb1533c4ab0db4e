/* SPDX-License-Identifier: MIT */
/* pooling - maxima, means and norms of windows, NC[D][H]W. */
#ifndef KERNEL_POOLING_H
#define KERNEL_POOLING_H

#include <stdint.h>

#include "kernel/num.h"
#include "kernel/window.h"
#include "modelfs/kernel.h"

enum pooling { POOLING_MAX, POOLING_AVERAGE, POOLING_LP };

struct pooling_plan {
	enum pooling kind;
	enum num type; /* all for MAX, floats for the others */
	struct window w;
	ptrdiff_t pad_end[3];
	bool count_pad; /* AVERAGE: padding counts, as far as it was declared */
	double p;	/* LP */
	bool column_major; /* how MAX numbers elements of a plane */
};

/*
 * x [planes][in], y [planes][out]; indices, or NULL: of each maximum, in all
 * of x, -1 for a window without elements.
 */
void pooling_run(const struct kernel *k, const struct pooling_plan *v,
		 size_t planes, const void *x, void *y, int64_t *indices);

#endif
