/* SPDX-License-Identifier: MIT */
/* gather - elements picked by index. */
#include "kernel/copy.h"
#include "modelfs/blob.h"
#include "op/impl.h"

/* Bytes of a row that is worth a read of its own. */
#define ROW_MIN 256

/* a's extents [0, from), all of b's, a's from `to` on. */
static int splice(const struct op_call *c, const struct shape *a, int32_t from,
		  int32_t to, const struct shape *b, struct shape *out,
		  struct err *e)
{
	int32_t n = 0;

	if (a->rank < 0 || b->rank < 0) {
		*out = shape_unknown();
		return 0;
	}
	if (from + b->rank + a->rank - to > SHAPE_RANK_MAX)
		return op_unsupported(c, e, "the rank");
	for (int32_t i = 0; i < from; i++)
		out->dims[n++] = a->dims[i];
	for (int32_t i = 0; i < b->rank; i++)
		out->dims[n++] = b->dims[i];
	for (int32_t i = to; i < a->rank; i++)
		out->dims[n++] = a->dims[i];
	out->rank = n;
	return 0;
}

/* ---- Gather ---- */
static int infer_gather(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct shape s;
	int32_t axis = 0;
	int rc = 0;

	if (in->rank >= 0)
		rc = op_axis(c, op_attr_int(c, "axis", 0), in->rank, &axis, e);
	if (rc == 0)
		rc = splice(c, in, axis, axis + 1, op_shape(c, 1), &s, e);
	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

/* Rows of a stored tensor, each read for itself. */
static int read_rows(struct op_call *c, const struct gather_plan *p, char *out,
		     struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < p->outer * p->n && rc == 0; i++) {
		size_t row = i / p->n * p->dim + (size_t)p->idx[i % p->n];

		rc = blob_read_full(c->in[0].data, out + i * p->block, p->block,
				    (uint64_t)row * p->block, e);
		if (rc == 0)
			rc = op_check_stop(c, e);
	}
	return rc;
}

static bool is_worth_rows(const struct op_call *c, const struct gather_plan *p)
{
	uint64_t rows = (uint64_t)p->outer * p->n;

	return p->block >= ROW_MIN && rows < c->in[0].data->size / p->block / 2;
}

/* Where the elements are; NULL: they are to be read. */
static int get_source(struct op_call *c, const void **src, size_t *size,
		      struct err *e)
{
	if (!c->in[0].data || blob_bytes(c->in[0].data) ||
	    !dtype_size(op_dtype(c, 0)))
		return op_elems(c, 0, src, size, e);
	*src = NULL;
	*size = dtype_size(op_dtype(c, 0));
	return 0;
}

static int eval_gather(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct gather_plan p = {.n = op_nelems(c, 1)};
	const void *src;
	struct shape s;
	size_t size;
	int32_t axis;
	void *out;
	int rc = infer_gather(c, e);

	if (rc == 0)
		rc = op_axis(c, op_attr_int(c, "axis", 0), in->rank, &axis, e);
	if (rc == 0)
		rc = op_indices(c, 1, in->dims[axis], &p.idx, e);
	if (rc == 0)
		rc = get_source(c, &src, &size, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc < 0)
		return rc;
	p.outer = shape_span(in, 0, axis);
	p.dim = (size_t)in->dims[axis];
	p.block = shape_span(in, axis + 1, in->rank) * size;
	if (p.block == 0)
		return 0;
	if (!src && is_worth_rows(c, &p))
		return read_rows(c, &p, out, e);
	if (!src)
		rc = op_load_input(c, 0, &src, e);
	if (rc < 0)
		return rc;
	copy_gather(&c->env->kernel, &p, src, out);
	return 0;
}

/* ---- GatherElements ---- */
static int infer_gather_elements(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, c->in[0].dtype, op_shape(c, 1));
	return 0;
}

/*
 * Where every index of input `i` points to in a tensor of shape `data`: the
 * place of the index itself, with its coordinate on `axis` replaced.
 */
int op_element_offsets(struct op_call *c, size_t i, const struct shape *data,
		       int32_t axis, int64_t **out, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	int64_t strides[SHAPE_RANK_MAX], at[SHAPE_RANK_MAX] = {0};
	uint64_t n = op_nelems(c, i);
	const int64_t *idx;
	void *p;
	int rc;

	if (s->rank != data->rank)
		return op_invalid(c, e, "indices of rank %d", s->rank);
	for (int32_t d = 0; d < s->rank; d++) {
		if (d != axis && s->dims[d] > data->dims[d])
			return op_invalid(c, e, "indices of extent %lld",
					  (long long)s->dims[d]);
	}
	rc = op_indices(c, i, data->dims[axis], &idx, e);
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(int64_t), &p, e);
	if (rc < 0)
		return rc;
	shape_strides(data, strides);
	for (uint64_t k = 0; k < n; k++) {
		int64_t off = 0;

		for (int32_t d = 0; d < s->rank; d++)
			off += strides[d] * (d == axis ? idx[k] : at[d]);
		((int64_t *)p)[k] = off;
		for (int32_t d = s->rank; d-- > 0;) {
			if (++at[d] < s->dims[d])
				break;
			at[d] = 0;
		}
	}
	*out = p;
	return 0;
}

