/* SPDX-License-Identifier: MIT */
/*
 * walk - from a pickled object to modules, parameters and attributes.
 *
 * Dicts, lists and objects become modules, with the dots of their keys as
 * further levels; tensors become parameters, and what fits a line an
 * attribute.  Of a pickled torch.nn.Module the three dicts that hold its
 * parts are passed through.  The walk keeps its own stack; what contains
 * itself is entered once on every way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/text.h"

#include "format/pytorch/pytorch.h"

/* Things looked at: shared ones count each time they are reached. */
#define VISITS_MAX MODEL_OBJECTS_MAX
#define DEPTH_MAX 1000
/* Plain values as text: the same string may be reached very often. */
#define TEXT_BYTES_MAX ((uint64_t)128 << 20)
/* A longer text becomes a file under config/. */
#define ATTR_MAX 200

struct frame {
	struct pickle_node *n;
	size_t i; /* next item */
	struct module *mod;
	size_t name_len;  /* of the full name up to here */
	struct map *keys; /* dicts: which entry of a key counts */
	enum param_kind kind;
	bool is_state;			 /* the attributes of an object */
	const struct torch_class *class; /* its class, where code tells */
};

struct walk {
	struct torch *t;
	struct frame frames[DEPTH_MAX];
	size_t depth;
	struct text name; /* full name of what is being looked at */
	uint64_t visits;
	uint64_t text_bytes; /* of plain values */
};

static struct frame *top(struct walk *w)
{
	return &w->frames[w->depth - 1];
}

/* ---- names ---- */

/* The name becomes the frame's own, and this component. */
static int set_name(struct walk *w, const struct frame *f, const char *key,
		    size_t len, struct err *e)
{
	w->name.len = f->name_len;
	if (f->name_len > 0)
		text_add(&w->name, ".");
	text_add_bytes(&w->name, key, len);
	return w->name.failed ? err_nomem(e, len) : 0;
}

static bool has_word(const char *key, size_t len, const char *word)
{
	return memmem(key, len, word, strlen(word)) != NULL;
}

static bool is_word(const char *key, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(key, word, len) == 0;
}

/* ---- tensors ---- */

static int add_part(struct walk *w, const struct frame *f,
		    struct torch_part *part, const char *key, size_t key_len,
		    struct err *e)
{
	struct param_spec spec = {.kind = f->kind, .tensor = part->tensor};
	size_t suffix = strlen(part->suffix), base = w->name.len;
	struct text leaf = {0};
	int rc;

	part->tensor.data = NULL; /* model_param takes it */
	text_add_bytes(&w->name, part->suffix, suffix);
	rc = model_path(w->t->m, f->mod, key, key_len, ".", &spec.module,
			&spec.name, e);
	text_add_bytes(&leaf, spec.name.p, rc < 0 ? 0 : spec.name.len);
	text_add_bytes(&leaf, part->suffix, suffix);
	if (rc == 0 && (leaf.failed || w->name.failed))
		rc = err_nomem(e, key_len);
	if (rc < 0) {
		blob_unref(spec.tensor.data);
		text_free(&leaf);
		return rc;
	}
	spec.name = (struct span){leaf.p ? leaf.p : "", leaf.len};
	spec.full_name = (struct span){w->name.p ? w->name.p : "", w->name.len};
	spec.dtype_text = part->dtype_text;
	if (spec.kind == PARAM_PARAMETER &&
	    (f->class ? !torch_class_has_parameter(f->class, key, key_len)
		      : param_is_buffer_name(spec.name.p, spec.name.len)))
		spec.kind = PARAM_BUFFER;
	rc = model_param(w->t->m, &spec, NULL, e);
	w->name.len = base;
	text_free(&leaf);
	return rc;
}

/* What a quantised or sparse tensor has besides its parts. */
static int describe(struct walk *w, const struct frame *f,
		    const struct torch_tensor *t, const char *key,
		    struct err *e)
{
	struct model *m = w->t->m;
	char name[ERR_QUOTED + 16];
	int rc = 0;

