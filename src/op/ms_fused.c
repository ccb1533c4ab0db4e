/* SPDX-License-Identifier: MIT */
/*
 * ms_fused - com.microsoft: operators that onnxruntime makes of several of
 * ONNX's.
 */
#include <math.h>

#include "kernel/binary.h"
#include "kernel/copy.h"
#include "kernel/gemm.h"
#include "kernel/unary.h"
#include "op/impl.h"
#include "op/matmul.h"
#include "op/norm.h"
#include "op/quantize.h"

/* out = a op b, b broadcast to a's shape; float32. */
static int combine(struct op_call *c, enum binary op, const struct shape *s,
		   const float *a, size_t input, float *out, struct err *e)
{
	const struct shape *shapes[2] = {s, op_shape(c, input)};
	const void *in[2] = {a, NULL};
	struct stride_plan p;
	struct shape both;
	const float *b;
	int rc = op_broadcast(c, s, shapes[1], &both, e);

	if (rc == 0 && !shape_equal(&both, s))
		return op_invalid(c, e, "input %zu does not fit", input);
	if (rc == 0)
		rc = op_in_f32(c, input, &b, e);
	if (rc < 0)
		return rc;
	in[1] = b;
	op_stride_plan(&p, s, shapes, 2);
	p.in_size[0] = p.in_size[1] = p.out_size = sizeof(float);
	stride_for(&c->env->kernel, &p, in, out, binary_find(op, NUM_F32),
		   NULL);
	return 0;
}

/* Output i, in which float32 is computed. */
static int float_output(struct op_call *c, size_t i, const struct shape *s,
			float **out, struct err *e)
{
	void *p = NULL;
	int rc = op_alloc_as(c, i, c->in[0].dtype, DTYPE_F32, s, &p, e);

	*out = p;
	return rc;
}

/* ---- Gelu of a sum ---- */
static int eval_gelu(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	const float *x;
	float *y;
	int rc = op_in_f32(c, 0, &x, e);

	if (rc == 0)
		rc = float_output(c, 0, s, &y, e);
	if (rc == 0 && op_has(c, 1)) {
		rc = combine(c, BINARY_ADD, s, x, 1, y, e);
		x = y;
	}
	if (rc == 0)
		unary_for(&c->env->kernel, (enum unary)c->op->arg, NUM_F32,
			  NULL, x, y, op_nelems(c, 0));
	return rc;
}

/* ---- SkipLayerNormalization: (x + skip + bias), normalised ---- */
static int eval_skip_norm(struct op_call *c, struct err *e)
{
	bool simple = c->op->arg;
	const struct shape *s = op_shape(c, 0);
	struct layer l = {.type = NUM_F32,
			  .shape = s,
			  .centred = !simple,
			  .epsilon = op_attr_float(c, "epsilon", 1e-12f),
			  .scale = 2,
			  .bias = simple ? SIZE_MAX : 3};
	size_t bias = simple ? 3 : 4;
	struct shape head = *s;
	const float *x;
	float *sum = NULL, *y = NULL;
	int rc = op_need_rank(c, 0, 1, SHAPE_RANK_MAX, e);

	if (rc == 0)
		rc = op_in_f32(c, 0, &x, e);
	if (rc == 0)
		rc = float_output(c, 3, s, &sum, e);
	if (rc == 0)
		rc = float_output(c, 0, s, &y, e);
	if (rc == 0)
		rc = combine(c, BINARY_ADD, s, x, 1, sum, e);
	if (rc == 0 && op_has(c, bias))
		rc = combine(c, BINARY_ADD, s, sum, bias, sum, e);
	if (rc < 0)
		return rc;
	l.axis = s->rank - 1;
	head.dims[l.axis] = 1;
	if (op_wants(c, 1))
		rc = op_alloc(c, 1, DTYPE_F32, &head, &l.mean, e);
	if (rc == 0 && op_wants(c, 2))
		rc = op_alloc(c, 2, DTYPE_F32, &head, &l.inv_std, e);
	return rc < 0 ? rc : norm_layer(c, &l, sum, y, e);
}

static int infer_skip_norm(struct op_call *c, struct err *e)
{
	struct shape unknown = shape_unknown();

	(void)e;
	op_out(c, 0, c->in[0].dtype, op_shape(c, 0));
	op_out(c, 1, DTYPE_F32, &unknown);
	op_out(c, 2, DTYPE_F32, &unknown);
	op_out(c, 3, c->in[0].dtype, op_shape(c, 0));
	return 0;
}

