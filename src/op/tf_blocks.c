/* SPDX-License-Identifier: MIT */
/*
 * tf_blocks - SpaceToBatchND and BatchToSpaceND of TensorFlow
 * (spacetobatch_op.cc): each element of a block of the extents behind the
 * first goes to a batch of its own, and back.  This is how TensorFlow writes
 * convolutions with holes.
 */
#include "kernel/copy.h"
#include "op/impl.h"

#define EXTENTS_MAX (SHAPE_RANK_MAX - 1)

/* The one with large extents, before or after, and the one with many batches */
struct blocks {
	int32_t n; /* extents that are cut into blocks */
	int64_t block[EXTENTS_MAX];
	int64_t before[EXTENTS_MAX], after[EXTENTS_MAX]; /* padding, crops */
	int64_t count; /* elements of a block */
	struct shape large, small;
};

static bool spreads(const struct op_call *c)
{
	return c->op->arg != 0; /* SpaceToBatchND */
}

/* 1 when the blocks are not known yet. */
static int read_blocks(struct op_call *c, struct blocks *b, struct err *e)
{
	const int64_t *pairs;
	size_t n;
	int rc = op_ints(c, 1, b->block, EXTENTS_MAX, &n, e);

	if (rc != 0 || !op_known(c, 2))
		return rc < 0 ? rc : 1;
	rc = op_in_i64(c, 2, &pairs, e);
	if (rc < 0)
		return rc;
	if (op_nelems(c, 2) != 2 * n)
		return op_invalid(c, e, "paddings of other extents");
	b->n = (int32_t)n;
	b->count = 1;
	for (size_t i = 0; i < n; i++) {
		b->before[i] = pairs[2 * i];
		b->after[i] = pairs[2 * i + 1];
		if (b->block[i] < 1 || b->before[i] < 0 || b->after[i] < 0)
			return op_invalid(c, e, "blocks of %lld",
					  (long long)b->block[i]);
		rc = op_mul(c, b->count, b->block[i], &b->count, e);
		if (rc < 0)
			return rc;
	}
	return op_need_rank(c, 0, b->n + 1, SHAPE_RANK_MAX, e);
}

/* An extent in blocks from one that is whole, or the other way around. */
static int turn_extent(struct op_call *c, const struct blocks *b, int32_t i,
		       int64_t dim, int64_t *out, struct err *e)
{
	int64_t whole, edges;
	int rc = op_add(c, b->before[i], b->after[i], &edges, e);

	if (rc == 0 && spreads(c)) {
		rc = op_add(c, dim, edges, &whole, e);
		if (rc == 0 && whole % b->block[i] != 0)
			return op_invalid(c, e, "%lld in blocks of %lld",
					  (long long)whole,
					  (long long)b->block[i]);
		*out = rc == 0 ? whole / b->block[i] : 0;
		return rc;
	}
	if (rc == 0)
		rc = op_mul(c, dim, b->block[i], &whole, e);
	if (rc == 0 && whole < edges)
		return op_invalid(c, e, "%lld cut off from %lld",
				  (long long)edges, (long long)whole);
	*out = rc == 0 ? whole - edges : 0;
	return rc;
}

static int plan(struct op_call *c, struct blocks *b, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct shape out = *in;
	int rc = read_blocks(c, b, e);

	if (rc != 0 || in->rank < 0)
		return rc < 0 ? rc : 1;
	for (int32_t i = 0; rc == 0 && i < b->n; i++)
		if (in->dims[i + 1] != DIM_UNKNOWN)
			rc = turn_extent(c, b, i, in->dims[i + 1],
					 &out.dims[i + 1], e);
	if (rc == 0 && in->dims[0] != DIM_UNKNOWN && spreads(c))
		rc = op_mul(c, in->dims[0], b->count, &out.dims[0], e);
	else if (rc == 0 && in->dims[0] != DIM_UNKNOWN) {
		if (in->dims[0] % b->count != 0)
			return op_invalid(c, e, "%lld batches",
					  (long long)in->dims[0]);
		out.dims[0] /= b->count;
	}
	b->large = spreads(c) ? *in : out;
	b->small = spreads(c) ? out : *in;
	return rc;
}

