/* SPDX-License-Identifier: MIT */
/* translate_shape - operators that take parts, fill, count and repeat. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/tf/translate.h"

#define AXES_MAX 32

static int cast_last(struct tf_make *k, value_id v, int64_t to, struct err *e)
{
	struct attr a = attr_set_int("to", to);

	return to ? tf_finish(k, "compute", "Cast", 0, &v, 1, &a, 1, e) : 0;
}

/* ---- parts ---- */

struct parts {
	int64_t starts[AXES_MAX], ends[AXES_MAX], steps[AXES_MAX];
	size_t n;
};

static int take_parts(struct tf_make *k, const char *what,
		      const struct parts *p, value_id *out, struct err *e)
{
	static const char *const names[] = {"starts", "ends", "axes", "steps"};
	int64_t axes[AXES_MAX];
	const int64_t *const lists[] = {p->starts, p->ends, axes, p->steps};
	value_id in[5] = {k->call->in[0]};
	struct step n = {.what = what, .type = "Slice", .in = in, .nin = 5};
	int rc = 0;

	for (size_t i = 0; i < p->n; i++)
		axes[i] = (int64_t)i;
	for (size_t i = 0; rc == 0 && i < 4; i++)
		rc = steps_ints(&k->at, names[i], lists[i], p->n, &in[i + 1],
				e);
	return rc < 0 ? rc : steps_inner(&k->at, &n, out, e);
}

static bool read_strides(struct tf_make *k, struct parts *p)
{
	int64_t begin = tf_int(k, "begin_mask", 0);
	int64_t end = tf_int(k, "end_mask", 0);
	int64_t shrink = tf_int(k, "shrink_axis_mask", 0);
	size_t m, o;

	if (k->call->nin != 4 ||
	    !tf_const_ints(k, 1, p->starts, AXES_MAX, &p->n) ||
	    !tf_const_ints(k, 2, p->ends, AXES_MAX, &m) ||
	    !tf_const_ints(k, 3, p->steps, AXES_MAX, &o) || m != p->n ||
	    o != p->n || tf_int(k, "ellipsis_mask", 0) ||
	    tf_int(k, "new_axis_mask", 0))
		return false;
	for (size_t i = 0; i < p->n; i++) {
		if (p->steps[i] == 0)
			return false;
		if (shrink >> i & 1) {
			p->ends[i] = p->starts[i] == -1 ? INT64_MAX
							: p->starts[i] + 1;
			p->steps[i] = 1;
			continue;
		}
		if (begin >> i & 1)
			p->starts[i] = p->steps[i] > 0 ? 0 : INT64_MAX;
		if (end >> i & 1)
			p->ends[i] = p->steps[i] > 0 ? INT64_MAX : INT64_MIN;
	}
	return true;
}

static int strided_slice(struct tf_make *k, struct err *e)
{
	int64_t shrink = tf_int(k, "shrink_axis_mask", 0), axes[AXES_MAX];
	struct parts p;
	struct attr a;
	size_t naxes = 0;
	value_id v;
	int rc;

	if (!read_strides(k, &p))
		return 0;
	for (size_t i = 0; i < p.n; i++)
		if (shrink >> i & 1)
			axes[naxes++] = (int64_t)i;
	rc = take_parts(k, "part", &p, &v, e);
	if (rc == 0 && naxes == 0)
		return tf_finish(k, "compute", "Identity", 0, &v, 1, NULL, 0,
				 e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "axes", axes, naxes, &a, e);
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "Squeeze", 11, &v, 1, &a, 1, e);
}

/* Begin and size; -1 means up to the end. */
static int slice(struct tf_make *k, struct err *e)
{
	struct parts p;
	value_id v;
	size_t m;
	int rc;

	if (k->call->nin != 3 ||
	    !tf_const_ints(k, 1, p.starts, AXES_MAX, &p.n) ||
	    !tf_const_ints(k, 2, p.ends, AXES_MAX, &m) || m != p.n)
		return 0;
	for (size_t i = 0; i < p.n; i++) {
		if (p.starts[i] < 0 || p.starts[i] > INT32_MAX)
			return 0;
		p.ends[i] = p.ends[i] < 0 ? INT64_MAX : p.starts[i] + p.ends[i];
		p.steps[i] = 1;
	}
	rc = take_parts(k, "part", &p, &v, e);
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "Identity", 0, &v, 1, NULL, 0,
				  e);
}

