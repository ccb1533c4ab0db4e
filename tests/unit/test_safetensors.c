/* SPDX-License-Identifier: MIT */
/* Rows S1 to S7: what a safetensors file may not be. */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "recipe.h"

static struct recipe file(const char *header, size_t ndata)
{
	struct recipe r = {0};

	recipe_int(&r, strlen(header), 8);
	recipe_text(&r, header);
	for (size_t i = 0; i < ndata; i++)
		recipe_int(&r, i, 1);
	return r;
}

static struct model *load(const char *header, size_t ndata, struct err *e)
{
	struct recipe r = file(header, ndata);

	return recipe_load(&r, false, e);
}

/* Refused, and the message says this. */
static bool is_refused(const char *header, size_t ndata, const char *why)
{
	struct err e;
	struct model *m = load(header, ndata, &e);
	bool ok = !m && strstr(e.msg, why);

	if (!ok)
		printf("# %s: %s\n", header, m ? "read" : e.msg);
	model_free(m);
	return ok;
}

#define F32(shape, begin, end)                                            \
	"{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin \
	"," end "]}"

TEST(good_file)
{
	struct err e;
	struct model *m = load(
		"{\"__metadata__\":{\"k\":\"v\"},\"b.y\":" F32(
			"[]", "8", "12") ",\"a\":" F32("[2,1]", "0", "8") "}"
									  "  ",
		12, &e);
	char buf[64];

	CHECK(m != NULL);
	if (!m)
		return;
	CHECK_INT(m->nparams, 2);
	CHECK_STR(recipe_path(recipe_param(m, "b.y"), buf, sizeof(buf)), "b/y");
	CHECK_INT(recipe_param(m, "b.y")->rank, 0);
	CHECK(recipe_holds(recipe_param(m, "b.y"), "\x8\x9\xa\xb", 4));
	CHECK(m->config && strcmp(m->config->name, "k") == 0);
	model_free(m);
}

TEST(empty_sets)
{
	struct err e;
	struct model *m = load("{}", 0, &e);

	CHECK(m && m->nparams == 0);
	model_free(m);
	m = load("{\"a\":" F32("[0,9]", "0", "0") ",\"b\":" F32("[0]", "0",
								"0") "}",
		 0, &e);
	CHECK(m && m->nparams == 2);
	model_free(m);
	CHECK(is_refused("{}", 3, "behind the last"));
}

TEST(header_length) /* S1, S2 */
{
	static const uint64_t lengths[] = {UINT64_MAX, (uint64_t)1 << 63,
					   100000001, UINT64_MAX - 7, 100};
	struct err e;

	for (size_t i = 0; i < 5; i++) {
		struct recipe r = {0};

		recipe_int(&r, lengths[i], 8);
		recipe_text(&r, "{}");
		CHECK(recipe_load(&r, false, &e) == NULL);
		CHECK(strstr(e.msg, lengths[i] == 100 ? "beyond the file"
						      : "too large"));
	}
	for (size_t n = 0; n < 10; n++) {
		struct recipe r = {0};

		recipe_zeros(&r, n);
		CHECK(recipe_load(&r, false, &e) == NULL);
	}
}

TEST(sizes) /* S3, S4 */
{
	CHECK(is_refused("{\"a\":" F32("[4294967296,4294967296]", "0", "0") "}",
			 0, "overflows"));
	CHECK(is_refused("{\"a\":" F32("[2]", "0", "4") "}", 4, "for 8"));
	CHECK(is_refused("{\"a\":" F32("[1]", "4", "0") "}", 4, "offsets"));
	CHECK(is_refused("{\"a\":" F32("[1]", "-4", "0") "}", 4, "natural"));
	CHECK(is_refused("{\"a\":" F32("[1]", "4", "8") "}", 4, "offsets"));
	CHECK(is_refused("{\"a\":" F32("[1]", "0", "4e0") "}", 4, "natural"));
	CHECK(is_refused("{\"a\":" F32("[1]", "\"0\"", "4") "}", 4, "natural"));
	CHECK(is_refused("{\"a\":" F32("[1]", "-0", "4") "}", 4, "-0"));
	CHECK(is_refused("{\"a\":" F32("[1]", "0", "18446744073709551615") "}",
			 4, "big"));
	CHECK(is_refused("{\"a\":" F32("[-1]", "0", "4") "}", 4, "natural"));
	CHECK(is_refused("{\"a\":" F32("[1.0]", "0", "4") "}", 4, "natural"));
	CHECK(is_refused("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],"
			 "\"data_offsets\":[0,2]}}",
			 2, "bits"));
}

