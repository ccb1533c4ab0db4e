/* SPDX-License-Identifier: MIT */
/* signal - windows, DFT, STFT, MelWeightMatrix. */
#include <math.h>

#include "kernel/dft.h"
#include "op/impl.h"
#include "op/reduce.h"

#define PI 3.14159265358979323846

/* ---- windows ---- */
static enum dtype window_type(const struct op_call *c)
{
	return dtype_by_onnx(op_attr_int(c, "output_datatype", 1));
}

static int window_length(struct op_call *c, int64_t *n, struct err *e)
{
	int rc = op_scalar_int(c, 0, 0, n, e);

	if (rc == 0 && *n < 0)
		return op_invalid(c, e, "size %lld", (long long)*n);
	return rc;
}

static int infer_window(struct op_call *c, struct err *e)
{
	int64_t n = DIM_UNKNOWN;
	struct shape s;
	int rc = window_length(c, &n, e);

	if (rc < 0)
		return rc;
	s = shape_of(1, &(int64_t){rc > 0 ? DIM_UNKNOWN : n});
	op_out(c, 0, window_type(c), &s);
	return 0;
}

enum window { WINDOW_HANN, WINDOW_HAMMING, WINDOW_BLACKMAN };

/* Sums of cosines: a0 - a1 cos(w) + a2 cos(2w). */
static double window_value(enum window kind, double w)
{
	static const double terms[3][3] = {
		[WINDOW_HANN] = {0.5, 0.5, 0},
		[WINDOW_HAMMING] = {25.0 / 46, 21.0 / 46, 0},
		[WINDOW_BLACKMAN] = {0.42, 0.5, 0.08},
	};
	const double *a = terms[kind];

	return a[0] - a[1] * cos(w) + a[2] * cos(2 * w);
}

static int eval_window(struct op_call *c, struct err *e)
{
	bool periodic = op_attr_int(c, "periodic", 1) != 0;
	struct shape s;
	int64_t n;
	double period;
	void *out;
	int rc = window_length(c, &n, e);

	if (rc < 0)
		return rc;
	s = shape_of(1, &n);
	rc = op_alloc_as(c, 0, window_type(c), DTYPE_F64, &s, &out, e);
	period = (double)(periodic ? n : n - 1);
	for (int64_t i = 0; rc == 0 && i < n; i++)
		((double *)out)[i] =
			n == 1 ? 1
			       : window_value((enum window)c->op->arg,
					      2 * PI * (double)i / period);
	return rc;
}

/* ---- DFT ---- */
/* Opset 17 has axis as an attribute, 20 as input 2. */
static int dft_axis(struct op_call *c, int32_t rank, int32_t *axis,
		    struct err *e)
{
	int64_t given = op_attr_int(c, "axis", 1);
	int rc = 0;

	if (c->op->max_in == 3)
		rc = op_scalar_int(c, 2, -2, &given, e);
	if (rc == 0)
		rc = op_axis(c, given, rank, axis, e);
	if (rc == 0 && *axis == rank - 1)
		return op_invalid(c, e, "the axis of the parts");
	return rc;
}

/* Number of points, and of results; 1 when not known yet. */
static int dft_lengths(struct op_call *c, int64_t dim, int64_t *n, int64_t *m,
		       struct err *e)
{
	bool inverse = op_attr_int(c, "inverse", 0) != 0;
	bool onesided = op_attr_int(c, "onesided", 0) != 0;
	int64_t usual = inverse && onesided ? 2 * (dim - 1) : dim;
	int rc = op_scalar_int(c, 1, usual, n, e);

	if (rc != 0)
		return rc;
	if (*n < 0 || *n > INT32_MAX)
		return op_invalid(c, e, "length %lld", (long long)*n);
	*m = onesided && !inverse ? *n / 2 + 1 : *n;
	return 0;
}

static int infer_dft(struct op_call *c, struct err *e)
{
	bool inverse = op_attr_int(c, "inverse", 0) != 0;
	bool onesided = op_attr_int(c, "onesided", 0) != 0;
	struct shape s = *op_shape(c, 0);
	int64_t n = 0, m = DIM_UNKNOWN;
	int32_t axis;
	int rc = op_need_rank(c, 0, 2, SHAPE_RANK_MAX, e);

	if (rc == 0 && s.rank >= 0) {
		rc = dft_axis(c, s.rank, &axis, e);
		if (rc < 0)
			return rc;
		s.dims[s.rank - 1] = inverse && onesided ? 1 : 2;
		if (rc == 0 && s.dims[axis] != DIM_UNKNOWN)
			rc = dft_lengths(c, s.dims[axis], &n, &m, e);
		for (int32_t i = 0; i < s.rank - 1 && rc > 0; i++)
			s.dims[i] = DIM_UNKNOWN;
		if (rc == 0)
			s.dims[axis] = m;
	}
	if (rc >= 0)
		op_out(c, 0, c->in[0].dtype, &s);
	return rc < 0 ? rc : 0;
}

