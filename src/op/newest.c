/* SPDX-License-Identifier: MIT */
/* newest - SwiGLU, CausalConvWithState, LinearAttention. */
#include <math.h>

#include "kernel/conv.h"
#include "op/impl.h"

/* ---- SwiGLU: swish(a) · b ---- */
static int eval_swiglu(struct op_call *c, struct err *e)
{
	float alpha = op_attr_float(c, "alpha", 1);
	uint64_t n = op_nelems(c, 0);
	const float *a, *b;
	void *out;
	int rc = op_in_f32(c, 0, &a, e);

	if (rc == 0 && !shape_equal(op_shape(c, 0), op_shape(c, 1)))
		return op_invalid(c, e, "the shapes differ");
	if (rc == 0)
		rc = op_in_f32(c, 1, &b, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32,
				 op_shape(c, 0), &out, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		((float *)out)[i] = a[i] / (1 + expf(-alpha * a[i])) * b[i];
	return rc;
}

/* ---- CausalConvWithState ---- */
static int infer_causal(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *w = op_shape(c, 1);
	struct shape s = *x;
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc == 0)
		rc = op_need_rank(c, 1, 3, 3, e);
	if (rc < 0)
		return rc;
	op_out(c, 0, c->in[0].dtype, x);
	if (s.rank == 3)
		s.dims[2] = w->rank < 0 || w->dims[2] == DIM_UNKNOWN
				    ? DIM_UNKNOWN
				    : w->dims[2] - 1;
	if (w->rank == 3 && w->dims[2] == 0)
		return op_invalid(c, e, "an empty kernel");
	op_out(c, 1, c->in[0].dtype, &s);
	return 0;
}

/* The past and the input behind each other; the last rows are the state. */
static int causal_rows(struct op_call *c, size_t past, void **out,
		       struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	size_t len = (size_t)x->dims[2], rows;
	struct shape state = c->out[1].shape;
	const float *in, *before;
	void *saved;
	int rc = op_in_f32(c, 0, &in, e);

	rows = (size_t)(x->dims[0] * x->dims[1]);
	state = shape_of(3, (int64_t[]){x->dims[0], x->dims[1], (int64_t)past});
	if (op_has(c, 3) && !shape_equal(op_shape(c, 3), &state))
		return op_invalid(c, e, "past_state does not fit");
	if (rc == 0)
		rc = op_in_f32(c, 3, &before, e);
	if (rc == 0)
		rc = op_temp_array(c, (uint64_t)rows * (past + len),
				   sizeof(float), out, e);
	if (rc == 0)
		rc = op_alloc_as(c, 1, c->in[0].dtype, DTYPE_F32, &state,
				 &saved, e);
	for (size_t r = 0; rc == 0 && r < rows; r++) {
		float *to = (float *)*out + r * (past + len);

		if (before)
			memcpy(to, before + r * past, past * sizeof(float));
		memcpy(to + past, in + r * len, len * sizeof(float));
		memcpy((float *)saved + r * past, to + len,
		       past * sizeof(float));
	}
	return rc;
}

static int eval_causal(struct op_call *c, struct err *e)
{
	const char *act = op_attr_str(c, "activation", "none");
	const struct shape *x = op_shape(c, 0), *w = op_shape(c, 1);
	struct conv v = {.type = NUM_F32};
	const float *weights, *bias;
	void *rows, *out;
	float *y;
	int rc = infer_causal(c, e);

	if (rc == 0 &&
	    (w->dims[0] != x->dims[1] || w->dims[1] != 1 || w->dims[2] < 1 ||
	     (op_has(c, 2) && op_nelems(c, 2) != (uint64_t)x->dims[1])))
		return op_invalid(c, e, "weights do not fit");
	if (rc == 0)
		rc = causal_rows(c, (size_t)w->dims[2] - 1, &rows, e);
	if (rc == 0)
		rc = op_in_f32(c, 1, &weights, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &bias, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32, x, &out, e);
	if (rc < 0 || op_nelems(c, 0) == 0)
		return rc;
	for (int d = 0; d < 3; d++)
		v.w.in[d] = v.w.out[d] = v.w.kernel[d] = v.w.stride[d] =
			v.w.dilation[d] = 1;
	v.w.out[2] = (size_t)x->dims[2];
	v.w.kernel[2] = (size_t)w->dims[2];
	v.w.in[2] = v.w.out[2] + v.w.kernel[2] - 1;
	/* A batch of rows of one channel each has its weights by group. */
	v.batch = (size_t)x->dims[0];
	v.groups = v.in_channels = v.out_channels = (size_t)x->dims[1];
	if (v.groups == 1)
		rc = op_temp_array(c, conv_scratch(&v), sizeof(float),
				   (void **)&y, e);
	if (rc < 0)
		return rc;
	conv_run(&c->env->kernel, &v, rows, weights, bias, out,
		 v.groups == 1 ? (void *)y : NULL);
	y = out;
	for (uint64_t i = 0; i < op_nelems(c, 0) && strcmp(act, "none"); i++)
		y[i] = y[i] / (1 + expf(-y[i]));
	return 0;
}

