/* SPDX-License-Identifier: MIT */
/*
 * coreml - what the files of this folder share: one model of Core ML
 * (coreml.proto).
 *
 *	coreml.c	which file, probe, metadata, pipelines
 *	network.c	layers of neural networks
 *	weight.c	numbers of a layer, whatever they are stored as
 *	graph.c		what a neural network computes
 *	program.c	programs (MIL), and the file their numbers are in
 */
#ifndef FORMAT_COREML_COREML_H
#define FORMAT_COREML_COREML_H

#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"
#include "modelfs/tensor.h"
#include "wire/coreml.pb-c.h"

struct err;
struct input;
struct model;
struct module;
struct source;

/* Networks and blocks within others, and pipelines. */
#define COREML_DEPTH_MAX 24

#define COREML_WEIGHTS_MAX 32

struct coreml {
	struct model *m;
	struct source *src; /* of the message */
	const struct input *in;
	const char *folder;	/* that the message is in: "" or "a/b/" */
	struct source *weights; /* of a program; owned */
	char *weights_name;	/* owned */
	/* Parameters of the layer being read. */
	struct param *made[COREML_WEIGHTS_MAX];
	uint32_t nmade;
	value_id raw, scaled; /* an input before and after its preprocessing */
};

static inline struct span coreml_span(const ProtobufCBinaryData *b)
{
	return (struct span){b->len ? (const char *)b->data : "", b->len};
}

/* A parameter "path/name" of a module.  Takes the data of t. */
int coreml_param(struct coreml *k, struct module *mod, struct span path,
		 const char *name, struct tensor *t, struct err *e);

/* ---- network.c ---- */
int coreml_network(struct coreml *k, struct module *mod, struct span path,
		   const Coreml__NeuralNetwork *n, int depth, struct err *e);

/* ---- weight.c ---- */
/*
 * The parameter, and what its integers are decoded by beside it.  A shape of
 * rank -1: as many as there are.
 */
int coreml_weight(struct coreml *k, struct module *mod, struct span path,
		  const char *name, const Coreml__Weight *w,
		  const struct shape *shape, struct err *e);

/* ---- graph.c ---- */
/* Leaves the model without a graph where that cannot be made. */
int coreml_begin_graph(struct coreml *k, const Coreml__Model *m,
		       const Coreml__NeuralNetwork *n, struct err *e);
/* The nodes of a layer, which has the module. */
int coreml_nodes(struct coreml *k, struct module *mod, const Coreml__Layer *l,
		 struct err *e);
int coreml_end_graph(struct coreml *k, const Coreml__Model *m, struct err *e);

/* ---- program.c ---- */
int coreml_program(struct coreml *k, const Coreml__Program *p, struct err *e);

#endif
