/* SPDX-License-Identifier: MIT */
/*
 * The float32 kernels of every level this processor has, against loops in
 * double; the same bits for any number of threads, fused or not.
 */
#include <string.h>

#include "kernel/block.h"
#include "kernel/conv_block.h"
#include "kernel/conv_fast.h"
#include "kernel/depth.h"
#include "kernel/product.h"
#include "kernel/winograd.h"
#include "modelfs/dtype.h"

#include "../unit/check.h"
#include "naive.h"

static const struct finish plain = {.lo = -INFINITY, .hi = INFINITY};

/* ---- products ---- */
/* Each few panels of columns packed and multiplied alone: the same bits. */
static void check_columns(const struct product *whole, const struct pack *pack,
			  const float *a, const float *b, const float *want)
{
	size_t n = pack->n, count = product_panels(n);
	float *c = calloc(whole->m * n, sizeof(float));
	float *packed = malloc((pack_size(pack) + 1) * sizeof(float));

	for (size_t i = 0; i < count; i += 3) {
		size_t last = i + 3 < count ? i + 3 : count;
		size_t at = product_panel(n, i);
		struct product p = *whole;
		struct pack few = *pack;

		p.n = few.n = product_panel(n, last) - at;
		p.finish = finish_at(&whole->finish, 0, at, at);
		pack_run(&(struct kernel){0}, &few,
			 b + (pack->trans ? at * pack->ld : at), packed);
		product_run(&(struct kernel){0}, &p, a, packed, c + at);
	}
	CHECK_INT(memcmp(c, want, whole->m * n * sizeof(float)), 0);
	free(c);
	free(packed);
}

static void check_product(size_t m, size_t n, size_t k, bool trans)
{
	struct pool *pool = pool_new(3);
	struct kernel many = {.pool = pool}, one = {0};
	struct pack pack = {k, n, trans ? k : n, trans};
	float *a = naive_floats(m * k, 1), *b = naive_floats(n * k, 2);
	float *bias = naive_floats(n, 3);
	float *packed = malloc((pack_size(&pack) + 1) * sizeof(float));
	float *c = malloc(m * n * sizeof(float));
	float *again = malloc(m * n * sizeof(float));
	double *want = malloc(m * n * sizeof(double));
	struct product p = {.m = m,
			    .n = n,
			    .k = k,
			    .ldc = n,
			    .a_row = k,
			    .a_col = 1,
			    .batch = 1,
			    .finish = plain};

	p.finish.col_bias = bias;
	for (size_t i = 0; i < m * n; i++) {
		want[i] = (double)bias[i % n];
		for (size_t r = 0; r < k; r++)
			want[i] += (double)a[i / n * k + r] *
				   (double)(trans ? b[i % n * k + r]
						  : b[r * n + i % n]);
	}
	pack_run(&many, &pack, b, packed);
	product_run(&many, &p, a, packed, c);
	product_run(&one, &p, a, packed, again);
	CHECK_INT(naive_differ(c, want, m * n, k), 0);
	CHECK_INT(memcmp(c, again, m * n * sizeof(float)), 0);
	check_columns(&p, &pack, a, b, c);
	free(a);
	free(b);
	free(bias);
	free(packed);
	free(c);
	free(again);
	free(want);
	pool_free(pool);
}

static void check_products(void)
{
	static const size_t sizes[][3] = {
		{1, 1, 1},    {4, 8, 3},      {7, 49, 20},
		{13, 64, 31}, {33, 97, 64},   {128, 48, 10},
		{515, 17, 5}, {16, 200, 129}, {5, 1003, 70},
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		check_product(sizes[i][0], sizes[i][1], sizes[i][2], false);
		check_product(sizes[i][0], sizes[i][1], sizes[i][2], true);
	}
}

/* ---- convolution ---- */
typedef void run_fn(const struct kernel *k, const struct conv *v,
		    const float *x, const float *weights,
		    const struct finish *finish, float *y, float *scratch);

struct shape2 {
	size_t batch, groups, in, out, side, kernel, stride, dilation, pad;
};

