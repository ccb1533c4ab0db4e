/* SPDX-License-Identifier: MIT */
/* norm - normalisation of rows, for the operators that fuse it. */
#ifndef OP_NORM_H
#define OP_NORM_H

#include "kernel/num.h"
#include "modelfs/op.h"

/* What is computed in: EOPNOTSUPP unless input 0 is of floats. */
int norm_type(struct op_call *c, enum num *t, struct err *e);
/* Input i with one number a channel, in the type of input 0. */
int norm_per_channel(struct op_call *c, size_t i, uint64_t channels,
		     const void **out, struct err *e);

static inline double norm_get(enum num t, const void *p, size_t i)
{
	return t == NUM_F64 ? ((const double *)p)[i]
			    : (double)((const float *)p)[i];
}

static inline void norm_set(enum num t, void *p, size_t i, double v)
{
	if (t == NUM_F64)
		((double *)p)[i] = v;
	else
		((float *)p)[i] = (float)v;
}

static inline enum dtype norm_dtype(enum num t)
{
	return t == NUM_F64 ? DTYPE_F64 : DTYPE_F32;
}

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
