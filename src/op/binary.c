/* SPDX-License-Identifier: MIT */
/*
 * binary - two tensors, broadcast to a common shape; and the sums, means,
 * minima and maxima of any number of tensors.
 */
#include "kernel/binary.h"

#include "kernel/fast.h"
#include "op/impl.h"
#include "op/strip.h"

static bool gives_bool(const struct op_call *c)
{
	return c->op->arg >= BINARY_EQUAL;
}

/*
 * Before opset 7 the second input stood for extents of the first from `axis`
 * on (PRelu: from the channels); later both are aligned at their ends.
 */
static int second_shape(const struct op_call *c, struct shape *out,
			struct err *e)
{
	const struct shape *a = op_shape(c, 0), *b = op_shape(c, 1);
	bool prelu = c->op->arg == BINARY_PRELU && b->rank == 1 && a->rank > 1;
	int32_t axis;
	int rc;

	*out = *b;
	if (c->node->opset >= 7 || a->rank < 0 || b->rank < 0 ||
	    b->rank > a->rank || strcmp(c->op->domain, ONNX) != 0)
		return 0;
	if (!prelu && !node_attr(c->node, "axis"))
		return 0;
	rc = op_axis(c, op_attr_int(c, "axis", prelu ? 1 : 0), a->rank, &axis,
		     e);
	if (rc < 0)
		return rc;
	if (axis + b->rank > a->rank)
		return op_invalid(c, e, "axis %d", axis);
	out->rank = a->rank;
	for (int32_t i = 0; i < a->rank; i++)
		out->dims[i] =
			i >= axis && i < axis + b->rank ? b->dims[i - axis] : 1;
	return 0;
}

static int result_shape(const struct op_call *c, struct shape *second,
			struct shape *out, struct err *e)
{
	int rc = second_shape(c, second, e);

	return rc < 0 ? rc : op_broadcast(c, op_shape(c, 0), second, out, e);
}

static int infer_binary(struct op_call *c, struct err *e)
{
	struct shape second, s;
	int rc = result_shape(c, &second, &s, e);

	if (rc == 0)
		op_out(c, 0, gives_bool(c) ? DTYPE_BOOL : c->in[0].dtype, &s);
	return rc;
}

/* The types may differ for Pow and shifts only: then the wider one counts. */
static int common_type(struct op_call *c, enum dtype *out, struct err *e)
{
	enum dtype a = op_compute_type(c->in[0].dtype);
	enum dtype b = op_compute_type(c->in[1].dtype);

	*out = a;
	if (a == b || c->in[0].dtype == c->in[1].dtype)
		return 0;
	if (c->op->arg != BINARY_POW)
		return op_invalid(c, e, "types %s and %s",
				  dtype_name(c->in[0].dtype),
				  dtype_name(c->in[1].dtype));
	if (op_is_int(a) && op_is_int(b))
		*out = DTYPE_I64;
	else if (a != DTYPE_F32 || !op_is_int(b))
		*out = DTYPE_F64;
	return 0;
}

/* One row, for each row of x. */
static bool is_row_of(const struct shape *row, const struct shape *x)
{
	uint64_t n;

	return x->rank >= 2 && row->rank >= 1 && row->rank <= x->rank &&
	       shape_nelems(row, &n) &&
	       row->dims[row->rank - 1] == x->dims[x->rank - 1] &&
	       n == (uint64_t)x->dims[x->rank - 1];
}

/* Adding as much as there is, or a row. */
static enum op_stage find_stage(const struct op_call *c, size_t flow)
{
	const struct shape *x = op_shape(c, flow), *y = op_shape(c, !flow);

	if (c->op->arg != BINARY_ADD || !op_is_short_float(c->in[0].dtype) ||
	    c->in[1].dtype != c->in[0].dtype ||
	    op_attr_int(c, "broadcast", 0) || !shape_is_known(x) ||
	    !shape_is_known(y))
		return 0;
	if (shape_equal(x, y))
		return OP_STAGE_ADD;
	return is_row_of(y, x) ? OP_STAGE_COLUMNS : 0;
}

