/* SPDX-License-Identifier: MIT */
/*
 * options - what an operator was told besides its tensors, for those that stay
 * what they are: the fields of the schema by their names, and the FlexBuffer
 * of a custom operator.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/text.h"

#include "format/tflite/translate.h"
#include "wire/flexbuf.h"

#define CUSTOM_MAX (1u << 20)
/* Numbers of one option. */
#define LIST_MAX 4096

/*
 * Fields in the order of the schema, each a letter and a name: b a byte, i and
 * l 32 and 64 bits, f a float, I L F lists of them, s a text; a an activation,
 * p a padding, t a type; "-" is one that has gone.  =1: what it is when absent.
 */
#define POOL                                                              \
	"p:padding i:stride_w i:stride_h i:filter_width i:filter_height " \
	"a:fused_activation_function"
#define FUSED "a:fused_activation_function"
#define ASYMMETRIC "b:asymmetric_quantize_inputs"
#define CLIPS "f:cell_clip f:proj_clip"
#define KEEP_DIMS "b:keep_dims"
#define RANDOM "l:seed l:seed2"
#define DEEP_STRIDES                                        \
	"p:padding i:stride_d i:stride_w i:stride_h " FUSED \
	" i:dilation_d_factor=1 i:dilation_w_factor=1 "     \
	"i:dilation_h_factor=1"

static const struct {
	const char *type, *fields;
} known[] = {
	{"ADD", FUSED " b:pot_scale_int16=1"},
	{"ARG_MAX", "t:output_type"},
	{"ARG_MIN", "t:output_type"},
	{"AVERAGE_POOL_2D", POOL},
	{"BATCH_MATMUL", "b:adj_x b:adj_y " ASYMMETRIC},
	{"BIDIRECTIONAL_SEQUENCE_LSTM", FUSED " " CLIPS " b:merge_outputs "
					      "b:time_major=1 " ASYMMETRIC},
	{"BIDIRECTIONAL_SEQUENCE_RNN",
	 "b:time_major " FUSED " b:merge_outputs " ASYMMETRIC},
	{"BUCKETIZE", "F:boundaries"},
	{"CALL", "i:subgraph"},
	{"CALL_ONCE", "i:init_subgraph_index"},
	{"CAST", "t:in_data_type t:out_data_type"},
	{"CONCATENATION", "i:axis " FUSED},
	{"CONCAT_EMBEDDINGS", "i:num_channels I:num_columns_per_channel "
			      "I:embedding_dim_per_channel"},
	{"CONV_2D",
	 "p:padding i:stride_w i:stride_h " FUSED
	 " i:dilation_w_factor=1 i:dilation_h_factor=1 t:quantized_bias_type"},
	{"CONV_3D", DEEP_STRIDES},
	{"CONV_3D_TRANSPOSE", DEEP_STRIDES},
	{"CUMSUM", "b:exclusive b:reverse"},
	{"DEPTHWISE_CONV_2D", "p:padding i:stride_w i:stride_h "
			      "i:depth_multiplier " FUSED
			      " i:dilation_w_factor=1 i:dilation_h_factor=1"},
	{"DEPTH_TO_SPACE", "i:block_size"},
	{"DIV", FUSED},
	{"EMBEDDING_LOOKUP_SPARSE", "b:combiner"},
	{"FAKE_QUANT", "f:min f:max i:num_bits b:narrow_range"},
	{"FULLY_CONNECTED",
	 FUSED " b:weights_format b:keep_num_dims " ASYMMETRIC
	       " t:quantized_bias_type"},
	{"GATHER", "i:axis i:batch_dims"},
	{"GELU", "b:approximate"},
	{"HASHTABLE", "i:table_id t:key_dtype t:value_dtype"},
	{"IF", "i:then_subgraph_index i:else_subgraph_index"},
	{"L2_NORMALIZATION", FUSED},
	{"L2_POOL_2D", POOL},
	{"LEAKY_RELU", "f:alpha"},
	{"LOCAL_RESPONSE_NORMALIZATION", "i:radius f:bias f:alpha f:beta"},
	{"LSH_PROJECTION", "b:type"},
	{"LSTM", FUSED " " CLIPS " b:kernel_type " ASYMMETRIC},
	{"MAX_POOL_2D", POOL},
	{"MEAN", KEEP_DIMS},
	{"MIRROR_PAD", "b:mode"},
	{"MUL", FUSED},
	{"MULTINOMIAL", RANDOM},
	{"ONE_HOT", "i:axis"},
	{"PACK", "i:values_count i:axis"},
	{"RANDOM_STANDARD_NORMAL", RANDOM},
	{"RANDOM_UNIFORM", RANDOM},
	{"REDUCE_ALL", KEEP_DIMS},
	{"REDUCE_ANY", KEEP_DIMS},
	{"REDUCE_MAX", KEEP_DIMS},
	{"REDUCE_MIN", KEEP_DIMS},
	{"REDUCE_PROD", KEEP_DIMS},
	{"RESHAPE", "I:new_shape"},
	{"RESIZE_BILINEAR", "- - b:align_corners b:half_pixel_centers"},
	{"RESIZE_NEAREST_NEIGHBOR", "b:align_corners b:half_pixel_centers"},
	{"REVERSE_SEQUENCE", "i:seq_dim i:batch_dim"},
	{"RNN", FUSED " " ASYMMETRIC},
	{"SHAPE", "t:out_type"},
	{"SKIP_GRAM", "i:ngram_size i:max_skip_size b:include_all_ngrams"},
	{"SOFTMAX", "f:beta"},
	{"SPACE_TO_DEPTH", "i:block_size"},
	{"SPARSE_TO_DENSE", "b:validate_indices"},
	{"SPLIT", "i:num_splits"},
	{"SPLIT_V", "i:num_splits"},
	{"SQUEEZE", "I:squeeze_dims"},
	{"STRIDED_SLICE", "i:begin_mask i:end_mask i:ellipsis_mask "
			  "i:new_axis_mask i:shrink_axis_mask b:offset"},
	{"SUB", FUSED " b:pot_scale_int16=1"},
	{"SUM", KEEP_DIMS},
	{"SVDF", "i:rank " FUSED " " ASYMMETRIC},
	{"TRANSPOSE_CONV",
	 "p:padding i:stride_w i:stride_h " FUSED " t:quantized_bias_type"},
	{"UNIDIRECTIONAL_SEQUENCE_LSTM", FUSED
	 " " CLIPS " b:time_major " ASYMMETRIC " b:diagonal_recurrent_tensors"},
	{"UNIDIRECTIONAL_SEQUENCE_RNN", "b:time_major " FUSED " " ASYMMETRIC},
	{"UNIQUE", "t:idx_out_type=2"},
	{"UNPACK", "i:num i:axis"},
	{"VAR_HANDLE", "s:container s:shared_name"},
	{"WHILE", "i:cond_subgraph_index i:body_subgraph_index"},
};

