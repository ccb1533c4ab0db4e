/* SPDX-License-Identifier: MIT */
/*
 * network - layers of a neural network.  What kind a layer is, and what its
 * weights are called, are names of the message's fields.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/text.h"

#include "format/coreml/coreml.h"

/* ---- fields of messages ---- */

static const ProtobufCMessage *sub_message(const ProtobufCMessage *m,
					   const ProtobufCFieldDescriptor *f)
{
	const void *at = (const char *)m + f->offset;
	const ProtobufCMessage *sub;

	if (f->type != PROTOBUF_C_TYPE_MESSAGE ||
	    f->label == PROTOBUF_C_LABEL_REPEATED)
		return NULL;
	memcpy(&sub, at, sizeof(sub));
	return sub;
}

/* ---- shapes ---- */

static struct shape shape_from(const uint64_t *dims, size_t n)
{
	struct shape s = {.rank = (int32_t)n};

	if (n > SHAPE_RANK_MAX) /* nothing fits that */
		return shape_of(1, (const int64_t[]){INT64_MAX});
	for (size_t i = 0; i < n; i++)
		s.dims[i] = dims[i] > INT64_MAX ? INT64_MAX : (int64_t)dims[i];
	return s;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Matrices and vectors of recurrent layers. */
static struct shape recurrent_shape(const char *name, uint64_t in, uint64_t out)
{
	bool is_vector = ends_with(name, "Vector");
	bool is_state = ends_with(name, "ecursionMatrix");
	const uint64_t dims[] = {out, is_state ? out : in};

	return shape_from(dims, is_vector ? 1 : 2);
}

static struct shape matrix_shape(const char *name, uint64_t rows,
				 uint64_t columns, uint64_t nbias)
{
	const uint64_t dims[] = {rows, columns};

	return strcmp(name, "bias") == 0 ? shape_from(&nbias, 1)
					 : shape_from(dims, 2);
}

static struct shape kernel_shape(const char *name, const Coreml__Convolution *c)
{
	uint64_t groups = c->ngroups ? c->ngroups : 1;
	uint64_t dims[] = {c->outputchannels, c->kernelchannels, 3, 3};

	if (strcmp(name, "bias") == 0)
		return shape_from(dims, 1);
	if (c->isdeconvolution) {
		dims[0] = c->kernelchannels;
		dims[1] = c->outputchannels / groups;
	}
	if (c->n_kernelsize == 2) {
		dims[2] = c->kernelsize[0];
		dims[3] = c->kernelsize[1];
	}
	return shape_from(dims, 4);
}

static struct shape weight_shape(const Coreml__Layer *l, const char *name)
{
	if (l->convolution)
		return kernel_shape(name, l->convolution);
	if (l->innerproduct)
		return matrix_shape(name, l->innerproduct->outputchannels,
				    l->innerproduct->inputchannels,
				    l->innerproduct->outputchannels);
	if (l->embedding)
		return matrix_shape(name, l->embedding->outputchannels,
				    l->embedding->inputdim,
				    l->embedding->outputchannels);
	if (l->embeddingnd)
		return matrix_shape(name, l->embeddingnd->embeddingsize,
				    l->embeddingnd->vocabsize,
				    l->embeddingnd->embeddingsize);
	if (l->batchedmatmul)
		return matrix_shape(
			name, l->batchedmatmul->weightmatrixfirstdimension,
			l->batchedmatmul->weightmatrixseconddimension,
			l->batchedmatmul->weightmatrixseconddimension);
	if (l->simplerecurrent)
		return recurrent_shape(name,
				       l->simplerecurrent->inputvectorsize,
				       l->simplerecurrent->outputvectorsize);
	if (l->gru)
		return recurrent_shape(name, l->gru->inputvectorsize,
				       l->gru->outputvectorsize);
	if (l->loadconstant)
		return shape_from(l->loadconstant->shape,
				  l->loadconstant->n_shape);
	if (l->loadconstantnd)
		return shape_from(l->loadconstantnd->shape,
				  l->loadconstantnd->n_shape);
	if (l->scale && strcmp(name, "scale") == 0)
		return shape_from(l->scale->shapescale, l->scale->n_shapescale);
	if (l->scale)
		return shape_from(l->scale->shapebias, l->scale->n_shapebias);
	if (l->bias)
		return shape_from(l->bias->shape, l->bias->n_shape);
	return shape_unknown(); /* as many as there are */
}

/* ---- layers ---- */

static int add_weights(struct coreml *k, struct module *mod, struct span path,
		       const Coreml__Layer *l, const ProtobufCMessage *params,
		       struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < params->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f =
			&params->descriptor->fields[i];
		const ProtobufCMessage *sub = sub_message(params, f);
		struct shape shape;

		if (!sub || sub->descriptor != &coreml__weight__descriptor)
			continue;
		shape = weight_shape(l, f->name);
		rc = coreml_weight(k, mod, path, f->name,
				   (const Coreml__Weight *)sub, &shape, e);
	}
	return rc;
}

static int add_lstm(struct coreml *k, struct module *mod, struct span path,
		    const Coreml__Lstm *l, struct err *e)
{
	static const char *const ways[] = {"forward", "backward"};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->n_weightparams && i < 2; i++) {
		const ProtobufCMessage *p = &l->weightparams[i]->base;
		struct module *way = mod;
		struct text own = {0};

		text_add_bytes(&own, path.p, path.len);
		if (l->n_weightparams > 1) {
			text_printf(&own, "/%s", ways[i]);
			rc = model_module(k->m, mod, ways[i], strlen(ways[i]),
					  &way, e);
		}
		if (rc == 0 && own.failed)
			rc = err_nomem(e, path.len);
		for (unsigned j = 0; rc == 0 && j < p->descriptor->n_fields;
		     j++) {
			const ProtobufCFieldDescriptor *f =
				&p->descriptor->fields[j];
			const ProtobufCMessage *w = sub_message(p, f);
			struct shape s =
				recurrent_shape(f->name, l->inputvectorsize,
						l->outputvectorsize);

			if (w)
				rc = coreml_weight(
					k, way, (struct span){own.p, own.len},
					f->name, (const Coreml__Weight *)w, &s,
					e);
		}
		text_free(&own);
	}
	return rc;
}

