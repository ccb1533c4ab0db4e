/* SPDX-License-Identifier: MIT */
/*
 * depth - every plane is copied with its padding around it, so that the inner
 * loop never looks for an edge.  Small planes would leave most of a vector
 * empty: of these as many as it has lanes are turned, so that channels lie side
 * by side, and the results are turned back.
 */
#include "kernel/depth.h"

#include <math.h>
#include <string.h>

#include "kernel/slots.h"

/* Multiplications worth a task. */
#define WORK_MIN 65536
/* Results of a small plane, and planes that are worth it. */
#define SMALL_MAX 900
#define PLANES_MIN 8

struct planes {
	const struct conv *v;
	const struct fast *f;
	bool turned;
	size_t rows, ld; /* of a padded plane; turned: pixels */
	size_t size;	 /* floats of a task's memory */
	const float *x, *weights;
	const struct finish *finish;
	float *y, *scratch;
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

/* A matter of the shapes alone. */
static bool is_small(const struct conv *v)
{
	return v->out_channels == v->groups && v->groups >= PLANES_MIN &&
	       window_out(&v->w) <= SMALL_MAX;
}

static void measure(struct planes *p, const struct conv *v, bool turned)
{
	const struct window *w = &v->w;
	size_t lanes;

	p->v = v;
	p->f = fast_get();
	p->turned = turned;
	lanes = p->f->lanes;
	p->rows = (w->out[1] - 1) * w->stride[1] +
		  (w->kernel[1] - 1) * w->dilation[1] + 1;
	p->ld = turned ? (w->out[2] - 1) * w->stride[2] + 1
		       : (w->out[2] + lanes - 1) / lanes * lanes * w->stride[2];
	p->ld += (w->kernel[2] - 1) * w->dilation[2];
	p->size = p->rows * p->ld + lanes;
	if (turned)
		p->size = (window_in(w) + p->rows * p->ld + window_out(w) +
			   window_taps(w)) *
			  lanes;
}

size_t depth_scratch(const struct kernel *k, const struct conv *v)
{
	struct planes p, q;

	if (window_out(&v->w) == 0)
		return 0;
	measure(&p, v, false);
	measure(&q, v, is_small(v));
	return (p.size > q.size ? p.size : q.size) * slots_count(k);
}

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
			      .edge = p->weights ? 0 : -INFINITY,
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
			.weights = p->weights ? p->weights +
							channel * window_taps(
									  &v->w)
					      : NULL,
			.out = p->y + at,
			.finish = &finish,
		};

		pad_plane(p, p->x + in * window_in(&v->w), padded);
		p->f->depth(&d);
	}
	slots_give(&p->slots, slot);
}

/* ---- small planes ---- */

/* n planes from x on, turned and padded; room: for one without padding. */
static void turn_in(const struct planes *p, const float *x, size_t n,
		    float *room, float *out)
{
	const struct window *w = &p->v->w;
	struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	size_t lanes = p->f->lanes;
	struct turn t = {.in = x,
			 .ld = window_in(w),
			 .rows = n,
			 .cols = window_in(w),
			 .out = room,
			 .ldo = lanes,
			 .finish = &none};
	struct padding pad = {.x = room,
			      .height = w->in[1],
			      .width = w->in[2] * lanes,
			      .top = w->pad[1],
			      .left = w->pad[2] * (ptrdiff_t)lanes,
			      .rows = p->rows,
			      .ld = p->ld * lanes,
			      .out = out};

	p->f->turn(&t);
	p->f->pad(&pad);
}

/* As many planes as a vector has lanes, from number `first` on. */
static void run_lanes(struct planes *p, size_t first, float *room)
{
	const struct conv *v = p->v;
	size_t lanes = p->f->lanes, outs = window_out(&v->w);
	size_t taps = window_taps(&v->w), channel = first % v->out_channels;
	size_t n = v->out_channels - channel;
	float *padded = room + window_in(&v->w) * lanes, *weights;
	float *out = padded + p->rows * p->ld * lanes;
	struct finish finish = finish_at(p->finish, channel, 0, first * outs);
	struct depth_pixels d = {
		.w = &v->w, .x = padded, .ldx = p->ld, .out = out};
	struct turn t = {.in = out,
			 .ld = lanes,
			 .rows = outs,
			 .ldo = outs,
			 .out = p->y + first * outs,
			 .finish = &finish};

	t.cols = n < lanes ? n : lanes;
	turn_in(p, p->x + first * window_in(&v->w), t.cols, room, padded);
	d.weights = weights = out + outs * lanes;
	for (size_t i = 0; i < taps * lanes; i++) {
		size_t c = i % lanes;

		weights[i] =
			c < t.cols
				? p->weights[(channel + c) * taps + i / lanes]
				: 0;
	}
	p->f->depth_pixels(&d);
	p->f->turn(&t);
}

static void run_groups(void *ctx, size_t begin, size_t end)
{
	struct planes *p = ctx;
	size_t slot = slots_take(&p->slots), lanes = p->f->lanes;
	size_t per = (p->v->out_channels + lanes - 1) / lanes;

	for (size_t i = begin; i < end; i++)
		run_lanes(p, i / per * p->v->out_channels + i % per * lanes,
			  p->scratch + slot * p->size);
	slots_give(&p->slots, slot);
}

void depth_run(const struct kernel *k, const struct conv *v, const float *x,
	       const float *weights, const struct finish *finish, float *y,
	       float *scratch)
{
	struct planes p = {.x = x,
			   .weights = weights,
			   .finish = finish,
			   .y = y,
			   .scratch = scratch};
	size_t work = window_out(&v->w) * window_taps(&v->w), groups;

	if (work == 0)
		return;
	measure(&p, v, weights && is_small(v));
	slots_init(&p.slots, k);
	groups = (v->out_channels + p.f->lanes - 1) / p.f->lanes;
	if (p.turned)
		kernel_for(k, v->batch * groups,
			   WORK_MIN / (work * p.f->lanes) + 1, run_groups, &p);
	else
		kernel_for(k, v->batch * v->out_channels, WORK_MIN / work + 1,
			   run_planes, &p);
}
