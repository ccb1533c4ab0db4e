/* SPDX-License-Identifier: MIT */
/*
 * script - TorchScript archives (torch/csrc/jit/docs/serialization.md)
 *
 *	data.pkl	the module, with its storages in data/ (1.3: tensors/)
 *	constants.pkl	tuple of constants, CONSTANTS.cN in the code; those of
 *			a frozen module are its weights
 *	code/A/B.py	classes of module A.B
 *	extra/		what the user put there
 *
 * Of the code only the heads of classes are looked at, line by line.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/text.h"

#include "format/pytorch/archive.h"
#include "format/pytorch/pytorch.h"
#include "wire/zip.h"

#define CODE "code/"
#define CODE_LEN 5
/* Of all files together. */
#define CODE_BYTES_MAX (64u << 20)
#define ATTR_MAX 200
/* Real layers have a dozen. */
#define CONSTANTS_MAX 64

struct constant {
	const char *key, *value;
	struct constant *next;
};

struct torch_class {
	const struct torch_classes *all;
	struct constant *constants; /* "stride : Final[int] = 2" */
	struct constant **tail;
	uint32_t nconstants;
	uint32_t id;
};

struct torch_classes {
	struct arena *arena;
	struct map *names;	/* "A.B\nClass" → index */
	struct map *parameters; /* id of a class and a name → 1 */
	struct torch_class **list;
	uint32_t n, cap;
	uint64_t nbytes; /* of code read */
};

static void free_classes(struct torch_classes *c)
{
	map_free(c->names);
	map_free(c->parameters);
	free(c->list);
	arena_free(c->arena);
}

/* ---- what the walk asks ---- */

const struct torch_class *torch_find_class(const struct torch_classes *all,
					   const struct pickle_node *global)
{
	struct text key = {0};
	uint64_t idx;
	bool found;

	if (!all || global->kind != PICKLE_GLOBAL)
		return NULL;
	text_add_bytes(&key, global->module.p, global->module.len);
	text_add(&key, "\n");
	text_add_bytes(&key, global->name.p, global->name.len);
	found = !key.failed && map_get(all->names, key.p, key.len, &idx);
	text_free(&key);
	return found ? all->list[idx] : NULL;
}

static char *parameter_key(struct arena *a, uint32_t id, const char *name,
			   size_t len)
{
	char *key = arena_alloc(a, sizeof(id) + len + 1);

	if (!key)
		return NULL;
	memcpy(key, &id, sizeof(id));
	memcpy(key + sizeof(id), name, len);
	return key;
}

bool torch_class_has_parameter(const struct torch_class *c, const char *name,
			       size_t len)
{
	char key[sizeof(c->id) + ATTR_MAX];
	uint64_t ignored;

	if (len > ATTR_MAX)
		return false;
	memcpy(key, &c->id, sizeof(c->id));
	memcpy(key + sizeof(c->id), name, len);
	return map_get(c->all->parameters, key, sizeof(c->id) + len, &ignored);
}

int torch_class_describe(const struct torch_class *c, struct model *m,
			 struct module *mod, struct err *e)
{
	for (const struct constant *k = c->constants; k; k = k->next)
		if (model_attr(m, mod, k->key, "%s", k->value) < 0)
			return err_nomem(e, strlen(k->value));
	return 0;
}

/* ---- reading code ---- */

struct line {
	const char *p;
	size_t len;
};

static bool starts_with(struct line l, const char *s)
{
	size_t len = strlen(s);

	return l.len >= len && memcmp(l.p, s, len) == 0;
}

/* "code/a/b.py" and "class X(Module):" give "a.b\nX". */
static int add_class(struct torch_classes *c, struct line path, struct line l,
		     struct torch_class **out, struct err *e)
{
	size_t cap = c->cap ? c->cap * 2 : 64, n = 6;
	struct text key = {0};
	struct torch_class **list, *class;
	char *copy;

	if (c->n == c->cap) {
		list = realloc(c->list, cap * sizeof(*list));
		if (!list)
			return err_nomem(e, cap * sizeof(*list));
		c->list = list;
		c->cap = (uint32_t)cap;
	}
	while (n < l.len && l.p[n] != '(' && l.p[n] != ':')
		n++;
	for (size_t i = CODE_LEN; i + 3 < path.len; i++)
		text_add_bytes(&key, path.p[i] == '/' ? "." : path.p + i, 1);
	text_add(&key, "\n");
	text_add_bytes(&key, l.p + 6, n - 6);
	copy = arena_strndup(c->arena, key.p ? key.p : "", key.len);
	class = arena_alloc(c->arena, sizeof(*class));
	if (key.failed || !copy || !class ||
	    map_set(c->names, copy, key.len, c->n) < 0) {
		text_free(&key);
		return err_nomem(e, key.len);
	}
	text_free(&key);
	*class = (struct torch_class){
		.all = c, .tail = &class->constants, .id = c->n};
	c->list[c->n++] = class;
	*out = class;
	return 0;
}

/* "w", "b", ] */
static int add_parameters(struct torch_classes *c, struct torch_class *class,
			  struct line l, struct err *e)
{
	const char *p = l.p, *end = l.p + l.len;

