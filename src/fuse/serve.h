/* SPDX-License-Identifier: MIT */
/* serve - what mount.c and the operations share. */
#ifndef FUSE_SERVE_H
#define FUSE_SERVE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct blob;
struct lane;
struct vfs;

/* Files read without being opened: so many are remembered. */
#define RECENT_FILES 64

struct recent_file {
	uint64_t ino;
	struct blob *blob; /* owned; NULL: none */
};

struct server {
	struct vfs *vfs;
	struct lane *lane;
	/*
	 * Nothing is ever written and no opening fails, so the kernel need not
	 * ask: reads come without a handle.
	 */
	bool is_plain;
	pthread_mutex_t recent_lock;
	struct recent_file recent[RECENT_FILES]; /* by inode number */
};

/* Requests are at most this long: what a pipe takes with splice. */
#define SERVE_MAX_READ (512 * 1024)

extern const struct fuse_lowlevel_ops serve_ops;

#endif
