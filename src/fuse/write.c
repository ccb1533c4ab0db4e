/* SPDX-License-Identifier: MIT */
/* write - uploads and runs; and all that is never allowed. */
#include "fuse/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/vfs.h"
/* ---- writing ---- */

void serve_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		  mode_t mode, struct fuse_file_info *fi)
{
	struct vfs *v = vfs_of(req);
	struct fuse_entry_param ent;
	struct handle *h;
	vfs_ino ino;
	int rc = vfs_create(v, parent, name, &ino, NULL);

	(void)mode;
	if (rc < 0) {
		fuse_reply_err(req, -rc);
		return;
	}
	h = new_handle(v, ino, NULL, true, fi);
	rc = h ? fill_entry(v, ino, false, NULL, &ent) : -ENOMEM;
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		rc = fuse_reply_create(req, &ent, fi);
	if (rc < 0 && h)
		drop_handle(v, ino, h);
}

void serve_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
		 off_t off, struct fuse_file_info *fi)
{
	int rc = vfs_write(vfs_of(req), ino, buf, size, (uint64_t)off, NULL);

	(void)fi;
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_write(req, size);
}

static void late_flush(struct job *j)
{
	struct request *r = (struct request *)j;
	int rc = vfs_commit(vfs_of(r->req), r->ino, NULL);

	end_interrupts(r);
	fuse_reply_err(r->req, -rc);
}

void serve_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (server_of(req)->is_plain)
		fuse_reply_err(req, ENOSYS); /* once is enough */
	else if (handle_of(fi)->writes)
		defer(&(struct request){.req = req, .ino = ino}, late_flush);
	else
		fuse_reply_err(req, 0);
}

void serve_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		 struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, 0);
}

void serve_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		 mode_t mode)
{
	vfs_ino ino;
	int rc = vfs_mkdir(vfs_of(req), parent, name, &ino, NULL);

	(void)mode;
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		reply_object(req, ino);
}

void serve_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, -vfs_rmdir(vfs_of(req), parent, name, NULL));
}

void serve_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, -vfs_unlink(vfs_of(req), parent, name, NULL));
}

/* ---- what is never allowed ---- */

void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		  mode_t mode, dev_t rdev)
{
	(void)parent, (void)name, (void)mode, (void)rdev;
	fuse_reply_err(req, EROFS);
}

void refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		    const char *name)
{
	(void)link, (void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		   fuse_ino_t newparent, const char *newname, unsigned flags)
{
	(void)parent, (void)name, (void)newparent, (void)newname, (void)flags;
	fuse_reply_err(req, EROFS);
}

void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
		 const char *newname)
{
	(void)ino, (void)newparent, (void)newname;
	fuse_reply_err(req, EROFS);
}

void refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		     const char *value, size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	fuse_reply_err(req, EROFS);
}

void refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino, (void)name;
	fuse_reply_err(req, EROFS);
}
