/* SPDX-License-Identifier: MIT */
/*
 * pytorch - what PyTorch's files have in common: a pickled object whose
 * tensors are views into storages, which lie elsewhere in the file.
 *
 *	checkpoint.c	torch.save since 1.6: a ZIP archive, and which kind of
 *			archive a ZIP is
 *	archive.c	records of such archives
 *	script.c	TorchScript: the objects, and what the code says of them
 *	script_v1.c	TorchScript of 1.0 and 1.1: model.json
 *	export.c	torch.export: weights by name
 *	program.c	torch.export: the graph
 *	aten.c		and what its operators become
 *	package.c	torch.package
 *	tar.c		torch.save of 0.1: a tar archive
 *	legacy.c	torch.save before that: a stream of pickles and data
 *	plain.c		pickles of anything, with NumPy arrays in them
 *	storage.c	storages: element types, sizes, byte order
 *	rebuild.c	the calls that stand for tensors (torch/_utils.py)
 *	sparse.c	tensors of several parts: quantised, sparse, nested
 *	sign.c		tensors that are negated or conjugated when read
 *	numpy.c		NumPy arrays inside of pickles
 *	walk.c		the object as modules, parameters and attributes
 *	value.c		keys and plain values as text
 */
#ifndef FORMAT_PYTORCH_PYTORCH_H
#define FORMAT_PYTORCH_PYTORCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/model.h"
#include "modelfs/tensor.h"

#include "wire/pickle.h"

struct arena;
struct blob;
struct err;
struct input;
struct map;
struct source;
struct text;

/* What one storage holds. */
struct torch_storage {
	struct blob *data; /* owned; all of it, little-endian */
	enum dtype dtype;  /* DTYPE_NONE: untyped, or a type we don't know */
	uint64_t nelems;   /* of the type; bytes when untyped */
};

/* One pickled object being read. */
struct torch {
	struct model *m;
	struct source *src;   /* of the pickle, owned; NULL until it is known */
	struct arena *arena;  /* its nodes */
	struct map *storages; /* key → index into storages */
	struct torch_storage *list;
	size_t nlist, cap;
	/*
	 * The container's part: the bytes of a storage, of which there must be
	 * exactly nbytes.  A blob_fail where they cannot be had.
	 */
	int (*find)(struct torch *t, struct pickle_text key, uint64_t nbytes,
		    struct blob **out, struct err *e);
	void *container;
	bool swapped; /* storages are big-endian */
	/* Where files may lie that the pickle names; NULL: nowhere. */
	const struct input *in;
	/* How to walk; all may be left 0. */
	const char *under;    /* name of the module to hang the object into */
	const char *seps;     /* `under` is a path, with these in between */
	const char *name;     /* of an object that is one tensor */
	const char *items;    /* what goes before the numbers of its items */
	enum param_kind kind; /* of its tensors */
	const struct torch_classes *classes; /* what code says of objects */
};

/* Frees storages and source, not the model, the arena or the container. */
void torch_finish(struct torch *t);

/* ---- storage.c ---- */
/* "torch.FloatStorage" and the like; false: no storage class. */
bool torch_storage_dtype(const struct pickle_node *class, enum dtype *out,
			 bool *is_untyped);
/*
 * Bytes of what a storage counts: elements, or bytes where it has no type or
 * one of several numbers in a byte.
 */
size_t torch_storage_width(enum dtype t);
/* torch.float32 as a global; DTYPE_NONE: not one of ours. */
enum dtype torch_dtype(const struct pickle_node *n);
/* The storage of a persistent id, borrowed. */
int torch_find_storage(struct torch *t, const struct pickle_node *persid,
		       const struct torch_storage **out, struct err *e);

/* ---- legacy.c ---- */
/* Storages of one stream. */
struct torch_legacy;
/*
 * Reads the stream in [off, off + len) of t->src: *root is its object.  Sets
 * t->find and t->container, which torch_legacy_close frees.
 */
