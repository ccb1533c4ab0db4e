/* SPDX-License-Identifier: MIT */
/*
 * tflite - what the files of this folder share: one TensorFlow Lite model
 * being read (tensorflow/compiler/mlir/lite/schema/schema.fbs).
 *
 *	tflite.c	probe, model, subgraphs, metadata
 *	tensor.c	tensors, their buffers and their quantisation
 *	sparse.c	tensors of which the zeros are left out
 *	graph.c		operators
 *	ops.c		what operators are called
 *	translate.h, …	operators that ONNX has, too
 */
#ifndef FORMAT_TFLITE_TFLITE_H
#define FORMAT_TFLITE_TFLITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/tf/tf.h"
#include "wire/flatbuf.h"

struct source;

#define TFLITE_NO_ROLE UINT32_MAX

struct tflite_tensor {
	struct span name; /* as in the file; one that is made up, for none */
	struct span path; /* where it goes as a parameter */
	uint32_t role; /* which input it is first used as, or TFLITE_NO_ROLE */
	struct flatbuf_table table;
	struct tensor type; /* data stays NULL */
	int type_code;
	uint32_t buffer;
	uint32_t nscales; /* of its quantisation */
	bool has_data;
	bool has_rank;
	bool is_used;	  /* by an operator, or from outside */
	bool is_variable; /* keeps its numbers from run to run */
	struct param *param;
	value_id value;
};

struct tflite {
	struct tf tf; /* for names: see tf_place */
	struct flatbuf *f;
	struct source *src;
	struct flatbuf_table model;
	struct flatbuf_vector opcodes, buffers, subgraphs;
	struct tflite_graph *graphs; /* of the subgraphs; in the arena */
	uint64_t ncopied; /* parts of subgraphs that run inside of others */
	uint32_t depth;	  /* of these */
};

enum { /* fields of a subgraph */
       TFLITE_TENSORS = 0,
       TFLITE_INPUTS = 1,
       TFLITE_OUTPUTS = 2,
       TFLITE_OPERATORS = 3
};

struct tflite_graph {
	struct tflite *t;
	struct graph *graph; /* that it is built in */
	struct flatbuf_table table;
	struct span prefix;	       /* "name/"; empty for the first */
	struct tflite_tensor *tensors; /* in the arena */
	uint32_t ntensors;
	/* Which tensor value first_value + i is; in the arena. */
	uint32_t *of_value;
	value_id first_value;
	uint32_t nvalues;
	bool is_named;	/* by an operator that would run it */
	bool is_called; /* that operator was translated */
};

/* A string field, copied; empty when it is absent. */
int tflite_text(struct tflite *t, const struct flatbuf_table *table,
		unsigned field, struct span *out, struct err *e);
/* Says what the FlatBuffer found wrong; 0 when nothing. */
int tflite_check(const struct tflite *t, struct err *e);

/* ---- tensor.c ---- */
/* DTYPE_NONE for a number that has not been given out. */
enum dtype tflite_dtype(int64_t code);
/* Type, shape and name of every tensor of a subgraph. */
int tflite_tensors(struct tflite_graph *g, struct err *e);
/* Those with data as parameters. */
int tflite_params(struct tflite_graph *g, struct err *e);
/* Where a buffer's bytes are; len 0 for none.  EINVAL. */
int tflite_buffer(struct tflite *t, uint32_t idx, uint64_t *off, uint64_t *len,
		  struct err *e);

struct tflite_quantization {
	uint32_t n;	    /* 1, or one for each channel; 0: none */
	const float *scale; /* in the arena */
	const int64_t *zero_point;
	int64_t axis;
};
/* EINVAL where it contradicts the tensor. */
int tflite_quantization(struct tflite *t, const struct tflite_tensor *x,
			struct tflite_quantization *out, struct err *e);

/* ---- sparse.c ---- */
#define TFLITE_SPARSITY 6 /* the field of a tensor */
/*
 * The whole of a sparse tensor; values (taken) are those that are stored.
 * EINVAL; EOPNOTSUPP for elements that are no whole bytes.
 */
int tflite_sparse(struct tflite *t, const struct tflite_tensor *x,
		  struct blob *values, struct blob **out, struct err *e);

/* ---- graph.c ---- */
/*
 * Sets the role of every tensor, and which are used; of subgraphs, which are
 * named.
 */
int tflite_roles(struct tflite_graph *g, struct err *e);
/* Values, nodes and ends. */
int tflite_operators(struct tflite_graph *g, struct err *e);
/* A value for every tensor that is used; a node for every operator. */
int tflite_values(struct tflite_graph *g, struct err *e);
int tflite_nodes(struct tflite_graph *g, struct err *e);
/* Zeros for what is kept from run to run. */
int tflite_states(struct tflite_graph *g, struct err *e);
/* The value that element i of a list of tensors is.  EINVAL. */
int tflite_value(struct tflite_graph *g, const struct flatbuf_vector *v,
		 uint32_t i, value_id *out, struct err *e);

/* ---- ops.c ---- */
/* NULL for a number that has not been given out. */
const char *tflite_op_name(int64_t code);
#define TFLITE_CALL 31
#define TFLITE_CUSTOM 32
#define TFLITE_IF 118
#define TFLITE_WHILE 119
#define TFLITE_CALL_ONCE 129

#endif
