/* SPDX-License-Identifier: MIT */
/* archive - records of PyTorch's ZIP archives; see archive.h. */
#include "format/pytorch/archive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/pytorch/pytorch.h"
#include "wire/zip.h"

/* A record like "version" is a few bytes. */
#define TEXT_MAX 4096

/* ---- the archive ---- */

static void find_top(struct torch_archive *a)
{
	const struct zipfile_member *first;
	const char *slash;

	a->top = "";
	a->top_len = 0;
	if (zipfile_count(a->zip) == 0)
		return;
	first = zipfile_at(a->zip, 0);
	slash = memchr(first->name, '/', first->name_len);
	if (!slash)
		return;
	a->top = first->name;
	a->top_len = (size_t)(slash - first->name) + 1;
}

int torch_archive_open(struct source *src, uint64_t off, uint64_t len,
		       struct torch_archive *out, struct err *e)
{
	static const char *const storages[] = {"data/", NULL};
	struct torch_archive a = {.storages = storages};
	int rc = zipfile_open(src, off, len, &a.zip, e);

	if (rc < 0)
		return rc;
	a.src = source_ref(src);
	find_top(&a);
	*out = a;
	return 0;
}

int torch_archive_nested(const struct torch_archive *outer,
			 const struct zipfile_member *m,
			 struct torch_archive *out, struct err *e)
{
	struct source *copy;
	int rc;

	if (m->error)
		return err_set(e, m->error, "%s", m->why);
	if (m->method == 0)
		return torch_archive_open(outer->src, m->data_off, m->size, out,
					  e);
	rc = zipfile_load(outer->zip, m, &copy, e);
	if (rc < 0)
		return rc;
	rc = torch_archive_open(copy, 0, source_size(copy), out, e);
	source_unref(copy);
	return rc;
}

void torch_archive_close(struct torch_archive *a)
{
	zipfile_close(a->zip);
	source_unref(a->src);
	*a = (struct torch_archive){0};
}

int torch_archive_find(const struct torch_archive *a, const char *dir,
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

bool torch_archive_has(const struct torch_archive *a, const char *name)
{
	const struct zipfile_member *m;

	return torch_archive_find(a, "", name, strlen(name), &m, NULL) == 0 &&
	       m;
}

const char *torch_archive_name(const struct torch_archive *a,
			       const struct zipfile_member *m, size_t *len)
{
	if (m->name_len < a->top_len ||
	    memcmp(m->name, a->top, a->top_len) != 0)
		return NULL;
	*len = m->name_len - a->top_len;
	return m->name + a->top_len;
}

/* ---- records ---- */

int torch_archive_text(const struct torch_archive *a, struct model *model,
		       const char *name, char **out, struct err *e)
{
	const struct zipfile_member *m;
	struct blob *data;
	size_t len;
	int rc = torch_archive_find(a, "", name, strlen(name), &m, e);

	*out = NULL;
	if (rc < 0 || !m)
		return rc;
	if (m->size > TEXT_MAX)
		return err_set(e, EINVAL, "%s: %llu bytes", name,
			       (unsigned long long)m->size);
	rc = zipfile_read(a->zip, m, out, &len, e);
	if (rc < 0)
		return rc;
	if (model) {
		data = blob_copy(*out, len);
		rc = data ? model_config(model, name, data, e)
			  : err_nomem(e, len);
	}
	(*out)[strcspn(*out, "\r\n")] = '\0';
	return rc;
}

static bool is_between(const char *name, size_t len, const char *begin,
		       const char *end)
{
	size_t a = strlen(begin), b = strlen(end);

	return len >= a + b && memcmp(name, begin, a) == 0 &&
	       memcmp(name + len - b, end, b) == 0 && name[len - 1] != '/' &&
	       !memchr(name, '\0', len);
}

int torch_archive_config(const struct torch_archive *a, struct model *m,
			 const char *dir, const char *suffix, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < zipfile_count(a->zip); i++) {
		const struct zipfile_member *member = zipfile_at(a->zip, i);
		struct blob *data;
		size_t len;
		const char *name = torch_archive_name(a, member, &len);

		if (!name || len == 0 || !is_between(name, len, dir, suffix))
			continue;
		rc = zipfile_data(a->zip, member, &data, e);
		if (rc == 0)
			rc = model_config(m, name, data, e);
	}
	return rc;
}

