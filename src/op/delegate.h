/* SPDX-License-Identifier: MIT */
/* delegate - operators that are another one, on inputs made for it. */
#ifndef OP_DELEGATE_H
#define OP_DELEGATE_H

#include "modelfs/op.h"

/*
 * Evaluates the operator `type` of a domain with this node's attributes; in
 * is borrowed, out owned by the caller on success.
 */
int op_delegate(struct op_call *c, const char *domain, const char *type,
		const struct tensor *in, size_t nin, struct tensor *out,
		size_t nout, struct err *e);

/* Input i (any type of whole bytes) with its extents in another order; owned. */
int op_permuted(struct op_call *c, const struct tensor *t,
		const int32_t *order, struct tensor *out, struct err *e);

/* Channels from the last place to the second, and back; owned. */
int op_channels_first(struct op_call *c, const struct tensor *t,
		      struct tensor *out, struct err *e);
int op_channels_last(struct op_call *c, const struct tensor *t,
		     struct tensor *out, struct err *e);

/*
 * Input i, quantised, as float32; scale and zero (which may be left out, or
 * SIZE_MAX) are inputs with one number, or one for each place of the last
 * extent; owned.
 */
int op_dequantised(struct op_call *c, size_t i, size_t scale, size_t zero,
		   struct tensor *out, struct err *e);

#endif
