/* SPDX-License-Identifier: MIT */
/*
 * strip - elementwise operators, alone or one after the other: each says what
 * it does to an element (op.step), strip_eval does the rest.
 */
#ifndef OP_STRIP_H
#define OP_STRIP_H

#include "kernel/strip.h"
#include "kernel/unary.h"
#include "modelfs/op.h"

/* What an operator does to an element of each of its first inputs. */
struct op_step {
	stride_fn *fn;
	const void *arg;
	size_t nin;
	/* How each input goes along with the result; filled with its shape. */
	struct shape shapes[STRIDE_IN_MAX];
	/* What it is taken in; filled with what its type is computed in. */
	enum dtype takes[STRIDE_IN_MAX];
	enum dtype gives;  /* what fn gives; filled with takes[0] */
	enum dtype stored; /* type of the result; filled with input 0's */
	/* Where arg may be kept. */
	union {
		struct unary_arg unary;
		struct clip_arg clip;
	} u;
	double lo, hi;
};

/* op.eval of what has op.step. */
int strip_eval(struct op_call *c, struct err *e);

#endif
