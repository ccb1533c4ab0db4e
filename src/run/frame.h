/* SPDX-License-Identifier: MIT */
/* frame - a subgraph that is being run. */
#ifndef RUN_FRAME_H
#define RUN_FRAME_H

#include "run/engine.h"

struct frame {
	struct exec_env *env;
	const struct op_call *call; /* the node that owns the subgraph */
	const struct subplan *plan;
	struct tensor *values; /* per value; owned */
};

/* Computes node i, whose inputs are there. */
int frame_eval(struct frame *f, uint32_t i, struct err *e);

/*
 * Computes what the outputs need; of the branches of a node, only what the
 * one needs that is taken.
 */
int frame_run_lazily(struct frame *f, struct err *e);

#endif
