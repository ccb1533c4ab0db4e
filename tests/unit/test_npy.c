/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/npy.h"

#include "check.h"

static void check_header(const char *descr, struct shape s, size_t want_len,
			 const char *want_dict)
{
	char buf[NPY_HEADER_MAX];
	size_t len = npy_header(buf, descr, &s);
	size_t n = strlen(want_dict);

	CHECK_INT(len, want_len);
	CHECK(memcmp(buf, "\x93NUMPY\x01\x00", 8) == 0);
	CHECK_INT((uint8_t)buf[8] | (uint8_t)buf[9] << 8, want_len - 10);
	CHECK(memcmp(buf + 10, want_dict, n) == 0);
	for (size_t i = 10 + n; i + 1 < len; i++)
		CHECK(buf[i] == ' ');
	CHECK(buf[len - 1] == '\n');
}

/* Lengths and text as numpy.save of NumPy 1.24 writes them. */
TEST(header_as_numpy_writes_it)
{
	static const int64_t d[] = {64, 3, 7, 7}, big[] = {123456789012, 345};
	static const int64_t ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
				       1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
				       1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
	char buf[NPY_HEADER_MAX];

	check_header("<f4", shape_of(0, d), 128,
		     "{'descr': '<f4', 'fortran_order': False, 'shape': (), }");
	check_header("|b1", shape_of(1, d), 128,
		     "{'descr': '|b1', 'fortran_order': False, "
		     "'shape': (64,), }");
	check_header("<f4", shape_of(4, d), 128,
		     "{'descr': '<f4', 'fortran_order': False, "
		     "'shape': (64, 3, 7, 7), }");
	check_header("<f4", shape_of(2, big), 128,
		     "{'descr': '<f4', 'fortran_order': False, "
		     "'shape': (123456789012, 345), }");
	for (int32_t k = 1; k < 32; k++) {
		struct shape s = shape_of(k, ones);

		CHECK_INT(npy_header(buf, "<f4", &s), k < 15 ? 128 : 192);
	}
}

TEST(longest_header_fits)
{
	char buf[NPY_HEADER_MAX];
	struct shape s = {.rank = SHAPE_RANK_MAX};
	size_t len;

	for (int i = 0; i < SHAPE_RANK_MAX; i++)
		s.dims[i] = INT64_MAX;
	len = npy_header(buf, "<U18446744073709551615", &s);
	CHECK(len <= NPY_HEADER_MAX && len % 64 == 0);
	CHECK(buf[len - 1] == '\n');
}

/* A file with this dictionary; version 1. */
static struct blob *make_npy(const char *dict, const void *data, size_t len)
{
	size_t n = strlen(dict);
	uint8_t *p = malloc(10 + n + len);

	memcpy(p, "\x93NUMPY\x01\x00", 8);
	p[8] = n & 255;
	p[9] = n >> 8 & 255;
	memcpy(p + 10, dict, n);
	memcpy(p + 10 + n, data, len);
	return blob_take(p, 10 + n + len);
}

static int read_dict(const char *dict, struct npy_info *info)
{
	struct blob *b = make_npy(dict, "", 0);
	struct err e = {0};
	int rc = npy_read_header(b, info, &e);

	CHECK((rc == 0) == (e.msg[0] == '\0'));
	blob_unref(b);
	return rc;
}

TEST(headers_in_other_spellings)
{
	struct npy_info i = {0};

	CHECK_INT(read_dict("{'descr':'>c16',\"fortran_order\":True,"
			    "'shape':(3L, 4L,),}\n",
			    &i),
		  0);
	CHECK(i.dtype == DTYPE_C128 && i.swapped && i.fortran_order);
	CHECK(i.shape.rank == 2 && i.shape.dims[1] == 4 && i.itemsize == 16);
	CHECK_INT(read_dict("  { 'shape' : ( ) , 'fortran_order' : False , "
			    "'descr' : '|b1' }   ",
			    &i),
		  0);
	CHECK(i.dtype == DTYPE_BOOL && i.shape.rank == 0 && !i.swapped);
	CHECK_INT(read_dict("{'descr': '<U7', 'fortran_order': False, "
			    "'shape': (2,), }",
			    &i),
		  0);
	CHECK(i.dtype == DTYPE_STRING && i.itemsize == 28 && i.kind == 'U');
}

