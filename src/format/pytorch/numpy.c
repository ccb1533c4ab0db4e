/* SPDX-License-Identifier: MIT */
/*
 * numpy - arrays and scalars of NumPy inside of pickles: an empty array that
 * _reconstruct makes, and its state (version, shape, dtype, Fortran order,
 * bytes); numpy/core/src/multiarray/methods.c, array_setstate.  Of joblib, a
 * wrapper whose bytes follow it in the stream (see pickle_object.c) or, before
 * joblib 0.10, are a .npy file beside it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/npy.h"
#include "modelfs/source.h"

#include "format/pytorch/pytorch.h"

static bool is_multiarray(const struct pickle_node *n, const char *name)
{
	return pickle_is_call(n, "numpy.core.multiarray", name) ||
	       pickle_is_call(n, "numpy._core.multiarray", name);
}

static bool is_wrapper(const struct pickle_node *n)
{
	return pickle_is_call(n, "joblib.numpy_pickle", "NumpyArrayWrapper");
}

static bool is_elsewhere(const struct pickle_node *n)
{
	return pickle_is_call(n, "joblib.numpy_pickle", "NDArrayWrapper");
}

/* Of protocol 5: (bytes, dtype, shape, order). */
static bool is_frombuffer(const struct pickle_node *n)
{
	return pickle_is_call(n, "numpy.core.numeric", "_frombuffer") ||
	       pickle_is_call(n, "numpy._core.numeric", "_frombuffer");
}

bool torch_is_array(const struct pickle_node *n)
{
	return is_multiarray(n, "_reconstruct") || is_multiarray(n, "scalar") ||
	       is_wrapper(n) || is_elsewhere(n) || is_frombuffer(n);
}

static bool is_objects(const struct pickle_node *dtype)
{
	const struct pickle_node *name = pickle_arg(dtype, 0);

	return pickle_is_call(dtype, "numpy", "dtype") && name &&
	       name->kind == PICKLE_STRING && name->s.len > 0 && name->s.p &&
	       name->s.p[0] == 'O';
}

struct pickle_node *torch_array_objects(const struct pickle_node *n)
{
	struct pickle_node *list = NULL, *shape = NULL;

	if (is_wrapper(n) && is_objects(pickle_get(n->state, "dtype")))
		return pickle_arg(n, 0);
	if (is_multiarray(n, "scalar") && is_objects(pickle_arg(n, 0)))
		return pickle_arg(n, 1);
	if (is_multiarray(n, "_reconstruct") &&
	    is_objects(pickle_item(n->state, 2))) {
		shape = pickle_item(n->state, 1);
		list = pickle_item(n->state, 4);
	}
	if (!list || list->kind != PICKLE_LIST)
		return NULL;
	/* numpy.save of a dict: an array without axes, around it */
	return shape && shape->nitems == 0 && list->nitems == 1 ? list->items[0]
								: list;
}

/* dtype('f4', 0, 1) with the state (3, '<', None, names, …). */
static int read_dtype(const struct pickle_node *n, struct npy_info *out,
		      struct err *e)
{
	const struct pickle_node *name = pickle_arg(n, 0);
	const struct pickle_node *state = n ? n->state : NULL;
	const struct pickle_node *fields = pickle_item(state, 3);
	int rc;

	if (!pickle_is_call(n, "numpy", "dtype") || !name ||
	    name->kind != PICKLE_STRING || !name->s.p)
		return err_set(e, EINVAL, "an array without a dtype");
	if (fields && fields->kind != PICKLE_NONE)
		return err_set(e, EOPNOTSUPP, "an array of records");
	rc = npy_parse_descr(name->s.p, name->s.len, out, e);
	if (rc < 0)
		return rc;
	if (out->dtype == DTYPE_NONE)
		return err_set(e, EOPNOTSUPP, "an array of another dtype");
	out->swapped = pickle_is_string(pickle_item(state, 1), ">");
	return 0;
}

/* Bytes objects; strings are those of Python 2. */
static int get_bytes(struct torch *t, const struct pickle_node *n,
		     struct blob **out, struct err *e)
{
	if (!n || (n->kind != PICKLE_BYTES && n->kind != PICKLE_STRING))
		return err_set(e, EOPNOTSUPP, "an array of objects");
	if (!n->s.p)
		return blob_file(t->src, n->off, n->s.len, out, e);
	*out = blob_copy(n->s.p, n->s.len);
	return *out ? 0 : err_nomem(e, n->s.len);
}

