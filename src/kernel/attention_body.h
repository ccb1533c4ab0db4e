/* SPDX-License-Identifier: MIT */
/*
 * attention_body - what attention.c holds for one type.  REAL is the type, NUM
 * its number, T(f) the name of our function f for it, M(f) that of math.h.
 */
static void T(locate)(const struct T(attention) * a,
		      const struct T(attention_view) * v, size_t group,
		      size_t *at)
{
	for (size_t i = 0; i < a->batch * a->q_heads; i++)
		at[i] = i / a->q_heads * v->batch +
			i % a->q_heads / group * v->head;
}

static void T(probe)(const struct T(attention) * a, int when, size_t row,
		     const REAL *s)
{
	if (a->probe && a->probe_at == when)
		memcpy(a->probe + row * a->kv_len, s, a->kv_len * sizeof(*s));
}

/* Keys [lo, hi) that row i of batch b may see. */
static void T(visible)(const struct T(attention) * a, size_t b, size_t i,
		       size_t *lo, size_t *hi)
{
	int64_t last =
		a->offset ? (int64_t)i + a->offset[b] + 1 : (int64_t)i + 1;
	int64_t n = (int64_t)a->kv_len, first;

	if (a->valid && a->valid[b] < n)
		n = a->valid[b];
	if (!a->causal)
		last = n;
	first = a->causal && a->window > 0 ? last - a->window : 0;
	last = last < 0 ? 0 : last > n ? n : last;
	*hi = last < 0 ? 0 : (size_t)last;
	*lo = first < 0 ? 0 : (size_t)first;
}

/* sink: one more score, which takes its part and is dropped. */
static void T(soften)(REAL *s, size_t n, REAL sink)
{
	REAL max = sink, sum = 0;

	for (size_t j = 0; j < n; j++)
		max = s[j] > max ? s[j] : max;
	if (max == -INFINITY) { /* sees nothing: attends to nothing */
		memset(s, 0, n * sizeof(*s));
		return;
	}
	for (size_t j = 0; j < n; j++) {
		s[j] = M(exp)(s[j] - max);
		sum += s[j];
	}
	sum += M(exp)(sink - max);
	for (size_t j = 0; j < n; j++)
		s[j] /= sum;
}

static void T(score_row)(const struct T(attention) * a, size_t row)
{
	size_t i = row % a->q_len, bh = row / a->q_len;
	size_t b = bh / a->q_heads, h = bh % a->q_heads, lo, hi;
	REAL *s = a->scores + row * a->kv_len;

	T(probe)(a, 0, row, s);
	for (size_t j = 0; j < a->kv_len && a->softcap > 0; j++)
		s[j] = a->softcap * M(tanh)(s[j] / a->softcap);
	T(probe)(a, 1, row, s);
	if (a->bias.p) {
		const REAL *bias = a->bias.p + b * a->bias.batch +
				   h * a->bias.head + i * a->bias.row;

		for (size_t j = 0; j < a->kv_len; j++)
			s[j] = j < a->bias_cols ? s[j] + bias[j] : -INFINITY;
	}
	T(visible)(a, b, i, &lo, &hi);
	for (size_t j = 0; j < a->kv_len; j++) {
		if (j < lo || j >= hi)
			s[j] = -INFINITY;
	}
	T(probe)(a, 2, row, s);
	T(soften)(s, a->kv_len, a->sink ? a->sink[h] : -INFINITY);
	T(probe)(a, 3, row, s);
}

static void T(score_rows)(void *ctx, size_t begin, size_t end)
{
	for (size_t row = begin; row < end; row++)
		T(score_row)(ctx, row);
}

void T(attention_run)(const struct kernel *k, const struct T(attention) * a)
{
	size_t n = a->batch * a->q_heads, group = a->q_heads / a->kv_heads;
	struct gemm g = {.type = NUM,
			 .trans_b = true,
			 .m = a->q_len,
			 .n = a->kv_len,
			 .k = a->dim,
			 .lda = a->q.row,
			 .ldb = a->k.row,
			 .ldc = a->kv_len,
			 .batch = n,
			 .alpha = (double)a->scale,
			 .a_at = a->at,
			 .b_at = a->at + n,
			 .c_step = a->q_len * a->kv_len};

	T(locate)(a, &a->q, 1, a->at);
	T(locate)(a, &a->k, group, a->at + n);
	gemm_run(k, &g, a->q.p, a->k.p, a->scores);
	if (kernel_stopped(k))
		return;
	kernel_for(k, n * a->q_len, 4096 / (a->kv_len + 1) + 1, T(score_rows),
		   (void *)a);
	/* Outputs may be strided: one product a head. */
	T(locate)(a, &a->v, group, a->at + n);
	for (size_t i = 0; i < n; i++)
		a->at[i] = i * g.c_step;
	for (size_t b = 0; b < a->batch && !kernel_stopped(k); b++) {
		size_t first = b * a->q_heads;
		struct gemm o = {.type = NUM,
				 .m = a->q_len,
				 .n = a->v_dim,
				 .k = a->kv_len,
				 .lda = a->kv_len,
				 .ldb = a->v.row,
				 .ldc = a->out_row,
				 .alpha = 1,
				 .batch = a->q_heads,
				 .a_at = a->at + first,
				 .b_at = a->at + n + first,
				 .c_step = a->out_head};

		gemm_run(k, &o, a->scores, a->v.p, a->out + b * a->out_batch);
	}
}
