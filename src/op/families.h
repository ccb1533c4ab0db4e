/* SPDX-License-Identifier: MIT */
/* families - every array of operators; each ends with an empty entry. */
#ifndef OP_FAMILIES_H
#define OP_FAMILIES_H

#include "modelfs/op.h"

/* clang-format off */
#define OP_FAMILIES(X)							       \
	X(activation)							       \
	X(attention)							       \
	X(batchnorm)							       \
	X(binary)							       \
	X(cast)								       \
	X(constant)							       \
	X(control)							       \
	X(conv)								       \
	X(deform)							       \
	X(einsum)							       \
	X(flex)							       \
	X(gather)							       \
	X(image)							       \
	X(layout)							       \
	X(loss)								       \
	X(matmul)							       \
	X(ml)								       \
	X(ml_label)							       \
	X(ml_map)							       \
	X(ml_more)							       \
	X(ml_svm)						       \
	X(ml_tree)							       \
	X(ms_attention)							       \
	X(ms_blocks)						       \
	X(ms_decode)							       \
	X(ms_fused)							       \
	X(ms_grouped)							       \
	X(ms_more)							       \
	X(ms_nhwc)						       \
	X(ms_quant)							       \
	X(newest)							       \
	X(norm)								       \
	X(pooling)							       \
	X(qproduct)							       \
	X(quantize)							       \
	X(random)							       \
	X(recurrent)							       \
	X(reduce)							       \
	X(resize)							       \
	X(sample)							       \
	X(scan)								       \
	X(scatter)							       \
	X(search)							       \
	X(sequence)							       \
	X(sequence_map)							       \
	X(shape)							       \
	X(signal)							       \
	X(slice)							       \
	X(softmax)							       \
	X(string)							       \
	X(string_match)						       \
	X(tf_array)							       \
	X(tf_audio)							       \
	X(tf_blocks)							       \
	X(tf_complex)							       \
	X(tf_control)							       \
	X(tf_list)							       \
	X(tf_list_read)						       \
	X(tf_math)							       \
	X(training)							       \
	X(unary)							       \
	X(vision)							       \
	X(where)
/* clang-format on */

#define DECLARE(name) extern const struct op ops_##name[];
OP_FAMILIES(DECLARE)
#undef DECLARE

#endif
