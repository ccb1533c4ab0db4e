/* SPDX-License-Identifier: MIT */
/*
 * Operators that are asked for nonsense: a node built by hand, and the error
 * it must end with (EINVAL with the node's name, EFBIG before anything is
 * allocated, EINTR), never a crash.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../unit/check.h"
#include "interpret.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"

#define BUDGET (1u << 20)

/* A node with up to 5 inputs and 4 attributes. */
struct bench {
	struct tensor in[5];
	struct attr attrs[4];
	uint32_t nin, nattrs, nout;
};

static void add_floats(struct bench *b, int32_t rank, const int64_t *dims)
{
	struct tensor *t = &b->in[b->nin++];
	uint64_t n;
	void *data;

	t->dtype = DTYPE_F32;
	t->shape = shape_of(rank, dims);
	shape_nelems(&t->shape, &n);
	t->data = blob_mem(n * sizeof(float), &data);
	for (uint64_t i = 0; i < n; i++)
		((float *)data)[i] = (float)i;
}

static void add_ints(struct bench *b, int64_t n, const int64_t *v)
{
	struct tensor *t = &b->in[b->nin++];

	t->dtype = DTYPE_I64;
	t->shape = shape_of(1, &n);
	t->data = blob_copy(v, (size_t)n * sizeof(*v));
}

static void set_int(struct bench *b, const char *name, int64_t v)
{
	b->attrs[b->nattrs++] =
		(struct attr){.name = name, .kind = ATTR_INT, .n = 1, .i = v};
}

static void set_ints(struct bench *b, const char *name, const int64_t *v,
		     size_t n)
{
	b->attrs[b->nattrs++] = (struct attr){
		.name = name, .kind = ATTR_INTS, .n = n, .ints = v};
}

static void set_text(struct bench *b, const char *name, const char *text)
{
	b->attrs[b->nattrs++] = (struct attr){.name = name,
					      .kind = ATTR_STRING,
					      .n = 1,
					      .s = {text, strlen(text)}};
}

/* Evaluates; drops everything.  The newest opset unless one is given. */
static int run(struct bench *b, const char *type, int opset,
	       const atomic_bool *stop, struct err *e)
{
	value_id in[5] = {0, 1, 2, 3, 4}, out[4] = {5, 6, 7, 8};
	struct node n = {.name = "the node",
			 .domain = "",
			 .type = type,
			 .opset = opset ? opset : 30,
			 .nin = b->nin,
			 .nout = b->nout ? b->nout : 1,
			 .nattrs = b->nattrs,
			 .in = in,
			 .out = out,
			 .attrs = b->attrs};
	struct tensor results[4] = {0};
	struct interpreter host;
	struct op_call c = {.node = &n,
			    .op = op_find("", type, n.opset),
			    .in = b->in,
			    .out = results,
			    .nin = n.nin,
			    .nout = n.nout,
			    .env = &host.env};
	int rc;

	interpreter_init(&host, BUDGET, NULL);
	host.env.kernel.stop = stop;
	CHECK(c.op != NULL);
	if (!c.op)
		return -ENOSYS;
	rc = op_eval(&c, e);
	for (int i = 0; i < 4; i++)
		tensor_drop(&results[i]);
	for (int i = 0; i < 5; i++)
		tensor_drop(&b->in[i]);
	memset(b, 0, sizeof(*b));
	return rc;
}

static void check_invalid(struct bench *b, const char *type, int opset)
{
	struct err e = {0};
	int rc = run(b, type, opset, NULL, &e);

	CHECK_INT(rc, -EINVAL);
	CHECK(strstr(e.msg, "the node") != NULL);
	if (rc != -EINVAL)
		printf("# %s: %s\n", type, e.msg);
}

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

TEST(axes_out_of_range)
{
	static const char *const types[] = {"Softmax", "Concat", "ArgMax",
					    "Flatten", "Split",	 "Hardmax"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct bench b = {0};

		add_floats(&b, 2, DIMS(2, 3));
		set_int(&b, "axis", INT64_MIN);
		check_invalid(&b, types[i], 0);
	}
}

