/* SPDX-License-Identifier: MIT */
/* ms_more - com.microsoft: FusedConv, FusedGemm, RotaryEmbedding, Inverse. */
#include <math.h>

#include "kernel/binary.h"
#include "kernel/unary.h"
#include "op/attention.h"
#include "op/impl.h"

/* ---- an ONNX operator, and an activation function behind it ---- */
struct activation {
	const char *name;
	enum unary op;
	float a, b; /* where the node gives none */
};

static int find_activation(const struct op_call *c, struct activation *out,
			   struct err *e)
{
	static const struct activation list[] = {
		{"Relu", UNARY_RELU, 0, 0},
		{"Tanh", UNARY_TANH, 0, 0},
		{"Sigmoid", UNARY_SIGMOID, 0, 0},
		{"LeakyRelu", UNARY_LEAKY_RELU, 0.01f, 0},
		{"HardSigmoid", UNARY_HARD_SIGMOID, 0.2f, 0.5f},
		{"Clip", UNARY_COUNT, -INFINITY, INFINITY},
		{"", UNARY_AFFINE, 1, 0},
	};
	const char *name = op_attr_str(c, "activation", "");
	const float *v;
	size_t n;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (strcmp(name, list[i].name) != 0)
			continue;
		*out = list[i];
		op_attr_floats(c, "activation_params", &v, &n);
		out->a = n > 0 ? v[0]
			       : op_attr_float(c, "activation_alpha", out->a);
		out->b = n > 1 ? v[1]
			       : op_attr_float(c, "activation_beta", out->b);
		return 0;
	}
	return op_unsupported(c, e, "this activation");
}

static void activate(struct op_call *c, const struct activation *a, float *y,
		     uint64_t n)
{
	struct unary_arg u = {.a = a->a, .b = a->b};

	if (a->op != UNARY_COUNT) {
		unary_for(&c->env->kernel, a->op, NUM_F32, &u, y, y, n);
		return;
	}
	for (uint64_t i = 0; i < n; i++)
		y[i] = y[i] < a->a ? a->a : y[i] > a->b ? a->b : y[i];
}

/* Runs ONNX's operator of this type on the first nin inputs. */
static int delegate(struct op_call *c, const char *type, size_t nin,
		    struct tensor *out, struct err *e)
{
	struct op_call inner = *c;
	int rc;

	inner.op = op_find(ONNX, type, c->node->opset > 7 ? c->node->opset : 7);
	inner.nin = c->nin < nin ? c->nin : nin;
	inner.out = out;
	inner.nout = 1;
	rc = inner.op->eval(&inner, e);
	c->scratch = inner.scratch;
	return rc;
}

static int eval_fused(struct op_call *c, struct err *e)
{
	const char *type = c->op->arg ? "Conv" : "Gemm";
	struct tensor made = {0};
	struct activation a = {0};
	const float *add = NULL;
	uint64_t n;
	void *out;
	int rc = find_activation(c, &a, e);

	if (rc == 0 && c->in[0].dtype != DTYPE_F32)
		return op_bad_dtype(c, 0, e);
	if (rc == 0)
		rc = delegate(c, type, 3, &made, e);
	if (rc == 0)
		rc = op_count(c, &made.shape, &n, e);
	if (rc == 0 && op_has(c, 3)) {
		rc = op_in_f32(c, 3, &add, e);
		if (rc == 0 && !shape_equal(op_shape(c, 3), &made.shape))
			rc = op_invalid(c, e, "the sum does not fit");
	}
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_F32, &made.shape, &out, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		((float *)out)[i] = ((const float *)blob_bytes(made.data))[i] +
				    (add ? add[i] : 0);
	if (rc == 0)
		activate(c, &a, out, n);
	tensor_drop(&made);
	return rc;
}

static int infer_fused(struct op_call *c, struct err *e)
{
	struct op_call inner = *c;

	inner.op = op_find(ONNX, c->op->arg ? "Conv" : "Gemm", 13);
	inner.nin = c->nin < 3 ? c->nin : 3;
	return inner.op->infer(&inner, e);
}

/* ---- RotaryEmbedding: input, positions, caches ---- */
/* Extents of [batch][len][hidden] or [batch][heads][len][dim]. */
static int rotary_extents(struct op_call *c, struct rotary *r, struct err *e)
{
	const struct shape *s = op_shape(c, 0), *cos = op_shape(c, 2);
	int64_t heads = op_attr_int(c, "num_heads", 0);
	int64_t dim = op_attr_int(c, "rotary_embedding_dim", 0);
	int rc = op_need_rank(c, 0, 3, 4, e);

	if (rc == 0)
		rc = op_need_rank(c, 2, 2, 2, e);
	if (rc < 0)
		return rc;
	if (s->rank == 3 && heads == 0)
		heads = cos->dims[1] > 0 ? s->dims[2] / (2 * cos->dims[1]) : 0;
	if (s->rank == 3 && (heads < 1 || s->dims[2] % heads != 0))
		return op_invalid(c, e, "num_heads %lld", (long long)heads);
	r->batch = (size_t)s->dims[0];
	r->heads = s->rank == 3 ? (size_t)heads : (size_t)s->dims[1];
	r->len = (size_t)s->dims[s->rank == 3 ? 1 : 2];
	r->head_dim = s->rank == 3 ? (size_t)(s->dims[2] / heads)
				   : (size_t)s->dims[3];
	r->dim = dim > 0 ? (size_t)dim : 2 * (size_t)cos->dims[1];
	if (!shape_equal(cos, op_shape(c, 3)) || r->dim > r->head_dim ||
	    r->dim != 2 * (size_t)cos->dims[1])
		return op_invalid(c, e, "the caches do not fit");
	return 0;
}

