/* SPDX-License-Identifier: MIT */
/*
 * ms_blocks - com.microsoft: weights in blocks with scales of their own
 * (GatherBlockQuantized, MatMulBnb4), and operators that take quantised inputs
 * to those on floats (QAttention, QEmbedLayerNormalization, QLinearWhere,
 * QLinearReduceMean).
 */
#include "op/delegate.h"
#include "op/impl.h"
#include "op/matmul.h"
#include "op/quantize.h"

/* ---- GatherBlockQuantized ---- */
struct gather {
	struct shape data; /* in elements, not bytes */
	int32_t axis, quant_axis;
	int64_t block;
	uint64_t per_byte; /* elements of a packed byte; 1: not packed */
	const float *values, *scale, *zero;
	float usual_zero;
	struct shape scales;
};

/* Bytes that hold several numbers, as floats; low bits first. */
static int unpack_bytes(struct op_call *c, size_t i, uint64_t per_byte,
			const float **out, struct err *e)
{
	uint64_t n = op_nelems(c, i) * per_byte;
	unsigned bits = 8 / (unsigned)per_byte, mask = (1u << bits) - 1;
	const uint8_t *in = op_data(c, i);
	float *v;
	void *p;
	int rc = op_temp_array(c, n, sizeof(float), &p, e);

	if (rc < 0)
		return rc;
	v = p;
	for (uint64_t k = 0; k < n; k++)
		v[k] = (float)(in[k / per_byte] >> k % per_byte * bits & mask);
	*out = v;
	return 0;
}

static int gather_sizes(struct op_call *c, struct gather *g, struct err *e)
{
	int64_t bits = op_attr_int(c, "bits", 4);
	int rc;

	g->data = *op_shape(c, 0);
	g->scales = *op_shape(c, 2);
	g->block = op_attr_int(c, "block_size", 128);
	g->per_byte = 1;
	if (c->in[0].dtype == DTYPE_U8 && (bits == 4 || bits == 2))
		g->per_byte = 8 / (uint64_t)bits;
	if (c->in[0].dtype == DTYPE_U8)
		g->usual_zero = (float)(1 << (bits - 1));
	if (g->data.rank < 1 || g->block < 1 || bits < 2 || bits > 8)
		return op_invalid(c, e, "sizes");
	rc = op_mul(c, g->data.dims[g->data.rank - 1], (int64_t)g->per_byte,
		    &g->data.dims[g->data.rank - 1], e);
	if (rc == 0)
		rc = op_axis(c, op_attr_int(c, "gather_axis", 0), g->data.rank,
			     &g->axis, e);
	if (rc == 0)
		rc = op_axis(c, op_attr_int(c, "quantize_axis", 1),
			     g->data.rank, &g->quant_axis, e);
	if (rc < 0)
		return rc;
	for (int32_t d = 0; d < g->data.rank; d++) {
		int64_t want = g->data.dims[d];

		if (d == g->quant_axis)
			want = want / g->block + (want % g->block != 0);
		if (g->scales.rank != g->data.rank || g->scales.dims[d] != want)
			return op_invalid(c, e, "scales do not fit");
	}
	return 0;
}

static int gather_read(struct op_call *c, struct gather *g, struct err *e)
{
	uint64_t nzero;
	int rc = gather_sizes(c, g, e);

	if (rc == 0)
		rc = g->per_byte > 1
			     ? unpack_bytes(c, 0, g->per_byte, &g->values, e)
			     : op_in_f32(c, 0, &g->values, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &g->scale, e);
	if (rc < 0 || !op_has(c, 3))
		return rc;
	nzero = op_nelems(c, 3) * g->per_byte;
	if (nzero < op_nelems(c, 2))
		return op_invalid(c, e, "zero points do not fit");
	return g->per_byte > 1 ? unpack_bytes(c, 3, g->per_byte, &g->zero, e)
			       : op_in_f32(c, 3, &g->zero, e);
}

/* Element `at` of the data, as a number. */
static float number_at(const struct gather *g, uint64_t at)
{
	uint64_t rest = at, scale = 0, step = 1, zero = 0, zero_step = 1;

	for (int32_t d = g->data.rank; d-- > 0;) {
		uint64_t dim = (uint64_t)g->data.dims[d], k = rest % dim;
		uint64_t cols = (uint64_t)g->scales.dims[d];

		rest /= dim;
		if (d == g->quant_axis)
			k /= (uint64_t)g->block;
		scale += k * step;
		step *= cols;
		/* Packed rows of zero points end at a byte. */
		if (d == g->data.rank - 1)
			cols = (cols + g->per_byte - 1) / g->per_byte *
			       g->per_byte;
		zero += k * zero_step;
		zero_step *= cols;
	}
	return (g->values[at] - (g->zero ? g->zero[zero] : g->usual_zero)) *
	       g->scale[scale];
}

