/* SPDX-License-Identifier: MIT */
/* dir - listing directories. */
#include "fuse/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/vfs.h"

/* ---- directories ---- */

void serve_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	/* Nothing to open: the kernel stops asking, and caches listings. */
	fuse_reply_err(req, ENOSYS);
}

/* Offset of an entry: 1 is ".", 2 is "..", 3 the first. */
static int next_entry(struct vfs *v, const struct request *r, bool may_wait,
		      off_t off, char *name, vfs_ino *ino)
{
	if (off == 0) {
		strcpy(name, ".");
		*ino = r->ino;
		return 0;
	}
	if (off == 1) {
		strcpy(name, "..");
		return vfs_parent(v, r->ino, ino, NULL);
	}
	return vfs_entry(v, r->ino, (uint64_t)off - 2, may_wait, &r->job.cancel,
			 name, ino, NULL);
}

static size_t add_entry(fuse_req_t req, char *buf, size_t size, off_t off,
			const char *name, vfs_ino ino, bool plus)
{
	struct fuse_entry_param ent = {.attr.st_ino = ino};

	if (!plus) {
		ent.attr.st_mode = 0;
		return fuse_add_direntry(req, buf, size, name, &ent.attr,
					 off + 1);
	}
	/* What can't be told at once is looked up when it is wanted. */
	if (off >= 2 && fill_entry(vfs_of(req), ino, false, NULL, &ent) < 0) {
		memset(&ent, 0, sizeof(ent));
		ent.attr.st_ino = ino;
	}
	return fuse_add_direntry_plus(req, buf, size, name, &ent, off + 1);
}

/* False: it has to wait for something to be computed. */
static bool list_dir(struct request *r, bool may_wait)
{
	char name[512];
	char *buf = malloc(r->size);
	size_t used = 0;
	vfs_ino child;
	off_t off;
	int rc = buf ? 0 : -ENOMEM;

	for (off = r->off; rc == 0; off++) {
		size_t n;

		rc = next_entry(vfs_of(r->req), r, may_wait, off, name, &child);
		if (rc < 0)
			break;
		n = add_entry(r->req, buf + used, r->size - used, off, name,
			      child, r->plus);
		if (n > r->size - used)
			break;
		used += n;
	}
	if (rc == -EAGAIN && !may_wait) {
		free(buf);
		return false;
	}
	if (may_wait)
		end_interrupts(r);
	if (rc < 0 && rc != -ENOENT && used == 0)
		fuse_reply_err(r->req, -rc);
	else
		fuse_reply_buf(r->req, buf, used);
	free(buf);
	return true;
}

static void late_list(struct job *j)
{
	list_dir((struct request *)j, true);
}

void serve_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	struct request r = {.req = req, .ino = ino, .size = size, .off = off};

	(void)fi;
	if (!list_dir(&r, false))
		defer(&r, late_list);
}

void serve_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct request r = {
		.req = req, .ino = ino, .size = size, .off = off, .plus = true};

	(void)fi;
	if (!list_dir(&r, false))
		defer(&r, late_list);
}
