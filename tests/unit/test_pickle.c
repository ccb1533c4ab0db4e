/* SPDX-License-Identifier: MIT */
/* Rows P1 to P7, P14, X1 to X4: pickles as data. */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "modelfs/arena.h"
#include "modelfs/reader.h"
#include "recipe.h"
#include "wire/pickle.h"

static struct arena *arena;

/* The node that these opcodes leave; NULL: e says why none. */
static struct pickle_node *run(const void *p, size_t len, struct err *e)
{
	struct recipe r = {0};
	struct pickle_node *root = NULL;
	struct source *s;
	struct reader *rd;

	recipe_bytes(&r, p, len);
	s = recipe_source(&r);
	rd = reader_new(s, 0, len);
	*e = (struct err){0};
	if (pickle_read(rd, arena, &root, e) < 0)
		root = NULL;
	reader_free(rd);
	source_unref(s);
	return root;
}

#define RUN_OPS(ops, e) run(ops, sizeof(ops) - 1, e)

static bool fails(const void *p, size_t len)
{
	struct err e;

	return !run(p, len, &e) && e.code != 0 && e.msg[0];
}

#define FAILS(ops) fails(ops, sizeof(ops) - 1)

TEST(numbers)
{
	struct err e;
	struct pickle_node *n = RUN_OPS("(I01\nI-7\nL12L\nJ\xfe\xff\xff\xff"
					"M\x01\x02\x8a\x01\x80\x8a\x00"
					"F-1.5\nG\x3f\xf8\0\0\0\0\0\0t.",
					&e);

	CHECK(n && n->nitems == 9);
	if (!n)
		return;
	CHECK_INT(n->items[0]->kind, PICKLE_BOOL);
	CHECK_INT(n->items[1]->i, -7);
	CHECK_INT(n->items[2]->i, 12);
	CHECK_INT(n->items[3]->i, -2);
	CHECK_INT(n->items[4]->i, 513);
	CHECK_INT(n->items[5]->i, -128);
	CHECK_INT(n->items[6]->i, 0);
	CHECK(n->items[7]->f == -1.5);
	CHECK(n->items[8]->f == 1.5);
	n = RUN_OPS("L-18446744073709551616L\n.", &e);
	CHECK(n && n->kind == PICKLE_BIGINT && n->s.len >= 9);
	CHECK(n && memcmp(n->s.p, "\0\0\0\0\0\0\0\0\xff", 9) == 0);
}

TEST(strings)
{
	struct err e;
	struct pickle_node *n;

	n = RUN_OPS("S'a\\n\\x41\\\\'\n.", &e);
	CHECK(pickle_is_string(n, "a\nA\\"));
	n = RUN_OPS("V\\u20ac\xe9\n.", &e);
	CHECK(pickle_is_string(n, "\xe2\x82\xac\xc3\xa9"));
	n = RUN_OPS("X\x02\0\0\0hi.", &e);
	CHECK(pickle_is_string(n, "hi"));
	n = RUN_OPS(
		"c_codecs\nencode\n(X\x02\0\0\0\xc3\xbfX\x06\0\0\0latin1tR.",
		&e);
	CHECK(n && n->kind == PICKLE_BYTES && n->s.len == 1 &&
	      n->s.p[0] == '\xff');
}

TEST(containers)
{
	struct err e;
	struct pickle_node *n = RUN_OPS("}q\0(X\1\0\0\0a]q\1(K\1K\2eX\1\0\0\0"
					"bh\1X\1\0\0\0ah\0u.",
					&e);

	CHECK(n && n->kind == PICKLE_DICT && n->nitems == 6);
	CHECK(pickle_get(n, "a") == n);
	CHECK(pickle_item(pickle_get(n, "b"), 1) != NULL);
	n = RUN_OPS("ccollections\nOrderedDict\n(]((X\1\0\0\0kK\5letR.", &e);
	CHECK(n && n->kind == PICKLE_DICT && n->class);
}

/* X1, X2: nothing is called, whatever way leads to it. */
TEST(calls_are_data)
{
	static const char *const ways[] = {
		"cposix\nsystem\n(S'x'\ntR.",
		"(S'x'\niposix\nsystem\n.",
		"(cposix\nsystem\nS'x'\no.",
		"cposix\nsystem\n(S'x'\nt\x81.",
		"S'posix'\nS'system'\n\x93(S'x'\ntR.",
	};
	struct err e;

	for (size_t i = 0; i < 5; i++) {
		struct pickle_node *n = run(ways[i], strlen(ways[i]), &e);

		CHECK(pickle_is_call(n, "posix", "system"));
		CHECK(pickle_is_string(pickle_arg(n, 0), "x"));
	}
	CHECK(FAILS("\x82\1."));
	CHECK(FAILS("\x83\1\0."));
	CHECK(FAILS("\x84\1\0\0\0."));
	CHECK(FAILS("\x97."));
}

