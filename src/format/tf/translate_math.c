/* SPDX-License-Identifier: MIT */
/* translate_math - arithmetic that ONNX has in parts. */
#include <string.h>

#include "modelfs/err.h"

#include "format/tf/translate.h"

static bool is_float(const struct tf_make *k)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, "T");
	enum dtype t = tf_dtype(v ? v->type : 1);

	return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_F64;
}

/* Of whole numbers: what is left by Mod, whose sign is the divisor's. */
static int floor_div(struct tf_make *k, struct err *e)
{
	value_id in[2] = {NO_VALUE, NO_VALUE}, v;
	int rc;

	if (k->call->nin != 2)
		return 0;
	in[0] = k->call->in[0];
	in[1] = k->call->in[1];
	if (is_float(k)) {
		rc = steps_make(&k->at, "quotient", "Div", in[0], in[1], &v, e);
		return rc < 0 ? rc
			      : tf_finish(k, "compute", "Floor", 0, &v, 1, NULL,
					  0, e);
	}
	rc = steps_make(&k->at, "rest", "Mod", in[0], in[1], &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "multiple", "Sub", in[0], v, &in[0], e);
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "Div", 0, in, 2, NULL, 0, e);
}

static int floor_mod(struct tf_make *k, struct err *e)
{
	value_id in[2] = {NO_VALUE, NO_VALUE}, v;
	int rc;

	if (k->call->nin != 2)
		return 0;
	in[0] = k->call->in[0];
	in[1] = k->call->in[1];
	if (!is_float(k))
		return tf_finish(k, "compute", "Mod", 0, in, 2, NULL, 0, e);
	rc = steps_make(&k->at, "quotient", "Div", in[0], in[1], &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "floor", "Floor", v, NO_VALUE, &v, e);
	if (rc == 0)
		rc = steps_make(&k->at, "multiple", "Mul", v, in[1], &in[1], e);
	return rc < 0 ? rc
		      : tf_finish(k, "compute", "Sub", 0, in, 2, NULL, 0, e);
}

static int add_n(struct tf_make *k, struct err *e)
{
	return tf_finish(k, "compute", "Sum", 0, k->call->in, k->call->nin,
			 NULL, 0, e);
}

static int clip(struct tf_make *k, struct err *e)
{
	return k->call->nin == 3 ? tf_finish(k, "compute", "Clip", 0,
					     k->call->in, 3, NULL, 0, e)
				 : 0;
}

static int einsum(struct tf_make *k, struct err *e)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, "equation");
	struct span text;
	struct attr a;
	int rc;

	if (!v || !v->has_s)
		return 0;
	rc = tf_copy(k->body->t, tf_span(&v->s), &text, e);
	if (rc < 0)
		return rc;
	a = attr_set_text("equation", text.p);
	return tf_finish(k, "compute", "Einsum", 0, k->call->in, k->call->nin,
			 &a, 1, e);
}

static const struct tf_maker makers[] = {
	{"AddN", add_n},	 {"ClipByValue", clip},	  {"Einsum", einsum},
	{"FloorDiv", floor_div}, {"FloorMod", floor_mod},
};

int tf_translate_math(struct tf_make *k, struct err *e)
{
	if (k->call->nout != 1)
		return 0;
	return tf_make_with(makers, sizeof(makers) / sizeof(makers[0]), k, e);
}
