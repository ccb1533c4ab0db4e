/* SPDX-License-Identifier: MIT */
/*
 * export - torch.export's archives (torch/export/pt2_archive)
 *
 *	models/NAME.json			the program
 *	data/weights/NAME_weights_config.json	{"config": {fqn: {"path_name",
 *		"use_pickle", "tensor_meta": {...}}}}
 *	data/weights/weight_0			bytes of a storage
 *	data/constants/...			the same of constants
 *
 * and, before 2.8,
 *
 *	serialized_exported_program.json	the program
 *	serialized_state_dict.pt (or .json)	an archive of torch.save
 *	serialized_constants.pt (or .json)	the same
 *
 * Compiled code (data/aotinductor) is never looked at.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/text.h"

#include "format/pytorch/archive.h"
#include "format/pytorch/export.h"
#include "format/pytorch/pytorch.h"
#include "wire/json.h"
#include "wire/zip.h"

#define WEIGHTS "data/weights/"
#define CONSTANTS "data/constants/"

/* ---- tensor_meta ---- */

/* torch/_export/serde/schema.py, ScalarType. */
enum dtype torch_export_type(int64_t number)
{
	static const enum dtype types[] = {
		DTYPE_NONE, DTYPE_U8,	DTYPE_I8,   DTYPE_I16,	DTYPE_I32,
		DTYPE_I64,  DTYPE_F16,	DTYPE_F32,  DTYPE_F64,	DTYPE_C32,
		DTYPE_C64,  DTYPE_C128, DTYPE_BOOL, DTYPE_BF16,
	};
	static const enum dtype late[] = {DTYPE_U16, DTYPE_F8_E4M3FN,
					  DTYPE_F8_E5M2, DTYPE_F8_E4M3FNUZ,
					  DTYPE_F8_E5M2FNUZ};

	if (number >= 0 && (size_t)number < sizeof(types) / sizeof(types[0]))
		return types[number];
	if (number >= 28 && number <= 32)
		return late[number - 28];
	return DTYPE_NONE;
}

/* A SymInt that is a number: {"as_int": 3}, or 3. */
static bool get_size(const struct json *v, int64_t *out)
{
	if (json_get_int(v, out))
		return *out >= 0;
	return json_get_int(json_member(v, "as_int"), out) && *out >= 0;
}

static int get_sizes(const struct json *v, int64_t out[SHAPE_RANK_MAX])
{
	size_t n = json_count(v);

	if (json_kind(v) != JSON_KIND_ARRAY || n > SHAPE_RANK_MAX)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!get_size(json_item(v, i), &out[i]))
			return -1;
	return (int)n;
}

struct reading {
	const struct torch_archive *a;
	struct model *m;
	enum param_kind kind;
	const char *dir; /* where the storages lie */
};

static bool is_pickled(const struct json *payload)
{
	bool is = false;

	json_get_bool(json_member(payload, "use_pickle"), &is);
	return is;
}

static int find_payload(const struct reading *r, const struct json *payload,
			const struct zipfile_member **out, struct err *e)
{
	size_t len = 0;
	const char *name =
		json_get_string(json_member(payload, "path_name"), &len);
	int rc;

	if (!name)
		return err_set(e, EINVAL, "no path_name");
	rc = torch_archive_find(r->a, r->dir, name, len, out, e);
	if (rc == 0 && !*out)
		rc = err_set(e, EINVAL, "there is no record of its data");
	return rc;
}

static int open_storage(const struct reading *r, const struct json *payload,
			struct blob **out, struct err *e)
{
	const struct zipfile_member *m;
	int rc = find_payload(r, payload, &m, e);

	return rc < 0 ? rc : zipfile_data(r->a->zip, m, out, e);
}

static int read_tensor(const struct reading *r, const struct json *payload,
		       struct tensor *out, struct err *e)
{
	const struct json *meta = json_member(payload, "tensor_meta");
	int64_t dims[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX], type = 0;
	int64_t offset = 0;
	int rank = get_sizes(json_member(meta, "sizes"), dims);
	uint64_t nbytes = 0;
	struct blob *data;
	int rc;

