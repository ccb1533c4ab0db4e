/* SPDX-License-Identifier: MIT */
/*
 * steps - nodes of ONNX in the place of one operator of another framework.
 *
 * The values that the operator makes keep their names; what is in between is
 * called "name:what".  An operator that becomes several nodes has a module for
 * each beneath its own.
 */
#ifndef FORMAT_STEPS_H
#define FORMAT_STEPS_H

#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"
#include "modelfs/model.h"

struct err;

/* The version of ONNX's operators that translations are written for. */
#define STEPS_OPSET 13

struct steps { /* of one operator */
	struct model *m;
	struct graph *g;
	struct span name;
	struct module *module; /* NULL in a subgraph */
};

struct step {		  /* a node of ONNX */
	const char *what; /* its name beneath the operator's; NULL: that one */
	const char *type;
	const char *domain; /* NULL: ONNX's */
	int opset;	    /* 0: STEPS_OPSET */
	const value_id *in, *out;
	const struct attr *attrs; /* texts and numbers live in the arena */
	uint32_t nin, nout, nattrs;
};

/* Graphs among the attributes are the node's from then on; not on failure. */
int steps_node(struct steps *k, const struct step *n, struct err *e);
/* A value beneath the operator's name. */
int steps_value(struct steps *k, const char *what, value_id *out,
		struct err *e);
/*
 * One node that makes one inner value, called as n->what; of n, out and nout
 * are ignored.
 */
int steps_inner(struct steps *k, const struct step *n, value_id *out,
		struct err *e);
/* The same without attributes; b may be NO_VALUE. */
int steps_make(struct steps *k, const char *what, const char *type, value_id a,
	       value_id b, value_id *out, struct err *e);
/* Cast, to an element type as ONNX numbers them. */
int steps_cast(struct steps *k, const char *what, int64_t type, value_id in,
	       value_id *out, struct err *e);
/* Squeeze or Unsqueeze, by one axis. */
int steps_axis(struct steps *k, const char *what, const char *type,
	       int64_t axis, value_id in, value_id *out, struct err *e);
/*
 * A list and n zeros behind it; the steps are called tag and "count", "zeros",
 * "bias_both".
 */
int steps_zeros_behind(struct steps *k, const char *tag, value_id list,
		       int64_t n, value_id *out, struct err *e);
/* A constant: a list of numbers, or a single one. */
int steps_ints(struct steps *k, const char *what, const int64_t *v, size_t n,
	       value_id *out, struct err *e);
int steps_floats(struct steps *k, const char *what, const float *v, size_t n,
		 value_id *out, struct err *e);
int steps_float(struct steps *k, const char *what, float v, value_id *out,
		struct err *e);
/* Of any type; data is copied. */
int steps_tensor(struct steps *k, const char *what, enum dtype t,
		 const struct shape *s, const void *data, size_t nbytes,
		 value_id *out, struct err *e);

int attr_set_ints(struct steps *k, const char *name, const int64_t *v, size_t n,
		  struct attr *out, struct err *e);
/* name and v are constant texts. */
struct attr attr_set_int(const char *name, int64_t v);
struct attr attr_set_float(const char *name, float v);
struct attr attr_set_text(const char *name, const char *v);

#endif
