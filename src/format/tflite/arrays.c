/* SPDX-License-Identifier: MIT */
/* arrays - reductions, and operators that move numbers or tell shapes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/tflite/translate.h"

/* The operator's output by one node without an activation. */
static int one(struct tflite_make *k, const char *type, int opset,
	       const value_id *in, uint32_t nin, const struct attr *a,
	       uint32_t nattrs, struct err *e)
{
	struct step s = {.type = type,
			 .opset = opset,
			 .in = in,
			 .nin = nin,
			 .attrs = a,
			 .nattrs = nattrs};

	return tflite_finish(k, &s, TFLITE_NONE, e);
}

/* One input and the numbers of another as an attribute. */
static int with_ints(struct tflite_make *k, const char *type, int opset,
		     const char *name, struct attr *a, uint32_t nattrs,
		     struct err *e)
{
	int64_t v[TFLITE_INTS_MAX];
	size_t n;
	int rc;

	if (!tflite_ints(k, 1, v, &n) || n == 0)
		return 0;
	rc = attr_set_ints(&k->at, name, v, n, &a[nattrs++], e);
	return rc < 0 ? rc : one(k, type, opset, k->in, 1, a, nattrs, e);
}

/* ---- reductions ---- */

static int reduce(struct tflite_make *k, struct err *e)
{
	static const struct {
		const char *tflite, *onnx;
	} types[] = {{"MEAN", "ReduceMean"},
		     {"REDUCE_MAX", "ReduceMax"},
		     {"REDUCE_MIN", "ReduceMin"},
		     {"REDUCE_PROD", "ReduceProd"},
		     {"SUM", "ReduceSum"}};
	struct attr a[2] = {
		attr_set_int("keepdims", tflite_option(k, 0, 1, 0))};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(k->type.p, types[i].tflite) == 0)
			return with_ints(k, types[i].onnx, 11, "axes", a, 1, e);
	return 0;
}

#define ONNX_TYPES 32

/* ONNX's number of the type of the output; 0: none. */
static int64_t output_code(const struct tflite_make *k)
{
	enum dtype t = k->at.g->values[k->out[0]].dtype;

	for (int64_t code = 1; t != DTYPE_NONE && code <= ONNX_TYPES; code++)
		if (dtype_by_onnx(code) == t)
			return code;
	return 0;
}

static int cast_last(struct tflite_make *k, value_id v, struct err *e)
{
	struct attr to = attr_set_int("to", output_code(k));
	struct step s = {.what = "cast",
			 .type = "Cast",
			 .in = &v,
			 .nin = 1,
			 .attrs = &to,
			 .nattrs = 1};

	return to.i ? tflite_finish(k, &s, TFLITE_NONE, e) : 0;
}

