/* SPDX-License-Identifier: MIT */
/*
 * regex - RE2's regular expressions, as far as a full match needs them: no
 * captures, no difference between greedy and lazy.  Time is bounded by the
 * length of the text times that of the expression, whatever it is.
 *
 * Not known: Unicode classes (\p) and \C.
 */
#ifndef OP_REGEX_H
#define OP_REGEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct regex;

/* NULL: *why tells what is wrong with the pattern ("out of memory" too). */
struct regex *regex_new(const char *pattern, size_t len, const char **why);
void regex_free(struct regex *r);
/*
 * True when all of the text matches.  For one thread at a time; ends early when
 * *stop (or NULL) is set.
 */
bool regex_full_match(struct regex *r, const char *text, size_t len,
		      const atomic_bool *stop);

#endif
