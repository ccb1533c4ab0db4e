/* SPDX-License-Identifier: MIT */
/*
 * weights - the variables of Keras 3: /layers/conv2d_1/vars/0, where groups
 * are called after a layer's class and a number, not after the layer.  The
 * layer's own name is an attribute of the group, or follows from the order
 * of the configuration.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/keras/keras.h"
#include "wire/json.h"

struct group {
	hdf5_id id;
	const struct json *layer; /* its configuration, or NULL */
	const char *class;	  /* the layer's, or NULL */
	struct module *module;
	struct span path; /* in the file, without a '/' in front */
	size_t depth;
	bool is_optimizer;
};

struct walk {
	struct keras *k;
	struct map *seen; /* addresses of groups */
};

static int walk_group(struct walk *w, const struct group *g, struct err *e);

static int join(struct keras *k, struct span path, const struct hdf5_link *l,
		struct span *out, struct err *e)
{
	size_t len = path.len + (path.len > 0) + l->len;
	char *p = arena_alloc(k->m->arena, len + 1);

	if (!p)
		return err_nomem(e, len);
	memcpy(p, path.p, path.len);
	if (path.len)
		p[path.len] = '/';
	memcpy(p + len - l->len, l->name, l->len);
	*out = (struct span){p, len};
	return 0;
}

/* ---- variables ---- */

static int add_variable(struct walk *w, const struct group *g,
			const struct hdf5_link *l, size_t n, struct err *e)
{
	struct param_spec where = {.module = g->module,
				   .name = {l->name, l->len}};
	const char *known;
	char *end;
	unsigned long i = strtoul(l->name, &end, 10);
	int rc = join(w->k, g->path, l, &where.full_name, e);

	if (rc < 0)
		return rc;
	known = *end == '\0' ? keras_variable(g->class, g->layer, i, n) : NULL;
	if (known && !g->is_optimizer)
		where.name = (struct span){known, strlen(known)};
	if (g->is_optimizer)
		where.kind = PARAM_SLOT;
	else if (keras_is_state(where.name.p, where.name.len) ||
		 memmem(g->path.p, g->path.len, "seed_generator", 14))
		where.kind = PARAM_BUFFER;
	return keras_param(w->k, l->id, &where, e);
}

/* ---- which layer a group is ---- */

struct names {
	const struct json *layers; /* of the configuration */
	struct map *by_group;	   /* "conv2d_1" → index + 1 */
	struct map *counts;	   /* "conv2d" → how many there were */
	struct arena *arena;
};

static int count_layer(struct names *n, const struct json *layer, size_t i,
		       struct err *e)
{
	char snake[128], key[160];
	const char *class = keras_class(layer), *copy, *base;
	uint64_t count = 0;
	size_t len;

	if (!class)
		return 0;
	len = keras_snake(class, snake, sizeof(snake));
	map_get(n->counts, snake, len, &count);
	base = arena_strndup(n->arena, snake, len);
	if (!base || map_set(n->counts, base, len, count + 1) < 0)
		return err_nomem(e, len);
	len = (size_t)(count ? snprintf(key, sizeof(key), "%s_%llu", snake,
					(unsigned long long)count)
			     : snprintf(key, sizeof(key), "%s", snake));
	copy = arena_strndup(n->arena, key, len);
	if (!copy || map_set(n->by_group, copy, len, i + 1) < 0)
		return err_nomem(e, len);
	return 0;
}

static int index_layers(struct names *n, const struct json *layers,
			struct err *e)
{
	int rc;

	n->layers = layers;
	n->by_group = map_new();
	n->counts = map_new();
	n->arena = arena_new();
	rc = n->by_group && n->counts && n->arena ? 0 : err_nomem(e, 0);
	for (size_t i = 0; rc == 0 && layers && i < json_count(layers); i++)
		rc = count_layer(n, json_item(layers, i), i, e);
	return rc;
}

static void free_names(struct names *n)
{
	map_free(n->by_group);
	map_free(n->counts);
	arena_free(n->arena);
}

static const struct json *layer_named(const struct json *layers,
				      const struct hdf5_string *name)
{
	for (size_t i = 0; layers && i < json_count(layers); i++) {
		const struct json *layer = json_item(layers, i);
		const char *s = keras_name(layer);

		if (s && strlen(s) == name->len &&
		    memcmp(s, name->p, name->len) == 0)
			return layer;
	}
	return NULL;
}

/* Newer files say it: an attribute of the group of variables. */
static int own_name(struct walk *w, const struct hdf5_link *l,
		    struct hdf5_string *out, struct err *e)
{
	hdf5_id vars;
	int rc = hdf5_find(w->k->h, l->id, "vars", 4, &vars, e);

	*out = (struct hdf5_string){NULL, 0};
	if (rc == 0)
		rc = keras_text(w->k, vars, "name", out, e);
	return rc == -ENOENT ? 0 : rc;
}

static int walk_layer(struct walk *w, const struct group *g,
		      const struct names *n, const struct hdf5_link *l,
		      struct err *e)
{
	struct group child = *g;
	struct hdf5_string name;
	const char *known;
	uint64_t i;
	int rc = own_name(w, l, &name, e);

