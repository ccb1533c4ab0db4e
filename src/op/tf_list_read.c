/* SPDX-License-Identifier: MIT */
/* tf_list_read - what is read of TensorFlow's lists (op/tf_list.h). */
#include <stdlib.h>

#include "op/impl.h"
#include "op/sequence.h"
#include "op/tf_list.h"

/* DTYPE_NONE: the node does not say. */
static enum dtype element_type(const struct op_call *c)
{
	return dtype_by_name(
		op_attr_str(c, is_array(c) ? "dtype" : "element_dtype", ""));
}

/* ---- what elements look like ---- */

/* From an element_shape; a single negative number says nothing. */
static int given_shape(struct op_call *c, size_t i, struct shape *out,
		       struct err *e)
{
	size_t n = 0;
	int rc;

	*out = shape_unknown();
	if (is_array(c) || !op_has(c, i))
		return 0;
	rc = op_ints(c, i, out->dims, SHAPE_RANK_MAX, &n, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (c->in[i].shape.rank == 0)
		return 0;
	out->rank = (int32_t)n;
	for (size_t k = 0; k < n; k++)
		out->dims[k] = out->dims[k] < 0 ? DIM_UNKNOWN : out->dims[k];
	return 0;
}

/* An element that nobody has set looks like the others. */
static void like_others(const struct tensor *items, size_t n, struct shape *s,
			enum dtype *t)
{
	for (size_t i = 0; i < n; i++) {
		if (is_missing(&items[i]))
			continue;
		*t = items[i].dtype;
		if (!shape_is_known(s))
			*s = items[i].shape;
		return;
	}
}

/* The caller owns it. */
static int make_zeros(struct op_call *c, enum dtype t, const struct shape *s,
		      struct tensor *out, struct err *e)
{
	uint64_t n, nbytes;
	void *data;
	int rc;

	if (!shape_is_known(s))
		return op_invalid(c, e, "an element that was never set");
	if (!shape_nelems(s, &n) || !dtype_nbytes(t, n, &nbytes))
		return op_invalid(c, e, "elements that are too large");
	rc = c->env->alloc(c->env, nbytes, &out->data, &data, e);
	if (rc < 0)
		return rc;
	memset(data, 0, nbytes);
	out->dtype = t;
	out->shape = *s;
	return 0;
}

/* ---- reading lists ---- */

/* An element must be what the node says of all of them. */
static int check_element(const struct op_call *c, const struct tensor *t,
			 const struct shape *given, struct err *e)
{
	enum dtype type = element_type(c);
	bool fits = given->rank < 0 || given->rank == t->shape.rank;

	for (int32_t i = 0; fits && i < given->rank; i++)
		fits = given->dims[i] == DIM_UNKNOWN ||
		       given->dims[i] == t->shape.dims[i];
	if (!fits || (type != DTYPE_NONE && type != t->dtype))
		return op_invalid(c, e, "an element of type %s, rank %d",
				  dtype_name(t->dtype), (int)t->shape.rank);
	return 0;
}

/* An element, or zeros in its place; the caller owns it. */
static int take(struct op_call *c, const struct list *l, int64_t at,
		const struct shape *given, struct tensor *out, struct err *e)
{
	enum dtype type = element_type(c);
	struct shape s = *given;

	if (at < 0 || (uint64_t)at >= l->n)
		return op_invalid(c, e, "element %lld of %zu", (long long)at,
				  l->n);
	if (!is_missing(&l->items[at])) {
		*out = tensor_ref(&l->items[at]);
		return check_element(c, &l->items[at], given, e);
	}
	like_others(l->items, l->n, &s, &type);
	return make_zeros(c, type, &s, out, e);
}

static int view_list(struct op_call *c, struct list *l, struct err *e)
{
	const struct tensor *items;
	int rc = sequence_items(c, list_input(c), &items, &l->n, e);

	l->items = (struct tensor *)items;
	return rc;
}

/* (handle, index, element_shape), or (handle, index, flow) */
static int eval_get(struct op_call *c, struct err *e)
{
	struct tensor t = {0};
	struct shape s;
	struct list l;
	int64_t at;
	int rc = view_list(c, &l, e);

	if (rc == 0)
		rc = op_scalar_int(c, 1, 0, &at, e);
	if (rc == 0)
		rc = given_shape(c, 2, &s, e);
	if (rc == 0)
		rc = take(c, &l, at, &s, &t, e);
	if (rc == 0)
		rc = op_give(c, 0, &t, e);
	tensor_drop(&t);
	return rc;
}

/* Elements with these numbers (NULL: all), along a new first axis. */
static int stack(struct op_call *c, const struct list *l,
		 const int64_t *numbers, size_t n, const struct shape *given,
		 struct err *e)
{
	struct tensor *parts = calloc(n + 1, sizeof(*parts));
	struct sequence_join j = {.items = parts, .n = n, .new_axis = true};
	struct shape s = *given;
	size_t i;
	int rc = parts ? 0 : err_nomem(e, n * sizeof(*parts));

