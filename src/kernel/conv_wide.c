/* SPDX-License-Identifier: MIT */
/*
 * conv_wide - a row of the image times a panel of weights.  The numbers of a
 * window are fetched one by one from the padded image, through a table of where
 * they lie; each goes with a vector of weights.  A task makes some rows of some
 * channels and turns them to how they are stored.
 */
#include "kernel/conv_wide.h"

#include <math.h>
#include <string.h>

#include "kernel/product.h"
#include "kernel/slots.h"

/* Pixels of a task at most, tasks wanted. */
#define PIXELS_MAX 320
#define TASKS 16
/* Numbers of a window whose weights, of a panel, stay in the nearest cache. */
#define PART_MAX 256
/* Images of single elements up to this size. */
#define POINTS_MAX 100
#define CHANNELS_MIN 16
/* More than a plane's rows and columns may be rounded up. */
#define PLANE_MORE 16

struct wide {
	const struct conv *v;
	const struct fast *f;
	struct window w; /* a plain row where windows are single elements */
	size_t k;	 /* numbers of a window */
	size_t height, pitch, plane; /* floats of a padded image */
	bool padded;		     /* else the image is good as it is */
	struct split panels;	     /* of vectors of output channels */
	struct split rows;	     /* of the image */
	size_t nthreads;
	const float *x, *form;
	const struct finish *finish;
	float *y, *images, *sums;
	uint32_t *at; /* of the numbers of a window, k */
	struct slots slots;
};

static bool is_point(const struct window *w)
{
	return w->kernel[1] == 1 && w->kernel[2] == 1;
}

static bool is_dense_point(const struct window *w)
{
	return is_point(w) && w->stride[1] == 1 && w->stride[2] == 1 &&
	       w->pad[1] == 0 && w->pad[2] == 0 && w->in[1] == w->out[1] &&
	       w->in[2] == w->out[2];
}

/* Extent of an image that no window leaves. */
static size_t reach(const struct window *w, int d)
{
	return (w->out[d] - 1) * w->stride[d] +
	       (w->kernel[d] - 1) * w->dilation[d] + 1;
}

bool conv_wide_has(const struct conv *v)
{
	const struct window *w = &v->w;
	size_t n;

	if (v->type != NUM_F32 || v->groups != 1 || w->in[0] != 1 ||
	    w->out[0] != 1 || w->kernel[0] != 1 || w->pad[0] != 0 ||
	    w->pad[1] < 0 || w->pad[2] < 0 || window_out(w) == 0 ||
	    window_in(w) == 0 || v->in_channels == 0 ||
	    v->out_channels < CHANNELS_MIN)
		return false;
	if (is_point(w) && window_out(w) > POINTS_MAX)
		return false;
	return !__builtin_mul_overflow(reach(w, 1) + w->in[1] + PLANE_MORE,
				       reach(w, 2) + w->in[2] + PLANE_MORE,
				       &n) &&
	       !__builtin_mul_overflow(n, v->in_channels, &n) &&
	       n <= UINT32_MAX;
}

static struct pack pack_of(const struct conv *v)
{
	size_t k = v->in_channels * window_taps(&v->w);

	return (struct pack){
		.k = k, .n = v->out_channels, .ld = k, .trans = true};
}

size_t conv_wide_form_size(const struct conv *v)
{
	struct pack p = pack_of(v);

	return pack_size(&p);
}

void conv_wide_form(const struct kernel *k, const struct conv *v,
		    const float *weights, float *form)
{
	struct pack p = pack_of(v);

	pack_run(k, &p, weights, form);
}

/* ---- the plan ---- */
static size_t at_least(size_t v, size_t least)
{
	return v > least ? v : least;
}

static struct wide plan(const struct kernel *k, const struct conv *v)
{
	struct wide j = {.v = v, .f = fast_get(), .w = v->w};
	size_t rows, panels;

	if (is_dense_point(&v->w)) {
		j.w.in[1] = j.w.out[1] = 1;
		j.w.in[2] = j.w.out[2] = window_in(&v->w);
	}
	j.k = v->in_channels * window_taps(&j.w);
	j.padded = j.w.pad[1] || j.w.pad[2] || reach(&j.w, 1) > j.w.in[1] ||
		   reach(&j.w, 2) > j.w.in[2];
	j.height = j.padded ? reach(&j.w, 1) : j.w.in[1];
	j.pitch = j.padded ? reach(&j.w, 2) : j.w.in[2];
	/* What is padded may be written a vector beyond its end. */
	j.plane = j.height * j.pitch + (j.padded ? j.f->lanes : 0);
	j.panels = (struct split){
		(v->out_channels + j.f->lanes - 1) / j.f->lanes, j.f->vectors};
	panels = v->batch * split_count(j.panels);
	rows = at_least(j.w.out[1] * panels / TASKS, 1);
	if (rows * j.w.out[2] > PIXELS_MAX)
		rows = at_least(PIXELS_MAX / j.w.out[2], 1);
	j.rows = (struct split){j.w.out[1],
				rows < j.w.out[1] ? rows : j.w.out[1]};
	j.nthreads = slots_count(k);
	return j;
}

static size_t images_size(const struct wide *j)
{
	return j->padded ? j->v->batch * j->v->in_channels * j->plane : 0;
}