static struct conv conv_of(const struct shape2 *s)
{
	size_t span = (s->kernel - 1) * s->dilation + 1;
	/* Not square: rows and columns must not be mixed up. */
	size_t rows = s->side, cols = s->side + 3;

	return (struct conv){
		.type = NUM_F32,
		.batch = s->batch,
		.groups = s->groups,
		.in_channels = s->in,
		.out_channels = s->out,
		.w = {.in = {1, rows, cols},
		      .out = {1, (rows + 2 * s->pad - span) / s->stride + 1,
			      (cols + 2 * s->pad - span) / s->stride + 1},
		      .kernel = {1, s->kernel, s->kernel},
		      .stride = {1, s->stride, s->stride},
		      .dilation = {1, s->dilation, s->dilation},
		      .pad = {0, (ptrdiff_t)s->pad, (ptrdiff_t)s->pad}}};
}

/* One result: the sum, or the greatest where there are no weights. */
static double naive_at(const struct conv *v, const float *x, const float *wt,
		       size_t i)
{
	const struct window *w = &v->w;
	size_t ci = v->in_channels / v->groups, taps = window_taps(w);
	size_t o = i % window_out(w), m = i / window_out(w) % v->out_channels;
	size_t n = i / window_out(w) / v->out_channels;
	size_t g = m / (v->out_channels / v->groups);
	double sum = wt ? 0 : -INFINITY;

	for (size_t c = 0; c < ci * taps; c++) {
		size_t t = c % taps;
		ptrdiff_t r = window_at(w, 1, o / w->out[2], t / w->kernel[2]);
		ptrdiff_t q = window_at(w, 2, o % w->out[2], t % w->kernel[2]);
		size_t plane = n * v->in_channels + g * ci + c / taps;
		double p;

		if (r < 0 || r >= (ptrdiff_t)w->in[1] || q < 0 ||
		    q >= (ptrdiff_t)w->in[2])
			continue;
		p = (double)x[(plane * w->in[1] + (size_t)r) * w->in[2] +
			      (size_t)q];
		if (wt)
			sum += p * (double)wt[m * ci * taps + c];
		else
			sum = p > sum ? p : sum;
	}
	return sum;
}

/* What finish says, one step after the other, each through memory. */
static void apply_apart(const struct finish *f, const struct conv *v, float *y)
{
	size_t n = window_out(&v->w);

	for (size_t i = 0; i < v->batch * v->out_channels; i++) {
		size_t c = i % v->out_channels;
		struct finish add = plain, limit = plain;

		fast_get()->affine(y + i * n, f->row_scale[c], f->row_shift[c],
				   y + i * n, n);
		add.add = f->add + i * n;
		fast_get()->finish(&add, y + i * n, y + i * n, n);
		limit.lo = f->lo;
		limit.hi = f->hi;
		fast_get()->finish(&limit, y + i * n, y + i * n, n);
	}
}

static void check_conv(const struct shape2 *s, run_fn *run, size_t scratch,
		       const float *x, const float *weights, const float *form)
{
	struct conv v = conv_of(s);
	size_t n = v.batch * v.out_channels * window_out(&v.w);
	struct pool *pool = pool_new(3);
	struct kernel many = {.pool = pool}, one = {0};
	float *y = malloc(n * sizeof(*y)), *z = malloc(n * sizeof(*z));
	float *room = malloc((scratch + 1) * sizeof(*room));
	float *add = naive_floats(n, 5);
	struct finish f = {.row_scale = naive_floats(v.out_channels, 6),
			   .row_shift = naive_floats(v.out_channels, 7),
			   .add = add,
			   .lo = 0,
			   .hi = 0.5f};
	double *want = malloc(n * sizeof(*want));

	for (size_t i = 0; i < n; i++)
		want[i] = naive_at(&v, x, weights, i);
	run(&many, &v, x, form, &plain, y, room);
	run(&one, &v, x, form, &plain, z, room);
	/* Winograd's transforms cost a digit. */
	CHECK_INT(naive_differ(y, want, n, 16 * v.in_channels), 0);
	CHECK_INT(memcmp(y, z, n * sizeof(*y)), 0);
	apply_apart(&f, &v, y);
	run(&many, &v, x, form, &f, z, room);
	CHECK_INT(memcmp(y, z, n * sizeof(*y)), 0);
	free(y);
	free(z);
	free(room);
	free(add);
	free((void *)f.row_scale);
	free((void *)f.row_shift);
	free(want);
	pool_free(pool);
}

