/* SPDX-License-Identifier: MIT */
/* coreml - models of Core ML: see coreml.h. */
#include "format/coreml/coreml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"
#include "wire/json.h"
#include "wire/protobuf.h"

#define MANIFEST_MAX ((uint64_t)1 << 20)

/* ---- parameters ---- */

int coreml_param(struct coreml *k, struct module *mod, struct span path,
		 const char *name, struct tensor *t, struct err *e)
{
	struct param_spec spec = {.module = mod, .tensor = *t};
	struct text full = {0};
	struct param *made;
	int rc;

	if (t->dtype == DTYPE_NONE)
		spec.dtype_text = "unknown";
	text_add_bytes(&full, path.p, path.len);
	text_printf(&full, "%s%s", path.len ? "/" : "", name);
	spec.name = (struct span){name, strlen(name)};
	spec.full_name = (struct span){full.p ? full.p : "", full.len};
	if (full.failed) {
		blob_unref(t->data);
		rc = err_nomem(e, path.len);
	} else {
		rc = model_param(k->m, &spec, &made, e);
		if (rc == 0 && k->nmade < COREML_WEIGHTS_MAX)
			k->made[k->nmade++] = made;
	}
	text_free(&full);
	return rc;
}

/* ---- metadata ---- */

static int add_text(struct coreml *k, struct span key, struct span value,
		    struct err *e)
{
	struct blob *b = value.len ? blob_copy(value.p, value.len) : NULL;
	char name[256];

	if (value.len == 0 || key.len == 0 || key.len >= sizeof(name))
		return 0;
	snprintf(name, sizeof(name), "%.*s", (int)key.len, key.p);
	return b ? model_config(k->m, name, b, e) : err_nomem(e, value.len);
}

static int add_metadata(struct coreml *k, const Coreml__Metadata *m,
			struct err *e)
{
	const struct {
		const char *key;
		const ProtobufCBinaryData *value;
	} texts[] = {{"shortDescription", &m->shortdescription},
		     {"versionString", &m->versionstring},
		     {"author", &m->author},
		     {"license", &m->license}};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 4; i++)
		rc = add_text(k,
			      (struct span){texts[i].key, strlen(texts[i].key)},
			      coreml_span(texts[i].value), e);
	for (size_t i = 0; rc == 0 && i < m->n_userdefined; i++)
		rc = add_text(k, coreml_span(&m->userdefined[i]->key),
			      coreml_span(&m->userdefined[i]->value), e);
	return rc;
}

/* ---- kinds of models ---- */

static int add_model(struct coreml *k, struct module *mod, struct span path,
		     const Coreml__Model *m, int depth, struct err *e);

/* Models without a name are model0, model1, … */
static int add_pipeline(struct coreml *k, struct module *mod, struct span path,
			const Coreml__Pipeline *p, int depth, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < p->n_models; i++) {
		struct module *inner;
		struct text own = {0};
		size_t start;

		text_add_bytes(&own, path.p, path.len);
		text_add(&own, path.len ? "/" : "");
		start = own.len;
		if (i < p->n_names && p->names[i].len > 0)
			text_add_bytes(&own, p->names[i].data, p->names[i].len);
		else
			text_printf(&own, "model%zu", i);
		rc = own.failed ? err_nomem(e, 0)
				: model_module(k->m, mod, own.p + start,
					       own.len - start, &inner, e);
		if (rc == 0)
			rc = add_model(k, inner, (struct span){own.p, own.len},
				       p->models[i], depth + 1, e);
		text_free(&own);
	}
	return rc;
}

static const Coreml__NeuralNetwork *find_network(const Coreml__Model *m)
{
	return m->neuralnetwork		    ? m->neuralnetwork
	       : m->neuralnetworkclassifier ? m->neuralnetworkclassifier
					    : m->neuralnetworkregressor;
}

static const Coreml__Pipeline *find_pipeline(const Coreml__Model *m)
{
	if (m->pipelineclassifier)
		return m->pipelineclassifier->pipeline;
	if (m->pipelineregressor)
		return m->pipelineregressor->pipeline;
	return m->pipeline;
}

static int add_network(struct coreml *k, const Coreml__Model *m,
		       const Coreml__NeuralNetwork *n, struct err *e)
{
	int rc = coreml_begin_graph(k, m, n, e);

	if (rc == 0)
		rc = coreml_network(k, model_root(k->m), (struct span){"", 0},
				    n, 0, e);
	return rc < 0 ? rc : coreml_end_graph(k, m, e);
}

/* Models of a pipeline that are neither have no weights to show. */
static int add_model(struct coreml *k, struct module *mod, struct span path,
		     const Coreml__Model *m, int depth, struct err *e)
{
	const Coreml__NeuralNetwork *network = find_network(m);
	const Coreml__Pipeline *pipeline = find_pipeline(m);

	if (depth > COREML_DEPTH_MAX)
		return err_set(e, EFBIG, "models are nested too deeply");
	if (network && depth == 0)
		return add_network(k, m, network, e);
	if (network)
		return coreml_network(k, mod, path, network, depth, e);
	if (pipeline)
		return add_pipeline(k, mod, path, pipeline, depth, e);
	if (m->mlprogram && depth == 0)
		return coreml_program(k, m->mlprogram, e);
	return depth > 0 ? 0
			 : err_set(e, EOPNOTSUPP,
				   "neither a neural network nor a program");
}

