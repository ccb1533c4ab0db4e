/* SPDX-License-Identifier: MIT */
/*
 * fast_block - products of pixels whose channels lie side by side, a vector of
 * them at a time (kernel/block.h).
 */

/* Vectors of a tile at most, and pixels that go with so many. */
#if VECTORS > 2 && ROWS > 4
#define BLOCK_VECTORS 4
#define BLOCK_SUMS_MAX 24
#else
#define BLOCK_VECTORS 3
#define BLOCK_SUMS_MAX 12
#endif

/* Of what is needed next, the share of R pixels and one run. */
INLINE const float *fetch_share(const float *p, size_t share)
{
	for (size_t i = 0; i < share; i += 64 / sizeof(*p))
		__builtin_prefetch(p + i, 0, 2);
	return p + share;
}

/* step: floats from one pixel to the next, known when it is LANES. */
INLINE void block_sums(const struct block_tile *t, size_t first, const size_t R,
		       const size_t V, const size_t step)
{
	const float *x = t->x + first * step, *w = t->weights;
	const float *next = t->ahead;
	float *y = t->y + first * LANES;
	size_t share = R * t->ahead_pixel / t->nruns;
	vec acc[BLOCK_SUMS_MAX];

	EACH(i, R * V)
	acc[i] =
		t->sums ? load(y + i / V * LANES + i % V * t->y_vec) : (vec){0};
	if (next)
		next += first * t->ahead_pixel;
	for (size_t run = 0; run < t->nruns; run++) {
		const float *p = x + t->at[run];

		if (next)
			next = fetch_share(next, share);
		for (size_t l = 0; l < t->lanes; l++, p++, w += V * LANES) {
			vec v[BLOCK_VECTORS];

			EACH(i, V) v[i] = load(w + i * LANES);
			EACH(r, R)
			{
				vec s = splat(p[r * step]);

				EACH(i, V) acc[r * V + i] += s * v[i];
			}
		}
	}
	if (t->finish)
		finish_pixels(t->finish, first, t->y_vec, acc, R, V);
	EACH(i, R * V)
	store(y + i / V * LANES + i % V * t->y_vec, acc[i]);
}

#define BLOCK_SUMS(R, V)                                                     \
	static void sums_##R##_##V(const struct block_tile *t, size_t first) \
	{                                                                    \
		if (t->x_pixel == LANES)                                     \
			block_sums(t, first, R, V, LANES);                   \
		else                                                         \
			block_sums(t, first, R, V, t->x_pixel);              \
	}
#define SUMS_4(V)        \
	BLOCK_SUMS(1, V) \
	BLOCK_SUMS(2, V) \
	BLOCK_SUMS(3, V) \
	BLOCK_SUMS(4, V)
#define SUMS_6(V)        \
	SUMS_4(V)        \
	BLOCK_SUMS(5, V) \
	BLOCK_SUMS(6, V)
#define SUMS_12(V)        \
	SUMS_6(V)         \
	BLOCK_SUMS(7, V)  \
	BLOCK_SUMS(8, V)  \
	BLOCK_SUMS(9, V)  \
	BLOCK_SUMS(10, V) \
	BLOCK_SUMS(11, V) \
	BLOCK_SUMS(12, V)
#define NAMES_4(V) sums_1_##V, sums_2_##V, sums_3_##V, sums_4_##V
#define NAMES_6(V) NAMES_4(V), sums_5_##V, sums_6_##V
#define NAMES_12(V)                                                  \
	NAMES_6(V), sums_7_##V, sums_8_##V, sums_9_##V, sums_10_##V, \
		sums_11_##V, sums_12_##V

#if BLOCK_VECTORS > 3
SUMS_12(1)
SUMS_12(2)
SUMS_6(3)
BLOCK_SUMS(7, 3)
BLOCK_SUMS(8, 3)
SUMS_6(4)
#else
SUMS_6(1)
SUMS_6(2)
SUMS_4(3)
#endif

typedef void sums_fn(const struct block_tile *t, size_t first);

#if BLOCK_VECTORS > 3
static const size_t block_pixels[] = {0, 12, 12, 8, 6};
static sums_fn *const block_fns[][12] = {{NULL},
					 {NAMES_12(1)},
					 {NAMES_12(2)},
					 {NAMES_6(3), sums_7_3, sums_8_3},
					 {NAMES_6(4)}};
#else
static const size_t block_pixels[] = {0, 6, 6, 4};
static sums_fn *const block_fns[][6] = {
	{NULL}, {NAMES_6(1)}, {NAMES_6(2)}, {NAMES_4(3)}};
#endif

/* Pixels in groups of about the same number. */
static void run_block_tile(const struct block_tile *t)
{
	size_t most = block_pixels[t->vectors];
	size_t left = (t->m + most - 1) / most;

	for (size_t at = 0; at < t->m; left--) {
		size_t n = (t->m - at + left - 1) / left;

		block_fns[t->vectors][n - 1](t, at);
		at += n;
	}
}
