/* SPDX-License-Identifier: MIT */
/*
 * rnn - what the files about recurrent layers share.
 *
 *	recurrent.c	the layers
 *	gates.c		kernels, biases, activations
 *	compact.c	steps that are left out
 */
#ifndef FORMAT_KERAS_RNN_H
#define FORMAT_KERAS_RNN_H

#include <stdbool.h>
#include <stdint.h>

#include "format/keras/call.h"

struct rnn_mask {	  /* values, [batch, steps] but where another is said */
	value_id mask;	  /* NO_VALUE: all steps count */
	value_id numbers; /* of it: 0 or 1 */
	value_id rank;	  /* steps that count, up to each */
	value_id total;	  /* [batch, 1] */
	value_id lengths; /* [batch] */
	value_id one;	  /* [1] */
};

struct recurrent {
	const char *type; /* ONNX's: LSTM, GRU, RNN */
	uint32_t ngates;
	uint32_t nstates;
	int64_t units;
	const char *tag; /* in front of the steps' names: "", "backward_" */
	bool is_backward;
	bool is_both;	   /* one of two ways: time goes on as in the input */
	value_id first[2]; /* the state to begin with, or NO_VALUE */
	uint32_t nfirst;
	struct rnn_mask mask;
};

/* ---- gates.c ---- */
/* A step's name with the way it goes in front, in the arena. */
const char *rnn_name(struct keras_call *c, const struct recurrent *r,
		     const char *what);
/* steps_inner of a step of this name. */
int rnn_step(struct keras_call *c, const struct recurrent *r, struct step *s,
	     value_id *out, struct err *e);
/* One of the layer's kernels as ONNX has it. */
int rnn_kernel(struct keras_call *c, const struct recurrent *r,
	       const char *name, const char *what, value_id *out,
	       struct err *e);
/* Both biases; NO_VALUE for none.  is_double: the layer has two. */
int rnn_bias(struct keras_call *c, const struct recurrent *r, bool is_double,
	     value_id *out, struct err *e);
/* Three attributes; false for a function that ONNX lacks. */
bool rnn_activations(struct keras_call *c, const struct recurrent *r,
		     struct attr *out);

/* ---- compact.c ---- */
/* x [batch, steps, n] with the steps that count in front. */
int rnn_compact(struct keras_call *c, value_id mask, value_id *x,
		struct rnn_mask *m, struct err *e);
/*
 * y, a result for each of them, becomes one for each step of the input;
 * is_zero: zeros where a step does not count.
 */
int rnn_spread(struct keras_call *c, const struct recurrent *r, bool is_zero,
	       value_id *y, struct err *e);
/* The last state [batch, n] becomes zeros where no step counts. */
int rnn_last(struct keras_call *c, const struct recurrent *r, value_id *y,
	     struct err *e);

#endif
