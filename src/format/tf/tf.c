/* SPDX-License-Identifier: MIT */
/*
 * tf - TensorFlow's files: what the user named, and what lies beside it.
 *
 *	saved_model.pb, or its folder	and variables/variables.*
 *	NAME.index, or its folder	and NAME.data-*, NAME.meta
 *	NAME.meta			and NAME.index, NAME.data-*
 *	a frozen graph			alone
 *	a checkpoint of version 1	alone
 */
#include "format/tf/tf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"
#include "wire/sstable.h"

#define STATE_MAX 65536

typedef int (*reader_fn)(struct tf *t, struct err *e);

int tf_run(const struct input *in, struct source *src, struct model *m,
	   reader_fn fn, struct err *e)
{
	struct tf t = {.m = m,
		       .in = in,
		       .src = src,
		       .names = map_new(),
		       .params = map_new(),
		       .human = map_new(),
		       .kinds = map_new(),
		       .keys = map_new(),
		       .restored = map_new()};
	int rc = t.names && t.params && t.human && t.kinds && t.keys &&
				 t.restored
			 ? 0
			 : err_nomem(e, 0);

	if (rc == 0)
		rc = fn(&t, e);
	map_free(t.names);
	map_free(t.params);
	map_free(t.human);
	map_free(t.kinds);
	map_free(t.keys);
	map_free(t.restored);
	return rc;
}

/* ---- probes ---- */

static bool has_sibling(const struct input *in, const char *name)
{
	struct source *src = NULL;
	int rc = input_sibling(in, name, strlen(name), &src, NULL);

	source_unref(src);
	return rc == 0;
}

/* 1: version, 2: graphs. */
static int probe_saved_model(const struct input *in)
{
	struct cursor c = cursor_make(in->head, in->nhead, 0);

	if (!in->file)
		return has_sibling(in, "saved_model.pb") ? 90 : 0;
	if (cursor_varint(&c) != 0x08 || cursor_varint(&c) != 1)
		return 0;
	if (cursor_varint(&c) != 0x12 || cursor_varint(&c) < 2 || c.bad)
		return 0;
	/* Both begin with a message as field 1 or 2. */
	return cursor_u8(&c) == 0x0a || c.bad ? 85 : 30;
}

static bool is_word(const uint8_t *p, uint64_t len)
{
	bool ok = len > 0;

	for (uint64_t i = 0; ok && i < len; i++)
		ok = p[i] == '_' || p[i] == '>' || p[i] == '.' ||
		     (p[i] >= '0' && p[i] <= '9') ||
		     (p[i] >= 'A' && p[i] <= 'Z') ||
		     (p[i] >= 'a' && p[i] <= 'z');
	return ok;
}

enum first_field { FIRST_NONE, FIRST_NODE, FIRST_META };

/*
 * A GraphDef begins with a node (1: name, 2: a word), a MetaGraphDef with a
 * message whose field 2, if there, is a list of messages, or whose fields 4
 * and 5 are text.
 */
static enum first_field look_at_first(const struct input *in)
{
	struct cursor c = cursor_make(in->head, in->nhead, 0);
	uint64_t len, end;

	if (!in->file || cursor_varint(&c) != 0x0a)
		return FIRST_NONE;
	len = cursor_varint(&c);
	if (c.bad || len < 4 || len > source_size(in->file))
		return FIRST_NONE;
	end = c.off + len;
	while (!c.bad && c.off < end) {
		uint64_t key = cursor_varint(&c), n = cursor_varint(&c);
		const uint8_t *p = c.p;

		if (key == 0x12 && n <= cursor_left(&c) && is_word(p, n))
			return FIRST_NODE;
		if (key == 0x12 && n > 2 && cursor_left(&c) > 0 && p[0] == 0x0a)
			return FIRST_META;
		if (key == 0x22 || key == 0x2a)
			return FIRST_META;
		if (key != 0x0a)
			return FIRST_NONE;
		cursor_skip(&c, n);
	}
	return FIRST_NONE;
}

static int probe_graph(const struct input *in)
{
	return look_at_first(in) == FIRST_NODE ? 80 : 0;
}

