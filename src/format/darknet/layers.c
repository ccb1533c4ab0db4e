/* SPDX-License-Identifier: MIT */
/*
 * layers - the extents of Darknet's layers, and the parameters of each in the
 * order that the file of weights has them (Darknet's parser.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"

#include "format/darknet/darknet.h"

#define IMAGE_MAX ((int64_t)1 << 36)

/* ---- parameters ---- */

static void add_part(struct darknet_layer *l, const char *layer,
		     const char *name, const int64_t *dims, uint32_t rank)
{
	struct darknet_part *p = &l->parts[l->nparts];

	if (l->nparts == DARKNET_PARTS_MAX)
		return;
	*p = (struct darknet_part){layer, name, {0}, rank};
	memcpy(p->dims, dims, rank * sizeof(*dims));
	l->nparts++;
}

static void add_list(struct darknet_layer *l, const char *layer,
		     const char *name, int64_t n)
{
	add_part(l, layer, name, &n, 1);
}

static void add_statistics(struct darknet_layer *l, const char *layer,
			   int64_t n)
{
	add_list(l, layer, "scales", n);
	add_list(l, layer, "rolling_mean", n);
	add_list(l, layer, "rolling_variance", n);
}

static bool is_normalised(const struct darknet_layer *l)
{
	return darknet_int(l->section, "batch_normalize", 0) != 0;
}

static void add_dense(struct darknet_layer *l, const char *layer,
		      int64_t inputs, int64_t outputs)
{
	const int64_t dims[] = {outputs, inputs};

	add_list(l, layer, "bias", outputs);
	add_part(l, layer, "weight", dims, 2);
	if (is_normalised(l))
		add_statistics(l, layer, outputs);
}

/* dims: of the kernel, outputs first. */
static void add_kernel(struct darknet_layer *l, const char *layer, int64_t n,
		       const int64_t dims[4])
{
	add_list(l, layer, "bias", n);
	if (is_normalised(l) && !darknet_int(l->section, "dontloadscales", 0))
		add_statistics(l, layer, n);
	add_part(l, layer, "weight", dims, 4);
}

/* ---- extents ---- */

struct window {
	int64_t n, size, stride_x, stride_y, pad, groups, dilation;
};

static int bad_layer(const struct darknet_layer *l, struct err *e)
{
	return err_set(e, EINVAL, "a layer \"%.40s\" of impossible extents",
		       l->section->type);
}

static bool in_range(int64_t v)
{
	return v >= 1 && v <= DARKNET_EXTENT_MAX;
}

/* Numbers of an image; their products with an extent do not overflow. */
static bool is_image(int64_t w, int64_t h, int64_t c)
{
	return in_range(w) && in_range(h) && in_range(c) &&
	       w * h <= IMAGE_MAX && w * h * c <= IMAGE_MAX;
}

/* stride is stride_x and stride_y where these are not given. */
static int read_window(const struct darknet_layer *l, struct window *w,
		       struct err *e)
{
	const struct darknet_section *s = l->section;
	int64_t stride = darknet_int(s, "stride", 1);

	w->n = darknet_int(s, "filters", 1);
	w->size = darknet_int(s, "size", 1);
	w->stride_x = darknet_int(s, "stride_x", stride);
	w->stride_y = darknet_int(s, "stride_y", stride);
	w->groups = darknet_int(s, "groups", 1);
	w->dilation = darknet_int(s, "dilation", 1);
	w->pad = darknet_int(s, "padding", 0);
	if (darknet_int(s, "pad", 0))
		w->pad = w->size / 2;
	if (!in_range(w->n) || !in_range(w->size) || !in_range(w->stride_x) ||
	    !in_range(w->stride_y) || !in_range(w->groups) ||
	    !in_range(w->dilation) || !in_range(w->pad + 1) ||
	    l->c % w->groups != 0 || w->n % w->groups != 0)
		return bad_layer(l, e);
	return 0;
}

static int64_t slide(int64_t in, int64_t pads, int64_t size, int64_t stride)
{
	return in + pads < size ? 0 : (in + pads - size) / stride + 1;
}

static int convolutional(struct darknet_net *net, struct darknet_layer *l,
			 struct err *e)
{
	struct window w;
	int64_t dims[4];
	int rc = read_window(l, &w, e);

