/* SPDX-License-Identifier: MIT */
/*
 * npy - NumPy's arrays: one in a .npy file, many in a .npz archive, whose
 * members are named KEY.npy.
 *
 * Keys are paths where any of them has a slash (flax, TensorFlow), else they
 * are dotted names (a state_dict handed to numpy.savez).  An array of records
 * is a module with a parameter for each field.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/npy.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"
#include "format/pytorch/plain.h"
#include "wire/zip.h"

#define LOCAL_HEADER 30
#define SUFFIX ".npy"
#define SUFFIX_LEN 4

static const char *kind_name(char kind)
{
	switch (kind) {
	case 'O':
		return "object";
	case 'V':
		return "void";
	default:
		return "unknown";
	}
}

/* Opens the file again and again: a header must not keep a stream open. */
typedef int open_fn(void *ctx, struct blob **out, struct err *e);

/* One array, being read. */
struct array {
	struct model *m;
	struct span key;
	const char *seps;
	open_fn *open;
	/* Reads what is no numbers but a pickle. */
	int (*objects)(struct array *a, struct err *e);
	void *ctx;
	struct npy_info info;
};

/* An array of a type we know no name for is listed, and cannot be read. */
static int list_only(const struct npy_info *info, struct param_spec *spec,
		     struct err *e)
{
	spec->dtype_text = kind_name(info->kind);
	spec->tensor.shape = info->shape;
	spec->tensor.data = blob_fail(0, EOPNOTSUPP,
				      "elements that are no numbers or text");
	return spec->tensor.data ? 0 : err_nomem(e, sizeof(*info));
}

static int read_data(struct array *a, struct param_spec *spec, struct err *e)
{
	struct blob *file;
	int rc = a->open(a->ctx, &file, e);

	if (rc < 0)
		return rc;
	rc = npy_read_data(file, &a->info, &spec->tensor, e);
	blob_unref(file);
	return rc;
}

/* Sets info.kind where the header says as much. */
static int read_header(struct array *a, struct err *e)
{
	struct blob *file;
	int rc = a->open(a->ctx, &file, e);

	a->info = (struct npy_info){.dtype = DTYPE_NONE};
	if (rc < 0)
		return rc;
	rc = npy_read_header(file, &a->info, e);
	blob_unref(file);
	return rc;
}

/* A damaged array: listed where the user wants that. */
static int forgive(const struct model *m, struct param_spec *spec, int rc,
		   const struct err *e)
{
	if (!m->lenient || rc == -ENOMEM)
		return rc;
	spec->tensor.shape = shape_of(1, &(int64_t){0});
	spec->tensor.data = blob_fail(0, EIO, e->msg);
	return spec->tensor.data ? 0 : -ENOMEM;
}

/* What the type of an array says besides the elements' own. */
static int describe(const struct array *a, const struct npy_info *info,
		    const struct param_spec *spec, struct err *e)
{
	char q[ERR_QUOTED], key[ERR_QUOTED + 8], descr[ERR_QUOTED];

	if (info->kind != 'M' && info->kind != 'm' && info->kind != 'V')
		return 0;
	snprintf(key, sizeof(key), "%s.descr",
		 err_quote(q, spec->name.p, spec->name.len));
	err_quote(descr, info->descr, strlen(info->descr));
	if (model_attr(a->m, spec->module, key, "%s", descr) < 0)
		return err_nomem(e, 0);
	return 0;
}

/* Adds what was read, or `rc`, which is why it was not. */
static int add_param(struct array *a, const struct npy_info *info,
		     struct param_spec *spec, int rc, struct err *why,
		     struct err *e)
{
	char q[ERR_QUOTED];
	struct span key = spec->full_name;

	if (rc == -EOPNOTSUPP && info->kind)
		rc = list_only(info, spec, why);
	else if (rc == 0)
		rc = describe(a, info, spec, why);
	if (rc < 0)
		rc = forgive(a->m, spec, rc, why);
	if (rc < 0) {
		tensor_drop(&spec->tensor);
		return err_set(e, -rc, "%s: %s", err_quote(q, key.p, key.len),
			       why->msg);
	}
	return model_param(a->m, spec, NULL, e);
}

static int add_field(struct array *a, struct blob *file,
		     const struct npy_record *r, size_t i, struct err *e)
{
	const struct npy_field *f = &r->fields[i];
	struct param_spec spec = {.module = NULL};
	struct module *mod;
	struct text full = {0};
	struct err why = {0};
	struct span leaf;
	int rc = model_path(a->m, model_root(a->m), a->key.p, a->key.len,
			    a->seps, &mod, &leaf, e);

	if (rc == 0)
		rc = model_module(a->m, mod, leaf.p, leaf.len, &mod, e);
	if (rc == 0)
		rc = model_path(a->m, mod, f->name, f->len, ".", &spec.module,
				&spec.name, e);
	text_add_bytes(&full, a->key.p, a->key.len);
	text_add(&full, strchr(a->seps, '/') ? "/" : ".");
	text_add_bytes(&full, f->name, f->len);
	if (rc == 0 && full.failed)
		rc = err_nomem(e, full.len);
	if (rc == 0) {
		spec.full_name = (struct span){full.p, full.len};
		rc = npy_read_field(file, &a->info, r, i, &spec.tensor, &why);
		rc = add_param(a, &f->info, &spec, rc, &why, e);
	}
	text_free(&full);
	return rc;
}

/*
 * All fields share one blob of the file, so that what is compressed is inflated
 * once.  -EOPNOTSUPP: nothing was added, for there are objects among them.
 */
