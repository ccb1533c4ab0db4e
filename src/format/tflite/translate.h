/* SPDX-License-Identifier: MIT */
/* translate - making operators of ONNX out of one of TensorFlow Lite's. */
#ifndef FORMAT_TFLITE_TRANSLATE_H
#define FORMAT_TFLITE_TRANSLATE_H

#include "format/tflite/tflite.h"

struct tflite_make {
	struct model *m;
	struct graph *g;
	struct flatbuf *f;
	struct flatbuf_table options; /* of the operator */
	struct span type;	      /* "CONV_2D" */
	struct span name;	      /* of the first output */
	struct module *module;
	const value_id *in, *out;
	uint32_t nin, nout;
};

/* 1: done, 0: there is nothing like it. */
int tflite_translate(struct tflite_make *k, struct err *e);

#endif
