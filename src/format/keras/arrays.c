/* SPDX-License-Identifier: MIT */
/* arrays - layers that move, join or scale numbers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/keras/call.h"
#include "wire/json.h"

/* Layers that only do something while a model is trained. */
static int identity(struct keras_call *c, struct err *e)
{
	struct step n = {.type = "Identity", .in = c->in, .nin = 1};

	return keras_finish(c, &n, e);
}

/* ---- shapes ---- */

static int last_reshape(struct keras_call *c, const int64_t *dims, size_t n,
			struct err *e)
{
	struct attr a;
	struct step s = {.type = "Reshape",
			 .opset = 1, /* the shape is an attribute */
			 .in = c->in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&c->at, "shape", dims, n, &a, e);

	c->out_rank = (int)n;
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

/* Channels are the last ones flattened, also where they come first. */
static int flatten(struct keras_call *c, struct err *e)
{
	static const int64_t dims[] = {0, -1};

	if (keras_is(c, "data_format", "channels_first"))
		return 0;
	return last_reshape(c, dims, 2, e);
}

static int reshape(struct keras_call *c, struct err *e)
{
	const struct json *target = keras_value(c, "target_shape");
	int64_t dims[KERAS_RANK_MAX + 1] = {0};
	size_t n = json_count(target);

	if (n > KERAS_RANK_MAX)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!json_get_int(json_item(target, i), &dims[i + 1]))
			return 0;
	return last_reshape(c, dims, n + 1, e);
}

/* dims counts from 1: the batch stays. */
static int permute(struct keras_call *c, struct err *e)
{
	const struct json *dims = keras_value(c, "dims");
	int64_t perm[KERAS_RANK_MAX + 1] = {0};
	size_t n = json_count(dims);
	struct attr a;
	struct step s = {.type = "Transpose",
			 .in = c->in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc;

	if (n == 0 || n > KERAS_RANK_MAX)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!json_get_int(json_item(dims, i), &perm[i + 1]))
			return 0;
	rc = attr_set_ints(&c->at, "perm", perm, n + 1, &a, e);
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

/* [batch, n] → [batch, times, n] */
static int repeat_vector(struct keras_call *c, struct err *e)
{
	int64_t times[3] = {1, keras_int(c, "n", 1), 1}, axis = 1;
	value_id in[2];
	struct attr a;
	struct step wide = {.what = "wide",
			    .type = "Unsqueeze",
			    .opset = 11,
			    .in = c->in,
			    .nin = 1,
			    .attrs = &a,
			    .nattrs = 1};
	struct step n = {.what = "tile", .type = "Tile", .in = in, .nin = 2};
	int rc = attr_set_ints(&c->at, "axes", &axis, 1, &a, e);

	if (rc == 0)
		rc = steps_inner(&c->at, &wide, &in[0], e);
	if (rc == 0)
		rc = steps_ints(&c->at, "times", times, 3, &in[1], e);
	c->out_rank = 3;
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

/* ---- several inputs ---- */

static int concatenate(struct keras_call *c, struct err *e)
{
	struct attr a = attr_set_int("axis", keras_int(c, "axis", -1));
	struct step n = {.type = "Concat",
			 .in = c->in,
			 .nin = c->nin,
			 .attrs = &a,
			 .nattrs = 1};

	return keras_finish(c, &n, e);
}

static const struct {
	const char *class, *onnx;
	bool is_pair; /* takes two inputs, and may take a number */
} merges[] = {
	{"Add", "Sum", false},	   {"Average", "Mean", false},
	{"Maximum", "Max", false}, {"Minimum", "Min", false},
	{"Multiply", "Mul", true}, {"Subtract", "Sub", true},
};

/* One after the other: ONNX's Mul takes two. */
static int merge_pairs(struct keras_call *c, const char *type, struct err *e)
{
	value_id v = c->in[0];
	int rc = 0;

	for (uint32_t i = 1; rc == 0 && i + 1 < c->nin; i++) {
		char what[32];

		snprintf(what, sizeof(what), "step_%u", i);
		rc = steps_make(&c->at, what, type, v, c->in[i], &v, e);
	}
	if (rc == 0) {
		value_id in[2] = {v, c->in[c->nin - 1]};
		struct step n = {.type = type, .in = in, .nin = 2};

		return keras_finish(c, &n, e);
	}
	return rc;
}

static int merge(struct keras_call *c, size_t i, struct err *e)
{
	struct step n = {.type = merges[i].onnx, .in = c->in, .nin = c->nin};

	if (c->nin < 2 || c->given->n != c->nin)
		return 0;
	return merges[i].is_pair ? merge_pairs(c, merges[i].onnx, e)
				 : keras_finish(c, &n, e);
}

/* The axis that is summed over, of an input; -1 for none. */
static int dot_axis(const struct keras_call *c, size_t input, int rank)
{
	const struct json *v = keras_value(c, "axes");
	int64_t axis = 0;

	if (json_kind(v) == JSON_KIND_ARRAY)
		v = json_item(v, input);
	if (!json_get_int(v, &axis) || rank < 2 || rank > 4)
		return -1;
	axis += axis < 0 ? rank : 0;
	return axis < 1 || axis >= rank ? -1 : (int)axis;
}

/* "abc,adc->abd": the batch is a, what is summed over s. */
static bool dot_equation(const int rank[2], const int axis[2], char *out)
{
	char rest[8];
	size_t n = 0;
	char next = 'b';

	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < rank[i]; k++) {
			char letter = k == 0 ? 'a' : k == axis[i] ? 's' : next;

			if (letter == next && k > 0) {
				rest[n++] = next;
				next++;
			}
			*out++ = letter;
		}
		*out++ = i == 0 ? ',' : '-';
	}
	*out++ = '>';
	*out++ = 'a';
	memcpy(out, rest, n);
	out[n] = '\0';
	return n > 0;
}

