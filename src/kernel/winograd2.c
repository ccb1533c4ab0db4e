/* SPDX-License-Identifier: MIT */
/*
 * winograd2 - the image is cut into tiles of 2 x 2 results; each is 16 numbers
 * that are multiplied apart, which makes 16 products of matrices [tiles]
 * [in_channels] x [in_channels][out_channels].
 *
 * A band is some rows of tiles, a panel some output channels.  Large images: a
 * task takes a band through all steps in memory of its own.  Others: one band,
 * the numbers of its input are made by all, then a task takes a panel.
 */
#include "kernel/winograd2.h"

#include <math.h>
#include <string.h>

#include "kernel/product.h"
#include "kernel/slots.h"

#define POSITIONS 16
#define SIDE_MIN 8
#define CHANNELS_MIN 16
/* Floats of a band's numbers that fit in a processor's cache beside others. */
#define BAND_MAX ((size_t)1 << 18)
/* Pixels that are turned together. */
#define PIXELS_MAX 448

struct wino {
	const struct conv *v;
	const struct fast *f;
	size_t across, down, pitch; /* tiles; of a row, with one to spare */
	struct split bands;	    /* of rows of tiles */
	struct split panels;	    /* of vectors of output channels */
	size_t ld;		    /* from one channel's numbers to the next */
	size_t sums; /* floats of one of the four sums of a channel */
	size_t in_size, out_size, work_size; /* floats of a task */
	size_t out_rows; /* of tiles that are turned at a time */
	size_t nthreads;
	const float *x, *form;
	const struct finish *finish;
	float *y, *scratch;
	struct slots slots;
};

bool winograd2_has(const struct conv *v)
{
	const struct window *w = &v->w;

	if (v->type != NUM_F32 || v->groups != 1 || w->in[0] != 1 ||
	    w->kernel[0] != 1 || w->out[0] != 1 || w->pad[0] != 0)
		return false;
	for (int d = 1; d < 3; d++) {
		if (w->kernel[d] != 3 || w->stride[d] != 1 ||
		    w->dilation[d] != 1 || w->pad[d] < 0 || w->pad[d] > 2 ||
		    w->out[d] < SIDE_MIN)
			return false;
	}
	return v->in_channels >= CHANNELS_MIN &&
	       v->out_channels >= CHANNELS_MIN;
}

/* ---- the weights: by panels, positions, input channels ---- */
struct forming {
	const struct conv *v;
	const struct fast *f;
	struct split panels;
	const float *weights;
	float *form;
};

static void form_3(const double g[3], double u[4])
{
	u[0] = g[0];
	u[1] = (g[0] + g[1] + g[2]) / 2;
	u[2] = (g[0] - g[1] + g[2]) / 2;
	u[3] = g[2];
}

/* The nine weights of a pair of channels; numbers are `step` apart. */
static void form_9(const float *g, size_t step, float *out)
{
	double half[4][3], u[4];

	for (int c = 0; c < 3; c++) {
		double col[3] = {(double)g[c], (double)g[3 + c],
				 (double)g[6 + c]};

		form_3(col, u);
		for (int r = 0; r < 4; r++)
			half[r][c] = u[r];
	}
	for (size_t r = 0; r < 4; r++) {
		form_3(half[r], u);
		for (size_t c = 0; c < 4; c++)
			out[(r * 4 + c) * step] = (float)u[c];
	}
}

/* Input channels [begin, end) of a panel; its padding is 0. */
static void form_panel(const struct forming *j, size_t panel, size_t begin,
		       size_t end)
{
	size_t vector, vectors, width, in = j->v->in_channels, out;
	float *form;

	split_part(j->panels, panel, &vector, &vectors);
	width = vectors * j->f->lanes;
	out = vector * j->f->lanes;
	form = j->form + out * in * POSITIONS;
	for (size_t c = begin; c < end; c++) {
		for (size_t i = 0; i < width; i++) {
			static const float none[9];
			const float *g =
				out + i < j->v->out_channels
					? j->weights + ((out + i) * in + c) * 9
					: none;

			form_9(g, width * in, form + c * width + i);
		}
	}
}

static void form_range(void *ctx, size_t begin, size_t end)
{
	const struct forming *j = ctx;
	size_t npanels = split_count(j->panels);

	for (size_t panel = 0; panel < npanels; panel++)
		form_panel(j, panel, begin, end);
}

static struct split panels_of(const struct conv *v, const struct fast *f)
{
	return (struct split){(v->out_channels + f->lanes - 1) / f->lanes,
			      f->vectors};
}

