/* SPDX-License-Identifier: MIT */
/* tree - see vfs/tree.h. */
#include "vfs/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/array.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/names.h"
#include "modelfs/text.h"
#include "modelfs/view.h"

/* Directories above a file; a path of more cannot be opened anyway. */
#define PATH_PARTS_MAX 2048

#define KINDS (ENTRY_PLAIN + 1)

struct entry {
	const char *name; /* raw while building, then encoded */
	uint32_t len;
	uint32_t parent;
	uint32_t ref;
	uint8_t kind;
};

struct dir {
	uint32_t entry;
	uint32_t object;
	uint32_t first;	       /* of its entries */
	uint32_t count[KINDS]; /* entries, by kind */
};

struct tree {
	struct arena *arena;
	struct entry *entries;
	struct dir *dirs;
	uint32_t *sorted; /* per directory range: entries by name */
	uint32_t nentries, ndirs, cap_entries, cap_dirs;
	struct map *index; /* (parent, name) → directory; while building */
};

struct tree *tree_new(void)
{
	struct tree *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->arena = arena_new();
	t->index = map_new();
	t->dirs = calloc(16, sizeof(*t->dirs));
	if (!t->arena || !t->index || !t->dirs) {
		tree_free(t);
		return NULL;
	}
	t->cap_dirs = 16;
	t->dirs[t->ndirs++] = (struct dir){.entry = NO_ENTRY};
	return t;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	arena_free(t->arena);
	map_free(t->index);
	free(t->entries);
	free(t->dirs);
	free(t->sorted);
	free(t);
}

/* ---- building ---- */

/* name must live as long as the tree. */
static int add_entry(struct tree *t, struct entry x, struct err *e)
{
	int rc = array_grow(&t->entries, &t->cap_entries, t->nentries,
			    sizeof(*t->entries), e);

	if (rc < 0)
		return rc;
	t->entries[t->nentries++] = x;
	return 0;
}

int tree_add(struct tree *t, uint32_t dir, enum entry_kind kind,
	     const char *name, size_t len, uint32_t ref, struct err *e)
{
	const char *copy = arena_strndup(t->arena, name, len);

	if (!copy)
		return err_nomem(e, len);
	return add_entry(t,
			 (struct entry){.name = copy,
					.len = (uint32_t)len,
					.parent = dir,
					.ref = ref,
					.kind = (uint8_t)kind},
			 e);
}

static int add_dir(struct tree *t, uint32_t parent, const char *name,
		   size_t len, uint32_t object, uint32_t *out, struct err *e)
{
	uint32_t id = t->ndirs;
	int rc = array_grow(&t->dirs, &t->cap_dirs, t->ndirs, sizeof(*t->dirs),
			    e);

	if (rc == 0)
		rc = add_entry(t,
			       (struct entry){.name = name,
					      .len = (uint32_t)len,
					      .parent = parent,
					      .ref = id,
					      .kind = ENTRY_DIR},
			       e);
	if (rc < 0)
		return rc;
	t->dirs[t->ndirs++] = (struct dir){.object = object};
	*out = id;
	return 0;
}

int tree_dir(struct tree *t, uint32_t parent, const char *name, size_t len,
	     uint32_t object, uint32_t *out, struct err *e)
{
	size_t key_len = sizeof(parent) + len;
	char *key = arena_alloc(t->arena, key_len + 1);
	uint64_t id;

	if (!key)
		return err_nomem(e, key_len);
	memcpy(key, &parent, sizeof(parent));
	memcpy(key + sizeof(parent), name, len);
	if (map_get(t->index, key, key_len, &id)) {
		*out = (uint32_t)id;
		return 0;
	}
	if (map_add(t->index, key, key_len, t->ndirs) < 0)
		return err_nomem(e, key_len);
	return add_dir(t, parent, key + sizeof(parent), len, object, out, e);
}