	json_get_int(json_member(meta, "dtype"), &type);
	get_size(json_member(meta, "storage_offset"), &offset);
	if (rank < 0 ||
	    get_sizes(json_member(meta, "strides"), strides) != rank)
		return err_set(e, EINVAL, "a tensor of no known shape");
	out->dtype = torch_export_type(type);
	rc = shape_set(&out->shape, dims, (size_t)rank, e);
	if (rc == 0)
		rc = open_storage(r, payload, &data, e);
	if (rc < 0)
		return rc;
	if (out->dtype == DTYPE_NONE) {
		blob_unref(data);
		out->data = blob_fail(0, EOPNOTSUPP, "unknown element type");
		return out->data ? 0 : err_nomem(e, 0);
	}
	/* Programs are also saved without their weights. */
	if (data->size == 0 && blob_status(data, NULL) == 0 &&
	    tensor_nbytes(out, &nbytes) && nbytes > 0) {
		blob_unref(data);
		out->data = blob_fail(nbytes, ENODATA, "saved without data");
		return out->data ? 0 : err_nomem(e, 0);
	}
	return torch_view_data(data, strides, (uint64_t)offset, out, e);
}

/*
 * An archive of torch.save inside of this one: names and tensors, or one tensor
 * that is called `name`.
 */
static int read_state(const struct reading *r, const struct zipfile_member *m,
		      enum param_kind kind, const char *name, struct err *e)
{
	struct torch t = {.m = r->m, .kind = kind, .name = name};
	struct torch_archive inner;
	int rc;

	if (m->size == 0)
		return 0;
	rc = torch_archive_nested(r->a, m, &inner, e);
	if (rc < 0)
		return rc;
	rc = torch_archive_head(&inner, NULL, &t.swapped, e);
	if (rc == 0)
		rc = torch_archive_walk(&inner, &t, "data.pkl", e);
	torch_archive_close(&inner);
	return rc;
}

/* Tensors that are not strided, or of a subclass. */
static int add_pickled(const struct reading *r, const struct json *payload,
		       enum param_kind kind, const char *key, size_t len,
		       struct err *e)
{
	const struct zipfile_member *m;
	char quoted[ERR_QUOTED];
	char *name = strndup(key, len);
	int rc = name ? find_payload(r, payload, &m, e) : err_nomem(e, len);

	if (rc == 0)
		rc = read_state(r, m, kind, name, e);
	free(name);
	return rc < 0 ? err_wrap(e, "%s", err_quote(quoted, key, len)) : 0;
}

static int add_payload(void *ctx, const char *key, size_t len,
		       const struct json *payload, struct err *e)
{
	const struct reading *r = ctx;
	struct param_spec spec = {.full_name = {key, len}, .kind = r->kind};
	char quoted[ERR_QUOTED];
	bool is_param = true;
	int rc;

	/* Objects of custom classes are no tensors. */
	if (json_kind(json_member(payload, "tensor_meta")) != JSON_KIND_OBJECT)
		return 0;
	json_get_bool(json_member(payload, "is_param"), &is_param);
	if (spec.kind == PARAM_PARAMETER && !is_param)
		spec.kind = PARAM_BUFFER;
	if (is_pickled(payload))
		return add_pickled(r, payload, spec.kind, key, len, e);
	rc = read_tensor(r, payload, &spec.tensor, e);
	if (rc == 0)
		rc = model_path(r->m, model_root(r->m), key, len, ".",
				&spec.module, &spec.name, e);
	if (rc < 0) {
		tensor_drop(&spec.tensor);
		return err_wrap(e, "%s", err_quote(quoted, key, len));
	}
	if (spec.tensor.dtype == DTYPE_NONE)
		spec.dtype_text = "unknown";
	return model_param(r->m, &spec, NULL, e);
}

static int read_payloads(struct reading *r, const struct zipfile_member *m,
			 struct err *e)
{
	const char *config;
	char *text;
	size_t len, config_len;
	int rc = zipfile_read(r->a->zip, m, &text, &len, e);

