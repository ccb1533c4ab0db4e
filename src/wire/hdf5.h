/* SPDX-License-Identifier: MIT */
/*
 * hdf5 - a strict reader of the part of HDF5 that Keras' files need (HDF5
 * File Format Specification, version 3.0).
 *
 * Superblocks 0 to 3; object headers 1 and 2; groups as symbol tables and
 * link messages; attributes in object headers; data that is compact,
 * contiguous, or in chunks found by a version-1 B-tree or alone; the filters
 * deflate, shuffle and fletcher32; fill values.  Nothing ever opens another
 * file: external links, external storage and virtual data are EPERM.
 *
 * Objects are named by their address.  Everything that is parsed lives as
 * long as the file; blobs stay valid after hdf5_close.  Not thread-safe.
 */
#ifndef WIRE_HDF5_H
#define WIRE_HDF5_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/tensor.h"

struct err;
struct hdf5;
struct source;

/* Bytes of metadata that one file may make us hold. */
#define HDF5_METADATA_MAX ((uint64_t)256 << 20)

typedef uint64_t hdf5_id;

enum hdf5_link_kind { HDF5_HARD, HDF5_SOFT, HDF5_EXTERNAL };

struct hdf5_link {
	const char *name; /* NUL-terminated */
	size_t len;
	enum hdf5_link_kind kind;
	hdf5_id id; /* of a hard link */
};

struct hdf5_string {
	const char *p; /* NUL-terminated */
	size_t len;
};

/* Where the signature is in [off, off + len) of src; false: nowhere. */
bool hdf5_find_start(struct source *src, uint64_t off, uint64_t len,
		     uint64_t *start);

/* The file in [off, off + len) of src, which is kept.  EINVAL, EFBIG. */
int hdf5_open(struct source *src, uint64_t off, uint64_t len, struct hdf5 **out,
	      struct err *e);
void hdf5_close(struct hdf5 *h);

hdf5_id hdf5_root(const struct hdf5 *h);

/* The links of a group, in file order; none for a dataset. */
int hdf5_links(struct hdf5 *h, hdf5_id group, const struct hdf5_link **out,
	       size_t *n, struct err *e);
/*
 * Follows hard links along a path with '/'.  -ENOENT (nothing is set) where
 * there is no such object, also where a soft or external link is on the way.
 */
int hdf5_find(struct hdf5 *h, hdf5_id from, const char *path, size_t len,
	      hdf5_id *out, struct err *e);

/*
 * The strings of an attribute.  *n is 0 when it is there and empty, or of
 * numbers.  -ENOENT (nothing is set) when there is none.
 */
int hdf5_strings(struct hdf5 *h, hdf5_id id, const char *name,
		 const struct hdf5_string **out, size_t *n, struct err *e);

/* True for objects with data. */
int hdf5_is_dataset(struct hdf5 *h, hdf5_id id, bool *out, struct err *e);
/*
 * Type, shape and data of a dataset.  What we do not support, or must not
 * open, is a blob_fail; *type_text then names the type, or stays as it was.
 */
int hdf5_dataset(struct hdf5 *h, hdf5_id id, struct tensor *out,
		 const char **type_text, struct err *e);

#endif
