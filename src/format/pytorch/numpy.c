/* SPDX-License-Identifier: MIT */
/*
 * numpy - arrays and scalars of NumPy inside of pickles: an empty array that
 * _reconstruct makes, and its state (version, shape, dtype, Fortran order,
 * bytes); numpy/core/src/multiarray/methods.c, array_setstate.  Of joblib, a
 * wrapper whose bytes follow it in the stream (see pickle.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

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

/* Of protocol 5: (bytes, dtype, shape, order). */
static bool is_frombuffer(const struct pickle_node *n)
{
	return pickle_is_call(n, "numpy.core.numeric", "_frombuffer") ||
	       pickle_is_call(n, "numpy._core.numeric", "_frombuffer");
}

bool torch_is_array(const struct pickle_node *n)
{
	return is_multiarray(n, "_reconstruct") || is_multiarray(n, "scalar") ||
	       is_wrapper(n) || is_frombuffer(n);
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

static enum dtype find_type(const struct pickle_text *s)
{
	static const struct {
		const char *name;
		enum dtype type;
	} types[] = {
		{"b1", DTYPE_BOOL}, {"u1", DTYPE_U8},	 {"i1", DTYPE_I8},
		{"u2", DTYPE_U16},  {"i2", DTYPE_I16},	 {"u4", DTYPE_U32},
		{"i4", DTYPE_I32},  {"u8", DTYPE_U64},	 {"i8", DTYPE_I64},
		{"f2", DTYPE_F16},  {"f4", DTYPE_F32},	 {"f8", DTYPE_F64},
		{"c8", DTYPE_C64},  {"c16", DTYPE_C128},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i].name) == s->len &&
		    memcmp(types[i].name, s->p, s->len) == 0)
			return types[i].type;
	return DTYPE_NONE;
}

/* dtype('f4', 0, 1) with the state (3, '<', …). */
static int read_dtype(const struct pickle_node *n, enum dtype *out,
		      bool *swapped, struct err *e)
{
	const struct pickle_node *name = pickle_arg(n, 0);
	const struct pickle_node *order = n ? pickle_item(n->state, 1) : NULL;

	if (!pickle_is_call(n, "numpy", "dtype") || !name ||
	    name->kind != PICKLE_STRING)
		return err_set(e, EINVAL, "an array without a dtype");
	*out = find_type(&name->s);
	if (*out == DTYPE_NONE)
		return err_set(e, EOPNOTSUPP, "an array of another dtype");
	*swapped = pickle_is_string(order, ">");
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

static void fortran_strides(const struct shape *s, int64_t *strides)
{
	int64_t step = 1;

	/* No overflow: the number of elements was checked. */
	for (int32_t i = 0; i < s->rank; i++) {
		strides[i] = step;
		step *= s->dims[i];
	}
}

/* Takes the data, puts it into our order. */
static int arrange(struct tensor *out, struct blob *data, bool swapped,
		   bool is_fortran, struct err *e)
{
	int64_t strides[SHAPE_RANK_MAX];
	size_t size = dtype_size(out->dtype);
	size_t width = dtype_info(out->dtype)->class == CLASS_COMPLEX ? size / 2
								      : size;
	uint64_t nbytes;

	if (!tensor_nbytes(out, &nbytes) || nbytes != data->size) {
		blob_unref(data);
		return err_set(e, EINVAL, "an array with too few bytes");
	}
	if (swapped && width > 1)
		data = blob_swap(data, width);
	if (!data)
		return err_nomem(e, nbytes);
	out->data = data;
	if (!is_fortran || out->shape.rank < 2 || nbytes == 0)
		return 0;
	fortran_strides(&out->shape, strides);
	out->data = NULL;
	return blob_strided(data, size, &out->shape, strides, 0, &out->data, e);
}

static int read_scalar(struct torch *t, const struct pickle_node *n,
		       struct tensor *out, struct err *e)
{
	struct blob *data;
	bool swapped;
	int rc = read_dtype(pickle_arg(n, 0), &out->dtype, &swapped, e);

	if (rc == 0)
		rc = get_bytes(t, pickle_arg(n, 1), &data, e);
	return rc == 0 ? arrange(out, data, swapped, false, e) : rc;
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
	struct tensor made = {.dtype = DTYPE_NONE};
	int64_t dims[SHAPE_RANK_MAX];
	struct blob *data;
	bool swapped;
	uint64_t nelems;
	int rank = -1, rc;

	if (is_multiarray(n, "scalar"))
		return read_scalar(t, n, out, e);
	if (get_parts(n, &a))
		rank = torch_ints(a.shape, dims);
	if (rank < 0)
		return err_set(e, EINVAL, "an array without a shape");
	rc = read_dtype(a.dtype, &made.dtype, &swapped, e);
	if (rc == 0)
		rc = shape_set(&made.shape, dims, (size_t)rank, e);
	if (rc == 0 && !shape_nelems(&made.shape, &nelems))
		rc = err_set(e, EINVAL, "an array too large");
	if (rc == 0)
		rc = get_bytes(t, a.data, &data, e);
	if (rc == 0)
		rc = arrange(&made, data, swapped, a.is_fortran, e);
	if (rc < 0)
		tensor_drop(&made);
	else
		*out = made;
	return rc;
}