size_t winograd2_form_size(const struct conv *v)
{
	const struct fast *f = fast_get();

	return POSITIONS * v->in_channels * panels_of(v, f).total * f->lanes;
}

void winograd2_form(const struct kernel *k, const struct conv *v,
		    const float *weights, float *form)
{
	const struct fast *f = fast_get();
	struct forming j = {v, f, panels_of(v, f), weights, form};

	kernel_for(k, v->in_channels, 4096 / v->out_channels + 1, form_range,
		   &j);
}

/* ---- the plan ---- */
static size_t within(size_t v, size_t least, size_t most)
{
	return v < least ? least : v > most ? most : v;
}

static struct wino plan(const struct kernel *k, const struct conv *v)
{
	struct wino j = {.v = v, .f = fast_get()};
	size_t lanes = j.f->lanes, width = lanes * j.f->vectors, rows;

	j.across = (v->w.out[2] + 1) / 2;
	j.down = (v->w.out[1] + 1) / 2;
	j.pitch = j.across + 1;
	rows = BAND_MAX / (POSITIONS * v->in_channels * j.pitch);
	rows = within(rows, 1, j.down < 8 ? j.down : (j.down + 3) / 4);
	j.bands = (struct split){j.down, rows};
	j.panels = panels_of(v, j.f);
	j.ld = (rows * j.pitch + lanes - 1) / lanes * lanes + lanes;
	if (j.ld % 256 == 0)
		j.ld += lanes;
	j.sums = 2 * rows * j.pitch + 4 * lanes;
	j.out_rows = within(PIXELS_MAX / (2 * v->w.out[2]), 1, rows);
	j.in_size = POSITIONS * v->in_channels * j.ld;
	j.out_size = (POSITIONS * rows * j.across + 4 * j.out_rows * j.across) *
		     width;
	/* The padded image of a channel, and its sums. */
	j.work_size = (2 * rows + 2) * 2 * j.pitch + 4 * lanes + 4 * j.sums;
	j.nthreads = slots_count(k);
	return j;
}

static bool is_whole(const struct wino *j)
{
	return split_count(j->bands) == 1;
}

size_t winograd2_scratch(const struct kernel *k, const struct conv *v)
{
	struct wino j = plan(k, v);
	size_t own = j.out_size + j.work_size;

	return is_whole(&j) ? j.in_size + j.nthreads * own
			    : j.nthreads * (j.in_size + own);
}

/* ---- the steps ---- */
struct band {
	struct wino *j;
	size_t image, first, rows; /* rows of tiles */
	float *in;
};

/* What a band sees of a channel, with its padding. */
static void pad_channel(const struct band *b, size_t channel, float *out)
{
	const struct wino *j = b->j;
	const struct window *w = &j->v->w;
	const float *x =
		j->x + (b->image * j->v->in_channels + channel) * window_in(w);
	struct padding pad = {.x = x,
			      .height = w->in[1],
			      .width = w->in[2],
			      .top = w->pad[1] - 2 * (ptrdiff_t)b->first,
			      .left = w->pad[2],
			      .rows = 2 * b->rows + 2,
			      .ld = 2 * j->pitch,
			      .out = out};

	j->f->pad(&pad);
}

/* Channels [begin, end) of the input to numbers. */
static void numbers_in(const struct band *b, float *work, size_t begin,
		       size_t end)
{
	const struct wino *j = b->j;
	float *sums = work + j->work_size - 4 * j->sums;
	struct wino2_tiles t = {.rows = b->rows,
				.pitch = j->pitch,
				.sums = j->sums,
				.step = j->v->in_channels * j->ld};

	for (size_t c = begin; c < end; c++) {
		pad_channel(b, c, work);
		j->f->wino2_in(&t, work, sums, b->in + c * j->ld);
	}
}

/* The sixteen products of a panel; form: its weights. */
static void multiply(const struct band *b, const float *form, size_t width,
		     float *out)
{
	const struct wino *j = b->j;
	size_t in = j->v->in_channels;
	size_t per = (j->across + j->f->rows - 1) / j->f->rows;
	struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	struct tile t = {.m = j->across,
			 .n = width,
			 .k = in,
			 .a_row = 1,
			 .a_col = j->ld,
			 .ldb = width,
			 .ldc = width,
			 .finish = &none};

	t.ahead_step = (width + per * b->rows - 1) / (per * b->rows);
	for (size_t p = 0; p < POSITIONS; p++, form += width * in) {
		for (size_t r = 0; r < b->rows; r++) {
			t.a = b->in + p * in * j->ld + r * j->pitch;
			t.b = form;
			t.c = out;
			/* The next position, or panel, comes from afar. */
			t.ahead =
				form + width * in + r * per * t.ahead_step * in;
			j->f->tile(&t);
			out += j->across * width;
		}
	}
}

