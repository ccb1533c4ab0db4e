/* SPDX-License-Identifier: MIT */
/*
 * translate - operators of TensorFlow that ONNX has, too.
 *
 * The values a node makes keep their names and layouts.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/tf/body.h"
#include "format/tf/translate.h"

/* ---- what is known while translating ---- */

/* The integers of a constant; false when they are not known, or too many. */
bool tf_const_ints(const struct tf_make *k, uint32_t input, int64_t *out,
		   size_t max, size_t *n)
{
	const struct param *p;
	struct tensor t;
	uint64_t nelems;
	uint8_t buf[8 * 64];

	if (input >= k->call->nin)
		return false;
	p = k->body->g->values[k->call->in[input]].param;
	if (!p)
		return false;
	t = param_tensor(p);
	if ((t.dtype != DTYPE_I32 && t.dtype != DTYPE_I64) ||
	    !shape_nelems(&t.shape, &nelems) || nelems > max || nelems > 64 ||
	    blob_read_full(p->data, buf, t.data->size, 0, NULL) < 0)
		return false;
	for (size_t i = 0; i < nelems; i++) {
		int32_t v32;

		if (t.dtype == DTYPE_I64) {
			memcpy(&out[i], buf + 8 * i, 8);
			continue;
		}
		memcpy(&v32, buf + 4 * i, 4);
		out[i] = v32;
	}
	*n = (size_t)nelems;
	return true;
}

bool tf_const_is_zero(const struct tf_make *k, uint32_t input)
{
	const struct param *p = NULL;
	uint8_t buf[8];

	if (input < k->call->nin)
		p = k->body->g->values[k->call->in[input]].param;
	if (!p || p->dtype == DTYPE_STRING || p->data->size > sizeof(buf) ||
	    blob_read_full(p->data, buf, p->data->size, 0, NULL) < 0)
		return false;
	for (uint64_t i = 0; i < p->data->size; i++)
		if (buf[i] != 0)
			return false;
	return true;
}

bool tf_flag(const struct tf_make *k, const char *name)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, name);

	return v && v->has_b && v->b;
}

float tf_number(const struct tf_make *k, const char *name, float def)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, name);

	return v && v->has_f ? v->f : def;
}

int tf_finish(struct tf_make *k, const char *what, const char *type, int opset,
	      const value_id *in, uint32_t nin, const struct attr *attrs,
	      uint32_t nattrs, struct err *e)
{
	struct step n = {.what = what,
			 .type = type,
			 .opset = opset,
			 .in = in,
			 .nin = nin,
			 .out = k->call->out,
			 .nout = k->call->nout,
			 .attrs = attrs,
			 .nattrs = nattrs};

	return tf_done(steps_node(&k->at, &n, e));
}

