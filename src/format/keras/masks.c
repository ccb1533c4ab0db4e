/* SPDX-License-Identifier: MIT */
/*
 * masks - which steps of a sequence count: [batch, steps] of bools that go
 * along with a value from layer to layer.
 *
 * A value of which nobody said whether it has one has perhaps one: layers for
 * which that matters are not computed then.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/keras/call.h"
#include "wire/json.h"

/* ---- values and their masks ---- */

int keras_set_mask(struct keras_graph *kg, value_id v, value_id mask,
		   struct err *e)
{
	value_id *key;

	if (mask == KERAS_MASK_UNKNOWN)
		return 0;
	key = arena_alloc(kg->m->arena, sizeof(*key));
	if (!key)
		return err_nomem(e, sizeof(*key));
	*key = v;
	return map_set(kg->masks, key, sizeof(*key), mask) < 0 ? err_nomem(e, 0)
							       : 0;
}

value_id keras_mask(const struct keras_graph *kg, value_id v)
{
	uint64_t mask;

	if (!kg->has_masks)
		return NO_VALUE;
	return map_get(kg->masks, &v, sizeof(v), &mask) ? (value_id)mask
							: KERAS_MASK_UNKNOWN;
}

bool keras_knows_masks(const struct keras_call *c)
{
	for (uint32_t i = 0; i < c->nin; i++)
		if (keras_mask(c->kg, c->in[i]) == KERAS_MASK_UNKNOWN)
			return false;
	return true;
}

/* ---- masks that are made ---- */

/* As ONNX numbers element types. */
#define TO_BOOL 9

/* Rows chosen by zero are none. */
static int embedding_mask(struct keras_call *c, value_id *out, struct err *e)
{
	*out = NO_VALUE;
	return keras_flag(c, "mask_zero", false)
		       ? steps_cast(&c->at, "mask", TO_BOOL, c->in[0], out, e)
		       : 0;
}

/* The layer has found already where any number differs. */
static int masking_mask(struct keras_call *c, value_id *out, struct err *e)
{
	value_id any;
	int rc = steps_value(&c->at, "any", &any, e);

	if (rc == 0)
		rc = steps_axis(&c->at, "any_steps", "Squeeze", -1, any, &any,
				e);
	return rc < 0 ? rc : steps_cast(&c->at, "mask", TO_BOOL, any, out, e);
}

/*
 * Of several inputs Keras 2 takes the steps that all have, Keras 3 those that
 * any has; where an input has no mask, Keras 2 asks the others, and Keras 3
 * takes all steps.
 */
static int merged_mask(struct keras_call *c, value_id *out, struct err *e)
{
	bool is_3 = c->kg->version >= 3;
	value_id all = NO_VALUE;
	int rc = 0;

	*out = NO_VALUE;
	for (uint32_t i = 0; rc == 0 && i < c->nin; i++) {
		value_id mask = keras_mask(c->kg, c->in[i]);

		if (mask == NO_VALUE && is_3)
			return 0;
		if (mask == NO_VALUE || mask == all)
			continue;
		if (all != NO_VALUE && *out != NO_VALUE) {
			*out = KERAS_MASK_UNKNOWN; /* three that differ */
			return 0;
		}
		if (all == NO_VALUE)
			all = mask;
		else
			rc = steps_make(&c->at, "mask", is_3 ? "Or" : "And",
					all, mask, out, e);
	}
	if (*out == NO_VALUE)
		*out = all;
	return rc;
}

/* Only where the steps are not what is joined. */
static int joined_mask(struct keras_call *c, value_id *out, struct err *e)
{
	int64_t axis = keras_int(c, "axis", -1);

	*out = KERAS_MASK_UNKNOWN;
	if (axis != -1 && (c->rank < 3 || axis != c->rank - 1))
		return 0;
	return merged_mask(c, out, e);
}

/* ---- what layers do with masks ---- */

enum policy { PASS, DROP, MERGE, JOIN, SEQUENCE, MAKE, FIND };

