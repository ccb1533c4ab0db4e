/* SPDX-License-Identifier: MIT */
/*
 * npy_record - the type of records: a list of fields, each a tuple of its
 * name, or (title, name), its type, which may be another list, and its own
 * shape, where it has one.
 *
 *	[('id', '<i4'), ('box', '<f4', (2, 2)), ('', '|V4')]
 *
 * A field without a name is padding.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/npy.h"
#include "modelfs/text.h"

#include "data/literal.h"

#define NESTING_MAX 16
#define FIELDS_MAX 65536
/* Of all names together: each is there once for what it contains. */
#define NAMES_MAX (16u << 20)

struct parse {
	struct literal l;
	struct npy_record *r;
	struct text path; /* of the list being read, with its dots */
	size_t cap;
	uint64_t name_bytes;
	int depth;
	struct err *e;
};

static int bad(struct parse *p, const char *what)
{
	return err_set(p->e, EINVAL, ".npy record type: %s", what);
}

/* 'name', or ('title', 'name'); the path becomes that of the field. */
static int read_name(struct parse *p, size_t *len)
{
	const uint8_t *s;
	bool has_title = literal_accept(&p->l, '(');

	if (!literal_string(&p->l, &s, len))
		return bad(p, "no name of a field");
	if (has_title &&
	    (!literal_accept(&p->l, ',') || !literal_string(&p->l, &s, len) ||
	     !literal_accept(&p->l, ')')))
		return bad(p, "no name after a title");
	text_add(&p->path, p->path.len > 0 ? "." : "");
	text_add_bytes(&p->path, (const char *)s, *len);
	if (p->path.failed)
		return err_nomem(p->e, *len);
	p->name_bytes += p->path.len;
	if (p->name_bytes > NAMES_MAX)
		return err_set(p->e, EFBIG,
			       ".npy record type: names of %llu "
			       "bytes",
			       (unsigned long long)p->name_bytes);
	return 0;
}

static int add_field(struct parse *p, const struct npy_info *info)
{
	struct npy_record *r = p->r;
	struct npy_field *fields;
	size_t cap = p->cap ? 2 * p->cap : 16;

	if (r->nfields == FIELDS_MAX)
		return err_set(p->e, EFBIG, "more than %d .npy fields",
			       FIELDS_MAX);
	if (r->nfields == p->cap) {
		fields = realloc(r->fields, cap * sizeof(*fields));
		if (!fields)
			return err_nomem(p->e, cap * sizeof(*fields));
		r->fields = fields;
		p->cap = cap;
	}
	r->fields[r->nfields] = (struct npy_field){
		.name = arena_strndup(r->arena, p->path.p, p->path.len),
		.len = p->path.len,
		.info = *info,
	};
	if (!r->fields[r->nfields].name)
		return err_nomem(p->e, p->path.len);
	r->nfields++;
	return 0;
}

/* Everything since `from` is in an array of this shape. */
static int add_axes(struct parse *p, size_t from, const struct shape *s,
		    uint64_t *nbytes)
{
	uint64_t n, size = *nbytes;

	if (!shape_nelems(s, &n) || __builtin_mul_overflow(n, size, nbytes) ||
	    *nbytes > INT64_MAX)
		return bad(p, "a field too large");
	for (size_t i = from; i < p->r->nfields; i++) {
		struct npy_field *f = &p->r->fields[i];
		struct shape *own = &f->info.shape;
		int64_t step = (int64_t)size;

		if (own->rank + s->rank > SHAPE_RANK_MAX)
			return err_set(p->e, EOPNOTSUPP,
				       ".npy field of more than %d axes",
				       SHAPE_RANK_MAX);
		memmove(own->dims + s->rank, own->dims,
			(size_t)own->rank * sizeof(*own->dims));
		memmove(f->strides + s->rank, f->strides,
			(size_t)own->rank * sizeof(*f->strides));
		for (int32_t k = s->rank; k-- > 0;) {
			own->dims[k] = s->dims[k];
			f->strides[k] = step;
			/* No overflow, or an extent of 0 before this one. */
			if (__builtin_mul_overflow(step, s->dims[k], &step))
				step = 0;
		}
		own->rank += s->rank;
	}
	return 0;
}

