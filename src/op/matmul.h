/* SPDX-License-Identifier: MIT */
/* matmul - NumPy's product of stacks of matrices, for several operators. */
#ifndef OP_MATMUL_H
#define OP_MATMUL_H

#include "kernel/num.h"
#include "modelfs/op.h"

struct finish;
struct gemm;

struct matmul {
	enum num type;
	double alpha;
	const struct shape *a_shape, *b_shape;
	const void *a, *b;
	enum dtype b_type; /* b NULL: it is input 1, as this type */
	/* NULL, or what is done to float32 results; rows have no parts. */
	const struct finish *finish;
};

int matmul_shape(const struct op_call *c, const struct shape *a,
		 const struct shape *b, struct shape *out, struct err *e);
/* out has room for the result of matmul_shape. */
int matmul_run(struct op_call *c, const struct matmul *mm, void *out,
	       struct err *e);
/* gemm_run with input 1, as type t: all of it or, where it is large, parts. */
int matmul_plain(struct op_call *c, const struct gemm *g, enum dtype t,
		 const void *a, void *out, struct err *e);

#endif
