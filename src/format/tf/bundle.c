/* SPDX-License-Identifier: MIT */
/*
 * bundle - a TensorBundle: PREFIX.index, a table that says of each tensor
 * which range of which PREFIX.data-00000-of-00001 it is
 * (tensorflow/core/util/tensor_bundle, tensor_bundle.proto).
 *
 * Keys that begin with a NUL are slices of tensors stored in pieces.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/tf/tf.h"
#include "wire/sstable.h"

#define SHARDS_MAX 65536
#define ENTRY_MAX ((size_t)16 << 20)
#define SLICES_MAX 4096
#define OBJECT_GRAPH "_CHECKPOINTABLE_OBJECT_GRAPH"
#define VALUE_SUFFIX "/.ATTRIBUTES/VARIABLE_VALUE"

struct entry {
	struct span key;
	Tf__BundleEntry *msg; /* owned */
};

struct shard {
	struct source *src; /* owned; NULL: not (yet) open */
	struct err why;	    /* code: it cannot be opened */
};

struct bundle {
	struct tf *t;
	const char *prefix;
	struct entry *entries; /* owned */
	size_t n, cap;
	struct map *index; /* key → entry */
	struct shard *shards;
	int32_t nshards;
	bool is_big_endian;
	bool has_header;
};

/* ---- the index ---- */

static int read_header(struct bundle *b, const struct sstable_entry *x,
		       struct err *e)
{
	Tf__BundleHeader *h =
		tf__bundle_header__unpack(NULL, x->value_len, x->value);
	int rc = 0;

	if (!h)
		return err_set(e, EINVAL, "the bundle's header is damaged");
	b->nshards = h->has_num_shards ? h->num_shards : 0;
	b->is_big_endian = h->endianness == 1;
	if (b->nshards < 1 || b->nshards > SHARDS_MAX)
		rc = err_set(e, EINVAL, "a bundle of %d shards",
			     (int)b->nshards);
	tf__bundle_header__free_unpacked(h, NULL);
	if (rc < 0)
		return rc;
	b->has_header = true;
	b->shards = calloc((size_t)b->nshards, sizeof(*b->shards));
	return b->shards ? 0 : err_nomem(e, sizeof(*b->shards));
}

static int grow(struct bundle *b, struct err *e)
{
	size_t cap = b->cap ? b->cap * 2 : 64;
	struct entry *p;

	if (b->n < b->cap)
		return 0;
	if (b->n >= MODEL_OBJECTS_MAX)
		return err_set(e, EFBIG, "more than %u tensors",
			       MODEL_OBJECTS_MAX);
	p = realloc(b->entries, cap * sizeof(*p));
	if (!p)
		return err_nomem(e, cap * sizeof(*p));
	b->entries = p;
	b->cap = cap;
	return 0;
}

static int take_entry(void *ctx, const struct sstable_entry *x, struct err *e)
{
	struct bundle *b = ctx;
	struct span key = {(const char *)x->key, x->key_len};
	char q[ERR_QUOTED];
	Tf__BundleEntry *msg;
	int rc;

	if (x->value_len > ENTRY_MAX)
		return err_set(e, EFBIG, "an entry of %zu bytes", x->value_len);
	if (x->key_len == 0)
		return read_header(b, x, e);
	if (!b->has_header)
		return err_set(e, EINVAL, "the bundle has no header");
	rc = grow(b, e);
	if (rc == 0)
		rc = tf_copy(b->t, key, &key, e);
	if (rc < 0)
		return rc;
	msg = tf__bundle_entry__unpack(NULL, x->value_len, x->value);
	if (!msg)
		return err_set(e, EINVAL, "%s: the entry is damaged",
			       err_quote(q, key.p, key.len));
	b->entries[b->n++] = (struct entry){key, msg};
	rc = map_set(b->index, key.p, key.len, b->n - 1);
	return rc < 0 ? err_nomem(e, key.len) : 0;
}

/* ---- shards ---- */

static int open_shard(struct bundle *b, int32_t id, struct shard **out,
		      struct err *e)
{
	struct shard *s;
	struct text name = {0};

	if (id < 0 || id >= b->nshards)
		return err_set(e, EINVAL, "shard %d of %d", (int)id,
			       (int)b->nshards);
	s = &b->shards[id];
	*out = s;
	if (s->src || s->why.code)
		return 0;
	text_printf(&name, "%s.data-%05d-of-%05d", b->prefix, (int)id,
		    (int)b->nshards);
	if (name.failed)
		return err_nomem(e, 0);
	input_sibling(b->t->in, name.p, name.len, &s->src, &s->why);
	text_free(&name);
	return s->why.code == ENOMEM ? err_nomem(e, 0) : 0;
}

