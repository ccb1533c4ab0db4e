/* SPDX-License-Identifier: MIT */
/*
 * translate - operators on floats that ONNX has, too.
 *
 * Images are laid out as batch, height, width, channel, kernels as output,
 * height, width, input: they are turned around on the way in and out.  The
 * tensors of the file keep their names and layouts.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/text.h"

#include "format/tflite/translate.h"

#define OPSET 13
/* Extents, or pairs of them. */
#define INTS_MAX (2 * SHAPE_RANK_MAX)

/* ---- building ---- */

static int inner(struct tflite_make *k, const char *what, value_id *out,
		 struct err *e)
{
	struct text name = {0};
	int rc;

	text_printf(&name, "%s:%s", k->name.p, what);
	rc = name.failed ? err_nomem(e, 0)
			 : graph_value(k->g, name.p, name.len, out, e);
	text_free(&name);
	return rc;
}

struct step {
	const char *what; /* beneath the operator's module; NULL: that one */
	const char *type;
	int opset; /* 0: OPSET */
	const value_id *in;
	uint32_t nin;
	value_id out;
	const struct attr *attrs;
	uint32_t nattrs;
};

static int add_step(struct tflite_make *k, const struct step *s, struct err *e)
{
	struct module *mod = k->module;
	struct text name = {0};
	struct node *n;
	int rc = 0;

	if (s->what)
		rc = model_module(k->m, mod, s->what, strlen(s->what), &mod, e);
	text_printf(&name, "%s%s%s", k->name.p, s->what ? "/" : "",
		    s->what ? s->what : "");
	if (rc == 0 && name.failed)
		rc = err_nomem(e, 0);
	if (rc == 0)
		rc = graph_node(k->g, name.p, "", s->type, s->nin, 1, s->nattrs,
				&n, e);
	text_free(&name);
	if (rc < 0)
		return rc;
	n->opset = s->opset ? s->opset : OPSET;
	n->module = mod;
	mod->is_node = true;
	n->out[0] = s->out;
	for (uint32_t i = 0; i < s->nin; i++)
		n->in[i] = s->in[i];
	for (uint32_t i = 0; i < s->nattrs; i++)
		n->attrs[i] = s->attrs[i];
	if (s->what && model_type(k->m, mod, s->type, strlen(s->type)) < 0)
		return err_nomem(e, 0);
	return 0;
}

/* A step that makes an inner value, or the operator's own as the last. */
static int step_to(struct tflite_make *k, struct step *s, bool is_last,
		   value_id *out, struct err *e)
{
	int rc = 0;

	s->out = k->out[0];
	if (!is_last)
		rc = inner(k, s->what, &s->out, e);
	*out = s->out;
	return rc < 0 ? rc : add_step(k, s, e);
}

static int set_ints(struct tflite_make *k, const char *name, const int64_t *v,
		    size_t n, struct attr *out, struct err *e)
{
	int64_t *copy = arena_array(k->m->arena, n + 1, sizeof(*copy));

	if (!copy)
		return err_nomem(e, n * sizeof(*copy));
	memcpy(copy, v, n * sizeof(*copy));
	*out = (struct attr){
		.name = name, .kind = ATTR_INTS, .n = n, .ints = copy};
	return 0;
}

static struct attr set_int(const char *name, int64_t v)
{
	return (struct attr){.name = name, .kind = ATTR_INT, .n = 1, .i = v};
}

static struct attr set_float(const char *name, float v)
{
	return (struct attr){.name = name, .kind = ATTR_FLOAT, .n = 1, .f = v};
}

static struct attr set_text(const char *name, const char *v)
{
	return (struct attr){
		.name = name, .kind = ATTR_STRING, .n = 1, .s = {v, strlen(v)}};
}

static int turn(struct tflite_make *k, const char *what, const int64_t *perm,
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
	int rc = set_ints(k, "perm", perm, rank, &a, e);

	return rc < 0 ? rc : step_to(k, &s, is_last, out, e);
}

