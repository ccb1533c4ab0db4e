/* SPDX-License-Identifier: MIT */
/* ms_attention - com.microsoft: Attention and MultiHeadAttention. */
#include <math.h>

#include "kernel/gemm.h"
#include "op/attention.h"
#include "op/impl.h"
#include "op/matmul.h"
#include "op/ms_attention.h"

int ms_floats(struct op_call *c, uint64_t n, float **out, struct err *e)
{
	void *p;
	int rc = op_temp_array(c, n, sizeof(float), &p, e);

	*out = p;
	return rc;
}

/* ---- masks ---- */
/* Where the scores are added to: [batch][1 or heads][1 or q_len][kv_len]. */
struct mask {
	float *bias;
	size_t heads, rows; /* 1 or all */
};

static void set_bias(struct attention *a, const struct mask *m)
{
	a->bias = (struct attention_view){
		.p = m->bias,
		.batch = m->heads * m->rows * a->kv_len,
		.head = m->heads == 1 ? 0 : m->rows * a->kv_len,
		.row = m->rows == 1 ? 0 : a->kv_len,
	};
	a->bias_cols = a->kv_len;
}

/* True where key j of batch b (for query i) counts. */
static bool counts(const struct op_call *c, const struct attention *a,
		   size_t input, const int64_t *v, const size_t at[3])
{
	const struct shape *s = op_shape(c, input);
	size_t b = at[0], i = at[1], j = at[2];

	if (s->rank == 1 && s->dims[0] == (int64_t)a->batch)
		return (int64_t)j < v[b];
	if (s->rank == 1) /* ends, then starts */
		return (int64_t)j < v[b] && (int64_t)j >= v[a->batch + b];
	if (s->rank == 2)
		return v[b * (size_t)s->dims[1] + j] != 0;
	if (s->rank == 3)
		return v[(b * (size_t)s->dims[1] + i) * (size_t)s->dims[2] +
			 j] != 0;
	return v[(b * (size_t)s->dims[2] + a->kv_len - a->q_len + i) *
			 (size_t)s->dims[3] +
		 j] != 0;
}

static bool mask_fits(const struct op_call *c, const struct attention *a,
		      size_t input)
{
	const struct shape *s = op_shape(c, input);
	int64_t b = (int64_t)a->batch, t = (int64_t)a->kv_len;

	switch (s->rank) {
	case 1:
		return s->dims[0] == b || s->dims[0] == 2 * b;
	case 2:
		return s->dims[0] == b && s->dims[1] >= t;
	case 3:
		return s->dims[0] == b && s->dims[1] == (int64_t)a->q_len &&
		       s->dims[2] >= t;
	case 4:
		return s->dims[0] == b && s->dims[1] == 1 && s->dims[2] >= t &&
		       s->dims[3] >= t && a->kv_len >= a->q_len;
	default:
		return false;
	}
}

/*
 * Adds up the mask in input `mask` (which keys count) and the bias in input
 * `bias` ([1 or batch][1 or heads][q_len][kv_len]); each may be left out.
 */
