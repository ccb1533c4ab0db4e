/* SPDX-License-Identifier: MIT */
/*
 * tf_list - TensorFlow's lists of tensors: TensorList… (list_ops.cc) and what
 * came before it, TensorArray…V3 (data_flow_ops.cc).
 *
 * A list is a sequence; an element that nobody has set is an empty optional,
 * and is read as zeros.  The handle of a TensorArray is never looked at: what
 * it holds goes along with the value that orders its writes (flow).
 */
#ifndef OP_TF_LIST_H
#define OP_TF_LIST_H

#include "modelfs/op.h"

/* op.arg: the input that is the list, and what a TensorArray has otherwise. */
enum {
	ARRAY = 16, /* no element_shape; "dtype", not "element_dtype" */
	FLOW = ARRAY - 1
};

static inline size_t list_input(const struct op_call *c)
{
	return (size_t)(c->op->arg & FLOW);
}

static inline bool is_array(const struct op_call *c)
{
	return c->op->arg & ARRAY;
}

struct list {
	struct tensor *items; /* the array is owned, the tensors borrowed */
	size_t n;
};

static inline bool is_missing(const struct tensor *t)
{
	return t->dtype == DTYPE_OPTIONAL;
}

#endif
