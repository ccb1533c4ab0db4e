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

INLINE void fill(float *out, size_t n, float v)
{
	for (size_t i = 0; i < n; i += LANES)
		store(out + i, splat(v));
}

static void run_pad(const struct padding *p)
{
	size_t left = within((size_t)p->left, 0, p->ld);
	size_t n = within(p->width, 0, p->ld - left);

	for (size_t r = 0; r < p->rows; r++) {
		ptrdiff_t y = (ptrdiff_t)r - p->top;
		const float *x = p->x + y * (ptrdiff_t)p->width;
		float *out = p->out + r * p->ld;

		if (y < 0 || y >= (ptrdiff_t)p->height) {
			fill(out, p->ld, p->edge);
			continue;
		}
		fill(out, left, p->edge);
		for (size_t i = 0; i < n; i += LANES)
			store(out + left + i, load_part(x + i, n - i));
		fill(out + left + n, p->ld - left - n, p->edge);
	}
}
