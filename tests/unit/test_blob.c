/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"
#include "modelfs/tensor.h"

#include "check.h"

/* A file in memory: byte i is i * 31 + i / 256. */
static struct source *make_source(size_t len)
{
	uint8_t *p = malloc(len);
	struct source *s = NULL;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + i / 256);
	source_from_memory(p, len, "made up", &s, NULL);
	return s;
}

static struct blob *make_file(size_t len)
{
	struct source *s = make_source(len);
	struct blob *b = NULL;

	blob_file(s, 0, len, &b, NULL);
	source_unref(s);
	return b;
}

/* Reads in pieces of every size and compares with the whole. */
static void check_pieces(struct blob *b, const uint8_t *want)
{
	static const size_t steps[] = {1, 3, 7, 64, 1000};
	uint8_t buf[1000];

	for (size_t k = 0; k < 5; k++) {
		for (uint64_t off = 0; off < b->size; off += steps[k]) {
			size_t got = 0;

			CHECK_INT(blob_read(b, buf, steps[k], off, &got, NULL),
				  0);
			if (memcmp(buf, want + off, got) != 0) {
				CHECK_INT(off, -1);
				return;
			}
		}
	}
}

TEST(memory)
{
	struct err e = {0};
	struct blob *b;
	size_t got = 9;
	char buf[8];
	void *to;

	b = blob_mem(100, &to);
	CHECK(b && (uintptr_t)to % 64 == 0 && blob_bytes(b) == to);
	CHECK(((char *)to)[99] == 0);
	CHECK_INT(blob_read(b, buf, 8, 96, &got, &e), 0);
	CHECK_INT(got, 4);
	CHECK_INT(blob_read(b, buf, 8, 100, &got, &e), 0);
	CHECK_INT(got, 0);
	CHECK_INT(blob_read(b, buf, 8, UINT64_MAX, &got, &e), 0);
	CHECK_INT(got, 0);
	CHECK_INT(blob_read_full(b, buf, 8, 96, &e), -EIO);
	CHECK_INT(blob_read_full(b, buf, 8, UINT64_MAX - 3, &e), -EIO);
	blob_unref(b);
	CHECK(!blob_mem(UINT64_MAX - 10, &to));
}

TEST(take_aligns)
{
	for (int i = 0; i < 8; i++) {
		size_t len = 50 + 300 * (size_t)i;
		char *p = malloc(len);
		struct blob *b;

		memset(p, 'a' + i, len);
		b = blob_take(p, len);
		CHECK((uintptr_t)blob_bytes(b) % 64 == 0);
		CHECK(((const char *)blob_bytes(b))[len - 1] == 'a' + i);
		blob_unref(b);
	}
}

TEST(file_ranges)
{
	struct source *s = make_source(1000);
	struct extent x;
	struct err e = {0};
	struct blob *b = NULL;
	uint8_t c;

	CHECK_INT(blob_file(s, 990, 11, &b, &e), -EIO);
	CHECK_INT(blob_file(s, UINT64_MAX, 2, &b, &e), -EIO);
	CHECK(!b);
	CHECK_INT(blob_file(s, 100, 50, &b, &e), 0);
	CHECK_INT(blob_read_full(b, &c, 1, 49, &e), 0);
	CHECK_INT(c, (uint8_t)(149 * 31));
	CHECK(blob_extent(b, 10, &x) && x.off == 110 && x.len == 40);
	CHECK(!blob_extent(b, 50, &x));
	CHECK(blob_is_extent(b, &x) && x.src == s && x.len == 50);
	blob_unref(b);
	source_unref(s);
}

TEST(cat_and_slice)
{
	uint8_t want[1000];
	struct blob *whole = make_file(1000);
	struct blob *parts[5];
	struct extent x;
	struct blob *b;

	CHECK_INT(blob_read_full(whole, want, 1000, 0, NULL), 0);
	parts[0] = blob_copy("", 0);
	parts[1] = blob_slice(blob_ref(whole), 0, 300);
	parts[2] = blob_copy(want + 300, 3);
	parts[3] = blob_copy("", 0);
	parts[4] = blob_slice(blob_ref(whole), 303, 697);
	b = blob_cat(parts, 5);
	CHECK_INT(b->size, 1000);
	check_pieces(b, want);
	CHECK(blob_extent(b, 299, &x) && x.off == 299 && x.len == 1);
	CHECK(!blob_extent(b, 300, &x));
	CHECK(!blob_is_extent(b, &x));
	CHECK(!b->ops->slow);
	blob_unref(b);
	b = blob_slice(whole, 999, 2);
	CHECK_INT(blob_status(b, NULL), -EIO);
	blob_unref(b);
}

TEST(cat_owns_on_failure)
{
	struct blob *parts[3] = {blob_copy("a", 1), NULL, blob_copy("b", 1)};
	struct blob *huge[2] = {blob_repeat("x", 1, INT64_MAX),
				blob_repeat("x", 1, 10)};
	struct blob *b;

	CHECK(!blob_cat(parts, 3));
	b = blob_cat(huge, 2);
	CHECK_INT(blob_status(b, NULL), -EFBIG);
	blob_unref(b);
}

