/* SPDX-License-Identifier: MIT */
/*
 * program - a model made ready to run: its operators found, its weights
 * loaded when first used, its subgraphs analysed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "run/engine.h"

static const struct op **find_ops(const struct graph *g)
{
	const struct op **ops = calloc((size_t)g->nnodes + 1, sizeof(*ops));
	uint32_t i;

	for (i = 0; ops && i < g->nnodes; i++)
		ops[i] = op_find(g->nodes[i].domain, g->nodes[i].type,
				 g->nodes[i].opset);
	return ops;
}

static struct program *new_program(const struct model *m)
{
	struct program *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->model = m;
	p->nweights = m->nparams;
	p->ops = find_ops(m->graph);
	p->weights = calloc((size_t)m->nparams + 1, sizeof(*p->weights));
	p->nnodes = m->graph->nnodes;
	p->followers = group_followers(m->graph);
	p->forms = calloc((size_t)p->nnodes + 1, sizeof(*p->forms));
	p->was_computed =
		calloc((size_t)p->nnodes + 1, sizeof(*p->was_computed));
	p->subplans = map_new();
	if (p->ops && p->followers && p->weights && p->forms &&
	    p->was_computed && p->subplans)
		return p;
	program_free(p);
	return NULL;
}

static void free_subplan(struct subplan *s)
{
	if (!s)
		return;
	free(s->ops);
	free(s->needed);
	free(s->last_use);
	free(s);
}

void program_free(struct program *p)
{
	uint32_t i;

	if (!p)
		return;
	while (p->subplan_list) {
		struct subplan *next = p->subplan_list->next;

		free_subplan(p->subplan_list);
		p->subplan_list = next;
	}
	for (i = 0; p->weights && i < p->nweights; i++)
		blob_unref(p->weights[i].t.data);
	for (i = 0; p->forms && i < p->nnodes; i++)
		blob_unref(p->forms[i].t.data);
	map_free(p->subplans);
	map_free(p->stored);
	free(p->forms);
	free(p->was_computed);
	free(p->followers);
	free(p->weights);
	free(p->ops);
	free(p);
}

int program_get(struct engine *en, const struct model *m, struct program **out,
		struct err *e)
{
	struct program *p, *fresh = NULL;

	pthread_mutex_lock(&en->lock);
	for (p = en->programs; p && p->model != m; p = p->next)
		;
	if (!p) {
		fresh = new_program(m);
		if (fresh) {
			fresh->next = en->programs;
			en->programs = fresh;
		}
		p = fresh;
	}
	pthread_mutex_unlock(&en->lock);
	if (!p)
		return err_nomem(e, sizeof(*p));
	*out = p;
	return 0;
}

/* ---- weights ---- */

static int load_weight(struct engine *en, const struct param *param,
		       struct tensor *out, struct err *e)
{
	struct tensor t = param_tensor(param);
	char q[ERR_QUOTED];
	void *data;
	int rc;

	rc = t.data ? blob_status(t.data, e)
		    : err_set(e, ENODATA, "has no data");
	if (rc < 0) {
		err_wrap(e, "%s",
			 err_quote(q, param->full_name, param->full_len));
		return rc;
	}
	if (blob_bytes(t.data)) {
		*out = tensor_ref(&t);
		return 0;
	}
	out->block = 0;
	rc = engine_alloc(en, t.data->size, &out->data, &data, e);
	if (rc < 0) {
		err_wrap(e, "%s",
			 err_quote(q, param->full_name, param->full_len));
		return rc;
	}
	out->dtype = t.dtype;
	out->shape = t.shape;
	rc = blob_read_full(t.data, data, t.data->size, 0, e);
	if (rc < 0)
		tensor_drop(out);
	return rc;
}

/* True when it is kept already; out owns a reference. */
static bool find_weight(struct engine *en, struct cached *c, struct tensor *out)
{
	bool found;

	pthread_mutex_lock(&en->lock);
	found = c->t.data != NULL;
	if (found) {
		*out = tensor_ref(&c->t);
		cache_touch(en, c);
	}
	pthread_mutex_unlock(&en->lock);
	return found;
}

int program_weight_once(struct engine *en, struct program *p,
			const struct param *param, struct tensor *out,
			struct err *e)
{
	const struct param *first = param->tied ? param->tied : param;

	if (find_weight(en, &p->weights[first->id], out))
		return 0;
	return load_weight(en, first, out, e);
}

int program_weight(struct engine *en, struct program *p,
		   const struct param *param, struct tensor *out, struct err *e)
{
	const struct param *first = param->tied ? param->tied : param;
	struct cached *c = &p->weights[first->id];
	struct tensor t;
	int rc;

	if (find_weight(en, c, out))
		return 0;
	rc = load_weight(en, first, &t, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&en->lock);
	if (!c->t.data) { /* else another thread was faster */
		c->t = tensor_ref(&t);
		cache_touch(en, c);
	}
	pthread_mutex_unlock(&en->lock);
	*out = t;
	return 0;
}

