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
INLINE vec pixel_vec(const float *x, const float *weights,
		     const struct depth_kind k, const vec *taps)
{
	vec acc = {0};

	UNROLL_IF_KNOWN for (size_t ky = 0; ky < k.rows; ky++)
	{
		UNROLL_IF_KNOWN for (size_t kx = 0; kx < k.cols; kx++)
		{
			size_t tap = ky * k.cols + kx;
			vec w = k.is_3x3 ? taps[tap]
					 : load(weights + tap * LANES);

			acc += load(x + ky * k.down + kx * k.right) * w;
		}
	}
	return acc;
}

INLINE void all_pixels(const struct depth_pixels *d, const struct depth_kind k)
{
	const struct window *w = d->w;
	size_t height = w->out[1], width = w->out[2];
	size_t row = w->stride[1] * d->ldx * LANES, col = w->stride[2] * LANES;
	const float *weights = d->weights;
	float *out = d->out;
	vec taps[9] = {0};

	if (k.is_3x3) {
		UNROLL for (size_t i = 0; i < 9; i++) taps[i] =
			load(weights + i * LANES);
	}
	for (size_t y = 0; y < height; y++) {
		const float *x = d->x + y * row;

		for (size_t i = 0; i < width; i++, out += LANES)
			store(out, pixel_vec(x + i * col, weights, k, taps));
	}
}

static void run_depth_pixels(const struct depth_pixels *d)
{
	const struct window *w = d->w;
	struct depth_kind k = {.rows = w->kernel[1],
			       .cols = w->kernel[2],
			       .down = w->dilation[1] * d->ldx * LANES,
			       .right = w->dilation[2] * LANES};

	if (k.rows == 3 && k.cols == 3)
		all_pixels(d, (struct depth_kind){3, 3, 0, k.down, k.right,
						  true, true});
	else
		all_pixels(d, k);
}
