/* SPDX-License-Identifier: MIT */
/* saved - SavedModel, MetaGraph and frozen GraphDef: messages with a graph. */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/tf/tf.h"
#include "wire/protobuf.h"

#define VARIABLES "variables/variables"
#define ASSETS_MAX 10000

static int add_text(struct tf *t, const char *name, struct text *text,
		    struct err *e)
{
	struct blob *data = NULL;

	if (!text->failed)
		data = blob_copy(text->p ? text->p : "", text->len);
	text_free(text);
	return data ? model_config(t->m, name, data, e) : err_nomem(e, 0);
}

static void describe_side(struct text *out, const char *side,
			  Tf__InfoEntry **infos, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Tf__TensorInfo *v = infos[i]->value;
		char key[ERR_QUOTED], name[ERR_QUOTED], dims[256], buf[32];
		struct tensor t;

		if (!v)
			continue;
		t = tf_declared(v->dtype, v->tensor_shape);
		shape_format(&t.shape, dims, sizeof(dims));
		text_printf(out, "%s\t%s\t%s\t%s\t%s\n", side,
			    err_quote(key, tf_span(&infos[i]->key).p,
				      infos[i]->key.len),
			    err_quote(name, tf_span(&v->name).p, v->name.len),
			    tf_dtype_text(v->dtype, buf), dims);
	}
}

/* config/signatures/NAME: side, key, tensor, type, shape. */
static int add_signatures(struct tf *t, const Tf__MetaGraph *g, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < g->n_signature_def; i++) {
		const Tf__SignatureEntry *s = g->signature_def[i];
		struct text text = {0}, name = {0};
		char q[ERR_QUOTED];

		if (!s->value)
			continue;
		describe_side(&text, "input", s->value->inputs,
			      s->value->n_inputs);
		describe_side(&text, "output", s->value->outputs,
			      s->value->n_outputs);
		text_printf(&name, "signatures/%s",
			    err_quote(q, tf_span(&s->key).p, s->key.len));
		rc = name.failed ? err_nomem(e, 0)
				 : add_text(t, name.p, &text, e);
		text_free(name.failed ? &text : &name);
	}
	return rc;
}

static int add_meta_info(struct tf *t, const Tf__MetaGraph *g, struct err *e)
{
	const Tf__MetaInfo *info = g->meta_info_def;
	struct text tags = {0};
	char q[ERR_QUOTED];

	if (!info)
		return 0;
	if (info->tensorflow_version.len &&
	    model_info(t->m, "producer", "TensorFlow %s",
		       err_quote(q, (char *)info->tensorflow_version.data,
				 info->tensorflow_version.len)) < 0)
		return err_nomem(e, 0);
	for (size_t i = 0; i < info->n_tags; i++)
		text_printf(&tags, "%s\n",
			    err_quote(q, tf_span(&info->tags[i]).p,
				      info->tags[i].len));
	return add_text(t, "tags", &tags, e);
}

/* A file of the folder assets/ that the graph reads. */
static int add_asset(struct tf *t, const ProtobufCBinaryData *name,
		     struct err *e)
{
	struct text path = {0};
	struct source *src = NULL;
	struct blob *data = NULL;
	struct err why = {0};
	int rc;

	text_add(&path, "assets/");
	text_add_bytes(&path, tf_span(name).p, name->len);
	if (path.failed)
		return err_nomem(e, name->len);
	rc = input_sibling(t->in, path.p, path.len, &src, &why);
	if (rc == 0)
		rc = blob_file(src, 0, source_size(src), &data, &why);
	/* What cannot be had is listed. */
	if (rc < 0 && rc != -ENOMEM)
		data = blob_fail(0, why.code, why.msg);
	rc = data ? model_config(t->m, path.p, data, e) : err_nomem(e, 0);
	source_unref(src);
	text_free(&path);
	return rc;
}

