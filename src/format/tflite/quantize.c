/* SPDX-License-Identifier: MIT */
/*
 * quantize - values of integers that stand for (q - zero_point) * scale.
 *
 * A sum of products is made of whole numbers, which floats hold exactly up to
 * 2^24, and brought to the scale of the output by one factor, as the runtime
 * does it; all else is computed with the numbers that the integers stand for.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/tflite/translate.h"

#define QUANTIZE_INPUTS_MAX 64

/* The file's tensor behind a value; NULL for one of ours. */
static const struct tflite_tensor *tensor_of(const struct tflite_make *k,
					     value_id v)
{
	const struct tflite_graph *g = k->tg;

	return v >= g->first_value && v - g->first_value < g->nvalues
		       ? &g->tensors[g->of_value[v - g->first_value]]
		       : NULL;
}

static int find(const struct tflite_make *k, value_id v,
		struct tflite_quantization *q, struct err *e)
{
	const struct tflite_tensor *x = tensor_of(k, v);

	*q = (struct tflite_quantization){0};
	return x ? tflite_quantization(k->tg->t, x, q, e) : 0;
}

static bool is_integer(enum dtype t)
{
	return t == DTYPE_I8 || t == DTYPE_U8 || t == DTYPE_I16 ||
	       t == DTYPE_I4;
}

bool tflite_is_quantized(const struct tflite_make *k, value_id v)
{
	const struct tflite_tensor *x = tensor_of(k, v);

	return x && is_integer(x->type.dtype) && x->nscales > 0;
}

bool tflite_has_scale(const struct tflite_make *k, value_id v)
{
	const struct tflite_tensor *x = tensor_of(k, v);

	return x && x->nscales > 0;
}

bool tflite_one_scale(const struct tflite_make *k, value_id v)
{
	const struct tflite_tensor *x = tensor_of(k, v);

	return x && x->nscales == 1;
}

bool tflite_same_scale(const struct tflite_make *k, value_id a, value_id b)
{
	struct tflite_quantization p, q;

	if (find(k, a, &p, NULL) < 0 || find(k, b, &q, NULL) < 0)
		return false;
	return p.n == q.n && p.n <= 1 &&
	       (p.n == 0 || (p.scale[0] == q.scale[0] &&
			     p.zero_point[0] == q.zero_point[0]));
}

bool tflite_is_hybrid(const struct tflite_make *k)
{
	return k->nin > 1 && !tflite_is_quantized(k, k->given[0]) &&
	       k->at.g->values[k->given[0]].dtype == DTYPE_F32 &&
	       tflite_is_quantized(k, k->given[1]);
}

/* ---- constants ---- */

/* Zero points in the type of the integers. */
static int zero_points(struct tflite_make *k, const char *what,
		       const struct tflite_quantization *q, enum dtype t,
		       value_id *out, struct err *e)
{
	const struct shape shape =
		q->n == 1 ? shape_of(0, NULL)
			  : shape_of(1, (const int64_t[]){q->n});
	size_t size = t == DTYPE_I16 ? 2 : 1;
	uint8_t *p = arena_array(k->at.m->arena, q->n + 1u, size);

	if (!p)
		return err_nomem(e, q->n);
	for (uint32_t i = 0; i < q->n; i++) {
		int16_t wide = (int16_t)q->zero_point[i];

		if (size == 2)
			memcpy(p + 2 * i, &wide, 2);
		else
			p[i] = (uint8_t)q->zero_point[i];
	}
	return steps_tensor(&k->at, what, t == DTYPE_I4 ? DTYPE_I8 : t, &shape,
			    p, q->n * size, out, e);
}

static int scales(struct tflite_make *k, const char *what,
		  const struct tflite_quantization *q, bool is_unit,
		  value_id *out, struct err *e)
{
	const struct shape shape =
		q->n == 1 ? shape_of(0, NULL)
			  : shape_of(1, (const int64_t[]){q->n});
	float *p = arena_array(k->at.m->arena, q->n + 1u, sizeof(*p));

	if (!p)
		return err_nomem(e, q->n * sizeof(*p));
	for (uint32_t i = 0; i < q->n; i++)
		p[i] = is_unit ? 1 : q->scale[i];
	return steps_tensor(&k->at, what, DTYPE_F32, &shape, p,
			    q->n * sizeof(*p), out, e);
}

