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
/* A single number, known to be 0. */
bool tf_const_is_zero(const struct tf_make *k, uint32_t input);
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

/*
 * Several nodes in a row; what fails first stays in rc, and the rest is passed
 * over.
 */
struct tf_chain {
	struct tf_make *k;
	struct err *e;
	int rc;
	unsigned n; /* nodes so far: they are numbered */
};

struct tf_link {
	const char *type;
	int opset; /* 0: STEPS_OPSET */
	value_id in[5];
	uint32_t nin;
	struct attr attrs[3];
	uint32_t nattrs;
};

value_id tf_chain(struct tf_chain *c, const struct tf_link *l);
value_id tf_chain_1(struct tf_chain *c, const char *type, value_id a);
value_id tf_chain_2(struct tf_chain *c, const char *type, value_id a,
		    value_id b);
value_id tf_chain_cast(struct tf_chain *c, value_id v, int64_t onnx_type);
value_id tf_chain_ints(struct tf_chain *c, const int64_t *v, size_t n);
/* A number of the type that input 0 has. */
value_id tf_chain_like(struct tf_chain *c, float v);
struct attr tf_chain_list(struct tf_chain *c, const char *name,
			  const int64_t *v, size_t n);
/* The last node, which makes output 0: 1, or the error. */
int tf_chain_last(struct tf_chain *c, const struct tf_link *l);
/* The same, for an output and a name of its own. */
void tf_chain_out(struct tf_chain *c, const struct tf_link *l, value_id out,
		  const char *what);
/* An attribute that is a whole number. */
int64_t tf_int(const struct tf_make *k, const char *name, int64_t def);
/* ONNX's number of the type in an attribute; 0: none. */
int64_t tf_type_code(const struct tf_make *k, const char *name, int def);

#define TF_ONNX_INT32 6
#define TF_ONNX_INT64 7
#define TF_ONNX_BOOL 9

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
int tf_translate_index(struct tf_make *k, struct err *e);
int tf_translate_math(struct tf_make *k, struct err *e);
int tf_translate_picture(struct tf_make *k, struct err *e);
int tf_translate_shape(struct tf_make *k, struct err *e);

#endif
