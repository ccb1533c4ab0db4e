/* SPDX-License-Identifier: MIT */
/*
 * attention - MultiHeadAttention, and Attention and AdditiveAttention of one
 * head.
 *
 * What is left out gets a score so low that nothing remains of it.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/keras/call.h"
#include "wire/json.h"

static int einsum(struct keras_call *c, const char *what, const char *equation,
		  value_id a, value_id b, value_id *out, struct err *e)
{
	value_id in[] = {a, b};
	struct attr attr = attr_set_text("equation", equation);
	struct step n = {.what = what,
			 .type = "Einsum",
			 .in = in,
			 .nin = 2,
			 .attrs = &attr,
			 .nattrs = 1};

	return steps_inner(&c->at, &n, out, e);
}

/* ---- what is left out ---- */

#define LOWEST 1e9f

/* A mask as numbers, with axes of 1 put in. */
static int widen_mask(struct keras_call *c, const char *what, value_id mask,
		      const int64_t *axes, size_t n, value_id *out,
		      struct err *e)
{
	struct attr to = attr_set_int("to", 1), a; /* float32 */
	value_id v;
	struct step wide = {.what = what,
			    .type = "Unsqueeze",
			    .opset = 11, /* the axes are an attribute */
			    .in = &mask,
			    .nin = 1,
			    .attrs = &a,
			    .nattrs = 1};
	struct step cast = {
		.type = "Cast", .in = &v, .nin = 1, .attrs = &to, .nattrs = 1};
	char name[64];
	int len = snprintf(name, sizeof(name), "%s_numbers", what);
	int rc = attr_set_ints(&c->at, "axes", axes, n, &a, e);

	cast.what = arena_strndup(c->at.m->arena, name, (size_t)len);
	if (rc == 0 && !cast.what)
		rc = err_nomem(e, 0);
	if (rc == 0)
		rc = steps_inner(&c->at, &wide, &v, e);
	return rc < 0 ? rc : steps_inner(&c->at, &cast, out, e);
}

/* 1 up to the diagonal of the last two axes of scores, 0 above. */
static int causal_mask(struct keras_call *c, value_id scores, value_id *out,
		       struct err *e)
{
	static const int64_t last[] = {-2, INT64_MAX};
	struct attr upper = attr_set_int("upper", 0);
	value_id in[3], v, one;
	struct step part = {
		.what = "extents", .type = "Slice", .in = in, .nin = 3};
	struct step lower = {.what = "causal",
			     .type = "Trilu",
			     .opset = 14,
			     .in = &v,
			     .nin = 1,
			     .attrs = &upper,
			     .nattrs = 1};
	int rc = steps_make(&c->at, "scores_shape", "Shape", scores, NO_VALUE,
			    &in[0], e);

	if (rc == 0)
		rc = steps_ints(&c->at, "first", &last[0], 1, &in[1], e);
	if (rc == 0)
		rc = steps_ints(&c->at, "end", &last[1], 1, &in[2], e);
	if (rc == 0)
		rc = steps_inner(&c->at, &part, &v, e);
	if (rc == 0)
		rc = steps_make(&c->at, "zeros", "ConstantOfShape", v, NO_VALUE,
				&v, e);
	if (rc == 0)
		rc = steps_float(&c->at, "causal_one", 1, &one, e);
	if (rc == 0)
		rc = steps_make(&c->at, "ones", "Add", v, one, &v, e);
	return rc < 0 ? rc : steps_inner(&c->at, &lower, out, e);
}

/* Both have to allow it. */
static int join_masks(struct keras_call *c, const char *what, value_id mask,
		      value_id *all, struct err *e)
{
	if (mask == NO_VALUE || *all == NO_VALUE) {
		*all = *all == NO_VALUE ? mask : *all;
		return 0;
	}
	return steps_make(&c->at, what, "Mul", *all, mask, all, e);
}

/* mask: 1 where a score counts, 0 where not; NO_VALUE: all do. */
static int leave_out(struct keras_call *c, value_id mask, value_id *scores,
		     struct err *e)
{
	value_id one, low, v;
	int rc = 0;

	if (mask == NO_VALUE)
		return 0;
	rc = steps_float(&c->at, "counts", 1, &one, e);
	if (rc == 0)
		rc = steps_float(&c->at, "lowest", LOWEST, &low, e);
	if (rc == 0)
		rc = steps_make(&c->at, "left_out", "Sub", mask, one, &v, e);
	if (rc == 0)
		rc = steps_make(&c->at, "lowered", "Mul", v, low, &v, e);
	return rc < 0 ? rc
		      : steps_make(&c->at, "scores_masked", "Add", *scores, v,
				   scores, e);
}