static int join_binary(struct op_call *c, size_t flow, struct finish *f,
		       struct err *e)
{
	int stage = find_stage(c, flow);
	const void *p;
	int rc;

	if (!f || !stage)
		return stage;
	rc = op_data_as(c, !flow, DTYPE_F32, &p, e);
	if (stage == OP_STAGE_ADD)
		f->add = p;
	else
		f->col_bias = p;
	return rc;
}

/* Which of two operations an attribute asks for. */
static int choose(const struct op_call *c, enum binary *op, struct err *e)
{
	const char *way = op_attr_str(c, "direction", "");

	*op = (enum binary)c->op->arg;
	if (*op == BINARY_MOD && op_attr_int(c, "fmod", 0))
		*op = BINARY_FMOD;
	if (*op != BINARY_SHL || strcmp(way, "LEFT") == 0)
		return 0;
	*op = BINARY_SHR;
	if (strcmp(way, "RIGHT") != 0)
		return op_invalid(c, e, "direction");
	return 0;
}

static int step_binary(struct op_call *c, struct op_step *s, struct err *e)
{
	enum binary op;
	enum dtype type = s ? s->takes[0] : DTYPE_NONE;
	enum num t;
	int rc;

	if (!s)
		return op_is_short_float(c->in[0].dtype) &&
				       c->in[0].dtype == c->in[1].dtype &&
				       !gives_bool(c)
			       ? 2
			       : 0;
	rc = choose(c, &op, e);
	if (rc == 0)
		rc = second_shape(c, &s->shapes[1], e);
	if (rc == 0)
		rc = common_type(c, &type, e);
	if (rc < 0)
		return rc;
	if (!op_num(type, &t) || !binary_find(op, t))
		return op_bad_dtype(c, 0, e);
	s->fn = binary_find(op, t);
	s->takes[0] = s->takes[1] = s->gives = type;
	if (gives_bool(c))
		s->gives = s->stored = DTYPE_BOOL;
	return 0;
}

static void equal_spans(const void *const in[], const size_t step[], void *out,
			size_t n, const void *arg)
{
	const struct span *a = in[0], *b = in[1];
	uint8_t *o = out;

	(void)arg;
	for (size_t i = 0; i < n; i++) {
		const struct span *x = &a[i * step[0]], *y = &b[i * step[1]];

		o[i] = x->len == y->len &&
		       (x->len == 0 || memcmp(x->p, y->p, x->len) == 0);
	}
}

static int equal_strings(struct op_call *c, struct err *e)
{
	struct shape second, s;
	const struct shape *shapes[2] = {op_shape(c, 0), &second};
	const void *in[2];
	struct stride_plan p;
	size_t size;
	void *out;
	int rc = result_shape(c, &second, &s, e);

	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_BOOL, &s, &out, e);
	if (rc == 0)
		rc = op_elems(c, 0, &in[0], &size, e);
	if (rc == 0)
		rc = op_elems(c, 1, &in[1], &size, e);
	if (rc < 0)
		return rc;
	op_stride_plan(&p, &s, shapes, 2);
	p.in_size[0] = p.in_size[1] = sizeof(struct span);
	p.out_size = 1;
	stride_for(&c->env->kernel, &p, in, out, equal_spans, NULL);
	return 0;
}

static int eval_equal(struct op_call *c, struct err *e)
{
	bool strings = c->in[0].dtype == DTYPE_STRING &&
		       c->in[1].dtype == DTYPE_STRING;

	return strings ? equal_strings(c, e) : strip_eval(c, e);
}

