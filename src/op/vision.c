/* SPDX-License-Identifier: MIT */
/* vision - NonMaxSuppression, RoiAlign, MaxRoiPool, CenterCropPad, Col2Im. */
#include <math.h>

#include "kernel/copy.h"
#include "kernel/sort.h"
#include "op/impl.h"

/* ---- NonMaxSuppression ---- */
static int infer_nms(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(2, (int64_t[]){DIM_UNKNOWN, 3});

	(void)e;
	op_out(c, 0, DTYPE_I64, &s);
	return 0;
}

struct box {
	float y0, x0, y1, x1;
};

static struct box box_at(const float *b, bool centred)
{
	if (centred)
		return (struct box){b[1] - b[3] / 2, b[0] - b[2] / 2,
				    b[1] + b[3] / 2, b[0] + b[2] / 2};
	return (struct box){fminf(b[0], b[2]), fminf(b[1], b[3]),
			    fmaxf(b[0], b[2]), fmaxf(b[1], b[3])};
}

static float overlap(const struct box *a, const struct box *b)
{
	float h = fminf(a->y1, b->y1) - fmaxf(a->y0, b->y0);
	float w = fminf(a->x1, b->x1) - fmaxf(a->x0, b->x0);
	float both, all;

	if (h <= 0 || w <= 0)
		return 0;
	both = h * w;
	all = (a->y1 - a->y0) * (a->x1 - a->x0) +
	      (b->y1 - b->y0) * (b->x1 - b->x0) - both;
	return all > 0 ? both / all : 0;
}

struct nms {
	const float *boxes, *scores;
	size_t n;
	bool centred;
	int64_t most;
	double iou, least;
	bool has_least;
	int64_t *idx, *tmp;
	const struct kernel *kernel;
};

/* Keeps the best boxes of one class in idx; returns how many. */
static size_t suppress(const struct nms *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++)
		s->idx[i] = (int64_t)i;
	sort_indices(s->kernel, NUM_F32, s->scores, 1, true, s->idx, s->tmp,
		     s->n);
	for (size_t i = 0; i < s->n && (int64_t)kept < s->most; i++) {
		size_t at = (size_t)s->idx[i];
		struct box b = box_at(s->boxes + 4 * at, s->centred);
		bool keep = !s->has_least || (double)s->scores[at] > s->least;

		for (size_t k = 0; k < kept && keep; k++) {
			struct box other = box_at(
				s->boxes + 4 * (size_t)s->idx[k], s->centred);

			keep = (double)overlap(&b, &other) <= s->iou;
		}
		if (i % 64 == 0 && kernel_stopped(s->kernel))
			break;
		if (keep)
			s->idx[kept++] = (int64_t)at;
	}
	return kept;
}

static int nms_read(struct op_call *c, struct nms *s, struct err *e)
{
	int rc = op_scalar_int(c, 2, 0, &s->most, e);
	void *p;

	if (rc == 0)
		rc = op_scalar_float(c, 3, 0, &s->iou, e);
	if (rc == 0)
		rc = op_scalar_float(c, 4, 0, &s->least, e);
	if (rc == 0)
		rc = op_in_f32(c, 0, &s->boxes, e);
	if (rc == 0)
		rc = op_in_f32(c, 1, &s->scores, e);
	s->kernel = &c->env->kernel;
	s->has_least = op_has(c, 4);
	s->n = (size_t)op_shape(c, 0)->dims[1];
	s->centred = op_attr_int(c, "center_point_box", 0) != 0;
	if (rc == 0)
		rc = op_temp_array(c, s->n, 2 * sizeof(int64_t), &p, e);
	if (rc == 0) {
		s->idx = p;
		s->tmp = s->idx + s->n;
	}
	return rc;
}

