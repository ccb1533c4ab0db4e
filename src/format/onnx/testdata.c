/* SPDX-License-Identifier: MIT */
/* testdata - see modelfs/onnx_tensor.h. */
#include "modelfs/onnx_tensor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"

#include "format/onnx/onnx.h"
#include "wire/protobuf.h"

static int read_sequence(struct onnx_files *f, const Onnx__Sequence *s,
			 struct tensor *out, struct err *e);
static int read_optional(struct onnx_files *f, const Onnx__Optional *o,
			 struct tensor *out, struct err *e);

static int wrap_items(enum dtype dtype, struct tensor *items, size_t n,
		      struct tensor *out, struct err *e)
{
	int64_t dim = (int64_t)n;

	*out = (struct tensor){
		.dtype = dtype,
		.shape = shape_of(1, &dim),
		.data = blob_items(items, n),
	};
	return out->data ? 0 : err_nomem(e, n * sizeof(*items));
}

static size_t count_items(const Onnx__Sequence *s)
{
	return s->n_tensor_values + s->n_sequence_values + s->n_optional_values;
}

static int read_item(struct onnx_files *f, const Onnx__Sequence *s, size_t i,
		     struct tensor *out, struct err *e)
{
	if (i < s->n_tensor_values)
		return onnx_tensor(f, s->tensor_values[i], out, e);
	i -= s->n_tensor_values;
	if (i < s->n_sequence_values)
		return read_sequence(f, s->sequence_values[i], out, e);
	i -= s->n_sequence_values;
	return read_optional(f, s->optional_values[i], out, e);
}

/* Recursion ends with the depth that protobuf_read allows. */
static int read_sequence(struct onnx_files *f, const Onnx__Sequence *s,
			 struct tensor *out, struct err *e)
{
	size_t n = count_items(s), made = 0;
	struct tensor *items;
	int rc = 0;

	if (n > ONNX_TENSOR_ITEMS_MAX)
		return err_set(e, EFBIG, "a sequence of %zu", n);
	items = calloc(n + 1, sizeof(*items));
	if (!items)
		return err_nomem(e, n * sizeof(*items));
	for (; rc == 0 && made < n; made += rc == 0)
		rc = read_item(f, s, made, &items[made], e);
	if (rc == 0)
		rc = wrap_items(DTYPE_SEQUENCE, items, n, out, e);
	while (made-- > 0)
		tensor_drop(&items[made]);
	free(items);
	return rc;
}

static int read_optional(struct onnx_files *f, const Onnx__Optional *o,
			 struct tensor *out, struct err *e)
{
	struct tensor item = {.dtype = DTYPE_NONE};
	size_t n = 1;
	int rc = 0;

	if (o->tensor_value)
		rc = onnx_tensor(f, o->tensor_value, &item, e);
	else if (o->sequence_value)
		rc = read_sequence(f, o->sequence_value, &item, e);
	else if (o->optional_value)
		rc = read_optional(f, o->optional_value, &item, e);
	else
		n = 0;
	if (rc == 0)
		rc = wrap_items(DTYPE_OPTIONAL, &item, n, out, e);
	tensor_drop(&item);
	return rc;
}

static const ProtobufCMessageDescriptor *descriptor_of(enum dtype want)
{
	if (want == DTYPE_SEQUENCE)
		return &onnx__sequence__descriptor;
	if (want == DTYPE_OPTIONAL)
		return &onnx__optional__descriptor;
	return &onnx__tensor__descriptor;
}

static int convert(struct onnx_files *f, enum dtype want,
		   const ProtobufCMessage *msg, struct tensor *out,
		   ProtobufCBinaryData *name, struct err *e)
{
	if (want == DTYPE_SEQUENCE) {
		*name = ((const Onnx__Sequence *)msg)->name;
		return read_sequence(f, (const Onnx__Sequence *)msg, out, e);
	}
	if (want == DTYPE_OPTIONAL) {
		*name = ((const Onnx__Optional *)msg)->name;
		return read_optional(f, (const Onnx__Optional *)msg, out, e);
	}
	*name = ((const Onnx__Tensor *)msg)->name;
	return onnx_tensor(f, (const Onnx__Tensor *)msg, out, e);
}

int onnx_tensor_read(struct source *src, enum dtype want, struct tensor *out,
		     char **name, struct err *e)
{
	struct onnx_files files = {.src = src};
	ProtobufCMessage *msg = NULL;
	ProtobufCBinaryData own = {0};
	struct tensor made = {.dtype = DTYPE_NONE};
	int rc;

	if (source_size(src) > ONNX_TENSOR_FILE_MAX)
		return err_set(e, EFBIG, "the file is too large");
	rc = protobuf_read(src, 0, source_size(src), descriptor_of(want), &msg,
			   e);
	if (rc < 0)
		return rc;
	rc = convert(&files, want, msg, &made, &own, e);
	if (rc == 0)
		rc = blob_status(made.data, e);
	if (rc == 0 && name) {
		*name = strndup(own.len ? (char *)own.data : "", own.len);
		if (!*name)
			rc = err_nomem(e, own.len);
	}
	onnx_files_close(&files);
	protobuf_free(msg);
	if (rc < 0)
		tensor_drop(&made);
	else
		*out = made;
	return rc;
}
