/* SPDX-License-Identifier: MIT */
/*
 * winograd - the image is cut into tiles of side x side results; each is
 * (side + 2) ** 2 numbers that are multiplied apart, which makes as many
 * products of matrices [tiles][in_channels] x [in_channels][out_channels].
 *
 * A band is some rows of tiles, a panel some output channels.  Large images: a
 * task takes a band through all steps in memory of its own.  Others: one band,
 * the numbers of its input are made by all, then a task takes a panel.
 */
#include "kernel/winograd.h"

#include <math.h>
#include <string.h>

#include "kernel/block.h"
#include "kernel/product.h"
#include "kernel/slots.h"

#define NUMBERS_MAX 36
#define CHANNELS_MIN 16
/* Input channels whose weights are made ready together; lanes of a panel. */
#define FORM_STEP 4
#define WIDTH_MAX 64
/* Results of a side for which tiles of 4 x 4, or of 2 x 2, are worth it. */
#define SIDE4_MIN 24
#define SIDE2_MIN 8
/* Floats of a band's numbers that fit in a processor's cache beside others. */
#define BAND_MAX ((size_t)1 << 18)

struct wino {
	const struct conv *v;
	const struct fast *f;
	size_t side, numbers; /* of a tile */
	size_t across, down;  /* tiles */
	size_t ntiles;	      /* of a band at most */
	struct split bands;   /* of rows of tiles */
	struct split panels;  /* of vectors of output channels */
	size_t nblocks;	      /* of input channels */
	size_t pitch;	      /* pixels of a padded row */
	size_t in_size, pad_size, out_size, row_size; /* floats */
	const float *x, *form;
	const struct finish *finish;
	float *y, *scratch;
	uint32_t *at; /* of the blocks of a number's channels */
	struct slots slots;
};

/* Results of a tile's side; 0: not this way. */
static size_t choose_side(const struct conv *v)
{
	const struct window *w = &v->w;
	size_t least = w->out[1] < w->out[2] ? w->out[1] : w->out[2], n;

	if (v->type != NUM_F32 || v->groups != 1 || w->in[0] != 1 ||
	    w->kernel[0] != 1 || w->out[0] != 1 || w->pad[0] != 0)
		return 0;
	for (int d = 1; d < 3; d++) {
		if (w->kernel[d] != 3 || w->stride[d] != 1 ||
		    w->dilation[d] != 1 || w->pad[d] < 0 || w->pad[d] > 2)
			return 0;
	}
	if (v->in_channels < CHANNELS_MIN || v->out_channels < CHANNELS_MIN ||
	    __builtin_mul_overflow(w->out[2] + NUMBERS_MAX,
				   v->in_channels + NUMBERS_MAX, &n) ||
	    n > UINT32_MAX / NUMBERS_MAX)
		return 0;
	return least >= SIDE4_MIN ? 4 : least >= SIDE2_MIN ? 2 : 0;
}

bool winograd_has(const struct conv *v)
{
	return choose_side(v) > 0;
}

/* ---- the plan ---- */
static size_t divide(size_t n, size_t by)
{
	return (n + by - 1) / by;
}

static size_t within(size_t v, size_t least, size_t most)
{
	return v < least ? least : v > most ? most : v;
}

static void plan_memory(struct wino *j)
{
	size_t lanes = j->f->lanes, width = j->panels.most * lanes;

	j->pitch = j->side * j->across + 2;
	j->pad_size = (j->side * j->bands.most + 2) * j->pitch * lanes + lanes;
	j->in_size = j->numbers * j->nblocks * j->ntiles * lanes;
	j->out_size = j->numbers * j->ntiles * width;
	/* A band's pixels of a block, where y has planes. */
	j->row_size = j->v->y_blocked ? 0
				      : j->side * j->bands.most *
						j->v->w.out[2] * lanes;
}

static struct wino plan(const struct conv *v)
{
	struct wino j = {.v = v, .f = fast_get(), .side = choose_side(v)};
	size_t rows, total = divide(v->out_channels, j.f->lanes);

