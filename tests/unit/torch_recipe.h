/* SPDX-License-Identifier: MIT */
/* torch_recipe - pickles and archives of PyTorch, piece by piece. */
#ifndef TESTS_UNIT_TORCH_RECIPE_H
#define TESTS_UNIT_TORCH_RECIPE_H

#include <stdio.h>

#include "recipe.h"
#include "zip_recipe.h"

/* ---- pickles ---- */

/* Opcodes as a literal, which may hold NULs. */
#define OPS(r, literal) recipe_bytes(r, literal, sizeof(literal) - 1)

static inline void str(struct recipe *r, const char *s)
{
	recipe_text(r, "X");
	recipe_int(r, strlen(s), 4);
	recipe_text(r, s);
}

static inline void num(struct recipe *r, int64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "L%lldL\n", (long long)v);
	recipe_text(r, text);
}

static inline void ints(struct recipe *r, const int64_t *v, size_t n)
{
	recipe_text(r, "(");
	for (size_t i = 0; i < n; i++)
		num(r, v[i]);
	recipe_text(r, "t");
}

struct view {
	const char *class; /* "torch\nFloatStorage" */
	const char *key;
	int64_t numel, offset;
	size_t rank;
	int64_t size[4], stride[4];
	const char *dtype; /* "torch\nfloat8_e5m2": _rebuild_tensor_v3 */
	const char *flags; /* opcodes of a metadata dict */
};

static inline void storage(struct recipe *r, const struct view *v)
{
	recipe_text(r, "(");
	str(r, "storage");
	recipe_text(r, "c");
	recipe_text(r, v->class ? v->class : "torch\nFloatStorage");
	recipe_text(r, "\n");
	str(r, v->key ? v->key : "0");
	str(r, "cpu");
	num(r, v->numel);
	recipe_text(r, "tQ");
}

static inline void tensor(struct recipe *r, const struct view *v)
{
	recipe_text(r, v->dtype ? "ctorch._utils\n_rebuild_tensor_v3\n("
				: "ctorch._utils\n_rebuild_tensor_v2\n(");
	storage(r, v);
	num(r, v->offset);
	ints(r, v->size, v->rank);
	ints(r, v->stride, v->rank);
	recipe_text(r, "\x89N");
	if (v->dtype) {
		recipe_text(r, "c");
		recipe_text(r, v->dtype);
		recipe_text(r, "\n");
	}
	recipe_text(r, v->flags ? v->flags : "");
	recipe_text(r, "tR");
}

/* ---- archives ---- */

struct member {
	const char *name;
	const void *data;
	size_t len;
};

/* data.pkl and storage 0, and one member more where there is one. */
static inline struct recipe archive(struct recipe *pickle, const void *data,
				    size_t len, const struct member *more)
{
	struct zip_recipe z = {0};
	struct recipe file;

	zip_add(&z, &(struct zip_entry){.name = "a/data.pkl",
					.bytes = pickle->p,
					.nbytes = pickle->len});
	if (data)
		zip_add(&z, &(struct zip_entry){.name = "a/data/0",
						.bytes = data,
						.nbytes = len,
						.flags = 0x0808,
						.local_extra = 13});
	if (more)
		zip_add(&z, &(struct zip_entry){.name = more->name,
						.bytes = more->data,
						.nbytes = more->len});
	recipe_free(pickle);
	file = zip_finish(&z);
	return file;
}

static inline struct model *load_pickle(struct recipe *pickle, const void *data,
					size_t len, struct err *e)
{
	struct recipe file = archive(pickle, data, len, NULL);

	return recipe_load(&file, false, e);
}

/* {"w": tensor} over these bytes of storage 0. */
static inline struct model *load_view(const struct view *v, const void *data,
				      size_t len, struct err *e)
{
	struct recipe p = {0};

	OPS(&p, "\x80\2}(");
	str(&p, "w");
	tensor(&p, v);
	OPS(&p, "u.");
	return load_pickle(&p, data, len, e);
}

#define BYTE "torch\nByteStorage"

/* Two bytes of storage 0. */
static const struct view two_bytes = {
	.class = BYTE, .numel = 2, .rank = 1, .size = {2}, .stride = {1}};

static inline const char *attr(const struct module *mod, const char *key)
{
	for (const struct module_attr *a = mod->attrs; a; a = a->next)
		if (strcmp(a->key, key) == 0)
			return a->value;
	return NULL;
}

#endif
