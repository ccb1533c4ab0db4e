/* SPDX-License-Identifier: MIT */
/*
 * conv_ways - convolutions in float32 on vectors: which kernel makes one, and
 * the weights in the form that it wants; some output channels at a time where
 * those of all do not fit into memory.
 */
#include <math.h>

#include "kernel/block.h"
#include "kernel/conv_block.h"
#include "kernel/conv_fast.h"
#include "kernel/depth.h"
#include "kernel/winograd.h"
#include "op/conv.h"
#include "op/impl.h"
#include "op/panels.h"

/* Output channels that are made together are a multiple of these. */
#define CHANNELS 16
/* And that one task makes at most, or nearly so. */
#define CHANNELS_MOST 64

/* A way to convolve; form_size NULL: it takes the weights as they are. */
struct conv_way {
	bool (*has)(const struct conv *v);
	size_t (*form_size)(const struct conv *v);
	void (*form)(const struct kernel *k, const struct conv *v,
		     const float *weights, float *form);
	size_t (*scratch)(const struct kernel *k, const struct conv *v);
	void (*run)(const struct kernel *k, const struct conv *v,
		    const float *x, const float *weights,
		    const struct finish *finish, float *y, float *scratch);
	unsigned (*blocks)(const struct conv *v); /* op_blocks; NULL: none */
};

static unsigned depth_blocks(const struct conv *v)
{
	return depth_takes(v) ? OP_TAKES_BLOCKS | OP_MAKES_BLOCKS : 0;
}

static unsigned winograd_blocks(const struct conv *v)
{
	(void)v;
	return OP_TAKES_BLOCKS | OP_MAKES_BLOCKS;
}

static unsigned dense_blocks(const struct conv *v)
{
	return OP_MAKES_BLOCKS | (conv_block_takes(v) ? OP_TAKES_BLOCKS : 0);
}

/* The first that has it; NULL: none. */
static const struct conv_way *choose_way(const struct conv *v)
{
	static const struct conv_way ways[] = {
		{depth_has, depth_form_size, depth_form, depth_scratch,
		 depth_run, depth_blocks},
		{winograd_has, winograd_form_size, winograd_form,
		 winograd_scratch, winograd_run, winograd_blocks},
		{conv_block_has, conv_block_form_size, conv_block_form,
		 conv_block_scratch, conv_block_run, dense_blocks},
		{conv_fast_has, NULL, NULL, conv_fast_scratch, conv_fast_run},
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (ways[i].has(v))
			return &ways[i];
	}
	return NULL;
}

bool conv_has_way(const struct conv *v)
{
	return choose_way(v) != NULL;
}

unsigned conv_way_blocks(const struct conv *v)
{
	const struct conv_way *way = choose_way(v);

	return way->blocks ? way->blocks(v) : 0;
}

/* ---- the weights ---- */
struct forming {
	const struct conv *v;
	const struct conv_way *way;
	uint64_t nbytes;
};

static void fill_form(const struct kernel *k, const void *ctx, const void *in,
		      void *out)
{
	const struct forming *f = ctx;

	if (f->way->form)
		f->way->form(k, f->v, in, out);
	else
		memcpy(out, in, f->nbytes);
}

/* EFBIG, without having tried, where they and scratch memory do not fit. */
static int get_weights(struct op_call *c, const struct conv *v,
		       const struct conv_way *way, uint64_t scratch,
		       const float **out, struct err *e)
{
	struct forming f = {.v = v, .way = way};
	struct op_form form = {.fill = fill_form, .ctx = &f};
	const void *p;
	int rc;

	if (!way->form_size && c->in[1].dtype == DTYPE_F32)
		return op_has_room(c, 1, DTYPE_F32, 0, scratch)
			       ? op_in_f32(c, 1, out, e)
			       : -EFBIG;
	/* What is no float32 yet shall not be converted in every call. */
	f.nbytes = op_nelems(c, 1) * sizeof(float);
	form.nbytes =
		way->form_size ? way->form_size(v) * sizeof(float) : f.nbytes;
	if (!op_has_room(c, 1, DTYPE_F32, form.nbytes, scratch))
		return -EFBIG;
	rc = op_form(c, 1, DTYPE_F32, &form, &p, e);
	*out = p;
	return rc;
}

/* ---- some channels at a time ---- */
/* One call, as it is and in parts; finish and y are of all channels. */
struct parts {
	const struct conv *v;
	const struct conv_way *way;
	const float *x;
	const struct finish *finish;
	float *y;
	struct conv part; /* one image */
	struct panels weights;
	float *form, *scratch;
	size_t x_image, y_image; /* floats */
};

/* Floats of an image: its channels, in whole blocks or alone. */
static size_t image_size(size_t channels, size_t plane, bool blocked)
{
	size_t lanes = block_lanes();

	return (blocked ? (channels + lanes - 1) / lanes * lanes : channels) *
	       plane;
}

static size_t form_size(const struct parts *p)
{
	return p->way->form_size ? p->way->form_size(&p->part) : 0;
}

/* How many of `left` channels are next: never a few at the end. */
static size_t part_width(size_t left, size_t unit)
{
	return left < unit + CHANNELS ? left : unit;
}

