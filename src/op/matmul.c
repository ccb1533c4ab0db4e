/* SPDX-License-Identifier: MIT */
/* matmul - Gemm, MatMul and the integer products. */
#include "kernel/gemm.h"

#include <math.h>

#include "kernel/copy.h"
#include "kernel/product.h"
#include "kernel/stride.h"
#include "op/impl.h"
#include "op/matmul.h"
#include "op/panels.h"

/* ---- shapes ---- */
/* 1-D operands are a row and a column; `drop` says which extents go again. */
static struct shape as_matrix(const struct shape *s, bool row)
{
	struct shape m = *s;

	if (s->rank == 1) {
		m.rank = 2;
		m.dims[0] = row ? 1 : s->dims[0];
		m.dims[1] = row ? s->dims[0] : 1;
	}
	return m;
}

static bool both_known_differ(int64_t a, int64_t b)
{
	return a != b && a != DIM_UNKNOWN && b != DIM_UNKNOWN;
}

int matmul_shape(const struct op_call *c, const struct shape *a,
		 const struct shape *b, struct shape *out, struct err *e)
{
	struct shape x = as_matrix(a, true), y = as_matrix(b, false), s;
	int64_t m, n;
	int rc;

	*out = shape_unknown();
	if (a->rank < 0 || b->rank < 0)
		return 0;
	if (a->rank == 0 || b->rank == 0)
		return op_invalid(c, e, "a scalar");
	if (both_known_differ(x.dims[x.rank - 1], y.dims[y.rank - 2]))
		return op_invalid(c, e, "extents %lld and %lld",
				  (long long)x.dims[x.rank - 1],
				  (long long)y.dims[y.rank - 2]);
	m = x.dims[x.rank - 2];
	n = y.dims[y.rank - 1];
	x.rank -= 2;
	y.rank -= 2;
	rc = op_broadcast(c, &x, &y, &s, e);
	if (rc < 0)
		return rc;
	if (a->rank > 1)
		s.dims[s.rank++] = m;
	if (b->rank > 1)
		s.dims[s.rank++] = n;
	*out = s;
	return 0;
}

/* Element offsets of the matrices of an operand, for every result matrix. */
static void batch_offsets(const struct shape *s, const struct shape *out,
			  size_t *at, size_t n)
{
	struct stride_plan p = {0};
	const struct shape *in[1] = {s};
	struct shape heads = *s;
	size_t matrix = (size_t)(s->dims[s->rank - 2] * s->dims[s->rank - 1]);

	heads.rank -= 2;
	in[0] = &heads;
	op_stride_plan(&p, out, in, 1);
	for (size_t i = 0; i < n; i++) {
		size_t rest = i, off = 0;

		for (size_t d = p.rank; d-- > 0;) {
			off += rest % p.dims[d] * p.step[0][d];
			rest /= p.dims[d];
		}
		at[i] = off * matrix;
	}
}

/* Merges the batch of A into its rows where B is one matrix. */
static void merge_batch(struct gemm *g, const struct shape *b)
{
	size_t m;

	if (b->rank != 2 || __builtin_mul_overflow(g->m, g->batch, &m) ||
	    m > INT32_MAX)
		return;
	g->m = m;
	g->batch = 1;
}

/* ---- float32 products with B packed ---- */
struct packs {
	struct pack one;
	size_t n, size, step; /* floats of one, and from one B to the next */
};

static void fill_packs(const struct kernel *k, const void *ctx, const void *in,
		       void *out)
{
	const struct packs *p = ctx;

	for (size_t i = 0; i < p->n && !kernel_stopped(k); i++)
		pack_run(k, &p->one, (const float *)in + i * p->step,
			 (float *)out + i * p->size);
}

/*
 * A matter of shapes and types alone: the same bits, constant or not.  A few
 * rows are worth it where B has to be converted at any rate.
 */
static bool is_packable(const struct gemm *g, enum dtype b)
{
	return g->type == NUM_F32 && g->alpha == 1 &&
	       (g->m >= 4 || b != DTYPE_F32) && g->n >= 8 && g->k > 0 &&
	       !g->trans_a;
}

static const struct finish plain = {.lo = -INFINITY, .hi = INFINITY};