/* The stored bytes of an entry, as they are. */
static int stored(struct bundle *b, const Tf__BundleEntry *x, struct blob **out,
		  struct err *e)
{
	struct shard *s = NULL;
	int rc;

	if (x->offset < 0 || x->size < 0)
		return err_set(e, EINVAL, "%lld bytes at %lld",
			       (long long)x->size, (long long)x->offset);
	rc = open_shard(b, x->shard_id, &s, e);
	if (rc < 0)
		return rc;
	if (s->src)
		return blob_file(s->src, (uint64_t)x->offset, (uint64_t)x->size,
				 out, e);
	*out = blob_fail((uint64_t)x->size, s->why.code, s->why.msg);
	return *out ? 0 : err_nomem(e, 0);
}

/* ---- numbers ---- */

/* Complex numbers are swapped part by part. */
static size_t swap_width(enum dtype t)
{
	size_t size = dtype_size(t);

	return t == DTYPE_C64 || t == DTYPE_C128 ? size / 2 : size;
}

static int numbers(struct bundle *b, const Tf__BundleEntry *x,
		   const struct tensor *t, struct blob **out, struct err *e)
{
	uint64_t nelems, nbytes;
	int rc;

	if (!shape_nelems(&t->shape, &nelems) ||
	    !dtype_nbytes(t->dtype, nelems, &nbytes) || nbytes > INT64_MAX)
		return err_set(e, EINVAL, "the shape is too large");
	if ((uint64_t)x->size != nbytes)
		return err_set(e, EINVAL, "%lld bytes of data for %llu",
			       (long long)x->size, (unsigned long long)nbytes);
	rc = stored(b, x, out, e);
	if (rc < 0)
		return rc;
	if (x->has_crc32c)
		*out = tf_checked(*out, x->crc32c);
	if (*out && b->is_big_endian && swap_width(t->dtype) > 1)
		*out = blob_swap(*out, swap_width(t->dtype));
	return *out ? 0 : err_nomem(e, 0);
}

/* ---- slices ---- */

/* Keys that sort as their parts do: util/ordered_code. */
static void key_number(struct text *k, uint64_t v)
{
	uint8_t bytes[9];
	uint8_t n = 0;

	for (uint64_t rest = v; rest; rest >>= 8)
		n++;
	bytes[0] = n;
	for (uint8_t i = 0; i < n; i++)
		bytes[n - i] = (uint8_t)(v >> (8 * i));
	text_add_bytes(k, bytes, n + 1u);
}

static void key_string(struct text *k, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		text_add_bytes(k, &s.p[i], 1);
		if (s.p[i] == '\0')
			text_add_bytes(k, "\xff", 1);
		else if (s.p[i] == '\xff')
			text_add_bytes(k, "\0", 1);
	}
	text_add_bytes(k, "\0\1", 2);
}

/*
 * n bytes for numbers of 7n - 1 bits and a sign.  The first bits say n: as
 * many ones (for negative numbers: zeros) as there are bytes.
 */
static void key_signed(struct text *k, int64_t v)
{
	uint64_t bits = v < 0 ? ~(uint64_t)v : (uint64_t)v;
	uint8_t out[10] = {0};
	unsigned n = 1;

	while (n < 10 && bits >> (7 * n - 1))
		n++;
	for (unsigned i = 0; i < 8 && i < n; i++)
		out[n - 1 - i] = (uint8_t)(bits >> (8 * i));
	for (unsigned i = 0; i < n; i++)
		out[i / 8] |= (uint8_t)(0x80 >> i % 8);
	for (unsigned i = 0; i < n && v < 0; i++)
		out[i] = (uint8_t)~out[i];
	text_add_bytes(k, out, n);
}

static void slice_key(struct text *k, struct span name,
		      const Tf__TensorSlice *s)
{
	key_number(k, 0);
	key_string(k, name);
	key_number(k, s->n_extent);
	for (size_t i = 0; i < s->n_extent; i++) {
		const Tf__Extent *x = s->extent[i];

		key_signed(k, x->has_length ? x->start : 0);
		key_signed(k, x->has_length ? x->length : -1);
	}
}

static int one_slice(struct bundle *b, const struct entry *whole, size_t i,
		     const struct tensor *t, struct tf_slice *out,
		     struct err *e)
{
	const Tf__TensorSlice *s = whole->msg->slices[i];
	struct tensor part = {.dtype = t->dtype};
	struct text key = {0};
	uint64_t idx;
	bool found;
	int rc = tf_slice_read(s, &t->shape, out, e);

