/* SPDX-License-Identifier: MIT */
/*
 * uploads - files written under run/: collected while they are open, taken as
 * a whole when they are closed.
 *
 * in/:    I.npy, or I with raw bytes, for an input I; any other name holds
 *         named tensors (.npz, .safetensors, ONNX .pb, any format we read).
 * patch/: output.npy, weight.npy or their raw bytes, at the place of what they
 *         stand for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "modelfs/array.h"
#include "modelfs/blob.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/npy.h"
#include "modelfs/onnx_tensor.h"
#include "modelfs/run.h"
#include "modelfs/source.h"
#include "modelfs/view.h"
#include "vfs/mounted.h"

/* ---- the list of a run ---- */

static bool is_in(const struct upload *u, const struct place *dir)
{
	return u->area == dir->area && u->dir == dir->id;
}

struct upload *upload_find(struct vrun *r, const struct place *dir,
			   const char *name)
{
	struct upload *u;

	for (u = r->uploads; u; u = u->next)
		if (is_in(u, dir) && strcmp(u->name, name) == 0)
			return u;
	return NULL;
}

struct upload *upload_get(struct vrun *r, uint32_t id)
{
	struct upload *u;

	for (u = r->uploads; u; u = u->next)
		if (u->id == id)
			return u;
	return NULL;
}

struct upload *upload_nth(struct vrun *r, const struct place *dir, uint64_t i)
{
	struct upload *u;

	for (u = r->uploads; u; u = u->next)
		if (is_in(u, dir) && i-- == 0)
			return u;
	return NULL;
}

struct upload *upload_new(struct vrun *r, const struct place *dir,
			  const char *name, struct err *e)
{
	struct upload *u = calloc(1, sizeof(*u));
	struct upload **tail = &r->uploads;

	if (u)
		u->name = strdup(name);
	if (!u || !u->name) {
		free(u);
		err_nomem(e, sizeof(*u));
		return NULL;
	}
	u->id = ++r->next_upload;
	u->area = dir->area;
	u->dir = dir->id;
	u->mtime = time(NULL);
	while (*tail)
		tail = &(*tail)->next;
	*tail = u;
	return u;
}

static void free_upload(struct upload *u)
{
	blob_unref(u->taken);
	free(u->name);
	free(u->data);
	free(u->given);
	free(u);
}

void uploads_free(struct vrun *r)
{
	while (r->uploads) {
		struct upload *next = r->uploads->next;

		free_upload(r->uploads);
		r->uploads = next;
	}
}

/* ---- taking one ---- */

/* An upload outside the lock: what it is, and what it turned out to give. */
struct taking {
	struct vfs *v;
	struct mount *m;
	struct run *run;
	const char *name;
	uint32_t number; /* of the run */
	enum area area;
	uint32_t dir;
	struct blob *content;
	value_id *given;
	uint32_t ngiven, cap_given;
};

static int remember(struct taking *t, value_id id, struct err *e)
{
	int rc = array_grow(&t->given, &t->cap_given, t->ngiven,
			    sizeof(*t->given), e);

	if (rc == 0)
		t->given[t->ngiven++] = id;
	return rc;
}

static int give(struct taking *t, value_id id, struct tensor *x, struct err *e)
{
	int rc = remember(t, id, e);

	if (rc < 0) {
		tensor_drop(x);
		return rc;
	}
	rc = t->area == AREA_PATCH ? run_patch(t->run, id, x, e)
				   : run_bind(t->run, id, x, e);
	if (rc < 0)
		t->ngiven--;
	return rc;
}

/* Whatever a reader found wrong: the writer gave us something wrong. */
static int as_refusal(int rc, struct err *e)
{
	if (rc == 0 || rc == -ENOMEM)
		return rc;
	e->code = EINVAL;
	return -EINVAL;
}

/* The one unknown extent follows from the number of bytes. */
static int solve_shape(struct tensor *t, uint64_t nbytes, struct err *e)
{
	size_t size = dtype_size(t->dtype);
	int32_t i, unknown = -1;
	uint64_t rest = size ? nbytes / size : 0;

	if (t->shape.rank < 0 || size == 0)
		return err_set(e, EINVAL,
			       "raw bytes do not tell a shape; "
			       "write .npy");
	for (i = 0; i < t->shape.rank; i++) {
		if (t->shape.dims[i] < 0 && unknown >= 0)
			return err_set(e, EINVAL,
				       "several extents are not fixed; write "
				       ".npy");
		if (t->shape.dims[i] < 0)
			unknown = i;
		else if (t->shape.dims[i] > 0)
			rest /= (uint64_t)t->shape.dims[i];
	}
	if (unknown >= 0)
		t->shape.dims[unknown] = (int64_t)rest;
	return 0;
}

