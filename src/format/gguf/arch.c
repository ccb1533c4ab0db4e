/* SPDX-License-Identifier: MIT */
/* arch - the hyper-parameters of architectures whose computation we know. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/arch/llama.h"
#include "format/gguf/gguf.h"

static const struct llama_names names = {
	.embedding = "token_embd",
	.norm = "output_norm",
	.head = "output",
	.layers = "blk",
	.attention_norm = "attn_norm",
	.q = "attn_q",
	.k = "attn_k",
	.v = "attn_v",
	.o = "attn_output",
	.attention = "attn",
	.mlp_norm = "ffn_norm",
	.gate = "ffn_gate",
	.up = "ffn_up",
	.down = "ffn_down",
	.mlp = "ffn",
	.rope = "rope",
	.factors = "rope_freqs.weight",
};

static const struct {
	const char *name;
	bool interleaved;
} known[] = {{"llama", true}, {"qwen2", false}};

/* "llama." + name; fallback where there is no such number. */
static int64_t get_int(const struct gguf *g, const char *arch, const char *name,
		       int64_t fallback)
{
	const struct gguf_key *k;
	char key[96];

	snprintf(key, sizeof(key), "%s.%s", arch, name);
	k = gguf_find(g, key);
	if (!k || k->type == GGUF_STRING || k->type == GGUF_ARRAY ||
	    k->type == GGUF_F32 || k->type == GGUF_F64 || k->number > INT32_MAX)
		return fallback;
	return (int64_t)k->number;
}

static float get_float(const struct gguf *g, const char *arch, const char *name,
		       float fallback)
{
	const struct gguf_key *k;
	uint32_t bits;
	float v;
	char key[96];

	snprintf(key, sizeof(key), "%s.%s", arch, name);
	k = gguf_find(g, key);
	if (!k || k->type != GGUF_F32)
		return fallback;
	bits = (uint32_t)k->number;
	memcpy(&v, &bits, sizeof(v));
	return v;
}

/* Scaled positions other than by factors are not built. */
static bool is_plain(const struct gguf *g, const char *arch)
{
	char key[96];

	snprintf(key, sizeof(key), "%s.rope.scaling.type", arch);
	return !gguf_find(g, key) && get_int(g, arch, "expert_count", 0) == 0;
}

int gguf_graph(const struct gguf *g, struct model *m, struct err *e)
{
	const struct gguf_key *k = gguf_find(g, "general.architecture");
	char arch[16];
	size_t i, n = sizeof(known) / sizeof(known[0]);
	struct llama spec = {.names = &names};

	if (!k || k->type != GGUF_STRING || k->len >= sizeof(arch) ||
	    source_read(g->src, arch, k->len, k->off, NULL) < 0)
		return 0;
	arch[k->len] = '\0';
	for (i = 0; i < n && strcmp(known[i].name, arch) != 0; i++)
		;
	if (i == n || m->nparams == 0 || !is_plain(g, arch))
		return 0;
	spec.interleaved = known[i].interleaved;
	spec.layers = get_int(g, arch, "block_count", 0);
	spec.heads = get_int(g, arch, "attention.head_count", 0);
	spec.kv_heads = get_int(g, arch, "attention.head_count_kv", spec.heads);
	spec.head_dim = get_int(g, arch, "attention.key_length", 0);
	spec.epsilon =
		get_float(g, arch, "attention.layer_norm_rms_epsilon", 1e-5f);
	spec.rope_base = (double)get_float(g, arch, "rope.freq_base", 10000);
	return llama_graph(m, &spec, e);
}
