/* SPDX-License-Identifier: MIT */
/*
 * blob - the common part of all blobs, and the two plain kinds: bytes in
 * memory, and a range of a file.
 */
#include "modelfs/blob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/source.h"

#define BLOB_ALIGN 64

void blob_init(struct blob *b, const struct blob_ops *ops, uint64_t size)
{
	b->ops = ops;
	b->size = size;
	atomic_init(&b->refs, 1);
}

struct blob *blob_ref(struct blob *b)
{
	if (b)
		atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void blob_unref(struct blob *b)
{
	unsigned before;

	if (!b)
		return;
	before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
	if (before != 1)
		return;
	if (b->ops->fini)
		b->ops->fini(b);
	free(b);
}

int blob_read_full(struct blob *b, void *buf, size_t len, uint64_t off,
		   struct err *e)
{
	if (off > b->size || len > b->size - off)
		return err_set(
			e, EIO,
			"%zu bytes wanted at %llu, beyond the end (%llu)", len,
			(unsigned long long)off, (unsigned long long)b->size);
	if (len == 0)
		return 0;
	return b->ops->read(b, buf, len, off, e);
}

int blob_read(struct blob *b, void *buf, size_t len, uint64_t off, size_t *got,
	      struct err *e)
{
	int rc;

	if (off >= b->size)
		len = 0;
	else if (len > b->size - off)
		len = b->size - off;
	rc = blob_read_full(b, buf, len, len ? off : 0, e);
	if (rc < 0)
		return rc;
	*got = len;
	return 0;
}

bool blob_extent(struct blob *b, uint64_t off, struct extent *out)
{
	if (!b->ops->extent || off >= b->size)
		return false;
	return b->ops->extent(b, off, out);
}

bool blob_is_extent(struct blob *b, struct extent *out)
{
	struct extent x;

	if (!blob_extent(b, 0, &x) || x.len != b->size)
		return false;
	*out = x;
	return true;
}

const void *blob_bytes(struct blob *b)
{
	return b->ops->bytes ? b->ops->bytes(b) : NULL;
}

int blob_status(struct blob *b, struct err *e)
{
	return b->ops->status ? b->ops->status(b, e) : 0;
}

/* ---- bytes in memory ---- */

struct blob_mem {
	struct blob base;
	uint8_t *data; /* aligned, inside allocated */
	void *allocated;
};

static int mem_read(struct blob *b, void *buf, size_t len, uint64_t off,
		    struct err *e)
{
	struct blob_mem *m = (struct blob_mem *)b;

	(void)e;
	memcpy(buf, m->data + off, len);
	return 0;
}

static const void *mem_bytes(struct blob *b)
{
	return ((struct blob_mem *)b)->data;
}

static void mem_fini(struct blob *b)
{
	free(((struct blob_mem *)b)->allocated);
}

static const struct blob_ops mem_ops = {
	.read = mem_read,
	.bytes = mem_bytes,
	.fini = mem_fini,
};

struct blob *blob_mem(uint64_t size, void **data)
{
	struct blob_mem *m;
	uintptr_t at;

	if (size > SIZE_MAX / 2)
		return NULL;
	m = malloc(sizeof(*m));
	if (!m)
		return NULL;
	/* calloc, not aligned_alloc: fresh pages need no clearing. */
	m->allocated = calloc(1, size + BLOB_ALIGN);
	if (!m->allocated) {
		free(m);
		return NULL;
	}
	at = (uintptr_t)m->allocated;
	at = (at + BLOB_ALIGN - 1) & ~(uintptr_t)(BLOB_ALIGN - 1);
	m->data = (uint8_t *)m->allocated + (at - (uintptr_t)m->allocated);
	blob_init(&m->base, &mem_ops, size);
	if (data)
		*data = m->data;
	return &m->base;
}

struct blob *blob_copy(const void *data, size_t len)
{
	struct blob *b;
	void *to;

	b = blob_mem(len, &to);
	if (b && len)
		memcpy(to, data, len);
	return b;
}

struct blob *blob_take(void *data, size_t len)
{
	struct blob_mem *m;
	struct blob *b;

	if ((uintptr_t)data % BLOB_ALIGN != 0 || !data) {
		b = blob_copy(data, len);
		free(data);
		return b;
	}
	m = malloc(sizeof(*m));
	if (!m) {
		free(data);
		return NULL;
	}
	m->data = data;
	m->allocated = data;
	blob_init(&m->base, &mem_ops, len);
	return &m->base;
}

/* ---- a range of a file ---- */

struct blob_file {
	struct blob base;
	struct source *src; /* owned reference */
	uint64_t off;
};

static int file_read(struct blob *b, void *buf, size_t len, uint64_t off,
		     struct err *e)
{
	struct blob_file *f = (struct blob_file *)b;

	return source_read(f->src, buf, len, f->off + off, e);
}

static bool file_extent(struct blob *b, uint64_t off, struct extent *out)
{
	struct blob_file *f = (struct blob_file *)b;

	out->src = f->src;
	out->off = f->off + off;
	out->len = b->size - off;
	return true;
}

static void file_fini(struct blob *b)
{
	source_unref(((struct blob_file *)b)->src);
}

static const struct blob_ops file_ops = {
	.read = file_read,
	.extent = file_extent,
	.fini = file_fini,
};

int blob_file(struct source *src, uint64_t off, uint64_t len, struct blob **out,
	      struct err *e)
{
	uint64_t size = source_size(src);
	struct blob_file *f;

	if (off > size || len > size - off)
		return err_set(e, EIO,
			       "%llu bytes at %llu are not inside the file "
			       "(%llu bytes)",
			       (unsigned long long)len, (unsigned long long)off,
			       (unsigned long long)size);
	f = malloc(sizeof(*f));
	if (!f)
		return err_nomem(e, sizeof(*f));
	f->src = source_ref(src);
	f->off = off;
	blob_init(&f->base, &file_ops, len);
	*out = &f->base;
	return 0;
}
