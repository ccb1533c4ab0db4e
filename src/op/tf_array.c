/* SPDX-License-Identifier: MIT */
/*
 * tf_array - operators of TensorFlow that move elements, where what says how
 * is computed, too, or where ONNX has no such operator (array_ops.cc).
 */
#include "kernel/copy.h"
#include "op/impl.h"
#include "op/sequence.h"

/* Parts of one SplitV. */
#define SPLIT_MAX 1024

/* ---- parts ---- */

/* What is taken of each extent: len elements from begin on, step apart. */
struct part {
	int32_t rank;
	int64_t begin[SHAPE_RANK_MAX], step[SHAPE_RANK_MAX];
	int64_t len[SHAPE_RANK_MAX]; /* DIM_UNKNOWN while inferring */
	struct shape out;	     /* its extents, without those cut off */
};

/* Input 0's part becomes output 0. */
static int give_part(struct op_call *c, const struct part *p, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	struct copy_plan plan = {.rank = (size_t)p->rank};
	ptrdiff_t at = 0, stride = 1, to = 1;
	const void *in;
	void *out;
	int rc = op_elems(c, 0, &in, &plan.size, e);

	if (rc == 0)
		rc = op_alloc_elems(c, 0, op_dtype(c, 0), &p->out, &out, e);
	if (rc < 0)
		return rc;
	for (int32_t i = p->rank - 1; i >= 0; i--) {
		plan.dims[i] = (size_t)p->len[i];
		plan.from[i] = stride * p->step[i];
		plan.to[i] = to;
		at += stride * p->begin[i];
		stride *= s->dims[i];
		to *= p->len[i];
	}
	if (to > 0)
		copy_strided(&c->env->kernel, &plan,
			     (const char *)in + at * (ptrdiff_t)plan.size, out);
	return 0;
}

