/* SPDX-License-Identifier: MIT */
/* graph_inner - for graph_seal: numbers the values of all subgraphs. */
#ifndef MODEL_GRAPH_INNER_H
#define MODEL_GRAPH_INNER_H

struct err;
struct graph;

/* All of them are sealed but for this. */
int graph_number(struct graph *top, struct err *e);

#endif