	(void)net;
	if (rc < 0)
		return rc;
	l->out_c = w.n;
	l->out_w = slide(l->w, 2 * w.pad, w.size, w.stride_x);
	l->out_h = slide(l->h, 2 * w.pad, w.size, w.stride_y);
	dims[0] = w.n;
	dims[1] = l->c / w.groups;
	dims[2] = dims[3] = w.size;
	add_kernel(l, NULL, w.n, dims);
	return 0;
}

static int deconvolutional(struct darknet_net *net, struct darknet_layer *l,
			   struct err *e)
{
	struct window w;
	int64_t dims[4];
	int rc = read_window(l, &w, e);

	(void)net;
	if (rc < 0)
		return rc;
	l->out_c = w.n;
	l->out_w = (l->w - 1) * w.stride_x + w.size - 2 * w.pad;
	l->out_h = (l->h - 1) * w.stride_y + w.size - 2 * w.pad;
	dims[0] = l->c;
	dims[1] = w.n;
	dims[2] = dims[3] = w.size;
	add_kernel(l, NULL, w.n, dims);
	return 0;
}

/* A kernel of its own in every place. */
static int local(struct darknet_net *net, struct darknet_layer *l,
		 struct err *e)
{
	struct window w;
	int64_t dims[5], pad;
	int rc = read_window(l, &w, e);

	(void)net;
	if (rc < 0)
		return rc;
	pad = darknet_int(l->section, "pad", 0) ? 0 : w.size - 1;
	l->out_c = w.n;
	l->out_w = slide(l->w, w.size - 1 - pad, w.size, w.stride_x);
	l->out_h = slide(l->h, w.size - 1 - pad, w.size, w.stride_y);
	if (!is_image(l->out_w, l->out_h, l->out_c))
		return bad_layer(l, e);
	dims[0] = l->out_w * l->out_h;
	dims[1] = w.n;
	dims[2] = l->c;
	dims[3] = dims[4] = w.size;
	add_list(l, NULL, "bias", dims[0] * w.n);
	add_part(l, NULL, "weight", dims, 5);
	return 0;
}

static int pool(struct darknet_net *net, struct darknet_layer *l, struct err *e)
{
	const struct darknet_section *s = l->section;
	struct window w;
	int64_t pads;
	int rc = read_window(l, &w, e);

	(void)net;
	if (rc < 0)
		return rc;
	w.size = darknet_int(s, "size", w.stride_x);
	pads = darknet_int(s, "padding", w.size - 1);
	if (!in_range(w.size) || !in_range(pads + 1))
		return bad_layer(l, e);
	l->out_w = slide(l->w, pads, w.size, w.stride_x);
	l->out_h = slide(l->h, pads, w.size, w.stride_y);
	if (darknet_int(s, "maxpool_depth", 0))
		l->out_c = darknet_int(s, "out_channels", 1);
	return 0;
}

static int average(struct darknet_net *net, struct darknet_layer *l,
		   struct err *e)
{
	(void)net;
	(void)e;
	l->out_w = l->out_h = 1;
	return 0;
}

static int connected(struct darknet_net *net, struct darknet_layer *l,
		     struct err *e)
{
	(void)net;
	(void)e;
	l->out_w = l->out_h = 1;
	l->out_c = darknet_int(l->section, "output", 1);
	add_dense(l, NULL, l->w * l->h * l->c, l->out_c);
	return 0;
}

static int batchnorm(struct darknet_net *net, struct darknet_layer *l,
		     struct err *e)
{
	(void)e;
	if (net->has_shifts)
		add_list(l, NULL, "bias", l->c);
	add_statistics(l, NULL, l->c);
	return 0;
}

/* An RNN, of a layer for the input, one for the state, one for the output. */
static int rnn(struct darknet_net *net, struct darknet_layer *l, struct err *e)
{
	int64_t n = darknet_int(l->section, "output", 1);
	int64_t hidden = darknet_int(l->section, "hidden", n);

	(void)net;
	if (!in_range(n) || !in_range(hidden))
		return bad_layer(l, e);
	add_dense(l, "input", l->w * l->h * l->c, hidden);
	add_dense(l, "self", hidden, hidden);
	add_dense(l, "output", hidden, n);
	l->out_w = l->out_h = 1;
	l->out_c = n;
	return 0;
}

