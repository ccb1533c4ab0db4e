/* SPDX-License-Identifier: MIT */
/* ml_more - OneHotEncoder, FeatureVectorizer, SVMRegressor. */
#include <math.h>

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

/* ---- SVMRegressor ---- */
enum svm_kernel { SVM_LINEAR, SVM_POLY, SVM_RBF, SVM_SIGMOID };

struct svm {
	enum svm_kernel kernel;
	double gamma, coef0, degree;
	const double *coef, *vectors;
	size_t n; /* support vectors; 0: coef are weights */
	uint64_t features;
};

static double svm_kernel(const struct svm *s, const double *x, const double *v)
{
	double dot = 0, square = 0;

	for (uint64_t i = 0; i < s->features; i++) {
		dot += x[i] * v[i];
		square += (x[i] - v[i]) * (x[i] - v[i]);
	}
	switch (s->kernel) {
	case SVM_POLY:
		return pow(s->gamma * dot + s->coef0, s->degree);
	case SVM_RBF:
		return exp(-s->gamma * square);
	case SVM_SIGMOID:
		return tanh(s->gamma * dot + s->coef0);
	default:
		return dot;
	}
}

static int svm_read(struct op_call *c, struct svm *s, struct err *e)
{
	static const char *const names[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
	const char *name = op_attr_str(c, "kernel_type", "LINEAR");
	int64_t n = op_attr_int(c, "n_supports", 0);
	const double *params;
	size_t nparams, ncoef, nvectors, k = 0;
	int rc = ml_doubles(c, "kernel_params", &params, &nparams, e);

	while (k < 4 && strcmp(name, names[k]) != 0)
		k++;
	if (k == 4)
		return op_invalid(c, e, "kernel_type");
	s->kernel = (enum svm_kernel)k;
	if (rc == 0)
		rc = ml_doubles(c, "coefficients", &s->coef, &ncoef, e);
	if (rc == 0)
		rc = ml_doubles(c, "support_vectors", &s->vectors, &nvectors,
				e);
	if (rc < 0)
		return rc;
	s->gamma = nparams > 0 ? params[0] : 0;
	s->coef0 = nparams > 1 ? params[1] : 0;
	s->degree = nparams > 2 ? params[2] : 0;
	s->n = n > 0 ? (size_t)n : 0;
	if (s->n > 0 ? ncoef != s->n || nvectors / s->n != s->features ||
			       nvectors % s->n != 0
		     : ncoef != s->features)
		return op_invalid(c, e, "%zu coefficients", ncoef);
	return 0;
}

static int infer_svm(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct shape s = shape_of(2, (int64_t[]){DIM_UNKNOWN, 1});
	int rc = op_need_rank(c, 0, 1, 2, e);

	if (x->rank > 0)
		s.dims[0] = x->rank == 2 ? x->dims[0] : 1;
	op_out(c, 0, DTYPE_F32, &s);
	return rc;
}

static int eval_svm(struct op_call *c, struct err *e)
{
	bool one_class = op_attr_int(c, "one_class", 0) != 0;
	const double *x, *rho;
	struct svm s = {0};
	enum ml_post post;
	struct shape shape;
	uint64_t rows;
	size_t nrho;
	void *out;
	int rc = ml_rows(c, &rows, &s.features, &x, e);

	if (rc == 0)
		rc = svm_read(c, &s, e);
	if (rc == 0)
		rc = ml_doubles(c, "rho", &rho, &nrho, e);
	if (rc == 0)
		rc = ml_post_read(c, &post, e);
	if (rc < 0)
		return rc;
	shape = shape_of(2, (int64_t[]){(int64_t)rows, 1});
	rc = op_alloc_as(c, 0, DTYPE_F32, DTYPE_F64, &shape, &out, e);
	for (uint64_t r = 0; rc == 0 && r < rows; r++) {
		double *o = (double *)out + r;
		const double *row = x + r * s.features;

		*o = nrho > 0 ? rho[0] : 0;
		for (size_t k = 0; k < s.n; k++)
			*o += s.coef[k] *
			      svm_kernel(&s, row, s.vectors + k * s.features);
		if (s.n == 0)
			*o += svm_kernel(&s, row, s.coef);
		if (one_class)
			*o = *o > 0 ? 1 : -1;
		ml_post_apply(post, o, 1);
		rc = op_check_stop(c, e);
	}
	return rc;
}

const struct op ops_ml_more[] = {
	{ML, "OneHotEncoder", 1, 1, 1, 1, 1, 0, 0, infer_one_hot, eval_one_hot},
	{ML, "FeatureVectorizer", 1, 1, OP_VARIADIC, 1, 1, 0, 0, infer_vector,
	 eval_vector},
	{ML, "SVMRegressor", 1, 1, 1, 1, 1, 0, 0, infer_svm, eval_svm},
	{0},
};