/* ---- many heads ---- */

struct projection {
	value_id kernel, bias;
};

/* Keras 2 calls a part "query", Keras 3 "query_dense". */
static int find_projection(struct keras_call *c, const char *const *parts,
			   struct projection *p, struct err *e)
{
	int rc = 0;

	p->kernel = NO_VALUE;
	for (size_t i = 0; rc == 0 && i < 2 && p->kernel == NO_VALUE; i++) {
		c->part = parts[i];
		rc = keras_weight(c, "kernel", &p->kernel, e);
		if (rc == 0)
			rc = keras_weight(c, "bias", &p->bias, e);
	}
	c->part = NULL;
	return rc;
}

/* [batch, n, features] → [batch, n, heads, size] */
static int project(struct keras_call *c, const char *what, const char *biased,
		   const struct projection *p, value_id in, value_id *out,
		   struct err *e)
{
	int rc = einsum(c, what, "abc,cde->abde", in, p->kernel, out, e);

	if (rc == 0 && p->bias != NO_VALUE)
		rc = steps_make(&c->at, biased, "Add", *out, p->bias, out, e);
	return rc;
}

/* The inputs by their names: the value is the key, too, where none is given. */
static bool find_inputs(const struct keras_call *c, value_id in[3])
{
	uint32_t tensor = 0, position = 0;
	bool has_key = false;

	in[0] = in[1] = in[2] = NO_VALUE;
	for (size_t i = 0; i < c->given->n; i++) {
		const struct keras_input *g = &c->given->v[i];
		const char *key = g->key;

		if (!g->layer)
			return false;
		if (!key && position < 3)
			key = (const char *const[]){"query", "value",
						    "key"}[position++];
		if (!key || tensor >= c->nin)
			return false;
		if (strcmp(key, "query") == 0)
			in[0] = c->in[tensor++];
		else if (strcmp(key, "value") == 0)
			in[1] = c->in[tensor++];
		else if (strcmp(key, "key") == 0)
			in[2] = c->in[tensor++];
		else
			return false; /* a mask */
		has_key = has_key || strcmp(key, "key") == 0;
	}
	if (!has_key)
		in[2] = in[1];
	return in[0] != NO_VALUE && in[1] != NO_VALUE;
}

static bool is_causal(const struct json *v, int depth)
{
	const struct json *member;
	const char *key;
	void *it = NULL;
	bool is = false;

	for (size_t i = 0; !is && depth < 8 &&
			   json_kind(v) == JSON_KIND_ARRAY && i < json_count(v);
	     i++)
		is = is_causal(json_item(v, i), depth + 1);
	while (!is && json_kind(v) == JSON_KIND_OBJECT &&
	       json_next(v, &it, &key, &member)) {
		if (strcmp(key, "use_causal_mask") == 0)
			json_get_bool(member, &is);
		else if (strcmp(key, "kwargs") == 0)
			is = is_causal(member, depth + 1);
	}
	return is;
}

/* Steps that do not count neither ask nor are asked. */
static int heads_mask(struct keras_call *c, const value_id in[3],
		      value_id scores, value_id *out, struct err *e)
{
	static const char *const what[] = {"query_mask", "value_mask",
					   "key_mask"};
	static const int64_t axes[3][2] = {{1, 3}, {1, 2}, {1, 2}};
	value_id mask;
	int rc = 0;

	*out = NO_VALUE;
	for (size_t i = 0; rc == 0 && i < 3; i++) {
		mask = keras_mask(c->kg, in[i]);
		if (mask == NO_VALUE || (i == 2 && in[2] == in[1]))
			continue;
		rc = widen_mask(c, what[i], mask, axes[i], 2, &mask, e);
		if (rc == 0)
			rc = join_masks(c, i == 1 ? "masks" : "all_masks", mask,
					out, e);
	}
	if (rc < 0 || !is_causal(c->node, 0))
		return rc;
	rc = causal_mask(c, scores, &mask, e);
	return rc < 0 ? rc : join_masks(c, "masks_causal", mask, out, e);
}

/* softmax(q · k) · v, with heads in the third place. */
static int attend(struct keras_call *c, const value_id in[3],
		  const value_id qkv[3], value_id *out, struct err *e)
{
	double size = keras_real(c, "key_dim", 0);
	value_id scale, q, scores, mask;
	int rc = steps_float(&c->at, "scale", (float)(1 / sqrt(size)), &scale,
			     e);

	if (rc == 0)
		rc = steps_make(&c->at, "query_scaled", "Mul", qkv[0], scale,
				&q, e);
	if (rc == 0)
		rc = einsum(c, "scores", "aecd,abcd->acbe", qkv[2], q, &scores,
			    e);
	if (rc == 0)
		rc = heads_mask(c, in, scores, &mask, e);
	if (rc == 0)
		rc = leave_out(c, mask, &scores, e);
	if (rc == 0)
		rc = steps_make(&c->at, "softmax", "Softmax", scores, NO_VALUE,
				&scores, e);
	return rc < 0 ? rc
		      : einsum(c, "mixed", "acbe,aecd->abcd", scores, qkv[1],
			       out, e);
}

