/* SPDX-License-Identifier: MIT */
/*
 * reply - what the operations have in common.
 *
 * A request whose answer may have to be computed is tried first without
 * waiting; when that is not enough it goes to the lane and is answered later.
 */
#include "fuse/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/lane.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/vfs.h"

struct server *server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct vfs *vfs_of(fuse_req_t req)
{
	return server_of(req)->vfs;
}

/* ---- open files ---- */

void drop_handle(struct vfs *v, vfs_ino ino, struct handle *h)
{
	if (h->writes)
		vfs_release(v, ino);
	blob_unref(h->blob);
	free(h);
}

struct handle *new_handle(struct vfs *v, vfs_ino ino, struct blob *b,
			  bool writes, struct fuse_file_info *fi)
{
	struct handle *h = malloc(sizeof(*h));

	if (!h) {
		if (writes)
			vfs_release(v, ino);
		blob_unref(b);
		return NULL;
	}
	h->blob = b;
	h->writes = writes;
	fi->fh = (uint64_t)(uintptr_t)h;
	fi->keep_cache = vfs_is_constant(v, ino);
	/* A close that has nothing to say needs no round trip. */
	fi->noflush = !writes;
	return h;
}

void reply_open(fuse_req_t req, fuse_ino_t ino, struct blob *b, bool writes,
		struct fuse_file_info *fi)
{
	struct vfs *v = vfs_of(req);
	struct handle *h = new_handle(v, ino, b, writes, fi);

	if (!h)
		fuse_reply_err(req, ENOMEM);
	else if (fuse_reply_open(req, fi) == -ENOENT)
		drop_handle(v, ino, h); /* interrupted: nobody will */
}

struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* ---- slow requests ---- */

static void interrupt_request(fuse_req_t req, void *data)
{
	struct request *r = data;

	(void)req;
	atomic_store(&r->job.cancel, true);
}

void defer(const struct request *r, void (*work)(struct job *))
{
	struct server *s = server_of(r->req);
	struct request *copy = malloc(sizeof(*copy));

	if (!copy) {
		blob_unref(r->blob);
		free(r->name);
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

void end_interrupts(struct request *r)
{
	fuse_req_interrupt_func(r->req, NULL, NULL);
}

/* size is within the blob. */
void reply_copy(fuse_req_t req, struct blob *b, size_t size, off_t off)
{
	char *buf = malloc(size);
	struct err e = {0};
	int rc =
		buf ? blob_read_full(b, buf, size, (uint64_t)off, &e) : -ENOMEM;

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, buf, size);
	free(buf);
}