/* ---- fields of the schema ---- */

static const char *const activations[] = {"NONE",  "RELU", "RELU_N1_TO_1",
					  "RELU6", "TANH", "SIGN_BIT"};
static const char *const paddings[] = {"SAME", "VALID"};

static struct attr text_or_number(const char *name, int64_t v,
				  const char *const *texts, size_t n)
{
	return v >= 0 && (size_t)v < n ? attr_set_text(name, texts[v])
				       : attr_set_int(name, v);
}

static struct attr type_name(const char *name, int64_t v)
{
	enum dtype t = tflite_dtype(v);

	return t == DTYPE_NONE ? attr_set_int(name, v)
			       : attr_set_text(name, dtype_name(t));
}

static int read_list(struct tflite_make *k, unsigned field, char kind,
		     struct attr *out, struct err *e)
{
	size_t width = kind == 'L' ? 8 : 4;
	struct flatbuf_vector v =
		flatbuf_vector(k->f, &k->options, field, width);
	int64_t ints[LIST_MAX];
	float *floats;

	if (v.n > LIST_MAX || !flatbuf_charge(k->f, 8 * (uint64_t)v.n))
		v.n = 0;
	if (kind != 'F') {
		for (uint32_t i = 0; i < v.n; i++)
			ints[i] = flatbuf_int_at(k->f, &v, i, width);
		return attr_set_ints(&k->at, out->name, ints, v.n, out, e);
	}
	floats = arena_array(k->at.m->arena, v.n + 1u, sizeof(*floats));
	if (!floats)
		return err_nomem(e, v.n * sizeof(*floats));
	flatbuf_bytes(k->f, v.pos, floats, v.n * sizeof(*floats));
	out->kind = ATTR_FLOATS;
	out->floats = floats;
	out->n = v.n;
	return 0;
}

static int read_field(struct tflite_make *k, unsigned field, char kind,
		      int64_t def, struct attr *out, struct err *e)
{
	size_t width = kind == 'l' ? 8 : kind == 'i' ? 4 : 1;
	const char *name = out->name;

	if (kind == 'I' || kind == 'L' || kind == 'F')
		return read_list(k, field, kind, out, e);
	if (kind == 's') {
		out->kind = ATTR_STRING;
		out->n = 1;
		return tflite_text(k->tg->t, &k->options, field, &out->s, e);
	}
	if (kind == 'f') {
		*out = attr_set_float(
			name, flatbuf_float(k->f, &k->options, field, 0));
		return 0;
	}
	*out = attr_set_int(name, tflite_option(k, field, width, def));
	if (kind == 'a')
		*out = text_or_number(name, out->i, activations, 6);
	else if (kind == 'p')
		*out = text_or_number(name, out->i, paddings, 2);
	else if (kind == 't')
		*out = type_name(name, out->i);
	return 0;
}

static int read_fields(struct tflite_make *k, const char *fields,
		       struct attr *out, uint32_t *n, struct err *e)
{
	int rc = 0;

