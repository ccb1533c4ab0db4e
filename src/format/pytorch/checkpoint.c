/* SPDX-License-Identifier: MIT */
/*
 * checkpoint - torch.save since 1.6 (torch/serialization.py): a ZIP archive
 *
 *	NAME/data.pkl	the object
 *	NAME/data/KEY	the bytes of storage KEY
 *	NAME/version	of the archive, NAME/byteorder "little" or "big"
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/pytorch/pytorch.h"
#include "wire/zip.h"

#define LOCAL_HEADER 30

struct archive {
	struct zipfile *zip;
	const char *top; /* "NAME/", of its first member */
	size_t top_len;
};

static int find_record(const struct archive *a, const char *dir,
		       const char *name, size_t len,
		       const struct zipfile_member **out, struct err *e)
{
	struct text path = {0};

	text_add_bytes(&path, a->top, a->top_len);
	text_add(&path, dir);
	text_add_bytes(&path, name, len);
	if (path.failed) {
		text_free(&path);
		return err_nomem(e, len);
	}
	*out = zipfile_find(a->zip, path.p ? path.p : "", path.len);
	text_free(&path);
	return 0;
}

static int find_storage(struct torch *t, struct pickle_text key,
			uint64_t nbytes, struct blob **out, struct err *e)
{
	const struct archive *a = t->container;
	const struct zipfile_member *m;
	char quoted[ERR_QUOTED];
	int rc = find_record(a, "data/", key.p, key.len, &m, e);

	if (rc < 0)
		return rc;
	if (!m)
		return err_set(e, EINVAL, "there is no storage %s",
			       err_quote(quoted, key.p, key.len));
	if (m->size != nbytes)
		return err_set(e, EINVAL, "storage %s has %llu bytes, not %llu",
			       err_quote(quoted, key.p, key.len),
			       (unsigned long long)m->size,
			       (unsigned long long)nbytes);
	return zipfile_data(a->zip, m, out, e);
}

/* A small record of text: shown under config/, and returned to be parsed. */
static int read_record(struct torch *t, const char *name, char **out,
		       struct err *e)
{
	const struct archive *a = t->container;
	const struct zipfile_member *m;
	struct blob *data;
	size_t len;
	int rc = find_record(a, "", name, strlen(name), &m, e);

	*out = NULL;
	if (rc < 0 || !m)
		return rc;
	if (m->size > 4096)
		return err_set(e, EINVAL, "%s: %llu bytes", name,
			       (unsigned long long)m->size);
	rc = zipfile_read(a->zip, m, out, &len, e);
	if (rc < 0)
		return rc;
	data = blob_copy(*out, len);
	rc = data ? model_config(t->m, name, data, e) : err_nomem(e, len);
	(*out)[strcspn(*out, "\r\n")] = '\0';
	return rc;
}

static int read_version(struct torch *t, struct err *e)
{
	char quoted[ERR_QUOTED];
	char *text;
	int rc = read_record(t, "version", &text, e);

	if (rc == 0 && text) {
		size_t len = strlen(text);

		if (len == 0 || len > 4 || strspn(text, "0123456789") != len)
			rc = err_set(e, EINVAL, "version %s",
				     err_quote(quoted, text, len));
		else if (model_info(t->m, "version", "%s", text) < 0)
			rc = err_nomem(e, len);
	}
	free(text);
	return rc;
}

static int read_byteorder(struct torch *t, struct err *e)
{
	char quoted[ERR_QUOTED];
	char *text;
	int rc = read_record(t, "byteorder", &text, e);

	if (rc == 0 && text) {
		t->swapped = strcmp(text, "big") == 0;
		if (!t->swapped && strcmp(text, "little") != 0)
			rc = err_set(e, EINVAL, "byteorder %s",
				     err_quote(quoted, text, strlen(text)));
	}
	free(text);
	return rc;
}

/* The pickle, where it lies in the archive, or inflated. */
static int read_pickle(struct torch *t, struct source *file,
		       const struct zipfile_member *m,
		       struct pickle_node **root, struct err *e)
{
	const struct archive *a = t->container;
	uint64_t off = m->data_off;
	struct reader *r;
	int rc;

	if (m->error)
		return err_set(e, m->error, "data.pkl: %s", m->why);
	if (m->method != 0) {
		rc = zipfile_load(a->zip, m, &t->src, e);
		if (rc < 0)
			return rc;
		off = 0;
	} else {
		t->src = source_ref(file);
	}
	r = reader_new(t->src, off, m->size);
	if (!r)
		return err_nomem(e, sizeof(*r));
	rc = pickle_read(r, t->arena, root, e);
	reader_free(r);
	return rc < 0 ? err_wrap(e, "data.pkl") : 0;
}

static int read_object(struct torch *t, struct source *file, struct err *e)
{
	const struct zipfile_member *m;
	struct pickle_node *root;
	int rc = find_record(t->container, "", "data.pkl", 8, &m, e);

	if (rc == 0 && !m)
		rc = err_set(e, EINVAL, "no data.pkl");
	if (rc == 0)
		rc = read_version(t, e);
	if (rc == 0)
		rc = read_byteorder(t, e);
	if (rc < 0)
		return rc;
	rc = read_pickle(t, file, m, &root, e);
	return rc == 0 ? torch_walk(t, root, e) : rc;
}

static void find_top(struct archive *a)
{
	const struct zipfile_member *first;
	const char *slash;

	if (zipfile_count(a->zip) == 0)
		return;
	first = zipfile_at(a->zip, 0);
	slash = memchr(first->name, '/', first->name_len);
	a->top = first->name;
	a->top_len = slash ? (size_t)(slash - first->name) + 1 : 0;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct archive a = {.top = ""};
	struct torch t = {
		.m = m,
		.arena = arena_new(),
		.storages = map_new(),
		.find = find_storage,
		.container = &a,
	};
	int rc = t.arena && t.storages ? 0 : err_nomem(e, 0);

	if (rc == 0)
		rc = zipfile_open(in->file, 0, source_size(in->file), &a.zip,
				  e);
	if (rc == 0) {
		find_top(&a);
		rc = read_object(&t, in->file, e);
	}
	torch_finish(&t);
	arena_free(t.arena);
	zipfile_close(a.zip);
	return rc;
}

/* The first member is the pickle; other archives of torch are still ZIP. */
static int probe(const struct input *in)
{
	static const char name[] = "data.pkl";
	size_t len;

	if (!in->file || in->nhead < LOCAL_HEADER ||
	    memcmp(in->head, "PK\3\4", 4) != 0)
		return 0;
	len = in->head[26] | (size_t)in->head[27] << 8;
	if (len <= in->nhead - LOCAL_HEADER && len >= sizeof(name) - 1 &&
	    memcmp(in->head + LOCAL_HEADER + len - (sizeof(name) - 1), name,
		   sizeof(name) - 1) == 0)
		return 90;
	return 20;
}

const struct format format_pytorch = {
	.name = "pytorch",
	.title = "PyTorch checkpoints (torch.save, ZIP)",
	.probe = probe,
	.read = read,
};
