/* SPDX-License-Identifier: MIT */
/*
 * inbound - what goes into a call of a layer, in all the forms there are:
 *
 *	[["conv", 0, 0, {}]]			Keras 1 and 2
 *	["conv", 0, 0, {"y": ["dense", 0, 0]}]	functions
 *	{"args": [{"class_name": "__keras_tensor__", "config":
 *	 {"keras_history": ["conv", 0, 0]}}], "kwargs": {}}	Keras 3
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/keras/call.h"
#include "wire/json.h"

#define NESTING_MAX 16

static int add(struct keras_inputs *in, struct keras_input one, struct err *e)
{
	if (in->n >= KERAS_INPUTS_MAX)
		return err_set(e, EFBIG, "more than %d inputs of a layer",
			       KERAS_INPUTS_MAX);
	if (in->n == in->cap) {
		size_t cap = in->cap ? 2 * in->cap : 4;
		struct keras_input *v = realloc(in->v, cap * sizeof(*v));

		if (!v)
			return err_nomem(e, cap * sizeof(*v));
		in->v = v;
		in->cap = cap;
	}
	in->v[in->n++] = one;
	return 0;
}

/* [layer, node, tensor, ...] */
static bool is_tensor(const struct json *v, struct keras_input *out)
{
	size_t len;

	out->layer = json_get_string(json_item(v, 0), &len);
	return out->layer && strlen(out->layer) == len &&
	       json_get_int(json_item(v, 1), &out->node) &&
	       json_get_int(json_item(v, 2), &out->tensor) && out->node >= 0 &&
	       out->tensor >= 0;
}

static bool is_constant(const struct json *v, struct keras_input *out)
{
	size_t len;
	const char *tag = json_get_string(json_item(v, 0), &len);

	out->layer = NULL;
	return tag && strcmp(tag, "_CONSTANT_VALUE") == 0 &&
	       json_get_real(json_item(v, 2), &out->number);
}

static int walk(struct keras_inputs *in, const struct json *v, const char *key,
		int depth, struct err *e);

static int walk_members(struct keras_inputs *in, const struct json *v,
			int depth, struct err *e)
{
	const struct json *member;
	const char *key;
	void *it = NULL;
	int rc = 0;

	while (rc == 0 && json_next(v, &it, &key, &member))
		rc = walk(in, member, key, depth + 1, e);
	return rc;
}

static int walk_array(struct keras_inputs *in, const struct json *v,
		      const char *key, int depth, struct err *e)
{
	struct keras_input one = {.key = key};
	int rc = 0;

	if (is_tensor(v, &one) || is_constant(v, &one)) {
		rc = add(in, one, e);
		return rc < 0 ? rc
			      : walk_members(in, json_item(v, 3), depth, e);
	}
	for (size_t i = 0; rc == 0 && i < json_count(v); i++)
		rc = walk(in, json_item(v, i), key, depth + 1, e);
	return rc;
}

static int walk_object(struct keras_inputs *in, const struct json *v,
		       const char *key, int depth, struct err *e)
{
	struct keras_input one = {.key = key};
	const char *class = keras_class(v);
	int rc;

	if (class && strcmp(class, "__keras_tensor__") == 0) {
		const struct json *history =
			json_member(json_member(v, "config"), "keras_history");

		return is_tensor(history, &one) ? add(in, one, e) : 0;
	}
	if (class)
		return 0; /* a value of another kind */
	if (!json_member(v, "args"))
		return walk_members(in, v, depth, e);
	rc = walk(in, json_member(v, "args"), key, depth + 1, e);
	return rc < 0 ? rc
		      : walk_members(in, json_member(v, "kwargs"), depth, e);
}

static int walk(struct keras_inputs *in, const struct json *v, const char *key,
		int depth, struct err *e)
{
	struct keras_input one = {.key = key};

	if (depth > NESTING_MAX)
		return err_set(e, EINVAL, "connections nested too deep");
	switch (json_kind(v)) {
	case JSON_KIND_ARRAY:
		return walk_array(in, v, key, depth, e);
	case JSON_KIND_OBJECT:
		return walk_object(in, v, key, depth, e);
	case JSON_KIND_INT:
	case JSON_KIND_REAL:
		json_get_real(v, &one.number);
		return add(in, one, e);
	default:
		return 0;
	}
}

int keras_collect(struct keras_inputs *in, const struct json *v, struct err *e)
{
	return walk(in, v, NULL, 0, e);
}
