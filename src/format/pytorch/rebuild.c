/* SPDX-License-Identifier: MIT */
/*
 * rebuild - the calls by which a pickle makes tensors (torch/_utils.py,
 * torch/_tensor.py).  They are known by name; nothing is called.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/pytorch/pytorch.h"

/* Parameters of parameters, subclasses of subclasses. */
#define WRAPS_MAX 16

static bool is_utils(const struct pickle_node *n, const char *name)
{
	return pickle_is_call(n, "torch._utils", name);
}

static bool is_parameter(const struct pickle_node *n)
{
	return is_utils(n, "_rebuild_parameter") ||
	       is_utils(n, "_rebuild_parameter_with_state") ||
	       is_utils(n, "_rebuild_parameter_v2") ||
	       pickle_is_call(n, "torch.nn.parameter", "Parameter") ||
	       pickle_is_call(n, "torch.nn.parameter", "Buffer");
}

static bool is_from_type(const struct pickle_node *n)
{
	return pickle_is_call(n, "torch._tensor", "_rebuild_from_type_v2") ||
	       pickle_is_call(n, "torch._tensor", "_rebuild_from_type") ||
	       pickle_is_call(n, "torch.tensor", "_rebuild_from_type");
}

bool torch_is_tensor(const struct pickle_node *n)
{
	static const char head[] = "_rebuild_";
	const struct pickle_node *f;

	if (!n || n->kind != PICKLE_OBJECT)
		return false;
	if (is_parameter(n) || is_from_type(n))
		return true;
	f = n->callable;
	return f->kind == PICKLE_GLOBAL && f->name.len > sizeof(head) - 1 &&
	       memcmp(f->name.p, head, sizeof(head) - 1) == 0 &&
	       f->module.len == 12 &&
	       memcmp(f->module.p, "torch._utils", 12) == 0;
}

static const struct pickle_node *unwrap_size(const struct pickle_node *n)
{
	if (pickle_is_call(n, "torch", "Size"))
		return pickle_arg(n, 0);
	return n;
}

int torch_ints(const struct pickle_node *n, int64_t out[SHAPE_RANK_MAX])
{
	n = unwrap_size(n);
	if (!n || (n->kind != PICKLE_TUPLE && n->kind != PICKLE_LIST) ||
	    n->nitems > SHAPE_RANK_MAX)
		return -1;
	for (size_t i = 0; i < n->nitems; i++) {
		if (n->items[i]->kind != PICKLE_INT)
			return -1;
		out[i] = n->items[i]->i;
	}
	return (int)n->nitems;
}

static bool is_row_major(const struct shape *s, const int64_t *strides)
{
	int64_t want[SHAPE_RANK_MAX];

	shape_strides(s, want);
	for (int32_t i = 0; i < s->rank; i++)
		if (s->dims[i] != 1 && strides[i] != want[i])
			return false;
	return true;
}

int torch_view_data(struct blob *storage, const int64_t *strides,
		    uint64_t offset, struct tensor *t, struct err *e)
{
	size_t size = dtype_size(t->dtype);
	uint64_t nelems, nbytes, start, have = storage->size;
	bool is_row_major_view = is_row_major(&t->shape, strides);

	if (!tensor_nbytes(t, &nbytes) || !shape_nelems(&t->shape, &nelems)) {
		blob_unref(storage);
		return err_set(e, EINVAL, "a tensor too large");
	}
	if (nelems == 0) {
		blob_unref(storage);
		t->data = blob_copy("", 0);
		return t->data ? 0 : err_nomem(e, 0);
	}
	if (blob_status(storage, NULL) < 0) {
		t->data = storage;
		return 0;
	}
	if (size == 0 && (!is_row_major_view || offset > 0)) {
		blob_unref(storage);
		t->data = blob_fail(nbytes, EOPNOTSUPP,
				    "a view of numbers that share bytes");
		return t->data ? 0 : err_nomem(e, 0);
	}
	if (!is_row_major_view)
		return blob_strided(storage, size, &t->shape, strides, offset,
				    &t->data, e);
	if (__builtin_mul_overflow(offset, size, &start) || start > have ||
	    nbytes > have - start) {
		blob_unref(storage);
		return err_set(e, EINVAL,
			       "a view of %llu bytes at element %llu of a "
			       "storage of %llu bytes",
			       (unsigned long long)nbytes,
			       (unsigned long long)offset,
			       (unsigned long long)have);
	}
	t->data = start == 0 && nbytes == have
			  ? storage
			  : blob_slice(storage, start, nbytes);
	return t->data ? 0 : err_nomem(e, 0);
}

