/* SPDX-License-Identifier: MIT */
/*
 * split - a model in several files, PREFIX-00001-of-0000N.gguf, each with
 * split.no (from 0) and split.count.  Only names made from PREFIX are opened.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/source.h"

#include "format/gguf/gguf.h"

/* "-00001-of-00003.gguf" */
#define SUFFIX_BYTES 20

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void format_suffix(char out[SUFFIX_BYTES + 1], size_t i, size_t n)
{
	snprintf(out, SUFFIX_BYTES + 1, "-%05u-of-%05u.gguf",
		 (unsigned)(uint16_t)(i + 1), (unsigned)(uint16_t)n);
}

int gguf_check_split(const struct gguf *g, size_t i, size_t n, struct err *e)
{
	uint64_t no, count;

	if (!gguf_get(g, "split.no", GGUF_U16, &no) ||
	    !gguf_get(g, "split.count", GGUF_U16, &count))
		return err_set(e, EINVAL, "no split.no and split.count");
	if (no != i || count != n)
		return err_set(e, EINVAL,
			       "calls itself part %llu of %llu, not %zu of %zu",
			       (unsigned long long)no + 1,
			       (unsigned long long)count, i + 1, n);
	return 0;
}

static int open_part(const struct input *in, const char *name,
		     size_t prefix_len, size_t i, size_t n, struct source **out,
		     struct err *e)
{
	char suffix[SUFFIX_BYTES + 1];
	struct err why = {0};
	char *path;
	int rc;

	format_suffix(suffix, i, n);
	if (asprintf(&path, "%.*s%s", (int)prefix_len, name, suffix) < 0)
		return err_nomem(e, prefix_len + sizeof(suffix));
	rc = input_sibling(in, path, strlen(path), out, &why);
	free(path);
	/* What is left of a model can be looked at, where the user says so. */
	if (rc < 0 && in->lenient)
		return 0;
	return rc < 0 ? err_set(e, why.code, "%s", why.msg) : 0;
}

static int open_parts(const struct input *in, const struct gguf *g, size_t no,
		      struct source **parts, size_t n, struct err *e)
{
	const char *name = base_name(in->path);
	size_t len = strlen(name);
	char suffix[SUFFIX_BYTES + 1], quoted[ERR_QUOTED];

	format_suffix(suffix, no, n);
	if (len < SUFFIX_BYTES || strcmp(name + len - SUFFIX_BYTES, suffix))
		return err_set(e, EINVAL,
			       "%s: part %zu of %zu, whose name should end in "
			       "%s",
			       err_quote(quoted, name, len), no + 1, n, suffix);
	for (size_t i = 0; i < n; i++) {
		int rc = 0;

		if (i == no)
			parts[i] = source_ref(g->src);
		else
			rc = open_part(in, name, len - SUFFIX_BYTES, i, n,
				       &parts[i], e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int gguf_open_split(const struct input *in, const struct gguf *first,
		    struct source ***out, size_t *n, struct err *e)
{
	uint64_t count = 1, no = 0;
	struct source **parts;
	int rc;

	gguf_get(first, "split.count", GGUF_U16, &count);
	gguf_get(first, "split.no", GGUF_U16, &no);
	if (count > 1 && no >= count)
		return err_set(e, EINVAL, "split.no is %llu of %llu",
			       (unsigned long long)no,
			       (unsigned long long)count);
	if (count <= 1) {
		count = 1;
		no = 0;
	}
	parts = calloc(count, sizeof(struct source *));
	if (!parts)
		return err_nomem(e, count * sizeof(*parts));
	if (count == 1) {
		parts[0] = source_ref(first->src);
		rc = 0;
	} else {
		rc = open_parts(in, first, no, parts, count, e);
	}
	if (rc < 0) {
		for (size_t i = 0; i < count; i++)
			source_unref(parts[i]);
		free(parts);
		return rc;
	}
	*out = parts;
	*n = count;
	return 0;
}
