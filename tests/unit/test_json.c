/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "modelfs/err.h"
#include "wire/json.h"

static int parse(const char *text, unsigned flags, struct json **out)
{
	struct err e = {0};

	*out = NULL;
	return json_parse(text, strlen(text), flags, out, &e);
}

static bool is_refused(const char *text)
{
	struct json *v;
	int rc = parse(text, 0, &v);

	json_free(v);
	return rc == -EINVAL;
}

TEST(values)
{
	struct json *v;
	int64_t i = 0;
	bool b = false;
	double d = 0;
	size_t len = 0;
	const char *s;

	CHECK_INT(parse("{\"a\": [1, true, 2.5, \"x\\u0000y\", null]}", 0, &v),
		  0);
	CHECK_INT(json_count(json_member(v, "a")), 5);
	CHECK(json_get_int(json_item(json_member(v, "a"), 0), &i));
	CHECK_INT(i, 1);
	CHECK(json_get_bool(json_item(json_member(v, "a"), 1), &b) && b);
	CHECK(json_get_real(json_item(json_member(v, "a"), 2), &d));
	CHECK(d == 2.5);
	s = json_get_string(json_item(json_member(v, "a"), 3), &len);
	CHECK_INT(len, 3);
	CHECK(s && memcmp(s, "x\0y", 3) == 0);
	CHECK_INT(json_kind(json_item(json_member(v, "a"), 4)), JSON_KIND_NULL);
	CHECK_INT(json_kind(json_member(v, "b")), JSON_KIND_NULL);
	CHECK(!json_get_int(json_member(v, "a"), &i));
	json_free(v);
}

TEST(integers_are_64_bits)
{
	struct json *v;
	int64_t i = 0;

	CHECK_INT(parse("9007199254740993", 0, &v), 0);
	CHECK(json_get_int(v, &i));
	CHECK_INT(i, 9007199254740993);
	json_free(v);
	CHECK(is_refused("9223372036854775808"));
	CHECK(is_refused("1e999999"));
}

TEST(mistakes)
{
	CHECK(is_refused(""));
	CHECK(is_refused("{\"a\": 1, \"a\": 2}"));
	CHECK(is_refused("{\"a\": NaN}"));
	CHECK(is_refused("[1] x"));
	CHECK(is_refused("\"\\ud800\""));
	CHECK(is_refused("\"\xff\""));
	CHECK(is_refused("\xef\xbb\xbf{}"));
	CHECK(is_refused("{\"a\""));
	CHECK(is_refused("\"\\"));
}

TEST(python_dialect)
{
	struct json *v;
	double d = 0;

	CHECK_INT(parse("[NaN, -Infinity, \"NaN\", "
			"1000000000000000019884624838656, -1.5e3]",
			JSON_PYTHON, &v),
		  0);
	CHECK_INT(json_count(v), 5);
	CHECK_INT(json_kind(json_item(v, 0)), JSON_KIND_NULL);
	CHECK_INT(json_kind(json_item(v, 1)), JSON_KIND_NULL);
	CHECK_INT(json_kind(json_item(v, 2)), JSON_KIND_STRING);
	CHECK(json_get_real(json_item(v, 3), &d) && d > 9e29);
	CHECK(json_get_real(json_item(v, 4), &d) && d == -1500);
	json_free(v);
}

/* THREATS S7: with a stack of 128 KiB, a million brackets are no problem. */
TEST(depth)
{
	size_t n = 1000000;
	char *text = malloc(n + 1);
	struct err e = {0};
	struct json *v = NULL;

	memset(text, '[', n);
	text[n] = '\0';
	CHECK_INT(json_parse(text, n, 0, &v, &e), -EINVAL);
	CHECK(strstr(e.msg, "deeper") != NULL);
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	CHECK_INT(json_parse(text, 2 * JSON_DEPTH_MAX, 0, &v, &e), 0);
	json_free(v);
	CHECK(is_refused("[[[[\"]]]]"));
	free(text);
}

static int count(void *ctx, const char *key, size_t len,
		 const struct json *value, struct err *e)
{
	(void)key, (void)value;
	if (len == 4)
		return err_set(e, EPERM, "enough");
	++*(int *)ctx;
	return 0;
}

static int walk(const char *text, int *n)
{
	struct err e = {0};

	*n = 0;
	return json_each_member(text, strlen(text), count, n, &e);
}

TEST(members_one_by_one)
{
	int n;

	CHECK_INT(walk(" { \"a\" : {\"x\":\"}\"} , \"b\":[1,[2]]\n}\t", &n), 0);
	CHECK_INT(n, 2);
	CHECK_INT(walk("{}", &n), 0);
	CHECK_INT(walk("{\"a\":1,}", &n), -EINVAL);
	CHECK_INT(walk("{\"a\":}", &n), -EINVAL);
	CHECK_INT(walk("{\"a\":1 \"b\":2}", &n), -EINVAL);
	CHECK_INT(walk("{\"a\":1}x", &n), -EINVAL);
	CHECK_INT(walk("{\"a\":1", &n), -EINVAL);
	CHECK_INT(walk("[1]", &n), -EINVAL);
	CHECK_INT(walk("{\"a\":-0}", &n), -EINVAL);
	CHECK_INT(walk("{\"a\":-0.5}", &n), 0);
	CHECK_INT(walk("{\"a\":1,\"stop\":2,\"c\":3}", &n), -EPERM);
	CHECK_INT(n, 1);
}

/* With nothing behind the last byte, not even a NUL. */
TEST(members_cut_off)
{
	static const char text[] = " {\"a\": \"x\", \"b\\n\":[1,\"}\"]} ";

	for (size_t len = 0; len < sizeof(text) - 3; len++) {
		char *cut = malloc(len ? len : 1);
		struct err e = {0};
		int n = 0;

		memcpy(cut, text, len);
		CHECK_INT(json_each_member(cut, len, count, &n, &e), -EINVAL);
		free(cut);
	}
}

static int find(const char *text, const char *want)
{
	struct err e = {0};
	const char *value = "";
	size_t len = 0;
	int rc = json_find_member(text, strlen(text), "k", &value, &len, &e);

	CHECK(rc < 0 || (len == strlen(want) && !memcmp(value, want, len)));
	return rc;
}

TEST(one_member)
{
	CHECK_INT(find("{\"a\":[1,\"}\"],\"k\":{\"k\":2}}", "{\"k\":2}"), 0);
	CHECK_INT(find("{\"k\":1,\"b\":{}}", "1"), 0);
	CHECK_INT(find("{\"b\":{\"k\":1}}", ""), -EINVAL);
	CHECK_INT(find("{\"k\":1,\"k\":2}", ""), -EINVAL);
	CHECK_INT(find("{\"k\":{\"a\":1}", ""), -EINVAL);
	CHECK_INT(find("{\"k\"", ""), -EINVAL);
	CHECK_INT(find("{\"k\":1,", ""), -EINVAL);
	CHECK_INT(find("{}", ""), -EINVAL);
	CHECK_INT(find("", ""), -EINVAL);
}

int main(void)
{
	RUN(one_member);
	RUN(values);
	RUN(integers_are_64_bits);
	RUN(mistakes);
	RUN(python_dialect);
	RUN(depth);
	RUN(members_one_by_one);
	RUN(members_cut_off);
	return check_result();
}
