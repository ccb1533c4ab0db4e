/* SPDX-License-Identifier: MIT */
/*
 * jsondict - weights that somebody keeps in JSON: objects and lists are
 * modules, a list of numbers is a tensor when it is rectangular, as int64
 * where all of them are integers, else as float64.  Everything else is a
 * small text under config/.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"
#include "wire/json.h"

/* Parsed, it takes many times this. */
#define TEXT_BYTES_MAX (64u << 20)
#define ATTR_MAX 200

struct reading {
	struct model *m;
	struct text name; /* full name of what is being looked at */
};

/* ---- tensors ---- */

struct census {
	uint64_t nints, nreals, nbools, nnulls, nothers;
	struct shape shape;
	bool is_ragged;
};

static void count_scalar(struct census *c, enum json_kind kind)
{
	if (kind == JSON_KIND_INT)
		c->nints++;
	else if (kind == JSON_KIND_REAL)
		c->nreals++;
	else if (kind == JSON_KIND_BOOL)
		c->nbools++;
	else if (kind == JSON_KIND_NULL)
		c->nnulls++;
	else
		c->nothers++;
}

/* Recursion, as everywhere below: JSON_DEPTH_MAX bounds it. */
static void take_census(struct census *c, const struct json *v, int32_t depth)
{
	enum json_kind kind = json_kind(v);

	if (kind != JSON_KIND_ARRAY) {
		c->is_ragged |= depth != c->shape.rank;
		count_scalar(c, kind);
		return;
	}
	if (depth >= c->shape.rank ||
	    (uint64_t)c->shape.dims[depth] != json_count(v)) {
		c->is_ragged = true;
		return;
	}
	for (size_t i = 0; !c->is_ragged && i < json_count(v); i++)
		take_census(c, json_item(v, i), depth + 1);
}

/* What the first elements say; the census tells whether it is true. */
static void guess_shape(const struct json *v, struct shape *out)
{
	out->rank = 0;
	while (json_kind(v) == JSON_KIND_ARRAY && out->rank < SHAPE_RANK_MAX) {
		out->dims[out->rank++] = (int64_t)json_count(v);
		v = json_item(v, 0);
	}
}

static enum dtype census_type(const struct census *c)
{
	uint64_t numbers = c->nints + c->nreals;

	if (c->is_ragged || c->nothers || numbers + c->nbools == 0)
		return DTYPE_NONE;
	if (c->nbools)
		return numbers || c->nnulls ? DTYPE_NONE : DTYPE_BOOL;
	return c->nreals || c->nnulls ? DTYPE_F64 : DTYPE_I64;
}

static uint8_t *fill(uint8_t *out, const struct json *v, enum dtype dtype)
{
	int64_t i = 0;
	double d = 0;
	bool b = false;

	for (size_t k = 0; k < json_count(v); k++)
		out = fill(out, json_item(v, k), dtype);
	if (json_kind(v) == JSON_KIND_ARRAY)
		return out;
	json_get_bool(v, &b);
	json_get_int(v, &i);
	json_get_real(v, &d);
	if (dtype == DTYPE_BOOL)
		*out = b;
	else if (dtype == DTYPE_I64)
		memcpy(out, &i, sizeof(i));
	else
		memcpy(out, &d, sizeof(d));
	return out + dtype_size(dtype);
}

static int make_tensor(const struct json *v, const struct census *c,
		       struct tensor *out, struct err *e)
{
	struct tensor t = {.dtype = census_type(c), .shape = c->shape};
	uint64_t nbytes;
	void *data;

	if (!tensor_nbytes(&t, &nbytes))
		return err_set(e, EFBIG, "a list too large");
	if (c->nnulls) {
		t.data = blob_fail(nbytes, EOPNOTSUPP,
				   "numbers that JSON has no way to write");
	} else {
		t.data = blob_mem(nbytes, &data);
		if (t.data)
			fill(data, v, t.dtype);
	}
	*out = t;
	return t.data ? 0 : err_nomem(e, nbytes);
}

/* 1: it was one; 0: no tensor. */
static int try_tensor(struct reading *r, struct module *mod,
		      const struct json *v, const char *key, size_t len,
		      struct err *e)
{
	struct param_spec spec = {.full_name = {r->name.p, r->name.len}};
	struct census c = {0};
	int rc;

	guess_shape(v, &c.shape);
	if (c.shape.rank == 0)
		return 0;
	take_census(&c, v, 0);
	if (census_type(&c) == DTYPE_NONE)
		return 0;
	rc = model_path(r->m, mod, key, len, ".", &spec.module, &spec.name, e);
	if (rc == 0)
		rc = make_tensor(v, &c, &spec.tensor, e);
	if (rc == 0)
		rc = model_param(r->m, &spec, NULL, e);
	return rc < 0 ? rc : 1;
}

/* ---- other values ---- */

static void format_scalar(const struct json *v, struct text *out)
{
	const char *s;
	size_t len;
	int64_t i = 0;
	double d = 0;
	bool b = false;

	s = json_get_string(v, &len);
	if (s)
		text_add_bytes(out, s, len);
	else if (json_get_bool(v, &b))
		text_add(out, b ? "true" : "false");
	else if (json_get_int(v, &i))
		text_printf(out, "%lld", (long long)i);
	else if (json_get_real(v, &d))
		text_printf(out, "%.17g", d);
	else
		text_add(out, "null");
}

