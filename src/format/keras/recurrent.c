/* SPDX-License-Identifier: MIT */
/* recurrent - LSTM, GRU and SimpleRNN, one way or both. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/keras/rnn.h"
#include "wire/json.h"

/* ---- one way ---- */

struct made { /* by a node: all steps, and the last states */
	value_id steps;
	value_id states[2];
};

static int add_node(struct keras_call *c, const struct recurrent *r, value_id x,
		    value_id *in, uint32_t nin, bool is_double, struct made *m,
		    struct err *e)
{
	struct attr a[6];
	value_id out[3];
	struct step s = {.what = rnn_name(c, r, "compute"),
			 .type = r->type,
			 .in = in,
			 .nin = nin,
			 .out = out,
			 .nout = 1 + r->nstates,
			 .attrs = a,
			 .nattrs = 5};
	int rc;

	in[0] = x;
	if (!rnn_activations(c, r, a) || !s.what)
		return err_nomem(e, 0);
	a[3] = attr_set_int("hidden_size", r->units);
	a[4] = attr_set_text("direction",
			     r->is_backward ? "reverse" : "forward");
	if (is_double)
		a[s.nattrs++] = attr_set_int("linear_before_reset", 1);
	rc = steps_value(&c->at, rnn_name(c, r, "Y"), &out[0], e);
	if (rc == 0)
		rc = steps_value(&c->at, rnn_name(c, r, "Y_h"), &out[1], e);
	if (rc == 0 && r->nstates > 1)
		rc = steps_value(&c->at, rnn_name(c, r, "Y_c"), &out[2], e);
	m->steps = out[0];
	m->states[0] = out[1];
	m->states[1] = r->nstates > 1 ? out[2] : NO_VALUE;
	return rc < 0 ? rc : steps_node(&c->at, &s, e);
}

/* How many steps there are, and the states before the first. */
static int set_states(struct keras_call *c, const struct recurrent *r,
		      value_id *in, uint32_t *nin, struct err *e)
{
	static const char *const what[] = {"initial_h", "initial_c"};
	int rc = 0;

	bool has_mask = r->mask.mask != NO_VALUE;

	if (r->nfirst == 0 && !has_mask)
		return 0;
	in[4] = has_mask ? r->mask.lengths : NO_VALUE;
	*nin = 5;
	for (uint32_t i = 0; rc == 0 && i < r->nfirst; i++)
		rc = steps_axis(&c->at, rnn_name(c, r, what[i]), "Unsqueeze", 0,
				r->first[i], &in[(*nin)++], e);
	return rc;
}

/* x is [time, batch, n]. */
static int run_one(struct keras_call *c, const struct recurrent *r, value_id x,
		   struct made *m, struct err *e)
{
	bool is_double = r->ngates == 3 && keras_flag(c, "reset_after", false);
	value_id in[8];
	uint32_t nin = 4;
	int rc = rnn_kernel(c, r, "kernel", "W", &in[1], e);

	if (rc == 0)
		rc = rnn_kernel(c, r, "recurrent_kernel", "R", &in[2], e);
	if (rc == 0)
		rc = rnn_bias(c, r, is_double, &in[3], e);
	if (rc == 0)
		rc = set_states(c, r, in, &nin, e);
	return rc < 0 ? rc : add_node(c, r, x, in, nin, is_double, m, e);
}

/* ---- what a layer hands out ---- */

static int squeeze(struct keras_call *c, const struct recurrent *r,
		   const char *what, int64_t axis, value_id in, value_id *out,
		   struct err *e)
{
	return steps_axis(&c->at, rnn_name(c, r, what), "Squeeze", axis, in,
			  out, e);
}

/* Steps in the order they were made: the last of the input comes first. */
static int turn_back(struct keras_call *c, const struct recurrent *r,
		     value_id *v, struct err *e)
{
	static const int64_t numbers[] = {-1, INT64_MIN, 1, -1};
	static const char *const what[] = {"starts", "ends", "axes", "steps"};
	value_id in[5] = {*v};
	struct step s = {
		.what = "turned_back", .type = "Slice", .in = in, .nin = 5};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 4; i++)
		rc = steps_ints(&c->at, what[i], &numbers[i], 1, &in[i + 1], e);
	return rc < 0 ? rc : rnn_step(c, r, &s, v, e);
}

/* Where steps are left out: those of both ways are zeros then. */
static bool is_zero_where_masked(const struct keras_call *c,
				 const struct recurrent *r)
{
	return r->is_both || keras_flag(c, "zero_output_for_mask", false);
}