static int eval_dft(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct dft_plan p = {
		.inverse = op_attr_int(c, "inverse", 0) != 0,
		.half_in = op_attr_int(c, "inverse", 0) &&
			   op_attr_int(c, "onesided", 0),
	};
	int64_t n = 0, m = 0;
	struct shape s;
	const void *x;
	int32_t axis;
	void *out, *scratch;
	int rc = infer_dft(c, e);

	if (rc == 0)
		rc = dft_axis(c, in->rank, &axis, e);
	if (rc == 0)
		rc = dft_lengths(c, in->dims[axis], &n, &m, e);
	if (rc == 0)
		rc = op_data_as(c, 0, DTYPE_F64, &x, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	p.parts_in = (size_t)in->dims[in->rank - 1];
	if (p.parts_in != 1 && p.parts_in != 2)
		return op_invalid(c, e, "%zu parts", p.parts_in);
	p.parts_out = (size_t)s.dims[s.rank - 1];
	p.n = (size_t)n;
	p.m = (size_t)m;
	p.dim = (size_t)in->dims[axis];
	p.outer = shape_span(in, 0, axis);
	p.inner = shape_span(in, axis + 1, in->rank - 1);
	rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	if (rc == 0)
		rc = op_temp_array(c, dft_scratch(&p), sizeof(double), &scratch,
				   e);
	if (rc == 0)
		dft_run(&c->env->kernel, &p, x, out, scratch);
	return rc;
}

/* ---- STFT ---- */
struct stft {
	int64_t step, length, frames, bins;
	bool onesided;
};

static int stft_plan(struct op_call *c, struct stft *t, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	int64_t usual = op_has(c, 2) && op_shape(c, 2)->rank == 1
				? op_shape(c, 2)->dims[0]
				: 0;
	int rc = op_need_rank(c, 0, 2, 3, e);

	if (rc == 0)
		rc = op_scalar_int(c, 1, 0, &t->step, e);
	if (rc == 0)
		rc = op_scalar_int(c, 3, usual, &t->length, e);
	if (rc != 0)
		return rc;
	if (!shape_is_known(x) || t->length == DIM_UNKNOWN)
		return 1;
	t->onesided = op_attr_int(c, "onesided", 1) != 0;
	if (t->step < 1 || t->length < 1 || t->length > x->dims[1])
		return op_invalid(c, e, "frames of %lld every %lld",
				  (long long)t->length, (long long)t->step);
	t->frames = (x->dims[1] - t->length) / t->step + 1;
	t->bins = t->onesided ? t->length / 2 + 1 : t->length;
	return 0;
}

static int infer_stft(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct stft t;
	struct shape s;
	int rc = stft_plan(c, &t, e);

	if (rc < 0)
		return rc;
	s = shape_of(4, (int64_t[]){x->rank > 0 ? x->dims[0] : DIM_UNKNOWN,
				    rc ? DIM_UNKNOWN : t.frames,
				    rc ? DIM_UNKNOWN : t.bins, 2});
	op_out(c, 0, c->in[0].dtype, &s);
	return 0;
}

/* All frames, cut out and multiplied with the window. */
static int stft_frames(struct op_call *c, const struct stft *t, size_t parts,
		       void **out, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	const void *x, *w;
	size_t length = (size_t)t->length, k = 0;
	int64_t n;
	int rc = op_data_as(c, 0, DTYPE_F64, &x, e);

	if (rc == 0)
		rc = op_data_as(c, 2, DTYPE_F64, &w, e);
	if (rc == 0 && op_has(c, 2) && op_nelems(c, 2) != length)
		return op_invalid(c, e, "the window does not fit");
	if (rc == 0)
		rc = op_mul(c, s->dims[0] * t->frames, t->length, &n, e);
	if (rc == 0)
		rc = op_temp_array(c, (uint64_t)n, parts * sizeof(double), out,
				   e);
	if (rc < 0)
		return rc;
	for (int64_t f = 0; f < s->dims[0] * t->frames; f++) {
		int64_t at =
			f / t->frames * s->dims[1] + f % t->frames * t->step;
		const double *from = (const double *)x + (size_t)at * parts;

		for (size_t i = 0; i < length * parts; i++)
			((double *)*out)[k++] =
				from[i] *
				(op_has(c, 2) ? ((const double *)w)[i / parts]
					      : 1);
	}
	return 0;
}

static int eval_stft(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct dft_plan p = {.inner = 1, .parts_out = 2};
	struct stft t;
	struct shape s;
	void *frames, *out, *scratch;
	int rc = infer_stft(c, e);

	if (rc == 0)
		rc = stft_plan(c, &t, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	p.parts_in = x->rank == 3 ? (size_t)x->dims[2] : 1;
	if (p.parts_in != 1 && p.parts_in != 2)
		return op_invalid(c, e, "%zu parts", p.parts_in);
	p.outer = (size_t)(s.dims[0] * s.dims[1]);
	p.n = p.dim = (size_t)t.length;
	p.m = (size_t)t.bins;
	rc = stft_frames(c, &t, p.parts_in, &frames, e);
	if (rc == 0)
		rc = op_alloc_as(c, 0, c->in[0].dtype, DTYPE_F64, &s, &out, e);
	if (rc == 0)
		rc = op_temp_array(c, dft_scratch(&p), sizeof(double), &scratch,
				   e);
	if (rc == 0)
		dft_run(&c->env->kernel, &p, frames, out, scratch);
	return rc;
}

/* ---- MelWeightMatrix ---- */
static double mel_of(double hz)
{
	return 2595 * log10(1 + hz / 700);
}

static double hz_of(double mel)
{
	return 700 * (pow(10, mel / 2595) - 1);
}

static int infer_mel(struct op_call *c, struct err *e)
{
	int64_t bins = 0, length = 0;
	struct shape s;
	int rc = op_scalar_int(c, 0, 0, &bins, e);

	if (rc == 0)
		rc = op_scalar_int(c, 1, 0, &length, e);
	if (rc < 0)
		return rc;
	if (rc == 0 && (bins < 0 || length < 0 || bins > INT32_MAX))
		return op_invalid(c, e, "%lld bins", (long long)bins);
	s = shape_of(2, (int64_t[]){rc ? DIM_UNKNOWN : length / 2 + 1,
				    rc ? DIM_UNKNOWN : bins});
	op_out(c, 0, window_type(c), &s);
	return 0;
}

/* The spectrum's bin that edge i of nbins + 2 edges falls into. */
static int64_t mel_edge(int64_t i, int64_t nbins, const double lo_hi[2],
			double length, double rate)
{
	double lo = mel_of(lo_hi[0]), hi = mel_of(lo_hi[1]);
	double mel = lo + (double)i * (hi - lo) / (double)(nbins + 2);
	double at = floor((length + 1) * hz_of(mel) / rate);

	return !(at >= 0) ? 0 : at > 0x1p40 ? (int64_t)1 << 40 : (int64_t)at;
}

/* One filter: rises from edge to edge, and falls to the next one. */
static void mel_filter(double *out, int64_t rows, int64_t cols, int64_t col,
		       const int64_t edge[3])
{
	int64_t rise = edge[1] - edge[0], fall = edge[2] - edge[1];

	if (rise == 0 && edge[1] < rows)
		out[edge[1] * cols + col] = 1;
	for (int64_t j = edge[0]; j <= edge[1] && j < rows && rise > 0; j++)
		out[j * cols + col] = (double)(j - edge[0]) / (double)rise;
	for (int64_t j = edge[1]; j < edge[2] && j < rows && fall > 0; j++)
		out[j * cols + col] = (double)(edge[2] - j) / (double)fall;
}

static int eval_mel(struct op_call *c, struct err *e)
{
	double lo_hi[2];
	int64_t length, rate;
	struct shape s;
	void *out;
	int rc = infer_mel(c, e);

	s = c->out[0].shape;
	if (rc == 0)
		rc = op_scalar_int(c, 1, 0, &length, e);
	if (rc == 0)
		rc = op_scalar_int(c, 2, 0, &rate, e);
	for (size_t i = 0; i < 2 && rc == 0; i++)
		rc = op_scalar_float(c, 3 + i, 0, &lo_hi[i], e);
	if (rc == 0 && (rate < 1 || !(lo_hi[0] >= 0) || !(lo_hi[1] > lo_hi[0])))
		return op_invalid(c, e, "frequencies");
	if (rc == 0)
		rc = op_alloc_as(c, 0, window_type(c), DTYPE_F64, &s, &out, e);
	for (int64_t i = 0; rc == 0 && i < s.dims[1]; i++) {
		int64_t edge[3];

		for (int64_t k = 0; k < 3; k++)
			edge[k] = mel_edge(i + k, s.dims[1], lo_hi,
					   (double)length, (double)rate);
		mel_filter(out, s.dims[0], s.dims[1], i, edge);
	}
	return rc;
}

#define WINDOW(type, kind)                                                     \
	{                                                                      \
		ONNX, type, 17, 1, 1, 1, 1, 0, kind, infer_window, eval_window \
	}

const struct op ops_signal[] = {
	WINDOW("HannWindow", WINDOW_HANN),
	WINDOW("HammingWindow", WINDOW_HAMMING),
	WINDOW("BlackmanWindow", WINDOW_BLACKMAN),
	{ONNX, "DFT", 17, 1, 2, 1, 1, 0, 0, infer_dft, eval_dft},
	{ONNX, "DFT", 20, 1, 3, 1, 1, 0, 0, infer_dft, eval_dft},
	{ONNX, "STFT", 17, 2, 4, 1, 1, 0, 0, infer_stft, eval_stft},
	{ONNX, "MelWeightMatrix", 17, 5, 5, 1, 1, 0, 0, infer_mel, eval_mel},
	{0},
};
