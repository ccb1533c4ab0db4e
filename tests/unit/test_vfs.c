/* SPDX-License-Identifier: MIT */
/* The tree without a mount: what no directory, however long, may cost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/run.h"
#include "modelfs/vfs.h"

#include "check.h"

#define MANY 100000
/* Minutes, when each name is looked for among all others. */
#define SECONDS_MAX 60

/* Inputs x0, x1, …, which nothing reads. */
static struct model *many_inputs(void)
{
	struct model *m = model_new("test");
	char name[32];

	m->graph = graph_new(m->arena, NULL, "many");
	for (uint32_t i = 0; i < MANY; i++) {
		size_t len = (size_t)snprintf(name, sizeof(name), "x%u", i);
		value_id v = NO_VALUE;

		CHECK_INT(graph_value(m->graph, name, len, &v, NULL), 0);
		CHECK_INT(graph_input(m->graph, v, NULL), 0);
	}
	CHECK_INT(model_seal(m, NULL), 0);
	return m;
}

/* N parameters of one name, beside a module called like one of their views. */
static struct model *same_names(uint32_t n)
{
	struct model *m = model_new("test");
	struct param_spec spec = {
		.module = model_root(m),
		.name = {"a", 1},
		.full_name = {"a", 1},
		.tensor = {.dtype = DTYPE_F32, .shape = shape_of(0, NULL)},
	};
	struct module *mod;

	CHECK_INT(model_module(m, model_root(m), "a.npy", 5, &mod, NULL), 0);
	for (uint32_t i = 0; i < n; i++)
		CHECK_INT(model_param(m, &spec, NULL, NULL), 0);
	CHECK_INT(model_seal(m, NULL), 0);
	return m;
}

static struct vfs *show(struct model *m, struct engine *en)
{
	struct vfs_mount mount = {.name = "m", .model = m, .path = "m"};
	struct vfs *v = NULL;

	CHECK_INT(vfs_new(&mount, 1, en, &v, NULL), 0);
	return v;
}

static vfs_ino find(struct vfs *v, vfs_ino dir, const char *name)
{
	vfs_ino ino = 0;

	CHECK_INT(vfs_lookup(v, dir, name, false, NULL, &ino, NULL), 0);
	return ino;
}

static bool leads_to(struct vfs *v, vfs_ino link, const char *where)
{
	struct blob *b = NULL;
	bool yes;

	if (vfs_readlink(v, link, &b, NULL) < 0)
		return false;
	yes = b->size == strlen(where) &&
	      memcmp(blob_bytes(b), where, b->size) == 0;
	blob_unref(b);
	return yes;
}

TEST(links_to_many_inputs)
{
	struct engine *en = engine_new(1, 1 << 20);
	struct vfs *v = show(many_inputs(), en);
	vfs_ino run, values;
	char name[32], where[64];
	uint32_t i, found = 0;

	CHECK_INT(vfs_mkdir(v, find(v, VFS_ROOT, "run"), "r", &run, NULL), 0);
	values = find(v, run, "values");
	alarm(SECONDS_MAX);
	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "x%u.npy", i);
		snprintf(where, sizeof(where), "../in/%s", name);
		found += leads_to(v, find(v, values, name), where);
	}
	alarm(0);
	CHECK_INT(found, MANY);
	vfs_free(v);
	engine_free(en);
}

TEST(one_name_many_times)
{
	struct vfs *v = show(same_names(MANY), NULL);
	char last[32];

	alarm(SECONDS_MAX);
	snprintf(last, sizeof(last), "a%%%u", MANY);
	find(v, find(v, VFS_ROOT, "model"), last);
	alarm(0);
	vfs_free(v);
}

int main(void)
{
	RUN(links_to_many_inputs);
	RUN(one_name_many_times);
	return check_result();
}
