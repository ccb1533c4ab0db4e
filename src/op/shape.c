/* SPDX-License-Identifier: MIT */
/* shape - what only looks at a shape, or gives the same data another one. */
#include "op/derived.h"
#include "op/impl.h"

/* ---- Shape, Size ---- */
/* start and end, clamped to [0, rank]. */
static void shape_range(const struct op_call *c, int32_t *from, int32_t *to)
{
	int64_t rank = op_shape(c, 0)->rank;
	int64_t start = op_attr_int(c, "start", 0);
	int64_t end = op_attr_int(c, "end", rank);

	start = start < 0 ? start + rank : start;
	end = end < 0 ? end + rank : end;
	start = start < 0 ? 0 : start > rank ? rank : start;
	end = end < start ? start : end > rank ? rank : end;
	*from = (int32_t)start;
	*to = (int32_t)end;
}

static int infer_shape(struct op_call *c, struct err *e)
{
	int64_t n = DIM_UNKNOWN;
	struct shape s;
	int32_t from, to;

	(void)e;
	if (op_shape(c, 0)->rank >= 0) {
		shape_range(c, &from, &to);
		n = to - from;
	}
	s = shape_of(1, &n);
	op_out(c, 0, DTYPE_I64, &s);
	return 0;
}

static int eval_shape(struct op_call *c, struct err *e)
{
	struct shape s;
	int32_t from, to;
	void *out;
	int rc;

	shape_range(c, &from, &to);
	s = shape_of(1, &(int64_t){to - from});
	rc = op_alloc(c, 0, DTYPE_I64, &s, &out, e);
	if (rc == 0 && to > from)
		memcpy(out, &c->in[0].shape.dims[from],
		       (size_t)(to - from) * sizeof(int64_t));
	return rc;
}

static int infer_size(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(0, NULL);

	(void)e;
	op_out(c, 0, DTYPE_I64, &s);
	return 0;
}

static int eval_size(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(0, NULL);
	void *out;
	int rc = op_alloc(c, 0, DTYPE_I64, &s, &out, e);

	if (rc == 0)
		*(int64_t *)out = (int64_t)op_nelems(c, 0);
	return rc;
}