/* ---- EmbedLayerNormalization ---- */
/* Adds rows of a table to out, by the indices in input i or by position. */
static int add_rows(struct op_call *c, size_t i, size_t table, size_t len,
		    size_t hidden, float *out, struct err *e)
{
	const struct shape *t = op_shape(c, table);
	uint64_t n = op_nelems(c, 0);
	const int64_t *idx = NULL;
	const float *rows;
	int rc = op_in_f32(c, table, &rows, e);

	if (rc == 0 && (t->rank != 2 || t->dims[1] != (int64_t)hidden))
		return op_invalid(c, e, "input %zu does not fit", table);
	if (rc == 0 && op_has(c, i))
		rc = op_indices(c, i, t->dims[0], &idx, e);
	if (rc == 0 && op_has(c, i)
		    ? op_nelems(c, i) != n && op_nelems(c, i) != len
		    : (int64_t)len > t->dims[0])
		return op_invalid(c, e, "positions do not fit");
	for (uint64_t k = 0; rc == 0 && k < n; k++) {
		size_t at = idx ? (size_t)idx[k % op_nelems(c, i)] : k % len;

		for (size_t h = 0; h < hidden; h++)
			out[k * hidden + h] += rows[at * hidden + h];
	}
	return rc;
}

/* How many of each row of the mask are set. */
static int count_mask(struct op_call *c, size_t input, size_t batch,
		      struct err *e)
{
	struct shape s = shape_of(1, &(int64_t){(int64_t)batch});
	const int64_t *mask;
	size_t len;
	void *out;
	int rc = op_in_i64(c, input, &mask, e);

	if (rc == 0)
		rc = op_alloc(c, 1, DTYPE_I32, &s, &out, e);
	if (rc < 0 || !op_has(c, input) || batch == 0)
		return rc;
	len = op_nelems(c, input) / batch;
	for (size_t i = 0; i < batch * len; i++)
		((int32_t *)out)[i / len] += mask[i] != 0;
	return 0;
}

static int eval_embed(struct op_call *c, struct err *e)
{
	const struct shape *ids = op_shape(c, 0), *w = op_shape(c, 2);
	struct layer l = {.type = NUM_F32,
			  .centred = true,
			  .axis = 2,
			  .epsilon = op_attr_float(c, "epsilon", 1e-12f),
			  .scale = SIZE_MAX,
			  .bias = SIZE_MAX};
	enum dtype t = op_dtype(c, 2);
	size_t len, hidden;
	struct op_call inner = *c;
	struct shape s;
	void *sum, *y;
	int rc = op_need_rank(c, 0, 2, 2, e);

	if (rc == 0)
		rc = op_need_rank(c, 2, 2, 2, e);
	if (rc == 0 &&
	    (!op_has(c, 2) || !op_has(c, 3) || !op_has(c, 5) || !op_has(c, 6)))
		return op_invalid(c, e, "an input is left out");
	if (rc < 0)
		return rc;
	len = (size_t)ids->dims[1];
	hidden = (size_t)w->dims[1];
	s = shape_of(3, (int64_t[]){ids->dims[0], ids->dims[1], w->dims[1]});
	rc = op_alloc_as(c, 2, t, DTYPE_F32, &s, &sum, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, t, DTYPE_F32, &s, &y, e);
	if (rc == 0)
		rc = add_rows(c, 0, 2, len, hidden, sum, e);
	if (rc == 0)
		rc = add_rows(c, 8, 3, len, hidden, sum, e);
	if (rc == 0 && op_has(c, 4))
		rc = add_rows(c, 1, 4, len, hidden, sum, e);
	if (rc == 0)
		rc = count_mask(c, 7, (size_t)ids->dims[0], e);
	if (rc < 0)
		return rc;
	/* norm_layer takes the type from the first input: the words'. */
	inner.scratch = c->scratch;
	inner.in = c->in + 2;
	inner.nin = c->nin - 2;
	l.shape = &s;
	l.scale = 3;
	l.bias = 4;
	rc = norm_layer(&inner, &l, sum, y, e);
	c->scratch = inner.scratch;
	return rc;
}

/* ---- FusedMatMul, TransposeMatMul ---- */
/* Extent 0 moved before the last one, then the last two exchanged. */
static void permute(const struct shape *in, bool batch, bool swap,
		    struct shape *out, struct copy_plan *p)
{
	int32_t r = in->rank, axis[SHAPE_RANK_MAX];
	int64_t strides[SHAPE_RANK_MAX];
	ptrdiff_t step = 1;

