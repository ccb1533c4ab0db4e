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

/* What making has come to: 1, or the error. */
static inline int tf_done(int rc)
{
	return rc < 0 ? rc : 1;
}

/* The last node of a call: its outputs from these inputs. */
int tf_finish(struct tf_make *k, const char *what, const char *type, int opset,
	      const value_id *in, uint32_t nin, const struct attr *attrs,
	      uint32_t nattrs, struct err *e);

struct tf_maker {
	const char *op;
	int (*make)(struct tf_make *k, struct err *e);
};

/* By the maker of the call's operator; 0: there is none among these. */
int tf_make_with(const struct tf_maker *makers, size_t n, struct tf_make *k,
		 struct err *e);

/* 1: done, 0: not theirs, or not in a form that ONNX has. */
int tf_translate_array(struct tf_make *k, struct err *e);
int tf_translate_image(struct tf_make *k, struct err *e);
int tf_translate_math(struct tf_make *k, struct err *e);
int tf_translate_shape(struct tf_make *k, struct err *e);

#endif
