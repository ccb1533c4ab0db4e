/* SPDX-License-Identifier: MIT */
/*
 * names - from names in a model file to names of files, one to one.
 *
 * The bytes '/', NUL, control bytes and '%' become %XX (upper-case hex).  The
 * components ".", ".." and "" become "%2E", "%2E%2E" and "%".  What would be
 * longer than NAME_ENCODED_MAX bytes is cut and ends in "%~" and 16 hex
 * digits of a hash of the whole name.
 */
#ifndef MODELFS_NAMES_H
#define MODELFS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define NAME_ENCODED_MAX 200
/* Room for an encoded name, a "%12345678" against collisions, and a NUL. */
#define NAME_BUFFER 256

/* Encodes one component; returns its length. */
size_t name_encode(char buf[NAME_BUFFER], const char *s, size_t len);

/*
 * The inverse.  False when s is no encoded name or was cut.  buf must hold
 * len bytes.
 */
bool name_decode(const char *s, size_t len, char *buf, size_t *out_len);

/*
 * Walks over the components of a name.  seps is the set of separator bytes.
 *
 *	struct name_iter it = name_iter("a.b", 3, ".");
 *	while (name_next(&it)) use(it.part, it.part_len, it.is_last);
 */
struct name_iter {
	const char *part;
	size_t part_len;
	bool is_last;
	const char *rest; /* NULL: nothing is left */
	size_t rest_len;
	const char *seps;
};

struct name_iter name_iter(const char *s, size_t len, const char *seps);
bool name_next(struct name_iter *it);

#endif