/* A "w" sees the state, a "u" the input. */
static int gated(struct darknet_net *net, struct darknet_layer *l,
		 struct err *e)
{
	static const char *const parts[2][9] = {
		{"wz", "wr", "wh", "uz", "ur", "uh", NULL},
		{"wi", "wf", "wo", "wg", "ui", "uf", "uo", "ug", NULL}};
	bool is_lstm = strcmp(l->section->type, "lstm") == 0;
	int64_t n = darknet_int(l->section, "output", 1);

	(void)net;
	if (!in_range(n))
		return bad_layer(l, e);
	for (const char *const *p = parts[is_lstm]; *p; p++)
		add_dense(l, *p, **p == 'u' ? l->w * l->h * l->c : n, n);
	l->out_w = l->out_h = 1;
	l->out_c = n;
	return 0;
}

static int upsample(struct darknet_net *net, struct darknet_layer *l,
		    struct err *e)
{
	int64_t stride = darknet_int(l->section, "stride", 2);

	(void)net;
	if (stride < 0) { /* the other way */
		stride = -stride;
		if (!in_range(stride))
			return bad_layer(l, e);
		l->out_w = l->w / stride;
		l->out_h = l->h / stride;
		return 0;
	}
	if (!in_range(stride))
		return bad_layer(l, e);
	l->out_w = l->w * stride;
	l->out_h = l->h * stride;
	return 0;
}

static int reorg(struct darknet_net *net, struct darknet_layer *l,
		 struct err *e)
{
	int64_t stride = darknet_int(l->section, "stride", 1);

	(void)net;
	if (!in_range(stride) || stride > 4096)
		return bad_layer(l, e);
	if (darknet_int(l->section, "reverse", 0)) {
		l->out_w = l->w * stride;
		l->out_h = l->h * stride;
		l->out_c = l->c / (stride * stride);
	} else {
		l->out_w = l->w / stride;
		l->out_h = l->h / stride;
		l->out_c = l->c * stride * stride;
	}
	return 0;
}

static int crop(struct darknet_net *net, struct darknet_layer *l, struct err *e)
{
	(void)net;
	(void)e;
	l->out_w = darknet_int(l->section, "crop_width", 1);
	l->out_h = darknet_int(l->section, "crop_height", 1);
	return 0;
}

/* ---- other layers' results ---- */

