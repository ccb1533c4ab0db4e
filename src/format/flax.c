/* SPDX-License-Identifier: MIT */
/*
 * flax - what flax.serialization writes: nested maps in MessagePack, with
 * arrays as extensions (flax/serialization.py)
 *
 *	ext 1	[shape, dtype name, bytes]: an array, row-major
 *	ext 2	[real, imaginary]
 *	ext 3	as 1, for a scalar of NumPy
 *
 * An array of more than 1 GiB is cut into pieces: a map of
 * "__msgpack_chunked_array__": true, "shape": {"0": n, …} and
 * "chunks": {"0": ext 1 of rank 1, …}.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"
#include "wire/msgpack.h"

#define CHUNKED "__msgpack_chunked_array__"
#define KEY_MAX 65536
#define STRING_MAX 4096

struct frame {
	struct module *mod;
	size_t name_len; /* of the full name up to here */
	uint32_t left;	 /* pairs or items to come */
	uint32_t index;	 /* of the next item */
	bool is_map;
	bool has_key; /* the next key is read already: it is in `key` */
};

struct reading {
	struct model *m;
	struct source *src;
	struct reader *r;
	struct frame frames[MODEL_DEPTH_MAX];
	size_t depth;
	struct text name; /* full name of the value that comes */
	struct text key;  /* its last part */
};

static int fail(const struct reading *x, const char *what, struct err *e)
{
	return err_set(e, EINVAL, "byte %llu: %s",
		       (unsigned long long)x->r->off, what);
}

/* ---- tokens ---- */

/* Of older files, whose strings and bytes are one: either. */
static bool is_text(const struct msgpack *t)
{
	return t->kind == MSGPACK_STRING || t->kind == MSGPACK_BINARY;
}

/* The bytes of a string; a longer one than max is cut. */
static int read_text(struct reading *x, const struct msgpack *t, size_t max,
		     struct text *out, struct err *e)
{
	size_t want = t->len < max ? t->len : max;
	char buf[256];

	out->len = 0;
	text_add(out, "");
	for (size_t done = 0; done < want;) {
		size_t n =
			want - done < sizeof(buf) ? want - done : sizeof(buf);

		reader_bytes(x->r, buf, n);
		text_add_bytes(out, buf, n);
		done += n;
	}
	reader_skip(x->r, t->len - want);
	return out->failed ? err_nomem(e, want) : 0;
}

static int read_key(struct reading *x, struct err *e)
{
	struct msgpack t;
	int rc = msgpack_next(x->r, &t, e);

	if (rc < 0)
		return rc;
	if (t.kind == MSGPACK_INT) {
		x->key.len = 0;
		text_printf(&x->key, "%lld", (long long)t.i);
		return x->key.failed ? err_nomem(e, 0) : 0;
	}
	if (!is_text(&t) || t.len > KEY_MAX)
		return fail(x, "no key", e);
	return read_text(x, &t, KEY_MAX, &x->key, e);
}

static int expect(struct reading *x, enum msgpack_kind kind, uint32_t len,
		  struct err *e)
{
	struct msgpack t;
	int rc = msgpack_next(x->r, &t, e);

	if (rc == 0 && (t.kind != kind || t.len != len))
		return fail(x, "no array of flax", e);
	return rc;
}

static int read_dim(struct reading *x, int64_t *out, struct err *e)
{
	struct msgpack t;
	int rc = msgpack_next(x->r, &t, e);

	if (rc == 0 && (t.kind != MSGPACK_INT || t.is_huge || t.i < 0))
		return fail(x, "an extent that is no natural number", e);
	*out = rc == 0 ? t.i : 0;
	return rc;
}

/* ---- arrays ---- */

static int read_shape(struct reading *x, struct shape *out, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	struct msgpack t;
	int rc = msgpack_next(x->r, &t, e);

	if (rc == 0 && (t.kind != MSGPACK_ARRAY || t.len > SHAPE_RANK_MAX))
		return fail(x, "no shape", e);
	for (uint32_t i = 0; rc == 0 && i < t.len; i++)
		rc = read_dim(x, &dims[i], e);
	return rc == 0 ? shape_set(out, dims, t.len, e) : rc;
}

