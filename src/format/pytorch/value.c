/* SPDX-License-Identifier: MIT */
/* value - keys and plain values of a pickle as one line of text. */
#include <stdio.h>
#include <string.h>

#include "modelfs/text.h"

#include "format/pytorch/pytorch.h"

/* A longer sequence is a folder of its own. */
#define SEQUENCE_MAX 64
/* What is shared many times is not written many times. */
#define SEQUENCE_BYTES_MAX (1u << 20)
/* Integers of more bytes are told by their length. */
#define BIGINT_MAX 256

static bool is_scalar(const struct pickle_node *n)
{
	return n->kind <= PICKLE_BYTES || n->kind == PICKLE_GLOBAL;
}

static bool is_sequence(const struct pickle_node *n)
{
	return n->kind == PICKLE_TUPLE || n->kind == PICKLE_LIST ||
	       n->kind == PICKLE_SET;
}

/* Calls that make a value: torch.Size((2, 3)), torch.device("cpu"). */
static const struct pickle_node *value_args(const struct pickle_node *n)
{
	if (pickle_is_call(n, "torch", "Size"))
		return pickle_arg(n, 0);
	if (pickle_is_call(n, "torch", "device") ||
	    pickle_is_call(n, "torch.serialization", "_get_layout"))
		return n->args;
	return NULL;
}

/*
 * A call with nothing but scalars, and nothing put into what it made: an Enum,
 * a Path, a date, or what wants to run a command; text in any case.
 */
static bool is_simple_call(const struct pickle_node *n)
{
	if (n->kind != PICKLE_OBJECT || n->state || n->nitems > 0 ||
	    n->callable->kind != PICKLE_GLOBAL ||
	    n->args->kind != PICKLE_TUPLE || n->args->nitems > SEQUENCE_MAX ||
	    torch_is_tensor(n) || torch_is_array(n))
		return false;
	for (size_t i = 0; i < n->args->nitems; i++)
		if (!is_scalar(n->args->items[i]))
			return false;
	return true;
}

static bool is_item(const struct pickle_node *n)
{
	return is_scalar(n) || is_simple_call(n);
}

bool torch_is_plain(const struct pickle_node *n)
{
	const struct pickle_node *args = value_args(n);

	if (args)
		n = args;
	if (is_item(n))
		return true;
	if (n->kind == PICKLE_DICT)
		return n->nitems == 0 && !n->state;
	if (!is_sequence(n) || n->nitems > SEQUENCE_MAX)
		return false;
	for (size_t i = 0; i < n->nitems; i++)
		if (!is_item(n->items[i]))
			return false;
	return true;
}

static void format_text(const struct pickle_text *s, struct text *out)
{
	for (size_t i = 0; s->p && i < s->len; i++) {
		unsigned char c = (unsigned char)s->p[i];

		if (c < 0x20 || c == 0x7f)
			text_printf(out, "\\x%02x", c);
		else
			text_add_bytes(out, s->p + i, 1);
	}
}

static void format_bytes(const struct pickle_text *s, struct text *out)
{
	for (size_t i = 0; s->p && i < s->len; i++)
		text_printf(out, "%02x", (unsigned char)s->p[i]);
}

/* Divides a number of len bytes, the lowest first; returns the remainder. */
static uint32_t divide(uint8_t *p, size_t len, uint32_t by)
{
	uint64_t rest = 0;

	for (size_t i = len; i-- > 0;) {
		rest = rest << 8 | p[i];
		p[i] = (uint8_t)(rest / by);
		rest %= by;
	}
	return (uint32_t)rest;
}

static void format_bigint(const struct pickle_text *s, struct text *out)
{
	uint8_t number[BIGINT_MAX];
	uint32_t groups[BIGINT_MAX / 3]; /* of nine digits */
	size_t len = s->len, n = 0;
	bool is_negative;

	if (len == 0 || len > BIGINT_MAX) {
		text_printf(out, "integer of %zu bytes", len);
		return;
	}
	memcpy(number, s->p, len);
	is_negative = number[len - 1] & 0x80;
	for (size_t i = 0, carry = 1; is_negative && i < len; i++) {
		carry += (uint8_t)~number[i];
		number[i] = (uint8_t)carry;
		carry >>= 8;
	}
	while (len > 0) {
		groups[n++] = divide(number, len, 1000000000);
		while (len > 0 && number[len - 1] == 0)
			len--;
	}
	text_printf(out, "%s%u", is_negative ? "-" : "", groups[--n]);
	while (n > 0)
		text_printf(out, "%09u", groups[--n]);
}

