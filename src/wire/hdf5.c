/* SPDX-License-Identifier: MIT */
/* hdf5 - superblock, object headers and groups.  See hdf5.h. */
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
#define MESSAGES_MAX 65536
#define CHUNKS_MAX 1024
#define LINKS_MAX 4000000u

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

/* ---- object headers ---- */

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

/* ---- groups ---- */

struct listing {
	struct hdf5 *h;
	const uint8_t *heap; /* names of a symbol table */
	size_t heap_len;
	struct hdf5_link *links;
	size_t n, cap;
};

static int add_link(struct listing *l, const struct hdf5_link *link,
		    struct err *e)
{
	size_t cap = l->cap ? l->cap * 2 : 16;
	struct hdf5_link *p;

	if (l->n == LINKS_MAX)
		return err_set(e, EFBIG, "too many links");
	if (l->n == l->cap) {
		p = arena_array(l->h->arena, cap, sizeof(*p));
		if (!p)
			return err_nomem(e, cap * sizeof(*p));
		if (l->n)
			memcpy(p, l->links, l->n * sizeof(*p));
		l->links = p;
		l->cap = cap;
	}
	l->links[l->n++] = *link;
	return 0;
}

static int load_heap(struct listing *l, uint64_t addr, struct err *e)
{
	struct hdf5 *h = l->h;
	size_t n = 8 + 2 * h->length_size + h->offset_size;
	const uint8_t *p;
	struct cursor c;
	uint64_t len, data;
	int rc = hdf5_load(h, addr, n, &p, e);

	if (rc < 0)
		return rc;
	if (memcmp(p, "HEAP", 4) != 0)
		return err_set(e, EINVAL, "byte %llu: no HEAP",
			       (unsigned long long)addr);
	c = cursor_make(p, n, addr);
	cursor_skip(&c, 8);
	len = hdf5_length(h, &c);
	hdf5_length(h, &c);
	data = hdf5_offset(h, &c);
	rc = hdf5_load(h, data, len, &l->heap, e);
	l->heap_len = rc < 0 ? 0 : (size_t)len;
	return rc;
}

static int take_symbol(struct listing *l, struct cursor *c, struct err *e)
{
	struct hdf5_link link = {0};
	uint64_t name = hdf5_offset(l->h, c);
	uint32_t cache;

	link.id = hdf5_offset(l->h, c);
	cache = cursor_u32(c);
	cursor_skip(c, 4 + 16);
	if (c->bad || name >= l->heap_len ||
	    !memchr(l->heap + name, '\0', l->heap_len - name))
		return err_set(e, EINVAL, "a name beyond its heap");
	link.name = (const char *)l->heap + name;
	link.len = strlen(link.name);
	link.kind = cache == 2 ? HDF5_SOFT : HDF5_HARD;
	return add_link(l, &link, e);
}

static int take_node(void *ctx, const uint8_t *key, uint64_t child,
		     struct err *e)
{
	struct listing *l = ctx;
	size_t entry = 2 * l->h->offset_size + 24;
	const uint8_t *p;
	struct cursor c;
	uint16_t count;
	int rc = hdf5_load(l->h, child, 8, &p, e);

	(void)key;
	if (rc < 0)
		return rc;
	if (memcmp(p, "SNOD", 4) != 0)
		return err_set(e, EINVAL, "byte %llu: no SNOD",
			       (unsigned long long)child);
	c = cursor_make(p + 6, 2, child);
	count = cursor_u16(&c);
	rc = hdf5_load(l->h, child + 8, count * entry, &p, e);
	if (rc < 0)
		return rc;
	c = cursor_make(p, count * entry, child + 8);
	for (uint16_t i = 0; rc == 0 && i < count; i++)
		rc = take_symbol(l, &c, e);
	return rc;
}

static int list_symbols(struct listing *l, const struct hdf5_message *m,
			struct err *e)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	uint64_t tree = hdf5_offset(l->h, &c);
	uint64_t heap = hdf5_offset(l->h, &c);
	int rc;

	if (c.bad)
		return err_set(e, EINVAL, "a symbol table message");
	rc = load_heap(l, heap, e);
	return rc < 0 ? rc
		      : hdf5_tree(l->h, tree, 0, l->h->length_size, take_node,
				  l, e);
}

enum link_type { LINK_HARD = 0, LINK_SOFT = 1 };

static int take_link(struct listing *l, const struct hdf5_message *m,
		     struct err *e)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	struct hdf5_link link = {.kind = HDF5_EXTERNAL};
	uint8_t version = cursor_u8(&c), flags = cursor_u8(&c);
	uint8_t type = flags & 8 ? cursor_u8(&c) : LINK_HARD;
	uint64_t len = 0;
	const uint8_t *name;

	cursor_skip(&c, (flags & 4 ? 8 : 0) + (flags & 16 ? 1 : 0));
	for (int i = 0; i < 1 << (flags & 3); i++)
		len |= (uint64_t)cursor_u8(&c) << (8 * i);
	if (c.bad || version != 1 || len > cursor_left(&c))
		return err_set(e, EINVAL, "a link message is damaged");
	name = cursor_bytes(&c, (size_t)len);
	link.name = arena_strndup(l->h->arena, (const char *)name, (size_t)len);
	link.len = (size_t)len;
	if (!link.name)
		return err_nomem(e, (size_t)len);
	if (type == LINK_HARD) {
		link.kind = HDF5_HARD;
		link.id = hdf5_offset(l->h, &c);
	} else if (type == LINK_SOFT) {
		link.kind = HDF5_SOFT;
	}
	return c.bad ? err_set(e, EINVAL, "a link that leads nowhere")
		     : add_link(l, &link, e);
}