TEST(types_without_a_name_here)
{
	static const char *const descrs[] = {
		"'|O'",
		"'<f16'",
		"'<f3'",
		"'<M4'",
		"[('a', '<f4'), (('t', 'b'), '<i4', (2, 3))]",
	};
	struct npy_info i;
	char dict[256];

	for (size_t k = 0; k < 5; k++) {
		snprintf(dict, sizeof(dict),
			 "{'descr': %s, 'fortran_order': False, 'shape': "
			 "(2,), }",
			 descrs[k]);
		memset(&i, 1, sizeof(i));
		CHECK_INT(read_dict(dict, &i), -EOPNOTSUPP);
		CHECK_INT(i.dtype, DTYPE_NONE);
		CHECK_INT(i.shape.dims[0], 2);
	}
}

TEST(malformed_headers)
{
	static const char *const bad[] = {
		"",
		"{",
		"{}",
		"{'descr': '<f4', 'fortran_order': False}",
		"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, "
		"'shape': ()}",
		"{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (1e3,)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (0x10,)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': "
		"(9223372036854775808,)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': "
		"(9223372036854775807, 2)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
		"{'descr': '<q4', 'fortran_order': False, 'shape': ()}",
		"{'descr': '<f', 'fortran_order': False, 'shape': ()",
		"{'descr': '', 'fortran_order': False, 'shape': ()}",
		"{'descr': '<f4x', 'fortran_order': False, 'shape': ()}",
		"{'descr': '<U99999999999', 'fortran_order': False, "
		"'shape': ()}",
		"{'descr': __import__('os').system('x'), 'shape': ()}",
		"{'descr': '<f4, 'fortran_order': False, 'shape': ()}",
		"{'descr': [[[[(((', 'fortran_order': False, 'shape': ()}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (), "
		"'more': ()}",
	};
	struct npy_info i;

	for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		int rc = read_dict(bad[k], &i);

		CHECK_INT(rc, -EINVAL);
		if (rc != -EINVAL)
			printf("# %s\n", bad[k]);
	}
}

TEST(deep_nesting_and_many_axes)
{
	char dict[9000];
	struct npy_info i;
	int n = snprintf(dict, sizeof(dict), "{'descr': ");

	memset(dict + n, '[', 8000);
	dict[n + 8000] = '\0';
	CHECK_INT(read_dict(dict, &i), -EINVAL);
	n = snprintf(dict, sizeof(dict),
		     "{'descr': '<f4', 'fortran_order': False, 'shape': (");
	for (int k = 0; k < 33; k++)
		n += snprintf(dict + n, sizeof(dict) - n, "1,");
	snprintf(dict + n, sizeof(dict) - n, ")}");
	CHECK_INT(read_dict(dict, &i), -EOPNOTSUPP);
}

/* Every prefix of a good file fails, and none reads beyond it. */
TEST(truncated)
{
	static const float data[] = {1, 2, 3};
	struct blob *b = make_npy("{'descr': '<f4', 'fortran_order': False, "
				  "'shape': (3,), }\n",
				  data, sizeof(data));
	uint64_t size = b->size;

	for (uint64_t len = 0; len < size; len++) {
		struct blob *cut = blob_copy(blob_bytes(b), len);
		struct tensor t = {0};
		struct err e = {0};
		int rc = npy_read(cut, &t, &e);

		CHECK(rc == -EINVAL || rc == -EIO);
		tensor_drop(&t);
		blob_unref(cut);
	}
	blob_unref(b);
}

TEST(wrong_versions)
{
	struct npy_info i;
	struct err e;
	struct blob *b;
	char head[16] = "\x93NUMPY\x04\x00\x02\x00{}";

	b = blob_copy(head, 12);
	CHECK_INT(npy_read_header(b, &i, &e), -EOPNOTSUPP);
	blob_unref(b);
	memcpy(head, "\x93NUMPY\x02\x00\xff\xff\xff\xff", 12);
	b = blob_copy(head, 16);
	CHECK_INT(npy_read_header(b, &i, &e), -EINVAL);
	blob_unref(b);
}

static struct tensor read_all(const char *dict, const void *data, size_t len,
			      int want_rc)
{
	struct blob *b = make_npy(dict, data, len);
	struct tensor t = {0};
	struct err e = {0};

	CHECK_INT(npy_read(b, &t, &e), want_rc);
	blob_unref(b);
	return t;
}

