/* SPDX-License-Identifier: MIT */
/*
 * lane - where requests go that may take long, so that the threads that
 * answer the kernel are always free.  Work is done by a few threads, started
 * when there is something to do; each job carries the flag that stops it.
 */
#ifndef FUSE_LANE_H
#define FUSE_LANE_H

#include <stdatomic.h>
#include <stdbool.h>

struct lane;

struct job {
	void (*work)(struct job *j); /* replies */
	atomic_bool cancel;
	struct job *next, *prev; /* the lane's */
};

struct lane *lane_new(unsigned max_threads);
/* Stops what is running and waits for it. */
void lane_free(struct lane *l);

/*
 * Takes the job, which must come from malloc, and frees it when it is done.
 * False when no thread could be had: then it stays the caller's.
 */
bool lane_add(struct lane *l, struct job *j);

#endif
