/* SPDX-License-Identifier: MIT */
/* Rows H1 to H13: a small HDF5 file, and what can be wrong with one. */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "recipe.h"

/* Where the parts of the file are. */
enum {
	AT_BASE = 24,
	AT_ROOT = 96,
	AT_TREE = 136,
	AT_HEAP = 184,
	AT_NODE = 232,
	AT_DATASET = 280,
	AT_SPACE = AT_DATASET + 24,
	AT_TYPE = AT_SPACE + 24,
	AT_LAYOUT = AT_TYPE + 32,
	AT_DATA = 384
};

#define UNDEFINED UINT64_MAX

static void superblock(struct recipe *r)
{
	recipe_bytes(r, "\x89HDF\r\n\x1a\n", 8);
	recipe_zeros(r, 5);
	recipe_int(r, 8, 1); /* bytes of an offset */
	recipe_int(r, 8, 1); /* and of a length */
	recipe_zeros(r, 1);
	recipe_int(r, 4, 2);
	recipe_int(r, 16, 2);
	recipe_zeros(r, 4);
	recipe_int(r, 0, 8); /* base */
	recipe_int(r, UNDEFINED, 8);
	recipe_int(r, AT_DATA + 8, 8);
	recipe_int(r, UNDEFINED, 8);
	recipe_int(r, 0, 8); /* the root: name, header */
	recipe_int(r, AT_ROOT, 8);
	recipe_zeros(r, 24);
}

static void header(struct recipe *r, uint16_t nmessages, uint32_t len)
{
	recipe_int(r, 1, 2);
	recipe_int(r, nmessages, 2);
	recipe_int(r, 1, 4);
	recipe_int(r, len, 4);
	recipe_zeros(r, 4);
}

static void message(struct recipe *r, uint16_t type, uint16_t len)
{
	recipe_int(r, type, 2);
	recipe_int(r, len, 2);
	recipe_zeros(r, 4);
}

static void group(struct recipe *r)
{
	header(r, 1, 24);
	message(r, 0x11, 16);
	recipe_int(r, AT_TREE, 8);
	recipe_int(r, AT_HEAP, 8);

	recipe_text(r, "TREE");
	recipe_int(r, 0, 1); /* of a group */
	recipe_int(r, 0, 1); /* a leaf */
	recipe_int(r, 1, 2);
	recipe_int(r, UNDEFINED, 8);
	recipe_int(r, UNDEFINED, 8);
	recipe_int(r, 0, 8);
	recipe_int(r, AT_NODE, 8);
	recipe_int(r, 8, 8);

	recipe_text(r, "HEAP");
	recipe_zeros(r, 4);
	recipe_int(r, 16, 8);
	recipe_int(r, UNDEFINED, 8);
	recipe_int(r, AT_HEAP + 32, 8);
	recipe_zeros(r, 8);
	recipe_bytes(r, "d\0\0\0\0\0\0\0", 8);

	recipe_text(r, "SNOD");
	recipe_int(r, 1, 2);
	recipe_int(r, 1, 2);
	recipe_int(r, 8, 8); /* the name, in the heap */
	recipe_int(r, AT_DATASET, 8);
	recipe_zeros(r, 24);
}

/* Two float32. */
static void dataset(struct recipe *r)
{
	header(r, 3, 88);
	message(r, 0x01, 16);
	recipe_int(r, 1, 1);
	recipe_int(r, 1, 1); /* rank */
	recipe_zeros(r, 6);
	recipe_int(r, 2, 8);
	message(r, 0x03, 24);
	recipe_bytes(r, "\x11\x20\x1f\0", 4);
	recipe_int(r, 4, 4);
	recipe_int(r, 0, 2);
	recipe_int(r, 32, 2);
	recipe_bytes(r, "\x17\x08\0\x17\x7f\0\0\0", 8);
	recipe_zeros(r, 4);
	message(r, 0x08, 24);
	recipe_int(r, 3, 1);
	recipe_int(r, 1, 1); /* contiguous */
	recipe_int(r, AT_DATA, 8);
	recipe_int(r, 8, 8);
	recipe_zeros(r, 6);
}

static struct recipe good(void)
{
	static const float data[2] = {1, 2};
	struct recipe r = {0};

	superblock(&r);
	group(&r);
	dataset(&r);
	recipe_bytes(&r, data, sizeof(data));
	return r;
}

/* Little-endian bytes over what is there. */
static void patch(struct recipe *r, size_t at, uint64_t v, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		r->p[at + i] = (uint8_t)(v >> (8 * i));
}

static bool is_refused(size_t at, uint64_t v, size_t nbytes)
{
	struct recipe r = good();
	struct err e = {0};
	struct model *m;
	bool ok;

	patch(&r, at, v, nbytes);
	m = recipe_load(&r, false, &e);
	ok = !m && e.msg[0] != '\0';
	model_free(m);
	return ok;
}

/* Reads, and opening the dataset gives this error. */
static int open_error(size_t at, uint64_t v, size_t nbytes)
{
	struct recipe r = good();
	struct err e = {0};
	struct model *m;
	int rc = 1;

	patch(&r, at, v, nbytes);
	m = recipe_load(&r, false, &e);
	if (m && m->nparams == 1)
		rc = blob_status(m->params[0]->data, &e);
	model_free(m);
	return rc;
}

