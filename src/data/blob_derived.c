/* SPDX-License-Identifier: MIT */
/*
 * blob_derived - blobs made of other blobs byte by byte (cat, slice), of a
 * pattern (repeat), or of an error (fail).
 *
 * A kind that is made of others is slow when one of them is, so those kinds
 * have two tables of functions that differ in nothing else.
 */
#include "modelfs/blob.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"

/* ---- cat ---- */

struct blob_cat {
	struct blob base;
	size_t nparts;
	struct blob **parts; /* owned references */
	uint64_t *start;     /* of part i; start[nparts] is the size */
};

/* The part that byte off lies in: start[i] <= off < start[i + 1]. */
static size_t find_part(const struct blob_cat *c, uint64_t off)
{
	size_t lo = 0, hi = c->nparts;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->start[mid] <= off)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

static int cat_read(struct blob *b, void *buf, size_t len, uint64_t off,
		    struct err *e)
{
	struct blob_cat *c = (struct blob_cat *)b;
	uint8_t *to = buf;
	size_t i = find_part(c, off);

	while (len > 0) {
		uint64_t skip = off - c->start[i];
		uint64_t left = c->parts[i]->size - skip;
		size_t n = len < left ? len : left;
		int rc = blob_read_full(c->parts[i], to, n, skip, e);

		if (rc < 0)
			return rc;
		to += n;
		off += n;
		len -= n;
		i++;
	}
	return 0;
}

static bool cat_extent(struct blob *b, uint64_t off, struct extent *out)
{
	struct blob_cat *c = (struct blob_cat *)b;
	size_t i = find_part(c, off);

	return blob_extent(c->parts[i], off - c->start[i], out);
}