static int arg_extreme(struct tflite_make *k, struct err *e)
{
	bool is_max = strcmp(k->type.p, "ARG_MAX") == 0;
	int64_t axis[TFLITE_INTS_MAX];
	struct attr a[2];
	struct step s = {.what = "index",
			 .type = is_max ? "ArgMax" : "ArgMin",
			 .opset = 11,
			 .in = k->in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	value_id v;
	size_t n;
	int rc;

	if (!tflite_ints(k, 1, axis, &n) || n != 1)
		return 0;
	a[0] = attr_set_int("axis", axis[0]);
	a[1] = attr_set_int("keepdims", 0);
	rc = steps_inner(&k->at, &s, &v, e);
	return rc < 0 ? rc : cast_last(k, v, e);
}

static int cast(struct tflite_make *k, struct err *e)
{
	return k->nin == 1 ? cast_last(k, k->in[0], e) : 0;
}

/* ---- shapes ---- */

static int shape(struct tflite_make *k, struct err *e)
{
	value_id v;
	int rc = steps_make(&k->at, "extents", "Shape", k->in[0], NO_VALUE, &v,
			    e);

	return rc < 0 ? rc : cast_last(k, v, e);
}

/* The extents an operator is told by a constant, or else by its output. */
static bool find_extents(struct tflite_make *k, int64_t *dims, size_t *n)
{
	const struct tensor *type = tflite_type(k, k->out[0]);
	size_t unknown = 0;

	if (tflite_ints(k, 1, dims, n))
		return true;
	if (!type || tflite_has(k, 1))
		return false;
	*n = (size_t)type->shape.rank;
	for (size_t i = 0; i < *n; i++) {
		dims[i] = type->shape.dims[i];
		unknown += dims[i] < 0;
	}
	return unknown <= 1;
}

/* The extents are computed. */
static int reshape_to(struct tflite_make *k, struct err *e)
{
	struct attr to = attr_set_int("to", 7); /* int64 */
	struct attr zero = attr_set_int("allowzero", 1);
	value_id in[2] = {k->in[0], NO_VALUE};
	struct step wide = {.what = "to_int64",
			    .type = "Cast",
			    .in = &k->in[1],
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};
	int rc = steps_inner(&k->at, &wide, &in[1], e);

	return rc < 0 ? rc : one(k, "Reshape", 14, in, 2, &zero, 1, e);
}

static int reshape(struct tflite_make *k, struct err *e)
{
	int64_t dims[TFLITE_INTS_MAX];
	struct attr a;
	size_t n;
	int rc;

	if (!find_extents(k, dims, &n))
		return tflite_has(k, 1) ? reshape_to(k, e) : 0;
	rc = attr_set_ints(&k->at, "shape", dims, n, &a, e);
	return rc < 0 ? rc : one(k, "Reshape", 1, k->in, 1, &a, 1, e);
}

static int transpose(struct tflite_make *k, struct err *e)
{
	struct attr a[1];

	return with_ints(k, "Transpose", 0, "perm", a, 0, e);
}

static int expand_dims(struct tflite_make *k, struct err *e)
{
	struct attr a[1];

	return with_ints(k, "Unsqueeze", 11, "axes", a, 0, e);
}

static int squeeze(struct tflite_make *k, struct err *e)
{
	struct flatbuf_vector v = flatbuf_vector(k->f, &k->options, 0, 4);
	int64_t axes[SHAPE_RANK_MAX];
	struct attr a;
	int rc;

	if (v.n > SHAPE_RANK_MAX)
		return 0;
	for (uint32_t i = 0; i < v.n; i++)
		axes[i] = flatbuf_int_at(k->f, &v, i, 4);
	rc = attr_set_ints(&k->at, "axes", axes, v.n, &a, e);
	return rc < 0 ? rc
		      : one(k, "Squeeze", 11, k->in, 1, &a, v.n > 0 ? 1 : 0, e);
}

/* ---- parts ---- */

static int slice_parts(struct tflite_make *k, const char *what, value_id in,
		       const int64_t *starts, const int64_t *ends,
		       const int64_t *steps, size_t n, bool is_last,
		       value_id *out, struct err *e)
{
	static const char *const names[] = {"starts", "ends", "axes", "steps"};
	int64_t axes[SHAPE_RANK_MAX];
	const int64_t *const lists[] = {starts, ends, axes, steps};
	value_id ins[5] = {in};
	struct step s = {.what = what, .type = "Slice", .in = ins, .nin = 5};
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		axes[i] = (int64_t)i;
	for (size_t i = 0; rc == 0 && i < 4; i++)
		rc = steps_ints(&k->at, names[i], lists[i], n, &ins[i + 1], e);
	return rc < 0 ? rc : tflite_step(k, &s, is_last, out, e);
}

/* Begin and size; -1 means up to the end. */
static int slice(struct tflite_make *k, struct err *e)
{
	int64_t starts[TFLITE_INTS_MAX], ends[TFLITE_INTS_MAX];
	int64_t steps[TFLITE_INTS_MAX];
	size_t n, m;
	value_id out;
	int rc;

	if (k->nin != 3 || !tflite_ints(k, 1, starts, &n) ||
	    !tflite_ints(k, 2, ends, &m) || n != m || n > SHAPE_RANK_MAX)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (starts[i] < 0)
			return 0;
		ends[i] = ends[i] < 0 ? INT64_MAX : starts[i] + ends[i];
		steps[i] = 1;
	}
	rc = slice_parts(k, NULL, k->in[0], starts, ends, steps, n, true, &out,
			 e);
	return rc < 0 ? rc : 1;
}

