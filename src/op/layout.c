/* SPDX-License-Identifier: MIT */
/* layout - the same elements in another order: Transpose, Concat, Split, … */
#include "kernel/copy.h"
#include "op/derived.h"
#include "op/impl.h"

/* ---- one input, one output, strides ---- */
/*
 * Copies input 0 to output 0 (whose shape infer has set): dims and `from` say
 * in which order its elements come, starting at element `first`.
 */
static int reorder(struct op_call *c, struct copy_plan *p, ptrdiff_t first,
		   struct err *e)
{
	struct shape s = c->out[0].shape;
	ptrdiff_t to = 1;
	const void *in;
	void *out;
	int rc = op_elems(c, 0, &in, &p->size, e);

	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc < 0 || op_nelems(c, 0) == 0)
		return rc;
	for (size_t d = p->rank; d-- > 0;) {
		p->to[d] = to;
		to *= (ptrdiff_t)p->dims[d];
	}
	copy_strided(&c->env->kernel, p,
		     (const char *)in + first * (ptrdiff_t)p->size, out);
	return 0;
}

/* ---- Transpose ---- */
static int permutation(const struct op_call *c, int32_t rank,
		       int32_t perm[SHAPE_RANK_MAX], struct err *e)
{
	const int64_t *v;
	uint32_t seen = 0;
	size_t n;

	if (!op_attr_ints(c, "perm", &v, &n)) {
		for (int32_t i = 0; i < rank; i++)
			perm[i] = rank - 1 - i;
		return 0;
	}
	if (n != (size_t)rank)
		return op_invalid(c, e, "perm has %zu entries", n);
	for (int32_t i = 0; i < rank; i++) {
		int rc = op_axis(c, v[i], rank, &perm[i], e);

		if (rc < 0)
			return rc;
		if (seen & 1u << perm[i])
			return op_invalid(c, e, "perm has %d twice", perm[i]);
		seen |= 1u << perm[i];
	}
	return 0;
}

