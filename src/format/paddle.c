/* SPDX-License-Identifier: MIT */
/*
 * paddle - inference models of PaddlePaddle: a program (.pdmodel, __model__)
 * and the tensors it keeps, in one file (.pdiparams, __params__) or in a file
 * for each, of its name.  A tensor is
 *
 *	u32 version 0, u64 levels, then for each level u64 bytes and these
 *	u32 version 0, i32 bytes, a TensorDesc of so many, the elements
 *
 * In one file they are in the order of their names, which only the program
 * has.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/formats.h"
#include "wire/paddle.pb-c.h"
#include "wire/protobuf.h"

#define LEVELS_MAX 16
#define DESC_MAX 4096
/* Types of variables that are no tensors. */
#define TYPE_FEED 9
#define TYPE_FETCH 10
#define TYPE_READER 15
#define TYPE_RAW 17

static const enum dtype types[] = {
	[0] = DTYPE_BOOL,	[1] = DTYPE_I16,      [2] = DTYPE_I32,
	[3] = DTYPE_I64,	[4] = DTYPE_F16,      [5] = DTYPE_F32,
	[6] = DTYPE_F64,	[20] = DTYPE_U8,      [21] = DTYPE_I8,
	[22] = DTYPE_BF16,	[23] = DTYPE_C64,     [24] = DTYPE_C128,
	[32] = DTYPE_F8_E4M3FN, [33] = DTYPE_F8_E5M2,
};

struct name {
	struct span text;
	bool is_buffer;
};

struct program { /* names in order; borrowed from the message */
	ProtobufCMessage *msg;
	struct name *names;
	uint32_t n;
};

/* ---- tensors ---- */

static int read_desc(struct source *src, uint64_t off, uint64_t len,
		     struct tensor *t, struct err *e)
{
	ProtobufCMessage *msg = NULL;
	const Paddle__TensorDesc *d;
	int rc = protobuf_read(src, off, len, &paddle__tensor_desc__descriptor,
			       &msg, e);

	if (rc < 0)
		return rc;
	d = (const Paddle__TensorDesc *)msg;
	if (d->data_type >= 0 &&
	    (size_t)d->data_type < sizeof(types) / sizeof(types[0]))
		t->dtype = types[d->data_type];
	rc = shape_set(&t->shape, d->dims, d->n_dims, e);
	if (rc == 0 && t->dtype == DTYPE_NONE)
		rc = err_set(e, EOPNOTSUPP, "elements of type %lld",
			     (long long)d->data_type);
	protobuf_free(msg);
	return rc;
}

static int read_u64(struct source *src, uint64_t *at, size_t width,
		    uint64_t *out, struct err *e)
{
	int rc;

	*out = 0;
	rc = source_read(src, out, width, *at, e);
	*at += width;
	return rc;
}

/* Levels of detail say how sequences are cut; they are passed over. */
static int skip_levels(struct source *src, uint64_t *at, struct err *e)
{
	uint64_t version, levels, nbytes;
	int rc = read_u64(src, at, 4, &version, e);

	if (rc == 0)
		rc = read_u64(src, at, 8, &levels, e);
	if (rc == 0 && (version != 0 || levels > LEVELS_MAX))
		return err_set(e, EINVAL, "no tensor");
	for (uint64_t i = 0; rc == 0 && i < levels; i++) {
		rc = read_u64(src, at, 8, &nbytes, e);
		if (rc == 0 && nbytes > source_size(src) - *at)
			rc = err_set(e, EINVAL, "a level beyond the file");
		*at += rc == 0 ? nbytes : 0;
	}
	return rc;
}

/* The tensor at *at, which is moved behind it. */
static int read_tensor(struct source *src, uint64_t *at, struct tensor *t,
		       struct err *e)
{
	uint64_t version = 0, len = 0, nbytes;
	int rc = skip_levels(src, at, e);

	if (rc == 0)
		rc = read_u64(src, at, 4, &version, e);
	if (rc == 0)
		rc = read_u64(src, at, 4, &len, e);
	if (rc == 0 && (version != 0 || len > DESC_MAX))
		rc = err_set(e, EINVAL, "no tensor");
	if (rc == 0)
		rc = read_desc(src, *at, len, t, e);
	if (rc < 0)
		return rc;
	*at += len;
	if (!tensor_nbytes(t, &nbytes) || nbytes > source_size(src) - *at)
		return err_set(e, EINVAL, "a tensor beyond the file");
	rc = blob_file(src, *at, nbytes, &t->data, e);
	*at += nbytes;
	return rc;
}

