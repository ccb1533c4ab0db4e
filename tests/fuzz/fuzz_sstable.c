/* SPDX-License-Identifier: MIT */
/* Tables, and the blocks of snappy in them. */
#include <stdlib.h>

#include "modelfs/err.h"
#include "modelfs/source.h"

#include "fuzz.h"
#include "wire/snappy.h"
#include "wire/sstable.h"

static int take(void *ctx, const struct sstable_entry *t, struct err *e)
{
	uint8_t buf[16];
	size_t n = t->value_len < sizeof(buf) ? t->value_len : sizeof(buf);

	(void)ctx;
	if (source_read(t->src, buf, n, t->off, e) < 0)
		abort(); /* a value is always where it is said to be */
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source *src = fuzz_source(data, size);
	struct err e = {0};
	uint8_t *out;
	size_t len;

	sstable_probe(src);
	if (sstable_each(src, take, NULL, &e) < 0 && e.msg[0] == '\0')
		abort();
	if (snappy_inflate(data, size, 1 << 20, &out, &len, &e) == 0)
		free(out);
	source_unref(src);
	return 0;
}
