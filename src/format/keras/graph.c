/* SPDX-License-Identifier: MIT */
/*
 * graph - what a model computes, from its configuration: a Sequential is a
 * list of layers, a Functional says what goes into each.
 *
 * A value is called after the layer that makes it: "block1_conv1"; "x#1" is
 * the layer's second call, "x:1" the second output.  A model in a model is
 * put in its place; its values have its name in front, "encoder/dense".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/keras/call.h"
#include "wire/json.h"

/* Calls of layers in one graph, models within models included. */
#define CALLS_MAX 100000u

/* ---- inputs ---- */

static const struct json *config_of(const struct json *layer)
{
	return json_member(layer, "config");
}

static const struct json *given_shape(const struct json *layer)
{
	static const char *const keys[] = {"batch_input_shape", "batch_shape",
					   "build_input_shape"};

	for (size_t i = 0; i < 3; i++) {
		const struct json *v = json_member(config_of(layer), keys[i]);

		if (json_kind(v) == JSON_KIND_ARRAY)
			return v;
	}
	return json_member(json_member(layer, "build_config"), "input_shape");
}

static enum dtype given_type(const struct json *layer)
{
	size_t len;
	const char *name =
		json_get_string(json_member(config_of(layer), "dtype"), &len);
	enum dtype t = name ? dtype_by_name(name) : DTYPE_NONE;

	return t == DTYPE_NONE ? DTYPE_F32 : t;
}

/* What a user hands in, of the shape that some layer says. */
static int add_input(struct keras_scope *s, value_id v,
		     const struct json *layer, struct err *e)
{
	const struct json *dims = given_shape(layer);
	struct tensor t = {.dtype = given_type(layer)};
	size_t rank = json_count(dims);
	int rc = graph_input(s->kg->g, v, e);

	t.shape = shape_unknown();
	if (rank > 0 && rank <= SHAPE_RANK_MAX)
		t.shape.rank = (int32_t)rank;
	for (int32_t i = 0; i < t.shape.rank; i++) {
		int64_t d;

		t.shape.dims[i] = DIM_UNKNOWN;
		if (json_get_int(json_item(dims, (size_t)i), &d) && d >= 0)
			t.shape.dims[i] = d;
	}
	if (rc == 0)
		rc = graph_declare(s->kg->g, v, &t, NULL, e);
	if (rc == 0)
		rc = keras_set_mask(s->kg, v, NO_VALUE, e);
	return rc < 0 ? rc : keras_set_rank(s->kg, v, t.shape.rank, e);
}

/* ---- one call ---- */

/* The call's name, and its module: for all but the first, one of its own. */
static int name_call(struct keras_scope *s, struct keras_call *c,
		     const char *layer, int64_t node, struct err *e)
{
	struct text name = {0};
	char own[32];
	int rc = keras_value_name(s, layer, node, 0, &name, e);

	c->at.m = s->kg->m;
	c->at.g = s->kg->g;
	if (rc == 0)
		c->at.name.p = arena_strndup(s->kg->m->arena, name.p, name.len);
	c->at.name.len = name.len;
	text_free(&name);
	if (rc == 0 && !c->at.name.p)
		rc = err_nomem(e, c->at.name.len);
	if (rc == 0)
		rc = model_module(s->kg->m, s->owner, layer, strlen(layer),
				  &c->layer, e);
	if (rc == 0)
		rc = model_module(s->kg->m, s->module, layer, strlen(layer),
				  &c->at.module, e);
	if (rc < 0 || node == 0)
		return rc;
	snprintf(own, sizeof(own), "call_%lld", (long long)node);
	return model_module(s->kg->m, c->layer, own, strlen(own), &c->at.module,
			    e);
}

static int find_outputs(struct keras_scope *s, struct keras_call *c,
			const char *layer, int64_t node, value_id *out,
			struct err *e)
{
	struct keras_input at = {.layer = layer, .node = node};
	uint64_t n = 1;
	int rc = 0;

	map_get(s->kg->uses, c->at.name.p, c->at.name.len, &n);
	c->nout = n < KERAS_OUTPUTS_MAX ? (uint32_t)n : KERAS_OUTPUTS_MAX;
	for (uint32_t i = 0; rc == 0 && i < c->nout; i++) {
		at.tensor = i;
		rc = keras_find_value(s, &at, &out[i], e);
	}
	c->out = out;
	return rc;
}

/* A layer that is nothing of ONNX's is shown, and not computed. */
static int add_plain(struct keras_call *c, struct err *e)
{
	struct node *n;
	char *class = arena_strndup(c->at.m->arena, c->class, strlen(c->class));
	int rc;

	if (!class)
		return err_nomem(e, 0);
	rc = graph_node(c->at.g, c->at.name.p, "keras", class, c->nin, c->nout,
			0, &n, e);
	if (rc < 0)
		return rc;
	n->opset = 1;
	n->module = c->at.module;
	c->at.module->is_node = true;
	for (uint32_t i = 0; i < c->nin; i++)
		n->in[i] = c->in[i];
	for (uint32_t i = 0; i < c->nout; i++)
		n->out[i] = c->out[i];
	return 0;
}

