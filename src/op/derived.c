/* SPDX-License-Identifier: MIT */
#include "op/derived.h"

#include <stdlib.h>

#include "kernel/quant.h"
#include "op/impl.h"

/* Elements that are made at a time; no block of a type has more than half. */
#define PIECE 2048

struct derived {
	struct blob base;
	struct blob *from; /* owned */
	enum dtype type;   /* of its elements */
	uint64_t nelems;
	/* Where there are scales: one for each of dim, `inner` elements each. */
	float *scale, *zero;
	size_t dim, inner;
};

/* Elements from `first` on, which lie in y. */
static void apply_scales(const struct derived *d, uint64_t first, size_t n,
			 float *y)
{
	while (n > 0) {
		size_t at = first / d->inner % d->dim, skip = first % d->inner;
		size_t len = d->inner - skip < n ? d->inner - skip : n;
		struct quant_plan p = {.outer = 1,
				       .dim = 1,
				       .inner = len,
				       .single = true,
				       .scale = d->scale + at,
				       .zero = d->zero ? d->zero + at : NULL};

		/* The last axis has a scale for each of its elements. */
		if (d->inner == 1) {
			len = d->dim - at < n ? d->dim - at : n;
			p.dim = len;
			p.inner = 1;
			p.single = false;
		}
		quant_from(&(struct kernel){0}, &p, y, y);
		first += len;
		y += len;
		n -= len;
	}
}

/* n <= PIECE elements from `first` on; *at is where the first one lies. */
static int make_piece(struct derived *d, uint64_t first, size_t n, float *y,
		      float **at, struct err *e)
{
	uint8_t raw[2 * PIECE * sizeof(double)];
	size_t block = dtype_info(d->type)->block_elems, lead = first % block;
	uint64_t count = (lead + n + block - 1) / block * block, off, nbytes;
	int rc;

	if (count > d->nelems - (first - lead))
		count = d->nelems - (first - lead);
	/* Both are less than what there is. */
	(void)dtype_nbytes(d->type, first - lead, &off);
	(void)dtype_nbytes(d->type, count, &nbytes);
	rc = blob_read_full(d->from, raw, nbytes, off, e);
	if (rc < 0)
		return rc;
	if (op_convert(&(struct kernel){0}, d->type, raw, DTYPE_F32, y, count,
		       false) < 0)
		return err_set(e, EOPNOTSUPP, "no numbers");
	*at = y + lead;
	if (d->scale)
		apply_scales(d, first, n, *at);
	return 0;
}

static int derived_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	struct derived *d = (struct derived *)b;
	float y[2 * PIECE], *at = y;
	char *to = buf;

	while (len > 0) {
		uint64_t first = off / sizeof(float);
		size_t skip = off % sizeof(float), n = PIECE, size;
		int rc;

		if (n > d->nelems - first)
			n = d->nelems - first;
		size = n * sizeof(float) - skip;
		if (size > len) {
			size = len;
			n = (skip + len + sizeof(float) - 1) / sizeof(float);
		}
		rc = make_piece(d, first, n, y, &at, e);
		if (rc < 0)
			return rc;
		memcpy(to, (char *)at + skip, size);
		to += size;
		off += size;
		len -= size;
	}
	return 0;
}

static int derived_status(struct blob *b, struct err *e)
{
	return blob_status(((struct derived *)b)->from, e);
}

static void derived_fini(struct blob *b)
{
	struct derived *d = (struct derived *)b;

	blob_unref(d->from);
	free(d->scale);
	free(d->zero);
}

#define DERIVED_OPS \
	.read = derived_read, .status = derived_status, .fini = derived_fini

static const struct blob_ops derived_ops = {DERIVED_OPS};
static const struct blob_ops derived_slow_ops = {DERIVED_OPS, .slow = true};

static float *copy_floats(const float *v, size_t n)
{
	float *p = malloc((n + 1) * sizeof(*p));

	if (p)
		memcpy(p, v, n * sizeof(*p));
	return p;
}

