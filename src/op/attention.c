/* SPDX-License-Identifier: MIT */
/* attention - Attention and RotaryEmbedding. */
#include "op/attention.h"

#include <math.h>

#include "op/impl.h"

/* ---- Attention ---- */
/* Extents of an input of rank 3 (hidden) or 4 (heads). */
struct extents {
	size_t batch, heads, len, dim;
	bool hidden;
};

static int read_extents(struct op_call *c, size_t i, const char *attr,
			struct extents *x, struct err *e)
{
	const struct shape *s = op_shape(c, i);
	int64_t heads = op_attr_int(c, attr, 0);
	int rc = op_need_rank(c, i, 3, 4, e);

	if (rc < 0)
		return rc;
	x->hidden = s->rank == 3;
	if (x->hidden && (heads < 1 || s->dims[2] % heads != 0))
		return op_invalid(c, e, "%s %lld", attr, (long long)heads);
	x->batch = (size_t)s->dims[0];
	x->heads = x->hidden ? (size_t)heads : (size_t)s->dims[1];
	x->len = (size_t)s->dims[x->hidden ? 1 : 2];
	x->dim = x->hidden ? (size_t)(s->dims[2] / heads) : (size_t)s->dims[3];
	return 0;
}

/* Past rows in input i, of [batch][heads][*][dim]; 0 when left out. */
static int past_rows(struct op_call *c, size_t i, const struct extents *x,
		     size_t *rows, struct err *e)
{
	const struct shape *s = op_shape(c, i);

	*rows = 0;
	if (!op_has(c, i))
		return 0;
	if (s->rank != 4 || s->dims[0] != (int64_t)x->batch ||
	    s->dims[1] != (int64_t)x->heads || s->dims[3] != (int64_t)x->dim)
		return op_invalid(c, e, "input %zu does not fit", i);
	*rows = (size_t)s->dims[2];
	return 0;
}

/* Output 0's shape, and the present key's and value's. */
static int attention_shapes(struct op_call *c, struct extents x[3],
			    size_t *past, struct shape s[3], struct err *e)
{
	static const char *const attrs[] = {"q_num_heads", "kv_num_heads",
					    "kv_num_heads"};
	size_t past_v = 0;
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = read_extents(c, i, attrs[i], &x[i], e);
	if (rc == 0)
		rc = past_rows(c, 4, &x[1], past, e);
	if (rc == 0)
		rc = past_rows(c, 5, &x[2], &past_v, e);
	if (rc < 0)
		return rc;
	if (x[0].batch != x[1].batch || x[0].batch != x[2].batch ||
	    x[1].heads != x[2].heads || x[1].len != x[2].len ||
	    x[0].dim != x[1].dim || *past != past_v || x[1].heads == 0 ||
	    x[0].heads % x[1].heads != 0)
		return op_invalid(c, e, "queries, keys and values differ");
	s[0] = *op_shape(c, 0);
	s[0].dims[s[0].rank - 1] = x[0].hidden
					   ? (int64_t)(x[0].heads * x[2].dim)
					   : (int64_t)x[2].dim;
	for (int i = 1; i < 3; i++)
		s[i] = shape_of(4, (int64_t[]){(int64_t)x[i].batch,
					       (int64_t)x[i].heads,
					       (int64_t)(*past + x[i].len),
					       (int64_t)x[i].dim});
	return 0;
}

static bool all_known(const struct op_call *c)
{
	for (size_t i = 0; i < c->nin; i++) {
		if (op_has(c, i) && !shape_is_known(&c->in[i].shape))
			return false;
	}
	return true;
}

