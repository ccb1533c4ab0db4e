/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"

#include "fuzz.h"
#include "wire/pickle.h"

/* Pickles back to back, as the legacy files of torch have them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source *src = fuzz_source(data, size);
	struct reader *r = reader_new(src, 0, size);
	struct arena *a = arena_new();
	struct pickle_node *root;
	struct err e = {0};

	if (!r || !a)
		abort();
	while (pickle_read(r, a, &root, &e) == 0) {
		if (root->kind > PICKLE_PERSID || root->nitems > size)
			abort();
	}
	if (e.code == 0)
		abort();
	arena_free(a);
	reader_free(r);
	source_unref(src);
	return 0;
}
