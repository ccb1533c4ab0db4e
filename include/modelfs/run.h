/* SPDX-License-Identifier: MIT */
/*
 * run - one computation of a model's graph: inputs given, values asked for.
 *
 * A run has a slot for every value: EMPTY → BUSY → READY or FAILED.  A value is
 * computed when somebody demands it, by that thread, together with exactly
 * what it needs; others who want it meanwhile wait.  Finished values are kept
 * within the engine's budget and recomputed when they were dropped.
 *
 * A value inside If, Loop or Scan (by its number in the whole graph, see
 * graph_locate) can be described and demanded: it is what that part of its
 * node made when it ran last.  Nothing can be bound or patched there.
 *
 * All functions may be called from any thread.
 */
#ifndef MODELFS_RUN_H
#define MODELFS_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/graph.h"

struct err;
struct model;
struct run;
struct tensor;
struct text;

/*
 * True where some runs want libraries (OpenBLAS, on processors for which there
 * are no loops of our own).
 */
bool engine_wants_libraries(void);
/*
 * Loads them; after this no file need be opened for them.  Without it they are
 * loaded when they are wanted, or missed.
 */
void engine_prepare(void);

/* What all runs of a process share: threads and memory. */
struct engine;
struct engine *engine_new(unsigned nthreads, uint64_t budget_bytes);
void engine_free(struct engine *en);

/*
 * ENODATA: the model has no graph.  The engine keeps what it learns of a model
 * for the next run: no other model may take its place in memory before the
 * engine is freed.
 */
int run_new(struct engine *en, const struct model *m, struct run **out,
	    struct err *e);
struct run *run_ref(struct run *r);
void run_unref(struct run *r);

/*
 * Binds an input of the graph.  Takes t's data.  EINVAL, with the reason also
 * in status, when type, rank or a declared extent differ; the previous input
 * then stays.
 */
int run_bind(struct run *r, value_id input, struct tensor *t, struct err *e);
int run_unbind(struct run *r, value_id input);

/* Replaces any value (an activation, a weight) from now on.  Takes t's data. */
int run_patch(struct run *r, value_id v, struct tensor *t, struct err *e);
int run_unpatch(struct run *r, value_id v);

/* What was bound or patched; false when nothing was. */
bool run_given(struct run *r, value_id v, struct tensor *out);

/*
 * Type and shape as far as they are known without computing; never waits.
 * data stays NULL.  0, or why the value can never be had (EOPNOTSUPP, …).
 */
int run_describe(struct run *r, value_id v, struct tensor *out, struct err *e);

/* True when run_demand would return at once. */
bool run_is_ready(struct run *r, value_id v);

/* What run_demand would fail with before computing anything; else 0. */
int run_check(struct run *r, value_id v, struct err *e);

/*
 * The value.  Computes what is missing.  ENODATA: an input is not bound;
 * EINTR: *cancel was set meanwhile; else the error of the node that failed.
 * out owns a reference.
 */
int run_demand(struct run *r, value_id v, const atomic_bool *cancel,
	       struct tensor *out, struct err *e);

/* Changes whenever the content of v may have changed. */
uint64_t run_version(struct run *r, value_id v);

/* A note for status and log, for instance why an upload was refused. */
void run_note(struct run *r, const char *text);

/* The files of the same names. */
void run_status(struct run *r, struct text *out);
void run_log(struct run *r, struct text *out);
void run_profile(struct run *r, struct text *out);

#endif