/* A single string, which is all the bytes. */
static int take_string(struct taking *t, value_id id, struct tensor *x,
		       struct err *e)
{
	uint64_t head[2] = {0, t->content->size}, nbytes;
	void *data;
	int rc;

	if (__builtin_add_overflow(t->content->size, sizeof(head), &nbytes))
		return err_set(e, EFBIG, "a string that is too long");
	x->shape = shape_of(0, NULL);
	x->data = blob_mem(nbytes, &data);
	if (!x->data)
		return err_nomem(e, nbytes);
	memcpy(data, head, sizeof(head));
	rc = blob_read_full(t->content, (char *)data + sizeof(head), head[1], 0,
			    e);
	if (rc < 0) {
		tensor_drop(x);
		return rc;
	}
	return give(t, id, x, e);
}

static int take_raw(struct taking *t, value_id id, struct err *e)
{
	const struct value *val = &t->m->model->graph->values[id];
	struct tensor x = {.dtype = val->dtype, .shape = shape_unknown()};
	int rc = 0;

	if (t->area == AREA_PATCH)
		rc = run_describe(t->run, id, &x, e);
	else if (val->type)
		x.shape = val->type->shape;
	if (rc == 0 && x.dtype == DTYPE_STRING && x.shape.rank <= 0)
		return take_string(t, id, &x, e);
	if (rc == 0)
		rc = solve_shape(&x, t->content->size, e);
	if (rc < 0)
		return rc;
	x.data = blob_ref(t->content);
	return give(t, id, &x, e);
}

static int take_npy(struct taking *t, value_id id, struct err *e)
{
	struct tensor want, x;
	int rc = npy_read(t->content, &x, e);

	if (rc < 0)
		return as_refusal(rc, e);
	run_describe(t->run, id, &want, NULL);
	rc = tensor_narrow(&x, want.dtype, e);
	if (rc < 0) {
		tensor_drop(&x);
		return rc;
	}
	return give(t, id, &x, e);
}

static int take_named(struct taking *t, const char *name, size_t len,
		      const struct tensor *x, struct err *e)
{
	const struct graph *g = t->m->model->graph;
	value_id id = graph_find(g, name, len);
	struct tensor copy;

	if (id == NO_VALUE || !g->values[id].is_input)
		return 0;
	copy = tensor_ref(x);
	return give(t, id, &copy, e);
}

static int take_model(struct taking *t, struct source *src, struct err *e)
{
	struct model *m = NULL;
	uint32_t i;
	int rc = format_load_source(src, false, &m, e);

	for (i = 0; rc == 0 && i < m->nparams; i++) {
		const struct param *p = m->params[i];
		struct tensor x = param_tensor(p);

		rc = take_named(t, p->full_name, p->full_len, &x, e);
	}
	model_free(m);
	return rc;
}

static int read_all(struct blob *b, const char *name, struct source **out,
		    struct err *e)
{
	void *copy = malloc(b->size ? b->size : 1);
	int rc;

	if (!copy)
		return err_nomem(e, b->size);
	rc = blob_read_full(b, copy, b->size, 0, e);
	if (rc < 0) {
		free(copy);
		return rc;
	}
	return source_from_memory(copy, b->size, name, out, e);
}

/*
 * The input that the name of a file stands for: "I.pb" for an input I, or
 * "input_3.pb", as ONNX's test data has it.
 */
static value_id input_of_file(const struct taking *t)
{
	const struct graph *g = t->m->model->graph;
	const char *dot = strrchr(t->name, '.');
	size_t len = dot ? (size_t)(dot - t->name) : strlen(t->name);
	value_id id = graph_find(g, t->name, len);
	unsigned k;

	if (id != NO_VALUE && g->values[id].is_input)
		return id;
	if (sscanf(t->name, "input_%u.", &k) == 1 && k < g->ninputs)
		return g->inputs[k];
	return NO_VALUE;
}

/* One tensor, sequence or optional, with a name of its own or the file's. */
static int take_protobuf(struct taking *t, value_id id, struct source *src,
			 struct err *e)
{
	const struct graph *g = t->m->model->graph;
	enum dtype want = id == NO_VALUE ? DTYPE_NONE : g->values[id].dtype;
	struct tensor x;
	char *name;
	int rc = onnx_tensor_read(src, want, &x, &name, e);

	if (rc < 0)
		return rc;
	rc = take_named(t, name, strlen(name), &x, e);
	if (rc == 0 && t->ngiven == 0 && id != NO_VALUE)
		rc = give(t, id, &x, e);
	tensor_drop(&x);
	free(name);
	return rc;
}