	while (p < end) {
		const char *first = memchr(p, '"', (size_t)(end - p)), *last;
		size_t len;
		char *key;

		if (!first)
			return 0;
		first++;
		last = memchr(first, '"', (size_t)(end - first));
		if (!last)
			return 0;
		len = (size_t)(last - first);
		key = parameter_key(c->arena, class->id, first, len);
		if (!key ||
		    map_set(c->parameters, key, sizeof(class->id) + len, 1) < 0)
			return err_nomem(e, len);
		p = last + 1;
	}
	return 0;
}

/* "stride : Final[Tuple[int]] = (2,)" */
static int add_constant(struct torch_classes *c, struct torch_class *class,
			struct line l, struct err *e)
{
	static const char mid[] = " : Final[", eq[] = "] = ";
	const char *type = memmem(l.p, l.len, mid, sizeof(mid) - 1), *value;
	struct constant *k;
	size_t left;

	if (!type)
		return 0;
	left = (size_t)(l.p + l.len - type);
	value = memmem(type, left, eq, sizeof(eq) - 1);
	if (!value || l.p + l.len - value > ATTR_MAX ||
	    class->nconstants == CONSTANTS_MAX)
		return 0;
	value += sizeof(eq) - 1;
	k = arena_alloc(c->arena, sizeof(*k));
	if (!k)
		return err_nomem(e, sizeof(*k));
	k->key = arena_strndup(c->arena, l.p, (size_t)(type - l.p));
	k->value =
		arena_strndup(c->arena, value, (size_t)(l.p + l.len - value));
	*class->tail = k;
	class->tail = &k->next;
	class->nconstants++;
	return k->key && k->value ? 0 : err_nomem(e, ATTR_MAX);
}

static int read_line(struct torch_classes *c, struct line path, struct line l,
		     struct torch_class **class, struct err *e)
{
	static const char parameters[] = "  __parameters__ = [";

	if (starts_with(l, "class "))
		return add_class(c, path, l, class, e);
	if (!*class || l.len < 3 || !starts_with(l, "  ") || l.p[2] == ' ')
		return 0;
	if (starts_with(l, parameters)) {
		l.p += sizeof(parameters) - 1;
		l.len -= sizeof(parameters) - 1;
		return add_parameters(c, *class, l, e);
	}
	l.p += 2;
	l.len -= 2;
	return add_constant(c, *class, l, e);
}

static int read_lines(struct torch_classes *c, struct line path,
		      struct line text, struct err *e)
{
	struct torch_class *class = NULL;
	size_t at = 0;
	int rc = 0;

	while (rc == 0 && at < text.len) {
		const char *p = text.p + at;
		const char *end = memchr(p, '\n', text.len - at);
		size_t n = end ? (size_t)(end - p) : text.len - at;

		rc = read_line(c, path, (struct line){p, n}, &class, e);
		at += n + 1;
	}
	return rc;
}

/* Damaged code is no reason not to show the weights. */
static int read_file(struct torch_classes *c, const struct torch_archive *a,
		     const struct zipfile_member *m, struct line path,
		     struct err *e)
{
	struct line text;
	char *p;
	int rc;

	if (m->error || m->size > CODE_BYTES_MAX - c->nbytes)
		return 0;
	c->nbytes += m->size;
	rc = zipfile_read(a->zip, m, &p, &text.len, e);
	if (rc < 0)
		return rc == -ENOMEM ? rc : 0;
	text.p = p;
	rc = read_lines(c, path, text, e);
	free(p);
	return rc;
}

static int read_code(struct torch_classes *c, const struct torch_archive *a,
		     struct err *e)
{
	int rc = 0;

	c->arena = arena_new();
	c->names = map_new();
	c->parameters = map_new();
	if (!c->arena || !c->names || !c->parameters)
		return err_nomem(e, sizeof(*c));
	for (size_t i = 0; rc == 0 && i < zipfile_count(a->zip); i++) {
		const struct zipfile_member *m = zipfile_at(a->zip, i);
		struct line path;

		path.p = torch_archive_name(a, m, &path.len);
		if (path.p && starts_with(path, CODE) && path.len > 8 &&
		    memcmp(path.p + path.len - 3, ".py", 3) == 0)
			rc = read_file(c, a, m, path, e);
	}
	return rc;
}

/* ---- the archive ---- */

static int read_objects(struct torch_archive *a, struct model *m,
			const struct torch_classes *classes, struct err *e)
{
	static const char *const data[] = {"data/", "tensors/", NULL};
	static const char *const constants[] = {"constants/", "data/",
						"tensors/", NULL};
	struct torch t = {.m = m, .classes = classes}, k;
	int rc = torch_archive_head(a, m, &t.swapped, e);

	if (rc < 0)
		return rc;
	k = t;
	k.under = "constants";
	k.items = "c";
	k.kind = PARAM_CONSTANT;
	a->storages = data;
	rc = torch_archive_walk(a, &t, "data.pkl", e);
	a->storages = constants;
	if (rc == 0 && torch_archive_has(a, "constants.pkl"))
		rc = torch_archive_walk(a, &k, "constants.pkl", e);
	return rc;
}

int torch_script_read(struct torch_archive *a, struct model *m, struct err *e)
{
	struct torch_classes classes = {.n = 0};
	int rc = read_code(&classes, a, e);

	if (rc == 0)
		rc = torch_archive_config(a, m, CODE, ".py", e);
	if (rc == 0)
		rc = torch_archive_config(a, m, "extra/", "", e);
	if (rc == 0)
		rc = read_objects(a, m, &classes, e);
	free_classes(&classes);
	return rc;
}
