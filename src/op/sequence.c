/* SPDX-License-Identifier: MIT */
/* sequence - Sequence… and Optional… operators: tensors as elements. */
#include "op/sequence.h"

#include <stdlib.h>

#include "kernel/copy.h"
#include "op/impl.h"

int sequence_give(struct op_call *c, size_t out, enum dtype kind,
		  const struct tensor *items, size_t n, struct err *e)
{
	struct tensor t = {.dtype = kind};
	int rc;

	t.shape = shape_of(1, &(int64_t){(int64_t)n});
	t.data = blob_items(items, n);
	if (!t.data)
		return err_nomem(e, n * sizeof(*items));
	rc = op_give(c, out, &t, e);
	blob_unref(t.data);
	return rc;
}

int sequence_items(struct op_call *c, size_t i, const struct tensor **items,
		   size_t *n, struct err *e)
{
	*n = 0;
	*items = op_has(c, i) && c->in[i].data
			 ? blob_get_items(c->in[i].data, n)
			 : NULL;
	if (!op_has(c, i) || c->in[i].dtype < DTYPE_SEQUENCE ||
	    (!*items && *n > 0) || !c->in[i].data)
		return op_bad_dtype(c, i, e);
	return 0;
}

static int position(struct op_call *c, size_t i, size_t n, bool may_end,
		    size_t *out, struct err *e)
{
	int64_t at, size = (int64_t)n;
	int rc = op_scalar_int(c, i, may_end ? size : size - 1, &at, e);

	if (rc < 0)
		return rc;
	if (at < -size || at > size - !may_end)
		return op_invalid(c, e, "position %lld of %zu", (long long)at,
				  n);
	*out = (size_t)(at < 0 ? at + size : at);
	return 0;
}

static int infer_kind(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(1, &(int64_t){DIM_UNKNOWN});

	(void)e;
	op_out(c, 0, (enum dtype)c->op->arg, &s);
	return 0;
}

static int eval_empty(struct op_call *c, struct err *e)
{
	return sequence_give(c, 0, DTYPE_SEQUENCE, NULL, 0, e);
}

static int eval_construct(struct op_call *c, struct err *e)
{
	return sequence_give(c, 0, DTYPE_SEQUENCE, c->in, c->nin, e);
}

static int eval_insert(struct op_call *c, struct err *e)
{
	const struct tensor *items;
	struct tensor *all;
	size_t n = 0, at;
	int rc = sequence_items(c, 0, &items, &n, e);

	if (rc == 0)
		rc = position(c, 2, n, true, &at, e);
	if (rc < 0)
		return rc;
	all = calloc(n + 1, sizeof(*all));
	if (!all)
		return err_nomem(e, n * sizeof(*all));
	for (size_t i = 0; i <= n; i++)
		all[i] = i == at ? c->in[1] : items[i - (i > at)];
	rc = sequence_give(c, 0, DTYPE_SEQUENCE, all, n + 1, e);
	free(all);
	return rc;
}

static int eval_erase(struct op_call *c, struct err *e)
{
	const struct tensor *items;
	struct tensor *rest;
	size_t n = 0, at;
	int rc = sequence_items(c, 0, &items, &n, e);

	if (rc == 0)
		rc = position(c, 1, n, false, &at, e);
	if (rc < 0)
		return rc;
	rest = calloc(n, sizeof(*rest));
	if (!rest)
		return err_nomem(e, n * sizeof(*rest));
	for (size_t i = 0; i + 1 < n; i++)
		rest[i] = items[i + (i >= at)];
	rc = sequence_give(c, 0, DTYPE_SEQUENCE, rest, n - 1, e);
	free(rest);
	return rc;
}

static int eval_at(struct op_call *c, struct err *e)
{
	const struct tensor *items;
	size_t n = 0, at;
	int rc = sequence_items(c, 0, &items, &n, e);

	if (rc == 0)
		rc = position(c, 1, n, false, &at, e);
	return rc < 0 ? rc : op_give(c, 0, &items[at], e);
}

static int infer_scalar(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(0, NULL);

	(void)e;
	op_out(c, 0, (enum dtype)c->op->arg, &s);
	return 0;
}

static int eval_length(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(0, NULL);
	const struct tensor *items;
	size_t n = 0;
	void *out;
	int rc = sequence_items(c, 0, &items, &n, e);

	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_I64, &s, &out, e);
	if (rc == 0)
		*(int64_t *)out = (int64_t)n;
	return rc;
}

