/* SPDX-License-Identifier: MIT */
/*
 * scatter - blocks of a copy of the data replaced by updates, or combined
 * with them, one after the other in the order of the indices.
 */
#include "kernel/binary.h"
#include "op/impl.h"

/* How many updates between two looks at the stop flag. */
#define STOP_EVERY 65536

struct scatter {
	uint64_t n, block;	/* updates; elements of each */
	const int64_t *offsets; /* in blocks */
};

static int reduction(const struct op_call *c, bool *plain, enum binary *op,
		     struct err *e)
{
	static const struct {
		const char *name;
		enum binary op;
	} table[] = {{"add", BINARY_ADD},
		     {"mul", BINARY_MUL},
		     {"max", BINARY_MAX},
		     {"min", BINARY_MIN}};
	const char *name = op_attr_str(c, "reduction", "none");

	*plain = strcmp(name, "none") == 0;
	if (*plain)
		return 0;
	for (size_t i = 0; i < 4; i++) {
		if (strcmp(name, table[i].name) == 0) {
			*op = table[i].op;
			return 0;
		}
	}
	return op_invalid(c, e, "reduction");
}

static int replace(struct op_call *c, const struct scatter *s, struct err *e)
{
	const void *data, *updates;
	size_t size, other;
	void *out;
	int rc = op_elems(c, 0, &data, &size, e);

	if (rc == 0)
		rc = op_elems(c, 2, &updates, &other, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, op_shape(c, 0), &out,
				    e);
	if (rc < 0 || op_nelems(c, 0) == 0)
		return rc;
	memcpy(out, data, op_nelems(c, 0) * size);
	for (uint64_t i = 0; i < s->n; i++) {
		size_t bytes = s->block * size;

		memcpy((char *)out + (size_t)s->offsets[i] * bytes,
		       (const char *)updates + i * bytes, bytes);
		if (i % STOP_EVERY == 0 && kernel_stopped(&c->env->kernel))
			break;
	}
	return 0;
}

static int combine(struct op_call *c, const struct scatter *s, enum binary op,
		   struct err *e)
{
	static const size_t step[2] = {1, 1};
	const void *data, *updates;
	enum num t;
	size_t bytes;
	void *out;
	int rc = op_in(c, 0, &t, &data, e);

	if (rc == 0)
		rc = op_in(c, 2, &t, &updates, e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, op_shape(c, 0), &out, e);
	if (rc < 0 || op_nelems(c, 0) == 0)
		return rc;
	memcpy(out, data, op_nelems(c, 0) * num_size(t));
	bytes = s->block * num_size(t);
	for (uint64_t i = 0; i < s->n; i++) {
		char *to = (char *)out + (size_t)s->offsets[i] * bytes;
		const void *in[2] = {to, (const char *)updates + i * bytes};

		binary_find(op, t)(in, step, to, s->block, NULL);
		if (i % STOP_EVERY == 0 && kernel_stopped(&c->env->kernel))
			break;
	}
	return 0;
}

static int scatter(struct op_call *c, const struct scatter *s, struct err *e)
{
	enum binary op = BINARY_ADD;
	bool plain = true;
	int rc = reduction(c, &plain, &op, e);

	if (rc == 0 && op_dtype(c, 2) != c->in[0].dtype)
		return op_bad_dtype(c, 2, e);
	if (rc < 0)
		return rc;
	return plain ? replace(c, s, e) : combine(c, s, op, e);
}

static int eval_scatter_elements(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct scatter s = {.block = 1, .n = op_nelems(c, 1)};
	int64_t *offsets = NULL;
	int32_t axis;
	int rc = op_axis(c, op_attr_int(c, "axis", 0), in->rank, &axis, e);

	if (rc == 0 && !shape_equal(op_shape(c, 1), op_shape(c, 2)))
		return op_invalid(c, e, "indices and updates differ");
	if (rc == 0)
		rc = op_element_offsets(c, 1, in, axis, &offsets, e);
	s.offsets = offsets;
	return rc < 0 ? rc : scatter(c, &s, e);
}

static int check_updates(struct op_call *c, int64_t depth, struct err *e)
{
	const struct shape *in = op_shape(c, 0), *idx = op_shape(c, 1);
	const struct shape *u = op_shape(c, 2);
	int32_t head = idx->rank - 1;

	if (u->rank != head + in->rank - (int32_t)depth)
		return op_invalid(c, e, "updates of rank %d", u->rank);
	for (int32_t i = 0; i < u->rank; i++) {
		int64_t want = i < head ? idx->dims[i]
					: in->dims[i - head + (int32_t)depth];

		if (u->dims[i] != want)
			return op_invalid(c, e, "updates of extent %lld",
					  (long long)u->dims[i]);
	}
	return 0;
}

