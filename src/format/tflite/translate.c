/* SPDX-License-Identifier: MIT */
/*
 * translate - operators that ONNX has, too.
 *
 * Images are laid out as batch, height, width, channel, kernels as output,
 * height, width, input: they are turned around on the way in and out.  The
 * tensors of the file keep their names and layouts.
 */
#include "format/tflite/translate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"

/* ---- building ---- */

int tflite_step(struct tflite_make *k, struct step *s, bool is_last,
		value_id *out, struct err *e)
{
	if (!is_last)
		return steps_inner(&k->at, s, out, e);
	s->out = k->out;
	s->nout = 1;
	*out = k->out[0];
	return steps_node(&k->at, s, e);
}

int tflite_turn(struct tflite_make *k, const char *what, const int64_t *perm,
		size_t rank, value_id in, bool is_last, value_id *out,
		struct err *e)
{
	struct attr a;
	struct step s = {.what = what,
			 .type = "Transpose",
			 .in = &in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&k->at, "perm", perm, rank, &a, e);

	return rc < 0 ? rc : tflite_step(k, &s, is_last, out, e);
}

int tflite_reshape(struct tflite_make *k, const char *what, value_id in,
		   const int64_t *dims, size_t n, value_id *out, struct err *e)
{
	struct attr shape;
	struct step s = {.what = what,
			 .type = "Reshape",
			 .opset = 1, /* the shape is an attribute */
			 .in = &in,
			 .nin = 1,
			 .attrs = &shape,
			 .nattrs = 1};
	int rc = attr_set_ints(&k->at, "shape", dims, n, &shape, e);

	return rc < 0 ? rc : steps_inner(&k->at, &s, out, e);
}

/* ---- fused activations ---- */

bool tflite_can_activate(int64_t activation)
{
	return activation >= TFLITE_NONE && activation <= TFLITE_TANH;
}

int tflite_activate(struct tflite_make *k, int64_t activation, value_id in,
		    struct err *e)
{
	struct attr a[] = {
		attr_set_float("min", activation == TFLITE_RELU_1 ? -1 : 0),
		attr_set_float("max", activation == TFLITE_RELU_1 ? 1 : 6)};
	struct step s = {.what = "activation", .in = &in, .nin = 1};
	value_id out;

	s.type = activation == TFLITE_TANH ? "Tanh" : "Relu";
	if (activation == TFLITE_RELU_1 || activation == TFLITE_RELU_6) {
		s.type = "Clip";
		s.opset = 6; /* the limits are attributes */
		s.attrs = a;
		s.nattrs = 2;
	}
	return tflite_step(k, &s, true, &out, e);
}

int tflite_finish(struct tflite_make *k, struct step *s, int64_t activation,
		  struct err *e)
{
	bool is_last = activation == TFLITE_NONE || k->is_bare;
	value_id out;
	int rc = tflite_step(k, s, is_last, &out, e);

	if (rc == 0 && !is_last)
		rc = tflite_activate(k, activation, out, e);
	return rc < 0 ? rc : 1;
}

/* ---- what is known ---- */

bool tflite_has(const struct tflite_make *k, uint32_t input)
{
	return input < k->nin && k->given[input] != NO_VALUE;
}

const struct param *tflite_constant(const struct tflite_make *k, uint32_t i)
{
	return tflite_has(k, i) ? k->at.g->values[k->given[i]].param : NULL;
}

int64_t tflite_option(struct tflite_make *k, unsigned field, size_t width,
		      int64_t def)
{
	return flatbuf_int(k->f, &k->options, field, width, def);
}

const struct tensor *tflite_type(const struct tflite_make *k, value_id v)
{
	const struct tensor *t = v == NO_VALUE ? NULL : k->at.g->values[v].type;

	return t && t->shape.rank >= 0 ? t : NULL;
}

const struct shape *tflite_extents(const struct tflite_make *k, uint32_t input,
				   int32_t rank)
{
	const struct tensor *t =
		tflite_has(k, input) ? tflite_type(k, k->given[input]) : NULL;

	return t && t->shape.rank == rank && shape_is_known(&t->shape)
		       ? &t->shape
		       : NULL;
}

