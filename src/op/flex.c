/* SPDX-License-Identifier: MIT */
/*
 * flex - ai.onnx.preview: FlexAttention, attention whose scores and
 * probabilities go through graphs of the node.
 */
#include <math.h>

#include "kernel/gemm.h"
#include "kernel/norm.h"
#include "op/impl.h"
#include "op/stack.h"

struct flex {
	size_t batch, heads, kv_heads, q_len, kv_len, dim, v_dim;
	enum dtype t; /* what it is computed in */
	enum num num;
	size_t *at; /* where heads begin: of one factor, of the other */
};

static int flex_sizes(struct op_call *c, struct flex *f, struct err *e)
{
	const struct shape *q = op_shape(c, 0), *k = op_shape(c, 1);
	const struct shape *v = op_shape(c, 2);
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = op_need_rank(c, i, 4, 4, e);
	if (rc < 0)
		return rc;
	if (q->dims[0] != k->dims[0] || q->dims[0] != v->dims[0] ||
	    k->dims[1] != v->dims[1] || k->dims[2] != v->dims[2] ||
	    q->dims[3] != k->dims[3] || k->dims[1] < 1 ||
	    q->dims[1] % k->dims[1] != 0)
		return op_invalid(c, e, "queries, keys and values differ");
	f->batch = (size_t)q->dims[0];
	f->heads = (size_t)q->dims[1];
	f->kv_heads = (size_t)k->dims[1];
	f->q_len = (size_t)q->dims[2];
	f->kv_len = (size_t)k->dims[2];
	f->dim = (size_t)q->dims[3];
	f->v_dim = (size_t)v->dims[3];
	f->t = c->in[0].dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
	f->num = f->t == DTYPE_F64 ? NUM_F64 : NUM_F32;
	return op_is_float(c->in[0].dtype) ? 0 : op_bad_dtype(c, 0, e);
}

/* Where each head of a query begins, and the head of keys it goes with. */
static void place_heads(struct flex *f, size_t a_step, size_t b_step)
{
	size_t n = f->batch * f->heads, group = f->heads / f->kv_heads;

	for (size_t i = 0; i < n; i++) {
		size_t b = i / f->heads, h = i % f->heads / group;

		f->at[i] = i * a_step;
		f->at[n + i] = (b * f->kv_heads + h) * b_step;
	}
}

/* Scores [batch][heads][q_len][kv_len], owned. */
static int make_scores(struct op_call *c, struct flex *f, struct tensor *out,
		       struct err *e)
{
	struct gemm g = {.type = f->num,
			 .trans_b = true,
			 .m = f->q_len,
			 .n = f->kv_len,
			 .k = f->dim,
			 .lda = f->dim,
			 .ldb = f->dim,
			 .ldc = f->kv_len,
			 .batch = f->batch * f->heads,
			 .a_at = f->at,
			 .b_at = f->at + f->batch * f->heads,
			 .c_step = f->q_len * f->kv_len};
	struct tensor made = {.dtype = f->t};
	const void *q, *k;
	uint64_t n;
	void *p;
	int rc = op_data_as(c, 0, f->t, &q, e);

	made.shape =
		shape_of(4, (int64_t[]){(int64_t)f->batch, (int64_t)f->heads,
					(int64_t)f->q_len, (int64_t)f->kv_len});
	g.alpha = op_attr_float(c, "scale", 0);
	if (g.alpha == 0)
		g.alpha = 1 / sqrt((double)f->dim);
	if (rc == 0)
		rc = op_data_as(c, 1, f->t, &k, e);
	if (rc == 0)
		rc = op_count(c, &made.shape, &n, e);
	if (rc == 0 && !gemm_fits(&g))
		return op_unsupported(c, e, "matrices of this size");
	if (rc == 0)
		rc = c->env->alloc(c->env, n * dtype_size(f->t), &made.data, &p,
				   e);
	if (rc < 0)
		return rc;
	place_heads(f, f->q_len * f->dim, f->kv_len * f->dim);
	gemm_run(&c->env->kernel, &g, q, k, p);
	*out = made;
	return 0;
}

