/* SPDX-License-Identifier: MIT */
/*
 * archive - what Keras 3 saves: a zip archive, or a folder of the same files:
 *
 *	config.json		the configuration
 *	metadata.json		the version
 *	model.weights.h5	the weights, or
 *	model.weights.json	which files they are in (weight_map)
 *	assets/...
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/source.h"

#include "format/formats.h"
#include "format/keras/call.h"
#include "wire/json.h"
#include "wire/zip.h"

#define TEXT_MAX ((uint64_t)256 << 20)
#define SHARDS_MAX 100000
#define MEMBER_STORED 0

struct saved { /* an archive, or (z NULL) a folder */
	const struct input *in;
	struct zipfile *z;
};

struct part {		    /* one file of it */
	struct source *src; /* owned */
	uint64_t off, len;
};

/* ENOENT when there is none of this name. */
static int open_member(const struct saved *s, const char *name, size_t len,
		       struct part *out, struct err *e)
{
	const struct zipfile_member *m = zipfile_find(s->z, name, len);
	int rc;

	if (!m)
		return err_set(e, ENOENT, "no %s", name);
	if (m->error)
		return err_set(e, m->error, "%s: %s", name, m->why);
	if (m->method == MEMBER_STORED) {
		*out = (struct part){source_ref(s->in->file), m->data_off,
				     m->size};
		return 0;
	}
	rc = zipfile_load(s->z, m, &out->src, e);
	if (rc == 0) {
		out->off = 0;
		out->len = source_size(out->src);
	}
	return rc;
}

static int open_part(const struct saved *s, const char *name, size_t len,
		     struct part *out, struct err *e)
{
	int rc;

	if (s->z)
		return open_member(s, name, len, out, e);
	rc = input_sibling(s->in, name, len, &out->src, e);
	if (rc == 0) {
		out->off = 0;
		out->len = source_size(out->src);
	}
	return rc;
}

/* To be freed. */
static int read_text(const struct saved *s, const char *name, char **out,
		     size_t *len, struct err *e)
{
	struct part p;
	int rc = open_part(s, name, strlen(name), &p, e);

	if (rc < 0)
		return rc;
	if (p.len > TEXT_MAX)
		rc = err_set(e, EFBIG, "%s is too long", name);
	*out = rc == 0 ? malloc((size_t)p.len + 1) : NULL;
	if (rc == 0)
		rc = *out ? source_read(p.src, *out, (size_t)p.len, p.off, e)
			  : err_nomem(e, (size_t)p.len);
	*len = (size_t)p.len;
	source_unref(p.src);
	if (rc < 0)
		free(*out);
	return rc;
}

/* {"keras_version": "3.8.0", …} */
static void read_version(struct keras *k, const char *text, size_t len)
{
	struct json *root = NULL;
	const char *version;
	size_t n;

	if (json_parse(text, len, JSON_PYTHON, &root, NULL) < 0)
		return;
	version = json_get_string(json_member(root, "keras_version"), &n);
	if (version)
		keras_set_version(k, version, n);
	json_free(root);
}

static int add_text(struct keras *k, const struct saved *s, const char *name,
		    struct err *e)
{
	struct err why = {0};
	char *text;
	size_t len;
	int rc = read_text(s, name, &text, &len, &why);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return err_set(e, why.code, "%s", why.msg);
	rc = keras_config_text(k, name, text, len, e);
	if (strcmp(name, "config.json") == 0)
		keras_parse_config(k, text, len);
	else
		read_version(k, text, len);
	free(text);
	return rc;
}

static int add_assets(struct keras *k, const struct zipfile *z, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < zipfile_count(z); i++) {
		const struct zipfile_member *m = zipfile_at(z, i);
		struct blob *data;

		if (m->name_len <= 7 || memcmp(m->name, "assets/", 7) != 0 ||
		    m->name[m->name_len - 1] == '/')
			continue;
		rc = zipfile_data(z, m, &data, e);
		if (rc == 0)
			rc = model_config(k->m, m->name, data, e);
	}
	return rc;
}

/* ---- weights ---- */

