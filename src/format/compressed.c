/* SPDX-License-Identifier: MIT */
/*
 * compressed - a model file inside of gzip, bzip2, xz (joblib, model.pkl.gz): it
 * is inflated into memory and given to whoever knows what it is.
 */
#include <errno.h>

#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/formats.h"
#include "wire/unpack.h"

static const struct format *best_format(const struct input *in)
{
	const struct format *best = NULL;
	int score = 0;

	for (size_t i = 0; formats[i]; i++) {
		int bid;

		/* Once is enough. */
		if (formats[i] == &format_compressed)
			continue;
		bid = formats[i]->probe(in);
		if (bid > score) {
			best = formats[i];
			score = bid;
		}
	}
	return best;
}

static int read_inner(struct input *in, struct model *m, struct err *e)
{
	uint64_t size = source_size(in->file);
	const struct format *f;
	int rc;

	in->nhead = size < INPUT_HEAD ? (size_t)size : INPUT_HEAD;
	rc = source_read(in->file, in->head, in->nhead, 0, e);
	if (rc < 0)
		return rc;
	f = best_format(in);
	if (!f)
		return err_set(e, EINVAL, "no model file of a known format");
	m->format = f->name;
	rc = f->read(in, m, e);
	return rc < 0 ? err_wrap(e, "%s", f->name) : 0;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct input inner = {
		.path = in->path, .dirfd = -1, .lenient = in->lenient};
	int rc = unpack_load(in->file, UNPACK_BYTES_MAX, &inner.file, e);

	if (rc < 0)
		return rc;
	rc = read_inner(&inner, m, e);
	source_unref(inner.file);
	return rc;
}

/* zlib has a magic number of two bytes, which others may begin with, too. */
static int probe(const struct input *in)
{
	if (!in->file || !unpack_is_head(in->head, in->nhead))
		return 0;
	return in->head[0] == 0x78 ? 20 : 60;
}

const struct format format_compressed = {
	.name = "compressed",
	.title = "any of these inside of gzip, zlib, bzip2, xz or lzma",
	.probe = probe,
	.read = read,
};
