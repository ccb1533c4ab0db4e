/* SPDX-License-Identifier: MIT */
/*
 * translate - making operators of ONNX out of one of TensorFlow Lite's.
 *
 *	translate.c	which function makes which; arithmetic
 *	options.c	what operators are told, for those that stay as they are
 *	quantize.c	quantised values around operators on floats
 *	dynamic.c	floats by integers
 *	images.c	convolution, pooling, resizing
 *	matrices.c	products
 *	lstm.c		LSTM
 *	svdf.c		SVDF
 *	arrays.c	operators that move numbers
 *	more.c		operators that are a few of ONNX's
 *	control.c	operators that run other subgraphs
 */
#ifndef FORMAT_TFLITE_TRANSLATE_H
#define FORMAT_TFLITE_TRANSLATE_H

#include "format/steps.h"
#include "format/tflite/tflite.h"

/* Extents, or pairs of them. */
#define TFLITE_INTS_MAX (2 * SHAPE_RANK_MAX)

enum tflite_activation {
	TFLITE_NONE,
	TFLITE_RELU,
	TFLITE_RELU_1,
	TFLITE_RELU_6,
	TFLITE_TANH
};

struct tflite_make {
	struct steps at;
	struct tflite_graph *tg;
	struct flatbuf *f;
	struct flatbuf_table options; /* of the operator */
	struct flatbuf_vector custom; /* bytes, of one that is not built in */
	struct span type;	      /* "CONV_2D" */
	const value_id *given;	      /* the file's own inputs */
	const value_id *in, *out;     /* what to compute with */
	uint32_t nin, nout;
	/* The activation is left to what comes after (quantised values). */
	bool is_bare;
};

typedef int (*tflite_maker)(struct tflite_make *k, struct err *e);

/* 1: done, 0: there is nothing like it. */
int tflite_translate(struct tflite_make *k, struct err *e);

/* ---- building ---- */
/* A step that makes an inner value, or the operator's own as the last. */
int tflite_step(struct tflite_make *k, struct step *s, bool is_last,
		value_id *out, struct err *e);
/* The operator's output by a step and an activation.  1 or an error. */
int tflite_finish(struct tflite_make *k, struct step *s, int64_t activation,
		  struct err *e);
int tflite_activate(struct tflite_make *k, int64_t activation, value_id in,
		    struct err *e);
bool tflite_can_activate(int64_t activation);
int tflite_turn(struct tflite_make *k, const char *what, const int64_t *perm,
		size_t rank, value_id in, bool is_last, value_id *out,
		struct err *e);
/* A reshape to constant extents, as an inner value. */
int tflite_reshape(struct tflite_make *k, const char *what, value_id in,
		   const int64_t *dims, size_t n, value_id *out, struct err *e);

/* ---- what is known ---- */
int64_t tflite_option(struct tflite_make *k, unsigned field, size_t width,
		      int64_t def);
/* The parameter that an input is; NULL for anything else. */
const struct param *tflite_constant(const struct tflite_make *k, uint32_t i);
/* Whole numbers that a constant input holds, up to TFLITE_INTS_MAX. */
bool tflite_ints(const struct tflite_make *k, uint32_t input, int64_t *out,
		 size_t *n);
bool tflite_has(const struct tflite_make *k, uint32_t input);
/* The declared type of an input or an output of the file; may be NULL. */
const struct tensor *tflite_type(const struct tflite_make *k, value_id v);
/* The extents of an input of this rank; NULL where any is not known. */
const struct shape *tflite_extents(const struct tflite_make *k, uint32_t input,
				   int32_t rank);

/* ---- options.c ---- */
#define TFLITE_ATTRS_MAX 64
/* What the operator was told, by name; the texts are in the arena. */
int tflite_attrs(struct tflite_make *k, struct attr *out, uint32_t *n,
		 struct err *e);

/* ---- quantize.c ---- */
enum tflite_handling {		     /* of quantised values by an operator */
		       HANDLE_FLOAT, /* it computes with the numbers they stand for */
		       HANDLE_SUMS, /* with the distance from the zero point; sums come out */
		       HANDLE_RAW, /* with the integers as floats; an average comes out */
		       HANDLE_MOVE, /* it moves the integers, all of one scale */
		       HANDLE_OWN   /* by itself */
};
/*
 * The first nvalues inputs are converted, the operator made on floats, and its
 * output converted back.
 */
int tflite_wrap(struct tflite_make *k, enum tflite_handling how,
		uint32_t nvalues, tflite_maker make, struct err *e);

/* Which function makes an operator; tables of these end with type NULL. */
struct tflite_handled {
	const char *type;
	tflite_maker make;
	enum tflite_handling how;
	uint32_t nvalues; /* inputs that are computed with; 0: all */
};
extern const struct tflite_handled tflite_array_makers[], tflite_more_makers[];

/* True for a value of integers that stand for others. */
bool tflite_is_quantized(const struct tflite_make *k, value_id v);
bool tflite_has_scale(const struct tflite_make *k, value_id v);
bool tflite_one_scale(const struct tflite_make *k, value_id v);
bool tflite_same_scale(const struct tflite_make *k, value_id a, value_id b);
/* The numbers that a constant stands for. */
int tflite_dequantize(struct tflite_make *k, const char *what, value_id v,
		      value_id *out, struct err *e);
/* The distance from the zero point, as floats; other integers as they are. */
int tflite_centered(struct tflite_make *k, const char *what, value_id v,
		    value_id *out, struct err *e);
/* The numbers they stand for; a bias of int32, too. */
int tflite_real(struct tflite_make *k, const char *what, value_id v,
		value_id *out, struct err *e);
/* False unless there is one, and it can be divided by. */
bool tflite_scale(const struct tflite_make *k, value_id v, float *out);
/* 0 where there is none, or one for each channel. */
int64_t tflite_zero_point(const struct tflite_make *k, value_id v);
/* The output from numbers, or from units of its scale.  1 or an error. */
int tflite_quantized(struct tflite_make *k, value_id v, bool is_unit,
		     struct err *e);
int tflite_make_quantize(struct tflite_make *k, struct err *e);
int tflite_make_dequantize(struct tflite_make *k, struct err *e);
/* True for floats by a kernel of integers. */
bool tflite_is_hybrid(const struct tflite_make *k);
/* The kernel's scales, one or one for each channel. */
int tflite_kernel_scale(struct tflite_make *k, value_id *out, struct err *e);

/* ---- dynamic.c ---- */
/*
 * Floats as the whole numbers that the runtime makes of them while it runs,
 * each by the range over its last naxes axes, and the factor to undo it.
 */
int tflite_dynamic(struct tflite_make *k, value_id in, size_t naxes,
		   bool is_symmetric, value_id *out, value_id *factor,
		   struct err *e);

/* ---- makers ---- */
int tflite_make_conv(struct tflite_make *k, struct err *e);
int tflite_make_conv_transpose(struct tflite_make *k, struct err *e);
int tflite_make_pool(struct tflite_make *k, struct err *e);
int tflite_make_resize(struct tflite_make *k, struct err *e);
int tflite_make_depth_space(struct tflite_make *k, struct err *e);
int tflite_make_space_batch(struct tflite_make *k, struct err *e);
int tflite_make_dense(struct tflite_make *k, struct err *e);
int tflite_make_product(struct tflite_make *k, struct err *e);
int tflite_make_lstm(struct tflite_make *k, struct err *e);
int tflite_make_svdf(struct tflite_make *k, struct err *e);
int tflite_make_if(struct tflite_make *k, struct err *e);
int tflite_make_while(struct tflite_make *k, struct err *e);

#endif
