/* SPDX-License-Identifier: MIT */
/* vfs - object numbers, lookup and listing; see modelfs/vfs.h. */
#include "modelfs/vfs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modelfs/model.h"
#include "modelfs/names.h"
#include "modelfs/view.h"
#include "vfs/mounted.h"

/* ---- numbers ---- */

vfs_ino place_ino(const struct place *p)
{
	return (vfs_ino)p->mount << 56 | (vfs_ino)p->area << 50 |
	       (vfs_ino)p->run << 36 | (vfs_ino)p->view << 32 | p->id;
}

struct place ino_place(vfs_ino ino)
{
	return (struct place){
		.mount = (uint32_t)(ino >> 56),
		.area = (enum area)(ino >> 50 & 63),
		.run = (uint32_t)(ino >> 36 & 0x3fff),
		.view = (uint32_t)(ino >> 32 & 15),
		.id = (uint32_t)ino,
	};
}

static struct place root_place(const struct vfs *v)
{
	return (struct place){
		.area = v->nmounts == 1 ? AREA_TOP : AREA_MOUNTS,
	};
}

struct place place_of(const struct vfs *v, vfs_ino ino)
{
	return ino == VFS_ROOT ? root_place(v) : ino_place(ino);
}

enum tree_id place_tree(const struct place *p)
{
	if (p->area >= AREA_DIR && p->area < AREA_ENTRY)
		return (enum tree_id)(p->area - AREA_DIR);
	if (p->area >= AREA_ENTRY && p->area < AREA_ENTRY + TREE_COUNT)
		return (enum tree_id)(p->area - AREA_ENTRY);
	return TREE_COUNT;
}

bool place_is_in_run(const struct place *p)
{
	switch (p->area) {
	case AREA_RUN:
	case AREA_REPORT:
	case AREA_VALUE:
	case AREA_PATCH:
	case AREA_UPLOAD:
	case AREA_ITEMS:
	case AREA_ITEM:
		return true;
	default:
		return place_tree(p) >= TREE_IN && place_tree(p) < TREE_COUNT;
	}
}

/* ---- life ---- */

int vfs_new(const struct vfs_mount *mounts, size_t nmounts, struct engine *en,
	    struct vfs **out, struct err *e)
{
	struct vfs *v = calloc(1, sizeof(*v));
	size_t i;

	if (v)
		v->mounts = calloc(nmounts, sizeof(*v->mounts));
	for (i = 0; i < nmounts; i++) {
		if (!v || !v->mounts) {
			model_free(mounts[i].model);
			continue;
		}
		v->mounts[i] = (struct mount){
			.name = mounts[i].name,
			.path = strdup(mounts[i].path),
			.model = mounts[i].model,
			.mtime = mounts[i].mtime,
			.en = en,
		};
		pthread_mutex_init(&v->mounts[i].lock, NULL);
	}
	if (!v || !v->mounts) {
		free(v);
		return err_nomem(e, sizeof(*v));
	}
	v->nmounts = nmounts;
	v->en = en;
	v->uid = getuid();
	v->gid = getgid();
	pthread_mutex_init(&v->lock, NULL);
	*out = v;
	return 0;
}

void vfs_set_sandbox(struct vfs *v, const char *walls)
{
	v->sandbox = walls;
}

