/* SPDX-License-Identifier: MIT */
/*
 * conv_block - some pixels of the image times a panel of weights.  The numbers
 * of a window are fetched one by one from the padded image, in runs through a
 * table of where they lie: the channels of a block, or, of an image with few
 * channels, a row of taps.  Each goes with some vectors of weights.
 */
#include "kernel/conv_block.h"

#include <math.h>
#include <string.h>

#include "kernel/block.h"
#include "kernel/product.h"
#include "kernel/slots.h"

/* Pixels that are taken through all parts of a panel; tasks wanted. */
#define PIXELS 96
#define TASKS 16
/* Pixels worth reading the weights for once more. */
#define SHARE_MIN 64
/* Multiplications worth waking a thread for. */
#define WORK_MIN ((size_t)1 << 18)
/* Floats of an image that stay in a nearby cache. */
#define IMAGE_MAX ((size_t)1 << 17)
#define CHANNELS_MIN 16
/* More than a plane's rows and columns may be rounded up. */
#define PLANE_MORE 16

struct wide {
	const struct conv *v;
	const struct fast *f;
	struct window w; /* a plain row where windows are single elements */
	bool flat;	 /* that is so */
	bool picked;	 /* of the image, what such windows want is copied */
	bool blocks;	 /* the image, as it is read */
	bool copied;	 /* else the image is good as it is */
	size_t height, pitch, plane; /* of the image; plane: floats */
	size_t nplanes;
	size_t depth; /* floats of a pixel: a block's, or 1 */
	size_t lanes; /* numbers of a run: a pixel's, or a row of taps */
	size_t k;     /* numbers of a window */
	size_t runs, short_runs; /* whole ones; with the last channels */
	struct split panels;	 /* of vectors of output channels */
	struct split pixels;	 /* of an output row to lines */
	size_t nlines, together; /* lines that go through all parts */
	struct split shares;	 /* of lines to tasks */
	const float *x, *form;
	const struct finish *finish;
	float *y, *images, *sums;
	uint32_t *at; /* of the runs of a window */
	struct slots slots;
};

/* Windows are single elements, none of them beyond the image. */
static bool is_point(const struct window *w)
{
	return w->kernel[1] == 1 && w->kernel[2] == 1 && w->pad[1] == 0 &&
	       w->pad[2] == 0 && (w->out[1] - 1) * w->stride[1] < w->in[1] &&
	       (w->out[2] - 1) * w->stride[2] < w->in[2];
}

/* Extent of an image that no window leaves. */
static size_t reach(const struct window *w, int d)
{
	return (w->out[d] - 1) * w->stride[d] +
	       (w->kernel[d] - 1) * w->dilation[d] + 1;
}

bool conv_block_has(const struct conv *v)
{
	const struct window *w = &v->w;
	size_t n;

	if (v->type != NUM_F32 || v->groups != 1 || w->in[0] != 1 ||
	    w->out[0] != 1 || w->kernel[0] != 1 || w->pad[0] != 0 ||
	    w->pad[1] < 0 || w->pad[2] < 0 || window_out(w) == 0 ||
	    window_in(w) == 0 || v->in_channels == 0 ||
	    v->out_channels < CHANNELS_MIN)
		return false;
	return !__builtin_mul_overflow(reach(w, 1) + w->in[1] + PLANE_MORE,
				       reach(w, 2) + w->in[2] + PLANE_MORE,
				       &n) &&
	       !__builtin_mul_overflow(n, v->in_channels + PLANE_MORE, &n) &&
	       n <= UINT32_MAX;
}

bool conv_block_takes(const struct conv *v)
{
	return v->in_channels >= CHANNELS_MIN;
}

/* ---- the plan ---- */
static size_t divide(size_t n, size_t by)
{
	return (n + by - 1) / by;
}

static size_t at_least(size_t v, size_t least)
{
	return v > least ? v : least;
}

static size_t at_most(size_t v, size_t most)
{
	return v < most ? v : most;
}

