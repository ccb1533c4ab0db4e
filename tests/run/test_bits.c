/* SPDX-License-Identifier: MIT */
/*
 * The same bits, whatever was read before and however many threads compute:
 * the outputs alone (nodes run in groups), or every value on the way.
 */
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/run.h"

#include "../unit/check.h"

#define IMAGES 3

static struct model *load(void)
{
	const char *top = getenv("top_srcdir");
	struct model *m = NULL;
	struct err e = {0};
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/models/digits/digits.onnx",
		 top ? top : ".");
	if (format_load(path, false, &m, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		exit(1);
	}
	return m;
}

static struct run *start(struct engine *en, const struct model *m)
{
	struct tensor t = {.dtype = DTYPE_F32,
			   .shape = shape_of(4, (int64_t[]){IMAGES, 1, 8, 8})};
	struct err e = {0};
	struct run *r;
	void *data;

	t.data = blob_mem(IMAGES * 64 * sizeof(float), &data);
	for (int i = 0; i < IMAGES * 64; i++)
		((float *)data)[i] = (float)(i * 37 % 101) * 0.15f;
	CHECK_INT(run_new(en, m, &r, &e), 0);
	CHECK_INT(run_bind(r, m->graph->inputs[0], &t, &e), 0);
	return r;
}

static struct tensor demand(struct run *r, value_id v)
{
	struct tensor t = {0};
	struct err e = {0};

	CHECK_INT(run_demand(r, v, NULL, &t, &e), 0);
	return t;
}

static bool same(struct tensor *a, struct tensor *b)
{
	bool yes = a->data->size == b->data->size &&
		   memcmp(blob_bytes(a->data), blob_bytes(b->data),
			  a->data->size) == 0;

	tensor_drop(a);
	tensor_drop(b);
	return yes;
}

/* Every value of one run against the same value, read first, of another. */
static void compare_runs(unsigned threads)
{
	struct model *m = load();
	struct engine *en = engine_new(threads, 0), *one = engine_new(1, 0);
	const struct graph *g = m->graph;
	struct run *all = start(one, m);

	for (uint32_t i = 0; i < g->nnodes; i++) {
		struct run *alone = start(en, m);
		struct tensor a = demand(all, g->nodes[i].out[0]);
		struct tensor b = demand(alone, g->nodes[i].out[0]);

		CHECK(same(&a, &b));
		/* And the first, when the last was there before. */
		b = demand(alone, g->nodes[0].out[0]);
		a = demand(all, g->nodes[0].out[0]);
		CHECK(same(&a, &b));
		run_unref(alone);
	}
	run_unref(all);
	engine_free(en);
	engine_free(one);
	model_free(m);
}

TEST(one_thread)
{
	compare_runs(1);
}

TEST(three_threads)
{
	compare_runs(3);
}

/* A value in between that somebody gives is the one that counts. */
TEST(a_patch_inside_a_group)
{
	struct model *m = load();
	struct engine *en = engine_new(2, 0);
	const struct graph *g = m->graph;
	value_id conv = g->nodes[0].out[0], relu = g->nodes[2].out[0];
	struct run *r = start(en, m);
	struct tensor before = demand(r, relu), t = demand(r, conv), after;
	struct err e = {0};
	uint64_t size;
	void *data;

	size = t.data->size;
	blob_unref(t.data);
	t.data = blob_mem(size, &data);
	CHECK_INT(run_patch(r, conv, &t, &e), 0);
	after = demand(r, relu);
	CHECK(!same(&before, &after));
	CHECK_INT(run_unpatch(r, conv), 0);
	run_unref(r);
	engine_free(en);
	model_free(m);
}

int main(void)
{
	RUN(one_thread);
	RUN(three_threads);
	RUN(a_patch_inside_a_group);
	return check_result();
}
