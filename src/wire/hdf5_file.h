/* SPDX-License-Identifier: MIT */
/* hdf5_file - what the files of the HDF5 reader share. */
#ifndef WIRE_HDF5_FILE_H
#define WIRE_HDF5_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/cursor.h"
#include "modelfs/tensor.h"

#include "wire/hdf5.h"

struct arena;
struct blob;
struct err;
struct map;
struct source;

#define HDF5_UNDEFINED UINT64_MAX
#define HDF5_FILTERS_MAX 32

enum hdf5_message_type {
	MESSAGE_DATASPACE = 0x01,
	MESSAGE_LINK_INFO = 0x02,
	MESSAGE_DATATYPE = 0x03,
	MESSAGE_OLD_FILL = 0x04,
	MESSAGE_FILL = 0x05,
	MESSAGE_LINK = 0x06,
	MESSAGE_EXTERNAL = 0x07,
	MESSAGE_LAYOUT = 0x08,
	MESSAGE_FILTERS = 0x0b,
	MESSAGE_ATTRIBUTE = 0x0c,
	MESSAGE_CONTINUATION = 0x10,
	MESSAGE_SYMBOL_TABLE = 0x11,
	MESSAGE_ATTRIBUTE_INFO = 0x15
};

#define MESSAGE_SHARED 0x02 /* flag */

struct hdf5_message {
	uint16_t type;
	uint8_t flags;
	const uint8_t *data;
	uint32_t len;
};

struct hdf5_object {
	struct hdf5_message *messages;
	size_t n, cap;
};

struct hdf5 {
	struct source *src; /* owned */
	uint64_t base;	    /* of all addresses, in src */
	uint64_t size;	    /* bytes from base to the end */
	size_t offset_size, length_size;
	hdf5_id root;
	struct arena *arena;
	uint64_t nbytes;     /* of metadata read so far */
	uint64_t nsteps;     /* of searches in heaps */
	struct map *objects; /* address → struct hdf5_object * */
	struct map *heaps;   /* address → struct hdf5_bytes * */
	struct map *groups;  /* address → struct hdf5_group * */
	struct map *names; /* address of a group, name → index of the link */
};

struct hdf5_group {
	const struct hdf5_link *links;
	size_t n;
};

struct hdf5_bytes {
	const uint8_t *p;
	size_t len;
};

/* ---- hdf5.c ---- */
/* Metadata at an address, which stays in memory.  EINVAL beyond the file. */
int hdf5_load(struct hdf5 *h, uint64_t addr, uint64_t len, const uint8_t **out,
	      struct err *e);
uint64_t hdf5_offset(const struct hdf5 *h, struct cursor *c);
uint64_t hdf5_length(const struct hdf5 *h, struct cursor *c);

/* ---- hdf5_object.c ---- */
int hdf5_object(struct hdf5 *h, hdf5_id id, const struct hdf5_object **out,
		struct err *e);
/* Keeps p under an address.  -ENOMEM. */
int hdf5_remember(struct hdf5 *h, struct map *map, uint64_t addr, const void *p,
		  struct err *e);
/* NULL when there is none of this type. */
const struct hdf5_message *hdf5_message(const struct hdf5_object *o,
					unsigned type);

/* ---- hdf5_type.c ---- */
enum hdf5_class { HDF5_NUMBER, HDF5_TEXT, HDF5_VLEN_TEXT, HDF5_OTHER };

struct hdf5_type {
	enum hdf5_class class;
	enum dtype dtype; /* of HDF5_NUMBER */
	uint32_t size;	  /* bytes of an element */
	size_t swap;	  /* > 1: groups of so many bytes are big-endian */
	uint8_t number;	  /* of the class, for messages */
};

int hdf5_type(struct hdf5 *h, const struct hdf5_message *m,
	      struct hdf5_type *out, struct err *e);
