/* SPDX-License-Identifier: MIT */
/* arch - the hyper-parameters of architectures whose computation we know. */
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/model.h"

#include "format/arch/llama.h"
#include "format/hf/hf.h"
#include "wire/json.h"

static const struct llama_names names = {
	.embedding = "model.embed_tokens",
	.norm = "model.norm",
	.head = "lm_head",
	.layers = "model.layers",
	.attention_norm = "input_layernorm",
	.q = "self_attn.q_proj",
	.k = "self_attn.k_proj",
	.v = "self_attn.v_proj",
	.o = "self_attn.o_proj",
	.attention = "self_attn",
	.mlp_norm = "post_attention_layernorm",
	.gate = "mlp.gate_proj",
	.up = "mlp.up_proj",
	.down = "mlp.down_proj",
	.mlp = "mlp",
	.rope = "model.rotary_emb",
};

static int64_t get_int(const struct json *config, const char *key,
		       int64_t fallback)
{
	int64_t v;

	return json_get_int(json_member(config, key), &v) && v >= 0 &&
			       v <= INT32_MAX
		       ? v
		       : fallback;
}

static double get_real(const struct json *config, const char *key,
		       double fallback)
{
	double v;

	return json_get_real(json_member(config, key), &v) ? v : fallback;
}

static bool is_word(const struct json *v, const char *word)
{
	size_t len;
	const char *s = json_get_string(v, &len);

	return s && strcmp(s, word) == 0;
}

/* What changes the computation in a way we do not build is left alone. */
static bool is_plain(const struct json *config)
{
	static const char *const absent[] = {"rope_scaling", "rope_parameters",
					     "quantization_config"};
	const struct json *act = json_member(config, "hidden_act");
	const struct json *type = json_member(config, "model_type");
	bool slides = false;

	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		if (json_kind(json_member(config, absent[i])) != JSON_KIND_NULL)
			return false;
	json_get_bool(json_member(config, "use_sliding_window"), &slides);
	return (!act || is_word(act, "silu")) && !slides &&
	       (is_word(type, "llama") || is_word(type, "qwen2"));
}

int hf_set_graph(struct model *m, const struct json *config, struct err *e)
{
	struct llama spec = {.names = &names};

	if (!is_plain(config))
		return 0;
	spec.layers = get_int(config, "num_hidden_layers", 0);
	spec.heads = get_int(config, "num_attention_heads", 0);
	spec.kv_heads = get_int(config, "num_key_value_heads", spec.heads);
	spec.head_dim = get_int(config, "head_dim", 0);
	spec.epsilon = (float)get_real(config, "rms_norm_eps", 1e-6);
	spec.rope_base = get_real(config, "rope_theta", 10000);
	return llama_graph(m, &spec, e);
}
