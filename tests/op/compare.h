/* SPDX-License-Identifier: MIT */
/* compare - whether two tensors are the same within ONNX's tolerances. */
#ifndef TESTS_OP_COMPARE_H
#define TESTS_OP_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

struct tensor;

enum agreement {
	AGREE_EXACTLY,	 /* but for ONNX's tolerances */
	AGREE_CHAIN,	 /* rounding adds up over several nodes */
	AGREE_HALF,	 /* 16-bit floats came in between */
	AGREE_QUANTISED, /* a rounding error may have become a whole step */
	AGREE_SHAPE	 /* values may differ */
};

/* False, and why, when they differ. */
bool tensors_agree(const struct tensor *got, const struct tensor *want,
		   enum agreement how, char *why, size_t size);

#endif
