/* SPDX-License-Identifier: MIT */
/* llama - see llama.h. */
#include "format/arch/llama.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/model.h"

#define OPSET 24
#define NAME_MAX_BYTES 256
#define LAYERS_MAX 4096
#define INPUTS_MAX 4
#define ATTRS_MAX 4

struct builder {
	struct model *m;
	const struct llama *spec;
	struct map *params; /* full name → index */
	int64_t width, head_dim, vocab;
	value_id cos, sin;
	struct err *e;
	int rc; /* the first failure; then nothing more is done */
};

/* ---- weights ---- */

__attribute__((format(printf, 2, 3))) static void
name_of(char out[NAME_MAX_BYTES], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out, NAME_MAX_BYTES, fmt, ap);
	va_end(ap);
}

static struct param *find_param(const struct builder *b, const char *module,
				const char *leaf)
{
	char name[NAME_MAX_BYTES];
	uint64_t i;

	name_of(name, "%s.%s", module, leaf);
	return map_get(b->params, name, strlen(name), &i) ? b->m->params[i]
							  : NULL;
}

static int index_params(struct builder *b)
{
	b->params = map_new();
	if (!b->params)
		return err_nomem(b->e, 1);
	for (uint32_t i = 0; i < b->m->nparams; i++) {
		const struct param *p = b->m->params[i];

		if (map_set(b->params, p->full_name, p->full_len, i) < 0)
			return err_nomem(b->e, p->full_len);
	}
	return 0;
}

/* Writes into `why` and is false unless there is a weight of this shape. */
static bool has_weight(const struct builder *b, const char *module,
		       int64_t rows, int64_t cols, char why[NAME_MAX_BYTES])
{
	const struct param *p = find_param(b, module, "weight");
	uint8_t rank = cols ? 2 : 1;

	if (!p) {
		name_of(why, "%.200s.weight is missing", module);
		return false;
	}
	if (p->rank != rank || p->dims[0] != rows ||
	    (cols && p->dims[1] != cols)) {
		name_of(why, "%.200s.weight has another shape", module);
		return false;
	}
	return true;
}

static bool has_layer(const struct builder *b, int64_t layer,
		      char why[NAME_MAX_BYTES])
{
	const struct llama *s = b->spec;
	const struct llama_names *n = s->names;
	int64_t w = b->width, q = s->heads * b->head_dim;
	int64_t kv = s->kv_heads * b->head_dim;
	char at[NAME_MAX_BYTES];
	const struct param *up;
	int64_t hidden;

	name_of(at, "%s.%lld.%s", n->layers, (long long)layer, n->up);
	up = find_param(b, at, "weight");
	hidden = up && up->rank == 2 ? up->dims[0] : 1;
	const struct {
		const char *module;
		int64_t rows, cols;
	} want[] = {
		{n->attention_norm, w, 0},
		{n->q, q, w},
		{n->k, kv, w},
		{n->v, kv, w},
		{n->o, w, q},
		{n->mlp_norm, w, 0},
		{n->up, hidden, w},
		{n->gate, hidden, w},
		{n->down, w, hidden},
	};
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		name_of(at, "%s.%lld.%s", n->layers, (long long)layer,
			want[i].module);
		if (!has_weight(b, at, want[i].rows, want[i].cols, why))
			return false;
	}
	return true;
}

/* Sizes that the embedding and the first q tell; all weights in place. */
static bool check_weights(struct builder *b, char why[NAME_MAX_BYTES])
{
	const struct llama *s = b->spec;
	const struct param *p = find_param(b, s->names->embedding, "weight");

	name_of(why, "hyper-parameters out of range");
	if (s->layers <= 0 || s->layers > LAYERS_MAX || s->heads <= 0 ||
	    s->heads > INT16_MAX || s->kv_heads <= 0 ||
	    s->heads % s->kv_heads != 0 || !(s->rope_base > 0))
		return false;
	name_of(why, "%s.weight is missing", s->names->embedding);
	if (!p || p->rank != 2)
		return false;
	b->vocab = p->dims[0];
	b->width = p->dims[1];
	b->head_dim = s->head_dim ? s->head_dim : b->width / s->heads;
	name_of(why, "heads of %lld numbers", (long long)b->head_dim);
	if (b->head_dim <= 0 || b->head_dim > INT16_MAX || b->head_dim % 2)
		return false;
	for (int64_t i = 0; i < s->layers; i++)
		if (!has_layer(b, i, why))
			return false;
	return has_weight(b, s->names->norm, b->width, 0, why) &&
	       (!find_param(b, s->names->head, "weight") ||
		has_weight(b, s->names->head, b->vocab, b->width, why));
}

/* ---- nodes ---- */