/* ---- SplitToSequence ---- */
int sequence_cut(struct op_call *c, size_t i, int32_t axis, int64_t at,
		 int64_t len, struct tensor *out, struct err *e)
{
	const struct tensor *t = &c->in[i];
	size_t size = dtype_size(t->dtype);
	size_t outer = shape_span(&t->shape, 0, axis);
	size_t inner = shape_span(&t->shape, axis + 1, t->shape.rank) * size;
	size_t dim = (size_t)t->shape.dims[axis];
	void *data;
	int rc;

	if (size == 0)
		return op_bad_dtype(c, i, e);
	rc = c->env->alloc(c->env, outer * (size_t)len * inner, &out->data,
			   &data, e);
	if (rc < 0)
		return rc;
	out->dtype = t->dtype;
	out->shape = t->shape;
	out->shape.dims[axis] = len;
	for (size_t o = 0; o < outer && inner > 0; o++)
		memcpy((char *)data + o * (size_t)len * inner,
		       (const char *)op_data(c, i) +
			       (o * dim + (size_t)at) * inner,
		       (size_t)len * inner);
	return 0;
}

/* The lengths of the parts: given, or all alike. */
static int part_lengths(struct op_call *c, int64_t dim, const int64_t **out,
			size_t *n, struct err *e)
{
	int64_t step = 1, *v;
	const int64_t *given;
	void *p;
	int rc;

	if (op_has(c, 1) && c->in[1].shape.rank > 0) {
		int64_t sum = 0;

		rc = op_in_i64(c, 1, &given, e);
		*n = op_nelems(c, 1);
		for (size_t i = 0; i < *n && rc == 0; i++) {
			if (given[i] < 0 ||
			    __builtin_add_overflow(sum, given[i], &sum))
				return op_invalid(c, e, "a negative part");
		}
		if (rc == 0 && sum != dim)
			return op_invalid(c, e, "parts of %lld make %lld",
					  (long long)dim, (long long)sum);
		*out = given;
		return rc;
	}
	rc = op_scalar_int(c, 1, 1, &step, e);
	if (rc == 0 && step < 1)
		return op_invalid(c, e, "parts of %lld", (long long)step);
	if (rc < 0)
		return rc;
	*n = (size_t)(dim / step + (dim % step != 0));
	rc = op_temp_array(c, *n, sizeof(*v), &p, e);
	if (rc < 0)
		return rc;
	v = p;
	for (size_t i = 0; i < *n; i++)
		v[i] = dim - (int64_t)i * step < step ? dim - (int64_t)i * step
						      : step;
	*out = v;
	return 0;
}

static int eval_split(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	bool keep = op_has(c, 1) || op_attr_int(c, "keepdims", 1) != 0;
	const int64_t *lengths = NULL;
	struct tensor *parts;
	int64_t at = 0;
	int32_t axis;
	size_t n = 0;
	int rc = op_axis(c, op_attr_int(c, "axis", 0), s->rank, &axis, e);

	if (rc == 0)
		rc = part_lengths(c, s->dims[axis], &lengths, &n, e);
	if (rc < 0)
		return rc;
	parts = calloc(n + 1, sizeof(*parts));
	if (!parts)
		return err_nomem(e, n * sizeof(*parts));
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = sequence_cut(c, 0, axis, at, lengths[i], &parts[i], e);
		at += lengths[i];
		if (keep)
			continue;
		parts[i].shape.rank--;
		for (int32_t d = axis; d < parts[i].shape.rank; d++)
			parts[i].shape.dims[d] = s->dims[d + 1];
	}
	if (rc == 0)
		rc = sequence_give(c, 0, DTYPE_SEQUENCE, parts, n, e);
	for (size_t i = 0; i < n; i++)
		tensor_drop(&parts[i]);
	free(parts);
	return rc;
}

/* ---- ConcatFromSequence ---- */
static int concat_shape(struct op_call *c, const struct sequence_join *j,
			int32_t *axis, struct shape *s, struct err *e)
{
	const struct tensor *items = j->items;
	const struct shape *first = &items[0].shape;
	int64_t sum = 0;
	int rc = op_axis(c, j->axis, first->rank + j->new_axis, axis, e);

	if (rc < 0)
		return rc;
	if (first->rank + j->new_axis > SHAPE_RANK_MAX)
		return op_unsupported(c, e, "the rank");
	*s = *first;
	for (size_t i = 0; i < j->n; i++) {
		struct shape other = items[i].shape;

		if (!j->new_axis && other.rank == first->rank) {
			if (op_add(c, sum, other.dims[*axis], &sum, e) < 0)
				return -EFBIG;
			other.dims[*axis] = first->dims[*axis];
		}
		if (!shape_equal(&other, first) ||
		    items[i].dtype != items[0].dtype)
			return op_invalid(c, e, "tensors that do not fit");
	}
	if (!j->new_axis) {
		s->dims[*axis] = sum;
		return 0;
	}
	s->rank++;
	for (int32_t d = s->rank - 1; d > *axis; d--)
		s->dims[d] = s->dims[d - 1];
	s->dims[*axis] = (int64_t)j->n;
	return 0;
}