static int gather_shape(struct op_call *c, const struct gather *g,
			struct shape *s, struct err *e)
{
	const struct shape *idx = op_shape(c, 1);

	s->rank = 0;
	if (g->data.rank + idx->rank - 1 > SHAPE_RANK_MAX)
		return op_unsupported(c, e, "the rank");
	for (int32_t d = 0; d < g->axis; d++)
		s->dims[s->rank++] = g->data.dims[d];
	for (int32_t d = 0; d < idx->rank; d++)
		s->dims[s->rank++] = idx->dims[d];
	for (int32_t d = g->axis + 1; d < g->data.rank; d++)
		s->dims[s->rank++] = g->data.dims[d];
	return 0;
}

static int eval_gather(struct op_call *c, struct err *e)
{
	struct gather g = {0};
	uint64_t outer, inner, n, dim, at = 0;
	const int64_t *idx = NULL;
	struct shape s;
	float *out;
	void *p;
	int rc = gather_read(c, &g, e);

	if (rc == 0)
		rc = op_indices(c, 1, g.data.dims[g.axis], &idx, e);
	if (rc == 0)
		rc = gather_shape(c, &g, &s, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[2].dtype, DTYPE_F32, &s, &p, e);
	if (rc < 0)
		return rc;
	out = p;
	n = op_nelems(c, 1);
	dim = (uint64_t)g.data.dims[g.axis];
	outer = shape_span(&g.data, 0, g.axis);
	inner = shape_span(&g.data, g.axis + 1, g.data.rank);
	for (uint64_t o = 0; o < outer; o++)
		for (uint64_t i = 0; i < n; i++)
			for (uint64_t k = 0; k < inner; k++)
				out[at++] = number_at(
					&g,
					(o * dim + (uint64_t)idx[i]) * inner +
						k);
	return 0;
}

/* ---- MatMulBnb4: two of 16 numbers in a byte, the first in its high half --- */
static const float fp4[16] = {
	0,
	0.005208333333f,
	0.66666667f,
	1,
	0.33333333f,
	0.5f,
	0.16666667f,
	0.25f,
	-0.0f,
	-0.005208333333f,
	-0.66666667f,
	-1,
	-0.33333333f,
	-0.5f,
	-0.16666667f,
	-0.25f,
};

static const float nf4[16] = {
	-1,
	-0.6961928009986877f,
	-0.5250730514526367f,
	-0.39491748809814453f,
	-0.28444138169288635f,
	-0.18477343022823334f,
	-0.09105003625154495f,
	0,
	0.07958029955625534f,
	0.16093020141124725f,
	0.24611230194568634f,
	0.33791524171829224f,
	0.44070982933044434f,
	0.5626170039176941f,
	0.7229568362236023f,
	1,
};

static int bnb_weights(struct op_call *c, const struct shape *s,
		       const float **out, struct err *e)
{
	uint64_t n = (uint64_t)s->dims[0] * (uint64_t)s->dims[1];
	int64_t block = op_attr_int(c, "block_size", 0);
	const float *table = op_attr_int(c, "quant_type", 1) ? nf4 : fp4;
	const uint8_t *q = op_data(c, 1);
	const float *most;
	float *w;
	void *p;
	int rc;

	if (block < 1 || op_dtype(c, 1) != DTYPE_U8 ||
	    op_nelems(c, 1) != (n + 1) / 2 ||
	    op_nelems(c, 2) != n / (uint64_t)block + (n % (uint64_t)block != 0))
		return op_invalid(c, e, "weights do not fit");
	rc = op_in_f32(c, 2, &most, e);
	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(float), &p, e);
	if (rc < 0)
		return rc;
	w = p;
	for (uint64_t i = 0; i < n; i++)
		w[i] = table[i % 2 ? q[i / 2] & 15 : q[i / 2] >> 4] *
		       most[i / (uint64_t)block];
	*out = w;
	return 0;
}

static int eval_bnb4(struct op_call *c, struct err *e)
{
	int64_t k = op_attr_int(c, "K", 0), n = op_attr_int(c, "N", 0);
	struct matmul mm = {
		.type = NUM_F32, .alpha = 1, .a_shape = op_shape(c, 0)};
	struct shape stored, b, s;
	const float *w = NULL, *a;
	float *t;
	void *p, *out;
	int rc;

	if (k < 1 || n < 1 || k > INT32_MAX || n > INT32_MAX)
		return op_invalid(c, e, "K or N");
	stored = shape_of(2, (int64_t[]){n, k});
	b = shape_of(2, (int64_t[]){k, n});
	rc = bnb_weights(c, &stored, &w, e);
	if (rc == 0)
		rc = matmul_shape(c, mm.a_shape, &b, &s, e);
	if (rc == 0)
		rc = op_temp_array(c, (uint64_t)k * (uint64_t)n, sizeof(float),
				   &p, e);
	if (rc == 0)
		rc = op_in_f32(c, 0, &a, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32, &s, &out, e);
	if (rc < 0)
		return rc;
	t = p;
	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < k; j++)
			t[j * n + i] = w[i * k + j];
	mm.b_shape = &b;
	mm.a = a;
	mm.b = t;
	return matmul_run(c, &mm, out, e);
}

