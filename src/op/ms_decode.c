/* SPDX-License-Identifier: MIT */
/*
 * ms_decode - com.microsoft: attention of one more token, whose keys and
 * values go into a buffer of all that were: DecoderMaskedMultiHeadAttention,
 * and MultiHeadAttention with past_sequence_length.
 */
#include "op/impl.h"
#include "op/ms_attention.h"

/* Which input is what. */
struct places {
	size_t bias, mask, add, past_k, past_v, past_len, beam, indirection;
	size_t scores; /* an output */
};

static const struct places decoder = {
	.bias = 10,
	.mask = 3,
	.add = 4,
	.past_k = 5,
	.past_v = 6,
	.past_len = 7,
	.beam = 8,
	.indirection = 9,
	.scores = 3,
};

static const struct places multi_head = {
	.bias = 3,
	.mask = 4,
	.add = 5,
	.past_k = 6,
	.past_v = 7,
	.past_len = 8,
	.beam = SIZE_MAX,
	.indirection = 9,
	.scores = 3,
};

struct decode {
	const struct places *at;
	struct attention a;
	size_t past;   /* rows that count */
	size_t room;   /* rows of the buffers */
	bool in_place; /* the past's buffer has room for the new ones */
	bool is_cross;
};

/* Adds a part of the bias to [batch][len][width] rows, in a copy. */
static int add_bias(struct op_call *c, const struct decode *d, size_t from,
		    size_t width, const float **p, size_t rows, struct err *e)
{
	const float *bias;
	float *out = NULL;
	int rc = op_in_f32(c, d->at->bias, &bias, e);

	if (rc == 0 && !bias)
		return 0;
	if (rc == 0 && op_nelems(c, d->at->bias) < from + width)
		return op_invalid(c, e, "the bias does not fit");
	if (rc == 0)
		rc = ms_floats(c, (uint64_t)rows * width, &out, e);
	for (size_t k = 0; rc == 0 && k < rows * width; k++)
		out[k] = (*p)[k] + bias[from + k % width];
	if (rc == 0)
		*p = out;
	return rc;
}

static int read_query(struct op_call *c, struct decode *d, struct err *e)
{
	const struct shape *q = op_shape(c, 0);
	struct attention *a = &d->a;
	size_t hidden;
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc == 0)
		rc = ms_head_count(c, "num_heads", &a->q_heads, e);
	if (rc < 0)
		return rc;
	if (!op_has(c, 1) || !op_has(c, 2))
		return op_unsupported(c, e, "packed queries, keys and values");
	if (q->dims[2] % (int64_t)a->q_heads)
		return op_invalid(c, e, "%zu heads do not fit", a->q_heads);
	hidden = (size_t)q->dims[2];
	a->kv_heads = a->q_heads;
	a->batch = (size_t)q->dims[0];
	a->q_len = (size_t)q->dims[1];
	a->dim = hidden / a->q_heads;
	rc = op_in_f32(c, 0, &a->q.p, e);
	if (rc == 0)
		rc = add_bias(c, d, 0, hidden, &a->q.p, a->batch * a->q_len, e);
	a->q = attention_hidden(a->q.p, a->q_heads, a->q_len, a->dim);
	return rc;
}

/* Keys or values of another sequence, with heads already. */
static int read_cross(struct op_call *c, struct decode *d, size_t i,
		      struct attention_view *v, size_t *dim, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	const float *p;
	int rc = op_in_f32(c, i, &p, e);

	if (rc < 0)
		return rc;
	if (s->rank != 4 || s->dims[0] != (int64_t)d->a.batch ||
	    s->dims[1] != (int64_t)d->a.q_heads ||
	    (i == 2 && s->dims[2] != (int64_t)d->a.kv_len))
		return op_invalid(c, e, "input %zu does not fit", i);
	d->a.kv_len = (size_t)s->dims[2];
	*dim = (size_t)s->dims[3];
	*v = attention_heads(p, d->a.q_heads, d->a.kv_len, *dim);
	return 0;
}

/*
 * The rows each beam goes back to: position j of batch b is row j of batch
 * (b / beam) * beam + indirection[b][j].
 */
