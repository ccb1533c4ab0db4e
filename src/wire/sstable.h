/* SPDX-License-Identifier: MIT */
/*
 * sstable - sorted tables of keys and values, as LevelDB writes them and
 * TensorFlow's checkpoints use them (LevelDB, doc/table_format.md).
 *
 *	blocks | index block | footer (48 bytes, magic at the end)
 *	block: entries | u32 restarts[n] | u32 n; then u8 compression, u32 crc
 *	entry: varint shared, varint added, varint value length | key | value
 */
#ifndef WIRE_SSTABLE_H
#define WIRE_SSTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct source;

#define SSTABLE_BLOCK_MAX ((uint64_t)256 << 20)
#define SSTABLE_KEY_MAX (1u << 20)

struct sstable_entry { /* valid until the callback returns */
	const uint8_t *key;
	size_t key_len;
	const uint8_t *value;
	size_t value_len;
	/* Where the value can be read again: the file, or an inflated block. */
	struct source *src;
	uint64_t off;
};

typedef int (*sstable_fn)(void *ctx, const struct sstable_entry *t,
			  struct err *e);

/* True when the file ends in the magic number. */
bool sstable_probe(struct source *src);

/*
 * All entries, in the order of their keys, which must increase.  EINVAL when
 * the table contradicts itself, EIO for a wrong checksum, EOPNOTSUPP for a
 * compression that is not known, EFBIG over the limits.
 */
int sstable_each(struct source *src, sstable_fn fn, void *ctx, struct err *e);

#endif
