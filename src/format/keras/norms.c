/* SPDX-License-Identifier: MIT */
/* norms - normalisation: with stored statistics, or with the value's own. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/keras/call.h"
#include "wire/json.h"

/*
 * The one axis that is normalised, counted from the end: -1 is the last.
 * 0: several, or not known.
 */
static int find_axis(const struct keras_call *c)
{
	const struct json *v = keras_value(c, "axis");
	int64_t axis = -1;

	if (json_kind(v) == JSON_KIND_ARRAY && json_count(v) != 1)
		return 0;
	if (json_kind(v) == JSON_KIND_ARRAY)
		v = json_item(v, 0);
	json_get_int(v, &axis);
	if (axis >= 0 && (c->rank < 0 || axis >= c->rank))
		return 0;
	if (axis >= 0)
		axis -= c->rank;
	return axis < -KERAS_RANK_MAX ? 0 : (int)axis;
}

/* A vector, made to stand against an axis that others follow. */
static int stand(struct keras_call *c, const char *what, int axis, value_id in,
		 value_id *out, struct err *e)
{
	int64_t dims[KERAS_RANK_MAX] = {-1};

	*out = in;
	if (in == NO_VALUE || axis == -1)
		return 0;
	for (int i = 1; i < -axis; i++)
		dims[i] = 1;
	return keras_reshape(c, what, in, dims, (size_t)-axis, out, e);
}

/* factor = gamma / sqrt(variance + epsilon) */
static int make_factor(struct keras_call *c, value_id variance, value_id gamma,
		       double epsilon, value_id *out, struct err *e)
{
	value_id small, v = NO_VALUE;
	int rc = steps_float(&c->at, "epsilon", (float)epsilon, &small, e);

	if (rc == 0)
		rc = steps_make(&c->at, "variance", "Add", variance, small, &v,
				e);
	if (rc == 0)
		rc = steps_make(&c->at, "deviation", "Sqrt", v, NO_VALUE, &v,
				e);
	if (rc < 0)
		return rc;
	return gamma == NO_VALUE
		       ? steps_make(&c->at, "factor", "Reciprocal", v, NO_VALUE,
				    out, e)
		       : steps_make(&c->at, "factor", "Div", gamma, v, out, e);
}

/* in[0] + beta as the last step, or in[0] itself by its own operator. */
static int finish(struct keras_call *c, struct step *s, value_id beta,
		  struct err *e)
{
	value_id in[2] = {NO_VALUE, beta};
	struct step sum = {
		.what = "shifted", .type = "Add", .in = in, .nin = 2};
	int rc;

	if (beta == NO_VALUE)
		return keras_finish(c, s, e);
	rc = steps_inner(&c->at, s, &in[0], e);
	return rc < 0 ? rc : keras_finish(c, &sum, e);
}

struct norm { /* variables, as they stand against the value */
	value_id gamma, beta, mean, variance;
};

static int find_variables(struct keras_call *c, struct norm *n, int axis,
			  struct err *e)
{
	static const char *const names[] = {"gamma", "beta", "moving_mean",
					    "moving_variance"};
	static const char *const what[] = {"gamma_stands", "beta_stands",
					   "mean_stands", "variance_stands"};
	value_id *out[] = {&n->gamma, &n->beta, &n->mean, &n->variance};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 4; i++) {
		rc = keras_weight(c, names[i], out[i], e);
		if (rc == 0)
			rc = stand(c, what[i], axis, *out[i], out[i], e);
	}
	return rc;
}

/* x * factor + (beta - mean * factor) */
static int batch_norm(struct keras_call *c, struct err *e)
{
	int axis = find_axis(c);
	struct norm w;
	value_id in[2] = {c->in[0], NO_VALUE}, moved, offset = NO_VALUE;
	struct step n = {.what = "scaled", .type = "Mul", .in = in, .nin = 2};
	int rc = axis ? find_variables(c, &w, axis, e) : 0;

	if (rc < 0 || !axis || w.mean == NO_VALUE || w.variance == NO_VALUE)
		return rc;
	rc = make_factor(c, w.variance, w.gamma,
			 keras_real(c, "epsilon", 0.001), &in[1], e);
	if (rc == 0)
		rc = steps_make(&c->at, "mean_scaled", "Mul", w.mean, in[1],
				&moved, e);
	if (rc == 0)
		rc = w.beta == NO_VALUE
			     ? steps_make(&c->at, "offset", "Neg", moved,
					  NO_VALUE, &offset, e)
			     : steps_make(&c->at, "offset", "Sub", w.beta,
					  moved, &offset, e);
	return rc < 0 ? rc : finish(c, &n, offset, e);
}