TEST(errors_reach_the_top)
{
	struct blob *bad = blob_fail(100, ENOENT, "shard is missing");
	struct blob *parts[2];
	struct err e = {0};
	struct blob *b;
	char c;

	parts[0] = blob_copy("head", 4);
	parts[1] = blob_widen(blob_slice(bad, 10, 20), DTYPE_BF16, 10);
	b = blob_cat(parts, 2);
	CHECK_INT(b->size, 44);
	CHECK_INT(blob_status(b, &e), -ENOENT);
	CHECK_STR(e.msg, "shard is missing");
	CHECK_INT(blob_read_full(b, &c, 1, 3, &e), 0);
	CHECK_INT(blob_read_full(b, &c, 1, 4, &e), -ENOENT);
	blob_unref(b);
}

TEST(repeat)
{
	uint8_t want[1000];
	struct blob *b = blob_repeat("abc", 3, 1000);

	for (int i = 0; i < 1000; i++)
		want[i] = (uint8_t) "abc"[i % 3];
	check_pieces(b, want);
	blob_unref(b);
}

TEST(swap)
{
	static const size_t widths[] = {1, 2, 3, 4, 8, 16};
	uint8_t in[998], want[998];
	struct blob *whole = make_file(998);

	CHECK_INT(blob_read_full(whole, in, 998, 0, NULL), 0);
	for (size_t k = 0; k < 6; k++) {
		size_t w = widths[k];
		struct blob *b = blob_swap(blob_ref(whole), w);

		memcpy(want, in, 998);
		for (size_t i = 0; i + w <= 998; i++)
			if (i % w == 0)
				for (size_t j = 0; j < w; j++)
					want[i + j] = in[i + w - 1 - j];
		CHECK_INT(b->size, 998);
		check_pieces(b, want);
		blob_unref(b);
	}
	blob_unref(whole);
}

/* Types of every block size; a tail that is no whole block. */
TEST(widen)
{
	static const enum dtype types[] = {DTYPE_BF16, DTYPE_F8_E5M2,
					   DTYPE_I4,   DTYPE_U2,
					   DTYPE_C32,  DTYPE_F6_E3M2};

	for (size_t k = 0; k < 6; k++) {
		const struct dtype_info *info = dtype_info(types[k]);
		size_t out_size = dtype_size(info->npy);
		uint64_t nbytes = 0, n = 1001;
		uint8_t *in, *want;
		struct blob *b;

		CHECK(dtype_nbytes(types[k], n, &nbytes));
		b = make_file(nbytes);
		in = malloc(nbytes);
		want = malloc(n * out_size);
		CHECK_INT(blob_read_full(b, in, nbytes, 0, NULL), 0);
		dtype_widen(types[k], in, want, n);
		b = blob_widen(b, types[k], n);
		CHECK_INT(b->size, n * out_size);
		check_pieces(b, want);
		blob_unref(b);
		b = blob_widen(blob_copy(in, nbytes), types[k], n);
		check_pieces(b, want);
		blob_unref(b);
		free(in);
		free(want);
	}
}

TEST(widen_reads_only_what_it_needs)
{
	struct err e = {0};
	struct blob *b;
	float v[2];

	/* A terabyte of bfloat16 ones. */
	b = blob_repeat("\x80\x3f", 2, (uint64_t)1 << 40);
	b = blob_widen(b, DTYPE_BF16, (uint64_t)1 << 39);
	CHECK_INT(b->size, (uint64_t)1 << 41);
	CHECK_INT(blob_read_full(b, v, 8, ((uint64_t)1 << 40) + 4, &e), 0);
	CHECK(v[0] == 1 && v[1] == 1);
	blob_unref(b);
	/* Less data than elements: an error, never anything made up. */
	b = blob_widen(blob_copy("\x80\x3f", 2), DTYPE_BF16, 2);
	CHECK_INT(blob_read_full(b, v, 4, 0, &e), 0);
	CHECK_INT(blob_read_full(b, v, 4, 4, &e), -EIO);
	blob_unref(b);
	b = blob_widen(blob_copy("", 0), DTYPE_BF16, 0);
	CHECK_INT(b->size, 0);
	blob_unref(b);
}

TEST(strings)
{
	struct string_list *l = string_list_new();
	struct tensor t = {.dtype = DTYPE_STRING};
	int64_t n = 3;
	size_t len;

	CHECK_INT(string_list_add(l, "one", 3), 0);
	CHECK_INT(string_list_add(l, "", 0), 0);
	CHECK_INT(string_list_add(l, "t\0o", 3), 0);
	t.data = string_list_finish(l);
	t.shape = shape_of(1, &n);
	CHECK(memcmp(tensor_string(&t, 0, &len), "one", 3) == 0 && len == 3);
	tensor_string(&t, 1, &len);
	CHECK_INT(len, 0);
	CHECK(memcmp(tensor_string(&t, 2, &len), "t\0o", 3) == 0 && len == 3);
	tensor_string(&t, 3, &len);
	CHECK_INT(len, 0);
	tensor_drop(&t);
}

