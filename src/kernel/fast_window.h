/* SPDX-License-Identifier: MIT */
/* fast_window - windows laid out as columns, and planes of their own. */

/* Every second number of 2 * LANES. */
INLINE vec load_even(const float *p)
{
	return __builtin_shufflevector(load(p), load(p + LANES), EVEN_LANES);
}

/* These may write up to a vector more than n. */
INLINE void spread_zeros(float *out, size_t n)
{
	for (size_t i = 0; i < n; i += LANES)
		store(out + i, (vec){0});
}

/* later: what will be read after some more rows, this far behind `in`. */
INLINE void spread(float *out, const float *in, const float *end, size_t n,
		   size_t stride, size_t later)
{
	size_t i = 0, room = (size_t)(end - in);

	if (stride == 1 && n + LANES <= room) {
		for (; i < n; i += LANES) {
			__builtin_prefetch(in + i + later);
			store(out + i, load(in + i));
		}
	} else if (stride == 2 && 2 * (n + LANES) <= room) {
		for (; i < n; i += LANES)
			store(out + i, load_even(in + 2 * i));
	} else {
		for (; i < n; i++)
			out[i] = in[i * stride];
	}
}

/* Where a tap falls inside: outputs [lo, hi) of a row. */
struct tap {
	size_t z, y, x, lo, hi;
};

static struct tap find_tap(const struct window *w, size_t tap)
{
	struct tap t = {.z = tap / (w->kernel[1] * w->kernel[2]),
			.y = tap / w->kernel[2] % w->kernel[1],
			.x = tap % w->kernel[2]};
	ptrdiff_t at = window_at(w, 2, 0, t.x), step = (ptrdiff_t)w->stride[2];
	ptrdiff_t last = (ptrdiff_t)w->in[2] - 1 - at;

	t.lo = at >= 0 ? 0 : (size_t)((-at + step - 1) / step);
	t.hi = last < 0 ? 0 : (size_t)(last / step + 1);
	t.hi = t.hi < w->out[2] ? t.hi : w->out[2];
	t.lo = t.lo < t.hi ? t.lo : t.hi;
	return t;
}

static size_t within(size_t v, size_t lo, size_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* Channels between a row and the one that is fetched meanwhile. */
#define LATER 4

/* Outputs [begin, end) of a row whose input row is `in`. */
INLINE void line_part(const struct columns *c, const struct tap *t,
		      const float *in, size_t begin, size_t end, float *out)
{
	size_t lo = within(t->lo, begin, end), hi = within(t->hi, lo, end);

	spread_zeros(out, lo - begin);
	if (hi > lo)
		spread(out + (lo - begin), in + window_at(c->w, 2, lo, t->x),
		       c->x_end, hi - lo, c->w->stride[2],
		       LATER * window_in(c->w));
	spread_zeros(out + (hi - begin), end - hi);
}

static void channel_row(const struct columns *c, const struct tap *t,
			const float *plane, float *out)
{
	const struct window *w = c->w;
	size_t line = c->first / w->out[2], begin = c->first % w->out[2];
	size_t oz = line / w->out[1], oy = line % w->out[1], left = c->n;

	while (left > 0) {
		size_t n = w->out[2] - begin < left ? w->out[2] - begin : left;
		ptrdiff_t z = window_at(w, 0, oz, t->z);
		ptrdiff_t y = window_at(w, 1, oy, t->y);

		if (z < 0 || z >= (ptrdiff_t)w->in[0] || y < 0 ||
		    y >= (ptrdiff_t)w->in[1])
			spread_zeros(out, n);
		else
			line_part(c, t,
				  plane + ((size_t)z * w->in[1] + (size_t)y) *
						  w->in[2],
				  begin, begin + n, out);
		out += n;
		left -= n;
		begin = 0;
		oz += oy + 1 == w->out[1];
		oy = oy + 1 == w->out[1] ? 0 : oy + 1;
	}
}

static void run_columns(const struct columns *c, size_t tap)
{
	struct tap t = find_tap(c->w, tap);
	size_t taps = window_taps(c->w), plane = window_in(c->w);

	for (size_t i = 0; i < c->channels; i++)
		channel_row(c, &t, c->x + i * plane,
			    c->out + (i * taps + tap) * c->ld);
}

/* A NaN is greater than all else. */
INLINE vec greater_vec(vec best, vec v)
{
	return select_vec((v > best) | (v != v), v, best);
}

/* What a call knows when it is compiled: the loops it has need no tests. */
struct depth_kind {
	size_t rows, cols, stride;
	bool sums;
	bool is_3x3; /* known when compiled: the taps stay in registers */
};

INLINE vec depth_vec(const struct depth *d, const float *x,
		     const struct depth_kind k, const vec *taps)
{
	const float *weight = d->weights;
	vec acc = k.sums ? (vec){0} : splat(-INFINITY);

	UNROLL_IF_KNOWN for (size_t ky = 0; ky < k.rows; ky++)
	{
		const float *row = x + ky * d->w->dilation[1] * d->ldx;

		UNROLL_IF_KNOWN for (size_t kx = 0; kx < k.cols; kx++)
		{
			vec v = k.stride == 1 ? load(row) : load_even(row);

			if (k.is_3x3)
				acc += v * taps[3 * ky + kx];
			else if (k.sums)
				acc += v * *weight++;
			else
				acc = greater_vec(acc, v);
			row += d->w->dilation[2];
		}
	}
	return acc;
}

INLINE void depth_plane(const struct depth *d, const struct depth_kind k)
{
	const struct window *w = d->w;
	float *out = d->out;
	vec taps[9] = {0};

	if (k.is_3x3) {
		UNROLL for (size_t i = 0; i < 9; i++) taps[i] =
			splat(d->weights[i]);
	}
	for (size_t y = 0; y < w->out[1]; y++) {
		const float *x = d->x + y * w->stride[1] * d->ldx;

		for (size_t i = 0; i < w->out[2]; i += LANES)
			store_part(out + i,
				   depth_vec(d, x + i * k.stride, k, taps),
				   w->out[2] - i);
		out += w->out[2];
	}
	if (finish_parts(d->finish)) {
		struct strips s = {.rows = 1, .n = w->out[1] * w->out[2]};

		finish_strips(d->finish, &s, d->out, d->out);
	}
}

static void run_depth(const struct depth *d)
{
	const struct window *w = d->w;
	size_t rows = w->kernel[1], cols = w->kernel[2];
	size_t stride = w->stride[2];

	if (!d->weights)
		depth_plane(d, (struct depth_kind){rows, cols, stride, false,
						   false});
	else if (rows == 3 && cols == 3 && stride == 1)
		depth_plane(d, (struct depth_kind){3, 3, 1, true, true});
	else if (rows == 3 && cols == 3)
		depth_plane(d, (struct depth_kind){3, 3, 2, true, true});
	else
		depth_plane(d, (struct depth_kind){rows, cols, stride, true,
						   false});
}
