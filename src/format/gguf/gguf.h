/* SPDX-License-Identifier: MIT */
/*
 * gguf - GGML's file format, versions 1 to 3 (ggml/docs/gguf.md).
 *
 *	"GGUF" | u32 version | tensors | keys | keys... | tensors... | data
 *	key: name, u32 type, value    tensor: name, u32 rank, dims, u32 type,
 *	                              u64 offset in the data
 *
 * Counts, string lengths and extents have 64 bits, in version 1 only 32.
 * The data starts at the next multiple of general.alignment.  A file is
 * big-endian as a whole when its version number is.
 */
#ifndef FORMAT_GGUF_H
#define FORMAT_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "modelfs/dtype.h"
#include "modelfs/graph.h"

struct arena;
struct blob;
struct err;
struct input;
struct model;
struct reader;
struct source;
struct text;

enum gguf_type {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	GGUF_NTYPES
};

#define GGUF_RANK_MAX 4

struct gguf_key {
	struct span name;
	uint32_t type;
	uint64_t number; /* integers sign-extended; the bits of a float */
	uint64_t off;	 /* of the value; a string's first byte */
	uint64_t len;	 /* bytes of the value */
};

struct gguf_tensor {
	struct span name;
	uint32_t rank;
	uint32_t type;		     /* as in the file */
	int64_t dims[GGUF_RANK_MAX]; /* the first one varies fastest */
	uint64_t off;		     /* in the data */
	enum dtype dtype;	     /* DTYPE_NONE: unknown */
	uint64_t nbytes;	     /* 0 when unknown */
};

/* One file, or one of a split model's. */
struct gguf {
	struct source *src; /* borrowed */
	struct arena *arena;
	bool is_swapped; /* big-endian */
	uint32_t version;
	struct gguf_key *keys;
	struct gguf_tensor *tensors;
	uint32_t nkeys, ntensors;
	uint32_t cap_keys, cap_tensors;
	uint64_t data_off;
	uint64_t alignment;
};

/* Fills g, whose src and arena are set.  gguf_free in any case. */
int gguf_parse(struct gguf *g, struct err *e);
void gguf_free(struct gguf *g);

/* NULL when there is none. */
const struct gguf_key *gguf_find(const struct gguf *g, const char *name);
/* False when there is none, or no integer of this type. */
bool gguf_get(const struct gguf *g, const char *name, enum gguf_type type,
	      uint64_t *out);

/* What numbers in this file are read with. */
uint32_t gguf_u32(const struct gguf *g, struct reader *r);
uint64_t gguf_u64(const struct gguf *g, struct reader *r);
/* Counts and lengths. */
uint64_t gguf_count(const struct gguf *g, struct reader *r);

/*
 * Reads a value of this type; out (may be NULL) gets its elements, one a line.
 * Failures are left in the reader.
 */
void gguf_value(const struct gguf *g, struct reader *r, uint32_t type,
		struct text *out);

/* Element type for a number of the file; name where it has no dtype. */
enum dtype gguf_dtype(uint32_t type, char name[16]);
/* "Q4_K_M" for general.file_type; NULL: unknown. */
const char *gguf_file_type(uint64_t type);

/* Every key as a file of config/. */
int gguf_config(const struct gguf *g, struct model *m, struct err *e);

/* Checks places and sizes of all tensors, and adds them. */
int gguf_tensors(struct gguf *g, struct model *m, struct err *e);

/* Gives the model a graph where its architecture is known. */
int gguf_graph(const struct gguf *g, struct model *m, struct err *e);

/*
 * When the file is one of several: the others, from the same folder, with
 * this one at its place.  *n is 1 for a file of its own.
 */
int gguf_open_split(const struct input *in, const struct gguf *first,
		    struct source ***out, size_t *n, struct err *e);
/* EINVAL unless g is number i of n, as the first one says. */
int gguf_check_split(const struct gguf *g, size_t i, size_t n, struct err *e);

#endif
