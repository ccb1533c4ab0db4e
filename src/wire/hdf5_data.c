/* SPDX-License-Identifier: MIT */
/* hdf5_data - datasets: type, shape, and where the elements are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/source.h"

#include "wire/hdf5_file.h"

#define STRINGS_MAX 1000000u

enum layout_class {
	LAYOUT_COMPACT,
	LAYOUT_CONTIGUOUS,
	LAYOUT_CHUNKED,
	LAYOUT_VIRTUAL
};

struct dataset {
	struct hdf5 *h;
	const struct hdf5_object *o;
	struct hdf5_type type;
	struct shape shape;
	uint64_t nelems;
	uint64_t nbytes;
	uint8_t fill[16];
};

/* What is wrong with the data of a dataset whose shape is known. */
static int refuse(uint64_t nbytes, int code, const char *why, struct blob **out,
		  struct err *e)
{
	*out = blob_fail(nbytes <= INT64_MAX ? nbytes : 0, code, why);
	return *out ? 0 : err_nomem(e, 0);
}

/* ---- fill values ---- */

static void set_fill(struct dataset *d, struct cursor *c)
{
	uint32_t len = cursor_u32(c);
	const uint8_t *p;

	if (c->bad || len != d->type.size || len > sizeof(d->fill))
		return;
	p = cursor_bytes(c, len);
	if (p)
		memcpy(d->fill, p, len);
}

static void read_fill(struct dataset *d)
{
	const struct hdf5_message *m = hdf5_message(d->o, MESSAGE_FILL);
	struct cursor c;
	uint8_t version, flags;

	if (!m) {
		m = hdf5_message(d->o, MESSAGE_OLD_FILL);
		if (!m)
			return;
		c = cursor_make(m->data, m->len, 0);
		set_fill(d, &c);
		return;
	}
	c = cursor_make(m->data, m->len, 0);
	version = cursor_u8(&c);
	flags = cursor_u8(&c);
	if (version == 3 && !(flags & 0x20))
		return;
	if (version < 3) {
		cursor_skip(&c, 1);
		if (cursor_u8(&c) == 0)
			return;
	}
	set_fill(d, &c);
}

static int fill_blob(const struct dataset *d, struct blob **out, struct err *e)
{
	if (d->type.size > sizeof(d->fill))
		return refuse(d->nbytes, EOPNOTSUPP, "a large fill value", out,
			      e);
	*out = blob_repeat(d->fill, d->type.size, d->nbytes);
	return *out ? 0 : err_nomem(e, 0);
}

/* ---- chunks ---- */

static int read_filters(const struct dataset *d, struct hdf5_chunked *k,
			struct err *e)
{
	const struct hdf5_message *m = hdf5_message(d->o, MESSAGE_FILTERS);
	struct cursor c;
	uint8_t version, n;

	if (!m)
		return 0;
	c = cursor_make(m->data, m->len, 0);
	version = cursor_u8(&c);
	n = cursor_u8(&c);
	if (version < 1 || version > 2 || n > HDF5_FILTERS_MAX)
		return err_set(e, EINVAL, "%u filters of version %u", n,
			       version);
	cursor_skip(&c, version == 1 ? 6 : 0);
	for (uint8_t i = 0; i < n; i++) {
		struct hdf5_filter *f = &k->filters[i];
		uint16_t name = 0, count;

		f->id = cursor_u16(&c);
		if (version == 1 || f->id >= 256)
			name = cursor_u16(&c);
		cursor_skip(&c, 2);
		count = cursor_u16(&c);
		cursor_skip(&c, version == 1 ? (name + 7u) & ~7u : name);
		f->value = count ? cursor_u32(&c) : 0;
		if (count)
			cursor_skip(&c, 4u * (count - 1u));
		if (version == 1 && count % 2)
			cursor_skip(&c, 4);
	}
	k->nfilters = n;
	return c.bad ? err_set(e, EINVAL, "the filters are damaged") : 0;
}

struct collecting {
	const struct dataset *d;
	struct hdf5_chunked *k;
};

static int take_chunk(void *ctx, const uint8_t *key, uint64_t child,
		      struct err *e)
{
	struct collecting *x = ctx;
	const struct shape *s = &x->k->shape;
	struct cursor c = cursor_make(key, 8 + 8 * ((size_t)s->rank + 1), 0);
	struct hdf5_chunk chunk = {0};
	uint32_t size = cursor_u32(&c);

