/* SPDX-License-Identifier: MIT */
/* pooling - MaxPool, AveragePool, LpPool, their Global… kin, MaxUnpool. */
#include "kernel/pooling.h"

#include <math.h>

#include "kernel/depth.h"
#include "op/impl.h"
#include "op/window.h"

static bool is_global(const struct op_call *c)
{
	return strncmp(c->op->type, "Global", 6) == 0;
}

/* A Global… window is all of the input. */
static int read_window(const struct op_call *c, const struct shape *x,
		       struct spatial *sp, struct err *e)
{
	int rc;

	if (!is_global(c)) {
		rc = spatial_read(c, x->rank - 2, NULL, sp, e);
		if (rc == 0 && x->rank > 2 && sp->kernel[0] == DIM_UNKNOWN)
			return op_invalid(c, e, "no kernel_shape");
		return rc;
	}
	memset(sp, 0, sizeof(*sp));
	sp->n = x->rank - 2;
	for (int32_t i = 0; i < sp->n; i++) {
		sp->kernel[i] = x->dims[i + 2];
		sp->stride[i] = sp->dilation[i] = 1;
	}
	return 0;
}

static int pool_shape(const struct op_call *c, struct spatial *sp,
		      struct shape *s, struct err *e)
{
	bool ceil = op_attr_int(c, "ceil_mode", 0) != 0;
	const struct shape *x = op_shape(c, 0);
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	*s = *x;
	if (rc < 0 || x->rank < 0)
		return rc;
	rc = read_window(c, x, sp, e);
	if (rc < 0)
		return rc;
	if (is_global(c)) {
		for (int32_t i = 2; i < s->rank; i++)
			s->dims[i] = 1;
		return 0;
	}
	return spatial_out(c, sp, x->dims + 2, ceil, s->dims + 2, e);
}

static int infer_pool(struct op_call *c, struct err *e)
{
	struct spatial sp;
	struct shape s;
	int rc = pool_shape(c, &sp, &s, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, c->in[0].dtype, &s);
	op_out(c, 1, DTYPE_I64, &s);
	return 0;
}

static int check_type(struct op_call *c, struct pooling_plan *v, struct err *e)
{
	if (!op_num(op_compute_type(c->in[0].dtype), &v->type))
		return op_bad_dtype(c, 0, e);
	if (v->kind != POOLING_MAX && !op_is_float(c->in[0].dtype))
		return op_bad_dtype(c, 0, e);
	return 0;
}

/* p was a float once. */
static double norm_of(const struct op_call *c)
{
	const struct attr *a = node_attr(c->node, "p");

	if (a && a->kind == ATTR_FLOAT)
		return (double)a->f;
	return (double)op_attr_int(c, "p", 2);
}

/* The extents of windows and results. */
static int plan_pool(struct op_call *c, struct pooling_plan *v, struct shape *s,
		     struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct spatial sp;
	int rc = pool_shape(c, &sp, s, e);

	if (rc == 0 && x->rank > 5)
		return op_unsupported(c, e, "more than 3 spatial extents");
	if (rc == 0)
		rc = check_type(c, v, e);
	if (rc < 0)
		return rc;
	spatial_window(&sp, x->dims + 2, s->dims + 2, &v->w);
	for (int32_t i = 0; i < sp.n; i++)
		v->pad_end[3 - sp.n + i] = (ptrdiff_t)sp.end[i];
	return 0;
}

/* True when the kernel for planes of their own does it. */
static bool is_fast(const struct op_call *c, const struct pooling_plan *v,
		    struct conv *d)
{
	const struct shape *x = op_shape(c, 0);

	*d = (struct conv){.type = v->type,
			   .w = v->w,
			   .batch = (size_t)x->dims[0],
			   .groups = (size_t)x->dims[1],
			   .in_channels = (size_t)x->dims[1],
			   .out_channels = (size_t)x->dims[1],
			   .x_blocked = c->in[0].block > 0,
			   .y_blocked = c->make_blocks};
	return v->kind == POOLING_MAX && !op_wants(c, 1) && depth_has(d);
}

static int pool_fast(struct op_call *c, const struct conv *d, const void *x,
		     void *y, struct err *e)
{
	struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	void *scratch;
	int rc = op_temp_array(c, depth_scratch(&c->env->kernel, d),
			       sizeof(float), &scratch, e);

	if (rc == 0)
		depth_run(&c->env->kernel, d, x, NULL, &none, y, scratch);
	return rc;
}

static unsigned blocks_pool(struct op_call *c)
{
	struct pooling_plan v = {.kind = (enum pooling)c->op->arg};
	struct conv d;
	struct shape s;

	if (!op_is_short_float(c->in[0].dtype) ||
	    !shape_is_known(op_shape(c, 0)) || plan_pool(c, &v, &s, NULL) < 0 ||
	    !is_fast(c, &v, &d) || !depth_takes(&d))
		return 0;
	return OP_TAKES_BLOCKS | OP_MAKES_BLOCKS;
}

