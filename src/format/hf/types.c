/* SPDX-License-Identifier: MIT */
/*
 * types - the classes of modules, by the names that transformers gives them.
 * The file says only what the whole is; what its parts are follows from the
 * family.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/model.h"

#include "format/hf/hf.h"
#include "wire/json.h"

enum family { LLAMA, GPT2, BERT, T5 };

static const struct {
	const char *model_type;
	enum family family;
	const char *prefix; /* of its classes */
} families[] = {
	{"llama", LLAMA, "Llama"},
	{"mistral", LLAMA, "Mistral"},
	{"mixtral", LLAMA, "Mixtral"},
	{"qwen2", LLAMA, "Qwen2"},
	{"qwen3", LLAMA, "Qwen3"},
	{"gemma", LLAMA, "Gemma"},
	{"gemma2", LLAMA, "Gemma2"},
	{"phi3", LLAMA, "Phi3"},
	{"olmo2", LLAMA, "Olmo2"},
	{"gpt2", GPT2, "GPT2"},
	{"bert", BERT, "Bert"},
	{"roberta", BERT, "Roberta"},
	{"t5", T5, "T5"},
};

/* A name, or "*" for a number below the module of the name before it. */
static const struct rule {
	enum family family;
	const char *name;
	const char *type; /* "+" is the family's prefix */
} rules[] = {
	{LLAMA, "model", "+Model"},
	{LLAMA, "layers*", "+DecoderLayer"},
	{LLAMA, "self_attn", "+Attention"},
	{LLAMA, "mlp", "+MLP"},
	{LLAMA, "input_layernorm", "+RMSNorm"},
	{LLAMA, "post_attention_layernorm", "+RMSNorm"},
	{LLAMA, "pre_feedforward_layernorm", "+RMSNorm"},
	{LLAMA, "post_feedforward_layernorm", "+RMSNorm"},
	{LLAMA, "q_norm", "+RMSNorm"},
	{LLAMA, "k_norm", "+RMSNorm"},
	{LLAMA, "norm", "+RMSNorm"},
	{LLAMA, "embed_tokens", "Embedding"},
	{LLAMA, "q_proj", "Linear"},
	{LLAMA, "k_proj", "Linear"},
	{LLAMA, "v_proj", "Linear"},
	{LLAMA, "o_proj", "Linear"},
	{LLAMA, "qkv_proj", "Linear"},
	{LLAMA, "gate_proj", "Linear"},
	{LLAMA, "up_proj", "Linear"},
	{LLAMA, "gate_up_proj", "Linear"},
	{LLAMA, "down_proj", "Linear"},
	{LLAMA, "lm_head", "Linear"},
	{LLAMA, "layers", "ModuleList"},
	{GPT2, "transformer", "+Model"},
	{GPT2, "h", "ModuleList"},
	{GPT2, "h*", "+Block"},
	{GPT2, "attn", "+Attention"},
	{GPT2, "mlp", "+MLP"},
	{GPT2, "wte", "Embedding"},
	{GPT2, "wpe", "Embedding"},
	{GPT2, "ln_1", "LayerNorm"},
	{GPT2, "ln_2", "LayerNorm"},
	{GPT2, "ln_f", "LayerNorm"},
	{GPT2, "c_attn", "Conv1D"},
	{GPT2, "c_proj", "Conv1D"},
	{GPT2, "c_fc", "Conv1D"},
	{GPT2, "lm_head", "Linear"},
	{BERT, "bert", "+Model"},
	{BERT, "roberta", "+Model"},
	{BERT, "embeddings", "+Embeddings"},
	{BERT, "encoder", "+Encoder"},
	{BERT, "layer", "ModuleList"},
	{BERT, "layer*", "+Layer"},
	{BERT, "attention", "+Attention"},
	{BERT, "self", "+SelfAttention"},
	{BERT, "intermediate", "+Intermediate"},
	{BERT, "pooler", "+Pooler"},
	{BERT, "LayerNorm", "LayerNorm"},
	{BERT, "word_embeddings", "Embedding"},
	{BERT, "position_embeddings", "Embedding"},
	{BERT, "token_type_embeddings", "Embedding"},
	{BERT, "query", "Linear"},
	{BERT, "key", "Linear"},
	{BERT, "value", "Linear"},
	{BERT, "dense", "Linear"},
	{BERT, "classifier", "Linear"},
	{T5, "shared", "Embedding"},
	{T5, "embed_tokens", "Embedding"},
	{T5, "encoder", "+Stack"},
	{T5, "decoder", "+Stack"},
	{T5, "block", "ModuleList"},
	{T5, "block*", "+Block"},
	{T5, "SelfAttention", "+Attention"},
	{T5, "EncDecAttention", "+Attention"},
	{T5, "layer_norm", "+LayerNorm"},
	{T5, "final_layer_norm", "+LayerNorm"},
	{T5, "relative_attention_bias", "Embedding"},
	{T5, "q", "Linear"},
	{T5, "k", "Linear"},
	{T5, "v", "Linear"},
	{T5, "o", "Linear"},
	{T5, "wi", "Linear"},
	{T5, "wi_0", "Linear"},
	{T5, "wi_1", "Linear"},
	{T5, "wo", "Linear"},
	{T5, "lm_head", "Linear"},
};

static bool is_number(const struct module *mod)
{
	for (uint32_t i = 0; i < mod->name_len; i++)
		if (mod->name[i] < '0' || mod->name[i] > '9')
			return false;
	return mod->name_len > 0;
}

static bool matches(const struct rule *rule, const struct module *mod)
{
	size_t len = strlen(rule->name);

	if (rule->name[len - 1] == '*') {
		if (!is_number(mod) || !mod->parent)
			return false;
		mod = mod->parent;
		len--;
	}
	return mod->name_len == len && memcmp(mod->name, rule->name, len) == 0;
}

static int set_type(struct model *m, struct module *mod, enum family family,
		    const char *prefix)
{
	char type[64];

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		bool has_prefix = rules[i].type[0] == '+';

		if (rules[i].family != family || !matches(&rules[i], mod))
			continue;
		snprintf(type, sizeof(type), "%s%s", has_prefix ? prefix : "",
			 rules[i].type + has_prefix);
		return model_type(m, mod, type, strlen(type));
	}
	return 0;
}

static int add_line(struct model *m, const struct json *config, const char *key)
{
	size_t len;
	const char *s = json_get_string(json_member(config, key), &len);

	return s ? model_info(m, key, "%s", s) : 0;
}

static int set_all(struct model *m, const char *model_type)
{
	for (size_t k = 0; k < sizeof(families) / sizeof(families[0]); k++) {
		if (strcmp(families[k].model_type, model_type) != 0)
			continue;
		for (uint32_t i = 1; i < m->nmodules; i++) {
			int rc = set_type(m, m->modules[i], families[k].family,
					  families[k].prefix);

			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

int hf_set_types(struct model *m, const struct json *config, struct err *e)
{
	const struct json *list = json_member(config, "architectures");
	size_t len;
	const char *name = json_get_string(json_item(list, 0), &len);
	const char *type =
		json_get_string(json_member(config, "model_type"), &len);
	int rc = 0;

	if (name) {
		rc = model_info(m, "architecture", "%s", name);
		if (rc == 0)
			rc = model_type(m, model_root(m), name, strlen(name));
	}
	if (rc == 0)
		rc = add_line(m, config, "model_type");
	if (rc == 0)
		rc = add_line(m, config, "torch_dtype");
	if (rc == 0 && type)
		rc = set_all(m, type);
	return rc < 0 ? err_nomem(e, 64) : 0;
}
