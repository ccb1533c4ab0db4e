/* SPDX-License-Identifier: MIT */
/*
 * form - TensorFlow's messages as text (.pbtxt) and as JSON (TensorFlow.js),
 * brought into the binary form that all else reads.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"
#include "format/tf/tf.h"
#include "wire/json.h"
#include "wire/protoform.h"

#define TEXT_MAX ((uint64_t)256 << 20)

static const char *const raw[] = {"s", "tensor_content", "string_val", NULL};

/* Types, by their names in tensorflow/core/framework/types.proto. */
static const char *const types[] = {
	[0] = "INVALID",      [1] = "FLOAT",	      [2] = "DOUBLE",
	[3] = "INT32",	      [4] = "UINT8",	      [5] = "INT16",
	[6] = "INT8",	      [7] = "STRING",	      [8] = "COMPLEX64",
	[9] = "INT64",	      [10] = "BOOL",	      [11] = "QINT8",
	[12] = "QUINT8",      [13] = "QINT32",	      [14] = "BFLOAT16",
	[15] = "QINT16",      [16] = "QUINT16",	      [17] = "UINT16",
	[18] = "COMPLEX128",  [19] = "HALF",	      [20] = "RESOURCE",
	[21] = "VARIANT",     [22] = "UINT32",	      [23] = "UINT64",
	[24] = "FLOAT8_E5M2", [25] = "FLOAT8_E4M3FN",
};

/* DT_FLOAT, DT_FLOAT_REF */
static bool find_type(const char *name, size_t len, int64_t *out)
{
	bool is_ref = len > 4 && memcmp(name + len - 4, "_REF", 4) == 0;

	if (len < 4 || memcmp(name, "DT_", 3) != 0)
		return false;
	name += 3;
	len -= is_ref ? 7 : 3;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strlen(types[i]) != len || memcmp(types[i], name, len) != 0)
			continue;
		*out = (int64_t)i + (is_ref ? 100 : 0);
		return true;
	}
	return false;
}

static const struct protoform form = {.raw = raw, .number = find_type};

/* Reads the message that was made, with fn; takes its bytes. */
static int read_made(struct tf *t, struct text *made,
		     int (*fn)(struct tf *t, struct err *e), struct err *e)
{
	struct source *before = t->src, *src = NULL;
	int rc = source_from_memory(made->p, made->len, source_name(before),
				    &src, e);

	*made = (struct text){0};
	if (rc < 0)
		return rc;
	t->src = src;
	rc = fn(t, e);
	t->src = before;
	source_unref(src);
	return rc;
}

/* ---- JSON ---- */

static const ProtobufCFieldDescriptor *
field(const ProtobufCMessageDescriptor *d, const char *name)
{
	return protobuf_c_message_descriptor_get_field_by_name(d, name);
}

/* A map of one signature under the name that TensorFlow serves. */
static int add_signature(const struct json *signature, struct text *out,
			 struct err *e)
{
	const ProtobufCMessageDescriptor *d = &tf__signature_entry__descriptor;
	struct text inner = {0}, entry = {0};
	int rc = protoform_json(&form, &tf__signature__descriptor, signature,
				&inner, e);

	protoform_bytes(field(d, "key"), "serving_default", 15, &entry);
	if (rc == 0)
		protoform_bytes(field(d, "value"), inner.p ? inner.p : "",
				inner.len, &entry);
	if (rc == 0)
		rc = protoform_check(&entry, e);
	if (rc == 0)
		protoform_bytes(
			field(&tf__meta_graph__descriptor, "signature_def"),
			entry.p, entry.len, out);
	text_free(&inner);
	text_free(&entry);
	return rc;
}

int tf_read_json(struct tf *t, const struct json *graph,
		 const struct json *signature, struct err *e)
{
	struct text inner = {0}, made = {0};
	int rc =
		protoform_json(&form, &tf__graph__descriptor, graph, &inner, e);

	t->has_weights = true;
	if (rc == 0)
		protoform_bytes(field(&tf__meta_graph__descriptor, "graph_def"),
				inner.p ? inner.p : "", inner.len, &made);
	text_free(&inner);
	if (rc == 0 && json_member(signature, "outputs"))
		rc = add_signature(signature, &made, e);
	if (rc == 0)
		rc = protoform_check(&made, e);
	if (rc == 0)
		rc = read_made(t, &made, tf_read_meta_graph, e);
	text_free(&made);
	return rc;
}