int ms_read_bias(struct op_call *c, struct attention *a, size_t mask,
		 size_t bias, struct err *e)
{
	float filter = op_attr_float(c, "mask_filter_value", -10000);
	const struct shape *bs = op_shape(c, bias);
	struct mask m = {.heads = 1, .rows = a->q_len};
	const int64_t *v = NULL;
	const float *add = NULL;
	size_t k = 0;
	int rc = 0;

	/* One number for all keys of a sequence changes nothing. */
	if (op_has(c, mask) && op_shape(c, mask)->rank == 2 &&
	    op_shape(c, mask)->dims[1] == 1 && a->kv_len != 1)
		mask = SIZE_MAX;
	if (!op_has(c, mask) && !op_has(c, bias))
		return 0;
	if (op_has(c, mask) && !mask_fits(c, a, mask))
		return op_invalid(c, e, "the mask does not fit");
	if (op_has(c, bias)) {
		if (bs->rank != 4 ||
		    (bs->dims[0] != 1 && bs->dims[0] != (int64_t)a->batch) ||
		    (bs->dims[1] != 1 && bs->dims[1] != (int64_t)a->q_heads) ||
		    bs->dims[2] != (int64_t)a->q_len ||
		    bs->dims[3] != (int64_t)a->kv_len)
			return op_invalid(c, e, "the bias does not fit");
		m.heads = a->q_heads;
		rc = op_in_f32(c, bias, &add, e);
	}
	if (rc == 0 && op_has(c, mask))
		rc = op_in_i64(c, mask, &v, e);
	if (rc == 0)
		rc = ms_floats(
			c, (uint64_t)a->batch * m.heads * a->q_len * a->kv_len,
			&m.bias, e);
	if (rc < 0)
		return rc;
	for (size_t b = 0; b < a->batch; b++) {
		for (size_t r = 0; r < m.heads * a->q_len; r++) {
			size_t h = r / a->q_len, i = r % a->q_len;
			size_t row = 0;

			if (add)
				row = ((bs->dims[0] == 1 ? 0 : b) *
					       (size_t)bs->dims[1] +
				       (bs->dims[1] == 1 ? 0 : h)) *
					      a->q_len +
				      i;
			for (size_t j = 0; j < a->kv_len; j++, k++) {
				size_t at[3] = {b, i, j};

				m.bias[k] = add ? add[row * a->kv_len + j] : 0;
				if (v && !counts(c, a, mask, v, at))
					m.bias[k] += filter;
			}
		}
	}
	set_bias(a, &m);
	return 0;
}

/* Rows lag behind the keys by what is past. */
static int set_offsets(struct op_call *c, struct attention *a, size_t past,
		       struct err *e)
{
	void *p;
	int rc = op_temp_array(c, a->batch, sizeof(int64_t), &p, e);

	for (size_t b = 0; b < a->batch && rc == 0; b++)
		((int64_t *)p)[b] = (int64_t)past;
	a->offset = p;
	a->causal = op_attr_int(c, "unidirectional", 0) != 0;
	return rc;
}

void ms_set_scale(struct op_call *c, struct attention *a)
{
	a->scale = op_attr_float(c, "scale", 0);
	if (a->scale == 0)
		a->scale = 1 / sqrtf((float)a->dim);
}

int ms_hidden_output(struct op_call *c, struct attention *a, struct err *e)
{
	struct shape s =
		shape_of(3, (int64_t[]){(int64_t)a->batch, (int64_t)a->q_len,
					(int64_t)(a->q_heads * a->v_dim)});
	void *out;
	int rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32, &s, &out, e);

	a->out = out;
	a->out_batch = a->q_heads * a->q_len * a->v_dim;
	a->out_head = a->v_dim;
	a->out_row = a->q_heads * a->v_dim;
	return rc < 0 ? rc : attention_compute(c, a, e);
}

int ms_head_count(struct op_call *c, const char *name, size_t *n, struct err *e)
{
	int64_t v = op_attr_int(c, name, 0);

	if (v < 1 || v > INT32_MAX)
		return op_invalid(c, e, "%s %lld", name, (long long)v);
	*n = (size_t)v;
	return 0;
}

/* ---- Attention: the projections are part of it ---- */
static int split_sizes(struct op_call *c, size_t heads, int64_t size[3],
		       struct err *e)
{
	const int64_t *v;
	size_t n;
	int64_t all = op_shape(c, 1)->dims[1];

	for (int i = 0; i < 3; i++)
		size[i] = all / 3;
	if (op_attr_ints(c, "qkv_hidden_sizes", &v, &n) && n == 3)
		memcpy(size, v, 3 * sizeof(*v));
	for (int i = 0; i < 3; i++) {
		if (size[i] < 0 || size[i] > all ||
		    size[i] % (int64_t)heads != 0)
			return op_invalid(c, e, "hidden sizes");
	}
	if (size[0] != size[1] || size[0] + size[1] + size[2] != all)
		return op_invalid(c, e, "hidden sizes");
	return 0;
}

