/* SPDX-License-Identifier: MIT */
/*
 * hdf5_index - where the chunks of a dataset are, as HDF5 1.10 writes it: one
 * chunk, none that needs an index, arrays of fixed or growing size, B-trees.
 *
 * Arrays number the chunks of the largest shape the dataset may have; of one
 * that may grow along an axis, that axis comes first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"

#include "wire/hdf5_file.h"

#define CHUNKS_MAX 16000000u
#define SUPER_BLOCKS_MAX 64

int hdf5_add_chunk(struct hdf5 *h, struct hdf5_chunked *k,
		   const struct hdf5_chunk *given, uint64_t size, struct err *e)
{
	size_t cap = k->cap ? k->cap * 2 : 16;
	uint64_t addr = given->addr;
	struct hdf5_chunk *p;

	if (addr > h->size || size > h->size - addr || size > UINT32_MAX)
		return err_set(e, EINVAL, "a chunk of %llu bytes at %llu",
			       (unsigned long long)size,
			       (unsigned long long)addr);
	if (k->nchunks == k->cap) {
		if (k->nchunks >= CHUNKS_MAX)
			return err_set(e, EFBIG, "too many chunks");
		p = realloc(k->chunks, cap * sizeof(*p));
		if (!p)
			return err_nomem(e, cap * sizeof(*p));
		k->chunks = p;
		k->cap = cap;
	}
	p = &k->chunks[k->nchunks++];
	*p = *given;
	p->addr = h->base + addr;
	p->size = (uint32_t)size;
	return 0;
}

struct index {
	struct hdf5 *h;
	struct hdf5_chunked *k;
	uint64_t size; /* bytes of a chunk that no filter changed */
	uint64_t grid[SHAPE_RANK_MAX]; /* chunks there are, along each axis */
	uint64_t most[SHAPE_RANK_MAX]; /* and may be; 0: no limit */
	bool is_filtered;
	size_t entry_size;
};

static uint64_t read_number(struct cursor *c, size_t size)
{
	uint64_t v = 0;

	for (size_t i = 0; i < size; i++)
		v |= (uint64_t)cursor_u8(c) << (8 * i);
	return v;
}

static uint64_t count_chunks(uint64_t extent, uint64_t chunk)
{
	return extent / chunk + (extent % chunk != 0);
}

static int set_extents(struct index *x, const int64_t *max, struct err *e)
{
	const struct hdf5_chunked *k = x->k;

	x->size = k->elem_size;
	for (int32_t i = 0; i < k->shape.rank; i++) {
		uint64_t d = (uint64_t)k->chunk.dims[i];

		x->grid[i] = count_chunks((uint64_t)k->shape.dims[i], d);
		x->most[i] = max[i] < 0 ? 0 : count_chunks((uint64_t)max[i], d);
		if (__builtin_mul_overflow(x->size, d, &x->size))
			return err_set(e, EINVAL, "chunks are too large");
	}
	return 0;
}

/* The place of a chunk in the present shape; false: it is outside. */
static bool place(const struct index *x, const uint64_t *at, uint64_t *out)
{
	*out = 0;
	for (int32_t i = 0; i < x->k->shape.rank; i++) {
		if (at[i] >= x->grid[i])
			return false;
		*out = *out * x->grid[i] + at[i];
	}
	return true;
}

/* Chunk number n of an array. */
static bool place_number(const struct index *x, uint64_t n, uint64_t *out)
{
	int32_t rank = x->k->shape.rank, first = 0;
	uint64_t at[SHAPE_RANK_MAX];

	for (int32_t i = 0; i < rank; i++)
		if (x->most[i] == 0)
			first = i;
	for (int32_t i = rank; i-- > 0;) {
		if (i == first)
			continue;
		if (x->most[i] == 0)
			return false;
		at[i] = n % x->most[i];
		n /= x->most[i];
	}
	at[first] = n;
	return place(x, at, out);
}

static int take_entry(struct index *x, uint64_t n, struct cursor *c,
		      struct err *e)
{
	size_t width = x->entry_size - x->h->offset_size;
	struct hdf5_chunk chunk = {0};
	uint64_t size = x->size;

	chunk.addr = hdf5_offset(x->h, c);
	if (x->is_filtered) {
		size = read_number(c, width - 4);
		chunk.mask = cursor_u32(c);
	}
	if (c->bad)
		return err_set(e, EINVAL, "an index of chunks is cut short");
	if (chunk.addr == HDF5_UNDEFINED || !place_number(x, n, &chunk.idx))
		return 0;
	return hdf5_add_chunk(x->h, x->k, &chunk, size, e);
}

