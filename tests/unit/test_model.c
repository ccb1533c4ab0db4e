/* SPDX-License-Identifier: MIT */
/* Building and sealing a model; the graph's topology. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "check.h"

static int add(struct model *m, const char *name, struct blob *data,
	       int64_t extent, struct err *e)
{
	struct param_spec spec = {
		.full_name = {name, strlen(name)},
		.tensor = {.dtype = DTYPE_U8,
			   .shape = shape_of(1, &extent),
			   .data = data},
	};
	int rc = model_path(m, model_root(m), name, strlen(name), ".",
			    &spec.module, &spec.name, e);

	CHECK_INT(rc, 0);
	return model_param(m, &spec, NULL, e);
}

TEST(paths)
{
	struct model *m = model_new("test");
	struct err e = {0};

	CHECK_INT(add(m, "a.b.w", blob_copy("xy", 2), 2, &e), 0);
	CHECK_INT(add(m, "a.b.v", blob_copy("z", 1), 1, &e), 0);
	CHECK_INT(add(m, "a..c", blob_copy("", 0), 0, &e), 0);
	CHECK_INT(add(m, "top", blob_copy("q", 1), 1, &e), 0);
	CHECK_INT(m->nmodules, 4); /* root, a, a.b, a."" */
	CHECK_INT(m->nparams, 4);
	CHECK_STR(m->params[0]->name, "w");
	CHECK_STR(m->params[0]->full_name, "a.b.w");
	CHECK_STR(m->params[0]->module->name, "b");
	CHECK(m->params[1]->module == m->params[0]->module);
	CHECK_STR(m->params[2]->module->name, "");
	CHECK(m->params[3]->module == model_root(m));
	CHECK_INT(model_seal(m, &e), 0);
	model_free(m);
	model_free(NULL);
}

TEST(data_of_the_wrong_size)
{
	struct model *m = model_new("test");
	struct err e = {0};
	struct tensor t;

	CHECK_INT(add(m, "w", blob_copy("xyz", 3), 4, &e), -EINVAL);
	CHECK(strstr(e.msg, "w") != NULL);
	m->lenient = true;
	CHECK_INT(add(m, "w", blob_copy("xyz", 3), 4, &e), 0);
	t = param_tensor(m->params[0]);
	CHECK_INT(t.data->size, 4);
	CHECK_INT(blob_status(t.data, NULL), -EIO);
	CHECK_INT(model_seal(m, &e), 0);
	model_free(m);
}

TEST(deep_names)
{
	struct model *m = model_new("test");
	char name[4001];
	struct err e = {0};

	for (int i = 0; i < 4000; i++)
		name[i] = i % 2 ? '.' : 'a';
	name[4000] = '\0';
	CHECK_INT(add(m, name, blob_copy("x", 1), 1, &e), 0);
	CHECK(m->params[0]->module->depth < MODEL_DEPTH_MAX);
	CHECK_STR(m->params[0]->full_name, name);
	CHECK_INT(model_seal(m, &e), 0);
	model_free(m);
}

static struct blob *range(struct source *s, uint64_t off, uint64_t len)
{
	struct blob *b = NULL;

	CHECK_INT(blob_file(s, off, len, &b, NULL), 0);
	return b;
}

/* The same bytes of the file, not equal bytes; and the same shape. */
TEST(ties)
{
	struct model *m = model_new("test");
	struct source *s = NULL;
	struct err e = {0};

	source_from_memory(calloc(1, 100), 100, "x", &s, NULL);
	add(m, "a", range(s, 0, 10), 10, &e);
	add(m, "b", range(s, 10, 10), 10, &e);
	add(m, "c", range(s, 0, 10), 10, &e);
	add(m, "d", range(s, 0, 5), 5, &e);
	add(m, "e", range(s, 0, 10), 10, &e);
	add(m, "f", range(s, 0, 0), 0, &e);
	add(m, "g", range(s, 0, 0), 0, &e);
	CHECK_INT(model_seal(m, &e), 0);
	CHECK(!m->params[0]->tied && m->params[0]->ntied == 3);
	CHECK(!m->params[1]->tied && !m->params[3]->tied);
	CHECK(m->params[2]->tied == m->params[0]);
	CHECK(m->params[4]->tied == m->params[0]);
	CHECK(!m->params[6]->tied);
	model_free(m);
	source_unref(s);
}

/* ---- graphs ---- */

static value_id val(struct graph *g, const char *name)
{
	value_id v = NO_VALUE;

	CHECK_INT(graph_value(g, name, strlen(name), &v, NULL), 0);
	return v;
}

static void op(struct graph *g, const char *type, const char *in,
	       const char *in2, const char *out)
{
	struct node *n = NULL;

	CHECK_INT(graph_node(g, NULL, "", type, in2 ? 2 : 1, 1, 0, &n, NULL),
		  0);
	n->in[0] = val(g, in);
	if (in2)
		n->in[1] = val(g, in2);
	n->out[0] = val(g, out);
}

static struct graph *new_graph(struct model *m)
{
	struct graph *g = graph_new(m->arena, NULL, "g");

	m->graph = g;
	CHECK_INT(graph_input(g, val(g, "x"), NULL), 0);
	return g;
}

