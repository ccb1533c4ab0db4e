/* SPDX-License-Identifier: MIT */
/* Compressed files: every way, cut off, damaged, several in one, bombs; Z1. */
#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <zlib.h>

#include "check.h"
#include "recipe.h"

#include "wire/unpack.h"

#define ROOM 4096

enum way { ZLIB, BZIP2, XZ, LZMA, WAYS };

static size_t pack(enum way way, const void *data, size_t len, uint8_t *out)
{
	uLongf zlen = ROOM;
	unsigned blen = ROOM;
	size_t n = 0;
	lzma_options_lzma options;
	lzma_stream z = LZMA_STREAM_INIT;

	switch (way) {
	case ZLIB:
		CHECK_INT(compress(out, &zlen, data, len), Z_OK);
		return zlen;
	case BZIP2:
		CHECK_INT(BZ2_bzBuffToBuffCompress((char *)out, &blen,
						   (char *)data, (unsigned)len,
						   9, 0, 0),
			  BZ_OK);
		return blen;
	case XZ:
		CHECK_INT(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL,
						  data, len, out, &n, ROOM),
			  LZMA_OK);
		return n;
	default:
		lzma_lzma_preset(&options, 0);
		CHECK_INT(lzma_alone_encoder(&z, &options), LZMA_OK);
		z.next_in = data;
		z.avail_in = len;
		z.next_out = out;
		z.avail_out = ROOM;
		CHECK_INT(lzma_code(&z, LZMA_FINISH), LZMA_STREAM_END);
		n = ROOM - z.avail_out;
		lzma_end(&z);
		return n;
	}
}

static int unpack(const uint8_t *p, size_t len, uint64_t max, const void *want,
		  size_t nwant)
{
	struct recipe r = {0};
	struct source *in, *out = NULL;
	struct err e = {0};
	char *got;
	int rc;

	recipe_bytes(&r, p, len);
	in = recipe_source(&r);
	rc = unpack_load(in, max, &out, &e);
	CHECK((rc < 0) == (e.msg[0] != '\0'));
	if (rc == 0 && want) {
		CHECK_INT(source_size(out), nwant);
		got = malloc(nwant + 1);
		CHECK_INT(source_read(out, got, nwant, 0, &e), 0);
		CHECK(memcmp(got, want, nwant) == 0);
		free(got);
	}
	if (rc == 0)
		source_unref(out);
	source_unref(in);
	return rc;
}

TEST(every_way)
{
	static const char text[] = "{\"a\": [1, 2]}";
	uint8_t packed[2 * ROOM];

	for (int way = 0; way < WAYS; way++) {
		size_t len = pack(way, text, 13, packed);

		CHECK(unpack_is_head(packed, len));
		CHECK_INT(unpack(packed, len, 1000, text, 13), 0);
		/* nothing, and many times itself */
		len = pack(way, "", 0, packed);
		CHECK_INT(unpack(packed, len, 1000, "", 0), 0);
	}
}

TEST(streams_in_a_row)
{
	uint8_t packed[3 * ROOM];
	size_t len = pack(BZIP2, "abc", 3, packed);

	len += pack(XZ, "def", 3, packed + len);
	memcpy(packed + len, "tail", 4);
	CHECK_INT(unpack(packed, len + 4, 1000, "abcdef", 6), 0);
	/* the limit is that of all together */
	CHECK_INT(unpack(packed, len, 5, NULL, 0), -EFBIG);
}

TEST(cut_off_and_damaged)
{
	uint8_t packed[ROOM];
	char text[600];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * i >> 3);
	for (int way = 0; way < WAYS; way++) {
		size_t len = pack(way, text, sizeof(text), packed);

		/* shorter than a header, it is no such file */
		for (size_t n = 13; n < len - 8; n++)
			CHECK_INT(unpack(packed, n, 1000, NULL, 0), -EIO);
		for (size_t i = 13; i < len; i++) {
			packed[i] ^= 0x40;
			unpack(packed, len, 1000, NULL, 0);
			packed[i] ^= 0x40;
		}
	}
}

TEST(bombs)
{
	static uint8_t packed[ROOM];
	size_t large = 1 << 20;
	char *zeros = calloc(1, large);

	for (int way = 0; way < WAYS; way++) {
		size_t len = pack(way, zeros, large, packed);

		CHECK_INT(unpack(packed, len, large, zeros, large), 0);
		CHECK_INT(unpack(packed, len, large - 1, NULL, 0), -EFBIG);
		CHECK_INT(unpack(packed, len, 0, NULL, 0), -EFBIG);
	}
	free(zeros);
	/* a dictionary of 4 GiB */
	memcpy(packed, "\x5d\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 13);
	CHECK(unpack(packed, ROOM, large, NULL, 0) < 0);
}

int main(void)
{
	RUN(every_way);
	RUN(streams_in_a_row);
	RUN(cut_off_and_damaged);
	RUN(bombs);
	return check_result();
}
