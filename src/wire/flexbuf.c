/* SPDX-License-Identifier: MIT */
#include "wire/flexbuf.h"

#include <string.h>

enum { /* types; those of lists of one type begin at TYPE_INTS */
       TYPE_NULL = 0,
       TYPE_INT = 1,
       TYPE_UINT = 2,
       TYPE_FLOAT = 3,
       TYPE_KEY = 4,
       TYPE_STRING = 5,
       TYPE_FAR_INT = 6,
       TYPE_FAR_UINT = 7,
       TYPE_FAR_FLOAT = 8,
       TYPE_MAP = 9,
       TYPE_LIST = 10,
       TYPE_INTS = 11,
       TYPE_STRINGS = 15,
       TYPE_PAIRS = 16, /* three types each of two, three and four numbers */
       TYPE_QUADS_END = 24,
       TYPE_BLOB = 25,
       TYPE_BOOL = 26,
       TYPE_BOOLS = 36
};

/* ---- bytes ---- */

static bool fits(const struct flexbuf *v, uint64_t pos, uint64_t len)
{
	return pos <= v->len && len <= v->len - pos;
}

static bool read_uint(const struct flexbuf *v, uint64_t pos, unsigned width,
		      uint64_t *out)
{
	*out = 0;
	if (!fits(v, pos, width))
		return false;
	for (unsigned i = 0; i < width; i++)
		*out |= (uint64_t)v->p[pos + i] << (8 * i);
	return true;
}

static struct flexbuf nothing(void)
{
	return (struct flexbuf){.type = TYPE_NULL, .width = 1};
}

static bool is_inline(uint8_t type)
{
	return type <= TYPE_FLOAT || type == TYPE_BOOL;
}

/* The value whose slot, of so many bytes, is at pos. */
static struct flexbuf value_at(const struct flexbuf *in, uint64_t pos,
			       unsigned slot, uint8_t packed)
{
	struct flexbuf v = *in;
	uint64_t back;

	v.pos = pos;
	v.type = packed >> 2;
	v.width = (uint8_t)(is_inline(v.type) ? slot : 1u << (packed & 3));
	v.is_inside = true;
	if (!fits(&v, pos, slot))
		return nothing();
	if (is_inline(v.type))
		return v;
	if (!read_uint(&v, pos, slot, &back) || back > pos)
		return nothing();
	v.pos = pos - back;
	return v;
}

struct flexbuf flexbuf_root(const void *p, size_t len)
{
	struct flexbuf v = {.p = p, .len = len};
	unsigned width;

	if (len < 3)
		return nothing();
	width = v.p[len - 1];
	if ((width != 1 && width != 2 && width != 4 && width != 8) ||
	    width > len - 2)
		return nothing();
	return value_at(&v, len - 2 - width, width, v.p[len - 2]);
}

/* ---- kinds ---- */

enum flexbuf_kind flexbuf_kind(const struct flexbuf *v)
{
	if (!v->is_inside)
		return FLEXBUF_NULL;
	switch (v->type) {
	case TYPE_NULL:
		return FLEXBUF_NULL;
	case TYPE_BOOL:
		return FLEXBUF_BOOL;
	case TYPE_INT:
	case TYPE_UINT:
	case TYPE_FAR_INT:
	case TYPE_FAR_UINT:
		return FLEXBUF_INT;
	case TYPE_FLOAT:
	case TYPE_FAR_FLOAT:
		return FLEXBUF_FLOAT;
	case TYPE_KEY:
	case TYPE_STRING:
	case TYPE_BLOB:
		return FLEXBUF_STRING;
	case TYPE_MAP:
		return FLEXBUF_MAP;
	default:
		return v->type <= TYPE_QUADS_END || v->type == TYPE_BOOLS
			       ? FLEXBUF_LIST
			       : FLEXBUF_NULL;
	}
}

/* ---- numbers ---- */

