/* SPDX-License-Identifier: MIT */
#include "op/window.h"

#include "op/impl.h"

/* Larger ones make no sense and could make sums of them wrap. */
#define ATTR_MAX ((int64_t)1 << 31)

static int read_list(const struct op_call *c, const char *name, int32_t n,
		     int64_t least, int64_t *out, struct err *e)
{
	const int64_t *v;
	size_t count;

	if (!op_attr_ints(c, name, &v, &count) || count == 0)
		return 0;
	if (count != (size_t)n)
		return op_invalid(c, e, "%zu %s", count, name);
	for (int32_t i = 0; i < n; i++) {
		if (v[i] < least || v[i] > ATTR_MAX)
			return op_invalid(c, e, "%s of %lld", name,
					  (long long)v[i]);
		out[i] = v[i];
	}
	return 0;
}

static int read_pads(const struct op_call *c, struct spatial *s, struct err *e)
{
	int64_t pads[2 * SHAPE_RANK_MAX] = {0};
	const char *mode = op_attr_str(c, "auto_pad", "NOTSET");
	int rc;

	s->pad = strcmp(mode, "SAME_UPPER") == 0   ? AUTO_UPPER
		 : strcmp(mode, "SAME_LOWER") == 0 ? AUTO_LOWER
		 : strcmp(mode, "VALID") == 0	   ? AUTO_VALID
						   : AUTO_NONE;
	rc = read_list(c, "pads", 2 * s->n, -ATTR_MAX, pads, e);
	for (int32_t i = 0; i < s->n && s->pad == AUTO_NONE; i++) {
		s->begin[i] = pads[i];
		s->end[i] = pads[i + s->n];
	}
	return rc;
}

int spatial_read(const struct op_call *c, int32_t n,
		 const struct shape *weights, struct spatial *out,
		 struct err *e)
{
	struct spatial s = {.n = n};
	int rc;

	for (int32_t i = 0; i < n; i++) {
		s.kernel[i] = weights && weights->rank == n + 2
				      ? weights->dims[i + 2]
				      : DIM_UNKNOWN;
		s.stride[i] = s.dilation[i] = 1;
	}
	rc = read_list(c, "kernel_shape", n, 1, s.kernel, e);
	if (rc == 0)
		rc = read_list(c, "strides", n, 1, s.stride, e);
	if (rc == 0)
		rc = read_list(c, "dilations", n, 1, s.dilation, e);
	if (rc == 0)
		rc = read_pads(c, &s, e);
	for (int32_t i = 0; i < n && rc == 0; i++) {
		if (weights && weights->rank == n + 2 &&
		    weights->dims[i + 2] != DIM_UNKNOWN &&
		    weights->dims[i + 2] != s.kernel[i])
			rc = op_invalid(c, e, "kernel_shape");
		if (s.kernel[i] > ATTR_MAX)
			rc = op_invalid(c, e, "kernel_shape");
	}
	if (rc == 0)
		*out = s;
	return rc;
}

/* SAME: as many outputs as strides fit into the input. */
static void same_pads(struct spatial *s, int32_t i, int64_t in, int64_t out,
		      int64_t extent)
{
	int64_t need = (out - 1) * s->stride[i] + extent - in;

	need = need > 0 ? need : 0;
	s->begin[i] = s->pad == AUTO_UPPER ? need / 2 : need - need / 2;
	s->end[i] = need - s->begin[i];
}

int spatial_out(const struct op_call *c, struct spatial *s, const int64_t *in,
		bool ceil, int64_t *out, struct err *e)
{
	for (int32_t i = 0; i < s->n; i++) {
		int64_t extent, span, n;

		out[i] = DIM_UNKNOWN;
		if (in[i] == DIM_UNKNOWN || s->kernel[i] == DIM_UNKNOWN)
			continue;
		if (in[i] > INT64_MAX / 8)
			return op_invalid(c, e, "extent %lld",
					  (long long)in[i]);
		extent = s->kernel[i] > 0
				 ? (s->kernel[i] - 1) * s->dilation[i] + 1
				 : 0;
		if (s->pad == AUTO_UPPER || s->pad == AUTO_LOWER) {
			out[i] = (in[i] + s->stride[i] - 1) / s->stride[i];
			same_pads(s, i, in[i], out[i], extent);
			continue;
		}
		span = in[i] + s->begin[i] + s->end[i] - extent;
		if (span < 0)
			return op_invalid(c, e, "a window of %lld on %lld",
					  (long long)extent, (long long)in[i]);
		n = span / s->stride[i] + 1;
		/* A window beyond the input and its front padding is none. */
		if (ceil && span % s->stride[i] != 0 &&
		    n * s->stride[i] < in[i] + s->begin[i])
			n++;
		out[i] = n;
	}
	return 0;
}

void spatial_window(const struct spatial *s, const int64_t *in,
		    const int64_t *out, struct window *w)
{
	int32_t skip = 3 - s->n;

	for (int32_t d = 0; d < 3; d++) {
		int32_t i = d - skip;

		w->in[d] = i < 0 ? 1 : (size_t)in[i];
		w->out[d] = i < 0 ? 1 : (size_t)out[i];
		w->kernel[d] = i < 0 ? 1 : (size_t)s->kernel[i];
		w->stride[d] = i < 0 ? 1 : (size_t)s->stride[i];
		w->dilation[d] = i < 0 ? 1 : (size_t)s->dilation[i];
		w->pad[d] = i < 0 ? 0 : (ptrdiff_t)s->begin[i];
	}
}
