/* SPDX-License-Identifier: MIT */
/*
 * safetensors - a JSON header and one block of data behind it.
 *
 *	u64 n | n bytes of JSON | data
 *	{"__metadata__": {key: text}, name: {"dtype": "F32", "shape": [..],
 *	 "data_offsets": [begin, end]}, ...}
 *
 * As strict as the reference reader: tensors cover the data without holes,
 * overlaps or bytes left over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/dtype.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/safetensors.h"
#include "wire/json.h"

/* The reference reader's own limit. */
#define HEADER_MAX 100000000u

struct entry {
	struct span name;
	const char *dtype_text; /* for a type we do not know */
	enum dtype dtype;
	struct shape shape;
	uint64_t begin, end; /* in the data */
	uint32_t order;	     /* in the header */
	const char *bad;     /* why its data cannot be had (lenient) */
};

struct reading {
	struct model *m;
	struct source *src;
	const struct safetensors_part *part; /* NULL: all of it */
	struct map *names; /* name → 1 */
	struct entry *entries;
	size_t nentries, cap;
	uint64_t data_off, data_len;
	bool has_metadata;
};

static const struct {
	const char *name;
	enum dtype dtype;
} types[] = {
	{"BOOL", DTYPE_BOOL},
	{"U8", DTYPE_U8},
	{"I8", DTYPE_I8},
	{"U16", DTYPE_U16},
	{"I16", DTYPE_I16},
	{"U32", DTYPE_U32},
	{"I32", DTYPE_I32},
	{"U64", DTYPE_U64},
	{"I64", DTYPE_I64},
	{"F16", DTYPE_F16},
	{"BF16", DTYPE_BF16},
	{"F32", DTYPE_F32},
	{"F64", DTYPE_F64},
	{"C64", DTYPE_C64},
	{"F8_E4M3", DTYPE_F8_E4M3FN},
	{"F8_E5M2", DTYPE_F8_E5M2},
	{"F8_E4M3FNUZ", DTYPE_F8_E4M3FNUZ},
	{"F8_E5M2FNUZ", DTYPE_F8_E5M2FNUZ},
	{"F8_E8M0", DTYPE_F8_E8M0},
	{"F4", DTYPE_F4_E2M1},
	{"F6_E2M3", DTYPE_F6_E2M3},
	{"F6_E3M2", DTYPE_F6_E3M2},
};

static enum dtype find_type(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i].name) == len &&
		    memcmp(types[i].name, name, len) == 0)
			return types[i].dtype;
	return DTYPE_NONE;
}

static int read_dtype(struct reading *r, const struct json *v, struct entry *t,
		      struct err *e)
{
	size_t len = 0;
	const char *name = json_get_string(v, &len);

	if (!name)
		return err_set(e, EINVAL, "no dtype");
	t->dtype = find_type(name, len);
	if (t->dtype != DTYPE_NONE)
		return 0;
	t->dtype_text = arena_strndup(r->m->arena, name, len);
	return t->dtype_text ? 0 : err_nomem(e, len);
}

static int read_shape(const struct json *v, struct entry *t, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	size_t rank = json_count(v);

	if (json_kind(v) != JSON_KIND_ARRAY)
		return err_set(e, EINVAL, "no shape");
	if (rank > SHAPE_RANK_MAX)
		return err_set(e, EOPNOTSUPP, "%zu dimensions", rank);
	for (size_t i = 0; i < rank; i++)
		if (!json_get_int(json_item(v, i), &dims[i]) || dims[i] < 0)
			return err_set(e, EINVAL,
				       "extent %zu is no natural number", i);
	return shape_set(&t->shape, dims, rank, e);
}

static int read_offsets(const struct reading *r, const struct json *v,
			struct entry *t, struct err *e)
{
	int64_t begin, end;

	if (json_kind(v) != JSON_KIND_ARRAY || json_count(v) != 2 ||
	    !json_get_int(json_item(v, 0), &begin) ||
	    !json_get_int(json_item(v, 1), &end) || begin < 0)
		return err_set(e, EINVAL,
			       "data_offsets are no two natural numbers");
	if (end < begin || (uint64_t)end > r->data_len)
		return err_set(e, EINVAL,
			       "data_offsets [%lld, %lld] with %llu bytes of "
			       "data",
			       (long long)begin, (long long)end,
			       (unsigned long long)r->data_len);
	t->begin = (uint64_t)begin;
	t->end = (uint64_t)end;
	return 0;
}

