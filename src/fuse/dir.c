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
static int next_entry(struct vfs *v, vfs_ino dir, off_t off, char *name,
		      vfs_ino *ino)
{
	if (off < 2) {
		strcpy(name, off == 0 ? "." : "..");
		*ino = dir;
		return 0;
	}
	return vfs_entry(v, dir, (uint64_t)off - 2, name, ino, NULL);
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

static void list_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     bool plus)
{
	char name[512];
	char *buf = malloc(size);
	size_t used = 0;
	vfs_ino child;
	int rc = 0;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (;; off++) {
		size_t n;

		rc = next_entry(vfs_of(req), ino, off, name, &child);
		if (rc < 0)
			break;
		n = add_entry(req, buf + used, size - used, off, name, child,
			      plus);
		if (n > size - used)
			break;
		used += n;
	}
	if (rc < 0 && rc != -ENOENT && used == 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, buf, used);
	free(buf);
}

void serve_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	(void)fi;
	list_dir(req, ino, size, off, false);
}

void serve_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	list_dir(req, ino, size, off, true);
}
