/* SPDX-License-Identifier: MIT */
/* stack - what Loop and Scan share: running a body, collecting its results. */
#ifndef OP_STACK_H
#define OP_STACK_H

#include "modelfs/op.h"

/* One tensor, owned, for each of n; NULL when out of memory. */
struct tensor *stack_new_tensors(size_t n);
void stack_free_tensors(struct tensor *t, size_t n);

/* As run_graph; EINVAL when the body has other inputs or outputs. */
int subgraph_run(struct op_call *c, const struct graph *g,
		 const struct tensor *in, size_t nin, struct tensor *out,
		 size_t nout, struct err *e);
/* A condition.  EINVAL when it is no single boolean. */
int subgraph_truth(struct op_call *c, const struct tensor *t, bool *out,
		   struct err *e);
/*
 * What an output would be that was never made: as the body declares it, else
 * as far as inference can tell; extents that nobody knows are 0.
 */
struct tensor subgraph_declared(struct op_call *c, const struct graph *g,
				size_t output);

/* A growing list of equal parts. */
struct stack {
	struct tensor *parts;
	size_t n, cap;
};

int stack_push(struct stack *s, const struct tensor *t, struct err *e);
void stack_free(struct stack *s);
/* Output i: the parts along a new axis, in order or from the last on. */
int stack_give(struct op_call *c, size_t i, const struct stack *s,
	       const struct tensor *like, int64_t axis, bool reverse,
	       struct err *e);

/* Number i of an attribute of integers. */
int64_t stack_pick(const struct op_call *c, const char *name, size_t i,
		   int64_t def);

/* op.infer of the nodes that run graphs */
int infer_if(struct op_call *c, struct err *e);
int infer_loop(struct op_call *c, struct err *e);
int infer_while(struct op_call *c, struct err *e);
int infer_scan(struct op_call *c, struct err *e);

#endif
