/* SPDX-License-Identifier: MIT */
/* darknet - networks of Darknet: see darknet.h. */
#include "format/darknet/darknet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "format/darknet/graph.h"
#include "format/formats.h"

#define CFG_MAX ((uint64_t)4 << 20)
/* Versions and the number of images that the network has seen. */
#define HEADER_BYTES 16

struct files {
	struct source *cfg, *weights; /* weights: NULL where there are none */
	char name[256];		      /* of the other one */
};

struct reading {
	struct model *m;
	struct source *weights;
	uint64_t off, end;
	int missing;		  /* the errno of weights that are not there */
	struct darknet_call call; /* of the layer being read */
	value_id *outs;		  /* of all layers; in the arena */
};

/* ---- which files ---- */

/* "net.cfg" has its numbers in "net.weights". */
static const char *base_name(const struct input *in)
{
	const char *slash = in->path ? strrchr(in->path, '/') : NULL;

	return slash ? slash + 1 : in->path ? in->path : "";
}

static int open_other(const struct input *in, size_t stem, const char *ext,
		      struct files *f, struct source **out, struct err *e)
{
	int n = snprintf(f->name, sizeof(f->name), "%.*s%s", (int)stem,
			 base_name(in), ext);

	if (n < 0 || (size_t)n >= sizeof(f->name))
		return err_set(e, ENAMETOOLONG, "the name is too long");
	return input_sibling(in, f->name, strlen(f->name), out, e);
}

static size_t stem_of(const struct input *in)
{
	const char *base = base_name(in), *dot = strrchr(base, '.');

	return dot && dot > base ? (size_t)(dot - base) : strlen(base);
}

/* What was saved while training has a word behind: "net_last.weights". */
static int find_cfg(const struct input *in, struct files *f, struct err *e)
{
	size_t stem = stem_of(in);
	struct err why = {0};
	int rc = open_other(in, stem, ".cfg", f, &f->cfg, &why);

	while (rc == -ENOENT && stem > 1) {
		stem--;
		if (base_name(in)[stem] == '_')
			rc = open_other(in, stem, ".cfg", f, &f->cfg, &why);
	}
	if (rc < 0)
		err_set(e, -rc,
			"the layers of these weights are in a .cfg of the same "
			"name, which is not beside them");
	return rc;
}

/* ---- parameters ---- */

static int take(struct reading *r, uint64_t nbytes, struct blob **out,
		struct err *e)
{
	int rc;

	if (r->missing) {
		*out = blob_fail(nbytes, r->missing,
				 r->missing == ENODATA
					 ? "the file of weights ends before"
					 : "the file of weights is not there");
		return *out ? 0 : err_nomem(e, 0);
	}
	if (nbytes > r->end - r->off)
		return err_set(e, EINVAL,
			       "%llu bytes of weights where %llu are left",
			       (unsigned long long)nbytes,
			       (unsigned long long)(r->end - r->off));
	rc = blob_file(r->weights, r->off, nbytes, out, e);
	r->off += nbytes;
	return rc;
}

/* What the nodes of the layer may ask for. */
static int add_weight(struct reading *r, const struct darknet_part *p,
		      const char *full, struct param *made, struct err *e)
{
	struct darknet_call *c = &r->call;
	char dotted[160];
	value_id v;
	int rc;

	/* With a '/' the layer's own value could not be called "layer_0". */
	snprintf(dotted, sizeof(dotted), "%s", full);
	for (char *at = strchr(dotted, '/'); at; at = strchr(at, '/'))
		*at = '.';
	rc = graph_value(r->m->graph, dotted, strlen(dotted), &v, e);
	if (rc < 0)
		return rc;
	r->m->graph->values[v].param = made;
	if (!p->layer && c->nweights < DARKNET_PARTS_MAX) {
		c->names[c->nweights] = p->name;
		c->weights[c->nweights++] = v;
	}
	return 0;
}

static int add_param(struct reading *r, struct module *mod,
		     const struct darknet_part *p, const char *full,
		     struct err *e)
{
	struct param_spec spec = {.module = mod};
	struct param *made;
	uint64_t nbytes;
	int rc = shape_set(&spec.tensor.shape, p->dims, p->rank, e);

	if (rc < 0)
		return rc;
	spec.tensor.dtype = DTYPE_F32;
	spec.name = (struct span){p->name, strlen(p->name)};
	spec.full_name = (struct span){full, strlen(full)};
	if (strncmp(p->name, "rolling", 7) == 0)
		spec.kind = PARAM_BUFFER;
	if (!tensor_nbytes(&spec.tensor, &nbytes))
		return err_set(e, EINVAL, "%s is too large", full);
	rc = take(r, nbytes, &spec.tensor.data, e);
	if (rc == 0)
		rc = model_param(r->m, &spec, &made, e);
	return rc < 0 ? rc : add_weight(r, p, full, made, e);
}

