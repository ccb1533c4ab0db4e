/* SPDX-License-Identifier: MIT */
/* ml - ai.onnx.ml: scalers and linear models. */
#include "op/ml.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel/copy.h"
#include "op/impl.h"

/* ---- shared ---- */
int ml_post_read(const struct op_call *c, enum ml_post *p, struct err *e)
{
	static const char *const names[] = {"NONE", "SOFTMAX", "LOGISTIC",
					    "SOFTMAX_ZERO", "PROBIT"};
	const char *name = op_attr_str(c, "post_transform", NULL);
	int64_t number = op_attr_int(c, "post_transform", 0);

	for (int i = 0; i < 5; i++) {
		if (name ? strcmp(name, names[i]) == 0 : number == i) {
			*p = (enum ml_post)i;
			return 0;
		}
	}
	return op_invalid(c, e, "post_transform");
}

static void softmax(double *v, size_t n, bool keep_zero)
{
	double max = -INFINITY, sum = 0;

	for (size_t i = 0; i < n; i++)
		max = fmax(max, v[i]);
	for (size_t i = 0; i < n; i++) {
		if (keep_zero && fabs(v[i]) < 1e-7)
			continue;
		v[i] = exp(v[i] - max);
		sum += v[i];
	}
	for (size_t i = 0; i < n && sum > 0; i++)
		v[i] /= sum;
}

/* Winitzki's approximation of the inverse error function, as ONNX has it. */
static double probit(double x)
{
	double y = 2 * x - 1, l = log((1 - y) * (1 + y));
	double t = 2 / (M_PI * 0.147) + 0.5 * l;
	double r = sqrt(-t + sqrt(t * t - l / 0.147));

	return sqrt(2) * (y < 0 ? -r : r);
}

void ml_post_apply(enum ml_post p, double *v, size_t n)
{
	if (p == ML_SOFTMAX || p == ML_SOFTMAX_ZERO)
		softmax(v, n, p == ML_SOFTMAX_ZERO);
	for (size_t i = 0; i < n; i++) {
		if (p == ML_LOGISTIC)
			v[i] = 1 / (1 + exp(-v[i]));
		else if (p == ML_PROBIT)
			v[i] = probit(v[i]);
	}
}

void ml_labels_read(const struct op_call *c, const char *ints,
		    const char *strings, struct ml_labels *l)
{
	size_t nstrings;

	op_attr_ints(c, ints, &l->ints, &l->n);
	op_attr_strings(c, strings, &l->strings, &nstrings);
	if (l->n == 0) {
		l->ints = NULL;
		l->n = nstrings;
	}
}

int ml_labels_give(struct op_call *c, const struct ml_labels *l,
		   const int64_t *class, uint64_t n, struct err *e)
{
	struct shape s = shape_of(1, &(int64_t){(int64_t)n});
	void *out;
	int rc = op_alloc_elems(c, 0, l->ints ? DTYPE_I64 : DTYPE_STRING, &s,
				&out, e);

	for (uint64_t i = 0; i < n && rc == 0; i++) {
		if (class[i] < 0 || (uint64_t) class[i] >= l->n)
			return op_invalid(c, e, "class %lld",
					  (long long)class[i]);
		if (l->ints)
			((int64_t *)out)[i] = l->ints[class[i]];
		else
			((struct span *)out)[i] = l->strings[class[i]];
	}
	return rc;
}

int ml_rows(struct op_call *c, uint64_t *rows, uint64_t *features,
	    const double **x, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	const void *p = NULL;
	int rc = op_need_rank(c, 0, 1, 2, e);

	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &p, e);
	*x = p;
	*rows = s->rank == 2 ? (uint64_t)s->dims[0] : 1;
	*features = s->rank > 0 ? (uint64_t)s->dims[s->rank - 1] : 0;
	return rc;
}

int ml_doubles(struct op_call *c, const char *name, const double **v, size_t *n,
	       struct err *e)
{
	char other[64];
	const struct tensor *t = op_attr_tensor(c, name);
	struct op_call one = *c;
	const float *f;
	void *p;
	int rc;

	snprintf(other, sizeof(other), "%s_as_tensor", name);
	t = t ? t : op_attr_tensor(c, other);
	*v = NULL;
	if (t) {
		struct tensor loaded;
		const void *data;

		rc = op_load(c, t, &loaded, e);
		if (rc < 0)
			return rc;
		one.scratch = c->scratch;
		one.in = &loaded;
		one.nin = 1;
		*n = op_nelems(&one, 0);
		rc = op_data_as(&one, 0, DTYPE_F64, &data, e);
		c->scratch = one.scratch;
		*v = data;
		return rc;
	}
	op_attr_floats(c, name, &f, n);
	rc = op_temp_array(c, *n, sizeof(double), &p, e);
	for (size_t i = 0; i < *n && rc == 0; i++)
		((double *)p)[i] = (double)f[i];
	*v = p;
	return rc;
}

static int infer_float(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, DTYPE_F32, op_shape(c, 0));
	return 0;
}