	if (rc < 0)
		return rc;
	slice_key(&key, whole->key, s);
	if (key.failed)
		return err_nomem(e, 0);
	found = map_get(b->index, key.p, key.len, &idx);
	text_free(&key);
	if (!found || b->entries[idx].msg->n_slices > 0)
		return err_set(e, EINVAL, "slice %zu is missing", i);
	part.shape = shape_of(t->shape.rank, out->len);
	return numbers(b, b->entries[idx].msg, &part, &out->data, e);
}

static int sliced(struct bundle *b, const struct entry *x,
		  const struct tensor *t, struct blob **out, struct err *e)
{
	size_t n = x->msg->n_slices, i;
	struct tf_slice *slices;
	int rc = 0;

	if (n > SLICES_MAX)
		return err_set(e, EFBIG, "%zu slices", n);
	slices = calloc(n, sizeof(*slices));
	if (!slices)
		return err_nomem(e, n * sizeof(*slices));
	for (i = 0; rc == 0 && i < n; i++)
		rc = one_slice(b, x, i, t, &slices[i], e);
	if (rc == 0)
		return tf_slices(slices, n, &t->shape, dtype_size(t->dtype),
				 out, e);
	for (i = 0; i < n; i++)
		blob_unref(slices[i].data);
	free(slices);
	return rc;
}

/* ---- tensors ---- */

static int strings(struct bundle *b, const Tf__BundleEntry *x,
		   const struct tensor *t, struct blob **out, struct err *e)
{
	struct blob *data;
	uint64_t nelems;
	int rc;

	if (!shape_nelems(&t->shape, &nelems))
		return err_set(e, EINVAL, "the shape is too large");
	rc = stored(b, x, &data, e);
	return rc < 0 ? rc : tf_strings(data, nelems, out, e);
}

static int make_data(struct bundle *b, const struct entry *x, struct tensor *t,
		     struct err *e)
{
	if (t->dtype == DTYPE_NONE) {
		t->data = blob_fail(0, EOPNOTSUPP, "unknown element type");
		return t->data ? 0 : err_nomem(e, 0);
	}
	if (t->dtype == DTYPE_STRING)
		return strings(b, x->msg, t, &t->data, e);
	if (x->msg->n_slices > 0)
		return sliced(b, x, t, &t->data, e);
	return numbers(b, x->msg, t, &t->data, e);
}

static bool contains(struct span s, const char *part)
{
	return memmem(s.p, s.len, part, strlen(part)) != NULL;
}

static bool starts_with(struct span s, const char *part)
{
	return s.len >= strlen(part) && memcmp(s.p, part, strlen(part)) == 0;
}

/* TensorFlow 1 puts an optimiser's state beneath the variable's name. */
static bool is_beneath_variable(struct bundle *b, struct span key)
{
	const char *slash = memrchr(key.p, '/', key.len);
	uint64_t idx;

	return slash && map_get(b->index, key.p, (size_t)(slash - key.p), &idx);
}

static enum param_kind kind_of(struct bundle *b, struct span key,
			       struct span name)
{
	uint64_t kind;

	if (contains(key, "/.OPTIMIZER_SLOT/") ||
	    starts_with(key, "optimizer/") || is_beneath_variable(b, key))
		return PARAM_SLOT;
	if (map_get(b->t->kinds, name.p, name.len, &kind))
		return (enum param_kind)kind;
	return PARAM_PARAMETER;
}

/* What people call it, or else the key without what all keys end in. */
static struct span human_name(struct bundle *b, struct span key)
{
	size_t suffix = strlen(VALUE_SUFFIX);
	uint64_t known;

	if (map_get(b->t->human, key.p, key.len, &known))
		return *(const struct span *)(uintptr_t)known;
	if (key.len > suffix &&
	    memcmp(key.p + key.len - suffix, VALUE_SUFFIX, suffix) == 0)
		key.len -= suffix;
	return key;
}

/* The checkpoint's own key stays a name of the tensor, out of the way. */
static int add_key(struct bundle *b, struct span key, struct err *e)
{
	const struct param *p = b->t->m->params[b->t->m->nparams - 1];
	struct param_spec spec = {.full_name = key,
				  .kind = (enum param_kind)p->kind,
				  .tensor = param_tensor(p),
				  .dtype_text = p->dtype_text};
	struct module *mod;
	int rc = model_module(b->t->m, model_root(b->t->m), "checkpoint", 10,
			      &mod, e);

	if (rc == 0)
		rc = model_path(b->t->m, mod, key.p, key.len, "/", &spec.module,
				&spec.name, e);
	if (rc < 0)
		return rc;
	blob_ref(spec.tensor.data);
	return model_param(b->t->m, &spec, NULL, e);
}

