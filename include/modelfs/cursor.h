/* SPDX-License-Identifier: MIT */
/*
 * cursor - the only way a reader touches bytes of a file held in memory.
 *
 * A cursor never leaves [p, end).  The first read that does not fit sets
 * `bad`, which stays set; every later read then yields zeros, so a reader may
 * check once after a group of fields.
 */
#ifndef MODELFS_CURSOR_H
#define MODELFS_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *p;
	const uint8_t *end;
	uint64_t off; /* position of p in the file, for messages */
	bool bad;
};

struct cursor cursor_make(const void *data, size_t len, uint64_t off);
size_t cursor_left(const struct cursor *c);

/* Little-endian integers. */
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);

/* Protobuf/LevelDB varint: at most 10 bytes and 64 bits. */
uint64_t cursor_varint(struct cursor *c);

/* The next len bytes, borrowed; NULL (and bad) when they are not there. */
const uint8_t *cursor_bytes(struct cursor *c, size_t len);

/* Up to and without the next '\n', which is consumed. */
const uint8_t *cursor_line(struct cursor *c, size_t *len);

void cursor_skip(struct cursor *c, uint64_t len);

/*
 * True when count items of at least min_size bytes can be in what is left.
 * To be asked before any allocation or loop whose length a file declares.
 */
bool cursor_fits(const struct cursor *c, uint64_t count, size_t min_size);

#endif