bool tflite_ints(const struct tflite_make *k, uint32_t input, int64_t *out,
		 size_t *n)
{
	const struct param *p = tflite_constant(k, input);
	int64_t given[TFLITE_INTS_MAX];
	size_t size = p && p->dtype == DTYPE_I32   ? 4
		      : p && p->dtype == DTYPE_I64 ? 8
						   : 0;

	if (size == 0 || p->data->size > size * TFLITE_INTS_MAX ||
	    blob_read_full(p->data, given, p->data->size, 0, NULL) < 0)
		return false;
	*n = p->data->size / size;
	for (size_t i = 0; i < *n; i++) {
		int32_t narrow;

		memcpy(&narrow, (const char *)given + 4 * i, 4);
		out[i] = size == 4 ? narrow : given[i];
	}
	return true;
}

/* ---- one operator for one ---- */

static const struct {
	const char *tflite, *onnx;
	int opset;
	uint8_t nin;
	bool is_fused; /* option 0 is an activation */
} same[] = {
	{"ABS", "Abs", 0, 1, false},
	{"ADD", "Add", 0, 2, true},
	{"CEIL", "Ceil", 0, 1, false},
	{"COS", "Cos", 0, 1, false},
	{"DIV", "Div", 0, 2, true},
	{"ELU", "Elu", 0, 1, false},
	{"EQUAL", "Equal", 0, 2, false},
	{"EXP", "Exp", 0, 1, false},
	{"FLOOR", "Floor", 0, 1, false},
	{"GREATER", "Greater", 0, 2, false},
	{"GREATER_EQUAL", "GreaterOrEqual", 0, 2, false},
	{"HARD_SWISH", "HardSwish", 14, 1, false},
	{"LESS", "Less", 0, 2, false},
	{"LESS_EQUAL", "LessOrEqual", 0, 2, false},
	{"LOG", "Log", 0, 1, false},
	{"LOGICAL_AND", "And", 0, 2, false},
	{"LOGICAL_NOT", "Not", 0, 1, false},
	{"LOGICAL_OR", "Or", 0, 2, false},
	{"LOGISTIC", "Sigmoid", 0, 1, false},
	{"LOG_SOFTMAX", "LogSoftmax", 0, 1, false},
	{"MAXIMUM", "Max", 0, 2, false},
	{"MINIMUM", "Min", 0, 2, false},
	{"MUL", "Mul", 0, 2, true},
	{"NEG", "Neg", 0, 1, false},
	{"POW", "Pow", 0, 2, false},
	{"PRELU", "PRelu", 0, 2, false},
	{"RELU", "Relu", 0, 1, false},
	{"ROUND", "Round", 0, 1, false},
	{"SELECT", "Where", 0, 3, false},
	{"SELECT_V2", "Where", 0, 3, false},
	{"SIGN", "Sign", 0, 1, false},
	{"SIN", "Sin", 0, 1, false},
	{"SQRT", "Sqrt", 0, 1, false},
	{"SUB", "Sub", 0, 2, true},
	{"TANH", "Tanh", 0, 1, false},
};

static int make_same(struct tflite_make *k, struct err *e)
{
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		struct step s = {.what = "compute",
				 .type = same[i].onnx,
				 .opset = same[i].opset,
				 .in = k->in,
				 .nin = k->nin};
		int64_t activation = 0;

		if (strcmp(k->type.p, same[i].tflite) != 0 ||
		    k->nin != same[i].nin)
			continue;
		if (same[i].is_fused)
			activation = tflite_option(k, 0, 1, 0);
		if (activation == TFLITE_NONE || k->is_bare)
			s.what = NULL;
		return tflite_can_activate(activation)
			       ? tflite_finish(k, &s, activation, e)
			       : 0;
	}
	return 0;
}

/* ---- short compositions ---- */