static int add_identity(struct keras_graph *kg, struct keras_call *c,
			const char *what, value_id in, const value_id *out,
			struct err *e)
{
	struct step n = {.what = what,
			 .type = "Identity",
			 .in = &in,
			 .nin = 1,
			 .out = out,
			 .nout = 1};
	int rc = steps_node(&c->at, &n, e);

	return rc < 0 ? rc : keras_set_mask(kg, *out, keras_mask(kg, in), e);
}

static int add_model(struct keras_scope *outer, const struct json *model,
		     struct keras_call *c, struct err *e);

static int add_call(struct keras_scope *s, const struct json *layer,
		    const char *name, int64_t node, struct keras_call *c,
		    struct err *e)
{
	value_id out[KERAS_OUTPUTS_MAX];
	int rc = name_call(s, c, name, node, e);

	c->kg = s->kg;
	c->config = config_of(layer);
	c->class = keras_class(layer) ? keras_class(layer) : "Layer";
	c->rank = c->nin > 0 ? keras_rank(s->kg, c->in[0]) : -1;
	c->out_rank = c->rank;
	if (rc == 0)
		rc = find_outputs(s, c, name, node, out, e);
	if (rc == 0 && ++s->kg->nodes > CALLS_MAX)
		rc = err_set(e, EFBIG, "more than %u calls of layers",
			     CALLS_MAX);
	if (rc < 0)
		return rc;
	if (keras_layers(layer) && s->depth < KERAS_DEPTH_MAX)
		return add_model(s, layer, c, e);
	rc = c->nin > 0 ? keras_translate(c, e) : 0;
	if (rc > 0)
		rc = keras_hand_on_masks(c, e);
	else if (rc == 0)
		rc = add_plain(c, e);
	if (rc < 0)
		return err_wrap(e, "layer %s", c->at.name.p);
	return keras_set_rank(s->kg, out[0], c->out_rank, e);
}

/* ---- Functional ---- */

/* The tensors among a call's inputs, as values. */
static int resolve(struct keras_scope *s, const struct keras_inputs *given,
		   value_id **out, uint32_t *n, struct err *e)
{
	value_id *v = calloc(given->n + 1, sizeof(*v));
	uint32_t count = 0;
	int rc = v ? 0 : err_nomem(e, given->n * sizeof(*v));

	for (size_t i = 0; rc == 0 && i < given->n; i++)
		if (given->v[i].layer)
			rc = keras_find_value(s, &given->v[i], &v[count++], e);
	if (rc < 0) {
		free(v);
		return rc;
	}
	*out = v;
	*n = count;
	return 0;
}

static int add_functional_call(struct keras_scope *s, const struct json *layer,
			       const char *name, int64_t node,
			       const struct json *connections, struct err *e)
{
	struct keras_inputs given = {0};
	struct keras_call c = {.given = &given, .node = connections};
	value_id *in = NULL;
	int rc = keras_collect(&given, connections, e);

	if (rc == 0)
		rc = resolve(s, &given, &in, &c.nin, e);
	c.in = in;
	if (rc == 0)
		rc = add_call(s, layer, name, node, &c, e);
	free(in);
	free(given.v);
	return rc;
}

/* Without a configuration of its own, a layer has the outer name. */
static const char *layer_name(const struct json *layer)
{
	size_t len;
	const char *name = json_get_string(json_member(layer, "name"), &len);

	return name ? name : keras_name(layer);
}

static bool is_input_layer(const struct json *layer)
{
	const char *class = keras_class(layer);

	return class && strcmp(class, "InputLayer") == 0;
}

static int note_all(struct keras_scope *s, const struct json *layers,
		    struct err *e)
{
	const struct json *ends =
		json_member(config_of(s->model), "output_layers");
	int rc = keras_note_uses(s, ends, e);

	for (size_t i = 0; rc == 0 && i < json_count(layers); i++)
		rc = keras_note_uses(
			s, json_member(json_item(layers, i), "inbound_nodes"),
			e);
	return rc;
}

static int add_functional_layer(struct keras_scope *s, const struct json *layer,
				struct err *e)
{
	const struct json *nodes = json_member(layer, "inbound_nodes");
	const char *name = layer_name(layer);
	int rc = 0;

	if (!name || is_input_layer(layer))
		return 0;
	for (size_t i = 0; rc == 0 && i < json_count(nodes); i++)
		rc = add_functional_call(s, layer, name, (int64_t)i,
					 json_item(nodes, i), e);
	return rc;
}

