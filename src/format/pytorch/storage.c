/* SPDX-License-Identifier: MIT */
/*
 * storage - blocks of elements that tensors are views of.
 *
 * A persistent id names one: ("storage", class, key, location, numel), and in
 * the legacy stream a sixth item, a view of the storage itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/source.h"

#include "format/pytorch/pytorch.h"

static const struct {
	const char *storage; /* class, without "Storage" */
	const char *dtype;   /* torch.X */
	enum dtype type;
} types[] = {
	{"Float", "float32", DTYPE_F32},
	{"Double", "float64", DTYPE_F64},
	{"Half", "float16", DTYPE_F16},
	{"BFloat16", "bfloat16", DTYPE_BF16},
	{"Byte", "uint8", DTYPE_U8},
	{"Char", "int8", DTYPE_I8},
	{"Short", "int16", DTYPE_I16},
	{"Int", "int32", DTYPE_I32},
	{"Long", "int64", DTYPE_I64},
	{"Bool", "bool", DTYPE_BOOL},
	{"ComplexFloat", "complex64", DTYPE_C64},
	{"ComplexDouble", "complex128", DTYPE_C128},
	{"QInt8", "qint8", DTYPE_I8},
	{"QUInt8", "quint8", DTYPE_U8},
	{"QInt32", "qint32", DTYPE_I32},
	{"QUInt4x2", "quint4x2", DTYPE_U4},
	{"QUInt2x4", "quint2x4", DTYPE_U2},
	{NULL, "float", DTYPE_F32},
	{NULL, "double", DTYPE_F64},
	{NULL, "half", DTYPE_F16},
	{NULL, "int", DTYPE_I32},
	{NULL, "long", DTYPE_I64},
	{NULL, "short", DTYPE_I16},
	{NULL, "complex32", DTYPE_C32},
	{NULL, "uint16", DTYPE_U16},
	{NULL, "uint32", DTYPE_U32},
	{NULL, "uint64", DTYPE_U64},
	{NULL, "float8_e4m3fn", DTYPE_F8_E4M3FN},
	{NULL, "float8_e5m2", DTYPE_F8_E5M2},
	{NULL, "float8_e4m3fnuz", DTYPE_F8_E4M3FNUZ},
	{NULL, "float8_e5m2fnuz", DTYPE_F8_E5M2FNUZ},
	{NULL, "float8_e8m0fnu", DTYPE_F8_E8M0},
};

#define NTYPES (sizeof(types) / sizeof(types[0]))

static bool is_module(const struct pickle_node *n, const char *name)
{
	size_t len = strlen(name);

	return n->module.len == len && memcmp(n->module.p, name, len) == 0;
}

bool torch_storage_dtype(const struct pickle_node *class, enum dtype *out,
			 bool *is_untyped)
{
	static const char tail[] = "Storage";
	size_t tail_len = sizeof(tail) - 1, len;

	if (!class || class->kind != PICKLE_GLOBAL ||
	    (!is_module(class, "torch") && !is_module(class, "torch.cuda") &&
	     !is_module(class, "torch.storage")) ||
	    class->name.len < tail_len)
		return false;
	len = class->name.len - tail_len;
	if (memcmp(class->name.p + len, tail, tail_len) != 0)
		return false;
	*out = DTYPE_NONE;
	*is_untyped = (len == 7 && memcmp(class->name.p, "Untyped", 7) == 0) ||
		      (len == 8 && memcmp(class->name.p, "_Untyped", 8) == 0);
	for (size_t i = 0; i < NTYPES; i++)
		if (types[i].storage && strlen(types[i].storage) == len &&
		    memcmp(types[i].storage, class->name.p, len) == 0)
			*out = types[i].type;
	return true;
}

enum dtype torch_dtype(const struct pickle_node *n)
{
	if (!n || n->kind != PICKLE_GLOBAL || !is_module(n, "torch"))
		return DTYPE_NONE;
	for (size_t i = 0; i < NTYPES; i++)
		if (strlen(types[i].dtype) == n->name.len &&
		    memcmp(types[i].dtype, n->name.p, n->name.len) == 0)
			return types[i].type;
	return DTYPE_NONE;
}

size_t torch_storage_width(enum dtype t)
{
	size_t size = dtype_size(t);

	return size > 0 ? size : 1;
}

/* Bytes that are one number for the byte order. */
static size_t swap_width(enum dtype t)
{
	size_t size = dtype_size(t);

	return dtype_info(t)->class == CLASS_COMPLEX ? size / 2 : size;
}

static int add_storage(struct torch *t, struct pickle_text key,
		       const struct torch_storage *s, struct err *e)
{
	size_t cap = t->cap ? t->cap * 2 : 64;
	struct torch_storage *list;

	if (t->nlist == t->cap) {
		list = realloc(t->list, cap * sizeof(*list));
		if (!list)
			return err_nomem(e, cap * sizeof(*list));
		t->list = list;
		t->cap = cap;
	}
	if (map_add(t->storages, key.p, key.len, t->nlist) < 0)
		return err_nomem(e, key.len);
	t->list[t->nlist++] = *s;
	return 0;
}

static int open_storage(struct torch *t, struct pickle_text key,
			const struct pickle_node *class, int64_t numel,
			struct err *e)
{
	struct torch_storage s = {.nelems = (uint64_t)numel};
	uint64_t nbytes = (uint64_t)numel;
	bool is_untyped;
	int rc;

