/* SPDX-License-Identifier: MIT */
/*
 * sstable - see sstable.h.
 *
 * One pass over the index, which loads one block after the other.  Blocks
 * must follow each other in the file, so that no file can make us read more
 * than its own size.
 */
#include "wire/sstable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/source.h"

#include "wire/crc32c.h"
#include "wire/snappy.h"

#define FOOTER_SIZE 48
#define MAGIC UINT64_C(0xdb4775248b80fb57)
#define TRAILER_SIZE 5 /* compression, checksum */

/*
 * Bytes of all keys.  Each shares its beginning with the one before, so that a
 * few bytes of the file can stand for a long key.
 */
#define KEYS_MIN ((uint64_t)64 << 20)
#define KEYS_PER_BYTE 16

enum compression { COMPRESSION_NONE, COMPRESSION_SNAPPY };

struct handle {
	uint64_t off, size;
};

struct block {
	struct source *src; /* owned; what data is a copy of */
	uint64_t off;	    /* of data in src */
	uint8_t *data;	    /* owned */
	size_t len;
};

/* Walks over the entries of one block. */
struct walk {
	struct cursor c; /* over the entries, without the restarts */
	uint8_t *key;	 /* owned */
	size_t key_len, key_cap;
	const uint8_t *value;
	size_t value_len;
	bool has_key;
};

struct table {
	struct source *file;
	uint64_t next;	     /* the next block may not start before this */
	uint64_t key_bytes;  /* of all entries so far */
	struct walk entries; /* its key goes on from block to block */
	sstable_fn fn;
	void *ctx;
};

static uint64_t get_u64(const uint8_t *p)
{
	struct cursor c = cursor_make(p, 8, 0);

	return cursor_u64(&c);
}

bool sstable_probe(struct source *src)
{
	uint64_t size = source_size(src);
	uint8_t magic[8];

	return size >= FOOTER_SIZE &&
	       source_read(src, magic, 8, size - 8, NULL) == 0 &&
	       get_u64(magic) == MAGIC;
}

static struct handle read_handle(struct cursor *c)
{
	struct handle h;

	h.off = cursor_varint(c);
	h.size = cursor_varint(c);
	return h;
}

/* ---- blocks ---- */

static int inflate_block(struct block *b, struct err *e)
{
	uint8_t *data;
	size_t len;
	void *copy;
	int rc = snappy_inflate(b->data, b->len, SSTABLE_BLOCK_MAX, &data, &len,
				e);

	if (rc < 0)
		return rc;
	copy = malloc(len + 1);
	if (!copy) {
		free(data);
		return err_nomem(e, len);
	}
	memcpy(copy, data, len);
	free(b->data);
	b->data = data;
	b->len = len;
	b->off = 0;
	return source_from_memory(copy, len, "block", &b->src, e);
}

static int check_block(struct block *b, const uint8_t *trailer, struct err *e)
{
	struct cursor c = cursor_make(trailer, TRAILER_SIZE, 0);
	uint8_t type = cursor_u8(&c);
	uint32_t crc = crc32c(0, b->data, b->len);

	if (crc32c_mask(crc32c(crc, trailer, 1)) != cursor_u32(&c))
		return err_set(e, EIO, "byte %llu: a block's checksum is wrong",
			       (unsigned long long)b->off);
	if (type == COMPRESSION_SNAPPY)
		return inflate_block(b, e);
	if (type != COMPRESSION_NONE)
		return err_set(e, EOPNOTSUPP,
			       "byte %llu: compression %u is not known",
			       (unsigned long long)b->off, type);
	return 0;
}

static void drop_block(struct block *b)
{
	source_unref(b->src);
	free(b->data);
}

static int load_block(struct source *file, const struct handle *h,
		      struct block *b, struct err *e)
{
	uint64_t end = source_size(file) - FOOTER_SIZE;
	int rc;

	if (h->off > end || h->size > end - h->off ||
	    end - h->off - h->size < TRAILER_SIZE)
		return err_set(e, EINVAL, "a block of %llu bytes at %llu",
			       (unsigned long long)h->size,
			       (unsigned long long)h->off);
	if (h->size > SSTABLE_BLOCK_MAX)
		return err_set(e, EFBIG, "a block of %llu bytes",
			       (unsigned long long)h->size);
	*b = (struct block){.off = h->off, .len = (size_t)h->size};
	b->data = malloc(b->len + TRAILER_SIZE);
	if (!b->data)
		return err_nomem(e, b->len);
	rc = source_read(file, b->data, b->len + TRAILER_SIZE, h->off, e);
	if (rc == 0)
		rc = check_block(b, b->data + b->len, e);
	if (rc == 0 && !b->src)
		b->src = source_ref(file);
	if (rc < 0)
		drop_block(b);
	return rc;
}

/* ---- entries ---- */

static int start_walk(struct walk *w, const struct block *b, struct err *e)
{
	struct cursor tail;
	uint64_t restarts;

	if (b->len < 4)
		return err_set(e, EINVAL, "a block of %zu bytes", b->len);
	tail = cursor_make(b->data + b->len - 4, 4, 0);
	restarts = (uint64_t)cursor_u32(&tail) * 4 + 4;
	if (restarts > b->len)
		return err_set(e, EINVAL, "more restarts than a block holds");
	w->c = cursor_make(b->data, b->len - (size_t)restarts, b->off);
	return 0;
}

