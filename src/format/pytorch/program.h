/* SPDX-License-Identifier: MIT */
/* program - an exported program while it becomes a graph; see program.c. */
#ifndef FORMAT_PYTORCH_PROGRAM_H
#define FORMAT_PYTORCH_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "modelfs/graph.h"

struct arena;
struct err;
struct json;
struct map;
struct model;

struct program {
	struct model *m;
	struct graph *g;
	struct map *params;	  /* full name → id */
	struct map *used;	  /* names of values that nodes read */
	const struct json *types; /* tensor_values */
	int opset;
};

struct program_arg {
	const char *kind; /* "as_int" */
	const struct json *v;
};

/* ---- program_arg.c ---- */
/* Of schema 1, too: {"$type": "as_int", "$value": 3}. */
struct program_arg program_union(const struct json *v);
bool program_is_kind(struct program_arg arg, const char *kind);
/* The name of a value that an argument refers to; NULL: a constant. */
const char *program_value_name(struct program_arg arg);
bool program_is_list(struct program_arg arg);
/* The item of a list of values, whatever form it has; NULL: left out. */
const char *program_item_name(struct program_arg list, size_t i);
/* How many inputs or outputs an argument stands for. */
size_t program_count(struct program_arg arg);
/* A constant as an attribute; ATTR_OTHER where it is of no known kind. */
int program_set_attr(struct arena *a, struct program_arg arg, struct attr *out,
		     struct err *e);

/* ---- program.c ---- */
/* The value of this name, with its declared type. */
int program_value(struct program *p, const char *name, value_id *out,
		  struct err *e);

#endif