	for (unsigned field = 0; rc == 0 && *fields; field++) {
		size_t len = strcspn(fields, " ");
		const char *def = memchr(fields, '=', len);
		size_t end = def ? (size_t)(def - fields) : len;

		if (len > 2) {
			out[*n].name = arena_strndup(k->at.m->arena, fields + 2,
						     end - 2);
			if (!out[*n].name)
				return err_nomem(e, len);
			rc = read_field(k, field, fields[0],
					def ? def[1] - '0' : 0, &out[*n], e);
			*n += 1;
		}
		fields += len;
		fields += *fields == ' ';
	}
	return rc;
}

/* ---- custom operators ---- */

static int copy_text(struct tflite_make *k, const char *p, size_t len,
		     struct span *out, struct err *e)
{
	if (!flatbuf_charge(k->f, len))
		return tflite_check(k->tg->t, e);
	out->p = arena_strndup(k->at.m->arena, p, len);
	out->len = len;
	return out->p ? 0 : err_nomem(e, len);
}

static int flex_list(struct tflite_make *k, const struct flexbuf *v,
		     struct attr *out, struct err *e)
{
	uint64_t n = flexbuf_count(v);
	struct flexbuf first = flexbuf_at(v, 0);
	bool is_real = flexbuf_kind(&first) == FLEXBUF_FLOAT;
	int64_t *ints;
	float *floats;

	n = n > LIST_MAX ? LIST_MAX : n;
	if (!flatbuf_charge(k->f, 12 * n))
		return tflite_check(k->tg->t, e);
	ints = arena_array(k->at.m->arena, n + 1, sizeof(*ints));
	floats = arena_array(k->at.m->arena, n + 1, sizeof(*floats));
	if (!ints || !floats)
		return err_nomem(e, n * sizeof(*ints));
	for (uint64_t i = 0; i < n; i++) {
		struct flexbuf x = flexbuf_at(v, i);

		ints[i] = flexbuf_int(&x);
		floats[i] = (float)flexbuf_float(&x);
	}
	out->kind = is_real ? ATTR_FLOATS : ATTR_INTS;
	out->n = n;
	if (is_real)
		out->floats = floats;
	else
		out->ints = ints;
	return 0;
}

static int flex_attr(struct tflite_make *k, const struct flexbuf *v,
		     struct attr *out, struct err *e)
{
	const char *text;
	size_t len;

	out->n = 1;
	switch (flexbuf_kind(v)) {
	case FLEXBUF_BOOL:
	case FLEXBUF_INT:
		*out = attr_set_int(out->name, flexbuf_int(v));
		return 0;
	case FLEXBUF_FLOAT:
		*out = attr_set_float(out->name, (float)flexbuf_float(v));
		return 0;
	case FLEXBUF_STRING:
		text = flexbuf_string(v, &len);
		out->kind = ATTR_STRING;
		return copy_text(k, text, len, &out->s, e);
	case FLEXBUF_LIST:
		return flex_list(k, v, out, e);
	default:
		out->kind = ATTR_OTHER;
		return 0;
	}
}

static int flex_map(struct tflite_make *k, const struct flexbuf *map,
		    struct attr *out, uint32_t *n, struct err *e)
{
	uint64_t count = flexbuf_count(map);
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < count && *n < TFLITE_ATTRS_MAX;
	     i++) {
		struct flexbuf key = flexbuf_key(map, i);
		struct flexbuf v = flexbuf_at(map, i);
		struct span name;
		size_t len;
		const char *p = flexbuf_string(&key, &len);

		rc = copy_text(k, p, len, &name, e);
		if (rc < 0 || len == 0)
			continue;
		out[*n].name = name.p;
		rc = flex_attr(k, &v, &out[*n], e);
		*n += 1;
	}
	return rc;
}

/* Anything but a map is listed as its bytes. */
static int read_custom(struct tflite_make *k, struct attr *out, uint32_t *n,
		       struct err *e)
{
	struct flatbuf_vector v = k->custom;
	struct span bytes;
	struct flexbuf root;
	char *p;

	if (v.n == 0 || v.n > CUSTOM_MAX || !flatbuf_charge(k->f, v.n))
		return tflite_check(k->tg->t, e);
	p = arena_alloc(k->at.m->arena, (size_t)v.n + 1);
	if (!p)
		return err_nomem(e, v.n);
	flatbuf_bytes(k->f, v.pos, p, v.n);
	bytes = (struct span){p, v.n};
	root = flexbuf_root(p, v.n);
	if (flexbuf_kind(&root) == FLEXBUF_MAP)
		return flex_map(k, &root, out, n, e);
	out[0] = (struct attr){
		.name = "custom_options", .kind = ATTR_STRING, .n = 1};
	out[0].s = bytes;
	*n = 1;
	return 0;
}

int tflite_attrs(struct tflite_make *k, struct attr *out, uint32_t *n,
		 struct err *e)
{
	*n = 0;
	if (k->options.pos == 0)
		return read_custom(k, out, n, e);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(k->type.p, known[i].type) == 0)
			return read_fields(k, known[i].fields, out, n, e);
	return 0;
}
