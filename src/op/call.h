/* SPDX-License-Identifier: MIT */
/* call - the end of a call: conversions that are due, and temporary memory. */
#ifndef OP_CALL_H
#define OP_CALL_H

struct err;
struct op_call;

/* Makes the outputs of op_alloc_as and op_alloc_elems what they shall be. */
int call_finish(struct op_call *c, struct err *e);
void call_free_scratch(struct op_call *c);

#endif
