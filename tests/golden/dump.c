/* SPDX-License-Identifier: MIT */
/*
 * dump - prints what a reader sees in a model, for the scripts beside it.
 *
 *	dump FILE        one line per parameter: path, full name, dtype, shape
 *	dump FILE DIR    and their bytes as DIR/0.raw, DIR/1.raw, ...
 *	dump -g FILE     the modules and the graph
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/dtype.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/names.h"

static void print_module(const struct module *mod)
{
	char name[NAME_BUFFER];

	if (!mod->parent)
		return;
	print_module(mod->parent);
	name_encode(name, mod->name, mod->name_len);
	printf("%s/", name);
}

static int write_data(const struct param *p, const char *dir)
{
	static char buf[1 << 16];
	struct err e = {0};
	char path[4096];
	uint64_t off = 0;
	size_t got = 0;
	FILE *f;
	int rc = blob_status(p->data, &e);

	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "%s/%u.raw", dir, p->id);
	f = fopen(path, "wb");
	if (!f)
		return -errno;
	do {
		rc = blob_read(p->data, buf, sizeof(buf), off, &got, &e);
		if (rc == 0 && fwrite(buf, 1, got, f) != got)
			rc = -EIO;
		off += got;
	} while (rc == 0 && got > 0);
	return fclose(f) == 0 ? rc : -EIO;
}

static void print_param(const struct param *p, const char *dir)
{
	static const char *const kinds[] = {"parameter", "buffer", "constant",
					    "slot"};
	struct shape shape = shape_of(p->rank, p->dims);
	char name[NAME_BUFFER], dims[1024];
	int rc = 0;

	shape_format(&shape, dims, sizeof(dims));
	name_encode(name, p->name, p->name_len);
	printf("%u\t", p->id);
	print_module(p->module);
	printf("%s\t%s\t%s\t%s\t%s", name, p->full_name,
	       p->dtype_text ? p->dtype_text : dtype_name(p->dtype), dims,
	       kinds[p->kind]);
	if (dir)
		rc = write_data(p, dir);
	printf("\t%s\t%d\n", rc < 0 ? strerror(-rc) : "ok",
	       p->tied ? (int)p->tied->id : -1);
}

static void print_values(const struct graph *g, const value_id *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		printf("%s%s", i ? "," : "",
		       ids[i] == NO_VALUE ? "" : g->values[ids[i]].name);
}

static void print_graph(const struct model *m)
{
	const struct graph *g = m->graph;

	for (uint32_t i = 0; i < m->nmodules; i++) {
		const struct module *mod = m->modules[i];

		printf("module\t");
		print_module(mod);
		printf("\t%s\t%s\t", mod->type ? mod->type : "",
		       mod->is_node ? "node" : "scope");
		if (g)
			print_values(g, mod->outputs, mod->noutputs);
		printf("\n");
	}
	for (uint32_t i = 0; g && i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		printf("node\t%s\t%s\t%s\t%d\t", n->name, n->domain, n->type,
		       n->opset);
		print_values(g, n->in, n->nin);
		printf("\t");
		print_values(g, n->out, n->nout);
		printf("\n");
	}
	if (g && g->broken)
		printf("broken\t%s\n", g->broken);
}

int main(int argc, char **argv)
{
	bool with_graph = argc > 1 && strcmp(argv[1], "-g") == 0;
	const char *file, *dir;
	struct model *m;
	struct err e = {0};

	argv += with_graph;
	argc -= with_graph;
	file = argc > 1 ? argv[1] : NULL;
	dir = argc > 2 ? argv[2] : NULL;
	if (!file)
		return 2;
	if (format_load(file, false, &m, &e) < 0) {
		fprintf(stderr, "dump: %s: %s\n", file, e.msg);
		return 1;
	}
	for (uint32_t i = 0; i < m->nparams; i++)
		print_param(m->params[i], dir);
	if (with_graph)
		print_graph(m);
	model_free(m);
	return 0;
}
