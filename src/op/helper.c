/* SPDX-License-Identifier: MIT */
/* helper - attributes, axes, shapes and errors, for all families. */
#include <stdarg.h>
#include <stdio.h>

#include "kernel/fast.h"
#include "kernel/stride.h"
#include "op/impl.h"

/* ---- attributes ---- */
static const struct attr *attr_of(const struct op_call *c, const char *name,
				  enum attr_kind kind)
{
	const struct attr *a = node_attr(c->node, name);

	return a && a->kind == kind ? a : NULL;
}

int64_t op_attr_int(const struct op_call *c, const char *name, int64_t def)
{
	const struct attr *a = attr_of(c, name, ATTR_INT);

	return a ? a->i : def;
}

float op_attr_float(const struct op_call *c, const char *name, float def)
{
	const struct attr *a = attr_of(c, name, ATTR_FLOAT);

	return a ? a->f : def;
}

const char *op_attr_str(const struct op_call *c, const char *name,
			const char *def)
{
	const struct attr *a = attr_of(c, name, ATTR_STRING);

	return a ? a->s.p : def;
}

/* An empty list may come as any kind of list. */
static const struct attr *list_of(const struct op_call *c, const char *name,
				  enum attr_kind kind)
{
	const struct attr *a = node_attr(c->node, name);

	if (!a || (a->kind != kind && a->n > 0) || a->kind < ATTR_FLOATS)
		return NULL;
	return a;
}

bool op_attr_ints(const struct op_call *c, const char *name, const int64_t **v,
		  size_t *n)
{
	const struct attr *a = list_of(c, name, ATTR_INTS);

	*v = a ? a->ints : NULL;
	*n = a ? a->n : 0;
	return a != NULL;
}

bool op_attr_floats(const struct op_call *c, const char *name, const float **v,
		    size_t *n)
{
	const struct attr *a = list_of(c, name, ATTR_FLOATS);

	*v = a ? a->floats : NULL;
	*n = a ? a->n : 0;
	return a != NULL;
}

bool op_attr_strings(const struct op_call *c, const char *name,
		     const struct span **v, size_t *n)
{
	const struct attr *a = list_of(c, name, ATTR_STRINGS);

	*v = a ? a->strings : NULL;
	*n = a ? a->n : 0;
	return a != NULL;
}

const struct tensor *op_attr_tensor(const struct op_call *c, const char *name)
{
	const struct attr *a = attr_of(c, name, ATTR_TENSOR);

	return a ? a->t : NULL;
}

const struct graph *op_attr_graph(const struct op_call *c, const char *name)
{
	const struct attr *a = attr_of(c, name, ATTR_GRAPH);

	return a ? a->g : NULL;
}

/* ---- errors ---- */
int op_invalid(const struct op_call *c, struct err *e, const char *fmt, ...)
{
	char text[160], quoted[ERR_QUOTED];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_quote(quoted, c->node->name, strlen(c->node->name));
	return err_set(e, EINVAL, "node %s (%s): %s", quoted, c->op->type,
		       text);
}

int op_bad_dtype(const struct op_call *c, size_t i, struct err *e)
{
	char quoted[ERR_QUOTED];

	err_quote(quoted, c->node->name, strlen(c->node->name));
	return err_set(e, EOPNOTSUPP, "node %s (%s): input %zu of type %s",
		       quoted, c->op->type, i, dtype_name(op_dtype(c, i)));
}

int op_unsupported(const struct op_call *c, struct err *e, const char *what)
{
	char quoted[ERR_QUOTED];

	err_quote(quoted, c->node->name, strlen(c->node->name));
	return err_set(e, EOPNOTSUPP, "node %s (%s): %s", quoted, c->op->type,
		       what);
}

static int too_large(const struct op_call *c, struct err *e)
{
	char quoted[ERR_QUOTED];

	err_quote(quoted, c->node->name, strlen(c->node->name));
	return err_set(e, EFBIG, "node %s (%s): an extent is too large", quoted,
		       c->op->type);
}

/* ---- inputs ---- */
const struct shape *op_shape(const struct op_call *c, size_t i)
{
	static const struct shape unknown = {.rank = -1};

	return op_has(c, i) ? &c->in[i].shape : &unknown;
}

enum dtype op_dtype(const struct op_call *c, size_t i)
{
	return op_has(c, i) ? c->in[i].dtype : DTYPE_NONE;
}

int op_in(struct op_call *c, size_t i, enum num *t, const void **out,
	  struct err *e)
{
	enum dtype compute = op_compute_type(op_dtype(c, i));

