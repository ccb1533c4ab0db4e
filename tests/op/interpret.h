/* SPDX-License-Identifier: MIT */
/*
 * interpret - the simplest executor there can be: every node that an output
 * needs, in order.  For tests of operators; nothing is lazy, nothing is dropped.
 */
#ifndef TESTS_OP_INTERPRET_H
#define TESTS_OP_INTERPRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/op.h"

struct interpreter {
	struct op_env env; /* first: run_graph gets back from it */
	uint64_t budget;   /* of one result, in bytes */
	bool saw_random;   /* a node whose result is not the same twice */
	bool saw_half;	   /* a value of a 16-bit float type */
	bool saw_quantise; /* floats rounded to steps */
};

void interpreter_init(struct interpreter *in, uint64_t budget,
		      struct pool *pool);

/*
 * values: one tensor for each of the graph's, those of inputs filled in; all
 * are owned by the caller.
 */
int interpret(struct interpreter *in, const struct graph *g,
	      const struct op_call *owner, struct tensor *values,
	      struct err *e);

/* A copy in memory where t's data lies elsewhere.  Takes t. */
int tensor_load(struct tensor *t, struct err *e);

#endif
