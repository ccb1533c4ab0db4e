/* SPDX-License-Identifier: MIT */
/* read - opening files and reading them. */
#include "fuse/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"
#include "modelfs/vfs.h"

static void late_open(struct job *j)
{
	struct request *r = (struct request *)j;
	struct blob *b = NULL;
	int rc = vfs_open(vfs_of(r->req), r->ino, true, &j->cancel, &b, NULL);

	if (rc == 0)
		rc = vfs_prepare(b, &j->cancel, NULL);
	end_interrupts(r);
	if (rc == 0) {
		reply_open(r->req, r->ino, b, false, &r->fi);
		return;
	}
	blob_unref(b);
	fuse_reply_err(r->req, -rc);
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

void serve_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct blob *b;
	int rc;

	if (server_of(req)->is_plain) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)) {
		open_to_write(req, ino, fi);
		return;
	}
	rc = vfs_open(vfs_of(req), ino, false, NULL, &b, NULL);
	/*
	 * What is still to be computed is so while its reader opens it: reads go
	 * through the page cache, ahead of the reader, and the kernel would not
	 * tell us that it was interrupted or is gone.
	 */
	if (rc == 0 && vfs_is_pending(b)) {
		blob_unref(b);
		rc = -EAGAIN;
	}
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
	buf.buf[0].flags =
		FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY;
	buf.buf[0].fd = source_fd(x->src);
	buf.buf[0].pos = (off_t)x->off;
	fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
}

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

/* The file that was read last under this number, opened if need be. */
static int open_recent(struct server *s, fuse_ino_t ino, struct blob **out)
{
	struct recent_file *slot = &s->recent[ino % RECENT_FILES];
	struct blob *b = NULL, *old;
	int rc;

	pthread_mutex_lock(&s->recent_lock);
	if (slot->blob && slot->ino == ino)
		b = blob_ref(slot->blob);
	pthread_mutex_unlock(&s->recent_lock);
	if (b) {
		*out = b;
		return 0;
	}
	rc = vfs_open(s->vfs, ino, true, NULL, &b, NULL);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&s->recent_lock);
	old = slot->blob;
	slot->blob = blob_ref(b);
	slot->ino = ino;
	pthread_mutex_unlock(&s->recent_lock);
	blob_unref(old);
	*out = b;
	return 0;
}

/*
 * A reference of its own: the reader may close the file, and another thread of
 * ours release it, before the reply has returned.
 */
static int blob_of(fuse_req_t req, fuse_ino_t ino,
		   const struct fuse_file_info *fi, struct blob **out)
{
	if (server_of(req)->is_plain)
		return open_recent(server_of(req), ino, out);
	if (!handle_of(fi)->blob)
		return -EBADF;
	*out = blob_ref(handle_of(fi)->blob);
	return 0;
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

void serve_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	struct blob *b;
	int rc = blob_of(req, ino, fi, &b);

	if (rc < 0) {
		fuse_reply_err(req, -rc);
		return;
	}
	if ((uint64_t)off >= b->size)
		size = 0;
	else if (size > b->size - (uint64_t)off)
		size = (size_t)(b->size - (uint64_t)off);
	if (size > 0 && vfs_is_slow(b)) {
		defer(&(struct request){.req = req,
					.ino = ino,
					.blob = b,
					.size = size,
					.off = off},
		      late_read);
		return;
	}
	if (size == 0)
		fuse_reply_buf(req, NULL, 0);
	else
		reply_bytes(req, b, size, off);
	blob_unref(b);
}

void serve_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	drop_handle(vfs_of(req), ino, handle_of(fi));
	fuse_reply_err(req, 0);
}