static int unpack(struct tf_make *k, struct err *e)
{
	int64_t axis = tf_int(k, "axis", 0), num = tf_int(k, "num", -1);
	uint32_t used = k->call->nout;
	uint32_t n = num > TF_OUTPUTS_MAX ? 0 : (uint32_t)num;
	value_id *parts = arena_array(k->at.m->arena, n + 1u, sizeof(*parts));
	struct attr a = attr_set_int("axis", axis), axes;
	struct step split = {.what = "split",
			     .type = "Split",
			     .opset = 11,
			     .in = k->call->in,
			     .nin = 1,
			     .out = parts,
			     .nout = n,
			     .attrs = &a,
			     .nattrs = 1};
	int rc = parts ? attr_set_ints(&k->at, "axes", &axis, 1, &axes, e)
		       : err_nomem(e, n);

	/* Without all parts being known, they would be too large. */
	if (num < used || n == 0)
		return 0;
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		char what[32];

		snprintf(what, sizeof(what), "part_%u", i);
		rc = steps_value(&k->at, what, &parts[i], e);
	}
	if (rc == 0)
		rc = steps_node(&k->at, &split, e);
	for (uint32_t i = 0; rc == 0 && i < used; i++) {
		char what[32];
		struct step s = {.what = what,
				 .type = "Squeeze",
				 .opset = 11,
				 .in = &parts[i],
				 .nin = 1,
				 .out = &k->call->out[i],
				 .nout = 1,
				 .attrs = &axes,
				 .nattrs = 1};

		snprintf(what, sizeof(what), "output_%u", i);
		rc = steps_node(&k->at, &s, e);
	}
	return tf_done(rc);
}

static int split_v(struct tf_make *k, struct err *e)
{
	int64_t sizes[AXES_MAX], axis;
	struct attr a[2];
	size_t n, m;
	int rc;

	if (k->call->nin != 3 || !tf_const_ints(k, 1, sizes, AXES_MAX, &n) ||
	    n != k->call->nout || !tf_const_ints(k, 2, &axis, 1, &m) || m != 1)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (sizes[i] < 0)
			return 0;
	a[0] = attr_set_int("axis", axis);
	rc = attr_set_ints(&k->at, "split", sizes, n, &a[1], e);
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "Split", 11, k->call->in, 1, a,
				  2, e);
}

static int gather_nd(struct tf_make *k, struct err *e)
{
	struct attr a;
	value_id in[2] = {k->call->in[0], NO_VALUE};
	int rc;

	if (k->call->nin != 2)
		return 0;
	a = attr_set_int("batch_dims", tf_int(k, "batch_dims", 0));
	rc = steps_cast(&k->at, "to_int64", TF_ONNX_INT64, k->call->in[1],
			&in[1], e);
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "GatherND", 0, in, 2, &a, 1, e);
}

/* ---- filling and repeating ---- */

/* dims, value */
static int fill(struct tf_make *k, struct err *e)
{
	value_id in[2];
	int rc;

	if (k->call->nin != 2)
		return 0;
	in[0] = k->call->in[1];
	rc = steps_cast(&k->at, "to_int64", TF_ONNX_INT64, k->call->in[0],
			&in[1], e);
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "Expand", 0, in, 2, NULL, 0, e);
}

static int tile(struct tf_make *k, struct err *e)
{
	value_id in[2] = {k->call->in[0], NO_VALUE};
	int rc;

	if (k->call->nin != 2)
		return 0;
	rc = steps_cast(&k->at, "to_int64", TF_ONNX_INT64, k->call->in[1],
			&in[1], e);
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "Tile", 0, in, 2, NULL, 0, e);
}

static int range(struct tf_make *k, struct err *e)
{
	return k->call->nin == 3 ? tf_finish(k, "compute", "Range", 0,
					     k->call->in, 3, NULL, 0, e)
				 : 0;
}