static bool is_scalar(const struct json *v)
{
	return json_kind(v) != JSON_KIND_ARRAY &&
	       json_kind(v) != JSON_KIND_OBJECT;
}

/* A list of scalars is a text with a line for each. */
static bool is_text(const struct json *v)
{
	for (size_t i = 0; json_kind(v) == JSON_KIND_ARRAY && i < json_count(v);
	     i++)
		if (!is_scalar(json_item(v, i)))
			return false;
	return json_kind(v) != JSON_KIND_OBJECT;
}

static int add_text(struct reading *r, struct module *mod, const struct json *v,
		    const char *key, size_t len, struct err *e)
{
	struct text text = {0}, path = {0};
	struct blob *data = NULL;
	char quoted[ERR_QUOTED];
	int rc = 0;

	text_add(&text, "");
	if (is_scalar(v))
		format_scalar(v, &text);
	for (size_t i = 0; i < json_count(v); i++) {
		format_scalar(json_item(v, i), &text);
		text_add(&text, "\n");
	}
	for (size_t i = 0; i < r->name.len; i++)
		text_add_bytes(&path, r->name.p[i] == '.' ? "/" : r->name.p + i,
			       1);
	if (!text.failed && !path.failed)
		data = blob_copy(text.p, text.len);
	rc = data ? model_config(r->m, path.p ? path.p : "value", data, e)
		  : err_nomem(e, text.len);
	if (rc == 0 && is_scalar(v) && text.len <= ATTR_MAX &&
	    model_attr(r->m, mod, err_quote(quoted, key, len), "%s", text.p) <
		    0)
		rc = err_nomem(e, text.len);
	text_free(&text);
	text_free(&path);
	return rc;
}

/* ---- the tree ---- */

static int read_children(struct reading *r, struct module *mod,
			 const struct json *v, struct err *e);

static int read_value(struct reading *r, struct module *mod,
		      const struct json *v, const char *key, struct err *e)
{
	size_t base = r->name.len, len = strlen(key);
	struct span leaf;
	int rc;

	text_add(&r->name, base ? "." : "");
	text_add_bytes(&r->name, key, len);
	if (r->name.failed)
		return err_nomem(e, len);
	rc = try_tensor(r, mod, v, key, len, e);
	if (rc == 0 && is_text(v)) {
		rc = add_text(r, mod, v, key, len, e);
	} else if (rc == 0) {
		rc = model_path(r->m, mod, key, len, ".", &mod, &leaf, e);
		if (rc == 0)
			rc = model_module(r->m, mod, leaf.p, leaf.len, &mod, e);
		if (rc == 0)
			rc = read_children(r, mod, v, e);
	}
	r->name.len = base;
	r->name.p[base] = '\0';
	return rc < 0 ? rc : 0;
}

static int read_children(struct reading *r, struct module *mod,
			 const struct json *v, struct err *e)
{
	const struct json *member;
	const char *key;
	char index[24];
	void *it = NULL;
	int rc = 0;

	for (size_t i = 0;
	     rc == 0 && json_kind(v) == JSON_KIND_ARRAY && i < json_count(v);
	     i++) {
		snprintf(index, sizeof(index), "%zu", i);
		rc = read_value(r, mod, json_item(v, i), index, e);
	}
	while (rc == 0 && json_kind(v) == JSON_KIND_OBJECT &&
	       json_next(v, &it, &key, &member))
		rc = read_value(r, mod, member, key, e);
	return rc;
}

static int read_root(struct model *m, const struct json *root, struct err *e)
{
	struct reading r = {.m = m};
	struct census c = {0};
	int rc;

	guess_shape(root, &c.shape);
	take_census(&c, root, 0);
	if (c.shape.rank > 0 && census_type(&c) != DTYPE_NONE)
		rc = read_value(&r, model_root(m), root, "tensor", e);
	else
		rc = read_children(&r, model_root(m), root, e);
	text_free(&r.name);
	if (rc == 0 && m->nparams == 0)
		rc = err_set(e, EINVAL, "JSON without lists of numbers");
	return rc;
}

/* ---- the format ---- */

static size_t skip_mark(const char *p, size_t len)
{
	return len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	uint64_t size = source_size(in->file);
	struct json *root;
	size_t skip;
	char *text;
	int rc;

	if (size > TEXT_BYTES_MAX)
		return err_set(e, EFBIG, "%llu bytes of JSON",
			       (unsigned long long)size);
	text = malloc(size + 1);
	if (!text)
		return err_nomem(e, size);
	rc = source_read(in->file, text, size, 0, e);
	skip = skip_mark(text, rc == 0 ? size : 0);
	if (rc == 0)
		rc = json_parse(text + skip, size - skip, JSON_PYTHON, &root,
				e);
	free(text);
	if (rc < 0)
		return rc;
	rc = read_root(m, root, e);
	json_free(root);
	return rc;
}

/* Any JSON: whoever knows more of it bids more. */
static int probe(const struct input *in)
{
	size_t i;

	if (!in->file || in->nhead < 2)
		return 0;
	i = skip_mark((const char *)in->head, in->nhead);
	while (i < in->nhead && in->head[i] && strchr(" \t\r\n", in->head[i]))
		i++;
	return i < in->nhead && (in->head[i] == '{' || in->head[i] == '[') ? 10
									   : 0;
}

const struct format format_json = {
	.name = "json",
	.title = "JSON with lists of numbers",
	.probe = probe,
	.read = read,
};
