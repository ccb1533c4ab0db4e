/* SPDX-License-Identifier: MIT */
/*
 * script_v1 - TorchScript of PyTorch 1.0 to 1.2: model.json is a ModelDef
 * (caffe2/proto/torch.proto) as protobuf writes it in JSON
 *
 *	{"mainModule": {"name", "submodules": [...], "torchscriptArena": {"key"},
 *	  "parameters": [{"name", "tensorId", "isBuffer"}], "attributes": [...]},
 *	 "tensors": [{"dims", "strides", "offset", "dataType",
 *	  "data": {"key": "tensors/0"}}]}
 *
 * Its 64-bit numbers are strings.  What the record of a tensor holds starts
 * with the storage, of which the tensor is a view.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/text.h"

#include "format/pytorch/archive.h"
#include "format/pytorch/pytorch.h"
#include "wire/json.h"
#include "wire/zip.h"

struct reading {
	struct torch_archive *a;
	struct model *m;
	const struct json *tensors;
	struct text name; /* full name of the module that is read */
};

/* Numbers of caffe2's TensorProto.DataType, and their names. */
static const struct {
	const char *name;
	int number;
	enum dtype type;
} types[] = {
	{"FLOAT", 1, DTYPE_F32},    {"INT32", 2, DTYPE_I32},
	{"BOOL", 5, DTYPE_BOOL},    {"UINT8", 6, DTYPE_U8},
	{"INT8", 7, DTYPE_I8},	    {"UINT16", 8, DTYPE_U16},
	{"INT16", 9, DTYPE_I16},    {"INT64", 10, DTYPE_I64},
	{"FLOAT16", 12, DTYPE_F16}, {"DOUBLE", 13, DTYPE_F64},
};

static bool get_int(const struct json *v, int64_t *out)
{
	const char *s;
	char *end;
	size_t len;

	if (json_get_int(v, out))
		return true;
	s = json_get_string(v, &len);
	if (!s || len == 0 || len > 20 || strspn(s, "-0123456789") != len)
		return false;
	errno = 0;
	*out = strtoll(s, &end, 10);
	return errno == 0 && *end == '\0';
}

static int get_ints(const struct json *v, int64_t out[SHAPE_RANK_MAX])
{
	size_t n = json_count(v);

	if (n > SHAPE_RANK_MAX)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!get_int(json_item(v, i), &out[i]) || out[i] < 0)
			return -1;
	return (int)n;
}

static enum dtype get_type(const struct json *v)
{
	size_t len;
	const char *s = json_get_string(v, &len);
	int64_t number = s ? -1 : 1;

	json_get_int(v, &number);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (s ? strcmp(types[i].name, s) == 0
		      : types[i].number == number)
			return types[i].type;
	return DTYPE_NONE;
}

/* The record of a tensor. */
static int open_record(const struct reading *r, const struct json *tensor,
		       struct blob **out, struct err *e)
{
	const struct zipfile_member *m;
	size_t len = 0;
	const char *key = json_get_string(
		json_member(json_member(tensor, "data"), "key"), &len);
	int rc;

	if (!key)
		return err_set(e, EINVAL, "a tensor without data");
	rc = torch_archive_find(r->a, "", key, len, &m, e);
	if (rc == 0 && !m)
		rc = err_set(e, EINVAL, "there is no record of its data");
	return rc < 0 ? rc : zipfile_data(r->a->zip, m, out, e);
}

static int read_tensor(const struct reading *r, const struct json *v,
		       struct tensor *out, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX], offset = 0;
	int rank = get_ints(json_member(v, "dims"), dims);
	struct tensor t = {.dtype = get_type(json_member(v, "dataType"))};
	struct blob *data;
	int rc;

	if (rank < 0 || get_ints(json_member(v, "strides"), strides) != rank)
		return err_set(e, EINVAL, "a tensor of no known shape");
	if (json_member(v, "offset") &&
	    (!get_int(json_member(v, "offset"), &offset) || offset < 0))
		return err_set(e, EINVAL, "an offset that is no number");
	rc = shape_set(&t.shape, dims, (size_t)rank, e);
	if (rc < 0)
		return rc;
	if (t.dtype == DTYPE_NONE) {
		t.data = blob_fail(0, EOPNOTSUPP, "unknown element type");
		*out = t;
		return t.data ? 0 : err_nomem(e, 0);
	}
	rc = open_record(r, v, &data, e);
	if (rc == 0)
		rc = torch_view_data(data, strides, (uint64_t)offset, &t, e);
	if (rc == 0)
		*out = t;
	return rc;
}

