/* SPDX-License-Identifier: MIT */
/*
 * tf_list - making and changing TensorFlow's lists of tensors (op/tf_list.h).
 */
#include <stdlib.h>

#include "op/impl.h"
#include "op/sequence.h"
#include "op/tf_list.h"

/* Elements of one list. */
#define LIST_MAX ((int64_t)1 << 24)

/* ---- lists ---- */

/* A copy of a list, to be changed, of at least n elements. */
static int copy_list(struct op_call *c, size_t i, size_t n,
		     const struct tensor *missing, struct list *out,
		     struct err *e)
{
	const struct tensor *items;
	size_t have;
	int rc = sequence_items(c, i, &items, &have, e);

	if (rc < 0)
		return rc;
	out->n = have > n ? have : n;
	out->items = calloc(out->n + 1, sizeof(*out->items));
	if (!out->items)
		return err_nomem(e, out->n * sizeof(*out->items));
	for (size_t k = 0; k < out->n; k++)
		out->items[k] = k < have ? items[k] : *missing;
	return 0;
}

/* An element that is not there; the caller owns it. */
static int make_missing(struct tensor *out, struct err *e)
{
	*out = (struct tensor){.dtype = DTYPE_OPTIONAL};
	out->shape = shape_of(1, (const int64_t[]){0});
	out->data = blob_items(NULL, 0);
	return out->data ? 0 : err_nomem(e, 0);
}

/* A list of n elements of which none is set. */
static int give_empty(struct op_call *c, size_t out, int64_t n, struct err *e)
{
	struct tensor missing;
	struct list l = {0};
	int rc;

	if (n < 0 || n > LIST_MAX)
		return op_invalid(c, e, "a list of %lld", (long long)n);
	rc = make_missing(&missing, e);
	if (rc < 0)
		return rc;
	l.n = (size_t)n;
	l.items = calloc(l.n + 1, sizeof(*l.items));
	for (size_t i = 0; l.items && i < l.n; i++)
		l.items[i] = missing;
	rc = l.items ? sequence_give(c, out, DTYPE_SEQUENCE, l.items, l.n, e)
		     : err_nomem(e, l.n * sizeof(*l.items));
	free(l.items);
	tensor_drop(&missing);
	return rc;
}

static int infer_list(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(1, &(int64_t){DIM_UNKNOWN});

	(void)e;
	for (size_t i = 0; i < c->nout; i++)
		op_out(c, i, DTYPE_SEQUENCE, &s);
	return 0;
}

/* ---- making lists ---- */

/* TensorListReserve(element_shape, n), TensorArrayV3(n) → handle, flow. */
static int eval_reserve(struct op_call *c, struct err *e)
{
	int64_t n;
	int rc = op_scalar_int(c, is_array(c) ? 0 : 1, 0, &n, e);

	for (size_t i = 0; i < c->nout && rc == 0; i++)
		rc = give_empty(c, i, n, e);
	return rc;
}

static int eval_empty(struct op_call *c, struct err *e)
{
	return give_empty(c, 0, 0, e);
}

/* Row k of input i, without its first axis; the caller owns it. */
static int take_row(struct op_call *c, size_t i, int64_t k, struct tensor *out,
		    struct err *e)
{
	int rc = sequence_cut(c, i, 0, k, 1, out, e);

	if (rc < 0)
		return rc;
	out->shape.rank--;
	memmove(out->shape.dims, out->shape.dims + 1,
		(size_t)out->shape.rank * sizeof(*out->shape.dims));
	return 0;
}

static int need_rows(struct op_call *c, size_t i, int64_t *n, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	int rc = op_need_rank(c, i, 1, SHAPE_RANK_MAX, e);

	if (rc == 0 && s->dims[0] > LIST_MAX)
		return op_invalid(c, e, "a list of %lld",
				  (long long)s->dims[0]);
	*n = rc == 0 ? s->dims[0] : 0;
	return rc;
}