static int infer_transpose(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int32_t perm[SHAPE_RANK_MAX];
	struct shape s = *in;
	int rc = 0;

	if (in->rank >= 0)
		rc = permutation(c, in->rank, perm, e);
	for (int32_t i = 0; i < in->rank && rc == 0; i++)
		s.dims[i] = in->dims[perm[i]];
	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

static int eval_transpose(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int64_t strides[SHAPE_RANK_MAX];
	int32_t perm[SHAPE_RANK_MAX];
	struct copy_plan p = {.rank = (size_t)in->rank};
	int rc = infer_transpose(c, e);

	if (rc == 0)
		rc = permutation(c, in->rank, perm, e);
	if (rc < 0)
		return rc;
	shape_strides(in, strides);
	for (int32_t i = 0; i < in->rank; i++) {
		p.dims[i] = (size_t)in->dims[perm[i]];
		p.from[i] = (ptrdiff_t)strides[perm[i]];
	}
	return reorder(c, &p, 0, e);
}

static int view_transpose(struct op_call *c, struct tensor *out, struct err *e)
{
	int32_t perm[SHAPE_RANK_MAX];

	if (op_shape(c, 0)->rank != 2 || dtype_size(c->in[0].dtype) == 0 ||
	    permutation(c, 2, perm, NULL) < 0 || perm[0] != 1)
		return op_unsupported(c, e, "this view");
	return out ? derived_turned(&c->in[0], out, e) : 0;
}

/* ---- DepthToSpace, SpaceToDepth ---- */
static int block_size(const struct op_call *c, int64_t *b, struct err *e)
{
	*b = op_attr_int(c, "blocksize", 0);
	if (*b < 1 || *b > INT32_MAX)
		return op_invalid(c, e, "blocksize %lld", (long long)*b);
	return op_need_rank(c, 0, 4, 4, e);
}

static int infer_blocks(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	bool to_space = c->op->arg;
	struct shape s = *in;
	int64_t b;
	int rc = block_size(c, &b, e);

	if (rc < 0 || in->rank < 0)
		return rc;
	for (int32_t i = 1; i < 4; i++) {
		bool divide = (i == 1) == to_space;
		int64_t by = i == 1 ? b * b : b;

		if (in->dims[i] == DIM_UNKNOWN)
			continue;
		if (divide && in->dims[i] % by != 0)
			return op_invalid(c, e, "extent %lld",
					  (long long)in->dims[i]);
		if (divide)
			s.dims[i] = in->dims[i] / by;
		else
			rc = op_mul(c, in->dims[i], by, &s.dims[i], e);
		if (rc < 0)
			return rc;
	}
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

/* Extents of a view of the input, and the order in which they come out. */
static int eval_view(struct op_call *c, const int64_t dims[6],
		     const int order[6], struct err *e)
{
	struct shape view = shape_of(6, dims);
	int64_t strides[SHAPE_RANK_MAX];
	struct copy_plan p = {.rank = 6};

	shape_strides(&view, strides);
	for (int i = 0; i < 6; i++) {
		p.dims[i] = (size_t)dims[order[i]];
		p.from[i] = (ptrdiff_t)strides[order[i]];
	}
	return reorder(c, &p, 0, e);
}

static int eval_blocks(struct op_call *c, struct err *e)
{
	static const int dcr[6] = {0, 3, 4, 1, 5, 2};
	static const int crd[6] = {0, 1, 4, 2, 5, 3};
	static const int to_depth[6] = {0, 3, 5, 1, 2, 4};
	const int64_t *d = op_shape(c, 0)->dims;
	int64_t b;
	int rc = infer_blocks(c, e);

	if (rc == 0)
		rc = block_size(c, &b, e);
	if (rc < 0)
		return rc;
	if (!c->op->arg)
		return eval_view(
			c, (int64_t[]){d[0], d[1], d[2] / b, b, d[3] / b, b},
			to_depth, e);
	if (strcmp(op_attr_str(c, "mode", "DCR"), "CRD") == 0)
		return eval_view(
			c, (int64_t[]){d[0], d[1] / (b * b), b, b, d[2], d[3]},
			crd, e);
	return eval_view(c, (int64_t[]){d[0], b, b, d[1] / (b * b), d[2], d[3]},
			 dcr, e);
}

/* ---- Expand, Tile ---- */
static int infer_expand(struct op_call *c, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	struct shape want = shape_unknown(), s;
	size_t n;
	int rc = op_ints(c, 1, dims, SHAPE_RANK_MAX, &n, e);

	if (rc == 0)
		rc = shape_set(&want, dims, n, e);
	if (rc < 0)
		return rc;
	rc = op_broadcast(c, op_shape(c, 0), &want, &s, e);
	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

static int eval_expand(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int64_t strides[SHAPE_RANK_MAX];
	struct copy_plan p = {0};
	const struct shape *s;
	int32_t skip;
	int rc = infer_expand(c, e);

	if (rc < 0)
		return rc;
	s = &c->out[0].shape;
	skip = s->rank - in->rank;
	p.rank = (size_t)s->rank;
	shape_strides(in, strides);
	for (int32_t i = 0; i < s->rank; i++) {
		p.dims[i] = (size_t)s->dims[i];
		if (i >= skip && in->dims[i - skip] != 1)
			p.from[i] = (ptrdiff_t)strides[i - skip];
	}
	return reorder(c, &p, 0, e);
}

/* Opset 1 named one axis and one number of tiles. */
static int tile_counts(struct op_call *c, int32_t rank,
		       int64_t counts[SHAPE_RANK_MAX], struct err *e)
{
	int64_t n, axis;
	int32_t at;
	size_t got;
	int rc;

	if (c->op->max_in == 2) {
		rc = op_ints(c, 1, counts, SHAPE_RANK_MAX, &got, e);
		if (rc == 0 && got != (size_t)rank)
			return op_invalid(c, e, "%zu repeats", got);
		return rc;
	}
	rc = op_scalar_int(c, 1, 1, &n, e);
	if (rc == 0)
		rc = op_scalar_int(c, 2, 0, &axis, e);
	if (rc == 0)
		rc = op_axis(c, axis, rank, &at, e);
	if (rc != 0)
		return rc;
	for (int32_t i = 0; i < rank; i++)
		counts[i] = i == at ? n : 1;
	return 0;
}

static int infer_tile(struct op_call *c, struct err *e)
{
	int64_t counts[SHAPE_RANK_MAX];
	struct shape s = *op_shape(c, 0);
	int rc;

	if (s.rank < 0) {
		op_out(c, 0, c->in[0].dtype, &s);
		return 0;
	}
	rc = tile_counts(c, s.rank, counts, e);
	if (rc < 0)
		return rc;
	for (int32_t i = 0; i < s.rank; i++) {
		if (rc > 0 || s.dims[i] == DIM_UNKNOWN) {
			s.dims[i] = DIM_UNKNOWN;
			continue;
		}
		if (counts[i] < 0)
			return op_invalid(c, e, "%lld repeats",
					  (long long)counts[i]);
		if (op_mul(c, s.dims[i], counts[i], &s.dims[i], e) < 0)
			return -EFBIG;
	}
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static int eval_tile(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int64_t strides[SHAPE_RANK_MAX], counts[SHAPE_RANK_MAX];
	struct copy_plan p = {.rank = 2 * (size_t)in->rank};
	int rc = infer_tile(c, e);

	if (rc == 0)
		rc = tile_counts(c, in->rank, counts, e);
	if (rc < 0)
		return rc;
	shape_strides(in, strides);
	for (int32_t i = 0; i < in->rank; i++) {
		p.dims[2 * i] = (size_t)counts[i];
		p.dims[2 * i + 1] = (size_t)in->dims[i];
		p.from[2 * i + 1] = (ptrdiff_t)strides[i];
	}
	return reorder(c, &p, 0, e);
}

/* ---- Concat, Split ---- */
static int infer_concat(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	int32_t axis;
	int rc;

	for (size_t i = 1; i < c->nin && s.rank < 0; i++)
		s = *op_shape(c, i);
	op_out(c, 0, c->in[0].dtype, &s);
	if (s.rank < 0)
		return 0;
	rc = op_axis(c, op_attr_int(c, "axis", 1), s.rank, &axis, e);
	if (rc < 0)
		return rc;
	s.dims[axis] = 0;
	for (size_t i = 0; i < c->nin; i++) {
		const struct shape *in = op_shape(c, i);

		if (in->rank >= 0 && in->rank != s.rank)
			return op_invalid(c, e, "input %zu has rank %d", i,
					  in->rank);
		for (int32_t d = 0; d < s.rank && in->rank >= 0; d++) {
			if (d == axis || in->dims[d] == DIM_UNKNOWN)
				continue;
			if (s.dims[d] != in->dims[d] &&
			    s.dims[d] != DIM_UNKNOWN)
				return op_invalid(c, e, "extent %lld",
						  (long long)in->dims[d]);
			s.dims[d] = in->dims[d];
		}
		if (in->rank < 0 || in->dims[axis] == DIM_UNKNOWN)
			s.dims[axis] = DIM_UNKNOWN;
		else if (s.dims[axis] != DIM_UNKNOWN &&
			 op_add(c, s.dims[axis], in->dims[axis], &s.dims[axis],
				e) < 0)
			return -EFBIG;
	}
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

/* Rows of `width` elements in one tensor, `pitch` elements in the other. */
static void copy_rows(struct op_call *c, const void *in, void *out,
		      const size_t v[4] /* rows, width, from, to */,
		      size_t size)
{
	struct copy_plan p = {.rank = 2,
			      .size = size,
			      .dims = {v[0], v[1]},
			      .from = {(ptrdiff_t)v[2], 1},
			      .to = {(ptrdiff_t)v[3], 1}};

	copy_strided(&c->env->kernel, &p, in, out);
}

static int eval_concat(struct op_call *c, struct err *e)
{
	struct shape s;
	size_t rows, pitch, at = 0, size;
	int32_t axis;
	void *out;
	int rc = infer_concat(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = op_axis(c, op_attr_int(c, "axis", 1), s.rank, &axis, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc < 0)
		return rc;
	rows = shape_span(&s, 0, axis);
	pitch = shape_span(&s, axis, s.rank);
	for (size_t i = 0; i < c->nin; i++) {
		size_t width = shape_span(op_shape(c, i), axis, s.rank);
		const void *in;

		if (op_dtype(c, i) != c->in[0].dtype)
			return op_bad_dtype(c, i, e);
		rc = op_elems(c, i, &in, &size, e);
		if (rc < 0)
			return rc;
		copy_rows(c, in, (char *)out + at * size,
			  (size_t[]){rows, width, width, pitch}, size);
		at += width;
	}
	return 0;
}

/* The parts of an extent; 1 when they are not known yet. */
static int split_even(struct op_call *c, int64_t dim, int64_t *parts,
		      struct err *e)
{
	int64_t n = (int64_t)c->nout, part;

	if (op_attr_int(c, "num_outputs", n) != n)
		return op_invalid(c, e, "%lld outputs", (long long)n);
	if (dim == DIM_UNKNOWN)
		return 1;
	part = dim / n + (dim % n != 0);
	if (c->node->opset < 18 && dim % n != 0)
		return op_invalid(c, e, "%lld in %lld parts", (long long)dim,
				  (long long)n);
	for (int64_t i = 0; i < n; i++) {
		parts[i] = dim < part ? dim : part;
		dim -= parts[i];
	}
	return 0;
}

static int split_parts(struct op_call *c, int64_t dim, int64_t *parts,
		       struct err *e)
{
	const int64_t *v;
	int64_t sum = 0;
	size_t n;
	int rc = 0;

	if (op_attr_ints(c, "split", &v, &n)) {
		if (n != c->nout)
			return op_invalid(c, e, "%zu parts", n);
		memcpy(parts, v, n * sizeof(*v));
	} else if (op_has(c, 1)) {
		rc = op_ints(c, 1, parts, c->nout, &n, e);
		if (rc == 0 && n != c->nout)
			return op_invalid(c, e, "%zu parts", n);
	} else {
		return split_even(c, dim, parts, e);
	}
	for (size_t i = 0; i < c->nout && rc == 0; i++) {
		if (parts[i] < 0 || __builtin_add_overflow(sum, parts[i], &sum))
			return op_invalid(c, e, "a part of %lld",
					  (long long)parts[i]);
	}
	if (rc == 0 && dim != DIM_UNKNOWN && sum != dim)
		return op_invalid(c, e, "parts of %lld make %lld",
				  (long long)dim, (long long)sum);
	return rc;
}

static int infer_split(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	int32_t axis;
	void *parts;
	int rc;

	for (size_t i = 0; i < c->nout; i++)
		op_out(c, i, c->in[0].dtype, &s);
	if (s.rank < 0)
		return 0;
	rc = op_axis(c, op_attr_int(c, "axis", 0), s.rank, &axis, e);
	if (rc == 0)
		rc = op_temp_array(c, c->nout, sizeof(int64_t), &parts, e);
	if (rc == 0)
		rc = split_parts(c, s.dims[axis], parts, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < c->nout; i++) {
		s.dims[axis] = rc ? DIM_UNKNOWN : ((int64_t *)parts)[i];
		op_out(c, i, c->in[0].dtype, &s);
	}
	return 0;
}

static int eval_split(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	size_t pitch, at = 0, size;
	int32_t axis;
	const void *in;
	int rc = infer_split(c, e);

	if (rc == 0)
		rc = op_axis(c, op_attr_int(c, "axis", 0), s->rank, &axis, e);
	if (rc == 0)
		rc = op_elems(c, 0, &in, &size, e);
	if (rc < 0)
		return rc;
	pitch = shape_span(s, axis, s->rank);
	for (size_t i = 0; i < c->nout; i++) {
		struct shape part = c->out[i].shape;
		size_t width = shape_span(&part, axis, s->rank);
		void *out;

		rc = op_alloc_elems(c, i, c->in[0].dtype, &part, &out, e);
		if (rc < 0)
			return rc;
		copy_rows(
			c, (const char *)in + at * size, out,
			(size_t[]){shape_span(s, 0, axis), width, pitch, width},
			size);
		at += width;
	}
	return 0;
}

const struct op ops_layout[] = {
	{ONNX, "Transpose", 1, 1, 1, 1, 1, OP_WRITES_ALL, 0, infer_transpose,
	 eval_transpose, .view = view_transpose},
	{ONNX, "DepthToSpace", 1, 1, 1, 1, 1, 0, 1, infer_blocks, eval_blocks},
	{ONNX, "SpaceToDepth", 1, 1, 1, 1, 1, 0, 0, infer_blocks, eval_blocks},
	{ONNX, "Expand", 8, 2, 2, 1, 1, OP_WRITES_ALL, 0, infer_expand,
	 eval_expand},
	{ONNX, "Tile", 1, 3, 3, 1, 1, 0, 0, infer_tile, eval_tile},
	{ONNX, "Tile", 6, 2, 2, 1, 1, 0, 0, infer_tile, eval_tile},
	{ONNX, "Concat", 1, 1, OP_VARIADIC, 1, 1, OP_WRITES_ALL, 0,
	 infer_concat, eval_concat},
	{ONNX, "Split", 1, 1, 2, 1, OP_VARIADIC, OP_WRITES_ALL, 0, infer_split,
	 eval_split},
	{0},
};
