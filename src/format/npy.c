/* SPDX-License-Identifier: MIT */
/*
 * npy - NumPy's arrays: one in a .npy file, many in a .npz archive, whose
 * members are named KEY.npy.
 *
 * Keys are paths where any of them has a slash (flax, TensorFlow), else they
 * are dotted names (a state_dict handed to numpy.savez).
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
	case 'M':
		return "datetime64";
	case 'm':
		return "timedelta64";
	case 'V':
		return "void";
	default:
		return "unknown";
	}
}

/* Opens the file again and again: a header must not keep a stream open. */
typedef int open_fn(void *ctx, struct blob **out, struct err *e);

/* An array of a type we know no name for is listed, and cannot be read. */
static int read_array(open_fn *open, void *ctx, struct param_spec *spec,
		      struct err *e)
{
	struct npy_info info = {.dtype = DTYPE_NONE, .kind = '\0'};
	struct blob *file;
	int rc = open(ctx, &file, e);

	if (rc < 0)
		return rc;
	rc = npy_read_header(file, &info, e);
	blob_unref(file);
	if (rc == -EOPNOTSUPP && info.kind) {
		spec->dtype_text = kind_name(info.kind);
		spec->tensor.shape = info.shape;
		spec->tensor.data = blob_fail(
			0, EOPNOTSUPP, "elements that are no numbers or text");
		return spec->tensor.data ? 0 : err_nomem(e, sizeof(info));
	}
	if (rc == 0)
		rc = open(ctx, &file, e);
	if (rc < 0)
		return rc;
	rc = npy_read_data(file, &info, &spec->tensor, e);
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

static int add_array(struct model *m, const char *key, size_t len,
		     const char *seps, open_fn *open, void *ctx, struct err *e)
{
	struct param_spec spec = {.full_name = {key, len}};
	struct err why = {0};
	char q[ERR_QUOTED];
	int rc = model_path(m, model_root(m), key, len, seps, &spec.module,
			    &spec.name, e);

	if (rc < 0)
		return rc;
	rc = read_array(open, ctx, &spec, &why);
	if (rc < 0)
		rc = forgive(m, &spec, rc, &why);
	if (rc < 0)
		return err_set(e, -rc, "%s: %s", err_quote(q, key, len),
			       why.msg);
	return model_param(m, &spec, NULL, e);
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

/* The offset of the pickle that an array of objects is; 0: it is none. */
static uint64_t find_objects(open_fn *open, void *ctx)
{
	struct npy_info info = {.dtype = DTYPE_NONE, .kind = '\0'};
	struct blob *file;
	int rc = open(ctx, &file, NULL);

	if (rc < 0)
		return 0;
	rc = npy_read_header(file, &info, NULL);
	blob_unref(file);
	return rc == -EOPNOTSUPP && info.kind == 'O' ? info.data_off : 0;
}

static int read_npy(const struct input *in, struct model *m, struct err *e)
{
	const char *name = source_name(in->file);
	uint64_t objects = find_objects(open_file, in->file);

	if (objects)
		return torch_pickle_read(in->file, objects, NULL, m, e);
	return add_array(m, name, stem_len(name, strlen(name)), "", open_file,
			 in->file, e);
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
static int read_objects(const struct member *x, uint64_t off, size_t len,
			struct model *m, struct err *e)
{
	struct source *src;
	char *under;
	int rc = zipfile_load(x->zip, x->m, &src, e);

	if (rc < 0)
		return rc;
	under = strndup(x->m->name, len);
	rc = under ? torch_pickle_read(src, off, under, m, e)
		   : err_nomem(e, len);
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
		char q[ERR_QUOTED];
		uint64_t off;

		if (len == x.m->name_len)
			return err_set(e, EINVAL, "member %s is no .npy",
				       err_quote(q, x.m->name, len));
		off = find_objects(open_member, &x);
		rc = off ? read_objects(&x, off, len, m, e)
			 : add_array(m, x.m->name, len, seps, open_member, &x,
				     e);
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
