/* SPDX-License-Identifier: MIT */
/*
 * tf_complex - TensorFlow's operators on complex numbers, and its Fourier
 * transforms, which make them.  ONNX has them as pairs of real numbers only.
 *
 * Everything is computed in float64.
 */
#include "kernel/complex.h"
#include "kernel/dft.h"
#include "op/impl.h"

/* op.arg of the transforms. */
enum { FFT_REAL = 1, FFT_INVERSE = 2, FFT_2D = 4 };

static bool is_complex(enum dtype t)
{
	return t == DTYPE_C64 || t == DTYPE_C128;
}

static enum dtype real_of(enum dtype t)
{
	return t == DTYPE_C128 ? DTYPE_F64 : DTYPE_F32;
}

static enum dtype complex_of(enum dtype t)
{
	return t == DTYPE_F64 || t == DTYPE_C128 ? DTYPE_C128 : DTYPE_C64;
}

/* ---- numbers in and out ---- */

/* Input i as pairs of float64; the second of a real number is 0. */
static int load(struct op_call *c, size_t i, const double **out, struct err *e)
{
	uint64_t n = op_nelems(c, i);
	enum dtype t = op_dtype(c, i);
	const void *in = op_data(c, i);
	double *pairs;
	void *p;
	int rc;

	if (t == DTYPE_C128) {
		*out = in;
		return 0;
	}
	rc = op_temp_array(c, n, 2 * sizeof(double), &p, e);
	if (rc == 0 && t != DTYPE_C64)
		rc = op_data_as(c, i, DTYPE_F64, &in, e);
	if (rc < 0)
		return rc;
	pairs = p;
	for (uint64_t k = 0; t == DTYPE_C64 && k < 2 * n; k++)
		pairs[k] = (double)((const float *)in)[k];
	for (uint64_t k = 0; t != DTYPE_C64 && k < n; k++) {
		pairs[2 * k] = ((const double *)in)[k];
		pairs[2 * k + 1] = 0;
	}
	*out = pairs;
	return op_check_stop(c, e);
}

/* Output 0: pairs for a complex type, else numbers. */
static int store(struct op_call *c, enum dtype t, const struct shape *s,
		 const double *from, struct err *e)
{
	bool is_wide = t == DTYPE_C128 || t == DTYPE_F64;
	uint64_t n;
	void *out;
	int rc = op_alloc(c, 0, t, s, &out, e);

	if (rc == 0)
		rc = op_count(c, s, &n, e);
	if (rc < 0)
		return rc;
	n = is_complex(t) ? 2 * n : n;
	if (is_wide && n > 0)
		memcpy(out, from, n * sizeof(double));
	for (uint64_t k = 0; !is_wide && k < n; k++)
		((float *)out)[k] = (float)from[k];
	return 0;
}

static int temp_pairs(struct op_call *c, const struct shape *s, double **out,
		      struct err *e)
{
	uint64_t n;
	void *p = NULL;
	int rc = op_count(c, s, &n, e);

	if (rc == 0)
		rc = op_temp_array(c, n, 2 * sizeof(double), &p, e);
	if (rc == 0)
		*out = p;
	return rc;
}

/* ---- one in ---- */

static int eval_unary(struct op_call *c, struct err *e)
{
	enum complex_op op = (enum complex_op)c->op->arg;
	enum dtype t = op_dtype(c, 0);
	const double *in;
	double *made = NULL;
	int rc = is_complex(t) ? load(c, 0, &in, e) : op_bad_dtype(c, 0, e);

	if (rc == 0)
		rc = temp_pairs(c, op_shape(c, 0), &made, e);
	if (rc < 0)
		return rc;
	complex_for(&c->env->kernel, op, in, made, op_nelems(c, 0));
	return store(c, op >= COMPLEX_ABS ? real_of(t) : t, op_shape(c, 0),
		     made, e);
}

static int infer_real(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, real_of(op_dtype(c, 0)), op_shape(c, 0));
	return 0;
}

/* From or to a complex type: what is not is left out, or 0. */
static enum dtype cast_type(const struct op_call *c)
{
	return dtype_by_name(op_attr_str(c, "DstT", ""));
}

static int infer_cast(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, cast_type(c), op_shape(c, 0));
	return 0;
}

static int eval_cast(struct op_call *c, struct err *e)
{
	enum dtype to = cast_type(c);
	uint64_t n = op_nelems(c, 0);
	const double *in;
	void *out;
	int rc = load(c, 0, &in, e);

	if (rc < 0)
		return rc;
	if (is_complex(to))
		return store(c, to, op_shape(c, 0), in, e);
	rc = op_alloc_as(c, 0, to, DTYPE_F64, op_shape(c, 0), &out, e);
	if (rc == 0)
		complex_for(&c->env->kernel, COMPLEX_REAL, in, out, n);
	return rc;
}

/* ---- two in ---- */