static const char *join(struct tflite_make *k, const char *what,
			const char *end)
{
	char buf[64];
	int n = snprintf(buf, sizeof(buf), "%s_%s", what, end);

	return arena_strndup(k->at.m->arena, buf, (size_t)n);
}

/* Floats from the integers of v; is_unit: the distance from zero alone. */
static int to_floats(struct tflite_make *k, const char *what, value_id v,
		     bool is_unit, value_id *out, struct err *e)
{
	struct tflite_quantization q;
	struct attr axis = attr_set_int("axis", 0);
	value_id in[3] = {v, NO_VALUE, NO_VALUE};
	struct step s = {.what = what,
			 .type = "DequantizeLinear",
			 .in = in,
			 .nin = 3,
			 .attrs = &axis};
	const char *scale = join(k, what, "scale");
	const char *zero = join(k, what, "zero_point");
	enum dtype t = k->at.g->values[v].dtype;
	int rc = scale && zero ? find(k, v, &q, e) : err_nomem(e, 0);

	if (rc == 0)
		rc = scales(k, scale, &q, is_unit, &in[1], e);
	if (rc == 0)
		rc = zero_points(k, zero, &q, t, &in[2], e);
	axis.i = q.axis;
	s.nattrs = q.n > 1;
	s.opset = t == DTYPE_I16 || t == DTYPE_I4 ? 21 : 0;
	return rc < 0 ? rc : steps_inner(&k->at, &s, out, e);
}

int tflite_dequantize(struct tflite_make *k, const char *what, value_id v,
		      value_id *out, struct err *e)
{
	return to_floats(k, what, v, false, out, e);
}

static int cast(struct tflite_make *k, const char *what, value_id v,
		value_id *out, struct err *e)
{
	struct attr to = attr_set_int("to", 1); /* float32 */
	struct step s = {.what = what,
			 .type = "Cast",
			 .in = &v,
			 .nin = 1,
			 .attrs = &to,
			 .nattrs = 1};

	return steps_inner(&k->at, &s, out, e);
}

/* ---- the output ---- */

/* The operator's own output: floats in units of q.scale, or of 1. */
static int last_quantize(struct tflite_make *k, value_id v, bool is_unit,
			 struct err *e)
{
	struct tflite_quantization q;
	enum dtype t = k->at.g->values[k->out[0]].dtype;
	value_id in[3] = {v, NO_VALUE, NO_VALUE};
	struct step s = {.what = "quantized",
			 .type = "QuantizeLinear",
			 .opset = t == DTYPE_I16 ? 21 : 0,
			 .in = in,
			 .nin = 3,
			 .out = k->out,
			 .nout = 1};
	int rc = find(k, k->out[0], &q, e);

	if (rc == 0)
		rc = scales(k, "output_scale", &q, is_unit, &in[1], e);
	if (rc == 0)
		rc = zero_points(k, "output_zero_point", &q, t, &in[2], e);
	if (rc == 0)
		rc = steps_node(&k->at, &s, e);
	return rc < 0 ? rc : 1;
}

static int limit(struct tflite_make *k, float low, float high, value_id *v,
		 struct err *e)
{
	struct attr a[] = {attr_set_float("min", low),
			   attr_set_float("max", high)};
	struct step s = {.what = "activation",
			 .type = "Clip",
			 .opset = 6, /* the limits are attributes */
			 .in = v,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};

	return steps_inner(&k->at, &s, v, e);
}

/* An activation of values in units of the output's scale. */
static int activate(struct tflite_make *k, int64_t activation, float scale,
		    value_id *v, struct err *e)
{
	switch (activation) {
	case TFLITE_RELU:
		return steps_make(&k->at, "activation", "Relu", *v, NO_VALUE, v,
				  e);
	case TFLITE_RELU_1:
		return limit(k, -1 / scale, 1 / scale, v, e);
	case TFLITE_RELU_6:
		return limit(k, 0, 6 / scale, v, e);
	default:
		return 0;
	}
}