static int eval_from_tensor(struct op_call *c, struct err *e)
{
	struct tensor *rows;
	int64_t n, i;
	int rc = need_rows(c, 0, &n, e);

	if (rc < 0)
		return rc;
	rows = calloc((size_t)n + 1, sizeof(*rows));
	if (!rows)
		return err_nomem(e, (size_t)n * sizeof(*rows));
	for (i = 0; i < n && rc == 0; i++)
		rc = take_row(c, 0, i, &rows[i], e);
	if (rc == 0)
		rc = sequence_give(c, 0, DTYPE_SEQUENCE, rows, (size_t)n, e);
	for (i = 0; i < n; i++)
		tensor_drop(&rows[i]);
	free(rows);
	return rc;
}

/* ---- changing lists ---- */

/* A new list with the rows of input `value` at these places. */
static int scatter(struct op_call *c, size_t list, size_t value, size_t at,
		   struct err *e)
{
	struct tensor missing, *rows = NULL;
	struct list l = {0};
	const int64_t *places = NULL;
	int64_t n, end = 0, i;
	int rc = need_rows(c, value, &n, e);

	if (rc == 0)
		rc = op_in_i64(c, at, &places, e);
	if (rc == 0 && op_nelems(c, at) != (uint64_t)n)
		return op_invalid(c, e, "places and tensors differ in number");
	for (i = 0; i < n && rc == 0; i++) {
		if (places[i] < 0 || places[i] >= LIST_MAX)
			return op_invalid(c, e, "place %lld",
					  (long long)places[i]);
		end = places[i] >= end ? places[i] + 1 : end;
	}
	if (rc == 0)
		rc = make_missing(&missing, e);
	if (rc < 0)
		return rc;
	rows = calloc((size_t)n + 1, sizeof(*rows));
	rc = rows ? copy_list(c, list, (size_t)end, &missing, &l, e)
		  : err_nomem(e, (size_t)n * sizeof(*rows));
	for (i = 0; i < n && rc == 0; i++) {
		rc = take_row(c, value, i, &rows[i], e);
		l.items[places[i]] = rows[i];
	}
	if (rc == 0)
		rc = sequence_give(c, 0, DTYPE_SEQUENCE, l.items, l.n, e);
	for (i = 0; rows && i < n; i++)
		tensor_drop(&rows[i]);
	free(rows);
	free(l.items);
	tensor_drop(&missing);
	return rc;
}

/* (handle, indices, value, flow), or (handle, tensor, indices). */
static int eval_scatter_into(struct op_call *c, struct err *e)
{
	return is_array(c) ? scatter(c, 3, 2, 1, e) : scatter(c, 0, 1, 2, e);
}

/* TensorListScatterV2(tensor, indices, element_shape, num_elements) */
static int eval_scatter_new(struct op_call *c, struct err *e)
{
	struct op_call full = *c;
	struct tensor *out = calloc(c->nout + 1, sizeof(*out)), *in;
	int64_t n = 0;
	int rc = op_scalar_int(c, 3, 0, &n, e);

	in = calloc(c->nin + 2, sizeof(*in));
	if (!in || !out)
		rc = err_nomem(e, c->nin * sizeof(*in));
	/* The same as filling one that was reserved. */
	full.out = out;
	if (rc == 0)
		rc = give_empty(&full, 0, n > 0 ? n : 0, e);
	if (rc == 0) {
		memcpy(in, c->in, c->nin * sizeof(*in));
		in[c->nin] = out[0];
		full = *c;
		full.in = in;
		full.nin = c->nin + 1;
		rc = scatter(&full, c->nin, 0, 1, e);
		c->scratch = full.scratch;
	}
	if (out)
		tensor_drop(&out[0]);
	free(in);
	free(out);
	return rc;
}

/* (handle, index, item), or (handle, index, value, flow) */
static int eval_set(struct op_call *c, struct err *e)
{
	struct tensor missing;
	struct list l = {0};
	int64_t at;
	int rc = op_scalar_int(c, 1, 0, &at, e);

	if (rc < 0)
		return rc;
	if (at < 0 || at >= LIST_MAX)
		return op_invalid(c, e, "place %lld", (long long)at);
	rc = make_missing(&missing, e);
	if (rc < 0)
		return rc;
	rc = copy_list(c, list_input(c), (size_t)at + 1, &missing, &l, e);
	if (rc == 0) {
		l.items[at] = c->in[2];
		rc = sequence_give(c, 0, DTYPE_SEQUENCE, l.items, l.n, e);
	}
	free(l.items);
	tensor_drop(&missing);
	return rc;
}

