/* SPDX-License-Identifier: MIT */
/*
 * onnx - what the files of this folder share: one ONNX file being read.
 *
 *	onnx.c		 probe, read; producer, opsets, metadata
 *	tensor.c	 TensorProto → tensor, in every form it is stored in
 *	varints.c	 numbers written as varints, decoded when read
 *	external.c	 data in files beside the model
 *	testdata.c	 uploads: a file that holds one tensor
 *	graph.c		 nodes, attributes, subgraphs, declared types
 *	function.c	 model-local functions, put in the place of their calls
 *	constant.c	 Constant nodes as tensors
 *	scope.c		 the module a node belongs to
 *	place.c		 where initializers and constants go in the module tree
 *	roles.c		 what an operator calls its inputs
 */
#ifndef FORMAT_ONNX_ONNX_H
#define FORMAT_ONNX_ONNX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"
#include "modelfs/model.h"

#include "wire/onnx.pb-c.h"

struct err;
struct input;
struct map;
struct source;
struct text;

/*
 * Nodes of one model, functions inlined (THREATS O8): so many for a file of
 * any size, and one more for every 8 bytes, which none takes less than.
 */
#define ONNX_NODES_MIN 50000u
#define ONNX_NODES_MAX 1000000u
/* Bytes, for each of them, of the names that calls of functions make longer. */
#define ONNX_NAME_BYTES 256u
/* Calls within calls. */
#define ONNX_CALL_DEPTH_MAX 32

/* Where the bytes of tensors are. */
struct onnx_files {
	struct source *src;	 /* the file of the message */
	const struct input *in;	 /* NULL: no siblings (uploads) */
	struct map *opened;	 /* location → index into sources */
	struct source **sources; /* owned */
	size_t nsources, cap;
	bool lenient; /* unusable data is listed and gives EIO */
};

/* A tensor's place in the module tree, while that is being decided. */
struct onnx_place {
	value_id value;	  /* NO_VALUE: a part of a sparse tensor */
	struct span name; /* original */
	enum param_kind kind;
	const Onnx__Tensor *proto; /* of an initializer, or NULL */
	const Onnx__SparseTensor *sparse; /* of a sparse one, or NULL */
	node_id node;	       /* the Constant node it comes from, or NO_NODE */
	size_t same_as;	       /* place of the tensor this is another name of */
	bool is_alias;	       /* same_as counts */
	struct module *module; /* NULL: not yet decided */
	struct span leaf;
	struct param *param; /* once it is added */
};

struct onnx {
	struct model *m;
	struct onnx_files files;
	Onnx__Model *proto;
	struct map *functions; /* "domain\0name\0overload" → index */
	struct map *taken;     /* names in use: see place.c, scope.c */
	struct onnx_place *places;
	size_t nplaces, cap_places;
	uint32_t nnodes;	/* of all graphs */
	uint32_t nodes_max;	/* of them */
	uint64_t name_bytes;	/* of names in functions */
	struct module *beneath; /* where tensors of the present subgraph go */
};

/*
 * What names mean where nodes are read: in the file's own graph, or in one
 * call of a function, whose inner names get the call's name in front.
 */
struct onnx_scope {
	struct onnx_scope *parent; /* of a call: where it was made */
	const Onnx__Function *fn;  /* NULL: the file's own graph */
	const Onnx__Node *call;
	struct span prefix;    /* "call/"; empty outside functions */
	struct map *names;     /* a function's formal name → struct span * */
	struct module *module; /* the call's own module; NULL: the root */
	Onnx__OperatorSetId **opsets;
	size_t nopsets;
	size_t depth;
};

static inline struct span onnx_span(const ProtobufCBinaryData *b)
{
	return (struct span){b->len ? (const char *)b->data : "", b->len};
}

static inline bool onnx_equal(const ProtobufCBinaryData *b, const char *text,
			      size_t len)
{
	return b->len == len &&
	       (len == 0 || __builtin_memcmp(b->data, text, len) == 0);
}

/* A NUL-terminated copy in the model's arena. */
int onnx_copy(struct onnx *o, const ProtobufCBinaryData *b, struct span *out,
	      struct err *e);

/* ---- tensor.c ---- */
/*
 * Type, shape and data.  Data that cannot be had for a reason outside the file
 * is a blob_fail.  A tensor that contradicts itself is EINVAL, or, in a
 * lenient reading, a blob_fail.
 */
int onnx_tensor(struct onnx_files *f, const Onnx__Tensor *t, struct tensor *out,
		struct err *e);
void onnx_files_close(struct onnx_files *f);

/* ---- sparse.c ---- */
/* As onnx_tensor; zeros and all. */
int onnx_sparse(struct onnx_files *f, const Onnx__SparseTensor *proto,
		struct tensor *out, struct err *e);

/* ---- varints.c ---- */
struct onnx_ranges {
	const uint64_t *off, *len;
	size_t n;
};
uint64_t onnx_ranges_total(const struct onnx_ranges *r);
/*
 * nelems numbers, each written as a varint, as elements of `width` bytes.
 * Small ones are decoded at once (EINVAL), large ones when read (EIO).
 */
