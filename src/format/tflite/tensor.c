/* SPDX-License-Identifier: MIT */
/*
 * tensor - tensors of a subgraph.  One whose buffer has bytes is a parameter;
 * scale and zero point of a quantised one are parameters beside it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/tflite/tflite.h"

#define STRINGS_MAX ((uint64_t)64 << 20)

enum { /* fields */
       TENSOR_SHAPE = 0,
       TENSOR_TYPE = 1,
       TENSOR_BUFFER = 2,
       TENSOR_NAME = 3,
       TENSOR_QUANTIZATION = 4,
       TENSOR_IS_VARIABLE = 5,
       TENSOR_SIGNATURE = 7,
       TENSOR_HAS_RANK = 8,
       QUANTIZATION_SCALE = 2,
       QUANTIZATION_ZERO_POINT = 3,
       QUANTIZATION_DIMENSION = 6,
       BUFFER_DATA = 0,
       BUFFER_OFFSET = 1,
       BUFFER_SIZE = 2
};

static const enum dtype types[] = {
	DTYPE_F32,    DTYPE_F16,       DTYPE_I32,     DTYPE_U8,	  DTYPE_I64,
	DTYPE_STRING, DTYPE_BOOL,      DTYPE_I16,     DTYPE_C64,  DTYPE_I8,
	DTYPE_F64,    DTYPE_C128,      DTYPE_U64,     DTYPE_NONE, DTYPE_NONE,
	DTYPE_U32,    DTYPE_U16,       DTYPE_I4,      DTYPE_BF16, DTYPE_I2,
	DTYPE_U4,     DTYPE_F8_E4M3FN, DTYPE_F8_E5M2,
};

enum dtype tflite_dtype(int64_t code)
{
	return code >= 0 && (size_t)code < sizeof(types) / sizeof(types[0])
		       ? types[code]
		       : DTYPE_NONE;
}

/* ---- buffers ---- */

int tflite_buffer(struct tflite *t, uint32_t idx, uint64_t *off, uint64_t *len,
		  struct err *e)
{
	struct flatbuf_table b;
	struct flatbuf_vector v;
	uint64_t size = source_size(t->src);

	*off = *len = 0;
	if (idx >= t->buffers.n)
		return err_set(e, EINVAL, "buffer %u of %u", idx, t->buffers.n);
	b = flatbuf_at(t->f, &t->buffers, idx);
	v = flatbuf_vector(t->f, &b, BUFFER_DATA, 1);
	*off = v.pos;
	*len = v.n;
	/* Files beyond 2 GiB keep the bytes behind the FlatBuffer. */
	if (v.n == 0) {
		*off = flatbuf_uint(t->f, &b, BUFFER_OFFSET, 8, 0);
		*len = flatbuf_uint(t->f, &b, BUFFER_SIZE, 8, 0);
		if (*off <= 1 || *len <= 1)
			*off = *len = 0;
	}
	if (*off > size || *len > size - *off)
		return err_set(e, EINVAL, "buffer %u is beyond the file", idx);
	return tflite_check(t, e);
}

/* ---- types and shapes ---- */

static int read_shape(struct tflite *t, struct tflite_tensor *x, struct err *e)
{
	struct flatbuf_vector v =
		flatbuf_vector(t->f, &x->table, TENSOR_SHAPE, 4);
	struct flatbuf_vector sig =
		flatbuf_vector(t->f, &x->table, TENSOR_SIGNATURE, 4);

	if (v.n > SHAPE_RANK_MAX)
		return err_set(e, EOPNOTSUPP, "%u dimensions", v.n);
	x->type.shape.rank = (int32_t)v.n;
	for (uint32_t i = 0; i < v.n; i++) {
		int64_t d = flatbuf_int_at(t->f, &v, i, 4);
		bool varies =
			sig.n == v.n && flatbuf_int_at(t->f, &sig, i, 4) == -1;

		x->type.shape.dims[i] =
			d < 0 || (varies && !x->has_data) ? DIM_UNKNOWN : d;
	}
	return tflite_check(t, e);
}

/* Values of a graph need names of their own. */
static int read_name(struct tflite_graph *g, struct tflite_tensor *x,
		     uint32_t i, struct err *e)
{
	char made_up[32];
	struct span name;
	struct text full = {0};
	int rc = tflite_text(g->t, &x->table, TENSOR_NAME, &name, e);

	if (rc < 0)
		return rc;
	if (name.len == 0) {
		name.len = (size_t)snprintf(made_up, sizeof(made_up),
					    "tensor_%u", i);
		name.p = made_up;
	}
	text_add_bytes(&full, g->prefix.p, g->prefix.len);
	text_add_bytes(&full, name.p, name.len);
	if (full.failed)
		return err_nomem(e, name.len);
	rc = tf_copy(&g->t->tf, (struct span){full.p, full.len}, &x->name, e);
	text_free(&full);
	return rc;
}

