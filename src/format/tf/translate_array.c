/* SPDX-License-Identifier: MIT */
/* translate_array - products, reductions, and operators that move elements. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/tf/translate.h"

#define AXES_MAX 32

static int binary(struct tf_make *k, const char *what, const char *type,
		  value_id a, value_id b, struct err *e)
{
	value_id in[] = {a, b};

	return tf_finish(k, what, type, 0, in, 2, NULL, 0, e);
}

/* ---- products ---- */

static int swap_last(struct tf_make *k, const char *what, value_id in,
		     value_id *out, struct err *e)
{
	static const int64_t perm[] = {1, 0};
	struct attr a;
	struct step n = {.what = what,
			 .type = "Transpose",
			 .in = &in,
			 .nin = 1,
			 .out = out,
			 .nout = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = steps_value(&k->at, what, out, e);

	if (rc == 0)
		rc = attr_set_ints(&k->at, "perm", perm, 2, &a, e);
	return rc < 0 ? rc : steps_node(&k->at, &n, e);
}

static int matmul(struct tf_make *k, struct err *e)
{
	value_id a, b;
	int rc = 0;

	if (k->call->nin != 2)
		return 0;
	a = k->call->in[0];
	b = k->call->in[1];
	if (tf_flag(k, "transpose_a"))
		rc = swap_last(k, "transpose_a", a, &a, e);
	if (rc == 0 && tf_flag(k, "transpose_b"))
		rc = swap_last(k, "transpose_b", b, &b, e);
	return rc < 0 ? rc : binary(k, "product", "MatMul", a, b, e);
}

/* ---- short compositions ---- */

static int square(struct tf_make *k, struct err *e)
{
	value_id x = k->call->in[0];

	return binary(k, NULL, "Mul", x, x, e);
}

static int rsqrt(struct tf_make *k, struct err *e)
{
	value_id root;
	int rc = steps_make(&k->at, "sqrt", "Sqrt", k->call->in[0], NO_VALUE,
			    &root, e);

	return rc < 0 ? rc
		      : tf_finish(k, "reciprocal", "Reciprocal", 0, &root, 1,
				  NULL, 0, e);
}

static int squared_difference(struct tf_make *k, struct err *e)
{
	value_id d;
	int rc = k->call->nin == 2
			 ? steps_make(&k->at, "difference", "Sub",
				      k->call->in[0], k->call->in[1], &d, e)
			 : 0;

	if (rc < 0 || k->call->nin != 2)
		return rc;
	return binary(k, "square", "Mul", d, d, e);
}

static int not_equal(struct tf_make *k, struct err *e)
{
	value_id same;
	int rc;

	if (k->call->nin != 2)
		return 0;
	rc = steps_make(&k->at, "equal", "Equal", k->call->in[0],
			k->call->in[1], &same, e);
	return rc < 0 ? rc
		      : tf_finish(k, "not", "Not", 0, &same, 1, NULL, 0, e);
}

static int relu6(struct tf_make *k, struct err *e)
{
	struct attr a[] = {attr_set_float("min", 0), attr_set_float("max", 6)};

	/* Until version 10 the limits are attributes. */
	return tf_finish(k, NULL, "Clip", 6, k->call->in, 1, a, 2, e);
}

static int leaky_relu(struct tf_make *k, struct err *e)
{
	struct attr a = attr_set_float("alpha", tf_number(k, "alpha", 0.2f));

	return tf_finish(k, NULL, "LeakyRelu", 0, k->call->in, 1, &a, 1, e);
}

static int select_op(struct tf_make *k, struct err *e)
{
	return k->call->nin == 3 ? tf_finish(k, NULL, "Where", 0, k->call->in,
					     3, NULL, 0, e)
				 : 0;
}

/* ---- shapes ---- */

static int reshape(struct tf_make *k, struct err *e)
{
	value_id in[2];
	struct attr to = attr_set_int("to", 7); /* int64 */
	struct step cast = {.what = "to_int64",
			    .type = "Cast",
			    .nin = 1,
			    .nout = 1,
			    .attrs = &to,
			    .nattrs = 1};
	int rc;

	if (k->call->nin != 2)
		return 0;
	in[0] = k->call->in[0];
	cast.in = &k->call->in[1];
	cast.out = &in[1];
	rc = steps_value(&k->at, "to_int64", &in[1], e);
	if (rc == 0)
		rc = steps_node(&k->at, &cast, e);
	return rc < 0 ? rc
		      : tf_finish(k, "reshape", "Reshape", 0, in, 2, NULL, 0,
				  e);
}

static int shape(struct tf_make *k, struct err *e)
{
	const Tf__AttrValue *type = tf_attr(k->call->node, "out_type");
	struct attr to = attr_set_int("to", type && type->type == 9 ? 7 : 6);
	value_id dims;
	int rc = steps_make(&k->at, "extents", "Shape", k->call->in[0],
			    NO_VALUE, &dims, e);

	return rc < 0 ? rc
		      : tf_finish(k, "cast", "Cast", 0, &dims, 1, &to, 1, e);
}

static int squeeze(struct tf_make *k, struct err *e)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, "squeeze_dims");
	struct attr a;
	int rc;

	if (!v || !v->list || v->list->n_i == 0)
		return tf_finish(k, NULL, "Squeeze", 11, k->call->in, 1, NULL,
				 0, e);
	rc = attr_set_ints(&k->at, "axes", v->list->i, v->list->n_i, &a, e);
	return rc < 0 ? rc
		      : tf_finish(k, NULL, "Squeeze", 11, k->call->in, 1, &a, 1,
				  e);
}

