/* SPDX-License-Identifier: MIT */
/*
 * graph - feed-forward networks of Core ML as operators of ONNX.  Values are
 * batch, channels, height, width, to which Core ML maps images and arrays
 * unless the file asks for their own axes; those networks have no graph.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/model.h"

#include "format/coreml/coreml.h"
#include "format/steps.h"

#define INPUTS_MAX 256
#define EXTENT_MAX ((uint64_t)1 << 30)

struct call {
	struct steps at;
	const struct coreml *k; /* with the layer's weights */
	const Coreml__Layer *l;
	const value_id *in;
	uint32_t nin;
	value_id out;
};

/* ---- building; all make the layer's output and yield 1, or an error ---- */

static int emit(struct call *c, struct step *s, struct err *e)
{
	int rc;

	s->out = &c->out;
	s->nout = 1;
	rc = steps_node(&c->at, s, e);
	return rc < 0 ? rc : 1;
}

static int plain(struct call *c, const char *type, const value_id *in,
		 uint32_t nin, const struct attr *a, uint32_t nattrs,
		 struct err *e)
{
	struct step s = {.type = type,
			 .in = in,
			 .nin = nin,
			 .attrs = a,
			 .nattrs = nattrs};

	return emit(c, &s, e);
}

static int flat_step(struct call *c, const char *what, value_id in,
		     const int64_t *dims, size_t n, struct step *s,
		     struct attr *a, value_id *hold, struct err *e)
{
	*hold = in;
	*s = (struct step){.what = what,
			   .type = "Reshape",
			   .opset = 1, /* the shape is an attribute */
			   .in = hold,
			   .nin = 1,
			   .attrs = a,
			   .nattrs = 1};
	return attr_set_ints(&c->at, "shape", dims, n, a, e);
}

static int reshape(struct call *c, const char *what, value_id in,
		   const int64_t *dims, size_t n, value_id *out, struct err *e)
{
	struct attr a;
	struct step s;
	value_id hold;
	int rc = flat_step(c, what, in, dims, n, &s, &a, &hold, e);

	return rc < 0 ? rc : steps_inner(&c->at, &s, out, e);
}

static int last_reshape(struct call *c, value_id in, const int64_t *dims,
			size_t n, struct err *e)
{
	struct attr a;
	struct step s;
	value_id hold;
	int rc = flat_step(c, "result", in, dims, n, &s, &a, &hold, e);

	return rc < 0 ? rc : emit(c, &s, e);
}

/* ---- weights ---- */

static const struct param *find_param(const struct call *c, const char *name)
{
	for (uint32_t i = 0; i < c->k->nmade; i++)
		if (strcmp(c->k->made[i]->name, name) == 0)
			return c->k->made[i];
	return NULL;
}

/* The value of a parameter of floats, as float32; NO_VALUE for none. */
static int weight(struct call *c, const char *name, value_id *out,
		  struct err *e)
{
	const struct param *p = find_param(c, name);
	struct attr to = attr_set_int("to", 1); /* float32 */
	struct step cast = {.what = name,
			    .type = "Cast",
			    .in = out,
			    .nin = 1,
			    .attrs = &to,
			    .nattrs = 1};
	char *dotted;
	int rc;

	*out = NO_VALUE;
	if (!p || (p->dtype != DTYPE_F32 && p->dtype != DTYPE_F16))
		return 0;
	dotted = arena_strndup(c->at.m->arena, p->full_name, p->full_len);
	if (!dotted)
		return err_nomem(e, p->full_len);
	/* With a '/' the layer's own value could not be called as it is. */
	for (char *at = strchr(dotted, '/'); at; at = strchr(at, '/'))
		*at = '.';
	rc = graph_value(c->at.g, dotted, strlen(dotted), out, e);
	if (rc < 0)
		return rc;
	c->at.g->values[*out].param = c->at.m->params[p->id];
	return p->dtype == DTYPE_F16 ? steps_inner(&c->at, &cast, out, e) : 0;
}

/* ---- windows ---- */

static bool read_pair(const uint64_t *v, size_t n, int64_t def, int64_t out[2])
{
	out[0] = out[1] = def;
	if (n != 0 && n != 2)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (v[i] < 1 || v[i] > EXTENT_MAX)
			return false;
		out[i] = (int64_t)v[i];
	}
	return true;
}