	chunk.mask = cursor_u32(&c);
	for (int32_t i = 0; i < s->rank; i++) {
		uint64_t at = cursor_u64(&c);
		uint64_t d = (uint64_t)x->k->chunk.dims[i];
		uint64_t n = (uint64_t)s->dims[i] / d +
			     ((uint64_t)s->dims[i] % d != 0);

		/* After shrinking, chunks outside may be left over. */
		if (at % d != 0)
			return err_set(e, EINVAL, "a chunk between two places");
		if (at / d >= n)
			return 0;
		chunk.idx = chunk.idx * n + at / d;
	}
	chunk.addr = child;
	return hdf5_add_chunk(x->d->h, x->k, &chunk, size, e);
}

static int chunk_extents(const struct dataset *d, struct cursor *c, size_t n,
			 size_t width, struct hdf5_chunked *k, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	uint64_t elem = 0;

	if (n != (size_t)d->shape.rank + 1 || d->shape.rank == 0)
		return err_set(e, EINVAL, "chunks of another rank");
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 0;

		for (size_t b = 0; b < width; b++)
			v |= (uint64_t)cursor_u8(c) << (8 * b);
		if (v == 0 || v > INT64_MAX)
			return err_set(e, EINVAL, "chunks without elements");
		if (i + 1 < n)
			dims[i] = (int64_t)v;
		else
			elem = v;
	}
	if (c->bad || elem != d->type.size)
		return err_set(e, EINVAL, "chunks of other elements");
	k->shape = d->shape;
	k->elem_size = d->type.size;
	memcpy(k->fill, d->fill, sizeof(k->fill));
	return shape_set(&k->chunk, dims, n - 1, e);
}

static int finish_chunks(const struct dataset *d, struct hdf5_chunked *k,
			 int rc, struct blob **out, struct err *e)
{
	for (size_t i = 0; rc == 0 && i < k->nfilters; i++) {
		char why[64];

		if (hdf5_filter_known(k->filters[i].id))
			continue;
		snprintf(why, sizeof(why), "filter %u", k->filters[i].id);
		free(k->chunks);
		return refuse(d->nbytes, EOPNOTSUPP, why, out, e);
	}
	if (rc < 0) {
		free(k->chunks);
		return rc;
	}
	return hdf5_chunked_blob(d->h->src, k, out, e);
}

/* Version 3: a B-tree finds them. */
static int chunked(const struct dataset *d, struct cursor *c, struct blob **out,
		   struct err *e)
{
	struct hdf5_chunked k = {0};
	struct collecting x = {d, &k};
	uint8_t n = cursor_u8(c);
	uint64_t tree = hdf5_offset(d->h, c);
	int rc = chunk_extents(d, c, n, 4, &k, e);

	if (rc == 0)
		rc = read_filters(d, &k, e);
	if (rc == 0 && tree != HDF5_UNDEFINED)
		rc = hdf5_tree(d->h, tree, 1, 8 + 8 * (size_t)n, take_chunk, &x,
			       e);
	return finish_chunks(d, &k, rc, out, e);
}

/* How far each extent may grow; -1: without limit. */
static void max_extents(const struct dataset *d, int64_t *out)
{
	const struct hdf5_message *m = hdf5_message(d->o, MESSAGE_DATASPACE);
	struct cursor c = cursor_make(m->data, m->len, 0);
	uint8_t version = cursor_u8(&c), rank = cursor_u8(&c);
	uint8_t flags = cursor_u8(&c);

	cursor_skip(&c, (version == 1 ? 5 : 1) + rank * d->h->length_size);
	for (int32_t i = 0; i < d->shape.rank; i++) {
		uint64_t v = flags & 1 ? hdf5_length(d->h, &c)
				       : (uint64_t)d->shape.dims[i];

		out[i] = v > INT64_MAX ? -1 : (int64_t)v;
	}
}

static int chunked_v4(const struct dataset *d, struct cursor *c,
		      struct blob **out, struct err *e)
{
	struct hdf5_chunked k = {0};
	uint8_t flags = cursor_u8(c), n = cursor_u8(c), width = cursor_u8(c);
	int64_t max[SHAPE_RANK_MAX];
	int rc;

	if (width < 1 || width > 8)
		return err_set(e, EINVAL, "extents of %u bytes", width);
	rc = chunk_extents(d, c, n, width, &k, e);
	if (rc == 0)
		rc = read_filters(d, &k, e);
	if (rc < 0)
		return rc;
	max_extents(d, max);
	rc = hdf5_index(d->h, max, flags, c, &k, e);
	return finish_chunks(d, &k, rc, out, e);
}

