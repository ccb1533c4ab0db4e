/* SPDX-License-Identifier: MIT */
/* search - which elements: NonZero, Compress, TopK, Unique. */
#include "kernel/sort.h"

#include "kernel/copy.h"
#include "kernel/convert.h"
#include "op/impl.h"

/* Elements between two looks at whether to stop. */
#define STOP_AFTER 65536

/* ---- NonZero ---- */
static int infer_nonzero(struct op_call *c, struct err *e)
{
	int64_t dims[2] = {op_shape(c, 0)->rank, DIM_UNKNOWN};
	struct shape s = shape_of(2, dims);

	(void)e;
	op_out(c, 0, DTYPE_I64, &s);
	return 0;
}

static int truth(struct op_call *c, size_t i, const uint8_t **out,
		 struct err *e)
{
	uint64_t n = op_nelems(c, i);
	const void *in;
	enum num t;
	void *p;
	int rc = op_in(c, i, &t, &in, e);

	if (rc == 0)
		rc = op_temp(c, n, &p, e);
	if (rc < 0)
		return rc;
	convert_to_bool(t, in, p, n);
	*out = p;
	return 0;
}

static uint64_t count_true(const uint8_t *v, uint64_t n)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < n; i++)
		count += v[i];
	return count;
}

static int eval_nonzero(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	uint64_t n = op_nelems(c, 0), count, at = 0;
	const uint8_t *v;
	int64_t *o;
	struct shape s;
	void *out;
	int rc = truth(c, 0, &v, e);

	if (rc < 0)
		return rc;
	count = count_true(v, n);
	s = shape_of(2, (int64_t[]){in->rank, (int64_t)count});
	rc = op_alloc(c, 0, DTYPE_I64, &s, &out, e);
	if (rc < 0)
		return rc;
	o = out;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t rest = i;

		if (!v[i])
			continue;
		for (int32_t d = in->rank; d-- > 0;) {
			uint64_t dim = (uint64_t)in->dims[d];

			o[(uint64_t)d * count + at] = (int64_t)(rest % dim);
			rest /= dim;
		}
		at++;
		if (at % STOP_AFTER == 0 && kernel_stopped(&c->env->kernel))
			break;
	}
	return 0;
}

/* ---- Compress ---- */
static int infer_compress(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	int32_t axis;
	int rc;

	if (!node_attr(c->node, "axis")) {
		s = shape_of(1, &(int64_t){DIM_UNKNOWN});
	} else if (s.rank >= 0) {
		rc = op_axis(c, op_attr_int(c, "axis", 0), s.rank, &axis, e);
		if (rc < 0)
			return rc;
		s.dims[axis] = DIM_UNKNOWN;
	}
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static int eval_compress(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	struct gather_plan p = {.outer = 1};
	uint64_t n = op_nelems(c, 1);
	const uint8_t *v;
	const void *in;
	int32_t axis = 0;
	void *idx, *out;
	int rc = truth(c, 1, &v, e);

	if (!node_attr(c->node, "axis"))
		s = shape_of(1, &(int64_t){(int64_t)op_nelems(c, 0)});
	if (rc == 0)
		rc = op_axis(c, op_attr_int(c, "axis", 0), s.rank, &axis, e);
	if (rc == 0 && n > (uint64_t)s.dims[axis])
		return op_invalid(c, e, "a condition of %llu",
				  (unsigned long long)n);
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(int64_t), &idx, e);
	if (rc == 0)
		rc = op_elems(c, 0, &in, &p.block, e);
	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n; i++) {
		if (v[i])
			((int64_t *)idx)[p.n++] = (int64_t)i;
	}
	p.idx = idx;
	p.outer = shape_span(&s, 0, axis);
	p.dim = (size_t)s.dims[axis];
	p.block *= shape_span(&s, axis + 1, s.rank);
	s.dims[axis] = (int64_t)p.n;
	rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc == 0 && p.block > 0)
		copy_gather(&c->env->kernel, &p, in, out);
	return rc;
}

/* ---- TopK ---- */
static int topk_k(struct op_call *c, int64_t *k, struct err *e)
{
	if (c->op->max_in > 1)
		return op_scalar_int(c, 1, 0, k, e);
	*k = op_attr_int(c, "k", -1);
	return 0;
}

static int infer_topk(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	int64_t k;
	int32_t axis;
	int rc = topk_k(c, &k, e);

	if (rc < 0)
		return rc;
	if (s.rank >= 0) {
		int bad = op_axis(c, op_attr_int(c, "axis", -1), s.rank, &axis,
				  e);

		if (bad < 0)
			return bad;
		if (rc == 0 && (k < 0 || (s.dims[axis] != DIM_UNKNOWN &&
					  k > s.dims[axis])))
			return op_invalid(c, e, "k of %lld", (long long)k);
		s.dims[axis] = rc ? DIM_UNKNOWN : k;
	}
	op_out(c, 0, c->in[0].dtype, &s);
	op_out(c, 1, DTYPE_I64, &s);
	return 0;
}

