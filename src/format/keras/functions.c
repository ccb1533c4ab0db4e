/* SPDX-License-Identifier: MIT */
/*
 * functions - functions called on values of a model: in Keras 2 a layer
 * TFOpLambda with the function's name, in Keras 3 a layer of its own class.
 * An argument may be a number.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/keras/call.h"
#include "wire/json.h"

static const struct {
	const char *function, *class, *onnx;
	int nin;
} same[] = {
	{"__operators__.add", "Add", "Add", 2},
	{"abs", "Absolute", "Abs", 1},
	{"clip_by_value", "Clip", "Clip", 3},
	{"math.abs", "Abs", "Abs", 1},
	{"math.add", "Add", "Add", 2},
	{"math.cos", "Cos", "Cos", 1},
	{"math.divide", "Divide", "Div", 2},
	{"math.exp", "Exp", "Exp", 1},
	{"math.log", "Log", "Log", 1},
	{"math.maximum", "Maximum", "Max", 2},
	{"math.minimum", "Minimum", "Min", 2},
	{"math.multiply", "Multiply", "Mul", 2},
	{"math.negative", "Negative", "Neg", 1},
	{"math.pow", "Power", "Pow", 2},
	{"math.sigmoid", "Sigmoid", "Sigmoid", 1},
	{"math.sin", "Sin", "Sin", 1},
	{"math.sqrt", "Sqrt", "Sqrt", 1},
	{"math.subtract", "Subtract", "Sub", 2},
	{"math.tanh", "Tanh", "Tanh", 1},
	{"math.truediv", "TrueDivide", "Div", 2},
	{"nn.relu", "Relu", "Relu", 1},
	{"nn.sigmoid", "Sigmoid", "Sigmoid", 1},
	{"nn.softplus", "Softplus", "Softplus", 1},
	{"nn.tanh", "Tanh", "Tanh", 1},
	{"linalg.matmul", "Matmul", "MatMul", 2},
	{"identity", "Identity", "Identity", 1},
	{"stop_gradient", "StopGradient", "Identity", 1},
};

/* The value of an argument that is no tensor: by its name. */
static const struct json *argument(const struct keras_call *c, const char *key)
{
	const struct json *named = json_member(c->node, "kwargs");

	for (size_t i = 0; !named && i < json_count(c->node) && i < 8; i++)
		if (json_kind(json_item(c->node, i)) == JSON_KIND_OBJECT)
			named = json_item(c->node, i);
	return json_member(named, key);
}

static const char *function_name(const struct keras_call *c)
{
	size_t len;

	if (strcmp(c->class, "TFOpLambda") != 0)
		return NULL;
	return json_get_string(keras_value(c, "function"), &len);
}

/* Tensors and numbers in the order they are given. */
static int gather(struct keras_call *c, value_id *in, size_t n, struct err *e)
{
	uint32_t tensor = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct keras_input *g = &c->given->v[i];
		char what[32];

		snprintf(what, sizeof(what), "number_%zu", i);
		if (g->layer)
			in[i] = c->in[tensor++];
		else
			rc = steps_float(&c->at, what, (float)g->number, &in[i],
					 e);
	}
	return rc;
}

