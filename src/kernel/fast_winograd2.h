/* SPDX-License-Identifier: MIT */
/*
 * fast_winograd2 - F(2x2, 3x3) with the points 0, 1, -1 and infinity (Lavin and
 * Gray, 2015).
 */
INLINE vec load_odd(const float *p)
{
	return __builtin_shufflevector(load(p), load(p + LANES), ODD_LANES);
}

/* Rows of tiles, top to bottom: one of the four sums of each, all along. */
static void wino2_rows(const struct wino2_tiles *w, const float *x, float *sums)
{
	size_t pitch = 2 * w->pitch, step = w->sums;

	for (size_t r = 0; r < w->rows; r++, x += 2 * pitch, sums += pitch) {
		for (size_t i = 0; i < pitch; i += LANES) {
			vec a = load(x + i), b = load(x + pitch + i);
			vec c = load(x + 2 * pitch + i);
			vec d = load(x + 3 * pitch + i);

			store(sums + i, a - c);
			store(sums + step + i, b + c);
			store(sums + 2 * step + i, c - b);
			store(sums + 3 * step + i, b - d);
		}
	}
}

static void run_wino2_in(const struct wino2_tiles *w, const float *x,
			 float *sums, float *out)
{
	size_t n = w->rows * w->pitch;

	wino2_rows(w, x, sums);
	for (size_t q = 0; q < 4; q++, sums += w->sums, out += 4 * w->step) {
		for (size_t t = 0; t < n; t += LANES) {
			const float *p = sums + 2 * t;
			vec a = load_even(p), b = load_odd(p);
			vec c = load_even(p + 2), d = load_odd(p + 2);

			store(out + t, a - c);
			store(out + w->step + t, b + c);
			store(out + 2 * w->step + t, c - b);
			store(out + 3 * w->step + t, b - d);
		}
	}
}

/* One tile of a vector of channels: m: sixteen numbers, y: two by two. */
INLINE void wino2_out_tile(const struct wino2_tiles *w, const float *m,
			   vec y[4])
{
	vec s[2][4];

	UNROLL for (size_t j = 0; j < 4; j++)
	{
		vec a = load(m + j * w->step), b = load(m + (4 + j) * w->step);
		vec c = load(m + (8 + j) * w->step);
		vec d = load(m + (12 + j) * w->step);

		s[0][j] = a + b + c;
		s[1][j] = b - c - d;
	}
	UNROLL for (size_t i = 0; i < 2; i++)
	{
		y[2 * i] = s[i][0] + s[i][1] + s[i][2];
		y[2 * i + 1] = s[i][1] - s[i][2] - s[i][3];
	}
}

static void run_wino2_out(const struct wino2_tiles *w, const float *m, float *y)
{
	size_t row = w->width * w->ld;

	for (size_t r = 0; r < w->rows; r++, y += 2 * row) {
		bool two = 2 * r + 1 < w->height;

		for (size_t t = 0; t < w->across; t++, m += w->ld) {
			bool both = 2 * t + 1 < w->width;
			float *p = y + 2 * t * w->ld;

			for (size_t c = 0; c < w->ld; c += LANES) {
				vec v[4];

				wino2_out_tile(w, m + c, v);
				store(p + c, v[0]);
				if (both)
					store(p + w->ld + c, v[1]);
				if (two)
					store(p + row + c, v[2]);
				if (two && both)
					store(p + row + w->ld + c, v[3]);
			}
		}
	}
}
