/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/tensor.h"

/*
 * What ONNX's own runner allows; the absolute part counts against the largest
 * element, as what should be 0 may be a rounding error of that.
 */
#define RTOL 1e-3
#define ATOL 1e-7
/* One step of bfloat16: cases of ONNX 1.12 and before were cut, not rounded. */
#define RTOL_BF16 0x1p-7
/* Where runtimes round between nodes is theirs to choose: a few steps. */
#define ATOL_CHAIN 1e-3
#define RTOL_HALF 0x1p-8
#define ATOL_HALF 0x1p-7
#define ATOL_QUANTISED 0x1p-4

static bool get_float(const struct tensor *t, uint64_t i, double *out)
{
	const void *p = blob_bytes(t->data);
	uint8_t wide[16];

	switch (t->dtype) {
	case DTYPE_F32:
		*out = ((const float *)p)[i];
		return true;
	case DTYPE_F64:
		*out = ((const double *)p)[i];
		return true;
	case DTYPE_F16:
		*out = half_to_float(((const uint16_t *)p)[i]);
		return true;
	case DTYPE_BF16:
	case DTYPE_F8_E4M3FN:
	case DTYPE_F8_E5M2:
	case DTYPE_F8_E4M3FNUZ:
	case DTYPE_F8_E5M2FNUZ:
		dtype_widen(t->dtype,
			    (const uint8_t *)p + i * dtype_size(t->dtype), wide,
			    1);
		*out = *(float *)wide;
		return true;
	case DTYPE_C64:
		*out = ((const float *)p)[i];
		return true;
	case DTYPE_C128:
		*out = ((const double *)p)[i];
		return true;
	default:
		return false;
	}
}

static bool same_float(double got, double want, double rtol, double atol)
{
	if (isnan(want) || isnan(got))
		return isnan(want) && isnan(got);
	if (isinf(want) || isinf(got))
		return want == got;
	return fabs(got - want) <= atol + rtol * fabs(want);
}

static bool same_strings(const struct tensor *a, const struct tensor *b,
			 uint64_t n, char *why, size_t size)
{
	for (uint64_t i = 0; i < n; i++) {
		size_t na, nb;
		const char *x = tensor_string(a, i, &na);
		const char *y = tensor_string(b, i, &nb);

		if (na == nb && memcmp(x, y, na) == 0)
			continue;
		snprintf(why, size, "string %llu is \"%.*s\", not \"%.*s\"",
			 (unsigned long long)i, (int)na, x, (int)nb, y);
		return false;
	}
	return true;
}

static bool same_numbers(const struct tensor *a, const struct tensor *b,
			 uint64_t n, enum agreement how, char *why, size_t size)
{
	double rtol = a->dtype == DTYPE_BF16 ? RTOL_BF16
		      : how == AGREE_HALF    ? RTOL_HALF
					     : RTOL;
	double part = how == AGREE_HALF	       ? ATOL_HALF
		      : how == AGREE_QUANTISED ? ATOL_QUANTISED
		      : how == AGREE_CHAIN     ? ATOL_CHAIN
					       : ATOL;
	double atol = ATOL;
	double x, y;

	if (n == 0)
		return true;
	if (!get_float(a, 0, &x)) {
		if (a->data->size == b->data->size &&
		    memcmp(blob_bytes(a->data), blob_bytes(b->data),
			   a->data->size) == 0)
			return true;
		snprintf(why, size, "the integers differ");
		return false;
	}
	if (a->dtype == DTYPE_C64 || a->dtype == DTYPE_C128)
		n *= 2;
	for (uint64_t i = 0; i < n; i++) {
		get_float(b, i, &y);
		if (isfinite(y) && part * fabs(y) > atol)
			atol = part * fabs(y);
	}
	for (uint64_t i = 0; i < n; i++) {
		get_float(a, i, &x);
		get_float(b, i, &y);
		if (same_float(x, y, rtol, atol))
			continue;
		snprintf(why, size, "element %llu is %g, not %g",
			 (unsigned long long)i, x, y);
		return false;
	}
	return true;
}

static bool same_items(const struct tensor *a, const struct tensor *b,
		       enum agreement how, char *why, size_t size)
{
	size_t na, nb;
	const struct tensor *x = blob_get_items(a->data, &na);
	const struct tensor *y = blob_get_items(b->data, &nb);

	if (!x || !y || na != nb) {
		snprintf(why, size, "%zu items, not %zu", na, nb);
		return false;
	}
	for (size_t i = 0; i < na; i++) {
		if (!tensors_agree(&x[i], &y[i], how, why, size))
			return false;
	}
	return true;
}

bool tensors_agree(const struct tensor *got, const struct tensor *want,
		   enum agreement how, char *why, size_t size)
{
	char a[200], b[200];
	uint64_t n = 0;

	if (got->dtype != want->dtype) {
		snprintf(why, size, "type %s, not %s", dtype_name(got->dtype),
			 dtype_name(want->dtype));
		return false;
	}
	if (got->dtype >= DTYPE_SEQUENCE)
		return same_items(got, want, how, why, size);
	if (!shape_equal(&got->shape, &want->shape)) {
		shape_format(&got->shape, a, sizeof(a));
		shape_format(&want->shape, b, sizeof(b));
		snprintf(why, size, "shape [%s], not [%s]", a, b);
		return false;
	}
	shape_nelems(&got->shape, &n);
	if (how == AGREE_SHAPE)
		return true;
	return got->dtype == DTYPE_STRING
		       ? same_strings(got, want, n, why, size)
		       : same_numbers(got, want, n, how, why, size);
}
