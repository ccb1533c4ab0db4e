/* SPDX-License-Identifier: MIT */
/* ref - what inputs of nodes say: "name", "name:1", "name:output:1", "^name". */
#include <string.h>

#include "modelfs/err.h"

#include "format/tf/body.h"
#include "format/tf/tf.h"

struct tf_ref tf_parse_ref(const ProtobufCBinaryData *b)
{
	struct span s = tf_span(b);
	struct tf_ref r = {0};
	const char *colon, *last;

	r.is_control = s.len > 0 && s.p[0] == '^';
	if (r.is_control)
		s = (struct span){s.p + 1, s.len - 1};
	colon = memchr(s.p, ':', s.len);
	r.name = (struct span){s.p, colon ? (size_t)(colon - s.p) : s.len};
	if (!colon)
		return r;
	last = memrchr(s.p, ':', s.len);
	if (last > colon)
		r.output = (struct span){colon + 1, (size_t)(last - colon) - 1};
	for (const char *p = last + 1; p < s.p + s.len; p++)
		if (*p >= '0' && *p <= '9' && r.idx < TF_OUTPUTS_MAX)
			r.idx = r.idx * 10 + (uint64_t)(*p - '0');
	return r;
}

/* Outputs of operators that name more than one. */
static const struct {
	const char *op, *output;
	uint32_t first;
} named_outputs[] = {
	{"FusedBatchNormV3", "batch_mean", 1},
	{"FusedBatchNormV3", "batch_variance", 2},
	{"FusedBatchNorm", "batch_mean", 1},
	{"FusedBatchNorm", "batch_variance", 2},
	{"TopKV2", "indices", 1},
	{"Unique", "idx", 1},
	{"MaxPoolWithArgmax", "argmax", 1},
	{"NonMaxSuppressionV5", "selected_scores", 1},
	{"NonMaxSuppressionV5", "valid_outputs", 2},
	{"Switch", "output_true", 1},
	{"Merge", "value_index", 1},
	{"SparseSoftmaxCrossEntropyWithLogits", "backprop", 1},
	{"SoftmaxCrossEntropyWithLogits", "backprop", 1},
};

uint64_t tf_output_index(const Tf__Node *n, const struct tf_ref *r)
{
	size_t count = sizeof(named_outputs) / sizeof(named_outputs[0]);

	for (size_t i = 0; i < count; i++)
		if (tf_equal(&n->op, named_outputs[i].op) &&
		    r->output.len == strlen(named_outputs[i].output) &&
		    memcmp(r->output.p, named_outputs[i].output,
			   r->output.len) == 0)
			return r->idx + named_outputs[i].first;
	return r->idx;
}

bool tf_is_op(const Tf__Node *n, const char *const *ops)
{
	for (; *ops; ops++)
		if (tf_equal(&n->op, *ops))
			return true;
	return false;
}

bool tf_is_variable(const Tf__Node *n)
{
	static const char *const ops[] = {"VarHandleOp", "VariableV2",
					  "Variable", NULL};

	return tf_is_op(n, ops);
}
