/* SPDX-License-Identifier: MIT */
/*
 * recurrent - LSTM, GRU and SimpleRNN, one way or both.
 *
 * Keras' kernels are [inputs, gates * units], ONNX's the other way around;
 * the gates of an LSTM are input, forget, cell, output there and input,
 * output, forget, cell here.  Those of a GRU are the same.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/keras/call.h"
#include "wire/json.h"

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
};

/* A step's name with the way it goes in front, in the arena. */
static const char *tagged(struct keras_call *c, const struct recurrent *r,
			  const char *what)
{
	char buf[64];
	int n = snprintf(buf, sizeof(buf), "%s%s", r->tag, what);

	if (r->tag[0] == '\0')
		return what;
	return arena_strndup(c->at.m->arena, buf, (size_t)n);
}

static int step(struct keras_call *c, const struct recurrent *r, struct step *s,
		value_id *out, struct err *e)
{
	s->what = tagged(c, r, s->what);
	return s->what ? steps_inner(&c->at, s, out, e) : err_nomem(e, 0);
}

/* ---- kernels ---- */

/* The gates of an LSTM in ONNX's order, along an axis. */
static int order_gates(struct keras_call *c, const struct recurrent *r,
		       const char *what, int64_t axis, value_id in,
		       value_id *out, struct err *e)
{
	struct attr a = attr_set_int("axis", axis);
	value_id parts[4], ordered[4];
	char name[64];
	struct step split = {.type = "Split",
			     .opset = 11,
			     .in = &in,
			     .nin = 1,
			     .out = parts,
			     .nout = 4,
			     .attrs = &a,
			     .nattrs = 1};
	struct step join = {.what = what,
			    .type = "Concat",
			    .in = ordered,
			    .nin = 4,
			    .attrs = &a,
			    .nattrs = 1};
	int rc = 0;

	*out = in;
	if (r->ngates != 4)
		return 0;
	for (int i = 0; rc == 0 && i < 4; i++) {
		snprintf(name, sizeof(name), "%s%s_%d", r->tag, what, i);
		rc = steps_value(&c->at, name, &parts[i], e);
	}
	snprintf(name, sizeof(name), "%s%s_gates", r->tag, what);
	split.what = arena_strndup(c->at.m->arena, name, strlen(name));
	if (rc == 0)
		rc = split.what ? steps_node(&c->at, &split, e)
				: err_nomem(e, 0);
	ordered[0] = parts[0];
	ordered[1] = parts[3];
	ordered[2] = parts[1];
	ordered[3] = parts[2];
	return rc < 0 ? rc : step(c, r, &join, out, e);
}

/* An axis of 1 in front: of the directions. */
static int widen(struct keras_call *c, const struct recurrent *r,
		 const char *what, value_id in, value_id *out, struct err *e)
{
	int64_t axis = 0;
	struct attr a;
	struct step s = {.what = what,
			 .type = "Unsqueeze",
			 .opset = 11,
			 .in = &in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&c->at, "axes", &axis, 1, &a, e);

	return rc < 0 ? rc : step(c, r, &s, out, e);
}

static int make_kernel(struct keras_call *c, const struct recurrent *r,
		       const char *name, const char *what, value_id *out,
		       struct err *e)
{
	static const int64_t swap[] = {1, 0};
	char turned[48], ordered[48];
	struct attr a;
	value_id v = NO_VALUE;
	struct step s = {.type = "Transpose",
			 .in = &v,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = keras_weight(c, name, &v, e);