static int last(struct tflite_make *k, const char *type, value_id a, value_id b,
		struct err *e)
{
	value_id in[] = {a, b};
	struct step s = {.what = "compute",
			 .type = type,
			 .in = in,
			 .nin = b == NO_VALUE ? 1 : 2};

	return tflite_finish(k, &s, TFLITE_NONE, e);
}

static int make_rsqrt(struct tflite_make *k, struct err *e)
{
	value_id root;
	int rc = steps_make(&k->at, "root", "Sqrt", k->in[0], NO_VALUE, &root,
			    e);

	return rc < 0 ? rc : last(k, "Reciprocal", root, NO_VALUE, e);
}

static int make_square(struct tflite_make *k, struct err *e)
{
	value_id v = k->in[0];
	int rc = 0;

	if (k->nin == 2)
		rc = steps_make(&k->at, "difference", "Sub", k->in[0], k->in[1],
				&v, e);
	return rc < 0 ? rc : last(k, "Mul", v, v, e);
}

static int make_not_equal(struct tflite_make *k, struct err *e)
{
	value_id v;
	int rc;

	if (k->nin != 2)
		return 0;
	rc = steps_make(&k->at, "equal", "Equal", k->in[0], k->in[1], &v, e);
	return rc < 0 ? rc : last(k, "Not", v, NO_VALUE, e);
}

static int make_floor_div(struct tflite_make *k, struct err *e)
{
	value_id v;
	int rc;

	if (k->nin != 2 || k->at.g->values[k->given[0]].dtype != DTYPE_F32)
		return 0;
	rc = steps_make(&k->at, "quotient", "Div", k->in[0], k->in[1], &v, e);
	return rc < 0 ? rc : last(k, "Floor", v, NO_VALUE, e);
}

static int make_relu_limited(struct tflite_make *k, struct err *e)
{
	bool is_6 = strcmp(k->type.p, "RELU6") == 0;
	int rc;

	if (k->nin != 1)
		return 0;
	rc = tflite_activate(k, is_6 ? TFLITE_RELU_6 : TFLITE_RELU_1, k->in[0],
			     e);
	return rc < 0 ? rc : 1;
}

static int make_leaky_relu(struct tflite_make *k, struct err *e)
{
	struct attr a =
		attr_set_float("alpha", flatbuf_float(k->f, &k->options, 0, 0));
	struct step s = {.type = "LeakyRelu",
			 .in = k->in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};

	return tflite_finish(k, &s, TFLITE_NONE, e);
}

static int make_gelu(struct tflite_make *k, struct err *e)
{
	struct attr a = attr_set_text(
		"approximate", tflite_option(k, 0, 1, 0) ? "tanh" : "none");
	struct step s = {.type = "Gelu",
			 .opset = 20,
			 .in = k->in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};

	return tflite_finish(k, &s, TFLITE_NONE, e);
}

static int make_softmax(struct tflite_make *k, struct err *e)
{
	float beta = flatbuf_float(k->f, &k->options, 0, 0);
	value_id factor, v = k->in[0];
	int rc = 0;

	if (beta != 1)
		rc = steps_float(&k->at, "beta", beta, &factor, e);
	if (rc == 0 && beta != 1)
		rc = steps_make(&k->at, "scaled", "Mul", v, factor, &v, e);
	return rc < 0 ? rc : last(k, "Softmax", v, NO_VALUE, e);
}

/* x / sqrt(max(sum of squares, 1e-6)), over the last axis. */
static int make_l2_norm(struct tflite_make *k, struct err *e)
{
	int64_t axis = -1;
	struct attr a[2] = {{0}, attr_set_int("keepdims", 1)};
	value_id v, least;
	struct step sum = {.what = "sum",
			   .type = "ReduceSumSquare",
			   .opset = 11,
			   .in = k->in,
			   .nin = 1,
			   .attrs = a,
			   .nattrs = 2};
	int rc = attr_set_ints(&k->at, "axes", &axis, 1, &a[0], e);

	if (rc == 0)
		rc = steps_inner(&k->at, &sum, &v, e);
	if (rc == 0)
		rc = steps_float(&k->at, "least", 1e-6f, &least, e);
	if (rc == 0)
		rc = steps_make(&k->at, "limited", "Max", v, least, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "norm", "Sqrt", v, NO_VALUE, &v, e);
	return rc < 0 ? rc : last(k, "Div", k->in[0], v, e);
}

