/* SPDX-License-Identifier: MIT */
/*
 * call - memory, inputs and outputs of one call of an operator.
 *
 * Outputs that are not computed in their own type are written to scratch
 * memory first; call_finish turns them into what they shall be.
 */
#include "op/call.h"

#include <stdlib.h>
#include <time.h>

#include "kernel/block.h"
#include "op/impl.h"

/* Bytes of a form whose memory takes longer to get than to fill. */
#define FORM_LARGE (1u << 20)
/* Product of the other extents of a tensor without elements. */
#define HOLLOW_MAX ((uint64_t)1 << 31)
/* While inferring, nothing is worth more than this. */
#define INFER_MAX (1u << 20)
/* Bytes cleared between two looks at whether to stop. */
#define CLEAR_AT_ONCE ((uint64_t)8 << 20)
/* Small pieces of temporary memory (strings, mostly) share a block. */
#define PIECE_MAX 1024
#define PIECES ((uint64_t)64 << 10)
#define PIECE_ALIGN 64

struct pending {
	struct pending *next;
	size_t output;
	enum dtype dtype;   /* wanted */
	enum dtype compute; /* what `data` holds; ignored for strings */
	struct shape shape;
	uint64_t nelems;
	void *data;
};

struct held {
	struct held *next;
	struct blob *blob;
};

struct op_scratch {
	struct held *held;
	struct pending *pending;
	char *pieces; /* what is left of a block; it is held */
	uint64_t npieces;
};

static struct op_scratch *scratch_of(struct op_call *c)
{
	if (!c->scratch)
		c->scratch = calloc(1, sizeof(*c->scratch));
	return c->scratch;
}

void call_free_scratch(struct op_call *c)
{
	struct op_scratch *s = c->scratch;

	c->scratch = NULL;
	if (!s)
		return;
	while (s->held) {
		struct held *h = s->held;

		s->held = h->next;
		blob_unref(h->blob);
		free(h);
	}
	while (s->pending) {
		struct pending *p = s->pending;

		s->pending = p->next;
		free(p);
	}
	free(s);
}

/* Fresh memory comes a page at a time: much of it takes long. */
static int clear(struct op_call *c, char *p, uint64_t nbytes, struct err *e)
{
	int rc = 0;

	for (uint64_t at = 0; at < nbytes && rc == 0; at += CLEAR_AT_ONCE) {
		uint64_t n = nbytes - at;

		memset(p + at, 0, n < CLEAR_AT_ONCE ? n : CLEAR_AT_ONCE);
		rc = op_check_stop(c, e);
	}
	return rc;
}

static int alloc_blob(struct op_call *c, uint64_t nbytes, struct blob **out,
		      void **data, struct err *e)
{
	struct blob *b;
	int rc;

	if (c->env) {
		rc = c->env->alloc(c->env, nbytes, &b, data, e);
		if (rc < 0)
			err_wrap(e, "node %s", c->node->name);
		if (rc == 0 && !(c->op->flags & OP_WRITES_ALL)) {
			rc = clear(c, *data, nbytes, e);
			if (rc < 0)
				blob_unref(b);
		}
		if (rc == 0)
			*out = b;
		return rc;
	}
	if (nbytes > INFER_MAX)
		return err_set(e, EFBIG, "%llu bytes ahead of time",
			       (unsigned long long)nbytes);
	*out = blob_mem(nbytes, data);
	return *out ? 0 : err_nomem(e, nbytes);
}

/* Holds the blob until the call ends; takes it, also on failure. */
static int hold(struct op_call *c, struct blob *b, struct err *e)
{
	struct op_scratch *s = scratch_of(c);
	struct held *h = s ? malloc(sizeof(*h)) : NULL;

	if (!h) {
		blob_unref(b);
		return err_nomem(e, sizeof(*h));
	}
	h->blob = b;
	h->next = s->held;
	s->held = h;
	return 0;
}

static int temp_block(struct op_call *c, uint64_t nbytes, void **out,
		      struct err *e)
{
	struct blob *b;
	int rc = alloc_blob(c, nbytes, &b, out, e);

	return rc < 0 ? rc : hold(c, b, e);
}