/* ---- LinearAttention ---- */
struct linear {
	size_t batch, len, q_heads, kv_heads, dk, dv;
	const float *q, *k, *v, *past, *decay, *beta, *erase;
	bool decay_by_key, beta_by_head;
	float scale;
	float *out, *state;
};

static int linear_shapes(struct op_call *c, struct linear *l, struct err *e)
{
	const struct shape *q = op_shape(c, 0), *k = op_shape(c, 1);
	const struct shape *v = op_shape(c, 2);
	int64_t qh = op_attr_int(c, "q_num_heads", 0);
	int64_t kh = op_attr_int(c, "kv_num_heads", 0);
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = op_need_rank(c, i, 3, 3, e);
	if (rc < 0)
		return rc;
	if (!shape_is_known(q) || !shape_is_known(k) || !shape_is_known(v))
		return 1;
	if (qh < 1 || kh < 1 || qh % kh || q->dims[2] % qh || k->dims[2] % kh ||
	    v->dims[2] % kh || q->dims[2] / qh != k->dims[2] / kh ||
	    q->dims[0] != k->dims[0] || q->dims[0] != v->dims[0] ||
	    q->dims[1] != k->dims[1] || q->dims[1] != v->dims[1])
		return op_invalid(c, e, "queries, keys and values differ");
	l->batch = (size_t)q->dims[0];
	l->len = (size_t)q->dims[1];
	l->q_heads = (size_t)qh;
	l->kv_heads = (size_t)kh;
	l->dk = (size_t)(q->dims[2] / qh);
	l->dv = (size_t)(v->dims[2] / kh);
	return 0;
}

static int infer_linear(struct op_call *c, struct err *e)
{
	enum dtype t = op_has(c, 3) ? op_dtype(c, 3) : c->in[0].dtype;
	struct shape unknown = shape_unknown(), s;
	struct linear l;
	int rc = linear_shapes(c, &l, e);

	op_out(c, 0, c->in[0].dtype, &unknown);
	op_out(c, 1, t, &unknown);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	s = shape_of(3, (int64_t[]){(int64_t)l.batch, (int64_t)l.len,
				    (int64_t)(l.q_heads * l.dv)});
	op_out(c, 0, c->in[0].dtype, &s);
	s = shape_of(4, (int64_t[]){(int64_t)l.batch, (int64_t)l.kv_heads,
				    (int64_t)l.dk, (int64_t)l.dv});
	op_out(c, 1, t, &s);
	return 0;
}

/* Input i as [batch][len][n] for one of two n; *second tells which. */
static int per_step(struct op_call *c, size_t i, const struct linear *l,
		    const size_t n[2], const float **out, bool *second,
		    struct err *e)
{
	uint64_t rows = (uint64_t)l->batch * l->len, have = op_nelems(c, i);

	if (op_has(c, i) && have != rows * n[0] && have != rows * n[1])
		return op_invalid(c, e, "input %zu does not fit", i);
	*second = have != rows * n[0];
	return op_in_f32(c, i, out, e);
}

static int linear_read(struct op_call *c, struct linear *l, struct err *e)
{
	const char *rule = op_attr_str(c, "update_rule", "gated_delta");
	bool gated = strncmp(rule, "gated", 5) == 0, by_key;
	bool delta = strstr(rule, "delta") != NULL;
	size_t h = l->kv_heads, hk = h * l->dk;
	const float **in[3] = {&l->q, &l->k, &l->v};
	int rc = 0;

	if (gated != op_has(c, 4) || delta != op_has(c, 5))
		return op_invalid(c, e, "decay or beta against update_rule");
	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = op_in_f32(c, i, in[i], e);
	if (rc == 0 && op_has(c, 3) &&
	    op_nelems(c, 3) != l->batch * h * l->dk * l->dv)
		return op_invalid(c, e, "past_state does not fit");
	if (rc == 0)
		rc = op_in_f32(c, 3, &l->past, e);
	if (rc == 0)
		rc = per_step(c, 4, l, (size_t[]){h, hk}, &l->decay,
			      &l->decay_by_key, e);
	if (rc == 0)
		rc = per_step(c, 5, l, (size_t[]){1, h}, &l->beta,
			      &l->beta_by_head, e);
	if (rc == 0)
		rc = per_step(c, 6, l, (size_t[]){hk, hk}, &l->erase, &by_key,
			      e);
	l->scale = op_attr_float(c, "scale", 0);
	if (l->scale == 0)
		l->scale = 1 / sqrtf((float)l->dk);
	return rc;
}

