/* SPDX-License-Identifier: MIT */
/* flatbuf - see flatbuf.h. */
#include "wire/flatbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/source.h"

static void fail(struct flatbuf *f, int code, uint64_t pos, const char *what)
{
	if (!f->bad)
		err_set(&f->err, code, "byte %llu: %s", (unsigned long long)pos,
			what);
	f->bad = true;
}

static uint64_t most_copied(uint64_t size)
{
	if (size > FLATBUF_COPIED_MAX / FLATBUF_COPIES_MAX)
		return FLATBUF_COPIED_MAX;
	return FLATBUF_COPIED_MIN + size * FLATBUF_COPIES_MAX;
}

struct flatbuf *flatbuf_new(struct source *src)
{
	struct flatbuf *f = calloc(1, sizeof(*f));

	if (f) {
		f->src = src;
		f->size = source_size(src);
		f->copied_max = most_copied(f->size);
	}
	return f;
}

void flatbuf_free(struct flatbuf *f)
{
	free(f);
}

/* The page that holds pos, which is inside the file. */
static const uint8_t *page_of(struct flatbuf *f, uint64_t pos)
{
	uint64_t at = pos / FLATBUF_PAGE * FLATBUF_PAGE;
	size_t slot = (size_t)(pos / FLATBUF_PAGE % FLATBUF_PAGES);
	uint64_t left = f->size - at;
	size_t len = left < FLATBUF_PAGE ? (size_t)left : FLATBUF_PAGE;

	if (f->page_at[slot] == at + 1)
		return f->pages[slot];
	f->page_at[slot] = 0;
	if (source_read(f->src, f->pages[slot], len, at, &f->err) < 0) {
		f->bad = true;
		return NULL;
	}
	f->page_at[slot] = at + 1;
	return f->pages[slot];
}

void flatbuf_bytes(struct flatbuf *f, uint64_t pos, void *out, size_t len)
{
	uint8_t *to = out;

	memset(out, 0, len);
	if (f->bad)
		return;
	if (pos > f->size || len > f->size - pos) {
		fail(f, EINVAL, pos, "beyond the file");
		return;
	}
	while (len > 0) {
		size_t in = (size_t)(pos % FLATBUF_PAGE);
		size_t n = FLATBUF_PAGE - in < len ? FLATBUF_PAGE - in : len;
		const uint8_t *page = page_of(f, pos);

		if (!page)
			return;
		memcpy(to, page + in, n);
		to += n;
		pos += n;
		len -= n;
	}
}

static uint64_t number(struct flatbuf *f, uint64_t pos, size_t width)
{
	uint8_t bytes[8] = {0};
	uint64_t v = 0;

	flatbuf_bytes(f, pos, bytes, width);
	for (size_t i = width; i-- > 0;)
		v = v << 8 | bytes[i];
	return v;
}

static int64_t extend(uint64_t v, size_t width)
{
	unsigned shift = (unsigned)(64 - 8 * width);

	return (int64_t)(v << shift) >> shift;
}

bool flatbuf_charge(struct flatbuf *f, uint64_t len)
{
	f->copied += len < FLATBUF_COPIED_MAX ? len : FLATBUF_COPIED_MAX;
	if (f->copied > f->copied_max)
		fail(f, EFBIG, 0, "too much metadata");
	return !f->bad;
}

/* A table's first number leads back to its vtable. */
static struct flatbuf_table table_at(struct flatbuf *f, uint64_t pos)
{
	struct flatbuf_table t = {.pos = pos};
	int64_t back = extend(number(f, pos, 4), 4);
	int64_t vtable = (int64_t)pos - back;

