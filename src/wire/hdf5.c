/* SPDX-License-Identifier: MIT */
/* hdf5 - the superblock, and metadata by its address.  See hdf5.h. */
#include "wire/hdf5.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/source.h"

#include "wire/hdf5_file.h"

#define SUPERBLOCK_MAX 128

static const uint8_t signature[8] = {0x89, 'H',	 'D',  'F',
				     '\r', '\n', 0x1a, '\n'};

/* ---- bytes ---- */

int hdf5_load(struct hdf5 *h, uint64_t addr, uint64_t len, const uint8_t **out,
	      struct err *e)
{
	uint8_t *p;
	int rc;

	if (addr > h->size || len > h->size - addr)
		return err_set(e, EINVAL,
			       "%llu bytes of metadata at %llu, beyond the "
			       "file",
			       (unsigned long long)len,
			       (unsigned long long)addr);
	h->nbytes += len;
	if (h->nbytes > HDF5_METADATA_MAX)
		return err_set(e, EFBIG, "too much metadata");
	p = arena_alloc(h->arena, (size_t)len + 1);
	if (!p)
		return err_nomem(e, (size_t)len);
	rc = source_read(h->src, p, (size_t)len, h->base + addr, e);
	if (rc == 0)
		*out = p;
	return rc;
}

static uint64_t read_number(struct cursor *c, size_t size)
{
	uint64_t v = 0;
	bool all_ones = true;

	for (size_t i = 0; i < size; i++) {
		uint8_t byte = cursor_u8(c);

		v |= (uint64_t)byte << (8 * i);
		all_ones = all_ones && byte == 0xff;
	}
	return all_ones ? HDF5_UNDEFINED : v;
}

uint64_t hdf5_offset(const struct hdf5 *h, struct cursor *c)
{
	return read_number(c, h->offset_size);
}

uint64_t hdf5_length(const struct hdf5 *h, struct cursor *c)
{
	return read_number(c, h->length_size);
}

/* ---- superblock ---- */

bool hdf5_find_start(struct source *src, uint64_t off, uint64_t len,
		     uint64_t *start)
{
	uint8_t head[8];

	for (uint64_t at = 0; at < len && len - at >= 8;
	     at = at ? at * 2 : 512) {
		if (source_read(src, head, 8, off + at, NULL) < 0)
			return false;
		if (memcmp(head, signature, 8) != 0)
			continue;
		*start = at;
		return true;
	}
	return false;
}

static int set_sizes(struct hdf5 *h, uint8_t offset, uint8_t length,
		     struct err *e)
{
	h->offset_size = offset;
	h->length_size = length;
	if ((offset != 4 && offset != 8) || (length != 4 && length != 8))
		return err_set(e, EOPNOTSUPP,
			       "offsets of %u and lengths of %u bytes", offset,
			       length);
	return 0;
}

/* Versions 0 and 1: the root is a symbol table entry. */
static int read_old(struct hdf5 *h, struct cursor *c, unsigned version,
		    uint64_t *base, struct err *e)
{
	uint8_t offset, length;
	int rc;

	cursor_skip(c, 4);
	offset = cursor_u8(c);
	length = cursor_u8(c);
	rc = set_sizes(h, offset, length, e);
	if (rc < 0)
		return rc;
	cursor_skip(c, version == 1 ? 13 : 9);
	*base = hdf5_offset(h, c);
	cursor_skip(c, 3 * h->offset_size);
	hdf5_offset(h, c); /* of the root's name */
	h->root = hdf5_offset(h, c);
	return 0;
}

static int read_new(struct hdf5 *h, struct cursor *c, uint64_t *base,
		    struct err *e)
{
	uint8_t offset = cursor_u8(c), length = cursor_u8(c);
	int rc = set_sizes(h, offset, length, e);

	if (rc < 0)
		return rc;
	cursor_skip(c, 1);
	*base = hdf5_offset(h, c);
	cursor_skip(c, 2 * h->offset_size);
	h->root = hdf5_offset(h, c);
	return 0;
}

static int read_superblock(struct hdf5 *h, uint64_t off, uint64_t len,
			   struct err *e)
{
	uint8_t buf[SUPERBLOCK_MAX] = {0};
	uint64_t start, base = 0;
	struct cursor c;
	uint8_t version;
	size_t n;
	int rc;

	if (!hdf5_find_start(h->src, off, len, &start))
		return err_set(e, EINVAL, "no HDF5 signature");
	n = len - start < sizeof(buf) ? (size_t)(len - start) : sizeof(buf);
	rc = source_read(h->src, buf, n, off + start, e);
	if (rc < 0)
		return rc;
	c = cursor_make(buf, n, start);
	cursor_skip(&c, 8);
	version = cursor_u8(&c);
	if (version > 3)
		return err_set(e, EOPNOTSUPP, "superblock version %u", version);
	rc = version < 2 ? read_old(h, &c, version, &base, e)
			 : read_new(h, &c, &base, e);
	if (rc < 0)
		return rc;
	if (c.bad || base > len)
		return err_set(e, EINVAL, "the superblock is damaged");
	h->base = off + base;
	h->size = len - base;
	return 0;
}

/* ---- the file ---- */

hdf5_id hdf5_root(const struct hdf5 *h)
{
	return h->root;
}

int hdf5_open(struct source *src, uint64_t off, uint64_t len, struct hdf5 **out,
	      struct err *e)
{
	struct hdf5 *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return err_nomem(e, sizeof(*h));
	h->src = source_ref(src);
	h->arena = arena_new();
	h->objects = map_new();
	h->heaps = map_new();
	h->groups = map_new();
	h->names = map_new();
	rc = h->arena && h->objects && h->heaps && h->groups && h->names
		     ? 0
		     : err_nomem(e, 0);
	if (rc == 0)
		rc = read_superblock(h, off, len, e);
	if (rc < 0) {
		hdf5_close(h);
		return rc;
	}
	*out = h;
	return 0;
}

void hdf5_close(struct hdf5 *h)
{
	if (!h)
		return;
	source_unref(h->src);
	arena_free(h->arena);
	map_free(h->objects);
	map_free(h->heaps);
	map_free(h->groups);
	map_free(h->names);
	free(h);
}
