/* SPDX-License-Identifier: MIT */
/*
 * conv_block - some pixels of the image times a panel of weights.  The numbers
 * of a window are fetched one by one from the padded image, in runs through a
 * table of where they lie: the channels of a block, or, of an image with few
 * channels, one number.  Each goes with some vectors of weights.
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
/* Multiplications worth waking a thread for. */
#define WORK_MIN ((size_t)1 << 18)
/* Floats of a panel that stay in the nearest cache, and of an image in the next. */
#define PART_MAX ((size_t)1 << 13)
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
	size_t lanes;		 /* of a run: a block's channels, or 1 */
	size_t k;		 /* numbers of a window */
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

static void plan_image(struct wide *j)
{
	const struct conv *v = j->v;
	struct window *w = &j->w;
	size_t taps = window_taps(w), lanes = j->f->lanes;

	j->blocks = conv_block_takes(v);
	j->lanes = j->blocks ? lanes : 1;
	j->k = v->in_channels * taps;
	j->runs = v->in_channels / j->lanes * taps;
	j->short_runs = v->in_channels % j->lanes ? taps : 0;
	j->nplanes = divide(v->in_channels, j->lanes);
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
	j->plane = j->height * j->pitch * j->lanes + (j->copied ? lanes : 0);
}

/*
 * Vectors of a panel, so that tiles hold as many sums as there are registers
 * for, given lines of this width.
 */
static size_t choose_vectors(const struct fast *f, size_t total, size_t width)
{
	size_t best = 1;
	double most = 0;

	for (size_t most_v = 1; most_v <= f->block_vectors; most_v++) {
		size_t npanels = divide(total, most_v);
		size_t vectors = divide(total, npanels);
		size_t tiles = divide(width, f->block_pixels[vectors]);
		double sums = (double)total / (double)npanels * (double)width /
			      (double)tiles;

		if (sums < most)
			continue;
		most = sums;
		best = most_v;
	}
	return best;
}

