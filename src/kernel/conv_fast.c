/* SPDX-License-Identifier: MIT */
/*
 * conv_fast - the weights times a matrix whose columns are the windows.  It is
 * made in blocks of columns that stay in a processor's cache: each task lays
 * out a block for itself, or, where the image is small, all of it is laid out
 * first and tasks take rows.
 */
#include "kernel/conv_fast.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "kernel/product.h"
#include "kernel/slots.h"

/* Floats of a block; tasks wanted; rows between looks at another panel. */
#define BLOCK_MAX ((size_t)1 << 17)
#define TASKS 8
#define ROW_STEP 32
/* Rows of an image's matrix that are read where they are. */
#define PLACE_MAX 160

struct implicit {
	const struct conv *v;
	const struct fast *f;
	struct window w; /* a plain row where windows are single elements */
	size_t rows, outs, k; /* of one group */
	struct split blocks;  /* of vectors of outputs */
	size_t ld;	      /* of a block */
	bool whole;	      /* one block, laid out by all */
	bool in_place;	      /* the image is the matrix */
	const float *x, *x_end, *weights;
	const struct finish *finish;
	float *y, *scratch;
	struct slots slots;
};

static bool is_pointwise(const struct window *w)
{
	for (int d = 0; d < 3; d++) {
		if (w->kernel[d] != 1 || w->stride[d] != 1 || w->pad[d] != 0 ||
		    w->in[d] != w->out[d])
			return false;
	}
	return true;
}

static struct window flatten(const struct window *w)
{
	struct window flat = {.in = {1, 1, window_in(w)},
			      .out = {1, 1, window_out(w)},
			      .kernel = {1, 1, 1},
			      .stride = {1, 1, 1},
			      .dilation = {1, 1, 1}};

	return is_pointwise(w) ? flat : *w;
}

static struct implicit plan(const struct conv *v)
{
	struct implicit j = {.v = v, .f = fast_get(), .w = flatten(&v->w)};
	size_t panel = j.f->lanes * j.f->vectors, vectors, most, share;
	size_t images = v->batch * v->groups;

	j.rows = v->out_channels / v->groups;
	j.k = v->in_channels / v->groups * window_taps(&v->w);
	j.outs = window_out(&v->w);
	vectors = (j.outs + j.f->lanes - 1) / j.f->lanes;
	share = images * j.outs / TASKS;
	j.whole = images * j.outs < TASKS * panel;
	most = BLOCK_MAX / j.k;
	most = most < share ? most : share;
	most = (most > panel ? most / panel * panel : panel) / j.f->lanes;
	j.blocks = (struct split){vectors, j.whole ? vectors : most};
	j.ld = ((vectors < j.blocks.most ? vectors : j.blocks.most) + 1) *
	       j.f->lanes;
	j.in_place = !j.whole && is_pointwise(&v->w) && j.k <= PLACE_MAX &&
		     j.outs % j.f->lanes == 0;
	if (j.in_place)
		j.ld = j.outs;
	/* Rows a power of two apart would share a few lines of the cache. */
	else if (j.ld % 256 == 0)
		j.ld += j.f->lanes;
	return j;
}

bool conv_fast_has(const struct conv *v)
{
	size_t rows = v->out_channels / v->groups;

	return v->type == NUM_F32 && rows >= 4 && v->in_channels > 0 &&
	       window_taps(&v->w) > 0 && window_in(&v->w) > 0;
}

size_t conv_fast_scratch(const struct kernel *k, const struct conv *v)
{
	struct implicit j = plan(v);
	size_t one = j.in_place ? 0 : j.k * j.ld;

	return j.whole ? one : one * slots_count(k);
}

/* Rows [row, row + n) of the result, from a block laid out at b. */
static void multiply(const struct implicit *j, size_t image, size_t first,
		     struct split panels, const float *b, size_t panel,
		     size_t row, size_t n)
{
	size_t vector, vectors, col, at;
	struct finish finish;
	struct tile t = {.m = n, .k = j->k, .a_row = j->k, .a_col = 1};
	size_t channel = image % j->v->groups * j->rows + row;

	split_part(panels, panel, &vector, &vectors);
	col = first + vector * j->f->lanes;
	at = (image * j->rows + row) * j->outs + col;
	finish = finish_at(j->finish, channel, 0, at);
	t.n = vectors * j->f->lanes;
	t.n = j->outs - col < t.n ? j->outs - col : t.n;
	t.a = j->weights + channel * j->k;
	t.b = b + vector * j->f->lanes;
	t.ldb = j->ld;
	t.c = j->y + at;
	t.ldc = j->outs;
	t.finish = &finish;
	j->f->tile(&t);
}

