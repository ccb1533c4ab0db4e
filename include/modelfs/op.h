/* SPDX-License-Identifier: MIT */
/*
 * op - operators: what their outputs look like, and how to compute them.
 *
 * A family of operators lives in one file of src/op/ as an array of struct
 * op; the registry in op.c has a line for each array.  Operators know tensors
 * and kernels; they know no run.
 */
#ifndef MODELFS_OP_H
#define MODELFS_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"
#include "modelfs/kernel.h"
#include "modelfs/tensor.h"

struct err;
struct finish;
struct op_call;
struct op_step;

#define OP_VARIADIC 255

enum op_flags {
	/* The outputs' values follow from the inputs' types and shapes. */
	OP_SHAPE_ONLY = 1 << 0,
	/* Not the same twice: never evaluated ahead of time. */
	OP_RANDOM = 1 << 1,
	/*
	 * Writes all memory it asks for before it reads it: op_alloc and
	 * op_temp need not zero it.
	 */
	OP_WRITES_ALL = 1 << 2,
	/*
	 * Takes input 1 through op_data_as and op_form alone: its bytes need
	 * not be in memory when the call begins (op_env.load); or not be there
	 * at all, where a form of it was kept: EAGAIN when that does not fit.
	 */
	OP_LATE_INPUT_1 = 1 << 3,
	/*
	 * Input 0 may be a stored tensor whose bytes are a range of a file and
	 * not in memory: eval reads what it wants of it.
	 */
	OP_STORED_INPUT_0 = 1 << 4,
};

struct op {
	const char *domain; /* "" is ai.onnx */
	const char *type;
	int since;		/* first opset this entry holds for */
	uint8_t min_in, max_in; /* OP_VARIADIC: any number */
	uint8_t min_out, max_out;
	unsigned flags;
	int arg; /* the family's own: which of its kernels */
	/*
	 * Sets type and shape of every output (op_out) from those of the
	 * inputs.  Input data is there where it is known ahead of time and
	 * small; extents may be DIM_UNKNOWN.  An output may stay unknown.
	 * EINVAL: the inputs cannot be right.  NULL: nothing is known ahead.
	 */
	int (*infer)(struct op_call *c, struct err *e);
	/* Computes; all shapes are known.  EINVAL, EOPNOTSUPP, EFBIG, EINTR. */
	int (*eval)(struct op_call *c, struct err *e);
	/*
	 * Optional: which of the node's subgraphs eval will run, as a mask
	 * (number k is bit k % 64), once the explicit inputs are there.  Only
	 * what these capture is then computed.
	 */
	int (*branches)(struct op_call *c, uint64_t *mask, struct err *e);
	/*
	 * Optional: what eval, with these types and shapes, can do to each
	 * number before it is stored (op_call.followers): a mask of stages.
	 */
	unsigned (*leads)(struct op_call *c);
	/*
	 * Optional: this node as part of another's eval; input `flow` is what
	 * flows through.  f NULL: only asks, from types and shapes; returns an
	 * op_stage or 0.  Else sets its part of f.  Same bits either way.
	 */
	int (*join)(struct op_call *c, size_t flow, struct finish *f,
		    struct err *e);
	/*
	 * Optional, of operators that are evaluated by strip_eval: what is done
	 * to each element (op/strip.h).  s NULL: only asks, from types; returns
	 * how many of the first inputs go along with the result where its
	 * numbers are those of input 0's type, else 0.
	 */
	int (*step)(struct op_call *c, struct op_step *s, struct err *e);
	/*
	 * Optional: whether eval, with these types and shapes, takes input 0
	 * and makes output 0 in blocks (tensor.block): a mask of op_blocks.
	 * Same bits either way.
	 */
	unsigned (*blocks)(struct op_call *c);
	/*
	 * Optional: output 0 as bytes that are made when they are read, from
	 * input 0's, which are not in memory; the other inputs' are.  out
	 * NULL: only asks, from types and shapes.  EOPNOTSUPP: only eval can.
	 */
	int (*view)(struct op_call *c, struct tensor *out, struct err *e);
};

/* Operators that run as one, at most. */
#define OP_STEPS_MAX 12

enum op_blocks { OP_TAKES_BLOCKS = 1 << 0, OP_MAKES_BLOCKS = 1 << 1 };

/* What may follow, at most one of each, in this order. */
enum op_stage {
	OP_STAGE_AFFINE = 1, /* by channels, x * a + b */
	OP_STAGE_COLUMNS,    /* a row that is added to each row */
	OP_STAGE_ADD,	     /* as much as there is */
	OP_STAGE_LIMIT,
	OP_STAGE_QUANTIZE, /* to integers; only with the next one */
	OP_STAGE_DEQUANTIZE
};