	if (rc < 0)
		return rc;
	child.layer = NULL;
	if (map_get(n->by_group, l->name, l->len, &i))
		child.layer = json_item(n->layers, (size_t)i - 1);
	if (name.p && layer_named(n->layers, &name))
		child.layer = layer_named(n->layers, &name);
	known = keras_name(child.layer);
	child.class = keras_class(child.layer);
	if (!name.p && known)
		name = (struct hdf5_string){known, strlen(known)};
	if (!name.p)
		name = (struct hdf5_string){l->name, l->len};
	child.id = l->id;
	child.depth++;
	rc = join(w->k, g->path, l, &child.path, e);
	if (rc == 0)
		rc = model_module(w->k->m, g->module, name.p, name.len,
				  &child.module, e);
	return rc < 0 ? rc : walk_group(w, &child, e);
}

/* The group "layers": each child is a layer. */
static int walk_layers(struct walk *w, const struct group *g, struct err *e)
{
	struct names n = {0};
	const struct hdf5_link *links;
	size_t nlinks = 0;
	int rc = index_layers(&n, keras_layers(g->layer), e);

	if (rc == 0)
		rc = hdf5_links(w->k->h, g->id, &links, &nlinks, e);
	for (size_t i = 0; rc == 0 && i < nlinks; i++)
		if (links[i].kind == HDF5_HARD)
			rc = walk_layer(w, g, &n, &links[i], e);
	free_names(&n);
	return rc;
}

/* ---- any group ---- */

static bool is_called(const struct hdf5_link *l, const char *name)
{
	return strcmp(l->name, name) == 0;
}

/* A layer's inner layer: the cell of an LSTM has the LSTM's variables. */
static const struct json *inner_layer(const struct group *g,
				      const struct hdf5_link *l)
{
	const struct json *config = json_member(g->layer, "config");
	const struct json *named = json_member(config, l->name);

	if (keras_class(named))
		return named;
	if (is_called(l, "cell"))
		return g->layer;
	if (strstr(l->name, "forward_layer") ||
	    strstr(l->name, "backward_layer"))
		return json_member(config, "layer");
	return NULL;
}

static bool ends_with(const struct hdf5_link *l, const char *end)
{
	size_t n = strlen(end);

	return l->len >= n && memcmp(l->name + l->len - n, end, n) == 0;
}

/* The projections of attention have no configuration of their own. */
static const char *inner_class(const struct group *g, const struct hdf5_link *l,
			       const struct json *layer)
{
	if (!layer && g->class && strstr(g->class, "Attention") &&
	    ends_with(l, "_dense"))
		return "EinsumDense";
	return keras_class(layer);
}

static int enter(struct walk *w, const struct group *g,
		 const struct hdf5_link *l, struct err *e)
{
	struct group child = *g;
	int rc = join(w->k, g->path, l, &child.path, e);

	child.id = l->id;
	child.depth++;
	if (rc < 0)
		return rc;
	if (is_called(l, "vars"))
		return walk_group(w, &child, e);
	if (g->layer && keras_layers(g->layer) &&
	    (is_called(l, "layers") ||
	     is_called(l, "_layer_checkpoint_dependencies")))
		return walk_layers(w, &child, e);
	child.layer = inner_layer(g, l);
	child.class = inner_class(g, l, child.layer);
	child.is_optimizer |= g->depth == 0 && is_called(l, "optimizer");
	rc = model_module(w->k->m, g->module, l->name, l->len, &child.module,
			  e);
	return rc < 0 ? rc : walk_group(w, &child, e);
}

static int remember(struct walk *w, hdf5_id id, bool *is_new, struct err *e)
{
	hdf5_id *key = arena_alloc(w->k->m->arena, sizeof(*key));
	int rc;

	if (!key)
		return err_nomem(e, sizeof(*key));
	*key = id;
	rc = map_add(w->seen, key, sizeof(*key), 1);
	*is_new = rc == 0;
	return rc == -ENOMEM ? err_nomem(e, 0) : 0;
}

static int walk_group(struct walk *w, const struct group *g, struct err *e)
{
	const struct hdf5_link *links;
	bool is_new = false;
	size_t n = 0;
	int rc = remember(w, g->id, &is_new, e);

	if (rc < 0 || !is_new)
		return rc;
	if (g->depth > KERAS_DEPTH_MAX)
		return err_set(e, EFBIG, "groups nested too deep");
	rc = hdf5_links(w->k->h, g->id, &links, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		bool is_dataset;

		if (links[i].kind != HDF5_HARD)
			continue;
		rc = hdf5_is_dataset(w->k->h, links[i].id, &is_dataset, e);
		if (rc < 0)
			break;
		rc = is_dataset ? add_variable(w, g, &links[i], n, e)
				: enter(w, g, &links[i], e);
	}
	return rc;
}

int keras_weights(struct keras *k, struct err *e)
{
	struct walk w = {.k = k, .seen = map_new()};
	struct group root = {.id = hdf5_root(k->h),
			     .layer = k->config,
			     .class = keras_class(k->config),
			     .module = model_root(k->m),
			     .path = {"", 0}};
	int rc = w.seen ? walk_group(&w, &root, e) : err_nomem(e, 0);

	map_free(w.seen);
	return rc;
}
