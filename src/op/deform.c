/* SPDX-License-Identifier: MIT */
/* deform - DeformConv: a convolution whose taps are moved, by tensors. */
#include <math.h>

#include "kernel/gemm.h"
#include "op/conv.h"
#include "op/impl.h"

struct deform {
	struct conv v; /* two spatial extents */
	size_t offset_groups;
	const float *x, *offset, *mask;
	float *columns; /* [in_channels / groups · taps][out] */
};

static int infer_deform(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = op_need_rank(c, 0, 4, 4, e);

	if (rc == 0)
		rc = conv_shape(c, op_shape(c, 0), op_shape(c, 1), &s, e);
	if (rc == 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

/* Between the elements of a plane; what lies outside is 0. */
static float sample(const float *p, size_t h, size_t w, float y, float x)
{
	float y0 = floorf(y), x0 = floorf(x), sum = 0;

	if (!(y > -1 && y < (float)h && x > -1 && x < (float)w))
		return 0;
	for (int i = 0; i < 4; i++) {
		float yy = y0 + (float)(i / 2), xx = x0 + (float)(i % 2);

		if (yy < 0 || yy >= (float)h || xx < 0 || xx >= (float)w)
			continue;
		sum += (1 - fabsf(y - yy)) * (1 - fabsf(x - xx)) *
		       p[(size_t)yy * w + (size_t)xx];
	}
	return sum;
}

struct deform_job {
	const struct deform *d;
	size_t batch, group;
};

/* One row of the columns: one channel and tap, for all outputs. */
static void deform_row(const struct deform_job *j, size_t row)
{
	const struct deform *d = j->d;
	const struct window *w = &d->v.w;
	size_t taps = window_taps(w), n = window_out(w), tap = row % taps;
	size_t channel =
		j->group * (d->v.in_channels / d->v.groups) + row / taps;
	size_t og = channel / (d->v.in_channels / d->offset_groups);
	size_t at = (j->batch * d->offset_groups + og) * taps + tap;
	const float *plane =
		d->x + (j->batch * d->v.in_channels + channel) * window_in(w);
	const float *dy = d->offset + 2 * at * n, *dx = dy + n;
	float *out = d->columns + row * n;

	for (size_t o = 0; o < n; o++) {
		float y = (float)window_at(w, 1, o / w->out[2],
					   tap / w->kernel[2]);
		float x = (float)window_at(w, 2, o % w->out[2],
					   tap % w->kernel[2]);

		out[o] =
			sample(plane, w->in[1], w->in[2], y + dy[o], x + dx[o]);
		if (d->mask)
			out[o] *= d->mask[at * n + o];
	}
}

static void deform_rows(void *ctx, size_t begin, size_t end)
{
	for (size_t row = begin; row < end; row++)
		deform_row(ctx, row);
}

static int check_extents(struct op_call *c, struct deform *d, struct err *e)
{
	uint64_t n = window_out(&d->v.w), taps = window_taps(&d->v.w);
	int64_t groups = op_attr_int(c, "offset_group", 1);
	uint64_t moved;

	if (groups < 1 || d->v.in_channels % (uint64_t)groups != 0)
		return op_invalid(c, e, "offset_group %lld", (long long)groups);
	d->offset_groups = (size_t)groups;
	if (__builtin_mul_overflow(d->v.batch * (uint64_t)groups, taps * n,
				   &moved) ||
	    op_nelems(c, 2) != 2 * moved ||
	    (op_has(c, 4) && op_nelems(c, 4) != moved) ||
	    (op_has(c, 3) && op_nelems(c, 3) != d->v.out_channels))
		return op_invalid(c, e, "offsets, mask or bias do not fit");
	return 0;
}

static void run_groups(struct op_call *c, struct deform *d, const float *w,
		       const float *bias, float *y)
{
	const struct kernel *k = &c->env->kernel;
	size_t n = window_out(&d->v.w), m = d->v.out_channels / d->v.groups;
	size_t rows = d->v.in_channels / d->v.groups * window_taps(&d->v.w);
	struct gemm g = {.type = NUM_F32,
			 .batch = 1,
			 .alpha = 1,
			 .beta = 1,
			 .m = m,
			 .n = n,
			 .k = rows,
			 .lda = rows,
			 .ldb = n,
			 .ldc = n};

	for (size_t i = 0; i < d->v.batch * d->v.groups; i++) {
		struct deform_job j = {d, i / d->v.groups, i % d->v.groups};
		float *out = y + i * m * n;

		if (kernel_stopped(k))
			return;
		for (size_t r = 0; r < m * n; r++)
			out[r] = bias ? bias[j.group * m + r / n] : 0;
		kernel_for(k, rows, 4096 / (n + 1) + 1, deform_rows, &j);
		gemm_run(k, &g, w + j.group * m * rows, d->columns, out);
	}
}

static int eval_deform(struct op_call *c, struct err *e)
{
	struct deform d = {0};
	const float *w, *bias;
	struct shape s;
	void *columns, *y;
	int rc = infer_deform(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = conv_plan(c, op_shape(c, 0), op_shape(c, 1), &d.v, e);
	if (rc == 0)
		rc = check_extents(c, &d, e);
	if (rc == 0)
		rc = op_in_f32(c, 0, &d.x, e);
	if (rc == 0)
		rc = op_in_f32(c, 1, &w, e);
	if (rc == 0)
		rc = op_in_f32(c, 2, &d.offset, e);
	if (rc == 0)
		rc = op_in_f32(c, 3, &bias, e);
	if (rc == 0)
		rc = op_in_f32(c, 4, &d.mask, e);
	if (rc == 0)
		rc = op_temp_array(c,
				   (uint64_t)(d.v.in_channels / d.v.groups) *
					   window_taps(&d.v.w),
				   window_out(&d.v.w) * sizeof(float), &columns,
				   e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F32, &s, &y, e);
	if (rc < 0)
		return rc;
	d.columns = columns;
	run_groups(c, &d, w, bias, y);
	return 0;
}

const struct op ops_deform[] = {
	{ONNX, "DeformConv", 19, 3, 5, 1, 1, 0, 0, infer_deform, eval_deform},
	{0},
};
