/* SPDX-License-Identifier: MIT */
/*
 * winograd4 - the image is cut into tiles of 4 x 4 results; each is 36 numbers
 * that are multiplied apart, which makes 36 products of matrices [out_channels]
 * [in_channels] x [in_channels][tiles].
 *
 * A band is some rows of tiles.  Large images: a task takes a band through all
 * three steps in memory of its own.  Others: one band, and every step is
 * spread over the pool.
 */
#include "kernel/winograd4.h"

#include <math.h>
#include <string.h>

#include "kernel/product.h"
#include "kernel/slots.h"

#define POSITIONS 36
#define SIDE_MIN 24
/* Images, and with fewer many weights, for which this is the faster one. */
#define OUTS_MIN 10000
#define WEIGHTS_MIN (128 * 256)
#define CHANNELS_MIN 8
/* Floats of a band's numbers that still fit in a processor's cache. */
#define BAND_MAX ((size_t)5 << 16)
/* Rows of the result of one task of the products. */
#define ROW_STEP 64

struct wino {
	const struct conv *v;
	const struct fast *f;
	size_t across, down; /* tiles */
	struct split bands;  /* of rows of tiles */
	size_t ld;	     /* from one channel to the next */
	size_t part, row;    /* floats of a part and of a padded row */
	size_t in_size, out_size, parts_size; /* floats of one band */
	const float *x, *form;
	const struct finish *finish;
	float *y, *scratch;
	struct slots slots;
};

bool winograd4_has(const struct conv *v)
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
	if (window_out(w) < OUTS_MIN &&
	    v->in_channels * v->out_channels < WEIGHTS_MIN)
		return false;
	return v->in_channels >= CHANNELS_MIN &&
	       v->out_channels >= CHANNELS_MIN;
}

/* ---- the weights ---- */
struct forming {
	const struct conv *v;
	const float *weights;
	float *form;
};

/* G of the points in kernel/fast_winograd4.h. */
static void form_3(const double g[3], double u[6])
{
	static const double a = 2.0 / 3, b = 1.5;
	double fa = 2 * a * a * (a * a - b * b);
	double fb = 2 * b * b * (b * b - a * a);

	u[0] = g[0];
	u[1] = (g[0] + a * g[1] + a * a * g[2]) / fa;
	u[2] = (g[0] - a * g[1] + a * a * g[2]) / fa;
	u[3] = (g[0] + b * g[1] + b * b * g[2]) / fb;
	u[4] = (g[0] - b * g[1] + b * b * g[2]) / fb;
	u[5] = g[2];
}

static void form_range(void *ctx, size_t begin, size_t end)
{
	const struct forming *j = ctx;
	size_t step = j->v->out_channels * j->v->in_channels;

	for (size_t i = begin; i < end; i++) {
		const float *g = j->weights + i * 9;
		double half[6][3], u[6];

		for (int c = 0; c < 3; c++) {
			double col[3] = {(double)g[c], (double)g[3 + c],
					 (double)g[6 + c]};

			form_3(col, u);
			for (int r = 0; r < 6; r++)
				half[r][c] = u[r];
		}
		for (size_t r = 0; r < 6; r++) {
			form_3(half[r], u);
			for (size_t c = 0; c < 6; c++)
				j->form[(r * 6 + c) * step + i] = (float)u[c];
		}
	}
}

size_t winograd4_form_size(const struct conv *v)
{
	return POSITIONS * v->out_channels * v->in_channels;
}

void winograd4_form(const struct kernel *k, const struct conv *v,
		    const float *weights, float *form)
{
	struct forming j = {v, weights, form};

	kernel_for(k, v->out_channels * v->in_channels, 4096, form_range, &j);
}

