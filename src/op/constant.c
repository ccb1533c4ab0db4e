/* SPDX-License-Identifier: MIT */
/* constant - tensors made from next to nothing. */
#include "kernel/copy.h"

#include <math.h>

#include "op/impl.h"

/* ---- Constant ---- */
static const struct attr *constant_attr(const struct op_call *c)
{
	static const char *const names[] = {
		"value",      "value_float",  "value_floats", "value_int",
		"value_ints", "value_string", "value_strings"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct attr *a = node_attr(c->node, names[i]);

		if (a)
			return a;
	}
	return NULL;
}

static int constant_type(struct op_call *c, const struct attr **a,
			 enum dtype *t, struct shape *s, struct err *e)
{
	int64_t n;

	*a = constant_attr(c);
	if (!*a)
		return op_unsupported(c, e, "no value that can be read");
	n = (int64_t)(*a)->n;
	*s = (*a)->kind >= ATTR_FLOATS ? shape_of(1, &n) : shape_of(0, NULL);
	switch ((*a)->kind) {
	case ATTR_TENSOR:
		*t = (*a)->t->dtype;
		*s = (*a)->t->shape;
		return 0;
	case ATTR_FLOAT:
	case ATTR_FLOATS:
		*t = DTYPE_F32;
		return 0;
	case ATTR_INT:
	case ATTR_INTS:
		*t = DTYPE_I64;
		return 0;
	case ATTR_STRING:
	case ATTR_STRINGS:
		*t = DTYPE_STRING;
		return 0;
	default:
		return op_unsupported(c, e, "no value that can be read");
	}
}

static int infer_constant(struct op_call *c, struct err *e)
{
	const struct attr *a;
	enum dtype t;
	struct shape s;
	int rc = constant_type(c, &a, &t, &s, e);

	if (rc == 0)
		op_out(c, 0, t, &s);
	return rc;
}

static const void *attr_elements(const struct attr *a)
{
	switch (a->kind) {
	case ATTR_FLOAT:
		return &a->f;
	case ATTR_FLOATS:
		return a->floats;
	case ATTR_INT:
		return &a->i;
	case ATTR_INTS:
		return a->ints;
	case ATTR_STRING:
		return &a->s;
	default:
		return a->strings;
	}
}

static int eval_constant(struct op_call *c, struct err *e)
{
	const struct attr *a;
	struct tensor loaded;
	enum dtype t;
	struct shape s;
	void *out;
	size_t size;
	int rc = constant_type(c, &a, &t, &s, e);

	if (rc < 0)
		return rc;
	if (a->kind == ATTR_TENSOR) {
		rc = op_load(c, a->t, &loaded, e);
		return rc < 0 ? rc : op_give(c, 0, &loaded, e);
	}
	rc = op_alloc_elems(c, 0, t, &s, &out, e);
	size = t == DTYPE_STRING ? sizeof(struct span) : dtype_size(t);
	if (rc == 0 && a->n > 0)
		memcpy(out, attr_elements(a), a->n * size);
	return rc;
}

/* ---- ConstantOfShape ---- */
/* A shape given as data; the result's rank where only that is known. */
static int shape_from(struct op_call *c, size_t i, struct shape *s,
		      struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	const struct shape *list = op_shape(c, i);
	size_t n;
	int rc = op_ints(c, i, dims, SHAPE_RANK_MAX, &n, e);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return shape_set(s, dims, n, e);
	*s = shape_unknown();
	if (list->rank == 1 && list->dims[0] >= 0 &&
	    list->dims[0] <= SHAPE_RANK_MAX) {
		s->rank = (int32_t)list->dims[0];
		for (int32_t d = 0; d < s->rank; d++)
			s->dims[d] = DIM_UNKNOWN;
	}
	return 0;
}

static int infer_constant_of_shape(struct op_call *c, struct err *e)
{
	const struct tensor *v = op_attr_tensor(c, "value");
	struct shape s;
	int rc = shape_from(c, 0, &s, e);

	if (rc == 0)
		op_out(c, 0, v ? v->dtype : DTYPE_F32, &s);
	return rc;
}