/* NULL when no entry covers this operator at this opset. */
const struct op *op_find(const char *domain, const char *type, int opset);

/* Calls fn for every entry of the registry (--formats, tests). */
void op_each(void (*fn)(const struct op *op, void *ctx), void *ctx);

/*
 * What an executor gives to operators.  `resident` is the executor's budget.
 */
struct op_env {
	struct kernel kernel;
	double form_seconds; /* grows by what op_form spends on new forms */
	/*
	 * Memory for a result, aligned to 64, its contents anything.  EFBIG
	 * over the budget.
	 */
	int (*alloc)(struct op_env *env, uint64_t nbytes, struct blob **out,
		     void **data, struct err *e);
	/*
	 * Optional.  How much alloc can give, up to `enough`; a guess where
	 * others compute at the same time.
	 */
	uint64_t (*room)(struct op_env *env, uint64_t enough);
	/*
	 * Optional.  True when this node was computed before: what it makes of a
	 * weight is worth keeping.
	 */
	bool (*is_again)(struct op_env *env, const struct op_call *c);
	/*
	 * Optional.  The bytes of an input that is not in memory yet; keep: for
	 * later calls as well.  The caller owns a reference.
	 */
	int (*load)(struct op_env *env, const struct op_call *c, size_t i,
		    bool keep, struct blob **out, struct err *e);
	/*
	 * Optional.  Input i of this node in another form, kept from an earlier
	 * call, or NULL; and: keep this one, while memory lasts.  Asked only
	 * for inputs in the call's mask of constants.
	 */
	struct blob *(*find_form)(struct op_env *env, const struct op_call *c,
				  size_t i);
	void (*keep_form)(struct op_env *env, const struct op_call *c, size_t i,
			  struct blob *b);
	/*
	 * Runs a subgraph of the node: nin inputs and one tensor per capture of
	 * this graph (both borrowed), nout outputs (owned by the caller).
	 */
	int (*run_graph)(struct op_env *env, const struct op_call *c,
			 const struct graph *g, const struct tensor *in,
			 size_t nin, struct tensor *out, size_t nout,
			 struct err *e);
	/*
	 * Optional.  The types and shapes that run_graph would give, as far as
	 * they can be told, and data that is small and always the same; `in`
	 * may hold such data, too.
	 */
	int (*infer_graph)(struct op_env *env, const struct op_call *c,
			   const struct graph *g, const struct tensor *in,
			   size_t nin, struct tensor *out, size_t nout,
			   struct err *e);
};

/* One node being inferred or evaluated. */
struct op_call {
	const struct node *node;
	const struct op *op;
	struct op_env *env; /* NULL while inferring without memory */
	size_t nin, nout;
	uint64_t constants; /* mask of inputs that are the same in every call */
	const struct tensor *in; /* DTYPE_NONE: left out */
	struct tensor *out;	 /* rank -1: unknown */
	/*
	 * node->ncaptures; DTYPE_NONE: not needed.  NULL while inferring: nothing
	 * is known of them.
	 */
	const struct tensor *captures;
	/* Nodes to be done by this one's eval; their calls, in order. */
	struct op_call *followers;
	size_t nfollowers;
	size_t flow; /* of a follower: the input that flows through */
	struct op_scratch *scratch; /* freed after the call */
	bool inferring;
	/* Output 0 in blocks; what followers add is in blocks, too. */
	bool make_blocks;
};

/* ---- attributes; the default where the node has none ---- */
int64_t op_attr_int(const struct op_call *c, const char *name, int64_t def);
float op_attr_float(const struct op_call *c, const char *name, float def);
/* NUL-terminated. */
const char *op_attr_str(const struct op_call *c, const char *name,
			const char *def);
/* False when the node has none. */
bool op_attr_ints(const struct op_call *c, const char *name, const int64_t **v,
		  size_t *n);
bool op_attr_floats(const struct op_call *c, const char *name, const float **v,
		    size_t *n);
const struct tensor *op_attr_tensor(const struct op_call *c, const char *name);
const struct graph *op_attr_graph(const struct op_call *c, const char *name);

/* ---- inputs ---- */
static inline bool op_has(const struct op_call *c, size_t i)
{
	return i < c->nin && c->in[i].dtype != DTYPE_NONE;
}

/* True when input i's elements are there (always, in eval). */
bool op_known(const struct op_call *c, size_t i);
/* Elements as stored.  NULL for an input that is left out. */
const void *op_data(const struct op_call *c, size_t i);
/* Number of elements; 0 for an input that is left out. */
uint64_t op_nelems(const struct op_call *c, size_t i);
/*
 * Elements converted to another type, where they are not of it already:
 * float16 and bfloat16 to float32, any integer to int64, …
 */
