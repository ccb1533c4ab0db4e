/* SPDX-License-Identifier: MIT */
/*
 * caffe - weights of Caffe (.caffemodel): a list of layers, each with its type
 * and its blobs, which have no names; they get those that Caffe's own layers
 * go by.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/formats.h"
#include "wire/caffe.pb-c.h"
#include "wire/protobuf.h"

static struct span span_of(const ProtobufCBinaryData *b)
{
	return (struct span){b->len ? (const char *)b->data : "", b->len};
}

/* ---- types ---- */

/* Those of before 2014 are numbers (V1LayerParameter.LayerType). */
static const char *const old_types[] = {
	[1] = "Accuracy", [2] = "BNLL",
	[3] = "Concat",	  [4] = "Convolution",
	[5] = "Data",	  [6] = "Dropout",
	[8] = "Flatten",  [14] = "InnerProduct",
	[15] = "LRN",	  [17] = "Pooling",
	[18] = "ReLU",	  [19] = "Sigmoid",
	[20] = "Softmax", [21] = "SoftmaxWithLoss",
	[22] = "Split",	  [23] = "TanH",
	[25] = "Eltwise", [26] = "Power",
	[33] = "Slice",	  [34] = "MVN",
	[35] = "AbsVal",  [39] = "Deconvolution",
};

static const struct {
	const char *type;
	const char *names[3];
} known[] = {
	{"BatchNorm", {"mean", "variance", "scale_factor"}},
	{"Bias", {"bias"}},
	{"Convolution", {"weight", "bias"}},
	{"ConvolutionDepthwise", {"weight", "bias"}},
	{"Deconvolution", {"weight", "bias"}},
	{"DepthwiseConvolution", {"weight", "bias"}},
	{"Embed", {"weight", "bias"}},
	{"InnerProduct", {"weight", "bias"}},
	{"Normalize", {"scale"}},
	{"PReLU", {"slope"}},
	{"Scale", {"weight", "bias"}},
};

static bool is_type(struct span type, const char *name)
{
	return type.len == strlen(name) && memcmp(type.p, name, type.len) == 0;
}

/* The i-th blob's name; its number where there is none. */
static const char *blob_name(struct span type, size_t i, char buf[24])
{
	for (size_t k = 0; k < sizeof(known) / sizeof(known[0]) && i < 3; k++)
		if (is_type(type, known[k].type) && known[k].names[i])
			return known[k].names[i];
	snprintf(buf, 24, "%zu", i);
	return buf;
}

/* ---- blobs ---- */

static int read_shape(const Caffe__Blob *b, struct shape *out, struct err *e)
{
	int64_t old[] = {b->num, b->channels, b->height, b->width};

	if (!b->shape)
		return shape_set(out, old, 4, e);
	return shape_set(out, b->shape->dim, b->shape->n_dim, e);
}

/* A blob without numbers was saved by its shape alone. */
static int read_data(struct source *src, const Caffe__Blob *b,
		     struct tensor *out, struct err *e)
{
	uint64_t nbytes = 0;
	int rc = read_shape(b, &out->shape, e);

	if (rc < 0)
		return rc;
	out->dtype = b->n_double_off ? DTYPE_F64 : DTYPE_F32;
	if (b->n_double_off)
		return protobuf_blob(src, b->double_off, b->double_len,
				     b->n_double_off, &out->data, e);
	if (b->n_data_off)
		return protobuf_blob(src, b->data_off, b->data_len,
				     b->n_data_off, &out->data, e);
	if (!tensor_nbytes(out, &nbytes))
		return err_set(e, EINVAL, "the shape is too large");
	out->data = blob_fail(nbytes, ENODATA, "the file has no numbers");
	return out->data ? 0 : err_nomem(e, 0);
}

static int add_blob(struct model *m, struct source *src, struct module *mod,
		    struct span layer, const char *name, const Caffe__Blob *b,
		    struct err *e)
{
	struct param_spec spec = {.module = mod};
	struct err why = {0};
	struct text full = {0};
	int rc = read_data(src, b, &spec.tensor, &why);

	if (rc < 0 && rc != -ENOMEM && m->lenient) {
		spec.tensor.data = blob_fail(0, EIO, why.msg);
		rc = spec.tensor.data ? 0 : -ENOMEM;
	}
	if (rc < 0)
		return err_set(e, -rc, "%s", why.msg);
	text_add_bytes(&full, layer.p, layer.len);
	text_printf(&full, "/%s", name);
	spec.full_name = (struct span){full.p, full.len};
	spec.name = (struct span){name, strlen(name)};
	if (full.failed) {
		blob_unref(spec.tensor.data);
		rc = err_nomem(e, layer.len);
	} else {
		rc = model_param(m, &spec, NULL, e);
	}
	text_free(&full);
	return rc;
}

