/* SPDX-License-Identifier: MIT */
/* value - keys and plain values of a pickle as one line of text. */
#include <stdio.h>
#include <string.h>

#include "modelfs/text.h"

#include "format/pytorch/pytorch.h"

/* A longer sequence is a folder of its own. */
#define SEQUENCE_MAX 64

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

bool torch_is_plain(const struct pickle_node *n)
{
	const struct pickle_node *args = value_args(n);

	if (args)
		n = args;
	if (is_scalar(n))
		return true;
	if (n->kind == PICKLE_DICT)
		return n->nitems == 0 && !n->state;
	if (!is_sequence(n) || n->nitems > SEQUENCE_MAX)
		return false;
	for (size_t i = 0; i < n->nitems; i++)
		if (!is_scalar(n->items[i]))
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

static void format_bigint(const struct pickle_text *s, struct text *out)
{
	text_add(out, "0x");
	for (size_t i = s->len; i-- > 0;)
		text_printf(out, "%02x", (unsigned char)s->p[i]);
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

void torch_format(const struct pickle_node *n, struct text *out)
{
	const struct pickle_node *args = value_args(n);

	if (args)
		n = args;
	if (!is_sequence(n) && n->kind != PICKLE_DICT) {
		format_scalar(n, out);
		return;
	}
	for (size_t i = 0; i < n->nitems; i++) {
		text_add(out, i ? "," : "");
		format_scalar(n->items[i], out);
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