	if (t->layout) {
		snprintf(name, sizeof(name), "%s.layout", key);
		rc = model_attr(m, f->mod, name, "%s", t->layout);
	}
	if (rc == 0 && t->size && torch_is_plain(t->size)) {
		struct text size = {0};

		torch_format(t->size, &size);
		snprintf(name, sizeof(name), "%s.size", key);
		rc = model_attr(m, f->mod, name, "%s", size.p ? size.p : "");
		text_free(&size);
	}
	if (rc == 0 && t->has_axis) {
		snprintf(name, sizeof(name), "%s.axis", key);
		rc = model_attr(m, f->mod, name, "%lld", (long long)t->axis);
	}
	return rc < 0 ? err_nomem(e, 0) : 0;
}

static int fail_tensor(struct torch_tensor *out, const struct err *why,
		       struct err *e)
{
	*out = (struct torch_tensor){.nparts = 1};
	out->parts[0].suffix = "";
	out->parts[0].dtype_text = "unknown";
	out->parts[0].tensor.shape = shape_of(0, NULL);
	out->parts[0].tensor.data = blob_fail(0, EIO, why->msg);
	return out->parts[0].tensor.data ? 0 : err_nomem(e, 0);
}

static int read_tensor(struct walk *w, const struct pickle_node *n,
		       struct torch_tensor *out, struct err *e)
{
	struct err why = {0};
	int rc;

	if (torch_is_array(n)) {
		*out = (struct torch_tensor){.nparts = 1};
		out->parts[0].suffix = "";
		rc = torch_array(w->t, n, &out->parts[0].tensor, &why);
	} else {
		rc = torch_rebuild(w->t, n, out, &why);
	}
	if (rc < 0 && (w->t->m->lenient || rc == -EOPNOTSUPP))
		return fail_tensor(out, &why, e);
	return rc < 0 ? err_set(e, why.code, "%s", why.msg) : 0;
}

static int add_tensor(struct walk *w, const struct frame *f,
		      const struct pickle_node *n, const char *key, size_t len,
		      struct err *e)
{
	struct torch_tensor t;
	char quoted[ERR_QUOTED];
	int rc = read_tensor(w, n, &t, e);

	if (rc < 0)
		return err_wrap(e, "%s",
				err_quote(quoted, w->name.p ? w->name.p : "",
					  w->name.len));
	for (size_t i = 0; rc == 0 && i < t.nparts; i++)
		rc = add_part(w, f, &t.parts[i], key, len, e);
	if (rc == 0)
		rc = describe(w, f, &t, err_quote(quoted, key, len), e);
	torch_tensor_drop(&t);
	return rc;
}

/* ---- plain values ---- */

/* The levels of the full name are folders. */
static int add_config(struct walk *w, const char *p, size_t len, struct err *e)
{
	struct blob *data = blob_copy(p ? p : "", len);
	char *name, *dot;
	int rc;

	if (!data)
		return err_nomem(e, len);
	name = strdup(w->name.p ? w->name.p : "value");
	if (!name) {
		blob_unref(data);
		return err_nomem(e, w->name.len);
	}
	for (dot = strchr(name, '.'); dot; dot = strchr(dot, '.'))
		*dot = '/';
	rc = model_config(w->t->m, name, data, e);
	free(name);
	return rc;
}

/*
 * Values of dicts and lists are files under config/, too; the attributes of
 * modules and other objects are not: there is one of each in every layer.
 */
static int add_plain(struct walk *w, const struct frame *f,
		     const struct pickle_node *n, const char *key, size_t len,
		     struct err *e)
{
	struct text value = {0};
	char name[ERR_QUOTED];
	int rc = 0;

	if (n->kind == PICKLE_STRING || n->kind == PICKLE_BYTES)
		w->text_bytes += n->s.len;
	if (w->text_bytes > TEXT_BYTES_MAX)
		return err_set(e, EFBIG, "more than %llu bytes of text",
			       (unsigned long long)TEXT_BYTES_MAX);
	torch_format(n, &value);
	w->text_bytes += value.len;
	if (value.failed)
		rc = err_nomem(e, 0);
	else if (n->kind == PICKLE_STRING && n->s.len > ATTR_MAX)
		rc = add_config(w, n->s.p, n->s.len, e);
	else if (!f->is_state || w->depth == 1)
		rc = add_config(w, value.p, value.len, e);
	if (rc == 0 && value.len <= ATTR_MAX &&
	    model_attr(w->t->m, f->mod, err_quote(name, key, len), "%s",
		       value.p ? value.p : "") < 0)
		rc = err_nomem(e, value.len);
	text_free(&value);
	return rc;
}

