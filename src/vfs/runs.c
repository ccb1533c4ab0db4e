/* SPDX-License-Identifier: MIT */
/*
 * runs - the directories under run/: making and ending them, their reports,
 * and the views of their values.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "modelfs/array.h"
#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "modelfs/run.h"
#include "modelfs/view.h"
#include "vfs/mounted.h"

/* ---- the list; vfs.lock ---- */

struct run *run_of(struct vfs *v, uint32_t number)
{
	struct run *r = NULL;

	pthread_mutex_lock(&v->lock);
	if (number < v->nruns && v->runs[number].name)
		r = run_ref(v->runs[number].run);
	pthread_mutex_unlock(&v->lock);
	return r;
}

int64_t run_number(struct vfs *v, const struct mount *m, const char *name)
{
	uint32_t i;
	int64_t found = -1;

	pthread_mutex_lock(&v->lock);
	for (i = 0; i < v->nruns && found < 0; i++)
		if (v->runs[i].name && v->runs[i].mount == m &&
		    strcmp(v->runs[i].name, name) == 0)
			found = i;
	pthread_mutex_unlock(&v->lock);
	return found;
}

/*
 * vfs.lock held.  A free number, the longest unused first: an old inode number
 * must not soon mean something new.
 */
static int64_t free_number(struct vfs *v)
{
	uint32_t i;

	if (v->nruns < RUNS_MAX) {
		if (array_grow(&v->runs, &v->cap_runs, v->nruns,
			       sizeof(*v->runs), NULL) < 0)
			return -1;
		v->runs[v->nruns] = (struct vrun){0};
		return v->nruns++;
	}
	for (i = 0; i < v->nruns; i++) {
		uint32_t k = (v->next_run + i) % v->nruns;

		if (!v->runs[k].name) {
			v->next_run = k + 1;
			return k;
		}
	}
	return -1;
}

int vfs_mkdir(struct vfs *v, vfs_ino dir, const char *name, vfs_ino *out,
	      struct err *e)
{
	struct place p = ino_place(dir);
	struct mount *m = &v->mounts[p.mount];
	struct vrun new = {.mount = m, .created = time(NULL)};
	int64_t n;
	int rc;

	if (p.area != AREA_RUNS)
		return err_set(e, EROFS, "read-only");
	if (run_number(v, m, name) >= 0)
		return err_set(e, EEXIST, "there is a run of this name");
	new.name = strdup(name);
	if (!new.name)
		return err_nomem(e, strlen(name));
	rc = run_new(v->en, m->model, &new.run, e);
	if (rc < 0) {
		free(new.name);
		return rc;
	}
	pthread_mutex_lock(&v->lock);
	n = free_number(v);
	if (n >= 0) {
		new.generation = ++v->nmade;
		v->runs[n] = new;
	}
	pthread_mutex_unlock(&v->lock);
	if (n < 0) {
		run_unref(new.run);
		free(new.name);
		return err_set(e, ENOSPC, "too many runs");
	}
	*out = place_ino(&(struct place){.mount = p.mount,
					 .area = AREA_RUN,
					 .run = (uint32_t)n});
	return 0;
}

uint64_t vfs_generation(struct vfs *v, vfs_ino ino)
{
	struct place p = place_of(v, ino);
	uint64_t generation = 0;

	if (!place_is_in_run(&p))
		return 0;
	pthread_mutex_lock(&v->lock);
	if (p.run < v->nruns)
		generation = v->runs[p.run].generation;
	pthread_mutex_unlock(&v->lock);
	return generation;
}

/* vfs.lock held. */
static struct run *forget_run(struct vrun *slot)
{
	struct run *r = slot->run;

	uploads_free(slot);
	free(slot->name);
	*slot = (struct vrun){0};
	return r;
}

int vfs_rmdir(struct vfs *v, vfs_ino dir, const char *name, struct err *e)
{
	struct place p = ino_place(dir);
	struct run *r;
	int64_t n;

	/* rm -r takes the tree of a run apart before the run itself. */
	if (place_is_in_run(&p))
		return 0;
	if (p.area != AREA_RUNS)
		return err_set(e, EROFS, "read-only");
	n = run_number(v, &v->mounts[p.mount], name);
	if (n < 0)
		return err_set(e, ENOENT, "no run of this name");
	pthread_mutex_lock(&v->lock);
	r = forget_run(&v->runs[n]);
	pthread_mutex_unlock(&v->lock);
	run_unref(r);
	return 0;
}

