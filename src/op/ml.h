/* SPDX-License-Identifier: MIT */
/* ml - what the operators of ai.onnx.ml share. */
#ifndef OP_ML_H
#define OP_ML_H

#include "modelfs/op.h"

enum ml_post { ML_NONE, ML_SOFTMAX, ML_LOGISTIC, ML_SOFTMAX_ZERO, ML_PROBIT };

/* The attribute post_transform, a name or (TreeEnsemble) a number. */
int ml_post_read(const struct op_call *c, enum ml_post *p, struct err *e);
/* Applied to the n scores of one row. */
void ml_post_apply(enum ml_post p, double *v, size_t n);

/* Class labels: integers or strings, from two attributes. */
struct ml_labels {
	const int64_t *ints; /* or NULL */
	const struct span *strings;
	size_t n;
};
void ml_labels_read(const struct op_call *c, const char *ints,
		    const char *strings, struct ml_labels *l);
/* Output 0: the label of each of n rows, by class. */
int ml_labels_give(struct op_call *c, const struct ml_labels *l,
		   const int64_t *class, uint64_t n, struct err *e);
/* Rows and features of input 0; a vector is one row. */
int ml_rows(struct op_call *c, uint64_t *rows, uint64_t *features,
	    const double **x, struct err *e);

/* An attribute of floats, or the tensor `name`_as_tensor; as doubles. */
int ml_doubles(struct op_call *c, const char *name, const double **v, size_t *n,
	       struct err *e);

#endif
