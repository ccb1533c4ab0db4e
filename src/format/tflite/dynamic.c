/* SPDX-License-Identifier: MIT */
/*
 * dynamic - floats that are multiplied with integers: the runtime makes whole
 * numbers of them while it runs, by the range they happen to have.
 */
#include "modelfs/err.h"

#include "format/tflite/translate.h"

static int extreme(struct tflite_make *k, const char *what, const char *type,
		   value_id in, size_t naxes, value_id *out, struct err *e)
{
	static const int64_t axes[] = {-3, -2, -1};
	struct attr a[2] = {{0}, attr_set_int("keepdims", 1)};
	struct step s = {.what = what,
			 .type = type,
			 .opset = 11,
			 .in = &in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc = attr_set_ints(&k->at, "axes", axes + 3 - naxes, naxes, &a[0],
			       e);

	return rc < 0 ? rc : steps_inner(&k->at, &s, out, e);
}

/* Both ways from zero by 127 steps. */
static int dynamic_symmetric(struct tflite_make *k, value_id in, size_t naxes,
			     value_id *out, value_id *factor, struct err *e)
{
	value_id v, least, steps, inverse;
	int rc = steps_make(&k->at, "absolute", "Abs", in, NO_VALUE, &v, e);

	if (rc == 0)
		rc = extreme(k, "largest", "ReduceMax", v, naxes, &v, e);
	if (rc == 0)
		rc = steps_float(&k->at, "least", 1e-30f, &least, e);
	if (rc == 0)
		rc = steps_float(&k->at, "steps", 127, &steps, e);
	if (rc == 0)
		rc = steps_make(&k->at, "range", "Max", v, least, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "inverse", "Div", steps, v, &inverse,
				e);
	if (rc == 0)
		rc = steps_make(&k->at, "input_factor", "Div", v, steps, factor,
				e);
	if (rc == 0)
		rc = steps_make(&k->at, "stretched", "Mul", in, inverse, &v, e);
	return rc < 0 ? rc
		      : steps_make(&k->at, "rounded", "Round", v, NO_VALUE, out,
				   e);
}

/* From the least number to the largest by 255 steps; zero is one of them. */
static int dynamic_asymmetric(struct tflite_make *k, value_id in, size_t naxes,
			      value_id *out, value_id *factor, struct err *e)
{
	value_id low, high, zero, least, steps, v, shift;
	struct attr a[] = {attr_set_float("min", -128),
			   attr_set_float("max", 127)};
	struct step clip = {.what = "clipped",
			    .type = "Clip",
			    .opset = 6, /* the limits are attributes */
			    .in = &v,
			    .nin = 1,
			    .attrs = a,
			    .nattrs = 2};
	int rc = extreme(k, "lowest", "ReduceMin", in, naxes, &low, e);

	if (rc == 0)
		rc = extreme(k, "highest", "ReduceMax", in, naxes, &high, e);
	if (rc == 0)
		rc = steps_float(&k->at, "zero", 0, &zero, e);
	if (rc == 0)
		rc = steps_float(&k->at, "least", 1e-30f, &least, e);
	if (rc == 0)
		rc = steps_float(&k->at, "steps", 255, &steps, e);
	if (rc == 0)
		rc = steps_make(&k->at, "low", "Min", low, zero, &low, e);
	if (rc == 0)
		rc = steps_make(&k->at, "high", "Max", high, zero, &high, e);
	if (rc == 0)
		rc = steps_make(&k->at, "span", "Sub", high, low, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "range", "Max", v, least, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "input_factor", "Div", v, steps, factor,
				e);
	if (rc == 0)
		rc = steps_make(&k->at, "low_steps", "Div", low, *factor, &v,
				e);
	if (rc == 0)
		rc = steps_float(&k->at, "first", -128, &zero, e);
	if (rc == 0)
		rc = steps_make(&k->at, "shift", "Sub", zero, v, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "shift_rounded", "Round", v, NO_VALUE,
				&shift, e);
	if (rc == 0)
		rc = steps_make(&k->at, "stretched", "Div", in, *factor, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "shifted", "Add", v, shift, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "rounded", "Round", v, NO_VALUE, &v, e);
	if (rc == 0)
		rc = steps_inner(&k->at, &clip, &v, e);
	return rc < 0 ? rc
		      : steps_make(&k->at, "distance", "Sub", v, shift, out, e);
}

int tflite_dynamic(struct tflite_make *k, value_id in, size_t naxes,
		   bool is_symmetric, value_id *out, value_id *factor,
		   struct err *e)
{
	return is_symmetric ? dynamic_symmetric(k, in, naxes, out, factor, e)
			    : dynamic_asymmetric(k, in, naxes, out, factor, e);
}
