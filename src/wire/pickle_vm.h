/* SPDX-License-Identifier: MIT */
/*
 * pickle_vm - the machine that runs a pickle: a stack, marks into it, and a
 * memo.  Nodes, and all that they hold, live in the caller's arena.
 *
 *	pickle.c	 opcodes, and running them
 *	pickle_vm.c	 stack, marks, memo
 *	pickle_value.c	 opcodes' arguments, and the plain values made of them
 *	pickle_object.c	 containers, calls, and the arrays of joblib
 *
 * A function that returns an int returns 0, or the negative code of the error
 * it has set in m->e.
 */
#ifndef WIRE_PICKLE_VM_H
#define WIRE_PICKLE_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/pickle.h"

struct map;

struct pickle_vm {
	struct reader *r;
	struct arena *a;
	struct pickle_node **stack;
	size_t depth, stack_cap;
	size_t *marks;
	size_t nmarks, marks_cap;
	struct pickle_node **memo; /* dense part */
	size_t memo_cap;
	struct map *sparse; /* index → node */
	uint64_t nmemo;
	uint64_t nnodes;
	uint64_t start; /* arena_nbytes at the beginning */
	unsigned level; /* pickles this one is inside of */
	char *line;	/* of text, with its capacity */
	size_t line_cap;
	uint64_t at; /* offset of the opcode */
	uint8_t op;
	struct err *e;
};

/* ---- pickle_vm.c ---- */
/* Sets m->e: at the opcode, or what the reader found; returns the code. */
int vm_fail(struct pickle_vm *m, int code, const char *what);
/* Room for `need` elements of `size` bytes, new ones zeroed. */
int vm_grow(struct pickle_vm *m, void *array, size_t *cap, size_t need,
	    size_t size);
/* Counted against the limits; NULL: m->e is set. */
struct pickle_node *vm_node(struct pickle_vm *m, enum pickle_kind kind);
/* Takes what vm_node gave: NULL is its failure, passed on. */
int vm_push(struct pickle_vm *m, struct pickle_node *n);
/* Where the stack ends for pops: the last mark. */
size_t vm_floor(const struct pickle_vm *m);
/* NULL, with the error set, when there is nothing above the last mark. */
struct pickle_node *vm_pop(struct pickle_vm *m);
struct pickle_node *vm_top(struct pickle_vm *m);
/* The code of the error that was set. */
int vm_failed(const struct pickle_vm *m);
int vm_push_mark(struct pickle_vm *m);
/* The nodes above the last mark, which goes. */
int vm_pop_mark(struct pickle_vm *m, struct pickle_node ***items, size_t *n);
int vm_add_items(struct pickle_vm *m, struct pickle_node *n,
		 struct pickle_node **items, size_t count);
/* The memo: pushes what is kept under a number; keeps the top. */
int vm_get(struct pickle_vm *m, uint64_t idx);
int vm_put(struct pickle_vm *m, uint64_t idx);

/* ---- pickle_value.c ---- */
int vm_push_string(struct pickle_vm *m, uint64_t len);
int vm_push_bytes(struct pickle_vm *m, uint64_t len);
int vm_push_int(struct pickle_vm *m, int64_t v);
int vm_push_bool(struct pickle_vm *m, bool v);
int vm_push_float(struct pickle_vm *m);
int vm_push_long(struct pickle_vm *m, uint64_t len);
int vm_push_text_number(struct pickle_vm *m, bool is_long);
int vm_push_text_float(struct pickle_vm *m);
int vm_push_text_string(struct pickle_vm *m, bool is_quoted);
/* Two lines: module and name. */
int vm_global(struct pickle_vm *m, struct pickle_node **out);
/* A line with a number of the memo. */
int vm_index(struct pickle_vm *m, uint64_t *out);
int vm_push_global(struct pickle_vm *m);
int vm_push_persid(struct pickle_vm *m, struct pickle_node *id);
int vm_text_persid(struct pickle_vm *m);

/* ---- pickle_object.c ---- */
/* A container of the topmost `count` nodes, or of those above the mark. */
int vm_push_items(struct pickle_vm *m, enum pickle_kind kind, size_t count);
int vm_push_marked(struct pickle_vm *m, enum pickle_kind kind);
/* The same, put into the container that is below them. */
int vm_extend_top(struct pickle_vm *m, size_t count, enum pickle_kind kind);
int vm_extend_marked(struct pickle_vm *m, enum pickle_kind kind);
/* REDUCE, NEWOBJ (is_new), NEWOBJ_EX (two arguments). */
int vm_reduce(struct pickle_vm *m, size_t nargs, bool is_new);
/* OBJ (f is NULL) and INST: the arguments are above the mark. */
int vm_object(struct pickle_vm *m, struct pickle_node *f);
int vm_inst(struct pickle_vm *m);
int vm_build(struct pickle_vm *m);
int vm_stack_global(struct pickle_vm *m);

/* ---- pickle.c ---- */
/* A pickle inside of this one. */
int vm_run_nested(struct pickle_vm *m, struct pickle_node **out);

#endif
