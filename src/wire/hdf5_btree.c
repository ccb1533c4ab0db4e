/* SPDX-License-Identifier: MIT */
/*
 * hdf5_btree - version-2 B-trees: of names (heap ids of links or attributes)
 * and of chunks.
 *
 * Every child is one level nearer to the leaves than its parent and no node
 * may be met twice, so that a walk ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "wire/hdf5_file.h"

#define DEPTH_MAX 32
#define NODE_MAX (1u << 24)
/* Signature, version, type, checksum. */
#define NODE_FIXED 10

struct tree {
	struct hdf5 *h;
	uint8_t type;
	uint32_t node_size;
	uint16_t record_size, depth;
	size_t count_size; /* bytes of a child's number of records */
	size_t total_size[DEPTH_MAX + 1]; /* and of all below, by level */
	hdf5_record_fn fn;
	void *ctx;
	struct map *seen;
};

/* Bytes that numbers up to a limit take. */
size_t hdf5_limit_size(uint64_t limit)
{
	size_t n = 1;

	while (limit >>= 8)
		n++;
	return n;
}

static uint64_t read_number(struct cursor *c, size_t size)
{
	uint64_t v = 0;

	for (size_t i = 0; i < size; i++)
		v |= (uint64_t)cursor_u8(c) << (8 * i);
	return v;
}

/* How wide the numbers in inner nodes are follows from what nodes can hold. */
static int set_widths(struct tree *t, struct err *e)
{
	uint64_t most = (t->node_size - NODE_FIXED) / t->record_size;
	uint64_t all = most;

	t->count_size = hdf5_limit_size(most);
	t->total_size[0] = 0;
	for (uint16_t i = 1; i <= t->depth; i++) {
		size_t child = t->h->offset_size + t->count_size +
			       t->total_size[i - 1];
		uint64_t n;

		if (t->node_size < NODE_FIXED + child + t->record_size)
			return err_set(e, EINVAL, "a B-tree of tiny nodes");
		n = (t->node_size - NODE_FIXED - child) /
		    (t->record_size + child);
		if (__builtin_mul_overflow(all, n + 1, &all) ||
		    __builtin_add_overflow(all, n, &all))
			return err_set(e, EINVAL,
				       "a B-tree of too many levels");
		t->total_size[i] = hdf5_limit_size(all);
	}
	return 0;
}

static int remember(struct tree *t, uint64_t addr, struct err *e)
{
	uint64_t *key = arena_alloc(t->h->arena, sizeof(*key));
	int rc;

	if (!key)
		return err_nomem(e, sizeof(*key));
	*key = addr;
	rc = map_add(t->seen, key, sizeof(*key), 1);
	if (rc == -EEXIST)
		return err_set(e, EINVAL, "a B-tree node has two parents");
	return rc < 0 ? err_nomem(e, sizeof(*key)) : 0;
}

static int read_records(struct tree *t, struct cursor *c, uint64_t n,
			struct err *e)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		const uint8_t *p = cursor_bytes(c, t->record_size);

		rc = p ? t->fn(t->ctx, p, t->record_size, e)
		       : err_set(e, EINVAL, "a B-tree node is too full");
	}
	return rc;
}

/* level: 0 for a leaf; bounded by DEPTH_MAX. */
static int read_node(struct tree *t, uint64_t addr, uint64_t n, uint16_t level,
		     struct err *e)
{
	const uint8_t *p;
	struct cursor c;
	int rc = remember(t, addr, e);

	if (rc == 0)
		rc = hdf5_load(t->h, addr, t->node_size, &p, e);
	if (rc < 0)
		return rc;
	if (memcmp(p, level ? "BTIN" : "BTLF", 4) != 0 || p[5] != t->type)
		return err_set(e, EINVAL, "byte %llu: no node of this B-tree",
			       (unsigned long long)addr);
	c = cursor_make(p + 6, t->node_size - NODE_FIXED, addr + 6);
	rc = read_records(t, &c, n, e);
	for (uint64_t i = 0; rc == 0 && level > 0 && i <= n; i++) {
		uint64_t child = hdf5_offset(t->h, &c);
		uint64_t count = read_number(&c, t->count_size);

		cursor_skip(&c, level > 1 ? t->total_size[level - 1] : 0);
		rc = c.bad ? err_set(e, EINVAL, "a B-tree node is too full")
			   : read_node(t, child, count, level - 1, e);
	}
	return rc;
}

static int read_header(struct tree *t, uint64_t addr, uint64_t *root,
		       uint64_t *n, struct err *e)
{
	size_t len = 16 + t->h->offset_size + 2;
	const uint8_t *p;
	struct cursor c;
	int rc = hdf5_load(t->h, addr, len, &p, e);

	if (rc < 0)
		return rc;
	c = cursor_make(p, len, addr);
	cursor_skip(&c, 5);
	t->type = cursor_u8(&c);
	t->node_size = cursor_u32(&c);
	t->record_size = cursor_u16(&c);
	t->depth = cursor_u16(&c);
	cursor_skip(&c, 2);
	*root = hdf5_offset(t->h, &c);
	*n = cursor_u16(&c);
	if (memcmp(p, "BTHD", 4) != 0 || p[4] != 0 || t->record_size == 0 ||
	    t->node_size > NODE_MAX || t->depth > DEPTH_MAX ||
	    t->node_size < NODE_FIXED + (uint32_t)t->record_size)
		return err_set(e, EINVAL, "byte %llu: no B-tree",
			       (unsigned long long)addr);
	return set_widths(t, e);
}

int hdf5_btree(struct hdf5 *h, uint64_t addr, uint8_t type, hdf5_record_fn fn,
	       void *ctx, struct err *e)
{
	struct tree t = {.h = h, .fn = fn, .ctx = ctx, .seen = map_new()};
	uint64_t root = 0, n = 0;
	int rc = t.seen ? read_header(&t, addr, &root, &n, e) : err_nomem(e, 0);

	if (rc == 0 && t.type != type)
		rc = err_set(e, EINVAL, "a B-tree of type %u, not %u", t.type,
			     type);
	if (rc == 0 && root != HDF5_UNDEFINED)
		rc = read_node(&t, root, n, t.depth, e);
	map_free(t.seen);
	return rc;
}