static int eval_binary(struct op_call *c, struct err *e)
{
	const struct shape *shapes[2] = {op_shape(c, 0), op_shape(c, 1)};
	const double *in[2];
	struct stride_plan p;
	struct shape s;
	double *made = NULL;
	int rc = op_broadcast(c, shapes[0], shapes[1], &s, e);

	for (size_t i = 0; rc == 0 && i < 2; i++)
		rc = is_complex(op_dtype(c, i)) ? load(c, i, &in[i], e)
						: op_bad_dtype(c, i, e);
	if (rc == 0)
		rc = temp_pairs(c, &s, &made, e);
	if (rc < 0)
		return rc;
	op_stride_plan(&p, &s, shapes, 2);
	p.in_size[0] = p.in_size[1] = p.out_size = 2 * sizeof(double);
	stride_for(&c->env->kernel, &p, (const void *const *)in, made,
		   complex_find((enum complex_op)c->op->arg), NULL);
	return store(c, op_dtype(c, 0), &s, made, e);
}

/* Complex(real, imaginary) */
static int infer_make(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = op_broadcast(c, op_shape(c, 0), op_shape(c, 1), &s, e);

	if (rc == 0)
		op_out(c, 0, complex_of(op_dtype(c, 0)), &s);
	return rc;
}

static int eval_make(struct op_call *c, struct err *e)
{
	const struct shape *a = op_shape(c, 0), *b = op_shape(c, 1);
	uint64_t n = op_nelems(c, 0);
	const void *re, *im;
	double *made = NULL;
	int rc = op_data_as(c, 0, DTYPE_F64, &re, e);

	if (rc == 0)
		rc = op_data_as(c, 1, DTYPE_F64, &im, e);
	if (rc == 0 && !shape_equal(a, b))
		return op_unsupported(c, e, "parts of different shapes");
	if (rc == 0)
		rc = temp_pairs(c, a, &made, e);
	if (rc < 0)
		return rc;
	for (uint64_t k = 0; k < n; k++) {
		made[2 * k] = ((const double *)re)[k];
		made[2 * k + 1] = ((const double *)im)[k];
	}
	return store(c, complex_of(op_dtype(c, 0)), a, made, e);
}

/* ---- Fourier transforms ---- */

static int32_t transform_rank(const struct op_call *c)
{
	return c->op->arg & FFT_2D ? 2 : 1;
}

static bool is_inverse(const struct op_call *c)
{
	return c->op->arg & FFT_INVERSE;
}

static bool is_real(const struct op_call *c)
{
	return c->op->arg & FFT_REAL;
}

/* Points along the last axes; 1 when not known yet. */
static int read_lengths(struct op_call *c, int64_t n[2], struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	int32_t rank = transform_rank(c);
	size_t count = 0;
	int rc = 0;

	if (is_real(c)) {
		rc = op_ints(c, 1, n, 2, &count, e);
		if (rc == 0 && count != (size_t)rank)
			return op_invalid(c, e, "%zu lengths", count);
	} else {
		for (int32_t i = 0; i < rank; i++)
			n[i] = s->dims[s->rank - rank + i];
	}
	for (int32_t i = 0; i < rank && rc == 0; i++) {
		if (n[i] == DIM_UNKNOWN && c->inferring)
			rc = 1;
		else if (n[i] < 0 || n[i] > INT32_MAX)
			return op_invalid(c, e, "length %lld", (long long)n[i]);
	}
	return rc;
}

static enum dtype fft_type(const struct op_call *c)
{
	enum dtype t = op_dtype(c, 0);

	if (is_real(c) && is_inverse(c))
		return real_of(t);
	return complex_of(t);
}

/* The shape of the result; 1 when it is not known yet. */
static int fft_shape(struct op_call *c, int64_t n[2], struct shape *s,
		     struct err *e)
{
	int32_t rank = transform_rank(c);
	int rc = op_need_rank(c, 0, rank, SHAPE_RANK_MAX, e);

	*s = *op_shape(c, 0);
	if (rc < 0 || s->rank < 0)
		return rc < 0 ? rc : 1;
	rc = read_lengths(c, n, e);
	if (rc < 0)
		return rc;
	for (int32_t i = 0; i < rank; i++)
		s->dims[s->rank - rank + i] = rc > 0 ? DIM_UNKNOWN : n[i];
	if (rc == 0 && is_real(c) && !is_inverse(c))
		s->dims[s->rank - 1] = n[rank - 1] / 2 + 1;
	return rc;
}

static int infer_fft(struct op_call *c, struct err *e)
{
	int64_t n[2];
	struct shape s;
	int rc = fft_shape(c, n, &s, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, fft_type(c), &s);
	return 0;
}

/* Along one axis of `at`; the new values are made, and shaped, in place. */
static int transform(struct op_call *c, int32_t axis, struct dft_plan *p,
		     struct shape *at, double **data, struct err *e)
{
	void *scratch;
	double *out = NULL;
	int rc;

