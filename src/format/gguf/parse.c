/* SPDX-License-Identifier: MIT */
/* parse - header, keys and tensors of one file; no payload. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/array.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"

#include "format/gguf/gguf.h"

#define KEY_BYTES_MAX 65535
#define TENSOR_BYTES_MAX 4096
#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MAX (1u << 20)

/* What a key (name, type, value) or a tensor takes at least. */
#define KEY_BYTES_MIN(version) ((version) == 1 ? 10 : 14)
#define TENSOR_BYTES_MIN(version) ((version) == 1 ? 20 : 24)

static int reader_error(const struct reader *r, struct err *e)
{
	if (!r->bad)
		return 0;
	return err_set(e, r->err.code, "%s", r->err.msg);
}

static int read_name(struct gguf *g, struct reader *r, uint64_t max,
		     struct span *out, struct err *e)
{
	uint64_t len = gguf_count(g, r);
	char *s;

	if (len > max || len > reader_left(r))
		reader_fail(r, EINVAL, "a name is too long");
	if (r->bad)
		return reader_error(r, e);
	s = arena_alloc(g->arena, len + 1);
	if (!s)
		return err_nomem(e, len);
	reader_bytes(r, s, len);
	*out = (struct span){s, len};
	return reader_error(r, e);
}

/* ---- header ---- */

static int read_version(struct gguf *g, struct reader *r, struct err *e)
{
	uint8_t magic[4];

	reader_bytes(r, magic, sizeof(magic));
	g->version = reader_u32(r);
	if (r->bad)
		return reader_error(r, e);
	g->is_swapped =
		memcmp(magic, "FUGG", 4) == 0 || (g->version & 0xffff) == 0;
	if (g->is_swapped)
		g->version = __builtin_bswap32(g->version);
	if (g->version < 1 || g->version > 3)
		return err_set(e, EINVAL, "version %u (known: 1 to 3)",
			       g->version);
	return 0;
}

static int check_count(const struct reader *r, uint64_t n, size_t least,
		       const char *what, struct err *e)
{
	if (n > MODEL_OBJECTS_MAX || !reader_fits(r, n, least))
		return err_set(e, EINVAL, "%llu %s in %llu bytes",
			       (unsigned long long)n, what,
			       (unsigned long long)reader_left(r));
	return 0;
}

/* ---- keys ---- */

static uint64_t key_number(const struct gguf *g, const struct gguf_key *k,
			   struct err *e, int *rc)
{
	static const bool is_signed[GGUF_NTYPES] = {
		[GGUF_I8] = true, [GGUF_I16] = true, [GGUF_I32] = true};
	uint8_t b[8] = {0};
	uint64_t v;
	unsigned bits = 8 * (unsigned)k->len;

	*rc = source_read(g->src, b, k->len, k->off, e);
	memcpy(&v, b, sizeof(v));
	if (g->is_swapped)
		v = __builtin_bswap64(v) >> (64 - bits);
	return is_signed[k->type]
		       ? (uint64_t)((int64_t)(v << (64 - bits)) >> (64 - bits))
		       : v;
}

static int read_key(struct gguf *g, struct reader *r, struct gguf_key *out,
		    struct err *e)
{
	char quoted[ERR_QUOTED];
	uint64_t end;
	int rc = read_name(g, r, KEY_BYTES_MAX, &out->name, e);

	if (rc < 0)
		return rc;
	if (out->name.len == 0 || memchr(out->name.p, 0, out->name.len))
		return err_set(e, EINVAL, "byte %llu: not a name for a key",
			       (unsigned long long)r->off);
	out->type = gguf_u32(g, r);
	out->off = r->off;
	gguf_value(g, r, out->type, NULL);
	if (r->bad) {
		reader_error(r, e);
		return err_wrap(e, "%s",
				err_quote(quoted, out->name.p, out->name.len));
	}
	end = r->off;
	if (out->type == GGUF_STRING)
		out->off += g->version == 1 ? 4 : 8;
	out->len = end - out->off;
	if (out->type != GGUF_STRING && out->type != GGUF_ARRAY)
		out->number = key_number(g, out, e, &rc);
	return rc;
}

static int add_name(struct map *names, const struct span *name, struct err *e)
{
	char quoted[ERR_QUOTED];
	int rc = map_add(names, name->p, name->len, 1);

	if (rc == -EEXIST)
		return err_set(e, EINVAL, "%s: appears twice",
			       err_quote(quoted, name->p, name->len));
	return rc < 0 ? err_nomem(e, name->len) : 0;
}

static int read_keys(struct gguf *g, struct reader *r, uint64_t n,
		     struct map *names, struct err *e)
{
	int rc = check_count(r, n, KEY_BYTES_MIN(g->version), "keys", e);

	/* What a file declares is never allocated ahead. */
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		struct gguf_key *k;

		rc = array_grow(&g->keys, &g->cap_keys, g->nkeys,
				sizeof(*g->keys), e);
		if (rc < 0)
			break;
		k = &g->keys[g->nkeys];
		*k = (struct gguf_key){0};
		rc = read_key(g, r, k, e);
		if (rc == 0)
			rc = add_name(names, &k->name, e);
		g->nkeys += rc == 0;
	}
	return rc;
}

/* ---- tensors ---- */