static int eval_gather_elements(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct gather_plan p = {.outer = 1, .n = op_nelems(c, 1)};
	int64_t *offsets;
	const void *src;
	int32_t axis;
	void *out;
	int rc = op_axis(c, op_attr_int(c, "axis", 0), in->rank, &axis, e);

	if (rc == 0)
		rc = op_element_offsets(c, 1, in, axis, &offsets, e);
	if (rc == 0)
		rc = op_elems(c, 0, &src, &p.block, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, op_shape(c, 1), &out,
				    e);
	if (rc < 0)
		return rc;
	p.idx = offsets;
	copy_gather(&c->env->kernel, &p, src, out);
	return 0;
}

/* ---- GatherND ---- */
static int gather_nd_shape(struct op_call *c, struct shape *s, int32_t *batch,
			   struct err *e)
{
	const struct shape *in = op_shape(c, 0), *idx = op_shape(c, 1);
	struct shape head;
	int64_t b = op_attr_int(c, "batch_dims", 0), depth;

	*s = shape_unknown();
	if (in->rank < 0 || idx->rank < 0)
		return 0;
	if (idx->rank < 1 || b < 0 || b >= in->rank || b >= idx->rank)
		return op_invalid(c, e, "ranks %d and %d", in->rank, idx->rank);
	*batch = (int32_t)b;
	depth = idx->dims[idx->rank - 1];
	if (depth == DIM_UNKNOWN)
		return 0;
	if (depth > in->rank - b)
		return op_invalid(c, e, "indices of %lld", (long long)depth);
	head = *idx;
	head.rank--;
	return splice(c, in, 0, (int32_t)(b + depth), &head, s, e);
}

static int infer_gather_nd(struct op_call *c, struct err *e)
{
	struct shape s;
	int32_t batch;
	int rc = gather_nd_shape(c, &s, &batch, e);

	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

int op_tuple_offsets(struct op_call *c, size_t i, const struct shape *data,
		     int32_t batch, int64_t **out, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	int64_t depth = s->dims[s->rank - 1];
	uint64_t n = shape_span(s, 0, s->rank - 1);
	uint64_t per = shape_span(s, batch, s->rank - 1);
	const int64_t *v;
	void *p;
	int rc = op_in_i64(c, i, &v, e);

	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(int64_t), &p, e);
	if (rc < 0)
		return rc;
	for (uint64_t k = 0; k < n; k++) {
		int64_t off = (int64_t)(k / per);

		for (int64_t d = 0; d < depth; d++) {
			int64_t dim = data->dims[batch + d];
			int64_t x = v[(int64_t)k * depth + d];

			if (x < -dim || x >= dim)
				return op_invalid(c, e, "index %lld of %lld",
						  (long long)x, (long long)dim);
			off = off * dim + (x < 0 ? x + dim : x);
		}
		((int64_t *)p)[k] = off;
	}
	*out = p;
	return 0;
}

static int eval_gather_nd(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0), *idx = op_shape(c, 1);
	struct gather_plan p = {.outer = 1};
	int64_t *offsets;
	const void *src;
	struct shape s;
	size_t size;
	int32_t batch = 0;
	void *out;
	int rc = gather_nd_shape(c, &s, &batch, e);

	if (rc == 0)
		rc = op_elems(c, 0, &src, &size, e);
	for (int32_t d = 0; d < batch && rc == 0; d++) {
		if (in->dims[d] != idx->dims[d])
			rc = op_invalid(c, e, "batch extents differ");
	}
	if (rc == 0)
		rc = op_tuple_offsets(c, 1, in, batch, &offsets, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc < 0)
		return rc;
	p.n = shape_span(idx, 0, idx->rank - 1);
	p.block = shape_span(in, batch + (int32_t)idx->dims[idx->rank - 1],
			     in->rank) *
		  size;
	p.idx = offsets;
	if (p.block > 0)
		copy_gather(&c->env->kernel, &p, src, out);
	return 0;
}

const struct op ops_gather[] = {
	{ONNX, "Gather", 1, 2, 2, 1, 1, OP_WRITES_ALL | OP_STORED_INPUT_0, 0,
	 infer_gather, eval_gather},
	{ONNX, "GatherElements", 11, 2, 2, 1, 1, 0, 0, infer_gather_elements,
	 eval_gather_elements},
	{ONNX, "GatherND", 11, 2, 2, 1, 1, 0, 0, infer_gather_nd,
	 eval_gather_nd},
	{MICROSOFT, "GatherND", 1, 2, 2, 1, 1, 0, 0, infer_gather_nd,
	 eval_gather_nd},
	{0},
};
