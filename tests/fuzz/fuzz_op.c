/* SPDX-License-Identifier: MIT */
/*
 * Any bytes are one node: an operator, attributes and inputs.  Inferring and
 * computing it ends with an error or with what was inferred, whatever they
 * are.
 */
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/op.h"

#include "fuzz.h"

#define BUDGET (1u << 22)
#define INPUTS_MAX 8
#define ATTRS_MAX 6
#define LIST_MAX 8

struct bytes {
	const uint8_t *p, *end;
	uint64_t noise; /* what comes when they are used up */
};

static uint8_t take(struct bytes *b)
{
	b->noise = b->noise * 6364136223846793005u + 1442695040888963407u;
	return b->p < b->end ? *b->p++ : (uint8_t)(b->noise >> 56);
}

/* Mostly small; at times as large as can be. */
static int64_t take_int(struct bytes *b)
{
	static const int64_t odd[] = { INT64_MIN, INT64_MAX, INT32_MIN,
				       INT32_MAX, 1 << 20,   -(1 << 20),
				       65536,	  255 };
	uint8_t v = take(b);

	return v < 240 ? v % 12 - 4 : odd[v % 8];
}

static float take_float(struct bytes *b)
{
	static const float odd[] = { 0, -1, 1e30f, -1e30f, 1e-30f, 1, 2, 0.5f };
	uint8_t v = take(b);

	if (v >= 250)
		return v % 2 ? __builtin_inff() : __builtin_nanf("");
	return v >= 200 ? odd[v % 8] : (float)v / 16 - 5;
}

/* ---- operators ---- */
struct pick {
	unsigned left;
	const struct op *op;
};

static void count_op(const struct op *op, void *ctx)
{
	(void)op;
	(*(unsigned *)ctx)++;
}

static void pick_op(const struct op *op, void *ctx)
{
	struct pick *p = ctx;

	if (p->left-- == 0)
		p->op = op;
}

static const struct op *take_op(struct bytes *b)
{
	unsigned n = 0;
	struct pick p = { 0 };

	op_each(count_op, &n);
	p.left = (take(b) * 256u + take(b)) % n;
	op_each(pick_op, &p);
	return p.op;
}

/* ---- attributes ---- */
static const char *const names[] = {
	"DstT",
	"K",
	"N",
	"activation",
	"activation_alpha",
	"activation_beta",
	"activations",
	"align_corners",
	"allowzero",
	"alpha",
	"antialias",
	"approximate",
	"auto_pad",
	"axes",
	"axis",
	"batch_axis",
	"batch_dims",
	"begin_mask",
	"beta",
	"bias",
	"bits",
	"block_size",
	"blocksize",
	"case_change_action",
	"ceil_mode",
	"center_point_box",
	"clip",
	"coordinate_transformation_mode",
	"count_include_pad",
	"cubic_coeff_a",
	"dct_coefficient_count",
	"delimiter",
	"desired_channels",
	"desired_samples",
	"detect_negative",
	"detect_positive",
	"dilations",
	"direction",
	"do_rotary",
	"dtype",
	"element_dtype",
	"ellipsis_mask",
	"end",
	"end_mask",
	"ends",
	"epsilon",
	"equation",
	"exclude_outside",
	"exclusive",
	"extrapolation_value",
	"filterbank_channel_count",
	"fmod",
	"group",
	"height_scale",
	"hidden_size",
	"ignore_index",
	"input_forget",
	"interleaved",
	"inverse",
	"is_case_sensitive",
	"is_causal",
	"k",
	"keep_aspect_ratio_policy",
	"keepdims",
	"kernel_shape",
	"kv_num_heads",
	"largest",
	"layout",
	"linear_before_reset",
	"local_window_size",
	"lower_frequency_limit",
	"magnitude_squared",
	"mask_filter_value",
	"max",
	"max_gram_length",
	"max_skip_count",
	"maxsplit",
	"min",
	"min_gram_length",
	"mode",
	"momentum",
	"narrow_range",
	"nearest_mode",
	"new_axis",
	"new_axis_mask",
	"ngram_counts",
	"ngram_indexes",
	"noop_with_empty_axes",
	"num_bits",
	"num_elements",
	"num_groups",
	"num_heads",
	"num_outputs",
	"num_scan_inputs",
	"onesided",
	"output_datatype",
	"output_dtype",
	"output_height",
	"output_padding",
	"output_shape",
	"output_width",
	"p",
	"padding_mode",
	"paddings",
	"pads",
	"periodic",
	"perm",
	"pool_int64s",
	"pool_strings",
	"pooled_shape",
	"q_num_heads",
	"qk_matmul_output_mode",
	"qkv_hidden_sizes",
	"reduction",
	"reverse",
	"rotary_embedding_dim",
	"rotary_interleaved",
	"round_mode",
	"sample_size",
	"sampling_ratio",
	"saturate",
	"scale",
	"scales",
	"scan_input_axes",
	"scan_output_axes",
	"scan_output_directions",
	"seed",
	"select_last_index",
	"shape",
	"shrink_axis_mask",
	"size",
	"sizes",
	"smooth_softmax",
	"softcap",
	"sorted",
	"spatial",
	"spatial_scale",
	"split",
	"start",
	"starts",
	"steps",
	"stopwords",
	"storage_order",
	"stride",
	"strides",
	"time_axis",
	"to",
	"training_mode",
	"transA",
	"transB",
	"transBatchA",
	"transBatchB",
	"unidirectional",
	"update_rule",
	"upper",
	"upper_frequency_limit",
	"weights",
	"width_scale",
	"window_size",
};