/* A failed storage has its own size; the tensor shows what it would have. */
static int fit_failure(struct tensor *t, struct err *e)
{
	struct err why = {0};
	uint64_t nbytes = 0;
	int rc = blob_status(t->data, &why);

	if (rc == 0 || (tensor_nbytes(t, &nbytes) && nbytes == t->data->size))
		return 0;
	blob_unref(t->data);
	t->data = blob_fail(nbytes, -rc, why.msg);
	return t->data ? 0 : err_nomem(e, 0);
}

int torch_view(struct torch *t, const struct pickle_node *call,
	       enum dtype dtype, struct tensor *out, const char **dtype_text,
	       struct err *e)
{
	const struct pickle_node *offset = pickle_arg(call, 1);
	int64_t dims[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX];
	int rank = torch_ints(pickle_arg(call, 2), dims);
	struct tensor made = {.dtype = DTYPE_NONE};
	const struct torch_storage *s;
	int rc;

	if (rank < 0 || torch_ints(pickle_arg(call, 3), strides) != rank ||
	    !offset || offset->kind != PICKLE_INT || offset->i < 0)
		return err_set(e, EINVAL, "a tensor of no known shape");
	for (int i = 0; i < rank; i++)
		if (strides[i] < 0)
			return err_set(e, EINVAL, "a negative stride");
	rc = shape_set(&made.shape, dims, (size_t)rank, e);
	if (rc == 0)
		rc = torch_find_storage(t, pickle_arg(call, 0), &s, e);
	if (rc < 0)
		return rc;
	made.dtype = dtype != DTYPE_NONE ? dtype : s->dtype;
	if (made.dtype == DTYPE_NONE) {
		*dtype_text = "unknown";
		made.data = blob_fail(0, EOPNOTSUPP, "unknown element type");
		rc = made.data ? 0 : err_nomem(e, 0);
	} else {
		rc = torch_view_data(blob_ref(s->data), strides,
				     (uint64_t)offset->i, &made, e);
	}
	if (rc == 0)
		rc = fit_failure(&made, e);
	if (rc < 0)
		tensor_drop(&made);
	else
		*out = made;
	return rc;
}

static bool is_true(const struct pickle_node *n)
{
	return n && n->kind == PICKLE_BOOL && n->b;
}

/* Shape and type without data: nothing was saved. */
static int meta(const struct pickle_node *call, struct tensor *out,
		struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	int rank = torch_ints(pickle_arg(call, 1), dims);
	uint64_t nbytes = 0;
	int rc;

	if (rank < 0)
		return err_set(e, EINVAL, "a tensor of no known shape");
	rc = shape_set(&out->shape, dims, (size_t)rank, e);
	if (rc < 0)
		return rc;
	out->dtype = torch_dtype(pickle_arg(call, 0));
	tensor_nbytes(out, &nbytes);
	out->data = blob_fail(nbytes, ENODATA, "a tensor without data");
	return out->data ? 0 : err_nomem(e, 0);
}

