/* SPDX-License-Identifier: MIT */
/*
 * model - what a file holds, whatever its format: modules, parameters,
 * configuration, and a graph where there is one.
 *
 * Filled by a reader through the functions below, which check names, sizes
 * and duplicates; then sealed, immutable, and safe to share between threads.
 * A reader that fails drops the whole model, so it never undoes anything.
 * Everything lives in the model's arena; ids are indices.
 */
#ifndef MODELFS_MODEL_H
#define MODELFS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"
#include "modelfs/tensor.h"

struct arena;
struct blob;
struct err;
struct map;

/* Parameters and modules of one model (THREATS §4: nodes). */
#define MODEL_OBJECTS_MAX 4000000u
/* Nesting of modules. */
#define MODEL_DEPTH_MAX 256
/*
 * Bytes of all full names that are longer than MODEL_NAME_LONG.  Where names
 * nest, a file can give one part of them once and use it a million times.
 */
#define MODEL_NAMES_MAX (64u << 20)
#define MODEL_NAME_LONG 256

enum param_kind {
	PARAM_PARAMETER,
	PARAM_BUFFER,	/* a framework's non-trained state */
	PARAM_CONSTANT, /* a tensor in the graph itself */
	PARAM_SLOT	/* an optimiser's state */
};

struct param {
	const char *name;      /* last component, original bytes */
	const char *full_name; /* original, as the file has it */
	uint32_t name_len, full_len;
	struct module *module;
	struct param *tied;  /* the first parameter with the same bytes, or NULL */
	struct blob *data;   /* owned; blob_fail where opening is an error */
	const int64_t *dims; /* rank of them */
	uint8_t rank;
	uint8_t dtype;
	uint8_t kind;
	const char *dtype_text; /* of a type we know no name for, else NULL */
	uint32_t id;
	uint32_t ntied; /* names of these bytes, itself included; at the first */
};

struct module_attr {
	const char *key;
	const char *value;
	struct module_attr *next;
};

struct module {
	const char *name; /* component, original bytes; "" for the root */
	uint32_t name_len;
	uint32_t id;
	uint32_t depth;
	struct module *parent; /* NULL: the root */
	const char *type;      /* "Conv2d", or NULL */
	struct module_attr *attrs;
	struct module_attr *last_attr;
	bool is_node; /* stands for one node of the graph */
	node_id node; /* which; NO_NODE */
	/*
	 * What the module hands to the outside: values of the graph, in the
	 * order of its nodes.  Filled by model_seal.
	 */
	value_id *outputs;
	uint32_t noutputs;
};

struct config_item {
	const char *name; /* '/' separates directories */
	struct blob *data;
	struct config_item *next;
};

struct info_item { /* a line of info.json */
	const char *key;
	const char *value;
	struct info_item *next;
};

struct model {
	struct arena *arena;
	const char *format; /* "onnx" */
	struct module **modules; /* [0] is the root; parents before children */
	struct param **params;	 /* in file order */
	uint32_t nmodules, nparams;
	uint32_t cap_modules, cap_params;
	struct graph *graph; /* NULL: weights only */
	struct config_item *config; /* in file order */
	struct config_item **config_tail;
	struct config_item **config_index; /* the same by number; once sealed */
	uint32_t nconfig;
	uint64_t long_names; /* bytes */
	struct info_item *info;
	struct map *index; /* (parent, name) → module; while building */
	bool lenient;	   /* a bad tensor is listed and gives EIO */
	bool is_sealed;
};

struct model *model_new(const char *format);
void model_free(struct model *m);

static inline struct module *model_root(const struct model *m)
{
	return m->modules[0];
}

/* The child of this name, made if need be.  EFBIG beyond the limits. */
int model_module(struct model *m, struct module *parent, const char *name,
		 size_t len, struct module **out, struct err *e);

/*
 * The module that holds the last component of a name: "a.b.c" makes a/b and
 * yields c as the leaf.  seps: the bytes that separate.
 */
int model_path(struct model *m, struct module *from, const char *name,
	       size_t len, const char *seps, struct module **module,
	       struct span *leaf, struct err *e);

int model_attr(struct model *m, struct module *mod, const char *key,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int model_type(struct model *m, struct module *mod, const char *type,
	       size_t len);

struct param_spec {
	struct module *module;
	struct span name;      /* last component */
	struct span full_name; /* original */
	enum param_kind kind;
	struct tensor tensor; /* data is taken, also on failure */
	const char *dtype_text; /* for DTYPE_NONE: what the file calls it */
};

/*
 * Adds a parameter.  The size of its data must be what type and shape ask
 * for; if not, EINVAL, or, for a lenient model, the parameter is listed and
 * opening it gives EIO.  Data that cannot be opened may have any size.
 */
int model_param(struct model *m, const struct param_spec *spec,
		struct param **out, struct err *e);

/* The tensor of a parameter; its data is borrowed. */
struct tensor param_tensor(const struct param *p);

/*
 * True for the names that torch's own layers give to what they do not train
 * (running_mean), for formats that do not tell.
 */
bool param_is_buffer_name(const char *name, size_t len);

/* A file under config/.  Takes data. */
int model_config(struct model *m, const char *name, struct blob *data,
		 struct err *e);
/* A line of info.json; value is a string. */
int model_info(struct model *m, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Finishes the model: ties parameters of the same bytes, type and shape,
 * seals the graph, finds what each module hands out.
 */
int model_seal(struct model *m, struct err *e);
/* Finds the ties anew; part of model_seal. */
int model_tie(struct model *m, struct err *e);

/*
 * Replaces the data of every parameter that `weights` has under the same full
 * name, type and shape.  EINVAL when there is none.  m is sealed, and not in
 * use yet.
 */
int model_graft(struct model *m, const struct model *weights, struct err *e);

#endif
