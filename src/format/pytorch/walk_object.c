/* SPDX-License-Identifier: MIT */
/* walk_object - dicts, lists and objects; see format/pytorch/walk.h. */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/pytorch/walk.h"

/*
 * What is shared is looked at wherever it is reached.  Files that people make
 * share little; in a hostile one a few hundred bytes stand for as many objects
 * as one likes.
 */
#define REPEATS_MIN 200000

/* ---- entering ---- */

void walk_typed_key(const struct pickle_node *key, struct text *out)
{
	out->len = 0;
	text_add(out, key->kind == PICKLE_STRING ? "s" : "k");
	torch_format_key(key, out);
}

/* The last entry of a key counts, as in Python. */
static int index_keys(struct walk *w, struct frame *f, struct err *e)
{
	const struct pickle_node *n = f->n;
	struct text key = {0};
	int rc = 0;

	f->keys = map_new();
	for (size_t i = 0; rc == 0 && f->keys && i + 1 < n->nitems; i += 2) {
		char *kept;

		walk_typed_key(n->items[i], &key);
		kept = arena_strndup(w->t->arena, key.p ? key.p : "", key.len);
		if (key.failed || !kept ||
		    map_set(f->keys, kept, key.len, i) < 0)
			rc = err_nomem(e, key.len);
	}
	text_free(&key);
	return f->keys ? rc : err_nomem(e, 0);
}

/* Counts what it holds. */
static bool may_enter(struct walk *w, struct pickle_node *n)
{
	if (n->was_entered)
		w->repeats += n->nitems;
	else
		w->items += n->nitems;
	n->was_entered = true;
	return w->repeats <= REPEATS_MIN + w->items;
}

static int push(struct walk *w, struct pickle_node *n, const struct frame *at,
		struct err *e)
{
	struct frame *f;

	if (n->on_path)
		return 0;
	if (w->depth == WALK_DEPTH_MAX)
		return err_set(e, EFBIG, "objects nest deeper than %d",
			       WALK_DEPTH_MAX);
	if (!may_enter(w, n))
		return err_set(e, EFBIG, "the same objects over and over");
	f = &w->frames[w->depth++];
	*f = *at;
	f->n = n;
	f->i = 0;
	f->keys = NULL;
	n->on_path = true;
	if (n->kind == PICKLE_DICT || n->has_pairs)
		return index_keys(w, f, e);
	return 0;
}

void walk_pop(struct walk *w)
{
	struct frame *f = walk_top(w);

	f->n->on_path = false;
	map_free(f->keys);
	w->depth--;
}