/* The payload of ext 1 and 3; type holds the name of what we do not know. */
static int read_array(struct reading *x, uint32_t len, struct tensor *out,
		      struct text *type, struct err *e)
{
	uint64_t end = x->r->off + len, nbytes = 0;
	struct tensor made = {.dtype = DTYPE_NONE};
	struct msgpack t;
	int rc = expect(x, MSGPACK_ARRAY, 3, e);

	if (rc == 0)
		rc = read_shape(x, &made.shape, e);
	if (rc == 0)
		rc = msgpack_next(x->r, &t, e);
	if (rc == 0)
		rc = is_text(&t) ? read_text(x, &t, 64, type, e)
				 : fail(x, "no dtype", e);
	if (rc == 0)
		rc = msgpack_next(x->r, &t, e);
	if (rc < 0)
		return rc;
	if (!is_text(&t) || x->r->off + t.len != end)
		return fail(x, "no bytes of an array", e);
	made.dtype = dtype_by_name(type->p);
	if (made.dtype == DTYPE_NONE || dtype_size(made.dtype) == 0) {
		made.dtype = DTYPE_NONE;
		made.data =
			blob_fail(t.len, EOPNOTSUPP, "unknown element type");
		rc = made.data ? 0 : err_nomem(e, 0);
	} else if (!tensor_nbytes(&made, &nbytes) || nbytes != t.len) {
		rc = fail(x, "more or fewer bytes than the shape asks for", e);
	} else {
		rc = blob_file(x->src, x->r->off, t.len, &made.data, e);
	}
	reader_skip(x->r, t.len);
	if (rc == 0)
		*out = made;
	return rc;
}

static enum param_kind kind_of(const char *full_name)
{
	if (strncmp(full_name, "batch_stats/", 12) == 0)
		return PARAM_BUFFER;
	if (strncmp(full_name, "opt_state/", 10) == 0)
		return PARAM_SLOT;
	return PARAM_PARAMETER;
}

/* Takes the tensor's data. */
static int add_param(struct reading *x, const struct frame *f,
		     struct tensor *tensor, const struct text *type,
		     struct err *e)
{
	struct param_spec spec = {
		.full_name = {x->name.p, x->name.len},
		.kind = kind_of(x->name.p),
		.tensor = *tensor,
		.dtype_text = tensor->dtype == DTYPE_NONE ? type->p : NULL,
	};
	int rc = model_path(x->m, f->mod, x->key.p, x->key.len, "/",
			    &spec.module, &spec.name, e);

	if (rc < 0) {
		blob_unref(spec.tensor.data);
		return rc;
	}
	return model_param(x->m, &spec, NULL, e);
}

/* ---- arrays in pieces ---- */

/* {"0": 5, "1": 6} */
static int read_chunked_shape(struct reading *x, struct shape *out,
			      struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	struct msgpack t;
	char index[16];
	int rc = msgpack_next(x->r, &t, e);

	if (rc == 0 && (t.kind != MSGPACK_MAP || t.len > SHAPE_RANK_MAX))
		return fail(x, "no shape", e);
	for (uint32_t i = 0; rc == 0 && i < t.len; i++) {
		snprintf(index, sizeof(index), "%u", i);
		rc = read_key(x, e);
		if (rc == 0 && strcmp(x->key.p, index) != 0)
			rc = fail(x, "extents out of order", e);
		if (rc == 0)
			rc = read_dim(x, &dims[i], e);
	}
	return rc == 0 ? shape_set(out, dims, t.len, e) : rc;
}

static int read_chunk(struct reading *x, uint32_t i, struct tensor *out,
		      struct text *type, struct err *e)
{
	struct msgpack t;
	char index[16];
	int rc = read_key(x, e);

	snprintf(index, sizeof(index), "%u", i);
	if (rc == 0 && strcmp(x->key.p, index) != 0)
		rc = fail(x, "pieces out of order", e);
	if (rc == 0)
		rc = msgpack_next(x->r, &t, e);
	if (rc == 0 && (t.kind != MSGPACK_EXT || t.ext != 1))
		rc = fail(x, "a piece that is no array", e);
	return rc == 0 ? read_array(x, t.len, out, type, e) : rc;
}

static int read_chunks(struct reading *x, struct tensor *out, struct text *type,
		       struct err *e)
{
	struct blob **parts;
	struct msgpack t;
	size_t n = 0;
	int rc = msgpack_next(x->r, &t, e);