static int add_shard(struct keras *k, const struct saved *s,
		     const struct json *name, struct map *seen, struct err *e)
{
	size_t len;
	const char *p = json_get_string(name, &len);
	struct part part;
	int rc;

	if (!p)
		return err_set(e, EINVAL, "a shard that has no name");
	rc = map_add(seen, p, len, 1);
	if (rc < 0)
		return rc == -EEXIST ? 0 : err_nomem(e, len);
	if (map_count(seen) > SHARDS_MAX)
		return err_set(e, EFBIG, "too many shards");
	rc = open_part(s, p, len, &part, e);
	if (rc < 0)
		return rc;
	rc = keras_hdf5(k, part.src, part.off, part.len, e);
	source_unref(part.src);
	return rc;
}

/* The files that a map names, each once. */
static int add_shards(struct keras *k, const struct saved *s,
		      const struct json *names, struct err *e)
{
	const struct json *v;
	const char *key;
	struct map *seen = map_new();
	void *it = NULL;
	int rc = seen ? 0 : err_nomem(e, 0);

	while (rc == 0 && json_next(names, &it, &key, &v)) {
		if (json_kind(v) != JSON_KIND_ARRAY) {
			rc = add_shard(k, s, v, seen, e);
			continue;
		}
		for (size_t i = 0; rc == 0 && i < json_count(v); i++)
			rc = add_shard(k, s, json_item(v, i), seen, e);
	}
	map_free(seen);
	return rc;
}

static int read_sharded(struct keras *k, const struct saved *s, struct err *e)
{
	struct json *root = NULL;
	char *text;
	size_t len;
	int rc = read_text(s, "model.weights.json", &text, &len, e);

	if (rc < 0)
		return rc;
	rc = json_parse(text, len, 0, &root, e);
	free(text);
	if (rc == 0)
		rc = add_shards(k, s, json_member(root, "weight_map"), e);
	json_free(root);
	return rc;
}

/* A model may come without weights. */
static int read_weights(struct keras *k, const struct saved *s, struct err *e)
{
	static const char name[] = "model.weights.h5";
	struct err why = {0};
	struct part p;
	int rc = open_part(s, name, strlen(name), &p, &why);

	if (rc == 0) {
		rc = keras_hdf5(k, p.src, p.off, p.len, e);
		source_unref(p.src);
		return rc;
	}
	if (rc == -ENOENT)
		rc = read_sharded(k, s, &why);
	if (rc == -ENOENT && strstr(why.msg, "model.weights.json"))
		return keras_describe(k->m, k->config, e);
	return rc < 0 ? err_set(e, why.code, "%s", why.msg) : 0;
}

static int read_saved(struct keras *k, const struct saved *s, struct err *e)
{
	int rc = add_text(k, s, "config.json", e);

	if (rc == 0)
		rc = add_text(k, s, "metadata.json", e);
	if (rc == 0 && s->z)
		rc = add_assets(k, s->z, e);
	if (rc == 0)
		rc = read_weights(k, s, e);
	if (rc == 0 && k->config)
		rc = keras_graph(k->m, k->config, k->version, e);
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct keras k = {.m = m};
	struct saved s = {.in = in};
	int rc = 0;

	if (in->file)
		rc = zipfile_open(in->file, 0, source_size(in->file), &s.z, e);
	if (rc < 0)
		return rc;
	if (s.z && (!zipfile_find(s.z, "config.json", 11) ||
		    !zipfile_find(s.z, "metadata.json", 13)))
		rc = err_set(e, EINVAL, "no archive of Keras");
	if (rc == 0)
		rc = read_saved(&k, &s, e);
	zipfile_close(s.z);
	json_free(k.config);
	return rc;
}

static bool has_sibling(const struct input *in, const char *name)
{
	struct source *src = NULL;
	int rc = input_sibling(in, name, strlen(name), &src, NULL);

	source_unref(src);
	return rc == 0;
}

/* The first members are metadata.json and config.json. */
static int probe(const struct input *in)
{
	if (!in->file)
		return has_sibling(in, "config.json") &&
				       (has_sibling(in, "model.weights.h5") ||
					has_sibling(in, "model.weights.json"))
			       ? 85
			       : 0;
	if (in->nhead < 64 || memcmp(in->head, "PK\3\4", 4) != 0)
		return 0;
	return memcmp(in->head + 30, "metadata.json", 13) == 0 ||
			       memcmp(in->head + 30, "config.json", 11) == 0
		       ? 95
		       : 5;
}

const struct format format_keras = {
	.name = "keras",
	.title = "Keras 3 archives (.keras), and folders of the same files",
	.probe = probe,
	.read = read,
};
