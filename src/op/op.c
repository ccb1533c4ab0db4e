/* SPDX-License-Identifier: MIT */
/*
 * op - the registry, and the two calls an executor makes.
 */
#include "modelfs/op.h"

#include <string.h>

#include "op/call.h"
#include "op/families.h"
#include "op/impl.h"

static const struct op *const families[] = {
#define ENTRY(name) ops_##name,
	OP_FAMILIES(ENTRY)
#undef ENTRY
};

#define NFAMILIES (sizeof(families) / sizeof(families[0]))

static const char *plain_domain(const char *domain)
{
	return strcmp(domain, "ai.onnx") == 0 ? ONNX : domain;
}

const struct op *op_find(const char *domain, const char *type, int opset)
{
	const struct op *best = NULL;

	domain = plain_domain(domain);
	for (size_t f = 0; f < NFAMILIES; f++) {
		for (const struct op *o = families[f]; o->type; o++) {
			if (o->since > opset || strcmp(o->type, type) != 0 ||
			    strcmp(o->domain, domain) != 0)
				continue;
			if (!best || o->since > best->since)
				best = o;
		}
	}
	return best;
}

void op_each(void (*fn)(const struct op *op, void *ctx), void *ctx)
{
	for (size_t f = 0; f < NFAMILIES; f++) {
		for (const struct op *o = families[f]; o->type; o++)
			fn(o, ctx);
	}
}

static int check_count(const struct op_call *c, const char *what, size_t n,
		       uint8_t min, uint8_t max, struct err *e)
{
	if (n < min)
		return op_invalid(c, e, "%zu %s, not at least %u", n, what,
				  min);
	if (max != OP_VARIADIC && n > max)
		return op_invalid(c, e, "%zu %s, not at most %u", n, what, max);
	return 0;
}

static int check_arity(const struct op_call *c, struct err *e)
{
	int rc = check_count(c, "inputs", c->nin, c->op->min_in, c->op->max_in,
			     e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < c->op->min_in; i++) {
		if (!op_has(c, i))
			return op_invalid(c, e, "input %zu is left out", i);
	}
	return check_count(c, "outputs", c->nout, c->op->min_out,
			   c->op->max_out, e);
}

static void clear_outputs(struct op_call *c)
{
	for (size_t i = 0; i < c->nout; i++) {
		memset(&c->out[i], 0, sizeof(c->out[i]));
		c->out[i].shape = shape_unknown();
	}
}

int op_infer(struct op_call *c, struct err *e)
{
	int rc;

	c->inferring = true;
	c->scratch = NULL;
	clear_outputs(c);
	rc = check_arity(c, e);
	if (rc < 0 || !c->op->infer)
		return rc;
	rc = c->op->infer(c, e);
	call_free_scratch(c);
	if (rc < 0) {
		for (size_t i = 0; i < c->nout; i++)
			tensor_drop(&c->out[i]);
		clear_outputs(c);
	}
	return rc < 0 ? rc : 0;
}

int op_branches(struct op_call *c, uint64_t *mask, struct err *e)
{
	int rc;

	c->scratch = NULL;
	rc = c->op->branches(c, mask, e);
	call_free_scratch(c);
	return rc;
}

int op_view(struct op_call *c, struct tensor *out, struct err *e)
{
	int rc;

	c->inferring = !out;
	c->scratch = NULL;
	clear_outputs(c);
	rc = check_arity(c, e);
	if (rc == 0)
		rc = c->op->view(c, out, e);
	call_free_scratch(c);
	return rc;
}

static int check_inputs(const struct op_call *c, struct err *e)
{
	for (size_t i = 0; i < c->nin; i++) {
		bool late = i == 1 && (c->op->flags & OP_LATE_INPUT_1) &&
			    c->env && c->env->load &&
			    (c->in[i].data || (c->constants >> i & 1));

		late = late || (i == 0 && c->op->flags & OP_STORED_INPUT_0 &&
				c->env && c->in[i].data);
		if (op_has(c, i) && !(c->op->flags & OP_SHAPE_ONLY) && !late &&
		    !op_known(c, i))
			return op_invalid(c, e, "input %zu is not in memory",
					  i);
		if (op_has(c, i) && call_is_hollow(&c->in[i].shape))
			return op_invalid(c, e, "input %zu is absurd", i);
	}
	return 0;
}

static int check_outputs(const struct op_call *c, struct err *e)
{
	for (size_t i = 0; i < c->nout; i++) {
		if (op_wants(c, i) && !c->out[i].data)
			return op_invalid(c, e, "output %zu was not made", i);
	}
	return 0;
}

int op_eval(struct op_call *c, struct err *e)
{
	int rc;

	c->inferring = false;
	c->scratch = NULL;
	for (size_t i = 0; i < c->nfollowers; i++)
		c->followers[i].scratch = NULL;
	clear_outputs(c);
	rc = check_arity(c, e);
	if (rc == 0)
		rc = check_inputs(c, e);
	if (rc == 0)
		rc = c->op->eval(c, e);
	if (rc == 0)
		rc = op_check_stop(c, e);
	if (rc == 0)
		rc = call_finish(c, e);
	if (rc == 0)
		rc = check_outputs(c, e);
	for (size_t i = 0; i < c->nfollowers; i++)
		call_free_scratch(&c->followers[i]);
	call_free_scratch(c);
	if (rc != 0) {
		for (size_t i = 0; i < c->nout; i++)
			tensor_drop(&c->out[i]);
		clear_outputs(c);
	}
	return rc;
}