bool darknet_ref(const struct darknet_net *net, const char *list, size_t i,
		 uint32_t *out)
{
	int64_t v;

	for (; list && i > 0; i--) {
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	if (!list || *list == '\0')
		return false;
	v = strtoll(list, NULL, 10);
	v += v < 0 ? (int64_t)net->nlayers : 0;
	*out = (uint32_t)v;
	return v >= 0 && v < (int64_t)net->nlayers;
}

static size_t count_refs(const char *list)
{
	size_t n = 0;

	while (list && *list) {
		n++;
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	return n;
}

/* Layers side by side, along their channels, or a part of these. */
static int route(struct darknet_net *net, struct darknet_layer *l,
		 struct err *e)
{
	const char *list = darknet_text(l->section, "layers");
	int64_t groups = darknet_int(l->section, "groups", 1), c = 0;
	size_t n = count_refs(list);
	uint32_t ref = 0;

	for (size_t i = 0; i < n; i++) {
		if (!darknet_ref(net, list, i, &ref) || c > DARKNET_EXTENT_MAX)
			return err_set(e, EINVAL, "a route to no layer");
		c += net->outs[ref][2];
	}
	if (n == 0 || !darknet_ref(net, list, 0, &ref) || groups < 1 ||
	    c % groups != 0)
		return err_set(e, EINVAL, "a route to no layer");
	l->out_w = net->outs[ref][0];
	l->out_h = net->outs[ref][1];
	l->out_c = c / groups;
	return 0;
}

static int scale_channels(struct darknet_net *net, struct darknet_layer *l,
			  struct err *e)
{
	uint32_t ref;

	if (!darknet_ref(net, darknet_text(l->section, "from"), 0, &ref))
		return err_set(e, EINVAL, "a scale of no layer");
	l->out_w = net->outs[ref][0];
	l->out_h = net->outs[ref][1];
	l->out_c = net->outs[ref][2];
	return 0;
}

/* A factor for each input, or for each channel of each. */
static int shortcut(struct darknet_net *net, struct darknet_layer *l,
		    struct err *e)
{
	const char *list = darknet_text(l->section, "from");
	const char *kind = darknet_text(l->section, "weights_type");
	int64_t n = (int64_t)count_refs(list) + 1;
	uint32_t ref;

	for (size_t i = 0; i + 1 < (size_t)n; i++)
		if (!darknet_ref(net, list, i, &ref))
			return err_set(e, EINVAL, "a shortcut of no layer");
	if (!kind || strcmp(kind, "none") == 0)
		return 0;
	if (strcmp(kind, "per_feature") == 0 || strcmp(kind, "per_layer") == 0)
		add_list(l, NULL, "weight", n);
	else
		add_part(l, NULL, "weight", (const int64_t[]){n, l->c}, 2);
	return 0;
}

static int nothing(struct darknet_net *net, struct darknet_layer *l,
		   struct err *e)
{
	(void)net;
	(void)l;
	(void)e;
	return 0;
}

/* ---- all of them ---- */

static const struct {
	const char *type;
	int (*set)(struct darknet_net *net, struct darknet_layer *l,
		   struct err *e);
} known[] = {
	{"Gaussian_yolo", nothing},
	{"activation", nothing},
	{"avg", average},
	{"avgpool", average},
	{"batchnorm", batchnorm},
	{"conn", connected},
	{"connected", connected},
	{"conv", convolutional},
	{"convolutional", convolutional},
	{"cost", nothing},
	{"crop", crop},
	{"deconv", deconvolutional},
	{"deconvolutional", deconvolutional},
	{"detection", nothing},
	{"dropout", nothing},
	{"gru", gated},
	{"l2norm", nothing},
	{"local", local},
	{"local_avgpool", pool},
	{"logistic", nothing},
	{"lrn", nothing},
	{"lstm", gated},
	{"max", pool},
	{"maxpool", pool},
	{"normalization", nothing},
	{"region", nothing},
	{"reorg", reorg},
	{"reorg3d", reorg},
	{"rnn", rnn},
	{"route", route},
	{"sam", nothing},
	{"scale_channels", scale_channels},
	{"shortcut", shortcut},
	{"soft", nothing},
	{"softmax", nothing},
	{"upsample", upsample},
	{"yolo", nothing},
};

int darknet_begin(struct arena *a, const struct darknet_cfg *cfg,
		  struct darknet_net *out, struct err *e)
{
	const struct darknet_section *s = &cfg->sections[0];
	int64_t inputs = darknet_int(s, "inputs", 1);
	int64_t dims[] = {darknet_int(s, "width", 1),
			  darknet_int(s, "height", 1),
			  darknet_int(s, "channels", inputs)};

	if (!is_image(dims[0], dims[1], dims[2]))
		return err_set(e, EINVAL, "an image of %lld x %lld x %lld",
			       (long long)dims[0], (long long)dims[1],
			       (long long)dims[2]);
	*out = (struct darknet_net){.cfg = cfg};
	out->outs = arena_array(a, cfg->n + 1u, sizeof(*out->outs));
	if (!out->outs)
		return err_nomem(e, cfg->n);
	/* What the first layer is given comes before its own. */
	memcpy(out->outs[0], dims, sizeof(dims));
	out->outs++;
	return 0;
}

int darknet_next(struct darknet_net *net, struct darknet_layer *out,
		 struct err *e)
{
	const int64_t *in = net->outs[(int64_t)net->nlayers - 1];
	const struct darknet_section *s = &net->cfg->sections[net->nlayers + 1];
	int64_t *made = net->outs[net->nlayers];
	int rc = -1;

	out->section = s;
	out->nparts = 0;
	out->w = out->out_w = in[0];
	out->h = out->out_h = in[1];
	out->c = out->out_c = in[2];
	for (size_t i = 0; rc < 0 && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(s->type, known[i].type) == 0)
			rc = (int)i;
	if (rc < 0)
		return err_set(e, EOPNOTSUPP, "layer %u: \"%.40s\"",
			       net->nlayers, s->type);
	rc = known[rc].set(net, out, e);
	if (rc == 0 && !is_image(out->out_w, out->out_h, out->out_c))
		rc = bad_layer(out, e);
	if (rc < 0)
		return err_wrap(e, "layer %u", net->nlayers);
	made[0] = out->out_w;
	made[1] = out->out_h;
	made[2] = out->out_c;
	net->nlayers++;
	return 0;
}