/* n entries at addr, the first of number `from`. */
static int take_entries(struct index *x, uint64_t addr, uint64_t from,
			uint64_t n, struct err *e)
{
	uint64_t len;
	const uint8_t *p;
	struct cursor c;
	int rc;

	if (n > CHUNKS_MAX)
		return err_set(e, EFBIG, "too many chunks");
	len = n * x->entry_size;
	rc = hdf5_load(x->h, addr, len, &p, e);
	if (rc < 0)
		return rc;
	c = cursor_make(p, (size_t)len, addr);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		rc = take_entry(x, from + i, &c, e);
	return rc;
}

static int set_entry(struct index *x, uint8_t client, uint8_t size,
		     struct err *e)
{
	size_t plain = x->h->offset_size;

	x->is_filtered = client == 1;
	x->entry_size = size;
	if (client > 1 || (client == 0 && size != plain) ||
	    (client == 1 && (size < plain + 5 || size > plain + 12)))
		return err_set(e, EINVAL, "entries of %u bytes", size);
	return 0;
}

/* ---- one chunk, or all in order ---- */

static int single(struct index *x, struct cursor *c, uint8_t flags,
		  struct err *e)
{
	struct hdf5_chunk chunk = {0};
	uint64_t size = x->size;

	if (flags & 2) {
		size = hdf5_length(x->h, c);
		chunk.mask = cursor_u32(c);
	}
	chunk.addr = hdf5_offset(x->h, c);
	if (c->bad)
		return err_set(e, EINVAL, "the layout is damaged");
	if (chunk.addr == HDF5_UNDEFINED)
		return 0;
	return hdf5_add_chunk(x->h, x->k, &chunk, size, e);
}

static int implicit(struct index *x, struct cursor *c, struct err *e)
{
	uint64_t addr = hdf5_offset(x->h, c), n = 1, len;
	int rc = 0;

	for (int32_t i = 0; i < x->k->shape.rank; i++)
		if (__builtin_mul_overflow(n, x->most[i], &n))
			return err_set(e, EFBIG, "too many chunks");
	if (c->bad || addr == HDF5_UNDEFINED)
		return c->bad ? err_set(e, EINVAL, "the layout is damaged") : 0;
	if (__builtin_mul_overflow(n, x->size, &len) || addr > x->h->size ||
	    len > x->h->size - addr)
		return err_set(e, EINVAL, "chunks beyond the file");
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		struct hdf5_chunk chunk = {.addr = addr + i * x->size};

		if (place_number(x, i, &chunk.idx))
			rc = hdf5_add_chunk(x->h, x->k, &chunk, x->size, e);
	}
	return rc;
}

/* ---- fixed array ---- */

static bool bit(const uint8_t *map, uint64_t i)
{
	return map[i / 8] & 0x80 >> i % 8;
}

struct pages { /* which of them are there, from a bit on; p NULL: all */
	const uint8_t *p;
	uint64_t first;
};

/* Pages of entries, each with a checksum. */
static int take_pages(struct index *x, uint64_t addr, uint64_t from, uint64_t n,
		      uint64_t per_page, struct pages map, struct err *e)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i * per_page < n; i++) {
		uint64_t left = n - i * per_page;

		if (!map.p || bit(map.p, map.first + i))
			rc = take_entries(
				x, addr + i * (per_page * x->entry_size + 4),
				from + i * per_page,
				left < per_page ? left : per_page, e);
	}
	return rc;
}

static int fixed_block(struct index *x, uint64_t addr, uint64_t n,
		       uint64_t per_page, struct err *e)
{
	uint64_t head = 6 + x->h->offset_size, npages, len;
	const uint8_t *p;
	int rc;

	if (n <= per_page)
		return take_entries(x, addr + head, 0, n, e);
	npages = (n + per_page - 1) / per_page;
	len = (npages + 7) / 8;
	rc = hdf5_load(x->h, addr + head, len, &p, e);
	return rc < 0 ? rc
		      : take_pages(x, addr + head + len + 4, 0, n, per_page,
				   (struct pages){p, 0}, e);
}

/*
 * The header of an array, read up to what both kinds have in common.  1: there
 * is one; 0: no chunk was ever written.
 */
