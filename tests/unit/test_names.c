/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/map.h"
#include "modelfs/names.h"

#include "check.h"

static void check_encode(const char *s, size_t len, const char *want)
{
	char buf[NAME_BUFFER], back[NAME_BUFFER];
	size_t n = name_encode(buf, s, len), m = 99;

	CHECK_STR(buf, want);
	CHECK_INT(n, strlen(want));
	CHECK(name_decode(buf, n, back, &m));
	CHECK(m == len && memcmp(back, s, len) == 0);
}

TEST(encoding)
{
	check_encode("weight", 6, "weight");
	check_encode("", 0, "%");
	check_encode(".", 1, "%2E");
	check_encode("..", 2, "%2E%2E");
	check_encode("...", 3, "...");
	check_encode(".a", 2, ".a");
	check_encode("a/b", 3, "a%2Fb");
	check_encode("%41", 3, "%2541");
	check_encode("a\n\0\x7f", 4, "a%0A%00%7F");
	check_encode("\xc3\xa9\xff", 3, "\xc3\xa9\xff");
}

TEST(long_names)
{
	char s[300], a[NAME_BUFFER], b[NAME_BUFFER], back[NAME_BUFFER];
	size_t n, m;

	memset(s, 'z', sizeof(s));
	n = name_encode(a, s, 200);
	CHECK_INT(n, 200);
	CHECK(name_decode(a, n, back, &m) && m == 200);
	n = name_encode(a, s, 201);
	CHECK(n <= NAME_ENCODED_MAX && strlen(a) == n);
	CHECK(memcmp(a + n - 18, "%~", 2) == 0);
	CHECK(!name_decode(a, n, back, &m));
	s[250] = 'y';
	name_encode(a, s, 300);
	s[250] = 'x';
	name_encode(b, s, 300);
	CHECK(strcmp(a, b) != 0);
	memset(s, '/', sizeof(s));
	n = name_encode(a, s, 300);
	CHECK(n <= NAME_ENCODED_MAX);
}

TEST(no_encoded_name)
{
	static const char *const bad[] = {"%4",	 "%",	"a%", "%zz",
					  "%2e", "%~a", "a%1"};
	char back[NAME_BUFFER];
	size_t m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(name_decode(bad[i], strlen(bad[i]), back, &m) ==
		      (i == 1));
}

/* Different names, different files: half a million of nasty letters. */
TEST(injective)
{
	static const char letters[] = "a.%/\n~0";
	enum { COUNT = 500000 };
	char *pool = malloc((size_t)COUNT * 64);
	struct map *m = map_new();
	size_t used = 0;

	srand(3);
	for (int i = 0; i < COUNT; i++) {
		char s[16], buf[NAME_BUFFER], back[NAME_BUFFER];
		size_t len = (size_t)rand() % 8, n, back_len;
		uint64_t value = 0, got = 0;

		for (size_t k = 0; k < len; k++) {
			unsigned c = (unsigned)rand() % (sizeof(letters) - 1);

			s[k] = letters[c];
			value = value * 8 + c + 1;
		}
		n = name_encode(buf, s, len);
		CHECK(!memchr(buf, '/', n) && !memchr(buf, '\n', n) && n > 0);
		CHECK(name_decode(buf, n, back, &back_len) && back_len == len &&
		      memcmp(back, s, len) == 0);
		if (map_get(m, buf, n, &got)) {
			CHECK_INT(got, value);
			continue;
		}
		memcpy(pool + used, buf, n);
		CHECK_INT(map_add(m, pool + used, n, value), 0);
		used += n;
		if (check_failed)
			break;
	}
	map_free(m);
	free(pool);
}

static void check_parts(const char *s, const char *seps, const char *want)
{
	struct name_iter it = name_iter(s, strlen(s), seps);
	char got[200] = "";
	size_t n = 0;

	while (name_next(&it))
		n += (size_t)snprintf(got + n, sizeof(got) - n, "<%.*s>%s",
				      (int)it.part_len, it.part,
				      it.is_last ? "!" : "");
	CHECK_STR(got, want);
}

TEST(components)
{
	check_parts("a.b.c", ".", "<a><b><c>!");
	check_parts("a", ".", "<a>!");
	check_parts("", ".", "<>!");
	check_parts("a..b", ".", "<a><><b>!");
	check_parts(".a.", ".", "<><a><>!");
	check_parts("/x/y.z", "/", "<><x><y.z>!");
	check_parts("/x/y.z", "/.", "<><x><y><z>!");
}

int main(void)
{
	RUN(encoding);
	RUN(long_names);
	RUN(no_encoded_name);
	RUN(injective);
	RUN(components);
	return check_result();
}