/* ---- fused activations ---- */

enum activation {
	ACTIVATION_NONE,
	ACTIVATION_RELU,
	ACTIVATION_RELU_1,
	ACTIVATION_RELU_6,
	ACTIVATION_TANH
};

static bool is_known(int64_t activation)
{
	return activation >= ACTIVATION_NONE && activation <= ACTIVATION_TANH;
}

/* The operator's output from a value before its activation. */
static int activate(struct tflite_make *k, int64_t activation, value_id in,
		    struct err *e)
{
	struct attr a[] = {
		set_float("min", activation == ACTIVATION_RELU_1 ? -1 : 0),
		set_float("max", activation == ACTIVATION_RELU_1 ? 1 : 6)};
	struct step s = {.what = "activation", .in = &in, .nin = 1};
	value_id out;

	s.type = activation == ACTIVATION_TANH ? "Tanh" : "Relu";
	if (activation == ACTIVATION_RELU_1 ||
	    activation == ACTIVATION_RELU_6) {
		s.type = "Clip";
		s.opset = 6; /* the limits are attributes */
		s.attrs = a;
		s.nattrs = 2;
	}
	return step_to(k, &s, true, &out, e);
}

static int finish(struct tflite_make *k, struct step *s, int64_t activation,
		  struct err *e)
{
	bool is_last = activation == ACTIVATION_NONE;
	value_id out;
	int rc = step_to(k, s, is_last, &out, e);

	if (rc == 0 && !is_last)
		rc = activate(k, activation, out, e);
	return rc < 0 ? rc : 1;
}

/* The parameter that an input is; NULL for anything else. */
static const struct param *constant(const struct tflite_make *k, uint32_t input)
{
	if (input >= k->nin || k->in[input] == NO_VALUE)
		return NULL;
	return k->g->values[k->in[input]].param;
}

static int64_t option(struct tflite_make *k, unsigned field, size_t width,
		      int64_t def)
{
	return flatbuf_int(k->f, &k->options, field, width, def);
}

/* ---- images ---- */

static const int64_t to_nchw[] = {0, 3, 1, 2};
static const int64_t to_nhwc[] = {0, 2, 3, 1};
static const int64_t depthwise_kernel[] = {3, 0, 1, 2};

/* The image is turned, computed, turned back, and activated. */
static int compute(struct tflite_make *k, struct step *s, value_id *in,
		   int64_t activation, struct err *e)
{
	bool is_last = activation == ACTIVATION_NONE;
	value_id out = NO_VALUE, back = NO_VALUE;
	int rc = turn(k, "to_nchw", to_nchw, 4, k->in[0], false, &in[0], e);

	s->what = "compute";
	s->in = in;
	if (rc == 0)
		rc = step_to(k, s, false, &out, e);
	if (rc == 0)
		rc = turn(k, "to_nhwc", to_nhwc, 4, out, is_last, &back, e);
	if (rc == 0 && !is_last)
		rc = activate(k, activation, back, e);
	return rc < 0 ? rc : 1;
}

static struct attr padding(int64_t v)
{
	return set_text("auto_pad", v == 0 ? "SAME_UPPER" : "VALID");
}

