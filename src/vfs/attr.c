/* SPDX-License-Identifier: MIT */
/* attr - attributes, bytes, links and extended attributes of objects. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/dtype.h"
#include "modelfs/model.h"
#include "modelfs/run.h"
#include "modelfs/source.h"
#include "modelfs/view.h"
#include "vfs/mounted.h"

/* ---- parameters ---- */

static int param_open(const struct mount *m, const struct place *p,
		      struct blob **out, struct err *e)
{
	const struct param *param = m->model->params[p->id];
	struct tensor t = param_tensor(param);
	char q[ERR_QUOTED];
	int rc;

	if (strcmp(views[p->view]->suffix, ".dtype") == 0 &&
	    param->dtype_text) {
		struct text text = {0};

		text_printf(&text, "%s\n", param->dtype_text);
		return text_blob(&text, out, e);
	}
	if (!views[p->view]->needs_data)
		return view_open(p->view, &t, out, e);
	rc = t.data ? blob_status(t.data, e)
		    : err_set(e, ENODATA, "has no data");
	if (rc == 0)
		rc = view_open(p->view, &t, out, e);
	if (rc < 0)
		err_wrap(e, "%s",
			 err_quote(q, param->full_name, param->full_len));
	return rc;
}

/* What opening would show; 0 where opening is an error. */
static uint64_t param_size(const struct mount *m, const struct place *p)
{
	const struct param *param = m->model->params[p->id];
	struct tensor t = param_tensor(param);
	uint64_t size = 0;
	struct blob *b;

	if (views[p->view]->needs_data &&
	    views[p->view]->size(&t, &size, NULL) == 0)
		return size;
	if (param_open(m, p, &b, NULL) < 0)
		return 0;
	size = b->size;
	blob_unref(b);
	return size;
}

/* ---- opening ---- */

static int upload_open(struct vfs *v, const struct place *p, struct blob **out,
		       struct err *e)
{
	struct upload *u = NULL;
	int rc = -ENOENT;

	pthread_mutex_lock(&v->lock);
	if (p->run < v->nruns && v->runs[p->run].name)
		u = upload_get(&v->runs[p->run], p->id);
	if (u && u->taken && !u->is_dirty)
		*out = blob_ref(u->taken);
	else if (u)
		*out = blob_copy(u->data ? u->data : "", u->len);
	rc = !u ? -ENOENT : *out ? 0 : -ENOMEM;
	pthread_mutex_unlock(&v->lock);
	if (rc == -ENOENT)
		err_set(e, ENOENT, "no such file");
	return rc;
}

/* Why a value cannot be opened is to be found in status. */
static int open_value(struct vfs *v, const struct place *p, bool may_wait,
		      const atomic_bool *cancel, struct blob **out,
		      struct err *e)
{
	struct err why = {0};
	int rc = value_open(v, p, may_wait, cancel, out, &why);
	struct run *r = NULL;

	/* A missing input is named there as such. */
	if (rc < 0 && rc != -EAGAIN && rc != -ENODATA && rc != -EINTR)
		r = run_of(v, p->run);
	if (r)
		run_note(r, why.msg);
	run_unref(r);
	if (rc < 0 && e)
		*e = why;
	return rc;
}

int vfs_open(struct vfs *v, vfs_ino ino, bool may_wait,
	     const atomic_bool *cancel, struct blob **out, struct err *e)
{
	struct place p = place_of(v, ino);
	struct mount *m = &v->mounts[p.mount];

	switch (p.area) {
	case AREA_PARAM:
		return param_open(m, &p, out, e);
	case AREA_VALUE:
		return open_value(v, &p, may_wait, cancel, out, e);
	case AREA_REPORT:
		return run_report(v, &p, out, e);
	case AREA_UPLOAD:
		*out = NULL;
		return upload_open(v, &p, out, e);
	case AREA_ITEM:
		return item_open(v, &p, may_wait, cancel, out, e);
	default:
		if (p.area < AREA_ENTRY)
			return err_set(e, EISDIR, "a directory");
		return entry_open(m, place_tree(&p), p.id, out, e);
	}
}

static bool opens_always(const struct model *m)
{
	uint32_t i;

	for (i = 0; i < m->nparams; i++) {
		const struct param *p = m->params[i];

		if (!p->data || blob_status(p->data, NULL) < 0 ||
		    p->dtype == DTYPE_STRING)
			return false;
	}
	return true;
}

bool vfs_is_plain(struct vfs *v)
{
	size_t i;

	for (i = 0; i < v->nmounts; i++)
		if (v->mounts[i].model->graph ||
		    !opens_always(v->mounts[i].model))
			return false;
	return true;
}

int vfs_readlink(struct vfs *v, vfs_ino ino, struct blob **out, struct err *e)
{
	struct place p = place_of(v, ino);
	struct mount *m = &v->mounts[p.mount];
	struct text text = {0};
	int rc;

	if (p.area < AREA_ENTRY || !entry_is_link(m, place_tree(&p), p.id))
		return err_set(e, EINVAL, "not a symbolic link");
	rc = entry_link(m, place_tree(&p), p.id, p.view, &text, e);
	if (rc < 0) {
		text_free(&text);
		return rc;
	}
	return text_blob(&text, out, e);
}