/* Where the file keeps the links of large groups is not supported. */
static int check_dense(const struct hdf5 *h, const struct hdf5_message *m,
		       struct err *e)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	uint8_t flags;

	cursor_skip(&c, 1);
	flags = cursor_u8(&c);
	cursor_skip(&c, flags & 1 ? 8 : 0);
	if (hdf5_offset(h, &c) != HDF5_UNDEFINED)
		return err_set(e, EOPNOTSUPP,
			       "a group with its links in a fractal heap");
	return 0;
}

static int list(struct listing *l, hdf5_id group, struct err *e)
{
	const struct hdf5_object *o;
	const struct hdf5_message *m;
	int rc = hdf5_object(l->h, group, &o, e);

	if (rc < 0)
		return rc;
	m = hdf5_message(o, MESSAGE_LINK_INFO);
	if (m)
		rc = check_dense(l->h, m, e);
	m = hdf5_message(o, MESSAGE_SYMBOL_TABLE);
	if (rc == 0 && m)
		rc = list_symbols(l, m, e);
	for (size_t i = 0; rc == 0 && i < o->n; i++)
		if (o->messages[i].type == MESSAGE_LINK)
			rc = take_link(l, &o->messages[i], e);
	return rc;
}

/* The group's address and the name: what a link is found by. */
static void *link_key(struct hdf5 *h, hdf5_id group, const char *name,
		      size_t len)
{
	uint8_t *key = arena_alloc(h->arena, sizeof(group) + len);

	if (key) {
		memcpy(key, &group, sizeof(group));
		memcpy(key + sizeof(group), name, len);
	}
	return key;
}

static int index_links(struct hdf5 *h, hdf5_id group, const struct listing *l,
		       struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		size_t len = l->links[i].len;
		void *key = link_key(h, group, l->links[i].name, len);

		if (!key || map_set(h->names, key, sizeof(group) + len, i) < 0)
			return err_nomem(e, len);
	}
	return 0;
}

static int load_group(struct hdf5 *h, hdf5_id id, const struct hdf5_group **out,
		      struct err *e)
{
	struct listing l = {.h = h};
	struct hdf5_group *g;
	uint64_t known;
	int rc;

	if (map_get(h->groups, &id, sizeof(id), &known)) {
		*out = (const struct hdf5_group *)(uintptr_t)known;
		return 0;
	}
	rc = list(&l, id, e);
	if (rc == 0)
		rc = index_links(h, id, &l, e);
	if (rc < 0)
		return rc;
	g = arena_alloc(h->arena, sizeof(*g));
	if (!g)
		return err_nomem(e, sizeof(*g));
	*g = (struct hdf5_group){l.links, l.n};
	*out = g;
	return hdf5_remember(h, h->groups, id, g, e);
}

int hdf5_links(struct hdf5 *h, hdf5_id group, const struct hdf5_link **out,
	       size_t *n, struct err *e)
{
	const struct hdf5_group *g;
	int rc = load_group(h, group, &g, e);

	if (rc < 0)
		return rc;
	*out = g->links;
	*n = g->n;
	return 0;
}

static int find_link(struct hdf5 *h, hdf5_id from, const char *name, size_t len,
		     hdf5_id *out, struct err *e)
{
	const struct hdf5_group *g;
	uint8_t *key;
	uint64_t i;
	bool found;
	int rc = load_group(h, from, &g, e);

	if (rc < 0)
		return rc;
	key = malloc(sizeof(from) + len);
	if (!key)
		return err_nomem(e, len);
	memcpy(key, &from, sizeof(from));
	memcpy(key + sizeof(from), name, len);
	found = map_get(h->names, key, sizeof(from) + len, &i);
	free(key);
	if (!found || g->links[i].kind != HDF5_HARD)
		return -ENOENT;
	*out = g->links[i].id;
	return 0;
}

int hdf5_find(struct hdf5 *h, hdf5_id from, const char *path, size_t len,
	      hdf5_id *out, struct err *e)
{
	hdf5_id at = from;

	while (len > 0) {
		const char *slash = memchr(path, '/', len);
		size_t n = slash ? (size_t)(slash - path) : len;
		int rc = n > 0 ? find_link(h, at, path, n, &at, e) : 0;

		if (rc < 0)
			return rc;
		path += slash ? n + 1 : n;
		len -= slash ? n + 1 : n;
	}
	*out = at;
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
