/* SPDX-License-Identifier: MIT */
/*
 * roles - what a constant input of an operator is called as a file: a layer's
 * word where there is one (weight, bias), else the standard's own name for
 * that input (onnx.ai, Operators).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/onnx/onnx.h"

/* Sorted by type; one word per input. */
static const struct role {
	const char *type;
	const char *inputs;
} roles[] = {
	{"Add", "bias bias"},
	{"And", "A B"},
	{"Attention", "Q K V attn_mask past_key past_value"},
	{"BatchNormalization", "input weight bias running_mean running_var"},
	{"BitShift", "X Y"},
	{"Clip", "input min max"},
	{"Compress", "input condition"},
	{"ConstantOfShape", "shape"},
	{"Conv", "input weight bias"},
	{"ConvInteger", "x weight x_zero_point weight_zero_point"},
	{"ConvTranspose", "input weight bias"},
	{"CumSum", "x axis"},
	{"DeformConv", "input weight offset bias mask"},
	{"DequantizeLinear", "x x_scale x_zero_point"},
	{"Div", "A divisor"},
	{"Dropout", "data ratio training_mode"},
	{"Equal", "A B"},
	{"Expand", "input shape"},
	{"GRU", "input weight_ih weight_hh bias sequence_lens initial_h"},
	{"Gather", "weight indices"},
	{"GatherElements", "data indices"},
	{"GatherND", "data indices"},
	{"Gemm", "input weight bias"},
	{"Greater", "A B"},
	{"GreaterOrEqual", "A B"},
	{"GroupNormalization", "input weight bias"},
	{"Identity", "input"},
	{"If", "cond"},
	{"InstanceNormalization", "input weight bias"},
	{"LSTM", "input weight_ih weight_hh bias sequence_lens initial_h "
		 "initial_c peephole"},
	{"LayerNormalization", "input weight bias"},
	{"Less", "A B"},
	{"LessOrEqual", "A B"},
	{"Loop", "M cond"},
	{"MatMul", "weight weight"},
	{"MatMulInteger", "weight weight a_zero_point b_zero_point"},
	{"Mod", "A B"},
	{"Mul", "scale scale"},
	{"NonMaxSuppression",
	 "boxes scores max_output_boxes_per_class iou_threshold "
	 "score_threshold"},
	{"OneHot", "indices depth values"},
	{"Or", "A B"},
	{"PRelu", "input slope"},
	{"Pad", "data pads constant_value axes"},
	{"Pow", "X exponent"},
	{"QLinearConv",
	 "x x_scale x_zero_point weight weight_scale weight_zero_point "
	 "y_scale y_zero_point bias"},
	{"QLinearMatMul",
	 "a a_scale a_zero_point weight weight_scale weight_zero_point "
	 "y_scale y_zero_point"},
	{"QuantizeLinear", "x y_scale y_zero_point"},
	{"RMSNormalization", "input weight"},
	{"RNN", "input weight_ih weight_hh bias sequence_lens initial_h"},
	{"Range", "start limit delta"},
	{"ReduceMax", "data axes"},
	{"ReduceMean", "data axes"},
	{"ReduceMin", "data axes"},
	{"ReduceProd", "data axes"},
	{"ReduceSum", "data axes"},
	{"Reshape", "data shape"},
	{"Resize", "X roi scales sizes"},
	{"RotaryEmbedding", "X cos_cache sin_cache position_ids"},
	{"ScatterElements", "data indices updates"},
	{"ScatterND", "data indices updates"},
	{"Slice", "data starts ends axes steps"},
	{"Split", "input split"},
	{"Squeeze", "data axes"},
	{"Sub", "minuend offset"},
	{"Tile", "input repeats"},
	{"TopK", "X K"},
	{"Trilu", "input k"},
	{"Unsqueeze", "data axes"},
	{"Upsample", "X scales"},
	{"Where", "condition X Y"},
};

static int compare(const void *key, const void *elem)
{
	return strcmp(key, ((const struct role *)elem)->type);
}

/* Copies word number i; false when the list is shorter. */
static bool get_word(const char *words, size_t i, char buf[32])
{
	size_t len;

	for (; i > 0 && *words; i--) {
		words += strcspn(words, " ");
		words += strspn(words, " ");
	}
	len = strcspn(words, " ");
	if (len == 0 || len >= 32)
		return false;
	memcpy(buf, words, len);
	buf[len] = '\0';
	return true;
}

const char *onnx_role(const char *type, size_t i, char buf[32])
{
	const struct role *r =
		bsearch(type, roles, sizeof(roles) / sizeof(roles[0]),
			sizeof(roles[0]), compare);

	if (r && get_word(r->inputs, i, buf))
		return buf;
	snprintf(buf, 32, "input.%zu", i);
	return buf;
}