/* ---- text ---- */

enum kind { KIND_NONE, KIND_SAVED_MODEL, KIND_META_GRAPH, KIND_GRAPH };

static const struct {
	const char *word; /* the first in the file */
	enum kind kind;
} words[] = {
	{"saved_model_schema_version", KIND_SAVED_MODEL},
	{"meta_graphs", KIND_SAVED_MODEL},
	{"meta_info_def", KIND_META_GRAPH},
	{"graph_def", KIND_META_GRAPH},
	{"node", KIND_GRAPH},
	{"library", KIND_GRAPH},
	{"versions", KIND_GRAPH},
};

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_blanks(const uint8_t *p, size_t n, size_t i)
{
	while (i < n && (is_blank(p[i]) || p[i] == '#')) {
		if (p[i] != '#') {
			i++;
			continue;
		}
		while (i < n && p[i] != '\n')
			i++;
	}
	return i;
}

static enum kind look(const uint8_t *p, size_t n)
{
	size_t at = skip_blanks(p, n, 0);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i].word), next;

		if (n - at < len || memcmp(p + at, words[i].word, len) != 0)
			continue;
		next = skip_blanks(p, n, at + len);
		if (next < n && (p[next] == '{' || p[next] == ':'))
			return words[i].kind;
	}
	return KIND_NONE;
}

static int read_text(struct tf *t, struct err *e)
{
	static const ProtobufCMessageDescriptor *const messages[] = {
		[KIND_SAVED_MODEL] = &tf__saved_model__descriptor,
		[KIND_META_GRAPH] = &tf__meta_graph__descriptor,
		[KIND_GRAPH] = &tf__graph__descriptor,
	};
	static int (*const readers[])(struct tf * t, struct err * e) = {
		[KIND_SAVED_MODEL] = tf_read_saved_model,
		[KIND_META_GRAPH] = tf_read_meta_graph,
		[KIND_GRAPH] = tf_read_graph,
	};
	uint64_t len = source_size(t->src);
	struct text made = {0};
	enum kind kind;
	char *p;
	int rc;

	if (len > TEXT_MAX)
		return err_set(e, EFBIG, "%llu bytes of text",
			       (unsigned long long)len);
	p = malloc((size_t)len + 1);
	if (!p)
		return err_nomem(e, (size_t)len);
	rc = source_read(t->src, p, (size_t)len, 0, e);
	kind = rc == 0 ? look((const uint8_t *)p, (size_t)len) : KIND_NONE;
	if (rc == 0 && kind == KIND_NONE)
		rc = err_set(e, EINVAL, "no message of TensorFlow");
	if (rc == 0)
		rc = protoform_text(&form, messages[kind], p, (size_t)len,
				    &made, e);
	free(p);
	if (rc == 0)
		rc = read_made(t, &made, readers[kind], e);
	text_free(&made);
	return rc;
}

#define FOLDER_FILE "saved_model.pbtxt"

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct source *src = NULL;
	int rc;

	if (in->file)
		return tf_run(in, in->file, m, read_text, e);
	rc = input_sibling(in, FOLDER_FILE, strlen(FOLDER_FILE), &src, e);
	if (rc == 0)
		rc = tf_run(in, src, m, read_text, e);
	source_unref(src);
	return rc;
}

static int probe(const struct input *in)
{
	struct source *src = NULL;
	int rc;

	if (in->file)
		return look(in->head, in->nhead) == KIND_NONE ? 0 : 70;
	rc = input_sibling(in, FOLDER_FILE, strlen(FOLDER_FILE), &src, NULL);
	source_unref(src);
	return rc == 0 ? 80 : 0;
}

const struct format format_tf_text = {
	.name = "tf-text",
	.title = "TensorFlow SavedModel, MetaGraph and GraphDef as text",
	.probe = probe,
	.read = read,
};
