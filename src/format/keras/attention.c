/* SPDX-License-Identifier: MIT */
/* attention - MultiHeadAttention, and Attention of one head. */
#include <errno.h>
#include <math.h>
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

/* softmax(q · k) · v, with heads in the third place. */
static int attend(struct keras_call *c, const value_id qkv[3], value_id *out,
		  struct err *e)
{
	double size = keras_real(c, "key_dim", 0);
	value_id scale, q, scores;
	int rc = steps_float(&c->at, "scale", (float)(1 / sqrt(size)), &scale,
			     e);

	if (rc == 0)
		rc = steps_make(&c->at, "query_scaled", "Mul", qkv[0], scale,
				&q, e);
	if (rc == 0)
		rc = einsum(c, "scores", "aecd,abcd->acbe", qkv[2], q, &scores,
			    e);
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
	if (rc < 0 || c->nout != 1 || !find_inputs(c, in) || c->kg->has_masks ||
	    is_causal(c->node, 0) || c->rank != 3 ||
	    keras_real(c, "key_dim", 0) < 1)
		return rc;
	for (int i = 0; rc == 0 && i < 3; i++)
		rc = project(c, what[i][0], what[i][1], &p[i], in[i], &qkv[i],
			     e);
	if (rc == 0)
		rc = attend(c, qkv, &mixed, e);
	return rc < 0 ? rc : last_projection(c, &p[3], mixed, e);
}

/* Inputs are query, value and, perhaps, key. */
static int attention(struct keras_call *c, struct err *e)
{
	static const int64_t perm[] = {0, 2, 1};
	value_id key, in[2];
	struct step n = {.what = "mixed", .type = "MatMul", .in = in, .nin = 2};
	int rc;

	if (c->nin < 2 || c->nin > 3 || c->rank != 3 || c->kg->has_masks ||
	    keras_flag(c, "use_scale", false) ||
	    keras_flag(c, "causal", false) || is_causal(c->node, 0) ||
	    keras_is(c, "score_mode", "concat"))
		return 0;
	rc = keras_transpose(c, "key_turned", c->in[c->nin == 3 ? 2 : 1], perm,
			     3, &key, e);
	if (rc == 0)
		rc = steps_make(&c->at, "scores", "MatMul", c->in[0], key,
				&in[0], e);
	if (rc == 0)
		rc = steps_make(&c->at, "softmax", "Softmax", in[0], NO_VALUE,
				&in[0], e);
	in[1] = c->in[1];
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

int keras_attention_layer(struct keras_call *c, struct err *e)
{
	if (strcmp(c->class, "MultiHeadAttention") == 0)
		return multi_head(c, e);
	if (strcmp(c->class, "Attention") == 0)
		return attention(c, e);
	return 0;
}