/* What is done to each number, apart from the product. */
struct finishing {
	const struct finish *f;
	size_t n;
	float *c;
};

static void finish_range(void *ctx, size_t begin, size_t end)
{
	const struct finishing *j = ctx;

	for (size_t i = begin; i < end; i++) {
		float *row = j->c + i * j->n;
		struct finish f = finish_at(j->f, 0, 0, i * j->n);

		fast_get()->finish(&f, row, row, j->n);
	}
}

static void finish_rows(struct op_call *c, const struct finish *f, size_t rows,
			size_t n, float *out)
{
	struct finishing j = {f, n, out};

	kernel_for(&c->env->kernel, rows, op_grain(n), finish_range, &j);
}

/* B's matrices, one behind the other: 1, or one for each product. */
static int run_packed(struct op_call *c, const struct gemm *g, size_t nb,
		      const void *a, const struct finish *finish, void *out,
		      struct err *e)
{
	struct packs p = {.one = {g->k, g->n, g->ldb, g->trans_b},
			  .n = nb,
			  .step = g->k * g->n};
	struct op_form form = {.fill = fill_packs, .ctx = &p};
	struct product product = {.m = g->m,
				  .n = g->n,
				  .k = g->k,
				  .ldc = g->n,
				  .a_row = g->lda,
				  .a_col = 1,
				  .batch = g->batch,
				  .a_at = g->a_at,
				  .finish = *finish};
	const void *packed;
	void *stored = NULL;
	int rc;

	p.size = pack_size(&p.one);
	if (__builtin_mul_overflow(nb, p.size * sizeof(float), &form.nbytes))
		return op_unsupported(c, e, "matrices of this size");
	product.b_step = nb > 1 ? p.size : 0;
	rc = op_keeps_form(c, 1, form.nbytes) &&
			     op_has_room(c, 1, DTYPE_F32, form.nbytes, 0)
		     ? op_form(c, 1, DTYPE_F32, &form, &packed, e)
		     : -EFBIG;
	if (rc == -EFBIG)
		return panels_packed(c, g, nb, a, finish, out, e);
	if (rc == 0)
		rc = op_take_over(c, out, &stored, &product.store, e);
	product.stored = stored;
	if (rc == 0)
		product_run(&c->env->kernel, &product, a, packed, out);
	return rc;
}

int matmul_plain(struct op_call *c, const struct gemm *g, enum dtype t,
		 const void *a, void *out, struct err *e)
{
	const void *b;
	int rc = op_has_room(c, 1, t, 0, 0) ? op_data_as(c, 1, t, &b, e)
					    : -EFBIG;

	if (rc == -EFBIG)
		return panels_gemm(c, g, t, a, out, e);
	if (rc == 0)
		gemm_run(&c->env->kernel, g, a, b, out);
	return rc;
}

/* True when the products go through B one after the other. */
static bool is_in_order(const struct gemm *g)
{
	for (size_t i = 0; i < g->batch; i++) {
		if (g->b_at[i] != i * g->k * g->n)
			return false;
	}
	return true;
}

int matmul_run(struct op_call *c, const struct matmul *mm, void *out,
	       struct err *e)
{
	struct shape a = as_matrix(mm->a_shape, true);
	struct shape b = as_matrix(mm->b_shape, false), ah = a, bh = b, batch;
	struct gemm g = {.type = mm->type, .alpha = mm->alpha};
	void *at;
	uint64_t n;
	int rc;

