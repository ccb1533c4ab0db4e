/* SPDX-License-Identifier: MIT */
/*
 * config - a model's configuration: {"class_name", "config": {"name",
 * "layers": [...], ...}}, where a layer may be a model again.
 *
 * Nothing in it is executed: functions are shown as text.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/text.h"

#include "format/keras/keras.h"
#include "wire/json.h"

#define VALUE_MAX 200

void keras_parse_config(struct keras *k, const char *p, size_t len)
{
	struct json *config = NULL;

	if (!k->config && json_parse(p, len, JSON_PYTHON, &config, NULL) == 0)
		k->config = config;
}

static const char *text_of(const struct json *v)
{
	size_t len;

	return json_get_string(v, &len);
}

const char *keras_class(const struct json *layer)
{
	return text_of(json_member(layer, "class_name"));
}

static const struct json *inner(const struct json *layer)
{
	return json_member(layer, "config");
}

const char *keras_name(const struct json *layer)
{
	const char *name = text_of(json_member(inner(layer), "name"));

	return name ? name : text_of(json_member(layer, "name"));
}

const struct json *keras_layers(const struct json *layer)
{
	const struct json *config = inner(layer);
	const struct json *layers = json_member(config, "layers");

	/* Keras 1 wrote the list of a Sequential without anything around. */
	if (json_kind(config) == JSON_KIND_ARRAY)
		return config;
	return json_kind(layers) == JSON_KIND_ARRAY ? layers : NULL;
}

/* ---- names of variables ---- */

static bool flag(const struct json *layer, const char *name, bool def)
{
	bool v = def;

	json_get_bool(json_member(inner(layer), name), &v);
	return v;
}

static const char *nth(const char *const *names, size_t nnames, size_t i,
		       size_t n)
{
	return n == nnames && i < n ? names[i] : NULL;
}

static const char *norm_variable(const struct json *layer, size_t i, size_t n)
{
	static const char *const all[] = {"gamma", "beta", "moving_mean",
					  "moving_variance"};
	bool has[4] = {flag(layer, "scale", true), flag(layer, "center", true),
		       true, true};
	const char *names[4];
	size_t count = 0;

	for (size_t j = 0; j < 4; j++)
		if (has[j])
			names[count++] = all[j];
	/* Layer and group normalisation keep no statistics. */
	if (n + 2 == count)
		count = n;
	return nth(names, count, i, n);
}

struct known {
	const char *class;
	const char *names[4];
	size_t n;
};

static const struct known knowns[] = {
	{"Dense", {"kernel", "bias"}, 2},
	{"EinsumDense", {"kernel", "bias"}, 2},
	{"Conv1D", {"kernel", "bias"}, 2},
	{"Conv2D", {"kernel", "bias"}, 2},
	{"Conv3D", {"kernel", "bias"}, 2},
	{"Conv1DTranspose", {"kernel", "bias"}, 2},
	{"Conv2DTranspose", {"kernel", "bias"}, 2},
	{"Conv3DTranspose", {"kernel", "bias"}, 2},
	{"DepthwiseConv1D", {"kernel", "bias"}, 2},
	{"DepthwiseConv2D", {"kernel", "bias"}, 2},
	{"SeparableConv1D",
	 {"depthwise_kernel", "pointwise_kernel", "bias"},
	 3},
	{"SeparableConv2D",
	 {"depthwise_kernel", "pointwise_kernel", "bias"},
	 3},
	{"LSTM", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"GRU", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"SimpleRNN", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"LSTMCell", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"GRUCell", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"RMSNormalization", {"scale"}, 1},
	{"SimpleRNNCell", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"AdditiveAttention", {"scale"}, 1},
	{"Attention", {"scale", "concat_score_weight"}, 2},
	{"ConvLSTM1D", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"ConvLSTM1DCell", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"ConvLSTM2D", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"ConvLSTM2DCell", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"ConvLSTM3D", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"ConvLSTM3DCell", {"kernel", "recurrent_kernel", "bias"}, 3},
	{"Embedding", {"embeddings"}, 1},
	{"PReLU", {"alpha"}, 1},
};

/* Without a bias the last name is missing. */
static const char *known_variable(const struct known *k, size_t i, size_t n)
{
	if (n != k->n &&
	    !(n + 1 == k->n && strcmp(k->names[k->n - 1], "bias") == 0))
		return NULL;
	return i < n ? k->names[i] : NULL;
}

static bool has_scale(const struct json *layer)
{
	bool is = false;

	json_get_bool(json_member(json_member(layer, "config"), "use_scale"),
		      &is);
	return is;
}