/* is_null: there are no elements at all. */
int hdf5_space(const struct hdf5 *h, const uint8_t *data, size_t len,
	       struct shape *out, bool *is_null, struct err *e);

/* ---- hdf5_chunks.c ---- */
struct hdf5_filter {
	uint16_t id;
	uint32_t value; /* its first parameter, or 0 */
};

struct hdf5_chunk {
	uint64_t idx;  /* in row-major order of chunks */
	uint64_t addr; /* in the file, base included */
	uint32_t size; /* stored */
	uint32_t mask; /* filters left out */
};

struct hdf5_chunked {
	struct shape shape, chunk;
	size_t elem_size;
	uint8_t fill[16];
	struct hdf5_filter filters[HDF5_FILTERS_MAX];
	size_t nfilters;
	struct hdf5_chunk *chunks; /* malloc'd; sorted by idx */
	size_t nchunks, cap;
};

/* Takes c->chunks, also on failure. */
int hdf5_chunked_blob(struct source *src, const struct hdf5_chunked *c,
		      struct blob **out, struct err *e);

/* ---- hdf5_filter.c ---- */
/*
 * Undoes the filters of one chunk in the order they were not applied.  Takes
 * *data (malloc'd) and leaves a buffer of exactly `size` bytes there.  EIO.
 */
int hdf5_unfilter(const struct hdf5_filter *f, size_t n, uint32_t mask,
		  uint8_t **data, size_t len, size_t size, struct err *e);
bool hdf5_filter_known(uint16_t id);

/* ---- hdf5_index.c ---- */
/* given: idx, addr (without the base) and mask.  EINVAL beyond the file. */
int hdf5_add_chunk(struct hdf5 *h, struct hdf5_chunked *k,
		   const struct hdf5_chunk *given, uint64_t size,
		   struct err *e);
/*
 * All chunks, by the rest of a layout message of version 4.  max: of each
 * extent, or -1.
 */
int hdf5_index(struct hdf5 *h, const int64_t *max, uint8_t flags,
	       struct cursor *layout, struct hdf5_chunked *k, struct err *e);

/* ---- hdf5_btree.c ---- */
typedef int (*hdf5_record_fn)(void *ctx, const uint8_t *record, size_t len,
			      struct err *e);
/* Every record of a version-2 B-tree of this type. */
int hdf5_btree(struct hdf5 *h, uint64_t addr, uint8_t type, hdf5_record_fn fn,
	       void *ctx, struct err *e);
/* Bytes that numbers up to a limit take. */
size_t hdf5_limit_size(uint64_t limit);

/* ---- hdf5_heap.c ---- */
struct hdf5_heap {
	struct hdf5 *h;
	uint16_t id_len, width, bits, rows, direct_rows;
	uint64_t start; /* bytes of the smallest block */
	uint64_t root;
	uint64_t huge; /* the tree of objects outside of blocks */
	size_t offset_size, length_size; /* in ids */
};
int hdf5_heap(struct hdf5 *h, uint64_t addr, struct hdf5_heap *out,
	      struct err *e);
/* What an id leads to; stays in memory, unless it lies in the id itself. */
int hdf5_heap_object(struct hdf5_heap *f, const uint8_t *id, size_t id_len,
		     struct hdf5_bytes *out, struct err *e);

/* ---- hdf5_tree.c ---- */
typedef int (*hdf5_leaf_fn)(void *ctx, const uint8_t *key, uint64_t child,
			    struct err *e);
/* Every child of the leaves of a version-1 B-tree. */
int hdf5_tree(struct hdf5 *h, uint64_t addr, uint8_t type, size_t key_size,
	      hdf5_leaf_fn fn, void *ctx, struct err *e);

/* ---- hdf5_data.c, hdf5_attr.c ---- */
/* One element of a variable-length string.  Borrowed from the file. */
int hdf5_vlen(struct hdf5 *h, const uint8_t *element, struct hdf5_string *out,
	      struct err *e);

#endif
