/* SPDX-License-Identifier: MIT */
/* onnx - ONNX models (onnx.ai): ModelProto, in one file or with siblings. */
#include "format/onnx/onnx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "wire/protobuf.h"

#define OPSETS_MAX 256

/* ---- probe ---- */

enum {
	FIELD_IR_VERSION = 1,
	FIELD_PRODUCER_NAME = 2,
	FIELD_PRODUCER_VERSION = 3,
	FIELD_DOMAIN = 4,
	FIELD_MODEL_VERSION = 5,
	FIELD_DOC_STRING = 6,
	FIELD_GRAPH = 7,
	FIELD_OPSET_IMPORT = 8,
	FIELD_METADATA = 14,
	FIELD_TRAINING = 20,
	FIELD_FUNCTIONS = 25,
	FIELD_CONFIGURATION = 26
};

static bool is_text_field(uint64_t id)
{
	return id == FIELD_PRODUCER_NAME || id == FIELD_PRODUCER_VERSION ||
	       id == FIELD_DOMAIN || id == FIELD_DOC_STRING ||
	       id == FIELD_METADATA || id == FIELD_TRAINING ||
	       id == FIELD_FUNCTIONS || id == FIELD_CONFIGURATION;
}

/*
 * Walks over the fields at the start.  Other files of protobuf begin alike: a
 * SavedModel has a 1 and then messages as field 2, but no field 7 or 8.
 */
static int probe(const struct input *in)
{
	struct cursor c = cursor_make(in->head, in->nhead, 0);
	bool has_version = false;

	if (!in->file)
		return 0;
	while (cursor_left(&c) > 0) {
		uint64_t key = cursor_varint(&c), id = key >> 3, v;

		if (c.bad)
			return 0;
		v = cursor_varint(&c);
		if ((key & 7) == 0 && id == FIELD_IR_VERSION) {
			if (v == 0 || v > 1000)
				return 0;
			has_version = true;
		} else if ((key & 7) == 2 &&
			   (id == FIELD_GRAPH || id == FIELD_OPSET_IMPORT)) {
			if (v > source_size(in->file))
				return 0;
			return has_version ? 90 : 40;
		} else if ((key & 7) == 2 && is_text_field(id)) {
			if (v > cursor_left(&c))
				return has_version ? 20 : 0;
			cursor_skip(&c, v);
		} else if ((key & 7) != 0 || id != FIELD_MODEL_VERSION) {
			return 0;
		}
	}
	return 0;
}

/* ---- what the file says about itself ---- */

static int add_config(struct onnx *o, const char *name,
		      const ProtobufCBinaryData *text, struct err *e)
{
	struct blob *data;

	if (text->len == 0)
		return 0;
	data = blob_copy(text->data, text->len);
	if (!data)
		return err_nomem(e, text->len);
	return model_config(o->m, name, data, e);
}

static int add_number(struct onnx *o, const char *name, int64_t v,
		      struct err *e)
{
	struct text t = {0};
	struct blob *data;

	text_printf(&t, "%lld\n", (long long)v);
	data = t.failed ? NULL : blob_copy(t.p, t.len);
	text_free(&t);
	if (!data)
		return err_nomem(e, 32);
	return model_config(o->m, name, data, e);
}

/* "ai.onnx 17", one domain a line. */
static int add_opsets(struct onnx *o, struct err *e)
{
	struct text t = {0};
	struct blob *data;

	for (size_t i = 0; i < o->proto->n_opset_import; i++) {
		const Onnx__OperatorSetId *id = o->proto->opset_import[i];
		char quoted[ERR_QUOTED];

		text_printf(&t, "%s %lld\n",
			    id->domain.len
				    ? err_quote(quoted, (char *)id->domain.data,
						id->domain.len)
				    : "ai.onnx",
			    (long long)id->version);
	}
	data = t.failed ? NULL : blob_copy(t.p ? t.p : "", t.len);
	text_free(&t);
	if (!data)
		return err_nomem(e, 32);
	return model_config(o->m, "opset_import", data, e);
}