TEST(unknown_type) /* S5 */
{
	struct err e;
	struct model *m = load("{\"a\":{\"dtype\":\"F3\",\"shape\":[2],"
			       "\"data_offsets\":[0,3]}}",
			       3, &e);

	CHECK(m != NULL);
	CHECK_INT(recipe_status(recipe_param(m, "a")), -EOPNOTSUPP);
	CHECK_STR(m ? m->params[0]->dtype_text : "", "F3");
	model_free(m);
	CHECK(is_refused("{\"a\":{\"dtype\":\"F3\",\"shape\":[2],"
			 "\"data_offsets\":[0,300]}}",
			 3, "offsets"));
}

TEST(cover) /* S6 */
{
	CHECK(is_refused("{\"a\":" F32("[1]", "0",
				       "4") ",\"b\":" F32("[1]", "0", "4") "}",
			 4, "the one before ends"));
	CHECK(is_refused("{\"a\":" F32("[1]", "0",
				       "4") ",\"b\":" F32("[1]", "8", "12") "}",
			 12, "a hole"));
	CHECK(is_refused("{\"a\":" F32("[1]", "4", "8") "}", 8, "a hole"));
	CHECK(is_refused("{\"a\":" F32("[1]", "0", "4") "}", 5, "behind"));
}

TEST(names) /* S7 */
{
	struct err e;
	struct model *m;

	CHECK(is_refused("{\"a\":" F32("[1]", "0",
				       "4") ",\"a\":" F32("[1]", "4", "8") "}",
			 8, "twice"));
	CHECK(is_refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0,
			 "twice"));
	CHECK(is_refused("{\"__metadata__\":[1]}", 0, "object"));
	CHECK(is_refused("{\"__metadata__\":{\"a\":{}}}", 0, "string"));
	CHECK(is_refused("{\"__metadata__\":" F32("[1]", "0", "4") "}", 4,
			 "string"));
	m = load("{\"a\\u0000b\":" F32("[1]", "0", "4") "}", 4, &e);
	CHECK(m && m->params[0]->full_len == 3);
	model_free(m);
	m = load("{\"\":" F32("[1]", "0", "4") "}", 4, &e);
	CHECK(m && m->nparams == 1);
	model_free(m);
}

TEST(lenient)
{
	struct recipe r = file("{\"a\":" F32("[1]", "0", "400") ",\"b\":" F32(
				       "[1]", "0", "4") "}",
			       4);
	struct err e;
	struct model *m = recipe_load(&r, true, &e);

	CHECK(m && m->nparams == 2);
	CHECK_INT(recipe_status(recipe_param(m, "a")), -EIO);
	CHECK_INT(recipe_status(recipe_param(m, "b")), 0);
	model_free(m);
}

TEST(every_prefix)
{
	struct recipe whole = file("{\"a\":" F32("[1]", "0", "4") "}", 4);
	struct err e;

	for (size_t n = 0; n < whole.len; n++) {
		struct recipe part = {0};

		recipe_bytes(&part, whole.p, n);
		CHECK(recipe_load(&part, false, &e) == NULL);
	}
	recipe_free(&whole);
}

int main(void)
{
	RUN(good_file);
	RUN(empty_sets);
	RUN(header_length);
	RUN(sizes);
	RUN(unknown_type);
	RUN(cover);
	RUN(names);
	RUN(lenient);
	RUN(every_prefix);
	return check_result();
}
