/* SPDX-License-Identifier: MIT */
/*
 * recipe - building small files byte by byte, and reading them as models, so
 * that a test of a malformed file shows what is wrong with it.
 */
#ifndef TESTS_UNIT_RECIPE_H
#define TESTS_UNIT_RECIPE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

struct recipe {
	uint8_t *p;
	size_t len;
	size_t cap;
};

static inline void recipe_bytes(struct recipe *r, const void *p, size_t len)
{
	if (r->len + len + 1 > r->cap) {
		r->cap = 2 * r->cap + len + 64;
		r->p = realloc(r->p, r->cap);
	}
	if (!r->p)
		abort();
	if (len)
		memcpy(r->p + r->len, p, len);
	r->len += len;
}

static inline void recipe_text(struct recipe *r, const char *s)
{
	recipe_bytes(r, s, strlen(s));
}

/* Little-endian, nbytes of it. */
static inline void recipe_int(struct recipe *r, uint64_t v, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++) {
		uint8_t b = (uint8_t)(v >> (8 * i));

		recipe_bytes(r, &b, 1);
	}
}

static inline void recipe_zeros(struct recipe *r, size_t n)
{
	while (n-- > 0)
		recipe_bytes(r, "", 1);
}

static inline void recipe_free(struct recipe *r)
{
	free(r->p);
	*r = (struct recipe){0};
}

/* Takes the bytes. */
static inline struct source *recipe_source(struct recipe *r)
{
	struct source *s;

	if (!r->p)
		recipe_bytes(r, "", 0);
	if (source_from_memory(r->p, r->len, "recipe", &s, NULL) < 0)
		abort();
	*r = (struct recipe){0};
	return s;
}

/* Reads the bytes, which it takes, as a model.  NULL: e says why not. */
static inline struct model *recipe_load(struct recipe *r, bool lenient,
					struct err *e)
{
	struct source *s = recipe_source(r);
	struct model *m = NULL;

	*e = (struct err){0};
	if (format_load_source(s, lenient, &m, e) < 0)
		m = NULL;
	source_unref(s);
	return m;
}

/* The parameter of this full name; NULL: there is none. */
static inline struct param *recipe_param(const struct model *m,
					 const char *name)
{
	for (uint32_t i = 0; m && i < m->nparams; i++)
		if (strcmp(m->params[i]->full_name, name) == 0)
			return m->params[i];
	return NULL;
}

/* "layer1/conv/weight": where it is in the tree. */
static inline const char *recipe_path(const struct param *p, char *buf,
				      size_t size)
{
	const struct module *mods[32], *mod;
	size_t n = 0, len = 0;

	buf[0] = '\0';
	if (!p)
		return buf;
	for (mod = p->module; mod->parent && n < 32; mod = mod->parent)
		mods[n++] = mod;
	while (n-- > 0)
		len += (size_t)snprintf(buf + len, size - len, "%s/",
					mods[n]->name);
	snprintf(buf + len, size - len, "%s", p->name);
	return buf;
}

/* 0, or the error that opening the parameter gives. */
static inline int recipe_status(const struct param *p)
{
	return p ? blob_status(p->data, NULL) : -1;
}

/* True when the parameter's bytes are these. */
static inline bool recipe_holds(const struct param *p, const void *want,
				size_t len)
{
	char buf[256];
	struct err e;

	return p && p->data->size == len && len <= sizeof(buf) &&
	       blob_read_full(p->data, buf, len, 0, &e) == 0 &&
	       memcmp(buf, want, len) == 0;
}

#endif
