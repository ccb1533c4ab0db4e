/* SPDX-License-Identifier: MIT */
/*
 * panels - weights that are too large for memory: a few columns of them are
 * read, used and dropped at a time.  The same bits as with all of them.
 */
#ifndef OP_PANELS_H
#define OP_PANELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/dtype.h"

struct blob;
struct err;
struct finish;
struct gemm;
struct op_call;

/* Input 1, k × n, from where it is stored; or the matrices it is a stack of. */
struct panels {
	struct op_call *c;
	struct blob *data; /* borrowed */
	enum dtype from, to;
	size_t k, n;
	bool by_rows; /* a column is a row of what is stored */
	/*
	 * As stored, and as `to` (may be one): what was read, k rows or, by_rows,
	 * k columns, without gaps.
	 */
	void *raw, *part;
};

/* trans: input 1 is n × k.  EFBIG where it cannot be read in parts. */
int panels_open(struct op_call *c, size_t k, size_t n, bool trans,
		enum dtype to, struct panels *p, struct err *e);
/*
 * For how many times `unit` columns there is memory, if each takes `extra`
 * bytes beside what is read, and all of them `more`; at least 1.
 */
size_t panels_at_once(const struct panels *p, size_t unit, uint64_t extra,
		      uint64_t more);
/* Room for so many columns. */
int panels_alloc(struct panels *p, size_t width, struct err *e);
/* Columns [first, first + width) of matrix i. */
int panels_read(struct panels *p, size_t i, size_t first, size_t width,
		struct err *e);

/*
 * B is input 1, as float32: nb matrices, one behind the other.  EFBIG when not
 * even a panel fits.
 */
int panels_packed(struct op_call *c, const struct gemm *g, size_t nb,
		  const float *a, const struct finish *finish, float *out,
		  struct err *e);
/* B is input 1, as type t, one matrix; like gemm_run. */
int panels_gemm(struct op_call *c, const struct gemm *g, enum dtype t,
		const void *a, void *out, struct err *e);

#endif