	if (!op_num(compute, t))
		return op_bad_dtype(c, i, e);
	return op_data_as(c, i, compute, out, e);
}

int op_in_f32(struct op_call *c, size_t i, const float **out, struct err *e)
{
	const void *p = NULL;
	int rc = op_data_as(c, i, DTYPE_F32, &p, e);

	*out = p;
	return rc;
}

int op_in_i64(struct op_call *c, size_t i, const int64_t **out, struct err *e)
{
	const void *p = NULL;
	int rc;

	if (op_has(c, i) && !op_is_int(c->in[i].dtype))
		return op_bad_dtype(c, i, e);
	rc = op_data_as(c, i, DTYPE_I64, &p, e);
	*out = p;
	return rc;
}

int op_indices(struct op_call *c, size_t i, int64_t dim, const int64_t **out,
	       struct err *e)
{
	uint64_t n = op_nelems(c, i);
	const int64_t *v;
	void *p;
	int64_t *idx;
	int rc = op_in_i64(c, i, &v, e);

	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(*idx), &p, e);
	if (rc < 0)
		return rc;
	idx = p;
	for (uint64_t k = 0; k < n; k++) {
		if (v[k] < -dim || v[k] >= dim)
			return op_invalid(c, e, "index %lld of %lld",
					  (long long)v[k], (long long)dim);
		idx[k] = v[k] < 0 ? v[k] + dim : v[k];
	}
	*out = idx;
	return 0;
}

int op_ints(struct op_call *c, size_t i, int64_t *out, size_t max, size_t *n,
	    struct err *e)
{
	uint64_t count;

	if (!op_known(c, i))
		return 1;
	count = op_nelems(c, i);
	if (count > max || c->in[i].shape.rank > 1)
		return op_invalid(c, e, "input %zu has %llu elements", i,
				  (unsigned long long)count);
	if (!op_is_int(c->in[i].dtype))
		return op_bad_dtype(c, i, e);
	*n = count;
	if (op_convert(&(struct kernel){0}, c->in[i].dtype, op_data(c, i),
		       DTYPE_I64, out, count, false) < 0)
		return op_bad_dtype(c, i, e);
	return 0;
}

/* 0: *out points to it, or is NULL where it is left out; 1: not known yet. */
static int find_scalar(struct op_call *c, size_t i, enum dtype t,
		       const void **out, struct err *e)
{
	*out = NULL;
	if (!op_has(c, i))
		return 0;
	if (!op_known(c, i))
		return 1;
	if (op_nelems(c, i) != 1)
		return op_invalid(c, e, "input %zu is no scalar", i);
	return op_data_as(c, i, t, out, e);
}

int op_scalar_int(struct op_call *c, size_t i, int64_t def, int64_t *out,
		  struct err *e)
{
	const void *p;
	int rc = find_scalar(c, i, DTYPE_I64, &p, e);

	*out = rc == 0 && p ? *(const int64_t *)p : def;
	return rc;
}

int op_scalar_float(struct op_call *c, size_t i, double def, double *out,
		    struct err *e)
{
	const void *p;
	int rc = find_scalar(c, i, DTYPE_F64, &p, e);

	*out = rc == 0 && p ? *(const double *)p : def;
	return rc;
}

int op_axis(const struct op_call *c, int64_t axis, int32_t rank, int32_t *out,
	    struct err *e)
{
	if (axis < -(int64_t)rank || axis >= rank)
		return op_invalid(c, e, "axis %lld of rank %d", (long long)axis,
				  rank);
	*out = (int32_t)(axis < 0 ? axis + rank : axis);
	return 0;
}

int op_axes(struct op_call *c, const char *attr, size_t i, int32_t rank,
	    int32_t axes[SHAPE_RANK_MAX], size_t *n, struct err *e)
{
	int64_t given[SHAPE_RANK_MAX];
	const int64_t *v = given;
	uint32_t seen = 0;
	size_t count = 0;

	if (!op_attr_ints(c, attr, &v, &count) && op_has(c, i)) {
		int rc = op_ints(c, i, given, SHAPE_RANK_MAX, &count, e);

		if (rc != 0)
			return rc;
		v = given;
	}
	if (count > SHAPE_RANK_MAX)
		return op_invalid(c, e, "%zu axes", count);
	for (size_t k = 0; k < count; k++) {
		int rc = op_axis(c, v[k], rank, &axes[k], e);

		if (rc < 0)
			return rc;
		if (seen & 1u << axes[k])
			return op_invalid(c, e, "axis %d twice", axes[k]);
		seen |= 1u << axes[k];
	}
	*n = count;
	return 0;
}