/* ---- the plan ---- */
static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static struct wino plan(const struct conv *v)
{
	struct wino j = {.v = v, .f = fast_get()};
	size_t channels = v->in_channels + v->out_channels, rows;

	j.across = (v->w.out[2] + 3) / 4;
	j.down = (v->w.out[1] + 3) / 4;
	rows = BAND_MAX / (POSITIONS * channels * j.across);
	if (v->in_channels * v->out_channels > 128 * 64 || j.down < 8)
		rows = j.down;
	rows = rows < 1					? 1
	       : rows > j.down / 4 + 1 && rows < j.down ? j.down / 4 + 1
							: rows;
	j.bands = (struct split){j.down, rows < j.down ? rows : j.down};
	j.ld = round_up(j.bands.most * j.across, j.f->lanes) + j.f->lanes;
	if (j.ld % 256 == 0)
		j.ld += j.f->lanes;
	j.part = round_up(j.across + 1, j.f->lanes) + j.f->lanes;
	j.row = 4 * j.part;
	j.in_size = POSITIONS * v->in_channels * j.ld;
	j.out_size = POSITIONS * v->out_channels * j.ld;
	j.parts_size = (4 * j.bands.most + 2 + 4) * j.row;
	return j;
}

static bool is_whole(const struct wino *j)
{
	return j->bands.most == j->bands.total;
}

size_t winograd4_scratch(const struct kernel *k, const struct conv *v)
{
	struct wino j = plan(v);
	size_t threads = slots_count(k);

	if (is_whole(&j))
		return j.in_size + j.out_size + threads * j.parts_size;
	return threads * (j.in_size + j.out_size + j.parts_size);
}

/* ---- the steps ---- */
struct band {
	struct wino *j;
	size_t image, first, rows; /* rows of tiles */
	float *in, *out;
};

static void split_rows(const struct band *b, size_t channel, float *parts,
		       float *line)
{
	const struct wino *j = b->j;
	const struct window *w = &j->v->w;
	const float *x =
		j->x + (b->image * j->v->in_channels + channel) * window_in(w);
	struct wino4_tiles t = {.ntiles = j->across + 1, .part = j->part};
	size_t left = (size_t)w->pad[2], n = j->row - left;

	n = w->in[2] < n ? w->in[2] : n;
	memset(line, 0, j->row * sizeof(*line));
	for (size_t r = 0; r < 4 * b->rows + 2; r++, parts += j->row) {
		ptrdiff_t y = (ptrdiff_t)(4 * b->first + r) - w->pad[1];

		if (y < 0 || y >= (ptrdiff_t)w->in[1]) {
			memset(parts, 0, j->row * sizeof(*parts));
			continue;
		}
		memcpy(line + left, x + (size_t)y * w->in[2],
		       n * sizeof(*line));
		j->f->wino4_split(&t, line, parts);
	}
}

/* Channels [begin, end) of the input to numbers; parts: parts_size floats. */
static void numbers_in(const struct band *b, float *parts, size_t begin,
		       size_t end)
{
	const struct wino *j = b->j;
	float *line = parts + (4 * b->rows + 2) * j->row;
	struct wino4_tiles t = {.ntiles = j->across,
				.part = j->part,
				.step = j->v->in_channels * j->ld};

	for (size_t c = begin; c < end; c++) {
		split_rows(b, c, parts, line);
		for (size_t r = 0; r < b->rows; r++) {
			const float *rows[6];

			for (size_t i = 0; i < 6; i++)
				rows[i] = parts + (4 * r + i) * j->row;
			j->f->wino4_in(&t, rows,
				       b->in + c * j->ld + r * j->across);
		}
	}
}

/* One of the 36 products, rows [begin, begin + n). */
static void multiply(const struct band *b, size_t position, size_t begin,
		     size_t n)
{
	const struct wino *j = b->j;
	size_t in = j->v->in_channels, out = j->v->out_channels;
	size_t tiles = b->rows * j->across, lanes = j->f->lanes;
	struct split panels = {(tiles + lanes - 1) / lanes, j->f->vectors};
	struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	struct tile t = {.m = n,
			 .k = in,
			 .a = j->form + (position * out + begin) * in,
			 .a_row = in,
			 .a_col = 1,
			 .ldb = j->ld,
			 .ldc = j->ld,
			 .finish = &none};

	for (size_t i = 0; i < split_count(panels); i++) {
		size_t first, count;

		split_part(panels, i, &first, &count);
		t.n = count * lanes;
		t.b = b->in + position * in * j->ld + first * lanes;
		t.c = b->out + (position * out + begin) * j->ld + first * lanes;
		j->f->tile(&t);
	}
}

