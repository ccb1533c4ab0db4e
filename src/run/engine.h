/* SPDX-License-Identifier: MIT */
/*
 * engine - what the files of run/ share.
 *
 * Locks, in this order: run.binding (one bind or patch at a time; held while
 * shapes are inferred), engine.lock (everything else here; never held across
 * an operator, a blob or a wait that is not on engine.changed).
 */
#ifndef RUN_ENGINE_H
#define RUN_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "modelfs/err.h"
#include "modelfs/graph.h"
#include "modelfs/kernel.h"
#include "modelfs/op.h"
#include "modelfs/run.h"
#include "modelfs/tensor.h"
#include "modelfs/text.h"
#include "run/spare.h"

struct map;
struct model;

/* A tensor that may be dropped when memory is short, and made again. */
struct cached {
	struct tensor t; /* data NULL: not here */
	struct cached *older, *newer;
	bool is_listed;
};

struct engine {
	struct pool *pool;
	uint64_t budget;
	atomic_ullong used; /* bytes in blobs of engine_alloc, and spare */
	struct spare spare;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a node is no longer busy */
	struct cached *oldest, *newest;
	struct program *programs;
};

/* The one node that reads another's only output, as its input `flow`. */
struct follower {
	node_id node; /* NO_NODE: there is none, or several, or an output */
	uint32_t flow;
};

/* Nodes that run as one, the first doing what the others do to its result. */
#define GROUP_MAX OP_STEPS_MAX
struct group {
	uint32_t n;
	node_id nodes[GROUP_MAX];
	uint32_t flow[GROUP_MAX]; /* of the first: unused */
};

/* A model made ready to run; shared by its runs, lives with the engine. */
struct program {
	const struct model *model;
	const struct op **ops;	    /* per node; NULL: not supported */
	struct follower *followers; /* per node: who alone reads its output */
	struct cached *weights;	    /* per parameter; lock: engine */
	/* Per node: a constant input as the operator wants it; lock: engine. */
	struct cached *forms;
	atomic_bool *was_computed; /* per node */
	uint32_t nnodes;
	uint32_t nweights; /* the model may be gone before us */
	/* Constants that can be views are: they did not fit.  lock: engine. */
	bool is_tight;
	struct map *subplans; /* graph → struct subplan; lock: engine */
	struct map *stored;   /* blob → parameter; NULL: not yet; lock: engine */
	struct subplan *subplan_list;
	struct program *next;
};

/* A subgraph made ready to run. */
struct subplan {
	const struct graph *graph;
	const struct op **ops;
	bool *needed;	    /* per node: an output depends on it */
	uint32_t *last_use; /* per value: 1 + the last node that reads it */
	bool chooses;	    /* some node has branches that read values here */
	struct subplan *next;
};

struct slot {
	struct cached value; /* its type is kept when its data is dropped */
	uint64_t version;
	node_id blocked; /* an unsupported node it depends on, or NO_NODE */
	bool is_given;	 /* bound or patched: not computed, not dropped */
};

struct node_state {
	bool is_busy;
	uint32_t epoch; /* grows when what it reads has changed */
	uint64_t order; /* of its last computation; 0: never computed */
	double seconds, form_seconds; /* apart from each other */
	uint64_t nbytes;
	struct err *failure; /* owned; NULL: none */
};

/* The first thing found that a node cannot be computed without. */
struct lack {
	enum { LACK_NOTHING, LACK_INPUT, LACK_NODE } kind;
	uint32_t id; /* a value that nobody gave; a node that cannot run */
};

struct run {
	atomic_uint refs;
	struct engine *en;
	struct program *prog;
	const struct graph *g;
	pthread_mutex_t binding;
	/* engine.lock: */
	struct slot *slots;	  /* per value */
	struct node_state *nodes; /* per node */
	struct cached *inner;	  /* per value of subgraphs; NULL: none yet */
	struct lack *lacks;	  /* per node: among its inputs; NULL: none */
	bool lacks_known;
	uint64_t generation;	  /* grows with every bind and patch */
	uint64_t ncomputed;
	unsigned nrunning; /* demands under way */
	uint32_t plan_done, plan_total;
	double seconds;
	struct err failure; /* of the last demand; code 0: none */
	char note[240];	    /* why an upload was refused */
	struct text log;
};