/* A file of named tensors: ONNX test data, or any model we can read. */
static int take_container(struct taking *t, struct err *e)
{
	struct source *src;
	size_t len = strlen(t->name);
	int rc = read_all(t->content, t->name, &src, e);

	if (rc < 0)
		return rc;
	if (len > 3 && strcmp(t->name + len - 3, ".pb") == 0)
		rc = take_protobuf(t, input_of_file(t), src, e);
	else
		rc = take_model(t, src, e);
	source_unref(src);
	if (rc == 0 && t->ngiven == 0)
		return err_set(e, EINVAL, "holds no input of the model");
	return as_refusal(rc, e);
}

static int take_view(struct taking *t, value_id id, size_t view, struct err *e)
{
	if (view == 0)
		return take_raw(t, id, e);
	if (strcmp(views[view]->suffix, ".npy") == 0)
		return take_npy(t, id, e);
	return err_set(e, EINVAL, "this kind of file cannot be given");
}

static int take_input(struct taking *t, struct err *e)
{
	const struct tree *in;
	struct tree_hit hit;
	size_t len = strlen(t->name);
	int rc = mount_tree(t->m, TREE_IN, &in, e);

	if (rc < 0)
		return rc;
	if (tree_lookup(in, t->dir, t->name, &hit) &&
	    tree_kind(in, hit.entry) == ENTRY_VIEWED)
		return take_view(t, tree_ref(in, hit.entry), hit.view, e);
	if (len > 4 && strcmp(t->name + len - 4, ".npy") == 0)
		return err_set(e, EINVAL, "the model has no such input");
	return take_container(t, e);
}

value_id patched_value(struct mount *m, uint32_t dir, const char *name,
		       size_t *view)
{
	const struct graph *g = m->model->graph;
	const struct tree *act, *model;
	const struct param *p;
	struct tree_hit hit;
	uint32_t i, mdir, object;

	if (mount_tree(m, TREE_ACT, &act, NULL) < 0 ||
	    mount_tree(m, TREE_MODEL, &model, NULL) < 0)
		return NO_VALUE;
	/* What is inside a node's graphs cannot be given. */
	if (tree_lookup(act, dir, name, &hit) &&
	    tree_kind(act, hit.entry) == ENTRY_VIEWED) {
		if (tree_ref(act, hit.entry) >= g->nvalues)
			return NO_VALUE;
		*view = hit.view;
		return tree_ref(act, hit.entry);
	}
	object = tree_object(act, dir);
	mdir = object == NO_DIR ? NO_DIR : m->module_dir[object];
	if (mdir == NO_DIR || !tree_lookup(model, mdir, name, &hit) ||
	    tree_kind(model, hit.entry) != ENTRY_VIEWED)
		return NO_VALUE;
	*view = hit.view;
	p = m->model->params[tree_ref(model, hit.entry)];
	for (i = 0; i < g->nvalues; i++)
		if (g->values[i].param == p)
			return i;
	/* A tied parameter may be a value of its own: its Identity's output. */
	return graph_find(g, p->full_name, p->full_len);
}

static int take_patch(struct taking *t, struct err *e)
{
	size_t view;
	value_id id = patched_value(t->m, t->dir, t->name, &view);

	if (id == NO_VALUE)
		return err_set(e, EINVAL, "nothing to patch here");
	return take_view(t, id, view, e);
}

static int take_upload(struct taking *t, struct err *e)
{
	if (t->area == AREA_PATCH)
		return take_patch(t, e);
	if (t->area == AREA_ITEMS)
		return elements_bind(t->v, t->number, t->m, t->dir, t->name,
				     t->content, e);
	return take_input(t, e);
}

/* vfs.lock held.  The bytes written so far become a blob. */
static int begin_taking(struct vfs *v, uint32_t run, struct upload *u,
			struct taking *t, struct err *e)
{
	struct vrun *slot = &v->runs[run];

	t->v = v;
	t->m = slot->mount;
	t->name = strdup(u->name);
	t->dir = u->dir;
	t->area = u->area;
	t->number = run;
	t->content = blob_copy(u->data ? u->data : "", u->len);
	u->is_dirty = false;
	if (!t->name || !t->content) {
		u->refused = ENOMEM;
		free((char *)t->name);
		blob_unref(t->content);
		return err_nomem(e, u->len);
	}
	t->run = run_ref(slot->run);
	return 0;
}

/* Accepted: it can be read back, and removing it takes it back. */
static void accept(struct upload *u, struct taking *t)
{
	blob_unref(u->taken);
	free(u->given);
	u->taken = blob_ref(t->content);
	u->given = t->given;
	u->ngiven = t->ngiven;
	u->mtime = time(NULL);
	t->given = NULL;
}

