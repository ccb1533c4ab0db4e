/* SPDX-License-Identifier: MIT */
/*
 * demand - computing a value: make a plan, then for each of its nodes claim,
 * unlock, evaluate, lock, publish.  When inputs change meanwhile, or a branch
 * was chosen, plan again; what is done by then stays.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "run/demand.h"

/* How often somebody who waits for another thread looks at `cancel`. */
#define WAIT_NS 20000000

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool is_cancelled(const struct demand *d)
{
	return d->cancel && atomic_load(d->cancel);
}

static void wait_a_little(struct engine *en)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += WAIT_NS;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	pthread_cond_timedwait(&en->changed, &en->lock, &t);
}

/* ---- one node ---- */

static bool is_done(const struct demand *d, const struct node *n)
{
	uint32_t k;

	for (k = 0; k < n->nout; k++) {
		value_id v = n->out[k];

		if (v != NO_VALUE && d->plan->uses[v] &&
		    !d->plan->held[v].data && !d->r->slots[v].value.t.data)
			return false;
	}
	return true;
}

static void hold_outputs(struct demand *d, const struct node *n)
{
	uint32_t k;

	for (k = 0; k < n->nout; k++)
		if (n->out[k] != NO_VALUE)
			plan_hold(d->plan, n->out[k]);
}

/*
 * engine.lock held.  0: the node is ours; REPLAN; -EINTR; -EALREADY: done.
 */
static int claim(struct demand *d, struct job *j, struct err *e)
{
	struct run *r = d->r;
	struct node_state *s = &r->nodes[j->id];

	for (;;) {
		if (r->generation != d->plan->generation)
			return REPLAN;
		if (is_cancelled(d))
			return err_set(e, EINTR, "interrupted");
		if (is_done(d, j->n)) {
			hold_outputs(d, j->n);
			return -EALREADY;
		}
		if (!s->is_busy)
			break;
		wait_a_little(r->en);
	}
	if (s->failure) {
		if (e)
			*e = *s->failure;
		return -s->failure->code;
	}
	s->is_busy = true;
	j->epoch = s->epoch;
	return 0;
}

/* engine.lock held. */
static void publish_node(struct run *r, node_id i, const struct job *j)
{
	struct node_state *s = &r->nodes[i];

	s->order = ++r->ncomputed;
	s->seconds = j ? j->seconds : 0;
	s->form_seconds = j ? j->form_seconds : 0;
	s->nbytes = 0;
}

/* Without what fills up blocks. */
static uint64_t result_nbytes(const struct tensor *t)
{
	uint64_t n;

	return t->block && tensor_nbytes(t, &n) ? n : t->data->size;
}

/* engine.lock held. */
static void publish(struct demand *d, struct job *j)
{
	struct run *r = d->r;
	struct node_state *s = &r->nodes[j->id];
	uint32_t k;

	/* The time of a group is its first node's, the bytes its last one's. */
	for (k = 0; k < j->group.n; k++)
		publish_node(r, j->group.nodes[k], k == 0 ? j : NULL);
	r->seconds += j->seconds + j->form_seconds;
	for (k = 0; k < j->n->nout; k++) {
		struct slot *slot;

		if (j->n->out[k] == NO_VALUE)
			continue;
		slot = &r->slots[j->n->out[k]];
		s->nbytes += result_nbytes(&j->out[k]);
		if (slot->is_given || slot->value.t.data)
			continue;
		if (!shape_equal(&slot->value.t.shape, &j->out[k].shape) ||
		    slot->value.t.dtype != j->out[k].dtype)
			slot->version++;
		slot->value.t = tensor_ref(&j->out[k]);
		cache_touch(r->en, &slot->value);
	}
	hold_outputs(d, j->n);
}

/*
 * What is wrong with the graph or its inputs stays wrong; memory and disks may
 * be better the next time.
 */
static bool is_lasting(int rc)
{
	return rc == -EINVAL || rc == -EOPNOTSUPP;
}

/* What an operator finds wrong with its inputs is no error of the reader's. */
static int node_error(int rc, struct err *e)
{
	if (rc != -EINVAL)
		return rc;
	if (e)
		e->code = EIO;
	return -EIO;
}

