/* SPDX-License-Identifier: MIT */
/*
 * tar - the members of a tar archive (POSIX ustar, GNU sizes in base 256).
 *
 * Only regular files count, and only by their exact names; links, devices and
 * the records of long names are passed over.  Nothing is extracted.
 */
#ifndef WIRE_TAR_H
#define WIRE_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct source;

#define TAR_MEMBERS_MAX 1000000u
#define TAR_HEADER 512

struct tar_member {
	char name[101]; /* up to 100 bytes; empty: none of interest */
	bool is_file;
	uint64_t off, size; /* of the data, in the source */
	uint64_t next;	    /* offset of the next header */
};

/* True when these TAR_HEADER bytes are a header: their sum is right. */
bool tar_is_header(const uint8_t *p);

/*
 * The member whose header is at off; returns 1, or 0 at the end of the
 * archive.  EINVAL when the header is malformed or the data beyond the file.
 */
int tar_read(struct source *src, uint64_t off, struct tar_member *out,
	     struct err *e);

/*
 * Finds regular files: names[i] goes to found[i], whose next is 0 where there
 * is none.  EINVAL when one of them is there twice or is no regular file.
 */
int tar_find(struct source *src, const char *const *names, size_t n,
	     struct tar_member *found, struct err *e);

#endif