static int probe_meta_graph(const struct input *in)
{
	return look_at_first(in) == FIRST_META ? 80 : 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

static int probe_checkpoint(const struct input *in)
{
	if (in->file)
		return sstable_probe(in->file) ? 90 : 0;
	if (has_sibling(in, "saved_model.pb"))
		return 0;
	if (has_sibling(in, "variables.index"))
		return 60;
	return has_sibling(in, "checkpoint") ? 40 : 0;
}

/* ---- SavedModel ---- */

static int read_saved_model(const struct input *in, struct model *m,
			    struct err *e)
{
	struct source *src = NULL;
	int rc;

	if (in->file)
		return tf_run(in, in->file, m, tf_read_saved_model, e);
	rc = input_sibling(in, "saved_model.pb", 14, &src, e);
	if (rc == 0)
		rc = tf_run(in, src, m, tf_read_saved_model, e);
	source_unref(src);
	return rc;
}

/* ---- frozen graphs ---- */

static int read_graph(const struct input *in, struct model *m, struct err *e)
{
	return tf_run(in, in->file, m, tf_read_graph, e);
}

/* ---- checkpoints ---- */

/* The name without `end`, to be freed. */
static int cut(const char *name, const char *end, char **out, struct err *e)
{
	size_t n = strlen(name);

	*out = strndup(name, ends_with(name, end) ? n - strlen(end) : n);
	return *out ? 0 : err_nomem(e, n);
}

static int sibling(const struct input *in, const char *prefix, const char *end,
		   struct source **out, struct err *e)
{
	struct text name = {0};
	int rc;

	text_printf(&name, "%s%s", prefix, end);
	rc = name.failed ? err_nomem(e, 0)
			 : input_sibling(in, name.p, name.len, out, e);
	text_free(&name);
	return rc;
}

struct version {
	bool is_v1;
};

/* A bundle's entry for the empty key is tiny; version 1 has field 1 there. */
static int look_at_header(void *ctx, const struct sstable_entry *x,
			  struct err *e)
{
	struct version *v = ctx;

	if (x->key_len == 0 && x->value_len > 0)
		v->is_v1 = x->value[0] == 0x0a;
	return err_set(e, ECANCELED, "seen");
}

static bool is_version_1(struct source *src)
{
	struct version v = {false};

	sstable_each(src, look_at_header, &v, NULL);
	return v.is_v1;
}

static int read_meta_beside(struct tf *t, const char *prefix, struct err *e)
{
	struct source *meta = NULL;
	struct source *before = t->src;
	int rc;

	if (sibling(t->in, prefix, ".meta", &meta, NULL) < 0)
		return 0;
	t->src = meta;
	rc = tf_read_meta_graph(t, e);
	t->src = before;
	source_unref(meta);
	return rc;
}

static int read_checkpoint_file(struct tf *t, struct source *index,
				const char *name, struct err *e)
{
	char *prefix;
	int rc;

	if (is_version_1(index))
		return tf_checkpoint_v1(t, index, e);
	rc = cut(name, ".index", &prefix, e);
	if (rc < 0)
		return rc;
	rc = tf_bundle(t, index, prefix, e);
	if (rc == 0)
		rc = read_meta_beside(t, prefix, e);
	free(prefix);
	return rc;
}

static int read_named(struct tf *t, struct err *e)
{
	return read_checkpoint_file(t, t->src, source_name(t->src), e);
}

/* The text file says which checkpoint is the last; folders are cut off. */
static int last_checkpoint(const struct input *in, char **out, struct err *e)
{
	static const char key[] = "model_checkpoint_path: \"";
	struct source *src = NULL;
	char *text, *p, *end;
	size_t len;
	int rc = input_sibling(in, "checkpoint", 10, &src, e);

	if (rc < 0)
		return rc;
	len = source_size(src) < STATE_MAX ? (size_t)source_size(src)
					   : STATE_MAX;
	text = calloc(1, len + 1);
	rc = text ? source_read(src, text, len, 0, e) : err_nomem(e, len);
	source_unref(src);
	p = rc == 0 ? strstr(text, key) : NULL;
	end = p ? strchr(p + strlen(key), '"') : NULL;
	if (rc == 0 && !end)
		rc = err_set(e, EINVAL, "checkpoint: no model_checkpoint_path");
	if (rc == 0) {
		*end = '\0';
		p = strrchr(p, '/') ? strrchr(p, '/') + 1 : p + strlen(key);
		*out = strdup(p);
		rc = *out ? 0 : err_nomem(e, len);
	}
	free(text);
	return rc;
}

static int read_folder(struct tf *t, struct err *e)
{
	struct source *index = NULL;
	char *prefix = NULL;
	int rc;

	if (has_sibling(t->in, "variables.index"))
		rc = cut("variables", "", &prefix, e);
	else
		rc = last_checkpoint(t->in, &prefix, e);
	if (rc == 0)
		rc = sibling(t->in, prefix, ".index", &index, e);
	if (rc == 0)
		rc = read_checkpoint_file(t, index, prefix, e);
	source_unref(index);
	free(prefix);
	return rc;
}

static int read_checkpoint(const struct input *in, struct model *m,
			   struct err *e)
{
	return tf_run(in, in->file, m, in->file ? read_named : read_folder, e);
}

static int read_meta(struct tf *t, struct err *e)
{
	struct source *index = NULL;
	char *prefix;
	int rc = cut(source_name(t->src), ".meta", &prefix, e);

	if (rc < 0)
		return rc;
	if (sibling(t->in, prefix, ".index", &index, NULL) == 0)
		rc = tf_bundle(t, index, prefix, e);
	if (rc == 0)
		rc = tf_read_meta_graph(t, e);
	source_unref(index);
	free(prefix);
	return rc;
}

static int read_meta_graph(const struct input *in, struct model *m,
			   struct err *e)
{
	return tf_run(in, in->file, m, read_meta, e);
}

const struct format format_tf_saved_model = {
	.name = "savedmodel",
	.title = "TensorFlow SavedModel: variables, signatures, graph",
	.probe = probe_saved_model,
	.read = read_saved_model,
};

const struct format format_tf_checkpoint = {
	.name = "tf-checkpoint",
	.title = "TensorFlow checkpoints, versions 1 and 2",
	.probe = probe_checkpoint,
	.read = read_checkpoint,
};

const struct format format_tf_graph = {
	.name = "graphdef",
	.title = "TensorFlow frozen graphs (GraphDef)",
	.probe = probe_graph,
	.read = read_graph,
};

const struct format format_tf_meta_graph = {
	.name = "metagraph",
	.title = "TensorFlow MetaGraph (.meta), with the checkpoint beside it",
	.probe = probe_meta_graph,
	.read = read_meta_graph,
};