static int64_t fused(struct tflite_make *k)
{
	static const struct {
		const char *type;
		unsigned field;
	} fields[] = {{"CONV_2D", 3},
		      {"DEPTHWISE_CONV_2D", 4},
		      {"FULLY_CONNECTED", 0},
		      {"AVERAGE_POOL_2D", 5},
		      {"ADD", 0},
		      {"SUB", 0},
		      {"MUL", 0},
		      {"DIV", 0}};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcmp(k->type.p, fields[i].type) == 0)
			return tflite_option(k, fields[i].field, 1, 0);
	return TFLITE_NONE;
}

/* The factor of sums: scales of image and kernel over that of the output. */
static int sum_factor(struct tflite_make *k, float *scale, value_id *out,
		      struct err *e)
{
	struct tflite_quantization x, w, y;
	float *p;
	int rc = find(k, k->given[0], &x, e);

	if (rc == 0)
		rc = find(k, k->given[1], &w, e);
	if (rc == 0)
		rc = find(k, k->out[0], &y, e);
	if (rc < 0)
		return rc;
	p = arena_array(k->at.m->arena, w.n + 1u, sizeof(*p));
	if (!p)
		return err_nomem(e, w.n * sizeof(*p));
	for (uint32_t i = 0; i < w.n; i++)
		p[i] = (float)((double)x.scale[0] * w.scale[i] / y.scale[0]);
	*scale = y.scale[0];
	return w.n == 1 ? steps_float(&k->at, "factor", p[0], out, e)
			: steps_floats(&k->at, "factor", p, w.n, out, e);
}

static int finish_sums(struct tflite_make *k, value_id v, struct err *e)
{
	value_id factor;
	float scale = 1;
	int rc = sum_factor(k, &scale, &factor, e);

	if (rc == 0)
		rc = steps_make(&k->at, "scaled", "Mul", v, factor, &v, e);
	if (rc == 0)
		rc = activate(k, fused(k), scale, &v, e);
	return rc < 0 ? rc : last_quantize(k, v, true, e);
}

/*
 * An average of integers is rounded away from zero: the sign times the floor
 * of the absolute value and a half.
 */
static int finish_raw(struct tflite_make *k, value_id v, struct err *e)
{
	struct tflite_quantization q;
	value_id sign, half, zero, limits = v;
	int rc = steps_make(&k->at, "sign", "Sign", v, NO_VALUE, &sign, e);

	if (rc == 0)
		rc = find(k, k->out[0], &q, e);
	if (rc == 0)
		rc = steps_float(&k->at, "half", 0.5f, &half, e);
	if (rc == 0)
		rc = steps_make(&k->at, "absolute", "Abs", v, NO_VALUE, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "raised", "Add", v, half, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "floor", "Floor", v, NO_VALUE, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "rounded", "Mul", v, sign, &v, e);
	if (rc == 0)
		rc = steps_float(&k->at, "zero", (float)q.zero_point[0], &zero,
				 e);
	if (rc == 0)
		rc = steps_make(&k->at, "centered", "Sub", v, zero, &limits, e);
	if (rc == 0)
		rc = activate(k, fused(k), q.scale[0], &limits, e);
	return rc < 0 ? rc : last_quantize(k, limits, true, e);
}

/* ---- around an operator ---- */

/* One input as floats, or as it is. */
static int convert(struct tflite_make *k, enum tflite_handling how, uint32_t i,
		   value_id *out, struct err *e)
{
	char what[32];
	const char *name;
	value_id v = k->given[i];
	enum dtype t = v == NO_VALUE ? DTYPE_NONE : k->at.g->values[v].dtype;

	*out = v;
	if (v == NO_VALUE)
		return 0;
	snprintf(what, sizeof(what), "input_%u", i);
	name = arena_strndup(k->at.m->arena, what, strlen(what));
	if (!name)
		return err_nomem(e, 0);
	if (tflite_is_quantized(k, v))
		return how == HANDLE_RAW
			       ? cast(k, name, v, out, e)
			       : to_floats(k, name, v, how == HANDLE_SUMS, out,
					   e);
	/* A bias, in units of the sums. */
	if (how == HANDLE_SUMS && (t == DTYPE_I32 || t == DTYPE_I64))
		return cast(k, name, v, out, e);
	return 0;
}

static bool any_quantized(const struct tflite_make *k, uint32_t nvalues)
{
	bool found = tflite_is_quantized(k, k->out[0]);

	for (uint32_t i = 0; i < nvalues && !found; i++)
		found = tflite_is_quantized(k, k->given[i]);
	return found;
}

