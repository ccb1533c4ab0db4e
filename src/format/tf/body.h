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
	uint64_t nodes_max;
	uint64_t name_bytes;
	uint64_t walked; /* steps back from Merges */
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
	struct map *index;	  /* name → node */
	struct tf_slot *slots;	  /* one per node */
	struct tf_frames *frames; /* loops as TensorFlow 1 has them, or NULL */
	struct tf_walk *walk;	  /* for its branches, or NULL */
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

/* Bytes of names for each node there may be; calls make them longer. */
#define TF_NAME_BYTES 256u
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
/* Fills a body from what its outputs need.  tf_body_free, also on failure. */
int tf_add_body(struct tf_body *b, const ProtobufCBinaryData *const *outs,
		size_t nouts, struct err *e);

/* What the body has allocated. */
void tf_body_free(struct tf_body *b);
/* The name of something in this body, in the whole graph. */
int tf_prefixed(struct tf_body *b, struct span name, struct span *out,
		struct err *e);
/* Marks the node of this reference as needed, and what it needs in turn. */
void tf_want(struct tf_body *b, const ProtobufCBinaryData *text, size_t *stack,
	     size_t *depth);

/* ---- function.c ---- */
/* NULL when there is none, or when it is being put in its own place. */
const Tf__Function *tf_function(const struct tf_body *b, struct span name);
/* What the function returns under this name; NULL: nothing. */
const ProtobufCBinaryData *tf_result(const Tf__Function *f,
				     const ProtobufCBinaryData *name);
/* The long prefix of what is in the node. */
int tf_call_prefix(struct tf_body *b, const Tf__Node *n, struct span *out,
		   struct err *e);
/*
 * The short one of what is in a function of a control node: the node's name,
 * or as much of it as the function's nodes do not say themselves.
 */
int tf_scope_prefix(struct tf_body *b, const Tf__Node *n, const Tf__Function *f,
		    struct span *out, struct err *e);
/* The function that a node calls; NULL when it is no call. */
const Tf__Function *tf_callee(const struct tf_body *b, const Tf__Node *n);
int tf_inline(struct tf_body *b, const Tf__Node *n, const Tf__Function *f,
	      struct tf_slot *s, struct err *e);

/* ---- control.c ---- */
struct tf_arg {
	struct span name; /* as the nodes call it */
	value_id outer;	  /* of the body around */
	bool is_carried;  /* an input of the graph; else read from outside */
};

/* Nodes that become a graph of their own. */
struct tf_region {
	struct span name;
	Tf__Node **nodes;
	size_t n;
	const Tf__Function *function; /* that the nodes are of */
	struct span prefix, long_prefix;
	const struct tf_arg *args;
	size_t nargs;
	const ProtobufCBinaryData *const *outs;
	size_t nouts;
};

/* The caller owns the graph until a node has it. */
int tf_subgraph(struct tf_body *b, const struct tf_region *r,
		struct graph **out, struct err *e);

/* A node with two graphs. */
struct tf_graph_node {
	const char *name, *domain, *type;
	const char *attrs[2];
	struct graph *graphs[2];
	struct module *module;
	const value_id *in, *out;
	uint32_t nin, nout;
};
/* Takes the graphs, also on failure. */
int tf_graph_node(struct tf_body *b, const struct tf_graph_node *g,
		  struct err *e);

/* 1: it was one of If, Case, While; 0: it was not, or cannot be made. */
int tf_add_control(struct tf_body *b, const Tf__Node *n, struct tf_slot *s,
		   struct err *e);

/* ---- frame.c ---- */
/* Finds the loops of Enter, Merge, Switch, NextIteration and Exit. */
int tf_find_frames(struct tf_body *b, struct err *e);
void tf_frames_free(struct tf_frames *f);
/* True for nodes that are in a loop of this body. */
bool tf_in_frame(const struct tf_body *b, size_t node);
/* What a loop needs from outside, when the node is an exit of one. */
bool tf_want_loop(struct tf_body *b, size_t node, size_t *stack, size_t *depth);
/* The loop that this node is an exit of; 0: it is none. */
int tf_add_loop(struct tf_body *b, size_t node, struct err *e);

/* ---- branch.c ---- */
void tf_walk_free(struct tf_walk *w);
/* Switch and Merge outside of loops; 0: it is none of them. */
int tf_add_branch(struct tf_body *b, size_t node, struct err *e);

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
/* NULL in a graph that is not the model's. */
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
