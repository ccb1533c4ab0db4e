/* SPDX-License-Identifier: MIT */
/* reduce - Reduce…, ArgMax, ArgMin, CumSum, CumProd. */
#include "op/reduce.h"

#include "kernel/copy.h"
#include "op/impl.h"

struct reduce_plan reduce_axis(const struct shape *s, int32_t axis, enum num t)
{
	return (struct reduce_plan){
		.type = t,
		.outer = shape_span(s, 0, axis),
		.dim = (size_t)s->dims[axis],
		.inner = shape_span(s, axis + 1, s->rank),
	};
}

/* True when the reduced axes lie side by side, extents of 1 aside. */
static bool in_a_row(const struct shape *s, uint32_t axes,
		     struct reduce_plan *p)
{
	int stage = 0; /* before, inside, behind */

	p->outer = p->dim = p->inner = 1;
	for (int32_t i = 0; i < s->rank; i++) {
		bool reduced = axes & 1u << i;
		size_t dim = (size_t)s->dims[i];

		if (dim == 1)
			continue;
		if (reduced && stage == 2)
			return false;
		if (reduced)
			stage = 1;
		else if (stage == 1)
			stage = 2;
		*(stage == 0   ? &p->outer
		  : stage == 1 ? &p->dim
			       : &p->inner) *= dim;
	}
	return true;
}

int reduce_arrange(struct op_call *c, const struct shape *s, uint32_t axes,
		   enum num t, const void **data, struct reduce_plan *p,
		   struct err *e)
{
	struct copy_plan copy = {.size = num_size(t)};
	int64_t strides[SHAPE_RANK_MAX];
	ptrdiff_t to = 1;
	void *sorted;
	int rc;

	p->type = t;
	if (in_a_row(s, axes, p))
		return 0;
	shape_strides(s, strides);
	p->outer = p->dim = p->inner = 1;
	for (int pass = 0; pass < 2; pass++) {
		for (int32_t i = 0; i < s->rank; i++) {
			if (((axes >> i) & 1) != (uint32_t)pass)
				continue;
			copy.dims[copy.rank] = (size_t)s->dims[i];
			copy.from[copy.rank++] = (ptrdiff_t)strides[i];
			*(pass ? &p->dim : &p->outer) *= (size_t)s->dims[i];
		}
	}
	for (size_t d = copy.rank; d-- > 0;) {
		copy.to[d] = to;
		to *= (ptrdiff_t)copy.dims[d];
	}
	rc = op_temp_array(c, p->outer * p->dim, copy.size, &sorted, e);
	if (rc < 0)
		return rc;
	copy_strided(&c->env->kernel, &copy, *data, sorted);
	*data = sorted;
	return 0;
}

int reduce_mask(struct op_call *c, int32_t rank, uint32_t *mask, struct err *e)
{
	int32_t axes[SHAPE_RANK_MAX];
	size_t n;
	int rc = op_axes(c, "axes", 1, rank, axes, &n, e);

	if (rc != 0)
		return rc;
	*mask = 0;
	for (size_t i = 0; i < n; i++)
		*mask |= 1u << axes[i];
	if (n == 0 && !op_attr_int(c, "noop_with_empty_axes", 0))
		*mask = rank == 32 ? UINT32_MAX : (1u << rank) - 1;
	return 0;
}

static struct shape drop_axes(const struct shape *s, uint32_t mask, bool keep)
{
	struct shape out = {0};

	for (int32_t i = 0; i < s->rank; i++) {
		if (!(mask & 1u << i))
			out.dims[out.rank++] = s->dims[i];
		else if (keep)
			out.dims[out.rank++] = 1;
	}
	return out;
}