static void plan_image(struct wide *j)
{
	const struct conv *v = j->v;
	struct window *w = &j->w;
	size_t taps = window_taps(w), lanes = j->f->lanes;

	j->blocks = conv_block_takes(v);
	j->depth = j->blocks ? lanes : 1;
	j->lanes = j->blocks ? lanes : w->dilation[2] == 1 ? w->kernel[2] : 1;
	j->k = v->in_channels * taps;
	j->runs = j->blocks ? v->in_channels / lanes * taps : j->k / j->lanes;
	j->short_runs = j->blocks && v->in_channels % lanes ? taps : 0;
	j->nplanes = divide(v->in_channels, j->depth);
	j->flat = is_point(w);
	j->picked = j->flat && window_in(w) != window_out(w);
	if (j->flat) {
		w->in[1] = w->out[1] = w->stride[1] = w->stride[2] = 1;
		w->in[2] = w->out[2] = window_out(&v->w);
	}
	j->copied = j->picked || w->pad[1] || w->pad[2] ||
		    reach(w, 1) > w->in[1] || reach(w, 2) > w->in[2] ||
		    (j->blocks && !v->x_blocked);
	j->height = j->copied ? reach(w, 1) : w->in[1];
	j->pitch = j->copied ? reach(w, 2) : w->in[2];
	/* What is padded may be written a vector beyond its end. */
	j->plane = j->height * j->pitch * j->depth + (j->copied ? lanes : 0);
}

static void plan_tasks(struct wide *j)
{
	size_t total = divide(j->v->out_channels, j->f->lanes);
	size_t shares, npanels, width;

	j->panels.total = total;
	j->panels.most = block_choose(
		total, j->flat && j->w.out[2] > PIXELS ? PIXELS : j->w.out[2]);
	npanels = split_count(j->panels) * j->v->batch;
	j->pixels = (struct split){j->w.out[2], j->flat ? PIXELS : j->w.out[2]};
	j->nlines = j->w.out[1] * split_count(j->pixels);
	width = divide(j->w.out[2], split_count(j->pixels));
	j->together = at_least(PIXELS / width, 1);
	shares = at_most(divide(TASKS, npanels),
			 divide(window_out(&j->w), SHARE_MIN));
	shares = at_least(shares, divide(j->plane * j->nplanes, IMAGE_MAX));
	j->shares = (struct split){j->nlines, at_least(j->nlines / shares, 1)};
}

static struct wide plan(const struct conv *v)
{
	struct wide j = {.v = v, .f = fast_get(), .w = v->w};

	plan_image(&j);
	plan_tasks(&j);
	return j;
}

static size_t images_size(const struct wide *j)
{
	return j->copied ? j->v->batch * j->nplanes * j->plane : 0;
}

/* Pixels of a task at most. */
static size_t share_pixels(const struct wide *j)
{
	return j->shares.most * divide(j->pixels.total, split_count(j->pixels));
}

/* Sums of a task that are not made where they stay. */
static size_t sums_size(const struct wide *j)
{
	return j->v->y_blocked
		       ? 0
		       : share_pixels(j) * j->f->lanes * j->f->block_vectors;
}

size_t conv_block_scratch(const struct kernel *k, const struct conv *v)
{
	struct wide j = plan(v);

	return images_size(&j) + slots_count(k) * sums_size(&j) + j.runs +
	       j.short_runs;
}

/* ---- the weights: by panels, runs, numbers of a run ---- */
struct forming {
	const struct wide *j;
	const float *weights;
	float *form;
};

/* One block of input channels, or plane, of a panel. */
static void form_block(const struct forming *g, size_t panel, size_t block)
{
	const struct wide *j = g->j;
	size_t taps = window_taps(&j->w), vector, vectors, width, out;
	size_t c = block * j->depth, n = j->v->in_channels - c;
	const float *weights;
	float *form;

	n = at_most(n, j->depth);
	split_part(j->panels, panel, &vector, &vectors);
	width = vectors * j->f->lanes;
	out = vector * j->f->lanes;
	form = g->form + out * j->k + c * taps * width;
	weights = g->weights + out * j->k + c * taps;
	/* Tap by tap, of each all channels. */
	for (size_t i = 0; i < (taps > 1 ? n : 1); i++)
		block_turn_weights(weights + i * taps, j->k,
				   j->v->out_channels - out,
				   taps > 1 ? taps : n, width, form + i * width,
				   taps > 1 ? n * width : width);
}

static void form_blocks(void *ctx, size_t begin, size_t end)
{
	const struct forming *g = ctx;
	size_t npanels = split_count(g->j->panels);

	for (size_t i = begin; i < end; i++)
		form_block(g, i % npanels, i / npanels);
}

size_t conv_block_form_size(const struct conv *v)
{
	struct wide j = plan(v);

	return j.panels.total * j.f->lanes * j.k;
}

void conv_block_form(const struct kernel *k, const struct conv *v,
		     const float *weights, float *form)
{
	struct wide j = plan(v);
	struct forming g = {&j, weights, form};

	kernel_for(k, split_count(j.panels) * j.nplanes, 4, form_blocks, &g);
}