TEST(elements_in_every_order)
{
	/* [[1, 2, 3], [4, 5, 6]], column-major, big-endian; and a tail. */
	static const uint8_t data[] = {0, 1, 0, 4, 0, 2, 0,
				       5, 0, 3, 0, 6, 9, 9};
	static const int16_t want[] = {1, 2, 3, 4, 5, 6};
	int16_t got[6];
	struct tensor t;

	t = read_all("{'descr': '>i2', 'fortran_order': True, "
		     "'shape': (2, 3)}",
		     data, sizeof(data), 0);
	CHECK(t.dtype == DTYPE_I16 && t.data->size == 12);
	CHECK_INT(blob_read_full(t.data, got, 12, 0, NULL), 0);
	CHECK(memcmp(got, want, 12) == 0);
	tensor_drop(&t);
}

TEST(swapped_complex)
{
	static const uint8_t data[] = {0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0};
	float got[2];
	struct tensor t;

	t = read_all("{'descr': '>c8', 'fortran_order': False, 'shape': ()}",
		     data, sizeof(data), 0);
	CHECK_INT(blob_read_full(t.data, got, 8, 0, NULL), 0);
	CHECK(got[0] == 1 && got[1] == -2);
	tensor_drop(&t);
}

TEST(dates_and_bytes)
{
	struct tensor t;

	t = read_all("{'descr': '<M8[25s]', 'fortran_order': False, "
		     "'shape': (2,)}",
		     "abcdefghijklmnop", 16, 0);
	CHECK(t.dtype == DTYPE_I64 && t.shape.rank == 1);
	tensor_drop(&t);
	t = read_all("{'descr': '|V3', 'fortran_order': True, 'shape': (2, 1)}",
		     "abcdef", 6, 0);
	CHECK(t.dtype == DTYPE_U8 && t.shape.rank == 3);
	CHECK_INT(t.shape.dims[2], 3);
	tensor_drop(&t);
}

/* ---- records ---- */

/* Field `name` of the records; what cannot be read has no data. */
static struct tensor read_field(const char *descr, const char *more,
				const void *data, size_t len, const char *name,
				int want_rc)
{
	struct npy_record *r = NULL;
	struct npy_info info;
	struct tensor t = {0};
	struct err e = {0};
	struct blob *b;
	char dict[512];
	int rc;

	snprintf(dict, sizeof(dict), "{'descr': %s, %s}", descr, more);
	b = make_npy(dict, data, len);
	CHECK_INT(npy_read_header(b, &info, &e), -EOPNOTSUPP);
	rc = npy_read_record(b, &info, &r, &e);
	for (size_t i = 0; rc == 0 && i < r->nfields; i++)
		if (strcmp(r->fields[i].name, name) == 0) {
			e = (struct err){0};
			rc = npy_read_field(b, &info, r, i, &t, &e);
		}
	CHECK_INT(rc, want_rc);
	CHECK(rc == 0 || e.msg[0] != '\0');
	if (r)
		npy_record_free(r);
	blob_unref(b);
	return t;
}

static bool field_is(const char *descr, const char *more, const char *name,
		     const void *want, size_t n)
{
	static const char data[] = "abcdefghijklmnopqrstuvwx";
	struct tensor t = read_field(descr, more, data, 24, name, 0);
	char got[64];
	bool ok = t.data && t.data->size == n &&
		  blob_read_full(t.data, got, n, 0, NULL) == 0 &&
		  memcmp(got, want, n) == 0;

	tensor_drop(&t);
	return ok;
}

#define C2 "'fortran_order': False, 'shape': (2,)"
#define F22 "'fortran_order': True, 'shape': (2, 2)"

TEST(records)
{
	static const char plain[] = "[('a', '|u1'), ('', '|V1'), ('b', '<i2'), "
				    "(('title', 'c'), '|i1', (2,))]";
	static const char nested[] = "[('n', [('x', '|u1'), ('y', '>u2')], "
				     "(2,)), ('s', '|S2')]";

	CHECK(field_is(plain, C2, "a", "ag", 2));
	CHECK(field_is(plain, C2, "b", "cdij", 4));
	CHECK(field_is(plain, C2, "c", "efkl", 4));
	CHECK(field_is(plain, F22, "b", "cdopijuv", 8));
	CHECK(field_is(nested, C2, "n.x", "adil", 4));
	CHECK(field_is(nested, C2, "n.y", "cbfekjnm", 8));
	CHECK(field_is(plain, "'fortran_order': False, 'shape': (0, 3)", "b",
		       "", 0));
}