	for (int32_t i = 0; i < r; i++)
		axis[i] = !batch || i == r - 1 ? i : i == r - 2 ? 0 : i + 1;
	if (swap) {
		int32_t last = axis[r - 1];

		axis[r - 1] = axis[r - 2];
		axis[r - 2] = last;
	}
	shape_strides(in, strides);
	out->rank = r;
	p->rank = (size_t)r;
	for (int32_t i = r; i-- > 0;) {
		out->dims[i] = in->dims[axis[i]];
		p->dims[i] = (size_t)out->dims[i];
		p->from[i] = (ptrdiff_t)strides[axis[i]];
		p->to[i] = step;
		step *= (ptrdiff_t)out->dims[i];
	}
}

/* The input with its extents in the order of the product, or as it is. */
static int transposed(struct op_call *c, size_t i, bool swap, bool batch,
		      enum dtype t, struct shape *s, const void **out,
		      struct err *e)
{
	struct copy_plan p = {.size = dtype_size(t)};
	void *room;
	int rc = op_data_as(c, i, t, out, e);

	*s = *op_shape(c, i);
	if (rc < 0 || (!swap && !batch) || s->rank < 2)
		return rc;
	permute(op_shape(c, i), batch, swap, s, &p);
	rc = op_temp_array(c, op_nelems(c, i), p.size, &room, e);
	if (rc < 0)
		return rc;
	copy_strided(&c->env->kernel, &p, *out, room);
	*out = room;
	return 0;
}

static int eval_fused_matmul(struct op_call *c, struct err *e)
{
	enum dtype t = op_compute_type(c->in[0].dtype);
	struct matmul mm = {.alpha = op_attr_float(c, "alpha", 1)};
	struct shape a, b, s;
	void *out;
	int rc;

	if (!op_num(t, &mm.type) || !gemm_has(mm.type))
		return op_bad_dtype(c, 0, e);
	rc = transposed(c, 0, op_attr_int(c, "transA", 0),
			op_attr_int(c, "transBatchA", 0), t, &a, &mm.a, e);
	if (rc == 0)
		rc = transposed(c, 1, op_attr_int(c, "transB", 0),
				op_attr_int(c, "transBatchB", 0), t, &b, &mm.b,
				e);
	if (rc == 0)
		rc = matmul_shape(c, &a, &b, &s, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, t, &s, &out, e);
	mm.a_shape = &a;
	mm.b_shape = &b;
	return rc < 0 ? rc : matmul_run(c, &mm, out, e);
}

/* ---- MatMulNBits: weights of 2, 4 or 8 bits in blocks ---- */
struct nbits {
	int64_t k, n, bits, block, blocks; /* blocks of a column */
	const uint8_t *q, *packed_zero;
	const float *scale, *float_zero;
};

static float zero_of(const struct nbits *b, int64_t col, int64_t i)
{
	int64_t row = (b->blocks * b->bits + 7) / 8, bit = i * b->bits;

	if (b->float_zero)
		return b->float_zero[col * b->blocks + i];
	if (!b->packed_zero)
		return (float)(1 << (b->bits - 1));
	return (float)(b->packed_zero[col * row + bit / 8] >> bit % 8 &
		       ((1 << b->bits) - 1));
}

static void unpack(const struct nbits *b, float *out)
{
	int64_t bytes = b->block * b->bits / 8;

	for (int64_t col = 0; col < b->n; col++) {
		for (int64_t k = 0; k < b->k; k++) {
			int64_t i = k / b->block, bit = k % b->block * b->bits;
			const uint8_t *q = b->q + (col * b->blocks + i) * bytes;
			int v = q[bit / 8] >> bit % 8 & ((1 << b->bits) - 1);

			out[col * b->k + k] = ((float)v - zero_of(b, col, i)) *
					      b->scale[col * b->blocks + i];
		}
	}
}

