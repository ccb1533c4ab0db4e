/* SPDX-License-Identifier: MIT */
/*
 * loop - threads that take requests from the kernel and answer them.
 *
 * libfuse has such a loop. It ends when one of its threads finds no memory for
 * a buffer, and ends its threads by cancelling them, which may lose a request
 * that has just been taken; a daemon that is to outlive such a moment needs
 * one that waits instead.
 */
#ifndef FUSE_LOOP_H
#define FUSE_LOOP_H

struct fuse_session;

/*
 * Until the session is unmounted, or a signal ends it (fuse_session_exit).
 * There is one thread at first, and another whenever all are busy, up to
 * max_threads.  0, or the negative errno value of what went wrong.
 */
int loop_run(struct fuse_session *se, unsigned max_threads);

#endif
