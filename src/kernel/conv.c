/* SPDX-License-Identifier: MIT */
/*
 * conv - windows are laid out as columns of a matrix, as many as fit into a
 * bounded buffer, and multiplied with the weights.  Where every group has one
 * input channel the sums are made in place instead.
 */
#include "kernel/conv.h"

#include <string.h>

#include "kernel/gemm.h"

/* Elements of the buffer, and the least number of columns it holds. */
#define BUFFER ((size_t)1 << 21)
#define COLUMNS_MIN 256

static size_t rows_of(const struct conv *v)
{
	return v->in_channels / v->groups * window_taps(&v->w);
}

static size_t columns_of(const struct conv *v)
{
	size_t rows = rows_of(v), all = window_out(&v->w);
	size_t n = rows ? BUFFER / rows : all;

	n = n < COLUMNS_MIN ? COLUMNS_MIN : n / 32 * 32;
	return n < all ? n : all;
}

static bool is_depthwise(const struct conv *v)
{
	return v->in_channels == v->groups && v->groups > 1 &&
	       (v->type == NUM_F32 || v->type == NUM_F64);
}

/* A window of one element that never moves off the grid. */
static bool is_pointwise(const struct conv *v)
{
	for (int d = 0; d < 3; d++) {
		if (v->w.kernel[d] != 1 || v->w.stride[d] != 1 ||
		    v->w.pad[d] != 0 || v->w.in[d] != v->w.out[d])
			return false;
	}
	return true;
}

size_t conv_scratch(const struct conv *v)
{
	if (is_depthwise(v) || is_pointwise(v))
		return 0;
	return rows_of(v) * columns_of(v);
}

/* ---- windows as columns ---- */
struct columns {
	const struct conv *v;
	const char *x; /* of one batch and group */
	char *out;
	size_t first, n; /* outputs */
	size_t size;
};

/* Output columns [*lo, *hi) of a row whose tap lies inside. */
static void inside(const struct window *w, int d, size_t tap, size_t *lo,
		   size_t *hi)
{
	ptrdiff_t at = window_at(w, d, 0, tap), stride;

	stride = (ptrdiff_t)w->stride[d];
	*lo = at >= 0 ? 0 : (size_t)((-at + stride - 1) / stride);
	*hi = at >= (ptrdiff_t)w->in[d]
		      ? 0
		      : (size_t)(((ptrdiff_t)w->in[d] - 1 - at) / stride + 1);
	*hi = *hi < w->out[d] ? *hi : w->out[d];
	*lo = *lo < *hi ? *lo : *hi;
}

static void spread(char *out, const char *in, size_t n, size_t stride,
		   size_t size)
{
	if (stride == 1) {
		memcpy(out, in, n * size);
	} else if (size == 4) {
		for (size_t i = 0; i < n; i++)
			((uint32_t *)out)[i] =
				((const uint32_t *)in)[i * stride];
	} else {
		for (size_t i = 0; i < n; i++)
			memcpy(out + i * size, in + i * stride * size, size);
	}
}

/* Outputs [begin, end) of one output row, for one tap; in: its input row. */
static void column_part(const struct columns *c, const char *in, char *out,
			size_t tap, size_t begin, size_t end)
{
	const struct window *w = &c->v->w;
	size_t lo, hi, size = c->size;

	inside(w, 2, tap, &lo, &hi);
	lo = lo < begin ? begin : lo > end ? end : lo;
	hi = hi < lo ? lo : hi > end ? end : hi;
	memset(out, 0, (lo - begin) * size);
	if (hi > lo)
		spread(out + (lo - begin) * size,
		       in + window_at(w, 2, lo, tap) * (ptrdiff_t)size, hi - lo,
		       w->stride[2], size);
	memset(out + (hi - begin) * size, 0, (end - hi) * size);
}

