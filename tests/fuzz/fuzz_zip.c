/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"

#include "fuzz.h"
#include "wire/zip.h"

static void read_member(const struct zipfile *z, const struct zipfile_member *m)
{
	struct err e = {0};
	struct blob *b;
	char buf[64];
	size_t got;

	if (zipfile_find(z, m->name, m->name_len) != m)
		abort();
	if (zipfile_data(z, m, &b, &e) < 0)
		return;
	if (b->size != m->size)
		abort();
	if (blob_status(b, &e) == 0)
		blob_read(b, buf, sizeof(buf), b->size / 2, &got, &e);
	blob_unref(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source *src = fuzz_source(data, size);
	struct zipfile *z = NULL;
	struct err e = {0};

	if (zipfile_open(src, 0, size, &z, &e) == 0)
		for (size_t i = 0; i < zipfile_count(z); i++)
			read_member(z, zipfile_at(z, i));
	else if (e.code == 0)
		abort();
	zipfile_close(z);
	source_unref(src);
	return 0;
}
