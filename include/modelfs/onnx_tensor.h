/* SPDX-License-Identifier: MIT */
/*
 * onnx_tensor - ONNX's files of test data: one TensorProto, SequenceProto or
 * OptionalProto (onnx.proto, onnx-data.proto), as people upload them.
 */
#ifndef MODELFS_ONNX_TENSOR_H
#define MODELFS_ONNX_TENSOR_H

#include "modelfs/tensor.h"

struct err;
struct source;

/* Longest file and largest sequence that is read. */
#define ONNX_TENSOR_FILE_MAX ((uint64_t)4 << 30)
#define ONNX_TENSOR_ITEMS_MAX 65536

/*
 * Reads such a file.  want says which message it is, as the file does not:
 * DTYPE_SEQUENCE, DTYPE_OPTIONAL, or anything else for a tensor.  The data
 * refers to the source, which it keeps.  *name is the tensor's own name,
 * malloc'd, "" where it has none; name may be NULL.  EINVAL when malformed,
 * EOPNOTSUPP for an element type we do not know, EPERM for external data.
 */
int onnx_tensor_read(struct source *src, enum dtype want, struct tensor *out,
		     char **name, struct err *e);

#endif
