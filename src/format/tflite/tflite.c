/* SPDX-License-Identifier: MIT */
/* tflite - TensorFlow Lite models: see tflite.h. */
#include "format/tflite/tflite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"

#define NAME_MAX_BYTES (1u << 20)

enum { /* fields */
       MODEL_VERSION = 0,
       MODEL_OPCODES = 1,
       MODEL_SUBGRAPHS = 2,
       MODEL_DESCRIPTION = 3,
       MODEL_BUFFERS = 4,
       MODEL_METADATA = 6,
       METADATA_NAME = 0,
       METADATA_BUFFER = 1,
       SUBGRAPH_NAME = 4
};

int tflite_check(const struct tflite *t, struct err *e)
{
	return t->f->bad ? err_set(e, t->f->err.code, "%s", t->f->err.msg) : 0;
}

int tflite_text(struct tflite *t, const struct flatbuf_table *table,
		unsigned field, struct span *out, struct err *e)
{
	struct flatbuf_vector v = flatbuf_vector(t->f, table, field, 1);
	char *p;

	if (v.n > NAME_MAX_BYTES)
		return err_set(e, EFBIG, "a text of %u bytes", v.n);
	if (!flatbuf_charge(t->f, v.n))
		return tflite_check(t, e);
	p = arena_alloc(t->tf.m->arena, (size_t)v.n + 1);
	if (!p)
		return err_nomem(e, v.n);
	flatbuf_bytes(t->f, v.pos, p, v.n);
	*out = (struct span){p, v.n};
	return tflite_check(t, e);
}

/* ---- subgraphs ---- */

/* The first one's names stay as they are. */
static int find_prefix(struct tflite_graph *g, uint32_t i, struct err *e)
{
	struct span name;
	struct text t = {0};
	int rc;

	g->prefix = (struct span){"", 0};
	if (i == 0)
		return 0;
	rc = tflite_text(g->t, &g->table, SUBGRAPH_NAME, &name, e);
	if (rc < 0)
		return rc;
	if (name.len == 0)
		text_printf(&t, "subgraph_%u/", i);
	else
		text_printf(&t, "%s/", name.p);
	rc = t.failed ? err_nomem(e, name.len)
		      : tf_copy(&g->t->tf, (struct span){t.p, t.len},
				&g->prefix, e);
	text_free(&t);
	return rc;
}

static int read_subgraph(struct tflite *t, uint32_t i, struct err *e)
{
	struct tflite_graph *g = &t->graphs[i];
	int rc;

	g->t = t;
	g->graph = t->tf.m->graph;
	g->table = flatbuf_at(t->f, &t->subgraphs, i);
	rc = find_prefix(g, i, e);
	if (rc == 0)
		rc = tflite_tensors(g, e);
	if (rc == 0)
		rc = tflite_params(g, e);
	return rc < 0 ? err_wrap(e, "subgraph %u", i) : 0;
}

static int add_graph(struct tflite *t, uint32_t i, struct err *e)
{
	int rc = tflite_operators(&t->graphs[i], e);

	return rc < 0 ? err_wrap(e, "subgraph %u", i) : 0;
}

/*
 * Subgraphs that no operator runs are models beside the first one, each with
 * its own inputs; those of an operator that stays as it is are shown in the
 * same way.
 */
static int add_graphs(struct tflite *t, struct err *e)
{
	int rc = add_graph(t, 0, e);

	for (uint32_t i = 1; rc == 0 && i < t->subgraphs.n; i++)
		if (!t->graphs[i].is_named)
			rc = add_graph(t, i, e);
	for (uint32_t i = 1; rc == 0 && i < t->subgraphs.n; i++)
		if (t->graphs[i].is_named && !t->graphs[i].is_called)
			rc = add_graph(t, i, e);
	return rc;
}

/* ---- what the file says about itself ---- */