struct step {
	const char *module; /* "blk.0.attn_q" */
	const char *type;
	const char *leaf; /* NULL: the type */
	const char *out;  /* name of the output; NULL: the node's */
	value_id in[INPUTS_MAX];
	uint32_t nin;
	struct attr attrs[ATTRS_MAX];
	uint32_t nattrs;
};

static struct attr int_attr(const char *name, int64_t v)
{
	return (struct attr){.name = name, .kind = ATTR_INT, .n = 1, .i = v};
}

static struct module *module_of(struct builder *b, const struct step *s,
				const char *leaf)
{
	struct module *mod = model_root(b->m);
	char path[NAME_MAX_BYTES];
	struct span last;

	name_of(path, "%s.%s", s->module, leaf);
	b->rc = model_path(b->m, mod, path, strlen(path), ".", &mod, &last,
			   b->e);
	if (b->rc == 0)
		b->rc = model_module(b->m, mod, last.p, last.len, &mod, b->e);
	if (b->rc == 0)
		mod->is_node = true;
	return mod;
}

/* The output of a new node, under the same name; NO_VALUE after a failure. */
static value_id emit(struct builder *b, const struct step *s)
{
	const char *leaf = s->leaf ? s->leaf : s->type;
	char name[NAME_MAX_BYTES];
	struct module *mod;
	struct node *n;
	value_id out = NO_VALUE;

	if (b->rc < 0)
		return NO_VALUE;
	name_of(name, "%s.%s", s->module, leaf);
	mod = module_of(b, s, leaf);
	if (b->rc == 0)
		b->rc = graph_value(b->m->graph, s->out ? s->out : name,
				    strlen(s->out ? s->out : name), &out, b->e);
	if (b->rc == 0)
		b->rc = graph_node(b->m->graph, name, "", s->type, s->nin, 1,
				   s->nattrs, &n, b->e);
	if (b->rc < 0)
		return NO_VALUE;
	n->opset = OPSET;
	n->module = mod;
	n->out[0] = out;
	for (uint32_t i = 0; i < s->nin; i++)
		n->in[i] = s->in[i];
	for (uint32_t i = 0; i < s->nattrs; i++)
		n->attrs[i] = s->attrs[i];
	return out;
}

static value_id emit1(struct builder *b, const char *module, const char *type,
		      value_id x)
{
	return emit(b, &(struct step){.module = module,
				      .type = type,
				      .in = {x},
				      .nin = 1});
}

static value_id emit2(struct builder *b, const char *module, const char *type,
		      const char *leaf, value_id x, value_id y)
{
	return emit(b, &(struct step){.module = module,
				      .type = type,
				      .leaf = leaf,
				      .in = {x, y},
				      .nin = 2});
}

/* A parameter's value; NO_VALUE where there is none. */
static value_id stored(struct builder *b, struct param *p)
{
	value_id v = NO_VALUE;

	if (b->rc < 0 || !p)
		return NO_VALUE;
	b->rc = graph_value(b->m->graph, p->full_name, p->full_len, &v, b->e);
	if (b->rc == 0)
		b->m->graph->values[v].param = p;
	return v;
}

/* A Constant node; takes data. */
static value_id constant(struct builder *b, const char *module,
			 const char *leaf, enum dtype dtype, int32_t rank,
			 int64_t n, struct blob *data)
{
	struct tensor *t = arena_alloc(b->m->arena, sizeof(*t));
	value_id out;

	if (b->rc == 0 && (!t || !data))
		b->rc = err_nomem(b->e, sizeof(*t));
	if (b->rc < 0) {
		blob_unref(data);
		return NO_VALUE;
	}
	*t = (struct tensor){
		.dtype = dtype, .shape = shape_of(rank, &n), .data = data};
	out = emit(b, &(struct step){.module = module,
				     .type = "Constant",
				     .leaf = leaf,
				     .nattrs = 1,
				     .attrs = {{.name = "value",
						.kind = ATTR_TENSOR,
						.n = 1,
						.t = t}}});
	if (out == NO_VALUE)
		blob_unref(data);
	return out;
}

static value_id constant_int(struct builder *b, const char *module,
			     const char *leaf, int32_t rank, int64_t v)
{
	return constant(b, module, leaf, DTYPE_I64, rank, 1,
			blob_copy(&v, sizeof(v)));
}

/* x times the transposed weight, plus the bias where there is one. */
static value_id linear(struct builder *b, const char *module, value_id x,
		       struct param *weight, const char *out)
{
	struct param *bias = find_param(b, module, "bias");
	value_id w = stored(b, weight), c = stored(b, bias);

	return emit(b, &(struct step){.module = module,
				      .type = "Gemm",
				      .out = out,
				      .in = {x, w, c},
				      .nin = bias ? 3 : 2,
				      .attrs = {int_attr("transB", 1)},
				      .nattrs = 1});
}

