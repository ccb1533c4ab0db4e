/* SPDX-License-Identifier: MIT */
/* slice - parts of a tensor, and more than a tensor: Slice, Pad, Trilu, … */
#include "kernel/copy.h"
#include "op/impl.h"

/* ---- Slice ---- */
struct cut {
	int64_t start[SHAPE_RANK_MAX], step[SHAPE_RANK_MAX];
	struct shape shape;
};

/* Start and number of elements of one axis; step is not 0. */
static int64_t cut_axis(int64_t dim, int64_t start, int64_t end, int64_t step,
			int64_t *first)
{
	int64_t lo = step > 0 ? 0 : -1, hi = step > 0 ? dim : dim - 1;
	uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
	uint64_t span;

	start = start < 0 ? start + dim : start;
	end = end < 0 ? end + dim : end;
	start = start < (step > 0 ? 0 : -1) ? lo : start > hi ? hi : start;
	end = end < lo ? lo : end > hi ? hi : end;
	*first = start < 0 ? 0 : start;
	if (step > 0 ? start >= end : start <= end)
		return 0;
	span = step > 0 ? (uint64_t)(end - start) : (uint64_t)(start - end);
	return (int64_t)(span / stride + (span % stride != 0));
}

/* A list from an attribute or an input; *n is 0 where it is left out. */
static int list(struct op_call *c, const char *attr, size_t i,
		int64_t v[SHAPE_RANK_MAX], size_t *n, struct err *e)
{
	const int64_t *given;

	*n = 0;
	if (c->op->max_in > 1)
		return op_has(c, i) ? op_ints(c, i, v, SHAPE_RANK_MAX, n, e)
				    : 0;
	op_attr_ints(c, attr, &given, n);
	if (*n > SHAPE_RANK_MAX)
		return op_invalid(c, e, "%zu %s", *n, attr);
	if (*n > 0)
		memcpy(v, given, *n * sizeof(*v));
	return 0;
}

struct slice_args {
	int64_t start[SHAPE_RANK_MAX], end[SHAPE_RANK_MAX];
	int64_t axis[SHAPE_RANK_MAX], step[SHAPE_RANK_MAX];
	size_t n;
	int unknown; /* 1: start, end or steps are not there yet */
};

static int slice_args(struct op_call *c, struct slice_args *a, struct err *e)
{
	size_t nend, naxis, nstep;
	int rc[4] = {list(c, "starts", 1, a->start, &a->n, e),
		     list(c, "ends", 2, a->end, &nend, e),
		     list(c, "axes", 3, a->axis, &naxis, e),
		     list(c, "steps", 4, a->step, &nstep, e)};

	a->unknown = 0;
	for (int i = 0; i < 4; i++) {
		if (rc[i] < 0)
			return rc[i];
		a->unknown |= rc[i];
	}
	if (rc[2] > 0)
		return 1; /* which axes is not even known */
	if (a->unknown) {
		a->n = naxis;
		return naxis > 0 ? 0 : 1;
	}
	if (nend != a->n || (naxis && naxis != a->n) ||
	    (nstep && nstep != a->n))
		return op_invalid(c, e, "lists of different length");
	for (size_t i = 0; i < a->n; i++) {
		if (naxis == 0)
			a->axis[i] = (int64_t)i;
		if (nstep == 0)
			a->step[i] = 1;
		if (a->step[i] == 0)
			return op_invalid(c, e, "a step of 0");
	}
	return 0;
}

static int plan_cut(struct op_call *c, struct cut *cut, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct slice_args a;
	int rc = slice_args(c, &a, e);

	cut->shape = *in;
	if (rc < 0 || in->rank < 0)
		return rc < 0 ? rc : 0;
	for (int32_t d = 0; d < in->rank; d++) {
		cut->start[d] = 0;
		cut->step[d] = 1;
		if (rc > 0)
			cut->shape.dims[d] = DIM_UNKNOWN;
	}
	for (size_t i = 0; i < a.n && rc == 0; i++) {
		int32_t d;

		rc = op_axis(c, a.axis[i], in->rank, &d, e);
		if (rc < 0)
			return rc;
		cut->shape.dims[d] = DIM_UNKNOWN;
		if (a.unknown || in->dims[d] == DIM_UNKNOWN)
			continue;
		cut->step[d] = a.step[i];
		cut->shape.dims[d] = cut_axis(in->dims[d], a.start[i], a.end[i],
					      a.step[i], &cut->start[d]);
	}
	return 0;
}

