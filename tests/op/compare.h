/* SPDX-License-Identifier: MIT */
/* compare - whether two tensors are the same within ONNX's tolerances. */
#ifndef TESTS_OP_COMPARE_H
#define TESTS_OP_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

struct tensor;

/* False, and why, when they differ.  only_shape: values may. */
bool tensors_agree(const struct tensor *got, const struct tensor *want,
		   bool only_shape, char *why, size_t size);

#endif
