/* SPDX-License-Identifier: MIT */
/*
 * panels - products with a B that is too large for memory: a few columns of it
 * are read, used and dropped at a time.  The same bits as with all of B.
 */
#ifndef OP_PANELS_H
#define OP_PANELS_H

#include <stddef.h>

#include "modelfs/dtype.h"

struct err;
struct finish;
struct gemm;
struct op_call;

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