static int read_message(struct coreml *k, struct err *e)
{
	ProtobufCMessage *msg = NULL;
	const Coreml__Model *m;
	int rc = protobuf_read(k->src, 0, source_size(k->src),
			       &coreml__model__descriptor, &msg, e);

	if (rc < 0)
		return rc;
	m = (const Coreml__Model *)msg;
	if (model_info(k->m, "version", "%d", m->specificationversion) < 0)
		rc = err_nomem(e, 0);
	if (rc == 0 && m->description && m->description->metadata)
		rc = add_metadata(k, m->description->metadata, e);
	if (rc == 0)
		rc = add_model(k, model_root(k->m), (struct span){"", 0}, m, 0,
			       e);
	protobuf_free(msg);
	return rc;
}

/* ---- packages ---- */

/* The path that the manifest gives its root, beneath Data/. */
static const char *root_path(const struct json *manifest)
{
	size_t len;
	const char *id = json_get_string(
		json_member(manifest, "rootModelIdentifier"), &len);
	const struct json *items = json_member(manifest, "itemInfoEntries");
	const struct json *item = id ? json_member(items, id) : NULL;

	return json_get_string(json_member(item, "path"), &len);
}

static int parse_file(struct source *src, struct json **out, struct err *e)
{
	uint64_t size = source_size(src);
	char *text;
	int rc;

	if (size > MANIFEST_MAX)
		return err_set(e, EFBIG, "a manifest of %llu bytes",
			       (unsigned long long)size);
	text = malloc(size + 1);
	if (!text)
		return err_nomem(e, size);
	rc = source_read(src, text, size, 0, e);
	if (rc == 0)
		rc = json_parse(text, size, 0, out, e);
	free(text);
	return rc;
}

static int read_manifest(const struct input *in, char *path, size_t size,
			 struct err *e)
{
	static const char name[] = "Manifest.json";
	struct source *src = NULL;
	struct json *manifest = NULL;
	const char *root;
	int rc = input_sibling(in, name, strlen(name), &src, e);

	if (rc == 0)
		rc = parse_file(src, &manifest, e);
	root = rc == 0 ? root_path(manifest) : NULL;
	if (rc == 0 && (!root || strlen(root) + 6 > size))
		rc = err_set(e, EINVAL, "a manifest without its model");
	if (rc == 0)
		snprintf(path, size, "Data/%s", root);
	json_free(manifest);
	source_unref(src);
	return rc;
}

static int read_package(struct coreml *k, struct err *e)
{
	char path[512], folder[512];
	char *slash;
	int rc = read_manifest(k->in, path, sizeof(path), e);

	if (rc == 0)
		rc = input_sibling(k->in, path, strlen(path), &k->src, e);
	if (rc < 0)
		return rc;
	memcpy(folder, path, sizeof(folder));
	slash = strrchr(folder, '/');
	slash[1] = '\0';
	k->folder = folder;
	rc = read_message(k, e);
	source_unref(k->src);
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct coreml k = {.m = m, .in = in, .src = in->file, .folder = ""};
	int rc = in->file ? read_message(&k, e) : read_package(&k, e);

	source_unref(k.weights);
	free(k.weights_name);
	return rc;
}

/* ---- probe ---- */

enum { /* keys of a model */
       KEY_VERSION = 0x08,
       KEY_DESCRIPTION = 0x12,
       KEY_UPDATABLE = 0x50
};

static bool is_kind(uint64_t key)
{
	uint64_t id = key >> 3;

	return (key & 7) == 2 &&
	       ((id >= 200 && id <= 202) || (id >= 300 && id <= 304) ||
		(id >= 400 && id <= 404) || (id >= 500 && id <= 610) ||
		(id >= 2000 && id <= 2003));
}

/* The version, a description of inputs, and one large field. */
static int probe_file(const struct input *in)
{
	struct cursor c = cursor_make(in->head, in->nhead, 0);
	uint64_t version;

	if (cursor_varint(&c) != KEY_VERSION)
		return 0;
	version = cursor_varint(&c);
	if (version < 1 || version > 99 || cursor_varint(&c) != KEY_DESCRIPTION)
		return 0;
	cursor_skip(&c, cursor_varint(&c));
	for (int i = 0; i < 4 && !c.bad; i++) {
		uint64_t key = cursor_varint(&c);

		if (is_kind(key))
			return c.bad ? 0 : 90;
		if (key != KEY_UPDATABLE)
			return 0;
		cursor_varint(&c);
	}
	/* A description may be longer than what was looked at. */
	return cursor_left(&c) == 0 && in->nhead == INPUT_HEAD ? 30 : 0;
}

static int probe(const struct input *in)
{
	struct source *src = NULL;
	char path[512];

	if (in->file)
		return probe_file(in);
	if (read_manifest(in, path, sizeof(path), NULL) < 0 ||
	    input_sibling(in, path, strlen(path), &src, NULL) < 0)
		return 0;
	source_unref(src);
	return 85;
}

const struct format format_coreml = {
	.name = "coreml",
	.title = "Core ML models and packages",
	.probe = probe,
	.read = read,
};
