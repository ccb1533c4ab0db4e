/* SPDX-License-Identifier: MIT */
/* utf8 - well-formed sequences of RFC 3629, and nothing else. */
#ifndef MODELFS_UTF8_H
#define MODELFS_UTF8_H

#include <stddef.h>

/* Bytes of the well-formed sequence at s (1 to 4), or 0.  len > 0. */
size_t utf8_length(const void *s, size_t len);

#endif