/* The results of a panel: out: its numbers, pixels: room for some rows. */
static void numbers_out(const struct band *b, size_t channel, size_t width,
			const float *out, float *pixels)
{
	const struct wino *j = b->j;
	const struct window *w = &j->v->w;
	size_t outs = window_out(w), row = j->across * width, rows;
	struct wino2_tiles t = {.across = j->across,
				.step = b->rows * row,
				.ld = width,
				.width = w->out[2]};
	struct finish finish;
	struct turn turn = {
		.in = pixels, .ld = width, .ldo = outs, .finish = &finish};

	turn.cols = within(width, 0, j->v->out_channels - channel);
	for (size_t r = 0; r < b->rows; r += rows, out += t.rows * row) {
		size_t y = 2 * (b->first + r), at;

		rows = within(j->out_rows, 1, b->rows - r);
		t.rows = rows;
		t.height = within(2 * rows, 0, w->out[1] - y);
		j->f->wino2_out(&t, out, pixels);
		at = (b->image * j->v->out_channels + channel) * outs +
		     y * w->out[2];
		finish = finish_at(j->finish, channel, 0, at);
		turn.rows = t.height * w->out[2];
		turn.out = j->y + at;
		j->f->turn(&turn);
	}
}

static void run_panel(const struct band *b, size_t panel, float *out)
{
	const struct wino *j = b->j;
	size_t vector, vectors, width, channel;

	split_part(j->panels, panel, &vector, &vectors);
	width = vectors * j->f->lanes;
	channel = vector * j->f->lanes;
	multiply(b, j->form + channel * POSITIONS * j->v->in_channels, width,
		 out);
	numbers_out(b, channel, width, out,
		    out + POSITIONS * b->rows * j->across * width);
}

/* ---- a task a band ---- */
static void run_bands(void *ctx, size_t begin, size_t end)
{
	struct wino *j = ctx;
	size_t nbands = split_count(j->bands), slot = slots_take(&j->slots);
	float *in =
		j->scratch + slot * (j->in_size + j->out_size + j->work_size);
	float *out = in + j->in_size, *work = out + j->out_size;

	for (size_t i = begin; i < end; i++) {
		struct band b = {.j = j, .image = i / nbands, .in = in};

		split_part(j->bands, i % nbands, &b.first, &b.rows);
		numbers_in(&b, work, 0, j->v->in_channels);
		for (size_t p = 0; p < split_count(j->panels); p++)
			run_panel(&b, p, out);
	}
	slots_give(&j->slots, slot);
}

/* ---- a step at a time ---- */
static float *own_memory(const struct band *b, size_t slot)
{
	const struct wino *j = b->j;

	return j->scratch + j->in_size + slot * (j->out_size + j->work_size);
}

static void step_in(void *ctx, size_t begin, size_t end)
{
	const struct band *b = ctx;
	size_t slot = slots_take(&b->j->slots);

	numbers_in(b, own_memory(b, slot) + b->j->out_size, begin, end);
	slots_give(&b->j->slots, slot);
}

static void step_panels(void *ctx, size_t begin, size_t end)
{
	const struct band *b = ctx;
	size_t slot = slots_take(&b->j->slots);

	for (size_t i = begin; i < end; i++)
		run_panel(b, i, own_memory(b, slot));
	slots_give(&b->j->slots, slot);
}

static void run_whole(const struct kernel *k, struct wino *j)
{
	struct band b = {.j = j, .rows = j->down, .in = j->scratch};
	size_t grain = 8192 / (window_out(&j->v->w) + 1) + 1;

	for (; b.image < j->v->batch && !kernel_stopped(k); b.image++) {
		kernel_for(k, j->v->in_channels, grain, step_in, &b);
		kernel_for(k, split_count(j->panels), 1, step_panels, &b);
	}
}

void winograd2_run(const struct kernel *k, const struct conv *v, const float *x,
		   const float *form, const struct finish *finish, float *y,
		   float *scratch)
{
	struct wino j = plan(k, v);

	j.x = x;
	j.form = form;
	j.finish = finish;
	j.y = y;
	j.scratch = scratch;
	slots_init(&j.slots, k);
	if (is_whole(&j))
		run_whole(k, &j);
	else
		kernel_for(k, v->batch * split_count(j.bands), 1, run_bands,
			   &j);
}