static int add_activation(struct coreml *k, struct module *mod,
			  struct span path, const Coreml__Layer *l,
			  struct err *e)
{
	const Coreml__Activation *a = l->activation;

	if (a->prelu)
		return add_weights(k, mod, path, l, &a->prelu->base, e);
	return a->parametricsoftplus
		       ? add_weights(k, mod, path, l,
				     &a->parametricsoftplus->base, e)
		       : 0;
}

static int add_inner(struct coreml *k, struct module *mod, struct span path,
		     const char *name, const Coreml__NeuralNetwork *n,
		     int depth, struct err *e)
{
	struct text own = {0};
	int rc;

	if (!n)
		return 0;
	text_add_bytes(&own, path.p, path.len);
	text_printf(&own, "/%s", name);
	rc = own.failed ? err_nomem(e, path.len)
			: model_module(k->m, mod, name, strlen(name), &mod, e);
	if (rc == 0)
		rc = coreml_network(k, mod, (struct span){own.p, own.len}, n,
				    depth + 1, e);
	text_free(&own);
	return rc;
}

/* The one field that says what kind of layer it is. */
static const ProtobufCMessage *find_params(const Coreml__Layer *l,
					   const char **type)
{
	for (unsigned i = 0; i < l->base.descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f =
			&l->base.descriptor->fields[i];
		const ProtobufCMessage *m = sub_message(&l->base, f);

		if (!m)
			continue;
		*type = f->name;
		return m;
	}
	return NULL;
}

static int fill_layer(struct coreml *k, struct module *mod, struct span path,
		      const Coreml__Layer *l, int depth, struct err *e)
{
	const char *type = "layer";
	const ProtobufCMessage *params = find_params(l, &type);
	int rc = model_type(k->m, mod, type, strlen(type));

	if (rc < 0)
		return err_nomem(e, 0);
	if (l->unidirectionallstm)
		return add_lstm(k, mod, path, l->unidirectionallstm, e);
	if (l->bidirectionallstm)
		return add_lstm(k, mod, path, l->bidirectionallstm, e);
	if (l->activation)
		return add_activation(k, mod, path, l, e);
	if (l->branch)
		rc = add_inner(k, mod, path, "ifBranch", l->branch->ifbranch,
			       depth, e);
	if (rc == 0 && l->branch)
		rc = add_inner(k, mod, path, "elseBranch",
			       l->branch->elsebranch, depth, e);
	if (rc == 0 && l->loop)
		rc = add_inner(k, mod, path, "conditionNetwork",
			       l->loop->conditionnetwork, depth, e);
	if (rc == 0 && l->loop)
		rc = add_inner(k, mod, path, "bodyNetwork",
			       l->loop->bodynetwork, depth, e);
	return rc < 0 || !params ? rc : add_weights(k, mod, path, l, params, e);
}

static int add_names(struct coreml *k, struct module *mod, const char *key,
		     ProtobufCBinaryData *names, size_t n, struct err *e)
{
	struct text all = {0};
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		text_add(&all, i ? " " : "");
		text_add_bytes(&all, names[i].data, names[i].len);
	}
	if (all.failed ||
	    (n > 0 && model_attr(k->m, mod, key, "%s", all.p) < 0))
		rc = err_nomem(e, all.len);
	text_free(&all);
	return rc;
}

static int add_layer(struct coreml *k, struct module *mod, struct span path,
		     const Coreml__Layer *l, int depth, struct err *e)
{
	char q[ERR_QUOTED];
	struct text own = {0};
	struct span leaf;
	int rc = model_path(k->m, mod, coreml_span(&l->name).p, l->name.len,
			    "/", &mod, &leaf, e);

	if (rc == 0)
		rc = model_module(k->m, mod, leaf.p, leaf.len, &mod, e);
	text_add_bytes(&own, path.p, path.len);
	text_add(&own, path.len ? "/" : "");
	text_add_bytes(&own, l->name.data, l->name.len);
	if (rc == 0 && own.failed)
		rc = err_nomem(e, l->name.len);
	k->nmade = 0;
	if (rc == 0)
		rc = add_names(k, mod, "input", l->input, l->n_input, e);
	if (rc == 0)
		rc = add_names(k, mod, "output", l->output, l->n_output, e);
	if (rc == 0)
		rc = fill_layer(k, mod,
				(struct span){own.p ? own.p : "", own.len}, l,
				depth, e);
	if (rc == 0 && depth == 0)
		rc = coreml_nodes(k, mod, l, e);
	if (rc < 0)
		err_wrap(e, "layer %s",
			 err_quote(q, coreml_span(&l->name).p, l->name.len));
	text_free(&own);
	return rc;
}

int coreml_network(struct coreml *k, struct module *mod, struct span path,
		   const Coreml__NeuralNetwork *n, int depth, struct err *e)
{
	int rc = depth > COREML_DEPTH_MAX
			 ? err_set(e, EFBIG, "networks are nested too deeply")
			 : 0;

	for (size_t i = 0; rc == 0 && i < n->n_layers; i++)
		rc = add_layer(k, mod, path, n->layers[i], depth, e);
	return rc;
}