/* ---- layouts ---- */

static int contiguous(const struct dataset *d, uint64_t addr, uint64_t size,
		      struct blob **out, struct err *e)
{
	if (addr == HDF5_UNDEFINED)
		return fill_blob(d, out, e);
	if (size < d->nbytes || addr > d->h->size ||
	    d->nbytes > d->h->size - addr)
		return err_set(e, EINVAL, "%llu bytes of data at %llu for %llu",
			       (unsigned long long)size,
			       (unsigned long long)addr,
			       (unsigned long long)d->nbytes);
	return blob_file(d->h->src, d->h->base + addr, d->nbytes, out, e);
}

static int compact(const struct dataset *d, struct cursor *c, uint64_t size,
		   struct blob **out, struct err *e)
{
	const uint8_t *p;

	if (size < d->nbytes || d->nbytes > cursor_left(c))
		return err_set(e, EINVAL, "%llu bytes of data for %llu",
			       (unsigned long long)size,
			       (unsigned long long)d->nbytes);
	p = cursor_bytes(c, (size_t)d->nbytes);
	*out = blob_copy(p, (size_t)d->nbytes);
	return *out ? 0 : err_nomem(e, 0);
}

/* Versions 1 and 2 say rank and extents in all classes. */
static int old_layout(const struct dataset *d, struct cursor *c,
		      struct blob **out, struct err *e)
{
	uint8_t rank = cursor_u8(c), class = cursor_u8(c);
	uint64_t addr = HDF5_UNDEFINED;

	cursor_skip(c, 5);
	if (class != LAYOUT_COMPACT)
		addr = hdf5_offset(d->h, c);
	if (class == LAYOUT_CHUNKED)
		return refuse(d->nbytes, EOPNOTSUPP, "an old layout of chunks",
			      out, e);
	cursor_skip(c, 4u * rank);
	if (class == LAYOUT_COMPACT)
		return compact(d, c, cursor_u32(c), out, e);
	return c->bad ? err_set(e, EINVAL, "the layout is damaged")
		      : contiguous(d, addr, d->nbytes, out, e);
}

static int layout(const struct dataset *d, struct blob **out, struct err *e)
{
	const struct hdf5_message *m = hdf5_message(d->o, MESSAGE_LAYOUT);
	struct cursor c;
	uint8_t version, class;
	uint64_t addr, size;

	if (hdf5_message(d->o, MESSAGE_EXTERNAL))
		return refuse(d->nbytes, EPERM, "the data is in another file",
			      out, e);
	if (!m)
		return err_set(e, EINVAL, "a dataset without a layout");
	c = cursor_make(m->data, m->len, 0);
	version = cursor_u8(&c);
	if (version == 1 || version == 2)
		return old_layout(d, &c, out, e);
	class = cursor_u8(&c);
	if (version < 3 || version > 4)
		return refuse(d->nbytes, EOPNOTSUPP, "a newer layout", out, e);
	if (class == LAYOUT_VIRTUAL)
		return refuse(d->nbytes, EPERM, "a virtual dataset", out, e);
	if (class == LAYOUT_CHUNKED)
		return version == 3 ? chunked(d, &c, out, e)
				    : chunked_v4(d, &c, out, e);
	if (class == LAYOUT_COMPACT)
		return compact(d, &c, cursor_u16(&c), out, e);
	addr = hdf5_offset(d->h, &c);
	size = hdf5_length(d->h, &c);
	if (c.bad || class != LAYOUT_CONTIGUOUS)
		return err_set(e, EINVAL, "the layout is damaged");
	return contiguous(d, addr, size, out, e);
}

/* ---- strings ---- */

static int add_string(struct dataset *d, const uint8_t *p,
		      struct string_list *l, struct err *e)
{
	struct hdf5_string s = {(const char *)p, 0};
	int rc = 0;

	if (d->type.class == HDF5_VLEN_TEXT)
		rc = hdf5_vlen(d->h, p, &s, e);
	else
		s.len = strnlen(s.p, d->type.size);
	if (rc < 0)
		return rc;
	return string_list_add(l, s.p, s.len) < 0 ? err_nomem(e, s.len) : 0;
}

static int collect(struct dataset *d, struct blob *raw, struct blob **out,
		   struct err *e)
{
	struct string_list *l = string_list_new();
	uint8_t *buf = malloc((size_t)d->type.size + 1);
	int rc = l && buf ? 0 : err_nomem(e, d->type.size);

