/* SPDX-License-Identifier: MIT */
/* mount - the only door to libfuse: mounts, serves until unmounted. */
#ifndef FUSE_MOUNT_H
#define FUSE_MOUNT_H

#include <stdbool.h>

struct err;
struct vfs;

struct mount_options {
	const char *mountpoint;
	const char *source;	/* shown as the device */
	const char **o;		/* each -o argument */
	unsigned no;
	bool foreground;
	bool debug;
};

struct mount_session;

/*
 * The first step, while everything is still allowed: goes to the background,
 * unless told not to, and starts the process that will mount.  In the
 * background the calling process is a new one; the old one waits until
 * mount_serve is reached, or ends with the exit status of the new one.
 */
int mount_prepare(const struct mount_options *o, struct mount_session **out,
		  struct err *e);
/*
 * Mounts, for v to be served until mount_serve returns.  Read-only where there
 * is nothing to write.
 * -errno, with the reason.
 */
int mount_open(struct mount_session *m, struct vfs *v, struct err *e);
/* Serves until unmounted or told to stop by a signal. */
int mount_serve(struct mount_session *m);
/* Unmounts, where that is still to be done. */
void mount_close(struct mount_session *m);

const char *mount_fuse_version(void);

#endif
