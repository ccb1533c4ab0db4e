/* SPDX-License-Identifier: MIT */
/*
 * translate_index - operators of TensorFlow that look elements up or put them
 * somewhere, and small compositions.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/tf/translate.h"

static value_id input(const struct tf_make *k, uint32_t i)
{
	return i < k->call->nin ? k->call->in[i] : NO_VALUE;
}

/* ---- where, scatter ---- */

/* The places of what is not 0, a row for each. */
static int where(struct tf_make *k, struct err *e)
{
	static const int64_t perm[] = {1, 0};
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = "Transpose", .nin = 1, .nattrs = 1};

	if (k->call->nin != 1)
		return 0;
	l.in[0] = tf_chain_1(&c, "NonZero", input(k, 0));
	l.attrs[0] = tf_chain_list(&c, "perm", perm, 2);
	return tf_chain_last(&c, &l);
}

/* (indices, updates, shape): sums in a tensor of zeros. */
static int scatter_nd(struct tf_make *k, struct err *e)
{
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link zero = {.type = "CastLike", .opset = 15, .nin = 2};
	struct tf_link l = {.type = "ScatterND", .opset = 18, .nin = 3};

	if (k->call->nin != 3)
		return 0;
	c.rc = steps_float(&k->at, "zero", 0, &zero.in[0], e);
	zero.in[1] = input(k, 1);
	l.in[0] = tf_chain_2(&c, "Expand", tf_chain(&c, &zero),
			     tf_chain_cast(&c, input(k, 2), TF_ONNX_INT64));
	l.in[1] = tf_chain_cast(&c, input(k, 0), TF_ONNX_INT64);
	l.in[2] = input(k, 1);
	l.attrs[l.nattrs++] = attr_set_text("reduction", "add");
	return tf_chain_last(&c, &l);
}

/* (tensor, indices, updates) */
static int tensor_scatter(struct tf_make *k, struct err *e)
{
	static const struct {
		const char *op, *reduction;
	} kinds[] = {{"TensorScatterUpdate", "none"},
		     {"TensorScatterAdd", "add"},
		     {"TensorScatterMax", "max"},
		     {"TensorScatterMin", "min"}};
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = "ScatterND", .opset = 18, .nin = 3};

	if (k->call->nin != 3)
		return 0;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (tf_equal(&k->call->node->op, kinds[i].op))
			l.attrs[0] =
				attr_set_text("reduction", kinds[i].reduction);
	l.nattrs = 1;
	l.in[0] = input(k, 0);
	l.in[1] = tf_chain_cast(&c, input(k, 1), TF_ONNX_INT64);
	l.in[2] = input(k, 2);
	return tf_chain_last(&c, &l);
}

/* ONNX knows the first two extents only. */
static int reverse_sequence(struct tf_make *k, struct err *e)
{
	int64_t batch = tf_int(k, "batch_dim", 0),
		time = tf_int(k, "seq_dim", 0);
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = "ReverseSequence", .nin = 2};

	if (k->call->nin != 2 || batch + time != 1 || batch * time != 0)
		return 0;
	l.in[0] = input(k, 0);
	l.in[1] = tf_chain_cast(&c, input(k, 1), TF_ONNX_INT64);
	l.attrs[l.nattrs++] = attr_set_int("batch_axis", batch);
	l.attrs[l.nattrs++] = attr_set_int("time_axis", time);
	return tf_chain_last(&c, &l);
}

/* ---- boxes ---- */

/* Which of the boxes are kept: the third column of what ONNX gives. */
static value_id keep_boxes(struct tf_make *k, struct tf_chain *c,
			   const value_id threshold[2])
{
	static const int64_t one[] = {0}, two[] = {0, 1};
	static const int64_t two_row[] = {2}, axis[] = {1};
	struct tf_link boxes = {.type = "Unsqueeze", .opset = 11, .nin = 1};
	struct tf_link scores = boxes;
	struct tf_link keep = {.type = "NonMaxSuppression", .nin = 5};
	struct tf_link column = {.type = "Gather", .nin = 2};
	struct tf_link flat = {.type = "Squeeze", .opset = 11, .nin = 1};

	boxes.in[0] = input(k, 0);
	boxes.attrs[boxes.nattrs++] = tf_chain_list(c, "axes", one, 1);
	scores.in[0] = input(k, 1);
	scores.attrs[scores.nattrs++] = tf_chain_list(c, "axes", two, 2);
	keep.in[0] = tf_chain(c, &boxes);
	keep.in[1] = tf_chain(c, &scores);
	keep.in[2] = tf_chain_cast(c, input(k, 2), TF_ONNX_INT64);
	keep.in[3] = threshold[0];
	keep.in[4] = threshold[1];
	column.in[0] = tf_chain(c, &keep);
	column.in[1] = tf_chain_ints(c, two_row, 1);
	column.attrs[column.nattrs++] = attr_set_int("axis", 1);
	flat.in[0] = tf_chain(c, &column);
	flat.attrs[flat.nattrs++] = tf_chain_list(c, "axes", axis, 1);
	return tf_chain(c, &flat);
}