static uint32_t count_scales(struct tflite *t, const struct tflite_tensor *x)
{
	struct flatbuf_table q =
		flatbuf_sub(t->f, &x->table, TENSOR_QUANTIZATION);

	return flatbuf_vector(t->f, &q, QUANTIZATION_SCALE, 4).n;
}

static int read_tensor(struct tflite_graph *g, struct tflite_tensor *x,
		       uint32_t i, struct err *e)
{
	struct tflite *t = g->t;
	uint64_t off, len;
	int rc;

	x->value = NO_VALUE;
	x->role = TFLITE_NO_ROLE;
	x->type_code = (int)flatbuf_int(t->f, &x->table, TENSOR_TYPE, 1, 0);
	x->type.dtype = tflite_dtype(x->type_code);
	x->buffer =
		(uint32_t)flatbuf_uint(t->f, &x->table, TENSOR_BUFFER, 4, 0);
	x->is_variable =
		flatbuf_uint(t->f, &x->table, TENSOR_IS_VARIABLE, 1, 0);
	x->has_rank = flatbuf_uint(t->f, &x->table, TENSOR_HAS_RANK, 1, 0);
	x->nscales = count_scales(t, x);
	rc = tflite_buffer(t, x->buffer, &off, &len, e);
	x->has_data = len > 0;
	if (rc == 0)
		rc = read_name(g, x, i, e);
	return rc < 0 ? rc : read_shape(t, x, e);
}

int tflite_tensors(struct tflite_graph *g, struct err *e)
{
	struct tflite *t = g->t;
	struct flatbuf_vector v =
		flatbuf_vector(t->f, &g->table, TFLITE_TENSORS, 4);
	int rc = tflite_check(t, e);

	if (rc < 0)
		return rc;
	g->tensors = arena_array(t->tf.m->arena, v.n + 1u, sizeof(*g->tensors));
	if (!g->tensors)
		return err_nomem(e, v.n * sizeof(*g->tensors));
	g->ntensors = v.n;
	for (uint32_t i = 0; rc == 0 && i < v.n; i++) {
		g->tensors[i].table = flatbuf_at(t->f, &v, i);
		rc = read_tensor(g, &g->tensors[i], i, e);
		if (rc < 0)
			err_wrap(e, "tensor %u", i);
	}
	return rc;
}

/* ---- strings: n, n + 1 offsets from the start of the buffer, bytes ---- */

static int take_strings(const uint8_t *p, size_t len, struct string_list *l,
			struct err *e)
{
	struct cursor c = cursor_make(p, len, 0);
	uint32_t n = cursor_u32(&c), at;

	if (!cursor_fits(&c, (uint64_t)n + 1, 4))
		return err_set(e, EIO, "%u strings in %zu bytes", n, len);
	at = cursor_u32(&c);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t end = cursor_u32(&c);

		if (end < at || end > len)
			return err_set(e, EIO, "string %u beyond its buffer",
				       i);
		if (string_list_add(l, (const char *)p + at, end - at) < 0)
			return err_nomem(e, end - at);
		at = end;
	}
	return 0;
}

static int read_strings(struct blob *stored, struct blob **out, struct err *e)
{
	size_t len = (size_t)stored->size;
	struct string_list *l = string_list_new();
	uint8_t *p = malloc(len + 1);
	int rc = l && p ? 0 : err_nomem(e, len);

	if (rc == 0)
		rc = blob_read_full(stored, p, len, 0, e);
	if (rc == 0)
		rc = take_strings(p, len, l, e);
	free(p);
	if (rc < 0) {
		string_list_free(l);
		return rc;
	}
	*out = string_list_finish(l);
	return *out ? 0 : err_nomem(e, len);
}

/* ---- parameters ---- */

/* Listed where its elements are no whole bytes. */
static int make_sparse(struct tflite *t, const struct tflite_tensor *x,
		       struct blob *stored, struct blob **out, struct err *e)
{
	struct err why = {0};
	int rc = tflite_sparse(t, x, stored, out, &why);

	if (rc == -EOPNOTSUPP) {
		*out = blob_fail(0, EOPNOTSUPP, why.msg);
		rc = *out ? 0 : err_nomem(e, 0);
	} else if (rc < 0) {
		*e = why;
	}
	return rc;
}

