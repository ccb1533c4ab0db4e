/* SPDX-License-Identifier: MIT */
/* translate_array - products, reductions, and operators that move elements. */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
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

/* The last two extents of either are swapped, however many there are. */
static int batch_matmul(struct tf_make *k, struct err *e)
{
	struct attr a[] = {attr_set_int("transA", tf_flag(k, "adj_x")),
			   attr_set_int("transB", tf_flag(k, "adj_y"))};
	struct step n = {.type = "FusedMatMul",
			 .domain = "com.microsoft",
			 .opset = 1,
			 .in = k->call->in,
			 .nin = 2,
			 .out = k->call->out,
			 .nout = 1,
			 .attrs = a,
			 .nattrs = 2};

	if (k->call->nin != 2 || k->call->nout != 1)
		return 0;
	return tf_done(steps_node(&k->at, &n, e));
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

/* Axes that are computed, which newer versions of ONNX take as an input. */
static int computed_axes(struct tf_make *k, const char *type, struct err *e)
{
	static const int64_t flat = -1;
	struct tf_chain c = {.k = k, .e = e};
	bool reduces = strncmp(type, "Reduce", 6) == 0;
	struct tf_link l = {.type = type, .opset = reduces ? 18 : 13, .nin = 2};

	l.in[0] = k->call->in[0];
	l.in[1] = tf_chain_2(&c, "Reshape",
			     tf_chain_cast(&c, k->call->in[1], TF_ONNX_INT64),
			     tf_chain_ints(&c, &flat, 1));
	if (reduces) {
		l.attrs[l.nattrs++] =
			attr_set_int("keepdims", tf_flag(k, "keep_dims"));
		l.attrs[l.nattrs++] = attr_set_int("noop_with_empty_axes", 1);
	}
	return tf_chain_last(&c, &l);
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

	if (k->call->nin != 2)
		return 0;
	if (!tf_const_ints(k, 1, axes, AXES_MAX, &n))
		return strcmp(type, "Transpose") == 0
			       ? 0
			       : computed_axes(k, type, e);
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

/* One gathering for each element of the first extents. */
static int gather_batches(struct tf_make *k, int64_t batch, struct err *e)
{
	static const int64_t last = -1;
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link wide = {.type = "Unsqueeze", .opset = 11, .nin = 1};
	struct tf_link l = {.type = "GatherND", .nin = 2};

	wide.in[0] = tf_chain_cast(&c, k->call->in[1], TF_ONNX_INT64);
	wide.attrs[wide.nattrs++] = tf_chain_list(&c, "axes", &last, 1);
	l.in[0] = k->call->in[0];
	l.in[1] = tf_chain(&c, &wide);
	l.attrs[l.nattrs++] = attr_set_int("batch_dims", batch);
	return tf_chain_last(&c, &l);
}

static int gather(struct tf_make *k, struct err *e)
{
	int64_t batch = tf_int(k, "batch_dims", 0), axis = batch;
	struct attr a;
	size_t n;

	if (k->call->nin < 2 ||
	    (k->call->nin == 3 && !tf_const_ints(k, 2, &axis, 1, &n)))
		return 0;
	if (batch != 0)
		return batch > 0 && axis == batch ? gather_batches(k, batch, e)
						  : 0;
	a = attr_set_int("axis", axis);
	return tf_finish(k, NULL, "Gather", 0, k->call->in, 2, &a, 1, e);
}

/* The same node as tf_finish makes, whose last outputs nobody wants. */
static int finish_parts(struct tf_make *k, uint32_t parts, const value_id *in,
			const struct attr *a, struct err *e)
{
	value_id *out = arena_array(k->at.m->arena, parts + 1u, sizeof(*out));
	struct step n = {.type = "Split",
			 .opset = 11,
			 .in = in,
			 .nin = 1,
			 .out = out,
			 .nout = parts,
			 .attrs = a,
			 .nattrs = 1};

	if (!out)
		return err_nomem(e, parts);
	for (uint32_t i = 0; i < parts; i++)
		out[i] = i < k->call->nout ? k->call->out[i] : NO_VALUE;
	return tf_done(steps_node(&k->at, &n, e));
}

static int split(struct tf_make *k, struct err *e)
{
	const Tf__AttrValue *parts = tf_attr(k->call->node, "num_split");
	struct attr a;
	int64_t axis;
	size_t n;

	if (k->call->nin != 2 || !parts || parts->i < k->call->nout ||
	    parts->i > TF_OUTPUTS_MAX || !tf_const_ints(k, 0, &axis, 1, &n) ||
	    n != 1)
		return 0;
	a = attr_set_int("axis", axis);
	return finish_parts(k, (uint32_t)parts->i, k->call->in + 1, &a, e);
}

static const char *pad_mode(const struct tf_make *k)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, "mode");

	if (!tf_equal(&k->call->node->op, "MirrorPad"))
		return "constant";
	return v && tf_equal(&v->s, "REFLECT") ? "reflect" : NULL;
}

/*
 * paddings is [rank, 2] here; all beginnings, then all ends, in ONNX.  PadV2
 * has a value, MirrorPad a mode.
 */
static int computed_pads(struct tf_make *k, struct err *e)
{
	static const int64_t order[] = {1, 0}, flat = -1;
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = "Pad", .nin = k->call->nin};
	struct tf_link turn = {.type = "Transpose", .nin = 1, .nattrs = 1};
	const char *mode = pad_mode(k);

	if (!mode || k->call->nin < 2 || k->call->nin > 3)
		return 0;
	turn.in[0] = tf_chain_cast(&c, k->call->in[1], TF_ONNX_INT64);
	turn.attrs[0] = tf_chain_list(&c, "perm", order, 2);
	l.in[0] = k->call->in[0];
	l.in[1] = tf_chain_2(&c, "Reshape", tf_chain(&c, &turn),
			     tf_chain_ints(&c, &flat, 1));
	l.in[2] = k->call->nin > 2 ? k->call->in[2] : NO_VALUE;
	l.attrs[l.nattrs++] = attr_set_text("mode", mode);
	return tf_chain_last(&c, &l);
}

static int pad(struct tf_make *k, struct err *e)
{
	int64_t given[2 * AXES_MAX], pads[2 * AXES_MAX];
	struct attr a;
	size_t n;
	int rc;

	if (k->call->nin != 2 || !tf_equal(&k->call->node->op, "Pad") ||
	    !tf_const_ints(k, 1, given, 2 * AXES_MAX, &n) || n % 2 != 0)
		return computed_pads(k, e);
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
	{"BatchMatMul", batch_matmul},
	{"BatchMatMulV2", batch_matmul},
	{"BatchMatMulV3", batch_matmul},
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
	{"MirrorPad", pad},
	{"NotEqual", not_equal},
	{"Pack", pack},
	{"Pad", pad},
	{"PadV2", pad},
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
