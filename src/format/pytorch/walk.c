/* SPDX-License-Identifier: MIT */
/* walk - what is looked at next; see format/pytorch/walk.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/pytorch/walk.h"

/* Things looked at: shared ones count each time they are reached. */
#define VISITS_MAX MODEL_OBJECTS_MAX

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

static int enter(struct walk *w, struct pickle_node *n, const char *key,
		 size_t len, struct err *e)
{
	struct frame at = *walk_top(w);
	struct span leaf;
	int part = walk_module_part(&at, key, len, &at.kind), rc;

	if (part < 0 || n->on_path)
		return 0;
	if (part > 0 && n->kind == PICKLE_DICT)
		return walk_push(w, n, &at, e);
	if (memmem(key, len, "optim", 5))
		at.kind = PARAM_SLOT;
	rc = model_path(w->t->m, at.mod, key, len, ".", &at.mod, &leaf, e);
	if (rc == 0)
		rc = model_module(w->t->m, at.mod, leaf.p, leaf.len, &at.mod,
				  e);
	at.name_len = w->name.len;
	return rc == 0 ? walk_push(w, n, &at, e) : rc;
}

static int visit(struct walk *w, struct pickle_node *n, const char *key,
		 size_t len, struct err *e)
{
	const struct frame *f = walk_top(w);
	enum param_kind ignored;
	int rc;

	if (++w->visits > VISITS_MAX)
		return err_set(e, EFBIG, "more than %u objects", VISITS_MAX);
	n = walk_unwrap(n);
	rc = set_name(w, f, key, len, e);
	if (rc < 0)
		return rc;
	if (walk_wrapped(n))
		return enter(w, walk_wrapped(n), key, len, e);
	if (torch_is_tensor(n) || torch_is_array(n))
		return walk_tensor(w, f, n, key, len, e);
	if (n->kind == PICKLE_PERSID)
		return 0;
	if (!torch_is_plain(n))
		return enter(w, n, key, len, e);
	if (walk_module_part(f, key, len, &ignored) != 0 ||
	    (f->kind == PARAM_BUFFER && n->kind == PICKLE_NONE))
		return 0;
	return walk_plain(w, f, n, key, len, e);
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
	walk_typed_key(key, &name);
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
	struct frame *f = walk_top(w);
	size_t width = f->keys ? 2 : 1;

	if (f->i + width > f->n->nitems) {
		walk_pop(w);
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

	root = walk_unwrap(root);
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
		return walk_push(w, root, &at, e);
	w->frames[w->depth++] = at;
	set_name(w, &at, name, strlen(name), e);
	if (torch_is_plain(root))
		return walk_plain(w, &at, root, name, strlen(name), e);
	return walk_tensor(w, &at, root, name, strlen(name), e);
}

int torch_walk(struct torch *t, struct pickle_node *root, struct err *e)
{
	struct walk *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return err_nomem(e, sizeof(*w));
	w->t = t;
	rc = start(w, root, e);
	while (rc == 0 && w->depth > 0 && walk_top(w)->n)
		rc = step(w, e);
	while (w->depth > 0) {
		map_free(walk_top(w)->keys);
		w->depth--;
	}
	text_free(&w->name);
	free(w);
	return rc;
}
