/* SPDX-License-Identifier: MIT */
#include "op/panels.h"

#include "kernel/copy.h"
#include "kernel/gemm.h"
#include "kernel/product.h"
#include "op/impl.h"

/* Bytes that are taken at a time, where there are as many. */
#define BYTES_MAX ((uint64_t)16 << 20)
/* Panels of columns begin with a multiple of these at any level. */
#define COLUMNS_MIN 4

/* ---- reading columns of B ---- */
static uint64_t bytes_of(enum dtype t, size_t rows, size_t cols)
{
	uint64_t n = 0;

	/* Fewer than there are elements. */
	(void)dtype_nbytes(t, (uint64_t)rows * cols, &n);
	return n;
}

static int too_large(const struct op_call *c, struct err *e)
{
	return err_set(e, EFBIG, "node %s: input 1 does not fit into memory",
		       c->node->name);
}

/* Rows of what is stored must begin with a byte, or a block, of their own. */
int panels_open(struct op_call *c, size_t k, size_t n, bool trans,
		enum dtype to, struct panels *p, struct err *e)
{
	const struct tensor *t = &c->in[1];
	const struct dtype_info *info = dtype_info(t->dtype);
	struct blob *from =
		t->data ? blob_turned(t->data, trans ? n : k, trans ? k : n)
			: NULL;
	bool by_rows = trans != (from != NULL);
	enum num num;

	if (!t->data || !op_num(op_compute_type(t->dtype), &num) ||
	    (by_rows ? k : n) % info->block_elems != 0 ||
	    (!by_rows && COLUMNS_MIN % info->block_elems != 0))
		return too_large(c, e);
	*p = (struct panels){.c = c,
			     .data = from ? from : t->data,
			     .from = t->dtype,
			     .to = to,
			     .k = k,
			     .n = n,
			     .by_rows = by_rows};
	return 0;
}

size_t panels_at_once(const struct panels *p, size_t unit, uint64_t extra,
		      uint64_t more)
{
	struct op_env *env = p->c->env;
	uint64_t most = 2 * BYTES_MAX + more;
	uint64_t room = env->room ? env->room(env, most) : most;
	uint64_t column = bytes_of(p->to, p->k, 1) + extra, n;

	if (p->from != p->to)
		column += bytes_of(p->from, p->k, 1);
	n = room > more ? (room - more) / 2 / (column * unit + 1) : 0;
	return n > 0 ? n : 1;
}

int panels_alloc(struct panels *p, size_t width, struct err *e)
{
	int rc = op_temp(p->c, bytes_of(p->to, p->k, width), &p->part, e);

	p->raw = p->part;
	if (rc == 0 && p->from != p->to)
		rc = op_temp(p->c, bytes_of(p->from, p->k, width), &p->raw, e);
	return rc;
}

int panels_read(struct panels *p, size_t i, size_t first, size_t width,
		struct err *e)
{
	const struct kernel *k = &p->c->env->kernel;
	size_t lines = p->by_rows ? 1 : p->k;
	size_t line = p->by_rows ? width * p->k : width;
	uint64_t at = (uint64_t)i * p->k * p->n +
		      (uint64_t)first * (p->by_rows ? p->k : 1);
	uint64_t nbytes;
	int rc = 0;

	/* Whole lines follow each other. */
	if (width == p->n && lines > 1) {
		line *= lines;
		lines = 1;
	}
	nbytes = bytes_of(p->from, 1, line);
	for (size_t l = 0; l < lines && rc == 0; l++, at += p->n)
		rc = blob_read_full(p->data, (char *)p->raw + l * nbytes,
				    nbytes, bytes_of(p->from, 1, at), e);
	if (rc == 0)
		rc = op_check_stop(p->c, e);
	if (rc == 0 && p->from != p->to &&
	    op_convert(k, p->from, p->raw, p->to, p->part,
		       (uint64_t)p->k * width, false) < 0)
		rc = op_bad_dtype(p->c, 1, e);
	return rc;
}

/* ---- packed ---- */
struct packing {
	struct panels r;
	struct pack pack;
	struct product p;
	float *packed;
	size_t at_once; /* panels */
};