/* Offsets that are wrong give empty strings, not somebody else's memory. */
/* Not even room for one offset. */
TEST(strings_without_a_table)
{
	struct tensor t = {.dtype = DTYPE_STRING, .shape.rank = 1};
	size_t len = 1;

	t.shape.dims[0] = 3;
	for (size_t size = 0; size <= 24; size += 4) {
		t.data = blob_copy("012345678901234567890123", size);
		tensor_string(&t, 2, &len);
		CHECK_INT(len, 0);
		blob_unref(t.data);
	}
}

TEST(strings_with_a_bad_table)
{
	static const uint64_t bad[] = {16, 999999, 3};
	struct tensor t = {.dtype = DTYPE_STRING};
	int64_t n = 2, many = INT64_MAX;
	size_t len = 7;

	t.data = blob_copy(bad, sizeof(bad));
	t.shape = shape_of(1, &n);
	for (uint64_t i = 0; i < 3; i++) {
		tensor_string(&t, i, &len);
		CHECK_INT(len, 0);
	}
	t.shape = shape_of(1, &many);
	tensor_string(&t, 5, &len);
	CHECK_INT(len, 0);
	tensor_drop(&t);
}

TEST(containers)
{
	struct tensor in[2] = {{.dtype = DTYPE_U8}, {.dtype = DTYPE_F32}};
	const struct tensor *out;
	struct blob *b, *plain;
	size_t n = 0;

	in[0].data = blob_copy("xyz", 3);
	b = blob_items(in, 2);
	tensor_drop(&in[0]);
	out = blob_get_items(b, &n);
	CHECK(out && n == 2 && out[1].dtype == DTYPE_F32 && !out[1].data);
	CHECK(memcmp(blob_bytes(out[0].data), "xyz", 3) == 0);
	blob_unref(b);
	plain = blob_copy("a", 1);
	CHECK(!blob_get_items(plain, &n));
	blob_unref(plain);
}

/* Made once, when asked for; what failed is tried again. */
static int make_after(void *ctx, struct blob **out, struct err *e)
{
	int *left = ctx;

	if ((*left)-- > 0)
		return err_set(e, EIO, "not yet");
	*out = blob_copy("made", 4);
	return 0;
}

static void forget(void *ctx)
{
	*(int *)ctx = 99;
}

TEST(lazy)
{
	int left = 1;
	struct blob *b = blob_lazy(make_after, &left, forget);
	struct blob *first = NULL, *second = NULL, *same = NULL;

	CHECK_INT(b->size, 0);
	CHECK_INT(blob_resolve(b, &first, NULL), -EIO);
	CHECK_INT(blob_resolve(b, &first, NULL), 0);
	CHECK_INT(blob_resolve(b, &second, NULL), 0);
	CHECK(first && first == second && first->size == 4);
	CHECK_INT(left, -1);
	CHECK_INT(blob_resolve(first, &same, NULL), 0);
	CHECK(same == first);
	blob_unref(b);
	CHECK_INT(left, 99);
	CHECK(memcmp(blob_bytes(first), "made", 4) == 0);
	blob_unref(first);
	blob_unref(second);
	blob_unref(same);
}

TEST(swap_of_types)
{
	static const uint8_t q4[18] = {1, 2, 3, 4};
	struct blob *b = blob_swap_dtype(blob_copy(q4, 18), DTYPE_Q4_0);
	uint8_t out[18] = {0};

	CHECK_INT(blob_read_full(b, out, 18, 0, NULL), 0);
	CHECK(out[0] == 2 && out[1] == 1 && out[2] == 3 && out[3] == 4);
	CHECK_INT(blob_read_full(b, out, 3, 1, NULL), 0);
	CHECK(out[0] == 1 && out[1] == 3 && out[2] == 4);
	blob_unref(b);
	b = blob_swap_dtype(blob_copy("abcdefgh", 8), DTYPE_C64);
	CHECK_INT(blob_read_full(b, out, 8, 0, NULL), 0);
	CHECK(memcmp(out, "dcbahgfe", 8) == 0);
	blob_unref(b);
	b = blob_swap_dtype(blob_copy("ab", 2), DTYPE_I4);
	CHECK_INT(blob_read_full(b, out, 2, 0, NULL), 0);
	CHECK(memcmp(out, "ab", 2) == 0);
	blob_unref(b);
}

int main(void)
{
	RUN(lazy);
	RUN(swap_of_types);
	RUN(memory);
	RUN(take_aligns);
	RUN(file_ranges);
	RUN(cat_and_slice);
	RUN(cat_owns_on_failure);
	RUN(errors_reach_the_top);
	RUN(repeat);
	RUN(swap);
	RUN(widen);
	RUN(widen_reads_only_what_it_needs);
	RUN(strings);
	RUN(strings_without_a_table);
	RUN(strings_with_a_bad_table);
	RUN(containers);
	return check_result();
}