static int read_version(const struct torch_archive *a, struct model *m,
			struct err *e)
{
	char quoted[ERR_QUOTED];
	char *text;
	int rc = torch_archive_text(a, m, "version", &text, e);

	if (rc == 0 && text) {
		size_t len = strlen(text);

		if (len == 0 || len > 8 || strspn(text, "0123456789.") != len)
			rc = err_set(e, EINVAL, "version %s",
				     err_quote(quoted, text, len));
		else if (m && model_info(m, "version", "%s", text) < 0)
			rc = err_nomem(e, len);
	}
	free(text);
	return rc;
}

static int read_byteorder(const struct torch_archive *a, struct model *m,
			  bool *swapped, struct err *e)
{
	char quoted[ERR_QUOTED];
	char *text;
	int rc = torch_archive_text(a, m, "byteorder", &text, e);

	if (rc == 0 && text) {
		bool is_big = strcmp(text, "big") == 0;

		if (is_big || strcmp(text, "little") == 0)
			*swapped = is_big;
		else
			rc = err_set(e, EINVAL, "byteorder %s",
				     err_quote(quoted, text, strlen(text)));
	}
	free(text);
	return rc;
}

int torch_archive_head(const struct torch_archive *a, struct model *m,
		       bool *swapped, struct err *e)
{
	int rc = read_version(a, m, e);

	*swapped = false;
	return rc == 0 ? read_byteorder(a, m, swapped, e) : rc;
}

/* ---- objects ---- */

static int find_record(const struct torch_archive *a, struct pickle_text key,
		       const char *suffix, const struct zipfile_member **m,
		       struct err *e)
{
	struct text name = {0};
	int rc = 0;

	text_add_bytes(&name, key.p, key.len);
	text_add(&name, suffix);
	if (name.failed)
		rc = err_nomem(e, key.len);
	for (size_t i = 0; rc == 0 && !*m && a->storages[i]; i++)
		rc = torch_archive_find(a, a->storages[i], name.p ? name.p : "",
					name.len, m, e);
	text_free(&name);
	return rc;
}

static int find_storage(struct torch *t, struct pickle_text key,
			uint64_t nbytes, struct blob **out, struct err *e)
{
	const struct torch_archive *a = t->container;
	const struct zipfile_member *m = NULL;
	char quoted[ERR_QUOTED];
	int rc = find_record(a, key, "", &m, e);

	if (rc == 0 && !m && a->storage_suffix)
		rc = find_record(a, key, a->storage_suffix, &m, e);
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

/* The pickle, where it lies in the archive, or inflated. */
static int read_pickle(const struct torch_archive *a, struct torch *t,
		       const struct zipfile_member *m,
		       struct pickle_node **root, struct err *e)
{
	uint64_t off = m->data_off;
	struct reader *r;
	int rc;

	if (m->error)
		return err_set(e, m->error, "%s", m->why);
	if (m->method != 0) {
		rc = zipfile_load(a->zip, m, &t->src, e);
		if (rc < 0)
			return rc;
		off = 0;
	} else {
		t->src = source_ref(a->src);
	}
	r = reader_new(t->src, off, m->size);
	if (!r)
		return err_nomem(e, sizeof(*r));
	rc = pickle_read(r, t->arena, root, e);
	reader_free(r);
	return rc;
}

static int walk_record(struct torch_archive *a, struct torch *t,
		       const char *record, struct err *e)
{
	const struct zipfile_member *m;
	struct pickle_node *root;
	int rc = torch_archive_find(a, "", record, strlen(record), &m, e);

	if (rc == 0 && !m)
		return err_set(e, EINVAL, "no %s", record);
	if (rc == 0)
		rc = read_pickle(a, t, m, &root, e);
	if (rc < 0)
		return err_wrap(e, "%s", record);
	return torch_walk(t, root, e);
}

int torch_archive_walk(struct torch_archive *a, struct torch *t,
		       const char *record, struct err *e)
{
	int rc = 0;

	t->arena = arena_new();
	t->storages = map_new();
	t->find = find_storage;
	t->container = a;
	if (!t->arena || !t->storages)
		rc = err_nomem(e, 0);
	if (rc == 0)
		rc = walk_record(a, t, record, e);
	torch_finish(t);
	arena_free(t->arena);
	return rc;
}
