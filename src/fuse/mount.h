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

/* Mounts; nothing is served yet.  -errno, with the reason. */
int mount_open(const struct mount_options *o, struct mount_session **out,
	       struct err *e);
/* Goes to the background, unless told not to.  Before any thread starts. */
int mount_daemonize(struct mount_session *m, struct err *e);
/* Serves until unmounted or told to stop by a signal. */
int mount_serve(struct mount_session *m, struct vfs *v);
void mount_close(struct mount_session *m);

const char *mount_fuse_version(void);

#endif
