/* SPDX-License-Identifier: MIT */
/* regex_program - what regex.c makes of a pattern and regex_run.c runs. */
#ifndef OP_REGEX_PROGRAM_H
#define OP_REGEX_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum code {
	CODE_CLASS,  /* a character of ranges [a, a + b), or of none of them */
	CODE_SPLIT,  /* goes on at +a and at +b */
	CODE_JUMP,   /* goes on at +a */
	CODE_ASSERT, /* a: what must hold here */
	CODE_MATCH
};

enum assertion {
	AT_BEGIN,
	AT_END,
	AT_LINE_BEGIN,
	AT_LINE_END,
	AT_WORD_EDGE,
	AT_NO_WORD_EDGE
};

struct instr {
	uint8_t code;
	bool negated, folded;
	int32_t a, b;
};

struct range {
	uint32_t lo, hi;
};

/* A set of instructions, in the order in which they were added. */
struct threads {
	uint32_t *list, *where;
	uint32_t n;
};

struct regex {
	struct instr *prog;
	struct range *ranges;
	uint32_t n, cap, nranges, cap_ranges;
	struct threads now, next;
	uint32_t *stack;
};

/* A character and its bytes; what is no UTF-8 is the byte itself. */
uint32_t regex_char(const uint8_t *p, const uint8_t *end, size_t *len);

#endif