	for (uint64_t i = 0; rc == 0 && i < d->nelems; i++) {
		rc = blob_read_full(raw, buf, d->type.size, i * d->type.size,
				    e);
		if (rc == 0)
			rc = add_string(d, buf, l, e);
	}
	free(buf);
	if (rc < 0) {
		string_list_free(l);
		return rc;
	}
	*out = string_list_finish(l);
	return *out ? 0 : err_nomem(e, 0);
}

/* What is wrong with the strings is an error of this dataset alone. */
static int strings(struct dataset *d, struct blob *raw, struct blob **out,
		   struct err *e)
{
	struct err why = {0};
	int rc = blob_status(raw, &why);

	if (rc == 0 &&
	    (d->nelems > STRINGS_MAX || d->nbytes > HDF5_METADATA_MAX ||
	     (d->type.class == HDF5_VLEN_TEXT &&
	      d->type.size != 8 + d->h->offset_size)))
		rc = err_set(&why, EFBIG, "too many strings");
	if (rc == 0)
		rc = collect(d, raw, out, &why);
	blob_unref(raw);
	if (rc == 0)
		return 0;
	return refuse(0, why.code ? why.code : EIO, why.msg, out, e);
}

/* ---- the whole ---- */

int hdf5_is_dataset(struct hdf5 *h, hdf5_id id, bool *out, struct err *e)
{
	const struct hdf5_object *o;
	int rc = hdf5_object(h, id, &o, e);

	if (rc == 0)
		*out = hdf5_message(o, MESSAGE_DATATYPE) &&
		       hdf5_message(o, MESSAGE_DATASPACE);
	return rc;
}

static int describe(struct dataset *d, struct err *e)
{
	const struct hdf5_message *type = hdf5_message(d->o, MESSAGE_DATATYPE);
	const struct hdf5_message *space =
		hdf5_message(d->o, MESSAGE_DATASPACE);
	bool is_null = false;
	int rc;

	if (!type || !space)
		return err_set(e, EINVAL, "no dataset");
	rc = hdf5_type(d->h, type, &d->type, e);
	if (rc == 0)
		rc = hdf5_space(d->h, space->data, space->len, &d->shape,
				&is_null, e);
	if (rc < 0)
		return rc;
	if (is_null)
		d->shape = shape_of(1, (const int64_t[]){0});
	if (!shape_nelems(&d->shape, &d->nelems) ||
	    __builtin_mul_overflow(d->nelems, (uint64_t)d->type.size,
				   &d->nbytes) ||
	    d->nbytes > INT64_MAX)
		return err_set(e, EINVAL, "the shape is too large");
	return 0;
}

static int type_name(struct dataset *d, const char **out, struct err *e)
{
	char buf[48];
	int n = snprintf(buf, sizeof(buf), "hdf5.class%u.%u", d->type.number,
			 d->type.size);

	*out = arena_strndup(d->h->arena, buf, (size_t)n);
	return *out ? 0 : err_nomem(e, sizeof(buf));
}

int hdf5_dataset(struct hdf5 *h, hdf5_id id, struct tensor *out,
		 const char **type_text, struct err *e)
{
	struct dataset d = {.h = h};
	struct tensor t = {0};
	int rc = hdf5_object(h, id, &d.o, e);

	if (rc == 0)
		rc = describe(&d, e);
	if (rc < 0)
		return rc;
	read_fill(&d);
	t.shape = d.shape;
	t.dtype = d.type.class == HDF5_NUMBER ? d.type.dtype : DTYPE_NONE;
	if (d.type.class == HDF5_OTHER) {
		rc = type_name(&d, type_text, e);
		if (rc == 0)
			rc = refuse(d.nbytes, EOPNOTSUPP,
				    "unknown element type", &t.data, e);
	} else if (d.nbytes == 0) {
		t.data = blob_copy("", 0);
	} else {
		rc = layout(&d, &t.data, e);
	}
	if (rc == 0 && d.type.class != HDF5_NUMBER &&
	    d.type.class != HDF5_OTHER) {
		t.dtype = DTYPE_STRING;
		rc = strings(&d, t.data, &t.data, e);
	}
	if (rc == 0 && d.type.swap > 1 && d.type.class == HDF5_NUMBER)
		t.data = blob_swap(t.data, d.type.swap);
	if (rc < 0)
		return rc;
	*out = t;
	return t.data ? 0 : err_nomem(e, 0);
}
