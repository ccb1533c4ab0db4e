/* SPDX-License-Identifier: MIT */
/*
 * regex - see regex.h.  A pattern becomes a program of a few instructions,
 * which is run for all alternatives at once, a character at a time.  Jumps are
 * relative, so a part of the program can be moved and repeated.
 */
#include "op/regex.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/array.h"
#include "op/regex_program.h"

#define PROGRAM_MAX 200000u
#define DEPTH_MAX 250
#define REPEAT_MAX 1000 /* as RE2 has it */
#define LAST_CHAR 0x10ffffu

struct flags {
	bool fold, multi_line, dot_all;
};

struct parser {
	struct regex *r;
	const uint8_t *p, *end;
	struct flags flags;
	bool quoted;	 /* the last atom was \Q…\E with something in it */
	const char *why; /* NULL: all is well */
};

static bool fail(struct parser *s, const char *why)
{
	if (!s->why)
		s->why = why;
	return false;
}

/* ---- the program ---- */

/* Room at `at` for one more instruction. */
static bool insert(struct parser *s, uint32_t at, struct instr x)
{
	struct regex *r = s->r;

	if (r->n >= PROGRAM_MAX)
		return fail(s, "the pattern is too large");
	if (array_grow(&r->prog, &r->cap, r->n, sizeof(*r->prog), NULL) < 0)
		return fail(s, "out of memory");
	memmove(r->prog + at + 1, r->prog + at, (r->n - at) * sizeof(x));
	r->prog[at] = x;
	r->n++;
	return true;
}

static bool emit(struct parser *s, struct instr x)
{
	return insert(s, s->r->n, x);
}

/* Instructions [from, to) once more, at the end. */
static bool repeat_block(struct parser *s, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		if (!emit(s, s->r->prog[i]))
			return false;
	return true;
}

static bool add_range(struct parser *s, uint32_t lo, uint32_t hi)
{
	struct regex *r = s->r;

	if (r->nranges >= PROGRAM_MAX)
		return fail(s, "the pattern is too large");
	if (array_grow(&r->ranges, &r->cap_ranges, r->nranges,
		       sizeof(*r->ranges), NULL) < 0)
		return fail(s, "out of memory");
	r->ranges[r->nranges++] = (struct range){lo, hi};
	return true;
}

/* ---- characters ---- */

static uint32_t take(struct parser *s)
{
	size_t len;
	uint32_t c = regex_char(s->p, s->end, &len);

	s->p += len;
	return c;
}

static bool looking_at(const struct parser *s, const char *text)
{
	size_t n = strlen(text);

	return (size_t)(s->end - s->p) >= n && memcmp(s->p, text, n) == 0;
}

static bool accept(struct parser *s, const char *text)
{
	if (!looking_at(s, text))
		return false;
	s->p += strlen(text);
	return true;
}

static int digit_of(uint32_t c, int base)
{
	int v = c >= '0' && c <= '9'   ? (int)(c - '0')
		: c >= 'a' && c <= 'f' ? (int)(c - 'a') + 10
		: c >= 'A' && c <= 'F' ? (int)(c - 'A') + 10
				       : base;

	return v < base ? v : -1;
}

/* \x41 and \x{10ffff}, behind the x. */
static bool parse_hex(struct parser *s, uint32_t *out)
{
	bool braced = accept(s, "{");
	int most = braced ? 8 : 2, n = 0;

	*out = 0;
	while (n < most && s->p < s->end && digit_of(*s->p, 16) >= 0) {
		*out = *out * 16 + (uint32_t)digit_of(*s->p++, 16);
		n++;
		if (*out > LAST_CHAR)
			return fail(s, "a character beyond Unicode");
	}
	if (n == 0 || (!braced && n != 2) || (braced && !accept(s, "}")))
		return fail(s, "a bad \\x");
	return true;
}

