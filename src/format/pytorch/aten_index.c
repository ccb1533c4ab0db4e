/* SPDX-License-Identifier: MIT */
/* aten_index - slices, indices, constants; see aten.h. */
#include <stdint.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/pytorch/aten.h"
#include "wire/json.h"

/* An index or a bound: a number, or a size that is known later. */
static int bound(struct aten *k, const char *name, int64_t def, value_id *out,
		 struct err *e)
{
	static const int64_t zero;
	int64_t v;
	value_id axes;
	int rc = aten_value(k, name, out, e);

	if (rc < 0)
		return rc;
	if (*out == NO_VALUE) {
		aten_int(k, name, def, &v);
		return aten_const_ints(k, name, &v, 1, out, e);
	}
	rc = aten_const_ints(k, "axis", &zero, 1, &axes, e);
	return rc < 0 ? rc
		      : aten_make(k, name, "Unsqueeze", *out, axes, out, e);
}

static bool is_bound(const struct aten *k, const char *name)
{
	int64_t ignored;

	return program_value_name(aten_arg(k, name)) ||
	       aten_int(k, name, 0, &ignored);
}

static int slice(struct aten *k, struct err *e)
{
	value_id in[5];
	int64_t dim;
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || !aten_int(k, "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, in[0]), &dim) ||
	    !is_bound(k, "start") || !is_bound(k, "end") ||
	    !is_bound(k, "step"))
		return rc < 0 ? rc : 0;
	rc = bound(k, "start", 0, &in[1], e);
	if (rc == 0)
		rc = bound(k, "end", INT64_MAX, &in[2], e);
	if (rc == 0)
		rc = aten_const_ints(k, "axes", &dim, 1, &in[3], e);
	if (rc == 0)
		rc = bound(k, "step", 1, &in[4], e);
	return rc < 0 ? rc : aten_finish_make(k, "Slice", in, 5, e);
}

static int gather_by(struct aten *k, const char *type, value_id data,
		     value_id index, int64_t axis, struct err *e)
{
	struct attr a = attr_set_int("axis", axis);
	value_id in[2] = {data, index};
	struct step n = {
		.type = type, .in = in, .nin = 2, .attrs = &a, .nattrs = 1};

	return aten_finish(k, &n, e);
}

