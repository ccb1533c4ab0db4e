/* SPDX-License-Identifier: MIT */
/* change - what can be written: uploads in run/NAME/in and run/NAME/patch. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "vfs/mounted.h"

/* Longest file that can be written. */
#define UPLOAD_MAX ((uint64_t)16 << 30)

static int read_only(struct err *e)
{
	return err_set(e, EROFS, "read-only");
}

/* vfs.lock held. */
static struct vrun *live_run(struct vfs *v, uint32_t number)
{
	if (number >= v->nruns || !v->runs[number].name)
		return NULL;
	return &v->runs[number];
}

static struct upload *live_upload(struct vfs *v, const struct place *p)
{
	struct vrun *r = live_run(v, p->run);

	return r && p->area == AREA_UPLOAD ? upload_get(r, p->id) : NULL;
}

/* A name of in/ or patch/ that may be written; else why not. */
static int check_name(struct vfs *v, const struct place *dir, const char *name,
		      struct err *e)
{
	struct mount *m = &v->mounts[dir->mount];
	size_t view;

	if (!takes_uploads(v, dir))
		return read_only(e);
	if (dir->area == AREA_PATCH &&
	    patched_value(m, dir->id, name, &view) == NO_VALUE)
		return err_set(e, EINVAL, "%s: nothing to patch here", name);
	return 0;
}

int vfs_create(struct vfs *v, vfs_ino dir, const char *name, vfs_ino *out,
	       struct err *e)
{
	struct place p = ino_place(dir);
	struct upload *u = NULL;
	struct vrun *r;
	int rc = check_name(v, &p, name, e);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&v->lock);
	r = live_run(v, p.run);
	if (r)
		u = upload_find(r, &p, name);
	if (r && !u)
		u = upload_new(r, &p, name, e);
	if (u) {
		u->nwriters++;
		*out = place_ino(&(struct place){.mount = p.mount,
						 .area = AREA_UPLOAD,
						 .run = p.run,
						 .id = u->id});
	}
	pthread_mutex_unlock(&v->lock);
	return u ? 0 : err_set(e, r ? ENOMEM : ENOENT, "the run has ended");
}

/* vfs.lock held.  The first writer starts from what is there. */
static int load_taken(struct upload *u)
{
	if (u->nwriters > 0 || !u->taken)
		return 0;
	free(u->data);
	u->len = 0;
	u->cap = u->taken->size;
	u->data = malloc(u->cap ? u->cap : 1);
	if (!u->data)
		return -ENOMEM;
	u->len = u->cap;
	return blob_read_full(u->taken, u->data, u->len, 0, NULL);
}

int vfs_write_open(struct vfs *v, vfs_ino ino, struct err *e)
{
	struct place p = ino_place(ino);
	struct upload *u;
	int rc = -EROFS;

	pthread_mutex_lock(&v->lock);
	u = live_upload(v, &p);
	if (u) {
		rc = load_taken(u);
		u->nwriters += rc == 0;
	}
	pthread_mutex_unlock(&v->lock);
	return rc < 0 ? err_set(e, -rc, "cannot be written") : 0;
}

/* vfs.lock held. */
static int resize(struct upload *u, uint64_t size)
{
	size_t cap = u->cap ? u->cap : 4096;
	char *p;

	if (size > UPLOAD_MAX)
		return -EFBIG;
	while (cap < size)
		cap *= 2;
	if (cap > u->cap) {
		p = realloc(u->data, cap);
		if (!p)
			return -ENOMEM;
		u->data = p;
		u->cap = cap;
	}
	if (size > u->len)
		memset(u->data + u->len, 0, size - u->len);
	u->len = size;
	u->mtime = time(NULL);
	return 0;
}

int vfs_truncate(struct vfs *v, vfs_ino ino, uint64_t size, struct err *e)
{
	struct place p = ino_place(ino);
	struct upload *u;
	int rc = -EROFS;

	pthread_mutex_lock(&v->lock);
	u = live_upload(v, &p);
	if (u)
		rc = resize(u, size);
	/* To be emptied is what happens before writing; it gives nothing. */
	if (rc == 0 && size > 0)
		u->is_dirty = true;
	pthread_mutex_unlock(&v->lock);
	return rc < 0 ? err_set(e, -rc, "cannot be resized") : 0;
}

int vfs_write(struct vfs *v, vfs_ino ino, const void *buf, size_t len,
	      uint64_t off, struct err *e)
{
	struct place p = ino_place(ino);
	struct upload *u;
	uint64_t end;
	int rc = -EROFS;

	if (__builtin_add_overflow(off, (uint64_t)len, &end))
		return err_set(e, EFBIG, "beyond any file");
	pthread_mutex_lock(&v->lock);
	u = live_upload(v, &p);
	if (u)
		rc = end > u->len ? resize(u, end) : 0;
	if (rc == 0) {
		memcpy(u->data + off, buf, len);
		u->is_dirty = true;
	}
	pthread_mutex_unlock(&v->lock);
	return rc < 0 ? err_set(e, -rc, "cannot be written") : 0;
}

int vfs_commit(struct vfs *v, vfs_ino ino, struct err *e)
{
	struct place p = ino_place(ino);

	if (p.area != AREA_UPLOAD)
		return 0;
	return upload_commit(v, p.run, p.id, e);
}

void vfs_release(struct vfs *v, vfs_ino ino)
{
	struct place p = ino_place(ino);
	struct upload *u;

	pthread_mutex_lock(&v->lock);
	u = live_upload(v, &p);
	if (u && u->nwriters > 0 && --u->nwriters == 0) {
		free(u->data);
		u->data = NULL;
		u->len = 0;
		u->cap = 0;
		u->is_dirty = false;
		u->refused = 0;
	}
	pthread_mutex_unlock(&v->lock);
}

int vfs_unlink(struct vfs *v, vfs_ino dir, const char *name, struct err *e)
{
	struct place p = ino_place(dir);
	bool may_hold = takes_uploads(v, &p);
	struct upload *u = NULL;
	struct vrun *r;
	uint32_t id = 0;

	if (!place_is_in_run(&p))
		return read_only(e);
	pthread_mutex_lock(&v->lock);
	r = live_run(v, p.run);
	if (r && may_hold)
		u = upload_find(r, &p, name);
	if (u)
		id = u->id;
	pthread_mutex_unlock(&v->lock);
	/* rm -r of a run takes its files first; they go with the run. */
	return u ? upload_remove(v, p.run, id, e) : 0;
}