static int call_same(struct keras_call *c, size_t i, struct err *e)
{
	value_id in[3];
	struct step n = {
		.type = same[i].onnx, .in = in, .nin = (uint32_t)same[i].nin};
	int rc;

	if (c->given->n != n.nin)
		return 0;
	rc = gather(c, in, n.nin, e);
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

/* ONNX's number of a type by its name; 0: not known. */
static int64_t type_code(const struct json *v)
{
	static const struct {
		const char *name;
		int64_t code;
	} types[] = {{"bool", 9},     {"float16", 10}, {"float32", 1},
		     {"float64", 11}, {"int16", 5},    {"int32", 6},
		     {"int64", 7},    {"int8", 3},     {"uint8", 2}};
	size_t len;
	const char *name = json_get_string(v, &len);

	for (size_t i = 0; name && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0)
			return types[i].code;
	return 0;
}

static int cast(struct keras_call *c, struct err *e)
{
	struct attr to = attr_set_int("to", type_code(argument(c, "dtype")));
	struct step n = {.type = "Cast",
			 .in = c->in,
			 .nin = 1,
			 .attrs = &to,
			 .nattrs = 1};

	return to.i ? keras_finish(c, &n, e) : 0;
}

#define DEPTH_MAX 65536

/* Rows that compare an index with all there are: an odd one has none. */
static int one_hot(struct keras_call *c, struct err *e)
{
	int64_t depth = 0, last = -1, all[3] = {0, 0, 1};
	value_id range[3], v = NO_VALUE;
	struct attr axes, to64 = attr_set_int("to", 7);
	struct attr to32 = attr_set_int("to", 1);
	struct step cast = {.what = "to_int64",
			    .type = "Cast",
			    .in = c->in,
			    .nin = 1,
			    .attrs = &to64,
			    .nattrs = 1};
	struct step wide = {.what = "wide",
			    .type = "Unsqueeze",
			    .opset = 11,
			    .in = &v,
			    .nin = 1,
			    .attrs = &axes,
			    .nattrs = 1};
	struct step n = {.what = "to_float32",
			 .type = "Cast",
			 .in = &v,
			 .nin = 1,
			 .attrs = &to32,
			 .nattrs = 1};
	struct step count = {
		.what = "columns", .type = "Range", .in = range, .nin = 3};
	int rc;

	if (!json_get_int(argument(c, "depth"), &depth) || depth < 1 ||
	    depth > DEPTH_MAX || type_code(argument(c, "dtype")) != 1 ||
	    argument(c, "on_value") || argument(c, "axis"))
		return 0;
	all[1] = depth;
	rc = attr_set_ints(&c->at, "axes", &last, 1, &axes, e);
	for (size_t i = 0; rc == 0 && i < 3; i++) {
		static const char *const what[] = {"begin", "end", "step"};
		struct attr value = {.name = "value_int",
				     .kind = ATTR_INT,
				     .n = 1,
				     .i = all[i]};
		struct step number = {.what = what[i],
				      .type = "Constant",
				      .attrs = &value,
				      .nattrs = 1};

		rc = steps_inner(&c->at, &number, &range[i], e);
	}
	if (rc == 0)
		rc = steps_inner(&c->at, &cast, &v, e);
	if (rc == 0)
		rc = steps_inner(&c->at, &wide, &v, e);
	if (rc == 0)
		rc = steps_inner(&c->at, &count, &range[0], e);
	if (rc == 0)
		rc = steps_make(&c->at, "equal", "Equal", v, range[0], &v, e);
	if (c->rank >= 0)
		c->out_rank = c->rank + 1;
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

static int softmax(struct keras_call *c, struct err *e)
{
	struct step n = {.type = "Softmax", .in = c->in, .nin = 1};

	return c->given->n == 1 ? keras_finish(c, &n, e) : 0;
}

/* The number of axes stays, or all that is not reduced is lost. */
static int reduce(struct keras_call *c, const char *type, struct err *e)
{
	const struct json *axis = argument(c, "axis");
	int64_t axes[KERAS_RANK_MAX];
	bool keeps = false;
	struct attr a[2];
	size_t n = json_kind(axis) == JSON_KIND_ARRAY ? json_count(axis) : 1;
	struct step s = {.type = type,
			 .opset = 11,
			 .in = c->in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc;

	if (n == 0 || n > KERAS_RANK_MAX)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!json_get_int(json_kind(axis) == JSON_KIND_ARRAY
					  ? json_item(axis, i)
					  : axis,
				  &axes[i]))
			return 0;
	json_get_bool(argument(c, "keepdims"), &keeps);
	rc = attr_set_ints(&c->at, "axes", axes, n, &a[0], e);
	a[1] = attr_set_int("keepdims", keeps);
	if (!keeps && c->rank >= 0)
		c->out_rank = c->rank - (int)n;
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

static int reduce_mean(struct keras_call *c, struct err *e)
{
	return reduce(c, "ReduceMean", e);
}

static int reduce_sum(struct keras_call *c, struct err *e)
{
	return reduce(c, "ReduceSum", e);
}

static int reduce_max(struct keras_call *c, struct err *e)
{
	return reduce(c, "ReduceMax", e);
}

static int square(struct keras_call *c, struct err *e)
{
	value_id in[2] = {c->in[0], c->in[0]};
	struct step n = {.type = "Mul", .in = in, .nin = 2};

	return keras_finish(c, &n, e);
}

static const struct {
	const char *function;
	keras_make make;
} functions[] = {
	{"cast", cast},
	{"math.reduce_max", reduce_max},
	{"math.reduce_mean", reduce_mean},
	{"math.reduce_sum", reduce_sum},
	{"math.square", square},
	{"nn.softmax", softmax},
	{"one_hot", one_hot},
};

int keras_function_layer(struct keras_call *c, struct err *e)
{
	const char *name = function_name(c);

	for (size_t i = 0; name && i < sizeof(functions) / sizeof(*functions);
	     i++)
		if (strcmp(name, functions[i].function) == 0)
			return functions[i].make(c, e);
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (strcmp(name ? name : c->class,
			   name ? same[i].function : same[i].class) == 0)
			return call_same(c, i, e);
	return 0;
}
