/* SPDX-License-Identifier: MIT */
/*
 * config - keys as files: a string is its bytes, a number a line, an array a
 * line per element.  What is not a string is decoded when it is read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/gguf/gguf.h"

/* What is needed to decode a value later. */
struct value_later {
	struct gguf file; /* only source, version and byte order */
	uint32_t type;
	uint64_t off, len;
};

/* Larger texts are not made. */
#define TEXT_BYTES_MAX (1u << 28)

static void free_later(void *ctx)
{
	struct value_later *v = ctx;

	source_unref(v->file.src);
	free(v);
}

static int make_text(void *ctx, struct blob **out, struct err *e)
{
	struct value_later *v = ctx;
	struct reader *r;
	struct text text = {0};
	int rc = 0;

	if (v->len > TEXT_BYTES_MAX / 4)
		return err_set(e, EFBIG, "an array of %llu bytes",
			       (unsigned long long)v->len);
	r = reader_new(v->file.src, v->off, v->len);
	if (!r)
		return err_nomem(e, sizeof(*r));
	gguf_value(&v->file, r, v->type, &text);
	if (r->bad)
		rc = err_set(e, r->err.code, "%s", r->err.msg);
	reader_free(r);
	if (rc == 0) {
		*out = text.failed ? NULL
				   : blob_copy(text.p ? text.p : "", text.len);
		rc = *out ? 0 : err_nomem(e, text.len);
	}
	text_free(&text);
	return rc;
}

static int value_blob(const struct gguf *g, const struct gguf_key *k,
		      struct blob **out, struct err *e)
{
	struct value_later *v;

	if (k->type == GGUF_STRING)
		return blob_file(g->src, k->off, k->len, out, e);
	v = malloc(sizeof(*v));
	if (!v)
		return err_nomem(e, sizeof(*v));
	*v = (struct value_later){
		.file = {.src = source_ref(g->src),
			 .version = g->version,
			 .is_swapped = g->is_swapped},
		.type = k->type,
		.off = k->off,
		.len = k->len,
	};
	*out = blob_lazy(make_text, v, free_later);
	return *out ? 0 : err_nomem(e, sizeof(*v));
}

int gguf_config(const struct gguf *g, struct model *m, struct err *e)
{
	for (uint64_t i = 0; i < g->nkeys; i++) {
		const struct gguf_key *k = &g->keys[i];
		struct blob *data = NULL;
		int rc = value_blob(g, k, &data, e);

		if (rc == 0)
			rc = model_config(m, k->name.p, data, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}