static int conv(struct tflite_make *k, struct err *e)
{
	bool is_deep = strcmp(k->type.p, "DEPTHWISE_CONV_2D") == 0;
	int64_t strides[] = {option(k, 2, 4, 1), option(k, 1, 4, 1)};
	int64_t activation = option(k, is_deep ? 4 : 3, 1, 0);
	int64_t dilations[] = {option(k, is_deep ? 6 : 5, 4, 1),
			       option(k, is_deep ? 5 : 4, 4, 1)};
	const struct param *kernel = constant(k, 1);
	struct attr a[4] = {padding(option(k, 0, 1, 0))};
	struct step s = {.type = "Conv", .attrs = a, .nattrs = 3};
	value_id in[3];
	int rc;

	if (!is_known(activation) || k->nin > 3 || !kernel || kernel->rank != 4)
		return 0;
	in[2] = k->nin == 3 ? k->in[2] : NO_VALUE;
	s.nin = in[2] == NO_VALUE ? 2 : 3;
	if (is_deep)
		a[s.nattrs++] = set_int("group", 0);
	if (is_deep) {
		const struct tensor *type = k->g->values[k->in[0]].type;

		/* Kernels of several outputs per channel say it by the input. */
		if (!type || type->shape.rank != 4 || type->shape.dims[3] < 1)
			return 0;
		a[3].i = type->shape.dims[3];
	}
	rc = set_ints(k, "strides", strides, 2, &a[1], e);
	if (rc == 0)
		rc = set_ints(k, "dilations", dilations, 2, &a[2], e);
	if (rc == 0)
		rc = turn(k, "kernel_to_nchw",
			  is_deep ? depthwise_kernel : to_nchw, 4, k->in[1],
			  false, &in[1], e);
	return rc < 0 ? rc : compute(k, &s, in, activation, e);
}

static int pool(struct tflite_make *k, struct err *e)
{
	bool is_max = strcmp(k->type.p, "MAX_POOL_2D") == 0;
	int64_t strides[] = {option(k, 2, 4, 1), option(k, 1, 4, 1)};
	int64_t kernel[] = {option(k, 4, 4, 1), option(k, 3, 4, 1)};
	int64_t activation = option(k, 5, 1, 0);
	struct attr a[3] = {padding(option(k, 0, 1, 0))};
	struct step s = {.type = is_max ? "MaxPool" : "AveragePool",
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 3};
	value_id in[1];
	int rc;

	if (!is_known(activation) || k->nin != 1)
		return 0;
	rc = set_ints(k, "strides", strides, 2, &a[1], e);
	if (rc == 0)
		rc = set_ints(k, "kernel_shape", kernel, 2, &a[2], e);
	return rc < 0 ? rc : compute(k, &s, in, activation, e);
}

/* ---- matrices ---- */

/* [.., n] becomes [batch, n] where the kernel is [outputs, n]. */
static int fully_connected(struct tflite_make *k, struct err *e)
{
	static const int64_t swap[] = {1, 0};
	const struct param *kernel = constant(k, 1);
	int64_t activation = option(k, 0, 1, 0);
	bool keeps = option(k, 2, 1, 0), has_bias;
	struct attr shape;
	value_id in[2], out = NO_VALUE;
	struct step s = {.what = "flat",
			 .type = "Reshape",
			 .opset = 1, /* the shape is an attribute */
			 .in = k->in,
			 .nin = 1,
			 .attrs = &shape,
			 .nattrs = 1};
	int rc;

	if (!kernel || kernel->rank != 2 || !is_known(activation) ||
	    option(k, 1, 1, 0) != 0 || keeps)
		return 0;
	has_bias = k->nin == 3 && k->in[2] != NO_VALUE;
	rc = set_ints(k, "shape", (const int64_t[]){-1, kernel->dims[1]}, 2,
		      &shape, e);
	if (rc == 0)
		rc = step_to(k, &s, false, &in[0], e);
	if (rc == 0)
		rc = turn(k, "kernel_t", swap, 2, k->in[1], false, &in[1], e);
	if (rc < 0)
		return rc;
	s = (struct step){
		.what = "product", .type = "MatMul", .in = in, .nin = 2};
	if (!has_bias)
		return finish(k, &s, activation, e);
	rc = step_to(k, &s, false, &out, e);
	if (rc < 0)
		return rc;
	in[0] = out;
	in[1] = k->in[2];
	s = (struct step){.what = "sum", .type = "Add", .in = in, .nin = 2};
	return finish(k, &s, activation, e);
}

/* ---- the rest ---- */