static int select_one(struct aten *k, struct err *e)
{
	int64_t dim, index = 0;
	value_id in, at;
	int rc = aten_self(k, &in, e);

	if (rc <= 0 || !aten_int(k, "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, in), &dim) ||
	    !aten_int(k, "index", 0, &index))
		return rc < 0 ? rc : 0;
	rc = aten_number(k, "index", (double)index, DTYPE_I64, &at, e);
	return rc < 0 ? rc : gather_by(k, "Gather", in, at, dim, e);
}

/* gather, index_select: along one axis */
static int gather(struct aten *k, struct err *e)
{
	const char *type = aten_is(k, "gather") ? "GatherElements" : "Gather";
	int64_t dim;
	value_id in, index;
	int rc = aten_self(k, &in, e);

	if (rc > 0)
		rc = aten_value(k, "index", &index, e);
	else
		return rc;
	if (rc < 0 || index == NO_VALUE || !aten_int(k, "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, in), &dim))
		return rc;
	return gather_by(k, type, in, index, dim, e);
}

/* x[:, index]: one tensor of numbers, none of booleans */
static int index_tensor(struct aten *k, struct err *e)
{
	struct program_arg list = aten_arg(k, "indices");
	const char *found = NULL;
	int64_t axis = 0;
	value_id in, index;
	int rc = aten_self(k, &in, e);

	if (rc <= 0 || !program_is_list(list))
		return rc < 0 ? rc : 0;
	for (size_t i = 0; i < json_count(list.v); i++) {
		const char *name = program_item_name(list, i);

		if (name && found)
			return 0;
		if (name) {
			found = name;
			axis = (int64_t)i;
		}
	}
	rc = found ? program_value(k->p, found, &index, e) : 0;
	if (rc < 0 || !found ||
	    (aten_dtype(k, index) != DTYPE_I64 &&
	     aten_dtype(k, index) != DTYPE_I32) ||
	    axis >= aten_rank(k, in))
		return rc;
	return gather_by(k, "Gather", in, index, axis, e);
}

static int embedding(struct aten *k, struct err *e)
{
	value_id weight, indices;
	int rc = aten_value(k, "weight", &weight, e);

	if (rc == 0)
		rc = aten_value(k, "indices", &indices, e);
	if (rc < 0 || weight == NO_VALUE || indices == NO_VALUE)
		return rc;
	return gather_by(k, "Gather", weight, indices, 0, e);
}

static int repeat(struct aten *k, struct err *e)
{
	int64_t times[ATEN_INTS_MAX], shape[SHAPE_RANK_MAX];
	const struct shape *s;
	size_t n;
	value_id in[2], dims;
	int rc = aten_self(k, &in[0], e);

	s = rc > 0 ? aten_shape(k, in[0]) : NULL;
	if (rc <= 0 || !aten_ints(k, "repeats", times, &n) || !s ||
	    n < (size_t)s->rank || n > SHAPE_RANK_MAX ||
	    (n > (size_t)s->rank && !shape_is_known(s)))
		return rc < 0 ? rc : 0;
	/* More numbers than axes: axes of one in front. */
	for (size_t i = 0; i < n; i++)
		shape[i] = i < n - (size_t)s->rank
				   ? 1
				   : s->dims[i + (size_t)s->rank - n];
	rc = 0;
	if (n > (size_t)s->rank) {
		rc = aten_const_ints(k, "shape", shape, n, &dims, e);
		if (rc == 0)
			rc = aten_make(k, "wide", "Reshape", in[0], dims,
				       &in[0], e);
	}
	if (rc == 0)
		rc = aten_const_ints(k, "repeats", times, n, &in[1], e);
	return rc < 0 ? rc : aten_finish_make(k, "Tile", in, 2, e);
}

/* ---- constants ---- */

static double fill_value(const struct aten *k, bool *ok)
{
	double v = 0;

	*ok = true;
	if (memmem(k->op, k->op_len, "ones", 4))
		return 1;
	if (memmem(k->op, k->op_len, "full", 4) || aten_is(k, "scalar_tensor"))
		*ok = aten_float(
			k, aten_is(k, "scalar_tensor") ? "s" : "fill_value", 0,
			&v);
	return v;
}

static int full(struct aten *k, struct err *e)
{
	struct program_arg size = aten_arg(k, "size");
	enum dtype t = aten_dtype(k, k->out[0]);
	int64_t dims[SHAPE_RANK_MAX];
	size_t n;
	bool ok, is_static = false;
	double v = fill_value(k, &ok);
	value_id in[2];
	int rc;

	if (!ok || !aten_has_numbers(t) ||
	    ((!aten_known_shape(k, dims, &n, &is_static) || !is_static) &&
	     !aten_is_mixed(size)))
		return 0;
	rc = aten_number(k, "value", v, t, &in[0], e);
	if (rc == 0)
		rc = is_static ? aten_const_ints(k, "shape", dims, n, &in[1], e)
			       : aten_mixed_shape(k, size, 1, &in[1], e);
	return rc < 0 ? rc : aten_finish_make(k, "Expand", in, 2, e);
}

static int arange(struct aten *k, struct err *e)
{
	static const struct {
		const char *name;
		double def;
	} args[] = {{"start", 0}, {"end", 0}, {"step", 1}};
	enum dtype t = aten_dtype(k, k->out[0]);
	value_id in[3];
	int rc = 0;

	if (!aten_has_numbers(t) || !aten_is_operand(k, "end", t))
		return 0;
	for (int i = 0; i < 3; i++)
		if (aten_has(k, args[i].name) &&
		    !aten_is_operand(k, args[i].name, t))
			return 0;
	for (int i = 0; rc == 0 && i < 3; i++)
		rc = aten_has(k, args[i].name)
			     ? aten_operand(k, args[i].name, t, &in[i], e)
			     : aten_number(k, args[i].name, args[i].def, t,
					   &in[i], e);
	return rc < 0 ? rc : aten_finish_make(k, "Range", in, 3, e);
}

static int triangle(struct aten *k, struct err *e)
{
	struct attr a = attr_set_int("upper", aten_is(k, "triu"));
	value_id in[2];
	struct step n = {.type = "Trilu",
			 .opset = 14,
			 .in = in,
			 .nin = 2,
			 .attrs = &a,
			 .nattrs = 1};
	int64_t diagonal;
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || !aten_int(k, "diagonal", 0, &diagonal))
		return rc < 0 ? rc : 0;
	rc = aten_number(k, "diagonal", (double)diagonal, DTYPE_I64, &in[1], e);
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

static int cumsum(struct aten *k, struct err *e)
{
	int64_t dim;
	value_id in[2];
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || !aten_int(k, "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, in[0]), &dim))
		return rc < 0 ? rc : 0;
	rc = aten_cast(k, "in", in[0], aten_dtype(k, k->out[0]), &in[0], e);
	if (rc == 0)
		rc = aten_number(k, "dim", (double)dim, DTYPE_I64, &in[1], e);
	return rc < 0 ? rc : aten_finish_make(k, "CumSum", in, 2, e);
}

static int topk(struct aten *k, struct err *e)
{
	struct attr a[3];
	value_id in[2];
	struct step n = {.type = "TopK",
			 .in = in,
			 .nin = 2,
			 .out = k->out,
			 .nout = 2,
			 .attrs = a,
			 .nattrs = 3};
	int64_t dim, count = 0;
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || k->nout != 2 || !aten_int(k, "dim", -1, &dim) ||
	    !aten_axis(dim, aten_rank(k, in[0]), &dim) ||
	    !aten_int(k, "k", 0, &count))
		return rc < 0 ? rc : 0;
	rc = aten_const_ints(k, "k", &count, 1, &in[1], e);
	a[0] = attr_set_int("axis", dim);
	a[1] = attr_set_int("largest", aten_flag(k, "largest", true));
	a[2] = attr_set_int("sorted", 1);
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

/* torch counts from the last axis: before, after, before, after, … */
static int pad(struct aten *k, struct err *e)
{
	enum dtype t = aten_dtype(k, k->out[0]);
	int64_t amounts[ATEN_INTS_MAX], pads[2 * SHAPE_RANK_MAX] = {0};
	size_t n;
	double v;
	value_id in[3];
	int rank, rc = aten_self(k, &in[0], e);

	rank = rc > 0 ? aten_rank(k, in[0]) : -1;
	if (rc <= 0 || rank < 0 || !aten_ints(k, "pad", amounts, &n) ||
	    n % 2 != 0 || n / 2 > (size_t)rank || !aten_has_numbers(t) ||
	    !aten_float(k, "value", 0, &v))
		return rc < 0 ? rc : 0;
	for (size_t i = 0; i < n / 2; i++) {
		pads[(size_t)rank - 1 - i] = amounts[2 * i];
		pads[2 * (size_t)rank - 1 - i] = amounts[2 * i + 1];
	}
	rc = aten_const_ints(k, "pads", pads, 2 * (size_t)rank, &in[1], e);
	if (rc == 0)
		rc = aten_number(k, "value", v, t, &in[2], e);
	return rc < 0 ? rc : aten_finish_make(k, "Pad", in, 3, e);
}

const struct aten_entry aten_index[] = {
	{"slice", slice},	  {"select", select_one},
	{"gather", gather},	  {"index_select", gather},
	{"index", index_tensor},  {"embedding", embedding},
	{"repeat", repeat},	  {"full", full},
	{"full_like", full},	  {"new_full", full},
	{"new_ones", full},	  {"new_zeros", full},
	{"ones", full},		  {"ones_like", full},
	{"scalar_tensor", full},  {"zeros", full},
	{"zeros_like", full},	  {"arange", arange},
	{"tril", triangle},	  {"triu", triangle},
	{"cumsum", cumsum},	  {"topk", topk},
	{"constant_pad_nd", pad}, {NULL, NULL},
};
