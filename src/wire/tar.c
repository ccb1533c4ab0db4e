/* SPDX-License-Identifier: MIT */
/* tar - see tar.h. */
#include "wire/tar.h"

#include <errno.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/source.h"

#define NAME_SIZE 100
#define SIZE_AT 124
#define SUM_AT 148
#define TYPE_AT 156
#define PREFIX_AT 345

/* Octal digits, blanks before and a blank or NUL behind. */
static bool read_octal(const uint8_t *p, size_t n, uint64_t *out)
{
	uint64_t v = 0;
	size_t i = 0;

	while (i < n && p[i] == ' ')
		i++;
	if (i == n || p[i] < '0' || p[i] > '7')
		return false;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 61)
			return false;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	*out = v;
	return i == n || p[i] == ' ' || p[i] == '\0';
}

/* GNU's way for large files: big-endian, with bit 7 of the first byte set. */
static bool read_size(const uint8_t *p, uint64_t *out)
{
	uint64_t v = p[0] & 0x7f;

	if (!(p[0] & 0x80))
		return read_octal(p, 12, out);
	for (size_t i = 1; i < 12; i++) {
		if (v >> 55)
			return false;
		v = v << 8 | p[i];
	}
	*out = v;
	return true;
}

/* The sum of all bytes, with blanks for the sum itself. */
bool tar_is_header(const uint8_t *p)
{
	uint64_t want, sum = 0;

	if (!read_octal(p + SUM_AT, 8, &want))
		return false;
	for (size_t i = 0; i < TAR_HEADER; i++)
		sum += i >= SUM_AT && i < SUM_AT + 8 ? ' ' : p[i];
	return sum == want;
}

static bool is_zero(const uint8_t *p)
{
	for (size_t i = 0; i < TAR_HEADER; i++)
		if (p[i])
			return false;
	return true;
}

int tar_read(struct source *src, uint64_t off, struct tar_member *out,
	     struct err *e)
{
	uint64_t end = source_size(src), size, data = off + TAR_HEADER, padded;
	struct tar_member m = {.off = data};
	uint8_t head[TAR_HEADER];
	int rc;

	if (off >= end || end - off < TAR_HEADER)
		return 0;
	rc = source_read(src, head, TAR_HEADER, off, e);
	if (rc < 0)
		return rc;
	if (is_zero(head))
		return 0;
	if (!tar_is_header(head) || !read_size(head + SIZE_AT, &size) ||
	    size > end - data)
		return err_set(e, EINVAL, "byte %llu: no header of tar",
			       (unsigned long long)off);
	/* A prefix makes the name a path: none of those that are looked for. */
	if (memcmp(head + 257, "ustar", 5) != 0 || head[PREFIX_AT] == '\0')
		memcpy(m.name, head, NAME_SIZE);
	m.is_file = head[TYPE_AT] == '0' || head[TYPE_AT] == '\0';
	m.size = size;
	padded = (size + TAR_HEADER - 1) / TAR_HEADER * TAR_HEADER;
	m.next = padded > end - data ? end : data + padded;
	*out = m;
	return 1;
}

static int take(const struct tar_member *m, const char *const *names, size_t n,
		struct tar_member *found, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(m->name, names[i]) != 0)
			continue;
		if (!m->is_file)
			return err_set(e, EINVAL, "%s is no regular file",
				       names[i]);
		if (found[i].next)
			return err_set(e, EINVAL, "%s is there twice",
				       names[i]);
		found[i] = *m;
	}
	return 0;
}

int tar_find(struct source *src, const char *const *names, size_t n,
	     struct tar_member *found, struct err *e)
{
	struct tar_member m;
	uint64_t off = 0;
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		found[i].next = 0;
	for (uint32_t i = 0; i < TAR_MEMBERS_MAX; i++) {
		rc = tar_read(src, off, &m, e);
		if (rc <= 0)
			break;
		rc = take(&m, names, n, found, e);
		if (rc < 0)
			return rc;
		off = m.next;
	}
	return rc;
}
