/* SPDX-License-Identifier: MIT */
/* attention - Attention and RotaryEmbedding. */
#include "op/attention.h"

#include <math.h>

#include "op/impl.h"

struct attention_view attention_heads(const float *p, size_t heads, size_t len,
				      size_t dim)
{
	return (struct attention_view){.p = p,
				       .batch = heads * len * dim,
				       .head = len * dim,
				       .row = dim};
}

struct attention_view attention_hidden(const float *p, size_t heads, size_t len,
				       size_t dim)
{
	return (struct attention_view){.p = p,
				       .batch = heads * len * dim,
				       .head = dim,
				       .row = heads * dim};
}

void attention_append(const float *past, size_t past_len,
		      const struct attention_view *v, const size_t n[4],
		      float *out)
{
	size_t len = n[2], dim = n[3];

	for (size_t i = 0; i < n[0] * n[1] && dim > 0; i++) {
		const float *from =
			v->p + i / n[1] * v->batch + i % n[1] * v->head;

		if (past_len > 0)
			memcpy(out, past + i * past_len * dim,
			       past_len * dim * sizeof(*out));
		out += past_len * dim;
		for (size_t row = 0; row < len; row++, out += dim)
			memcpy(out, from + row * v->row, dim * sizeof(*out));
	}
}

int attention_compute(struct op_call *c, struct attention *a, struct err *e)
{
	struct shape s =
		shape_of(4, (int64_t[]){(int64_t)a->batch, (int64_t)a->q_heads,
					(int64_t)a->q_len, (int64_t)a->kv_len});
	uint64_t n;
	void *p;
	int rc = op_count(c, &s, &n, e);

	if (rc == 0 && (a->q_len > INT32_MAX || a->kv_len > INT32_MAX ||
			a->q.row > INT32_MAX || a->k.row > INT32_MAX ||
			a->v.row > INT32_MAX))
		return op_unsupported(c, e, "matrices of this size");
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(float), &p, e);
	if (rc < 0)
		return rc;
	a->scores = p;
	rc = op_temp_array(c, a->batch * a->q_heads, 3 * sizeof(size_t), &p, e);
	if (rc < 0)
		return rc;
	a->at = p;
	attention_run(&c->env->kernel, a);
	return 0;
}

/* ---- Attention ---- */
/* Extents of an input of rank 3 (hidden) or 4 (heads). */
struct extents {
	size_t batch, heads, len, dim;
	bool hidden;
};

static int read_extents(struct op_call *c, size_t i, const char *attr,
			struct extents *x, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	int64_t heads = op_attr_int(c, attr, 0);
	int rc = op_need_rank(c, i, 3, 4, e);

	if (rc < 0)
		return rc;
	x->hidden = s->rank == 3;
	if (x->hidden && (heads < 1 || s->dims[2] % heads != 0))
		return op_invalid(c, e, "%s %lld", attr, (long long)heads);
	x->batch = (size_t)s->dims[0];
	x->heads = x->hidden ? (size_t)heads : (size_t)s->dims[1];
	x->len = (size_t)s->dims[x->hidden ? 1 : 2];
	x->dim = x->hidden ? (size_t)(s->dims[2] / heads) : (size_t)s->dims[3];
	return 0;
}

static struct attention_view view_of(const struct extents *x, const float *p)
{
	return x->hidden ? attention_hidden(p, x->heads, x->len, x->dim)
			 : attention_heads(p, x->heads, x->len, x->dim);
}

/* Past rows in input i, of [batch][heads][*][dim]; 0 when left out. */
static int past_rows(struct op_call *c, size_t i, const struct extents *x,
		     size_t *rows, struct err *e)
{
	const struct shape *s = op_shape(c, i);

	*rows = 0;
	if (!op_has(c, i))
		return 0;
	if (s->rank != 4 || s->dims[0] != (int64_t)x->batch ||
	    s->dims[1] != (int64_t)x->heads || s->dims[3] != (int64_t)x->dim)
		return op_invalid(c, e, "input %zu does not fit", i);
	*rows = (size_t)s->dims[2];
	return 0;
}

