/* SPDX-License-Identifier: MIT */
/* impl - what the operator families share among themselves. */
#ifndef OP_IMPL_H
#define OP_IMPL_H

#include <errno.h>
#include <string.h>

#include "kernel/num.h"
#include "kernel/strip.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/op.h"

#define ONNX ""
#define ML "ai.onnx.ml"
#define MICROSOFT "com.microsoft"
/* Ours: what a framework means a little differently (src/README.md). */
#define MODELFS "modelfs"
/* TensorFlow's own, where ONNX has nothing like it. */
#define TF "tf"

/* ---- types ---- */
/* What a kernel computes in: float32 for smaller floats, itself otherwise. */
enum dtype op_compute_type(enum dtype t);
/* False for what is no number kernels know (strings, complex, …). */
bool op_num(enum dtype t, enum num *out);
bool op_is_float(enum dtype t);
bool op_is_int(enum dtype t);

/*
 * Numbers from one type to another; -EOPNOTSUPP where one of them is none.
 * saturate: of the small float types only.
 */
int op_convert(const struct kernel *k, enum dtype from, const void *src,
	       enum dtype to, void *dst, uint64_t n, bool saturate);

/*
 * Types of 16 bits whose numbers are computed in float32: how n of them get
 * there and back, and what is left of a number that goes there and back.
 * All NULL for other types.
 */
struct op_moves {
	strip_move *load, *store, *round;
};
struct op_moves op_moves(enum dtype stored, enum dtype computed);

/* EOPNOTSUPP with the node's name. */
int op_unsupported(const struct op_call *c, struct err *e, const char *what);
bool op_attr_strings(const struct op_call *c, const char *name,
		     const struct span **v, size_t *n);

/* ---- inputs ---- */
/* Input i in the type it is computed in, which is told in *t. */
int op_in(struct op_call *c, size_t i, enum num *t, const void **out,
	  struct err *e);
/* Input i as float32 whatever its type; NULL when left out. */
int op_in_f32(struct op_call *c, size_t i, const float **out, struct err *e);
/*
 * All of a 0- or 1-D (or any-shape) integer tensor as int64, whatever its
 * length.
 */
int op_in_i64(struct op_call *c, size_t i, const int64_t **out, struct err *e);
/*
 * Input i's integers as indices into an extent: int64, negative ones counted
 * from the end, EINVAL for one that is outside.
 */
int op_indices(struct op_call *c, size_t i, int64_t dim, const int64_t **out,
	       struct err *e);
/*
 * Where indices point to in a tensor of shape `data`, in elements (for
 * GatherElements and its like) or blocks (GatherND).
 */
int op_element_offsets(struct op_call *c, size_t i, const struct shape *data,
		       int32_t axis, int64_t **out, struct err *e);
int op_tuple_offsets(struct op_call *c, size_t i, const struct shape *data,
		     int32_t batch, int64_t **out, struct err *e);
/* The first element as an integer or a float; def when left out. */
int op_scalar_int(struct op_call *c, size_t i, int64_t def, int64_t *out,
		  struct err *e);
int op_scalar_float(struct op_call *c, size_t i, double def, double *out,
		    struct err *e);
/*
 * Axes from the attribute or, where it is absent, from input i; normalised,
 * sorted as given, each at most once.  *n is 0 when none are given.  Returns 1
 * when they are not known yet.
 */
int op_axes(struct op_call *c, const char *attr, size_t i, int32_t rank,
	    int32_t axes[SHAPE_RANK_MAX], size_t *n, struct err *e);
const struct shape *op_shape(const struct op_call *c, size_t i);
enum dtype op_dtype(const struct op_call *c, size_t i);
/* EINVAL unless input i has this rank (an unknown one passes). */
int op_need_rank(const struct op_call *c, size_t i, int32_t lo, int32_t hi,
		 struct err *e);

/*
 * An attribute's tensor with its elements in memory; out borrows its data,
 * until the call ends.
 */
int op_load(struct op_call *c, const struct tensor *t, struct tensor *out,
	    struct err *e);

/* Input i's bytes, read whole, where the executor left them where they are. */
int op_load_input(struct op_call *c, size_t i, const void **out,
		  struct err *e);

/* ---- outputs ---- */
/* Like op_alloc_as, in what type t computes in. */
int op_out_as(struct op_call *c, size_t i, enum dtype t, const struct shape *s,
	      void **out, struct err *e);
/*
 * eval: where an output of 16 bits that op_alloc_as gave as float32 at `wide`
 * will be, and how its numbers get there: the caller does what op_finish would
 * have done.  *out is NULL when it is nothing of that kind.
 */
int op_take_over(struct op_call *c, const void *wide, void **out,
		 strip_move **store, struct err *e);
/*
 * eval: rows of `in` numbers of input 0 become rows of `out` numbers of output
 * 0, of the same type: fn does some of them, in float32.  Returns 1 where all
 * are to be done at once: of a type that needs no widening, or long ones.
 */
struct op_rows {
	size_t rows, in, out;
	void (*fn)(const void *ctx, size_t rows, const float *in, float *out);
	const void *ctx;
};
int op_rows(struct op_call *c, const struct shape *s, const struct op_rows *r,
	    struct err *e);
/* n elements of size bytes, checked. */
int op_temp_array(struct op_call *c, uint64_t n, size_t size, void **out,
		  struct err *e);
/*
 * Types whose numbers float32 holds, which kernels compute in: float32 itself,
 * float16, bfloat16.
 */
bool op_is_short_float(enum dtype t);
/* eval: what the followers do, and how type t is rounded, into f. */
struct finish;
int op_join(struct op_call *c, struct finish *f, struct err *e);
/* infer: output 0 is like input 0. */
int infer_same(struct op_call *c, struct err *e);
/* infer: the broadcast of all inputs, of the first one's type. */
int infer_broadcast(struct op_call *c, struct err *e);

/* ---- broadcasting ---- */
struct stride_plan;
/* How inputs of these shapes go along with out; sizes are left to fill in. */
void op_stride_plan(struct stride_plan *p, const struct shape *out,
		    const struct shape *const in[], size_t nin);

/* ---- shapes ---- */
/* Product of dims[from..to); the shape is known and was checked before. */
uint64_t shape_span(const struct shape *s, int32_t from, int32_t to);
/* True when the product of extents fits; sets *n. */
int op_count(const struct op_call *c, const struct shape *s, uint64_t *n,
	     struct err *e);
/* a * b and a + b of extents, EFBIG beyond int64. */
int op_mul(const struct op_call *c, int64_t a, int64_t b, int64_t *out,
	   struct err *e);
int op_add(const struct op_call *c, int64_t a, int64_t b, int64_t *out,
	   struct err *e);

/* How many items are worth handing to another thread. */
static inline size_t op_grain(size_t work_per_item)
{
	size_t grain = 16384 / (work_per_item ? work_per_item : 1);

	return grain ? grain : 1;
}

#endif
