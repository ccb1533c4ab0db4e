/* SPDX-License-Identifier: MIT */
/*
 * depth - every plane is copied with its padding around it, so that the inner
 * loop never looks for an edge.
 */
#include "kernel/depth.h"

#include <math.h>
#include <string.h>

#include "kernel/slots.h"

/* Multiplications worth a task. */
#define WORK_MIN 65536

struct planes {
	const struct conv *v;
	const struct fast *f;
	size_t rows, ld; /* of a padded plane */
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

static void measure(struct planes *p, const struct conv *v)
{
	const struct window *w = &v->w;
	size_t lanes;

	p->v = v;
	p->f = fast_get();
	lanes = p->f->lanes;
	p->rows = (w->out[1] - 1) * w->stride[1] +
		  (w->kernel[1] - 1) * w->dilation[1] + 1;
	p->ld = (w->out[2] + lanes - 1) / lanes * lanes * w->stride[2] +
		(w->kernel[2] - 1) * w->dilation[2];
}

size_t depth_scratch(const struct kernel *k, const struct conv *v)
{
	struct planes p;

	if (window_out(&v->w) == 0)
		return 0;
	measure(&p, v);
	return p.rows * p.ld * slots_count(k);
}

static void fill(float *out, size_t n, float v)
{
	if (v == 0) {
		memset(out, 0, n * sizeof(*out));
		return;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = v;
}

static void pad_plane(const struct planes *p, const float *x, float *out)
{
	const struct window *w = &p->v->w;
	float edge = p->weights ? 0 : -INFINITY;
	size_t left = (size_t)w->pad[2] < p->ld ? (size_t)w->pad[2] : p->ld;
	size_t n = w->in[2] < p->ld - left ? w->in[2] : p->ld - left;

	for (size_t r = 0; r < p->rows; r++, out += p->ld) {
		ptrdiff_t y = (ptrdiff_t)r - w->pad[1];

		if (y < 0 || y >= (ptrdiff_t)w->in[1]) {
			fill(out, p->ld, edge);
			continue;
		}
		fill(out, left, edge);
		memcpy(out + left, x + (size_t)y * w->in[2], n * sizeof(*out));
		fill(out + left + n, p->ld - left - n, edge);
	}
}

static void run_planes(void *ctx, size_t begin, size_t end)
{
	struct planes *p = ctx;
	const struct conv *v = p->v;
	size_t per = v->out_channels / v->groups, slot = slots_take(&p->slots);
	float *padded = p->scratch + slot * p->rows * p->ld;

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

void depth_run(const struct kernel *k, const struct conv *v, const float *x,
	       const float *weights, const struct finish *finish, float *y,
	       float *scratch)
{
	struct planes p = {.x = x,
			   .weights = weights,
			   .finish = finish,
			   .y = y,
			   .scratch = scratch};
	size_t work = window_out(&v->w) * window_taps(&v->w);

	if (work == 0)
		return;
	measure(&p, v);
	slots_init(&p.slots, k);
	kernel_for(k, v->batch * v->out_channels, WORK_MIN / work + 1,
		   run_planes, &p);
}
