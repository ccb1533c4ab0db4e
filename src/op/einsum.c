/* SPDX-License-Identifier: MIT */
/*
 * einsum - operands are folded one after the other: both are brought into the
 * order [kept by both][own][summed], multiplied as matrices, and what remains
 * is the next left operand.
 */
#include "kernel/copy.h"
#include "kernel/gemm.h"
#include "op/impl.h"

/* Letters, then the extents of an ellipsis counted from the right. */
#define LETTERS 52
#define LABELS (LETTERS + SHAPE_RANK_MAX)
#define OPERANDS_MAX 64

struct terms {
	uint8_t label[SHAPE_RANK_MAX];
	int32_t n;
};

struct einsum {
	struct terms in[OPERANDS_MAX], out;
	size_t nin;
	int64_t dims[LABELS];
	bool seen[LABELS];
};

struct operand {
	struct terms terms;
	struct shape shape;
	const void *data;
};

/* ---- the equation ---- */
static int letter(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	return c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1;
}

/* One term up to `end`; its ellipsis stands for `dots` extents. */
static int parse_term(const struct op_call *c, const char *p, const char *end,
		      int32_t dots, struct terms *t, struct err *e)
{
	t->n = 0;
	while (p < end) {
		if (*p == ' ') {
			p++;
			continue;
		}
		if (end - p >= 3 && memcmp(p, "...", 3) == 0) {
			if (t->n + dots > SHAPE_RANK_MAX)
				return op_invalid(c, e, "too many labels");
			for (int32_t i = dots; i-- > 0;)
				t->label[t->n++] = (uint8_t)(LETTERS + i);
			dots = 0;
			p += 3;
			continue;
		}
		if (letter(*p) < 0 || t->n == SHAPE_RANK_MAX)
			return op_invalid(c, e, "the equation");
		t->label[t->n++] = (uint8_t)letter(*p++);
	}
	return 0;
}

static int32_t count_letters(const char *p, const char *end, bool *dots)
{
	int32_t n = 0;

	*dots = false;
	for (; p < end; p++) {
		n += letter(*p) >= 0;
		*dots |= *p == '.';
	}
	return n;
}

static int set_dim(const struct op_call *c, struct einsum *s, int label,
		   int64_t dim, struct err *e)
{
	int64_t *d = &s->dims[label];

	if (!s->seen[label] || *d == 1 || *d == DIM_UNKNOWN)
		*d = dim;
	else if (dim != *d && dim != 1 && dim != DIM_UNKNOWN)
		return op_invalid(c, e, "extents %lld and %lld", (long long)*d,
				  (long long)dim);
	s->seen[label] = true;
	return 0;
}

static int parse_inputs(struct op_call *c, const char *eq, const char *end,
			struct einsum *s, int32_t *most, struct err *e)
{
	*most = 0;
	for (size_t i = 0; i < c->nin; i++) {
		const char *stop = memchr(eq, ',', (size_t)(end - eq));
		const struct shape *shape = op_shape(c, i);
		int32_t n, dots;
		bool has_dots;
		int rc;

		stop = stop ? stop : end;
		n = count_letters(eq, stop, &has_dots);
		dots = has_dots ? shape->rank - n : 0;
		if (dots < 0)
			return op_invalid(c, e, "input %zu has rank %d", i,
					  shape->rank);
		*most = dots > *most ? dots : *most;
		rc = parse_term(c, eq, stop, dots, &s->in[i], e);
		if (rc < 0)
			return rc;
		if (s->in[i].n != shape->rank)
			return op_invalid(c, e, "input %zu has rank %d", i,
					  shape->rank);
		for (int32_t d = 0; d < shape->rank && rc == 0; d++)
			rc = set_dim(c, s, s->in[i].label[d], shape->dims[d],
				     e);
		if (rc < 0)
			return rc;
		if ((stop == end) != (i + 1 == c->nin))
			return op_invalid(c, e, "the number of inputs");
		eq = stop + 1;
	}
	return 0;
}

/* Without "->": the ellipsis, then letters that occur once, in order. */
static void implicit_output(struct einsum *s, size_t nin, int32_t dots)
{
	unsigned count[LETTERS] = {0};

	for (size_t i = 0; i < nin; i++) {
		for (int32_t d = 0; d < s->in[i].n; d++) {
			if (s->in[i].label[d] < LETTERS)
				count[s->in[i].label[d]]++;
		}
	}
	for (int32_t i = dots; i-- > 0;)
		s->out.label[s->out.n++] = (uint8_t)(LETTERS + i);
	for (int l = 0; l < LETTERS; l++) {
		if (count[l] == 1 && s->out.n < SHAPE_RANK_MAX)
			s->out.label[s->out.n++] = (uint8_t)l;
	}
}

