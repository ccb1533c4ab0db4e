/* SPDX-License-Identifier: MIT */
/* body - the nodes of a graph or of one call of a function, being read. */
#ifndef FORMAT_TF_BODY_H
#define FORMAT_TF_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/tf/tf.h"

struct tf_budget {
	uint64_t nodes; /* those of functions once for each call */
	uint64_t name_bytes;
};

struct tf_slot { /* what is made of one node */
	bool is_live;
	bool is_done; /* a variable that is a parameter */
	uint32_t nout;
	value_id *out;
	struct span name; /* in the whole graph */
};

struct tf_body {
	struct tf *t;
	struct graph *g;
	Tf__Node **nodes;
	size_t n;
	struct map *index;     /* name → node */
	struct tf_slot *slots; /* one per node */
	const Tf__Library *library;
	struct map *functions; /* name → index into the library */
	/*
	 * Of the names in a call: the short one, where it leads to nothing
	 * that is there already, or else the long one.
	 */
	struct span prefix, long_prefix;
	struct map *args; /* of a function: name → value */
	uint32_t depth;
	const Tf__Function *function; /* NULL: the graph itself */
	const struct tf_body *caller;
	struct tf_budget *budget; /* of the whole model */
};

/* One node with its values. */
struct tf_call {
	const Tf__Node *node;
	struct span name; /* with the prefix */
	struct module *module;
	const value_id *in;
	value_id *out;
	uint32_t nin, nout;
};

bool tf_is_op(const Tf__Node *n, const char *const *ops);
/* A node of ONNX with one input and one output. */
int tf_emit(struct tf_body *b, const char *name, const char *type,
	    struct module *mod, value_id in, value_id out, struct err *e);

/* ---- translate.c ---- */
/*
 * Puts operators of ONNX in the place of a node that they can stand for.
 * 1 when it did, 0 when there are none.
 */
int tf_translate(struct tf_body *b, const struct tf_call *c, struct err *e);

#endif
