/* SPDX-License-Identifier: MIT */
/*
 * zip - reading ZIP archives (APPNOTE 6.3.10), the only door to libzip.
 *
 * The central directory says what there is.  A member that is stored is
 * served as a range of the archive, one that is deflated through
 * blob_inflate.  What is wrong with one member is an error of that member;
 * members that overlap or have the same name make the archive malformed.
 */
#ifndef WIRE_ZIP_H
#define WIRE_ZIP_H

#include <stddef.h>
#include <stdint.h>

struct blob;
struct err;
struct source;
struct zipfile;

/* Members of one archive, and bytes of one that is read into memory. */
#define ZIPFILE_MEMBERS_MAX 4000000u
#define ZIPFILE_LOAD_MAX ((uint64_t)256 << 20)

struct zipfile_member {
	const char *name; /* raw bytes of the directory, NUL-terminated */
	size_t name_len;
	uint64_t size; /* inflated */
	uint64_t csize;
	uint64_t data_off; /* in the source */
	uint32_t crc;
	uint16_t method;
	int error;	 /* positive errno: the data cannot be had */
	const char *why; /* constant text */
};

/* The archive in [off, off + len) of src, which is kept.  EINVAL, EFBIG. */
int zipfile_open(struct source *src, uint64_t off, uint64_t len,
		 struct zipfile **out, struct err *e);
/* Blobs that were made from it stay valid. */
void zipfile_close(struct zipfile *z);

size_t zipfile_count(const struct zipfile *z);
/* In the order of the directory. */
const struct zipfile_member *zipfile_at(const struct zipfile *z, size_t i);
/* NULL when no member has exactly this name. */
const struct zipfile_member *zipfile_find(const struct zipfile *z,
					  const char *name, size_t len);

/* The member's bytes; a blob_fail where they cannot be had. */
int zipfile_data(const struct zipfile *z, const struct zipfile_member *m,
		 struct blob **out, struct err *e);
/*
 * The member as a source of its own: a copy in memory, with a NUL behind it,
 * which ZIPFILE_LOAD_MAX limits.
 */
int zipfile_load(const struct zipfile *z, const struct zipfile_member *m,
		 struct source **out, struct err *e);
/* The same as bytes, malloc'd, with a NUL behind. */
int zipfile_read(const struct zipfile *z, const struct zipfile_member *m,
		 char **out, size_t *len, struct err *e);

#endif
