/* SPDX-License-Identifier: MIT */
/*
 * legacy - .h5 files of Keras up to 2, and of Keras 3 in that form: a group
 * per layer, whose attribute weight_names says which datasets are its
 * weights, in order.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/text.h"

#include "format/keras/keras.h"

/* Attributes that are too long are cut into name0, name1, … */
#define PIECES_MAX 100000

typedef int (*name_fn)(struct keras *k, void *ctx,
		       const struct hdf5_string *name, struct err *e);

static int give(struct keras *k, hdf5_id id, const char *attr, name_fn fn,
		void *ctx, struct err *e)
{
	const struct hdf5_string *names;
	size_t n = 0;
	int rc = hdf5_strings(k->h, id, attr, &names, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = fn(k, ctx, &names[i], e);
	return rc;
}

/* -ENOENT when there is no such attribute. */
static int each_name(struct keras *k, hdf5_id id, const char *attr, name_fn fn,
		     void *ctx, struct err *e)
{
	char piece[64];
	int rc = give(k, id, attr, fn, ctx, e);

	if (rc != -ENOENT)
		return rc;
	for (int i = 0; i < PIECES_MAX; i++) {
		snprintf(piece, sizeof(piece), "%s%d", attr, i);
		rc = give(k, id, piece, fn, ctx, e);
		if (rc == -ENOENT)
			return i > 0 ? 0 : rc;
		if (rc < 0)
			return rc;
	}
	return 0;
}

struct layer {
	hdf5_id group;
	struct hdf5_string name; /* empty: of the model itself */
	struct module *module;
	bool is_optimizer;
};

/*
 * What a weight is called beneath its layer: "dense/kernel:0" and
 * "model/dense/kernel" are "kernel" in the layer "dense".
 */
static struct span beneath(const struct layer *l, struct span name)
{
	size_t n = l->name.len;

	if (name.len > 2 && memcmp(name.p + name.len - 2, ":0", 2) == 0)
		name.len -= 2;
	for (size_t i = 0; n > 0 && i + n + 1 < name.len; i++) {
		if ((i > 0 && name.p[i - 1] != '/') ||
		    memcmp(name.p + i, l->name.p, n) != 0 ||
		    name.p[i + n] != '/')
			continue;
		return (struct span){name.p + i + n + 1, name.len - i - n - 1};
	}
	return name;
}

/* The weight's own name where that says the layer, or "layer/weight". */
static int full_name(struct keras *k, const struct layer *l, struct span name,
		     struct span *out, struct err *e)
{
	struct text t = {0};
	struct span rest = beneath(l, name);

	*out = name;
	if (l->name.len == 0 || rest.p != name.p)
		return 0;
	text_add_bytes(&t, l->name.p, l->name.len);
	text_add(&t, "/");
	text_add_bytes(&t, name.p, name.len);
	if (!t.failed) {
		out->p = arena_strndup(k->m->arena, t.p, t.len);
		out->len = t.len;
	}
	text_free(&t);
	return t.failed || !out->p ? err_nomem(e, name.len) : 0;
}

static int add_weight(struct keras *k, void *ctx,
		      const struct hdf5_string *name, struct err *e)
{
	const struct layer *l = ctx;
	struct span given = {name->p, name->len}, rest = beneath(l, given);
	struct param_spec where = {0};
	bool is_dataset = false;
	hdf5_id id;
	int rc = hdf5_find(k->h, l->group, name->p, name->len, &id, e);

	/* A name that leads nowhere is passed over. */
	if (rc == -ENOENT)
		return 0;
	if (rc == 0)
		rc = hdf5_is_dataset(k->h, id, &is_dataset, e);
	if (rc < 0 || !is_dataset)
		return rc;
	rc = full_name(k, l, given, &where.full_name, e);
	if (rc == 0)
		rc = model_path(k->m, l->module, rest.p, rest.len, "/",
				&where.module, &where.name, e);
	if (rc < 0)
		return rc;
	if (l->is_optimizer)
		where.kind = PARAM_SLOT;
	else if (keras_is_state(where.name.p, where.name.len))
		where.kind = PARAM_BUFFER;
	return keras_param(k, id, &where, e);
}

/* Keras 0 and 1: param_0, param_1, … */
static int add_numbered(struct keras *k, struct layer *l, struct err *e)
{
	int rc = 0;

	for (int i = 0; rc == 0; i++) {
		char name[32];
		hdf5_id id;
		struct hdf5_string s = {name, 0};

		s.len = (size_t)snprintf(name, sizeof(name), "param_%d", i);
		rc = hdf5_find(k->h, l->group, s.p, s.len, &id, e);
		if (rc == 0)
			rc = add_weight(k, l, &s, e);
	}
	return rc == -ENOENT ? 0 : rc;
}

static int add_layer(struct keras *k, void *ctx, const struct hdf5_string *name,
		     struct err *e)
{
	const hdf5_id *root = ctx;
	struct layer l = {.name = *name};
	int rc = hdf5_find(k->h, *root, name->p, name->len, &l.group, e);

	if (rc == -ENOENT)
		return 0;
	if (rc == 0)
		rc = model_module(k->m, model_root(k->m), name->p, name->len,
				  &l.module, e);
	if (rc < 0)
		return rc;
	rc = each_name(k, l.group, "weight_names", add_weight, &l, e);
	return rc == -ENOENT ? add_numbered(k, &l, e) : rc;
}

static int add_optimizer(struct keras *k, struct err *e)
{
	struct layer l = {.is_optimizer = true};
	int rc = hdf5_find(k->h, hdf5_root(k->h), "optimizer_weights", 17,
			   &l.group, e);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	rc = model_module(k->m, model_root(k->m), "optimizer", 9, &l.module, e);
	if (rc < 0)
		return rc;
	rc = each_name(k, l.group, "weight_names", add_weight, &l, e);
	return rc == -ENOENT ? 0 : rc;
}

/* Weights of the model that belong to no layer. */
static int add_top_level(struct keras *k, hdf5_id root, struct err *e)
{
	struct layer l = {.module = model_root(k->m)};
	int rc = hdf5_find(k->h, root, "top_level_model_weights", 23, &l.group,
			   e);

	if (rc == 0)
		rc = each_name(k, l.group, "weight_names", add_weight, &l, e);
	return rc == -ENOENT ? 0 : rc;
}

int keras_legacy(struct keras *k, hdf5_id root, struct err *e)
{
	int rc = each_name(k, root, "layer_names", add_layer, &root, e);

	if (rc == 0)
		rc = add_top_level(k, root, e);
	return rc == 0 ? add_optimizer(k, e) : rc;
}