static const char *const words[] = {
	"SAME_UPPER", "SAME_LOWER", "VALID", "reflect", "edge", "wrap",
	"constant", "linear", "cubic", "nearest", "add", "mul", "max", "min",
	"none", "sum", "mean", "bidirectional", "reverse", "LEFT", "RIGHT",
	"half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
	"half_pixel_symmetric", "floor", "ceil", "CRD", "TF", "IDF", "TFIDF",
	"circular", "delta", "linear", "gated", "silu", "tanh", "reflection",
	"border", "ij,jk->ik", "...ij,...jk->...ik", "ii->i", "ij->", "i,j",
	"", "not_larger", "not_smaller", "LOWER", "UPPER", "zzz", "Relu",
	"float32", "int32", "complex64",
};

#define NELEMS(a) (sizeof(a) / sizeof((a)[0]))

struct room {
	struct attr attrs[ATTRS_MAX];
	int64_t ints[ATTRS_MAX][LIST_MAX];
	float floats[ATTRS_MAX][LIST_MAX];
	struct span spans[ATTRS_MAX][LIST_MAX];
};

static struct span take_word(struct bytes *b)
{
	const char *s = words[take(b) % NELEMS(words)];

	return (struct span){ .p = s, .len = strlen(s) };
}

static void take_attr(struct bytes *b, struct room *r, size_t i)
{
	static const enum attr_kind kinds[] = { ATTR_INT,   ATTR_INT,
						ATTR_FLOAT, ATTR_STRING,
						ATTR_INTS,  ATTR_INTS,
						ATTR_FLOATS, ATTR_STRINGS };
	struct attr *a = &r->attrs[i];

	a->name = names[take(b) % NELEMS(names)];
	a->kind = kinds[take(b) % NELEMS(kinds)];
	a->n = a->kind >= ATTR_FLOATS ? take(b) % (LIST_MAX + 1) : 1;
	for (size_t k = 0; k < a->n; k++) {
		r->ints[i][k] = take_int(b);
		r->floats[i][k] = take_float(b);
		r->spans[i][k] = take_word(b);
	}
	if (a->kind == ATTR_INT)
		a->i = r->ints[i][0];
	else if (a->kind == ATTR_FLOAT)
		a->f = r->floats[i][0];
	else if (a->kind == ATTR_STRING)
		a->s = r->spans[i][0];
	else if (a->kind == ATTR_INTS)
		a->ints = r->ints[i];
	else if (a->kind == ATTR_FLOATS)
		a->floats = r->floats[i];
	else
		a->strings = r->spans[i];
}

/* ---- inputs ---- */
static struct blob *take_strings(struct bytes *b, uint64_t n)
{
	struct string_list *l = string_list_new();

	for (uint64_t i = 0; i < n; i++) {
		struct span s = take_word(b);

		string_list_add(l, s.p, s.len);
	}
	return string_list_finish(l);
}

static void put_number(struct bytes *b, enum dtype t, void *data, uint64_t i)
{
	int64_t v = take_int(b);
	float f = take_float(b);
	double d = (double)f;

	if (t == DTYPE_F32)
		((float *)data)[i] = f;
	else if (t == DTYPE_F64)
		((double *)data)[i] = d;
	else if (t == DTYPE_BOOL)
		((uint8_t *)data)[i] = v & 1;
	else
		memcpy((char *)data + i * dtype_size(t), &v, dtype_size(t));
}

static struct tensor take_plain(struct bytes *b)
{
	static const uint8_t types[] = {
		DTYPE_F32,  DTYPE_F32, DTYPE_F32, DTYPE_F64, DTYPE_I64,
		DTYPE_I64,  DTYPE_I64, DTYPE_I32, DTYPE_U8,  DTYPE_I8,
		DTYPE_BOOL, DTYPE_F16, DTYPE_BF16, DTYPE_STRING, DTYPE_U64,
		DTYPE_I16,  DTYPE_C64, DTYPE_I4,  DTYPE_F8_E4M3FN,
	};
	struct tensor t = { .dtype = types[take(b) % sizeof(types)] };
	uint64_t n = 1, nbytes;
	void *data;