/* The i-th input of a model: from outside, or what the caller hands in. */
static int bind_input(struct keras_scope *s, const struct json *layer,
		      const struct keras_input *in, uint32_t i,
		      struct keras_call *caller, struct err *e)
{
	struct keras_call c = {.given = NULL};
	value_id v;
	int rc = keras_find_value(s, in, &v, e);

	if (rc < 0 || s->kg->g->values[v].is_input)
		return rc;
	if (!caller)
		return add_input(s, v, layer, e);
	if (i >= caller->nin)
		return 0; /* the graph will say that it is undefined */
	rc = name_call(s, &c, in->layer, in->node, e);
	if (rc == 0)
		rc = add_identity(s->kg, &c, NULL, caller->in[i], &v, e);
	return rc < 0 ? rc
		      : keras_set_rank(s->kg, v,
				       keras_rank(s->kg, caller->in[i]), e);
}

/* Name → index in the list, of the layers that stand for inputs. */
static int index_inputs(const struct json *layers, struct map *index,
			struct err *e)
{
	for (size_t i = 0; i < json_count(layers); i++) {
		const char *name = layer_name(json_item(layers, i));

		if (name && is_input_layer(json_item(layers, i)) &&
		    map_set(index, name, strlen(name), i) < 0)
			return err_nomem(e, 0);
	}
	return 0;
}

static int bind_inputs(struct keras_scope *s, const struct json *layers,
		       struct keras_call *caller, struct err *e)
{
	struct keras_inputs in = {0};
	struct map *index = map_new();
	int rc = index ? index_inputs(layers, index, e) : err_nomem(e, 0);

	if (rc == 0)
		rc = keras_collect(
			&in, json_member(config_of(s->model), "input_layers"),
			e);
	for (size_t i = 0; rc == 0 && i < in.n; i++) {
		const char *name = in.v[i].layer;
		uint64_t at;

		if (name && map_get(index, name, strlen(name), &at))
			rc = bind_input(s, json_item(layers, at), &in.v[i],
					(uint32_t)i, caller, e);
	}
	map_free(index);
	free(in.v);
	return rc;
}

/* A value of the model as its i-th output. */
static int bind_output(struct keras_scope *s, value_id v, uint32_t i,
		       struct keras_call *caller, struct err *e)
{
	char what[32];

	if (!caller &&
	    (s->kg->g->values[v].is_output || s->kg->g->values[v].is_input))
		return 0;
	if (!caller)
		return graph_output(s->kg->g, v, e);
	if (i >= caller->nout)
		return 0;
	snprintf(what, sizeof(what), "output_%u", i);
	if (i == 0)
		caller->out_rank = keras_rank(s->kg, v);
	return add_identity(s->kg, caller, caller->nout > 1 ? what : NULL, v,
			    &caller->out[i], e);
}

static int bind_outputs(struct keras_scope *s, struct keras_call *caller,
			struct err *e)
{
	struct keras_inputs out = {0};
	value_id v;
	int rc = keras_collect(
		&out, json_member(config_of(s->model), "output_layers"), e);

	for (size_t i = 0; rc == 0 && i < out.n; i++) {
		if (!out.v[i].layer)
			continue;
		rc = keras_find_value(s, &out.v[i], &v, e);
		if (rc == 0)
			rc = bind_output(s, v, (uint32_t)i, caller, e);
	}
	free(out.v);
	return rc;
}

static int add_functional(struct keras_scope *s, const struct json *layers,
			  struct keras_call *caller, struct err *e)
{
	int rc = note_all(s, layers, e);

	if (rc == 0)
		rc = bind_inputs(s, layers, caller, e);
	for (size_t i = 0; rc == 0 && i < json_count(layers); i++)
		rc = add_functional_layer(s, json_item(layers, i), e);
	return rc == 0 ? bind_outputs(s, caller, e) : rc;
}

/* ---- Sequential ---- */

/* What the first layer is given, called as Keras calls it. */
static int first_value(struct keras_scope *s, const struct json *layers,
		       value_id *out, struct err *e)
{
	const struct json *first = json_item(layers, 0);
	const char *name = layer_name(first);
	struct text given = {0};
	struct keras_input in = {0};
	int rc = 0;

	text_printf(&given, "%s%s", name ? name : "layer",
		    is_input_layer(first) ? "" : "_input");
	in.layer = given.p;
	rc = given.failed ? err_nomem(e, 0) : keras_find_value(s, &in, out, e);
	text_free(&given);
	return rc;
}

static int begin_sequence(struct keras_scope *s, const struct json *layers,
			  struct keras_call *caller, value_id *out,
			  struct err *e)
{
	const struct json *first = json_item(layers, 0);