static value_id rms_norm(struct builder *b, const char *module, value_id x)
{
	value_id w = stored(b, find_param(b, module, "weight"));

	return emit(b, &(struct step){.module = module,
				      .type = "RMSNormalization",
				      .in = {x, w},
				      .nin = 2,
				      .attrs = {int_attr("axis", -1),
						{.name = "epsilon",
						 .kind = ATTR_FLOAT,
						 .n = 1,
						 .f = b->spec->epsilon}},
				      .nattrs = 2});
}

/* ---- angles ---- */

static value_id frequencies(struct builder *b, const char *at)
{
	int64_t half = b->head_dim / 2;
	struct blob *data;
	void *p = NULL;
	float *f;

	data = blob_mem((uint64_t)half * sizeof(*f), &p);
	f = p;
	for (int64_t i = 0; data && i < half; i++)
		f[i] = (float)pow(b->spec->rope_base,
				  -2.0 * (double)i / (double)b->head_dim);
	return constant(b, at, "frequencies", DTYPE_F32, 1, half, data);
}

static value_id divided(struct builder *b, const char *at, value_id freq)
{
	const char *name = b->spec->names->factors;
	uint64_t i;

	if (!name || !map_get(b->params, name, strlen(name), &i))
		return freq;
	return emit2(b, at, "Div", NULL, freq, stored(b, b->m->params[i]));
}

/* cos and sin of position × frequency, [1, n, head_dim / 2]. */
static void angles(struct builder *b, value_id tokens)
{
	const char *at = b->spec->names->rope;
	value_id axis0 = constant_int(b, at, "first", 1, 0);
	value_id axis1 = constant_int(b, at, "second", 1, 1);
	value_id zero = constant_int(b, at, "zero", 0, 0);
	value_id one = constant_int(b, at, "one", 0, 1);
	value_id freq = divided(b, at, frequencies(b, at));
	value_id n = emit2(b, at, "Squeeze", NULL,
			   emit1(b, at, "Shape", tokens), axis0);
	value_id pos = emit(b, &(struct step){.module = at,
					      .type = "Range",
					      .leaf = "positions",
					      .in = {zero, n, one},
					      .nin = 3});
	value_id angle;

	pos = emit(b, &(struct step){.module = at,
				     .type = "Cast",
				     .in = {pos},
				     .nin = 1,
				     .attrs = {int_attr("to", 1)},
				     .nattrs = 1});
	pos = emit2(b, at, "Unsqueeze", "column", pos, axis1);
	angle = emit2(b, at, "Mul", "angles", pos, freq);
	angle = emit2(b, at, "Unsqueeze", "batch", angle, axis0);
	b->cos = emit1(b, at, "Cos", angle);
	b->sin = emit1(b, at, "Sin", angle);
}

/* ---- layers ---- */

static value_id rotate(struct builder *b, const char *at, const char *leaf,
		       value_id x, int64_t heads)
{
	return emit(b, &(struct step){.module = at,
				      .type = "RotaryEmbedding",
				      .leaf = leaf,
				      .in = {x, b->cos, b->sin},
				      .nin = 3,
				      .attrs = {int_attr("num_heads", heads),
						int_attr("interleaved",
							 b->spec->interleaved)},
				      .nattrs = 2});
}

/* [n, hidden] → [1, n, hidden] */
static value_id batched(struct builder *b, const char *at, const char *leaf,
			value_id x, value_id axis)
{
	return emit2(b, at, "Unsqueeze", leaf, x, axis);
}

static value_id projected(struct builder *b, int64_t layer, const char *name,
			  value_id x)
{
	char at[NAME_MAX_BYTES];

	name_of(at, "%s.%lld.%s", b->spec->names->layers, (long long)layer,
		name);
	return linear(b, at, x, find_param(b, at, "weight"), NULL);
}

static value_id normed(struct builder *b, int64_t layer, const char *name,
		       value_id x)
{
	char at[NAME_MAX_BYTES];

	name_of(at, "%s.%lld.%s", b->spec->names->layers, (long long)layer,
		name);
	return rms_norm(b, at, x);
}

static value_id attention(struct builder *b, int64_t layer, value_id x)
{
	const struct llama *s = b->spec;
	const struct llama_names *n = s->names;
	value_id q = projected(b, layer, n->q, x);
	value_id k = projected(b, layer, n->k, x);
	value_id v = projected(b, layer, n->v, x);
	char at[NAME_MAX_BYTES];
	value_id axis, mixed;

	name_of(at, "%s.%lld.%s", n->layers, (long long)layer, n->attention);
	axis = constant_int(b, at, "first", 1, 0);
	q = rotate(b, at, "rotated_q", batched(b, at, "q", q, axis), s->heads);
	k = rotate(b, at, "rotated_k", batched(b, at, "k", k, axis),
		   s->kv_heads);
	v = batched(b, at, "v", v, axis);
	mixed = emit(
		b,
		&(struct step){.module = at,
			       .type = "Attention",
			       .in = {q, k, v},
			       .nin = 3,
			       .attrs = {int_attr("is_causal", 1),
					 int_attr("q_num_heads", s->heads),
					 int_attr("kv_num_heads", s->kv_heads)},
			       .nattrs = 3});
	mixed = emit2(b, at, "Squeeze", NULL, mixed, axis);
	return projected(b, layer, n->o, mixed);
}

