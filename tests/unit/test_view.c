/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/npy.h"
#include "modelfs/tensor.h"
#include "modelfs/view.h"

#include "check.h"

enum { RAW, NPY, SHAPE, DTYPE };

static struct tensor make_tensor(enum dtype t, int32_t rank,
				 const int64_t *dims)
{
	struct tensor x = {.dtype = t, .shape = shape_of(rank, dims)};
	uint64_t nbytes = 0;
	uint8_t *p;
	void *to;

	CHECK(tensor_nbytes(&x, &nbytes));
	x.data = blob_mem(nbytes, &to);
	p = to;
	for (uint64_t i = 0; i < nbytes; i++)
		p[i] = (uint8_t)(i * 37 + 1);
	return x;
}

/* What size says without data must be the size of what open gives. */
static void check_view(size_t view, const struct tensor *t)
{
	struct tensor bare = *t;
	struct blob *b = NULL;
	uint64_t size = 0;
	struct err e = {0};

	if (t->dtype != DTYPE_STRING)
		bare.data = NULL;
	if (view == NPY && t->dtype != DTYPE_STRING &&
	    !dtype_info(t->dtype)->descr) {
		CHECK_INT(views[view]->size(&bare, &size, &e), -EOPNOTSUPP);
		CHECK_INT(view_open(view, t, &b, &e), -EOPNOTSUPP);
		return;
	}
	CHECK_INT(views[view]->size(&bare, &size, &e), 0);
	CHECK_INT(view_open(view, t, &b, &e), 0);
	CHECK_INT(b->size, size);
	blob_unref(b);
}

TEST(sizes_are_known_without_data)
{
	static const int64_t dims[] = {5, 7, 3};

	for (int t = DTYPE_BOOL; t < DTYPE_STRING; t++) {
		for (int32_t rank = 0; rank <= 3; rank++) {
			struct tensor x = make_tensor(t, rank, dims);

			for (size_t v = 0; v < nviews; v++)
				check_view(v, &x);
			tensor_drop(&x);
		}
	}
}

/* Our own reader gets back what the view wrote. */
TEST(npy_round_trip)
{
	static const int64_t dims[] = {5, 7, 3};

	for (int t = DTYPE_BOOL; t < DTYPE_STRING; t++) {
		struct tensor x = make_tensor(t, 3, dims), back = {0};
		const struct dtype_info *info = dtype_info(t);
		uint8_t want[105 * 16], got[105 * 16];
		size_t n = 105 * dtype_size(info->npy);
		struct blob *b = NULL;

		if (!info->descr) { /* raw only */
			tensor_drop(&x);
			continue;
		}
		CHECK_INT(view_open(NPY, &x, &b, NULL), 0);
		CHECK_INT(npy_read(b, &back, NULL), 0);
		CHECK_INT(back.dtype, info->npy);
		CHECK(shape_equal(&back.shape, &x.shape));
		dtype_widen(t, blob_bytes(x.data), want, 105);
		CHECK_INT(blob_read_full(back.data, got, n, 0, NULL), 0);
		CHECK(memcmp(got, want, n) == 0);
		tensor_drop(&back);
		tensor_drop(&x);
		blob_unref(b);
	}
}

static void check_text(size_t view, const struct tensor *t, const char *want)
{
	struct blob *b = NULL;
	char got[100] = "";
	size_t n = 0;

	CHECK_INT(view_open(view, t, &b, NULL), 0);
	CHECK_INT(blob_read(b, got, 99, 0, &n, NULL), 0);
	CHECK_STR(got, want);
	blob_unref(b);
}

TEST(descriptions)
{
	static const int64_t dims[] = {64, 3, 7, 0};
	struct tensor t = {.dtype = DTYPE_F8_E4M3FN,
			   .shape = shape_of(4, dims)};

	check_text(SHAPE, &t, "64 3 7 0\n");
	check_text(DTYPE, &t, "float8_e4m3fn\n");
	t.shape.rank = 0;
	check_text(SHAPE, &t, "\n");
}

TEST(names)
{
	size_t n;

	CHECK_INT(view_of_name("weight.npy", 10, &n), NPY);
	CHECK_INT(n, 6);
	CHECK_INT(view_of_name("a.shape", 7, &n), SHAPE);
	CHECK_INT(view_of_name("a.dtype", 7, &n), DTYPE);
	CHECK_INT(n, 1);
	CHECK_INT(view_of_name("weight", 6, &n), RAW);
	CHECK_INT(n, 6);
	CHECK_INT(view_of_name("a.npy.npy", 9, &n), NPY);
	CHECK_INT(n, 5);
	CHECK_INT(view_of_name(".npy", 4, &n), RAW);
	CHECK_INT(n, 4);
}

TEST(what_is_not_known)
{
	static const int64_t dims[] = {DIM_UNKNOWN, 3};
	struct tensor t = {.dtype = DTYPE_F32, .shape = shape_of(2, dims)};
	struct blob *b = NULL;
	uint64_t size;

	for (size_t v = 0; v < 3; v++)
		CHECK_INT(views[v]->size(&t, &size, NULL), -EAGAIN);
	CHECK_INT(view_open(RAW, &t, &b, NULL), -ENODATA);
	CHECK_INT(view_open(NPY, &t, &b, NULL), -ENODATA);
	t = (struct tensor){.shape = shape_of(0, NULL)};
	CHECK_INT(views[DTYPE]->size(&t, &size, NULL), -EAGAIN);
	CHECK_INT(views[NPY]->size(&t, &size, NULL), -EAGAIN);
}