/* The type of an object: the class that it says made it. */
static int set_type(struct walk *w, struct module *mod,
		    const struct pickle_node *n, struct err *e)
{
	const struct pickle_node *f = n->callable;
	int rc = 0;

	/* The legacy stream wraps classes: ("module", class, file, source). */
	if (f->kind == PICKLE_PERSID && pickle_item(f->callable, 1))
		f = pickle_item(f->callable, 1);
	if (f->kind == PICKLE_GLOBAL && f->name.p && !mod->type)
		rc = model_type(w->t->m, mod, f->name.p, f->name.len);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

/* Objects hold things in their state, their items and their arguments. */
static int push_object(struct walk *w, struct pickle_node *n, struct frame *at,
		       struct err *e)
{
	struct pickle_node *state = n->state;
	int rc = set_type(w, at->mod, n, e);

	at->is_state = false;
	at->class = NULL;
	if (rc == 0 && n->args && n->args->kind == PICKLE_TUPLE &&
	    n->args->nitems > 0)
		rc = push(w, n->args, at, e);
	if (rc == 0 && n->nitems > 0)
		rc = push(w, n, at, e);
	if (rc < 0 || !state)
		return rc;
	at->class = torch_find_class(w->t->classes, n->callable);
	if (at->class)
		rc = torch_class_describe(at->class, w->t->m, at->mod, e);
	if (rc < 0)
		return rc;
	at->is_state = true;
	if (state->kind == PICKLE_DICT)
		return push(w, state, at, e);
	/* (dict, slots) */
	for (size_t i = 0; rc == 0 && i < 2; i++) {
		struct pickle_node *part = pickle_item(state, i);

		if (part && part->kind == PICKLE_DICT)
			rc = push(w, part, at, e);
	}
	return rc;
}

/* torch keeps a list of all modules of a state_dict, with their versions. */
static int add_metadata(struct walk *w, const struct pickle_node *dict,
			struct module *mod, struct err *e)
{
	const struct pickle_node *list = pickle_get(dict->state, "_metadata");
	int rc = 0;

	if (!list || list->kind != PICKLE_DICT)
		return 0;
	for (size_t i = 0; rc == 0 && i + 1 < list->nitems; i += 2) {
		const struct pickle_node *key = list->items[i];
		const struct pickle_node *version =
			pickle_get(list->items[i + 1], "version");
		struct module *child = mod;
		struct span leaf;

		if (key->kind != PICKLE_STRING || !key->s.p)
			continue;
		if (key->s.len > 0) {
			rc = model_path(w->t->m, mod, key->s.p, key->s.len, ".",
					&child, &leaf, e);
			if (rc == 0)
				rc = model_module(w->t->m, child, leaf.p,
						  leaf.len, &child, e);
		}
		if (rc == 0 && version && version->kind == PICKLE_INT &&
		    model_attr(w->t->m, child, "version", "%lld",
			       (long long)version->i) < 0)
			rc = err_nomem(e, 0);
	}
	return rc;
}

int walk_push(struct walk *w, struct pickle_node *n, struct frame *at,
	      struct err *e)
{
	int rc;

	if (n->kind == PICKLE_OBJECT)
		return push_object(w, n, at, e);
	at->is_state = false;
	at->class = NULL;
	if (n->kind == PICKLE_DICT) {
		rc = add_metadata(w, n, at->mod, e);
		if (rc < 0)
			return rc;
	}
	return push(w, n, at, e);
}

/* ---- modules ---- */

static bool is_word(const char *key, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(key, word, len) == 0;
}

int walk_module_part(const struct frame *f, const char *key, size_t len,
		     enum param_kind *kind)
{
	if (!f->is_state || len == 0 || key[0] != '_')
		return 0;
	if (memmem(key, len, "hook", 4) ||
	    is_word(key, len, "_non_persistent_buffers_set"))
		return -1;
	if (is_word(key, len, "_buffers"))
		*kind = PARAM_BUFFER;
	else if (is_word(key, len, "_parameters"))
		*kind = PARAM_PARAMETER;
	else if (!is_word(key, len, "_modules"))
		return 0;
	return 1;
}

/* ---- what stands for something else ---- */

/*
 * torch.package writes objects that a function of its own would make as
 * ("reduce_package", number, function, arguments): a call like any other.
 */
static void unpack_reduce(struct pickle_node *n)
{
	const struct pickle_node *id =
		n->kind == PICKLE_PERSID ? n->callable : NULL;
	struct pickle_node *f = pickle_item(id, 2), *args = pickle_item(id, 3);

	if (!f || !args || !pickle_is_string(id->items[0], "reduce_package"))
		return;
	n->kind = PICKLE_OBJECT;
	n->callable = f;
	n->args = args;
}

/* PaddlePaddle's tensors are tuple((name, array)). */
static struct pickle_node *paddle_tensor(struct pickle_node *n)
{
	struct pickle_node *pair, *array;

	if (!pickle_is_call(n, "builtins", "tuple") &&
	    !pickle_is_call(n, "__builtin__", "tuple"))
		return NULL;
	pair = pickle_arg(n, 0);
	array = pickle_item(pair, 1);
	if (!pair || pair->nitems != 2 ||
	    pickle_item(pair, 0)->kind != PICKLE_STRING ||
	    !torch_is_array(array))
		return NULL;
	return array;
}

/*
 * TorchScript's own calls around lists: build_intlist, restore_type_tag;
 * arrays of objects; and arrays with a name.
 */
struct pickle_node *walk_unwrap(struct pickle_node *n)
{
	static const char name[] = "torch.jit._pickle";

	unpack_reduce(n);
	if (paddle_tensor(n))
		return paddle_tensor(n);
	for (int i = 0; i < 16 && n->kind == PICKLE_OBJECT; i++) {
		const struct pickle_node *f = n->callable;
		struct pickle_node *arg = torch_array_objects(n);

		if (arg) {
			n = arg;
			continue;
		}
		arg = pickle_arg(n, 0);
		if (f->kind != PICKLE_GLOBAL || !arg ||
		    f->module.len != sizeof(name) - 1 ||
		    memcmp(f->module.p, name, sizeof(name) - 1) != 0)
			break;
		n = arg;
	}
	return n;
}

struct pickle_node *walk_wrapped(const struct pickle_node *n)
{
	struct pickle_node *state = NULL;

	if (pickle_is_call(n, "torch._tensor", "_rebuild_from_type_v2") &&
	    pickle_is_global(pickle_arg(n, 0), "torch._utils",
			     "_rebuild_wrapper_subclass"))
		state = pickle_arg(n, 3);
	else if (pickle_is_call(n, "torch._utils", "_rebuild_wrapper_subclass"))
		state = n->state;
	if (state && state->kind == PICKLE_TUPLE)
		state = pickle_item(state, 0);
	return state && state->kind == PICKLE_DICT ? state : NULL;
}
