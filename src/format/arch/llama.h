/* SPDX-License-Identifier: MIT */
/*
 * llama - the computation of a Llama-like model, for files that carry its
 * weights and name its architecture but no graph.
 *
 * The graph is made of ONNX's operators.  Input `tokens`, int64 [n]; output
 * `logits`, float32 [n, vocabulary]: row i tells what follows token i.  All of
 * it is computed in float32, whatever the weights are stored as.
 */
#ifndef FORMAT_ARCH_LLAMA_H
#define FORMAT_ARCH_LLAMA_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct model;

/* What a format calls the modules; those of a layer below "layers" + number. */
struct llama_names {
	const char *embedding, *norm, *head;
	const char *layers; /* "blk" */
	const char *attention_norm, *q, *k, *v, *o;
	const char *attention; /* where the product of heads belongs */
	const char *mlp_norm, *gate, *up, *down;
	const char *mlp;     /* where the product of gate and up belongs */
	const char *rope;    /* where angles are computed */
	const char *factors; /* divisors of frequencies; a parameter or NULL */
};

struct llama {
	const struct llama_names *names;
	int64_t layers, heads, kv_heads;
	int64_t head_dim; /* 0: as the shape of q tells */
	float epsilon;
	double rope_base;
	bool interleaved; /* rotated pairs are neighbours, not halves */
};

/*
 * Gives the model its graph.  When a weight is missing or has another shape
 * the model stays without one, and info.json says why.
 */
int llama_graph(struct model *m, const struct llama *spec, struct err *e);

#endif
