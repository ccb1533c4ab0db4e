/* SPDX-License-Identifier: MIT */
/* activation - functions of one number, and Softmax, by Keras' names. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/keras/call.h"
#include "wire/json.h"

/* ---- one operator ---- */

static const struct {
	const char *keras, *onnx;
	int opset;
	struct {
		const char *name;
		float v;
	} attrs[2];
} same[] = {
	{"relu", "Relu", 0, {{0}}},
	{"relu6", "Clip", 6, {{"min", 0}, {"max", 6}}},
	{"elu", "Elu", 0, {{"alpha", 1}}},
	{"celu", "Celu", 0, {{"alpha", 1}}},
	{"selu", "Selu", 0, {{0}}},
	{"leaky_relu", "LeakyRelu", 0, {{"alpha", 0.2f}}},
	{"sigmoid", "Sigmoid", 0, {{0}}},
	{"hard_tanh", "Clip", 6, {{"min", -1}, {"max", 1}}},
	{"hard_shrink", "Shrink", 0, {{"lambd", 0.5f}, {"bias", 0}}},
	{"soft_shrink", "Shrink", 0, {{"lambd", 0.5f}, {"bias", 0.5f}}},
	{"tanh", "Tanh", 0, {{0}}},
	{"softmax", "Softmax", 0, {{0}}},
	{"log_softmax", "LogSoftmax", 0, {{0}}},
	{"softplus", "Softplus", 0, {{0}}},
	{"softsign", "Softsign", 0, {{0}}},
	{"exponential", "Exp", 0, {{0}}},
	{"gelu", "Gelu", 20, {{0}}},
	{"mish", "Mish", 18, {{0}}},
	{"hard_silu", "HardSwish", 14, {{0}}},
	{"hard_swish", "HardSwish", 14, {{0}}},
	{"linear", "Identity", 0, {{0}}},
};

static int activate_same(struct keras_call *c, size_t i, value_id in,
			 value_id out, struct err *e)
{
	struct attr a[2];
	struct step n = {.what = "activation",
			 .type = same[i].onnx,
			 .opset = same[i].opset,
			 .in = &in,
			 .nin = 1,
			 .out = &out,
			 .nout = 1,
			 .attrs = a};

	while (n.nattrs < 2 && same[i].attrs[n.nattrs].name) {
		a[n.nattrs] = attr_set_float(same[i].attrs[n.nattrs].name,
					     same[i].attrs[n.nattrs].v);
		n.nattrs++;
	}
	return steps_node(&c->at, &n, e);
}

/* ---- several ---- */

static int finish(struct keras_call *c, const char *type, value_id a,
		  value_id b, value_id out, struct err *e)
{
	value_id in[] = {a, b};
	struct step n = {.what = "activation",
			 .type = type,
			 .in = in,
			 .nin = b == NO_VALUE ? 1 : 2,
			 .out = &out,
			 .nout = 1};

	return steps_node(&c->at, &n, e);
}

static int silu(struct keras_call *c, value_id in, value_id out, struct err *e)
{
	value_id gate;
	int rc = steps_make(&c->at, "sigmoid", "Sigmoid", in, NO_VALUE, &gate,
			    e);

	return rc < 0 ? rc : finish(c, "Mul", in, gate, out, e);
}

static int log_sigmoid(struct keras_call *c, value_id in, value_id out,
		       struct err *e)
{
	value_id v = NO_VALUE;
	int rc = steps_make(&c->at, "negative", "Neg", in, NO_VALUE, &v, e);

	if (rc == 0)
		rc = steps_make(&c->at, "softplus", "Softplus", v, NO_VALUE, &v,
				e);
	return rc < 0 ? rc : finish(c, "Neg", v, NO_VALUE, out, e);
}

/* Until Keras 3 the slope was 1/5, since then it is 1/6. */
static int hard_sigmoid(struct keras_call *c, value_id in, value_id out,
			struct err *e)
{
	float slope = c->kg->version >= 3 ? 1.0f / 6 : 0.2f;
	struct attr a[] = {attr_set_float("alpha", slope),
			   attr_set_float("beta", 0.5f)};
	struct step n = {.what = "activation",
			 .type = "HardSigmoid",
			 .in = &in,
			 .nin = 1,
			 .out = &out,
			 .nout = 1,
			 .attrs = a,
			 .nattrs = 2};

	return steps_node(&c->at, &n, e);
}

static int tanh_shrink(struct keras_call *c, value_id in, value_id out,
		       struct err *e)
{
	value_id v;
	int rc = steps_make(&c->at, "tanh", "Tanh", in, NO_VALUE, &v, e);

	return rc < 0 ? rc : finish(c, "Sub", in, v, out, e);
}

static const struct {
	const char *keras;
	int (*make)(struct keras_call *c, value_id in, value_id out,
		    struct err *e);
} composed[] = {
	{"hard_sigmoid", hard_sigmoid},
	{"log_sigmoid", log_sigmoid},
	{"silu", silu},
	{"swish", silu},
	{"tanh_shrink", tanh_shrink},
};

#define NSAME (sizeof(same) / sizeof(same[0]))
#define NCOMPOSED (sizeof(composed) / sizeof(composed[0]))