	snprintf(ordered, sizeof(ordered), "%s_ordered", what);
	snprintf(turned, sizeof(turned), "%s_turned", what);
	s.what = arena_strndup(c->at.m->arena, turned, strlen(turned));
	if (rc < 0 || !s.what)
		return rc < 0 ? rc : err_nomem(e, 0);
	rc = order_gates(
		c, r, arena_strndup(c->at.m->arena, ordered, strlen(ordered)),
		1, v, &v, e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "perm", swap, 2, &a, e);
	if (rc == 0)
		rc = step(c, r, &s, &v, e);
	return rc < 0 ? rc : widen(c, r, what, v, out, e);
}

/* A bias for the inputs, and one for the state, which may be zeros. */
static int make_bias(struct keras_call *c, const struct recurrent *r,
		     bool is_double, value_id *out, struct err *e)
{
	int64_t n = r->units * r->ngates;
	int64_t both[] = {1, 2 * n};
	value_id count, parts[2];
	struct attr a, axis = attr_set_int("axis", 0);
	struct step flat = {.what = "B",
			    .type = "Reshape",
			    .opset = 1, /* the shape is an attribute */
			    .in = parts,
			    .nin = 1,
			    .attrs = &a,
			    .nattrs = 1};
	struct step zeros = {.what = "zeros",
			     .type = "ConstantOfShape",
			     .in = &count,
			     .nin = 1};
	struct step join = {.what = "bias_both",
			    .type = "Concat",
			    .in = parts,
			    .nin = 2,
			    .attrs = &axis,
			    .nattrs = 1};
	int rc = keras_weight(c, "bias", &parts[0], e);

	*out = NO_VALUE;
	if (rc < 0 || parts[0] == NO_VALUE)
		return rc;
	rc = attr_set_ints(&c->at, "shape", both, 2, &a, e);
	if (rc == 0 && !is_double) {
		rc = order_gates(c, r, "bias_ordered", 0, parts[0], &parts[0],
				 e);
		if (rc == 0)
			rc = steps_ints(&c->at, tagged(c, r, "count"), &n, 1,
					&count, e);
		if (rc == 0)
			rc = step(c, r, &zeros, &parts[1], e);
		if (rc == 0)
			rc = step(c, r, &join, &parts[0], e);
	}
	return rc < 0 ? rc : step(c, r, &flat, out, e);
}

/* ---- activations ---- */

static const struct {
	const char *keras, *onnx;
	float alpha, beta;
} known[] = {
	{"tanh", "Tanh", 0, 0},
	{"sigmoid", "Sigmoid", 0, 0},
	{"relu", "Relu", 0, 0},
	{"linear", "Affine", 1, 0},
	{"softsign", "Softsign", 0, 0},
	{"softplus", "Softplus", 0, 0},
	{"elu", "Elu", 1, 0},
	{"hard_sigmoid", "HardSigmoid", 0.2f, 0.5f},
};

static bool find_activation(const struct keras_call *c, const char *key,
			    const char *def, struct span *name, float *alpha,
			    float *beta)
{
	const struct json *spec = keras_value(c, key);
	const char *given = spec ? keras_activation_name(spec) : def;

	for (size_t i = 0; given && i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(given, known[i].keras) != 0)
			continue;
		*name = (struct span){known[i].onnx, strlen(known[i].onnx)};
		*alpha = known[i].alpha;
		*beta = known[i].beta;
		if (c->kg->version >= 3 && known[i].alpha == 0.2f)
			*alpha = 1.0f / 6;
		return true;
	}
	return false;
}

/* Gates, cell and output of an LSTM, gates and output of a GRU. */
static bool set_activations(struct keras_call *c, const struct recurrent *r,
			    struct attr *out)
{
	struct span *names = arena_array(c->at.m->arena, 3, sizeof(*names));
	float *alpha = arena_array(c->at.m->arena, 3, sizeof(*alpha));
	float *beta = arena_array(c->at.m->arena, 3, sizeof(*beta));
	uint32_t n = 0;

	if (!names || !alpha || !beta)
		return false;
	if (r->ngates > 1 &&
	    !find_activation(c, "recurrent_activation", "sigmoid", &names[n],
			     &alpha[n], &beta[n]))
		return false;
	n += r->ngates > 1;
	for (int i = 0; i < (r->ngates == 4 ? 2 : 1); i++, n++)
		if (!find_activation(c, "activation", "tanh", &names[n],
				     &alpha[n], &beta[n]))
			return false;
	out[0] = (struct attr){.name = "activations",
			       .kind = ATTR_STRINGS,
			       .n = n,
			       .strings = names};
	out[1] = (struct attr){.name = "activation_alpha",
			       .kind = ATTR_FLOATS,
			       .n = n,
			       .floats = alpha};
	out[2] = (struct attr){.name = "activation_beta",
			       .kind = ATTR_FLOATS,
			       .n = n,
			       .floats = beta};
	return true;
}

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
	struct step s = {.what = tagged(c, r, "compute"),
			 .type = r->type,
			 .in = in,
			 .nin = nin,
			 .out = out,
			 .nout = 1 + r->nstates,
			 .attrs = a,
			 .nattrs = 5};
	int rc;

	in[0] = x;
	if (!set_activations(c, r, a) || !s.what)
		return err_nomem(e, 0);
	a[3] = attr_set_int("hidden_size", r->units);
	a[4] = attr_set_text("direction",
			     r->is_backward ? "reverse" : "forward");
	if (is_double)
		a[s.nattrs++] = attr_set_int("linear_before_reset", 1);
	rc = steps_value(&c->at, tagged(c, r, "Y"), &out[0], e);
	if (rc == 0)
		rc = steps_value(&c->at, tagged(c, r, "Y_h"), &out[1], e);
	if (rc == 0 && r->nstates > 1)
		rc = steps_value(&c->at, tagged(c, r, "Y_c"), &out[2], e);
	m->steps = out[0];
	m->states[0] = out[1];
	m->states[1] = r->nstates > 1 ? out[2] : NO_VALUE;
	return rc < 0 ? rc : steps_node(&c->at, &s, e);
}

