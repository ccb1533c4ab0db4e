/* SPDX-License-Identifier: MIT */
/*
 * legacy - torch.save from 0.1.10 to 1.5 (torch/serialization.py,
 * _legacy_save): five pickles and the storages, back to back
 *
 *	0x1950a86a20f9469cfc6c | 1001 | {"little_endian": True, …} | object |
 *	[key, …] | for each key: i64 count, count elements
 *
 * How long an element is only the object says, in its persistent ids.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"

#include "format/pytorch/pytorch.h"

#define PROTOCOL 1001

/* PROTO 2, LONG1 and ten bytes of the magic number. */
static const uint8_t magic[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
				0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

struct place {
	uint64_t off; /* 0: not yet known */
	uint64_t count;
	size_t size; /* of an element */
};

struct torch_legacy {
	struct map *keys; /* key → index into places */
	struct place *places;
	size_t nplaces, cap;
};

static int find_storage(struct torch *t, struct pickle_text key,
			uint64_t nbytes, struct blob **out, struct err *e)
{
	const struct torch_legacy *l = t->container;
	const struct place *p;
	char quoted[ERR_QUOTED];
	uint64_t idx;

	if (!map_get(l->keys, key.p, key.len, &idx) || l->places[idx].off == 0)
		return err_set(e, EINVAL, "there is no storage %s",
			       err_quote(quoted, key.p, key.len));
	p = &l->places[idx];
	/* No overflow: the file has this many. */
	if (p->count * p->size != nbytes)
		return err_set(e, EINVAL, "storage %s has %llu bytes, not %llu",
			       err_quote(quoted, key.p, key.len),
			       (unsigned long long)(p->count * p->size),
			       (unsigned long long)nbytes);
	return blob_file(t->src, p->off, nbytes, out, e);
}

static int add_place(struct torch_legacy *l, struct pickle_text key,
		     size_t size, struct err *e)
{
	size_t cap = l->cap ? l->cap * 2 : 64;
	struct place *places;
	uint64_t idx;

	if (map_get(l->keys, key.p, key.len, &idx))
		return l->places[idx].size == size
			       ? 0
			       : err_set(e, EINVAL, "a storage of two types");
	if (l->nplaces == l->cap) {
		places = realloc(l->places, cap * sizeof(*places));
		if (!places)
			return err_nomem(e, cap * sizeof(*places));
		l->places = places;
		l->cap = cap;
	}
	l->places[l->nplaces] = (struct place){.size = size};
	if (map_add(l->keys, key.p, key.len, l->nplaces) < 0)
		return err_nomem(e, key.len);
	l->nplaces++;
	return 0;
}

/* Notes the element size of every storage the object mentions. */
static int take_persid(struct pickle_node *n, void *ctx, struct err *e)
{
	const struct pickle_node *key;
	enum dtype dtype;
	bool is_untyped;

	if (n->kind != PICKLE_PERSID ||
	    !pickle_is_string(pickle_item(n->callable, 0), "storage"))
		return 0;
	key = pickle_item(n->callable, 2);
	if (!key || key->kind != PICKLE_STRING ||
	    !torch_storage_dtype(pickle_item(n->callable, 1), &dtype,
				 &is_untyped))
		return err_set(e, EINVAL, "a storage without key or class");
	if (dtype == DTYPE_NONE && !is_untyped)
		return err_set(e, EOPNOTSUPP, "a storage of unknown type");
	return add_place(ctx, key->s, torch_storage_width(dtype), e);
}

static int read_place(struct torch_legacy *l, struct reader *r,
		      const struct pickle_node *key, struct err *e)
{
	uint64_t idx, count;
	struct place *p;

	if (key->kind != PICKLE_STRING ||
	    !map_get(l->keys, key->s.p, key->s.len, &idx))
		return err_set(e, EINVAL,
			       "byte %llu: a storage nobody mentions",
			       (unsigned long long)r->off);
	p = &l->places[idx];
	if (p->off)
		return err_set(e, EINVAL, "a storage that is there twice");
	count = reader_u64(r);
	if (r->bad || !reader_fits(r, count, p->size))
		return err_set(e, EINVAL,
			       "byte %llu: a storage beyond the file",
			       (unsigned long long)r->off);
	p->off = r->off;
	p->count = count;
	reader_skip(r, count * p->size);
	return 0;
}

static int read_places(struct torch *t, struct reader *r,
		       struct pickle_node *root, struct err *e)
{
	struct torch_legacy *l = t->container;
	struct pickle_node *keys;
	int rc = pickle_each(root, take_persid, l, e);

	if (rc == 0)
		rc = pickle_read(r, t->arena, &keys, e);
	if (rc == 0 && keys->kind != PICKLE_LIST)
		rc = err_set(e, EINVAL, "no list of storages");
	for (size_t i = 0; rc == 0 && i < keys->nitems; i++)
		rc = read_place(l, r, keys->items[i], e);
	return rc;
}

static int read_stream(struct torch *t, struct reader *r,
		       struct pickle_node **root, struct err *e)
{
	struct pickle_node *number, *protocol, *info, *object;
	int rc = pickle_read(r, t->arena, &number, e);

	if (rc == 0 && (number->kind != PICKLE_BIGINT || number->s.len != 10 ||
			memcmp(number->s.p, magic + 2, 10) != 0))
		rc = err_set(e, EINVAL, "no stream of torch.save");
	if (rc == 0)
		rc = pickle_read(r, t->arena, &protocol, e);
	if (rc == 0 &&
	    (protocol->kind != PICKLE_INT || protocol->i != PROTOCOL))
		rc = err_set(e, EOPNOTSUPP, "an unknown protocol");
	if (rc == 0)
		rc = pickle_read(r, t->arena, &info, e);
	if (rc == 0 && info->kind != PICKLE_DICT)
		rc = err_set(e, EINVAL, "no description of the system");
	if (rc == 0)
		rc = pickle_read(r, t->arena, &object, e);
	if (rc == 0)
		rc = read_places(t, r, object, e);
	if (rc == 0)
		*root = object;
	return rc;
}

int torch_legacy_open(struct torch *t, uint64_t off, uint64_t len,
		      struct pickle_node **root, struct err *e)
{
	struct torch_legacy *l = calloc(1, sizeof(*l));
	struct reader *r = reader_new(t->src, off, len);
	int rc = 0;

	t->container = l;
	t->find = find_storage;
	if (l)
		l->keys = map_new();
	if (!l || !l->keys || !r)
		rc = err_nomem(e, sizeof(*r));
	if (rc == 0)
		rc = read_stream(t, r, root, e);
	reader_free(r);
	return rc;
}

void torch_legacy_close(struct torch *t)
{
	struct torch_legacy *l = t->container;

	if (!l)
		return;
	map_free(l->keys);
	free(l->places);
	free(l);
	t->container = NULL;
}

/* ---- a stream inside of a pickle ---- */

/* The stream's object is a storage; takes over nothing of the outer file. */
static int read_nested(struct torch *inner, uint64_t off, uint64_t len,
		       struct torch_storage *out, struct err *e)
{
	const struct torch_storage *s;
	struct pickle_node *root;
	int rc = torch_legacy_open(inner, off, len, &root, e);

	/* Streams inside of streams inside of streams: nobody writes them. */
	if (rc == 0 && root->kind != PICKLE_PERSID)
		rc = err_set(e, EOPNOTSUPP, "a nested file of no storage");
	if (rc == 0)
		rc = torch_find_storage(inner, root, &s, e);
	if (rc < 0)
		return rc;
	*out = *s;
	blob_ref(out->data);
	return 0;
}

int torch_nested_storage(struct torch *t, const struct pickle_node *bytes,
			 struct torch_storage *out, struct err *e)
{
	struct torch inner = {.m = t->m, .arena = t->arena};
	uint64_t off = 0;
	char *copy;
	int rc = 0;

	if (!bytes ||
	    (bytes->kind != PICKLE_BYTES && bytes->kind != PICKLE_STRING))
		return err_set(e, EINVAL, "a nested file of no bytes");
	if (!bytes->s.p) {
		off = bytes->off;
		inner.src = source_ref(t->src);
	} else {
		copy = malloc(bytes->s.len + 1);
		if (!copy)
			return err_nomem(e, bytes->s.len);
		memcpy(copy, bytes->s.p, bytes->s.len);
		rc = source_from_memory(copy, bytes->s.len, source_name(t->src),
					&inner.src, e);
	}
	inner.storages = map_new();
	if (rc == 0 && !inner.storages)
		rc = err_nomem(e, 0);
	if (rc == 0)
		rc = read_nested(&inner, off, bytes->s.len, out, e);
	torch_legacy_close(&inner);
	torch_finish(&inner);
	return rc;
}

/* ---- the format ---- */

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct torch t = {
		.m = m,
		.src = source_ref(in->file),
		.arena = arena_new(),
		.storages = map_new(),
	};
	struct pickle_node *root;
	int rc = t.arena && t.storages ? 0 : err_nomem(e, 0);

	if (rc == 0)
		rc = torch_legacy_open(&t, 0, source_size(in->file), &root, e);
	if (rc == 0)
		rc = torch_walk(&t, root, e);
	torch_legacy_close(&t);
	torch_finish(&t);
	arena_free(t.arena);
	return rc;
}

static int probe(const struct input *in)
{
	if (!in->file || in->nhead < 2 + sizeof(magic) || in->head[0] != 0x80 ||
	    memcmp(in->head + 2, magic, sizeof(magic)) != 0)
		return 0;
	return 95;
}

const struct format format_pytorch_legacy = {
	.name = "pytorch-legacy",
	.title = "PyTorch checkpoints of before 1.6 (a stream of pickles)",
	.probe = probe,
	.read = read,
};