static int add_parameter(struct reading *r, struct module *mod,
			 const struct json *v, struct err *e)
{
	struct param_spec spec = {.module = mod};
	size_t base = r->name.len;
	const char *name =
		json_get_string(json_member(v, "name"), &spec.name.len);
	bool is_buffer = false;
	int64_t id = 0;
	int rc;

	if (!name || (json_member(v, "tensorId") &&
		      !get_int(json_member(v, "tensorId"), &id)))
		return err_set(e, EINVAL, "a parameter without name or tensor");
	spec.name.p = name;
	text_add(&r->name, base ? "." : "");
	text_add_bytes(&r->name, name, spec.name.len);
	if (r->name.failed)
		return err_nomem(e, spec.name.len);
	if (id < 0 || (uint64_t)id >= json_count(r->tensors))
		rc = err_set(e, EINVAL, "there is no tensor %lld",
			     (long long)id);
	else
		rc = read_tensor(r, json_item(r->tensors, (size_t)id),
				 &spec.tensor, e);
	if (rc < 0)
		return err_wrap(e, "%s", r->name.p);
	json_get_bool(json_member(v, "isBuffer"), &is_buffer);
	spec.kind = is_buffer ? PARAM_BUFFER : PARAM_PARAMETER;
	spec.full_name = (struct span){r->name.p, r->name.len};
	if (spec.tensor.dtype == DTYPE_NONE)
		spec.dtype_text = "unknown";
	rc = model_param(r->m, &spec, NULL, e);
	r->name.len = base;
	r->name.p[base] = '\0';
	return rc;
}

/* As deep as JSON_DEPTH_MAX allows. */
static int read_module(struct reading *r, struct module *mod,
		       const struct json *v, struct err *e)
{
	const struct json *params = json_member(v, "parameters");
	const struct json *subs = json_member(v, "submodules");
	size_t base = r->name.len;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < json_count(params); i++)
		rc = add_parameter(r, mod, json_item(params, i), e);
	for (size_t i = 0; rc == 0 && i < json_count(subs); i++) {
		const struct json *sub = json_item(subs, i);
		struct module *child;
		size_t len = 0;
		const char *name =
			json_get_string(json_member(sub, "name"), &len);

		if (!name)
			return err_set(e, EINVAL, "a module without a name");
		text_add(&r->name, base ? "." : "");
		text_add_bytes(&r->name, name, len);
		rc = r->name.failed
			     ? err_nomem(e, len)
			     : model_module(r->m, mod, name, len, &child, e);
		if (rc == 0)
			rc = read_module(r, child, sub, e);
		r->name.len = base;
	}
	return rc;
}

static int read_model(struct reading *r, const struct zipfile_member *m,
		      struct err *e)
{
	struct json *root = NULL;
	char *text;
	size_t len;
	int rc = zipfile_read(r->a->zip, m, &text, &len, e);

	if (rc < 0)
		return rc;
	rc = json_parse(text, len, 0, &root, e);
	free(text);
	if (rc < 0)
		return err_wrap(e, "model.json");
	r->tensors = json_member(root, "tensors");
	rc = read_module(r, model_root(r->m), json_member(root, "mainModule"),
			 e);
	json_free(root);
	return rc;
}

int torch_script_v1_read(struct torch_archive *a, struct model *m,
			 struct err *e)
{
	struct reading r = {.a = a, .m = m};
	const struct zipfile_member *member;
	bool ignored;
	int rc = torch_archive_head(a, m, &ignored, e);

	if (rc == 0)
		rc = torch_archive_find(a, "", "model.json", 10, &member, e);
	if (rc == 0)
		rc = torch_archive_config(a, m, "code/", ".py", e);
	if (rc == 0)
		rc = torch_archive_config(a, m, "extra/", "", e);
	if (rc == 0 && torch_archive_has(a, "model.json"))
		rc = read_model(&r, member, e);
	text_free(&r.name);
	return rc;
}
