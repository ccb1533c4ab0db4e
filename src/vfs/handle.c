/* SPDX-License-Identifier: MIT */
/*
 * handle - object numbers that come back from outside: the handles that an NFS
 * server keeps for its clients.
 *
 * Nobody says that such a number was ever given out, so everything in it is
 * checked.  What belongs to a run does not outlive it: only the constant part
 * of the tree has handles.
 */
#include <errno.h>

#include "modelfs/model.h"
#include "modelfs/view.h"
#include "vfs/mounted.h"

static bool is_known_dir(struct mount *m, const struct place *p)
{
	const struct tree *t;

	return place_tree(p) < TREE_IN && p->view == 0 &&
	       mount_tree(m, place_tree(p), &t, NULL) == 0 &&
	       p->id < tree_ndirs(t);
}

static bool is_known_entry(struct mount *m, const struct place *p)
{
	const struct tree *t;

	if (place_tree(p) >= TREE_IN ||
	    mount_tree(m, place_tree(p), &t, NULL) < 0 ||
	    p->id >= tree_nentries(t))
		return false;
	switch (tree_kind(t, p->id)) {
	case ENTRY_VIEWED:
		return p->view < nviews;
	case ENTRY_PLAIN:
		return p->view == 0;
	default:
		return false;
	}
}

static bool is_known_param(const struct mount *m, const struct place *p)
{
	return p->id < m->model->nparams && p->view < nviews &&
	       !m->model->params[p->id]->tied;
}

static bool is_known(struct vfs *v, const struct place *p)
{
	struct mount *m = &v->mounts[p->mount < v->nmounts ? p->mount : 0];

	if (p->mount >= v->nmounts || p->run != 0)
		return false;
	switch (p->area) {
	case AREA_MOUNTS:
	case AREA_TOP:
		return p->id == 0 && p->view == 0;
	case AREA_RUNS:
		return p->id == 0 && p->view == 0 && m->model->graph && m->en;
	case AREA_PARAM:
		return is_known_param(m, p);
	default:
		return p->area >= AREA_DIR && p->area < AREA_ENTRY
			       ? is_known_dir(m, p)
			       : p->area >= AREA_ENTRY && is_known_entry(m, p);
	}
}

int vfs_handle(struct vfs *v, vfs_ino ino, struct err *e)
{
	struct place p = place_of(v, ino);

	if (ino == VFS_ROOT || is_known(v, &p))
		return 0;
	return err_set(e, ESTALE, "not a handle of this mount");
}

/* ---- the way up ---- */

static vfs_ino top_of(const struct vfs *v, const struct place *p)
{
	if (v->nmounts == 1)
		return VFS_ROOT;
	return place_ino(&(struct place){.mount = p->mount, .area = AREA_TOP});
}

/* A directory of a tree, which is not the tree's root. */
static int dir_above(struct mount *m, struct place *p, struct err *e)
{
	const struct tree *t;
	enum tree_id id = p->area == AREA_PATCH ? TREE_ACT : place_tree(p);
	int rc = mount_tree(m, id, &t, e);

	if (rc == 0)
		p->id = tree_parent(t, tree_dir_entry(t, p->id));
	return rc;
}

int vfs_parent(struct vfs *v, vfs_ino dir, vfs_ino *out, struct err *e)
{
	struct place p = place_of(v, dir);
	struct place run = {.mount = p.mount, .run = p.run, .area = AREA_RUN};
	int rc = 0;

	if (dir == VFS_ROOT || p.area == AREA_TOP) {
		*out = VFS_ROOT;
	} else if (p.area == AREA_RUN) {
		run.run = 0;
		run.area = AREA_RUNS;
		*out = place_ino(&run);
	} else if (p.area == AREA_ITEMS) {
		rc = item_above(&v->mounts[p.mount], &p, e);
		*out = place_ino(&p);
	} else if ((p.area == AREA_PATCH || place_tree(&p) < TREE_COUNT) &&
		   p.id != TREE_ROOT) {
		rc = dir_above(&v->mounts[p.mount], &p, e);
		*out = place_ino(&p);
	} else if (place_is_in_run(&p)) {
		*out = place_ino(&run);
	} else {
		*out = top_of(v, &p);
	}
	return rc;
}