bool vfs_is_constant(struct vfs *v, vfs_ino ino)
{
	struct place p = place_of(v, ino);

	return p.area != AREA_RUNS && !place_is_in_run(&p);
}

/* ---- stat ---- */

static bool is_dir(const struct place *p)
{
	switch (p->area) {
	case AREA_MOUNTS:
	case AREA_TOP:
	case AREA_RUNS:
	case AREA_RUN:
	case AREA_PATCH:
	case AREA_ITEMS:
		return true;
	default:
		return p->area >= AREA_DIR && p->area < AREA_ENTRY;
	}
}

bool vfs_has_constant_attr(struct vfs *v, vfs_ino ino)
{
	struct place p = place_of(v, ino);

	if (!place_is_in_run(&p))
		return true;
	if (is_dir(&p))
		return p.area != AREA_ITEMS;
	return p.area >= AREA_ENTRY &&
	       entry_is_link(&v->mounts[p.mount], place_tree(&p), p.id);
}

static nlink_t dir_links(struct vfs *v, const struct place *p)
{
	struct mount *m = &v->mounts[p->mount];
	const struct tree *t;
	enum tree_id id = p->area == AREA_PATCH ? TREE_ACT : place_tree(p);

	if (p->area == AREA_MOUNTS)
		return 2 + v->nmounts;
	if (p->area == AREA_TOP)
		return m->model->graph ? 7 : 5;
	if (p->area == AREA_RUN)
		return 7;
	if (id == TREE_COUNT || mount_tree(m, id, &t, NULL) < 0)
		return 2;
	return 2 + tree_count_kind(t, p->id, ENTRY_DIR) +
	       (p->area == AREA_PATCH ? 0
				      : tree_count_kind(t, p->id, ENTRY_ITEMS));
}

static void stat_dir(struct vfs *v, const struct place *p, struct stat *st)
{
	bool writable = p->area == AREA_RUNS || place_is_in_run(p);

	st->st_mode = S_IFDIR | (writable ? 0755 : 0555);
	st->st_nlink = dir_links(v, p);
	/* Else the kernel would go on showing what it listed before. */
	if (p->area == AREA_ITEMS)
		st->st_mtim.tv_nsec = (long)(items_version(v, p) % 1000000000);
}

static int stat_link(struct vfs *v, vfs_ino ino, struct stat *st, struct err *e)
{
	struct blob *target;
	int rc = vfs_readlink(v, ino, &target, e);

	st->st_mode = S_IFLNK | 0777;
	if (rc < 0)
		return rc;
	st->st_size = (off_t)target->size;
	blob_unref(target);
	return 0;
}

static int stat_text(struct vfs *v, vfs_ino ino, struct stat *st, struct err *e)
{
	struct blob *b;
	int rc = vfs_open(v, ino, false, NULL, &b, e);

	if (rc < 0)
		return rc;
	st->st_size = (off_t)b->size;
	blob_unref(b);
	return 0;
}

static int stat_upload(struct vfs *v, const struct place *p, struct stat *st,
		       struct err *e)
{
	struct upload *u = NULL;

	pthread_mutex_lock(&v->lock);
	if (p->run < v->nruns && v->runs[p->run].name)
		u = upload_get(&v->runs[p->run], p->id);
	if (u) {
		bool is_old = u->taken && !u->is_dirty && !u->nwriters;

		st->st_mode = S_IFREG | 0644;
		st->st_size = (off_t)(is_old ? u->taken->size : u->len);
		st->st_mtime = u->mtime;
	}
	pthread_mutex_unlock(&v->lock);
	return u ? 0 : err_set(e, ENOENT, "no such file");
}

static int stat_value(struct vfs *v, const struct place *p, bool may_wait,
		      const atomic_bool *cancel, struct stat *st, struct err *e)
{
	struct mount *m = &v->mounts[p->mount];
	const struct tree *t;
	uint64_t size;
	int rc = mount_tree(m, TREE_ACT, &t, e);

	if (rc == 0)
		rc = value_size(v, p, may_wait, cancel, &size, e);
	if (rc < 0)
		return rc;
	st->st_size = (off_t)size;
	if (m->value_links[p->id] > 1)
		st->st_nlink = m->value_links[p->id];
	return 0;
}

/* As of a value: what cannot be had is empty, and opening it tells why. */
static int stat_item(struct vfs *v, const struct place *p, bool may_wait,
		     const atomic_bool *cancel, struct stat *st, struct err *e)
{
	struct blob *b;
	int rc = item_open(v, p, may_wait, cancel, &b, e);

	if (rc == -EAGAIN || rc == -EINTR || rc == -ENOENT)
		return rc;
	if (rc == 0) {
		st->st_size = (off_t)b->size;
		blob_unref(b);
	}
	return 0;
}

