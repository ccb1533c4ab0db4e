/* SPDX-License-Identifier: MIT */
/* literal - see literal.h. */
#include "data/literal.h"

#include <string.h>

#define NESTING_MAX 32

void literal_blank(struct literal *l)
{
	while (l->p < l->end && memchr(" \t\n\r\f\v", *l->p, 6))
		l->p++;
}

char literal_peek(struct literal *l)
{
	literal_blank(l);
	return l->p < l->end ? (char)*l->p : '\0';
}

bool literal_accept(struct literal *l, char c)
{
	if (c == '\0' || literal_peek(l) != c)
		return false;
	l->p++;
	return true;
}

bool literal_string(struct literal *l, const uint8_t **s, size_t *len)
{
	char quote = literal_peek(l);
	const uint8_t *start;

	if (quote != '\'' && quote != '"')
		return false;
	start = ++l->p;
	while (l->p < l->end && *l->p != (uint8_t)quote) {
		if (*l->p == '\\' || *l->p == '\n')
			return false;
		l->p++;
	}
	if (l->p == l->end)
		return false;
	*s = start;
	*len = l->p++ - start;
	return true;
}

bool literal_word(struct literal *l, const char *word)
{
	size_t len = strlen(word);

	literal_blank(l);
	if ((size_t)(l->end - l->p) < len || memcmp(l->p, word, len) != 0)
		return false;
	l->p += len;
	return true;
}

bool literal_int(struct literal *l, int64_t *out)
{
	const uint8_t *start;
	int64_t v = 0;

	literal_blank(l);
	start = l->p;
	while (l->p < l->end && *l->p >= '0' && *l->p <= '9') {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, *l->p - '0', &v))
			return false;
		l->p++;
	}
	if (l->p == start)
		return false;
	if (l->p < l->end && *l->p == 'L')
		l->p++;
	*out = v;
	return true;
}

bool literal_skip(struct literal *l)
{
	const uint8_t *s;
	size_t len;
	int depth = 0;

	do {
		char c = literal_peek(l);

		if (c == '\'' || c == '"') {
			if (!literal_string(l, &s, &len))
				return false;
			continue;
		}
		if (c == '\0')
			return false;
		if (c == '[' || c == '(')
			depth++;
		if (c == ']' || c == ')')
			depth--;
		if (depth > NESTING_MAX)
			return false;
		l->p++;
	} while (depth > 0);
	return true;
}
