/* SPDX-License-Identifier: MIT */
/* sample - GridSample, AffineGrid, DeformConv, Col2Im, Det. */
#include <math.h>

#include "op/impl.h"
#include "op/window.h"

#define SPATIAL_MAX 3

/* ---- GridSample ---- */
enum padding { PADDING_ZEROS, PADDING_BORDER, PADDING_REFLECTION };
enum mode { MODE_NEAREST, MODE_LINEAR, MODE_CUBIC };

struct grid {
	enum mode mode;
	enum padding padding;
	bool align;
	int n; /* spatial extents */
	int64_t dims[SPATIAL_MAX];
};

static int infer_grid_sample(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *g = op_shape(c, 1);
	struct shape s = shape_unknown();

	if (x->rank >= 0 && g->rank >= 0) {
		if (x->rank < 3 || x->rank > 5 || g->rank != x->rank)
			return op_invalid(c, e, "ranks %d and %d", x->rank,
					  g->rank);
		s.rank = x->rank;
		s.dims[0] = x->dims[0];
		s.dims[1] = x->dims[1];
		for (int32_t i = 2; i < s.rank; i++)
			s.dims[i] = g->dims[i - 1];
	}
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static int read_grid(struct op_call *c, struct grid *g, struct err *e)
{
	const char *mode = op_attr_str(c, "mode", "linear");
	const char *pad = op_attr_str(c, "padding_mode", "zeros");
	const struct shape *x = op_shape(c, 0);

	g->mode = strcmp(mode, "nearest") == 0 ? MODE_NEAREST
		  : strcmp(mode, "cubic") == 0 || strcmp(mode, "bicubic") == 0
			  ? MODE_CUBIC
			  : MODE_LINEAR;
	g->padding = strcmp(pad, "border") == 0	      ? PADDING_BORDER
		     : strcmp(pad, "reflection") == 0 ? PADDING_REFLECTION
						      : PADDING_ZEROS;
	g->align = op_attr_int(c, "align_corners", 0) != 0;
	g->n = x->rank - 2;
	for (int i = 0; i < g->n; i++) {
		g->dims[i] = x->dims[i + 2];
		if (g->dims[i] == 0)
			return op_invalid(c, e, "nothing to sample");
	}
	return 0;
}

/* Reflects at lo and hi until inside. */
static double reflect(double x, double lo, double hi)
{
	double range = hi - lo, times;

	if (range <= 0)
		return lo;
	x = fabs(x - lo);
	times = floor(x / range);
	x -= times * range;
	return fmod(times, 2) == 0 ? x + lo : hi - x;
}

static double denormalise(const struct grid *g, int d, double v)
{
	double n = (double)g->dims[d];

	return g->align ? (v + 1) / 2 * (n - 1) : ((v + 1) * n - 1) / 2;
}

/* The element at a place of one extent, or -1 for a zero. */
static int64_t settle(const struct grid *g, int d, double x)
{
	double n = (double)g->dims[d];

	if (g->padding == PADDING_REFLECTION)
		x = g->align ? reflect(x, 0, n - 1) : reflect(x, -0.5, n - 0.5);
	if (g->padding != PADDING_ZEROS)
		x = x < 0 ? 0 : x > n - 1 ? n - 1 : x;
	return x >= 0 && x <= n - 1 ? (int64_t)x : -1;
}

/* Taps and shares along one extent; returns how many. */
static int taps_of(const struct grid *g, int d, double x, int64_t at[4],
		   double share[4])
{
	double base = floor(x), t = x - base, a = -0.75;

	if (!(x > -0x1p52 && x < 0x1p52))
		base = t = x = -2;
	if (g->mode == MODE_NEAREST) {
		at[0] = settle(g, d, nearbyint(x));
		share[0] = 1;
		return 1;
	}
	if (g->mode == MODE_LINEAR) {
		for (int k = 0; k < 2; k++)
			at[k] = settle(g, d, base + k);
		share[0] = 1 - t;
		share[1] = t;
		return 2;
	}
	for (int k = 0; k < 4; k++) {
		double u = fabs(t - (k - 1));

		at[k] = settle(g, d, base + k - 1);
		share[k] = u <= 1 ? ((a + 2) * u - (a + 3)) * u * u + 1
				  : ((a * u - 5 * a) * u + 8 * a) * u - 4 * a;
	}
	return 4;
}

/* Places are wrapped in first where linear sampling meets a border. */
static double sample(const struct grid *g, const double *x, const double *point)
{
	int64_t at[SPATIAL_MAX][4];
	double share[SPATIAL_MAX][4], sum = 0;
	int n[SPATIAL_MAX], total = 1;

	for (int d = 0; d < g->n; d++) {
		double v = denormalise(g, d, point[g->n - 1 - d]);
		double top = (double)g->dims[d] - 1;

		if (g->mode == MODE_LINEAR && g->padding == PADDING_BORDER)
			v = v < 0 ? 0 : v > top ? top : v;
		if (g->mode == MODE_LINEAR &&
		    g->padding == PADDING_REFLECTION) {
			v = g->align ? reflect(v, 0, top)
				     : reflect(v, -0.5, top + 0.5);
			v = v < 0 ? 0 : v > top ? top : v;
		}
		n[d] = taps_of(g, d, v, at[d], share[d]);
		total *= n[d];
	}
	for (int i = 0; i < total; i++) {
		int rest = i;
		int64_t index = 0;
		double w = 1;

		for (int d = 0; d < g->n && index >= 0; d++) {
			int k = rest % n[d];

			rest /= n[d];
			w *= share[d][k];
			index = at[d][k] < 0 ? -1
					     : index * g->dims[d] + at[d][k];
		}
		if (index >= 0)
			sum += w * x[index];
	}
	return sum;
}

struct sample_job {
	const struct grid *g;
	const double *x, *points;
	double *y;
	size_t channels, in, out;
};

static void sample_range(void *ctx, size_t begin, size_t end)
{
	const struct sample_job *j = ctx;

	for (size_t i = begin; i < end; i++) {
		size_t plane = i / j->out, n = plane / j->channels;

		j->y[i] = sample(j->g, j->x + plane * j->in,
				 j->points + (n * j->out + i % j->out) *
						     (size_t)j->g->n);
	}
}

static int eval_grid_sample(struct op_call *c, struct err *e)
{
	struct sample_job j;
	struct shape s;
	struct grid g;
	const void *x, *points;
	void *out;
	int rc = infer_grid_sample(c, e);

	if (rc == 0)
		rc = read_grid(c, &g, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	if (op_shape(c, 1)->dims[s.rank - 1] != g.n ||
	    op_shape(c, 1)->dims[0] != s.dims[0])
		return op_invalid(c, e, "the grid does not fit");
	rc = op_data_as(c, 0, DTYPE_F64, &x, e);
	if (rc == 0)
		rc = op_data_as(c, 1, DTYPE_F64, &points, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	if (rc < 0)
		return rc;
	j = (struct sample_job){.g = &g,
				.x = x,
				.points = points,
				.y = out,
				.channels = (size_t)s.dims[1],
				.in = shape_span(op_shape(c, 0), 2, s.rank),
				.out = shape_span(&s, 2, s.rank)};
	kernel_for(&c->env->kernel, (size_t)(s.dims[0] * s.dims[1]) * j.out,
		   1024, sample_range, &j);
	return 0;
}

/* ---- AffineGrid ---- */
static int affine_shape(struct op_call *c, struct shape *s, int64_t *size,
			struct err *e)
{
	size_t n;
	int rc = op_ints(c, 1, size, SHAPE_RANK_MAX, &n, e);

	*s = shape_unknown();
	if (rc != 0)
		return rc;
	if (n != 4 && n != 5)
		return op_invalid(c, e, "a size of %zu extents", n);
	s->rank = (int32_t)n;
	s->dims[0] = size[0];
	for (size_t i = 2; i < n; i++)
		s->dims[i - 1] = size[i];
	s->dims[n - 1] = (int64_t)n - 2;
	for (size_t i = 0; i < n; i++) {
		if (s->dims[i] < 0)
			return op_invalid(c, e, "a negative extent");
	}
	return 0;
}

static int infer_affine(struct op_call *c, struct err *e)
{
	int64_t size[SHAPE_RANK_MAX];
	struct shape s;
	int rc = affine_shape(c, &s, size, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static double place(int64_t i, int64_t n, bool align)
{
	if (align)
		return n > 1 ? -1 + 2 * (double)i / (double)(n - 1) : 0;
	return (2 * (double)i + 1) / (double)n - 1;
}

static int eval_affine(struct op_call *c, struct err *e)
{
	bool align = op_attr_int(c, "align_corners", 0) != 0;
	int64_t size[SHAPE_RANK_MAX], n;
	uint64_t points;
	struct shape s;
	const void *theta;
	double *o;
	void *out;
	int rc = affine_shape(c, &s, size, e);

	if (rc < 0)
		return rc;
	n = s.rank - 2;
	if (op_shape(c, 0)->rank != 3 || op_shape(c, 0)->dims[0] != s.dims[0] ||
	    op_shape(c, 0)->dims[1] != n || op_shape(c, 0)->dims[2] != n + 1)
		return op_invalid(c, e, "theta does not fit");
	rc = op_data_as(c, 0, DTYPE_F64, &theta, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	if (rc < 0)
		return rc;
	o = out;
	points = shape_span(&s, 1, s.rank - 1);
	for (uint64_t i = 0; i < (uint64_t)s.dims[0] * points; i++) {
		const double *t = (const double *)theta +
				  i / points * (uint64_t)(n * (n + 1));
		uint64_t rest = i % points;
		double at[4] = {0};

		/* The last extent is x, the first coordinate. */
		for (int64_t d = 0; d < n; d++) {
			int64_t dim = s.dims[n - d];

			at[d] = place((int64_t)(rest % (uint64_t)dim), dim,
				      align);
			rest /= (uint64_t)dim;
		}
		at[n] = 1;
		for (int64_t r = 0; r < n; r++) {
			double v = 0;

			for (int64_t k = 0; k <= n; k++)
				v += t[r * (n + 1) + k] * at[k];
			*o++ = v;
		}
	}
	return 0;
}

/* ---- Det ---- */
static int infer_det(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	if (s.rank >= 2)
		s.rank -= 2;
	op_out(c, 0, c->in[0].dtype, &s);
	return rc;
}

/* Gaussian elimination with the largest pivot of each column. */
static double determinant(double *m, size_t n)
{
	double det = 1;

	for (size_t k = 0; k < n; k++) {
		size_t best = k;

		for (size_t i = k + 1; i < n; i++) {
			if (fabs(m[i * n + k]) > fabs(m[best * n + k]))
				best = i;
		}
		if (m[best * n + k] == 0)
			return 0;
		for (size_t j = 0; j < n && best != k; j++) {
			double v = m[k * n + j];

			m[k * n + j] = m[best * n + j];
			m[best * n + j] = v;
		}
		det *= best != k ? -m[k * n + k] : m[k * n + k];
		for (size_t i = k + 1; i < n; i++) {
			double f = m[i * n + k] / m[k * n + k];

			for (size_t j = k; j < n; j++)
				m[i * n + j] -= f * m[k * n + j];
		}
	}
	return det;
}

static int eval_det(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	uint64_t count, n;
	const void *x;
	struct shape s;
	void *m, *out;
	int rc = infer_det(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	n = (uint64_t)in->dims[in->rank - 1];
	if (in->dims[in->rank - 2] != (int64_t)n)
		return op_invalid(c, e, "matrices that are not square");
	rc = op_count(c, &s, &count, e);
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &x, e);
	if (rc == 0)
		rc = op_temp_array(c, n * n, sizeof(double), &m, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	for (uint64_t i = 0; rc == 0 && i < count; i++) {
		if (n > 0)
			memcpy(m, (const double *)x + i * n * n,
			       n * n * sizeof(double));
		((double *)out)[i] = determinant(m, n);
		rc = op_check_stop(c, e);
	}
	return rc;
}

/* ---- Col2Im ---- */
static int col2im_plan(struct op_call *c, struct window *w, struct shape *s,
		       struct err *e)
{
	int64_t image[SHAPE_RANK_MAX], block[SHAPE_RANK_MAX];
	const struct shape *in = op_shape(c, 0);
	struct spatial sp;
	int64_t out[SHAPE_RANK_MAX], taps = 1;
	size_t n, m;
	int rc = op_need_rank(c, 0, 3, 3, e);

	*s = shape_unknown();
	if (rc == 0)
		rc = op_ints(c, 1, image, SPATIAL_MAX, &n, e);
	if (rc == 0)
		rc = op_ints(c, 2, block, SPATIAL_MAX, &m, e);
	if (rc != 0 || in->rank < 0)
		return rc ? rc : 1;
	if (n != m || n < 1)
		return op_invalid(c, e, "image and block differ in rank");
	rc = spatial_read(c, (int32_t)n, NULL, &sp, e);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (block[i] < 1 || block[i] > INT32_MAX || image[i] < 0)
			return op_invalid(c, e, "extents");
		sp.kernel[i] = block[i];
		rc = op_mul(c, taps, block[i], &taps, e);
	}
	if (rc == 0)
		rc = spatial_out(c, &sp, image, false, out, e);
	if (rc < 0)
		return rc;
	s->rank = 2 + (int32_t)n;
	s->dims[0] = in->dims[0];
	s->dims[1] =
		in->dims[1] == DIM_UNKNOWN ? DIM_UNKNOWN : in->dims[1] / taps;
	for (size_t i = 0; i < n; i++)
		s->dims[2 + i] = image[i];
	spatial_window(&sp, image, out, w);
	return 0;
}

static int infer_col2im(struct op_call *c, struct err *e)
{
	struct window w;
	struct shape s;
	int rc = col2im_plan(c, &w, &s, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static void add_column(const struct window *w, const double *col, size_t t,
		       double *image)
{
	size_t tap[3] = {t / (w->kernel[1] * w->kernel[2]),
			 t / w->kernel[2] % w->kernel[1], t % w->kernel[2]};

	for (size_t o = 0; o < window_out(w); o++) {
		size_t pos[3] = {o / w->out[2] / w->out[1],
				 o / w->out[2] % w->out[1], o % w->out[2]};
		ptrdiff_t at = 0;
		bool inside = true;

		for (int d = 0; d < 3; d++) {
			ptrdiff_t i = window_at(w, d, pos[d], tap[d]);

			inside = inside && i >= 0 && i < (ptrdiff_t)w->in[d];
			at = at * (ptrdiff_t)w->in[d] + i;
		}
		if (inside)
			image[at] += col[o];
	}
}

static int eval_col2im(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct window w;
	struct shape s;
	uint64_t n, cols, taps;
	const void *x;
	void *out;
	int rc = col2im_plan(c, &w, &s, e);

	if (rc == 0)
		rc = op_count(c, &s, &n, e);
	if (rc < 0)
		return rc;
	cols = window_out(&w);
	taps = window_taps(&w);
	if ((uint64_t)in->dims[2] != cols ||
	    (uint64_t)in->dims[1] != (uint64_t)s.dims[1] * taps)
		return op_invalid(c, e, "columns of %lld",
				  (long long)in->dims[2]);
	rc = op_data_as(c, 0, DTYPE_F64, &x, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	for (uint64_t i = 0;
	     rc == 0 && i < (uint64_t)(s.dims[0] * s.dims[1]) * taps; i++) {
		add_column(&w, (const double *)x + i * cols, i % taps,
			   (double *)out + i / taps * window_in(&w));
		rc = op_check_stop(c, e);
	}
	return rc;
}

const struct op ops_sample[] = {
	{ONNX, "GridSample", 16, 2, 2, 1, 1, 0, 0, infer_grid_sample,
	 eval_grid_sample},
	{ONNX, "AffineGrid", 20, 2, 2, 1, 1, 0, 0, infer_affine, eval_affine},
	{ONNX, "Det", 11, 1, 1, 1, 1, 0, 0, infer_det, eval_det},
	{ONNX, "Col2Im", 18, 3, 3, 1, 1, 0, 0, infer_col2im, eval_col2im},
	{0},
};