	if (rc == 0 && n == 0) {
		void *out;

		if (s.rank < 0 || s.rank == SHAPE_RANK_MAX)
			s = shape_of(0, NULL);
		memmove(s.dims + 1, s.dims, (size_t)s.rank * sizeof(*s.dims));
		s.rank++;
		s.dims[0] = 0;
		for (int32_t d = 1; d < s.rank; d++)
			s.dims[d] = s.dims[d] < 0 ? 0 : s.dims[d];
		rc = op_alloc(c, 0, element_type(c), &s, &out, e);
	}
	for (i = 0; i < n && rc == 0; i++)
		rc = take(c, l, numbers ? numbers[i] : (int64_t)i, given,
			  &parts[i], e);
	if (rc == 0 && n > 0)
		rc = sequence_join(c, &j, e);
	for (i = 0; parts && i < n; i++)
		tensor_drop(&parts[i]);
	free(parts);
	return rc;
}

/* TensorListStack(handle, element_shape) */
static int eval_stack(struct op_call *c, struct err *e)
{
	int64_t count = op_attr_int(c, "num_elements", -1);
	struct shape s;
	struct list l;
	int rc = view_list(c, &l, e);

	if (rc == 0)
		rc = given_shape(c, 1, &s, e);
	if (rc == 0 && count >= 0 && (uint64_t)count != l.n)
		return op_invalid(c, e, "%zu elements", l.n);
	return rc < 0 ? rc : stack(c, &l, NULL, l.n, &s, e);
}

/* (handle, indices, element_shape), or (handle, indices, flow) */
static int eval_gather(struct op_call *c, struct err *e)
{
	const int64_t *numbers;
	struct shape s;
	struct list l;
	int rc = view_list(c, &l, e);

	if (rc == 0)
		rc = op_in_i64(c, 1, &numbers, e);
	if (rc == 0)
		rc = given_shape(c, 2, &s, e);
	return rc < 0 ? rc
		      : stack(c, &l, numbers, (size_t)op_nelems(c, 1), &s, e);
}

/* The list without its last element, and that one. */
static int eval_pop(struct op_call *c, struct err *e)
{
	struct tensor t = {0};
	struct shape s;
	struct list l;
	int rc = view_list(c, &l, e);

	if (rc == 0)
		rc = given_shape(c, 1, &s, e);
	if (rc == 0)
		rc = take(c, &l, (int64_t)l.n - 1, &s, &t, e);
	if (rc == 0)
		rc = sequence_give(c, 0, DTYPE_SEQUENCE, l.items, l.n - 1, e);
	if (rc == 0)
		rc = op_give(c, 1, &t, e);
	tensor_drop(&t);
	return rc;
}

static int eval_length(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(0, NULL);
	struct list l;
	void *out;
	int rc = view_list(c, &l, e);

	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_I32, &s, &out, e);
	if (rc == 0)
		*(int32_t *)out = (int32_t)l.n;
	return rc;
}

static int give_lengths(struct op_call *c, const struct list *l, struct err *e)
{
	struct shape s = shape_of(1, &(int64_t){(int64_t)l->n});
	void *out;
	int rc = op_alloc(c, 1, DTYPE_I64, &s, &out, e);

	for (size_t i = 0; rc == 0 && i < l->n; i++)
		((int64_t *)out)[i] = l->items[i].shape.dims[0];
	return rc;
}

