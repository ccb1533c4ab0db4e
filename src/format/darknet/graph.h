/* SPDX-License-Identifier: MIT */
/* graph - the nodes of one layer. */
#ifndef FORMAT_DARKNET_GRAPH_H
#define FORMAT_DARKNET_GRAPH_H

#include "format/darknet/darknet.h"
#include "format/steps.h"

struct darknet_call {
	struct steps at;
	const struct darknet_net *net; /* the layers before */
	const struct darknet_layer *l;
	const value_id *outs; /* of the layers before */
	value_id in, out;
	const char *names[DARKNET_PARTS_MAX]; /* of the layer's weights */
	value_id weights[DARKNET_PARTS_MAX];
	uint32_t nweights;
};

/* is_last: the network ends here. */
int darknet_nodes(struct darknet_call *c, bool is_last, struct err *e);

#endif
