/* SPDX-License-Identifier: MIT */
/* MessagePack and flax: row M1. */
#include <errno.h>

#include "check.h"
#include "recipe.h"

#define BYTES(r, literal) recipe_bytes(r, literal, sizeof(literal) - 1)

static struct model *load(const char *p, size_t len, struct err *e)
{
	struct recipe r = {0};

	recipe_bytes(&r, p, len);
	return recipe_load(&r, false, e);
}

#define LOAD(literal, e) load(literal, sizeof(literal) - 1, e)

static bool fails(const char *p, size_t len)
{
	struct err e;
	struct model *m = load(p, len, &e);
	bool ok = !m && e.msg[0];

	model_free(m);
	return ok;
}

#define FAILS(literal) fails(literal, sizeof(literal) - 1)

/* ext 1 of 15 bytes: [shape [2], "int8", 2 bytes] */
#define ARRAY "\xc7\x0c\1\x93\x91\2\xa4int8\xc4\2"

TEST(arrays)
{
	struct err e;
	struct model *m = LOAD("\x82\xa1p\x82\xa1w" ARRAY "ab\xa1s\x05"
			       "\xab"
			       "batch_stats\x81\xa1m" ARRAY "cd",
			       &e);
	char path[64];

	CHECK(m != NULL);
	CHECK(recipe_holds(recipe_param(m, "p/w"), "ab", 2));
	CHECK_STR(recipe_path(recipe_param(m, "p/w"), path, sizeof(path)),
		  "p/w");
	CHECK(recipe_holds(recipe_param(m, "batch_stats/m"), "cd", 2));
	if (m) {
		CHECK_INT(recipe_param(m, "batch_stats/m")->kind, PARAM_BUFFER);
		CHECK_STR(m->config ? m->config->name : "", "p/s");
	}
	model_free(m);
}

#define CHUNKED "\x81\xa1w\x83\xb9__msgpack_chunked_array__\xc3"

TEST(pieces)
{
	struct err e;
	struct model *m = LOAD(CHUNKED "\xa5shape\x82\xa1"
				       "0\2\xa1"
				       "1\2\xa6"
				       "chunks\x82\xa1"
				       "0" ARRAY "ab\xa1"
				       "1" ARRAY "cd",
			       &e);

	CHECK(recipe_holds(recipe_param(m, "w"), "abcd", 4));
	CHECK_INT(m ? m->params[0]->rank : 0, 2);
	model_free(m);
	/* a piece is missing, of another number, or there are too many */
	CHECK(FAILS(CHUNKED "\xa5shape\x81\xa1"
			    "0\4\xa6"
			    "chunks\x81\xa1"
			    "0" ARRAY "ab"));
	CHECK(FAILS(CHUNKED "\xa5shape\x81\xa1"
			    "0\2\xa6"
			    "chunks\x81\xa1"
			    "1" ARRAY "ab"));
	CHECK(FAILS(CHUNKED "\xa5shape\x81\xa1"
			    "0\2\xa6"
			    "chunks\xdf\xff\xff\xff\xff"));
}

TEST(hostile) /* M1 */
{
	CHECK(FAILS("\x81\xa1w\xdf\xff\xff\xff\xff"));
	CHECK(FAILS("\x81\xa1w\xdd\xff\xff\xff\xff"));
	CHECK(FAILS("\x81\xa1w\xc9\xff\xff\xff\xff\1"));
	CHECK(FAILS("\x81\xa1w\xc6\xff\xff\xff\xff"));
	/* more bytes than the shape asks for, fewer, a negative extent */
	CHECK(FAILS("\x81\xa1w\xc7\x0c\1\x93\x91\3\xa4int8\xc4\2ab"));
	CHECK(FAILS("\x81\xa1w\xc7\x0c\1\x93\x91\1\xa4int8\xc4\2ab"));
	CHECK(FAILS("\x81\xa1w\xc7\x0c\1\x93\x91\xff\xa4int8\xc4\2ab"));
	/* an extension that ends before its array does */
	CHECK(FAILS("\x81\xa1w\xc7\x0b\1\x93\x91\2\xa4int8\xc4\2ab"));
	CHECK(FAILS("\x81\xa1w\xc1"));
	CHECK(FAILS("\x81\xa1w\1 "));
	CHECK(FAILS("\x81\xa1w"));
}

TEST(unknown_type)
{
	struct err e;
	struct model *m =
		LOAD("\x81\xa1w\xc7\x0e\1\x93\x91\2\xa6object\xc4\2ab", &e);

	CHECK_INT(recipe_status(recipe_param(m, "w")), -EOPNOTSUPP);
	model_free(m);
}

TEST(depth) /* M1 */
{
	struct recipe r = {0};
	struct err e;

	for (int i = 0; i < 100000; i++)
		recipe_text(&r, "\x81\xa1x");
	CHECK(recipe_load(&r, false, &e) == NULL);
	CHECK_INT(e.code, EFBIG);
}

int main(void)
{
	RUN(arrays);
	RUN(pieces);
	RUN(hostile);
	RUN(unknown_type);
	RUN(depth);
	return check_result();
}
