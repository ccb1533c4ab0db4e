/* SPDX-License-Identifier: MIT */
/*
 * call - one call of a layer, to be made of operators of ONNX.
 *
 *	graph.c		models, layers and what goes into them
 *	values.c	values by their names, variables by their layers
 *	inbound.c	the connections that a configuration lists
 *	layers.c	which function makes which layer; dense layers
 *	arrays.c	layers that move or join numbers
 *	functions.c	functions of TensorFlow and Keras called as layers
 *	norms.c		normalisation
 *	window.h, …	convolution, pooling, padding
 *	rnn.h, …	LSTM, GRU, SimpleRNN, Bidirectional
 *	attention.c	attention
 *	activation.c	activations by their names
 *	masks.c		which steps of a sequence count
 */
#ifndef FORMAT_KERAS_CALL_H
#define FORMAT_KERAS_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/keras/keras.h"
#include "format/steps.h"

struct text;

/* Inputs of one call, numbers included. */
#define KERAS_INPUTS_MAX 4096
#define KERAS_RANK_MAX 8

struct keras_input {	   /* of a call: a tensor, or a number */
	const char *layer; /* NULL: a number */
	int64_t node, tensor;
	double number;
	const char *key; /* the argument's name; NULL: by position */
};

struct keras_inputs {
	struct keras_input *v;
	size_t n, cap;
};

struct keras_graph {
	struct model *m;
	struct graph *g;
	int version;	       /* of Keras: 1, 2 or 3 */
	bool has_masks;	       /* recurrent layers may skip steps */
	struct map *masks;     /* of values: their masks, or NO_VALUE */
	struct map *weights;   /* (module, name) → index of a parameter + 1 */
	struct map *uses;      /* value name → 1 + its largest tensor index */
	struct map *ranks;     /* of values, as far as they are known */
	uint64_t nodes, bytes; /* spent */
};

struct keras_call {
	struct steps at;
	struct keras_graph *kg;
	const struct json *config; /* of the layer */
	const struct json *node;   /* the connections, or NULL */
	const char *class;
	struct module *layer; /* whose variables are used */
	const char *part;     /* of the layer ("forward_lstm"), or NULL */
	const struct keras_inputs *given;
	const value_id *in;
	const value_id *out;
	uint32_t nin, nout;
	int rank;     /* of the first input; -1: not known */
	int out_rank; /* to be set where it differs */
};

/* Makes the layer's nodes: 1; 0 when it cannot. */
typedef int (*keras_make)(struct keras_call *c, struct err *e);

struct keras_scope { /* one model, in one place */
	struct keras_graph *kg;
	const struct json *model;
	struct module *module; /* of its nodes */
	struct module *owner;  /* of its variables: that of the first call */
	struct span prefix;    /* "" or "encoder/" */
	int depth;
};

/* Outputs of one call. */
#define KERAS_OUTPUTS_MAX 64

/* ---- values.c ---- */
/* Lists every variable under the layers it is in. */
int keras_list_weights(struct keras_graph *kg, struct err *e);
/* "encoder/dense#1:2" */
int keras_value_name(struct keras_scope *s, const char *layer, int64_t node,
		     int64_t tensor, struct text *out, struct err *e);
int keras_find_value(struct keras_scope *s, const struct keras_input *in,
		     value_id *out, struct err *e);
/* The number of axes; -1: not known. */
int keras_rank(const struct keras_graph *kg, value_id v);
int keras_set_rank(struct keras_graph *kg, value_id v, int rank, struct err *e);
/* Remembers how many outputs of a call connections ask for. */
int keras_note_uses(struct keras_scope *s, const struct json *connections,
		    struct err *e);

/* ---- masks.c ---- */
#define KERAS_MASK_UNKNOWN ((value_id)-2)
/* [batch, steps], true where a step counts; NO_VALUE: all do. */
value_id keras_mask(const struct keras_graph *kg, value_id v);
int keras_set_mask(struct keras_graph *kg, value_id v, value_id mask,
		   struct err *e);
/* Of a call that was made: the masks of its outputs. */
int keras_hand_on_masks(struct keras_call *c, struct err *e);
/* False where a mask matters, and what it is or does is not known. */
bool keras_can_mask(const struct keras_call *c);
/* False when that of any input is not known. */
bool keras_knows_masks(const struct keras_call *c);

/* ---- graph.c ---- */
/*
 * The graph of a model whose weights are in the tree already.  One that cannot
 * be made is left out, and info.json says why.  -ENOMEM.
 */
int keras_graph(struct model *m, const struct json *config, int version,
		struct err *e);

/* ---- inbound.c ---- */
/* Appends what a list of connections names. */
int keras_collect(struct keras_inputs *in, const struct json *v, struct err *e);

/* ---- layers.c ---- */
int keras_translate(struct keras_call *c, struct err *e);
/* One of the layer's variables: NO_VALUE when the file has none. */
int keras_weight(struct keras_call *c, const char *name, value_id *out,
		 struct err *e);
const struct param *keras_weight_param(const struct keras_call *c, value_id v);
const struct json *keras_value(const struct keras_call *c, const char *key);
bool keras_flag(const struct keras_call *c, const char *key, bool def);
int64_t keras_int(const struct keras_call *c, const char *key, int64_t def);
double keras_real(const struct keras_call *c, const char *key, double def);
bool keras_is(const struct keras_call *c, const char *key, const char *text);
/* A number, or a list of n; what is not there is def. */
bool keras_ints(const struct keras_call *c, const char *key, int64_t *out,
		size_t n, int64_t def);
/* The layer's output from a last step.  1 or an error. */
int keras_finish(struct keras_call *c, struct step *s, struct err *e);
/* The same, with the activation that the configuration names. */
int keras_finish_active(struct keras_call *c, struct step *s, struct err *e);
/* The output is the sum of a value and the bias, if there is one. */
int keras_finish_biased(struct keras_call *c, struct step *s, value_id bias,
			struct err *e);
int keras_transpose(struct keras_call *c, const char *what, value_id in,
		    const int64_t *perm, size_t rank, value_id *out,
		    struct err *e);
/* A reshape to constant extents, as an inner value. */
int keras_reshape(struct keras_call *c, const char *what, value_id in,
		  const int64_t *dims, size_t n, value_id *out, struct err *e);

/* ---- activation.c ---- */
/* False for one that is not known. */
bool keras_can_activate(const struct keras_call *c, const struct json *spec);
bool keras_is_linear(const struct json *spec);
/* out is made from in; spec: a name, or an object with one. */
int keras_activate(struct keras_call *c, const struct json *spec, value_id in,
		   value_id out, struct err *e);
const char *keras_activation_name(const struct json *spec);

/* ---- the layers ---- */
int keras_activation_layer(struct keras_call *c, struct err *e);
int keras_array_layer(struct keras_call *c, struct err *e);
int keras_function_layer(struct keras_call *c, struct err *e);
int keras_norm_layer(struct keras_call *c, struct err *e);
int keras_image_layer(struct keras_call *c, struct err *e);
int keras_recurrent_layer(struct keras_call *c, struct err *e);
int keras_attention_layer(struct keras_call *c, struct err *e);

#endif