static int parse(struct op_call *c, struct einsum *s, struct shape *out,
		 struct err *e)
{
	const char *eq = op_attr_str(c, "equation", "");
	const char *arrow = strstr(eq, "->");
	const char *end = arrow ? arrow : eq + strlen(eq);
	int32_t dots;
	int rc;

	memset(s, 0, sizeof(*s));
	if (c->nin > OPERANDS_MAX)
		return op_unsupported(c, e, "this many inputs");
	rc = parse_inputs(c, eq, end, s, &dots, e);
	if (rc < 0)
		return rc;
	if (!arrow)
		implicit_output(s, c->nin, dots);
	else
		rc = parse_term(c, arrow + 2, eq + strlen(eq), dots, &s->out,
				e);
	out->rank = s->out.n;
	for (int32_t i = 0; i < s->out.n && rc == 0; i++) {
		if (!s->seen[s->out.label[i]])
			return op_invalid(c, e, "an unknown result label");
		out->dims[i] = s->dims[s->out.label[i]];
	}
	return rc;
}

static int infer_einsum(struct op_call *c, struct err *e)
{
	struct shape out = shape_unknown();
	struct einsum s;
	int rc = 0;

	for (size_t i = 0; i < c->nin; i++) {
		if (op_shape(c, i)->rank < 0) {
			op_out(c, 0, c->in[0].dtype, &out);
			return 0;
		}
	}
	rc = parse(c, &s, &out, e);
	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &out);
	return rc;
}

/* ---- products ---- */
static bool has(const struct terms *t, uint8_t label)
{
	for (int32_t i = 0; i < t->n; i++) {
		if (t->label[i] == label)
			return true;
	}
	return false;
}

static void add(struct terms *t, uint8_t label)
{
	if (!has(t, label) && t->n < SHAPE_RANK_MAX)
		t->label[t->n++] = label;
}

static uint64_t span_of(const struct einsum *s, const struct terms *t)
{
	uint64_t n = 1;

	for (int32_t i = 0; i < t->n; i++)
		n *= (uint64_t)s->dims[t->label[i]];
	return n;
}

/* An operand's elements in the order of up to three groups of labels. */
static int arrange(struct op_call *c, const struct einsum *s,
		   const struct operand *o, const struct terms *const order[3],
		   enum num t, const void **out, struct err *e)
{
	struct copy_plan p = {.size = num_size(t)};
	int64_t strides[SHAPE_RANK_MAX], n = 1;
	ptrdiff_t to = 1;
	void *room;
	int rc;

	shape_strides(&o->shape, strides);
	for (int g = 0; g < 3; g++) {
		for (int32_t i = 0; i < order[g]->n; i++) {
			uint8_t label = order[g]->label[i];

			if (p.rank == COPY_RANK_MAX)
				return op_unsupported(c, e, "the rank");
			p.dims[p.rank] = (size_t)s->dims[label];
			rc = op_mul(c, n, s->dims[label], &n, e);
			if (rc < 0)
				return rc;
			for (int32_t d = 0; d < o->terms.n; d++) {
				if (o->terms.label[d] == label &&
				    o->shape.dims[d] != 1)
					p.from[p.rank] += (ptrdiff_t)strides[d];
			}
			p.rank++;
		}
	}
	for (size_t d = p.rank; d-- > 0;) {
		p.to[d] = to;
		to *= (ptrdiff_t)p.dims[d];
	}
	rc = op_temp_array(c, (uint64_t)n, p.size, &room, e);
	if (rc < 0)
		return rc;
	copy_strided(&c->env->kernel, &p, o->data, room);
	*out = room;
	return 0;
}

/* Labels that later operands or the result still need. */
static bool is_needed(const struct einsum *s, size_t next, size_t nin,
		      uint8_t label)
{
	bool needed = has(&s->out, label);

	for (size_t i = next; i < nin; i++)
		needed = needed || has(&s->in[i], label);
	return needed;
}

struct groups {
	struct terms both, left, right, summed;
};

static void classify(const struct einsum *s, const struct operand *a,
		     const struct operand *b, size_t next, size_t nin,
		     struct groups *g)
{
	memset(g, 0, sizeof(*g));
	for (int side = 0; side < 2; side++) {
		const struct terms *t = side ? &b->terms : &a->terms;
		const struct terms *other = side ? &a->terms : &b->terms;

		for (int32_t i = 0; i < t->n; i++) {
			uint8_t label = t->label[i];

			if (!is_needed(s, next, nin, label))
				add(&g->summed, label);
			else if (has(other, label))
				add(&g->both, label);
			else
				add(side ? &g->right : &g->left, label);
		}
	}
}