/* Takes the data of t. */
static int add_param(struct model *m, const struct name *name, struct tensor *t,
		     struct err *e)
{
	struct param_spec spec = {.full_name = name->text, .tensor = *t};
	int rc = model_path(m, model_root(m), name->text.p, name->text.len, ".",
			    &spec.module, &spec.name, e);

	if (name->is_buffer)
		spec.kind = PARAM_BUFFER;
	if (rc < 0)
		blob_unref(t->data);
	return rc < 0 ? rc : model_param(m, &spec, NULL, e);
}

/* ---- programs ---- */

static int by_name(const void *a, const void *b)
{
	const struct span *x = &((const struct name *)a)->text;
	const struct span *y = &((const struct name *)b)->text;
	size_t n = x->len < y->len ? x->len : y->len;
	int order = memcmp(x->p, y->p, n);

	return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

static bool is_kept(const Paddle__Var *v)
{
	int64_t type = v->type ? v->type->type : 0;

	return v->persistable && v->name.len > 0 && type != TYPE_FEED &&
	       type != TYPE_FETCH && type != TYPE_READER && type != TYPE_RAW;
}

static size_t count_vars(const Paddle__Program *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_blocks; i++)
		n += p->blocks[i]->n_vars;
	return n;
}

static int list_names(struct model *m, struct program *out, struct err *e)
{
	const Paddle__Program *p = (const Paddle__Program *)out->msg;
	size_t n = count_vars(p);

	out->names = arena_array(m->arena, n + 1, sizeof(*out->names));
	if (!out->names)
		return err_nomem(e, n * sizeof(*out->names));
	for (size_t i = 0; i < p->n_blocks; i++)
		for (size_t k = 0; k < p->blocks[i]->n_vars; k++) {
			const Paddle__Var *v = p->blocks[i]->vars[k];

			if (!is_kept(v))
				continue;
			out->names[out->n++] = (struct name){
				{(const char *)v->name.data, v->name.len},
				v->has_is_parameter && !v->is_parameter};
		}
	qsort(out->names, out->n, sizeof(*out->names), by_name);
	if (p->version && model_info(m, "version", "%lld",
				     (long long)p->version->version) < 0)
		return err_nomem(e, 0);
	return 0;
}

static int read_program(struct model *m, struct source *src,
			struct program *out, struct err *e)
{
	int rc = protobuf_read(src, 0, source_size(src),
			       &paddle__program__descriptor, &out->msg, e);

	return rc < 0 ? rc : list_names(m, out, e);
}

/* ---- which files ---- */

static const char *base_name(const struct input *in)
{
	const char *slash = in->path ? strrchr(in->path, '/') : NULL;

	return slash ? slash + 1 : in->path ? in->path : "";
}

/* The other file of the two that a model is. */
static int open_other(const struct input *in, const char *ext,
		      const char *old_name, struct source **out, struct err *e)
{
	const char *base = base_name(in), *dot = strrchr(base, '.');
	char name[256];
	int n = snprintf(name, sizeof(name), "%.*s%s",
			 dot ? (int)(dot - base) : (int)strlen(base), base,
			 ext);
	int rc = -ENOENT;

	if (n > 0 && (size_t)n < sizeof(name))
		rc = input_sibling(in, name, strlen(name), out, e);
	return rc == -ENOENT
		       ? input_sibling(in, old_name, strlen(old_name), out, e)
		       : rc;
}

/* ---- one file of all tensors ---- */

static int count_tensors(struct source *src, uint32_t *out, struct err *e)
{
	uint64_t at = 0, size = source_size(src);
	int rc = 0;

	for (*out = 0; rc == 0 && at < size; ++*out) {
		struct tensor t = {.dtype = DTYPE_NONE};

		if (*out == MODEL_OBJECTS_MAX)
			return err_set(e, EFBIG, "too many tensors");
		rc = read_tensor(src, &at, &t, e);
		tensor_drop(&t);
		if (rc < 0)
			err_wrap(e, "tensor %u", *out);
	}
	return rc;
}

static int read_tensors(struct model *m, struct source *src,
			const struct program *p, struct err *e)
{
	uint64_t at = 0;
	uint32_t n = 0;
	bool has_names;
	int rc = count_tensors(src, &n, e);

	/* Names of another model would be worse than none. */
	has_names = p && p->n == n;
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		struct tensor t = {.dtype = DTYPE_NONE};
		struct name name = {.is_buffer = false};
		char own[32];

		snprintf(own, sizeof(own), "tensor_%u", i);
		name.text = (struct span){own, strlen(own)};
		rc = read_tensor(src, &at, &t, e);
		if (rc == 0)
			rc = add_param(m, has_names ? &p->names[i] : &name, &t,
				       e);
	}
	if (rc == 0 && p && !has_names &&
	    model_info(m, "names", "%u in the program, for %u tensors", p->n,
		       n) < 0)
		rc = err_nomem(e, 0);
	return rc;
}

