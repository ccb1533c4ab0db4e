/* SPDX-License-Identifier: MIT */
/* aten_array - shapes; see aten.h. */
#include <stdio.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/pytorch/aten.h"
#include "wire/json.h"

/* ---- shapes as values ---- */

/* A size that is known when the graph runs, as a vector of one. */
static int size_piece(struct aten *k, const char *name, size_t i, value_id *out,
		      struct err *e)
{
	static const int64_t zero;
	char what[32];
	value_id v, axes;
	int rc = program_value(k->p, name, &v, e);

	snprintf(what, sizeof(what), "axis%zu", i);
	if (rc == 0)
		rc = aten_const_ints(k, what, &zero, 1, &axes, e);
	snprintf(what, sizeof(what), "size%zu", i);
	return rc < 0 ? rc : aten_make(k, what, "Unsqueeze", v, axes, out, e);
}

bool aten_is_mixed(struct program_arg arg)
{
	return program_is_kind(arg, "as_sym_ints") &&
	       json_count(arg.v) <= ATEN_INTS_MAX;
}

int aten_mixed_shape(struct aten *k, struct program_arg arg, int64_t minus,
		     value_id *out, struct err *e)
{
	struct attr axis = attr_set_int("axis", 0);
	value_id pieces[ATEN_INTS_MAX];
	struct step n = {.what = "shape",
			 .type = "Concat",
			 .in = pieces,
			 .nin = (uint32_t)json_count(arg.v),
			 .attrs = &axis,
			 .nattrs = 1};
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < n.nin; i++) {
		const char *name = program_item_name(arg, i);
		int64_t v = 0;
		char what[32];

		if (name) {
			rc = size_piece(k, name, i, &pieces[i], e);
			continue;
		}
		json_get_int(json_member(json_item(arg.v, i), "as_int"), &v);
		v = v == -1 ? minus : v;
		snprintf(what, sizeof(what), "size%u", i);
		rc = aten_const_ints(k, what, &v, 1, &pieces[i], e);
	}
	return rc < 0 ? rc : aten_step(k, &n, out, e);
}

bool aten_known_shape(const struct aten *k, int64_t *dims, size_t *n,
		      bool *is_static)
{
	const struct shape *s = aten_shape(k, k->out[0]);
	int unknown = 0, empty = 0;

	if (!s)
		return false;
	*n = (size_t)s->rank;
	for (int32_t i = 0; i < s->rank; i++) {
		dims[i] = s->dims[i];
		unknown += s->dims[i] == DIM_UNKNOWN;
		empty += s->dims[i] == 0;
	}
	*is_static = unknown == 0;
	return unknown == 0 || (unknown == 1 && empty == 0);
}

/* view, flatten, …: all that only gives the elements another shape */
static int reshape(struct aten *k, struct err *e)
{
	struct program_arg size =
		aten_arg(k, aten_has(k, "shape") ? "shape" : "size");
	struct attr zeros = attr_set_int("allowzero", 1);
	struct step n = {.type = "Reshape",
			 .opset = 14,
			 .nin = 2,
			 .attrs = &zeros,
			 .nattrs = 1};
	int64_t dims[SHAPE_RANK_MAX];
	size_t ndims;
	bool is_static,
		is_known = aten_known_shape(k, dims, &ndims, &is_static);
	value_id in[2];
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || (!is_known && !aten_is_mixed(size)))
		return rc < 0 ? rc : 0;
	if (is_known)
		rc = aten_const_ints(k, "shape", dims, ndims, &in[1], e);
	else
		rc = aten_mixed_shape(k, size, -1, &in[1], e);
	n.in = in;
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

/* One axis more or less, where the shape alone does not tell. */
static int squeeze(struct aten *k, struct err *e)
{
	bool adds = aten_is(k, "unsqueeze");
	int64_t axes[ATEN_INTS_MAX], dims[SHAPE_RANK_MAX];
	size_t n, ndims;
	bool is_static;
	value_id in[2];
	int rank, rc = aten_self(k, &in[0], e);

	if (rc <= 0)
		return rc;
	if (aten_known_shape(k, dims, &ndims, &is_static))
		return reshape(k, e);
	rank = aten_rank(k, in[0]) + adds;
	if (!aten_ints(k, "dim", axes, &n) || n == 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!aten_axis(axes[i], rank, &axes[i]))
			return 0;
	rc = aten_const_ints(k, "axes", axes, n, &in[1], e);
	return rc < 0 ? rc
		      : aten_finish_make(k, adds ? "Unsqueeze" : "Squeeze", in,
					 2, e);
}

static int expand(struct aten *k, struct err *e)
{
	struct program_arg size = aten_arg(k, "size");
	int64_t dims[ATEN_INTS_MAX];
	size_t n;
	bool is_known = aten_ints(k, "size", dims, &n);
	value_id in[2];
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || (!is_known && !aten_is_mixed(size)))
		return rc < 0 ? rc : 0;
	/* -1 keeps an extent, and so does 1. */
	for (size_t i = 0; is_known && i < n; i++)
		dims[i] = dims[i] == -1 ? 1 : dims[i];
	rc = is_known ? aten_const_ints(k, "shape", dims, n, &in[1], e)
		      : aten_mixed_shape(k, size, 1, &in[1], e);
	return rc < 0 ? rc : aten_finish_make(k, "Expand", in, 2, e);
}