/* A single number for each pair keeps an axis of its own. */
static int dot_of_vectors(struct keras_call *c, struct err *e)
{
	int64_t axis = 1;
	value_id v;
	struct attr a[2] = {{0}, attr_set_int("keepdims", 1)};
	struct step sum = {.what = "sum",
			   .type = "ReduceSum",
			   .opset = 11, /* the axes are an attribute */
			   .in = &v,
			   .nin = 1,
			   .attrs = a,
			   .nattrs = 2};
	int rc = steps_make(&c->at, "products", "Mul", c->in[0], c->in[1], &v,
			    e);

	if (rc == 0)
		rc = attr_set_ints(&c->at, "axes", &axis, 1, &a[0], e);
	c->out_rank = 2;
	return rc < 0 ? rc : keras_finish(c, &sum, e);
}

/* Sums of products over an axis of each. */
static int dot(struct keras_call *c, struct err *e)
{
	int rank[2], axis[2];
	char equation[32];
	struct attr a = {0};
	struct step n = {.type = "Einsum",
			 .in = c->in,
			 .nin = 2,
			 .attrs = &a,
			 .nattrs = 1};
	char *text;

	if (c->nin != 2 || keras_flag(c, "normalize", false))
		return 0;
	for (size_t i = 0; i < 2; i++) {
		rank[i] = keras_rank(c->kg, c->in[i]);
		axis[i] = dot_axis(c, i, rank[i]);
		if (axis[i] < 0)
			return 0;
	}
	if (!dot_equation(rank, axis, equation))
		return dot_of_vectors(c, e);
	text = arena_strndup(c->at.m->arena, equation, strlen(equation));
	if (!text)
		return err_nomem(e, 0);
	a = attr_set_text("equation", text);
	c->out_rank = rank[0] + rank[1] - 3;
	return keras_finish(c, &n, e);
}

/* ---- scales ---- */

static bool real_list(const struct json *v, float *out, size_t max, size_t *n)
{
	double d;

	if (json_get_real(v, &d)) {
		out[0] = (float)d;
		*n = 0; /* a single number */
		return true;
	}
	*n = json_count(v);
	if (json_kind(v) != JSON_KIND_ARRAY || *n == 0 || *n > max)
		return false;
	for (size_t i = 0; i < *n; i++) {
		if (!json_get_real(json_item(v, i), &d))
			return false;
		out[i] = (float)d;
	}
	return true;
}

static int make_numbers(struct keras_call *c, const char *what, const float *v,
			size_t n, value_id *out, struct err *e)
{
	return n == 0 ? steps_float(&c->at, what, v[0], out, e)
		      : steps_floats(&c->at, what, v, n, out, e);
}