static int mean_over(struct keras_call *c, const char *what, value_id in,
		     int64_t axis, value_id *out, struct err *e)
{
	struct attr a[2] = {{0}, attr_set_int("keepdims", 1)};
	struct step n = {.what = what,
			 .type = "ReduceMean",
			 .in = &in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc = attr_set_ints(&c->at, "axes", &axis, 1, &a[0], e);

	return rc < 0 ? rc : steps_inner(&c->at, &n, out, e);
}

static int layer_norm(struct keras_call *c, struct err *e)
{
	int axis = find_axis(c);
	struct norm w;
	value_id mean, square, variance, in[2];
	struct step n = {.what = "scaled", .type = "Mul", .in = in, .nin = 2};
	int rc;

	if (!axis || keras_flag(c, "rms_scaling", false))
		return 0;
	rc = find_variables(c, &w, axis, e);
	if (rc == 0)
		rc = mean_over(c, "mean", c->in[0], axis, &mean, e);
	if (rc == 0)
		rc = steps_make(&c->at, "centered", "Sub", c->in[0], mean,
				&in[0], e);
	if (rc == 0)
		rc = steps_make(&c->at, "square", "Mul", in[0], in[0], &square,
				e);
	if (rc == 0)
		rc = mean_over(c, "mean_square", square, axis, &variance, e);
	if (rc == 0)
		rc = make_factor(c, variance, w.gamma,
				 keras_real(c, "epsilon", 0.001), &in[1], e);
	return rc < 0 ? rc : finish(c, &n, w.beta, e);
}

/* ---- groups of channels ---- */

/* Channels, and groups of them; 0 where they do not fit together. */
static int64_t read_groups(const struct keras_call *c, const struct norm *w,
			   int64_t *each)
{
	const struct param *p = keras_weight_param(
		c, w->gamma == NO_VALUE ? w->beta : w->gamma);
	int64_t n = p && p->rank == 1 ? p->dims[0] : 0;
	int64_t groups = keras_int(c, "groups", 32);

	groups = groups == -1 ? n : groups;
	if (n < 1 || groups < 1 || n % groups != 0)
		return 0;
	*each = n / groups;
	return groups;
}

static int mean_of_group(struct keras_call *c, const char *what, value_id in,
			 value_id *out, struct err *e)
{
	static const int64_t axes[] = {1, 3};
	struct attr a[2] = {{0}, attr_set_int("keepdims", 1)};
	struct step n = {.what = what,
			 .type = "ReduceMean",
			 .in = &in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc = attr_set_ints(&c->at, "axes", axes, 2, &a[0], e);

	return rc < 0 ? rc : steps_inner(&c->at, &n, out, e);
}

/* (x - mean) / sqrt(variance + epsilon) of [batch, space, groups, channels] */
static int normalise_groups(struct keras_call *c, value_id x, value_id *out,
			    struct err *e)
{
	value_id mean, square, factor;
	int rc = mean_of_group(c, "mean", x, &mean, e);

	if (rc == 0)
		rc = steps_make(&c->at, "centered", "Sub", x, mean, &x, e);
	if (rc == 0)
		rc = steps_make(&c->at, "square", "Mul", x, x, &square, e);
	if (rc == 0)
		rc = mean_of_group(c, "mean_square", square, &square, e);
	if (rc == 0)
		rc = make_factor(c, square, NO_VALUE,
				 keras_real(c, "epsilon", 0.001), &factor, e);
	return rc < 0 ? rc
		      : steps_make(&c->at, "normalised", "Mul", x, factor, out,
				   e);
}

static int group_norm(struct keras_call *c, struct err *e)
{
	int64_t dims[4] = {0, -1, 0, 0};
	struct norm w;
	value_id in[2], shape = NO_VALUE, v;
	struct step n = {.type = "Mul", .in = in, .nin = 2};
	int rc = find_variables(c, &w, -1, e);

	if (rc < 0 || find_axis(c) != -1)
		return rc;
	dims[2] = read_groups(c, &w, &dims[3]);
	if (dims[2] == 0)
		return 0;
	rc = keras_reshape(c, "groups", c->in[0], dims, 4, &v, e);
	if (rc == 0)
		rc = normalise_groups(c, v, &v, e);
	if (rc == 0)
		rc = steps_make(&c->at, "shape", "Shape", c->in[0], NO_VALUE,
				&shape, e);
	in[0] = v;
	in[1] = shape;
	n.what = "joined";
	n.type = "Reshape";
	if (w.gamma == NO_VALUE || rc < 0)
		return rc < 0 ? rc : finish(c, &n, w.beta, e);
	rc = steps_inner(&c->at, &n, &in[0], e);
	in[1] = w.gamma;
	n.what = "scaled";
	n.type = "Mul";
	return rc < 0 ? rc : finish(c, &n, w.beta, e);
}

/* x / sqrt(mean of squares + epsilon) * scale */
static int rms_norm(struct keras_call *c, struct err *e)
{
	int axis = find_axis(c);
	value_id scale, v, in[2] = {c->in[0], NO_VALUE};
	struct step n = {.what = "scaled", .type = "Mul", .in = in, .nin = 2};
	int rc = keras_weight(c, "scale", &scale, e);

	if (rc < 0 || !axis || scale == NO_VALUE)
		return rc;
	rc = stand(c, "scale_stands", axis, scale, &scale, e);
	if (rc == 0)
		rc = steps_make(&c->at, "square", "Mul", c->in[0], c->in[0], &v,
				e);
	if (rc == 0)
		rc = mean_over(c, "mean_square", v, axis, &v, e);
	if (rc == 0)
		rc = make_factor(c, v, scale, keras_real(c, "epsilon", 1e-6),
				 &in[1], e);
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

static int unit_norm(struct keras_call *c, struct err *e)
{
	int axis = find_axis(c);
	struct attr a[] = {attr_set_int("axis", axis), attr_set_int("p", 2)};
	struct step n = {.type = "LpNormalization",
			 .in = c->in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};

	return axis ? keras_finish(c, &n, e) : 0;
}

/* (x - mean) / max(sqrt(variance), 1e-7), as adapted to data. */
static int normalization(struct keras_call *c, struct err *e)
{
	value_id mean, variance, small, v, in[2];
	struct step n = {.what = "scaled", .type = "Div", .in = in, .nin = 2};
	int axis = find_axis(c);
	int rc = keras_weight(c, "mean", &mean, e);

	if (rc == 0)
		rc = keras_weight(c, "variance", &variance, e);
	if (rc < 0 || axis != -1 || mean == NO_VALUE || variance == NO_VALUE ||
	    keras_flag(c, "invert", false))
		return rc;
	rc = steps_float(&c->at, "epsilon", 1e-7f, &small, e);
	if (rc == 0)
		rc = steps_make(&c->at, "root", "Sqrt", variance, NO_VALUE, &v,
				e);
	if (rc == 0)
		rc = steps_make(&c->at, "deviation", "Max", v, small, &in[1],
				e);
	if (rc == 0)
		rc = steps_make(&c->at, "centered", "Sub", c->in[0], mean,
				&in[0], e);
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

static const struct {
	const char *class;
	keras_make make;
} layers[] = {
	{"BatchNormalization", batch_norm},
	{"BatchNormalizationV1", batch_norm},
	{"BatchNormalizationV2", batch_norm},
	{"GroupNormalization", group_norm},
	{"LayerNormalization", layer_norm},
	{"Normalization", normalization},
	{"RMSNormalization", rms_norm},
	{"SyncBatchNormalization", batch_norm},
	{"UnitNormalization", unit_norm},
};

int keras_norm_layer(struct keras_call *c, struct err *e)
{
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
		if (strcmp(c->class, layers[i].class) == 0)
			return layers[i].make(c, e);
	return 0;
}