enum { /* options */
       MASK_BEGIN = 0,
       MASK_END = 1,
       MASK_ELLIPSIS = 2,
       MASK_NEW_AXIS = 3,
       MASK_SHRINK = 4
};

static bool read_strides(struct tflite_make *k, int64_t *starts, int64_t *ends,
			 int64_t *steps, size_t *n)
{
	int64_t begin = tflite_option(k, MASK_BEGIN, 4, 0);
	int64_t end = tflite_option(k, MASK_END, 4, 0);
	int64_t shrink = tflite_option(k, MASK_SHRINK, 4, 0);
	size_t m, o;

	if (k->nin != 4 || !tflite_ints(k, 1, starts, n) ||
	    !tflite_ints(k, 2, ends, &m) || !tflite_ints(k, 3, steps, &o) ||
	    m != *n || o != *n || *n > 31 ||
	    tflite_option(k, MASK_ELLIPSIS, 4, 0) ||
	    tflite_option(k, MASK_NEW_AXIS, 4, 0))
		return false;
	for (size_t i = 0; i < *n; i++) {
		if (steps[i] == 0)
			return false;
		if (shrink >> i & 1) {
			ends[i] = starts[i] == -1 ? INT64_MAX : starts[i] + 1;
			steps[i] = 1;
			continue;
		}
		if (begin >> i & 1)
			starts[i] = steps[i] > 0 ? 0 : INT64_MAX;
		if (end >> i & 1)
			ends[i] = steps[i] > 0 ? INT64_MAX : INT64_MIN;
	}
	return true;
}

static int strided_slice(struct tflite_make *k, struct err *e)
{
	int64_t starts[TFLITE_INTS_MAX], ends[TFLITE_INTS_MAX];
	int64_t steps[TFLITE_INTS_MAX], axes[32];
	int64_t shrink = tflite_option(k, MASK_SHRINK, 4, 0);
	struct attr a;
	size_t n, naxes = 0;
	value_id v;
	int rc;

	if (!read_strides(k, starts, ends, steps, &n))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (shrink >> i & 1)
			axes[naxes++] = (int64_t)i;
	rc = slice_parts(k, "part", k->in[0], starts, ends, steps, n,
			 naxes == 0, &v, e);
	if (rc < 0 || naxes == 0)
		return rc < 0 ? rc : 1;
	rc = attr_set_ints(&k->at, "axes", axes, naxes, &a, e);
	return rc < 0 ? rc : one(k, "Squeeze", 11, &v, 1, &a, 1, e);
}

/* Pairs for each axis here; all beginnings, then all ends, in ONNX. */
static int pad(struct tflite_make *k, struct err *e)
{
	bool is_mirror = strcmp(k->type.p, "MIRROR_PAD") == 0;
	int64_t given[TFLITE_INTS_MAX], pads[TFLITE_INTS_MAX];
	struct attr a[2];
	size_t n;
	int rc;

	if (k->nin != 2 || !tflite_ints(k, 1, given, &n) || n % 2 != 0 ||
	    (is_mirror && tflite_option(k, 0, 1, 0) != 0))
		return 0;
	for (size_t i = 0; i < n / 2; i++) {
		pads[i] = given[2 * i];
		pads[n / 2 + i] = given[2 * i + 1];
	}
	rc = attr_set_ints(&k->at, "pads", pads, n, &a[0], e);
	a[1] = attr_set_text("mode", is_mirror ? "reflect" : "constant");
	return rc < 0 ? rc : one(k, "Pad", 2, k->in, 1, a, 2, e);
}

static int gather(struct tflite_make *k, struct err *e)
{
	struct attr a = attr_set_int("axis", tflite_option(k, 0, 4, 0));

	if (k->nin != 2 || tflite_option(k, 1, 4, 0) != 0)
		return 0;
	return one(k, "Gather", 0, k->in, 2, &a, 1, e);
}

static int gather_nd(struct tflite_make *k, struct err *e)
{
	struct attr to = attr_set_int("to", 7); /* int64 */
	value_id in[2] = {k->in[0], NO_VALUE};
	struct step wide = {.what = "to_int64",
			    .type = "Cast",
			    .in = &k->in[1],
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};
	int rc;

	if (k->nin != 2)
		return 0;
	rc = steps_inner(&k->at, &wide, &in[1], e);
	return rc < 0 ? rc : one(k, "GatherND", 0, in, 2, NULL, 0, e);
}

