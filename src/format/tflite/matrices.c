/* SPDX-License-Identifier: MIT */
/* matrices - products of matrices, and recurrent layers made of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/tflite/translate.h"

static const int64_t swap[] = {1, 0};

/* ---- dense layers ---- */

/* The product, times a factor if there is one, and the bias. */
static int finish_dense(struct tflite_make *k, value_id x, value_id kernel,
			value_id factor, struct err *e)
{
	int64_t activation = tflite_option(k, 0, 1, 0);
	bool has_bias = tflite_has(k, 2), has_factor = factor != NO_VALUE;
	value_id in[2] = {x, kernel};
	struct step s = {
		.what = "product", .type = "MatMul", .in = in, .nin = 2};
	int rc = 0;

	if (has_bias || has_factor)
		rc = steps_inner(&k->at, &s, &in[0], e);
	if (rc == 0 && has_factor) {
		in[1] = factor;
		s.what = "scaled";
		s.type = "Mul";
		if (has_bias)
			rc = steps_inner(&k->at, &s, &in[0], e);
	}
	if (has_bias) {
		in[1] = k->in[2];
		s.what = "sum";
		s.type = "Add";
	}
	return rc < 0 ? rc : tflite_finish(k, &s, activation, e);
}

/* Floats by integers: each row is quantised as the runtime does it. */
static int hybrid_dense(struct tflite_make *k, value_id x, value_id kernel,
			struct err *e)
{
	bool is_symmetric = tflite_option(k, 3, 1, 0) == 0;
	value_id factor, scale;
	int rc = tflite_dynamic(k, x, 1, is_symmetric, &x, &factor, e);

	if (rc == 0)
		rc = tflite_kernel_scale(k, &scale, e);
	if (rc == 0)
		rc = steps_make(&k->at, "factor", "Mul", factor, scale, &factor,
				e);
	return rc < 0 ? rc : finish_dense(k, x, kernel, factor, e);
}

/* [.., n] becomes [batch, n] where the kernel is [outputs, n]. */
int tflite_make_dense(struct tflite_make *k, struct err *e)
{
	const struct shape *p = tflite_extents(k, 1, 2);
	bool keeps = tflite_option(k, 2, 1, 0);
	value_id x = k->in[0], kernel;
	int64_t dims[2];
	int rc = 0;

	if (!p || tflite_option(k, 1, 1, 0) != 0 ||
	    !tflite_can_activate(tflite_option(k, 0, 1, 0)))
		return 0;
	dims[0] = -1;
	dims[1] = p->dims[1];
	if (!keeps)
		rc = tflite_reshape(k, "flat", x, dims, 2, &x, e);
	if (rc == 0)
		rc = tflite_turn(k, "kernel_t", swap, 2, k->in[1], false,
				 &kernel, e);
	if (rc < 0)
		return rc;
	return tflite_is_hybrid(k) ? hybrid_dense(k, x, kernel, e)
				   : finish_dense(k, x, kernel, NO_VALUE, e);
}

/* ---- products of values ---- */

static int turn_last(struct tflite_make *k, const char *what, uint32_t i,
		     value_id *out, struct err *e)
{
	const struct tensor *t = tflite_type(k, k->given[i]);
	int64_t perm[SHAPE_RANK_MAX];
	int32_t rank = t->shape.rank;

	for (int32_t d = 0; d < rank; d++)
		perm[d] = d;
	perm[rank - 1] = rank - 2;
	perm[rank - 2] = rank - 1;
	return tflite_turn(k, what, perm, (size_t)rank, k->in[i], false, out,
			   e);
}

static bool is_matrix(const struct tflite_make *k, uint32_t i)
{
	const struct tensor *t = tflite_type(k, k->given[i]);

	return t && t->shape.rank >= 2;
}

int tflite_make_product(struct tflite_make *k, struct err *e)
{
	value_id in[2] = {k->in[0], k->nin == 2 ? k->in[1] : NO_VALUE};
	struct step s = {.type = "MatMul", .in = in, .nin = 2};
	int rc = 0;

	if (k->nin != 2 || !is_matrix(k, 0) || !is_matrix(k, 1))
		return 0;
	if (tflite_option(k, 0, 1, 0))
		rc = turn_last(k, "x_turned", 0, &in[0], e);
	if (rc == 0 && tflite_option(k, 1, 1, 0))
		rc = turn_last(k, "y_turned", 1, &in[1], e);
	return rc < 0 ? rc : tflite_finish(k, &s, TFLITE_NONE, e);
}

/* ---- LSTM ---- */

enum { /* inputs */
       LSTM_INPUT_TO = 1,
       LSTM_RECURRENT_TO = 5,
       LSTM_CELL_TO = 9,
       LSTM_BIAS = 12,
       LSTM_PROJECTION = 16,
       LSTM_STATE = 18,
       LSTM_NORM = 20,
       LSTM_INPUTS = 24
};