static int follow_beams(struct op_call *c, const struct decode *d,
			struct attention_view *v, size_t dim, struct err *e)
{
	const struct attention *a = &d->a;
	const struct shape *s = op_shape(c, d->at->indirection);
	const int64_t *from;
	size_t beam, cols;
	float *out = NULL;
	int rc;

	if (!op_has(c, d->at->indirection) || s->rank != 3 || s->dims[1] <= 1)
		return 0;
	beam = (size_t)s->dims[1];
	cols = (size_t)s->dims[2];
	if ((uint64_t)s->dims[0] * beam != a->batch || cols < d->past)
		return op_invalid(c, e, "cache_indirection does not fit");
	rc = op_in_i64(c, d->at->indirection, &from, e);
	if (rc == 0)
		rc = ms_floats(c,
			       (uint64_t)a->batch * a->q_heads * d->room * dim,
			       &out, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < a->batch * a->q_heads * a->kv_len; i++) {
		size_t j = i % a->kv_len, h = i / a->kv_len % a->q_heads;
		size_t b = i / a->kv_len / a->q_heads, to = b;

		if (j < d->past) {
			int64_t k = from[b * cols + j];

			if (k < 0 || k >= (int64_t)beam)
				return op_invalid(c, e, "beam %lld",
						  (long long)k);
			to = b / beam * beam + (size_t)k;
		}
		memcpy(out + ((b * a->q_heads + h) * d->room + j) * dim,
		       v->p + to * v->batch + h * v->head + j * v->row,
		       dim * sizeof(float));
	}
	*v = attention_heads(out, a->q_heads, d->room, dim);
	return 0;
}

/* Output o: the past in input `past`, and input i behind it. */
static int append(struct op_call *c, struct decode *d, size_t i, size_t past,
		  size_t o, size_t from, struct attention_view *v, size_t *dim,
		  struct err *e)
{
	const struct shape *s = op_shape(c, i), *p = op_shape(c, past);
	struct attention *a = &d->a;
	const float *rows = NULL, *fresh;
	struct shape shape;
	size_t width, len;
	float *to;
	void *out;
	int rc = op_need_rank(c, i, 3, 3, e);

	if (rc < 0)
		return rc;
	if (s->dims[0] != (int64_t)a->batch ||
	    s->dims[1] != (int64_t)a->q_len || s->dims[2] % (int64_t)a->q_heads)
		return op_invalid(c, e, "input %zu does not fit", i);
	width = (size_t)s->dims[2];
	*dim = width / a->q_heads;
	len = op_has(c, past) && p->rank == 4 ? (size_t)p->dims[2] : 0;
	if (op_has(c, past) && (p->rank != 4 || p->dims[0] != s->dims[0] ||
				p->dims[1] != (int64_t)a->q_heads ||
				p->dims[3] != (int64_t)*dim || len < d->past))
		return op_invalid(c, e, "the past does not fit");
	d->room = d->in_place ? len : d->past + a->q_len;
	if (d->room < d->past + a->q_len)
		return op_invalid(c, e, "no room behind the past");
	shape = shape_of(4, (int64_t[]){(int64_t)a->batch, (int64_t)a->q_heads,
					(int64_t)d->room, (int64_t)*dim});
	rc = op_in_f32(c, i, &fresh, e);
	if (rc == 0)
		rc = add_bias(c, d, from, width, &fresh, a->batch * a->q_len,
			      e);
	if (rc == 0 && op_has(c, past))
		rc = op_in_f32(c, past, &rows, e);
	if (rc == 0)
		rc = op_alloc_as(c, o, c->in[0].dtype, DTYPE_F32, &shape, &out,
				 e);
	if (rc < 0)
		return rc;
	to = out;
	for (size_t bh = 0; bh < a->batch * a->q_heads; bh++) {
		size_t b = bh / a->q_heads, h = bh % a->q_heads;
		float *head = to + bh * d->room * *dim;
		size_t keep = d->in_place ? len : d->past;

		if (rows)
			memcpy(head, rows + bh * len * *dim,
			       keep * *dim * sizeof(*head));
		for (size_t t = 0; t < a->q_len; t++)
			memcpy(head + (d->past + t) * *dim,
			       fresh + (b * a->q_len + t) * width + h * *dim,
			       *dim * sizeof(*head));
	}
	a->kv_len = d->past + a->q_len;
	*v = attention_heads(to, a->q_heads, d->room, *dim);
	return follow_beams(c, d, v, *dim, e);
}

