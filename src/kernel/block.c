/* SPDX-License-Identifier: MIT */
#include "kernel/block.h"

#include <math.h>
#include <string.h>

/* Pixels of a task. */
#define PIXELS 1024

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

void block_pack_padded(const struct window *w, const float *x, size_t n,
		       size_t rows, size_t pitch, float *out)
{
	size_t lanes = block_lanes();
	struct turn t = {.ld = window_in(w),
			 .rows = n,
			 .cols = w->in[2],
			 .ldo = lanes,
			 .finish = &plain};

	memset(out, 0, rows * pitch * lanes * sizeof(*out));
	t.cols = pitch - (size_t)w->pad[2] < t.cols ? pitch - (size_t)w->pad[2]
						    : t.cols;
	for (size_t y = 0; y < w->in[1] && y + (size_t)w->pad[1] < rows; y++) {
		t.in = x + y * w->in[2];
		t.out = out +
			((y + (size_t)w->pad[1]) * pitch + (size_t)w->pad[2]) *
				lanes;
		fast_get()->turn(&t);
	}
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