/* A character behind a backslash that is no class and no assertion. */
static bool parse_escape(struct parser *s, uint32_t *out)
{
	static const char names[] = "aftnrv", values[] = "\a\f\t\n\r\v";
	uint32_t c = take(s);
	const char *at = c && c < 0x80 ? strchr(names, (int)c) : NULL;

	if (at) {
		*out = (uint8_t)values[at - names];
		return true;
	}
	if (c == 'x')
		return parse_hex(s, out);
	if (c >= '0' && c <= '7') {
		/* A lone digit other than 0 would be a back-reference. */
		if (c != '0' && (s->p == s->end || digit_of(*s->p, 8) < 0))
			return fail(s, "back-references are not known");
		*out = c - '0';
		for (int i = 0;
		     i < 2 && s->p < s->end && digit_of(*s->p, 8) >= 0; i++)
			*out = *out * 8 + (uint32_t)digit_of(*s->p++, 8);
		return true;
	}
	if (c < 0x80 && (digit_of(c, 10) >= 0 || (c >= 'a' && c <= 'z') ||
			 (c >= 'A' && c <= 'Z')))
		return fail(s, "an unknown escape");
	*out = c;
	return true;
}

/* ---- classes ---- */

struct named {
	const char *name;
	const char *ranges; /* pairs */
};

static const struct named posix[] = {
	{"alnum", "09AZaz"},
	{"alpha", "AZaz"},
	{"ascii", "\x01\x7f"},
	{"blank", "\t\t  "},
	{"cntrl", "\x01\x1f\x7f\x7f"},
	{"digit", "09"},
	{"graph", "!~"},
	{"lower", "az"},
	{"print", " ~"},
	{"punct", "!/:@[`{~"},
	{"space", "\t\r  "},
	{"upper", "AZ"},
	{"word", "09AZaz__"},
	{"xdigit", "09AFaf"},
};

static bool add_pairs(struct parser *s, const char *pairs, bool negated)
{
	size_t n = strlen(pairs) / 2;
	uint32_t next = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t lo = (uint8_t)pairs[2 * i];
		uint32_t hi = (uint8_t)pairs[2 * i + 1];

		if (!negated && !add_range(s, lo, hi))
			return false;
		if (negated && lo > next && !add_range(s, next, lo - 1))
			return false;
		next = hi + 1;
	}
	return !negated || add_range(s, next, LAST_CHAR);
}

/* \d and its like.  *found: it was one. */
static bool parse_perl_class(struct parser *s, bool *found)
{
	static const struct {
		char letter;
		const char *pairs;
	} list[] = {{'d', "09"}, {'s', "\t\n\f\r  "}, {'w', "09AZ__az"}};

	*found = false;
	if (s->end - s->p < 2 || s->p[0] != '\\')
		return true;
	for (size_t i = 0; i < 3; i++) {
		bool upper = s->p[1] == list[i].letter - 32;

		if (s->p[1] != list[i].letter && !upper)
			continue;
		s->p += 2;
		*found = true;
		return add_pairs(s, list[i].pairs, upper);
	}
	if (s->p[1] == 'p' || s->p[1] == 'P')
		return fail(s, "Unicode classes are not known");
	return true;
}

/* [:alpha:] and [:^alpha:] within brackets. */
static bool parse_posix_class(struct parser *s, bool *found)
{
	const uint8_t *p = s->p;
	bool negated;

	*found = false;
	if (!accept(s, "[:"))
		return true;
	negated = accept(s, "^");
	for (size_t i = 0; i < sizeof(posix) / sizeof(posix[0]); i++) {
		const uint8_t *back = s->p;

		if (accept(s, posix[i].name) && accept(s, ":]")) {
			*found = true;
			return add_pairs(s, posix[i].ranges, negated);
		}
		s->p = back;
	}
	s->p = p;
	return fail(s, "an unknown class");
}

