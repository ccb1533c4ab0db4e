/* SPDX-License-Identifier: MIT */
/*
 * protoform_text - messages as text:
 *
 *	node { name: "x" attr { key: "T" value { type: DT_FLOAT } } }
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/text.h"

#include "wire/protobuf.h"
#include "wire/protoform.h"

#define WORD_MAX 256

struct reader {
	const struct protoform *form;
	const char *p, *end;
	unsigned line;
	struct err *e;
};

static int wrong(struct reader *r, const char *what)
{
	return err_set(r->e, EINVAL, "line %u: %s", r->line, what);
}

static void skip_blanks(struct reader *r)
{
	bool in_comment = false;

	for (; r->p < r->end; r->p++) {
		if (*r->p == '#')
			in_comment = true;
		if (*r->p == '\n') {
			in_comment = false;
			r->line++;
			continue;
		}
		if (!in_comment && *r->p != ' ' && *r->p != '\t' &&
		    *r->p != '\r' && *r->p != ',' && *r->p != ';')
			return;
	}
}

/* The next character that is no blank; NUL at the end. */
static char peek(struct reader *r)
{
	skip_blanks(r);
	return r->p < r->end ? *r->p : '\0';
}

static bool take(struct reader *r, char c)
{
	if (peek(r) != c || r->p == r->end)
		return false;
	r->p++;
	return true;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-' ||
	       c == '+' || c == '/';
}

/* A name, a number, or an extension in brackets. */
static int word(struct reader *r, char buf[WORD_MAX], size_t *len)
{
	bool in_brackets = peek(r) == '[';

	*len = 0;
	if (in_brackets)
		r->p++;
	while (r->p < r->end && is_word(*r->p)) {
		if (*len + 1 == WORD_MAX)
			return wrong(r, "a long word");
		buf[(*len)++] = *r->p++;
	}
	buf[*len] = '\0';
	if (*len == 0)
		return wrong(r, "no name");
	return in_brackets && !take(r, ']') ? wrong(r, "no ]") : 0;
}

/* ---- quoted text ---- */

static int digit(char c, int base)
{
	int v = c >= '0' && c <= '9'   ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : 99;

	return v < base ? v : -1;
}

/* Up to max digits in this base. */
static char number_escape(struct reader *r, int base, int max)
{
	int v = 0;

	for (int i = 0; i < max && r->p < r->end; i++, r->p++) {
		int one = digit(*r->p, base);

		if (one < 0)
			break;
		v = v * base + one;
	}
	return (char)v;
}

/* Behind a backslash. */
static char escape(struct reader *r)
{
	static const char from[] = "abfnrtv", to[] = "\a\b\f\n\r\t\v";
	const char *at;
	char c = *r->p;

	if (digit(c, 8) >= 0)
		return number_escape(r, 8, 3);
	r->p++;
	if (c == 'x' || c == 'X')
		return number_escape(r, 16, 2);
	at = strchr(from, c);
	return at && c ? to[at - from] : c;
}

/* Pieces that follow each other are one text. */
static int quoted(struct reader *r, struct text *out)
{
	char quote = peek(r);

	if (quote != '"' && quote != '\'')
		return wrong(r, "no text");
	while (peek(r) == '"' || peek(r) == '\'') {
		quote = *r->p++;
		while (r->p < r->end && *r->p != quote && *r->p != '\n') {
			char c = *r->p++;

			if (c == '\\' && r->p < r->end)
				c = escape(r);
			text_add_bytes(out, &c, 1);
		}
		if (r->p == r->end || *r->p++ != quote)
			return wrong(r, "a text without an end");
	}
	return protoform_check(out, r->e);
}

/* ---- values ---- */

static int message(struct reader *r, const ProtobufCMessageDescriptor *d,
		   char end, int depth, struct text *out);

static const ProtobufCFieldDescriptor *
find_field(const ProtobufCMessageDescriptor *d, const char *name)
{
	const ProtobufCFieldDescriptor *f =
		d ? protobuf_c_message_descriptor_get_field_by_name(d, name)
		  : NULL;

	return f && f->id < PROTOBUF_OFF ? f : NULL;
}