static int fill_value(struct op_call *c, enum dtype t, const struct tensor *v,
		      uint8_t value[16], struct err *e)
{
	memset(value, 0, 16);
	if (!v)
		return 0;
	if (!v->data || v->data->size == 0 || v->data->size > 16 ||
	    v->dtype >= DTYPE_STRING)
		return op_invalid(c, e, "the value is no number");
	if (dtype_size(t) == v->data->size)
		return blob_read_full(v->data, value, v->data->size, 0, e);
	if (v->data->size == 1 && dtype_size(t) == 0) {
		uint8_t packed;
		int rc = blob_read_full(v->data, &packed, 1, 0, e);

		if (rc == 0)
			dtype_widen(t, &packed, value, 1);
		return rc;
	}
	return op_invalid(c, e, "the value is no scalar");
}

static int eval_constant_of_shape(struct op_call *c, struct err *e)
{
	const struct tensor *v = op_attr_tensor(c, "value");
	uint8_t value[16] __attribute__((aligned(16)));
	enum dtype t;
	struct shape s;
	uint64_t n;
	void *out;
	int rc = infer_constant_of_shape(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	t = c->out[0].dtype;
	rc = fill_value(c, t, v, value, e);
	if (rc == 0)
		rc = op_count(c, &s, &n, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, t, &s, &out, e);
	if (rc == 0)
		copy_fill(&c->env->kernel, out, n,
			  dtype_size(dtype_size(t) ? t : op_compute_type(t)),
			  value);
	return rc;
}

/* ---- Range ---- */
static int infer_range(struct op_call *c, struct err *e)
{
	int64_t n = DIM_UNKNOWN;
	struct shape s = shape_of(1, &n);

	(void)e;
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static int range_ints(struct op_call *c, struct err *e)
{
	int64_t v[3];
	uint64_t n = 0, step, span;
	struct shape s;
	void *out;
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = op_scalar_int(c, i, 0, &v[i], e);
	if (rc < 0)
		return rc;
	if (v[2] == 0)
		return op_invalid(c, e, "a step of 0");
	step = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
	span = v[2] > 0 ? (uint64_t)v[1] - (uint64_t)v[0]
			: (uint64_t)v[0] - (uint64_t)v[1];
	if (v[2] > 0 ? v[1] > v[0] : v[0] > v[1])
		n = span / step + (span % step != 0);
	if (n > INT64_MAX)
		return op_invalid(c, e, "too long");
	s = shape_of(1, &(int64_t){(int64_t)n});
	rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_I64, &s, &out, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		((int64_t *)out)[i] =
			(int64_t)((uint64_t)v[0] + i * (uint64_t)v[2]);
	return rc;
}

static int range_floats(struct op_call *c, struct err *e)
{
	double v[3], n;
	struct shape s;
	void *out;
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = op_scalar_float(c, i, 0, &v[i], e);
	if (rc < 0)
		return rc;
	n = ceil((v[1] - v[0]) / v[2]);
	if (!(v[2] != 0) || isnan(n) || n > 0x1p62)
		return op_invalid(c, e, "no such range");
	s = shape_of(1, &(int64_t){n > 0 ? (int64_t)n : 0});
	rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	for (int64_t i = 0; rc == 0 && i < s.dims[0]; i++)
		((double *)out)[i] = v[0] + (double)i * v[2];
	return rc;
}

static int eval_range(struct op_call *c, struct err *e)
{
	if (op_is_int(c->in[0].dtype))
		return range_ints(c, e);
	return range_floats(c, e);
}

/* ---- EyeLike ---- */
static enum dtype eye_type(const struct op_call *c)
{
	if (node_attr(c->node, "dtype"))
		return dtype_by_onnx(op_attr_int(c, "dtype", 0));
	return c->in[0].dtype;
}

static int infer_eye(struct op_call *c, struct err *e)
{
	int rc = op_need_rank(c, 0, 2, 2, e);

	if (rc == 0)
		op_out(c, 0, eye_type(c), &c->in[0].shape);
	return rc;
}

static int eval_eye(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	int64_t k = op_attr_int(c, "k", 0);
	void *out;
	int rc = op_need_rank(c, 0, 2, 2, e);

	if (rc == 0)
		rc = op_alloc_as(c, 0, eye_type(c), DTYPE_I8, s, &out, e);
	if (rc < 0)
		return rc;
	if (k < -s->dims[0] || k > s->dims[1])
		return 0;
	for (int64_t i = 0; i < s->dims[0]; i++) {
		if (i + k >= 0 && i + k < s->dims[1])
			((int8_t *)out)[i * s->dims[1] + i + k] = 1;
	}
	return 0;
}

/* ---- OneHot ---- */
static int infer_one_hot(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct shape s = shape_unknown();
	int64_t depth;
	int32_t axis;
	int rc = op_scalar_int(c, 1, 0, &depth, e);

	if (rc < 0)
		return rc;
	if (rc == 0 && depth < 0)
		return op_invalid(c, e, "depth %lld", (long long)depth);
	if (in->rank >= SHAPE_RANK_MAX)
		return op_unsupported(c, e, "the rank");
	if (in->rank >= 0) {
		int bad = op_axis(c, op_attr_int(c, "axis", -1), in->rank + 1,
				  &axis, e);

		if (bad < 0)
			return bad;
		s.rank = in->rank + 1;
		for (int32_t i = 0; i < s.rank; i++)
			s.dims[i] = i < axis	? in->dims[i]
				    : i == axis ? (rc ? DIM_UNKNOWN : depth)
						: in->dims[i - 1];
	}
	op_out(c, 0, c->in[2].dtype, &s);
	return 0;
}

static int eval_one_hot(struct op_call *c, struct err *e)
{
	const void *values, *idx;
	struct shape s;
	size_t size;
	uint64_t inner, n, depth;
	int32_t axis;
	void *out;
	int rc = infer_one_hot(c, e);

	if (rc == 0)
		rc = op_elems(c, 2, &values, &size, e);
	if (rc == 0 && op_nelems(c, 2) != 2)
		return op_invalid(c, e, "values are not two");
	/* Indices may be floats. */
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_I64, &idx, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = op_axis(c, op_attr_int(c, "axis", -1), s.rank, &axis, e);
	if (rc == 0)
		rc = op_count(c, &s, &n, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[2].dtype, &s, &out, e);
	if (rc < 0)
		return rc;
	copy_fill(&c->env->kernel, out, n, size, values);
	inner = shape_span(&s, axis + 1, s.rank);
	depth = (uint64_t)s.dims[axis];
	for (uint64_t i = 0; i < op_nelems(c, 0); i++) {
		int64_t k = ((const int64_t *)idx)[i];

		k = k < 0 ? k + (int64_t)depth : k;
		if (k < 0 || (uint64_t)k >= depth)
			continue;
		memcpy((char *)out +
			       ((i / inner * depth + (uint64_t)k) * inner +
				i % inner) *
				       size,
		       (const char *)values + size, size);
	}
	return 0;
}

const struct op ops_constant[] = {
	{ONNX, "Constant", 1, 0, 0, 1, 1, 0, 0, infer_constant, eval_constant},
	{ONNX, "ConstantOfShape", 9, 1, 1, 1, 1, 0, 0, infer_constant_of_shape,
	 eval_constant_of_shape},
	{ONNX, "Range", 11, 3, 3, 1, 1, 0, 0, infer_range, eval_range},
	{ONNX, "EyeLike", 9, 1, 1, 1, 1, OP_SHAPE_ONLY, 0, infer_eye, eval_eye},
	{ONNX, "OneHot", 9, 3, 3, 1, 1, 0, 0, infer_one_hot, eval_one_hot},
	{0},
};