static bool take_scales(struct derived *d, const struct shape *shape,
			const struct derived_scales *s)
{
	d->dim = s->n;
	d->inner = s->n > 1 ? shape_span(shape, s->axis + 1, shape->rank)
			    : d->nelems;
	d->scale = copy_floats(s->scale, s->n);
	d->zero = s->zero ? copy_floats(s->zero, s->n) : NULL;
	return d->scale && (d->zero || !s->zero);
}

static int new_derived(const struct tensor *in, const struct derived_scales *s,
		       struct tensor *out, struct err *e)
{
	struct derived *d = calloc(1, sizeof(*d));
	bool slow = in->data->ops->slow;

	if (!d)
		return err_nomem(e, sizeof(*d));
	(void)shape_nelems(&in->shape, &d->nelems);
	blob_init(&d->base, slow ? &derived_slow_ops : &derived_ops,
		  d->nelems * sizeof(float));
	d->from = blob_ref(in->data);
	d->type = in->dtype;
	if (s && d->nelems > 0 && !take_scales(d, &in->shape, s)) {
		blob_unref(&d->base);
		return err_nomem(e, s->n * sizeof(float));
	}
	*out = (struct tensor){DTYPE_F32, in->shape, &d->base, 0};
	return 0;
}

/* What a turned matrix was before. */
static struct tensor turn_back(const struct tensor *t, struct blob *from)
{
	return (struct tensor){
		t->dtype,
		shape_of(2, (int64_t[]){t->shape.dims[1], t->shape.dims[0]}),
		from, 0};
}

int derived_floats(const struct tensor *in, const struct derived_scales *s,
		   struct tensor *out, struct err *e)
{
	const int64_t *d = in->shape.dims;
	struct blob *from =
		in->shape.rank == 2
			? blob_turned(in->data, (uint64_t)d[0], (uint64_t)d[1])
			: NULL;
	uint64_t n, nbytes;
	enum num num;

	if (!op_num(op_compute_type(in->dtype), &num) ||
	    !shape_nelems(&in->shape, &n) || n > UINT64_MAX / sizeof(float) ||
	    !dtype_nbytes(in->dtype, n, &nbytes) ||
	    dtype_info(in->dtype)->block_elems > PIECE / 2)
		return err_set(e, EOPNOTSUPP, "no numbers");
	/* What is turned stays the outermost: products look for it. */
	if (from) {
		struct tensor back = turn_back(in, from), made;
		struct derived_scales t = s ? *s : (struct derived_scales){0};
		int rc;

		t.axis = 1 - t.axis;
		rc = new_derived(&back, s ? &t : NULL, &made, e);
		if (rc == 0)
			rc = derived_turned(&made, out, e);
		if (rc == 0)
			tensor_drop(&made);
		return rc;
	}
	return new_derived(in, s, out, e);
}

int derived_turned(const struct tensor *in, struct tensor *out, struct err *e)
{
	const int64_t *d = in->shape.dims;
	int64_t strides[2] = {1, d[1]};
	struct tensor t = {in->dtype, shape_of(2, (int64_t[]){d[1], d[0]}),
			   NULL, 0};
	int rc = blob_strided(blob_ref(in->data), dtype_size(in->dtype),
			      &t.shape, strides, 0, &t.data, e);

	if (rc == 0)
		*out = t;
	return rc;
}

int derived_alias(struct op_call *c, struct tensor *out, struct err *e)
{
	uint64_t have, want;
	int rc;

	if (!out)
		return 0;
	rc = c->op->infer(c, e);
	if (rc < 0)
		return rc;
	if (!shape_nelems(&c->in[0].shape, &have) ||
	    !shape_nelems(&c->out[0].shape, &want) || have != want)
		return op_invalid(c, e, "the shapes differ in size");
	*out = (struct tensor){c->in[0].dtype, c->out[0].shape,
			       blob_ref(c->in[0].data), 0};
	return 0;
}
