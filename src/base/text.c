/* SPDX-License-Identifier: MIT */
/* text - see modelfs/text.h. */
#include "modelfs/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/utf8.h"

static bool reserve(struct text *t, size_t more)
{
	size_t want, cap;
	char *p;

	if (t->failed)
		return false;
	want = t->len + more + 1;
	if (want <= t->cap)
		return true;
	cap = t->cap ? t->cap : 128;
	while (cap < want)
		cap *= 2;
	p = realloc(t->p, cap);
	if (!p) {
		t->failed = true;
		return false;
	}
	t->p = p;
	t->cap = cap;
	return true;
}

void text_add_bytes(struct text *t, const void *s, size_t len)
{
	if (!reserve(t, len))
		return;
	if (len > 0)
		memcpy(t->p + t->len, s, len);
	t->len += len;
	t->p[t->len] = '\0';
}

void text_add(struct text *t, const char *s)
{
	text_add_bytes(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !reserve(t, (size_t)n))
		return;
	va_start(ap, fmt);
	vsnprintf(t->p + t->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	t->len += (size_t)n;
}

void text_add_json(struct text *t, const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t i = 0;

	text_add(t, "\"");
	while (i < len) {
		size_t n = utf8_length(p + i, len - i);

		if (n == 0)
			text_add(t, "\xef\xbf\xbd");
		else if (n > 1)
			text_add_bytes(t, p + i, n);
		else if (p[i] == '"' || p[i] == '\\')
			text_printf(t, "\\%c", p[i]);
		else if (p[i] < 0x20 || p[i] == 0x7f)
			text_printf(t, "\\u%04x", p[i]);
		else
			text_add_bytes(t, p + i, 1);
		i += n ? n : 1;
	}
	text_add(t, "\"");
}

void text_free(struct text *t)
{
	free(t->p);
	*t = (struct text){0};
}