static int make_data(struct tflite *t, const struct tflite_tensor *x,
		     struct blob **out, struct err *e)
{
	uint64_t off, len;
	struct blob *stored;
	int rc = tflite_buffer(t, x->buffer, &off, &len, e);

	if (rc == 0 && x->type.dtype == DTYPE_NONE) {
		*out = blob_fail(len, EOPNOTSUPP, "unknown element type");
		return *out ? 0 : err_nomem(e, 0);
	}
	if (rc == 0)
		rc = blob_file(t->src, off, len, &stored, e);
	if (rc == 0 && flatbuf_sub(t->f, &x->table, TFLITE_SPARSITY).pos != 0)
		return make_sparse(t, x, stored, out, e);
	if (rc < 0 || x->type.dtype != DTYPE_STRING) {
		if (rc == 0)
			*out = stored;
		return rc;
	}
	rc = len > STRINGS_MAX ? err_set(e, EFBIG, "too many strings")
			       : read_strings(stored, out, e);
	blob_unref(stored);
	return rc;
}

/* One number per channel, or one for all; EINVAL where that is wrong. */
static int check_quantization(const struct tflite_tensor *x, uint32_t n,
			      int64_t axis, struct err *e)
{
	const struct shape *s = &x->type.shape;

	if (n <= 1)
		return 0;
	/* Converters give a bias the axis of its kernel. */
	if (s->rank == 1)
		axis = 0;
	if (axis < 0 || axis >= s->rank || s->dims[axis] != n)
		return err_set(e, EINVAL, "%u scales along axis %lld", n,
			       (long long)axis);
	return 0;
}

static int add_numbers(struct tflite *t, const struct tflite_tensor *x,
		       const char *what, const struct flatbuf_vector *v,
		       enum dtype dtype, struct err *e)
{
	struct tensor n = {.dtype = dtype,
			   .shape = shape_of(1, (const int64_t[]){v->n})};
	struct param_spec spec = {.kind = PARAM_CONSTANT};
	struct text full = {0}, leaf = {0};
	int rc =
		blob_file(t->src, v->pos, v->n * dtype_size(dtype), &n.data, e);

	if (rc < 0)
		return rc;
	text_printf(&full, "%s.%s", x->name.p, what);
	text_printf(&leaf, "%s.%s", x->param->name, what);
	spec.module = x->param->module;
	spec.tensor = n;
	spec.full_name = (struct span){full.p ? full.p : "", full.len};
	spec.name = (struct span){leaf.p ? leaf.p : "", leaf.len};
	if (full.failed || leaf.failed) {
		blob_unref(n.data);
		rc = err_nomem(e, x->name.len);
	} else {
		rc = model_param(t->tf.m, &spec, NULL, e);
	}
	text_free(&full);
	text_free(&leaf);
	return rc;
}

int tflite_quantization(struct tflite *t, const struct tflite_tensor *x,
			struct tflite_quantization *out, struct err *e)
{
	struct flatbuf_table q =
		flatbuf_sub(t->f, &x->table, TENSOR_QUANTIZATION);
	struct flatbuf_vector scale =
		flatbuf_vector(t->f, &q, QUANTIZATION_SCALE, 4);
	struct flatbuf_vector zero =
		flatbuf_vector(t->f, &q, QUANTIZATION_ZERO_POINT, 8);
	float *s;
	int64_t *z;
	int rc;

	out->n = scale.n;
	out->axis = flatbuf_int(t->f, &q, QUANTIZATION_DIMENSION, 4, 0);
	if (!flatbuf_charge(t->f, 16 * (uint64_t)scale.n))
		return tflite_check(t, e);
	s = arena_array(t->tf.m->arena, scale.n + 1u, sizeof(*s));
	z = arena_array(t->tf.m->arena, scale.n + 1u, sizeof(*z));
	if (!s || !z)
		return err_nomem(e, scale.n * sizeof(*z));
	flatbuf_bytes(t->f, scale.pos, s, scale.n * sizeof(*s));
	for (uint32_t i = 0; i < scale.n; i++) {
		z[i] = i < zero.n    ? flatbuf_int_at(t->f, &zero, i, 8)
		       : zero.n == 1 ? flatbuf_int_at(t->f, &zero, 0, 8)
				     : 0;
	}
	out->scale = s;
	out->zero_point = z;
	rc = check_quantization(x, scale.n, out->axis, e);
	return rc < 0 ? rc : tflite_check(t, e);
}

