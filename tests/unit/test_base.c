/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"
#include "modelfs/utf8.h"

#include "check.h"

TEST(errors_read_from_the_outside_in)
{
	struct err e = {0};

	CHECK_INT(err_set(&e, EINVAL, "byte %d", 7), -EINVAL);
	CHECK_INT(err_wrap(&e, "tensor %s", "w"), -EINVAL);
	CHECK_INT(err_wrap(&e, "m.onnx"), -EINVAL);
	CHECK_STR(e.msg, "m.onnx: tensor w: byte 7");
	CHECK_INT(err_set(NULL, ENOENT, "nobody cares"), -ENOENT);
	CHECK(err_wrap(NULL, "x") < 0);
	CHECK_INT(err_nomem(&e, 5), -ENOMEM);
}

TEST(long_errors_are_cut)
{
	char text[1000];
	struct err e = {0};

	memset(text, 'x', 999);
	text[999] = '\0';
	err_set(&e, EIO, "%s", text);
	CHECK_INT(strlen(e.msg), sizeof(e.msg) - 1);
	CHECK_INT(err_wrap(&e, "%s", text), -EIO);
	CHECK_INT(strlen(e.msg), sizeof(e.msg) - 1);
}

TEST(quoting)
{
	char q[ERR_QUOTED], text[400];

	CHECK_STR(err_quote(q, "a\nb\x1b[1m\x7f\"", 9),
		  "a\\x0ab\\x1b[1m\\x7f\\x22");
	CHECK_STR(err_quote(q, "\xc3\xa9\xff\xc2\x9b", 5),
		  "\xc3\xa9\\xff\\xc2\\x9b");
	memset(text, '\x01', sizeof(text));
	err_quote(q, text, sizeof(text));
	CHECK(strlen(q) < ERR_QUOTED);
	CHECK(strcmp(q + strlen(q) - 3, "...") == 0);
	CHECK_STR(err_quote(q, "", 0), "");
}