static int infer_reduce(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	bool keep = op_attr_int(c, "keepdims", 1) != 0;
	struct shape s = shape_unknown();
	uint32_t mask;
	int rc;

	if (in->rank >= 0) {
		rc = reduce_mask(c, in->rank, &mask, e);
		if (rc < 0)
			return rc;
		if (rc == 0) {
			s = drop_axes(in, mask, keep);
		} else if (keep) {
			s = *in;
			for (int32_t i = 0; i < s.rank; i++)
				s.dims[i] = s.dims[i] == 1 ? 1 : DIM_UNKNOWN;
		}
	}
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

struct row_reduction {
	enum reduce op;
	struct reduce_plan p;
};

static void reduce_rows(const void *ctx, size_t rows, const float *in,
			float *out)
{
	const struct row_reduction *r = ctx;
	struct reduce_plan p = r->p;

	p.outer = rows;
	reduce_run(&(struct kernel){0}, r->op, &p, in, out);
}

/* 1: what is reduced are no rows of 16-bit numbers. */
static int reduce_short(struct op_call *c, uint32_t mask, const struct shape *s,
			struct err *e)
{
	struct row_reduction r = {(enum reduce)c->op->arg, {.type = NUM_F32}};
	struct op_rows rows = {.out = 1, .fn = reduce_rows, .ctx = &r};

	if (!in_a_row(op_shape(c, 0), mask, &r.p) || r.p.inner != 1)
		return 1;
	rows.rows = r.p.outer;
	rows.in = r.p.dim;
	return op_rows(c, s, &rows, e);
}

static int eval_reduce(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct reduce_plan p;
	const void *data;
	struct shape s;
	uint32_t mask;
	enum num t;
	void *out;
	int rc = infer_reduce(c, e);

	if (rc == 0)
		rc = reduce_mask(c, in->rank, &mask, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = reduce_short(c, mask, &s, e);
	if (rc <= 0)
		return rc;
	rc = op_in(c, 0, &t, &data, e);
	if (rc < 0)
		return rc;
	rc = reduce_arrange(c, in, mask, t, &data, &p, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc == 0)
		reduce_run(&c->env->kernel, (enum reduce)c->op->arg, &p, data,
			   out);
	return rc;
}

/* ---- ArgMax, ArgMin ---- */
static int infer_arg(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	int32_t axis;
	int rc;

	if (s.rank >= 0) {
		rc = op_axis(c, op_attr_int(c, "axis", 0), s.rank, &axis, e);
		if (rc < 0)
			return rc;
		s = drop_axes(&s, 1u << axis,
			      op_attr_int(c, "keepdims", 1) != 0);
	}
	op_out(c, 0, DTYPE_I64, &s);
	return 0;
}

static int eval_arg(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	bool last = op_attr_int(c, "select_last_index", 0) != 0;
	struct reduce_plan p;
	const void *data;
	struct shape s;
	int32_t axis;
	enum num t;
	void *out;
	int rc = infer_arg(c, e);

	if (rc == 0)
		rc = op_axis(c, op_attr_int(c, "axis", 0), in->rank, &axis, e);
	if (rc == 0)
		rc = op_in(c, 0, &t, &data, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	p = reduce_axis(in, axis, t);
	if (p.dim == 0 && p.outer * p.inner > 0)
		return op_invalid(c, e, "nothing to choose from");
	rc = op_alloc(c, 0, DTYPE_I64, &s, &out, e);
	if (rc == 0)
		reduce_arg(&c->env->kernel, c->op->arg, last, &p, data, out);
	return rc;
}

/* ---- CumSum, CumProd ---- */
static int eval_cumulate(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	struct reduce_plan p;
	const void *in;
	int64_t given;
	int32_t axis;
	enum num t;
	void *out;
	int rc = op_scalar_int(c, 1, 0, &given, e);

	if (rc == 0)
		rc = op_axis(c, given, s->rank, &axis, e);
	if (rc == 0)
		rc = op_in(c, 0, &t, &in, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, s, &out, e);
	if (rc < 0)
		return rc;
	p = reduce_axis(s, axis, t);
	reduce_cumulate(&c->env->kernel, (enum cumulate)c->op->arg,
			op_attr_int(c, "exclusive", 0) != 0,
			op_attr_int(c, "reverse", 0) != 0, &p, in, out);
	return 0;
}

#define REDUCE(type, op)                                                    \
	{                                                                   \
		ONNX, type, 1, 1, 2, 1, 1, OP_WRITES_ALL, op, infer_reduce, \
			eval_reduce                                         \
	}

const struct op ops_reduce[] = {
	REDUCE("ReduceSum", REDUCE_SUM),
	REDUCE("ReduceMean", REDUCE_MEAN),
	REDUCE("ReduceProd", REDUCE_PROD),
	REDUCE("ReduceMax", REDUCE_MAX),
	REDUCE("ReduceMin", REDUCE_MIN),
	REDUCE("ReduceL1", REDUCE_L1),
	REDUCE("ReduceL2", REDUCE_L2),
	REDUCE("ReduceSumSquare", REDUCE_SUM_SQUARE),
	REDUCE("ReduceLogSum", REDUCE_LOG_SUM),
	REDUCE("ReduceLogSumExp", REDUCE_LOG_SUM_EXP),
	{ONNX, "ArgMax", 1, 1, 1, 1, 1, 0, 0, infer_arg, eval_arg},
	{ONNX, "ArgMin", 1, 1, 1, 1, 1, 0, 1, infer_arg, eval_arg},
	{ONNX, "CumSum", 11, 2, 2, 1, 1, 0, CUMULATE_SUM, infer_same,
	 eval_cumulate},
	{ONNX, "CumProd", 26, 2, 2, 1, 1, 0, CUMULATE_PROD, infer_same,
	 eval_cumulate},
	{0},
};
