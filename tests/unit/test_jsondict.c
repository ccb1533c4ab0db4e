/* SPDX-License-Identifier: MIT */
/* Weights in JSON, compressed files: rows J1 and Z1. */
#include <errno.h>
#include <zlib.h>

#include "check.h"
#include "recipe.h"

static struct model *load(const char *text, struct err *e)
{
	struct recipe r = {0};

	recipe_text(&r, text);
	return recipe_load(&r, false, e);
}

static bool fails(const char *text)
{
	struct err e;
	struct model *m = load(text, &e);
	bool ok = !m && e.msg[0];

	model_free(m);
	return ok;
}

TEST(lists)
{
	const int64_t weights[] = {4, 5, 6};
	const double b[] = {1.5, 2, 3, 4};
	char path[64];
	struct err e;
	struct model *m = load("{\"layers\":[{\"name\":\"fc\",\"weights\":"
			       "[4,5,6],\"b\":[[1.5,2],[3,4]]}],\"n\":3}",
			       &e);
	struct param *p = recipe_param(m, "layers.0.weights");

	CHECK(recipe_holds(p, weights, sizeof(weights)));
	CHECK_STR(recipe_path(p, path, sizeof(path)), "layers/0/weights");
	CHECK(recipe_holds(recipe_param(m, "layers.0.b"), b, sizeof(b)));
	CHECK_STR(m && m->config ? m->config->name : "", "layers/0/name");
	CHECK(m && m->config && m->config->next &&
	      strcmp(m->config->next->name, "n") == 0);
	model_free(m);
	m = load("\xef\xbb\xbf [[1],[2]]", &e);
	CHECK_INT(m && m->nparams == 1 ? m->params[0]->rank : 0, 2);
	model_free(m);
}

TEST(no_tensors)
{
	struct err e;
	struct model *m = load("{\"a\":[1],\"r\":[[1],[2,3]],\"s\":[\"x\"],"
			       "\"m\":[1,true],\"nan\":[NaN,1.5]}",
			       &e);

	/* ragged: its rows are tensors */
	CHECK(recipe_param(m, "r") == NULL);
	CHECK(recipe_param(m, "r.1") != NULL);
	CHECK(recipe_param(m, "s") == NULL && recipe_param(m, "m") == NULL);
	CHECK_INT(recipe_status(recipe_param(m, "nan")), -EOPNOTSUPP);
	model_free(m);
	CHECK(fails("{\"a\":\"b\"}"));
	CHECK(fails("[]"));
}

TEST(hostile) /* J1 */
{
	struct recipe r = {0};
	struct model *m;
	struct err e;

	CHECK(fails("{\"a\":[1],\"a\":[2]}"));
	CHECK(fails("{\"a\":[1"));
	CHECK(fails("{\"a\":[1e999999]}"));
	CHECK(fails("{\"a\":[1],\"b\":\"\\ud8\"}"));
	CHECK(fails("{\"a\":[1],\"b\":\"\xff\"}"));
	for (int i = 0; i < 100000; i++)
		recipe_text(&r, "[");
	CHECK(recipe_load(&r, false, &e) == NULL && e.msg[0]);
	recipe_text(&r, "[");
	for (int i = 0; i < 1000000; i++)
		recipe_text(&r, "1");
	recipe_text(&r, "]");
	/* Python reads it as a number of a million digits; we don't. */
	m = recipe_load(&r, false, &e);
	CHECK(!m && e.msg[0]);
	model_free(m);
}

static struct recipe deflated(const char *text, size_t cut)
{
	struct recipe r = {0};
	uint8_t buf[256];
	uLongf len = sizeof(buf);

	if (compress(buf, &len, (const Bytef *)text, strlen(text)) != Z_OK)
		abort();
	recipe_bytes(&r, buf, len - cut);
	return r;
}

TEST(compressed)
{
	const int64_t want[] = {1, 2};
	struct recipe r = deflated("{\"a\": [1, 2]}", 0);
	struct err e;
	struct model *m = recipe_load(&r, false, &e);

	CHECK(recipe_holds(recipe_param(m, "a"), want, sizeof(want)));
	CHECK_STR(m ? m->format : "", "json");
	model_free(m);
	r = deflated("{\"a\": [1, 2]}", 5);
	CHECK(recipe_load(&r, false, &e) == NULL);
	CHECK_INT(e.code, EIO);
	r = deflated("no model", 0);
	CHECK(recipe_load(&r, false, &e) == NULL);
	CHECK_INT(e.code, EINVAL);
}

int main(void)
{
	RUN(lists);
	RUN(no_tensors);
	RUN(hostile);
	RUN(compressed);
	return check_result();
}