/* Whoever wants what the subgraphs of a node compute. */
struct trace {
	struct run *run;
	uint32_t epoch; /* of the node when it began */
	value_id wanted;
	struct tensor found; /* owned; the wanted value when it was made last */
};

/* What an operator sees of us. */
struct exec_env {
	struct op_env base;
	struct engine *en;
	struct program *prog;
	/* Of the node under way; nothing in subgraphs. */
	uint64_t constants;
	struct op_call *followers;
	size_t nfollowers;
	bool make_blocks;
	struct trace *trace; /* NULL: nobody */
	unsigned depth;	     /* of the subgraph that is being inferred */
};

/* engine.c */
/* Memory that holds anything at first, aligned to 64. */
int engine_alloc(struct engine *en, uint64_t nbytes, struct blob **out,
		 void **data, struct err *e);
/* How much engine_alloc can give, up to `enough`. */
uint64_t engine_room(struct engine *en, uint64_t enough);
/* engine.lock held: now the newest of those that may be dropped. */
void cache_touch(struct engine *en, struct cached *c);
/* engine.lock held: no longer dropped when memory is short. */
void cache_remove(struct engine *en, struct cached *c);

/* program.c */
int program_get(struct engine *en, const struct model *m, struct program **out,
		struct err *e);
void program_free(struct program *p);
/* A parameter's tensor in memory; out owns a reference. */
int program_weight(struct engine *en, struct program *p,
		   const struct param *param, struct tensor *out,
		   struct err *e);
/* The same, not kept for others unless it is kept already. */
int program_weight_once(struct engine *en, struct program *p,
			const struct param *param, struct tensor *out,
			struct err *e);
/*
 * The bytes in memory of what is stored as these; keep: for others, too, where
 * it is a parameter.
 */
int program_load(struct engine *en, struct program *p, struct blob *stored,
		 bool keep, struct blob **out, struct err *e);
/*
 * Node i's constant input in another form: a reference, or NULL; and where it
 * is kept.
 */
struct blob *program_find_form(struct engine *en, struct program *p, node_id i);
void program_keep_form(struct engine *en, struct program *p, node_id i,
		       struct blob *b);
int program_subplan(struct engine *en, struct program *p, const struct graph *g,
		    const struct subplan **out, struct err *e);

/* infer.c */
/*
 * Drops all that depends on the marked values, and marks it.  engine.lock and
 * run.binding held.
 */
void infer_forget(struct run *r, bool *dirty);
/*
 * Types and shapes of everything that is marked (NULL: of everything).
 * run.binding held.
 */
int infer_types(struct run *r, const bool *dirty, struct err *e);

/* A type without data, or with it where it is a small constant; owned. */
struct tensor infer_param(struct engine *en, struct program *p,
			  const struct param *param);
/* What the file declares fills the gaps that inference leaves. */
void infer_declared(const struct value *v, struct tensor *t);
/* Types, shapes and small values of a node's outputs, which it owns. */
void infer_node(struct exec_env *env, const struct op *op, const struct node *n,
		const struct tensor *in, const struct tensor *captures,
		struct tensor *out);

/* infer_graph.c: op_env.infer_graph */
int infer_graph(struct op_env *base, const struct op_call *c,
		const struct graph *g, const struct tensor *in, size_t nin,
		struct tensor *out, size_t nout, struct err *e);

/* check.c */
/* What is wrong with this node itself.  engine.lock held. */
int check_node(const struct run *r, node_id i, struct err *e);
/* As run_check, of all that a node reads. */
int check_inputs(struct run *r, node_id i, struct err *e);

/* plan.c */
/* A value's data while a plan needs it. */
struct held {
	struct blob *data; /* owned */
	uint16_t block;	   /* as tensor.block */
};

