/* SPDX-License-Identifier: MIT */
/* pickle_node - looking at what a pickle built. */
#include <string.h>

#include "wire/pickle.h"

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
