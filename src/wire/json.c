/* SPDX-License-Identifier: MIT */
/*
 * json - see json.h.
 *
 * jansson recurses once per level of nesting, so the depth is counted first,
 * in one pass that knows only strings and brackets.
 */
#include "wire/json.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/text.h"

struct scan {
	const char *p;
	size_t len;
	size_t pos;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct scan *s)
{
	while (s->pos < s->len && is_space(s->p[s->pos]))
		s->pos++;
}

/* From the opening quote to behind the closing one, or to the end. */
static void skip_string(struct scan *s)
{
	size_t at = s->pos + 1;

	while (at < s->len) {
		const char *from = s->p + at;
		const char *quote = memchr(from, '"', s->len - at);
		size_t n = quote ? (size_t)(quote - from) : s->len - at;
		const char *escape = memchr(from, '\\', n);

		if (!escape) {
			at += n + 1;
			break;
		}
		at += (size_t)(escape - from) + 2;
	}
	s->pos = at < s->len ? at : s->len;
}

static int check_depth(const char *p, size_t len, struct err *e)
{
	struct scan s = {.p = p, .len = len};
	size_t depth = 0;

	while (s.pos < len) {
		char c = p[s.pos];

		if (c == '"') {
			skip_string(&s);
			continue;
		}
		if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && depth > 0)
			depth--;
		if (depth > JSON_DEPTH_MAX)
			return err_set(e, EINVAL,
				       "byte %zu: JSON nested deeper than %d",
				       s.pos, JSON_DEPTH_MAX);
		s.pos++;
	}
	return 0;
}

static bool is_number_char(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' ||
	       c == 'e' || c == 'E';
}

/* Copies one number; an integer too large for 64 bits becomes a real. */
static void copy_number(struct scan *s, struct text *out)
{
	size_t start = s->pos;
	bool is_int = true;

	while (s->pos < s->len && is_number_char(s->p[s->pos])) {
		char c = s->p[s->pos];

		is_int = is_int && c != '.' && c != 'e' && c != 'E';
		s->pos++;
	}
	text_add_bytes(out, s->p + start, s->pos - start);
	if (is_int && s->pos - start > 18)
		text_add(out, ".0");
}

static bool take_word(struct scan *s, const char *word)
{
	size_t len = strlen(word);

	if (s->len - s->pos < len || memcmp(s->p + s->pos, word, len) != 0)
		return false;
	s->pos += len;
	return true;
}

/* Strict JSON from what Python's json.dump writes by default. */
static int from_python(const char *p, size_t len, struct text *out,
		       struct err *e)
{
	struct scan s = {.p = p, .len = len};

	while (s.pos < len) {
		size_t start = s.pos;

		if (p[start] == '"') {
			skip_string(&s);
			text_add_bytes(out, p + start, s.pos - start);
		} else if (take_word(&s, "NaN") || take_word(&s, "Infinity") ||
			   take_word(&s, "-Infinity")) {
			text_add(out, "null");
		} else if (p[start] == '-' ||
			   (p[start] >= '0' && p[start] <= '9')) {
			copy_number(&s, out);
		} else {
			text_add_bytes(out, p + start, 1);
			s.pos++;
		}
	}
	return out->failed ? err_nomem(e, len) : 0;
}

/* jansson numbers lines of what it was given: a piece, in json_each_member. */
static int load(const char *p, size_t len, size_t flags, json_t **out,
		struct err *e)
{
	json_error_t why;
	char quoted[ERR_QUOTED];
	json_t *root = json_loadb(
		p, len, flags | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);

	if (!root)
		return err_set(e, EINVAL, "JSON line %d column %d: %s",
			       why.line, why.column,
			       err_quote(quoted, why.text, strlen(why.text)));
	*out = root;
	return 0;
}

int json_parse(const void *text, size_t len, unsigned flags, struct json **out,
	       struct err *e)
{
	struct text strict = {0};
	json_t *root = NULL;
	int rc = check_depth(text, len, e);

	if (rc < 0)
		return rc;
	if (flags & JSON_PYTHON) {
		rc = from_python(text, len, &strict, e);
		if (rc == 0)
			rc = load(strict.p ? strict.p : "", strict.len,
				  JSON_DECODE_ANY, &root, e);
	} else {
		rc = load(text, len, JSON_DECODE_ANY, &root, e);
	}
	text_free(&strict);
	if (rc == 0)
		*out = (struct json *)root;
	return rc;
}

