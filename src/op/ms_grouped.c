/* SPDX-License-Identifier: MIT */
/*
 * ms_grouped - com.microsoft: GroupQueryAttention, whose keys and values are
 * written into a cache.
 */
#include "op/impl.h"
#include "op/ms_attention.h"

struct grouped {
	struct attention a;
	size_t past;	      /* rows of the buffers given */
	const int64_t *total; /* keys of each batch, new ones included */
	int64_t *first;	      /* where the new ones go */
	float *rotated[2];
};

/* Rotates queries or keys in a copy, by their places. */
static int rotate(struct op_call *c, struct grouped *g, size_t heads,
		  struct attention_view *v, struct err *e)
{
	struct attention *a = &g->a;
	const struct shape *cos = op_shape(c, 7);
	struct rotary r = {.batch = a->batch,
			   .heads = heads,
			   .len = a->q_len,
			   .head_dim = a->dim};
	const int64_t *places = NULL;
	int64_t *rows;
	float *out = NULL;
	void *p;
	int rc;

	if (cos->rank != 2 || !shape_equal(cos, op_shape(c, 8)) ||
	    2 * cos->dims[1] > (int64_t)a->dim)
		return op_invalid(c, e, "the caches do not fit");
	r.dim = 2 * (size_t)cos->dims[1];
	r.interleaved = op_attr_int(c, "rotary_interleaved", 0) != 0;
	if (op_has(c, 9) && op_nelems(c, 9) != a->batch * a->q_len)
		return op_invalid(c, e, "position_ids do not fit");
	rc = op_temp_array(c, a->batch * a->q_len, sizeof(*rows), &p, e);
	if (rc == 0)
		rc = op_in_i64(c, 9, &places, e);
	if (rc == 0)
		rc = ms_floats(c, (uint64_t)a->batch * a->q_len * v->row, &out,
			       e);
	if (rc == 0)
		rc = op_in_f32(c, 7, &r.cos, e);
	if (rc == 0)
		rc = op_in_f32(c, 8, &r.sin, e);
	if (rc < 0)
		return rc;
	rows = p;
	for (size_t i = 0; i < a->batch * a->q_len; i++) {
		rows[i] = places ? places[i]
				 : g->first[i / a->q_len] +
					   (int64_t)(i % a->q_len);
		if (rows[i] < 0 || rows[i] >= cos->dims[0])
			return op_invalid(c, e, "position %lld",
					  (long long)rows[i]);
	}
	r.rows = rows;
	r.step_batch = v->batch;
	r.step_head = v->head;
	r.step_row = v->row;
	attention_rotate(&c->env->kernel, &r, v->p, out);
	v->p = out;
	return 0;
}

/* Output o: the past's buffer with the new rows put in their places. */
static int fill_buffer(struct op_call *c, struct grouped *g, size_t i, size_t o,
		       struct attention_view *v, struct err *e)
{
	struct attention *a = &g->a;
	const struct shape *p = op_shape(c, i);
	struct shape s =
		shape_of(4, (int64_t[]){(int64_t)a->batch, (int64_t)a->kv_heads,
					(int64_t)a->kv_len, (int64_t)a->dim});
	const float *rows;
	float *to;
	void *out;
	int rc = op_in_f32(c, i, &rows, e);

	if (op_has(c, i) &&
	    (p->rank != 4 || p->dims[0] != s.dims[0] ||
	     p->dims[1] != s.dims[1] || p->dims[2] != (int64_t)g->past ||
	     p->dims[3] != s.dims[3]))
		return op_invalid(c, e, "the past does not fit");
	if (rc == 0)
		rc = op_alloc_as(c, o, c->in[0].dtype, DTYPE_F32, &s, &out, e);
	if (rc < 0)
		return rc;
	to = out;
	for (size_t bh = 0; bh < a->batch * a->kv_heads; bh++) {
		size_t b = bh / a->kv_heads, h = bh % a->kv_heads;
		float *head = to + bh * a->kv_len * a->dim;

		if (rows)
			memcpy(head, rows + bh * g->past * a->dim,
			       g->past * a->dim * sizeof(*head));
		for (size_t t = 0; t < a->q_len; t++)
			memcpy(head + ((size_t)g->first[b] + t) * a->dim,
			       v->p + b * v->batch + h * v->head + t * v->row,
			       a->dim * sizeof(*head));
	}
	*v = attention_heads(to, a->kv_heads, a->kv_len, a->dim);
	return 0;
}

static int grouped_views(struct op_call *c, struct grouped *g, struct err *e)
{
	const struct shape *q = op_shape(c, 0), *k = op_shape(c, 1);
	struct attention *a = &g->a;
	int64_t heads = (int64_t)(a->q_heads + 2 * a->kv_heads);
	bool packed = !op_has(c, 1);
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc < 0)
		return rc;
	heads = packed ? heads : (int64_t)a->q_heads;
	if (q->dims[2] % heads != 0 || a->q_heads % a->kv_heads != 0)
		return op_invalid(c, e, "the queries do not fit");
	a->batch = (size_t)q->dims[0];
	a->q_len = (size_t)q->dims[1];
	a->dim = a->v_dim = (size_t)(q->dims[2] / heads);
	rc = op_in_f32(c, 0, &a->q.p, e);
	if (rc < 0)
		return rc;
	a->q = attention_hidden(a->q.p, (size_t)heads, a->q_len, a->dim);
	if (packed) {
		a->k = a->v = a->q;
		a->k.p += a->q_heads * a->dim;
		a->v.p += (a->q_heads + a->kv_heads) * a->dim;
		return 0;
	}
	if (!op_has(c, 2) || !shape_equal(k, op_shape(c, 2)) || k->rank != 3 ||
	    k->dims[0] != q->dims[0] || k->dims[1] != q->dims[1] ||
	    k->dims[2] != (int64_t)(a->kv_heads * a->dim))
		return op_invalid(c, e, "keys or values do not fit");
	rc = op_in_f32(c, 1, &a->k.p, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &a->v.p, e);
	a->k = attention_hidden(a->k.p, a->kv_heads, a->q_len, a->dim);
	a->v = attention_hidden(a->v.p, a->kv_heads, a->q_len, a->dim);
	return rc;
}

