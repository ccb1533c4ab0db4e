/* SPDX-License-Identifier: MIT */
/* rows - operators that work on rows, of numbers stored in 16 bits. */
#include "op/impl.h"

/* Numbers that are widened at once; they stay in a nearby cache. */
#define ROOM 8192

struct job {
	const struct op_rows *r;
	struct op_moves moves;
	const uint16_t *in;
	uint16_t *out;
	size_t at_once;
};

static void run_some(const struct job *j, size_t row, size_t n)
{
	const struct op_rows *r = j->r;
	float in[ROOM], out[ROOM];

	j->moves.load(j->in + row * r->in, in, n * r->in);
	r->fn(r->ctx, n, in, out);
	j->moves.store(out, j->out + row * r->out, n * r->out);
}

static void run_rows(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;

	for (size_t n; begin < end; begin += n) {
		n = end - begin < j->at_once ? end - begin : j->at_once;
		run_some(j, begin, n);
	}
}

int op_rows(struct op_call *c, const struct shape *s, const struct op_rows *r,
	    struct err *e)
{
	struct job j = {.r = r, .moves = op_moves(c->in[0].dtype, DTYPE_F32)};
	size_t longest = r->in > r->out ? r->in : r->out;
	const void *in;
	void *out;
	int rc;

	if (!j.moves.load || longest == 0 || longest > ROOM)
		return 1;
	rc = op_data_as(c, 0, c->in[0].dtype, &in, e);
	if (rc == 0)
		rc = op_alloc(c, 0, c->in[0].dtype, s, &out, e);
	if (rc < 0)
		return rc;
	j.in = in;
	j.out = out;
	j.at_once = ROOM / longest;
	kernel_for(&c->env->kernel, r->rows, op_grain(longest), run_rows, &j);
	return 0;
}