static int infer_blocks(struct op_call *c, struct err *e)
{
	struct blocks b;
	struct shape s = *op_shape(c, 0);
	int rc = plan(c, &b, e);

	if (rc < 0)
		return rc;
	for (int32_t i = 0; rc > 0 && i < s.rank; i++)
		s.dims[i] = DIM_UNKNOWN;
	if (rc == 0)
		s = spreads(c) ? b.small : b.large;
	op_out(c, 0, op_dtype(c, 0), &s);
	return 0;
}

/* The places of extent i that element k of the blocks has. */
static void find_places(const struct blocks *b, int32_t i, int64_t k,
			int64_t *first, int64_t *n)
{
	int64_t step = b->block[i], from = b->before[i] - k;
	int64_t end = b->large.dims[i + 1] + from;
	int64_t last = end > 0 ? (end - 1) / step + 1 : 0;

	*first = from > 0 ? (from - 1) / step + 1 : 0;
	last = last < b->small.dims[i + 1] ? last : b->small.dims[i + 1];
	*n = last > *first ? last - *first : 0;
}

/* One element of all blocks: it is batch number `which` of the small one. */
static void copy_one(struct op_call *c, const struct blocks *b, int64_t which,
		     const char *in, char *out, size_t size)
{
	struct copy_plan p = {.rank = (size_t)b->n + 2, .size = size};
	ptrdiff_t *large = spreads(c) ? p.from : p.to;
	ptrdiff_t *small = spreads(c) ? p.to : p.from;
	ptrdiff_t step[2], at[2] = {0, 0};
	size_t last = (size_t)b->n + 1;
	int64_t rest = which;

	step[0] = (ptrdiff_t)shape_span(&b->large, b->n + 1, b->large.rank);
	step[1] = step[0];
	p.dims[last] = (size_t)step[0];
	large[last] = small[last] = 1;
	for (int32_t i = b->n - 1; i >= 0; i--) {
		int64_t k = rest % b->block[i], first, n;

		find_places(b, i, k, &first, &n);
		p.dims[i + 1] = (size_t)n;
		if (n == 0)
			return;
		rest /= b->block[i];
		large[i + 1] = step[0] * b->block[i];
		small[i + 1] = step[1];
		at[0] += step[0] * (first * b->block[i] + k - b->before[i]);
		at[1] += step[1] * first;
		step[0] *= b->large.dims[i + 1];
		step[1] *= b->small.dims[i + 1];
	}
	p.dims[0] = (size_t)b->large.dims[0];
	large[0] = step[0];
	small[0] = step[1];
	at[1] += step[1] * which * b->large.dims[0];
	copy_strided(&c->env->kernel, &p,
		     in + at[spreads(c) ? 0 : 1] * (ptrdiff_t)size,
		     out + at[spreads(c) ? 1 : 0] * (ptrdiff_t)size);
}

static int eval_blocks(struct op_call *c, struct err *e)
{
	struct blocks b;
	const void *in;
	void *out;
	uint64_t n;
	size_t size;
	int rc = plan(c, &b, e);

	if (rc == 0 && op_dtype(c, 0) == DTYPE_STRING)
		rc = op_bad_dtype(c, 0, e);
	if (rc == 0)
		rc = op_elems(c, 0, &in, &size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, op_dtype(c, 0),
				    spreads(c) ? &b.small : &b.large, &out, e);
	if (rc == 0)
		rc = op_count(c, spreads(c) ? &b.small : &b.large, &n, e);
	if (rc < 0 || n == 0)
		return rc;
	memset(out, 0, n * size);
	for (int64_t i = 0; rc == 0 && i < b.count; i++) {
		copy_one(c, &b, i, in, out, size);
		rc = i % 64 ? 0 : op_check_stop(c, e);
	}
	return rc;
}

const struct op ops_tf_blocks[] = {
	{TF, "BatchToSpaceND", 1, 3, 3, 1, 1, 0, 0, infer_blocks, eval_blocks},
	{TF, "SpaceToBatchND", 1, 3, 3, 1, 1, 0, 1, infer_blocks, eval_blocks},
	{0},
};
