/* SPDX-License-Identifier: MIT */
/* msgpack - see msgpack.h. */
#include "wire/msgpack.h"

#include <errno.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/reader.h"

/* Numbers are big-endian. */
static uint64_t read_big(struct reader *r, size_t nbytes)
{
	uint64_t v = 0;

	while (nbytes-- > 0)
		v = v << 8 | reader_u8(r);
	return v;
}

static double read_float(struct reader *r, bool is_double)
{
	uint64_t wide = read_big(r, is_double ? 8 : 4);
	uint32_t narrow = (uint32_t)wide;
	double d;
	float f;

	memcpy(&d, &wide, sizeof(d));
	memcpy(&f, &narrow, sizeof(f));
	return is_double ? d : (double)f;
}

static int64_t read_signed(struct reader *r, size_t nbytes)
{
	unsigned shift = 64 - 8 * (unsigned)nbytes;

	return (int64_t)(read_big(r, nbytes) << shift) >> shift;
}

static void read_unsigned(struct reader *r, size_t nbytes, struct msgpack *t)
{
	uint64_t v = read_big(r, nbytes);

	t->kind = MSGPACK_INT;
	t->is_huge = v > INT64_MAX;
	t->i = (int64_t)v;
}

static void set_len(struct msgpack *t, enum msgpack_kind kind, uint64_t len)
{
	t->kind = kind;
	t->len = (uint32_t)len;
}

static void read_ext(struct reader *r, uint64_t len, struct msgpack *t)
{
	set_len(t, MSGPACK_EXT, len);
	t->ext = (int8_t)reader_u8(r);
}

/* The bytes from 0xc0 to 0xdf; false: 0xc1, which means nothing. */
static bool read_long_form(struct reader *r, uint8_t b, struct msgpack *t)
{
	switch (b) {
	case 0xc0:
		t->kind = MSGPACK_NIL;
		return true;
	case 0xc2:
	case 0xc3:
		t->kind = MSGPACK_BOOL;
		t->b = b & 1;
		return true;
	case 0xc4:
	case 0xc5:
	case 0xc6:
		set_len(t, MSGPACK_BINARY,
			read_big(r, (size_t)1 << (b - 0xc4)));
		return true;
	case 0xc7:
	case 0xc8:
	case 0xc9:
		read_ext(r, read_big(r, (size_t)1 << (b - 0xc7)), t);
		return true;
	case 0xca:
	case 0xcb:
		t->kind = MSGPACK_FLOAT;
		t->f = read_float(r, b & 1);
		return true;
	case 0xcc:
	case 0xcd:
	case 0xce:
	case 0xcf:
		read_unsigned(r, (size_t)1 << (b - 0xcc), t);
		return true;
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		t->kind = MSGPACK_INT;
		t->i = read_signed(r, (size_t)1 << (b - 0xd0));
		return true;
	case 0xd4:
	case 0xd5:
	case 0xd6:
	case 0xd7:
	case 0xd8:
		read_ext(r, (uint64_t)1 << (b - 0xd4), t);
		return true;
	case 0xd9:
	case 0xda:
	case 0xdb:
		set_len(t, MSGPACK_STRING,
			read_big(r, (size_t)1 << (b - 0xd9)));
		return true;
	case 0xdc:
	case 0xdd:
		set_len(t, MSGPACK_ARRAY, read_big(r, b & 1 ? 4 : 2));
		return true;
	case 0xde:
	case 0xdf:
		set_len(t, MSGPACK_MAP, read_big(r, b & 1 ? 4 : 2));
		return true;
	default:
		return false;
	}
}

static bool read_token(struct reader *r, uint8_t b, struct msgpack *t)
{
	if (b < 0x80 || b >= 0xe0) {
		t->kind = MSGPACK_INT;
		t->i = (int8_t)b;
	} else if (b < 0x90) {
		set_len(t, MSGPACK_MAP, b & 0x0f);
	} else if (b < 0xa0) {
		set_len(t, MSGPACK_ARRAY, b & 0x0f);
	} else if (b < 0xc0) {
		set_len(t, MSGPACK_STRING, b & 0x1f);
	} else {
		return read_long_form(r, b, t);
	}
	return true;
}

int msgpack_next(struct reader *r, struct msgpack *out, struct err *e)
{
	struct msgpack t = {.kind = MSGPACK_NIL};
	uint64_t at = r->off;
	bool known = read_token(r, reader_u8(r), &t);

	if (r->bad)
		return err_set(e, EINVAL, "byte %llu: ends too early",
			       (unsigned long long)at);
	if (!known)
		return err_set(e, EINVAL, "byte %llu: no MessagePack",
			       (unsigned long long)at);
	if (!reader_fits(r, t.len, t.kind == MSGPACK_MAP ? 2 : 1))
		return err_set(e, EINVAL, "byte %llu: more than the file holds",
			       (unsigned long long)at);
	*out = t;
	return 0;
}