static void format_scalar(const struct pickle_node *n, struct text *out)
{
	switch (n->kind) {
	case PICKLE_NONE:
		text_add(out, "None");
		break;
	case PICKLE_BOOL:
		text_add(out, n->b ? "True" : "False");
		break;
	case PICKLE_INT:
		text_printf(out, "%lld", (long long)n->i);
		break;
	case PICKLE_BIGINT:
		format_bigint(&n->s, out);
		break;
	case PICKLE_FLOAT:
		text_printf(out, "%.17g", n->f);
		break;
	case PICKLE_STRING:
		format_text(&n->s, out);
		break;
	case PICKLE_BYTES:
		format_bytes(&n->s, out);
		break;
	case PICKLE_GLOBAL:
		format_text(&n->module, out);
		text_add(out, ".");
		format_text(&n->name, out);
		break;
	default:
		text_add(out, "...");
		break;
	}
}

static void format_list(const struct pickle_node *list, const char *between,
			struct text *out)
{
	for (size_t i = 0; i < list->nitems && out->len < SEQUENCE_BYTES_MAX;
	     i++) {
		text_add(out, i ? between : "");
		format_scalar(list->items[i], out);
	}
}

/* PosixPath("/", "a", "b") */
static void format_path(const struct pickle_node *parts, struct text *out)
{
	bool is_absolute = pickle_is_string(pickle_item(parts, 0), "/");

	for (size_t i = 0; i < parts->nitems; i++) {
		text_add(out, i > (is_absolute ? 1 : 0) ? "/" : "");
		format_scalar(parts->items[i], out);
	}
}

/* How datetime keeps a date, and a time after it; false: something else. */
static bool format_date(const struct pickle_node *n, struct text *out)
{
	const struct pickle_node *state = pickle_arg(n, 0);
	const uint8_t *p;

	if (!state || state->kind > PICKLE_BYTES ||
	    state->kind < PICKLE_STRING || !state->s.p)
		return false;
	p = (const uint8_t *)state->s.p;
	if (pickle_is_call(n, "datetime", "date") && state->s.len == 4) {
		text_printf(out, "%04u-%02u-%02u", p[0] << 8 | p[1], p[2],
			    p[3]);
		return true;
	}
	if (!pickle_is_call(n, "datetime", "datetime") || state->s.len != 10)
		return false;
	text_printf(out, "%04u-%02u-%02uT%02u:%02u:%02u.%06u", p[0] << 8 | p[1],
		    p[2] & 0x7f, p[3], p[4], p[5], p[6],
		    p[7] << 16 | p[8] << 8 | p[9]);
	return true;
}

/* getattr(Color, "RED"), by which an Enum is written */
static bool is_member(const struct pickle_node *n)
{
	const struct pickle_node *name = pickle_arg(n, 1);

	return (pickle_is_call(n, "builtins", "getattr") ||
		pickle_is_call(n, "__builtin__", "getattr")) &&
	       name && name->kind == PICKLE_STRING && n->args->nitems == 2;
}

static bool is_path(const struct pickle_node *f)
{
	static const char head[] = "pathlib", tail[] = "Path";

	return f->module.len >= sizeof(head) - 1 &&
	       memcmp(f->module.p, head, sizeof(head) - 1) == 0 &&
	       f->name.len >= sizeof(tail) - 1 &&
	       memcmp(f->name.p + f->name.len - (sizeof(tail) - 1), tail,
		      sizeof(tail) - 1) == 0;
}

static void format_item(const struct pickle_node *n, struct text *out)
{
	if (!is_simple_call(n)) {
		format_scalar(n, out);
	} else if (is_member(n)) {
		format_list(n->args, ".", out);
	} else if (is_path(n->callable)) {
		format_path(n->args, out);
	} else if (!format_date(n, out)) {
		format_scalar(n->callable, out);
		text_add(out, "(");
		format_list(n->args, ",", out);
		text_add(out, ")");
	}
}

void torch_format(const struct pickle_node *n, struct text *out)
{
	const struct pickle_node *args = value_args(n);

	if (args)
		n = args;
	if (!is_sequence(n) && n->kind != PICKLE_DICT) {
		format_item(n, out);
		return;
	}
	for (size_t i = 0; i < n->nitems && out->len < SEQUENCE_BYTES_MAX;
	     i++) {
		text_add(out, i ? "," : "");
		format_item(n->items[i], out);
	}
}

/* Names keep their bytes; the file system encodes them. */
void torch_format_key(const struct pickle_node *key, struct text *out)
{
	if (key->kind == PICKLE_STRING && key->s.p)
		text_add_bytes(out, key->s.p, key->s.len);
	else if (torch_is_plain(key))
		torch_format(key, out);
	else
		text_add(out, "object");
}
