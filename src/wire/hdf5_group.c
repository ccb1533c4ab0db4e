/* SPDX-License-Identifier: MIT */
/*
 * hdf5_group - links: in symbol tables (files of before 1.8), in messages of
 * the object, or, where there are many, in a fractal heap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "wire/hdf5_file.h"

#define LINKS_MAX 4000000u

struct listing {
	struct hdf5 *h;
	const uint8_t *heap; /* names of a symbol table */
	size_t heap_len;
	struct hdf5_link *links;
	size_t n, cap;
};

static int add_link(struct listing *l, const struct hdf5_link *link,
		    struct err *e)
{
	size_t cap = l->cap ? l->cap * 2 : 16;
	struct hdf5_link *p;

	if (l->n == LINKS_MAX)
		return err_set(e, EFBIG, "too many links");
	if (l->n == l->cap) {
		p = arena_array(l->h->arena, cap, sizeof(*p));
		if (!p)
			return err_nomem(e, cap * sizeof(*p));
		if (l->n)
			memcpy(p, l->links, l->n * sizeof(*p));
		l->links = p;
		l->cap = cap;
	}
	l->links[l->n++] = *link;
	return 0;
}

static int load_heap(struct listing *l, uint64_t addr, struct err *e)
{
	struct hdf5 *h = l->h;
	size_t n = 8 + 2 * h->length_size + h->offset_size;
	const uint8_t *p;
	struct cursor c;
	uint64_t len, data;
	int rc = hdf5_load(h, addr, n, &p, e);

	if (rc < 0)
		return rc;
	if (memcmp(p, "HEAP", 4) != 0)
		return err_set(e, EINVAL, "byte %llu: no HEAP",
			       (unsigned long long)addr);
	c = cursor_make(p, n, addr);
	cursor_skip(&c, 8);
	len = hdf5_length(h, &c);
	hdf5_length(h, &c);
	data = hdf5_offset(h, &c);
	rc = hdf5_load(h, data, len, &l->heap, e);
	l->heap_len = rc < 0 ? 0 : (size_t)len;
	return rc;
}

static int take_symbol(struct listing *l, struct cursor *c, struct err *e)
{
	struct hdf5_link link = {0};
	uint64_t name = hdf5_offset(l->h, c);
	uint32_t cache;

	link.id = hdf5_offset(l->h, c);
	cache = cursor_u32(c);
	cursor_skip(c, 4 + 16);
	if (c->bad || name >= l->heap_len ||
	    !memchr(l->heap + name, '\0', l->heap_len - name))
		return err_set(e, EINVAL, "a name beyond its heap");
	link.name = (const char *)l->heap + name;
	link.len = strlen(link.name);
	link.kind = cache == 2 ? HDF5_SOFT : HDF5_HARD;
	return add_link(l, &link, e);
}

static int take_node(void *ctx, const uint8_t *key, uint64_t child,
		     struct err *e)
{
	struct listing *l = ctx;
	size_t entry = 2 * l->h->offset_size + 24;
	const uint8_t *p;
	struct cursor c;
	uint16_t count;
	int rc = hdf5_load(l->h, child, 8, &p, e);

	(void)key;
	if (rc < 0)
		return rc;
	if (memcmp(p, "SNOD", 4) != 0)
		return err_set(e, EINVAL, "byte %llu: no SNOD",
			       (unsigned long long)child);
	c = cursor_make(p + 6, 2, child);
	count = cursor_u16(&c);
	rc = hdf5_load(l->h, child + 8, count * entry, &p, e);
	if (rc < 0)
		return rc;
	c = cursor_make(p, count * entry, child + 8);
	for (uint16_t i = 0; rc == 0 && i < count; i++)
		rc = take_symbol(l, &c, e);
	return rc;
}

static int list_symbols(struct listing *l, const struct hdf5_message *m,
			struct err *e)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	uint64_t tree = hdf5_offset(l->h, &c);
	uint64_t heap = hdf5_offset(l->h, &c);
	int rc;

	if (c.bad)
		return err_set(e, EINVAL, "a symbol table message");
	rc = load_heap(l, heap, e);
	return rc < 0 ? rc
		      : hdf5_tree(l->h, tree, 0, l->h->length_size, take_node,
				  l, e);
}

enum link_type { LINK_HARD = 0, LINK_SOFT = 1 };

static int take_link(struct listing *l, const struct hdf5_message *m,
		     struct err *e)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	struct hdf5_link link = {.kind = HDF5_EXTERNAL};
	uint8_t version = cursor_u8(&c), flags = cursor_u8(&c);
	uint8_t type = flags & 8 ? cursor_u8(&c) : LINK_HARD;
	uint64_t len = 0;
	const uint8_t *name;

	cursor_skip(&c, (flags & 4 ? 8 : 0) + (flags & 16 ? 1 : 0));
	for (int i = 0; i < 1 << (flags & 3); i++)
		len |= (uint64_t)cursor_u8(&c) << (8 * i);
	if (c.bad || version != 1 || len > cursor_left(&c))
		return err_set(e, EINVAL, "a link message is damaged");
	name = cursor_bytes(&c, (size_t)len);
	link.name = arena_strndup(l->h->arena, (const char *)name, (size_t)len);
	link.len = (size_t)len;
	if (!link.name)
		return err_nomem(e, (size_t)len);
	if (type == LINK_HARD) {
		link.kind = HDF5_HARD;
		link.id = hdf5_offset(l->h, &c);
	} else if (type == LINK_SOFT) {
		link.kind = HDF5_SOFT;
	}
	return c.bad ? err_set(e, EINVAL, "a link that leads nowhere")
		     : add_link(l, &link, e);
}

