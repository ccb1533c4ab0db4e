/* SPDX-License-Identifier: MIT */
/*
 * derived - tensors that are made of stored ones when they are read, a piece at
 * a time (op.view): none of them is ever in memory as a whole.
 */
#ifndef OP_DERIVED_H
#define OP_DERIVED_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct op_call;
struct tensor;

/* One for all (n 1), or one for each place of an axis. */
struct derived_scales {
	const float *scale, *zero; /* zero: NULL, or as many */
	size_t n;
	int32_t axis;
};

/*
 * The numbers of `in` as float32, less their zero points and times their
 * scales where there are some (NULL: none; they are copied).  EOPNOTSUPP for
 * what is no number.
 */
int derived_floats(const struct tensor *in, const struct derived_scales *s,
		   struct tensor *out, struct err *e);
/* A matrix of whole bytes the other way round. */
int derived_turned(const struct tensor *in, struct tensor *out, struct err *e);

/* op.view of operators that give their input another shape. */
int derived_alias(struct op_call *c, struct tensor *out, struct err *e);

#endif
