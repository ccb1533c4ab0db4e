/* SPDX-License-Identifier: MIT */
/* fast_depth - planes of their own: sums of each, or the greatest. */

/* A NaN is greater than all else. */
INLINE vec greater_vec(vec best, vec v)
{
	return select_vec((v > best) | (v != v), v, best);
}

/*
 * What a call knows when it is compiled, but for down and right: how many
 * floats lie between taps.
 */
struct depth_kind {
	size_t rows, cols, stride, down, right;
	bool sums;
	bool is_3x3; /* the taps stay in registers */
};

INLINE vec depth_vec(const float *weight, const float *x,
		     const struct depth_kind k, const vec *taps)
{
	vec acc = k.sums ? (vec){0} : splat(-INFINITY);

	UNROLL_IF_KNOWN for (size_t ky = 0; ky < k.rows; ky++)
	{
		const float *row = x + ky * k.down;

		UNROLL_IF_KNOWN for (size_t kx = 0; kx < k.cols; kx++)
		{
			vec v = k.stride == 1 ? load(row) : load_even(row);

			if (k.is_3x3)
				acc += v * taps[3 * ky + kx];
			else if (k.sums)
				acc += v * *weight++;
			else
				acc = greater_vec(acc, v);
			row += k.right;
		}
	}
	return acc;
}

INLINE void depth_plane(const struct depth *d, const struct depth_kind k)
{
	size_t height = d->w->out[1], width = d->w->out[2];
	size_t step = d->w->stride[1] * d->ldx;
	const float *weights = d->weights;
	float *out = d->out;
	vec taps[9] = {0};

	if (k.is_3x3) {
		UNROLL for (size_t i = 0; i < 9; i++) taps[i] =
			splat(d->weights[i]);
	}
	for (size_t y = 0; y < height; y++, out += width) {
		const float *x = d->x + y * step;

		for (size_t i = 0; i < width; i += LANES)
			store_part(
				out + i,
				depth_vec(weights, x + i * k.stride, k, taps),
				width - i);
	}
	if (finish_parts(d->finish)) {
		struct strips s = {.rows = 1, .n = height * width};

		finish_strips(d->finish, &s, d->out, d->out);
	}
}

static void run_depth(const struct depth *d)
{
	const struct window *w = d->w;
	size_t rows = w->kernel[1], cols = w->kernel[2];
	size_t stride = w->stride[2];
	size_t down = w->dilation[1] * d->ldx, right = w->dilation[2];

	if (!d->weights)
		depth_plane(d, (struct depth_kind){rows, cols, stride, down,
						   right, false, false});
	else if (rows == 3 && cols == 3 && stride == 1)
		depth_plane(d, (struct depth_kind){3, 3, 1, down, right, true,
						   true});
	else if (rows == 3 && cols == 3)
		depth_plane(d, (struct depth_kind){3, 3, 2, down, right, true,
						   true});
	else
		depth_plane(d, (struct depth_kind){rows, cols, stride, down,
						   right, true, false});
}

/* ---- a vector of channels ---- */

/* What the window at column x makes of its taps, some beyond the edge. */
INLINE vec edge_pixel(const struct depth_row *d, size_t x)
{
	const struct window *w = d->w;
	vec acc = d->weights ? (vec){0} : splat(d->edge);
	const float *weight = d->weights;

	for (size_t ky = 0; ky < w->kernel[1]; ky++) {
		for (size_t kx = 0; kx < w->kernel[2]; kx++) {
			ptrdiff_t at = window_at(w, 2, x, kx);
			vec v = splat(d->edge);

			if (at >= 0 && at < (ptrdiff_t)w->in[2])
				v = load(d->rows[ky] + at * LANES);
			if (weight)
				acc += v * load(weight);
			else
				acc = greater_vec(acc, v);
			weight += weight ? LANES : 0;
		}
	}
	return acc;
}

INLINE vec inner_pixel(const struct depth_row *d, size_t x,
		       const struct depth_kind k, const vec *taps)
{
	vec acc = k.sums ? (vec){0} : splat(d->edge);
	const float *weight = d->weights;
	ptrdiff_t at = window_at(d->w, 2, x, 0) * LANES;

	UNROLL_IF_KNOWN for (size_t ky = 0; ky < k.rows; ky++)
	{
		const float *row = d->rows[ky] + at;

		UNROLL_IF_KNOWN for (size_t kx = 0; kx < k.cols; kx++)
		{
			vec v = load(row + kx * k.right);

			if (k.is_3x3)
				acc += v * taps[3 * ky + kx];
			else if (k.sums)
				acc += v * load(weight);
			else
				acc = greater_vec(acc, v);
			weight += k.sums && !k.is_3x3 ? LANES : 0;
		}
	}
	return acc;
}

INLINE void finish_pixel(const struct depth_row *d, size_t x, vec v)
{
	const struct finish *f = d->finish;
	unsigned parts = finish_parts(f);

	if (parts & FINISH_BIAS)
		v += load(f->row_bias);
	if (parts & FINISH_AFFINE)
		v = affine(v, load(f->row_scale), load(f->row_shift));
	if (parts & FINISH_ADD)
		v += load(f->add + x * LANES);
	if (parts & FINISH_LIMIT)
		v = limit(v, splat(f->lo), splat(f->hi));
	store(d->out + x * LANES, v);
}

INLINE void depth_pixels(const struct depth_row *d, const struct depth_kind k)
{
	const struct window *w = d->w;
	size_t x = 0;
	vec taps[9] = {0};

	if (k.is_3x3) {
		UNROLL for (size_t i = 0; i < 9; i++) taps[i] =
			load(d->weights + i * LANES);
	}
	for (; x < w->out[2] && window_at(w, 2, x, 0) < 0; x++)
		finish_pixel(d, x, edge_pixel(d, x));
	for (; x < w->out[2] &&
	       window_at(w, 2, x, w->kernel[2] - 1) < (ptrdiff_t)w->in[2];
	     x++)
		finish_pixel(d, x, inner_pixel(d, x, k, taps));
	for (; x < w->out[2]; x++)
		finish_pixel(d, x, edge_pixel(d, x));
}

static void run_depth_row(const struct depth_row *d)
{
	const struct window *w = d->w;
	struct depth_kind k = {.rows = w->kernel[1],
			       .cols = w->kernel[2],
			       .right = w->dilation[2] * LANES};

	if (!d->weights)
		depth_pixels(d, k);
	else if (k.rows == 3 && k.cols == 3)
		depth_pixels(d, (struct depth_kind){3, 3, 0, 0, k.right, true,
						    true});
	else
		depth_pixels(d, (struct depth_kind){k.rows, k.cols, 0, 0,
						    k.right, true, false});
}
