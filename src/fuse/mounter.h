/* SPDX-License-Identifier: MIT */
/*
 * mounter - a small process that mounts and unmounts for us.
 *
 * It is made before the daemon confines itself, and knows nothing but the
 * mount options: so the daemon, which reads the model, needs no right to
 * mount.  When the daemon ends, however it ends, the mounter unmounts.
 */
#ifndef FUSE_MOUNTER_H
#define FUSE_MOUNTER_H

#include <stdbool.h>

struct err;
struct fuse_args;

/* Starts it; *sock is the way to talk to it.  Before any thread starts. */
int mounter_start(struct fuse_args *args, const char *mountpoint, int *sock,
		  struct err *e);
/* Mounts; the descriptor of the kernel's requests, or -errno. */
int mounter_mount(int sock, bool read_only, struct err *e);
/* Has it unmount, and waits for that; closes sock. */
void mounter_stop(int sock);

#endif