/* ---- by way of floats ---- */
static int eval_qattention(struct op_call *c, struct err *e)
{
	struct tensor in[5] = {0}, out[2] = {0};
	size_t nout = c->nout < 2 ? c->nout : 2;
	int rc = op_dequantised(c, 0, 3, 6, &in[0], e);

	if (rc == 0)
		rc = op_dequantised(c, 1, 4, 7, &in[1], e);
	in[2] = c->in[2];
	if (op_has(c, 5))
		in[3] = c->in[5];
	if (op_has(c, 8))
		in[4] = c->in[8];
	if (rc == 0)
		rc = op_delegate(c, MICROSOFT, "Attention", in, 5, out, nout,
				 e);
	for (size_t i = 0; i < nout && rc == 0; i++)
		if (op_wants(c, i))
			rc = op_give(c, i, &out[i], e);
	tensor_drop(&in[0]);
	tensor_drop(&in[1]);
	tensor_drop(&out[0]);
	tensor_drop(&out[1]);
	return rc;
}

static int eval_qembed(struct op_call *c, struct err *e)
{
	struct tensor in[8] = {0}, out[2] = {0};
	int rc = 0;

	in[0] = c->in[0];
	in[1] = c->in[1];
	for (size_t i = 0; i < 5 && rc == 0; i++)
		if (op_has(c, 2 + i))
			rc = op_dequantised(c, 2 + i, 8 + i, 13 + i, &in[2 + i],
					    e);
	if (op_has(c, 7))
		in[7] = c->in[7];
	if (rc == 0)
		rc = op_delegate(c, MICROSOFT, "EmbedLayerNormalization", in, 8,
				 out, c->nout, e);
	for (size_t i = 0; i < c->nout && rc == 0; i++)
		if (op_wants(c, i))
			rc = op_give(c, i, &out[i], e);
	for (size_t i = 2; i < 7; i++)
		tensor_drop(&in[i]);
	tensor_drop(&out[0]);
	tensor_drop(&out[1]);
	return rc;
}

/* Output 0: t quantised by the scale and zero point in these inputs. */
static int give_quantised(struct op_call *c, const struct tensor *t,
			  size_t scale, size_t zero, enum dtype type,
			  struct err *e)
{
	return quant_output(c, &t->shape, blob_bytes(t->data), scale, zero,
			    type, e);
}

static int eval_qwhere(struct op_call *c, struct err *e)
{
	struct tensor in[3] = {0}, out = {0};
	int rc = op_dequantised(c, 1, 2, 3, &in[1], e);

	if (rc == 0)
		rc = op_dequantised(c, 4, 5, 6, &in[2], e);
	in[0] = c->in[0];
	if (rc == 0)
		rc = op_delegate(c, ONNX, "Where", in, 3, &out, 1, e);
	if (rc == 0)
		rc = give_quantised(c, &out, 7, 8, c->in[1].dtype, e);
	tensor_drop(&in[1]);
	tensor_drop(&in[2]);
	tensor_drop(&out);
	return rc;
}

static int eval_qmean(struct op_call *c, struct err *e)
{
	struct op_call inner = {.node = c->node,
				.op = op_find(ONNX, "ReduceMean", 13),
				.env = c->env,
				.nin = 1,
				.nout = 1};
	struct tensor in = {0}, out = {0};
	int rc = op_dequantised(c, 0, 1, 2, &in, e);

	inner.in = &in;
	inner.out = &out;
	if (rc == 0)
		rc = op_eval(&inner, e);
	if (rc == 0)
		rc = give_quantised(c, &out, 3, 4, c->in[0].dtype, e);
	tensor_drop(&in);
	tensor_drop(&out);
	return rc;
}

#define MS(type, in, in_max, out_max, eval)                                  \
	{                                                                    \
		MICROSOFT, type, 1, in, in_max, 1, out_max, 0, 0, NULL, eval \
	}

const struct op ops_ms_blocks[] = {
	MS("GatherBlockQuantized", 3, 4, 1, eval_gather),
	MS("MatMulBnb4", 3, 3, 1, eval_bnb4),
	MS("QAttention", 5, 9, 2, eval_qattention),
	MS("QEmbedLayerNormalization", 13, 18, 2, eval_qembed),
	MS("QLinearWhere", 9, 9, 1, eval_qwhere),
	MS("QLinearReduceMean", 4, 5, 1, eval_qmean),
	{0},
};