TEST(nodes_are_sorted)
{
	struct model *m = model_new("test");
	struct graph *g = new_graph(m);

	op(g, "C", "b", "a", "c");
	op(g, "B", "a", NULL, "b");
	op(g, "A", "x", NULL, "a");
	CHECK_INT(graph_output(g, val(g, "c"), NULL), 0);
	CHECK_INT(model_seal(m, NULL), 0);
	CHECK(!g->broken);
	CHECK_STR(g->nodes[0].type, "A");
	CHECK_STR(g->nodes[1].type, "B");
	CHECK_STR(g->nodes[2].type, "C");
	CHECK_INT(g->values[graph_find(g, "c", 1)].producer, 2);
	CHECK_INT(graph_find(g, "nothing", 7), NO_VALUE);
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < i; j++)
			CHECK(strcmp(g->nodes[i].name, g->nodes[j].name) != 0);
	model_free(m);
}

TEST(graphs_that_cannot_run)
{
	struct model *m = model_new("test");
	struct graph *g = new_graph(m);

	op(g, "A", "x", "c", "a");
	op(g, "C", "a", NULL, "c");
	CHECK_INT(model_seal(m, NULL), 0);
	CHECK(g->broken && g->nnodes == 2);
	model_free(m);

	m = model_new("test");
	g = new_graph(m);
	op(g, "A", "a", NULL, "a");
	CHECK_INT(model_seal(m, NULL), 0);
	CHECK(g->broken);
	model_free(m);

	m = model_new("test");
	g = new_graph(m);
	op(g, "A", "x", NULL, "a");
	op(g, "B", "x", NULL, "a");
	CHECK_INT(model_seal(m, NULL), 0);
	CHECK(g->broken);
	model_free(m);

	m = model_new("test");
	g = new_graph(m);
	op(g, "A", "nobody makes this", NULL, "a");
	CHECK_INT(model_seal(m, NULL), 0);
	CHECK(g->broken);
	model_free(m);
}

/* A chain in reverse: sorting must neither recurse nor be quadratic. */
TEST(a_long_chain)
{
	enum { N = 200000 };
	struct model *m = model_new("test");
	struct graph *g = new_graph(m);
	char in[16], out[16];

	for (int i = N; i > 0; i--) {
		snprintf(in, sizeof(in), "%d", i - 1);
		snprintf(out, sizeof(out), "%d", i);
		op(g, "A", i == 1 ? "x" : in, NULL, out);
	}
	CHECK_INT(model_seal(m, NULL), 0);
	CHECK(!g->broken);
	CHECK_STR(g->values[g->nodes[N - 1].out[0]].name, "200000");
	model_free(m);
}

static struct module *module_at(struct model *m, const char *path)
{
	struct span leaf;
	struct module *mod = NULL, *out = NULL;

	CHECK_INT(model_path(m, model_root(m), path, strlen(path), "/", &mod,
			     &leaf, NULL),
		  0);
	CHECK_INT(model_module(m, mod, leaf.p, leaf.len, &out, NULL), 0);
	return out;
}

/* x → block(A → B) → C: the block hands out b, and a stays inside. */
TEST(what_modules_hand_out)
{
	struct model *m = model_new("test");
	struct graph *g = new_graph(m);
	struct module *block;

	op(g, "A", "x", NULL, "a");
	op(g, "B", "a", NULL, "b");
	op(g, "C", "b", NULL, "c");
	g->nodes[0].module = module_at(m, "block/A");
	g->nodes[1].module = module_at(m, "block/B");
	g->nodes[2].module = module_at(m, "C");
	CHECK_INT(graph_output(g, val(g, "c"), NULL), 0);
	block = g->nodes[0].module->parent;
	CHECK_INT(model_seal(m, NULL), 0);
	CHECK_INT(block->noutputs, 1);
	CHECK_STR(g->values[block->outputs[0]].name, "b");
	CHECK_INT(g->nodes[0].module->noutputs, 1);
	CHECK_INT(g->nodes[0].module->node, 0);
	CHECK_INT(model_root(m)->noutputs, 1);
	model_free(m);
}

/* Every value that a node makes has a module to be seen in. */
TEST(nodes_that_share_a_module)
{
	struct model *m = model_new("test");
	struct graph *g = new_graph(m);
	struct module *shared = module_at(m, "block/A");

	op(g, "A", "x", NULL, "a");
	op(g, "A", "a", NULL, "b");
	op(g, "C", "b", NULL, "c");
	module_at(m, "block/A.1");
	g->nodes[0].module = shared;
	g->nodes[1].module = shared;
	g->nodes[2].module = model_root(m);
	CHECK_INT(graph_output(g, val(g, "c"), NULL), 0);
	CHECK_INT(model_seal(m, NULL), 0);
	for (node_id i = 0; i < 3; i++) {
		CHECK_INT(g->nodes[i].module->node, i);
		CHECK_INT(g->nodes[i].module->noutputs, 1);
		CHECK_INT(g->nodes[i].module->outputs[0], g->nodes[i].out[0]);
	}
	CHECK(g->nodes[0].module == shared);
	CHECK_STR(g->nodes[1].module->name, "A.11");
	CHECK(g->nodes[1].module->parent == shared->parent);
	CHECK_STR(g->nodes[2].module->name, "C.2");
	model_free(m);
}

int main(void)
{
	RUN(paths);
	RUN(data_of_the_wrong_size);
	RUN(deep_names);
	RUN(ties);
	RUN(nodes_are_sorted);
	RUN(graphs_that_cannot_run);
	RUN(a_long_chain);
	RUN(what_modules_hand_out);
	RUN(nodes_that_share_a_module);
	return check_result();
}
