/* SPDX-License-Identifier: MIT */
/* reduce - reductions over any axes, for several operators. */
#ifndef OP_REDUCE_H
#define OP_REDUCE_H

#include "kernel/reduce.h"
#include "modelfs/op.h"

/*
 * Brings the reduced axes (a mask) together: data, or a copy of it in another
 * order, as [outer][dim][inner].
 */
int reduce_arrange(struct op_call *c, const struct shape *s, uint32_t axes,
		   enum num t, const void **data, struct reduce_plan *p,
		   struct err *e);
/* The axes of a [outer][dim][inner] plan around one axis. */
struct reduce_plan reduce_axis(const struct shape *s, int32_t axis, enum num t);
/* Axes from attribute `axes` or input 1, as a mask; 1: not known yet. */
int reduce_mask(struct op_call *c, int32_t rank, uint32_t *mask, struct err *e);

#endif