static value_id mlp(struct builder *b, int64_t layer, value_id x)
{
	const struct llama_names *n = b->spec->names;
	value_id gate = projected(b, layer, n->gate, x);
	value_id up = projected(b, layer, n->up, x);
	char at[NAME_MAX_BYTES];

	name_of(at, "%s.%lld.%s", n->layers, (long long)layer, n->mlp);
	gate = emit1(b, at, "Swish", gate);
	return projected(b, layer, n->down,
			 emit2(b, at, "Mul", NULL, gate, up));
}

static value_id layer(struct builder *b, int64_t i, value_id x)
{
	const struct llama_names *n = b->spec->names;
	char at[NAME_MAX_BYTES];

	name_of(at, "%s.%lld", n->layers, (long long)i);
	x = emit2(b, at, "Add", "after_attention", x,
		  attention(b, i, normed(b, i, n->attention_norm, x)));
	return emit2(b, at, "Add", "after_mlp", x,
		     mlp(b, i, normed(b, i, n->mlp_norm, x)));
}

/* ---- the whole ---- */

/* Rows of plain types are looked up, then widened; blocks have no rows. */
static value_id embed(struct builder *b, value_id tokens)
{
	const char *at = b->spec->names->embedding;
	struct param *p = find_param(b, at, "weight");
	bool is_quant = dtype_info((enum dtype)p->dtype)->class == CLASS_QUANT;
	value_id w = stored(b, p);
	struct step cast = {.module = at,
			    .type = "Cast",
			    .nin = 1,
			    .attrs = {int_attr("to", 1)},
			    .nattrs = 1};

	if (is_quant) {
		cast.in[0] = w;
		return emit2(b, at, "Gather", NULL, emit(b, &cast), tokens);
	}
	cast.in[0] = emit2(b, at, "Gather", NULL, w, tokens);
	return emit(b, &cast);
}

static value_id declared(struct builder *b, const char *name, enum dtype dtype,
			 int32_t rank, int64_t last)
{
	struct tensor type = {
		.dtype = dtype,
		.shape = shape_of(rank, (int64_t[]){DIM_UNKNOWN, last})};
	const char **dims = arena_array(b->m->arena, 2, sizeof(*dims));
	value_id v = NO_VALUE;

	if (!dims)
		b->rc = err_nomem(b->e, 2 * sizeof(*dims));
	if (b->rc < 0)
		return NO_VALUE;
	dims[0] = "n";
	b->rc = graph_value(b->m->graph, name, strlen(name), &v, b->e);
	if (b->rc == 0)
		b->rc = graph_declare(b->m->graph, v, &type, dims, b->e);
	return v;
}

static int build(struct builder *b)
{
	const struct llama_names *n = b->spec->names;
	struct param *head = find_param(b, n->head, "weight");
	value_id tokens = declared(b, "tokens", DTYPE_I64, 1, 0);
	value_id logits, x;

	if (b->rc == 0)
		b->rc = graph_input(b->m->graph, tokens, b->e);
	angles(b, tokens);
	x = embed(b, tokens);
	for (int64_t i = 0; i < b->spec->layers; i++)
		x = layer(b, i, x);
	x = rms_norm(b, n->norm, x);
	/* Without a head of its own the embedding is it. */
	if (!head)
		head = find_param(b, n->embedding, "weight");
	logits = declared(b, "logits", DTYPE_F32, 2, b->vocab);
	linear(b, n->head, x, head, "logits");
	if (b->rc == 0)
		b->rc = graph_output(b->m->graph, logits, b->e);
	return b->rc;
}

int llama_graph(struct model *m, const struct llama *spec, struct err *e)
{
	struct builder b = {.m = m, .spec = spec, .e = e};
	char why[NAME_MAX_BYTES];
	int rc = index_params(&b);

	if (rc == 0 && !check_weights(&b, why)) {
		map_free(b.params);
		return model_info(m, "no_graph", "%s", why) < 0
			       ? err_nomem(e, sizeof(why))
			       : 0;
	}
	if (rc == 0) {
		m->graph = graph_new(m->arena, NULL, "llama");
		rc = m->graph ? build(&b) : err_nomem(e, 1);
	}
	map_free(b.params);
	return rc;
}
