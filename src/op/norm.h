/* SPDX-License-Identifier: MIT */
/* norm - normalisation of rows, for the operators that fuse it. */
#ifndef OP_NORM_H
#define OP_NORM_H

#include "kernel/num.h"
#include "modelfs/op.h"

struct layer {
	enum num type;
	const struct shape *shape;
	int32_t axis; /* rows are what lies from here on */
	bool centred;
	double epsilon;
	size_t scale, bias;   /* which inputs */
	void *mean, *inv_std; /* one a row, or NULL */
};

int norm_layer(struct op_call *c, const struct layer *l, const void *x,
	       void *out, struct err *e);

#endif