static int eval_pool(struct op_call *c, struct err *e)
{
	struct pooling_plan v = {
		.kind = (enum pooling)c->op->arg,
		.count_pad = op_attr_int(c, "count_include_pad", 0) != 0,
		.p = norm_of(c),
		.column_major = op_attr_int(c, "storage_order", 0) != 0,
	};
	struct conv d;
	const void *in;
	struct shape s;
	void *out, *indices = NULL;
	int rc = plan_pool(c, &v, &s, e);

	if (rc == 0)
		rc = op_data_as(c, 0, op_compute_type(c->in[0].dtype), &in, e);
	if (rc == 0)
		rc = c->make_blocks
			     ? op_alloc_image(c, &s, &out, e)
			     : op_out_as(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc == 0 && op_wants(c, 1))
		rc = op_alloc(c, 1, DTYPE_I64, &s, &indices, e);
	if (rc < 0 || shape_span(&s, 0, s.rank) == 0)
		return rc;
	if (is_fast(c, &v, &d))
		return pool_fast(c, &d, in, out, e);
	pooling_run(&c->env->kernel, &v, shape_span(op_shape(c, 0), 0, 2), in,
		    out, indices);
	return 0;
}

/* ---- MaxUnpool ---- */
static int unpool_shape(struct op_call *c, struct shape *s, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	int64_t dims[SHAPE_RANK_MAX];
	struct spatial sp;
	size_t n;
	int rc = op_need_rank(c, 0, 3, SHAPE_RANK_MAX, e);

	*s = *x;
	if (rc < 0 || x->rank < 0)
		return rc;
	if (op_has(c, 2)) {
		rc = op_ints(c, 2, dims, SHAPE_RANK_MAX, &n, e);
		if (rc == 0)
			return shape_set(s, dims, n, e);
		*s = shape_unknown();
		return rc < 0 ? rc : 0;
	}
	rc = spatial_read(c, x->rank - 2, NULL, &sp, e);
	for (int32_t i = 0; i < x->rank - 2 && rc == 0; i++) {
		int64_t in = x->dims[i + 2];

		if (in == DIM_UNKNOWN)
			continue;
		if (in > INT32_MAX || sp.kernel[i] < 0)
			return op_invalid(c, e, "extents");
		s->dims[i + 2] = (in - 1) * sp.stride[i] + sp.kernel[i] -
				 sp.begin[i] - sp.end[i];
		if (s->dims[i + 2] < 0)
			return op_invalid(c, e, "extents");
	}
	return rc;
}

static int infer_unpool(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = unpool_shape(c, &s, e);

	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

/* Indices count in the tensor that the pads and strides alone would give. */
static int unpool_inner(struct op_call *c, struct shape *s, struct err *e)
{
	struct op_call plain = *c;

	plain.nin = 2;
	return unpool_shape(&plain, s, e);
}

static int eval_unpool(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct shape s, inner;
	const int64_t *idx;
	const void *in;
	size_t size;
	uint64_t n;
	void *out;
	int rc = unpool_shape(c, &s, e);

	if (rc == 0)
		rc = unpool_inner(c, &inner, e);
	if (rc == 0)
		rc = op_count(c, &s, &n, e);
	if (rc < 0)
		return rc;
	if (s.rank != x->rank || op_nelems(c, 1) != op_nelems(c, 0))
		return op_invalid(c, e, "the inputs differ in shape");
	rc = op_in_i64(c, 1, &idx, e);
	if (rc == 0)
		rc = op_elems(c, 0, &in, &size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < op_nelems(c, 0); i++) {
		uint64_t rest = (uint64_t)idx[i], at = 0, step = 1;

		for (int32_t d = s.rank; d-- > 0;) {
			uint64_t dim = (uint64_t)inner.dims[d];
			uint64_t p = d > 0 && dim ? rest % dim : rest;

			rest = d > 0 && dim ? rest / dim : 0;
			if (idx[i] < 0 || p >= (uint64_t)s.dims[d])
				return op_invalid(c, e, "index %lld",
						  (long long)idx[i]);
			at += p * step;
			step *= (uint64_t)s.dims[d];
		}
		memcpy((char *)out + at * size, (const char *)in + i * size,
		       size);
	}
	return 0;
}

#define POOL(type, since, max_out, kind)                                  \
	{                                                                 \
		ONNX, type, since, 1, 1, 1, max_out, OP_WRITES_ALL, kind, \
			infer_pool, eval_pool, .blocks = blocks_pool      \
	}

const struct op ops_pooling[] = {
	POOL("MaxPool", 1, 2, POOLING_MAX),
	POOL("AveragePool", 1, 1, POOLING_AVERAGE),
	POOL("LpPool", 1, 1, POOLING_LP),
	POOL("GlobalMaxPool", 1, 1, POOLING_MAX),
	POOL("GlobalAveragePool", 1, 1, POOLING_AVERAGE),
	POOL("GlobalLpPool", 1, 1, POOLING_LP),
	{ONNX, "MaxUnpool", 9, 2, 3, 1, 1, 0, 0, infer_unpool, eval_unpool},
	{0},
};