	j.numbers = (j.side + 2) * (j.side + 2);
	j.nblocks = divide(v->in_channels, j.f->lanes);
	j.across = divide(v->w.out[2], j.side);
	j.down = divide(v->w.out[1], j.side);
	rows = BAND_MAX / (j.numbers * v->in_channels * j.across);
	rows = within(rows, 1, j.down < 8 ? j.down : divide(j.down, 4));
	j.bands = (struct split){j.down, rows};
	j.ntiles = rows * j.across;
	j.panels = (struct split){total, block_choose(total, j.ntiles)};
	plan_memory(&j);
	return j;
}

static bool is_whole(const struct wino *j)
{
	return split_count(j->bands) == 1;
}

/* Memory of a task. */
static size_t own_size(const struct wino *j)
{
	return j->pad_size + j->out_size + j->row_size +
	       (is_whole(j) ? 0 : j->in_size);
}

size_t winograd_scratch(const struct kernel *k, const struct conv *v)
{
	struct wino j = plan(v);

	return slots_count(k) * own_size(&j) + (is_whole(&j) ? j.in_size : 0) +
	       j.nblocks;
}

/* ---- the weights: by panels, numbers of a tile, input channels ---- */
struct forming {
	const struct wino *j;
	const float *weights;
	float *form;
};

/* Input channels [c, c + n) of a panel, n of them at most STEP. */
static void form_channels(const struct forming *f, size_t panel, size_t c,
			  size_t n)
{
	const struct wino *j = f->j;
	size_t in = j->v->in_channels, vector, vectors, width, out;
	float g[FORM_STEP * 9 * WIDTH_MAX], *form;

	split_part(j->panels, panel, &vector, &vectors);
	width = vectors * j->f->lanes;
	out = vector * j->f->lanes;
	form = f->form + out * in * j->numbers + c * width;
	block_turn_weights(f->weights + (out * in + c) * 9, in * 9,
			   j->v->out_channels - out, n * 9, width, g, width);
	for (size_t i = 0; i < n; i++)
		j->f->wino_form(j->side, g + i * 9 * width, width,
				form + i * width, width * in);
}

static void form_range(void *ctx, size_t begin, size_t end)
{
	const struct forming *f = ctx;
	size_t npanels = split_count(f->j->panels);
	size_t channels = f->j->v->in_channels;

	for (size_t i = begin; i < end; i++) {
		size_t c = i / npanels * FORM_STEP, n = channels - c;

		form_channels(f, i % npanels, c, n < FORM_STEP ? n : FORM_STEP);
	}
}

size_t winograd_form_size(const struct conv *v)
{
	struct wino j = plan(v);

	return j.numbers * v->in_channels * j.panels.total * j.f->lanes;
}

void winograd_form(const struct kernel *k, const struct conv *v,
		   const float *weights, float *form)
{
	struct wino j = plan(v);
	struct forming f = {&j, weights, form};

	kernel_for(k, divide(v->in_channels, FORM_STEP) * split_count(j.panels),
		   4, form_range, &f);
}

/* ---- the steps ---- */
struct band {
	struct wino *j;
	size_t image, first, rows; /* rows of tiles */
	float *in;		   /* its numbers */
};

/* What a band sees of a block of channels, with its padding. */
static void pad_in(const struct band *b, size_t block, float *out)
{
	const struct wino *j = b->j;
	const struct window *w = &j->v->w;
	size_t lanes = j->f->lanes, n = j->v->in_channels - block * lanes;
	struct padding pad = {.height = w->in[1],
			      .width = w->in[2],
			      .top = w->pad[1] -
				     (ptrdiff_t)(j->side * b->first),
			      .left = w->pad[2],
			      .rows = j->side * b->rows + 2,
			      .ld = j->pitch,
			      .out = out};

	if (j->v->x_blocked)
		pad.x = j->x +
			(b->image * j->nblocks + block) * window_in(w) * lanes;
	else
		pad.x = j->x + (b->image * j->v->in_channels + block * lanes) *
				       window_in(w);
	block_pad(&pad, j->v->x_blocked, n < lanes ? n : lanes, window_in(w));
}

