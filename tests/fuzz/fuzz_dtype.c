/* SPDX-License-Identifier: MIT */
/*
 * Any bytes are elements of any type: decoding a part gives what decoding all
 * gives, and neither reads nor writes beyond its blocks.
 */
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/dtype.h"

#include "fuzz.h"

static void check_part(enum dtype t, const uint8_t *data, size_t size,
		       size_t nelems, const uint8_t *want, size_t len)
{
	struct blob *b = blob_widen(blob_copy(data, size), t, nelems);
	size_t off = len / 3, got = 0;
	uint8_t *part = malloc(len + 1);

	if (!b || !part || b->size != len ||
	    blob_read(b, part, len / 2, off, &got, NULL) < 0 ||
	    memcmp(part, want + off, got) != 0)
		abort();
	free(part);
	blob_unref(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum dtype t = size ? data[0] % DTYPE_COUNT : DTYPE_NONE;
	const struct dtype_info *info = dtype_info(t);
	size_t nblocks, nelems, len;
	uint8_t *src, *out;

	if (!info->descr || info->npy == t || size > 4096)
		return 0;
	nblocks = (size - 1) / info->block_bytes;
	nelems = nblocks * info->block_elems;
	len = nelems * dtype_size(info->npy);
	/* Exactly as large as they need to be, for the sanitizer's sake. */
	size = nblocks * info->block_bytes;
	src = malloc(size ? size : 1);
	out = malloc(len ? len : 1);
	if (!src || !out)
		abort();
	memcpy(src, data + 1, size);
	dtype_widen(t, src, out, nelems);
	if (nelems)
		check_part(t, src, size, nelems, out, len);
	dtype_swap(t, src, nblocks);
	free(src);
	free(out);
	return 0;
}
