/* SPDX-License-Identifier: MIT */
/* mend - the checksums of damaged archives and tables; see mutate.h. */
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "mutate.h"

static uint64_t get(const uint8_t *p, size_t width)
{
	uint64_t v = 0;

	for (size_t i = 0; i < width; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static void put32(uint8_t *p, uint32_t v)
{
	for (size_t i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* ---- zip: APPNOTE 4.3.7 (local header), 4.3.12 (central directory) ---- */

enum { ZIP_LOCAL = 30, ZIP_CENTRAL = 46 };

/* A stored member, by its entry in the central directory. */
static void mend_member(struct mutant *m, uint8_t *entry)
{
	uint64_t size = get(entry + 20, 4), at = get(entry + 42, 4);
	uint8_t *local;
	uint32_t crc;

	if (get(entry + 10, 2) != 0 || m->len < ZIP_LOCAL ||
	    at > m->len - ZIP_LOCAL)
		return;
	local = m->data + at;
	at += ZIP_LOCAL + get(local + 26, 2) + get(local + 28, 2);
	if (at > m->len || size > m->len - at)
		return;
	crc = (uint32_t)crc32(0, m->data + at, (uInt)size);
	put32(local + 14, crc);
	put32(entry + 16, crc);
}

static void mend_zip(struct mutant *m)
{
	for (size_t i = 0; i + ZIP_CENTRAL <= m->len; i++)
		if (memcmp(m->data + i, "PK\1\2", 4) == 0)
			mend_member(m, m->data + i);
}

/* ---- tables: LevelDB's table_format ---- */

enum { TABLE_FOOTER = 48, TABLE_TRAILER = 5 };

static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;

	while (len-- > 0) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static bool get_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	uint64_t v = 0;

	for (int shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t byte = *(*p)++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*out = v;
			return true;
		}
	}
	return false;
}

static bool mend_block(struct mutant *m, uint64_t at, uint64_t size)
{
	uint32_t crc;

	if (m->len < TABLE_TRAILER || at > m->len - TABLE_TRAILER ||
	    size > m->len - TABLE_TRAILER - at)
		return false;
	crc = crc32c(m->data + at, size + 1);
	put32(m->data + at + size + 1, (crc >> 15 | crc << 17) + 0xa282ead8u);
	return true;
}

/* Blocks of data, as the index names them; without shared keys. */
static void mend_blocks(struct mutant *m, uint64_t at, uint64_t size)
{
	const uint8_t *p = m->data + at, *end = p + size;
	uint64_t shared, key, value, off, len;

	while (get_varint(&p, end, &shared) && get_varint(&p, end, &key) &&
	       get_varint(&p, end, &value)) {
		const uint8_t *handle;

		if (key > (uint64_t)(end - p) ||
		    value > (uint64_t)(end - p) - key)
			return;
		handle = p + key;
		p = handle + value;
		if (get_varint(&handle, p, &off) &&
		    get_varint(&handle, p, &len))
			mend_block(m, off, len);
	}
}

static void mend_table(struct mutant *m)
{
	const uint8_t *p, *end;
	uint64_t v, at, size;

	if (m->len < TABLE_FOOTER ||
	    get(m->data + m->len - 8, 8) != 0xdb4775248b80fb57)
		return;
	p = m->data + m->len - TABLE_FOOTER;
	end = p + 40;
	if (!get_varint(&p, end, &v) || !get_varint(&p, end, &v) ||
	    !get_varint(&p, end, &at) || !get_varint(&p, end, &size))
		return;
	if (mend_block(m, at, size))
		mend_blocks(m, at, size);
}

void mutant_mend(struct mutant *m)
{
	mend_zip(m);
	mend_table(m);
}
