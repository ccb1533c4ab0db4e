/* SPDX-License-Identifier: MIT */
/*
 * msgpack - MessagePack as a stream of tokens (github.com/msgpack/msgpack,
 * spec.md).  What a container holds follows it, so nothing here recurses.
 */
#ifndef WIRE_MSGPACK_H
#define WIRE_MSGPACK_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct reader;

enum msgpack_kind {
	MSGPACK_NIL,
	MSGPACK_BOOL,
	MSGPACK_INT,
	MSGPACK_FLOAT,
	MSGPACK_STRING, /* these three: len bytes follow, to be read by the */
	MSGPACK_BINARY, /* caller */
	MSGPACK_EXT,
	MSGPACK_ARRAY, /* len values follow */
	MSGPACK_MAP    /* len pairs follow */
};

struct msgpack {
	enum msgpack_kind kind;
	int8_t ext; /* type of an EXT */
	bool b;
	bool is_huge; /* INT: beyond 2^63 - 1, i wraps */
	int64_t i;
	double f;
	uint32_t len;
};

/*
 * The next token.  EINVAL when it is malformed, or its len is more than what
 * is left of the range could hold.
 */
int msgpack_next(struct reader *r, struct msgpack *out, struct err *e);

#endif