/* Output 0's shape, and the present key's and value's. */
static int attention_shapes(struct op_call *c, struct extents x[3],
			    size_t *past, struct shape s[3], struct err *e)
{
	static const char *const attrs[] = {"q_num_heads", "kv_num_heads",
					    "kv_num_heads"};
	size_t past_v = 0;
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = read_extents(c, i, attrs[i], &x[i], e);
	if (rc == 0)
		rc = past_rows(c, 4, &x[1], past, e);
	if (rc == 0)
		rc = past_rows(c, 5, &x[2], &past_v, e);
	if (rc < 0)
		return rc;
	if (x[0].batch != x[1].batch || x[0].batch != x[2].batch ||
	    x[1].heads != x[2].heads || x[1].len != x[2].len ||
	    x[0].dim != x[1].dim || *past != past_v || x[1].heads == 0 ||
	    x[0].heads % x[1].heads != 0)
		return op_invalid(c, e, "queries, keys and values differ");
	s[0] = *op_shape(c, 0);
	s[0].dims[s[0].rank - 1] = x[0].hidden
					   ? (int64_t)(x[0].heads * x[2].dim)
					   : (int64_t)x[2].dim;
	for (int i = 1; i < 3; i++)
		s[i] = shape_of(4, (int64_t[]){(int64_t)x[i].batch,
					       (int64_t)x[i].heads,
					       (int64_t)(*past + x[i].len),
					       (int64_t)x[i].dim});
	return 0;
}

static bool all_known(const struct op_call *c)
{
	for (size_t i = 0; i < c->nin; i++) {
		if (op_has(c, i) && !shape_is_known(&c->in[i].shape))
			return false;
	}
	return true;
}

static int infer_attention(struct op_call *c, struct err *e)
{
	struct shape s[3], unknown = shape_unknown();
	struct extents x[3];
	size_t past;
	int rc;

	for (size_t i = 0; i < c->nout; i++)
		op_out(c, i, c->in[0].dtype, &unknown);
	if (!all_known(c))
		return 0;
	rc = attention_shapes(c, x, &past, s, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < 3; i++)
		op_out(c, i, c->in[i].dtype, &s[i]);
	s[0] = shape_of(4, (int64_t[]){(int64_t)x[0].batch, (int64_t)x[0].heads,
				       (int64_t)x[0].len,
				       (int64_t)(past + x[1].len)});
	op_out(c, 3, c->in[0].dtype, &s[0]);
	return 0;
}

/* A mask of booleans is 0 where true, else -inf. */
static int read_mask(struct op_call *c, struct attention *a, struct err *e)
{
	const struct shape *s = op_shape(c, 3);
	size_t dims[4] = {1, 1, 1, 1}, steps[4], step = 1;
	const float *v;
	void *p;
	int rc = op_need_rank(c, 3, 1, 4, e);

	if (rc < 0 || !op_has(c, 3))
		return rc;
	rc = op_in_f32(c, 3, &v, e);
	if (rc == 0 && c->in[3].dtype == DTYPE_BOOL) {
		rc = op_temp_array(c, op_nelems(c, 3), sizeof(float), &p, e);
		for (uint64_t i = 0; rc == 0 && i < op_nelems(c, 3); i++)
			((float *)p)[i] = v[i] != 0 ? 0 : -INFINITY;
		v = p;
	}
	if (rc < 0)
		return rc;
	for (int32_t d = 0; d < s->rank; d++)
		dims[4 - s->rank + d] = (size_t)s->dims[d];
	for (int d = 4; d-- > 0;) {
		steps[d] = dims[d] == 1 ? 0 : step;
		step *= dims[d];
	}
	if ((dims[0] != 1 && dims[0] != a->batch) ||
	    (dims[1] != 1 && dims[1] != a->q_heads) ||
	    (dims[2] != 1 && dims[2] != a->q_len) || dims[3] > a->kv_len)
		return op_invalid(c, e, "the mask does not fit");
	a->bias = (struct attention_view){
		.p = v, .batch = steps[0], .head = steps[1], .row = steps[2]};
	a->bias_cols = dims[3];
	return 0;
}

