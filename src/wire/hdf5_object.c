/* SPDX-License-Identifier: MIT */
/* hdf5_object - object headers: lists of messages, in several parts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "wire/hdf5_file.h"

#define MESSAGES_MAX 65536
#define CHUNKS_MAX 1024

struct header {
	struct hdf5 *h;
	struct hdf5_object *o;
	struct { /* to be read, and read already */
		uint64_t addr, len;
	} chunks[CHUNKS_MAX];
	size_t nchunks;
	bool is_v2, has_order;
};

static int add_message(struct header *r, const struct hdf5_message *m,
		       struct err *e)
{
	struct hdf5_object *o = r->o;
	struct hdf5_message *p;
	size_t cap = o->cap ? o->cap * 2 : 8;

	if (o->n == MESSAGES_MAX)
		return err_set(e, EFBIG, "an object of too many messages");
	if (o->n == o->cap) {
		p = arena_array(r->h->arena, cap, sizeof(*p));
		if (!p)
			return err_nomem(e, cap * sizeof(*p));
		if (o->n)
			memcpy(p, o->messages, o->n * sizeof(*p));
		o->messages = p;
		o->cap = cap;
	}
	o->messages[o->n++] = *m;
	return 0;
}

static int add_chunk(struct header *r, uint64_t addr, uint64_t len,
		     struct err *e)
{
	for (size_t i = 0; i < r->nchunks; i++)
		if (r->chunks[i].addr == addr)
			return err_set(e, EINVAL,
				       "an object header leads to itself");
	if (r->nchunks == CHUNKS_MAX)
		return err_set(e, EFBIG, "an object header in too many parts");
	r->chunks[r->nchunks].addr = addr;
	r->chunks[r->nchunks++].len = len;
	return 0;
}

static int take_message(struct header *r, const struct hdf5_message *m,
			struct err *e)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	uint64_t addr, len;

	if (m->type != MESSAGE_CONTINUATION)
		return m->type == 0 ? 0 : add_message(r, m, e);
	addr = hdf5_offset(r->h, &c);
	len = hdf5_length(r->h, &c);
	if (c.bad)
		return err_set(e, EINVAL, "a continuation that leads nowhere");
	return add_chunk(r, addr, len, e);
}

static struct hdf5_message next_message(const struct header *r,
					struct cursor *c)
{
	struct hdf5_message m = {0};

	if (r->is_v2) {
		m.type = cursor_u8(c);
		m.len = cursor_u16(c);
		m.flags = cursor_u8(c);
		if (r->has_order)
			cursor_skip(c, 2);
	} else {
		m.type = cursor_u16(c);
		m.len = cursor_u16(c);
		m.flags = cursor_u8(c);
		cursor_skip(c, 3);
	}
	m.data = cursor_bytes(c, m.len);
	return m;
}

static int read_messages(struct header *r, struct cursor c, struct err *e)
{
	size_t head = r->is_v2 ? (r->has_order ? 6 : 4) : 8;
	int rc = 0;

	while (rc == 0 && cursor_left(&c) >= head) {
		struct hdf5_message m = next_message(r, &c);

		if (c.bad)
			return err_set(e, EINVAL,
				       "byte %llu: a message beyond its header",
				       (unsigned long long)c.off);
		rc = take_message(r, &m, e);
	}
	return rc;
}

static int read_part(struct header *r, size_t i, struct err *e)
{
	uint64_t addr = r->chunks[i].addr, len = r->chunks[i].len;
	const uint8_t *p;
	int rc = hdf5_load(r->h, addr, len, &p, e);

	if (rc < 0)
		return rc;
	if (!r->is_v2)
		return read_messages(r, cursor_make(p, len, addr), e);
	/* The first part comes without its prefix, but with its checksum. */
	if (i > 0 && (len < 8 || memcmp(p, "OCHK", 4) != 0))
		return err_set(e, EINVAL, "byte %llu: no OCHK",
			       (unsigned long long)addr);
	if (i > 0)
		return read_messages(r, cursor_make(p + 4, len - 8, addr + 4),
				     e);
	return read_messages(r, cursor_make(p, len, addr), e);
}

static int start_v2(struct header *r, uint64_t addr, struct err *e)
{
	const uint8_t *p;
	struct cursor c;
	uint64_t n = r->h->size > addr ? r->h->size - addr : 0;
	uint8_t flags;
	uint64_t len;
	int rc = hdf5_load(r->h, addr, n < 48 ? n : 48, &p, e);

	if (rc < 0)
		return rc;
	c = cursor_make(p, n < 48 ? n : 48, addr);
	cursor_skip(&c, 4);
	if (cursor_u8(&c) != 2)
		return err_set(e, EOPNOTSUPP, "an object header's version");
	flags = cursor_u8(&c);
	r->is_v2 = true;
	r->has_order = flags & 4;
	cursor_skip(&c, (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0));
	len = 0;
	for (int i = 0; i < 1 << (flags & 3); i++)
		len |= (uint64_t)cursor_u8(&c) << (8 * i);
	if (c.bad)
		return err_set(e, EINVAL, "an object header is cut short");
	return add_chunk(r, c.off, len, e);
}

static int start_header(struct header *r, uint64_t addr, struct err *e)
{
	const uint8_t *p;
	struct cursor c;
	uint32_t len;
	int rc = hdf5_load(r->h, addr, 16, &p, e);

	if (rc < 0)
		return rc;
	if (memcmp(p, "OHDR", 4) == 0)
		return start_v2(r, addr, e);
	c = cursor_make(p, 16, addr);
	if (cursor_u8(&c) != 1)
		return err_set(e, EINVAL, "byte %llu: no object header",
			       (unsigned long long)addr);
	cursor_skip(&c, 7);
	len = cursor_u32(&c);
	return add_chunk(r, addr + 16, len, e);
}

static int read_object(struct hdf5 *h, hdf5_id id, struct hdf5_object *o,
		       struct err *e)
{
	struct header *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_nomem(e, sizeof(*r));
	r->h = h;
	r->o = o;
	rc = start_header(r, id, e);
	for (size_t i = 0; rc == 0 && i < r->nchunks; i++)
		rc = read_part(r, i, e);
	free(r);
	return rc;
}

int hdf5_remember(struct hdf5 *h, struct map *map, uint64_t addr, const void *p,
		  struct err *e)
{
	uint64_t *key = arena_alloc(h->arena, sizeof(*key));

	if (!key)
		return err_nomem(e, sizeof(*key));
	*key = addr;
	return map_set(map, key, sizeof(*key), (uintptr_t)p) < 0
		       ? err_nomem(e, 0)
		       : 0;
}

int hdf5_object(struct hdf5 *h, hdf5_id id, const struct hdf5_object **out,
		struct err *e)
{
	struct hdf5_object *o;
	uint64_t known;
	int rc;

	if (map_get(h->objects, &id, sizeof(id), &known)) {
		*out = (const struct hdf5_object *)(uintptr_t)known;
		return 0;
	}
	o = arena_alloc(h->arena, sizeof(*o));
	if (!o)
		return err_nomem(e, sizeof(*o));
	rc = read_object(h, id, o, e);
	if (rc == 0)
		rc = hdf5_remember(h, h->objects, id, o, e);
	if (rc < 0)
		return err_wrap(e, "object at %llu", (unsigned long long)id);
	*out = o;
	return 0;
}

const struct hdf5_message *hdf5_message(const struct hdf5_object *o,
					unsigned type)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->messages[i].type == type)
			return &o->messages[i];
	return NULL;
}
