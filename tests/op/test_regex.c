/* SPDX-License-Identifier: MIT */
/* RE2's expressions: what matches whole texts, what does not, what is none. */
#include <string.h>

#include "../unit/check.h"
#include "op/regex.h"

static void check_match(const char *pattern, const char *text, bool want)
{
	const char *why = "";
	struct regex *r = regex_new(pattern, strlen(pattern), &why);
	bool got = r && regex_full_match(r, text, strlen(text), NULL);

	if (!r || got != want)
		printf("# \"%s\" and \"%s\": %s\n", pattern, text,
		       r ? "wrong" : why);
	CHECK(r != NULL);
	CHECK(got == want);
	regex_free(r);
}

static void yes(const char *pattern, const char *text)
{
	check_match(pattern, text, true);
}

static void no(const char *pattern, const char *text)
{
	check_match(pattern, text, false);
}

static void bad(const char *pattern)
{
	const char *why = NULL;
	struct regex *r = regex_new(pattern, strlen(pattern), &why);

	if (r)
		printf("# \"%s\" is no error\n", pattern);
	CHECK(r == NULL);
	CHECK(r || why != NULL);
	regex_free(r);
}

TEST(characters)
{
	yes("", "");
	no("", "a");
	yes("abc", "abc");
	no("abc", "abcd");
	no("abc", "ab");
	yes("a.c", "a\xc3\xa9" "c");
	no("a.c", "a\nc");
	yes("(?s)a.c", "a\nc");
	yes("[a-cx]+", "abxc");
	no("[^a-c]", "b");
	yes("[]a-]+", "]-a");
	yes("[\\d\\s]+", "1 2");
	yes("[^\\w]", "-");
	yes("[[:alpha:][:digit:]]+", "a1");
	yes("[[:^alpha:]]", "1");
	yes("\\x41\\x{e9}\\011", "A\xc3\xa9\t");
	yes("\\Qa.b\\E+", "a.bb");
	yes("\\D\\W\\S", "a-b");
}

TEST(repetitions)
{
	yes("a*", "");
	yes("a*?b+", "aabb");
	no("a+", "");
	yes("a?b", "b");
	yes("(ab){2}", "abab");
	no("(ab){2}", "ab");
	yes("a{2,3}", "aaa");
	no("a{2,3}", "aaaa");
	yes("a{2,}", "aaaaa");
	no("a{2,}", "a");
	yes("a{0,2}b", "aab");
	yes("a{0,2}b", "b");
	no("a{0,2}b", "aaab");
	yes("a{0}b", "b");
	yes("a{,2}", "a{,2}");
	yes("a{x", "a{x");
	yes("(a*)*", "aaa");
	yes("((a?)+)*b", "aab");
	yes("(a|b*)+c", "abbac");
}

TEST(groups)
{
	yes("a|bc|d", "bc");
	no("a|bc|d", "abc");
	yes("(a|)(b|c)", "c");
	yes("(?:a|b)+", "abba");
	yes("(?P<name>x)(?<other>y)", "xy");
	yes("(?i)straSSe", "STRASSE");
	yes("(?i:a)b", "Ab");
	no("(?i:a)b", "AB");
	yes("a(?i)b", "aB");
	yes("(?i)\xc3\xa9", "\xc3\x89");
	yes("(?i)[^a]", "b");
	no("(?i)[^a]", "A");
	yes("(?i-i)a", "a");
}

TEST(assertions)
{
	yes("^a$", "a");
	yes("(^a|b$)", "b");
	no("a^b", "ab");
	yes("a\\b-\\Bb?", "a-");
	yes("(?m)a$\n^b", "a\nb");
	no("a$\n^b", "a\nb");
	yes("\\Aa\\z", "a");
	no("\\ba\\Bb\\b", "a b");
}

TEST(mistakes)
{
	bad("(");
	bad(")");
	bad("[a");
	bad("a**");
	bad("*a");
	bad("a{2,1}");
	bad("a{1001}");
	bad("\\");
	bad("\\1");
	bad("\\pL");
	bad("[b-a]");
	bad("[[:nothing:]]");
	bad("(?x)a");
	bad("(?P<a)");
	bad("\\x{110000}");
	bad("((((((a{999}){999}){999}){999}){999}){999})");
}

/* What takes a backtracking matcher for ever. */
TEST(time_is_bounded)
{
	char text[5000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	no("(a*)*b", text);
	no("(a|a)*b", text);
	no("(a?){400}b", text);
	yes("(.*)(.*)(.*)(.*)(.*)a", text);
}

int main(void)
{
	RUN(characters);
	RUN(repetitions);
	RUN(groups);
	RUN(assertions);
	RUN(mistakes);
	RUN(time_is_bounded);
	return check_result();
}