static int add_metadata(struct onnx *o, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < o->proto->n_metadata_props; i++) {
		const Onnx__StringStringEntry *p = o->proto->metadata_props[i];
		struct text name = {0};

		text_add(&name, "metadata_props/");
		text_add_bytes(&name, onnx_span(&p->key).p, p->key.len);
		if (name.failed)
			rc = err_nomem(e, p->key.len);
		else
			rc = add_config(o, name.p, &p->value, e);
		text_free(&name);
	}
	return rc;
}

static int add_configs(struct onnx *o, struct err *e)
{
	const Onnx__Model *p = o->proto;
	int rc = add_number(o, "ir_version", p->ir_version, e);

	if (rc == 0)
		rc = add_config(o, "producer_name", &p->producer_name, e);
	if (rc == 0)
		rc = add_config(o, "producer_version", &p->producer_version, e);
	if (rc == 0)
		rc = add_config(o, "domain", &p->domain, e);
	if (rc == 0)
		rc = add_number(o, "model_version", p->model_version, e);
	if (rc == 0)
		rc = add_config(o, "doc_string", &p->doc_string, e);
	if (rc == 0)
		rc = add_config(o, "graph_name", &p->graph->name, e);
	if (rc == 0)
		rc = add_config(o, "graph_doc_string", &p->graph->doc_string,
				e);
	if (rc == 0)
		rc = add_opsets(o, e);
	return rc == 0 ? add_metadata(o, e) : rc;
}

static int add_info(struct onnx *o, struct err *e)
{
	const Onnx__Model *p = o->proto;
	char name[ERR_QUOTED], version[ERR_QUOTED];
	int rc = model_info(o->m, "version", "IR %lld",
			    (long long)p->ir_version);

	if (rc == 0 && p->producer_name.len)
		rc = model_info(o->m, "producer", "%s %s",
				err_quote(name, (char *)p->producer_name.data,
					  p->producer_name.len),
				err_quote(version,
					  (char *)p->producer_version.data,
					  p->producer_version.len));
	return rc < 0 ? err_nomem(e, 0) : 0;
}

/* ---- reading ---- */

static int check(const Onnx__Model *p, struct err *e)
{
	if (!p->graph)
		return err_set(e, EINVAL, "no graph");
	if (p->n_opset_import > OPSETS_MAX)
		return err_set(e, EFBIG, "%zu opsets imported",
			       p->n_opset_import);
	return 0;
}

static int build(struct onnx *o, struct err *e)
{
	int rc = check(o->proto, e);

	if (rc == 0)
		rc = onnx_index_functions(o, e);
	if (rc == 0)
		rc = onnx_graph(o, e);
	if (rc == 0)
		rc = onnx_place_all(o, e);
	if (rc == 0)
		rc = onnx_describe_modules(o, e);
	if (rc == 0)
		rc = add_configs(o, e);
	return rc == 0 ? add_info(o, e) : rc;
}

static uint32_t most_nodes(uint64_t file_size)
{
	uint64_t n = ONNX_NODES_MIN + file_size / 8;

	return n < ONNX_NODES_MAX ? (uint32_t)n : ONNX_NODES_MAX;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct onnx o = {
		.m = m,
		.nodes_max = most_nodes(source_size(in->file)),
		.files = {.src = in->file, .in = in, .lenient = m->lenient},
		.taken = map_new(),
	};
	ProtobufCMessage *msg = NULL;
	int rc = o.taken ? 0 : err_nomem(e, 0);

	if (rc == 0)
		rc = protobuf_read(in->file, 0, source_size(in->file),
				   &onnx__model__descriptor, &msg, e);
	o.proto = (Onnx__Model *)msg;
	if (rc == 0)
		rc = build(&o, e);
	onnx_files_close(&o.files);
	protobuf_free(msg);
	map_free(o.taken);
	map_free(o.functions);
	free(o.places);
	return rc;
}

const struct format format_onnx = {
	.name = "onnx",
	.title = "ONNX models, weights inside or in files beside them; graph",
	.probe = probe,
	.read = read,
};
