/* SPDX-License-Identifier: MIT */
/*
 * sparse - SparseTensorProto: values [n] and indices, [n] into the flat tensor
 * or [n][rank], become a tensor that is as large as dims say.
 */
#include <errno.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/onnx/onnx.h"

static int join(const Onnx__SparseTensor *proto, const struct tensor *values,
		const struct tensor *indices, struct tensor *out, struct err *e)
{
	int rc = shape_set(&out->shape, proto->dims, proto->n_dims, e);

	if (rc < 0)
		return rc;
	if (indices->dtype != DTYPE_I64 || values->shape.rank != 1 ||
	    (indices->shape.rank != 1 &&
	     (indices->shape.rank != 2 ||
	      indices->shape.dims[1] != out->shape.rank)))
		return err_set(e, EINVAL, "a sparse tensor's indices");
	out->dtype = values->dtype;
	return blob_sparse(blob_ref(values->data), blob_ref(indices->data),
			   dtype_size(values->dtype), &out->shape,
			   indices->shape.rank == 2, &out->data, e);
}

int onnx_sparse(struct onnx_files *f, const Onnx__SparseTensor *proto,
		struct tensor *out, struct err *e)
{
	struct tensor values = {.dtype = DTYPE_NONE};
	struct tensor indices = {.dtype = DTYPE_NONE};
	struct tensor made = {.dtype = DTYPE_NONE};
	struct err why = {0};
	int rc;

	if (!proto->values || !proto->indices)
		return err_set(e, EINVAL, "a sparse tensor without parts");
	rc = onnx_tensor(f, proto->values, &values, e);
	if (rc == 0)
		rc = onnx_tensor(f, proto->indices, &indices, e);
	if (rc == 0)
		rc = join(proto, &values, &indices, &made, &why);
	/* Its parts can still be looked at. */
	if (rc == -EOPNOTSUPP) {
		made.data = blob_fail(0, EOPNOTSUPP, why.msg);
		rc = made.data ? 0 : err_nomem(e, sizeof(why));
	} else if (why.code && e) {
		*e = why;
	}
	tensor_drop(&values);
	tensor_drop(&indices);
	if (rc < 0)
		tensor_drop(&made);
	else
		*out = made;
	return rc;
}