/* ---- the image ---- */
/* Of a block or a plane, the pixels at which single elements are wanted. */
static void pick(const struct wide *j, const float *x, size_t n, float *out)
{
	const struct window *w = &j->v->w;
	bool side = j->v->x_blocked; /* channels are side by side in x, too */
	size_t step = side ? 1 : window_in(w), wide = side ? j->depth : 1;

	for (size_t y = 0; y < w->out[1]; y++) {
		const float *row = x + y * w->stride[1] * w->in[2] * wide;

		for (size_t i = 0; i < w->out[2]; i++, out += j->depth) {
			const float *p = row + i * w->stride[2] * wide;

			for (size_t c = 0; c < n; c++)
				out[c] = p[c * step];
		}
	}
}

static void copy_block(const struct wide *j, size_t i)
{
	const struct window *w = &j->w;
	size_t image = i / j->nplanes, block = i % j->nplanes;
	size_t channel = block * j->depth, n = j->v->in_channels - channel;
	const float *x = j->x;
	float *out = j->images + i * j->plane;

	x += j->v->x_blocked ? i * window_in(&j->v->w) * j->depth
			     : (image * j->v->in_channels + channel) *
				       window_in(&j->v->w);
	n = n < j->depth ? n : j->depth;
	if (j->picked) {
		pick(j, x, n, out);
		return;
	}
	block_pad(&(struct padding){.x = x,
				    .height = w->in[1],
				    .width = w->in[2],
				    .top = w->pad[1],
				    .left = w->pad[2],
				    .rows = j->height,
				    .ld = j->pitch,
				    .out = out},
		  j->v->x_blocked, n, window_in(w));
}

static void copy_plane(const struct wide *j, size_t i)
{
	const struct window *w = &j->w;
	const float *x = j->x + i * window_in(&j->v->w);
	struct padding pad = {.x = x,
			      .height = w->in[1],
			      .width = w->in[2],
			      .top = w->pad[1],
			      .left = w->pad[2],
			      .rows = j->height,
			      .ld = j->pitch,
			      .out = j->images + i * j->plane};

	if (j->picked)
		pick(j, x, 1, pad.out);
	else
		j->f->pad(&pad);
}

static void copy_planes(void *ctx, size_t begin, size_t end)
{
	const struct wide *j = ctx;

	for (size_t i = begin; i < end; i++) {
		if (j->blocks)
			copy_block(j, i);
		else
			copy_plane(j, i);
	}
}

static void locate(const struct wide *j)
{
	const struct window *w = &j->w;
	size_t taps = window_taps(w);

	for (size_t i = 0; i < j->runs + j->short_runs; i++) {
		size_t n = j->blocks ? i : i * j->lanes;
		size_t y = n % taps / w->kernel[2], x = n % w->kernel[2];

		j->at[i] = (uint32_t)(n / taps * j->plane +
				      (y * w->dilation[1] * j->pitch +
				       x * w->dilation[2]) *
					      j->depth);
	}
}

/* ---- sums ---- */
/* Some channels of some lines of one image. */
struct job {
	const struct wide *j;
	size_t image, channel, vectors;
	size_t line, nlines;
	const float *form;
	struct finish finish;
	float *y; /* of the first line */
	size_t y_vec;
};

/* Where a line begins in the image, and its pixels. */
static size_t locate_line(const struct wide *j, size_t line, size_t *first,
			  size_t *n)
{
	if (j->flat) {
		split_part(j->pixels, line, first, n);
		return *first * j->depth;
	}
	*n = j->w.out[2];
	*first = line * j->w.out[2];
	return line * j->w.stride[1] * j->pitch * j->depth;
}

/* The weights of the part that follows, some with every pixel. */
static void fetch_ahead(const struct block_part *p, size_t width,
			size_t npixels, struct block_tile *t)
{
	size_t n = p->n * p->lanes * width;

	t->ahead = t->weights + n;
	t->ahead_pixel = divide(n, npixels);
}

