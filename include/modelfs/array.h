/* SPDX-License-Identifier: MIT */
/* array - room for one more element, for arrays that grow as they are filled. */
#ifndef MODELFS_ARRAY_H
#define MODELFS_ARRAY_H

#include <stddef.h>
#include <stdint.h>

struct err;

/*
 * array: the address of a pointer to malloc'd elements (NULL at first), *cap
 * elements long, of which count are used.  -ENOMEM leaves it as it is.
 */
int array_grow(void *array, uint32_t *cap, uint32_t count, size_t elem_size,
	       struct err *e);

#endif