static void plan_tasks(struct wide *j)
{
	size_t total = divide(j->v->out_channels, j->f->lanes);
	size_t shares, npanels, width;

	j->panels.total = total;
	j->panels.most = choose_vectors(
		j->f, total,
		j->flat && j->w.out[2] > PIXELS ? PIXELS : j->w.out[2]);
	npanels = split_count(j->panels) * j->v->batch;
	j->pixels = (struct split){j->w.out[2], j->flat ? PIXELS : j->w.out[2]};
	j->nlines = j->w.out[1] * split_count(j->pixels);
	width = divide(j->w.out[2], split_count(j->pixels));
	j->together = at_least(PIXELS / width, 1);
	shares = at_least(divide(TASKS, npanels),
			  divide(j->plane * j->nplanes, IMAGE_MAX));
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

/* The weights of n channels from c on, of one output channel. */
static void form_channels(const struct wide *j, const float *weights, size_t c,
			  size_t n, size_t width, float *out)
{
	size_t taps = window_taps(&j->w);

	weights += c * taps;
	for (size_t i = 0; i < n; i++)
		for (size_t t = 0; t < taps; t++)
			out[(t * n + i) * width] = *weights++;
}

static void form_panel(const struct forming *g, size_t panel)
{
	const struct wide *j = g->j;
	size_t vector, vectors, width, channel;
	float *form;

	split_part(j->panels, panel, &vector, &vectors);
	width = vectors * j->f->lanes;
	channel = vector * j->f->lanes;
	form = g->form + channel * j->k;
	memset(form, 0, width * j->k * sizeof(*form));
	for (size_t i = 0; i < width && channel + i < j->v->out_channels; i++) {
		const float *weights = g->weights + (channel + i) * j->k;
		size_t channels = j->v->in_channels;

		for (size_t c = 0; c < channels; c += j->lanes) {
			size_t n = channels - c;

			form_channels(j, weights, c,
				      n < j->lanes ? n : j->lanes, width,
				      form + c * window_taps(&j->w) * width +
					      i);
		}
	}
}

static void form_panels(void *ctx, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		form_panel(ctx, i);
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

	kernel_for(k, split_count(j.panels), 1, form_panels, &g);
}

/* ---- the image ---- */
/* Of a block or a plane, the pixels at which single elements are wanted. */
static void pick(const struct wide *j, const float *x, size_t n, float *out)
{
	const struct window *w = &j->v->w;
	bool side = j->v->x_blocked; /* channels are side by side in x, too */
	size_t step = side ? 1 : window_in(w), wide = side ? j->lanes : 1;

	for (size_t y = 0; y < w->out[1]; y++) {
		const float *row = x + y * w->stride[1] * w->in[2] * wide;

		for (size_t i = 0; i < w->out[2]; i++, out += j->lanes) {
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
	size_t channel = block * j->lanes, n = j->v->in_channels - channel;
	const float *x = j->x;
	float *out = j->images + i * j->plane;

	x += j->v->x_blocked ? i * window_in(&j->v->w) * j->lanes
			     : (image * j->v->in_channels + channel) *
				       window_in(&j->v->w);
	n = n < j->lanes ? n : j->lanes;
	if (j->picked) {
		pick(j, x, n, out);
		return;
	}
	if (j->v->x_blocked) {
		struct padding pad = {.x = x,
				      .height = w->in[1],
				      .width = w->in[2] * j->lanes,
				      .top = w->pad[1],
				      .left = w->pad[2] * (ptrdiff_t)j->lanes,
				      .rows = j->height,
				      .ld = j->pitch * j->lanes,
				      .out = out};

		j->f->pad(&pad);
		return;
	}
	block_pack_padded(w, x, n, j->height, j->pitch, out);
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
		size_t y = i % taps / w->kernel[2], x = i % w->kernel[2];

		j->at[i] = (uint32_t)(i / taps * j->plane +
				      (y * w->dilation[1] * j->pitch +
				       x * w->dilation[2]) *
					      j->lanes);
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

/* Runs [first, first + n) of a window, `lanes` numbers each. */
struct part {
	size_t first, n, lanes;
	const float *form;
	bool is_last;
};

/* Number i, or false beyond the last one. */
static bool get_part(const struct job *b, size_t i, struct part *p)
{
	const struct wide *j = b->j;
	size_t width = b->vectors * j->f->lanes;
	size_t most = at_least(PART_MAX / (j->lanes * width), 1);
	struct split whole = {j->runs, most}, rest = {j->short_runs, most};
	size_t nwhole = split_count(whole), n = nwhole + split_count(rest);

	if (i >= n)
		return false;
	p->is_last = i + 1 == n;
	if (i < nwhole) {
		p->lanes = j->lanes;
		split_part(whole, i, &p->first, &p->n);
		p->form = b->form + p->first * p->lanes * width;
		return true;
	}
	p->lanes = j->v->in_channels % j->lanes;
	split_part(rest, i - nwhole, &p->first, &p->n);
	p->form = b->form + (j->runs * j->lanes + p->first * p->lanes) * width;
	p->first += j->runs;
	return true;
}

/* Where a line begins in the image, and its pixels. */
static size_t locate_line(const struct wide *j, size_t line, size_t *first,
			  size_t *n)
{
	size_t per = split_count(j->pixels), row = line / per;
	size_t x_lanes = j->lanes;

	split_part(j->pixels, line % per, first, n);
	*first += row * j->w.out[2];
	return j->flat ? *first * x_lanes
		       : row * j->w.stride[1] * j->pitch * x_lanes;
}

/* All lines [line, line + n) through one part. */
static void run_part(const struct job *b, const struct part *p, size_t line,
		     size_t n)
{
	const struct wide *j = b->j;
	size_t lanes = j->f->lanes, width = b->vectors * lanes, start, skip;
	const float *x = (j->copied ? j->images : j->x) +
			 b->image * j->nplanes * j->plane;
	struct finish finish = b->finish;
	struct block_tile t = {.vectors = b->vectors,
			       .x_pixel = j->w.stride[2] * j->lanes,
			       .at = j->at + p->first,
			       .nruns = p->n,
			       .lanes = p->lanes,
			       .weights = p->form,
			       .y_vec = b->y_vec,
			       .sums = p->first > 0};

	locate_line(j, b->line, &start, &t.m);
	for (size_t i = 0; i < n; i++) {
		t.x = x + locate_line(j, line + i, &skip, &t.m);
		skip = (skip - start) * lanes;
		t.y = b->y + skip;
		if (p->is_last && j->v->y_blocked) {
			finish.add =
				b->finish.add ? b->finish.add + skip : NULL;
			t.finish = &finish;
		}
		/* The part that follows, while the first lines are made. */
		if (line == b->line) {
			t.ahead_pixel =
				divide(p->n * p->lanes * width, n * t.m);
			t.ahead = p->form + p->n * p->lanes * width +
				  i * t.m * t.ahead_pixel;
		}
		j->f->block_tile(&t);
	}
}

static void run_job(const struct job *b)
{
	size_t end = b->line + b->nlines, n;
	struct part p;

	for (size_t line = b->line; line < end; line += n) {
		n = end - line < b->j->together ? end - line : b->j->together;
		for (size_t i = 0; get_part(b, i, &p); i++)
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