/* One row of the matrix: one channel and one tap, for all its outputs. */
static void column_row(const struct columns *c, size_t row)
{
	const struct window *w = &c->v->w;
	size_t taps = window_taps(w), tap = row % taps;
	size_t t[3] = {tap / (w->kernel[1] * w->kernel[2]),
		       tap / w->kernel[2] % w->kernel[1], tap % w->kernel[2]};
	const char *x = c->x + row / taps * window_in(w) * c->size;
	char *out = c->out + row * c->n * c->size;
	size_t at = c->first, last = c->first + c->n;

	while (at < last) {
		size_t line = at / w->out[2], begin = at % w->out[2];
		size_t end = w->out[2] - begin < last - at
				     ? w->out[2]
				     : begin + (last - at);
		ptrdiff_t z = window_at(w, 0, line / w->out[1], t[0]);
		ptrdiff_t y = window_at(w, 1, line % w->out[1], t[1]);

		if (z < 0 || z >= (ptrdiff_t)w->in[0] || y < 0 ||
		    y >= (ptrdiff_t)w->in[1])
			memset(out, 0, (end - begin) * c->size);
		else
			column_part(c,
				    x + (size_t)(z * (ptrdiff_t)w->in[1] + y) *
						    w->in[2] * c->size,
				    out, t[2], begin, end);
		out += (end - begin) * c->size;
		at += end - begin;
	}
}

static void column_rows(void *ctx, size_t begin, size_t end)
{
	for (size_t row = begin; row < end; row++)
		column_row(ctx, row);
}

/* ---- bias ---- */
struct bias {
	const char *bias;
	char *y;
	size_t channels, n, size;
};

static void bias_rows(void *ctx, size_t begin, size_t end)
{
	const struct bias *b = ctx;

	for (size_t row = begin; row < end; row++) {
		const char *v = b->bias + row % b->channels * b->size;
		char *y = b->y + row * b->n * b->size;

		if (b->size == 4) {
			for (size_t i = 0; i < b->n; i++)
				((uint32_t *)y)[i] = *(const uint32_t *)v;
		} else {
			for (size_t i = 0; i < b->n; i++)
				memcpy(y + i * b->size, v, b->size);
		}
	}
}

static void start_with_bias(const struct kernel *k, const struct conv *v,
			    const void *bias, void *y, size_t n)
{
	struct bias b = {.bias = bias,
			 .y = y,
			 .channels = v->out_channels,
			 .n = n,
			 .size = num_size(v->type)};

	kernel_for(k, v->batch * v->out_channels, 16384 / (n + 1) + 1,
		   bias_rows, &b);
}

/* ---- products ---- */
static void run_group(const struct kernel *k, const struct conv *v,
		      const char *x, const char *weights, char *y,
		      char *scratch, bool add)
{
	size_t size = num_size(v->type), all = window_out(&v->w);
	size_t rows = rows_of(v), step = columns_of(v);
	struct gemm g = {.type = v->type,
			 .batch = 1,
			 .alpha = 1,
			 .beta = add,
			 .m = v->out_channels / v->groups,
			 .k = rows,
			 .lda = rows,
			 .ldc = all};
	struct columns c = {.v = v, .x = x, .out = scratch, .size = size};

	if (is_pointwise(v)) {
		g.n = g.ldb = all;
		gemm_run(k, &g, weights, x, y);
		return;
	}
	for (size_t at = 0; at < all && !kernel_stopped(k); at += step) {
		c.first = at;
		c.n = all - at < step ? all - at : step;
		kernel_for(k, rows, 16384 / c.n + 1, column_rows, &c);
		g.n = g.ldb = c.n;
		gemm_run(k, &g, weights, scratch, y + at * size);
	}
}

/* ---- one channel a group ---- */
struct depthwise {
	const struct conv *v;
	const void *x, *weights, *bias;
	void *y;
};