static int read_scalar(struct torch *t, const struct pickle_node *n,
		       struct tensor *out, struct err *e)
{
	struct npy_info info = {.shape = shape_of(0, NULL)};
	struct blob *data;
	int rc = read_dtype(pickle_arg(n, 0), &info, e);

	if (rc == 0)
		rc = get_bytes(t, pickle_arg(n, 1), &data, e);
	return rc == 0 ? npy_read_elements(data, &info, out, e) : rc;
}

/* The file that a wrapper names. */
static int open_file(struct torch *t, const struct pickle_node *n,
		     struct blob **out, struct err *e)
{
	const struct pickle_node *name = pickle_get(n->state, "filename");
	struct source *src;
	int rc;

	if (!name || name->kind != PICKLE_STRING || !name->s.p)
		return err_set(e, EINVAL, "an array in a file without a name");
	if (!t->in)
		return err_set(e, ENOENT, "an array in another file");
	rc = input_sibling(t->in, name->s.p, name->s.len, &src, e);
	if (rc < 0)
		return rc;
	rc = blob_file(src, 0, source_size(src), out, e);
	source_unref(src);
	return rc;
}

/* A file that cannot be had is no failure of the others. */
static int read_elsewhere(struct torch *t, const struct pickle_node *n,
			  struct tensor *out, struct err *e)
{
	struct err why = {0};
	struct blob *file;
	int rc = open_file(t, n, &file, &why);

	if (rc == -ENOENT || rc == -EACCES || rc == -EPERM) {
		out->shape = shape_of(0, NULL);
		out->data = blob_fail(0, -rc, why.msg);
		return out->data ? 0 : err_nomem(e, 0);
	}
	if (rc < 0)
		return err_set(e, -rc, "%s", why.msg);
	rc = npy_read(file, out, e);
	blob_unref(file);
	return rc;
}

/* What an array is made of; each NULL where the file has none. */
struct array {
	const struct pickle_node *shape, *dtype, *data;
	bool is_fortran;
};

static bool is_true(const struct pickle_node *n)
{
	return (n->kind == PICKLE_BOOL && n->b) ||
	       (n->kind == PICKLE_INT && n->i);
}

static bool get_parts(const struct pickle_node *n, struct array *out)
{
	const struct pickle_node *fortran;

	if (is_wrapper(n)) {
		out->shape = pickle_get(n->state, "shape");
		out->dtype = pickle_get(n->state, "dtype");
		out->data = pickle_arg(n, 0);
		out->is_fortran =
			pickle_is_string(pickle_get(n->state, "order"), "F");
		return out->shape != NULL;
	}
	if (is_frombuffer(n)) {
		out->data = pickle_arg(n, 0);
		out->dtype = pickle_arg(n, 1);
		out->shape = pickle_arg(n, 2);
		out->is_fortran = pickle_is_string(pickle_arg(n, 3), "F");
		return out->shape != NULL;
	}
	fortran = pickle_item(n->state, 3);
	out->shape = pickle_item(n->state, 1);
	out->dtype = pickle_item(n->state, 2);
	out->data = pickle_item(n->state, 4);
	out->is_fortran = fortran && is_true(fortran);
	return fortran != NULL;
}

int torch_array(struct torch *t, const struct pickle_node *n,
		struct tensor *out, struct err *e)
{
	struct array a = {0};
	struct npy_info info = {.dtype = DTYPE_NONE};
	int64_t dims[SHAPE_RANK_MAX];
	struct blob *data;
	int rank = -1, rc;

	if (is_multiarray(n, "scalar"))
		return read_scalar(t, n, out, e);
	if (is_elsewhere(n))
		return read_elsewhere(t, n, out, e);
	if (get_parts(n, &a))
		rank = torch_ints(a.shape, dims);
	if (rank < 0)
		return err_set(e, EINVAL, "an array without a shape");
	rc = read_dtype(a.dtype, &info, e);
	if (rc == 0)
		rc = shape_set(&info.shape, dims, (size_t)rank, e);
	if (rc == 0)
		rc = get_bytes(t, a.data, &data, e);
	info.fortran_order = a.is_fortran;
	return rc == 0 ? npy_read_elements(data, &info, out, e) : rc;
}
