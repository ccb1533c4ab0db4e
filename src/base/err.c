/* SPDX-License-Identifier: MIT */
/* err - see modelfs/err.h. */
#include "modelfs/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/utf8.h"

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	return -code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	va_list ap;
	int n;

	if (!e)
		return -EIO;
	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->msg))
		snprintf(e->msg + n, sizeof(e->msg) - (size_t)n, ": %s", old);
	return -e->code;
}

int err_nomem(struct err *e, size_t nbytes)
{
	return err_set(e, ENOMEM, "out of memory (%zu bytes)", nbytes);
}

const char *err_quote(char buf[ERR_QUOTED], const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)s;
	size_t o = 0, i = 0;

	while (i < len) {
		size_t n = utf8_length(p + i, len - i);
		bool plain = n > 1 || (n == 1 && p[i] >= 0x20 &&
				       p[i] != 0x7f && p[i] != '"');

		if (o + 8 > ERR_QUOTED) {
			memcpy(buf + o, "...", 3);
			o += 3;
			break;
		}
		if (plain && !(n == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0)) {
			memcpy(buf + o, p + i, n);
			o += n;
			i += n;
			continue;
		}
		buf[o++] = '\\';
		buf[o++] = 'x';
		buf[o++] = hex[p[i] >> 4];
		buf[o++] = hex[p[i] & 15];
		i++;
	}
	buf[o] = '\0';
	return buf;
}
