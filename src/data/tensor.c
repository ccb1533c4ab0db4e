/* SPDX-License-Identifier: MIT */
/* tensor - shapes and tensors, see modelfs/tensor.h. */
#include "modelfs/tensor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

int shape_set(struct shape *s, const int64_t *dims, size_t rank, struct err *e)
{
	int64_t n = 1;
	size_t i;

	if (rank > SHAPE_RANK_MAX)
		return err_set(e, EOPNOTSUPP, "rank %zu is more than %d", rank,
			       SHAPE_RANK_MAX);
	for (i = 0; i < rank; i++) {
		if (dims[i] < 0)
			return err_set(e, EINVAL, "extent %lld is negative",
				       (long long)dims[i]);
		/* An extent of 0 must not hide that the others overflow. */
		if (dims[i] > 0 && __builtin_mul_overflow(n, dims[i], &n))
			return err_set(e, EINVAL,
				       "the number of elements overflows");
	}
	*s = shape_of((int32_t)rank, dims);
	return 0;
}

struct shape shape_of(int32_t rank, const int64_t *dims)
{
	struct shape s = {.rank = rank};

	if (rank > 0)
		memcpy(s.dims, dims, (size_t)rank * sizeof(*dims));
	return s;
}

struct shape shape_unknown(void)
{
	return (struct shape){.rank = -1};
}

bool shape_is_known(const struct shape *s)
{
	int32_t i;

	if (s->rank < 0)
		return false;
	for (i = 0; i < s->rank; i++)
		if (s->dims[i] < 0)
			return false;
	return true;
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
	if (a->rank != b->rank)
		return false;
	return a->rank <= 0 || memcmp(a->dims, b->dims,
				      (size_t)a->rank * sizeof(a->dims[0])) == 0;
}

bool shape_nelems(const struct shape *s, uint64_t *out)
{
	int64_t n = 1;
	int32_t i;

	if (!shape_is_known(s))
		return false;
	for (i = 0; i < s->rank; i++)
		if (s->dims[i] == 0) {
			*out = 0;
			return true;
		}
	for (i = 0; i < s->rank; i++)
		if (__builtin_mul_overflow(n, s->dims[i], &n))
			return false;
	*out = (uint64_t)n;
	return true;
}

void shape_strides(const struct shape *s, int64_t *strides)
{
	int64_t n = 1;
	int32_t i;

	for (i = s->rank - 1; i >= 0; i--) {
		strides[i] = n;
		n *= s->dims[i] > 0 ? s->dims[i] : 1;
	}
}

size_t shape_format(const struct shape *s, char *buf, size_t size)
{
	size_t len = 0;
	int32_t i;

	buf[0] = '\0';
	for (i = 0; i < s->rank && len < size; i++) {
		const char *sep = i ? " " : "";

		if (s->dims[i] < 0)
			len += (size_t)snprintf(buf + len, size - len, "%s?",
						sep);
		else
			len += (size_t)snprintf(buf + len, size - len,
						"%s%lld", sep,
						(long long)s->dims[i]);
	}
	return len < size ? len : size - 1;
}

bool tensor_nbytes(const struct tensor *t, uint64_t *out)
{
	uint64_t nelems;

	if (!shape_nelems(&t->shape, &nelems))
		return false;
	if (dtype_info(t->dtype)->block_bytes == 0)
		return false;
	return dtype_nbytes(t->dtype, nelems, out);
}

int tensor_check(const struct tensor *t, struct err *e)
{
	char shape[256];
	uint64_t want;

	if (!t->data || dtype_info(t->dtype)->block_bytes == 0)
		return 0;
	if (!tensor_nbytes(t, &want))
		return err_set(e, EINVAL, "the number of bytes overflows");
	if (want == t->data->size)
		return 0;
	shape_format(&t->shape, shape, sizeof(shape));
	return err_set(e, EINVAL, "%s of shape [%s] is %llu bytes, not %llu",
		       dtype_name(t->dtype), shape, (unsigned long long)want,
		       (unsigned long long)t->data->size);
}

struct tensor tensor_ref(const struct tensor *t)
{
	struct tensor copy = *t;

	if (copy.data)
		blob_ref(copy.data);
	return copy;
}

void tensor_drop(struct tensor *t)
{
	blob_unref(t->data);
	*t = (struct tensor){0};
}