	p->dim = (size_t)at->dims[axis];
	p->outer = shape_span(at, 0, axis);
	p->inner = shape_span(at, axis + 1, at->rank);
	at->dims[axis] = (int64_t)p->m;
	rc = temp_pairs(c, at, &out, e);
	if (rc == 0)
		rc = op_temp_array(c, dft_scratch(p), sizeof(double), &scratch,
				   e);
	if (rc < 0)
		return rc;
	dft_run(&c->env->kernel, p, *data, out, scratch);
	*data = out;
	return 0;
}

/* Numbers instead of pairs, in place: inner transforms are of pairs only. */
static void keep_real(double *data, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		data[i] = data[2 * i];
}

static int eval_fft(struct op_call *c, struct err *e)
{
	bool back = is_inverse(c) && is_real(c);
	int32_t rank = transform_rank(c), i;
	struct shape at = *op_shape(c, 0), s;
	const double *in;
	double *data;
	int64_t n[2];
	uint64_t count;
	int rc = fft_shape(c, n, &s, e);

	if (rc == 0)
		rc = load(c, 0, &in, e);
	if (rc == 0)
		rc = op_count(c, &s, &count, e);
	data = rc == 0 ? (double *)in : NULL;
	/* The last axis first, and last on the way back. */
	for (i = 0; rc == 0 && i < rank; i++) {
		int32_t k = back ? i : rank - 1 - i;
		bool is_half = is_real(c) && k == rank - 1;
		struct dft_plan p = {.n = (size_t)n[k],
				     .m = (size_t)n[k],
				     .parts_in = 2,
				     .parts_out = 2,
				     .inverse = is_inverse(c),
				     .half_in = is_half && back};

		if (is_half && !back)
			p.m = p.n / 2 + 1;
		rc = transform(c, at.rank - rank + k, &p, &at, &data, e);
	}
	if (rc < 0)
		return rc;
	if (back)
		keep_real(data, count);
	return store(c, fft_type(c), &s, data, e);
}

#define UNARY(type, arg)                                                \
	{                                                               \
		TF, type, 1, 1, 1, 1, 1, 0, arg, infer_same, eval_unary \
	}
#define REAL(type, arg)                                                 \
	{                                                               \
		TF, type, 1, 1, 1, 1, 1, 0, arg, infer_real, eval_unary \
	}
#define BINARY(type, arg)                                                     \
	{                                                                     \
		TF, type, 1, 2, 2, 1, 1, 0, arg, infer_broadcast, eval_binary \
	}
#define TRANSFORM(type, nin, arg)                                        \
	{                                                                \
		TF, type, 1, nin, nin, 1, 1, 0, arg, infer_fft, eval_fft \
	}

const struct op ops_tf_complex[] = {
	BINARY("Add", COMPLEX_ADD),
	BINARY("AddV2", COMPLEX_ADD),
	REAL("Angle", COMPLEX_ANGLE),
	{TF, "Cast", 1, 1, 1, 1, 1, 0, 0, infer_cast, eval_cast},
	{TF, "Complex", 1, 2, 2, 1, 1, 0, 0, infer_make, eval_make},
	REAL("ComplexAbs", COMPLEX_ABS),
	UNARY("Conj", COMPLEX_CONJ),
	UNARY("Cos", COMPLEX_COS),
	BINARY("Div", COMPLEX_DIV),
	UNARY("Exp", COMPLEX_EXP),
	TRANSFORM("FFT", 1, 0),
	TRANSFORM("FFT2D", 1, FFT_2D),
	TRANSFORM("IFFT", 1, FFT_INVERSE),
	TRANSFORM("IFFT2D", 1, FFT_INVERSE | FFT_2D),
	TRANSFORM("IRFFT", 2, FFT_REAL | FFT_INVERSE),
	TRANSFORM("IRFFT2D", 2, FFT_REAL | FFT_INVERSE | FFT_2D),
	REAL("Imag", COMPLEX_IMAG),
	UNARY("Inv", COMPLEX_RECIPROCAL),
	UNARY("Log", COMPLEX_LOG),
	BINARY("Mul", COMPLEX_MUL),
	UNARY("Neg", COMPLEX_NEG),
	BINARY("Pow", COMPLEX_POW),
	TRANSFORM("RFFT", 2, FFT_REAL),
	TRANSFORM("RFFT2D", 2, FFT_REAL | FFT_2D),
	REAL("Real", COMPLEX_REAL),
	BINARY("RealDiv", COMPLEX_DIV),
	UNARY("Reciprocal", COMPLEX_RECIPROCAL),
	UNARY("Rsqrt", COMPLEX_RSQRT),
	UNARY("Sin", COMPLEX_SIN),
	UNARY("Sqrt", COMPLEX_SQRT),
	UNARY("Square", COMPLEX_SQUARE),
	BINARY("Sub", COMPLEX_SUB),
	UNARY("Tanh", COMPLEX_TANH),
	{0},
};