/* Blocks [begin, end) of the input to numbers; room: a padded one. */
static void numbers_in(const struct band *b, float *room, size_t begin,
		       size_t end)
{
	const struct wino *j = b->j;
	size_t lanes = j->f->lanes;
	struct wino_tiles t = {.side = j->side,
			       .across = j->across,
			       .pitch = j->pitch,
			       .step = j->nblocks * j->ntiles * lanes};

	for (size_t i = begin; i < end; i++) {
		float *out = b->in + i * j->ntiles * lanes;

		pad_in(b, i, room);
		for (size_t r = 0; r < b->rows; r++)
			j->f->wino_in(&t, room + r * j->side * j->pitch * lanes,
				      out + r * j->across * lanes);
	}
}

/* The products of a panel, to `out`. */
static void multiply(const struct band *b, const float *form, size_t vectors,
		     float *out)
{
	const struct wino *j = b->j;
	size_t lanes = j->f->lanes, in = j->v->in_channels;
	size_t width = vectors * lanes, m = b->rows * j->across;
	struct block_runs runs = {in / lanes, in % lanes > 0, lanes, in % lanes,
				  width};
	struct block_part p;
	struct block_tile t = {.m = m,
			       .vectors = vectors,
			       .x_pixel = lanes,
			       .y_vec = m * lanes};

	for (size_t n = 0; n < j->numbers; n++) {
		t.x = b->in + n * j->nblocks * j->ntiles * lanes;
		t.y = out + n * m * width;
		for (size_t i = 0; block_part(&runs, i, &p); i++) {
			t.at = j->at + p.first;
			t.nruns = p.n;
			t.lanes = p.lanes;
			t.weights = form + n * width * in + p.weights;
			t.sums = i > 0;
			/* What follows comes from afar. */
			t.ahead = t.weights + p.n * p.lanes * width;
			t.ahead_pixel = divide(p.n * p.lanes * width, m);
			j->f->block_tile(&t);
		}
	}
}

/* Vector `i` of a panel's products to rows of tiles at y. */
static void tiles_out(const struct band *b, const float *out, size_t vectors,
		      const struct finish *finish, float *y)
{
	const struct wino *j = b->j;
	const struct window *w = &j->v->w;
	size_t lanes = j->f->lanes, line = w->out[2] * lanes;
	struct finish f = *finish;
	struct wino_tiles t = {.side = j->side,
			       .across = j->across,
			       .pitch = w->out[2],
			       .step = b->rows * j->across * vectors * lanes,
			       .finish = &f};

	for (size_t r = 0; r < b->rows; r++) {
		size_t first = j->side * (b->first + r);

		t.rows = w->out[1] - first;
		j->f->wino_out(&t, out + r * j->across * lanes, y);
		y += j->side * line;
		f.add = f.add ? f.add + j->side * line : NULL;
	}
}

/* Where the results of a band begin, and their number, in pixels. */
static size_t pixels_of(const struct band *b, size_t *n)
{
	const struct window *w = &b->j->v->w;
	size_t first = b->j->side * b->first;
	size_t end = first + b->j->side * b->rows;

	*n = ((end < w->out[1] ? end : w->out[1]) - first) * w->out[2];
	return first * w->out[2];
}

/* One vector of channels, to planes; room: its pixels. */
static void turn_out(const struct band *b, const float *out, size_t vectors,
		     size_t channel, float *room)
{
	static const struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	const struct wino *j = b->j;
	size_t lanes = j->f->lanes, outs = window_out(&j->v->w), n, at;
	size_t first = pixels_of(b, &n), left = j->v->out_channels - channel;
	struct finish finish;
	struct turn t = {.in = room,
			 .ld = lanes,
			 .rows = n,
			 .cols = left < lanes ? left : lanes,
			 .ldo = outs,
			 .finish = &finish};

	tiles_out(b, out, vectors, &none, room);
	at = (b->image * j->v->out_channels + channel) * outs + first;
	finish = finish_at(j->finish, channel, 0, at);
	t.out = j->y + at;
	j->f->turn(&t);
}

