/* SPDX-License-Identifier: MIT */
/* Rows Z1 to Z8: archives that are not what they say. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "check.h"
#include "recipe.h"
#include "wire/zip.h"
#include "zip_recipe.h"

static struct zipfile *open_zip(struct zip_recipe *z, struct err *e)
{
	struct source *s;
	struct zipfile *out = NULL;
	struct recipe file = zip_finish(z);
	uint64_t len = file.len;

	s = recipe_source(&file);
	*e = (struct err){0};
	if (zipfile_open(s, 0, len, &out, e) < 0)
		out = NULL;
	source_unref(s);
	return out;
}

static const struct zipfile_member *find(const struct zipfile *z,
					 const char *name)
{
	return z ? zipfile_find(z, name, strlen(name)) : NULL;
}

/* What opening a member's data gives; 1: there is no such member. */
static int status(const struct zipfile *z, const char *name)
{
	const struct zipfile_member *m = find(z, name);
	struct err e;
	struct blob *b;
	char buf[64];
	size_t got;
	int rc;

	if (!m)
		return 1;
	rc = zipfile_data(z, m, &b, &e);
	if (rc < 0)
		return rc;
	rc = blob_status(b, &e);
	if (rc == 0)
		rc = blob_read(b, buf, sizeof(buf), 0, &got, &e);
	blob_unref(b);
	return rc;
}

/* The archive of one odd member: what reading that gives. */
static int status_of(struct zip_entry entry)
{
	struct zip_recipe z = {0};
	struct zipfile *zip;
	struct err e;
	int rc;

	entry.name = "x";
	zip_add(&z, &entry);
	zip = open_zip(&z, &e);
	rc = zip ? status(zip, "x") : 2;
	zipfile_close(zip);
	return rc;
}

TEST(members)
{
	struct zip_recipe z = {0};
	struct zipfile *zip;
	struct err e;
	char *data = NULL;
	size_t len = 0;

	zip_add(&z, &(struct zip_entry){.name = "a/b", .data = "hello"});
	zip_add(&z, &(struct zip_entry){
			    .name = "a/c", .data = "hello", .deflate = true});
	/* as torch writes: sizes only in the directory, padding */
	zip_add(&z, &(struct zip_entry){.name = "a/d",
					.data = "world",
					.flags = 0x0808,
					.local_extra = 50});
	zip_add(&z, &(struct zip_entry){.name = "../../x", .data = ""});
	zip = open_zip(&z, &e);
	CHECK(zip != NULL);
	CHECK_INT(zip ? zipfile_count(zip) : 0, 4);
	CHECK_INT(status(zip, "a/b"), 0);
	CHECK_INT(status(zip, "a/c"), 0);
	CHECK_INT(status(zip, "a/d"), 0);
	CHECK_INT(status(zip, "../../x"), 0);
	CHECK_INT(status(zip, "a/x/../b"), 1);
	CHECK_INT(zipfile_read(zip, find(zip, "a/c"), &data, &len, &e), 0);
	CHECK_STR(data, "hello");
	free(data);
	CHECK_INT(zipfile_read(zip, find(zip, "a/d"), &data, &len, &e), 0);
	CHECK_STR(data, "world");
	free(data);
	zipfile_close(zip);
}

/* An archive that is a part of a file. */
TEST(nested)
{
	struct zip_recipe z = {0};
	struct recipe inner, outer = {0};
	struct zipfile *zip = NULL;
	struct source *s;
	struct err e;
	size_t len;

	zip_add(&z, &(struct zip_entry){.name = "x", .data = "hello"});
	inner = zip_finish(&z);
	len = inner.len;
	recipe_zeros(&outer, 1000);
	recipe_bytes(&outer, inner.p, inner.len);
	recipe_zeros(&outer, 1000);
	recipe_free(&inner);
	s = recipe_source(&outer);
	CHECK_INT(zipfile_open(s, 1000, len, &zip, &e), 0);
	CHECK_INT(status(zip, "x"), 0);
	CHECK_INT(find(zip, "x") ? find(zip, "x")->data_off : 0, 1031);
	zipfile_close(zip);
	source_unref(s);
}

TEST(duplicates) /* Z4 */
{
	struct zip_recipe z = {0};
	struct err e;

	zip_add(&z, &(struct zip_entry){.name = "x", .data = "1"});
	zip_add(&z, &(struct zip_entry){.name = "x", .data = "2"});
	CHECK(open_zip(&z, &e) == NULL);
	CHECK(strstr(e.msg, "two members") != NULL);
}

TEST(overlap) /* Z2 */
{
	struct zip_recipe z = {0};
	struct zipfile *zip;
	struct err e;

	/* two names, one header: it can have only one of them */
	zip_add(&z, &(struct zip_entry){.name = "a", .data = "1"});
	zip_add(&z, &(struct zip_entry){
			    .name = "a", .data = "1", .same_header = true});
	memcpy(z.directory.p + 46, "b", 1);
	zip = open_zip(&z, &e);
	CHECK_INT(status(zip, "a"), 0);
	CHECK_INT(status(zip, "b"), -EIO);
	zipfile_close(zip);
	z = (struct zip_recipe){0};
	zip_add(&z, &(struct zip_entry){.name = "a", .data = "1", .grow = 40});
	zip_add(&z, &(struct zip_entry){.name = "b", .data = "1"});
	zip_add(&z, &(struct zip_entry){.name = "c", .data = "1"});
	CHECK(open_zip(&z, &e) == NULL);
	CHECK(strstr(e.msg, "overlap") != NULL);
}