int op_data_as(struct op_call *c, size_t i, enum dtype t, const void **out,
	       struct err *e);
/*
 * Elements to be moved, not computed with: *size bytes each.  A string is a
 * struct span, a type of less than a byte takes a byte.
 */
int op_elems(struct op_call *c, size_t i, const void **out, size_t *size,
	     struct err *e);
/*
 * A 0- or 1-D integer tensor.  Returns 1 when its elements are not known yet
 * (inferring), EINVAL when there are more than max.
 */
int op_ints(struct op_call *c, size_t i, int64_t *out, size_t max, size_t *n,
	    struct err *e);
/* axis in [-rank, rank) made non-negative; EINVAL otherwise. */
int op_axis(const struct op_call *c, int64_t axis, int32_t rank, int32_t *out,
	    struct err *e);

/* ---- outputs ---- */
static inline bool op_wants(const struct op_call *c, size_t i)
{
	return i < c->nout && c->node->out[i] != NO_VALUE;
}

/* infer: what output i will be. */
void op_out(struct op_call *c, size_t i, enum dtype t, const struct shape *s);
/* eval: room for output i, to be written completely. */
int op_alloc(struct op_call *c, size_t i, enum dtype t, const struct shape *s,
	     void **out, struct err *e);
/*
 * eval: output i in a type the kernel computes in (float32 for float16);
 * op_finish converts it to `t` after eval returned.
 */
int op_alloc_as(struct op_call *c, size_t i, enum dtype t, enum dtype compute,
		const struct shape *s, void **out, struct err *e);
/*
 * eval: output 0 in blocks, of the type of input 0; the numbers in them are
 * float32.
 */
int op_alloc_image(struct op_call *c, const struct shape *s, void **out,
		   struct err *e);
/* eval: output i, to be filled with elements as op_elems gives them. */
int op_alloc_elems(struct op_call *c, size_t i, enum dtype t,
		   const struct shape *s, void **out, struct err *e);
/* eval: output i is this tensor; a new reference is taken. */
int op_give(struct op_call *c, size_t i, const struct tensor *t, struct err *e);
/* eval: output i has input j's bytes in another shape (Reshape, Identity). */
int op_alias(struct op_call *c, size_t i, size_t j, const struct shape *s,
	     struct err *e);
/* eval: memory that is gone after the call, within the budget. */
int op_temp(struct op_call *c, uint64_t nbytes, void **out, struct err *e);

/*
 * eval: input i, converted to type t, in a form of nbytes that fill makes of
 * it; from an earlier call where the input is constant.  One form a node.
 */
struct op_form {
	uint64_t nbytes;
	void (*fill)(const struct kernel *k, const void *ctx, const void *in,
		     void *out);
	const void *ctx;
};
int op_form(struct op_call *c, size_t i, enum dtype t, const struct op_form *f,
	    const void **out, struct err *e);

/*
 * eval: whether a form of so many bytes is there or shall be made: for the first
 * time, a large one takes longer than reading the input piece by piece.
 */
bool op_keeps_form(struct op_call *c, size_t i, uint64_t nbytes);
/*
 * eval: whether there is memory for input i as type t and, beside it, a form of
 * so many bytes (0: none), as far as they are not there, and so much more.
 */
bool op_has_room(struct op_call *c, size_t i, enum dtype t,
		 uint64_t form_nbytes, uint64_t more);

/* EINTR when somebody asked to stop. */
int op_check_stop(const struct op_call *c, struct err *e);

/* EINVAL with the node's name in front. */
int op_invalid(const struct op_call *c, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* EOPNOTSUPP for a type the operator does not take. */
int op_bad_dtype(const struct op_call *c, size_t i, struct err *e);

/* Broadcast of two or more shapes (NumPy's rule); unknown extents stay. */
int op_broadcast(const struct op_call *c, const struct shape *a,
		 const struct shape *b, struct shape *out, struct err *e);

/* ---- for executors ---- */
/* op.branches, which the operator has. */
int op_branches(struct op_call *c, uint64_t *mask, struct err *e);
/* Checks the arity, calls infer; outputs start unknown. */
int op_infer(struct op_call *c, struct err *e);
/* op.view, which the operator has. */
int op_view(struct op_call *c, struct tensor *out, struct err *e);
/* Checks the arity, calls eval, converts outputs, frees scratch. */
int op_eval(struct op_call *c, struct err *e);

#endif
