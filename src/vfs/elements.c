/* SPDX-License-Identifier: MIT */
/*
 * elements - an input that is a sequence, an optional or a map, given by its
 * elements: in/NAME/0.npy, 1.npy, … or, for a map, in/NAME/KEY.npy.  It is
 * bound as soon as none is missing between those that are there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "modelfs/names.h"
#include "modelfs/npy.h"
#include "modelfs/run.h"
#include "modelfs/view.h"
#include "vfs/mounted.h"

/* What the files of the directory hold. */
struct elements {
	char **names; /* without .npy; owned */
	struct blob **files;
	struct tensor *parts; /* in the order of names */
	size_t n;
};

static void drop(struct elements *x)
{
	size_t i;

	for (i = 0; i < x->n; i++) {
		free(x->names ? x->names[i] : NULL);
		blob_unref(x->files ? x->files[i] : NULL);
		if (x->parts)
			tensor_drop(&x->parts[i]);
	}
	free(x->names);
	free(x->files);
	free(x->parts);
}

static size_t count_files(const struct vrun *r, uint32_t item)
{
	const struct upload *u;
	size_t n = 0;

	for (u = r->uploads; u; u = u->next)
		n += u->area == AREA_ITEMS && u->dir == item;
	return n;
}

/* vfs.lock held.  Files that were taken, and the one that just closed. */
static int collect(const struct vrun *r, uint32_t item, const char *name,
		   struct blob *fresh, struct elements *x, struct err *e)
{
	size_t n = count_files(r, item);
	const struct upload *u;

	x->names = calloc(n + 1, sizeof(*x->names));
	x->files = calloc(n + 1, sizeof(struct blob *));
	x->parts = calloc(n + 1, sizeof(*x->parts));
	if (!x->names || !x->files || !x->parts)
		return err_nomem(e, n * sizeof(*x->parts));
	for (u = r->uploads; u; u = u->next) {
		bool is_fresh = name && strcmp(u->name, name) == 0;
		struct blob *b = is_fresh ? fresh : u->taken;
		size_t stem;

		if (u->area != AREA_ITEMS || u->dir != item || !b)
			continue;
		view_of_name(u->name, strlen(u->name), &stem);
		x->names[x->n] = strndup(u->name, stem);
		x->files[x->n] = blob_ref(b);
		x->n++;
		if (!x->names[x->n - 1])
			return err_nomem(e, stem);
	}
	return 0;
}

static int parse(struct elements *x, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < x->n; i++)
		rc = npy_read(x->files[i], &x->parts[i], e);
	return rc < 0 ? err_wrap(e, "%s", x->names[i - 1]) : 0;
}

/* Parts in the order of their numbers.  1: one is missing. */
static int arrange(const struct elements *x, struct tensor *out, struct err *e)
{
	size_t i, k;

	for (k = 0; k < x->n; k++) {
		char want[24];

		snprintf(want, sizeof(want), "%zu", k);
		for (i = 0; i < x->n && strcmp(x->names[i], want) != 0; i++)
			;
		if (i == x->n) {
			err_set(e, EINVAL, "element %zu is missing", k);
			return 1;
		}
		out[k] = x->parts[i];
	}
	return 0;
}

static int make_list(const struct elements *x, enum dtype type,
		     struct tensor *out, struct err *e)
{
	struct tensor *sorted = calloc(x->n + 1, sizeof(*sorted));
	int rc = sorted ? arrange(x, sorted, e)
			: err_nomem(e, x->n * sizeof(*sorted));

	if (rc == 0 && type == DTYPE_OPTIONAL && x->n > 1)
		rc = err_set(e, EINVAL, "an optional has one element");
	if (rc == 0) {
		*out = (struct tensor){
			.dtype = type,
			.shape = shape_of(1, (int64_t[]){(int64_t)x->n})};
		out->data = blob_items(sorted, x->n);
		rc = out->data ? 0 : err_nomem(e, x->n);
	}
	free(sorted);
	return rc;
}

/* ---- maps ---- */

static int string_keys(const struct elements *x, struct tensor *out,
		       struct err *e)
{
	struct string_list *l = string_list_new();
	size_t i;
	int rc = l ? 0 : err_nomem(e, x->n);