/* An operator whose axes are an input here and an attribute in ONNX 11. */
static int with_axes(struct tf_make *k, const char *type, const char *attr,
		     struct err *e)
{
	int64_t axes[AXES_MAX];
	struct attr a[2];
	uint32_t nattrs = 1;
	size_t n;
	int rc;

	if (k->call->nin != 2 || !tf_const_ints(k, 1, axes, AXES_MAX, &n))
		return 0;
	rc = attr_set_ints(&k->at, attr, axes, n, &a[0], e);
	if (rc < 0)
		return rc;
	if (strncmp(type, "Reduce", 6) == 0)
		a[nattrs++] = attr_set_int("keepdims", tf_flag(k, "keep_dims"));
	/* An empty list of axes means none here and all there. */
	if (n == 0)
		return tf_finish(k, NULL, "Identity", 0, k->call->in, 1, NULL,
				 0, e);
	return tf_finish(k, NULL, type, 11, k->call->in, 1, a, nattrs, e);
}

static int reduce_mean(struct tf_make *k, struct err *e)
{
	return with_axes(k, "ReduceMean", "axes", e);
}

static int reduce_sum(struct tf_make *k, struct err *e)
{
	return with_axes(k, "ReduceSum", "axes", e);
}

static int reduce_max(struct tf_make *k, struct err *e)
{
	return with_axes(k, "ReduceMax", "axes", e);
}

static int reduce_min(struct tf_make *k, struct err *e)
{
	return with_axes(k, "ReduceMin", "axes", e);
}

static int reduce_prod(struct tf_make *k, struct err *e)
{
	return with_axes(k, "ReduceProd", "axes", e);
}

static int expand_dims(struct tf_make *k, struct err *e)
{
	return with_axes(k, "Unsqueeze", "axes", e);
}

static int transpose(struct tf_make *k, struct err *e)
{
	return with_axes(k, "Transpose", "perm", e);
}

static int concat(struct tf_make *k, struct err *e)
{
	uint32_t nin = k->call->nin;
	struct attr a;
	int64_t axis;
	size_t n;

	if (nin < 2 || !tf_const_ints(k, nin - 1, &axis, 1, &n) || n != 1)
		return 0;
	a = attr_set_int("axis", axis);
	return tf_finish(k, NULL, "Concat", 0, k->call->in, nin - 1, &a, 1, e);
}

static int gather(struct tf_make *k, struct err *e)
{
	struct attr a = attr_set_int("axis", 0);
	int64_t axis = 0;
	size_t n;

	if (k->call->nin < 2 ||
	    (k->call->nin == 3 && !tf_const_ints(k, 2, &axis, 1, &n)))
		return 0;
	a.i = axis;
	return tf_finish(k, NULL, "Gather", 0, k->call->in, 2, &a, 1, e);
}

