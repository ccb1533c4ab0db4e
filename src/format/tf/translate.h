/* SPDX-License-Identifier: MIT */
/* translate - making operators of ONNX out of one of TensorFlow's. */
#ifndef FORMAT_TF_TRANSLATE_H
#define FORMAT_TF_TRANSLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/tf/body.h"

struct tf_make {
	struct tf_body *body;
	const struct tf_call *call;
};

struct tf_new {		  /* a node of ONNX */
	const char *what; /* its name beneath the call's; NULL: the call's */
	const char *type;
	int opset; /* 0: TF_OPSET */
	const value_id *in, *out;
	const struct attr *attrs; /* texts and numbers live in the arena */
	uint32_t nin, nout, nattrs;
};

int tf_node(struct tf_make *k, const struct tf_new *n, struct err *e);
/* A value beneath the call's name. */
int tf_inner(struct tf_make *k, const char *what, value_id *out, struct err *e);
/* A node without attributes that makes one inner value; b may be NO_VALUE. */
int tf_step(struct tf_make *k, const char *what, const char *type, value_id a,
	    value_id b, value_id *out, struct err *e);

int tf_ints(struct tf_make *k, const char *name, const int64_t *v, size_t n,
	    struct attr *out, struct err *e);
/* name and v are constant texts. */
struct attr tf_int(const char *name, int64_t v);
struct attr tf_float(const char *name, float v);
struct attr tf_string(const char *name, const char *v);

bool tf_const_ints(const struct tf_make *k, uint32_t input, int64_t *out,
		   size_t max, size_t *n);
bool tf_flag(const struct tf_make *k, const char *name);
float tf_number(const struct tf_make *k, const char *name, float def);

/* 1: done, 0: not theirs, or not in a form that ONNX has. */
int tf_translate_array(struct tf_make *k, struct err *e);
int tf_translate_image(struct tf_make *k, struct err *e);

#endif
