/* SPDX-License-Identifier: MIT */
/*
 * text - a growing string, for the small files modelfs writes itself.
 *
 * A failed allocation sets `failed`, which stays set; later appends do
 * nothing, so a writer checks once at the end.
 */
#ifndef MODELFS_TEXT_H
#define MODELFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *p; /* NUL-terminated once anything was appended */
	size_t len;
	size_t cap;
	bool failed;
};

void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const void *s, size_t len);
void text_printf(struct text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* s as a JSON string with its quotes; bytes that are not UTF-8 as U+FFFD. */
void text_add_json(struct text *t, const char *s, size_t len);
void text_free(struct text *t);

#endif