/* ---- any number of inputs ---- */
static int fold(struct op_call *c, enum binary op, enum num t, void *out,
		const struct shape *s, struct err *e)
{
	for (size_t i = 0; i < c->nin; i++) {
		const struct shape *shapes[2] = {s, op_shape(c, i)};
		const void *in[2] = {out, NULL};
		struct stride_plan p;
		enum num ti;
		int rc = op_in(c, i, &ti, &in[1], e);

		if (rc < 0)
			return rc;
		if (ti != t || !binary_find(op, t))
			return op_bad_dtype(c, i, e);
		op_stride_plan(&p, s, shapes, 2);
		p.in_size[0] = p.in_size[1] = p.out_size = num_size(t);
		if (i == 0) { /* spreads the first input */
			in[0] = in[1];
			memcpy(p.step[0], p.step[1], sizeof(p.step[0]));
		}
		stride_for(&c->env->kernel, &p, in, out,
			   binary_find(i == 0 ? BINARY_MAX : op, t), NULL);
	}
	return 0;
}

static int all_shapes(const struct op_call *c, struct shape *s, struct err *e)
{
	int rc = 0;

	*s = *op_shape(c, 0);
	for (size_t i = 1; i < c->nin && rc == 0; i++)
		rc = op_broadcast(c, s, op_shape(c, i), s, e);
	return rc;
}

static int eval_fold(struct op_call *c, struct err *e)
{
	struct shape s;
	uint64_t n;
	void *out;
	enum num t;
	int rc = all_shapes(c, &s, e);

	if (rc < 0)
		return rc;
	if (!op_num(op_compute_type(c->in[0].dtype), &t))
		return op_bad_dtype(c, 0, e);
	rc = op_out_as(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc == 0)
		rc = op_count(c, &s, &n, e);
	if (rc == 0)
		rc = fold(c, (enum binary)c->op->arg, t, out, &s, e);
	if (rc == 0 && strcmp(c->op->type, "Mean") == 0) {
		struct unary_arg u = {.a = 1.0 / (double)c->nin};

		if (!unary_find(UNARY_AFFINE, t))
			return op_bad_dtype(c, 0, e);
		unary_for(&c->env->kernel, UNARY_AFFINE, t, &u, out, out, n);
	}
	return rc;
}

#define BINARY(type, since, op)                                        \
	{                                                              \
		ONNX, type, since, 2, 2, 1, 1, OP_WRITES_ALL, op,      \
			infer_binary, strip_eval, .join = join_binary, \
						  .step = step_binary  \
	}
#define FOLD(type, op)                                                       \
	{                                                                    \
		ONNX, type, 1, 1, OP_VARIADIC, 1, 1, 0, op, infer_broadcast, \
			eval_fold                                            \
	}

const struct op ops_binary[] = {
	BINARY("Add", 1, BINARY_ADD),
	BINARY("Sub", 1, BINARY_SUB),
	BINARY("Mul", 1, BINARY_MUL),
	BINARY("Div", 1, BINARY_DIV),
	BINARY("Pow", 1, BINARY_POW),
	BINARY("PRelu", 1, BINARY_PRELU),
	BINARY("And", 1, BINARY_AND),
	BINARY("Or", 1, BINARY_OR),
	BINARY("Xor", 1, BINARY_XOR),
	BINARY("BitwiseAnd", 18, BINARY_AND),
	BINARY("BitwiseOr", 18, BINARY_OR),
	BINARY("BitwiseXor", 18, BINARY_XOR),
	{ONNX, "Equal", 1, 2, 2, 1, 1, OP_WRITES_ALL, BINARY_EQUAL,
	 infer_binary, eval_equal, .step = step_binary},
	BINARY("Less", 1, BINARY_LESS),
	BINARY("LessOrEqual", 12, BINARY_LESS_EQUAL),
	BINARY("Greater", 1, BINARY_GREATER),
	BINARY("GreaterOrEqual", 12, BINARY_GREATER_EQUAL),
	BINARY("Mod", 10, BINARY_MOD),
	BINARY("BitShift", 11, BINARY_SHL),
	FOLD("Sum", BINARY_ADD),
	FOLD("Mean", BINARY_ADD),
	FOLD("Max", BINARY_MAX),
	FOLD("Min", BINARY_MIN),
	{0},
};