TEST(indices_out_of_range)
{
	struct bench b = {0};

	add_floats(&b, 2, DIMS(2, 3));
	add_ints(&b, 1, DIMS(2));
	check_invalid(&b, "Gather", 0);
	add_floats(&b, 2, DIMS(2, 3));
	add_ints(&b, 2, DIMS(0, INT64_MIN));
	check_invalid(&b, "GatherND", 0);
	add_floats(&b, 1, DIMS(3));
	add_ints(&b, 1, DIMS(-4));
	add_floats(&b, 1, DIMS(1));
	check_invalid(&b, "ScatterElements", 0);
}

TEST(reshape)
{
	struct bench b = {0};

	add_floats(&b, 2, DIMS(2, 3));
	add_ints(&b, 2, DIMS(-1, -1));
	check_invalid(&b, "Reshape", 0);
	add_floats(&b, 2, DIMS(2, 3));
	add_ints(&b, 2, DIMS(4, -1));
	check_invalid(&b, "Reshape", 0);
	add_floats(&b, 2, DIMS(2, 3));
	add_ints(&b, 3, DIMS(INT64_MAX, 2, 2));
	check_invalid(&b, "Reshape", 0);
	add_floats(&b, 2, DIMS(2, 3));
	add_ints(&b, 1, DIMS(-2));
	check_invalid(&b, "Reshape", 0);
}

TEST(slice_and_split)
{
	struct bench b = {0};

	add_floats(&b, 1, DIMS(5));
	for (int i = 0; i < 4; i++) /* starts, ends, axes, steps */
		add_ints(&b, 1, DIMS(0));
	check_invalid(&b, "Slice", 0);
	add_floats(&b, 1, DIMS(5));
	add_ints(&b, 1, DIMS(INT64_MIN));
	add_ints(&b, 1, DIMS(INT64_MAX));
	add_ints(&b, 1, DIMS(0));
	add_ints(&b, 1, DIMS(INT64_MIN));
	CHECK_INT(run(&b, "Slice", 0, NULL, NULL), 0);
	add_floats(&b, 1, DIMS(5));
	add_ints(&b, 2, DIMS(2, 2));
	b.nout = 2;
	check_invalid(&b, "Split", 0);
	add_floats(&b, 1, DIMS(5));
	add_ints(&b, 2, DIMS(-1, 6));
	b.nout = 2;
	check_invalid(&b, "Split", 0);
}

TEST(windows)
{
	static const int64_t zero[2] = {0, 0}, one[2] = {1, 1};
	static const char *const lists[] = {"strides", "dilations"};
	struct bench b = {0};

	for (int i = 0; i < 2; i++) {
		add_floats(&b, 4, DIMS(1, 1, 4, 4));
		set_ints(&b, "kernel_shape", one, 2);
		set_ints(&b, lists[i], zero, 2);
		check_invalid(&b, "MaxPool", 0);
	}
	add_floats(&b, 4, DIMS(1, 2, 4, 4));
	add_floats(&b, 4, DIMS(2, 2, 1, 1));
	set_int(&b, "group", 0);
	check_invalid(&b, "Conv", 0);
	add_floats(&b, 4, DIMS(1, 2, 4, 4));
	set_int(&b, "blocksize", 0);
	check_invalid(&b, "SpaceToDepth", 0);
}

TEST(counts)
{
	struct bench b = {0};

	add_floats(&b, 1, DIMS(3));
	add_ints(&b, 1, DIMS(4));
	b.nout = 2;
	check_invalid(&b, "TopK", 0);
	add_floats(&b, 1, DIMS(3));
	add_ints(&b, 1, DIMS(-1));
	b.nout = 2;
	check_invalid(&b, "TopK", 0);
	add_floats(&b, 1, DIMS(3));
	add_ints(&b, 1, DIMS(-1));
	check_invalid(&b, "Tile", 0);
	add_ints(&b, 1, DIMS(0));
	add_ints(&b, 1, DIMS(9));
	add_ints(&b, 1, DIMS(0));
	check_invalid(&b, "Range", 0);
	check_invalid(&b, "Add", 0);
}

