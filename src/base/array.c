/* SPDX-License-Identifier: MIT */
/* array - see modelfs/array.h. */
#include "modelfs/array.h"

#include <errno.h>
#include <stdlib.h>

#include "modelfs/err.h"

#define FIRST 16

int array_grow(void *array, uint32_t *cap, uint32_t count, size_t elem_size,
	       struct err *e)
{
	void **p = array;
	uint32_t n;
	size_t nbytes;
	void *q;

	if (count < *cap)
		return 0;
	if (*cap > UINT32_MAX / 2)
		return err_set(e, EFBIG, "more than %u elements", *cap);
	n = *cap ? *cap * 2 : FIRST;
	if (__builtin_mul_overflow((size_t)n, elem_size, &nbytes))
		return err_set(e, EFBIG, "more than %u elements", *cap);
	q = realloc(*p, nbytes);
	if (!q)
		return err_nomem(e, nbytes);
	*p = q;
	*cap = n;
	return 0;
}
