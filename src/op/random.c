/* SPDX-License-Identifier: MIT */
/*
 * random - RandomNormal, RandomUniform, their Like twins, Bernoulli,
 * Multinomial.  Without a seed the node's name is one, so that a value read
 * twice is the same.
 */
#include "kernel/random.h"

#include <math.h>

#include "op/impl.h"

static uint64_t seed_of(const struct op_call *c)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a of the name */
	float seed = op_attr_float(c, "seed", 0);
	uint32_t bits;

	if (node_attr(c->node, "seed")) {
		memcpy(&bits, &seed, sizeof(bits));
		return bits;
	}
	for (const char *p = c->node->name; *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3u;
	return h;
}

static int random_shape(const struct op_call *c, struct shape *s, struct err *e)
{
	const int64_t *v;
	size_t n;

	if (c->op->max_in > 0) {
		*s = *op_shape(c, 0);
		return 0;
	}
	op_attr_ints(c, "shape", &v, &n);
	return shape_set(s, v, n, e);
}

static enum dtype random_type(const struct op_call *c)
{
	enum dtype same = c->op->max_in > 0 ? c->in[0].dtype : DTYPE_F32;

	if (!node_attr(c->node, "dtype"))
		return same;
	return dtype_by_onnx(op_attr_int(c, "dtype", 0));
}

static int infer_random(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = random_shape(c, &s, e);

	if (rc == 0)
		op_out(c, 0, random_type(c), &s);
	return rc;
}

enum distribution { RANDOM_NORMAL, RANDOM_UNIFORM };

static int eval_random(struct op_call *c, struct err *e)
{
	bool normal = c->op->arg == RANDOM_NORMAL;
	double a = (double)op_attr_float(c, normal ? "mean" : "low", 0);
	double b = (double)op_attr_float(c, normal ? "scale" : "high", 1);
	uint64_t seed = seed_of(c), n;
	struct shape s;
	double *o;
	void *out;
	int rc = random_shape(c, &s, e);

	if (rc == 0)
		rc = op_count(c, &s, &n, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, random_type(c), DTYPE_F64, &s, &out, e);
	if (rc < 0)
		return rc;
	o = out;
	for (uint64_t i = 0; i < n; i++) {
		o[i] = normal ? a + b * random_normal(seed, i)
			      : a + (b - a) * random_uniform(seed, i);
		if (i % 65536 == 0 && kernel_stopped(&c->env->kernel))
			break;
	}
	return 0;
}

static int eval_bernoulli(struct op_call *c, struct err *e)
{
	uint64_t seed = seed_of(c), n = op_nelems(c, 0);
	const void *p;
	void *out;
	int rc = op_data_as(c, 0, DTYPE_F64, &p, e);

	if (rc == 0)
		rc = op_alloc_as(c, 0, random_type(c), DTYPE_U8, op_shape(c, 0),
				 &out, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		((uint8_t *)out)[i] =
			random_uniform(seed, i) < ((const double *)p)[i];
	return rc;
}

/* ---- Multinomial ---- */
static enum dtype sample_type(const struct op_call *c)
{
	return dtype_by_onnx(op_attr_int(c, "dtype", 6));
}

static int infer_multinomial(struct op_call *c, struct err *e)
{
	int64_t n = op_attr_int(c, "sample_size", 1);
	struct shape s = shape_of(2, (int64_t[]){DIM_UNKNOWN, n});
	int rc = op_need_rank(c, 0, 2, 2, e);

	if (rc < 0)
		return rc;
	if (n < 0)
		return op_invalid(c, e, "sample_size %lld", (long long)n);
	if (op_shape(c, 0)->rank == 2)
		s.dims[0] = op_shape(c, 0)->dims[0];
	op_out(c, 0, sample_type(c), &s);
	return 0;
}

/* The class that a uniform number falls into; x: log-probabilities. */
static int64_t pick(const double *x, int64_t n, double u)
{
	double max = -INFINITY, sum = 0, at = 0;

	for (int64_t i = 0; i < n; i++)
		max = fmax(max, x[i]);
	for (int64_t i = 0; i < n; i++)
		sum += exp(x[i] - max);
	for (int64_t i = 0; i < n; i++) {
		at += exp(x[i] - max) / sum;
		if (u < at)
			return i;
	}
	return n - 1;
}

static int eval_multinomial(struct op_call *c, struct err *e)
{
	int64_t classes, n;
	uint64_t seed = seed_of(c), total;
	struct shape s;
	const void *x;
	void *out;
	int rc = infer_multinomial(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	classes = op_shape(c, 0)->dims[1];
	n = s.dims[1];
	if (classes < 1)
		return op_invalid(c, e, "no classes");
	rc = op_count(c, &s, &total, e);
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &x, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, sample_type(c), DTYPE_I64, &s, &out, e);
	for (uint64_t i = 0; rc == 0 && i < total; i++) {
		const double *row =
			(const double *)x + (int64_t)i / n * classes;

		((int64_t *)out)[i] =
			pick(row, classes, random_uniform(seed, i));
		if (i % 256 == 0)
			rc = op_check_stop(c, e);
	}
	return rc;
}

#define RANDOM(type, ins, kind)                                               \
	{                                                                     \
		ONNX, type, 1, ins, ins, 1, 1, OP_RANDOM, kind, infer_random, \
			eval_random                                           \
	}

const struct op ops_random[] = {
	RANDOM("RandomNormal", 0, RANDOM_NORMAL),
	RANDOM("RandomUniform", 0, RANDOM_UNIFORM),
	RANDOM("RandomNormalLike", 1, RANDOM_NORMAL),
	RANDOM("RandomUniformLike", 1, RANDOM_UNIFORM),
	{ONNX, "Bernoulli", 15, 1, 1, 1, 1, OP_RANDOM, 0, infer_random,
	 eval_bernoulli},
	{ONNX, "Multinomial", 7, 1, 1, 1, 1, OP_RANDOM, 0, infer_multinomial,
	 eval_multinomial},
	{0},
};