static int add_assets(struct tf *t, const Tf__MetaGraph *g, struct err *e)
{
	int rc = 0;

	if (g->n_asset_file_def > ASSETS_MAX)
		return err_set(e, EFBIG, "%zu assets", g->n_asset_file_def);
	for (size_t i = 0; rc == 0 && i < g->n_asset_file_def; i++)
		rc = add_asset(t, &g->asset_file_def[i]->filename, e);
	return rc;
}

static int read_meta_graph(struct tf *t, const Tf__MetaGraph *g, struct err *e)
{
	int rc = add_meta_info(t, g, e);

	if (rc == 0)
		rc = add_signatures(t, g, e);
	if (rc == 0)
		rc = add_assets(t, g, e);
	if (rc == 0 && g->graph_def)
		rc = tf_find_restored(t, g->graph_def, e);
	if (rc == 0 && g->graph_def)
		rc = tf_graph(t, g->graph_def, g->signature_def,
			      g->n_signature_def, e);
	return rc;
}

/* The one that is for serving, or else the first. */
static const Tf__MetaGraph *choose(const Tf__SavedModel *s)
{
	for (size_t i = 0; i < s->n_meta_graphs; i++) {
		const Tf__MetaInfo *info = s->meta_graphs[i]->meta_info_def;

		for (size_t k = 0; info && k < info->n_tags; k++)
			if (tf_equal(&info->tags[k], "serve"))
				return s->meta_graphs[i];
	}
	return s->meta_graphs[0];
}

static int read_variables(struct tf *t, struct err *e)
{
	static const char name[] = VARIABLES ".index";
	struct source *index = NULL;
	struct err why = {0};
	int rc = input_sibling(t->in, name, strlen(name), &index, &why);

	/* A model without variables has no such file. */
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return err_set(e, why.code, "%s: %s", name, why.msg);
	rc = tf_bundle(t, index, VARIABLES, e);
	source_unref(index);
	return rc;
}

static int read_saved(struct tf *t, const Tf__SavedModel *s, struct err *e)
{
	const Tf__MetaGraph *g;
	int rc = 0;

	if (s->n_meta_graphs == 0)
		return err_set(e, EINVAL, "a SavedModel without a graph");
	g = choose(s);
	if (g->object_graph_def)
		rc = tf_saved_objects(t, g->object_graph_def, e);
	if (rc == 0 && g->graph_def)
		rc = tf_graph_names(t, g->graph_def, e);
	if (rc == 0)
		rc = read_variables(t, e);
	return rc == 0 ? read_meta_graph(t, g, e) : rc;
}

int tf_read_saved_model(struct tf *t, struct err *e)
{
	ProtobufCMessage *msg = NULL;
	int rc = protobuf_read(t->src, 0, source_size(t->src),
			       &tf__saved_model__descriptor, &msg, e);

	if (rc == 0)
		rc = read_saved(t, (const Tf__SavedModel *)msg, e);
	protobuf_free(msg);
	return rc;
}

int tf_read_meta_graph(struct tf *t, struct err *e)
{
	ProtobufCMessage *msg = NULL;
	int rc = protobuf_read(t->src, 0, source_size(t->src),
			       &tf__meta_graph__descriptor, &msg, e);

	if (rc == 0)
		rc = read_meta_graph(t, (const Tf__MetaGraph *)msg, e);
	protobuf_free(msg);
	return rc;
}

int tf_read_graph(struct tf *t, struct err *e)
{
	ProtobufCMessage *msg = NULL;
	const Tf__Graph *g;
	int rc = protobuf_read(t->src, 0, source_size(t->src),
			       &tf__graph__descriptor, &msg, e);

	g = (const Tf__Graph *)msg;
	if (rc == 0)
		rc = tf_graph_names(t, g, e);
	if (rc == 0)
		rc = tf_graph(t, g, NULL, 0, e);
	protobuf_free(msg);
	return rc;
}