/* Behind each other; all must be there. */
static int eval_concat(struct op_call *c, struct err *e)
{
	struct shape any = shape_unknown();
	struct list l;
	struct sequence_join j = {0};
	int rc = view_list(c, &l, e);

	if (rc == 0 && l.n == 0)
		return op_invalid(c, e, "an empty list");
	for (size_t i = 0; rc == 0 && i < l.n; i++)
		if (is_missing(&l.items[i]) || l.items[i].shape.rank < 1)
			return op_invalid(c, e, "element %zu cannot be joined",
					  i);
	for (size_t i = 0; rc == 0 && i < l.n; i++)
		rc = check_element(c, &l.items[i], &any, e);
	j.items = l.items;
	j.n = l.n;
	if (rc == 0)
		rc = sequence_join(c, &j, e);
	return rc < 0 || c->nout < 2 ? rc : give_lengths(c, &l, e);
}

/* ---- what can be told ahead ---- */

static int infer_get(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = given_shape(c, 2, &s, e);

	if (rc == 0)
		op_out(c, 0, element_type(c), &s);
	return rc;
}

static int out_rows(struct op_call *c, int64_t n, const struct shape *given)
{
	struct shape s = *given;

	if (s.rank < 0 || s.rank == SHAPE_RANK_MAX) {
		s = shape_unknown();
	} else {
		memmove(s.dims + 1, s.dims, (size_t)s.rank * sizeof(*s.dims));
		s.dims[0] = n;
		s.rank++;
	}
	op_out(c, 0, element_type(c), &s);
	return 0;
}

static int infer_stack(struct op_call *c, struct err *e)
{
	int64_t n = op_attr_int(c, "num_elements", -1);
	struct shape s;
	int rc = given_shape(c, 1, &s, e);

	return rc < 0 ? rc : out_rows(c, n < 0 ? DIM_UNKNOWN : n, &s);
}

static int infer_gather(struct op_call *c, struct err *e)
{
	const struct shape *numbers = op_shape(c, 1);
	struct shape s;
	int rc = given_shape(c, 2, &s, e);

	return rc < 0 ? rc
		      : out_rows(c,
				 numbers->rank == 1 ? numbers->dims[0]
						    : DIM_UNKNOWN,
				 &s);
}

static int infer_pop(struct op_call *c, struct err *e)
{
	struct shape list = shape_of(1, &(int64_t){DIM_UNKNOWN}), s;
	int rc = given_shape(c, 1, &s, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, DTYPE_SEQUENCE, &list);
	op_out(c, 1, element_type(c), &s);
	return 0;
}

static int infer_length(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(0, NULL);

	(void)e;
	op_out(c, 0, DTYPE_I32, &s);
	return 0;
}

static int infer_concat(struct op_call *c, struct err *e)
{
	struct shape s = shape_unknown();
	struct shape lengths = shape_of(1, &(int64_t){DIM_UNKNOWN});

	(void)e;
	op_out(c, 0, element_type(c), &s);
	op_out(c, 1, DTYPE_I64, &lengths);
	return 0;
}

#define OP(type, nin, nout, arg, infer, eval)                       \
	{                                                           \
		TF, type, 1, nin, nin, 1, nout, 0, arg, infer, eval \
	}

const struct op ops_tf_list_read[] = {
	OP("TensorListConcat", 1, 2, 0, infer_concat, eval_concat),
	OP("TensorListConcatV2", 3, 2, 0, infer_concat, eval_concat),
	OP("TensorListGather", 3, 1, 0, infer_gather, eval_gather),
	OP("TensorListGetItem", 3, 1, 0, infer_get, eval_get),
	OP("TensorListLength", 1, 1, 0, infer_length, eval_length),
	OP("TensorListPopBack", 2, 2, 0, infer_pop, eval_pop),
	OP("TensorListStack", 2, 1, 0, infer_stack, eval_stack),
	OP("TensorArrayConcatV3", 2, 2, ARRAY | 1, infer_concat, eval_concat),
	OP("TensorArrayGatherV3", 3, 1, ARRAY | 2, infer_gather, eval_gather),
	OP("TensorArrayReadV3", 3, 1, ARRAY | 2, infer_get, eval_get),
	OP("TensorArraySizeV3", 2, 1, ARRAY | 1, infer_length, eval_length),
	{0},
};
