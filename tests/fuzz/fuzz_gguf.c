/* SPDX-License-Identifier: MIT */
/* The reader, and the decoding of every key and tensor it found. */
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/formats.h"
#include "fuzz.h"

static void read_config(struct blob *lazy)
{
	struct err e = {0};
	struct blob *b;
	char buf[64];
	size_t got;

	if (blob_resolve(lazy, &b, &e) < 0) {
		if (e.code == 0 || e.msg[0] == '\0')
			abort();
		return;
	}
	blob_read(b, buf, sizeof(buf), b->size / 2, &got, &e);
	blob_unref(b);
}

static void read_widened(const struct param *p)
{
	struct tensor t = param_tensor(p);
	uint64_t nelems;
	struct blob *b;
	char buf[3000];
	size_t got;

	if (blob_status(p->data, NULL) < 0 || !dtype_info(t.dtype)->descr ||
	    !shape_nelems(&t.shape, &nelems))
		return;
	b = blob_widen(blob_ref(p->data), t.dtype, nelems);
	if (!b)
		return;
	blob_read(b, buf, sizeof(buf), b->size / 3, &got, NULL);
	blob_unref(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source *src = fuzz_source(data, size);
	struct input in = {.path = "m-00001-of-00002.gguf",
			   .file = src,
			   .dirfd = -1,
			   .lenient = size % 2};
	struct model *m = model_new("gguf");
	struct err e = {0};

	fuzz_format(&format_gguf, data, size);
	m->lenient = in.lenient;
	if (format_gguf.read(&in, m, &e) == 0) {
		struct config_item *c;

		for (c = m->config; c; c = c->next)
			read_config(c->data);
		for (uint32_t i = 0; i < m->nparams; i++)
			read_widened(m->params[i]);
	}
	model_free(m);
	source_unref(src);
	return 0;
}