static int nbits_read(struct op_call *c, struct nbits *b, struct err *e)
{
	int64_t bytes;
	int rc;

	b->k = op_attr_int(c, "K", 0);
	b->n = op_attr_int(c, "N", 0);
	b->bits = op_attr_int(c, "bits", 4);
	b->block = op_attr_int(c, "block_size", 0);
	if (b->k < 1 || b->n < 1 || b->k > INT32_MAX || b->n > INT32_MAX ||
	    (b->bits != 2 && b->bits != 4 && b->bits != 8) || b->block < 16 ||
	    b->block > 4096 || b->block % 8)
		return op_invalid(c, e, "sizes");
	b->blocks = (b->k + b->block - 1) / b->block;
	bytes = b->n * b->blocks * (b->block * b->bits / 8);
	if (op_dtype(c, 1) != DTYPE_U8 || op_nelems(c, 1) != (uint64_t)bytes ||
	    op_nelems(c, 2) != (uint64_t)(b->n * b->blocks))
		return op_invalid(c, e, "weights do not fit");
	b->q = op_data(c, 1);
	rc = op_in_f32(c, 2, &b->scale, e);
	if (rc < 0 || !op_has(c, 3))
		return rc;
	if (op_dtype(c, 3) == DTYPE_U8) {
		bytes = b->n * ((b->blocks * b->bits + 7) / 8);
		b->packed_zero = op_data(c, 3);
	} else {
		bytes = b->n * b->blocks;
		rc = op_in_f32(c, 3, &b->float_zero, e);
	}
	if (rc == 0 && op_nelems(c, 3) != (uint64_t)bytes)
		return op_invalid(c, e, "zero points do not fit");
	return rc;
}

static int eval_nbits(struct op_call *c, struct err *e)
{
	struct gemm g = {
		.type = NUM_F32, .trans_b = true, .alpha = 1, .batch = 1};
	struct shape s = *op_shape(c, 0);
	struct nbits b = {0};
	const float *x;
	float *y;
	void *w;
	int rc = op_need_rank(c, 0, 1, SHAPE_RANK_MAX, e);

	if (rc == 0 && (op_has(c, 4) || op_has(c, 5)))
		return op_unsupported(c, e, "g_idx or bias");
	if (rc == 0)
		rc = nbits_read(c, &b, e);
	if (rc == 0 && s.dims[s.rank - 1] != b.k)
		return op_invalid(c, e, "rows of %lld",
				  (long long)s.dims[s.rank - 1]);
	if (rc == 0)
		rc = op_in_f32(c, 0, &x, e);
	if (rc == 0)
		rc = op_temp_array(c, (uint64_t)b.n * (uint64_t)b.k,
				   sizeof(float), &w, e);
	if (rc < 0)
		return rc;
	s.dims[s.rank - 1] = b.n;
	rc = float_output(c, 0, &s, &y, e);
	if (rc < 0)
		return rc;
	unpack(&b, w);
	g.m = op_nelems(c, 0) / (uint64_t)b.k;
	g.n = g.ldc = (size_t)b.n;
	g.k = g.lda = g.ldb = (size_t)b.k;
	if (!gemm_fits(&g))
		return op_unsupported(c, e, "matrices of this size");
	gemm_run(&c->env->kernel, &g, x, w, y);
	return 0;
}

/* ---- QLinearAdd, QLinearMul: on the numbers the bytes stand for ---- */
static int eval_qbinary(struct op_call *c, struct err *e)
{
	const struct shape *shapes[2] = {op_shape(c, 0), op_shape(c, 3)};
	const float *a, *b;
	struct stride_plan p;
	struct shape s;
	uint64_t n;
	void *out;
	int rc = op_broadcast(c, shapes[0], shapes[1], &s, e);

	if (rc == 0)
		rc = quant_input(c, 0, &a, e);
	if (rc == 0)
		rc = quant_input(c, 3, &b, e);
	if (rc == 0)
		rc = op_count(c, &s, &n, e);
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(float), &out, e);
	if (rc < 0)
		return rc;
	op_stride_plan(&p, &s, shapes, 2);
	p.in_size[0] = p.in_size[1] = p.out_size = sizeof(float);
	stride_for(&c->env->kernel, &p, (const void *[]){a, b}, out,
		   binary_find((enum binary)c->op->arg, NUM_F32), NULL);
	return quant_output(c, &s, out, 6, 7, c->in[0].dtype, e);
}

static int eval_qunary(struct op_call *c, struct err *e)
{
	struct unary_arg u = {.a = op_attr_float(c, "alpha", 0.01f)};
	const float *x;
	void *out;
	int rc = quant_input(c, 0, &x, e);

	if (rc == 0)
		rc = op_temp_array(c, op_nelems(c, 0), sizeof(float), &out, e);
	if (rc < 0)
		return rc;
	unary_for(&c->env->kernel, (enum unary)c->op->arg, NUM_F32, &u, x, out,
		  op_nelems(c, 0));
	return quant_output(c, op_shape(c, 0), out, 3, 4, c->in[0].dtype, e);
}

