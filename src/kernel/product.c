/* SPDX-License-Identifier: MIT */
#include "kernel/product.h"

#include <string.h>

/* Tasks a product is cut into at least, and rows of one at most. */
#define TASKS 16
#define ROWS_MAX 512
/* Multiplications worth waking a thread for. */
#define WORK_MIN ((size_t)1 << 20)

size_t split_count(struct split s)
{
	return (s.total + s.most - 1) / s.most;
}

void split_part(struct split s, size_t i, size_t *first, size_t *n)
{
	size_t count = split_count(s), base = s.total / count;
	size_t extra = s.total % count;

	*first = i * base + (i < extra ? i : extra);
	*n = base + (i < extra);
}

static struct split panels_of(const struct fast *f, size_t n)
{
	return (struct split){(n + f->lanes - 1) / f->lanes, f->vectors};
}

size_t product_panels(size_t n)
{
	return split_count(panels_of(fast_get(), n));
}

size_t product_panel(size_t n, size_t i)
{
	const struct fast *f = fast_get();
	struct split s = panels_of(f, n);
	size_t first, count;

	if (i == split_count(s))
		return n;
	split_part(s, i, &first, &count);
	return first * f->lanes;
}

/* ---- packing: a panel is its columns' part of every row ---- */
struct packing {
	const struct pack *p;
	const struct fast *f;
	const float *b;
	float *out;
};

static void pack_panel(const struct packing *j, size_t first, size_t width,
		       float *out)
{
	const struct pack *p = j->p;
	size_t n = p->n - first < width ? p->n - first : width;

	for (size_t r = 0; r < p->k; r++, out += width) {
		if (p->trans) {
			const float *b = j->b + first * p->ld + r;

			for (size_t i = 0; i < n; i++)
				out[i] = b[i * p->ld];
		} else {
			memcpy(out, j->b + r * p->ld + first, n * sizeof(*out));
		}
		for (size_t i = n; i < width; i++)
			out[i] = 0;
	}
}

static void pack_panels(void *ctx, size_t begin, size_t end)
{
	const struct packing *j = ctx;
	struct split s = panels_of(j->f, j->p->n);

	for (size_t i = begin; i < end; i++) {
		size_t first, n;

		split_part(s, i, &first, &n);
		pack_panel(j, first * j->f->lanes, n * j->f->lanes,
			   j->out + first * j->f->lanes * j->p->k);
	}
}

size_t pack_size(const struct pack *p)
{
	const struct fast *f = fast_get();

	return (p->n + f->lanes - 1) / f->lanes * f->lanes * p->k;
}

void pack_run(const struct kernel *k, const struct pack *p, const float *b,
	      float *out)
{
	struct packing j = {p, fast_get(), b, out};
	size_t panel = j.f->lanes * j.f->vectors * p->k;

	kernel_for(k, split_count(panels_of(j.f, p->n)),
		   WORK_MIN / 16 / (panel + 1) + 1, pack_panels, &j);
}

/* ---- products ---- */
struct multiply {
	const struct product *p;
	const struct fast *f;
	const float *a, *b;
	float *c;
	struct split panels, rows;
	size_t nthreads;
};

/*
 * What a thread will want when it is through with a panel of weights comes from
 * afar: every block of rows fetches its share.  b: where B is.
 */
static void fetch_ahead(const struct multiply *j, const float *b, size_t panel,
			size_t row, struct tile *t)
{
	size_t nrows = split_count(j->rows), vector, vectors;
	size_t blocks = (j->p->m + j->f->rows - 1) / j->f->rows;

	panel += (j->nthreads + nrows - 1) / nrows;
	if (panel >= split_count(j->panels))
		return;
	split_part(j->panels, panel, &vector, &vectors);
	t->ahead_step = (vectors * j->f->lanes + blocks - 1) / blocks;
	t->ahead = b + vector * j->f->lanes * t->k +
		   row / j->f->rows * t->ahead_step * t->k;
}

