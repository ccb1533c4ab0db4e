/* SPDX-License-Identifier: MIT */
/* aten_reduce - reductions and products; see aten.h. */
#include <string.h>

#include "modelfs/err.h"

#include "format/pytorch/aten.h"

/* ---- reductions ---- */

/* The axes, counted from the front; all of them where there are none. */
static bool get_axes(const struct aten *k, int rank, int64_t *axes, size_t *n)
{
	if (!aten_ints(k, "dim", axes, n) || rank < 0)
		return false;
	for (size_t i = 0; i < *n; i++)
		if (!aten_axis(axes[i], rank, &axes[i]))
			return false;
	for (int i = 0; *n == 0 && i < rank; i++)
		axes[i] = i;
	if (*n == 0)
		*n = (size_t)rank;
	return true;
}

static int reduce(struct aten *k, struct err *e)
{
	struct attr a[2] = {
		attr_set_int("keepdims", aten_flag(k, "keepdim", false))};
	struct step n = {
		.type = k->entry->onnx, .attrs = a, .nattrs = 1, .nin = 1};
	int64_t axes[ATEN_INTS_MAX];
	size_t naxes;
	value_id in[2];
	int rc = aten_self(k, &in[0], e);

	/* max and min of an axis have two outputs, of two tensors are others */
	if (rc <= 0 || k->nout > 1 || aten_has(k, "other") ||
	    !get_axes(k, aten_rank(k, in[0]), axes, &naxes))
		return rc < 0 ? rc : 0;
	n.in = in;
	rc = aten_cast(k, "in", in[0], aten_dtype(k, k->out[0]), &in[0], e);
	if (rc == 0 && naxes > 0 && n.type[6] == 'S') {
		rc = aten_const_ints(k, "axes", axes, naxes, &in[1], e);
		n.nin = 2;
	} else if (rc == 0 && naxes > 0) {
		rc = attr_set_ints(&k->at, "axes", axes, naxes, &a[1], e);
		n.nattrs = 2;
	}
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

static int arg_reduce(struct aten *k, struct err *e)
{
	struct attr a[2];
	struct step n = {.type = aten_is(k, "argmax") ? "ArgMax" : "ArgMin",
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int64_t dim;
	value_id in;
	int rc = aten_self(k, &in, e);

	if (rc <= 0 || !aten_has(k, "dim") || !aten_int(k, "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, in), &dim))
		return rc < 0 ? rc : 0;
	a[0] = attr_set_int("axis", dim);
	a[1] = attr_set_int("keepdims", aten_flag(k, "keepdim", false));
	n.in = &in;
	return aten_finish(k, &n, e);
}

static int softmax(struct aten *k, struct err *e)
{
	bool is_log = aten_is(k, "log_softmax") || aten_is(k, "_log_softmax");
	struct attr a;
	struct step n = {.type = is_log ? "LogSoftmax" : "Softmax",
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int64_t dim;
	value_id in;
	int rc = aten_self(k, &in, e);

	if (rc <= 0 || !aten_int(k, "dim", 0, &dim) ||
	    !aten_axis(dim, aten_rank(k, in), &dim))
		return rc < 0 ? rc : 0;
	rc = aten_cast(k, "in", in, aten_dtype(k, k->out[0]), &in, e);
	a = attr_set_int("axis", dim);
	n.in = &in;
	return rc < 0 ? rc : aten_finish(k, &n, e);
}

/* ---- products ---- */

static int matmul(struct aten *k, struct err *e)
{
	const char *second = aten_has(k, "mat2") ? "mat2" : "other";
	value_id in[2];
	int rc = aten_self(k, &in[0], e);

	if (rc > 0)
		rc = aten_value(k, aten_has(k, "vec") ? "vec" : second, &in[1],
				e);
	else
		return rc;
	return rc < 0 || in[1] == NO_VALUE
		       ? rc
		       : aten_finish_make(k, "MatMul", in, 2, e);
}

/* beta · self + alpha · mat1 · mat2 */
static int addmm(struct aten *k, struct err *e)
{
	struct attr a[2];
	struct step n = {.type = "Gemm", .nin = 3, .attrs = a, .nattrs = 2};
	double alpha, beta;
	value_id in[3];
	int rc = aten_value(k, "mat1", &in[0], e);

	if (rc == 0)
		rc = aten_value(k, "mat2", &in[1], e);
	if (rc == 0)
		rc = aten_value(k, "self", &in[2], e);
	if (rc < 0 || in[0] == NO_VALUE || in[1] == NO_VALUE ||
	    in[2] == NO_VALUE || !aten_float(k, "alpha", 1, &alpha) ||
	    !aten_float(k, "beta", 1, &beta))
		return rc;
	a[0] = attr_set_float("alpha", (float)alpha);
	a[1] = attr_set_float("beta", (float)beta);
	n.in = in;
	return aten_finish(k, &n, e);
}

/* self + batch1 · batch2 */
static int baddbmm(struct aten *k, struct err *e)
{
	double alpha, beta;
	value_id in[2], b;
	int rc = aten_value(k, "batch1", &in[1], e);

	if (rc == 0)
		rc = aten_value(k, "batch2", &b, e);
	if (rc == 0)
		rc = aten_value(k, "self", &in[0], e);
	if (rc < 0 || in[0] == NO_VALUE || in[1] == NO_VALUE || b == NO_VALUE ||
	    !aten_float(k, "alpha", 1, &alpha) || alpha != 1 ||
	    !aten_float(k, "beta", 1, &beta) || beta != 1)
		return rc;
	rc = aten_make(k, "product", "MatMul", in[1], b, &in[1], e);
	return rc < 0 ? rc : aten_finish_make(k, "Add", in, 2, e);
}

/* input · weightᵀ + bias */
static int linear(struct aten *k, struct err *e)
{
	struct attr turned = attr_set_int("transB", 1);
	struct step gemm = {
		.type = "Gemm", .nin = 2, .attrs = &turned, .nattrs = 1};
	value_id in[3];
	int rc = aten_value(k, "input", &in[0], e);

	if (rc == 0)
		rc = aten_value(k, "weight", &in[1], e);
	if (rc == 0)
		rc = aten_value(k, "bias", &in[2], e);
	if (rc < 0 || in[0] == NO_VALUE || in[1] == NO_VALUE ||
	    aten_rank(k, in[1]) != 2)
		return rc;
	if (aten_rank(k, in[0]) == 2) {
		gemm.nin = in[2] == NO_VALUE ? 2 : 3;
		gemm.in = in;
		return aten_finish(k, &gemm, e);
	}
	rc = aten_make(k, "weight", "Transpose", in[1], NO_VALUE, &in[1], e);
	if (rc < 0 || in[2] == NO_VALUE)
		return rc < 0 ? rc : aten_finish_make(k, "MatMul", in, 2, e);
	rc = aten_make(k, "product", "MatMul", in[0], in[1], &in[1], e);
	return rc < 0 ? rc : aten_finish_make(k, "Add", in + 1, 2, e);
}

const struct aten_entry aten_reduce[] = {
	{"amax", reduce, "ReduceMax"},
	{"amin", reduce, "ReduceMin"},
	{"logsumexp", reduce, "ReduceLogSumExp"},
	{"max", reduce, "ReduceMax"},
	{"mean", reduce, "ReduceMean"},
	{"min", reduce, "ReduceMin"},
	{"prod", reduce, "ReduceProd"},
	{"sum", reduce, "ReduceSum"},
	{"argmax", arg_reduce},
	{"argmin", arg_reduce},
	{"_log_softmax", softmax},
	{"_softmax", softmax},
	{"log_softmax", softmax},
	{"softmax", softmax},
	{"bmm", matmul},
	{"matmul", matmul},
	{"mm", matmul},
	{"mv", matmul},
	{"addmm", addmm},
	{"baddbmm", baddbmm},
	{"linear", linear},
	{NULL, NULL},
};
