/* SPDX-License-Identifier: MIT */
/* Archives of arrays: odd members, names and objects; rows N3, Z5, X1. */
#include <errno.h>
#include <unistd.h>

#include "check.h"
#include "recipe.h"
#include "zip_recipe.h"

/* A .npy file of `n` bytes, each of them a number. */
static struct recipe bytes_npy(size_t n)
{
	struct recipe r = {0};
	char dict[128];
	int len = snprintf(dict, sizeof(dict),
			   "{'descr': '|u1', 'fortran_order': False, "
			   "'shape': (%zu,)}\n",
			   n);

	recipe_bytes(&r, "\x93NUMPY\1\0", 8);
	recipe_int(&r, (uint64_t)len, 2);
	recipe_text(&r, dict);
	recipe_zeros(&r, n);
	return r;
}

static void add_array(struct zip_recipe *z, const char *name, bool deflate)
{
	struct recipe npy = bytes_npy(3);

	zip_add(z, &(struct zip_entry){.name = name,
				       .bytes = npy.p,
				       .nbytes = npy.len,
				       .deflate = deflate});
	recipe_free(&npy);
}

static struct model *load(struct zip_recipe *z, struct err *e)
{
	struct recipe file = zip_finish(z);

	return recipe_load(&file, false, e);
}

TEST(members)
{
	struct zip_recipe z = {0};
	struct err e;
	struct model *m;
	char path[128];

	add_array(&z, "a.b.npy", false);
	add_array(&z, "x.npy.npy", true);
	m = load(&z, &e);
	CHECK(recipe_holds(recipe_param(m, "a.b"), "\0\0\0", 3));
	CHECK_STR(recipe_path(recipe_param(m, "a.b"), path, sizeof(path)),
		  "a/b");
	CHECK(recipe_holds(recipe_param(m, "x.npy"), "\0\0\0", 3));
	model_free(m);
	/* what is no array is a mistake */
	add_array(&z, "a.npy", false);
	zip_add(&z, &(struct zip_entry){.name = "readme.txt", .data = "x"});
	CHECK(load(&z, &e) == NULL && e.msg[0]);
	add_array(&z, "a.npy", false);
	zip_add(&z, &(struct zip_entry){.name = "b.npy", .data = "x"});
	CHECK(load(&z, &e) == NULL && e.msg[0]);
	/* the same key twice */
	add_array(&z, "a.npy", false);
	add_array(&z, "a.npy", false);
	CHECK(load(&z, &e) == NULL && e.msg[0]);
}

TEST(names_that_lead_elsewhere) /* Z5: they are names, never paths */
{
	static const char *const names[] = {"../../x.npy", "/etc/passwd.npy",
					    "C:\\x.npy", "a//b.npy", "..npy"};
	struct zip_recipe z = {0};
	struct err e;
	struct model *m;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		add_array(&z, names[i], false);
	m = load(&z, &e);
	CHECK_STR(e.msg, "");
	CHECK_INT(m ? m->nparams : 0, 5);
	for (size_t i = 0; m && i < m->nparams; i++)
		CHECK(recipe_holds(m->params[i], "\0\0\0", 3));
	model_free(m);
}

TEST(objects) /* X1: a pickle inside is data */
{
	static const char head[] = "\x93NUMPY\1\0";
	static const char dict[] = "{'descr': '|O', 'fortran_order': False, "
				   "'shape': ()}";
	struct zip_recipe z = {0};
	struct recipe npy = {0};
	struct err e;
	struct model *m;

	unlink("/tmp/modelfs-was-here");
	recipe_bytes(&npy, head, 8);
	recipe_int(&npy, sizeof(dict) - 1, 2);
	recipe_text(&npy, dict);
	recipe_text(&npy, "}S'a'\ncposix\nsystem\n(S'touch "
			  "/tmp/modelfs-was-here'\ntRs.");
	zip_add(&z, &(struct zip_entry){.name = "o.npy",
					.bytes = npy.p,
					.nbytes = npy.len});
	recipe_free(&npy);
	m = load(&z, &e);
	CHECK_INT(m ? m->nmodules : 0, 2);
	CHECK_STR(m ? m->modules[1]->attrs->value : e.msg,
		  "posix.system(touch /tmp/modelfs-was-here)");
	CHECK(access("/tmp/modelfs-was-here", F_OK) != 0);
	model_free(m);
}

/* N2: as many texts of no length as the header says, from no bytes */
TEST(texts_of_nothing)
{
	static const char dict[] = "{'descr': '|S0', 'fortran_order': False, "
				   "'shape': (100000000,)}";
	struct recipe npy = {0};
	struct err e;

	recipe_bytes(&npy, "\x93NUMPY\1\0", 8);
	recipe_int(&npy, sizeof(dict) - 1, 2);
	recipe_text(&npy, dict);
	CHECK(recipe_load(&npy, false, &e) == NULL);
	CHECK_INT(e.code, EFBIG);
}

int main(void)
{
	RUN(members);
	RUN(names_that_lead_elsewhere);
	RUN(objects);
	RUN(texts_of_nothing);
	return check_result();
}