static const struct {
	const char *class;
	enum policy policy;
} policies[] = {
	{"Activation", PASS},
	{"ActivityRegularization", PASS},
	{"Add", MERGE},
	{"AdditiveAttention", PASS},
	{"AlphaDropout", PASS},
	{"Attention", PASS},
	{"Average", MERGE},
	{"AveragePooling1D", DROP},
	{"BatchNormalization", PASS},
	{"BatchNormalizationV1", PASS},
	{"BatchNormalizationV2", PASS},
	{"Bidirectional", SEQUENCE},
	{"Concatenate", JOIN},
	{"Conv1D", DROP},
	{"Dense", PASS},
	{"Dot", DROP},
	{"Dropout", PASS},
	{"ELU", PASS},
	{"Embedding", MAKE},
	{"Flatten", DROP},
	{"GRU", SEQUENCE},
	{"GaussianDropout", PASS},
	{"GaussianNoise", PASS},
	{"GlobalAveragePooling1D", DROP},
	{"GlobalMaxPooling1D", DROP},
	{"GroupNormalization", PASS},
	{"LSTM", SEQUENCE},
	{"LayerNormalization", PASS},
	{"LeakyReLU", PASS},
	{"Masking", FIND},
	{"MaxPooling1D", DROP},
	{"Maximum", MERGE},
	{"Minimum", MERGE},
	{"MultiHeadAttention", PASS},
	{"Multiply", MERGE},
	{"PReLU", PASS},
	{"Permute", DROP},
	{"RNN", SEQUENCE},
	{"ReLU", PASS},
	{"RepeatVector", DROP},
	{"Reshape", DROP},
	{"SimpleRNN", SEQUENCE},
	{"SpatialDropout1D", PASS},
	{"Subtract", MERGE},
	{"ThresholdedReLU", PASS},
	{"UnitNormalization", PASS},
};

static bool is_sequence(const struct keras_call *c)
{
	const struct json *inner =
		json_member(keras_value(c, "layer"), "config");
	bool is = keras_flag(c, "return_sequences", false);

	json_get_bool(json_member(inner, "return_sequences"), &is);
	return is;
}

static int apply(struct keras_call *c, enum policy p, value_id *out,
		 struct err *e)
{
	switch (p) {
	case PASS:
		*out = keras_mask(c->kg, c->in[0]);
		return 0;
	case SEQUENCE:
		*out = is_sequence(c) ? keras_mask(c->kg, c->in[0]) : NO_VALUE;
		return 0;
	case MERGE:
		return merged_mask(c, out, e);
	case JOIN:
		return joined_mask(c, out, e);
	case MAKE:
		return embedding_mask(c, out, e);
	case FIND:
		return masking_mask(c, out, e);
	default:
		*out = NO_VALUE;
		return 0;
	}
}

int keras_hand_on_masks(struct keras_call *c, struct err *e)
{
	value_id mask = KERAS_MASK_UNKNOWN, first = NO_VALUE;
	int rc = 0;

	if (!c->kg->has_masks)
		return 0;
	for (uint32_t i = 0; i < c->nin; i++)
		if (keras_mask(c->kg, c->in[i]) != NO_VALUE)
			first = keras_mask(c->kg, c->in[i]);
	/* Any layer makes no masks of none. */
	if (first == NO_VALUE)
		mask = NO_VALUE;
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		enum policy p = policies[i].policy;

		if (strcmp(c->class, policies[i].class) != 0)
			continue;
		if (keras_knows_masks(c) || p == DROP || p == MAKE || p == FIND)
			rc = apply(c, p, &mask, e);
		break;
	}
	for (uint32_t i = 0; rc == 0 && i < c->nout; i++)
		rc = keras_set_mask(c->kg, c->out[i], i == 0 ? mask : NO_VALUE,
				    e);
	return rc;
}

/* ---- layers for which masks matter ---- */

static bool is_one_of(const char *class, const char *const *classes)
{
	for (; *classes; classes++)
		if (strcmp(class, *classes) == 0)
			return true;
	return false;
}

bool keras_can_mask(const struct keras_call *c)
{
	static const char *const asking[] = {
		"AdditiveAttention",
		"Attention",
		"Bidirectional",
		"ConvLSTM1D",
		"ConvLSTM2D",
		"ConvLSTM3D",
		"GRU",
		"GlobalAveragePooling1D",
		"LSTM",
		"MultiHeadAttention",
		"RNN",
		"SimpleRNN",
		NULL,
	};
	static const char *const never[] = {"ConvLSTM1D", "ConvLSTM2D",
					    "ConvLSTM3D", "Softmax", NULL};
	static const char *const merging[] = {"Maximum", "Minimum", "Multiply",
					      NULL};
	bool is_never = is_one_of(c->class, never) ||
			(c->kg->version >= 3 && is_one_of(c->class, merging));

	for (uint32_t i = 0; is_never && i < c->nin; i++)
		if (keras_mask(c->kg, c->in[i]) != NO_VALUE)
			return false;
	return !is_one_of(c->class, asking) || keras_knows_masks(c);
}