static int add_quantization(struct tflite *t, const struct tflite_tensor *x,
			    struct err *e)
{
	struct flatbuf_table q =
		flatbuf_sub(t->f, &x->table, TENSOR_QUANTIZATION);
	struct flatbuf_vector scale =
		flatbuf_vector(t->f, &q, QUANTIZATION_SCALE, 4);
	struct flatbuf_vector zero =
		flatbuf_vector(t->f, &q, QUANTIZATION_ZERO_POINT, 8);
	int64_t axis = flatbuf_int(t->f, &q, QUANTIZATION_DIMENSION, 4, 0);
	struct text key = {0};
	int rc = tflite_check(t, e);

	if (rc == 0)
		rc = check_quantization(x, scale.n, axis, e);
	if (rc == 0 && scale.n > 0)
		rc = add_numbers(t, x, "scale", &scale, DTYPE_F32, e);
	if (rc == 0 && zero.n > 0)
		rc = add_numbers(t, x, "zero_point", &zero, DTYPE_I64, e);
	if (rc < 0 || scale.n <= 1)
		return rc;
	text_printf(&key, "%s.quantized_dimension", x->param->name);
	rc = key.failed ? -ENOMEM
			: model_attr(t->tf.m, x->param->module, key.p, "%lld",
				     (long long)axis);
	text_free(&key);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

static int add_param(struct tflite *t, struct tflite_tensor *x, struct err *e)
{
	struct tensor data = x->type;
	struct param_spec spec = {.kind = PARAM_PARAMETER};
	struct err why = {0};
	struct model *m = t->tf.m;
	char buf[32];
	int rc = make_data(t, x, &data.data, &why);

	if (rc < 0 && rc != -ENOMEM && m->lenient) {
		data.data = blob_fail(0, EIO, why.msg);
		rc = data.data ? 0 : -ENOMEM;
	}
	if (rc < 0)
		return err_set(e, -rc, "%s", why.msg);
	for (int32_t i = 0; i < data.shape.rank; i++) {
		if (data.shape.dims[i] >= 0)
			continue;
		blob_unref(data.data);
		return err_set(e, EINVAL, "an extent is negative");
	}
	spec.tensor = data;
	spec.full_name = x->name;
	if (data.dtype == DTYPE_NONE)
		spec.dtype_text = tf_dtype_text(-x->type_code, buf);
	rc = tf_place(&t->tf, x->path, &spec.module, &spec.name, e);
	if (rc < 0) {
		blob_unref(data.data);
		return rc;
	}
	rc = model_param(m, &spec, &x->param, e);
	if (rc < 0)
		return rc;
	rc = add_quantization(t, x, &why);
	if (rc < 0 && (rc == -ENOMEM || !m->lenient))
		return err_set(e, -rc, "%s", why.msg);
	return 0;
}

/*
 * Where values were fused their names are joined by ';', and the last one is
 * the layer's: "a/Relu;b/Conv2D" as a bias goes to "b/Conv2D.bias".
 */
static int find_path(struct tflite *t, struct tflite_tensor *x, struct err *e)
{
	const char *last = memrchr(x->name.p, ';', x->name.len);
	struct text path = {0};
	int rc;

	x->path = x->name;
	if (!last)
		return tf_name_add(&t->tf, x->path, e);
	text_add_bytes(&path, last + 1,
		       x->name.len - (size_t)(last + 1 - x->name.p));
	if (x->role == 2)
		text_add(&path, ".bias");
	else if (x->role == 1)
		text_add(&path, ".weights");
	else
		text_add(&path, ".constant");
	rc = path.failed ? err_nomem(e, x->name.len)
			 : tf_copy(&t->tf, (struct span){path.p, path.len},
				   &x->path, e);
	text_free(&path);
	return rc == 0 ? tf_name_add(&t->tf, x->path, e) : rc;
}

int tflite_params(struct tflite_graph *g, struct err *e)
{
	char q[ERR_QUOTED];
	int rc = tflite_roles(g, e);

	for (uint32_t i = 0; rc == 0 && i < g->ntensors; i++) {
		struct tflite_tensor *x = &g->tensors[i];

		if (x->has_data)
			rc = find_path(g->t, x, e);
	}
	for (uint32_t i = 0; rc == 0 && i < g->ntensors; i++) {
		struct tflite_tensor *x = &g->tensors[i];

		if (!x->has_data)
			continue;
		rc = add_param(g->t, x, e);
		if (rc < 0)
			err_wrap(e, "%s", err_quote(q, x->name.p, x->name.len));
	}
	return rc;
}
