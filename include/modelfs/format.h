/* SPDX-License-Identifier: MIT */
/*
 * format - a way to read model files, and the registry of them.
 *
 * A format lives in a file (or folder) of its own and is one const struct;
 * the registry in format.c has a line for each.
 */
#ifndef MODELFS_FORMAT_H
#define MODELFS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct model;
struct source;

/* What probes may look at before anything is read. */
#define INPUT_HEAD 4096

/* What the user named: a file, or a folder. */
struct input {
	const char *path;
	struct source *file; /* NULL: a folder */
	int dirfd;	     /* of the folder, or the one the file lies in */
	uint8_t head[INPUT_HEAD];
	size_t nhead;
	bool lenient;
};

struct format {
	const char *name;  /* "onnx" */
	const char *title; /* one line for --formats */
	/* How sure it is that this is its own, 0 (not) to 100; cheap. */
	int (*probe)(const struct input *in);
	int (*read)(const struct input *in, struct model *m, struct err *e);
};

/* The registry; NULL-terminated. */
extern const struct format *const formats[];

/* Opens what the user named; path must live as long. */
int input_open(const char *path, bool lenient, struct input **out,
	       struct err *e);
void input_close(struct input *in);

/*
 * Asks every format, and lets the best bidder read it.  When that one
 * refuses, the next; the first one's error is kept.  The model is sealed.
 */
int format_read(const struct input *in, struct model **out, struct err *e);

/* Both. */
int format_load(const char *path, bool lenient, struct model **out,
		struct err *e);
/* The same for a file in memory or one already open (tests, fuzzers). */
int format_load_source(struct source *file, bool lenient, struct model **out,
		       struct err *e);

/*
 * Opens a file that a model names: beside the user's path, beneath its
 * directory, never anywhere else.  name is from the file (len bytes).
 * EPERM when it leads outside, ENOENT, EACCES.
 */
int input_sibling(const struct input *in, const char *name, size_t len,
		  struct source **out, struct err *e);

#endif