static int last_projection(struct keras_call *c, const struct projection *p,
			   value_id in, struct err *e)
{
	value_id ins[] = {in, p->kernel}, sum[2] = {NO_VALUE, p->bias};
	struct attr a = attr_set_text("equation", "abcd,cde->abe");
	struct step n = {.what = "output_product",
			 .type = "Einsum",
			 .in = ins,
			 .nin = 2,
			 .attrs = &a,
			 .nattrs = 1};
	struct step add = {
		.what = "output_biased", .type = "Add", .in = sum, .nin = 2};
	int rc;

	if (p->bias == NO_VALUE)
		return keras_finish(c, &n, e);
	rc = steps_inner(&c->at, &n, &sum[0], e);
	return rc < 0 ? rc : keras_finish(c, &add, e);
}

/* Whether Keras 2 heeded masks here depends on its release. */
static bool can_mask_heads(const struct keras_call *c)
{
	for (uint32_t i = 0; c->kg->version < 3 && i < c->nin; i++)
		if (keras_mask(c->kg, c->in[i]) != NO_VALUE)
			return false;
	return true;
}

static int multi_head(struct keras_call *c, struct err *e)
{
	static const char *const parts[4][2] = {
		{"query", "query_dense"},
		{"value", "value_dense"},
		{"key", "key_dense"},
		{"attention_output", "output_dense"}};
	static const char *const what[3][2] = {
		{"query_product", "query_biased"},
		{"value_product", "value_biased"},
		{"key_product", "key_biased"}};
	struct projection p[4];
	value_id in[3], qkv[3], mixed;
	int rc = 0;

	for (int i = 0; rc == 0 && i < 4; i++) {
		rc = find_projection(c, parts[i], &p[i], e);
		if (rc == 0 && p[i].kernel == NO_VALUE)
			return 0;
	}
	if (rc < 0 || c->nout != 1 || !find_inputs(c, in) || c->rank != 3 ||
	    keras_real(c, "key_dim", 0) < 1 || !can_mask_heads(c))
		return rc;
	for (int i = 0; rc == 0 && i < 3; i++)
		rc = project(c, what[i][0], what[i][1], &p[i], in[i], &qkv[i],
			     e);
	if (rc == 0)
		rc = attend(c, in, qkv, &mixed, e);
	return rc < 0 ? rc : last_projection(c, &p[3], mixed, e);
}

/* ---- one head ---- */

struct inner { /* weights of the scores; NO_VALUE: none */
	value_id scale, concat;
	bool is_additive; /* tanh of sums, not products */
};

static bool find_inner(struct keras_call *c, struct inner *w, struct err *e)
{
	bool is_concat = keras_is(c, "score_mode", "concat");
	bool is_own = strcmp(c->class, "AdditiveAttention") == 0;
	bool has_scale = keras_flag(c, "use_scale", is_own);

	w->is_additive = is_own || is_concat;
	w->scale = w->concat = NO_VALUE;
	if (has_scale && keras_weight(c, "scale", &w->scale, e) < 0)
		return false;
	if (is_concat &&
	    keras_weight(c, "concat_score_weight", &w->concat, e) < 0)
		return false;
	return has_scale == (w->scale != NO_VALUE) &&
	       is_concat == (w->concat != NO_VALUE);
}

static int scaled(struct keras_call *c, const char *what, value_id factor,
		  value_id *v, struct err *e)
{
	if (factor == NO_VALUE)
		return 0;
	return steps_make(&c->at, what, "Mul", *v, factor, v, e);
}

/* Sums over the features of tanh(q + k), scaled inside or outside. */
static int additive_scores(struct keras_call *c, const struct inner *w,
			   value_id query, value_id key, value_id *out,
			   struct err *e)
{
	bool is_inside = w->concat != NO_VALUE;
	int64_t axis = -1;
	value_id q, k, v;
	struct attr a[2] = {{0}, attr_set_int("keepdims", 0)};
	struct step sum = {.what = "scores",
			   .type = "ReduceSum",
			   .opset = 11, /* the axes are an attribute */
			   .in = &v,
			   .nin = 1,
			   .attrs = a,
			   .nattrs = 2};
	int rc = attr_set_ints(&c->at, "axes", &axis, 1, &a[0], e);

