/* SPDX-License-Identifier: MIT */
/*
 * err - an error: an errno value and one line that says what was found where.
 *
 * A struct err lives on the caller's stack and is the last parameter of every
 * function that can fail for more than one reason.  It is written only on
 * failure.  Every function here accepts NULL for "nobody wants the text".
 */
#ifndef MODELFS_ERR_H
#define MODELFS_ERR_H

#include <stddef.h>

struct err {
	int code; /* errno value, positive; 0 while nothing failed */
	char msg[240];
};

/* Longest quoted form of a string that comes from a file, with its NUL. */
#define ERR_QUOTED 128

/* Sets code and text; returns -code, so that `return err_set(...)` works. */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Puts "fmt: " before the text there is; returns -e->code, or -EIO where e is
 * NULL, which does not know the code.
 */
int err_wrap(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ENOMEM, with the number of bytes that were wanted. */
int err_nomem(struct err *e, size_t nbytes);

/*
 * A string from a file, made safe for one line of text: control bytes, quotes
 * and bytes that are not UTF-8 become \xNN, and what is longer than the buffer
 * is cut and ends in "...".  Returns buf.
 */
const char *err_quote(char buf[ERR_QUOTED], const char *s, size_t len);

#endif
