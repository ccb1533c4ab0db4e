/* SPDX-License-Identifier: MIT */
/* table_recipe - tables of keys and values, and messages, byte by byte. */
#ifndef TESTS_UNIT_TABLE_RECIPE_H
#define TESTS_UNIT_TABLE_RECIPE_H

#include "recipe.h"

#include "wire/crc32c.h"

static inline void recipe_varint(struct recipe *r, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		recipe_int(r, (v & 0x7f) | 0x80, 1);
	recipe_int(r, v, 1);
}

/* Fields of a message. */
static inline void recipe_number(struct recipe *r, unsigned id, uint64_t v)
{
	recipe_varint(r, id << 3);
	recipe_varint(r, v);
}

static inline void recipe_field(struct recipe *r, unsigned id, const void *p,
				size_t len)
{
	recipe_varint(r, id << 3 | 2);
	recipe_varint(r, len);
	recipe_bytes(r, p, len);
}

/* Takes the message. */
static inline void recipe_message(struct recipe *r, unsigned id,
				  struct recipe *m)
{
	recipe_field(r, id, m->p ? m->p : (uint8_t *)"", m->len);
	recipe_free(m);
}

/* One entry of a block that shares nothing with the one before. */
static inline void recipe_entry(struct recipe *block, const char *key,
				size_t key_len, const struct recipe *value)
{
	recipe_varint(block, 0);
	recipe_varint(block, key_len);
	recipe_varint(block, value->len);
	recipe_bytes(block, key, key_len);
	recipe_bytes(block, value->p ? value->p : (uint8_t *)"", value->len);
}

/* Restarts, compression and checksum; takes the block. */
static inline void recipe_block(struct recipe *file, struct recipe *block,
				uint32_t nrestarts, uint8_t compression)
{
	for (uint32_t i = 0; i < nrestarts && i < 4; i++)
		recipe_int(block, 0, 4);
	recipe_int(block, nrestarts, 4);
	recipe_int(block, compression, 1);
	recipe_int(block, crc32c_mask(crc32c(0, block->p, block->len)), 4);
	recipe_bytes(file, block->p, block->len);
	recipe_free(block);
}

/* A table of this one block; takes it. */
static inline struct recipe recipe_table(struct recipe *block,
					 uint8_t compression)
{
	struct recipe file = {0}, index = {0}, handle = {0};
	size_t len, at;

	recipe_block(&file, block, 1, compression);
	len = file.len - 5;
	recipe_varint(&handle, 0);
	recipe_varint(&handle, len);
	recipe_entry(&index, "\xff", 1, &handle);
	recipe_free(&handle);
	at = file.len;
	recipe_block(&file, &index, 1, 0);
	len = file.len - at - 5;
	recipe_varint(&handle, 0);
	recipe_varint(&handle, 0);
	recipe_varint(&handle, at);
	recipe_varint(&handle, len);
	recipe_zeros(&handle, 40 - handle.len);
	recipe_bytes(&file, handle.p, handle.len);
	recipe_free(&handle);
	recipe_int(&file, UINT64_C(0xdb4775248b80fb57), 8);
	return file;
}

#endif