	/* Each takes some bytes, of which there are that many. */
	if (rc == 0 && (t.kind != MSGPACK_MAP || t.len == 0))
		return fail(x, "no pieces of an array", e);
	parts = rc == 0 ? calloc(t.len, sizeof(struct blob *)) : NULL;
	if (!parts)
		return rc == 0 ? err_nomem(e, t.len) : rc;
	while (rc == 0 && n < t.len) {
		struct tensor part = {.dtype = DTYPE_NONE};

		rc = read_chunk(x, (uint32_t)n, &part, type, e);
		if (rc == 0 && n > 0 && part.dtype != out->dtype)
			rc = fail(x, "pieces of two types", e);
		out->dtype = part.dtype;
		if (part.data)
			parts[n++] = part.data;
	}
	if (rc == 0) {
		out->data = blob_cat(parts, n);
		rc = out->data ? 0 : err_nomem(e, n);
	} else {
		for (size_t i = 0; i < n; i++)
			blob_unref(parts[i]);
	}
	free(parts);
	return rc;
}

/* Behind the first key of such a map. */
static int read_chunked(struct reading *x, const struct frame *f, struct err *e)
{
	struct text key = x->key, type = {0};
	struct tensor t = {.dtype = DTYPE_NONE};
	int rc = expect(x, MSGPACK_BOOL, 0, e);

	x->key = (struct text){0};
	if (rc == 0)
		rc = read_key(x, e);
	if (rc == 0 && strcmp(x->key.p, "shape") != 0)
		rc = fail(x, "no shape of an array in pieces", e);
	if (rc == 0)
		rc = read_chunked_shape(x, &t.shape, e);
	if (rc == 0)
		rc = read_key(x, e);
	if (rc == 0 && strcmp(x->key.p, "chunks") != 0)
		rc = fail(x, "no pieces of an array", e);
	if (rc == 0)
		rc = read_chunks(x, &t, &type, e);
	text_free(&x->key);
	x->key = key;
	if (rc == 0)
		rc = add_param(x, f, &t, &type, e);
	text_free(&type);
	return rc;
}

/* ---- values ---- */

static int add_attr(struct reading *x, const struct frame *f,
		    const struct msgpack *t, struct err *e)
{
	struct text value = {0};
	char name[ERR_QUOTED];
	int rc = 0;

	if (t->kind == MSGPACK_STRING)
		rc = read_text(x, t, STRING_MAX, &value, e);
	else if (t->kind == MSGPACK_BOOL)
		text_add(&value, t->b ? "true" : "false");
	else if (t->kind == MSGPACK_INT)
		text_printf(&value, t->is_huge ? "%llu" : "%lld",
			    (unsigned long long)t->i);
	else if (t->kind == MSGPACK_FLOAT)
		text_printf(&value, "%.17g", t->f);
	else
		text_add(&value, "null");
	err_quote(name, x->key.p, x->key.len);
	if (rc == 0 &&
	    (value.failed || model_attr(x->m, f->mod, name, "%s", value.p) < 0))
		rc = err_nomem(e, value.len);
	if (rc == 0) {
		struct blob *data = blob_copy(value.p, value.len);

		rc = data ? model_config(x->m, x->name.p, data, e)
			  : err_nomem(e, value.len);
	}
	text_free(&value);
	return rc;
}

static int push(struct reading *x, const struct frame *parent,
		const struct msgpack *t, bool has_key, const struct text *name,
		struct err *e)
{
	struct frame f = {
		.mod = parent ? parent->mod : model_root(x->m),
		.name_len = x->name.len,
		.left = t->len,
		.is_map = t->kind == MSGPACK_MAP,
		.has_key = has_key,
	};
	struct span leaf;
	int rc = 0;

	if (x->depth == MODEL_DEPTH_MAX)
		return err_set(e, EFBIG, "maps nest deeper than %d",
			       MODEL_DEPTH_MAX);
	if (parent) {
		rc = model_path(x->m, f.mod, name->p, name->len, "/", &f.mod,
				&leaf, e);
		if (rc == 0)
			rc = model_module(x->m, f.mod, leaf.p, leaf.len, &f.mod,
					  e);
	}
	if (rc == 0)
		x->frames[x->depth++] = f;
	return rc;
}