/* Beginnings, then ends, of height and width. */
static bool read_pads(const Coreml__ValidPadding *v, int64_t out[4])
{
	const Coreml__BorderAmounts *b = v ? v->paddingamounts : NULL;

	memset(out, 0, 4 * sizeof(*out));
	if (b && b->n_borderamounts != 0 && b->n_borderamounts != 2)
		return false;
	for (size_t i = 0; b && i < b->n_borderamounts; i++) {
		const Coreml__EdgeSizes *s = b->borderamounts[i];

		if (s->startedgesize > EXTENT_MAX ||
		    s->endedgesize > EXTENT_MAX)
			return false;
		out[i] = (int64_t)s->startedgesize;
		out[i + 2] = (int64_t)s->endedgesize;
	}
	return true;
}

static int set_padding(struct call *c, const Coreml__ValidPadding *valid,
		       const Coreml__SamePadding *same, struct attr *out,
		       struct err *e)
{
	int64_t pads[4];

	if (same) {
		*out = attr_set_text("auto_pad", same->asymmetrymode
							 ? "SAME_LOWER"
							 : "SAME_UPPER");
		return 1;
	}
	if (!read_pads(valid, pads))
		return 0;
	return attr_set_ints(&c->at, "pads", pads, 4, out, e) < 0
		       ? err_nomem(e, 0)
		       : 1;
}

static int convolution(struct call *c, struct err *e)
{
	const Coreml__Convolution *p = c->l->convolution;
	const char *type = p->isdeconvolution ? "ConvTranspose" : "Conv";
	int64_t strides[2], dilations[2];
	value_id in[3] = {c->in[0], NO_VALUE, NO_VALUE};
	struct attr a[4];
	int rc = weight(c, "weights", &in[1], e);

	if (rc == 0)
		rc = weight(c, "bias", &in[2], e);
	if (rc < 0 || in[1] == NO_VALUE || (p->isdeconvolution && p->same) ||
	    (p->hasbias && in[2] == NO_VALUE) ||
	    !read_pair(p->stride, p->n_stride, 1, strides) ||
	    !read_pair(p->dilationfactor, p->n_dilationfactor, 1, dilations) ||
	    p->ngroups > EXTENT_MAX)
		return rc;
	rc = set_padding(c, p->valid, p->same, &a[0], e);
	if (rc <= 0)
		return rc;
	rc = attr_set_ints(&c->at, "strides", strides, 2, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "dilations", dilations, 2, &a[2], e);
	a[3] = attr_set_int("group", p->ngroups ? (int64_t)p->ngroups : 1);
	return rc < 0 ? rc
		      : plain(c, type, in, in[2] == NO_VALUE ? 2 : 3, a, 4, e);
}

/* Symmetric, and the last pixel is in a window, too. */
static int set_complete(struct call *c, const Coreml__CompletePadding *p,
			struct attr *out, struct err *e)
{
	int64_t pads[4] = {0};

	if (p->n_paddingamounts != 0 && p->n_paddingamounts != 2)
		return 0;
	for (size_t i = 0; i < p->n_paddingamounts; i++) {
		if (p->paddingamounts[i] > EXTENT_MAX)
			return 0;
		pads[i] = pads[i + 2] = (int64_t)p->paddingamounts[i];
	}
	return attr_set_ints(&c->at, "pads", pads, 4, out, e) < 0
		       ? err_nomem(e, 0)
		       : 1;
}

static int pooling(struct call *c, struct err *e)
{
	const Coreml__Pooling *p = c->l->pooling;
	bool is_max = p->type == 0;
	int64_t kernel[2], strides[2];
	struct attr a[5];
	int rc;

	if (p->type != 0 && p->type != 1)
		return 0;
	if (p->globalpooling)
		return plain(c, is_max ? "GlobalMaxPool" : "GlobalAveragePool",
			     c->in, 1, NULL, 0, e);
	if (!read_pair(p->kernelsize, p->n_kernelsize, 3, kernel) ||
	    !read_pair(p->stride, p->n_stride, 1, strides))
		return 0;
	rc = p->includelastpixel
		     ? set_complete(c, p->includelastpixel, &a[0], e)
		     : set_padding(c, p->valid, p->same, &a[0], e);
	if (rc <= 0)
		return rc;
	rc = attr_set_ints(&c->at, "kernel_shape", kernel, 2, &a[1], e);
	if (rc == 0)
		rc = attr_set_ints(&c->at, "strides", strides, 2, &a[2], e);
	a[3] = attr_set_int("ceil_mode", p->includelastpixel != NULL);
	a[4] = attr_set_int("count_include_pad", !p->avgpoolexcludepadding);
	return rc < 0 ? rc
		      : plain(c, is_max ? "MaxPool" : "AveragePool", c->in, 1,
			      a, is_max ? 4 : 5, e);
}