void runs_free(struct vfs *v)
{
	uint32_t i;

	for (i = 0; i < v->nruns; i++)
		if (v->runs[i].name)
			run_unref(forget_run(&v->runs[i]));
	free(v->runs);
}

/* ---- reports ---- */

static const char *const report_names[] = {"status", "log", "profile"};

int report_by_name(const char *name)
{
	size_t i;

	for (i = 0; i < REPORTS; i++)
		if (strcmp(report_names[i], name) == 0)
			return (int)i;
	return -1;
}

const char *report_name(uint32_t id)
{
	return report_names[id];
}

int run_report(struct vfs *v, const struct place *p, struct blob **out,
	       struct err *e)
{
	static void (*const writers[])(struct run *, struct text *) = {
		run_status, run_log, run_profile};
	struct run *r = run_of(v, p->run);
	struct text text = {0};

	if (!r)
		return err_set(e, ENOENT, "the run has ended");
	writers[p->id](r, &text);
	if (writers[p->id] == run_status && v->sandbox)
		text_printf(&text, "sandbox\t%s\n", v->sandbox);
	run_unref(r);
	return text_blob(&text, out, e);
}

/* ---- values ---- */

/* A view of a value that is computed when it is first read. */
struct lazy_blob {
	struct blob base;
	struct run *run;
	value_id value;
	size_t view;
	pthread_mutex_t lock;
	struct blob *content; /* lock; NULL until computed */
};

static struct blob *lazy_content(struct lazy_blob *l)
{
	struct blob *b;

	pthread_mutex_lock(&l->lock);
	b = l->content;
	pthread_mutex_unlock(&l->lock);
	return b;
}

static int open_view(struct run *r, value_id id, size_t view,
		     const atomic_bool *cancel, struct blob **out,
		     struct err *e)
{
	struct tensor t;
	int rc = run_demand(r, id, cancel, &t, e);

	if (rc < 0)
		return rc;
	rc = view_open(view, &t, out, e);
	tensor_drop(&t);
	return rc;
}

static int lazy_prepare(struct lazy_blob *l, const atomic_bool *cancel,
			struct err *e)
{
	struct blob *b = NULL;
	int rc;

	if (lazy_content(l))
		return 0;
	rc = open_view(l->run, l->value, l->view, cancel, &b, e);
	if (rc < 0)
		return rc;
	if (b->size != l->base.size) {
		blob_unref(b);
		return err_set(e, ESTALE, "the value changed its size");
	}
	pthread_mutex_lock(&l->lock);
	if (!l->content) {
		l->content = b;
		b = NULL;
	}
	pthread_mutex_unlock(&l->lock);
	blob_unref(b);
	return 0;
}

static int lazy_read(struct blob *b, void *buf, size_t len, uint64_t off,
		     struct err *e)
{
	struct lazy_blob *l = (struct lazy_blob *)b;
	int rc = lazy_prepare(l, NULL, e);

	return rc < 0 ? rc : blob_read_full(lazy_content(l), buf, len, off, e);
}

static void lazy_fini(struct blob *b)
{
	struct lazy_blob *l = (struct lazy_blob *)b;

	blob_unref(l->content);
	run_unref(l->run);
	pthread_mutex_destroy(&l->lock);
}

static const struct blob_ops lazy_ops = {
	.read = lazy_read,
	.fini = lazy_fini,
	.slow = true,
};

bool vfs_is_pending(struct blob *b)
{
	struct lazy_blob *l = (struct lazy_blob *)b;

	return b->ops == &lazy_ops && !lazy_content(l) &&
	       !run_is_ready(l->run, l->value);
}

bool vfs_is_slow(struct blob *b)
{
	return b->ops == &lazy_ops ? vfs_is_pending(b) : b->ops->slow;
}

int vfs_prepare(struct blob *b, const atomic_bool *cancel, struct err *e)
{
	if (b->ops != &lazy_ops)
		return 0;
	return lazy_prepare((struct lazy_blob *)b, cancel, e);
}

static int new_lazy(struct run *r, value_id id, size_t view, uint64_t size,
		    struct blob **out, struct err *e)
{
	struct lazy_blob *l = malloc(sizeof(*l));

	if (!l)
		return err_nomem(e, sizeof(*l));
	blob_init(&l->base, &lazy_ops, size);
	pthread_mutex_init(&l->lock, NULL);
	l->run = run_ref(r);
	l->value = id;
	l->view = view;
	l->content = NULL;
	*out = &l->base;
	return 0;
}

