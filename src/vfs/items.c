/* SPDX-License-Identifier: MIT */
/*
 * items - sequences, optionals and maps of a run as directories.  Elements of
 * a sequence or an optional are named by their position, those of a map by
 * their key; one that is a tensor has the files of a tensor, one that is a
 * container is a directory again.
 *
 * An item is the entry of a value in a tree, or an element of an item: a
 * directory has one place only, though a value may be in out/ and in act/.  It
 * gets its number when it is first looked up, the same for all runs of a mount.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/array.h"
#include "modelfs/blob.h"
#include "modelfs/dtype.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/names.h"
#include "modelfs/run.h"
#include "modelfs/view.h"
#include "vfs/mounted.h"

/* Containers in containers; readers and operators make fewer. */
#define DEPTH_MAX 16
/* Items that anybody has looked at. */
#define ITEMS_MAX (1u << 24)

struct item {
	uint32_t parent; /* or TREE_ITEM - tree: index is an entry of it */
	uint32_t index;
};

/* No item has such a number. */
#define TREE_ITEM ((uint32_t)-1)

struct items {
	struct arena *arena; /* keys of the map */
	struct map *index;   /* struct item → its number */
	struct item *items;
	uint32_t n, cap;
};

/* ---- numbers ---- */

static struct items *new_items(void)
{
	struct items *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->arena = arena_new();
	t->index = map_new();
	if (t->arena && t->index)
		return t;
	items_free(t);
	return NULL;
}

void items_free(struct items *t)
{
	if (!t)
		return;
	arena_free(t->arena);
	map_free(t->index);
	free(t->items);
	free(t);
}

static int add_item(struct items *t, struct item x, uint32_t *out,
		    struct err *e)
{
	struct item *key;
	int rc;

	if (t->n == ITEMS_MAX)
		return err_set(e, ENOSPC, "more elements than can be named");
	rc = array_grow(&t->items, &t->cap, t->n, sizeof(*t->items), e);
	if (rc < 0)
		return rc;
	key = arena_alloc(t->arena, sizeof(*key));
	if (!key)
		return err_nomem(e, sizeof(*key));
	*key = x;
	if (map_add(t->index, key, sizeof(*key), t->n) < 0)
		return err_nomem(e, sizeof(*key));
	t->items[t->n] = x;
	*out = t->n++;
	return 0;
}

static int number_item(struct mount *m, struct item x, uint32_t *out,
		       struct err *e)
{
	uint64_t found;
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->items)
		m->items = new_items();
	if (!m->items)
		rc = err_nomem(e, sizeof(*m->items));
	else if (map_get(m->items->index, &x, sizeof(x), &found))
		*out = (uint32_t)found;
	else
		rc = add_item(m->items, x, out, e);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int item_of_entry(struct mount *m, enum tree_id tree, uint32_t entry,
		  uint32_t *out, struct err *e)
{
	return number_item(m, (struct item){TREE_ITEM - tree, entry}, out, e);
}

/* The value an item is in, and the way from there to it. */
struct way {
	enum tree_id tree; /* where the value is listed */
	uint32_t entry;
	value_id value;
	uint32_t index[DEPTH_MAX];
	unsigned n;
};

static bool find_way(struct mount *m, uint32_t item, struct way *out)
{
	bool found = false;

	out->n = 0;
	pthread_mutex_lock(&m->lock);
	while (m->items && item < m->items->n && !found) {
		const struct item *x = &m->items->items[item];

		if (x->parent > ITEMS_MAX) {
			out->tree = (enum tree_id)(TREE_ITEM - x->parent);
			out->entry = x->index;
			out->value = tree_ref(m->trees[out->tree], x->index);
			found = true;
		} else if (out->n == DEPTH_MAX) {
			break;
		} else {
			out->index[out->n++] = x->index;
		}
		item = x->parent;
	}
	pthread_mutex_unlock(&m->lock);
	return found;
}

bool item_is_input(struct mount *m, uint32_t item, value_id *out)
{
	struct way w;

	if (!find_way(m, item, &w) || w.n > 0 || w.tree != TREE_IN)
		return false;
	*out = w.value;
	return true;
}

