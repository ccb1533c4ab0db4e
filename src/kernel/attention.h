/* SPDX-License-Identifier: MIT */
/* attention - softmax(scale · Q · Kᵀ + bias) · V, float32. */
#ifndef KERNEL_ATTENTION_H
#define KERNEL_ATTENTION_H

#include <stdint.h>

#include "modelfs/kernel.h"

/* How far apart batches, heads and rows are, in elements. */
struct attention_view {
	const float *p;
	size_t batch, head, row;
};

struct attention {
	size_t batch, q_heads, kv_heads; /* kv_heads divides q_heads */
	size_t q_len, kv_len, dim, v_dim;
	struct attention_view q, k, v;
	float *out;
	size_t out_batch, out_head, out_row;
	float scale, softcap; /* softcap 0: none */
	/* Added to scores; columns beyond bias_cols are masked. */
	struct attention_view bias; /* p NULL: none */
	size_t bias_cols;
	const int64_t *valid;  /* keys of each batch, or NULL: all */
	const int64_t *offset; /* causal: row i sees keys <= i + offset[b] */
	int64_t window;	       /* causal: and no older than that; 0: all */
	bool causal;
	/* Of each query head, the score of a key without a value; or NULL. */
	const float *sink;
	float *scores; /* [batch][q_heads][q_len][kv_len] */
	/* A copy of the scores: raw, after softcap, after bias, softmaxed. */
	float *probe; /* or NULL */
	int probe_at; /* 0 … 3 */
	size_t *at;   /* room for 3 * batch * q_heads */
};

void attention_run(const struct kernel *k, const struct attention *a);

/*
 * Rotates pairs of the first `dim` elements of each head: (x0, x1) becomes
 * (x0 cos - x1 sin, x0 sin + x1 cos).  Pairs are neighbours (interleaved) or
 * lie dim / 2 apart.  x and y: [batch][heads][len][head_dim] by these steps.
 */
struct rotary {
	size_t batch, heads, len, head_dim, dim;
	size_t step_batch, step_head, step_row;
	bool interleaved;
	const float *cos, *sin; /* rows of dim / 2 */
	const int64_t *rows;	/* [batch][len]: which row */
};
void attention_rotate(const struct kernel *k, const struct rotary *r,
		      const float *x, float *y);

#endif