static void finish_taking(struct vfs *v, uint32_t run, uint32_t id,
			  struct taking *t, int rc)
{
	struct upload *u = NULL;

	pthread_mutex_lock(&v->lock);
	if (run < v->nruns && v->runs[run].name)
		u = upload_get(&v->runs[run], id);
	if (u)
		u->refused = -rc;
	if (u && rc == 0)
		accept(u, t);
	pthread_mutex_unlock(&v->lock);
}

/*
 * A file may be closed several times: numpy writes through a duplicate of its
 * descriptor.  Each of them hears what became of what was written.
 */
int upload_commit(struct vfs *v, uint32_t run, uint32_t id, struct err *e)
{
	struct taking t = {0};
	struct err why = {0};
	struct upload *u = NULL;
	char q[ERR_QUOTED];
	int rc;

	pthread_mutex_lock(&v->lock);
	if (run < v->nruns && v->runs[run].name)
		u = upload_get(&v->runs[run], id);
	if (!u || !u->is_dirty) {
		rc = u && u->refused ? err_set(e, u->refused, "was refused")
				     : 0;
		pthread_mutex_unlock(&v->lock);
		return rc;
	}
	rc = begin_taking(v, run, u, &t, e);
	pthread_mutex_unlock(&v->lock);
	if (rc < 0)
		return rc;
	rc = take_upload(&t, &why);
	finish_taking(v, run, id, &t, rc);
	if (rc < 0) {
		err_wrap(&why, "%s", err_quote(q, t.name, strlen(t.name)));
		run_note(t.run, why.msg);
	}
	if (rc < 0 && e)
		*e = why;
	run_unref(t.run);
	blob_unref(t.content);
	free((char *)t.name);
	free(t.given);
	return rc;
}

/* ---- removing one ---- */

static struct upload *unlink_upload(struct vrun *r, uint32_t id)
{
	struct upload **p = &r->uploads;
	struct upload *u;

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	u = *p;
	if (u)
		*p = u->next;
	return u;
}

int upload_remove(struct vfs *v, uint32_t run, uint32_t id, struct err *e)
{
	struct upload *u = NULL;
	struct mount *m = NULL;
	struct run *r = NULL;
	uint32_t i;

	pthread_mutex_lock(&v->lock);
	if (run < v->nruns && v->runs[run].name) {
		u = unlink_upload(&v->runs[run], id);
		r = run_ref(v->runs[run].run);
		m = v->runs[run].mount;
	}
	pthread_mutex_unlock(&v->lock);
	if (u && u->area == AREA_ITEMS)
		elements_bind(v, run, m, u->dir, NULL, NULL, NULL);
	for (i = 0; u && i < u->ngiven; i++) {
		if (u->area == AREA_PATCH)
			run_unpatch(r, u->given[i]);
		else
			run_unbind(r, u->given[i]);
	}
	run_unref(r);
	if (!u)
		return err_set(e, ENOENT, "no such upload");
	free_upload(u);
	return 0;
}

/* ---- without a mount ---- */

static int take_file(struct taking *t, value_id id, struct err *e)
{
	char magic[6] = "";
	size_t len = strlen(t->name), got;
	struct source *src;
	int rc = blob_read(t->content, magic, sizeof(magic), 0, &got, e);

	if (rc < 0)
		return rc;
	if (got == sizeof(magic) && memcmp(magic, "\x93NUMPY", 6) == 0)
		return take_npy(t, id, e);
	if (len < 3 || strcmp(t->name + len - 3, ".pb") != 0)
		return take_raw(t, id, e);
	rc = read_all(t->content, t->name, &src, e);
	if (rc < 0)
		return rc;
	rc = take_protobuf(t, id, src, e);
	source_unref(src);
	return rc;
}

int vfs_bind_source(struct vfs *v, const char *run, const char *input,
		    struct source *src, struct err *e)
{
	struct mount *m = &v->mounts[0];
	struct taking t = {.v = v, .m = m, .name = source_name(src)};
	int64_t number = run_number(v, m, run);
	value_id id;
	int rc;

	if (number < 0)
		return err_set(e, ENOENT, "no run %s", run);
	id = graph_find(m->model->graph, input, strlen(input));
	if (id == NO_VALUE)
		return err_set(e, EINVAL, "the model has no input %s", input);
	rc = blob_file(src, 0, source_size(src), &t.content, e);
	if (rc < 0)
		return rc;
	t.run = run_of(v, (uint32_t)number);
	rc = take_file(&t, id, e);
	run_unref(t.run);
	blob_unref(t.content);
	free(t.given);
	return rc;
}
