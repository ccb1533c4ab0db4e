/* SPDX-License-Identifier: MIT */
/*
 * svdf - a dense layer of rank-1 filters in time: each filter multiplies the
 * input with a vector, keeps the last results, and sums them up with weights
 * of their own; `rank` filters make a unit.
 *
 * Of integers all products are sums of whole numbers; the new state is rounded
 * to 16 bits, as the runtime does it.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/tflite/translate.h"

enum { /* inputs */
       SVDF_INPUT = 0,
       SVDF_FEATURE = 1,
       SVDF_TIME = 2,
       SVDF_BIAS = 3,
       SVDF_STATE = 4,
       SVDF_INPUTS = 5
};

struct svdf {
	int64_t filters, memory, rank;
	bool is_integer;
	value_id in[SVDF_INPUTS];     /* as floats */
	float state_scale, sum_scale; /* of integers: into state, into output */
};

static bool is_one_type(const struct tflite_make *k, enum dtype a, enum dtype b)
{
	return k->at.g->values[k->given[SVDF_TIME]].dtype == a &&
	       k->at.g->values[k->given[SVDF_STATE]].dtype == b;
}

static bool find_scales(const struct tflite_make *k, struct svdf *s)
{
	float x, feature, time, state, out;

	if (!tflite_scale(k, k->given[SVDF_INPUT], &x) ||
	    !tflite_scale(k, k->given[SVDF_FEATURE], &feature) ||
	    !tflite_scale(k, k->given[SVDF_TIME], &time) ||
	    !tflite_scale(k, k->given[SVDF_STATE], &state) ||
	    !tflite_scale(k, k->out[0], &out))
		return false;
	s->state_scale = (float)((double)x * feature / state);
	s->sum_scale = (float)((double)state * time / out);
	return is_one_type(k, DTYPE_I16, DTYPE_I16) ||
	       is_one_type(k, DTYPE_I8, DTYPE_I8);
}

static bool read_layer(struct tflite_make *k, struct svdf *s)
{
	const struct shape *time = tflite_extents(k, SVDF_TIME, 2);
	const struct shape *feature = tflite_extents(k, SVDF_FEATURE, 2);

	if (k->nin != SVDF_INPUTS || !time || !feature ||
	    !tflite_has(k, SVDF_STATE) || !tflite_has(k, SVDF_INPUT))
		return false;
	s->filters = time->dims[0];
	s->memory = time->dims[1];
	s->rank = tflite_option(k, 0, 4, 1);
	s->is_integer = tflite_is_quantized(k, k->given[SVDF_INPUT]);
	if (s->filters < 1 || s->memory < 2 || s->rank < 1 ||
	    s->filters % s->rank != 0 || feature->dims[0] != s->filters ||
	    tflite_is_quantized(k, k->out[0]) != s->is_integer ||
	    !tflite_can_activate(tflite_option(k, 1, 1, 0)))
		return false;
	return s->is_integer ? find_scales(k, s)
			     : is_one_type(k, DTYPE_F32, DTYPE_F32) &&
				       !tflite_is_hybrid(k);
}

static int to_floats(struct tflite_make *k, struct svdf *s, struct err *e)
{
	static const char *const names[] = {"input", "feature", "time", "bias",
					    "state"};
	int rc = 0;

	memcpy(s->in, k->given, sizeof(s->in));
	for (uint32_t i = 0; s->is_integer && rc == 0 && i < SVDF_INPUTS; i++)
		if (tflite_has(k, i))
			rc = tflite_centered(k, names[i], k->given[i],
					     &s->in[i], e);
	return rc;
}

static int scaled(struct tflite_make *k, const char *what, const char *factor,
		  float scale, value_id *v, struct err *e)
{
	value_id f;
	int rc = steps_float(&k->at, factor, scale, &f, e);

	return rc < 0 ? rc : steps_make(&k->at, what, "Mul", *v, f, v, e);
}

/* The runtime keeps whole numbers of the state's type. */
static int round_state(struct tflite_make *k, const struct svdf *s, value_id *v,
		       struct err *e)
{
	bool is_wide = is_one_type(k, DTYPE_I16, DTYPE_I16);
	float zero = (float)tflite_zero_point(k, k->given[SVDF_STATE]);
	struct attr a[] = {
		attr_set_float("min", (is_wide ? -32768 : -128) - zero),
		attr_set_float("max", (is_wide ? 32767 : 127) - zero)};
	struct step clip = {.what = "feature_kept",
			    .type = "Clip",
			    .opset = 6, /* the limits are attributes */
			    .in = v,
			    .nin = 1,
			    .attrs = a,
			    .nattrs = 2};
	int rc = scaled(k, "feature_scaled", "feature_factor", s->state_scale,
			v, e);

