/* SPDX-License-Identifier: MIT */
#include "kernel/block.h"

#include <math.h>
#include <string.h>

#include "kernel/product.h"

/* Pixels of a task. */
#define PIXELS 1024
/* Floats of weights that stay in the nearest cache. */
#define PART_MAX ((size_t)1 << 13)

static const struct finish plain = {.lo = -INFINITY, .hi = INFINITY};

size_t block_lanes(void)
{
	return fast_get()->lanes;
}

static size_t count_blocks(const struct images *i)
{
	return (i->channels + block_lanes() - 1) / block_lanes();
}

size_t block_size(const struct images *i)
{
	return i->batch * count_blocks(i) * i->plane * block_lanes();
}

struct turning {
	const struct images *i;
	const float *in;
	float *out;
	size_t parts; /* of a plane */
};

/* Part `task` of a block: how it is turned, but for in and out. */
static struct turn part_of(const struct turning *j, size_t task,
			   size_t *plain_at, size_t *block_at, size_t *channels)
{
	const struct images *i = j->i;
	size_t lanes = block_lanes(), nblocks = count_blocks(i);
	size_t block = task / j->parts, first = task % j->parts * PIXELS;
	size_t channel = block % nblocks * lanes, image = block / nblocks;
	size_t n = i->plane - first < PIXELS ? i->plane - first : PIXELS;

	*channels = i->channels - channel;
	*channels = *channels < lanes ? *channels : lanes;
	*plain_at = (image * i->channels + channel) * i->plane + first;
	*block_at = (block * i->plane + first) * lanes;
	return (struct turn){.rows = n, .finish = &plain};
}

static void pack_parts(void *ctx, size_t begin, size_t end)
{
	const struct turning *j = ctx;

	for (size_t task = begin; task < end; task++) {
		size_t from, to, n;
		struct turn t = part_of(j, task, &from, &to, &n);

		t.cols = t.rows;
		t.rows = n;
		t.in = j->in + from;
		t.ld = j->i->plane;
		t.out = j->out + to;
		t.ldo = block_lanes();
		fast_get()->turn(&t);
	}
}

static void unpack_parts(void *ctx, size_t begin, size_t end)
{
	const struct turning *j = ctx;

	for (size_t task = begin; task < end; task++) {
		size_t from, to, n;
		struct turn t = part_of(j, task, &to, &from, &n);

		t.cols = n;
		t.in = j->in + from;
		t.ld = block_lanes();
		t.out = j->out + to;
		t.ldo = j->i->plane;
		fast_get()->turn(&t);
	}
}

static void turn_all(const struct kernel *k, struct turning *j, kernel_fn *fn)
{
	const struct images *i = j->i;

	j->parts = (i->plane + PIXELS - 1) / PIXELS;
	kernel_for(k, i->batch * count_blocks(i) * j->parts,
		   PIXELS / (i->plane + 1) + 1, fn, j);
}

void block_pack(const struct kernel *k, const struct images *i, const float *x,
		float *out)
{
	struct turning j = {.i = i, .in = x, .out = out};

	turn_all(k, &j, pack_parts);
}

void block_unpack(const struct kernel *k, const struct images *i,
		  const float *x, float *out)
{
	struct turning j = {.i = i, .in = x, .out = out};

	turn_all(k, &j, unpack_parts);
}

static void pad_block(const struct padding *p)
{
	struct padding wide = *p;
	size_t lanes = block_lanes();

	wide.width *= lanes;
	wide.left *= (ptrdiff_t)lanes;
	wide.ld *= lanes;
	fast_get()->pad(&wide);
}

/* Columns [*first, *end) of the image that out has. */
static void visible(const struct padding *p, size_t *first, size_t *end)
{
	ptrdiff_t left = p->left, right = (ptrdiff_t)p->ld - left;

	*first = left < 0 ? (size_t)-left : 0;
	*end = right < (ptrdiff_t)p->width ? (size_t)(right > 0 ? right : 0)
					   : p->width;
}

