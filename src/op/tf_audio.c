/* SPDX-License-Identifier: MIT */
/*
 * tf_audio - what TensorFlow's speech models begin with: DecodeWav,
 * AudioSpectrogram, Mfcc (decode_wav_op.cc, spectrogram.cc, mfcc*.cc).
 */
#include <math.h>

#include "kernel/dft.h"
#include "modelfs/cursor.h"
#include "op/impl.h"

#define PI 3.14159265358979323846
/* Points of one transform, and samples of one file. */
#define WINDOW_MAX ((int64_t)1 << 20)
#define CHANNELS_MAX 4096

/* ---- DecodeWav(bytes) → [samples, channels], samples a second ---- */

struct wav {
	struct cursor data; /* 16 bits each */
	uint32_t rate;
	uint16_t channels;
};

/* "RIFF" size "WAVE", then pieces of a name, a size and as many bytes. */
static int read_wav(struct op_call *c, struct span bytes, struct wav *w,
		    struct err *e)
{
	struct cursor at = cursor_make((const uint8_t *)bytes.p, bytes.len, 0);
	bool is_riff = bytes.len >= 12 && memcmp(bytes.p, "RIFF", 4) == 0 &&
		       memcmp(bytes.p + 8, "WAVE", 4) == 0;
	bool has_format = false;

	if (!is_riff)
		return op_invalid(c, e, "no WAV file");
	cursor_skip(&at, 12);
	while (cursor_left(&at) >= 8) {
		const uint8_t *name = at.p;
		struct cursor piece;
		uint32_t len;

		cursor_skip(&at, 4);
		len = cursor_u32(&at);
		if (len > cursor_left(&at))
			break;
		piece = cursor_make(at.p, len, 0);
		if (memcmp(name, "fmt ", 4) == 0) {
			uint16_t format = cursor_u16(&piece);

			w->channels = cursor_u16(&piece);
			w->rate = cursor_u32(&piece);
			cursor_skip(&piece, 6);
			if (format != 1 || cursor_u16(&piece) != 16 ||
			    piece.bad || w->channels == 0)
				return op_unsupported(c, e,
						      "WAV but 16-bit PCM");
			has_format = true;
		}
		if (memcmp(name, "data", 4) == 0 && has_format) {
			w->data = piece;
			return 0;
		}
		cursor_skip(&at, (uint64_t)len + (len & 1));
	}
	return op_invalid(c, e, "a WAV file without samples");
}

static int give_samples(struct op_call *c, struct wav *w, struct err *e)
{
	int64_t have = (int64_t)(cursor_left(&w->data) / 2 / w->channels);
	int64_t want = op_attr_int(c, "desired_samples", -1);
	int64_t channels = op_attr_int(c, "desired_channels", -1);
	struct shape s;
	float *samples;
	void *out;
	int rc;

	want = want < 0 ? have : want;
	channels = channels < 1 ? w->channels : channels;
	if (channels > w->channels && w->channels != 1)
		return op_invalid(c, e, "%d channels", (int)w->channels);
	s = shape_of(2, (int64_t[]){want, channels});
	rc = op_alloc(c, 0, DTYPE_F32, &s, &out, e);
	if (rc < 0)
		return rc;
	samples = out;
	/* A single channel is repeated; what is too much is left out. */
	for (int64_t i = 0; i < want; i++) {
		float v = 0;

		for (int64_t k = 0; k < channels || k < w->channels; k++) {
			if (i < have && k < w->channels)
				v = (float)(int16_t)cursor_u16(&w->data) /
				    32768;
			if (k < channels)
				samples[i * channels + k] = v;
		}
	}
	return 0;
}

static int infer_wav(struct op_call *c, struct err *e)
{
	int64_t n = op_attr_int(c, "desired_samples", -1);
	int64_t channels = op_attr_int(c, "desired_channels", -1);
	struct shape s =
		shape_of(2, (int64_t[]){n < 0 ? DIM_UNKNOWN : n,
					channels < 1 ? DIM_UNKNOWN : channels});
	struct shape scalar = shape_of(0, NULL);

	(void)e;
	op_out(c, 0, DTYPE_F32, &s);
	op_out(c, 1, DTYPE_I32, &scalar);
	return 0;
}

static int eval_wav(struct op_call *c, struct err *e)
{
	struct shape scalar = shape_of(0, NULL);
	struct span bytes = {0};
	struct wav w = {0};
	void *rate;
	int rc;

	if (op_dtype(c, 0) != DTYPE_STRING || op_nelems(c, 0) != 1)
		return op_bad_dtype(c, 0, e);
	bytes.p = tensor_string(&c->in[0], 0, &bytes.len);
	rc = read_wav(c, bytes, &w, e);
	if (rc == 0)
		rc = give_samples(c, &w, e);
	if (rc == 0)
		rc = op_alloc(c, 1, DTYPE_I32, &scalar, &rate, e);
	if (rc == 0)
		*(int32_t *)rate = (int32_t)w.rate;
	return rc;
}