/* [time, 1, batch, units] or [1, batch, units] without what is 1. */
static int shape_output(struct keras_call *c, const struct recurrent *r,
			const struct made *m, bool is_sequence, value_id *out,
			struct err *e)
{
	static const int64_t perm[] = {1, 0, 2};
	bool has_mask = r->mask.mask != NO_VALUE;
	value_id v = NO_VALUE;
	int rc;

	if (!is_sequence) {
		rc = squeeze(c, r, "last", 0, m->states[0], out, e);
		return rc == 0 && has_mask ? rnn_last(c, r, out, e) : rc;
	}
	rc = squeeze(c, r, "steps_made", 1, m->steps, &v, e);
	if (rc == 0)
		rc = keras_transpose(c, rnn_name(c, r, "batch_first"), v, perm,
				     3, out, e);
	if (rc == 0 && has_mask)
		rc = rnn_spread(c, r, is_zero_where_masked(c, r), out, e);
	if (rc == 0 && r->is_backward && !r->is_both)
		rc = turn_back(c, r, out, e);
	return rc;
}

static int give(struct keras_call *c, const char *what, value_id in,
		value_id out, struct err *e)
{
	struct step s = {.what = what,
			 .type = "Identity",
			 .in = &in,
			 .nin = 1,
			 .out = &out,
			 .nout = 1};

	return steps_node(&c->at, &s, e);
}

/* ---- layers ---- */

static bool read_kind(const char *class, struct recurrent *r)
{
	static const struct {
		const char *class, *onnx;
		uint32_t ngates, nstates;
	} kinds[] = {{"LSTM", "LSTM", 4, 2},
		     {"CuDNNLSTM", NULL, 0, 0},
		     {"GRU", "GRU", 3, 1},
		     {"SimpleRNN", "RNN", 1, 1}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(class, kinds[i].class) != 0 || !kinds[i].onnx)
			continue;
		*r = (struct recurrent){.type = kinds[i].onnx,
					.ngates = kinds[i].ngates,
					.nstates = kinds[i].nstates,
					.tag = ""};
		return true;
	}
	return false;
}

/* Kernels of the right extents, and functions that ONNX has. */
static bool can_run(struct keras_call *c, struct recurrent *r, struct err *e)
{
	const struct param *p, *q;
	struct attr unused[3];
	value_id v, w;

	if (keras_weight(c, "kernel", &v, e) < 0 ||
	    keras_weight(c, "recurrent_kernel", &w, e) < 0)
		return false;
	p = keras_weight_param(c, v);
	q = keras_weight_param(c, w);
	r->units = keras_int(c, "units", 0);
	return p && q && p->rank == 2 && q->rank == 2 && r->units > 0 &&
	       r->units < 1 << 24 && p->dims[1] == r->units * r->ngates &&
	       q->dims[0] == r->units && !keras_flag(c, "time_major", false) &&
	       rnn_activations(c, r, unused);
}

/* The input, with the steps that count in front, as ONNX has it. */
static int time_first(struct keras_call *c, value_id *out, struct rnn_mask *m,
		      struct err *e)
{
	static const int64_t perm[] = {1, 0, 2};
	value_id mask = keras_mask(c->kg, c->in[0]);
	int rc = 0;

	*out = c->in[0];
	*m = (struct rnn_mask){.mask = NO_VALUE};
	if (mask != NO_VALUE)
		rc = rnn_compact(c, mask, out, m, e);
	return rc < 0 ? rc
		      : keras_transpose(c, "time_first", *out, perm, 3, out, e);
}

static int give_states(struct keras_call *c, const struct recurrent *r,
		       const struct made *m, struct err *e)
{
	static const char *const what[] = {"state_h", "state_c"};
	static const char *const given[] = {"given_h", "given_c"};
	value_id v;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < r->nstates && i + 1 < c->nout;
	     i++) {
		rc = squeeze(c, r, what[i], 0, m->states[i], &v, e);
		if (rc == 0)
			rc = give(c, given[i], v, c->out[i + 1], e);
	}
	return rc;
}

/* The cell of an RNN is a layer of its own: "LSTMCell". */
static bool find_cell(struct keras_call *c, struct recurrent *r, struct err *e)
{
	const struct json *cell = keras_value(c, "cell");
	const char *class = keras_class(cell);
	char kind[32];
	size_t len;

	if (strcmp(c->class, "RNN") != 0)
		return read_kind(c->class, r) && can_run(c, r, e);
	len = class ? strlen(class) : 0;
	if (len < 5 || len >= sizeof(kind) ||
	    strcmp(class + len - 4, "Cell") != 0)
		return false;
	memcpy(kind, class, len - 4);
	kind[len - 4] = '\0';
	c->config = json_member(cell, "config");
	return read_kind(kind, r) && can_run(c, r, e);
}

