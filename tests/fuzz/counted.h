/* SPDX-License-Identifier: MIT */
/*
 * counted - how much memory this process has allocated: malloc and its
 * relatives, of all libraries, are replaced by ones that count (with the
 * sanitizers, theirs are asked to tell).
 */
#ifndef TESTS_FUZZ_COUNTED_H
#define TESTS_FUZZ_COUNTED_H

#include <stddef.h>

/* From here on. */
void counted_start(void);
/* Bytes allocated and not freed, and the most there were since the start. */
long long counted_now(void);
long long counted_peak(void);
/* Says where what nobody has any more came from, if that is known. */
void counted_explain(void);

#endif
