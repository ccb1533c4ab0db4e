/* SPDX-License-Identifier: MIT */
/*
 * translate_picture - operators that change the size of images, or move
 * between their extents and their channels.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "format/tf/translate.h"

static const int64_t to_nchw[] = {0, 3, 1, 2};
static const int64_t to_nhwc[] = {0, 2, 3, 1};

static value_id turned(struct tf_chain *c, value_id v, const int64_t *perm)
{
	struct tf_link l = {.type = "Transpose", .in = {v}, .nin = 1};

	l.attrs[l.nattrs++] = tf_chain_list(c, "perm", perm, 4);
	return tf_chain(c, &l);
}

/* What l makes of channels-first values, with the channels last again. */
static int turn_back(struct tf_chain *c, const struct tf_link *l)
{
	struct tf_link last = {.type = "Transpose", .nin = 1, .nattrs = 1};

	last.in[0] = tf_chain(c, l);
	last.attrs[0] = tf_chain_list(c, "perm", to_nhwc, 4);
	return tf_chain_last(c, &last);
}

static bool is_nchw(const struct tf_make *k)
{
	const Tf__AttrValue *f = tf_attr(k->call->node, "data_format");

	return f && tf_equal(&f->s, "NCHW");
}

/* ---- sizes ---- */

struct sampling {
	const char *op, *mode;
	/* How places are counted: usually, with half pixels, by the corners */
	const char *plain, *half, *corners;
	const char *nearest[3]; /* rounding, for each of these */
};

static const struct sampling samplings[] = {
	{"ResizeBilinear",
	 "linear",
	 "asymmetric",
	 "half_pixel",
	 "align_corners",
	 {NULL, NULL, NULL}},
	{"ResizeNearestNeighbor",
	 "nearest",
	 "asymmetric",
	 "tf_half_pixel_for_nn",
	 "align_corners",
	 {"floor", "floor", "round_prefer_ceil"}},
};

/* (images, size) */
static int resize(struct tf_make *k, struct err *e)
{
	const struct sampling *s = &samplings[0];
	bool half = tf_flag(k, "half_pixel_centers");
	bool corners = tf_flag(k, "align_corners");
	static const int64_t first[] = {0}, second[] = {2};
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = "Resize", .nin = 4, .nattrs = 3};
	struct tf_link head = {.type = "Slice", .nin = 3};
	struct tf_link sizes = {.type = "Concat", .nin = 2, .nattrs = 1};
	value_id x;

	if (k->call->nin != 2 || (half && corners))
		return 0;
	if (tf_equal(&k->call->node->op, samplings[1].op))
		s = &samplings[1];
	x = turned(&c, k->call->in[0], to_nchw);
	head.in[0] = tf_chain_1(&c, "Shape", x);
	head.in[1] = tf_chain_ints(&c, first, 1);
	head.in[2] = tf_chain_ints(&c, second, 1);
	sizes.in[0] = tf_chain(&c, &head);
	sizes.in[1] = tf_chain_cast(&c, k->call->in[1], TF_ONNX_INT64);
	sizes.attrs[0] = attr_set_int("axis", 0);
	l.in[0] = x;
	l.in[1] = l.in[2] = NO_VALUE;
	l.in[3] = tf_chain(&c, &sizes);
	l.attrs[0] = attr_set_text("mode", s->mode);
	l.attrs[1] = attr_set_text("coordinate_transformation_mode",
				   corners ? s->corners
				   : half  ? s->half
					   : s->plain);
	l.attrs[2] = attr_set_text(
		"nearest_mode",
		s->nearest[0] ? s->nearest[corners ? 2 : half] : "floor");
	return turn_back(&c, &l);
}

/* ---- extents and channels ---- */

static int blocks(struct tf_make *k, struct err *e)
{
	bool spreads = tf_equal(&k->call->node->op, "DepthToSpace");
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = spreads ? "DepthToSpace" : "SpaceToDepth",
			    .nin = 1,
			    .nattrs = 1};

	l.attrs[0] = attr_set_int("blocksize", tf_int(k, "block_size", 0));
	l.in[0] = k->call->in[0];
	if (is_nchw(k))
		return tf_chain_last(&c, &l);
	l.in[0] = turned(&c, k->call->in[0], to_nchw);
	return turn_back(&c, &l);
}

/* ONNX divides alpha by the number of channels. */
static int local_response(struct tf_make *k, struct err *e)
{
	int64_t radius = tf_int(k, "depth_radius", 5), size;
	struct tf_chain c = {.k = k, .e = e};
	struct tf_link l = {.type = "LRN", .nin = 1, .nattrs = 3};
	struct step n;
	struct attr attrs[4];

	if (radius < 0 || radius > INT32_MAX)
		return 0;
	size = 2 * radius + 1;
	attrs[0] = attr_set_int("size", size);
	attrs[1] =
		attr_set_float("alpha", tf_number(k, "alpha", 1) * (float)size);
	attrs[2] = attr_set_float("beta", tf_number(k, "beta", 0.5f));
	attrs[3] = attr_set_float("bias", tf_number(k, "bias", 1));
	l.in[0] = turned(&c, k->call->in[0], to_nchw);
	n = (struct step){.what = "normalised",
			  .type = "LRN",
			  .in = l.in,
			  .nin = 1,
			  .attrs = attrs,
			  .nattrs = 4};
	if (c.rc == 0)
		c.rc = steps_inner(&k->at, &n, &l.in[0], e);
	l.type = "Transpose";
	l.attrs[0] = tf_chain_list(&c, "perm", to_nhwc, 4);
	l.nattrs = 1;
	return tf_chain_last(&c, &l);
}

static const struct tf_maker makers[] = {
	{"DepthToSpace", blocks},   {"LRN", local_response},
	{"ResizeBilinear", resize}, {"ResizeNearestNeighbor", resize},
	{"SpaceToDepth", blocks},
};

int tf_translate_picture(struct tf_make *k, struct err *e)
{
	return tf_make_with(makers, sizeof(makers) / sizeof(makers[0]), k, e);
}