	t.shape.rank = take(b) % 6;
	for (int32_t i = 0; i < t.shape.rank; i++) {
		uint8_t v = take(b);

		t.shape.dims[i] = v < 16 ? 0 : v < 120 ? v % 2 + 1 : v % 7;
		n *= (uint64_t)t.shape.dims[i];
	}
	if (t.dtype == DTYPE_STRING) {
		t.data = take_strings(b, n);
		return t;
	}
	if (!dtype_nbytes(t.dtype, n, &nbytes))
		abort();
	t.data = blob_mem(nbytes, &data);
	for (uint64_t i = 0; i < n && dtype_size(t.dtype) > 0; i++)
		put_number(b, t.dtype, data, i);
	return t;
}

/* Some tensors, or none, one of which may be missing. */
static struct tensor take_list(struct bytes *b)
{
	struct tensor items[4], t = { .dtype = DTYPE_SEQUENCE };
	size_t n = take(b) % 4;

	for (size_t i = 0; i < n; i++)
		items[i] = take_plain(b);
	if (n > 0 && take(b) % 2) {
		blob_unref(items[0].data);
		items[0].dtype = DTYPE_OPTIONAL;
		items[0].shape = shape_of(1, (const int64_t[]){ 0 });
		items[0].data = blob_items(NULL, 0);
	}
	t.shape = shape_of(1, &(int64_t){ (int64_t)n });
	t.data = blob_items(items, n);
	for (size_t i = 0; i < n; i++)
		blob_unref(items[i].data);
	return t;
}

static struct tensor take_tensor(struct bytes *b)
{
	return take(b) < 16 ? take_list(b) : take_plain(b);
}

/* ---- the executor's side ---- */
static int allocate(struct op_env *env, uint64_t nbytes, struct blob **out,
		    void **data, struct err *e)
{
	(void)env;
	if (nbytes > BUDGET)
		return err_set(e, 27 /* EFBIG */, "too large");
	*out = blob_mem(nbytes, data);
	return *out ? 0 : err_nomem(e, nbytes);
}

/* What was inferred holds for what came out. */
static void check(const struct tensor *inferred, const struct tensor *got)
{
	struct err e = { 0 };

	if (got->dtype < DTYPE_STRING && tensor_check(got, &e) < 0)
		abort();
	if (inferred->dtype != DTYPE_NONE && inferred->dtype != got->dtype)
		abort();
	if (inferred->shape.rank < 0)
		return;
	if (inferred->shape.rank != got->shape.rank)
		abort();
	for (int32_t i = 0; i < got->shape.rank; i++) {
		if (inferred->shape.dims[i] != DIM_UNKNOWN &&
		    inferred->shape.dims[i] != got->shape.dims[i])
			abort();
	}
}

static void run(struct op_call *c, struct tensor *inferred, bool with_data)
{
	struct tensor in[INPUTS_MAX];
	struct op_call ahead = *c;
	struct err e = { 0 };
	int rc;

	memcpy(in, c->in, sizeof(in));
	for (size_t i = 0; i < INPUTS_MAX && !with_data; i++)
		in[i].data = NULL;
	ahead.in = in;
	ahead.out = inferred;
	ahead.env = NULL;
	rc = op_infer(&ahead, &e);
	if (!with_data)
		return;
	if (op_eval(c, &e) < 0)
		return;
	for (size_t i = 0; i < c->nout; i++) {
		if (rc == 0 && op_wants(c, i))
			check(&inferred[i], &c->out[i]);
		tensor_drop(&c->out[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, data + size, size };
	struct tensor in[INPUTS_MAX] = { 0 }, out[4], inferred[4];
	value_id ids[INPUTS_MAX] = { 0 }, outs[4] = { 0 };
	const struct op *op = take_op(&b);
	struct op_env env = { .alloc = allocate };
	struct room *r = calloc(1, sizeof(*r));
	struct node n = { .name = "n", .domain = op->domain, .type = op->type,
			  .in = ids, .out = outs, .attrs = r->attrs };
	struct op_call c = { .node = &n, .op = op, .env = &env, .in = in,
			     .out = out };

	n.opset = op->since + take(&b) % 8;
	n.nout = op->min_out + take(&b) % 3;
	n.nout = n.nout > 4 ? 4 : n.nout;
	n.nin = op->min_in + take(&b) % 4;
	n.nin = n.nin > op->max_in ? op->max_in : n.nin;
	n.nin = n.nin > INPUTS_MAX ? INPUTS_MAX : n.nin;
	n.nattrs = take(&b) % (ATTRS_MAX + 1);
	for (uint32_t i = 0; i < n.nattrs; i++)
		take_attr(&b, r, i);
	for (uint32_t i = 0; i < n.nin; i++) {
		if (i < op->min_in || take(&b) % 8)
			in[i] = take_tensor(&b);
	}
	c.nin = n.nin;
	c.nout = n.nout;
	run(&c, inferred, false);
	run(&c, inferred, true);
	for (uint32_t i = 0; i < n.nin; i++)
		tensor_drop(&in[i]);
	free(r);
	return 0;
}