/* The size that type and shape ask for; six-bit types count in bits. */
static int check_size(const struct entry *t, struct err *e)
{
	uint64_t nelems, nbytes, bits = 0;

	if (!shape_nelems(&t->shape, &nelems))
		return err_set(e, EINVAL, "the shape is too large");
	if (t->dtype == DTYPE_NONE)
		return 0;
	if (t->dtype == DTYPE_F4_E2M1)
		bits = 4;
	if (t->dtype == DTYPE_F6_E2M3 || t->dtype == DTYPE_F6_E3M2)
		bits = 6;
	if (bits) {
		if (__builtin_mul_overflow(nelems, bits, &nbytes) ||
		    nbytes % 8 != 0)
			return err_set(e, EINVAL, "%llu elements of %llu bits",
				       (unsigned long long)nelems,
				       (unsigned long long)bits);
		nbytes /= 8;
	} else if (!dtype_nbytes(t->dtype, nelems, &nbytes)) {
		return err_set(e, EINVAL, "the shape is too large");
	}
	if (t->end - t->begin != nbytes)
		return err_set(e, EINVAL, "%llu bytes of data for %llu",
			       (unsigned long long)(t->end - t->begin),
			       (unsigned long long)nbytes);
	return 0;
}

/* With -o lenient a tensor of unusable data is listed. */
static int keep_bad(struct reading *r, struct entry *t, const struct err *why,
		    struct err *e)
{
	t->bad = arena_strndup(r->m->arena, why->msg, strlen(why->msg));
	t->begin = t->end = 0;
	return t->bad ? 0 : err_nomem(e, strlen(why->msg));
}

static int read_entry(struct reading *r, const struct json *v, struct entry *t,
		      struct err *e)
{
	struct err why = {0};
	int rc;

	if (json_kind(v) != JSON_KIND_OBJECT)
		return err_set(e, EINVAL, "no object");
	rc = read_dtype(r, json_member(v, "dtype"), t, e);
	if (rc == 0)
		rc = read_shape(json_member(v, "shape"), t, e);
	if (rc < 0)
		return rc;
	rc = read_offsets(r, json_member(v, "data_offsets"), t, &why);
	if (rc == 0)
		rc = check_size(t, &why);
	if (rc < 0 && r->m->lenient)
		return keep_bad(r, t, &why, e);
	return rc < 0 ? err_set(e, why.code, "%s", why.msg) : 0;
}

static int grow(struct reading *r, struct err *e)
{
	size_t cap = r->cap ? r->cap * 2 : 64;
	struct entry *entries;

	if (r->nentries < r->cap)
		return 0;
	if (r->nentries >= MODEL_OBJECTS_MAX)
		return err_set(e, EFBIG, "more than %u tensors",
			       MODEL_OBJECTS_MAX);
	entries = realloc(r->entries, cap * sizeof(*entries));
	if (!entries)
		return err_nomem(e, cap * sizeof(*entries));
	r->entries = entries;
	r->cap = cap;
	return 0;
}

static int add_entry(struct reading *r, const struct span *name,
		     const struct json *v, struct err *e)
{
	int rc = grow(r, e);
	struct entry *t;

	if (rc < 0)
		return rc;
	t = &r->entries[r->nentries];
	*t = (struct entry){.name = *name, .order = (uint32_t)r->nentries};
	rc = read_entry(r, v, t, e);
	if (rc == 0)
		r->nentries++;
	return rc;
}