int tf_make_with(const struct tf_maker *makers, size_t n, struct tf_make *k,
		 struct err *e)
{
	if (k->call->nin == 0 || k->call->nout == 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (tf_equal(&k->call->node->op, makers[i].op))
			return makers[i].make(k, e);
	return 0;
}

/* ---- one operator for one ---- */

static const struct {
	const char *tf, *onnx;
	uint8_t nin;
	uint8_t opset; /* 0: STEPS_OPSET */
} same[] = {
	{"Abs", "Abs", 1, 0},
	{"Acos", "Acos", 1, 0},
	{"Acosh", "Acosh", 1, 0},
	{"Add", "Add", 2, 0},
	{"AddV2", "Add", 2, 0},
	{"Asin", "Asin", 1, 0},
	{"Asinh", "Asinh", 1, 0},
	{"Atan", "Atan", 1, 0},
	{"Atanh", "Atanh", 1, 0},
	{"BatchMatMul", "MatMul", 2, 0},
	{"BatchMatMulV2", "MatMul", 2, 0},
	{"BiasAdd", "Add", 2, 0},
	{"BiasAddV1", "Add", 2, 0},
	{"BitwiseAnd", "BitwiseAnd", 2, 18},
	{"BitwiseOr", "BitwiseOr", 2, 18},
	{"BitwiseXor", "BitwiseXor", 2, 18},
	{"BroadcastTo", "Expand", 2, 0},
	{"Ceil", "Ceil", 1, 0},
	{"CheckNumerics", "Identity", 1, 0},
	{"Cos", "Cos", 1, 0},
	{"Cosh", "Cosh", 1, 0},
	{"Elu", "Elu", 1, 0},
	{"EnsureShape", "Identity", 1, 0},
	{"Equal", "Equal", 2, 0},
	{"Erf", "Erf", 1, 0},
	{"Exp", "Exp", 1, 0},
	{"Floor", "Floor", 1, 0},
	{"Greater", "Greater", 2, 0},
	{"GreaterEqual", "GreaterOrEqual", 2, 0},
	{"Identity", "Identity", 1, 0},
	{"Inv", "Reciprocal", 1, 0},
	{"Invert", "BitwiseNot", 1, 18},
	{"IsInf", "IsInf", 1, 0},
	{"IsNan", "IsNaN", 1, 0},
	{"Less", "Less", 2, 0},
	{"LessEqual", "LessOrEqual", 2, 0},
	{"Log", "Log", 1, 0},
	{"LogSoftmax", "LogSoftmax", 1, 0},
	{"LogicalAnd", "And", 2, 0},
	{"LogicalNot", "Not", 1, 0},
	{"LogicalOr", "Or", 2, 0},
	{"LogicalXor", "Xor", 2, 0},
	{"MatMul", "MatMul", 2, 0},
	{"Maximum", "Max", 2, 0},
	{"Minimum", "Min", 2, 0},
	{"Mul", "Mul", 2, 0},
	{"Neg", "Neg", 1, 0},
	{"PlaceholderWithDefault", "Identity", 1, 0},
	{"Pow", "Pow", 2, 0},
	{"PreventGradient", "Identity", 1, 0},
	{"ReadVariableOp", "Identity", 1, 0},
	{"RealDiv", "Div", 2, 0},
	{"Reciprocal", "Reciprocal", 1, 0},
	{"Relu", "Relu", 1, 0},
	{"Rint", "Round", 1, 0},
	{"Round", "Round", 1, 0},
	{"Selu", "Selu", 1, 0},
	{"Sigmoid", "Sigmoid", 1, 0},
	{"Sign", "Sign", 1, 0},
	{"Sin", "Sin", 1, 0},
	{"Sinh", "Sinh", 1, 0},
	{"Snapshot", "Identity", 1, 0},
	{"Softmax", "Softmax", 1, 0},
	{"Softplus", "Softplus", 1, 0},
	{"Softsign", "Softsign", 1, 0},
	{"Sqrt", "Sqrt", 1, 0},
	{"StopGradient", "Identity", 1, 0},
	{"Sub", "Sub", 2, 0},
	{"Tan", "Tan", 1, 0},
	{"Tanh", "Tanh", 1, 0},
	{"TruncateDiv", "Div", 2, 0},
};

/* Attributes that change the meaning of one of the above. */
static bool means_more(const struct tf_make *k)
{
	const Tf__AttrValue *f = tf_attr(k->call->node, "data_format");

	return tf_flag(k, "transpose_a") || tf_flag(k, "transpose_b") ||
	       tf_flag(k, "adj_x") || tf_flag(k, "adj_y") ||
	       (f && f->s.len > 1 && f->s.data[1] == 'C');
}

/* ONNX has no arithmetic on complex numbers; these are computed as they are. */
static bool is_complex(const struct tf_make *k)
{
	static const char *const moves[] = {
		"BroadcastTo", "ConcatV2",  "ExpandDims",   "GatherV2",
		"Identity",    "Pack",	    "Pad",	    "ReadVariableOp",
		"Reshape",     "SelectV2",  "Shape",	    "Slice",
		"Split",       "Squeeze",   "StopGradient", "StridedSlice",
		"Tile",	       "Transpose", "Unpack",	    NULL};
	const Tf__AttrValue *t = tf_attr(k->call->node, "T");

	if (!t)
		t = tf_attr(k->call->node, "SrcT");
	return t && (t->type == 8 || t->type == 18) &&
	       !tf_is_op(k->call->node, moves);
}

static int translate_same(struct tf_make *k, struct err *e)
{
	const struct tf_call *c = k->call;

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		struct step n = {.type = same[i].onnx,
				 .opset = same[i].opset,
				 .in = c->in,
				 .nin = c->nin,
				 .out = c->out,
				 .nout = c->nout};
		int rc;

		if (!tf_equal(&c->node->op, same[i].tf) ||
		    same[i].nin != c->nin || c->nout != 1)
			continue;
		if (means_more(k))
			return 0;
		rc = steps_node(&k->at, &n, e);
		return rc < 0 ? rc : 1;
	}
	return 0;
}

int tf_translate(struct tf_body *b, const struct tf_call *c, struct err *e)
{
	struct tf_make k = {
		.at = {b->t->m, b->g, c->name, c->module},
		.body = b,
		.call = c,
	};
	struct span type = tf_span(&c->node->op);
	int rc;

	if (is_complex(&k))
		return 0;
	rc = translate_same(&k, e);
	if (rc == 0)
		rc = tf_translate_array(&k, e);
	if (rc == 0)
		rc = tf_translate_image(&k, e);
	if (rc == 0)
		rc = tf_translate_picture(&k, e);
	if (rc == 0)
		rc = tf_translate_shape(&k, e);
	if (rc == 0)
		rc = tf_translate_index(&k, e);
	if (rc == 0)
		rc = tf_translate_math(&k, e);
	if (rc > 0 && c->module &&
	    model_type(b->t->m, c->module, type.p, type.len) < 0)
		return err_nomem(e, 0);
	return rc;
}
