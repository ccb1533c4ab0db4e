/* SPDX-License-Identifier: MIT */
/*
 * depth - channels are blocks (kernel/block.h), and a task makes some rows of
 * one; what is no block yet is turned in memory of the task's own.  A few
 * planes alone are copied with their padding around them instead, so that the
 * inner loop never looks for an edge.
 */
#include "kernel/depth.h"

#include <math.h>
#include <string.h>

#include "kernel/block.h"
#include "kernel/product.h"
#include "kernel/slots.h"

/* Multiplications worth a task; tasks wanted. */
#define WORK_MIN 65536
#define TASKS 16
/* Planes that are worth a block, and rows of a window of one. */
#define PLANES_MIN 4
#define WINDOW_MAX 16

struct planes {
	const struct conv *v;
	const struct fast *f;
	size_t rows, ld; /* of a padded plane */
	size_t nblocks;
	struct split bands;   /* of rows of the result */
	size_t in_size, size; /* floats of a task's memory */
	const float *x, *form;
	const struct finish *finish;
	float *y, *scratch;
	float edge;
	struct slots slots;
};

bool depth_has(const struct conv *v)
{
	const struct window *w = &v->w;

	return v->type == NUM_F32 && v->in_channels == v->groups &&
	       v->groups > 1 && w->kernel[0] == 1 && w->in[0] == 1 &&
	       w->out[0] == 1 && w->pad[0] == 0 && w->stride[2] <= 2 &&
	       w->pad[1] >= 0 && w->pad[2] >= 0;
}

bool depth_takes(const struct conv *v)
{
	return v->out_channels == v->groups && v->groups >= PLANES_MIN &&
	       v->w.kernel[1] <= WINDOW_MAX && window_in(&v->w) > 0;
}

static size_t band_in(const struct planes *p)
{
	const struct window *w = &p->v->w;
	size_t n = (p->bands.most - 1) * w->stride[1] +
		   (w->kernel[1] - 1) * w->dilation[1] + 1;

	return n < w->in[1] ? n : w->in[1];
}

/* A row of edges, then rows of the block, then of the result. */
static void plan_blocks(struct planes *p)
{
	const struct conv *v = p->v;
	const struct window *w = &v->w;
	size_t lanes = p->f->lanes, bands;

	p->nblocks = (v->out_channels + lanes - 1) / lanes;
	bands = TASKS / (p->nblocks * v->batch) + 2;
	bands = bands < w->out[1] ? bands : w->out[1];
	p->bands = (struct split){w->out[1], (w->out[1] + bands - 1) / bands};
	p->in_size = v->x_blocked ? 0 : band_in(p) * w->in[2] * lanes;
	p->size = w->in[2] * lanes + p->in_size;
	if (!v->y_blocked)
		p->size += p->bands.most * w->out[2] * lanes;
}

static struct planes plan(const struct conv *v)
{
	const struct window *w = &v->w;
	struct planes p = {.v = v, .f = fast_get()};
	size_t lanes = p.f->lanes;

	if (depth_takes(v)) {
		plan_blocks(&p);
		return p;
	}
	p.rows = (w->out[1] - 1) * w->stride[1] +
		 (w->kernel[1] - 1) * w->dilation[1] + 1;
	p.ld = (w->out[2] + lanes - 1) / lanes * lanes * w->stride[2] +
	       (w->kernel[2] - 1) * w->dilation[2];
	p.size = p.rows * p.ld + lanes;
	return p;
}

size_t depth_scratch(const struct kernel *k, const struct conv *v)
{
	return window_out(&v->w) ? plan(v).size * slots_count(k) : 0;
}

/* ---- the weights: of blocks, a vector for each tap ---- */
size_t depth_form_size(const struct conv *v)
{
	struct images i = {.batch = 1,
			   .channels = v->out_channels,
			   .plane = window_taps(&v->w)};

	return depth_takes(v) ? block_size(&i) : i.channels * i.plane;
}

void depth_form(const struct kernel *k, const struct conv *v,
		const float *weights, float *form)
{
	struct images i = {.batch = 1,
			   .channels = v->out_channels,
			   .plane = window_taps(&v->w)};

	memset(form, 0, depth_form_size(v) * sizeof(*form));
	if (depth_takes(v))
		block_pack(k, &i, weights, form);
	else
		memcpy(form, weights, i.channels * i.plane * sizeof(*form));
}

/* ---- planes ---- */
static void pad_plane(const struct planes *p, const float *x, float *out)
{
	const struct window *w = &p->v->w;
	struct padding pad = {.x = x,
			      .height = w->in[1],
			      .width = w->in[2],
			      .top = w->pad[1],
			      .left = w->pad[2],
			      .rows = p->rows,
			      .ld = p->ld,
			      .edge = p->edge,
			      .out = out};

	p->f->pad(&pad);
}

static void run_planes(void *ctx, size_t begin, size_t end)
{
	struct planes *p = ctx;
	const struct conv *v = p->v;
	size_t per = v->out_channels / v->groups, slot = slots_take(&p->slots);
	float *padded = p->scratch + slot * p->size;

	for (size_t i = begin; i < end; i++) {
		size_t channel = i % v->out_channels;
		size_t image = i / v->out_channels;
		size_t in = image * v->in_channels + channel / per;
		size_t at = i * window_out(&v->w);
		struct finish finish = finish_at(p->finish, channel, 0, at);
		struct depth d = {
			.w = &v->w,
			.x = padded,
			.ldx = p->ld,
			.weights =
				p->form ? p->form + channel * window_taps(&v->w)
					: NULL,
			.out = p->y + at,
			.finish = &finish,
		};

		pad_plane(p, p->x + in * window_in(&v->w), padded);
		p->f->depth(&d);
	}
	slots_give(&p->slots, slot);
}