static int like(struct tf_make *k, float number, struct err *e)
{
	value_id in[2], v;
	struct step n = {
		.what = "filled", .type = "Expand", .in = in, .nin = 2};
	int rc = steps_make(&k->at, "extents", "Shape", k->call->in[0],
			    NO_VALUE, &in[1], e);

	if (rc == 0)
		rc = steps_float(&k->at, "number", number, &in[0], e);
	if (rc == 0)
		rc = steps_inner(&k->at, &n, &v, e);
	return rc < 0 ? rc : cast_last(k, v, tf_type_code(k, "T", 1), e);
}

static int zeros_like(struct tf_make *k, struct err *e)
{
	return tf_type_code(k, "T", 1) ? like(k, 0, e) : 0;
}

static int ones_like(struct tf_make *k, struct err *e)
{
	return tf_type_code(k, "T", 1) ? like(k, 1, e) : 0;
}

static int whole_number(struct tf_make *k, const char *what, int64_t v,
			value_id *out, struct err *e)
{
	struct attr a = {.name = "value_int", .kind = ATTR_INT, .n = 1, .i = v};
	struct step n = {
		.what = what, .type = "Constant", .attrs = &a, .nattrs = 1};

	return steps_inner(&k->at, &n, out, e);
}

/* Rows that compare an index with all there are: an odd one has none. */
static int one_hot(struct tf_make *k, struct err *e)
{
	static const int64_t last = -1;
	value_id r[3], in[3];
	struct attr axes;
	struct step count = {
		.what = "columns", .type = "Range", .in = r, .nin = 3};
	struct step wide = {.what = "wide",
			    .type = "Unsqueeze",
			    .opset = 11,
			    .in = &in[0],
			    .nin = 1,
			    .attrs = &axes,
			    .nattrs = 1};
	int rc;

	if (k->call->nin != 4 || tf_int(k, "axis", -1) != -1)
		return 0;
	rc = attr_set_ints(&k->at, "axes", &last, 1, &axes, e);
	if (rc == 0)
		rc = whole_number(k, "first", 0, &r[0], e);
	if (rc == 0)
		rc = steps_cast(&k->at, "depth", TF_ONNX_INT64, k->call->in[1],
				&r[1], e);
	if (rc == 0)
		rc = whole_number(k, "step", 1, &r[2], e);
	if (rc == 0)
		rc = steps_inner(&k->at, &count, &r[0], e);
	if (rc == 0)
		rc = steps_cast(&k->at, "to_int64", TF_ONNX_INT64,
				k->call->in[0], &in[0], e);
	if (rc == 0)
		rc = steps_inner(&k->at, &wide, &in[0], e);
	if (rc == 0)
		rc = steps_make(&k->at, "equal", "Equal", in[0], r[0], &in[0],
				e);
	in[1] = k->call->in[2];
	in[2] = k->call->in[3];
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "Where", 0, in, 3, NULL, 0, e);
}

/* ---- counting and choosing ---- */

static int rank(struct tf_make *k, struct err *e)
{
	value_id v;
	int rc = steps_make(&k->at, "extents", "Shape", k->call->in[0],
			    NO_VALUE, &v, e);

	if (rc == 0)
		rc = steps_make(&k->at, "count", "Size", v, NO_VALUE, &v, e);
	return rc < 0 ? rc : cast_last(k, v, TF_ONNX_INT32, e);
}

static int size(struct tf_make *k, struct err *e)
{
	value_id v;
	int rc = steps_make(&k->at, "count", "Size", k->call->in[0], NO_VALUE,
			    &v, e);

	return rc < 0 ? rc : cast_last(k, v, tf_type_code(k, "out_type", 3), e);
}

