/* SPDX-License-Identifier: MIT */
/*
 * keras - what the files of this folder share: one Keras model being read.
 *
 *	keras.c		HDF5 files
 *	archive.c	.keras: an archive or a folder
 *	legacy.c	.h5 of Keras 1 and 2: layer_names, weight_names
 *	weights.c	.weights.h5 and .keras of Keras 3
 *	config.c	the configuration: classes and hyper-parameters
 *	call.h, …	the computation, made of operators of ONNX
 */
#ifndef FORMAT_KERAS_KERAS_H
#define FORMAT_KERAS_KERAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"
#include "modelfs/model.h"
#include "wire/hdf5.h"

struct err;
struct json;
struct module;
struct source;

/* Models within models, and groups within groups. */
#define KERAS_DEPTH_MAX 64

struct keras {
	struct model *m;
	struct hdf5 *h;
	struct json *config; /* owned; NULL: the file has none */
	int version;	     /* of Keras: 1, 2 or 3 */
	bool is_described;   /* classes and hyper-parameters are there */
};

/* ---- keras.c ---- */
/* What an HDF5 file in [off, off + len) of src holds. */
int keras_hdf5(struct keras *k, struct source *src, uint64_t off, uint64_t len,
	       struct err *e);
/* The first number of "2.11.0". */
void keras_set_version(struct keras *k, const char *p, size_t len);
/* One dataset as a parameter; bfloat16 is what Keras says of it. */
int keras_param(struct keras *k, hdf5_id id, const struct param_spec *where,
		struct err *e);
/* The text of an attribute; NULL when there is none. */
int keras_text(struct keras *k, hdf5_id id, const char *name,
	       struct hdf5_string *out, struct err *e);
int keras_config_text(struct keras *k, const char *name, const char *p,
		      size_t len, struct err *e);

/* ---- legacy.c ---- */
int keras_legacy(struct keras *k, hdf5_id root, struct err *e);

/* ---- weights.c ---- */
int keras_weights(struct keras *k, struct err *e);

/* ---- config.c ---- */
/* Keeps the configuration; text that is no JSON is passed over. */
void keras_parse_config(struct keras *k, const char *p, size_t len);
/* Types and hyper-parameters of all layers, as modules.  config: or NULL. */
int keras_describe(struct model *m, const struct json *config, struct err *e);
/* The layers of a model's configuration, or NULL. */
const struct json *keras_layers(const struct json *layer);
const char *keras_class(const struct json *layer);
/* The name users gave a layer; NULL when there is none. */
const char *keras_name(const struct json *layer);
/*
 * What the i-th of n variables of a layer of this class is called; layer: its
 * configuration, or NULL.  NULL: not known.
 */
const char *keras_variable(const char *class, const struct json *layer,
			   size_t i, size_t n);
/* True for what training does not change. */
bool keras_is_state(const char *name, size_t len);
/*
 * What Keras 3 calls the group of a layer: the class in snake case.  Returns
 * its length.
 */
size_t keras_snake(const char *class, char *buf, size_t size);

#endif