static bool parse_class_char(struct parser *s, uint32_t *out)
{
	if (s->p == s->end)
		return fail(s, "a missing ]");
	if (!accept(s, "\\")) {
		*out = take(s);
		return true;
	}
	return s->p == s->end ? fail(s, "a lone backslash")
			      : parse_escape(s, out);
}

static bool parse_class_part(struct parser *s)
{
	uint32_t lo, hi;
	bool found;

	if (!parse_perl_class(s, &found))
		return false;
	if (!found && !parse_posix_class(s, &found))
		return false;
	if (found)
		return true;
	if (!parse_class_char(s, &lo))
		return false;
	hi = lo;
	if (s->end - s->p > 1 && s->p[0] == '-' && s->p[1] != ']') {
		s->p++;
		if (!parse_class_char(s, &hi))
			return false;
		if (hi < lo)
			return fail(s, "a range that goes backwards");
	}
	return add_range(s, lo, hi);
}

/* Behind the opening bracket. */
static bool parse_class(struct parser *s)
{
	struct instr x = {.code = CODE_CLASS, .folded = s->flags.fold};
	bool first = true;

	x.a = (int32_t)s->r->nranges;
	x.negated = accept(s, "^");
	while (first || !looking_at(s, "]")) {
		if (s->p == s->end)
			return fail(s, "a missing ]");
		if (!parse_class_part(s))
			return false;
		first = false;
	}
	s->p++;
	x.b = (int32_t)s->r->nranges - x.a;
	return emit(s, x);
}

static bool emit_char(struct parser *s, uint32_t lo, uint32_t hi, bool negated)
{
	struct instr x = {.code = CODE_CLASS,
			  .negated = negated,
			  .folded = s->flags.fold,
			  .a = (int32_t)s->r->nranges,
			  .b = 1};

	return add_range(s, lo, hi) && emit(s, x);
}

/* ---- the grammar ---- */

static bool emit_assert(struct parser *s, enum assertion what)
{
	return emit(s, (struct instr){.code = CODE_ASSERT, .a = (int)what});
}

/* \Qtext\E, behind the Q. */
static bool parse_quoted(struct parser *s)
{
	while (s->p < s->end && !accept(s, "\\E")) {
		uint32_t c = take(s);

		if (!emit_char(s, c, c, false))
			return false;
		s->quoted = true;
	}
	return true;
}

static bool parse_backslash(struct parser *s)
{
	struct instr x = {.code = CODE_CLASS, .a = (int32_t)s->r->nranges};
	uint32_t c;
	bool found;

	if (!parse_perl_class(s, &found))
		return false;
	if (found) {
		x.b = (int32_t)s->r->nranges - x.a;
		return emit(s, x);
	}
	s->p++;
	if (s->p == s->end)
		return fail(s, "a lone backslash");
	if (accept(s, "b"))
		return emit_assert(s, AT_WORD_EDGE);
	if (accept(s, "B"))
		return emit_assert(s, AT_NO_WORD_EDGE);
	if (accept(s, "A"))
		return emit_assert(s, AT_BEGIN);
	if (accept(s, "z"))
		return emit_assert(s, AT_END);
	if (accept(s, "Q"))
		return parse_quoted(s);
	return parse_escape(s, &c) && emit_char(s, c, c, false);
}

/* (?i) and its like, behind the question mark; up to ) or :. */
static bool parse_flags(struct parser *s, struct flags *f)
{
	bool on = true;

	while (s->p < s->end && *s->p != ')' && *s->p != ':') {
		uint32_t c = take(s);

		if (c == 'i')
			f->fold = on;
		else if (c == 'm')
			f->multi_line = on;
		else if (c == 's')
			f->dot_all = on;
		else if (c == '-' && on)
			on = false;
		else if (c != 'U')
			return fail(s, "an unknown flag");
	}
	return s->p < s->end || fail(s, "a missing )");
}