int op_temp(struct op_call *c, uint64_t nbytes, void **out, struct err *e)
{
	struct op_scratch *s = c->env ? c->scratch : NULL;
	uint64_t n = (nbytes + PIECE_ALIGN - 1) / PIECE_ALIGN * PIECE_ALIGN;
	void *block;
	int rc;

	/* The first pieces are blocks of their own: few calls want more. */
	if (!s || n == 0 || nbytes > PIECE_MAX || !s->held || !s->held->next)
		return temp_block(c, nbytes, out, e);
	if (s->npieces < n) {
		rc = temp_block(c, PIECES, &block, e);
		if (rc < 0)
			return rc;
		s->pieces = block;
		s->npieces = PIECES;
	}
	*out = s->pieces;
	s->pieces += n;
	s->npieces -= n;
	return 0;
}

int op_temp_array(struct op_call *c, uint64_t n, size_t size, void **out,
		  struct err *e)
{
	uint64_t nbytes;

	if (__builtin_mul_overflow(n, (uint64_t)size, &nbytes))
		return err_set(e, EFBIG, "node %s: too large", c->node->name);
	return op_temp(c, nbytes, out, e);
}

/* ---- inputs ---- */
bool op_known(const struct op_call *c, size_t i)
{
	if (!op_has(c, i) || !c->in[i].data)
		return false;
	return blob_get_items(c->in[i].data, &(size_t){0}) ||
	       blob_bytes(c->in[i].data) || c->in[i].data->size == 0 ||
	       c->in[i].dtype >= DTYPE_SEQUENCE;
}

const void *op_data(const struct op_call *c, size_t i)
{
	static const char nothing[64] __attribute__((aligned(64)));
	const void *p;

	if (!op_has(c, i) || !c->in[i].data)
		return NULL;
	p = blob_bytes(c->in[i].data);
	return p ? p : nothing;
}

uint64_t op_nelems(const struct op_call *c, size_t i)
{
	uint64_t n = 0;

	if (!op_has(c, i) || !shape_nelems(&c->in[i].shape, &n))
		return 0;
	return n;
}

/* The executor left it to us to load input i. */
static bool is_late(const struct op_call *c, size_t i)
{
	return i == 1 && (c->op->flags & OP_LATE_INPUT_1) && op_has(c, i) &&
	       c->env && c->env->load && c->in[i].data &&
	       c->in[i].data->size > 0 && !blob_bytes(c->in[i].data);
}

static int load_bytes(struct op_call *c, size_t i, bool keep, const void **out,
		      struct err *e)
{
	struct blob *b;
	int rc = c->env->load(c->env, c, i, keep, &b, e);

	if (rc < 0)
		return rc;
	*out = blob_bytes(b);
	return hold(c, b, e);
}

int op_load_input(struct op_call *c, size_t i, const void **out, struct err *e)
{
	if (!c->env->load)
		return op_invalid(c, e, "input %zu is not in memory", i);
	return load_bytes(c, i, true, out, e);
}

/* Input i's bytes, loaded where they are not in memory. */
static int get_bytes(struct op_call *c, size_t i, bool keep, const void **out,
		     struct err *e)
{
	if (is_late(c, i))
		return load_bytes(c, i, keep, out, e);
	*out = op_data(c, i);
	return 0;
}

/* op_data_as; keep: what had to be loaded. */
static int get_as(struct op_call *c, size_t i, enum dtype t, bool keep,
		  const void **out, struct err *e)
{
	uint64_t n = op_nelems(c, i), nbytes;
	const void *in;
	void *p;
	int rc = 0;

	if (op_has(c, i) && !c->in[i].data && !c->inferring)
		return err_set(e, EAGAIN, "node %s: input %zu is missing",
			       c->node->name, i);
	rc = get_bytes(c, i, keep, &in, e);
	if (rc < 0)
		return rc;
	/* Blocks are float32, whatever the values are. */
	if (!op_has(c, i) || c->in[i].dtype == t || c->in[i].block) {
		*out = in;
		return 0;
	}
	if (!dtype_nbytes(t, n, &nbytes))
		return op_bad_dtype(c, i, e);
	rc = op_temp(c, nbytes, &p, e);
	if (rc < 0)
		return rc;
	rc = op_convert(c->env ? &c->env->kernel : &(struct kernel){0},
			c->in[i].dtype, in, t, p, n, false);
	if (rc < 0)
		return op_bad_dtype(c, i, e);
	*out = p;
	return 0;
}