/* ---- ArrayFeatureExtractor ---- */
static int eval_extract(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	struct gather_plan p = {.n = op_nelems(c, 1)};
	const void *in;
	void *out;
	int rc = op_need_rank(c, 0, 1, SHAPE_RANK_MAX, e);

	if (rc < 0)
		return rc;
	p.dim = (size_t)s.dims[s.rank - 1];
	p.outer = shape_span(&s, 0, s.rank - 1);
	rc = op_indices(c, 1, (int64_t)p.dim, &p.idx, e);
	if (rc == 0)
		rc = op_elems(c, 0, &in, &p.block, e);
	if (rc < 0)
		return rc;
	s.dims[s.rank - 1] = (int64_t)p.n;
	if (s.rank == 1)
		s = shape_of(2, (int64_t[]){1, (int64_t)p.n});
	rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc == 0)
		copy_gather(&c->env->kernel, &p, in, out);
	return rc;
}

/* ---- one number in, one out ---- */
enum { EACH_BINARIZER, EACH_SCALER, EACH_IMPUTER };

struct each {
	int kind;
	const double *x, *a, *b; /* a, b: one number, or one a feature */
	size_t na, nb;
	uint64_t n; /* features */
	double limit, missing;
};

/* What replaces missing numbers, floats or integers. */
static int imputed(struct op_call *c, struct each *v, struct err *e)
{
	const int64_t *ints;
	size_t n;
	void *p;
	int rc = ml_doubles(c, "imputed_value_floats", &v->a, &v->na, e);

	if (rc < 0 || !op_attr_ints(c, "imputed_value_int64s", &ints, &n) ||
	    n == 0)
		return rc;
	rc = op_temp_array(c, n, sizeof(double), &p, e);
	for (size_t i = 0; i < n && rc == 0; i++)
		((double *)p)[i] = (double)ints[i];
	v->a = p;
	v->na = n;
	return rc;
}

static int each_read(struct op_call *c, struct each *v, struct err *e)
{
	bool ints = op_is_int(c->in[0].dtype);
	const void *p = NULL;
	uint64_t rows;
	int rc;

	v->kind = c->op->arg;
	v->limit = (double)op_attr_float(c, "threshold", 0);
	v->missing = ints ? (double)op_attr_int(c, "replaced_value_int64", 0)
			  : (double)op_attr_float(c, "replaced_value_float", 0);
	if (v->kind == EACH_BINARIZER) { /* of any rank */
		rc = op_data_as(c, 0, DTYPE_F64, &p, e);
		v->x = p;
		return rc;
	}
	rc = ml_rows(c, &rows, &v->n, &v->x, e);
	if (rc == 0 && v->kind == EACH_IMPUTER)
		rc = imputed(c, v, e);
	if (rc == 0 && v->kind == EACH_SCALER) {
		rc = ml_doubles(c, "offset", &v->a, &v->na, e);
		if (rc == 0)
			rc = ml_doubles(c, "scale", &v->b, &v->nb, e);
	}
	if (rc == 0 &&
	    ((v->na != 1 && v->na != v->n) ||
	     (v->kind == EACH_SCALER && v->nb != 1 && v->nb != v->n)))
		return op_invalid(c, e, "%zu values for %llu features", v->na,
				  (unsigned long long)v->n);
	return rc;
}

static double each_value(const struct each *v, uint64_t i)
{
	double x = v->x[i], a;

	if (v->kind == EACH_BINARIZER)
		return x > v->limit;
	a = v->a[v->na == 1 ? 0 : i % v->n];
	if (v->kind == EACH_SCALER)
		return (x - a) * v->b[v->nb == 1 ? 0 : i % v->n];
	return (isnan(v->missing) ? isnan(x) : x == v->missing) ? a : x;
}

static int eval_each(struct op_call *c, struct err *e)
{
	bool scaler = c->op->arg == EACH_SCALER;
	struct each v = {0};
	void *out;
	int rc = each_read(c, &v, e);

	if (rc == 0)
		rc = op_alloc_as(c, 0, scaler ? DTYPE_F32 : c->in[0].dtype,
				 DTYPE_F64, op_shape(c, 0), &out, e);
	for (uint64_t i = 0; rc == 0 && i < op_nelems(c, 0); i++)
		((double *)out)[i] = each_value(&v, i);
	return rc;
}

/* ---- Normalizer ---- */
static int eval_normalizer(struct op_call *c, struct err *e)
{
	const char *how = op_attr_str(c, "norm", "MAX");
	uint64_t rows, n;
	const double *x;
	double *o;
	void *out;
	int rc = ml_rows(c, &rows, &n, &x, e);

	if (rc == 0)
		rc = op_alloc_as(c, 0, DTYPE_F32, DTYPE_F64, op_shape(c, 0),
				 &out, e);
	if (rc < 0)
		return rc;
	o = out;
	for (uint64_t r = 0; r < rows; r++, x += n, o += n) {
		double norm = 0;

		for (uint64_t i = 0; i < n; i++)
			norm = strcmp(how, "MAX") == 0	? fmax(norm, fabs(x[i]))
			       : strcmp(how, "L1") == 0 ? norm + fabs(x[i])
							: norm + x[i] * x[i];
		if (strcmp(how, "L2") == 0)
			norm = sqrt(norm);
		for (uint64_t i = 0; i < n; i++)
			o[i] = norm != 0 ? x[i] / norm : x[i];
	}
	return 0;
}