/* Rows of a tile of C, at most, that have a room of their own. */
#define ROOM_ROWS 64
#define ROOM_COLUMNS 64

/*
 * Rows of a tile that are stored as something shorter, some at a time; t as if
 * they were stored in C, from `at` on.  row, col: where the tile is in C.
 */
static void multiply_narrow(const struct multiply *j, const struct tile *tile,
			    size_t row, size_t col, size_t at)
{
	const struct product *p = j->p;
	float room[ROOM_ROWS * ROOM_COLUMNS], add[ROOM_ROWS * ROOM_COLUMNS];
	struct tile t = *tile;

	t.c = room;
	t.ldc = t.n;
	for (size_t done = 0; done < tile->m; done += t.m) {
		size_t left = tile->m - done, from = at + done * p->ldc;
		struct finish f = finish_at(&p->finish, row + done, col, from);

		t.m = left < ROOM_ROWS ? left : ROOM_ROWS;
		t.a = tile->a + done * p->a_row;
		if (t.ahead)
			t.ahead = tile->ahead +
				  done / j->f->rows * t.ahead_step * t.k;
		for (size_t i = 0; i < t.m && f.add; i++)
			memcpy(add + i * t.n, f.add + i * p->ldc,
			       t.n * sizeof(*add));
		f.add = f.add ? add : NULL;
		t.finish = &f;
		j->f->tile(&t);
		for (size_t i = 0; i < t.m; i++)
			p->store(room + i * t.n, p->stored + from + i * p->ldc,
				 t.n);
	}
}

static void multiply_part(const struct multiply *j, size_t task)
{
	const struct product *p = j->p;
	size_t nrows = split_count(j->rows), npanels = split_count(j->panels);
	size_t matrix = task / (nrows * npanels), vector, vectors, row, col, at;
	size_t panel = task / nrows % npanels;
	const float *b = j->b + matrix * p->b_step;
	struct tile t = {.k = p->k, .a_row = p->a_row, .a_col = p->a_col};
	struct finish finish;

	split_part(j->panels, panel, &vector, &vectors);
	split_part(j->rows, task % nrows, &row, &t.m);
	col = vector * j->f->lanes;
	at = matrix * p->m * p->ldc + row * p->ldc + col;
	finish = finish_at(&p->finish, row, col, at);
	t.n = vectors * j->f->lanes;
	t.ldb = t.n;
	t.n = p->n - col < t.n ? p->n - col : t.n;
	t.a = j->a + (p->a_at ? p->a_at[matrix] : 0) + row * p->a_row;
	t.b = b + col * p->k;
	fetch_ahead(j, b, panel, row, &t);
	if (p->store) {
		multiply_narrow(j, &t, row, col, at);
		return;
	}
	t.c = j->c + at;
	t.ldc = p->ldc;
	t.finish = &finish;
	j->f->tile(&t);
}

static void multiply_parts(void *ctx, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		multiply_part(ctx, i);
}

void product_run(const struct kernel *k, const struct product *p,
		 const float *a, const float *packed, float *c)
{
	struct multiply j = {.p = p,
			     .f = fast_get(),
			     .a = a,
			     .b = packed,
			     .c = c,
			     .nthreads = pool_nthreads(k->pool)};
	size_t columns, most = p->m, work;

	if (p->m == 0 || p->n == 0 || p->batch == 0)
		return;
	j.panels = panels_of(j.f, p->n);
	columns = p->batch * split_count(j.panels);
	if (columns < TASKS)
		most = p->m * columns / TASKS / 8 * 8 + 8;
	j.rows = (struct split){p->m, most < ROWS_MAX ? most : ROWS_MAX};
	work = j.rows.most * j.f->lanes * j.f->vectors * p->k;
	kernel_for(k, columns * split_count(j.rows), WORK_MIN / (work + 1) + 1,
		   multiply_parts, &j);
}
