/* SPDX-License-Identifier: MIT */
/*
 * checked - bytes whose checksum is looked at when they are first read.
 *
 * All of them are read for that once, so this kind is slow.  Only when they
 * are good they become a range of the file that can be spliced.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/tf/tf.h"
#include "wire/crc32c.h"

#define PIECE ((size_t)256 * 1024)

enum state { STATE_UNKNOWN, STATE_GOOD, STATE_BAD };

struct checked {
	struct blob blob;
	struct blob *base; /* owned */
	uint32_t crc;	   /* masked */
	atomic_int state;  /* whoever finds it out writes the same */
};

static int sum(struct checked *c, uint32_t *out, struct err *e)
{
	uint8_t *buf = malloc(PIECE);
	uint32_t crc = 0;
	int rc = buf ? 0 : err_nomem(e, PIECE);

	for (uint64_t at = 0; rc == 0 && at < c->blob.size;) {
		uint64_t left = c->blob.size - at;
		size_t n = left < PIECE ? (size_t)left : PIECE;

		rc = blob_read_full(c->base, buf, n, at, e);
		if (rc == 0)
			crc = crc32c(crc, buf, n);
		at += n;
	}
	free(buf);
	*out = crc32c_mask(crc);
	return rc;
}

static int checked_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	struct checked *c = (struct checked *)b;

	if (atomic_load(&c->state) == STATE_UNKNOWN) {
		uint32_t crc;
		int rc = sum(c, &crc, e);

		if (rc < 0)
			return rc;
		atomic_store(&c->state, crc == c->crc ? STATE_GOOD : STATE_BAD);
	}
	if (atomic_load(&c->state) == STATE_BAD)
		return err_set(e, EIO, "the checksum of the data is wrong");
	return blob_read_full(c->base, buf, len, off, e);
}

static bool checked_extent(struct blob *b, uint64_t off, struct extent *out)
{
	struct checked *c = (struct checked *)b;

	return atomic_load(&c->state) == STATE_GOOD &&
	       blob_extent(c->base, off, out);
}

static int checked_status(struct blob *b, struct err *e)
{
	return blob_status(((struct checked *)b)->base, e);
}

static void checked_fini(struct blob *b)
{
	blob_unref(((struct checked *)b)->base);
}

static const struct blob_ops checked_ops = {
	.read = checked_read,
	.extent = checked_extent,
	.status = checked_status,
	.fini = checked_fini,
	.slow = true,
};

struct blob *tf_checked(struct blob *base, uint32_t masked_crc)
{
	struct checked *c = base ? malloc(sizeof(*c)) : NULL;

	if (!c) {
		blob_unref(base);
		return NULL;
	}
	c->base = base;
	c->crc = masked_crc;
	atomic_init(&c->state, STATE_UNKNOWN);
	blob_init(&c->blob, &checked_ops, base->size);
	return &c->blob;
}
