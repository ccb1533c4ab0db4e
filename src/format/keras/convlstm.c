/* SPDX-License-Identifier: MIT */
/*
 * convlstm - LSTMs of which the products are convolutions.
 *
 * The inputs of all steps are convolved at once; a Scan goes over them with
 * what remains to be done for each.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/keras/window.h"
#include "wire/json.h"

struct conv_lstm {
	struct window w;
	value_id kernel, recurrent, bias;
	int64_t filters;
	bool is_sequence;
};

/* ---- the configuration ---- */

static bool read_layer(struct keras_call *c, struct conv_lstm *l, struct err *e)
{
	const struct param *k, *r;

	if (keras_weight(c, "kernel", &l->kernel, e) < 0 ||
	    keras_weight(c, "recurrent_kernel", &l->recurrent, e) < 0 ||
	    keras_weight(c, "bias", &l->bias, e) < 0)
		return false;
	k = keras_weight_param(c, l->kernel);
	r = keras_weight_param(c, l->recurrent);
	l->filters = keras_int(c, "filters", 0);
	l->is_sequence = keras_flag(c, "return_sequences", false);
	if (!k || !r || !window_read(c, &l->w, "kernel_size") ||
	    k->rank != l->w.n + 2 || r->rank != l->w.n + 2 || l->filters < 1 ||
	    l->filters > 1 << 24)
		return false;
	return k->dims[l->w.n + 1] == 4 * l->filters &&
	       r->dims[l->w.n + 1] == 4 * l->filters &&
	       r->dims[l->w.n] == l->filters && !l->w.is_first &&
	       keras_can_activate(c, keras_value(c, "activation")) &&
	       keras_can_activate(c, keras_value(c, "recurrent_activation"));
}

/* ---- all steps at once ---- */