/* ---- blocks ---- */
/* Some rows of one block. */
struct band {
	const struct planes *p;
	size_t block, channel, nchannels; /* of all images; of its image */
	size_t first, n;		  /* rows of the result */
	const float *x;			  /* where row 0 would be */
	const float *outside;		  /* a row of edges */
	float *y;			  /* the first row */
};

/* Turns the rows of x that the band reads. */
static void turn_in(struct band *b, float *room)
{
	static const struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	const struct planes *p = b->p;
	const struct window *w = &p->v->w;
	ptrdiff_t first = window_at(w, 1, b->first, 0), end;
	size_t image = b->block / p->nblocks, lanes = p->f->lanes, at;
	struct turn t = {.ld = window_in(w),
			 .rows = b->nchannels,
			 .out = room,
			 .ldo = lanes,
			 .finish = &none};

	end = window_at(w, 1, b->first + b->n - 1, w->kernel[1] - 1) + 1;
	first = first > 0 ? first : 0;
	end = end < (ptrdiff_t)w->in[1] ? end : (ptrdiff_t)w->in[1];
	b->x = room - first * (ptrdiff_t)(w->in[2] * lanes);
	if (end <= first)
		return;
	at = image * p->v->in_channels + b->channel;
	t.in = p->x + at * window_in(w) + (size_t)first * w->in[2];
	t.cols = (size_t)(end - first) * w->in[2];
	p->f->turn(&t);
}

static void make_rows(const struct band *b, const struct finish *finish)
{
	const struct planes *p = b->p;
	const struct window *w = &p->v->w;
	size_t lanes = p->f->lanes, width = w->in[2] * lanes;
	const float *rows[WINDOW_MAX];
	struct finish f = *finish;
	struct depth_row d = {
		.w = w,
		.rows = rows,
		.edge = p->edge,
		.weights =
			p->form ? p->form + b->channel * window_taps(w) : NULL,
		.out = b->y,
		.finish = &f};

	for (size_t r = 0; r < b->n; r++) {
		for (size_t k = 0; k < w->kernel[1]; k++) {
			ptrdiff_t y = window_at(w, 1, b->first + r, k);

			rows[k] = y >= 0 && y < (ptrdiff_t)w->in[1]
					  ? b->x + y * (ptrdiff_t)width
					  : b->outside;
		}
		p->f->depth_row(&d);
		d.out += w->out[2] * lanes;
		f.add = f.add ? f.add + w->out[2] * lanes : NULL;
	}
}

static void turn_out(const struct band *b)
{
	const struct planes *p = b->p;
	const struct window *w = &p->v->w;
	size_t image = b->block / p->nblocks, at;
	struct finish finish;
	struct turn t = {.in = b->y,
			 .ld = p->f->lanes,
			 .rows = b->n * w->out[2],
			 .cols = b->nchannels,
			 .ldo = window_out(w),
			 .finish = &finish};

	at = (image * p->v->out_channels + b->channel) * window_out(w) +
	     b->first * w->out[2];
	finish = finish_at(p->finish, b->channel, 0, at);
	t.out = p->y + at;
	p->f->turn(&t);
}

static void run_band(const struct planes *p, size_t task, float *room)
{
	static const struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	const struct conv *v = p->v;
	const struct window *w = &v->w;
	size_t lanes = p->f->lanes, nbands = split_count(p->bands), at, n;
	/* Rows of all blocks, then the next ones: as others read them. */
	size_t image = task / (nbands * p->nblocks);
	size_t band = task / p->nblocks % nbands;
	struct band b = {.p = p,
			 .block = image * p->nblocks + task % p->nblocks,
			 .outside = room};
	float rows[3 * 16];
	struct finish finish;

	split_part(p->bands, band, &b.first, &b.n);
	b.channel = b.block % p->nblocks * lanes;
	n = v->out_channels - b.channel;
	b.nchannels = n < lanes ? n : lanes;
	for (size_t i = 0; i < w->in[2] * lanes; i++)
		room[i] = p->edge;
	room += w->in[2] * lanes;
	if (v->x_blocked)
		b.x = p->x + b.block * window_in(w) * lanes;
	else
		turn_in(&b, room);
	if (!v->y_blocked) {
		b.y = room + p->in_size;
		make_rows(&b, &none);
		turn_out(&b);
		return;
	}
	at = (b.block * window_out(w) + b.first * w->out[2]) * lanes;
	b.y = p->y + at;
	finish = block_finish(p->finish, b.channel, v->out_channels, 1, at,
			      rows);
	make_rows(&b, &finish);
}

static void run_bands(void *ctx, size_t begin, size_t end)
{
	struct planes *p = ctx;
	size_t slot = slots_take(&p->slots);

	for (size_t i = begin; i < end; i++)
		run_band(p, i, p->scratch + slot * p->size);
	slots_give(&p->slots, slot);
}

void depth_run(const struct kernel *k, const struct conv *v, const float *x,
	       const float *form, const struct finish *finish, float *y,
	       float *scratch)
{
	size_t work = window_out(&v->w) * window_taps(&v->w), tasks;
	struct planes p;

	if (work == 0)
		return;
	p = plan(v);
	p.x = x;
	p.form = form;
	p.finish = finish;
	p.y = y;
	p.scratch = scratch;
	p.edge = form ? 0 : -INFINITY;
	slots_init(&p.slots, k);
	if (!depth_takes(v)) {
		kernel_for(k, v->batch * v->out_channels, WORK_MIN / work + 1,
			   run_planes, &p);
		return;
	}
	tasks = p.nblocks * split_count(p.bands);
	work = work * p.f->lanes / split_count(p.bands);
	kernel_for(k, v->batch * tasks, WORK_MIN / (work + 1) + 1, run_bands,
		   &p);
}
