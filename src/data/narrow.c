/* SPDX-License-Identifier: MIT */
/* narrow - the way back from the type .npy holds; see tensor_narrow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/tensor.h"

static void narrow_floats(enum dtype to, const float *src, uint8_t *dst,
			  uint64_t n)
{
	unsigned bits = 8u * dtype_info(to)->block_bytes /
			dtype_info(to)->block_elems;
	uint64_t i;

	for (i = 0; i < n; i++) {
		if (to == DTYPE_BF16) {
			uint16_t v = bf16_from_float(src[i]);

			memcpy(dst + 2 * i, &v, sizeof(v));
		} else if (bits == 8) {
			dst[i] = smallfloat_from_float(to, src[i], false);
		} else { /* float4: two in a byte, low nibble first */
			uint8_t v = smallfloat_from_float(to, src[i], true);

			dst[i / 2] |= (uint8_t)((v & 15) << (i % 2 * 4));
		}
	}
}

/* Little-endian bit fields of 4 or 2 bits. */
static bool narrow_ints(enum dtype to, const int8_t *src, uint8_t *dst,
			uint64_t n)
{
	bool is_signed = dtype_info(to)->class == CLASS_INT;
	unsigned per_byte = dtype_info(to)->block_elems;
	unsigned bits = 8 / per_byte;
	int lo = is_signed ? -(1 << (bits - 1)) : 0;
	int hi = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
	uint64_t i;

	for (i = 0; i < n; i++) {
		int v = is_signed ? src[i] : (uint8_t)src[i];

		if (v < lo || v > hi)
			return false;
		dst[i / per_byte] |= (uint8_t)((v & ((1 << bits) - 1))
					       << (i % per_byte * bits));
	}
	return true;
}

static bool can_narrow(enum dtype from, enum dtype to)
{
	const struct dtype_info *info = dtype_info(to);

	return from != to && info->npy == from && info->class != CLASS_QUANT &&
	       (info->block_bytes == 1 || to == DTYPE_BF16);
}

int tensor_narrow(struct tensor *t, enum dtype to, struct err *e)
{
	uint64_t nelems, nbytes;
	struct blob *b;
	void *src, *dst;
	int rc;

	if (!can_narrow(t->dtype, to))
		return 0;
	if (!shape_nelems(&t->shape, &nelems) ||
	    !dtype_nbytes(to, nelems, &nbytes))
		return err_set(e, EINVAL, "the number of elements overflows");
	src = malloc(t->data->size ? t->data->size : 1);
	b = blob_mem(nbytes, &dst);
	rc = src && b ? blob_read_full(t->data, src, t->data->size, 0, e)
		      : err_nomem(e, nbytes);
	if (rc == 0 && t->dtype == DTYPE_F32)
		narrow_floats(to, src, dst, nelems);
	else if (rc == 0 && !narrow_ints(to, src, dst, nelems))
		rc = err_set(e, EINVAL, "a number does not fit into %s",
			     dtype_name(to));
	free(src);
	if (rc < 0) {
		blob_unref(b);
		return rc;
	}
	blob_unref(t->data);
	t->data = b;
	t->dtype = to;
	return 0;
}
