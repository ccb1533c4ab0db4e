/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"

#include "data/copies.h"

#include "check.h"

#define PREFIX 13 /* bytes before the stream */

struct packed {
	uint8_t *plain;
	size_t usize;
	uint8_t *file;
	size_t csize;
	uint32_t crc;
};

static struct packed pack(size_t usize)
{
	struct packed p = {.usize = usize};
	z_stream z = {0};
	size_t room = usize + usize / 100 + 1000;

	p.plain = malloc(usize + 1);
	for (size_t i = 0; i < usize; i++)
		p.plain[i] = (uint8_t)(i % 3 ? i / 97 : (i * i) >> 7);
	p.file = calloc(1, PREFIX + room);
	deflateInit2(&z, 1, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
	z.next_in = p.plain;
	z.avail_in = (uInt)usize;
	z.next_out = p.file + PREFIX;
	z.avail_out = (uInt)room;
	CHECK_INT(deflate(&z, Z_FINISH), Z_STREAM_END);
	p.csize = z.total_out;
	deflateEnd(&z);
	p.crc = crc32(crc32(0, NULL, 0), p.plain, usize);
	return p;
}

static void packed_free(struct packed *p)
{
	free(p->plain);
	free(p->file);
}

static struct blob *open_packed(const struct packed *p, int want_rc)
{
	uint8_t *copy = malloc(PREFIX + p->csize);
	struct source *s = NULL;
	struct blob *b = NULL;
	struct err e = {0};

	memcpy(copy, p->file, PREFIX + p->csize);
	source_from_memory(copy, PREFIX + p->csize, "zip", &s, NULL);
	CHECK_INT(blob_inflate(s, PREFIX, p->csize, p->usize, p->crc, &b, &e),
		  want_rc);
	source_unref(s);
	return b;
}

static bool reads_well(struct blob *b, const struct packed *p, uint64_t off,
		       size_t len)
{
	uint8_t *buf = malloc(len + 1);
	struct err e = {0};
	bool ok = blob_read_full(b, buf, len, off, &e) == 0 &&
		  memcmp(buf, p->plain + off, len) == 0;

	if (!ok)
		printf("# %zu bytes at %llu: %s\n", len,
		       (unsigned long long)off, e.msg);
	free(buf);
	return ok;
}

TEST(in_order)
{
	static const size_t sizes[] = {0, 1, 1000, 65536, 3000000};

	for (int k = 0; k < 5; k++) {
		struct packed p = pack(sizes[k]);
		struct blob *b = open_packed(&p, 0);

		for (uint64_t off = 0; off < p.usize; off += 130001) {
			size_t n = p.usize - off;

			CHECK(reads_well(b, &p, off, n < 130001 ? n : 130001));
		}
		blob_unref(b);
		packed_free(&p);
	}
}

TEST(out_of_order)
{
	struct packed p = pack(9000000);
	struct blob *b = open_packed(&p, 0);

	CHECK(b->ops->slow);
	CHECK(reads_well(b, &p, 0, 100));
	CHECK(reads_well(b, &p, 131072, 131072)); /* overtaken */
	CHECK(reads_well(b, &p, 500, 131072));
	CHECK(reads_well(b, &p, 8999999, 1));
	CHECK(reads_well(b, &p, 0, 9000000));
	blob_unref(b);
	b = open_packed(&p, 0);
	CHECK(reads_well(b, &p, 8000000, 1000000));
	CHECK(reads_well(b, &p, 1, 1));
	blob_unref(b);
	packed_free(&p);
}

static int read_end(const struct packed *p, size_t usize)
{
	struct packed changed = *p;
	struct err e = {0};
	struct blob *b;
	uint8_t c;
	int rc;

	changed.usize = usize;
	b = open_packed(&changed, 0);
	rc = blob_read_full(b, &c, 1, usize - 1, &e);
	CHECK((rc == 0) == (e.code == 0));
	blob_unref(b);
	return rc;
}

TEST(damage)
{
	static const size_t sizes[] = {5000, 3000000};

	for (int k = 0; k < 2; k++) {
		struct packed p = pack(sizes[k]);

		CHECK_INT(read_end(&p, p.usize), 0);
		CHECK_INT(read_end(&p, p.usize - 1), -EIO); /* longer */
		CHECK_INT(read_end(&p, p.usize + 1), -EIO); /* shorter */
		p.crc ^= 1;
		CHECK_INT(read_end(&p, p.usize), -EIO);
		p.crc ^= 1;
		p.csize--;
		CHECK_INT(read_end(&p, p.usize), -EIO); /* cut short */
		p.csize++;
		p.file[PREFIX] = 0xff; /* a block type that does not exist */
		CHECK_INT(read_end(&p, p.usize), -EIO);
		packed_free(&p);
	}
}

/* The last bytes of a stream are not handed out when the CRC is wrong. */
TEST(damage_in_order)
{
	struct packed p = pack(3000000);
	uint8_t *buf = malloc(p.usize);
	struct err e = {0};
	struct blob *b;

	p.crc++;
	b = open_packed(&p, 0);
	CHECK_INT(blob_read_full(b, buf, 1000, 0, &e), 0);
	CHECK_INT(blob_read_full(b, buf, p.usize - 1000, 1000, &e), -EIO);
	CHECK_INT(blob_read_full(b, buf, 1000, 0, &e), 0);
	blob_unref(b);
	free(buf);
	packed_free(&p);
}

TEST(bombs_and_ranges)
{
	struct packed p = pack(1000);
	size_t usize = p.usize;

	p.usize = p.csize * 1033 + 2000;
	CHECK(!open_packed(&p, -EIO));
	p.usize = usize;
	{
		struct source *s = NULL;
		struct blob *b = NULL;

		source_from_memory(calloc(1, 10), 10, "x", &s, NULL);
		CHECK_INT(blob_inflate(s, 5, 6, 9, 0, &b, NULL), -EIO);
		CHECK_INT(blob_inflate(s, UINT64_MAX, 2, 9, 0, &b, NULL), -EIO);
		source_unref(s);
	}
	packed_free(&p);
}

/* Many members, each read out of order: what is kept stays bounded. */
TEST(copies_are_bounded)
{
	enum { N = 15 };
	struct packed p = pack(20 << 20);
	struct blob *b[N];

	for (int i = 0; i < N; i++)
		b[i] = open_packed(&p, 0);
	for (int i = 0; i < N; i++) {
		CHECK(reads_well(b[i], &p, 19 << 20, 100));
		CHECK(copies_nbytes() <= COPIES_MAX);
	}
	CHECK(copies_nbytes() >= 12 * (20u << 20));
	for (int i = 0; i < N; i += 5) /* again, dropped or not */
		CHECK(reads_well(b[i], &p, 5, 100));
	for (int i = 0; i < N; i++)
		blob_unref(b[i]);
	CHECK_INT(copies_nbytes(), 0);
	packed_free(&p);
}

int main(void)
{
	RUN(in_order);
	RUN(out_of_order);
	RUN(damage);
	RUN(damage_in_order);
	RUN(bombs_and_ranges);
	RUN(copies_are_bounded);
	return check_result();
}
