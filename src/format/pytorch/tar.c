/* SPDX-License-Identifier: MIT */
/*
 * tar - torch.save of 0.1.1 to 0.1.9 (torch/serialization.py, legacy_load): a
 * tar archive with three members
 *
 *	storages	pickle n | n times: pickle (key, location, class),
 *			i64 count, elements | pickle [(key, root, offset,
 *			count), …]: storages that are parts of others
 *	tensors		pickle n | n times: pickle (key, storage, class),
 *			i32 rank, 4 bytes, i64 size[rank], i64 stride[rank],
 *			i64 offset
 *	pickle		the object; a persistent id is the key of a tensor
 *
 * Every such id is replaced by the call that newer files have in its place.
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
#include "modelfs/text.h"

#include "format/formats.h"
#include "format/pytorch/pytorch.h"
#include "wire/tar.h"

/* A storage or a tensor, under its key. */
struct object {
	struct pickle_node *node; /* persistent id, or call */
	uint64_t off, nbytes;	  /* of a storage's data; off 0: a part */
};

struct torch_tar {
	struct torch *t;
	struct map *keys; /* key → index */
	struct object *objects;
	size_t n, cap;
};

/* ---- nodes ---- */

static struct pickle_node *new_node(struct torch_tar *x, enum pickle_kind kind)
{
	struct pickle_node *n = arena_alloc(x->t->arena, sizeof(*n));

	if (n)
		n->kind = kind;
	return n;
}

static struct pickle_node *new_string(struct torch_tar *x, const char *s,
				      size_t len)
{
	struct pickle_node *n = new_node(x, PICKLE_STRING);

	if (!n)
		return NULL;
	n->s.p = arena_strndup(x->t->arena, s, len);
	n->s.len = len;
	return n->s.p ? n : NULL;
}

static struct pickle_node *new_int(struct torch_tar *x, int64_t v)
{
	struct pickle_node *n = new_node(x, PICKLE_INT);

	if (n)
		n->i = v;
	return n;
}

/* NULL also when one of the items is. */
static struct pickle_node *new_tuple(struct torch_tar *x,
				     struct pickle_node *const *items, size_t n)
{
	struct pickle_node *t = new_node(x, PICKLE_TUPLE);

	if (!t)
		return NULL;
	t->items = arena_array(x->t->arena, n + 1, sizeof(*t->items));
	for (size_t i = 0; t->items && i < n; i++) {
		if (!items[i])
			return NULL;
		t->items[i] = items[i];
	}
	t->nitems = n;
	return t->items ? t : NULL;
}

static struct pickle_node *new_ints(struct torch_tar *x, const int64_t *v,
				    size_t n)
{
	struct pickle_node *items[SHAPE_RANK_MAX];

	for (size_t i = 0; i < n; i++)
		items[i] = new_int(x, v[i]);
	return new_tuple(x, items, n);
}

/* The persistent id of a storage, as torch_find_storage knows it. */
static struct pickle_node *new_storage(struct torch_tar *x,
				       struct pickle_node *class,
				       const struct text *key, int64_t count,
				       struct pickle_node *view)
{
	struct pickle_node *items[] = {
		new_string(x, "storage", 7),
		class,
		new_string(x, key->p ? key->p : "", key->len),
		new_string(x, "cpu", 3),
		new_int(x, count),
		view,
	};
	struct pickle_node *n = new_node(x, PICKLE_PERSID);

	if (n)
		n->callable = new_tuple(x, items, view ? 6 : 5);
	return n && n->callable ? n : NULL;
}

/* _rebuild_tensor(storage, offset, size, stride) */
static struct pickle_node *new_tensor(struct torch_tar *x,
				      struct pickle_node *storage,
				      int64_t offset, struct pickle_node *size,
				      struct pickle_node *stride)
{
	static const char module[] = "torch._utils", name[] = "_rebuild_tensor";
	struct pickle_node *items[] = {storage, new_int(x, offset), size,
				       stride};
	struct pickle_node *n = new_node(x, PICKLE_OBJECT);
	struct pickle_node *f = new_node(x, PICKLE_GLOBAL);

	if (!n || !f)
		return NULL;
	f->module = (struct pickle_text){module, sizeof(module) - 1};
	f->name = (struct pickle_text){name, sizeof(name) - 1};
	n->callable = f;
	n->args = new_tuple(x, items, 4);
	return n->args ? n : NULL;
}

/* ---- objects by key ---- */

/* Numbers and strings: the first of either kind was an int, later a str. */
static bool get_key(const struct pickle_node *n, struct text *out)
{
	out->len = 0;
	if (!n || (n->kind != PICKLE_STRING && n->kind != PICKLE_INT))
		return false;
	torch_format_key(n, out);
	return true;
}

