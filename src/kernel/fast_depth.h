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

/* What the window at column x makes of those of its taps that are inside. */
INLINE vec edge_pixel(const struct depth_row *d, size_t x)
{
	const struct window *w = d->w;
	vec acc = d->weights ? (vec){0} : splat(d->edge);
	size_t lo = 0, hi = w->kernel[2];

	while (lo < hi && window_at(w, 2, x, lo) < 0)
		lo++;
	while (hi > lo && window_at(w, 2, x, hi - 1) >= (ptrdiff_t)w->in[2])
		hi--;
	for (size_t ky = 0; ky < w->kernel[1]; ky++) {
		for (size_t kx = lo; kx < hi; kx++) {
			vec v = load(d->rows[ky] +
				     window_at(w, 2, x, kx) * LANES);
			size_t tap = ky * w->kernel[2] + kx;

			if (d->weights)
				acc += v * load(d->weights + tap * LANES);
			else
				acc = greater_vec(acc, v);
		}
	}
	return acc;
}

/* Pixels that are made together. */
#define PIXELS 4

INLINE void store_pixels(const struct depth_row *d, size_t x, vec *acc,
			 const size_t n)
{
	finish_pixels(d->finish, x, 0, acc, n, 1);
	EACH(i, n) store(d->out + (x + i) * LANES, acc[i]);
}

/* n pixels from column x on, all their taps inside. */
INLINE void inner_pixels(const struct depth_row *d, size_t x,
			 const struct depth_kind k, const vec *taps,
			 const size_t n)
{
	const float *weight = d->weights;
	ptrdiff_t at = window_at(d->w, 2, x, 0) * LANES;
	vec acc[PIXELS];

	EACH(i, n) acc[i] = k.sums ? (vec){0} : splat(d->edge);
	UNROLL_IF_KNOWN for (size_t ky = 0; ky < k.rows; ky++)
	{
		const float *row = d->rows[ky] + at;

		UNROLL_IF_KNOWN for (size_t kx = 0; kx < k.cols; kx++)
		{
			const float *p = row + kx * k.right;

			EACH(i, n)
			{
				vec v = load(p + i * k.stride);

				if (k.is_3x3)
					acc[i] += v * taps[3 * ky + kx];
				else if (k.sums)
					acc[i] += v * load(weight);
				else
					acc[i] = greater_vec(acc[i], v);
			}
			if (k.sums && !k.is_3x3)
				weight += LANES;
		}
	}
	store_pixels(d, x, acc, n);
}

/* Columns whose windows reach beyond the edge, up to `end`. */
static size_t edge_pixels(const struct depth_row *d, size_t x, size_t end)
{
	for (; x < end; x++) {
		vec v = edge_pixel(d, x);

		store_pixels(d, x, &v, 1);
	}
	return x;
}

INLINE void depth_pixels(const struct depth_row *d, const struct depth_kind k)
{
	const struct window *w = d->w;
	size_t left = 0, right = w->out[2], x;
	vec taps[9] = {0};

	if (k.is_3x3) {
		UNROLL for (size_t i = 0; i < 9; i++) taps[i] =
			load(d->weights + i * LANES);
	}
	while (left < right && window_at(w, 2, left, 0) < 0)
		left++;
	while (right > left && window_at(w, 2, right - 1, w->kernel[2] - 1) >=
				       (ptrdiff_t)w->in[2])
		right--;
	x = edge_pixels(d, 0, left);
	for (; x + PIXELS <= right; x += PIXELS)
		inner_pixels(d, x, k, taps, PIXELS);
	for (; x < right; x++)
		inner_pixels(d, x, k, taps, 1);
	edge_pixels(d, x, w->out[2]);
}

static void run_depth_row(const struct depth_row *d)
{
	const struct window *w = d->w;
	struct depth_kind k = {.rows = w->kernel[1],
			       .cols = w->kernel[2],
			       .stride = w->stride[2] * LANES,
			       .right = w->dilation[2] * LANES};
	bool is_3x3 = k.rows == 3 && k.cols == 3;

	if (!d->weights)
		depth_pixels(d, k);
	else if (is_3x3 && w->stride[2] == 1)
		depth_pixels(d, (struct depth_kind){3, 3, LANES, 0, k.right,
						    true, true});
	else if (is_3x3)
		depth_pixels(d, (struct depth_kind){3, 3, k.stride, 0, k.right,
						    true, true});
	else
		depth_pixels(d, (struct depth_kind){k.rows, k.cols, k.stride, 0,
						    k.right, true, false});
}
