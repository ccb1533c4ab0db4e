/* SPDX-License-Identifier: MIT */
/*
 * cfg - Darknet's configuration: lines "[type]" and "key=value".  Blanks mean
 * nothing anywhere; '#' and ';' begin a comment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/darknet/darknet.h"

#define SECTIONS_MAX 10000u
#define OPTIONS_MAX 256u

struct text_lines {
	const char *p, *end;
	unsigned number;
};

/* The next line that says something, without its blanks, in the arena. */
static int next_line(struct arena *a, struct text_lines *t, char **out,
		     struct err *e)
{
	for (; t->p < t->end; t->number++) {
		const char *end = memchr(t->p, '\n', (size_t)(t->end - t->p));
		const char *p = t->p;
		size_t n = 0;

		end = end ? end : t->end;
		t->p = end < t->end ? end + 1 : end;
		*out = arena_alloc(a, (size_t)(end - p) + 1);
		if (!*out)
			return err_nomem(e, (size_t)(end - p));
		for (; p < end; p++)
			if (!strchr(" \t\r", *p) || *p == '\0')
				(*out)[n++] = *p;
		if (n > 0 && (*out)[0] != '#' && (*out)[0] != ';')
			return 1;
	}
	return 0;
}

static int add_section(struct arena *a, struct darknet_cfg *cfg, char *line,
		       unsigned number, struct err *e)
{
	size_t len = strlen(line);
	struct darknet_section *s;

	if (line[len - 1] != ']' || len < 3)
		return err_set(e, EINVAL, "line %u: no section", number);
	if (cfg->n == SECTIONS_MAX)
		return err_set(e, EFBIG, "more than %u layers", SECTIONS_MAX);
	line[len - 1] = '\0';
	s = &cfg->sections[cfg->n++];
	s->type = line + 1;
	s->options = arena_array(a, OPTIONS_MAX, sizeof(*s->options));
	return s->options ? 0 : err_nomem(e, OPTIONS_MAX);
}

static int add_option(struct darknet_cfg *cfg, char *line, unsigned number,
		      struct err *e)
{
	struct darknet_section *s;
	char *value = strchr(line, '=');

	if (cfg->n == 0 || !value)
		return err_set(e, EINVAL, "line %u: no section and no option",
			       number);
	s = &cfg->sections[cfg->n - 1];
	if (s->noptions == OPTIONS_MAX)
		return err_set(e, EFBIG, "line %u: more than %u options",
			       number, OPTIONS_MAX);
	*value = '\0';
	s->options[s->noptions].key = line;
	s->options[s->noptions++].value = value + 1;
	return 0;
}

static uint32_t count_sections(const char *text, size_t len)
{
	uint32_t n = 0;

	for (size_t i = 0; i < len && n < SECTIONS_MAX; i++)
		n += text[i] == '[';
	return n;
}

int darknet_parse(struct arena *a, const char *text, size_t len,
		  struct darknet_cfg *out, struct err *e)
{
	struct text_lines t = {text, text + len, 1};
	struct darknet_cfg cfg = {.n = 0};
	char *line = NULL;
	int rc = 1;

	cfg.sections = arena_array(a, count_sections(text, len) + 1u,
				   sizeof(*cfg.sections));
	if (!cfg.sections)
		return err_nomem(e, len);
	while (rc > 0) {
		rc = next_line(a, &t, &line, e);
		if (rc <= 0)
			break;
		rc = line[0] == '[' ? add_section(a, &cfg, line, t.number, e)
				    : add_option(&cfg, line, t.number, e);
		rc = rc < 0 ? rc : 1;
	}
	if (rc == 0 && cfg.n < 2)
		rc = err_set(e, EINVAL, "no layers");
	if (rc == 0)
		*out = cfg;
	return rc;
}

/* ---- options ---- */

const char *darknet_text(const struct darknet_section *s, const char *key)
{
	for (uint32_t i = 0; i < s->noptions; i++)
		if (strcmp(s->options[i].key, key) == 0)
			return s->options[i].value;
	return NULL;
}

int64_t darknet_int(const struct darknet_section *s, const char *key,
		    int64_t def)
{
	const char *value = darknet_text(s, key);
	int64_t v = value ? strtoll(value, NULL, 10) : def;

	return v > DARKNET_INT_MAX    ? DARKNET_INT_MAX
	       : v < -DARKNET_INT_MAX ? -DARKNET_INT_MAX
				      : v;
}

double darknet_real(const struct darknet_section *s, const char *key,
		    double def)
{
	const char *value = darknet_text(s, key);

	return value ? strtod(value, NULL) : def;
}