static int tile(struct tflite_make *k, struct err *e)
{
	int64_t times[TFLITE_INTS_MAX];
	value_id in[2] = {k->in[0], NO_VALUE};
	size_t n;
	int rc;

	if (k->nin != 2 || !tflite_ints(k, 1, times, &n))
		return 0;
	rc = steps_ints(&k->at, "times", times, n, &in[1], e);
	return rc < 0 ? rc : one(k, "Tile", 0, in, 2, NULL, 0, e);
}

static int reverse(struct tflite_make *k, struct err *e)
{
	int64_t axes[TFLITE_INTS_MAX], starts[1] = {-1}, steps[1] = {-1};
	int64_t ends[1] = {INT64_MIN};
	static const char *const names[] = {"starts", "ends", "axes", "steps"};
	const int64_t *const lists[] = {starts, ends, axes, steps};
	value_id in[5] = {k->in[0]};
	size_t n;
	int rc = 0;

	if (!tflite_ints(k, 1, axes, &n) || n != 1)
		return 0;
	for (size_t i = 0; rc == 0 && i < 4; i++)
		rc = steps_ints(&k->at, names[i], lists[i], 1, &in[i + 1], e);
	return rc < 0 ? rc : one(k, "Slice", 0, in, 5, NULL, 0, e);
}

/* Where a constant is sparse, what it stands for is its data already. */
static int densify(struct tflite_make *k, struct err *e)
{
	return k->nin == 1 ? one(k, "Identity", 0, k->in, 1, NULL, 0, e) : 0;
}

/* ---- joining and splitting ---- */

static int concat(struct tflite_make *k, struct err *e)
{
	struct attr a = attr_set_int("axis", tflite_option(k, 0, 4, 0));
	int64_t activation = tflite_option(k, 1, 1, 0);
	struct step s = {.what = "concat",
			 .type = "Concat",
			 .in = k->in,
			 .nin = k->nin,
			 .attrs = &a,
			 .nattrs = 1};

	return tflite_can_activate(activation)
		       ? tflite_finish(k, &s, activation, e)
		       : 0;
}

/* Each value gets the new axis, then they are joined along it. */
static int pack(struct tflite_make *k, struct err *e)
{
	int64_t axis = tflite_option(k, 1, 4, 0);
	value_id *in = arena_array(k->at.m->arena, k->nin + 1u, sizeof(*in));
	struct attr a, axes;
	int rc = in ? 0 : err_nomem(e, k->nin);

	if (rc == 0)
		rc = attr_set_ints(&k->at, "axes", &axis, 1, &axes, e);
	for (uint32_t i = 0; rc == 0 && i < k->nin; i++) {
		char what[32];
		struct step s = {.type = "Unsqueeze",
				 .opset = 11,
				 .in = &k->in[i],
				 .nin = 1,
				 .attrs = &axes,
				 .nattrs = 1};

		snprintf(what, sizeof(what), "part_%u", i);
		s.what = arena_strndup(k->at.m->arena, what, strlen(what));
		rc = s.what ? steps_inner(&k->at, &s, &in[i], e)
			    : err_nomem(e, 0);
	}
	a = attr_set_int("axis", axis);
	return rc < 0 ? rc : one(k, "Concat", 0, in, k->nin, &a, 1, e);
}

static int split_node(struct tflite_make *k, const char *what, value_id in,
		      const value_id *out, int64_t axis, const int64_t *sizes,
		      struct err *e)
{
	struct attr a[2] = {attr_set_int("axis", axis)};
	struct step s = {.what = what,
			 .type = "Split",
			 .opset = 11,
			 .in = &in,
			 .nin = 1,
			 .out = out,
			 .nout = k->nout,
			 .attrs = a,
			 .nattrs = 1};
	int rc = 0;

	if (sizes)
		rc = attr_set_ints(&k->at, "split", sizes, k->nout,
				   &a[s.nattrs++], e);
	if (rc == 0)
		rc = steps_node(&k->at, &s, e);
	return rc < 0 ? rc : 1;
}

