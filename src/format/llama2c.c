/* SPDX-License-Identifier: MIT */
/*
 * llama2c - the weights file of llama2.c (export.py, version 0).
 *
 *	i32 dim, hidden, layers, heads, kv_heads, vocabulary, positions
 *	float32 tensors, each for all layers at once, in a fixed order
 *
 * There is no magic number: the size of the file must be exactly what the
 * header asks for.  A negative vocabulary means that the classifier has
 * weights of its own.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/formats.h"

#define HEADER_BYTES 28
/* Larger numbers than any model's; products of three of them fit 63 bits. */
#define NUMBER_MAX (1 << 20)

struct header {
	int64_t dim, hidden, layers, heads, kv_heads, vocab, positions;
	bool has_classifier;
};

struct part {
	const char *name;
	int64_t dims[3];
	uint32_t rank;
};

#define NPARTS 14

static bool read_header(const struct input *in, struct header *h)
{
	int32_t v[7];

	if (!in->file || in->nhead < HEADER_BYTES)
		return false;
	memcpy(v, in->head, sizeof(v));
	for (int i = 0; i < 7; i++)
		if (v[i] == 0 || v[i] > NUMBER_MAX || v[i] < -NUMBER_MAX ||
		    (v[i] < 0 && i != 5))
			return false;
	*h = (struct header){
		.dim = v[0],
		.hidden = v[1],
		.layers = v[2],
		.heads = v[3],
		.kv_heads = v[4],
		.vocab = v[5] < 0 ? -(int64_t)v[5] : v[5],
		.positions = v[6],
		.has_classifier = v[5] < 0,
	};
	return h->dim % h->heads == 0 && h->heads % h->kv_heads == 0;
}

/* The tensors in the order of the file; returns how many there are. */
static size_t list_parts(const struct header *h, struct part out[NPARTS])
{
	int64_t l = h->layers, d = h->dim, f = h->hidden;
	int64_t kv = d / h->heads * h->kv_heads, half = d / h->heads / 2;
	const struct part parts[NPARTS] = {
		{"tok_embeddings.weight", {h->vocab, d}, 2},
		{"layers.attention_norm.weight", {l, d}, 2},
		{"layers.attention.wq.weight", {l, d, d}, 3},
		{"layers.attention.wk.weight", {l, kv, d}, 3},
		{"layers.attention.wv.weight", {l, kv, d}, 3},
		{"layers.attention.wo.weight", {l, d, d}, 3},
		{"layers.ffn_norm.weight", {l, d}, 2},
		{"layers.feed_forward.w1.weight", {l, f, d}, 3},
		{"layers.feed_forward.w2.weight", {l, d, f}, 3},
		{"layers.feed_forward.w3.weight", {l, f, d}, 3},
		{"norm.weight", {d}, 1},
		{"freqs_cos", {h->positions, half}, 2},
		{"freqs_sin", {h->positions, half}, 2},
		{"output.weight", {h->vocab, d}, 2},
	};

	memcpy(out, parts, sizeof(parts));
	return h->has_classifier ? NPARTS : NPARTS - 1;
}

/* False beyond what a file can have. */
static bool part_bytes(const struct part *p, uint64_t *out)
{
	struct shape shape = shape_of((int32_t)p->rank, p->dims);
	uint64_t n;

	return shape_nelems(&shape, &n) && dtype_nbytes(DTYPE_F32, n, out);
}

static bool has_right_size(const struct input *in, const struct header *h)
{
	struct part parts[NPARTS];
	size_t n = list_parts(h, parts), i;
	uint64_t total = HEADER_BYTES, nbytes;

	for (i = 0; i < n; i++)
		if (!part_bytes(&parts[i], &nbytes) ||
		    __builtin_add_overflow(total, nbytes, &total))
			return false;
	return total == source_size(in->file);
}

static int add_part(const struct input *in, const struct part *p, uint64_t off,
		    uint64_t nbytes, struct model *m, struct err *e)
{
	struct param_spec spec = {
		.full_name = {p->name, strlen(p->name)},
		.kind = p->name[0] == 'f' ? PARAM_BUFFER : PARAM_PARAMETER,
		.tensor = {.dtype = DTYPE_F32,
			   .shape = shape_of((int32_t)p->rank, p->dims)},
	};
	int rc = model_path(m, model_root(m), p->name, strlen(p->name), ".",
			    &spec.module, &spec.name, e);

	if (rc == 0)
		rc = blob_file(in->file, off, nbytes, &spec.tensor.data, e);
	return rc == 0 ? model_param(m, &spec, NULL, e) : rc;
}

static int add_info(const struct header *h, struct model *m)
{
	const struct {
		const char *key;
		int64_t value;
	} items[] = {
		{"dim", h->dim},	   {"hidden_dim", h->hidden},
		{"layers", h->layers},	   {"heads", h->heads},
		{"kv_heads", h->kv_heads}, {"positions", h->positions},
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(items) / sizeof(items[0]); i++)
		rc = model_info(m, items[i].key, "%lld",
				(long long)items[i].value);
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct part parts[NPARTS];
	struct header h;
	uint64_t off = HEADER_BYTES, nbytes;
	size_t n, i;
	int rc = 0;

	if (!read_header(in, &h) || !has_right_size(in, &h))
		return err_set(e, EINVAL, "not the size its header asks for");
	n = list_parts(&h, parts);
	for (i = 0; rc == 0 && i < n; i++) {
		part_bytes(&parts[i], &nbytes);
		rc = add_part(in, &parts[i], off, nbytes, m, e);
		off += nbytes;
	}
	if (rc == 0 && add_info(&h, m) < 0)
		rc = err_nomem(e, 64);
	return rc;
}

static int probe(const struct input *in)
{
	struct header h;

	return read_header(in, &h) && has_right_size(in, &h) ? 70 : 0;
}

const struct format format_llama2c = {
	.name = "llama2c",
	.title = "weights of llama2.c, float32",
	.probe = probe,
	.read = read,
};
