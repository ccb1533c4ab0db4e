/* SPDX-License-Identifier: MIT */
/* ms_attention - what com.microsoft's attention operators share. */
#ifndef OP_MS_ATTENTION_H
#define OP_MS_ATTENTION_H

#include "op/attention.h"

/* n floats of scratch memory. */
int ms_floats(struct op_call *c, uint64_t n, float **out, struct err *e);
/* A count of heads, at least 1. */
int ms_head_count(struct op_call *c, const char *name, size_t *n,
		  struct err *e);
/*
 * Adds up the mask in input `mask` (which keys count) and the bias in input
 * `bias` ([1 or batch][1 or heads][q_len][kv_len]); each may be left out.
 */
int ms_read_bias(struct op_call *c, struct attention *a, size_t mask,
		 size_t bias, struct err *e);
/* The attribute, or one over the root of the size of a head. */
void ms_set_scale(struct op_call *c, struct attention *a);
/* Output 0 is [batch][q_len][heads . v_dim]; computes. */
int ms_hidden_output(struct op_call *c, struct attention *a, struct err *e);

/* MultiHeadAttention whose past is a buffer, see ms_decode.c. */
int ms_decode_multi_head(struct op_call *c, struct err *e);

#endif
