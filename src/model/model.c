/* SPDX-License-Identifier: MIT */
/* model - building a model, see modelfs/model.h.  Sealing is in seal.c. */
#include "modelfs/model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/array.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/names.h"

/* Both are bounded: a file must not make us hold millions of names. */
static int make_room(void *array, uint32_t *cap, uint32_t count,
		     size_t elem_size, struct err *e)
{
	if (count >= MODEL_OBJECTS_MAX)
		return err_set(e, EFBIG, "more than %u modules or parameters",
			       MODEL_OBJECTS_MAX);
	return array_grow(array, cap, count, elem_size, e);
}

/* name points behind room for the key of the index, see module_key. */
static int add_module(struct model *m, struct module *parent, const char *name,
		      size_t len, struct module **out, struct err *e)
{
	struct module *mod;
	int rc = make_room(&m->modules, &m->cap_modules, m->nmodules,
		      sizeof(*m->modules), e);

	if (rc < 0)
		return rc;
	mod = arena_alloc(m->arena, sizeof(*mod));
	if (!mod)
		return err_nomem(e, sizeof(*mod));
	mod->name = name;
	mod->name_len = (uint32_t)len;
	mod->id = m->nmodules;
	mod->parent = parent;
	mod->depth = parent ? parent->depth + 1 : 0;
	mod->node = NO_NODE;
	m->modules[m->nmodules++] = mod;
	*out = mod;
	return 0;
}

struct model *model_new(const char *format)
{
	struct model *m = calloc(1, sizeof(*m));
	struct module *root;

	if (!m)
		return NULL;
	m->format = format;
	m->arena = arena_new();
	m->index = map_new();
	if (m->arena && m->index &&
	    add_module(m, NULL, "", 0, &root, NULL) == 0)
		return m;
	model_free(m);
	return NULL;
}

void model_free(struct model *m)
{
	struct config_item *c;
	uint32_t i;

	if (!m)
		return;
	for (i = 0; i < m->nparams; i++)
		blob_unref(m->params[i]->data);
	for (c = m->config; c; c = c->next)
		blob_unref(c->data);
	graph_free(m->graph);
	map_free(m->index);
	free(m->modules);
	free(m->params);
	arena_free(m->arena);
	free(m);
}

int model_module(struct model *m, struct module *parent, const char *name,
		 size_t len, struct module **out, struct err *e)
{
	size_t key_len = sizeof(uint32_t) + len;
	char *key;
	uint64_t id;
	int rc;

	if (parent->depth >= MODEL_DEPTH_MAX)
		return err_set(e, EFBIG, "modules nest deeper than %d",
			       MODEL_DEPTH_MAX);
	key = malloc(key_len + 1);
	if (!key)
		return err_nomem(e, key_len);
	memcpy(key, &parent->id, sizeof(uint32_t));
	memcpy(key + sizeof(uint32_t), name, len);
	if (map_get(m->index, key, key_len, &id)) {
		free(key);
		*out = m->modules[id];
		return 0;
	}
	/* The arena's copy is both the key of the index and the name. */
	name = arena_strndup(m->arena, key, key_len);
	free(key);
	if (!name)
		return err_nomem(e, key_len);
	rc = map_add(m->index, name, key_len, m->nmodules);
	if (rc < 0)
		return err_nomem(e, key_len);
	return add_module(m, parent, name + sizeof(uint32_t), len, out, e);
}

int model_path(struct model *m, struct module *from, const char *name,
	       size_t len, const char *seps, struct module **module,
	       struct span *leaf, struct err *e)
{
	struct name_iter it = name_iter(name, len, seps);
	struct module *mod = from;

	while (name_next(&it)) {
		int rc;

		/* What is nested deeper than we go stays one component. */
		if (it.is_last || mod->depth + 1 >= MODEL_DEPTH_MAX)
			break;
		rc = model_module(m, mod, it.part, it.part_len, &mod, e);
		if (rc < 0)
			return rc;
	}
	leaf->p = it.part;
	leaf->len = (size_t)(name + len - it.part);
	*module = mod;
	return 0;
}

__attribute__((format(printf, 2, 0))) static const char *
format_text(struct arena *a, const char *fmt, va_list ap)
{
	char *s = NULL;
	const char *copy = NULL;
	int n = vasprintf(&s, fmt, ap);

	if (n >= 0)
		copy = arena_strndup(a, s, (size_t)n);
	free(n >= 0 ? s : NULL);
	return copy;
}

int model_attr(struct model *m, struct module *mod, const char *key,
	       const char *fmt, ...)
{
	struct module_attr *attr = arena_alloc(m->arena, sizeof(*attr));
	va_list ap;

	if (!attr)
		return -ENOMEM;
	va_start(ap, fmt);
	attr->value = format_text(m->arena, fmt, ap);
	va_end(ap);
	attr->key = arena_strndup(m->arena, key, strlen(key));
	if (!attr->key || !attr->value)
		return -ENOMEM;
	if (mod->last_attr)
		mod->last_attr->next = attr;
	else
		mod->attrs = attr;
	mod->last_attr = attr;
	return 0;
}

int model_type(struct model *m, struct module *mod, const char *type,
	       size_t len)
{
	mod->type = arena_strndup(m->arena, type, len);
	return mod->type ? 0 : -ENOMEM;
}

