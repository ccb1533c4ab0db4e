/* SPDX-License-Identifier: MIT */
/*
 * blob_inflate - a raw deflate stream as a blob (the only door to zlib's
 * inflate).
 *
 * Reading in order continues one stream.  A read a little ahead of it skips;
 * any other read goes to a complete copy, which is made when the result is
 * small enough (and dropped when there are too many, see copies.h), or else
 * starts the stream again.  Size and CRC-32 are checked
 * when the end is reached; a copy is checked before any of it is handed out.
 *
 * One mutex per blob protects the stream.
 */
#include "modelfs/blob.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "modelfs/err.h"
#include "modelfs/source.h"

#include "data/copies.h"

#define INPUT_BUFFER 65536
/* Up to this, the first read inflates all. */
#define COPY_ALWAYS ((uint64_t)1 << 20)
/* Beyond this, reading out of order starts the stream again instead. */
#define COPY_MAX COPIES_MAX
/* What a read may be ahead of the stream (requests overtake each other). */
#define SKIP_MAX ((uint64_t)4 << 20)
/* The most that deflate can expand: 258 bytes for 2 bits. */
#define RATIO_MAX 1032

struct blob_inflate {
	struct blob base;
	struct source *src; /* owned reference */
	uint64_t off;	    /* of the stream in src */
	uint64_t csize;
	uint32_t crc;

	pthread_mutex_t lock; /* all below */
	bool is_open;	      /* z is initialised */
	bool has_ended;	      /* end seen, size and CRC are right */
	z_stream z;
	uint64_t in_pos;  /* next byte of the stream to fetch */
	uint64_t out_pos; /* next byte that inflates */
	uint32_t out_crc; /* of all before out_pos */
	uint8_t *input;	  /* INPUT_BUFFER bytes while open */

	struct copy_slot slot; /* see copies.h */
};

static void close_stream(struct blob_inflate *f)
{
	if (f->is_open)
		inflateEnd(&f->z);
	f->is_open = false;
	free(f->input);
	f->input = NULL;
}

static int open_stream(struct blob_inflate *f, struct err *e)
{
	close_stream(f);
	f->input = malloc(INPUT_BUFFER);
	if (!f->input)
		return err_nomem(e, INPUT_BUFFER);
	memset(&f->z, 0, sizeof(f->z));
	if (inflateInit2(&f->z, -MAX_WBITS) != Z_OK) {
		free(f->input);
		f->input = NULL;
		return err_nomem(e, sizeof(f->z));
	}
	f->is_open = true;
	f->has_ended = false;
	f->in_pos = 0;
	f->out_pos = 0;
	f->out_crc = crc32(0, NULL, 0);
	return 0;
}

static int refill(struct blob_inflate *f, struct err *e)
{
	uint64_t left = f->csize - f->in_pos;
	size_t n = left < INPUT_BUFFER ? left : INPUT_BUFFER;
	int rc;

	if (f->z.avail_in > 0 || n == 0)
		return 0;
	rc = source_read(f->src, f->input, n, f->off + f->in_pos, e);
	if (rc < 0)
		return rc;
	f->in_pos += n;
	f->z.next_in = f->input;
	f->z.avail_in = n;
	return 0;
}

/* The next len bytes; what is missing at the end stays in z.avail_out. */
static int run_stream(struct blob_inflate *f, uint8_t *to, size_t len,
		      bool *ended, struct err *e)
{
	*ended = false;
	f->z.next_out = to;
	f->z.avail_out = len;
	while (!*ended) {
		int rc = refill(f, e);
		int status;

		if (rc < 0)
			return rc;
		status = inflate(&f->z, Z_NO_FLUSH);
		*ended = status == Z_STREAM_END;
		if (status == Z_MEM_ERROR)
			return err_nomem(e, sizeof(f->z));
		if (status != Z_OK && status != Z_BUF_ERROR && !*ended)
			return err_set(e, EIO, "compressed data is damaged: %s",
				       f->z.msg ? f->z.msg : "not deflate");
		if (f->z.avail_out == 0)
			break;
		if (status == Z_BUF_ERROR && f->in_pos == f->csize)
			return err_set(e, EIO, "compressed data is cut short");
	}
	return 0;
}

/* All was inflated: there must be nothing more, and the CRC must be right. */
static int check_end(struct blob_inflate *f, bool ended, struct err *e)
{
	uint8_t more;
	int rc;

	if (!ended) {
		rc = run_stream(f, &more, 1, &ended, e);
		if (rc < 0)
			return rc;
		if (!ended || f->z.avail_out == 0)
			return err_set(e, EIO,
				       "compressed data is longer than the "
				       "declared %llu bytes",
				       (unsigned long long)f->base.size);
	}
	if (f->out_crc != f->crc)
		return err_set(e, EIO, "checksum is %08x, not %08x",
			       (unsigned)f->out_crc, (unsigned)f->crc);
	f->has_ended = true;
	close_stream(f);
	return 0;
}

