/* SPDX-License-Identifier: MIT */
/* matrices - products of matrices. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/tflite/translate.h"

static const int64_t swap[] = {1, 0};

/* ---- dense layers ---- */

/* The product, times a factor if there is one, and the bias. */
static int finish_dense(struct tflite_make *k, value_id x, value_id kernel,
			value_id factor, struct err *e)
{
	int64_t activation = tflite_option(k, 0, 1, 0);
	bool has_bias = tflite_has(k, 2), has_factor = factor != NO_VALUE;
	value_id in[2] = {x, kernel};
	struct step s = {
		.what = "product", .type = "MatMul", .in = in, .nin = 2};
	int rc = 0;

	if (has_bias || has_factor)
		rc = steps_inner(&k->at, &s, &in[0], e);
	if (rc == 0 && has_factor) {
		in[1] = factor;
		s.what = "scaled";
		s.type = "Mul";
		if (has_bias)
			rc = steps_inner(&k->at, &s, &in[0], e);
	}
	if (has_bias) {
		in[1] = k->in[2];
		s.what = "sum";
		s.type = "Add";
	}
	return rc < 0 ? rc : tflite_finish(k, &s, activation, e);
}

/* Floats by integers: each row is quantised as the runtime does it. */
static int hybrid_dense(struct tflite_make *k, value_id x, value_id kernel,
			struct err *e)
{
	bool is_symmetric = tflite_option(k, 3, 1, 0) == 0;
	value_id factor, scale;
	int rc = tflite_dynamic(k, x, 1, is_symmetric, &x, &factor, e);

	if (rc == 0)
		rc = tflite_kernel_scale(k, &scale, e);
	if (rc == 0)
		rc = steps_make(&k->at, "factor", "Mul", factor, scale, &factor,
				e);
	return rc < 0 ? rc : finish_dense(k, x, kernel, factor, e);
}

/* [.., n] becomes [batch, n] where the kernel is [outputs, n]. */
int tflite_make_dense(struct tflite_make *k, struct err *e)
{
	const struct shape *p = tflite_extents(k, 1, 2);
	bool keeps = tflite_option(k, 2, 1, 0);
	value_id x = k->in[0], kernel;
	int64_t dims[2];
	int rc = 0;

	if (!p || tflite_option(k, 1, 1, 0) != 0 ||
	    !tflite_can_activate(tflite_option(k, 0, 1, 0)))
		return 0;
	dims[0] = -1;
	dims[1] = p->dims[1];
	if (!keeps)
		rc = tflite_reshape(k, "flat", x, dims, 2, &x, e);
	if (rc == 0)
		rc = tflite_turn(k, "kernel_t", swap, 2, k->in[1], false,
				 &kernel, e);
	if (rc < 0)
		return rc;
	return tflite_is_hybrid(k) ? hybrid_dense(k, x, kernel, e)
				   : finish_dense(k, x, kernel, NO_VALUE, e);
}

/* ---- products of values ---- */

static int turn_last(struct tflite_make *k, const char *what, uint32_t i,
		     value_id *out, struct err *e)
{
	const struct tensor *t = tflite_type(k, k->given[i]);
	int64_t perm[SHAPE_RANK_MAX];
	int32_t rank = t->shape.rank;

	for (int32_t d = 0; d < rank; d++)
		perm[d] = d;
	perm[rank - 1] = rank - 2;
	perm[rank - 2] = rank - 1;
	return tflite_turn(k, what, perm, (size_t)rank, k->in[i], false, out,
			   e);
}

static bool is_matrix(const struct tflite_make *k, uint32_t i)
{
	const struct tensor *t = tflite_type(k, k->given[i]);

	return t && t->shape.rank >= 2;
}

int tflite_make_product(struct tflite_make *k, struct err *e)
{
	value_id in[2] = {k->in[0], k->nin == 2 ? k->in[1] : NO_VALUE};
	struct step s = {.type = "MatMul", .in = in, .nin = 2};
	int rc = 0;

	if (k->nin != 2 || !is_matrix(k, 0) || !is_matrix(k, 1))
		return 0;
	if (tflite_option(k, 0, 1, 0))
		rc = turn_last(k, "x_turned", 0, &in[0], e);
	if (rc == 0 && tflite_option(k, 1, 1, 0))
		rc = turn_last(k, "y_turned", 1, &in[1], e);
	return rc < 0 ? rc : tflite_finish(k, &s, TFLITE_NONE, e);
}