int onnx_varints(struct source *src, const struct onnx_ranges *r, size_t width,
		 uint64_t nelems, struct blob **out, struct err *e);
/* How many varints there are. */
int onnx_varints_count(struct source *src, const struct onnx_ranges *r,
		       uint64_t *out, struct err *e);

/* ---- external.c ---- */
/* nbytes of data in another file; never fails but for ENOMEM. */
int onnx_external(struct onnx_files *f, const Onnx__Tensor *t, uint64_t nbytes,
		  struct blob **out, struct err *e);

/* ---- graph.c ---- */
/* The file's graph with everything in it, except placed tensors. */
int onnx_graph(struct onnx *o, struct err *e);
int onnx_add_node(struct onnx *o, struct graph *g, struct onnx_scope *s,
		  const Onnx__Node *n, struct err *e);
/* Declared types of values; unusable ones are passed over. */
int onnx_declare(struct onnx *o, struct graph *g, struct onnx_scope *s,
		 Onnx__ValueInfo **infos, size_t n, struct err *e);
/* A name as it is called in the graph; the empty name stays empty. */
int onnx_rename(struct onnx *o, const struct onnx_scope *s,
		const ProtobufCBinaryData *name, struct span *out,
		struct err *e);

/* The value of this name, NO_VALUE for the empty one. */
int onnx_value(struct onnx *o, struct graph *g, const struct onnx_scope *s,
	       const ProtobufCBinaryData *name, value_id *out, struct err *e);
/* prefix and name in one.  EFBIG when there are too many. */
int onnx_prefix(struct onnx *o, const struct span *prefix,
		const ProtobufCBinaryData *name, struct span *out,
		struct err *e);
int onnx_subgraph(struct onnx *o, struct graph *parent, struct onnx_scope *s,
		  const Onnx__Graph *proto, struct graph **out, struct err *e);

/* ---- attribute.c ---- */
uint32_t onnx_count_attrs(const Onnx__Node *n, struct onnx_scope *s);
int onnx_attrs(struct onnx *o, struct graph *g, struct onnx_scope *s,
	       const Onnx__Node *n, struct attr *out, struct err *e);

/* ---- initializer.c ---- */
/* Their names, which are no inputs even where they are listed as such. */
int onnx_index_initializers(const Onnx__Graph *proto, struct map *names,
			    struct err *e);
int onnx_initializers(struct onnx *o, struct graph *g, struct onnx_scope *s,
		      const Onnx__Graph *proto, struct err *e);

/* ---- function.c ---- */
int onnx_index_functions(struct onnx *o, struct err *e);
/* NULL when the node calls none, or only by calling itself. */
const Onnx__Function *onnx_find_function(const struct onnx *o,
					 const struct onnx_scope *s,
					 const Onnx__Node *n);
/* The function's nodes in the place of a call. */
int onnx_inline(struct onnx *o, struct graph *g, struct onnx_scope *s,
		const Onnx__Node *call, const Onnx__Function *fn,
		struct err *e);
/*
 * What stands for an attribute that a function's body refers to, and in which
 * scope it was written.  NULL: the call leaves it out.
 */
const Onnx__Attribute *onnx_resolve(const Onnx__Attribute *a,
				    struct onnx_scope **s);

/* ---- constant.c ---- */
bool onnx_is_constant(const struct node *n);
/* The tensor a Constant node yields; DTYPE_NONE when it is in no known form. */
int onnx_constant(const struct node *n, struct tensor *out, struct err *e);

/* ---- scope.c ---- */
/*
 * The module that a name leads to and its last component.  Components end at
 * '/' and '.'; one that repeats the component before it ("layer1.0" below
 * "layer1") goes on from there.
 */
int onnx_walk_name(struct onnx *o, struct module *from, struct span name,
		   struct module **mod, struct span *leaf, struct err *e);
/* True when a name says where it belongs. */
bool onnx_has_scope(struct span name);
/* Makes the module of a node; name is for one that has none. */
int onnx_node_module(struct onnx *o, struct onnx_scope *s, const Onnx__Node *n,
		     const char *name, struct module **out, struct err *e);
/* Lets a module that stands for one layer take that node's type. */
int onnx_describe_modules(struct onnx *o, struct err *e);

/* ---- place.c ---- */
/* p->value is already in the graph. */
int onnx_place_add(struct onnx *o, const struct onnx_place *p, struct err *e);
/* Gives every tensor its module and adds it to the model. */
int onnx_place_all(struct onnx *o, struct err *e);
/* Adds a tensor of a subgraph, beneath its node's module. */
int onnx_place_inner(struct onnx *o, struct graph *g,
		     const struct onnx_place *p, struct err *e);

/* ---- roles.c ---- */
/* What input i of this operator is called: "weight".  buf for made-up ones. */
const char *onnx_role(const char *type, size_t i, char buf[32]);

#endif
