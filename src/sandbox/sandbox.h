/* SPDX-License-Identifier: MIT */
/*
 * sandbox - gives up what a daemon that reads hostile files does not need, so
 * that a mistake in a parser costs one mount and nothing else.
 *
 * Two walls.  Landlock (Linux 5.13+): no file can be opened but for reading,
 * and beneath the folders of the models.  Seccomp: no program can be started,
 * no process made, no socket opened, nothing changed in any file system.  Where
 * something is extracted, that folder is the exception.
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

struct err;

struct sandbox_options {
	const int *dirfds; /* folders that may be read, e.g. of shards */
	size_t ndirfds;
	int target; /* a folder that may be filled; -1: nothing is written */
	bool may_load; /* libraries of the system, when they are wanted */
};

/*
 * Confines the calling thread and all it will start; for good.  What the
 * kernel does not offer is left out: *walls says what stands ("seccomp
 * landlock", "none").
 */
int sandbox_enter(const struct sandbox_options *o, const char **walls,
		  struct err *e);

/* The second step, once everything is open: no file can be opened at all. */
int sandbox_close_files(struct err *e);

#endif