	if (rc < 0)
		return rc;
	rc = json_find_member(text, len, "config", &config, &config_len, e);
	if (rc == 0)
		rc = json_each_member(config, config_len, add_payload, r, e);
	free(text);
	return rc;
}

/* ---- the records ---- */

static bool is_record(const char *name, size_t len, const char *dir,
		      const char *end)
{
	size_t a = strlen(dir), b = strlen(end);

	return name && len > a + b && memcmp(name, dir, a) == 0 &&
	       memcmp(name + len - b, end, b) == 0 &&
	       !memchr(name + a, '/', len - a);
}

static int read_weights(struct reading *r, const struct zipfile_member *m,
			const char *name, size_t len, struct err *e)
{
	static const struct {
		const char *dir, *old;
		enum param_kind kind;
	} places[] = {
		{WEIGHTS, "serialized_state_dict.", PARAM_PARAMETER},
		{CONSTANTS, "serialized_constants.", PARAM_CONSTANT},
	};

	for (size_t i = 0; i < 2; i++) {
		r->kind = places[i].kind;
		r->dir = places[i].dir;
		if (is_record(name, len, r->dir, "_config.json"))
			return read_payloads(r, m, e);
		if (is_record(name, len, r->dir, ".pt") ||
		    is_record(name, len, places[i].old, ""))
			return read_state(r, m, r->kind, NULL, e);
	}
	return 0;
}

static int read_all_weights(struct reading *r, struct err *e)
{
	char quoted[ERR_QUOTED];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < zipfile_count(r->a->zip); i++) {
		const struct zipfile_member *m = zipfile_at(r->a->zip, i);
		size_t len = 0;
		const char *name = torch_archive_name(r->a, m, &len);

		rc = name ? read_weights(r, m, name, len, e) : 0;
		if (rc < 0)
			err_wrap(e, "%s", err_quote(quoted, name, len));
	}
	return rc;
}

/* The first program is the graph; there is hardly ever a second. */
static const struct zipfile_member *find_program(const struct torch_archive *a)
{
	static const char old[] = "serialized_exported_program.json";

	for (size_t i = 0; i < zipfile_count(a->zip); i++) {
		const struct zipfile_member *m = zipfile_at(a->zip, i);
		size_t len = 0;
		const char *name = torch_archive_name(a, m, &len);

		if (is_record(name, len, "models/", ".json") ||
		    (name && len == sizeof(old) - 1 &&
		     memcmp(name, old, len) == 0))
			return m;
	}
	return NULL;
}

static int read_program(const struct torch_archive *a, struct model *m,
			struct err *e)
{
	const struct zipfile_member *member = find_program(a);
	struct json *root = NULL;
	char *text;
	size_t len;
	int rc;

	if (!member)
		return 0;
	rc = zipfile_read(a->zip, member, &text, &len, e);
	if (rc < 0)
		return rc;
	rc = json_parse(text, len, JSON_PYTHON, &root, e);
	free(text);
	if (rc == 0)
		rc = torch_program_read(m, root, e);
	json_free(root);
	return rc < 0 ? err_wrap(e, "%s", member->name) : 0;
}

static int add_config(const struct torch_archive *a, struct model *m,
		      struct err *e)
{
	int rc = torch_archive_config(a, m, "models/", ".json", e);

	if (rc == 0)
		rc = torch_archive_config(a, m, "serialized_exported_program",
					  ".json", e);
	if (rc == 0)
		rc = torch_archive_config(a, m, "extra/", "", e);
	return rc;
}

int torch_export_read(struct torch_archive *a, struct model *m, struct err *e)
{
	struct reading r = {.a = a, .m = m};
	bool ignored;
	int rc = torch_archive_head(a, m, &ignored, e);

	if (rc == 0)
		rc = read_all_weights(&r, e);
	if (rc == 0)
		rc = add_config(a, m, e);
	return rc == 0 ? read_program(a, m, e) : rc;
}