int model_info(struct model *m, const char *key, const char *fmt, ...)
{
	struct info_item *item = arena_alloc(m->arena, sizeof(*item));
	struct info_item **tail = &m->info;
	va_list ap;

	if (!item)
		return -ENOMEM;
	va_start(ap, fmt);
	item->value = format_text(m->arena, fmt, ap);
	va_end(ap);
	item->key = arena_strndup(m->arena, key, strlen(key));
	if (!item->key || !item->value)
		return -ENOMEM;
	while (*tail)
		tail = &(*tail)->next;
	*tail = item;
	return 0;
}

bool param_is_buffer_name(const char *name, size_t len)
{
	static const char *const names[] = {"running_mean", "running_var",
					    "num_batches_tracked"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	return false;
}

int model_config(struct model *m, const char *name, struct blob *data,
		 struct err *e)
{
	struct config_item *item = NULL;

	if (data)
		item = arena_alloc(m->arena, sizeof(*item));
	if (item)
		item->name = arena_strndup(m->arena, name, strlen(name));
	if (!item || !item->name) {
		blob_unref(data);
		return err_nomem(e, sizeof(*item));
	}
	item->data = data;
	if (!m->config_tail)
		m->config_tail = &m->config;
	*m->config_tail = item;
	m->config_tail = &item->next;
	m->nconfig++;
	return 0;
}

/* A tensor that is no good: listed all the same where the user wants that. */
static int check_data(struct model *m, struct tensor *t, struct err *e)
{
	struct err why = {0};
	uint64_t nbytes = 0;
	int rc;

	if (t->data && blob_status(t->data, NULL) < 0)
		return 0; /* it says itself what is wrong */
	rc = tensor_check(t, &why);
	if (rc == 0)
		return 0;
	if (!m->lenient)
		return err_set(e, -rc, "%s", why.msg);
	tensor_nbytes(t, &nbytes);
	blob_unref(t->data);
	t->data = blob_fail(nbytes, EIO, why.msg);
	return t->data ? 0 : err_nomem(e, sizeof(struct blob));
}

/* Of many long names there is no file: one has been put before all others. */
static int charge_name(struct model *m, const struct span *name, struct err *e)
{
	if (name->len > MODEL_NAME_LONG)
		m->long_names += name->len;
	return m->long_names > MODEL_NAMES_MAX
		       ? err_set(e, EFBIG, "long names of more than %u MiB",
				 MODEL_NAMES_MAX >> 20)
		       : 0;
}

static int fill_param(struct model *m, struct param *p,
		      const struct param_spec *spec, struct err *e)
{
	struct arena *a = m->arena;
	size_t rank = (size_t)spec->tensor.shape.rank;
	int64_t *dims = arena_array(a, rank ? rank : 1, sizeof(*dims));
	const char *full = arena_strndup(a, spec->full_name.p,
					 spec->full_name.len);

	if (!dims || !full)
		return err_nomem(e, spec->full_name.len);
	memcpy(dims, spec->tensor.shape.dims, rank * sizeof(*dims));
	p->full_name = full;
	p->full_len = (uint32_t)spec->full_name.len;
	p->dims = dims;
	p->rank = (uint8_t)rank;
	p->dtype = (uint8_t)spec->tensor.dtype;
	p->kind = (uint8_t)spec->kind;
	p->module = spec->module;
	p->id = m->nparams;
	p->ntied = 1;
	p->name_len = (uint32_t)spec->name.len;
	/* The last component is mostly the end of the full name. */
	if (spec->name.len <= spec->full_name.len &&
	    memcmp(full + p->full_len - p->name_len, spec->name.p,
		   spec->name.len) == 0)
		p->name = full + p->full_len - p->name_len;
	else
		p->name = arena_strndup(a, spec->name.p, spec->name.len);
	if (spec->dtype_text)
		p->dtype_text = arena_strndup(a, spec->dtype_text,
					      strlen(spec->dtype_text));
	if (!p->name || (spec->dtype_text && !p->dtype_text))
		return err_nomem(e, spec->name.len);
	return 0;
}

static int add_param(struct model *m, const struct param_spec *spec,
		     struct param **out, struct err *e)
{
	struct param *p;
	int rc = make_room(&m->params, &m->cap_params, m->nparams,
		      sizeof(*m->params), e);

	if (rc < 0)
		return rc;
	if (spec->tensor.shape.rank < 0)
		return err_set(e, EINVAL, "a parameter of unknown rank");
	rc = charge_name(m, &spec->full_name, e);
	if (rc < 0)
		return rc;
	p = arena_alloc(m->arena, sizeof(*p));
	if (!p)
		return err_nomem(e, sizeof(*p));
	rc = fill_param(m, p, spec, e);
	if (rc < 0)
		return rc;
	p->data = spec->tensor.data;
	m->params[m->nparams++] = p;
	if (out)
		*out = p;
	return 0;
}

int model_param(struct model *m, const struct param_spec *spec,
		struct param **out, struct err *e)
{
	struct param_spec s = *spec;
	char q[ERR_QUOTED];
	int rc = check_data(m, &s.tensor, e);

	if (rc == 0)
		rc = add_param(m, &s, out, e);
	if (rc == 0)
		return 0;
	blob_unref(s.tensor.data);
	return err_wrap(e, "%s",
			err_quote(q, s.full_name.p, s.full_name.len));
}

struct tensor param_tensor(const struct param *p)
{
	return (struct tensor){
		.dtype = (enum dtype)p->dtype,
		.shape = shape_of(p->rank, p->dims),
		.data = p->data,
	};
}