int torch_legacy_open(struct torch *t, uint64_t off, uint64_t len,
		      struct pickle_node **root, struct err *e);
void torch_legacy_close(struct torch *t);
/*
 * The storage that torch.storage._load_from_bytes yields: its argument is a
 * complete stream.  *out is owned by the caller.
 */
int torch_nested_storage(struct torch *t, const struct pickle_node *bytes,
			 struct torch_storage *out, struct err *e);

/* ---- rebuild.c ---- */
struct torch_part {
	const char *suffix; /* behind the name; "" for an ordinary tensor */
	struct tensor tensor;
	const char *dtype_text; /* for DTYPE_NONE */
};

#define TORCH_PARTS_MAX 6

struct torch_tensor {
	struct torch_part parts[TORCH_PARTS_MAX];
	size_t nparts;
	const char *layout;		/* "sparse_coo", …; NULL: ordinary */
	const struct pickle_node *size; /* of all of a sparse tensor, or NULL */
	int64_t axis; /* quantised: of the scales, where there are several */
	bool has_axis;
	bool is_parameter;
	const struct pickle_node *extra; /* state with more tensors, or NULL */
};

/* True when the object stands for a tensor. */
bool torch_is_tensor(const struct pickle_node *n);
/*
 * The tensor it stands for, in its parts, which the caller drops.  EINVAL when
 * the arguments cannot be right.
 */
int torch_rebuild(struct torch *t, const struct pickle_node *n,
		  struct torch_tensor *out, struct err *e);
void torch_tensor_drop(struct torch_tensor *t);
/* storage, offset, size, stride at the start of a call's arguments. */
int torch_view(struct torch *t, const struct pickle_node *call,
	       enum dtype dtype, struct tensor *out, const char **dtype_text,
	       struct err *e);
/*
 * t->data becomes the elements of a view, of t's type and shape, of a storage,
 * which is taken.  EINVAL when they are not all inside.
 */
int torch_view_data(struct blob *storage, const int64_t *strides,
		    uint64_t offset, struct tensor *t, struct err *e);
/* A tuple (or torch.Size) of integers; -1 when it is none. */
int torch_ints(const struct pickle_node *n, int64_t out[SHAPE_RANK_MAX]);

/* ---- sign.c ---- */
/* Negates all of t, or its imaginary parts.  EOPNOTSUPP for other types. */
int torch_flip_signs(struct tensor *t, bool conj, bool neg, struct err *e);

/* ---- sparse.c ---- */
/* True, and *rc set, when the call is one of those with several parts. */
bool torch_rebuild_parts(struct torch *t, const struct pickle_node *call,
			 struct torch_tensor *out, int *rc, struct err *e);

/* ---- numpy.c ---- */
bool torch_is_array(const struct pickle_node *n);
/* What an array of objects holds: a list, or its only object; else NULL. */
struct pickle_node *torch_array_objects(const struct pickle_node *n);
int torch_array(struct torch *t, const struct pickle_node *n,
		struct tensor *out, struct err *e);

/* ---- script.c ---- */
/* The classes that an archive's code defines. */
struct torch_classes;
struct torch_class;
/* The class of an object; NULL: the code does not say. */
const struct torch_class *torch_find_class(const struct torch_classes *all,
					   const struct pickle_node *global);
/* True when the class calls this attribute a parameter. */
bool torch_class_has_parameter(const struct torch_class *c, const char *name,
			       size_t len);
/* Constants that only the code knows, as attributes of a module. */
int torch_class_describe(const struct torch_class *c, struct model *m,
			 struct module *mod, struct err *e);

/* ---- walk.c ---- */
/* The whole object beneath the model's root. */
int torch_walk(struct torch *t, struct pickle_node *root, struct err *e);

/* ---- value.c ---- */
/* True for what is shown as one line of text. */
bool torch_is_plain(const struct pickle_node *n);
void torch_format(const struct pickle_node *n, struct text *out);
/* A key of a dict as a name. */
void torch_format_key(const struct pickle_node *key, struct text *out);

#endif