/* The number of boxes kept, before they are filled up to the limit. */
static value_id fill_up(struct tf_chain *c, value_id *kept)
{
	static const int64_t zero[] = {0}, flat[] = {-1};
	value_id count = tf_chain_1(c, "Size", *kept), missing, pads;
	struct tf_link join = {.type = "Concat", .nin = 2, .nattrs = 1};

	missing = tf_chain_2(c, "Sub",
			     tf_chain_cast(c, input(c->k, 2), TF_ONNX_INT64),
			     count);
	pads = tf_chain_2(c, "Reshape", missing, tf_chain_ints(c, flat, 1));
	join.in[0] = tf_chain_ints(c, zero, 1);
	join.in[1] = pads;
	join.attrs[0] = attr_set_int("axis", 0);
	*kept = tf_chain_2(c, "Pad", *kept, tf_chain(c, &join));
	return count;
}

static struct tf_link to_int32(value_id v)
{
	return (struct tf_link){.type = "Cast",
				.in = {v},
				.nin = 1,
				.attrs = {attr_set_int("to", TF_ONNX_INT32)},
				.nattrs = 1};
}

/*
 * Version 1 has the threshold as an attribute, 2 as an input, 3 one of scores,
 * 4 tells how many are valid, 5 gives their scores, which may decay: what
 * decays stays as it is.
 */
static int non_max_suppression(struct tf_make *k, struct err *e)
{
	const char *op = (const char *)k->call->node->op.data;
	char v = op[k->call->node->op.len - 1];
	bool is_first = v == 'n', scored = v == '5',
	     counts = v >= '4' && v <= '5';
	uint32_t nin = is_first ? 3 : v == '2' ? 4 : scored ? 6 : 5;
	bool fills = counts && tf_flag(k, "pad_to_max_output_size");
	struct tf_chain c = {.k = k, .e = e};
	value_id threshold[2] = {input(k, 3), input(k, 4)}, kept, count;
	struct tf_link l;

	if (k->call->nin != nin)
		return 0;
	if (scored && (!tf_const_is_zero(k, 5) || fills))
		return 0;
	if (is_first)
		c.rc = steps_float(&k->at, "threshold",
				   tf_number(k, "iou_threshold", 0.5f),
				   &threshold[0], e);
	if (is_first || v == '2')
		threshold[1] = NO_VALUE;
	kept = keep_boxes(k, &c, threshold);
	count = fills ? fill_up(&c, &kept) : NO_VALUE;
	l = to_int32(kept);
	tf_chain_out(&c, &l, k->call->out[0], "compute");
	if (counts && !fills && k->call->nout > (scored ? 2 : 1))
		count = tf_chain_1(&c, "Size", kept);
	l = to_int32(count);
	if (counts && k->call->nout > (scored ? 2 : 1))
		tf_chain_out(&c, &l, k->call->out[scored ? 2 : 1], "valid");
	l = (struct tf_link){
		.type = "Gather", .nin = 2, .in = {input(k, 1), kept}};
	if (scored && k->call->nout > 1)
		tf_chain_out(&c, &l, k->call->out[1], "scores");
	return tf_done(c.rc);
}

/* ---- numbers nobody can foretell ---- */

static int random(struct tf_make *k, struct err *e)
{
	bool is_normal = !tf_equal(&k->call->node->op, "RandomUniform");
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = is_normal ? "RandomNormalLike"
					      : "RandomUniformLike",
			    .nin = 1};
	value_id zero = NO_VALUE;

	if (k->call->nin != 1 || tf_type_code(k, "dtype", 1) != 1)
		return 0;
	c.rc = steps_float(&k->at, "zero", 0, &zero, e);
	l.in[0] = tf_chain_2(&c, "Expand", zero,
			     tf_chain_cast(&c, input(k, 0), TF_ONNX_INT64));
	return tf_chain_last(&c, &l);
}

/* ---- the rest ---- */

static int identities(struct tf_make *k, struct err *e)
{
	struct tf_chain c = {.k = k, .e = e};

	if (k->call->nout > k->call->nin)
		return 0;
	for (uint32_t i = 0; i < k->call->nout; i++) {
		struct tf_link l = {
			.type = "Identity", .in = {k->call->in[i]}, .nin = 1};
		char what[32];

		snprintf(what, sizeof(what), "output_%u", i);
		tf_chain_out(&c, &l, k->call->out[i], what);
	}
	return tf_done(c.rc);
}