	if (vtable < 0 || (uint64_t)vtable > f->size)
		fail(f, EINVAL, pos, "a table without a vtable");
	t.vtable = (uint64_t)vtable;
	t.vtable_len = (uint16_t)number(f, t.vtable, 2);
	t.table_len = (uint16_t)number(f, t.vtable + 2, 2);
	if (t.vtable_len < 4 || t.vtable_len % 2 || t.table_len < 4 ||
	    t.vtable_len > f->size - t.vtable || t.table_len > f->size - pos)
		fail(f, EINVAL, pos, "a table that is no table");
	flatbuf_charge(f, 16);
	if (f->bad)
		t = (struct flatbuf_table){0};
	return t;
}

struct flatbuf_table flatbuf_root(struct flatbuf *f)
{
	return table_at(f, number(f, 0, 4));
}

/* Where a field of `width` bytes is; 0 when it is absent. */
static uint64_t field_pos(struct flatbuf *f, const struct flatbuf_table *t,
			  unsigned field, size_t width)
{
	uint64_t at = 4 + 2 * (uint64_t)field;
	uint16_t off;

	if (f->bad || t->pos == 0 || at + 2 > t->vtable_len)
		return 0;
	off = (uint16_t)number(f, t->vtable + at, 2);
	if (off == 0)
		return 0;
	if (off < 4 || off > t->table_len ||
	    width > (size_t)t->table_len - off) {
		fail(f, EINVAL, t->pos, "a field beyond its table");
		return 0;
	}
	return t->pos + off;
}

uint64_t flatbuf_uint(struct flatbuf *f, const struct flatbuf_table *t,
		      unsigned field, size_t width, uint64_t def)
{
	uint64_t pos = field_pos(f, t, field, width);

	return pos ? number(f, pos, width) : def;
}

int64_t flatbuf_int(struct flatbuf *f, const struct flatbuf_table *t,
		    unsigned field, size_t width, int64_t def)
{
	uint64_t pos = field_pos(f, t, field, width);

	return pos ? extend(number(f, pos, width), width) : def;
}

float flatbuf_float(struct flatbuf *f, const struct flatbuf_table *t,
		    unsigned field, float def)
{
	uint64_t pos = field_pos(f, t, field, 4);
	uint32_t bits;
	float v;

	if (!pos)
		return def;
	bits = (uint32_t)number(f, pos, 4);
	memcpy(&v, &bits, sizeof(v));
	return v;
}

/* Offsets count from where they stand, and only forward. */
static uint64_t follow(struct flatbuf *f, uint64_t pos)
{
	uint64_t off = pos ? number(f, pos, 4) : 0;

	if (pos == 0 || f->bad)
		return 0;
	if (off == 0 || off > f->size - pos) {
		fail(f, EINVAL, pos, "an offset beyond the file");
		return 0;
	}
	return pos + off;
}

struct flatbuf_table flatbuf_sub(struct flatbuf *f,
				 const struct flatbuf_table *t, unsigned field)
{
	uint64_t pos = follow(f, field_pos(f, t, field, 4));

	return pos ? table_at(f, pos) : (struct flatbuf_table){0};
}

struct flatbuf_vector flatbuf_vector(struct flatbuf *f,
				     const struct flatbuf_table *t,
				     unsigned field, size_t elem_size)
{
	struct flatbuf_vector v = {0};
	uint64_t pos = follow(f, field_pos(f, t, field, 4));

	if (!pos)
		return v;
	v.n = (uint32_t)number(f, pos, 4);
	v.pos = pos + 4;
	if (!f->bad && v.n > (f->size - v.pos) / elem_size)
		fail(f, EINVAL, pos, "a vector beyond the file");
	if (f->bad)
		v = (struct flatbuf_vector){0};
	return v;
}

struct flatbuf_table flatbuf_at(struct flatbuf *f,
				const struct flatbuf_vector *v, uint32_t i)
{
	uint64_t pos = follow(f, v->pos + 4 * (uint64_t)i);

	return pos ? table_at(f, pos) : (struct flatbuf_table){0};
}

int64_t flatbuf_int_at(struct flatbuf *f, const struct flatbuf_vector *v,
		       uint32_t i, size_t width)
{
	return extend(number(f, v->pos + (uint64_t)i * width, width), width);
}