#define DEPTHWISE(NAME, T)                                                    \
	static void line_##NAME(const struct window *w, const T *x, T weight, \
				size_t tap, T *y)                             \
	{                                                                     \
		size_t lo, hi, stride = w->stride[2];                         \
		inside(w, 2, tap, &lo, &hi);                                  \
		x += window_at(w, 2, lo, tap);                                \
		if (stride == 1) {                                            \
			for (size_t i = 0; i < hi - lo; i++)                  \
				y[lo + i] += weight * x[i];                   \
			return;                                               \
		}                                                             \
		for (size_t i = 0; i < hi - lo; i++)                          \
			y[lo + i] += weight * x[i * stride];                  \
	}                                                                     \
	static void plane_##NAME(const struct conv *v, const T *x,            \
				 const T *weights, T start, T *y)             \
	{                                                                     \
		const struct window *w = &v->w;                               \
		for (size_t o = 0; o < w->out[0] * w->out[1]; o++) {          \
			T *line = y + o * w->out[2];                          \
			for (size_t i = 0; i < w->out[2]; i++)                \
				line[i] = start;                              \
			for (size_t t = 0; t < window_taps(w); t++) {         \
				size_t row = t / w->kernel[2];                \
				ptrdiff_t z = window_at(w, 0, o / w->out[1],  \
							row / w->kernel[1]);  \
				ptrdiff_t u = window_at(w, 1, o % w->out[1],  \
							row % w->kernel[1]);  \
				if (z < 0 || z >= (ptrdiff_t)w->in[0] ||      \
				    u < 0 || u >= (ptrdiff_t)w->in[1])        \
					continue;                             \
				z = (z * (ptrdiff_t)w->in[1] + u) *           \
				    (ptrdiff_t)w->in[2];                      \
				line_##NAME(w, x + z, weights[t],             \
					    t % w->kernel[2], line);          \
			}                                                     \
		}                                                             \
	}                                                                     \
	static void depthwise_##NAME(void *ctx, size_t begin, size_t end)     \
	{                                                                     \
		const struct depthwise *d = ctx;                              \
		const struct conv *v = d->v;                                  \
		size_t per = v->out_channels / v->groups;                     \
		for (size_t i = begin; i < end; i++) {                        \
			size_t m = i % v->out_channels;                       \
			size_t n = i / v->out_channels;                       \
			const T *x = d->x, *weights = d->weights;             \
			const T *bias = d->bias;                              \
			T *y = d->y;                                          \
			plane_##NAME(v,                                       \
				     x + (n * v->in_channels + m / per) *     \
						     window_in(&v->w),        \
				     weights + m * window_taps(&v->w),        \
				     bias ? bias[m] : 0,                      \
				     y + i * window_out(&v->w));              \
		}                                                             \
	}
DEPTHWISE(F32, float)
DEPTHWISE(F64, double)

void conv_run(const struct kernel *k, const struct conv *v, const void *x,
	      const void *weights, const void *bias, void *y, void *scratch)
{
	size_t size = num_size(v->type), out = window_out(&v->w);
	size_t x_step = v->in_channels / v->groups * window_in(&v->w) * size;
	size_t w_step = v->out_channels / v->groups * rows_of(v) * size;
	size_t y_step = v->out_channels / v->groups * out * size;
	struct depthwise d = {v, x, weights, bias, y};

	if (out == 0)
		return;
	if (is_depthwise(v)) {
		size_t work = out * window_taps(&v->w);

		kernel_for(k, v->batch * v->out_channels, 65536 / work + 1,
			   v->type == NUM_F32 ? depthwise_F32 : depthwise_F64,
			   &d);
		return;
	}
	if (bias)
		start_with_bias(k, v, bias, y, out);
	for (size_t i = 0; i < v->batch * v->groups; i++) {
		size_t group = i % v->groups;

		if (kernel_stopped(k))
			return;
		run_group(k, v, (const char *)x + i * x_step,
			  (const char *)weights + group * w_step,
			  (char *)y + i * y_step, scratch, bias != NULL);
	}
}

/* ---- the transpose ---- */
size_t conv_transpose_scratch(const struct conv *v)
{
	size_t rows = v->out_channels / v->groups * window_taps(&v->w);
	size_t all = window_out(&v->w), n = rows ? BUFFER / rows : all;

	n = n < COLUMNS_MIN ? COLUMNS_MIN : n;
	return rows * (n < all ? n : all);
}