static int infer_slice(struct op_call *c, struct err *e)
{
	struct cut cut;
	int rc = plan_cut(c, &cut, e);

	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &cut.shape);
	return rc;
}

static int eval_slice(struct op_call *c, struct err *e)
{
	int64_t in_strides[SHAPE_RANK_MAX], out_strides[SHAPE_RANK_MAX];
	struct copy_plan p = {.rank = (size_t)op_shape(c, 0)->rank};
	ptrdiff_t first = 0;
	struct cut cut;
	const void *in;
	uint64_t n;
	void *out;
	int rc = plan_cut(c, &cut, e);

	if (rc == 0)
		rc = op_elems(c, 0, &in, &p.size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, &cut.shape, &out, e);
	if (rc == 0)
		rc = op_count(c, &cut.shape, &n, e);
	if (rc < 0 || n == 0)
		return rc;
	shape_strides(op_shape(c, 0), in_strides);
	shape_strides(&cut.shape, out_strides);
	for (size_t d = 0; d < p.rank; d++) {
		p.dims[d] = (size_t)cut.shape.dims[d];
		first += (ptrdiff_t)(cut.start[d] * in_strides[d]);
		p.to[d] = (ptrdiff_t)out_strides[d];
		/* A step past the end is never taken. */
		if (p.dims[d] > 1)
			p.from[d] = (ptrdiff_t)(cut.step[d] * in_strides[d]);
	}
	copy_strided(&c->env->kernel, &p,
		     (const char *)in + first * (ptrdiff_t)p.size, out);
	return 0;
}

/* ---- Pad ---- */
/* begin and end of every extent; 1 when they are not known yet. */
static int pads_of(struct op_call *c, int32_t rank,
		   int64_t pads[2 * SHAPE_RANK_MAX], struct err *e)
{
	int64_t given[2 * SHAPE_RANK_MAX];
	int32_t axes[SHAPE_RANK_MAX];
	const int64_t *v = given;
	size_t n, naxes = 0;
	int rc = 0;

	if (c->op->max_in > 1)
		rc = op_ints(c, 1, given, 2 * SHAPE_RANK_MAX, &n, e);
	else if (!op_attr_ints(c, "pads", &v, &n))
		op_attr_ints(c, "paddings", &v, &n);
	if (rc == 0 && op_has(c, 3))
		rc = op_axes(c, "", 3, rank, axes, &naxes, e);
	if (rc != 0)
		return rc;
	if (!op_has(c, 3)) {
		naxes = (size_t)rank;
		for (int32_t i = 0; i < rank; i++)
			axes[i] = i;
	}
	if (n != 2 * naxes)
		return op_invalid(c, e, "%zu pads", n);
	memset(pads, 0, 2 * (size_t)rank * sizeof(*pads));
	for (size_t i = 0; i < n; i++) {
		/* So that no difference of two of them wraps. */
		if (v[i] < -INT64_MAX / 4 || v[i] > INT64_MAX / 4)
			return op_invalid(c, e, "a pad of %lld",
					  (long long)v[i]);
	}
	for (size_t i = 0; i < naxes; i++) {
		pads[axes[i]] = v[i];
		pads[axes[i] + rank] = v[i + naxes];
	}
	return 0;
}

