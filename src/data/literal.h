/* SPDX-License-Identifier: MIT */
/*
 * literal - Python literals, token by token: what the header of a .npy file is
 * made of.  Nothing is evaluated.
 */
#ifndef DATA_LITERAL_H
#define DATA_LITERAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct literal {
	const uint8_t *p;
	const uint8_t *end;
	const uint8_t *start; /* for callers that want to know where p is */
};

/* Steps over blanks. */
void literal_blank(struct literal *l);
/* The next byte that is no blank, not consumed; 0 at the end. */
char literal_peek(struct literal *l);
/* Consumes c, where it comes next. */
bool literal_accept(struct literal *l, char c);
/* A string without escapes; borrowed. */
bool literal_string(struct literal *l, const uint8_t **s, size_t *len);
bool literal_word(struct literal *l, const char *word);
/* A non-negative integer; Python 2 wrote an L behind long ones. */
bool literal_int(struct literal *l, int64_t *out);
/* Steps over a list or tuple; false when it nests too deeply. */
bool literal_skip(struct literal *l);

#endif
