/* SPDX-License-Identifier: MIT */
/*
 * package - torch.package (torch/package/package_exporter.py)
 *
 *	NAME/.data/version, python_version, extern_modules
 *	NAME/.data/KEY.storage		the bytes of a storage
 *	NAME/.data/ts_code/N/data.pkl	a TorchScript module
 *	NAME/A/B.pkl			an object, model/A/B
 *	NAME/A/B.py			code, and whatever else was put there
 *
 * The code is shown, and nothing of it is imported.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"

#include "format/pytorch/archive.h"
#include "format/pytorch/pytorch.h"
#include "wire/zip.h"

#define DATA ".data/"
#define SCRIPTS ".data/ts_code/"
#define SCRIPT_END "/data.pkl"
#define PICKLE_END ".pkl"

struct record {
	const char *name; /* below the top folder, NUL-terminated */
	size_t len;
	const struct zipfile_member *m;
};

static bool begins(const struct record *r, const char *s)
{
	size_t len = strlen(s);

	return r->len > len && memcmp(r->name, s, len) == 0;
}

static bool ends(const struct record *r, const char *s)
{
	size_t len = strlen(s);

	return r->len > len && memcmp(r->name + r->len - len, s, len) == 0;
}

/* The object in a record, beneath the module of its name from `skip` on. */
static int walk(struct torch_archive *a, const struct torch *how,
		const struct record *r, size_t skip, size_t end, struct err *e)
{
	struct torch t = *how;
	char *under = strndup(r->name + skip, r->len - skip - end);
	int rc;

	if (!under)
		return err_nomem(e, r->len);
	t.under = under;
	t.seps = "/";
	rc = torch_archive_walk(a, &t, r->name, e);
	free(under);
	return rc;
}

static int read_record(struct torch_archive *a, const struct torch *how,
		       const struct record *r, struct err *e)
{
	struct blob *data;
	int rc;

	if (r->name[r->len - 1] == '/')
		return 0;
	if (begins(r, SCRIPTS) && ends(r, SCRIPT_END))
		return walk(a, how, r, strlen(DATA), strlen(SCRIPT_END), e);
	if (begins(r, DATA) && !ends(r, ".py") && !ends(r, "_modules") &&
	    !ends(r, "_version"))
		return 0;
	if (!begins(r, DATA) && ends(r, PICKLE_END))
		return walk(a, how, r, 0, strlen(PICKLE_END), e);
	rc = zipfile_data(a->zip, r->m, &data, e);
	return rc < 0 ? rc : model_config(how->m, r->name, data, e);
}

int torch_package_read(struct torch_archive *a, struct model *m, struct err *e)
{
	static const char *const storages[] = {DATA, NULL};
	struct torch how = {.m = m};
	char *version = NULL;
	int rc = torch_archive_head(a, NULL, &how.swapped, e);

	if (rc == 0)
		rc = torch_archive_text(a, NULL, DATA "version", &version, e);
	if (rc == 0 && version && model_info(m, "version", "%s", version) < 0)
		rc = err_nomem(e, 0);
	free(version);
	a->storages = storages;
	a->storage_suffix = ".storage";
	for (size_t i = 0; rc == 0 && i < zipfile_count(a->zip); i++) {
		struct record r = {.m = zipfile_at(a->zip, i)};

		r.name = torch_archive_name(a, r.m, &r.len);
		if (r.name && r.len > 0 && !memchr(r.name, '\0', r.len))
			rc = read_record(a, &how, &r, e);
	}
	return rc;
}