	if (rc == 0)
		rc = steps_axis(&c->at, "query_wide", "Unsqueeze", 2, query, &q,
				e);
	if (rc == 0)
		rc = steps_axis(&c->at, "key_wide", "Unsqueeze", 1, key, &k, e);
	if (rc == 0)
		rc = steps_make(&c->at, "pairs", "Add", q, k, &v, e);
	if (rc == 0 && is_inside)
		rc = scaled(c, "pairs_scaled", w->scale, &v, e);
	if (rc == 0)
		rc = steps_make(&c->at, "tanh", "Tanh", v, NO_VALUE, &v, e);
	if (rc == 0 && !is_inside)
		rc = scaled(c, "pairs_scaled", w->scale, &v, e);
	if (rc == 0)
		rc = steps_inner(&c->at, &sum, out, e);
	return rc < 0 ? rc : scaled(c, "scores_scaled", w->concat, out, e);
}

static int find_scores(struct keras_call *c, const struct inner *w,
		       value_id key, value_id *out, struct err *e)
{
	static const int64_t perm[] = {0, 2, 1};
	int rc;

	if (w->is_additive)
		return additive_scores(c, w, c->in[0], key, out, e);
	rc = keras_transpose(c, "key_turned", key, perm, 3, &key, e);
	if (rc == 0)
		rc = steps_make(&c->at, "scores", "MatMul", c->in[0], key, out,
				e);
	return rc < 0 ? rc : scaled(c, "scores_scaled", w->scale, out, e);
}

static int mask_scores(struct keras_call *c, value_id *scores, struct err *e)
{
	static const int64_t axis = 1;
	bool is_causal_here =
		keras_flag(c, "causal", false) || is_causal(c->node, 0);
	value_id mask = keras_mask(c->kg, c->in[1]), causal;
	int rc = 0;

	if (mask != NO_VALUE)
		rc = widen_mask(c, "value_mask", mask, &axis, 1, &mask, e);
	if (rc == 0 && is_causal_here) {
		rc = causal_mask(c, *scores, &causal, e);
		if (rc == 0)
			rc = join_masks(c, "masks_causal", causal, &mask, e);
	}
	return rc < 0 ? rc : leave_out(c, mask, scores, e);
}

/* Steps of the query that do not count are zeros. */
static int finish_masked(struct keras_call *c, struct step *s, struct err *e)
{
	static const int64_t axis = 2;
	value_id in[2], mask = keras_mask(c->kg, c->in[0]);
	struct step n = {.what = "masked", .type = "Mul", .in = in, .nin = 2};
	int rc;

	if (mask == NO_VALUE)
		return keras_finish(c, s, e);
	rc = widen_mask(c, "query_mask", mask, &axis, 1, &in[1], e);
	if (rc == 0)
		rc = steps_inner(&c->at, s, &in[0], e);
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

static bool has_keys(const struct keras_call *c)
{
	for (size_t i = 0; i < c->given->n; i++)
		if (c->given->v[i].key)
			return true;
	return false;
}

/* Inputs are query, value and, perhaps, key. */
static int attention(struct keras_call *c, struct err *e)
{
	struct inner w;
	value_id in[2], scores;
	struct step n = {.what = "mixed", .type = "MatMul", .in = in, .nin = 2};
	int rc;

	if (c->nin < 2 || c->nin > 3 || c->nout > 2 || c->rank != 3 ||
	    has_keys(c) || !find_inner(c, &w, e))
		return 0;
	rc = find_scores(c, &w, c->in[c->nin - 1], &scores, e);
	if (rc == 0)
		rc = mask_scores(c, &scores, e);
	n.what = "softmax";
	n.type = "Softmax";
	n.nin = 1;
	n.in = &scores;
	n.out = &c->out[1];
	n.nout = 1;
	in[0] = c->nout > 1 ? c->out[1] : NO_VALUE;
	if (rc == 0)
		rc = c->nout > 1 ? steps_node(&c->at, &n, e)
				 : steps_inner(&c->at, &n, &in[0], e);
	in[1] = c->in[1];
	n = (struct step){
		.what = "mixed", .type = "MatMul", .in = in, .nin = 2};
	return rc < 0 ? rc : finish_masked(c, &n, e);
}

int keras_attention_layer(struct keras_call *c, struct err *e)
{
	if (strcmp(c->class, "MultiHeadAttention") == 0)
		return multi_head(c, e);
	if (strcmp(c->class, "Attention") == 0 ||
	    strcmp(c->class, "AdditiveAttention") == 0)
		return attention(c, e);
	return 0;
}
