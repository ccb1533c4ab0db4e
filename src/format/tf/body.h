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

/* Of all names together, which calls make longer. */
#define TF_NAMES_MAX ((uint64_t)256 << 20)
/* Outputs of one node. */
#define TF_OUTPUTS_MAX 65536

/* ---- ref.c ---- */
struct tf_ref {
	struct span name;
	struct span output; /* empty in graphs */
	uint64_t idx;
	bool is_control;
};

struct tf_ref tf_parse_ref(const ProtobufCBinaryData *b);
/* Which output of this node a reference means. */
uint64_t tf_output_index(const Tf__Node *n, const struct tf_ref *r);
bool tf_is_variable(const Tf__Node *n);
bool tf_is_op(const Tf__Node *n, const char *const *ops);

/* ---- graph.c ---- */
/* NO_VALUE for what is not there. */
value_id tf_resolve(struct tf_body *b, const ProtobufCBinaryData *text);
/* Fills a body from what its outputs need.  The caller frees index, slots. */
int tf_add_body(struct tf_body *b, const ProtobufCBinaryData *const *outs,
		size_t nouts, struct err *e);

/* ---- function.c ---- */
/* The function that a node calls; NULL when it is no call. */
const Tf__Function *tf_callee(const struct tf_body *b, const Tf__Node *n);
int tf_inline(struct tf_body *b, const Tf__Node *n, const Tf__Function *f,
	      struct tf_slot *s, struct err *e);

/* ---- node.c ---- */
int tf_add_constant(struct tf_body *b, const Tf__Node *n,
		    const struct tf_slot *s, struct err *e);
/* True when a checkpoint holds the variable. */
bool tf_bind_variable(struct tf_body *b, const Tf__Node *n, value_id v);
int tf_add_input(struct tf_body *b, const Tf__Node *n, value_id v,
		 struct err *e);
/* The inputs' values, to be freed. */
int tf_find_inputs(struct tf_body *b, const Tf__Node *n, value_id **out,
		   uint32_t *nin, struct err *e);
int tf_add_node(struct tf_body *b, const Tf__Node *n, struct tf_slot *s,
		struct err *e);
int tf_node_module(struct tf_body *b, struct span name, struct module **out,
		   struct err *e);
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