static struct object *find_object(const struct torch_tar *x,
				  const struct pickle_node *key)
{
	struct text text = {0};
	struct object *found = NULL;
	uint64_t idx;

	if (get_key(key, &text) && !text.failed &&
	    map_get(x->keys, text.p ? text.p : "", text.len, &idx))
		found = &x->objects[idx];
	text_free(&text);
	return found;
}

static int add_object(struct torch_tar *x, const struct text *key,
		      const struct object *o, struct err *e)
{
	size_t cap = x->cap ? x->cap * 2 : 64;
	struct object *objects;
	const char *copy;
	int rc;

	if (x->n == x->cap) {
		objects = realloc(x->objects, cap * sizeof(*objects));
		if (!objects)
			return err_nomem(e, cap * sizeof(*objects));
		x->objects = objects;
		x->cap = cap;
	}
	copy = arena_strndup(x->t->arena, key->p ? key->p : "", key->len);
	rc = copy ? map_add(x->keys, copy, key->len, x->n) : -ENOMEM;
	if (rc == -EEXIST)
		return err_set(e, EINVAL, "two objects of one key");
	if (rc < 0 || !o->node)
		return err_nomem(e, key->len);
	x->objects[x->n++] = *o;
	return 0;
}

/* ---- storages ---- */

static int find_storage(struct torch *t, struct pickle_text key,
			uint64_t nbytes, struct blob **out, struct err *e)
{
	const struct torch_tar *x = t->container;
	uint64_t idx;

	if (!map_get(x->keys, key.p, key.len, &idx) ||
	    x->objects[idx].off == 0 || x->objects[idx].nbytes != nbytes)
		return err_set(e, EINVAL, "there is no such storage");
	return blob_file(t->src, x->objects[idx].off, nbytes, out, e);
}

/* The number of objects that follow; each is some bytes. */
static int read_count(struct torch_tar *x, struct reader *r, size_t *out,
		      struct err *e)
{
	struct pickle_node *n;
	int rc = pickle_read(r, x->t->arena, &n, e);

	if (rc < 0)
		return rc;
	if (n->kind != PICKLE_INT || n->i < 0 ||
	    !reader_fits(r, (uint64_t)n->i, 8))
		return err_set(e, EINVAL, "byte %llu: no number of objects",
			       (unsigned long long)r->off);
	*out = (size_t)n->i;
	return 0;
}

static int read_storage(struct torch_tar *x, struct reader *r, struct err *e)
{
	struct object o = {0};
	struct text key = {0};
	struct pickle_node *n, *class;
	enum dtype dtype = DTYPE_NONE;
	bool is_untyped;
	uint64_t count;
	int rc = pickle_read(r, x->t->arena, &n, e);

	if (rc < 0)
		return rc;
	class = pickle_item(n, 2);
	if (!torch_storage_dtype(class, &dtype, &is_untyped) ||
	    dtype == DTYPE_NONE || !get_key(pickle_item(n, 0), &key))
		rc = err_set(e, EINVAL, "a storage without key or class");
	count = rc == 0 ? reader_u64(r) : 0;
	if (rc == 0 && (r->bad || !reader_fits(r, count, dtype_size(dtype))))
		rc = err_set(e, EINVAL, "byte %llu: a storage beyond the file",
			     (unsigned long long)r->off);
	if (rc == 0) {
		o.off = r->off;
		o.nbytes = count * dtype_size(dtype);
		o.node = new_storage(x, class, &key, (int64_t)count, NULL);
		reader_skip(r, o.nbytes);
		rc = add_object(x, &key, &o, e);
	}
	text_free(&key);
	return rc;
}

/* (key, root, offset, count) */
static int add_view(struct torch_tar *x, const struct pickle_node *view,
		    struct err *e)
{
	const struct object *root = find_object(x, pickle_item(view, 1));
	const struct pickle_node *id = root ? root->node->callable : NULL;
	struct pickle_node *items[] = {pickle_item(view, 0),
				       pickle_item(view, 2),
				       pickle_item(view, 3)};
	struct text key = {0}, root_key = {0};
	struct object o = {0};
	int rc;

	if (!id || root->off == 0 || !get_key(pickle_item(id, 2), &root_key) ||
	    !get_key(items[0], &key)) {
		rc = err_set(e, EINVAL, "a part of no storage");
	} else {
		o.node = new_storage(x, pickle_item(id, 1), &root_key,
				     pickle_item(id, 4)->i,
				     new_tuple(x, items, 3));
		rc = add_object(x, &key, &o, e);
	}
	text_free(&key);
	text_free(&root_key);
	return rc;
}

