/* SPDX-License-Identifier: MIT */
/* Opening and reading files: what may be opened, and what happens to them. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"

#include "check.h"

static char dir[] = "/tmp/modelfs-unit-XXXXXX";
static int dirfd_;

static void put(const char *name, const char *data)
{
	int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, data, strlen(data)) == (int)strlen(data));
	close(fd);
}

static struct source *open_here(const char *name)
{
	struct source *s = NULL;
	struct err e = {0};

	if (source_open(dirfd_, name, &s, &e) < 0)
		printf("# %s\n", e.msg);
	return s;
}

TEST(reading)
{
	struct err e = {0};
	struct source *s;
	char buf[8] = "";

	put("a", "0123456789");
	s = open_here("a");
	CHECK_INT(source_size(s), 10);
	CHECK_STR(source_name(s), "a");
	CHECK_INT(source_read(s, buf, 4, 6, &e), 0);
	CHECK_STR(buf, "6789");
	CHECK_INT(source_read(s, buf, 5, 6, &e), -EIO);
	CHECK_INT(source_read(s, buf, 1, UINT64_MAX, &e), -EIO);
	CHECK_INT(source_check(s, &e), 0);
	source_unref(s);
	source_unref(NULL);
}

TEST(changed_under_our_feet)
{
	struct source *s, *pinned;
	struct err e = {0};
	char buf[8] = "";
	int rc;

	put("b", "0123456789");
	s = open_here("b");
	put("b", "01");
	rc = source_read(s, buf, 4, 6, &e);
	CHECK(rc == -ESTALE || rc == -EIO);
	CHECK(source_check(s, &e) < 0);
	source_unref(s);
	/* A file that was replaced stays what it was. */
	put("c", "old data");
	put("d", "new");
	pinned = open_here("c");
	CHECK_INT(renameat(dirfd_, "d", dirfd_, "c"), 0);
	CHECK_INT(source_read(pinned, buf, 7, 0, &e), 0);
	CHECK(memcmp(buf, "old dat", 7) == 0);
	source_unref(pinned);
}

static int try_open(const char *name)
{
	struct source *s = NULL;
	struct err e = {0};
	int rc = source_open(dirfd_, name, &s, &e);

	CHECK((rc == 0) == (s != NULL));
	CHECK(rc == 0 || e.msg[0] != '\0');
	source_unref(s);
	return rc;
}

TEST(names_from_a_file)
{
	static const char *const outside[] = {
		"/etc/passwd", "../x", "a/../a", ".",	   "..", "",
		"sub/",	       "a//b", "./a",	 "sub/..", "/",
	};
	char name[600];

	put("a", "x");
	mkdirat(dirfd_, "sub", 0700);
	put("sub/b", "y");
	CHECK_INT(try_open("a"), 0);
	CHECK_INT(try_open("sub/b"), 0);
	CHECK_INT(try_open("none"), -ENOENT);
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		CHECK_INT(try_open(outside[i]), -EPERM);
	memset(name, 'n', 599);
	name[599] = '\0';
	CHECK_INT(try_open(name), -EPERM);
}

TEST(links_out_and_things_that_are_no_files)
{
	put("a", "x");
	CHECK_INT(symlinkat("/etc/passwd", dirfd_, "out"), 0);
	CHECK_INT(symlinkat("../../../../etc/passwd", dirfd_, "up"), 0);
	CHECK_INT(symlinkat("/etc", dirfd_, "etc"), 0);
	CHECK_INT(symlinkat("a", dirfd_, "in"), 0);
	CHECK_INT(symlinkat("loop", dirfd_, "loop"), 0);
	CHECK_INT(mkfifoat(dirfd_, "fifo", 0600), 0);
	CHECK_INT(try_open("out"), -EPERM);
	CHECK_INT(try_open("up"), -EPERM);
	CHECK_INT(try_open("etc/passwd"), -EPERM);
	CHECK_INT(try_open("in"), 0);
	CHECK_INT(try_open("loop"), -EPERM);
	CHECK_INT(try_open("fifo"), -EPERM);
	CHECK_INT(try_open("sub"), -EPERM);
}

TEST(what_the_user_names)
{
	struct source *s = NULL;
	struct err e = {0};

	CHECK_INT(source_open(-1, "/dev/null", &s, &e), -EINVAL);
	CHECK_INT(source_open(-1, "/tmp", &s, &e), -EINVAL);
	CHECK_INT(source_open(-1, "/nowhere/x", &s, &e), -ENOENT);
	CHECK(!s);
}

TEST(memory)
{
	struct source *s = NULL;
	struct blob *b = NULL;
	struct extent x;
	char buf[4] = "";

	CHECK_INT(source_from_memory(strdup("abcdef"), 6, "made", &s, NULL), 0);
	CHECK_INT(source_fd(s), -1);
	CHECK_INT(source_read(s, buf, 3, 3, NULL), 0);
	CHECK_STR(buf, "def");
	CHECK_INT(source_read(s, buf, 3, 4, NULL), -EIO);
	CHECK_INT(blob_file(s, 1, 3, &b, NULL), 0);
	source_unref(s);
	CHECK(blob_is_extent(b, &x) && x.off == 1);
	CHECK_INT(blob_read_full(b, buf, 3, 0, NULL), 0);
	CHECK_STR(buf, "bcd");
	blob_unref(b);
}

TEST(readers)
{
	struct source *s = NULL;
	struct reader *r;
	uint8_t *p = malloc(200000);
	uint8_t buf[3];

	for (int i = 0; i < 200000; i++)
		p[i] = (uint8_t)i;
	source_from_memory(p, 200000, "made", &s, NULL);
	r = reader_new(s, 10, 199000);
	CHECK_INT(reader_u8(r), 10);
	CHECK_INT(reader_u32(r), 0x0e0d0c0b);
	reader_skip(r, 99991);
	CHECK_INT(reader_left(r), 99004);
	CHECK_INT(reader_u8(r), (uint8_t)100006);
	reader_skip(r, 99000);
	CHECK_INT(reader_left(r), 3);
	CHECK(reader_fits(r, 3, 1) && !reader_fits(r, 2, 2));
	CHECK(!reader_fits(r, UINT64_MAX, 8));
	reader_bytes(r, buf, 3);
	CHECK(!r->bad && buf[2] == (uint8_t)199009);
	CHECK_INT(reader_u64(r), 0);
	CHECK(r->bad && r->err.code != 0);
	reader_free(r);
	r = reader_new(s, 0, 200000);
	reader_skip(r, UINT64_MAX - 3);
	CHECK(r->bad);
	reader_free(r);
	source_unref(s);
}

int main(void)
{
	char command[64];

	if (!mkdtemp(dir)) {
		perror(dir);
		return 99;
	}
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
	RUN(reading);
	RUN(changed_under_our_feet);
	RUN(names_from_a_file);
	RUN(links_out_and_things_that_are_no_files);
	RUN(what_the_user_names);
	RUN(memory);
	RUN(readers);
	close(dirfd_);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command) != 0)
		return 99;
	return check_result();
}