struct scatter {
	const struct conv *v;
	const void *columns;
	void *y; /* of one batch and group */
	size_t first, n;
};

/* Adds what the columns hold for one output channel. */
#define SCATTER(NAME, T)                                                     \
	static void scatter_##NAME(void *ctx, size_t begin, size_t end)      \
	{                                                                    \
		const struct scatter *s = ctx;                               \
		const struct window *w = &s->v->w;                           \
		size_t taps = window_taps(w);                                \
		for (size_t row = begin * taps; row < end * taps; row++) {   \
			const T *col = (const T *)s->columns + row * s->n;   \
			T *y = (T *)s->y + row / taps * window_in(w);        \
			size_t t = row % taps;                               \
			for (size_t i = 0; i < s->n; i++) {                  \
				size_t o = s->first + i;                     \
				size_t line = o / w->out[2];                 \
				ptrdiff_t a = window_at(                     \
					w, 0, line / w->out[1],              \
					t / (w->kernel[1] * w->kernel[2]));  \
				ptrdiff_t b = window_at(                     \
					w, 1, line % w->out[1],              \
					t / w->kernel[2] % w->kernel[1]);    \
				ptrdiff_t c = window_at(w, 2, o % w->out[2], \
							t % w->kernel[2]);   \
				if (a < 0 || a >= (ptrdiff_t)w->in[0] ||     \
				    b < 0 || b >= (ptrdiff_t)w->in[1] ||     \
				    c < 0 || c >= (ptrdiff_t)w->in[2])       \
					continue;                            \
				y[(a * (ptrdiff_t)w->in[1] + b) *            \
					  (ptrdiff_t)w->in[2] +              \
				  c] += col[i];                              \
			}                                                    \
		}                                                            \
	}
SCATTER(F32, float)
SCATTER(F64, double)

static void transpose_group(const struct kernel *k, const struct conv *v,
			    const char *x, const char *weights, char *y,
			    void *scratch)
{
	size_t all = window_out(&v->w), size = num_size(v->type);
	size_t channels = v->out_channels / v->groups;
	size_t rows = channels * window_taps(&v->w);
	size_t step = conv_transpose_scratch(v) / rows;
	struct gemm g = {.type = v->type,
			 .batch = 1,
			 .alpha = 1,
			 .trans_a = true,
			 .m = rows,
			 .lda = rows,
			 .k = v->in_channels / v->groups,
			 .ldb = all};
	struct scatter s = {.v = v, .columns = scratch, .y = y};

	for (size_t at = 0; at < all && !kernel_stopped(k); at += step) {
		s.first = at;
		s.n = g.n = g.ldc = all - at < step ? all - at : step;
		gemm_run(k, &g, weights, x + at * size, scratch);
		kernel_for(k, channels, 1,
			   v->type == NUM_F32 ? scatter_F32 : scatter_F64, &s);
	}
}

void conv_transpose_run(const struct kernel *k, const struct conv *v,
			const void *x, const void *weights, const void *bias,
			void *y, void *scratch)
{
	size_t size = num_size(v->type), in = window_in(&v->w);
	size_t channels = v->in_channels / v->groups;
	size_t x_step = channels * window_out(&v->w) * size;
	size_t rows = v->out_channels / v->groups * window_taps(&v->w);
	size_t y_step = v->out_channels / v->groups * in * size;

	if (bias)
		start_with_bias(k, v, bias, y, in);
	else
		memset(y, 0, v->batch * v->groups * y_step);
	for (size_t i = 0; i < v->batch * v->groups && rows > 0; i++) {
		if (kernel_stopped(k))
			return;
		transpose_group(k, v, (const char *)x + i * x_step,
				(const char *)weights +
					i % v->groups * channels * rows * size,
				(char *)y + i * y_step, scratch);
	}
}
