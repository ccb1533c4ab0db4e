/* SPDX-License-Identifier: MIT */
#include "op/delegate.h"

#include "kernel/copy.h"
#include "op/impl.h"

int op_delegate(struct op_call *c, const char *domain, const char *type,
		const struct tensor *in, size_t nin, struct tensor *out,
		size_t nout, struct err *e)
{
	int opset = *domain ? 1 : c->node->opset;
	struct op_call inner = {
		.node = c->node,
		.op = op_find(domain, type, opset > 7 || *domain ? opset : 13),
		.env = c->env,
		.nin = nin,
		.nout = nout,
		.in = in,
		.out = out,
	};

	if (!inner.op)
		return op_unsupported(c, e, type);
	return op_eval(&inner, e);
}

int op_permuted(struct op_call *c, const struct tensor *t, const int32_t *order,
		struct tensor *out, struct err *e)
{
	struct copy_plan p = {.rank = (size_t)t->shape.rank,
			      .size = dtype_size(t->dtype)};
	int64_t strides[SHAPE_RANK_MAX];
	struct tensor made = {.dtype = t->dtype, .shape = t->shape};
	ptrdiff_t step = 1;
	void *data;
	int rc;

	if (p.size == 0)
		return op_unsupported(c, e, "elements of this type");
	shape_strides(&t->shape, strides);
	for (int32_t i = t->shape.rank; i-- > 0;) {
		made.shape.dims[i] = t->shape.dims[order[i]];
		p.dims[i] = (size_t)made.shape.dims[i];
		p.from[i] = (ptrdiff_t)strides[order[i]];
		p.to[i] = step;
		step *= (ptrdiff_t)made.shape.dims[i];
	}
	rc = c->env->alloc(c->env, t->data->size, &made.data, &data, e);
	if (rc < 0)
		return rc;
	copy_strided(&c->env->kernel, &p, blob_bytes(t->data), data);
	*out = made;
	return 0;
}

int op_channels_first(struct op_call *c, const struct tensor *t,
		      struct tensor *out, struct err *e)
{
	int32_t order[SHAPE_RANK_MAX] = {0}, rank = t->shape.rank;

	if (rank < 2)
		return op_invalid(c, e, "no channels");
	order[1] = rank - 1;
	for (int32_t i = 2; i < rank; i++)
		order[i] = i - 1;
	return op_permuted(c, t, order, out, e);
}

int op_channels_last(struct op_call *c, const struct tensor *t,
		     struct tensor *out, struct err *e)
{
	int32_t order[SHAPE_RANK_MAX] = {0}, rank = t->shape.rank;

	if (rank < 2)
		return op_invalid(c, e, "no channels");
	for (int32_t i = 1; i + 1 < rank; i++)
		order[i] = i + 1;
	order[rank - 1] = 1;
	return op_permuted(c, t, order, out, e);
}

int op_dequantised(struct op_call *c, size_t i, size_t scale, size_t zero,
		   struct tensor *out, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	uint64_t n = op_nelems(c, i), nscale = op_nelems(c, scale);
	uint64_t nzero = op_has(c, zero) ? op_nelems(c, zero) : 1;
	uint64_t cols = s->rank > 0 ? (uint64_t)s->dims[s->rank - 1] : 1;
	struct tensor made = {.dtype = DTYPE_F32, .shape = *s};
	const float *x, *by, *from = NULL;
	void *data;
	int rc = op_in_f32(c, i, &x, e);

	if (rc == 0)
		rc = op_in_f32(c, scale, &by, e);
	if (rc == 0 && op_has(c, zero))
		rc = op_in_f32(c, zero, &from, e);
	if (rc < 0)
		return rc;
	if (!x || !by || (nscale != 1 && nscale != cols) ||
	    (nzero != 1 && nzero != cols))
		return op_invalid(c, e, "scales of input %zu do not fit", i);
	rc = c->env->alloc(c->env, n * sizeof(float), &made.data, &data, e);
	if (rc < 0)
		return rc;
	for (uint64_t k = 0; k < n; k++)
		((float *)data)[k] =
			(x[k] - (from ? from[nzero == 1 ? 0 : k % cols] : 0)) *
			by[nscale == 1 ? 0 : k % cols];
	*out = made;
	return 0;
}