static int open_array(struct index *x, struct cursor *layout, const char *magic,
		      size_t len, struct cursor *out, struct err *e)
{
	uint64_t addr = hdf5_offset(x->h, layout);
	const uint8_t *p;
	uint8_t client, size;
	int rc;

	if (layout->bad)
		return err_set(e, EINVAL, "the layout is damaged");
	if (addr == HDF5_UNDEFINED)
		return 0;
	rc = hdf5_load(x->h, addr, len, &p, e);
	if (rc < 0)
		return rc;
	if (memcmp(p, magic, 4) != 0)
		return err_set(e, EINVAL, "no array of chunks");
	*out = cursor_make(p, len, addr);
	cursor_skip(out, 5);
	client = cursor_u8(out);
	size = cursor_u8(out);
	rc = set_entry(x, client, size, e);
	return rc < 0 ? rc : 1;
}

static int fixed_array(struct index *x, struct cursor *layout, struct err *e)
{
	size_t len = 8 + x->h->length_size + x->h->offset_size;
	struct cursor c;
	uint64_t addr, n;
	unsigned bits;
	int rc;

	cursor_skip(layout, 1);
	rc = open_array(x, layout, "FAHD", len, &c, e);
	if (rc <= 0)
		return rc;
	bits = cursor_u8(&c);
	n = hdf5_length(x->h, &c);
	addr = hdf5_offset(x->h, &c);
	if (bits > 32 || n > CHUNKS_MAX)
		return err_set(e, EINVAL, "no array of chunks");
	return addr == HDF5_UNDEFINED
		       ? 0
		       : fixed_block(x, addr, n, (uint64_t)1 << bits, e);
}

/* ---- extensible array ---- */

struct growing {
	unsigned bits;	    /* of the number of entries */
	unsigned in_index;  /* entries in the index block */
	unsigned least;	    /* entries of the smallest data block */
	unsigned pointers;  /* data blocks of the smallest super block */
	unsigned page_bits; /* of entries in a page */
	unsigned noffset;   /* bytes of a place in the array */
};

static bool is_power(unsigned v)
{
	return v > 0 && (v & (v - 1)) == 0;
}

static unsigned log_2(unsigned v)
{
	unsigned n = 0;

	while (v >>= 1)
		n++;
	return n;
}

static int data_block(struct index *x, const struct growing *g, uint64_t addr,
		      uint64_t from, uint64_t n, struct pages map,
		      struct err *e)
{
	uint64_t head = 6 + x->h->offset_size + g->noffset;
	uint64_t per_page = (uint64_t)1 << g->page_bits;

	if (addr == HDF5_UNDEFINED)
		return 0;
	if (n <= per_page)
		return take_entries(x, addr + head, from, n, e);
	return take_pages(x, addr + head + 4, from, n, per_page, map, e);
}

/* Super block u: so many data blocks of so many entries. */
static void block_sizes(const struct growing *g, unsigned u, uint64_t *nblocks,
			uint64_t *n)
{
	*nblocks = (uint64_t)1 << u / 2;
	*n = (uint64_t)g->least << (u + 1) / 2;
}

static int super_block(struct index *x, const struct growing *g, unsigned u,
		       uint64_t addr, uint64_t from, struct err *e)
{
	uint64_t head = 6 + x->h->offset_size + g->noffset, nblocks, n;
	uint64_t per_page = (uint64_t)1 << g->page_bits, nmap = 0, len;
	const uint8_t *p;
	struct cursor c;
	int rc;

	if (addr == HDF5_UNDEFINED)
		return 0;
	block_sizes(g, u, &nblocks, &n);
	if (n > per_page)
		nmap = (n / per_page + 7) / 8;
	if (nblocks > CHUNKS_MAX || n > CHUNKS_MAX)
		return err_set(e, EFBIG, "too many chunks");
	len = nblocks * (nmap + x->h->offset_size);
	rc = hdf5_load(x->h, addr + head, len, &p, e);
	if (rc < 0)
		return rc;
	c = cursor_make(p + nblocks * nmap, nblocks * x->h->offset_size, addr);
	for (uint64_t i = 0; rc == 0 && i < nblocks; i++)
		rc = data_block(
			x, g, hdf5_offset(x->h, &c), from + i * n, n,
			(struct pages){nmap ? p : NULL, i * (n / per_page)}, e);
	return rc;
}

static int index_block(struct index *x, const struct growing *g, uint64_t addr,
		       struct err *e)
{
	unsigned ndirect = 2 * log_2(g->pointers);
	unsigned nsuper = 1 + g->bits - log_2(g->least);
	uint64_t at = addr + 6 + x->h->offset_size, from = g->in_index, len;
	const uint8_t *p;
	struct cursor c;
	int rc = take_entries(x, at, 0, g->in_index, e);

