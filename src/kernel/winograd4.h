/* SPDX-License-Identifier: MIT */
/*
 * winograd4 - float32 convolution of 3 x 3 windows that move by one: a quarter
 * of the multiplications, the weights made ready beforehand.  For large images:
 * a digit less exact than winograd2.
 */
#ifndef KERNEL_WINOGRAD4_H
#define KERNEL_WINOGRAD4_H

#include "kernel/conv.h"
#include "kernel/fast.h"

/* A matter of the shapes alone. */
bool winograd4_has(const struct conv *v);
/* Floats of the weights' form. */
size_t winograd4_form_size(const struct conv *v);
void winograd4_form(const struct kernel *k, const struct conv *v,
		    const float *weights, float *form);
/* Floats of scratch memory. */
size_t winograd4_scratch(const struct kernel *k, const struct conv *v);
/* finish: rows are output channels; col_bias is NULL; add is like y. */
void winograd4_run(const struct kernel *k, const struct conv *v, const float *x,
		   const float *form, const struct finish *finish, float *y,
		   float *scratch);

#endif
