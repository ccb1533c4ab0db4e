/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "modelfs/err.h"

#include "format/keras/window.h"
#include "wire/json.h"

size_t window_axes(const char *class)
{
	for (const char *p = class; *p; p++)
		if (*p >= '1' && *p <= '3' && p[1] == 'D')
			return (size_t)(*p - '0');
	return 0;
}

bool window_read(struct keras_call *c, struct window *w, const char *kernel)
{
	*w = (struct window){.n = window_axes(c->class)};
	w->is_first = keras_is(c, "data_format", "channels_first");
	w->is_same = keras_is(c, "padding", "same");
	if (w->n == 0 || !keras_ints(c, kernel, w->kernel, w->n, 1) ||
	    !keras_ints(c, "strides", w->strides, w->n, 1) ||
	    !keras_ints(c, "dilation_rate", w->dilations, w->n, 1))
		return false;
	for (size_t i = 0; i < w->n; i++)
		if (w->kernel[i] < 1 || w->strides[i] < 1 ||
		    w->dilations[i] < 1 || w->kernel[i] > 1 << 20 ||
		    w->dilations[i] > 1 << 20)
			return false;
	return w->is_same || keras_is(c, "padding", "valid") ||
	       keras_is(c, "padding", "causal");
}

/* ---- layouts ---- */

int window_turn(struct keras_call *c, const struct window *w, const char *what,
		bool to_first, value_id in, value_id *out, struct err *e)
{
	int64_t perm[AXES_MAX + 2] = {0};

	*out = in;
	if (w->is_first)
		return 0;
	perm[to_first ? 1 : w->n + 1] = to_first ? (int64_t)w->n + 1 : 1;
	for (size_t i = 0; i < w->n; i++)
		perm[to_first ? i + 2 : i + 1] =
			(int64_t)i + (to_first ? 1 : 2);
	return keras_transpose(c, what, in, perm, w->n + 2, out, e);
}

int window_compute(struct keras_call *c, struct window *w, struct step *s,
		   value_id bias, struct err *e)
{
	int64_t perm[AXES_MAX + 2] = {0};
	value_id v;
	struct attr a;
	struct step back = {.what = "channels_last",
			    .type = "Transpose",
			    .in = &v,
			    .nin = 1,
			    .attrs = &a,
			    .nattrs = 1};
	int rc;

	s->attrs = w->attrs;
	s->nattrs = w->nattrs;
	if (w->is_first)
		return bias == NO_VALUE ? keras_finish_active(c, s, e) : 0;
	rc = steps_inner(&c->at, s, &v, e);
	perm[w->n + 1] = 1;
	for (size_t i = 0; i < w->n; i++)
		perm[i + 1] = (int64_t)i + 2;
	if (rc == 0)
		rc = attr_set_ints(&c->at, "perm", perm, w->n + 2, &a, e);
	return rc < 0 ? rc : keras_finish_biased(c, &back, bias, e);
}

int window_ints(struct keras_call *c, struct window *w, const char *name,
		const int64_t *v, size_t n, struct err *e)
{
	return attr_set_ints(&c->at, name, v, n, &w->attrs[w->nattrs++], e);
}

/* Causal: all of the padding comes before the first step. */
static int set_padding(struct keras_call *c, struct window *w, struct err *e)
{
	int64_t pads[2] = {(w->kernel[0] - 1) * w->dilations[0], 0};

	if (keras_is(c, "padding", "causal"))
		return window_ints(c, w, "pads", pads, 2, e);
	w->attrs[w->nattrs++] =
		attr_set_text("auto_pad", w->is_same ? "SAME_UPPER" : "VALID");
	return 0;
}

int window_set(struct keras_call *c, struct window *w, bool is_pool,
	       struct err *e)
{
	int rc = set_padding(c, w, e);

	if (rc == 0)
		rc = window_ints(c, w, "strides", w->strides, w->n, e);
	if (rc == 0 && is_pool)
		rc = window_ints(c, w, "kernel_shape", w->kernel, w->n, e);
	if (rc == 0 && !is_pool)
		rc = window_ints(c, w, "dilations", w->dilations, w->n, e);
	return rc;
}