struct dense {
	struct listing *l;
	struct hdf5_heap heap;
};

/* A record: hash of the name, id in the heap. */
static int take_dense(void *ctx, const uint8_t *record, size_t len,
		      struct err *e)
{
	struct dense *d = ctx;
	struct hdf5_bytes object;
	struct hdf5_message m = {.type = MESSAGE_LINK};
	int rc;

	if (len <= 4)
		return err_set(e, EINVAL, "records of %zu bytes", len);
	rc = hdf5_heap_object(&d->heap, record + 4, len - 4, &object, e);
	m.data = object.p;
	m.len = (uint32_t)object.len;
	return rc < 0 ? rc : take_link(d->l, &m, e);
}

#define TREE_OF_LINKS 5

/* Many links lie in a heap, and a tree of their names leads to them. */
static int list_dense(struct listing *l, const struct hdf5_message *m,
		      struct err *e)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	struct dense d = {.l = l};
	uint64_t heap, tree;
	uint8_t flags;
	int rc;

	cursor_skip(&c, 1);
	flags = cursor_u8(&c);
	cursor_skip(&c, flags & 1 ? 8 : 0);
	heap = hdf5_offset(l->h, &c);
	tree = hdf5_offset(l->h, &c);
	if (c.bad)
		return err_set(e, EINVAL, "a group is damaged");
	if (heap == HDF5_UNDEFINED || tree == HDF5_UNDEFINED)
		return 0;
	rc = hdf5_heap(l->h, heap, &d.heap, e);
	return rc < 0 ? rc
		      : hdf5_btree(l->h, tree, TREE_OF_LINKS, take_dense, &d,
				   e);
}

static int list(struct listing *l, hdf5_id group, struct err *e)
{
	const struct hdf5_object *o;
	const struct hdf5_message *m;
	int rc = hdf5_object(l->h, group, &o, e);

	if (rc < 0)
		return rc;
	m = hdf5_message(o, MESSAGE_LINK_INFO);
	if (m)
		rc = list_dense(l, m, e);
	m = hdf5_message(o, MESSAGE_SYMBOL_TABLE);
	if (rc == 0 && m)
		rc = list_symbols(l, m, e);
	for (size_t i = 0; rc == 0 && i < o->n; i++)
		if (o->messages[i].type == MESSAGE_LINK)
			rc = take_link(l, &o->messages[i], e);
	return rc;
}

/* The group's address and the name: what a link is found by. */
static void *link_key(struct hdf5 *h, hdf5_id group, const char *name,
		      size_t len)
{
	uint8_t *key = arena_alloc(h->arena, sizeof(group) + len);

	if (key) {
		memcpy(key, &group, sizeof(group));
		memcpy(key + sizeof(group), name, len);
	}
	return key;
}

static int index_links(struct hdf5 *h, hdf5_id group, const struct listing *l,
		       struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		size_t len = l->links[i].len;
		void *key = link_key(h, group, l->links[i].name, len);

		if (!key || map_set(h->names, key, sizeof(group) + len, i) < 0)
			return err_nomem(e, len);
	}
	return 0;
}

static int load_group(struct hdf5 *h, hdf5_id id, const struct hdf5_group **out,
		      struct err *e)
{
	struct listing l = {.h = h};
	struct hdf5_group *g;
	uint64_t known;
	int rc;

	if (map_get(h->groups, &id, sizeof(id), &known)) {
		*out = (const struct hdf5_group *)(uintptr_t)known;
		return 0;
	}
	rc = list(&l, id, e);
	if (rc == 0)
		rc = index_links(h, id, &l, e);
	if (rc < 0)
		return rc;
	g = arena_alloc(h->arena, sizeof(*g));
	if (!g)
		return err_nomem(e, sizeof(*g));
	*g = (struct hdf5_group){l.links, l.n};
	*out = g;
	return hdf5_remember(h, h->groups, id, g, e);
}

int hdf5_links(struct hdf5 *h, hdf5_id group, const struct hdf5_link **out,
	       size_t *n, struct err *e)
{
	const struct hdf5_group *g;
	int rc = load_group(h, group, &g, e);

	if (rc < 0)
		return rc;
	*out = g->links;
	*n = g->n;
	return 0;
}

static int find_link(struct hdf5 *h, hdf5_id from, const char *name, size_t len,
		     hdf5_id *out, struct err *e)
{
	const struct hdf5_group *g;
	uint8_t *key;
	uint64_t i;
	bool found;
	int rc = load_group(h, from, &g, e);

	if (rc < 0)
		return rc;
	key = malloc(sizeof(from) + len);
	if (!key)
		return err_nomem(e, len);
	memcpy(key, &from, sizeof(from));
	memcpy(key + sizeof(from), name, len);
	found = map_get(h->names, key, sizeof(from) + len, &i);
	free(key);
	if (!found || g->links[i].kind != HDF5_HARD)
		return -ENOENT;
	*out = g->links[i].id;
	return 0;
}

int hdf5_find(struct hdf5 *h, hdf5_id from, const char *path, size_t len,
	      hdf5_id *out, struct err *e)
{
	hdf5_id at = from;

	while (len > 0) {
		const char *slash = memchr(path, '/', len);
		size_t n = slash ? (size_t)(slash - path) : len;
		int rc = n > 0 ? find_link(h, at, path, n, &at, e) : 0;

		if (rc < 0)
			return rc;
		path += slash ? n + 1 : n;
		len -= slash ? n + 1 : n;
	}
	*out = at;
	return 0;
}