/* What the graph of this name makes of t, where there is one. */
static int modify(struct op_call *c, const char *name, struct tensor *t,
		  struct err *e)
{
	const struct graph *g = op_attr_graph(c, name);
	struct tensor made = {0};
	int rc;

	if (!g)
		return 0;
	rc = subgraph_run(c, g, t, 1, &made, 1, e);
	if (rc == 0 &&
	    (made.dtype != t->dtype || !shape_equal(&made.shape, &t->shape)))
		rc = op_invalid(c, e, "%s changes type or shape", name);
	if (rc < 0) {
		tensor_drop(&made);
		return rc;
	}
	tensor_drop(t);
	*t = made;
	return 0;
}

static int soften(struct op_call *c, const struct flex *f, struct tensor *t,
		  struct err *e)
{
	struct softmax_plan p = {.kind = SOFTMAX,
				 .type = f->num,
				 .outer = f->batch * f->heads * f->q_len,
				 .dim = f->kv_len,
				 .inner = 1};
	struct blob *made;
	void *y;
	int rc = c->env->alloc(c->env, t->data->size, &made, &y, e);

	if (rc < 0)
		return rc;
	norm_softmax(&c->env->kernel, &p, blob_bytes(t->data), y);
	blob_unref(t->data);
	t->data = made;
	return 0;
}

static int give_values(struct op_call *c, struct flex *f,
		       const struct tensor *probs, struct err *e)
{
	struct gemm g = {.type = f->num,
			 .m = f->q_len,
			 .n = f->v_dim,
			 .k = f->kv_len,
			 .lda = f->kv_len,
			 .ldb = f->v_dim,
			 .ldc = f->v_dim,
			 .alpha = 1,
			 .batch = f->batch * f->heads,
			 .a_at = f->at,
			 .b_at = f->at + f->batch * f->heads,
			 .c_step = f->q_len * f->v_dim};
	struct shape s =
		shape_of(4, (int64_t[]){(int64_t)f->batch, (int64_t)f->heads,
					(int64_t)f->q_len, (int64_t)f->v_dim});
	const void *v;
	void *out;
	int rc = op_data_as(c, 2, f->t, &v, e);

	if (rc == 0 && !gemm_fits(&g))
		return op_unsupported(c, e, "matrices of this size");
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, f->t, &s, &out, e);
	if (rc < 0)
		return rc;
	place_heads(f, f->q_len * f->kv_len, f->kv_len * f->v_dim);
	gemm_run(&c->env->kernel, &g, blob_bytes(probs->data), v, out);
	return 0;
}

static int eval_flex(struct op_call *c, struct err *e)
{
	struct flex f = {0};
	struct tensor t = {0};
	void *p;
	int rc = flex_sizes(c, &f, e);

	if (rc == 0)
		rc = op_temp_array(c, f.batch * f.heads, 2 * sizeof(size_t), &p,
				   e);
	if (rc < 0)
		return rc;
	f.at = p;
	rc = make_scores(c, &f, &t, e);
	if (rc == 0)
		rc = modify(c, "score_mod", &t, e);
	if (rc == 0)
		rc = soften(c, &f, &t, e);
	if (rc == 0)
		rc = modify(c, "prob_mod", &t, e);
	if (rc == 0)
		rc = give_values(c, &f, &t, e);
	tensor_drop(&t);
	return rc;
}

static int infer_flex(struct op_call *c, struct err *e)
{
	const struct shape *v = op_shape(c, 2);
	struct shape s = *op_shape(c, 0);
	int rc = op_need_rank(c, 0, 4, 4, e);

	if (rc < 0 || s.rank < 0)
		return rc;
	s.dims[3] = v->rank == 4 ? v->dims[3] : DIM_UNKNOWN;
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

const struct op ops_flex[] = {
	{"ai.onnx.preview", "FlexAttention", 1, 3, 3, 1, 1, 0, 0, infer_flex,
	 eval_flex},
	{0},
};
