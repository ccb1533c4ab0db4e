/* SPDX-License-Identifier: MIT */
/* Strided views against four lines that do the same the slow way. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"
#include "modelfs/tensor.h"

#include "check.h"

#define BASE_ELEMS 4096

static struct blob *make_base(size_t elem_size, bool in_memory, uint8_t **out)
{
	size_t len = BASE_ELEMS * elem_size;
	uint8_t *p = malloc(len), *copy = malloc(len);
	struct source *s = NULL;
	struct blob *b = NULL;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 131 + i / 251);
	memcpy(copy, p, len);
	*out = copy;
	if (in_memory)
		return blob_take(p, len);
	source_from_memory(p, len, "base", &s, NULL);
	blob_file(s, 0, len, &b, NULL);
	source_unref(s);
	return b;
}

static uint8_t *naive(const uint8_t *base, size_t size, const struct shape *s,
		      const int64_t *strides, uint64_t offset, uint64_t n)
{
	uint8_t *out = malloc(n * size + 1);

	for (uint64_t i = 0; i < n; i++) {
		int64_t at = (int64_t)offset;
		uint64_t rest = i;

		for (int a = s->rank - 1; a >= 0; a--) {
			at += (int64_t)(rest % s->dims[a]) * strides[a];
			rest /= s->dims[a];
		}
		memcpy(out + i * size, base + (uint64_t)at * size, size);
	}
	return out;
}

static void check_reads(struct blob *b, const uint8_t *want)
{
	uint8_t *buf = malloc(b->size + 1);

	CHECK_INT(blob_read_full(b, buf, b->size, 0, NULL), 0);
	CHECK(memcmp(buf, want, b->size) == 0);
	for (int i = 0; i < 20 && b->size > 0; i++) {
		uint64_t off = (uint64_t)rand() % b->size;
		size_t len = (size_t)rand() % (b->size - off + 1);

		CHECK_INT(blob_read_full(b, buf, len, off, NULL), 0);
		CHECK(memcmp(buf, want + off, len) == 0);
	}
	free(buf);
}

/* A random view that lies inside the base. */
static uint64_t make_view(struct shape *s, int64_t *strides)
{
	int64_t low = 0, high = 0;

	s->rank = rand() % 5;
	for (int a = 0; a < s->rank; a++) {
		int64_t room = BASE_ELEMS - 1 - (high - low);
		int64_t span;

		s->dims[a] = rand() % 9;
		strides[a] = rand() % 3 ? rand() % 40 - 20 : rand() % 600 - 300;
		span = (s->dims[a] - 1) * strides[a];
		if (s->dims[a] == 0)
			continue;
		if (llabs(span) > room) {
			strides[a] = 0;
			span = 0;
		}
		low += span < 0 ? span : 0;
		high += span > 0 ? span : 0;
	}
	return (uint64_t)-low +
	       (uint64_t)(rand() % (BASE_ELEMS - (high - low)));
}

TEST(random_views)
{
	static const size_t sizes[] = {1, 2, 4, 8, 16, 3, 1000};

	srand(42);
	for (int round = 0; round < 3000 && !check_failed; round++) {
		size_t size = sizes[rand() % (round % 50 ? 6 : 7)];
		int64_t strides[SHAPE_RANK_MAX];
		struct shape s = {0};
		uint64_t offset = make_view(&s, strides), n = 0;
		struct err e = {0};
		struct blob *b;
		uint8_t *copy, *want;

		b = make_base(size, round % 2, &copy);
		CHECK(shape_nelems(&s, &n));
		want = naive(copy, size, &s, strides, offset, n);
		CHECK_INT(blob_strided(b, size, &s, strides, offset, &b, &e),
			  0);
		CHECK_INT(b->size, n * size);
		check_reads(b, want);
		blob_unref(b);
		free(copy);
		free(want);
	}
}