static bool can_move(const struct tflite_make *k, uint32_t nvalues)
{
	bool same = true;

	for (uint32_t i = 0; same && i < nvalues; i++)
		same = tflite_same_scale(k, k->given[i], k->out[0]);
	return same;
}

/*
 * Sums of products are quantised on both sides, or floats that only the kernel
 * is not.
 */
static bool can_sum(const struct tflite_make *k)
{
	bool is_quantized = tflite_is_quantized(k, k->given[0]);
	struct tflite_quantization y;

	if (is_quantized != tflite_is_quantized(k, k->out[0]) || k->nin < 2)
		return false;
	if (!is_quantized)
		return tflite_is_hybrid(k);
	return tflite_is_quantized(k, k->given[1]) &&
	       find(k, k->out[0], &y, NULL) == 0 && y.n == 1 && y.scale[0] > 0;
}

static bool can_wrap(const struct tflite_make *k, enum tflite_handling how,
		     uint32_t nvalues)
{
	struct tflite_quantization q;

	if (k->nout != 1 || k->nin > QUANTIZE_INPUTS_MAX)
		return false;
	if (how == HANDLE_RAW)
		return can_move(k, nvalues);
	if (how == HANDLE_SUMS && !can_sum(k))
		return false;
	if (tflite_is_quantized(k, k->out[0]) &&
	    (find(k, k->out[0], &q, NULL) < 0 || q.n != 1 || !(q.scale[0] > 0)))
		return false;
	for (uint32_t i = 0; i < nvalues; i++)
		if (k->given[i] != NO_VALUE &&
		    tflite_is_quantized(k, k->given[i]) &&
		    (find(k, k->given[i], &q, NULL) < 0 ||
		     (i != 1 && q.n != 1)))
			return false;
	return true;
}

/* With new inputs, and an output in between. */
static int make_inner(struct tflite_make *k, enum tflite_handling how,
		      uint32_t nvalues, tflite_maker make, value_id *out,
		      struct err *e)
{
	bool is_last = !tflite_is_quantized(k, k->out[0]);
	value_id in[QUANTIZE_INPUTS_MAX];
	struct tflite_make inner = *k;
	int rc = 0;

	memcpy(in, k->given, k->nin * sizeof(*in));
	for (uint32_t i = 0; rc == 0 && i < nvalues; i++)
		rc = convert(k, how, i, &in[i], e);
	if (rc == 0 && !is_last)
		rc = steps_value(&k->at, "real", out, e);
	inner.in = in;
	inner.out = is_last ? k->out : out;
	inner.is_bare = !is_last && how != HANDLE_FLOAT;
	return rc < 0 ? rc : make(&inner, e);
}

int tflite_wrap(struct tflite_make *k, enum tflite_handling how,
		uint32_t nvalues, tflite_maker make, struct err *e)
{
	value_id real;
	int rc;

	if (nvalues == 0 || nvalues > k->nin)
		nvalues = k->nin;
	if (how == HANDLE_MOVE && can_move(k, nvalues))
		return make(k, e);
	if (how == HANDLE_OWN || !any_quantized(k, nvalues))
		return make(k, e);
	if (!can_wrap(k, how, nvalues))
		return 0;
	rc = make_inner(k, how, nvalues, make, &real, e);
	if (rc <= 0 || !tflite_is_quantized(k, k->out[0]))
		return rc;
	if (how == HANDLE_SUMS)
		return finish_sums(k, real, e);
	if (how == HANDLE_RAW)
		return finish_raw(k, real, e);
	return last_quantize(k, real, false, e);
}

/* ---- for operators that see to it themselves ---- */

int tflite_centered(struct tflite_make *k, const char *what, value_id v,
		    value_id *out, struct err *e)
{
	return tflite_is_quantized(k, v) ? to_floats(k, what, v, true, out, e)
					 : cast(k, what, v, out, e);
}

int64_t tflite_zero_point(const struct tflite_make *k, value_id v)
{
	struct tflite_quantization q;

	return find(k, v, &q, NULL) == 0 && q.n == 1 ? q.zero_point[0] : 0;
}