static size_t sums_size(const struct wide *j)
{
	return j->rows.most * j->w.out[2] * j->f->lanes * j->f->vectors;
}

size_t conv_wide_scratch(const struct kernel *k, const struct conv *v)
{
	struct wide j = plan(k, v);

	return images_size(&j) + j.nthreads * sums_size(&j) + j.k;
}

/* ---- the steps ---- */
static void pad_planes(void *ctx, size_t begin, size_t end)
{
	const struct wide *j = ctx;
	const struct window *w = &j->w;

	for (size_t i = begin; i < end; i++) {
		struct padding pad = {.x = j->x + i * window_in(w),
				      .height = w->in[1],
				      .width = w->in[2],
				      .top = w->pad[1],
				      .left = w->pad[2],
				      .rows = j->height,
				      .ld = j->pitch,
				      .out = j->images + i * j->plane};

		j->f->pad(&pad);
	}
}

static void locate(const struct wide *j)
{
	const struct window *w = &j->w;
	size_t taps = window_taps(w);

	for (size_t i = 0; i < j->k; i++) {
		size_t c = i / taps, y = i % taps / w->kernel[2];
		size_t x = i % w->kernel[2];

		j->at[i] = (uint32_t)(c * j->plane +
				      y * w->dilation[1] * j->pitch +
				      x * w->dilation[2]);
	}
}

/*
 * What lies behind a part of the weights: every block of rows fetches its
 * share.  After the last part it is another thread's, or the next panel's.
 */
static void fetch_ahead(const struct wide *j, const float *next, size_t row,
			struct tile *t)
{
	size_t per = (t->m + j->f->rows - 1) / j->f->rows;
	size_t blocks = per * j->w.out[1];

	t->ahead_step = (t->n + blocks - 1) / blocks;
	t->ahead = next + row * per * t->ahead_step * t->k;
}

/* Rows [first, first + n) of a panel's channels; sums: pixels by channels. */
static void multiply(const struct wide *j, size_t image, size_t panel,
		     size_t first, size_t n, float *sums)
{
	const struct window *w = &j->w;
	const float *x = j->padded ? j->images : j->x, *form;
	struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	struct split parts = {j->k, PART_MAX};
	size_t vector, vectors, from;
	struct tile t = {
		.m = w->out[2], .a_row = w->stride[2], .finish = &none};

	split_part(j->panels, panel, &vector, &vectors);
	t.n = t.ldb = t.ldc = vectors * j->f->lanes;
	form = j->form + vector * j->f->lanes * j->k;
	x += image * j->v->in_channels * j->plane;
	for (size_t i = 0; i < split_count(parts); i++) {
		split_part(parts, i, &from, &t.k);
		t.b = form + from * t.n;
		t.a_at = j->at + from;
		t.sums = i > 0;
		for (size_t row = first; row < first + n; row++) {
			t.a = x + row * w->stride[1] * j->pitch;
			t.c = sums + (row - first) * w->out[2] * t.ldc;
			fetch_ahead(j, t.b + t.k * t.n, row, &t);
			j->f->tile(&t);
		}
	}
}

static void run_task(struct wide *j, size_t task, float *sums)
{
	size_t nrows = split_count(j->rows), outs = window_out(&j->w);
	size_t npanels = split_count(j->panels), image, panel, first, n, at;
	size_t vector, vectors, channel;
	struct finish finish;
	struct turn t = {.in = sums, .ldo = outs, .finish = &finish};

	image = task / nrows / npanels;
	panel = task / nrows % npanels;
	split_part(j->rows, task % nrows, &first, &n);
	split_part(j->panels, panel, &vector, &vectors);
	multiply(j, image, panel, first, n, sums);
	channel = vector * j->f->lanes;
	t.rows = n * j->w.out[2];
	t.cols = t.ld = vectors * j->f->lanes;
	if (t.cols > j->v->out_channels - channel)
		t.cols = j->v->out_channels - channel;
	at = (image * j->v->out_channels + channel) * outs +
	     first * j->w.out[2];
	finish = finish_at(j->finish, channel, 0, at);
	t.out = j->y + at;
	j->f->turn(&t);
}

static void run_tasks(void *ctx, size_t begin, size_t end)
{
	struct wide *j = ctx;
	size_t slot = slots_take(&j->slots);

	for (size_t i = begin; i < end; i++)
		run_task(j, i, j->sums + slot * sums_size(j));
	slots_give(&j->slots, slot);
}

void conv_wide_run(const struct kernel *k, const struct conv *v, const float *x,
		   const float *form, const struct finish *finish, float *y,
		   float *scratch)
{
	struct wide j = plan(k, v);

	j.x = x;
	j.form = form;
	j.finish = finish;
	j.y = y;
	j.images = scratch;
	j.sums = scratch + images_size(&j);
	j.at = (uint32_t *)(j.sums + j.nthreads * sums_size(&j));
	slots_init(&j.slots, k);
	locate(&j);
	if (j.padded)
		kernel_for(k, v->batch * v->in_channels, 16384 / j.plane + 1,
			   pad_planes, &j);
	kernel_for(k, v->batch * split_count(j.panels) * split_count(j.rows), 1,
		   run_tasks, &j);
}