/* a becomes a · b, with labels [both][left][right]. */
static int multiply(struct op_call *c, const struct einsum *s,
		    struct operand *a, const struct operand *b, size_t next,
		    enum num t, struct err *e)
{
	struct groups g;
	struct gemm mm = {.type = t, .alpha = 1, .trans_b = true};
	const struct terms *la[3] = {&g.both, &g.left, &g.summed};
	const struct terms *lb[3] = {&g.both, &g.right, &g.summed};
	const void *pa, *pb;
	size_t *at;
	uint64_t n;
	void *p, *out;
	int rc;

	classify(s, a, b, next, c->nin, &g);
	rc = arrange(c, s, a, la, t, &pa, e);
	a->terms.n = 0;
	for (int i = 0; i < 3; i++) {
		const struct terms *t3[3] = {&g.both, &g.left, &g.right};

		for (int32_t d = 0; d < t3[i]->n; d++)
			add(&a->terms, t3[i]->label[d]);
	}
	if (rc == 0)
		rc = arrange(c, s, b, lb, t, &pb, e);
	if (rc < 0)
		return rc;
	a->shape.rank = a->terms.n;
	for (int32_t d = 0; d < a->terms.n; d++)
		a->shape.dims[d] = s->dims[a->terms.label[d]];
	rc = op_count(c, &a->shape, &n, e);
	if (rc == 0)
		rc = op_temp_array(c, n, num_size(t), &out, e);
	mm.batch = span_of(s, &g.both);
	if (rc == 0)
		rc = op_temp_array(c, mm.batch, 2 * sizeof(size_t), &p, e);
	if (rc < 0)
		return rc;
	mm.m = span_of(s, &g.left);
	mm.n = mm.ldc = span_of(s, &g.right);
	mm.k = mm.lda = mm.ldb = span_of(s, &g.summed);
	mm.c_step = mm.m * mm.n;
	at = p;
	for (size_t i = 0; i < mm.batch; i++) {
		at[i] = i * mm.m * mm.k;
		at[mm.batch + i] = i * mm.n * mm.k;
	}
	mm.a_at = at;
	mm.b_at = at + mm.batch;
	if (!gemm_fits(&mm))
		return op_unsupported(c, e, "matrices of this size");
	gemm_run(&c->env->kernel, &mm, pa, pb, out);
	a->data = out;
	return 0;
}

static enum dtype einsum_type(enum dtype t)
{
	t = op_compute_type(t);
	return op_is_int(t) && dtype_size(t) < 4 ? DTYPE_I32 : t;
}

static int operand_at(struct op_call *c, const struct einsum *s, size_t i,
		      enum dtype t, struct operand *o, struct err *e)
{
	o->terms = s->in[i];
	o->shape = *op_shape(c, i);
	return op_data_as(c, i, t, &o->data, e);
}

/* A scalar 1: what a single operand is multiplied with. */
static const void *one_of(enum num t)
{
	static const float f = 1;
	static const double d = 1;
	static const int32_t i = 1;
	static const int64_t l = 1;

	return t == NUM_F32	  ? (const void *)&f
	       : t == NUM_F64	  ? (const void *)&d
	       : num_size(t) == 4 ? (const void *)&i
				  : (const void *)&l;
}

static int eval_einsum(struct op_call *c, struct err *e)
{
	enum dtype type = einsum_type(c->in[0].dtype);
	static const struct terms none;
	struct operand a, b = {0};
	const struct terms *order[3] = {NULL, &none, &none};
	struct einsum s;
	struct shape out;
	const void *sorted;
	uint64_t n;
	void *to;
	enum num t;
	int rc = parse(c, &s, &out, e);

	if (rc == 0 && (!op_num(type, &t) || !gemm_has(t)))
		return op_bad_dtype(c, 0, e);
	if (rc == 0)
		rc = operand_at(c, &s, 0, type, &a, e);
	if (rc == 0 && c->nin == 1) {
		b.data = one_of(t);
		rc = multiply(c, &s, &a, &b, 1, t, e);
	}
	for (size_t i = 1; i < c->nin && rc == 0; i++) {
		rc = operand_at(c, &s, i, type, &b, e);
		if (rc == 0)
			rc = multiply(c, &s, &a, &b, i + 1, t, e);
	}
	order[0] = &s.out;
	if (rc == 0)
		rc = arrange(c, &s, &a, order, t, &sorted, e);
	if (rc == 0)
		rc = op_count(c, &out, &n, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, type, &out, &to, e);
	if (rc == 0 && n > 0)
		memcpy(to, sorted, n * num_size(t));
	return rc;
}

const struct op ops_einsum[] = {
	{ONNX, "Einsum", 12, 1, OP_VARIADIC, 1, 1, 0, 0, infer_einsum,
	 eval_einsum},
	{0},
};