/* The axis comes first, or, with sizes, last. */
static int split(struct tflite_make *k, struct err *e)
{
	bool has_sizes = strcmp(k->type.p, "SPLIT_V") == 0;
	int64_t axis[TFLITE_INTS_MAX], sizes[TFLITE_INTS_MAX];
	size_t n, m = k->nout;

	if (k->nin != (has_sizes ? 3u : 2u) ||
	    !tflite_ints(k, has_sizes ? 2 : 0, axis, &n) || n != 1)
		return 0;
	if (has_sizes && (!tflite_ints(k, 1, sizes, &m) || m != k->nout))
		return 0;
	for (size_t i = 0; has_sizes && i < m; i++)
		if (sizes[i] < 0)
			return 0;
	return split_node(k, NULL, k->in[has_sizes ? 0 : 1], k->out, axis[0],
			  has_sizes ? sizes : NULL, e);
}

static int unpack(struct tflite_make *k, struct err *e)
{
	int64_t axis = tflite_option(k, 1, 4, 0);
	value_id *parts =
		arena_array(k->at.m->arena, k->nout + 1u, sizeof(*parts));
	struct attr axes;
	int rc = parts ? 0 : err_nomem(e, k->nout);

	for (uint32_t i = 0; rc == 0 && i < k->nout; i++) {
		char what[32];

		snprintf(what, sizeof(what), "part_%u", i);
		rc = steps_value(&k->at, what, &parts[i], e);
	}
	if (rc == 0)
		rc = attr_set_ints(&k->at, "axes", &axis, 1, &axes, e);
	if (rc == 0)
		rc = split_node(k, "split", k->in[0], parts, axis, NULL, e);
	for (uint32_t i = 0; rc >= 0 && i < k->nout; i++) {
		char what[32];
		struct step s = {.what = what,
				 .type = "Squeeze",
				 .opset = 11,
				 .in = &parts[i],
				 .nin = 1,
				 .out = &k->out[i],
				 .nout = 1,
				 .attrs = &axes,
				 .nattrs = 1};

		snprintf(what, sizeof(what), "output_%u", i);
		rc = steps_node(&k->at, &s, e);
	}
	return rc < 0 ? rc : 1;
}

/* ---- which function makes which ---- */

const struct tflite_handled tflite_array_makers[] = {
	{"ARG_MAX", arg_extreme, HANDLE_OWN, 1},
	{"ARG_MIN", arg_extreme, HANDLE_OWN, 1},
	{"CAST", cast, HANDLE_OWN, 1},
	{"CONCATENATION", concat, HANDLE_MOVE, 0},
	{"DENSIFY", densify, HANDLE_MOVE, 1},
	{"EXPAND_DIMS", expand_dims, HANDLE_MOVE, 1},
	{"GATHER", gather, HANDLE_MOVE, 1},
	{"GATHER_ND", gather_nd, HANDLE_MOVE, 1},
	{"MEAN", reduce, HANDLE_FLOAT, 1},
	{"MIRROR_PAD", pad, HANDLE_MOVE, 1},
	{"PACK", pack, HANDLE_MOVE, 0},
	{"PAD", pad, HANDLE_FLOAT, 1},
	{"REDUCE_MAX", reduce, HANDLE_FLOAT, 1},
	{"REDUCE_MIN", reduce, HANDLE_FLOAT, 1},
	{"REDUCE_PROD", reduce, HANDLE_FLOAT, 1},
	{"RESHAPE", reshape, HANDLE_MOVE, 1},
	{"REVERSE_V2", reverse, HANDLE_MOVE, 1},
	{"SHAPE", shape, HANDLE_OWN, 1},
	{"SLICE", slice, HANDLE_MOVE, 1},
	{"SPLIT", split, HANDLE_OWN, 1},
	{"SPLIT_V", split, HANDLE_OWN, 1},
	{"SQUEEZE", squeeze, HANDLE_MOVE, 1},
	{"STRIDED_SLICE", strided_slice, HANDLE_MOVE, 1},
	{"SUM", reduce, HANDLE_FLOAT, 1},
	{"TILE", tile, HANDLE_MOVE, 1},
	{"TRANSPOSE", transpose, HANDLE_MOVE, 1},
	{"UNPACK", unpack, HANDLE_OWN, 1},
	{0},
};