static int add_part(struct reading *r, struct module *mod, const char *path,
		    const struct darknet_part *p, struct err *e)
{
	char full[160];
	int rc = 0;

	snprintf(full, sizeof(full), "%s/%s%s%s", path,
		 p->layer ? p->layer : "", p->layer ? "/" : "", p->name);
	if (p->layer)
		rc = model_module(r->m, mod, p->layer, strlen(p->layer), &mod,
				  e);
	return rc < 0 ? rc : add_param(r, mod, p, full, e);
}

/* ---- layers ---- */

static int add_attrs(struct model *m, struct module *mod,
		     const struct darknet_section *s, struct err *e)
{
	int rc = model_type(m, mod, s->type, strlen(s->type));

	for (uint32_t i = 0; rc == 0 && i < s->noptions; i++)
		rc = model_attr(m, mod, s->options[i].key, "%s",
				s->options[i].value);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

/* The nodes, and the value "layer_3" that they make. */
static int add_call(struct reading *r, const struct darknet_net *net,
		    const struct darknet_layer *l, struct module *mod,
		    uint32_t number, struct err *e)
{
	/* The layer is among those that there are already. */
	struct darknet_net before = *net;
	struct darknet_call *c = &r->call;
	struct tensor t = {.dtype = DTYPE_F32};
	char name[32];
	int rc;

	snprintf(name, sizeof(name), "layer_%u", number);
	before.nlayers = number;
	c->at = (struct steps){r->m, r->m->graph, {name, strlen(name)}, mod};
	c->net = &before;
	c->l = l;
	c->outs = r->outs + 1;
	c->in = r->outs[number];
	rc = graph_value(r->m->graph, name, strlen(name), &c->out, e);
	r->outs[number + 1] = c->out;
	t.shape = shape_of(4, (const int64_t[]){DIM_UNKNOWN, l->out_c, l->out_h,
						l->out_w});
	if (rc == 0)
		rc = graph_declare(r->m->graph, c->out, &t, NULL, e);
	return rc < 0 ? rc : darknet_nodes(c, number + 2 == net->cfg->n, e);
}

/* What goes into the first layer: batch, channels, height, width. */
static int begin_graph(struct reading *r, const struct darknet_net *net,
		       struct err *e)
{
	const int64_t *dims = net->outs[-1];
	struct tensor t = {.dtype = DTYPE_F32};
	value_id v;
	int rc;

	t.shape = shape_of(
		4, (const int64_t[]){DIM_UNKNOWN, dims[2], dims[1], dims[0]});
	r->m->graph = graph_new(r->m->arena, NULL, "");
	r->outs = arena_array(r->m->arena, net->cfg->n + 1u, sizeof(*r->outs));
	if (!r->m->graph || !r->outs)
		return err_nomem(e, net->cfg->n * sizeof(*r->outs));
	rc = graph_value(r->m->graph, "data", 4, &v, e);
	if (rc == 0)
		rc = graph_input(r->m->graph, v, e);
	r->outs[0] = v;
	return rc < 0 ? rc : graph_declare(r->m->graph, v, &t, NULL, e);
}

/* "layer_3/convolutional" */
static int add_layer(struct reading *r, const struct darknet_net *net,
		     const struct darknet_layer *l, uint32_t number,
		     struct err *e)
{
	char path[128];
	struct module *mod;
	struct span leaf;
	int n = snprintf(path, sizeof(path), "layer_%u/%s", number,
			 l->section->type);
	int rc = model_path(r->m, model_root(r->m), path, (size_t)n, "/", &mod,
			    &leaf, e);

	if (rc == 0)
		rc = model_module(r->m, mod, leaf.p, leaf.len, &mod, e);
	if (rc == 0)
		rc = add_attrs(r->m, mod, l->section, e);
	/* A file may hold the first layers alone. */
	if (rc == 0 && !r->missing && r->off == r->end && l->nparts > 0)
		r->missing = ENODATA;
	r->call.nweights = 0;
	for (uint32_t i = 0; rc == 0 && i < l->nparts; i++)
		rc = add_part(r, mod, path, &l->parts[i], e);
	if (rc == 0)
		rc = add_call(r, net, l, mod, number, e);
	return rc < 0 ? err_wrap(e, "layer %u", number) : 0;
}

static int add_layers(struct reading *r, const struct darknet_cfg *cfg,
		      struct err *e)
{
	struct darknet_layer *l = arena_alloc(r->m->arena, sizeof(*l));
	struct darknet_net net;
	int rc = l ? darknet_begin(r->m->arena, cfg, &net, e)
		   : err_nomem(e, sizeof(*l));

	if (rc == 0)
		rc = begin_graph(r, &net, e);
	while (rc == 0 && net.nlayers + 1 < cfg->n) {
		uint32_t number = net.nlayers;

		rc = darknet_next(&net, l, e);
		if (rc == 0)
			rc = add_layer(r, &net, l, number, e);
	}
	if (rc == 0 && !r->missing && r->off != r->end)
		rc = err_set(e, EINVAL, "%llu bytes of weights of no layer",
			     (unsigned long long)(r->end - r->off));
	return rc;
}

/* ---- the file of weights ---- */

/* Since version 0.2 the number of images has 8 bytes. */
static int read_header(struct reading *r, struct err *e)
{
	int32_t v[3];
	int32_t few;
	uint64_t seen;
	bool is_wide;
	int rc = source_read(r->weights, v, sizeof(v), 0, e);

	if (rc < 0)
		return rc;
	is_wide = (int64_t)v[0] * 10 + v[1] >= 2 && v[0] < 1000 && v[1] < 1000;
	r->off = sizeof(v) + (is_wide ? 8 : 4);
	r->end = source_size(r->weights);
	rc = is_wide ? source_read(r->weights, &seen, 8, sizeof(v), e)
		     : source_read(r->weights, &few, 4, sizeof(v), e);
	if (rc < 0)
		return rc;
	if (!is_wide)
		seen = (uint32_t)few;
	if (model_info(r->m, "version", "%d.%d.%d", v[0], v[1], v[2]) < 0 ||
	    model_info(r->m, "seen", "%llu", (unsigned long long)seen) < 0)
		return err_nomem(e, 0);
	return 0;
}

static int read_cfg(struct model *m, struct source *src,
		    struct darknet_cfg *out, struct err *e)
{
	uint64_t size = source_size(src);
	struct blob *data;
	char *text;
	int rc;

	if (size > CFG_MAX)
		return err_set(e, EFBIG, "a configuration of %llu bytes",
			       (unsigned long long)size);
	text = arena_alloc(m->arena, size + 1);
	if (!text)
		return err_nomem(e, size);
	rc = source_read(src, text, size, 0, e);
	if (rc == 0)
		rc = darknet_parse(m->arena, text, size, out, e);
	if (rc == 0)
		rc = blob_file(src, 0, size, &data, e);
	return rc < 0 ? rc : model_config(m, "net.cfg", data, e);
}

static int read_files(struct model *m, const struct files *f, int missing,
		      struct err *e)
{
	struct reading r = {.m = m, .weights = f->weights, .missing = missing};
	struct darknet_cfg cfg = {.n = 0};
	int rc = read_cfg(m, f->cfg, &cfg, e);

	if (rc == 0 && f->weights)
		rc = read_header(&r, e);
	return rc < 0 ? rc : add_layers(&r, &cfg, e);
}

/* ---- the format ---- */

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The first line that says something is "[net]" or "[network]". */
static bool is_cfg(const struct input *in)
{
	size_t i = 0;

	while (i < in->nhead) {
		if (in->head[i] == '#' || in->head[i] == ';')
			while (i < in->nhead && in->head[i] != '\n')
				i++;
		else if (is_blank(in->head[i]))
			i++;
		else
			break;
	}
	return in->nhead - i > 9 && (memcmp(in->head + i, "[net]", 5) == 0 ||
				     memcmp(in->head + i, "[network]", 9) == 0);
}

/* There is no magic number: a small version, and floats behind it. */
static bool is_weights(const struct input *in)
{
	uint32_t v[3];

	if (in->nhead < HEADER_BYTES || source_size(in->file) % 4 != 0)
		return false;
	memcpy(v, in->head, sizeof(v));
	return v[0] == 0 && v[1] >= 1 && v[1] <= 2 && v[2] <= 9;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct files f = {.cfg = NULL};
	struct err why = {0};
	int rc, missing = 0;

	if (is_cfg(in)) {
		f.cfg = source_ref(in->file);
		rc = open_other(in, stem_of(in), ".weights", &f, &f.weights,
				&why);
		missing = rc < 0 ? -rc : 0;
		rc = 0;
	} else {
		f.weights = source_ref(in->file);
		rc = find_cfg(in, &f, e);
	}
	if (rc == 0)
		rc = read_files(m, &f, missing, e);
	source_unref(f.cfg);
	source_unref(f.weights);
	return rc;
}

static int probe(const struct input *in)
{
	if (!in->file)
		return 0;
	return is_cfg(in) ? 80 : is_weights(in) ? 25 : 0;
}

const struct format format_darknet = {
	.name = "darknet",
	.title = "Darknet networks (.cfg and .weights)",
	.probe = probe,
	.read = read,
};