	ah.rank -= 2;
	bh.rank -= 2;
	rc = op_broadcast(c, &ah, &bh, &batch, e);
	if (rc == 0)
		rc = op_count(c, &batch, &n, e);
	if (rc == 0)
		rc = op_temp_array(c, n, 2 * sizeof(size_t), &at, e);
	if (rc < 0)
		return rc;
	g.m = (size_t)a.dims[a.rank - 2];
	g.k = g.lda = (size_t)a.dims[a.rank - 1];
	g.n = g.ldb = g.ldc = (size_t)b.dims[b.rank - 1];
	g.batch = n;
	g.c_step = g.m * g.n;
	g.a_at = at;
	g.b_at = g.a_at + n;
	batch_offsets(&a, &batch, at, n);
	batch_offsets(&b, &batch, (size_t *)at + n, n);
	merge_batch(&g, &b);
	if (!gemm_fits(&g))
		return op_unsupported(c, e, "matrices of this size");
	if (!mm->b && is_packable(&g, c->in[1].dtype) && g.batch > 0 &&
	    (b.rank == 2 || is_in_order(&g)))
		return run_packed(c, &g, b.rank == 2 ? 1 : g.batch, mm->a,
				  mm->finish ? mm->finish : &plain, out, e);
	if (mm->b)
		gemm_run(&c->env->kernel, &g, mm->a, mm->b, out);
	else
		rc = matmul_plain(c, &g, mm->b_type, mm->a, out, e);
	if (rc < 0)
		return rc;
	if (mm->finish)
		finish_rows(c, mm->finish, g.batch * g.m, g.n, out);
	return 0;
}