/* Lines [line, line + n) through one part. */
static void run_part(const struct job *b, const struct block_part *p,
		     size_t line, size_t n)
{
	const struct wide *j = b->j;
	size_t lanes = j->f->lanes, start, pixel;
	const float *x = (j->copied ? j->images : j->x) +
			 b->image * j->nplanes * j->plane;
	struct finish finish = b->finish;
	struct block_tile t = {.vectors = b->vectors,
			       .x_pixel = j->w.stride[2] * j->depth,
			       .at = j->at + p->first,
			       .nruns = p->n,
			       .lanes = p->lanes,
			       .weights = b->form + p->weights,
			       .y_vec = b->y_vec,
			       .sums = p->first > 0};

	if (p->is_last && j->v->y_blocked)
		t.finish = &finish;
	locate_line(j, b->line, &start, &t.m);
	if (line == b->line)
		fetch_ahead(p, b->vectors * lanes, n * t.m, &t);
	for (size_t i = 0; i < n; i++) {
		t.x = x + locate_line(j, line + i, &pixel, &t.m);
		pixel = (pixel - start) * lanes;
		t.y = b->y + pixel;
		if (b->finish.add)
			finish.add = b->finish.add + pixel;
		j->f->block_tile(&t);
		if (t.ahead)
			t.ahead += t.m * t.ahead_pixel;
	}
}

static void run_job(const struct job *b)
{
	size_t end = b->line + b->nlines, n;
	struct block_part p;
	struct block_runs runs = {b->j->runs, b->j->short_runs, b->j->lanes,
				  b->j->v->in_channels % b->j->depth,
				  b->vectors * b->j->f->lanes};

	for (size_t line = b->line; line < end; line += n) {
		n = end - line < b->j->together ? end - line : b->j->together;
		for (size_t i = 0; block_part(&runs, i, &p); i++)
			run_part(b, &p, line, n);
	}
}

/* ---- tasks ---- */
/* Pixels that a job has made, from blocks to planes. */
static void turn_out(const struct job *b, size_t pixel, size_t npixels)
{
	const struct wide *j = b->j;
	size_t outs = window_out(&j->w), lanes = j->f->lanes;

	for (size_t i = 0; i < b->vectors; i++) {
		size_t channel = b->channel + i * lanes;
		size_t n = j->v->out_channels - channel;
		size_t at = (b->image * j->v->out_channels + channel) * outs +
			    pixel;
		struct finish finish = finish_at(j->finish, channel, 0, at);
		struct turn t = {.in = b->y + i * b->y_vec,
				 .ld = lanes,
				 .rows = npixels,
				 .cols = n < lanes ? n : lanes,
				 .out = j->y + at,
				 .ldo = outs,
				 .finish = &finish};

		j->f->turn(&t);
	}
}

static void run_task(struct wide *j, size_t task, float *sums)
{
	size_t nshares = split_count(j->shares), n, vector, pixel, last;
	size_t npanels = split_count(j->panels), outs = window_out(&j->w);
	size_t lanes = j->f->lanes, at;
	float room[3 * 64];
	struct job b = {.j = j, .image = task / npanels / nshares};

	split_part(j->panels, task % npanels, &vector, &b.vectors);
	split_part(j->shares, task / npanels % nshares, &b.line, &b.nlines);
	b.channel = vector * lanes;
	b.form = j->form + b.channel * j->k;
	locate_line(j, b.line, &pixel, &n);
	if (j->v->y_blocked) {
		at = ((b.image * j->panels.total + vector) * outs + pixel) *
		     lanes;
		b.finish =
			block_finish(j->finish, b.channel, j->v->out_channels,
				     b.vectors, at, room);
		b.y = j->y + at;
		b.y_vec = outs * lanes;
		run_job(&b);
		return;
	}
	b.y = sums;
	b.y_vec = share_pixels(j) * lanes;
	run_job(&b);
	locate_line(j, b.line + b.nlines - 1, &last, &n);
	turn_out(&b, pixel, last + n - pixel);
}

static void run_tasks(void *ctx, size_t begin, size_t end)
{
	struct wide *j = ctx;
	size_t slot = slots_take(&j->slots);

	for (size_t i = begin; i < end; i++)
		run_task(j, i, j->sums + slot * sums_size(j));
	slots_give(&j->slots, slot);
}

void conv_block_run(const struct kernel *k, const struct conv *v,
		    const float *x, const float *form,
		    const struct finish *finish, float *y, float *scratch)
{
	struct wide j = plan(v);
	size_t tasks = split_count(j.panels) * split_count(j.shares);
	size_t work = window_out(&v->w) * v->out_channels * j.k / tasks;

	j.x = x;
	j.form = form;
	j.finish = finish;
	j.y = y;
	j.images = scratch;
	j.sums = scratch + images_size(&j);
	j.at = (uint32_t *)(j.sums + slots_count(k) * sums_size(&j));
	slots_init(&j.slots, k);
	locate(&j);
	if (j.copied)
		kernel_for(k, v->batch * j.nplanes, 16384 / j.plane + 1,
			   copy_planes, &j);
	kernel_for(k, v->batch * tasks, WORK_MIN / (work + 1) + 1, run_tasks,
		   &j);
}