static int read_storages(struct torch_tar *x, struct reader *r, struct err *e)
{
	struct pickle_node *views;
	size_t n;
	int rc = read_count(x, r, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = read_storage(x, r, e);
	/* Writers other than torch leave the views out, and the tensors. */
	if (rc < 0 || reader_left(r) == 0)
		return rc;
	rc = pickle_read(r, x->t->arena, &views, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < views->nitems; i++)
		rc = add_view(x, views->items[i], e);
	return rc;
}

/* ---- tensors ---- */

static int read_tensor(struct torch_tar *x, struct reader *r, struct err *e)
{
	int64_t size[SHAPE_RANK_MAX], stride[SHAPE_RANK_MAX], offset;
	const struct object *storage;
	struct text key = {0};
	struct object o = {0};
	struct pickle_node *n;
	uint32_t rank;
	int rc = pickle_read(r, x->t->arena, &n, e);

	if (rc < 0)
		return rc;
	storage = find_object(x, pickle_item(n, 1));
	if (!storage || storage->node->kind != PICKLE_PERSID)
		return err_set(e, EINVAL, "a tensor of no storage");
	rank = reader_u32(r);
	reader_skip(r, 4);
	if (r->bad || rank > SHAPE_RANK_MAX)
		return err_set(e, EINVAL, "byte %llu: a tensor of rank %u",
			       (unsigned long long)r->off, rank);
	for (uint32_t i = 0; i < rank; i++)
		size[i] = (int64_t)reader_u64(r);
	for (uint32_t i = 0; i < rank; i++)
		stride[i] = (int64_t)reader_u64(r);
	offset = (int64_t)reader_u64(r);
	if (r->bad || !get_key(pickle_item(n, 0), &key)) {
		text_free(&key);
		return err_set(e, EINVAL, "a tensor that is cut off");
	}
	o.node = new_tensor(x, storage->node, offset, new_ints(x, size, rank),
			    new_ints(x, stride, rank));
	rc = add_object(x, &key, &o, e);
	text_free(&key);
	return rc;
}

static int read_tensors(struct torch_tar *x, struct reader *r, struct err *e)
{
	size_t n;
	int rc = read_count(x, r, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = read_tensor(x, r, e);
	return rc;
}

/* ---- the object ---- */

/* A key stands for its tensor, a tuple for the class that is its first. */
static int replace(struct pickle_node *n, void *ctx, struct err *e)
{
	const struct torch_tar *x = ctx;
	const struct object *o;

	if (n->kind != PICKLE_PERSID || n->callable->kind == PICKLE_TUPLE)
		return 0;
	o = find_object(x, n->callable);
	if (!o)
		return err_set(e, EINVAL, "there is no object of this key");
	*n = *o->node;
	return 0;
}

static int read_object(struct torch_tar *x, struct reader *r, struct err *e)
{
	struct pickle_node *root;
	int rc = pickle_read(r, x->t->arena, &root, e);

	if (rc == 0)
		rc = pickle_each(root, replace, x, e);
	return rc == 0 ? torch_walk(x->t, root, e) : rc;
}

static int read_members(struct torch_tar *x, struct err *e)
{
	static const char *const names[] = {"storages", "tensors", "pickle"};
	static int (*const parts[])(struct torch_tar * x, struct reader * r,
				    struct err * e) = {
		read_storages, read_tensors, read_object};
	struct tar_member members[3];
	int rc = tar_find(x->t->src, names, 3, members, e);

	if (rc == 0 && (!members[0].next || !members[2].next))
		rc = err_set(e, EINVAL, "no storages or no pickle");
	for (size_t i = 0; rc == 0 && i < 3; i++) {
		struct reader *r;

		if (!members[i].next)
			continue;
		r = reader_new(x->t->src, members[i].off, members[i].size);
		rc = r ? parts[i](x, r, e) : err_nomem(e, sizeof(*r));
		reader_free(r);
		if (rc < 0)
			err_wrap(e, "%s", names[i]);
	}
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct torch_tar x = {.keys = map_new()};
	struct torch t = {
		.m = m,
		.src = source_ref(in->file),
		.arena = arena_new(),
		.storages = map_new(),
		.find = find_storage,
		.container = &x,
	};
	int rc = 0;

	x.t = &t;
	if (!t.arena || !t.storages || !x.keys)
		rc = err_nomem(e, 0);
	if (rc == 0)
		rc = read_members(&x, e);
	torch_finish(&t);
	map_free(x.keys);
	free(x.objects);
	arena_free(t.arena);
	return rc;
}

static bool is_name(const uint8_t *p, const char *name)
{
	return memcmp(p, name, strlen(name) + 1) == 0;
}

static int probe(const struct input *in)
{
	if (!in->file || in->nhead < TAR_HEADER || !tar_is_header(in->head))
		return 0;
	return is_name(in->head, "sys_info") || is_name(in->head, "storages") ||
			       is_name(in->head, "tensors") ||
			       is_name(in->head, "pickle")
		       ? 90
		       : 30;
}

const struct format format_pytorch_tar = {
	.name = "pytorch-tar",
	.title = "PyTorch checkpoints of 0.1 (tar archives)",
	.probe = probe,
	.read = read,
};