/* Two passes: the first counts, the second writes. */
static int eval_nms(struct op_call *c, struct err *e)
{
	const struct shape *b = op_shape(c, 0), *sc = op_shape(c, 1);
	size_t total = 0, at = 0, classes;
	struct shape s;
	struct nms n;
	void *out = NULL;
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc == 0)
		rc = op_need_rank(c, 1, 3, 3, e);
	if (rc == 0 && (b->dims[2] != 4 || sc->dims[0] != b->dims[0] ||
			sc->dims[2] != b->dims[1]))
		return op_invalid(c, e, "boxes and scores differ");
	if (rc == 0)
		rc = nms_read(c, &n, e);
	if (rc < 0)
		return rc;
	classes = (size_t)sc->dims[1];
	for (int pass = 0; pass < 2; pass++) {
		const float *boxes = n.boxes, *scores = n.scores;

		for (size_t i = 0; i < (size_t)b->dims[0] * classes; i++) {
			struct nms one = n;
			size_t kept;

			one.boxes = boxes + i / classes * n.n * 4;
			one.scores = scores + i * n.n;
			kept = suppress(&one);
			for (size_t k = 0; k < kept && pass; k++) {
				int64_t *o = (int64_t *)out + 3 * at++;

				o[0] = (int64_t)(i / classes);
				o[1] = (int64_t)(i % classes);
				o[2] = n.idx[k];
			}
			total += pass ? 0 : kept;
			rc = op_check_stop(c, e);
			if (rc < 0)
				return rc;
		}
		if (pass == 0) {
			s = shape_of(2, (int64_t[]){(int64_t)total, 3});
			rc = op_alloc(c, 0, DTYPE_I64, &s, &out, e);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* ---- RoiAlign ---- */
static int infer_roi(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *roi = op_shape(c, 1);
	struct shape s;
	int rc = op_need_rank(c, 0, 4, 4, e);

	if (rc == 0)
		rc = op_need_rank(c, 1, 2, 2, e);
	if (rc < 0)
		return rc;
	s = shape_of(4, (int64_t[]){roi->rank < 0 ? DIM_UNKNOWN : roi->dims[0],
				    x->rank < 0 ? DIM_UNKNOWN : x->dims[1],
				    op_attr_int(c, "output_height", 1),
				    op_attr_int(c, "output_width", 1)});
	if (s.dims[2] < 1 || s.dims[3] < 1)
		return op_invalid(c, e, "output_height or output_width");
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

/* One image plane, sampled between its elements. */
struct plane {
	const double *p;
	int64_t h, w;
};

/* The four neighbours' shares; a point far outside is worth nothing. */
static bool corners(const struct plane *m, double y, double x, int64_t at[4],
		    double share[4])
{
	int64_t y0, x0, y1, x1;
	double dy, dx;

	if (!(y >= -1 && y <= (double)m->h && x >= -1 && x <= (double)m->w))
		return false;
	y = y < 0 ? 0 : y;
	x = x < 0 ? 0 : x;
	y0 = (int64_t)y;
	x0 = (int64_t)x;
	y1 = y0 + 1;
	x1 = x0 + 1;
	if (y0 >= m->h - 1) {
		y0 = y1 = m->h - 1;
		y = (double)y0;
	}
	if (x0 >= m->w - 1) {
		x0 = x1 = m->w - 1;
		x = (double)x0;
	}
	dy = y - (double)y0;
	dx = x - (double)x0;
	at[0] = y0 * m->w + x0;
	at[1] = y0 * m->w + x1;
	at[2] = y1 * m->w + x0;
	at[3] = y1 * m->w + x1;
	share[0] = (1 - dy) * (1 - dx);
	share[1] = (1 - dy) * dx;
	share[2] = dy * (1 - dx);
	share[3] = dy * dx;
	return true;
}

struct roi {
	double y, x, bin_h, bin_w;
	int64_t samples_h, samples_w;
	bool max;
};

static double roi_bin(const struct plane *m, const struct roi *r, int64_t ph,
		      int64_t pw)
{
	double sum = 0, best = 0;
	bool any = false;

	for (int64_t i = 0; i < r->samples_h * r->samples_w; i++) {
		double y = r->y + (double)ph * r->bin_h +
			   ((double)(i / r->samples_w) + 0.5) * r->bin_h /
				   (double)r->samples_h;
		double x = r->x + (double)pw * r->bin_w +
			   ((double)(i % r->samples_w) + 0.5) * r->bin_w /
				   (double)r->samples_w;
		double share[4], v = 0;
		int64_t at[4];

		if (!corners(m, y, x, at, share))
			continue;
		for (int k = 0; k < 4; k++) {
			double part = share[k] * m->p[at[k]];

			v += part;
			if (r->max && (!any || part > best)) {
				best = part;
				any = true;
			}
		}
		sum += v;
	}
	if (r->max)
		return best;
	return sum / (double)(r->samples_h * r->samples_w);
}

static struct roi roi_of(struct op_call *c, const double *box, int64_t h,
			 int64_t w)
{
	const char *mode = op_attr_str(
		c, "coordinate_transformation_mode",
		c->node->opset >= 16 ? "half_pixel" : "output_half_pixel");
	bool half = strcmp(mode, "half_pixel") == 0;
	double scale = (double)op_attr_float(c, "spatial_scale", 1);
	double shift = half ? 0.5 : 0;
	int64_t ratio = op_attr_int(c, "sampling_ratio", 0);
	double height = (box[3] - box[1]) * scale;
	double width = (box[2] - box[0]) * scale;
	struct roi r = {.y = box[1] * scale - shift,
			.x = box[0] * scale - shift};

	if (!half) {
		height = fmax(height, 1);
		width = fmax(width, 1);
	}
	r.bin_h = height / (double)h;
	r.bin_w = width / (double)w;
	r.samples_h = ratio > 0 ? ratio : (int64_t)fmin(ceil(r.bin_h), 512);
	r.samples_w = ratio > 0 ? ratio : (int64_t)fmin(ceil(r.bin_w), 512);
	r.samples_h = r.samples_h < 1 ? 1 : r.samples_h;
	r.samples_w = r.samples_w < 1 ? 1 : r.samples_w;
	r.max = strcmp(op_attr_str(c, "mode", "avg"), "max") == 0;
	return r;
}

static int eval_roi(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	const int64_t *batch;
	const void *in, *boxes;
	struct shape s;
	double *o;
	void *out;
	int rc = infer_roi(c, e);

	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	if (op_shape(c, 1)->dims[1] != 4 ||
	    op_nelems(c, 2) != (uint64_t)s.dims[0] ||
	    op_attr_int(c, "sampling_ratio", 0) > 512)
		return op_invalid(c, e, "regions");
	rc = op_indices(c, 2, x->dims[0], &batch, e);
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &in, e);
	if (rc == 0)
		rc = op_data_as(c, 1, DTYPE_F64, &boxes, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	if (rc < 0 || x->dims[2] == 0 || x->dims[3] == 0)
		return rc;
	o = out;
	for (int64_t i = 0; i < s.dims[0] * s.dims[1]; i++) {
		int64_t n = i / s.dims[1], ch = i % s.dims[1];
		struct roi r = roi_of(c, (const double *)boxes + 4 * n,
				      s.dims[2], s.dims[3]);
		struct plane m = {.h = x->dims[2], .w = x->dims[3]};

		m.p = (const double *)in +
		      (batch[n] * x->dims[1] + ch) * m.h * m.w;
		for (int64_t k = 0; k < s.dims[2] * s.dims[3]; k++) {
			*o++ = roi_bin(&m, &r, k / s.dims[3], k % s.dims[3]);
			rc = op_check_stop(c, e);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* ---- CenterCropPad ---- */
static int crop_shape(struct op_call *c, struct shape *s, struct err *e)
{
	int32_t axes[SHAPE_RANK_MAX];
	int64_t want[SHAPE_RANK_MAX];
	size_t n, count;
	int rc;

	*s = *op_shape(c, 0);
	if (s->rank < 0)
		return 1;
	rc = op_axes(c, "axes", SIZE_MAX, s->rank, axes, &n, e);
	if (rc < 0)
		return rc;
	if (n == 0) {
		n = (size_t)s->rank;
		for (size_t i = 0; i < n; i++)
			axes[i] = (int32_t)i;
	}
	rc = op_ints(c, 1, want, SHAPE_RANK_MAX, &count, e);
	if (rc < 0)
		return rc;
	if (rc == 0 && count != n)
		return op_invalid(c, e, "%zu extents", count);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && want[i] < 0)
			return op_invalid(c, e, "extent %lld",
					  (long long)want[i]);
		s->dims[axes[i]] = rc ? DIM_UNKNOWN : want[i];
	}
	return rc;
}

static int infer_crop(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = crop_shape(c, &s, e);

	if (rc < 0)
		return rc;
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

static int eval_crop(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct copy_map m = {.rank = (size_t)in->rank};
	int64_t strides[SHAPE_RANK_MAX];
	uint8_t zero[16] = {0};
	const void *src;
	struct shape s;
	void *out;
	int rc = crop_shape(c, &s, e);

	if (rc == 0)
		rc = op_elems(c, 0, &src, &m.size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, c->in[0].dtype, &s, &out, e);
	if (rc < 0 || s.rank == 0)
		return rc < 0 ? rc : op_give(c, 0, &c->in[0], e);
	m.fill = zero;
	shape_strides(in, strides);
	for (int32_t d = 0; d < s.rank; d++) {
		int64_t less = in->dims[d] - s.dims[d];
		int64_t first = less > 0 ? less / 2 : -(-less / 2);
		void *p;

		rc = op_temp_array(c, (uint64_t)s.dims[d], sizeof(int64_t), &p,
				   e);
		if (rc < 0)
			return rc;
		for (int64_t i = 0; i < s.dims[d]; i++) {
			int64_t at = i + first;

			((int64_t *)p)[i] =
				at < 0 || at >= in->dims[d] ? -1 : at;
		}
		m.map[d] = p;
		m.dims[d] = (size_t)s.dims[d];
		m.strides[d] = (size_t)strides[d];
	}
	copy_mapped(&c->env->kernel, &m, src, out);
	return 0;
}

/* ---- MaxRoiPool ---- */
static int infer_max_roi(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0), *roi = op_shape(c, 1);
	const int64_t *pooled;
	size_t n;
	struct shape s;
	int rc = op_need_rank(c, 0, 4, 4, e);

	if (rc == 0)
		rc = op_need_rank(c, 1, 2, 2, e);
	if (rc < 0)
		return rc;
	op_attr_ints(c, "pooled_shape", &pooled, &n);
	if (n != 2 || pooled[0] < 1 || pooled[1] < 1)
		return op_invalid(c, e, "pooled_shape");
	s = shape_of(4, (int64_t[]){roi->rank < 0 ? DIM_UNKNOWN : roi->dims[0],
				    x->rank < 0 ? DIM_UNKNOWN : x->dims[1],
				    pooled[0], pooled[1]});
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

/* Elements [lo, hi) of one extent that bin p of n covers. */
static void bin_range(double start, double size, int64_t p, int64_t n,
		      int64_t dim, int64_t *lo, int64_t *hi)
{
	double bin = size / (double)n;
	double a = floor((double)p * bin) + start;
	double b = ceil((double)(p + 1) * bin) + start;

	*lo = !(a >= 0) ? 0 : a > (double)dim ? dim : (int64_t)a;
	*hi = !(b >= 0) ? 0 : b > (double)dim ? dim : (int64_t)b;
}

static double max_in(const struct plane *m, const int64_t y[2],
		     const int64_t x[2])
{
	double best = y[0] < y[1] && x[0] < x[1] ? -INFINITY : 0;

	for (int64_t i = y[0]; i < y[1]; i++) {
		for (int64_t j = x[0]; j < x[1]; j++)
			best = fmax(best, m->p[i * m->w + j]);
	}
	return best;
}

static int eval_max_roi(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	double scale = (double)op_attr_float(c, "spatial_scale", 1);
	const void *in, *rois;
	struct shape s;
	double *o;
	void *out;
	int rc = infer_max_roi(c, e);

	if (rc == 0 && op_shape(c, 1)->dims[1] != 5)
		return op_invalid(c, e, "regions");
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &in, e);
	if (rc == 0)
		rc = op_data_as(c, 1, DTYPE_F64, &rois, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	o = out;
	for (int64_t i = 0; rc == 0 && i < s.dims[0] * s.dims[1]; i++) {
		const double *r = (const double *)rois + 5 * (i / s.dims[1]);
		double box[4], h, w;
		struct plane m = {.h = x->dims[2], .w = x->dims[3]};

		if (!(r[0] >= 0 && r[0] < (double)x->dims[0]))
			return op_invalid(c, e, "batch %g", r[0]);
		m.p = (const double *)in +
		      ((int64_t)r[0] * x->dims[1] + i % s.dims[1]) * m.h * m.w;
		for (int k = 0; k < 4; k++)
			box[k] = round(r[k + 1] * scale);
		h = fmax(box[3] - box[1] + 1, 1);
		w = fmax(box[2] - box[0] + 1, 1);
		for (int64_t k = 0; k < s.dims[2] * s.dims[3]; k++) {
			int64_t ys[2], xs[2];

			bin_range(box[1], h, k / s.dims[3], s.dims[2], m.h,
				  &ys[0], &ys[1]);
			bin_range(box[0], w, k % s.dims[3], s.dims[3], m.w,
				  &xs[0], &xs[1]);
			*o++ = max_in(&m, ys, xs);
		}
		rc = op_check_stop(c, e);
	}
	return rc;
}

const struct op ops_vision[] = {
	{ONNX, "NonMaxSuppression", 10, 2, 5, 1, 1, 0, 0, infer_nms, eval_nms},
	{ONNX, "RoiAlign", 10, 3, 3, 1, 1, 0, 0, infer_roi, eval_roi},
	{ONNX, "MaxRoiPool", 1, 2, 2, 1, 1, 0, 0, infer_max_roi, eval_max_roi},
	{ONNX, "CenterCropPad", 18, 2, 2, 1, 1, 0, 0, infer_crop, eval_crop},
	{0},
};