static bool parse_name(struct parser *s)
{
	while (s->p < s->end && *s->p != '>')
		s->p++;
	return accept(s, ">") || fail(s, "a bad name of a group");
}

static bool parse_alternatives(struct parser *s, int depth);

/* Behind the opening parenthesis. */
static bool parse_group(struct parser *s, int depth)
{
	struct flags outer = s->flags;

	if (accept(s, "?P<") || accept(s, "?<")) {
		if (!parse_name(s))
			return false;
	} else if (accept(s, "?")) {
		if (!parse_flags(s, &s->flags))
			return false;
		if (accept(s, ")")) /* for the rest of the group around */
			return true;
		s->p++;
	}
	if (!parse_alternatives(s, depth + 1))
		return false;
	s->flags = outer;
	s->quoted = false;
	return accept(s, ")") || fail(s, "a missing )");
}

static bool parse_atom(struct parser *s, int depth)
{
	bool many = s->flags.multi_line;
	uint32_t c;

	if (accept(s, "("))
		return parse_group(s, depth);
	if (accept(s, "["))
		return parse_class(s);
	if (looking_at(s, "\\"))
		return parse_backslash(s);
	if (accept(s, "^"))
		return emit_assert(s, many ? AT_LINE_BEGIN : AT_BEGIN);
	if (accept(s, "$"))
		return emit_assert(s, many ? AT_LINE_END : AT_END);
	if (accept(s, "."))
		return s->flags.dot_all ? emit_char(s, 0, LAST_CHAR, false)
					: emit_char(s, '\n', '\n', true);
	if (looking_at(s, "*") || looking_at(s, "+") || looking_at(s, "?"))
		return fail(s, "nothing to repeat");
	c = take(s);
	return emit_char(s, c, c, false);
}

/* {n}, {n,} or {n,m}; else the brace is a brace.  max -1: any number. */
static bool parse_counts(struct parser *s, int *min, int *max)
{
	const uint8_t *p = s->p + 1;
	int v[2] = {-1, -1}, k = 0;

	for (; p < s->end && *p != '}'; p++) {
		if (*p == ',' && k == 0) {
			k = 1;
			continue;
		}
		if (digit_of(*p, 10) < 0 || v[k] > REPEAT_MAX)
			return false;
		v[k] = (v[k] < 0 ? 0 : v[k]) * 10 + digit_of(*p, 10);
	}
	if (p == s->end || v[0] < 0)
		return false;
	*min = v[0];
	*max = k == 0 ? v[0] : v[1];
	s->p = p + 1;
	return true;
}

/* The block from `from` on, once, becomes any number of times. */
static bool make_star(struct parser *s, uint32_t from)
{
	int32_t len = (int32_t)(s->r->n - from);

	return insert(s, from,
		      (struct instr){
			      .code = CODE_SPLIT, .a = 1, .b = len + 2}) &&
	       emit(s, (struct instr){.code = CODE_JUMP, .a = -len - 1});
}

static bool make_plus(struct parser *s, uint32_t from)
{
	int32_t len = (int32_t)(s->r->n - from);

	return emit(s, (struct instr){.code = CODE_SPLIT, .a = -len, .b = 1});
}

static bool make_counted(struct parser *s, uint32_t from, int min, int max)
{
	uint32_t to = s->r->n, len = to - from;

	if (min > REPEAT_MAX || max > REPEAT_MAX || (max >= 0 && max < min))
		return fail(s, "a bad number of repetitions");
	for (int i = 1; i < min; i++)
		if (!repeat_block(s, from, to))
			return false;
	if (max < 0 && min == 0)
		return make_star(s, from);
	if (max < 0)
		return make_plus(s, s->r->n - len);
	if (max == 0) {
		s->r->n = from;
		return true;
	}
	/* Each of the others may be where the rest is skipped. */
	for (int i = min ? min : 1; i <= max - (min > 0); i++) {
		bool is_first = min == 0 && i == 1;
		int32_t rest =
			(int32_t)((uint32_t)(max - i + (min == 0)) * (len + 1));
		struct instr skip = {.code = CODE_SPLIT, .a = 1, .b = rest};

		if (is_first ? !insert(s, from, skip) : !emit(s, skip))
			return false;
		if (is_first) {
			to++;
			continue;
		}
		if (!repeat_block(s, to - len, to))
			return false;
	}
	return true;
}