/* A map or an array; a map may stand for one array. */
static int enter(struct reading *x, const struct frame *parent,
		 const struct msgpack *t, struct err *e)
{
	struct text name = x->key;
	bool has_key = t->kind == MSGPACK_MAP && t->len > 0;
	int rc = 0;

	x->key = (struct text){0};
	if (has_key)
		rc = read_key(x, e);
	if (rc == 0 && has_key && parent && t->len == 3 &&
	    strcmp(x->key.p, CHUNKED) == 0) {
		text_free(&x->key);
		x->key = name;
		return read_chunked(x, parent, e);
	}
	if (rc == 0)
		rc = push(x, parent, t, has_key, &name, e);
	text_free(&name);
	return rc;
}

static int read_ext(struct reading *x, const struct frame *f,
		    const struct msgpack *t, struct err *e)
{
	struct tensor tensor;
	struct text type = {0};
	int rc;

	if (t->ext != 1 && t->ext != 3) {
		reader_skip(x->r, t->len);
		return 0;
	}
	rc = read_array(x, t->len, &tensor, &type, e);
	if (rc == 0)
		rc = add_param(x, f, &tensor, &type, e);
	text_free(&type);
	return rc;
}

static int read_value(struct reading *x, const struct frame *f, struct err *e)
{
	struct msgpack t;
	int rc = msgpack_next(x->r, &t, e);

	if (rc < 0)
		return rc;
	switch (t.kind) {
	case MSGPACK_MAP:
	case MSGPACK_ARRAY:
		return enter(x, f, &t, e);
	case MSGPACK_EXT:
		return read_ext(x, f, &t, e);
	case MSGPACK_BINARY:
		reader_skip(x->r, t.len);
		return 0;
	default:
		return add_attr(x, f, &t, e);
	}
}

static int step(struct reading *x, struct err *e)
{
	struct frame *f = &x->frames[x->depth - 1];
	struct frame parent;
	int rc = 0;

	if (f->left == 0) {
		x->depth--;
		return 0;
	}
	f->left--;
	if (!f->is_map) {
		x->key.len = 0;
		text_printf(&x->key, "%u", f->index++);
	} else if (!f->has_key) {
		rc = read_key(x, e);
	}
	f->has_key = false;
	x->name.len = f->name_len;
	text_add(&x->name, f->name_len ? "/" : "");
	text_add_bytes(&x->name, x->key.p ? x->key.p : "", x->key.len);
	if (rc == 0 && (x->name.failed || x->key.failed))
		rc = err_nomem(e, x->key.len);
	parent = *f;
	return rc == 0 ? read_value(x, &parent, e) : rc;
}

static int read_root(struct reading *x, struct err *e)
{
	struct msgpack t;
	int rc = msgpack_next(x->r, &t, e);

	if (rc == 0 && t.kind != MSGPACK_MAP)
		return fail(x, "no map", e);
	if (rc == 0)
		rc = enter(x, NULL, &t, e);
	while (rc == 0 && x->depth > 0)
		rc = step(x, e);
	if (rc == 0 && x->r->bad)
		return fail(x, "ends too early", e);
	if (rc == 0 && reader_left(x->r) > 0)
		return fail(x, "something behind the end", e);
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct reading *x = calloc(1, sizeof(*x));
	int rc;

	if (!x)
		return err_nomem(e, sizeof(*x));
	x->m = m;
	x->src = in->file;
	x->r = reader_new(in->file, 0, source_size(in->file));
	rc = x->r ? read_root(x, e) : err_nomem(e, sizeof(*x->r));
	reader_free(x->r);
	text_free(&x->name);
	text_free(&x->key);
	free(x);
	return rc;
}

/* A map whose first key is a word: nothing else tells. */
static int probe(const struct input *in)
{
	size_t at = 1, len;

	if (!in->file || in->nhead < 4)
		return 0;
	if (in->head[0] == 0xde)
		at = 3;
	else if (in->head[0] < 0x81 || in->head[0] > 0x8f)
		return 0;
	if (in->head[at] < 0xa1 || in->head[at] > 0xbf)
		return 0;
	len = in->head[at++] & 0x1f;
	if (at + len > in->nhead)
		return 0;
	for (size_t i = at; i < at + len; i++)
		if (in->head[i] < 0x20 || in->head[i] > 0x7e)
			return 0;
	return 35;
}

const struct format format_flax = {
	.name = "flax",
	.title = "flax checkpoints (MessagePack)",
	.probe = probe,
	.read = read,
};
