/* SPDX-License-Identifier: MIT */
/* attention - parts that ONNX's and other domains' attention share. */
#ifndef OP_ATTENTION_H
#define OP_ATTENTION_H

#include "kernel/attention.h"
#include "modelfs/op.h"

/* Gets scratch memory for a, whose extents are set, and runs it. */
int attention_compute(struct op_call *c, struct attention *a, struct err *e);
/* [batch][heads][len][dim], contiguous. */
struct attention_view attention_heads(const float *p, size_t heads, size_t len,
				      size_t dim);
/* [batch][len][heads · dim], contiguous. */
struct attention_view attention_hidden(const float *p, size_t heads, size_t len,
				       size_t dim);
/*
 * Rows of the past [batch][heads][past][dim], or none, and of view v behind
 * them: [batch][heads][past + len][dim] in out.
 */
void attention_append(const float *past, size_t past_len,
		      const struct attention_view *v,
		      const size_t n[4]
		      /* batch, heads, len, dim */,
		      float *out);

#endif
