/* SPDX-License-Identifier: MIT */
/* pickle_node - looking at what a pickle built. */
#include "wire/pickle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"

static bool equal(const struct pickle_text *s, const char *text)
{
	size_t len = strlen(text);

	return s->p && s->len == len && memcmp(s->p, text, len) == 0;
}

bool pickle_is_global(const struct pickle_node *n, const char *module,
		      const char *name)
{
	return n && n->kind == PICKLE_GLOBAL && equal(&n->module, module) &&
	       equal(&n->name, name);
}

bool pickle_is_call(const struct pickle_node *n, const char *module,
		    const char *name)
{
	return n && n->kind == PICKLE_OBJECT &&
	       pickle_is_global(n->callable, module, name);
}

struct pickle_node *pickle_item(const struct pickle_node *n, size_t i)
{
	if (!n || (n->kind != PICKLE_TUPLE && n->kind != PICKLE_LIST))
		return NULL;
	return i < n->nitems ? n->items[i] : NULL;
}

struct pickle_node *pickle_arg(const struct pickle_node *n, size_t i)
{
	if (!n || n->kind != PICKLE_OBJECT)
		return NULL;
	return pickle_item(n->args, i);
}

bool pickle_is_string(const struct pickle_node *n, const char *text)
{
	return n && n->kind == PICKLE_STRING && equal(&n->s, text);
}

struct pickle_node *pickle_get(const struct pickle_node *dict, const char *key)
{
	if (!dict || dict->kind != PICKLE_DICT)
		return NULL;
	for (size_t i = dict->nitems; i >= 2; i -= 2)
		if (pickle_is_string(dict->items[i - 2], key))
			return dict->items[i - 1];
	return NULL;
}

/* ---- walking ---- */

struct pile {
	struct pickle_node **nodes;
	size_t n, cap;
};

static int pile_add(struct pile *p, struct pickle_node *n, struct err *e)
{
	size_t cap = p->cap ? p->cap * 2 : 256;
	struct pickle_node **nodes;

	if (!n || n->is_seen)
		return 0;
	if (p->n == p->cap) {
		nodes = realloc(p->nodes, cap * sizeof(*nodes));
		if (!nodes)
			return err_nomem(e, cap * sizeof(*nodes));
		p->nodes = nodes;
		p->cap = cap;
	}
	n->is_seen = true;
	p->nodes[p->n++] = n;
	return 0;
}

static int pile_children(struct pile *p, const struct pickle_node *n,
			 struct err *e)
{
	int rc = pile_add(p, n->state, e);

	if (rc == 0)
		rc = pile_add(p, n->class, e);
	if (rc == 0 && (n->kind == PICKLE_OBJECT || n->kind == PICKLE_PERSID))
		rc = pile_add(p, n->callable, e);
	if (rc == 0 && n->kind == PICKLE_OBJECT)
		rc = pile_add(p, n->args, e);
	for (size_t i = 0; rc == 0 && i < n->nitems; i++)
		rc = pile_add(p, n->items[i], e);
	return rc;
}

int pickle_each(struct pickle_node *root,
		int (*fn)(struct pickle_node *n, void *ctx, struct err *e),
		void *ctx, struct err *e)
{
	struct pile p = {0};
	int rc = pile_add(&p, root, e);

	while (rc == 0 && p.n > 0) {
		struct pickle_node *n = p.nodes[--p.n];

		rc = fn(n, ctx, e);
		if (rc == 0)
			rc = pile_children(&p, n, e);
	}
	free(p.nodes);
	return rc;
}
