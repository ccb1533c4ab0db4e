/* SPDX-License-Identifier: MIT */
/*
 * walk - from a pickled object to modules, parameters and attributes.
 *
 *	walk.c		what is looked at next, and what becomes of it
 *	walk_object.c	dicts, lists and objects: modules
 *	walk_value.c	tensors and plain values: parameters, attributes, config
 *
 * Dicts, lists and objects become modules, with the dots of their keys as
 * further levels; tensors become parameters, and what fits a line an
 * attribute.  Of a pickled torch.nn.Module the three dicts that hold its
 * parts are passed through.  The walk keeps its own stack; what contains
 * itself is entered once on every way.
 */
#ifndef FORMAT_PYTORCH_WALK_H
#define FORMAT_PYTORCH_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/model.h"
#include "modelfs/text.h"

#include "format/pytorch/pytorch.h"

struct map;

#define WALK_DEPTH_MAX 1000

struct frame {
	struct pickle_node *n;
	size_t i; /* next item */
	struct module *mod;
	size_t name_len;  /* of the full name up to here */
	struct map *keys; /* dicts: which entry of a key counts */
	enum param_kind kind;
	bool is_state;			 /* the attributes of an object */
	const struct torch_class *class; /* its class, where code tells */
};

struct walk {
	struct torch *t;
	struct frame frames[WALK_DEPTH_MAX];
	size_t depth;
	struct text name; /* full name of what is being looked at */
	uint64_t visits;
	uint64_t items;	     /* of containers entered for the first time */
	uint64_t repeats;    /* and of those entered again */
	uint64_t text_bytes; /* of plain values */
};

static inline struct frame *walk_top(struct walk *w)
{
	return &w->frames[w->depth - 1];
}

/* ---- walk_object.c ---- */
/* A container's items are looked at next, in the module of `at`. */
int walk_push(struct walk *w, struct pickle_node *n, struct frame *at,
	      struct err *e);
void walk_pop(struct walk *w);
/* 's' and the text of a string key, 'k' and that of any other. */
void walk_typed_key(const struct pickle_node *key, struct text *out);
/* Of a module's attributes: 1 passed through, -1 of no interest, 0 others. */
int walk_module_part(const struct frame *f, const char *key, size_t len,
		     enum param_kind *kind);
/*
 * What an object stands for: behind calls around lists, arrays of objects, and
 * torch.package's own way to write a call.
 */
struct pickle_node *walk_unwrap(struct pickle_node *n);
/*
 * The dict of what a subclass is made of that only wraps other tensors
 * (torchao, DTensor) and has no data of its own; NULL for all else.
 */
struct pickle_node *walk_wrapped(const struct pickle_node *n);

/* ---- walk_value.c; the walk's name is the full name of n ---- */
int walk_tensor(struct walk *w, const struct frame *f,
		const struct pickle_node *n, const char *key, size_t len,
		struct err *e);
int walk_plain(struct walk *w, const struct frame *f,
	       const struct pickle_node *n, const char *key, size_t len,
	       struct err *e);

#endif