static int arg_extreme(struct tf_make *k, struct err *e)
{
	bool is_max = tf_equal(&k->call->node->op, "ArgMax");
	struct attr a[2];
	struct step n = {.what = "index",
			 .type = is_max ? "ArgMax" : "ArgMin",
			 .opset = 11,
			 .in = k->call->in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int64_t axis;
	value_id v;
	size_t m;
	int rc;

	if (k->call->nin != 2 || !tf_const_ints(k, 1, &axis, 1, &m) || m != 1)
		return 0;
	a[0] = attr_set_int("axis", axis);
	a[1] = attr_set_int("keepdims", 0);
	rc = steps_inner(&k->at, &n, &v, e);
	return rc < 0 ? rc
		      : cast_last(k, v, tf_type_code(k, "output_type", 9), e);
}

static int top_k(struct tf_make *k, struct err *e)
{
	static const int64_t one = 1;
	struct attr a;
	value_id in[2] = {k->call->in[0], NO_VALUE}, out[2];
	struct step flat = {.what = "k",
			    .type = "Reshape",
			    .opset = 1, /* the shape is an attribute */
			    .in = &in[1],
			    .nin = 1,
			    .attrs = &a,
			    .nattrs = 1};
	struct step n = {.what = "compute",
			 .type = "TopK",
			 .in = in,
			 .nin = 2,
			 .out = out,
			 .nout = 2};
	struct attr to = attr_set_int("to", TF_ONNX_INT32);
	struct step cast = {.what = "cast",
			    .type = "Cast",
			    .in = &out[1],
			    .nin = 1,
			    .nout = 1,
			    .attrs = &to,
			    .nattrs = 1};
	int rc;

	if (k->call->nin != 2)
		return 0;
	rc = steps_cast(&k->at, "to_int64", TF_ONNX_INT64, k->call->in[1],
			&in[1], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "shape", &one, 1, &a, e);
	if (rc == 0)
		rc = steps_inner(&k->at, &flat, &in[1], e);
	out[0] = k->call->out[0];
	if (rc == 0)
		rc = steps_value(&k->at, "indices", &out[1], e);
	if (rc == 0)
		rc = steps_node(&k->at, &n, e);
	if (k->call->nout > 1)
		cast.out = &k->call->out[1];
	if (rc == 0 && k->call->nout > 1)
		rc = steps_node(&k->at, &cast, e);
	return tf_done(rc);
}

static int cumsum(struct tf_make *k, struct err *e)
{
	struct attr a[] = {attr_set_int("exclusive", tf_flag(k, "exclusive")),
			   attr_set_int("reverse", tf_flag(k, "reverse"))};

	return k->call->nin == 2 ? tf_finish(k, "compute", "CumSum", 0,
					     k->call->in, 2, a, 2, e)
				 : 0;
}

/* True for all, or for any, along axes. */
static int reduce_bool(struct tf_make *k, struct err *e)
{
	bool is_all = tf_equal(&k->call->node->op, "All");
	int64_t axes[AXES_MAX];
	struct attr a[2];
	value_id v;
	struct step n = {.what = "reduced",
			 .type = is_all ? "ReduceMin" : "ReduceMax",
			 .opset = 11,
			 .in = &v,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	size_t m;
	int rc;

	if (k->call->nin != 2 || !tf_const_ints(k, 1, axes, AXES_MAX, &m) ||
	    m == 0)
		return 0;
	rc = attr_set_ints(&k->at, "axes", axes, m, &a[0], e);
	a[1] = attr_set_int("keepdims", tf_flag(k, "keep_dims"));
	if (rc == 0)
		rc = steps_cast(&k->at, "to_int32", TF_ONNX_INT32,
				k->call->in[0], &v, e);
	if (rc == 0)
		rc = steps_inner(&k->at, &n, &v, e);
	return rc < 0 ? rc : cast_last(k, v, TF_ONNX_BOOL, e);
}

static const struct tf_maker makers[] = {
	{"All", reduce_bool},	 {"Any", reduce_bool},
	{"ArgMax", arg_extreme}, {"ArgMin", arg_extreme},
	{"Cumsum", cumsum},	 {"Fill", fill},
	{"GatherNd", gather_nd}, {"ResourceGatherNd", gather_nd},
	{"OneHot", one_hot},	 {"OnesLike", ones_like},
	{"Range", range},	 {"Rank", rank},
	{"Size", size},		 {"Slice", slice},
	{"SplitV", split_v},	 {"StridedSlice", strided_slice},
	{"Tile", tile},		 {"TopKV2", top_k},
	{"Unpack", unpack},	 {"ZerosLike", zeros_like},
};

int tf_translate_shape(struct tf_make *k, struct err *e)
{
	return tf_make_with(makers, sizeof(makers) / sizeof(makers[0]), k, e);
}