static int eval_scatter_nd(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0), *idx = op_shape(c, 1);
	struct scatter s;
	int64_t depth, *offsets = NULL;
	int rc = op_need_rank(c, 1, 1, SHAPE_RANK_MAX, e);

	if (rc < 0)
		return rc;
	depth = idx->dims[idx->rank - 1];
	if (depth > in->rank)
		return op_invalid(c, e, "indices of %lld", (long long)depth);
	rc = check_updates(c, depth, e);
	if (rc == 0)
		rc = op_tuple_offsets(c, 1, in, 0, &offsets, e);
	s.n = shape_span(idx, 0, idx->rank - 1);
	s.block = shape_span(in, (int32_t)depth, in->rank);
	s.offsets = offsets;
	return rc < 0 ? rc : scatter(c, &s, e);
}

/* ---- TensorScatter: rows of a cache replaced ---- */
/* Where the first of `len` new rows of each batch goes. */
static int64_t cache_row(int64_t start, int64_t i, int64_t max, bool wraps)
{
	return wraps ? (start + i) % max : start + i;
}

static int copy_cache(struct op_call *c, int32_t axis, const int64_t *starts,
		      struct err *e)
{
	const struct shape *s = op_shape(c, 0), *u = op_shape(c, 1);
	bool wraps = strcmp(op_attr_str(c, "mode", "linear"), "circular") == 0;
	int64_t max = s->dims[axis], len = u->dims[axis];
	uint64_t outer = shape_span(s, 0, axis);
	uint64_t per_batch = shape_span(s, 1, axis);
	const void *cache, *rows;
	size_t block, size;
	void *out;
	int rc = op_elems(c, 0, &cache, &size, e);

	if (rc == 0)
		rc = op_elems(c, 1, &rows, &size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, s, &out, e);
	if (rc < 0 || op_nelems(c, 0) == 0)
		return rc;
	memcpy(out, cache, op_nelems(c, 0) * size);
	block = shape_span(s, axis + 1, s->rank) * size;
	for (uint64_t o = 0; o < outer; o++) {
		int64_t start = starts ? starts[o / per_batch] : 0;

		if (start < 0 || start > max || (!wraps && start + len > max))
			return op_invalid(c, e, "row %lld", (long long)start);
		for (int64_t i = 0; i < len; i++)
			memcpy((char *)out + (o * (uint64_t)max +
					      (uint64_t)cache_row(start, i, max,
								  wraps)) *
						     block,
			       (const char *)rows +
				       (o * (uint64_t)len + (uint64_t)i) *
					       block,
			       block);
	}
	return 0;
}

static int eval_tensor_scatter(struct op_call *c, struct err *e)
{
	const struct shape *s = op_shape(c, 0), *u = op_shape(c, 1);
	const int64_t *starts = NULL;
	int32_t axis;
	int rc = op_axis(c, op_attr_int(c, "axis", -2), s->rank, &axis, e);

	if (rc < 0)
		return rc;
	if (axis == 0 || u->rank != s->rank || op_dtype(c, 1) != c->in[0].dtype)
		return op_invalid(c, e, "the update does not fit");
	for (int32_t d = 0; d < s->rank; d++) {
		if (d == axis ? u->dims[d] > s->dims[d]
			      : u->dims[d] != s->dims[d])
			return op_invalid(c, e, "the update does not fit");
	}
	if (op_has(c, 2)) {
		if (op_nelems(c, 2) != (uint64_t)s->dims[0])
			return op_invalid(c, e, "write_indices");
		rc = op_in_i64(c, 2, &starts, e);
	}
	return rc < 0 ? rc : copy_cache(c, axis, starts, e);
}

const struct op ops_scatter[] = {
	{ONNX, "Scatter", 9, 3, 3, 1, 1, 0, 0, infer_same,
	 eval_scatter_elements},
	{ONNX, "ScatterElements", 11, 3, 3, 1, 1, 0, 0, infer_same,
	 eval_scatter_elements},
	{ONNX, "ScatterND", 11, 3, 3, 1, 1, 0, 0, infer_same, eval_scatter_nd},
	{ONNX, "TensorScatter", 24, 2, 3, 1, 1, 0, 0, infer_same,
	 eval_tensor_scatter},
	{0},
};