int item_above(struct mount *m, struct place *p, struct err *e)
{
	struct way w;
	const struct tree *t;
	int rc;

	if (!find_way(m, p->id, &w))
		return err_set(e, ENOENT, "no such directory");
	if (w.n > 0) {
		pthread_mutex_lock(&m->lock);
		p->id = m->items->items[p->id].parent;
		pthread_mutex_unlock(&m->lock);
		return 0;
	}
	rc = mount_tree(m, w.tree, &t, e);
	if (rc < 0)
		return rc;
	p->area = (enum area)(AREA_DIR + w.tree);
	p->id = tree_parent(t, w.entry);
	return 0;
}

/* ---- elements ---- */

static bool is_container(const struct tensor *t)
{
	return dtype_info(t->dtype)->class == CLASS_CONTAINER;
}

static size_t count_elements(const struct tensor *t)
{
	return t->shape.rank == 1 ? (size_t)t->shape.dims[0] : 0;
}

/* Value number i of a map, a scalar. */
static int map_value(const struct tensor *values, size_t i, struct tensor *out,
		     struct err *e)
{
	size_t size = dtype_size(values->dtype), len;
	struct string_list *l;
	const char *s;

	*out = (struct tensor){.dtype = values->dtype,
			       .shape = shape_of(0, NULL)};
	if (values->dtype == DTYPE_STRING) {
		s = tensor_string(values, i, &len);
		l = string_list_new();
		if (l && string_list_add(l, s, len) == 0)
			out->data = string_list_finish(l);
		else
			string_list_free(l);
	} else {
		out->data = blob_slice(blob_ref(values->data), i * size, size);
	}
	return out->data ? 0 : err_nomem(e, size);
}

/* Element i of a container; owned. */
static int element(const struct tensor *t, size_t i, struct tensor *out,
		   struct err *e)
{
	size_t n = 0;
	const struct tensor *items = blob_get_items(t->data, &n);

	if (!is_container(t) || i >= count_elements(t) || !items)
		return err_set(e, ENOENT, "no such element");
	if (t->dtype == DTYPE_MAP)
		return map_value(&items[1], i, out, e);
	*out = tensor_ref(&items[i]);
	return 0;
}

static void element_name(const struct tensor *t, size_t i,
			 char buf[NAME_BUFFER])
{
	size_t n, len;
	const struct tensor *keys = blob_get_items(t->data, &n);
	const char *s;

	if (t->dtype == DTYPE_MAP && keys->dtype == DTYPE_STRING) {
		s = tensor_string(keys, i, &len);
		name_encode(buf, s, len);
	} else if (t->dtype == DTYPE_MAP) {
		snprintf(buf, NAME_BUFFER, "%" PRId64,
			 ((const int64_t *)blob_bytes(keys->data))[i]);
	} else {
		snprintf(buf, NAME_BUFFER, "%zu", i);
	}
}

/*
 * The item itself, owned.  -EAGAIN: it has to be computed, and that must not
 * be done now.
 */
static int fetch(struct vfs *v, const struct place *p, bool may_wait,
		 const atomic_bool *cancel, struct tensor *out, struct err *e)
{
	struct run *r = run_of(v, p->run);
	struct tensor part;
	struct way w;
	int rc = 0;

	if (!r || !find_way(&v->mounts[p->mount], p->id, &w)) {
		run_unref(r);
		return err_set(e, ENOENT, "the run has ended");
	}
	if (!may_wait && !run_is_ready(r, w.value)) {
		rc = run_check(r, w.value, e);
		run_unref(r);
		return rc < 0 ? rc : -EAGAIN;
	}
	rc = run_demand(r, w.value, cancel, out, e);
	run_unref(r);
	while (rc == 0 && w.n > 0) {
		rc = element(out, w.index[--w.n], &part, e);
		tensor_drop(out);
		if (rc == 0)
			*out = part;
	}
	return rc;
}

/* ---- looking ---- */