static void finish(struct demand *d, struct job *j, int rc, const struct err *e)
{
	struct run *r = d->r;
	struct node_state *s = &r->nodes[j->id];

	pthread_mutex_lock(&r->en->lock);
	s->is_busy = false;
	if (s->epoch == j->epoch && rc == 0)
		publish(d, j);
	else if (s->epoch == j->epoch && j->fails_always) {
		s->failure = malloc(sizeof(*s->failure));
		if (s->failure)
			*s->failure = *e;
		r->lacks_known = false;
	}
	pthread_cond_broadcast(&r->en->changed);
	pthread_mutex_unlock(&r->en->lock);
}

static void drop_job(struct job *j)
{
	uint32_t k;

	for (k = 0; j->in && k < j->n->nin; k++)
		tensor_drop(&j->in[k]);
	for (k = 0; j->captures && k < j->n->ncaptures; k++)
		tensor_drop(&j->captures[k]);
	for (k = 0; j->out && k < j->n->nout; k++)
		tensor_drop(&j->out[k]);
	free(j->in);
	free(j->captures);
	free(j->out);
}

/* ---- nodes that run as one ---- */

static int evaluate_group(struct demand *d, struct job *j, struct err *e)
{
	struct op_call calls[GROUP_MAX] = {0};
	struct tensor none[GROUP_MAX] = {0};
	uint32_t m, k;
	int rc = 0;

	for (m = 0; m < j->group.n && rc == 0; m++) {
		rc = inputs_of_member(d, &j->group, m, &calls[m], e);
		calls[m].out = &none[m];
	}
	d->env.followers = calls + 1;
	d->env.nfollowers = j->group.n - 1;
	if (rc == 0)
		rc = exec_eval(&d->env, calls[0].op, calls[0].node, calls[0].in,
			       NULL, j->out, e);
	d->env.nfollowers = 0;
	for (m = 0; m < j->group.n; m++) {
		struct tensor *in = (struct tensor *)calls[m].in;

		for (k = 0; in && k < calls[m].nin; k++)
			tensor_drop(&in[k]);
		free(in);
	}
	return rc;
}

static int evaluate_alone(struct demand *d, struct job *j, struct err *e)
{
	int rc = inputs_gather(d, j, e);

	if (rc == 0)
		rc = exec_eval(&d->env, d->r->prog->ops[j->id], j->n, j->in,
			       j->captures, j->out, e);
	return rc;
}

static int evaluate(struct demand *d, struct job *j, struct err *e)
{
	double start = now_seconds();
	int rc;

	d->env.base.form_seconds = 0;
	d->env.make_blocks = j->n->nout > 0 && j->n->out[0] != NO_VALUE &&
			     d->plan->blocked[j->n->out[0]];
	j->in = calloc((size_t)j->n->nin + 1, sizeof(*j->in));
	j->captures = calloc((size_t)j->n->ncaptures + 1, sizeof(*j->captures));
	j->out = calloc((size_t)j->n->nout + 1, sizeof(*j->out));
	if (!j->in || !j->captures || !j->out)
		return err_nomem(e, j->n->nin * sizeof(*j->in));
	rc = j->group.n > 1 ? evaluate_group(d, j, e) : evaluate_alone(d, j, e);
	if (rc == 0 && is_cancelled(d))
		rc = err_set(e, EINTR, "interrupted");
	j->fails_always = is_lasting(rc);
	if (rc < 0)
		rc = node_error(rc, e);
	j->form_seconds = d->env.base.form_seconds;
	j->seconds = now_seconds() - start - j->form_seconds;
	return rc;
}

static int run_node(struct demand *d, node_id id, struct err *e)
{
	struct job j = {.id = id, .n = &d->r->g->nodes[id]};
	struct err why = {0};
	uint32_t i;
	int rc;

	group_of(d->plan, id, &j.group);
	pthread_mutex_lock(&d->r->en->lock);
	rc = claim(d, &j, e);
	pthread_mutex_unlock(&d->r->en->lock);
	if (rc == 0) {
		rc = evaluate(d, &j, &why);
		finish(d, &j, rc, &why);
		drop_job(&j);
		if (rc < 0 && e)
			*e = why;
	}
	if (rc == 0 || rc == -EALREADY) {
		for (i = 0; i < j.group.n; i++)
			plan_release_inputs(d->plan,
					    &d->r->g->nodes[j.group.nodes[i]]);
		return 0;
	}
	return rc;
}

/* ---- a value ---- */

