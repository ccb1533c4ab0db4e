/* SPDX-License-Identifier: MIT */
/*
 * json - reading JSON that comes from a file (RFC 8259), the only door to
 * jansson.
 *
 * Nesting deeper than JSON_DEPTH_MAX and duplicate keys are errors.  Strings
 * may hold NULs (\u0000), except in keys.  Integers are 64 bits.  A value is
 * borrowed from the one that json_parse gave.
 */
#ifndef WIRE_JSON_H
#define WIRE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct json;

#define JSON_DEPTH_MAX 100

enum json_flags {
	/*
	 * As Python's json module writes it: NaN and Infinity are read as
	 * null, integers beyond 18 digits as reals.
	 */
	JSON_PYTHON = 1 << 0,
};

enum json_kind {
	JSON_KIND_NULL,
	JSON_KIND_BOOL,
	JSON_KIND_INT,
	JSON_KIND_REAL,
	JSON_KIND_STRING,
	JSON_KIND_ARRAY,
	JSON_KIND_OBJECT
};

/* EINVAL with the line of the mistake. */
int json_parse(const void *text, size_t len, unsigned flags, struct json **out,
	       struct err *e);
/* Frees a whole document; NULL is fine. */
void json_free(struct json *root);

/* A value that is not there (NULL) has kind null. */
enum json_kind json_kind(const struct json *v);

/* Members of an object and items of an array; NULL when there is none. */
const struct json *json_member(const struct json *v, const char *key);
const struct json *json_item(const struct json *v, size_t i);
/* Number of members or items; 0 for other kinds. */
size_t json_count(const struct json *v);

/* Iterates over the members, in file order: it starts as NULL. */
bool json_next(const struct json *v, void **it, const char **key,
	       const struct json **member);

/* False, and nothing set, when the value is of another kind. */
bool json_get_int(const struct json *v, int64_t *out);
bool json_get_bool(const struct json *v, bool *out);
/* Integers, too. */
bool json_get_real(const struct json *v, double *out);
/* NUL-terminated; NULL when it is no string. */
const char *json_get_string(const struct json *v, size_t *len);

/*
 * Walks over the members of one large object without holding them all: each
 * is parsed, handed to fn and freed.  Duplicate keys are left to fn, which may
 * fail; keys may hold NULs and have none behind them.  The integer -0 is an error.
 */
typedef int (*json_member_fn)(void *ctx, const char *key, size_t len,
			      const struct json *value, struct err *e);
int json_each_member(const void *text, size_t len, json_member_fn fn, void *ctx,
		     struct err *e);

/*
 * The text of one member of an object, found without parsing the others;
 * borrowed.  EINVAL when there is none.
 */
int json_find_member(const void *text, size_t len, const char *key,
		     const char **value, size_t *value_len, struct err *e);

#endif
