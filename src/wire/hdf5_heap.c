/* SPDX-License-Identifier: MIT */
/*
 * hdf5_heap - fractal heaps, which hold the links and attributes of objects
 * that have many: blocks in a table whose rows double in size.
 *
 * An object is found by an id: its offset in the heap and its length.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "wire/hdf5_file.h"

#define NESTING_MAX 16

/* The header up to the address of the root and its rows. */
static int parse_header(struct hdf5_heap *f, struct cursor *c, struct err *e)
{
	struct hdf5 *h = f->h;
	uint16_t filters;
	uint32_t object_max;
	uint64_t direct_max;

	cursor_skip(c, 5);
	f->id_len = cursor_u16(c);
	filters = cursor_u16(c);
	cursor_skip(c, 1);
	object_max = cursor_u32(c);
	cursor_skip(c, h->length_size);
	f->huge = hdf5_offset(h, c);
	cursor_skip(c, 9 * h->length_size + h->offset_size);
	f->width = cursor_u16(c);
	f->start = hdf5_length(h, c);
	direct_max = hdf5_length(h, c);
	f->bits = cursor_u16(c);
	cursor_skip(c, 2);
	f->root = hdf5_offset(h, c);
	f->rows = cursor_u16(c);
	if (c->bad)
		return err_set(e, EINVAL, "a heap is cut short");
	if (filters)
		return err_set(e, EOPNOTSUPP, "a heap with filters");
	if (f->width == 0 || f->start == 0 || f->bits == 0 || f->bits > 64 ||
	    f->start > direct_max || direct_max > UINT32_MAX ||
	    (f->start & (f->start - 1)) || (direct_max & (direct_max - 1)))
		return err_set(e, EINVAL, "a heap that cannot be");
	f->offset_size = (f->bits + 7u) / 8;
	f->length_size = hdf5_limit_size(direct_max < object_max ? direct_max
								 : object_max);
	f->direct_rows = 2;
	for (uint64_t size = f->start; size < direct_max; size *= 2)
		f->direct_rows++;
	return 0;
}

int hdf5_heap(struct hdf5 *h, uint64_t addr, struct hdf5_heap *out,
	      struct err *e)
{
	size_t len = 26 + 12 * h->length_size + 3 * h->offset_size;
	const uint8_t *p;
	struct cursor c;
	int rc = hdf5_load(h, addr, len, &p, e);

	if (rc < 0)
		return rc;
	if (memcmp(p, "FRHP", 4) != 0 || p[4] != 0)
		return err_set(e, EINVAL, "byte %llu: no fractal heap",
			       (unsigned long long)addr);
	*out = (struct hdf5_heap){.h = h};
	c = cursor_make(p, len, addr);
	return parse_header(out, &c, e);
}

/* Where a row of a table begins, and how large its blocks are. */
static bool row_at(const struct hdf5_heap *f, uint64_t off, unsigned *row,
		   uint64_t *begin, uint64_t *size)
{
	uint64_t first;

	*row = 0;
	*begin = 0;
	*size = f->start;
	if (__builtin_mul_overflow(f->start, (uint64_t)f->width, &first))
		return false;
	for (uint64_t end = first; off >= end; end *= 2) {
		if (end > UINT64_MAX / 2)
			return false;
		if (*row > 0)
			*size *= 2;
		*begin = end;
		(*row)++;
	}
	return true;
}

static int direct(struct hdf5_heap *f, uint64_t addr, uint64_t off,
		  uint64_t len, uint64_t size, const uint8_t **out,
		  struct err *e)
{
	if (addr == HDF5_UNDEFINED || len > size || off > size - len)
		return err_set(e, EINVAL, "an object beyond its heap block");
	return hdf5_load(f->h, addr + off, len, out, e);
}

/* The address of entry n of the table at addr, of so many rows. */
static int table_entry(struct hdf5_heap *f, uint64_t addr, uint64_t n,
		       uint64_t *out, struct err *e)
{
	size_t head = 5 + f->h->offset_size + f->offset_size;
	const uint8_t *p;
	struct cursor c;
	int rc = hdf5_load(f->h, addr, head, &p, e);

	if (rc == 0 && memcmp(p, "FHIB", 4) != 0)
		rc = err_set(e, EINVAL, "byte %llu: no table of a heap",
			     (unsigned long long)addr);
	if (rc == 0)
		rc = hdf5_load(f->h, addr + head + n * f->h->offset_size,
			       f->h->offset_size, &p, e);
	if (rc < 0)
		return rc;
	c = cursor_make(p, f->h->offset_size, addr);
	*out = hdf5_offset(f->h, &c);
	return 0;
}

