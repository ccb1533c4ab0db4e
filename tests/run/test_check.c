/* SPDX-License-Identifier: MIT */
/*
 * What a value cannot be had without, and that asking for each value of a
 * long graph costs no more than looking at it once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/run.h"

#include "../unit/check.h"

#define LONG 200000
/* Minutes, when each value's whole chain is looked at. */
#define SECONDS_MAX 60

static value_id value(struct graph *g, const char *name)
{
	value_id v = NO_VALUE;

	CHECK_INT(graph_value(g, name, strlen(name), &v, NULL), 0);
	return v;
}

/* v0 → v1 → … → vn; node number `strange` is of a type nobody knows. */
static struct model *chain(uint32_t n, uint32_t strange)
{
	struct model *m = model_new("test");
	struct tensor t = {.dtype = DTYPE_F32,
			   .shape = shape_of(1, (int64_t[]){4})};
	char from[32], to[32];
	value_id in;

	m->graph = graph_new(m->arena, NULL, "chain");
	in = value(m->graph, "v0");
	CHECK_INT(graph_input(m->graph, in, NULL), 0);
	CHECK_INT(graph_declare(m->graph, in, &t, NULL, NULL), 0);
	for (uint32_t i = 0; i < n; i++) {
		struct node *node;

		snprintf(from, sizeof(from), "v%u", i);
		snprintf(to, sizeof(to), "v%u", i + 1);
		CHECK_INT(graph_node(m->graph, "", "",
				     i == strange ? "Strange" : "Neg", 1, 1, 0,
				     &node, NULL),
			  0);
		node->opset = 17;
		node->in[0] = value(m->graph, from);
		node->out[0] = value(m->graph, to);
	}
	CHECK_INT(model_seal(m, NULL), 0);
	return m;
}

static int bind(struct run *r, value_id v)
{
	struct tensor t = {.dtype = DTYPE_F32,
			   .shape = shape_of(1, (int64_t[]){4})};
	void *data;

	t.data = blob_mem(4 * sizeof(float), &data);
	memset(data, 0, 4 * sizeof(float));
	return run_bind(r, v, &t, NULL);
}

TEST(what_is_missing)
{
	struct model *m = chain(8, 5);
	struct engine *en = engine_new(1, 1 << 20);
	struct err e = {0};
	struct run *r;

	CHECK_INT(run_new(en, m, &r, NULL), 0);
	CHECK_INT(run_check(r, value(m->graph, "v5"), &e), -ENODATA);
	CHECK(strstr(e.msg, "input v0 is missing"));
	CHECK_INT(run_check(r, value(m->graph, "v8"), &e), -EOPNOTSUPP);
	CHECK(strstr(e.msg, "Strange"));
	CHECK_INT(bind(r, value(m->graph, "v0")), 0);
	CHECK_INT(run_check(r, value(m->graph, "v5"), &e), 0);
	CHECK_INT(run_check(r, value(m->graph, "v8"), &e), -EOPNOTSUPP);
	CHECK_INT(run_unbind(r, value(m->graph, "v0")), 0);
	CHECK_INT(run_check(r, value(m->graph, "v5"), &e), -ENODATA);
	run_unref(r);
	engine_free(en);
	model_free(m);
}

TEST(a_patch_is_as_good)
{
	struct model *m = chain(8, 5);
	struct engine *en = engine_new(1, 1 << 20);
	struct tensor t = {.dtype = DTYPE_F32,
			   .shape = shape_of(1, (int64_t[]){4})};
	struct run *r;
	void *data;

	CHECK_INT(run_new(en, m, &r, NULL), 0);
	t.data = blob_mem(4 * sizeof(float), &data);
	memset(data, 0, 4 * sizeof(float));
	CHECK_INT(run_check(r, value(m->graph, "v8"), NULL), -EOPNOTSUPP);
	CHECK_INT(run_patch(r, value(m->graph, "v6"), &t, NULL), 0);
	CHECK_INT(run_check(r, value(m->graph, "v8"), NULL), 0);
	CHECK_INT(run_check(r, value(m->graph, "v5"), NULL), -ENODATA);
	CHECK_INT(run_unpatch(r, value(m->graph, "v6")), 0);
	CHECK_INT(run_check(r, value(m->graph, "v8"), NULL), -EOPNOTSUPP);
	run_unref(r);
	engine_free(en);
	model_free(m);
}

TEST(each_value_of_a_long_chain)
{
	struct model *m = chain(LONG, LONG);
	struct engine *en = engine_new(1, 1 << 20);
	uint32_t nmissing = 0, nfree = 0;
	struct run *r;

	CHECK_INT(run_new(en, m, &r, NULL), 0);
	alarm(SECONDS_MAX);
	for (value_id v = 0; v <= LONG; v++)
		nmissing += run_check(r, v, NULL) == -ENODATA;
	CHECK_INT(nmissing, LONG + 1);
	CHECK_INT(bind(r, value(m->graph, "v0")), 0);
	for (value_id v = 0; v <= LONG; v++)
		nfree += run_check(r, v, NULL) == 0;
	CHECK_INT(nfree, LONG + 1);
	alarm(0);
	run_unref(r);
	engine_free(en);
	model_free(m);
}

int main(void)
{
	RUN(what_is_missing);
	RUN(a_patch_is_as_good);
	RUN(each_value_of_a_long_chain);
	return check_result();
}
