/* SPDX-License-Identifier: MIT */
/*
 * aten - operators of torch that ONNX has, too, become ONNX's.
 *
 *	aten.c		arguments, operands, and who translates what
 *	aten_math.c	element by element
 *	aten_reduce.c	reductions, products
 *	aten_array.c	shapes
 *	aten_index.c	slices, indices, constants
 *	aten_layer.c	convolution, pooling, normalisation
 *	aten_attention.c
 *
 * Arguments have the names of torch's own schemas (native_functions.yaml).
 * Every value has a declared type, which tells ranks and what to cast to.  A
 * translator looks at all arguments before it makes anything: it returns 1
 * when it is done, or 0, having made nothing, for a form that ONNX lacks.
 */
#ifndef FORMAT_PYTORCH_ATEN_H
#define FORMAT_PYTORCH_ATEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/pytorch/program.h"
#include "format/steps.h"

#define ATEN_OUTPUTS_MAX 64
#define ATEN_INPUTS_MAX 256
#define ATEN_INTS_MAX 64

struct aten_entry;

struct aten {
	struct steps at;
	struct program *p;
	const struct json *inputs; /* [{"name", "arg"}] */
	const char *op;		   /* "add" of aten.add.Tensor */
	const char *overload;	   /* "Tensor" */
	size_t op_len;
	const struct aten_entry *entry;
	value_id out[ATEN_OUTPUTS_MAX];
	uint32_t nout;
	uint32_t ninner; /* nodes made before the last one */
};

/*
 * 1: nodes for this call were made; 0: there are none.  type is its target,
 * "aten.add.Tensor"; module is the call's own.
 */
int aten_translate(struct program *p, const struct json *node, const char *type,
		   const char *name, struct module *module, struct err *e);

/* True when this is the operator, whatever its overload. */
bool aten_is(const struct aten *k, const char *op);

/* ---- arguments; those left out have their default ---- */
struct program_arg aten_arg(const struct aten *k, const char *name);
bool aten_has(const struct aten *k, const char *name);
/* False: there is one, of another kind. */
bool aten_int(const struct aten *k, const char *name, int64_t def,
	      int64_t *out);
bool aten_float(const struct aten *k, const char *name, double def,
		double *out);
bool aten_flag(const struct aten *k, const char *name, bool def);
/* A list of integers, or one of them; *n is 0 when it is left out. */
bool aten_ints(const struct aten *k, const char *name,
	       int64_t out[ATEN_INTS_MAX], size_t *n);

/* ---- values ---- */
/* The value of an argument; NO_VALUE where it is none. */
int aten_value(struct aten *k, const char *name, value_id *out, struct err *e);
/* The argument called self or input; 1: it is there. */
int aten_self(struct aten *k, value_id *out, struct err *e);
enum dtype aten_dtype(const struct aten *k, value_id v);
/* NULL: not declared. */
const struct shape *aten_shape(const struct aten *k, value_id v);
/* -1: not declared. */
int aten_rank(const struct aten *k, value_id v);
/* An axis counted from the front; false: there is no such axis. */
bool aten_axis(int64_t dim, int rank, int64_t *out);

/* ---- nodes; what is a word that names one beneath the call ---- */
/* The last node, which makes the first output. */
int aten_finish(struct aten *k, const struct step *n, struct err *e);
/* The same without attributes. */
int aten_finish_make(struct aten *k, const char *type, const value_id *in,
		     uint32_t nin, struct err *e);
int aten_step(struct aten *k, const struct step *n, value_id *out,
	      struct err *e);
int aten_make(struct aten *k, const char *what, const char *type, value_id a,
	      value_id b, value_id *out, struct err *e);
int aten_const_ints(struct aten *k, const char *what, const int64_t *v,
		    size_t n, value_id *out, struct err *e);
/* One number of this type. */
int aten_number(struct aten *k, const char *what, double v, enum dtype t,
		value_id *out, struct err *e);
/* n numbers of this type, all the same, as a vector. */
int aten_fill(struct aten *k, const char *what, double v, enum dtype t,
	      size_t n, value_id *out, struct err *e);
/* The value with this type: itself, or cast. */
int aten_cast(struct aten *k, const char *what, value_id v, enum dtype t,
	      value_id *out, struct err *e);
/* An argument that is a value or a number, with this type. */
int aten_operand(struct aten *k, const char *name, enum dtype t, value_id *out,
		 struct err *e);
/* True when aten_operand can give this. */
bool aten_is_operand(const struct aten *k, const char *name, enum dtype t);
/* True for types that aten_number and aten_fill make. */
bool aten_has_numbers(enum dtype t);

/* ---- shapes, in aten_array.c ---- */
/*
 * The declared shape of the output with at most one extent that is not known,
 * which is -1; false: there are more.
 */
bool aten_known_shape(const struct aten *k, int64_t *dims, size_t *n,
		      bool *is_static);
/* A list of sizes of which some are known only when the graph runs. */
bool aten_is_mixed(struct program_arg arg);
/* [{"as_name": "s0"}, {"as_int": 3}] as a vector; -1 becomes `minus`. */
int aten_mixed_shape(struct aten *k, struct program_arg arg, int64_t minus,
		     value_id *out, struct err *e);

struct aten_entry {
	const char *op; /* without overload */
	int (*fn)(struct aten *k, struct err *e);
	const char *onnx; /* for fn: what it becomes */
	int opset;	  /* 0: STEPS_OPSET */
};
/* Each ends with an entry of no name. */
extern const struct aten_entry aten_math[], aten_reduce[], aten_array[];
extern const struct aten_entry aten_index[], aten_layers[], aten_attention[];

#endif