/* ---- layers ---- */

static int add_layer(struct model *m, struct source *src, struct span name,
		     struct span type, Caffe__Blob **blobs, size_t n,
		     struct err *e)
{
	char q[ERR_QUOTED], number[24];
	struct module *mod;
	struct span leaf;
	int rc = model_path(m, model_root(m), name.p, name.len, "/", &mod,
			    &leaf, e);

	if (rc == 0)
		rc = model_module(m, mod, leaf.p, leaf.len, &mod, e);
	if (rc == 0 && type.len > 0 && model_type(m, mod, type.p, type.len) < 0)
		rc = err_nomem(e, type.len);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add_blob(m, src, mod, name, blob_name(type, i, number),
			      blobs[i], e);
	return rc < 0 ? err_wrap(e, "layer %s", err_quote(q, name.p, name.len))
		      : 0;
}

static int add_old_layer(struct model *m, struct source *src,
			 const Caffe__OldLayer *l, struct err *e)
{
	size_t count = sizeof(old_types) / sizeof(old_types[0]);
	struct span type = {"", 0};

	if (l->type > 0 && (size_t)l->type < count && old_types[l->type])
		type = (struct span){old_types[l->type],
				     strlen(old_types[l->type])};
	return add_layer(m, src, span_of(&l->name), type, l->blobs, l->n_blobs,
			 e);
}

static int read_net(struct model *m, struct source *src, const Caffe__Net *net,
		    struct err *e)
{
	char q[ERR_QUOTED];
	int rc = 0;

	if (net->name.len > 0 &&
	    model_info(m, "name", "%s",
		       err_quote(q, span_of(&net->name).p, net->name.len)) < 0)
		return err_nomem(e, 0);
	for (size_t i = 0; rc == 0 && i < net->n_layers; i++)
		rc = add_old_layer(m, src, net->layers[i], e);
	for (size_t i = 0; rc == 0 && i < net->n_layer; i++)
		rc = add_layer(m, src, span_of(&net->layer[i]->name),
			       span_of(&net->layer[i]->type),
			       net->layer[i]->blobs, net->layer[i]->n_blobs, e);
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	ProtobufCMessage *msg = NULL;
	int rc = protobuf_read(in->file, 0, source_size(in->file),
			       &caffe__net__descriptor, &msg, e);

	if (rc == 0)
		rc = read_net(m, in->file, (const Caffe__Net *)msg, e);
	protobuf_free(msg);
	return rc;
}

/* ---- probe ---- */

enum { /* keys of a net */
       KEY_NAME = 0x0a,
       KEY_OLD_LAYER = 0x12,
       KEY_INPUT = 0x1a,
       KEY_INPUT_DIM = 0x20,
       KEY_INPUT_DIMS = 0x22,
       KEY_INPUT_SHAPE = 0x42,
       KEY_LAYER = 0x322
};

/* A layer begins with its name, an old one with what goes into it. */
static bool is_layer(uint64_t key, struct cursor *c)
{
	uint64_t len = cursor_varint(c);
	uint8_t first = cursor_u8(c);

	if (c->bad || len < 2)
		return false;
	return key == KEY_LAYER
		       ? first == 0x0a
		       : first == 0x12 || first == 0x1a || first == 0x22;
}

static int probe(const struct input *in)
{
	struct cursor c = cursor_make(in->head, in->nhead, 0);

	if (!in->file)
		return 0;
	for (int i = 0; i < 64 && !c.bad; i++) {
		uint64_t key = cursor_varint(&c);

		switch (key) {
		case KEY_LAYER:
		case KEY_OLD_LAYER:
			return is_layer(key, &c) ? 60 : 0;
		case KEY_INPUT_DIM:
			cursor_varint(&c);
			break;
		case KEY_NAME:
		case KEY_INPUT:
		case KEY_INPUT_DIMS:
		case KEY_INPUT_SHAPE:
			cursor_skip(&c, cursor_varint(&c));
			break;
		default:
			return 0;
		}
	}
	return 0;
}

const struct format format_caffe = {
	.name = "caffe",
	.title = "Caffe weights (.caffemodel)",
	.probe = probe,
	.read = read,
};
