/* SPDX-License-Identifier: MIT */
/* constant - Constant nodes, whose tensor is in one of eight attributes. */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/onnx/onnx.h"

bool onnx_is_constant(const struct node *n)
{
	return n->domain[0] == '\0' && strcmp(n->type, "Constant") == 0 &&
	       n->nout == 1 && n->out[0] != NO_VALUE;
}

static int from_bytes(struct tensor *out, enum dtype t, const void *data,
		      size_t nbytes, struct err *e)
{
	out->dtype = t;
	out->data = blob_copy(data, nbytes);
	return out->data ? 0 : err_nomem(e, nbytes);
}

static int from_strings(struct tensor *out, const struct span *s, size_t n,
			struct err *e)
{
	struct string_list *l = string_list_new();
	int rc = l ? 0 : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = string_list_add(l, s[i].p, s[i].len);
	if (rc < 0) {
		string_list_free(l);
		return err_nomem(e, n);
	}
	out->dtype = DTYPE_STRING;
	out->data = string_list_finish(l);
	return out->data ? 0 : err_nomem(e, n);
}

static int from_attr(const struct attr *a, struct tensor *out, struct err *e)
{
	int64_t n = (int64_t)a->n;

	switch (a->kind) {
	case ATTR_TENSOR:
		*out = tensor_ref(a->t);
		return 0;
	case ATTR_FLOAT:
		return from_bytes(out, DTYPE_F32, &a->f, sizeof(a->f), e);
	case ATTR_INT:
		return from_bytes(out, DTYPE_I64, &a->i, sizeof(a->i), e);
	case ATTR_STRING:
		return from_strings(out, &a->s, 1, e);
	default:
		out->shape = shape_of(1, &n);
	}
	switch (a->kind) {
	case ATTR_FLOATS:
		return from_bytes(out, DTYPE_F32, a->floats,
				  a->n * sizeof(float), e);
	case ATTR_INTS:
		return from_bytes(out, DTYPE_I64, a->ints,
				  a->n * sizeof(int64_t), e);
	case ATTR_STRINGS:
		return from_strings(out, a->strings, a->n, e);
	default:
		return 0;
	}
}

int onnx_constant(const struct node *n, struct tensor *out, struct err *e)
{
	static const char *const forms[] = {
		"value",      "value_float",  "value_floats",  "value_int",
		"value_ints", "value_string", "value_strings", "sparse_value",
	};
	struct tensor made = {.dtype = DTYPE_NONE};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const struct attr *a = node_attr(n, forms[i]);
		int rc;

		if (!a)
			continue;
		rc = from_attr(a, &made, e);
		if (rc < 0)
			return rc;
		break;
	}
	*out = made;
	return 0;
}