	for (i = 0; rc == 0 && i < x->n; i++) {
		char buf[NAME_BUFFER];
		size_t len = 0, n = strlen(x->names[i]);

		if (n >= sizeof(buf) || !name_decode(x->names[i], n, buf, &len))
			rc = err_set(e, EINVAL, "%s is no key", x->names[i]);
		else if (string_list_add(l, buf, len) < 0)
			rc = err_nomem(e, len);
	}
	if (rc < 0) {
		string_list_free(l);
		return rc;
	}
	out->data = string_list_finish(l);
	return out->data ? 0 : err_nomem(e, x->n);
}

static int integer_keys(const struct elements *x, struct tensor *out,
			struct err *e)
{
	void *p;
	size_t i;

	out->data = blob_mem(x->n * sizeof(int64_t), &p);
	if (!out->data)
		return err_nomem(e, x->n * sizeof(int64_t));
	for (i = 0; i < x->n; i++) {
		char *end;

		errno = 0;
		((int64_t *)p)[i] = strtoll(x->names[i], &end, 10);
		if (errno || *end || end == x->names[i])
			return err_set(e, EINVAL, "%s is no number",
				       x->names[i]);
	}
	return 0;
}

/* One element of each file, in a row. */
static int join_values(const struct elements *x, struct tensor *out,
		       struct err *e)
{
	struct blob **data = calloc(x->n + 1, sizeof(struct blob *));
	size_t i;

	if (!data)
		return err_nomem(e, x->n);
	out->dtype = x->n ? x->parts[0].dtype : DTYPE_F32;
	for (i = 0; i < x->n; i++) {
		uint64_t n;

		if (x->parts[i].dtype != out->dtype ||
		    dtype_size(out->dtype) == 0 ||
		    !shape_nelems(&x->parts[i].shape, &n) || n != 1) {
			free(data);
			return err_set(e, EINVAL, "%s is no number like others",
				       x->names[i]);
		}
		data[i] = x->parts[i].data;
	}
	for (i = 0; i < x->n; i++)
		blob_ref(data[i]);
	out->data = blob_cat(data, x->n);
	free(data);
	return out->data ? 0 : err_nomem(e, x->n);
}

static int make_map(const struct elements *x, enum dtype key,
		    struct tensor *out, struct err *e)
{
	struct shape s = shape_of(1, (int64_t[]){(int64_t)x->n});
	struct tensor t[2] = {{.dtype = key, .shape = s}, {.shape = s}};
	int rc = key == DTYPE_STRING ? string_keys(x, &t[0], e)
				     : integer_keys(x, &t[0], e);

	if (rc == 0)
		rc = join_values(x, &t[1], e);
	if (rc == 0) {
		*out = (struct tensor){.dtype = DTYPE_MAP, .shape = s};
		out->data = blob_items(t, 2);
		rc = out->data ? 0 : err_nomem(e, x->n);
	}
	tensor_drop(&t[0]);
	tensor_drop(&t[1]);
	return rc;
}

/* ---- binding ---- */

/* What is missing is no error of the file that has just been closed. */
static int bind(struct run *r, const struct value *val, value_id id,
		struct elements *x, struct err *e)
{
	struct err why = {0};
	struct tensor t;
	int rc;

	if (x->n == 0)
		return run_unbind(r, id);
	rc = parse(x, e);
	if (rc == 0)
		rc = val->dtype == DTYPE_MAP
			     ? make_map(x, val->key_type, &t, e)
			     : make_list(x, val->dtype, &t, &why);
	if (rc == 0)
		return run_bind(r, id, &t, e);
	if (rc > 0) {
		run_unbind(r, id);
		run_note(r, why.msg);
		return 0;
	}
	if (why.code && e)
		*e = why;
	if (e)
		e->code = EINVAL;
	return -EINVAL;
}

int elements_bind(struct vfs *v, uint32_t run, struct mount *m, uint32_t item,
		  const char *name, struct blob *fresh, struct err *e)
{
	struct elements x = {0};
	struct run *r = NULL;
	value_id id;
	int rc = 0;

	if (!item_is_input(m, item, &id))
		return err_set(e, EINVAL, "only an input can be given");
	pthread_mutex_lock(&v->lock);
	if (run < v->nruns && v->runs[run].name) {
		r = run_ref(v->runs[run].run);
		rc = collect(&v->runs[run], item, name, fresh, &x, e);
	}
	pthread_mutex_unlock(&v->lock);
	if (r && rc == 0)
		rc = bind(r, &m->model->graph->values[id], id, &x, e);
	run_unref(r);
	drop(&x);
	return rc;
}