/* The next len bytes of the stream, all of which must be there. */
static int next_bytes(struct blob_inflate *f, uint8_t *to, size_t len,
		      struct err *e)
{
	bool ended;
	int rc = run_stream(f, to, len, &ended, e);

	if (rc == 0 && f->z.avail_out > 0)
		rc = err_set(e, EIO,
			     "compressed data is shorter than the declared "
			     "%llu bytes",
			     (unsigned long long)f->base.size);
	if (rc == 0) {
		f->out_crc = crc32(f->out_crc, to, len);
		f->out_pos += len;
		if (f->out_pos == f->base.size)
			rc = check_end(f, ended, e);
	}
	if (rc < 0)
		close_stream(f);
	return rc;
}

static int skip_to(struct blob_inflate *f, uint64_t off, struct err *e)
{
	uint8_t buf[16384];

	while (f->out_pos < off) {
		uint64_t left = off - f->out_pos;
		size_t n = left < sizeof(buf) ? left : sizeof(buf);
		int rc = next_bytes(f, buf, n, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* zlib counts in unsigned int. */
static int inflate_all(struct blob_inflate *f, uint8_t *to, struct err *e)
{
	uint64_t size = f->base.size;
	uint64_t at = 0;
	int rc = open_stream(f, e);

	while (rc == 0 && at < size) {
		size_t n = size - at < INPUT_BUFFER ? size - at : INPUT_BUFFER;

		rc = next_bytes(f, to + at, n, e);
		at += n;
	}
	return rc;
}

static int make_copy(struct blob_inflate *f, struct blob **out, struct err *e)
{
	struct blob *copy;
	void *to;
	int rc;

	copy = blob_mem(f->base.size, &to);
	if (!copy)
		return err_nomem(e, f->base.size);
	rc = inflate_all(f, to, e);
	if (rc < 0) {
		blob_unref(copy);
		return rc;
	}
	copies_put(&f->slot, blob_ref(copy));
	*out = copy;
	return 0;
}

static bool is_in_order(const struct blob_inflate *f, uint64_t off)
{
	if (!f->is_open)
		return off == 0;
	return off >= f->out_pos && off - f->out_pos <= SKIP_MAX;
}

static int read_stream(struct blob_inflate *f, uint8_t *to, size_t len,
		       uint64_t off, struct err *e)
{
	int rc = 0;

	if (!f->is_open || off < f->out_pos)
		rc = open_stream(f, e);
	if (rc == 0)
		rc = skip_to(f, off, e);
	while (rc == 0 && len > 0) {
		size_t n = len < INPUT_BUFFER ? len : INPUT_BUFFER;

		rc = next_bytes(f, to, n, e);
		to += n;
		len -= n;
	}
	return rc;
}

static bool wants_copy(const struct blob_inflate *f, uint64_t off)
{
	if (f->base.size <= COPY_ALWAYS)
		return true;
	return !is_in_order(f, off) && f->base.size <= COPY_MAX;
}

static int read_locked(struct blob_inflate *f, uint8_t *to, size_t len,
		       uint64_t off, struct err *e)
{
	struct blob *copy = copies_get(&f->slot);
	int rc = 0;

	if (!copy && wants_copy(f, off))
		rc = make_copy(f, &copy, e);
	if (rc == 0 && copy)
		rc = blob_read_full(copy, to, len, off, e);
	else if (rc == 0)
		rc = read_stream(f, to, len, off, e);
	blob_unref(copy);
	return rc;
}

static int inflate_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	struct blob_inflate *f = (struct blob_inflate *)b;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = read_locked(f, buf, len, off, e);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static void inflate_fini(struct blob *b)
{
	struct blob_inflate *f = (struct blob_inflate *)b;

	close_stream(f);
	copies_drop(&f->slot);
	source_unref(f->src);
	pthread_mutex_destroy(&f->lock);
}

static const struct blob_ops inflate_ops = {
	.read = inflate_read,
	.fini = inflate_fini,
	.slow = true,
};

int blob_inflate(struct source *src, uint64_t off, uint64_t csize,
		 uint64_t usize, uint32_t crc, struct blob **out, struct err *e)
{
	uint64_t size = source_size(src);
	struct blob_inflate *f;

	if (off > size || csize > size - off)
		return err_set(e, EIO, "compressed data is beyond the file");
	if (usize / RATIO_MAX > csize)
		return err_set(e, EIO, "%llu compressed bytes cannot make %llu",
			       (unsigned long long)csize,
			       (unsigned long long)usize);
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_nomem(e, sizeof(*f));
	f->src = source_ref(src);
	f->off = off;
	f->csize = csize;
	f->crc = crc;
	pthread_mutex_init(&f->lock, NULL);
	blob_init(&f->base, &inflate_ops, usize);
	*out = &f->base;
	return 0;
}
