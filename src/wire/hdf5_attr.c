/* SPDX-License-Identifier: MIT */
/* hdf5_attr - attributes of strings, and the global heap they are kept in. */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "wire/hdf5_file.h"

#define STRINGS_MAX 1000000u
/* Objects looked at in heaps, for one file. */
#define STEPS_MAX 100000000u

/* ---- global heap ---- */

static int load_collection(struct hdf5 *h, uint64_t addr,
			   const struct hdf5_bytes **out, struct err *e)
{
	struct hdf5_bytes *b;
	const uint8_t *p;
	struct cursor c;
	uint64_t known, len;
	int rc;

	if (map_get(h->heaps, &addr, sizeof(addr), &known)) {
		*out = (const struct hdf5_bytes *)(uintptr_t)known;
		return 0;
	}
	rc = hdf5_load(h, addr, 8 + h->length_size, &p, e);
	if (rc < 0)
		return rc;
	c = cursor_make(p, 8 + h->length_size, addr);
	cursor_skip(&c, 8);
	len = hdf5_length(h, &c);
	if (memcmp(p, "GCOL", 4) != 0 || len < 8 + h->length_size)
		return err_set(e, EIO, "byte %llu: no global heap",
			       (unsigned long long)addr);
	b = arena_alloc(h->arena, sizeof(*b));
	if (!b)
		return err_nomem(e, sizeof(*b));
	rc = hdf5_load(h, addr, len, &b->p, e);
	b->len = (size_t)len;
	*out = b;
	return rc < 0 ? rc : hdf5_remember(h, h->heaps, addr, b, e);
}

/* Object `want` of a collection: u16 index, u16 refs, 4 free, size, data. */
static int find_in_heap(struct hdf5 *h, const struct hdf5_bytes *b,
			uint32_t want, struct hdf5_bytes *out, struct err *e)
{
	struct cursor c = cursor_make(b->p, b->len, 0);

	cursor_skip(&c, 8 + h->length_size);
	while (cursor_left(&c) >= 8 + h->length_size) {
		uint16_t idx = cursor_u16(&c);
		uint64_t len;

		cursor_skip(&c, 6);
		len = hdf5_length(h, &c);
		if (idx == 0 || len > cursor_left(&c))
			break;
		if (++h->nsteps > STEPS_MAX)
			return err_set(e, EFBIG, "too many heap objects");
		if (idx == want) {
			*out = (struct hdf5_bytes){c.p, (size_t)len};
			return 0;
		}
		cursor_skip(&c, (len + 7) & ~(uint64_t)7);
	}
	return err_set(e, EIO, "object %u is not in its heap", want);
}

int hdf5_vlen(struct hdf5 *h, const uint8_t *element, struct hdf5_string *out,
	      struct err *e)
{
	struct cursor c = cursor_make(element, 8 + h->offset_size, 0);
	uint32_t len = cursor_u32(&c), idx;
	uint64_t addr = hdf5_offset(h, &c);
	const struct hdf5_bytes *heap = NULL;
	struct hdf5_bytes found = {0};
	int rc;

	idx = cursor_u32(&c);
	*out = (struct hdf5_string){"", 0};
	if (len == 0 || addr == 0 || addr == HDF5_UNDEFINED)
		return 0;
	rc = load_collection(h, addr, &heap, e);
	if (rc == 0)
		rc = find_in_heap(h, heap, idx, &found, e);
	if (rc < 0)
		return rc;
	if (len > found.len)
		return err_set(e, EIO, "a string of %u bytes in %zu", len,
			       found.len);
	out->p = arena_strndup(h->arena, (const char *)found.p, len);
	out->len = len;
	return out->p ? 0 : err_nomem(e, len);
}

/* ---- attributes ---- */

struct attribute {
	const uint8_t *name;
	size_t name_len; /* without the NUL */
	struct hdf5_message type;
	const uint8_t *space;
	size_t space_len;
	struct cursor data;
};

static const uint8_t *take_part(struct cursor *c, size_t len, bool is_padded)
{
	const uint8_t *p = cursor_bytes(c, len);

	if (is_padded && len % 8)
		cursor_skip(c, 8 - len % 8);
	return p;
}

static bool parse_attribute(const struct hdf5_message *m, struct attribute *a)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	uint8_t version = cursor_u8(&c), flags = cursor_u8(&c);
	uint16_t name = cursor_u16(&c), type = cursor_u16(&c);
	uint16_t space = cursor_u16(&c);

	if (version == 3)
		cursor_skip(&c, 1);
	a->name = take_part(&c, name, version == 1);
	a->type = (struct hdf5_message){.type = MESSAGE_DATATYPE, .len = type};
	a->type.data = take_part(&c, type, version == 1);
	if (version > 1 && flags & 1)
		a->type.flags = MESSAGE_SHARED;
	a->space = take_part(&c, space, version == 1);
	a->space_len = space;
	a->data = c;
	if (c.bad || version < 1 || version > 3 || name == 0 ||
	    (version > 1 && flags & 2))
		return false;
	a->name_len = strnlen((const char *)a->name, name);
	return true;
}

static size_t fixed_length(const uint8_t *p, size_t size)
{
	size_t len = strnlen((const char *)p, size);

	while (len > 0 && p[len - 1] == ' ')
		len--;
	return len;
}