bool tflite_scale(const struct tflite_make *k, value_id v, float *out)
{
	struct tflite_quantization q;

	if (find(k, v, &q, NULL) < 0 || q.n != 1 || !(q.scale[0] > 0) ||
	    q.scale[0] > 1e30f)
		return false;
	*out = q.scale[0];
	return true;
}

int tflite_real(struct tflite_make *k, const char *what, value_id v,
		value_id *out, struct err *e)
{
	const char *scaled = join(k, what, "scaled");
	const char *name = join(k, what, "factor");
	struct tflite_quantization q;
	value_id factor;
	int rc = scaled && name ? 0 : err_nomem(e, 0);

	if (rc == 0 && tflite_is_quantized(k, v))
		return to_floats(k, what, v, false, out, e);
	/* A bias has a scale, or one for each channel, and zero is zero. */
	if (rc == 0)
		rc = find(k, v, &q, e);
	if (rc == 0 && q.n == 0)
		return err_set(e, EINVAL, "a bias without a scale");
	if (rc == 0)
		rc = cast(k, what, v, &v, e);
	if (rc == 0)
		rc = scales(k, name, &q, false, &factor, e);
	return rc < 0 ? rc
		      : steps_make(&k->at, scaled, "Mul", v, factor, out, e);
}

int tflite_quantized(struct tflite_make *k, value_id v, bool is_unit,
		     struct err *e)
{
	return last_quantize(k, v, is_unit, e);
}

/* ONNX has no quantised integers of 32 bits. */
static int quantize_wide(struct tflite_make *k, value_id v, struct err *e)
{
	struct attr to = attr_set_int("to", 6); /* int32 */
	struct step s = {.what = "quantized",
			 .type = "Cast",
			 .in = &v,
			 .nin = 1,
			 .attrs = &to,
			 .nattrs = 1};
	value_id scale, zero;
	float number;
	int rc;

	if (!tflite_scale(k, k->out[0], &number))
		return 0;
	rc = steps_float(&k->at, "output_scale", number, &scale, e);
	if (rc == 0)
		rc = steps_float(&k->at, "output_zero_point",
				 (float)tflite_zero_point(k, k->out[0]), &zero,
				 e);
	if (rc == 0)
		rc = steps_make(&k->at, "units", "Div", v, scale, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "rounded", "Round", v, NO_VALUE, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "shifted", "Add", v, zero, &v, e);
	return rc < 0 ? rc : tflite_finish(k, &s, TFLITE_NONE, e);
}

int tflite_make_quantize(struct tflite_make *k, struct err *e)
{
	bool is_wide = k->at.g->values[k->out[0]].dtype == DTYPE_I32;
	value_id v = k->in[0];
	int rc = 0;

	if (k->nin != 1 || !can_wrap(k, HANDLE_FLOAT, 1) ||
	    (!is_wide && !tflite_is_quantized(k, k->out[0])))
		return 0;
	if (tflite_is_quantized(k, v))
		rc = tflite_dequantize(k, "real", v, &v, e);
	if (rc < 0)
		return rc;
	return is_wide ? quantize_wide(k, v, e) : last_quantize(k, v, false, e);
}

int tflite_make_dequantize(struct tflite_make *k, struct err *e)
{
	struct attr to = attr_set_int("to", 1); /* float32 */
	struct step s = {.type = "Cast",
			 .in = k->in,
			 .nin = 1,
			 .attrs = &to,
			 .nattrs = 1};
	value_id v;
	int rc;

	/* float16 is what some models store their weights as. */
	if (!tflite_is_quantized(k, k->in[0]))
		return k->at.g->values[k->in[0]].dtype == DTYPE_F16
			       ? tflite_finish(k, &s, TFLITE_NONE, e)
			       : 0;
	rc = tflite_dequantize(k, "real", k->in[0], &v, e);
	s = (struct step){.type = "Identity", .in = &v, .nin = 1};
	return rc < 0 ? rc : tflite_finish(k, &s, TFLITE_NONE, e);
}

int tflite_kernel_scale(struct tflite_make *k, value_id *out, struct err *e)
{
	struct tflite_quantization q;
	int rc = find(k, k->given[1], &q, e);

	return rc < 0 ? rc : scales(k, "kernel_scale", &q, false, out, e);
}