const char *keras_variable(const char *class, const struct json *layer,
			   size_t i, size_t n)
{
	size_t count = sizeof(knowns) / sizeof(knowns[0]);

	if (!class)
		return NULL;
	if (strcmp(class, "Attention") == 0 && n == 1)
		return has_scale(layer) ? "scale" : "concat_score_weight";
	for (size_t j = 0; j < count; j++)
		if (strcmp(class, knowns[j].class) == 0)
			return known_variable(&knowns[j], i, n);
	if (strcmp(class, "BatchNormalization") == 0 ||
	    strcmp(class, "LayerNormalization") == 0 ||
	    strcmp(class, "GroupNormalization") == 0)
		return norm_variable(layer, i, n);
	return NULL;
}

bool keras_is_state(const char *name, size_t len)
{
	static const char *const names[] = {"moving_mean", "moving_variance",
					    "seed_generator_state"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (len >= strlen(names[i]) &&
		    memcmp(name, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_word(char c)
{
	return is_upper(c) || is_lower(c) || (c >= '0' && c <= '9') || c == '_';
}

size_t keras_snake(const char *class, char *buf, size_t size)
{
	char before = '\0';
	size_t n = 0;

	for (const char *p = class; *p && n + 3 < size; p++) {
		bool starts_word = is_upper(*p) && is_lower(p[1]);

		if (!is_word(*p))
			continue;
		if (is_upper(*p) && before && before != '_' &&
		    (starts_word || is_lower(before)))
			buf[n++] = '_';
		buf[n++] = is_upper(*p) ? (char)(*p - 'A' + 'a') : *p;
		before = *p;
	}
	buf[n] = '\0';
	return n;
}

/* ---- types and hyper-parameters ---- */

static void format_value(const struct json *v, struct text *out);

static void format_items(const struct json *v, struct text *out)
{
	for (size_t i = 0; i < json_count(v) && out->len < VALUE_MAX; i++) {
		const struct json *item = json_item(v, i);

		if (i > 0)
			text_add(out, ",");
		if (json_kind(item) != JSON_KIND_ARRAY)
			format_value(item, out);
	}
}

/* Objects (initialisers, …) by the name of their class. */
static void format_value(const struct json *v, struct text *out)
{
	char q[ERR_QUOTED];
	const char *s;
	int64_t i;
	double d;
	bool b = false;
	size_t len;

	switch (json_kind(v)) {
	case JSON_KIND_BOOL:
		json_get_bool(v, &b);
		text_add(out, b ? "true" : "false");
		break;
	case JSON_KIND_INT:
		json_get_int(v, &i);
		text_printf(out, "%lld", (long long)i);
		break;
	case JSON_KIND_REAL:
		json_get_real(v, &d);
		text_printf(out, "%.17g", d);
		break;
	case JSON_KIND_STRING:
		s = json_get_string(v, &len);
		text_add(out, err_quote(q, s, len));
		break;
	case JSON_KIND_ARRAY:
		format_items(v, out);
		break;
	case JSON_KIND_OBJECT:
		s = keras_class(v);
		if (s && strcmp(s, "__tuple__") == 0) {
			format_items(json_member(v, "items"), out);
			break;
		}
		text_add(out, s ? err_quote(q, s, strlen(s)) : "{}");
		break;
	default:
		text_add(out, "null");
		break;
	}
}

static int describe_layer(struct model *m, struct module *mod,
			  const struct json *layer, struct err *e)
{
	const char *class = keras_class(layer), *key;
	const struct json *value;
	struct text text = {0};
	void *it = NULL;
	int rc = 0;

	if (class)
		rc = model_type(m, mod, class, strlen(class));
	while (rc == 0 && json_next(inner(layer), &it, &key, &value)) {
		if (strcmp(key, "layers") == 0 || strcmp(key, "name") == 0)
			continue;
		text.len = 0;
		format_value(value, &text);
		rc = text.failed
			     ? -ENOMEM
			     : model_attr(m, mod, key, "%.*s", (int)text.len,
					  text.p ? text.p : "");
	}
	text_free(&text);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

/* Depth is bounded by the parser's own limit and ours. */
static int describe(struct model *m, struct module *mod,
		    const struct json *layer, size_t depth, struct err *e)
{
	const struct json *layers = keras_layers(layer);
	int rc = describe_layer(m, mod, layer, e);

	if (depth >= KERAS_DEPTH_MAX)
		return rc;
	for (size_t i = 0; rc == 0 && layers && i < json_count(layers); i++) {
		const struct json *child = json_item(layers, i);
		const char *name = keras_name(child);
		struct module *sub;

		if (!name)
			continue;
		rc = model_module(m, mod, name, strlen(name), &sub, e);
		if (rc == 0)
			rc = describe(m, sub, child, depth + 1, e);
	}
	return rc;
}

int keras_describe(struct model *m, const struct json *config, struct err *e)
{
	return config ? describe(m, model_root(m), config, 0, e) : 0;
}