/* {text: text}, one file of config/ each. */
static int read_metadata(struct reading *r, const struct json *v, struct err *e)
{
	const struct json *member;
	const char *key, *text;
	void *it = NULL;
	size_t len = 0;
	int rc;

	if (json_kind(v) != JSON_KIND_OBJECT)
		return err_set(e, EINVAL, "no object");
	while (json_next(v, &it, &key, &member)) {
		struct blob *data;

		if (r->part && !r->part->has_config)
			continue;
		text = json_get_string(member, &len);
		if (!text)
			return err_set(e, EINVAL, "a value is no string");
		data = blob_copy(text, len);
		if (!data)
			return err_nomem(e, len);
		rc = model_config(r->m, key, data, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int take_member(void *ctx, const char *key, size_t len,
		       const struct json *value, struct err *e)
{
	struct reading *r = ctx;
	struct span name = {arena_strndup(r->m->arena, key, len), len};
	char quoted[ERR_QUOTED];
	int rc;

	if (!name.p)
		return err_nomem(e, len);
	rc = map_add(r->names, name.p, len, 1);
	if (rc == -EEXIST)
		err_set(e, EINVAL, "appears twice");
	else if (rc < 0)
		err_nomem(e, len);
	else if (len == 12 && memcmp(key, "__metadata__", 12) == 0)
		rc = read_metadata(r, value, e);
	else
		rc = add_entry(r, &name, value, e);
	if (rc < 0)
		return err_wrap(e, "%s", err_quote(quoted, key, len));
	return 0;
}

static int by_data(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;

	if (a->begin != b->begin)
		return a->begin < b->begin ? -1 : 1;
	if (a->end != b->end)
		return a->end < b->end ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static int by_order(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;

	return a->order < b->order ? -1 : a->order > b->order;
}

/* Every byte of the data belongs to exactly one tensor. */
static int check_cover(struct reading *r, struct err *e)
{
	uint64_t at = 0;
	char quoted[ERR_QUOTED];

	if (r->nentries > 0)
		qsort(r->entries, r->nentries, sizeof(*r->entries), by_data);
	for (size_t i = 0; i < r->nentries; i++) {
		const struct entry *t = &r->entries[i];

		if (t->begin != at)
			return err_set(
				e, EINVAL,
				"%s: starts at byte %llu of the data, "
				"%s at %llu",
				err_quote(quoted, t->name.p, t->name.len),
				(unsigned long long)t->begin,
				t->begin < at ? "the one before ends"
					      : "there is a hole",
				(unsigned long long)at);
		at = t->end;
	}
	if (at != r->data_len)
		return err_set(e, EINVAL, "%llu bytes behind the last tensor",
			       (unsigned long long)(r->data_len - at));
	if (r->nentries > 0)
		qsort(r->entries, r->nentries, sizeof(*r->entries), by_order);
	return 0;
}

static int make_data(struct reading *r, const struct entry *t,
		     struct blob **out, struct err *e)
{
	if (!t->bad && t->dtype != DTYPE_NONE)
		return blob_file(r->src, r->data_off + t->begin,
				 t->end - t->begin, out, e);
	if (t->bad)
		*out = blob_fail(0, EIO, t->bad);
	else
		*out = blob_fail(t->end - t->begin, EOPNOTSUPP,
				 "unknown element type");
	return *out ? 0 : err_nomem(e, 0);
}

static int add_param(struct reading *r, const struct entry *t, struct err *e)
{
	struct param_spec spec = {
		.full_name = t->name,
		.tensor = {.dtype = t->dtype, .shape = t->shape},
		.dtype_text = t->dtype_text,
	};
	struct param *p;
	int rc;

	rc = model_path(r->m, model_root(r->m), t->name.p, t->name.len, ".",
			&spec.module, &spec.name, e);
	if (rc == 0 && param_is_buffer_name(spec.name.p, spec.name.len))
		spec.kind = PARAM_BUFFER;
	if (rc == 0)
		rc = make_data(r, t, &spec.tensor.data, e);
	return rc == 0 ? model_param(r->m, &spec, &p, e) : rc;
}

static int read_header(struct reading *r, const char *text, size_t len,
		       struct err *e)
{
	int rc = json_each_member(text, len, take_member, r, e);

	if (rc == 0 && !r->m->lenient)
		rc = check_cover(r, e);
	for (size_t i = 0; rc == 0 && i < r->nentries; i++) {
		const struct span *name = &r->entries[i].name;

		if (!r->part ||
		    r->part->wants(r->part->ctx, name->p, name->len))
			rc = add_param(r, &r->entries[i], e);
	}
	return rc;
}

static uint64_t get_u64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

int safetensors_read(struct source *src, const struct safetensors_part *part,
		     struct model *m, struct err *e)
{
	uint64_t size = source_size(src), len;
	struct reading r = {.m = m, .src = src, .part = part};
	uint8_t head[8];
	char *text;
	int rc;

	if (size < 8)
		return err_set(e, EINVAL, "%llu bytes are no safetensors file",
			       (unsigned long long)size);
	rc = source_read(src, head, 8, 0, e);
	if (rc < 0)
		return rc;
	len = get_u64(head);
	if (len > HEADER_MAX || len > size - 8)
		return err_set(e, EINVAL, "the header (%llu bytes) is %s",
			       (unsigned long long)len,
			       len > HEADER_MAX ? "too large"
						: "beyond the file");
	text = malloc(len + 1);
	r.names = map_new();
	r.data_off = 8 + len;
	r.data_len = size - r.data_off;
	if (!text || !r.names)
		rc = err_nomem(e, len);
	if (rc == 0)
		rc = source_read(src, text, len, 8, e);
	if (rc == 0)
		rc = read_header(&r, text, len, e);
	free(text);
	free(r.entries);
	map_free(r.names);
	return rc;
}

static int probe(const struct input *in)
{
	uint64_t len;
	size_t i = 8;

	if (!in->file || in->nhead < 10)
		return 0;
	len = get_u64(in->head);
	while (i < in->nhead && strchr(" \t\r\n", in->head[i]) &&
	       in->head[i] != 0)
		i++;
	if (i >= in->nhead || in->head[i] != '{')
		return 0;
	/* A header that cannot be right still deserves the right message. */
	if (len > HEADER_MAX || len > source_size(in->file) - 8)
		return 40;
	return 90;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	return safetensors_read(in->file, NULL, m, e);
}

const struct format format_safetensors = {
	.name = "safetensors",
	.title = "safetensors files",
	.probe = probe,
	.read = read,
};
