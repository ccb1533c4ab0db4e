/* SPDX-License-Identifier: MIT */
/*
 * darknet - what the files of this folder share: a network of Darknet, of
 * which one file (.cfg) says what the layers are, and another (.weights) has
 * the numbers, one layer behind the other without a word in between.
 *
 *	darknet.c	which files, probe, parameters
 *	cfg.c		the sections of the text
 *	layers.c	extents, and how many numbers each layer has
 *	graph.c		what it computes
 */
#ifndef FORMAT_DARKNET_DARKNET_H
#define FORMAT_DARKNET_DARKNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"

struct arena;
struct err;
struct model;

/* ---- cfg.c ---- */

struct darknet_option {
	const char *key, *value;
};

struct darknet_section { /* "[convolutional]" and what follows */
	const char *type;
	struct darknet_option *options;
	uint32_t noptions;
};

struct darknet_cfg { /* all in the arena */
	struct darknet_section *sections;
	uint32_t n;
};

/* EINVAL for a text that is none. */
int darknet_parse(struct arena *a, const char *text, size_t len,
		  struct darknet_cfg *out, struct err *e);
/* NULL when there is no such key. */
const char *darknet_text(const struct darknet_section *s, const char *key);
/* Cut to what a few can be added and subtracted of. */
#define DARKNET_INT_MAX ((int64_t)1 << 40)
int64_t darknet_int(const struct darknet_section *s, const char *key,
		    int64_t def);
double darknet_real(const struct darknet_section *s, const char *key,
		    double def);

/* ---- layers.c ---- */

#define DARKNET_EXTENT_MAX ((int64_t)1 << 24)
/* A convolution, or eight dense layers with two or five each. */
#define DARKNET_PARTS_MAX 64

struct darknet_part {	   /* a parameter, in the order of the file */
	const char *layer; /* of those a recurrent layer is made of, or NULL */
	const char *name;  /* "weight" */
	int64_t dims[5];
	uint32_t rank;
};

struct darknet_layer {
	const struct darknet_section *section;
	int64_t w, h, c; /* of the input */
	int64_t out_w, out_h, out_c;
	struct darknet_part parts[DARKNET_PARTS_MAX];
	uint32_t nparts;
};

struct darknet_net {
	const struct darknet_cfg *cfg;
	int64_t (*outs)[3]; /* w, h and c of every layer so far; in the arena */
	uint32_t nlayers;   /* so far */
	bool has_shifts;    /* a batchnorm layer begins with biases */
};

/* The extents that go into the first layer.  EINVAL. */
int darknet_begin(struct arena *a, const struct darknet_cfg *cfg,
		  struct darknet_net *out, struct err *e);
/* The next layer; its extents are what later ones ask for.  EINVAL. */
int darknet_next(struct darknet_net *net, struct darknet_layer *out,
		 struct err *e);
/* Layer number i of "-1,8": -1 is the one before.  False for none. */
bool darknet_ref(const struct darknet_net *net, const char *list, size_t i,
		 uint32_t *out);

#endif