/* One step of one head: decays, corrects and extends its state. */
static void linear_update(const struct linear *l, size_t row, size_t h,
			  float *s)
{
	const float *k = l->k + (row * l->kv_heads + h) * l->dk;
	const float *v = l->v + (row * l->kv_heads + h) * l->dv;
	size_t at = row * l->kv_heads + h;

	for (size_t d = 0; d < l->dk && l->decay; d++) {
		float g = expf(l->decay[l->decay_by_key ? at * l->dk + d : at]);

		for (size_t m = 0; m < l->dv; m++)
			s[d * l->dv + m] *= g;
	}
	for (size_t m = 0; m < l->dv; m++) {
		float value = v[m], found = 0;

		for (size_t d = 0; d < l->dk && l->beta; d++)
			found += s[d * l->dv + m] * k[d] *
				 (l->erase ? l->erase[at * l->dk + d] : 1);
		if (l->beta)
			value = l->beta[l->beta_by_head ? at : row] *
				(value - found);
		for (size_t d = 0; d < l->dk; d++)
			s[d * l->dv + m] += k[d] * value;
	}
}

static void linear_read_out(const struct linear *l, size_t row, size_t qh,
			    const float *s)
{
	const float *q = l->q + (row * l->q_heads + qh) * l->dk;
	float *o = l->out + (row * l->q_heads + qh) * l->dv;

	for (size_t m = 0; m < l->dv; m++) {
		float sum = 0;

		for (size_t d = 0; d < l->dk; d++)
			sum += q[d] * s[d * l->dv + m];
		o[m] = l->scale * sum;
	}
}

static void linear_heads(void *ctx, size_t begin, size_t end)
{
	const struct linear *l = ctx;
	size_t group = l->q_heads / l->kv_heads, n = l->dk * l->dv;

	for (size_t i = begin; i < end; i++) {
		size_t b = i / l->kv_heads, h = i % l->kv_heads;
		float *s = l->state + i * n;

		if (l->past)
			memcpy(s, l->past + i * n, n * sizeof(*s));
		for (size_t t = 0; t < l->len; t++) {
			size_t row = b * l->len + t;

			linear_update(l, row, h, s);
			for (size_t g = 0; g < group; g++)
				linear_read_out(l, row, h * group + g, s);
		}
	}
}

static int eval_linear(struct op_call *c, struct err *e)
{
	enum dtype t = op_has(c, 3) ? op_dtype(c, 3) : c->in[0].dtype;
	struct linear l = {0};
	struct shape s, state;
	void *out, *kept;
	int rc = linear_shapes(c, &l, e);

	if (rc == 0)
		rc = linear_read(c, &l, e);
	if (rc < 0)
		return rc;
	s = shape_of(3, (int64_t[]){(int64_t)l.batch, (int64_t)l.len,
				    (int64_t)(l.q_heads * l.dv)});
	state = shape_of(4, (int64_t[]){(int64_t)l.batch, (int64_t)l.kv_heads,
					(int64_t)l.dk, (int64_t)l.dv});
	rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32, &s, &out, e);
	if (rc == 0)
		rc = op_alloc_as(c, 1, t, DTYPE_F32, &state, &kept, e);
	if (rc < 0)
		return rc;
	l.out = out;
	l.state = kept;
	kernel_for(&c->env->kernel, l.batch * l.kv_heads, 1, linear_heads, &l);
	return 0;
}

const struct op ops_newest[] = {
	{ONNX, "SwiGLU", 27, 2, 2, 1, 1, 0, 0, infer_same, eval_swiglu},
	{ONNX, "CausalConvWithState", 27, 2, 4, 1, 2, 0, 0, infer_causal,
	 eval_causal},
	{ONNX, "LinearAttention", 27, 3, 7, 1, 2, 0, 0, infer_linear,
	 eval_linear},
	{0},
};