/* The size of an axis. */
static int sym_size(struct aten *k, struct err *e)
{
	value_id in[2];
	int64_t dim;
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || !aten_int(k, "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, in[0]), &dim))
		return rc < 0 ? rc : 0;
	rc = aten_make(k, "shape", "Shape", in[0], NO_VALUE, &in[0], e);
	if (rc == 0)
		rc = aten_number(k, "dim", (double)dim, DTYPE_I64, &in[1], e);
	return rc < 0 ? rc : aten_finish_make(k, "Gather", in, 2, e);
}

/* ---- axes ---- */

static int transpose_by(struct aten *k, value_id in, const int64_t *perm,
			int rank, struct err *e)
{
	struct attr a;
	struct step n = {.type = "Transpose",
			 .in = &in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&k->at, "perm", perm, (size_t)rank, &a, e);

	return rc < 0 ? rc : aten_finish(k, &n, e);
}

/* t, transpose, swapaxes */
static int transpose(struct aten *k, struct err *e)
{
	int64_t perm[SHAPE_RANK_MAX], a = 0, b = 1;
	value_id in;
	int rank, rc = aten_self(k, &in, e);

	if (rc <= 0)
		return rc;
	rank = aten_rank(k, in);
	for (int i = 0; i < rank; i++)
		perm[i] = i;
	if (aten_is(k, "t")) {
		if (rank < 0 || rank > 2)
			return 0;
		if (rank < 2)
			return aten_finish_make(k, "Identity", &in, 1, e);
	} else if (!aten_int(k, aten_has(k, "dim0") ? "dim0" : "axis0", 0,
			     &a) ||
		   !aten_int(k, aten_has(k, "dim1") ? "dim1" : "axis1", 0,
			     &b) ||
		   !aten_axis(a, rank, &a) || !aten_axis(b, rank, &b)) {
		return 0;
	}
	perm[a] = b;
	perm[b] = a;
	return transpose_by(k, in, perm, rank, e);
}

static int permute(struct aten *k, struct err *e)
{
	int64_t perm[ATEN_INTS_MAX];
	size_t n;
	value_id in;
	int rc = aten_self(k, &in, e);

	if (rc <= 0 || !aten_ints(k, "dims", perm, &n) || n == 0 ||
	    n != (size_t)aten_rank(k, in))
		return rc < 0 ? rc : 0;
	for (size_t i = 0; i < n; i++)
		if (!aten_axis(perm[i], (int)n, &perm[i]))
			return 0;
	return transpose_by(k, in, perm, (int)n, e);
}

/* ---- putting together, taking apart ---- */

/* The values of a list, cast to the output's type. */
static int list_values(struct aten *k, value_id *in, uint32_t *n, struct err *e)
{
	struct program_arg list = aten_arg(k, "tensors");
	size_t count = json_count(list.v);
	int rc = 0;

	*n = 0;
	if (!program_is_list(list) || count == 0 || count > ATEN_INPUTS_MAX)
		return 0;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		const char *name = program_item_name(list, i);

		if (!name)
			return 0;
		rc = program_value(k->p, name, &in[i], e);
	}
	if (rc < 0)
		return rc;
	*n = (uint32_t)count;
	return 1;
}

static int concat(struct aten *k, struct err *e)
{
	bool is_stack = aten_is(k, "stack");
	enum dtype t = aten_dtype(k, k->out[0]);
	value_id in[ATEN_INPUTS_MAX], axes = NO_VALUE;
	struct attr a;
	struct step n = {.type = "Concat", .in = in, .attrs = &a, .nattrs = 1};
	int64_t dim;
	int rc = list_values(k, in, &n.nin, e);

	if (rc <= 0 ||
	    !aten_int(k, aten_has(k, "axis") ? "axis" : "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, k->out[0]), &dim))
		return rc < 0 ? rc : 0;
	rc = is_stack ? aten_const_ints(k, "axes", &dim, 1, &axes, e) : 0;
	for (uint32_t i = 0; rc == 0 && i < n.nin; i++) {
		char what[32];

		snprintf(what, sizeof(what), "in%u", i);
		rc = aten_cast(k, what, in[i], t, &in[i], e);
		snprintf(what, sizeof(what), "row%u", i);
		if (rc == 0 && is_stack)
			rc = aten_make(k, what, "Unsqueeze", in[i], axes,
				       &in[i], e);
	}
	a = attr_set_int("axis", dim);
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

/* Pieces along an axis, whose sizes the outputs' types tell. */
static int split(struct aten *k, struct err *e)
{
	int64_t dim, sizes[ATEN_OUTPUTS_MAX];
	struct attr a;
	value_id in[2];
	struct step n = {.type = "Split",
			 .in = in,
			 .nin = 2,
			 .out = k->out,
			 .nout = k->nout,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = aten_self(k, &in[0], e);

	if (rc <= 0 || !aten_int(k, "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, in[0]), &dim) ||
	    k->nout == ATEN_OUTPUTS_MAX)
		return rc < 0 ? rc : 0;
	for (uint32_t i = 0; i < k->nout; i++) {
		const struct shape *s = aten_shape(k, k->out[i]);

		if (!s || dim >= s->rank || s->dims[dim] < 0)
			return 0;
		sizes[i] = s->dims[dim];
	}
	rc = aten_const_ints(k, "sizes", sizes, k->nout, &in[1], e);
	a = attr_set_int("axis", dim);
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

const struct aten_entry aten_array[] = {
	{"_reshape_alias", reshape},
	{"_unsafe_view", reshape},
	{"flatten", reshape},
	{"reshape", reshape},
	{"unflatten", reshape},
	{"view", reshape},
	{"squeeze", squeeze},
	{"unsqueeze", squeeze},
	{"expand", expand},
	{"sym_size", sym_size},
	{"swapaxes", transpose},
	{"t", transpose},
	{"transpose", transpose},
	{"permute", permute},
	{"cat", concat},
	{"concat", concat},
	{"stack", concat},
	{"chunk", split},
	{"split", split},
	{"split_with_sizes", split},
	{NULL, NULL},
};