/* x · weights + bias, all three side by side. */
static int project(struct op_call *c, float **out, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *w = op_shape(c, 1);
	struct gemm g = {.type = NUM_F32, .batch = 1, .alpha = 1, .beta = 1};
	const float *in, *bias;
	int rc = op_in_f32(c, 0, &in, e);

	g.m = (size_t)(x->dims[0] * x->dims[1]);
	g.k = g.lda = (size_t)x->dims[2];
	g.n = g.ldb = g.ldc = (size_t)w->dims[1];
	if (op_has(c, 2) && op_nelems(c, 2) != g.n)
		return op_invalid(c, e, "the bias does not fit");
	if (!gemm_fits(&g))
		return op_unsupported(c, e, "matrices of this size");
	if (rc == 0)
		rc = op_in_f32(c, 2, &bias, e);
	if (rc == 0)
		rc = ms_floats(c, (uint64_t)g.m * g.n, out, e);
	if (rc < 0)
		return rc;
	for (size_t r = 0; r < g.m && bias; r++)
		memcpy(*out + r * g.n, bias, g.n * sizeof(float));
	return matmul_plain(c, &g, DTYPE_F32, in, *out, e);
}

/* Views into the projection, and how many rows the past has. */
static int attention_views(struct op_call *c, struct attention *a, size_t *past,
			   struct err *e)
{
	const struct shape *x = op_shape(c, 0), *p = op_shape(c, 4);
	int64_t size[3];
	float *qkv = NULL;
	int rc = ms_head_count(c, "num_heads", &a->q_heads, e);

	if (rc == 0)
		rc = op_need_rank(c, 0, 3, 3, e);
	if (rc == 0)
		rc = op_need_rank(c, 1, 2, 2, e);
	if (rc < 0)
		return rc;
	if (op_shape(c, 1)->dims[0] != x->dims[2])
		return op_invalid(c, e, "weights do not fit");
	rc = split_sizes(c, a->q_heads, size, e);
	if (rc == 0)
		rc = project(c, &qkv, e);
	if (rc < 0)
		return rc;
	a->kv_heads = a->q_heads;
	a->batch = (size_t)x->dims[0];
	a->q_len = (size_t)x->dims[1];
	a->dim = (size_t)size[0] / a->q_heads;
	a->v_dim = (size_t)size[2] / a->q_heads;
	a->q = (struct attention_view){.p = qkv, .head = a->dim};
	a->q.row = (size_t)(size[0] + size[1] + size[2]);
	a->q.batch = a->q.row * a->q_len;
	a->k = a->v = a->q;
	a->k.p = qkv + size[0];
	a->v.p = qkv + size[0] + size[1];
	a->v.head = a->v_dim;
	*past = 0;
	if (!op_has(c, 4))
		return 0;
	if (p->rank != 5 || p->dims[0] != 2 || p->dims[1] != x->dims[0] ||
	    p->dims[2] != (int64_t)a->q_heads ||
	    p->dims[4] != (int64_t)a->dim || a->dim != a->v_dim)
		return op_invalid(c, e, "the past does not fit");
	*past = (size_t)p->dims[3];
	return 0;
}

