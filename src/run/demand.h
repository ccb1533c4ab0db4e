/* SPDX-License-Identifier: MIT */
/* demand - what computing one value goes through; demand.c and inputs.c. */
#ifndef RUN_DEMAND_H
#define RUN_DEMAND_H

#include "run/engine.h"

/* What was planned no longer holds. */
#define REPLAN 1

struct demand {
	struct run *r;
	struct plan *plan;
	const atomic_bool *cancel;
	struct exec_env env;
};

/* The tensors of one node while it is evaluated. */
struct job {
	node_id id;
	const struct node *n;
	struct group group; /* nodes that run with it, itself the last */
	uint32_t epoch;
	struct tensor *in, *captures, *out;
	double seconds, form_seconds;
	bool fails_always;
};

/* engine.lock held.  Type and data of a value while the plan holds it. */
void inputs_use_held(const struct plan *p, value_id v, struct tensor *t);
/*
 * Fills j->in and j->captures as the node's operator takes them.  REPLAN, or
 * an error.
 */
int inputs_gather(struct demand *d, struct job *j, struct err *e);
/* The call of member m of a group; of what flows through it, the type alone. */
int inputs_of_member(struct demand *d, const struct group *g, uint32_t m,
		     struct op_call *c, struct err *e);

/* views.c */
/* A value for which views_can said so; out owns a reference. */
int views_make(struct demand *d, value_id v, struct tensor *out, struct err *e);

#endif
