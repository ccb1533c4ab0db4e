/* SPDX-License-Identifier: MIT */
/*
 * ml_svm - SVMRegressor and SVMClassifier; the latter votes between pairs of
 * classes, and turns votes into probabilities as libsvm does (Wu, Lin and Weng
 * 2004, the second method).
 */
#include <math.h>

#include "op/impl.h"
#include "op/ml.h"

/* ---- what both share ---- */
enum svm_kernel { SVM_LINEAR, SVM_POLY, SVM_RBF, SVM_SIGMOID };

struct svm {
	enum svm_kernel kernel;
	double gamma, coef0, degree;
	const double *coef, *vectors;
	size_t ncoef, nvectors; /* elements of these */
	size_t n;		/* support vectors; 0: coef are weights */
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

/* Kernel, coefficients and vectors; their counts are still to be checked. */
static int svm_read(struct op_call *c, struct svm *s, struct err *e)
{
	static const char *const names[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
	const char *name = op_attr_str(c, "kernel_type", "LINEAR");
	const double *params;
	size_t nparams, k = 0;
	int rc = ml_doubles(c, "kernel_params", &params, &nparams, e);

	while (k < 4 && strcmp(name, names[k]) != 0)
		k++;
	if (k == 4)
		return op_invalid(c, e, "kernel_type");
	s->kernel = (enum svm_kernel)k;
	if (rc == 0)
		rc = ml_doubles(c, "coefficients", &s->coef, &s->ncoef, e);
	if (rc == 0)
		rc = ml_doubles(c, "support_vectors", &s->vectors, &s->nvectors,
				e);
	if (rc < 0)
		return rc;
	s->gamma = nparams > 0 ? params[0] : 0;
	s->coef0 = nparams > 1 ? params[1] : 0;
	s->degree = nparams > 2 ? params[2] : 0;
	return 0;
}

/* ---- SVMRegressor ---- */
static int regressor_read(struct op_call *c, struct svm *s, struct err *e)
{
	int64_t n = op_attr_int(c, "n_supports", 0);
	int rc = svm_read(c, s, e);

	if (rc < 0)
		return rc;
	s->n = n > 0 ? (size_t)n : 0;
	if (s->n > 0 ? s->ncoef != s->n || s->nvectors / s->n != s->features ||
			       s->nvectors % s->n != 0
		     : s->ncoef != s->features)
		return op_invalid(c, e, "%zu coefficients", s->ncoef);
	return 0;
}

static int infer_regressor(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct shape s = shape_of(2, (int64_t[]){DIM_UNKNOWN, 1});
	int rc = op_need_rank(c, 0, 1, 2, e);

	if (x->rank > 0)
		s.dims[0] = x->rank == 2 ? x->dims[0] : 1;
	op_out(c, 0, DTYPE_F32, &s);
	return rc;
}

static int eval_regressor(struct op_call *c, struct err *e)
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
		rc = regressor_read(c, &s, e);
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

/* ---- SVMClassifier ---- */
struct classifier {
	struct svm svm;
	struct ml_labels labels;
	size_t classes, pairs;
	const double *rho, *prob_a, *prob_b;
	size_t nrho, nprob;
	const int64_t *per_class; /* support vectors; NULL: weights a class */
	bool all_positive;
	double *kernels, *pair, *votes, *room; /* scratch */
};

static int classifier_vectors(struct op_call *c, struct classifier *k,
			      struct err *e)
{
	struct svm *s = &k->svm;
	uint64_t sum = 0;
	size_t n = 0;

	if (!op_attr_ints(c, "vectors_per_class", &k->per_class, &n) ||
	    n == 0) {
		k->per_class = NULL;
		if (k->classes == 0 || s->ncoef != k->classes * s->features)
			return op_invalid(c, e, "%zu coefficients", s->ncoef);
		return k->nrho > 0 ? 0 : op_invalid(c, e, "no rho");
	}
	k->classes = n;
	k->pairs = n * (n - 1) / 2;
	for (size_t i = 0; i < n; i++) {
		if (k->per_class[i] < 0 || k->per_class[i] > INT32_MAX)
			return op_invalid(c, e, "vectors_per_class");
		sum += (uint64_t)k->per_class[i];
	}
	s->n = (size_t)sum;
	if (n > 4096 || sum == 0 || s->nvectors != sum * s->features ||
	    s->ncoef != sum * (n - 1) || k->nrho < k->pairs ||
	    (k->nprob > 0 && k->nprob < k->pairs))
		return op_invalid(c, e, "%llu support vectors",
				  (unsigned long long)sum);
	return 0;
}

static int classifier_scratch(struct op_call *c, struct classifier *k,
			      struct err *e)
{
	size_t n = k->classes, pairs = k->pairs > n ? k->pairs : n;
	void *p;
	int rc = op_temp_array(c, k->svm.n + pairs + n + 2 * n * n + 2 * n,
			       sizeof(double), &p, e);

	if (rc < 0)
		return rc;
	k->kernels = p;
	k->pair = k->kernels + k->svm.n;
	k->votes = k->pair + pairs;
	k->room = k->votes + n;
	return 0;
}

static int classifier_read(struct op_call *c, struct classifier *k,
			   struct err *e)
{
	size_t nb = 0;
	int rc = svm_read(c, &k->svm, e);

	ml_labels_read(c, "classlabels_ints", "classlabels_strings",
		       &k->labels);
	k->classes = k->labels.n;
	if (rc == 0)
		rc = ml_doubles(c, "rho", &k->rho, &k->nrho, e);
	if (rc == 0)
		rc = ml_doubles(c, "prob_a", &k->prob_a, &k->nprob, e);
	if (rc == 0)
		rc = ml_doubles(c, "prob_b", &k->prob_b, &nb, e);
	if (rc == 0 && nb != k->nprob)
		return op_invalid(c, e, "prob_a and prob_b differ");
	if (rc == 0)
		rc = classifier_vectors(c, k, e);
	if (rc == 0 && k->labels.n != k->classes)
		return op_invalid(c, e, "%zu labels of %zu classes",
				  k->labels.n, k->classes);
	k->all_positive = true;
	for (size_t i = 0; rc == 0 && i < k->svm.ncoef; i++)
		k->all_positive &= k->svm.coef[i] >= 0;
	return rc < 0 ? rc : classifier_scratch(c, k, e);
}

/* One against another for each pair; and how many each class wins. */
static void vote(struct classifier *k, const double *x)
{
	const struct svm *s = &k->svm;
	size_t at = 0, from_i = 0;

	for (size_t v = 0; v < s->n; v++)
		k->kernels[v] = svm_kernel(s, x, s->vectors + v * s->features);
	for (size_t i = 0; i < k->classes; i++)
		k->votes[i] = 0;
	for (size_t i = 0; i < k->classes; i++) {
		size_t ni = (size_t)k->per_class[i], from_j = from_i + ni;

		for (size_t j = i + 1; j < k->classes; j++, at++) {
			size_t nj = (size_t)k->per_class[j];
			double sum = k->rho[at];

			for (size_t v = from_i; v < from_i + ni; v++)
				sum += s->coef[(j - 1) * s->n + v] *
				       k->kernels[v];
			for (size_t v = from_j; v < from_j + nj; v++)
				sum += s->coef[i * s->n + v] * k->kernels[v];
			k->pair[at] = sum;
			k->votes[sum > 0 ? i : j]++;
			from_j += nj;
		}
		from_i += ni;
	}
}

/* Probabilities p of n classes from those of pairs, r[i][j]. */
static void couple(size_t n, const double *r, double *q, double *p, double *qp)
{
	double most = 0.005 / (double)n, pqp;

	for (size_t t = 0; t < n; t++) {
		p[t] = 1 / (double)n;
		q[t * n + t] = 0;
		for (size_t j = 0; j < n; j++) {
			if (j == t)
				continue;
			q[t * n + t] += r[j * n + t] * r[j * n + t];
			q[t * n + j] = -r[j * n + t] * r[t * n + j];
		}
	}
	for (size_t round = 0; round < (n > 100 ? n : 100); round++) {
		double error = 0;

		pqp = 0;
		for (size_t t = 0; t < n; t++) {
			qp[t] = 0;
			for (size_t j = 0; j < n; j++)
				qp[t] += q[t * n + j] * p[j];
			pqp += p[t] * qp[t];
		}
		for (size_t t = 0; t < n; t++)
			error = fmax(error, fabs(qp[t] - pqp));
		if (error < most)
			return;
		for (size_t t = 0; t < n; t++) {
			double diff = (pqp - qp[t]) / q[t * n + t];

			p[t] += diff;
			pqp = (pqp + diff * (diff * q[t * n + t] + 2 * qp[t])) /
			      ((1 + diff) * (1 + diff));
			for (size_t j = 0; j < n; j++) {
				qp[j] = (qp[j] + diff * q[t * n + j]) /
					(1 + diff);
				p[j] /= 1 + diff;
			}
		}
	}
}

static void probabilities(struct classifier *k, double *out)
{
	size_t n = k->classes, at = 0;
	double *r = k->room, *q = r + n * n, *qp = q + n * n;

	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++, at++) {
			double v = 1 / (1 + exp(k->pair[at] * k->prob_a[at] +
						k->prob_b[at]));

			v = fmin(fmax(v, 1e-7), 1 - 1e-7);
			r[i * n + j] = v;
			r[j * n + i] = 1 - v;
		}
	couple(n, r, q, out, qp);
}

/* The scores of one row, in out; returns how many. */
static size_t score_row(struct classifier *k, const double *x, double *out)
{
	const struct svm *s = &k->svm;

	if (!k->per_class) {
		for (size_t i = 0; i < k->classes; i++)
			out[i] = svm_kernel(s, x, s->coef + i * s->features) +
				 k->rho[0];
		return k->classes;
	}
	vote(k, x);
	if (k->nprob > 0) {
		probabilities(k, out);
		return k->classes;
	}
	memcpy(out, k->pair, k->pairs * sizeof(*out));
	return k->pairs;
}

static size_t best_of(const double *v, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		if (v[i] > v[best])
			best = i;
	return best;
}

/* Of two classes, a single weight above the border means the second. */
static int64_t label_row(const struct classifier *k, const double *scores,
			 size_t n)
{
	const double *v = k->per_class ? k->votes : scores;
	size_t best = best_of(v, k->per_class ? k->classes : n);
	double weight = k->per_class ? 0 : scores[best];

	if (k->nrho == 1 && k->classes == 2 && k->nprob == 0 &&
	    (k->all_positive ? weight >= 0.5 : weight > 0))
		return 1;
	return (int64_t)best;
}

/* One score for two classes becomes two, as onnxruntime has them. */
static void spread(enum ml_post post, double *v)
{
	double x = v[0];

	v[1] = x;
	v[0] = post == ML_NONE ? -x : 1 - x;
	if (post == ML_LOGISTIC) {
		v[0] = 1 / (1 + exp(x));
		v[1] = 1 / (1 + exp(-x));
	}
}

static int eval_classifier(struct op_call *c, struct err *e)
{
	struct classifier k = {0};
	const double *x;
	enum ml_post post;
	struct shape shape;
	uint64_t rows;
	size_t n, width;
	void *labels, *out;
	int rc = ml_rows(c, &rows, &k.svm.features, &x, e);

	if (rc == 0)
		rc = classifier_read(c, &k, e);
	if (rc == 0)
		rc = ml_post_read(c, &post, e);
	if (rc == 0)
		rc = op_temp_array(c, rows, sizeof(int64_t), &labels, e);
	if (rc < 0)
		return rc;
	n = k.per_class && k.nprob == 0 ? k.pairs : k.classes;
	width = n == 1 ? 2 : n;
	shape = shape_of(2, (int64_t[]){(int64_t)rows, (int64_t)width});
	rc = op_alloc_as(c, 1, DTYPE_F32, DTYPE_F64, &shape, &out, e);
	for (uint64_t r = 0; rc == 0 && r < rows; r++) {
		double *row = (double *)out + r * width;

		score_row(&k, x + r * k.svm.features, row);
		((int64_t *)labels)[r] = label_row(&k, row, n);
		if (n == 1)
			spread(post, row);
		else
			ml_post_apply(post, row, n);
		rc = op_check_stop(c, e);
	}
	return rc < 0 ? rc : ml_labels_give(c, &k.labels, labels, rows, e);
}

const struct op ops_ml_svm[] = {
	{ML, "SVMRegressor", 1, 1, 1, 1, 1, 0, 0, infer_regressor,
	 eval_regressor},
	{ML, "SVMClassifier", 1, 1, 1, 2, 2, 0, 0, NULL, eval_classifier},
	{0},
};
