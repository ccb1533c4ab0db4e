/* SPDX-License-Identifier: MIT */
/*
 * value - values of keys: skipped when a file is mounted, decoded when
 * somebody reads them.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/reader.h"
#include "modelfs/text.h"

#include "format/gguf/gguf.h"

/* Arrays of arrays, where the reference reader has none. */
#define DEPTH_MAX 4

/* Bytes; 0: strings and arrays. */
static const uint8_t widths[GGUF_NTYPES] = {
	[GGUF_U8] = 1,	[GGUF_I8] = 1,	[GGUF_U16] = 2, [GGUF_I16] = 2,
	[GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
	[GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

uint32_t gguf_u32(const struct gguf *g, struct reader *r)
{
	uint32_t v = reader_u32(r);

	return g->is_swapped ? __builtin_bswap32(v) : v;
}

uint64_t gguf_u64(const struct gguf *g, struct reader *r)
{
	uint64_t v = reader_u64(r);

	return g->is_swapped ? __builtin_bswap64(v) : v;
}

uint64_t gguf_count(const struct gguf *g, struct reader *r)
{
	return g->version == 1 ? gguf_u32(g, r) : gguf_u64(g, r);
}

/* The shortest text that reads back as the same number. */
static void add_real(struct text *out, double v, bool is_single)
{
	char buf[32];
	int digits = is_single ? 6 : 15, most = is_single ? 9 : 17;

	if (isnan(v)) {
		text_add(out, "nan");
		return;
	}
	for (; digits <= most; digits++) {
		snprintf(buf, sizeof(buf), "%.*g", digits, v);
		if (is_single ? strtof(buf, NULL) == (float)v
			      : strtod(buf, NULL) == v)
			break;
	}
	text_add(out, buf);
}

/* v: the bytes of the number, zero-extended. */
static void add_number(struct text *out, uint32_t type, uint64_t v)
{
	uint32_t half = (uint32_t)v;
	double d;
	float f;

	switch (type) {
	case GGUF_F32:
		memcpy(&f, &half, sizeof(f));
		add_real(out, (double)f, true);
		break;
	case GGUF_F64:
		memcpy(&d, &v, sizeof(d));
		add_real(out, d, false);
		break;
	case GGUF_BOOL:
		text_add(out, v ? "true" : "false");
		break;
	case GGUF_U8:
	case GGUF_U16:
	case GGUF_U32:
	case GGUF_U64:
		text_printf(out, "%llu", (unsigned long long)v);
		break;
	default: /* signed: shifted up and down again */
		text_printf(out, "%lld",
			    (long long)(v << (64 - 8 * widths[type])) >>
				    (64 - 8 * widths[type]));
	}
	text_add(out, "\n");
}

static uint64_t read_number(const struct gguf *g, struct reader *r,
			    uint32_t type)
{
	size_t width = widths[type];
	uint8_t b[8] = {0};
	uint64_t v;

	reader_bytes(r, b, width);
	memcpy(&v, b, sizeof(v));
	return g->is_swapped ? __builtin_bswap64(v) >> (64 - 8 * width) : v;
}

/* One line: newlines become \n, backslashes are doubled. */
static void add_line(struct text *out, const char *s, size_t len)
{
	size_t start = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] != '\n' && s[i] != '\\')
			continue;
		text_add_bytes(out, s + start, i - start);
		text_add(out, s[i] == '\n' ? "\\n" : "\\\\");
		start = i + 1;
	}
	text_add_bytes(out, s + start, len - start);
	text_add(out, "\n");
}

static void read_string(const struct gguf *g, struct reader *r,
			struct text *out)
{
	uint64_t len = gguf_count(g, r);
	char small[256], *s = small;

	if (!out || len > reader_left(r)) {
		reader_skip(r, len);
		return;
	}
	if (len > sizeof(small))
		s = malloc(len);
	if (!s) {
		reader_fail(r, ENOMEM, "out of memory");
		return;
	}
	reader_bytes(r, s, len);
	add_line(out, s, len);
	if (s != small)
		free(s);
}

struct level {
	uint32_t type;
	uint64_t left; /* elements */
};

/* False when there cannot be that many. */
static bool open_array(const struct gguf *g, struct reader *r,
		       struct level *out)
{
	size_t least;

	out->type = gguf_u32(g, r);
	out->left = gguf_count(g, r);
	if (out->type >= GGUF_NTYPES) {
		reader_fail(r, EINVAL, "elements of an unknown type");
		return false;
	}
	least = widths[out->type];
	if (least == 0)
		least = g->version == 1 ? 4 : 8;
	if (!reader_fits(r, out->left, least))
		reader_fail(r, EINVAL, "an array beyond the end of the file");
	return !r->bad;
}

static void read_numbers(const struct gguf *g, struct reader *r,
			 struct level *at, struct text *out)
{
	if (!out)
		reader_skip(r, at->left * widths[at->type]);
	for (; out && at->left > 0 && !r->bad; at->left--)
		add_number(out, at->type, read_number(g, r, at->type));
	at->left = 0;
}

static void read_array(const struct gguf *g, struct reader *r, struct text *out)
{
	struct level levels[DEPTH_MAX];
	size_t depth = 0;

	if (!open_array(g, r, &levels[depth++]))
		return;
	while (depth > 0 && !r->bad) {
		struct level *at = &levels[depth - 1];

		if (at->left == 0) {
			depth--;
			continue;
		}
		if (widths[at->type] > 0) {
			read_numbers(g, r, at, out);
			continue;
		}
		at->left--;
		if (at->type == GGUF_STRING)
			read_string(g, r, out);
		else if (depth == DEPTH_MAX)
			reader_fail(r, EINVAL, "arrays nest too deep");
		else
			open_array(g, r, &levels[depth++]);
	}
}

void gguf_value(const struct gguf *g, struct reader *r, uint32_t type,
		struct text *out)
{
	if (type >= GGUF_NTYPES)
		reader_fail(r, EINVAL, "a value of an unknown type");
	else if (type == GGUF_ARRAY)
		read_array(g, r, out);
	else if (type == GGUF_STRING)
		read_string(g, r, out);
	else if (out)
		add_number(out, type, read_number(g, r, type));
	else
		reader_skip(r, widths[type]);
}