static int read_list(struct parse *p, uint64_t *nbytes);

static int read_type(struct parse *p, bool is_padding, uint64_t *nbytes)
{
	struct npy_info info = {.dtype = DTYPE_NONE};
	const uint8_t *s;
	size_t len;
	int rc;

	if (literal_peek(&p->l) == '[')
		return read_list(p, nbytes);
	if (!literal_string(&p->l, &s, &len))
		return bad(p, "no type of a field");
	rc = npy_parse_descr(s, len, &info, p->e);
	if (rc < 0)
		return rc;
	if (info.kind == 'O')
		return err_set(p->e, EOPNOTSUPP, ".npy records with objects");
	*nbytes = info.itemsize;
	return is_padding ? 0 : add_field(p, &info);
}

/* The tuple of one field. */
static int read_field(struct parse *p, uint64_t *nbytes)
{
	size_t before = p->path.len, from = p->r->nfields, len = 0;
	struct shape shape;
	int rc;

	if (!literal_accept(&p->l, '('))
		return bad(p, "no tuple where a field should be");
	rc = read_name(p, &len);
	if (rc == 0 && !literal_accept(&p->l, ','))
		rc = bad(p, "a field without a type");
	if (rc == 0)
		rc = read_type(p, len == 0, nbytes);
	if (rc == 0 && literal_accept(&p->l, ',') &&
	    literal_peek(&p->l) == '(') {
		rc = npy_parse_shape(&p->l, &shape, p->e);
		if (rc == 0)
			rc = add_axes(p, from, &shape, nbytes);
	}
	if (rc == 0 && !literal_accept(&p->l, ')'))
		rc = bad(p, "a field that is not closed");
	p->path.len = before;
	return rc;
}

static int read_list(struct parse *p, uint64_t *nbytes)
{
	uint64_t size = 0, next = 0;

	if (++p->depth > NESTING_MAX)
		return bad(p, "nested too deeply");
	if (!literal_accept(&p->l, '['))
		return bad(p, "no list of fields");
	while (!literal_accept(&p->l, ']')) {
		size_t from = p->r->nfields;
		int rc = read_field(p, &next);

		if (rc < 0)
			return rc;
		for (size_t i = from; i < p->r->nfields; i++)
			p->r->fields[i].offset += size;
		if (__builtin_add_overflow(size, next, &size) ||
		    size > INT64_MAX)
			return bad(p, "too large");
		if (!literal_accept(&p->l, ',') && literal_peek(&p->l) != ']')
			return bad(p, "not closed");
	}
	p->depth--;
	*nbytes = size;
	return 0;
}

void npy_record_free(struct npy_record *r)
{
	if (!r)
		return;
	free(r->fields);
	arena_free(r->arena);
	free(r);
}

static int parse(const uint8_t *text, size_t len, struct npy_record *r,
		 struct err *e)
{
	struct parse p = {.l = {text, text + len, text}, .r = r, .e = e};
	int rc;

	r->arena = arena_new();
	rc = r->arena ? read_list(&p, &r->nbytes) : err_nomem(e, 0);
	if (rc == 0 && literal_peek(&p.l) != '\0')
		rc = bad(&p, "more than a list");
	text_free(&p.path);
	return rc;
}

int npy_read_record(struct blob *file, const struct npy_info *info,
		    struct npy_record **out, struct err *e)
{
	struct npy_record *r = calloc(1, sizeof(*r));
	uint8_t *text = malloc(info->record_len + 1);
	int rc = r && text ? 0 : err_nomem(e, info->record_len);

	if (rc == 0)
		rc = blob_read_full(file, text, info->record_len,
				    info->record_off, e);
	if (rc == 0)
		rc = parse(text, info->record_len, r, e);
	free(text);
	if (rc < 0)
		npy_record_free(r);
	else
		*out = r;
	return rc;
}