/* ---- by name ---- */

const char *keras_activation_name(const struct json *spec)
{
	size_t len;
	const char *name = json_get_string(spec, &len);
	const struct json *inner = json_member(spec, "config");

	if (json_kind(spec) == JSON_KIND_NULL)
		return "linear";
	if (!name)
		name = json_get_string(inner, &len);
	return name;
}

bool keras_is_linear(const struct json *spec)
{
	const char *name = keras_activation_name(spec);

	return name && strcmp(name, "linear") == 0;
}

bool keras_can_activate(const struct keras_call *c, const struct json *spec)
{
	const char *name = keras_activation_name(spec);

	(void)c;
	for (size_t i = 0; name && i < NSAME; i++)
		if (strcmp(name, same[i].keras) == 0)
			return true;
	for (size_t i = 0; name && i < NCOMPOSED; i++)
		if (strcmp(name, composed[i].keras) == 0)
			return true;
	return false;
}

int keras_activate(struct keras_call *c, const struct json *spec, value_id in,
		   value_id out, struct err *e)
{
	const char *name = keras_activation_name(spec);

	for (size_t i = 0; name && i < NSAME; i++)
		if (strcmp(name, same[i].keras) == 0)
			return activate_same(c, i, in, out, e);
	for (size_t i = 0; name && i < NCOMPOSED; i++)
		if (strcmp(name, composed[i].keras) == 0)
			return composed[i].make(c, in, out, e);
	return err_set(e, EOPNOTSUPP, "an activation that is not known");
}

/* ---- layers ---- */

static int one(struct keras_call *c, const char *type, int opset,
	       const struct attr *attrs, uint32_t nattrs, struct err *e)
{
	struct step n = {.type = type,
			 .opset = opset,
			 .in = c->in,
			 .nin = 1,
			 .attrs = attrs,
			 .nattrs = nattrs};

	return keras_finish(c, &n, e);
}

static int by_name(struct keras_call *c, struct err *e)
{
	const struct json *spec = keras_value(c, "activation");
	int rc;

	if (!keras_can_activate(c, spec))
		return 0;
	rc = keras_activate(c, spec, c->in[0], c->out[0], e);
	return rc < 0 ? rc : 1;
}

/* A threshold of the original Caffe kind is left to others. */
static int relu(struct keras_call *c, struct err *e)
{
	double slope = keras_real(c, "negative_slope", 0);
	double top = keras_real(c, "max_value", -1);
	struct attr a[] = {attr_set_float("min", 0),
			   attr_set_float("max", (float)top)};
	struct attr leak = attr_set_float("alpha", (float)slope);

	if (keras_real(c, "threshold", 0) != 0 || (slope != 0 && top >= 0))
		return 0;
	if (slope != 0)
		return one(c, "LeakyRelu", 0, &leak, 1, e);
	return top >= 0 ? one(c, "Clip", 6, a, 2, e)
			: one(c, "Relu", 0, NULL, 0, e);
}

static int leaky_relu(struct keras_call *c, struct err *e)
{
	double alpha = keras_real(c, "alpha", 0.3);
	struct attr a = attr_set_float(
		"alpha", (float)keras_real(c, "negative_slope", alpha));

	return one(c, "LeakyRelu", 0, &a, 1, e);
}

static int elu(struct keras_call *c, struct err *e)
{
	struct attr a =
		attr_set_float("alpha", (float)keras_real(c, "alpha", 1));

	return one(c, "Elu", 0, &a, 1, e);
}

static int thresholded_relu(struct keras_call *c, struct err *e)
{
	struct attr a =
		attr_set_float("alpha", (float)keras_real(c, "theta", 1));

	return one(c, "ThresholdedRelu", 0, &a, 1, e);
}

static int prelu(struct keras_call *c, struct err *e)
{
	value_id in[2] = {c->in[0], NO_VALUE};
	struct step n = {.type = "PRelu", .in = in, .nin = 2};
	int rc = keras_weight(c, "alpha", &in[1], e);

	return rc < 0 || in[1] == NO_VALUE ? rc : keras_finish(c, &n, e);
}

static int softmax(struct keras_call *c, struct err *e)
{
	const struct json *axis = keras_value(c, "axis");
	int64_t given = -1;
	struct attr a;

	if (json_kind(axis) == JSON_KIND_ARRAY && json_count(axis) != 1)
		return 0;
	if (json_kind(axis) == JSON_KIND_ARRAY)
		axis = json_item(axis, 0);
	json_get_int(axis, &given);
	a = attr_set_int("axis", given);
	return c->nin == 1 ? one(c, "Softmax", 0, &a, 1, e) : 0;
}

static const struct {
	const char *class;
	keras_make make;
} layers[] = {
	{"Activation", by_name},
	{"ELU", elu},
	{"LeakyReLU", leaky_relu},
	{"PReLU", prelu},
	{"ReLU", relu},
	{"Softmax", softmax},
	{"ThresholdedReLU", thresholded_relu},
};

int keras_activation_layer(struct keras_call *c, struct err *e)
{
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
		if (strcmp(c->class, layers[i].class) == 0)
			return layers[i].make(c, e);
	return 0;
}
