/* SPDX-License-Identifier: MIT */
/* A net of Caffe in both forms of layers, and what can be wrong with it. */
#include <errno.h>

#include "check.h"
#include "recipe.h"
#include "table_recipe.h"

static void add_text(struct recipe *r, unsigned id, const char *text)
{
	recipe_varint(r, id << 3 | 2);
	recipe_varint(r, strlen(text));
	recipe_text(r, text);
}

/* Floats 1, 2, … in one run, of this shape. */
static void add_blob(struct recipe *layer, unsigned id, const int64_t *dims,
		     size_t rank, uint32_t nfloats)
{
	struct recipe blob = {0}, shape = {0};

	recipe_varint(&blob, 5 << 3 | 2);
	recipe_varint(&blob, 4u * nfloats);
	for (uint32_t i = 0; i < nfloats; i++) {
		float v = (float)(i + 1);

		recipe_bytes(&blob, &v, 4);
	}
	for (size_t i = 0; i < rank; i++)
		recipe_number(&shape, 1, (uint64_t)dims[i]);
	recipe_message(&blob, 7, &shape);
	recipe_message(layer, id, &blob);
}

static struct recipe net(const int64_t *dims, size_t rank, uint32_t nfloats)
{
	struct recipe r = {0}, layer = {0};

	add_text(&r, 1, "a net");
	add_text(&layer, 1, "conv2/dw");
	add_text(&layer, 2, "Convolution");
	add_blob(&layer, 7, dims, rank, nfloats);
	recipe_message(&r, 100, &layer);
	return r;
}

TEST(layers)
{
	static const int64_t dims[] = {2, 1, 1, 2};
	static const float want[] = {1, 2, 3, 4};
	struct recipe r = net(dims, 4, 4);
	struct err e = {0};
	struct model *m = recipe_load(&r, false, &e);
	const struct param *p = m ? recipe_param(m, "conv2/dw/weight") : NULL;
	char path[256];

	CHECK(p && recipe_holds(p, want, sizeof(want)));
	if (p)
		CHECK_STR(recipe_path(p, path, sizeof(path)),
			  "conv2/dw/weight");
	model_free(m);
}

/* Until 2014: other numbers of fields, and the type is one, too. */
TEST(old_layers)
{
	static const int64_t dims[] = {3};
	static const float want[] = {1, 2, 3};
	struct recipe r = {0}, layer = {0};
	struct err e = {0};
	struct model *m;
	const struct param *p;

	add_text(&layer, 2, "data");
	add_text(&layer, 4, "ip");
	recipe_number(&layer, 5, 14);
	add_blob(&layer, 6, dims, 1, 3);
	recipe_message(&r, 2, &layer);
	m = recipe_load(&r, false, &e);
	p = m ? recipe_param(m, "ip/weight") : NULL;
	CHECK(p && recipe_holds(p, want, sizeof(want)));
	model_free(m);
}

TEST(contradictions)
{
	static const struct {
		int64_t dims[2];
		uint32_t nfloats;
	} rows[] = {{{2, 2}, 3},
		    {{-1, 2}, 2},
		    {{INT64_MAX, 2}, 2},
		    {{(int64_t)1 << 32, (int64_t)1 << 32}, 0}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct recipe r = net(rows[i].dims, 2, rows[i].nfloats);
		struct err e = {0};

		CHECK(!recipe_load(&r, false, &e));
		CHECK(e.msg[0] != '\0');
	}
}

int main(void)
{
	RUN(layers);
	RUN(old_layers);
	RUN(contradictions);
	return check_result();
}