/* ---- products ---- */

static const int64_t wide[] = {0, -1, 1, 1};

static int inner_product(struct call *c, struct err *e)
{
	static const int64_t flat[] = {0, -1};
	struct attr a = attr_set_int("transB", 1);
	value_id in[3], v;
	struct step s = {.what = "product",
			 .type = "Gemm",
			 .in = in,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = weight(c, "weights", &in[1], e);

	if (rc == 0)
		rc = weight(c, "bias", &in[2], e);
	if (rc < 0 || in[1] == NO_VALUE)
		return rc;
	s.nin = in[2] == NO_VALUE ? 2 : 3;
	rc = reshape(c, "flat", c->in[0], flat, 2, &in[0], e);
	if (rc == 0)
		rc = steps_inner(&c->at, &s, &v, e);
	return rc < 0 ? rc : last_reshape(c, v, wide, 4, e);
}

static int batchnorm(struct call *c, struct err *e)
{
	static const char *const names[] = {"gamma", "beta", "mean",
					    "variance"};
	float epsilon =
		c->l->batchnorm->has_epsilon ? c->l->batchnorm->epsilon : 1e-5f;
	struct attr a = attr_set_float("epsilon", epsilon);
	value_id in[5] = {c->in[0]};
	int rc = 0;

	for (int i = 0; rc == 0 && i < 4; i++)
		rc = weight(c, names[i], &in[i + 1], e);
	for (int i = 1; rc == 0 && i < 5; i++)
		if (in[i] == NO_VALUE)
			return 0;
	return rc < 0 ? rc : plain(c, "BatchNormalization", in, 5, &a, 1, e);
}

/* x * scale + bias, of which either may be missing. */
static int scale(struct call *c, struct err *e)
{
	value_id in[2] = {c->in[0], NO_VALUE}, bias;
	int rc = weight(c, "scale", &in[1], e);

	if (rc == 0)
		rc = weight(c, "bias", &bias, e);
	if (rc < 0 || (in[1] == NO_VALUE && bias == NO_VALUE))
		return rc;
	if (bias == NO_VALUE)
		return plain(c, "Mul", in, 2, NULL, 0, e);
	if (in[1] != NO_VALUE)
		rc = steps_make(&c->at, "scaled", "Mul", in[0], in[1], &in[0],
				e);
	in[1] = bias;
	return rc < 0 ? rc : plain(c, "Add", in, 2, NULL, 0, e);
}

/* ---- activations ---- */

static int prelu(struct call *c, struct err *e)
{
	static const int64_t dims[] = {-1, 1, 1};
	value_id in[2] = {c->in[0], NO_VALUE};
	int rc = weight(c, "alpha", &in[1], e);

	if (rc < 0 || in[1] == NO_VALUE)
		return rc;
	rc = reshape(c, "slopes", in[1], dims, 3, &in[1], e);
	return rc < 0 ? rc : plain(c, "PRelu", in, 2, NULL, 0, e);
}

static int activation(struct call *c, struct err *e)
{
	const Coreml__Activation *p = c->l->activation;
	const struct {
		const Coreml__Slopes *is;
		const char *onnx;
		uint32_t nattrs;
	} kinds[] = {
		{p->relu, "Relu", 0},
		{p->leakyrelu, "LeakyRelu", 1},
		{p->thresholdedrelu, "ThresholdedRelu", 1},
		{p->tanh, "Tanh", 0},
		{p->sigmoid, "Sigmoid", 0},
		{p->sigmoidhard, "HardSigmoid", 2},
		{p->elu, "Elu", 1},
		{p->softsign, "Softsign", 0},
		{p->softplus, "Softplus", 0},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct attr a[2];

		if (!kinds[i].is)
			continue;
		a[0] = attr_set_float("alpha", kinds[i].is->alpha);
		a[1] = attr_set_float("beta", kinds[i].is->beta);
		return plain(c, kinds[i].onnx, c->in, 1, a, kinds[i].nattrs, e);
	}
	return p->prelu ? prelu(c, e) : 0;
}

/* ---- other layers ---- */

/* With the channels last before they are put behind each other, or not. */
static int flatten(struct call *c, struct err *e)
{
	static const int64_t perm[] = {0, 2, 3, 1};
	struct attr a;
	value_id v = c->in[0];
	struct step s = {.what = "channels_last",
			 .type = "Transpose",
			 .in = c->in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(&c->at, "perm", perm, 4, &a, e);

	if (rc == 0 && c->l->flatten->mode == 1)
		rc = steps_inner(&c->at, &s, &v, e);
	return rc < 0 ? rc : last_reshape(c, v, wide, 4, e);
}

static int join(struct call *c, struct err *e)
{
	struct attr axis = attr_set_int("axis", 1);

	return c->l->concat->sequenceconcat
		       ? 0
		       : plain(c, "Concat", c->in, c->nin, &axis, 1, e);
}

static int make(struct call *c, struct err *e)
{
	const Coreml__Layer *l = c->l;
	struct attr axis = attr_set_int("axis", 1);
	bool is_pair = c->nin == 2;

	if (l->convolution)
		return convolution(c, e);
	if (l->pooling)
		return pooling(c, e);
	if (l->activation)
		return activation(c, e);
	if (l->innerproduct)
		return inner_product(c, e);
	if (l->batchnorm)
		return batchnorm(c, e);
	if (l->scale || l->bias)
		return scale(c, e);
	if (l->flatten)
		return flatten(c, e);
	if (l->concat)
		return join(c, e);
	if (l->softmax)
		return plain(c, "Softmax", c->in, 1, &axis, 1, e);
	if (l->add && c->nin > 1)
		return plain(c, "Sum", c->in, c->nin, NULL, 0, e);
	if (l->multiply && is_pair)
		return plain(c, "Mul", c->in, 2, NULL, 0, e);
	return 0;
}

/* ---- layers ---- */

static int list_only(struct call *c, struct module *mod, struct err *e)
{
	struct node *n;
	int rc = graph_node(c->at.g, c->at.name.p, "coreml", mod->type, c->nin,
			    1, 0, &n, e);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < c->nin; i++)
		n->in[i] = c->in[i];
	n->out[0] = c->out;
	n->opset = 1;
	n->module = mod;
	mod->is_node = true;
	return 0;
}

int coreml_nodes(struct coreml *k, struct module *mod, const Coreml__Layer *l,
		 struct err *e)
{
	struct graph *g = k->m->graph;
	struct call c = {.k = k, .l = l, .nin = (uint32_t)l->n_input};
	value_id in[INPUTS_MAX];
	struct span out;
	int rc = 0;

	if (!g || l->n_output != 1 || l->n_input == 0 ||
	    l->n_input > INPUTS_MAX || l->output[0].len == 0)
		return 0;
	for (size_t i = 0; rc == 0 && i < l->n_input; i++) {
		struct span name = coreml_span(&l->input[i]);

		rc = graph_value(g, name.p, name.len, &in[i], e);
		if (rc == 0 && in[i] == k->raw)
			in[i] = k->scaled;
	}
	out = coreml_span(&l->output[0]);
	if (rc == 0)
		rc = graph_value(g, out.p, out.len, &c.out, e);
	c.at = (struct steps){k->m, g, {g->values[c.out].name, out.len}, mod};
	c.in = in;
	if (rc == 0)
		rc = make(&c, e);
	if (rc == 0)
		rc = list_only(&c, mod, e);
	return rc < 0 ? rc : 0;
}

/* ---- inputs and outputs ---- */

static bool input_shape(const Coreml__Feature *f, struct shape *out)
{
	const Coreml__ImageType *i = f->type ? f->type->imagetype : NULL;
	const Coreml__ArrayType *a = f->type ? f->type->multiarraytype : NULL;
	int64_t dims[4] = {DIM_UNKNOWN, 1, 1, 1};

	if (i && i->width > 0 && i->height > 0) {
		dims[1] = i->colorspace == 10 || i->colorspace == 40 ? 1 : 3;
		dims[2] = i->height;
		dims[3] = i->width;
	} else if (a && (a->n_shape == 1 || a->n_shape == 3)) {
		for (size_t k = 0; k < a->n_shape; k++) {
			if (a->shape[k] < 0)
				return false;
			dims[k + 1] = a->shape[k];
		}
	} else {
		return false;
	}
	*out = shape_of(4, dims);
	return true;
}

/* x * scale + the bias of each channel */
static int preprocess(struct coreml *k, const Coreml__Feature *f,
		      const Coreml__Scaler *s, struct err *e)
{
	const Coreml__ImageType *i = f->type->imagetype;
	float factor = s->has_channelscale ? s->channelscale : 1;
	float rgb[] = {s->redbias, s->greenbias, s->bluebias};
	float bgr[] = {s->bluebias, s->greenbias, s->redbias};
	bool is_gray = i && (i->colorspace == 10 || i->colorspace == 40);
	const float *bias = i && i->colorspace == 30 ? bgr : rgb;
	/* Names in the message have no NUL behind them. */
	struct steps at = {k->m,
			   k->m->graph,
			   {k->m->graph->values[k->raw].name, f->name.len},
			   NULL};
	const struct shape shape =
		shape_of(3, (const int64_t[]){is_gray ? 1 : 3, 1, 1});
	value_id v, number;
	int rc;

	if (!i)
		return 0;
	if (is_gray)
		bias = &s->graybias;
	rc = model_module(k->m, model_root(k->m), "preprocessing", 13,
			  &at.module, e);
	if (rc == 0)
		rc = steps_float(&at, "scale", factor, &number, e);
	if (rc == 0)
		rc = steps_make(&at, "scaled", "Mul", k->raw, number, &v, e);
	if (rc == 0)
		rc = steps_tensor(&at, "bias", DTYPE_F32, &shape, bias,
				  is_gray ? 4 : 12, &number, e);
	return rc < 0 ? rc
		      : steps_make(&at, "shifted", "Add", v, number, &k->scaled,
				   e);
}

static int add_input(struct coreml *k, const Coreml__Feature *f, struct err *e)
{
	struct span name = coreml_span(&f->name);
	struct tensor t = {.dtype = DTYPE_F32};
	value_id v;
	int rc = graph_value(k->m->graph, name.p, name.len, &v, e);

	if (rc == 0)
		rc = graph_input(k->m->graph, v, e);
	k->raw = k->scaled = v;
	input_shape(f, &t.shape);
	return rc < 0 ? rc : graph_declare(k->m->graph, v, &t, NULL, e);
}

/* Arrays of their own axes, and means of whole images, are nothing for us. */
int coreml_begin_graph(struct coreml *k, const Coreml__Model *m,
		       const Coreml__NeuralNetwork *n, struct err *e)
{
	const Coreml__Description *d = m->description;
	struct shape unused;
	int rc = 0;

	k->raw = k->scaled = NO_VALUE;
	if (!d || d->n_input == 0 || n->arrayinputshapemapping != 0 ||
	    n->n_preprocessing > 1 ||
	    (n->n_preprocessing == 1 &&
	     (d->n_input != 1 || !n->preprocessing[0]->scaler)))
		return 0;
	for (size_t i = 0; i < d->n_input; i++)
		if (!input_shape(d->input[i], &unused) ||
		    d->input[i]->name.len == 0)
			return 0;
	k->m->graph = graph_new(k->m->arena, NULL, "");
	if (!k->m->graph)
		return err_nomem(e, 0);
	for (size_t i = 0; rc == 0 && i < d->n_input; i++)
		rc = add_input(k, d->input[i], e);
	if (rc == 0 && n->n_preprocessing == 1)
		rc = preprocess(k, d->input[0], n->preprocessing[0]->scaler, e);
	return rc;
}

int coreml_end_graph(struct coreml *k, const Coreml__Model *m, struct err *e)
{
	const Coreml__Description *d = m->description;
	struct graph *g = k->m->graph;
	int rc = 0;

	for (size_t i = 0; g && rc == 0 && i < d->n_output; i++) {
		struct span name = coreml_span(&d->output[i]->name);
		value_id v = graph_find(g, name.p, name.len);

		if (v != NO_VALUE && !g->values[v].is_output &&
		    !g->values[v].is_input)
			rc = graph_output(g, v, e);
	}
	return rc;
}