/* All columns of one B. */
static int multiply(struct packing *j, size_t i, const float *a,
		    const struct finish *finish, float *out, struct err *e)
{
	const struct kernel *k = &j->r.c->env->kernel;
	size_t n = j->r.n, count = product_panels(n);
	int rc = 0;

	for (size_t panel = 0; panel < count && rc == 0; panel += j->at_once) {
		size_t first = product_panel(n, panel), width;

		width = count - panel < j->at_once ? count - panel : j->at_once;
		width = product_panel(n, panel + width) - first;
		rc = panels_read(&j->r, i, first, width, e);
		if (rc < 0)
			return rc;
		j->p.n = j->pack.n = width;
		j->pack.ld = j->r.by_rows ? j->r.k : width;
		j->p.finish = finish_at(finish, 0, first, first);
		pack_run(k, &j->pack, j->r.part, j->packed);
		product_run(k, &j->p, a, j->packed, out + first);
		rc = op_check_stop(j->r.c, e);
	}
	return rc;
}

/* Panels differ by a vector at most, and the first one is the widest. */
static int open_packing(struct op_call *c, const struct gemm *g,
			struct packing *j, struct err *e)
{
	size_t unit = product_panel(g->n, 1), width;
	int rc = panels_open(c, g->k, g->n, g->trans_b, DTYPE_F32, &j->r, e);
	void *p;

	if (rc < 0)
		return rc;
	j->at_once = panels_at_once(&j->r, unit, g->k * sizeof(float), 0);
	if (j->at_once > product_panels(g->n))
		j->at_once = product_panels(g->n);
	width = j->at_once * unit;
	j->pack = (struct pack){g->k, width, width, j->r.by_rows};
	j->p = (struct product){.m = g->m,
				.k = g->k,
				.ldc = g->ldc,
				.a_row = g->lda,
				.a_col = 1,
				.batch = 1};
	rc = panels_alloc(&j->r, width, e);
	if (rc == 0)
		rc = op_temp_array(c, pack_size(&j->pack), sizeof(float), &p,
				   e);
	if (rc == 0)
		j->packed = p;
	return rc;
}

/* Products with the first B have all rows where there is no other. */
int panels_packed(struct op_call *c, const struct gemm *g, size_t nb,
		  const float *a, const struct finish *finish, float *out,
		  struct err *e)
{
	struct packing j;
	int rc = open_packing(c, g, &j, e);

	if (rc == 0 && nb == 1 && g->batch > 1) {
		j.p.batch = g->batch;
		j.p.a_at = g->a_at;
		return multiply(&j, 0, a, finish, out, e);
	}
	for (size_t i = 0; i < nb && rc == 0; i++) {
		size_t at = i * g->m * g->ldc;
		struct finish f = finish_at(finish, 0, 0, at);

		rc = multiply(&j, i, a + (g->a_at ? g->a_at[i] : 0), &f,
			      out + at, e);
	}
	return rc;
}

/* ---- as gemm_run does it ---- */
/* The columns that were read, as gemm_run wants them; room: to turn them. */
static const void *as_asked(struct panels *p, size_t width, bool trans,
			    void *room)
{
	size_t rows = p->by_rows ? width : p->k;
	size_t cols = p->by_rows ? p->k : width;
	struct copy_plan turn = {.rank = 2,
				 .size = dtype_size(p->to),
				 .dims = {cols, rows},
				 .to = {(ptrdiff_t)rows, 1},
				 .from = {1, (ptrdiff_t)cols}};

	if (p->by_rows == trans)
		return p->part;
	copy_strided(&p->c->env->kernel, &turn, p->part, room);
	return room;
}

int panels_gemm(struct op_call *c, const struct gemm *g, enum dtype t,
		const void *a, void *out, struct err *e)
{
	size_t columns = gemm_columns(g), step, size = num_size(g->type);
	struct gemm some = *g;
	void *room = NULL;
	struct panels r;
	uint64_t extra;
	int rc;

	if (columns == 0 || g->batch != 1)
		return too_large(c, e);
	rc = panels_open(c, g->k, g->n, g->trans_b, t, &r, e);
	if (rc < 0)
		return rc;
	extra = r.by_rows != g->trans_b ? bytes_of(t, g->k, 1) : 0;
	step = columns * panels_at_once(&r, columns, extra, 0);
	step = step < g->n ? step : g->n;
	some.columns = columns;
	some.b_at = NULL;
	rc = panels_alloc(&r, step, e);
	if (rc == 0 && extra > 0)
		rc = op_temp(c, extra * step, &room, e);
	for (size_t first = 0; first < g->n && rc == 0; first += step) {
		some.n = g->n - first < step ? g->n - first : step;
		some.ldb = g->trans_b ? g->k : some.n;
		rc = panels_read(&r, 0, first, some.n, e);
		if (rc < 0)
			return rc;
		gemm_run(&c->env->kernel, &some, a,
			 as_asked(&r, some.n, g->trans_b, room),
			 (char *)out + first * size);
		rc = op_check_stop(c, e);
	}
	return rc;
}
