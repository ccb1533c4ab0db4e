/* SPDX-License-Identifier: MIT */
/* aten_math - element by element; see aten.h. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/pytorch/aten.h"

static bool is_float(enum dtype t)
{
	return t == DTYPE_F32 || t == DTYPE_F64 || t == DTYPE_F16 ||
	       t == DTYPE_BF16;
}

/* ---- one operand ---- */

static int unary(struct aten *k, struct err *e)
{
	struct step n = {
		.type = k->entry->onnx, .opset = k->entry->opset, .nin = 1};
	value_id in;
	int rc = aten_self(k, &in, e);

	n.in = &in;
	/* round has a form with decimals. */
	if (rc <= 0 || aten_has(k, "decimals"))
		return rc < 0 ? rc : 0;
	/* Of integers, exp and its like are floating point. */
	if (is_float(aten_dtype(k, k->out[0])))
		rc = aten_cast(k, "in", in, aten_dtype(k, k->out[0]), &in, e);
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

/* Nothing but a new name, or another type. */
static int identity(struct aten *k, struct err *e)
{
	enum dtype t = aten_dtype(k, k->out[0]);
	value_id in, cast;
	int rc = aten_self(k, &in, e);

	/* Dropout is none when the model was not exported for training. */
	if (rc <= 0 || aten_flag(k, "train", false))
		return rc;
	rc = aten_cast(k, "cast", in, t, &cast, e);
	return rc < 0 ? rc : aten_finish_make(k, "Identity", &cast, 1, e);
}

/* Attributes of one number each. */
static int activation(struct aten *k, struct err *e)
{
	static const struct {
		const char *aten, *onnx, *arg, *attr;
		double def;
	} list[] = {
		{"leaky_relu", "LeakyRelu", "negative_slope", "alpha", 0.01},
		{"leaky_relu_", "LeakyRelu", "negative_slope", "alpha", 0.01},
		{"elu", "Elu", "alpha", "alpha", 1},
		{"celu", "Celu", "alpha", "alpha", 1},
	};
	struct step n = {.nin = 1, .nattrs = 1};
	struct attr a;
	double v = 0, one;
	value_id in;
	int rc = aten_self(k, &in, e);

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (!aten_is(k, list[i].aten))
			continue;
		if (!aten_float(k, list[i].arg, list[i].def, &v))
			return 0;
		n.type = list[i].onnx;
		a = attr_set_float(list[i].attr, (float)v);
	}
	if (rc <= 0 || !n.type || !aten_float(k, "scale", 1, &one) ||
	    one != 1 || !aten_float(k, "input_scale", 1, &one) || one != 1)
		return rc < 0 ? rc : 0;
	n.in = &in;
	n.attrs = &a;
	return aten_finish(k, &n, e);
}

static int hard_sigmoid(struct aten *k, struct err *e)
{
	struct attr a = attr_set_float("alpha", 1.0f / 6);
	struct step n = {
		.type = "HardSigmoid", .nin = 1, .attrs = &a, .nattrs = 1};
	value_id in;
	int rc = aten_self(k, &in, e);

	n.in = &in;
	return rc <= 0 ? rc : aten_finish(k, &n, e);
}