#define CHANNELS_MAX 64

static int rescaling(struct keras_call *c, struct err *e)
{
	float scale[CHANNELS_MAX], offset[CHANNELS_MAX] = {0};
	const struct json *off = keras_value(c, "offset");
	size_t nscale, noffset = 0;
	struct attr to = attr_set_int("to", 1); /* float32 */
	struct step cast = {.what = "to_float32",
			    .type = "Cast",
			    .in = c->in,
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};
	value_id x, factor, in[2];
	struct step n = {.what = "shift", .type = "Add", .in = in, .nin = 2};
	int rc;

	if (!real_list(keras_value(c, "scale"), scale, CHANNELS_MAX, &nscale))
		return 0;
	if (off && !real_list(off, offset, CHANNELS_MAX, &noffset))
		return 0;
	rc = steps_inner(&c->at, &cast, &x, e);
	if (rc == 0)
		rc = make_numbers(c, "scale", scale, nscale, &factor, e);
	if (rc == 0)
		rc = make_numbers(c, "offset", offset, noffset, &in[1], e);
	if (rc == 0)
		rc = steps_make(&c->at, "scaled", "Mul", x, factor, &in[0], e);
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

/* Steps that are all mask_value become zeros. */
static int masking(struct keras_call *c, struct err *e)
{
	const struct json *given = keras_value(c, "mask_value");
	const struct json *inner = json_member(given, "config");
	double number = 0;
	int64_t axis = -1;
	struct attr a[2] = {{0}, attr_set_int("keepdims", 1)};
	struct attr to = attr_set_int("to", 1); /* float32 */
	value_id value, v = NO_VALUE, in[2];
	struct step cast = {.what = "differs",
			    .type = "Cast",
			    .in = &v,
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};
	struct step any = {.what = "any",
			   .type = "ReduceMax",
			   .opset = 11,
			   .in = &v,
			   .nin = 1,
			   .attrs = a,
			   .nattrs = 2};
	struct step n = {.what = "masked", .type = "Mul", .in = in, .nin = 2};
	int rc;

	if (inner)
		given = json_member(inner, "value");
	if (json_kind(given) == JSON_KIND_ARRAY)
		given = json_item(given, 0);
	json_get_real(given, &number);
	rc = steps_float(&c->at, "mask_value", (float)number, &value, e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "axes", &axis, 1, &a[0], e);
	if (rc == 0)
		rc = steps_make(&c->at, "equal", "Equal", c->in[0], value, &v,
				e);
	if (rc == 0)
		rc = steps_make(&c->at, "not", "Not", v, NO_VALUE, &v, e);
	if (rc == 0)
		rc = steps_inner(&c->at, &cast, &v, e);
	if (rc == 0)
		rc = steps_inner(&c->at, &any, &in[1], e);
	in[0] = c->in[0];
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

static const struct {
	const char *class;
	keras_make make;
} layers[] = {
	{"ActivityRegularization", identity},
	{"AlphaDropout", identity},
	{"Concatenate", concatenate},
	{"Dot", dot},
	{"Dropout", identity},
	{"Flatten", flatten},
	{"GaussianDropout", identity},
	{"GaussianNoise", identity},
	{"Identity", identity},
	{"Masking", masking},
	{"Permute", permute},
	{"RandomBrightness", identity},
	{"RandomContrast", identity},
	{"RandomFlip", identity},
	{"RandomHeight", identity},
	{"RandomRotation", identity},
	{"RandomTranslation", identity},
	{"RandomWidth", identity},
	{"RandomZoom", identity},
	{"RepeatVector", repeat_vector},
	{"Rescaling", rescaling},
	{"Reshape", reshape},
	{"SpatialDropout1D", identity},
	{"SpatialDropout2D", identity},
	{"SpatialDropout3D", identity},
};

int keras_array_layer(struct keras_call *c, struct err *e)
{
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
		if (strcmp(c->class, layers[i].class) == 0)
			return layers[i].make(c, e);
	for (size_t i = 0; i < sizeof(merges) / sizeof(merges[0]); i++)
		if (strcmp(c->class, merges[i].class) == 0)
			return merge(c, i, e);
	return 0;
}