/* How many keys each batch has; the buffers hold at least the longest. */
static int grouped_lengths(struct op_call *c, struct grouped *g, struct err *e)
{
	struct attention *a = &g->a;
	const int64_t *last;
	int64_t *total, all;
	void *p;
	int rc = op_in_i64(c, 5, &last, e);

	if (rc == 0)
		rc = op_scalar_int(c, 6, 0, &all, e);
	if (rc == 0 &&
	    (op_nelems(c, 5) != a->batch || all < 0 || all > INT32_MAX))
		return op_invalid(c, e, "seqlens_k");
	if (rc == 0)
		rc = op_temp_array(c, a->batch, 2 * sizeof(int64_t), &p, e);
	if (rc < 0)
		return rc;
	if (op_has(c, 3) && op_shape(c, 3)->rank == 4)
		g->past = (size_t)op_shape(c, 3)->dims[2];
	a->kv_len = g->past > (size_t)all ? g->past : (size_t)all;
	total = p;
	g->first = total + a->batch;
	for (size_t b = 0; b < a->batch; b++) {
		total[b] = last[b] < INT32_MAX ? last[b] + 1 : INT32_MAX;
		g->first[b] = total[b] - (int64_t)a->q_len;
		if (g->first[b] < 0) /* a prompt shorter than the batch's */
			g->first[b] = 0;
		if (total[b] < 0 || total[b] > (int64_t)a->kv_len ||
		    g->first[b] + (int64_t)a->q_len > (int64_t)a->kv_len)
			return op_invalid(c, e, "%lld keys",
					  (long long)total[b]);
	}
	a->valid = total;
	a->offset = g->first;
	return 0;
}

static int infer_grouped(struct op_call *c, struct err *e)
{
	const struct shape *q = op_shape(c, 0);
	int64_t heads = op_attr_int(c, "num_heads", 0);
	int64_t all = heads + 2 * op_attr_int(c, "kv_num_heads", 0);
	struct shape s = shape_unknown();
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < c->nout; i++)
		op_out(c, i, c->in[0].dtype, &s);
	if (q->rank != 3)
		return 0;
	s = *q;
	if (!op_has(c, 1) && s.dims[2] != DIM_UNKNOWN)
		s.dims[2] = heads > 0 && heads < INT32_MAX && all >= heads &&
					    all < INT32_MAX
				    ? s.dims[2] / all * heads
				    : DIM_UNKNOWN;
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

/* head_sink has a score for each head; a smooth softmax takes 0 for all. */
static int read_sink(struct op_call *c, struct attention *a, struct err *e)
{
	float *zeros = NULL;
	int rc;

	if (op_has(c, 11)) {
		if (op_nelems(c, 11) != a->q_heads)
			return op_invalid(c, e, "head_sink does not fit");
		return op_in_f32(c, 11, &a->sink, e);
	}
	if (op_attr_int(c, "smooth_softmax", 0) <= 0)
		return 0;
	rc = ms_floats(c, a->q_heads, &zeros, e);
	for (size_t h = 0; rc == 0 && h < a->q_heads; h++)
		zeros[h] = 0;
	a->sink = zeros;
	return rc;
}

static int eval_grouped(struct op_call *c, struct err *e)
{
	struct grouped g = {0};
	struct attention *a = &g.a;
	int64_t window = op_attr_int(c, "local_window_size", -1);
	int rc = ms_head_count(c, "num_heads", &a->q_heads, e);

	if (rc == 0)
		rc = ms_head_count(c, "kv_num_heads", &a->kv_heads, e);
	if (rc == 0)
		rc = grouped_views(c, &g, e);
	if (rc == 0)
		rc = grouped_lengths(c, &g, e);
	if (rc == 0 && op_attr_int(c, "do_rotary", 0)) {
		rc = rotate(c, &g, a->q_heads, &a->q, e);
		if (rc == 0)
			rc = rotate(c, &g, a->kv_heads, &a->k, e);
	}
	if (rc == 0)
		rc = fill_buffer(c, &g, 3, 1, &a->k, e);
	if (rc == 0)
		rc = fill_buffer(c, &g, 4, 2, &a->v, e);
	if (rc == 0)
		rc = ms_read_bias(c, a, SIZE_MAX, 10, e);
	if (rc == 0)
		rc = read_sink(c, a, e);
	if (rc < 0)
		return rc;
	a->causal = true;
	a->window = window > 0 ? window : 0;
	a->softcap = op_attr_float(c, "softcap", 0);
	ms_set_scale(c, a);
	return ms_hidden_output(c, a, e);
}

const struct op ops_ms_grouped[] = {
	{MICROSOFT, "GroupQueryAttention", 1, 1, 12, 1, 3, 0, 0, infer_grouped,
	 eval_grouped},
	{0},
};