/* ---- AudioSpectrogram: [samples, channels] → [channels, frames, bins] ---- */

struct frames {
	int64_t window, stride, points;
};

static int read_frames(struct op_call *c, struct frames *f, struct err *e)
{
	f->window = op_attr_int(c, "window_size", 0);
	f->stride = op_attr_int(c, "stride", 0);
	f->points = 1;
	if (f->window < 2 || f->window > WINDOW_MAX || f->stride < 1)
		return op_invalid(c, e, "windows of %lld every %lld",
				  (long long)f->window, (long long)f->stride);
	while (f->points < f->window)
		f->points *= 2;
	return op_need_rank(c, 0, 2, 2, e);
}

static int spectrogram_shape(struct op_call *c, struct frames *f,
			     struct shape *s, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	int rc = read_frames(c, f, e);

	if (rc < 0)
		return rc;
	*s = shape_of(3,
		      (int64_t[]){DIM_UNKNOWN, DIM_UNKNOWN, f->points / 2 + 1});
	if (in->rank < 0)
		return 0;
	s->dims[0] = in->dims[1];
	if (in->dims[0] != DIM_UNKNOWN)
		s->dims[1] =
			in->dims[0] < f->window
				? 0
				: (in->dims[0] - f->window) / f->stride + 1;
	return 0;
}

static int infer_spectrogram(struct op_call *c, struct err *e)
{
	struct frames f;
	struct shape s;
	int rc = spectrogram_shape(c, &f, &s, e);

	if (rc == 0)
		op_out(c, 0, DTYPE_F32, &s);
	return rc;
}

/* One window, weighted: [points] */
static void cut_frame(const struct frames *f, const float *from, size_t step,
		      double *out)
{
	for (int64_t i = 0; i < f->window; i++)
		out[i] = (double)from[(size_t)i * step] *
			 (0.5 -
			  0.5 * cos(2 * PI * (double)i / (double)f->window));
	for (int64_t i = f->window; i < f->points; i++)
		out[i] = 0;
}

static int eval_spectrogram(struct op_call *c, struct err *e)
{
	bool squared = op_attr_int(c, "magnitude_squared", 0) != 0;
	struct dft_plan p = {
		.outer = 1, .inner = 1, .parts_in = 1, .parts_out = 2};
	struct frames f;
	struct shape s;
	const float *x;
	double *work;
	void *out, *temp;
	size_t at = 0, n;
	int rc = spectrogram_shape(c, &f, &s, e);

	if (rc == 0)
		rc = op_in_f32(c, 0, &x, e);
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_F32, &s, &out, e);
	if (rc < 0)
		return rc;
	p.dim = p.n = n = (size_t)f.points;
	p.m = n / 2 + 1;
	rc = op_temp_array(c, 3 * n + 2 + dft_scratch(&p), sizeof(double),
			   &temp, e);
	work = temp;
	for (int64_t i = 0; rc == 0 && i < s.dims[0] * s.dims[1]; i++) {
		int64_t channel = i / s.dims[1];
		size_t first = (size_t)(i % s.dims[1] * f.stride * s.dims[0] +
					channel);

		cut_frame(&f, x + first, (size_t)s.dims[0], work);
		dft_run(&c->env->kernel, &p, work, work + n, work + 3 * n + 2);
		for (size_t k = 0; k < p.m; k++) {
			double re = work[n + 2 * k], im = work[n + 2 * k + 1];
			double power = re * re + im * im;

			((float *)out)[at++] =
				(float)(squared ? power : sqrt(power));
		}
		rc = op_check_stop(c, e);
	}
	return rc;
}

/* ---- Mfcc(spectrogram, samples a second) ---- */

struct mel {
	int64_t channels, coefficients;
	size_t first, last; /* bins */
	double *edge; /* where a channel has its peak, in mel; [channels + 1] */
	double low;
	double hz_per_bin;
};

static double to_mel(double hz)
{
	return 1127 * log1p(hz / 700);
}