TEST(disagreement) /* Z3 */
{
	CHECK_INT(status_of((struct zip_entry){.data = "1", .local_name = "y"}),
		  -EIO);
	CHECK_INT(
		status_of((struct zip_entry){.data = "1", .local_name = "yy"}),
		-EIO);
	CHECK_INT(status_of((struct zip_entry){.data = "1", .local_method = 8}),
		  -EIO);
	CHECK_INT(status_of((struct zip_entry){.data = "1", .grow = 9999}),
		  -EIO);
}

TEST(methods) /* Z7 */
{
	CHECK_INT(status_of((struct zip_entry){
			  .data = "1", .method = 12, .local_method = 12}),
		  -EOPNOTSUPP);
	CHECK_INT(status_of((struct zip_entry){.data = "1", .flags = 1}),
		  -EOPNOTSUPP);
	CHECK_INT(status_of((struct zip_entry){.data = "1", .grow_size = 5}),
		  -EIO);
	CHECK_INT(status_of((struct zip_entry){
			  .data = "1", .deflate = true, .grow_size = 5}),
		  -EIO);
	CHECK_INT(status_of((struct zip_entry){
			  .data = "1", .deflate = true, .bad_crc = true}),
		  -EIO);
}

TEST(bombs) /* Z1 */
{
	struct zip_recipe z = {0};
	struct zipfile *zip;
	struct err e;
	char *data;
	size_t len;

	CHECK_INT(status_of((struct zip_entry){
			  .data = "1", .deflate = true, .grow_size = 1 << 30}),
		  -EIO);
	zip_add(&z, &(struct zip_entry){
			    .name = "x", .zeros = 300 << 20, .deflate = true});
	zip = open_zip(&z, &e);
	CHECK(zip != NULL);
	CHECK_INT(zip ? zipfile_read(zip, find(zip, "x"), &data, &len, &e) : 0,
		  -EFBIG);
	zipfile_close(zip);
}

/* An archive with so many members, whose names have so many bytes. */
static struct recipe crowd(size_t n, size_t name_len)
{
	struct zip_recipe z = {0};
	char *name = malloc(name_len + 1);

	memset(name, 'n', name_len);
	name[name_len] = '\0';
	for (size_t i = 0; i < n; i++) {
		char number[16];

		memcpy(name, number,
		       (size_t)snprintf(number, sizeof(number), "%zu.", i));
		zip_add(&z, &(struct zip_entry){.name = name, .data = "x"});
	}
	free(name);
	return zip_finish(&z);
}

static struct zipfile *open_recipe(struct recipe *file)
{
	uint64_t len = file->len;
	struct source *s = recipe_source(file);
	struct zipfile *z = NULL;
	struct err e;

	if (zipfile_open(s, 0, len, &z, &e) < 0)
		z = NULL;
	source_unref(s);
	return z;
}

TEST(crowds) /* Z8: many members, long names, false counts */
{
	struct recipe file = crowd(20000, 12);
	struct zipfile *z = open_recipe(&file);

	CHECK_INT(z ? zipfile_count(z) : 0, 20000);
	CHECK_INT(status(z, "19999.nnnnnn"), 0);
	zipfile_close(z);
	file = crowd(50, 65535);
	z = open_recipe(&file);
	CHECK_INT(z ? zipfile_count(z) : 0, 50);
	zipfile_close(z);
	/* more, and fewer, than there are */
	for (int i = -1; i <= 1; i += 2) {
		file = crowd(3, 12);
		file.p[file.len - 14] = (uint8_t)(3 + i);
		file.p[file.len - 12] = (uint8_t)(3 + i);
		z = open_recipe(&file);
		CHECK(z == NULL);
		zipfile_close(z);
	}
	/* 65535 of them in a directory of no bytes */
	file = crowd(1, 12);
	memset(file.p + file.len - 14, 0xff, 4);
	CHECK(open_recipe(&file) == NULL);
}

TEST(every_prefix) /* Z6 */
{
	struct zip_recipe z = {0};
	struct recipe whole;

	zip_add(&z, &(struct zip_entry){.name = "x", .data = "hello"});
	whole = zip_finish(&z);
	for (size_t n = 0; n < whole.len; n++) {
		struct recipe part = {0};
		struct zipfile *zip = NULL;
		struct source *s;
		struct err e = {0};

		recipe_bytes(&part, whole.p, n);
		s = recipe_source(&part);
		CHECK(zipfile_open(s, 0, n, &zip, &e) < 0);
		CHECK(e.msg[0]);
		zipfile_close(zip);
		source_unref(s);
	}
	recipe_free(&whole);
}

int main(void)
{
	RUN(members);
	RUN(nested);
	RUN(duplicates);
	RUN(overlap);
	RUN(disagreement);
	RUN(methods);
	RUN(bombs);
	RUN(crowds);
	RUN(every_prefix);
	return check_result();
}
