/* SPDX-License-Identifier: MIT */
/*
 * fast_winograd - Winograd's transforms (Lavin and Gray, 2015), a vector of
 * channels at a time.  F(2x2, 3x3) has the points 0, 1, -1 and infinity;
 * F(4x4, 3x3) 0, 2/3, -2/3, 3/2, -3/2 and infinity, whose product of 1 keeps
 * what is multiplied of one size: the error is 2/5 of that of 0, 1, -1, 2, -2.
 */
#define POINT_A (2.0f / 3)
#define POINT_B 1.5f
#define SQUARE_A (POINT_A * POINT_A)
#define SQUARE_B (POINT_B * POINT_B)

/* d times the transposed B: four numbers to four. */
INLINE void wino2_in_line(const vec *d, vec *e)
{
	e[0] = d[0] - d[2];
	e[1] = d[1] + d[2];
	e[2] = d[2] - d[1];
	e[3] = d[1] - d[3];
}

INLINE void wino2_out_line(const vec *m, vec *o)
{
	o[0] = m[0] + m[1] + m[2];
	o[1] = m[1] - m[2] - m[3];
}

/* Six numbers to six. */
INLINE void wino4_in_line(const vec *d, vec *e)
{
	vec even = d[4] - SQUARE_B * d[2];
	vec odd = POINT_A * (d[3] - SQUARE_B * d[1]);
	vec even2 = d[4] - SQUARE_A * d[2];
	vec odd2 = POINT_B * (d[3] - SQUARE_A * d[1]);

	e[0] = d[0] - (SQUARE_A + SQUARE_B) * d[2] + d[4];
	e[1] = even + odd;
	e[2] = even - odd;
	e[3] = even2 + odd2;
	e[4] = even2 - odd2;
	e[5] = d[1] - (SQUARE_A + SQUARE_B) * d[3] + d[5];
}

INLINE void wino4_out_line(const vec *m, vec *o)
{
	vec p = m[1] + m[2], q = POINT_A * (m[1] - m[2]);
	vec r = m[3] + m[4], s = POINT_B * (m[3] - m[4]);

	o[0] = m[0] + p + r;
	o[1] = q + s;
	o[2] = SQUARE_A * p + SQUARE_B * r;
	o[3] = SQUARE_A * q + SQUARE_B * s + m[5];
}

/* A tile of side n is read at x and becomes (n + 2) ** 2 numbers. */
INLINE void wino_in_tile(const struct wino_tiles *w, const float *x, float *out,
			 const size_t n)
{
	vec f[6][6];

	UNROLL for (size_t c = 0; c < n + 2; c++)
	{
		vec d[6], e[6];

		UNROLL for (size_t r = 0; r < n + 2; r++) d[r] =
			load(x + (r * w->pitch + c) * LANES);
		if (n == 2)
			wino2_in_line(d, e);
		else
			wino4_in_line(d, e);
		UNROLL for (size_t r = 0; r < n + 2; r++) f[r][c] = e[r];
	}
	UNROLL for (size_t r = 0; r < n + 2; r++)
	{
		vec e[6];

		if (n == 2)
			wino2_in_line(f[r], e);
		else
			wino4_in_line(f[r], e);
		UNROLL for (size_t c = 0; c < n + 2; c++)
			store(out + (r * (n + 2) + c) * w->step, e[c]);
	}
}

/* n pixels of a row, of which cols are stored at y. */
INLINE void wino_store(const struct finish *f, size_t first, vec *o, float *y,
		       size_t cols, const size_t n)
{
	y += first * LANES;
	if (cols >= n) {
		finish_pixels(f, first, 0, o, n, 1);
		EACH(c, n) store(y + c * LANES, o[c]);
		return;
	}
	EACH(c, n)
	{
		if (c >= cols)
			break;
		finish_pixels(f, first + c, 0, o + c, 1, 1);
		store(y + c * LANES, o[c]);
	}
}

/*
 * Numbers at m become a tile, of which rows and cols are stored at y, from
 * pixel `first` on.
 */