static void run_panel(const struct band *b, size_t panel, float *out)
{
	const struct wino *j = b->j;
	size_t lanes = j->f->lanes, outs = window_out(&j->v->w);
	size_t step = b->rows * j->across * lanes, vector, vectors, n, at;
	size_t first = pixels_of(b, &n);
	float rows[3 * 16], *room;

	split_part(j->panels, panel, &vector, &vectors);
	multiply(b, j->form + vector * lanes * j->numbers * j->v->in_channels,
		 vectors, out);
	room = out + j->numbers * vectors * step;
	for (size_t i = vector; i < vector + vectors; i++, out += step) {
		size_t channel = i * lanes;
		struct finish f;

		if (!j->v->y_blocked) {
			turn_out(b, out, vectors, channel, room);
			continue;
		}
		at = ((b->image * j->panels.total + i) * outs + first) * lanes;
		f = block_finish(j->finish, channel, j->v->out_channels, 1, at,
				 rows);
		tiles_out(b, out, vectors, &f, j->y + at);
	}
}

/* ---- a task a band ---- */
static void run_bands(void *ctx, size_t begin, size_t end)
{
	struct wino *j = ctx;
	size_t nbands = split_count(j->bands), slot = slots_take(&j->slots);
	float *pad = j->scratch + slot * own_size(j);
	float *in = pad + j->pad_size, *out = in + j->in_size;

	for (size_t i = begin; i < end; i++) {
		struct band b = {.j = j, .image = i / nbands, .in = in};

		split_part(j->bands, i % nbands, &b.first, &b.rows);
		numbers_in(&b, pad, 0, j->nblocks);
		for (size_t p = 0; p < split_count(j->panels); p++)
			run_panel(&b, p, out);
	}
	slots_give(&j->slots, slot);
}

/* ---- a step at a time ---- */
static float *own_memory(const struct wino *j, size_t slot)
{
	return j->scratch + j->in_size + slot * own_size(j);
}

static void step_in(void *ctx, size_t begin, size_t end)
{
	const struct band *b = ctx;
	size_t slot = slots_take(&b->j->slots);

	numbers_in(b, own_memory(b->j, slot), begin, end);
	slots_give(&b->j->slots, slot);
}

static void step_panels(void *ctx, size_t begin, size_t end)
{
	const struct band *b = ctx;
	size_t slot = slots_take(&b->j->slots);

	for (size_t i = begin; i < end; i++)
		run_panel(b, i, own_memory(b->j, slot) + b->j->pad_size);
	slots_give(&b->j->slots, slot);
}

static void run_whole(const struct kernel *k, struct wino *j)
{
	struct band b = {.j = j, .rows = j->down, .in = j->scratch};

	for (; b.image < j->v->batch && !kernel_stopped(k); b.image++) {
		kernel_for(k, j->nblocks, 1024 / (j->ntiles * j->side) + 1,
			   step_in, &b);
		kernel_for(k, split_count(j->panels), 1, step_panels, &b);
	}
}

void winograd_run(const struct kernel *k, const struct conv *v, const float *x,
		  const float *form, const struct finish *finish, float *y,
		  float *scratch)
{
	struct wino j = plan(v);

	j.x = x;
	j.form = form;
	j.finish = finish;
	j.y = y;
	j.scratch = scratch;
	j.at = (uint32_t *)(scratch + slots_count(k) * own_size(&j) +
			    (is_whole(&j) ? j.in_size : 0));
	for (size_t i = 0; i < j.nblocks; i++)
		j.at[i] = (uint32_t)(i * j.ntiles * j.f->lanes);
	slots_init(&j.slots, k);
	if (is_whole(&j))
		run_whole(k, &j);
	else
		kernel_for(k, v->batch * split_count(j.bands), 1, run_bands,
			   &j);
}