/* Those that want their weights in another form. */
static const struct formed {
	bool (*has)(const struct conv *v);
	size_t (*form_size)(const struct conv *v);
	void (*form)(const struct kernel *k, const struct conv *v,
		     const float *weights, float *form);
	size_t (*scratch)(const struct kernel *k, const struct conv *v);
	run_fn *run;
	/* Takes blocks; NULL: knows none.  Makes them, if any. */
	bool (*takes)(const struct conv *v);
	bool always_makes;
} formed[] = {
	{depth_has, depth_form_size, depth_form, depth_scratch, depth_run,
	 depth_takes, false},
	{winograd_has, winograd_form_size, winograd_form, winograd_scratch,
	 winograd_run, winograd_has, true},
	{conv_block_has, conv_block_form_size, conv_block_form,
	 conv_block_scratch, conv_block_run, conv_block_takes, true},
};

/* ---- blocks ---- */
static float *packed(const struct kernel *k, const struct images *i,
		     const float *x)
{
	float *b = malloc(block_size(i) * sizeof(*b));

	block_pack(k, i, x, b);
	return b;
}

/* The same bits, whichever of x and y are blocks. */
static void check_blocks(const struct conv *plain_conv, const struct formed *w,
			 const float *x, const float *form)
{
	struct conv v = *plain_conv;
	struct images in = {v.batch, v.in_channels, window_in(&v.w)};
	struct images out = {v.batch, v.out_channels, window_out(&v.w)};
	size_t n = v.batch * v.out_channels * window_out(&v.w);
	struct pool *pool = pool_new(2);
	struct kernel k = {.pool = pool};
	float *add = naive_floats(n, 8), *bias = naive_floats(n, 9);
	float *want = malloc(n * sizeof(*want)),
	      *got = malloc(n * sizeof(*got));
	float *y = malloc((block_size(&out) + 1) * sizeof(*y));
	float *bx = packed(&k, &in, x), *badd = packed(&k, &out, add);

	for (int way = 0; way < 4; way++) {
		struct finish f = {.row_bias = bias, .lo = 0, .hi = 0.5f};
		float *room;

		v.x_blocked = way & 1;
		v.y_blocked = way & 2;
		if (v.x_blocked && !w->takes(&v))
			continue;
		if (v.y_blocked && !w->always_makes && !w->takes(&v))
			continue;
		f.add = v.y_blocked ? badd : add;
		room = malloc((w->scratch(&k, &v) + 1) * sizeof(*room));
		w->run(&k, &v, v.x_blocked ? bx : x, form, &f, y, room);
		if (v.y_blocked)
			block_unpack(&k, &out, y, got);
		else
			memcpy(got, y, n * sizeof(*got));
		if (way == 0)
			memcpy(want, got, n * sizeof(*got));
		CHECK_INT(memcmp(want, got, n * sizeof(*got)), 0);
		free(room);
	}
	free(add);
	free(bias);
	free(want);
	free(got);
	free(y);
	free(bx);
	free(badd);
	pool_free(pool);
}

static void check_shape(const struct shape2 *s)
{
	struct conv v = conv_of(s);
	struct pool *pool = pool_new(3);
	struct kernel k = {.pool = pool};
	float *x = naive_floats(v.batch * v.in_channels * window_in(&v.w), 1);
	float *w = naive_floats(v.in_channels / v.groups * v.out_channels *
					window_taps(&v.w),
				2);

	if (depth_has(&v)) {
		check_conv(s, depth_run, depth_scratch(&k, &v), x, NULL, NULL);
	} else {
		CHECK(conv_fast_has(&v));
		check_conv(s, conv_fast_run, conv_fast_scratch(&k, &v), x, w,
			   w);
	}
	for (size_t i = 0; i < sizeof(formed) / sizeof(formed[0]); i++) {
		float *form;

		if (!formed[i].has(&v))
			continue;
		form = malloc(formed[i].form_size(&v) * sizeof(*form));
		formed[i].form(&k, &v, w, form);
		check_conv(s, formed[i].run, formed[i].scratch(&k, &v), x, w,
			   form);
		if (formed[i].takes)
			check_blocks(&v, &formed[i], x, form);
		free(form);
	}
	free(x);
	free(w);
	pool_free(pool);
}