static int add_record(struct array *a, struct err *e)
{
	struct npy_record *r = NULL;
	struct blob *file;
	int rc = a->open(a->ctx, &file, e);

	if (rc < 0)
		return rc;
	rc = npy_read_record(file, &a->info, &r, e);
	for (size_t i = 0; rc == 0 && i < r->nfields; i++)
		rc = add_field(a, file, r, i, e);
	npy_record_free(r);
	blob_unref(file);
	return rc;
}

static int add_array(struct array *a, struct err *e)
{
	struct param_spec spec = {.full_name = a->key};
	struct err why = {0};
	int rc = read_header(a, &why);

	if (rc == -EOPNOTSUPP && a->info.kind == 'O')
		return a->objects(a, e);
	if (rc == -EOPNOTSUPP && a->info.record_len > 0) {
		rc = add_record(a, &why);
		if (rc == 0)
			return 0;
	}
	if (rc == 0)
		rc = read_data(a, &spec, &why);
	if (model_path(a->m, model_root(a->m), a->key.p, a->key.len, a->seps,
		       &spec.module, &spec.name, e) < 0) {
		tensor_drop(&spec.tensor);
		return -e->code;
	}
	return add_param(a, &a->info, &spec, rc, &why, e);
}

static size_t stem_len(const char *name, size_t len)
{
	if (len > SUFFIX_LEN &&
	    memcmp(name + len - SUFFIX_LEN, SUFFIX, SUFFIX_LEN) == 0)
		return len - SUFFIX_LEN;
	return len;
}

/* ---- .npy ---- */

static int open_file(void *ctx, struct blob **out, struct err *e)
{
	struct source *file = ctx;

	return blob_file(file, 0, source_size(file), out, e);
}

static int read_file_objects(struct array *a, struct err *e)
{
	return torch_pickle_read(a->ctx, a->info.data_off, NULL, "", a->m, e);
}

static int read_npy(const struct input *in, struct model *m, struct err *e)
{
	const char *name = source_name(in->file);
	struct array a = {
		.m = m,
		.key = {name, stem_len(name, strlen(name))},
		.seps = "",
		.open = open_file,
		.objects = read_file_objects,
		.ctx = in->file,
	};

	return add_array(&a, e);
}

static int probe_npy(const struct input *in)
{
	if (!in->file || in->nhead < 8)
		return 0;
	return memcmp(in->head, "\x93NUMPY", 6) == 0 ? 95 : 0;
}

const struct format format_npy = {
	.name = "npy",
	.title = "NumPy arrays (.npy)",
	.probe = probe_npy,
	.read = read_npy,
};

/* ---- .npz ---- */

struct member {
	const struct zipfile *zip;
	const struct zipfile_member *m;
};

static int open_member(void *ctx, struct blob **out, struct err *e)
{
	struct member *x = ctx;

	return zipfile_data(x->zip, x->m, out, e);
}

/* An array of objects: a module of the key's name. */
static int read_member_objects(struct array *a, struct err *e)
{
	struct member *x = a->ctx;
	struct source *src;
	char *under;
	int rc = zipfile_load(x->zip, x->m, &src, e);

	if (rc < 0)
		return rc;
	under = strndup(a->key.p, a->key.len);
	rc = under ? torch_pickle_read(src, a->info.data_off, under, a->seps,
				       a->m, e)
		   : err_nomem(e, a->key.len);
	free(under);
	source_unref(src);
	return rc;
}

static bool has_slashes(const struct zipfile *zip)
{
	for (size_t i = 0; i < zipfile_count(zip); i++) {
		const struct zipfile_member *m = zipfile_at(zip, i);

		if (memchr(m->name, '/', m->name_len))
			return true;
	}
	return false;
}

static int read_members(struct zipfile *zip, struct model *m, struct err *e)
{
	const char *seps = has_slashes(zip) ? "/" : ".";
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < zipfile_count(zip); i++) {
		struct member x = {zip, zipfile_at(zip, i)};
		size_t len = stem_len(x.m->name, x.m->name_len);
		struct array a = {.m = m,
				  .key = {x.m->name, len},
				  .seps = seps,
				  .open = open_member,
				  .objects = read_member_objects,
				  .ctx = &x};
		char q[ERR_QUOTED];

		if (len == x.m->name_len)
			return err_set(e, EINVAL, "member %s is no .npy",
				       err_quote(q, x.m->name, len));
		rc = add_array(&a, e);
	}
	return rc;
}

static int read_npz(const struct input *in, struct model *m, struct err *e)
{
	struct zipfile *zip = NULL;
	int rc = zipfile_open(in->file, 0, source_size(in->file), &zip, e);

	if (rc == 0)
		rc = read_members(zip, m, e);
	zipfile_close(zip);
	return rc;
}

/* What the first member is called. */
static int probe_npz(const struct input *in)
{
	size_t len;

	if (!in->file || in->nhead < 22 || memcmp(in->head, "PK", 2) != 0)
		return 0;
	if (memcmp(in->head + 2, "\5\6", 2) == 0)
		return 10; /* numpy.savez of nothing */
	if (memcmp(in->head + 2, "\3\4", 2) != 0 || in->nhead < LOCAL_HEADER)
		return 0;
	len = in->head[26] | (size_t)in->head[27] << 8;
	if (len > in->nhead - LOCAL_HEADER)
		return 0;
	return stem_len((const char *)in->head + LOCAL_HEADER, len) < len ? 90
									  : 0;
}

const struct format format_npz = {
	.name = "npz",
	.title = "NumPy archives (.npz), stored or compressed",
	.probe = probe_npz,
	.read = read_npz,
};