/* ---- a file for each ---- */

static int add_file(const struct input *in, struct model *m,
		    const struct name *name, struct err *e)
{
	struct tensor t = {.dtype = DTYPE_NONE};
	struct source *src = NULL;
	uint64_t at = 0;
	int rc = input_sibling(in, name->text.p, name->text.len, &src, e);

	if (rc == 0)
		rc = read_tensor(src, &at, &t, e);
	if (rc == 0 && at != source_size(src)) {
		tensor_drop(&t);
		rc = err_set(e, EINVAL, "bytes behind the tensor");
	}
	if (rc == 0)
		rc = add_param(m, name, &t, e);
	source_unref(src);
	return rc;
}

static int read_separate(const struct input *in, struct model *m,
			 const struct program *p, struct err *e)
{
	char q[ERR_QUOTED];
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < p->n; i++) {
		rc = add_file(in, m, &p->names[i], e);
		if (rc < 0)
			err_wrap(e, "%s",
				 err_quote(q, p->names[i].text.p,
					   p->names[i].text.len));
	}
	return rc;
}

/* ---- the format ---- */

/* One block, the first of no other: index 0, parent -1. */
static bool is_program(const struct input *in)
{
	static const uint8_t block[] = {0x08, 0,    0x10, 0xff, 0xff,
					0xff, 0xff, 0xff, 0xff, 0xff,
					0xff, 0xff, 0x01};
	struct cursor c = cursor_make(in->head, in->nhead, 0);
	const uint8_t *p;

	if (!in->file || cursor_u8(&c) != 0x0a)
		return false;
	cursor_varint(&c);
	p = cursor_bytes(&c, sizeof(block));
	return p && memcmp(p, block, sizeof(block)) == 0;
}

static bool is_tensors(const struct input *in)
{
	static const uint8_t zeros[16];

	return in->file && in->nhead > 24 &&
	       memcmp(in->head, zeros, sizeof(zeros)) == 0 &&
	       in->head[16] >= 2 && in->head[17] < 0x10 && in->head[18] == 0 &&
	       in->head[19] == 0 && in->head[20] == 0x08;
}

/* The tensors of a program, however they are stored. */
static int read_params(const struct input *in, struct model *m,
		       const struct program *p, struct err *e)
{
	struct source *src = NULL;
	struct err why = {0};
	int rc = open_other(in, ".pdiparams", "__params__", &src, &why);

	if (rc == -ENOENT)
		return read_separate(in, m, p, e);
	if (rc < 0)
		return err_set(e, -rc, "%s", why.msg);
	rc = read_tensors(m, src, p, e);
	source_unref(src);
	return rc;
}

/* A file of tensors, or of one, which is called as the file. */
static int read_file(const struct input *in, struct model *m, struct err *e)
{
	struct program p = {.msg = NULL};
	struct source *src = NULL;
	struct err why = {0};
	uint32_t n = 0;
	int rc = open_other(in, ".pdmodel", "__model__", &src, &why);
	bool has_program = rc == 0 && read_program(m, src, &p, &why) == 0;
	struct name own = {{base_name(in), strlen(base_name(in))}, false};
	struct program alone = {.names = &own, .n = 1};

	rc = count_tensors(in->file, &n, e);
	if (rc == 0)
		rc = read_tensors(m, in->file,
				  has_program && (p.n == n || n > 1) ? &p
				  : n == 1 && own.text.len > 0	     ? &alone
								     : NULL,
				  e);
	protobuf_free(p.msg);
	source_unref(src);
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct program p = {.msg = NULL};
	struct source *src = NULL;
	int rc = 0;

	if (in->file && !is_program(in))
		return read_file(in, m, e);
	if (!in->file)
		rc = input_sibling(in, "__model__", 9, &src, e);
	if (rc == 0)
		rc = read_program(m, in->file ? in->file : src, &p, e);
	if (rc == 0)
		rc = read_params(in, m, &p, e);
	protobuf_free(p.msg);
	source_unref(src);
	return rc;
}

static int probe(const struct input *in)
{
	struct source *src = NULL;

	if (in->file)
		return is_program(in) ? 85 : is_tensors(in) ? 70 : 0;
	if (input_sibling(in, "__model__", 9, &src, NULL) < 0)
		return 0;
	source_unref(src);
	return 60;
}

const struct format format_paddle = {
	.name = "paddle",
	.title = "PaddlePaddle inference models (.pdmodel, .pdiparams)",
	.probe = probe,
	.read = read,
};