static int half_square(struct tf_make *k, struct err *e)
{
	value_id x = input(k, 0);
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link sum = {.type = "ReduceSum", .nin = 1, .nattrs = 1};

	sum.in[0] = tf_chain_2(&c, "Mul", x, x);
	sum.attrs[0] = attr_set_int("keepdims", 0);
	return tf_chain_last(&c,
			     &(struct tf_link){.type = "Mul",
					       .in = {tf_chain(&c, &sum),
						      tf_chain_like(&c, 0.5f)},
					       .nin = 2});
}

/* What is left by a division towards 0. */
static int truncated_mod(struct tf_make *k, struct err *e)
{
	struct attr a = attr_set_int("fmod", 1);

	return k->call->nin == 2
		       ? tf_finish(k, NULL, "Mod", 0, k->call->in, 2, &a, 1, e)
		       : 0;
}

/* What the second operand must not be 0 for, or the first: then it is 0. */
static int or_zero(struct tf_make *k, struct err *e)
{
	static const struct {
		const char *op, *type;
		uint32_t tested;
		bool takes_log;
	} kinds[] = {{"DivNoNan", "Div", 1, false},
		     {"MulNoNan", "Mul", 1, false},
		     {"Xdivy", "Div", 0, false},
		     {"Xlogy", "Mul", 0, true}};
	struct tf_chain c = {.k = k, .e = e};
	value_id zero, x = input(k, 0), y = input(k, 1);
	struct tf_link l = {.type = "Where", .nin = 3};

	if (k->call->nin != 2)
		return 0;
	zero = tf_chain_like(&c, 0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!tf_equal(&k->call->node->op, kinds[i].op))
			continue;
		l.in[0] =
			tf_chain_2(&c, "Equal", kinds[i].tested ? y : x, zero);
		l.in[1] = zero;
		if (kinds[i].takes_log)
			y = tf_chain_1(&c, "Log", y);
		l.in[2] = tf_chain_2(&c, kinds[i].type, x, y);
	}
	return tf_chain_last(&c, &l);
}

static int is_finite(struct tf_make *k, struct err *e)
{
	struct tf_chain c = {.k = k, .e = e};
	value_id x = input(k, 0);
	struct tf_link l = {.type = "Not", .nin = 1};

	l.in[0] = tf_chain_2(&c, "Or", tf_chain_1(&c, "IsInf", x),
			     tf_chain_1(&c, "IsNaN", x));
	return tf_chain_last(&c, &l);
}

/* (min, max) or (min, max, …): from the first to the last, evenly. */
static int lin_space(struct tf_make *k, struct err *e)
{
	struct tf_chain c = {.k = k, .e = e};
	value_id one, parts, steps, width;
	struct tf_link count = {.type = "Range", .nin = 3};

	if (k->call->nin != 3)
		return 0;
	one = tf_chain_like(&c, 1);
	steps = tf_chain(&c, &(struct tf_link){.type = "CastLike",
					       .opset = 15,
					       .in = {input(k, 2), input(k, 0)},
					       .nin = 2});
	parts = tf_chain_2(&c, "Max", tf_chain_2(&c, "Sub", steps, one), one);
	width = tf_chain_2(&c, "Div",
			   tf_chain_2(&c, "Sub", input(k, 1), input(k, 0)),
			   parts);
	count.in[0] = tf_chain_like(&c, 0);
	count.in[1] = steps;
	count.in[2] = one;
	return tf_chain_last(
		&c, &(struct tf_link){
			    .type = "Add",
			    .in = {tf_chain_2(&c, "Mul", tf_chain(&c, &count),
					      width),
				   input(k, 0)},
			    .nin = 2});
}

static const struct tf_maker makers[] = {
	{"DivNoNan", or_zero},
	{"IdentityN", identities},
	{"IsFinite", is_finite},
	{"L2Loss", half_square},
	{"LinSpace", lin_space},
	{"Mod", truncated_mod},
	{"MulNoNan", or_zero},
	{"NonMaxSuppression", non_max_suppression},
	{"NonMaxSuppressionV2", non_max_suppression},
	{"NonMaxSuppressionV3", non_max_suppression},
	{"NonMaxSuppressionV4", non_max_suppression},
	{"NonMaxSuppressionV5", non_max_suppression},
	{"RandomStandardNormal", random},
	{"RandomUniform", random},
	{"ReverseSequence", reverse_sequence},
	{"ScatterNd", scatter_nd},
	{"TensorScatterAdd", tensor_scatter},
	{"TensorScatterMax", tensor_scatter},
	{"TensorScatterMin", tensor_scatter},
	{"TensorScatterUpdate", tensor_scatter},
	{"TruncateMod", truncated_mod},
	{"Where", where},
	{"Xdivy", or_zero},
	{"Xlogy", or_zero},
};

int tf_translate_index(struct tf_make *k, struct err *e)
{
	return tf_make_with(makers, sizeof(makers) / sizeof(makers[0]), k, e);
}
