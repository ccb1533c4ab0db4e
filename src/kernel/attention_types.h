/* SPDX-License-Identifier: MIT */
/* attention_types - attention.h for one type, REAL; T(f) is f's name for it. */
/* How far apart batches, heads and rows are, in elements. */
struct T(attention_view) {
	const REAL *p;
	size_t batch, head, row;
};

struct T(attention) {
	size_t batch, q_heads, kv_heads; /* kv_heads divides q_heads */
	size_t q_len, kv_len, dim, v_dim;
	struct T(attention_view) q, k, v;
	REAL *out;
	size_t out_batch, out_head, out_row;
	REAL scale, softcap; /* softcap 0: none */
	/* Added to scores; columns beyond bias_cols are masked. */
	struct T(attention_view) bias; /* p NULL: none */
	size_t bias_cols;
	const int64_t *valid;  /* keys of each batch, or NULL: all */
	const int64_t *offset; /* causal: row i sees keys <= i + offset[b] */
	int64_t window;	       /* causal: and no older than that; 0: all */
	bool causal;
	/* Of each query head, the score of a key without a value; or NULL. */
	const REAL *sink;
	REAL *scores; /* [batch][q_heads][q_len][kv_len] */
	/* A copy of the scores: raw, after softcap, after bias, softmaxed. */
	REAL *probe;  /* or NULL */
	int probe_at; /* 0 … 3 */
	size_t *at;   /* room for 3 * batch * q_heads */
};

void T(attention_run)(const struct kernel *k, const struct T(attention) * a);
