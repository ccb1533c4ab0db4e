/* SPDX-License-Identifier: MIT */
/*
 * values - what the values of a graph are called, how many axes they have,
 * and which variables a layer has.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/keras/call.h"
#include "wire/json.h"

/* Of the names that values make. */
#define NAMES_MAX ((uint64_t)64 << 20)
/* How far up a variable is listed. */
#define ANCESTORS_MAX 6

/* ---- variables by the layer they are in ---- */

static int list_weight(struct keras_graph *kg, const struct module *mod,
		       const char *first, const struct param *p, struct err *e)
{
	size_t nfirst = first ? strlen(first) + 1 : 0;
	size_t len = sizeof(mod->id) + nfirst + p->name_len;
	char *key = arena_alloc(kg->m->arena, len + 1);
	int rc;

	if (!key)
		return err_nomem(e, len);
	memcpy(key, &mod->id, sizeof(mod->id));
	if (first)
		snprintf(key + sizeof(mod->id), nfirst + 1, "%s/", first);
	memcpy(key + sizeof(mod->id) + nfirst, p->name, p->name_len);
	rc = map_add(kg->weights, key, len, (uint64_t)p->id + 1);
	return rc == -ENOMEM ? err_nomem(e, len) : 0;
}

/* Of what lies deeper, also with the first module on the way. */
int keras_list_weights(struct keras_graph *kg, struct err *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < kg->m->nparams; i++) {
		const struct param *p = kg->m->params[i];
		const struct module *at = p->module, *below = NULL;

		if (p->kind == PARAM_SLOT || p->name_len > 64)
			continue;
		for (int up = 0; rc == 0 && at && up < ANCESTORS_MAX; up++) {
			rc = list_weight(kg, at, NULL, p, e);
			if (rc == 0 && below)
				rc = list_weight(kg, at, below->name, p, e);
			below = at;
			at = at->parent;
		}
	}
	return rc;
}

/* ---- values ---- */

int keras_value_name(struct keras_scope *s, const char *layer, int64_t node,
		     int64_t tensor, struct text *out, struct err *e)
{
	text_add_bytes(out, s->prefix.p, s->prefix.len);
	text_add(out, layer);
	if (node > 0)
		text_printf(out, "#%lld", (long long)node);
	if (tensor > 0)
		text_printf(out, ":%lld", (long long)tensor);
	s->kg->bytes += out->len;
	if (s->kg->bytes > NAMES_MAX)
		return err_set(e, EFBIG, "names are too long");
	return out->failed ? err_nomem(e, 0) : 0;
}

int keras_find_value(struct keras_scope *s, const struct keras_input *in,
		     value_id *out, struct err *e)
{
	struct text name = {0};
	int rc = keras_value_name(s, in->layer, in->node, in->tensor, &name, e);

	if (rc == 0)
		rc = graph_value(s->kg->g, name.p, name.len, out, e);
	text_free(&name);
	return rc;
}

int keras_rank(const struct keras_graph *kg, value_id v)
{
	uint64_t rank;

	return map_get(kg->ranks, &v, sizeof(v), &rank) ? (int)rank : -1;
}

int keras_set_rank(struct keras_graph *kg, value_id v, int rank, struct err *e)
{
	value_id *key;

	if (rank < 0)
		return 0;
	key = arena_alloc(kg->m->arena, sizeof(*key));
	if (!key)
		return err_nomem(e, sizeof(*key));
	*key = v;
	return map_set(kg->ranks, key, sizeof(*key), (uint64_t)rank) < 0
		       ? err_nomem(e, 0)
		       : 0;
}

/* Remembers how many outputs of a call anybody asks for. */
static int note_use(struct keras_scope *s, const struct keras_input *in,
		    struct err *e)
{
	struct text name = {0};
	uint64_t before = 0;
	char *key = NULL;
	int rc = 0;

	if (!in->layer || in->tensor == 0 || in->tensor >= KERAS_OUTPUTS_MAX)
		return 0;
	rc = keras_value_name(s, in->layer, in->node, 0, &name, e);
	if (rc == 0)
		key = arena_strndup(s->kg->m->arena, name.p, name.len);
	if (rc == 0 && !key)
		rc = err_nomem(e, name.len);
	if (rc == 0)
		map_get(s->kg->uses, key, name.len, &before);
	if (rc == 0 && before <= (uint64_t)in->tensor &&
	    map_set(s->kg->uses, key, name.len, (uint64_t)in->tensor + 1) < 0)
		rc = err_nomem(e, name.len);
	text_free(&name);
	return rc;
}

int keras_note_uses(struct keras_scope *s, const struct json *connections,
		    struct err *e)
{
	struct keras_inputs in = {0};
	int rc = keras_collect(&in, connections, e);

	for (size_t i = 0; rc == 0 && i < in.n; i++)
		rc = note_use(s, &in.v[i], e);
	free(in.v);
	return rc;
}