/* Number of the element with this name; the count where there is none. */
static size_t find_element(const struct tensor *t, const char *name, size_t len)
{
	size_t n = count_elements(t), i = 0;
	char buf[NAME_BUFFER];

	if (t->dtype != DTYPE_MAP && len > 0 && len < 10) {
		for (size_t k = 0; k < len; k++)
			i = i * 10 + (size_t)(unsigned char)(name[k] - '0');
		if (i >= n)
			return n;
		element_name(t, i, buf);
		return strlen(buf) == len && memcmp(buf, name, len) == 0 ? i
									 : n;
	}
	for (; i < n; i++) {
		element_name(t, i, buf);
		if (strlen(buf) == len && memcmp(buf, name, len) == 0)
			break;
	}
	return i;
}

static int part_ino(struct vfs *v, const struct place *dir, size_t i,
		    bool is_dir, size_t view, vfs_ino *out, struct err *e)
{
	struct place p = {.mount = dir->mount, .run = dir->run};
	struct item x = {dir->id, (uint32_t)i};
	int rc = number_item(&v->mounts[dir->mount], x, &p.id, e);

	p.area = is_dir && view == 0 ? AREA_ITEMS : AREA_ITEM;
	p.view = (uint32_t)view;
	*out = place_ino(&p);
	return rc;
}

int items_lookup(struct vfs *v, const struct place *dir, const char *name,
		 bool may_wait, const atomic_bool *cancel, vfs_ino *out,
		 struct err *e)
{
	size_t len = strlen(name), stem, view = 0, i;
	struct tensor t, part;
	bool is_dir;
	int rc = fetch(v, dir, may_wait, cancel, &t, e);

	if (rc < 0)
		return rc;
	i = find_element(&t, name, len);
	if (i == count_elements(&t)) {
		view = view_of_name(name, len, &stem);
		i = find_element(&t, name, stem);
	}
	rc = element(&t, i, &part, e);
	tensor_drop(&t);
	if (rc < 0)
		return rc;
	is_dir = is_container(&part);
	tensor_drop(&part);
	if (is_dir && view > 0 && views[view]->needs_data)
		return err_set(e, ENOENT, "no such file");
	return part_ino(v, dir, i, is_dir, view, out, e);
}

/* All elements of a container are of one type. */
int items_entry(struct vfs *v, const struct place *dir, uint64_t i,
		bool may_wait, const atomic_bool *cancel, char *name,
		vfs_ino *ino, struct err *e)
{
	char stem[NAME_BUFFER];
	size_t view, per;
	struct tensor t, first;
	bool has_dirs;
	int rc = fetch(v, dir, may_wait, cancel, &t, e);

	if (rc < 0)
		return rc;
	rc = element(&t, 0, &first, e);
	if (rc < 0) {
		tensor_drop(&t);
		return rc;
	}
	has_dirs = is_container(&first);
	tensor_drop(&first);
	/* The directory takes the place of the first two views. */
	per = has_dirs ? nviews - 1 : nviews;
	view = (size_t)(i % per);
	if (has_dirs && view > 0)
		view++;
	rc = i / per < count_elements(&t) ? 0 : err_set(e, ENOENT, "the end");
	if (rc == 0) {
		element_name(&t, (size_t)(i / per), stem);
		snprintf(name, NAME_BUFFER, "%.240s%s", stem,
			 views[view]->suffix);
		rc = part_ino(v, dir, (size_t)(i / per), has_dirs, view, ino,
			      e);
	}
	tensor_drop(&t);
	return rc;
}

int item_open(struct vfs *v, const struct place *p, bool may_wait,
	      const atomic_bool *cancel, struct blob **out, struct err *e)
{
	struct tensor t;
	int rc = fetch(v, p, may_wait, cancel, &t, e);

	if (rc < 0)
		return rc;
	rc = view_open(p->view, &t, out, e);
	tensor_drop(&t);
	return rc;
}

uint64_t items_version(struct vfs *v, const struct place *p)
{
	struct run *r = run_of(v, p->run);
	uint64_t version = 0;
	struct way w;

	if (r && find_way(&v->mounts[p->mount], p->id, &w))
		version = run_version(r, w.value);
	run_unref(r);
	return version;
}
