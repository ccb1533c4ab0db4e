/* SPDX-License-Identifier: MIT */
/*
 * lstm - UNIDIRECTIONAL_SEQUENCE_LSTM.  One of integers is computed with the
 * numbers that they stand for; the runtime rounds each step.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/tflite/translate.h"

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

static bool is_needed(uint32_t input)
{
	return input < LSTM_CELL_TO ||
	       (input >= LSTM_BIAS && input < LSTM_PROJECTION);
}

/* All four gates, no peepholes, projections or norms; floats or integers. */
static bool is_plain_lstm(const struct tflite_make *k)
{
	bool is_integer = tflite_is_quantized(k, k->given[0]);
	float scale;

	if (k->nin < 20 || k->nin > LSTM_INPUTS ||
	    tflite_is_quantized(k, k->out[0]) != is_integer)
		return false;
	for (uint32_t i = 0; i < k->nin; i++) {
		value_id v = k->given[i];

		if (i == LSTM_STATE || i == LSTM_STATE + 1)
			continue;
		if (tflite_has(k, i) != is_needed(i))
			return false;
		if (is_needed(i) && is_integer && !tflite_scale(k, v, &scale))
			return false;
		if (is_needed(i) && !is_integer &&
		    k->at.g->values[v].dtype != DTYPE_F32)
			return false;
	}
	return true;
}

/* What integers stand for. */
static int dequantize(struct tflite_make *k, value_id *in, struct err *e)
{
	static const char *const names[LSTM_PROJECTION] = {"input",
							   "kernel_i",
							   "kernel_f",
							   "kernel_c",
							   "kernel_o",
							   "recurrent_i",
							   "recurrent_f",
							   "recurrent_c",
							   "recurrent_o",
							   "",
							   "",
							   "",
							   "bias_i",
							   "bias_f",
							   "bias_c",
							   "bias_o"};
	int rc = 0;

	memcpy(in, k->given, k->nin * sizeof(*in));
	for (uint32_t i = 0; rc == 0 && i < LSTM_PROJECTION; i++)
		if (is_needed(i))
			rc = tflite_real(k, names[i], k->given[i], &in[i], e);
	return rc;
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

static int make_floats(struct tflite_make *k, struct err *e)
{
	static const int64_t perm[] = {1, 0, 2};
	const struct shape *p = tflite_extents(k, LSTM_RECURRENT_TO, 2);
	bool is_time_major = tflite_option(k, 3, 1, 0);
	value_id in[4] = {k->in[0], NO_VALUE, NO_VALUE, NO_VALUE}, v;
	int rc = 0;

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

int tflite_make_lstm(struct tflite_make *k, struct err *e)
{
	struct tflite_make inner = *k;
	value_id in[LSTM_INPUTS], real;
	int rc;

	if (!is_plain_lstm(k) || !tflite_extents(k, LSTM_RECURRENT_TO, 2) ||
	    tflite_option(k, 0, 1, 0) != TFLITE_TANH)
		return 0;
	if (!tflite_is_quantized(k, k->given[0]))
		return make_floats(k, e);
	rc = dequantize(k, in, e);
	if (rc == 0)
		rc = steps_value(&k->at, "real", &real, e);
	inner.in = in;
	inner.out = &real;
	if (rc == 0)
		rc = make_floats(&inner, e);
	return rc <= 0 ? rc : tflite_quantized(k, real, false, e);
}
