/* SPDX-License-Identifier: MIT */
/* cast - Cast, CastLike, BitCast. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "op/derived.h"
#include "op/impl.h"

#define NUMBER_TEXT 40

static int target(const struct op_call *c, enum dtype *out, struct err *e)
{
	if (c->op->max_in == 2)
		*out = op_dtype(c, 1);
	else if (op_attr_str(c, "to", NULL)) /* opset 1 spells the name */
		*out = dtype_by_name(op_attr_str(c, "to", NULL));
	else
		*out = dtype_by_onnx(op_attr_int(c, "to", 0));
	if (*out == DTYPE_NONE)
		return op_invalid(c, e, "no type to cast to");
	return 0;
}

static int infer_cast(struct op_call *c, struct err *e)
{
	enum dtype to;
	int rc = target(c, &to, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, to, &c->in[0].shape);
	return 0;
}

/* "1.5", "-INF", "nan": what a C number looks like, whole. */
static int parse_number(const struct op_call *c, const struct span *s,
			double *out, struct err *e)
{
	char buf[NUMBER_TEXT + 1], *end;

	if (s->len == 0 || s->len > NUMBER_TEXT)
		return op_invalid(c, e, "a string that is no number");
	memcpy(buf, s->p, s->len);
	buf[s->len] = '\0';
	*out = strtod(buf, &end);
	if (*end != '\0')
		return op_invalid(c, e, "a string that is no number");
	return 0;
}

static int cast_from_strings(struct op_call *c, enum dtype to, struct err *e)
{
	uint64_t n = op_nelems(c, 0);
	const void *p;
	size_t size;
	void *v, *out;
	int rc = op_elems(c, 0, &p, &size, e);

	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(double), &v, e);
	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n; i++) {
		rc = parse_number(c, (const struct span *)p + i,
				  (double *)v + i, e);
		if (rc < 0)
			return rc;
	}
	rc = op_alloc(c, 0, to, &c->in[0].shape, &out, e);
	if (rc < 0)
		return rc;
	if (op_convert(&c->env->kernel, DTYPE_F64, v, to, out, n, true) < 0)
		return op_unsupported(c, e, "no cast from strings to that");
	return 0;
}

/* NumPy's spelling: the shortest text that reads back as the same number. */
static size_t print_float(char *buf, double v, bool single)
{
	int n = 0;

	if (isnan(v) || isinf(v))
		return (size_t)snprintf(buf, NUMBER_TEXT, "%s",
					isnan(v) ? "NaN"
					: v < 0	 ? "-INF"
						 : "INF");
	for (int digits = 1; digits <= 17; digits++) {
		n = snprintf(buf, NUMBER_TEXT, "%.*g", digits, v);
		if (single ? strtof(buf, NULL) == (float)v
			   : strtod(buf, NULL) == v)
			break;
	}
	return (size_t)n;
}

static size_t print_element(char *buf, enum dtype t, const void *p, uint64_t i)
{
	if (t == DTYPE_F32)
		return print_float(buf, ((const float *)p)[i], true);
	if (t == DTYPE_F64)
		return print_float(buf, ((const double *)p)[i], false);
	if (t == DTYPE_U64)
		return (size_t)snprintf(
			buf, NUMBER_TEXT, "%llu",
			(unsigned long long)((const uint64_t *)p)[i]);
	return (size_t)snprintf(buf, NUMBER_TEXT, "%lld",
				(long long)((const int64_t *)p)[i]);
}

static enum dtype print_type(enum dtype t)
{
	if (op_is_float(t))
		return op_compute_type(t);
	return t == DTYPE_U64 ? t : DTYPE_I64;
}