	if (nsuper > SUPER_BLOCKS_MAX || nsuper < ndirect)
		return err_set(e, EINVAL, "an array of %u blocks", nsuper);
	len = (2 * (g->pointers - 1) + nsuper - ndirect) * x->h->offset_size;
	if (rc == 0)
		rc = hdf5_load(x->h, at + g->in_index * x->entry_size, len, &p,
			       e);
	if (rc < 0)
		return rc;
	c = cursor_make(p, (size_t)len, at);
	for (unsigned u = 0; rc == 0 && u < nsuper; u++) {
		uint64_t nblocks, n;

		block_sizes(g, u, &nblocks, &n);
		for (uint64_t i = 0; rc == 0 && u < ndirect && i < nblocks; i++)
			rc = data_block(x, g, hdf5_offset(x->h, &c),
					from + i * n, n,
					(struct pages){NULL, 0}, e);
		if (rc == 0 && u >= ndirect)
			rc = super_block(x, g, u, hdf5_offset(x->h, &c), from,
					 e);
		from += nblocks * n;
	}
	return rc;
}

static int extensible_array(struct index *x, struct cursor *layout,
			    struct err *e)
{
	size_t len = 12 + 6 * x->h->length_size + x->h->offset_size;
	struct growing g;
	struct cursor c;
	uint64_t addr;
	int rc;

	cursor_skip(layout, 5);
	rc = open_array(x, layout, "EAHD", len, &c, e);
	if (rc <= 0)
		return rc;
	g.bits = cursor_u8(&c);
	g.in_index = cursor_u8(&c);
	g.least = cursor_u8(&c);
	g.pointers = cursor_u8(&c);
	g.page_bits = cursor_u8(&c);
	g.noffset = (g.bits + 7) / 8;
	cursor_skip(&c, 6 * x->h->length_size);
	addr = hdf5_offset(x->h, &c);
	if (g.bits > 32 || g.page_bits > 32 || !is_power(g.least) ||
	    !is_power(g.pointers) || log_2(g.least) > g.bits)
		return err_set(e, EINVAL, "no growing array of chunks");
	return addr == HDF5_UNDEFINED ? 0 : index_block(x, &g, addr, e);
}

/* ---- B-tree ---- */

static int take_record(void *ctx, const uint8_t *p, size_t len, struct err *e)
{
	struct index *x = ctx;
	size_t rank = (size_t)x->k->shape.rank;
	size_t rest = x->h->offset_size + 8 * rank;
	struct hdf5_chunk chunk = {0};
	struct cursor c = cursor_make(p, len, 0);
	uint64_t at[SHAPE_RANK_MAX], size = x->size;

	if (x->is_filtered ? len < rest + 5 || len > rest + 12 : len != rest)
		return err_set(e, EINVAL, "records of %zu bytes", len);
	chunk.addr = hdf5_offset(x->h, &c);
	if (x->is_filtered) {
		size = read_number(&c, len - rest - 4);
		chunk.mask = cursor_u32(&c);
	}
	for (size_t i = 0; i < rank; i++)
		at[i] = cursor_u64(&c);
	if (chunk.addr == HDF5_UNDEFINED || !place(x, at, &chunk.idx))
		return 0;
	return hdf5_add_chunk(x->h, x->k, &chunk, size, e);
}

static int tree(struct index *x, struct cursor *layout, struct err *e)
{
	uint64_t addr;

	cursor_skip(layout, 6);
	addr = hdf5_offset(x->h, layout);
	if (layout->bad || addr == HDF5_UNDEFINED)
		return layout->bad ? err_set(e, EINVAL, "the layout is damaged")
				   : 0;
	x->is_filtered = x->k->nfilters > 0;
	return hdf5_btree(x->h, addr, x->is_filtered ? 11 : 10, take_record, x,
			  e);
}

enum {
	INDEX_SINGLE = 1,
	INDEX_IMPLICIT,
	INDEX_FIXED,
	INDEX_GROWING,
	INDEX_TREE
};

int hdf5_index(struct hdf5 *h, const int64_t *max, uint8_t flags,
	       struct cursor *layout, struct hdf5_chunked *k, struct err *e)
{
	struct index x = {.h = h, .k = k};
	uint8_t type = cursor_u8(layout);
	int rc = set_extents(&x, max, e);

	if (rc < 0)
		return rc;
	switch (type) {
	case INDEX_SINGLE:
		return single(&x, layout, flags, e);
	case INDEX_IMPLICIT:
		return implicit(&x, layout, e);
	case INDEX_FIXED:
		return fixed_array(&x, layout, e);
	case INDEX_GROWING:
		return extensible_array(&x, layout, e);
	case INDEX_TREE:
		return tree(&x, layout, e);
	default:
		return err_set(e, EINVAL, "an index of type %u", type);
	}
}
