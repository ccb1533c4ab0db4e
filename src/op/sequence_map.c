/* SPDX-License-Identifier: MIT */
/* sequence_map - SequenceMap: a graph run for every item of a sequence. */
#include <stdlib.h>

#include "op/impl.h"

struct items {
	const struct tensor *p; /* NULL: a tensor, the same for all */
	size_t n;
};

/* All sequences are as long as the first. */
static int read_items(struct op_call *c, struct items *v, struct err *e)
{
	for (size_t i = 0; i < c->nin; i++) {
		v[i] = (struct items){0};
		if (!op_has(c, i))
			return op_invalid(c, e, "input %zu is left out", i);
		if (c->in[i].dtype != DTYPE_SEQUENCE)
			continue;
		v[i].p = blob_get_items(c->in[i].data, &v[i].n);
		if (v[i].n != v[0].n || (!v[i].p && v[i].n > 0))
			return op_invalid(c, e, "sequences differ in length");
	}
	if (c->in[0].dtype != DTYPE_SEQUENCE)
		return op_bad_dtype(c, 0, e);
	return 0;
}

static int run_item(struct op_call *c, const struct graph *g,
		    const struct items *v, size_t item, struct tensor *out,
		    struct err *e)
{
	struct tensor *in = calloc(c->nin + 1, sizeof(*in));
	int rc;

	if (!in)
		return err_nomem(e, c->nin * sizeof(*in));
	for (size_t i = 0; i < c->nin; i++)
		in[i] = c->in[i].dtype == DTYPE_SEQUENCE ? v[i].p[item]
							 : c->in[i];
	rc = c->env->run_graph(c->env, c, g, in, c->nin, out, c->nout, e);
	free(in);
	return rc;
}

/* Output o: item 0's, item 1's, … from all[item * nout + o]. */
static int give(struct op_call *c, const struct tensor *all, size_t n, size_t o,
		struct err *e)
{
	struct tensor *column = calloc(n + 1, sizeof(*column));
	struct tensor t = {.dtype = DTYPE_SEQUENCE};
	int rc = 0;

	if (!column)
		return err_nomem(e, n * sizeof(*column));
	for (size_t i = 0; i < n; i++)
		column[i] = all[i * c->nout + o];
	t.shape = shape_of(1, &(int64_t){(int64_t)n});
	t.data = blob_items(column, n);
	free(column);
	if (!t.data)
		return err_nomem(e, n * sizeof(*column));
	rc = op_give(c, o, &t, e);
	blob_unref(t.data);
	return rc;
}

static int eval_map(struct op_call *c, struct err *e)
{
	const struct graph *g = op_attr_graph(c, "body");
	struct tensor *all = NULL;
	struct items *v;
	void *p;
	size_t n = 0;
	int rc = op_temp_array(c, c->nin, sizeof(*v), &p, e);

	v = p;
	if (rc == 0)
		rc = read_items(c, v, e);
	if (rc == 0 && (!g || !c->env->run_graph || g->ninputs != c->nin ||
			g->noutputs != c->nout))
		return op_invalid(c, e, "a body that does not fit");
	if (rc < 0)
		return rc;
	all = calloc(v[0].n + 1, c->nout * sizeof(*all));
	if (!all)
		return err_nomem(e, v[0].n * sizeof(*all));
	for (; n < v[0].n && rc == 0; n++) {
		rc = op_check_stop(c, e);
		if (rc == 0)
			rc = run_item(c, g, v, n, all + n * c->nout, e);
	}
	for (size_t o = 0; o < c->nout && rc == 0; o++)
		rc = give(c, all, n, o, e);
	for (size_t i = 0; i < v[0].n * c->nout; i++)
		tensor_drop(&all[i]);
	free(all);
	return rc;
}

static int infer_map(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(1, &(int64_t){DIM_UNKNOWN});

	(void)e;
	for (size_t i = 0; i < c->nout; i++)
		op_out(c, i, DTYPE_SEQUENCE, &s);
	return 0;
}

const struct op ops_sequence_map[] = {
	{ONNX, "SequenceMap", 17, 1, OP_VARIADIC, 1, OP_VARIADIC, 0, 0,
	 infer_map, eval_map},
	{0},
};
