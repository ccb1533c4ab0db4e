/* SPDX-License-Identifier: MIT */
/* names - see modelfs/names.h. */
#include "modelfs/names.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define HASH_MARK "%%~" /* as printf wants it */
#define HASH_CHARS 18 /* the mark and 16 digits */

/* FNV-1a, 64 bits: stable across machines and releases. */
static uint64_t hash_name(const char *s, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
	return h;
}

static bool is_special(unsigned char c)
{
	return c == '/' || c == '%' || c < 0x20 || c == 0x7f;
}

static size_t encoded_length(const char *s, size_t len)
{
	size_t i, n = 0;

	for (i = 0; i < len && n <= NAME_ENCODED_MAX; i++)
		n += is_special((unsigned char)s[i]) ? 3 : 1;
	return n;
}

/* As much of s as fits into max bytes. */
static size_t encode_bytes(char *buf, const char *s, size_t len, size_t max)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (n + (is_special(c) ? 3 : 1) > max)
			break;
		if (is_special(c)) {
			buf[n++] = '%';
			buf[n++] = hex[c >> 4];
			buf[n++] = hex[c & 15];
		} else {
			buf[n++] = (char)c;
		}
	}
	buf[n] = '\0';
	return n;
}

size_t name_encode(char buf[NAME_BUFFER], const char *s, size_t len)
{
	size_t n;

	if (len == 0)
		return (size_t)sprintf(buf, "%%");
	if (len == 1 && s[0] == '.')
		return (size_t)sprintf(buf, "%%2E");
	if (len == 2 && s[0] == '.' && s[1] == '.')
		return (size_t)sprintf(buf, "%%2E%%2E");
	if (encoded_length(s, len) <= NAME_ENCODED_MAX)
		return encode_bytes(buf, s, len, NAME_ENCODED_MAX);
	n = encode_bytes(buf, s, len, NAME_ENCODED_MAX - HASH_CHARS);
	n += (size_t)sprintf(buf + n, HASH_MARK "%016llx",
			     (unsigned long long)hash_name(s, len));
	return n;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool name_decode(const char *s, size_t len, char *buf, size_t *out_len)
{
	size_t i = 0, n = 0;

	if (len == 1 && s[0] == '%') {
		*out_len = 0;
		return true;
	}
	while (i < len) {
		int hi, lo;

		if (s[i] != '%') {
			buf[n++] = s[i++];
			continue;
		}
		if (len - i < 3)
			return false;
		hi = hex_digit(s[i + 1]);
		lo = hex_digit(s[i + 2]);
		if (hi < 0 || lo < 0)
			return false;
		buf[n++] = (char)(hi << 4 | lo);
		i += 3;
	}
	*out_len = n;
	return true;
}

struct name_iter name_iter(const char *s, size_t len, const char *seps)
{
	return (struct name_iter){.rest = s, .rest_len = len, .seps = seps};
}

bool name_next(struct name_iter *it)
{
	size_t i;

	if (!it->rest)
		return false;
	it->part = it->rest;
	for (i = 0; i < it->rest_len; i++)
		if (it->rest[i] != '\0' && strchr(it->seps, it->rest[i]))
			break;
	it->part_len = i;
	it->is_last = i == it->rest_len;
	it->rest = it->is_last ? NULL : it->rest + i + 1;
	it->rest_len -= it->is_last ? i : i + 1;
	return true;
}
