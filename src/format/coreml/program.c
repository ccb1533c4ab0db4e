/* SPDX-License-Identifier: MIT */
/*
 * program - programs of Core ML (MIL): constants of operators.  Most of their
 * numbers are in a file of their own (MILBlob, version 2):
 *
 *	0	u32 count, u32 version, reserved up to 64
 *	at	u32 0xdeadbeef, u32 type, u64 bytes, u64 where they begin
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/coreml/coreml.h"
#include "wire/protobuf.h"

#define ENTRY_BYTES 24
#define SENTINEL 0xdeadbeefu

/* ---- types ---- */

static const struct {
	int64_t code;
	enum dtype dtype;
} types[] = {
	{1, DTYPE_BOOL}, {10, DTYPE_F16},	{11, DTYPE_F32},
	{12, DTYPE_F64}, {13, DTYPE_BF16},	{21, DTYPE_I8},
	{22, DTYPE_I16}, {23, DTYPE_I32},	{24, DTYPE_I64},
	{25, DTYPE_I4},	 {31, DTYPE_U8},	{32, DTYPE_U16},
	{33, DTYPE_U32}, {34, DTYPE_U64},	{35, DTYPE_U4},
	{36, DTYPE_U2},	 {40, DTYPE_F8_E4M3FN}, {41, DTYPE_F8_E5M2},
};

static int read_type(const Coreml__Value *v, struct tensor *t, struct err *e)
{
	const Coreml__TensorType *type = v->type ? v->type->tensortype : NULL;

	if (!type || type->n_dimensions > SHAPE_RANK_MAX)
		return err_set(e, EINVAL, "a constant that is no tensor");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].code == type->datatype)
			t->dtype = types[i].dtype;
	t->shape.rank = (int32_t)type->n_dimensions;
	for (size_t i = 0; i < type->n_dimensions; i++) {
		const Coreml__Constant *d = type->dimensions[i]->constant;

		if (!d || d->size > INT64_MAX)
			return err_set(e, EINVAL, "an extent of a constant");
		t->shape.dims[i] = (int64_t)d->size;
	}
	return 0;
}

/* ---- the file of weights ---- */

/* "@model_path/weights/weight.bin", from the folder of the message. */
static int open_weights(struct coreml *k, struct span name, struct err *e)
{
	static const char start[] = "@model_path/";
	size_t skip = strlen(start);
	struct text path = {0};
	int rc;

	if (k->weights_name && strlen(k->weights_name) == name.len &&
	    memcmp(k->weights_name, name.p, name.len) == 0)
		return k->weights ? 0 : -ENOENT;
	if (name.len <= skip || memcmp(name.p, start, skip) != 0)
		return err_set(e, EPERM, "weights outside of the model");
	source_unref(k->weights);
	free(k->weights_name);
	k->weights = NULL;
	k->weights_name = strndup(name.p, name.len);
	text_add(&path, k->folder);
	text_add_bytes(&path, name.p + skip, name.len - skip);
	rc = path.failed || !k->weights_name
		     ? err_nomem(e, name.len)
		     : input_sibling(k->in, path.p, path.len, &k->weights, e);
	text_free(&path);
	return rc;
}

static int read_entry(struct coreml *k, uint64_t at, struct blob **out,
		      struct err *e)
{
	uint8_t entry[ENTRY_BYTES];
	struct cursor c = cursor_make(entry, sizeof(entry), at);
	uint64_t off, len;
	int rc = source_read(k->weights, entry, sizeof(entry), at, e);

	if (rc < 0)
		return rc;
	if (cursor_u32(&c) != SENTINEL)
		return err_set(e, EINVAL, "no weights at %llu",
			       (unsigned long long)at);
	cursor_skip(&c, 4);
	len = cursor_u64(&c);
	off = cursor_u64(&c);
	return blob_file(k->weights, off, len, out, e);
}

/* A file that is not there is that of its tensors alone. */
static int read_blob(struct coreml *k, const Coreml__BlobFile *f,
		     const struct tensor *t, struct blob **out, struct err *e)
{
	struct err why = {0};
	uint64_t nbytes = 0;
	int rc = open_weights(k, coreml_span(&f->filename), &why);

	if (rc == 0)
		return read_entry(k, f->offset, out, e);
	if (rc == -ENOMEM)
		return err_nomem(e, 0);
	tensor_nbytes(t, &nbytes);
	*out = blob_fail(nbytes, -rc, "the file of weights");
	return *out ? 0 : err_nomem(e, 0);
}

