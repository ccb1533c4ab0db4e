/* SPDX-License-Identifier: MIT */
/* string_match - RegexFullMatch. */
#include "op/impl.h"
#include "op/regex.h"

static int infer_match(struct op_call *c, struct err *e)
{
	(void)e;
	op_out(c, 0, DTYPE_BOOL, op_shape(c, 0));
	return 0;
}

static int match_all(struct op_call *c, struct regex *r, struct err *e)
{
	const struct span *s;
	const void *in;
	size_t size;
	void *out;
	int rc = op_elems(c, 0, &in, &size, e);

	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_BOOL, op_shape(c, 0), &out, e);
	s = in;
	for (uint64_t i = 0; rc == 0 && i < op_nelems(c, 0); i++) {
		((uint8_t *)out)[i] = regex_full_match(r, s[i].p, s[i].len,
						       c->env->kernel.stop);
		rc = op_check_stop(c, e);
	}
	return rc;
}

static int eval_match(struct op_call *c, struct err *e)
{
	const struct attr *a = node_attr(c->node, "pattern");
	const char *why = NULL;
	struct regex *r;
	int rc;

	if (op_dtype(c, 0) != DTYPE_STRING)
		return op_bad_dtype(c, 0, e);
	if (!a || a->kind != ATTR_STRING)
		return op_invalid(c, e, "no pattern");
	r = regex_new(a->s.p, a->s.len, &why);
	if (!r)
		return op_invalid(c, e, "pattern: %s", why);
	rc = match_all(c, r, e);
	regex_free(r);
	return rc;
}

const struct op ops_string_match[] = {
	{ONNX, "RegexFullMatch", 20, 1, 1, 1, 1, 0, 0, infer_match, eval_match},
	{0},
};