/* engine.lock held.  Of each of them the first parameter. */
static struct map *map_stored(const struct model *m)
{
	struct map *map = map_new();
	uint32_t i;

	for (i = 0; map && i < m->nparams; i++) {
		struct blob *const *data = &m->params[i]->data;

		if (*data && map_add(map, data, sizeof(*data), i) == -ENOMEM) {
			map_free(map);
			map = NULL;
		}
	}
	return map;
}

/* The parameter that is stored as these bytes; NULL: none. */
static const struct param *find_stored(struct engine *en, struct program *p,
				       struct blob *stored)
{
	bool found;
	uint64_t i;

	pthread_mutex_lock(&en->lock);
	if (!p->stored)
		p->stored = map_stored(p->model);
	found = p->stored && map_get(p->stored, &stored, sizeof(stored), &i);
	pthread_mutex_unlock(&en->lock);
	return found ? p->model->params[i] : NULL;
}

int program_load(struct engine *en, struct program *p, struct blob *stored,
		 bool keep, struct blob **out, struct err *e)
{
	const struct param *param = find_stored(en, p, stored);
	struct tensor t;
	void *data;
	int rc;

	if (param) {
		rc = keep ? program_weight(en, p, param, &t, e)
			  : program_weight_once(en, p, param, &t, e);
		if (rc == 0)
			*out = t.data;
		return rc;
	}
	rc = engine_alloc(en, stored->size, out, &data, e);
	if (rc < 0)
		return rc;
	rc = blob_read_full(stored, data, stored->size, 0, e);
	if (rc < 0)
		blob_unref(*out);
	return rc;
}

struct blob *program_find_form(struct engine *en, struct program *p, node_id i)
{
	struct cached *c = &p->forms[i];
	struct blob *b = NULL;

	pthread_mutex_lock(&en->lock);
	if (c->t.data) {
		b = blob_ref(c->t.data);
		cache_touch(en, c);
	}
	pthread_mutex_unlock(&en->lock);
	return b;
}

void program_keep_form(struct engine *en, struct program *p, node_id i,
		       struct blob *b)
{
	struct cached *c = &p->forms[i];
	struct blob *old;

	pthread_mutex_lock(&en->lock);
	old = c->t.data;
	c->t.data = blob_ref(b);
	cache_touch(en, c);
	pthread_mutex_unlock(&en->lock);
	blob_unref(old);
}

/* ---- subgraphs ---- */

/* Nodes are sorted: one pass backwards finds what the outputs need. */
static void mark_needed(const struct graph *g, struct subplan *s)
{
	uint32_t i, j;

	for (i = 0; i < g->noutputs; i++)
		s->last_use[g->outputs[i]] = g->nnodes + 1; /* never */
	for (i = g->nnodes; i-- > 0;) {
		const struct node *n = &g->nodes[i];

		for (j = 0; j < n->nout; j++)
			if (n->out[j] != NO_VALUE && s->last_use[n->out[j]] &&
			    !g->values[n->out[j]].param)
				s->needed[i] = true;
		for (j = 0; s->needed[i] && j < n->nin + n->ncaptures; j++) {
			value_id v = node_needs(n, j);

			if (v != NO_VALUE && s->last_use[v] == 0)
				s->last_use[v] = i + 1;
		}
		s->chooses |= s->needed[i] && n->ncaptures > 0 && s->ops[i] &&
			      s->ops[i]->branches;
	}
}

static struct subplan *new_subplan(const struct graph *g)
{
	struct subplan *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->graph = g;
	s->ops = find_ops(g);
	s->needed = calloc((size_t)g->nnodes + 1, sizeof(*s->needed));
	s->last_use = calloc((size_t)g->nvalues + 1, sizeof(*s->last_use));
	if (!s->ops || !s->needed || !s->last_use) {
		free_subplan(s);
		return NULL;
	}
	mark_needed(g, s);
	return s;
}

int program_subplan(struct engine *en, struct program *p, const struct graph *g,
		    const struct subplan **out, struct err *e)
{
	struct subplan *s = NULL;
	uint64_t found;

	pthread_mutex_lock(&en->lock);
	if (map_get(p->subplans, &g, sizeof(g), &found))
		s = (struct subplan *)(uintptr_t)found;
	pthread_mutex_unlock(&en->lock);
	if (s) {
		*out = s;
		return 0;
	}
	s = new_subplan(g);
	if (!s)
		return err_nomem(e, sizeof(*s));
	pthread_mutex_lock(&en->lock);
	if (map_get(p->subplans, &g, sizeof(g), &found)) {
		free_subplan(s);
		s = (struct subplan *)(uintptr_t)found;
	} else if (map_add(p->subplans, &s->graph, sizeof(s->graph),
			   (uintptr_t)s) < 0) {
		free_subplan(s);
		s = NULL;
	} else {
		s->next = p->subplan_list;
		p->subplan_list = s;
	}
	pthread_mutex_unlock(&en->lock);
	if (!s)
		return err_nomem(e, sizeof(*s));
	*out = s;
	return 0;
}
