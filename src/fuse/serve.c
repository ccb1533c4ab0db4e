/* SPDX-License-Identifier: MIT */
/*
 * serve - kernel requests to vfs calls.
 *
 * A request whose answer may have to be computed is tried first without
 * waiting; when that is not enough it goes to the lane and is answered later.
 */
#include "fuse/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/lane.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"
#include "modelfs/vfs.h"

/* Constant things are never asked for again. */
#define FOREVER 1e9

#define STATFS_BLOCK 4096

static struct server *server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct vfs *vfs_of(fuse_req_t req)
{
	return server_of(req)->vfs;
}

/* ---- open files ---- */

struct handle {
	struct blob *blob; /* NULL: opened for writing only */
	bool writes;
};

static int reply_open(fuse_req_t req, fuse_ino_t ino, struct blob *b,
		      bool writes, struct fuse_file_info *fi)
{
	struct handle *h = malloc(sizeof(*h));

	if (!h) {
		blob_unref(b);
		return fuse_reply_err(req, ENOMEM);
	}
	h->blob = b;
	h->writes = writes;
	fi->fh = (uint64_t)(uintptr_t)h;
	fi->keep_cache = vfs_is_constant(vfs_of(req), ino);
	/* A close that has nothing to say needs no round trip. */
	fi->noflush = !writes;
	return fuse_reply_open(req, fi);
}

static struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* ---- slow requests ---- */

struct request {
	struct job job;
	fuse_req_t req;
	fuse_ino_t ino;
	struct fuse_file_info fi;
	struct blob *blob; /* read: owned */
	size_t size;
	off_t off;
};

static void interrupt_request(fuse_req_t req, void *data)
{
	struct request *r = data;

	(void)req;
	atomic_store(&r->job.cancel, true);
}

/* Answers later.  r is copied. */
static void defer(const struct request *r, void (*work)(struct job *))
{
	struct server *s = server_of(r->req);
	struct request *copy = malloc(sizeof(*copy));

	if (!copy) {
		blob_unref(r->blob);
		fuse_reply_err(r->req, ENOMEM);
		return;
	}
	*copy = *r;
	copy->job.work = work;
	atomic_init(&copy->job.cancel, false);
	fuse_req_interrupt_func(r->req, interrupt_request, copy);
	if (lane_add(s->lane, &copy->job))
		return;
	work(&copy->job);
	free(copy);
}

/*
 * Before a reply: from now on the request may be gone, and with it the right
 * to be interrupted.
 */
static void end_interrupts(struct request *r)
{
	fuse_req_interrupt_func(r->req, NULL, NULL);
}

/* ---- attributes ---- */

static double attr_timeout(struct vfs *v, vfs_ino ino)
{
	return vfs_is_constant(v, ino) ? FOREVER : 0;
}