static int number(struct reader *r, const ProtobufCFieldDescriptor *f,
		  struct text *out)
{
	char buf[WORD_MAX], *end;
	size_t len;
	int64_t i;
	double d;
	int rc = word(r, buf, &len);

	if (rc < 0 || !f)
		return rc;
	if (f->type == PROTOBUF_C_TYPE_BYTES ||
	    f->type == PROTOBUF_C_TYPE_MESSAGE)
		return wrong(r, "a number where there is none");
	if (strcmp(buf, "true") == 0 || strcmp(buf, "false") == 0)
		return protoform_number(f, false, 0, buf[0] == 't', out, r->e);
	if (r->form->number(buf, len, &i))
		return protoform_number(f, false, 0, i, out, r->e);
	errno = 0;
	i = strtoll(buf, &end, 0);
	if (!errno && *end == '\0')
		return protoform_number(f, false, 0, i, out, r->e);
	d = strtod(buf, &end);
	if (*end == 'f')
		end++;
	return *end == '\0' ? protoform_number(f, true, d, 0, out, r->e)
			    : wrong(r, "no number");
}

static int text_value(struct reader *r, const ProtobufCFieldDescriptor *f,
		      struct text *out)
{
	struct text s = {0};
	int rc = quoted(r, &s);

	if (rc == 0 && f && f->type != PROTOBUF_C_TYPE_BYTES)
		rc = wrong(r, "a text where a number belongs");
	if (rc == 0 && f)
		protoform_bytes(f, s.p ? s.p : "", s.len, out);
	text_free(&s);
	return rc < 0 ? rc : protoform_check(out, r->e);
}

static int child(struct reader *r, const ProtobufCFieldDescriptor *f, int depth,
		 struct text *out)
{
	char end = take(r, '{') ? '}' : take(r, '<') ? '>' : '\0';
	bool is_known = f && f->type == PROTOBUF_C_TYPE_MESSAGE;
	struct text inner = {0};
	int rc;

	if (!end)
		return wrong(r, "no {");
	if (f && !is_known)
		return wrong(r, "a message where there is none");
	rc = message(r, f ? f->descriptor : NULL, end, depth + 1, &inner);
	if (rc == 0)
		rc = protoform_check(&inner, r->e);
	if (rc == 0 && f)
		protoform_bytes(f, inner.p ? inner.p : "", inner.len, out);
	text_free(&inner);
	return rc < 0 ? rc : protoform_check(out, r->e);
}

static int value(struct reader *r, const ProtobufCFieldDescriptor *f, int depth,
		 struct text *out)
{
	char c = peek(r);

	if (c == '{' || c == '<')
		return child(r, f, depth, out);
	if (c == '"' || c == '\'')
		return text_value(r, f, out);
	return number(r, f, out);
}

static int field(struct reader *r, const ProtobufCMessageDescriptor *d,
		 int depth, struct text *out)
{
	const ProtobufCFieldDescriptor *f;
	char name[WORD_MAX];
	size_t len;
	int rc = word(r, name, &len);

	if (rc < 0)
		return rc;
	f = find_field(d, name);
	if (!take(r, ':'))
		return child(r, f, depth, out);
	if (!take(r, '['))
		return value(r, f, depth, out);
	while (rc == 0 && peek(r) && *r->p != ']')
		rc = value(r, f, depth, out);
	return rc == 0 && !take(r, ']') ? wrong(r, "no ]") : rc;
}

/* Up to `end`; NUL: up to the end of the text. */
static int message(struct reader *r, const ProtobufCMessageDescriptor *d,
		   char end, int depth, struct text *out)
{
	int rc = 0;

	if (depth > PROTOBUF_DEPTH_MAX)
		return wrong(r, "messages nested too deep");
	while (rc == 0 && peek(r) && *r->p != end)
		rc = field(r, d, depth, out);
	if (rc == 0 && end && !take(r, end))
		return wrong(r, "a message without an end");
	return rc == 0 && !end && r->p != r->end ? wrong(r, "a NUL") : rc;
}

int protoform_text(const struct protoform *f,
		   const ProtobufCMessageDescriptor *d, const char *p,
		   size_t len, struct text *out, struct err *e)
{
	struct reader r = {f, p, p + len, 1, e};
	int rc = message(&r, d, '\0', 0, out);

	return rc < 0 ? rc : protoform_check(out, e);
}
