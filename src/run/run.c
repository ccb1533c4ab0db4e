/* SPDX-License-Identifier: MIT */
/* run - inputs, patches and what is known of values; see modelfs/run.h. */
#include "modelfs/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "run/engine.h"

/* ---- life ---- */

static void free_run(struct run *r)
{
	uint32_t i;

	for (i = 0; r->slots && i < r->g->nvalues; i++) {
		pthread_mutex_lock(&r->en->lock);
		cache_remove(r->en, &r->slots[i].value);
		pthread_mutex_unlock(&r->en->lock);
		tensor_drop(&r->slots[i].value.t);
	}
	for (i = 0; r->nodes && i < r->g->nnodes; i++)
		free(r->nodes[i].failure);
	inner_free(r);
	pthread_mutex_destroy(&r->binding);
	text_free(&r->log);
	free(r->lacks);
	free(r->slots);
	free(r->nodes);
	free(r);
}

int run_new(struct engine *en, const struct model *m, struct run **out,
	    struct err *e)
{
	struct program *prog;
	struct run *r;
	uint32_t i;
	int rc;

	if (!m->graph)
		return err_set(e, ENODATA, "the model carries no graph");
	rc = program_get(en, m, &prog, e);
	if (rc < 0)
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_nomem(e, sizeof(*r));
	atomic_init(&r->refs, 1);
	pthread_mutex_init(&r->binding, NULL);
	r->en = en;
	r->prog = prog;
	r->g = m->graph;
	r->generation = 1;
	r->slots = calloc((size_t)r->g->nvalues + 1, sizeof(*r->slots));
	r->nodes = calloc((size_t)r->g->nnodes + 1, sizeof(*r->nodes));
	rc = r->slots && r->nodes ? 0 : err_nomem(e, sizeof(*r->slots));
	for (i = 0; rc == 0 && i < r->g->nvalues; i++)
		r->slots[i].blocked = NO_NODE;
	if (rc == 0 && !r->g->broken)
		rc = infer_types(r, NULL, e);
	if (rc < 0) {
		free_run(r);
		return rc;
	}
	*out = r;
	return 0;
}

struct run *run_ref(struct run *r)
{
	atomic_fetch_add(&r->refs, 1);
	return r;
}

void run_unref(struct run *r)
{
	if (r && atomic_fetch_sub(&r->refs, 1) == 1)
		free_run(r);
}

/* ---- giving values ---- */

/* Operators want their inputs in memory. */
static int load_into_memory(struct tensor *t, struct err *e);

static int load_items(struct tensor *t, struct err *e)
{
	size_t n = 0, i;
	const struct tensor *items = blob_get_items(t->data, &n);
	struct tensor *copies = calloc(n + 1, sizeof(*copies));
	struct blob *b = NULL;
	int rc = copies ? 0 : err_nomem(e, n * sizeof(*copies));

	for (i = 0; rc == 0 && i < n; i++) {
		copies[i] = tensor_ref(&items[i]);
		rc = load_into_memory(&copies[i], e);
	}
	if (rc == 0)
		b = blob_items(copies, n);
	for (i = 0; copies && i < n; i++)
		tensor_drop(&copies[i]);
	free(copies);
	if (rc < 0)
		return rc;
	if (!b)
		return err_nomem(e, n);
	blob_unref(t->data);
	t->data = b;
	return 0;
}

/* Readers bound how deep containers nest. */
static int load_into_memory(struct tensor *t, struct err *e)
{
	struct blob *b;
	void *data;
	int rc;

	if (dtype_info(t->dtype)->class == CLASS_CONTAINER)
		return load_items(t, e);
	if (blob_bytes(t->data))
		return 0;
	b = blob_mem(t->data->size, &data);
	if (!b)
		return err_nomem(e, t->data->size);
	rc = blob_read_full(t->data, data, t->data->size, 0, e);
	if (rc < 0) {
		blob_unref(b);
		return rc;
	}
	blob_unref(t->data);
	t->data = b;
	return 0;
}

static int check_type(const struct value *v, const struct tensor *want,
		      const struct tensor *t, struct err *e)
{
	char a[256], b[256];
	bool fits = want->shape.rank < 0 || want->shape.rank == t->shape.rank;
	int32_t i;

	if (want->dtype != DTYPE_NONE && want->dtype != t->dtype)
		return err_set(e, EINVAL, "%s wants %s, not %s", v->name,
			       dtype_name(want->dtype), dtype_name(t->dtype));
	for (i = 0; fits && i < want->shape.rank; i++)
		fits = want->shape.dims[i] < 0 ||
		       want->shape.dims[i] == t->shape.dims[i];
	if (fits)
		return 0;
	shape_format(&want->shape, a, sizeof(a));
	shape_format(&t->shape, b, sizeof(b));
	return err_set(e, EINVAL, "%s wants shape [%s], not [%s]", v->name, a,
		       b);
}