void json_free(struct json *root)
{
	json_decref((json_t *)root);
}

enum json_kind json_kind(const struct json *v)
{
	if (!v)
		return JSON_KIND_NULL;
	switch (json_typeof((const json_t *)v)) {
	case JSON_OBJECT:
		return JSON_KIND_OBJECT;
	case JSON_ARRAY:
		return JSON_KIND_ARRAY;
	case JSON_STRING:
		return JSON_KIND_STRING;
	case JSON_INTEGER:
		return JSON_KIND_INT;
	case JSON_REAL:
		return JSON_KIND_REAL;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_KIND_BOOL;
	default:
		return JSON_KIND_NULL;
	}
}

const struct json *json_member(const struct json *v, const char *key)
{
	return (const struct json *)json_object_get((const json_t *)v, key);
}

const struct json *json_item(const struct json *v, size_t i)
{
	return (const struct json *)json_array_get((const json_t *)v, i);
}

size_t json_count(const struct json *v)
{
	if (json_kind(v) == JSON_KIND_ARRAY)
		return json_array_size((const json_t *)v);
	return json_object_size((const json_t *)v);
}

bool json_next(const struct json *v, void **it, const char **key,
	       const struct json **member)
{
	json_t *object = (json_t *)v;

	*it = *it ? json_object_iter_next(object, *it)
		  : json_object_iter(object);
	if (!*it)
		return false;
	*key = json_object_iter_key(*it);
	*member = (const struct json *)json_object_iter_value(*it);
	return true;
}

bool json_get_int(const struct json *v, int64_t *out)
{
	if (json_kind(v) != JSON_KIND_INT)
		return false;
	*out = json_integer_value((const json_t *)v);
	return true;
}

bool json_get_bool(const struct json *v, bool *out)
{
	if (json_kind(v) != JSON_KIND_BOOL)
		return false;
	*out = json_is_true((const json_t *)v);
	return true;
}

bool json_get_real(const struct json *v, double *out)
{
	enum json_kind kind = json_kind(v);

	if (kind != JSON_KIND_INT && kind != JSON_KIND_REAL)
		return false;
	*out = json_number_value((const json_t *)v);
	return true;
}

const char *json_get_string(const struct json *v, size_t *len)
{
	if (json_kind(v) != JSON_KIND_STRING)
		return NULL;
	*len = json_string_length((const json_t *)v);
	return json_string_value((const json_t *)v);
}

/* Behind the value that starts here: a string, a bracket pair or a word. */
static void skip_value(struct scan *s)
{
	size_t depth = 0;

	while (s->pos < s->len) {
		char c = s->p[s->pos];

		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return;
		if (c == '"') {
			skip_string(s);
			continue;
		}
		if (c == '[' || c == '{')
			depth++;
		else if (c == ']' || c == '}')
			depth--;
		s->pos++;
	}
}

static int expect(struct scan *s, char c, struct err *e)
{
	skip_space(s);
	if (s->pos >= s->len || s->p[s->pos] != c)
		return err_set(e, EINVAL, "byte %zu: JSON without '%c'", s->pos,
			       c);
	s->pos++;
	return 0;
}

/* Parses the bytes from start to where the scan stands now. */
static int load_piece(const struct scan *s, size_t start, json_t **out,
		      struct err *e)
{
	int rc = load(s->p + start, s->pos - start, JSON_DECODE_ANY, out, e);

	return rc < 0 ? err_wrap(e, "byte %zu", start) : 0;
}

/* A string of printable ASCII without escapes stands for itself. */
static bool is_plain(const char *quoted, size_t len)
{
	for (size_t i = 1; i + 1 < len; i++)
		if (quoted[i] < 0x20 || quoted[i] == '\\')
			return false;
	return len >= 2 && quoted[len - 1] == '"';
}

/* Most keys and many values are plain strings: no parser for those. */
static int load_fast(const struct scan *s, size_t start, json_t **out,
		     struct err *e)
{
	const char *p = s->p + start;
	size_t len = s->pos - start;

	/* There may be nothing at all behind the colon. */
	if (len < 2 || p[0] != '"' || !is_plain(p, len))
		return load_piece(s, start, out, e);
	*out = json_stringn_nocheck(p + 1, len - 2);
	return *out ? 0 : err_nomem(e, len);
}