static int read_mel(struct op_call *c, struct mel *m, struct err *e)
{
	double from = (double)op_attr_float(c, "lower_frequency_limit", 20);
	double upto = (double)op_attr_float(c, "upper_frequency_limit", 4000);
	int64_t bins = op_shape(c, 0)->dims[2];
	double rate, step;
	void *p;
	int rc = op_scalar_float(c, 1, 0, &rate, e);

	m->channels = op_attr_int(c, "filterbank_channel_count", 40);
	m->coefficients = op_attr_int(c, "dct_coefficient_count", 13);
	if (rc < 0)
		return rc;
	if (!(rate > 0) || bins < 2 || m->channels < 1 ||
	    m->channels > CHANNELS_MAX || m->coefficients < 1 ||
	    m->coefficients > m->channels || !(from >= 0) || !(upto > from))
		return op_invalid(c, e, "%lld channels of %lld bins",
				  (long long)m->channels, (long long)bins);
	rc = op_temp_array(c, (uint64_t)m->channels + 1, sizeof(double), &p, e);
	if (rc < 0)
		return rc;
	m->edge = p;
	m->low = to_mel(from);
	step = (to_mel(upto) - m->low) / (double)(m->channels + 1);
	for (int64_t i = 0; i <= m->channels; i++)
		m->edge[i] = m->low + step * (double)(i + 1);
	m->hz_per_bin = 0.5 * rate / (double)(bins - 1);
	m->first = (size_t)fmin(1.5 + from / m->hz_per_bin, (double)bins);
	m->last = (size_t)fmin(upto / m->hz_per_bin, (double)(bins - 1));
	return 0;
}

/* What a frame holds of each channel; bins belong to two, in parts. */
static void fill_channels(const struct mel *m, const float *frame, double *out)
{
	int64_t channel = 0;

	memset(out, 0, (size_t)m->channels * sizeof(*out));
	for (size_t i = m->first; i <= m->last; i++) {
		double at = to_mel((double)i * m->hz_per_bin);
		double v = sqrt((double)frame[i]), before, part;

		while (channel < m->channels && m->edge[channel] < at)
			channel++;
		before = channel > 0 ? m->edge[channel - 1] : m->low;
		part = v * (m->edge[channel] - at) /
		       (m->edge[channel] - before);
		if (channel > 0)
			out[channel - 1] += part;
		if (channel < m->channels)
			out[channel] += v - part;
	}
}

/* The first coefficients of a cosine transform of the logarithms. */
static void transform(const struct mel *m, double *channels, float *out)
{
	double norm = sqrt(2.0 / (double)m->channels);

	for (int64_t k = 0; k < m->channels; k++)
		channels[k] = log(channels[k] < 1e-12 ? 1e-12 : channels[k]);
	for (int64_t i = 0; i < m->coefficients; i++) {
		double sum = 0;

		for (int64_t k = 0; k < m->channels; k++)
			sum += channels[k] *
			       cos((double)i * PI / (double)m->channels *
				   ((double)k + 0.5));
		out[i] = (float)(norm * sum);
	}
}

static int infer_mfcc(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc == 0 && s.rank == 3)
		s.dims[2] = op_attr_int(c, "dct_coefficient_count", 13);
	if (rc == 0 && s.rank == 3 && s.dims[2] < 1)
		return op_invalid(c, e, "%lld coefficients",
				  (long long)s.dims[2]);
	if (rc == 0)
		op_out(c, 0, DTYPE_F32, &s);
	return rc;
}

static int eval_mfcc(struct op_call *c, struct err *e)
{
	const struct shape *in = op_shape(c, 0);
	struct shape s = *in;
	struct mel m = {0};
	const float *x;
	void *out, *channels;
	int rc = op_need_rank(c, 0, 3, 3, e);

	if (rc == 0)
		rc = op_in_f32(c, 0, &x, e);
	if (rc == 0)
		rc = read_mel(c, &m, e);
	if (rc < 0)
		return rc;
	s.dims[2] = m.coefficients;
	rc = op_alloc(c, 0, DTYPE_F32, &s, &out, e);
	if (rc == 0)
		rc = op_temp_array(c, (uint64_t)m.channels, sizeof(double),
				   &channels, e);
	for (int64_t i = 0; rc == 0 && i < s.dims[0] * s.dims[1]; i++) {
		fill_channels(&m, x + i * in->dims[2], channels);
		transform(&m, channels, (float *)out + i * m.coefficients);
		rc = op_check_stop(c, e);
	}
	return rc;
}

const struct op ops_tf_audio[] = {
	{TF, "AudioSpectrogram", 1, 1, 1, 1, 1, 0, 0, infer_spectrogram,
	 eval_spectrogram},
	{TF, "DecodeWav", 1, 1, 1, 1, 2, 0, 0, infer_wav, eval_wav},
	{TF, "Mfcc", 1, 2, 2, 1, 1, 0, 0, infer_mfcc, eval_mfcc},
	{0},
};
