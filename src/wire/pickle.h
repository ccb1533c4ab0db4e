/* SPDX-License-Identifier: MIT */
/*
 * pickle - Python's pickles, protocols 0 to 5, as data.
 *
 * The machine that a pickle programs is run here without anything it could
 * call: what Python would import is a GLOBAL, what it would call or construct
 * is an OBJECT that only remembers how (pickletools.py describes all opcodes).
 *
 * Nodes live in the caller's arena.  They form a graph: a node may be reached
 * on several ways and may contain itself, and it may be nested as deeply as
 * the file is long.  Whoever walks it must not recurse.
 */
#ifndef WIRE_PICKLE_H
#define WIRE_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;
struct reader;

/* Nodes, and bytes of memory for all of them. */
#define PICKLE_NODES_MAX 16000000u
#define PICKLE_BYTES_MAX ((uint64_t)2 << 30)
/* Bytes objects that are longer stay in the file: s.p is NULL. */
#define PICKLE_INLINE_MAX 65536

enum pickle_kind {
	PICKLE_NONE,
	PICKLE_BOOL,
	PICKLE_INT,
	PICKLE_BIGINT, /* s: little-endian two's complement, over 8 bytes */
	PICKLE_FLOAT,
	PICKLE_STRING, /* s: UTF-8; of Python 2: whatever bytes there were */
	PICKLE_BYTES,
	PICKLE_TUPLE, /* items */
	PICKLE_LIST,
	PICKLE_SET,
	PICKLE_DICT,   /* items: key, value, key, value, … */
	PICKLE_GLOBAL, /* module, name */
	PICKLE_OBJECT, /* callable, args; items: what was appended or set */
	PICKLE_PERSID  /* callable: the id */
};

struct pickle_text {
	const char *p; /* NUL-terminated; NULL: in the file at `off` */
	size_t len;
};

struct pickle_node {
	enum pickle_kind kind;
	bool is_new;	/* OBJECT: made by its class, not by a function */
	bool has_pairs; /* OBJECT: items are keys and values */
	bool on_path;	/* for those who walk */
	bool was_entered; /* the same */
	bool is_seen;	/* by pickle_each */
	union {
		bool b;
		int64_t i;
		double f;
		struct pickle_text s;
		struct {
			struct pickle_text module, name;
		};
		struct {
			struct pickle_node *callable;
			struct pickle_node
				*args; /* any node, not just a tuple */
		};
	};
	uint64_t off; /* BYTES and STRING: of their bytes, in the file */
	struct pickle_node **items;
	size_t nitems, cap;
	struct pickle_node *state; /* what BUILD attached, or NULL */
	struct pickle_node *class; /* DICT: its type where it is no dict */
};

/*
 * Reads one pickle; the reader then stands behind its STOP.  EINVAL with the
 * offset of the opcode that was wrong, EFBIG over the limits.
 */
int pickle_read(struct reader *r, struct arena *a, struct pickle_node **out,
		struct err *e);

bool pickle_is_global(const struct pickle_node *n, const char *module,
		      const char *name);
/* An OBJECT made by this global. */
bool pickle_is_call(const struct pickle_node *n, const char *module,
		    const char *name);
/* Argument i of an OBJECT, or item i of a tuple or list; NULL: none. */
struct pickle_node *pickle_arg(const struct pickle_node *n, size_t i);
struct pickle_node *pickle_item(const struct pickle_node *n, size_t i);
/* The value of a string key, the last one given; NULL: none. */
struct pickle_node *pickle_get(const struct pickle_node *dict, const char *key);
bool pickle_is_string(const struct pickle_node *n, const char *text);

/*
 * Calls fn once for every node that is reached from here, in no order of
 * interest; what fn returns below 0 ends it.  To be called once per pickle.
 */
int pickle_each(struct pickle_node *root,
		int (*fn)(struct pickle_node *n, void *ctx, struct err *e),
		void *ctx, struct err *e);

#endif