static int cast_to_strings(struct op_call *c, struct err *e)
{
	uint64_t n = op_nelems(c, 0);
	enum dtype t = print_type(c->in[0].dtype);
	const void *p;
	void *text, *out;
	struct span *v;
	int rc = op_data_as(c, 0, t, &p, e);

	if (rc == 0)
		rc = op_temp_array(c, n, NUMBER_TEXT, &text, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, DTYPE_STRING, &c->in[0].shape, &out,
				    e);
	if (rc < 0)
		return rc;
	v = out;
	for (uint64_t i = 0; i < n; i++) {
		char *buf = (char *)text + i * NUMBER_TEXT;

		v[i].p = buf;
		v[i].len = print_element(buf, t, p, i);
	}
	return 0;
}

/* float8_e8m0 holds powers of two; round_mode says which one. */
static int cast_to_powers(struct op_call *c, struct err *e)
{
	const char *mode = op_attr_str(c, "round_mode", "up");
	uint64_t n = op_nelems(c, 0);
	const float *v;
	void *p, *out;
	float *power;
	int rc = op_in_f32(c, 0, &v, e);

	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(float), &p, e);
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_F8_E8M0, &c->in[0].shape, &out, e);
	if (rc < 0)
		return rc;
	power = p;
	for (uint64_t i = 0; i < n; i++) {
		int exponent;
		float fraction = frexpf(v[i], &exponent); /* [0.5, 1) */

		power[i] = v[i];
		if (!isfinite(v[i]) || v[i] <= 0 || fraction == 0.5f ||
		    strcmp(mode, "nearest") == 0)
			continue;
		power[i] = ldexpf(1, strcmp(mode, "up") == 0 ? exponent
							     : exponent - 1);
	}
	if (op_convert(&c->env->kernel, DTYPE_F32, power, DTYPE_F8_E8M0, out, n,
		       op_attr_int(c, "saturate", 1) != 0) < 0)
		return op_bad_dtype(c, 0, e);
	return 0;
}

static int eval_cast(struct op_call *c, struct err *e)
{
	bool saturate = op_attr_int(c, "saturate", 1) != 0;
	enum dtype to, from = c->in[0].dtype;
	void *out;
	int rc = target(c, &to, e);

	if (rc < 0)
		return rc;
	if (from == to)
		return op_give(c, 0, &c->in[0], e);
	if (from == DTYPE_STRING)
		return cast_from_strings(c, to, e);
	if (to == DTYPE_STRING)
		return cast_to_strings(c, e);
	if (to == DTYPE_F8_E8M0)
		return cast_to_powers(c, e);
	rc = op_alloc(c, 0, to, &c->in[0].shape, &out, e);
	if (rc < 0)
		return rc;
	if (op_convert(&c->env->kernel, from, op_data(c, 0), to, out,
		       op_nelems(c, 0), saturate) < 0)
		return op_bad_dtype(c, 0, e);
	return 0;
}

static int view_cast(struct op_call *c, struct tensor *out, struct err *e)
{
	enum dtype to;
	enum num num;

	if (target(c, &to, NULL) < 0 || to != DTYPE_F32 ||
	    !op_num(op_compute_type(c->in[0].dtype), &num))
		return op_unsupported(c, e, "this view");
	if (!out)
		return 0;
	if (c->in[0].dtype == to)
		return derived_alias(c, out, e);
	return derived_floats(&c->in[0], NULL, out, e);
}

static int eval_bitcast(struct op_call *c, struct err *e)
{
	struct tensor t = c->in[0];
	enum dtype to;
	int rc = target(c, &to, e);

	if (rc < 0)
		return rc;
	if (dtype_size(to) != dtype_size(t.dtype) || dtype_size(to) == 0)
		return op_invalid(c, e, "the types differ in size");
	t.dtype = to;
	return op_give(c, 0, &t, e);
}

const struct op ops_cast[] = {
	{ONNX, "Cast", 1, 1, 1, 1, 1, 0, 0, infer_cast, eval_cast,
	 .view = view_cast},
	{ONNX, "CastLike", 15, 2, 2, 1, 1, 0, 0, infer_cast, eval_cast,
	 .view = view_cast},
	{ONNX, "BitCast", 26, 1, 1, 1, 1, 0, 0, infer_cast, eval_bitcast},
	{0},
};
