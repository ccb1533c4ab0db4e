/* SPDX-License-Identifier: MIT */
/* quantize - scales and zero points, for all operators that have them. */
#ifndef OP_QUANTIZE_H
#define OP_QUANTIZE_H

#include "kernel/quant.h"
#include "modelfs/op.h"

/*
 * How elements of shape s go along with the scale in input `scale` and the
 * zero point in input `zero` (which may be left out).
 */
int quant_read(struct op_call *c, const struct shape *s, size_t scale,
	       size_t zero, struct quant_plan *p, struct err *e);
/* Sets round, lo and hi for results of this type. */
int quant_range(struct op_call *c, enum dtype t, struct quant_plan *p,
		struct err *e);
/* Input i as floats, its scale and zero point in the inputs behind it. */
int quant_input(struct op_call *c, size_t i, const float **out, struct err *e);
/*
 * Output 0 from floats, its scale and zero point in these inputs; t where
 * there is no zero point to tell the type.
 */
int quant_output(struct op_call *c, const struct shape *s, const float *v,
		 size_t scale, size_t zero, enum dtype t, struct err *e);

/* Scale and zero point that make these numbers bytes. */
void quant_dynamic(const float *x, uint64_t n, float *scale, float *zero);

#endif
