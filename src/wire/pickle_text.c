/* SPDX-License-Identifier: MIT */
/* pickle_text - see pickle_text.h. */
#include "wire/pickle_text.h"

#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool all_digits(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_digit(s[i]))
			return false;
	return len > 0;
}

/* num = num * 10 + digit; num has room. */
static void push_digit(uint8_t *num, size_t len, unsigned digit)
{
	for (size_t i = 0; i < len; i++) {
		unsigned v = num[i] * 10u + digit;

		num[i] = (uint8_t)v;
		digit = v >> 8;
	}
}

static void negate(uint8_t *num, size_t len)
{
	unsigned carry = 1;

	for (size_t i = 0; i < len; i++) {
		unsigned v = (uint8_t)~num[i] + carry;

		num[i] = (uint8_t)v;
		carry = v >> 8;
	}
}

static bool make_bigint(struct arena *a, const char *s, size_t len,
			bool is_negative, struct pickle_node *n)
{
	/* log2(10) is less than 3.5; one byte more for the sign. */
	size_t nbytes = len * 7 / 16 + 2;
	uint8_t *num = arena_alloc(a, nbytes + 1);

	if (!num)
		return false;
	for (size_t i = 0; i < len; i++)
		push_digit(num, nbytes, (unsigned)(s[i] - '0'));
	if (is_negative)
		negate(num, nbytes);
	n->kind = PICKLE_BIGINT;
	n->s = (struct pickle_text){(char *)num, nbytes};
	return true;
}

bool pickle_text_int(struct arena *a, const char *s, size_t len, bool is_long,
		     struct pickle_node *n)
{
	bool is_negative = len > 0 && s[0] == '-';
	int64_t v = 0;

	if (!is_long && len == 2 && s[0] == '0' &&
	    (s[1] == '0' || s[1] == '1')) {
		n->kind = PICKLE_BOOL;
		n->b = s[1] == '1';
		return true;
	}
	if (is_long && len > 0 && s[len - 1] == 'L')
		len--;
	s += is_negative;
	len -= is_negative;
	if (!all_digits(s, len) || len > PICKLE_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		int d = s[i] - '0';

		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, is_negative ? -d : d, &v))
			return make_bigint(a, s, len, is_negative, n);
	}
	n->kind = PICKLE_INT;
	n->i = v;
	return true;
}

/* The program never sets a locale: a point is a point. */
bool pickle_text_float(const char *s, size_t len, double *out)
{
	static const char *const words[] = {"nan", "inf", "-nan", "-inf"};
	char buf[64];
	char *end;

	if (len == 0 || len >= sizeof(buf))
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	for (size_t i = 0; i < 4; i++) {
		if (strcmp(buf, words[i]) == 0) {
			*out = strtod(buf, NULL);
			return true;
		}
	}
	if (strspn(buf, "0123456789+-.eE") != len)
		return false;
	*out = strtod(buf, &end);
	return *end == '\0';
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ndigits hexadecimal digits; false when they are not there. */
static bool read_hex(const char *s, const char *end, size_t ndigits,
		     uint32_t *out)
{
	uint32_t v = 0;

	if ((size_t)(end - s) < ndigits)
		return false;
	for (size_t i = 0; i < ndigits; i++) {
		int h = hex_value(s[i]);

		if (h < 0)
			return false;
		v = v << 4 | (uint32_t)h;
	}
	*out = v;
	return true;
}

static bool read_octal(const char **s, const char *end, char *out)
{
	unsigned v = 0;
	size_t n = 0;

	while (n < 3 && *s < end && **s >= '0' && **s <= '7') {
		v = v * 8 + (unsigned)(**s - '0');
		++*s;
		n++;
	}
	*out = (char)v;
	return n > 0;
}

/* Behind a backslash; false: no escape that Python knows. */
static bool read_escape(const char **s, const char *end, char *out)
{
	static const char from[] = "\\'\"abfnrtv";
	static const char to[] = "\\'\"\a\b\f\n\r\t\v";
	const char *found;
	uint32_t v;

	if (*s == end)
		return false;
	found = memchr(from, **s, sizeof(from) - 1);
	if (found) {
		*out = to[found - from];
		++*s;
		return true;
	}
	if (**s == 'x' && read_hex(*s + 1, end, 2, &v)) {
		*out = (char)v;
		*s += 3;
		return true;
	}
	return read_octal(s, end, out);
}

bool pickle_text_quoted(struct arena *a, const char *s, size_t len,
			struct pickle_text *out)
{
	const char *end = s + len - 1;
	char *buf;
	size_t n = 0;

	if (len < 2 || (s[0] != '\'' && s[0] != '"') || *end != s[0])
		return false;
	buf = arena_alloc(a, len);
	if (!buf)
		return false;
	for (s++; s < end;) {
		char c = *s++;

		/* Python keeps a backslash that starts nothing. */
		if (c == '\\' && s < end)
			read_escape(&s, end, &c);
		buf[n++] = c;
	}
	*out = (struct pickle_text){buf, n};
	return true;
}

static size_t put_utf8(char *p, uint32_t c)
{
	if (c < 0x80) {
		p[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		p[0] = (char)(0xc0 | c >> 6);
		p[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		p[0] = (char)(0xe0 | c >> 12);
		p[1] = (char)(0x80 | (c >> 6 & 0x3f));
		p[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	p[0] = (char)(0xf0 | c >> 18);
	p[1] = (char)(0x80 | (c >> 12 & 0x3f));
	p[2] = (char)(0x80 | (c >> 6 & 0x3f));
	p[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

bool pickle_text_unicode(struct arena *a, const char *s, size_t len,
			 struct pickle_text *out)
{
	const char *end = s + len;
	char *buf = arena_array(a, len + 1, 2);
	size_t n = 0;

	if (!buf)
		return false;
	while (s < end) {
		uint32_t c = (uint8_t)*s++;
		size_t ndigits = 0;

		if (c == '\\' && s < end && (*s == 'u' || *s == 'U')) {
			ndigits = *s == 'u' ? 4 : 8;
			if (!read_hex(s + 1, end, ndigits, &c) || c > 0x10ffff)
				return false;
			s += 1 + ndigits;
		}
		n += put_utf8(buf + n, c);
	}
	*out = (struct pickle_text){buf, n};
	return true;
}
