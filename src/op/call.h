/* SPDX-License-Identifier: MIT */
/* call - the end of a call: conversions that are due, and temporary memory. */
#ifndef OP_CALL_H
#define OP_CALL_H

#include <stdbool.h>

struct err;
struct op_call;
struct shape;

/* A shape without elements whose other extents are absurdly large. */
bool call_is_hollow(const struct shape *s);

/* Makes the outputs of op_alloc_as and op_alloc_elems what they shall be. */
int call_finish(struct op_call *c, struct err *e);
void call_free_scratch(struct op_call *c);

#endif