static int fill_entry(struct vfs *v, vfs_ino ino, bool may_wait,
		      const atomic_bool *cancel, struct fuse_entry_param *ent)
{
	int rc;

	memset(ent, 0, sizeof(*ent));
	rc = vfs_stat(v, ino, may_wait, cancel, &ent->attr, NULL);
	if (rc < 0)
		return rc;
	ent->ino = ino;
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

static void reply_object(fuse_req_t req, vfs_ino ino)
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

static void serve_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param none = {.entry_timeout = FOREVER};
	vfs_ino ino;
	int rc = vfs_lookup(vfs_of(req), parent, name, &ino, NULL);

	if (rc == -ENOENT && vfs_is_constant(vfs_of(req), parent))
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

static void serve_getattr(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
{
	struct stat st;
	int rc = vfs_stat(vfs_of(req), ino, false, NULL, &st, NULL);

	(void)fi;
	if (rc == -EAGAIN)
		defer(&(struct request){.req = req, .ino = ino},
		      late_getattr);
	else if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, &st, attr_timeout(vfs_of(req), ino));
}

/* Times of an upload may be set (cp -p, touch), without effect. */
static void serve_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
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

static void serve_readlink(fuse_req_t req, fuse_ino_t ino)
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

/* ---- directories ---- */

static void serve_opendir(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
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

static void serve_readdir(fuse_req_t req, fuse_ino_t ino, size_t size,
			  off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list_dir(req, ino, size, off, false);
}

static void serve_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			      off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list_dir(req, ino, size, off, true);
}

/* ---- reading ---- */

static void late_open(struct job *j)
{
	struct request *r = (struct request *)j;
	struct blob *b;
	int rc = vfs_open(vfs_of(r->req), r->ino, true, &j->cancel, &b, NULL);

	end_interrupts(r);
	if (rc < 0)
		fuse_reply_err(r->req, -rc);
	else
		reply_open(r->req, r->ino, b, false, &r->fi);
}

static void open_to_write(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
{
	struct vfs *v = vfs_of(req);
	struct blob *b = NULL;
	int rc = vfs_write_open(v, ino, NULL);

	if (rc < 0) {
		fuse_reply_err(req, -rc);
		return;
	}
	if (fi->flags & O_TRUNC)
		rc = vfs_truncate(v, ino, 0, NULL);
	if (rc == 0 && (fi->flags & O_ACCMODE) == O_RDWR)
		rc = vfs_open(v, ino, false, NULL, &b, NULL);
	if (rc < 0) {
		vfs_release(v, ino);
		fuse_reply_err(req, -rc);
		return;
	}
	reply_open(req, ino, b, true, fi);
}

static void serve_open(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct blob *b;
	int rc;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)) {
		open_to_write(req, ino, fi);
		return;
	}
	rc = vfs_open(vfs_of(req), ino, false, NULL, &b, NULL);
	if (rc == -EAGAIN)
		defer(&(struct request){.req = req, .ino = ino, .fi = *fi},
		      late_open);
	else if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		reply_open(req, ino, b, false, fi);
}

static void reply_extent(fuse_req_t req, const struct extent *x, size_t size)
{
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);
	struct err e = {0};

	if (source_check(x->src, &e) < 0) {
		fuse_reply_err(req, e.code);
		return;
	}
	buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf.buf[0].fd = source_fd(x->src);
	buf.buf[0].pos = (off_t)x->off;
	fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
}

static void reply_copy(fuse_req_t req, struct blob *b, size_t size, off_t off)
{
	char *buf = malloc(size);
	struct err e = {0};
	int rc = buf ? blob_read_full(b, buf, size, (uint64_t)off, &e)
		     : -ENOMEM;

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, buf, size);
	free(buf);
}

/* size is within the blob. */
static void reply_bytes(fuse_req_t req, struct blob *b, size_t size, off_t off)
{
	const char *bytes = blob_bytes(b);
	struct extent x;

	if (bytes)
		fuse_reply_buf(req, bytes + off, size);
	else if (blob_extent(b, (uint64_t)off, &x) && x.len >= size &&
		 source_fd(x.src) >= 0)
		reply_extent(req, &x, size);
	else
		reply_copy(req, b, size, off);
}

/*
 * The reader may close the file, and another thread of ours release it, before
 * the reply has returned.
 */
static void reply_held(fuse_req_t req, struct blob *b, size_t size, off_t off)
{
	blob_ref(b);
	reply_bytes(req, b, size, off);
	blob_unref(b);
}

static void late_read(struct job *j)
{
	struct request *r = (struct request *)j;
	int rc = vfs_prepare(r->blob, &j->cancel, NULL);

	end_interrupts(r);
	if (rc < 0)
		fuse_reply_err(r->req, -rc);
	else
		reply_bytes(r->req, r->blob, r->size, r->off);
	blob_unref(r->blob);
}

static void serve_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct blob *b = handle_of(fi)->blob;

	if (!b) {
		fuse_reply_err(req, EBADF);
		return;
	}
	if ((uint64_t)off >= b->size) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (size > b->size - (uint64_t)off)
		size = (size_t)(b->size - (uint64_t)off);
	if (vfs_is_slow(b))
		defer(&(struct request){.req = req,
					.ino = ino,
					.blob = blob_ref(b),
					.size = size,
					.off = off},
		      late_read);
	else
		reply_held(req, b, size, off);
}

static void serve_release(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	if (h->writes)
		vfs_release(vfs_of(req), ino);
	blob_unref(h->blob);
	free(h);
	fuse_reply_err(req, 0);
}

/* ---- writing ---- */