/* Positions are one number to start from, or one for each row. */
static int rotary_positions(struct op_call *c, struct rotary *r, struct err *e)
{
	int64_t n = op_shape(c, 2)->dims[0], *rows;
	uint64_t given = op_nelems(c, 1);
	const int64_t *v;
	void *p;
	int rc = op_in_i64(c, 1, &v, e);

	if (rc == 0 && given != 1 && given != r->batch * r->len)
		return op_invalid(c, e, "position_ids");
	if (rc == 0)
		rc = op_temp_array(c, r->batch * r->len, sizeof(*rows), &p, e);
	if (rc < 0)
		return rc;
	rows = p;
	for (size_t i = 0; i < r->batch * r->len; i++) {
		bool alone = given == 1;
		int64_t at = alone ? v[0] : v[i];

		if (at < 0 || at >= n ||
		    (alone && (int64_t)(i % r->len) >= n - at))
			return op_invalid(c, e, "position %lld", (long long)at);
		rows[i] = alone ? at + (int64_t)(i % r->len) : at;
	}
	r->rows = rows;
	return 0;
}

static int eval_rotary(struct op_call *c, struct err *e)
{
	struct rotary r = {.interleaved =
				   op_attr_int(c, "interleaved", 0) != 0};
	const struct shape *s = op_shape(c, 0);
	struct attention_view v;
	const float *x;
	void *y;
	int rc = rotary_extents(c, &r, e);

	if (rc == 0)
		rc = rotary_positions(c, &r, e);
	if (rc == 0)
		rc = op_in_f32(c, 0, &x, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &r.cos, e);
	if (rc == 0)
		rc = op_in_f32(c, 3, &r.sin, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32, s, &y, e);
	if (rc < 0)
		return rc;
	v = s->rank == 3 ? attention_hidden(x, r.heads, r.len, r.head_dim)
			 : attention_heads(x, r.heads, r.len, r.head_dim);
	r.step_batch = v.batch;
	r.step_head = v.head;
	r.step_row = v.row;
	attention_rotate(&c->env->kernel, &r, x, y);
	return 0;
}

/* ---- Inverse ---- */
/* Gauss and Jordan; false for a matrix that has none. */
static bool invert(double *m, double *inv, size_t n)
{
	for (size_t i = 0; i < n * n; i++)
		inv[i] = i / n == i % n;
	for (size_t k = 0; k < n; k++) {
		size_t best = k;
		double pivot;

		for (size_t i = k; i < n; i++)
			best = fabs(m[i * n + k]) > fabs(m[best * n + k])
				       ? i
				       : best;
		pivot = m[best * n + k];
		if (pivot == 0)
			return false;
		for (size_t j = 0; j < n; j++) {
			double a = m[best * n + j], b = inv[best * n + j];

			m[best * n + j] = m[k * n + j];
			inv[best * n + j] = inv[k * n + j];
			m[k * n + j] = a / pivot;
			inv[k * n + j] = b / pivot;
		}
		for (size_t i = 0; i < n; i++) {
			double f = i == k ? 0 : m[i * n + k];

			for (size_t j = 0; j < n && f != 0; j++) {
				m[i * n + j] -= f * m[k * n + j];
				inv[i * n + j] -= f * inv[k * n + j];
			}
		}
	}
	return true;
}

static int eval_inverse(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	const void *x;
	uint64_t n;
	void *m, *y;
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	if (rc == 0 && s->dims[s->rank - 1] != s->dims[s->rank - 2])
		return op_invalid(c, e, "matrices that are not square");
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &x, e);
	if (rc < 0)
		return rc;
	n = (uint64_t)s->dims[s->rank - 1];
	rc = op_temp_array(c, n * n, sizeof(double), &m, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, s, &y, e);
	for (uint64_t i = 0; rc == 0 && i + n * n <= op_nelems(c, 0) && n > 0;
	     i += n * n) {
		memcpy(m, (const double *)x + i, n * n * sizeof(double));
		if (!invert(m, (double *)y + i, n))
			return op_invalid(c, e, "a singular matrix");
		rc = op_check_stop(c, e);
	}
	return rc;
}

const struct op ops_ms_more[] = {
	{MICROSOFT, "FusedConv", 1, 2, 4, 1, 1, 0, 1, infer_fused, eval_fused},
	{MICROSOFT, "FusedGemm", 1, 2, 3, 1, 1, 0, 0, infer_fused, eval_fused},
	{MICROSOFT, "RotaryEmbedding", 1, 4, 4, 1, 1, 0, 0, infer_same,
	 eval_rotary},
	{MICROSOFT, "Inverse", 1, 1, 1, 1, 1, 0, 0, infer_same, eval_inverse},
	{0},
};