void block_pad(const struct padding *p, bool blocked, size_t n, size_t plane)
{
	size_t lanes = block_lanes(), first, end;
	struct turn t = {
		.ld = plane, .rows = n, .ldo = lanes, .finish = &plain};

	if (blocked) {
		pad_block(p);
		return;
	}
	visible(p, &first, &end);
	if (p->top || p->left || p->rows != p->height || p->ld != p->width)
		memset(p->out, 0, p->rows * p->ld * lanes * sizeof(*p->out));
	for (size_t r = 0; r < p->rows && first < end; r++) {
		ptrdiff_t y = (ptrdiff_t)r - p->top;

		if (y < 0 || y >= (ptrdiff_t)p->height)
			continue;
		t.in = p->x + (size_t)y * p->width + first;
		t.cols = end - first;
		t.out = p->out +
			(r * p->ld + (size_t)((ptrdiff_t)first + p->left)) *
				lanes;
		fast_get()->turn(&t);
	}
}

/* ---- sums in parts ---- */
static size_t at_least(size_t v, size_t least)
{
	return v > least ? v : least;
}

bool block_part(const struct block_runs *r, size_t i, struct block_part *p)
{
	size_t most = at_least(PART_MAX / (r->lanes * r->width), 1);
	struct split whole = {r->runs, most}, rest = {r->short_runs, most};
	size_t nwhole = split_count(whole), n = nwhole + split_count(rest);

	if (i >= n)
		return false;
	p->is_last = i + 1 == n;
	if (i < nwhole) {
		p->lanes = r->lanes;
		split_part(whole, i, &p->first, &p->n);
		p->weights = p->first * p->lanes * r->width;
		return true;
	}
	p->lanes = r->rest;
	split_part(rest, i - nwhole, &p->first, &p->n);
	p->weights = (r->runs * r->lanes + p->first * p->lanes) * r->width;
	p->first += r->runs;
	return true;
}

size_t block_choose(size_t total, size_t width)
{
	const struct fast *f = fast_get();
	size_t best = 1;
	double most = 0;

	for (size_t v = 1; v <= f->block_vectors; v++) {
		size_t npanels = (total + v - 1) / v;
		size_t vectors = (total + npanels - 1) / npanels;
		size_t pixels = f->block_pixels[vectors];
		size_t tiles = (width + pixels - 1) / pixels;
		double sums = (double)total / (double)npanels * (double)width /
			      (double)tiles;

		if (sums < most)
			continue;
		most = sums;
		best = v;
	}
	return best;
}

void block_turn_weights(const float *weights, size_t ld, size_t rows, size_t n,
			size_t width, float *out, size_t ldo)
{
	struct turn t = {.in = weights,
			 .ld = ld,
			 .rows = rows < width ? rows : width,
			 .cols = n,
			 .out = out,
			 .ldo = ldo,
			 .finish = &plain};

	for (size_t i = 0; i < n && t.rows < width; i++)
		memset(out + i * ldo, 0, width * sizeof(*out));
	fast_get()->turn(&t);
}

/* n numbers, or whole vectors of which some are none. */
static const float *copy_rows(const float *rows, size_t n, size_t whole,
			      float *room)
{
	if (!rows || n >= whole)
		return rows;
	memcpy(room, rows, n * sizeof(*rows));
	memset(room + n, 0, (whole - n) * sizeof(*rows));
	return room;
}

struct finish block_finish(const struct finish *f, size_t channel,
			   size_t channels, size_t vectors, size_t at,
			   float *room)
{
	struct finish g = finish_at(f, channel, 0, at);
	size_t n = channels - channel, whole = vectors * block_lanes();

	g.row_bias = copy_rows(g.row_bias, n, whole, room);
	g.row_scale = copy_rows(g.row_scale, n, whole, room + whole);
	g.row_shift = copy_rows(g.row_shift, n, whole, room + 2 * whole);
	return g;
}
