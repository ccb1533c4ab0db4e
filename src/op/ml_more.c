/* SPDX-License-Identifier: MIT */
/* ml_more - OneHotEncoder, FeatureVectorizer. */
#include "op/impl.h"
#include "op/ml.h"

/* ---- OneHotEncoder ---- */
static int infer_one_hot(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	struct ml_labels l;

	ml_labels_read(c, "cats_int64s", "cats_strings", &l);
	if (s.rank >= SHAPE_RANK_MAX)
		return op_unsupported(c, e, "the rank");
	if (s.rank >= 0)
		s.dims[s.rank++] = (int64_t)l.n;
	op_out(c, 0, DTYPE_F32, &s);
	return 0;
}

static bool same(const struct span *a, const struct span *b)
{
	return a->len == b->len &&
	       (a->len == 0 || memcmp(a->p, b->p, a->len) == 0);
}

/* Which category element i is; n where it is none. */
static size_t category(const struct ml_labels *l, const struct span *words,
		       const int64_t *ints, uint64_t i)
{
	size_t k = 0;

	while (k < l->n && (words ? !same(&words[i], &l->strings[k])
				  : ints[i] != l->ints[k]))
		k++;
	return k;
}

static int eval_one_hot(struct op_call *c, struct err *e)
{
	bool zeros = op_attr_int(c, "zeros", 1) != 0;
	bool text = c->in[0].dtype == DTYPE_STRING;
	const void *words = NULL, *ints = NULL;
	struct ml_labels l;
	struct shape s;
	size_t size;
	void *out;
	int rc = infer_one_hot(c, e);

	ml_labels_read(c, "cats_int64s", "cats_strings", &l);
	if (rc == 0 && (text ? !l.strings : !l.ints) && l.n > 0)
		return op_bad_dtype(c, 0, e);
	if (rc == 0)
		rc = text ? op_elems(c, 0, &words, &size, e)
			  : op_data_as(c, 0, DTYPE_I64, &ints, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = op_alloc(c, 0, DTYPE_F32, &s, &out, e);
	for (uint64_t i = 0; rc == 0 && i < op_nelems(c, 0); i++) {
		size_t k = category(&l, words, ints, i);

		if (k < l.n)
			((float *)out)[i * l.n + k] = 1;
		else if (!zeros)
			return op_invalid(c, e, "an unknown category");
	}
	return rc;
}

/* ---- FeatureVectorizer: columns side by side ---- */
static int vector_width(struct op_call *c, struct shape *s, struct err *e)
{
	int64_t width = 0;

	*s = shape_of(2, (int64_t[]){DIM_UNKNOWN, DIM_UNKNOWN});
	for (size_t i = 0; i < c->nin; i++) {
		const struct shape *in = op_shape(c, i);
		int rc = op_need_rank(c, i, 1, 2, e);

		if (rc < 0)
			return rc;
		if (!op_has(c, i) || !shape_is_known(in))
			return 1;
		rc = op_add(c, width, in->dims[in->rank - 1], &width, e);
		if (rc < 0)
			return rc;
		if (s->dims[0] == DIM_UNKNOWN)
			s->dims[0] = in->rank == 2 ? in->dims[0] : 1;
		else if (s->dims[0] != (in->rank == 2 ? in->dims[0] : 1))
			return op_invalid(c, e, "inputs differ in rows");
	}
	s->dims[1] = width;
	return 0;
}

static int infer_vector(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = vector_width(c, &s, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, DTYPE_F32, &s);
	return 0;
}

static int eval_vector(struct op_call *c, struct err *e)
{
	struct shape s;
	size_t at = 0;
	void *out;
	int rc = vector_width(c, &s, e);

	if (rc > 0)
		return op_invalid(c, e, "an input is left out");
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_F32, &s, &out, e);
	for (size_t i = 0; i < c->nin && rc == 0; i++) {
		const struct shape *in = op_shape(c, i);
		size_t n = (size_t)in->dims[in->rank - 1];
		const float *x;

		rc = op_in_f32(c, i, &x, e);
		for (int64_t r = 0; r < s.dims[0] && rc == 0 && n > 0; r++)
			memcpy((float *)out + (size_t)(r * s.dims[1]) + at,
			       x + (size_t)r * n, n * sizeof(float));
		at += n;
	}
	return rc;
}

const struct op ops_ml_more[] = {
	{ML, "OneHotEncoder", 1, 1, 1, 1, 1, 0, 0, infer_one_hot, eval_one_hot},
	{ML, "FeatureVectorizer", 1, 1, OP_VARIADIC, 1, 1, 0, 0, infer_vector,
	 eval_vector},
	{0},
};