struct topk {
	const struct kernel *kernel;
	enum num t;
	const char *in;
	char *values;
	int64_t *indices, *tmp; /* tmp: 2 * dim for every row */
	size_t dim, k, inner;
	bool largest;
};

static void topk_rows(void *ctx, size_t begin, size_t end)
{
	const struct topk *t = ctx;
	size_t size = num_size(t->t);

	for (size_t row = begin; row < end; row++) {
		size_t at = row / t->inner * t->inner * t->dim + row % t->inner;
		size_t to = row / t->inner * t->inner * t->k + row % t->inner;
		int64_t *idx = t->tmp + row * 2 * t->dim;

		for (size_t i = 0; i < t->dim; i++)
			idx[i] = (int64_t)i;
		sort_indices(t->kernel, t->t, t->in + at * size, t->inner,
			     t->largest, idx, idx + t->dim, t->dim);
		if (kernel_stopped(t->kernel))
			return;
		for (size_t i = 0; i < t->k; i++) {
			size_t o = to + i * t->inner;

			t->indices[o] = idx[i];
			memcpy(t->values + o * size,
			       t->in + (at + (size_t)idx[i] * t->inner) * size,
			       size);
		}
	}
}

static int eval_topk(struct op_call *c, struct err *e)
{
	struct topk t = {.kernel = &c->env->kernel,
			 .largest = op_attr_int(c, "largest", 1) != 0};
	const struct shape *in = op_shape(c, 0);
	const void *src;
	struct shape s;
	void *values, *indices, *tmp;
	int32_t axis;
	int rc = infer_topk(c, e);

	if (rc == 0)
		rc = op_axis(c, op_attr_int(c, "axis", -1), in->rank, &axis, e);
	if (rc == 0)
		rc = op_in(c, 0, &t.t, &src, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = op_out_as(c, 0, c->in[0].dtype, &s, &values, e);
	if (rc == 0)
		rc = op_alloc(c, 1, DTYPE_I64, &s, &indices, e);
	if (rc == 0)
		rc = op_temp_array(c, op_nelems(c, 0), 2 * sizeof(int64_t),
				   &tmp, e);
	if (rc < 0 || op_nelems(c, 0) == 0)
		return rc;
	t.in = src;
	t.values = values;
	t.indices = indices;
	t.tmp = tmp;
	t.dim = (size_t)in->dims[axis];
	t.k = (size_t)s.dims[axis];
	t.inner = shape_span(in, axis + 1, in->rank);
	kernel_for(&c->env->kernel, op_nelems(c, 0) / t.dim,
		   op_grain(20 * t.dim), topk_rows, &t);
	return 0;
}

/* ---- Unique ---- */
static int infer_unique(struct op_call *c, struct err *e)
{
	struct shape one = shape_of(1, &(int64_t){DIM_UNKNOWN});
	int rc = infer_compress(c, e);

	for (size_t i = 1; i < c->nout; i++)
		op_out(c, i, DTYPE_I64, &one);
	return rc;
}

struct unique {
	const struct kernel *kernel;
	enum num t;
	const void *in; /* numbers, or spans */
	bool strings;
	size_t dim, outer, inner;
};

static int compare_span(const struct span *a, const struct span *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int order = n ? memcmp(a->p, b->p, n) : 0;

	return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* Compares two slabs of the axis, element by element. */
static int compare_slabs(const struct unique *u, size_t a, size_t b)
{
	for (size_t o = 0; o < u->outer; o++) {
		for (size_t i = 0; i < u->inner; i++) {
			size_t x = (o * u->dim + a) * u->inner + i;
			size_t y = (o * u->dim + b) * u->inner + i;
			const struct span *s = u->in;
			int order = u->strings
					    ? compare_span(&s[x], &s[y])
					    : sort_compare(u->t, u->in, x, y);

			if (order)
				return order;
		}
	}
	return 0;
}

static void sort_slabs(const struct unique *u, int64_t *idx, int64_t *tmp)
{
	for (size_t width = 1; width < u->dim; width *= 2) {
		for (size_t lo = 0; lo < u->dim; lo += 2 * width) {
			size_t mid = lo + width < u->dim ? lo + width : u->dim;
			size_t hi = mid + width < u->dim ? mid + width : u->dim;
			size_t a = lo, b = mid;

			for (size_t k = lo; k < hi; k++) {
				bool take_b =
					a >= mid ||
					(b < hi &&
					 compare_slabs(u, (size_t)idx[b],
						       (size_t)idx[a]) < 0);

				tmp[k] = take_b ? idx[b++] : idx[a++];
				if (k % STOP_AFTER == 0 &&
				    kernel_stopped(u->kernel))
					return;
			}
		}
		memcpy(idx, tmp, u->dim * sizeof(*idx));
	}
}

/*
 * From the sorted slabs: first[k] the first slab of group k, group[i] the
 * group of slab i, count[k].  Groups in order of value or of appearance.
 */
static size_t make_groups(const struct unique *u, const int64_t *idx,
			  bool sorted, int64_t *v[3] /* first group count */)
{
	int64_t *first = v[0], *group = v[1], *count = v[2];
	size_t n = 0;

	for (size_t i = 0; i < u->dim; i++) {
		if (i == 0 ||
		    compare_slabs(u, (size_t)idx[i - 1], (size_t)idx[i]) != 0)
			first[n++] = idx[i];
		group[idx[i]] = (int64_t)n - 1;
	}
	if (!sorted) {
		int64_t *map = count; /* old group → new one, for now */
		size_t next = 0;

		for (size_t k = 0; k < n; k++)
			map[k] = -1;
		for (size_t i = 0; i < u->dim; i++) {
			if (map[group[i]] < 0) {
				first[next] = (int64_t)i;
				map[group[i]] = (int64_t)next++;
			}
			group[i] = map[group[i]];
		}
	}
	memset(count, 0, n * sizeof(*count));
	for (size_t i = 0; i < u->dim; i++)
		count[group[i]]++;
	return n;
}

static int put_ints(struct op_call *c, size_t i, const int64_t *v, size_t n,
		    struct err *e)
{
	struct shape s = shape_of(1, &(int64_t){(int64_t)n});
	void *out;
	int rc = op_alloc(c, i, DTYPE_I64, &s, &out, e);

	if (rc == 0 && n > 0)
		memcpy(out, v, n * sizeof(*v));
	return rc;
}

static int unique_outputs(struct op_call *c, const struct unique *u,
			  struct shape *s, int32_t axis, int64_t *v[3],
			  struct err *e)
{
	bool sorted = op_attr_int(c, "sorted", 1) != 0;
	struct gather_plan p = {.outer = u->outer, .dim = u->dim};
	const void *in;
	void *tmp, *out;
	int64_t *idx;
	int rc = op_temp_array(c, 2 * (uint64_t)u->dim, sizeof(int64_t), &tmp,
			       e);

	if (rc == 0)
		rc = op_elems(c, 0, &in, &p.block, e);
	if (rc < 0)
		return rc;
	idx = tmp;
	for (size_t i = 0; i < u->dim; i++)
		idx[i] = (int64_t)i;
	sort_slabs(u, idx, idx + u->dim);
	rc = op_check_stop(c, e);
	if (rc < 0)
		return rc;
	p.n = make_groups(u, idx, sorted, v);
	p.idx = v[0];
	p.block *= u->inner;
	s->dims[axis] = (int64_t)p.n;
	rc = op_alloc_elems(c, 0, c->in[0].dtype, s, &out, e);
	if (rc == 0 && p.block > 0)
		copy_gather(&c->env->kernel, &p, in, out);
	if (rc == 0)
		rc = put_ints(c, 1, v[0], p.n, e);
	if (rc == 0)
		rc = put_ints(c, 2, v[1], u->dim, e);
	return rc == 0 ? put_ints(c, 3, v[2], p.n, e) : rc;
}

static int eval_unique(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	struct unique u = {.kernel = &c->env->kernel,
			   .strings = c->in[0].dtype == DTYPE_STRING};
	int64_t *v[3];
	int32_t axis = 0;
	void *p;
	size_t size;
	int rc;

	if (!node_attr(c->node, "axis"))
		s = shape_of(1, &(int64_t){(int64_t)op_nelems(c, 0)});
	rc = op_axis(c, op_attr_int(c, "axis", 0), s.rank, &axis, e);
	if (rc == 0)
		rc = u.strings ? op_elems(c, 0, &u.in, &size, e)
			       : op_in(c, 0, &u.t, &u.in, e);
	if (rc < 0)
		return rc;
	u.dim = (size_t)s.dims[axis];
	u.outer = shape_span(&s, 0, axis);
	u.inner = shape_span(&s, axis + 1, s.rank);
	for (int i = 0; i < 3 && rc == 0; i++) {
		rc = op_temp_array(c, u.dim, sizeof(int64_t), &p, e);
		v[i] = p;
	}
	return rc < 0 ? rc : unique_outputs(c, &u, &s, axis, v, e);
}

const struct op ops_search[] = {
	{ONNX, "NonZero", 9, 1, 1, 1, 1, 0, 0, infer_nonzero, eval_nonzero},
	{ONNX, "Compress", 9, 2, 2, 1, 1, 0, 0, infer_compress, eval_compress},
	{ONNX, "TopK", 1, 1, 1, 2, 2, 0, 0, infer_topk, eval_topk},
	{ONNX, "TopK", 10, 2, 2, 2, 2, 0, 0, infer_topk, eval_topk},
	{ONNX, "Unique", 11, 1, 1, 1, 4, 0, 0, infer_unique, eval_unique},
	{0},
};