TEST(utf8)
{
	static const struct {
		const char *s;
		size_t len, want;
	} cases[] = {
		{"a", 1, 1},
		{"\0", 1, 1},
		{"\xc3\xa9", 2, 2},
		{"\xc3\xa9", 1, 0},
		{"\xe2\x82\xac", 3, 3},
		{"\xe2\x82", 2, 0},
		{"\xf0\x9f\x98\x80", 4, 4},
		{"\xf4\x90\x80\x80", 4, 0},
		{"\xc0\x80", 2, 0},
		{"\xc1\xbf", 2, 0},
		{"\xe0\x80\x80", 3, 0},
		{"\xed\xa0\x80", 3, 0},
		{"\xf0\x80\x80\x80", 4, 0},
		{"\xf5\x80\x80\x80", 4, 0},
		{"\x80", 1, 0},
		{"\xff", 1, 0},
		{"\xc3\x28", 2, 0},
		{"\xf0\x9f\x98\x28", 4, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(utf8_length(cases[i].s, cases[i].len), cases[i].want);
}

TEST(cursor_integers)
{
	static const uint8_t in[] = {1,	 2,    3,    4,	  5,   6,    7,
				     8,	 9,    10,   11,  12,  13,   14,
				     15, 0xac, 0x02, 'a', 'b', '\n', 'c'};
	struct cursor c = cursor_make(in, sizeof(in), 100);
	const uint8_t *line;
	size_t len = 0;

	CHECK_INT(cursor_u8(&c), 1);
	CHECK_INT(cursor_u16(&c), 0x0302);
	CHECK_INT(cursor_u32(&c), 0x07060504);
	CHECK(cursor_u64(&c) == 0x0f0e0d0c0b0a0908u);
	CHECK_INT(cursor_varint(&c), 300);
	CHECK_INT(c.off, 117);
	line = cursor_line(&c, &len);
	CHECK(line && len == 2 && memcmp(line, "ab", 2) == 0);
	CHECK_INT(cursor_left(&c), 1);
	CHECK(!cursor_line(&c, &len) && c.bad);
	CHECK_INT(cursor_u8(&c), 0);
	CHECK_INT(cursor_left(&c), 0);
}

TEST(cursor_stays_inside)
{
	uint8_t in[3] = {1, 2, 3};
	struct cursor c = cursor_make(in, 3, 0);

	CHECK_INT(cursor_u32(&c), 0);
	CHECK(c.bad);
	c = cursor_make(in, 3, 0);
	CHECK(!cursor_bytes(&c, SIZE_MAX) && c.bad);
	c = cursor_make(in, 3, 0);
	cursor_skip(&c, UINT64_MAX);
	CHECK(c.bad);
	c = cursor_make(in, 3, 0);
	CHECK(cursor_fits(&c, 3, 1) && !cursor_fits(&c, 4, 1));
	CHECK(!cursor_fits(&c, (uint64_t)1 << 63, 2));
	CHECK(!cursor_fits(&c, UINT64_MAX, 16));
	CHECK(cursor_bytes(&c, 3) == in && !c.bad);
	CHECK(cursor_fits(&c, 0, 8) && !cursor_fits(&c, 1, 1));
}

TEST(varints)
{
	static const uint8_t most[] = {0xff, 0xff, 0xff, 0xff, 0xff,
				       0xff, 0xff, 0xff, 0xff, 0x01};
	static const uint8_t wide[] = {0xff, 0xff, 0xff, 0xff, 0xff,
				       0xff, 0xff, 0xff, 0xff, 0x02};
	static const uint8_t longer[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
					 0x80, 0x80, 0x80, 0x80, 0x01};
	struct cursor c = cursor_make(most, sizeof(most), 0);

	CHECK(cursor_varint(&c) == UINT64_MAX && !c.bad);
	c = cursor_make(wide, sizeof(wide), 0);
	CHECK(cursor_varint(&c) == 0 && c.bad);
	c = cursor_make(longer, sizeof(longer), 0);
	CHECK(cursor_varint(&c) == 0 && c.bad);
	c = cursor_make(most, 4, 0);
	CHECK(cursor_varint(&c) == 0 && c.bad);
}

TEST(map_of_many)
{
	struct map *m = map_new();
	char(*keys)[12] = malloc(20000 * sizeof(*keys));
	uint64_t v = 0;

	for (uint64_t i = 0; i < 20000; i++) {
		int n = snprintf(keys[i], sizeof(*keys), "k%d", (int)i);

		CHECK_INT(map_add(m, keys[i], (size_t)n, i), 0);
	}
	CHECK_INT(map_count(m), 20000);
	CHECK(map_get(m, "k777", 4, &v) && v == 777);
	CHECK(!map_get(m, "k777", 3, &v) || v == 77);
	CHECK(!map_get(m, "k20000", 6, &v));
	CHECK_INT(map_add(m, "k5", 2, 1), -EEXIST);
	CHECK(map_get(m, "k5", 2, &v) && v == 5);
	CHECK_INT(map_set(m, "k5", 2, 1), 0);
	CHECK(map_get(m, "k5", 2, &v) && v == 1);
	CHECK_INT(map_count(m), 20000);
	CHECK_INT(map_add(m, "", 0, 9), 0);
	CHECK(map_get(m, "", 0, &v) && v == 9);
	CHECK_INT(map_add(m, "a\0b", 3, 1), 0);
	CHECK_INT(map_add(m, "a\0c", 3, 2), 0);
	map_free(m);
	map_free(NULL);
	free(keys);
}

TEST(arenas)
{
	struct arena *a = arena_new();
	char *s;

	for (size_t n = 0; n < 3000; n += 7) {
		uint8_t *p = arena_alloc(a, n);

		CHECK(p && (uintptr_t)p % 16 == 0);
		for (size_t i = 0; i < n; i++)
			CHECK(p[i] == 0);
		memset(p, 0xff, n);
	}
	CHECK(arena_alloc(a, 1000000) != NULL);
	CHECK(!arena_array(a, SIZE_MAX / 2, 4));
	CHECK(!arena_alloc(a, SIZE_MAX - 5));
	s = arena_strndup(a, "abc\0def", 7);
	CHECK(s && memcmp(s, "abc\0def", 8) == 0);
	CHECK(arena_nbytes(a) > 1000000);
	arena_free(a);
	arena_free(NULL);
}

TEST(texts)
{
	struct text t = {0};

	for (int i = 0; i < 1000; i++)
		text_printf(&t, "%d,", i);
	CHECK_INT(t.len, 3890);
	CHECK(memcmp(t.p + t.len - 8, "998,999,", 9) == 0);
	text_free(&t);
	text_add_json(&t, "a\"\\\n\0\xc3\xa9\xff/", 9);
	CHECK_STR(t.p, "\"a\\\"\\\\\\u000a\\u0000\xc3\xa9\xef\xbf\xbd/\"");
	text_free(&t);
	CHECK(!t.p && t.len == 0);
}

int main(void)
{
	RUN(errors_read_from_the_outside_in);
	RUN(long_errors_are_cut);
	RUN(quoting);
	RUN(utf8);
	RUN(cursor_integers);
	RUN(cursor_stays_inside);
	RUN(varints);
	RUN(map_of_many);
	RUN(arenas);
	RUN(texts);
	return check_result();
}