static int read_strings(struct hdf5 *h, struct attribute *a,
			const struct hdf5_type *t, struct hdf5_string *s,
			size_t n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const uint8_t *p = cursor_bytes(&a->data, t->size);
		size_t len;

		if (!p)
			return err_set(e, EINVAL, "an attribute is cut short");
		if (t->class == HDF5_VLEN_TEXT) {
			rc = hdf5_vlen(h, p, &s[i], e);
			continue;
		}
		len = fixed_length(p, t->size);
		s[i].p = arena_strndup(h->arena, (const char *)p, len);
		s[i].len = len;
		rc = s[i].p ? 0 : err_nomem(e, len);
	}
	return rc;
}

static int read_attribute(struct hdf5 *h, struct attribute *a,
			  const struct hdf5_string **out, size_t *n,
			  struct err *e)
{
	struct hdf5_type t;
	struct hdf5_string *s;
	struct shape shape;
	uint64_t nelems;
	bool is_null;
	int rc = hdf5_type(h, &a->type, &t, e);

	if (rc == 0)
		rc = hdf5_space(h, a->space, a->space_len, &shape, &is_null, e);
	if (rc < 0)
		return rc;
	*n = 0;
	if (is_null || (t.class != HDF5_TEXT && t.class != HDF5_VLEN_TEXT))
		return 0;
	if (!shape_nelems(&shape, &nelems) || nelems > STRINGS_MAX)
		return err_set(e, EFBIG, "an attribute of too many strings");
	if (t.class == HDF5_VLEN_TEXT && t.size != 8 + h->offset_size)
		return err_set(e, EINVAL, "a variable string of %u bytes",
			       t.size);
	s = arena_array(h->arena, (size_t)nelems + 1, sizeof(*s));
	if (!s)
		return err_nomem(e, (size_t)nelems);
	rc = read_strings(h, a, &t, s, (size_t)nelems, e);
	if (rc < 0)
		return rc;
	*out = s;
	*n = (size_t)nelems;
	return 0;
}

/* ---- in a heap ---- */

struct dense {
	struct hdf5_heap heap;
	const char *name;
	const struct hdf5_string **out;
	size_t *n;
	bool found;
};

static int take_named(struct hdf5 *h, const struct hdf5_message *m,
		      const char *name, const struct hdf5_string **out,
		      size_t *n, bool *found, struct err *e)
{
	struct attribute a;
	int rc;

	if (!parse_attribute(m, &a) || a.name_len != strlen(name) ||
	    memcmp(a.name, name, a.name_len) != 0)
		return 0;
	*found = true;
	rc = read_attribute(h, &a, out, n, e);
	return rc < 0 ? err_wrap(e, "attribute %s", name) : 0;
}

/* A record: id in the heap (8), flags (1), order (4), hash of the name (4). */
static int take_dense(void *ctx, const uint8_t *record, size_t len,
		      struct err *e)
{
	struct dense *d = ctx;
	struct hdf5_bytes object;
	struct hdf5_message m = {.type = MESSAGE_ATTRIBUTE};
	int rc;

	if (len < 9)
		return err_set(e, EINVAL, "records of %zu bytes", len);
	if (d->found || record[8] & MESSAGE_SHARED)
		return 0;
	rc = hdf5_heap_object(&d->heap, record, 8, &object, e);
	m.data = object.p;
	m.len = (uint32_t)object.len;
	return rc < 0 ? rc
		      : take_named(d->heap.h, &m, d->name, d->out, d->n,
				   &d->found, e);
}

#define TREE_OF_ATTRIBUTES 8

static int find_dense(struct hdf5 *h, const struct hdf5_message *m,
		      struct dense *d, struct err *e)
{
	struct cursor c = cursor_make(m->data, m->len, 0);
	uint64_t heap, tree;
	uint8_t flags;
	int rc;

	cursor_skip(&c, 1);
	flags = cursor_u8(&c);
	cursor_skip(&c, flags & 1 ? 2 : 0);
	heap = hdf5_offset(h, &c);
	tree = hdf5_offset(h, &c);
	if (c.bad)
		return err_set(e, EINVAL, "attributes are damaged");
	if (heap == HDF5_UNDEFINED || tree == HDF5_UNDEFINED)
		return 0;
	rc = hdf5_heap(h, heap, &d->heap, e);
	return rc < 0 ? rc
		      : hdf5_btree(h, tree, TREE_OF_ATTRIBUTES, take_dense, d,
				   e);
}

int hdf5_strings(struct hdf5 *h, hdf5_id id, const char *name,
		 const struct hdf5_string **out, size_t *n, struct err *e)
{
	struct dense d = {.name = name, .out = out, .n = n};
	const struct hdf5_object *o;
	const struct hdf5_message *m;
	int rc = hdf5_object(h, id, &o, e);

	for (size_t i = 0; rc == 0 && !d.found && i < o->n; i++)
		if (o->messages[i].type == MESSAGE_ATTRIBUTE)
			rc = take_named(h, &o->messages[i], name, out, n,
					&d.found, e);
	if (rc < 0 || d.found)
		return rc;
	m = hdf5_message(o, MESSAGE_ATTRIBUTE_INFO);
	if (m)
		rc = find_dense(h, m, &d, e);
	return rc < 0 || d.found ? rc : -ENOENT;
}