TEST(hostile_records)
{
	static const char *const bad[] = {
		"[('a', '<f4', (9223372036854775807,))]",
		"[('a',)]",
		"[('a', '<f4'",
		"[('a', '<f4') ('b', '<f4')]",
		"[(('a', ), '<f4')]",
		"[['a', '<f4']]",
		"[('a', 5)]",
		"[('a', '<f4', (1,), 2)]",
		"('a', '<f4')",
	};
	char deep[256] = "";
	struct npy_record *r;
	struct npy_info info;
	char dict[512];

	for (int i = 0; i < 20; i++)
		strcat(deep, "[('a',");
	strcat(deep, "'u1'");
	for (int i = 0; i < 20; i++)
		strcat(deep, ")]");
	for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = {0};
		struct blob *b;

		snprintf(dict, sizeof(dict), "{'descr': %s, " C2 "}",
			 i < sizeof(bad) / sizeof(bad[0]) ? bad[i] : deep);
		b = make_npy(dict, "", 0);
		if (npy_read_header(b, &info, &e) == -EOPNOTSUPP) {
			CHECK_INT(npy_read_record(b, &info, &r, &e), -EINVAL);
			CHECK(e.msg[0] != '\0');
		}
		blob_unref(b);
	}
	read_field("[('a', '|u1'), ('o', '|O')]", C2, "", 0, "a", -EOPNOTSUPP);
	read_field("[('a', '<f16')]", C2, "", 0, "a", -EOPNOTSUPP);
	read_field("[('a', '<f4')]", C2, "abcdefg", 7, "a", -EIO);
	/* an extent of 0 hides how large the others are */
	read_field("[('a', '|u1', (0, 4611686018427387904, 8))]", C2, "", 0,
		   "a", -EINVAL);
	/* elements and records of no bytes */
	CHECK(field_is("[('a', '|S0')]",
		       "'fortran_order': False, 'shape': (0,)", "a",
		       "\0\0\0\0\0\0\0\0", 8));
}

TEST(text)
{
	static const uint32_t ucs4[] = {'a', 0xe9, 0x1f600, 0xdcff, 0, 0};
	static const uint32_t beyond[] = {0x110000};
	struct tensor t;
	const char *s;
	size_t len;

	t = read_all("{'descr': '<U3', 'fortran_order': False, 'shape': (2,)}",
		     ucs4, sizeof(ucs4), 0);
	s = tensor_string(&t, 0, &len);
	CHECK(len == 7 && memcmp(s, "a\xc3\xa9\xf0\x9f\x98\x80", 7) == 0);
	s = tensor_string(&t, 1, &len);
	CHECK(len == 1 && memcmp(s, "\xff", 1) == 0);
	tensor_drop(&t);
	t = read_all("{'descr': '|S3', 'fortran_order': False, 'shape': (2,)}",
		     "ab\0xyz", 6, 0);
	s = tensor_string(&t, 0, &len);
	CHECK(len == 2 && memcmp(s, "ab", 2) == 0);
	tensor_drop(&t);
	read_all("{'descr': '<U1', 'fortran_order': False, 'shape': (1,)}",
		 beyond, 4, -EINVAL);
}

/* Elements without bytes must not make a table of any length. */
TEST(empty_strings_in_great_number)
{
	read_all("{'descr': '|S0', 'fortran_order': False, "
		 "'shape': (1152921504606846976,)}",
		 "", 0, -EFBIG);
}

TEST(shape_beyond_the_file)
{
	read_all("{'descr': '<f4', 'fortran_order': False, "
		 "'shape': (4611686018427387904,)}",
		 "1234", 4, -EIO);
	read_all("{'descr': '<f8', 'fortran_order': True, "
		 "'shape': (2, 3)}",
		 "12345678", 8, -EIO);
}

int main(void)
{
	RUN(header_as_numpy_writes_it);
	RUN(longest_header_fits);
	RUN(headers_in_other_spellings);
	RUN(types_without_a_name_here);
	RUN(malformed_headers);
	RUN(deep_nesting_and_many_axes);
	RUN(truncated);
	RUN(wrong_versions);
	RUN(elements_in_every_order);
	RUN(swapped_complex);
	RUN(dates_and_bytes);
	RUN(records);
	RUN(hostile_records);
	RUN(text);
	RUN(empty_strings_in_great_number);
	RUN(shape_beyond_the_file);
	return check_result();
}