/* ---- the same data ---- */
/* What every operator below does, once infer knows the shape. */
static int eval_alias(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = c->op->infer(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	return op_alias(c, 0, 0, &s, e);
}

static int eval_identity(struct op_call *c, struct err *e)
{
	return op_give(c, 0, &c->in[0], e);
}

/* The extents Reshape asks for; 1 when they are not known yet. */
static int reshape_wants(struct op_call *c, int64_t want[SHAPE_RANK_MAX],
			 size_t *n, struct err *e)
{
	const int64_t *v;

	if (c->op->max_in > 1)
		return op_ints(c, 1, want, SHAPE_RANK_MAX, n, e);
	op_attr_ints(c, "shape", &v, n);
	if (*n > SHAPE_RANK_MAX)
		return op_invalid(c, e, "%zu extents", *n);
	for (size_t i = 0; i < *n; i++)
		want[i] = v[i];
	return 0;
}

/* Replaces 0; finds the place of -1 (or -1 when there is none). */
static int reshape_copy(struct op_call *c, struct shape *s, int32_t *hole,
			struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	bool keep_zero = op_attr_int(c, "allowzero", 0) != 0;

	*hole = -1;
	for (int32_t i = 0; i < s->rank; i++) {
		if (s->dims[i] == 0 && !keep_zero) {
			if (in->rank >= 0 && i >= in->rank)
				return op_invalid(c, e, "0 at %d", i);
			s->dims[i] = in->rank < 0 ? DIM_UNKNOWN : in->dims[i];
		} else if (s->dims[i] == -1) {
			if (*hole >= 0)
				return op_invalid(c, e, "-1 twice");
			*hole = i;
		} else if (s->dims[i] < -1) {
			return op_invalid(c, e, "extent %lld",
					  (long long)s->dims[i]);
		}
	}
	return 0;
}

static int reshape_fill(struct op_call *c, struct shape *s, int32_t hole,
			struct err *e)
{
	struct shape rest = *s;
	uint64_t have, known;

	rest.dims[hole] = 1;
	if (!shape_is_known(op_shape(c, 0)) || !shape_is_known(&rest))
		return 0;
	if (!shape_nelems(op_shape(c, 0), &have) ||
	    !shape_nelems(&rest, &known))
		return op_invalid(c, e, "too large");
	if (known == 0 ? have != 0 : have % known != 0)
		return op_invalid(c, e, "%llu elements do not fit",
				  (unsigned long long)have);
	s->dims[hole] = known == 0 ? 0 : (int64_t)(have / known);
	return 0;
}

static int infer_reshape(struct op_call *c, struct err *e)
{
	int64_t want[SHAPE_RANK_MAX];
	struct shape s = shape_unknown();
	int32_t hole;
	size_t n;
	int rc = reshape_wants(c, want, &n, e);

	if (rc < 0)
		return rc;
	if (rc > 0) {
		const struct shape *list = op_shape(c, 1);

		if (list->rank == 1 && list->dims[0] >= 0 &&
		    list->dims[0] <= SHAPE_RANK_MAX) {
			s.rank = (int32_t)list->dims[0];
			for (int32_t i = 0; i < s.rank; i++)
				s.dims[i] = DIM_UNKNOWN;
		}
		op_out(c, 0, c->in[0].dtype, &s);
		return 0;
	}
	s = shape_of((int32_t)n, want);
	rc = reshape_copy(c, &s, &hole, e);
	if (rc == 0 && hole >= 0)
		rc = reshape_fill(c, &s, hole, e);
	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

static int infer_flatten(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int64_t axis = op_attr_int(c, "axis", 1), dims[2] = {1, 1};
	struct shape s;

	if (in->rank >= 0) {
		if (axis < -in->rank || axis > in->rank)
			return op_invalid(c, e, "axis %lld", (long long)axis);
		axis = axis < 0 ? axis + in->rank : axis;
	}
	for (int32_t i = 0; i < in->rank; i++) {
		int64_t *d = &dims[i >= axis];
		int rc;

		if (in->dims[i] == DIM_UNKNOWN || *d == DIM_UNKNOWN) {
			*d = DIM_UNKNOWN;
			continue;
		}
		rc = op_mul(c, *d, in->dims[i], d, e);
		if (rc < 0)
			return rc;
	}
	if (in->rank < 0)
		dims[0] = dims[1] = DIM_UNKNOWN;
	s = shape_of(2, dims);
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static int infer_squeeze(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int32_t axes[SHAPE_RANK_MAX];
	struct shape s = {0};
	uint32_t gone = 0;
	size_t n;
	int rc;

	if (in->rank < 0) {
		op_out(c, 0, c->in[0].dtype, in);
		return 0;
	}
	rc = op_axes(c, "axes", 1, in->rank, axes, &n, e);
	if (rc < 0)
		return rc;
	if (rc > 0) {
		s = shape_unknown();
		op_out(c, 0, c->in[0].dtype, &s);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (in->dims[axes[i]] != 1 && in->dims[axes[i]] != DIM_UNKNOWN)
			return op_invalid(c, e, "axis %d is not 1", axes[i]);
		gone |= 1u << axes[i];
	}
	for (int32_t i = 0; i < in->rank; i++) {
		if (n == 0 ? in->dims[i] != 1 : !(gone & 1u << i))
			s.dims[s.rank++] = in->dims[i];
	}
	if (n == 0 && !shape_is_known(in))
		s = shape_unknown();
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static int infer_unsqueeze(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int32_t axes[SHAPE_RANK_MAX], rank = in->rank, from = 0;
	int64_t given[SHAPE_RANK_MAX];
	const int64_t *list;
	struct shape s = {0};
	uint32_t added = 0;
	size_t n = 0;
	int rc = 0;

	if (!op_attr_ints(c, "axes", &list, &n))
		rc = op_has(c, 1) ? op_ints(c, 1, given, SHAPE_RANK_MAX, &n, e)
				  : op_invalid(c, e, "no axes");
	if (rc < 0)
		return rc;
	if (rc > 0 || rank < 0) {
		s = shape_unknown();
		op_out(c, 0, c->in[0].dtype, &s);
		return 0;
	}
	if (n > (size_t)(SHAPE_RANK_MAX - rank))
		return op_unsupported(c, e, "too many axes");
	s.rank = rank + (int32_t)n;
	rc = op_axes(c, "axes", 1, s.rank, axes, &n, e);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		added |= 1u << axes[i];
	for (int32_t i = 0; i < s.rank; i++)
		s.dims[i] = added & 1u << i ? 1 : in->dims[from++];
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

const struct op ops_shape[] = {
	{ONNX, "Shape", 1, 1, 1, 1, 1, OP_SHAPE_ONLY, 0, infer_shape,
	 eval_shape},
	{ONNX, "Size", 1, 1, 1, 1, 1, OP_SHAPE_ONLY, 0, infer_size, eval_size},
	{ONNX, "Identity", 1, 1, 1, 1, 1, 0, 0, infer_same, eval_identity,
	 .view = derived_alias},
	{ONNX, "Reshape", 1, 1, 1, 1, 1, 0, 0, infer_reshape, eval_alias,
	 .view = derived_alias},
	{ONNX, "Reshape", 5, 2, 2, 1, 1, 0, 0, infer_reshape, eval_alias,
	 .view = derived_alias},
	{ONNX, "Flatten", 1, 1, 1, 1, 1, 0, 0, infer_flatten, eval_alias,
	 .view = derived_alias},
	{ONNX, "Squeeze", 1, 1, 2, 1, 1, 0, 0, infer_squeeze, eval_alias,
	 .view = derived_alias},
	{ONNX, "Unsqueeze", 1, 1, 2, 1, 1, 0, 0, infer_unsqueeze, eval_alias,
	 .view = derived_alias},
	{0},
};
