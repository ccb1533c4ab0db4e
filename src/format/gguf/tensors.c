/* SPDX-License-Identifier: MIT */
/* tensors - where the tensors of a file lie, and making parameters of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/gguf/gguf.h"

/* A missing last pad is fine: a tensor ends where its data ends. */
static int check_place(const struct gguf *g, const struct gguf_tensor *t,
		       struct err *e)
{
	uint64_t size = source_size(g->src);
	uint64_t data = size > g->data_off ? size - g->data_off : 0;

	if (t->off % g->alignment != 0)
		return err_set(e, EINVAL, "data at %llu, no multiple of %llu",
			       (unsigned long long)t->off,
			       (unsigned long long)g->alignment);
	if (t->off > data || t->nbytes > data - t->off)
		return err_set(e, EINVAL,
			       "data at %llu + %llu, beyond the end (%llu)",
			       (unsigned long long)t->off,
			       (unsigned long long)t->nbytes,
			       (unsigned long long)data);
	return 0;
}

static int by_place(const void *pa, const void *pb)
{
	const struct gguf_tensor *const *a = pa, *const *b = pb;

	if ((*a)->off != (*b)->off)
		return (*a)->off < (*b)->off ? -1 : 1;
	return *a < *b ? -1 : 1;
}

/* bad[i]: why tensor i cannot be read; all places are in the file. */
static int find_overlaps(const struct gguf *g, bool *bad, struct err *e)
{
	const struct gguf_tensor **order;
	uint64_t end = 0, n = 0;

	order = calloc(g->ntensors + 1, sizeof(const struct gguf_tensor *));
	if (!order)
		return err_nomem(e, g->ntensors * sizeof(*order));
	for (uint64_t i = 0; i < g->ntensors; i++)
		if (g->tensors[i].nbytes > 0 && !bad[i])
			order[n++] = &g->tensors[i];
	if (n > 0)
		qsort(order, n, sizeof(*order), by_place);
	for (uint64_t i = 0; i < n; i++) {
		if (order[i]->off < end)
			bad[order[i] - g->tensors] = true;
		else
			end = order[i]->off + order[i]->nbytes;
	}
	free(order);
	return 0;
}

static int make_data(const struct gguf *g, const struct gguf_tensor *t,
		     const char *bad, struct blob **out, struct err *e)
{
	int rc;

	if (bad)
		*out = blob_fail(0, EIO, bad);
	else if (t->dtype == DTYPE_NONE)
		*out = blob_fail(0, EOPNOTSUPP, "unknown element type");
	else {
		rc = blob_file(g->src, g->data_off + t->off, t->nbytes, out, e);
		if (rc < 0)
			return rc;
	}
	if (*out && g->is_swapped && !bad)
		*out = blob_swap_dtype(*out, t->dtype);
	return *out ? 0 : err_nomem(e, 0);
}

static int add_param(const struct gguf *g, const struct gguf_tensor *t,
		     const char *bad, struct model *m, struct err *e)
{
	struct param_spec spec = {.full_name = t->name,
				  .tensor = {.dtype = t->dtype}};
	int64_t dims[GGUF_RANK_MAX];
	char unknown[16];
	int rc;

	for (uint32_t i = 0; i < t->rank; i++)
		dims[i] = t->dims[t->rank - 1 - i];
	rc = shape_set(&spec.tensor.shape, dims, t->rank, e);
	if (rc == 0)
		rc = model_path(m, model_root(m), t->name.p, t->name.len, ".",
				&spec.module, &spec.name, e);
	if (rc < 0)
		return rc;
	if (gguf_dtype(t->type, unknown) == DTYPE_NONE)
		spec.dtype_text = unknown;
	rc = make_data(g, t, bad, &spec.tensor.data, e);
	return rc == 0 ? model_param(m, &spec, NULL, e) : rc;
}

static int add_all(struct gguf *g, const bool *bad, struct model *m,
		   struct err *e)
{
	for (uint64_t i = 0; i < g->ntensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];
		char quoted[ERR_QUOTED];
		struct err why = {0};
		int rc = check_place(g, t, &why);

		if (rc == 0 && bad[i])
			rc = err_set(&why, EINVAL,
				     "data overlaps another tensor's");
		if (rc < 0 && !m->lenient)
			return err_set(
				e, EINVAL, "%s: %s",
				err_quote(quoted, t->name.p, t->name.len),
				why.msg);
		rc = add_param(g, t, rc < 0 ? why.msg : NULL, m, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int gguf_tensors(struct gguf *g, struct model *m, struct err *e)
{
	bool *bad = calloc(g->ntensors + 1, sizeof(*bad));
	int rc = 0;

	if (!bad)
		return err_nomem(e, g->ntensors);
	for (uint64_t i = 0; i < g->ntensors; i++)
		bad[i] = check_place(g, &g->tensors[i], NULL) < 0;
	rc = find_overlaps(g, bad, e);
	if (rc == 0)
		rc = add_all(g, bad, m, e);
	free(bad);
	return rc;
}