/* Whole numbers that a constant input holds, up to INTS_MAX of them. */
static bool find_ints(const struct tflite_make *k, uint32_t input, int64_t *out,
		      size_t *n)
{
	const struct param *p = constant(k, input);
	int32_t given[INTS_MAX];

	if (!p || p->dtype != DTYPE_I32 || p->data->size > sizeof(given) ||
	    blob_read_full(p->data, given, p->data->size, 0, NULL) < 0)
		return false;
	*n = p->data->size / sizeof(*given);
	for (size_t i = 0; i < *n; i++)
		out[i] = given[i];
	return true;
}

/* One input and the numbers of the other as an attribute. */
static int with_ints(struct tflite_make *k, struct step *s, struct attr *a,
		     const char *name, struct err *e)
{
	int64_t v[INTS_MAX];
	size_t n;
	int rc;

	if (!find_ints(k, 1, v, &n) || n == 0)
		return 0;
	s->in = k->in;
	s->nin = 1;
	s->attrs = a;
	rc = set_ints(k, name, v, n, &a[s->nattrs++], e);
	return rc < 0 ? rc : finish(k, s, ACTIVATION_NONE, e);
}

static int mean(struct tflite_make *k, struct err *e)
{
	struct attr a[2] = {set_int("keepdims", option(k, 0, 1, 0))};
	struct step s = {.type = "ReduceMean", .nattrs = 1};

	return with_ints(k, &s, a, "axes", e);
}

static int transpose(struct tflite_make *k, struct err *e)
{
	struct attr a[1];
	struct step s = {.type = "Transpose"};

	return with_ints(k, &s, a, "perm", e);
}

/* Pairs for each axis here; all beginnings, then all ends, in ONNX. */
static int pad(struct tflite_make *k, struct err *e)
{
	int64_t given[INTS_MAX], pads[INTS_MAX];
	struct attr a;
	struct step s = {.type = "Pad",
			 .opset = 2, /* the amounts are an attribute */
			 .in = k->in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	size_t n;
	int rc;

	if (k->nin != 2 || !find_ints(k, 1, given, &n) || n % 2 != 0)
		return 0;
	for (size_t i = 0; i < n / 2; i++) {
		pads[i] = given[2 * i];
		pads[n / 2 + i] = given[2 * i + 1];
	}
	rc = set_ints(k, "pads", pads, n, &a, e);
	return rc < 0 ? rc : finish(k, &s, ACTIVATION_NONE, e);
}

/* The extents an operator is told by a constant, or else by its output. */
static bool find_extents(const struct tflite_make *k, int64_t *dims, size_t *n)
{
	const struct tensor *type = k->g->values[k->out[0]].type;
	size_t unknown = 0;

	if (find_ints(k, 1, dims, n))
		return true;
	if (!type || type->shape.rank < 0)
		return false;
	*n = (size_t)type->shape.rank;
	for (size_t i = 0; i < *n; i++) {
		dims[i] = type->shape.dims[i];
		unknown += dims[i] < 0;
	}
	return unknown <= 1;
}

static int reshape(struct tflite_make *k, struct err *e)
{
	int64_t dims[INTS_MAX];
	struct attr shape;
	struct step s = {.type = "Reshape",
			 .opset = 1,
			 .in = k->in,
			 .nin = 1,
			 .attrs = &shape,
			 .nattrs = 1};
	size_t n;
	int rc;

	if (!find_extents(k, dims, &n))
		return 0;
	rc = set_ints(k, "shape", dims, n, &shape, e);
	return rc < 0 ? rc : finish(k, &s, ACTIVATION_NONE, e);
}

static int softmax(struct tflite_make *k, struct err *e)
{
	struct step s = {.type = "Softmax", .in = k->in, .nin = 1};

	if (flatbuf_float(k->f, &k->options, 0, 0) != 1)
		return 0;
	return finish(k, &s, ACTIVATION_NONE, e);
}

static int concat(struct tflite_make *k, struct err *e)
{
	struct attr a = set_int("axis", option(k, 0, 4, 0));
	int64_t activation = option(k, 1, 1, 0);
	struct step s = {.what = "concat",
			 .type = "Concat",
			 .in = k->in,
			 .nin = k->nin,
			 .attrs = &a,
			 .nattrs = 1};

	return is_known(activation) ? finish(k, &s, activation, e) : 0;
}

static int relu6(struct tflite_make *k, struct err *e)
{
	return k->nin == 1 ? (activate(k, ACTIVATION_RELU_6, k->in[0], e) < 0
				      ? -ENOMEM
				      : 1)
			   : 0;
}

static const struct {
	const char *tflite, *onnx;
	uint8_t nin;
	bool is_fused; /* option 0 is an activation */
} same[] = {
	{"ABS", "Abs", 1, false},     {"ADD", "Add", 2, true},
	{"CEIL", "Ceil", 1, false},   {"COS", "Cos", 1, false},
	{"DIV", "Div", 2, true},      {"ELU", "Elu", 1, false},
	{"EXP", "Exp", 1, false},     {"FLOOR", "Floor", 1, false},
	{"LOG", "Log", 1, false},     {"LOGISTIC", "Sigmoid", 1, false},
	{"MAXIMUM", "Max", 2, false}, {"MINIMUM", "Min", 2, false},
	{"MUL", "Mul", 2, true},      {"NEG", "Neg", 1, false},
	{"POW", "Pow", 2, false},     {"RELU", "Relu", 1, false},
	{"SIN", "Sin", 1, false},     {"SQRT", "Sqrt", 1, false},
	{"SUB", "Sub", 2, true},      {"TANH", "Tanh", 1, false},
};

static int translate_same(struct tflite_make *k, struct err *e)
{
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		struct step s = {.what = "compute",
				 .type = same[i].onnx,
				 .in = k->in,
				 .nin = k->nin};
		int64_t activation = 0;

		if (strcmp(k->type.p, same[i].tflite) != 0 ||
		    k->nin != same[i].nin)
			continue;
		if (same[i].is_fused)
			activation = option(k, 0, 1, 0);
		if (activation == ACTIVATION_NONE)
			s.what = NULL;
		return is_known(activation) ? finish(k, &s, activation, e) : 0;
	}
	return 0;
}