static void check_convs(void)
{
	static const struct shape2 shapes[] = {
		/* batch, groups, in, out, side, kernel, stride, dil., pad */
		{1, 1, 3, 8, 21, 7, 2, 1, 3},
		{2, 1, 5, 9, 30, 1, 1, 1, 0},
		{1, 1, 40, 20, 7, 1, 1, 1, 0},
		{1, 1, 6, 13, 11, 3, 3, 2, 2},
		{1, 2, 8, 12, 40, 3, 2, 1, 1},
		{1, 1, 4, 4, 6, 5, 1, 1, 4},
		{2, 1, 9, 10, 13, 3, 1, 1, 1},
		{1, 1, 8, 8, 101, 3, 1, 1, 0},
		{1, 1, 70, 130, 15, 3, 1, 1, 2},
		{2, 1, 20, 50, 9, 3, 1, 1, 1},
		{1, 1, 16, 17, 40, 3, 1, 1, 2},
		{2, 1, 24, 31, 51, 3, 1, 1, 1},
		{1, 6, 6, 6, 17, 3, 1, 1, 1},
		{2, 1, 12, 70, 9, 3, 2, 1, 1},
		{2, 1, 40, 33, 5, 1, 1, 1, 0},
		{1, 1, 7, 16, 30, 1, 2, 1, 0},
		{1, 1, 5, 100, 18, 5, 1, 2, 3},
		{2, 4, 4, 8, 20, 3, 2, 1, 1},
		{1, 3, 3, 3, 25, 5, 2, 2, 3},
		{2, 21, 21, 21, 9, 3, 1, 1, 1},
		{1, 16, 16, 16, 14, 3, 2, 1, 1},
		{1, 40, 40, 40, 11, 5, 2, 2, 3},
		{1, 9, 9, 9, 70, 3, 2, 1, 1},
		{2, 1, 37, 52, 11, 1, 2, 1, 0},
		{1, 1, 33, 40, 10, 3, 2, 1, 1},
		{2, 1, 18, 130, 13, 5, 1, 2, 3},
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		check_shape(&shapes[i]);
}

/* ---- functions ---- */
static double exact(enum fast_math op, double x)
{
	switch (op) {
	case FAST_EXP:
		return exp(x);
	case FAST_TANH:
		return tanh(x);
	case FAST_ERF:
		return erf(x);
	case FAST_SIGMOID:
		return 1 / (1 + exp(-x));
	case FAST_GELU:
		return 0.5 * x * (1 + erf(x * M_SQRT1_2));
	case FAST_GELU_TANH:
		return 0.5 * x *
		       (1 + tanh(sqrt(M_2_PI) * (x + 0.044715 * x * x * x)));
	default:
		return x / (1 + exp(-x));
	}
}

static void check_math(enum fast_math op)
{
	enum { N = 4001 };
	float *x = malloc(N * sizeof(*x)), *y = malloc(N * sizeof(*y));
	size_t wrong = 0;

	for (int i = 0; i < N; i++)
		x[i] = (float)(i - N / 2) * 0.01f;
	fast_get()->math(op, x, y, N);
	for (int i = 0; i < N; i++) {
		double want = exact(op, (double)x[i]);

		wrong += !(fabs((double)y[i] - want) <=
			   4e-7 * fabs(want) + 3e-7);
	}
	CHECK_INT(wrong, 0);
	x[0] = NAN;
	x[1] = INFINITY;
	x[2] = -INFINITY;
	fast_get()->math(op, x, y, 3);
	CHECK(isnan(y[0]));
	if (op != FAST_GELU && op != FAST_GELU_TANH && op != FAST_SWISH)
		CHECK((double)y[1] == exact(op, INFINITY) &&
		      (double)y[2] == exact(op, -INFINITY));
	free(x);
	free(y);
}

static void check_rows(size_t n)
{
	float *x = naive_floats(n, 4), *y = malloc((n + 1) * sizeof(*y));
	double *want = malloc((n + 1) * sizeof(*want));
	double sum = 0, mean, variance, squares = 0;

	for (size_t i = 0; i < n; i++)
		sum += exp((double)x[i]);
	for (size_t i = 0; i < n; i++)
		want[i] = exp((double)x[i]) / sum;
	fast_get()->softmax(x, y, n);
	CHECK_INT(naive_differ(y, want, n, 4), 0);
	sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)(x[i] += 1000);
	for (size_t i = 0; i < n; i++)
		squares += ((double)x[i] - sum / (double)n) *
			   ((double)x[i] - sum / (double)n);
	fast_get()->moments(x, n, true, &mean, &variance);
	CHECK(fabs(mean - sum / (double)n) < 1e-4);
	CHECK(fabs(variance - squares / (double)n) < 1e-5);
	free(x);
	free(y);
	free(want);
}