TEST(underflow) /* P1 */
{
	static const char ops[] = "0122RbQa\x81\x85\x86\x87\x90\x91\x92\x93"
				  "\x94oesudtl.";

	for (size_t i = 0; i < sizeof(ops) - 1; i++) {
		char program[2] = {ops[i], '.'};

		CHECK(fails(program, 2));
	}
	CHECK(FAILS(""));
	CHECK(FAILS("N"));
	CHECK(FAILS("(."));
	CHECK(FAILS("(N(tt"));
	CHECK(FAILS("]K\1(a."));
	CHECK(FAILS("\xff."));
	CHECK(FAILS("h\1."));
	CHECK(FAILS("g7\n."));
}

TEST(sizes) /* P2, P3 */
{
	struct err e;

	CHECK(FAILS("X\xff\xff\xff\xff."));
	CHECK(FAILS("\x8d\0\0\0\0\0\0\0\x80."));
	CHECK(FAILS("\x8e\xff\xff\xff\xff\xff\xff\xff\xff."));
	CHECK(FAILS("T\xff\xff\xff\xff."));
	CHECK(FAILS("\x8b\xff\xff\xff\xff."));
	CHECK(FAILS("\x8b\0\0\0\x7f."));
	CHECK(FAILS("\x8a\xff."));
	CHECK(FAILS("\x95\xff\xff\xff\xff\xff\xff\xff\xffN."));
	CHECK(RUN_OPS("Nr\xff\xff\xff\xffj\xff\xff\xff\xff.", &e) != NULL);
	CHECK(RUN_OPS("Np2147483648\n.", &e) != NULL);
}

/* P4, P6: sharing and nesting cost nothing while nobody walks. */
TEST(deep_and_shared)
{
	struct recipe r = {0};
	struct pickle_node *n;
	struct err e;
	size_t depth = 0;

	for (int i = 0; i < 100000; i++)
		recipe_text(&r, "(");
	for (int i = 0; i < 100000; i++)
		recipe_text(&r, "t");
	recipe_text(&r, ".");
	n = run(r.p, r.len, &e);
	for (; n && n->nitems == 1; n = n->items[0])
		depth++;
	CHECK_INT(depth, 99999);
	recipe_free(&r);
}

TEST(wrong_receivers) /* X4 */
{
	CHECK(FAILS("}K\1a."));
	CHECK(FAILS("]K\1K\2s."));
	CHECK(FAILS("K\1(K\2K\3u."));
	CHECK(FAILS("](K\2\x90."));
	CHECK(FAILS("}(K\1u."));
	CHECK(FAILS("K\1}b."));
	CHECK(FAILS("(K\1d."));
}

TEST(text_numbers) /* P14 */
{
	CHECK(FAILS("I0x10\n."));
	CHECK(FAILS("I\n."));
	CHECK(FAILS("I1 \n."));
	CHECK(FAILS("L12M\n."));
	CHECK(FAILS("Fnan(1)\n."));
	CHECK(FAILS("F1,5\n."));
	CHECK(FAILS("F0x1p3\n."));
	CHECK(FAILS("S'open\n."));
	CHECK(FAILS("Sx\n."));
	CHECK(FAILS("V\\u12\n."));
	CHECK(FAILS("V\\U00110000\n."));
	CHECK(FAILS("I1"));
}

/* Several pickles in a row leave the reader where the next one starts. */
TEST(back_to_back)
{
	struct recipe r = {0};
	struct pickle_node *n;
	struct source *s;
	struct reader *rd;
	struct err e;

	recipe_text(&r, "K\1.]K\2a.junk");
	s = recipe_source(&r);
	rd = reader_new(s, 0, source_size(s));
	CHECK_INT(pickle_read(rd, arena, &n, &e), 0);
	CHECK_INT(n->i, 1);
	CHECK_INT(pickle_read(rd, arena, &n, &e), 0);
	CHECK_INT(n->nitems, 1);
	CHECK_INT(rd->off, 8);
	CHECK_INT(pickle_read(rd, arena, &n, &e), -EINVAL);
	reader_free(rd);
	source_unref(s);
}

static int count_node(struct pickle_node *n, void *ctx, struct err *e)
{
	(void)n, (void)e;
	++*(int *)ctx;
	return 0;
}

TEST(each_node_once)
{
	struct err e;
	struct pickle_node *n = RUN_OPS("]q\0(h\0h\0K\1e.", &e);
	int count = 0;

	CHECK_INT(pickle_each(n, count_node, &count, &e), 0);
	CHECK_INT(count, 2);
}

int main(void)
{
	arena = arena_new();
	RUN(numbers);
	RUN(strings);
	RUN(containers);
	RUN(calls_are_data);
	RUN(underflow);
	RUN(sizes);
	RUN(deep_and_shared);
	RUN(wrong_receivers);
	RUN(text_numbers);
	RUN(back_to_back);
	RUN(each_node_once);
	arena_free(arena);
	return check_result();
}