static int infer_pad(struct op_call *c, struct err *e)
{
	int64_t pads[2 * SHAPE_RANK_MAX];
	struct shape s = *op_shape(c, 0);
	int rc;

	op_out(c, 0, c->in[0].dtype, &s);
	if (s.rank < 0)
		return 0;
	rc = pads_of(c, s.rank, pads, e);
	if (rc < 0)
		return rc;
	for (int32_t i = 0; i < s.rank; i++) {
		int bad = 0;

		if (rc > 0 || s.dims[i] == DIM_UNKNOWN) {
			s.dims[i] = DIM_UNKNOWN;
			continue;
		}
		bad = op_add(c, s.dims[i], pads[i], &s.dims[i], e);
		if (bad == 0)
			bad = op_add(c, s.dims[i], pads[i + s.rank], &s.dims[i],
				     e);
		if (bad < 0)
			return bad;
		if (s.dims[i] < 0)
			return op_invalid(c, e, "extent %lld",
					  (long long)s.dims[i]);
	}
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

static int pad_mode(const struct op_call *c, enum pad_mode *out, struct err *e)
{
	static const char *const names[] = {"constant", "reflect", "edge",
					    "wrap"};
	const char *mode = op_attr_str(c, "mode", "constant");

	for (int i = 0; i < 4; i++) {
		if (strcmp(mode, names[i]) == 0) {
			*out = (enum pad_mode)i;
			return 0;
		}
	}
	return op_invalid(c, e, "mode");
}

/* Which of dim elements stands at place i, which may lie outside. */
static int64_t pad_source(enum pad_mode mode, int64_t i, int64_t dim)
{
	int64_t period;

	if (i >= 0 && i < dim)
		return i;
	if (mode == PAD_CONSTANT || dim == 0)
		return -1;
	if (mode == PAD_EDGE)
		return i < 0 ? 0 : dim - 1;
	period = mode == PAD_WRAP || dim == 1 ? dim : 2 * (dim - 1);
	i %= period;
	i = i < 0 ? i + period : i;
	return i < dim ? i : period - i;
}

static int pad_fill(struct op_call *c, size_t size, uint8_t value[16],
		    struct err *e)
{
	const void *p;
	size_t got;
	float v;
	int rc;

	memset(value, 0, 16);
	if (c->op->max_in == 1) {
		v = op_attr_float(c, "value", 0);
		return op_convert(&c->env->kernel, DTYPE_F32, &v,
				  c->in[0].dtype, value, 1, false);
	}
	if (!op_has(c, 2) || op_nelems(c, 2) == 0)
		return 0;
	rc = op_elems(c, 2, &p, &got, e);
	if (rc == 0 && (got != size || op_dtype(c, 2) != c->in[0].dtype))
		return op_bad_dtype(c, 2, e);
	if (rc == 0)
		memcpy(value, p, size);
	return rc;
}

static int eval_pad(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int64_t pads[2 * SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX];
	uint8_t value[16] __attribute__((aligned(16)));
	struct copy_map m = {.rank = (size_t)in->rank, .fill = value};
	enum pad_mode mode = PAD_CONSTANT;
	struct shape s;
	const void *src;
	void *out;
	int rc = infer_pad(c, e);

	if (rc == 0)
		rc = pad_mode(c, &mode, e);
	if (rc == 0)
		rc = pads_of(c, in->rank, pads, e);
	if (rc == 0)
		rc = op_elems(c, 0, &src, &m.size, e);
	if (rc == 0)
		rc = pad_fill(c, m.size, value, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	if (s.rank == 0)
		return op_give(c, 0, &c->in[0], e);
	rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	shape_strides(in, strides);
	for (int32_t d = 0; d < s.rank && rc == 0; d++) {
		void *map;

		rc = op_temp_array(c, (uint64_t)s.dims[d], sizeof(int64_t),
				   &map, e);
		if (rc < 0)
			return rc;
		for (int64_t i = 0; i < s.dims[d]; i++)
			((int64_t *)map)[i] =
				pad_source(mode, i - pads[d], in->dims[d]);
		m.map[d] = map;
		m.dims[d] = (size_t)s.dims[d];
		m.strides[d] = (size_t)strides[d];
	}
	if (rc == 0)
		copy_mapped(&c->env->kernel, &m, src, out);
	return rc;
}

/* ---- Trilu ---- */
static int eval_trilu(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	bool upper = op_attr_int(c, "upper", 1) != 0;
	int64_t k, rows, cols;
	const void *in;
	size_t size;
	void *out;
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	if (rc == 0)
		rc = op_scalar_int(c, 1, 0, &k, e);
	if (rc == 0)
		rc = op_elems(c, 0, &in, &size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, s, &out, e);
	if (rc < 0 || op_nelems(c, 0) == 0)
		return rc;
	rows = s->dims[s->rank - 2];
	cols = s->dims[s->rank - 1];
	k = k > cols ? cols : k < -rows ? -rows : k;
	for (uint64_t r = 0; r < op_nelems(c, 0) / (uint64_t)cols; r++) {
		int64_t edge = (int64_t)(r % (uint64_t)rows) + k + !upper;
		size_t at = (size_t)r * (size_t)cols, from, n;

		edge = edge < 0 ? 0 : edge > cols ? cols : edge;
		from = upper ? (size_t)edge : 0;
		n = upper ? (size_t)(cols - edge) : (size_t)edge;
		if (n > 0)
			memcpy((char *)out + (at + from) * size,
			       (const char *)in + (at + from) * size, n * size);
	}
	return 0;
}

/* ---- ReverseSequence ---- */
static int eval_reverse_sequence(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	int64_t batch_axis = op_attr_int(c, "batch_axis", 1);
	int64_t time_axis = op_attr_int(c, "time_axis", 0);
	uint64_t n, block, pitch[2];
	const int64_t *lens;
	const void *in;
	size_t size;
	void *out;
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	if (rc == 0 && (batch_axis + time_axis != 1 ||
			(batch_axis != 0 && batch_axis != 1)))
		return op_invalid(c, e, "axes");
	if (rc == 0)
		rc = op_in_i64(c, 1, &lens, e);
	if (rc == 0 && op_nelems(c, 1) != (uint64_t)s->dims[batch_axis])
		return op_invalid(c, e, "sequence_lens");
	if (rc == 0)
		rc = op_elems(c, 0, &in, &size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, s, &out, e);
	if (rc < 0)
		return rc;
	block = shape_span(s, 2, s->rank) * size;
	pitch[0] = (uint64_t)s->dims[1] * block;
	pitch[1] = block;
	n = (uint64_t)s->dims[time_axis];
	for (uint64_t b = 0; b < (uint64_t)s->dims[batch_axis]; b++) {
		if (lens[b] < 0 || (uint64_t)lens[b] > n)
			return op_invalid(c, e, "a length of %lld",
					  (long long)lens[b]);
		for (uint64_t t = 0; t < n && block > 0; t++) {
			uint64_t from = t < (uint64_t)lens[b]
						? (uint64_t)lens[b] - 1 - t
						: t;
			uint64_t at = b * pitch[batch_axis];

			memcpy((char *)out + at + t * pitch[time_axis],
			       (const char *)in + at + from * pitch[time_axis],
			       block);
		}
	}
	return 0;
}

const struct op ops_slice[] = {
	{ONNX, "Slice", 1, 1, 1, 1, 1, OP_WRITES_ALL, 0, infer_slice,
	 eval_slice},
	{ONNX, "Slice", 10, 3, 5, 1, 1, OP_WRITES_ALL, 0, infer_slice,
	 eval_slice},
	/* An experimental operator that old exporters wrote. */
	{ONNX, "DynamicSlice", 1, 3, 4, 1, 1, 0, 0, infer_slice, eval_slice},
	{ONNX, "Pad", 1, 1, 1, 1, 1, 0, 0, infer_pad, eval_pad},
	{ONNX, "Pad", 11, 2, 4, 1, 1, 0, 0, infer_pad, eval_pad},
	{MICROSOFT, "Pad", 1, 2, 4, 1, 1, 0, 0, infer_pad, eval_pad},
	{ONNX, "Trilu", 14, 1, 2, 1, 1, 0, 0, infer_same, eval_trilu},
	{MICROSOFT, "Trilu", 1, 1, 2, 1, 1, 0, 0, infer_same, eval_trilu},
	{ONNX, "ReverseSequence", 10, 2, 2, 1, 1, 0, 0, infer_same,
	 eval_reverse_sequence},
	{0},
};