static int set_states(struct keras_call *c, const struct recurrent *r,
		      value_id *in, uint32_t *nin, struct err *e)
{
	static const char *const what[] = {"initial_h", "initial_c"};
	int rc = 0;

	if (r->nfirst == 0)
		return 0;
	in[4] = NO_VALUE; /* lengths */
	*nin = 5;
	for (uint32_t i = 0; rc == 0 && i < r->nfirst; i++)
		rc = widen(c, r, what[i], r->first[i], &in[(*nin)++], e);
	return rc;
}

/* x is [time, batch, n]. */
static int run_one(struct keras_call *c, const struct recurrent *r, value_id x,
		   struct made *m, struct err *e)
{
	bool is_double = r->ngates == 3 && keras_flag(c, "reset_after", false);
	value_id in[8];
	uint32_t nin = 4;
	int rc = make_kernel(c, r, "kernel", "W", &in[1], e);

	if (rc == 0)
		rc = make_kernel(c, r, "recurrent_kernel", "R", &in[2], e);
	if (rc == 0)
		rc = make_bias(c, r, is_double, &in[3], e);
	if (rc == 0)
		rc = set_states(c, r, in, &nin, e);
	return rc < 0 ? rc : add_node(c, r, x, in, nin, is_double, m, e);
}

/* ---- what a layer hands out ---- */

static int squeeze(struct keras_call *c, const struct recurrent *r,
		   const char *what, int64_t axis, value_id in, value_id *out,
		   struct err *e)
{
	struct attr a;
	struct step s = {.what = what,
			 .type = "Squeeze",
			 .opset = 11,
			 .in = &in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&c->at, "axes", &axis, 1, &a, e);

	return rc < 0 ? rc : step(c, r, &s, out, e);
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
	return rc < 0 ? rc : step(c, r, &s, v, e);
}

/* [time, 1, batch, units] or [1, batch, units] without what is 1. */
static int shape_output(struct keras_call *c, const struct recurrent *r,
			const struct made *m, bool is_sequence, value_id *out,
			struct err *e)
{
	static const int64_t perm[] = {1, 0, 2};
	value_id v = NO_VALUE;
	int rc;

	if (!is_sequence)
		return squeeze(c, r, "last", 0, m->states[0], out, e);
	rc = squeeze(c, r, "steps_made", 1, m->steps, &v, e);
	if (rc == 0)
		rc = keras_transpose(c, tagged(c, r, "batch_first"), v, perm, 3,
				     out, e);
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
	       !c->kg->has_masks && set_activations(c, r, unused);
}

static int time_first(struct keras_call *c, value_id *out, struct err *e)
{
	static const int64_t perm[] = {1, 0, 2};

	return keras_transpose(c, "time_first", c->in[0], perm, 3, out, e);
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

static int one_way(struct keras_call *c, struct err *e)
{
	bool is_sequence = keras_flag(c, "return_sequences", false);
	struct recurrent r;
	struct made m;
	value_id x, v;
	int rc;

	if (!read_kind(c->class, &r) || !can_run(c, &r, e) ||
	    (c->nin != 1 && c->nin != 1 + r.nstates) || c->nout > 1 + r.nstates)
		return 0;
	r.is_backward = keras_flag(c, "go_backwards", false);
	r.nfirst = c->nin - 1;
	for (uint32_t i = 0; i < r.nfirst; i++)
		r.first[i] = c->in[i + 1];
	rc = time_first(c, &x, e);
	if (rc == 0)
		rc = run_one(c, &r, x, &m, e);
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
	rc = time_first(c, &x, e);
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