/* ---- constants ---- */

/* 0 and no data for what is of no use as a parameter. */
static int read_value(struct coreml *k, const Coreml__Value *v,
		      struct tensor *t, struct err *e)
{
	const Coreml__TensorValue *i =
		v->immediatevalue ? v->immediatevalue->tensor : NULL;
	int rc;

	if (!v->blobfilevalue && !(i && (i->floats || i->bytes)))
		return 0;
	rc = read_type(v, t, e);
	if (rc < 0)
		return rc;
	if (v->blobfilevalue && t->dtype == DTYPE_NONE) {
		t->data = blob_fail(0, EOPNOTSUPP, "unknown element type");
		return t->data ? 0 : err_nomem(e, 0);
	}
	if (v->blobfilevalue)
		return read_blob(k, v->blobfilevalue, t, &t->data, e);
	if (t->shape.rank == 0)
		return 0; /* an epsilon, an axis, … */
	if (i->floats && t->dtype == DTYPE_F32)
		return protobuf_blob(k->src, i->floats->values_off,
				     i->floats->values_len,
				     i->floats->n_values_off, &t->data, e);
	if (i->bytes && i->bytes->has_values_off)
		return blob_file(k->src, i->bytes->values_off,
				 i->bytes->values_len, &t->data, e);
	return 0;
}

static int add_constant(struct coreml *k, struct module *mod, struct span path,
			const Coreml__Operation *op,
			const Coreml__NamedValue *v, struct err *e)
{
	static const char plain[] = "const";
	struct span name = coreml_span(&op->outputs[0]->name);
	struct tensor t = {.dtype = DTYPE_NONE};
	char own[512];
	int rc = read_value(k, v->value, &t, e);

	if (rc < 0 || !t.data)
		return rc;
	/* What is decompressed while running has several. */
	if (op->type.len == strlen(plain) &&
	    memcmp(op->type.data, plain, op->type.len) == 0)
		snprintf(own, sizeof(own), "%.*s", (int)name.len, name.p);
	else
		snprintf(own, sizeof(own), "%.*s.%.*s", (int)name.len, name.p,
			 (int)v->key.len, coreml_span(&v->key).p);
	return coreml_param(k, mod, path, own, &t, e);
}

static int add_block(struct coreml *k, struct module *mod, struct span path,
		     const Coreml__Block *b, int depth, struct err *e);

static int add_operation(struct coreml *k, struct module *mod, struct span path,
			 const Coreml__Operation *op, int depth, struct err *e)
{
	char q[ERR_QUOTED];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < op->n_blocks; i++)
		rc = add_block(k, mod, path, op->blocks[i], depth + 1, e);
	if (op->n_outputs == 0 || op->outputs[0]->name.len == 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < op->n_attributes; i++) {
		if (!op->attributes[i]->value)
			continue;
		rc = add_constant(k, mod, path, op, op->attributes[i], e);
		if (rc < 0)
			err_wrap(e, "%s",
				 err_quote(q,
					   coreml_span(&op->outputs[0]->name).p,
					   op->outputs[0]->name.len));
	}
	return rc;
}

static int add_block(struct coreml *k, struct module *mod, struct span path,
		     const Coreml__Block *b, int depth, struct err *e)
{
	int rc = depth > COREML_DEPTH_MAX
			 ? err_set(e, EFBIG, "blocks are nested too deeply")
			 : 0;

	for (size_t i = 0; rc == 0 && i < b->n_operations; i++)
		rc = add_operation(k, mod, path, b->operations[i], depth, e);
	return rc;
}

/* Of several functions each has a module; of one, nothing is in front. */
int coreml_program(struct coreml *k, const Coreml__Program *p, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < p->n_functions; i++) {
		const Coreml__Function *f = p->functions[i]->value;
		struct span name = coreml_span(&p->functions[i]->key);
		struct module *mod = model_root(k->m);

		if (!f || f->n_block_specializations == 0 ||
		    !f->block_specializations[0]->value)
			continue;
		if (p->n_functions > 1)
			rc = model_module(k->m, mod, name.p, name.len, &mod, e);
		else
			name.len = 0;
		if (rc == 0)
			rc = add_block(k, mod, name,
				       f->block_specializations[0]->value, 0,
				       e);
	}
	return rc;
}