static int cat_status(struct blob *b, struct err *e)
{
	struct blob_cat *c = (struct blob_cat *)b;

	for (size_t i = 0; i < c->nparts; i++) {
		int rc = blob_status(c->parts[i], e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static void cat_fini(struct blob *b)
{
	struct blob_cat *c = (struct blob_cat *)b;

	for (size_t i = 0; i < c->nparts; i++)
		blob_unref(c->parts[i]);
	free(c->parts);
	free(c->start);
}

#define CAT_OPS                                                       \
	.read = cat_read, .extent = cat_extent, .status = cat_status, \
	.fini = cat_fini

static const struct blob_ops cat_ops = {CAT_OPS};
static const struct blob_ops cat_slow_ops = {CAT_OPS, .slow = true};

/* False when the sum of the sizes is beyond what a file can have. */
static bool fill_cat(struct blob_cat *c, struct blob **parts)
{
	const struct blob_ops *ops = &cat_ops;
	uint64_t at = 0;
	bool fits = true;

	for (size_t i = 0; i < c->nparts; i++) {
		c->parts[i] = parts[i];
		c->start[i] = at;
		if (__builtin_add_overflow(at, parts[i]->size, &at))
			fits = false;
		if (parts[i]->ops->slow)
			ops = &cat_slow_ops;
	}
	c->start[c->nparts] = at;
	blob_init(&c->base, ops, at);
	return fits && at <= INT64_MAX;
}

struct blob *blob_cat(struct blob **parts, size_t nparts)
{
	struct blob_cat *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < nparts; i++)
		if (!parts[i])
			goto fail;
	if (!c)
		goto fail;
	c->nparts = nparts;
	c->parts = calloc(nparts + 1, sizeof(*c->parts));
	c->start = calloc(nparts + 1, sizeof(*c->start));
	if (!c->parts || !c->start)
		goto fail;
	if (!fill_cat(c, parts)) {
		blob_unref(&c->base);
		return blob_fail(INT64_MAX, EFBIG, "larger than a file can be");
	}
	return &c->base;
fail:
	if (c) {
		free(c->parts);
		free(c->start);
	}
	free(c);
	for (size_t i = 0; i < nparts; i++)
		blob_unref(parts[i]);
	return NULL;
}

/* ---- slice ---- */

struct blob_slice {
	struct blob base;
	struct blob *from; /* owned reference */
	uint64_t off;
};

static int slice_read(struct blob *b, void *buf, size_t len, uint64_t off,
		      struct err *e)
{
	struct blob_slice *s = (struct blob_slice *)b;

	return blob_read_full(s->from, buf, len, s->off + off, e);
}

static bool slice_extent(struct blob *b, uint64_t off, struct extent *out)
{
	struct blob_slice *s = (struct blob_slice *)b;
	uint64_t left = b->size - off;

	if (!blob_extent(s->from, s->off + off, out))
		return false;
	if (out->len > left)
		out->len = left;
	return true;
}

static const void *slice_bytes(struct blob *b)
{
	struct blob_slice *s = (struct blob_slice *)b;
	const uint8_t *p = blob_bytes(s->from);

	/* What `bytes` promises about alignment holds for some slices only. */
	return p && s->off % 64 == 0 ? p + s->off : NULL;
}

static int slice_status(struct blob *b, struct err *e)
{
	return blob_status(((struct blob_slice *)b)->from, e);
}

static void slice_fini(struct blob *b)
{
	blob_unref(((struct blob_slice *)b)->from);
}

#define SLICE_OPS                                                         \
	.read = slice_read, .extent = slice_extent, .bytes = slice_bytes, \
	.status = slice_status, .fini = slice_fini

static const struct blob_ops slice_ops = {SLICE_OPS};
static const struct blob_ops slice_slow_ops = {SLICE_OPS, .slow = true};

struct blob *blob_slice(struct blob *base, uint64_t off, uint64_t len)
{
	struct blob_slice *s;

	if (!base)
		return NULL;
	if (off > base->size || len > base->size - off) {
		blob_unref(base);
		return blob_fail(len, EIO, "range beyond the data it is in");
	}
	if (off == 0 && len == base->size)
		return base;
	s = malloc(sizeof(*s));
	if (!s) {
		blob_unref(base);
		return NULL;
	}
	s->from = base;
	s->off = off;
	blob_init(&s->base, base->ops->slow ? &slice_slow_ops : &slice_ops,
		  len);
	return &s->base;
}

/* ---- repeat ---- */

#define PATTERN_MAX 16

struct blob_repeat {
	struct blob base;
	size_t len;
	uint8_t pattern[PATTERN_MAX];
};

static int repeat_read(struct blob *b, void *buf, size_t len, uint64_t off,
		       struct err *e)
{
	struct blob_repeat *r = (struct blob_repeat *)b;
	size_t head = len < r->len ? len : r->len;
	uint8_t *to = buf;
	size_t done;

	(void)e;
	for (size_t i = 0; i < head; i++)
		to[i] = r->pattern[(off + i) % r->len];
	/* What is there repeats every r->len bytes: double it. */
	for (done = head; done < len;) {
		size_t n = len - done < done ? len - done : done;

		memcpy(to + done, to, n);
		done += n;
	}
	return 0;
}

static const struct blob_ops repeat_ops = {.read = repeat_read};

struct blob *blob_repeat(const void *pattern, size_t len, uint64_t size)
{
	struct blob_repeat *r;

	if (len == 0 || len > PATTERN_MAX)
		return blob_fail(size, EIO, "pattern of impossible length");
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->len = len;
	memcpy(r->pattern, pattern, len);
	blob_init(&r->base, &repeat_ops, size);
	return &r->base;
}

/* ---- fail ---- */

struct blob_fail {
	struct blob base;
	int code;
	char msg[];
};

static int fail_status(struct blob *b, struct err *e)
{
	struct blob_fail *f = (struct blob_fail *)b;

	return err_set(e, f->code, "%s", f->msg);
}

static int fail_read(struct blob *b, void *buf, size_t len, uint64_t off,
		     struct err *e)
{
	(void)buf;
	(void)len;
	(void)off;
	return fail_status(b, e);
}

static const struct blob_ops fail_ops = {
	.read = fail_read,
	.status = fail_status,
};

struct blob *blob_fail(uint64_t size, int code, const char *msg)
{
	size_t len = strlen(msg) + 1;
	struct blob_fail *f = malloc(sizeof(*f) + len);

	if (!f)
		return NULL;
	f->code = code;
	memcpy(f->msg, msg, len);
	blob_init(&f->base, &fail_ops, size);
	return &f->base;
}
