/* SPDX-License-Identifier: MIT */
/* Convolution, its transpose and pooling against loops over everything. */
#include <string.h>

#include "kernel/conv.h"
#include "kernel/pooling.h"

#include "../unit/check.h"
#include "naive.h"

#define MANY 300

/* A small random geometry of one to three extents. */
static struct window random_window(uint32_t *seed)
{
	size_t rank = naive_next(seed) % 3 + 1;
	struct window w;

	for (size_t d = 0; d < 3; d++) {
		bool used = d + rank >= 3;
		size_t span;

		w.kernel[d] = used ? naive_next(seed) % 3 + 1 : 1;
		w.stride[d] = used ? naive_next(seed) % 3 + 1 : 1;
		w.dilation[d] = used ? naive_next(seed) % 2 + 1 : 1;
		w.pad[d] = used ? naive_next(seed) % 3 : 0;
		span = (w.kernel[d] - 1) * w.dilation[d] + 1;
		w.in[d] = used ? span + naive_next(seed) % 9 : 1;
		w.out[d] =
			(w.in[d] + (size_t)w.pad[d] - span) / w.stride[d] + 1;
	}
	return w;
}

static struct conv random_conv(uint32_t *seed)
{
	struct conv v = {.type = NUM_F32, .w = random_window(seed)};

	v.batch = naive_next(seed) % 2 + 1;
	v.groups = naive_next(seed) % 3 + 1;
	v.in_channels = v.groups * (naive_next(seed) % 3 + 1);
	v.out_channels = v.groups * (naive_next(seed) % 3 + 1);
	return v;
}

/* Where output o's tap t lies; SIZE_MAX in the padding. */
static size_t place(const struct window *w, size_t o, size_t t)
{
	size_t at = 0;
	size_t pos[3] = {o / w->out[2] / w->out[1], o / w->out[2] % w->out[1],
			 o % w->out[2]};
	size_t tap[3] = {t / w->kernel[2] / w->kernel[1],
			 t / w->kernel[2] % w->kernel[1], t % w->kernel[2]};

	for (int d = 0; d < 3; d++) {
		ptrdiff_t i = (ptrdiff_t)(pos[d] * w->stride[d] +
					  tap[d] * w->dilation[d]) -
			      w->pad[d];

		if (i < 0 || i >= (ptrdiff_t)w->in[d])
			return SIZE_MAX;
		at = at * w->in[d] + (size_t)i;
	}
	return at;
}

/* Every product there is; transposed: from outputs to inputs. */
static void naive_conv(const struct conv *v, const float *x, const float *wt,
		       const float *bias, bool transposed, double *y)
{
	size_t in = window_in(&v->w), out = window_out(&v->w);
	size_t taps = window_taps(&v->w), from = transposed ? out : in;
	size_t to = transposed ? in : out;
	size_t ci = v->in_channels / v->groups;
	size_t co = v->out_channels / v->groups;

	for (size_t n = 0; n < v->batch; n++)
		for (size_t m = 0; m < v->out_channels; m++) {
			double *plane = y + (n * v->out_channels + m) * to;

			for (size_t i = 0; i < to; i++)
				plane[i] = (double)bias[m];
			for (size_t c = 0; c < ci; c++)
				for (size_t o = 0; o < out; o++)
					for (size_t t = 0; t < taps; t++) {
						size_t g = m / co,
						       p = place(&v->w, o, t);
						size_t w =
							transposed
								? ((g * ci +
								    c) * co +
								   m % co) * taps +
									  t
								: (m * ci +
								   c) * taps +
									  t;
						const float *src =
							x +
							(n * v->in_channels +
							 g * ci + c) *
								from;

						if (p == SIZE_MAX)
							continue;
						plane[transposed ? p : o] +=
							(double)wt[w] *
							(double)src
								[transposed
									 ? o
									 : p];
					}
		}
}