TEST(transposed_matrix)
{
	static const int64_t dims[] = {64, 61}, strides[] = {1, 64};
	struct shape s = shape_of(2, dims);
	uint8_t *copy, *want;
	struct blob *b = make_base(4, false, &copy);

	want = naive(copy, 4, &s, strides, 5, 64 * 61);
	CHECK_INT(blob_strided(b, 4, &s, strides, 5, &b, NULL), 0);
	check_reads(b, want);
	blob_unref(b);
	free(copy);
	free(want);
}

TEST(contiguous_stays_a_file_range)
{
	static const int64_t dims[] = {3, 1, 4}, strides[] = {4, 77, 1};
	struct shape s = shape_of(3, dims);
	struct extent x;
	uint8_t *copy;
	struct blob *b = make_base(2, false, &copy);

	CHECK_INT(blob_strided(b, 2, &s, strides, 10, &b, NULL), 0);
	CHECK(blob_is_extent(b, &x) && x.off == 20 && x.len == 24);
	blob_unref(b);
	free(copy);
}

TEST(four_terabytes_of_one_number)
{
	static const int64_t dims[] = {1 << 20, 1 << 20}, strides[] = {0, 0};
	struct shape s = shape_of(2, dims);
	uint32_t v[100];
	struct blob *b = blob_copy("abcd", 4);

	CHECK_INT(blob_strided(b, 4, &s, strides, 0, &b, NULL), 0);
	CHECK_INT(b->size, (uint64_t)1 << 42);
	CHECK_INT(
		blob_read_full(b, v, sizeof(v), ((uint64_t)1 << 41) + 8, NULL),
		0);
	CHECK(memcmp(&v[0], "abcd", 4) == 0);
	CHECK(memcmp(&v[99], "abcd", 4) == 0);
	blob_unref(b);
}

static int try_view(int64_t d0, int64_t d1, int64_t s0, int64_t s1,
		    uint64_t offset)
{
	int64_t dims[] = {d0, d1}, strides[] = {s0, s1};
	struct shape s = shape_of(2, dims);
	struct blob *out = NULL;
	struct err e = {0};
	int rc;

	rc = blob_strided(blob_copy("0123456789", 10), 1, &s, strides, offset,
			  &out, &e);
	blob_unref(out);
	return rc;
}

TEST(views_outside_are_refused)
{
	CHECK_INT(try_view(2, 5, 5, 1, 0), 0);
	CHECK_INT(try_view(2, 5, -5, 1, 5), 0);
	CHECK_INT(try_view(2, 5, 5, 1, 1), -EIO);
	CHECK_INT(try_view(2, 5, 6, 1, 0), -EIO);
	CHECK_INT(try_view(2, 5, -5, 1, 4), -EIO);
	CHECK_INT(try_view(1, 1, 0, 0, 10), -EIO);
	CHECK_INT(try_view(1, 1, 0, 0, UINT64_MAX), -EIO);
	CHECK_INT(try_view(2, 2, INT64_MAX, 1, 0), -EIO);
	CHECK_INT(try_view(2, 2, INT64_MIN, 1, 0), -EIO);
	CHECK_INT(try_view(2, 2, INT64_MAX, INT64_MAX, 0), -EIO);
	CHECK_INT(try_view(3, 2, INT64_MAX / 2 + 1, 1, 0), -EIO);
	CHECK_INT(try_view((int64_t)1 << 62, 4, 0, 0, 0), -EIO);
	CHECK_INT(try_view(-1, 4, 0, 0, 0), -EIO);
	/* Nothing is touched where there is no element. */
	CHECK_INT(try_view(0, 5, INT64_MIN, INT64_MAX, UINT64_MAX), 0);
	CHECK_INT(try_view(1, 5, INT64_MIN, 1, 0), 0);
}

int main(void)
{
	RUN(random_views);
	RUN(transposed_matrix);
	RUN(contiguous_stays_a_file_range);
	RUN(four_terabytes_of_one_number);
	RUN(views_outside_are_refused);
	return check_result();
}