/* ---- containers ---- */

/* 's' and the text of a string key, 'k' and that of any other. */
static void typed_key(const struct pickle_node *key, struct text *out)
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

		typed_key(n->items[i], &key);
		kept = arena_strndup(w->t->arena, key.p ? key.p : "", key.len);
		if (key.failed || !kept ||
		    map_set(f->keys, kept, key.len, i) < 0)
			rc = err_nomem(e, key.len);
	}
	text_free(&key);
	return f->keys ? rc : err_nomem(e, 0);
}

static int push(struct walk *w, struct pickle_node *n, const struct frame *at,
		struct err *e)
{
	struct frame *f;

	if (n->on_path)
		return 0;
	if (w->depth == DEPTH_MAX)
		return err_set(e, EFBIG, "objects nest deeper than %d",
			       DEPTH_MAX);
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

static void pop(struct walk *w)
{
	struct frame *f = top(w);

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

static int push_container(struct walk *w, struct pickle_node *n,
			  struct frame *at, struct err *e)
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

/* Of a module's attributes: 1 passed through, -1 of no interest, 0 others. */
static int module_part(const struct frame *f, const char *key, size_t len,
		       enum param_kind *kind)
{
	if (!f->is_state || len == 0 || key[0] != '_')
		return 0;
	if (has_word(key, len, "hook") ||
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

static int enter(struct walk *w, struct pickle_node *n, const char *key,
		 size_t len, struct err *e)
{
	struct frame at = *top(w);
	struct span leaf;
	int part = module_part(&at, key, len, &at.kind), rc;

	if (part < 0 || n->on_path)
		return 0;
	if (part > 0 && n->kind == PICKLE_DICT)
		return push_container(w, n, &at, e);
	if (has_word(key, len, "optim"))
		at.kind = PARAM_SLOT;
	rc = model_path(w->t->m, at.mod, key, len, ".", &at.mod, &leaf, e);
	if (rc == 0)
		rc = model_module(w->t->m, at.mod, leaf.p, leaf.len, &at.mod,
				  e);
	at.name_len = w->name.len;
	return rc == 0 ? push_container(w, n, &at, e) : rc;
}

/*
 * TorchScript's own calls around lists: build_intlist, restore_type_tag; and
 * arrays of objects.
 */
static struct pickle_node *unwrap(struct pickle_node *n)
{
	static const char name[] = "torch.jit._pickle";

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

/*
 * A subclass that only wraps other tensors (torchao, DTensor) has no data of
 * its own: what it is made of is in its state.
 */
static struct pickle_node *wrapped_state(const struct pickle_node *n)
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

static int visit(struct walk *w, struct pickle_node *n, const char *key,
		 size_t len, struct err *e)
{
	const struct frame *f = top(w);
	enum param_kind ignored;
	int rc;

	if (++w->visits > VISITS_MAX)
		return err_set(e, EFBIG, "more than %u objects", VISITS_MAX);
	unpack_reduce(n);
	n = unwrap(n);
	rc = set_name(w, f, key, len, e);
	if (rc < 0)
		return rc;
	if (wrapped_state(n))
		return enter(w, wrapped_state(n), key, len, e);
	if (torch_is_tensor(n) || torch_is_array(n))
		return add_tensor(w, f, n, key, len, e);
	if (n->kind == PICKLE_PERSID)
		return 0;
	if (!torch_is_plain(n))
		return enter(w, n, key, len, e);
	if (module_part(f, key, len, &ignored) != 0 ||
	    (f->kind == PARAM_BUFFER && n->kind == PICKLE_NONE))
		return 0;
	return add_plain(w, f, n, key, len, e);
}

/* ---- iteration ---- */

/* A key that is no string but reads like one that is there: "int(5)". */
static void tell_apart(const struct frame *f, const struct pickle_node *key,
		       struct text *out)
{
	static const char *const kinds[] = {"None",  "bool", "int",   "int",
					    "float", "str",  "bytes", "tuple"};
	uint64_t other;
	struct text plain = {0};

	if (key->kind == PICKLE_STRING || !out->p)
		return;
	out->p[0] = 's';
	if (!map_get(f->keys, out->p, out->len, &other))
		return;
	text_printf(&plain, "s%s(%s)",
		    key->kind <= PICKLE_TUPLE ? kinds[key->kind] : "object",
		    out->p + 1);
	out->len = 0;
	text_add_bytes(out, plain.p ? plain.p : "s", plain.len);
	out->failed |= plain.failed;
	text_free(&plain);
}

static int visit_pair(struct walk *w, struct frame *f, struct err *e)
{
	struct pickle_node *key = f->n->items[f->i];
	struct pickle_node *value = f->n->items[f->i + 1];
	size_t at = f->i;
	struct text name = {0};
	uint64_t last = 0;
	int rc = 0;

	f->i += 2;
	typed_key(key, &name);
	if (!name.failed && map_get(f->keys, name.p, name.len, &last) &&
	    last == at) {
		tell_apart(f, key, &name);
		rc = visit(w, value, name.p + 1, name.len - 1, e);
	}
	if (name.failed)
		rc = err_nomem(e, name.len);
	text_free(&name);
	return rc;
}

static int visit_item(struct walk *w, struct frame *f, struct err *e)
{
	struct pickle_node *item = f->n->items[f->i];
	const char *prefix = w->depth == 1 ? w->t->items : NULL;
	char name[32];

	snprintf(name, sizeof(name), "%.8s%zu", prefix ? prefix : "", f->i++);
	return visit(w, item, name, strlen(name), e);
}

static int step(struct walk *w, struct err *e)
{
	struct frame *f = top(w);
	size_t width = f->keys ? 2 : 1;

	if (f->i + width > f->n->nitems) {
		pop(w);
		return 0;
	}
	return f->keys ? visit_pair(w, f, e) : visit_item(w, f, e);
}

/* The module that t->under names. */
static int enter_under(struct walk *w, struct frame *at, struct err *e)
{
	const struct torch *t = w->t;
	struct span leaf = {t->under, strlen(t->under)};
	int rc = model_path(t->m, at->mod, leaf.p, leaf.len,
			    t->seps ? t->seps : "", &at->mod, &leaf, e);

	if (rc == 0)
		rc = model_module(t->m, at->mod, leaf.p, leaf.len, &at->mod, e);
	text_add(&w->name, t->under);
	at->name_len = w->name.len;
	return rc;
}

/* A file that holds one tensor or one value gives it a name of its own. */
static int start(struct walk *w, struct pickle_node *root, struct err *e)
{
	struct model *m = w->t->m;
	struct frame at = {.mod = model_root(m), .kind = w->t->kind};
	const char *under = w->t->under;
	const char *name;
	int rc = 0;

	root = unwrap(root);
	name = torch_is_plain(root) ? "value" : "tensor";
	name = w->t->name ? w->t->name : name;

	/* An archive without constants has an empty tuple of them. */
	if (under && torch_is_plain(root))
		return 0;
	if (under)
		rc = enter_under(w, &at, e);
	if (rc < 0)
		return rc;
	if (!torch_is_tensor(root) && !torch_is_array(root) &&
	    !torch_is_plain(root))
		return push_container(w, root, &at, e);
	w->frames[w->depth++] = at;
	set_name(w, &at, name, strlen(name), e);
	if (torch_is_plain(root))
		return add_plain(w, &at, root, name, strlen(name), e);
	return add_tensor(w, &at, root, name, strlen(name), e);
}

int torch_walk(struct torch *t, struct pickle_node *root, struct err *e)
{
	struct walk *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return err_nomem(e, sizeof(*w));
	w->t = t;
	rc = start(w, root, e);
	while (rc == 0 && w->depth > 0 && top(w)->n)
		rc = step(w, e);
	while (w->depth > 0) {
		map_free(top(w)->keys);
		w->depth--;
	}
	text_free(&w->name);
	free(w);
	return rc;
}