static int read_past(struct op_call *c, struct decode *d, struct err *e)
{
	const struct shape *p = op_shape(c, d->at->past_k);
	int64_t past = 0;
	int rc;

	d->is_cross = op_shape(c, 1)->rank == 4;
	d->in_place = d->at == &multi_head ||
		      op_attr_int(c, "past_present_share_buffer", 0) != 0;
	if (!op_has(c, d->at->past_k) || p->rank != 4)
		return 0;
	if (!d->in_place) {
		d->past = (size_t)p->dims[2];
		return 0;
	}
	rc = op_scalar_int(c, d->at->past_len, 0, &past, e);
	if (rc == 0 && (past < 0 || past > p->dims[2]))
		return op_invalid(c, e, "a past of %lld", (long long)past);
	d->past = (size_t)past;
	return rc;
}

static int read_memory(struct op_call *c, struct decode *d, struct err *e)
{
	struct attention *a = &d->a;
	size_t hidden = a->q_heads * a->dim, k_dim = 0;
	int rc;

	if (d->is_cross) {
		rc = read_cross(c, d, 1, &a->k, &k_dim, e);
		if (rc == 0)
			rc = read_cross(c, d, 2, &a->v, &a->v_dim, e);
	} else {
		rc = append(c, d, 1, d->at->past_k, 1, hidden, &a->k, &k_dim,
			    e);
		if (rc == 0)
			rc = append(c, d, 2, d->at->past_v, 2, 2 * hidden,
				    &a->v, &a->v_dim, e);
	}
	if (rc == 0 && k_dim != a->dim)
		return op_invalid(c, e, "keys do not fit");
	return rc;
}

/* Output 3: the scores, or what became of them. */
static int want_scores(struct op_call *c, struct decode *d, struct err *e)
{
	struct attention *a = &d->a;
	struct shape s =
		shape_of(4, (int64_t[]){(int64_t)a->batch, (int64_t)a->q_heads,
					(int64_t)a->q_len, (int64_t)a->kv_len});
	void *out;
	int rc;

	if (!op_wants(c, d->at->scores))
		return 0;
	rc = op_alloc_as(c, d->at->scores, c->in[0].dtype, DTYPE_F32, &s, &out,
			 e);
	a->probe = out;
	a->probe_at = 0;
	return rc;
}

static int decode(struct op_call *c, const struct places *at, struct err *e)
{
	struct decode d = {.at = at};
	struct attention *a = &d.a;
	void *p;
	int rc = read_query(c, &d, e);

	if (rc == 0)
		rc = read_past(c, &d, e);
	if (rc == 0)
		rc = read_memory(c, &d, e);
	if (rc == 0)
		rc = ms_read_bias(c, a, at->mask, at->add, e);
	if (rc == 0)
		rc = want_scores(c, &d, e);
	if (rc == 0)
		rc = op_temp_array(c, a->batch, sizeof(int64_t), &p, e);
	if (rc < 0)
		return rc;
	for (size_t b = 0; b < a->batch; b++)
		((int64_t *)p)[b] = (int64_t)d.past;
	a->offset = p;
	a->causal = !d.is_cross &&
		    op_attr_int(c, "unidirectional", at == &decoder) != 0;
	ms_set_scale(c, a);
	return ms_hidden_output(c, a, e);
}

int ms_decode_multi_head(struct op_call *c, struct err *e)
{
	return decode(c, &multi_head, e);
}

static int eval_decoder(struct op_call *c, struct err *e)
{
	return decode(c, &decoder, e);
}

static int infer_decoder(struct op_call *c, struct err *e)
{
	const struct shape *q = op_shape(c, 0), *v = op_shape(c, 2);
	struct shape s = *q;

	(void)e;
	if (q->rank != 3)
		return 0;
	s.dims[2] = v->rank == 3 ? v->dims[2] : DIM_UNKNOWN;
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

const struct op ops_ms_decode[] = {
	{MICROSOFT, "DecoderMaskedMultiHeadAttention", 1, 1, 11, 1, 4, 0, 0,
	 infer_decoder, eval_decoder},
	{0},
};