/* Of the last part. */
static size_t last_width(const struct conv *v, size_t unit)
{
	return v->out_channels - (v->out_channels - CHANNELS) / unit * unit;
}

static int alloc_parts(struct op_call *c, struct parts *p, size_t unit,
		       struct err *e)
{
	const struct kernel *k = &c->env->kernel;
	size_t widths[2] = {part_width(p->v->out_channels, unit),
			    last_width(p->v, unit)};
	size_t most = 0, scratch = 0, n;
	void *form = NULL, *room;
	int rc;

	/* Fewer channels may take more memory: they are other tasks. */
	for (int i = 0; i < 2; i++) {
		p->part.out_channels = widths[i];
		n = p->way->scratch(k, &p->part);
		scratch = n > scratch ? n : scratch;
		most = widths[i] > most ? widths[i] : most;
	}
	p->part.out_channels = most;
	rc = panels_alloc(&p->weights, most, e);
	if (rc == 0 && p->way->form)
		rc = op_temp_array(c, form_size(p), sizeof(float), &form, e);
	if (rc == 0)
		rc = op_temp_array(c, scratch, sizeof(float), &room, e);
	if (rc < 0)
		return rc;
	p->form = form;
	p->scratch = room;
	return 0;
}

/* Channels [first, first + n) of all images. */
static int run_part(struct op_call *c, struct parts *p, size_t first, size_t n,
		    struct err *e)
{
	const struct kernel *k = &c->env->kernel;
	size_t plane = window_out(&p->v->w);
	const float *weights;
	int rc = panels_read(&p->weights, 0, first, n, e);

	if (rc < 0)
		return rc;
	weights = p->weights.part;
	p->part.out_channels = n;
	if (p->way->form) {
		p->way->form(k, &p->part, weights, p->form);
		weights = p->form;
	}
	for (size_t i = 0; i < p->v->batch && rc == 0; i++) {
		size_t at = i * p->y_image + first * plane;
		struct finish f = finish_at(p->finish, first, 0, at);

		p->way->run(k, &p->part, p->x + i * p->x_image, weights, &f,
			    p->y + at, p->scratch);
		rc = op_check_stop(c, e);
	}
	return rc;
}

/* How many channels are made at a time, but for the last ones. */
static size_t choose_unit(const struct op_call *c, struct parts *p)
{
	size_t scratch, form;

	p->part.out_channels = CHANNELS_MOST;
	scratch = p->way->scratch(&c->env->kernel, &p->part);
	p->part.out_channels = CHANNELS;
	form = form_size(p) / CHANNELS;
	return CHANNELS * panels_at_once(&p->weights, CHANNELS,
					 form * sizeof(float),
					 scratch * sizeof(float));
}

static int run_parts(struct op_call *c, struct parts *p, struct err *e)
{
	const struct conv *v = p->v;
	size_t k = v->in_channels * window_taps(&v->w), unit, n;
	int rc = panels_open(c, k, v->out_channels, true, DTYPE_F32,
			     &p->weights, e);

	if (rc < 0)
		return rc;
	if (v->groups != 1 || v->out_channels <= CHANNELS)
		return err_set(e, EFBIG, "node %s: the weights do not fit",
			       c->node->name);
	p->part = *v;
	p->part.batch = 1;
	p->x_image = image_size(v->in_channels, window_in(&v->w), v->x_blocked);
	p->y_image =
		image_size(v->out_channels, window_out(&v->w), v->y_blocked);
	unit = choose_unit(c, p);
	rc = alloc_parts(c, p, unit, e);
	for (size_t first = 0; first < v->out_channels && rc == 0; first += n) {
		n = part_width(v->out_channels - first, unit);
		rc = run_part(c, p, first, n, e);
	}
	return rc;
}

/* ---- a call ---- */
/* EFBIG: it takes too much memory as a whole. */
static int run_whole(struct op_call *c, const struct parts *p, struct err *e)
{
	const struct kernel *k = &c->env->kernel;
	size_t n = p->way->scratch(k, p->v);
	const float *weights;
	void *scratch;
	int rc = get_weights(c, p->v, p->way, n * sizeof(float), &weights, e);

	if (rc == 0)
		rc = op_temp_array(c, n, sizeof(float), &scratch, e);
	if (rc == 0)
		p->way->run(k, p->v, p->x, weights, p->finish, p->y, scratch);
	return rc;
}

int conv_run_way(struct op_call *c, struct conv *v, const struct shape *out,
		 struct err *e)
{
	struct finish finish = {.lo = -INFINITY, .hi = INFINITY};
	struct parts p = {.v = v, .way = choose_way(v), .finish = &finish};
	void *y;
	int rc = conv_check_bias(c, v->out_channels, e);

	v->x_blocked = c->in[0].block > 0;
	v->y_blocked = c->make_blocks;
	if (rc == 0)
		rc = op_in_f32(c, 0, &p.x, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &finish.row_bias, e);
	if (rc == 0)
		rc = op_join(c, &finish, e);
	if (rc == 0)
		rc = v->y_blocked ? op_alloc_image(c, out, &y, e)
				  : op_out_as(c, 0, c->in[0].dtype, out, &y, e);
	if (rc < 0)
		return rc;
	p.y = y;
	rc = run_whole(c, &p, e);
	return rc == -EFBIG ? run_parts(c, &p, e) : rc;
}
