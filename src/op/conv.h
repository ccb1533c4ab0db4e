/* SPDX-License-Identifier: MIT */
/* conv - shapes and geometry, for Conv and its integer relatives. */
#ifndef OP_CONV_H
#define OP_CONV_H

#include "kernel/conv.h"
#include "modelfs/op.h"

/* Shape of the result of input x with weights w. */
int conv_shape(const struct op_call *c, const struct shape *x,
	       const struct shape *w, struct shape *out, struct err *e);
/* All but the type, once all shapes are known. */
int conv_plan(const struct op_call *c, const struct shape *x,
	      const struct shape *w, struct conv *out, struct err *e);

#endif