	if (caller && caller->nin > 0) {
		*out = caller->in[0];
		return 0;
	}
	if (first_value(s, layers, out, e) < 0)
		return err_nomem(e, 0);
	if (json_kind(given_shape(first)) != JSON_KIND_ARRAY)
		first = s->model;
	return add_input(s, *out, first, e);
}

static int add_sequence(struct keras_scope *s, const struct json *layers,
			struct keras_call *caller, struct err *e)
{
	value_id at;
	int rc = begin_sequence(s, layers, caller, &at, e);

	for (size_t i = 0; rc == 0 && i < json_count(layers); i++) {
		const struct json *layer = json_item(layers, i);
		struct keras_inputs none = {0};
		value_id in = at;
		struct keras_call c = {.given = &none, .in = &in, .nin = 1};
		const char *name = layer_name(layer);

		if (!name || is_input_layer(layer))
			continue;
		rc = add_call(s, layer, name, 0, &c, e);
		if (rc == 0)
			rc = keras_find_value(
				s, &(struct keras_input){.layer = name}, &at,
				e);
	}
	return rc == 0 ? bind_output(s, at, 0, caller, e) : rc;
}

/* ---- models ---- */

static int add_scope(struct keras_scope *s, struct keras_call *caller,
		     struct err *e)
{
	const struct json *layers = keras_layers(s->model);
	bool is_sequence = !json_member(config_of(s->model), "output_layers");

	if (json_count(layers) == 0)
		return caller ? add_plain(caller, e) : 0;
	return is_sequence ? add_sequence(s, layers, caller, e)
			   : add_functional(s, layers, caller, e);
}

static int add_model(struct keras_scope *outer, const struct json *model,
		     struct keras_call *c, struct err *e)
{
	struct keras_scope s = *outer;
	struct text prefix = {0};
	int rc;

	s.model = model;
	s.module = c->at.module;
	s.owner = c->layer;
	s.depth++;
	text_printf(&prefix, "%s/", c->at.name.p);
	s.prefix.p = prefix.failed ? NULL
				   : arena_strndup(outer->kg->m->arena,
						   prefix.p, prefix.len);
	s.prefix.len = prefix.len;
	text_free(&prefix);
	if (!s.prefix.p)
		return err_nomem(e, 0);
	rc = add_scope(&s, c, e);
	return rc < 0 ? rc : keras_set_rank(s.kg, c->out[0], c->out_rank, e);
}

/* True when any layer, however deep, makes steps to be left out. */
static bool makes_masks(const struct json *layer, int depth)
{
	const struct json *layers = keras_layers(layer);
	const char *class = keras_class(layer);
	bool found = false;

	json_get_bool(json_member(config_of(layer), "mask_zero"), &found);
	found = found || (class && strcmp(class, "Masking") == 0);
	for (size_t i = 0;
	     !found && depth < KERAS_DEPTH_MAX && i < json_count(layers); i++)
		found = makes_masks(json_item(layers, i), depth + 1);
	return found;
}

static int build(struct model *m, const struct json *config, int version,
		 struct err *e)
{
	struct keras_graph kg = {.m = m,
				 .version = version,
				 .weights = map_new(),
				 .uses = map_new(),
				 .ranks = map_new(),
				 .masks = map_new()};
	struct keras_scope s = {.kg = &kg,
				.model = config,
				.module = model_root(m),
				.owner = model_root(m),
				.prefix = {"", 0}};
	int rc = kg.weights && kg.uses && kg.ranks && kg.masks
			 ? 0
			 : err_nomem(e, 0);

	if (rc == 0 && json_count(keras_layers(config)) > 0) {
		m->graph = kg.g = graph_new(m->arena, NULL, "");
		kg.has_masks = makes_masks(config, 0);
		rc = kg.g ? keras_list_weights(&kg, e) : err_nomem(e, 0);
		if (rc == 0)
			rc = add_scope(&s, NULL, e);
	}
	map_free(kg.weights);
	map_free(kg.uses);
	map_free(kg.ranks);
	map_free(kg.masks);
	return rc;
}

/* Weights are worth having without what computes with them. */
static int drop_graph(struct model *m, const struct err *why, struct err *e)
{
	graph_free(m->graph);
	m->graph = NULL;
	for (uint32_t i = 0; i < m->nmodules; i++)
		m->modules[i]->is_node = false;
	return model_info(m, "graph", "not read: %s", why->msg) < 0
		       ? err_nomem(e, 0)
		       : 0;
}

int keras_graph(struct model *m, const struct json *config, int version,
		struct err *e)
{
	struct err why = {0};
	int rc = build(m, config, version, &why);

	if (rc == -ENOMEM)
		return err_nomem(e, 0);
	return rc < 0 ? drop_graph(m, &why, e) : 0;
}
