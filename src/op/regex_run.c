/* SPDX-License-Identifier: MIT */
/* regex_run - a program over a text, all alternatives at once. */
#include <string.h>

#include "modelfs/utf8.h"
#include "op/regex.h"
#include "op/regex_program.h"

uint32_t regex_char(const uint8_t *p, const uint8_t *end, size_t *len)
{
	size_t n = utf8_length(p, (size_t)(end - p));

	*len = n ? n : 1;
	switch (n) {
	case 2:
		return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
	case 3:
		return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 |
		       (p[2] & 0x3fu);
	case 4:
		return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 |
		       (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
	default:
		return p[0];
	}
}

static bool has(const struct threads *t, uint32_t pc)
{
	return t->where[pc] < t->n && t->list[t->where[pc]] == pc;
}

/* ASCII, and the letters of Latin-1, Greek and Cyrillic in pairs. */
static uint32_t other_case(uint32_t c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 0xe0 && c <= 0xfe && c != 0xf7) ||
	    (c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) ||
	    (c >= 0x430 && c <= 0x44f))
		return c - 32;
	if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ||
	    (c >= 0x391 && c <= 0x3a9 && c != 0x3a2) ||
	    (c >= 0x410 && c <= 0x42f))
		return c + 32;
	if (c >= 0x400 && c <= 0x40f)
		return c + 80;
	return c >= 0x450 && c <= 0x45f ? c - 80 : c;
}

static bool in_ranges(const struct regex *r, const struct instr *x, uint32_t c)
{
	for (int32_t i = x->a; i < x->a + x->b; i++)
		if (c >= r->ranges[i].lo && c <= r->ranges[i].hi)
			return true;
	return false;
}

static bool fits(const struct regex *r, const struct instr *x, uint32_t c)
{
	bool in = in_ranges(r, x, c) ||
		  (x->folded && in_ranges(r, x, other_case(c)));

	return in != x->negated;
}

static bool is_word(const char *text, size_t len, size_t at)
{
	uint8_t c = at < len ? (uint8_t)text[at] : 0;

	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || c == '_';
}

static bool holds(enum assertion what, const char *text, size_t len, size_t at)
{
	bool before = at > 0 && is_word(text, len, at - 1);
	bool edge = before != is_word(text, len, at);

	switch (what) {
	case AT_BEGIN:
		return at == 0;
	case AT_END:
		return at == len;
	case AT_LINE_BEGIN:
		return at == 0 || text[at - 1] == '\n';
	case AT_LINE_END:
		return at == len || text[at] == '\n';
	case AT_WORD_EDGE:
		return edge;
	default:
		return !edge;
	}
}

/* Adds an instruction, and all that it leads to without a character. */
static void follow(struct regex *r, struct threads *t, uint32_t pc,
		   const char *text, size_t len, size_t at)
{
	uint32_t depth = 0;

	r->stack[depth++] = pc;
	while (depth > 0) {
		const struct instr *x;

		pc = r->stack[--depth];
		if (has(t, pc))
			continue;
		t->where[pc] = t->n;
		t->list[t->n++] = pc;
		x = &r->prog[pc];
		if (x->code == CODE_JUMP) {
			r->stack[depth++] = pc + (uint32_t)x->a;
		} else if (x->code == CODE_SPLIT) {
			r->stack[depth++] = pc + (uint32_t)x->b;
			r->stack[depth++] = pc + (uint32_t)x->a;
		} else if (x->code == CODE_ASSERT &&
			   holds((enum assertion)x->a, text, len, at)) {
			r->stack[depth++] = pc + 1;
		}
	}
}

bool regex_full_match(struct regex *r, const char *text, size_t len,
		      const atomic_bool *stop)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + len;
	struct threads *now = &r->now, *next = &r->next;

	now->n = 0;
	follow(r, now, 0, text, len, 0);
	for (size_t at = 0, n; at < len && now->n > 0; at += n) {
		uint32_t c = regex_char(p + at, end, &n);
		struct threads *done = now;

		if (stop && atomic_load_explicit(stop, memory_order_relaxed))
			return false;
		next->n = 0;
		for (uint32_t i = 0; i < now->n; i++) {
			const struct instr *x = &r->prog[now->list[i]];

			if (x->code == CODE_CLASS && fits(r, x, c))
				follow(r, next, now->list[i] + 1, text, len,
				       at + n);
		}
		now = next;
		next = done;
	}
	return has(now, r->n - 1);
}