int op_need_rank(const struct op_call *c, size_t i, int32_t lo, int32_t hi,
		 struct err *e)
{
	int32_t rank = op_shape(c, i)->rank;

	if (!op_has(c, i) || rank < 0 || (rank >= lo && rank <= hi))
		return 0;
	return op_invalid(c, e, "input %zu has rank %d", i, rank);
}

/* ---- outputs ---- */
int op_out_as(struct op_call *c, size_t i, enum dtype t, const struct shape *s,
	      void **out, struct err *e)
{
	return op_alloc_as(c, i, t, op_compute_type(t), s, out, e);
}

bool op_is_short_float(enum dtype t)
{
	return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16;
}

int op_join(struct op_call *c, struct finish *f, struct err *e)
{
	int rc = 0;

	f->round = c->in[0].dtype == DTYPE_F16	  ? ROUND_FLOAT16
		   : c->in[0].dtype == DTYPE_BF16 ? ROUND_BFLOAT16
						  : ROUND_NONE;

	for (size_t i = 0; i < c->nfollowers && rc == 0; i++) {
		struct op_call *n = &c->followers[i];

		rc = n->op->join(n, n->flow, f, e);
	}
	if (rc == 0)
		finish_settle(f);
	return rc;
}

int infer_same(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, c->in[0].dtype, &c->in[0].shape);
	return 0;
}

int infer_broadcast(struct op_call *c, struct err *e)
{
	struct shape s = c->in[0].shape;

	for (size_t i = 1; i < c->nin; i++) {
		int rc = op_broadcast(c, &s, &c->in[i].shape, &s, e);

		if (rc < 0)
			return rc;
	}
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

/* ---- broadcasting ---- */
void op_stride_plan(struct stride_plan *p, const struct shape *out,
		    const struct shape *const in[], size_t nin)
{
	memset(p, 0, sizeof(*p));
	p->rank = (size_t)out->rank;
	p->nin = nin;
	for (int32_t d = 0; d < out->rank; d++)
		p->dims[d] = (size_t)out->dims[d];
	for (size_t i = 0; i < nin; i++) {
		int32_t skip = out->rank - in[i]->rank;
		size_t step = 1;

		for (int32_t d = out->rank - 1; d >= skip; d--) {
			size_t dim = (size_t)in[i]->dims[d - skip];

			p->step[i][d] = dim == 1 ? 0 : step;
			step *= dim;
		}
	}
	stride_collapse(p);
}

/* ---- shapes ---- */
static int broadcast_dim(const struct op_call *c, int64_t a, int64_t b,
			 int64_t *out, struct err *e)
{
	if (a == b || b == 1) {
		*out = a;
	} else if (a == 1) {
		*out = b;
	} else if (a == DIM_UNKNOWN || b == DIM_UNKNOWN) {
		/* The known one is neither 1 nor unknown: it decides. */
		*out = a == DIM_UNKNOWN ? b : a;
	} else {
		return op_invalid(c, e, "extents %lld and %lld", (long long)a,
				  (long long)b);
	}
	return 0;
}

int op_broadcast(const struct op_call *c, const struct shape *a,
		 const struct shape *b, struct shape *out, struct err *e)
{
	struct shape s = {0};

	if (a->rank < 0 || b->rank < 0) {
		*out = shape_unknown();
		return 0;
	}
	s.rank = a->rank > b->rank ? a->rank : b->rank;
	for (int32_t i = 0; i < s.rank; i++) {
		int32_t ia = i - (s.rank - a->rank);
		int32_t ib = i - (s.rank - b->rank);
		int rc = broadcast_dim(c, ia < 0 ? 1 : a->dims[ia],
				       ib < 0 ? 1 : b->dims[ib], &s.dims[i], e);

		if (rc < 0)
			return rc;
	}
	*out = s;
	return 0;
}

uint64_t shape_span(const struct shape *s, int32_t from, int32_t to)
{
	uint64_t n = 1;

	for (int32_t i = from; i < to; i++)
		n *= (uint64_t)s->dims[i];
	return n;
}

int op_count(const struct op_call *c, const struct shape *s, uint64_t *n,
	     struct err *e)
{
	return shape_nelems(s, n) ? 0 : too_large(c, e);
}

int op_mul(const struct op_call *c, int64_t a, int64_t b, int64_t *out,
	   struct err *e)
{
	return __builtin_mul_overflow(a, b, out) ? too_large(c, e) : 0;
}

int op_add(const struct op_call *c, int64_t a, int64_t b, int64_t *out,
	   struct err *e)
{
	return __builtin_add_overflow(a, b, out) ? too_large(c, e) : 0;
}