/* Keys of each batch that count; how far queries lag behind the keys. */
static int read_lengths(struct op_call *c, struct attention *a, size_t past,
			struct err *e)
{
	int64_t *offset;
	void *p;
	int rc = op_temp_array(c, a->batch, sizeof(int64_t), &p, e);

	if (rc == 0 && op_has(c, 6)) {
		if (op_nelems(c, 6) != a->batch)
			return op_invalid(c, e, "nonpad_kv_seqlen");
		rc = op_in_i64(c, 6, &a->valid, e);
	}
	if (rc < 0)
		return rc;
	offset = p;
	for (size_t b = 0; b < a->batch; b++) {
		offset[b] = (int64_t)past;
		if (!a->valid)
			continue;
		if (a->valid[b] < 0 || a->valid[b] > (int64_t)a->kv_len)
			return op_invalid(c, e, "%lld keys",
					  (long long)a->valid[b]);
		if (!op_has(c, 4))
			offset[b] = a->valid[b] - (int64_t)a->q_len;
	}
	a->offset = offset;
	return 0;
}

/* Keys or values (i 1 or 2) with the past in front, as output i too. */
static int present(struct op_call *c, size_t i, const struct extents *x,
		   size_t past, const struct shape *s, struct attention_view *v,
		   struct err *e)
{
	const float *rows = NULL;
	void *out;
	int rc = past ? op_in_f32(c, i + 3, &rows, e) : 0;

	if (rc < 0 || (!past && !op_wants(c, i)))
		return rc;
	rc = op_alloc_as(c, i, c->in[i].dtype, DTYPE_F32, s, &out, e);
	if (rc < 0)
		return rc;
	attention_append(rows, past, v,
			 (size_t[]){x->batch, x->heads, x->len, x->dim}, out);
	*v = attention_heads(out, x->heads, past + x->len, x->dim);
	return 0;
}

static void place_output(struct attention *a, const struct extents *x,
			 float *out)
{
	a->out = out;
	a->out_batch = a->q_heads * a->q_len * a->v_dim;
	a->out_head = x->hidden ? a->v_dim : a->q_len * a->v_dim;
	a->out_row = x->hidden ? a->q_heads * a->v_dim : a->v_dim;
}

static int read_attention(struct op_call *c, struct attention *a,
			  struct extents x[3], size_t past,
			  const struct shape s[3], struct err *e)
{
	struct attention_view *views[3] = {&a->q, &a->k, &a->v};
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++) {
		const float *p;

		rc = op_in_f32(c, i, &p, e);
		if (rc == 0)
			*views[i] = view_of(&x[i], p);
		if (rc == 0 && i > 0)
			rc = present(c, i, &x[i], past, &s[i], views[i], e);
	}
	a->batch = x[0].batch;
	a->q_heads = x[0].heads;
	a->kv_heads = x[1].heads;
	a->q_len = x[0].len;
	a->kv_len = past + x[1].len;
	a->dim = x[0].dim;
	a->v_dim = x[2].dim;
	a->scale = op_attr_float(c, "scale", 0);
	if (a->scale == 0)
		a->scale = 1 / sqrtf((float)a->dim);
	a->softcap = op_attr_float(c, "softcap", 0);
	a->causal = op_attr_int(c, "is_causal", 0) != 0;
	if (rc == 0)
		rc = read_mask(c, a, e);
	return rc == 0 ? read_lengths(c, a, past, e) : rc;
}

