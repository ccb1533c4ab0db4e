/* SPDX-License-Identifier: MIT */
/*
 * weight - numbers of a layer: float32, float16, or integers of 1 to 8 bits,
 * the first in the highest bits, for a scale and a bias or a table.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/coreml/coreml.h"
#include "wire/protobuf.h"

/* ---- integers of a few bits ---- */

struct bits {
	struct blob base;
	struct blob *packed; /* owned */
	unsigned width;
};

static int bits_read(struct blob *b, void *buf, size_t len, uint64_t off,
		     struct err *e)
{
	struct bits *s = (struct bits *)b;
	uint8_t *out = buf;

	while (len > 0) {
		uint8_t packed[4096 + 1];
		size_t n = len < 4096 ? len : 4096;
		uint64_t first = off * s->width / 8;
		uint64_t last = ((off + n) * s->width + 7) / 8;
		unsigned bit = (unsigned)(off * s->width % 8);
		int rc = blob_read_full(s->packed, packed, last - first, first,
					e);

		if (rc < 0)
			return rc;
		packed[last - first] = 0;
		for (size_t i = 0; i < n; i++, bit += s->width) {
			unsigned two = (unsigned)packed[bit / 8] << 8 |
				       packed[bit / 8 + 1];

			out[i] = (uint8_t)(two >> (16 - bit % 8 - s->width) &
					   ((1u << s->width) - 1));
		}
		out += n;
		off += n;
		len -= n;
	}
	return 0;
}

static void bits_fini(struct blob *b)
{
	blob_unref(((struct bits *)b)->packed);
}

static const struct blob_ops bits_ops = {
	.read = bits_read,
	.fini = bits_fini,
};

/* Takes packed.  n integers of so many bits, each as a byte. */
static int unpack_bits(struct blob *packed, unsigned width, uint64_t n,
		       struct blob **out, struct err *e)
{
	struct bits *s;

	if (width == 8) {
		*out = packed;
		return 0;
	}
	if (n > UINT64_MAX / 8 || (n * width + 7) / 8 != packed->size) {
		blob_unref(packed);
		return err_set(e, EINVAL, "%llu integers of %u bits",
			       (unsigned long long)n, width);
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		blob_unref(packed);
		return err_nomem(e, sizeof(*s));
	}
	blob_init(&s->base, &bits_ops, n);
	s->packed = packed;
	s->width = width;
	*out = &s->base;
	return 0;
}

/* ---- what is stored ---- */

static int read_packed(struct coreml *k, const Coreml__Weight *w,
		       struct tensor *t, struct err *e)
{
	uint64_t bits = w->quantization ? w->quantization->numberofbits : 8;
	struct blob *packed;
	uint64_t n;
	int rc;

	bits = bits == 0 ? 8 : bits;
	if (bits > 8)
		return err_set(e, EOPNOTSUPP, "integers of %llu bits",
			       (unsigned long long)bits);
	rc = blob_file(k->src, w->raw_off, w->raw_len, &packed, e);
	if (rc < 0)
		return rc;
	t->dtype = DTYPE_U8;
	if (!shape_nelems(&t->shape, &n))
		n = w->raw_len * 8 / bits;
	return unpack_bits(packed, (unsigned)bits, n, &t->data, e);
}

static int read_numbers(struct coreml *k, const Coreml__Weight *w,
			struct tensor *t, struct err *e)
{
	if (w->n_float_off) {
		t->dtype = DTYPE_F32;
		return protobuf_blob(k->src, w->float_off, w->float_len,
				     w->n_float_off, &t->data, e);
	}
	if (w->has_float16_off) {
		t->dtype = DTYPE_F16;
		return blob_file(k->src, w->float16_off, w->float16_len,
				 &t->data, e);
	}
	if (w->has_int8_off) {
		t->dtype = DTYPE_I8;
		return blob_file(k->src, w->int8_off, w->int8_len, &t->data, e);
	}
	return read_packed(k, w, t, e);
}

/* ---- parameters ---- */

static int add_list(struct coreml *k, struct module *mod, struct span path,
		    const char *name, const char *what, const uint64_t *off,
		    const uint64_t *len, size_t n, struct err *e)
{
	struct tensor t = {.dtype = DTYPE_F32};
	char own[96];
	int rc;

	if (n == 0)
		return 0;
	snprintf(own, sizeof(own), "%s.%s", name, what);
	rc = protobuf_blob(k->src, off, len, n, &t.data, e);
	if (rc < 0)
		return rc;
	t.shape = shape_of(1, (const int64_t[]){(int64_t)(t.data->size / 4)});
	return coreml_param(k, mod, path, own, &t, e);
}

static int add_decoding(struct coreml *k, struct module *mod, struct span path,
			const char *name, const Coreml__Quantization *q,
			struct err *e)
{
	const Coreml__LinearQuantization *l = q ? q->linear : NULL;
	const Coreml__LookUpTable *t = q ? q->table : NULL;
	int rc = 0;

	if (l)
		rc = add_list(k, mod, path, name, "scale", l->scale_off,
			      l->scale_len, l->n_scale_off, e);
	if (rc == 0 && l)
		rc = add_list(k, mod, path, name, "bias", l->bias_off,
			      l->bias_len, l->n_bias_off, e);
	if (rc == 0 && t)
		rc = add_list(k, mod, path, name, "table", t->float_off,
			      t->float_len, t->n_float_off, e);
	return rc;
}

int coreml_weight(struct coreml *k, struct module *mod, struct span path,
		  const char *name, const Coreml__Weight *w,
		  const struct shape *shape, struct err *e)
{
	struct tensor t = {.dtype = DTYPE_NONE, .shape = *shape};
	int rc;

	if (!w->n_float_off && !w->has_float16_off && !w->has_raw_off &&
	    !w->has_int8_off)
		return 0; /* nothing in it */
	rc = read_numbers(k, w, &t, e);
	if (rc < 0)
		return err_wrap(e, "%s", name);
	if (t.shape.rank < 0) {
		size_t size = dtype_size(t.dtype);

		t.shape = shape_of(
			1, (const int64_t[]){(int64_t)(t.data->size / size)});
	}
	rc = coreml_param(k, mod, path, name, &t, e);
	return rc < 0 ? rc
		      : add_decoding(k, mod, path, name, w->quantization, e);
}