/* All of them, there and back; and what lies between two of them. */
static void check_halves(void)
{
	const struct fast *f = fast_get();
	uint16_t *h = malloc(65536 * sizeof(*h)), *back = malloc(131072);
	float *x = malloc(65536 * sizeof(*x));
	size_t wrong = 0;

	for (size_t i = 0; i < 65536; i++)
		h[i] = (uint16_t)i;
	/* Not from the start: a part of a vector at both ends. */
	f->from_half(h + 1, x + 1, 65535);
	for (size_t i = 1; i < 65536; i++) {
		float want = half_to_float(h[i]);

		wrong += want != x[i] && !(isnan(want) && isnan(x[i]));
		x[i] = isnan(want) ? 1 : want * 1.00048828125f;
	}
	f->to_half(x + 1, back + 1, 65535);
	for (size_t i = 1; i < 65536; i++)
		wrong += back[i] != half_from_float(x[i]);
	CHECK_INT(wrong, 0);
	free(h);
	free(back);
	free(x);
}

/* Every kind of exponent, and what lies halfway between two numbers. */
static float some_float(uint32_t i)
{
	uint32_t bits = i * 2654435761u;
	float v;

	if (i % 3 == 0)
		bits = (bits & 0xffff0000u) | 0x8000u;
	if (i % 3 == 1)
		bits = (bits & 0xffffe000u) | 0x1000u;
	/* Half of them where float16 is. */
	if (i % 2)
		bits = (bits & 0x807fffffu) | (100 + bits % 50) << 23;
	memcpy(&v, &bits, sizeof(v));
	return v;
}

/* Of a NaN, which bits are set is the compiler's affair. */
static size_t count_differing(const float *x, const float *y, size_t n)
{
	size_t wrong = 0;

	for (size_t i = 0; i < n; i++)
		wrong += memcmp(&x[i], &y[i], sizeof(*x)) != 0 &&
			 !(isnan(x[i]) && isnan(y[i]));
	return wrong;
}

/* Rounded in a register: as if it had been stored in 16 bits. */
static void check_rounding(void)
{
	enum { N = 50000 };
	float *x = malloc(N * sizeof(*x)), *y = malloc(N * sizeof(*y));
	struct finish half = plain, brain = plain;
	size_t wrong = 0;

	half.round = ROUND_FLOAT16;
	brain.round = ROUND_BFLOAT16;
	for (uint32_t i = 0; i < N; i++)
		x[i] = some_float(i);
	fast_get()->finish(&half, x, y, N);
	for (uint32_t i = 0; i < N; i++) {
		float want = half_to_float(half_from_float(x[i]));

		wrong += memcmp(&want, &y[i], sizeof(want)) != 0 &&
			 !(isnan(want) && isnan(y[i]));
	}
	fast_get()->round(ROUND_FLOAT16, x, x, N);
	CHECK_INT(count_differing(x, y, N), 0);
	CHECK_INT(wrong, 0);
	wrong = 0;
	for (uint32_t i = 0; i < N; i++)
		x[i] = some_float(i);
	fast_get()->finish(&brain, x, y, N);
	for (uint32_t i = 0; i < N; i++) {
		float want = bf16_to_float(bf16_from_float(x[i]));

		wrong += memcmp(&want, &y[i], sizeof(want)) != 0 &&
			 !(isnan(want) && isnan(y[i]));
	}
	fast_get()->round(ROUND_BFLOAT16, x, x, N);
	CHECK_INT(count_differing(x, y, N), 0);
	CHECK_INT(wrong, 0);
	free(x);
	free(y);
}

