/* SPDX-License-Identifier: MIT */
/* translate - making operators of ONNX out of one of TensorFlow's. */
#ifndef FORMAT_TF_TRANSLATE_H
#define FORMAT_TF_TRANSLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/steps.h"
#include "format/tf/body.h"

struct tf_make {
	struct steps at;
	struct tf_body *body;
	const struct tf_call *call;
};

bool tf_const_ints(const struct tf_make *k, uint32_t input, int64_t *out,
		   size_t max, size_t *n);
bool tf_flag(const struct tf_make *k, const char *name);
float tf_number(const struct tf_make *k, const char *name, float def);

/* 1: done, 0: not theirs, or not in a form that ONNX has. */
int tf_translate_array(struct tf_make *k, struct err *e);
int tf_translate_image(struct tf_make *k, struct err *e);
int tf_translate_math(struct tf_make *k, struct err *e);
int tf_translate_shape(struct tf_make *k, struct err *e);

#endif