/* ---- MatMul ---- */
static int infer_matmul(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = matmul_shape(c, op_shape(c, 0), op_shape(c, 1), &s, e);

	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

/* Small integers are multiplied as 32-bit ones. */
static enum dtype product_type(enum dtype t)
{
	t = op_compute_type(t);
	return op_is_int(t) && dtype_size(t) < 4 ? DTYPE_I32 : t;
}

static unsigned leads_matmul(struct op_call *c)
{
	struct shape s;

	if (!op_is_short_float(c->in[0].dtype) ||
	    c->in[1].dtype != c->in[0].dtype ||
	    matmul_shape(c, op_shape(c, 0), op_shape(c, 1), &s, NULL) < 0 ||
	    op_shape(c, 1)->rank < 2 || !shape_is_known(&s))
		return 0;
	return 1u << OP_STAGE_COLUMNS | 1u << OP_STAGE_ADD |
	       1u << OP_STAGE_LIMIT | 1u << OP_STAGE_QUANTIZE |
	       1u << OP_STAGE_DEQUANTIZE;
}

static int eval_matmul(struct op_call *c, struct err *e)
{
	enum dtype t = product_type(c->in[0].dtype);
	struct matmul mm = {.a_shape = op_shape(c, 0),
			    .b_shape = op_shape(c, 1),
			    .b_type = t,
			    .alpha = op_attr_float(c, "alpha", 1)};
	struct finish finish = plain;
	struct shape s;
	void *out;
	int rc = infer_matmul(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	if (c->in[0].dtype != c->in[1].dtype)
		return op_bad_dtype(c, 1, e);
	if (!op_num(t, &mm.type) || !gemm_has(mm.type))
		return op_bad_dtype(c, 0, e);
	rc = op_data_as(c, 0, t, &mm.a, e);
	if (rc == 0 && c->nfollowers > 0) {
		mm.finish = &finish;
		rc = op_join(c, &finish, e);
	}
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, t, &s, &out, e);
	return rc < 0 ? rc : matmul_run(c, &mm, out, e);
}

/* ---- Gemm ---- */
static int infer_gemm(struct op_call *c, struct err *e)
{
	const struct shape *a = op_shape(c, 0), *b = op_shape(c, 1);
	bool ta = op_attr_int(c, "transA", 0), tb = op_attr_int(c, "transB", 0);
	struct shape s;
	int rc = op_need_rank(c, 0, 2, 2, e);

	if (rc == 0)
		rc = op_need_rank(c, 1, 2, 2, e);
	if (rc < 0)
		return rc;
	if (a->rank == 2 && b->rank == 2 &&
	    both_known_differ(a->dims[!ta], b->dims[tb]))
		return op_invalid(c, e, "extents %lld and %lld",
				  (long long)a->dims[!ta],
				  (long long)b->dims[tb]);
	s = shape_of(2, (int64_t[]){a->rank < 0 ? DIM_UNKNOWN : a->dims[ta],
				    b->rank < 0 ? DIM_UNKNOWN : b->dims[!tb]});
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

/* C = the bias, broadcast to the result. */
static int spread_bias(struct op_call *c, enum dtype t, const struct shape *s,
		       void *out, struct err *e)
{
	const struct shape *b = op_shape(c, 2);
	struct copy_plan p = {.rank = (size_t)s->rank, .size = dtype_size(t)};
	int64_t to[SHAPE_RANK_MAX], from[SHAPE_RANK_MAX];
	struct shape both;
	const void *in;
	int rc = op_broadcast(c, s, b, &both, e);

	if (rc == 0 && !shape_equal(&both, s))
		return op_invalid(c, e, "C does not fit");
	if (rc == 0)
		rc = op_data_as(c, 2, t, &in, e);
	if (rc < 0)
		return rc;
	shape_strides(s, to);
	shape_strides(b, from);
	for (int32_t d = 0; d < s->rank; d++) {
		int32_t i = d - (s->rank - b->rank);

		p.dims[d] = (size_t)s->dims[d];
		p.to[d] = (ptrdiff_t)to[d];
		p.from[d] = i < 0 || b->dims[i] == 1 ? 0 : (ptrdiff_t)from[i];
	}
	copy_strided(&c->env->kernel, &p, in, out);
	return 0;
}

static int64_t scale_int(struct op_call *c, const char *name, bool *odd)
{
	float v = op_attr_float(c, name, 1);

	*odd = *odd || (v != 0 && v != 1);
	return v != 0;
}

/* C is a row that goes with every row of the result, or is left out. */
static bool has_row_bias(const struct op_call *c, const struct gemm *g)
{
	return !op_has(c, 2) ||
	       (op_nelems(c, 2) == g->n && g->n > 1 &&
		op_shape(c, 2)->dims[op_shape(c, 2)->rank - 1] ==
			(int64_t)g->n &&
		op_attr_float(c, "beta", 1) == 1);
}

static int gemm_with_bias(struct op_call *c, enum dtype t, struct gemm *g,
			  const struct shape *s, void *out, struct err *e)
{
	const void *a;
	int rc = op_data_as(c, 0, t, &a, e);

	if (rc == 0 && is_packable(g, c->in[1].dtype) && has_row_bias(c, g)) {
		struct finish finish = plain;

		rc = op_in_f32(c, 2, &finish.col_bias, e);
		return rc < 0 ? rc : run_packed(c, g, 1, a, &finish, out, e);
	}
	if (rc == 0 && op_has(c, 2)) {
		g->beta = op_attr_float(c, "beta", 1);
		rc = spread_bias(c, t, s, out, e);
	}
	return rc < 0 ? rc : matmul_plain(c, g, t, a, out, e);
}

static int eval_gemm(struct op_call *c, struct err *e)
{
	enum dtype t = product_type(c->in[0].dtype);
	struct gemm g = {.batch = 1,
			 .trans_a = op_attr_int(c, "transA", 0),
			 .trans_b = op_attr_int(c, "transB", 0),
			 .alpha = op_attr_float(c, "alpha", 1)};
	const struct shape *a = op_shape(c, 0), *b = op_shape(c, 1);
	bool odd = false;
	struct shape s;
	void *out;
	int rc = infer_gemm(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	if (!op_num(t, &g.type) || !gemm_has(g.type))
		return op_bad_dtype(c, 0, e);
	if (op_is_int(t)) {
		g.alpha = (double)scale_int(c, "alpha", &odd);
		scale_int(c, "beta", &odd);
		if (odd)
			return op_unsupported(c, e, "scaled integers");
	}
	g.m = (size_t)s.dims[0];
	g.n = (size_t)s.dims[1];
	g.k = (size_t)a->dims[!g.trans_a];
	g.lda = (size_t)a->dims[1];
	g.ldb = (size_t)b->dims[1];
	g.ldc = g.n;
	if (!gemm_fits(&g))
		return op_unsupported(c, e, "matrices of this size");
	rc = op_alloc_as(c, 0, c->in[0].dtype, t, &s, &out, e);
	return rc < 0 ? rc : gemm_with_bias(c, t, &g, &s, out, e);
}

const struct op ops_matmul[] = {
	{ONNX, "MatMul", 1, 2, 2, 1, 1, OP_WRITES_ALL | OP_LATE_INPUT_1, 0,
	 infer_matmul, eval_matmul, .leads = leads_matmul},
	{ONNX, "Gemm", 1, 2, 3, 1, 1, OP_WRITES_ALL | OP_LATE_INPUT_1, 0,
	 infer_gemm, eval_gemm},
	{0},
};
