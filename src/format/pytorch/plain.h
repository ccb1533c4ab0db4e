/* SPDX-License-Identifier: MIT */
/* plain - pickles of anything, for other readers. */
#ifndef FORMAT_PYTORCH_PLAIN_H
#define FORMAT_PYTORCH_PLAIN_H

#include <stdint.h>

struct err;
struct model;
struct source;

/*
 * Adds what the pickle at off holds, beneath the module `under` (NULL: the
 * root), a path where it has bytes of seps.  Nothing is executed.
 */
int torch_pickle_read(struct source *src, uint64_t off, const char *under,
		      const char *seps, struct model *m, struct err *e);

#endif