/* Extents [from, to) of a shape. */
static int extents(struct keras_call *c, const char *what, value_id shape,
		   int64_t from, int64_t to, value_id *out, struct err *e)
{
	struct attr a[2];
	struct step s = {.what = what,
			 .type = "Slice",
			 .opset = 1, /* the limits are attributes */
			 .in = &shape,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc = attr_set_ints(&c->at, "starts", &from, 1, &a[0], e);

	if (rc == 0)
		rc = attr_set_ints(&c->at, "ends", &to, 1, &a[1], e);
	return rc < 0 ? rc : steps_inner(&c->at, &s, out, e);
}

/* v as [parts[0].., parts[1]..] */
static int reshape(struct keras_call *c, const char *what, const char *shape,
		   value_id v, const value_id *parts, uint32_t n, value_id *out,
		   struct err *e)
{
	struct attr axis = attr_set_int("axis", 0);
	value_id dims;
	struct step join = {.what = shape,
			    .type = "Concat",
			    .in = parts,
			    .nin = n,
			    .attrs = &axis,
			    .nattrs = 1};
	int rc = steps_inner(&c->at, &join, &dims, e);

	return rc < 0 ? rc
		      : steps_make(&c->at, what, "Reshape", v, dims, out, e);
}

/* [batch, time, space.., n] → [time, batch, n, space..] */
static int time_first(struct keras_call *c, const struct conv_lstm *l,
		      value_id *out, struct err *e)
{
	int64_t perm[AXES_MAX + 3] = {1, 0, (int64_t)l->w.n + 2};

	for (size_t i = 0; i < l->w.n; i++)
		perm[i + 3] = (int64_t)i + 2;
	return keras_transpose(c, "time_first", c->in[0], perm, l->w.n + 3, out,
			       e);
}

static int convolve(struct keras_call *c, struct conv_lstm *l, value_id x,
		    value_id *out, struct err *e)
{
	value_id in[3] = {x, NO_VALUE, l->bias};
	struct step s = {.what = "input_conv",
			 .type = "Conv",
			 .in = in,
			 .nin = l->bias == NO_VALUE ? 2 : 3};
	int rc = conv_turn_kernel(c, &l->w, "kernel_turned", true, l->kernel,
				  &in[1], e);

	if (rc == 0)
		rc = window_set(c, &l->w, false, e);
	s.attrs = l->w.attrs;
	s.nattrs = l->w.nattrs;
	return rc < 0 ? rc : steps_inner(&c->at, &s, out, e);
}

/* Gates' inputs [time, batch, 4 filters, space..]; their shape. */
static int all_inputs(struct keras_call *c, struct conv_lstm *l, value_id *out,
		      value_id *shape, struct err *e)
{
	int64_t any = -1;
	value_id x, dims, parts[2], steps = NO_VALUE;
	int rc = time_first(c, l, &x, e);

	if (rc == 0)
		rc = steps_make(&c->at, "input_shape", "Shape", x, NO_VALUE,
				&dims, e);
	if (rc == 0)
		rc = steps_ints(&c->at, "any", &any, 1, &parts[0], e);
	if (rc == 0)
		rc = extents(c, "image_shape", dims, 2, INT64_MAX, &parts[1],
			     e);
	if (rc == 0)
		rc = reshape(c, "images", "images_shape", x, parts, 2, &x, e);
	if (rc == 0)
		rc = convolve(c, l, x, &x, e);
	if (rc == 0)
		rc = extents(c, "steps", dims, 0, 2, &steps, e);
	parts[0] = steps;
	if (rc == 0)
		rc = steps_make(&c->at, "convolved_shape", "Shape", x, NO_VALUE,
				&dims, e);
	if (rc == 0)
		rc = extents(c, "gates_shape", dims, 1, INT64_MAX, &parts[1],
			     e);
	if (rc == 0)
		rc = reshape(c, "gates", "all_shape", x, parts, 2, out, e);
	return rc < 0 ? rc
		      : steps_make(&c->at, "shape", "Shape", *out, NO_VALUE,
				   shape, e);
}

/* Zeros [batch, filters, space..] */
static int first_state(struct keras_call *c, const struct conv_lstm *l,
		       value_id shape, value_id *out, struct err *e)
{
	struct attr axis = attr_set_int("axis", 0);
	value_id parts[3], v;
	struct step join = {.what = "state_shape",
			    .type = "Concat",
			    .in = parts,
			    .nin = 3,
			    .attrs = &axis,
			    .nattrs = 1};
	int rc = extents(c, "batch", shape, 1, 2, &parts[0], e);

	if (rc == 0)
		rc = steps_ints(&c->at, "filters", &l->filters, 1, &parts[1],
				e);
	if (rc == 0)
		rc = extents(c, "space", shape, 3, INT64_MAX, &parts[2], e);
	if (rc == 0)
		rc = steps_inner(&c->at, &join, &v, e);
	return rc < 0 ? rc
		      : steps_make(&c->at, "state", "ConstantOfShape", v,
				   NO_VALUE, out, e);
}

/* ---- one step ---- */

static int activate(struct keras_call *c, const char *key, const char *what,
		    value_id in, value_id *out, struct err *e)
{
	struct keras_call own = *c;
	char name[512];
	int rc = steps_value(&c->at, what, out, e);

	/* What an activation is made of is called after the gate. */
	snprintf(name, sizeof(name), "%s:%s", c->at.name.p, what);
	own.at.name.p = name;
	own.at.name.len = strlen(name);
	return rc < 0 ? rc
		      : keras_activate(&own, keras_value(c, key), in, *out, e);
}

static int split_gates(struct keras_call *c, value_id in, value_id out[4],
		       struct err *e)
{
	static const char *const names[] = {"in", "forget", "cell", "out"};
	struct attr a = attr_set_int("axis", 1);
	struct step s = {.what = "split",
			 .type = "Split",
			 .opset = 11,
			 .in = &in,
			 .nin = 1,
			 .out = out,
			 .nout = 4,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = 0;

	for (int i = 0; rc == 0 && i < 4; i++)
		rc = steps_value(&c->at, names[i], &out[i], e);
	return rc < 0 ? rc : steps_node(&c->at, &s, e);
}

/* c = f c + i act(z), h = o act(c) */
static int new_states(struct keras_call *c, value_id z, value_id cell,
		      value_id out[2], struct err *e)
{
	value_id gate[4], kept, added, active;
	int rc = split_gates(c, z, gate, e);

	if (rc == 0)
		rc = activate(c, "recurrent_activation", "in_gate", gate[0],
			      &gate[0], e);
	if (rc == 0)
		rc = activate(c, "recurrent_activation", "forget_gate", gate[1],
			      &gate[1], e);
	if (rc == 0)
		rc = activate(c, "activation", "cell_input", gate[2], &gate[2],
			      e);
	if (rc == 0)
		rc = activate(c, "recurrent_activation", "out_gate", gate[3],
			      &gate[3], e);
	if (rc == 0)
		rc = steps_make(&c->at, "kept", "Mul", gate[1], cell, &kept, e);
	if (rc == 0)
		rc = steps_make(&c->at, "added", "Mul", gate[0], gate[2],
				&added, e);
	if (rc == 0)
		rc = steps_make(&c->at, "new_cell", "Add", kept, added, &out[1],
				e);
	if (rc == 0)
		rc = activate(c, "activation", "cell_active", out[1], &active,
			      e);
	return rc < 0 ? rc
		      : steps_make(&c->at, "new_state", "Mul", gate[3], active,
				   &out[0], e);
}

/* Of the graph around, by its name. */
static int capture(struct keras_call *c, const struct graph *outer, value_id v,
		   value_id *out, struct err *e)
{
	const char *name = outer->values[v].name;

	return graph_value(c->at.g, name, strlen(name), out, e);
}

static int convolve_state(struct keras_call *c, value_id state, value_id kernel,
			  value_id *out, struct err *e)
{
	struct attr a = attr_set_text("auto_pad", "SAME_UPPER");
	value_id in[2] = {state, kernel};
	struct step s = {.what = "state_conv",
			 .type = "Conv",
			 .in = in,
			 .nin = 2,
			 .attrs = &a,
			 .nattrs = 1};

	return steps_inner(&c->at, &s, out, e);
}

static int add_ends(struct keras_call *c, const char *const *names,
		    value_id *out, struct err *e)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < 3; i++) {
		rc = steps_value(&c->at, names[i], &out[i], e);
		if (rc == 0)
			rc = graph_input(c->at.g, out[i], e);
	}
	return rc;
}

