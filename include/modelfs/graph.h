/* SPDX-License-Identifier: MIT */
/*
 * graph - a computation: values, and the nodes that make them.
 *
 * Ids are indices into the graph's arrays.  A graph is built by a reader,
 * sealed once, and immutable from then on.  It knows no executor.
 *
 * The vocabulary is ONNX's (domain "" is ai.onnx); see src/README.md for the
 * operators of our own domain.
 *
 * A subgraph (body of If, Loop, Scan) is a graph of its own.  A value of an
 * enclosing graph that it reads is a capture: graph_seal gives the subgraph a
 * value of its own for it, and lists the outer value at the node that owns
 * the subgraph.
 *
 * A sealed graph numbers the values of its subgraphs, however deep, behind its
 * own: graph_locate.
 */
#ifndef MODELFS_GRAPH_H
#define MODELFS_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/tensor.h"

struct arena;
struct err;
struct graph;
struct map;
struct module;
struct param;

typedef uint32_t value_id;
typedef uint32_t node_id;
#define NO_VALUE ((value_id)-1) /* an optional input or output left out */
#define NO_NODE ((node_id)-1)

struct span {
	const char *p; /* NUL-terminated, but may hold NULs */
	size_t len;
};

enum attr_kind {
	ATTR_FLOAT,
	ATTR_INT,
	ATTR_STRING,
	ATTR_TENSOR,
	ATTR_GRAPH,
	ATTR_FLOATS,
	ATTR_INTS,
	ATTR_STRINGS,
	ATTR_TENSORS,
	ATTR_GRAPHS,
	ATTR_OTHER /* a type no operator of ours reads; listed only */
};

struct attr {
	const char *name;
	enum attr_kind kind;
	size_t n; /* elements of the plural kinds, else 1 */
	union {
		float f;
		int64_t i;
		struct span s;
		struct tensor *t; /* owned: data is unreferenced with the graph */
		struct graph *g;
		const float *floats;
		const int64_t *ints;
		const struct span *strings;
		struct tensor *tensors;
		struct graph **graphs;
	};
};

struct value {
	const char *name; /* original; unique in its graph */
	enum dtype dtype; /* declared; DTYPE_NONE: not declared */
	enum dtype key_type; /* declared; of a map */
	struct tensor *type; /* declared shape, or NULL; data stays NULL */
	const char **dim_names; /* per extent, NULL entries; or NULL */
	/*
	 * The stored tensor this value is, or NULL: an initializer's, or the
	 * output of a Constant node (or an Identity of one), which then has a
	 * producer as well.
	 */
	struct param *param;
	node_id producer;    /* NO_NODE: input, initializer or capture */
	uint32_t output;     /* which output of the producer */
	value_id captured;   /* of the parent graph; NO_VALUE: no capture */
	uint32_t capture;    /* its place among the captures of the owner */
	bool is_input;
	bool is_output;
};

/* An outer value that subgraphs of a node read. */
struct capture {
	value_id value;
	uint64_t readers; /* bit k & 63: subgraph number k does */
};

struct node {
	const char *name; /* unique in its graph; made up where the file has none */
	const char *domain;
	const char *type;
	int opset;
	struct module *module; /* the node's own module; NULL in subgraphs */
	uint32_t nin, nout, ncaptures, nattrs;
	value_id *in;	    /* NO_VALUE: left out */
	value_id *out;
	struct capture *captures;
	struct attr *attrs;
};

/* What the node needs: its nin inputs, then its captures. */
static inline value_id node_needs(const struct node *n, uint32_t k)
{
	return k < n->nin ? n->in[k] : n->captures[k - n->nin].value;
}

struct graph {
	struct arena *arena; /* the model's */
	const char *name;
	struct graph *parent; /* NULL: the model's own graph */
	struct value *values;
	struct node *nodes; /* topologically sorted once sealed */
	bool is_sealed;
	value_id *inputs;   /* without initializers */
	value_id *outputs;
	uint32_t nvalues, nnodes, ninputs, noutputs;
	uint32_t cap_values, cap_nodes, cap_inputs, cap_outputs;
	struct map *index;	 /* name → value_id */
	struct map *node_names; /* while building */
	const char *broken; /* why it cannot run (a cycle, …); NULL: it can */
	/* Of a subgraph, once sealed: */
	uint32_t first_id; /* its value 0 among all of the outermost graph */
	node_id owner;	   /* node of the outermost graph that it is in */
	/* Of the outermost graph, once sealed: */
	struct graph **subgraphs; /* by first_id */
	uint32_t nsubgraphs, cap_subgraphs;
	uint32_t nall; /* values, those of subgraphs included */
};

struct graph *graph_new(struct arena *a, struct graph *parent,
			const char *name);
/* Drops the tensors of attributes and the index, also of subgraphs. */
void graph_free(struct graph *g);

/* The value of this name, made if need be.  -ENOMEM. */
int graph_value(struct graph *g, const char *name, size_t len, value_id *out,
		struct err *e);
/* NO_VALUE when there is none. */
value_id graph_find(const struct graph *g, const char *name, size_t len);

/* Declares type and shape; dim_names may be NULL. */
int graph_declare(struct graph *g, value_id v, const struct tensor *type,
		  const char **dim_names, struct err *e);
int graph_input(struct graph *g, value_id v, struct err *e);
int graph_output(struct graph *g, value_id v, struct err *e);

/*
 * A new node, with room for nin inputs, nout outputs and nattrs attributes,
 * which the caller fills before graph_seal.  name may be NULL or empty, and is
 * made unique ("Conv_7", "x%1").  The pointer is valid until the next call.
 */
int graph_node(struct graph *g, const char *name, const char *domain,
	       const char *type, uint32_t nin, uint32_t nout, uint32_t nattrs,
	       struct node **out, struct err *e);

/*
 * Links producers, resolves captures, sorts.  A cycle, a value made twice or
 * an undefined one makes the graph `broken`, which is no failure: it can still
 * be looked at.  Subgraphs are sealed with it.
 */
int graph_seal(struct graph *g, struct err *e);

/*
 * The graph that value number id < g->nall is in, itself or a subgraph, and
 * which of its values it is.  g is the outermost graph.
 */
const struct graph *graph_locate(const struct graph *g, value_id id,
				 value_id *own);

/* Subgraph number k of a node, and the attribute it is; NULL behind the last. */
struct graph *node_subgraph(const struct node *n, size_t k,
			    const struct attr **attr);

const struct attr *node_attr(const struct node *n, const char *name);

/* "kernel_shape=3,3 group=1": for listings; graphs and tensors by kind. */
struct text;
void attr_format(const struct attr *a, struct text *out);

#endif
