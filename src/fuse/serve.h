/* SPDX-License-Identifier: MIT */
/* serve - what mount.c and the operations share. */
#ifndef FUSE_SERVE_H
#define FUSE_SERVE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

struct lane;
struct vfs;

struct server {
	struct vfs *vfs;
	struct lane *lane;
};

/* Requests are at most this long: what a pipe takes with splice. */
#define SERVE_MAX_READ (512 * 1024)

extern const struct fuse_lowlevel_ops serve_ops;

#endif