static int find(struct hdf5_heap *f, uint64_t off, uint64_t len,
		const uint8_t **out, struct err *e)
{
	uint64_t addr = f->root, begin, size;
	unsigned row;

	if (f->rows == 0)
		return direct(f, addr, off, len, f->start, out, e);
	for (int depth = 0; depth < NESTING_MAX; depth++) {
		uint64_t column;
		int rc;

		if (addr == HDF5_UNDEFINED ||
		    !row_at(f, off, &row, &begin, &size))
			break;
		column = (off - begin) / size;
		off = (off - begin) % size;
		rc = table_entry(f, addr, (uint64_t)row * f->width + column,
				 &addr, e);
		if (rc < 0)
			return rc;
		if (row < f->direct_rows)
			return direct(f, addr, off, len, size, out, e);
	}
	return err_set(e, EINVAL, "an object beyond its heap");
}

/* ---- objects that no block has room for ---- */

struct huge {
	struct hdf5 *h;
	uint64_t id, addr, len;
	bool found;
};

/* A record: address, length, id. */
static int take_huge(void *ctx, const uint8_t *record, size_t len,
		     struct err *e)
{
	struct huge *x = ctx;
	struct cursor c = cursor_make(record, len, 0);
	uint64_t addr = hdf5_offset(x->h, &c);
	uint64_t size = hdf5_length(x->h, &c), id = hdf5_length(x->h, &c);

	if (c.bad)
		return err_set(e, EINVAL, "records of %zu bytes", len);
	if (id == x->id) {
		x->addr = addr;
		x->len = size;
		x->found = true;
	}
	return 0;
}

#define TREE_OF_HUGE 1

/* An id either holds address and length, or a number for a tree of them. */
static int find_huge(struct hdf5_heap *f, struct cursor *c,
		     struct hdf5_bytes *out, struct err *e)
{
	struct huge x = {.h = f->h};
	int rc;

	if (f->id_len > f->h->offset_size + f->h->length_size) {
		x.addr = hdf5_offset(f->h, c);
		x.len = hdf5_length(f->h, c);
		x.found = !c->bad;
	} else {
		for (size_t i = 0; i < 8 && cursor_left(c) > 0; i++)
			x.id |= (uint64_t)cursor_u8(c) << (8 * i);
		rc = hdf5_btree(f->h, f->huge, TREE_OF_HUGE, take_huge, &x, e);
		if (rc < 0)
			return rc;
	}
	if (!x.found)
		return err_set(e, EINVAL, "a huge object that is nowhere");
	rc = hdf5_load(f->h, x.addr, x.len, &out->p, e);
	out->len = (size_t)x.len;
	return rc;
}

enum { ID_MANAGED, ID_HUGE, ID_TINY };

int hdf5_heap_object(struct hdf5_heap *f, const uint8_t *id, size_t id_len,
		     struct hdf5_bytes *out, struct err *e)
{
	struct cursor c = cursor_make(id, id_len, 0);
	uint8_t flags = cursor_u8(&c);
	uint64_t off = 0, len = 0;
	int rc;

	if ((flags >> 4 & 3) == ID_TINY) {
		len = (flags & 15u) + 1;
		out->p = cursor_bytes(&c, (size_t)len);
		out->len = (size_t)len;
		return c.bad ? err_set(e, EINVAL, "a heap id is too short") : 0;
	}
	if ((flags >> 4 & 3) == ID_HUGE)
		return find_huge(f, &c, out, e);
	if ((flags >> 4 & 3) != ID_MANAGED)
		return err_set(e, EINVAL, "a heap id of no kind");
	for (size_t i = 0; i < f->offset_size; i++)
		off |= (uint64_t)cursor_u8(&c) << (8 * i);
	for (size_t i = 0; i < f->length_size; i++)
		len |= (uint64_t)cursor_u8(&c) << (8 * i);
	if (c.bad)
		return err_set(e, EINVAL, "a heap id is too short");
	rc = find(f, off, len, &out->p, e);
	out->len = (size_t)len;
	return rc;
}