static int split(struct tf_make *k, struct err *e)
{
	struct attr a;
	int64_t axis;
	size_t n;

	/* Without all outputs being known, the parts would be too large. */
	const Tf__AttrValue *parts = tf_attr(k->call->node, "num_split");

	if (k->call->nin != 2 || !parts || parts->i != k->call->nout ||
	    !tf_const_ints(k, 0, &axis, 1, &n) || n != 1)
		return 0;
	a = attr_set_int("axis", axis);
	return tf_finish(k, NULL, "Split", 11, k->call->in + 1, 1, &a, 1, e);
}

/* paddings is [rank, 2] here; all beginnings, then all ends, in ONNX. */
static int pad(struct tf_make *k, struct err *e)
{
	int64_t given[2 * AXES_MAX], pads[2 * AXES_MAX];
	struct attr a;
	size_t n;
	int rc;

	if (k->call->nin != 2 ||
	    !tf_const_ints(k, 1, given, 2 * AXES_MAX, &n) || n % 2 != 0)
		return 0;
	for (size_t i = 0; i < n / 2; i++) {
		pads[i] = given[2 * i];
		pads[n / 2 + i] = given[2 * i + 1];
	}
	rc = attr_set_ints(&k->at, "pads", pads, n, &a, e);
	return rc < 0 ? rc
		      : tf_finish(k, NULL, "Pad", 2, k->call->in, 1, &a, 1, e);
}

/* Numbers that TensorFlow and ONNX give the types we can cast to. */
static int cast(struct tf_make *k, struct err *e)
{
	static const int8_t onnx_types[] = {
		[1] = 1,   [2] = 11,  [3] = 6,	 [4] = 2,   [5] = 5,
		[6] = 3,   [9] = 7,   [10] = 9,	 [14] = 16, [17] = 4,
		[19] = 10, [22] = 12, [23] = 13,
	};
	const Tf__AttrValue *type = tf_attr(k->call->node, "DstT");
	struct attr to;

	if (!type || type->type < 0 ||
	    (size_t)type->type >= sizeof(onnx_types) ||
	    onnx_types[type->type] == 0)
		return 0;
	to = attr_set_int("to", onnx_types[type->type]);
	return tf_finish(k, NULL, "Cast", 0, k->call->in, 1, &to, 1, e);
}

static int pack_axis(struct tf_make *k)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, "axis");

	return v && v->has_i ? (int)v->i : 0;
}

/* Values become slices along a new axis: ONNX has that for sequences. */
static int pack(struct tf_make *k, struct err *e)
{
	struct attr a[] = {attr_set_int("axis", pack_axis(k)),
			   attr_set_int("new_axis", 1)};
	struct step make = {.what = "sequence",
			    .type = "SequenceConstruct",
			    .in = k->call->in,
			    .nin = k->call->nin,
			    .nout = 1};
	value_id list;
	int rc = steps_value(&k->at, "sequence", &list, e);

	make.out = &list;
	if (rc == 0)
		rc = steps_node(&k->at, &make, e);
	return rc < 0 ? rc
		      : tf_finish(k, "stack", "ConcatFromSequence", 0, &list, 1,
				  a, 2, e);
}

static const struct tf_maker makers[] = {
	{"Cast", cast},
	{"ConcatV2", concat},
	{"ExpandDims", expand_dims},
	{"Gather", gather},
	{"GatherV2", gather},
	{"LeakyRelu", leaky_relu},
	{"MatMul", matmul},
	{"Max", reduce_max},
	{"Mean", reduce_mean},
	{"Min", reduce_min},
	{"NotEqual", not_equal},
	{"Pack", pack},
	{"Pad", pad},
	{"Prod", reduce_prod},
	{"Relu6", relu6},
	{"Reshape", reshape},
	{"ResourceGather", gather},
	{"Rsqrt", rsqrt},
	{"SelectV2", select_op},
	{"Shape", shape},
	{"Split", split},
	{"Square", square},
	{"SquaredDifference", squared_difference},
	{"Squeeze", squeeze},
	{"Sum", reduce_sum},
	{"Transpose", transpose},
};

int tf_translate_array(struct tf_make *k, struct err *e)
{
	return tf_make_with(makers, sizeof(makers) / sizeof(makers[0]), k, e);
}
