/* SPDX-License-Identifier: MIT */
/* sequence - what operators on lists of tensors share. */
#ifndef OP_SEQUENCE_H
#define OP_SEQUENCE_H

#include <stdbool.h>

#include "modelfs/op.h"

/* The elements of input i, borrowed.  EOPNOTSUPP when it is no container. */
int sequence_items(struct op_call *c, size_t i, const struct tensor **items,
		   size_t *n, struct err *e);
/* Output `out`: a container of these; new references are taken. */
int sequence_give(struct op_call *c, size_t out, enum dtype kind,
		  const struct tensor *items, size_t n, struct err *e);
/* Elements [at, at + len) of an axis of input i; the caller owns them. */
int sequence_cut(struct op_call *c, size_t i, int32_t axis, int64_t at,
		 int64_t len, struct tensor *out, struct err *e);

/* n > 0 tensors, borrowed, behind each other on an axis, or a new one. */
struct sequence_join {
	const struct tensor *items;
	size_t n;
	int64_t axis;
	bool new_axis;
};
/* Output 0.  EINVAL when the tensors do not fit each other. */
int sequence_join(struct op_call *c, const struct sequence_join *j,
		  struct err *e);

#endif