/* Input, forget, cell, output there; input, output, forget, cell here. */
static int join_gates(struct tflite_make *k, const char *what, uint32_t first,
		      value_id *out, struct err *e)
{
	const value_id in[] = {k->in[first], k->in[first + 3], k->in[first + 1],
			       k->in[first + 2]};
	struct attr axis = attr_set_int("axis", 0);
	struct step s = {.what = what,
			 .type = "Concat",
			 .in = in,
			 .nin = 4,
			 .attrs = &axis,
			 .nattrs = 1};

	return steps_inner(&k->at, &s, out, e);
}

/* An axis of 1 in front: of the directions. */
static int widen(struct tflite_make *k, const char *what, value_id in,
		 value_id *out, struct err *e)
{
	return steps_axis(&k->at, what, "Unsqueeze", 0, in, out, e);
}

/* All four gates, floats, no peepholes, projections or norms. */
static bool is_plain_lstm(const struct tflite_make *k)
{
	if (k->nin < 20)
		return false;
	for (uint32_t i = 0; i < k->nin; i++) {
		bool is_needed = i < LSTM_CELL_TO ||
				 (i >= LSTM_BIAS && i < LSTM_PROJECTION);
		bool is_state = i == LSTM_STATE || i == LSTM_STATE + 1;

		if (is_state)
			continue;
		if (tflite_has(k, i) != is_needed)
			return false;
		if (is_needed &&
		    k->at.g->values[k->given[i]].dtype != DTYPE_F32)
			return false;
	}
	return true;
}

static int lstm_bias(struct tflite_make *k, int64_t units, value_id *out,
		     struct err *e)
{
	value_id v;
	int rc = join_gates(k, "bias", LSTM_BIAS, &v, e);

	if (rc == 0)
		rc = steps_zeros_behind(&k->at, "", v, 4 * units, &v, e);
	return rc < 0 ? rc : widen(k, "B", v, out, e);
}

static int lstm_node(struct tflite_make *k, value_id *in, int64_t units,
		     value_id *out, struct err *e)
{
	float clip = flatbuf_float(k->f, &k->options, 1, 0);
	struct attr a[2] = {attr_set_int("hidden_size", units),
			    attr_set_float("cell_clip", clip)};
	struct step s = {.what = "compute",
			 .type = "LSTM",
			 .domain = clip > 0 ? "modelfs" : "",
			 .opset = clip > 0 ? 1 : 0,
			 .in = in,
			 .nin = 4,
			 .attrs = a,
			 .nattrs = clip > 0 ? 2 : 1};

	return steps_inner(&k->at, &s, out, e);
}

/* [time, 1, batch, units] → [batch, time, units] */
static int lstm_output(struct tflite_make *k, value_id v, bool is_time_major,
		       struct err *e)
{
	static const int64_t perm[] = {1, 0, 2};
	int64_t axis = 1;
	struct attr a;
	struct step s = {.what = "steps",
			 .type = "Squeeze",
			 .opset = 11,
			 .in = &v,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	value_id out;
	int rc = attr_set_ints(&k->at, "axes", &axis, 1, &a, e);

	if (rc == 0 && is_time_major)
		return tflite_finish(k, &s, TFLITE_NONE, e);
	if (rc == 0)
		rc = steps_inner(&k->at, &s, &v, e);
	if (rc == 0)
		rc = tflite_turn(k, "batch_first", perm, 3, v, true, &out, e);
	return rc < 0 ? rc : 1;
}

int tflite_make_lstm(struct tflite_make *k, struct err *e)
{
	static const int64_t perm[] = {1, 0, 2};
	const struct shape *p = tflite_extents(k, LSTM_RECURRENT_TO, 2);
	bool is_time_major = tflite_option(k, 3, 1, 0);
	value_id in[4] = {k->in[0], NO_VALUE, NO_VALUE, NO_VALUE}, v;
	int rc = 0;

	if (!p || !is_plain_lstm(k) || tflite_option(k, 0, 1, 0) != TFLITE_TANH)
		return 0;
	if (!is_time_major)
		rc = tflite_turn(k, "time_first", perm, 3, k->in[0], false,
				 &in[0], e);
	if (rc == 0)
		rc = join_gates(k, "kernel", LSTM_INPUT_TO, &v, e);
	if (rc == 0)
		rc = widen(k, "W", v, &in[1], e);
	if (rc == 0)
		rc = join_gates(k, "recurrent", LSTM_RECURRENT_TO, &v, e);
	if (rc == 0)
		rc = widen(k, "R", v, &in[2], e);
	if (rc == 0)
		rc = lstm_bias(k, p->dims[0], &in[3], e);
	if (rc == 0)
		rc = lstm_node(k, in, p->dims[0], &v, e);
	return rc < 0 ? rc : lstm_output(k, v, is_time_major, e);
}