static void serve_create(fuse_req_t req, fuse_ino_t parent, const char *name,
			 mode_t mode, struct fuse_file_info *fi)
{
	struct vfs *v = vfs_of(req);
	struct fuse_entry_param ent;
	struct handle *h;
	vfs_ino ino;
	int rc = vfs_create(v, parent, name, &ino, NULL);

	(void)mode;
	if (rc == 0)
		rc = fill_entry(v, ino, false, NULL, &ent);
	h = rc == 0 ? calloc(1, sizeof(*h)) : NULL;
	if (!h) {
		fuse_reply_err(req, rc < 0 ? -rc : ENOMEM);
		return;
	}
	h->writes = true;
	fi->fh = (uint64_t)(uintptr_t)h;
	fuse_reply_create(req, &ent, fi);
}

static void serve_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
			size_t size, off_t off, struct fuse_file_info *fi)
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

static void serve_flush(fuse_req_t req, fuse_ino_t ino,
			struct fuse_file_info *fi)
{
	if (handle_of(fi)->writes)
		defer(&(struct request){.req = req, .ino = ino}, late_flush);
	else
		fuse_reply_err(req, 0);
}

static void serve_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
			struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void serve_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
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

static void serve_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, -vfs_rmdir(vfs_of(req), parent, name, NULL));
}

static void serve_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, -vfs_unlink(vfs_of(req), parent, name, NULL));
}

/* ---- what is never allowed ---- */

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
			 mode_t mode, dev_t rdev)
{
	(void)parent, (void)name, (void)mode, (void)rdev;
	fuse_reply_err(req, EROFS);
}

static void refuse_symlink(fuse_req_t req, const char *link,
			   fuse_ino_t parent, const char *name)
{
	(void)link, (void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
			  fuse_ino_t newparent, const char *newname,
			  unsigned flags)
{
	(void)parent, (void)name, (void)newparent, (void)newname, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
			const char *newname)
{
	(void)ino, (void)newparent, (void)newname;
	fuse_reply_err(req, EROFS);
}

static void refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			    const char *value, size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void refuse_removexattr(fuse_req_t req, fuse_ino_t ino,
			       const char *name)
{
	(void)ino, (void)name;
	fuse_reply_err(req, EROFS);
}

static void refuse_fallocate(fuse_req_t req, fuse_ino_t ino, int mode,
			     off_t off, off_t len, struct fuse_file_info *fi)
{
	(void)ino, (void)mode, (void)off, (void)len, (void)fi;
	fuse_reply_err(req, EROFS);
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

static void serve_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			   size_t size)
{
	struct blob *b;
	int rc = vfs_getxattr(vfs_of(req), ino, name, &b, NULL);

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		reply_xattr(req, b, size);
}

static void serve_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct blob *b;
	int rc = vfs_listxattr(vfs_of(req), ino, &b, NULL);

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		reply_xattr(req, b, size);
}

static void serve_statfs(fuse_req_t req, fuse_ino_t ino)
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

static void serve_init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	conn->max_read = SERVE_MAX_READ;
	conn->max_readahead = SERVE_MAX_READ;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->want |= conn->capable &
		      (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
		       FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
		       FUSE_CAP_READDIRPLUS | FUSE_CAP_NO_OPENDIR_SUPPORT |
		       FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS_AUTO |
				  FUSE_CAP_SPLICE_READ |
				  FUSE_CAP_AUTO_INVAL_DATA);
}

const struct fuse_lowlevel_ops serve_ops = {
	.init = serve_init,
	.lookup = serve_lookup,
	.getattr = serve_getattr,
	.setattr = serve_setattr,
	.readlink = serve_readlink,
	.mknod = refuse_mknod,
	.mkdir = serve_mkdir,
	.unlink = serve_unlink,
	.rmdir = serve_rmdir,
	.symlink = refuse_symlink,
	.rename = refuse_rename,
	.link = refuse_link,
	.open = serve_open,
	.read = serve_read,
	.write = serve_write,
	.flush = serve_flush,
	.release = serve_release,
	.fsync = serve_fsync,
	.opendir = serve_opendir,
	.readdir = serve_readdir,
	.readdirplus = serve_readdirplus,
	.statfs = serve_statfs,
	.setxattr = refuse_setxattr,
	.getxattr = serve_getxattr,
	.listxattr = serve_listxattr,
	.removexattr = refuse_removexattr,
	.create = serve_create,
	.fallocate = refuse_fallocate,
};