static int walk_value(struct scan *s, const char *key, size_t len,
		      json_member_fn fn, void *ctx, struct err *e)
{
	json_t *value = NULL;
	size_t start;
	int rc = expect(s, ':', e);

	skip_space(s);
	start = s->pos;
	if (rc == 0) {
		skip_value(s);
		rc = load_fast(s, start, &value, e);
	}
	if (rc == 0)
		rc = fn(ctx, key, len, (const struct json *)value, e);
	json_decref(value);
	return rc;
}

static int walk_member(struct scan *s, json_member_fn fn, void *ctx,
		       struct err *e)
{
	json_t *key = NULL;
	size_t start;
	int rc;

	skip_space(s);
	start = s->pos;
	if (start >= s->len || s->p[start] != '"')
		return err_set(e, EINVAL, "byte %zu: JSON without a key",
			       start);
	skip_string(s);
	if (is_plain(s->p + start, s->pos - start))
		return walk_value(s, s->p + start + 1, s->pos - start - 2, fn,
				  ctx, e);
	rc = load_piece(s, start, &key, e);
	if (rc == 0)
		rc = walk_value(s, json_string_value(key),
				json_string_length(key), fn, ctx, e);
	json_decref(key);
	return rc;
}

/* jansson reads the integer -0 as 0; no count or offset is written so. */
static int check_zeros(const char *p, size_t len, struct err *e)
{
	struct scan s = {.p = p, .len = len};

	while (s.pos < len) {
		if (p[s.pos] == '"') {
			skip_string(&s);
			continue;
		}
		if (take_word(&s, "-0") &&
		    (s.pos >= len || !is_number_char(p[s.pos])))
			return err_set(e, EINVAL, "byte %zu: -0", s.pos - 2);
		s.pos++;
	}
	return 0;
}

int json_each_member(const void *text, size_t len, json_member_fn fn, void *ctx,
		     struct err *e)
{
	struct scan s = {.p = text, .len = len};
	int rc = check_depth(text, len, e);

	if (rc == 0)
		rc = check_zeros(text, len, e);
	if (rc == 0)
		rc = expect(&s, '{', e);
	skip_space(&s);
	while (rc == 0 && s.pos < len && s.p[s.pos] != '}') {
		rc = walk_member(&s, fn, ctx, e);
		skip_space(&s);
		if (rc < 0 || s.pos >= len || s.p[s.pos] == '}')
			break;
		rc = expect(&s, ',', e);
		skip_space(&s);
		if (rc == 0 && s.pos < len && s.p[s.pos] == '}')
			rc = err_set(e, EINVAL,
				     "byte %zu: JSON with a comma too many",
				     s.pos);
	}
	if (rc == 0)
		rc = expect(&s, '}', e);
	skip_space(&s);
	if (rc == 0 && s.pos < len)
		rc = err_set(e, EINVAL, "byte %zu: bytes behind the JSON",
			     s.pos);
	return rc;
}

/* From a key's quote to behind its value; *is_it: whether it is this key. */
static int scan_member(struct scan *s, const char *key, bool *is_it,
		       size_t *value, struct err *e)
{
	size_t len = strlen(key), start = s->pos;
	int rc;

	if (start >= s->len || s->p[start] != '"')
		return err_set(e, EINVAL, "byte %zu: JSON without a key",
			       start);
	skip_string(s);
	*is_it = s->pos - start == len + 2 &&
		 memcmp(s->p + start + 1, key, len) == 0;
	rc = expect(s, ':', e);
	*value = s->pos;
	skip_value(s);
	return rc;
}

int json_find_member(const void *text, size_t len, const char *key,
		     const char **value, size_t *value_len, struct err *e)
{
	struct scan s = {.p = text, .len = len};
	const char *found = NULL;
	char next = '\0';
	int rc = expect(&s, '{', e);

	do {
		size_t start;
		bool is_it = false;

		skip_space(&s);
		if (rc == 0)
			rc = scan_member(&s, key, &is_it, &start, e);
		if (rc == 0 && is_it && found)
			rc = err_set(e, EINVAL, "\"%s\" appears twice", key);
		if (rc == 0 && is_it) {
			found = s.p + start;
			*value_len = s.pos - start;
		}
		skip_space(&s);
		next = s.pos < len ? s.p[s.pos++] : '\0';
	} while (rc == 0 && next == ',');
	if (rc == 0 && next != '}')
		rc = err_set(e, EINVAL, "JSON without '}'");
	if (rc == 0 && !found)
		rc = err_set(e, EINVAL, "JSON without \"%s\"", key);
	if (rc == 0)
		*value = found;
	return rc;
}