/* The key that shares its first bytes with the one before. */
static int make_key(struct walk *w, size_t shared, const uint8_t *added,
		    size_t nadded, struct err *e)
{
	size_t len = shared + nadded, common;
	uint8_t *key;
	int order;

	if (len > SSTABLE_KEY_MAX)
		return err_set(e, EFBIG, "a key of %zu bytes", len);
	if (len > w->key_cap || !w->key) {
		key = realloc(w->key, len * 2 + 64);
		if (!key)
			return err_nomem(e, len);
		w->key = key;
		w->key_cap = len * 2 + 64;
	}
	/* The new key must be greater: it differs first behind `shared`. */
	common = w->key_len - shared < nadded ? w->key_len - shared : nadded;
	order = common ? memcmp(added, w->key + shared, common) : 0;
	if (w->has_key && (order < 0 || (order == 0 && len <= w->key_len)))
		return err_set(e, EINVAL, "byte %llu: keys are not sorted",
			       (unsigned long long)w->c.off);
	if (nadded)
		memcpy(w->key + shared, added, nadded);
	w->key_len = len;
	w->has_key = true;
	return 0;
}

static int next_entry(struct walk *w, struct err *e)
{
	uint64_t shared = cursor_varint(&w->c);
	uint64_t nadded = cursor_varint(&w->c);
	uint64_t nvalue = cursor_varint(&w->c);
	const uint8_t *added;
	int rc;

	if (w->c.bad || shared > w->key_len || nadded > cursor_left(&w->c) ||
	    nvalue > cursor_left(&w->c) - nadded)
		return err_set(e, EINVAL, "byte %llu: no entry of a table",
			       (unsigned long long)w->c.off);
	added = cursor_bytes(&w->c, (size_t)nadded);
	rc = make_key(w, (size_t)shared, added, (size_t)nadded, e);
	if (rc < 0)
		return rc;
	w->value = cursor_bytes(&w->c, (size_t)nvalue);
	w->value_len = (size_t)nvalue;
	return 0;
}

static int charge_key(struct table *t, size_t len, struct err *e)
{
	t->key_bytes += len;
	if (t->key_bytes < KEYS_MIN ||
	    t->key_bytes / KEYS_PER_BYTE < source_size(t->file))
		return 0;
	return err_set(e, EFBIG, "the keys are too long for the file");
}

static int give_entries(struct table *t, const struct block *b, struct err *e)
{
	struct walk *w = &t->entries;
	int rc = start_walk(w, b, e);

	while (rc == 0 && cursor_left(&w->c) > 0) {
		struct sstable_entry entry;

		rc = next_entry(w, e);
		if (rc == 0)
			rc = charge_key(t, w->key_len, e);
		if (rc < 0)
			return rc;
		entry = (struct sstable_entry){
			.key = w->key,
			.key_len = w->key_len,
			.value = w->value,
			.value_len = w->value_len,
			.src = b->src,
			.off = b->off + (uint64_t)(w->value - b->data),
		};
		rc = t->fn(t->ctx, &entry, e);
	}
	return rc;
}

static int give_block(struct table *t, const struct walk *index, struct err *e)
{
	struct cursor c = cursor_make(index->value, index->value_len, 0);
	struct handle h = read_handle(&c);
	struct block b;
	int rc;

	if (c.bad)
		return err_set(e, EINVAL, "the index holds no handle");
	if (h.off < t->next)
		return err_set(e, EINVAL, "blocks overlap at byte %llu",
			       (unsigned long long)h.off);
	rc = load_block(t->file, &h, &b, e);
	if (rc < 0)
		return rc;
	t->next = h.off + h.size + TRAILER_SIZE;
	rc = give_entries(t, &b, e);
	drop_block(&b);
	return rc;
}

static int find_index(struct source *src, struct handle *out, struct err *e)
{
	uint64_t size = source_size(src);
	uint8_t footer[FOOTER_SIZE];
	struct cursor c;
	int rc;

	if (size < FOOTER_SIZE)
		return err_set(e, EINVAL, "too short for a table");
	rc = source_read(src, footer, FOOTER_SIZE, size - FOOTER_SIZE, e);
	if (rc < 0)
		return rc;
	if (get_u64(footer + FOOTER_SIZE - 8) != MAGIC)
		return err_set(e, EINVAL, "no magic number at the end");
	c = cursor_make(footer, FOOTER_SIZE - 8, size - FOOTER_SIZE);
	read_handle(&c); /* of what TensorFlow does not use */
	*out = read_handle(&c);
	return c.bad ? err_set(e, EINVAL, "no handle in the footer") : 0;
}

int sstable_each(struct source *src, sstable_fn fn, void *ctx, struct err *e)
{
	struct table t = {.file = src, .fn = fn, .ctx = ctx};
	struct walk index = {0};
	struct handle h;
	struct block b;
	int rc = find_index(src, &h, e);

	if (rc == 0)
		rc = load_block(src, &h, &b, e);
	if (rc < 0)
		return rc;
	rc = start_walk(&index, &b, e);
	while (rc == 0 && cursor_left(&index.c) > 0) {
		rc = next_entry(&index, e);
		if (rc == 0)
			rc = give_block(&t, &index, e);
	}
	drop_block(&b);
	free(index.key);
	free(t.entries.key);
	return rc;
}