int op_data_as(struct op_call *c, size_t i, enum dtype t, const void **out,
	       struct err *e)
{
	return get_as(c, i, t, true, out, e);
}

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A new form of input i; a reference. */
static int make_form(struct op_call *c, size_t i, enum dtype t,
		     const struct op_form *f, bool keep, struct blob **out,
		     struct err *e)
{
	double start = now_seconds();
	const void *in;
	void *data;
	int rc = get_as(c, i, t, !keep, &in, e);

	if (rc == 0)
		rc = alloc_blob(c, f->nbytes, out, &data, e);
	if (rc < 0)
		return rc;
	f->fill(&c->env->kernel, f->ctx, in, data);
	if (keep && !kernel_stopped(&c->env->kernel))
		c->env->keep_form(c->env, c, i, *out);
	c->env->form_seconds += now_seconds() - start;
	return 0;
}

/* Input i in another form, kept from an earlier call; a reference. */
static struct blob *find_form(struct op_call *c, size_t i, uint64_t nbytes)
{
	bool constant = i < 64 && (c->constants >> i & 1) && c->env->find_form;
	struct blob *b = constant ? c->env->find_form(c->env, c, i) : NULL;

	if (b && b->size == nbytes)
		return b;
	blob_unref(b);
	return NULL;
}

bool op_keeps_form(struct op_call *c, size_t i, uint64_t nbytes)
{
	struct blob *form;

	if (nbytes < FORM_LARGE || !is_late(c, i) || !c->env->is_again ||
	    c->env->is_again(c->env, c))
		return true;
	form = find_form(c, i, nbytes);
	blob_unref(form);
	return form != NULL;
}

bool op_has_room(struct op_call *c, size_t i, enum dtype t,
		 uint64_t form_nbytes, uint64_t more)
{
	struct blob *form = form_nbytes ? find_form(c, i, form_nbytes) : NULL;
	uint64_t need = more, converted;
	bool fits;

	if (!form)
		need += form_nbytes;
	if (!form && c->in[i].dtype != t &&
	    dtype_nbytes(t, op_nelems(c, i), &converted))
		need += converted;
	if (!form && is_late(c, i))
		need += c->in[i].data->size;
	fits = need == 0 || !c->env->room || c->env->room(c->env, need) >= need;
	blob_unref(form);
	return fits;
}

int op_form(struct op_call *c, size_t i, enum dtype t, const struct op_form *f,
	    const void **out, struct err *e)
{
	bool constant = i < 64 && (c->constants >> i & 1) && c->env->find_form;
	struct blob *b = find_form(c, i, f->nbytes);
	int rc = b ? 0 : make_form(c, i, t, f, constant, &b, e);

	if (rc < 0)
		return rc;
	*out = blob_bytes(b);
	return hold(c, b, e);
}

static int string_elems(struct op_call *c, size_t i, const void **out,
			struct err *e)
{
	uint64_t n = op_nelems(c, i);
	struct span *v;
	void *p;
	int rc = op_temp_array(c, n, sizeof(*v), &p, e);

	if (rc < 0)
		return rc;
	v = p;
	for (uint64_t k = 0; k < n; k++)
		v[k].p = tensor_string(&c->in[i], k, &v[k].len);
	*out = v;
	return 0;
}

int op_elems(struct op_call *c, size_t i, const void **out, size_t *size,
	     struct err *e)
{
	enum dtype t = op_dtype(c, i);

	*size = sizeof(struct span);
	if (t == DTYPE_STRING)
		return string_elems(c, i, out, e);
	*size = dtype_size(t);
	if (*size > 0) {
		*out = op_data(c, i);
		return 0;
	}
	*size = dtype_size(op_compute_type(t));
	if (*size == 0 || t >= DTYPE_SEQUENCE)
		return op_bad_dtype(c, i, e);
	return op_data_as(c, i, op_compute_type(t), out, e);
}

int op_load(struct op_call *c, const struct tensor *t, struct tensor *out,
	    struct err *e)
{
	void *data;
	int rc;