int sequence_join(struct op_call *c, const struct sequence_join *j,
		  struct err *e)
{
	const struct tensor *items = j->items;
	struct op_call inner = *c;
	size_t at = 0, outer, pitch;
	struct shape s;
	int32_t axis;
	void *out;
	int rc = concat_shape(c, j, &axis, &s, e);

	if (rc == 0)
		rc = op_alloc_elems(c, 0, items[0].dtype, &s, &out, e);
	if (rc < 0)
		return rc;
	outer = shape_span(&s, 0, axis);
	pitch = shape_span(&s, axis, s.rank);
	inner.scratch = c->scratch;
	inner.in = items;
	inner.nin = j->n;
	for (size_t i = 0; i < j->n && rc == 0; i++) {
		size_t width =
			shape_span(&items[i].shape, axis, items[i].shape.rank);
		struct copy_plan p = {.rank = 2,
				      .dims = {outer, width},
				      .from = {(ptrdiff_t)width, 1},
				      .to = {(ptrdiff_t)pitch, 1}};
		const void *in;

		rc = op_elems(&inner, i, &in, &p.size, e);
		if (rc == 0)
			copy_strided(&c->env->kernel, &p, in,
				     (char *)out + at * p.size);
		at += width;
	}
	c->scratch = inner.scratch;
	return rc;
}

static int eval_concat(struct op_call *c, struct err *e)
{
	struct sequence_join j = {.axis = op_attr_int(c, "axis", 0),
				  .new_axis = op_attr_int(c, "new_axis", 0)};
	int rc = sequence_items(c, 0, &j.items, &j.n, e);

	if (rc == 0 && j.n == 0)
		return op_invalid(c, e, "an empty sequence");
	return rc < 0 ? rc : sequence_join(c, &j, e);
}

/* ---- Optional ---- */
static int eval_optional(struct op_call *c, struct err *e)
{
	return sequence_give(c, 0, DTYPE_OPTIONAL, c->in, op_has(c, 0) ? 1 : 0,
			     e);
}

static int eval_has_element(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(0, NULL);
	const struct tensor *items;
	size_t n = op_has(c, 0) ? 1 : 0;
	void *out;
	int rc = 0;

	if (op_dtype(c, 0) == DTYPE_OPTIONAL)
		rc = sequence_items(c, 0, &items, &n, e);
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_BOOL, &s, &out, e);
	if (rc == 0)
		*(uint8_t *)out = n > 0;
	return rc;
}

static int eval_get_element(struct op_call *c, struct err *e)
{
	const struct tensor *items;
	size_t n = 0;
	int rc;

	if (op_dtype(c, 0) != DTYPE_OPTIONAL)
		return op_give(c, 0, &c->in[0], e);
	rc = sequence_items(c, 0, &items, &n, e);
	if (rc == 0 && n == 0)
		return op_invalid(c, e, "an empty optional");
	return rc < 0 ? rc : op_give(c, 0, &items[0], e);
}

const struct op ops_sequence[] = {
	{ONNX, "SequenceEmpty", 11, 0, 0, 1, 1, 0, DTYPE_SEQUENCE, infer_kind,
	 eval_empty},
	{ONNX, "SequenceConstruct", 11, 1, OP_VARIADIC, 1, 1, 0, DTYPE_SEQUENCE,
	 infer_kind, eval_construct},
	{ONNX, "SequenceInsert", 11, 2, 3, 1, 1, 0, DTYPE_SEQUENCE, infer_kind,
	 eval_insert},
	{ONNX, "SequenceErase", 11, 1, 2, 1, 1, 0, DTYPE_SEQUENCE, infer_kind,
	 eval_erase},
	{ONNX, "SequenceAt", 11, 2, 2, 1, 1, 0, 0, NULL, eval_at},
	{ONNX, "SequenceLength", 11, 1, 1, 1, 1, 0, DTYPE_I64, infer_scalar,
	 eval_length},
	{ONNX, "SplitToSequence", 11, 1, 2, 1, 1, 0, DTYPE_SEQUENCE, infer_kind,
	 eval_split},
	{ONNX, "ConcatFromSequence", 11, 1, 1, 1, 1, 0, 0, NULL, eval_concat},
	{ONNX, "Optional", 15, 0, 1, 1, 1, 0, DTYPE_OPTIONAL, infer_kind,
	 eval_optional},
	{ONNX, "OptionalHasElement", 15, 0, 1, 1, 1, 0, DTYPE_BOOL,
	 infer_scalar, eval_has_element},
	{ONNX, "OptionalGetElement", 15, 1, 1, 1, 1, 0, 0, NULL,
	 eval_get_element},
	{0},
};
