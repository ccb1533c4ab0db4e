/* SPDX-License-Identifier: MIT */
/* torch.save of 0.1, a tar archive: row A1. */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "recipe.h"

#define BYTES(r, literal) recipe_bytes(r, literal, sizeof(literal) - 1)

/* A header as tar writes it, and the data padded to 512. */
static void add_member(struct recipe *tar, const char *name, char type,
		       const char *size, const struct recipe *data)
{
	uint8_t head[512] = {0};
	char text[16];
	unsigned sum = 0;

	memcpy(head, name, strlen(name));
	snprintf(text, sizeof(text), "%011zo", data->len);
	memcpy(head + 124, size ? size : text, 12);
	memset(head + 148, ' ', 8);
	head[156] = (uint8_t)type;
	memcpy(head + 257, "ustar", 6);
	for (size_t i = 0; i < 512; i++)
		sum += head[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(head + 148, text, 7);
	recipe_bytes(tar, head, 512);
	recipe_bytes(tar, data->p, data->len);
	recipe_zeros(tar, (512 - data->len % 512) % 512);
}

struct parts {
	struct recipe storages, tensors, object;
};

/* Storage 0 holds 1 2 3 4, storage 1 is its end; tensor 2 is a view of 1. */
static struct parts good_parts(void)
{
	struct parts p = {0};

	BYTES(&p.storages, "\x80\2K\1.\x80\2(U\1"
			   "0U\3cpuctorch\nByteStorage\nt.");
	recipe_int(&p.storages, 4, 8);
	BYTES(&p.storages, "\1\2\3\4\x80\2](U\1"
			   "1U\1"
			   "0K\2K\2ta.");
	BYTES(&p.tensors, "\x80\2K\1.\x80\2(U\1"
			  "2U\1"
			  "1ctorch\nByteTensor\nt.");
	recipe_int(&p.tensors, 1, 8);
	recipe_int(&p.tensors, 2, 8);
	recipe_int(&p.tensors, 1, 8);
	recipe_int(&p.tensors, 0, 8);
	BYTES(&p.object, "\x80\2}U\1wU\1"
			 "2Qs.");
	return p;
}

static void free_parts(struct parts *p)
{
	recipe_free(&p->storages);
	recipe_free(&p->tensors);
	recipe_free(&p->object);
}

static struct recipe archive(const struct parts *p, char type, const char *size)
{
	struct recipe tar = {0};

	add_member(&tar, "storages", type, size, &p->storages);
	add_member(&tar, "tensors", '0', NULL, &p->tensors);
	add_member(&tar, "pickle", '0', NULL, &p->object);
	recipe_zeros(&tar, 1024);
	return tar;
}

TEST(views)
{
	struct parts p = good_parts();
	struct recipe tar = archive(&p, '0', NULL);
	struct err e;
	struct model *m = recipe_load(&tar, false, &e);

	CHECK_STR(e.msg, "");
	CHECK(recipe_holds(recipe_param(m, "w"), "\3\4", 2));
	CHECK_STR(m ? m->format : "", "pytorch-tar");
	model_free(m);
	free_parts(&p);
}

static bool fails(struct recipe *tar)
{
	struct err e;
	struct model *m = recipe_load(tar, false, &e);
	bool ok = !m && e.msg[0];

	model_free(m);
	return ok;
}

TEST(hostile) /* A1 */
{
	static const char types[] = "1234567";
	struct parts p = good_parts();
	struct recipe tar;

	/* links, devices, folders */
	for (size_t i = 0; types[i]; i++) {
		tar = archive(&p, types[i], NULL);
		CHECK(fails(&tar));
	}
	tar = archive(&p, '0', "77777777777");
	CHECK(fails(&tar));
	tar = archive(&p, '0',
		      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
	CHECK(fails(&tar));
	tar = archive(&p, '0', "9x         ");
	CHECK(fails(&tar));
	/* a second pickle */
	tar = archive(&p, '0', NULL);
	tar.len -= 1024;
	add_member(&tar, "pickle", '0', NULL, &p.object);
	CHECK(fails(&tar));
	/* names that lead to one another */
	tar = (struct recipe){0};
	add_member(&tar, "storages", '0', NULL, &p.storages);
	add_member(&tar, "storages/../pickle", '0', NULL, &p.object);
	CHECK(fails(&tar));
	free_parts(&p);
}

TEST(bad_parts)
{
	struct parts p = good_parts();
	struct recipe tar;

	p.storages.p[33] = 9; /* elements, of which there are 4 */
	tar = archive(&p, '0', NULL);
	CHECK(fails(&tar));
	free_parts(&p);
	p = good_parts();
	p.tensors.p[p.tensors.len - 24] = 3; /* an extent beyond the view */
	tar = archive(&p, '0', NULL);
	CHECK(fails(&tar));
	free_parts(&p);
	p = good_parts();
	p.object.p[8] = '7'; /* a key nobody has */
	tar = archive(&p, '0', NULL);
	CHECK(fails(&tar));
	free_parts(&p);
}

int main(void)
{
	RUN(views);
	RUN(hostile);
	RUN(bad_parts);
	return check_result();
}