TEST(good_file)
{
	struct recipe r = good();
	struct err e = {0};
	struct model *m = recipe_load(&r, false, &e);
	float v[2] = {0};

	CHECK(m && m->nparams == 1);
	if (m && m->nparams == 1) {
		CHECK_STR(m->params[0]->full_name, "d");
		CHECK_INT(m->params[0]->dtype, DTYPE_F32);
		CHECK_INT(blob_read_full(m->params[0]->data, v, 8, 0, &e), 0);
		CHECK(v[0] == 1 && v[1] == 2);
	}
	model_free(m);
}

/* H1, H4: never another file. */
TEST(other_files)
{
	/* a message of external files instead of the old fill value */
	struct recipe r = good();
	struct err e = {0};
	struct model *m;

	CHECK_INT(open_error(AT_LAYOUT + 1, 3, 1), -EPERM);
	patch(&r, AT_DATASET + 2, 4, 2);
	patch(&r, AT_DATASET + 8, 96, 4);
	r.len = AT_DATA;
	message(&r, 0x07, 0);
	recipe_zeros(&r, 16);
	m = recipe_load(&r, false, &e);
	CHECK(m && m->nparams == 1 &&
	      blob_status(m->params[0]->data, &e) == -EPERM);
	model_free(m);
}

/* H2: a soft link is not followed. */
TEST(soft_link)
{
	struct recipe r = good();
	struct err e = {0};
	struct model *m;

	patch(&r, AT_NODE + 8 + 16, 2, 4);
	m = recipe_load(&r, false, &e);
	CHECK(m && m->nparams == 0);
	model_free(m);
}

/* H3: a group that holds itself. */
TEST(hard_link_cycle)
{
	struct recipe r = good();
	struct err e = {0};
	struct model *m;

	patch(&r, AT_NODE + 8 + 8, AT_ROOT, 8);
	m = recipe_load(&r, false, &e);
	CHECK(m && m->nparams == 0);
	model_free(m);
}

/* H6 */
TEST(tree)
{
	CHECK(is_refused(AT_TREE + 5, 255, 1)); /* children are no nodes */
	CHECK(is_refused(AT_TREE + 6, 65535, 2));
	CHECK(is_refused(AT_TREE + 4, 1, 1)); /* of chunks */
	CHECK(is_refused(AT_TREE + 32, UINT64_C(1) << 60, 8));
	CHECK(is_refused(AT_NODE + 6, 65535, 2));
	CHECK(is_refused(AT_NODE + 8, 1000, 8)); /* beyond the heap */
	CHECK(is_refused(AT_HEAP + 8, 9, 8));	 /* a name without an end */
}

TEST(tree_of_itself)
{
	struct recipe r = good();
	struct err e = {0};

	patch(&r, AT_TREE + 5, 1, 1);
	patch(&r, AT_TREE + 32, AT_TREE, 8);
	CHECK(!recipe_load(&r, false, &e));
}

/* H7 */
TEST(object_header)
{
	CHECK(is_refused(AT_DATASET + 8, UINT32_MAX, 4));
	CHECK(is_refused(AT_SPACE - 6, 65528, 2)); /* beyond its header */
	CHECK(is_refused(AT_NODE + 16, 1, 8));	   /* no header at all */
}

TEST(continuation_of_itself)
{
	struct recipe r = good();
	struct err e = {0};

	/* the dataspace becomes a continuation back to the first message */
	patch(&r, AT_SPACE - 8, 0x10, 2);
	patch(&r, AT_SPACE, AT_DATASET + 16, 8);
	patch(&r, AT_SPACE + 8, 88, 8);
	CHECK(!recipe_load(&r, false, &e));
}

/* H9, H10 */
TEST(types_and_spaces)
{
	CHECK(is_refused(AT_TYPE + 4, 0, 4)); /* elements of no bytes */
	CHECK_INT(open_error(AT_TYPE + 10, 31, 2), -EOPNOTSUPP);
	CHECK_INT(open_error(AT_TYPE, 0x17, 1), -EOPNOTSUPP); /* reference */
	CHECK(is_refused(AT_SPACE + 1, 33, 1));
	CHECK(is_refused(AT_SPACE + 8, UINT64_MAX - 1, 8));
	CHECK(is_refused(AT_SPACE + 8, INT64_MAX, 8));
	CHECK(is_refused(AT_SPACE, 9, 1));
}

TEST(data)
{
	CHECK(is_refused(AT_LAYOUT + 2, AT_DATA + 1, 8)); /* beyond */
	CHECK(is_refused(AT_LAYOUT + 10, 7, 8));	  /* too few */
	/* never written: the fill value */
	CHECK_INT(open_error(AT_LAYOUT + 2, UNDEFINED, 8), 0);
}

/* H13 */
TEST(superblock)
{
	CHECK(is_refused(13, 16, 1));
	CHECK(is_refused(13, 0, 1));
	CHECK(is_refused(8, 9, 1));
	CHECK(is_refused(AT_BASE, UINT64_C(1) << 62, 8));
	CHECK(is_refused(64, UINT64_C(1) << 62, 8));
}

int main(void)
{
	RUN(good_file);
	RUN(other_files);
	RUN(soft_link);
	RUN(hard_link_cycle);
	RUN(tree);
	RUN(tree_of_itself);
	RUN(object_header);
	RUN(continuation_of_itself);
	RUN(types_and_spaces);
	RUN(data);
	RUN(superblock);
	return check_result();
}