static struct columns columns_at(const struct implicit *j, size_t image,
				 size_t first, size_t vectors, float *out)
{
	size_t n = vectors * j->f->lanes, plane = window_in(&j->w);
	size_t channels = j->v->in_channels / j->v->groups;

	return (struct columns){
		.w = &j->w,
		.x = j->x + image * channels * plane,
		.x_end = j->x_end,
		.channels = channels,
		.first = first,
		.n = j->outs - first < n ? j->outs - first : n,
		.ld = j->ld,
		.out = out,
	};
}

static void run_block(struct implicit *j, size_t task)
{
	size_t nblocks = split_count(j->blocks), image = task / nblocks;
	size_t vector, vectors, slot = slots_take(&j->slots);
	float *room = j->scratch + slot * j->k * j->ld;
	const float *b = room;
	struct split panels;
	struct columns c;

	split_part(j->blocks, task % nblocks, &vector, &vectors);
	c = columns_at(j, image, vector * j->f->lanes, vectors, room);
	if (j->in_place)
		b = c.x + c.first;
	for (size_t tap = 0; tap < window_taps(&j->w) && !j->in_place; tap++)
		j->f->columns(&c, tap);
	panels = (struct split){vectors, j->f->vectors};
	for (size_t row = 0; row < j->rows; row += ROW_STEP) {
		size_t n = j->rows - row < ROW_STEP ? j->rows - row : ROW_STEP;

		for (size_t i = 0; i < split_count(panels); i++)
			multiply(j, image, c.first, panels, b, i, row, n);
	}
	slots_give(&j->slots, slot);
}

static void run_blocks(void *ctx, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		run_block(ctx, i);
}

/* ---- small images ---- */
struct whole {
	struct implicit *j;
	size_t image;
	struct split panels, rows;
	size_t channels; /* laid out together */
};

static void lay_out(void *ctx, size_t begin, size_t end)
{
	const struct whole *h = ctx;
	struct columns c =
		columns_at(h->j, h->image, 0, h->panels.total, h->j->scratch);
	size_t taps = window_taps(&h->j->w);

	c.x += begin * window_in(&h->j->w);
	c.out += begin * taps * c.ld;
	c.channels = end - begin;
	for (size_t tap = 0; tap < taps; tap++)
		h->j->f->columns(&c, tap);
}

static void multiply_rows(void *ctx, size_t begin, size_t end)
{
	const struct whole *h = ctx;
	size_t npanels = split_count(h->panels);

	for (size_t i = begin; i < end; i++) {
		size_t row, n;

		split_part(h->rows, i / npanels, &row, &n);
		multiply(h->j, h->image, 0, h->panels, h->j->scratch,
			 i % npanels, row, n);
	}
}

static void run_whole(const struct kernel *k, struct implicit *j)
{
	size_t channels = j->v->in_channels / j->v->groups;
	struct whole h = {.j = j, .rows = {j->rows, ROW_STEP}};

	h.panels = (struct split){j->blocks.total, j->f->vectors};
	for (h.image = 0; h.image < j->v->batch * j->v->groups; h.image++) {
		if (kernel_stopped(k))
			return;
		kernel_for(k, channels,
			   65536 / (window_taps(&j->w) * j->ld) + 1, lay_out,
			   &h);
		kernel_for(k, split_count(h.panels) * split_count(h.rows), 1,
			   multiply_rows, &h);
	}
}

void conv_fast_run(const struct kernel *k, const struct conv *v, const float *x,
		   const float *weights, const struct finish *finish, float *y,
		   float *scratch)
{
	struct implicit j = plan(v);

	if (j.outs == 0)
		return;
	j.x = x;
	j.x_end = x + v->batch * v->in_channels * window_in(&v->w);
	j.weights = weights;
	j.finish = finish;
	j.y = y;
	j.scratch = scratch;
	slots_init(&j.slots, k);
	if (j.whole)
		run_whole(k, &j);
	else
		kernel_for(k, v->batch * v->groups * split_count(j.blocks), 1,
			   run_blocks, &j);
}
