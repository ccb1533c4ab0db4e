/* SPDX-License-Identifier: MIT */
/*
 * gates - kernels, biases and activations of recurrent layers.
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

#include "format/keras/rnn.h"

const char *rnn_name(struct keras_call *c, const struct recurrent *r,
		     const char *what)
{
	char buf[64];
	int n = snprintf(buf, sizeof(buf), "%s%s", r->tag, what);

	if (r->tag[0] == '\0')
		return what;
	return arena_strndup(c->at.m->arena, buf, (size_t)n);
}

int rnn_step(struct keras_call *c, const struct recurrent *r, struct step *s,
	     value_id *out, struct err *e)
{
	s->what = rnn_name(c, r, s->what);
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
	return rc < 0 ? rc : rnn_step(c, r, &join, out, e);
}

int rnn_kernel(struct keras_call *c, const struct recurrent *r,
	       const char *name, const char *what, value_id *out, struct err *e)
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
		rc = rnn_step(c, r, &s, &v, e);
	return rc < 0 ? rc
		      : steps_axis(&c->at, rnn_name(c, r, what), "Unsqueeze", 0,
				   v, out, e);
}

/* A bias for the inputs, and one for the state, which may be zeros. */
int rnn_bias(struct keras_call *c, const struct recurrent *r, bool is_double,
	     value_id *out, struct err *e)
{
	int64_t n = r->units * r->ngates;
	int64_t both[] = {1, 2 * n};
	struct attr a;
	value_id v;
	struct step flat = {.what = "B",
			    .type = "Reshape",
			    .opset = 1, /* the shape is an attribute */
			    .in = &v,
			    .nin = 1,
			    .attrs = &a,
			    .nattrs = 1};
	int rc = keras_weight(c, "bias", &v, e);

	*out = NO_VALUE;
	if (rc < 0 || v == NO_VALUE)
		return rc;
	rc = attr_set_ints(&c->at, "shape", both, 2, &a, e);
	if (rc == 0 && !is_double)
		rc = order_gates(c, r, "bias_ordered", 0, v, &v, e);
	if (rc == 0 && !is_double)
		rc = steps_zeros_behind(&c->at, r->tag, v, n, &v, e);
	return rc < 0 ? rc : rnn_step(c, r, &flat, out, e);
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
bool rnn_activations(struct keras_call *c, const struct recurrent *r,
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
