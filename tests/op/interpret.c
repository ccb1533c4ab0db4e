/* SPDX-License-Identifier: MIT */
#include "interpret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"

static int load_items(struct tensor *t, struct err *e)
{
	size_t n;
	const struct tensor *items = blob_get_items(t->data, &n);
	struct tensor *copies = calloc(n + 1, sizeof(*copies));
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		copies[i] = tensor_ref(&items[i]);
		rc = tensor_load(&copies[i], e);
	}
	blob_unref(t->data);
	t->data = blob_items(copies, n);
	for (size_t i = 0; i < n; i++)
		tensor_drop(&copies[i]);
	free(copies);
	return rc;
}

int tensor_load(struct tensor *t, struct err *e)
{
	struct blob *copy;
	void *data;
	int rc;

	if (!t->data)
		return err_set(e, EINVAL, "no data");
	if (t->dtype >= DTYPE_SEQUENCE)
		return load_items(t, e);
	if (blob_bytes(t->data))
		return 0;
	copy = blob_mem(t->data->size, &data);
	rc = blob_read_full(t->data, data, t->data->size, 0, e);
	blob_unref(t->data);
	t->data = copy;
	return rc;
}

static int allocate(struct op_env *env, uint64_t nbytes, struct blob **out,
		    void **data, struct err *e)
{
	struct interpreter *in = (struct interpreter *)env;

	if (nbytes > in->budget)
		return err_set(e, EFBIG, "%llu bytes",
			       (unsigned long long)nbytes);
	*out = blob_mem(nbytes, data);
	if (!*out)
		return err_nomem(e, nbytes);
	/* As bad as memory that was used before: NaN, -1, wild pointers. */
	memset(*data, 0xff, nbytes);
	return 0;
}

/* The inferred type and shape must not contradict what came out. */
static int check_inferred(const struct node *n, const struct tensor *inferred,
			  const struct tensor *got, struct err *e)
{
	char a[256], b[256];

	if (inferred->dtype != DTYPE_NONE && inferred->dtype != got->dtype)
		return err_set(e, EPROTO, "%s: inferred %s, is %s", n->type,
			       dtype_name(inferred->dtype),
			       dtype_name(got->dtype));
	if (inferred->shape.rank < 0)
		return 0;
	for (int32_t i = 0; i < inferred->shape.rank; i++) {
		if (i < got->shape.rank &&
		    (inferred->shape.dims[i] == DIM_UNKNOWN ||
		     inferred->shape.dims[i] == got->shape.dims[i]))
			continue;
		shape_format(&inferred->shape, a, sizeof(a));
		shape_format(&got->shape, b, sizeof(b));
		return err_set(e, EPROTO, "%s: inferred [%s], is [%s]", n->type,
			       a, b);
	}
	return 0;
}

struct step {
	struct op_call call;
	struct tensor *in, *out, *captures, *known;
};