/* "N 3 224 224": what the file calls the extents nobody knows yet. */
static int symbolic_shape(const struct value *val, const struct tensor *t,
			  struct blob **out, struct err *e)
{
	struct text text = {0};
	int32_t i;

	for (i = 0; i < t->shape.rank; i++) {
		const char *name = val->dim_names ? val->dim_names[i] : NULL;

		text_add(&text, i ? " " : "");
		if (t->shape.dims[i] >= 0)
			text_printf(&text, "%lld",
				    (long long)t->shape.dims[i]);
		else
			text_add(&text, name && *name ? name : "?");
	}
	text_add(&text, t->shape.rank < 0 ? "?\n" : "\n");
	return text_blob(&text, out, e);
}

/*
 * A value's type; computes it when the shape cannot be had otherwise and that
 * is wanted.  1: the shape stays unknown, for an input is missing.
 */
static int describe(struct run *r, value_id id, bool may_wait,
		    const atomic_bool *cancel, struct tensor *t,
		    struct err *e)
{
	struct tensor full;
	int rc = run_describe(r, id, t, NULL);

	/* What is not supported still has the shape the file declares. */
	if (rc < 0)
		return shape_is_known(&t->shape) ? 0 : 1;
	if (shape_is_known(&t->shape) &&
	    dtype_info(t->dtype)->class != CLASS_STRING)
		return 0;
	if (run_check(r, id, NULL) < 0)
		return 1;
	if (!may_wait && !run_is_ready(r, id))
		return -EAGAIN;
	rc = run_demand(r, id, cancel, &full, e);
	if (rc < 0)
		return rc;
	*t = full;
	blob_unref(full.data);
	t->data = NULL;
	return 0;
}

static int open_described(struct run *r, const struct place *p,
			  const struct value *val, bool may_wait,
			  const atomic_bool *cancel, struct blob **out,
			  struct err *e)
{
	struct tensor t;
	int rc = describe(r, p->id, may_wait, cancel, &t, e);

	if (rc < 0)
		return rc;
	if (rc > 0 && strcmp(views[p->view]->suffix, ".shape") == 0)
		return symbolic_shape(val, &t, out, e);
	return view_open(p->view, &t, out, e);
}

int value_open(struct vfs *v, const struct place *p, bool may_wait,
	       const atomic_bool *cancel, struct blob **out, struct err *e)
{
	value_id own;
	const struct graph *where =
		graph_locate(v->mounts[p->mount].model->graph, p->id, &own);
	struct run *r = run_of(v, p->run);
	struct tensor t;
	uint64_t size;
	int rc;

	if (!r)
		return err_set(e, ENOENT, "the run has ended");
	if (!views[p->view]->needs_data) {
		rc = open_described(r, p, &where->values[own], may_wait, cancel,
				    out, e);
		run_unref(r);
		return rc;
	}
	rc = run_describe(r, p->id, &t, e);
	if (rc == 0)
		rc = run_check(r, p->id, e);
	if (rc == 0 && views[p->view]->size(&t, &size, NULL) == 0)
		rc = new_lazy(r, p->id, p->view, size, out, e);
	else if (rc == 0 && !may_wait && !run_is_ready(r, p->id))
		rc = -EAGAIN;
	else if (rc == 0)
		rc = open_view(r, p->id, p->view, cancel, out, e);
	run_unref(r);
	return rc;
}

/*
 * The size of a value that cannot be had now is 0; opening it tells why.
 */
int value_size(struct vfs *v, const struct place *p, bool may_wait,
	       const atomic_bool *cancel, uint64_t *out, struct err *e)
{
	struct run *r = run_of(v, p->run);
	struct blob *b;
	struct tensor t;
	int rc;

	*out = 0;
	if (!r)
		return err_set(e, ENOENT, "the run has ended");
	rc = run_describe(r, p->id, &t, NULL);
	run_unref(r);
	if (rc == 0 && views[p->view]->needs_data &&
	    views[p->view]->size(&t, out, NULL) == 0)
		return 0;
	rc = value_open(v, p, may_wait, cancel, &b, e);
	if (rc == -EAGAIN || rc == -EINTR)
		return rc;
	if (rc == 0) {
		*out = b->size;
		blob_unref(b);
	}
	return 0;
}