/* ---- which function makes which ---- */

static const struct tflite_handled makers[] = {
	{"AVERAGE_POOL_2D", tflite_make_pool, HANDLE_RAW, 1},
	{"BATCH_MATMUL", tflite_make_product, HANDLE_FLOAT, 0},
	{"BATCH_TO_SPACE_ND", tflite_make_space_batch, HANDLE_MOVE, 1},
	{"CONV_2D", tflite_make_conv, HANDLE_SUMS, 3},
	{"DEPTHWISE_CONV_2D", tflite_make_conv, HANDLE_SUMS, 3},
	{"DEPTH_TO_SPACE", tflite_make_depth_space, HANDLE_MOVE, 1},
	{"DEQUANTIZE", tflite_make_dequantize, HANDLE_OWN, 1},
	{"FLOOR_DIV", make_floor_div, HANDLE_FLOAT, 0},
	{"FULLY_CONNECTED", tflite_make_dense, HANDLE_SUMS, 3},
	{"GELU", make_gelu, HANDLE_FLOAT, 0},
	{"IF", tflite_make_if, HANDLE_OWN, 0},
	{"L2_NORMALIZATION", make_l2_norm, HANDLE_FLOAT, 0},
	{"LEAKY_RELU", make_leaky_relu, HANDLE_FLOAT, 0},
	{"MAX_POOL_2D", tflite_make_pool, HANDLE_MOVE, 1},
	{"NOT_EQUAL", make_not_equal, HANDLE_FLOAT, 0},
	{"QUANTIZE", tflite_make_quantize, HANDLE_OWN, 1},
	{"RELU6", make_relu_limited, HANDLE_FLOAT, 0},
	{"RELU_N1_TO_1", make_relu_limited, HANDLE_FLOAT, 0},
	{"RESIZE_BILINEAR", tflite_make_resize, HANDLE_FLOAT, 1},
	{"RESIZE_NEAREST_NEIGHBOR", tflite_make_resize, HANDLE_MOVE, 1},
	{"RSQRT", make_rsqrt, HANDLE_FLOAT, 0},
	{"SOFTMAX", make_softmax, HANDLE_FLOAT, 0},
	{"SPACE_TO_BATCH_ND", tflite_make_space_batch, HANDLE_FLOAT, 1},
	{"SPACE_TO_DEPTH", tflite_make_depth_space, HANDLE_MOVE, 1},
	{"SQUARE", make_square, HANDLE_FLOAT, 0},
	{"SQUARED_DIFFERENCE", make_square, HANDLE_FLOAT, 0},
	{"SVDF", tflite_make_svdf, HANDLE_OWN, 0},
	{"TRANSPOSE_CONV", tflite_make_conv_transpose, HANDLE_OWN, 0},
	{"UNIDIRECTIONAL_SEQUENCE_LSTM", tflite_make_lstm, HANDLE_OWN, 0},
	{"WHILE", tflite_make_while, HANDLE_OWN, 0},
	{0},
};

static const struct tflite_handled *const tables[] = {
	makers, tflite_array_makers, tflite_more_makers};

static const struct tflite_handled *find_maker(const char *type)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct tflite_handled *h = tables[t]; h->type; h++)
			if (strcmp(type, h->type) == 0)
				return h;
	return NULL;
}

int tflite_translate(struct tflite_make *k, struct err *e)
{
	const struct tflite_handled *h;

	if (k->nout == 0 || k->out[0] == NO_VALUE || k->nin == 0 ||
	    k->in[0] == NO_VALUE)
		return 0;
	h = find_maker(k->type.p);
	if (h)
		return tflite_wrap(k, h->how, h->nvalues, h->make, e);
	return tflite_wrap(k, HANDLE_FLOAT, 0, make_same, e);
}
