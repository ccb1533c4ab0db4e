/* SPDX-License-Identifier: MIT */
/* more - operators that are a few of ONNX's, in their own order of inputs. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/tflite/translate.h"

/* ---- building ---- */

#define TO_INT32 6
#define TO_INT64 7
#define TO_BOOL 9

static int last(struct tflite_make *k, const char *type, int opset,
		const value_id *in, uint32_t nin, const struct attr *a,
		uint32_t nattrs, struct err *e)
{
	struct step s = {.what = "compute",
			 .type = type,
			 .opset = opset,
			 .in = in,
			 .nin = nin,
			 .attrs = a,
			 .nattrs = nattrs};

	return tflite_finish(k, &s, TFLITE_NONE, e);
}

static int last_cast(struct tflite_make *k, int64_t type, value_id v,
		     struct err *e)
{
	struct attr to = attr_set_int("to", type);

	return last(k, "Cast", 0, &v, 1, &to, 1, e);
}

static bool is_type(const struct tflite_make *k, uint32_t input, enum dtype t)
{
	return tflite_has(k, input) &&
	       k->at.g->values[k->given[input]].dtype == t;
}

/* ---- numbers ---- */

static int add_n(struct tflite_make *k, struct err *e)
{
	return last(k, "Sum", 0, k->in, k->nin, NULL, 0, e);
}

static int cumsum(struct tflite_make *k, struct err *e)
{
	struct attr a[] = {attr_set_int("exclusive", tflite_option(k, 0, 1, 0)),
			   attr_set_int("reverse", tflite_option(k, 1, 1, 0))};

	return k->nin == 2 ? last(k, "CumSum", 14, k->in, 2, a, 2, e) : 0;
}

/* What is left has the sign of the divisor. */
static int floor_mod(struct tflite_make *k, struct err *e)
{
	value_id v, in[2];
	int rc;

	if (k->nin != 2)
		return 0;
	if (!is_type(k, 0, DTYPE_F32))
		return last(k, "Mod", 0, k->in, 2, NULL, 0, e);
	rc = steps_make(&k->at, "quotient", "Div", k->in[0], k->in[1], &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "floor", "Floor", v, NO_VALUE, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "whole", "Mul", v, k->in[1], &in[1], e);
	in[0] = k->in[0];
	return rc < 0 ? rc : last(k, "Sub", 0, in, 2, NULL, 0, e);
}

static int relu_to_one(struct tflite_make *k, struct err *e)
{
	struct attr a[] = {attr_set_float("min", 0), attr_set_float("max", 1)};

	return k->nin == 1 ? last(k, "Clip", 6, k->in, 1, a, 2, e) : 0;
}

static int zeros_like(struct tflite_make *k, struct err *e)
{
	const value_id twice[] = {k->in[0], k->in[0]};
	value_id shape;
	int rc;

	if (!is_type(k, 0, DTYPE_F32)) /* x - x, but for what is no number */
		return last(k, "Sub", 0, twice, 2, NULL, 0, e);
	rc = steps_make(&k->at, "shape", "Shape", k->in[0], NO_VALUE, &shape,
			e);
	return rc < 0 ? rc
		      : last(k, "ConstantOfShape", 0, &shape, 1, NULL, 0, e);
}

/* Over the channels, which are the last here and the second in ONNX. */
static int local_response(struct tflite_make *k, struct err *e)
{
	static const int64_t first[] = {0, 3, 1, 2}, back[] = {0, 2, 3, 1};
	int64_t size = 2 * tflite_option(k, 0, 4, 0) + 1;
	float alpha = flatbuf_float(k->f, &k->options, 2, 0);
	struct attr a[] = {
		attr_set_int("size", size),
		attr_set_float("bias", flatbuf_float(k->f, &k->options, 1, 0)),
		attr_set_float("alpha", alpha * (float)size),
		attr_set_float("beta", flatbuf_float(k->f, &k->options, 3, 0))};
	value_id v;
	struct step s = {.what = "compute",
			 .type = "LRN",
			 .in = &v,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 4};
	int rc;

	if (k->nin != 1 || size < 1 || !tflite_extents(k, 0, 4))
		return 0;
	rc = tflite_turn(k, "to_nchw", first, 4, k->in[0], false, &v, e);
	if (rc == 0)
		rc = steps_inner(&k->at, &s, &v, e);
	if (rc == 0)
		rc = tflite_turn(k, "to_nhwc", back, 4, v, true, &v, e);
	return rc < 0 ? rc : 1;
}