static int gelu(struct aten *k, struct err *e)
{
	struct program_arg how = aten_arg(k, "approximate");
	struct attr a = attr_set_text("approximate", "none");
	struct step n = {.type = "Gelu",
			 .opset = 20,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	struct attr text = {.kind = ATTR_OTHER};
	value_id in;
	int rc = aten_self(k, &in, e);

	if (rc > 0 && !program_is_kind(how, "as_none") &&
	    program_set_attr(k->at.m->arena, how, &text, e) < 0)
		return -ENOMEM;
	if (text.kind == ATTR_STRING && strcmp(text.s.p, "tanh") == 0)
		a = attr_set_text("approximate", "tanh");
	n.in = &in;
	return rc <= 0 ? rc : aten_finish(k, &n, e);
}

/* x · sigmoid(x) */
static int silu(struct aten *k, struct err *e)
{
	value_id in[2];
	int rc = aten_self(k, &in[0], e);

	if (rc > 0)
		rc = aten_make(k, "sigmoid", "Sigmoid", in[0], NO_VALUE, &in[1],
			       e);
	else
		return rc;
	return rc < 0 ? rc : aten_finish_make(k, "Mul", in, 2, e);
}

static int rsqrt(struct aten *k, struct err *e)
{
	value_id in;
	int rc = aten_self(k, &in, e);

	if (rc <= 0)
		return rc;
	rc = aten_make(k, "sqrt", "Sqrt", in, NO_VALUE, &in, e);
	return rc < 0 ? rc : aten_finish_make(k, "Reciprocal", &in, 1, e);
}

static int square(struct aten *k, struct err *e)
{
	value_id in[2];
	int rc = aten_self(k, &in[0], e);

	in[1] = in[0];
	return rc <= 0 ? rc : aten_finish_make(k, "Mul", in, 2, e);
}

/* min and max, either of which may be left out; of relu6 and hardtanh. */
static int clamp(struct aten *k, struct err *e)
{
	bool is_hard = aten_is(k, "hardtanh") || aten_is(k, "hardtanh_");
	bool is_six = aten_is(k, "relu6");
	const char *names[] = {is_hard ? "min_val" : "min",
			       is_hard ? "max_val" : "max"};
	double bounds[2] = {is_six ? 0 : -1, is_six ? 6 : 1};
	enum dtype t = aten_dtype(k, k->out[0]);
	value_id in[3] = {NO_VALUE, NO_VALUE, NO_VALUE};
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || !aten_has_numbers(t))
		return rc < 0 ? rc : 0;
	for (int i = 0; i < 2; i++)
		if (aten_has(k, names[i]) && !aten_is_operand(k, names[i], t))
			return 0;
	rc = aten_cast(k, "in", in[0], t, &in[0], e);
	for (int i = 0; rc == 0 && i < 2; i++) {
		if (aten_has(k, names[i]))
			rc = aten_operand(k, names[i], t, &in[1 + i], e);
		else if (is_hard || is_six)
			rc = aten_number(k, names[i], bounds[i], t, &in[1 + i],
					 e);
	}
	return rc < 0 ? rc : aten_finish_make(k, "Clip", in, 3, e);
}

/* ---- two operands ---- */

/* What both are cast to before they are compared. */
static enum dtype common_type(struct aten *k, struct err *e)
{
	static const enum dtype order[] = {
		DTYPE_BOOL, DTYPE_U8,  DTYPE_I8,   DTYPE_I16, DTYPE_I32,
		DTYPE_I64,  DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};
	static const char *const names[] = {"self", "other"};
	enum dtype found = DTYPE_NONE;
	size_t best = 0;

	for (int i = 0; i < 2; i++) {
		struct program_arg arg = aten_arg(k, names[i]);
		value_id v;
		enum dtype t = DTYPE_NONE;

		if (aten_value(k, names[i], &v, e) == 0 && v != NO_VALUE)
			t = aten_dtype(k, v);
		else if (program_is_kind(arg, "as_float") && best < 6)
			t = DTYPE_F32;
		for (size_t j = 0; j < sizeof(order) / sizeof(order[0]); j++)
			if (order[j] == t && (j >= best || !found)) {
				best = j;
				found = t;
			}
	}
	return found;
}

static int two_operands(struct aten *k, enum dtype t, value_id in[2],
			struct err *e)
{
	int rc = aten_operand(k, "self", t, &in[0], e);

	return rc < 0 ? rc : aten_operand(k, "other", t, &in[1], e);
}

static bool has_two(const struct aten *k, enum dtype t)
{
	return aten_is_operand(k, "self", t) && aten_is_operand(k, "other", t);
}

static int compare(struct aten *k, struct err *e)
{
	enum dtype t = common_type(k, e);
	const char *type = k->entry->onnx;
	value_id in[2];
	int rc;

	if (t == DTYPE_NONE || !has_two(k, t))
		return 0;
	if (type[0] == 'A' || type[0] == 'O' || type[0] == 'X') {
		/* Of integers, these work bit by bit. */
		if (t != DTYPE_BOOL && k->op[0] != 'l')
			return 0;
		t = DTYPE_BOOL;
	}
	rc = two_operands(k, t, in, e);
	return rc < 0 ? rc : aten_finish_make(k, type, in, 2, e);
}

static int not_equal(struct aten *k, struct err *e)
{
	enum dtype t = common_type(k, e);
	value_id in[2], same;
	int rc;

	if (t == DTYPE_NONE || !has_two(k, t))
		return 0;
	rc = two_operands(k, t, in, e);
	if (rc == 0)
		rc = aten_make(k, "equal", "Equal", in[0], in[1], &same, e);
	return rc < 0 ? rc : aten_finish_make(k, "Not", &same, 1, e);
}

