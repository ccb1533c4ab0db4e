/* SPDX-License-Identifier: MIT */
/*
 * attention_body - the computing part of attention.c for one type.  REAL is the
 * type, DTYPE its name, T(f) the name of f for it, M(f) that of math.h, EXPORT
 * what a function that attention.h declares begins with.
 */
/* Input i in this type; NULL when left out. */
static int T(input)(struct op_call *c, size_t i, const REAL **out,
		    struct err *e)
{
	const void *p = NULL;
	int rc = op_data_as(c, i, DTYPE, &p, e);

	*out = p;
	return rc;
}

EXPORT struct T(attention_view)
	T(attention_heads)(const REAL *p, size_t heads, size_t len, size_t dim)
{
	return (struct T(attention_view)){.p = p,
					  .batch = heads * len * dim,
					  .head = len * dim,
					  .row = dim};
}

EXPORT struct T(attention_view)
	T(attention_hidden)(const REAL *p, size_t heads, size_t len, size_t dim)
{
	return (struct T(attention_view)){.p = p,
					  .batch = heads * len * dim,
					  .head = dim,
					  .row = heads * dim};
}

EXPORT void T(attention_append)(const REAL *past, size_t past_len,
				const struct T(attention_view) * v,
				const size_t n[4], REAL *out)
{
	size_t len = n[2], dim = n[3];

	for (size_t i = 0; i < n[0] * n[1] && dim > 0; i++) {
		const REAL *from =
			v->p + i / n[1] * v->batch + i % n[1] * v->head;

		if (past_len > 0)
			memcpy(out, past + i * past_len * dim,
			       past_len * dim * sizeof(*out));
		out += past_len * dim;
		for (size_t row = 0; row < len; row++, out += dim)
			memcpy(out, from + row * v->row, dim * sizeof(*out));
	}
}

EXPORT int T(attention_compute)(struct op_call *c, struct T(attention) * a,
				struct err *e)
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
		rc = op_temp_array(c, n, sizeof(REAL), &p, e);
	if (rc < 0)
		return rc;
	a->scores = p;
	rc = op_temp_array(c, a->batch * a->q_heads, 3 * sizeof(size_t), &p, e);
	if (rc < 0)
		return rc;
	a->at = p;
	T(attention_run)(&c->env->kernel, a);
	return 0;
}

static struct T(attention_view)
	T(view_of)(const struct extents *x, const REAL *p)
{
	return x->hidden ? T(attention_hidden)(p, x->heads, x->len, x->dim)
			 : T(attention_heads)(p, x->heads, x->len, x->dim);
}

/* A mask of booleans is 0 where true, else -inf. */
static int T(read_mask)(struct op_call *c, struct T(attention) * a,
			struct err *e)
{
	const struct shape *s = op_shape(c, 3);
	size_t dims[4] = {1, 1, 1, 1}, steps[4], step = 1;
	const REAL *v;
	void *p;
	int rc = op_need_rank(c, 3, 1, 4, e);

	if (rc < 0 || !op_has(c, 3))
		return rc;
	rc = T(input)(c, 3, &v, e);
	if (rc == 0 && c->in[3].dtype == DTYPE_BOOL) {
		rc = op_temp_array(c, op_nelems(c, 3), sizeof(REAL), &p, e);
		for (uint64_t i = 0; rc == 0 && i < op_nelems(c, 3); i++)
			((REAL *)p)[i] = v[i] != 0 ? 0 : -INFINITY;
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
	a->bias = (struct T(attention_view)){
		.p = v, .batch = steps[0], .head = steps[1], .row = steps[2]};
	a->bias_cols = dims[3];
	return 0;
}

/* Keys of each batch that count; how far queries lag behind the keys. */
static int T(read_lengths)(struct op_call *c, struct T(attention) * a,
			   size_t past, struct err *e)
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
static int T(present)(struct op_call *c, size_t i, const struct extents *x,
		      size_t past, const struct shape *s,
		      struct T(attention_view) * v, struct err *e)
{
	const REAL *rows = NULL;
	void *out;
	int rc = past ? T(input)(c, i + 3, &rows, e) : 0;

	if (rc < 0 || (!past && !op_wants(c, i)))
		return rc;
	rc = op_alloc_as(c, i, c->in[i].dtype, DTYPE, s, &out, e);
	if (rc < 0)
		return rc;
	T(attention_append)
	(rows, past, v, (size_t[]){x->batch, x->heads, x->len, x->dim}, out);
	*v = T(attention_heads)(out, x->heads, past + x->len, x->dim);
	return 0;
}

static void T(place_output)(struct T(attention) * a, const struct extents *x,
			    REAL *out)
{
	a->out = out;
	a->out_batch = a->q_heads * a->q_len * a->v_dim;
	a->out_head = x->hidden ? a->v_dim : a->q_len * a->v_dim;
	a->out_row = x->hidden ? a->q_heads * a->v_dim : a->v_dim;
}

static int T(read_attention)(struct op_call *c, struct T(attention) * a,
			     struct extents x[3], size_t past,
			     const struct shape s[3], struct err *e)
{
	struct T(attention_view) * views[3] = {&a->q, &a->k, &a->v};
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++) {
		const REAL *p;

		rc = T(input)(c, i, &p, e);
		if (rc == 0)
			*views[i] = T(view_of)(&x[i], p);
		if (rc == 0 && i > 0)
			rc = T(present)(c, i, &x[i], past, &s[i], views[i], e);
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
		a->scale = 1 / M(sqrt)((REAL)a->dim);
	a->softcap = op_attr_float(c, "softcap", 0);
	a->causal = op_attr_int(c, "is_causal", 0) != 0;
	if (rc == 0)
		rc = T(read_mask)(c, a, e);
	return rc == 0 ? T(read_lengths)(c, a, past, e) : rc;
}

static int T(eval_attention)(struct op_call *c, struct err *e)
{
	struct T(attention) a = {
		.probe_at = (int)op_attr_int(c, "qk_matmul_output_mode", 0)};
	struct shape s[3], qk;
	struct extents x[3];
	size_t past;
	void *out, *probe = NULL;
	int rc = attention_shapes(c, x, &past, s, e);

	if (rc == 0)
		rc = T(read_attention)(c, &a, x, past, s, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE, &s[0], &out, e);
	if (rc == 0 && op_wants(c, 3)) {
		qk = shape_of(4,
			      (int64_t[]){(int64_t)a.batch, (int64_t)a.q_heads,
					  (int64_t)a.q_len, (int64_t)a.kv_len});
		rc = op_alloc_as(c, 3, c->in[0].dtype, DTYPE, &qk, &probe, e);
	}
	if (rc < 0)
		return rc;
	a.probe = probe;
	T(place_output)(&a, &x[0], out);
	return T(attention_compute)(c, &a, e);
}