/* Any or all of bools. */
static int reduce_bools(struct tflite_make *k, struct err *e)
{
	bool is_all = strcmp(k->type.p, "REDUCE_ALL") == 0;
	int64_t axes[TFLITE_INTS_MAX];
	struct attr a[2] = {
		{0}, attr_set_int("keepdims", tflite_option(k, 0, 1, 0))};
	value_id v;
	struct step s = {.what = is_all ? "least" : "largest",
			 .type = is_all ? "ReduceMin" : "ReduceMax",
			 .opset = 11,
			 .in = &v,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	size_t n;
	int rc;

	if (k->nin != 2 || !tflite_ints(k, 1, axes, &n) || n == 0)
		return 0;
	rc = attr_set_ints(&k->at, "axes", axes, n, &a[0], e);
	if (rc == 0)
		rc = steps_cast(&k->at, "numbers", TO_INT32, k->in[0], &v, e);
	if (rc == 0)
		rc = steps_inner(&k->at, &s, &v, e);
	return rc < 0 ? rc : last_cast(k, TO_BOOL, v, e);
}

/* ---- shapes ---- */

/* FILL has the extents first, BROADCAST_TO last. */
static int expand(struct tflite_make *k, struct err *e)
{
	bool is_fill = strcmp(k->type.p, "FILL") == 0;
	value_id in[2];
	int rc;

	if (k->nin != 2)
		return 0;
	in[0] = k->in[is_fill ? 1 : 0];
	rc = steps_cast(&k->at, "extents", TO_INT64, k->in[is_fill ? 0 : 1],
			&in[1], e);
	return rc < 0 ? rc : last(k, "Expand", 0, in, 2, NULL, 0, e);
}

static int range(struct tflite_make *k, struct err *e)
{
	return k->nin == 3 ? last(k, "Range", 0, k->in, 3, NULL, 0, e) : 0;
}

static int rank(struct tflite_make *k, struct err *e)
{
	value_id v;
	int rc =
		steps_make(&k->at, "shape", "Shape", k->in[0], NO_VALUE, &v, e);

	if (rc == 0)
		rc = steps_make(&k->at, "size", "Size", v, NO_VALUE, &v, e);
	return rc < 0 ? rc : last_cast(k, TO_INT32, v, e);
}

/* A pair of numbers for each axis, and what to fill them with. */
static int pad_with(struct tflite_make *k, struct err *e)
{
	int64_t given[TFLITE_INTS_MAX], pads[TFLITE_INTS_MAX];
	value_id in[3] = {k->in[0], NO_VALUE, NO_VALUE};
	size_t n;
	int rc;

	if (k->nin != 3 || !tflite_ints(k, 1, given, &n) || n % 2 != 0)
		return 0;
	for (size_t i = 0; i < n / 2; i++) {
		pads[i] = given[2 * i];
		pads[n / 2 + i] = given[2 * i + 1];
	}
	in[2] = k->in[2];
	rc = steps_ints(&k->at, "pads", pads, n, &in[1], e);
	return rc < 0 ? rc : last(k, "Pad", 0, in, 3, NULL, 0, e);
}

/* ---- places ---- */

static int embedding_lookup(struct tflite_make *k, struct err *e)
{
	const value_id in[] = {k->in[1], k->in[0]};

	return k->nin == 2 ? last(k, "Gather", 0, in, 2, NULL, 0, e) : 0;
}

/* on where the number of the new, last axis is the index, off elsewhere */
static int one_hot(struct tflite_make *k, struct err *e)
{
	int64_t axis = tflite_option(k, 0, 4, -1);
	const struct tensor *x = tflite_type(k, k->given[0]);
	value_id in[3], from, depth = NO_VALUE, wide, numbers;
	struct step s = {.what = "numbers", .type = "Range", .nin = 3};
	int64_t number[] = {0, 1};
	value_id zero = NO_VALUE, one = NO_VALUE;
	int rc;

	if (k->nin != 4 || !x || (axis != -1 && axis != x->shape.rank))
		return 0;
	rc = steps_ints(&k->at, "zero", &number[0], 1, &from, e);
	if (rc == 0)
		rc = steps_axis(&k->at, "first", "Squeeze", 0, from, &zero, e);
	if (rc == 0)
		rc = steps_ints(&k->at, "one", &number[1], 1, &from, e);
	if (rc == 0)
		rc = steps_axis(&k->at, "step", "Squeeze", 0, from, &one, e);
	if (rc == 0)
		rc = steps_cast(&k->at, "depth", TO_INT64, k->in[1], &depth, e);
	in[0] = zero;
	in[1] = depth;
	in[2] = one;
	s.in = in;
	if (rc == 0)
		rc = steps_inner(&k->at, &s, &numbers, e);
	if (rc == 0)
		rc = steps_cast(&k->at, "index", TO_INT64, k->in[0], &wide, e);
	if (rc == 0)
		rc = steps_axis(&k->at, "indices", "Unsqueeze", -1, wide, &wide,
				e);
	if (rc == 0)
		rc = steps_make(&k->at, "is_hot", "Equal", wide, numbers,
				&in[0], e);
	in[1] = k->in[2];
	in[2] = k->in[3];
	return rc < 0 ? rc : last(k, "Where", 0, in, 3, NULL, 0, e);
}

static int reverse_sequence(struct tflite_make *k, struct err *e)
{
	struct attr a[] = {
		attr_set_int("time_axis", tflite_option(k, 0, 4, 0)),
		attr_set_int("batch_axis", tflite_option(k, 1, 4, 0))};
	value_id in[2] = {k->in[0], NO_VALUE};
	int rc;

	if (k->nin != 2)
		return 0;
	rc = steps_cast(&k->at, "lengths", TO_INT64, k->in[1], &in[1], e);
	return rc < 0 ? rc : last(k, "ReverseSequence", 0, in, 2, a, 2, e);
}

/* Where several go to one place they are added. */
static int scatter_nd(struct tflite_make *k, struct err *e)
{
	struct attr a = attr_set_text("reduction", "add");
	value_id in[3], shape;
	int rc;

	if (k->nin != 3 || !is_type(k, 1, DTYPE_F32))
		return 0;
	rc = steps_cast(&k->at, "shape", TO_INT64, k->in[2], &shape, e);
	if (rc == 0)
		rc = steps_make(&k->at, "zeros", "ConstantOfShape", shape,
				NO_VALUE, &in[0], e);
	if (rc == 0)
		rc = steps_cast(&k->at, "indices", TO_INT64, k->in[0], &in[1],
				e);
	in[2] = k->in[1];
	return rc < 0 ? rc : last(k, "ScatterND", 16, in, 3, &a, 1, e);
}

/* The largest numbers of the last axis, and where they were. */
static int top_k(struct tflite_make *k, struct err *e)
{
	struct attr to = attr_set_int("to", TO_INT32);
	int64_t count[TFLITE_INTS_MAX];
	value_id in[2] = {k->in[0], NO_VALUE}, out[2];
	struct step s = {.what = "largest",
			 .type = "TopK",
			 .opset = 11,
			 .in = in,
			 .nin = 2,
			 .out = out,
			 .nout = 2};
	struct step index = {.what = "index",
			     .type = "Cast",
			     .in = &out[1],
			     .nin = 1,
			     .out = &k->out[1],
			     .nout = 1,
			     .attrs = &to,
			     .nattrs = 1};
	size_t n;
	int rc;

	if (k->nin != 2 || k->nout != 2 || !tflite_ints(k, 1, count, &n) ||
	    n != 1 || tflite_is_quantized(k, k->given[0]))
		return 0;
	rc = steps_ints(&k->at, "count", count, 1, &in[1], e);
	if (rc == 0)
		rc = steps_value(&k->at, "indices", &out[1], e);
	out[0] = k->out[0];
	if (rc == 0)
		rc = steps_node(&k->at, &s, e);
	if (rc == 0)
		rc = steps_node(&k->at, &index, e);
	return rc < 0 ? rc : 1;
}

/* Of each number that is not zero, where it is. */
static int where(struct tflite_make *k, struct err *e)
{
	static const int64_t perm[] = {1, 0};
	value_id v;
	int rc;

	if (k->nin != 1)
		return 0;
	rc = steps_make(&k->at, "places", "NonZero", k->in[0], NO_VALUE, &v, e);
	if (rc == 0)
		rc = tflite_turn(k, "compute", perm, 2, v, true, &v, e);
	return rc < 0 ? rc : 1;
}

/* ---- which function makes which ---- */

const struct tflite_handled tflite_more_makers[] = {
	{"ADD_N", add_n, HANDLE_FLOAT, 0},
	{"BROADCAST_TO", expand, HANDLE_MOVE, 1},
	{"CUMSUM", cumsum, HANDLE_FLOAT, 1},
	{"EMBEDDING_LOOKUP", embedding_lookup, HANDLE_FLOAT, 0},
	{"FILL", expand, HANDLE_OWN, 0},
	{"FLOOR_MOD", floor_mod, HANDLE_FLOAT, 0},
	{"LOCAL_RESPONSE_NORMALIZATION", local_response, HANDLE_FLOAT, 1},
	{"ONE_HOT", one_hot, HANDLE_OWN, 0},
	{"PADV2", pad_with, HANDLE_FLOAT, 0},
	{"RANGE", range, HANDLE_OWN, 0},
	{"RANK", rank, HANDLE_OWN, 0},
	{"REDUCE_ALL", reduce_bools, HANDLE_OWN, 0},
	{"REDUCE_ANY", reduce_bools, HANDLE_OWN, 0},
	{"RELU_0_TO_1", relu_to_one, HANDLE_FLOAT, 0},
	{"REVERSE_SEQUENCE", reverse_sequence, HANDLE_MOVE, 1},
	{"SCATTER_ND", scatter_nd, HANDLE_OWN, 0},
	{"TOPK_V2", top_k, HANDLE_OWN, 0},
	{"WHERE", where, HANDLE_OWN, 0},
	{"ZEROS_LIKE", zeros_like, HANDLE_OWN, 0},
	{0},
};
