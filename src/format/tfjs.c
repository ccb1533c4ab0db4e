/* SPDX-License-Identifier: MIT */
/*
 * tfjs - TensorFlow.js: model.json, which lists the weights, and the files
 * that hold them one after the other.
 *
 *	{"weightsManifest": [{"paths": [..], "weights": [{"name", "shape",
 *	 "dtype", "quantization": {"dtype", "scale", "min"}}]}],
 *	 "modelTopology": {..}}
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"
#include "format/keras/call.h"
#include "format/tf/tf.h"
#include "wire/json.h"

#define JSON_MAX ((uint64_t)256 << 20)
#define PATHS_MAX 100000
#define STRINGS_MAX 1000000u

struct group {		   /* of the manifest */
	struct blob *data; /* owned; NULL: a file cannot be had */
	struct err why;
	uint64_t at; /* where the next tensor begins */
};

struct weight {
	struct span name;
	struct tensor t;
	bool is_quantised;
	double scale, min;
};

static const struct {
	const char *name;
	enum dtype dtype;
} types[] = {
	{"float32", DTYPE_F32},	  {"int32", DTYPE_I32},
	{"bool", DTYPE_BOOL},	  {"complex64", DTYPE_C64},
	{"string", DTYPE_STRING}, {"uint8", DTYPE_U8},
	{"uint16", DTYPE_U16},	  {"float16", DTYPE_F16},
};

static struct span text_of(const struct json *v)
{
	struct span s = {NULL, 0};

	s.p = json_get_string(v, &s.len);
	return s;
}

static enum dtype find_type(const struct json *v)
{
	struct span s = text_of(v);

	for (size_t i = 0; s.p && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(s.p, types[i].name) == 0)
			return types[i].dtype;
	return DTYPE_NONE;
}

/* ---- the files of a group ---- */

static int open_path(const struct input *in, const struct json *path,
		     struct blob **out, struct err *e)
{
	struct span name = text_of(path);
	struct source *src = NULL;
	int rc;

	if (!name.p)
		return err_set(e, EINVAL, "a path that is no text");
	rc = input_sibling(in, name.p, name.len, &src, e);
	if (rc == 0)
		rc = blob_file(src, 0, source_size(src), out, e);
	source_unref(src);
	return rc;
}

static int open_group(const struct input *in, const struct json *paths,
		      struct group *g, struct err *e)
{
	size_t n = json_count(paths), i;
	struct blob **parts;
	int rc = 0;

	if (n > PATHS_MAX)
		return err_set(e, EFBIG, "%zu files of weights", n);
	parts = calloc(n + 1, sizeof(*parts));
	if (!parts)
		return err_nomem(e, n * sizeof(*parts));
	for (i = 0; rc == 0 && i < n; i++)
		rc = open_path(in, json_item(paths, i), &parts[i], &g->why);
	if (rc == 0)
		g->data = blob_cat(parts, n);
	else
		for (i = 0; i < n; i++)
			blob_unref(parts[i]);
	free(parts);
	if (rc == -ENOMEM || (rc == 0 && !g->data))
		return err_nomem(e, n);
	return 0;
}

/* ---- one weight ---- */

static int read_shape(const struct json *v, struct shape *out, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	size_t n = json_count(v);

	if (json_kind(v) != JSON_KIND_ARRAY || n > SHAPE_RANK_MAX)
		return err_set(e, EINVAL, "no shape");
	for (size_t i = 0; i < n; i++)
		if (!json_get_int(json_item(v, i), &dims[i]) || dims[i] < 0)
			return err_set(e, EINVAL,
				       "extent %zu is no natural number", i);
	return shape_set(out, dims, n, e);
}

static int read_weight(const struct json *v, struct weight *w, struct err *e)
{
	const struct json *q = json_member(v, "quantization");

	w->name = text_of(json_member(v, "name"));
	if (!w->name.p)
		return err_set(e, EINVAL, "a weight without a name");
	w->t.dtype = find_type(json_member(v, "dtype"));
	if (json_kind(q) == JSON_KIND_OBJECT) {
		w->t.dtype = find_type(json_member(q, "dtype"));
		w->is_quantised =
			w->t.dtype == DTYPE_U8 || w->t.dtype == DTYPE_U16;
	}
	if (w->t.dtype == DTYPE_NONE)
		return err_set(e, EOPNOTSUPP, "unknown element type");
	if (w->is_quantised &&
	    (!json_get_real(json_member(q, "scale"), &w->scale) ||
	     !json_get_real(json_member(q, "min"), &w->min)))
		return err_set(e, EINVAL, "quantised without scale and min");
	return read_shape(json_member(v, "shape"), &w->t.shape, e);
}

