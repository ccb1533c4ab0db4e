/* SPDX-License-Identifier: MIT */
/*
 * program_arg - arguments of a program: unions, which are objects with one
 * member that is not null, {"as_int": 3}.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/graph.h"

#include "format/pytorch/program.h"
#include "wire/json.h"

/* ---- unions ---- */

/* Of schema 1: {"$type": "as_int", "$value": 3}. */
struct program_arg program_union(const struct json *v)
{
	struct program_arg arg = {"as_none", NULL};
	const struct json *member;
	const char *key, *tag;
	void *it = NULL;
	size_t len;

	if (json_kind(v) != JSON_KIND_OBJECT)
		return arg;
	tag = json_get_string(json_member(v, "$type"), &len);
	if (tag)
		return (struct program_arg){tag, json_member(v, "$value")};
	while (json_next(v, &it, &key, &member))
		if (json_kind(member) != JSON_KIND_NULL)
			return (struct program_arg){key, member};
	return arg;
}

bool program_is_kind(struct program_arg arg, const char *kind)
{
	return strcmp(arg.kind, kind) == 0;
}

/* The name of a value that an argument refers to; NULL: a constant. */
const char *program_value_name(struct program_arg arg)
{
	size_t len;
	const char *name = json_get_string(json_member(arg.v, "name"), &len);

	if (program_is_kind(arg, "as_tensor") ||
	    program_is_kind(arg, "as_token") ||
	    program_is_kind(arg, "as_custom_obj"))
		return name;
	if (program_is_kind(arg, "as_optional_tensor"))
		return program_value_name(program_union(arg.v));
	if (program_is_kind(arg, "as_sym_int") ||
	    program_is_kind(arg, "as_sym_bool") ||
	    program_is_kind(arg, "as_sym_float"))
		return json_get_string(json_member(arg.v, "as_name"), &len);
	return NULL;
}

/* The item of a list of values, whatever form it has. */
const char *program_item_name(struct program_arg list, size_t i)
{
	const struct json *item = json_item(list.v, i);
	const char *name;
	size_t len;

	name = json_get_string(json_member(item, "name"), &len);
	if (!name)
		name = json_get_string(json_member(item, "as_name"), &len);
	return name ? name : program_value_name(program_union(item));
}

bool program_is_list(struct program_arg arg)
{
	return program_is_kind(arg, "as_tensors") ||
	       program_is_kind(arg, "as_optional_tensors") ||
	       program_is_kind(arg, "as_sym_ints");
}

/* How many inputs or outputs an argument stands for. */
size_t program_count(struct program_arg arg)
{
	if (program_is_list(arg))
		return json_count(arg.v);
	return program_value_name(arg) != NULL;
}

/* ---- attributes ---- */

static int set_ints(struct arena *arena, struct program_arg arg, struct attr *a,
		    struct err *e)
{
	int64_t *ints =
		arena_array(arena, json_count(arg.v) + 1, sizeof(*ints));
	bool b = false;

	if (!ints)
		return err_nomem(e, json_count(arg.v));
	a->kind = ATTR_INTS;
	a->n = json_count(arg.v);
	for (size_t i = 0; i < a->n; i++) {
		const struct json *item = json_item(arg.v, i);

		if (json_get_bool(item, &b))
			ints[i] = b;
		else if (!json_get_int(item, &ints[i]))
			a->kind = ATTR_OTHER;
	}
	a->ints = ints;
	return 0;
}

static int set_floats(struct arena *arena, struct program_arg arg,
		      struct attr *a, struct err *e)
{
	float *floats =
		arena_array(arena, json_count(arg.v) + 1, sizeof(*floats));
	double d = 0;

	if (!floats)
		return err_nomem(e, json_count(arg.v));
	a->kind = ATTR_FLOATS;
	a->n = json_count(arg.v);
	for (size_t i = 0; i < a->n; i++) {
		if (!json_get_real(json_item(arg.v, i), &d))
			a->kind = ATTR_OTHER;
		floats[i] = (float)d;
	}
	a->floats = floats;
	return 0;
}

static int set_string(struct arena *arena, const struct json *v, struct attr *a,
		      struct err *e)
{
	size_t len;
	const char *s = json_get_string(v, &len);

	if (!s)
		return 0;
	s = arena_strndup(arena, s, len);
	if (!s)
		return err_nomem(e, len);
	a->kind = ATTR_STRING;
	a->s = (struct span){s, len};
	return 0;
}

int program_set_attr(struct arena *arena, struct program_arg arg,
		     struct attr *a, struct err *e)
{
	double d = 0;
	bool b = false;

	a->kind = ATTR_OTHER;
	a->n = 1;
	if (program_is_kind(arg, "as_ints") || program_is_kind(arg, "as_bools"))
		return set_ints(arena, arg, a, e);
	if (program_is_kind(arg, "as_floats"))
		return set_floats(arena, arg, a, e);
	if (program_is_kind(arg, "as_device"))
		return set_string(arena, json_member(arg.v, "type"), a, e);
	if (json_kind(arg.v) == JSON_KIND_STRING)
		return set_string(arena, arg.v, a, e);
	if (json_get_bool(arg.v, &b)) {
		a->kind = ATTR_INT;
		a->i = b;
	} else if (json_get_int(arg.v, &a->i)) {
		a->kind = ATTR_INT;
	} else if (json_get_real(arg.v, &d)) {
		a->kind = ATTR_FLOAT;
		a->f = (float)d;
	}
	return 0;
}