/* Output 1: keys and values of past and present, in one tensor. */
static int attention_present(struct op_call *c, struct attention *a,
			     size_t past, struct err *e)
{
	size_t n[4] = {a->batch, a->q_heads, a->q_len, a->dim};
	size_t half = a->batch * a->q_heads * a->dim;
	const float *rows = NULL;
	struct shape s;
	void *out;
	int rc = 0;

	a->kv_len = past + a->q_len;
	if (!past && !op_wants(c, 1))
		return 0;
	if (a->dim != a->v_dim)
		return op_unsupported(c, e, "a past of unequal sizes");
	s = shape_of(5, (int64_t[]){2, (int64_t)a->batch, (int64_t)a->q_heads,
				    (int64_t)a->kv_len, (int64_t)a->dim});
	if (past)
		rc = op_in_f32(c, 4, &rows, e);
	if (rc == 0)
		rc = op_alloc_as(c, 1, c->in[0].dtype, DTYPE_F32, &s, &out, e);
	if (rc < 0)
		return rc;
	for (int i = 0; i < 2; i++) {
		struct attention_view *v = i ? &a->v : &a->k;
		float *to = (float *)out + (size_t)i * half * a->kv_len;

		attention_append(rows ? rows + (size_t)i * half * past : NULL,
				 past, v, n, to);
		*v = attention_heads(to, a->q_heads, a->kv_len, a->dim);
	}
	return 0;
}

/* The result is known; the cache beside it is not yet. */
static int infer_hidden(struct op_call *c, int64_t hidden, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct shape s = shape_unknown();
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < c->nout; i++)
		op_out(c, i, c->in[0].dtype, &s);
	if (x->rank == 3)
		s = shape_of(3, (int64_t[]){x->dims[0], x->dims[1], hidden});
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static int infer_attention(struct op_call *c, struct err *e)
{
	const struct shape *w = op_shape(c, 1);
	const int64_t *sizes;
	int64_t hidden = DIM_UNKNOWN;
	size_t n;

	if (op_attr_ints(c, "qkv_hidden_sizes", &sizes, &n) && n == 3)
		hidden = sizes[2];
	else if (w->rank == 2 && w->dims[1] != DIM_UNKNOWN)
		hidden = w->dims[1] / 3;
	return infer_hidden(c, hidden < 0 ? DIM_UNKNOWN : hidden, e);
}

static int infer_multi_head(struct op_call *c, struct err *e)
{
	const struct shape *v = op_shape(c, 2);
	int64_t hidden = DIM_UNKNOWN;

	if (op_shape(c, 0)->rank != 3)
		return 0;
	if (v->rank == 3)
		hidden = v->dims[2];
	else if (v->rank == 4 && v->dims[1] != DIM_UNKNOWN &&
		 v->dims[3] != DIM_UNKNOWN &&
		 op_mul(c, v->dims[1], v->dims[3], &hidden, e) < 0)
		return -EFBIG;
	return infer_hidden(c, hidden, e);
}

static int eval_attention(struct op_call *c, struct err *e)
{
	struct attention a = {0};
	size_t past;
	int rc = attention_views(c, &a, &past, e);

	if (rc == 0 && op_attr_int(c, "do_rotary", 0))
		return op_unsupported(c, e, "do_rotary");
	if (rc == 0)
		rc = attention_present(c, &a, past, e);
	if (rc == 0)
		rc = ms_read_bias(c, &a, 3, 5, e);
	if (rc == 0)
		rc = set_offsets(c, &a, past, e);
	ms_set_scale(c, &a);
	return rc < 0 ? rc : ms_hidden_output(c, &a, e);
}

/* ---- MultiHeadAttention ---- */
/* Adds a part of the bias to [batch][len][hidden] rows, in a copy. */
static int biased(struct op_call *c, size_t i, size_t at, size_t hidden,
		  const float **p, struct err *e)
{
	const float *bias;
	uint64_t n = op_nelems(c, i);
	float *out = NULL;
	int rc = op_in_f32(c, 3, &bias, e);

	if (rc == 0 && !bias)
		return 0;
	if (rc == 0 && op_nelems(c, 3) < at + hidden)
		return op_invalid(c, e, "the bias does not fit");
	if (rc == 0)
		rc = ms_floats(c, n, &out, e);
	for (uint64_t k = 0; rc == 0 && k < n; k++)
		out[k] = (*p)[k] + bias[at + k % hidden];
	if (rc == 0)
		*p = out;
	return rc;
}

