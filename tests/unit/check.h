/* SPDX-License-Identifier: MIT */
/*
 * check - the few lines a unit test needs.
 *
 *	TEST(name) { CHECK(1 + 1 == 2); CHECK_INT(f(), 3); }
 *	int main(void) { RUN(name); return check_result(); }
 *
 * Every test prints "ok - file: name" or "not ok - file: name"; mount-scripts/
 * test counts these lines.
 */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int check_failed_tests;
static bool check_failed;

#define TEST(name) static void test_##name(void)

#define RUN(name)                                                              \
	do {                                                                   \
		check_failed = false;                                          \
		test_##name();                                                 \
		check_failed_tests += check_failed;                            \
		printf("%s - %s: %s\n", check_failed ? "not ok" : "ok",        \
		       __FILE__, #name);                                       \
		fflush(stdout);                                                \
	} while (0)

#define SKIP(name, why) printf("skip - %s: %s (%s)\n", __FILE__, #name, why)

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			check_failed = true;                                   \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);    \
		}                                                              \
	} while (0)

#define CHECK_INT(got, want)                                                   \
	do {                                                                   \
		long long got_ = (long long)(got), want_ = (long long)(want);  \
		if (got_ != want_) {                                           \
			check_failed = true;                                   \
			printf("# %s:%d: %s is %lld, not %lld\n", __FILE__,    \
			       __LINE__, #got, got_, want_);                   \
		}                                                              \
	} while (0)

#define CHECK_STR(got, want)                                                   \
	do {                                                                   \
		const char *got_ = (got), *want_ = (want);                     \
		if (!got_ || strcmp(got_, want_) != 0) {                       \
			check_failed = true;                                   \
			printf("# %s:%d: %s is \"%s\", not \"%s\"\n",          \
			       __FILE__, __LINE__, #got,                       \
			       got_ ? got_ : "(null)", want_);                 \
		}                                                              \
	} while (0)

static inline int check_result(void)
{
	return check_failed_tests ? 1 : 0;
}

#endif