static int eval_push(struct op_call *c, struct err *e)
{
	const struct tensor nothing = {0};
	struct list l = {0};
	const struct tensor *items;
	size_t n;
	int rc = sequence_items(c, 0, &items, &n, e);

	if (rc == 0)
		rc = copy_list(c, 0, n + 1, &nothing, &l, e);
	if (rc == 0) {
		l.items[n] = c->in[1];
		rc = sequence_give(c, 0, DTYPE_SEQUENCE, l.items, l.n, e);
	}
	free(l.items);
	return rc;
}

static int eval_resize(struct op_call *c, struct err *e)
{
	struct tensor missing;
	struct list l = {0};
	int64_t n;
	int rc = op_scalar_int(c, 1, 0, &n, e);

	if (rc == 0 && (n < 0 || n > LIST_MAX))
		return op_invalid(c, e, "a list of %lld", (long long)n);
	if (rc == 0)
		rc = make_missing(&missing, e);
	if (rc < 0)
		return rc;
	rc = copy_list(c, 0, (size_t)n, &missing, &l, e);
	if (rc == 0)
		rc = sequence_give(c, 0, DTYPE_SEQUENCE, l.items, (size_t)n, e);
	free(l.items);
	tensor_drop(&missing);
	return rc;
}

/* (tensor, element_shape, lengths), or (handle, value, lengths, flow) */
static int eval_split(struct op_call *c, struct err *e)
{
	size_t value = is_array(c) ? 1 : 0, n = (size_t)op_nelems(c, 2), i;
	const int64_t *lengths;
	struct tensor *parts;
	int64_t rows, at = 0;
	int rc = need_rows(c, value, &rows, e);

	if (rc == 0)
		rc = op_in_i64(c, 2, &lengths, e);
	if (rc < 0)
		return rc;
	parts = calloc(n + 1, sizeof(*parts));
	if (!parts)
		return err_nomem(e, n * sizeof(*parts));
	for (i = 0; i < n && rc == 0; i++) {
		if (lengths[i] < 0 || lengths[i] > rows - at)
			rc = op_invalid(c, e, "a part of %lld",
					(long long)lengths[i]);
		else
			rc = sequence_cut(c, value, 0, at, lengths[i],
					  &parts[i], e);
		at += rc == 0 ? lengths[i] : 0;
	}
	if (rc == 0)
		rc = sequence_give(c, 0, DTYPE_SEQUENCE, parts, n, e);
	for (i = 0; i < n; i++)
		tensor_drop(&parts[i]);
	free(parts);
	return rc;
}

#define OP(type, nin, nout, arg, infer, eval)                       \
	{                                                           \
		TF, type, 1, nin, nin, 1, nout, 0, arg, infer, eval \
	}

const struct op ops_tf_list[] = {
	OP("EmptyTensorList", 2, 1, 0, infer_list, eval_empty),
	OP("TensorListFromTensor", 2, 1, 0, infer_list, eval_from_tensor),
	OP("TensorListPushBack", 2, 1, 0, infer_list, eval_push),
	OP("TensorListReserve", 2, 1, 0, infer_list, eval_reserve),
	OP("TensorListResize", 2, 1, 0, infer_list, eval_resize),
	OP("TensorListScatterIntoExistingList", 3, 1, 0, infer_list,
	   eval_scatter_into),
	OP("TensorListScatterV2", 4, 1, 0, infer_list, eval_scatter_new),
	OP("TensorListSetItem", 3, 1, 0, infer_list, eval_set),
	OP("TensorListSplit", 3, 1, 0, infer_list, eval_split),
	OP("TensorArrayScatterV3", 4, 1, ARRAY | 3, infer_list,
	   eval_scatter_into),
	OP("TensorArraySplitV3", 4, 1, ARRAY | 3, infer_list, eval_split),
	OP("TensorArrayV3", 1, 2, ARRAY, infer_list, eval_reserve),
	OP("TensorArrayWriteV3", 4, 1, ARRAY | 3, infer_list, eval_set),
	{0},
};