/* Directories for all but the last component; *leaf is that one. */
static int walk(struct tree *t, const char *name, size_t len, uint32_t object,
		uint32_t *dir, struct name_iter *leaf, struct err *e)
{
	*dir = TREE_ROOT;
	while (len > 0 && *name == '/') {
		name++;
		len--;
	}
	*leaf = name_iter(name, len, "/");
	while (name_next(leaf) && !leaf->is_last) {
		int rc = tree_dir(t, *dir, leaf->part, leaf->part_len, object,
				  dir, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int tree_add_path(struct tree *t, enum entry_kind kind, const char *name,
		  size_t len, uint32_t ref, struct err *e)
{
	struct name_iter leaf;
	uint32_t dir;
	int rc = walk(t, name, len, NO_DIR, &dir, &leaf, e);

	if (rc < 0)
		return rc;
	return tree_add(t, dir, kind, leaf.part, leaf.part_len, ref, e);
}

int tree_dir_path(struct tree *t, const char *name, size_t len, uint32_t object,
		  uint32_t *out, struct err *e)
{
	struct name_iter leaf;
	uint32_t dir;
	int rc = walk(t, name, len, NO_DIR, &dir, &leaf, e);

	if (rc < 0)
		return rc;
	rc = tree_dir(t, dir, leaf.part, leaf.part_len, object, out, e);
	if (rc == 0)
		t->dirs[*out].object = object;
	return rc;
}

/* ---- freezing ---- */

static uint32_t count_entries(const struct dir *d)
{
	uint32_t k, n = 0;

	for (k = 0; k < KINDS; k++)
		n += d->count[k];
	return n;
}

/* Of the entries of a directory, the first of a kind. */
static uint32_t first_of(const struct dir *d, enum entry_kind kind)
{
	uint32_t k, at = d->first;

	for (k = 0; k < (uint32_t)kind; k++)
		at += d->count[k];
	return at;
}

/* Entries of a directory become neighbours, in the order of their kinds. */
static int group_entries(struct tree *t, struct err *e)
{
	struct entry *out = calloc((size_t)t->nentries + 1, sizeof(*out));
	uint32_t *next = calloc((size_t)t->ndirs, KINDS * sizeof(*next));
	uint32_t i, k, first = 0;

	if (!out || !next) {
		free(out);
		free(next);
		return err_nomem(e, t->nentries * sizeof(*out));
	}
	for (i = 0; i < t->nentries; i++)
		t->dirs[t->entries[i].parent].count[t->entries[i].kind]++;
	for (i = 0; i < t->ndirs; i++) {
		struct dir *d = &t->dirs[i];

		d->first = first;
		for (k = 0; k < KINDS; k++)
			next[i * KINDS + k] = first_of(d, (enum entry_kind)k);
		first += count_entries(d);
	}
	for (i = 0; i < t->nentries; i++) {
		const struct entry *x = &t->entries[i];

		out[next[x->parent * KINDS + x->kind]++] = *x;
	}
	free(next);
	free(t->entries);
	t->entries = out;
	return 0;
}

/* Whether an entry of this kind has a file for this view. */
static bool has_view(enum entry_kind kind, size_t view)
{
	if (kind == ENTRY_ITEMS)
		return !views[view]->needs_data || view == 0;
	return kind == ENTRY_VIEWED || view == 0;
}

static size_t count_views(enum entry_kind kind)
{
	size_t i, n = 0;

	for (i = 0; i < nviews; i++)
		n += has_view(kind, i);
	return n;
}

/* File number i of an entry: which view it is. */
static size_t nth_view(enum entry_kind kind, size_t i)
{
	size_t view = 0;

	while (!has_view(kind, view) || i-- > 0)
		view++;
	return view;
}

/* True when this name, or one of its views, is taken in the directory. */
static bool is_taken(const struct map *taken, enum entry_kind kind,
		     const char *name, size_t len)
{
	char buf[NAME_BUFFER + 16];
	uint64_t next;
	size_t i;

	if (map_get(taken, name, len, &next))
		return true;
	for (i = 1; i < nviews; i++) {
		int n = snprintf(buf, sizeof(buf), "%s%s", name,
				 views[i]->suffix);

		if (has_view(kind, i) && map_get(taken, buf, (size_t)n, &next))
			return true;
	}
	return false;
}

static int take(struct tree *t, struct map *taken, enum entry_kind kind,
		const char *name, struct err *e)
{
	size_t i;

	for (i = 0; i < nviews; i++) {
		const char *suffix = views[i]->suffix;
		char buf[NAME_BUFFER + 16];
		int len = snprintf(buf, sizeof(buf), "%s%s", name, suffix);
		const char *key = name;

		if (!has_view(kind, i))
			continue;
		if (*suffix)
			key = arena_strndup(t->arena, buf, (size_t)len);
		if (!key || map_add(taken, key, (size_t)len, 1) < 0)
			return err_nomem(e, (size_t)len);
	}
	return 0;
}

/*
 * The map remembers for every name which %k to try next, or a file of a
 * million equal names would cost their square.
 */
static int name_entry(struct tree *t, struct entry *x, struct map *taken,
		      struct err *e)
{
	char buf[NAME_BUFFER];
	enum entry_kind kind = (enum entry_kind)x->kind;
	size_t len = name_encode(buf, x->name, x->len), n = len;
	uint64_t k = 1;

	if (is_taken(taken, kind, buf, len)) {
		/* The name may be free, but not that of one of its views. */
		bool is_known = map_get(taken, buf, len, &k);
		const char *base =
			is_known ? buf : arena_strndup(t->arena, buf, len);

		do
			n = len + (size_t)snprintf(buf + len, sizeof(buf) - len,
						   "%%%llu",
						   (unsigned long long)k++);
		while (is_taken(taken, kind, buf, n));
		if (!base || map_set(taken, base, len, k) < 0)
			return err_nomem(e, len);
	}
	x->name = arena_strndup(t->arena, buf, n);
	x->len = (uint32_t)n;
	if (!x->name)
		return err_nomem(e, n);
	return take(t, taken, kind, x->name, e);
}

static int name_range(struct tree *t, const struct dir *d, enum entry_kind kind,
		      struct map *taken, struct err *e)
{
	uint32_t i, first = first_of(d, kind);
	int rc = 0;

	for (i = 0; rc == 0 && i < d->count[kind]; i++)
		rc = name_entry(t, &t->entries[first + i], taken, e);
	return rc;
}

/*
 * Directories keep their names, then our own files; what comes from the model
 * gives way.
 */
static int name_entries(struct tree *t, const struct dir *d, struct err *e)
{
	static const enum entry_kind order[KINDS] = {ENTRY_DIR, ENTRY_PLAIN,
						     ENTRY_VIEWED, ENTRY_ITEMS};
	struct map *taken = map_new();
	int k, rc = taken ? 0 : err_nomem(e, sizeof(*d));

	for (k = 0; rc == 0 && k < KINDS; k++)
		rc = name_range(t, d, order[k], taken, e);
	map_free(taken);
	return rc;
}

static int compare_names(const void *a, const void *b, void *ctx)
{
	const struct entry *entries = ctx;
	const struct entry *x = &entries[*(const uint32_t *)a];
	const struct entry *y = &entries[*(const uint32_t *)b];

	return strcmp(x->name, y->name);
}

int tree_freeze(struct tree *t, struct err *e)
{
	uint32_t i;
	int rc = group_entries(t, e);

	if (rc < 0)
		return rc;
	t->sorted = calloc((size_t)t->nentries + 1, sizeof(*t->sorted));
	if (!t->sorted)
		return err_nomem(e, t->nentries);
	for (i = 0; i < t->nentries; i++) {
		t->sorted[i] = i;
		if (t->entries[i].kind == ENTRY_DIR)
			t->dirs[t->entries[i].ref].entry = i;
	}
	for (i = 0; i < t->ndirs; i++) {
		const struct dir *d = &t->dirs[i];

		rc = name_entries(t, d, e);
		if (rc < 0)
			return rc;
		qsort_r(t->sorted + d->first, count_entries(d),
			sizeof(*t->sorted), compare_names, t->entries);
	}
	map_free(t->index);
	t->index = NULL;
	return 0;
}

/* ---- looking ---- */

static uint32_t find_name(const struct tree *t, uint32_t dir, const char *name,
			  size_t len)
{
	const struct dir *d = &t->dirs[dir];
	uint32_t lo = 0, hi = count_entries(d);

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		uint32_t id = t->sorted[d->first + mid];
		int c = strncmp(name, t->entries[id].name, len);

		if (c == 0 && t->entries[id].len == len)
			return id;
		if (c > 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NO_ENTRY;
}

bool tree_lookup(const struct tree *t, uint32_t dir, const char *name,
		 struct tree_hit *out)
{
	size_t len = strlen(name), stem, view;
	uint32_t id = find_name(t, dir, name, len);

	if (id != NO_ENTRY) {
		*out = (struct tree_hit){.entry = id};
		return true;
	}
	view = view_of_name(name, len, &stem);
	if (view == 0)
		return false;
	id = find_name(t, dir, name, stem);
	if (id == NO_ENTRY ||
	    !has_view((enum entry_kind)t->entries[id].kind, view))
		return false;
	*out = (struct tree_hit){.entry = id, .view = view};
	return true;
}

bool tree_list(const struct tree *t, uint32_t dir, uint64_t i,
	       struct tree_hit *out)
{
	const struct dir *d = &t->dirs[dir];
	int k;

	for (k = 0; k < KINDS; k++) {
		enum entry_kind kind = (enum entry_kind)k;
		uint64_t per = count_views(kind), n = d->count[k] * per;

		if (i < n) {
			out->entry = first_of(d, kind) + (uint32_t)(i / per);
			out->view = nth_view(kind, (size_t)(i % per));
			return true;
		}
		i -= n;
	}
	return false;
}

uint64_t tree_count(const struct tree *t, uint32_t dir)
{
	uint64_t n = 0;
	int k;

	for (k = 0; k < KINDS; k++)
		n += t->dirs[dir].count[k] * count_views((enum entry_kind)k);
	return n;
}

uint32_t tree_count_kind(const struct tree *t, uint32_t dir,
			 enum entry_kind kind)
{
	return t->dirs[dir].count[kind];
}

enum entry_kind tree_kind(const struct tree *t, uint32_t entry)
{
	return (enum entry_kind)t->entries[entry].kind;
}

uint32_t tree_ref(const struct tree *t, uint32_t entry)
{
	return t->entries[entry].ref;
}

uint32_t tree_parent(const struct tree *t, uint32_t entry)
{
	return t->entries[entry].parent;
}

const char *tree_name(const struct tree *t, uint32_t entry)
{
	return t->entries[entry].name;
}

uint32_t tree_object(const struct tree *t, uint32_t dir)
{
	return t->dirs[dir].object;
}

uint32_t tree_nentries(const struct tree *t)
{
	return t->nentries;
}

uint32_t tree_ndirs(const struct tree *t)
{
	return t->ndirs;
}

uint32_t tree_dir_entry(const struct tree *t, uint32_t dir)
{
	return t->dirs[dir].entry;
}

unsigned tree_depth(const struct tree *t, uint32_t dir)
{
	unsigned depth = 0;

	while (dir != TREE_ROOT) {
		dir = t->entries[t->dirs[dir].entry].parent;
		depth++;
	}
	return depth;
}

void tree_path(const struct tree *t, uint32_t entry, struct text *out)
{
	uint32_t up[PATH_PARTS_MAX];
	unsigned n = 0;

	for (;;) {
		uint32_t dir = t->entries[entry].parent;

		up[n++] = entry;
		if (dir == TREE_ROOT || n == PATH_PARTS_MAX)
			break;
		entry = t->dirs[dir].entry;
	}
	while (n-- > 0) {
		text_add(out, t->entries[up[n]].name);
		if (n > 0)
			text_add(out, "/");
	}
}
