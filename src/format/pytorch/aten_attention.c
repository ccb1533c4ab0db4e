/* SPDX-License-Identifier: MIT */
/* aten_attention - softmax(q · kᵀ) · v in steps; see aten.h. */
#include <math.h>

#include "modelfs/err.h"

#include "format/pytorch/aten.h"

struct attention {
	value_id q, k, v, mask;
	double scale;
	bool is_causal;
};

/* What is added to the scores: 0, or minus infinity where not allowed. */
static int mask_scores(struct aten *k, const struct attention *x, enum dtype t,
		       value_id *scores, struct err *e)
{
	value_id mask = x->mask, zero, in[3], lowest = NO_VALUE;
	struct step n = {.what = "mask", .type = "Where", .in = in, .nin = 3};
	int rc = 0;

	if (mask == NO_VALUE)
		return 0;
	if (aten_dtype(k, mask) == DTYPE_BOOL) {
		rc = aten_number(k, "zero", 0, t, &zero, e);
		if (rc == 0)
			rc = aten_number(k, "lowest", -INFINITY, t, &lowest, e);
		in[0] = mask;
		in[1] = zero;
		in[2] = lowest;
		if (rc == 0)
			rc = aten_step(k, &n, &mask, e);
	}
	return rc < 0 ? rc
		      : aten_make(k, "masked", "Add", *scores, mask, scores, e);
}

/* No query looks at what comes after it: the upper triangle. */
static int mask_future(struct aten *k, const struct attention *x, enum dtype t,
		       value_id *scores, struct err *e)
{
	const struct shape *q = aten_shape(k, x->q), *key = aten_shape(k, x->k);
	int64_t dims[2];
	struct attr upper = attr_set_int("upper", 1);
	value_id in[2], shape;
	struct step n = {.what = "future",
			 .type = "Trilu",
			 .opset = 14,
			 .in = in,
			 .nin = 2,
			 .attrs = &upper,
			 .nattrs = 1};
	int rc;

	if (!x->is_causal)
		return 0;
	dims[0] = q->dims[q->rank - 2];
	dims[1] = key->dims[key->rank - 2];
	rc = aten_const_ints(k, "square", dims, 2, &shape, e);
	if (rc == 0)
		rc = aten_number(k, "never", -INFINITY, t, &in[0], e);
	if (rc == 0)
		rc = aten_make(k, "nowhere", "Expand", in[0], shape, &in[0], e);
	if (rc == 0)
		rc = aten_number(k, "next", 1, DTYPE_I64, &in[1], e);
	if (rc == 0)
		rc = aten_step(k, &n, &in[0], e);
	return rc < 0 ? rc
		      : aten_make(k, "causal", "Add", *scores, in[0], scores,
				  e);
}

/* Softmax(q · kᵀ · scale + mask) · v */
static int attend(struct aten *k, const struct attention *x, int rank,
		  enum dtype t, struct err *e)
{
	int64_t perm[SHAPE_RANK_MAX];
	struct attr a, last = attr_set_int("axis", -1);
	value_id keys, scores, factor;
	struct step turn = {.what = "keys",
			    .type = "Transpose",
			    .in = &x->k,
			    .nin = 1,
			    .attrs = &a,
			    .nattrs = 1};
	struct step soft = {.what = "weights",
			    .type = "Softmax",
			    .in = &scores,
			    .nin = 1,
			    .attrs = &last,
			    .nattrs = 1};
	int rc;

	for (int i = 0; i < rank; i++)
		perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
	rc = attr_set_ints(&k->at, "perm", perm, (size_t)rank, &a, e);
	if (rc == 0)
		rc = aten_step(k, &turn, &keys, e);
	if (rc == 0)
		rc = aten_number(k, "scale", x->scale, t, &factor, e);
	if (rc == 0)
		rc = aten_make(k, "product", "MatMul", x->q, keys, &scores, e);
	if (rc == 0)
		rc = aten_make(k, "scores", "Mul", scores, factor, &scores, e);
	if (rc == 0)
		rc = mask_future(k, x, t, &scores, e);
	if (rc == 0)
		rc = mask_scores(k, x, t, &scores, e);
	if (rc == 0)
		rc = aten_step(k, &soft, &scores, e);
	return rc < 0 ? rc
		      : aten_finish_make(k, "MatMul",
					 (value_id[]){scores, x->v}, 2, e);
}

static int attention(struct aten *k, struct err *e)
{
	struct attention x = {.is_causal = aten_flag(k, "is_causal", false)};
	const struct shape *q, *key;
	double dropout;
	enum dtype t;
	int rc = aten_value(k, "query", &x.q, e);

	if (rc == 0)
		rc = aten_value(k, "key", &x.k, e);
	if (rc == 0)
		rc = aten_value(k, "value", &x.v, e);
	if (rc == 0)
		rc = aten_value(
			k, aten_has(k, "attn_bias") ? "attn_bias" : "attn_mask",
			&x.mask, e);
	if (rc < 0 || x.q == NO_VALUE || x.k == NO_VALUE || x.v == NO_VALUE)
		return rc;
	q = aten_shape(k, x.q);
	key = aten_shape(k, x.k);
	t = aten_dtype(k, x.q);
	if (!q || !key || q->rank < 3 || key->rank != q->rank ||
	    q->dims[q->rank - 1] < 1 || !aten_has_numbers(t) ||
	    !aten_float(k, "dropout_p", 0, &dropout) || dropout != 0 ||
	    aten_flag(k, "enable_gqa", false) ||
	    (x.is_causal &&
	     (q->dims[q->rank - 2] < 0 || key->dims[q->rank - 2] < 0)))
		return 0;
	if (!aten_float(k, "scale", 1 / sqrt((double)q->dims[q->rank - 1]),
			&x.scale))
		return 0;
	return attend(k, &x, q->rank, t, e);
}

const struct aten_entry aten_attention[] = {
	{"_scaled_dot_product_efficient_attention", attention},
	{"_scaled_dot_product_flash_attention", attention},
	{"_scaled_dot_product_flash_attention_for_cpu", attention},
	{"scaled_dot_product_attention", attention},
	{NULL, NULL},
};