static void check_conv(const struct kernel *k, const struct conv *v,
		       bool transposed)
{
	size_t taps = window_taps(&v->w);
	size_t nx = v->batch * v->in_channels *
		    (transposed ? window_out(&v->w) : window_in(&v->w));
	size_t ny = v->batch * v->out_channels *
		    (transposed ? window_in(&v->w) : window_out(&v->w));
	size_t nw = v->in_channels * v->out_channels / v->groups * taps;
	float *x = naive_floats(nx, 1), *w = naive_floats(nw, 2);
	float *bias = naive_floats(v->out_channels, 3);
	float *y = malloc((ny + 1) * sizeof(*y));
	float *scratch = malloc(
		((transposed ? conv_transpose_scratch(v) : conv_scratch(v)) +
		 1) *
		sizeof(*scratch));
	double *want = malloc((ny + 1) * sizeof(*want));

	naive_conv(v, x, w, bias, transposed, want);
	if (transposed)
		conv_transpose_run(k, v, x, w, bias, y, scratch);
	else
		conv_run(k, v, x, w, bias, y, scratch);
	CHECK_INT(naive_differ(y, want, ny, taps * v->in_channels), 0);
	free(x);
	free(w);
	free(bias);
	free(y);
	free(scratch);
	free(want);
}

TEST(convolution)
{
	struct pool *p = pool_new(2);
	uint32_t seed = 7;

	for (int i = 0; i < MANY; i++) {
		struct conv v = random_conv(&seed);

		check_conv(&(struct kernel){.pool = p}, &v, false);
	}
	pool_free(p);
}

TEST(transposed_convolution)
{
	struct pool *p = pool_new(2);
	uint32_t seed = 8;

	for (int i = 0; i < MANY; i++) {
		struct conv v = random_conv(&seed);

		check_conv(&(struct kernel){.pool = p}, &v, true);
	}
	pool_free(p);
}

/* More columns than the buffer holds at once. */
TEST(tiles)
{
	struct conv v = {.type = NUM_F32,
			 .batch = 1,
			 .groups = 1,
			 .in_channels = 300,
			 .out_channels = 2,
			 .w = {.in = {1, 40, 60},
			       .out = {1, 40, 60},
			       .kernel = {1, 3, 3},
			       .stride = {1, 1, 1},
			       .dilation = {1, 1, 1},
			       .pad = {0, 1, 1}}};

	CHECK(conv_scratch(&v) < 300 * 9 * 40 * 60);
	check_conv(&(struct kernel){0}, &v, false);
}

static double naive_pool(const struct pooling_plan *v, const float *x, size_t o)
{
	double max = -INFINITY, sum = 0, n = 0;

	for (size_t t = 0; t < window_taps(&v->w); t++) {
		size_t p = place(&v->w, o, t);

		if (p == SIZE_MAX)
			continue;
		max = fmax(max, (double)x[p]);
		sum += (double)x[p];
		n++;
	}
	return v->kind == POOLING_MAX ? max : n > 0 ? sum / n : 0;
}

TEST(pooling)
{
	uint32_t seed = 9;

	for (int i = 0; i < MANY; i++) {
		struct pooling_plan v = {.type = NUM_F32,
					 .w = random_window(&seed),
					 .kind = i % 2 ? POOLING_MAX
						       : POOLING_AVERAGE};
		size_t in = window_in(&v.w), out = window_out(&v.w);
		float *x = naive_floats(3 * in, seed);
		float *y = malloc((3 * out + 1) * sizeof(*y));
		double *want = malloc((3 * out + 1) * sizeof(*want));

		for (size_t k = 0; k < 3 * out; k++)
			want[k] = naive_pool(&v, x + k / out * in, k % out);
		pooling_run(&(struct kernel){0}, &v, 3, x, y, NULL);
		for (size_t k = 0; k < 3 * out; k++) { /* empty windows */
			if (isinf(want[k]) && want[k] == (double)y[k])
				want[k] = y[k] = 0;
		}
		CHECK_INT(naive_differ(y, want, 3 * out, 27), 0);
		free(x);
		free(y);
		free(want);
	}
}

int main(void)
{
	RUN(convolution);
	RUN(transposed_convolution);
	RUN(tiles);
	RUN(pooling);
	return check_result();
}