static int run_plan(struct demand *d, struct err *e)
{
	uint32_t i;

	for (i = 0; i < d->plan->nnodes; i++) {
		int rc = run_node(d, d->plan->nodes[i], e);

		if (rc != 0)
			return rc;
		d->r->plan_done = i + 1;
	}
	return 0;
}

/* engine.lock held.  True when the value is here. */
static bool take(struct run *r, value_id v, const struct plan *p,
		 struct tensor *out)
{
	struct slot *s = &r->slots[v];
	struct tensor t = s->value.t;

	if (!t.data && p && p->generation == r->generation)
		inputs_use_held(p, v, &t);
	if (!t.data)
		return false;
	if (s->value.is_listed)
		cache_touch(r->en, &s->value);
	*out = tensor_ref(&t);
	return true;
}

/* After EFBIG: true when another plan takes less memory than this one. */
static bool can_take_less(struct demand *d)
{
	bool can;

	pthread_mutex_lock(&d->r->en->lock);
	can = d->plan->could_view && !d->r->prog->is_tight;
	if (can)
		d->r->prog->is_tight = true;
	pthread_mutex_unlock(&d->r->en->lock);
	return can;
}

static int plan_and_run(struct demand *d, value_id v, struct tensor *out,
			struct err *e)
{
	struct run *r = d->r;

	for (;;) {
		int rc;

		pthread_mutex_lock(&r->en->lock);
		if (take(r, v, d->plan, out)) {
			pthread_mutex_unlock(&r->en->lock);
			return 0;
		}
		rc = plan_make(d->plan, v, e);
		r->plan_total = d->plan->nnodes;
		r->plan_done = 0;
		pthread_mutex_unlock(&r->en->lock);
		if (rc == 0)
			rc = run_plan(d, e);
		if (rc == -EAGAIN && !d->plan->no_forms)
			d->plan->no_forms = true;
		else if (rc < 0 && (rc != -EFBIG || !can_take_less(d)))
			return rc;
	}
}

static bool take_without_plan(struct run *r, value_id v, struct tensor *out)
{
	const struct value *val = &r->g->values[v];
	bool taken;

	pthread_mutex_lock(&r->en->lock);
	taken = take(r, v, NULL, out);
	if (!taken && val->param) {
		struct tensor t = param_tensor(val->param);

		*out = tensor_ref(&t);
		taken = true;
	}
	if (!taken)
		r->nrunning++;
	pthread_mutex_unlock(&r->en->lock);
	return taken;
}

static void end_demand(struct run *r, int rc, const struct err *e)
{
	pthread_mutex_lock(&r->en->lock);
	r->nrunning--;
	if (rc == 0)
		r->failure.code = 0;
	else if (rc != -ENODATA && rc != -EINTR)
		r->failure = *e;
	pthread_mutex_unlock(&r->en->lock);
	if (rc < 0)
		report_log(r, "%s", e->msg);
}

static int demand_inner(struct run *r, value_id v, const atomic_bool *cancel,
			struct tensor *out, struct err *e)
{
	struct err why = {0};
	int rc;

	pthread_mutex_lock(&r->en->lock);
	r->nrunning++;
	pthread_mutex_unlock(&r->en->lock);
	rc = inner_demand(r, v, cancel, out, &why);
	end_demand(r, rc, &why);
	if (rc < 0 && e)
		*e = why;
	return rc;
}

int run_demand(struct run *r, value_id v, const atomic_bool *cancel,
	       struct tensor *out, struct err *e)
{
	struct demand d = {.r = r, .cancel = cancel};
	struct err why = {0};
	int rc = run_describe(r, v, out, e);

	if (rc < 0)
		return rc;
	if (v >= r->g->nvalues)
		return demand_inner(r, v, cancel, out, e);
	exec_env_init(&d.env, r->en, r->prog, cancel);
	if (take_without_plan(r, v, out))
		return layout_show(r, v, &d.env.base.kernel, out, e);
	rc = plan_new(r, &d.plan, &why);
	if (rc == 0)
		rc = plan_and_run(&d, v, out, &why);
	plan_free(d.plan);
	if (rc == 0 && out->block)
		rc = layout_show(r, v, &d.env.base.kernel, out, &why);
	end_demand(r, rc, &why);
	if (rc < 0 && e)
		*e = why;
	return rc;
}
