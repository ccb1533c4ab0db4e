/* SPDX-License-Identifier: MIT */
/* inflate - compressed bytes that are in memory. */
#ifndef MODELFS_INFLATE_H
#define MODELFS_INFLATE_H

#include <stddef.h>

struct err;

/*
 * A zlib stream that must make at least nout bytes, of which these are kept.
 * EINVAL when it is damaged or too short.
 */
int inflate_zlib(const void *in, size_t nin, void *out, size_t nout,
		 struct err *e);

#endif