/* NaNs among them. */
static void check_bfloats(void)
{
	enum { N = 50001 };
	float *x = malloc(N * sizeof(*x));
	uint16_t *y = malloc(N * sizeof(*y));
	size_t wrong = 0, nans = 0;

	for (uint32_t i = 0; i < N; i++)
		x[i] = some_float(i);
	fast_get()->to_bfloat(x + 1, y + 1, N - 1);
	for (uint32_t i = 1; i < N; i++) {
		wrong += y[i] != bf16_from_float(x[i]);
		nans += isnan(x[i]) != 0;
	}
	CHECK_INT(wrong, 0);
	CHECK(nans > 10);
	free(x);
	free(y);
}

/* Around what lies between two integers, and beyond all of them. */
static float some_quotient(uint32_t i, float scale)
{
	float v = ((float)(int)(i * 2654435761u >> 20) - 2048 + 0.5f) * scale;

	if (i % 16 == 0)
		v *= 0x1p100f;
	for (uint32_t k = i % 5; k > 0; k--)
		v = nextafterf(v, i & 64 ? INFINITY : -INFINITY);
	return i % 1000 == 0 ? copysignf(INFINITY, v) : v;
}

static size_t check_quanta(const struct finish *f, float scale)
{
	enum { N = 3001 };
	static float x[N], y[N], q[N];
	struct finish settled = *f;
	size_t wrong = 0;

	for (uint32_t i = 0; i < N; i++)
		x[i] = some_quotient(i, scale);
	fast_get()->quantize(&f->to, x, q, N);
	finish_settle(&settled);
	CHECK(settled.is_settled == (scale >= 0x1p-80f && scale <= 0x1p80f));
	fast_get()->finish(&settled, x, y, N);
	for (uint32_t i = 0; i < N; i++) {
		float want = nearbyintf(x[i] / scale) + f->to.zero;

		want = want < f->to.lo ? f->to.lo : want;
		want = want > f->to.hi ? f->to.hi : want;
		wrong += q[i] != want;
		want = (want - f->from.zero) * f->from.scale;
		wrong += memcmp(&y[i], &want, sizeof(want)) != 0;
	}
	return wrong;
}

/* A quotient is what a division gives, for every kind of scale. */
static void check_integers(void)
{
	size_t wrong = 0;
	float scale;

	for (uint32_t i = 0; i < 600; i++) {
		uint32_t bits = i * 2654435761u >> 9;
		struct finish f = plain;

		bits |= (20 + i % 214) << 23;
		bits |= i % 7 == 0 ? 0x7fffff : 0;
		memcpy(&scale, &bits, sizeof(scale));
		f.requantise = true;
		f.to = quantum_of(scale, (float)(i % 256));
		f.from = quantum_of(i % 2 ? scale : 0.3f, (float)(i % 254));
		f.to.lo = 0;
		f.to.hi = 255;
		wrong += check_quanta(&f, scale);
	}
	CHECK_INT(wrong, 0);
}

static void check_level(const char *name)
{
	if (!fast_force(name))
		return;
	check_rounding();
	check_bfloats();
	check_integers();
	check_products();
	check_convs();
	if (fast_get()->from_half)
		check_halves();
	for (int op = 0; op < FAST_MATH_COUNT; op++)
		check_math((enum fast_math)op);
	for (size_t n = 1; n < 3000; n = n * 3 + 1)
		check_rows(n);
}

TEST(portable)
{
	CHECK(fast_force("portable"));
	check_level("portable");
}

TEST(avx2)
{
	check_level("avx2");
}

TEST(avx512)
{
	check_level("avx512");
}

TEST(unknown_level)
{
	CHECK(!fast_force("abacus"));
}

int main(void)
{
	RUN(portable);
	RUN(avx2);
	RUN(avx512);
	RUN(unknown_level);
	return check_result();
}
