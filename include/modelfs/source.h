/* SPDX-License-Identifier: MIT */
/*
 * source - an open model file, read with pread and never mapped, so that a
 * file cut short under our feet is an error and not a signal.
 *
 * Sources are reference-counted and may be used from any thread.
 */
#ifndef MODELFS_SOURCE_H
#define MODELFS_SOURCE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct err;
struct source;

/*
 * Opens a regular file.  dirfd < 0: path as the user gave it.  dirfd >= 0:
 * path comes from a file and must be a clean relative name that resolves
 * beneath dirfd (THREATS of sibling files); else EPERM, and nothing is opened.
 * EINVAL when the result is not a regular file.
 */
int source_open(int dirfd, const char *path, struct source **out,
		struct err *e);

/*
 * A source over bytes in memory.  Takes data, which must come from malloc
 * (also on failure).  name is for messages.
 */
int source_from_memory(void *data, size_t len, const char *name,
		       struct source **out, struct err *e);

struct source *source_ref(struct source *s);
void source_unref(struct source *s);

uint64_t source_size(const struct source *s);
time_t source_mtime(const struct source *s);
/* Name to show to the user (the last path component), borrowed. */
const char *source_name(const struct source *s);
/* Descriptor for splice; -1 for a source in memory. */
int source_fd(const struct source *s);

/*
 * Reads exactly len bytes at off.  EIO when the range ends beyond the file or
 * the disk fails, ESTALE when the file changed its identity, size or
 * modification time since it was opened.
 */
int source_read(struct source *s, void *buf, size_t len, uint64_t off,
		struct err *e);

/* ESTALE when the file is no longer what it was when opened. */
int source_check(struct source *s, struct err *e);

#endif
