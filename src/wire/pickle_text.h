/* SPDX-License-Identifier: MIT */
/* pickle_text - the arguments that protocol 0 writes as lines of text. */
#ifndef WIRE_PICKLE_TEXT_H
#define WIRE_PICKLE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/pickle.h"

struct arena;

/* Digits of a number; real ones have up to 20 or so. */
#define PICKLE_DIGITS_MAX 2000

/*
 * "12", "-3", "00" and "01" (the booleans), "123L" where is_long.  Numbers of
 * more than 64 bits become a BIGINT.  False: no number.  n->kind is set.
 */
bool pickle_text_int(struct arena *a, const char *s, size_t len, bool is_long,
		     struct pickle_node *n);
bool pickle_text_float(const char *s, size_t len, double *out);
/* 'it\'s' as Python's repr writes it. */
bool pickle_text_quoted(struct arena *a, const char *s, size_t len,
			struct pickle_text *out);
/* \uXXXX and \UXXXXXXXX; other bytes are Latin-1.  To UTF-8. */
bool pickle_text_unicode(struct arena *a, const char *s, size_t len,
			 struct pickle_text *out);

#endif