static int stat_file(struct vfs *v, vfs_ino ino, const struct place *p,
		     bool may_wait, const atomic_bool *cancel, struct stat *st,
		     struct err *e)
{
	struct mount *m = &v->mounts[p->mount];

	st->st_mode = S_IFREG | 0444;
	st->st_nlink = 1;
	switch (p->area) {
	case AREA_PARAM:
		st->st_nlink = m->model->params[p->id]->ntied;
		st->st_size = (off_t)param_size(m, p);
		return 0;
	case AREA_VALUE:
		return stat_value(v, p, may_wait, cancel, st, e);
	case AREA_UPLOAD:
		return stat_upload(v, p, st, e);
	case AREA_ITEM:
		return stat_item(v, p, may_wait, cancel, st, e);
	case AREA_REPORT:
		return stat_text(v, ino, st, e);
	default:
		if (entry_is_link(m, place_tree(p), p->id))
			return stat_link(v, ino, st, e);
		return stat_text(v, ino, st, e);
	}
}

int vfs_stat(struct vfs *v, vfs_ino ino, bool may_wait,
	     const atomic_bool *cancel, struct stat *st, struct err *e)
{
	struct place p = place_of(v, ino);
	int rc = 0;

	*st = (struct stat){
		.st_ino = ino,
		.st_uid = v->uid,
		.st_gid = v->gid,
		.st_blksize = 4096,
		.st_mtime = v->mounts[p.mount].mtime,
	};
	if (is_dir(&p))
		stat_dir(v, &p, st);
	else
		rc = stat_file(v, ino, &p, may_wait, cancel, st, e);
	st->st_blocks = (st->st_size + 511) / 512;
	st->st_atime = st->st_mtime;
	st->st_ctime = st->st_mtime;
	return rc;
}

/* ---- extended attributes ---- */

enum xattr { X_SHAPE, X_DTYPE, X_SOURCE, X_OFFSET, X_LENGTH, X_TYPE, X_COUNT };

static const char *const xattr_names[X_COUNT] = {
	"user.modelfs.shape",  "user.modelfs.dtype",  "user.modelfs.source",
	"user.modelfs.offset", "user.modelfs.length", "user.modelfs.type",
};

/* False when the object has no such attribute. */
static bool param_xattr(const struct param *p, enum xattr x, struct text *out)
{
	struct tensor t = param_tensor(p);
	struct extent range;
	bool has_range = t.data && blob_is_extent(t.data, &range);
	char shape[1024];

	switch (x) {
	case X_SHAPE:
		shape_format(&t.shape, shape, sizeof(shape));
		text_add(out, shape);
		return true;
	case X_DTYPE:
		text_add(out,
			 p->dtype_text ? p->dtype_text : dtype_name(t.dtype));
		return true;
	case X_SOURCE:
		if (has_range)
			text_add(out, source_name(range.src));
		return has_range;
	case X_OFFSET:
	case X_LENGTH:
		if (has_range)
			text_printf(out, "%llu",
				    (unsigned long long)(x == X_OFFSET
								 ? range.off
								 : range.len));
		return has_range;
	default:
		return false;
	}
}

static bool object_xattr(struct vfs *v, const struct place *p, enum xattr x,
			 struct text *out)
{
	struct mount *m = &v->mounts[p->mount];
	const struct module *mod;
	const struct tree *t;

	if (p->area == AREA_PARAM && p->view == 0)
		return param_xattr(m->model->params[p->id], x, out);
	if (p->area != AREA_DIR + TREE_MODEL || x != X_TYPE ||
	    mount_tree(m, TREE_MODEL, &t, NULL) < 0)
		return false;
	mod = m->model->modules[p->id == TREE_ROOT ? 0 : tree_object(t, p->id)];
	if (mod->type)
		text_add(out, mod->type);
	return mod->type != NULL;
}

int vfs_listxattr(struct vfs *v, vfs_ino ino, struct blob **out, struct err *e)
{
	struct place p = place_of(v, ino);
	struct text names = {0};
	int x;

	for (x = 0; x < X_COUNT; x++) {
		struct text value = {0};

		if (object_xattr(v, &p, (enum xattr)x, &value))
			text_add_bytes(&names, xattr_names[x],
				       strlen(xattr_names[x]) + 1);
		text_free(&value);
	}
	return text_blob(&names, out, e);
}

int vfs_getxattr(struct vfs *v, vfs_ino ino, const char *name,
		 struct blob **out, struct err *e)
{
	struct place p = place_of(v, ino);
	struct text value = {0};
	int x;

	/* No ACLs, no labels: once told so, ls asks no further. */
	if (strncmp(name, "user.", 5) != 0)
		return err_set(e, EOPNOTSUPP, "only user attributes");
	for (x = 0; x < X_COUNT; x++)
		if (strcmp(name, xattr_names[x]) == 0)
			break;
	if (x < X_COUNT && object_xattr(v, &p, (enum xattr)x, &value))
		return text_blob(&value, out, e);
	text_free(&value);
	return err_set(e, ENODATA, "no such attribute");
}