/* u32 length and bytes, one after the other. */
static int read_strings(struct group *g, uint64_t n, struct string_list *l,
			struct err *e)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint8_t head[4];
		uint32_t len;
		char *p;

		rc = blob_read_full(g->data, head, 4, g->at, e);
		if (rc < 0)
			return rc;
		len = (uint32_t)head[0] | (uint32_t)head[1] << 8 |
		      (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
		g->at += 4;
		if (len > g->data->size - g->at)
			return err_set(e, EIO, "a string beyond the data");
		p = malloc((size_t)len + 1);
		rc = p ? blob_read_full(g->data, p, len, g->at, e)
		       : err_nomem(e, len);
		if (rc == 0 && string_list_add(l, p, len) < 0)
			rc = err_nomem(e, len);
		free(p);
		g->at += len;
	}
	return rc;
}

static int make_strings(struct group *g, uint64_t n, struct blob **out,
			struct err *e)
{
	struct string_list *l;
	int rc;

	if (n > STRINGS_MAX)
		return err_set(e, EFBIG, "%llu strings", (unsigned long long)n);
	l = string_list_new();
	if (!l)
		return err_nomem(e, 0);
	rc = read_strings(g, n, l, e);
	if (rc < 0) {
		string_list_free(l);
		return rc;
	}
	*out = string_list_finish(l);
	return *out ? 0 : err_nomem(e, 0);
}

static int make_data(struct group *g, struct weight *w, struct err *e)
{
	uint64_t nelems, nbytes = 0;

	if (!shape_nelems(&w->t.shape, &nelems))
		return err_set(e, EINVAL, "the shape is too large");
	if (w->t.dtype == DTYPE_STRING && g->data)
		return make_strings(g, nelems, &w->t.data, e);
	if (w->t.dtype != DTYPE_STRING &&
	    (!dtype_nbytes(w->t.dtype, nelems, &nbytes) || nbytes > INT64_MAX))
		return err_set(e, EINVAL, "the shape is too large");
	if (!g->data)
		w->t.data = blob_fail(nbytes, g->why.code, g->why.msg);
	else if (g->at > g->data->size || nbytes > g->data->size - g->at)
		return err_set(
			e, EINVAL, "%llu bytes at %llu, beyond the weights",
			(unsigned long long)nbytes, (unsigned long long)g->at);
	else
		w->t.data = blob_slice(blob_ref(g->data), g->at, nbytes);
	g->at += nbytes;
	return w->t.data ? 0 : err_nomem(e, 0);
}

static int add_number(struct tf *t, const struct weight *w, const char *what,
		      double v, struct err *e)
{
	const struct param *p = t->m->params[t->m->nparams - 1];
	float number = (float)v;
	struct param_spec spec = {
		.module = p->module,
		.kind = PARAM_CONSTANT,
		.tensor = {.dtype = DTYPE_F32,
			   .data = blob_copy(&number, sizeof(number))},
	};
	struct text full = {0}, leaf = {0};
	const char *slash = memrchr(w->name.p, '/', w->name.len);
	const char *name = slash ? slash + 1 : w->name.p;
	int rc;

	text_printf(&full, "%s.%s", w->name.p, what);
	text_printf(&leaf, "%s.%s", name, what);
	spec.full_name = (struct span){full.p ? full.p : "", full.len};
	spec.name = (struct span){leaf.p ? leaf.p : "", leaf.len};
	if (full.failed || leaf.failed || !spec.tensor.data) {
		blob_unref(spec.tensor.data);
		rc = err_nomem(e, w->name.len);
	} else {
		rc = model_param(t->m, &spec, NULL, e);
	}
	text_free(&full);
	text_free(&leaf);
	return rc;
}

static int add_weight(struct tf *t, struct group *g, const struct json *v,
		      struct err *e)
{
	struct weight w = {0};
	struct err why = {0};
	char q[ERR_QUOTED];
	int rc = read_weight(v, &w, &why);

	if (rc == 0)
		rc = make_data(g, &w, &why);
	if (rc < 0 && rc != -ENOMEM && w.name.p && t->m->lenient) {
		w.t.data = blob_fail(0, EIO, why.msg);
		rc = w.t.data ? 0 : -ENOMEM;
	}
	if (rc < 0) {
		err_set(e, -rc, "%s", why.msg);
		return w.name.p ? err_wrap(e, "%s",
					   err_quote(q, w.name.p, w.name.len))
				: rc;
	}
	rc = tf_param(t, w.name, PARAM_PARAMETER, &w.t, 0, e);
	if (rc == 0 && w.is_quantised)
		rc = add_number(t, &w, "scale", w.scale, e);
	if (rc == 0 && w.is_quantised)
		rc = add_number(t, &w, "min", w.min, e);
	return rc;
}

/* ---- the manifest ---- */

static int add_group(struct tf *t, const struct json *v, struct err *e)
{
	const struct json *weights = json_member(v, "weights");
	struct group g = {0};
	int rc = open_group(t->in, json_member(v, "paths"), &g, e);

	for (size_t i = 0; rc == 0 && i < json_count(weights); i++)
		rc = add_weight(t, &g, json_item(weights, i), e);
	blob_unref(g.data);
	return rc;
}

