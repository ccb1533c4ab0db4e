/* SPDX-License-Identifier: MIT */
/*
 * layers - what the functions that make layers share, and dense layers.
 *
 * Keras' kernels and layouts are TensorFlow's: the last axis is that of the
 * channels, a dense kernel is [inputs, outputs].
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/keras/call.h"
#include "wire/json.h"

/* ---- the configuration ---- */

const struct json *keras_value(const struct keras_call *c, const char *key)
{
	return json_member(c->config, key);
}

bool keras_flag(const struct keras_call *c, const char *key, bool def)
{
	const struct json *v = keras_value(c, key);
	int64_t number;
	bool is = def;

	if (json_get_int(v, &number))
		return number != 0;
	json_get_bool(v, &is);
	return is;
}

int64_t keras_int(const struct keras_call *c, const char *key, int64_t def)
{
	json_get_int(keras_value(c, key), &def);
	return def;
}

double keras_real(const struct keras_call *c, const char *key, double def)
{
	json_get_real(keras_value(c, key), &def);
	return def;
}

bool keras_is(const struct keras_call *c, const char *key, const char *text)
{
	size_t len;
	const char *s = json_get_string(keras_value(c, key), &len);

	return s && strcmp(s, text) == 0;
}

bool keras_ints(const struct keras_call *c, const char *key, int64_t *out,
		size_t n, int64_t def)
{
	const struct json *v = keras_value(c, key);

	for (size_t i = 0; i < n; i++)
		out[i] = def;
	if (json_kind(v) == JSON_KIND_NULL)
		return true;
	for (size_t i = 0; i < n; i++) {
		const struct json *one =
			json_kind(v) == JSON_KIND_ARRAY ? json_item(v, i) : v;

		if (!json_get_int(one, &out[i]) || out[i] < INT32_MIN ||
		    out[i] > INT32_MAX)
			return false;
	}
	return json_kind(v) != JSON_KIND_ARRAY || json_count(v) == n;
}

/* ---- variables ---- */

static const struct param *find_weight(const struct keras_call *c,
				       const char *name)
{
	char key[160];
	uint64_t idx;
	size_t n = sizeof(c->layer->id);
	int len;

	memcpy(key, &c->layer->id, n);
	len = snprintf(key + n, sizeof(key) - n, "%s%s%s",
		       c->part ? c->part : "", c->part ? "/" : "", name);
	if (len < 0 || (size_t)len >= sizeof(key) - n ||
	    !map_get(c->kg->weights, key, n + (size_t)len, &idx))
		return NULL;
	return c->at.m->params[idx - 1];
}

int keras_weight(struct keras_call *c, const char *name, value_id *out,
		 struct err *e)
{
	const struct param *p = find_weight(c, name);
	char *dotted;
	int rc;

	*out = NO_VALUE;
	if (!p)
		return 0;
	dotted = strndup(p->full_name, p->full_len);
	if (!dotted)
		return err_nomem(e, p->full_len);
	/* With a '/' the layer's own value could not be called "dense". */
	for (char *at = strchr(dotted, '/'); at; at = strchr(at, '/'))
		*at = '.';
	rc = graph_value(c->at.g, dotted, strlen(dotted), out, e);
	free(dotted);
	/* Another one may be called that: then by its whole name. */
	if (rc == 0 && c->at.g->values[*out].param &&
	    c->at.g->values[*out].param->id != p->id)
		rc = graph_value(c->at.g, p->full_name, p->full_len, out, e);
	if (rc < 0)
		return rc;
	if (!c->at.g->values[*out].param)
		c->at.g->values[*out].param = c->at.m->params[p->id];
	return 0;
}

const struct param *keras_weight_param(const struct keras_call *c, value_id v)
{
	return v == NO_VALUE ? NULL : c->at.g->values[v].param;
}

/* ---- steps ---- */

int keras_finish(struct keras_call *c, struct step *s, struct err *e)
{
	int rc;

	s->out = c->out;
	s->nout = 1;
	rc = steps_node(&c->at, s, e);
	return rc < 0 ? rc : 1;
}

int keras_finish_active(struct keras_call *c, struct step *s, struct err *e)
{
	const struct json *spec = keras_value(c, "activation");
	value_id v;
	int rc;

	if (keras_is_linear(spec))
		return keras_finish(c, s, e);
	rc = steps_inner(&c->at, s, &v, e);
	if (rc == 0)
		rc = keras_activate(c, spec, v, c->out[0], e);
	return rc < 0 ? rc : 1;
}