struct plan {
	struct run *run;
	uint64_t generation;
	uint32_t *nodes; /* to be computed, in this order */
	uint32_t nnodes;
	/* Per value: how many nodes of the plan have still to read it. */
	uint32_t *uses;
	struct held *held; /* per value, while uses is not 0 */
	bool *blocked;	   /* per value: to be made in blocks of channels */
	/*
	 * Per node: what it made of its constant input 1 in an earlier run,
	 * which then is not computed again.  Owned.
	 */
	struct blob **forms;
	bool no_forms; /* they did not fit: compute all inputs */
	/* Per node: mask of the inputs that are views and not computed. */
	uint8_t *views;
	bool could_view; /* more of them, were memory tight */
	/* Per node: where the group begins that it ends; NO_NODE: nowhere. */
	node_id *leads;
	/* Per node: 1 + mask of the subgraphs that will run; 0: not known. */
	uint64_t *branches;
};

int plan_new(struct run *r, struct plan **out, struct err *e);
void plan_free(struct plan *p);
/*
 * What must be computed for v, from what there is now.  engine.lock held.
 * ENODATA, EOPNOTSUPP, or the error of a node that failed.
 */
int plan_make(struct plan *p, value_id v, struct err *e);
/* engine.lock held.  The same in every run that patches nothing it is made of. */
bool plan_is_constant(const struct run *r, value_id v);
/* views.c */
/*
 * engine.lock held.  Whether a value is made of a stored one by operators that
 * can do so while it is read, and is not here yet.
 */
bool views_can(const struct run *r, value_id v);

/* group.c */
/* A call to ask with: types and shapes as far as they are known, no data. */
struct question {
	struct op_call call;
	struct tensor in[8], out[1];
};
/* False for what is no operator of a few inputs and one output. */
bool group_ask(const struct run *r, node_id i, struct question *q);
/* Who alone reads each node's output; NULL: out of memory. */
struct follower *group_followers(const struct graph *g);
/*
 * Of the wanted nodes, which run as part of another; fills p->leads.  Only
 * where nobody has or wants the values in between.  engine.lock held.
 */
void group_plan(struct plan *p, bool *wanted);
/* The group that ends with this node; n is 1 for a node alone. */
void group_of(const struct plan *p, node_id tail, struct group *out);

/* layout.c */
/* Fills p->blocked.  engine.lock held. */
int layout_plan(struct plan *p, struct err *e);
/* Whether node i, in a group, adds as much as there is. */
bool layout_adds(const struct run *r, node_id i, uint32_t flow);
/* Makes t, which is owned, lie row by row or in blocks. */
int layout_turn(struct engine *en, const struct kernel *k, struct tensor *t,
		bool blocked, struct err *e);
/* Makes t, a value of the run, lie row by row; there, too. */
int layout_show(struct run *r, value_id v, const struct kernel *k,
		struct tensor *t, struct err *e);

/* plan.c */
/* Whether input k of the node is a view. */
bool plan_views(const struct plan *p, size_t node, uint32_t k);
/* engine.lock held.  Keeps what is in the value's slot. */
void plan_hold(struct plan *p, value_id v);
void plan_release_inputs(struct plan *p, const struct node *n);

/* exec.c */
void exec_env_init(struct exec_env *env, struct engine *en,
		   struct program *prog, const atomic_bool *stop);
/* out: nout tensors, owned by the caller on success. */
int exec_eval(struct exec_env *env, const struct op *op, const struct node *n,
	      const struct tensor *in, const struct tensor *captures,
	      struct tensor *out, struct err *e);

/* inner.c: values of subgraphs, by their number in the whole graph */
/* engine.lock held.  The node's inputs have changed. */
void inner_forget(struct run *r, node_id owner);
void inner_free(struct run *r);
/* A subgraph has run; values is what it has computed. */
void inner_publish(struct trace *tr, const struct graph *g,
		   const struct tensor *values);
/* As the functions of modelfs/run.h. */
int inner_describe(struct run *r, value_id id, struct tensor *out,
		   struct err *e);
bool inner_is_ready(struct run *r, value_id id);
/* engine.lock held. */
uint64_t inner_version(const struct run *r, value_id id);
int inner_check(struct run *r, value_id id, struct err *e);
/* ENODATA: that part of its node did not run. */
int inner_demand(struct run *r, value_id id, const atomic_bool *cancel,
		 struct tensor *out, struct err *e);

/* report.c */
void report_log(struct run *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