/* State, cell and the gates' inputs go in; both, and the result, come out. */
static int make_body(struct keras_call *c, value_id kernel, struct graph **out,
		     struct err *e)
{
	static const char *const names[] = {"old_state", "old_cell", "input"};
	struct keras_call in = *c;
	value_id ends[3], made[2], v, z;
	int rc;

	in.at.module = NULL;
	in.at.g = *out = graph_new(c->at.m->arena, c->at.g, "step");
	if (!*out)
		return err_nomem(e, 0);
	rc = add_ends(&in, names, ends, e);
	if (rc == 0)
		rc = capture(&in, c->at.g, kernel, &kernel, e);
	if (rc == 0)
		rc = convolve_state(&in, ends[0], kernel, &v, e);
	if (rc == 0)
		rc = steps_make(&in.at, "sum", "Add", ends[2], v, &z, e);
	if (rc == 0)
		rc = new_states(&in, z, ends[1], made, e);
	if (rc == 0)
		rc = steps_make(&in.at, "result", "Identity", made[0], NO_VALUE,
				&v, e);
	if (rc == 0)
		rc = graph_output(*out, made[0], e);
	if (rc == 0)
		rc = graph_output(*out, made[1], e);
	return rc < 0 ? rc : graph_output(*out, v, e);
}

/* ---- the layer ---- */

/* made: the last state, the last cell, and the results of all steps. */
static int scan(struct keras_call *c, struct conv_lstm *l, value_id x,
		value_id shape, value_id made[3], struct err *e)
{
	static const char *const names[] = {"last_state", "last_cell", "all"};
	int64_t back = keras_flag(c, "go_backwards", false);
	struct attr a[3] = {{.name = "body", .kind = ATTR_GRAPH, .n = 1},
			    attr_set_int("num_scan_inputs", 1)};
	value_id in[3], kernel;
	struct step s = {.what = "compute",
			 .type = "Scan",
			 .in = in,
			 .nin = 3,
			 .out = made,
			 .nout = 3,
			 .attrs = a,
			 .nattrs = 3};
	int rc = conv_turn_kernel(c, &l->w, "recurrent_turned", true,
				  l->recurrent, &kernel, e);

	if (rc == 0)
		rc = make_body(c, kernel, &a[0].g, e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "scan_input_directions", &back, 1,
				   &a[2], e);
	if (rc == 0)
		rc = first_state(c, l, shape, &in[0], e);
	in[1] = in[0];
	in[2] = x;
	for (int i = 0; rc == 0 && i < 3; i++)
		rc = steps_value(&c->at, names[i], &made[i], e);
	return rc < 0 ? rc : steps_node(&c->at, &s, e);
}

/* [time, batch, n, space..] or [batch, n, space..] with the channels last. */
static int give(struct keras_call *c, const struct conv_lstm *l, value_id v,
		bool is_sequence, const char *what, value_id out, struct err *e)
{
	size_t lead = is_sequence ? 2 : 1, rank = lead + l->w.n + 1;
	int64_t perm[AXES_MAX + 3] = {0};
	struct attr a;
	struct step s = {.what = what,
			 .type = "Transpose",
			 .in = &v,
			 .nin = 1,
			 .out = &out,
			 .nout = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc;

	if (is_sequence)
		perm[0] = 1;
	for (size_t i = 0; i < l->w.n; i++)
		perm[lead + i] = (int64_t)(lead + 1 + i);
	perm[rank - 1] = (int64_t)lead;
	rc = attr_set_ints(&c->at, "perm", perm, rank, &a, e);
	return rc < 0 ? rc : steps_node(&c->at, &s, e);
}

int keras_conv_lstm(struct keras_call *c, struct err *e)
{
	struct conv_lstm l;
	value_id x, shape, made[3];
	int rc;

	if (c->nin != 1 || c->nout > 3 || !read_layer(c, &l, e))
		return 0;
	rc = all_inputs(c, &l, &x, &shape, e);
	if (rc == 0)
		rc = scan(c, &l, x, shape, made, e);
	if (rc == 0)
		rc = give(c, &l, made[l.is_sequence ? 2 : 0], l.is_sequence,
			  "result", c->out[0], e);
	if (rc == 0 && c->nout > 1)
		rc = give(c, &l, made[0], false, "state_h", c->out[1], e);
	if (rc == 0 && c->nout > 2)
		rc = give(c, &l, made[1], false, "state_c", c->out[2], e);
	c->out_rank = (int)l.w.n + (l.is_sequence ? 3 : 2);
	return rc < 0 ? rc : 1;
}