int keras_finish_biased(struct keras_call *c, struct step *s, value_id bias,
			struct err *e)
{
	value_id in[2] = {NO_VALUE, bias};
	struct step sum = {
		.what = "bias_add", .type = "Add", .in = in, .nin = 2};
	int rc;

	if (bias == NO_VALUE)
		return keras_finish_active(c, s, e);
	rc = steps_inner(&c->at, s, &in[0], e);
	return rc < 0 ? rc : keras_finish_active(c, &sum, e);
}

int keras_transpose(struct keras_call *c, const char *what, value_id in,
		    const int64_t *perm, size_t rank, value_id *out,
		    struct err *e)
{
	struct attr a;
	struct step n = {.what = what,
			 .type = "Transpose",
			 .in = &in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&c->at, "perm", perm, rank, &a, e);

	return rc < 0 ? rc : steps_inner(&c->at, &n, out, e);
}

int keras_reshape(struct keras_call *c, const char *what, value_id in,
		  const int64_t *dims, size_t n, value_id *out, struct err *e)
{
	struct attr a;
	struct step s = {.what = what,
			 .type = "Reshape",
			 .opset = 1, /* the shape is an attribute */
			 .in = &in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&c->at, "shape", dims, n, &a, e);

	return rc < 0 ? rc : steps_inner(&c->at, &s, out, e);
}

/* ---- dense layers ---- */

static int dense(struct keras_call *c, struct err *e)
{
	value_id in[2] = {c->in[0], NO_VALUE}, bias = NO_VALUE;
	struct step n = {
		.what = "product", .type = "MatMul", .in = in, .nin = 2};
	int rc = keras_weight(c, "kernel", &in[1], e);

	if (rc == 0)
		rc = keras_weight(c, "bias", &bias, e);
	if (rc < 0 || in[1] == NO_VALUE ||
	    !keras_can_activate(c, keras_value(c, "activation")))
		return rc;
	return keras_finish_biased(c, &n, bias, e);
}

/* The rank that an equation leads to: letters behind the arrow. */
static int equation_rank(const char *equation)
{
	const char *arrow = strstr(equation, "->");

	if (!arrow || strchr(equation, '.'))
		return -1;
	return (int)strlen(arrow + 2);
}

