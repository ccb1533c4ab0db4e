/* SPDX-License-Identifier: MIT */
/* ops - the operations, and what they share. */
#ifndef FUSE_OPS_H
#define FUSE_OPS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "fuse/lane.h"
#include "fuse/serve.h"
#include "modelfs/vfs.h"

struct blob;

/* Constant things are never asked for again. */
#define FOREVER 1e9

/* An open file; fi->fh. */
struct handle {
	struct blob *blob; /* NULL: opened for writing only */
	bool writes;
};

/* A request that waits in the lane. */
struct request {
	struct job job;
	fuse_req_t req;
	fuse_ino_t ino;
	struct fuse_file_info fi;
	struct blob *blob; /* read: owned */
	char *name;	   /* lookup: owned */
	size_t size;
	off_t off;
	bool plus; /* readdir: with attributes */
};

struct server *server_of(fuse_req_t req);
struct vfs *vfs_of(fuse_req_t req);
struct handle *handle_of(const struct fuse_file_info *fi);

/* For fi; takes b and, when it writes, the place of a writer.  NULL: ENOMEM. */
struct handle *new_handle(struct vfs *v, vfs_ino ino, struct blob *b,
			  bool writes, struct fuse_file_info *fi);
void drop_handle(struct vfs *v, vfs_ino ino, struct handle *h);
/* The same, and tells the reader. */
void reply_open(fuse_req_t req, fuse_ino_t ino, struct blob *b, bool writes,
		struct fuse_file_info *fi);
/* size bytes at off, which are there, through a buffer. */
void reply_copy(fuse_req_t req, struct blob *b, size_t size, off_t off);
/* Entry and attributes of an object, now or later. */
void reply_object(fuse_req_t req, vfs_ino ino);

/* Answers later, on a thread of the lane.  r is copied. */
void defer(const struct request *r, void (*work)(struct job *));
/*
 * Before a reply: from now on the request may be gone, and with it the right
 * to be interrupted.
 */
void end_interrupts(struct request *r);

double attr_timeout(struct vfs *v, vfs_ino ino);
/* As vfs_stat. */
int fill_entry(struct vfs *v, vfs_ino ino, bool may_wait,
	       const atomic_bool *cancel, struct fuse_entry_param *ent);

void serve_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void serve_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		   int to_set, struct fuse_file_info *fi);
void serve_readlink(fuse_req_t req, fuse_ino_t ino);
void serve_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		    size_t size);
void serve_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void serve_statfs(fuse_req_t req, fuse_ino_t ino);
void serve_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi);
void serve_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi);
void serve_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void serve_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		  mode_t mode, struct fuse_file_info *fi);
void serve_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
		 off_t off, struct fuse_file_info *fi);
void serve_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		 struct fuse_file_info *fi);
void serve_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		 mode_t mode);
void serve_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void serve_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		  mode_t mode, dev_t rdev);
void refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		    const char *name);
void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		   fuse_ino_t newparent, const char *newname, unsigned flags);
void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
		 const char *newname);
void refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		     const char *value, size_t size, int flags);
void refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