static const struct {
	const char *type;
	int (*make)(struct tflite_make *k, struct err *e);
} makers[] = {
	{"AVERAGE_POOL_2D", pool},
	{"CONCATENATION", concat},
	{"CONV_2D", conv},
	{"DEPTHWISE_CONV_2D", conv},
	{"FULLY_CONNECTED", fully_connected},
	{"MAX_POOL_2D", pool},
	{"MEAN", mean},
	{"PAD", pad},
	{"RELU6", relu6},
	{"RESHAPE", reshape},
	{"SOFTMAX", softmax},
	{"TRANSPOSE", transpose},
};

/* The second input says how, not what. */
static bool has_one_operand(const struct tflite_make *k)
{
	static const char *const types[] = {"MEAN", "PAD", "RESHAPE",
					    "TRANSPOSE"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(k->type.p, types[i]) == 0)
			return true;
	return false;
}

/* All that is computed with must be float32. */
static bool is_float(const struct tflite_make *k)
{
	uint32_t n = has_one_operand(k) ? 1 : k->nin;

	if (k->nin == 0 || k->in[0] == NO_VALUE || k->out[0] == NO_VALUE)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (k->in[i] != NO_VALUE &&
		    k->g->values[k->in[i]].dtype != DTYPE_F32)
			return false;
	return k->g->values[k->out[0]].dtype == DTYPE_F32;
}

int tflite_translate(struct tflite_make *k, struct err *e)
{
	if (k->nout != 1 || !is_float(k))
		return 0;
	for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++)
		if (strcmp(k->type.p, makers[i].type) == 0)
			return makers[i].make(k, e);
	return translate_same(k, e);
}