static int einsum_dense(struct keras_call *c, struct err *e)
{
	size_t len;
	const char *equation =
		json_get_string(keras_value(c, "equation"), &len);
	value_id in[2] = {c->in[0], NO_VALUE}, bias = NO_VALUE;
	struct attr a;
	struct step n = {.what = "product",
			 .type = "Einsum",
			 .in = in,
			 .nin = 2,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = keras_weight(c, "kernel", &in[1], e);

	if (rc == 0)
		rc = keras_weight(c, "bias", &bias, e);
	if (rc < 0 || in[1] == NO_VALUE || !equation ||
	    !keras_can_activate(c, keras_value(c, "activation")))
		return rc;
	equation = arena_strndup(c->at.m->arena, equation, len);
	if (!equation)
		return err_nomem(e, len);
	a = attr_set_text("equation", equation);
	c->out_rank = equation_rank(equation);
	return keras_finish_biased(c, &n, bias, e);
}

/* Only numbers that are whole can choose a row. */
static int embedding(struct keras_call *c, struct err *e)
{
	struct attr to = attr_set_int("to", 7); /* int64 */
	value_id in[2];
	struct step cast = {.what = "to_int64",
			    .type = "Cast",
			    .in = c->in,
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};
	struct step n = {.what = "rows", .type = "Gather", .in = in, .nin = 2};
	int rc = keras_weight(c, "embeddings", &in[0], e);

	if (rc < 0 || in[0] == NO_VALUE)
		return rc;
	rc = steps_inner(&c->at, &cast, &in[1], e);
	if (c->rank >= 0)
		c->out_rank = c->rank + 1;
	return rc < 0 ? rc : keras_finish(c, &n, e);
}

/* ---- a layer for each step ---- */

/* Layers that do the same to all but the last axis. */
static bool is_pointwise(const char *class)
{
	static const char *const classes[] = {"Dense", "Activation", "Dropout",
					      "Embedding", NULL};

	for (size_t i = 0; classes[i]; i++)
		if (strcmp(class, classes[i]) == 0)
			return true;
	return false;
}

/* Extents [from, to) of a value's shape. */
static int extents(struct keras_call *c, const char *shape, const char *what,
		   value_id v, int64_t from, int64_t to, value_id *out,
		   struct err *e)
{
	struct attr a[2];
	value_id all;
	struct step s = {.what = what,
			 .type = "Slice",
			 .opset = 1, /* the limits are attributes */
			 .in = &all,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc = steps_make(&c->at, shape, "Shape", v, NO_VALUE, &all, e);

	if (rc == 0)
		rc = attr_set_ints(&c->at, "starts", &from, 1, &a[0], e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "ends", &to, 1, &a[1], e);
	return rc < 0 ? rc : steps_inner(&c->at, &s, out, e);
}

static int join_extents(struct keras_call *c, const char *what,
			const value_id parts[2], value_id *out, struct err *e)
{
	struct attr axis = attr_set_int("axis", 0);
	struct step s = {.what = what,
			 .type = "Concat",
			 .in = parts,
			 .nin = 2,
			 .attrs = &axis,
			 .nattrs = 1};

	return steps_inner(&c->at, &s, out, e);
}

/* [batch, steps, n..] → [batch * steps, n..] */
static int all_steps(struct keras_call *c, value_id *out, struct err *e)
{
	int64_t any = -1;
	value_id parts[2], shape;
	int rc = steps_ints(&c->at, "any", &any, 1, &parts[0], e);

	if (rc == 0)
		rc = extents(c, "shape", "step_shape", c->in[0], 2, INT64_MAX,
			     &parts[1], e);
	if (rc == 0)
		rc = join_extents(c, "all_shape", parts, &shape, e);
	return rc < 0 ? rc
		      : steps_make(&c->at, "all", "Reshape", c->in[0], shape,
				   out, e);
}

/* The other way around. */
static int to_steps(struct keras_call *c, value_id v, struct err *e)
{
	value_id parts[2], in[2] = {v, NO_VALUE};
	struct step s = {
		.what = "steps", .type = "Reshape", .in = in, .nin = 2};
	int rc = extents(c, "given_shape", "steps_shape", c->in[0], 0, 2,
			 &parts[0], e);

	if (rc == 0)
		rc = extents(c, "made_shape", "result_shape", v, 1, INT64_MAX,
			     &parts[1], e);
	if (rc == 0)
		rc = join_extents(c, "final_shape", parts, &in[1], e);
	return rc < 0 ? rc : keras_finish(c, &s, e);
}

/*
 * The steps as if they were a batch.  The layer's nodes are in a module of
 * their own; nothing is undone when it cannot be made, it is only not used.
 */
static int each_step(struct keras_call *c, const struct json *inner,
		     struct err *e)
{
	struct keras_call own = *c;
	char name[512];
	value_id in, out;
	int rc = all_steps(c, &in, e);

	snprintf(name, sizeof(name), "%s:step", c->at.name.p);
	own.at.name = (struct span){name, strlen(name)};
	own.config = json_member(inner, "config");
	own.class = keras_class(inner);
	own.in = &in;
	own.out = &out;
	own.rank = own.out_rank = c->rank > 0 ? c->rank - 1 : -1;
	if (rc == 0)
		rc = model_module(c->at.m, c->at.module, "step", 4,
				  &own.at.module, e);
	if (rc == 0)
		rc = steps_value(&c->at, "step", &out, e);
	if (rc == 0)
		rc = keras_set_mask(c->kg, in, NO_VALUE, e);
	if (rc == 0)
		rc = keras_translate(&own, e);
	if (rc <= 0)
		return rc;
	c->out_rank = own.out_rank < 0 ? -1 : own.out_rank + 1;
	return to_steps(c, out, e);
}

static int time_distributed(struct keras_call *c, struct err *e)
{
	const struct json *inner = keras_value(c, "layer");
	const char *class = keras_class(inner);

	if (!class || keras_layers(inner) || c->nin != 1 || c->nout != 1)
		return 0;
	if (!is_pointwise(class))
		return keras_mask(c->kg, c->in[0]) == NO_VALUE
			       ? each_step(c, inner, e)
			       : 0;
	c->config = json_member(inner, "config");
	c->class = class;
	return keras_translate(c, e);
}

static const struct {
	const char *class;
	keras_make make;
} layers[] = {
	{"Dense", dense},
	{"EinsumDense", einsum_dense},
	{"Embedding", embedding},
	{"TimeDistributed", time_distributed},
};

int keras_translate(struct keras_call *c, struct err *e)
{
	static const keras_make families[] = {
		keras_activation_layer, keras_array_layer,
		keras_function_layer,	keras_norm_layer,
		keras_image_layer,	keras_recurrent_layer,
		keras_attention_layer,
	};
	int rc = 0;

	if (!keras_can_mask(c))
		return 0;
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
		if (strcmp(c->class, layers[i].class) == 0)
			return layers[i].make(c, e);
	for (size_t i = 0; rc == 0 && i < sizeof(families) / sizeof(*families);
	     i++)
		rc = families[i](c, e);
	return rc;
}