void vfs_free(struct vfs *v)
{
	size_t i;

	if (!v)
		return;
	runs_free(v);
	for (i = 0; i < v->nmounts; i++)
		mount_free(&v->mounts[i]);
	free(v->mounts);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

/* ---- what a name in a tree stands for ---- */

static int hit_ino(struct mount *m, const struct tree *t,
		   const struct place *dir, struct tree_hit hit, vfs_ino *out,
		   struct err *e)
{
	struct place p = {.mount = dir->mount, .run = dir->run};
	enum tree_id id = dir->area == AREA_PATCH ? TREE_ACT : place_tree(dir);
	uint32_t ref = tree_ref(t, hit.entry);
	const struct param *param;

	enum entry_kind kind = tree_kind(t, hit.entry);
	int rc = 0;

	p.id = ref;
	if (kind == ENTRY_DIR) {
		p.area = dir->area;
		*out = place_ino(&p);
		return 0;
	}
	p.view = (uint32_t)hit.view;
	if (kind == ENTRY_PLAIN || id == TREE_TENSORS || id == TREE_VALUES) {
		p.area = (enum area)(AREA_ENTRY + id);
		p.id = hit.entry;
	} else if (id == TREE_MODEL) {
		param = m->model->params[ref];
		p.area = AREA_PARAM;
		p.id = param->tied ? param->tied->id : ref;
	} else if (kind == ENTRY_ITEMS && hit.view == 0) {
		p.area = AREA_ITEMS;
		rc = item_of_entry(m, id, hit.entry, &p.id, e);
	} else {
		p.area = AREA_VALUE;
	}
	*out = place_ino(&p);
	return rc;
}

static vfs_ino upload_ino(const struct place *dir, const struct upload *u)
{
	return place_ino(&(struct place){.mount = dir->mount,
					 .area = AREA_UPLOAD,
					 .run = dir->run,
					 .id = u->id});
}

/* ---- fixed directories ---- */

struct fixed {
	const char *name;
	enum area area;
	uint32_t id;
};

/* Entry i of the root of a model; false behind the last. */
static bool top_entry(struct vfs *v, const struct mount *m, uint64_t i,
		      struct fixed *out)
{
	static const struct fixed all[] = {
		{"README", (enum area)(AREA_ENTRY + TREE_TOP), 0},
		{"info.json", (enum area)(AREA_ENTRY + TREE_TOP), 1},
		{"config", (enum area)(AREA_DIR + TREE_CONFIG), 0},
		{"model", (enum area)(AREA_DIR + TREE_MODEL), 0},
		{"tensors", (enum area)(AREA_DIR + TREE_TENSORS), 0},
		{"graph", (enum area)(AREA_DIR + TREE_GRAPH), 0},
		{"run", AREA_RUNS, 0},
	};
	uint64_t n = !m->model->graph ? 5 : !v->en ? 6 : 7;

	if (i < n)
		*out = all[i];
	return i < n;
}

static bool run_entry(uint64_t i, struct fixed *out)
{
	static const struct fixed all[] = {
		{"in", (enum area)(AREA_DIR + TREE_IN), 0},
		{"out", (enum area)(AREA_DIR + TREE_OUT), 0},
		{"act", (enum area)(AREA_DIR + TREE_ACT), 0},
		{"values", (enum area)(AREA_DIR + TREE_VALUES), 0},
		{"patch", AREA_PATCH, 0},
	};
	const uint64_t n = sizeof(all) / sizeof(all[0]);

	if (i < n) {
		*out = all[i];
		return true;
	}
	if (i - n >= REPORTS)
		return false;
	*out = (struct fixed){report_name((uint32_t)(i - n)), AREA_REPORT,
			      (uint32_t)(i - n)};
	return true;
}

static bool fixed_entry(struct vfs *v, const struct place *dir, uint64_t i,
			struct fixed *out)
{
	if (dir->area == AREA_TOP)
		return top_entry(v, &v->mounts[dir->mount], i, out);
	return run_entry(i, out);
}

static int fixed_lookup(struct vfs *v, const struct place *dir,
			const char *name, vfs_ino *out)
{
	struct fixed f;
	uint64_t i;

	for (i = 0; fixed_entry(v, dir, i, &f); i++) {
		if (strcmp(f.name, name) != 0)
			continue;
		*out = place_ino(&(struct place){.mount = dir->mount,
						 .area = f.area,
						 .run = dir->run,
						 .id = f.id});
		return 0;
	}
	return -ENOENT;
}

/* ---- lookup ---- */

static int mounts_lookup(struct vfs *v, const char *name, vfs_ino *out)
{
	size_t i;

	for (i = 0; i < v->nmounts; i++) {
		if (strcmp(v->mounts[i].name, name) != 0)
			continue;
		*out = place_ino(&(struct place){.mount = (uint32_t)i,
						 .area = AREA_TOP});
		return 0;
	}
	return -ENOENT;
}

static int runs_lookup(struct vfs *v, const struct place *dir, const char *name,
		       vfs_ino *out)
{
	int64_t n = run_number(v, &v->mounts[dir->mount], name);

	if (n < 0)
		return -ENOENT;
	*out = place_ino(&(struct place){
		.mount = dir->mount, .area = AREA_RUN, .run = (uint32_t)n});
	return 0;
}

bool takes_uploads(const struct vfs *v, const struct place *dir)
{
	struct mount *m = &v->mounts[dir->mount];
	value_id id;

	if (dir->area == AREA_ITEMS)
		return item_is_input(m, dir->id, &id);
	return dir->area == AREA_PATCH || place_tree(dir) == TREE_IN;
}

static int uploads_lookup(struct vfs *v, const struct place *dir,
			  const char *name, vfs_ino *out)
{
	struct upload *u = NULL;

	pthread_mutex_lock(&v->lock);
	if (dir->run < v->nruns && v->runs[dir->run].name)
		u = upload_find(&v->runs[dir->run], dir, name);
	if (u)
		*out = upload_ino(dir, u);
	pthread_mutex_unlock(&v->lock);
	return u ? 0 : -ENOENT;
}

/* in/ shows types only, patch/ directories only. */
static bool is_shown(const struct place *dir, const struct tree *t,
		     struct tree_hit hit)
{
	enum entry_kind kind = tree_kind(t, hit.entry);

	if (kind == ENTRY_DIR)
		return true;
	if (dir->area == AREA_PATCH || kind == ENTRY_ITEMS)
		return dir->area != AREA_PATCH;
	return place_tree(dir) != TREE_IN || hit.view >= FIRST_TYPE_VIEW;
}

static int tree_lookup_in(struct vfs *v, const struct place *dir,
			  const char *name, vfs_ino *out, struct err *e)
{
	struct mount *m = &v->mounts[dir->mount];
	enum tree_id id = dir->area == AREA_PATCH ? TREE_ACT : place_tree(dir);
	const struct tree *t;
	struct tree_hit hit;
	int rc;

	if (id == TREE_COUNT)
		return err_set(e, ENOTDIR, "not a directory");
	rc = mount_tree(m, id, &t, e);
	if (rc < 0)
		return rc;
	if (takes_uploads(v, dir) && uploads_lookup(v, dir, name, out) == 0)
		return 0;
	if (!tree_lookup(t, dir->id, name, &hit) || !is_shown(dir, t, hit))
		return -ENOENT;
	return hit_ino(m, t, dir, hit, out, e);
}

int vfs_lookup(struct vfs *v, vfs_ino dir, const char *name, bool may_wait,
	       const atomic_bool *cancel, vfs_ino *out, struct err *e)
{
	struct place p = place_of(v, dir);
	int rc;

	/* FUSE itself lets names of up to 1024 bytes through. */
	if (strlen(name) > NAME_MAX)
		return err_set(e, ENAMETOOLONG, "name too long");
	switch (p.area) {
	case AREA_MOUNTS:
		rc = mounts_lookup(v, name, out);
		break;
	case AREA_TOP:
	case AREA_RUN:
		rc = fixed_lookup(v, &p, name, out);
		break;
	case AREA_RUNS:
		rc = runs_lookup(v, &p, name, out);
		break;
	case AREA_ITEMS:
		if (takes_uploads(v, &p))
			rc = uploads_lookup(v, &p, name, out);
		else
			rc = items_lookup(v, &p, name, may_wait, cancel, out,
					  e);
		break;
	default:
		rc = tree_lookup_in(v, &p, name, out, e);
		break;
	}
	if (rc == -ENOENT)
		err_set(e, ENOENT, "no such file");
	return rc;
}

/* ---- listing ---- */

static int uploads_entry(struct vfs *v, const struct place *dir, uint64_t i,
			 char *name, vfs_ino *ino)
{
	struct upload *u = NULL;

	pthread_mutex_lock(&v->lock);
	if (dir->run < v->nruns && v->runs[dir->run].name)
		u = upload_nth(&v->runs[dir->run], dir, i);
	if (u) {
		snprintf(name, NAME_BUFFER, "%s", u->name);
		*ino = upload_ino(dir, u);
	}
	pthread_mutex_unlock(&v->lock);
	return u ? 0 : -ENOENT;
}

/* How many entries of the tree a directory shows, before its uploads. */
static uint64_t shown_count(const struct place *dir, const struct tree *t)
{
	if (dir->area == AREA_PATCH)
		return tree_count_kind(t, dir->id, ENTRY_DIR);
	if (place_tree(dir) == TREE_IN)
		return tree_count(t, dir->id) -
		       (uint64_t)tree_count_kind(t, dir->id, ENTRY_VIEWED) *
			       FIRST_TYPE_VIEW;
	return tree_count(t, dir->id);
}

/* The number in the whole tree of the i-th entry that is shown. */
static uint64_t shown_index(const struct place *dir, const struct tree *t,
			    uint64_t i)
{
	uint64_t ndirs = tree_count_kind(t, dir->id, ENTRY_DIR);
	uint64_t nviewed = tree_count_kind(t, dir->id, ENTRY_VIEWED);
	uint64_t per = nviews - FIRST_TYPE_VIEW;

	if (i < ndirs || place_tree(dir) != TREE_IN)
		return i;
	i -= ndirs;
	if (i >= nviewed * per)
		return ndirs + nviewed * FIRST_TYPE_VIEW + i;
	return ndirs + i / per * nviews + FIRST_TYPE_VIEW + i % per;
}

static int tree_entry(struct vfs *v, const struct place *dir, uint64_t i,
		      char *name, vfs_ino *ino, struct err *e)
{
	struct mount *m = &v->mounts[dir->mount];
	enum tree_id id = dir->area == AREA_PATCH ? TREE_ACT : place_tree(dir);
	const struct tree *t;
	struct tree_hit hit;
	uint64_t n;
	int rc;

	if (id == TREE_COUNT)
		return err_set(e, ENOTDIR, "not a directory");
	rc = mount_tree(m, id, &t, e);
	if (rc < 0)
		return rc;
	n = shown_count(dir, t);
	if (i >= n)
		return takes_uploads(v, dir)
			       ? uploads_entry(v, dir, i - n, name, ino)
			       : -ENOENT;
	tree_list(t, dir->id, shown_index(dir, t, i), &hit);
	snprintf(name, NAME_BUFFER, "%s%s", tree_name(t, hit.entry),
		 views[hit.view]->suffix);
	return hit_ino(m, t, dir, hit, ino, e);
}

static int mounts_entry(struct vfs *v, uint64_t i, char *name, vfs_ino *ino)
{
	if (i >= v->nmounts)
		return -ENOENT;
	snprintf(name, NAME_BUFFER, "%s", v->mounts[i].name);
	*ino = place_ino(
		&(struct place){.mount = (uint32_t)i, .area = AREA_TOP});
	return 0;
}

static int runs_entry(struct vfs *v, const struct place *dir, uint64_t i,
		      char *name, vfs_ino *ino)
{
	uint32_t k;
	int rc = -ENOENT;

	pthread_mutex_lock(&v->lock);
	for (k = 0; k < v->nruns; k++) {
		const struct vrun *r = &v->runs[k];

		if (!r->name || r->mount != &v->mounts[dir->mount] || i-- > 0)
			continue;
		snprintf(name, NAME_BUFFER, "%s", r->name);
		*ino = place_ino(&(struct place){
			.mount = dir->mount, .area = AREA_RUN, .run = k});
		rc = 0;
		break;
	}
	pthread_mutex_unlock(&v->lock);
	return rc;
}

static int fixed_list(struct vfs *v, const struct place *dir, uint64_t i,
		      char *name, vfs_ino *ino)
{
	struct fixed f;

	if (!fixed_entry(v, dir, i, &f))
		return -ENOENT;
	snprintf(name, NAME_BUFFER, "%s", f.name);
	*ino = place_ino(&(struct place){.mount = dir->mount,
					 .area = f.area,
					 .run = dir->run,
					 .id = f.id});
	return 0;
}

int vfs_entry(struct vfs *v, vfs_ino dir, uint64_t i, bool may_wait,
	      const atomic_bool *cancel, char *name, vfs_ino *ino,
	      struct err *e)
{
	struct place p = place_of(v, dir);

	switch (p.area) {
	case AREA_MOUNTS:
		return mounts_entry(v, i, name, ino);
	case AREA_TOP:
	case AREA_RUN:
		return fixed_list(v, &p, i, name, ino);
	case AREA_RUNS:
		return runs_entry(v, &p, i, name, ino);
	case AREA_ITEMS:
		if (takes_uploads(v, &p))
			return uploads_entry(v, &p, i, name, ino);
		return items_entry(v, &p, i, may_wait, cancel, name, ino, e);
	default:
		return tree_entry(v, &p, i, name, ino, e);
	}
}