INLINE void wino_out_tile(const struct wino_tiles *w, const float *m, float *y,
			  size_t first, size_t cols, const size_t n)
{
	vec h[4][6];

	UNROLL for (size_t c = 0; c < n + 2; c++)
	{
		vec d[6], o[4];

		UNROLL for (size_t r = 0; r < n + 2; r++) d[r] =
			load(m + (r * (n + 2) + c) * w->step);
		if (n == 2)
			wino2_out_line(d, o);
		else
			wino4_out_line(d, o);
		UNROLL for (size_t r = 0; r < n; r++) h[r][c] = o[r];
	}
	for (size_t r = 0; r < n && r < w->rows; r++) {
		vec o[4];

		if (n == 2)
			wino2_out_line(h[r], o);
		else
			wino4_out_line(h[r], o);
		wino_store(w->finish, first + r * w->pitch, o, y, cols, n);
	}
}

static void run_wino_in(const struct wino_tiles *w, const float *x, float *out)
{
	for (size_t t = 0; t < w->across; t++, out += LANES) {
		if (w->side == 2)
			wino_in_tile(w, x + 2 * t * LANES, out, 2);
		else
			wino_in_tile(w, x + 4 * t * LANES, out, 4);
	}
}

static void run_wino_out(const struct wino_tiles *w, const float *m, float *y)
{
	size_t cols = w->pitch, first = 0;

	for (size_t t = 0; t < w->across; t++, m += LANES, first += w->side) {
		if (w->side == 2)
			wino_out_tile(w, m, y, first, cols, 2);
		else
			wino_out_tile(w, m, y, first, cols, 4);
		cols -= cols > w->side ? w->side : cols;
	}
}

/* G of the points: three weights to four numbers, or to six. */
INLINE void wino2_form_line(const vec *g, vec *u)
{
	vec even = (g[0] + g[2]) * 0.5f, odd = g[1] * 0.5f;

	u[0] = g[0];
	u[1] = even + odd;
	u[2] = even - odd;
	u[3] = g[2];
}

#define FORM_A (1 / (2 * SQUARE_A * (SQUARE_A - SQUARE_B)))
#define FORM_B (1 / (2 * SQUARE_B * (SQUARE_B - SQUARE_A)))

INLINE void wino4_form_line(const vec *g, vec *u)
{
	vec even = FORM_A * g[0] + FORM_A * SQUARE_A * g[2];
	vec odd = FORM_A * POINT_A * g[1];
	vec even2 = FORM_B * g[0] + FORM_B * SQUARE_B * g[2];
	vec odd2 = FORM_B * POINT_B * g[1];

	u[0] = g[0];
	u[1] = even + odd;
	u[2] = even - odd;
	u[3] = even2 + odd2;
	u[4] = even2 - odd2;
	u[5] = g[2];
}

INLINE void wino_form_vec(const float *g, size_t width, float *out, size_t step,
			  const size_t n)
{
	vec half[6][3];

	UNROLL for (size_t c = 0; c < 3; c++)
	{
		vec col[3], u[6];

		UNROLL for (size_t r = 0; r < 3; r++) col[r] =
			load(g + (3 * r + c) * width);
		if (n == 2)
			wino2_form_line(col, u);
		else
			wino4_form_line(col, u);
		UNROLL for (size_t r = 0; r < n + 2; r++) half[r][c] = u[r];
	}
	UNROLL for (size_t r = 0; r < n + 2; r++)
	{
		vec u[6];

		if (n == 2)
			wino2_form_line(half[r], u);
		else
			wino4_form_line(half[r], u);
		UNROLL for (size_t c = 0; c < n + 2; c++)
			store(out + (r * (n + 2) + c) * step, u[c]);
	}
}

static void run_wino_form(size_t side, const float *g, size_t width, float *out,
			  size_t step)
{
	for (size_t i = 0; i < width; i += LANES) {
		if (side == 2)
			wino_form_vec(g + i, width, out + i, step, 2);
		else
			wino_form_vec(g + i, width, out + i, step, 4);
	}
}