	if (rc == 0)
		rc = steps_make(&k->at, "feature_rounded", "Round", *v,
				NO_VALUE, v, e);
	return rc < 0 ? rc : steps_inner(&k->at, &clip, v, e);
}

/* [batch, filters, memory] with the oldest gone and the newest behind. */
static int new_state(struct tflite_make *k, const struct svdf *s, value_id *out,
		     struct err *e)
{
	static const int64_t perm[] = {1, 0}, first = 1, last = INT64_MAX,
			     axis = 2;
	const int64_t dims[] = {-1, s->filters, s->memory};
	struct attr along = attr_set_int("axis", 2), a[3];
	value_id old, kernel, parts[2];
	struct step slice = {.what = "kept",
			     .type = "Slice",
			     .opset = 1, /* the limits are attributes */
			     .in = &old,
			     .nin = 1,
			     .attrs = a,
			     .nattrs = 3};
	struct step join = {.what = "new_state",
			    .type = "Concat",
			    .in = parts,
			    .nin = 2,
			    .attrs = &along,
			    .nattrs = 1};
	int rc = tflite_reshape(k, "old_state", s->in[SVDF_STATE], dims, 3,
				&old, e);

	if (rc == 0)
		rc = attr_set_ints(&k->at, "starts", &first, 1, &a[0], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "ends", &last, 1, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&k->at, "axes", &axis, 1, &a[2], e);
	if (rc == 0)
		rc = steps_inner(&k->at, &slice, &parts[0], e);
	if (rc == 0)
		rc = tflite_turn(k, "feature_t", perm, 2, s->in[SVDF_FEATURE],
				 false, &kernel, e);
	if (rc == 0)
		rc = steps_make(&k->at, "products", "MatMul", s->in[SVDF_INPUT],
				kernel, &parts[1], e);
	if (rc == 0 && s->is_integer)
		rc = round_state(k, s, &parts[1], e);
	if (rc == 0)
		rc = steps_axis(&k->at, "newest", "Unsqueeze", 2, parts[1],
				&parts[1], e);
	return rc < 0 ? rc : steps_inner(&k->at, &join, out, e);
}

static int sum_last(struct tflite_make *k, const char *what, value_id in,
		    value_id *out, struct err *e)
{
	static const int64_t axis = 2;
	struct attr a[2] = {{0}, attr_set_int("keepdims", 0)};
	struct step s = {.what = what,
			 .type = "ReduceSum",
			 .opset = 11, /* the axes are an attribute */
			 .in = &in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc = attr_set_ints(&k->at, "axes", &axis, 1, &a[0], e);

	return rc < 0 ? rc : steps_inner(&k->at, &s, out, e);
}

/* Over time, then over the filters of a unit. */
static int sum_filters(struct tflite_make *k, const struct svdf *s,
		       value_id *out, struct err *e)
{
	const int64_t dims[] = {-1, s->filters / s->rank, s->rank};
	value_id v;
	int rc = new_state(k, s, &v, e);

	if (rc == 0)
		rc = steps_make(&k->at, "weighted", "Mul", v, s->in[SVDF_TIME],
				&v, e);
	if (rc == 0)
		rc = sum_last(k, "over_time", v, &v, e);
	if (rc == 0)
		rc = tflite_reshape(k, "units", v, dims, 3, &v, e);
	if (rc == 0)
		rc = sum_last(k, "sums", v, &v, e);
	if (rc == 0 && tflite_has(k, SVDF_BIAS))
		rc = steps_make(&k->at, "biased", "Add", v, s->in[SVDF_BIAS],
				&v, e);
	*out = v;
	return rc;
}

int tflite_make_svdf(struct tflite_make *k, struct err *e)
{
	struct step s = {.what = "result", .type = "Identity", .nin = 1};
	struct svdf l;
	value_id v;
	int rc;

	if (!read_layer(k, &l))
		return 0;
	rc = to_floats(k, &l, e);
	if (rc == 0)
		rc = sum_filters(k, &l, &v, e);
	s.in = &v;
	if (rc == 0 && !l.is_integer)
		return tflite_finish(k, &s, tflite_option(k, 1, 1, 0), e);
	if (rc == 0)
		rc = scaled(k, "output", "output_factor", l.sum_scale, &v, e);
	/* The zero point is where a Relu would cut. */
	return rc < 0 ? rc : tflite_quantized(k, v, true, e);
}