/* The call inside of a parameter, or of a subclass. */
static int unwrap(const struct pickle_node **n, struct torch_tensor *out,
		  struct pickle_node *made, struct err *e)
{
	for (int i = 0; i < WRAPS_MAX; i++) {
		const struct pickle_node *call = *n;

		if (call && call->nitems > 0)
			return err_set(e, EINVAL, "a tensor with items");
		if (is_parameter(call)) {
			out->is_parameter = true;
			*n = pickle_arg(call, 0);
		} else if (is_from_type(call)) {
			*made = (struct pickle_node){
				.kind = PICKLE_OBJECT,
				.callable = pickle_arg(call, 0),
				.args = pickle_arg(call, 2),
			};
			out->extra = pickle_arg(call, 3);
			*n = made;
			if (!made->callable || !made->args)
				break;
		} else {
			return torch_is_tensor(call) || torch_is_array(call)
				       ? 0
				       : err_set(e, EINVAL,
						 "a parameter of no tensor");
		}
	}
	return err_set(e, EINVAL, "a tensor in too many wrappings");
}

static int rebuild_one(struct torch *t, const struct pickle_node *n,
		       struct torch_part *part, struct err *e)
{
	struct tensor *out = &part->tensor;
	const struct pickle_node *flags = NULL;
	enum dtype dtype = DTYPE_NONE;
	int rc;

	if (torch_is_array(n)) {
		rc = torch_array(t, n, out, e);
		if (rc == 0 && out->dtype == DTYPE_NONE)
			part->dtype_text = "unknown";
		return rc;
	}
	if (is_utils(n, "_rebuild_meta_tensor_no_storage"))
		return meta(n, out, e);
	if (is_utils(n, "_rebuild_tensor_v3")) {
		dtype = torch_dtype(pickle_arg(n, 6));
		if (dtype == DTYPE_NONE)
			return err_set(e, EOPNOTSUPP, "unknown element type");
		flags = pickle_arg(n, 7);
	} else if (is_utils(n, "_rebuild_tensor_v2")) {
		flags = pickle_arg(n, 6);
	} else if (!is_utils(n, "_rebuild_tensor")) {
		return err_set(e, EOPNOTSUPP, "a tensor of a kind unknown");
	}
	rc = torch_view(t, n, dtype, out, &part->dtype_text, e);
	if (rc < 0 || out->dtype == DTYPE_NONE)
		return rc;
	return torch_flip_signs(out, is_true(pickle_get(flags, "conj")),
				is_true(pickle_get(flags, "neg")), e);
}

/* These give an array or another tensor as their first argument. */
static bool is_copied(const struct pickle_node *n)
{
	return is_utils(n, "_rebuild_device_tensor_from_numpy") ||
	       is_utils(n, "_rebuild_xla_tensor") ||
	       is_utils(n, "_rebuild_mlc_tensor") ||
	       is_utils(n, "_rebuild_device_tensor_from_cpu_tensor");
}

static int keep_failure(struct torch_part *part, const struct err *why,
			struct err *e)
{
	tensor_drop(&part->tensor);
	part->tensor.shape = shape_of(0, NULL);
	part->tensor.data = blob_fail(0, why->code, why->msg);
	part->dtype_text = "unknown";
	return part->tensor.data ? 0 : err_nomem(e, 0);
}

int torch_rebuild(struct torch *t, const struct pickle_node *n,
		  struct torch_tensor *out, struct err *e)
{
	struct torch_tensor made = {.nparts = 1};
	struct pickle_node call;
	struct err why = {0};
	int rc = unwrap(&n, &made, &call, e);

	if (rc < 0)
		return rc;
	if (is_copied(n) && pickle_arg(n, 0))
		n = pickle_arg(n, 0);
	made.parts[0].suffix = "";
	if (!torch_rebuild_parts(t, n, &made, &rc, &why))
		rc = rebuild_one(t, n, &made.parts[0], &why);
	/* What we do not know how to read is listed all the same. */
	if (rc == -EOPNOTSUPP) {
		made.nparts = 1;
		made.parts[0].suffix = "";
		rc = keep_failure(&made.parts[0], &why, &why);
	}
	if (rc < 0) {
		torch_tensor_drop(&made);
		return err_set(e, why.code, "%s", why.msg);
	}
	*out = made;
	return 0;
}

void torch_tensor_drop(struct torch_tensor *t)
{
	for (size_t i = 0; i < t->nparts; i++)
		tensor_drop(&t->parts[i].tensor);
	t->nparts = 0;
}
