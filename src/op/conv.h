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

/* EINVAL unless there is none or one for each of so many channels. */
int conv_check_bias(const struct op_call *c, size_t channels, struct err *e);

/* conv_ways.c: float32 on vectors.  False: conv_run does it. */
bool conv_has_way(const struct conv *v);
/* Mask of op_blocks. */
unsigned conv_way_blocks(const struct conv *v);
/* eval of a short float; out is the shape of the result. */
int conv_run_way(struct op_call *c, struct conv *v, const struct shape *out,
		 struct err *e);

#endif
