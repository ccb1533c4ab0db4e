/* SPDX-License-Identifier: MIT */
/* attr - names, attributes, links, extended attributes. */
#include "fuse/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/vfs.h"

#define STATFS_BLOCK 4096

/* ---- attributes ---- */

double attr_timeout(struct vfs *v, vfs_ino ino)
{
	return vfs_has_constant_attr(v, ino) ? FOREVER : 0;
}

int fill_entry(struct vfs *v, vfs_ino ino, bool may_wait,
	       const atomic_bool *cancel, struct fuse_entry_param *ent)
{
	int rc;

	memset(ent, 0, sizeof(*ent));
	rc = vfs_stat(v, ino, may_wait, cancel, &ent->attr, NULL);
	if (rc < 0)
		return rc;
	ent->ino = ino;
	ent->generation = vfs_generation(v, ino);
	ent->attr_timeout = attr_timeout(v, ino);
	ent->entry_timeout = FOREVER;
	return 0;
}

static void late_lookup(struct job *j)
{
	struct request *r = (struct request *)j;
	struct fuse_entry_param ent;
	int rc = fill_entry(vfs_of(r->req), r->ino, true, &j->cancel, &ent);

	end_interrupts(r);
	if (rc < 0)
		fuse_reply_err(r->req, -rc);
	else
		fuse_reply_entry(r->req, &ent);
}

void reply_object(fuse_req_t req, vfs_ino ino)
{
	struct fuse_entry_param ent;
	int rc = fill_entry(vfs_of(req), ino, false, NULL, &ent);

	if (rc == -EAGAIN)
		defer(&(struct request){.req = req, .ino = ino}, late_lookup);
	else if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_entry(req, &ent);
}

static void late_find(struct job *j)
{
	struct request *r = (struct request *)j;
	struct vfs *v = vfs_of(r->req);
	struct fuse_entry_param ent;
	vfs_ino ino;
	int rc = vfs_lookup(v, r->ino, r->name, true, &j->cancel, &ino, NULL);

	if (rc == 0)
		rc = fill_entry(v, ino, true, &j->cancel, &ent);
	end_interrupts(r);
	free(r->name);
	if (rc < 0)
		fuse_reply_err(r->req, -rc);
	else
		fuse_reply_entry(r->req, &ent);
}

/*
 * "." and ".." are only asked for by an NFS server (FUSE_CAP_EXPORT_SUPPORT),
 * of numbers that its clients remember.
 */
static void lookup_handle(fuse_req_t req, fuse_ino_t ino, bool above)
{
	vfs_ino found = ino;
	int rc = vfs_handle(vfs_of(req), ino, NULL);

	if (rc == 0 && above)
		rc = vfs_parent(vfs_of(req), ino, &found, NULL);
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		reply_object(req, found);
}

void serve_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param none = {.entry_timeout = FOREVER};
	vfs_ino ino;
	char *copy;
	int rc;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		lookup_handle(req, parent, name[1] == '.');
		return;
	}
	rc = vfs_lookup(vfs_of(req), parent, name, false, NULL, &ino, NULL);
	copy = rc == -EAGAIN ? strdup(name) : NULL;
	if (copy)
		defer(&(struct request){.req = req,
					.ino = parent,
					.name = copy},
		      late_find);
	else if (rc == -ENOENT && vfs_is_constant(vfs_of(req), parent))
		fuse_reply_entry(req, &none);
	else if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		reply_object(req, ino);
}

static void late_getattr(struct job *j)
{
	struct request *r = (struct request *)j;
	struct stat st;
	int rc = vfs_stat(vfs_of(r->req), r->ino, true, &j->cancel, &st, NULL);

	end_interrupts(r);
	if (rc < 0)
		fuse_reply_err(r->req, -rc);
	else
		fuse_reply_attr(r->req, &st,
				attr_timeout(vfs_of(r->req), r->ino));
}

void serve_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int rc = vfs_stat(vfs_of(req), ino, false, NULL, &st, NULL);

	(void)fi;
	if (rc == -EAGAIN)
		defer(&(struct request){.req = req, .ino = ino}, late_getattr);
	else if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, &st, attr_timeout(vfs_of(req), ino));
}

/* Times of an upload may be set (cp -p, touch), without effect. */
void serve_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		   int to_set, struct fuse_file_info *fi)
{
	const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
			  FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW |
			  FUSE_SET_ATTR_CTIME;
	struct vfs *v = vfs_of(req);
	int rc = 0;

	if (vfs_is_constant(v, ino))
		rc = -EROFS;
	else if (to_set & FUSE_SET_ATTR_SIZE)
		rc = vfs_truncate(v, ino, (uint64_t)attr->st_size, NULL);
	else if (to_set & ~(times | FUSE_SET_ATTR_MODE))
		rc = -EPERM;
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		serve_getattr(req, ino, fi);
}

void serve_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[4096] = "";
	struct blob *b;
	size_t got = 0;
	int rc = vfs_readlink(vfs_of(req), ino, &b, NULL);

	if (rc == 0) {
		rc = blob_read(b, target, sizeof(target) - 1, 0, &got, NULL);
		blob_unref(b);
	}
	target[got] = '\0';
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_readlink(req, target);
}

/* ---- the rest ---- */

static void reply_xattr(fuse_req_t req, struct blob *b, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, (size_t)b->size);
	else if (size < b->size)
		fuse_reply_err(req, ERANGE);
	else
		reply_copy(req, b, (size_t)b->size, 0);
	blob_unref(b);
}

void serve_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		    size_t size)
{
	struct blob *b;
	int rc = vfs_getxattr(vfs_of(req), ino, name, &b, NULL);

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		reply_xattr(req, b, size);
}

void serve_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct blob *b;
	int rc = vfs_listxattr(vfs_of(req), ino, &b, NULL);

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		reply_xattr(req, b, size);
}

void serve_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {
		.f_bsize = STATFS_BLOCK,
		.f_frsize = STATFS_BLOCK,
		.f_namemax = 255,
		.f_flag = ST_NOSUID | ST_NODEV,
	};

	(void)ino;
	fuse_reply_statfs(req, &st);
}