/* Infers with and without the inputs' data, then computes. */
static int evaluate(struct step *s, struct err *e)
{
	struct op_call *c = &s->call;
	struct op_call ahead = *c;
	int rc;

	for (int with_data = 0; with_data < 2; with_data++) {
		for (size_t i = 0; i < c->nin; i++) {
			s->known[i] = s->in[i];
			if (!with_data)
				s->known[i].data = NULL;
		}
		ahead.in = s->known;
		ahead.out = s->known + c->nin;
		ahead.env = NULL;
		rc = op_infer(&ahead, e);
		if (rc < 0)
			return rc;
		rc = with_data ? 0 : op_eval(c, e);
		for (size_t i = 0; i < c->nout && rc == 0; i++) {
			if (op_wants(c, i))
				rc = check_inferred(c->node, &ahead.out[i],
						    &c->out[i], e);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int run_node(struct interpreter *in, const struct graph *g, node_id id,
		    struct tensor *values, struct err *e)
{
	const struct node *n = &g->nodes[id];
	size_t total = n->nin + 2 * (size_t)n->nout + n->nin + n->ncaptures;
	struct tensor *room = calloc(total + 1, sizeof(*room));
	struct step s = {.in = room, .out = room + n->nin};
	int rc;

	s.captures = s.out + n->nout;
	s.known = s.captures + n->ncaptures;
	s.call = (struct op_call){
		.node = n,
		.op = op_find(n->domain, n->type, n->opset),
		.env = &in->env,
		.nin = n->nin,
		.nout = n->nout,
		.in = s.in,
		.out = s.out,
		.captures = s.captures,
	};
	for (uint32_t i = 0; i < n->nin; i++) {
		if (n->in[i] != NO_VALUE)
			s.in[i] = values[n->in[i]];
	}
	for (uint32_t i = 0; i < n->ncaptures; i++)
		s.captures[i] = values[n->captures[i].value];
	if (s.call.op) {
		in->saw_random |= (s.call.op->flags & OP_RANDOM) != 0;
		in->saw_quantise |= strstr(n->type, "Quantize") != NULL;
		rc = evaluate(&s, e);
	} else {
		rc = err_set(e, EOPNOTSUPP, "operator %s %s %d", n->domain,
			     n->type, n->opset);
	}
	for (uint32_t i = 0; i < n->nout; i++) {
		in->saw_half |= s.out[i].dtype == DTYPE_F16 ||
				s.out[i].dtype == DTYPE_BF16;
		if (rc == 0 && n->out[i] != NO_VALUE) {
			tensor_drop(&values[n->out[i]]);
			values[n->out[i]] = s.out[i];
		} else {
			tensor_drop(&s.out[i]);
		}
	}
	free(room);
	return rc;
}

static int fill_captures(const struct graph *g, const struct op_call *owner,
			 struct tensor *values)
{
	for (uint32_t v = 0; v < g->nvalues; v++) {
		if (g->values[v].captured != NO_VALUE)
			values[v] = tensor_ref(
				&owner->captures[g->values[v].capture]);
	}
	return 0;
}

/* Marks the nodes that the outputs depend on, from the last to the first. */
static bool *find_needed(const struct graph *g)
{
	bool *value = calloc(g->nvalues + 1, sizeof(*value));
	bool *node = calloc(g->nnodes + 1, sizeof(*node));

	for (uint32_t i = 0; i < g->noutputs; i++)
		value[g->outputs[i]] = true;
	for (node_id id = g->nnodes; id-- > 0;) {
		const struct node *n = &g->nodes[id];

		for (uint32_t i = 0; i < n->nout; i++)
			node[id] |= n->out[i] != NO_VALUE && value[n->out[i]];
		for (uint32_t i = 0; i < n->nin && node[id]; i++) {
			if (n->in[i] != NO_VALUE)
				value[n->in[i]] = true;
		}
		for (uint32_t i = 0; i < n->ncaptures && node[id]; i++)
			value[n->captures[i].value] = true;
	}
	free(value);
	return node;
}

int interpret(struct interpreter *in, const struct graph *g,
	      const struct op_call *owner, struct tensor *values, struct err *e)
{
	bool *needed;
	int rc = owner ? fill_captures(g, owner, values) : 0;

	if (g->broken)
		return err_set(e, EINVAL, "%s", g->broken);
	needed = find_needed(g);
	for (uint32_t v = 0; v < g->nvalues && rc == 0; v++) {
		struct tensor t;

		if (!g->values[v].param || values[v].dtype != DTYPE_NONE)
			continue;
		t = param_tensor(g->values[v].param);
		values[v] = tensor_ref(&t);
		rc = tensor_load(&values[v], e);
	}
	for (node_id n = 0; n < g->nnodes && rc == 0; n++) {
		if (needed[n])
			rc = run_node(in, g, n, values, e);
	}
	free(needed);
	return rc;
}

static int run_graph(struct op_env *env, const struct op_call *c,
		     const struct graph *g, const struct tensor *in, size_t nin,
		     struct tensor *out, size_t nout, struct err *e)
{
	struct interpreter *self = (struct interpreter *)env;
	struct tensor *values = calloc(g->nvalues + 1, sizeof(*values));
	int rc = 0;

	for (size_t i = 0; i < nin && i < g->ninputs; i++)
		values[g->inputs[i]] = tensor_ref(&in[i]);
	rc = interpret(self, g, c, values, e);
	for (size_t i = 0; i < nout && rc == 0; i++) {
		if (i >= g->noutputs || !values[g->outputs[i]].data)
			rc = err_set(e, EINVAL, "no output %zu", i);
		else
			out[i] = tensor_ref(&values[g->outputs[i]]);
	}
	for (uint32_t v = 0; v < g->nvalues; v++)
		tensor_drop(&values[v]);
	free(values);
	return rc;
}

void interpreter_init(struct interpreter *in, uint64_t budget,
		      struct pool *pool)
{
	*in = (struct interpreter){.budget = budget};
	in->env.kernel.pool = pool;
	in->env.alloc = allocate;
	in->env.run_graph = run_graph;
}
