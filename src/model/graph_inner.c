/* SPDX-License-Identifier: MIT */
/* graph_inner - one numbering for the values of a graph and its subgraphs. */
#include <errno.h>
#include <stdlib.h>

#include "model/graph_inner.h"
#include "modelfs/array.h"
#include "modelfs/err.h"
#include "modelfs/graph.h"

struct graph *node_subgraph(const struct node *n, size_t k,
			    const struct attr **attr)
{
	uint32_t i;

	for (i = 0; i < n->nattrs; i++) {
		const struct attr *a = &n->attrs[i];
		size_t count = a->kind == ATTR_GRAPHS
				       ? a->n
				       : a->kind == ATTR_GRAPH && a->g;

		*attr = a;
		if (k < count)
			return a->kind == ATTR_GRAPH ? a->g : a->graphs[k];
		k -= count;
	}
	return NULL;
}

static int add_subgraphs(struct graph *top, const struct node *n, node_id owner,
			 struct err *e)
{
	const struct attr *attr;
	struct graph *sub;
	size_t k;

	for (k = 0;; k++) {
		int rc;

		sub = node_subgraph(n, k, &attr);
		if (!sub)
			return 0;
		rc = array_grow(&top->subgraphs, &top->cap_subgraphs,
				top->nsubgraphs, sizeof(*top->subgraphs), e);
		if (rc < 0)
			return rc;
		sub->owner = owner;
		sub->first_id = top->nall;
		if (__builtin_add_overflow(top->nall, sub->nvalues,
					   &top->nall) ||
		    top->nall == NO_VALUE)
			return err_set(e, EFBIG, "too many values");
		top->subgraphs[top->nsubgraphs++] = sub;
	}
}

/* The list is also the queue of graphs whose nodes are still to be seen. */
int graph_number(struct graph *top, struct err *e)
{
	uint32_t i, s;
	int rc = 0;

	top->nall = top->nvalues;
	for (i = 0; rc == 0 && i < top->nnodes; i++)
		rc = add_subgraphs(top, &top->nodes[i], i, e);
	for (s = 0; rc == 0 && s < top->nsubgraphs; s++) {
		const struct graph *g = top->subgraphs[s];

		for (i = 0; rc == 0 && i < g->nnodes; i++)
			rc = add_subgraphs(top, &g->nodes[i], g->owner, e);
	}
	return rc;
}

const struct graph *graph_locate(const struct graph *g, value_id id,
				 value_id *own)
{
	uint32_t lo = 0, hi = g->nsubgraphs;

	*own = id;
	if (id < g->nvalues)
		return g;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (g->subgraphs[mid]->first_id <= id)
			lo = mid;
		else
			hi = mid;
	}
	*own = id - g->subgraphs[lo]->first_id;
	return g->subgraphs[lo];
}