static int add_entry(struct bundle *b, const struct entry *x, struct err *e)
{
	struct span name = human_name(b, x->key);
	struct tensor t = {.dtype = tf_dtype(x->msg->dtype)};
	struct err why = {0};
	char q[ERR_QUOTED];
	int rc = tf_shape(x->msg->shape, &t.shape, &why);

	if (rc == 0) {
		rc = make_data(b, x, &t, &why);
		if (rc < 0 && rc != -ENOMEM && b->t->m->lenient) {
			t.data = blob_fail(0, EIO, why.msg);
			rc = t.data ? 0 : -ENOMEM;
		}
	}
	if (rc < 0) {
		err_set(e, -rc, "%s", why.msg);
		return err_wrap(e, "%s", err_quote(q, x->key.p, x->key.len));
	}
	rc = tf_param(b->t, name, kind_of(b, x->key, name), &t, x->msg->dtype,
		      e);
	if (rc == 0 &&
	    map_set(b->t->keys, x->key.p, x->key.len, b->t->m->nparams) < 0)
		rc = err_nomem(e, x->key.len);
	if (rc == 0 &&
	    (name.len != x->key.len || memcmp(name.p, x->key.p, name.len) != 0))
		rc = add_key(b, x->key, e);
	return rc;
}

/* ---- the object graph, a scalar string ---- */

static int read_objects(struct bundle *b, const Tf__BundleEntry *x,
			struct err *e)
{
	struct blob *data;
	struct extent range;
	uint8_t head[16];
	struct cursor c;
	uint64_t len;
	size_t got;
	int rc = stored(b, x, &data, e);

	if (rc < 0)
		return rc;
	if (!blob_is_extent(data, &range)) {
		blob_unref(data); /* the shard is missing */
		return 0;
	}
	rc = blob_read(data, head, sizeof(head), 0, &got, e);
	c = cursor_make(head, rc < 0 ? 0 : got, 0);
	len = cursor_varint(&c);
	cursor_skip(&c, 4);
	if (rc == 0 && (c.bad || len > range.len - c.off))
		rc = err_set(e, EINVAL, "object graph beyond its data");
	if (rc == 0)
		rc = tf_objects(b->t, range.src, range.off + c.off, len, e);
	if (rc == 0) {
		data = blob_slice(data, c.off, len);
		return model_config(b->t->m, "object_graph.pb", data, e);
	}
	blob_unref(data);
	return rc;
}

static bool is_variable(const struct entry *x)
{
	return x->key.p[0] != '\0' &&
	       !(x->key.len == strlen(OBJECT_GRAPH) &&
		 memcmp(x->key.p, OBJECT_GRAPH, x->key.len) == 0);
}

static int add_all(struct bundle *b, struct err *e)
{
	uint64_t idx;
	int rc = 0;

	if (!b->has_header)
		return err_set(e, EINVAL, "the bundle has no header");
	if (map_get(b->index, OBJECT_GRAPH, strlen(OBJECT_GRAPH), &idx))
		rc = read_objects(b, b->entries[idx].msg, e);
	for (size_t i = 0; rc == 0 && i < b->n; i++)
		if (is_variable(&b->entries[i]))
			rc = tf_name_add(b->t, human_name(b, b->entries[i].key),
					 e);
	for (size_t i = 0; rc == 0 && i < b->n; i++)
		if (is_variable(&b->entries[i]))
			rc = add_entry(b, &b->entries[i], e);
	return rc;
}

int tf_bundle(struct tf *t, struct source *index, const char *prefix,
	      struct err *e)
{
	struct bundle b = {.t = t, .prefix = prefix, .index = map_new()};
	int rc = b.index ? 0 : err_nomem(e, 0);

	if (rc == 0)
		rc = sstable_each(index, take_entry, &b, e);
	if (rc == 0)
		rc = add_all(&b, e);
	for (size_t i = 0; i < b.n; i++)
		tf__bundle_entry__free_unpacked(b.entries[i].msg, NULL);
	for (int32_t i = 0; b.shards && i < b.nshards; i++)
		source_unref(b.shards[i].src);
	free(b.shards);
	free(b.entries);
	map_free(b.index);
	return rc;
}
