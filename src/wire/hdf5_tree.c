/* SPDX-License-Identifier: MIT */
/*
 * hdf5_tree - version-1 B-trees, of groups (type 0) and of chunks (type 1).
 *
 * Levels must fall by one from a node to its children and no node may be
 * met twice, so that the walk ends after every node of the file at the most.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "wire/hdf5_file.h"

struct todo {
	uint64_t addr;
	int level; /* -1: any, for the root */
};

struct walk {
	struct hdf5 *h;
	uint8_t type;
	size_t key_size;
	hdf5_leaf_fn fn;
	void *ctx;
	struct map *seen;
	struct todo *stack;
	size_t n, cap;
};

static int push(struct walk *w, uint64_t addr, int level, struct err *e)
{
	size_t cap = w->cap ? w->cap * 2 : 64;
	uint64_t *key = arena_alloc(w->h->arena, sizeof(*key));
	struct todo *p;
	int rc;

	if (!key)
		return err_nomem(e, sizeof(*key));
	*key = addr;
	rc = map_add(w->seen, key, sizeof(*key), 1);
	if (rc == -EEXIST)
		return err_set(e, EINVAL, "a B-tree node has two parents");
	if (rc < 0)
		return err_nomem(e, sizeof(*key));
	if (w->n == w->cap) {
		p = realloc(w->stack, cap * sizeof(*p));
		if (!p)
			return err_nomem(e, cap * sizeof(*p));
		w->stack = p;
		w->cap = cap;
	}
	w->stack[w->n++] = (struct todo){addr, level};
	return 0;
}

static int read_entries(struct walk *w, uint64_t addr, size_t used, int level,
			struct err *e)
{
	size_t entry = w->key_size + w->h->offset_size;
	const uint8_t *p;
	uint64_t at = addr + 8 + 2 * w->h->offset_size;
	int rc = hdf5_load(w->h, at, used * entry, &p, e);

	for (size_t i = 0; rc == 0 && i < used; i++, p += entry) {
		struct cursor c =
			cursor_make(p + w->key_size, w->h->offset_size, at);
		uint64_t child = hdf5_offset(w->h, &c);

		rc = level == 0 ? w->fn(w->ctx, p, child, e)
				: push(w, child, level - 1, e);
	}
	return rc;
}

static int read_node(struct walk *w, const struct todo *t, struct err *e)
{
	const uint8_t *p;
	struct cursor c;
	uint8_t type, level;
	uint16_t used;
	int rc = hdf5_load(w->h, t->addr, 8, &p, e);

	if (rc < 0)
		return rc;
	c = cursor_make(p, 8, t->addr);
	cursor_skip(&c, 4);
	type = cursor_u8(&c);
	level = cursor_u8(&c);
	used = cursor_u16(&c);
	if (memcmp(p, "TREE", 4) != 0 || type != w->type ||
	    (t->level >= 0 && level != t->level))
		return err_set(e, EINVAL, "byte %llu: no node of this B-tree",
			       (unsigned long long)t->addr);
	return read_entries(w, t->addr, used, level, e);
}

int hdf5_tree(struct hdf5 *h, uint64_t addr, uint8_t type, size_t key_size,
	      hdf5_leaf_fn fn, void *ctx, struct err *e)
{
	struct walk w = {.h = h,
			 .type = type,
			 .key_size = key_size,
			 .fn = fn,
			 .ctx = ctx,
			 .seen = map_new()};
	int rc = w.seen ? push(&w, addr, -1, e) : err_nomem(e, 0);

	while (rc == 0 && w.n > 0) {
		struct todo t = w.stack[--w.n];

		rc = read_node(&w, &t, e);
	}
	map_free(w.seen);
	free(w.stack);
	return rc;
}
