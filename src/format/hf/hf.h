/* SPDX-License-Identifier: MIT */
/*
 * hf - folders in the layout of Hugging Face's transformers and diffusers:
 * weights in one file or in shards that an index names, config.json, a
 * tokenizer.
 *
 *	hf.c	finding the files; what goes into config/
 *	index.c	{"weight_map": {tensor: file}} and the shards it names
 *	arch.c	the computation, where it is known
 *	types.c	what modules are, where config.json's model_type is known
 */
#ifndef FORMAT_HF_H
#define FORMAT_HF_H

#include <stddef.h>

struct err;
struct input;
struct json;
struct model;
struct source;

/*
 * Reads the tensors an index names, in the order of the shards.  A shard that
 * cannot be had makes its tensors give that error, not the model.
 */
int hf_read_index(const struct input *in, struct source *index, struct model *m,
		  struct err *e);

/*
 * One file of weights, safetensors or PyTorch; wants says which tensors are
 * to be added, NULL: all.
 */
struct safetensors_part;
int hf_read_weights(struct source *src, const struct safetensors_part *part,
		    struct model *m, struct err *e);

/* All of a small text; owned by the caller, len bytes and a NUL. */
int hf_read_text(struct source *src, char **out, size_t *len, struct err *e);

/* Names the types of the modules there are; config may be NULL. */
int hf_set_types(struct model *m, const struct json *config, struct err *e);

/* Gives the model a graph where config.json's architecture is known. */
int hf_set_graph(struct model *m, const struct json *config, struct err *e);

#endif