/* Puts t (or, NULL, nothing) into the slot and infers what follows. */
static int replace(struct run *r, value_id v, struct tensor *t, struct err *e)
{
	bool *dirty = calloc((size_t)r->g->nvalues + 1, sizeof(*dirty));
	struct tensor old = {0};
	struct slot *s = &r->slots[v];
	int rc;

	if (!dirty)
		return err_nomem(e, r->g->nvalues);
	dirty[v] = true;
	pthread_mutex_lock(&r->en->lock);
	cache_remove(r->en, &s->value);
	old = s->value.t;
	s->value.t = t ? *t : (struct tensor){.shape = shape_unknown()};
	s->value.t.block = 0;
	s->is_given = t != NULL;
	s->version++;
	s->blocked = NO_NODE;
	r->generation++;
	r->lacks_known = false;
	r->failure.code = 0;
	r->note[0] = '\0';
	if (t)
		t->data = NULL;
	infer_forget(r, dirty);
	pthread_mutex_unlock(&r->en->lock);
	tensor_drop(&old);
	rc = infer_types(r, dirty, e);
	free(dirty);
	return rc;
}

static int give(struct run *r, value_id v, const struct tensor *want,
		struct tensor *t, const char *what, struct err *e)
{
	const struct value *val = &r->g->values[v];
	char shape[256];
	int rc = check_type(val, want, t, e);

	shape_format(&t->shape, shape, sizeof(shape));
	if (rc == 0)
		rc = tensor_check(t, e);
	if (rc == 0)
		rc = load_into_memory(t, e);
	if (rc == 0) {
		report_log(r, "%s %s: %s [%s]", what, val->name,
			   dtype_name(t->dtype), shape);
		pthread_mutex_lock(&r->binding);
		rc = replace(r, v, t, e);
		pthread_mutex_unlock(&r->binding);
	}
	if (rc < 0 && e)
		run_note(r, e->msg);
	blob_unref(t->data);
	t->data = NULL;
	return rc;
}

/* What the file declares; not what an earlier input happened to be. */
static struct tensor declared_type(const struct value *v)
{
	struct tensor t = {.dtype = v->dtype, .shape = shape_unknown()};

	if (v->type)
		t.shape = v->type->shape;
	return t;
}

int run_bind(struct run *r, value_id input, struct tensor *t, struct err *e)
{
	struct tensor want = declared_type(&r->g->values[input]);

	return give(r, input, &want, t, "input", e);
}

static int take_back(struct run *r, value_id v, const char *what)
{
	int rc;

	report_log(r, "%s %s", what, r->g->values[v].name);
	pthread_mutex_lock(&r->binding);
	rc = replace(r, v, NULL, NULL);
	pthread_mutex_unlock(&r->binding);
	return rc;
}

int run_unbind(struct run *r, value_id input)
{
	return take_back(r, input, "removed input");
}

int run_patch(struct run *r, value_id v, struct tensor *t, struct err *e)
{
	struct tensor want;
	int rc = run_describe(r, v, &want, NULL);

	/* A value nobody can compute may still be given. */
	if (rc < 0)
		want = declared_type(&r->g->values[v]);
	return give(r, v, &want, t, "patch", e);
}

int run_unpatch(struct run *r, value_id v)
{
	return take_back(r, v, "removed patch");
}

bool run_given(struct run *r, value_id v, struct tensor *out)
{
	bool given;

	pthread_mutex_lock(&r->en->lock);
	given = r->slots[v].is_given;
	if (given)
		*out = tensor_ref(&r->slots[v].value.t);
	pthread_mutex_unlock(&r->en->lock);
	return given;
}

/* ---- asking ---- */

static int check_blocked(struct run *r, value_id v, struct err *e)
{
	node_id b = r->slots[v].blocked;
	const struct node *n;

	if (r->g->broken)
		return err_set(e, EIO, "the graph cannot run: %s",
			       r->g->broken);
	if (b == NO_NODE)
		return 0;
	n = &r->g->nodes[b];
	return err_set(e, EOPNOTSUPP,
		       "node %.200s: operator %s%s%s is not supported at "
		       "opset %d",
		       n->name, n->domain, *n->domain ? "." : "", n->type,
		       n->opset);
}

int run_describe(struct run *r, value_id v, struct tensor *out, struct err *e)
{
	int rc;

	if (v >= r->g->nvalues)
		return inner_describe(r, v, out, e);
	pthread_mutex_lock(&r->en->lock);
	rc = check_blocked(r, v, e);
	*out = r->slots[v].value.t;
	pthread_mutex_unlock(&r->en->lock);
	out->data = NULL;
	return rc;
}

bool run_is_ready(struct run *r, value_id v)
{
	bool ready;

	if (v >= r->g->nvalues)
		return inner_is_ready(r, v);
	pthread_mutex_lock(&r->en->lock);
	ready = r->slots[v].value.t.data ||
		(r->g->values[v].param && !r->slots[v].is_given);
	pthread_mutex_unlock(&r->en->lock);
	return ready;
}

uint64_t run_version(struct run *r, value_id v)
{
	uint64_t version;

	pthread_mutex_lock(&r->en->lock);
	version = v < r->g->nvalues ? r->slots[v].version
				    : inner_version(r, v);
	pthread_mutex_unlock(&r->en->lock);
	return version;
}
