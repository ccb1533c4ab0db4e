/* SPDX-License-Identifier: MIT */
/*
 * sources - the SOURCEs of the command line: all opened first, so that the
 * process can be confined before it reads one.
 */
#ifndef CLI_SOURCES_H
#define CLI_SOURCES_H

#include <stdbool.h>
#include <stddef.h>

#include "modelfs/vfs.h"

struct err;
struct input;

#define SOURCES_MAX 255

struct sources {
	struct vfs_mount mounts[SOURCES_MAX]; /* models once they were read */
	struct input *inputs[SOURCES_MAX];
	struct input *graph; /* NULL: each has its own */
	size_t n;
};

/*
 * args are NAME=SOURCE or SOURCE, and are cut at the '='; graph may be NULL.
 * EEXIST for two of one name.  sources_close is due in any case.
 */
int sources_open(struct sources *s, char **args, size_t n, const char *graph,
		 bool lenient, struct err *e);
/* Folders the models may read more files from; at most SOURCES_MAX + 1. */
size_t sources_folders(const struct sources *s, int *dirfds);
int sources_read(struct sources *s, struct err *e);
/* Closes the inputs, and frees the models that nobody took. */
void sources_close(struct sources *s);

#endif
