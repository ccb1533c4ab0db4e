/* SPDX-License-Identifier: MIT */
/*
 * layout - which values lie in blocks of channels (tensor.block) on their way
 * from one operator to the next.  Only those that nobody sees: who asks for one
 * later gets it row by row, to the same bits.
 */
#include <stdlib.h>

#include "kernel/block.h"
#include "modelfs/blob.h"
#include "modelfs/graph.h"
#include "op/impl.h"
#include "run/engine.h"

bool layout_adds(const struct run *r, node_id i, uint32_t flow)
{
	struct question q;

	return group_ask(r, i, &q) &&
	       q.call.op->join(&q.call, flow, NULL, NULL) == OP_STAGE_ADD;
}

/* Reads of a value that would take it in blocks. */
static void count_takers(struct plan *p, const struct group *g, unsigned blocks,
			 bool makes, uint32_t *takers)
{
	const struct graph *graph = p->run->g;
	const struct node *n = &graph->nodes[g->nodes[0]];
	uint32_t m, k;

	if (blocks & OP_TAKES_BLOCKS && n->in[0] != NO_VALUE)
		takers[n->in[0]]++;
	for (m = 1; m < g->n && makes; m++) {
		n = &graph->nodes[g->nodes[m]];
		if (!layout_adds(p->run, g->nodes[m], g->flow[m]))
			continue;
		for (k = 0; k < n->nin; k++)
			if (k != g->flow[m] && n->in[k] != NO_VALUE)
				takers[n->in[k]]++;
	}
}

int layout_plan(struct plan *p, struct err *e)
{
	const struct run *r = p->run;
	uint32_t *takers = calloc((size_t)r->g->nvalues + 1, sizeof(*takers));
	uint32_t i;

	if (!takers)
		return err_nomem(e, r->g->nvalues * sizeof(*takers));
	/* From the last one: who reads a value is known before who makes it. */
	for (i = p->nnodes; i-- > 0;) {
		value_id v = r->g->nodes[p->nodes[i]].out[0];
		struct question q;
		struct group g;
		unsigned blocks = 0;

		group_of(p, p->nodes[i], &g);
		if (r->prog->ops[g.nodes[0]]->blocks &&
		    group_ask(r, g.nodes[0], &q))
			blocks = q.call.op->blocks(&q.call);
		if (!blocks)
			continue;
		p->blocked[v] = blocks & OP_MAKES_BLOCKS && p->uses[v] > 0 &&
				takers[v] == p->uses[v];
		count_takers(p, &g, blocks, p->blocked[v], takers);
	}
	free(takers);
	return 0;
}

static struct images images_of(const struct tensor *t)
{
	struct images i = {.batch = (size_t)t->shape.dims[0],
			   .channels = (size_t)t->shape.dims[1],
			   .plane = 1};

	for (int32_t d = 2; d < t->shape.rank; d++)
		i.plane *= (size_t)t->shape.dims[d];
	return i;
}

/* Numbers in rows, as float32 and back where the tensor's type is another. */
static int to_blocks(struct engine *en, const struct kernel *k,
		     struct tensor *t, const struct images *i, float *out,
		     struct err *e)
{
	size_t n = i->batch * i->channels * i->plane;
	struct blob *room;
	void *x;
	int rc;

	if (t->dtype == DTYPE_F32) {
		block_pack(k, i, blob_bytes(t->data), out);
		return 0;
	}
	rc = engine_alloc(en, n * sizeof(float), &room, &x, e);
	if (rc < 0)
		return rc;
	rc = op_convert(k, t->dtype, blob_bytes(t->data), DTYPE_F32, x, n,
			false);
	block_pack(k, i, x, out);
	blob_unref(room);
	return rc;
}

static int to_rows(struct engine *en, const struct kernel *k, struct tensor *t,
		   const struct images *i, void *out, struct err *e)
{
	size_t n = i->batch * i->channels * i->plane;
	struct blob *room;
	void *x;
	int rc;

	if (t->dtype == DTYPE_F32) {
		block_unpack(k, i, blob_bytes(t->data), out);
		return 0;
	}
	rc = engine_alloc(en, n * sizeof(float), &room, &x, e);
	if (rc < 0)
		return rc;
	block_unpack(k, i, blob_bytes(t->data), x);
	rc = op_convert(k, DTYPE_F32, x, t->dtype, out, n, false);
	blob_unref(room);
	return rc;
}

int layout_turn(struct engine *en, const struct kernel *k, struct tensor *t,
		bool blocked, struct err *e)
{
	struct images i;
	struct blob *b;
	uint64_t nbytes;
	void *out;
	int rc;

	if (!t->data || (t->block > 0) == blocked)
		return 0;
	i = images_of(t);
	nbytes =
		blocked ? block_size(&i) * sizeof(float)
			: i.batch * i.channels * i.plane * dtype_size(t->dtype);
	rc = engine_alloc(en, nbytes, &b, &out, e);
	if (rc < 0)
		return rc;
	rc = blocked ? to_blocks(en, k, t, &i, out, e)
		     : to_rows(en, k, t, &i, out, e);
	if (rc < 0) {
		blob_unref(b);
		return rc;
	}
	blob_unref(t->data);
	t->data = b;
	t->block = blocked ? (uint16_t)block_lanes() : 0;
	return 0;
}

int layout_show(struct run *r, value_id v, const struct kernel *k,
		struct tensor *t, struct err *e)
{
	struct cached *c = &r->slots[v].value;
	struct blob *old;
	int rc;

	if (!t->block)
		return 0;
	old = blob_ref(t->data);
	rc = layout_turn(r->en, k, t, false, e);
	pthread_mutex_lock(&r->en->lock);
	if (rc == 0 && c->t.data == old) {
		blob_unref(c->t.data);
		c->t.data = blob_ref(t->data);
		c->t.block = 0;
		cache_touch(r->en, c);
	}
	pthread_mutex_unlock(&r->en->lock);
	blob_unref(old);
	if (rc < 0)
		tensor_drop(t);
	return rc;
}