/* Channels [begin, end) of the result; parts: at least four rows. */
static void numbers_out(const struct band *b, float *parts, size_t begin,
			size_t end)
{
	const struct wino *j = b->j;
	const struct window *w = &j->v->w;
	struct wino4_tiles t = {.ntiles = j->across,
				.step = j->v->out_channels * j->ld};
	float *rows[4] = {parts, parts + j->row, parts + 2 * j->row,
			  parts + 3 * j->row};

	for (size_t i = begin * b->rows; i < end * b->rows; i++) {
		size_t c = i / b->rows, r = i % b->rows;
		size_t y = 4 * (b->first + r), at;

		j->f->wino4_out(&t, b->out + c * j->ld + r * j->across, rows);
		at = ((b->image * j->v->out_channels + c) * w->out[1] + y) *
		     w->out[2];
		for (size_t k = 0; k < 4 && y + k < w->out[1]; k++) {
			struct finish f = finish_at(j->finish, c, 0, at);

			j->f->finish(&f, rows[k], j->y + at, w->out[2]);
			at += w->out[2];
		}
	}
}

/* ---- a task a band ---- */
static void run_bands(void *ctx, size_t begin, size_t end)
{
	struct wino *j = ctx;
	size_t nbands = split_count(j->bands), slot = slots_take(&j->slots);
	float *room =
		j->scratch + slot * (j->in_size + j->out_size + j->parts_size);
	float *parts = room + j->in_size + j->out_size;

	for (size_t i = begin; i < end; i++) {
		struct band b = {.j = j,
				 .image = i / nbands,
				 .in = room,
				 .out = room + j->in_size};

		split_part(j->bands, i % nbands, &b.first, &b.rows);
		numbers_in(&b, parts, 0, j->v->in_channels);
		for (size_t p = 0; p < POSITIONS; p++)
			multiply(&b, p, 0, j->v->out_channels);
		numbers_out(&b, parts, 0, j->v->out_channels);
	}
	slots_give(&j->slots, slot);
}

/* ---- a step at a time ---- */
static float *take_parts(const struct band *b, size_t *slot)
{
	struct wino *j = b->j;

	*slot = slots_take(&j->slots);
	return j->scratch + j->in_size + j->out_size + *slot * j->parts_size;
}

static void step_in(void *ctx, size_t begin, size_t end)
{
	size_t slot;
	float *parts = take_parts(ctx, &slot);

	numbers_in(ctx, parts, begin, end);
	slots_give(&((struct band *)ctx)->j->slots, slot);
}

static void step_out(void *ctx, size_t begin, size_t end)
{
	size_t slot;
	float *parts = take_parts(ctx, &slot);

	numbers_out(ctx, parts, begin, end);
	slots_give(&((struct band *)ctx)->j->slots, slot);
}

static void step_multiply(void *ctx, size_t begin, size_t end)
{
	const struct band *b = ctx;
	struct split rows = {b->j->v->out_channels, ROW_STEP};
	size_t per = split_count(rows);

	for (size_t i = begin; i < end; i++) {
		size_t first, n;

		split_part(rows, i % per, &first, &n);
		multiply(b, i / per, first, n);
	}
}

static void run_whole(const struct kernel *k, struct wino *j, size_t image)
{
	struct band b = {.j = j,
			 .image = image,
			 .rows = j->down,
			 .in = j->scratch,
			 .out = j->scratch + j->in_size};
	struct split rows = {j->v->out_channels, ROW_STEP};
	size_t grain = 8192 / (window_out(&j->v->w) + 1) + 1;

	kernel_for(k, j->v->in_channels, grain, step_in, &b);
	kernel_for(k, POSITIONS * split_count(rows), 2, step_multiply, &b);
	kernel_for(k, j->v->out_channels, grain, step_out, &b);
}

void winograd4_run(const struct kernel *k, const struct conv *v, const float *x,
		   const float *form, const struct finish *finish, float *y,
		   float *scratch)
{
	struct wino j = plan(v);

	j.x = x;
	j.form = form;
	j.finish = finish;
	j.y = y;
	j.scratch = scratch;
	slots_init(&j.slots, k);
	if (!is_whole(&j)) {
		kernel_for(k, v->batch * split_count(j.bands), 1, run_bands,
			   &j);
		return;
	}
	for (size_t i = 0; i < v->batch && !kernel_stopped(k); i++)
		run_whole(k, &j, i);
}