TEST(what_cannot_be)
{
	static const int64_t dims[] = {(int64_t)1 << 61};
	struct tensor t = {.dtype = DTYPE_BF16, .shape = shape_of(1, dims)};
	struct blob *b = NULL;
	uint64_t size;

	CHECK_INT(views[NPY]->size(&t, &size, NULL), -EFBIG);
	t.dtype = DTYPE_NONE;
	t.data = blob_copy("abc", 3);
	CHECK_INT(views[RAW]->size(&t, &size, NULL), 0);
	CHECK_INT(size, 3);
	CHECK_INT(view_open(NPY, &t, &b, NULL), -EOPNOTSUPP);
	t.dtype = DTYPE_SEQUENCE;
	CHECK_INT(view_open(RAW, &t, &b, NULL), -EOPNOTSUPP);
	tensor_drop(&t);
	/* A tensor that cannot be opened says so through every view. */
	t.dtype = DTYPE_F32;
	t.shape.dims[0] = 2;
	t.data = blob_fail(8, EPERM, "outside");
	CHECK_INT(view_open(NPY, &t, &b, NULL), 0);
	CHECK_INT(blob_status(b, NULL), -EPERM);
	blob_unref(b);
	tensor_drop(&t);
}

static struct tensor make_strings(void)
{
	static const int64_t n = 4;
	struct tensor t = {.dtype = DTYPE_STRING, .shape = shape_of(1, &n)};
	struct string_list *l = string_list_new();

	string_list_add(l, "a\nb\\c", 5);
	string_list_add(l, "", 0);
	string_list_add(l, "\xc3\xa9\xff", 3);
	string_list_add(l, "\xf0\x9f\x98\x80", 4);
	t.data = string_list_finish(l);
	return t;
}

TEST(strings_as_text)
{
	struct tensor t = make_strings();

	check_view(RAW, &t);
	check_text(RAW, &t, "a\\nb\\\\c\n\n\xc3\xa9\xff\n\xf0\x9f\x98\x80\n");
	tensor_drop(&t);
}

TEST(more_strings_than_there_are)
{
	struct tensor t = make_strings();
	const struct shape far = shape_of(1, (int64_t[]){INT64_MAX / 8});
	struct blob *b;
	uint64_t size;
	struct err e;

	t.shape = far;
	for (size_t v = 0; v < nviews; v++) {
		if (!views[v]->needs_data)
			continue;
		CHECK_INT(views[v]->size(&t, &size, &e), -EIO);
		CHECK_INT(view_open(v, &t, &b, &e), -EIO);
	}
	blob_unref(t.data);
	t.data = blob_fail(0, EFBIG, "too many strings");
	CHECK_INT(views[0]->size(&t, &size, &e), -EFBIG);
	CHECK_INT(view_open(0, &t, &b, &e), -EFBIG);
	tensor_drop(&t);
}

TEST(strings_as_npy)
{
	static const uint32_t want[20] = {'a', '\n',	'b', '\\', 'c',	   0, 0,
					  0,   0,	0,   0xe9, 0xdcff, 0, 0,
					  0,   0x1f600, 0,   0,	   0,	   0};
	struct tensor t = make_strings(), back = {0};
	uint8_t got[80];
	struct blob *b = NULL;

	check_view(NPY, &t);
	CHECK_INT(view_open(NPY, &t, &b, NULL), 0);
	CHECK_INT(b->size, 128 + 80);
	for (size_t off = 0; off < 80; off++) {
		size_t n = 80 - off < 7 ? 80 - off : 7;

		CHECK_INT(blob_read_full(b, got, n, 128 + off, NULL), 0);
		CHECK(memcmp(got, (const uint8_t *)want + off, n) == 0);
	}
	CHECK_INT(npy_read(b, &back, NULL), 0);
	CHECK_INT(back.data->size, t.data->size);
	CHECK(memcmp(blob_bytes(back.data), blob_bytes(t.data), t.data->size) ==
	      0);
	tensor_drop(&back);
	blob_unref(b);
	tensor_drop(&t);
}

/* 4 KB from the middle of a terabyte. */
TEST(views_stream)
{
	static const int64_t dims[] = {1 << 20, 1 << 19};
	struct tensor t = {.dtype = DTYPE_BF16, .shape = shape_of(2, dims)};
	struct blob *b = NULL;
	float got[1024];

	t.data = blob_repeat("\x80\x3f\x00\x40", 4, (uint64_t)1 << 40);
	CHECK_INT(view_open(NPY, &t, &b, NULL), 0);
	CHECK_INT(b->size, 128 + ((uint64_t)1 << 41));
	CHECK_INT(blob_read_full(b, got, 4096, 128 + ((uint64_t)1 << 40), NULL),
		  0);
	CHECK(got[0] == 1 && got[1] == 2 && got[1023] == 2);
	blob_unref(b);
	tensor_drop(&t);
}

int main(void)
{
	RUN(sizes_are_known_without_data);
	RUN(npy_round_trip);
	RUN(descriptions);
	RUN(names);
	RUN(what_is_not_known);
	RUN(what_cannot_be);
	RUN(strings_as_text);
	RUN(more_strings_than_there_are);
	RUN(strings_as_npy);
	RUN(views_stream);
	return check_result();
}