/* ---- LinearRegressor, LinearClassifier ---- */
static int linear_scores(struct op_call *c, uint64_t *rows, size_t *classes,
			 double **out, struct err *e)
{
	const double *x, *w, *b;
	uint64_t features;
	size_t nw, nb;
	void *p;
	int rc = ml_rows(c, rows, &features, &x, e);

	if (rc == 0)
		rc = ml_doubles(c, "coefficients", &w, &nw, e);
	if (rc == 0)
		rc = ml_doubles(c, "intercepts", &b, &nb, e);
	if (rc < 0)
		return rc;
	*classes = features ? nw / features : 0;
	if (*classes == 0 || nw % features || (nb && nb != *classes))
		return op_invalid(c, e, "%zu coefficients", nw);
	/* Room for a second class. */
	rc = op_temp_array(c, *rows, (*classes + 1) * sizeof(double), &p, e);
	if (rc < 0)
		return rc;
	*out = p;
	for (uint64_t r = 0; r < *rows; r++) {
		for (size_t k = 0; k < *classes; k++) {
			double sum = nb ? b[k] : 0;

			for (uint64_t i = 0; i < features; i++)
				sum += w[k * features + i] *
				       x[r * features + i];
			(*out)[r * *classes + k] = sum;
		}
	}
	return 0;
}

static int give_scores(struct op_call *c, size_t output, const double *v,
		       uint64_t rows, size_t n, struct err *e)
{
	struct shape s = shape_of(2, (int64_t[]){(int64_t)rows, (int64_t)n});
	void *out;
	int rc = op_alloc_as(c, output, DTYPE_F32, DTYPE_F64, &s, &out, e);

	if (rc == 0 && rows * n > 0)
		memcpy(out, v, rows * n * sizeof(*v));
	return rc;
}

static int eval_linear_regressor(struct op_call *c, struct err *e)
{
	enum ml_post post;
	uint64_t rows;
	size_t n;
	double *v;
	int rc = ml_post_read(c, &post, e);

	if (rc == 0)
		rc = linear_scores(c, &rows, &n, &v, e);
	for (uint64_t r = 0; rc == 0 && r < rows; r++)
		ml_post_apply(post, v + r * n, n);
	return rc < 0 ? rc : give_scores(c, 0, v, rows, n, e);
}

static int eval_linear_classifier(struct op_call *c, struct err *e)
{
	struct ml_labels l;
	enum ml_post post;
	uint64_t rows;
	size_t n, width;
	double *v, *z;
	void *class, *p;
	int rc = ml_post_read(c, &post, e);

	ml_labels_read(c, "classlabels_ints", "classlabels_strings", &l);
	if (rc == 0)
		rc = linear_scores(c, &rows, &n, &v, e);
	if (rc == 0)
		rc = op_temp_array(c, rows, sizeof(int64_t), &class, e);
	width = rc == 0 && n == 1 && l.n == 2 ? 2 : rc == 0 ? n : 0;
	if (rc == 0)
		rc = op_temp_array(c, rows, width * sizeof(double), &p, e);
	if (rc < 0)
		return rc;
	z = p;
	for (uint64_t r = 0; r < rows; r++) {
		double *row = z + r * width;
		int64_t best = 0;

		memcpy(row, v + r * n, n * sizeof(*row));
		if (width > n) { /* one score for two classes */
			row[1] = row[0];
			row[0] = -row[1];
		}
		for (size_t k = 1; k < width; k++)
			best = row[k] > row[best] ? (int64_t)k : best;
		((int64_t *)class)[r] = best;
		ml_post_apply(post, row, width);
	}
	rc = ml_labels_give(c, &l, class, rows, e);
	return rc < 0 ? rc : give_scores(c, 1, z, rows, width, e);
}

#define ML_OP(type, since, in_max, outs, arg, infer, eval)               \
	{                                                                \
		ML, type, since, 1, in_max, 1, outs, 0, arg, infer, eval \
	}

const struct op ops_ml[] = {
	{ML, "ArrayFeatureExtractor", 1, 2, 2, 1, 1, 0, 0, NULL, eval_extract},
	ML_OP("Binarizer", 1, 1, 1, EACH_BINARIZER, infer_same, eval_each),
	ML_OP("Imputer", 1, 1, 1, EACH_IMPUTER, infer_same, eval_each),
	ML_OP("Scaler", 1, 1, 1, EACH_SCALER, infer_float, eval_each),
	ML_OP("Normalizer", 1, 1, 1, 0, infer_float, eval_normalizer),
	ML_OP("LinearRegressor", 1, 1, 1, 0, NULL, eval_linear_regressor),
	ML_OP("LinearClassifier", 1, 1, 2, 0, NULL, eval_linear_classifier),
	{0},
};