/* Input i (1: keys, 2: values) as a view; rank 4 has heads already. */
static int memory(struct op_call *c, struct attention *a, size_t i, size_t at,
		  struct attention_view *v, size_t *dim, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	const float *p;
	int rc = op_need_rank(c, i, 3, 4, e);

	if (rc == 0 && !op_has(c, i))
		return op_unsupported(c, e, "packed keys and values");
	if (rc == 0)
		rc = op_in_f32(c, i, &p, e);
	if (rc < 0)
		return rc;
	if (s->rank == 4) {
		if (s->dims[0] != (int64_t)a->batch ||
		    s->dims[1] != (int64_t)a->q_heads)
			return op_invalid(c, e, "input %zu does not fit", i);
		*dim = (size_t)s->dims[3];
		a->kv_len = (size_t)s->dims[2];
		*v = attention_heads(p, a->q_heads, a->kv_len, *dim);
		return 0;
	}
	if (s->dims[0] != (int64_t)a->batch ||
	    s->dims[2] % (int64_t)a->q_heads != 0 ||
	    (i == 2 && s->dims[1] != (int64_t)a->kv_len))
		return op_invalid(c, e, "input %zu does not fit", i);
	*dim = (size_t)s->dims[2] / a->q_heads;
	a->kv_len = (size_t)s->dims[1];
	rc = biased(c, i, at, (size_t)s->dims[2], &p, e);
	*v = attention_hidden(p, a->q_heads, a->kv_len, *dim);
	return rc;
}

/* Output o: the past in input i and the rows of view v behind it. */
static int present(struct op_call *c, struct attention *a, size_t i, size_t o,
		   size_t past, size_t dim, struct attention_view *v,
		   struct err *e)
{
	size_t n[4] = {a->batch, a->kv_heads, a->kv_len, dim};
	const struct shape *p = op_shape(c, i);
	const float *rows = NULL;
	struct shape s;
	void *out;
	int rc = 0;

	if (!op_has(c, i) && !op_wants(c, o))
		return 0;
	if (op_has(c, i) &&
	    (p->rank != 4 || p->dims[0] != (int64_t)a->batch ||
	     p->dims[1] != (int64_t)a->kv_heads ||
	     p->dims[2] != (int64_t)past || p->dims[3] != (int64_t)dim))
		return op_invalid(c, e, "the past does not fit");
	s = shape_of(4, (int64_t[]){(int64_t)a->batch, (int64_t)a->kv_heads,
				    (int64_t)(past + a->kv_len), (int64_t)dim});
	rc = op_in_f32(c, i, &rows, e);
	if (rc == 0)
		rc = op_alloc_as(c, o, c->in[0].dtype, DTYPE_F32, &s, &out, e);
	if (rc < 0)
		return rc;
	attention_append(rows, past, v, n, out);
	*v = attention_heads(out, a->kv_heads, past + a->kv_len, dim);
	return 0;
}

/*
 * Queries, keys and values in one tensor [batch][len][heads][3][dim], or keys
 * and values in [batch][len][heads][2][dim]; without a past or a bias.
 */
static int packed_views(struct op_call *c, struct attention *a, struct err *e)
{
	const struct shape *q = op_shape(c, 0), *kv = op_shape(c, 1);
	bool all = q->rank == 5;
	const struct shape *s = all ? q : kv;
	int64_t parts = all ? 3 : 2;
	const float *p;
	int rc = ms_head_count(c, "num_heads", &a->q_heads, e);

	if (rc == 0)
		rc = op_in_f32(c, all ? 0 : 1, &p, e);
	if (rc < 0)
		return rc;
	if (s->dims[2] != (int64_t)a->q_heads || s->dims[3] != parts ||
	    (!all && (q->rank != 3 || q->dims[0] != s->dims[0] ||
		      q->dims[2] != s->dims[2] * s->dims[4])) ||
	    op_has(c, 2) || op_has(c, 3) || op_has(c, 6))
		return op_invalid(c, e, "packed inputs do not fit");
	a->kv_heads = a->q_heads;
	a->batch = (size_t)s->dims[0];
	a->kv_len = (size_t)s->dims[1];
	a->q_len = (size_t)q->dims[1];
	a->dim = a->v_dim = (size_t)s->dims[4];
	a->k = (struct attention_view){.p = p + (parts - 2) * s->dims[4]};
	a->k.head = (size_t)parts * a->dim;
	a->k.row = a->q_heads * a->k.head;
	a->k.batch = a->kv_len * a->k.row;
	a->v = a->q = a->k;
	a->q.p = p;
	a->v.p = a->k.p + a->dim;
	if (all)
		return 0;
	rc = op_in_f32(c, 0, &p, e);
	a->q = attention_hidden(p, a->q_heads, a->q_len, a->dim);
	return rc;
}