static int add_metadata(struct tflite *t, const struct flatbuf_table *m,
			struct err *e)
{
	uint32_t buffer =
		(uint32_t)flatbuf_uint(t->f, m, METADATA_BUFFER, 4, 0);
	struct text path = {0};
	struct blob *data;
	struct span name;
	uint64_t off, len;
	int rc = tflite_text(t, m, METADATA_NAME, &name, e);

	if (rc == 0)
		rc = tflite_buffer(t, buffer, &off, &len, e);
	if (rc == 0)
		rc = blob_file(t->src, off, len, &data, e);
	if (rc < 0)
		return rc;
	text_printf(&path, "metadata/%s", name.p);
	if (path.failed) {
		blob_unref(data);
		return err_nomem(e, name.len);
	}
	rc = model_config(t->tf.m, path.p, data, e);
	text_free(&path);
	return rc;
}

static int add_configs(struct tflite *t, struct err *e)
{
	struct flatbuf_vector v =
		flatbuf_vector(t->f, &t->model, MODEL_METADATA, 4);
	int64_t version = flatbuf_int(t->f, &t->model, MODEL_VERSION, 4, 0);
	struct span text;
	struct blob *data;
	int rc = tflite_text(t, &t->model, MODEL_DESCRIPTION, &text, e);

	if (rc == 0 &&
	    model_info(t->tf.m, "version", "%lld", (long long)version) < 0)
		rc = err_nomem(e, 0);
	if (rc == 0 && text.len > 0) {
		data = blob_copy(text.p, text.len);
		rc = data ? model_config(t->tf.m, "description", data, e)
			  : err_nomem(e, text.len);
	}
	for (uint32_t i = 0; rc == 0 && i < v.n; i++) {
		struct flatbuf_table m = flatbuf_at(t->f, &v, i);

		rc = add_metadata(t, &m, e);
	}
	return rc;
}

/* ---- reading ---- */

static int read_model(struct tflite *t, struct err *e)
{
	struct model *m = t->tf.m;
	int rc;

	t->model = flatbuf_root(t->f);
	t->opcodes = flatbuf_vector(t->f, &t->model, MODEL_OPCODES, 4);
	t->buffers = flatbuf_vector(t->f, &t->model, MODEL_BUFFERS, 4);
	t->subgraphs = flatbuf_vector(t->f, &t->model, MODEL_SUBGRAPHS, 4);
	rc = tflite_check(t, e);
	if (rc == 0 && t->subgraphs.n == 0)
		rc = err_set(e, EINVAL, "a model without a subgraph");
	if (rc < 0)
		return rc;
	m->graph = graph_new(m->arena, NULL, "");
	if (!m->graph)
		return err_nomem(e, 0);
	t->graphs = arena_array(m->arena, t->subgraphs.n, sizeof(*t->graphs));
	if (!t->graphs)
		return err_nomem(e, t->subgraphs.n * sizeof(*t->graphs));
	for (uint32_t i = 0; rc == 0 && i < t->subgraphs.n; i++)
		rc = read_subgraph(t, i, e);
	if (rc == 0)
		rc = add_graphs(t, e);
	return rc == 0 ? add_configs(t, e) : rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct tflite t = {
		.src = in->file,
		.tf = {.m = m, .names = map_new(), .params = map_new()},
		.f = flatbuf_new(in->file),
	};
	int rc = t.f && t.tf.names && t.tf.params ? 0 : err_nomem(e, 0);

	if (rc == 0)
		rc = read_model(&t, e);
	map_free(t.tf.names);
	map_free(t.tf.params);
	flatbuf_free(t.f);
	return rc;
}

static int probe(const struct input *in)
{
	return in->file && in->nhead > 8 && memcmp(in->head + 4, "TFL3", 4) == 0
		       ? 95
		       : 0;
}

const struct format format_tflite = {
	.name = "tflite",
	.title = "TensorFlow Lite models",
	.probe = probe,
	.read = read,
};