static int one_way(struct keras_call *c, struct err *e)
{
	const struct json *config = c->config;
	bool is_sequence = keras_flag(c, "return_sequences", false);
	bool is_backward = keras_flag(c, "go_backwards", false);
	bool is_odd =
		!is_sequence && keras_flag(c, "zero_output_for_mask", false);
	struct recurrent r;
	struct made m;
	value_id x, v;
	int rc;

	if (is_odd || !find_cell(c, &r, e) ||
	    (c->nin != 1 && c->nin != 1 + r.nstates) ||
	    c->nout > 1 + r.nstates) {
		c->config = config;
		return 0;
	}
	r.is_backward = is_backward;
	r.nfirst = c->nin - 1;
	for (uint32_t i = 0; i < r.nfirst; i++)
		r.first[i] = c->in[i + 1];
	rc = time_first(c, &x, &r.mask, e);
	if (rc == 0)
		rc = run_one(c, &r, x, &m, e);
	c->config = config;
	if (rc == 0)
		rc = shape_output(c, &r, &m, is_sequence, &v, e);
	if (rc == 0)
		rc = give(c, NULL, v, c->out[0], e);
	if (rc == 0)
		rc = give_states(c, &r, &m, e);
	c->out_rank = is_sequence ? 3 : 2;
	return rc < 0 ? rc : 1;
}

static int merge_ways(struct keras_call *c, const value_id *ways, struct err *e)
{
	struct attr axis = attr_set_int("axis", -1);
	struct step s = {.type = "Concat",
			 .in = ways,
			 .nin = 2,
			 .attrs = &axis,
			 .nattrs = 1};

	if (keras_is(c, "merge_mode", "concat"))
		return keras_finish(c, &s, e);
	s.nattrs = 0;
	s.type = keras_is(c, "merge_mode", "sum")   ? "Sum"
		 : keras_is(c, "merge_mode", "mul") ? "Mul"
						    : "Mean";
	return keras_finish(c, &s, e);
}

static bool can_merge(const struct keras_call *c)
{
	return keras_is(c, "merge_mode", "concat") ||
	       keras_is(c, "merge_mode", "sum") ||
	       keras_is(c, "merge_mode", "mul") ||
	       keras_is(c, "merge_mode", "ave");
}

/*
 * Variables of one way lie in "forward_lstm", after the layer's name, or in
 * "forward_layer".
 */
static bool find_way(struct keras_call *c, const char *way,
		     const struct json *inner, struct recurrent *r,
		     struct err *e)
{
	const char *name = keras_name(inner);
	char part[128];

	if (!read_kind(keras_class(inner) ? keras_class(inner) : "", r))
		return false;
	r->tag = strcmp(way, "backward") == 0 ? "backward_" : "forward_";
	r->is_backward = strcmp(way, "backward") == 0;
	r->is_both = true;
	c->config = json_member(inner, "config");
	for (int i = 0; i < 2; i++) {
		snprintf(part, sizeof(part), "%s_%s", way,
			 i == 0 && name ? name : "layer");
		c->part = arena_strndup(c->at.m->arena, part, strlen(part));
		if (c->part && can_run(c, r, e))
			return true;
	}
	return false;
}

static int bidirectional(struct keras_call *c, struct err *e)
{
	static const char *const names[] = {"forward", "backward"};
	const struct json *config = c->config;
	const struct json *inner[2] = {json_member(config, "layer"),
				       json_member(config, "backward_layer")};
	bool is_sequence = false;
	struct recurrent r[2];
	struct made m;
	value_id x, ways[2];
	const char *parts[2];
	int rc;

	if (json_kind(inner[1]) != JSON_KIND_OBJECT)
		inner[1] = inner[0];
	if (c->nin != 1 || c->nout != 1 || !can_merge(c))
		return 0;
	for (int i = 0; i < 2; i++) {
		if (!find_way(c, names[i], inner[i], &r[i], e))
			goto plain;
		parts[i] = c->part;
	}
	is_sequence = keras_flag(c, "return_sequences", false);
	rc = time_first(c, &x, &r[0].mask, e);
	r[1].mask = r[0].mask;
	for (int i = 0; rc == 0 && i < 2; i++) {
		c->config = json_member(inner[i], "config");
		c->part = parts[i];
		rc = run_one(c, &r[i], x, &m, e);
		if (rc == 0)
			rc = shape_output(c, &r[i], &m, is_sequence, &ways[i],
					  e);
	}
	c->config = config;
	c->out_rank = is_sequence ? 3 : 2;
	return rc < 0 ? rc : merge_ways(c, ways, e);
plain:
	c->config = config;
	return 0;
}

int keras_recurrent_layer(struct keras_call *c, struct err *e)
{
	if (strcmp(c->class, "Bidirectional") == 0)
		return bidirectional(c, e);
	return one_way(c, e);
}