	if (!t->data || !shape_is_known(&t->shape))
		return op_invalid(c, e, "an attribute without data");
	*out = *t;
	if (t->dtype >= DTYPE_SEQUENCE || blob_bytes(t->data))
		return 0;
	rc = temp_block(c, t->data->size, &data, e);
	if (rc < 0)
		return rc;
	out->data = c->scratch->held->blob;
	return blob_read_full(t->data, data, t->data->size, 0, e);
}

/* ---- outputs ---- */
void op_out(struct op_call *c, size_t i, enum dtype t, const struct shape *s)
{
	if (i >= c->nout)
		return;
	c->out[i].dtype = t;
	c->out[i].shape = *s;
}

/*
 * Extents beside a 0 cost no memory, but loops would go through them.
 */
bool call_is_hollow(const struct shape *s)
{
	uint64_t n = 1;
	bool empty = false;

	for (int32_t i = 0; i < s->rank; i++) {
		empty |= s->dims[i] == 0;
		if (s->dims[i] > 0 &&
		    __builtin_mul_overflow(n, (uint64_t)s->dims[i], &n))
			n = UINT64_MAX;
		n = n > HOLLOW_MAX ? HOLLOW_MAX + 1 : n;
	}
	return empty && n > HOLLOW_MAX;
}

static int check_alloc(struct op_call *c, enum dtype t, const struct shape *s,
		       uint64_t *nelems, uint64_t *nbytes, struct err *e)
{
	if (!shape_is_known(s))
		return op_invalid(c, e, "a negative extent");
	if (!shape_nelems(s, nelems) || !dtype_nbytes(t, *nelems, nbytes) ||
	    call_is_hollow(s))
		return err_set(e, EFBIG, "node %s: a result is too large",
			       c->node->name);
	return 0;
}

int op_alloc(struct op_call *c, size_t i, enum dtype t, const struct shape *s,
	     void **out, struct err *e)
{
	uint64_t n, nbytes;
	struct blob *b;
	int rc = check_alloc(c, t, s, &n, &nbytes, e);

	if (rc < 0)
		return rc;
	if (!op_wants(c, i))
		return op_temp(c, nbytes, out, e);
	rc = alloc_blob(c, nbytes, &b, out, e);
	if (rc < 0)
		return rc;
	tensor_drop(&c->out[i]);
	c->out[i].dtype = t;
	c->out[i].shape = *s;
	c->out[i].data = b;
	return 0;
}

int op_alloc_image(struct op_call *c, const struct shape *s, void **out,
		   struct err *e)
{
	struct shape whole = *s;
	size_t lanes = block_lanes();
	int rc;

	whole.dims[1] = (s->dims[1] + (int64_t)lanes - 1) / (int64_t)lanes *
			(int64_t)lanes;
	rc = op_alloc(c, 0, DTYPE_F32, &whole, out, e);
	if (rc < 0)
		return rc;
	c->out[0].dtype = c->in[0].dtype;
	c->out[0].shape = *s;
	c->out[0].block = (uint16_t)lanes;
	return 0;
}

static int alloc_pending(struct op_call *c, const struct pending *want,
			 size_t size, void **out, struct err *e)
{
	struct pending *p;
	int rc = op_temp_array(c, want->nelems, size, out, e);

	if (rc < 0 || !op_wants(c, want->output))
		return rc;
	p = malloc(sizeof(*p));
	if (!p)
		return err_nomem(e, sizeof(*p));
	*p = *want;
	p->data = *out;
	p->next = c->scratch->pending;
	c->scratch->pending = p;
	return 0;
}

int op_alloc_as(struct op_call *c, size_t i, enum dtype t, enum dtype compute,
		const struct shape *s, void **out, struct err *e)
{
	struct pending p = {
		.output = i, .dtype = t, .compute = compute, .shape = *s};
	uint64_t nbytes;
	int rc;

	if (t == compute)
		return op_alloc(c, i, t, s, out, e);
	rc = check_alloc(c, t, s, &p.nelems, &nbytes, e);
	if (rc < 0)
		return rc;
	return alloc_pending(c, &p, dtype_size(compute), out, e);
}