/* Names of all weights, so that none is put beneath another. */
static int add_names(struct tf *t, const struct json *v, struct err *e)
{
	const struct json *weights = json_member(v, "weights");
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < json_count(weights); i++) {
		struct span name =
			text_of(json_member(json_item(weights, i), "name"));

		if (name.p)
			rc = tf_name_add(t, name, e);
	}
	return rc;
}

static int read_manifest(struct tf *t, const struct json *root, struct err *e)
{
	const struct json *groups = json_member(root, "weightsManifest");
	int rc = 0;

	if (json_kind(groups) != JSON_KIND_ARRAY)
		return err_set(e, EINVAL, "no weightsManifest");
	for (size_t i = 0; rc == 0 && i < json_count(groups); i++)
		rc = add_names(t, json_item(groups, i), e);
	for (size_t i = 0; rc == 0 && i < json_count(groups); i++)
		rc = add_group(t, json_item(groups, i), e);
	return rc;
}

static int add_info(struct model *m, const struct json *root, struct err *e)
{
	static const char *const keys[] = {"format", "generatedBy",
					   "convertedBy"};
	char q[ERR_QUOTED];

	for (size_t i = 0; i < 3; i++) {
		struct span s = text_of(json_member(root, keys[i]));

		if (s.p && model_info(m, i ? keys[i] : "version", "%s",
				      err_quote(q, s.p, s.len)) < 0)
			return err_nomem(e, 0);
	}
	return 0;
}

/* The first number of "2.11.0". */
static int keras_version(const struct json *topology)
{
	struct span s = text_of(json_member(topology, "keras_version"));

	return s.p && s.p[0] >= '1' && s.p[0] <= '9' ? s.p[0] - '0' : 2;
}

/* What goes in and out of a graph model; NULL: not said. */
static const struct json *find_signature(const struct json *root)
{
	const struct json *v = json_member(root, "signature");

	return v ? v
		 : json_member(json_member(root, "userDefinedMetadata"),
			       "signature");
}

static int read_json(struct tf *t, const struct json *root, struct err *e)
{
	const struct json *topology = json_member(root, "modelTopology");
	const struct json *config = json_member(topology, "model_config");
	int rc = add_info(t->m, root, e);

	if (rc == 0 && config)
		rc = keras_describe(t->m, config, e);
	if (rc == 0)
		rc = read_manifest(t, root, e);
	if (rc == 0 && config)
		rc = keras_graph(t->m, config, keras_version(topology), e);
	if (rc == 0 && json_member(topology, "node"))
		rc = tf_read_json(t, topology, find_signature(root), e);
	return rc;
}

static int read_model(struct tf *t, struct err *e)
{
	uint64_t len = source_size(t->src);
	struct json *root = NULL;
	struct blob *copy;
	char *text;
	int rc;

	if (len > JSON_MAX)
		return err_set(e, EFBIG, "model.json of %llu bytes",
			       (unsigned long long)len);
	text = malloc((size_t)len + 1);
	if (!text)
		return err_nomem(e, (size_t)len);
	rc = source_read(t->src, text, (size_t)len, 0, e);
	if (rc == 0)
		rc = json_parse(text, (size_t)len, JSON_PYTHON, &root, e);
	if (rc == 0)
		rc = read_json(t, root, e);
	if (rc == 0)
		rc = blob_file(t->src, 0, len, &copy, e);
	if (rc == 0)
		rc = model_config(t->m, "model.json", copy, e);
	json_free(root);
	free(text);
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct source *src = in->file ? source_ref(in->file) : NULL;
	int rc = 0;

	if (!src)
		rc = input_sibling(in, "model.json", 10, &src, e);
	if (rc == 0)
		rc = tf_run(in, src, m, read_model, e);
	source_unref(src);
	return rc;
}

static bool mentions(const uint8_t *p, size_t n, const char *text)
{
	return memmem(p, n, text, strlen(text)) != NULL;
}

/* What a reader of JSON would see first. */
static int look(const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n &&
	       (p[i] == ' ' || p[i] == '\n' || p[i] == '\r' || p[i] == '\t'))
		i++;
	if (i == n || p[i] != '{')
		return 0;
	return mentions(p, n, "\"modelTopology\"") ||
			       mentions(p, n, "\"weightsManifest\"")
		       ? 80
		       : 0;
}

static int probe(const struct input *in)
{
	uint8_t head[INPUT_HEAD];
	struct source *src = NULL;
	size_t n;
	int score = 0;

	if (in->file)
		return look(in->head, in->nhead);
	if (input_sibling(in, "model.json", 10, &src, NULL) < 0)
		return 0;
	n = source_size(src) < sizeof(head) ? (size_t)source_size(src)
					    : sizeof(head);
	if (source_read(src, head, n, 0, NULL) == 0)
		score = look(head, n);
	source_unref(src);
	return score;
}

const struct format format_tfjs = {
	.name = "tfjs",
	.title = "TensorFlow.js: model.json and the weights beside it",
	.probe = probe,
	.read = read,
};
