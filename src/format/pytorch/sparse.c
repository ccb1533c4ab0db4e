/* SPDX-License-Identifier: MIT */
/*
 * sparse - tensors that consist of several: quantised per channel, sparse,
 * nested.  Each part is shown as a parameter of its own (weight.indices);
 * nothing is put together.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/pytorch/pytorch.h"

static bool is_utils(const struct pickle_node *n, const char *name)
{
	return pickle_is_call(n, "torch._utils", name);
}

/* Adds a part that is a tensor itself. */
static int add_part(struct torch *t, struct torch_tensor *out,
		    const char *suffix, const struct pickle_node *n,
		    struct err *e)
{
	struct torch_tensor inner;
	int rc;

	if (out->nparts == TORCH_PARTS_MAX || !torch_is_tensor(n))
		return err_set(e, EINVAL, "%s is no tensor", suffix);
	/* Parts have no parts. */
	if (!is_utils(n, "_rebuild_tensor_v2") &&
	    !is_utils(n, "_rebuild_tensor_v3") &&
	    !is_utils(n, "_rebuild_tensor"))
		return err_set(e, EOPNOTSUPP, "%s is no plain tensor", suffix);
	rc = torch_rebuild(t, n, &inner, e);
	if (rc < 0)
		return rc;
	out->parts[out->nparts] = inner.parts[0];
	out->parts[out->nparts].suffix = suffix;
	out->nparts++;
	return 0;
}

/* Adds a part that is one number of 8 bytes. */
static int add_number(struct torch_tensor *out, const char *suffix,
		      enum dtype dtype, const void *number, struct err *e)
{
	struct torch_part *part = &out->parts[out->nparts];

	*part = (struct torch_part){
		.suffix = suffix,
		.tensor = {.dtype = dtype, .data = blob_copy(number, 8)},
	};
	if (!part->tensor.data)
		return err_nomem(e, 8);
	out->nparts++;
	return 0;
}

/* The layout: a global torch.sparse_coo, or _get_layout("torch.sparse_coo"). */
static const char *layout_of(const struct pickle_node *n)
{
	static const char *const names[] = {"sparse_coo", "sparse_csr",
					    "sparse_csc", "sparse_bsr",
					    "sparse_bsc"};
	const struct pickle_text *s = NULL;

	if (pickle_is_call(n, "torch.serialization", "_get_layout"))
		n = pickle_arg(n, 0);
	if (n && n->kind == PICKLE_STRING)
		s = &n->s;
	else if (n && n->kind == PICKLE_GLOBAL)
		s = &n->name;
	for (size_t i = 0; s && i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);

		if (s->len >= len &&
		    memcmp(s->p + s->len - len, names[i], len) == 0)
			return names[i];
	}
	return NULL;
}

static int rebuild_sparse(struct torch *t, const struct pickle_node *call,
			  struct torch_tensor *out, struct err *e)
{
	const struct pickle_node *data = pickle_arg(call, 1);
	bool by_column;
	int rc;

	out->layout = layout_of(pickle_arg(call, 0));
	if (!out->layout || !data || data->kind != PICKLE_TUPLE)
		return err_set(e, EINVAL, "a sparse tensor of no layout");
	out->size =
		pickle_item(data, strcmp(out->layout, "sparse_coo") ? 3 : 2);
	if (strcmp(out->layout, "sparse_coo") == 0) {
		rc = add_part(t, out, ".indices", pickle_item(data, 0), e);
		return rc < 0 ? rc
			      : add_part(t, out, ".values",
					 pickle_item(data, 1), e);
	}
	/* csc and bsc are compressed by column */
	by_column = out->layout[9] == 'c';
	rc = add_part(t, out, by_column ? ".ccol_indices" : ".crow_indices",
		      pickle_item(data, 0), e);
	if (rc == 0)
		rc = add_part(t, out,
			      by_column ? ".row_indices" : ".col_indices",
			      pickle_item(data, 1), e);
	if (rc == 0)
		rc = add_part(t, out, ".values", pickle_item(data, 2), e);
	return rc;
}

static int rebuild_nested(struct torch *t, const struct pickle_node *call,
			  struct torch_tensor *out, struct err *e)
{
	static const char *const suffix[] = {".buffer", ".sizes", ".strides",
					     ".offsets"};
	int rc = 0;

	out->layout = "nested";
	for (size_t i = 0; rc == 0 && i < 4; i++)
		if (torch_is_tensor(pickle_arg(call, i)))
			rc = add_part(t, out, suffix[i], pickle_arg(call, i),
				      e);
	return rc;
}

/* (scheme, scale, zero) or (scheme, scales, zeros, axis). */
static int read_scheme(struct torch *t, const struct pickle_node *scheme,
		       struct torch_tensor *out, struct err *e)
{
	const struct pickle_node *scale = pickle_item(scheme, 1);
	const struct pickle_node *zero = pickle_item(scheme, 2);
	const struct pickle_node *axis = pickle_item(scheme, 3);
	int32_t rank = out->parts[0].tensor.shape.rank;
	int rc;

	if (scale && scale->kind == PICKLE_FLOAT && zero &&
	    zero->kind == PICKLE_INT) {
		rc = add_number(out, ".scale", DTYPE_F64, &scale->f, e);
		return rc < 0 ? rc
			      : add_number(out, ".zero_point", DTYPE_I64,
					   &zero->i, e);
	}
	if (!axis || axis->kind != PICKLE_INT || axis->i < 0 || axis->i >= rank)
		return err_set(e, EINVAL, "a quantised tensor of no scale");
	rc = add_part(t, out, ".scale", scale, e);
	if (rc == 0)
		rc = add_part(t, out, ".zero_point", zero, e);
	if (rc < 0)
		return rc;
	for (size_t i = 1; i < 3; i++) {
		const struct shape *s = &out->parts[i].tensor.shape;

		if (s->rank != 1 ||
		    s->dims[0] != out->parts[0].tensor.shape.dims[axis->i])
			return err_set(e, EINVAL,
				       "as many scales as channels needed");
	}
	out->has_axis = true;
	out->axis = axis->i;
	return 0;
}

static int rebuild_quantized(struct torch *t, const struct pickle_node *call,
			     struct torch_tensor *out, struct err *e)
{
	struct torch_part *part = &out->parts[0];
	int rc = torch_view(t, call, DTYPE_NONE, &part->tensor,
			    &part->dtype_text, e);

	if (rc < 0)
		return rc;
	part->suffix = "";
	out->nparts = 1;
	return read_scheme(t, pickle_arg(call, 4), out, e);
}

bool torch_rebuild_parts(struct torch *t, const struct pickle_node *call,
			 struct torch_tensor *out, int *rc, struct err *e)
{
	bool is_sparse = is_utils(call, "_rebuild_sparse_tensor") ||
			 is_utils(call, "_rebuild_sparse_csr_tensor");
	bool is_nested = is_utils(call, "_rebuild_nested_tensor");

	if (!is_sparse && !is_nested && !is_utils(call, "_rebuild_qtensor"))
		return false;
	out->nparts = 0;
	if (is_sparse)
		*rc = rebuild_sparse(t, call, out, e);
	else if (is_nested)
		*rc = rebuild_nested(t, call, out, e);
	else
		*rc = rebuild_quantized(t, call, out, e);
	if (*rc == -EOPNOTSUPP)
		torch_tensor_drop(out);
	return true;
}