static int eval_packed(struct op_call *c, struct err *e)
{
	struct attention a = {0};
	int rc = packed_views(c, &a, e);

	if (rc == 0)
		rc = ms_read_bias(c, &a, 4, 5, e);
	if (rc == 0)
		rc = set_offsets(c, &a, 0, e);
	ms_set_scale(c, &a);
	return rc < 0 ? rc : ms_hidden_output(c, &a, e);
}

static int eval_multi_head(struct op_call *c, struct err *e)
{
	const struct shape *q = op_shape(c, 0);
	struct attention a = {0};
	size_t hidden, past = 0, k_dim = 0;
	int rc;

	if (op_has(c, 8))
		return ms_decode_multi_head(c, e);
	if (q->rank == 5 || op_shape(c, 1)->rank == 5)
		return eval_packed(c, e);
	rc = op_need_rank(c, 0, 3, 3, e);
	if (rc == 0)
		rc = ms_head_count(c, "num_heads", &a.q_heads, e);
	if (rc == 0 && q->dims[2] % (int64_t)a.q_heads)
		return op_invalid(c, e, "%zu heads do not fit", a.q_heads);
	if (rc < 0)
		return rc;
	hidden = (size_t)q->dims[2];
	a.kv_heads = a.q_heads;
	a.batch = (size_t)q->dims[0];
	a.q_len = (size_t)q->dims[1];
	a.dim = hidden / a.q_heads;
	rc = op_in_f32(c, 0, &a.q.p, e);
	if (rc == 0)
		rc = biased(c, 0, 0, hidden, &a.q.p, e);
	a.q = attention_hidden(a.q.p, a.q_heads, a.q_len, a.dim);
	if (rc == 0)
		rc = memory(c, &a, 1, hidden, &a.k, &k_dim, e);
	if (rc == 0 && k_dim != a.dim)
		return op_invalid(c, e, "keys do not fit");
	if (rc == 0)
		rc = memory(c, &a, 2, 2 * hidden, &a.v, &a.v_dim, e);
	if (op_has(c, 6) && op_shape(c, 6)->rank == 4)
		past = (size_t)op_shape(c, 6)->dims[2];
	if (rc == 0)
		rc = present(c, &a, 6, 1, past, a.dim, &a.k, e);
	if (rc == 0)
		rc = present(c, &a, 7, 2, past, a.v_dim, &a.v, e);
	a.kv_len += past;
	if (rc == 0)
		rc = ms_read_bias(c, &a, 4, 5, e);
	if (rc == 0)
		rc = set_offsets(c, &a, past, e);
	ms_set_scale(c, &a);
	return rc < 0 ? rc : ms_hidden_output(c, &a, e);
}

const struct op ops_ms_attention[] = {
	{MICROSOFT, "Attention", 1, 2, 7, 1, 2, OP_LATE_INPUT_1, 0,
	 infer_attention, eval_attention},
	{MICROSOFT, "MultiHeadAttention", 1, 1, 10, 1, 4, 0, 0,
	 infer_multi_head, eval_multi_head},
	{0},
};