static int read_dims(struct gguf *g, struct reader *r, struct gguf_tensor *t,
		     struct err *e)
{
	t->rank = gguf_u32(g, r);
	if (t->rank > GGUF_RANK_MAX && !r->bad)
		return err_set(e, EINVAL, "%u dimensions", t->rank);
	for (uint32_t i = 0; i < t->rank && !r->bad; i++) {
		uint64_t dim = gguf_count(g, r);

		if (dim > INT64_MAX)
			return err_set(e, EINVAL, "an extent of %llu",
				       (unsigned long long)dim);
		t->dims[i] = (int64_t)dim;
	}
	return reader_error(r, e);
}

/* Bytes that shape and type ask for; rows are whole blocks. */
static int measure(struct gguf_tensor *t, struct err *e)
{
	const struct dtype_info *info = dtype_info(t->dtype);
	uint64_t nelems = 1;
	bool is_empty = false;

	for (uint32_t i = 0; i < t->rank; i++) {
		if (t->dims[i] == 0)
			is_empty = true;
		else if (__builtin_mul_overflow(nelems, (uint64_t)t->dims[i],
						&nelems))
			return err_set(e, EINVAL, "the shape is too large");
	}
	if (t->dtype == DTYPE_NONE)
		return 0;
	if ((t->rank > 0 ? t->dims[0] : 1) % info->block_elems != 0)
		return err_set(e, EINVAL,
			       "rows of %lld elements in blocks of %u",
			       t->rank ? (long long)t->dims[0] : 1ll,
			       info->block_elems);
	if (!dtype_nbytes(t->dtype, nelems, &t->nbytes) ||
	    t->nbytes > INT64_MAX)
		return err_set(e, EINVAL, "the shape is too large");
	if (is_empty)
		t->nbytes = 0;
	return 0;
}

static int read_tensor(struct gguf *g, struct reader *r, struct gguf_tensor *t,
		       struct err *e)
{
	char quoted[ERR_QUOTED], unknown[16];
	int rc = read_name(g, r, TENSOR_BYTES_MAX, &t->name, e);

	if (rc < 0)
		return rc;
	rc = read_dims(g, r, t, e);
	if (rc == 0) {
		t->type = gguf_u32(g, r);
		t->off = gguf_u64(g, r);
		t->dtype = gguf_dtype(t->type, unknown);
		rc = reader_error(r, e);
	}
	if (rc == 0)
		rc = measure(t, e);
	if (rc < 0)
		err_wrap(e, "%s", err_quote(quoted, t->name.p, t->name.len));
	return rc;
}

static int read_tensors(struct gguf *g, struct reader *r, uint64_t n,
			struct map *names, struct err *e)
{
	int rc = check_count(r, n, TENSOR_BYTES_MIN(g->version), "tensors", e);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		struct gguf_tensor *t;

		rc = array_grow(&g->tensors, &g->cap_tensors, g->ntensors,
				sizeof(*g->tensors), e);
		if (rc < 0)
			break;
		t = &g->tensors[g->ntensors];
		*t = (struct gguf_tensor){0};
		rc = read_tensor(g, r, t, e);
		if (rc == 0)
			rc = add_name(names, &t->name, e);
		g->ntensors += rc == 0;
	}
	return rc;
}

/* ---- all of it ---- */

static int read_alignment(struct gguf *g, struct err *e)
{
	const struct gguf_key *k = gguf_find(g, "general.alignment");

	g->alignment = ALIGNMENT_DEFAULT;
	if (!k)
		return 0;
	if (k->type != GGUF_U32 || k->number == 0 ||
	    k->number > ALIGNMENT_MAX || (k->number & (k->number - 1)) != 0)
		return err_set(e, EINVAL,
			       "general.alignment is no power of two up to %u",
			       ALIGNMENT_MAX);
	g->alignment = k->number;
	return 0;
}

static int parse(struct gguf *g, struct reader *r, struct map *keys,
		 struct map *tensors, struct err *e)
{
	uint64_t ntensors, nkeys;
	int rc = read_version(g, r, e);

	if (rc < 0)
		return rc;
	ntensors = gguf_count(g, r);
	nkeys = gguf_count(g, r);
	rc = reader_error(r, e);
	if (rc == 0)
		rc = check_count(r, ntensors, TENSOR_BYTES_MIN(g->version),
				 "tensors", e);
	if (rc == 0)
		rc = read_keys(g, r, nkeys, keys, e);
	if (rc == 0)
		rc = read_alignment(g, e);
	if (rc == 0)
		rc = read_tensors(g, r, ntensors, tensors, e);
	if (rc == 0)
		g->data_off = (r->off + g->alignment - 1) & ~(g->alignment - 1);
	return rc;
}

int gguf_parse(struct gguf *g, struct err *e)
{
	struct reader *r = reader_new(g->src, 0, UINT64_MAX);
	struct map *keys = map_new(), *tensors = map_new();
	int rc;

	if (r && keys && tensors)
		rc = parse(g, r, keys, tensors, e);
	else
		rc = err_nomem(e, sizeof(*r));
	reader_free(r);
	map_free(keys);
	map_free(tensors);
	return rc;
}

void gguf_free(struct gguf *g)
{
	free(g->keys);
	free(g->tensors);
	g->keys = NULL;
	g->tensors = NULL;
}

const struct gguf_key *gguf_find(const struct gguf *g, const char *name)
{
	size_t len = strlen(name);

	for (uint64_t i = 0; i < g->nkeys; i++)
		if (g->keys[i].name.len == len &&
		    memcmp(g->keys[i].name.p, name, len) == 0)
			return &g->keys[i];
	return NULL;
}

bool gguf_get(const struct gguf *g, const char *name, enum gguf_type type,
	      uint64_t *out)
{
	const struct gguf_key *k = gguf_find(g, name);

	if (!k || k->type != type)
		return false;
	*out = k->number;
	return true;
}