/* ---- what is known ahead ---- */
static int infer_embed(struct op_call *c, struct err *e)
{
	const struct shape *ids = op_shape(c, 0), *w = op_shape(c, 2);
	struct shape s = shape_unknown(), mask = shape_unknown();
	int rc = op_need_rank(c, 0, 2, 2, e);

	if (rc == 0)
		rc = op_need_rank(c, 2, 2, 2, e);
	if (rc < 0)
		return rc;
	if (ids->rank == 2 && w->rank == 2) {
		s = shape_of(
			3, (int64_t[]){ids->dims[0], ids->dims[1], w->dims[1]});
		mask = shape_of(1, ids->dims);
	}
	op_out(c, 0, op_dtype(c, 2), &s);
	op_out(c, 1, DTYPE_I32, &mask);
	op_out(c, 2, op_dtype(c, 2), &s);
	return 0;
}

static struct shape turned(const struct shape *s, bool yes)
{
	struct shape t = *s;

	if (yes && s->rank >= 2) {
		t.dims[s->rank - 1] = s->dims[s->rank - 2];
		t.dims[s->rank - 2] = s->dims[s->rank - 1];
	}
	return t;
}

static int infer_fused_matmul(struct op_call *c, struct err *e)
{
	struct shape a = turned(op_shape(c, 0), op_attr_int(c, "transA", 0));
	struct shape b = turned(op_shape(c, 1), op_attr_int(c, "transB", 0));
	struct shape s;
	int rc;

	if (op_attr_int(c, "transBatchA", 0) ||
	    op_attr_int(c, "transBatchB", 0))
		return 0;
	rc = matmul_shape(c, &a, &b, &s, e);
	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

static int infer_nbits(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	int64_t n = op_attr_int(c, "N", 0);
	int rc = op_need_rank(c, 0, 1, SHAPE_RANK_MAX, e);

	if (rc == 0 && n < 1)
		return op_invalid(c, e, "N %lld", (long long)n);
	if (s.rank > 0)
		s.dims[s.rank - 1] = n;
	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

static int infer_qbinary(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = op_broadcast(c, op_shape(c, 0), op_shape(c, 3), &s, e);

	if (rc == 0)
		op_out(c, 0, op_has(c, 7) ? op_dtype(c, 7) : c->in[0].dtype,
		       &s);
	return rc;
}

static int infer_qunary(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, op_has(c, 4) ? op_dtype(c, 4) : c->in[0].dtype,
	       op_shape(c, 0));
	return 0;
}

#define MS(type, in, in_max, out_max, arg, infer, eval)                    \
	{                                                                  \
		MICROSOFT, type, 1, in, in_max, 1, out_max, 0, arg, infer, \
			eval                                               \
	}

const struct op ops_ms_fused[] = {
	MS("FastGelu", 1, 2, 1, UNARY_GELU_TANH, infer_same, eval_gelu),
	MS("BiasGelu", 2, 2, 1, UNARY_GELU, infer_same, eval_gelu),
	MS("SkipLayerNormalization", 3, 5, 4, 0, infer_skip_norm,
	   eval_skip_norm),
	MS("SkipSimplifiedLayerNormalization", 3, 4, 4, 1, infer_skip_norm,
	   eval_skip_norm),
	MS("EmbedLayerNormalization", 1, 9, 3, 0, infer_embed, eval_embed),
	MS("FusedMatMul", 2, 2, 1, 0, infer_fused_matmul, eval_fused_matmul),
	MS("TransposeMatMul", 2, 2, 1, 0, infer_fused_matmul,
	   eval_fused_matmul),
	MS("MatMulNBits", 3, 6, 1, 0, infer_nbits, eval_nbits),
	MS("QLinearAdd", 7, 8, 1, BINARY_ADD, infer_qbinary, eval_qbinary),
	MS("QLinearMul", 7, 8, 1, BINARY_MUL, infer_qbinary, eval_qbinary),
	MS("QLinearSigmoid", 4, 5, 1, UNARY_SIGMOID, infer_qunary, eval_qunary),
	MS("QLinearLeakyRelu", 4, 5, 1, UNARY_LEAKY_RELU, infer_qunary,
	   eval_qunary),
	{0},
};
