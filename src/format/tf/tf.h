/* SPDX-License-Identifier: MIT */
/*
 * tf - what the files of this folder share: one TensorFlow model being read.
 *
 *	tf.c		probes; which files make up what the user named
 *	saved.c		SavedModel, MetaGraph, GraphDef
 *	form.c		the same as text or as JSON
 *	bundle.c	checkpoints of the second version (TensorBundle)
 *	checked.c	bytes with a checksum
 *	slices.c	variables stored in pieces
 *	strings.c	tensors of strings
 *	objects.c	what variables are called by people
 *	v1.c		checkpoints of the first version
 *	tensor.c	TensorProto → tensor, in every form it is stored in
 *	place.c		where names lead in the module tree
 *	graph.c		the nodes that outputs need
 *	node.c		what becomes of one node
 *	function.c	functions put in the place of their calls
 *	control.c	functions that are chosen or repeated
 *	frame.c		loops of TensorFlow 1
 *	branch.c	branches of TensorFlow 1
 *	restore.c	which variable is which entry of the checkpoint
 *	ref.c		what inputs of nodes refer to
 *	attr.c		attributes of nodes
 *	chain.c		several operators in a row
 *	translate.c	operators that ONNX has, too
 */
#ifndef FORMAT_TF_TF_H
#define FORMAT_TF_TF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"
#include "modelfs/model.h"

#include "wire/tensorflow.pb-c.h"

struct blob;
struct err;
struct input;
struct json;
struct map;
struct source;

/*
 * Nodes of one model, functions inlined: so many for any file, and more for
 * each that is written in it.
 */
#define TF_NODES_MIN 50000u
#define TF_NODES_MAX 1000000u
#define TF_COPIES_MAX 16u
/* Calls within calls. */
#define TF_CALL_DEPTH_MAX 32

struct tf {
	struct model *m;
	const struct input *in;
	struct source *src; /* the file of the graph's message, borrowed */
	struct map *names;  /* names of variables and constants → 1 */
	struct map *params; /* the same → index into the model's params + 1 */
	struct map *human;  /* checkpoint key → struct span *: full name */
	struct map *kinds;  /* full name → enum param_kind */
	struct map *keys;   /* checkpoint key → index of the param + 1 */
	struct map *restored; /* node of a variable → the same */
	bool has_weights;     /* constants are parameters already */
};

static inline struct span tf_span(const ProtobufCBinaryData *b)
{
	return (struct span){b->len ? (const char *)b->data : "", b->len};
}

static inline bool tf_equal(const ProtobufCBinaryData *b, const char *text)
{
	return b->len == __builtin_strlen(text) &&
	       __builtin_memcmp(b->data ? (const char *)b->data : "", text,
				b->len) == 0;
}

/* A NUL-terminated copy in the model's arena. */
int tf_copy(struct tf *t, struct span text, struct span *out, struct err *e);

/* ---- tensor.c ---- */
/* DTYPE_NONE for a number we know no elements for. */
enum dtype tf_dtype(int32_t type);
/* The name of a type: "DT_FLOAT" is "float32"; buf for unknown ones. */
const char *tf_dtype_text(int32_t type, char buf[32]);
/* EINVAL where an extent is not known. */
int tf_shape(const Tf__Shape *s, struct shape *out, struct err *e);
/* Type and shape as declared: unknown extents stay. */
struct tensor tf_declared(int32_t type, const Tf__Shape *s);
/*
 * Type, shape and data.  A tensor that contradicts itself is EINVAL, or, in a
 * lenient reading, a blob_fail.
 */
int tf_tensor(struct source *src, bool lenient, const Tf__Tensor *p,
	      struct tensor *out, struct err *e);

/* ---- place.c ---- */
int tf_name_add(struct tf *t, struct span name, struct err *e);
/*
 * Where a name leads: '/' separates.  What lies beneath a variable's name
 * ("kernel/read") is joined to it by a dot.
 */
int tf_place(struct tf *t, struct span name, struct module **mod,
	     struct span *leaf, struct err *e);
/* A parameter under its name; takes the tensor's data. */
int tf_param(struct tf *t, struct span name, enum param_kind kind,
	     struct tensor *tensor, int32_t type, struct err *e);

/* ---- bundle.c ---- */
/* prefix: of the shards' names, relative to the folder of the model. */
int tf_bundle(struct tf *t, struct source *index, const char *prefix,
	      struct err *e);

/* ---- checked.c ---- */
/*
 * The same bytes (takes base), with EIO for all of them unless their masked
 * CRC-32C is this; it is looked at when they are first read.
 */
struct blob *tf_checked(struct blob *base, uint32_t masked_crc);

/* ---- slices.c ---- */
struct tf_slice {
	int64_t start[SHAPE_RANK_MAX];
	int64_t len[SHAPE_RANK_MAX];
	struct blob *data; /* owned */
};
/* Extents of a slice of a tensor of this shape, -1 resolved.  EINVAL. */
int tf_slice_read(const Tf__TensorSlice *p, const struct shape *full,
		  struct tf_slice *out, struct err *e);
/*
 * The whole tensor.  Takes the array (malloc'd) and the slices' data, also on
 * failure.  Reading what no slice covers is EIO.
 */
int tf_slices(struct tf_slice *slices, size_t n, const struct shape *full,
	      size_t elem_size, struct blob **out, struct err *e);

/* ---- strings.c ---- */
/* A tensor of n strings as a bundle stores it; takes stored. */
int tf_strings(struct blob *stored, uint64_t n, struct blob **out,
	       struct err *e);

/* ---- objects.c ---- */
/* A TrackableObjectGraph in [off, off + len) of src: fills human. */
int tf_objects(struct tf *t, struct source *src, uint64_t off, uint64_t len,
	       struct err *e);
/* What a SavedModel knows of its variables: fills kinds; types of modules. */
int tf_saved_objects(struct tf *t, const Tf__SavedObjectGraph *g,
		     struct err *e);

/* ---- v1.c ---- */
int tf_checkpoint_v1(struct tf *t, struct source *src, struct err *e);

/* ---- restore.c ---- */
/* Which variable is which entry of the checkpoint: fills restored. */
int tf_find_restored(struct tf *t, const Tf__Graph *g, struct err *e);

/* ---- graph.c ---- */
/* Names of constants and variables in the graph, before any is placed. */
int tf_graph_names(struct tf *t, const Tf__Graph *g, struct err *e);
/* The graph; sig may be empty. */
int tf_graph(struct tf *t, const Tf__Graph *g, Tf__SignatureEntry **sigs,
	     size_t nsigs, struct err *e);

/* ---- saved.c ---- */
int tf_read_saved_model(struct tf *t, struct err *e);
int tf_read_meta_graph(struct tf *t, struct err *e);
int tf_read_graph(struct tf *t, struct err *e);

/* ---- form.c ---- */
/*
 * A GraphDef in JSON, and its signature, or NULL.  Constants without data are
 * parameters that are there already.
 */
int tf_read_json(struct tf *t, const struct json *graph,
		 const struct json *signature, struct err *e);

/* ---- tf.c ---- */
/* fn on a struct tf for this source. */
int tf_run(const struct input *in, struct source *src, struct model *m,
	   int (*fn)(struct tf *t, struct err *e), struct err *e);

/* ---- attr.c ---- */
uint32_t tf_attr_count(const Tf__Node *n);
int tf_attrs(struct tf *t, const Tf__Node *n, struct attr *out, struct err *e);
const Tf__AttrValue *tf_attr(const Tf__Node *n, const char *key);

#endif
