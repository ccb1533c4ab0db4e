/* SPDX-License-Identifier: MIT */
/*
 * v1 - checkpoints of the first version: one table whose values are messages
 * (saved_tensor_slice.proto).  The empty key describes the tensors, the other
 * keys hold their slices.
 */
#include <errno.h>
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/tf/tf.h"
#include "wire/protobuf.h"
#include "wire/sstable.h"

#define SLICES_MAX 4096

struct variable {
	struct span name;
	int32_t type;
	struct shape shape;
	struct tf_slice *slices; /* owned until it is a tensor */
	size_t n, cap;
};

struct v1 {
	struct tf *t;
	struct variable *vars; /* owned */
	size_t nvars;
	struct map *index; /* name → variable */
	bool has_meta;
};

static int read_meta(struct v1 *v, const Tf__SavedTensorSliceMeta *meta,
		     struct err *e)
{
	char q[ERR_QUOTED];
	int rc = 0;

	if (!meta || v->has_meta)
		return err_set(e, EINVAL, "the checkpoint describes nothing");
	v->has_meta = true;
	v->vars = calloc(meta->n_tensor + 1, sizeof(*v->vars));
	if (!v->vars)
		return err_nomem(e, meta->n_tensor * sizeof(*v->vars));
	for (size_t i = 0; rc == 0 && i < meta->n_tensor; i++) {
		struct variable *x = &v->vars[v->nvars];

		x->type = meta->tensor[i]->type;
		rc = tf_shape(meta->tensor[i]->shape, &x->shape, e);
		if (rc == 0)
			rc = tf_copy(v->t, tf_span(&meta->tensor[i]->name),
				     &x->name, e);
		if (rc < 0)
			return rc;
		if (map_add(v->index, x->name.p, x->name.len, v->nvars) < 0)
			return err_set(e, EINVAL, "%s appears twice",
				       err_quote(q, x->name.p, x->name.len));
		v->nvars++;
		rc = tf_name_add(v->t, x->name, e);
	}
	return rc;
}

static int grow(struct variable *x, struct err *e)
{
	size_t cap = x->cap ? x->cap * 2 : 1;
	struct tf_slice *p;

	if (x->n < x->cap)
		return 0;
	if (x->n >= SLICES_MAX)
		return err_set(e, EFBIG, "more than %d slices", SLICES_MAX);
	p = realloc(x->slices, cap * sizeof(*p));
	if (!p)
		return err_nomem(e, cap * sizeof(*p));
	x->slices = p;
	x->cap = cap;
	return 0;
}

/* The slice's own tensor often has no shape: the slice says it. */
static int slice_data(const struct sstable_entry *x, const Tf__SavedSlice *s,
		      const struct variable *v, const struct tf_slice *slice,
		      struct blob **out, struct err *e)
{
	Tf__Tensor proto = *s->data;
	Tf__Dim dims[SHAPE_RANK_MAX], *list[SHAPE_RANK_MAX];
	Tf__Shape shape = TF__SHAPE__INIT;
	struct tensor t;
	int rc;

	for (int32_t i = 0; i < v->shape.rank; i++) {
		dims[i] = (Tf__Dim)TF__DIM__INIT;
		dims[i].size = slice->len[i];
		list[i] = &dims[i];
	}
	shape.n_dim = (size_t)v->shape.rank;
	shape.dim = list;
	proto.tensor_shape = &shape;
	proto.dtype = v->type;
	rc = tf_tensor(x->src, false, &proto, &t, e);
	if (rc == 0)
		*out = t.data;
	return rc;
}

static int read_slice(struct v1 *v, const struct sstable_entry *x,
		      const Tf__SavedSlice *s, struct err *e)
{
	struct variable *var;
	struct tf_slice slice = {0};
	char q[ERR_QUOTED];
	uint64_t idx;
	int rc;

	if (!s || !s->data || !s->slice ||
	    !map_get(v->index, tf_span(&s->name).p, s->name.len, &idx))
		return err_set(e, EINVAL, "a slice of no tensor");
	var = &v->vars[idx];
	rc = grow(var, e);
	if (rc == 0)
		rc = tf_slice_read(s->slice, &var->shape, &slice, e);
	if (rc == 0)
		rc = slice_data(x, s, var, &slice, &slice.data, e);
	if (rc < 0)
		return err_wrap(e, "%s",
				err_quote(q, var->name.p, var->name.len));
	var->slices[var->n++] = slice;
	return 0;
}

static int take_entry(void *ctx, const struct sstable_entry *x, struct err *e)
{
	struct v1 *v = ctx;
	ProtobufCMessage *msg = NULL;
	const Tf__SavedTensorSlices *s;
	int rc = protobuf_read(x->src, x->off, x->value_len,
			       &tf__saved_tensor_slices__descriptor, &msg, e);

	if (rc < 0)
		return rc;
	s = (const Tf__SavedTensorSlices *)msg;
	rc = x->key_len == 0 ? read_meta(v, s->meta, e)
			     : read_slice(v, x, s->data, e);
	protobuf_free(msg);
	return rc;
}

/* Takes the variable's slices. */
static int make_data(struct variable *x, struct tensor *t, struct err *e)
{
	struct tf_slice *slices = x->slices;
	size_t n = x->n, size = dtype_size(t->dtype);

	x->slices = NULL;
	x->n = 0;
	if (n == 1 && shape_equal(&t->shape, &x->shape)) {
		struct shape box = shape_of(x->shape.rank, slices[0].len);

		if (shape_equal(&box, &x->shape)) {
			t->data = slices[0].data;
			free(slices);
			return 0;
		}
	}
	if (size > 0 && n > 0)
		return tf_slices(slices, n, &x->shape, size, &t->data, e);
	while (n > 0)
		blob_unref(slices[--n].data);
	free(slices);
	t->data = blob_fail(0, EOPNOTSUPP, "stored in a way not supported");
	return t->data ? 0 : err_nomem(e, 0);
}

static int add_all(struct v1 *v, struct err *e)
{
	char q[ERR_QUOTED];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < v->nvars; i++) {
		struct variable *x = &v->vars[i];
		struct tensor t = {.dtype = tf_dtype(x->type),
				   .shape = x->shape};

		rc = make_data(x, &t, e);
		if (rc < 0)
			return err_wrap(e, "%s",
					err_quote(q, x->name.p, x->name.len));
		rc = tf_param(v->t, x->name, PARAM_PARAMETER, &t, x->type, e);
	}
	return rc;
}

int tf_checkpoint_v1(struct tf *t, struct source *src, struct err *e)
{
	struct v1 v = {.t = t, .index = map_new()};
	int rc = v.index ? 0 : err_nomem(e, 0);

	if (rc == 0)
		rc = sstable_each(src, take_entry, &v, e);
	if (rc == 0)
		rc = add_all(&v, e);
	for (size_t i = 0; i < v.nvars; i++) {
		for (size_t k = 0; k < v.vars[i].n; k++)
			blob_unref(v.vars[i].slices[k].data);
		free(v.vars[i].slices);
	}
	free(v.vars);
	map_free(v.index);
	return rc;
}