/* self + alpha · other; of rsub, other - alpha · self. */
static int add(struct aten *k, struct err *e)
{
	enum dtype t = aten_dtype(k, k->out[0]);
	bool is_reverse = aten_is(k, "rsub");
	bool is_sub = is_reverse || aten_is(k, "sub") || aten_is(k, "sub_");
	double alpha;
	value_id in[2], swap, factor;
	int rc;

	if (!aten_float(k, "alpha", 1, &alpha) || !has_two(k, t) ||
	    (alpha != 1 && !aten_has_numbers(t)))
		return 0;
	rc = two_operands(k, t, in, e);
	if (is_reverse) {
		swap = in[0];
		in[0] = in[1];
		in[1] = swap;
	}
	if (rc == 0 && alpha != 1)
		rc = aten_number(k, "alpha", alpha, t, &factor, e);
	if (rc == 0 && alpha != 1)
		rc = aten_make(k, "scaled", "Mul", in[1], factor, &in[1], e);
	if (rc < 0)
		return rc;
	/* Booleans are added as what they become. */
	if (t == DTYPE_BOOL)
		return aten_finish_make(k, "Or", in, 2, e);
	return aten_finish_make(k, is_sub ? "Sub" : "Add", in, 2, e);
}

static int multiply(struct aten *k, struct err *e)
{
	enum dtype t = aten_dtype(k, k->out[0]);
	value_id in[2];
	int rc;

	if (!has_two(k, t))
		return 0;
	rc = two_operands(k, t, in, e);
	return rc < 0 ? rc
		      : aten_finish_make(k, t == DTYPE_BOOL ? "And" : "Mul", in,
					 2, e);
}

static int divide(struct aten *k, struct err *e)
{
	enum dtype t = aten_dtype(k, k->out[0]);
	struct program_arg mode = aten_arg(k, "rounding_mode");
	bool is_floor = aten_is(k, "floor_divide");
	struct attr text = {.kind = ATTR_OTHER};
	value_id in[2];
	int rc;

	if (!program_is_kind(mode, "as_none")) {
		rc = program_set_attr(k->at.m->arena, mode, &text, e);
		if (rc < 0)
			return rc;
		if (text.kind != ATTR_STRING || strcmp(text.s.p, "floor") != 0)
			return 0;
		is_floor = true;
	}
	/* ONNX divides integers towards zero. */
	if (!has_two(k, t) || !is_float(t))
		return 0;
	rc = two_operands(k, t, in, e);
	if (rc == 0 && is_floor) {
		rc = aten_make(k, "quotient", "Div", in[0], in[1], &in[0], e);
		return rc < 0 ? rc : aten_finish_make(k, "Floor", in, 1, e);
	}
	return rc < 0 ? rc : aten_finish_make(k, "Div", in, 2, e);
}

static int power(struct aten *k, struct err *e)
{
	enum dtype t = aten_dtype(k, k->out[0]);
	value_id in[2];
	int rc;

	if (!aten_is_operand(k, "self", t) ||
	    !aten_is_operand(k, "exponent", t))
		return 0;
	rc = aten_operand(k, "self", t, &in[0], e);
	if (rc == 0)
		rc = aten_operand(k, "exponent", t, &in[1], e);
	return rc < 0 ? rc : aten_finish_make(k, "Pow", in, 2, e);
}

/* Sizes, while the graph runs; they are not negative. */
static int symbolic(struct aten *k, struct err *e)
{
	static const char *const names[] = {"a", "b"};
	value_id in[2];
	int rc = 0;

	for (int i = 0; i < 2; i++)
		if (!aten_is_operand(k, names[i], DTYPE_I64))
			return 0;
	for (int i = 0; rc == 0 && i < 2; i++)
		rc = aten_operand(k, names[i], DTYPE_I64, &in[i], e);
	return rc < 0 ? rc : aten_finish_make(k, k->entry->onnx, in, 2, e);
}

static int where(struct aten *k, struct err *e)
{
	enum dtype t = aten_dtype(k, k->out[0]);
	value_id in[3];
	int rc = aten_value(k, "condition", &in[0], e);

	if (rc < 0 || in[0] == NO_VALUE || !has_two(k, t))
		return rc;
	rc = aten_cast(k, "condition", in[0], DTYPE_BOOL, &in[0], e);
	if (rc == 0)
		rc = two_operands(k, t, in + 1, e);
	return rc < 0 ? rc : aten_finish_make(k, "Where", in, 3, e);
}