static void add_dim(struct shape *s, int64_t dim)
{
	if (s->rank < SHAPE_RANK_MAX)
		s->dims[s->rank++] = dim;
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* ---- StridedSlice(x, begin, end, strides) ---- */

struct strides {
	int64_t begin[SHAPE_RANK_MAX], end[SHAPE_RANK_MAX],
		step[SHAPE_RANK_MAX];
	size_t n;
	int64_t begin_mask, end_mask, ellipsis, new_axis, shrink;
};

/* 1 when they are not known yet. */
static int read_strides(struct op_call *c, struct strides *s, struct err *e)
{
	size_t n[2];
	int rc = op_ints(c, 1, s->begin, SHAPE_RANK_MAX, &s->n, e);

	if (rc == 0)
		rc = op_ints(c, 2, s->end, SHAPE_RANK_MAX, &n[0], e);
	if (rc == 0)
		rc = op_ints(c, 3, s->step, SHAPE_RANK_MAX, &n[1], e);
	if (rc == 0 && (n[0] != s->n || n[1] != s->n))
		return op_invalid(c, e, "lists of different lengths");
	for (size_t i = 0; rc == 0 && i < s->n; i++)
		if (s->step[i] == 0 || s->step[i] == INT64_MIN)
			return op_invalid(c, e, "a step of %lld",
					  (long long)s->step[i]);
	s->begin_mask = op_attr_int(c, "begin_mask", 0);
	s->end_mask = op_attr_int(c, "end_mask", 0);
	s->ellipsis = op_attr_int(c, "ellipsis_mask", 0);
	s->new_axis = op_attr_int(c, "new_axis_mask", 0);
	s->shrink = op_attr_int(c, "shrink_axis_mask", 0);
	return rc;
}

/* A position in an extent; masked ones are at one of its ends. */
static int64_t position(int64_t v, int64_t dim, bool masked, int64_t masked_at,
			int64_t lo, int64_t hi)
{
	if (masked)
		return masked_at;
	if (v < 0)
		v = v < -dim ? -1 : v + dim;
	return clamp(v, lo, hi);
}

/* What entry i takes of axis p->rank. */
static int take_range(struct op_call *c, const struct strides *s, size_t i,
		      int64_t dim, struct part *p, struct err *e)
{
	int64_t step = s->step[i], span, begin, end;
	bool up = step > 0;
	int64_t lo = up ? 0 : -1, hi = up ? dim : dim - 1;
	int32_t at = p->rank++;

	p->begin[at] = 0;
	p->step[at] = 1;
	if (s->shrink >> i & 1) {
		int64_t b = s->begin[i];

		p->len[at] = 1;
		if (dim == DIM_UNKNOWN)
			return 0;
		if (b < -dim || b >= dim)
			return op_invalid(c, e, "element %lld of %lld",
					  (long long)b, (long long)dim);
		p->begin[at] = b < 0 ? b + dim : b;
		return 0;
	}
	p->len[at] = DIM_UNKNOWN;
	if (dim != DIM_UNKNOWN) {
		begin = position(s->begin[i], dim, s->begin_mask >> i & 1,
				 up ? lo : hi, lo, hi);
		end = position(s->end[i], dim, s->end_mask >> i & 1,
			       up ? hi : lo, lo, hi);
		span = up ? end - begin : begin - end;
		step = up ? step : -step;
		p->begin[at] = begin;
		p->step[at] = s->step[i];
		p->len[at] = span <= 0 ? 0 : (span - 1) / step + 1;
	}
	add_dim(&p->out, p->len[at]);
	return 0;
}

static void take_all(const struct shape *in, int32_t upto, struct part *p)
{
	while (p->rank < upto && p->rank < in->rank) {
		int32_t at = p->rank++;

		p->begin[at] = 0;
		p->step[at] = 1;
		p->len[at] = in->dims[at];
		add_dim(&p->out, p->len[at]);
	}
}

/* Axes of the input that the entries from i on are about. */
static int32_t axes_behind(const struct strides *s, size_t i)
{
	int32_t n = 0;

	for (; i < s->n; i++)
		n += !(s->new_axis >> i & 1);
	return n;
}

static int plan_strides(struct op_call *c, struct part *p, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct strides s;
	int rc = read_strides(c, &s, e);

	p->rank = 0;
	p->out.rank = 0;
	if (rc != 0 || in->rank < 0)
		return rc < 0 ? rc : 1;
	for (size_t i = 0; rc == 0 && i < s.n; i++) {
		if (s.ellipsis >> i & 1)
			take_all(in, in->rank - axes_behind(&s, i + 1), p);
		else if (s.new_axis >> i & 1)
			add_dim(&p->out, 1);
		else if (p->rank >= in->rank)
			return op_invalid(c, e, "more parts than extents");
		else
			rc = take_range(c, &s, i, in->dims[p->rank], p, e);
	}
	take_all(in, in->rank, p);
	return rc;
}

static int infer_strided(struct op_call *c, struct err *e)
{
	struct part p;
	int rc = plan_strides(c, &p, e);

	if (rc < 0)
		return rc;
	if (rc > 0)
		p.out = shape_unknown();
	op_out(c, 0, op_dtype(c, 0), &p.out);
	return 0;
}

static int eval_strided(struct op_call *c, struct err *e)
{
	struct part p;
	int rc = plan_strides(c, &p, e);

	return rc < 0 ? rc : give_part(c, &p, e);
}

/* ---- Slice(x, begin, size) ---- */

static int plan_slice(struct op_call *c, struct part *p, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	size_t n, m;
	int rc = op_ints(c, 1, p->begin, SHAPE_RANK_MAX, &n, e);

	if (rc == 0)
		rc = op_ints(c, 2, p->len, SHAPE_RANK_MAX, &m, e);
	if (rc != 0 || in->rank < 0)
		return rc < 0 ? rc : 1;
	if (n != m || n != (size_t)in->rank)
		return op_invalid(c, e, "%zu beginnings, %zu sizes", n, m);
	p->rank = in->rank;
	p->out.rank = in->rank;
	for (int32_t i = 0; i < in->rank; i++) {
		int64_t dim = in->dims[i], begin = p->begin[i];

		p->step[i] = 1;
		if (dim != DIM_UNKNOWN && p->len[i] == -1)
			p->len[i] = dim - clamp(begin, 0, dim);
		if (dim != DIM_UNKNOWN &&
		    (begin < 0 || begin > dim || p->len[i] < 0 ||
		     p->len[i] > dim - begin))
			return op_invalid(c, e, "%lld at %lld of %lld",
					  (long long)p->len[i],
					  (long long)begin, (long long)dim);
		p->out.dims[i] = p->len[i] < 0 ? DIM_UNKNOWN : p->len[i];
	}
	return 0;
}

static int infer_slice(struct op_call *c, struct err *e)
{
	struct part p;
	int rc = plan_slice(c, &p, e);

	if (rc < 0)
		return rc;
	if (rc > 0)
		p.out = *op_shape(c, 0);
	for (int32_t i = 0; rc > 0 && i < p.out.rank; i++)
		p.out.dims[i] = DIM_UNKNOWN;
	op_out(c, 0, op_dtype(c, 0), &p.out);
	return 0;
}

static int eval_slice(struct op_call *c, struct err *e)
{
	struct part p;
	int rc = plan_slice(c, &p, e);

	return rc < 0 ? rc : give_part(c, &p, e);
}

/* ---- ReverseV2(x, axes) ---- */

static int eval_reverse(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct part p = {.rank = in->rank, .out = *in};
	int64_t axes[SHAPE_RANK_MAX];
	size_t n;
	int rc = op_ints(c, 1, axes, SHAPE_RANK_MAX, &n, e);

	for (int32_t i = 0; i < in->rank; i++) {
		p.step[i] = 1;
		p.len[i] = in->dims[i];
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		int32_t at;

		rc = op_axis(c, axes[i], in->rank, &at, e);
		if (rc < 0)
			return rc;
		p.step[at] = -1;
		p.begin[at] = in->dims[at] > 0 ? in->dims[at] - 1 : 0;
	}
	return rc < 0 ? rc : give_part(c, &p, e);
}

/* ---- Transpose(x, perm) ---- */

static int read_order(struct op_call *c, int32_t *order, struct err *e)
{
	int32_t rank = op_shape(c, 0)->rank, at;
	int64_t perm[SHAPE_RANK_MAX];
	bool seen[SHAPE_RANK_MAX] = {false};
	size_t n;
	int rc = op_ints(c, 1, perm, SHAPE_RANK_MAX, &n, e);

	if (rc != 0 || rank < 0)
		return rc < 0 ? rc : 1;
	if (n != (size_t)rank)
		return op_invalid(c, e, "an order of %zu", n);
	for (int32_t i = 0; i < rank; i++) {
		rc = op_axis(c, perm[i], rank, &at, e);
		if (rc < 0)
			return rc;
		if (seen[at])
			return op_invalid(c, e, "extent %d twice", (int)at);
		seen[at] = true;
		order[i] = at;
	}
	return 0;
}

static int infer_transpose(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int32_t order[SHAPE_RANK_MAX];
	struct shape s = *in;
	int rc = read_order(c, order, e);

	if (rc < 0)
		return rc;
	for (int32_t i = 0; i < in->rank; i++)
		s.dims[i] = rc > 0 ? DIM_UNKNOWN : in->dims[order[i]];
	op_out(c, 0, op_dtype(c, 0), &s);
	return 0;
}

static int eval_transpose(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int32_t order[SHAPE_RANK_MAX];
	struct part p = {.rank = in->rank};
	struct copy_plan plan = {.rank = (size_t)in->rank};
	ptrdiff_t stride[SHAPE_RANK_MAX], step = 1, to = 1;
	const void *from;
	void *out;
	int rc = read_order(c, order, e);

	p.out = *in;
	for (int32_t i = in->rank - 1; rc == 0 && i >= 0; i--) {
		stride[i] = step;
		step *= in->dims[i];
	}
	for (int32_t i = in->rank - 1; rc == 0 && i >= 0; i--) {
		p.out.dims[i] = in->dims[order[i]];
		plan.dims[i] = (size_t)p.out.dims[i];
		plan.from[i] = stride[order[i]];
		plan.to[i] = to;
		to *= p.out.dims[i];
	}
	if (rc == 0)
		rc = op_elems(c, 0, &from, &plan.size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, op_dtype(c, 0), &p.out, &out, e);
	if (rc == 0 && to > 0)
		copy_strided(&c->env->kernel, &plan, from, out);
	return rc;
}

/* ---- SplitV(x, sizes, axis): one size may be -1, for the rest ---- */

static int part_sizes(struct op_call *c, int64_t dim, int64_t *sizes, size_t *n,
		      struct err *e)
{
	int64_t sum = 0, *rest = NULL;
	int rc = op_ints(c, 1, sizes, SPLIT_MAX, n, e);

	for (size_t i = 0; rc == 0 && i < *n; i++) {
		if (sizes[i] == -1 && !rest)
			rest = &sizes[i];
		else if (sizes[i] < 0)
			return op_invalid(c, e, "a part of %lld",
					  (long long)sizes[i]);
		else
			rc = op_add(c, sum, sizes[i], &sum, e);
	}
	if (rc != 0 || dim == DIM_UNKNOWN)
		return rc;
	if (sum > dim || (!rest && sum != dim) || *n < c->nout)
		return op_invalid(c, e, "parts of %lld make %lld",
				  (long long)dim, (long long)sum);
	if (rest)
		*rest = dim - sum;
	return 0;
}

static int plan_split(struct op_call *c, int32_t *axis, int64_t *sizes,
		      struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int64_t given = 0;
	size_t n;
	int rc = op_scalar_int(c, 2, 0, &given, e);

	if (rc != 0 || in->rank < 0)
		return rc < 0 ? rc : 1;
	rc = op_axis(c, given, in->rank, axis, e);
	return rc < 0 ? rc : part_sizes(c, in->dims[*axis], sizes, &n, e);
}

static int infer_split(struct op_call *c, struct err *e)
{
	int64_t sizes[SPLIT_MAX];
	struct shape s = *op_shape(c, 0);
	int32_t axis = 0;
	int rc = plan_split(c, &axis, sizes, e);

	if (rc < 0)
		return rc;
	for (int32_t i = 0; rc > 0 && i < s.rank; i++)
		s.dims[i] = DIM_UNKNOWN;
	for (size_t i = 0; i < c->nout; i++) {
		if (rc == 0 && i < SPLIT_MAX)
			s.dims[axis] = sizes[i] < 0 ? DIM_UNKNOWN : sizes[i];
		op_out(c, i, op_dtype(c, 0), &s);
	}
	return 0;
}

static int eval_split(struct op_call *c, struct err *e)
{
	int64_t sizes[SPLIT_MAX], at = 0;
	int32_t axis;
	int rc = plan_split(c, &axis, sizes, e);

	for (size_t i = 0; rc == 0 && i < c->nout; i++) {
		struct tensor t = {0};

		rc = sequence_cut(c, 0, axis, at, sizes[i], &t, e);
		if (rc == 0)
			rc = op_give(c, i, &t, e);
		tensor_drop(&t);
		at += sizes[i];
	}
	return rc;
}

/* ---- InvertPermutation ---- */

static int eval_invert(struct op_call *c, struct err *e)
{
	uint64_t n = op_nelems(c, 0);
	const int64_t *in;
	void *out;
	int rc = op_in_i64(c, 0, &in, e);

	if (rc == 0)
		rc = op_alloc_as(c, 0, op_dtype(c, 0), DTYPE_I64,
				 op_shape(c, 0), &out, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		if (in[i] < 0 || (uint64_t)in[i] >= n)
			return op_invalid(c, e, "place %lld of %llu",
					  (long long)in[i],
					  (unsigned long long)n);
		((int64_t *)out)[in[i]] = (int64_t)i;
	}
	return rc;
}

/* ---- MatrixBandPart(x, lower, upper) ---- */

static int eval_band(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	int64_t lower, upper, rows, columns, i, k;
	size_t size;
	const void *in;
	void *out;
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	if (rc == 0)
		rc = op_scalar_int(c, 1, -1, &lower, e);
	if (rc == 0)
		rc = op_scalar_int(c, 2, -1, &upper, e);
	if (rc == 0)
		rc = op_elems(c, 0, &in, &size, e);
	if (rc == 0 && op_dtype(c, 0) == DTYPE_STRING)
		rc = op_bad_dtype(c, 0, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, op_dtype(c, 0), s, &out, e);
	if (rc < 0)
		return rc;
	rows = (int64_t)shape_span(s, 0, s->rank - 1);
	columns = s->dims[s->rank - 1];
	for (i = 0; i < rows; i++) {
		int64_t row = i % s->dims[s->rank - 2];

		for (k = 0; k < columns; k++) {
			bool kept = (lower < 0 || row - k <= lower) &&
				    (upper < 0 || k - row <= upper);
			size_t at = (size_t)(i * columns + k) * size;

			if (kept)
				memcpy((char *)out + at, (const char *)in + at,
				       size);
			else
				memset((char *)out + at, 0, size);
		}
		rc = i % 1024 ? 0 : op_check_stop(c, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

const struct op ops_tf_array[] = {
	{TF, "InvertPermutation", 1, 1, 1, 1, 1, 0, 0, infer_same, eval_invert},
	{TF, "MatrixBandPart", 1, 3, 3, 1, 1, 0, 0, infer_same, eval_band},
	{TF, "ReverseV2", 1, 2, 2, 1, 1, 0, 0, infer_same, eval_reverse},
	{TF, "Slice", 1, 3, 3, 1, 1, 0, 0, infer_slice, eval_slice},
	{TF, "SplitV", 1, 3, 3, 1, OP_VARIADIC, 0, 0, infer_split, eval_split},
	{TF, "StridedSlice", 1, 4, 4, 1, 1, 0, 0, infer_strided, eval_strided},
	{TF, "Transpose", 1, 2, 2, 1, 1, 0, 0, infer_transpose, eval_transpose},
	{0},
};