	if (!torch_storage_dtype(class, &s.dtype, &is_untyped))
		return err_set(e, EINVAL, "a storage without a class");
	if (s.dtype == DTYPE_NONE && !is_untyped) {
		s.data = blob_fail(0, EOPNOTSUPP, "unknown type of storage");
		if (!s.data)
			return err_nomem(e, 0);
	} else {
		if (__builtin_mul_overflow(nbytes, torch_storage_width(s.dtype),
					   &nbytes))
			return err_set(e, EINVAL, "a storage too large");
		rc = t->find(t, key, nbytes, &s.data, e);
		if (rc < 0)
			return rc;
	}
	if (t->swapped && s.dtype != DTYPE_NONE && swap_width(s.dtype) > 1)
		s.data = blob_swap(s.data, swap_width(s.dtype));
	if (!s.data)
		return err_nomem(e, 0);
	rc = add_storage(t, key, &s, e);
	if (rc < 0)
		blob_unref(s.data);
	return rc;
}

/* A call of _load_from_bytes is found again by its node. */
static int nested_storage(struct torch *t, const struct pickle_node *call,
			  const struct torch_storage **out, struct err *e)
{
	struct pickle_text key;
	struct torch_storage s;
	uint64_t idx;
	char *p;
	int rc;

	key.len = sizeof(call) + 1;
	p = arena_alloc(t->arena, key.len);
	if (!p)
		return err_nomem(e, key.len);
	/* No key of a file begins with a NUL: torch writes decimal numbers. */
	memcpy(p + 1, &call, sizeof(call));
	key.p = p;
	if (!map_get(t->storages, key.p, key.len, &idx)) {
		rc = torch_nested_storage(t, pickle_arg(call, 0), &s, e);
		if (rc < 0)
			return rc;
		rc = add_storage(t, key, &s, e);
		if (rc < 0) {
			blob_unref(s.data);
			return rc;
		}
		idx = t->nlist - 1;
	}
	*out = &t->list[idx];
	return 0;
}

/* (key, offset, size) in elements: a storage that is a part of another. */
static int view_storage(struct torch *t, const struct torch_storage *root,
			const struct pickle_node *view,
			const struct torch_storage **out, struct err *e)
{
	const struct pickle_node *off = pickle_item(view, 1);
	const struct pickle_node *len = pickle_item(view, 2);
	size_t size = torch_storage_width(root->dtype);
	struct torch_storage s = {.dtype = root->dtype};
	struct pickle_text key = {NULL, sizeof(view) + 1};
	uint64_t start, nbytes;
	char *p;
	int rc;

	if (!off || off->kind != PICKLE_INT || off->i < 0 || !len ||
	    len->kind != PICKLE_INT || len->i < 0 ||
	    __builtin_mul_overflow((uint64_t)off->i, size, &start) ||
	    __builtin_mul_overflow((uint64_t)len->i, size, &nbytes) ||
	    start > root->data->size || nbytes > root->data->size - start)
		return err_set(e, EINVAL,
			       "a storage that views beyond another");
	p = arena_alloc(t->arena, key.len);
	if (!p)
		return err_nomem(e, key.len);
	memcpy(p + 1, &view, sizeof(view));
	key.p = p;
	s.nelems = (uint64_t)len->i;
	s.data = blob_slice(blob_ref(root->data), start, nbytes);
	if (!s.data)
		return err_nomem(e, nbytes);
	rc = add_storage(t, key, &s, e);
	if (rc < 0)
		blob_unref(s.data);
	else
		*out = &t->list[t->nlist - 1];
	return rc;
}

/* Keys are texts; those of torch.package are numbers. */
static int get_key(struct torch *t, const struct pickle_node *n,
		   struct pickle_text *out, struct err *e)
{
	char number[24];

	if (n && n->kind == PICKLE_INT) {
		int len = snprintf(number, sizeof(number), "%lld",
				   (long long)n->i);

		out->p = arena_strndup(t->arena, number, (size_t)len);
		out->len = (size_t)len;
		return out->p ? 0 : err_nomem(e, sizeof(number));
	}
	if (!n || n->kind != PICKLE_STRING)
		return err_set(e, EINVAL, "a storage without a key");
	*out = n->s;
	return 0;
}

int torch_find_storage(struct torch *t, const struct pickle_node *persid,
		       const struct torch_storage **out, struct err *e)
{
	const struct pickle_node *id, *numel, *view;
	struct pickle_text key;
	uint64_t idx;
	int rc;

	if (pickle_is_call(persid, "torch.storage", "_load_from_bytes"))
		return nested_storage(t, persid, out, e);
	/* Some writers put the tuple itself where its id belongs. */
	if (!persid ||
	    (persid->kind != PICKLE_PERSID && persid->kind != PICKLE_TUPLE))
		return err_set(e, EINVAL, "no storage");
	id = persid->kind == PICKLE_TUPLE ? persid : persid->callable;
	numel = pickle_item(id, 4);
	if (!pickle_is_string(pickle_item(id, 0), "storage") || !numel ||
	    numel->kind != PICKLE_INT || numel->i < 0)
		return err_set(e, EINVAL, "a storage without key or size");
	rc = get_key(t, pickle_item(id, 2), &key, e);
	if (rc < 0)
		return rc;
	if (!map_get(t->storages, key.p, key.len, &idx)) {
		rc = open_storage(t, key, pickle_item(id, 1), numel->i, e);
		if (rc < 0)
			return rc;
		idx = t->nlist - 1;
	}
	view = pickle_item(id, 5);
	if (view && view->kind == PICKLE_TUPLE)
		return view_storage(t, &t->list[idx], view, out, e);
	*out = &t->list[idx];
	return 0;
}

void torch_finish(struct torch *t)
{
	for (size_t i = 0; i < t->nlist; i++)
		blob_unref(t->list[i].data);
	free(t->list);
	map_free(t->storages);
	source_unref(t->src);
}