static int masked_fill(struct aten *k, struct err *e)
{
	enum dtype t = aten_dtype(k, k->out[0]);
	value_id in[3], v;
	int rc = aten_value(k, "mask", &in[0], e);

	if (rc == 0)
		rc = aten_value(k, "self", &in[2], e);
	if (rc < 0 || in[0] == NO_VALUE || in[2] == NO_VALUE ||
	    !aten_is_operand(k, "value", t))
		return rc;
	rc = aten_operand(k, "value", t, &v, e);
	in[1] = v;
	return rc < 0 ? rc : aten_finish_make(k, "Where", in, 3, e);
}

const struct aten_entry aten_math[] = {
	{"abs", unary, "Abs"},
	{"acos", unary, "Acos"},
	{"acosh", unary, "Acosh"},
	{"asin", unary, "Asin"},
	{"asinh", unary, "Asinh"},
	{"atan", unary, "Atan"},
	{"atanh", unary, "Atanh"},
	{"ceil", unary, "Ceil"},
	{"cos", unary, "Cos"},
	{"cosh", unary, "Cosh"},
	{"erf", unary, "Erf"},
	{"exp", unary, "Exp"},
	{"floor", unary, "Floor"},
	{"hardswish", unary, "HardSwish", 14},
	{"isinf", unary, "IsInf"},
	{"isnan", unary, "IsNaN"},
	{"log", unary, "Log"},
	{"logical_not", unary, "Not"},
	{"mish", unary, "Mish", 18},
	{"neg", unary, "Neg"},
	{"reciprocal", unary, "Reciprocal"},
	{"relu", unary, "Relu", 14},
	{"relu_", unary, "Relu", 14},
	{"round", unary, "Round"},
	{"selu", unary, "Selu"},
	{"sigmoid", unary, "Sigmoid"},
	{"sign", unary, "Sign"},
	{"sin", unary, "Sin"},
	{"sinh", unary, "Sinh"},
	{"sqrt", unary, "Sqrt"},
	{"tan", unary, "Tan"},
	{"tanh", unary, "Tanh"},
	{"_to_copy", identity},
	{"alias", identity},
	{"clone", identity},
	{"contiguous", identity},
	{"detach", identity},
	{"detach_", identity},
	{"dropout", identity},
	{"lift_fresh_copy", identity},
	{"to", identity},
	{"type_as", identity},
	{"celu", activation},
	{"elu", activation},
	{"leaky_relu", activation},
	{"leaky_relu_", activation},
	{"hardsigmoid", hard_sigmoid},
	{"gelu", gelu},
	{"silu", silu},
	{"silu_", silu},
	{"rsqrt", rsqrt},
	{"square", square},
	{"clamp", clamp},
	{"clamp_max", clamp},
	{"clamp_min", clamp},
	{"hardtanh", clamp},
	{"hardtanh_", clamp},
	{"relu6", clamp},
	{"__and__", compare, "And"},
	{"__or__", compare, "Or"},
	{"bitwise_and", compare, "And"},
	{"bitwise_or", compare, "Or"},
	{"bitwise_xor", compare, "Xor"},
	{"eq", compare, "Equal"},
	{"ge", compare, "GreaterOrEqual"},
	{"gt", compare, "Greater"},
	{"le", compare, "LessOrEqual"},
	{"logical_and", compare, "And"},
	{"logical_or", compare, "Or"},
	{"logical_xor", compare, "Xor"},
	{"lt", compare, "Less"},
	{"maximum", compare, "Max"},
	{"minimum", compare, "Min"},
	{"ne", not_equal},
	{"add", add},
	{"add_", add},
	{"rsub", add},
	{"sub", add},
	{"sub_", add},
	{"mul", multiply},
	{"mul_", multiply},
	{"div", divide},
	{"div_", divide},
	{"floor_divide", divide},
	{"pow", power},
	{"_operator.add", symbolic, "Add"},
	{"_operator.floordiv", symbolic, "Div"},
	{"_operator.mul", symbolic, "Mul"},
	{"_operator.sub", symbolic, "Sub"},
	{"where", where},
	{"masked_fill", masked_fill},
	{NULL, NULL},
};