static int infer_attention(struct op_call *c, struct err *e)
{
	struct shape s[3], unknown = shape_unknown();
	struct extents x[3];
	size_t past;
	int rc;

	for (size_t i = 0; i < c->nout; i++)
		op_out(c, i, c->in[0].dtype, &unknown);
	if (!all_known(c))
		return 0;
	rc = attention_shapes(c, x, &past, s, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < 3; i++)
		op_out(c, i, c->in[i].dtype, &s[i]);
	s[0] = shape_of(4, (int64_t[]){(int64_t)x[0].batch, (int64_t)x[0].heads,
				       (int64_t)x[0].len,
				       (int64_t)(past + x[1].len)});
	op_out(c, 3, c->in[0].dtype, &s[0]);
	return 0;
}

#define REAL float
#define DTYPE DTYPE_F32
#define T(name) name
#define M(name) name##f
#define EXPORT
#include "op/attention_body.h"
#undef REAL
#undef DTYPE
#undef T
#undef M
#undef EXPORT

#define REAL double
#define DTYPE DTYPE_F64
#define T(name) name##_f64
#define M(name) name
#define EXPORT static
#include "op/attention_body.h"

static int eval_either(struct op_call *c, struct err *e)
{
	return c->in[0].dtype == DTYPE_F64 ? eval_attention_f64(c, e)
					   : eval_attention(c, e);
}

/* ---- RotaryEmbedding ---- */
static int rotary_rows(struct op_call *c, struct rotary *r, struct err *e)
{
	const struct shape *cos = op_shape(c, 1);
	int64_t half = (int64_t)(r->dim / 2), *rows;
	const int64_t *given;
	void *p;
	int rc;

	if (!shape_equal(cos, op_shape(c, 2)) || cos->rank < 2 ||
	    cos->dims[cos->rank - 1] != half)
		return op_invalid(c, e, "the caches do not fit");
	if (op_has(c, 3)) {
		if (op_nelems(c, 3) != r->batch * r->len || cos->rank != 2)
			return op_invalid(c, e, "position_ids");
		rc = op_indices(c, 3, cos->dims[0], &given, e);
		r->rows = given;
		return rc;
	}
	if (op_nelems(c, 1) != r->batch * r->len * (uint64_t)half)
		return op_invalid(c, e, "the caches do not fit");
	rc = op_temp_array(c, r->batch * r->len, sizeof(int64_t), &p, e);
	if (rc < 0)
		return rc;
	rows = p;
	for (size_t i = 0; i < r->batch * r->len; i++)
		rows[i] = (int64_t)i;
	r->rows = rows;
	return 0;
}

static int eval_rotary(struct op_call *c, struct err *e)
{
	int64_t dim = op_attr_int(c, "rotary_embedding_dim", 0);
	struct rotary r = {.interleaved =
				   op_attr_int(c, "interleaved", 0) != 0};
	struct attention_view v;
	struct extents x;
	const float *in;
	void *out;
	int rc = read_extents(c, 0, "num_heads", &x, e);

	if (rc < 0)
		return rc;
	if (dim < 0 || (uint64_t)dim > x.dim || x.dim % 2 || dim % 2)
		return op_invalid(c, e, "rotary_embedding_dim");
	r.batch = x.batch;
	r.heads = x.heads;
	r.len = x.len;
	r.head_dim = x.dim;
	r.dim = dim ? (size_t)dim : x.dim;
	rc = rotary_rows(c, &r, e);
	if (rc == 0)
		rc = op_in_f32(c, 0, &in, e);
	if (rc == 0)
		rc = op_in_f32(c, 1, &r.cos, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &r.sin, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32,
				 op_shape(c, 0), &out, e);
	if (rc < 0)
		return rc;
	v = view_of(&x, in);
	r.step_batch = v.batch;
	r.step_head = v.head;
	r.step_row = v.row;
	attention_rotate(&c->env->kernel, &r, in, out);
	return 0;
}

const struct op ops_attention[] = {
	{ONNX, "Attention", 23, 3, 7, 1, 4, 0, 0, infer_attention, eval_either},
	{ONNX, "RotaryEmbedding", 23, 3, 4, 1, 1, 0, 0, infer_same,
	 eval_rotary},
	{0},
};
