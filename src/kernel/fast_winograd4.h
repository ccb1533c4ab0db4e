/* SPDX-License-Identifier: MIT */
/*
 * fast_winograd4 - F(4x4, 3x3) with the points 0, 2/3, -2/3, 3/2, -3/2 and
 * infinity, a vector of tiles at a time.  Their product of 1 keeps what is
 * multiplied of one size: the error is 2/5 of that of 0, 1, -1, 2, -2.
 */
static void run_wino4_split(const struct wino4_tiles *w, const float *row,
			    float *parts)
{
	for (size_t t = 0; t < w->ntiles; t += LANES, row += 4 * LANES) {
		vec a = load(row), b = load(row + LANES);
		vec c = load(row + 2 * LANES), d = load(row + 3 * LANES);
		vec ab = __builtin_shufflevector(a, b, EVEN_LANES);
		vec cd = __builtin_shufflevector(c, d, EVEN_LANES);
		vec ba = __builtin_shufflevector(a, b, ODD_LANES);
		vec dc = __builtin_shufflevector(c, d, ODD_LANES);

		store(parts + t, __builtin_shufflevector(ab, cd, EVEN_LANES));
		store(parts + w->part + t,
		      __builtin_shufflevector(ba, dc, EVEN_LANES));
		store(parts + 2 * w->part + t,
		      __builtin_shufflevector(ab, cd, ODD_LANES));
		store(parts + 3 * w->part + t,
		      __builtin_shufflevector(ba, dc, ODD_LANES));
	}
}

#define POINT_A (2.0f / 3)
#define POINT_B 1.5f
#define SQUARE_A (POINT_A * POINT_A)
#define SQUARE_B (POINT_B * POINT_B)

/* d times the transposed B: six numbers to six. */
INLINE void wino4_in_6(const vec d[6], vec e[6])
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

INLINE void wino4_out_6(const vec m[6], vec o[4])
{
	vec p = m[1] + m[2], q = POINT_A * (m[1] - m[2]);
	vec r = m[3] + m[4], s = POINT_B * (m[3] - m[4]);

	o[0] = m[0] + p + r;
	o[1] = q + s;
	o[2] = SQUARE_A * p + SQUARE_B * r;
	o[3] = SQUARE_A * q + SQUARE_B * s + m[5];
}

static void run_wino4_in(const struct wino4_tiles *w,
			 const float *const rows[6], float *out)
{
	for (size_t t = 0; t < w->ntiles; t += LANES) {
		vec d[6], e[6], f[6][6];

		for (size_t j = 0; j < 6; j++) {
			for (size_t r = 0; r < 6; r++)
				d[r] = load(rows[r] + j % 4 * w->part + j / 4 +
					    t);
			wino4_in_6(d, e);
			for (size_t r = 0; r < 6; r++)
				f[r][j] = e[r];
		}
		for (size_t r = 0; r < 6; r++) {
			wino4_in_6(f[r], e);
			for (size_t j = 0; j < 6; j++)
				store(out + (r * 6 + j) * w->step + t, e[j]);
		}
	}
}

/* Four parts of a row side by side again. */
INLINE void join(const vec v[4], float *row)
{
	vec a = __builtin_shufflevector(v[0], v[2], LOW_LANES);
	vec b = __builtin_shufflevector(v[1], v[3], LOW_LANES);
	vec c = __builtin_shufflevector(v[0], v[2], HIGH_LANES);
	vec d = __builtin_shufflevector(v[1], v[3], HIGH_LANES);

	store(row, __builtin_shufflevector(a, b, LOW_LANES));
	store(row + LANES, __builtin_shufflevector(a, b, HIGH_LANES));
	store(row + 2 * LANES, __builtin_shufflevector(c, d, LOW_LANES));
	store(row + 3 * LANES, __builtin_shufflevector(c, d, HIGH_LANES));
}

static void run_wino4_out(const struct wino4_tiles *w, const float *in,
			  float *const rows[4])
{
	for (size_t t = 0; t < w->ntiles; t += LANES) {
		vec m[6], o[4], f[4][6];

		for (size_t j = 0; j < 6; j++) {
			for (size_t r = 0; r < 6; r++)
				m[r] = load(in + (r * 6 + j) * w->step + t);
			wino4_out_6(m, o);
			for (size_t r = 0; r < 4; r++)
				f[r][j] = o[r];
		}
		for (size_t r = 0; r < 4; r++) {
			wino4_out_6(f[r], o);
			join(o, rows[r] + 4 * t);
		}
	}
}