static int eval_attention(struct op_call *c, struct err *e)
{
	struct attention a = {
		.probe_at = (int)op_attr_int(c, "qk_matmul_output_mode", 0)};
	struct shape s[3], qk;
	struct extents x[3];
	size_t past;
	void *out, *probe = NULL;
	int rc = attention_shapes(c, x, &past, s, e);

	if (rc == 0)
		rc = read_attention(c, &a, x, past, s, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32, &s[0], &out,
				 e);
	if (rc == 0 && op_wants(c, 3)) {
		qk = shape_of(4,
			      (int64_t[]){(int64_t)a.batch, (int64_t)a.q_heads,
					  (int64_t)a.q_len, (int64_t)a.kv_len});
		rc = op_alloc_as(c, 3, c->in[0].dtype, DTYPE_F32, &qk, &probe,
				 e);
	}
	if (rc < 0)
		return rc;
	a.probe = probe;
	place_output(&a, &x[0], out);
	return attention_compute(c, &a, e);
}

/* ---- RotaryEmbedding ---- */
static int rotary_rows(struct op_call *c, struct rotary *r, struct err *e)
{
	const struct shape *cos = op_shape(c, 1);
	int64_t half = (int64_t)(r->dim / 2), *rows;
	const int64_t *given;
	void *p;
	int rc;

	if (!shape_equal(cos, op_shape(c, 2)) || cos->rank < 2 ||
	    cos->dims[cos->rank - 1] != half)
		return op_invalid(c, e, "the caches do not fit");
	if (op_has(c, 3)) {
		if (op_nelems(c, 3) != r->batch * r->len || cos->rank != 2)
			return op_invalid(c, e, "position_ids");
		rc = op_indices(c, 3, cos->dims[0], &given, e);
		r->rows = given;
		return rc;
	}
	if (op_nelems(c, 1) != r->batch * r->len * (uint64_t)half)
		return op_invalid(c, e, "the caches do not fit");
	rc = op_temp_array(c, r->batch * r->len, sizeof(int64_t), &p, e);
	if (rc < 0)
		return rc;
	rows = p;
	for (size_t i = 0; i < r->batch * r->len; i++)
		rows[i] = (int64_t)i;
	r->rows = rows;
	return 0;
}

static int eval_rotary(struct op_call *c, struct err *e)
{
	int64_t dim = op_attr_int(c, "rotary_embedding_dim", 0);
	struct rotary r = {.interleaved =
				   op_attr_int(c, "interleaved", 0) != 0};
	struct attention_view v;
	struct extents x;
	const float *in;
	void *out;
	int rc = read_extents(c, 0, "num_heads", &x, e);

	if (rc < 0)
		return rc;
	if (dim < 0 || (uint64_t)dim > x.dim || x.dim % 2 || dim % 2)
		return op_invalid(c, e, "rotary_embedding_dim");
	r.batch = x.batch;
	r.heads = x.heads;
	r.len = x.len;
	r.head_dim = x.dim;
	r.dim = dim ? (size_t)dim : x.dim;
	rc = rotary_rows(c, &r, e);
	if (rc == 0)
		rc = op_in_f32(c, 0, &in, e);
	if (rc == 0)
		rc = op_in_f32(c, 1, &r.cos, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &r.sin, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32,
				 op_shape(c, 0), &out, e);
	if (rc < 0)
		return rc;
	v = view_of(&x, in);
	r.step_batch = v.batch;
	r.step_head = v.head;
	r.step_row = v.row;
	attention_rotate(&c->env->kernel, &r, in, out);
	return 0;
}

const struct op ops_attention[] = {
	{ONNX, "Attention", 23, 3, 7, 1, 4, 0, 0, infer_attention,
	 eval_attention},
	{ONNX, "RotaryEmbedding", 23, 3, 4, 1, 1, 0, 0, infer_same,
	 eval_rotary},
	{0},
};