static bool parse_repeats(struct parser *s, uint32_t from)
{
	int min, max;

	while (s->p < s->end) {
		bool ok;

		if (accept(s, "*"))
			ok = make_star(s, from);
		else if (accept(s, "+"))
			ok = make_plus(s, from);
		else if (accept(s, "?"))
			ok = make_counted(s, from, 0, 1);
		else if (*s->p == '{' && parse_counts(s, &min, &max))
			ok = make_counted(s, from, min, max);
		else
			return true;
		if (!ok)
			return false;
		accept(s, "?"); /* lazy: the same whole texts match */
		if (looking_at(s, "*") || looking_at(s, "+") ||
		    looking_at(s, "?"))
			return fail(s, "a repetition of a repetition");
	}
	return true;
}

static bool parse_sequence(struct parser *s, int depth)
{
	while (s->p < s->end && *s->p != '|' && *s->p != ')') {
		uint32_t from = s->r->n;

		s->quoted = false;
		if (!parse_atom(s, depth))
			return false;
		/* What follows a quotation repeats its last character. */
		if (s->quoted)
			from = s->r->n - 1;
		if (!parse_repeats(s, from))
			return false;
	}
	return true;
}

/* Jumps to the common end are a list, until that is known. */
static bool parse_alternatives(struct parser *s, int depth)
{
	struct regex *r = s->r;
	uint32_t from = r->n;
	int32_t last = -1;

	if (depth > DEPTH_MAX)
		return fail(s, "groups nest too deep");
	for (;;) {
		int32_t len;

		if (!parse_sequence(s, depth))
			return false;
		if (!accept(s, "|"))
			break;
		len = (int32_t)(r->n - from);
		if (!insert(s, from,
			    (struct instr){.code = CODE_SPLIT,
					   .a = 1,
					   .b = len + 2}) ||
		    !emit(s, (struct instr){.code = CODE_JUMP, .a = last}))
			return false;
		last = (int32_t)r->n - 1;
		from = r->n;
	}
	while (last >= 0) {
		int32_t before = r->prog[last].a;

		r->prog[last].a = (int32_t)r->n - last;
		last = before;
	}
	return true;
}

/* ---- life ---- */

void regex_free(struct regex *r)
{
	if (!r)
		return;
	free(r->prog);
	free(r->ranges);
	free(r->now.list);
	free(r->next.list);
	free(r->stack);
	free(r);
}

static bool make_threads(struct threads *t, uint32_t n)
{
	t->list = calloc(2 * (size_t)n, sizeof(*t->list));
	t->where = t->list ? t->list + n : NULL;
	return t->list != NULL;
}

struct regex *regex_new(const char *pattern, size_t len, const char **why)
{
	struct regex *r = calloc(1, sizeof(*r));
	struct parser s = {.r = r,
			   .p = (const uint8_t *)pattern,
			   .end = (const uint8_t *)pattern + len};
	bool ok = r && parse_alternatives(&s, 0);

	if (ok && s.p < s.end)
		ok = fail(&s, "a ) too many");
	if (ok)
		ok = emit(&s, (struct instr){.code = CODE_MATCH});
	if (ok && make_threads(&r->now, r->n) && make_threads(&r->next, r->n)) {
		/* Every instruction is pushed by two others at most. */
		r->stack = calloc(2 * (size_t)r->n + 2, sizeof(*r->stack));
		if (r->stack)
			return r;
	}
	regex_free(r);
	*why = s.why ? s.why : "out of memory";
	return NULL;
}