TEST(too_large_is_told_before)
{
	struct bench b = {0};

	add_ints(&b, 2, DIMS(1 << 20, 1 << 20));
	CHECK_INT(run(&b, "ConstantOfShape", 0, NULL, NULL), -EFBIG);
	add_floats(&b, 1, DIMS(1));
	add_ints(&b, 1, DIMS((int64_t)1 << 40));
	CHECK_INT(run(&b, "Expand", 0, NULL, NULL), -EFBIG);
	add_ints(&b, 1, DIMS(0));
	add_ints(&b, 1, DIMS(INT64_MAX));
	add_ints(&b, 1, DIMS(1));
	CHECK_INT(run(&b, "Range", 0, NULL, NULL), -EFBIG);
	add_floats(&b, 2, DIMS(1, 2));
	add_ints(&b, 2, DIMS((int64_t)1 << 31, (int64_t)1 << 30));
	CHECK_INT(run(&b, "Tile", 0, NULL, NULL), -EFBIG);
	add_floats(&b, 1, DIMS(2));
	add_ints(&b, 2, DIMS((int64_t)1 << 40, 0));
	CHECK_INT(run(&b, "Pad", 0, NULL, NULL), -EFBIG);
	add_ints(&b, 2, DIMS(0, 1));
	add_ints(&b, 1, DIMS((int64_t)1 << 40));
	add_floats(&b, 1, DIMS(2));
	CHECK_INT(run(&b, "OneHot", 0, NULL, NULL), -EFBIG);
	add_floats(&b, 2, DIMS(2, 2));
	b.nin = 3; /* no regions, no scales */
	add_ints(&b, 2, DIMS(1 << 20, 1 << 20));
	CHECK_INT(run(&b, "Resize", 0, NULL, NULL), -EFBIG);
	/* An einsum's result may be far larger than its factors. */
	add_floats(&b, 1, DIMS(1 << 16));
	add_floats(&b, 1, DIMS(1 << 16));
	set_text(&b, "equation", "i,j->ij");
	CHECK_INT(run(&b, "Einsum", 0, NULL, NULL), -EFBIG);
	/* Nothing in it, but loops would go through it. */
	add_ints(&b, 3, DIMS(0, (int64_t)1 << 30, (int64_t)1 << 30));
	CHECK_INT(run(&b, "ConstantOfShape", 0, NULL, NULL), -EFBIG);
}

TEST(stopping)
{
	atomic_bool stop = true;
	struct bench b = {0};

	add_floats(&b, 2, DIMS(8, 8));
	add_floats(&b, 2, DIMS(8, 8));
	CHECK_INT(run(&b, "MatMul", 0, &stop, NULL), -EINTR);
}

static void count(const struct op *op, void *ctx)
{
	const struct op *found = op_find(op->domain, op->type, op->since);

	(*(unsigned *)ctx)++;
	CHECK(found == op);
	CHECK(op->eval != NULL);
}

TEST(registry)
{
	unsigned n = 0;

	op_each(count, &n);
	CHECK(n > 250);
	CHECK(op_find("", "Slice", 9) != op_find("", "Slice", 10));
	CHECK(op_find("", "Gelu", 19) == NULL);
	CHECK(op_find("ai.onnx", "Add", 14) == op_find("", "Add", 14));
	CHECK(op_find("nowhere", "Add", 14) == NULL);
}

int main(void)
{
	RUN(axes_out_of_range);
	RUN(indices_out_of_range);
	RUN(reshape);
	RUN(slice_and_split);
	RUN(windows);
	RUN(counts);
	RUN(too_large_is_told_before);
	RUN(stopping);
	RUN(registry);
	return check_result();
}