int op_take_over(struct op_call *c, const void *wide, void **out,
		 strip_move **store, struct err *e)
{
	struct pending **at, *p;
	int rc;

	*out = NULL;
	if (!c->scratch)
		return 0;
	at = &c->scratch->pending;
	while (*at && (*at)->data != wide)
		at = &(*at)->next;
	p = *at;
	*store = p ? op_moves(p->dtype, p->compute).store : NULL;
	if (!*store)
		return 0;
	rc = op_alloc(c, p->output, p->dtype, &p->shape, out, e);
	if (rc < 0)
		return rc;
	*at = p->next;
	free(p);
	return 0;
}

int op_alloc_elems(struct op_call *c, size_t i, enum dtype t,
		   const struct shape *s, void **out, struct err *e)
{
	struct pending p = {.output = i, .dtype = t, .shape = *s};

	if (t != DTYPE_STRING) {
		enum dtype as = dtype_size(t) ? t : op_compute_type(t);

		return op_alloc_as(c, i, t, as, s, out, e);
	}
	if (!shape_is_known(s))
		return op_invalid(c, e, "a negative extent");
	if (!shape_nelems(s, &p.nelems))
		return err_set(e, EFBIG, "node %s: a result is too large",
			       c->node->name);
	return alloc_pending(c, &p, sizeof(struct span), out, e);
}

int op_give(struct op_call *c, size_t i, const struct tensor *t, struct err *e)
{
	(void)e;
	if (!op_wants(c, i))
		return 0;
	tensor_drop(&c->out[i]);
	c->out[i] = tensor_ref(t);
	return 0;
}

int op_alias(struct op_call *c, size_t i, size_t j, const struct shape *s,
	     struct err *e)
{
	struct tensor t = c->in[j];
	uint64_t have, want;

	if (!shape_nelems(&t.shape, &have) || !shape_nelems(s, &want) ||
	    have != want)
		return op_invalid(c, e, "the shapes differ in size");
	t.shape = *s;
	return op_give(c, i, &t, e);
}

/* ---- the end ---- */
static int finish_strings(struct op_call *c, const struct pending *p,
			  struct err *e)
{
	const struct span *v = p->data;
	uint64_t total = 0, head = (p->nelems + 1) * sizeof(uint64_t);
	uint64_t *offset;
	struct blob *b;
	void *data;
	int rc;

	for (uint64_t i = 0; i < p->nelems; i++) {
		if (__builtin_add_overflow(total, (uint64_t)v[i].len, &total))
			return err_set(e, EFBIG, "strings too large");
	}
	if (__builtin_add_overflow(total, head, &total))
		return err_set(e, EFBIG, "strings too large");
	rc = alloc_blob(c, total, &b, &data, e);
	if (rc < 0)
		return rc;
	offset = data;
	total = 0;
	for (uint64_t i = 0; i < p->nelems; i++) {
		offset[i] = total;
		if (v[i].len > 0)
			memcpy((char *)data + head + total, v[i].p, v[i].len);
		total += v[i].len;
	}
	offset[p->nelems] = total;
	c->out[p->output].dtype = DTYPE_STRING;
	c->out[p->output].shape = p->shape;
	c->out[p->output].data = b;
	return 0;
}

int call_finish(struct op_call *c, struct err *e)
{
	struct pending *p = c->scratch ? c->scratch->pending : NULL;

	for (; p; p = p->next) {
		void *out;
		int rc;

		if (p->dtype == DTYPE_STRING) {
			rc = finish_strings(c, p, e);
			if (rc < 0)
				return rc;
			continue;
		}
		rc = op_alloc(c, p->output, p->dtype, &p->shape, &out, e);
		if (rc < 0)
			return rc;
		rc = op_convert(&c->env->kernel, p->compute, p->data, p->dtype,
				out, p->nelems, false);
		if (rc < 0)
			return err_set(e, EOPNOTSUPP,
				       "node %s: no result of type %s",
				       c->node->name, dtype_name(p->dtype));
	}
	return op_check_stop(c, e);
}

int op_check_stop(const struct op_call *c, struct err *e)
{
	if (c->env && kernel_stopped(&c->env->kernel))
		return err_set(e, EINTR, "stopped");
	return 0;
}