static double read_float(const struct flexbuf *v)
{
	uint64_t bits;
	double wide;
	float narrow;

	if (!read_uint(v, v->pos, v->width, &bits))
		return 0;
	if (v->width == 8) {
		memcpy(&wide, &bits, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, &bits, sizeof(narrow));
	return v->width == 4 ? (double)narrow : 0;
}

static int64_t read_int(const struct flexbuf *v)
{
	bool is_signed = v->type == TYPE_INT || v->type == TYPE_FAR_INT;
	unsigned unused = 64 - 8 * v->width;
	uint64_t bits;

	if (!read_uint(v, v->pos, v->width, &bits))
		return 0;
	return is_signed ? (int64_t)(bits << unused) >> unused : (int64_t)bits;
}

int64_t flexbuf_int(const struct flexbuf *v)
{
	double wide;

	switch (flexbuf_kind(v)) {
	case FLEXBUF_BOOL:
	case FLEXBUF_INT:
		return read_int(v);
	case FLEXBUF_FLOAT:
		wide = read_float(v);
		return wide > -9e18 && wide < 9e18 ? (int64_t)wide : 0;
	default:
		return 0;
	}
}

double flexbuf_float(const struct flexbuf *v)
{
	return flexbuf_kind(v) == FLEXBUF_FLOAT ? read_float(v)
						: (double)flexbuf_int(v);
}

/* ---- texts ---- */

const char *flexbuf_string(const struct flexbuf *v, size_t *len)
{
	const char *p;
	uint64_t n;

	*len = 0;
	if (flexbuf_kind(v) != FLEXBUF_STRING || v->pos >= v->len)
		return "";
	p = (const char *)v->p + v->pos;
	if (v->type == TYPE_KEY) {
		const char *end = memchr(p, 0, v->len - (size_t)v->pos);

		*len = end ? (size_t)(end - p) : 0;
		return end ? p : "";
	}
	if (v->pos < v->width ||
	    !read_uint(v, v->pos - v->width, v->width, &n) ||
	    !fits(v, v->pos, n))
		return "";
	*len = (size_t)n;
	return p;
}

/* ---- lists and maps ---- */

/* Lists of two, three or four numbers do not say how many. */
static bool is_short(uint8_t type)
{
	return type >= TYPE_PAIRS && type <= TYPE_QUADS_END;
}

/* Of the elements of a list of one type; TYPE_NULL: each has its own. */
static uint8_t type_of_all(uint8_t type)
{
	if (type == TYPE_BOOLS)
		return TYPE_BOOL;
	if (is_short(type))
		return (uint8_t)(TYPE_INT + (type - TYPE_PAIRS) % 3);
	return type >= TYPE_INTS && type <= TYPE_STRINGS
		       ? (uint8_t)(TYPE_INT + type - TYPE_INTS)
		       : TYPE_NULL;
}

uint64_t flexbuf_count(const struct flexbuf *v)
{
	enum flexbuf_kind kind = flexbuf_kind(v);
	uint64_t n, each = v->width;

	if (kind != FLEXBUF_LIST && kind != FLEXBUF_MAP)
		return 0;
	if (type_of_all(v->type) == TYPE_NULL)
		each++; /* and a type */
	if (is_short(v->type))
		n = 2 + (uint64_t)(v->type - TYPE_PAIRS) / 3;
	else if (v->pos < v->width ||
		 !read_uint(v, v->pos - v->width, v->width, &n))
		return 0;
	return v->pos <= v->len && n <= (v->len - v->pos) / each ? n : 0;
}

struct flexbuf flexbuf_at(const struct flexbuf *v, uint64_t i)
{
	uint64_t n = flexbuf_count(v);
	uint8_t type = type_of_all(v->type);

	if (i >= n)
		return nothing();
	return value_at(v, v->pos + i * v->width, v->width,
			type == TYPE_NULL ? v->p[v->pos + n * v->width + i]
					  : (uint8_t)(type << 2));
}

/* Before its elements a map has where its keys are, and how wide. */
struct flexbuf flexbuf_key(const struct flexbuf *v, uint64_t i)
{
	struct flexbuf keys = *v;
	uint64_t back, width, at;

	if (flexbuf_kind(v) != FLEXBUF_MAP || v->pos < 3u * v->width)
		return nothing();
	at = v->pos - 3u * v->width;
	if (!read_uint(v, at, v->width, &back) || back > at ||
	    !read_uint(v, at + v->width, v->width, &width) ||
	    (width != 1 && width != 2 && width != 4 && width != 8))
		return nothing();
	keys.pos = at - back;
	keys.width = (uint8_t)width;
	keys.type = TYPE_INTS + TYPE_KEY - TYPE_INT;
	return flexbuf_at(&keys, i);
}
